/*-------------------------------------------------------------------------
 *
 * salesforce_check.h
 *	  What the files of this module share.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SALESFORCE_CHECK_H
#define SALESFORCE_CHECK_H

#include "nodes/pg_list.h"

#include "api.h"

#define CHECK_FUNCTION(name) \
	PG_FUNCTION_INFO_V1(name); \
	PGDLLEXPORT Datum name(PG_FUNCTION_ARGS); \
	Datum \
	name(PG_FUNCTION_ARGS)

#define ARG_TEXT(n) text_to_cstring(PG_GETARG_TEXT_PP(n))
#define ARG_TEXT_OR_NULL(n) (PG_ARGISNULL(n) ? NULL : ARG_TEXT(n))
#define RETURN_TEXT(s) PG_RETURN_TEXT_P(cstring_to_text(s))

/* The login of check_login. */
extern SalesforceApi *check_org(void);

/* The elements of a text[]. */
extern List *check_list(Datum datum);

#endif							/* SALESFORCE_CHECK_H */
