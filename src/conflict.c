/*-------------------------------------------------------------------------
 *
 * conflict.c
 *	  Both sides changed the same: who wins.
 *
 * Three values decide, for each field by itself: the last that both sides had
 * in common (kept with the change in the outbox), the one that Salesforce has
 * now, and ours.
 *
 *	theirs = base			only we changed it: ours stays, and goes out
 *	theirs = ours			nothing to do, and nothing to send
 *	theirs = ours before	ours, of which the answer was lost: as the first
 *	theirs as it was made	a default of the org's for a new record of ours: the same
 *	ours = base				changed back: theirs, as nobody has changed it here
 *	otherwise				a conflict: salesforce, local, or the latest
 *
 * After a conflict that we won, what Salesforce has is the new base, so that
 * the same difference is no conflict again.
 *
 * A record that was deleted in Salesforce is gone, whatever the rule: it cannot
 * be written to.  A row that was deleted here and changed there is decided by
 * the rule.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/hsearch.h"

#include "compat.h"
#include "conflict.h"
#include "fold.h"
#include "tables/capture.h"
#include "tables/identity.h"
#include "tables/incoming.h"

typedef struct Resolution
{
	const SyncObject *object;
	Stage	   *stage;
	List	   *fields;			/* of SyncField * */
	List	   *columns;		/* all that have pending changes; with a
								 * deletion among them, all there are */
	List	  **keep;			/* ids whose own value stays, by column */
	List	   *remove;			/* ids that leave the stage */
} Resolution;

static const char *const rule_names[] = {"salesforce", "local", "latest"};

static bool
local_wins(const SyncObject *object, const NetChange *change, TimestampTz theirs)
{
	switch (object->conflict)
	{
		case CONFLICT_LOCAL:
			return true;
		case CONFLICT_LATEST:
			return change->captured > theirs;
		default:
			return false;
	}
}

static void
record(const SyncObject *object, const NetChange *change, const char *field,
	   const char *base, const char *theirs, const char *ours, bool local,
	   const char *rule)
{
	conflict_record(object->server, object->object, change->id, field, base,
					theirs, ours, local ? "local" : "salesforce",
					rule ? rule : rule_names[object->conflict]);
	catalog_notify("conflict", object->server, object->object, change->id);
}

/* What is left of a change after some of its fields were settled. */
static void
store_change(NetChange *change)
{
	if (change->operation == NET_NOTHING ||
		(change->operation == NET_UPDATE && change->fields == NIL))
		outbox_done(change->seqs, change->nseqs);
	else
		outbox_replace(change->seqs, change->nseqs,
					   change->operation == NET_DELETE ? 'D' : 'U',
					   fold_text(change));
}

/* -1 if the stage has no such column: its field has left the org since. */
static int
column_number(List *columns, const char *column)
{
	int			i = 0;
	ListCell   *lc;

	foreach(lc, columns)
	{
		if (strcmp((char *) lfirst(lc), column) == 0)
			return i;
		i++;
	}
	return -1;
}

/* A value that went out, though its answer was lost, before the latest one. */
static bool
was_ours(const NetField *field, const char *theirs)
{
	ListCell   *lc;

	foreach(lc, field->between)
	{
		if (fold_same_stored(field, (char *) lfirst(lc), theirs))
			return true;
	}
	return false;
}

/* What both sides had last, or a value of ours since. */
static bool
is_known(const NetField *field, const char *theirs)
{
	return fold_same_stored(field, field->base, theirs) ||
		was_ours(field, theirs);
}

/* One field; returns whether it is still to be sent. */
static bool
resolve_field(Resolution *r, NetChange *change, NetField *field,
			  const IncomingRow *row, bool *changed)
{
	int			n = column_number(r->columns, field->column);
	char	   *theirs;
	bool		ours;
	bool		local;

	if (n < 0)
		return true;
	theirs = row->values[n];
	if (fold_same_stored(field, field->base, theirs))
	{
		r->keep[n] = lappend(r->keep[n], change->id);
		return !field->back;
	}
	*changed = true;
	ours = was_ours(field, theirs);
	if (fold_same_stored(field, field->value, theirs) ||
		(field->back && !ours))
		return false;
	if (row->fresh || ours)
	{
		r->keep[n] = lappend(r->keep[n], change->id);
		field->base = theirs;
		return true;
	}
	local = local_wins(r->object, change, row->stamp);
	record(r->object, change, field->column, field->base, theirs, field->value,
		   local, NULL);
	if (local)
	{
		r->keep[n] = lappend(r->keep[n], change->id);
		field->base = theirs;
	}
	return local;
}

static void
resolve_update(Resolution *r, NetChange *change, const IncomingRow *row)
{
	List	   *left = NIL;
	bool		changed = false;
	ListCell   *lc;

	foreach(lc, change->fields)
	{
		NetField   *field = (NetField *) lfirst(lc);

		if (resolve_field(r, change, field, row, &changed))
			left = lappend(left, field);
	}
	change->fields = left;
	if (changed)
		store_change(change);
}

/*
 * Whether somebody has changed the record since: a new stamp alone may come
 * from a change that we sent before.  What follows from other fields, or from
 * other records, is nobody's change.
 */
static bool
changed_there(const Resolution *r, const NetChange *change,
			  const IncomingRow *row)
{
	ListCell   *lc;

	foreach(lc, r->fields)
	{
		SyncField  *known = (SyncField *) lfirst(lc);
		NetField   *field = fold_field(change, known->attname);
		int			n = column_number(r->columns, known->attname);

		if (known->updateable && n >= 0 &&
			!(field ? is_known(field, row->values[n]) :
			  fold_same("null", row->values[n])))
			return true;
	}
	return false;
}

/* What Salesforce has now is what both sides had last. */
static void
rebase_delete(const Resolution *r, NetChange *change, const IncomingRow *row)
{
	int			n = 0;
	ListCell   *lc;

	foreach(lc, r->columns)
	{
		char	   *column = (char *) lfirst(lc);
		NetField   *field = fold_field(change, column);

		if (field == NULL)
		{
			field = palloc0(sizeof(NetField));
			field->column = column;
			field->value = pstrdup("null");
			change->fields = lappend(change->fields, field);
		}
		field->base = row->values[n++];
	}
}

/* Deleted here; there it is alive, and perhaps changed since. */
static void
resolve_delete(Resolution *r, NetChange *change, const IncomingRow *row)
{
	NetField   *stamp = fold_field(change, r->stage->stamp);
	char	   *theirs = row->values[column_number(r->columns, r->stage->stamp)];
	bool		local = true;

	if (stamp == NULL || fold_same(stamp->base, theirs))
	{
		r->remove = lappend(r->remove, change->id);
		return;
	}
	if (changed_there(r, change, row))
	{
		local = local_wins(r->object, change, row->stamp);
		record(r->object, change, NULL, NULL, "\"changed\"", "\"deleted\"",
			   local, NULL);
	}
	if (local)
	{
		r->remove = lappend(r->remove, change->id);
		rebase_delete(r, change, row);
		store_change(change);
	}
	else
		outbox_done(change->seqs, change->nseqs);
}

/* Deleted there: what we changed has nowhere to go. */
static void
resolve_gone(const SyncObject *object, NetChange *change)
{
	ListCell   *lc;

	if (change->operation == NET_UPDATE)
	{
		foreach(lc, change->fields)
		{
			NetField   *field = (NetField *) lfirst(lc);

			if (!field->back)
				record(object, change, field->column, field->base, NULL,
					   field->value, false, "deleted");
		}
	}
	outbox_done(change->seqs, change->nseqs);
}

static void
resolve_row(Resolution *r, NetChange *change, const IncomingRow *row)
{
	if (change->operation == NET_IMPOSSIBLE)
		r->remove = lappend(r->remove, change->id);
	else if (row->deleted)
		resolve_gone(r->object, change);
	else if (change->operation == NET_UPDATE)
		resolve_update(r, change, row);
	else if (change->operation == NET_DELETE)
		resolve_delete(r, change, row);
	else
		outbox_done(change->seqs, change->nseqs);
}

static List *
add_column(const Resolution *r, List *columns, char *column)
{
	if (column_number(columns, column) >= 0 ||
		column_number(r->stage->columns, column) < 0)
		return columns;
	return lappend(columns, column);
}

static List *
all_columns(const Resolution *r, List *changes)
{
	List	   *columns = list_make1(pstrdup(r->stage->stamp));
	bool		deletion = false;
	ListCell   *lc;
	ListCell   *lc2;

	foreach(lc, changes)
	{
		NetChange  *change = (NetChange *) lfirst(lc);

		deletion |= change->operation == NET_DELETE;
		foreach(lc2, change->fields)
			columns = add_column(r, columns,
								 ((NetField *) lfirst(lc2))->column);
	}
	if (deletion)
	{
		foreach(lc, r->fields)
			columns = add_column(r, columns,
								 ((SyncField *) lfirst(lc))->attname);
	}
	return columns;
}

typedef struct RowEntry
{
	char		id[SYNC_ID_SPACE];
	IncomingRow *row;
} RowEntry;

static HTAB *
index_rows(List *rows)
{
	HASHCTL		ctl;
	HTAB	   *index;
	ListCell   *lc;

	memset(&ctl, 0, sizeof(ctl));
	ctl.keysize = SYNC_ID_SPACE;
	ctl.entrysize = sizeof(RowEntry);
	ctl.hcxt = CurrentMemoryContext;
	index = hash_create("sync incoming rows", 256, &ctl,
						HASH_ELEM | HASH_STRINGS_COMPAT | HASH_CONTEXT);
	foreach(lc, rows)
	{
		IncomingRow *row = (IncomingRow *) lfirst(lc);
		RowEntry   *entry = hash_search(index, row->id, HASH_ENTER, NULL);

		entry->row = row;
	}
	return index;
}

static IncomingRow *
find_row(HTAB *index, const char *id)
{
	RowEntry   *entry = hash_search(index, id, HASH_FIND, NULL);

	return entry ? entry->row : NULL;
}

static List *
refuse_locked(const SyncObject *object, List *ids)
{
	List	   *refused = NIL;
	ListCell   *lc;

	foreach(lc, ids)
		refused = lappend(refused, refused_locked(object->relid, lfirst(lc)));
	return refused;
}

List *
conflict_resolve(const SyncObject *object, Stage *stage)
{
	Resolution	r = {0};
	List	   *changes;
	List	   *fields;
	List	   *ids = NIL;
	List	   *locked;
	HTAB	   *rows;
	ListCell   *lc;
	int			i = 0;

	identity_waiting(object->relid, stage->stage);
	locked = refuse_locked(object, incoming_lock(stage));
	changes = fold_changes(outbox_of_rows(object->relid, stage->stage));
	if (changes == NIL)
		return locked;
	fields = catalog_fields(object);
	foreach(lc, changes)
		fold_describe((NetChange *) lfirst(lc), fields);
	fold_known_ids(changes);

	foreach(lc, changes)
		ids = lappend(ids, ((NetChange *) lfirst(lc))->id);
	r.object = object;
	r.stage = stage;
	r.fields = fields;
	r.columns = all_columns(&r, changes);
	r.keep = palloc0(sizeof(List *) * list_length(r.columns));
	rows = index_rows(incoming_rows(stage, ids, r.columns));
	foreach(lc, changes)
	{
		NetChange  *change = (NetChange *) lfirst(lc);
		IncomingRow *row = find_row(rows, change->id);

		if (row)
			resolve_row(&r, change, row);
	}
	foreach(lc, r.columns)
		incoming_keep(stage, (char *) lfirst(lc), r.keep[i++]);
	stage_remove(stage->stage, r.remove);
	return locked;
}

void
conflict_deleted(const SyncObject *object)
{
	List	   *changes = fold_changes(outbox_of_gone(object->relid));
	ListCell   *lc;

	foreach(lc, changes)
		resolve_gone(object, (NetChange *) lfirst(lc));
}

List *
conflict_without_changes(const SyncObject *object, List *ids)
{
	List	   *changes = outbox_of_ids(object->relid, ids);
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, ids)
	{
		char	   *id = (char *) lfirst(lc);
		bool		has_changes = false;
		ListCell   *lc2;

		foreach(lc2, changes)
			has_changes |= strcmp(((OutboxChange *) lfirst(lc2))->id, id) == 0;
		if (!has_changes)
			result = lappend(result, id);
	}
	return result;
}
