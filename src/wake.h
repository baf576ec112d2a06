/*-------------------------------------------------------------------------
 *
 * wake.h
 *	  Waking a server's worker when a transaction commits.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_WAKE_H
#define SYNC_WAKE_H

/*
 * worker_wake_at_commit: the server's worker looks at its tables anew once
 * this transaction has committed, and one is started then if none is running.
 * worker_wake_for_changes: the same from a capture trigger, once for each
 * transaction: looks up nothing that it knows already, and starts nothing.
 */
extern void worker_wake_at_commit(Oid serverid, bool start);
extern void worker_wake_for_changes(Oid serverid);

#endif							/* SYNC_WAKE_H */
