/*-------------------------------------------------------------------------
 *
 * blocker.c
 *	  Who holds the lock that something of ours waited for in vain.
 *
 * The error of a lock that was not to be had does not say who has it, and that
 * is what an administrator needs.
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
#include "storage/procarray.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "tables/blocker.h"
#include "tables/relation.h"
#include "tables/sql.h"

int
blocker_of_table(Oid relid, LOCKMODE mode)
{
	LOCKTAG		tag;
	VirtualTransactionId *holders;
	int			n;

	SET_LOCKTAG_RELATION(tag, MyDatabaseId, relid);
	holders = GetLockConflicts(&tag, mode, &n);
	for (int i = 0; i < n; i++)
	{
		PGPROC	   *proc = proc_of_vxid(&holders[i]);

		if (proc && proc->pid != 0)
			return proc->pid;
	}
	return 0;
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
							   " WHERE t.id = $1", relation_sql(relid)),
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
