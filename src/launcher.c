/*-------------------------------------------------------------------------
 *
 * launcher.c
 *	  The launcher: looks for workers that should be running.
 *
 * With shared_preload_libraries it looks into each database now and then, and
 * at once when a worker has ended: it starts a scout there (worker.c), which can
 * read that database's tables and starts what should be running.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "worker.h"

int			launcher_naptime = 60;

/* It does not look again sooner than this, whatever ends. */
#define LAUNCHER_MIN_NAP_MS		2000

PGDLLEXPORT void sync_launcher_main(Datum arg);

/* Databases that may have the extension: all that can be connected to. */
static List *
connectable_databases(MemoryContext context)
{
	List	   *databases = NIL;
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while (HeapTupleIsValid(tuple = heap_getnext(scan, ForwardScanDirection)))
	{
		Form_pg_database db = (Form_pg_database) GETSTRUCT(tuple);

		/*
		 * Templates are left alone: a connection would disturb their copying.
		 * A limit of -2 marks what an interrupted DROP DATABASE has left.
		 */
		if (db->datallowconn && !db->datistemplate && db->datconnlimit != -2)
		{
			MemoryContext old = MemoryContextSwitchTo(context);

			databases = lappend_oid(databases, db->oid);
			MemoryContextSwitchTo(old);
		}
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
	MemoryContextSwitchTo(context);
	return databases;
}

/* One scout after the other, so that they take one worker slot only. */
static void
scout_databases(MemoryContext context)
{
	List	   *databases = connectable_databases(context);
	ListCell   *lc;

	foreach(lc, databases)
	{
		BackgroundWorkerHandle *handle;
		WorkerArgs	args = {0};

		args.task = WORKER_SCOUT;
		args.dbid = lfirst_oid(lc);
		/* Whom the workers that it starts tell of their end. */
		args.notify_pid = MyProcPid;
		if (!worker_launch(&args, &handle))
			return;
		(void) WaitForBackgroundWorkerShutdown(handle);
		CHECK_FOR_INTERRUPTS();
	}
}

void
sync_launcher_main(Datum arg)
{
	MemoryContext turn;

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	turn = AllocSetContextCreate(TopMemoryContext, "sync launcher",
								 ALLOCSET_DEFAULT_SIZES);
	for (;;)
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
		scout_databases(turn);
		/* The scouts' own ends have set the latch, too. */
		ResetLatch(MyLatch);
		(void) WaitLatch(MyLatch, WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 LAUNCHER_MIN_NAP_MS, PG_WAIT_EXTENSION);
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 launcher_naptime * 1000L, PG_WAIT_EXTENSION);
	}
}

/* Set in the postmaster, inherited by all. */
static bool launcher_registered = false;

bool
worker_has_launcher(void)
{
	return launcher_registered;
}

void
launcher_register(void)
{
	BackgroundWorker worker;

	worker_fill(&worker, "sync_launcher_main");
	worker.bgw_restart_time = 5;
	strlcpy(worker.bgw_name, "sync launcher", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "sync launcher", BGW_MAXLEN);
	RegisterBackgroundWorker(&worker);
	launcher_registered = true;
}
