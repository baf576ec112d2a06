/*-------------------------------------------------------------------------
 *
 * conflict.h
 *	  Both sides changed the same: who wins.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_CONFLICT_H
#define SYNC_CONFLICT_H

#include "tables/catalog.h"
#include "tables/merge.h"

/*
 * conflict_resolve: before a stage is merged, in the merge's transaction:
 * compares its rows with local changes that wait in the outbox, field by field
 * (last common value, theirs, ours).  Where only we changed a field, the stage
 * gets ours; where both did, the rule of the object decides, the loser's value
 * goes into sync.conflicts, and what is no longer to be sent leaves the outbox.
 *
 * conflict_deleted: the same for ids that the org says are deleted.
 */
extern void conflict_resolve(const SyncObject *object, Stage *stage);
extern void conflict_deleted(const SyncObject *object, List *ids);

#endif							/* SYNC_CONFLICT_H */
