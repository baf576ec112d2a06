/*-------------------------------------------------------------------------
 *
 * identity.c
 *	  From provisional ids to Salesforce's.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "tables/attempt.h"
#include "tables/guard.h"
#include "tables/identity.h"
#include "tables/merge.h"
#include "tables/relation.h"
#include "tables/sql.h"

/* Rows that were given ids and still stand under their provisional ones. */
typedef struct Waiting
{
	char	   *provisional;
	char	   *id;
	Oid			relid;
} Waiting;

/* A column of a synced table that refers to rows of another. */
typedef struct Reference
{
	Oid			relid;			/* the table that has the column */
	char	   *column;
	Oid			target;
} Reference;

typedef struct Replacement
{
	const char *server;
	Waiting    *rows;
	List	   *references;		/* of Reference * */
	int			replaced;
	List	  **refused;
	MemoryContext caller;
} Replacement;

void
identity_given(Oid relid, List *provisional, List *ids)
{
	SqlScope	sql;

	sql_begin(&sql);
	(void) sql_run(&sql,
				   "INSERT INTO sync.local_id (provisional, id, relation)"
				   " SELECT p, i, $3 FROM unnest($1, $2) AS u (p, i)"
				   " ON CONFLICT (provisional) DO NOTHING",
				   "TTo", provisional, ids, relid);
	sql_end(&sql);
}

static Datum
text_array(Waiting *rows, int first, int last, bool provisional)
{
	int			n = last - first;
	Datum	   *elements = palloc(sizeof(Datum) * Max(n, 1));

	for (int i = 0; i < n; i++)
		elements[i] = CStringGetTextDatum(provisional
										  ? rows[first + i].provisional
										  : rows[first + i].id);
	return PointerGetDatum(construct_array(elements, n, TEXTOID, -1, false,
										   TYPALIGN_INT));
}

/* A statement as the owner of a table, on all rows from first to last. */
static uint64
run_on_table(Oid relid, const char *statement, Waiting *rows, int first,
			 int last)
{
	Oid			types[2] = {TEXTARRAYOID, TEXTARRAYOID};
	Datum		values[2];
	ApplyState	state;
	uint64		n;

	values[0] = text_array(rows, first, last, true);
	values[1] = text_array(rows, first, last, false);
	apply_begin(relid, &state);
	n = relation_run_args(statement, 2, types, values);
	apply_end(&state);
	return n;
}

static void
refuse_swallowed(Oid relid, const char *provisional)
{
	ereport(ERROR,
			(errcode(ERRCODE_TRIGGERED_ACTION_EXCEPTION),
			 provisional ?
			 errmsg("a trigger of table \"%s\" keeps row %s from taking its id",
					relation_label(relid), provisional) :
			 errmsg("a trigger of table \"%s\" keeps rows from taking their ids",
					relation_label(relid)),
			 errhint("Let the trigger fire WHEN (NOT sync.applying()), or leave the column id as it is given.")));
}

/*
 * A BEFORE UPDATE trigger of a user's may return another row than it was given,
 * or none.  A row that is believed to have its id and has not would come in a
 * second time.
 */
static void
check_taken(Replacement *r, int first, int last, uint64 updated)
{
	SqlScope	sql;
	Oid			relid = r->rows[first].relid;
	char	   *table = relation_rows(relid);
	List	   *provisional = NIL;
	List	   *ids = NIL;
	char	   *left;
	int64		taken;

	for (int i = first; i < last; i++)
	{
		provisional = lappend(provisional, r->rows[i].provisional);
		ids = lappend(ids, r->rows[i].id);
	}
	sql_begin_on(&sql, relid);
	(void) sql_run(&sql,
				   psprintf("SELECT (SELECT t.id FROM %s t WHERE t.id = ANY ($1) LIMIT 1),"
							" (SELECT pg_catalog.count(*) FROM %s t WHERE t.id = ANY ($2))",
							table, table), "TT", provisional, ids);
	left = sql_text(&sql, 0, 1);
	taken = sql_int(&sql, 0, 2);
	sql_end(&sql);
	if (left != NULL || taken < (int64) updated)
		refuse_swallowed(relid, left);
}

/*
 * The rows of one table from first to last (all of the same), and whatever
 * refers to them.
 */
static void
replace_rows(Replacement *r, int first, int last)
{
	Oid			relid = r->rows[first].relid;
	char	   *table = relation_rows(relid);
	uint64		updated;
	ListCell   *lc;

	(void) run_on_table(relid,
						psprintf("DELETE FROM %s AS t USING unnest($1, $2) AS u (p, i)"
								 " WHERE t.id = u.i AND EXISTS"
								 " (SELECT FROM %s AS l WHERE l.id = u.p)",
								 table, table),
						r->rows, first, last);
	updated = run_on_table(relid,
						   psprintf("UPDATE %s AS t SET id = u.i"
									" FROM unnest($1, $2) AS u (p, i)"
									" WHERE t.id = u.p", table),
						   r->rows, first, last);
	check_taken(r, first, last, updated);
	foreach(lc, r->references)
	{
		Reference  *reference = (Reference *) lfirst(lc);
		const char *column = quote_identifier(reference->column);

		if (reference->target == relid)
			(void) run_on_table(reference->relid,
								psprintf("UPDATE %s AS t SET %s = u.i"
										 " FROM unnest($1, $2) AS u (p, i)"
										 " WHERE t.%s = u.p",
										 relation_rows(reference->relid),
										 column, column),
								r->rows, first, last);
	}
}

/* The same in the sync's own tables. */
static void
note_replaced(Replacement *r, int first, int last)
{
	SqlScope	sql;
	List	   *provisional = NIL;
	List	   *ids = NIL;

	for (int i = first; i < last; i++)
	{
		provisional = lappend(provisional, r->rows[i].provisional);
		ids = lappend(ids, r->rows[i].id);
	}
	sql_begin(&sql);
	sql_avoid_nested_loops(&sql);
	(void) sql_run(&sql,
				   "UPDATE sync.change c SET id = u.i"
				   " FROM unnest($1, $2) AS u (p, i)"
				   " WHERE c.relation = $3 AND c.id = u.p",
				   "TTo", provisional, ids, r->rows[first].relid);
	(void) sql_run(&sql,
				   "UPDATE sync.local_id SET replaced = true"
				   " WHERE provisional IN (SELECT unnest($1))", "T",
				   provisional);
	(void) sql_run(&sql,
				   "DELETE FROM sync.failures WHERE server = $1"
				   " AND operation = 'replace'"
				   " AND record IN (SELECT unnest($2))",
				   "nT", r->server, ids);
	sql_end(&sql);
}

static void
apply_range(void *arg, int first, int last)
{
	Replacement *r = (Replacement *) arg;

	replace_rows(r, first, last);
	note_replaced(r, first, last);
}

/* The failure is about the record, whose id the row is to take. */
static void
refuse(Replacement *r, int item, RefusedRow *refused)
{
	refused->id = pstrdup(r->rows[item].id);
	*r->refused = lappend(*r->refused, refused);
}

static void
refuse_row(void *arg, int item, ErrorData *error)
{
	Replacement *r = (Replacement *) arg;
	MemoryContext old = MemoryContextSwitchTo(r->caller);
	const Waiting *row = &r->rows[item];

	refuse(r, item, refused_waiting(row->relid, row->provisional, error));
	MemoryContextSwitchTo(old);
}

static void
refuse_locked(Replacement *r, int item)
{
	MemoryContext old = MemoryContextSwitchTo(r->caller);
	const Waiting *row = &r->rows[item];

	refuse(r, item, refused_locked(row->relid, row->provisional));
	MemoryContextSwitchTo(old);
}

static List *
read_references(const char *server)
{
	SqlScope	sql;
	List	   *references = NIL;
	uint64		n;

	sql_begin(&sql);
	n = sql_run(&sql,
				"SELECT o.relation::pg_catalog.oid, f.attname::pg_catalog.text, p.relation::pg_catalog.oid"
				" FROM sync.field f JOIN sync.object o USING (server, object)"
				" JOIN sync.object p ON p.server = f.server AND p.enabled"
				" AND p.object = ANY (f.reference_to)"
				" WHERE f.server = $1 AND o.enabled AND NOT f.dropped",
				"n", server);
	MemoryContextSwitchTo(sql.caller);
	for (uint64 i = 0; i < n; i++)
	{
		Reference  *reference = palloc(sizeof(Reference));

		reference->relid = (Oid) sql_int(&sql, i, 1);
		reference->column = sql_text(&sql, i, 2);
		reference->target = (Oid) sql_int(&sql, i, 3);
		references = lappend(references, reference);
	}
	sql_end(&sql);
	return references;
}

static int
read_waiting(const char *server, Waiting **rows)
{
	SqlScope	sql;
	uint64		n;

	sql_begin(&sql);
	n = sql_run(&sql,
				"SELECT l.provisional, l.id, l.relation::pg_catalog.oid"
				" FROM sync.local_id l JOIN sync.object o USING (relation)"
				" WHERE NOT l.replaced AND o.server = $1 AND o.enabled"
				" ORDER BY l.relation::pg_catalog.oid, l.provisional", "n", server);
	MemoryContextSwitchTo(sql.caller);
	*rows = palloc(sizeof(Waiting) * Max(n, 1));
	for (uint64 i = 0; i < n; i++)
	{
		(*rows)[i].provisional = sql_text(&sql, i, 1);
		(*rows)[i].id = sql_text(&sql, i, 2);
		(*rows)[i].relid = (Oid) sql_int(&sql, i, 3);
	}
	sql_end(&sql);
	return (int) n;
}

/*
 * Of rows from first to last those that somebody else has locked move to the
 * end; returns where they begin.  They are left for the next time: the worker
 * does not wait for a user's transaction.
 */
static int
part_locked(Waiting *rows, int first, int last)
{
	SqlScope	sql;
	char	   *table = relation_rows(rows[first].relid);
	List	   *ids = NIL;
	uint64		n;
	int			end = last;

	for (int i = first; i < last; i++)
		ids = lappend(ids, rows[i].provisional);
	sql_begin_on(&sql, rows[first].relid);
	n = sql_run(&sql,
				psprintf("WITH free AS (SELECT id FROM %s"
						 " WHERE id = ANY ($1) FOR UPDATE SKIP LOCKED)"
						 " SELECT t.id FROM %s t WHERE t.id = ANY ($1)"
						 " AND NOT EXISTS (SELECT FROM free f WHERE f.id = t.id)",
						 table, table), "T", ids);
	for (uint64 k = 0; k < n; k++)
	{
		char	   *locked = sql_text(&sql, k, 1);

		for (int i = first; i < end; i++)
		{
			if (strcmp(rows[i].provisional, locked) == 0)
			{
				Waiting		row = rows[i];

				rows[i] = rows[--end];
				rows[end] = row;
				break;
			}
		}
	}
	sql_end(&sql);
	return end;
}

typedef struct TableRows
{
	Replacement *replacement;
	int			first;
	int			last;			/* one behind */
} TableRows;

static void
replace_of_table(void *arg)
{
	TableRows  *rows = (TableRows *) arg;
	Replacement *r = rows->replacement;
	Bisection	how = {.apply = apply_range, .refuse = refuse_row, .arg = r};
	int			locked = rows->first;

	if (ConditionalLockRelationOid(r->rows[rows->first].relid,
								   RowExclusiveLock))
		locked = part_locked(r->rows, rows->first, rows->last);
	for (int i = locked; i < rows->last; i++)
		refuse_locked(r, i);
	how.give_up = GetCurrentTimestamp() + ATTEMPT_PATIENCE;
	if (locked > rows->first)
		bisect(&how, rows->first, locked);
}

/*
 * An error that no row has caused (the table was altered, a trigger has raised
 * something else) is told with the first row; rows of other tables take their
 * ids all the same.
 */
static void
try_table(Replacement *r, int first, int last)
{
	TableRows	rows = {r, first, last};
	ErrorData  *error = attempt_any(replace_of_table, &rows);

	if (error != NULL && is_interrupt(error))
		ReThrowError(error);
	if (error != NULL)
		refuse_row(r, first, error);
}

int
identity_replace(const char *server, List **refused)
{
	Replacement r = {0};
	int			n = read_waiting(server, &r.rows);
	int			first = 0;
	int			patience;

	if (n == 0)
		return 0;
	patience = patience_begin();
	r.server = server;
	r.refused = refused;
	r.caller = CurrentMemoryContext;
	r.references = read_references(server);
	while (first < n)
	{
		int			last = first + 1;

		while (last < n && r.rows[last].relid == r.rows[first].relid)
			last++;
		try_table(&r, first, last);
		first = last;
	}
	patience_end(patience);
	return list_length(*refused);
}

bool
identity_is_waiting(const char *server)
{
	SqlScope	sql;
	bool		waiting;

	sql_begin(&sql);
	waiting = sql_run(&sql,
					  "SELECT FROM sync.local_id l"
					  " JOIN sync.object o USING (relation)"
					  " WHERE NOT l.replaced AND o.server = $1 AND o.enabled"
					  " LIMIT 1", "n", server) > 0;
	sql_end(&sql);
	return waiting;
}

static List *
look_up(List *keys, const char *statement)
{
	SqlScope	sql;
	List	   *found;

	if (keys == NIL)
		return NIL;
	sql_begin(&sql);
	found = sql_texts(&sql, sql_run(&sql, statement, "T", keys));
	sql_end(&sql);
	return found;
}

List *
identity_known(List *provisional)
{
	return look_up(provisional,
				   "SELECT l.id FROM unnest($1) WITH ORDINALITY AS u (k, n)"
				   " LEFT JOIN sync.local_id l ON l.provisional = u.k"
				   " ORDER BY u.n");
}

List *
identity_settled(List *ids)
{
	return look_up(ids,
				   "SELECT u FROM unnest($1) AS u WHERE NOT EXISTS"
				   " (SELECT FROM sync.local_id l"
				   " WHERE l.id = u AND NOT l.replaced)");
}

List *
identity_taken(List *ids)
{
	return look_up(ids,
				   "SELECT l.provisional"
				   " FROM unnest($1) WITH ORDINALITY AS u (k, n)"
				   " LEFT JOIN sync.local_id l ON l.id = u.k ORDER BY u.n");
}

/*
 * Not at any price: a row that somebody has locked gets the id with the next
 * pull.
 */
void
identity_refer(Oid relid, const char *column, List *rows, List *provisional,
			   List *ids)
{
	SqlScope	sql;
	ApplyState	state;
	char	   *table = relation_rows(relid);
	const char *name = quote_identifier(column);

	apply_begin(relid, &state);
	sql_begin_on(&sql, relid);
	(void) sql_run(&sql,
				   psprintf("WITH free AS MATERIALIZED (SELECT t.id FROM %s t"
							" WHERE t.id = ANY ($1) AND t.%s = ANY ($2)"
							" FOR NO KEY UPDATE SKIP LOCKED)"
							" UPDATE %s AS t SET %s = u.i FROM free f,"
							" ROWS FROM (unnest($1), unnest($2), unnest($3)) AS u (r, p, i)"
							" WHERE t.id = f.id AND u.r = t.id AND t.%s = u.p",
							table, name, table, name, name),
				   "TTT", rows, provisional, ids);
	sql_end(&sql);
	apply_end(&state);
}

/* What brings the old value of a column back; $2 is the change. */
static char *
old_value(Oid relid, const char *column)
{
	AttrNumber	attnum = get_attnum(relid, column);

	return psprintf("%s = ($2::pg_catalog.json -> %s ->> 0)::%s",
					quote_identifier(column), quote_literal_cstr(column),
					format_type_be_qualified(get_atttype(relid, attnum)));
}

void
identity_revert(Oid relid, const char *id, List *columns,
				const char *changes)
{
	Oid			types[2] = {TEXTOID, TEXTOID};
	Datum		values[2];
	StringInfoData sql;
	ApplyState	state;
	int			n = 0;
	ListCell   *lc;

	initStringInfo(&sql);
	appendStringInfo(&sql, "UPDATE %s SET ", relation_rows(relid));
	foreach(lc, columns)
	{
		if (get_attnum(relid, lfirst(lc)) != InvalidAttrNumber)
			appendStringInfo(&sql, "%s%s", n++ ? ", " : "",
							 old_value(relid, lfirst(lc)));
	}
	if (n == 0)
		return;
	appendStringInfoString(&sql, " WHERE id = $1");
	values[0] = CStringGetTextDatum(id);
	values[1] = CStringGetTextDatum(changes);
	apply_begin(relid, &state);
	(void) relation_run_args(sql.data, 2, types, values);
	apply_end(&state);
}

void
identity_drop(Oid relid, const char *provisional)
{
	Oid			types[1] = {TEXTOID};
	Datum		values[1];
	ApplyState	state;

	values[0] = CStringGetTextDatum(provisional);
	apply_begin(relid, &state);
	(void) relation_run_args(psprintf("DELETE FROM %s WHERE id = $1",
									  relation_rows(relid)), 1, types, values);
	apply_end(&state);
}

void
identity_waiting(Oid relid, Oid stage)
{
	SqlScope	sql;
	List	   *ids;

	sql_begin(&sql);
	ids = sql_texts(&sql, sql_run(&sql, "SELECT id FROM sync.local_id"
								  " WHERE NOT replaced AND relation = $1",
								  "o", relid));
	sql_end(&sql);
	stage_remove(stage, ids);
}

int64
identity_doubtful(Oid relid, Oid stage, const char *user, TimestampTz since)
{
	SqlScope	sql;
	StringInfoData statement;
	uint64		n;

	initStringInfo(&statement);
	appendStringInfo(&statement, "DELETE FROM %s s WHERE NOT EXISTS"
					 " (SELECT FROM %s t WHERE t.id = s.id)",
					 relation_sql(stage), relation_rows(relid));
	if (get_attnum(stage, "createddate") != InvalidAttrNumber)
		appendStringInfoString(&statement, " AND s.createddate >= $1");
	if (get_attnum(stage, "createdbyid") != InvalidAttrNumber)
		appendStringInfoString(&statement,
							   " AND s.createdbyid = coalesce($2, s.createdbyid)");
	sql_begin_on(&sql, relid);
	n = sql_run(&sql, statement.data, "Lt", since, user);
	sql_end(&sql);
	return (int64) n;
}
