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
#include "nodes/pg_list.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "step.h"
#include "tables/blocker.h"

/*
 * The fourth field of an advisory lock's tag is 1 or 2 for those that users
 * take by SQL; ours cannot meet them.
 */
#define STEP_LOCK_CLASS		0x5346

/* How often a process looks whether another has released a lock. */
#define LOCK_RETRY_MS		50

/* How long a user's transaction is waited for. */
#define USER_PATIENCE		(2 * USECS_PER_SEC)

bool		step_in_worker = false;

/*
 * The locks that this process holds at session level.  A user's trigger may
 * call pg_advisory_unlock_all(), which lets go of them all, or take advisory
 * locks and leave them behind.  So a step holds each of ours at transaction level
 * as well, which no SQL can undo, and before it commits puts the session's locks
 * back as they should be: nobody can get one of them in between.
 */
typedef struct HeldLock
{
	LOCKTAG		tag;
	int			count;
} HeldLock;

static List *held_locks = NIL;	/* of HeldLock *, in TopMemoryContext */

static LockAcquireResult
acquire(const LOCKTAG *tag, bool for_session)
{
	return LockAcquire(tag, ExclusiveLock, for_session, true);
}

static void
lost_lock(void)
{
	ereport(FATAL,
			(errcode(ERRCODE_OBJECT_IN_USE),
			 errmsg("another process has taken over a lock of this one"),
			 errdetail("Something that ran in it, such as a trigger, called pg_advisory_unlock_all().")));
}

static void
hold_for_transaction(void)
{
	ListCell   *lc;

	foreach(lc, held_locks)
	{
		if (acquire(&((HeldLock *) lfirst(lc))->tag, false) ==
			LOCKACQUIRE_NOT_AVAIL)
			lost_lock();
	}
}

static void
restore_session_locks(void)
{
	ListCell   *lc;

	LockReleaseSession(USER_LOCKMETHOD);
	foreach(lc, held_locks)
	{
		HeldLock   *lock = (HeldLock *) lfirst(lc);

		for (int i = 0; i < lock->count; i++)
			(void) acquire(&lock->tag, true);
	}
}

/* After an abort, which has ended what hold_for_transaction did. */
static void
check_session_locks(void)
{
	ListCell   *lc;

	foreach(lc, held_locks)
	{
		HeldLock   *lock = (HeldLock *) lfirst(lc);

		switch (acquire(&lock->tag, true))
		{
			case LOCKACQUIRE_NOT_AVAIL:
				lost_lock();
				break;
			case LOCKACQUIRE_OK:
				for (int i = 1; i < lock->count; i++)
					(void) acquire(&lock->tag, true);
				break;
			default:
				(void) LockRelease(&lock->tag, ExclusiveLock, true);
		}
	}
}

void
step_begin(void)
{
	MemoryContext caller = CurrentMemoryContext;

	if (!step_in_worker)
		return;
	SetCurrentStatementStartTimestamp();
	StartTransactionCommand();
	hold_for_transaction();
	blocker_watch();
	PushActiveSnapshot(GetTransactionSnapshot());
	MemoryContextSwitchTo(caller);
}

void
step_end(void)
{
	MemoryContext caller = CurrentMemoryContext;

	if (!step_in_worker)
		return;
	restore_session_locks();
	PopActiveSnapshot();
	CommitTransactionCommand();
	blocker_unwatch();
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
	blocker_unwatch();
	check_session_locks();
	MemoryContextSwitchTo(caller);
}

static void
make_tag(LOCKTAG *tag, StepLock lock, Oid oid)
{
	SET_LOCKTAG_ADVISORY(*tag, MyDatabaseId, (uint32) lock, oid,
						 STEP_LOCK_CLASS);
}

static HeldLock *
find_held(const LOCKTAG *tag)
{
	ListCell   *lc;

	foreach(lc, held_locks)
	{
		HeldLock   *lock = (HeldLock *) lfirst(lc);

		if (memcmp(&lock->tag, tag, sizeof(LOCKTAG)) == 0)
			return lock;
	}
	return NULL;
}

static void
note_held(const LOCKTAG *tag)
{
	HeldLock   *lock = find_held(tag);
	MemoryContext old;

	if (lock == NULL)
	{
		old = MemoryContextSwitchTo(TopMemoryContext);
		lock = palloc0(sizeof(HeldLock));
		lock->tag = *tag;
		held_locks = lappend(held_locks, lock);
		MemoryContextSwitchTo(old);
	}
	lock->count++;
}

static void
note_released(const LOCKTAG *tag)
{
	HeldLock   *lock = find_held(tag);

	if (lock == NULL || --lock->count > 0)
		return;
	held_locks = list_delete_ptr(held_locks, lock);
	pfree(lock);
}

bool
step_lock_try(StepLock lock, Oid oid)
{
	LOCKTAG		tag;

	make_tag(&tag, lock, oid);
	if (acquire(&tag, true) == LOCKACQUIRE_NOT_AVAIL)
		return false;
	note_held(&tag);
	return true;
}

bool
step_lock_for_transaction(StepLock lock, Oid oid)
{
	LOCKTAG		tag;

	make_tag(&tag, lock, oid);
	return acquire(&tag, false) != LOCKACQUIRE_NOT_AVAIL;
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

/* sync.set and sync.discard keep a lock till their transaction ends. */
static bool
is_held_by_user(const LOCKTAG *tag, int *pid)
{
	VirtualTransactionId *holders;
	PGPROC	   *proc;
	int			n;
	bool		by_user;

	holders = GetLockConflicts(tag, ExclusiveLock, &n);
	proc = n > 0 ? proc_of_vxid(&holders[0]) : NULL;
	by_user = n > 0 && (proc == NULL || is_session(proc));
	*pid = proc ? proc->pid : 0;
	pfree(holders);
	return by_user;
}

bool
step_lock_soon(StepLock lock, Oid oid, int *pid)
{
	TimestampTz give_up = GetCurrentTimestamp() + USER_PATIENCE;
	LOCKTAG		tag;

	make_tag(&tag, lock, oid);
	while (!step_lock_try(lock, oid))
	{
		if (!is_held_by_user(&tag, pid))
			give_up = GetCurrentTimestamp() + USER_PATIENCE;
		else if (GetCurrentTimestamp() > give_up)
			return false;
		step_sleep(LOCK_RETRY_MS);
	}
	return true;
}

void
step_unlock(StepLock lock, Oid oid)
{
	LOCKTAG		tag;

	make_tag(&tag, lock, oid);
	note_released(&tag);
	(void) LockRelease(&tag, ExclusiveLock, true);
}
