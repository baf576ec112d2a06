/*-------------------------------------------------------------------------
 *
 * push_doubt.c
 *	  Attempts whose answer was lost: looked up before anything is repeated.
 *
 * A create was recorded before it was sent (tables/outbox.h).  If its answer
 * did not come (a broken connection, a time-out, 5xx, or the end of this
 * process or server at that moment), the records may exist or not.  They are
 * looked for in the org: created by our login since the attempt began, with
 * the values that were sent.  What is found is done; what is not found is sent
 * again, but while no answer at all came only after the request can no longer
 * be running over there.
 *
 * A Bulk job is found by its recorded id.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "mapping.h"
#include "pull.h"
#include "push.h"
#include "salesforce/json.h"
#include "salesforce/query.h"
#include "salesforce/soql.h"
#include "step.h"
#include "tables/identity.h"

/* The org's clock and ours may differ a little around the attempt. */
#define LOOK_BACK		(2 * USECS_PER_MINUTE)

/* While the request may still be running, the org is asked again so often. */
#define LOOK_AGAIN		(5 * USECS_PER_SEC)

/* A record that may be the one that was sent. */
typedef struct Candidate
{
	const QueryPage *page;
	int			record;
	char	   *id;
	bool		taken;
} Candidate;

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

/* Records of the object that our login created since. */
static List *
read_candidates(Push *push, PushObject *target, List *names,
				TimestampTz started)
{
	List	   *conditions;
	List	   *candidates = NIL;
	List	   *ids = NIL;
	List	   *taken;
	QueryPage  *page;
	ListCell   *lc;
	ListCell   *lc2;

	conditions = list_make1(psprintf("CreatedDate >= %s",
									 soql_datetime(started - LOOK_BACK)));
	if (push->org->user_id)
		conditions = lappend(conditions,
							 psprintf("CreatedById = %s",
									  soql_string(push->org->user_id)));
	page = query_run(push->org->api,
					 soql_select(names, target->object->object, conditions,
								 "CreatedDate, Id", 0), false);
	while (page)
	{
		for (int i = 0; i < page->nrecords; i++)
		{
			Candidate  *candidate = palloc0(sizeof(Candidate));

			candidate->page = page;
			candidate->record = i;
			candidate->id = pstrdup(query_value(page, i, "Id"));
			candidates = lappend(candidates, candidate);
			ids = lappend(ids, candidate->id);
		}
		page = page->done ? NULL : query_next(push->org->api, page);
	}
	step_begin();
	taken = identity_taken(ids);
	step_end();
	forboth(lc, candidates, lc2, taken)
		((Candidate *) lfirst(lc))->taken = lfirst(lc2) != NULL;
	return candidates;
}

/* "...+0000" as REST writes it, to "...Z" as the outbox has it. */
static char *
normal_datetime(char *json)
{
	size_t		n = strlen(json);

	if (n > 7 && strcmp(json + n - 6, "+0000\"") == 0)
		strcpy(json + n - 6, "Z\"");
	return json;
}

/* A value of the org as the JSON of the outbox. */
static bool
same_as_sent(const NetField *net, const char *theirs)
{
	StringInfoData quoted;

	if (theirs == NULL)
		return fold_same(net->value, "null");
	if (net->bare)
		return fold_same(net->value, theirs);
	initStringInfo(&quoted);
	json_append_string(&quoted, theirs);
	return fold_same(net->value, normal_datetime(quoted.data));
}

/*
 * How many of the values that were sent the record has; -1 if it cannot be it.
 * The org's automation may have changed some, but what Salesforce requires of
 * such a record must be there, and three of four.
 */
static int
likeness(const PushRow *row, const Candidate *candidate)
{
	int			same = 0;
	int			sent = 0;
	ListCell   *lc;

	foreach(lc, row->change->fields)
	{
		NetField   *net = (NetField *) lfirst(lc);
		SyncField  *field = push_field(row->target, net->column);

		if (field == NULL || net->raw == NULL)
			continue;
		sent++;
		if (same_as_sent(net, query_value(candidate->page, candidate->record,
										  field->field)))
			same++;
		else if (!field->nillable && !field->defaulted)
			return -1;
	}
	return same * 4 >= sent * 3 ? same : -1;
}

static Candidate *
best_candidate(const PushRow *row, List *candidates)
{
	Candidate  *best = NULL;
	int			best_likeness = -1;
	ListCell   *lc;

	foreach(lc, candidates)
	{
		Candidate  *candidate = (Candidate *) lfirst(lc);
		int			like;

		if (candidate->taken)
			continue;
		like = likeness(row, candidate);
		if (like > best_likeness)
		{
			best = candidate;
			best_likeness = like;
		}
	}
	return best;
}

/*
 * Marks the rows that were found as done; returns those that were not.
 */
static List *
match_rows(List *rows, List *candidates)
{
	List	   *missing = NIL;
	ListCell   *lc;

	foreach(lc, rows)
	{
		PushRow    *row = (PushRow *) lfirst(lc);
		Candidate  *found = best_candidate(row, candidates);

		if (found == NULL)
		{
			missing = lappend(missing, row);
			continue;
		}
		found->taken = true;
		row->record.answered = true;
		row->record.success = true;
		row->record.new_id = found->id;
	}
	return missing;
}

/* The request may still be running in the org. */
static bool
may_still_run(const OutboxAttempt *attempt)
{
	TimestampTz since = attempt->in_doubt ? attempt->in_doubt : attempt->sent;

	return since + push_answer_wait * USECS_PER_SEC > GetCurrentTimestamp();
}

/*
 * One attempt by Collections; true if it is settled.  Found rows leave it at
 * once; the others may wait.
 */
static bool
look_up(Push *push, PushObject *target, const OutboxAttempt *attempt,
		List *rows)
{
	List	   *candidates = read_candidates(push, target, sent_fields(rows),
											 attempt->started);
	List	   *missing = match_rows(rows, candidates);
	List	   *found = list_difference_ptr(rows, missing);
	bool		settled = missing == NIL || !attempt->may_run ||
		!may_still_run(attempt);

	step_begin();
	push_note_outcomes(push, found, 0);
	if (settled)
	{
		push_give_back(missing, attempt->attempt);
		attempt_end(attempt->attempt);
	}
	step_end();
	return settled;
}

static bool
resolve(Push *push, const OutboxAttempt *attempt)
{
	List	   *changes;
	List	   *rows;
	PushObject *target;

	step_begin();
	changes = outbox_of_attempt(attempt->attempt);
	if (changes == NIL)
		attempt_end(attempt->attempt);
	step_end();
	rows = push_rows_of(push, fold_changes(changes));
	if (rows == NIL)
		return true;
	target = ((PushRow *) linitial(rows))->target;
	if (attempt->job)
	{
		JobEnd		end = push_finish_job(push, target, attempt, rows);

		if (end != JOB_UNKNOWN)
			return end == JOB_SETTLED;
	}
	return look_up(push, target, attempt, rows);
}

TimestampTz
push_resolve_doubts(Push *push)
{
	List	   *attempts;
	bool		open = false;
	ListCell   *lc;

	step_begin();
	attempts = attempts_open(push->server);
	step_end();
	foreach(lc, attempts)
	{
		if (!resolve(push, (OutboxAttempt *) lfirst(lc)))
			open = true;
	}
	push->objects = NIL;
	return open ? GetCurrentTimestamp() + LOOK_AGAIN : 0;
}
