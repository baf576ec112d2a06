/*-------------------------------------------------------------------------
 *
 * cycle.c
 *	  One cycle of a server: ask the org what is new, bring it in.
 *
 * The questions of all objects travel together.  A scheduled cycle asks for
 * the ids that changed (getUpdated, getDeleted): one Composite call for the
 * default set of objects, and if nothing changed that was all.  A cycle asked
 * for by sync.now wants what is visible at this moment, which getUpdated,
 * answering in whole minutes, cannot tell: it asks for rows, five objects to a
 * call.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "columns.h"
#include "copy.h"
#include "cycle.h"
#include "evolve.h"
#include "heed.h"
#include "pull.h"
#include "step.h"
#include "tables/altered.h"
#include "tables/attempt.h"
#include "tables/blocker.h"
#include "tables/relation.h"
#include "tables/watch.h"
#include "salesforce/origin.h"

/* Back-off of a failing object and of a failing server. */
#define OBJECT_RETRY_MIN	(15 * USECS_PER_SEC)
#define OBJECT_RETRY_MAX	USECS_PER_HOUR
#define SERVER_RETRY_MIN	(5 * USECS_PER_SEC)
#define SERVER_RETRY_MAX	(15 * USECS_PER_MINUTE)
/* Between two readings of all rows, should one not suffice. */
#define REREAD_PAUSE		(5 * USECS_PER_SEC)
/* Somebody has something locked, for as long as his transaction takes. */
#define LOCK_RETRY_MIN		(1 * USECS_PER_SEC)
#define LOCK_RETRY_MAX		(10 * USECS_PER_SEC)
/* Allowance used up: asking again soon only burns more of it. */
#define LIMIT_RETRY_MIN		(15 * USECS_PER_MINUTE)

/* Doubles with each failure in a row, with jitter of a fifth. */
static TimestampTz
retry_at(int failures, int64 min, int64 max)
{
	int64		delay = min << Min(failures, 16);

	delay = Min(delay, max);
	delay -= delay / 5 * (random() % 1000) / 1000;
	return GetCurrentTimestamp() + delay;
}

/*
 * In a worker this closes a cycle: its commit waits for the disk, and brings
 * along what the steps before it left open (step_may_be_lost).  In a backend
 * the transaction may stay open for long, so nothing is written there that
 * the worker would have to wait for, and nothing at all if it may not write.
 */
int64
cycle_count_calls(Org *org)
{
	SalesforceApi *api = org->api;
	int64		total = 0;

	if (!step_in_worker && XactReadOnly)
		return 0;
	step_begin();
	for (int kind = 0; kind < API_KINDS; kind++)
	{
		if (api->calls[kind] == 0)
			continue;
		catalog_count_calls(org->server->name, api_kind_names[kind],
							api->calls[kind]);
		total += api->calls[kind];
		api->calls[kind] = 0;
	}
	if (step_in_worker && total > 0 && api->limit_max > 0)
		catalog_limits(org->server->name, api->limit_used, api->limit_max);
	step_end();
	return total;
}

int64
cycle_calls(const Org *org)
{
	int64		total = 0;

	for (int kind = 0; kind < API_KINDS; kind++)
		total += org->api->calls[kind];
	return total;
}

/* Whether the org's side raised it, whatever its SQLSTATE (origin.h). */
static bool
is_of_org(const ErrorData *error)
{
	return error->domain != NULL && strcmp(error->domain, ORG_DOMAIN) == 0;
}

/* Salesforce's code if it refused something, else the SQLSTATE. */
static const char *
failure_code(const ErrorData *error, Org *org)
{
	if (org && org->api->error.status != 0 && org->api->error.code[0])
		return org->api->error.code;
	return unpack_sql_state(error->sqlerrcode);
}

/* What to do next, for an error of the org or of an object. */
typedef struct Failure
{
	const char *server;
	const SyncObject *object;	/* NULL: of the org */
	const char *operation;
	const char *code;
	const char *message;
	const char *hint;
	TimestampTz retry;
	bool		first;
} Failure;

static void
record_failure(void *arg)
{
	Failure    *f = (Failure *) arg;
	const char *name = f->object ? f->object->object : NULL;

	catalog_failure(f->server, name, f->operation, NULL, f->code, f->message,
					f->hint, NIL);
	if (f->first)
		catalog_notify("failure", f->server, name, catalog_code(f->code));
}

static void
distrust(void *arg)
{
	org_distrust((Org *) arg);
}

/*
 * No answer, or none of the API, twice: the instance may have moved, which only
 * a login tells (Salesforce: My Domain, org migration).
 */
static bool
may_have_moved(const ErrorData *error, int failures)
{
	return failures > 0 && is_of_org(error) &&
		error->sqlerrcode == ERRCODE_CONNECTION_FAILURE;
}

static void
record_retry(void *arg)
{
	Failure    *f = (Failure *) arg;

	if (f->object)
		catalog_object_failed(f->object, f->retry, f->message);
	else
		catalog_server_failed(f->server, f->retry, f->message);
}

/*
 * Somebody may have our own row locked, by sync.set in a transaction that is
 * still open.  Then the log has it.  What is said and when it is tried again are
 * recorded apart: a failure that is told and has no time is tried again soon
 * (catalog.c, FAILURES_OF_OBJECT).
 */
static void
record_tolerantly(void (*record) (void *arg), Failure failure)
{
	ErrorData  *error;

	step_begin();
	error = attempt_contended(record, &failure);
	step_end();
	if (error)
		ereport(LOG,
				(errmsg("could not record a failure of server \"%s\": %s",
						failure.server, error->message),
				 errdetail("The failure was: %s", failure.message)));
}

/*
 * Who has what was waited for, or else a lock on the object's table: whoever
 * writes there, before whoever only reads.
 */
static int
find_blocker(const SyncObject *object, Oid *table)
{
	int			pid = blocker_of_wait(table);

	if (pid != 0 || get_rel_name(object->relid) == NULL)
		return pid;
	*table = object->relid;
	pid = blocker_of_table(object->relid, ExclusiveLock);
	return pid ? pid : blocker_of_table(object->relid, AccessExclusiveLock);
}

/* A lock that was not to be had; the error itself seldom says who has it. */
static char *
name_blocker(const SyncObject *object, char *message)
{
	Oid			table;
	int			pid;

	if (object == NULL || strstr(message, " held by ") != NULL ||
		strstr(message, "by process") != NULL)
		return message;
	step_begin();
	pid = find_blocker(object, &table);
	if (pid && OidIsValid(table))
		message = psprintf("%s; process %d has locked table \"%s\" or rows of it",
						   message, pid, relation_label(table));
	else if (pid)
		message = psprintf("%s; process %d has what was waited for", message,
						   pid);
	step_end();
	return message;
}

static const char *
whose(const char *server, const char *object)
{
	return object ? psprintf("object \"%s\" of server \"%s\"", object, server) :
		psprintf("server \"%s\"", server);
}

/*
 * Salesforce's support finds an answer by its request id.  Of what failed here,
 * the latest answer tells nothing.
 */
static const char *
request_of(const ErrorData *error, const Org *org)
{
	if (org == NULL || !is_of_org(error))
		return "";
	return org->api->error.status != 0 ? org->api->error.request_id :
		org->api->request_id;
}

void
cycle_tell_failure(const char *server, const char *object,
				   const char *operation, const char *message,
				   const ErrorData *error, const Org *org)
{
	const char *request = request_of(error, org);

	ereport(WARNING,
			(errcode(error->sqlerrcode),
			 errmsg("%s of %s has begun to fail: %s", operation,
					whose(server, object), message),
			 request[0] ? errdetail("X-Sfdc-Request-Id: %s", request) : 0,
			 error->hint ? errhint("%s", error->hint) : 0));
}

void
cycle_tell_recovery(const char *server, const char *object, const Org *org)
{
	const char *request = org ? org->api->request_id : "";

	ereport(LOG,
			(errmsg("%s goes well again", whose(server, object)),
			 request[0] ? errdetail("X-Sfdc-Request-Id: %s", request) : 0));
}

void
cycle_failed(const char *server, const SyncObject *object,
			 const char *operation, int failures, const ErrorData *error,
			 Org *org)
{
	char	   *message = error->detail
		? psprintf("%s: %s", error->message, error->detail)
		: error->message;
	TimestampTz retry;
	Failure		failure;

	if (is_contention(error))
	{
		retry = retry_at(failures, LOCK_RETRY_MIN, LOCK_RETRY_MAX);
		message = name_blocker(object, message);
	}
	else if (object)
		retry = retry_at(failures, OBJECT_RETRY_MIN, OBJECT_RETRY_MAX);
	else if (error->sqlerrcode == ERRCODE_CONFIGURATION_LIMIT_EXCEEDED ||
			 error->sqlerrcode == ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION)
		retry = retry_at(failures, LIMIT_RETRY_MIN, OBJECT_RETRY_MAX);
	else
		retry = retry_at(failures, SERVER_RETRY_MIN, SERVER_RETRY_MAX);

	if (failures == 0)
		cycle_tell_failure(server, object ? object->object : NULL, operation,
						   message, error, org);
	failure = (Failure) {server, object, operation, failure_code(error, org),
	message, error->hint, retry, failures == 0};
	record_tolerantly(record_failure, failure);
	record_tolerantly(record_retry, failure);
	if (org && step_in_worker && may_have_moved(error, failures))
	{
		step_begin();
		(void) attempt_contended(distrust, org);
		step_end();
	}
}

static void
record_push_failure(void *arg)
{
	Failure    *f = (Failure *) arg;

	catalog_failure(f->server, f->object->object, "push", NULL, f->code,
					f->message, f->hint, NIL);
}

void
cycle_note_push_failure(const char *server, const SyncObject *object,
						const ErrorData *error)
{
	char	   *message = error->detail
		? psprintf("%s: %s", error->message, error->detail)
		: error->message;

	if (is_contention(error))
		message = name_blocker(object, message);
	if (!object->push_failed)
		cycle_tell_failure(server, object->object, "push", message, error,
						   NULL);
	record_tolerantly(record_push_failure,
					  (Failure) {server, object, "push",
								 unpack_sql_state(error->sqlerrcode), message,
								 error->hint, 0, false});
}

/*
 * Errors that concern the org as a whole, and end the cycle: the login, and
 * the allowance of calls.
 */
static bool
concerns_org(const ErrorData *error)
{
	return is_of_org(error) &&
		(error->sqlerrcode == ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION ||
		 error->sqlerrcode == ERRCODE_CONFIGURATION_LIMIT_EXCEEDED);
}

bool
cycle_is_local(const ErrorData *error)
{
	return !is_interrupt(error) && !is_of_org(error);
}

bool
cycle_concerns_object(const ErrorData *error)
{
	return !is_interrupt(error) && !concerns_org(error);
}

/* One logged step on one object; what it does is up to do_step. */
typedef struct Step
{
	Cycle	   *cycle;
	SyncObject *object;
	const char *operation;
	SyncCounts	counts;
	int64		calls_before;	/* the login's when it began */
	bool		log_idle;		/* write a row also if nothing happened */
	int64		log_seq;		/* row that stands there while it runs; 0 = none */
	Pull	   *pull;			/* of a pull */
	TimestampTz asked;			/* of a pull: when its questions were asked */
	TimestampTz due;
	TimestampTz started;
} Step;

static void
log_step(Step *step, const char *outcome)
{
	SyncCounts *c = &step->counts;

	if (step->log_seq)
	{
		catalog_log_end(step->log_seq, c, outcome);
		return;
	}
	if (!step->log_idle && strcmp(outcome, "done") == 0 &&
		c->inserted + c->updated + c->deleted + c->skipped + c->failed == 0)
		return;
	catalog_log_whole(step->cycle->run, step->object->server,
					  step->object->object, step->operation, step->started,
					  c, outcome);
}

/* It was given up for an administrator: a failure of nothing. */
static void
log_left(Step *step)
{
	if (step->log_seq == 0)
		return;
	step->counts.calls = cycle_calls(step->cycle->org) - step->calls_before;
	step_begin();
	log_step(step, "interrupted");
	step_end();
}

/*
 * Runs a step; an error is recorded against the object and goes no further,
 * unless it concerns the whole org.  Returns whether it went well.
 */
static bool
run_step(Step *step, void (*do_step) (Step *step))
{
	MemoryContext caller = CurrentMemoryContext;
	Org		   *org = step->cycle->org;
	volatile bool done = false;
	bool		recovered;

	step->calls_before = cycle_calls(org);
	api_clear_error(org->api);
	pgstat_report_activity(STATE_RUNNING,
						   psprintf("%s %s", step->operation,
									step->object->object));
	PG_TRY();
	{
		do_step(step);
		step->counts.calls = cycle_calls(org) - step->calls_before;
		step_begin();
		log_step(step, "done");
		recovered = step->object->has_failures &&
			strcmp(step->operation, "schema") != 0;
		if (recovered)
		{
			catalog_steps_recovered(step->object->server,
									step->object->object, false);
			catalog_notify("recovery", step->object->server,
						   step->object->object, step->operation);
		}
		step_end();
		if (recovered)
			cycle_tell_recovery(step->object->server, step->object->object,
								org);
		done = true;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		if (is_interrupt(error) && !heed_has_left(error))
			PG_RE_THROW();
		FlushErrorState();
		step_abort();
		if (heed_has_left(error))
		{
			log_left(step);
			ReThrowError(error);
		}
		step->counts.calls = cycle_calls(org) - step->calls_before;
		step->log_idle = true;
		step_begin();
		log_step(step, error->message);
		step_end();
		if (concerns_org(error))
			ReThrowError(error);
		cycle_failed(step->object->server, step->object, step->operation,
					 step->object->failures, error, org);
	}
	PG_END_TRY();
	return done;
}

static void
do_evolve(Step *step)
{
	step->counts.updated = evolve_object(step->cycle->org, step->object);
}

static void
do_pull(Step *step)
{
	pull_apply(step->pull, step->cycle->org, step->asked, step->due,
			   step->cycle->now, &step->counts);
}

static void
do_copy(Step *step)
{
	copy_object(step->cycle->org, step->object, &step->counts);
}

static void
init_step(Step *step, Cycle *cycle, SyncObject *object, const char *operation)
{
	memset(step, 0, sizeof(Step));
	step->cycle = cycle;
	step->object = object;
	step->operation = operation;
	step->started = GetCurrentTimestamp();
}

/*
 * Which objects to pull
 */

TimestampTz
cycle_rereads_at(const SyncObject *object)
{
	return TIMESTAMP_IS_NOBEGIN(object->cursor) ?
		object->last_synced + REREAD_PAUSE : 0;
}

static bool
is_wanted(const Cycle *cycle, const SyncObject *object, const char *only)
{
	TimestampTz now = GetCurrentTimestamp();

	if (object->state != STATE_LIVE || object->direction == DIRECTION_TO)
		return false;
	if (cycle->now)
		return only == NULL || pg_strcasecmp(only, object->object) == 0;
	if (object->retry_at > now)
		return false;
	if (object->last_synced == 0 || object->failures > 0 ||
		(cycle_rereads_at(object) != 0 && cycle_rereads_at(object) <= now) ||
		(object->rows_due != 0 && object->rows_due <= now))
		return true;
	return object->interval > 0 ? object->due <= now : cycle->full;
}

/* Wanted for rows that were locked: no call is spent while they still are. */
static bool
rows_are_free(const SyncObject *object)
{
	List	   *ids = catalog_rows_soon(object);
	ListCell   *lc;

	foreach(lc, ids)
	{
		if (blocker_of_row(object->relid, lfirst(lc)) == 0)
			return true;
	}
	return ids == NIL;
}

static bool
only_for_rows(const Cycle *cycle, const SyncObject *object)
{
	return !cycle->now && !cycle->full && object->last_synced != 0 &&
		object->failures == 0 && object->rows_due != 0 &&
		(object->interval <= 0 || object->due > GetCurrentTimestamp());
}

typedef struct LockedRows
{
	const SyncObject *object;
	bool		locked;
} LockedRows;

static void
look_at_rows(void *arg)
{
	LockedRows *look = (LockedRows *) arg;

	look->locked = !rows_are_free(look->object);
}

static void
put_rows_off(void *arg)
{
	catalog_rows_later(((LockedRows *) arg)->object);
}

/* In attempts: by now the whole table may be locked. */
static bool
is_still_locked(const Cycle *cycle, const SyncObject *object)
{
	LockedRows	look = {object, false};
	bool		locked;

	if (!only_for_rows(cycle, object))
		return false;
	step_begin();
	locked = attempt_contended(look_at_rows, &look) != NULL || look.locked;
	if (locked)
		(void) attempt_contended(put_rows_off, &look);
	step_end();
	return locked;
}

typedef struct GuardLook
{
	SyncObject *object;
	bool		well;			/* nothing is missing, nor was before */
} GuardLook;

/* In an attempt: the owner may be altering the table just now. */
static void
look_at_guard(void *arg)
{
	GuardLook  *look = (GuardLook *) arg;
	SyncObject *object = look->object;
	bool		takes_writes = object->direction != DIRECTION_FROM;
	char	   *missing;

	if (get_rel_name(object->relid) == NULL)
		return;
	altered_look_begins(object->relid, LOOK_TRIGGERS);
	watch_complete(object->relid, takes_writes);
	missing = watch_missing(object->relid, takes_writes,
							object->state == STATE_LIVE);
	look->well = missing == NULL && object->unguarded == NULL;
	if (look->well)
		return;
	if (missing && object->unguarded &&
		strcmp(missing, object->unguarded) == 0)
		return;
	/* We may have waited for the table until sync.disable had committed. */
	if (missing && catalog_object(object->server, object->object) == NULL)
		return;
	if (missing && object->unguarded == NULL)
		catalog_notify("unguarded", object->server, object->object, NULL);
	catalog_unguarded(object, missing);
}

/*
 * Of every live object, whether it is due or not, and also of those that only
 * go out: what is written while triggers are missing never gets out.
 */
static void
look_at_guards(List *objects)
{
	ListCell   *lc;

	foreach(lc, objects)
	{
		SyncObject *object = (SyncObject *) lfirst(lc);
		GuardLook	look = {NULL, false};

		if (object->state != STATE_LIVE ||
			!altered_since_look(object->relid, LOOK_TRIGGERS))
			continue;
		step_begin();
		look.object = catalog_object(object->server, object->object);
		if (look.object != NULL)
			look.well = attempt_contended(look_at_guard, &look) == NULL && look.well;
		step_end();
		if (look.well)
			altered_look_is_well(look.object->relid, LOOK_TRIGGERS);
	}
}

/* A transaction with sync.set or sync.discard is still open. */
static void
note_held(const Cycle *cycle, const SyncObject *object, int pid)
{
	ErrorData	error = {0};
	SyncCounts	counts = {0};

	error.sqlerrcode = ERRCODE_LOCK_NOT_AVAILABLE;
	error.message = pid ?
		psprintf("%s is held by process %d, in a transaction with sync.set or sync.discard",
				 object->object, pid) :
		psprintf("%s is held by a prepared transaction with sync.set or sync.discard",
				 object->object);
	error.hint = pstrdup("It goes on when that transaction has ended.");
	step_begin();
	catalog_log_whole(cycle->run, object->server, object->object, "pull",
					  GetCurrentTimestamp(), &counts, error.message);
	step_end();
	cycle_failed(object->server, object, "pull", object->failures, &error,
				 NULL);
}

/* Locks the object against other processes of sync that write to it. */
static bool
lock_object(const Cycle *cycle, const SyncObject *object)
{
	int			pid;

	if (!cycle->wait)
		return step_lock_try(LOCK_OBJECT, object->relid);
	if (step_lock_soon(LOCK_OBJECT, object->relid, &pid))
		return true;
	if (cycle->now)
		note_held(cycle, object, pid);
	return false;
}

typedef struct ColumnsLook
{
	const char *server;
	bool		well;			/* all columns are those that they were */
} ColumnsLook;

/* In an attempt: somebody may be altering the table just now. */
static void
follow_columns(void *arg)
{
	ColumnsLook *look = (ColumnsLook *) arg;
	List	   *changed = columns_changed(look->server);
	ListCell   *lc;

	look->well = changed == NIL;
	foreach(lc, changed)
		columns_follow(look->server, lfirst(lc));
}

static bool
is_any_altered(List *objects)
{
	ListCell   *lc;

	foreach(lc, objects)
	{
		if (altered_since_look(((SyncObject *) lfirst(lc))->relid, LOOK_COLUMNS))
			return true;
	}
	return false;
}

/* One question for all objects of the server. */
static void
look_at_columns(const char *server, List *objects)
{
	ColumnsLook look = {server, false};
	ListCell   *lc;

	step_begin();
	foreach(lc, objects)
		altered_look_begins(((SyncObject *) lfirst(lc))->relid, LOOK_COLUMNS);
	if (attempt_contended(follow_columns, &look) != NULL)
		look.well = false;
	step_end();
	foreach(lc, look.well ? objects : NIL)
		altered_look_is_well(((SyncObject *) lfirst(lc))->relid, LOOK_COLUMNS);
}

/* As they are now, with what has become of their columns. */
static List *
read_objects(const char *server)
{
	List	   *objects;

	step_begin();
	objects = catalog_objects(server);
	step_end();
	if (!is_any_altered(objects))
		return objects;
	look_at_columns(server, objects);
	step_begin();
	objects = catalog_objects(server);
	step_end();
	return objects;
}

/* The objects to pull, each locked, and read anew under the locks. */
static List *
choose_objects(Cycle *cycle, const char *only)
{
	const char *server = cycle->org->server->name;
	List	   *chosen = NIL;
	List	   *objects = read_objects(server);
	ListCell   *lc;

	look_at_guards(objects);
	foreach(lc, objects)
	{
		SyncObject *object = (SyncObject *) lfirst(lc);

		if (is_wanted(cycle, object, only) && lock_object(cycle, object))
			cycle->locked = lappend_oid(cycle->locked, object->relid);
	}
	if (cycle->locked == NIL)
		return NIL;
	step_begin();
	objects = catalog_objects(server);
	step_end();
	foreach(lc, objects)
	{
		SyncObject *object = (SyncObject *) lfirst(lc);

		if (list_member_oid(cycle->locked, object->relid) &&
			is_wanted(cycle, object, only) && !is_still_locked(cycle, object))
			chosen = lappend(chosen, object);
	}
	return chosen;
}

/*
 * The org's clock now.  Before the first answer of a connection it is not
 * known; ours, less the overlap that follows, serves to choose windows.
 */
static TimestampTz
org_clock(const Org *org)
{
	return org->api->server_date ? api_now(org->api) : GetCurrentTimestamp();
}

/* Asks, and notes what the org's clock was before. */
static void
ask(Cycle *cycle, List *pulls, Question *questions, int n)
{
	SalesforceApi *api = cycle->org->api;
	TimestampTz before = GetCurrentTimestamp();
	ListCell   *lc;

	if (n == 0)
		return;
	query_ask(api, questions, n);
	foreach(lc, pulls)
	{
		Pull	   *pull = (Pull *) lfirst(lc);

		if (pull->asked == 0)
			pull->asked = api->server_date - (api->local_date - before) -
				USECS_PER_SEC;
	}
}

/*
 * What is visible now is wanted, which getUpdated cannot tell, answering in
 * whole minutes: for sync.now, and after a failure, which may have been one of
 * sync.now.  Of a failure that met a lock on the object's own row sync.failures
 * alone tells.
 */
static bool
is_immediate(const Cycle *cycle, const Pull *pull)
{
	return cycle->now || cycle->after_failure ||
		pull->object->failures > 0 ||
		pull->object->has_failures;
}

/* Rows will be asked for along with those of other objects. */
static bool
asks_rows(const Pull *pull, bool immediately)
{
	if (immediately)
		return true;
	return pull_has_changes(pull) &&
		(pull->updated == NULL ||
		 list_length(pull->updated->ids) < PULL_QUICK_ROWS);
}

/*
 * For an org that does not take a window that ends in the future: once more,
 * and from then on so at once.
 */
static void
ask_past(Cycle *cycle, List *pulls)
{
	ListCell   *lc;

	foreach(lc, pulls)
	{
		Pull	   *pull = (Pull *) lfirst(lc);

		if (!pull_ask_past(pull, org_clock(cycle->org)))
			continue;
		cycle->org->past_windows_only = true;
		query_ask(cycle->org->api, pull->deleted, 1);
	}
}

/* In a step.  False if the object, or its server under this name, is gone. */
static bool
read_fields(Pull *pull)
{
	pull->fields = catalog_fields(pull->object);
	return pull->fields != NIL;
}

/* Returns those pulls whose objects are still there. */
static List *
ask_everything(Cycle *cycle, List *pulls)
{
	Question   *ids = palloc0(sizeof(Question) * 2 * list_length(pulls));
	Question   *rows = palloc0(sizeof(Question) * PULL_QUESTIONS *
							   list_length(pulls));
	int			n = 0;
	ListCell   *lc;

	foreach(lc, pulls)
	{
		if (!is_immediate(cycle, (Pull *) lfirst(lc)))
			n += pull_ask_ids((Pull *) lfirst(lc), ids + n,
							  org_clock(cycle->org));
	}
	ask(cycle, pulls, ids, n);
	n = 0;
	foreach(lc, pulls)
	{
		Pull	   *pull = (Pull *) lfirst(lc);
		bool		immediately = is_immediate(cycle, pull);
		bool		there;

		if (!immediately && !pull_has_changes(pull) &&
			!pull->object->has_refused)
			continue;
		step_begin();
		there = read_fields(pull);
		step_end();
		if (!there)
			pulls = foreach_delete_current(pulls, lc);
		else if (asks_rows(pull, immediately))
			n += pull_ask_rows(pull, rows + n, org_clock(cycle->org),
							   immediately, cycle->org->past_windows_only);
	}
	ask(cycle, pulls, rows, n);
	ask_past(cycle, pulls);
	return pulls;
}

static void
follow_schema(Cycle *cycle, List *objects)
{
	ListCell   *lc;

	pgstat_report_activity(STATE_RUNNING, "schema");
	foreach(lc, evolve_due(cycle->org, objects))
	{
		SyncObject *object = (SyncObject *) lfirst(lc);
		Step		step;

		init_step(&step, cycle, object, "schema");
		(void) run_step(&step, do_evolve);
	}
}

/* An unknown field: the org's schema changed under us. */
static void
evolve_after_failure(Cycle *cycle, SyncObject *object)
{
	Step		step;

	if (cycle->org->api->error.status == 0 ||
		cycle->org->api->error.refusal != API_SCHEMA)
		return;
	object->describe_tag = NULL;
	init_step(&step, cycle, object, "schema");
	(void) run_step(&step, do_evolve);
}

static void
apply_pulls(Cycle *cycle, List *pulls, TimestampTz asked)
{
	ListCell   *lc;

	foreach(lc, pulls)
	{
		Pull	   *pull = (Pull *) lfirst(lc);
		Step		step;

		init_step(&step, cycle, pull->object, "pull");
		step.pull = pull;
		step.asked = asked;
		step.log_idle = cycle->now;
		if (pull->object->interval > 0)
			step.due = GetCurrentTimestamp() + pull->object->interval;
		if (!run_step(&step, do_pull))
			evolve_after_failure(cycle, pull->object);
		CHECK_FOR_INTERRUPTS();
	}
}

/* Whether our share of the org's daily calls is used up, as far as is known. */
static bool
budget_is_used(const Cycle *cycle, int64 *ours, int64 *limit)
{
	const ServerOptions *server = cycle->org->server;

	*limit = cycle->org->api->limit_max;
	step_begin();
	if (*limit <= 0)
		*limit = catalog_limit_max(server->name);
	*ours = catalog_calls_today(server->name);
	step_end();
	return *limit > 0 && *ours >= *limit * server->api_budget;
}

/*
 * The allowance may have grown, which only an answer of the org tells: each
 * time that the wait is over one call asks.
 */
void
cycle_check_budget(const Cycle *cycle)
{
	const ServerOptions *server = cycle->org->server;
	int64		ours;
	int64		limit;

	if (!budget_is_used(cycle, &ours, &limit))
		return;
	(void) api_call_json(cycle->org->api, API_KIND_OTHER, "GET", "/limits",
						 NIL, NULL);
	(void) cycle_count_calls(cycle->org);
	if (!budget_is_used(cycle, &ours, &limit))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
			 errmsg("the API budget of server \"%s\" is used up",
					server->name),
			 errdetail("%lld calls in 24 hours; the org allows %lld, of which sync may use %g %%.",
					   (long long) ours, (long long) limit,
					   server->api_budget * 100),
			 errhint("It goes on by itself; raise api_budget or interval with ALTER SERVER.")));
}

static void
unlock_objects(Cycle *cycle)
{
	ListCell   *lc;

	foreach(lc, cycle->locked)
		step_unlock(LOCK_OBJECT, lfirst_oid(lc));
	cycle->locked = NIL;
}

/* The first part of a cycle, shared by all objects, has a log row, too. */
static void
log_questions(Cycle *cycle, TimestampTz started, int64 calls)
{
	SyncCounts	counts = {0};

	counts.calls = calls;
	step_begin();
	catalog_log_whole(cycle->run, cycle->org->server->name, NULL, "ask",
					  started, &counts, "done");
	step_may_be_lost();
	step_end();
}

void
cycle_pull_object(Cycle *cycle, SyncObject *object)
{
	Cycle		now = *cycle;
	Pull	   *pull = palloc0(sizeof(Pull));
	TimestampTz started = GetCurrentTimestamp();
	SyncCounts	counts = {0};

	now.now = true;
	pull->object = object;
	pull_prepare(pull, cycle->org);
	if (ask_everything(&now, list_make1(pull)) != NIL)
		pull_apply(pull, cycle->org, started, object->due, true, &counts);
}

static void
pull_objects(Cycle *cycle, List *objects)
{
	TimestampTz started = GetCurrentTimestamp();
	int64		calls = cycle_calls(cycle->org);
	List	   *pulls = NIL;
	ListCell   *lc;

	foreach(lc, objects)
	{
		Pull	   *pull = palloc0(sizeof(Pull));

		pull->object = (SyncObject *) lfirst(lc);
		pull_prepare(pull, cycle->org);
		pulls = lappend(pulls, pull);
	}
	pgstat_report_activity(STATE_RUNNING, "ask");
	pulls = ask_everything(cycle, pulls);
	log_questions(cycle, started, cycle_calls(cycle->org) - calls);
	apply_pulls(cycle, pulls, started);
}

void
cycle_run(Cycle *cycle, const char *only)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "sync cycle",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);

	cycle_check_budget(cycle);
	PG_TRY();
	{
		List	   *objects = choose_objects(cycle, only);

		follow_schema(cycle, objects);
		if (objects != NIL)
			pull_objects(cycle, objects);
	}
	PG_FINALLY();
	{
		unlock_objects(cycle);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
	MemoryContextDelete(context);
}

bool
cycle_copy(Cycle *cycle, const char *name)
{
	const char *server = cycle->org->server->name;
	SyncObject *object;
	Oid			relid;
	volatile bool done = true;

	step_begin();
	object = catalog_object(server, name);
	step_end();
	if (object == NULL || object->state == STATE_LIVE ||
		!lock_object(cycle, object))
		return true;
	relid = object->relid;
	heed_copy(relid);
	PG_TRY();
	{
		/* It may have been finished by whoever had the lock before. */
		step_begin();
		object = catalog_object(server, name);
		step_end();
		if (object && object->state != STATE_LIVE)
		{
			Step		step;

			init_step(&step, cycle, object, "copy");
			step_begin();
			step.log_seq = catalog_log_start(cycle->run, server,
											 object->object, "copy");
			step_end();
			done = run_step(&step, do_copy);
		}
	}
	PG_FINALLY();
	{
		heed_copy(InvalidOid);
		step_unlock(LOCK_OBJECT, relid);
	}
	PG_END_TRY();
	return done;
}
