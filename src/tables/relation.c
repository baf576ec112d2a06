/*-------------------------------------------------------------------------
 *
 * relation.c
 *	  A synced table by its OID: names for SQL and for people, its owner, and
 *	  statements on it.
 *
 * Configuration keeps the OID, so that a table may be renamed or moved to
 * another schema; names are looked up anew for each statement.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#include "tables/relation.h"

typedef struct RelationNames
{
	char	   *schema;
	char	   *name;
} RelationNames;

static void
relation_missing(Oid relid)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_TABLE),
			 errmsg("the synced table with OID %u does not exist any more",
					relid),
			 errhint("If it was dropped on purpose, end its synchronization with sync.disable.")));
}

static RelationNames
relation_names(Oid relid)
{
	RelationNames names;

	names.name = get_rel_name(relid);
	if (names.name == NULL)
		relation_missing(relid);
	names.schema = get_namespace_name(get_rel_namespace(relid));
	if (names.schema == NULL)
		relation_missing(relid);
	return names;
}

char *
relation_sql(Oid relid)
{
	RelationNames names = relation_names(relid);

	return quote_qualified_identifier(names.schema, names.name);
}

char *
relation_rows(Oid relid)
{
	return psprintf("%s%s", get_rel_relkind(relid) == RELKIND_RELATION ?
					"ONLY " : "", relation_sql(relid));
}

char *
relation_label(Oid relid)
{
	RelationNames names = relation_names(relid);

	return psprintf("%s.%s", names.schema, names.name);
}

int
relation_error(Oid relid, const char *column)
{
	char	   *table = get_rel_name(relid);

	if (table == NULL)
		return 0;
	err_generic_string(PG_DIAG_SCHEMA_NAME,
					   get_namespace_name(get_rel_namespace(relid)));
	err_generic_string(PG_DIAG_TABLE_NAME, table);
	if (column != NULL)
		err_generic_string(PG_DIAG_COLUMN_NAME, column);
	return 0;
}

Oid
relation_owner(Oid relid)
{
	HeapTuple	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		relation_missing(relid);
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

bool *
relation_false_columns(Oid relid, List *columns)
{
	bool	   *flags = palloc0(sizeof(bool) * Max(list_length(columns), 1));
	int			i = 0;
	ListCell   *lc;

	foreach(lc, columns)
	{
		HeapTuple	tuple = SearchSysCacheAttName(relid, lfirst(lc));

		if (HeapTupleIsValid(tuple))
		{
			Form_pg_attribute attribute = (Form_pg_attribute) GETSTRUCT(tuple);

			flags[i] = attribute->atttypid == BOOLOID && attribute->attnotnull;
			ReleaseSysCache(tuple);
		}
		i++;
	}
	return flags;
}

/*
 * One round of SPI.  With result not NULL the first column of each row is
 * appended to it as text in the caller's memory.
 */
static uint64
run(const char *sql, int nargs, Oid *types, Datum *values, List **result)
{
	MemoryContext caller = CurrentMemoryContext;
	uint64		processed;
	int			rc;

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	PushActiveSnapshot(GetTransactionSnapshot());
	rc = SPI_execute_with_args(sql, nargs, types, values, NULL, false, 0);
	if (rc < 0)
		elog(ERROR, "could not run \"%s\": %s", sql,
			 SPI_result_code_string(rc));
	processed = SPI_processed;
	for (uint64 i = 0; result != NULL && i < processed; i++)
	{
		char	   *value = SPI_getvalue(SPI_tuptable->vals[i],
										 SPI_tuptable->tupdesc, 1);
		MemoryContext old = MemoryContextSwitchTo(caller);

		*result = lappend(*result, value == NULL ? NULL : pstrdup(value));
		MemoryContextSwitchTo(old);
		if (value != NULL)
			pfree(value);
	}
	PopActiveSnapshot();
	SPI_finish();
	return processed;
}

uint64
relation_run(const char *sql)
{
	return run(sql, 0, NULL, NULL, NULL);
}

uint64
relation_run_args(const char *sql, int nargs, Oid *types, Datum *values)
{
	return run(sql, nargs, types, values, NULL);
}

int64
relation_number(const char *sql)
{
	List	   *rows = relation_texts(sql, 0, NULL, NULL);

	if (rows == NIL || linitial(rows) == NULL)
		return 0;
	return strtoll(linitial(rows), NULL, 10);
}

List *
relation_texts(const char *sql, int nargs, Oid *types, Datum *values)
{
	List	   *result = NIL;

	(void) run(sql, nargs, types, values, &result);
	return result;
}
