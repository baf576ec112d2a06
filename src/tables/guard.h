/*-------------------------------------------------------------------------
 *
 * guard.h
 *	  The triggers that keep a table as Salesforce has it.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_GUARD_H
#define SYNC_GUARD_H

#include "writer.h"

/*
 * guard_create_triggers: triggers that refuse INSERT, UPDATE, DELETE and
 * TRUNCATE by anybody but the sync (ENABLE ALWAYS, so that
 * session_replication_role does not switch them off), on the table and its
 * partitions.  They depend on the extension: DROP EXTENSION sync leaves
 * ordinary tables.  guard_drop_triggers: makes the table an ordinary one.
 */
extern void guard_for_each_partition(Oid relid, void (*action) (Oid relid));
extern void guard_depend_on_extension(Oid relid, const char *trigger);
extern void guard_create_triggers(Oid relid);
extern void guard_drop_triggers(Oid relid);

#endif							/* SYNC_GUARD_H */
