/*-------------------------------------------------------------------------
 *
 * sync.c
 *	  Module load, and the settings.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/guc.h"

#include "compat.h"
#include "copy.h"
#include "evolve.h"
#include "pull.h"
#include "push.h"
#include "tables/capture.h"
#include "wake.h"
#include "worker.h"

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

static void
define_settings(void)
{
	DefineCustomIntVariable("sync.max_copiers",
							"Sets how many objects of a server are copied at once for the first time.",
							NULL, &worker_max_copiers, 2, 1, 16, PGC_SIGHUP, 0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("sync.naptime",
							"Sets how often the launcher looks into the databases for workers that should be running.",
							NULL, &launcher_naptime, 60, 1, 3600, PGC_SIGHUP,
							GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("sync.page_rows",
							"Sets how many rows of a Bulk result are fetched and committed at once.",
							NULL, &copy_page_rows, 100000, 100, 10000000,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("sync.bulk_threshold",
							"Sets above how many changed rows of an object a Bulk job is used.",
							NULL, &pull_bulk_threshold, 10000, 0, 1000000,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("sync.push_bulk_threshold",
							"Sets above how many changes of one object a Bulk job sends them.",
							NULL, &push_bulk_threshold, 2000, 1, 1000000,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("sync.push_concurrency",
							"Sets how many calls that write to Salesforce are in flight at once.",
							NULL, &push_concurrency, 4, 1, 8,
							PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("sync.lost_answer_wait",
							"Sets for how long a request whose answer was lost may still be running in the org.",
							"A record that is not found there is sent again only after that.",
							&push_answer_wait, 120, 0, 86400,
							PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
	DefineCustomIntVariable("sync.describe_interval",
							"Sets how often an object's fields are looked at anew.",
							NULL, &evolve_interval, 3600, 1, 604800,
							PGC_SIGHUP, GUC_UNIT_S, NULL, NULL, NULL);
}

void
_PG_init(void)
{
	define_settings();
	if (process_shared_preload_libraries_in_progress)
		launcher_register();
	capture_init(worker_wake_for_changes);
	reserve_guc_prefix("sync");
}
