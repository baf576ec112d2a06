/*-------------------------------------------------------------------------
 *
 * push_look.c
 *	  Whether records are still as we know them, before they are written.
 *
 * Stamps and values of the rows that are to go out are compared with what the
 * org has; what has changed there is brought in first, and conflict.c decides.
 * So nothing is overwritten unseen, and what was sent already, its answer
 * lost, is found done.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "evolve.h"
#include "mapping.h"
#include "pull.h"
#include "push.h"
#include "salesforce/query.h"
#include "salesforce/soql.h"
#include "step.h"
#include "tables/capture.h"
#include "tables/stamps.h"

/* Stamps in one question; an answer holds 2,000 rows (REST API: Query). */
#define STAMPS_PER_QUERY	2000

typedef struct CheckedRow
{
	char		id[SYNC_ID_SPACE];
} CheckedRow;

static bool
was_checked(Push *push, const char *id)
{
	CheckedRow	key;

	memset(&key, 0, sizeof(key));
	strlcpy(key.id, id, sizeof(key.id));
	return hash_search(push->checked, &key, HASH_FIND, NULL) != NULL;
}

static void
note_checked(Push *push, const char *id)
{
	CheckedRow	key;

	memset(&key, 0, sizeof(key));
	strlcpy(key.id, id, sizeof(key.id));
	(void) hash_search(push->checked, &key, HASH_ENTER, NULL);
}

/* What was sent is looked at again before it is sent another time. */
void
push_forget_look(Push *push, List *rows)
{
	ListCell   *lc;

	foreach(lc, rows)
	{
		PushRow    *row = (PushRow *) lfirst(lc);
		CheckedRow	key;

		memset(&key, 0, sizeof(key));
		strlcpy(key.id, row->change->id, sizeof(key.id));
		(void) hash_search(push->checked, &key, HASH_REMOVE, NULL);
	}
}

/* Rows of one object whose records have to be looked at before. */
static List *
rows_to_check(Push *push, List *rows, const PushObject *target)
{
	List	   *some = NIL;
	ListCell   *lc;

	if (target->object->direction != DIRECTION_BOTH)
		return NIL;
	foreach(lc, rows)
	{
		PushRow    *row = (PushRow *) lfirst(lc);

		if (row->target == target && row->change->operation != NET_INSERT &&
			row->change->id[0] != PROVISIONAL_MARK &&
			!was_checked(push, row->change->id))
			some = lappend(some, row);
	}
	return some;
}

static List *
ids_of(List *rows)
{
	List	   *ids = NIL;
	ListCell   *lc;

	foreach(lc, rows)
		ids = lappend(ids, ((PushRow *) lfirst(lc))->change->id);
	return ids;
}

/* Whether a value of the org is one of a field's, which are JSON. */
bool
push_same_value(const NetField *net, const char *json, const char *theirs)
{
	StringInfoData quoted;

	if (theirs == NULL)
		return fold_same(json, "null");
	if (json[0] != '"' && strcmp(json, "null") != 0)
		return fold_same_stored(net, json, theirs);
	initStringInfo(&quoted);
	json_append_string(&quoted, theirs);
	return fold_same(json, quoted.data);
}

/* What the look asks for: stamps, and the values that are to be changed. */
static List *
looked_at_fields(const PushObject *target, List *rows)
{
	List	   *names = list_make2(pstrdup("Id"), target->object->stamp_field);
	ListCell   *lc;
	ListCell   *lc2;

	foreach(lc, rows)
	{
		NetChange  *change = ((PushRow *) lfirst(lc))->change;

		if (change->operation != NET_UPDATE)
			continue;
		foreach(lc2, change->fields)
		{
			SyncField  *field = push_field(target,
										   ((NetField *) lfirst(lc2))->column);

			if (field && !mapping_has_name(names, field->field))
				names = lappend(names, field->field);
		}
	}
	return names;
}

/*
 * The record no longer has the values that we knew.  Stamps count whole seconds
 * (§6.1): a change within the second of the last one that we saw has the same.
 */
static bool
has_other_values(const PushRow *row, const QueryPage *page, int record)
{
	ListCell   *lc;

	if (row->change->operation != NET_UPDATE)
		return false;
	foreach(lc, row->change->fields)
	{
		NetField   *net = (NetField *) lfirst(lc);
		SyncField  *field = push_field(row->target, net->column);

		if (field && !push_same_value(net, net->base,
									  query_value(page, record, field->field)))
			return true;
	}
	return false;
}

/* Of these rows' ids those whose records are not as we know them. */
static List *
changed_ids(Push *push, PushObject *target, List *rows)
{
	SyncObject *object = target->object;
	PushIndex	index = push_index(rows);
	QueryPage  *page;
	List	   *found = NIL;
	List	   *stamps = NIL;
	List	   *others = NIL;
	List	   *changed;

	page = query_run(push->org->api,
					 soql_select(looked_at_fields(target, rows),
								 object->object,
								 list_make1(soql_id_in(ids_of(rows))), NULL,
								 0),
					 object->has_isdeleted);
	while (page)
	{
		for (int i = 0; i < page->nrecords; i++)
		{
			char	   *id = pstrdup(query_id(page, i));
			PushRow    *row = push_indexed(&index, id);

			if (row && has_other_values(row, page, i))
			{
				others = lappend(others, id);
				continue;
			}
			found = lappend(found, id);
			stamps = lappend(stamps,
							 pstrdup(query_required(page, i, object->stamp_field)));
		}
		page = page->done ? NULL : query_next(push->org->api, page);
	}
	step_begin();
	changed = stamps_differing(object->relid,
							   mapping_lower(object->stamp_field), found,
							   stamps);
	step_end();
	return list_concat(changed, others);
}

/* Brings in what has changed of these rows; NIL if nothing had. */
static List *
bring_changed(Push *push, PushObject *target, List *rows)
{
	List	   *changed = NIL;
	List	   *some = NIL;
	SyncCounts	pulled = {0};
	int			i = 0;
	ListCell   *lc;

	if (list_length(rows) > push_bulk_threshold)
	{
		/* So many that reading what is new costs less than asking for each. */
		cycle_pull_object(push->cycle, target->object);
		return rows;
	}
	foreach(lc, rows)
	{
		some = lappend(some, lfirst(lc));
		if (++i % STAMPS_PER_QUERY == 0 || i == list_length(rows))
		{
			changed = list_concat(changed, changed_ids(push, target, some));
			some = NIL;
		}
	}
	if (changed != NIL)
		pull_records(push->org, target->object, changed, &pulled);
	return changed;
}

/* Those of the rows whose records are still there are refused after all. */
static void
refuse_existing(Push *push, const PushObject *target, List *rows)
{
	PushIndex	index = push_index(rows);
	QueryPage  *page;

	page = query_run(push->org->api,
					 soql_select(list_make1(pstrdup("Id")),
								 target->object->object,
								 list_make1(soql_id_in(ids_of(rows))), NULL,
								 0),
					 false);
	while (page)
	{
		for (int i = 0; i < page->nrecords; i++)
		{
			const char *id = query_value(page, i, "Id");
			PushRow    *row = id ? push_indexed(&index, id) : NULL;

			if (row)
				row->record.refusal = RECORD_PARK;
		}
		page = page->done ? NULL : query_next(push->org->api, page);
	}
}

/*
 * Before the outcomes of rows of one object are noted: whether updates were
 * refused because their records are gone.
 */
void
push_find_gone(Push *push, PushObject *target, List *rows)
{
	List	   *some = NIL;
	ListCell   *lc;

	foreach(lc, rows)
	{
		PushRow    *row = (PushRow *) lfirst(lc);

		if (row->change->operation == NET_UPDATE &&
			record_may_be_gone(&row->record))
		{
			row->record.refusal = RECORD_GONE;
			some = lappend(some, row);
		}
		if (some != NIL && (list_length(some) == STAMPS_PER_QUERY ||
							lnext(rows, lc) == NULL))
		{
			refuse_existing(push, target, some);
			some = NIL;
		}
	}
}

/* A field is gone from the org; the next round does without it. */
void
push_evolve(Push *push, SyncObject *object)
{
	push->evolved = true;
	object->describe_tag = NULL;
	(void) evolve_object(push->org, object);
}

void
push_note_failure(Push *push, PushObject *target, const ErrorData *error)
{
	const ApiError *refusal = &push->org->api->error;
	const char *message = error->detail ?
		psprintf("%s: %s", error->message, error->detail) : error->message;

	if (!target->object->push_failed)
		cycle_tell_failure(push->server, target->object->object, "push",
						   message, error, push->org);
	catalog_failure(push->server, target->object->object, "push", NULL,
					refusal->code[0] ? refusal->code :
					unpack_sql_state(error->sqlerrcode),
					message, error->hint, NIL);
}

void
push_note_recovery(Push *push, PushObject *target)
{
	if (!target->object->push_failed)
		return;
	step_begin();
	catalog_steps_recovered(push->server, target->object->object, true);
	step_end();
	cycle_tell_recovery(push->server, target->object->object, push->org);
	target->object->push_failed = false;
}

/*
 * The org refuses to tell about this object, and would refuse again: its rows
 * wait, those of others go on.
 */
static void
note_stuck(Push *push, PushObject *target, List *rows, const ErrorData *error)
{
	int			n;
	int64	   *seqs = push_numbers(rows, &n);

	step_begin();
	outbox_defer(seqs, n, GetCurrentTimestamp() + STUCK_RETRY);
	push_note_failure(push, target, error);
	step_end();
}

static void
note_all_checked(Push *push, PushObject *target, List *rows)
{
	ListCell   *lc;

	foreach(lc, rows)
		note_checked(push, ((PushRow *) lfirst(lc))->change->id);
	push_note_recovery(push, target);
}

/*
 * Looks at the records of the rows, and brings in what has changed; true if
 * anything had, since then the outbox may have changed as well.
 */
static bool
check_target(Push *push, PushObject *target, List *rows)
{
	MemoryContext context = CurrentMemoryContext;
	ApiError   *refused = &push->org->api->error;
	List	   *volatile changed = NIL;
	ErrorData  *volatile error = NULL;

	api_clear_error(push->org->api);
	PG_TRY();
	{
		changed = bring_changed(push, target, rows);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(context);
		error = CopyErrorData();
		if (!api_is_refusal(push->org->api, error->sqlerrcode) ||
			refused->refusal == API_TRANSIENT || push_concerns_org(refused))
			PG_RE_THROW();
		FlushErrorState();
		step_abort();
	}
	PG_END_TRY();
	if (error == NULL)
	{
		note_all_checked(push, target, rows);
		return changed != NIL;
	}
	if (refused->refusal == API_SCHEMA && !push->evolved)
		push_evolve(push, target->object);
	else
		note_stuck(push, target, rows, error);
	return true;
}

bool
push_look(Push *push, List *rows)
{
	bool		changed = false;
	ListCell   *lc;

	foreach(lc, push->objects)
	{
		PushObject *target = (PushObject *) lfirst(lc);
		List	   *some = rows_to_check(push, rows, target);

		if (some != NIL)
			changed |= check_target(push, target, some);
	}
	return changed;
}

void
push_begin_looks(Push *push)
{
	HASHCTL		ctl;

	memset(&ctl, 0, sizeof(ctl));
	ctl.keysize = sizeof(CheckedRow);
	ctl.entrysize = sizeof(CheckedRow);
	ctl.hcxt = push->context;
	push->checked = hash_create("sync checked rows", 256, &ctl,
								HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}
