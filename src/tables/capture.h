/*-------------------------------------------------------------------------
 *
 * capture.h
 *	  Local changes of synced tables into the outbox.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_CAPTURE_H
#define SYNC_CAPTURE_H

#include "provisional.h"

/*
 * capture_create_triggers: local changes of the table are written to
 * sync.change, in the transaction that makes them; TRUNCATE is refused.
 * capture_complete: once its first copy is done, new rows get their numbers
 * by a trigger (provisional.c); nothing for a table that takes no writes.
 * capture_drop_triggers: no longer.
 * capture_init: called at module load.
 *
 * What it is given is called once for each transaction that captured
 * something, with the server; it is the bridge's, which knows the workers.
 */
extern void capture_create_triggers(Oid relid);
extern void capture_complete(Oid relid);
extern void capture_drop_triggers(Oid relid);

typedef void (*CaptureWake) (Oid serverid);
extern void capture_init(CaptureWake wake);

#endif							/* SYNC_CAPTURE_H */
