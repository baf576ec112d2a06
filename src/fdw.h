/*-------------------------------------------------------------------------
 *
 * fdw.h
 *	  The wrapper "salesforce": options of servers and user mappings.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_FDW_H
#define SYNC_FDW_H

#include "datatype/timestamp.h"
#include "salesforce/session.h"

/* All times in microseconds, as PostgreSQL's own. */
typedef struct ServerOptions
{
	char	   *name;
	Oid			serverid;
	Oid			owner;
	char	   *login_url;
	char	   *api_version;	/* NULL: the newest that both sides know */
	int64		interval;		/* pause between cycles */
	int64		overlap;		/* how far behind the cursor a pull reads */
	double		api_budget;		/* share of the daily calls, 0..1 */
	char	   *client_name;
	char	   *ca_file;		/* or NULL */
	int64		timeout;		/* without a byte, before giving up */
	int64		keep_log;
} ServerOptions;

/*
 * An interval in microseconds, months as 30 days; false if it is negative or
 * longer than 100 years.
 */
extern bool parse_duration(const char *value, int64 *duration);

/* ERRCODE_UNDEFINED_OBJECT if there is no such server of this wrapper. */
extern ServerOptions *server_options(const char *server);

/* Same by oid; NULL if it is gone or not of this wrapper. */
extern ServerOptions *server_options_by_oid(Oid serverid);

/*
 * The login of the server: its owner's user mapping, else that for PUBLIC.
 * umid tells which; the private key is read from its file.
 */
extern Credentials *server_credentials(const ServerOptions *server,
									   Oid *mapping_user);

/*
 * A text that changes whenever the server or its user mapping is altered, and
 * holds none of their values: a session obtained under another is not used.
 */
extern char *credentials_version(const ServerOptions *server);

/*
 * Stores a rotated refresh token in the user mapping.  Part of the caller's
 * transaction; passes by no statement text, which could be logged.
 */
extern void store_refresh_token(const ServerOptions *server,
								const char *token);

/* Errors unless the current user owns the server, or has USAGE on it. */
extern void require_server_owner(const ServerOptions *server);
extern void require_server_usage(const ServerOptions *server);

#endif							/* SYNC_FDW_H */
