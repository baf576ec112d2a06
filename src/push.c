/*-------------------------------------------------------------------------
 *
 * push.c
 *	  The way out: what the outbox holds, to Salesforce.
 *
 * A round takes what is due, folds it to one net change per row, looks whether
 * those records have changed in Salesforce since we saw them (and lets
 * conflict.c decide if so), and sends what is ready.  A row that refers to one
 * that Salesforce does not know yet waits for a later round, when that one has
 * its id; rounds go on until nothing more can be sent.  A circle of new rows is
 * broken by leaving the references of one of them out at first.
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

#include "common/hashfn.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "evolve.h"
#include "mapping.h"
#include "pull.h"
#include "push.h"
#include "salesforce/json.h"
#include "salesforce/query.h"
#include "salesforce/soql.h"
#include "step.h"
#include "tables/capture.h"
#include "tables/identity.h"
#include "tables/stamps.h"

int			push_bulk_threshold = 2000;
int			push_concurrency = 4;
int			push_answer_wait = 120;

/* Rows in one round: bounds memory, and is what one Bulk job takes. */
#define ROUND_ROWS			100000

/* Rows that were refused for a lock or a limit go in smaller calls. */
#define RETRY_CALL_ROWS		20

/* A conditional write is one subrequest of a Composite call. */
#define CONDITIONAL_CALL_ROWS	25

/* Stamps in one question; an answer holds 2,000 rows (REST API: Query). */
#define STAMPS_PER_QUERY	2000

/* Writers who never pause must not keep what comes in from coming. */
#define RUN_TIME			(10 * USECS_PER_SEC)

/* What no answer can be got for now, and rows that wait for others. */
#define STUCK_RETRY			(60 * USECS_PER_SEC)

/* Ids that are given, and rows that refused to take them, are tried again. */
#define REPLACE_RETRY		(10 * USECS_PER_SEC)

typedef struct CheckedRow
{
	char		id[SYNC_ID_SPACE];
} CheckedRow;

/*
 * Objects
 */

SyncField *
push_field(const PushObject *target, const char *column)
{
	ListCell   *lc;

	foreach(lc, target->fields)
	{
		SyncField  *field = (SyncField *) lfirst(lc);

		if (strcmp(field->attname, column) == 0)
			return field;
	}
	return NULL;
}

/*
 * Writes to a record lock its parent: the account of a contact, the campaign of
 * a member.  Of the references the first that is no owner, author or type.
 */
static SyncField *
parent_field(List *fields)
{
	static const char *const known[] = {"CampaignId", "AccountId"};
	ListCell   *lc;

	for (int i = 0; i < 2; i++)
	{
		foreach(lc, fields)
		{
			if (strcmp(((SyncField *) lfirst(lc))->field, known[i]) == 0)
				return (SyncField *) lfirst(lc);
		}
	}
	foreach(lc, fields)
	{
		SyncField  *field = (SyncField *) lfirst(lc);

		if (field->reference && field->createable &&
			!mapping_has_name(field->reference_to, "User") &&
			!mapping_has_name(field->reference_to, "RecordType"))
			return field;
	}
	return NULL;
}

PushObject *
push_object(Push *push, Oid relid)
{
	PushObject *target;
	ListCell   *lc;

	foreach(lc, push->objects)
	{
		target = (PushObject *) lfirst(lc);
		if (target->object->relid == relid)
			return target;
	}
	target = palloc0(sizeof(PushObject));
	step_begin();
	target->object = catalog_object_by_relid(relid);
	if (target->object)
		target->fields = catalog_fields(target->object);
	step_end();
	if (target->object == NULL)
		return NULL;
	target->parent = parent_field(target->fields);
	push->objects = lappend(push->objects, target);
	return target;
}

/* The object's lock for this round; false if another process is at it. */
bool
push_lock(PushObject *target)
{
	if (!target->locked)
		target->locked = step_lock_try(LOCK_OBJECT, target->object->relid);
	return target->locked;
}

static void
unlock_targets(Push *push)
{
	ListCell   *lc;

	foreach(lc, push->objects)
	{
		PushObject *target = (PushObject *) lfirst(lc);

		if (target->locked)
			step_unlock(LOCK_OBJECT, target->object->relid);
	}
	push->objects = NIL;
}

/*
 * Rows
 */

/* Fields that the org no longer has, or hides from us. */
static void
set_lost_aside(PushRow *row)
{
	NetChange  *change = row->change;
	List	   *fields = NIL;
	ListCell   *lc;

	if (change->operation != NET_INSERT && change->operation != NET_UPDATE)
		return;
	foreach(lc, change->fields)
	{
		NetField   *net = (NetField *) lfirst(lc);

		if (push_field(row->target, net->column))
			fields = lappend(fields, net);
		else
			row->lost = lappend(row->lost, net);
	}
	change->fields = fields;
	if (fields == NIL && row->lost != NIL && change->operation == NET_UPDATE)
		change->operation = NET_NOTHING;
}

/* Net changes as rows; those of tables that are no longer synced are left. */
List *
push_rows_of(Push *push, List *changes)
{
	List	   *rows = NIL;
	ListCell   *lc;

	foreach(lc, changes)
	{
		PushRow    *row = palloc0(sizeof(PushRow));

		row->change = (NetChange *) lfirst(lc);
		row->target = push_object(push, row->change->relid);
		if (row->target == NULL)
			continue;
		set_lost_aside(row);
		fold_describe(row->change, row->target->fields);
		rows = lappend(rows, row);
	}
	return rows;
}

static bool
is_reference(const PushRow *row, const NetField *field)
{
	return fold_is_provisional(field) &&
		row->change->operation != NET_DELETE;
}

/* Puts known ids in the place of provisional ones that the rows refer to. */
void
push_fill_known_ids(List *rows)
{
	List	   *changes = NIL;
	ListCell   *lc;

	foreach(lc, rows)
		changes = lappend(changes, ((PushRow *) lfirst(lc))->change);
	step_begin();
	fold_known_ids(changes);
	step_end();
}

static int
compare_ids(const void *a, const void *b)
{
	return strcmp((*(PushRow *const *) a)->change->id,
				  (*(PushRow *const *) b)->change->id);
}

/* Rows by id. */
typedef struct RowIndex
{
	PushRow   **rows;
	int			n;
} RowIndex;

static RowIndex
index_rows(List *rows)
{
	RowIndex	index = {palloc(sizeof(PushRow *) * list_length(rows)), 0};
	ListCell   *lc;

	foreach(lc, rows)
		index.rows[index.n++] = (PushRow *) lfirst(lc);
	qsort(index.rows, index.n, sizeof(PushRow *), compare_ids);
	return index;
}

static PushRow *
indexed_row(const RowIndex *index, const char *id)
{
	NetChange	change = {.id = unconstify(char *, id)};
	PushRow		key = {.change = &change};
	PushRow    *wanted = &key;
	PushRow   **found = bsearch(&wanted, index->rows, index->n,
								sizeof(PushRow *), compare_ids);

	return found ? *found : NULL;
}

/* True if the row refers to a row that has no id yet. */
static bool
is_waiting(const PushRow *row)
{
	ListCell   *lc;

	foreach(lc, row->change->fields)
	{
		if (is_reference(row, (NetField *) lfirst(lc)))
			return true;
	}
	return false;
}

/*
 * Leaves out the references that a row waits for, if Salesforce takes it
 * without them and all of them are to rows that wait as well.
 */
static bool
hold_back_references(PushRow *row, const RowIndex *waiting)
{
	List	   *sent = NIL;
	List	   *held = NIL;
	ListCell   *lc;

	if (row->change->operation != NET_INSERT)
		return false;
	foreach(lc, row->change->fields)
	{
		NetField   *net = (NetField *) lfirst(lc);
		SyncField  *field = push_field(row->target, net->column);

		if (!is_reference(row, net))
		{
			sent = lappend(sent, net);
			continue;
		}
		if (field == NULL || !field->nillable || !field->updateable ||
			indexed_row(waiting, net->raw) == NULL)
			return false;
		held = lappend(held, net);
	}
	row->change->fields = sent;
	row->held_back = held;
	return true;
}

/* The rows that wait for each other in a circle, of which one goes ahead. */
static PushRow *
break_circle(PushRow *circle, const RowIndex *waiting)
{
	PushRow    *row = circle;

	do
	{
		if (hold_back_references(row, waiting))
			return row;
		row = row->waits_for;
	} while (row != circle);
	return NULL;
}

static void
link_waiting(PushRow *row, const RowIndex *waiting)
{
	ListCell   *lc;

	foreach(lc, row->change->fields)
	{
		NetField   *net = (NetField *) lfirst(lc);

		if (!is_reference(row, net))
			continue;
		row->waits_for = indexed_row(waiting, net->raw);
		return;
	}
}

/*
 * All rows wait.  Whoever follows them, each to the one that its first
 * reference names, comes to a row that cannot go, or into a circle.
 */
static List *
break_circles(List *waiting)
{
	RowIndex	index = index_rows(waiting);
	List	   *ahead = NIL;
	int			walk = 0;
	ListCell   *lc;

	foreach(lc, waiting)
		link_waiting((PushRow *) lfirst(lc), &index);
	foreach(lc, waiting)
	{
		PushRow    *row = (PushRow *) lfirst(lc);

		for (walk++; row && row->visit == 0; row = row->waits_for)
			row->visit = walk;
		if (row && row->visit == walk)
			row = break_circle(row, &index);
		else
			row = NULL;
		if (row)
			ahead = lappend(ahead, row);
	}
	return ahead;
}

/* The rows that can be sent now; the others are *waiting. */
static List *
choose_ready(List *rows, List **still_waiting)
{
	List	   *ready = NIL;
	List	   *waiting = NIL;
	ListCell   *lc;

	foreach(lc, rows)
	{
		PushRow    *row = (PushRow *) lfirst(lc);

		if (is_waiting(row))
			waiting = lappend(waiting, row);
		else
			ready = lappend(ready, row);
	}
	*still_waiting = waiting;
	return ready != NIL ? ready : break_circles(waiting);
}

/*
 * Has Salesforce changed it meanwhile?
 */

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
static void
forget_checked(Push *push, List *rows)
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

		if (field && !push_same_value(net, net->base, query_value(page, record, field->field)))
			return true;
	}
	return false;
}

/* Of these rows' ids those whose records are not as we know them. */
static List *
changed_ids(Push *push, PushObject *target, List *rows)
{
	SyncObject *object = target->object;
	RowIndex	index = index_rows(rows);
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
			char	   *id = pstrdup(query_value(page, i, "Id"));
			PushRow    *row = indexed_row(&index, id);

			if (row && has_other_values(row, page, i))
			{
				others = lappend(others, id);
				continue;
			}
			found = lappend(found, id);
			stamps = lappend(stamps,
							 pstrdup(query_value(page, i, object->stamp_field)));
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

/* A field is gone from the org; the next round does without it. */
static void
evolve_once(Push *push, SyncObject *object)
{
	push->evolved = true;
	object->describe_tag = NULL;
	(void) evolve_object(push->org, object);
}

void
push_note_failure(Push *push, PushObject *target, const ErrorData *error)
{
	const ApiError *refusal = &push->org->api->error;

	catalog_failure(push->server, target->object->object, "push", NULL,
					refusal->code[0] ? refusal->code :
					unpack_sql_state(error->sqlerrcode),
					error->detail ? psprintf("%s: %s", error->message,
											 error->detail) : error->message,
					error->hint, NIL);
}

void
push_note_recovery(Push *push, PushObject *target)
{
	if (!target->object->push_failed)
		return;
	step_begin();
	catalog_steps_recovered(push->server, target->object->object, true);
	step_end();
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
			(refused->refusal != API_SCHEMA &&
			 refused->refusal != API_REQUEST))
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
		evolve_once(push, target->object);
	else
		note_stuck(push, target, rows, error);
	return true;
}

static bool
check_records(Push *push, List *rows)
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

/*
 * Sending
 */

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
							 Max(list_length(row->change->fields), 1));
	foreach(lc, row->change->fields)
	{
		NetField   *net = (NetField *) lfirst(lc);
		SyncField  *field = push_field(row->target, net->column);

		record->fields[record->nfields].name = field->field;
		record->fields[record->nfields].value = net->raw;
		record->fields[record->nfields].bare = net->bare;
		record->nfields++;
	}
}

static int
max_rows_of_call(const PushRow *row, WriteVerb verb)
{
	if (verb == WRITE_UPDATE && row->target->object->unmodified_since)
		return CONDITIONAL_CALL_ROWS;
	return row->change->attempts > 0 ? RETRY_CALL_ROWS :
		COLLECTION_MAX_RECORDS;
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

int64 *
push_numbers(List *rows, int *n)
{
	int64	   *seqs;
	ListCell   *lc;

	*n = 0;
	foreach(lc, rows)
		*n += ((PushRow *) lfirst(lc))->change->nseqs;
	seqs = palloc(sizeof(int64) * Max(*n, 1));
	*n = 0;
	foreach(lc, rows)
	{
		NetChange  *change = ((PushRow *) lfirst(lc))->change;

		memcpy(seqs + *n, change->seqs, sizeof(int64) * change->nseqs);
		*n += change->nseqs;
	}
	return seqs;
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
									  api_now(push->org->api));
		outbox_sent(seqs, n, call->attempt);
	}
	step_end();
}

/*
 * The call as a whole was refused for what stands in it: halves tell which row
 * it is.  A row that stands alone has the call's refusal for its own.
 */
static List *
halves_of(PushCall *call)
{
	List	   *halves = NIL;
	int			n = list_length(call->rows);
	int			i = 0;
	ListCell   *lc;
	PushCall   *half[2];

	for (int k = 0; k < 2; k++)
	{
		half[k] = palloc0(sizeof(PushCall));
		half[k]->verb = call->verb;
		half[k]->target = call->target;
		half[k]->max_rows = call->max_rows;
		halves = lappend(halves, half[k]);
	}
	foreach(lc, call->rows)
	{
		PushCall   *target = half[i++ < n / 2 ? 0 : 1];

		target->rows = lappend(target->rows, lfirst(lc));
	}
	return halves;
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
 * The call as a whole was refused, and nothing done.  Returns calls to be sent
 * instead; NIL with *settled = false if the rows have to take the refusal.
 */
static List *
finish_refused(Push *push, PushCall *call, bool *settled)
{
	ApiRefusal	refusal = call->call.refusal.refusal;

	*settled = true;
	if (refusal == API_LIMIT || refusal == API_LOGIN ||
		(refusal == API_SCHEMA && !push->evolved) ||
		(refusal != API_TRANSIENT && list_length(call->rows) > 1))
	{
		step_begin();
		push_give_back(call->rows, call->attempt);
		step_end();
	}
	else
	{
		take_refusal(call);
		*settled = false;
		return NIL;
	}
	if (refusal == API_SCHEMA && !push->evolved)
	{
		evolve_once(push, call->target->object);
		return NIL;
	}
	if (refusal == API_LIMIT || refusal == API_LOGIN)
	{
		api_take_error(push->org->api, &call->call.refusal);
		api_raise(push->org->api, "could not send changes to Salesforce");
	}
	return halves_of(call);
}

/* What a call came to; returns calls to be sent instead of it. */
static List *
finish_call(Push *push, PushCall *call)
{
	bool		in_doubt = !call->call.answered && !call->call.refused;

	if (call->call.refused)
	{
		bool		settled;
		List	   *instead = finish_refused(push, call, &settled);

		if (settled)
			return instead;
	}
	push_bring_contacts(push, call->rows);
	step_begin();
	if (in_doubt && call->attempt)
		attempt_in_doubt(call->attempt, call->call.in_doubt_now);
	else
		push_note_outcomes(push, call->rows, call->attempt);
	step_end();
	return NIL;
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

			call->call = writes[n++];
			calls = list_concat(finish_call(push, call), calls);
		}
		CHECK_FOR_INTERRUPTS();
	}
}

/* Sends the rows of an attempt again. */
void
push_repeat(Push *push, PushObject *target, WriteVerb verb, List *rows,
			int64 attempt)
{
	PushCall	call = {0};

	call.verb = verb;
	call.target = target;
	call.rows = rows;
	call.attempt = attempt;
	prepare_call(push, &call);
	collections_write(push->org->api, &call.call, 1);
	(void) finish_call(push, &call);
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

static void
send_rows(Push *push, List *rows)
{
	List	   *calls = NIL;

	while (rows != NIL)
	{
		List	   *group = take_group(&rows);
		PushObject *target = ((PushRow *) linitial(group))->target;
		WriteVerb	verb = verb_of((PushRow *) linitial(group));

		if (list_length(group) > push_bulk_threshold &&
			!(verb == WRITE_UPDATE && target->object->unmodified_since))
			group = push_by_bulk(push, target, verb, group);
		if (group != NIL)
			calls = list_concat(calls, cut_into_calls(group, verb, target));
	}
	send_calls(push, calls);
}

/*
 * Rounds
 */

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

		if (none)
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

static List *
drop_locked(List *rows)
{
	List	   *left = NIL;
	ListCell   *lc;

	foreach(lc, rows)
	{
		PushRow    *row = (PushRow *) lfirst(lc);

		if (push_lock(row->target))
			left = lappend(left, row);
	}
	return left;
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

		catalog_failure(push->server, NULL, "replace", row->id, row->sqlstate,
						row->detail
						? psprintf("%s (%s)", row->message, row->detail)
						: row->message,
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
			if (!is_reference(row, (NetField *) lfirst(lc2)))
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

static List *
take_changes(Push *push)
{
	List	   *changes;

	step_begin();
	if (push->gave_ids)
		outbox_undefer(push->server);
	changes = outbox_take(push->server, ROUND_ROWS);
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
	rows = drop_locked(rows);
	push_fill_known_ids(rows);
	ready = choose_ready(rows, &waiting);
	full = list_length(changes) > ROUND_ROWS / 2;
	if (ready == NIL)
		refuse_waiting(push, waiting);
	else if (!check_records(push, ready))
	{
		send_rows(push, drop_back(push, ready));
		forget_checked(push, ready);
		(void) replace_ids(push);
	}
	if (ready == NIL || full)
		defer_waiting(waiting);
	return ready != NIL || (full && waiting != NIL);
}

static void
create_checked(Push *push)
{
	HASHCTL		ctl;

	memset(&ctl, 0, sizeof(ctl));
	ctl.keysize = sizeof(CheckedRow);
	ctl.entrysize = sizeof(CheckedRow);
	ctl.hcxt = push->context;
	push->checked = hash_create("sync checked rows", 256, &ctl,
								HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
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
		unlock_targets(push);
		PG_RE_THROW();
	}
	PG_END_TRY();
	unlock_targets(push);
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
	create_checked(push);
	pgstat_report_activity(STATE_RUNNING, "pushing changes");
	PG_TRY();
	{
		resolve_doubts(push);
		(void) replace_ids(push);
		while (guarded(push, push_round) && !run_is_long(push))
			;
		again = next_doubts(push);
		if (replace_ids(push) > 0 && again == 0)
			again = GetCurrentTimestamp() + REPLACE_RETRY;
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
