/*-------------------------------------------------------------------------
 *
 * wake.c
 *	  Waking a server's worker when a transaction commits.
 *
 * The pid is looked up while the transaction can still read tables; a pid that
 * has meanwhile gone to another process does no harm, for a latch may always be
 * set.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "utils/builtins.h"
#include "utils/inval.h"
#include "utils/memutils.h"

#include "tables/catalog.h"
#include "wake.h"
#include "worker.h"

typedef struct PendingWake
{
	Oid			serverid;
	NameData	name;			/* of the server, for the name of a worker */
	int			pid;
	bool		start;
} PendingWake;

static List *pending_wakes = NIL;	/* in TopTransactionContext */

static void
wake_pid(int pid)
{
	PGPROC	   *proc = pid > 0 ? BackendPidGetProc(pid) : NULL;

	if (proc && proc->databaseId == MyDatabaseId)
		SetLatch(&proc->procLatch);
}

static void
wake_callback(XactEvent event, void *arg)
{
	ListCell   *lc;

	if (pending_wakes == NIL)
		return;
	/* Whoever commits a prepared one cannot know: the worker watches it. */
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_PREPARE)
	{
		foreach(lc, pending_wakes)
		{
			PendingWake *wake = (PendingWake *) lfirst(lc);
			WorkerArgs	args = {0};

			wake_pid(wake->pid);
			args.task = WORKER_SERVER;
			args.serverid = wake->serverid;
			strlcpy(args.object, NameStr(wake->name), WORKER_OBJECT_LEN);

			/* It ends at once where one is running; no slot: see sync.check */
			if (wake->start)
				(void) worker_launch(&args, NULL);
		}
	}
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT ||
		event == XACT_EVENT_PREPARE)
		pending_wakes = NIL;
}

static void
add_wake(Oid serverid, const char *name, int pid, bool start)
{
	static bool registered = false;
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);
	PendingWake *wake = palloc(sizeof(PendingWake));

	if (!registered)
		RegisterXactCallback(wake_callback, NULL);
	registered = true;
	wake->serverid = serverid;
	namestrcpy(&wake->name, name);
	wake->pid = pid;
	wake->start = start;
	pending_wakes = lappend(pending_wakes, wake);
	MemoryContextSwitchTo(old);
}

void
worker_wake_at_commit(Oid serverid, bool start)
{
	ForeignServer *server;
	ListCell   *lc;

	foreach(lc, pending_wakes)
	{
		PendingWake *wake = (PendingWake *) lfirst(lc);

		if (wake->serverid == serverid)
		{
			wake->start |= start;
			return;
		}
	}
	server = GetForeignServerExtended(serverid, FSV_MISSING_OK);
	add_wake(serverid, server ? server->servername : "",
			 catalog_worker_pid(serverid), start);
}

/*
 * The pid that serves the server looked up last; a worker that starts says so
 * by an invalidation of sync.worker.
 */
static Oid	known_server = InvalidOid;
static int	known_pid = 0;
static Oid	worker_relid = InvalidOid;

static void
forget_pid(Datum arg, Oid relid)
{
	if (relid == InvalidOid || relid == worker_relid)
		known_server = InvalidOid;
}

void
worker_wake_for_changes(Oid serverid)
{
	if (!OidIsValid(worker_relid))
		CacheRegisterRelcacheCallback(forget_pid, (Datum) 0);
	if (known_server != serverid)
	{
		/* What comes in while it is read counts. */
		worker_relid = catalog_worker_table();
		known_server = serverid;
		known_pid = catalog_worker_pid(serverid);
	}
	add_wake(serverid, "", known_pid, false);
}
