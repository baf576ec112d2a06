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

/*
 * What a command has dropped, by its own word.  A table that a look into
 * pg_class does not find may only be hidden from us (other extensions do that
 * with the parts of their tables), and its changes wait for Salesforce.
 */
static List *
dropped_oids(const char *class, bool columns)
{
	SqlScope	sql;
	List	   *oids = NIL;
	uint64		n;

	sql_begin(&sql);
	n = sql_run(&sql,
				"SELECT d.objid"
				" FROM pg_catalog.pg_event_trigger_dropped_objects() d"
				" WHERE d.classid = $1::pg_catalog.text::pg_catalog.regclass"
				" AND (d.objsubid <> 0) = $2", "tb", class, columns);
	MemoryContextSwitchTo(sql.caller);
	for (uint64 i = 0; i < n; i++)
		oids = lappend_oid(oids, (Oid) sql_int(&sql, i, 1));
	sql_end(&sql);
	return oids;
}

/* As what SQL parameters can be. */
static int64 *
numbers_of(List *oids)
{
	int64	   *numbers = palloc(sizeof(int64) * Max(list_length(oids), 1));
	int			n = 0;
	ListCell   *lc;

	foreach(lc, oids)
		numbers[n++] = lfirst_oid(lc);
	return numbers;
}

/* Tables of a server that is no more become ordinary ones. */
static void
release_tables(List *servers)
{
	ListCell   *lc;
	ListCell   *lc2;

	foreach(lc, servers)
	{
		SyncServer *server = catalog_server_by_oid(lfirst_oid(lc));

		if (server == NULL)
			continue;
		foreach(lc2, catalog_objects(server->name))
		{
			SyncObject *object = (SyncObject *) lfirst(lc2);

			if (get_rel_name(object->relid) != NULL)
				schema_release(object->relid);
		}
	}
}

/*
 * Objects whose tables were dropped, with all that waits in them; false if there
 * were none among them.
 */
static bool
forget_tables(List *relids)
{
	SqlScope	sql;
	bool		found;
	int64	   *numbers = numbers_of(relids);
	int			n = list_length(relids);

#define DROPPED_TABLE \
	"(SELECT o.server, o.object FROM sync.object o" \
	" WHERE o.relation::pg_catalog.oid::pg_catalog.int8 = ANY ($1))"
	sql_begin(&sql);
	(void) sql_run(&sql, "DELETE FROM sync.failures"
				   " WHERE (server, object) IN " DROPPED_TABLE, "S", numbers, n);
	(void) sql_run(&sql, "DELETE FROM sync.change c"
				   " WHERE c.relation::pg_catalog.oid::pg_catalog.int8 = ANY ($1)",
				   "S", numbers, n);
	found = sql_run(&sql, "DELETE FROM sync.object o"
					" WHERE o.relation::pg_catalog.oid::pg_catalog.int8 = ANY ($1)",
					"S", numbers, n) > 0;
	sql_end(&sql);
	return found;
}

/* Servers that were dropped, and what is known of them. */
static void
forget_servers(List *oids)
{
	static const char *const tables[] = {"failures", "log", "conflicts",
	"calls", "server"};
	SqlScope	sql;
	int64	   *numbers = numbers_of(oids);

	sql_begin(&sql);
	(void) sql_run(&sql, "DELETE FROM sync.change c USING sync.object o"
				   " JOIN sync.server s USING (server)"
				   " WHERE c.relation = o.relation"
				   " AND s.serverid::pg_catalog.int8 = ANY ($1)",
				   "S", numbers, list_length(oids));
	for (size_t i = 0; i < lengthof(tables); i++)
		(void) sql_run(&sql,
					   psprintf("DELETE FROM sync.%s WHERE server IN"
								" (SELECT s.server FROM sync.server s"
								" WHERE s.serverid::pg_catalog.int8 = ANY ($1))",
								tables[i]),
					   "S", numbers, list_length(oids));
	sql_end(&sql);
}

/*
 * Event trigger on sql_drop: what was dropped is no longer synced.
 */
Datum
sync_dropped(PG_FUNCTION_ARGS)
{
	List	   *servers;
	List	   *relids;
	bool		changed;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		elog(ERROR, "not fired by event trigger manager");
	servers = dropped_oids("pg_catalog.pg_foreign_server", false);
	relids = dropped_oids("pg_catalog.pg_class", false);
	release_tables(servers);
	changed = relids != NIL && forget_tables(relids);
	if (servers != NIL)
		forget_servers(servers);
	if (changed || servers != NIL)
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
