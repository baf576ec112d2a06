/*-------------------------------------------------------------------------
 *
 * catalog.c
 *	  What is synced, how far it has come, and what happened: the tables of
 *	  schema sync, as structs.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xlog.h"
#include "catalog/namespace.h"
#include "commands/async.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "tables/catalog.h"
#include "tables/outbox.h"
#include "tables/merge.h"
#include "tables/sql.h"

/* Longest error code that is told to everybody; Salesforce's are shorter. */
#define MAX_CODE	80

/* In the order of the enums. */
static const char *const state_names[] = {"new", "copying", "indexing", "live"};
static const char *const direction_names[] = {"from", "both", "to"};
static const char *const conflict_names[] = {"salesforce", "local", "latest"};

/* One statement that returns nothing of interest. */
#define RUN(...) \
	do { \
		SqlScope	sql_; \
		sql_begin(&sql_); \
		(void) sql_run(&sql_, __VA_ARGS__); \
		sql_end(&sql_); \
	} while (0)

/*
 * Reading
 */

#define SERVER_COLUMNS \
	"SELECT s.server, s.serverid, s.schema, s.running, s.paused," \
	" p.next_cycle, p.failures, p.retry_at" \
	" FROM sync.server s JOIN sync.server_progress p USING (server)"

static SyncServer *
server_from_row(SqlScope *sql, uint64 row)
{
	SyncServer *server = MemoryContextAllocZero(sql->caller,
												sizeof(SyncServer));

	server->name = sql_text(sql, row, 1);
	server->serverid = (Oid) sql_int(sql, row, 2);
	server->schema = sql_text(sql, row, 3);
	server->running = sql_bool(sql, row, 4);
	server->paused = sql_bool(sql, row, 5);
	server->next_cycle = sql_time(sql, row, 6);
	server->failures = (int) sql_int(sql, row, 7);
	server->retry_at = sql_time(sql, row, 8);
	return server;
}

SyncServer *
catalog_server(const char *name)
{
	SqlScope	sql;
	SyncServer *server = NULL;

	sql_begin(&sql);
	if (sql_run(&sql, SERVER_COLUMNS " WHERE s.server = $1", "n", name) > 0)
		server = server_from_row(&sql, 0);
	sql_end(&sql);
	return server;
}

SyncServer *
catalog_server_by_oid(Oid serverid)
{
	SqlScope	sql;
	SyncServer *server = NULL;

	sql_begin(&sql);
	if (sql_run(&sql, SERVER_COLUMNS " WHERE s.serverid = $1",
				"o", serverid) > 0)
		server = server_from_row(&sql, 0);
	sql_end(&sql);
	return server;
}

List *
catalog_servers(void)
{
	SqlScope	sql;
	List	   *servers = NIL;
	uint64		n;

	sql_begin(&sql);
	n = sql_run(&sql, SERVER_COLUMNS
				" WHERE EXISTS (SELECT FROM sync.object o"
				" WHERE o.server = s.server AND o.enabled)"
				" ORDER BY s.server", "");
	MemoryContextSwitchTo(sql.caller);
	for (uint64 i = 0; i < n; i++)
		servers = lappend(servers, server_from_row(&sql, i));
	sql_end(&sql);
	return servers;
}

/*
 * Rows that stand aside only because somebody had them locked, or that are to be
 * read again, are tried again soon, and not with the hourly others.
 */
#define IS_ROW_SOON \
	"f.record <> '' AND f.operation IN ('copy', 'pull', 'deletes')" \
	" AND f.code IN ('55P03', '40P01', '40001', 'DISCARDED')"
#define ROW_DUE \
	"f.last_seen + least(2 ^ least(f.count, 4), 10) * pg_catalog.interval '1 s'"

/*
 * A row that refers to one that is not there: that one may come with another
 * object of the same cycle.  So it is tried again by the next cycles, and less
 * and less often, as for some there is none that this login could see.
 */
#define IS_ORPHAN_DUE \
	"f.code = '23503' AND f.operation <> 'deletes' AND f.last_seen" \
	" + least(2 ^ least(f.count, 12), 3600) * pg_catalog.interval '1 s'" \
	" <= clock_timestamp()"

/*
 * What sync.failures says of an object, in one reading of it, by its unique index.
 * Rows are due also for the object's own failure, if its time of the next try could
 * not be noted.
 */
#define FAILURES_OF_OBJECT \
	"(SELECT bool_or(f.record <> ''" \
	" AND f.operation IN ('copy', 'pull', 'deletes')) AS rows_refused," \
	" bool_or(f.record IS NULL" \
	" AND f.operation NOT IN ('push', 'guard')) AS failed," \
	" bool_or(f.record IS NULL AND f.operation = 'push') AS push_failed," \
	" min(" ROW_DUE ") FILTER (WHERE " IS_ROW_SOON \
	" OR (f.record IS NULL AND f.operation = 'pull' AND p.failures = 0" \
	" AND f.code IN ('55P03', '40P01', '40001'))) AS rows_due" \
	" FROM sync.failures f WHERE f.server = o.server" \
	" AND coalesce(f.object, '') = o.object)"

#define OBJECT_COLUMNS \
	"SELECT o.server, o.object, o.relation::pg_catalog.oid, o.fields," \
	" o.exclude || ARRAY(SELECT d.field FROM sync.field d" \
	" WHERE d.server = o.server AND d.object = o.object AND d.dropped), o.filter, o.on_delete = 'mark'," \
	" (extract(epoch FROM o.interval) * 1000000)::pg_catalog.int8," \
	" p.state, p.stamp_field, p.has_isdeleted, p.undeletable," \
	" p.replicateable, p.cursor, p.rows, p.due, p.job, p.job_version," \
	" p.job_records, p.locator, p.described, p.describe_tag, p.failures," \
	" p.retry_at, p.swept, x.rows_refused," \
	" o.direction, o.conflict, o.external_id, o.push_deletes," \
	" o.unmodified_since, s.serverid, p.described_fully, p.last_synced," \
	" x.failed, x.push_failed, p.rereads, x.rows_due," \
	" p.unguarded, p.merge, p.misshapen, p.fewer, p.came," \
	" o.allow_duplicates, coalesce(o.batch_rows, 0)" \
	" FROM sync.object o JOIN sync.progress p USING (server, object)" \
	" JOIN sync.server s USING (server)" \
	" CROSS JOIN LATERAL " FAILURES_OF_OBJECT " x" \
	" WHERE o.enabled"

static int
number_of_name(const char *const *names, int n, const char *name)
{
	for (int i = 0; i < n; i++)
	{
		if (strcmp(names[i], name) == 0)
			return i;
	}
	elog(ERROR, "unknown value \"%s\"", name);
}

static SyncObject *
object_from_row(SqlScope *sql, uint64 row)
{
	SyncObject *object = MemoryContextAllocZero(sql->caller,
												sizeof(SyncObject));

	object->server = sql_text(sql, row, 1);
	object->object = sql_text(sql, row, 2);
	object->relid = (Oid) sql_int(sql, row, 3);
	object->only_fields = sql_list(sql, row, 4);
	object->exclude = sql_list(sql, row, 5);
	object->filter = sql_text(sql, row, 6);
	object->mark = sql_bool(sql, row, 7);
	object->interval = sql_is_null(sql, row, 8) ? -1 : sql_int(sql, row, 8);
	object->state = number_of_name(state_names, lengthof(state_names),
								   sql_text(sql, row, 9));
	object->stamp_field = sql_text(sql, row, 10);
	object->has_isdeleted = sql_bool(sql, row, 11);
	object->undeletable = sql_bool(sql, row, 12);
	object->replicateable = sql_bool(sql, row, 13);
	object->cursor = sql_time(sql, row, 14);
	object->rows = sql_int(sql, row, 15);
	object->due = sql_time(sql, row, 16);
	object->job = sql_text(sql, row, 17);
	object->job_version = sql_text(sql, row, 18);
	object->job_records = sql_is_null(sql, row, 19) ? -1 : sql_int(sql, row, 19);
	object->locator = sql_text(sql, row, 20);
	object->described = sql_time(sql, row, 21);
	object->describe_tag = sql_text(sql, row, 22);
	object->failures = (int) sql_int(sql, row, 23);
	object->retry_at = sql_time(sql, row, 24);
	object->swept = sql_time(sql, row, 25);
	object->has_refused = sql_bool(sql, row, 26);
	object->direction = number_of_name(direction_names, 3,
									   sql_text(sql, row, 27));
	object->conflict = number_of_name(conflict_names, 3,
									  sql_text(sql, row, 28));
	object->external_id = sql_text(sql, row, 29);
	object->push_deletes = sql_bool(sql, row, 30);
	object->unmodified_since = sql_bool(sql, row, 31);
	object->serverid = (Oid) sql_int(sql, row, 32);
	object->described_fully = sql_time(sql, row, 33);
	object->last_synced = sql_time(sql, row, 34);
	object->has_failures = sql_bool(sql, row, 35);
	object->push_failed = sql_bool(sql, row, 36);
	object->rereads = sql_int(sql, row, 37);
	object->rows_due = sql_time(sql, row, 38);
	object->unguarded = sql_text(sql, row, 39);
	object->merge = sql_bool(sql, row, 40);
	object->misshapen = sql_bool(sql, row, 41);
	object->fewer_fields = sql_bool(sql, row, 42);
	object->came = sql_int(sql, row, 43);
	object->allow_duplicates = sql_bool(sql, row, 44);
	object->batch_rows = (int) sql_int(sql, row, 45);
	return object;
}

SyncObject *
catalog_object(const char *server, const char *name)
{
	SqlScope	sql;
	SyncObject *object = NULL;

	sql_begin(&sql);
	if (sql_run(&sql, OBJECT_COLUMNS
				" AND o.server = $1 AND lower(o.object) = lower($2)",
				"nt", server, name) > 0)
		object = object_from_row(&sql, 0);
	sql_end(&sql);
	return object;
}

/*
 * What is kept for a session (capture.c, worker.c) until an invalidation comes
 * is read as it is now, whatever the snapshot of the transaction; so are the
 * fields, and the worker's pid.
 */
SyncObject *
catalog_object_by_relid(Oid relid)
{
	SqlScope	sql;
	SyncObject *object = NULL;

	sql_begin_latest(&sql);
	if (sql_run(&sql, OBJECT_COLUMNS " AND o.relation = $1", "o", relid) > 0)
		object = object_from_row(&sql, 0);
	sql_end(&sql);
	return object;
}

List *
catalog_objects(const char *server)
{
	SqlScope	sql;
	List	   *objects = NIL;
	uint64		n;

	sql_begin(&sql);
	n = sql_run(&sql, OBJECT_COLUMNS " AND o.server = $1 ORDER BY o.object",
				"n", server);
	MemoryContextSwitchTo(sql.caller);
	for (uint64 i = 0; i < n; i++)
		objects = lappend(objects, object_from_row(&sql, i));
	sql_end(&sql);
	return objects;
}

List *
catalog_synced_objects(const char *server)
{
	SqlScope	sql;
	List	   *names;

	sql_begin(&sql);
	names = sql_texts(&sql, sql_run(&sql, "SELECT object FROM sync.object"
									" WHERE enabled AND server = $1",
									"n", server));
	sql_end(&sql);
	return names;
}

static SyncField *
field_from_row(SqlScope *sql, uint64 row)
{
	SyncField  *field = MemoryContextAllocZero(sql->caller, sizeof(SyncField));

	field->field = sql_text(sql, row, 1);
	field->attname = sql_text(sql, row, 2);
	field->type = sql_text(sql, row, 3);
	field->label = sql_text(sql, row, 4);
	field->length = (int) sql_int(sql, row, 5);
	field->digits = (int) sql_int(sql, row, 6);
	field->precision = (int) sql_int(sql, row, 7);
	field->scale = (int) sql_int(sql, row, 8);
	field->nillable = sql_bool(sql, row, 9);
	field->createable = sql_bool(sql, row, 10);
	field->updateable = sql_bool(sql, row, 11);
	field->defaulted = sql_bool(sql, row, 12);
	field->calculated = sql_bool(sql, row, 13);
	field->external_id = sql_bool(sql, row, 14);
	field->default_true = sql_bool(sql, row, 15);
	field->reference_to = sql_list(sql, row, 16);
	field->atttype = (Oid) sql_int(sql, row, 17);
	field->attnum = (int16) sql_int(sql, row, 18);
	field->reference = strcmp(field->type, "reference") == 0;
	field->rounded = strcmp(field->type, "double") == 0 ||
		strcmp(field->type, "currency") == 0 ||
		strcmp(field->type, "percent") == 0;
	return field;
}

List *
catalog_fields(const SyncObject *object)
{
	SqlScope	sql;
	List	   *fields = NIL;
	uint64		n;

	sql_begin_latest(&sql);
	n = sql_run(&sql,
				"SELECT field, attname, type, label, length, digits,"
				" precision, scale, nillable, createable, updateable,"
				" defaulted, calculated, external_id, default_true,"
				" reference_to, atttype::pg_catalog.oid,"
				" coalesce(attnum, 0)::pg_catalog.int4"
				" FROM sync.field WHERE server = $1 AND object = $2"
				" AND NOT dropped ORDER BY ordinal", "nt", object->server, object->object);
	MemoryContextSwitchTo(sql.caller);
	for (uint64 i = 0; i < n; i++)
		fields = lappend(fields, field_from_row(&sql, i));
	sql_end(&sql);
	return fields;
}

List *
catalog_dropped_fields(const SyncObject *object)
{
	SqlScope	sql;
	List	   *fields;

	sql_begin(&sql);
	fields = sql_texts(&sql,
					   sql_run(&sql, "SELECT f.field FROM sync.field f"
							   " WHERE f.server = $1 AND f.object = $2"
							   " AND f.dropped ORDER BY f.ordinal",
							   "nt", object->server, object->object));
	sql_end(&sql);
	return fields;
}

/*
 * Progress of an object
 */

void
catalog_copy_started(const SyncObject *object, TimestampTz cursor,
					 const char *job, const char *version, int64 records)
{
	RUN("UPDATE sync.progress SET state = 'copying', cursor = $3, job = $4,"
		" job_version = $5, job_records = nullif($6, -1), locator = NULL,"
		" rows = 0, came = 0, merge = $7, fewer = false WHERE server = $1 AND object = $2",
		"ntzttlb", object->server, object->object, cursor, job, version,
		records, object->merge);
}

void
catalog_copy_advanced(const SyncObject *object, int64 rows, int64 came,
					  const char *locator)
{
	RUN("UPDATE sync.progress SET rows = rows + $3, locator = $4,"
		" came = came + $5, failures = CASE WHEN restarts = 0 THEN 0"
		" ELSE failures END, retry_at = NULL, last_error = NULL"
		" WHERE server = $1 AND object = $2",
		"ntltl", object->server, object->object, rows, locator, came);
}

void
catalog_copy_again(const SyncObject *object)
{
	catalog_copy_reset(object);
	RUN("UPDATE sync.progress SET restarts = restarts + 1"
		" WHERE server = $1 AND object = $2",
		"nt", object->server, object->object);
}

void
catalog_copy_reset(const SyncObject *object)
{
	RUN("UPDATE sync.progress SET state = 'new', cursor = NULL, job = NULL,"
		" job_version = NULL, job_records = NULL, locator = NULL, rows = 0"
		" WHERE server = $1 AND object = $2",
		"nt", object->server, object->object);
}

void
catalog_state(const SyncObject *object, SyncState state)
{
	RUN("UPDATE sync.progress SET state = $3,"
		" restarts = CASE WHEN $3 = 'live' THEN 0 ELSE restarts END,"
		" failures = CASE WHEN $3 = 'live' THEN 0 ELSE failures END"
		" WHERE server = $1 AND object = $2",
		"ntt", object->server, object->object, state_names[state]);
}

void
catalog_pulled(const SyncObject *object, TimestampTz cursor,
			   TimestampTz started, TimestampTz due)
{
	RUN("UPDATE sync.progress SET"
		" cursor = CASE WHEN rereads = $6 THEN coalesce($3, cursor)"
		" ELSE cursor END,"
		" due = CASE WHEN rereads = $6 THEN $5 ELSE due END,"
		" last_synced = $4,"
		" failures = 0, retry_at = NULL, last_error = NULL"
		" WHERE server = $1 AND object = $2",
		"ntzzzl", object->server, object->object, cursor, started, due,
		object->rereads);
}

void
catalog_swept(const SyncObject *object)
{
	RUN("UPDATE sync.progress SET swept = now()"
		" WHERE server = $1 AND object = $2",
		"nt", object->server, object->object);
}

void
catalog_rows_added(const SyncObject *object, int64 rows)
{
	RUN("UPDATE sync.progress SET rows = rows + $3"
		" WHERE server = $1 AND object = $2",
		"ntl", object->server, object->object, rows);
}

void
catalog_rows_are(const SyncObject *object, int64 rows)
{
	RUN("UPDATE sync.progress SET rows = $3"
		" WHERE server = $1 AND object = $2",
		"ntl", object->server, object->object, rows);
}

void
catalog_cursor_reset(SyncObject *object)
{
	RUN("UPDATE sync.progress SET cursor = '-infinity', due = NULL,"
		" rereads = rereads + 1"
		" WHERE server = $1 AND object = $2 AND state <> 'new'",
		"nt", object->server, object->object);
	object->cursor = DT_NOBEGIN;
	object->rereads++;
}

void
catalog_object_failed(const SyncObject *object, TimestampTz retry_at,
					  const char *error)
{
	RUN("UPDATE sync.progress SET failures = failures + 1, retry_at = $3,"
		" last_error = $4 WHERE server = $1 AND object = $2",
		"ntzt", object->server, object->object, retry_at, error);
}

void
catalog_described(const SyncObject *object, bool fully, const char *tag)
{
	RUN("UPDATE sync.progress SET described = now(),"
		" described_fully = CASE WHEN $4 THEN now() ELSE described_fully END,"
		" describe_tag = coalesce($3, describe_tag)"
		" WHERE server = $1 AND object = $2",
		"nttb", object->server, object->object, tag, fully);
}

int64
catalog_field_identities(const SyncObject *object, List *fields,
						 List *identities)
{
	SqlScope	sql;
	int64		renewed;

	sql_begin(&sql);
	renewed = sql_run(&sql,
					  "SELECT FROM sync.field x"
					  " JOIN ROWS FROM (unnest($3), unnest($4)) AS u (f, d)"
					  " ON x.field = u.f WHERE x.server = $1 AND x.object = $2"
					  " AND x.durable_id <> u.d",
					  "ntTT", object->server, object->object, fields,
					  identities);
	(void) sql_run(&sql,
				   "UPDATE sync.field x SET durable_id = u.d"
				   " FROM ROWS FROM (unnest($3), unnest($4)) AS u (f, d)"
				   " WHERE x.server = $1 AND x.object = $2 AND x.field = u.f"
				   " AND x.durable_id IS DISTINCT FROM u.d",
				   "ntTT", object->server, object->object, fields, identities);
	sql_end(&sql);
	return renewed;
}

void
catalog_misshapen(const SyncObject *object, bool misshapen)
{
	RUN("UPDATE sync.progress SET misshapen = $3"
		" WHERE server = $1 AND object = $2",
		"ntb", object->server, object->object, misshapen);
}

void
catalog_unguarded(const SyncObject *object, const char *what)
{
	RUN("UPDATE sync.progress SET unguarded = $3"
		" WHERE server = $1 AND object = $2",
		"ntt", object->server, object->object, what);
	RUN("DELETE FROM sync.failures WHERE server = $1 AND object = $2"
		" AND operation = 'guard'", "nt", object->server, object->object);
	if (what != NULL)
		catalog_failure(object->server, object->object, "guard", NULL, "55000",
						what, psprintf("SELECT sync.guard('%s', '%s') puts it back. What was written meanwhile has not reached Salesforce.",
									   object->server, object->object), NIL);
}

void
catalog_add_fields(const SyncObject *object, List *fields)
{
	SqlScope	sql;
	ListCell   *lc;

	sql_begin(&sql);
	foreach(lc, fields)
	{
		SyncField  *f = (SyncField *) lfirst(lc);

		(void) sql_run(&sql,
					   "INSERT INTO sync.field (server, object, field, attname,"
					   " ordinal, type, label, length, digits, precision, scale,"
					   " nillable, createable, updateable, defaulted, calculated,"
					   " external_id, default_true, reference_to, atttype, attnum)"
					   " SELECT $1, $2, $3, $4,"
					   " coalesce(max(ordinal), 0) + 1, $5, $6, $7, $8, $9, $10,"
					   " $11, $12, $13, $14, $15, $16, $17, coalesce($18, '{}'), $19,"
					   " (SELECT a.attnum FROM sync.object o"
					   " JOIN pg_catalog.pg_attribute a ON a.attrelid = o.relation"
					   " WHERE o.server = $1 AND o.object = $2"
					   " AND a.attname = $4 AND NOT a.attisdropped)"
					   " FROM sync.field WHERE server = $1 AND object = $2"
					   " ON CONFLICT (server, object, field) DO UPDATE SET"
					   " attname = excluded.attname, type = excluded.type,"
					   " label = excluded.label, length = excluded.length,"
					   " digits = excluded.digits,"
					   " precision = excluded.precision,"
					   " scale = excluded.scale, nillable = excluded.nillable,"
					   " createable = excluded.createable,"
					   " updateable = excluded.updateable,"
					   " defaulted = excluded.defaulted,"
					   " calculated = excluded.calculated,"
					   " external_id = excluded.external_id,"
					   " default_true = excluded.default_true,"
					   " reference_to = excluded.reference_to,"
					   " atttype = excluded.atttype, dropped = false",
					   "nttnttiiiibbbbbbbTo", object->server, object->object,
					   f->field, f->attname, f->type, f->label, f->length,
					   f->digits, f->precision, f->scale, f->nillable,
					   f->createable, f->updateable, f->defaulted,
					   f->calculated, f->external_id, f->default_true,
					   f->reference_to, f->atttype);
	}
	sql_end(&sql);
	catalog_changed();
}

/*
 * Tells the capture triggers of all backends, when the transaction commits,
 * that what is synced, or how, has changed.
 */
void
catalog_changed(void)
{
	CacheInvalidateRelcacheByRelid(catalog_object_table());
}

Oid
catalog_object_table(void)
{
	return get_relname_relid("object", get_namespace_oid("sync", false));
}

/* Whether creates were upserts by this field; they no longer are. */
bool
catalog_external_id_left(const SyncObject *object, const char *field)
{
	SqlScope	sql;
	bool		was;

	sql_begin(&sql);
	was = sql_run(&sql, "UPDATE sync.object SET external_id = NULL"
				  " WHERE server = $1 AND object = $2 AND external_id = $3",
				  "ntt", object->server, object->object, field) > 0;
	sql_end(&sql);
	return was;
}

void
catalog_remove_field(const SyncObject *object, const char *field)
{
	RUN("DELETE FROM sync.field"
		" WHERE server = $1 AND object = $2 AND field = $3",
		"ntt", object->server, object->object, field);
	catalog_changed();
}

void
catalog_column_kept(const SyncObject *object, AttrNumber attnum)
{
	RUN("UPDATE sync.progress SET kept = kept || $3::pg_catalog.int2"
		" WHERE server = $1 AND object = $2",
		"nti", object->server, object->object, (int32) attnum);
}

bool
catalog_column_taken(const SyncObject *object, AttrNumber attnum)
{
	SqlScope	sql;
	bool		kept;

	sql_begin(&sql);
	kept = sql_run(&sql,
				   "UPDATE sync.progress SET"
				   " kept = pg_catalog.array_remove(kept, $3::pg_catalog.int2)"
				   " WHERE server = $1 AND object = $2"
				   " AND $3::pg_catalog.int2 = ANY (kept)",
				   "nti", object->server, object->object, (int32) attnum) > 0;
	sql_end(&sql);
	return kept;
}

/*
 * Progress of a server
 */

void
catalog_cycle_at_once(const char *server)
{
	RUN("UPDATE sync.server_progress SET next_cycle = NULL"
		" WHERE server = $1", "n", server);
}

void
catalog_cycle_done(const char *server, TimestampTz next_cycle)
{
	RUN("UPDATE sync.server_progress SET next_cycle = $2,"
		" last_cycle = now() WHERE server = $1", "nz", server, next_cycle);
}

void
catalog_server_recovered(const char *server)
{
	RUN("UPDATE sync.server_progress SET failures = 0, retry_at = NULL,"
		" last_error = NULL WHERE server = $1", "n", server);
	catalog_steps_recovered(server, NULL, false);
}

bool
catalog_follow_resume(const char *server)
{
	SqlScope	sql;
	bool		resumed;

	sql_begin(&sql);
	resumed = sql_run(&sql,
					  "UPDATE sync.server_progress p SET resumed = s.resumed,"
					  " retry_at = NULL, next_cycle = NULL FROM sync.server s"
					  " WHERE s.server = $1 AND p.server = s.server"
					  " AND s.resumed IS DISTINCT FROM p.resumed",
					  "n", server) > 0;
	if (resumed)
		(void) sql_run(&sql, "UPDATE sync.progress SET retry_at = NULL"
					   " WHERE server = $1", "n", server);
	sql_end(&sql);
	return resumed;
}

/* What the org allows in a day, as seen last; 0 = never seen. */
int64
catalog_limit_max(const char *server)
{
	SqlScope	sql;
	int64		limit = 0;

	sql_begin(&sql);
	if (sql_run(&sql, "SELECT limit_max FROM sync.server_progress"
				" WHERE server = $1", "n", server) > 0)
		limit = sql_int(&sql, 0, 1);
	sql_end(&sql);
	return limit;
}

void
catalog_server_failed(const char *server, TimestampTz retry_at,
					  const char *error)
{
	RUN("UPDATE sync.server_progress SET failures = failures + 1,"
		" retry_at = $2, last_error = $3 WHERE server = $1",
		"nzt", server, retry_at, error);
}

void
catalog_limits(const char *server, int64 used, int64 max)
{
	RUN("UPDATE sync.server_progress SET limit_used = $2, limit_max = $3"
		" WHERE server = $1",
		"nll", server, used, max);
}

void
catalog_count_calls(const char *server, const char *kind, int64 calls)
{
	RUN("INSERT INTO sync.calls (server, hour, kind, calls)"
		" VALUES ($1, date_trunc('hour', now()), $2, $3)",
		"ntl", server, kind, calls);
}

int64
catalog_calls_today(const char *server)
{
	SqlScope	sql;
	int64		calls;

	sql_begin(&sql);
	(void) sql_run(&sql,
				   "SELECT coalesce(sum(calls), 0)::pg_catalog.int8"
				   " FROM sync.calls WHERE server = $1"
				   " AND hour > now() - interval '24 hours'",
				   "n", server);
	calls = sql_int(&sql, 0, 1);
	sql_end(&sql);
	return calls;
}

/*
 * sync.log
 */

int64
catalog_next_run(void)
{
	SqlScope	sql;
	int64		run;

	sql_begin(&sql);
	(void) sql_run(&sql, "SELECT nextval('sync.run')", "");
	run = sql_int(&sql, 0, 1);
	sql_end(&sql);
	return run;
}

int64
catalog_log_start(int64 run, const char *server, const char *object,
				  const char *operation)
{
	SqlScope	sql;
	int64		seq;

	sql_begin(&sql);
	(void) sql_run(&sql,
				   "INSERT INTO sync.log (run, server, object, operation,"
				   " started, outcome, pid)"
				   " VALUES ($1, $2, $3, $4, clock_timestamp(),"
				   " 'running', $5) RETURNING seq",
				   "lntti", run, server, object, operation, MyProcPid);
	seq = sql_int(&sql, 0, 1);
	sql_end(&sql);
	return seq;
}

void
catalog_log_end(int64 seq, const SyncCounts *counts, const char *outcome)
{
	RUN("UPDATE sync.log SET ended = clock_timestamp(), pid = NULL,"
		" new = $2, updated = $3, deleted = $4, skipped = $5, failed = $6,"
		" calls = $7, outcome = $8 WHERE seq = $1",
		"lllllllt", seq, counts->inserted, counts->updated, counts->deleted,
		counts->skipped, counts->failed, counts->calls, outcome);
}

void
catalog_log_whole(int64 run, const char *server, const char *object,
				  const char *operation, TimestampTz started,
				  const SyncCounts *counts, const char *outcome)
{
	RUN("INSERT INTO sync.log (run, server, object, operation, started, ended,"
		" new, updated, deleted, skipped, failed, calls, outcome)"
		" VALUES ($1, $2, $3, $4, $5, clock_timestamp(), $6, $7,"
		" $8, $9, $10, $11, $12)",
		"lnttLllllllt", run, server, object, operation, started,
		counts->inserted, counts->updated, counts->deleted, counts->skipped,
		counts->failed, counts->calls, outcome);
}

/* Steps whose process is gone did not end; say so. */
void
catalog_log_interrupted(const char *server)
{
	RUN("UPDATE sync.log SET outcome = 'interrupted', pid = NULL,"
		" ended = clock_timestamp()"
		" WHERE server = $1 AND outcome = 'running' AND NOT EXISTS"
		" (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.pid = log.pid)",
		"n", server);
}

void
catalog_log_trim(const char *server, TimestampTz before)
{
	RUN("DELETE FROM sync.log WHERE server = $1 AND started < $2"
		" AND outcome <> 'running'", "nL", server, before);
	RUN("DELETE FROM sync.conflicts WHERE server = $1"
		" AND happened < least($2, now() - interval '90 days')",
		"nL", server, before);
	RUN("DELETE FROM sync.calls WHERE server = $1"
		" AND hour < least($2, now() - interval '25 hours')",
		"nL", server, before);
	RUN("WITH old AS (DELETE FROM sync.calls WHERE server = $1"
		" AND hour < date_trunc('hour', now()) AND (hour, kind) IN"
		" (SELECT hour, kind FROM sync.calls WHERE server = $1"
		" GROUP BY hour, kind HAVING count(*) > 1)"
		" RETURNING hour, kind, calls)"
		" INSERT INTO sync.calls (server, hour, kind, calls)"
		" SELECT $1, hour, kind, sum(calls) FROM old GROUP BY hour, kind",
		"n", server);
}

/*
 * sync.failures
 */

void
catalog_failure(const char *server, const char *object,
				const char *operation, const char *record, const char *code,
				const char *message, const char *hint, List *fields)
{
	RUN("INSERT INTO sync.failures AS f (server, object, operation, record,"
		" code, message, hint, fields) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
		" ON CONFLICT (server, coalesce(object, ''), operation,"
		" coalesce(record, ''), code) DO UPDATE SET"
		" message = $6, hint = $7, fields = $8, count = f.count + 1,"
		" last_seen = clock_timestamp()",
		"nttttttT", server, object, operation, record, code, message, hint,
		fields);
}

/* A record that Salesforce refused. */
void
catalog_refusal(const char *server, const char *object, const char *record,
				const char *code, const char *message, List *fields)
{
	RUN("INSERT INTO sync.failures AS f (server, object, operation, record,"
		" code, message, fields, hint)"
		" VALUES ($1, $2, 'push', $3, $4, $5, $6,"
		" 'Change the row, or sync.retry(server, object); sync.discard(seq) gives the change up.')"
		" ON CONFLICT (server, coalesce(object, ''), operation,"
		" coalesce(record, ''), code) DO UPDATE SET"
		" message = $5, fields = $6, count = f.count + 1,"
		" last_seen = clock_timestamp()",
		"nttttT", server, object, record, code, message, fields);
}

void
catalog_records_recovered(const char *server, const char *object,
						  const char *operation, List *records)
{
	SqlScope	sql;

	sql_begin(&sql);
	sql_avoid_nested_loops(&sql);
	(void) sql_run(&sql,
				   "DELETE FROM sync.failures WHERE server = $1"
				   " AND object = $2 AND operation = $3"
				   " AND record IN (SELECT unnest($4))",
				   "nttT", server, object, operation, records);
	sql_end(&sql);
}

void
catalog_steps_recovered(const char *server, const char *object, bool push)
{
	RUN("DELETE FROM sync.failures WHERE server = $1"
		" AND object IS NOT DISTINCT FROM $2 AND record IS NULL"
		" AND operation <> 'guard'"
		" AND ($2 IS NULL OR (operation = 'push') = $3)",
		"ntb", server, object, push);
}

#define REFUSED_BEFORE \
	" FROM sync.failures WHERE server = $1 AND object = $2" \
	" AND record IS NOT NULL AND operation IN ('copy', 'pull')" \
	" AND last_seen < $3"

void
catalog_rows_recovered(const SyncObject *object, Oid stage, TimestampTz since)
{
	SqlScope	sql;
	List	   *records;

	sql_begin(&sql);
	records = sql_texts(&sql, sql_run(&sql, "SELECT record" REFUSED_BEFORE,
									  "ntL", object->server, object->object,
									  since));
	sql_end(&sql);
	if (records != NIL)
		records = stage_ids(stage, records);
	if (records != NIL)
		RUN("DELETE" REFUSED_BEFORE " AND record IN (SELECT unnest($4))",
			"ntLT", object->server, object->object, since, records);
}

void
catalog_read_again(const SyncObject *object, const char *id)
{
	if (object->direction == DIRECTION_TO)
		return;
	RUN("INSERT INTO sync.failures AS f (server, object, operation, record,"
		" code, message, first_seen, last_seen)"
		" VALUES ($1, $2, 'pull', $3, 'DISCARDED',"
		" 'a local change was given up; the row is read again', now(),"
		" '-infinity')"
		" ON CONFLICT (server, coalesce(object, ''), operation,"
		" coalesce(record, ''), code) DO UPDATE SET last_seen = '-infinity'",
		"ntt", object->server, object->object, id);
}

void
catalog_records_retried(const SyncObject *object, List *records,
						TimestampTz since)
{
	RUN("DELETE FROM sync.failures WHERE server = $1 AND object = $2"
		" AND operation IN ('copy', 'pull') AND last_seen < $3"
		" AND record IN (SELECT unnest($4))",
		"ntLT", object->server, object->object, since, records);
}

List *
catalog_failed_records(const SyncObject *object, bool deletes,
					   TimestampTz before, int limit)
{
	SqlScope	sql;
	List	   *ids;

	sql_begin(&sql);
	ids = sql_texts(&sql,
					sql_run(&sql,
							"SELECT record FROM sync.failures f WHERE server = $1"
							" AND object = $2 AND record <> ''"
							" AND operation IN ('copy', 'pull', 'deletes')"
							" AND (operation = 'deletes') = $5"
							" AND (last_seen < $3 OR " IS_ORPHAN_DUE
							" OR " IS_ROW_SOON
							" AND " ROW_DUE " <= clock_timestamp())"
							" ORDER BY last_seen LIMIT $4",
							"ntLib", object->server, object->object, before,
							limit, deletes));
	sql_end(&sql);
	return ids;
}

List *
catalog_rows_soon(const SyncObject *object)
{
	SqlScope	sql;
	List	   *ids;

	sql_begin(&sql);
	ids = sql_texts(&sql, sql_run(&sql, "SELECT DISTINCT f.record"
								  " FROM sync.failures f WHERE f.server = $1"
								  " AND f.object = $2 AND " IS_ROW_SOON
								  " AND f.code <> 'DISCARDED'",
								  "nt", object->server, object->object));
	sql_end(&sql);
	return ids;
}

void
catalog_rows_later(const SyncObject *object)
{
	RUN("UPDATE sync.failures f SET count = count + 1,"
		" last_seen = clock_timestamp() WHERE f.server = $1 AND f.object = $2"
		" AND " IS_ROW_SOON " AND f.code <> 'DISCARDED'",
		"nt", object->server, object->object);
}

/*
 * What is told goes to whoever listens.  A code may come from the org, which can
 * put anything there, values of records among it.
 */
const char *
catalog_code(const char *code)
{
	size_t		length = strlen(code);

	if (length == 0 || length > MAX_CODE ||
		strspn(code, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") < length)
		return "UNKNOWN";
	return code;
}

void
catalog_notify(const char *event, const char *server, const char *object,
			   const char *detail)
{
	StringInfoData payload;

	initStringInfo(&payload);
	appendStringInfoString(&payload, "{\"event\": ");
	escape_json(&payload, event);
	appendStringInfoString(&payload, ", \"server\": ");
	escape_json(&payload, server);
	if (object)
	{
		appendStringInfoString(&payload, ", \"object\": ");
		escape_json(&payload, object);
	}
	if (detail)
	{
		int			room = pg_mbcliplen(detail, strlen(detail), 1000);

		appendStringInfoString(&payload, ", \"detail\": ");
		escape_json(&payload, pnstrdup(detail, room));
	}
	appendStringInfoChar(&payload, '}');
	Async_Notify("sync", payload.data);
}

/*
 * Processes
 */

void
catalog_worker_started(Oid serverid, int pid)
{
	RUN("INSERT INTO sync.worker (serverid, pid) VALUES ($1, $2)"
		" ON CONFLICT (serverid) DO UPDATE SET pid = $2",
		"oi", serverid, pid);
	CacheInvalidateRelcacheByRelid(catalog_worker_table());
}

void
catalog_worker_leaves(Oid serverid)
{
	RUN("DELETE FROM sync.worker WHERE serverid = $1", "o", serverid);
}

/* Its invalidation says that a worker has started. */
Oid
catalog_worker_table(void)
{
	return get_relname_relid("worker", get_namespace_oid("sync", false));
}

int
catalog_worker_pid(Oid serverid)
{
	SqlScope	sql;
	int			pid = 0;

	sql_begin_latest(&sql);
	if (sql_run(&sql, "SELECT pid FROM sync.worker WHERE serverid = $1",
				"o", serverid) > 0)
		pid = (int) sql_int(&sql, 0, 1);
	sql_end(&sql);
	return pid;
}

/*
 * Which copy of the database this is.  A dump restored elsewhere, or a copy
 * made with CREATE DATABASE ... TEMPLATE, differs; a physical standby after
 * failover does not.
 */
char *
catalog_origin(void)
{
	return psprintf(UINT64_FORMAT "/%u", GetSystemIdentifier(), MyDatabaseId);
}

/*
 * Which history of which copy of the database this is: another after each
 * promotion and each recovery to a point in time, which may have lost what the
 * one before had noted of its sending.
 */
char *
catalog_timeline(void)
{
	return psprintf("%s/%u", catalog_origin(), present_timeline());
}

/*
 * A server's oid is known, and its name is not.  Here its oid tells which one it
 * is, even if another has its old name now; in a restored copy (another origin)
 * oids say nothing unless the name is gone.
 */
#define IS_RENAMED \
	" f.oid = s.serverid AND f.srvname <> s.server AND (s.origin = $1" \
	" OR NOT EXISTS (SELECT FROM pg_catalog.pg_foreign_server g" \
	" WHERE g.srvname = s.server))"

/* What happened is told under the server's new name, too. */
static void
rename_to(SqlScope *sql, const char *origin, const char *name)
{
	static const char *const tables[] = {"log", "failures", "calls",
	"conflicts", "server"};

	for (size_t i = 0; i < lengthof(tables); i++)
		(void) sql_run(sql,
					   psprintf("UPDATE sync.%s t SET server = %s"
								" FROM sync.server s"
								" JOIN pg_catalog.pg_foreign_server f ON" IS_RENAMED
								" WHERE t.server = s.server", tables[i], name),
					   "t", origin);
}

/* By way of names that nobody has: two servers may have swapped theirs. */
static void
follow_renames(SqlScope *sql, const char *origin)
{
	if (sql_run(sql,
				"SELECT FROM sync.server s JOIN pg_catalog.pg_foreign_server f"
				" ON" IS_RENAMED, "t", origin) == 0)
		return;
	rename_to(sql, origin, "('sync ' || s.serverid)::pg_catalog.name");
	rename_to(sql, origin, "f.srvname");
}

/* Servers whose outbox was sent from in another history. */
static void
follow_timeline(SqlScope *sql)
{
	char	   *timeline = catalog_timeline();
	List	   *servers;
	ListCell   *lc;

	servers = sql_texts(sql, sql_run(sql,
									 "SELECT server FROM sync.server"
									 " WHERE timeline IS DISTINCT FROM $1", "t",
									 timeline));
	foreach(lc, servers)
	{
		outbox_doubt_creates(lfirst(lc));
		(void) sql_run(sql,
					   "UPDATE sync.server SET timeline = $2 WHERE server = $1",
					   "nt", (char *) lfirst(lc), timeline);
	}
}

void
catalog_reconcile(void)
{
	SqlScope	sql;
	char	   *origin = catalog_origin();

	sql_begin(&sql);
	follow_renames(&sql, origin);
	/* Restored: the name is known, with another oid. */
	(void) sql_run(&sql,
				   "UPDATE sync.server s SET serverid = f.oid"
				   " FROM pg_catalog.pg_foreign_server f"
				   " WHERE f.srvname = s.server AND f.oid <> s.serverid"
				   " AND (s.origin <> $1 OR NOT EXISTS"
				   " (SELECT FROM pg_catalog.pg_foreign_server g"
				   " WHERE g.oid = s.serverid))", "t", origin);
	/* Columns have other numbers in what was restored. */
	(void) sql_run(&sql,
				   "UPDATE sync.progress p SET kept = '{}' FROM sync.server s"
				   " WHERE s.server = p.server AND s.origin <> $1",
				   "t", origin);
	if (sql_run(&sql,
				"UPDATE sync.field f SET attnum = NULL FROM sync.server s"
				" WHERE s.server = f.server AND s.origin <> $1",
				"t", origin) > 0)
		catalog_changed();
	(void) sql_run(&sql,
				   "UPDATE sync.server SET paused = true, origin = $1"
				   " WHERE origin <> $1", "t", origin);
	follow_timeline(&sql);
	sql_end(&sql);
}

void
catalog_org_known(const char *server, const char *org_id)
{
	RUN("UPDATE sync.server SET org_id = $2"
		" WHERE server = $1 AND org_id IS NULL", "nt", server, org_id);
}

void
catalog_accept_org(const char *server)
{
	RUN("DELETE FROM sync.attempt WHERE server = $1", "n", server);
	RUN("UPDATE sync.server s SET org_id ="
		" (SELECT n.org_id FROM sync.session n WHERE n.serverid = s.serverid)"
		" WHERE server = $1", "n", server);
}
