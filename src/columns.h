/*-------------------------------------------------------------------------
 *
 * columns.h
 *	  Following what its owner does to the columns of a synced table.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_COLUMNS_H
#define SYNC_COLUMNS_H

#include "tables/catalog.h"

/*
 * columns_changed: names of the objects of a server whose columns are not those
 * that they were.
 *
 * columns_follow: a column that was dropped is left out from now on, with a
 * NOTICE; one that was dropped and added again is filled anew.  Renamed and
 * retyped columns stay an error until that is undone (schema_differences).
 *
 * columns_differences: what keeps rows of these fields from being written (of
 * char *).  columns_faults: the same as one text; NULL if nothing does.
 * columns_refuse: raises it.
 *
 * All need an open transaction, but columns_refuse.
 */
extern List *columns_changed(const char *server);
extern void columns_follow(const char *server, const char *object);
extern List *columns_differences(const SyncObject *object, List *fields);
extern char *columns_faults(const SyncObject *object, List *fields);
extern void columns_refuse(const SyncObject *object, const char *faults);

/* In a step: a field is no longer synced; creates may have gone by it. */
extern void columns_forget_external_id(const SyncObject *object,
									   const char *field);

#endif							/* SYNC_COLUMNS_H */
