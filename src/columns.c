/*-------------------------------------------------------------------------
 *
 * columns.c
 *	  Following what its owner does to the columns of a synced table.
 *
 * A column is known by its number as well as by its name: one that was dropped
 * and added again, perhaps in one statement, has the name and none of the values.
 * What is found is followed at once where an event trigger sees the ALTER TABLE,
 * and by the next cycle where it does not.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "commands/event_trigger.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "utils/lsyscache.h"

#include "columns.h"
#include "compat.h"
#include "mapping.h"
#include "step.h"
#include "tables/schema.h"
#include "tables/sql.h"
#include "wake.h"

PG_FUNCTION_INFO_V1(sync_columns_altered);
PG_FUNCTION_INFO_V1(sync_rewritten);

/*
 * Fields beside the columns that have their name, and their number; either may
 * be gone.
 */
#define FIELDS_AND_COLUMNS \
	" FROM sync.field f JOIN sync.object o USING (server, object)" \
	" LEFT JOIN pg_catalog.pg_attribute n ON n.attrelid = o.relation" \
	" AND n.attname = f.attname AND NOT n.attisdropped" \
	" LEFT JOIN pg_catalog.pg_attribute a ON a.attrelid = o.relation" \
	" AND a.attnum = f.attnum AND NOT a.attisdropped" \
	" WHERE o.enabled"

#define IS_OTHER	" AND n.attnum IS DISTINCT FROM f.attnum"

List *
columns_changed(const char *server)
{
	SqlScope	sql;
	List	   *objects;

	sql_begin(&sql);
	objects = sql_texts(&sql, sql_run(&sql, "SELECT DISTINCT f.object"
									  FIELDS_AND_COLUMNS IS_OTHER
									  " AND o.server = $1", "n", server));
	sql_end(&sql);
	return objects;
}

/* Without these nothing of the object can be synced. */
static bool
is_needed(const SyncObject *object, const char *field)
{
	return strcmp(field, "Id") == 0 || strcmp(field, "IsDeleted") == 0 ||
		strcmp(field, object->stamp_field) == 0;
}

void
columns_forget_external_id(const SyncObject *object, const char *field)
{
	if (!catalog_external_id_left(object, field))
		return;
	ereport(step_in_worker ? LOG : NOTICE,
			(errmsg("new rows of %s are created without external id, since field \"%s\" is no longer synced",
					object->object, field),
			 errhint("When it is synced again, SELECT sync.set('%s', '%s', 'external_id', '%s').",
					 object->server, object->object, field)));
}

static void
leave_out(SyncObject *object, const char *field, const char *column)
{
	SqlScope	sql;

	sql_begin(&sql);
	(void) sql_run(&sql,
				   "UPDATE sync.field SET dropped = true, attnum = NULL"
				   " WHERE server = $1 AND object = $2 AND field = $3",
				   "ntt", object->server, object->object, field);
	(void) sql_run(&sql,
				   "UPDATE sync.progress SET fewer = true"
				   " WHERE server = $1 AND object = $2 AND state <> 'live'",
				   "nt", object->server, object->object);
	sql_end(&sql);
	catalog_changed();
	ereport(NOTICE,
			(errmsg("field \"%s\" of %s is no longer synced, since column \"%s\" was dropped",
					field, object->object, column),
			 errhint("Add the column again, and it is filled.")));
	columns_forget_external_id(object, field);
}

/*
 * Not that of another id: rows whose id went with its column cannot be told
 * from each other any more, and stay an error (columns_faults).
 */
static void
note_numbers(const SyncObject *object)
{
	SqlScope	sql;

	sql_begin(&sql);
	(void) sql_run(&sql,
				   "UPDATE sync.field f SET attnum = n.attnum, dropped = false"
				   " FROM sync.object o"
				   " JOIN pg_catalog.pg_attribute n ON n.attrelid = o.relation"
				   " AND NOT n.attisdropped"
				   " WHERE o.server = f.server AND o.object = f.object"
				   " AND f.server = $1 AND f.object = $2"
				   " AND n.attname = f.attname"
				   " AND n.attnum IS DISTINCT FROM f.attnum"
				   " AND (f.field <> 'Id' OR f.attnum IS NULL)",
				   "nt", object->server, object->object);
	sql_end(&sql);
}

/* One column that is not what it was. */
typedef struct Altered
{
	char	   *field;
	char	   *column;
	bool		by_name;		/* there is a column of its name */
	bool		by_number;		/* there is one of its number */
	bool		known;			/* its number was, or it was dropped */
} Altered;

static List *
read_altered(const SyncObject *object)
{
	SqlScope	sql;
	List	   *altered = NIL;
	uint64		n;

	sql_begin(&sql);
	n = sql_run(&sql,
				"SELECT f.field, f.attname, n.attnum IS NOT NULL,"
				" a.attnum IS NOT NULL, f.attnum IS NOT NULL OR f.dropped"
				FIELDS_AND_COLUMNS IS_OTHER
				" AND o.server = $1 AND o.object = $2",
				"nt", object->server, object->object);
	MemoryContextSwitchTo(sql.caller);
	for (uint64 i = 0; i < n; i++)
	{
		Altered    *one = palloc(sizeof(Altered));

		one->field = sql_text(&sql, i, 1);
		one->column = sql_text(&sql, i, 2);
		one->by_name = sql_bool(&sql, i, 3);
		one->by_number = sql_bool(&sql, i, 4);
		one->known = sql_bool(&sql, i, 5);
		altered = lappend(altered, one);
	}
	sql_end(&sql);
	return altered;
}

void
columns_follow(const char *server, const char *name)
{
	SyncObject *object = catalog_object(server, name);
	bool		fill = false;
	ListCell   *lc;

	if (object == NULL)
		return;
	foreach(lc, read_altered(object))
	{
		Altered    *one = (Altered *) lfirst(lc);

		if (one->by_name)
			fill |= one->known && strcmp(one->field, "Id") != 0;
		else if (one->known && !one->by_number &&
				 !is_needed(object, one->field))
			leave_out(object, one->field, one->column);
	}
	note_numbers(object);
	if (!fill)
		return;
	catalog_cursor_reset(object);
	catalog_changed();
}

/* Its rows cannot be told from each other any more. */
static bool
has_lost_ids(const SyncObject *object, const SyncField *field)
{
	AttrNumber	attnum = get_attnum(object->relid, field->attname);

	return strcmp(field->field, "Id") == 0 && field->attnum != 0 &&
		attnum != InvalidAttrNumber && attnum != field->attnum;
}

List *
columns_differences(const SyncObject *object, List *fields)
{
	List	   *columns = NIL;
	List	   *lost = NIL;
	ListCell   *lc;

	foreach(lc, fields)
	{
		SyncField  *field = (SyncField *) lfirst(lc);

		columns = lappend(columns, mapping_column(field, NULL));
		if (has_lost_ids(object, field))
			lost = lappend(lost,
						   psprintf("Column \"%s\" was dropped and added again, and the rows have lost their ids: sync.disable the object, delete the rows without an id, and sync.enable it again.",
									field->attname));
	}
	return list_concat(lost, schema_differences(object->relid, columns));
}

char *
columns_faults(const SyncObject *object, List *fields)
{
	StringInfoData faults;
	ListCell   *lc;

	initStringInfo(&faults);
	foreach(lc, columns_differences(object, fields))
		appendStringInfo(&faults, "%s%s", faults.len ? " " : "",
						 (char *) lfirst(lc));
	return faults.len ? faults.data : NULL;
}

void
columns_refuse(const SyncObject *object, const char *faults)
{
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INCONSISTENT_DESCRIPTOR_INFORMATION),
			 errmsg("the table of %s is not as sync needs it",
					object->object),
			 errdetail("%s", faults),
			 errhint("Undo the change, or leave the field out with sync.set(..., 'exclude', ...).")));
}

/* The synced tables that a command has altered. */
static uint64
read_commanded(SqlScope *sql)
{
	return sql_run(sql,
				   "SELECT DISTINCT o.server, o.object, s.serverid"
				   " FROM pg_catalog.pg_event_trigger_ddl_commands() d"
				   " JOIN sync.object o ON o.relation = d.objid"
				   " JOIN sync.server s USING (server)"
				   " WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass"
				   " AND o.enabled", "");
}

/*
 * Partitions that were detached keep what they do not inherit, and would refuse
 * writes though nobody syncs them any more.
 */
static void
release_detached(void)
{
	SqlScope	sql;
	List	   *oids = NIL;
	uint64		n;
	ListCell   *lc;

	sql_begin(&sql);
	n = sql_run(&sql,
				"SELECT DISTINCT t.tgrelid FROM pg_catalog.pg_trigger t"
				" JOIN pg_catalog.pg_proc p ON p.oid = t.tgfoid"
				" WHERE p.pronamespace = 'sync'::pg_catalog.regnamespace"
				" AND p.proname IN ('refuse_write', 'refuse_truncate')"
				" AND t.tgname IN ('sync_guard', 'sync_no_truncate')"
				" AND NOT EXISTS (SELECT FROM sync.object o"
				" WHERE o.relation = t.tgrelid OR o.relation IN"
				" (SELECT a.relid FROM pg_catalog.pg_partition_ancestors(t.tgrelid) a))",
				"");
	MemoryContextSwitchTo(sql.caller);
	for (uint64 i = 0; i < n; i++)
		oids = lappend_oid(oids, (Oid) sql_int(&sql, i, 1));
	sql_end(&sql);
	foreach(lc, oids)
		schema_release(lfirst_oid(lc));
}

/*
 * Event trigger on ddl_command_end of ALTER TABLE, anybody's.
 */
Datum
sync_columns_altered(PG_FUNCTION_ARGS)
{
	SqlScope	sql;
	List	   *servers = NIL;
	List	   *objects = NIL;
	List	   *oids = NIL;
	uint64		n;
	ListCell   *lc;
	ListCell   *lc2;
	ListCell   *lc3;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		elog(ERROR, "not fired by event trigger manager");
	sql_begin(&sql);
	n = read_commanded(&sql);
	MemoryContextSwitchTo(sql.caller);
	for (uint64 i = 0; i < n; i++)
	{
		servers = lappend(servers, sql_text(&sql, i, 1));
		objects = lappend(objects, sql_text(&sql, i, 2));
		oids = lappend_oid(oids, (Oid) sql_int(&sql, i, 3));
	}
	sql_end(&sql);
	/* In a dump that is being restored columns have other numbers. */
	if (n > 0)
		catalog_reconcile();
	forthree(lc, servers, lc2, objects, lc3, oids)
	{
		SyncObject *object = catalog_object(lfirst(lc), lfirst(lc2));

		columns_follow(lfirst(lc), lfirst(lc2));
		if (object != NULL &&
			get_rel_relkind(object->relid) == RELKIND_PARTITIONED_TABLE)
			release_detached();
		worker_wake_at_commit(lfirst_oid(lc3), false);
	}
	PG_RETURN_NULL();
}

/*
 * Event trigger on table_rewrite: ALTER COLUMN ... TYPE ... USING, after which
 * the type may be again what it was before anybody looked; and SET LOGGED of a
 * table that a crash may have emptied.  Of a partitioned table each partition is
 * rewritten.
 */
Datum
sync_rewritten(PG_FUNCTION_ARGS)
{
	SqlScope	sql;
	SyncObject *object = NULL;
	char	   *server = NULL;
	char	   *name = NULL;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		elog(ERROR, "not fired by event trigger manager");
	sql_begin(&sql);
	if (sql_run(&sql,
				"SELECT o.server, o.object FROM sync.object o,"
				" pg_catalog.pg_event_trigger_table_rewrite_oid() AS r (oid)"
				" WHERE o.enabled AND o.relation ="
				" coalesce(pg_catalog.pg_partition_root(r.oid), r.oid)"
				" AND ((pg_catalog.pg_event_trigger_table_rewrite_reason()"
				" & $1) <> 0 OR EXISTS (SELECT FROM pg_catalog.pg_class c"
				" WHERE c.oid = r.oid AND c.relpersistence = 'u'))",
				"i", AT_REWRITE_COLUMN_REWRITE) > 0)
	{
		server = sql_text(&sql, 0, 1);
		name = sql_text(&sql, 0, 2);
	}
	sql_end(&sql);
	if (server != NULL)
		object = catalog_object(server, name);
	if (object != NULL)
		catalog_cursor_reset(object);
	PG_RETURN_NULL();
}
