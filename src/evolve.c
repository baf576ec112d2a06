/*-------------------------------------------------------------------------
 *
 * evolve.c
 *	  Following changes of the org's schema.
 *
 * A describe is cheap to ask for again (If-Modified-Since), but its
 * 304 does not promise to notice that field-level security of the login
 * changed, so now and then it is read in full.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "columns.h"
#include "evolve.h"
#include "mapping.h"
#include "salesforce/query.h"
#include "salesforce/soql.h"
#include "step.h"

int			evolve_interval = 3600;

/* Every so many hours a describe is read in full, whatever its tag says. */
#define FULL_DESCRIBE_HOURS	24

static bool
is_due(const SyncObject *object)
{
	return object->described <
		GetCurrentTimestamp() - evolve_interval * USECS_PER_SEC;
}

static bool
needs_full_describe(const SyncObject *object)
{
	return object->describe_tag == NULL ||
		object->described_fully < GetCurrentTimestamp() -
		FULL_DESCRIBE_HOURS * USECS_PER_HOUR;
}

/* Those of the objects that have changed; the others are noted as looked at. */
static List *
drop_unchanged(Org *org, List *objects)
{
	List	   *names = NIL;
	List	   *tags = NIL;
	List	   *changed = NIL;
	bool	   *unchanged;
	int			i = 0;
	ListCell   *lc;

	/* One alone is asked for what it is. */
	if (list_length(objects) < 2)
		return objects;
	foreach(lc, objects)
	{
		SyncObject *object = (SyncObject *) lfirst(lc);

		names = lappend(names, object->object);
		tags = lappend(tags, object->describe_tag);
	}
	unchanged = describe_unchanged(org->api, names, tags);
	step_begin();
	foreach(lc, objects)
	{
		SyncObject *object = (SyncObject *) lfirst(lc);

		if (unchanged[i++])
			catalog_described(object, false, NULL);
		else
			changed = lappend(changed, object);
	}
	step_end();
	return changed;
}

List *
evolve_due(Org *org, List *objects)
{
	List	   *by_tag = NIL;
	List	   *fully = NIL;
	ListCell   *lc;

	foreach(lc, objects)
	{
		SyncObject *object = (SyncObject *) lfirst(lc);

		if (!is_due(object))
			continue;
		if (needs_full_describe(object))
			fully = lappend(fully, object);
		else
			by_tag = lappend(by_tag, object);
	}
	return list_concat(fully, drop_unchanged(org, by_tag));
}

static SyncField *
find_field(List *fields, const char *name)
{
	ListCell   *lc;

	foreach(lc, fields)
	{
		SyncField  *field = (SyncField *) lfirst(lc);

		if (strcmp(field->field, name) == 0)
			return field;
	}
	return NULL;
}

static bool
same_column_type(const SyncField *a, const SyncField *b)
{
	return strcmp(mapping_column(a, NULL)->type,
				  mapping_column(b, NULL)->type) == 0;
}

static bool
has_other_type(Oid relid, const SyncField *field)
{
	AttrNumber	attnum = get_attnum(relid, field->attname);

	return attnum != InvalidAttrNumber &&
		get_atttype(relid, attnum) != field->atttype;
}

/* New and retyped fields: their columns. */
static int
follow_fields(const DescribeObject *described, SyncObject *object,
			  List *before, List *after)
{
	List	   *added = NIL;
	int			changed = 0;
	ListCell   *lc;

	foreach(lc, after)
	{
		SyncField  *field = (SyncField *) lfirst(lc);
		SyncField  *old = find_field(before, field->field);
		DescribeField *d = describe_field(described, field->field);

		AttrNumber	attnum = get_attnum(object->relid, field->attname);

		/*
		 * A column that was kept when its field left the org is this field's
		 * now.  One that a user has added is not ours to change.
		 */
		if (old == NULL && catalog_column_taken(object, attnum) &&
			has_other_type(object->relid, field))
		{
			schema_change_column(object->relid, mapping_column(field, d->help));
			changed++;
		}
		else if (old == NULL)
			added = lappend(added, mapping_column(field, d->help));
		else if (!same_column_type(old, field))
		{
			schema_change_column(object->relid, mapping_column(field, d->help));
			changed++;
		}
	}
	if (added != NIL)
		schema_add_columns(object->relid, added);
	return changed + list_length(added);
}

/* keeps: their columns stay, with the last values. */
static int
forget_fields(SyncObject *object, List *before, List *after, bool keeps)
{
	int			gone = 0;
	ListCell   *lc;

	foreach(lc, before)
	{
		SyncField  *field = (SyncField *) lfirst(lc);

		if (find_field(after, field->field) == NULL)
		{
			if (keeps)
				catalog_column_kept(object, get_attnum(object->relid,
													   field->attname));
			catalog_remove_field(object, field->field);
			columns_forget_external_id(object, field->field);
			gone++;
		}
	}
	return gone;
}

static bool
has_custom_field(const DescribeObject *described)
{
	ListCell   *lc;

	foreach(lc, described->fields)
	{
		const char *name = ((DescribeField *) lfirst(lc))->name;
		size_t		length = strlen(name);

		if (length > 3 && strcmp(name + length - 3, "__c") == 0)
			return true;
	}
	return false;
}

/*
 * A custom field can be deleted and made anew under its name between two
 * describes, which tell no difference; its DurableId does (Object Reference:
 * FieldDefinition).  NULL where the org does not say, which is none the worse.
 */
static QueryPage *
ask_identities(Org *org, const DescribeObject *described)
{
	MemoryContext caller = CurrentMemoryContext;
	QueryPage  *volatile page = NULL;

	if (!has_custom_field(described))
		return NULL;
	api_clear_error(org->api);
	PG_TRY();
	{
		page = query_run(org->api,
						 psprintf("SELECT QualifiedApiName, DurableId FROM FieldDefinition"
								  " WHERE EntityDefinition.QualifiedApiName = %s",
								  soql_string(described->name)), false);
	}
	PG_CATCH();
	{
		if (org->api->error.status == 0)
			PG_RE_THROW();
		MemoryContextSwitchTo(caller);
		FlushErrorState();
		api_clear_error(org->api);
	}
	PG_END_TRY();
	return page;
}

/* How many fields are others than those that had their names before. */
static int
note_identities(const SyncObject *object, const QueryPage *page)
{
	List	   *fields = NIL;
	List	   *identities = NIL;

	for (int i = 0; page != NULL && i < page->nrecords; i++)
	{
		const char *name = query_value(page, i, "QualifiedApiName");
		const char *identity = query_value(page, i, "DurableId");

		if (name == NULL || identity == NULL)
			continue;
		fields = lappend(fields, pstrdup(name));
		identities = lappend(identities, pstrdup(identity));
	}
	return fields == NIL ? 0 :
		(int) catalog_field_identities(object, fields, identities);
}

int
evolve_object(Org *org, SyncObject *object)
{
	DescribeObject *described;
	QueryPage  *identities = NULL;
	List	   *before;
	List	   *after;
	int			filled;
	int			gone = 0;

	described = describe_object(org->api, object->object,
								needs_full_describe(object)
								? NULL : object->describe_tag);
	if (described != NULL)
		identities = ask_identities(org, described);
	step_begin();
	if (described == NULL)
	{
		catalog_described(object, false, NULL);
		step_end();
		return 0;
	}
	before = catalog_fields(object);
	after = mapping_fields(described, object->only_fields, object->exclude,
						   true);
	filled = follow_fields(described, object, before, after);
	gone = forget_fields(object, before, after, true);
	catalog_add_fields(object, after);
	filled += note_identities(object, identities);
	catalog_described(object, true, described->last_modified);
	if (filled > 0)
		catalog_cursor_reset(object);
	if (filled + gone > 0)
		catalog_notify("schema", object->server, object->object,
					   psprintf("%d fields new or changed, %d gone", filled,
								gone));
	step_end();
	return filled + gone;
}

/*
 * Before fields or filter of an object change.  Whoever copies it for the first
 * time reads them, and where the copy stopped, under its lock, so that is
 * ours until the change has committed.  A live one is read again by a pull: it
 * needs no lock, and the state is final.
 */
static void
begin_change(SyncObject *object)
{
	bool		locked = false;

	for (;;)
	{
		SyncObject *present = catalog_object(object->server, object->object);

		if (present == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_UNDEFINED_OBJECT),
					 errmsg("object \"%s\" of server \"%s\" is not synced",
							object->object, object->server)));
		object->state = present->state;
		if (locked || object->state == STATE_LIVE)
			return;
		locked = step_lock_for_transaction(LOCK_OBJECT, object->relid);
		if (!locked)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_IN_USE),
					 errmsg("%s is being copied for the first time",
							object->object),
					 errhint("Wait until sync.status shows it live, or sync.pause(server) first.")));
	}
}

/* All its rows are read again; of a copy under way the pages that are in, too. */
static void
read_all_again(SyncObject *object)
{
	if (object->state == STATE_LIVE)
	{
		catalog_cursor_reset(object);
		return;
	}
	catalog_copy_reset(object);
}

void
evolve_choose_fields(Org *org, SyncObject *object)
{
	DescribeObject *described = describe_object(org->api, object->object,
												NULL);
	List	   *before;
	List	   *after;
	bool		fewer;
	ListCell   *lc;

	begin_change(object);
	before = catalog_fields(object);
	after = mapping_fields(described, object->only_fields, object->exclude,
						   false);
	/* First forgotten, so that it is no user's doing when it is dropped. */
	fewer = forget_fields(object, before, after, false) > 0;
	CommandCounterIncrement();
	foreach(lc, before)
	{
		SyncField  *field = (SyncField *) lfirst(lc);

		if (find_field(after, field->field) == NULL)
			schema_drop_column(object->relid, field->attname);
	}
	/* A copy's job has the fields that it was asked for. */
	if (follow_fields(described, object, before, after) > 0 ||
		(fewer && object->state != STATE_LIVE))
		read_all_again(object);
	catalog_add_fields(object, after);
	catalog_described(object, true, described->last_modified);
}

void
evolve_filter_changed(SyncObject *object)
{
	begin_change(object);
	read_all_again(object);
}
