/*-------------------------------------------------------------------------
 *
 * sync.c
 *	  Module load.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"

#include "compat.h"
#include "tables/capture.h"
#include "worker.h"

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	worker_init();
	capture_init(worker_wake_for_changes);
	reserve_guc_prefix("sync");
}
