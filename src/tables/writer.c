/*-------------------------------------------------------------------------
 *
 * writer.c
 *	  Who is writing to a synced table: the sync, or somebody else.
 *
 * What the sync writes runs code of the table's owner, or of those whom the
 * owner let put triggers on it.  Hence it runs with the owner's rights in a
 * security-restricted operation, as REFRESH MATERIALIZED VIEW does, whoever is
 * connected.  And what that code writes is a write like any user's: it must be
 * refused or captured, though it happens in the midst of ours.  So the mark that
 * apply_begin sets is not enough; the triggers also ask how deep the statement
 * that fires them is nested, in triggers, in the executor, and in utility
 * commands.  Ours are right below apply_begin:
 *
 *					triggers	executor and utility
 *	our statement	0			1, and it is not what a rule made of ours
 *	our COPY		0			0: CopyFrom is called directly
 *	foreign keys	1			2, under SECURITY_NOFORCE_RLS
 *
 * and everything else is somebody else's: a trigger's statement (1 trigger, 2
 * deep, as that of a foreign key, but without its context), a function's in a
 * default, a constraint or an index expression (0, 2).
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "commands/trigger.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "replication/logicalworker.h"
#include "tcop/utility.h"
#include "utils/builtins.h"

#include "compat.h"
#include "tables/relation.h"
#include "tables/writer.h"

PG_FUNCTION_INFO_V1(sync_applying);
PG_FUNCTION_INFO_V1(sync_own_write);

/* The subtransaction that writes as the sync; invalid when none does. */
static SubTransactionId applying = InvalidSubTransactionId;

/* How deep in triggers, and in executor and utility, its statements are. */
static int	applying_depth = 0;
static int	applying_level = 0;

/*
 * How deep the executor and utility commands are nested, counted only while the
 * mark is set, and whether the innermost one is a statement as it was given
 * rather than one that a rule added.
 */
static int	level = 0;
static bool as_given = true;

static bool watching = false;
static ExecutorRun_hook_type next_executor_run = NULL;
static ExecutorFinish_hook_type next_executor_finish = NULL;
static ProcessUtility_hook_type next_process_utility = NULL;

/*
 * Counting
 */

typedef struct Frame
{
	bool		counted;
	bool		as_given;		/* of what it is in */
} Frame;

static Frame
enter(bool given)
{
	Frame		frame = {false, as_given};

	if (applying != InvalidSubTransactionId || IsLogicalWorker())
	{
		frame.counted = true;
		level++;
		as_given = given;
	}
	return frame;
}

static void
leave(Frame frame)
{
	if (!frame.counted)
		return;
	level--;
	as_given = frame.as_given;
}

static void
count_executor_run(EXECUTOR_RUN_PARAMETERS)
{
	Frame		frame = enter(queryDesc->plannedstmt->canSetTag);

	PG_TRY();
	{
		if (next_executor_run)
			next_executor_run(EXECUTOR_RUN_ARGUMENTS);
		else
			standard_ExecutorRun(EXECUTOR_RUN_ARGUMENTS);
	}
	PG_FINALLY();
	{
		leave(frame);
	}
	PG_END_TRY();
}

/* Where triggers fire that wait for the end of the statement. */
static void
count_executor_finish(QueryDesc *queryDesc)
{
	Frame		frame = enter(queryDesc->plannedstmt->canSetTag);

	PG_TRY();
	{
		if (next_executor_finish)
			next_executor_finish(queryDesc);
		else
			standard_ExecutorFinish(queryDesc);
	}
	PG_FINALLY();
	{
		leave(frame);
	}
	PG_END_TRY();
}

static void
count_utility(PROCESS_UTILITY_PARAMETERS)
{
	Frame		frame = enter(true);

	PG_TRY();
	{
		if (next_process_utility)
			next_process_utility(PROCESS_UTILITY_ARGUMENTS);
		else
			standard_ProcessUtility(PROCESS_UTILITY_ARGUMENTS);
	}
	PG_FINALLY();
	{
		leave(frame);
	}
	PG_END_TRY();
}

static void
forget_at_transaction_end(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PARALLEL_COMMIT:
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PARALLEL_ABORT:
		case XACT_EVENT_PREPARE:
			applying = InvalidSubTransactionId;
			break;
		default:
			break;
	}
}

/*
 * A subtransaction that fails inside of a write (a trigger's own EXCEPTION
 * block) leaves the mark; one that began the write, or holds the one that did,
 * takes it away.  Numbers grow, and those within a live subtransaction are
 * larger than its own.
 */
static void
forget_at_subtransaction_end(SubXactEvent event, SubTransactionId mine,
							 SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB && applying >= mine)
		applying = InvalidSubTransactionId;
	else if (event == SUBXACT_EVENT_COMMIT_SUB && applying == mine)
		applying = parent;
}

/*
 * The hooks stay away from processes that never write as the sync: ordinary
 * sessions pay nothing for them.
 */
static void
watch(void)
{
	if (watching)
		return;
	watching = true;
	RegisterXactCallback(forget_at_transaction_end, NULL);
	RegisterSubXactCallback(forget_at_subtransaction_end, NULL);
	next_executor_run = ExecutorRun_hook;
	ExecutorRun_hook = count_executor_run;
	next_executor_finish = ExecutorFinish_hook;
	ExecutorFinish_hook = count_executor_finish;
	next_process_utility = ProcessUtility_hook;
	ProcessUtility_hook = count_utility;
}

static void
set_mark(bool by_copy)
{
	watch();
	applying = GetCurrentSubTransactionId();
	applying_depth = DatumGetInt32(pg_trigger_depth(NULL));
	applying_level = by_copy ? level : level + 1;
}

/*
 * SET CONSTRAINTS ALL IMMEDIATE.  Triggers that wait already fire here as whom
 * they would have fired for at commit: not for the definer of a function that
 * calls us, who may have more rights than whoever made them wait.
 */
void
check_constraints_at_once(void)
{
	ConstraintsSetStmt *all = makeNode(ConstraintsSetStmt);
	Oid			user;
	int			sec_context;

	all->constraints = NIL;
	all->deferred = false;
	GetUserIdAndSecContext(&user, &sec_context);
	SetUserIdAndSecContext(GetOuterUserId(),
						   sec_context | SECURITY_LOCAL_USERID_CHANGE);
	AfterTriggerSetState(all);
	SetUserIdAndSecContext(user, sec_context);
}

void
owner_begin(Oid owner, ApplyState *state)
{
	rights_begin(&state->rights, owner, SECURITY_RESTRICTED_OPERATION);
	GetUserIdAndSecContext(&state->owner, &state->owner_context);
	state->marked = false;
	state->by_copy = false;
}

void
owner_end(ApplyState *state)
{
	rights_end(&state->rights);
}

void
apply_begin(Oid relid, ApplyState *state)
{
	if (applying != InvalidSubTransactionId)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot write to table \"%s\" while the sync is writing to another",
						relation_label(relid)),
				 errhint("Do not run the sync from within a trigger of a synced table."),
				 relation_error(relid, NULL)));

	check_constraints_at_once();
	owner_begin(relation_owner(relid), state);
	state->marked = true;
	set_mark(false);
}

void
apply_by_copy(ApplyState *state)
{
	state->by_copy = true;
	set_mark(true);
}

void
apply_end(ApplyState *state)
{
	applying = InvalidSubTransactionId;
	owner_end(state);
}

void
apply_suspend(const ApplyState *state)
{
	applying = InvalidSubTransactionId;
	SetUserIdAndSecContext(state->rights.user, state->rights.sec_context);
}

void
apply_resume(const ApplyState *state)
{
	SetUserIdAndSecContext(state->owner, state->owner_context);
	if (state->marked)
		set_mark(state->by_copy);
}

/*
 * sync.applying(): true while the sync writes to a synced table, for the
 * triggers of the tables, the users' own among them.
 */
Datum
sync_applying(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(applying != InvalidSubTransactionId);
}

/*
 * Rows that come by logical replication are a copy of what was written, and
 * captured or refused, elsewhere.  What triggers write when they fire for them
 * is not.
 */
static bool
is_replicated(void)
{
	if (!IsLogicalWorker())
		return false;
	watch();
	return level == 0 && DatumGetInt32(pg_trigger_depth(NULL)) == 0;
}

/*
 * sync.own_write(): true if the statement that runs now is one of the sync's
 * own, or what a foreign key does because of it; see the table at the head.
 */
Datum
sync_own_write(PG_FUNCTION_ARGS)
{
	int			depth;

	if (applying == InvalidSubTransactionId)
		PG_RETURN_BOOL(is_replicated());
	depth = DatumGetInt32(pg_trigger_depth(NULL)) - applying_depth;
	if (!as_given)
		PG_RETURN_BOOL(false);
	PG_RETURN_BOOL((depth == 0 && level == applying_level) ||
				   (depth == 1 && level == applying_level + 1 &&
					InNoForceRLSOperation()));
}
