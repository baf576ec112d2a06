/*-------------------------------------------------------------------------
 *
 * stage.h
 *	  Making and dropping the temporary table that changed rows go through.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_STAGE_H
#define SYNC_STAGE_H

#include "nodes/pg_list.h"

#define STAGE_NAME		"_sync_stage"

/*
 * stage_make: an empty stage with these columns (char *; the first is the id,
 * NOT NULL) of relid; one that is there makes way.  It outlives the transaction.
 * stage_unmake: drops it, if there is one.
 * stage_index: an index on a column of it.
 *
 * No event trigger fires for any of them.
 */
extern Oid	stage_make(Oid relid, List *columns);
extern void stage_unmake(void);
extern void stage_index(Oid stage, const char *column);

#endif							/* SYNC_STAGE_H */
