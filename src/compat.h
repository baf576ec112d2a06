/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  What differs between PostgreSQL 13 and 18.  Every version test of the
 *	  project is here.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_COMPAT_H
#define SYNC_COMPAT_H

#include "utils/guc.h"

/* 14 renamed the predefined roles. */
#if PG_VERSION_NUM < 140000
#define ROLE_PG_READ_SERVER_FILES DEFAULT_ROLE_READ_SERVER_FILES
#endif

/* 17 brought RestrictSearchPath(); call within a NewGUCNestLevel(). */
static inline void
set_empty_search_path(void)
{
#if PG_VERSION_NUM >= 170000
	RestrictSearchPath();
#else
	(void) set_config_option("search_path", "", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
#endif
}

#endif							/* SYNC_COMPAT_H */
