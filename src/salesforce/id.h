/*-------------------------------------------------------------------------
 *
 * id.h
 *	  Salesforce record ids.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_ID_H
#define SYNC_ID_H

#define SALESFORCE_ID_LEN 18

/* True for 15 or 18 characters of [0-9A-Za-z], the checksum right if 18. */
extern bool id_is_valid(const char *id);

/* The 18-character form of a valid id, into out[SALESFORCE_ID_LEN + 1]. */
extern void id_canonical(const char *id, char *out);

#endif							/* SYNC_ID_H */
