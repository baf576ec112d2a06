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
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_JSON_H
#define SYNC_JSON_H

typedef struct Json Json;

/* (further functions: the author of json.c adds what the bank needs) */

#endif							/* SYNC_JSON_H */
