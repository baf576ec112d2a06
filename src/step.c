/*-------------------------------------------------------------------------
 *
 * step.c
 *	  Steps of work: short transactions of a worker, locks between processes.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "step.h"

/*
 * The fourth field of an advisory lock's tag is 1 or 2 for those that users
 * take by SQL; ours cannot meet them.
 */
#define STEP_LOCK_CLASS		0x5346

/* How often a process looks whether another has released a lock. */
#define LOCK_RETRY_MS		50

bool		step_in_worker = false;

void
step_begin(void)
{
	MemoryContext caller = CurrentMemoryContext;

	if (!step_in_worker)
		return;
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	PushActiveSnapshot(GetTransactionSnapshot());
	MemoryContextSwitchTo(caller);
}

void
step_end(void)
{
	MemoryContext caller = CurrentMemoryContext;

	if (!step_in_worker)
		return;
	PopActiveSnapshot();
	CommitTransactionCommand();
	MemoryContextSwitchTo(caller);
	pgstat_report_stat(true);
}

void
step_may_be_lost(void)
{
	if (step_in_worker)
		(void) set_config_option("synchronous_commit", "off", PGC_USERSET,
								 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0,
								 false);
}

void
step_abort(void)
{
	MemoryContext caller = CurrentMemoryContext;

	AbortOutOfAnyTransaction();
	MemoryContextSwitchTo(caller);
}

static void
make_tag(LOCKTAG *tag, StepLock lock, Oid oid)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, (uint32) lock, oid,
						 STEP_LOCK_CLASS);
}

bool
step_lock_try(StepLock lock, Oid oid)
{
	LOCKTAG		tag;

	make_tag(&tag, lock, oid);
	return LockAcquire(&tag, ExclusiveLock, true, true) !=
		LOCKACQUIRE_NOT_AVAIL;
}

bool
step_lock_for_transaction(StepLock lock, Oid oid)
{
	LOCKTAG		tag;

	make_tag(&tag, lock, oid);
	return LockAcquire(&tag, ExclusiveLock, false, true) !=
		LOCKACQUIRE_NOT_AVAIL;
}

void
step_sleep(long milliseconds)
{
	(void) WaitLatch(MyLatch,
					 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
					 milliseconds, PG_WAIT_EXTENSION);
	ResetLatch(MyLatch);
	CHECK_FOR_INTERRUPTS();
}

/*
 * Waits without a transaction, which the lock manager's own queue would need:
 * the holder may be waiting for the network.
 */
void
step_lock_wait(StepLock lock, Oid oid)
{
	while (!step_lock_try(lock, oid))
		step_sleep(LOCK_RETRY_MS);
}

void
step_unlock(StepLock lock, Oid oid)
{
	LOCKTAG		tag;

	make_tag(&tag, lock, oid);
	(void) LockRelease(&tag, ExclusiveLock, true);
}
