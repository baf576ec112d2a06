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
#include "worker.h"

PG_MODULE_MAGIC;

PGDLLEXPORT void _PG_init(void);

void
_PG_init(void)
{
	worker_init();
	reserve_guc_prefix("sync");
}
