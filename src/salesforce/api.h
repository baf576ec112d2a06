/*-------------------------------------------------------------------------
 *
 * api.h
 *	  Authenticated calls to one org: URLs, headers, errors, accounting.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_API_H
#define SYNC_API_H

#include "../compat.h"
#include "http.h"
#include "json.h"

/* What a refusal asks of the caller (REST API: Status Codes). */
typedef enum ApiRefusal
{
	API_TRANSIENT,				/* try again after a pause: 5xx, 420, 429,
								 * broken answers */
	API_LIMIT,					/* allowance used up: wait long */
	API_LOGIN,					/* the session is not accepted, also after a
								 * new login */
	API_PERMISSION,				/* configuration of the org or the login */
	API_SCHEMA,					/* a field or object is not what we think:
								 * describe again */
	API_CURSOR,					/* a locator is gone: start the query again */
	API_TOO_BIG,				/* narrow the question: QUERY_TIMEOUT,
								 * OPERATION_TOO_LARGE */
	API_UNSUPPORTED,			/* this object or verb is not served by this
								 * API */
	API_REQUEST					/* any other: the request itself is wrong */
} ApiRefusal;

typedef struct ApiError
{
	int			status;			/* HTTP status; 0 = no answer */
	char		code[NAMEDATALEN];	/* Salesforce's errorCode; may be empty */
	char	   *message;		/* Salesforce's own words */
	ApiRefusal	refusal;
	char		request_id[NAMEDATALEN];	/* of the answer; may be empty */
} ApiError;

/* Kinds of calls, for sync.usage. */
typedef enum ApiKind
{
	API_KIND_QUERY,
	API_KIND_COMPOSITE,
	API_KIND_BULK,
	API_KIND_DESCRIBE,
	API_KIND_ROWS,
	API_KIND_OTHER
} ApiKind;
#define API_KINDS (API_KIND_OTHER + 1)
extern const char *const api_kind_names[API_KINDS];

typedef struct SalesforceApi SalesforceApi;

/*
 * Called when the org no longer accepts the session.  Puts a new token and
 * instance URL into the api by api_set_session and returns true, or returns
 * false when there is none to be had.  refused_token is the one that the org
 * did not accept.  May raise an error.
 */
typedef bool (*ApiRelogin) (SalesforceApi *api, const char *refused_token,
							void *arg);

struct SalesforceApi
{
	MemoryContext context;		/* of what hangs on this struct */
	HttpClient *http;
	char	   *instance_url;
	char	   *access_token;
	char	   *version;		/* "62.0", without v; NULL = not chosen yet */
	char	   *client_name;	/* Sforce-Call-Options: client=... */
	ApiRelogin	relogin;
	void	   *relogin_arg;

	/* Accounting; whoever reports the numbers sets them back to zero. */
	int64		calls[API_KINDS];
	int64		limit_used;		/* Sforce-Limit-Info; -1 = not seen */
	int64		limit_max;
	TimestampTz server_date;	/* Date of the latest answer; 0 = none */
	TimestampTz local_date;		/* our clock when that answer came */
	char		request_id[NAMEDATALEN];	/* X-Sfdc-Request-Id of the latest
											 * answer, by which Salesforce's
											 * support finds it; or empty */

	ApiError	error;			/* of the latest refused call */
};

extern SalesforceApi *api_create(HttpClient *http, const char *client_name,
								 ApiRelogin relogin, void *relogin_arg);
extern void api_set_session(SalesforceApi *api, const char *instance_url,
							const char *access_token);

/*
 * Chooses the version to speak: `wanted` ("62.0") if given and offered, else
 * the newest offered that is not newer than the newest known to work.
 * Sets api->version.
 */
extern void api_choose_version(SalesforceApi *api, const char *wanted);

/*
 * api_call_json: one call; path is relative to /services/data/vXX.X ("/limits"),
 * or absolute if it begins with /services/.  Either way it stays on the
 * instance.  headers may be NIL.  body is JSON text or NULL.  Returns the answer
 * of any status below 400, parsed (NULL: 204, 304); a body that is no JSON is a
 * transient refusal.
 *
 * A 401 INVALID_SESSION_ID is answered by one new login and one repetition.
 * Every other refusal fills api->error and raises an error whose SQLSTATE
 * follows the class: ERRCODE_CONNECTION_FAILURE (transient),
 * ERRCODE_CONFIGURATION_LIMIT_EXCEEDED (limit),
 * ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION (login),
 * ERRCODE_INSUFFICIENT_PRIVILEGE (permission), ERRCODE_FDW_INVALID_COLUMN_NAME
 * (schema), ERRCODE_FDW_ERROR (the rest), with
 * Salesforce's own words in the primary message, errdetail
 * "Salesforce answered 400 INVALID_TYPE." and a hint.  So does the absence
 * of an answer (api->error.status = 0).  Transient refusals are not repeated
 * here: a step that failed is repeated as a whole, by whoever keeps time.
 *
 * api_try: the same, not parsed, and a refusal (not a transport failure) is
 * handed back as an answer, with api->error filled.  api_try_once: for a call that
 * would be refused if it came a second time (once as in HttpRequest).
 */
extern Json *api_call_json(SalesforceApi *api, ApiKind kind,
						   const char *method, const char *path,
						   List *headers, const char *body);
extern HttpAnswer *api_try(SalesforceApi *api, ApiKind kind,
						   const char *method, const char *path,
						   List *headers, const char *body);
extern HttpAnswer *api_try_once(SalesforceApi *api, ApiKind kind,
								const char *method, const char *path,
								List *headers, const char *body);

/*
 * Several calls in flight together.  How each ended is told in it, nothing of
 * that is raised: for what writes it matters whether a call that brought no
 * answer may have had an effect all the same.
 */
typedef enum ApiFate
{
	API_ANSWERED,				/* status below 400 */
	API_REFUSED,				/* any other status; see error */
	API_UNSENT,					/* nothing left us: no connection came about */
	API_SILENT,					/* sent, and no answer began */
	API_CUT						/* an answer began and broke off */
} ApiFate;

typedef struct ApiCall
{
	/* As in api_call_json. */
	ApiKind		kind;
	const char *method;
	const char *path;
	List	   *headers;
	const char *body;
	bool		once;			/* as in HttpRequest */

	ApiFate		fate;
	HttpAnswer *answer;			/* of API_ANSWERED and API_REFUSED */
	ApiError	error;			/* of all but API_ANSWERED; status 0 = no
								 * answer */
	bool		session_ended;	/* refused, and a new login may cure it */
} ApiCall;

/*
 * api_send_many: does not log in again by itself, so that the caller can keep
 * what the other calls achieved before that is tried, which may raise.
 * api_renew_session: true if there is a new session to send them again with.
 */
extern void api_send_many(SalesforceApi *api, ApiCall **calls, int n);
extern bool api_renew_session(SalesforceApi *api);

/* Streams an answer (Bulk result pages); headers as in api_call_json. */
extern HttpStream *api_open(SalesforceApi *api, ApiKind kind,
							const char *path, List *headers);

/*
 * Reads an error body of either shape (array, OAuth object), HTML, or nothing,
 * into error; api_raise raises what api->error holds, saying what was tried
 * ("could not read limits of the org").
 */
extern void api_read_error(SalesforceApi *api, int status, const char *body);
pg_noreturn extern void api_raise(SalesforceApi *api, const char *what);

/*
 * The same from an error that is already parsed (a part of a Composite answer,
 * body may be NULL), and from words alone (the message of a failed job, an
 * answer that makes no sense).  code and message are copied.
 */
extern void api_read_error_json(SalesforceApi *api, int status,
								const Json *body);
extern void api_set_error(SalesforceApi *api, int status, const char *code,
						  const char *message);

/*
 * An error that was found elsewhere becomes the last one of this API, copied;
 * and the last one is forgotten.  error.message is the API's own: nobody else
 * writes to it.
 */
extern void api_take_error(SalesforceApi *api, const ApiError *error);
extern bool api_is_refusal(const SalesforceApi *api, int sqlstate);
extern void api_clear_error(SalesforceApi *api);

/*
 * A list is complete only when what came adds up to what the org announced (-1:
 * nothing); ERRCODE_CARDINALITY_VIOLATION if it does not.  what: "the list of ids of Lead".
 * api_require_sum: more than announced is an error, too.
 */
extern void api_require_whole(const char *what, int64 announced, int64 came);
extern void api_require_sum(const char *what, int64 announced, int64 came);

/* The org's clock now: its latest Date header carried on by our clock. */
extern TimestampTz api_now(const SalesforceApi *api);

#endif							/* SYNC_API_H */
