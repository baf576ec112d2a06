/*-------------------------------------------------------------------------
 *
 * incoming.c
 *	  Rows of a stage that meet local changes which have not gone out yet.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "tables/blocker.h"
#include "tables/incoming.h"
#include "tables/relation.h"
#include "tables/sql.h"

/*
 * A writer who was faster has committed then, and the outbox has the change; a
 * slower one waits until this transaction has merged.  The stage holds only
 * what differs (stage_drop_same).  A row that a writer still has locked leaves
 * it: what that transaction makes of the row is not known yet.
 */
List *
incoming_lock(const Stage *stage)
{
	SqlScope	sql;
	char	   *table = relation_rows(stage->relid);
	char	   *staged = relation_sql(stage->stage);
	List	   *locked;

	blocker_check_table(stage->relid, RowExclusiveLock);
	sql_begin_on(&sql, stage->relid);
	locked = sql_texts(&sql,
					   sql_run(&sql,
							   psprintf("WITH free AS MATERIALIZED (SELECT t.id FROM %s t"
										" JOIN %s s ON s.id = t.id"
										" ORDER BY t.id FOR NO KEY UPDATE OF t SKIP LOCKED)"
										" SELECT t.id FROM %s t JOIN %s s ON s.id = t.id"
										" WHERE NOT EXISTS (SELECT FROM free f WHERE f.id = t.id)",
										table, staged, table, staged), ""));
	sql_end(&sql);
	stage_remove(stage->stage, locked);
	return locked;
}

/* A column's value as the JSON that the capture trigger writes (capture.c). */
static char *
json_expression(Oid relid, const char *column)
{
	const char *name = quote_identifier(column);

	switch (get_atttype(relid, get_attnum(relid, column)))
	{
		case BOOLOID:
		case INT4OID:
		case INT8OID:
		case NUMERICOID:
			return psprintf("s.%s::pg_catalog.text", name);
		case DATEOID:
			return psprintf("to_json(to_char(s.%s, 'YYYY-MM-DD'))::pg_catalog.text", name);
		case TIMEOID:
			return psprintf("to_json(to_char(s.%s, 'HH24:MI:SS.MS\"Z\"'))::pg_catalog.text",
							name);
		case TIMESTAMPTZOID:
			return psprintf("to_json(to_char(s.%s AT TIME ZONE 'UTC',"
							" 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'))::pg_catalog.text", name);
		default:
			return psprintf("to_json(s.%s)::pg_catalog.text", name);
	}
}

/*
 * Made by us, read for the first time, and changed by nobody else since: what
 * it has that we did not send, the org gave it when it was made.
 */
static char *
is_fresh(const Stage *stage)
{
	if (get_attnum(stage->stage, "createdbyid") == InvalidAttrNumber ||
		get_attnum(stage->stage, "lastmodifiedbyid") == InvalidAttrNumber)
		return pstrdup("false");
	return psprintf("s.lastmodifiedbyid = s.createdbyid AND EXISTS"
					" (SELECT FROM %s t WHERE t.id = s.id AND t.%s IS NULL)",
					relation_rows(stage->relid), quote_identifier(stage->stamp));
}

List *
incoming_rows(const Stage *stage, List *ids, List *columns)
{
	SqlScope	sql;
	StringInfoData statement;
	List	   *rows = NIL;
	uint64		n;
	ListCell   *lc;

	initStringInfo(&statement);
	appendStringInfo(&statement, "SELECT s.id, %s, s.%s, %s",
					 stage->has_isdeleted ? "s.isdeleted IS TRUE" : "false",
					 quote_identifier(stage->stamp), is_fresh(stage));
	foreach(lc, columns)
		appendStringInfo(&statement, ", coalesce(%s, 'null')",
						 json_expression(stage->relid, (char *) lfirst(lc)));
	appendStringInfo(&statement, " FROM %s s WHERE s.id IN (SELECT unnest($1))",
					 relation_sql(stage->stage));

	sql_begin_on(&sql, stage->relid);
	sql_avoid_nested_loops(&sql);
	n = sql_run(&sql, statement.data, "T", ids);
	MemoryContextSwitchTo(sql.caller);
	for (uint64 i = 0; i < n; i++)
	{
		IncomingRow *row = palloc(sizeof(IncomingRow));

		row->id = sql_text(&sql, i, 1);
		row->deleted = sql_bool(&sql, i, 2);
		row->stamp = sql_time(&sql, i, 3);
		row->fresh = sql_bool(&sql, i, 4);
		row->values = palloc(sizeof(char *) * Max(list_length(columns), 1));
		for (int k = 0; k < list_length(columns); k++)
			row->values[k] = sql_text(&sql, i, 5 + k);
		rows = lappend(rows, row);
	}
	sql_end(&sql);
	return rows;
}

void
incoming_keep(Stage *stage, const char *column, List *ids)
{
	SqlScope	sql;
	const char *name = quote_identifier(column);

	if (ids == NIL)
		return;
	sql_begin_on(&sql, stage->relid);
	(void) sql_run(&sql,
				   psprintf("UPDATE %s s SET %s = t.%s FROM"
							" (SELECT t.id, t.%s FROM unnest($1) AS u (id)"
							" JOIN %s t ON t.id = u.id OFFSET 0) AS t"
							" WHERE t.id = s.id",
							relation_sql(stage->stage), name, name, name,
							relation_rows(stage->relid)), "T", ids);
	sql_end(&sql);
	stage->audit_alone = true;
}
