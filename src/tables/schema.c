/*-------------------------------------------------------------------------
 *
 * schema.c
 *	  Creating and changing synced tables.
 *
 * A synced table is an ordinary table of its owner's: whoever owns it may add
 * columns, indexes, triggers and foreign keys.  So nothing here assumes that a
 * table still looks as it was made, and a table is never emptied: rows of users'
 * tables may refer to its rows, and go with them.
 *
 * Keys and indexes come after the rows: a million rows into a keyed table take
 * 1.5 times as long as without, the key built afterwards 1.27 times.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "catalog/pg_index.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_type.h"
#include "commands/comment.h"
#include "commands/defrem.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/partcache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

#include "compat.h"
#include "tables/attempt.h"
#include "tables/capture.h"
#include "tables/guard.h"
#include "tables/relation.h"
#include "tables/schema.h"
#include "tables/watch.h"

/* For people who wonder whose an index is. */
#define KEY_COMMENT	"made by sync"

/*
 * How long a change of a live table waits for its lock: everybody who wants
 * the table stands in line behind it.  The next cycle tries again.
 */
#define DDL_LOCK_TIMEOUT	"3s"

/* The key of every synced table. */
#define ID_COLUMN	"id"

/* What an application holds on to, whatever becomes of the id. */
#define LOCAL_ID_COLUMN	"local_id"
#define LOCAL_ID_COMMENT \
	"Number of the row here, which it keeps when Salesforce gives it its id"

static void
check_name(const char *name)
{
	if (name[0] == '\0' || strlen(name) >= NAMEDATALEN)
		ereport(ERROR,
				(errcode(name[0] == '\0' ? ERRCODE_INVALID_NAME :
						 ERRCODE_NAME_TOO_LONG),
				 errmsg("\"%s\" cannot be the name of a schema, table or column",
						name),
				 errdetail("Names have between 1 and %d bytes.",
						   NAMEDATALEN - 1)));
}

static Oid
provide_schema(const char *name)
{
	if (!OidIsValid(get_namespace_oid(name, true)))
	{
		relation_run(psprintf("CREATE SCHEMA %s", quote_identifier(name)));
		CommandCounterIncrement();
	}
	return get_namespace_oid(name, false);
}

static const char *
kind_of_relation(char relkind)
{
	switch (relkind)
	{
		case RELKIND_RELATION:
		case RELKIND_PARTITIONED_TABLE:
			return "table";
		case RELKIND_INDEX:
		case RELKIND_PARTITIONED_INDEX:
			return "index";
		case RELKIND_SEQUENCE:
			return "sequence";
		case RELKIND_VIEW:
			return "view";
		case RELKIND_MATVIEW:
			return "materialized view";
		case RELKIND_COMPOSITE_TYPE:
			return "composite type";
		case RELKIND_FOREIGN_TABLE:
			return "foreign table";
		default:
			return "relation";
	}
}

static void
refuse_taken_name(const TableSpec *spec, Oid namespace)
{
	const char *kind;
	Oid			owner;
	Oid			holder = get_relname_relid(spec->name, namespace);

	if (OidIsValid(holder))
	{
		kind = kind_of_relation(get_rel_relkind(holder));
		owner = relation_owner(holder);
	}
	else
	{
		/* A table brings a type of its own name. */
		HeapTuple	tuple = SearchSysCache2(TYPENAMENSP,
											CStringGetDatum(spec->name),
											ObjectIdGetDatum(namespace));

		if (!HeapTupleIsValid(tuple))
			return;
		kind = "type";
		owner = ((Form_pg_type) GETSTRUCT(tuple))->typowner;
		ReleaseSysCache(tuple);
	}
	ereport(ERROR,
			(errcode(ERRCODE_DUPLICATE_TABLE),
			 errmsg("cannot create table \"%s.%s\": the name is taken",
					spec->schema, spec->name),
			 errdetail("\"%s.%s\" is a %s owned by %s.", spec->schema,
					   spec->name, kind, GetUserNameFromId(owner, false)),
			 errhint("Drop or rename it, or name another schema for the synced tables in sync.enable.")));
}

/* id compares byte by byte: no locale has a say in what a record is. */
static void
append_column(StringInfo sql, const TableColumn *column, bool is_id)
{
	check_name(column->name);
	appendStringInfo(sql, "%s %s", quote_identifier(column->name),
					 column->type);
	if (is_id && strstr(column->type, "COLLATE") == NULL)
		appendStringInfoString(sql, " COLLATE pg_catalog.\"C\"");
	if (column->default_sql != NULL)
		appendStringInfo(sql, " DEFAULT %s", column->default_sql);
	if (column->not_null || is_id)
		appendStringInfoString(sql, " NOT NULL");
}

static void
create_table(const TableSpec *spec)
{
	StringInfoData sql;
	ListCell   *lc;

	initStringInfo(&sql);
	appendStringInfo(&sql, "CREATE TABLE %s (",
					 quote_qualified_identifier(spec->schema, spec->name));
	foreach(lc, spec->columns)
	{
		bool		is_id = lc == list_head(spec->columns);

		appendStringInfoString(&sql, is_id ? "" : ", ");
		append_column(&sql, lfirst(lc), is_id);
	}
	/* Rows of it are updated, and found by an index. */
	appendStringInfoString(&sql, ") USING heap");
	relation_run(sql.data);
	CommandCounterIncrement();
}

/* Writes a comment unless it is there already; column NULL: the table's. */
static void
write_comment(Oid relid, const char *column, const char *comment)
{
	AttrNumber	attnum = 0;
	char	   *present;

	if (column != NULL)
	{
		attnum = get_attnum(relid, column);
		if (attnum == InvalidAttrNumber)
			return;
	}
	present = GetComment(relid, RelationRelationId, attnum);
	if (present == NULL ? comment == NULL :
		comment != NULL && strcmp(present, comment) == 0)
		return;
	CreateComments(relid, RelationRelationId, attnum, comment);
	CommandCounterIncrement();
}

static void
comment_columns(Oid relid, List *columns)
{
	ListCell   *lc;

	foreach(lc, columns)
	{
		TableColumn *column = lfirst(lc);

		if (column->comment != NULL)
			write_comment(relid, column->name, column->comment);
	}
}

Oid
schema_create_table(const TableSpec *spec, Oid owner)
{
	ApplyState	state;
	Oid			namespace;
	Oid			relid;

	check_name(spec->schema);
	check_name(spec->name);

	owner_begin(owner, &state);
	namespace = provide_schema(spec->schema);
	refuse_taken_name(spec, namespace);
	create_table(spec);
	relid = get_relname_relid(spec->name, namespace);
	if (spec->comment != NULL)
		write_comment(relid, NULL, spec->comment);
	comment_columns(relid, spec->columns);
	owner_end(&state);

	schema_take_writes(relid, spec->takes_writes);
	return relid;
}

static void
prepare_for_writes(Oid relid)
{
	ApplyState	state;

	if (get_attnum(relid, LOCAL_ID_COLUMN) != InvalidAttrNumber)
		provisional_go_on(relid);
	owner_begin(relation_owner(relid), &state);
	if (get_attnum(relid, LOCAL_ID_COLUMN) == InvalidAttrNumber)
	{
		relation_run(psprintf("ALTER TABLE %s ADD COLUMN " LOCAL_ID_COLUMN
							  " bigint DEFAULT pg_catalog.nextval('sync.local_number'::pg_catalog.regclass)",
							  relation_sql(relid)));
		CommandCounterIncrement();
		write_comment(relid, LOCAL_ID_COLUMN, LOCAL_ID_COMMENT);
	}
	relation_run(psprintf("ALTER TABLE %s ALTER COLUMN " ID_COLUMN
						  " SET DEFAULT sync.provisional_id(),"
						  " ALTER COLUMN " LOCAL_ID_COLUMN
						  " SET DEFAULT pg_catalog.nextval('sync.local_number'::pg_catalog.regclass)",
						  relation_sql(relid)));
	owner_end(&state);
}

/* Until the end of the current nest level of settings. */
static void
wait_briefly_for_locks(void)
{
	(void) set_config_option("lock_timeout", DDL_LOCK_TIMEOUT, PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

void
schema_release(Oid relid)
{
	int			level = NewGUCNestLevel();

	wait_briefly_for_locks();
	capture_drop_triggers(relid);
	guard_drop_triggers(relid);
	watch_drop_strays(relid);
	AtEOXact_GUC(false, level);
}

void
schema_guard(Oid relid, bool takes_writes, bool live)
{
	schema_release(relid);
	CommandCounterIncrement();
	schema_take_writes(relid, takes_writes);
	if (live)
		capture_complete(relid);
}

void
schema_take_writes(Oid relid, bool takes_writes)
{
	int			level = NewGUCNestLevel();

	wait_briefly_for_locks();
	if (takes_writes)
	{
		prepare_for_writes(relid);
		guard_drop_triggers(relid);
		capture_create_triggers(relid);
	}
	else
	{
		capture_drop_triggers(relid);
		guard_create_triggers(relid);
	}
	AtEOXact_GUC(false, level);
}

/* Columns that are there already are left as they are. */
void
schema_add_columns(Oid relid, List *columns)
{
	ApplyState	state;
	StringInfoData sql;
	int			added = 0;
	ListCell   *lc;

	initStringInfo(&sql);
	appendStringInfo(&sql, "ALTER TABLE %s", relation_sql(relid));
	foreach(lc, columns)
	{
		TableColumn *column = lfirst(lc);

		if (get_attnum(relid, column->name) != InvalidAttrNumber)
			continue;
		appendStringInfoString(&sql, added++ ? ", ADD COLUMN " :
							   " ADD COLUMN ");
		append_column(&sql, column, false);
	}

	owner_begin(relation_owner(relid), &state);
	wait_briefly_for_locks();
	if (added > 0)
	{
		relation_run(sql.data);
		CommandCounterIncrement();
	}
	comment_columns(relid, columns);
	owner_end(&state);
}

void
schema_comment(Oid relid, const char *column, const char *comment)
{
	ApplyState	state;

	owner_begin(relation_owner(relid), &state);
	write_comment(relid, column, comment);
	owner_end(&state);
}

/*
 * The indexes of a table of which matches() is true, as OIDs.  The relation is
 * closed again: what is done with the indexes takes its own locks.
 */
typedef bool (*IndexTest) (Form_pg_index index, AttrNumber attnum);

static List *
find_indexes(Oid relid, IndexTest matches, AttrNumber attnum)
{
	Relation	rel = table_open(relid, AccessShareLock);
	List	   *found = NIL;
	ListCell   *lc;

	foreach(lc, RelationGetIndexList(rel))
	{
		HeapTuple	tuple = SearchSysCache1(INDEXRELID,
											ObjectIdGetDatum(lfirst_oid(lc)));

		if (!HeapTupleIsValid(tuple))
			continue;
		if (((Form_pg_index) GETSTRUCT(tuple))->indisvalid &&
			heap_attisnull(tuple, Anum_pg_index_indpred, NULL) &&
			matches((Form_pg_index) GETSTRUCT(tuple), attnum))
			found = lappend_oid(found, lfirst_oid(lc));
		ReleaseSysCache(tuple);
	}
	table_close(rel, AccessShareLock);
	return found;
}

/* What ON CONFLICT (id) and a foreign key to id accept. */
static bool
is_key_of(Form_pg_index index, AttrNumber attnum)
{
	return index->indisunique && index->indimmediate &&
		index->indnkeyatts == 1 && index->indkey.values[0] == attnum;
}

static bool
is_primary(Form_pg_index index, AttrNumber attnum)
{
	return index->indisprimary;
}

static bool
leads_with(Form_pg_index index, AttrNumber attnum)
{
	HeapTuple	tuple = SearchSysCache1(RELOID,
										ObjectIdGetDatum(index->indexrelid));
	bool		is_btree;

	if (!HeapTupleIsValid(tuple))
		return false;
	is_btree = ((Form_pg_class) GETSTRUCT(tuple))->relam == BTREE_AM_OID;
	ReleaseSysCache(tuple);
	return is_btree && index->indkey.values[0] == attnum;
}

static char *
choose_index_name(Oid relid, const char *column, const char *label)
{
	return ChooseRelationName(get_rel_name(relid), column, label,
							  get_rel_namespace(relid), false);
}

static void
create_index(Oid relid, bool unique, const char *name, const char *column)
{
	relation_run(psprintf("CREATE %sINDEX %s ON %s (%s)",
						  unique ? "UNIQUE " : "", quote_identifier(name),
						  relation_sql(relid), quote_identifier(column)));
	CommandCounterIncrement();
	write_comment(get_relname_relid(name, get_rel_namespace(relid)), NULL,
				  KEY_COMMENT);
}

/*
 * The index first and the constraint on top of it: building the index keeps
 * nobody from reading.  Partitioned tables cannot do this in two steps.
 */
static void
create_key(Oid relid)
{
	char	   *name = choose_index_name(relid, NULL, "pkey");
	char		relkind = get_rel_relkind(relid);
	bool		partitioned = relkind == RELKIND_PARTITIONED_TABLE;
	bool		has_other = find_indexes(relid, is_primary, 0) != NIL;

	if (!partitioned || has_other)
		create_index(relid, true, name, ID_COLUMN);
	if (has_other)
		return;
	relation_run(psprintf("ALTER TABLE %s ADD CONSTRAINT %s PRIMARY KEY %s",
						  relation_sql(relid), quote_identifier(name),
						  partitioned ? "(" ID_COLUMN ")" :
						  psprintf("USING INDEX %s", quote_identifier(name))));
	CommandCounterIncrement();
	if (partitioned)
		write_comment(get_relname_relid(name, get_rel_namespace(relid)), NULL,
					  KEY_COMMENT);
}

static void
create_key_body(void *arg)
{
	create_key(*(Oid *) arg);
}

/* Of rows with the same id, the one that was written last stays. */
static int64
remove_duplicates(Oid relid)
{
	char	   *table = relation_rows(relid);
	ApplyState	state;
	int64		removed;

	apply_begin(relid, &state);
	removed = relation_run(psprintf("DELETE FROM %s WHERE (tableoid, ctid) IN"
									" (SELECT t, c FROM (SELECT tableoid AS t, ctid AS c,"
									" row_number() OVER (PARTITION BY " ID_COLUMN
									" ORDER BY ctid DESC) AS n"
									" FROM %s) AS numbered WHERE n > 1)",
									table, table));
	apply_end(&state);
	return removed;
}

/* A unique index of a partitioned table holds all that it is partitioned by. */
static bool
can_be_unique(Oid relid, AttrNumber attnum)
{
	Relation	rel = table_open(relid, AccessShareLock);
	PartitionKey key = rel->rd_rel->relkind == RELKIND_PARTITIONED_TABLE ?
		RelationGetPartitionKey(rel) : NULL;
	bool		can = key == NULL ||
		(key->partnatts == 1 && key->partattrs[0] == attnum);

	table_close(rel, AccessShareLock);
	return can;
}

static void
provide_index(Oid relid, const char *column)
{
	AttrNumber	attnum = get_attnum(relid, column);

	if (attnum != InvalidAttrNumber &&
		find_indexes(relid, leads_with, attnum) == NIL)
		create_index(relid, false, choose_index_name(relid, column, "idx"),
					 column);
}

/* Returns how many rows had the id of another one, and went. */
static int64
provide_key(Oid relid)
{
	ErrorData  *error;
	int64		removed;

	if (!can_be_unique(relid, get_attnum(relid, ID_COLUMN)))
	{
		provide_index(relid, ID_COLUMN);
		return remove_duplicates(relid);
	}
	if (find_indexes(relid, is_key_of, get_attnum(relid, ID_COLUMN)) != NIL)
		return 0;
	error = attempt(create_key_body, &relid);
	if (error == NULL)
		return 0;
	if (error->sqlerrcode != ERRCODE_UNIQUE_VIOLATION)
		ReThrowError(error);
	removed = remove_duplicates(relid);
	create_key(relid);
	return removed;
}

/*
 * Until then no trigger keeps statements from giving numbers: rows without one,
 * and all but one of those that have the same, get new ones.
 */
static void
renumber(Oid relid)
{
	char	   *table = relation_rows(relid);
	ApplyState	state;

	apply_begin(relid, &state);
	relation_run(psprintf("UPDATE %s SET " LOCAL_ID_COLUMN " = DEFAULT"
						  " WHERE (tableoid, ctid) IN"
						  " (SELECT t, c FROM (SELECT tableoid AS t, ctid AS c, "
						  LOCAL_ID_COLUMN " AS id, row_number() OVER (PARTITION BY "
						  LOCAL_ID_COLUMN " ORDER BY ctid) AS n"
						  " FROM %s) AS numbered WHERE n > 1 OR id IS NULL)",
						  table, table));
	apply_end(&state);
}

static bool
has_unnumbered(Oid relid)
{
	return relation_number(psprintf("SELECT pg_catalog.count(*) FROM (SELECT FROM %s WHERE "
									LOCAL_ID_COLUMN " IS NULL LIMIT 1) AS u",
									relation_rows(relid))) > 0;
}

static void
create_local_id_index(void *arg)
{
	Oid			relid = *(Oid *) arg;
	bool		unique = can_be_unique(relid,
									   get_attnum(relid, LOCAL_ID_COLUMN));

	create_index(relid, unique,
				 choose_index_name(relid, LOCAL_ID_COLUMN,
								   unique ? "key" : "idx"),
				 LOCAL_ID_COLUMN);
}

/* A sequence gives each number once, also where no index can say so. */
static void
provide_local_id_index(Oid relid)
{
	AttrNumber	attnum = get_attnum(relid, LOCAL_ID_COLUMN);
	ErrorData  *error;

	if (attnum == InvalidAttrNumber)
		return;
	if (has_unnumbered(relid))
		renumber(relid);
	if (find_indexes(relid, leads_with, attnum) != NIL)
		return;
	error = attempt(create_local_id_index, &relid);
	if (error == NULL)
		return;
	if (error->sqlerrcode != ERRCODE_UNIQUE_VIOLATION)
		ReThrowError(error);
	renumber(relid);
	create_local_id_index(&relid);
}

int64
schema_build_keys(Oid relid, List *indexed)
{
	ApplyState	state;
	int64		removed;
	ListCell   *lc;

	owner_begin(relation_owner(relid), &state);
	removed = provide_key(relid);
	provide_local_id_index(relid);
	foreach(lc, indexed)
		provide_index(relid, lfirst(lc));
	owner_end(&state);
	capture_complete(relid);
	return removed;
}

/* The type that a column should have; its collation is left to the user. */
static void
expected_type(const TableColumn *column, Oid *type, int32 *typmod)
{
	char	   *text = pstrdup(column->type);
	char	   *collate = strstr(text, " COLLATE");

	if (collate != NULL)
		*collate = '\0';
	parse_type(text, type, typmod);
}

/* How one column departs from what it should be; NULL if it does not. */
static char *
column_difference(Oid relid, const TableColumn *column)
{
	HeapTuple	tuple = SearchSysCacheAttName(relid, column->name);
	Form_pg_attribute attribute;
	Oid			type;
	int32		typmod;
	char	   *difference = NULL;

	if (!HeapTupleIsValid(tuple))
		return psprintf("Column \"%s\" is missing: it was dropped or renamed.",
						column->name);

	attribute = (Form_pg_attribute) GETSTRUCT(tuple);
	expected_type(column, &type, &typmod);
	if (attribute->atttypid != type || attribute->atttypmod != typmod)
		difference = psprintf("Column \"%s\" is of type %s instead of %s.",
							  column->name,
							  format_type_with_typemod(attribute->atttypid,
													   attribute->atttypmod),
							  format_type_with_typemod(type, typmod));
	else if (attribute->attgenerated != '\0')
		difference = psprintf("Column \"%s\" is generated and takes no values.",
							  column->name);
	ReleaseSysCache(tuple);
	return difference;
}

static bool
has_column(List *columns, const char *name)
{
	ListCell   *lc;

	foreach(lc, columns)
	{
		if (strcmp(((TableColumn *) lfirst(lc))->name, name) == 0)
			return true;
	}
	return false;
}

/* Columns of users that no row from Salesforce can satisfy. */
static List *
unfillable_columns(Oid relid, List *columns)
{
	Relation	rel = table_open(relid, AccessShareLock);
	List	   *found = NIL;

	for (int i = 0; i < RelationGetNumberOfAttributes(rel); i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(RelationGetDescr(rel), i);

		if (!attribute->attisdropped && attribute->attnotnull &&
			!attribute->atthasdef && attribute->attidentity == '\0' &&
			!has_column(columns, NameStr(attribute->attname)))
			found = lappend(found,
							psprintf("Column \"%s\", which is not synced, is NOT NULL and has no default.",
									 NameStr(attribute->attname)));
	}
	table_close(rel, AccessShareLock);
	return found;
}

/* The owner, as whom all is read and written, would not see all rows. */
static bool
forces_row_security(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	bool		forces = false;

	if (HeapTupleIsValid(tuple))
	{
		Form_pg_class class = (Form_pg_class) GETSTRUCT(tuple);

		forces = class->relrowsecurity && class->relforcerowsecurity;
		ReleaseSysCache(tuple);
	}
	return forces;
}

/* Or a part of it. */
static bool
is_unlogged(Oid relid)
{
	List	   *tables = get_rel_relkind(relid) == RELKIND_PARTITIONED_TABLE ?
		find_all_inheritors(relid, AccessShareLock, NULL) :
		list_make1_oid(relid);
	ListCell   *lc;

	foreach(lc, tables)
	{
		if (get_rel_persistence(lfirst_oid(lc)) == RELPERSISTENCE_UNLOGGED)
			return true;
	}
	return false;
}

List *
schema_differences(Oid relid, List *columns)
{
	ApplyState	state;
	List	   *differences = NIL;
	char		relkind = get_rel_relkind(relid);
	ListCell   *lc;

	if (relkind == '\0')
		return list_make1(pstrdup("The table does not exist any more."));
	if (relkind != RELKIND_RELATION && relkind != RELKIND_PARTITIONED_TABLE)
		return list_make1(psprintf("It is a %s instead of a table.",
								   kind_of_relation(relkind)));

	owner_begin(relation_owner(relid), &state);
	foreach(lc, columns)
	{
		char	   *difference = column_difference(relid, lfirst(lc));

		if (difference != NULL)
			differences = lappend(differences, difference);
	}
	differences = list_concat(differences, unfillable_columns(relid, columns));
	if (forces_row_security(relid))
		differences = lappend(differences,
							  psprintf("Row-level security is forced on its owner, who writes the rows: ALTER TABLE %s NO FORCE ROW LEVEL SECURITY.",
									   relation_sql(relid)));
	if (is_unlogged(relid))
		differences = lappend(differences,
							  psprintf("It is unlogged, and would be empty after a crash: ALTER TABLE %s SET LOGGED.",
									   relation_sql(relid)));
	owner_end(&state);
	return differences;
}

bool
schema_has_records(Oid relid)
{
	ApplyState	state;
	bool		has;

	owner_begin(relation_owner(relid), &state);
	has = relation_number(psprintf("SELECT pg_catalog.count(*) FROM (SELECT FROM %s"
								   " LIMIT 1) AS r", relation_rows(relid))) > 0;
	owner_end(&state);
	return has;
}

int64
schema_count_rows(Oid relid)
{
	ApplyState	state;
	int64		rows;

	owner_begin(relation_owner(relid), &state);
	rows = relation_number(psprintf("SELECT pg_catalog.count(*) FROM %s",
									relation_rows(relid)));
	owner_end(&state);
	return rows;
}

void
schema_drop_table(Oid relid)
{
	ApplyState	state;

	if (get_rel_name(relid) == NULL)
		return;
	owner_begin(relation_owner(relid), &state);
	relation_run(psprintf("DROP TABLE %s", relation_sql(relid)));
	owner_end(&state);
}

/*
 * A column of another type: its values are of no use to the new one, and come
 * anew with the next pull, which reads all rows.
 */
void
schema_change_column(Oid relid, TableColumn *column)
{
	ApplyState	state;
	StringInfoData sql;
	const char *name = quote_identifier(column->name);
	const char *empty = column->not_null && column->default_sql != NULL ?
	column->default_sql : "NULL";

	initStringInfo(&sql);
	appendStringInfo(&sql, "ALTER TABLE %s ALTER COLUMN %s DROP DEFAULT,"
					 " ALTER COLUMN %s DROP NOT NULL,"
					 " ALTER COLUMN %s TYPE %s USING %s",
					 relation_sql(relid), name, name, name, column->type,
					 empty);
	if (column->default_sql != NULL)
		appendStringInfo(&sql, ", ALTER COLUMN %s SET DEFAULT %s", name,
						 column->default_sql);
	if (column->not_null)
		appendStringInfo(&sql, ", ALTER COLUMN %s SET NOT NULL", name);

	owner_begin(relation_owner(relid), &state);
	wait_briefly_for_locks();
	relation_run(sql.data);
	owner_end(&state);
}

void
schema_drop_column(Oid relid, const char *column)
{
	ApplyState	state;

	owner_begin(relation_owner(relid), &state);
	wait_briefly_for_locks();
	relation_run(psprintf("ALTER TABLE %s DROP COLUMN IF EXISTS %s",
						  relation_sql(relid), quote_identifier(column)));
	owner_end(&state);
}
