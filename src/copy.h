/*-------------------------------------------------------------------------
 *
 * copy.h
 *	  First copy of an object.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_COPY_H
#define SYNC_COPY_H

#include "login.h"
#include "tables/catalog.h"

/* Rows asked for in one page of a Bulk result (GUC sync.page_rows). */
extern int	copy_page_rows;

/*
 * copy_object: brings a new object to the state live, going on where an
 * earlier attempt stopped.  The caller holds the object's lock.  counts gets
 * the rows that came in and those set aside.
 */
extern void copy_object(Org *org, SyncObject *object, SyncCounts *counts);

/* Records rows that PostgreSQL refused, in the caller's transaction. */
extern void record_refused(const SyncObject *object, const char *operation,
						   List *refused);

#endif							/* SYNC_COPY_H */
