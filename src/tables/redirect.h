/*-------------------------------------------------------------------------
 *
 * redirect.h
 *	  Changes of a converted lead, to the contact that it has become.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_REDIRECT_H
#define SYNC_REDIRECT_H

#include "catalog.h"

/*
 * Writes the lead's values of the columns to its contact, as a local change of
 * the contact, which then goes out like any other.  NULL if that went well;
 * otherwise why it cannot be done; *later: yet, since the contact has not come
 * in.
 */
extern char *redirect_to_contact(const SyncObject *lead, const char *id,
								 List *columns, bool *later);

#endif							/* SYNC_REDIRECT_H */
