/*-------------------------------------------------------------------------
 *
 * json.h
 *	  Reading JSON: the only door to json-c.
 *
 * json-c and utils/builtins.h each declare json_object and cannot be included
 * together, so json-c stays behind this opaque type.  A document is owned by
 * the memory context that was current when it was parsed; the nodes below it
 * are borrowed from it.
 *
 * A JSON null is a NULL pointer, as is a member that is absent: json_member
 * tells the two apart.  All functions take NULL for a node.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_JSON_H
#define SYNC_JSON_H

#include "lib/stringinfo.h"

typedef struct Json Json;

typedef enum JsonKind
{
	JSON_IS_NULL,
	JSON_IS_BOOLEAN,
	JSON_IS_NUMBER,
	JSON_IS_STRING,
	JSON_IS_ARRAY,
	JSON_IS_OBJECT
} JsonKind;

/*
 * json_read: parses a document that is an object or an array; NULL if the text
 * is anything else.  NULs (\u0000), which no text of PostgreSQL can hold, are
 * taken out, so that every string below is an ordinary C string.
 * json_hold: makes CurrentMemoryContext a further owner of a node, which then
 * outlives its document.
 */
extern Json *json_read(const char *text, Size len);
extern Json *json_hold(Json *node);

extern JsonKind json_kind(const Json *node);

/* json_member: false if node is no object or has no such key. */
extern Json *json_get(const Json *node, const char *key);
extern bool json_member(const Json *node, const char *key, Json **value);

/* Elements of an array; 0 and NULL for anything else. */
extern int	json_count(const Json *node);
extern Json *json_item(const Json *node, int i);

/*
 * json_text: a scalar as text, borrowed: strings as they are, numbers as they
 * were sent (no rounding), true and false.  An object or array as JSON.  NULL
 * for null.
 * json_get_text: the same of a member, copied; NULL if null or absent.
 * json_get_bool, json_get_int: the default if null, absent or not of the kind.
 */
extern const char *json_text(const Json *node);
extern char *json_get_text(const Json *node, const char *key);
extern bool json_get_bool(const Json *node, const char *key, bool otherwise);
extern int64 json_get_int(const Json *node, const char *key, int64 otherwise);

/* Calls visit for each member of an object, in the order of the text. */
typedef void (*JsonVisit) (const char *key, Json *value, void *arg);
extern void json_visit(const Json *node, JsonVisit visit, void *arg);

/* Takes all members of that name out of a node and everything below it. */
extern void json_remove(Json *node, const char *key);

/* Appends text as a JSON string, quoted and escaped. */
extern void json_append_string(StringInfo buf, const char *text);

#endif							/* SYNC_JSON_H */
