/*-------------------------------------------------------------------------
 *
 * worker.c
 *	  Background workers: one for each server, and helpers.
 *
 * One worker serves one server, so that a slow org holds up no other.  Copiers
 * bring in objects for the first time beside it, while it goes on with the
 * increments of the others.  sync.now and logins asked for by backends have
 * workers of their own, so that their transactions do not depend on their
 * caller's.
 *
 * A scout reads the tables of one database, and starts what should be running
 * there; the launcher (launcher.c) sends it.  All workers but the launcher are
 * started with BGW_NEVER_RESTART, so that a database that was dropped has no
 * worker that fails for ever; the launcher is who brings them back.  Without it
 * sync.start() starts them, and nobody brings them back after a restart.
 *
 * Who serves a server holds its lock (step.h).  Nothing is kept in shared
 * memory.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/twophase.h"
#include "access/xact.h"
#include "commands/extension.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/procarray.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "copy.h"
#include "cycle.h"
#include "evolve.h"
#include "heed.h"
#include "login.h"
#include "pull.h"
#include "push.h"
#include "step.h"
#include "tables/attempt.h"
#include "tables/catalog.h"
#include "tables/outbox.h"
#include "wake.h"
#include "worker.h"

int			worker_max_copiers = 2;

/*
 * Nor does a worker look sooner than this at what is due and could not be done
 * (another process has it locked); changes to be sent wake it by its latch.
 */
#define WORKER_MIN_NAP_MS		100L

/* What it waits for while a prepared transaction has changes. */
#define PREPARED_NAP_MS			1000L

/*
 * Each stage is a table of its own, of which the system caches go on knowing
 * that it is not there: kilobytes each time, for as long as a worker lives.
 */
#define TURNS_BETWEEN_RESETS	100

/* What it waits for while somebody has a table of the sync's own locked. */
#define LOCKED_NAP_MS			1000L

/* A paused or idle worker looks at its tables at least so often. */
#define WORKER_MAX_NAP_MS		60000

PGDLLEXPORT void sync_worker_main(Datum arg);

StaticAssertDecl(sizeof(WorkerArgs) <= BGW_EXTRALEN,
				 "WorkerArgs must fit into bgw_extra");

/*
 * Starting workers
 */

static const char *const task_names[] = {"scout", "worker", "copier",
"cycle", "login"};

void
worker_fill(BackgroundWorker *worker, const char *function)
{
	memset(worker, 0, sizeof(BackgroundWorker));
	worker->bgw_flags = BGWORKER_SHMEM_ACCESS |
		BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker->bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker->bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker->bgw_library_name, "sync", BGW_MAXLEN);
	strlcpy(worker->bgw_function_name, function, BGW_MAXLEN);
}

/* False if max_worker_processes are in use. */
bool
worker_launch(WorkerArgs *args, BackgroundWorkerHandle **handle)
{
	BackgroundWorker worker;

	worker_fill(&worker, "sync_worker_main");
	if (!OidIsValid(args->dbid))
		args->dbid = MyDatabaseId;
	snprintf(worker.bgw_type, BGW_MAXLEN, "sync %s", task_names[args->task]);
	if (args->object[0])
		snprintf(worker.bgw_name, BGW_MAXLEN, "sync %s for %.60s",
				 task_names[args->task], args->object);
	else
		strlcpy(worker.bgw_name, worker.bgw_type, BGW_MAXLEN);
	worker.bgw_notify_pid = args->notify_pid ? args->notify_pid : MyProcPid;
	memcpy(worker.bgw_extra, args, sizeof(WorkerArgs));
	return RegisterDynamicBackgroundWorker(&worker, handle);
}

void
worker_run_and_wait(WorkerArgs *args)
{
	BackgroundWorkerHandle *handle;

	if (!worker_launch(args, &handle))
		ereport(ERROR,
				(errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
				 errmsg("could not start a background worker"),
				 errdetail("All background worker slots are in use."),
				 errhint("Increase max_worker_processes.")));
	PG_TRY();
	{
		(void) WaitForBackgroundWorkerShutdown(handle);
	}
	PG_CATCH();
	{
		TerminateBackgroundWorker(handle);
		PG_RE_THROW();
	}
	PG_END_TRY();
}

/* Whom a process serves, for pg_stat_activity and log_line_prefix (%a). */
static void
show_server(const char *name)
{
	SetConfigOption("application_name", name, PGC_USERSET, PGC_S_OVERRIDE);
}

/*
 * The worker of a server
 */

typedef struct CopierSlot
{
	char		object[WORKER_OBJECT_LEN];
	BackgroundWorkerHandle *handle;
} CopierSlot;

typedef struct ServerWorker
{
	Oid			serverid;
	SyncServer *server;			/* read anew each turn */
	Org		   *org;			/* NULL: not open */
	MemoryContext org_context;
	List	   *copiers;		/* of CopierSlot * */
	const char *copy_here;		/* object to be copied without a copier */
	TimestampTz trimmed;
	TimestampTz reconciled;
	TimestampTz push_again;		/* 0 = when there is something new */
	TimestampTz next_turn;		/* of all but pushing */
	char	   *failed_with;	/* credentials version of the last failure */
	long		nap;			/* after this turn, in milliseconds */
	bool		leaving;		/* out of sync.worker; looks once more */
	bool		done;
} ServerWorker;

/* What a worker does that concerns the org as a whole. */
typedef void (*ServerTask) (ServerWorker *w);

/* What an opening that failed has left is closed, too. */
static void
close_org(ServerWorker *w)
{
	MemoryContextDeleteChildren(w->org_context);
	w->org = NULL;
}

/* The org, opened again if server or user mapping were altered. */
static Org *
current_org(ServerWorker *w)
{
	if (w->org && !org_is_current(w->org))
		close_org(w);
	if (w->org == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(w->org_context);

		pgstat_report_activity(STATE_RUNNING, "login");
		w->org = org_open(w->server->name);
		MemoryContextSwitchTo(old);
	}
	return w->org;
}

static int64
new_run(void)
{
	int64		run;

	step_begin();
	run = catalog_next_run();
	step_end();
	return run;
}

static void
server_recovered(const SyncServer *server, const Org *org)
{
	if (server->failures == 0)
		return;
	step_begin();
	catalog_server_recovered(server->name);
	catalog_notify("recovery", server->name, NULL, NULL);
	step_end();
	cycle_tell_recovery(server->name, NULL, org);
}

/*
 * When all objects are to be looked at: after a failure of the org as a whole
 * (sync.now may have met it) as soon as it may be tried again.
 */
static TimestampTz
full_cycle_due(const SyncServer *server)
{
	return server->failures > 0 ? server->retry_at :
		Max(server->next_cycle, server->retry_at);
}

static void
do_cycle(ServerWorker *w)
{
	Cycle		cycle = {0};

	cycle.org = current_org(w);
	cycle.run = new_run();
	cycle.full = full_cycle_due(w->server) <= GetCurrentTimestamp();
	cycle.after_failure = w->server->failures > 0;
	cycle_run(&cycle, NULL);
	(void) cycle_count_calls(w->org);
	step_begin();
	if (cycle.full)
		catalog_cycle_done(w->server->name,
						   GetCurrentTimestamp() + w->org->server->interval);
	step_end();
	server_recovered(w->server, w->org);
}

static void
do_push(ServerWorker *w)
{
	Cycle		cycle = {0};

	w->push_again = 0;
	cycle.org = current_org(w);
	cycle.run = new_run();
	cycle_check_budget(&cycle);
	w->push_again = push_run(&cycle);
	if (cycle.again)
		w->next_turn = 0;
	if (cycle_count_calls(w->org) > 0)
		server_recovered(w->server, w->org);
}

/* Within a step; in memory that outlives the turn. */
static char *
present_credentials(const ServerWorker *w)
{
	ServerOptions *server = server_options_by_oid(w->serverid);

	return server ? MemoryContextStrdup(w->org_context,
										credentials_version(server)) : NULL;
}

/* In a PG_CATCH: the error is the server's, and gone as an error. */
static ErrorData *
record_caught(const SyncServer *server, Org *org, MemoryContext caller)
{
	ErrorData  *error;

	MemoryContextSwitchTo(caller);
	error = CopyErrorData();
	if (!heed_has_left(error))
		EmitErrorReport();
	FlushErrorState();
	step_abort();
	/* Somebody has a row of ours locked: the org has nothing to do with it. */
	if (!is_contention(error) && !heed_has_left(error))
		cycle_failed(server->name, NULL, "cycle", server->failures, error,
					 org);
	if (org)
		(void) cycle_count_calls(org);
	return error;
}

/*
 * A failure of the org as a whole is recorded, with the time of the next try.
 */
static void
guarded(ServerWorker *w, ServerTask task)
{
	MemoryContext caller = CurrentMemoryContext;

	PG_TRY();
	{
		task(w);
	}
	PG_CATCH();
	{
		if (is_contention(record_caught(w->server, w->org, caller)))
			w->push_again = GetCurrentTimestamp() + USECS_PER_SEC;
		close_org(w);
		step_begin();
		if (w->failed_with)
			pfree(w->failed_with);
		w->failed_with = NULL;
		w->failed_with = present_credentials(w);
		step_end();
	}
	PG_END_TRY();
}

/*
 * Copiers
 */

static bool
copier_runs(CopierSlot *slot)
{
	pid_t		pid;

	return GetBackgroundWorkerPid(slot->handle, &pid) != BGWH_STOPPED;
}

static CopierSlot *
find_copier(ServerWorker *w, const char *object)
{
	ListCell   *lc;

	foreach(lc, w->copiers)
	{
		CopierSlot *slot = (CopierSlot *) lfirst(lc);

		if (strcmp(slot->object, object) == 0)
			return slot;
	}
	return NULL;
}

static void
forget_ended_copiers(ServerWorker *w)
{
	ListCell   *lc;

	foreach(lc, w->copiers)
	{
		CopierSlot *slot = (CopierSlot *) lfirst(lc);

		if (!copier_runs(slot))
		{
			w->copiers = foreach_delete_current(w->copiers, lc);
			pfree(slot->handle);
			pfree(slot);
		}
	}
}

/*
 * Without a free worker slot the copy is done here, in line: slower, for the
 * increments wait, but done.
 */
static void
do_copy(ServerWorker *w)
{
	Cycle		cycle = {0};

	ereport(LOG,
			(errmsg("sync copies %s in the server's own worker",
					w->copy_here),
			 errdetail("All background worker slots are in use."),
			 errhint("Increase max_worker_processes.")));
	cycle.org = current_org(w);
	cycle.run = new_run();
	(void) cycle_copy(&cycle, w->copy_here);
	(void) cycle_count_calls(w->org);
}

static void
start_copier(ServerWorker *w, const char *object)
{
	MemoryContext old;
	CopierSlot *slot;
	WorkerArgs	args = {0};

	args.task = WORKER_COPY;
	args.serverid = w->serverid;
	strlcpy(args.object, object, WORKER_OBJECT_LEN);
	old = MemoryContextSwitchTo(TopMemoryContext);
	slot = palloc0(sizeof(CopierSlot));
	strlcpy(slot->object, object, WORKER_OBJECT_LEN);
	if (worker_launch(&args, &slot->handle))
	{
		w->copiers = lappend(w->copiers, slot);
		MemoryContextSwitchTo(old);
	}
	else
	{
		pfree(slot);
		MemoryContextSwitchTo(old);
		w->copy_here = object;
		guarded(w, do_copy);
	}
}

/* Starts copiers for new objects; returns when a failed one may try again. */
static TimestampTz
keep_copying(ServerWorker *w)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz next = 0;
	List	   *objects;
	ListCell   *lc;

	forget_ended_copiers(w);
	if (w->server->paused || !w->server->running)
		return 0;
	step_begin();
	objects = catalog_objects(w->server->name);
	step_end();
	foreach(lc, objects)
	{
		SyncObject *object = (SyncObject *) lfirst(lc);

		if (object->state == STATE_LIVE || find_copier(w, object->object))
			continue;
		if (object->retry_at > now)
			next = next ? Min(next, object->retry_at) : object->retry_at;
		else if (list_length(w->copiers) < worker_max_copiers)
			start_copier(w, object->object);
	}
	return next;
}

/*
 * When objects that failed or have an interval of their own are due, if that
 * is before the next cycle.
 */
static TimestampTz
next_object_due(ServerWorker *w)
{
	TimestampTz next = 0;
	List	   *objects;
	ListCell   *lc;

	step_begin();
	objects = catalog_objects(w->server->name);
	step_end();
	foreach(lc, objects)
	{
		SyncObject *object = (SyncObject *) lfirst(lc);
		TimestampTz due = Max(object->due, object->retry_at);

		if (object->state != STATE_LIVE || object->direction == DIRECTION_TO)
			continue;
		if (cycle_rereads_at(object) != 0)
		{
			TimestampTz again = Max(cycle_rereads_at(object),
									object->retry_at);

			due = due ? Min(due, again) : again;
		}
		if (object->rows_due != 0)
		{
			/* At once is a moment long ago. */
			TimestampTz rows = Max(Max(object->rows_due, object->retry_at), 1);

			due = due ? Min(due, rows) : rows;
		}
		/* Just copied: its first increment is due at once. */
		if (object->last_synced == 0 && due == 0)
			due = GetCurrentTimestamp();
		if (due != 0)
			next = next ? Min(next, due) : due;
	}
	return next;
}

/* Whether anything is left to be synced. */
static bool
has_objects(ServerWorker *w)
{
	List	   *objects;

	step_begin();
	objects = catalog_synced_objects(w->server->name);
	step_end();
	return objects != NIL;
}

static void
trim_log(ServerWorker *w)
{
	TimestampTz now = GetCurrentTimestamp();

	if (w->org == NULL || now - w->trimmed < USECS_PER_HOUR)
		return;
	step_begin();
	catalog_log_trim(w->server->name, now - w->org->server->keep_log);
	step_end();
	w->trimmed = now;
}

/* Milliseconds until the earlier of the moments given, 0 = no moment. */
static long
until(TimestampTz a, TimestampTz b, TimestampTz c)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz next = now + WORKER_MAX_NAP_MS * (int64) 1000;

	if (a)
		next = Min(next, a);
	if (b)
		next = Min(next, b);
	if (c)
		next = Min(next, c);
	return Max((long) ((next - now) / 1000 + 1), WORKER_MIN_NAP_MS);
}

/* The cycle's own time, or the time of an object that has its own. */
static bool
cycle_is_due(const SyncServer *server, TimestampTz object_due)
{
	TimestampTz now = GetCurrentTimestamp();

	if (server->retry_at > now)
		return false;
	return full_cycle_due(server) <= now || (object_due && object_due <= now);
}

/*
 * Sends what waits; returns whether there was anything.  When more comes due
 * by itself is noted.
 */
static bool
push_turn(ServerWorker *w)
{
	TimestampTz now = GetCurrentTimestamp();
	TimestampTz next;
	SyncServer *server;
	bool		due;

	if (w->server->retry_at > now)
		return false;
	step_begin();
	due = outbox_is_due(w->server->name);
	step_end();
	if (w->push_again == 0)
		w->push_again = push_unfinished(w->server->name);
	if (!due && (w->push_again == 0 || w->push_again > now))
		return false;
	guarded(w, do_push);
	step_begin();
	next = outbox_next(w->server->name);
	due = outbox_is_due(w->server->name);
	server = catalog_server_by_oid(w->serverid);
	step_end();
	/* An answer may call for a cycle. */
	if (server && server->next_cycle <= now && server->retry_at <= now)
	{
		w->server->next_cycle = server->next_cycle;
		w->next_turn = 0;
	}
	/* What could not be sent: its table is being copied, its parent refused. */
	if (due)
		next = now + USECS_PER_SEC;
	if (next)
		w->push_again = w->push_again ? Min(w->push_again, next) : next;
	if (w->push_again == 0)
		w->push_again = push_unfinished(w->server->name);
	return true;
}

/* What failed with other options is tried with these at once. */
static void
forgive_altered(ServerWorker *w)
{
	char	   *present;

	if (w->server == NULL || w->server->failures == 0 ||
		w->failed_with == NULL)
		return;
	present = present_credentials(w);
	if (present && strcmp(present, w->failed_with) != 0)
	{
		w->server->retry_at = 0;
		w->server->next_cycle = 0;
	}
	if (present)
		pfree(present);
}

/* In an attempt: an object's progress may be locked by sync.set. */
static void
follow_resume(void *arg)
{
	ServerWorker *w = (ServerWorker *) arg;

	(void) catalog_follow_resume(w->server->name);
}

/* The server's row, after renames and restores were followed. */
static void
read_server(ServerWorker *w)
{
	TimestampTz now = GetCurrentTimestamp();

	step_begin();
	if (now - w->reconciled > USECS_PER_MINUTE)
	{
		catalog_reconcile();
		w->reconciled = now;
	}
	w->server = catalog_server_by_oid(w->serverid);
	if (w->server && attempt_contended(follow_resume, w) == NULL)
		w->server = catalog_server_by_oid(w->serverid);
	forgive_altered(w);
	step_end();
	if (w->server)
		show_server(w->server->name);
}

/*
 * One turn: returns how long to sleep, or -1 when there is nothing more to do
 * for this process.
 */
static long
server_turn(ServerWorker *w)
{
	TimestampTz copy_due;
	TimestampTz object_due;
	TimestampTz retry;
	bool		ran_cycle = false;

	read_server(w);
	if (w->server == NULL || !w->server->running)
		return -1;
	if (w->server->paused)
	{
		close_org(w);
		return WORKER_MAX_NAP_MS;
	}
	/* Altered options hold at once, the interval among them. */
	if (w->org && !org_is_current(w->org))
	{
		close_org(w);
		w->server->next_cycle = 0;
		w->next_turn = 0;
	}
	if (push_turn(w) && w->next_turn > GetCurrentTimestamp())
		return until(w->next_turn, w->push_again, 0);
	if (!has_objects(w))
		return -1;
	object_due = next_object_due(w);
	if (cycle_is_due(w->server, object_due))
	{
		guarded(w, do_cycle);
		trim_log(w);
		step_begin();
		w->server = catalog_server_by_oid(w->serverid);
		step_end();
		if (w->server == NULL)
			return -1;
		object_due = next_object_due(w);
		ran_cycle = true;
	}
	copy_due = w->server->retry_at > GetCurrentTimestamp() ? 0 :
		keep_copying(w);
	w->next_turn = GetCurrentTimestamp() + 1000 *
		until(full_cycle_due(w->server), object_due, copy_due);
	/* Whoever woke us while we waited for the org's answers: look again. */
	if (ran_cycle)
		return 0;
	retry = w->server->retry_at > GetCurrentTimestamp() ? w->server->retry_at : 0;
	return until(w->next_turn, w->push_again, retry);
}

/*
 * While nothing can go out, each commit of a writer would wake us for nothing,
 * and the writer would pay for it.  Its latch waits for a moment.
 */
static void
let_writers_be(ServerWorker *w)
{
	if (w->server->paused || w->server->retry_at > GetCurrentTimestamp())
		(void) WaitLatch(MyLatch, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 WORKER_MIN_NAP_MS, PG_WAIT_EXTENSION);
}

/*
 * Whoever commits a prepared transaction wakes nobody.  So as long as there is
 * one with changes, the outbox is looked at more often.
 */
static long
nap_while_prepared(const ServerWorker *w, long nap)
{
	bool		prepared;

	if (max_prepared_xacts == 0 || w->server->paused || nap < PREPARED_NAP_MS)
		return nap;
	step_begin();
	prepared = outbox_is_prepared();
	step_end();
	return prepared ? PREPARED_NAP_MS : nap;
}

/*
 * There is one worker for a server.  One that leaves has first taken its pid
 * out of sync.worker, and then looked once more whether there is nothing to
 * do.  So if the pid stands there, that worker will see what we were started
 * for, and we are not needed; if it does not, the lock is about to be released:
 * by that worker, or by a scout that has only looked.
 */
static bool
take_over(Oid serverid)
{
	while (!step_lock_try(LOCK_WORKER, serverid))
	{
		int			pid;

		step_begin();
		pid = catalog_worker_pid(serverid);
		step_end();
		if (pid != 0 && BackendPidGetProc(pid) != NULL)
			return false;
		step_sleep(WORKER_MIN_NAP_MS);
	}
	return true;
}

static void
stand_in_catalog(Oid serverid, bool here)
{
	step_begin();
	if (here)
		catalog_worker_started(serverid, MyProcPid);
	else
		catalog_worker_leaves(serverid);
	step_end();
}

/*
 * Whether the work was done.  Somebody may have a table of ours locked (VACUUM
 * FULL, CREATE INDEX, an update of the extension), longer than we wait for it:
 * that ends no worker, for without a launcher it would not come back.
 */
static bool
unless_locked(void (*work) (void *arg), void *arg)
{
	MemoryContext caller = CurrentMemoryContext;
	volatile bool done = false;

	PG_TRY();
	{
		work(arg);
		done = true;
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		if (!is_contention(error))
			PG_RE_THROW();
		FlushErrorState();
		step_abort();
		ereport(LOG,
				(errmsg("sync waits for its own tables: %s", error->message)));
		FreeErrorData(error);
	}
	PG_END_TRY();
	return done;
}

static void
insist(void (*work) (void *arg), void *arg)
{
	while (!unless_locked(work, arg))
		step_sleep(LOCKED_NAP_MS);
}

static void
begin_serving(void *arg)
{
	ServerWorker *w = (ServerWorker *) arg;
	SyncServer *server;

	stand_in_catalog(w->serverid, true);
	step_begin();
	server = catalog_server_by_oid(w->serverid);
	if (server)
		catalog_log_interrupted(server->name);
	step_end();
}

/* Sets the nap; -1 says, the second time, that there is nothing left to do. */
static void
serve_once(void *arg)
{
	ServerWorker *w = (ServerWorker *) arg;

	w->nap = server_turn(w);
	w->done = w->nap < 0 && w->leaving;
	if ((w->nap < 0) != w->leaving)
	{
		stand_in_catalog(w->serverid, w->leaving);
		w->leaving = !w->leaving;
	}
	if (!w->leaving)
		w->nap = nap_while_prepared(w, w->nap);
}

/* What a worker that is idle waits for. */
static const char *
idle_activity(const ServerWorker *w)
{
	if (w->server->paused)
		return "paused";
	if (w->server->retry_at > GetCurrentTimestamp())
		return "waiting after a failure";
	return "waiting";
}

static void
serve(Oid serverid)
{
	ServerWorker worker = {0};
	MemoryContext turn;
	int64		turns = 0;

	if (!take_over(serverid))
		return;
	worker.serverid = serverid;
	heed_server(serverid);
	worker.org_context = AllocSetContextCreate(TopMemoryContext, "sync org",
											   ALLOCSET_SMALL_SIZES);
	turn = AllocSetContextCreate(TopMemoryContext, "sync turn",
								 ALLOCSET_DEFAULT_SIZES);
	insist(begin_serving, &worker);
	while (!worker.done)
	{
		MemoryContextReset(turn);
		MemoryContextSwitchTo(turn);
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		if (!unless_locked(serve_once, &worker))
		{
			step_sleep(LOCKED_NAP_MS);
			continue;
		}
		if (worker.leaving)
			continue;
		if (++turns % TURNS_BETWEEN_RESETS == 0)
			InvalidateSystemCaches();
		pgstat_report_activity(STATE_IDLE, idle_activity(&worker));
		let_writers_be(&worker);
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 worker.nap, PG_WAIT_EXTENSION);
	}
	close_org(&worker);
}

/*
 * Workers for one task
 */

static void
copy_once(const WorkerArgs *args)
{
	SyncServer *server;
	Cycle		cycle = {0};

	step_begin();
	server = catalog_server_by_oid(args->serverid);
	step_end();
	if (server == NULL || server->paused || !server->running)
		return;
	show_server(server->name);
	heed_server(args->serverid);
	/* If it ended at once, the worker would start the next one. */
	cycle.wait = true;
	pgstat_report_activity(STATE_RUNNING, "login");
	PG_TRY();
	{
		cycle.org = org_open(server->name);
		cycle.run = new_run();
		(void) cycle_copy(&cycle, args->object);
	}
	PG_CATCH();
	{
		(void) record_caught(server, cycle.org, TopMemoryContext);
	}
	PG_END_TRY();
	if (cycle.org)
		(void) cycle_count_calls(cycle.org);
}

/* First what is new, then the increment of everything that is wanted. */
static void
now_once_guarded(const WorkerArgs *args, SyncServer *server, Cycle *cycle)
{
	const char *only = args->object[0] ? args->object : NULL;
	List	   *objects;
	ListCell   *lc;

	pgstat_report_activity(STATE_RUNNING, "login");
	cycle->org = org_open(server->name);
	if (!server->paused)
		(void) push_run(cycle);
	step_begin();
	objects = catalog_objects(server->name);
	step_end();
	foreach(lc, objects)
	{
		SyncObject *object = (SyncObject *) lfirst(lc);

		if (object->state != STATE_LIVE &&
			(only == NULL || strcmp(only, object->object) == 0))
			(void) cycle_copy(cycle, object->object);
	}
	cycle_run(cycle, only);
	server_recovered(server, cycle->org);
}

static void
now_once(const WorkerArgs *args)
{
	MemoryContext caller = CurrentMemoryContext;
	TimestampTz started = GetCurrentTimestamp();
	SyncServer *server;
	Cycle		cycle = {0};

	/* A restored copy pauses before anything could be sent from it. */
	step_begin();
	catalog_reconcile();
	step_end();
	step_begin();
	server = catalog_server_by_oid(args->serverid);
	step_end();
	if (server == NULL)
		return;
	show_server(server->name);
	cycle.run = args->number;
	cycle.now = true;
	cycle.wait = true;
	PG_TRY();
	{
		now_once_guarded(args, server, &cycle);
	}
	PG_CATCH();
	{
		SyncCounts	counts = {0};
		ErrorData  *error = record_caught(server, cycle.org, caller);

		step_begin();
		catalog_log_whole(cycle.run, server->name, NULL, "cycle", started,
						  &counts, error->message);
		step_end();
	}
	PG_END_TRY();
	if (cycle.org)
		(void) cycle_count_calls(cycle.org);

	/* What could not be done now may be due before the worker would look. */
	step_begin();
	worker_wake_at_commit(args->serverid, false);
	step_end();
}

static void
log_in(const WorkerArgs *args)
{
	ServerOptions *server;

	step_begin();
	server = server_options_by_oid(args->serverid);
	step_end();
	if (server)
		show_server(server->name);
	pgstat_report_activity(STATE_RUNNING, "login");
	login_run(args->serverid, args->number);
}

/* Starts a worker for each server of this database that should have one. */
static void
scout(void *arg)
{
	const WorkerArgs *args = (const WorkerArgs *) arg;
	List	   *servers;
	ListCell   *lc;

	step_begin();
	catalog_reconcile();
	servers = catalog_servers();
	step_end();
	foreach(lc, servers)
	{
		SyncServer *server = (SyncServer *) lfirst(lc);
		WorkerArgs	next = {0};

		if (!server->running || !step_lock_try(LOCK_WORKER, server->serverid))
			continue;
		step_unlock(LOCK_WORKER, server->serverid);
		next.task = WORKER_SERVER;
		next.serverid = server->serverid;
		strlcpy(next.object, server->name, WORKER_OBJECT_LEN);
		next.notify_pid = args->notify_pid;
		if (!worker_launch(&next, NULL))
			ereport(LOG,
					(errmsg("could not start a background worker for server \"%s\"",
							server->name),
					 errdetail("All background worker slots are in use."),
					 errhint("Increase max_worker_processes.")));
	}
}

static bool
extension_is_here(void)
{
	bool		here;

	step_begin();
	here = OidIsValid(get_extension_oid("sync", true));
	step_end();
	return here;
}

/*
 * What is set for all sessions of a database (ALTER DATABASE), or of the whole
 * server, is meant for people.  A worker must write, with its own rights and
 * with triggers and foreign keys, see what others have committed as it goes on,
 * and read its moments as they were written: the abbreviation of a time zone may
 * be that of several.  As autovacuum does, after the connection has brought
 * those settings in.
 *
 * It waits for a lock for a second at most, since others wait for what it has
 * locked already; and of a deadlock it is the victim, for who looks for it
 * first is, and users look after a second.
 */
static void
use_own_settings(void)
{
	static const char *const settings[][2] = {
		{"role", "none"},
		{"session_replication_role", "origin"},
		{"row_security", "on"},
		{"default_table_access_method", "heap"},
		{"transform_null_equals", "off"},
		{"standard_conforming_strings", "on"},
		{"default_transaction_isolation", "read committed"},
		{"default_transaction_read_only", "off"},
		{"default_transaction_deferrable", "off"},
		{"statement_timeout", "0"},
		{"transaction_timeout", "0"},	/* since 17 */
		{"lock_timeout", "1s"},
		{"deadlock_timeout", "100ms"},
		{"idle_in_transaction_session_timeout", "0"},
		{"exit_on_error", "off"},
		{"DateStyle", "ISO"},
	};

	for (size_t i = 0; i < lengthof(settings); i++)
	{
		if (GetConfigOption(settings[i][0], true, false) != NULL)
			SetConfigOption(settings[i][0], settings[i][1], PGC_SUSET,
							PGC_S_OVERRIDE);
	}
	/*
	 * What is recorded before a record is created must be there after a crash,
	 * or the record is created again.  Those who may be lost say so
	 * (step_may_be_lost).
	 */
	SetConfigOption("synchronous_commit",
					synchronous_commit == SYNCHRONOUS_COMMIT_OFF ? "local" :
					GetConfigOption("synchronous_commit", false, false),
					PGC_SUSET, PGC_S_OVERRIDE);
}

/*
 * Every worker but the launcher begins here.
 */
void
sync_worker_main(Datum arg)
{
	WorkerArgs	args;

	memcpy(&args, MyBgworkerEntry->bgw_extra, sizeof(WorkerArgs));
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	step_in_worker = true;
	BackgroundWorkerInitializeConnectionByOid(args.dbid, InvalidOid, 0);
	use_own_settings();
	if (!extension_is_here())
		proc_exit(0);
	CurrentMemoryContext = AllocSetContextCreate(TopMemoryContext,
												 "sync worker",
												 ALLOCSET_DEFAULT_SIZES);
	switch ((WorkerTask) args.task)
	{
		case WORKER_SCOUT:
			insist(scout, &args);
			break;
		case WORKER_SERVER:
			serve(args.serverid);
			break;
		case WORKER_COPY:
			copy_once(&args);
			break;
		case WORKER_NOW:
			now_once(&args);
			break;
		case WORKER_LOGIN:
			log_in(&args);
			break;
	}
	proc_exit(0);
}
