/*-------------------------------------------------------------------------
 *
 * functions.c
 *	  The SQL-callable administration: what is synced, and whether it runs.
 *
 * Each function checks for itself that its caller owns the server; then it
 * works on the extension's tables as their owner (tables/sql.h).  Changes are
 * part of the caller's transaction; workers learn of them when it commits.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "functions.h"
#include "login.h"
#include "mapping.h"
#include "rows.h"
#include "step.h"
#include "tables/capture.h"
#include "tables/identity.h"
#include "tables/outbox.h"
#include "tables/relation.h"
#include "tables/sql.h"
#include "wake.h"
#include "worker.h"

/* How long sync.discard waits for a sender, and how often it looks. */
#define DISCARD_PATIENCE	(5 * USECS_PER_SEC)
#define DISCARD_NAP_MS		50

PG_FUNCTION_INFO_V1(sync_disable);
PG_FUNCTION_INFO_V1(sync_guard);
PG_FUNCTION_INFO_V1(sync_pause);
PG_FUNCTION_INFO_V1(sync_resume);
PG_FUNCTION_INFO_V1(sync_start);
PG_FUNCTION_INFO_V1(sync_stop);
PG_FUNCTION_INFO_V1(sync_now);
PG_FUNCTION_INFO_V1(sync_retry);
PG_FUNCTION_INFO_V1(sync_discard);
PG_FUNCTION_INFO_V1(sync_resolve);

char *
text_arg(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n));
}

char *
name_arg(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : pstrdup(NameStr(*PG_GETARG_NAME(n)));
}

List *
split_names(const char *value)
{
	char	   *copy;
	char	   *rest = NULL;
	List	   *names = NIL;

	if (value == NULL)
		return NIL;
	copy = pstrdup(value);
	for (char *name = strtok_r(copy, "{}\", \t\n", &rest); name;
		 name = strtok_r(NULL, "{}\", \t\n", &rest))
		names = lappend(names, name);
	return names;
}

/*
 * The functions are not STRICT: a null, such as that of a sub-select which found
 * nothing, would make them do nothing, and say so to nobody.
 */
void
require_arg(FunctionCallInfo fcinfo, int n, const char *what)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the %s must be named", what)));
}

ServerOptions *
server_arg(FunctionCallInfo fcinfo)
{
	require_arg(fcinfo, 0, "server");
	return server_options(NameStr(*PG_GETARG_NAME(0)));
}

/* The server named by the first argument; the caller must own it. */
static ServerOptions *
named_server(FunctionCallInfo fcinfo)
{
	ServerOptions *server = server_arg(fcinfo);

	require_server_owner(server);
	return server;
}

/* The same, to be configured: it may have been renamed or restored just now. */
ServerOptions *
own_server(FunctionCallInfo fcinfo)
{
	ServerOptions *server = named_server(fcinfo);

	catalog_reconcile();
	return server;
}

/* An object of the server by name in any case; ERROR if it is not synced. */
SyncObject *
synced_object(const ServerOptions *server, const char *name)
{
	SyncObject *object = catalog_object(server->name, name);

	if (object == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("object \"%s\" of server \"%s\" is not synced", name,
						server->name),
				 errhint("SELECT sync.enable('%s', '{%s}') starts it.",
						 server->name, name)));
	return object;
}

static void
run_on_server(const char *statement, const char *server)
{
	SqlScope	sql;

	sql_begin(&sql);
	(void) sql_run(&sql, statement, "n", server);
	sql_end(&sql);
}

/*
 * sync.disable
 */

static void
forget_object(const SyncObject *object, bool drop_table)
{
	SqlScope	sql;
	bool		exists = get_rel_name(object->relid) != NULL;

	if (exists && drop_table)
		schema_drop_table(object->relid);
	else if (exists)
		schema_release(object->relid);

	sql_begin(&sql);
	if (exists && !drop_table)
		(void) sql_run(&sql, "UPDATE sync.object SET enabled = false"
					   " WHERE server = $1 AND object = $2",
					   "nt", object->server, object->object);
	else
		(void) sql_run(&sql, "DELETE FROM sync.object"
					   " WHERE server = $1 AND object = $2",
					   "nt", object->server, object->object);
	(void) sql_run(&sql, "DELETE FROM sync.failures"
				   " WHERE server = $1 AND object = $2",
				   "nt", object->server, object->object);
	sql_end(&sql);
}

/*
 * sync.disable(server name, object text, drop_table boolean) returns void
 */
Datum
sync_disable(PG_FUNCTION_ARGS)
{
	ServerOptions *server = own_server(fcinfo);
	char	   *name = text_arg(fcinfo, 1);
	bool		drop_table = !PG_ARGISNULL(2) && PG_GETARG_BOOL(2);
	List	   *objects;
	ListCell   *lc;

	objects = name ? list_make1(synced_object(server, name)) :
		catalog_objects(server->name);
	foreach(lc, objects)
		forget_object((SyncObject *) lfirst(lc), drop_table);
	worker_wake_at_commit(server->serverid, false);
	PG_RETURN_VOID();
}

/*
 * sync.guard(server name, object text) returns void
 */
Datum
sync_guard(PG_FUNCTION_ARGS)
{
	ServerOptions *server = own_server(fcinfo);
	SyncObject *object;

	require_arg(fcinfo, 1, "object");
	object = synced_object(server, text_arg(fcinfo, 1));
	schema_guard(object->relid, object->direction != DIRECTION_FROM,
				 object->state == STATE_LIVE);
	catalog_unguarded(object, NULL);
	catalog_changed();
	PG_RETURN_VOID();
}

/*
 * sync.pause, sync.resume, sync.start, sync.stop
 */

static void
require_enabled(const ServerOptions *server)
{
	if (catalog_server(server->name) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("nothing of server \"%s\" is synced", server->name),
				 errhint("SELECT sync.enable('%s') starts it.",
						 server->name)));
}

/*
 * sync.pause(server name) returns void
 */
Datum
sync_pause(PG_FUNCTION_ARGS)
{
	ServerOptions *server = own_server(fcinfo);

	require_enabled(server);
	run_on_server("UPDATE sync.server SET paused = true WHERE server = $1",
				  server->name);
	worker_wake_at_commit(server->serverid, false);
	PG_RETURN_VOID();
}

/*
 * What waits was meant for the org before, and is not sent to this one unasked.
 * Tables are read anew and merged: the first copy drops rows that are not there.
 */
static void
begin_anew(SyncObject *object)
{
	wait_for_sender(object);
	(void) outbox_set_all_aside(object, "ANOTHER_ORG",
							"the change was made while the server was in step with another org",
							"sync.retry(server, object) sends it to the org of today; sync.discard(seq) gives it up.");
	if (object->direction != DIRECTION_TO)
		catalog_copy_reset(object);
}

static void
accept_org(const ServerOptions *server)
{
	ListCell   *lc;

	foreach(lc, catalog_objects(server->name))
		begin_anew((SyncObject *) lfirst(lc));
	catalog_accept_org(server->name);
}

/*
 * sync.resume(server name, accept_org boolean) returns void
 *
 * Also tells a restored copy of a database that it is to go on: from now on it
 * is where the server is synced.  With accept_org, the org that the login leads
 * to is the right one, though the tables are from another.
 */
Datum
sync_resume(PG_FUNCTION_ARGS)
{
	ServerOptions *server = own_server(fcinfo);
	SqlScope	sql;

	require_enabled(server);
	if (!PG_ARGISNULL(1) && PG_GETARG_BOOL(1))
		accept_org(server);
	sql_begin(&sql);
	/*
	 * What the worker writes is left to the worker: the rows would be locked
	 * until the caller's transaction ends.
	 */
	(void) sql_run(&sql, "UPDATE sync.server SET paused = false,"
				   " running = true, origin = $2, serverid = $3,"
				   " resumed = clock_timestamp() WHERE server = $1",
				   "nto", server->name, catalog_origin(), server->serverid);
	sql_end(&sql);
	worker_wake_at_commit(server->serverid, true);
	PG_RETURN_VOID();
}

/* All servers of this database that the caller owns, started or stopped. */
static int
set_running(bool running)
{
	List	   *servers;
	ListCell   *lc;
	int			n = 0;

	catalog_reconcile();
	servers = catalog_servers();
	foreach(lc, servers)
	{
		SyncServer *server = (SyncServer *) lfirst(lc);

		if (!server_owned_by(server->serverid, GetUserId()))
			continue;
		run_on_server(running
					  ? "UPDATE sync.server SET running = true WHERE server = $1"
					  : "UPDATE sync.server SET running = false WHERE server = $1",
					  server->name);
		worker_wake_at_commit(server->serverid, running);
		n++;
	}
	return n;
}

/*
 * sync.start() returns integer: for how many servers
 */
Datum
sync_start(PG_FUNCTION_ARGS)
{
	if (!worker_has_launcher())
		ereport(NOTICE,
				(errmsg("the workers will not come back after a restart or a crash of the server"),
				 errhint("Add sync to shared_preload_libraries, and a launcher keeps them running.")));
	PG_RETURN_INT32(set_running(true));
}

/*
 * sync.stop() returns integer: for how many servers
 */
Datum
sync_stop(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(set_running(false));
}

/*
 * Changes that wait
 */

/*
 * sync.retry(server name, object text) returns bigint: how many changes
 */
Datum
sync_retry(PG_FUNCTION_ARGS)
{
	ServerOptions *server = own_server(fcinfo);
	char	   *name = text_arg(fcinfo, 1);
	SyncObject *object = name ? synced_object(server, name) : NULL;
	SqlScope	sql;
	int64		n;

	sql_begin(&sql);
	n = sql_run(&sql,
				"UPDATE sync.change c SET state = 'p', next_attempt = NULL"
				" FROM sync.object o WHERE o.relation = c.relation"
				" AND o.server = $1 AND ($2 IS NULL OR o.object = $2)"
				" AND o.direction <> 'from'"
				" AND (c.state = 'r' OR c.next_attempt IS NOT NULL)",
				"nt", server->name, object ? object->object : NULL);
	sql_end(&sql);
	if (object && object->direction == DIRECTION_FROM)
		ereport(NOTICE,
				(errmsg("nothing of %s goes to Salesforce: its direction is from",
						object->object)));
	worker_wake_at_commit(server->serverid, false);
	PG_RETURN_INT64(n);
}

/* All changes of a row that there never was in Salesforce. */
static void
give_up_row(const SyncObject *object, const char *id)
{
	ListCell   *lc;

	foreach(lc, outbox_of_ids(object->relid,
							  list_make1(unconstify(char *, id))))
		outbox_done(&((OutboxChange *) lfirst(lc))->seq, 1);
	identity_drop(object->relid, id);
}

/* The row goes back to what Salesforce has. */
static void
give_up_change(const SyncObject *object, const OutboxChange *change)
{
	char	   *known = change->id[0] != PROVISIONAL_MARK ? change->id :
		(char *) linitial(identity_known(list_make1(change->id)));

	outbox_done(&change->seq, 1);
	if (change->operation == 'U' && change->id[0] == PROVISIONAL_MARK)
		identity_revert(object->relid, change->id, outbox_columns_of(change),
						change->changes);
	else if (known != NULL)
		catalog_read_again(object, known);
	else
		give_up_row(object, change->id);
}

/*
 * The object's lock until the transaction ends: then no sender has a change in
 * its hands, or takes it before it is known to be given up or set aside.
 */
void
wait_for_sender(const SyncObject *object)
{
	TimestampTz give_up = GetCurrentTimestamp() + DISCARD_PATIENCE;

	while (!step_lock_for_transaction(LOCK_OBJECT, object->relid))
	{
		if (GetCurrentTimestamp() > give_up)
			ereport(ERROR,
					(errcode(ERRCODE_OBJECT_IN_USE),
					 errmsg("changes of %s are being sent or brought in just now",
							object->object),
					 errhint("Try again in a moment, or after sync.pause(server).")));
		step_sleep(DISCARD_NAP_MS);
	}
}

static void
no_such_change(int64 seq)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNDEFINED_OBJECT),
			 errmsg("there is no change %lld in the outbox, or it is being sent",
					(long long) seq),
			 errhint("SELECT seq FROM sync.outbox lists them.")));
}

/*
 * sync.discard(seq bigint) returns void
 */
Datum
sync_discard(PG_FUNCTION_ARGS)
{
	int64		seq;
	OutboxChange *change;
	SyncObject *object;

	require_arg(fcinfo, 0, "change");
	seq = PG_GETARG_INT64(0);
	change = outbox_change(seq);
	object = change ? catalog_object_by_relid(change->relid) : NULL;
	if (object == NULL)
		no_such_change(seq);
	require_server_owner(server_options(object->server));
	wait_for_sender(object);
	change = outbox_change(seq);
	if (change == NULL)
		no_such_change(seq);
	give_up_change(object, change);
	worker_wake_at_commit(object->serverid, false);
	PG_RETURN_VOID();
}

/*
 * sync.resolve(id text) returns text
 */
Datum
sync_resolve(PG_FUNCTION_ARGS)
{
	char	   *id = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *known;

	if (id[0] != PROVISIONAL_MARK)
		PG_RETURN_TEXT_P(cstring_to_text(id));
	known = (char *) linitial(identity_known(list_make1(id)));
	if (known == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(known));
}

/*
 * sync.now
 */

/* A row of sync.log, as far as the messages of sync.now go. */
typedef struct LoggedStep
{
	const char *object;			/* NULL: all of the server */
	const char *operation;
	const char *outcome;
} LoggedStep;

/* Columns of sync.log, in order. */
enum
{
	LOG_OBJECT = 3,
	LOG_OPERATION = 4,
	LOG_OUTCOME = 13
};

static LoggedStep *
logged_step(const char *const *values)
{
	LoggedStep *step = palloc(sizeof(LoggedStep));

	step->object = values[LOG_OBJECT];
	step->operation = values[LOG_OPERATION];
	step->outcome = values[LOG_OUTCOME];
	return step;
}

/*
 * A login that was refused ends the cycle before anything is asked, and what was
 * to be brought in is not here: that is no result.  sync.failures has its code.
 */
static void
raise_refused_login(const char *server, int64 run)
{
	SqlScope	sql;
	char	   *message = NULL;
	char	   *hint = NULL;

	sql_begin_latest(&sql);
	if (sql_run(&sql,
				"SELECT f.message, f.hint FROM sync.failures f"
				" WHERE f.server = $1 AND f.object IS NULL"
				" AND f.operation = 'cycle' AND f.record IS NULL AND f.code IN"
				" ('28000', 'INVALID_SESSION_ID', 'INVALID_AUTH_HEADER')"
				" AND f.last_seen >= (SELECT min(l.started) FROM sync.log l"
				" WHERE l.run = $2) ORDER BY f.last_seen DESC LIMIT 1",
				"nl", server, run) > 0)
	{
		message = sql_text(&sql, 0, 1);
		hint = sql_text(&sql, 0, 2);
	}
	sql_end(&sql);
	if (message != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
				 errmsg("%s", message),
				 hint ? errhint("%s", hint) : 0));
}

/* Who asked shall not take the answer for what is in the org. */
static void
tell_step(const LoggedStep *step, const char *server)
{
	const char *whose = step->object ? step->object :
		psprintf("server \"%s\"", server);

	if (strcmp(step->outcome, "done") == 0)
		return;
	ereport(WARNING,
			(errmsg("%s of %s failed: %s", step->operation, whose,
					strcmp(step->outcome, "running") == 0 ?
					"its process has ended" : step->outcome),
			 errhint("sync.failures says more, and when it is tried again sync.status.")));
}

static void
tell_steps(List *steps, const char *server, int64 run)
{
	ListCell   *lc;

	foreach(lc, steps)
	{
		LoggedStep *step = (LoggedStep *) lfirst(lc);

		/* The last one, if there is one. */
		if (strcmp(step->operation, "cycle") == 0)
			raise_refused_login(server, run);
		tell_step(step, server);
	}
}

/* What the log got from a run, as rows of sync.log. */
static void
return_log(RowsOut *out, const char *server, int64 run)
{
	SqlScope	sql;
	uint64		n;
	List	   *steps = NIL;
	const char **values = palloc(sizeof(char *) * out->desc->natts);

	sql_begin_latest(&sql);
	/* Moments are read again as they were written, whatever the session's zone. */
	(void) set_config_option("DateStyle", "ISO", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	n = sql_run(&sql, "SELECT * FROM sync.log WHERE run = $1 ORDER BY seq",
				"l", run);
	for (uint64 i = 0; i < n; i++)
	{
		MemoryContext work;

		for (int column = 0; column < out->desc->natts; column++)
			values[column] = sql_text(&sql, i, column + 1);
		rows_add_texts(out, values);
		work = MemoryContextSwitchTo(sql.caller);
		steps = lappend(steps, logged_step(values));
		MemoryContextSwitchTo(work);
	}
	sql_end(&sql);
	if (n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the cycle ended without a result"),
				 errhint("The server log says why.")));
	tell_steps(steps, server, run);
}

/* A table that this transaction keeps the cycle from writing to; or InvalidOid. */
static Oid
locked_table(const char *server)
{
	SqlScope	sql;
	Oid			relid = InvalidOid;

	sql_begin(&sql);
	if (sql_run(&sql,
				"SELECT l.relation FROM pg_catalog.pg_locks l"
				" JOIN sync.object o ON o.relation = l.relation"
				" JOIN pg_catalog.pg_database d ON d.oid = l.database"
				" WHERE o.server = $1 AND o.enabled"
				" AND d.datname = current_database()"
				" AND l.pid = pg_backend_pid() AND l.granted AND l.mode IN"
				" ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock',"
				" 'AccessExclusiveLock') LIMIT 1", "n", server) > 0)
		relid = (Oid) sql_int(&sql, 0, 1);
	sql_end(&sql);
	return relid;
}

/*
 * The cycle would wait for what this transaction has locked, and this one waits
 * for the cycle.
 */
static void
check_nothing_locked(const char *server)
{
	Oid			relid;

	if (TransactionIdIsValid(GetTopTransactionIdIfAny()))
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("sync.now cannot run in a transaction that has written something or locked rows"),
				 errhint("Commit first.")));
	relid = locked_table(server);
	if (OidIsValid(relid))
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("sync.now cannot run in a transaction that has locked table \"%s\"",
						relation_label(relid)),
				 errhint("Commit first.")));
}

/*
 * sync.now(server name, object text) returns setof sync.log
 *
 * The cycle runs in a worker of its own, in transactions of its own.  Each step
 * that failed is a warning, a refused login an error.
 */
Datum
sync_now(PG_FUNCTION_ARGS)
{
	ServerOptions *server = named_server(fcinfo);
	char	   *name = text_arg(fcinfo, 1);
	RowsOut    *out = rows_begin(fcinfo);
	SyncServer *known = catalog_server_by_oid(server->serverid);
	WorkerArgs	args = {0};

	if (known)
		server->name = known->name;
	check_nothing_locked(server->name);
	require_enabled(server);
	args.task = WORKER_NOW;
	args.serverid = server->serverid;
	if (name)
		strlcpy(args.object, synced_object(server, name)->object,
				WORKER_OBJECT_LEN);
	args.number = catalog_next_run();
	worker_run_and_wait(&args);
	return_log(out, server->name, args.number);
	return (Datum) 0;
}
