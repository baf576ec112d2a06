/*-------------------------------------------------------------------------
 *
 * login.c
 *	  The session of a server: kept in one place, shared by all backends.
 *
 * The access token lives in sync.session, one row a server.  Whoever finds it
 * missing, made for other credentials, or refused by the org, logs in under a
 * lock, so that there is one refresher at a time: with refresh-token rotation
 * two at once would revoke each other.  Who waited for the lock takes what the
 * holder got, token or refusal, and does not try again: a user is locked out
 * after a few refused logins.
 *
 * Only background workers log in.  A backend is in its user's transaction, and
 * what it wrote, a rotated refresh token above all, would be lost with a
 * ROLLBACK; so it starts a worker for it and waits.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "login.h"
#include "salesforce/text.h"
#include "step.h"
#include "tables/attempt.h"
#include "tables/catalog.h"
#include "tables/sql.h"
#include "worker.h"
#include "salesforce/origin.h"

/* To set up a TCP and TLS connection may take this long. */
#define CONNECT_TIMEOUT_MS	15000

typedef struct StoredSession
{
	int64		generation;		/* 0: none stored yet */
	bool		current;		/* made with today's credentials */
	char	   *instance_url;
	char	   *access_token;	/* NULL: the login was refused */
	char	   *user_id;
	char	   *org_id;			/* NULL: the login did not say */
	char	   *expected_org;	/* NULL: any */
	int64		clock_offset;
	char	   *version;
	char	   *error_state;
	char	   *error_message;
	char	   *error_detail;
	char	   *error_hint;
} StoredSession;

static StoredSession *
read_session(const ServerOptions *server)
{
	StoredSession *result = palloc0(sizeof(StoredSession));
	SqlScope	sql;

	step_begin();
	/* Another process may have rotated the refresh token a moment ago. */
	AcceptInvalidationMessages();
	sql_begin_latest(&sql);
	if (sql_run(&sql,
				"SELECT generation, credentials = $2, instance_url,"
				" access_token, version, error_state, error_message,"
				" error_detail, error_hint, user_id,"
				" clock_offset, org_id, (SELECT v.org_id FROM sync.server v"
				" WHERE v.serverid = s.serverid)"
				" FROM sync.session s WHERE serverid = $1",
				"ot", server->serverid, credentials_version(server)) > 0)
	{
		result->generation = sql_int(&sql, 0, 1);
		result->current = sql_bool(&sql, 0, 2);
		result->instance_url = sql_text(&sql, 0, 3);
		result->access_token = sql_text(&sql, 0, 4);
		result->version = sql_text(&sql, 0, 5);
		result->error_state = sql_text(&sql, 0, 6);
		result->error_message = sql_text(&sql, 0, 7);
		result->error_detail = sql_text(&sql, 0, 8);
		result->error_hint = sql_text(&sql, 0, 9);
		result->user_id = sql_text(&sql, 0, 10);
		result->clock_offset = sql_int(&sql, 0, 11);
		result->org_id = sql_text(&sql, 0, 12);
		result->expected_org = sql_text(&sql, 0, 13);
	}
	sql_end(&sql);
	step_end();
	return result;
}

static bool
is_usable(const StoredSession *session, const char *refused_token)
{
	return session->current && session->access_token != NULL &&
		(refused_token == NULL ||
		 strcmp(session->access_token, refused_token) != 0);
}

static void
raise_stored_error(const StoredSession *session)
{
	const char *s = session->error_state;

	ereport(ERROR,
			(errcode(MAKE_SQLSTATE(s[0], s[1], s[2], s[3], s[4])),
			 errmsg("%s", session->error_message),
			 session->error_detail ? errdetail("%s", session->error_detail) : 0,
			 session->error_hint ? errhint("%s", session->error_hint) : 0));
}

/*
 * The result of a login.  A rotated refresh token is on disk before the
 * session that it came with is used by anybody: its predecessor is dead.
 */
static void
store_session(const ServerOptions *server, const Session *session,
			  const char *version, int64 clock_offset,
			  const ErrorData *error)
{
	SqlScope	sql;

	step_begin();
	(void) set_config_option("synchronous_commit", "local", PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
	if (session && session->refresh_token)
	{
		store_refresh_token(server, session->refresh_token);
		CommandCounterIncrement();
	}
	sql_begin(&sql);
	(void) sql_run(&sql,
				   "INSERT INTO sync.session AS s (serverid, generation,"
				   " credentials, instance_url, access_token, version,"
				   " login_at, error_state, error_message, error_detail,"
				   " error_hint, user_id, clock_offset,"
				   " org_id)"
				   " VALUES ($1, 1, $2, $3, $4, $5, now(), $6, $7, $8, $9, $10,"
				   " $11, $12)"
				   " ON CONFLICT (serverid) DO UPDATE SET"
				   " generation = s.generation + 1, credentials = $2,"
				   " instance_url = $3, access_token = $4, version = $5,"
				   " login_at = now(), error_state = $6, error_message = $7,"
				   " error_detail = $8, error_hint = $9, user_id = $10,"
				   " clock_offset = $11, org_id = $12",
				   "otttttttttlt", server->serverid, credentials_version(server),
				   session ? session->instance_url : NULL,
				   session ? session->access_token : NULL, version,
				   error ? unpack_sql_state(error->sqlerrcode) : NULL,
				   error ? error->message : NULL,
				   error ? error->detail : NULL,
				   error ? error->hint : NULL,
				   session ? session->user_id : NULL, clock_offset,
				   session ? session->org_id : NULL);
	sql_end(&sql);
	step_end();
}

static HttpClient *
create_client(const ServerOptions *server)
{
	HttpOptions options = {0};

	options.user_agent = "sync/" SYNC_VERSION " (PostgreSQL " PG_VERSION ")";
	options.ca_file = server->ca_file;
	options.connect_timeout = CONNECT_TIMEOUT_MS;
	options.idle_timeout = (int) Min(server->timeout / 1000, INT_MAX);
	return http_create(&options);
}

/*
 * The exchange itself: session and API version, or an error.  Its connections
 * are closed with it, or by whoever handles the error.
 */
static Session *
ask_for_session(const ServerOptions *server, char **version,
				int64 *clock_offset)
{
	MemoryContext exchange = AllocSetContextCreate(CurrentMemoryContext,
												   "sync login",
												   ALLOCSET_SMALL_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(exchange);
	HttpClient *client = create_client(server);
	Credentials *credentials;
	Session    *session;
	SalesforceApi *api;

	step_begin();
	credentials = server_credentials(server, NULL);
	step_end();
	api = api_create(client, server->client_name, NULL, NULL);
	MemoryContextSwitchTo(caller);
	session = session_login(client, credentials);
	api_set_session(api, session->instance_url, session->access_token);
	if (session->refresh_token)
		store_session(server, session, NULL, 0, NULL);
	session->refresh_token = NULL;
	api_choose_version(api, server->api_version);
	*version = pstrdup(api->version);
	*clock_offset = api->server_date ? api->server_date - api->local_date : 0;
	MemoryContextDelete(exchange);
	return session;
}

/* A failure worth remembering: one that repeating would not cure. */
static bool
is_refusal(const ErrorData *error)
{
	return error->sqlerrcode != ERRCODE_QUERY_CANCELED &&
		error->sqlerrcode != ERRCODE_ADMIN_SHUTDOWN;
}

/* Logs in and stores the outcome; the caller holds the lock. */
static void
login_locked(const ServerOptions *server)
{
	MemoryContext caller = CurrentMemoryContext;

	PG_TRY();
	{
		char	   *version;
		int64		clock_offset;
		Session    *session = ask_for_session(server, &version,
											  &clock_offset);

		store_session(server, session, version, clock_offset, NULL);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		FlushErrorState();
		step_abort();
		if (is_refusal(error))
			store_session(server, NULL, NULL, 0, error);
		ReThrowError(error);
	}
	PG_END_TRY();
}

/*
 * In a worker: logs in, unless somebody has since the session that the caller
 * saw (seen_generation).
 */
static void
login_in_worker(const ServerOptions *server, int64 seen_generation)
{
	step_lock_wait(LOCK_LOGIN, server->serverid);
	PG_TRY();
	{
		StoredSession *session = read_session(server);

		if (session->generation > seen_generation && session->current)
		{
			if (session->access_token == NULL)
				raise_stored_error(session);
		}
		else
			login_locked(server);
	}
	PG_FINALLY();
	{
		step_unlock(LOCK_LOGIN, server->serverid);
	}
	PG_END_TRY();
}

void
login_run(Oid serverid, int64 seen_generation)
{
	ServerOptions *server;

	step_begin();
	server = server_options_by_oid(serverid);
	step_end();
	if (server)
		login_in_worker(server, seen_generation);
}

/* In a backend: has a worker log in, and takes over what came of it. */
static void
login_by_worker(const ServerOptions *server, int64 seen_generation)
{
	WorkerArgs	args = {0};
	StoredSession *session;

	args.task = WORKER_LOGIN;
	args.serverid = server->serverid;
	args.number = seen_generation;
	worker_run_and_wait(&args);

	session = read_session(server);
	if (session->generation <= seen_generation)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
				 errmsg("could not log in to server \"%s\"", server->name),
				 errdetail("The background worker that was to log in ended without a result."),
				 errhint("If server or user mapping were created in this transaction, commit first. Otherwise the server log says why.")));
	if (session->access_token == NULL)
		raise_stored_error(session);
}

/*
 * The first 15 characters of an id tell; three more repeat which of them are
 * capitals.
 */
static bool
is_foreign(const StoredSession *session)
{
	return session->org_id && session->expected_org &&
		strncmp(session->org_id, session->expected_org, 15) != 0;
}

/*
 * A sandbox that was refreshed, another login_url, a restored copy: behind the
 * same server there may be another org by now.  Not a row moves then, for its
 * records are others, under ids that may be the same.
 */
static void
check_org(Org *org, const StoredSession *session)
{
	const char *server = org->server->name;

	org->org_id = session->org_id;
	org->is_foreign = is_foreign(session);
	if (!org->is_foreign || org->any_org)
		return;
	/* That the old token was refused is not what went wrong. */
	api_clear_error(org->api);
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
			 errmsg("server \"%s\" leads to org %s now, not to %s as before",
					server, foreign_text(session->org_id),
					session->expected_org),
			 errdetail("The tables hold records of the other org; nothing is read or written."),
			 errhint("Put login_url and user mapping back. If the new org is meant: SELECT sync.resume('%s', accept_org => true) sets waiting changes aside and reads all tables anew.",
					 server)));
}

/*
 * The org of a server is the first that it led to.  Whoever has the server's row
 * locked just now is not waited for; the next one notes it.
 */
static void
note_org(void *arg)
{
	const Org  *org = (const Org *) arg;

	catalog_org_known(org->server->name, org->org_id);
}

/*
 * Puts a usable session into the api: the stored one, or one from a login.
 */
static void
ensure_session(Org *org, const char *refused_token)
{
	StoredSession *session = read_session(org->server);

	/* Of another org: a new login tells whether it is so still. */
	if (!is_usable(session, refused_token) ||
		(is_foreign(session) && !org->any_org))
	{
		if (step_in_worker)
			login_in_worker(org->server, session->generation);
		else
			login_by_worker(org->server, session->generation);
		session = read_session(org->server);
		if (!is_usable(session, refused_token))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
					 errmsg("could not log in to server \"%s\"",
							org->server->name),
					 errhint("Server or user mapping were altered meanwhile; try again.")));
	}
	check_org(org, session);
	api_set_session(org->api, session->instance_url, session->access_token);
	if (session->version)
	{
		MemoryContext old = MemoryContextSwitchTo(org->context);

		org->org_id = session->org_id ? pstrdup(session->org_id) : NULL;

		org->user_id = session->user_id ? pstrdup(session->user_id) : NULL;
		org->api->version = pstrdup(session->version);
		MemoryContextSwitchTo(old);
	}
	if (step_in_worker && org->org_id && session->expected_org == NULL)
	{
		step_begin();
		(void) attempt_contended(note_org, org);
		step_end();
	}
	/* Until an answer tells the org's clock, it is as far from ours as then. */
	if (org->api->server_date == 0)
	{
		org->api->local_date = GetCurrentTimestamp();
		org->api->server_date = org->api->local_date + session->clock_offset;
	}
}

/* The org no longer accepts the session (ApiRelogin). */
static bool
relogin(SalesforceApi *api, const char *refused_token, void *arg)
{
	char	   *refused = pstrdup(refused_token);

	/*
	 * In the middle of a step (a page that is read again) there is no room for
	 * the transactions of a login; the step fails and is repeated.
	 */
	if (step_in_worker && IsTransactionState())
		return false;
	ensure_session((Org *) arg, refused);
	return true;
}

static Org *
open_org(const char *server, bool any_org)
{
	MemoryContext context = AllocSetContextCreate(CurrentMemoryContext,
												  "sync org",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	Org		   *org = palloc0(sizeof(Org));

	org->context = context;
	org->any_org = any_org;
	step_begin();
	org->server = server_options(server);
	org->credentials = credentials_version(org->server);
	step_end();
	org->api = api_create(create_client(org->server),
						  org->server->client_name, relogin, org);
	ensure_session(org, NULL);
	MemoryContextSwitchTo(old);
	return org;
}

Org *
org_open(const char *server)
{
	return open_org(server, false);
}

Org *
org_open_any(const char *server)
{
	return open_org(server, true);
}

void
org_distrust(const Org *org)
{
	SqlScope	sql;

	sql_begin(&sql);
	(void) sql_run(&sql,
				   "UPDATE sync.session SET credentials = ''"
				   " WHERE serverid = $1 AND access_token = $2",
				   "ot", org->server->serverid, org->api->access_token);
	sql_end(&sql);
}

void
org_close(Org *org)
{
	MemoryContextDelete(org->context);
}

bool
org_is_current(const Org *org)
{
	ServerOptions *server;
	bool		current;

	step_begin();
	server = server_options_by_oid(org->server->serverid);
	current = server != NULL &&
		strcmp(server->name, org->server->name) == 0 &&
		strcmp(credentials_version(server), org->credentials) == 0;
	step_end();
	return current;
}
