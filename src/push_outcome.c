/*-------------------------------------------------------------------------
 *
 * push_outcome.c
 *	  What Salesforce's answers mean for the changes that were sent.
 *
 * Done: the changes leave the outbox, and a new record's id is kept.  Locks,
 * limits and a busy server: again, later.  Limits of the org's own code, and locks
 * that it met: in smaller calls (push_send.c), refused when the row was alone.  What somebody has to mend first
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
#include "step.h"
#include "tables/identity.h"
#include "tables/redirect.h"
#include "tables/stamps.h"

#define RETRY_MIN	(1 * USECS_PER_SEC)
#define RETRY_MAX	(10 * USECS_PER_MINUTE)
#define MAX_BACKOFFS	13

/*
 * For so many attempts the contact of a converted lead may still come in: the
 * lead was converted after we looked, or somebody else is at the contacts.
 */
#define CONTACT_ATTEMPTS	5

/*
 * A lock that a row met in the org's own code, alone in its call: for so many
 * attempts, a minute, it may be somebody else's.
 */
#define LOCK_ATTEMPTS		6

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

/*
 * References that a new record was sent without go after it, and before what
 * was changed since.
 */
static void
add_held_back(List *done)
{
	ListCell   *lc;

	foreach(lc, done)
	{
		PushRow    *row = (PushRow *) lfirst(lc);
		NetChange  *change = row->change;
		NetChange	rest = {0};

		if (row->held_back == NIL)
			continue;
		rest.operation = NET_UPDATE;
		rest.fields = row->held_back;
		outbox_add(change->seqs[change->nseqs - 1], change->relid, change->id,
				   'U', fold_text(&rest));
	}
}

/* What was changed in fields that have left the org cannot go out. */
void
push_note_lost(const PushRow *row)
{
	SyncObject *object = row->target->object;
	ListCell   *lc;

	foreach(lc, row->lost)
	{
		NetField   *field = (NetField *) lfirst(lc);

		if (!field->back)
			conflict_record(object->server, object->object, row->change->id,
							field->column, field->base, NULL, field->value,
							"salesforce", "no field");
	}
}

static void
note_done(PushRow *row, List **provisional, List **ids)
{
	PushObject *target = row->target;

	push_note_lost(row);
	switch (row->change->operation)
	{
		case NET_INSERT:
			*provisional = lappend(*provisional, row->change->id);
			*ids = lappend(*ids, row->record.new_id);
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
				   psprintf("%s: %s", change->id, catalog_code(record->code)));
	row->target->counts.failed++;
}

/* Deleted in Salesforce meanwhile; a delete has what it wanted. */
static void
note_gone(Push *push, PushRow *row)
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
	/* Purged long ago: getDeleted may not tell of it any more. */
	if (strcmp(row->record.code, "ENTITY_IS_DELETED") != 0)
	{
		catalog_read_again(object, change->id);
		push->cycle->again = true;
	}
	row->target->counts.failed++;
}

/*
 * A converted lead cannot be changed; its contact can, where it has the fields.
 * The contact may have to come in first.  The lead goes back to what it is in
 * Salesforce.
 */
static void
note_converted(Push *push, PushRow *row)
{
	NetChange  *change = row->change;
	List	   *columns = NIL;
	char	   *problem;
	bool		later;
	SyncObject *lead = row->target->object;
	ListCell   *lc;

	foreach(lc, change->fields)
		columns = lappend(columns, ((NetField *) lfirst(lc))->column);
	problem = redirect_to_contact(lead, change->id, columns, &later);
	if (problem == NULL)
	{
		outbox_done(change->seqs, change->nseqs);
		catalog_read_again(lead, change->id);
		push->cycle->again = true;
		row->target->counts.updated++;
		return;
	}
	if (later && change->attempts < CONTACT_ATTEMPTS)
	{
		outbox_again(change->seqs, change->nseqs,
					 push_backoff(change->attempts));
		catalog_cycle_at_once(lead->server);
		push->cycle->again = true;
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
note_failed(Push *push, PushRow *row, TimestampTz *next)
{
	NetChange  *change = row->change;

	switch (row->record.refusal)
	{
		case RECORD_RETRY:
			if (row->record.crowded && change->attempts >= LOCK_ATTEMPTS)
			{
				note_refused(row);
				break;
			}
			/* FALLTHROUGH */
		case RECORD_CHANGED:
			outbox_again(change->seqs, change->nseqs,
						 next_attempt(next, change->attempts));
			break;
		case RECORD_GONE:
			note_gone(push, row);
			break;
		case RECORD_CONVERTED:
			note_converted(push, row);
			break;
		default:
			note_refused(row);
	}
}

static void
note_all_done(Push *push, PushObject *target, List *done, List *provisional,
			  List *ids)
{
	int64	   *seqs;
	int			n;

	if (done == NIL)
		return;
	seqs = push_numbers(done, &n);
	outbox_done(seqs, n);
	add_held_back(done);
	if (ids == NIL)
		return;
	identity_given(target->object->relid, provisional, ids);
	push->gave_ids = true;
}

/* The contacts that these leads were converted to. */
static List *
contacts_of(const PushObject *leads, List *ids)
{
	List	   *contacts = NIL;
	ListCell   *lc;

	if (push_field(leads, "convertedcontactid") == NULL)
		return NIL;
	foreach(lc, stamps_column(leads->object->relid, "convertedcontactid", ids))
	{
		if (lfirst(lc))
			contacts = lappend(contacts, lfirst(lc));
	}
	return contacts;
}

static List *
converted_ids(List *rows)
{
	List	   *ids = NIL;
	ListCell   *lc;

	foreach(lc, rows)
	{
		PushRow    *row = (PushRow *) lfirst(lc);

		if (row->record.answered && !row->record.success &&
			row->record.refusal == RECORD_CONVERTED)
			ids = lappend(ids, row->change->id);
	}
	return ids;
}

/*
 * What is wrong with the table of contacts is told when they are pulled; it
 * holds up no outcomes of leads.
 */
static void
pull_contacts(Push *push, SyncObject *object, List *contacts)
{
	MemoryContext caller = CurrentMemoryContext;
	SyncCounts	counts = {0};

	PG_TRY();
	{
		pull_records(push->org, object, contacts, &counts);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		if (!cycle_is_local(error))
			PG_RE_THROW();
		FlushErrorState();
		step_abort();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
}

/*
 * Before the outcomes of rows of one object are noted: the contacts of leads
 * that turned out to be converted may be too new to have come in.
 */
void
push_bring_contacts(Push *push, List *rows)
{
	List	   *ids = converted_ids(rows);
	List	   *contacts;
	SyncObject *object;
	PushObject *target;

	if (ids == NIL)
		return;
	step_begin();
	contacts = contacts_of(((PushRow *) linitial(rows))->target, ids);
	object = catalog_object(push->server, "Contact");
	step_end();
	if (contacts == NIL || object == NULL ||
		object->direction != DIRECTION_BOTH)
		return;
	target = push_object(push, object->relid);
	if (target && push_lock(target))
		pull_contacts(push, target->object, contacts);
}

/*
 * Rows of one object; in the caller's step.  New rows of an attempt that the
 * answer left open stay in it: their records may be there, and are looked for
 * before anything is sent again.
 */
void
push_note_outcomes(Push *push, List *rows, int64 attempt)
{
	List	   *done = NIL;
	List	   *provisional = NIL;
	List	   *ids = NIL;
	TimestampTz next[MAX_BACKOFFS] = {0};
	bool		open = false;
	ListCell   *lc;

	foreach(lc, rows)
	{
		PushRow    *row = (PushRow *) lfirst(lc);

		if (!row->record.answered)
		{
			if (attempt && row->change->operation == NET_INSERT)
				open = true;
			else
				outbox_again(row->change->seqs, row->change->nseqs,
							 next_attempt(next, row->change->attempts));
		}
		else if (row->record.success)
		{
			note_done(row, &provisional, &ids);
			done = lappend(done, row);
		}
		else
			note_failed(push, row, next);
	}
	if (rows != NIL)
		note_all_done(push, ((PushRow *) linitial(rows))->target, done,
					  provisional, ids);
	if (open)
		attempt_in_doubt(attempt, false);
	else if (attempt)
		attempt_end(attempt);
}

/* Nothing was done with the row, which is certain: it goes again. */
void
push_mark_undone(PushRow *row)
{
	row->record.answered = true;
	row->record.success = false;
	row->record.code = NULL;
	row->record.refusal = RECORD_RETRY;
}
