/*-------------------------------------------------------------------------
 *
 * soql.h
 *	  Writing SOQL.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_SOQL_H
#define SYNC_SOQL_H

#include "datatype/timestamp.h"
#include "lib/stringinfo.h"
#include "nodes/pg_list.h"

/* A string literal with quotes and escapes; raises an error on a NUL. */
extern char *soql_string(const char *value);

/* A datetime literal, whole seconds, "2026-01-31T10:00:00Z". */
extern char *soql_datetime(TimestampTz value);

/* Parses what the API sends as datetime, either form; error if it is none. */
extern TimestampTz soql_parse_datetime(const char *text);

/*
 * SELECT fields FROM object [WHERE conditions joined by AND] [ORDER BY order]
 * [LIMIT limit].  fields: List of char *.  conditions: List of char *, NULL
 * entries skipped, each put in parentheses.  order: NULL = none.  limit: 0 =
 * none.  Names are checked to be API names (letters, digits, _ and . only).
 */
extern char *soql_select(List *fields, const char *object, List *conditions,
						 const char *order, int limit);

/* "Id IN ('..','..')" of a List of char *. */
extern char *soql_id_in(List *ids);

#endif							/* SYNC_SOQL_H */
