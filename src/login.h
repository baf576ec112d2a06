/*-------------------------------------------------------------------------
 *
 * login.h
 *	  The session of a server: kept in one place, shared by all backends.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_LOGIN_H
#define SYNC_LOGIN_H

#include "fdw.h"
#include "salesforce/api.h"

/* One org, as a process speaks to it. */
typedef struct Org
{
	MemoryContext context;
	ServerOptions *server;
	SalesforceApi *api;
	char	   *user_id;		/* who we are in the org; NULL = it did not say */
	char	   *org_id;			/* which it is; NULL = it did not say */
	bool		any_org;		/* nothing is synced by this connection */
	bool		is_foreign;		/* the server was in step with another org */
	bool		past_windows_only;	/* getDeleted does not take an end in the
									 * future */
	char	   *credentials;	/* credentials_version() when it was opened */
} Org;

/*
 * org_open: ready to call, logged in if no session is at hand.  Errors of the
 * login are raised here, and that the server leads to another org than the
 * tables are from (ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION).  In a worker, to
 * be called between steps.
 * org_open_any: for questions that move no rows; any org will do.
 * org_close: releases connections and memory.
 * org_is_current: false once server or user mapping were altered.
 */
extern Org *org_open(const char *server);
extern Org *org_open_any(const char *server);
extern void org_close(Org *org);
extern bool org_is_current(const Org *org);

/*
 * org_distrust: the stored session is not used any more; the next org_open logs
 * in, and learns where the instance is by now.
 */
extern void org_distrust(const Org *org);

/* What a worker started for a login does: log in unless somebody has. */
extern void login_run(Oid serverid, int64 seen_generation);

#endif							/* SYNC_LOGIN_H */
