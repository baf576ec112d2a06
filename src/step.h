/*-------------------------------------------------------------------------
 *
 * step.h
 *	  Steps of work: short transactions of a worker, locks between processes.
 *
 * Whatever waits for the network does so between steps.  In a background
 * worker step_begin starts a transaction and step_end commits it.  In a
 * backend, which is in its user's transaction all the time, they do nothing;
 * so code that both run can be written once.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_STEP_H
#define SYNC_STEP_H

/* True in the background workers of sync; set once, when one starts. */
extern bool step_in_worker;

/* Allocations between the two go to the context that was current before. */
extern void step_begin(void);
extern void step_end(void);

/*
 * Within a step of a worker: step_end need not wait until its commit is on
 * disk.  For what is simply done again when a crash loses it, progress and
 * rows alike; any later commit that waits brings it to disk as well.
 */
extern void step_may_be_lost(void);

/* After a caught error, in a worker: back to no transaction at all. */
extern void step_abort(void);

/*
 * Session-level advisory locks of this database, released by the end of the
 * process at the latest.  Who holds one is the one process that may do what
 * it stands for; there is no other bookkeeping that a crash could leave wrong.
 */
typedef enum StepLock
{
	LOCK_WORKER = 1,			/* by server: running its cycles */
	LOCK_LOGIN,					/* by server: logging in */
	LOCK_OBJECT,				/* by table: writing rows from Salesforce, or
								 * sending its changes */
	LOCK_PUSH					/* by server: sending changes */
} StepLock;

/*
 * step_lock_soon: waits for other processes of the sync, however long they take,
 * and for a user's transaction a moment.  False if that has it still; *pid is
 * its process, 0 if it is prepared.
 *
 * step_lock_for_transaction: in a backend; false at once if somebody else has
 * it, otherwise held until the transaction has committed, so that whoever gets
 * it next sees what that wrote.
 */
extern bool step_lock_try(StepLock lock, Oid oid);
extern void step_lock_wait(StepLock lock, Oid oid);
extern bool step_lock_soon(StepLock lock, Oid oid, int *pid);
extern void step_unlock(StepLock lock, Oid oid);
extern bool step_lock_for_transaction(StepLock lock, Oid oid);

/* Sleeps on the latch until it is set or the time is over; interruptible. */
extern void step_sleep(long milliseconds);

#endif							/* SYNC_STEP_H */
