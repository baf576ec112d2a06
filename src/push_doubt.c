/*-------------------------------------------------------------------------
 *
 * push_doubt.c
 *	  Attempts whose answer was lost: looked up before anything is repeated.
 *
 * A create was recorded before it was sent (tables/outbox.h).  If its answer
 * did not come (a broken connection, a time-out, 5xx, or the end of this
 * process or server at that moment), the records may exist or not.  They are
 * looked for in the org, its recycle bin included: created by our login since
 * the attempt began, with the values that were sent.  What is found is done;
 * what is not found is sent again, but while no answer at all came only after
 * the request can no longer be running over there.
 *
 * Automation of the org may have changed some of the values, so one that is
 * like what was sent will do; but only when all rows of all attempts have had
 * their choice of what is exactly theirs.
 *
 * An upsert by an external id is sent again, alone, as it was: what was changed
 * here since, a delete above all, concerns the record that it has made.  The field
 * is recorded with the attempt, for it may be unset or dropped meanwhile.
 *
 * A Bulk job is found by its recorded id.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "mapping.h"
#include "pull.h"
#include "push.h"
#include "salesforce/query.h"
#include "salesforce/soql.h"
#include "step.h"
#include "tables/identity.h"

/* The org is asked again ever more rarely, the longer the doubt lasts. */
#define LOOK_MIN		(1 * USECS_PER_SEC)
#define LOOK_MAX		(30 * USECS_PER_SEC)

typedef enum Doubt
{
	DOUBT_SETTLED,
	DOUBT_OPEN,
	DOUBT_LATER					/* a job runs, somebody else is at the object */
} Doubt;

/* A record that may be the one that was sent. */
typedef struct Candidate
{
	const QueryPage *page;
	int			record;
	char	   *id;
} Candidate;

/* Those that have the same value of one field. */
typedef struct Bucket
{
	uint64		key;
	Candidate **items;
	int			n;
	int			space;
} Bucket;

typedef struct Candidates
{
	const SyncField *field;		/* NULL: all of them are in one bucket */
	HTAB	   *buckets;
} Candidates;

/* Fields that were sent, all rows together. */
static List *
sent_fields(List *rows)
{
	List	   *names = list_make1(pstrdup("Id"));
	ListCell   *lc;
	ListCell   *lc2;

	foreach(lc, rows)
	{
		PushRow    *row = (PushRow *) lfirst(lc);

		foreach(lc2, row->change->fields)
		{
			SyncField  *field = push_field(row->target,
										   ((NetField *) lfirst(lc2))->column);

			if (field && !mapping_has_name(names, field->field))
				names = lappend(names, field->field);
		}
	}
	return names;
}

static HTAB *
create_buckets(long n)
{
	HASHCTL		ctl = {.keysize = sizeof(uint64)};

	ctl.entrysize = sizeof(Bucket);
	ctl.hcxt = CurrentMemoryContext;
	return hash_create("sync candidates", n, &ctl,
					   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static bool
is_text(const SyncField *field)
{
	static const char *const others[] = {"boolean", "int", "long", "double",
	"currency", "percent", "date", "datetime", "time"};

	for (size_t i = 0; i < lengthof(others); i++)
	{
		if (strcmp(field->type, others[i]) == 0)
			return false;
	}
	return true;
}

/* In a circle of new rows one is sent without its references at first (push.c). */
static bool
may_be_held_back(const SyncField *field)
{
	return field->reference && field->nillable && field->updateable;
}

/* How many values of the field the rows have; 0 if one of them has none. */
static long
count_values(List *rows, const SyncField *field)
{
	HTAB	   *values;
	long		n;
	ListCell   *lc;

	if (!is_text(field) || may_be_held_back(field))
		return 0;
	values = create_buckets(256);
	foreach(lc, rows)
	{
		const NetField *net = fold_field(((PushRow *) lfirst(lc))->change,
										 field->attname);
		uint64		key;

		if (net == NULL || net->raw == NULL ||
			(((PushRow *) lfirst(lc))->guessed && net->between != NIL))
			break;
		key = push_value_key(net->raw, 0);
		(void) hash_search(values, &key, HASH_ENTER, NULL);
	}
	n = lc == NULL ? hash_get_num_entries(values) : 0;
	hash_destroy(values);
	return n;
}

/*
 * A text that all rows have, and that a record must have to be one of them; of
 * several the one that tells most rows apart.
 */
static const SyncField *
telling_field(PushObject *target, List *rows, bool exactly)
{
	const SyncField *best = NULL;
	long		most = 0;
	ListCell   *lc;

	foreach(lc, target->fields)
	{
		SyncField  *field = (SyncField *) lfirst(lc);
		long		n;

		if (!exactly && (field->nillable || field->defaulted))
			continue;
		n = count_values(rows, field);
		if (n > most)
		{
			most = n;
			best = field;
		}
	}
	return best;
}

static void
add_candidate(Candidates *all, Candidate *candidate)
{
	const char *value = all->field == NULL ? NULL :
		query_value(candidate->page, candidate->record, all->field->field);
	uint64		key = push_value_key(value ? value : "", 0);
	bool		found;
	Bucket	   *bucket = hash_search(all->buckets, &key, HASH_ENTER, &found);

	if (!found)
	{
		bucket->n = 0;
		bucket->space = 4;
		bucket->items = palloc(sizeof(Candidate *) * bucket->space);
	}
	if (bucket->n == bucket->space)
	{
		bucket->space *= 2;
		bucket->items = repalloc(bucket->items,
								 sizeof(Candidate *) * bucket->space);
	}
	bucket->items[bucket->n++] = candidate;
}

/* Where the records are that a row may have become. */
static Bucket *
bucket_of(const Candidates *all, const PushRow *row)
{
	const NetField *net = all->field == NULL ? NULL :
		fold_field(row->change, all->field->attname);
	uint64		key = push_value_key(net && net->raw ? net->raw : "", 0);

	return hash_search(all->buckets, &key, HASH_FIND, NULL);
}

/* Records of the object that our login created since. */
static Candidates *
read_candidates(Push *push, PushObject *target, List *names,
				TimestampTz started, const SyncField *telling)
{
	Candidates *all = palloc(sizeof(Candidates));
	List	   *conditions;
	List	   *candidates = NIL;
	List	   *ids = NIL;
	List	   *taken;
	QueryPage  *page;
	ListCell   *lc;
	ListCell   *lc2;

	conditions = list_make1(psprintf("CreatedDate >= %s",
									 soql_datetime(started - ATTEMPT_CLOCK_SLACK)));
	if (push->org->user_id)
		conditions = lappend(conditions,
							 psprintf("CreatedById = %s",
									  soql_string(push->org->user_id)));
	page = query_run(push->org->api,
					 soql_select(names, target->object->object, conditions,
								 "CreatedDate, Id", 0),
					 target->object->has_isdeleted);
	while (page)
	{
		for (int i = 0; i < page->nrecords; i++)
		{
			Candidate  *candidate = palloc0(sizeof(Candidate));

			candidate->page = page;
			candidate->record = i;
			candidate->id = pstrdup(query_id(page, i));
			candidates = lappend(candidates, candidate);
			ids = lappend(ids, candidate->id);
		}
		page = page->done ? NULL : query_next(push->org->api, page);
	}
	step_begin();
	taken = identity_taken(ids);
	step_end();
	all->field = telling;
	all->buckets = create_buckets(list_length(candidates));
	forboth(lc, candidates, lc2, taken)
	{
		if (lfirst(lc2) == NULL)
			add_candidate(all, (Candidate *) lfirst(lc));
	}
	return all;
}

static bool
was_held_back(const SyncField *field, const char *theirs)
{
	return theirs == NULL && may_be_held_back(field);
}

/* The one of the values that the field had meanwhile that was sent; or NULL. */
static const char *
sent_instead(const PushRow *row, const NetField *net, const char *theirs)
{
	ListCell   *lc;

	if (!row->guessed || push_same_value(net, net->value, theirs))
		return NULL;
	foreach(lc, net->between)
	{
		if (push_same_value(net, lfirst(lc), theirs))
			return lfirst(lc);
	}
	return NULL;
}

/*
 * How many of the values that were sent the record has; -1 if it cannot be it.
 * Exactly: all of them.  Otherwise what Salesforce requires of such a record
 * must be there, and three of four.
 */
static int
likeness(const PushRow *row, const Candidate *candidate, bool exactly)
{
	int			same = 0;
	int			sent = 0;
	ListCell   *lc;

	foreach(lc, row->change->fields)
	{
		NetField   *net = (NetField *) lfirst(lc);
		SyncField  *field = push_field(row->target, net->column);
		const char *theirs;

		if (field == NULL || net->raw == NULL)
			continue;
		theirs = query_value(candidate->page, candidate->record,
							 field->field);
		if (was_held_back(field, theirs))
			continue;
		sent++;
		if (push_same_value(net, net->value, theirs) ||
			sent_instead(row, net, theirs) != NULL)
			same++;
		else if (exactly || (!field->nillable && !field->defaulted))
			return -1;
	}
	return same * 4 >= sent * 3 ? same : -1;
}

/* Takes the record out that is most like the row; NULL if none is. */
static Candidate *
take_best(const PushRow *row, Bucket *bucket, bool exactly)
{
	Candidate  *candidate;
	int			best = -1;
	int			best_likeness = -1;

	for (int i = 0; bucket && i < bucket->n; i++)
	{
		int			like = likeness(row, bucket->items[i], exactly);

		if (like <= best_likeness)
			continue;
		best = i;
		best_likeness = like;
		if (exactly)
			break;
	}
	if (best < 0)
		return NULL;
	candidate = bucket->items[best];
	bucket->items[best] = bucket->items[--bucket->n];
	return candidate;
}

/* As an update of what was sent. */
static NetField *
since(const NetField *net, const char *sent)
{
	NetField   *copy = palloc(sizeof(NetField));

	*copy = *net;
	copy->base = pstrdup(sent);
	return copy;
}

/*
 * References that the record was made without are still to be sent, and what was
 * changed after it was made.
 */
static void
note_held_back(PushRow *row, const Candidate *found)
{
	ListCell   *lc;

	foreach(lc, row->change->fields)
	{
		NetField   *net = (NetField *) lfirst(lc);
		SyncField  *field = push_field(row->target, net->column);
		const char *theirs;
		const char *sent;

		if (field == NULL)
			continue;
		theirs = query_value(found->page, found->record, field->field);
		sent = sent_instead(row, net, theirs);
		if (net->raw && was_held_back(field, theirs))
			row->held_back = lappend(row->held_back, net);
		else if (sent != NULL)
			row->held_back = lappend(row->held_back, since(net, sent));
	}
}

/* Marks the rows that were found as done, and parts them from the others. */
static void
match_rows(List *rows, const Candidates *candidates, bool exactly,
		   List **found, List **missing)
{
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext,
												  "sync likeness",
												  ALLOCSET_DEFAULT_SIZES);
	ListCell   *lc;

	*found = *missing = NIL;
	foreach(lc, rows)
	{
		PushRow    *row = (PushRow *) lfirst(lc);
		MemoryContext caller = MemoryContextSwitchTo(scratch);
		Candidate  *candidate = take_best(row, bucket_of(candidates, row),
										  exactly);

		MemoryContextSwitchTo(caller);
		MemoryContextReset(scratch);
		CHECK_FOR_INTERRUPTS();
		if (candidate == NULL)
		{
			*missing = lappend(*missing, row);
			continue;
		}
		note_held_back(row, candidate);
		row->record.answered = true;
		row->record.success = true;
		row->record.new_id = candidate->id;
		*found = lappend(*found, row);
	}
	MemoryContextDelete(scratch);
}

/* The request may still be running in the org. */
static bool
may_still_run(const OutboxAttempt *attempt)
{
	TimestampTz since = attempt->in_doubt ? attempt->in_doubt : attempt->sent;

	return since + push_answer_wait * USECS_PER_SEC > GetCurrentTimestamp();
}

/*
 * One attempt by Collections.  Found rows leave it at once; the others may
 * wait, until they go out again.
 */
static Doubt
look_up(Push *push, PushObject *target, const OutboxAttempt *attempt,
		List *rows, bool exactly)
{
	bool		over = !attempt->may_run || !may_still_run(attempt);
	Candidates *candidates;
	List	   *found;
	List	   *missing;
	bool		settled;
	ListCell   *lc;

	if (!exactly && !over)
		return DOUBT_OPEN;
	candidates = read_candidates(push, target, sent_fields(rows),
								 attempt->started,
								 telling_field(target, rows, exactly));
	match_rows(rows, candidates, exactly, &found, &missing);
	settled = missing == NIL || !exactly;
	foreach(lc, missing)
		push_mark_undone((PushRow *) lfirst(lc));
	step_begin();
	push_note_outcomes(push, found, 0);
	if (settled)
		push_note_outcomes(push, missing, attempt->attempt);
	step_end();
	return settled ? DOUBT_SETTLED : DOUBT_OPEN;
}

static NetField *
lost_field(const PushRow *row, const char *column)
{
	ListCell   *lc;

	foreach(lc, row->lost)
	{
		NetField   *net = (NetField *) lfirst(lc);

		if (strcmp(net->column, column) == 0)
			return net;
	}
	return NULL;
}

/*
 * An upsert goes by the field that it went by, whatever external_id says now,
 * and though its column may have been dropped: what it would make without is
 * another record.  False if there is no value of it.
 */
static bool
find_keys(const OutboxAttempt *attempt, List *rows)
{
	char	   *column;
	ListCell   *lc;

	if (attempt->external_id == NULL ||
		list_length(rows) > COLLECTION_MAX_RECORDS)
		return false;
	column = mapping_lower(attempt->external_id);
	foreach(lc, rows)
	{
		PushRow    *row = (PushRow *) lfirst(lc);
		NetField   *net = fold_field(row->change, column);

		if (net == NULL)
		{
			net = row->key = lost_field(row, column);
			row->key_name = attempt->external_id;
		}
		if (net == NULL || net->raw == NULL)
			return false;
	}
	return true;
}

/*
 * False for those rows (*rows) for which that is no way: the field is gone from
 * the org, say.  Their records are looked for as those of a create are.
 */
static bool
send_again(Push *push, PushObject *target, const OutboxAttempt *attempt,
		   List **rows, Doubt *doubt)
{
	ListCell   *lc;

	if (strcmp(attempt->verb, "upsert") != 0 ||
		target->object->direction == DIRECTION_FROM ||
		!find_keys(attempt, *rows))
		return false;
	*doubt = DOUBT_LATER;
	if (!push_lock(target))
		return true;
	*doubt = DOUBT_SETTLED;
	*rows = push_repeat(push, target, *rows, attempt);
	foreach(lc, *rows)
		memset(&((PushRow *) lfirst(lc))->record, 0, sizeof(WriteRecord));
	return *rows == NIL;
}

static Doubt
settle(Push *push, PushObject *target, const OutboxAttempt *attempt,
	   List *rows, bool exactly)
{
	Doubt		doubt;

	if (attempt->job)
	{
		JobEnd		end = push_finish_job(push, target, attempt, rows);

		if (end != JOB_UNKNOWN)
			return end == JOB_SETTLED ? DOUBT_SETTLED : DOUBT_LATER;
	}
	if (send_again(push, target, attempt, &rows, &doubt))
		return doubt;
	return look_up(push, target, attempt, rows, exactly);
}

/*
 * An answer that makes no sense is recorded against the object: attempts are
 * looked at before anything else goes out, and all the org would wait for it.
 */
static Doubt
settle_guarded(Push *push, PushObject *target, const OutboxAttempt *attempt,
			   List *rows, bool exactly)
{
	MemoryContext caller = CurrentMemoryContext;
	volatile Doubt doubt = DOUBT_LATER;

	api_clear_error(push->org->api);
	PG_TRY();
	{
		doubt = settle(push, target, attempt, rows, exactly);
		push_note_recovery(push, target);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		if (!cycle_concerns_object(error) ||
			(error->sqlerrcode == ERRCODE_CONNECTION_FAILURE &&
			 !cycle_is_local(error)))
			PG_RE_THROW();
		FlushErrorState();
		step_abort();
		step_begin();
		push_note_failure(push, target, error);
		step_end();
		if (push->org->api->error.refusal == API_SCHEMA && !push->evolved)
			push_evolve(push, target->object);
	}
	PG_END_TRY();
	return doubt;
}

static Doubt
resolve(Push *push, const OutboxAttempt *attempt, bool exactly)
{
	List	   *changes;
	List	   *rows;
	PushObject *target;
	ListCell   *lc;

	step_begin();
	changes = outbox_of_attempt(attempt->attempt);
	if (changes == NIL)
		attempt_end(attempt->attempt);
	step_end();
	rows = push_rows_of(push, fold_changes(changes));
	if (rows == NIL)
		return DOUBT_SETTLED;
	push_fill_known_ids(rows);
	foreach(lc, rows)
		((PushRow *) lfirst(lc))->guessed = attempt->guessed;
	target = ((PushRow *) linitial(rows))->target;
	return settle_guarded(push, target, attempt, rows, exactly);
}

bool
push_resolve_doubts(Push *push)
{
	List	   *attempts;
	List	   *open = NIL;
	ListCell   *lc;

	step_begin();
	attempts = attempts_open(push->server);
	step_end();
	foreach(lc, attempts)
	{
		if (resolve(push, (OutboxAttempt *) lfirst(lc), true) == DOUBT_OPEN)
			open = lappend(open, lfirst(lc));
	}
	foreach(lc, open)
		(void) resolve(push, (OutboxAttempt *) lfirst(lc), false);
	return false;
}

static TimestampTz
next_look(const OutboxAttempt *attempt)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz since = attempt->in_doubt ? attempt->in_doubt : attempt->sent;
	int64		pause = (now - since) / 4;

	pause = Max(Min(pause, LOOK_MAX), LOOK_MIN);
	if (attempt->may_run && may_still_run(attempt))
		pause = Min(pause, since + push_answer_wait * USECS_PER_SEC - now);
	return now + pause;
}

TimestampTz
push_doubts_due(const char *server)
{
	TimestampTz due = 0;
	List	   *attempts;
	ListCell   *lc;

	step_begin();
	attempts = attempts_open(server);
	step_end();
	foreach(lc, attempts)
	{
		TimestampTz look = next_look((OutboxAttempt *) lfirst(lc));

		due = due ? Min(due, look) : look;
	}
	return due;
}

TimestampTz
push_unfinished(const char *server)
{
	TimestampTz due = push_doubts_due(server);
	bool		waiting;

	if (due)
		return due;
	step_begin();
	waiting = identity_is_waiting(server);
	step_end();
	return waiting ? GetCurrentTimestamp() + LOOK_MIN : 0;
}
