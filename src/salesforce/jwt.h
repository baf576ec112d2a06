/*-------------------------------------------------------------------------
 *
 * jwt.h
 *	  The signed assertion of the JWT bearer grant.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_JWT_H
#define SYNC_JWT_H

/*
 * A token signed with RS256, the one algorithm that Salesforce takes, by the
 * RSA key in private_key (PEM).  expires: seconds since 1970.  An unusable key
 * is ERRCODE_INVALID_PASSWORD.
 */
extern char *jwt_assertion(const char *private_key, const char *issuer,
						   const char *subject, const char *audience,
						   int64 expires);

#endif							/* SYNC_JWT_H */
