/*-------------------------------------------------------------------------
 *
 * outbox.c
 *	  What waits to go out, and what has been sent and not answered.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "tables/merge.h"
#include "tables/outbox.h"
#include "tables/relation.h"
#include "tables/sql.h"

/* Statements that change rows, all found by their keys. */
#define RUN(...) \
	do { \
		SqlScope	sql_; \
		sql_begin(&sql_); \
		sql_prefer_indexes(&sql_); \
		(void) sql_run(&sql_, __VA_ARGS__); \
		sql_end(&sql_); \
	} while (0)

/* Changes that may be sent now. */
#define IS_DUE \
	"c.state = 'p' AND c.attempt IS NULL" \
	" AND (c.next_attempt IS NULL OR c.next_attempt <= clock_timestamp())"

/* The record exists, but the row has not got its id yet. */
#define HAS_ID_TO_COME \
	"EXISTS (SELECT FROM sync.local_id l" \
	" WHERE l.provisional = c.id AND NOT l.replaced)"

/* Objects that go out at all. */
#define GOES_OUT	"o.enabled AND o.direction <> 'from'"

/*
 * Something is to be done about them: sent, or set aside if the direction of
 * their object became from while their outcome was not known.
 */
#define IS_CONCERN	"o.enabled"

/* All changes, in words that the primary key can be used for. */
#define ANY_CHANGE	"c.seq > 0"

/* For statements that read all of the outbox, at each turn of the worker. */
static void
begin_reading_all(SqlScope *sql)
{
	sql_begin(sql);
	sql_avoid_nested_loops(sql);
	sql_prefer_indexes(sql);
}

bool
outbox_is_due(const char *server)
{
	SqlScope	sql;
	bool		due;

	begin_reading_all(&sql);
	due = sql_run(&sql,
				  "SELECT FROM sync.change c"
				  " JOIN sync.object o ON o.relation = c.relation"
				  " WHERE " ANY_CHANGE " AND o.server = $1 AND " IS_CONCERN
				  " AND " IS_DUE " AND NOT " HAS_ID_TO_COME
				  " LIMIT 1", "n", server) > 0;
	sql_end(&sql);
	return due;
}

TimestampTz
outbox_next(const char *server)
{
	SqlScope	sql;
	TimestampTz next;

	begin_reading_all(&sql);
	(void) sql_run(&sql,
				   "SELECT min(c.next_attempt) FROM sync.change c"
				   " JOIN sync.object o ON o.relation = c.relation"
				   " WHERE " ANY_CHANGE " AND o.server = $1 AND " IS_CONCERN
				   " AND c.state = 'p' AND c.attempt IS NULL", "n", server);
	next = sql_time(&sql, 0, 1);
	sql_end(&sql);
	return next;
}

/* The lock that capture takes belongs to no process then. */
bool
outbox_is_prepared(void)
{
	SqlScope	sql;
	bool		prepared;

	sql_begin(&sql);
	prepared = sql_run(&sql,
					   "SELECT FROM pg_catalog.pg_locks l"
					   " WHERE l.locktype = 'relation' AND l.pid IS NULL"
					   " AND l.relation = 'sync.change'::pg_catalog.regclass"
					   " AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d"
					   " WHERE d.datname = current_database())"
					   " LIMIT 1", "") > 0;
	sql_end(&sql);
	return prepared;
}

#define CHANGE_COLUMNS \
	" c.seq, c.relation::pg_catalog.oid, c.id, c.operation::pg_catalog.text, c.changes, c.captured," \
	" c.state::pg_catalog.text, c.attempts, c.txn, c.command"

static List *
read_changes(SqlScope *sql, uint64 n)
{
	List	   *changes = NIL;

	MemoryContextSwitchTo(sql->caller);
	for (uint64 i = 0; i < n; i++)
	{
		OutboxChange *change = palloc(sizeof(OutboxChange));

		change->seq = sql_int(sql, i, 1);
		change->relid = (Oid) sql_int(sql, i, 2);
		change->id = sql_text(sql, i, 3);
		change->operation = sql_text(sql, i, 4)[0];
		change->changes = sql_text(sql, i, 5);
		change->captured = sql_time(sql, i, 6);
		change->state = sql_text(sql, i, 7)[0];
		change->attempts = (int) sql_int(sql, i, 8);
		change->txn = sql_int(sql, i, 9);
		change->command = sql_int(sql, i, 10);
		changes = lappend(changes, change);
	}
	return changes;
}

/* A row whose changes may have been cut off by the limit waits. */
static List *
drop_last_row(List *changes)
{
	OutboxChange *last = (OutboxChange *) llast(changes);
	int			n = list_length(changes);

	while (n > 0 && strcmp(((OutboxChange *) list_nth(changes, n - 1))->id,
						   last->id) == 0)
		n--;
	return n == 0 ? changes : list_truncate(changes, n);
}

List *
outbox_due_tables(const char *server, Oid only, const int64 *except,
				  int nexcept)
{
	SqlScope	sql;
	List	   *relids = NIL;
	uint64		n;

	begin_reading_all(&sql);
	n = sql_run(&sql,
				"SELECT DISTINCT c.relation::pg_catalog.oid FROM sync.change c"
				" JOIN sync.object o ON o.relation = c.relation"
				" JOIN sync.server s USING (server)"
				" WHERE " ANY_CHANGE " AND o.server = $1 AND NOT s.paused"
				" AND " GOES_OUT " AND " IS_DUE
				" AND ($2 = 0::pg_catalog.oid OR o.relation = $2)"
				" AND NOT (o.relation::pg_catalog.oid::pg_catalog.int8 = ANY ($3))"
				" ORDER BY 1", "noS", server, only, except, nexcept);
	MemoryContextSwitchTo(sql.caller);
	for (uint64 i = 0; i < n; i++)
		relids = lappend_oid(relids, (Oid) sql_int(&sql, i, 1));
	sql_end(&sql);
	return relids;
}

/*
 * Changes of one round, in bytes of their JSON.  Taken apart, with the requests
 * that are made of them, they take about four times as much memory.
 */
#define MAX_ROUND_BYTES	(16 * 1024 * 1024)

static bool
is_full(List *changes, int max_changes)
{
	Size		bytes = 0;
	ListCell   *lc;

	foreach(lc, changes)
		bytes += strlen(((OutboxChange *) lfirst(lc))->changes);
	return list_length(changes) == max_changes || bytes >= MAX_ROUND_BYTES;
}

List *
outbox_take(const int64 *among, int namong, int max_changes)
{
	SqlScope	sql;
	List	   *changes;

	begin_reading_all(&sql);
	changes = read_changes(&sql,
						   sql_run(&sql,
								   "SELECT" CHANGE_COLUMNS " FROM (SELECT c.*,"
								   " sum(octet_length(c.changes::pg_catalog.text))"
								   " OVER (ORDER BY c.first, c.seq ROWS BETWEEN"
								   " UNBOUNDED PRECEDING AND 1 PRECEDING) AS bytes"
								   " FROM (SELECT c.*, min(c.seq) FILTER"
								   " (WHERE " IS_DUE ") OVER w AS first,"
								   " bool_or(c.attempt IS NOT NULL) OVER w AS sent"
								   " FROM sync.change c WHERE " ANY_CHANGE
								   " AND c.relation::pg_catalog.oid::pg_catalog.int8 = ANY ($1)"
								   " WINDOW w AS (PARTITION BY c.relation, c.id)) AS c"
								   " WHERE c.first IS NOT NULL AND NOT c.sent"
								   " AND NOT " HAS_ID_TO_COME
								   " ORDER BY c.first, c.seq LIMIT $2) AS c"
								   " WHERE coalesce(c.bytes, 0) < $3"
								   " ORDER BY c.first, c.seq",
								   "Sii", among, namong, max_changes,
								   MAX_ROUND_BYTES));
	sql_end(&sql);
	if (is_full(changes, max_changes))
		changes = drop_last_row(changes);
	return changes;
}

List *
outbox_of_attempt(int64 attempt)
{
	SqlScope	sql;
	List	   *changes;

	sql_begin(&sql);
	changes = read_changes(&sql, sql_run(&sql,
										 "SELECT" CHANGE_COLUMNS
										 " FROM sync.change c"
										 " WHERE c.attempt = $1 ORDER BY c.seq",
										 "l", attempt));
	sql_end(&sql);
	return changes;
}

List *
outbox_of_rows(Oid relid, Oid stage)
{
	SqlScope	sql;
	bool		any;

	begin_reading_all(&sql);
	any = sql_run(&sql,
				  "SELECT FROM sync.change c WHERE " ANY_CHANGE
				  " AND c.relation = $1 LIMIT 1", "o", relid) > 0;
	sql_end(&sql);
	return any ? outbox_of_ids(relid, stage_ids(stage, NIL)) : NIL;
}

List *
outbox_of_ids(Oid relid, List *ids)
{
	SqlScope	sql;
	List	   *changes;

	if (ids == NIL)
		return NIL;
	sql_begin(&sql);
	sql_avoid_nested_loops(&sql);
	changes = read_changes(&sql, sql_run(&sql,
										 "SELECT" CHANGE_COLUMNS
										 " FROM sync.change c WHERE c.relation = $1"
										 " AND c.id IN (SELECT unnest($2))"
										 " ORDER BY c.id, c.seq",
										 "oT", relid, ids));
	sql_end(&sql);
	return changes;
}

OutboxChange *
outbox_change(int64 seq)
{
	SqlScope	sql;
	List	   *changes;

	sql_begin(&sql);
	changes = read_changes(&sql, sql_run(&sql,
										 "SELECT" CHANGE_COLUMNS
										 " FROM sync.change c"
										 " WHERE c.seq = $1 AND c.attempt IS NULL",
										 "l", seq));
	sql_end(&sql);
	return changes == NIL ? NULL : (OutboxChange *) linitial(changes);
}

/* Rows that were updated, and of which nothing else waits or has been sent. */
#define ONLY_UPDATED \
	" FROM sync.change c WHERE c.relation = $1 GROUP BY c.id" \
	" HAVING bool_and(c.operation = 'U' AND c.attempt IS NULL)"

/* Of these rows those that the table does not have. */
static List *
missing_rows(Oid relid, List *ids)
{
	SqlScope	sql;
	List	   *missing;

	if (ids == NIL)
		return NIL;
	sql_begin_on(&sql, relid);
	missing = sql_texts(&sql,
						sql_run(&sql,
								psprintf("SELECT u.id FROM unnest($1) AS u (id)"
										 " WHERE NOT EXISTS"
										 " (SELECT FROM %s t WHERE t.id = u.id)",
										 relation_rows(relid)), "T", ids));
	sql_end(&sql);
	return missing;
}

List *
outbox_of_gone(Oid relid)
{
	SqlScope	sql;
	List	   *ids;
	List	   *changes;

	sql_begin(&sql);
	ids = sql_texts(&sql, sql_run(&sql, "SELECT c.id" ONLY_UPDATED, "o",
								  relid));
	sql_end(&sql);
	ids = missing_rows(relid, ids);
	if (ids == NIL)
		return NIL;
	sql_begin(&sql);
	sql_avoid_nested_loops(&sql);
	changes = read_changes(&sql, sql_run(&sql,
										 "SELECT" CHANGE_COLUMNS
										 " FROM sync.change c WHERE c.relation = $1"
										 " AND c.id IN (SELECT unnest($2))"
										 " AND c.id IN (SELECT c.id" ONLY_UPDATED ")"
										 " ORDER BY c.id, c.seq",
										 "oT", relid, ids));
	sql_end(&sql);
	return changes;
}

List *
outbox_dangling(List *ids)
{
	SqlScope	sql;
	List	   *dangling;

	sql_begin(&sql);
	dangling = sql_texts(&sql,
						 sql_run(&sql,
								 "SELECT CASE WHEN EXISTS"
								 " (SELECT FROM sync.change c WHERE c.id = u.id)"
								 " OR EXISTS (SELECT FROM sync.local_id l"
								 " WHERE l.provisional = u.id) THEN NULL ELSE u.id END"
								 " FROM unnest($1) WITH ORDINALITY AS u (id, n)"
								 " ORDER BY u.n", "T", ids));
	sql_end(&sql);
	return dangling;
}

/*
 * What was said of the row when it was refused goes with its changes.
 * Mostly there is nothing; else each row is one look into failures_step: OFFSET
 * keeps the planner, which may have met an empty table, from comparing each
 * with each.
 */
void
outbox_done(const int64 *seqs, int n)
{
	RUN("WITH gone AS (DELETE FROM sync.change WHERE seq = ANY ($1)"
		" RETURNING relation, id)"
		" DELETE FROM sync.failures WHERE seq IN"
		" (SELECT f.seq FROM gone g"
		" JOIN sync.object o ON o.relation = g.relation,"
		" LATERAL (SELECT f.seq FROM sync.failures f"
		" WHERE f.server = o.server AND coalesce(f.object, '') = o.object"
		" AND f.operation = 'push'"
		" AND coalesce(f.record, '') = g.id COLLATE \"default\""
		" OFFSET 0) AS f"
		" WHERE EXISTS (SELECT FROM sync.failures))", "S", seqs, n);
}

void
outbox_again(const int64 *seqs, int n, TimestampTz next)
{
	RUN("UPDATE sync.change SET state = 'p', attempt = NULL,"
		" attempts = attempts + 1, next_attempt = $2 WHERE seq = ANY ($1)",
		"Sz", seqs, n, next);
}

void
outbox_defer(const int64 *seqs, int n, TimestampTz next)
{
	RUN("UPDATE sync.change SET next_attempt = $2 WHERE seq = ANY ($1)",
		"Sz", seqs, n, next);
}

void
outbox_undefer(const char *server)
{
	RUN("UPDATE sync.change c SET next_attempt = NULL FROM sync.object o"
		" WHERE " ANY_CHANGE " AND o.relation = c.relation AND o.server = $1"
		" AND c.state = 'p' AND c.next_attempt IS NOT NULL"
		" AND c.changes::pg_catalog.text LIKE '%\"~%'", "n", server);
}

void
outbox_refuse(const int64 *seqs, int n)
{
	RUN("UPDATE sync.change SET state = 'r', attempt = NULL,"
		" attempts = attempts + 1, next_attempt = NULL WHERE seq = ANY ($1)",
		"S", seqs, n);
}

/* In the caller's scope: of one object, or ($2) of all whose direction is from. */
#define OF_OBJECT \
	" AND o.server = $1 AND o.enabled AND CASE WHEN $2 = 0::pg_catalog.oid" \
	" THEN o.direction = 'from' AND c.state = 'p'" \
	" ELSE o.relation = $2 END AND c.attempt IS NULL"

int64
outbox_set_aside(const char *server, Oid relid)
{
	SqlScope	sql;
	int64		n;

	begin_reading_all(&sql);
	(void) sql_run(&sql,
				   "INSERT INTO sync.failures (server, object, operation,"
				   " record, code, message, hint)"
				   " SELECT DISTINCT o.server, o.object, 'push', c.id, 'DIRECTION',"
				   " 'the object comes from Salesforce only since its direction was set to from',"
				   " 'sync.set(server, object, ''direction'', ''both'') and sync.retry send the change; sync.discard(seq) gives it up.'"
				   " FROM sync.change c, sync.object o"
				   " WHERE " ANY_CHANGE " AND o.relation = c.relation" OF_OBJECT
				   " ON CONFLICT DO NOTHING", "no", server, relid);
	n = sql_run(&sql,
				"UPDATE sync.change c SET state = 'r', next_attempt = NULL"
				" FROM sync.object o"
				" WHERE " ANY_CHANGE " AND o.relation = c.relation" OF_OBJECT,
				"no", server, relid);
	sql_end(&sql);
	return n;
}

List *
outbox_note_settled(const char *server)
{
	SqlScope	sql;
	List	   *objects;

	sql_begin(&sql);
	objects = sql_texts(&sql,
						sql_run(&sql,
								"DELETE FROM sync.failures f WHERE f.server = $1"
								" AND f.operation = 'push' AND f.record IS NULL"
								" AND NOT EXISTS (SELECT FROM sync.object o"
								" JOIN sync.change c ON c.relation = o.relation"
								" WHERE o.server = $1 AND o.object = f.object"
								" AND o.enabled AND c.state = 'p')"
								" RETURNING f.object", "n", server));
	sql_end(&sql);
	return objects;
}

int64
outbox_set_all_aside(const SyncObject *object, const char *code,
					 const char *message, const char *hint)
{
	SqlScope	sql;
	int64		n;

	sql_begin(&sql);
	n = sql_run(&sql,
				"UPDATE sync.change SET state = 'r', next_attempt = NULL,"
				" attempt = NULL WHERE relation = $1", "o", object->relid);
	(void) sql_run(&sql,
				   "INSERT INTO sync.failures (server, object, operation,"
				   " record, code, message, hint)"
				   " SELECT DISTINCT $1, $2, 'push', c.id, $4, $5, $6"
				   " FROM sync.change c WHERE c.relation = $3"
				   " ON CONFLICT DO NOTHING",
				   "ntottt", object->server, object->object, object->relid,
				   code, message, hint);
	sql_end(&sql);
	return n;
}

/*
 * All changes of a row that was made, for any of them may have gone out with it,
 * and the part that they are in: so that one answer of the org can hold what is
 * looked for, and an upsert be repeated in one call, an attempt has 200 rows.
 */
#define DOUBTED \
	"SELECT c.seq, o.object, o.external_id, c.captured," \
	" (pg_catalog.dense_rank() OVER (PARTITION BY o.object ORDER BY i.seq)" \
	" - 1) / 200 AS part" \
	" FROM sync.object o JOIN sync.change i ON i.relation = o.relation" \
	" JOIN sync.change c ON c.relation = i.relation AND c.id = i.id" \
	" AND c.seq >= i.seq AND c.operation <> 'D' AND c.attempt IS NULL" \
	" WHERE o.server = $1 AND i.operation = 'I' AND i.state = 'p'" \
	" AND i.attempt IS NULL"

void
outbox_doubt_creates(const char *server)
{
	RUN("WITH doubted AS MATERIALIZED (" DOUBTED "), attempts AS ("
		"INSERT INTO sync.attempt"
		" (server, object, verb, started, in_doubt, guessed, external_id)"
		" SELECT $1, object, CASE WHEN external_id IS NULL THEN 'create'"
		" ELSE 'upsert' END, min(captured) - pg_catalog.interval '1 hour',"
		" pg_catalog.now(), true, external_id"
		" FROM doubted GROUP BY object, external_id, part ORDER BY object, part"
		" RETURNING attempt, object), numbered AS ("
		"SELECT attempt, object, pg_catalog.row_number()"
		" OVER (PARTITION BY object ORDER BY attempt) - 1 AS part FROM attempts)"
		" UPDATE sync.change c SET attempt = n.attempt"
		" FROM doubted d JOIN numbered n USING (object, part)"
		" WHERE c.seq = d.seq", "n", server);
}

List *
outbox_awaited(List *ids, const int64 *in_hand, int n, TimestampTz *until)
{
	SqlScope	sql;
	uint64		found;
	List	   *awaited;

	*until = 0;
	sql_begin(&sql);
	found = sql_run(&sql,
					"SELECT r.id, max(greatest(c.next_attempt,"
					" clock_timestamp() + pg_catalog.interval '5 s'))"
					" FROM sync.change c, LATERAL pg_catalog.regexp_matches("
					"c.changes::pg_catalog.text, '\"([a-zA-Z0-9]{18})\"', 'g') AS m,"
					" unnest($1) AS r (id)"
					" WHERE c.state = 'p' AND c.operation = 'U'"
					" AND r.id = m[1] AND NOT EXISTS"
					" (SELECT FROM unnest($2) AS h (seq) WHERE h.seq = c.seq)"
					" GROUP BY r.id", "TS", ids, in_hand, n);
	for (uint64 i = 0; i < found; i++)
		*until = Max(*until, sql_time(&sql, i, 2));
	awaited = sql_texts(&sql, found);
	sql_end(&sql);
	return awaited;
}

List *
outbox_columns_of(const OutboxChange *change)
{
	SqlScope	sql;
	List	   *columns;

	sql_begin(&sql);
	columns = sql_texts(&sql,
						sql_run(&sql,
								"SELECT k FROM json_object_keys($1::pg_catalog.json) k"
								" WHERE NOT EXISTS (SELECT FROM sync.change c"
								" WHERE c.relation = $2 AND c.id = $3 AND c.seq > $4"
								" AND c.changes::pg_catalog.jsonb ? k)",
								"totl", change->changes, change->relid,
								change->id, change->seq));
	sql_end(&sql);
	return columns;
}

void
outbox_sent(const int64 *seqs, int n, int64 attempt)
{
	RUN("UPDATE sync.change SET attempt = nullif($2, 0) WHERE seq = ANY ($1)",
		"Sl", seqs, n, attempt);
}

void
outbox_replace(const int64 *seqs, int n, char operation, const char *changes)
{
	char		op[2] = {operation, '\0'};

	RUN("UPDATE sync.change SET operation = $2::pg_catalog.\"char\", changes = $3::pg_catalog.json"
		" WHERE seq = $1", "ltt", seqs[n - 1], op, changes);
	if (n > 1)
		RUN("DELETE FROM sync.change WHERE seq = ANY ($1)", "S", seqs, n - 1);
}

void
outbox_add(int64 seq, Oid relid, const char *id, char operation,
		   const char *changes)
{
	char		op[2] = {operation, '\0'};

	RUN("INSERT INTO sync.change"
		" (seq, relation, id, operation, changes, captured)"
		" OVERRIDING SYSTEM VALUE"
		" VALUES ($1, $2, $3, $4::pg_catalog.\"char\", $5::pg_catalog.json, clock_timestamp())",
		"lottt", seq, relid, id, op, changes);
}

/*
 * Attempts
 */

int64
attempt_begin(const char *server, const char *object, const char *verb,
			  const char *external_id, TimestampTz started)
{
	SqlScope	sql;
	int64		attempt;

	sql_begin(&sql);
	(void) sql_run(&sql,
				   "INSERT INTO sync.attempt (server, object, verb, external_id,"
				   " started) VALUES ($1, $2, $3, $4, $5) RETURNING attempt",
				   "ntttL", server, object, verb,
				   strcmp(verb, "upsert") == 0 ? external_id : NULL, started);
	attempt = sql_int(&sql, 0, 1);
	sql_end(&sql);
	return attempt;
}

void
attempt_has_job(int64 attempt, const char *job)
{
	RUN("UPDATE sync.attempt SET job = $2 WHERE attempt = $1",
		"lt", attempt, job);
}

void
attempt_in_doubt(int64 attempt, bool may_run)
{
	RUN("UPDATE sync.attempt SET"
		" in_doubt = coalesce(in_doubt, clock_timestamp()), may_run = $2"
		" WHERE attempt = $1", "lb", attempt, may_run);
}

void
attempt_end(int64 attempt)
{
	RUN("DELETE FROM sync.attempt WHERE attempt = $1", "l", attempt);
}

List *
attempts_open(const char *server)
{
	SqlScope	sql;
	List	   *attempts = NIL;
	uint64		n;

	sql_begin(&sql);
	n = sql_run(&sql,
				"SELECT attempt, object, verb, started, sent, in_doubt, job,"
				" may_run, guessed, external_id"
				" FROM sync.attempt WHERE server = $1 ORDER BY attempt",
				"n", server);
	MemoryContextSwitchTo(sql.caller);
	for (uint64 i = 0; i < n; i++)
	{
		OutboxAttempt *attempt = palloc(sizeof(OutboxAttempt));

		attempt->attempt = sql_int(&sql, i, 1);
		attempt->object = sql_text(&sql, i, 2);
		attempt->verb = sql_text(&sql, i, 3);
		attempt->started = sql_time(&sql, i, 4);
		attempt->sent = sql_time(&sql, i, 5);
		attempt->in_doubt = sql_time(&sql, i, 6);
		attempt->job = sql_text(&sql, i, 7);
		attempt->may_run = sql_bool(&sql, i, 8);
		attempt->guessed = sql_bool(&sql, i, 9);
		attempt->external_id = sql_text(&sql, i, 10);
		attempts = lappend(attempts, attempt);
	}
	sql_end(&sql);
	return attempts;
}

TimestampTz
attempts_since(const char *server, const char *object)
{
	SqlScope	sql;
	TimestampTz since;

	sql_begin(&sql);
	(void) sql_run(&sql,
				   "SELECT min(started) FROM sync.attempt WHERE server = $1"
				   " AND object = $2 AND verb IN ('create', 'upsert')",
				   "nt", server, object);
	since = sql_time(&sql, 0, 1);
	sql_end(&sql);
	return since ? since - ATTEMPT_CLOCK_SLACK : 0;
}

/*
 * Values come as JSON and are kept as plain text, which can be read, and put
 * back into the column.
 */
void
conflict_record(const char *server, const char *object, const char *id,
				const char *field, const char *base, const char *salesforce,
				const char *local, const char *winner, const char *rule)
{
	RUN("INSERT INTO sync.conflicts (server, object, record, field, base,"
		" salesforce, local, winner, rule)"
		" VALUES ($1, $2, $3, $4, $5::pg_catalog.json #>> '{}', $6::pg_catalog.json #>> '{}',"
		" $7::pg_catalog.json #>> '{}', $8, $9)",
		"ntttttttt", server, object, id, field, base, salesforce, local,
		winner, rule);
}
