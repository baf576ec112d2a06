/*-------------------------------------------------------------------------
 *
 * push_outcome.c
 *	  What Salesforce's answers mean for the changes that were sent.
 *
 * Done: the changes leave the outbox, and a new record's id is kept.  Locks,
 * limits and a busy server: again, later.  What somebody has to mend first
 * stays, refused, with Salesforce's own words in sync.failures; a later change
 * of the row, or sync.retry, sends it again.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "mapping.h"
#include "pull.h"
#include "push.h"
#include "tables/identity.h"
#include "tables/redirect.h"

#define RETRY_MIN	(1 * USECS_PER_SEC)
#define RETRY_MAX	(10 * USECS_PER_MINUTE)
#define MAX_BACKOFFS	13

/* Doubles with each attempt, with jitter of a half, so that rows that met at a
 * lock do not meet again. */
TimestampTz
push_backoff(int attempts)
{
	int64		delay = RETRY_MIN << Min(attempts, MAX_BACKOFFS - 1);

	delay = Min(delay, RETRY_MAX);
	delay -= delay / 2 * (random() % 1000) / 1000;
	return GetCurrentTimestamp() + delay;
}

/* Rows that nothing was done about: as if they had not been sent. */
void
push_give_back(List *rows, int64 attempt)
{
	ListCell   *lc;

	if (attempt == 0)
		return;
	foreach(lc, rows)
	{
		NetChange  *change = ((PushRow *) lfirst(lc))->change;

		outbox_sent(change->seqs, change->nseqs, 0);
	}
	attempt_end(attempt);
}

/* References that a new record was sent without go after it. */
static void
add_held_back(const PushRow *row)
{
	NetChange	rest = {0};

	rest.operation = NET_UPDATE;
	rest.fields = row->held_back;
	outbox_add(row->change->relid, row->change->id, 'U', fold_text(&rest));
}

static void
note_done(PushRow *row, List **provisional, List **ids)
{
	PushObject *target = row->target;

	switch (row->change->operation)
	{
		case NET_INSERT:
			*provisional = lappend(*provisional, row->change->id);
			*ids = lappend(*ids, row->record.new_id);
			if (row->held_back)
				add_held_back(row);
			target->counts.inserted++;
			break;
		case NET_DELETE:
			target->counts.deleted++;
			break;
		default:
			target->counts.updated++;
	}
}

static void
note_refused(PushRow *row)
{
	const WriteRecord *record = &row->record;
	SyncObject *object = row->target->object;
	NetChange  *change = row->change;

	outbox_refuse(change->seqs, change->nseqs);
	catalog_refusal(object->server, object->object, change->id, record->code,
					record->message, record->error_fields);
	catalog_notify("refused", object->server, object->object,
				   psprintf("%s: %s %s", change->id, record->code,
							record->message));
	row->target->counts.failed++;
}

/* Deleted in Salesforce meanwhile; a delete has what it wanted. */
static void
note_gone(PushRow *row)
{
	SyncObject *object = row->target->object;
	NetChange  *change = row->change;
	ListCell   *lc;

	outbox_done(change->seqs, change->nseqs);
	if (change->operation == NET_DELETE)
	{
		row->target->counts.deleted++;
		return;
	}
	foreach(lc, change->fields)
	{
		NetField   *field = (NetField *) lfirst(lc);

		conflict_record(object->server, object->object, change->id,
						field->column, field->base, NULL, field->value,
						"salesforce", "deleted");
	}
	row->target->counts.failed++;
}

/*
 * A converted lead cannot be changed; its contact can, where it has the fields.
 */
static void
note_converted(PushRow *row)
{
	NetChange  *change = row->change;
	List	   *columns = NIL;
	char	   *problem;
	ListCell   *lc;

	foreach(lc, change->fields)
		columns = lappend(columns, ((NetField *) lfirst(lc))->column);
	problem = redirect_to_contact(row->target->object, change->id, columns);
	if (problem == NULL)
	{
		outbox_done(change->seqs, change->nseqs);
		row->target->counts.updated++;
		return;
	}
	row->record.message = psprintf("%s (%s)", row->record.message, problem);
	note_refused(row);
}

/*
 * Rows that went together and failed together go together again, in one call
 * rather than one by one.
 */
static TimestampTz
next_attempt(TimestampTz *next, int attempts)
{
	int			n = Min(attempts, MAX_BACKOFFS - 1);

	if (next[n] == 0)
		next[n] = push_backoff(attempts);
	return next[n];
}

static void
note_failed(PushRow *row, TimestampTz *next)
{
	NetChange  *change = row->change;

	switch (row->record.refusal)
	{
		case RECORD_RETRY:
		case RECORD_CHANGED:
			outbox_again(change->seqs, change->nseqs,
						 next_attempt(next, change->attempts));
			break;
		case RECORD_GONE:
			note_gone(row);
			break;
		case RECORD_CONVERTED:
			note_converted(row);
			break;
		default:
			note_refused(row);
	}
}

static void
note_all_done(Push *push, PushObject *target, List *done, List *provisional,
			  List *ids)
{
	List	   *records = NIL;
	int64	   *seqs;
	int			n;
	ListCell   *lc;

	if (done == NIL)
		return;
	foreach(lc, done)
		records = lappend(records, ((PushRow *) lfirst(lc))->change->id);
	seqs = push_numbers(done, &n);
	outbox_done(seqs, n);
	if (ids != NIL)
		identity_given(target->object->relid, provisional, ids);
	catalog_records_recovered(push->server, target->object->object, "push",
							  records);
}

/* Rows of one object; in the caller's step. */
void
push_note_outcomes(Push *push, List *rows, int64 attempt)
{
	List	   *done = NIL;
	List	   *provisional = NIL;
	List	   *ids = NIL;
	TimestampTz next[MAX_BACKOFFS] = {0};
	ListCell   *lc;

	foreach(lc, rows)
	{
		PushRow    *row = (PushRow *) lfirst(lc);

		if (!row->record.answered)
			outbox_again(row->change->seqs, row->change->nseqs,
						 next_attempt(next, row->change->attempts));
		else if (row->record.success)
		{
			note_done(row, &provisional, &ids);
			done = lappend(done, row);
		}
		else
			note_failed(row, next);
	}
	if (rows != NIL)
		note_all_done(push, ((PushRow *) linitial(rows))->target, done,
					  provisional, ids);
	if (attempt)
		attempt_end(attempt);
}
