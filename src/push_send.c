/*-------------------------------------------------------------------------
 *
 * push_send.c
 *	  Rows in calls, and what is done about calls that are refused.
 *
 * Rows of one object and verb go together, those that lock the same parent next
 * to each other, and calls that would lock the same one after another.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "mapping.h"
#include "push.h"
#include "step.h"
#include "tables/identity.h"
#include "tables/stamps.h"

/* Rows that were refused for a lock or a limit go in smaller calls. */
#define RETRY_CALL_ROWS		20

/* A conditional write is one subrequest of a Composite call. */
#define CONDITIONAL_CALL_ROWS	25

static WriteVerb
verb_of(const PushRow *row)
{
	const char *external_id = row->target->object->external_id;

	if (row->change->operation == NET_DELETE)
		return WRITE_DELETE;
	if (row->change->operation == NET_UPDATE)
		return WRITE_UPDATE;
	if (external_id)
	{
		NetField   *field = fold_field(row->change,
									   mapping_lower(external_id));

		if (field && field->raw)
			return WRITE_UPSERT;
	}
	return WRITE_CREATE;
}

static void
fill_record(PushRow *row)
{
	WriteRecord *record = &row->record;
	ListCell   *lc;

	memset(record, 0, sizeof(WriteRecord));
	record->object = row->target->object->object;
	if (row->change->operation != NET_INSERT)
		record->id = row->change->id;
	if (row->change->operation == NET_DELETE)
		return;
	record->fields = palloc0(sizeof(WriteField) *
							 (list_length(row->change->fields) + 1));
	foreach(lc, row->change->fields)
	{
		NetField   *net = (NetField *) lfirst(lc);
		SyncField  *field = push_field(row->target, net->column);

		record->fields[record->nfields].name = field->field;
		record->fields[record->nfields].value = net->raw;
		record->fields[record->nfields].bare = net->bare;
		record->nfields++;
	}
	if (row->key == NULL)
		return;
	record->fields[record->nfields].name = row->key_name;
	record->fields[record->nfields].value = row->key->raw;
	record->fields[record->nfields].bare = row->key->bare;
	record->nfields++;
}

static int
max_rows_of_call(const PushRow *row, WriteVerb verb)
{
	const SyncObject *object = row->target->object;
	int			most = COLLECTION_MAX_RECORDS;

	if (verb == WRITE_UPDATE && object->unmodified_since)
		most = CONDITIONAL_CALL_ROWS;
	else if (row->change->attempts > 0)
		most = RETRY_CALL_ROWS;
	return object->batch_rows > 0 ? Min(most, object->batch_rows) : most;
}

/*
 * A call that the rows of one verb, object and size go into until it is full.
 * Upserts need one object; others could be mixed, but objects rarely come
 * together.
 */
typedef struct PushCall
{
	WriteVerb	verb;
	PushObject *target;
	int			max_rows;
	List	   *rows;			/* of PushRow * */
	int64		attempt;		/* 0 = none recorded */
	WriteCall	call;
} PushCall;

static int
compare_rows(const ListCell *a, const ListCell *b)
{
	const PushRow *x = (const PushRow *) lfirst(a);
	const PushRow *y = (const PushRow *) lfirst(b);

	if (x->parent == NULL || y->parent == NULL)
		return (y->parent == NULL) - (x->parent == NULL);
	return strcmp(x->parent, y->parent);
}

/* Which record each write locks, where the change itself does not say. */
static void
fill_parents(List *rows, PushObject *target)
{
	List	   *ids = NIL;
	List	   *parents;
	ListCell   *lc;
	ListCell   *lc2;

	if (target->parent == NULL)
		return;
	foreach(lc, rows)
	{
		PushRow    *row = (PushRow *) lfirst(lc);
		NetField   *net = fold_field(row->change, target->parent->attname);

		ids = lappend(ids, row->change->id);
		row->parent = net ? net->raw : NULL;
	}
	step_begin();
	parents = stamps_column(target->object->relid, target->parent->attname,
							ids);
	step_end();
	forboth(lc, rows, lc2, parents)
	{
		PushRow    *row = (PushRow *) lfirst(lc);

		if (row->parent == NULL)
			row->parent = (char *) lfirst(lc2);
	}
}

/* Rows of one verb and object, cut into calls. */
static List *
cut_into_calls(List *rows, WriteVerb verb, PushObject *target)
{
	List	   *calls = NIL;
	PushCall   *call = NULL;
	ListCell   *lc;

	fill_parents(rows, target);
	list_sort(rows, compare_rows);
	foreach(lc, rows)
	{
		PushRow    *row = (PushRow *) lfirst(lc);
		int			max_rows = max_rows_of_call(row, verb);

		if (call == NULL || list_length(call->rows) >= call->max_rows ||
			call->max_rows != max_rows)
		{
			call = palloc0(sizeof(PushCall));
			call->verb = verb;
			call->target = target;
			call->max_rows = max_rows;
			calls = lappend(calls, call);
		}
		call->rows = lappend(call->rows, row);
	}
	return calls;
}

static void
prepare_call(Push *push, PushCall *call)
{
	int			n = 0;
	ListCell   *lc;

	memset(&call->call, 0, sizeof(WriteCall));
	call->call.verb = call->verb;
	call->call.external_id = call->target->object->external_id;
	call->call.allow_duplicates = call->target->object->allow_duplicates;
	call->call.records = palloc(sizeof(WriteRecord *) *
								list_length(call->rows));
	foreach(lc, call->rows)
	{
		PushRow    *row = (PushRow *) lfirst(lc);

		fill_record(row);
		call->call.records[n++] = &row->record;
	}
	call->call.nrecords = n;
}

/* What was asked for is not left out unasked. */
static void
require_stamps(const SyncObject *object)
{
	if (get_attnum(object->relid, "lastmodifieddate") == InvalidAttrNumber)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("field \"%s\" of %s is not synced, by which unmodified_since tells whether a record was changed",
						"LastModifiedDate", object->object),
				 errhint("Sync the field, or SELECT sync.set('%s', '%s', 'unmodified_since', 'off').",
						 object->server, object->object)));
}

static void
fill_conditions(PushCall *call)
{
	List	   *ids = NIL;
	List	   *times;
	ListCell   *lc;
	ListCell   *lc2;

	if (call->verb != WRITE_UPDATE || !call->target->object->unmodified_since)
		return;
	foreach(lc, call->rows)
		ids = lappend(ids, ((PushRow *) lfirst(lc))->change->id);
	step_begin();
	require_stamps(call->target->object);
	times = stamps_column(call->target->object->relid, "lastmodifieddate",
						  ids);
	step_end();
	forboth(lc, call->rows, lc2, times)
	{
		if (lfirst(lc2))
			((PushRow *) lfirst(lc))->record.unmodified_since =
				stamps_parse((char *) lfirst(lc2));
	}
}

/*
 * Before anything is sent that can't be repeated blindly, or that a later delete
 * must not undo here alone.
 */
static void
record_attempts(Push *push, List *calls)
{
	ListCell   *lc;

	step_begin();
	foreach(lc, calls)
	{
		PushCall   *call = (PushCall *) lfirst(lc);
		int64	   *seqs;
		int			n;

		if (call->verb != WRITE_CREATE && call->verb != WRITE_UPSERT)
			continue;
		seqs = push_numbers(call->rows, &n);
		call->attempt = attempt_begin(push->server,
									  call->target->object->object,
									  call->verb == WRITE_CREATE ? "create" : "upsert",
									  call->call.external_id,
									  api_now(push->org->api));
		outbox_sent(seqs, n, call->attempt);
	}
	step_end();
}

/* Rows of a call, in calls of at most so many. */
static List *
calls_of(const PushCall *call, List *rows, int most)
{
	List	   *calls = NIL;
	PushCall   *part = NULL;
	ListCell   *lc;

	foreach(lc, rows)
	{
		if (part == NULL || list_length(part->rows) >= most)
		{
			part = palloc0(sizeof(PushCall));
			part->verb = call->verb;
			part->target = call->target;
			part->max_rows = most;
			calls = lappend(calls, part);
		}
		part->rows = lappend(part->rows, lfirst(lc));
	}
	return calls;
}

/*
 * The call as a whole was refused for what stands in it: halves tell which row
 * it is.  A row that stands alone has the call's refusal for its own.
 */
static List *
halves_of(const PushCall *call)
{
	return calls_of(call, call->rows, (list_length(call->rows) + 1) / 2);
}

/*
 * Rows that were too many for one transaction in the org go again at once, half
 * as many to a call; they leave this one.  One that was alone has to wait, or is
 * refused (push_outcome.c).
 */
static List *
take_crowded(PushCall *call)
{
	int			n = list_length(call->rows);
	List	   *crowded = NIL;
	List	   *others = NIL;
	ListCell   *lc;

	if (n == 1)
		return NIL;
	foreach(lc, call->rows)
	{
		const WriteRecord *record = &((PushRow *) lfirst(lc))->record;

		if (record->answered && !record->success && record->crowded)
			crowded = lappend(crowded, lfirst(lc));
		else
			others = lappend(others, lfirst(lc));
	}
	call->rows = others;
	return calls_of(call, crowded, n / 2);
}

/* Others of the object that are still to be sent are no larger. */
static List *
cut_others(List *calls, const PushCall *smaller)
{
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, calls)
	{
		PushCall   *call = (PushCall *) lfirst(lc);

		if (call->target == smaller->target && call->verb == smaller->verb &&
			list_length(call->rows) > smaller->max_rows)
			result = list_concat(result, calls_of(call, call->rows,
												  smaller->max_rows));
		else
			result = lappend(result, call);
	}
	return result;
}

/* Within the step that notes the others: these were not done, nor are they. */
static void
note_unsent(List *calls)
{
	ListCell   *lc;
	ListCell   *lc2;

	foreach(lc, calls)
	{
		foreach(lc2, ((PushCall *) lfirst(lc))->rows)
		{
			NetChange  *change = ((PushRow *) lfirst(lc2))->change;

			outbox_sent(change->seqs, change->nseqs, 0);
		}
	}
}

static void
take_refusal(PushCall *call)
{
	ListCell   *lc;

	foreach(lc, call->rows)
	{
		WriteRecord *record = &((PushRow *) lfirst(lc))->record;

		record->answered = true;
		record->success = false;
		record->code = pstrdup(call->call.refusal.code);
		record->message = call->call.refusal.message;
		record->refusal = call->call.refusal.refusal == API_TRANSIENT
			? RECORD_RETRY : RECORD_PARK;
	}
}

/*
 * Whom the refusal of a whole call concerns: its rows, if it may be for what
 * stands in them; else all that goes out to the object, or to the org.  Codes
 * that are not known to mean the org hold up no other object.
 */
typedef enum Concern
{
	CONCERNS_ROWS,
	CONCERNS_OBJECT,
	CONCERNS_ORG
} Concern;

static Concern
concern_of(const ApiError *error)
{
	static const char *const of_org[] = {
		"API_DISABLED_FOR_ORG", "API_CURRENTLY_DISABLED",
		"TXN_SECURITY_METERING_ERROR"
	};

	for (size_t i = 0; i < lengthof(of_org); i++)
	{
		if (strcmp(error->code, of_org[i]) == 0)
			return CONCERNS_ORG;
	}
	switch (error->refusal)
	{
		case API_LIMIT:
		case API_LOGIN:
			return CONCERNS_ORG;
		case API_PERMISSION:
			/* An edge server's own, without a code, says nothing of objects. */
			return error->code[0] ? CONCERNS_OBJECT : CONCERNS_ORG;
		case API_UNSUPPORTED:
		case API_CURSOR:
			return CONCERNS_OBJECT;
		case API_REQUEST:
			/* The path, the version or the method; of 400 the body. */
			return error->status == 404 || error->status == 405 ||
				error->status == 409 || error->status == 410 ||
				error->status == 415 || error->status == 428 ?
				CONCERNS_OBJECT : CONCERNS_ROWS;
		default:
			return CONCERNS_ROWS;
	}
}

bool
push_concerns_org(const ApiError *error)
{
	return concern_of(error) == CONCERNS_ORG;
}

/* The rows of refused calls of an object wait, and others of it with them. */
static void
note_object_refused(Push *push, PushCall *call)
{
	const ApiError *refusal = &call->call.refusal;
	SyncObject *object = call->target->object;
	int64	   *seqs;
	int			n;

	call->target->refused = lappend_int(call->target->refused, call->verb);
	seqs = push_numbers(call->rows, &n);
	step_begin();
	push_give_back(call->rows, call->attempt);
	outbox_defer(seqs, n, GetCurrentTimestamp() + STUCK_RETRY);
	catalog_failure(push->server, object->object, "push", NULL,
					catalog_code(refusal->code), refusal->message,
					"Salesforce refuses all changes of the object, whatever stands in them; they are sent again once a minute.",
					NIL);
	step_end();
}

/*
 * The call as a whole was refused, and nothing done.  Returns calls to be sent
 * instead; NIL with *settled = false if the rows have to take the refusal.
 */
static List *
finish_refused(Push *push, PushCall *call, bool *settled)
{
	ApiRefusal	refusal = call->call.refusal.refusal;
	Concern		concern = concern_of(&call->call.refusal);
	bool		evolve = refusal == API_SCHEMA && !push->evolved;

	*settled = true;
	if (concern == CONCERNS_OBJECT)
	{
		note_object_refused(push, call);
		return NIL;
	}
	if (concern == CONCERNS_ROWS && !evolve &&
		(refusal == API_TRANSIENT || list_length(call->rows) == 1))
	{
		take_refusal(call);
		*settled = false;
		return NIL;
	}
	step_begin();
	push_give_back(call->rows, call->attempt);
	step_end();
	if (evolve)
	{
		push_evolve(push, call->target->object);
		return NIL;
	}
	if (concern == CONCERNS_ORG)
	{
		push->refusal = &call->call.refusal;
		return NIL;
	}
	return halves_of(call);
}

/* When all calls of a flight are finished, lest their rows be in doubt. */
static void
raise_refusal(Push *push)
{
	if (push->refusal == NULL)
		return;
	api_take_error(push->org->api, push->refusal);
	api_raise(push->org->api, "could not send changes to Salesforce");
}

/*
 * An id that a row has already is not that of a new record: the answer is one to
 * something else.  What came of the row is looked for.
 */
static void
doubt_known_ids(PushCall *call)
{
	Oid			relid = call->target->object->relid;
	List	   *rows = NIL;
	List	   *ids = NIL;
	ListCell   *lc;
	ListCell   *lc2;
	ListCell   *lc3;

	if (call->verb != WRITE_CREATE)
		return;
	foreach(lc, call->rows)
	{
		PushRow    *row = (PushRow *) lfirst(lc);

		if (!row->record.answered || !row->record.success)
			continue;
		rows = lappend(rows, row);
		ids = lappend(ids, row->record.new_id);
	}
	if (rows == NIL)
		return;
	forthree(lc, rows, lc2, stamps_column(relid, "id", ids),
			 lc3, identity_taken(ids))
	{
		if (lfirst(lc2) || lfirst(lc3))
			((PushRow *) lfirst(lc))->record.answered = false;
	}
}

/* What a call came to; returns calls to be sent instead of it. */
static List *
finish_call(Push *push, PushCall *call)
{
	bool		in_doubt = !call->call.answered && !call->call.refused;
	List	   *smaller = NIL;

	if (call->call.refused)
	{
		bool		settled;
		List	   *instead = finish_refused(push, call, &settled);

		if (settled)
			return instead;
	}
	else if (call->call.answered)
		push_note_recovery(push, call->target);
	push_bring_contacts(push, call->rows);
	push_find_gone(push, call->target, call->rows);
	step_begin();
	if (in_doubt && call->attempt)
		attempt_in_doubt(call->attempt, call->call.in_doubt_now);
	else
	{
		doubt_known_ids(call);
		smaller = take_crowded(call);
		if (call->attempt)
			note_unsent(smaller);
		push_note_outcomes(push, call->rows, call->attempt);
	}
	step_end();
	return smaller;
}

/* Calls that would be refused as others of their object and verb were. */
static List *
drop_refused(List *calls)
{
	List	   *left = NIL;
	List	   *rows = NIL;
	int64	   *seqs;
	int			n;
	ListCell   *lc;

	foreach(lc, calls)
	{
		PushCall   *call = (PushCall *) lfirst(lc);

		if (list_member_int(call->target->refused, call->verb))
			rows = list_concat(rows, call->rows);
		else
			left = lappend(left, call);
	}
	if (rows == NIL)
		return left;
	seqs = push_numbers(rows, &n);
	step_begin();
	outbox_defer(seqs, n, GetCurrentTimestamp() + STUCK_RETRY);
	step_end();
	return left;
}

/* Calls that can be in flight together: no two of them lock the same parent. */
static List *
next_flight(List **calls)
{
	List	   *flight = NIL;
	List	   *left = NIL;
	const char *last = NULL;
	ListCell   *lc;

	foreach(lc, *calls)
	{
		PushCall   *call = (PushCall *) lfirst(lc);
		const char *first = ((PushRow *) linitial(call->rows))->parent;

		if (list_length(flight) >= push_concurrency ||
			(last && first && strcmp(last, first) == 0))
		{
			left = lappend(left, call);
			continue;
		}
		flight = lappend(flight, call);
		last = ((PushRow *) llast(call->rows))->parent;
	}
	*calls = left;
	return flight;
}

static void
send_calls(Push *push, List *calls)
{
	while (calls != NIL)
	{
		List	   *flight = next_flight(&calls);
		WriteCall  *writes = palloc(sizeof(WriteCall) * list_length(flight));
		int			n = 0;
		ListCell   *lc;

		foreach(lc, flight)
		{
			prepare_call(push, (PushCall *) lfirst(lc));
			fill_conditions((PushCall *) lfirst(lc));
			writes[n++] = ((PushCall *) lfirst(lc))->call;
		}
		record_attempts(push, flight);
		collections_write(push->org->api, writes, n);
		n = 0;
		foreach(lc, flight)
		{
			PushCall   *call = (PushCall *) lfirst(lc);
			List	   *instead;

			call->call = writes[n++];
			instead = finish_call(push, call);
			if (instead != NIL && !call->call.refused)
				calls = cut_others(calls, linitial(instead));
			calls = list_concat(instead, calls);
		}
		raise_refusal(push);
		calls = drop_refused(calls);
		CHECK_FOR_INTERRUPTS();
	}
}

/*
 * Sends the rows of an upsert again, as it was.  A refusal says nothing of what
 * the first one did: those rows are returned, and stay in the attempt.
 */
List *
push_repeat(Push *push, PushObject *target, List *rows,
			const OutboxAttempt *attempt)
{
	PushCall	call = {0};
	ApiRefusal	refusal;
	bool		refused = false;
	List	   *done = NIL;
	ListCell   *lc;

	call.verb = WRITE_UPSERT;
	call.target = target;
	call.rows = rows;
	call.attempt = attempt->attempt;
	prepare_call(push, &call);
	call.call.external_id = attempt->external_id;
	collections_write(push->org->api, &call.call, 1);
	refusal = call.call.refusal.refusal;
	if (call.call.refused && (refusal == API_LIMIT || refusal == API_LOGIN))
	{
		api_take_error(push->org->api, &call.call.refusal);
		api_raise(push->org->api, "could not send changes to Salesforce");
	}
	if (call.call.refused)
		return rows;
	foreach(lc, rows)
	{
		const WriteRecord *record = &((PushRow *) lfirst(lc))->record;

		refused |= record->answered && !record->success;
		if (record->answered && record->success)
			done = lappend(done, lfirst(lc));
	}
	if (!refused)
	{
		(void) finish_call(push, &call);
		raise_refusal(push);
		return NIL;
	}
	step_begin();
	push_note_outcomes(push, done, 0);
	step_end();
	return list_difference_ptr(rows, done);
}

/* The rows of the first one's verb and object; the others stay in *rows. */
static List *
take_group(List **rows)
{
	PushRow    *first = (PushRow *) linitial(*rows);
	WriteVerb	verb = verb_of(first);
	List	   *group = NIL;
	List	   *others = NIL;
	ListCell   *lc;

	foreach(lc, *rows)
	{
		PushRow    *row = (PushRow *) lfirst(lc);

		if (row->target == first->target && verb_of(row) == verb)
			group = lappend(group, row);
		else
			others = lappend(others, row);
	}
	*rows = others;
	return group;
}

/* A Bulk job knows no conditions, and its transactions have 200 rows. */
static bool
may_go_by_bulk(const SyncObject *object, WriteVerb verb)
{
	if (verb == WRITE_UPDATE && object->unmodified_since)
		return false;
	return object->batch_rows == 0 ||
		object->batch_rows >= COLLECTION_MAX_RECORDS;
}

static void
send_wave(Push *push, List *rows)
{
	List	   *calls = NIL;

	while (rows != NIL)
	{
		List	   *group = take_group(&rows);
		PushObject *target = ((PushRow *) linitial(group))->target;
		WriteVerb	verb = verb_of((PushRow *) linitial(group));

		if (list_length(group) > push_bulk_threshold &&
			may_go_by_bulk(target->object, verb))
			group = push_by_bulk(push, target, verb, group);
		if (group != NIL)
			calls = list_concat(calls, cut_into_calls(group, verb, target));
	}
	send_calls(push, calls);
}

/*
 * What is to be deleted later, and the rows that are still to go out before it:
 * all of them come again at the same moment, so that they meet.
 */
static void
defer_together(List *rows, TimestampTz until)
{
	int			attempts = 0;
	int64	   *seqs;
	int			n;
	ListCell   *lc;

	if (rows == NIL)
		return;
	foreach(lc, rows)
		attempts = Max(attempts, ((PushRow *) lfirst(lc))->change->attempts);
	seqs = push_numbers(rows, &n);
	step_begin();
	outbox_defer(seqs, n, Max(until, push_backoff(attempts)));
	step_end();
}

/* Adds to *held the rows of a wave that others have to wait for. */
static void
hold_parents(List *rows, int wave, const PushIndex *deletes, List **held)
{
	ListCell   *lc;

	foreach(lc, rows)
	{
		PushRow    *row = (PushRow *) lfirst(lc);

		if (row->wave == wave && !row->held && !push_is_settled(row) &&
			push_hold_parents(row, deletes))
			*held = lappend(*held, row);
	}
}

/* The rows of a wave; what is not to go in this round is put into *held. */
static List *
take_wave(List *rows, int wave, const PushIndex *deletes, List **held)
{
	List	   *taken = NIL;
	ListCell   *lc;

	foreach(lc, rows)
	{
		PushRow    *row = (PushRow *) lfirst(lc);

		if (row->wave != wave)
			continue;
		if (!row->held)
			taken = lappend(taken, row);
		else
		{
			*held = lappend(*held, row);
			(void) push_hold_parents(row, deletes);
		}
	}
	return taken;
}

/*
 * Updates that are not in this round may move rows away from what is to be
 * deleted, too: they met a lock, their table is locked.  Returns when they are due.
 */
static TimestampTz
hold_awaited(List *rows, const PushIndex *deletes)
{
	TimestampTz until;
	List	   *ids = NIL;
	int64	   *seqs;
	int			n;
	ListCell   *lc;

	for (int i = 0; i < deletes->n; i++)
		ids = lappend(ids, deletes->rows[i]->change->id);
	seqs = push_numbers(rows, &n);
	step_begin();
	foreach(lc, outbox_awaited(ids, seqs, n, &until))
		push_indexed(deletes, lfirst(lc))->held = true;
	step_end();
	return until;
}

void
push_send(Push *push, List *rows)
{
	PushIndex	deletes;
	int			last = push_choose_waves(rows, &deletes);
	TimestampTz until;
	List	   *held = NIL;

	if (deletes.n == 0)
	{
		send_wave(push, rows);
		return;
	}
	until = hold_awaited(rows, &deletes);
	for (int wave = 0; wave <= last; wave++)
	{
		send_wave(push, take_wave(rows, wave, &deletes, &held));
		hold_parents(rows, wave, &deletes, &held);
	}
	defer_together(held, until);
}
