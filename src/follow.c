/*-------------------------------------------------------------------------
 *
 * follow.c
 *	  Following what DDL does to servers and tables, by event triggers.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "commands/event_trigger.h"
#include "fmgr.h"
#include "utils/lsyscache.h"

#include "compat.h"
#include "tables/catalog.h"
#include "tables/schema.h"
#include "tables/sql.h"
#include "wake.h"

PG_FUNCTION_INFO_V1(sync_dropped);
PG_FUNCTION_INFO_V1(sync_altered);

/* Tables of servers that are no more become ordinary ones. */
static void
release_tables(void)
{
	SqlScope	sql;
	List	   *relids = NIL;
	uint64		n;
	ListCell   *lc;

	sql_begin(&sql);
	n = sql_run(&sql,
				"SELECT o.relation::pg_catalog.oid FROM sync.object o"
				" JOIN sync.server s USING (server)"
				" JOIN pg_catalog.pg_class c ON c.oid = o.relation"
				" WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_foreign_server f"
				" WHERE f.srvname = s.server OR f.oid = s.serverid)", "");
	MemoryContextSwitchTo(sql.caller);
	for (uint64 i = 0; i < n; i++)
		relids = lappend_oid(relids, (Oid) sql_int(&sql, i, 1));
	sql_end(&sql);
	foreach(lc, relids)
		schema_release(lfirst_oid(lc));
}

/*
 * Event trigger on sql_drop: what no longer exists is no longer synced.
 */
Datum
sync_dropped(PG_FUNCTION_ARGS)
{
	SqlScope	sql;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		elog(ERROR, "not fired by event trigger manager");
	release_tables();
	sql_begin(&sql);
	(void) sql_run(&sql,
				   "DELETE FROM sync.object o"
				   " WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_class c"
				   " WHERE c.oid = o.relation)", "");
	(void) sql_run(&sql,
				   "DELETE FROM sync.server s"
				   " WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_foreign_server f"
				   " WHERE f.srvname = s.server OR f.oid = s.serverid)", "");
	(void) sql_run(&sql,
				   "DELETE FROM sync.failures f WHERE object IS NOT NULL"
				   " AND NOT EXISTS (SELECT FROM sync.object o"
				   " WHERE o.server = f.server AND o.object = f.object)", "");
	(void) sql_run(&sql,
				   "DELETE FROM sync.failures f"
				   " WHERE NOT EXISTS (SELECT FROM sync.server s"
				   " WHERE s.server = f.server)", "");
	(void) sql_run(&sql,
				   "DELETE FROM sync.log l"
				   " WHERE NOT EXISTS (SELECT FROM sync.server s"
				   " WHERE s.server = l.server)", "");
	(void) sql_run(&sql,
				   "DELETE FROM sync.change c"
				   " WHERE NOT EXISTS (SELECT FROM sync.object o"
				   " WHERE o.relation = c.relation)", "");
	(void) sql_run(&sql,
				   "DELETE FROM sync.conflicts c"
				   " WHERE NOT EXISTS (SELECT FROM sync.server s"
				   " WHERE s.server = c.server)", "");
	sql_end(&sql);
	catalog_changed();
	PG_RETURN_NULL();
}

/*
 * Event trigger on ddl_command_end: servers and user mappings may have been
 * altered; their workers look at once.  A new name is followed before another
 * server can take the old one.
 */
Datum
sync_altered(PG_FUNCTION_ARGS)
{
	ListCell   *lc;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		elog(ERROR, "not fired by event trigger manager");
	catalog_reconcile();
	foreach(lc, catalog_servers())
		worker_wake_at_commit(((SyncServer *) lfirst(lc))->serverid, false);
	PG_RETURN_NULL();
}
