/*-------------------------------------------------------------------------
 *
 * push.c
 *	  The way out: what the outbox holds, to Salesforce.
 *
 * A round takes what is due, folds it to one net change per row, chooses what
 * can go (push_rows.c), looks whether those records are still as we know them
 * (push_look.c), sends them (push_send.c) and notes what came of it
 * (push_outcome.c).  Rounds go on until nothing more can be sent.
 *
 * Nothing is sent twice blindly.  Updates and deletes can be repeated: the look
 * before finds that they have been done.  The attempt to create something is
 * recorded before it is sent; if its answer was lost, it is repeated as it was,
 * before anything that follows, if it is an upsert by an external id, and
 * otherwise looked up in the org (push_doubt.c).
 *
 * While rows of an object go out its lock is held, so that no other process
 * merges rows of it meanwhile.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "pgstat.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "push.h"
#include "step.h"
#include "tables/attempt.h"
#include "tables/capture.h"
#include "tables/identity.h"

int			push_bulk_threshold = 2000;
int			push_concurrency = 4;
int			push_answer_wait = 120;

/* Rows in one round: bounds memory, and is what one Bulk job takes. */
#define ROUND_ROWS			100000

/* Writers who never pause must not keep what comes in from coming. */
#define RUN_TIME			(10 * USECS_PER_SEC)

/* Ids that are given, and rows that refused to take them, are tried again. */
#define REPLACE_RETRY		(10 * USECS_PER_SEC)

/* What somebody has locked is tried again soon. */
#define LOCKED_RETRY		(2 * USECS_PER_SEC)

/*
 * Objects of which nothing can go out for now, for a reason that lies here: a
 * user has the table locked, has changed it, and the like.  Others go on.  Kept
 * for the life of the process, since a run is short.
 */
typedef struct StuckObject
{
	Oid			relid;
	TimestampTz until;
} StuckObject;

static List *stuck_objects = NIL;	/* of StuckObject *, in TopMemoryContext */

/*
 * Nothing of these is to be sent.  What waits for one that Salesforce will never
 * know waits no longer.
 */
static void
forget_rows(Push *push, List *rows)
{
	int			n;
	int64	   *seqs = push_numbers(rows, &n);
	bool		unknown = false;
	ListCell   *lc;

	step_begin();
	outbox_done(seqs, n);
	foreach(lc, rows)
	{
		PushRow    *row = (PushRow *) lfirst(lc);

		push_note_lost(row);
		unknown |= row->change->id[0] == PROVISIONAL_MARK;
	}
	if (unknown)
		outbox_undefer(push->server);
	step_end();
}

/* An error of ours; what it concerns is kept for somebody to look at. */
static void
refuse_impossible(Push *push, PushRow *row)
{
	WriteRecord *record = &row->record;

	record->answered = true;
	record->success = false;
	record->refusal = RECORD_PARK;
	record->code = "INTERNAL_ERROR";
	record->message = "the changes of the row that are in the outbox cannot have followed each other";
	step_begin();
	push_note_outcomes(push, list_make1(row), 0);
	step_end();
}

/* Changes that come to nothing, and deletes that are not to be sent. */
static List *
drop_nothing(Push *push, List *rows)
{
	List	   *left = NIL;
	List	   *nothing = NIL;
	ListCell   *lc;

	foreach(lc, rows)
	{
		PushRow    *row = (PushRow *) lfirst(lc);
		bool		none = row->change->operation == NET_NOTHING ||
			(row->change->operation == NET_DELETE &&
			 (!row->target->object->push_deletes ||
			  row->change->id[0] == PROVISIONAL_MARK));

		if (row->change->operation == NET_IMPOSSIBLE)
			refuse_impossible(push, row);
		else if (none)
		{
			nothing = lappend(nothing, row);
			row->target->counts.skipped++;
		}
		else
			left = lappend(left, row);
	}
	if (nothing != NIL)
		forget_rows(push, nothing);
	return left;
}

/*
 * What was changed back has been looked at: the org has what it had before.
 * Without a look it is sent.
 */
static List *
drop_back(Push *push, List *rows)
{
	ListCell   *lc;

	foreach(lc, rows)
	{
		PushRow    *row = (PushRow *) lfirst(lc);

		if (row->target->object->direction == DIRECTION_BOTH)
			fold_drop_back(row->change);
	}
	return drop_nothing(push, rows);
}

/*
 * Gives rows of new records their ids; a row that refuses is recorded.
 * Returns how many are left.
 */
static int
replace_ids(Push *push)
{
	List	   *refused = NIL;
	int			left;
	ListCell   *lc;

	step_begin();
	left = identity_replace(push->server, &refused);
	foreach(lc, refused)
	{
		RefusedRow *row = (RefusedRow *) lfirst(lc);

		bool		locked = strcmp(row->sqlstate, "55P03") == 0;

		push->ids_locked |= locked;
		catalog_failure(push->server, NULL, "replace", row->id, row->sqlstate,
						row->detail
						? psprintf("%s (%s)", row->message, row->detail)
						: row->message, locked ?
						"The record exists in Salesforce; its row here takes its id as soon as it is free." :
						"The record exists in Salesforce; its row here cannot take its id yet. Declare foreign keys to synced tables ON UPDATE CASCADE.",
						NIL);
	}
	step_end();
	return left;
}

static void
log_round(Push *push)
{
	ListCell   *lc;

	step_begin();
	foreach(lc, push->objects)
	{
		PushObject *target = (PushObject *) lfirst(lc);
		SyncCounts *c = &target->counts;

		if (c->inserted + c->updated + c->deleted + c->skipped + c->failed > 0)
		{
			/* Calls are shared by all objects of a round: the first has them. */
			c->calls = cycle_calls(push->org) - push->calls;
			push->calls += c->calls;
			catalog_rows_added(target->object, c->inserted - c->deleted);
			catalog_log_whole(push->cycle->run, push->server,
							  target->object->object, "push", push->started,
							  c, "done");
		}
		memset(c, 0, sizeof(SyncCounts));
	}
	step_end();
}

/* Refuses a row that refers to a row that is gone. */
static void
refuse_dangling(Push *push, PushRow *row, const char *missing)
{
	WriteRecord *record = &row->record;

	record->answered = true;
	record->success = false;
	record->refusal = RECORD_PARK;
	record->code = "INVALID_CROSS_REFERENCE_KEY";
	record->message = psprintf("the row refers to %s, which was deleted before it reached Salesforce",
							   missing);
	push_note_outcomes(push, list_make1(row), 0);
}

/* Rows that wait for what will never come. */
static void
refuse_waiting(Push *push, List *waiting)
{
	List	   *holders = NIL;
	List	   *ids = NIL;
	List	   *dangling;
	ListCell   *lc;
	ListCell   *lc2;

	foreach(lc, waiting)
	{
		PushRow    *row = (PushRow *) lfirst(lc);

		foreach(lc2, row->change->fields)
		{
			if (!push_is_reference(row, (NetField *) lfirst(lc2)))
				continue;
			holders = lappend(holders, row);
			ids = lappend(ids, ((NetField *) lfirst(lc2))->raw);
		}
	}
	if (ids == NIL)
		return;
	step_begin();
	dangling = outbox_dangling(ids);
	forboth(lc, holders, lc2, dangling)
	{
		PushRow    *row = (PushRow *) lfirst(lc);

		if (lfirst(lc2) && !row->record.answered)
			refuse_dangling(push, row, (char *) lfirst(lc2));
	}
	step_end();
}

/*
 * Rows that wait for others are no longer due: they would be looked at all the
 * time, and so many of them hide the rows behind them.  They are due again when
 * ids have been given.
 */
static void
defer_waiting(List *waiting)
{
	List	   *left = NIL;
	int64	   *seqs;
	int			n;
	ListCell   *lc;

	foreach(lc, waiting)
	{
		if (!((PushRow *) lfirst(lc))->record.answered)
			left = lappend(left, lfirst(lc));
	}
	seqs = push_numbers(left, &n);
	if (n == 0)
		return;
	step_begin();
	outbox_defer(seqs, n, GetCurrentTimestamp() + STUCK_RETRY);
	step_end();
}

/* The tables that are stuck, as numbers. */
static int64 *
stuck_numbers(int *n)
{
	int64	   *numbers = palloc(sizeof(int64) *
								 Max(list_length(stuck_objects), 1));
	ListCell   *lc;

	*n = 0;
	foreach(lc, stuck_objects)
		numbers[(*n)++] = ((StuckObject *) lfirst(lc))->relid;
	return numbers;
}

/*
 * The tables that may have something to send and whose objects are free; their
 * locks are ours from here on.
 */
static int64 *
lock_tables(Push *push, int *n)
{
	int			nstuck;
	int64	   *stuck = stuck_numbers(&nstuck);
	List	   *relids;
	int64	   *numbers;
	ListCell   *lc;

	step_begin();
	relids = outbox_due_tables(push->server, push->only, stuck,
							   OidIsValid(push->only) ? 0 : nstuck);
	step_end();
	numbers = palloc(sizeof(int64) * Max(list_length(relids), 1));
	*n = 0;
	foreach(lc, relids)
	{
		PushObject *target = push_object(push, lfirst_oid(lc));

		if (target && push_lock(target))
			numbers[(*n)++] = lfirst_oid(lc);
	}
	return numbers;
}

static List *
take_changes(Push *push)
{
	List	   *changes;
	int			n;
	int64	   *tables;

	if (push->gave_ids)
	{
		step_begin();
		outbox_undefer(push->server);
		step_end();
	}
	tables = lock_tables(push, &n);

	step_begin();
	changes = outbox_take(tables, n, ROUND_ROWS);
	step_end();
	push->gave_ids = false;
	return changes;
}

/* One round; returns whether another may find something to do. */
static bool
push_round(Push *push)
{
	List	   *changes = take_changes(push);
	List	   *rows;
	List	   *ready;
	List	   *waiting = NIL;
	bool		full;			/* perhaps; there may be more behind */

	rows = drop_nothing(push, push_rows_of(push, fold_changes(changes)));
	push_fill_known_ids(rows);
	ready = push_choose_ready(rows, &waiting);
	full = list_length(changes) > ROUND_ROWS / 2;
	if (ready == NIL)
		refuse_waiting(push, waiting);
	else if (!push_look(push, ready))
	{
		push_send(push, drop_back(push, ready));
		push_forget_look(push, ready);
		(void) replace_ids(push);
	}
	if (ready == NIL || full)
		defer_waiting(waiting);
	return ready != NIL || (full && waiting != NIL);
}

/* A piece of work with its memory and locks. */
static bool
guarded(Push *push, bool (*work) (Push *push))
{
	MemoryContext old = MemoryContextSwitchTo(push->round);
	volatile bool more = false;

	PG_TRY();
	{
		more = work(push);
		log_round(push);
	}
	PG_CATCH();
	{
		push_unlock(push);
		PG_RE_THROW();
	}
	PG_END_TRY();
	push_unlock(push);
	MemoryContextSwitchTo(old);
	MemoryContextReset(push->round);
	CHECK_FOR_INTERRUPTS();
	return more;
}

/* Attempts in doubt are not looked at each time that somebody commits. */
static TimestampTz doubts_due = 0;

static void
resolve_doubts(Push *push)
{
	if (!push->cycle->now && doubts_due > GetCurrentTimestamp())
		return;
	(void) guarded(push, push_resolve_doubts);
	doubts_due = 0;
}

/* Those that were not looked at this time come no later for that. */
static TimestampTz
next_doubts(Push *push)
{
	TimestampTz due = push_doubts_due(push->server);

	if (due == 0 || doubts_due == 0 || due < doubts_due)
		doubts_due = due;
	return doubts_due;
}

static bool
run_is_long(const Push *push)
{
	return GetCurrentTimestamp() - push->started > RUN_TIME;
}

static void
push_rounds(Push *push)
{
	while (guarded(push, push_round) && !run_is_long(push))
		;
}

static void
give_ids(Push *push)
{
	push->ids_left = replace_ids(push);
}

/* NULL, or the local error that the work failed with. */
static ErrorData *
try_locally(Push *push, void (*work) (Push *push))
{
	MemoryContext caller = CurrentMemoryContext;
	ErrorData  *volatile error = NULL;

	PG_TRY();
	{
		work(push);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(push->context);
		error = CopyErrorData();
		if (!cycle_is_local(error))
			PG_RE_THROW();
		FlushErrorState();
		step_abort();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	return error;
}

static StuckObject *
find_stuck(Oid relid)
{
	ListCell   *lc;

	foreach(lc, stuck_objects)
	{
		StuckObject *stuck = (StuckObject *) lfirst(lc);

		if (stuck->relid == relid)
			return stuck;
	}
	return NULL;
}

static void
forget_stuck(Oid relid)
{
	StuckObject *stuck = find_stuck(relid);

	if (stuck == NULL)
		return;
	stuck_objects = list_delete_ptr(stuck_objects, stuck);
	pfree(stuck);
}

static void
note_stuck(Push *push, Oid relid, const ErrorData *error)
{
	StuckObject *stuck = find_stuck(relid);
	MemoryContext old;

	if (stuck == NULL)
	{
		old = MemoryContextSwitchTo(TopMemoryContext);
		stuck = palloc0(sizeof(StuckObject));
		stuck->relid = relid;
		stuck_objects = lappend(stuck_objects, stuck);
		MemoryContextSwitchTo(old);
	}
	stuck->until = GetCurrentTimestamp() +
		(is_contention(error) ? LOCKED_RETRY : STUCK_RETRY);
}

/* The rounds of one table, whose errors are its own. */
static void
push_object_alone(Push *push, SyncObject *object)
{
	ErrorData  *error;
	PushObject	target = {.object = object};

	push->only = object->relid;
	error = try_locally(push, push_rounds);
	push->only = InvalidOid;
	if (error == NULL)
	{
		forget_stuck(object->relid);
		push_note_recovery(push, &target);
		return;
	}
	note_stuck(push, object->relid, error);
	api_clear_error(push->org->api);
	cycle_note_push_failure(push->server, object, error);
}

/* Nobody would try those again that are not among the ones that go out. */
static void
forget_others(List *objects)
{
	List	   *others = list_copy(stuck_objects);
	ListCell   *lc;

	foreach(lc, objects)
	{
		SyncObject *object = (SyncObject *) lfirst(lc);

		if (object->direction != DIRECTION_FROM)
			others = list_delete_ptr(others, find_stuck(object->relid));
	}
	foreach(lc, others)
		forget_stuck(((StuckObject *) lfirst(lc))->relid);
}

/* Objects that are stuck and are to be tried again; with all, the others too. */
static void
push_by_object(Push *push, bool all)
{
	List	   *objects;
	ListCell   *lc;

	step_begin();
	objects = catalog_objects(push->server);
	step_end();
	forget_others(objects);
	foreach(lc, objects)
	{
		SyncObject *object = (SyncObject *) lfirst(lc);
		StuckObject *stuck = find_stuck(object->relid);

		if (object->direction != DIRECTION_FROM &&
			(stuck ? stuck->until <= GetCurrentTimestamp() : all))
			push_object_alone(push, object);
	}
}

/* When the next of those that are stuck is to be tried; 0 = none is. */
static TimestampTz
next_stuck(void)
{
	TimestampTz next = 0;
	ListCell   *lc;

	foreach(lc, stuck_objects)
	{
		TimestampTz until = ((StuckObject *) lfirst(lc))->until;

		next = next ? Min(next, until) : until;
	}
	return next;
}

/*
 * What another process could not send (sync.now, one that has ended) is told
 * until it goes well: so it has where nothing waits any more.
 */
static void
note_settled(Push *push)
{
	List	   *settled;
	ListCell   *lc;

	step_begin();
	settled = outbox_note_settled(push->server);
	step_end();
	foreach(lc, settled)
		cycle_tell_recovery(push->server, (char *) lfirst(lc), push->org);
}

/*
 * What was sent when the direction of its object became from, and whose answer
 * was lost, waits again if the org does not have it; but it is not to go.
 */
static void
set_aside(Push *push)
{
	step_begin();
	(void) outbox_set_aside(push->server, InvalidOid);
	step_end();
}

/*
 * All objects together, as parents and children go; if something here is in
 * the way, each by itself, to find out whose it is.
 */
static TimestampTz
send_everything(Push *push)
{
	TimestampTz again;
	ErrorData  *error;

	resolve_doubts(push);
	(void) try_locally(push, set_aside);
	(void) try_locally(push, give_ids);
	error = try_locally(push, push_rounds);
	push_by_object(push, error != NULL);
	again = next_doubts(push);
	push->ids_locked = false;
	error = try_locally(push, give_ids);
	if (error != NULL || push->ids_left > 0)
	{
		TimestampTz then = GetCurrentTimestamp() +
			(error != NULL || push->ids_locked ? LOCKED_RETRY : REPLACE_RETRY);

		again = again ? Min(again, then) : then;
	}
	if (next_stuck() != 0)
		again = again ? Min(again, next_stuck()) : next_stuck();
	(void) try_locally(push, note_settled);
	return again;
}

TimestampTz
push_run(Cycle *cycle)
{
	MemoryContext context;
	MemoryContext old;
	Push	   *push;
	volatile TimestampTz again = 0;

	if (cycle->now)
		step_lock_wait(LOCK_PUSH, cycle->org->server->serverid);
	else if (!step_lock_try(LOCK_PUSH, cycle->org->server->serverid))
		return 0;
	context = AllocSetContextCreate(CurrentMemoryContext, "sync push",
									ALLOCSET_DEFAULT_SIZES);
	old = MemoryContextSwitchTo(context);
	push = palloc0(sizeof(Push));
	push->cycle = cycle;
	push->org = cycle->org;
	push->server = cycle->org->server->name;
	push->context = context;
	push->round = AllocSetContextCreate(context, "sync push round",
										ALLOCSET_DEFAULT_SIZES);
	push->started = GetCurrentTimestamp();
	push->calls = cycle_calls(push->org);
	push_begin_looks(push);
	pgstat_report_activity(STATE_RUNNING, "push");
	PG_TRY();
	{
		again = send_everything(push);
	}
	PG_FINALLY();
	{
		step_unlock(LOCK_PUSH, push->org->server->serverid);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
	return again;
}
