/*-------------------------------------------------------------------------
 *
 * rights.c
 *	  Running code with the rights of somebody else.
 *
 * The one place where the project changes the current user.  With the user
 * changes search_path.  It is never empty: PostgreSQL would look for types and
 * relations in the temporary schema first, and who may create temporary
 * objects could put a domain "text" there, whose CHECK then runs with the
 * other's rights.  Functions and operators are never looked up there at all.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/guc.h"

#include "tables/rights.h"

/* As the server's own RestrictSearchPath, which came with 17. */
#define SAFE_SEARCH_PATH	"pg_catalog, pg_temp"

void
rights_begin(Rights *caller, Oid user, int restriction)
{
	GetUserIdAndSecContext(&caller->user, &caller->sec_context);
	SetUserIdAndSecContext(user, caller->sec_context | restriction);
	caller->guc_level = NewGUCNestLevel();
	(void) set_config_option("search_path", SAFE_SEARCH_PATH, PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
}

void
rights_end(const Rights *caller)
{
	AtEOXact_GUC(false, caller->guc_level);
	SetUserIdAndSecContext(caller->user, caller->sec_context);
}
