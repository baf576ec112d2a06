/*-------------------------------------------------------------------------
 *
 * functions.h
 *	  What the SQL-callable administration shares.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_FUNCTIONS_H
#define SYNC_FUNCTIONS_H

#include "fmgr.h"
#include "nodes/pg_list.h"

#include "login.h"
#include "tables/catalog.h"

/*
 * default_object_names: the objects that sync.enable takes when none are named.
 * unfit_encoding: the encoding of this database if it cannot hold all that
 * Salesforce has; or NULL.
 */
extern List *default_object_names(void);
extern const char *unfit_encoding(void);

/*
 * Waits for some seconds until nothing of the object is being sent, and keeps
 * it so until the transaction ends.
 */
extern void wait_for_sender(const SyncObject *object);

/*
 * text_arg, name_arg: the argument numbered from 0; NULL for null.
 * require_arg: ERROR if it is null, which says that what must be named.
 * split_names: "A, B, C" or an array literal, as list of char *; NIL for NULL.
 * server_arg: the server named by the first argument, whoever owns it.
 * own_server: the server named by the first argument, after renames and restores
 * were followed; ERROR if the caller does not own it.
 * synced_object: by name in any case; ERROR if it is not synced.
 */
extern char *text_arg(FunctionCallInfo fcinfo, int n);
extern char *name_arg(FunctionCallInfo fcinfo, int n);
extern void require_arg(FunctionCallInfo fcinfo, int n, const char *what);
extern List *split_names(const char *value);
extern ServerOptions *server_arg(FunctionCallInfo fcinfo);
extern ServerOptions *own_server(FunctionCallInfo fcinfo);
extern SyncObject *synced_object(const ServerOptions *server,
								 const char *name);

#endif							/* SYNC_FUNCTIONS_H */
