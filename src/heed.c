/*-------------------------------------------------------------------------
 *
 * heed.c
 *	  Leaving what is waited for when the administrator says so.
 *
 * A process that waits for the org looks into the tables once a second: an
 * answer may hang for as long as the time-out lets it, and sync.pause,
 * sync.stop and sync.disable are not to wait for that.  What is given up that
 * way has only been read, and is read again; what writes is waited for
 * (salesforce/http.c).
 *
 * A page that streams into COPY holds a lock on its table.  If nothing comes
 * and somebody waits for that lock, as sync.disable does, the page is given up
 * as well.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "utils/memutils.h"

#include "heed.h"
#include "salesforce/http.h"
#include "step.h"
#include "tables/attempt.h"
#include "tables/catalog.h"
#include "tables/sql.h"

static Oid	heeded_server = InvalidOid;
static Oid	heeded_table = InvalidOid;

typedef struct Look
{
	bool		idle;			/* nothing has come for a while */
	const char *reason;
} Look;

static bool
is_waited_for(Oid relid)
{
	SqlScope	sql;
	bool		waited;

	sql_begin_latest(&sql);
	waited = sql_run(&sql,
					 "SELECT FROM pg_catalog.pg_locks l"
					 " WHERE l.locktype = 'relation' AND l.relation = $1"
					 " AND NOT l.granted AND l.database ="
					 " (SELECT d.oid FROM pg_catalog.pg_database d"
					 " WHERE d.datname = current_database()) LIMIT 1",
					 "o", relid) > 0;
	sql_end(&sql);
	return waited;
}

/* In an attempt: somebody may have a table of ours locked. */
static void
look(void *arg)
{
	Look	   *look = (Look *) arg;

	if (OidIsValid(heeded_server))
	{
		SyncServer *server = catalog_server_by_oid(heeded_server);

		if (server == NULL || !server->running)
			look->reason = "the server was stopped";
		else if (server->paused)
			look->reason = "the server was paused";
	}
	if (look->reason != NULL || !OidIsValid(heeded_table))
		return;
	if (catalog_object_by_relid(heeded_table) == NULL)
		look->reason = "the object is no longer synced";
	else if (look->idle && is_waited_for(heeded_table))
		look->reason = "another process waits for the table";
}

/* Its name is how heed_has_left and is_interrupt (attempt.c) know the error. */
static void
heed_leave(const char *reason)
{
	ereport(ERROR,
			(errcode(ERRCODE_QUERY_CANCELED),
			 errmsg("sync left what it waited for: %s", reason)));
}

static void
heed(bool idle)
{
	Look		now = {idle, NULL};
	bool		in_step = IsTransactionState();
	MemoryContext work = AllocSetContextCreate(CurrentMemoryContext,
											   "sync heed",
											   ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(work);

	if (!in_step)
		step_begin();
	(void) attempt_contended(look, &now);
	if (!in_step)
		step_end();
	MemoryContextSwitchTo(caller);
	MemoryContextDelete(work);
	if (now.reason != NULL)
		heed_leave(now.reason);
}

void
heed_server(Oid serverid)
{
	heeded_server = serverid;
	http_heed = heed;
}

void
heed_copy(Oid relid)
{
	heeded_table = relid;
	if (OidIsValid(relid))
		http_heed = heed;
}

bool
heed_has_left(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_QUERY_CANCELED &&
		error->funcname != NULL &&
		strcmp(error->funcname, "heed_leave") == 0;
}
