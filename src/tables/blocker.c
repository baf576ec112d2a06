/*-------------------------------------------------------------------------
 *
 * blocker.c
 *	  Who holds the lock that something of ours waited for in vain.
 *
 * The error of a lock that was not to be had does not say who has it, and that
 * is what an administrator needs.  Nor can it be found out afterwards: when the
 * error is raised, the lock manager has forgotten what was waited for.  It may be
 * anything, since users' triggers and keys go along with our writes.  So a timer
 * looks, while we may be waiting, and keeps the tag of the lock.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/multixact.h"
#include "access/subtrans.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/transam.h"
#include "access/xact.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "storage/lmgr.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "tables/blocker.h"
#include "tables/relation.h"
#include "tables/sql.h"

/* Twice within the time that a lock is waited for (use_own_settings, attempt.c). */
#define LOOK_MS			400
#define LOOK_CLOSELY_MS	40

/* What was waited for longer ago is another matter. */
#define WAIT_IS_RECENT	(3 * USECS_PER_SEC)

/* Written by the timer's signal handler. */
static LOCKTAG waited_for;
static LOCKMODE waited_mode;
static volatile TimestampTz waited_at = 0;	/* 0 = for nothing */

static int	look_ms = LOOK_MS;
static bool timer_is_ours = false;
static TimeoutId timer;

/*
 * The lock is not forgotten while we wait for it; should it be granted just now,
 * its memory is still there, and the worst is a process that is named in vain.
 */
static void
look_at_wait(void)
{
	LOCK	   *lock = MyProc->waitLock;

	if (lock != NULL)
	{
		waited_for = lock->tag;
		waited_mode = MyProc->waitLockMode;
		waited_at = GetCurrentTimestamp();
	}
	enable_timeout_after(timer, look_ms);
}

void
blocker_watch(void)
{
	if (!timer_is_ours)
		timer = RegisterTimeout(USER_TIMEOUT, look_at_wait);
	timer_is_ours = true;
	look_ms = LOOK_MS;
	enable_timeout_after(timer, look_ms);
}

void
blocker_unwatch(void)
{
	if (timer_is_ours)
		disable_timeout(timer, false);
}

void
blocker_watch_closely(bool closely)
{
	if (!timer_is_ours)
		return;
	look_ms = closely ? LOOK_CLOSELY_MS : LOOK_MS;
	enable_timeout_after(timer, look_ms);
}

static int
pid_of_holder(const LOCKTAG *tag, LOCKMODE mode)
{
	VirtualTransactionId *holders;
	int			n;

	holders = GetLockConflicts(tag, mode, &n);
	for (int i = 0; i < n; i++)
	{
		PGPROC	   *proc = proc_of_vxid(&holders[i]);

		if (proc && proc->pid != 0)
			return proc->pid;
	}
	return 0;
}

int
blocker_of_table(Oid relid, LOCKMODE mode)
{
	LOCKTAG		tag;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, relid);
	return pid_of_holder(&tag, mode);
}

int
blocker_of_wait(Oid *table)
{
	LOCKTAG		tag = waited_for;

	*table = InvalidOid;
	if (waited_at < GetCurrentTimestamp() - WAIT_IS_RECENT)
		return 0;
	waited_at = 0;
	if (tag.locktag_type == LOCKTAG_RELATION &&
		tag.locktag_field1 == MyDatabaseId &&
		get_rel_name(tag.locktag_field2) != NULL)
		*table = tag.locktag_field2;
	return pid_of_holder(&tag, waited_mode);
}

static int
pid_of_xid(TransactionId xid)
{
	if (!TransactionIdIsNormal(xid) || !TransactionIdIsInProgress(xid) ||
		TransactionIdIsCurrentTransactionId(xid))
		return 0;
	return BackendXidGetPid(SubTransGetTopmostTransaction(xid));
}

static int
pid_of_xmax(HeapTupleHeader row)
{
	TransactionId xmax = HeapTupleHeaderGetRawXmax(row);
	MultiXactMember *members;
	int			n;
	int			pid = 0;

	if (row->t_infomask & HEAP_XMAX_INVALID)
		return 0;
	if (!(row->t_infomask & HEAP_XMAX_IS_MULTI))
		return pid_of_xid(xmax);
	n = GetMultiXactIdMembers(xmax, &members, false,
							  HEAP_XMAX_IS_LOCKED_ONLY(row->t_infomask));
	for (int i = 0; i < n && pid == 0; i++)
		pid = pid_of_xid(members[i].xid);
	return pid;
}

static int
pid_at(Oid relid, ItemPointer tid)
{
	Relation	rel = table_open(relid, AccessShareLock);
	TupleTableSlot *slot = table_slot_create(rel, NULL);
	int			pid = 0;

	if (TTS_IS_BUFFERTUPLE(slot) &&
		table_tuple_fetch_row_version(rel, tid, SnapshotAny, slot))
	{
		bool		should_free;

		pid = pid_of_xmax(ExecFetchSlotHeapTuple(slot, false,
												 &should_free)->t_data);
	}
	ExecDropSingleTupleTableSlot(slot);
	table_close(rel, AccessShareLock);
	return pid;
}

/* (block,offset) as text */
static bool
parse_tid(const char *text, ItemPointer tid)
{
	unsigned int block;
	unsigned int offset;

	if (text == NULL || sscanf(text, "(%u,%u)", &block, &offset) != 2)
		return false;
	ItemPointerSet(tid, block, offset);
	return true;
}

int
blocker_of_row(Oid relid, const char *id)
{
	SqlScope	sql;
	Oid			table = InvalidOid;
	char	   *place = NULL;
	ItemPointerData tid;

	sql_begin_on(&sql, relid);
	if (sql_run(&sql, psprintf("SELECT t.tableoid, t.ctid FROM %s t"
							   " WHERE t.id = $1", relation_rows(relid)),
				"t", id) > 0)
	{
		table = (Oid) sql_int(&sql, 0, 1);
		place = sql_text(&sql, 0, 2);
	}
	sql_end(&sql);
	return parse_tid(place, &tid) ? pid_at(table, &tid) : 0;
}

void
blocker_check_table(Oid relid, LOCKMODE mode)
{
	int			pid;

	if (ConditionalLockRelationOid(relid, mode))
		return;
	pid = blocker_of_table(relid, mode);
	ereport(ERROR,
			(errcode(ERRCODE_LOCK_NOT_AVAILABLE),
			 pid ? errmsg("table \"%s\" is locked by process %d",
						  relation_label(relid), pid) :
			 errmsg("table \"%s\" is locked by another process",
					relation_label(relid)),
			 errhint("It is tried again in a moment, until that process has ended its transaction.")));
}
