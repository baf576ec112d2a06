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
 * Rows that somebody else has locked leave the stage, and are returned
 * (List of RefusedRow *).
 *
 * conflict_deleted: after rows were deleted because the org says so: changes
 * that waited for them have nowhere to go.
 *
 * conflict_without_changes: those of the ids that have no changes waiting.
 */
extern List *conflict_resolve(const SyncObject *object, Stage *stage);
extern void conflict_deleted(const SyncObject *object);
extern List *conflict_without_changes(const SyncObject *object, List *ids);

#endif							/* SYNC_CONFLICT_H */
