/*-------------------------------------------------------------------------
 *
 * push_rows.c
 *	  Rows on their way out, and which of them can go.
 *
 * A row that refers to one that Salesforce does not know yet waits until that
 * one has its id.  A circle of new rows is broken by leaving the references of
 * one of them out at first.  With deletes it is the other way round: what was
 * referred to goes last.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mapping.h"
#include "push.h"
#include "step.h"
#include "tables/capture.h"
#include "tables/identity.h"

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

void
push_unlock(Push *push)
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

bool
push_is_reference(const PushRow *row, const NetField *field)
{
	return fold_is_provisional(field) &&
		row->change->operation != NET_DELETE;
}

/* References of rows, in one column of one table, that were filled. */
typedef struct Filled
{
	Oid			relid;
	const char *column;
	List	   *rows;			/* parallel lists of char * */
	List	   *provisional;
	List	   *ids;
} Filled;

static Filled *
find_filled(List **all, Oid relid, const char *column)
{
	Filled	   *filled;
	ListCell   *lc;

	foreach(lc, *all)
	{
		filled = (Filled *) lfirst(lc);
		if (filled->relid == relid && strcmp(filled->column, column) == 0)
			return filled;
	}
	filled = palloc0(sizeof(Filled));
	filled->relid = relid;
	filled->column = column;
	*all = lappend(*all, filled);
	return filled;
}

/* A reference that is to be filled, if its id is known. */
typedef struct Reference
{
	PushRow    *row;
	NetField   *field;
	char	   *provisional;
} Reference;

static List *
open_references(List *rows)
{
	List	   *references = NIL;
	ListCell   *lc;
	ListCell   *lc2;

	foreach(lc, rows)
	{
		PushRow    *row = (PushRow *) lfirst(lc);

		foreach(lc2, row->change->fields)
		{
			NetField   *field = (NetField *) lfirst(lc2);
			Reference  *reference;

			if (!push_is_reference(row, field))
				continue;
			reference = palloc(sizeof(Reference));
			reference->row = row;
			reference->field = field;
			reference->provisional = field->raw;
			references = lappend(references, reference);
		}
	}
	return references;
}

/*
 * A row that was committed after its parent had got its id still refers to the
 * provisional one.
 */
static void
refer_to_ids(List *references)
{
	List	   *all = NIL;
	ListCell   *lc;

	foreach(lc, references)
	{
		Reference  *reference = (Reference *) lfirst(lc);
		Filled	   *filled;

		if (fold_is_provisional(reference->field))
			continue;
		filled = find_filled(&all, reference->row->change->relid,
							 reference->field->column);
		filled->rows = lappend(filled->rows, reference->row->change->id);
		filled->provisional = lappend(filled->provisional,
									  reference->provisional);
		filled->ids = lappend(filled->ids, reference->field->raw);
	}
	foreach(lc, all)
	{
		Filled	   *filled = (Filled *) lfirst(lc);

		identity_refer(filled->relid, filled->column, filled->rows,
					   filled->provisional, filled->ids);
	}
}

/*
 * Puts known ids in the place of provisional ones that the rows refer to, here
 * as well as in what is sent.
 */
void
push_fill_known_ids(List *rows)
{
	List	   *references = open_references(rows);
	List	   *changes = NIL;
	ListCell   *lc;

	foreach(lc, rows)
		changes = lappend(changes, ((PushRow *) lfirst(lc))->change);
	step_begin();
	fold_known_ids(changes);
	refer_to_ids(references);
	step_end();
}

static int
compare_ids(const void *a, const void *b)
{
	return strcmp((*(PushRow *const *) a)->change->id,
				  (*(PushRow *const *) b)->change->id);
}

PushIndex
push_index(List *rows)
{
	PushIndex	index = {palloc(sizeof(PushRow *) * list_length(rows)), 0};
	ListCell   *lc;

	foreach(lc, rows)
		index.rows[index.n++] = (PushRow *) lfirst(lc);
	qsort(index.rows, index.n, sizeof(PushRow *), compare_ids);
	return index;
}

PushRow *
push_indexed(const PushIndex *index, const char *id)
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
		if (push_is_reference(row, (NetField *) lfirst(lc)))
			return true;
	}
	return false;
}

/*
 * Leaves out the references that a row waits for, if Salesforce takes it
 * without them and all of them are to rows that wait as well.
 */
static bool
hold_back_references(PushRow *row, const PushIndex *waiting)
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

		if (!push_is_reference(row, net))
		{
			sent = lappend(sent, net);
			continue;
		}
		if (field == NULL || !field->nillable || !field->updateable ||
			push_indexed(waiting, net->raw) == NULL)
			return false;
		held = lappend(held, net);
	}
	row->change->fields = sent;
	row->held_back = held;
	return true;
}

/* The rows that wait for each other in a circle, of which one goes ahead. */
static PushRow *
break_circle(PushRow *circle, const PushIndex *waiting)
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
link_waiting(PushRow *row, const PushIndex *waiting)
{
	ListCell   *lc;

	foreach(lc, row->change->fields)
	{
		NetField   *net = (NetField *) lfirst(lc);

		if (!push_is_reference(row, net))
			continue;
		row->waits_for = push_indexed(waiting, net->raw);
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
	PushIndex	index = push_index(waiting);
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
List *
push_choose_ready(List *rows, List **still_waiting)
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
 * Deletes
 *
 * Salesforce refuses to delete some records that others refer to, and deletes
 * those others along with the rest: a row that was moved to another parent, too,
 * if that has not arrived yet.
 */

/* A circle of references comes to an end there, in no order. */
#define MAX_WAVES	50

/* The delete of the record that a row refers to, or did before; or NULL. */
static PushRow *
deleted_parent(const PushRow *row, const NetField *field,
			   const PushIndex *deletes)
{
	char		id[SYNC_ID_SPACE];
	size_t		len;
	PushRow    *parent;

	if (!field->reference || field->base[0] != '"')
		return NULL;
	len = strlen(field->base);
	if (len - 2 >= sizeof(id))
		return NULL;
	strlcpy(id, field->base + 1, len - 1);
	parent = push_indexed(deletes, id);
	return parent == row ? NULL : parent;
}

/* Puts parents of the row behind it; true if one was not. */
static bool
move_parents(const PushRow *row, const PushIndex *deletes)
{
	bool		moved = false;
	ListCell   *lc;

	foreach(lc, row->change->fields)
	{
		PushRow    *parent = deleted_parent(row, (NetField *) lfirst(lc),
											deletes);

		if (parent && parent->wave <= row->wave && row->wave < MAX_WAVES)
		{
			parent->wave = row->wave + 1;
			moved = true;
		}
	}
	return moved;
}

int
push_choose_waves(List *rows, PushIndex *deletes)
{
	List	   *deleted = NIL;
	bool		moved = true;
	int			last = 0;
	ListCell   *lc;

	foreach(lc, rows)
	{
		if (((PushRow *) lfirst(lc))->change->operation == NET_DELETE)
			deleted = lappend(deleted, lfirst(lc));
	}
	*deletes = push_index(deleted);
	while (deleted != NIL && moved)
	{
		moved = false;
		foreach(lc, rows)
			moved |= move_parents((PushRow *) lfirst(lc), deletes);
	}
	foreach(lc, deleted)
		last = Max(last, ((PushRow *) lfirst(lc))->wave);
	return last;
}

/* Whether nothing more is to be sent of the row, for now. */
bool
push_is_settled(const PushRow *row)
{
	const WriteRecord *record = &row->record;

	return record->answered &&
		(record->success || (record->refusal != RECORD_RETRY &&
							 record->refusal != RECORD_CHANGED));
}

bool
push_hold_parents(const PushRow *row, const PushIndex *deletes)
{
	bool		any = false;
	ListCell   *lc;

	foreach(lc, row->change->fields)
	{
		PushRow    *parent = deleted_parent(row, (NetField *) lfirst(lc),
											deletes);

		/* In a circle nobody waits. */
		if (parent == NULL || parent->wave <= row->wave)
			continue;
		parent->held = true;
		any = true;
	}
	return any;
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
