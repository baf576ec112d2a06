/*-------------------------------------------------------------------------
 *
 * worker.h
 *	  Background workers: what they are started for, and starting them.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_WORKER_H
#define SYNC_WORKER_H

#include "nodes/pg_list.h"

typedef enum WorkerTask
{
	WORKER_SCOUT,				/* start what a database should have running */
	WORKER_SERVER,				/* the cycles of one server, for good */
	WORKER_COPY,				/* first copy of one object */
	WORKER_NOW,					/* one cycle, for sync.now */
	WORKER_LOGIN				/* a login, for a backend */
} WorkerTask;

/* An API name has at most 80 characters. */
#define WORKER_OBJECT_LEN	88

/* Travels in bgw_extra (BGW_EXTRALEN bytes). */
typedef struct WorkerArgs
{
	Oid			dbid;
	Oid			serverid;
	int64		number;			/* run of a cycle, generation of a session */
	int32		notify_pid;		/* who wants to know when it ends; 0 = the
								 * process that starts it */
	int16		task;			/* WorkerTask */
	char		object[WORKER_OBJECT_LEN];	/* what it is for; of a server's
											 * worker its name, to be seen only */
} WorkerArgs;

/*
 * worker_run_and_wait: starts a worker and waits for its end; ends it if the
 * wait is interrupted.  ERROR with a hint when it cannot be started.
 * worker_launch: starts one; false if max_worker_processes are in use.
 * worker_fill: what all of them have in common.
 */
struct BackgroundWorker;
struct BackgroundWorkerHandle;

extern void worker_run_and_wait(WorkerArgs *args);
extern bool worker_launch(WorkerArgs *args,
						  struct BackgroundWorkerHandle **handle);
extern void worker_fill(struct BackgroundWorker *worker, const char *function);

/* launcher.c */
extern bool worker_has_launcher(void);
extern void launcher_register(void);

/* Settings */
extern int	worker_max_copiers;
extern int	launcher_naptime;	/* seconds */

#endif							/* SYNC_WORKER_H */
