/*-------------------------------------------------------------------------
 *
 * check.c
 *	  sync.check: everything that could stop the sync, before it does.
 *
 * Each check is one row: ok, warning or error, what was found, and what to do.
 * A check that fails does not keep the others from being made, unless nothing
 * can be asked without it.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "postmaster/bgworker_internals.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "columns.h"
#include "compat.h"
#include "cycle.h"
#include "functions.h"
#include "login.h"
#include "salesforce/text.h"
#include "mapping.h"
#include "rows.h"
#include "salesforce/describe.h"
#include "tables/attempt.h"
#include "tables/sql.h"
#include "tables/watch.h"
#include "worker.h"

PG_FUNCTION_INFO_V1(sync_check);

/* A clock that is off by more makes assertions of the login invalid. */
#define CLOCK_TOLERANCE		(60 * USECS_PER_SEC)

typedef struct Check
{
	RowsOut    *out;
	ServerOptions *server;
	Org		   *org;
	MemoryContext context;		/* of what more than one of them needs */
	List	   *global;			/* what the login sees */
	const char *object;			/* the one that is being checked */
} Check;

static void
report(Check *check, const char *item, const char *status,
	   const char *detail, const char *hint)
{
	const char *values[4];

	values[0] = item;
	values[1] = status;
	values[2] = detail;
	values[3] = hint;
	rows_add_texts(check->out, values);
}

/* One check, to be attempted. */
typedef struct Attempt
{
	Check	   *check;
	const char *item;
	void		(*body) (Check *check, const char *item);
} Attempt;

/* What it finds out (the login, above all) serves the checks that follow. */
static void
run_check(void *arg)
{
	Attempt    *a = (Attempt *) arg;

	MemoryContextSwitchTo(a->check->context);
	a->body(a->check, a->item);
}

/*
 * Makes one check; an error of it becomes a row.  Returns whether it went
 * through.
 */
static bool
make_check(Check *check, const char *item,
		   void (*body) (Check *check, const char *item))
{
	Attempt		a = {check, item, body};
	ErrorData  *error = attempt_any(run_check, &a);

	if (error == NULL)
		return true;
	if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
		ReThrowError(error);
	report(check, item, "error",
		   error->detail ? psprintf("%s: %s", error->message, error->detail)
		   : error->message, error->hint);
	return false;
}

/*
 * Two live primaries with the same outbox: each sends what waits in its own, and
 * neither can see the other.
 */
static void
check_timeline(Check *check)
{
	TimeLineID	timeline = present_timeline();

	if (timeline > 1)
		report(check, "timeline", "ok",
			   psprintf("this database was promoted or recovered: timeline %u",
						timeline),
			   "Make sure that the server which it comes from no longer runs: it would send the same changes, and new records would be doubled.");
}

static void
check_mapping(Check *check, const char *item)
{
	Credentials *credentials = server_credentials(check->server, NULL);

	report(check, item, "ok",
		   psprintf("auth %s%s%s", credentials->auth,
					credentials->username ? " as " : "",
					credentials->username ? credentials->username : ""), NULL);
}

static void
check_login(Check *check, const char *item)
{
	check->org = org_open_any(check->server->name);
	check->global = describe_global(check->org->api);
	report(check, item, "ok",
		   psprintf("%s, API version %s, %d objects visible",
					check->org->api->instance_url,
					check->org->api->version, list_length(check->global)),
		   NULL);
	if (check->org->is_foreign)
		report(check, "org", "error",
			   psprintf("the login leads to org %s, and the tables are from another",
						foreign_text(check->org->org_id)),
			   psprintf("Put login_url and user mapping back; or, if the new org is meant, SELECT sync.resume('%s', accept_org => true).",
						check->server->name));
}

static void
check_limits(Check *check, const char *item)
{
	const SalesforceApi *api = check->org->api;
	double		used;

	if (api->limit_max <= 0)
	{
		report(check, item, "warning",
			   "the org does not say how many API calls it allows",
			   "api_budget cannot be kept without it.");
		return;
	}
	used = (double) api->limit_used / api->limit_max;
	report(check, item, used > 0.95 ? "error" :
		   used > check->server->api_budget ? "warning" : "ok",
		   psprintf("%lld of %lld calls used in 24 hours (all clients of the org)",
					(long long) api->limit_used, (long long) api->limit_max),
		   used > check->server->api_budget
		   ? "Raise the interval of the server, or ask who else calls the org so often."
		   : NULL);
}

static void
check_clock(Check *check, const char *item)
{
	const SalesforceApi *api = check->org->api;
	int64		skew = api->local_date - api->server_date;
	bool		off = skew > CLOCK_TOLERANCE || skew < -CLOCK_TOLERANCE;

	report(check, item, off ? "warning" : "ok",
		   psprintf("this machine is %lld s %s the org",
					llabs((long long) (skew / USECS_PER_SEC)),
					skew >= 0 ? "ahead of" : "behind"),
		   off ? "Set the clock of this machine; JWT logins fail if it is off by minutes. Changes are found by the org's clock, and are not affected."
		   : NULL);
}

/* Fields that Salesforce requires of new records, and no column has. */
static char *
missing_required(const SyncObject *object, const DescribeObject *described)
{
	List	   *synced = mapping_field_names(catalog_fields(object));
	StringInfoData missing;
	ListCell   *lc;

	initStringInfo(&missing);
	foreach(lc, described->fields)
	{
		DescribeField *field = (DescribeField *) lfirst(lc);

		if (field->createable && !field->nillable &&
			!field->defaulted_on_create && mapping_is_copied(field) &&
			strcmp(field->type, "boolean") != 0 &&
			!mapping_has_name(synced, field->name))
			appendStringInfo(&missing, " %s", field->name);
	}
	return missing.len > 0 ? missing.data : NULL;
}

static void
check_required(Check *check, const char *item, const SyncObject *object,
			   const DescribeObject *described)
{
	char	   *missing = missing_required(object, described);

	if (missing)
		report(check, item, "warning",
			   psprintf("Salesforce will refuse new rows: it requires fields that are left out:%s",
						missing),
			   "Take them back with sync.set(..., 'exclude' or 'fields', ...), or set the direction to from.");
}

/* What goes to Salesforce needs the login's right to write it there. */
static void
check_rights(Check *check, const char *item, const DescribeObject *described)
{
	SyncObject *object = catalog_object(check->server->name, check->object);
	StringInfoData missing;

	if (object == NULL || object->direction == DIRECTION_FROM)
		return;
	check_required(check, item, object, described);
	initStringInfo(&missing);
	if (!described->createable)
		appendStringInfoString(&missing, " create");
	if (!described->updateable)
		appendStringInfoString(&missing, " edit");
	if (!described->deletable && object->push_deletes)
		appendStringInfoString(&missing, " delete");
	if (missing.len > 0)
		report(check, item, "warning",
			   psprintf("the login has no right to:%s", missing.data),
			   "Salesforce will refuse such local changes. Give the login's profile or permission set the right, or set the direction to from.");
}

/*
 * How deletes are found, if not by the recycle bin.  Whether an object goes
 * there is told to a login that may take things out of it.
 */
static const char *
deletes_told_by(const DescribeObject *described)
{
	if (described->undeletable)
		return "";
	if (described->replicateable)
		return ", deletes by getDeleted";
	return ", deletes by comparing ids once a day";
}

/* Whether changes of the object can be found and all its fields copied. */
static void
check_object(Check *check, const char *item)
{
	DescribeObject *described = describe_object(check->org->api,
												check->object, NULL);
	const char *stamp = mapping_stamp(described);
	StringInfoData left_out;
	ListCell   *lc;
	int			copied = 0;

	initStringInfo(&left_out);
	foreach(lc, described->fields)
	{
		DescribeField *field = (DescribeField *) lfirst(lc);

		if (mapping_is_copied(field))
			copied++;
		else if (strcmp(field->type, "base64") == 0 ||
				 strcmp(field->type, "json") == 0)
			appendStringInfo(&left_out, "%s%s", left_out.len ? ", " : "",
							 field->name);
	}
	if (!described->queryable || stamp == NULL)
		report(check, item, "error",
			   described->queryable
			   ? "no field by which changes could be found"
			   : "the login may not query it",
			   described->queryable ? "Read it with sync.soql."
			   : "Give the login's profile or permission set read access.");
	else if (left_out.len > 0)
		report(check, item, "warning",
			   psprintf("%d fields; not copied: %s", copied, left_out.data),
			   "Contents of such fields are not copied; read them with sync.soql.");
	else
		report(check, item, "ok",
			   psprintf("%d fields, changes by %s%s", copied, stamp,
						deletes_told_by(described)), NULL);
	check_rights(check, item, described);
}

static bool
login_sees(Check *check, const char *name)
{
	ListCell   *lc;

	foreach(lc, check->global)
	{
		if (pg_strcasecmp(((DescribeObject *) lfirst(lc))->name, name) == 0)
			return true;
	}
	return false;
}

static void
check_table(Check *check, const char *item)
{
	SyncObject *object = catalog_object(check->server->name, check->object);
	char	   *unguarded;
	ListCell   *lc;

	/* Disabled while the org was asked. */
	if (object == NULL)
		return;
	unguarded = watch_missing(object->relid,
							  object->direction != DIRECTION_FROM,
							  object->state == STATE_LIVE);
	if (unguarded)
		report(check, item, "error",
			   psprintf("writes are not seen: %s", unguarded),
			   psprintf("SELECT sync.guard('%s', '%s') puts it back.",
						object->server, object->object));
	foreach(lc, columns_differences(object, catalog_fields(object)))
		report(check, item, "error", (char *) lfirst(lc),
			   "Undo the change, or leave the field out with sync.set(..., 'exclude', ...).");
	foreach(lc, catalog_dropped_fields(object))
		report(check, item, "warning",
			   psprintf("field %s is not synced: its column was dropped",
						(char *) lfirst(lc)),
			   "Add the column again, and it is filled; or exclude the field.");
}

static void
check_objects(Check *check)
{
	List	   *names = catalog_synced_objects(check->server->name);
	bool		synced = names != NIL;
	ListCell   *lc;

	if (!synced)
		names = default_object_names();
	foreach(lc, names)
	{
		char	   *item = psprintf("object %s", (char *) lfirst(lc));

		check->object = (char *) lfirst(lc);
		if (!login_sees(check, check->object))
			report(check, item, synced ? "error" : "warning",
				   "the login may not see it",
				   "Give the login's profile or permission set read access, or leave the object out.");
		else
			(void) make_check(check, item, check_object);
		if (synced)
			(void) make_check(check, psprintf("table of %s", check->object),
							  check_table);
	}
}

static void
check_workers(Check *check)
{
	const char *slots = GetConfigOption("max_worker_processes", false, false);

	if (worker_has_launcher())
		report(check, "workers", "ok",
			   psprintf("started by the launcher; max_worker_processes = %s",
						slots), NULL);
	else
		report(check, "workers", "warning",
			   "sync is not in shared_preload_libraries",
			   "Workers must be started with sync.start() after each restart of the server.");
	if (atoi(slots) < 8)
		report(check, "worker slots", "warning",
			   psprintf("max_worker_processes = %s", slots),
			   "The launcher, a worker for each server, sync.max_copiers and sync.now need one each; increase max_worker_processes.");
}

/* The view knows: one question, one answer. */
static bool
has_no_worker(const char *server)
{
	SqlScope	sql;
	bool		none;

	sql_begin_latest(&sql);
	none = sql_run(&sql, "SELECT FROM sync.status"
				   " WHERE server = $1 AND state = 'no worker'",
				   "n", server) > 0;
	sql_end(&sql);
	return none;
}

/* Whether the server's own worker runs, once there is something to be done. */
static void
check_worker(Check *check)
{
	SyncServer *server = catalog_server_by_oid(check->server->serverid);

	if (server == NULL || catalog_synced_objects(server->name) == NIL)
		return;
	if (!server->running)
		report(check, "worker", "warning", "it was ended by sync.stop",
			   "SELECT sync.start() starts it again.");
	else if (server->paused)
		report(check, "worker", "warning", "the server is paused",
			   "SELECT sync.resume(server) lets it go on.");
	else if (!has_no_worker(server->name))
		report(check, "worker", "ok", "it runs", NULL);
	else
		report(check, "worker", "error",
			   "no worker runs for this server: nothing is synced",
			   worker_has_launcher()
			   ? "The launcher starts one within sync.naptime, unless max_worker_processes are in use: the server log says so."
			   : "SELECT sync.start() starts one; with sync in shared_preload_libraries the launcher does.");
}

/*
 * sync.check(server name)
 *   returns table(item text, status text, detail text, hint text)
 */
Datum
sync_check(PG_FUNCTION_ARGS)
{
	Check		check = {0};

	check.out = rows_begin(fcinfo);
	check.context = CurrentMemoryContext;
	check.server = server_arg(fcinfo);
	require_server_owner(check.server);

	check_workers(&check);
	check_worker(&check);
	check_timeline(&check);
	if (unfit_encoding())
		report(&check, "encoding", "error",
			   psprintf("the encoding of this database is %s",
						unfit_encoding()),
			   "Salesforce's texts are Unicode: use a database that was created with ENCODING 'UTF8'.");
	if (make_check(&check, "user mapping", check_mapping) &&
		make_check(&check, "login", check_login))
	{
		(void) make_check(&check, "API calls", check_limits);
		(void) make_check(&check, "clock", check_clock);
		check_objects(&check);
		(void) cycle_count_calls(check.org);
		org_close(check.org);
	}
	return (Datum) 0;
}
