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

#include "nodes/pg_list.h"

/*
 * columns_changed: names of the objects of a server whose columns are not those
 * that they were.
 *
 * columns_follow: a column that was dropped is left out from now on, with a
 * NOTICE; one that was dropped and added again is filled anew.  Renamed and
 * retyped columns stay an error until that is undone (schema_differences).
 * Both need an open transaction.
 */
extern List *columns_changed(const char *server);
extern void columns_follow(const char *server, const char *object);

#endif							/* SYNC_COLUMNS_H */
