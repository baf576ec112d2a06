/*-------------------------------------------------------------------------
 *
 * api.c
 *	  Authenticated calls to one org: URLs, headers, errors, accounting.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>
#include <limits.h>

#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "api.h"
#include "text.h"
#include "origin.h"

/* The newest version whose answers are known to be read rightly. */
#define NEWEST_KNOWN 62

/* Error pages of an edge server may be long; what matters comes first. */
#define MAX_ERROR_BODY (64 * 1024)

const char *const api_kind_names[API_KINDS] = {
	"query", "composite", "bulk", "describe", "rows", "other"
};

/*
 * Salesforce's error codes by what they ask of us.  code NULL = any,
 * words NULL = any; the first row that fits counts.  Those of Bulk 2.0 are
 * written without underscores.
 */
typedef struct RefusalRule
{
	const char *code;
	const char *words;			/* a part of the message */
	ApiRefusal	refusal;
} RefusalRule;

static const RefusalRule refusal_rules[] = {
	/* Too many at once passes in seconds; too many a day does not. */
	{"REQUEST_LIMIT_EXCEEDED", "Concurrent", API_TRANSIENT},
	{"REQUEST_LIMIT_EXCEEDED", NULL, API_LIMIT},
	{"LIMIT_EXCEEDED", NULL, API_LIMIT},
	{"LIMITEXCEEDED", NULL, API_LIMIT},
	{"EXCEEDEDQUOTA", NULL, API_LIMIT},
	{NULL, "Max bulk v2 query", API_LIMIT},

	{"INVALID_SESSION_ID", NULL, API_LOGIN},
	{"INVALID_AUTH_HEADER", NULL, API_LOGIN},

	{NULL, "is not supported by the Bulk API", API_UNSUPPORTED},
	{NULL, "does not support query", API_UNSUPPORTED},
	{NULL, "compound data not supported", API_UNSUPPORTED},
	{NULL, "Implementation restriction", API_UNSUPPORTED},
	{"INVALIDENTITY", NULL, API_UNSUPPORTED},
	{"FEATURENOTENABLED", NULL, API_UNSUPPORTED},
	{"INVALID_TYPE_FOR_OPERATION", NULL, API_UNSUPPORTED},
	{"METHOD_NOT_ALLOWED", NULL, API_UNSUPPORTED},

	{"INVALID_FIELD", NULL, API_SCHEMA},
	{"INVALID_TYPE", NULL, API_SCHEMA},
	{NULL, "No such column", API_SCHEMA},
	{NULL, "Field name not found", API_SCHEMA},
	{NULL, "sObject type '", API_SCHEMA},

	{"INVALID_QUERY_LOCATOR", NULL, API_CURSOR},
	{"INVALIDLOCATOR", NULL, API_CURSOR},
	{"INVALIDJOB", NULL, API_CURSOR},

	{"QUERY_TIMEOUT", NULL, API_TOO_BIG},
	{"OPERATION_TOO_LARGE", NULL, API_TOO_BIG},
	{"EXCEEDED_ID_LIMIT", NULL, API_TOO_BIG},
	{NULL, "running for too long", API_TOO_BIG},
	{NULL, "Retried more than", API_TOO_BIG},

	{"INSUFFICIENT_ACCESS", NULL, API_PERMISSION},
	{"INSUFFICIENT_ACCESS_OR_READONLY", NULL, API_PERMISSION},
	{"API_DISABLED_FOR_ORG", NULL, API_PERMISSION},
	{"API_CURRENTLY_DISABLED", NULL, API_PERMISSION},
	{"FORBIDDEN", NULL, API_PERMISSION},
	{"OPERATION_NOT_PERMITTED", NULL, API_PERMISSION},
	{"FUNCTIONALITY_NOT_ENABLED", NULL, API_PERMISSION},
	{"TXN_SECURITY_METERING_ERROR", NULL, API_PERMISSION},

	{"SERVER_UNAVAILABLE", NULL, API_TRANSIENT},
	{"UNKNOWN_EXCEPTION", NULL, API_TRANSIENT},
	{"UNABLE_TO_LOCK_ROW", NULL, API_TRANSIENT}
};

/* Where neither code nor message says more. */
static ApiRefusal
refusal_by_status(int status, bool has_code)
{
	switch (status)
	{
		case 401:
			return API_LOGIN;
		case 403:
			return API_PERMISSION;
		case 405:
			return API_UNSUPPORTED;
		case 404:
			/* Of the API it has a code; a page that says so is another host's. */
			return has_code ? API_REQUEST : API_TRANSIENT;
		case 409:
		case 410:
		case 412:
		case 414:
		case 415:
		case 428:
		case 431:
			return API_REQUEST;
		case 406:
		case 408:
		case 420:
		case 429:
			return API_TRANSIENT;
	}
	if (status >= 500)
		return API_TRANSIENT;
	/* Not Salesforce's own words: something between us that will pass. */
	return has_code ? API_REQUEST : API_TRANSIENT;
}

static ApiRefusal
classify(int status, const char *code, const char *message)
{
	int			i;

	for (i = 0; i < (int) lengthof(refusal_rules); i++)
	{
		const RefusalRule *rule = &refusal_rules[i];

		if ((rule->code == NULL || strcmp(rule->code, code) == 0) &&
			(rule->words == NULL || strstr(message, rule->words) != NULL))
			return rule->refusal;
	}
	return refusal_by_status(status, code[0] != '\0');
}

static int
refusal_sqlstate(ApiRefusal refusal)
{
	switch (refusal)
	{
		case API_TRANSIENT:
			return ERRCODE_CONNECTION_FAILURE;
		case API_LIMIT:
			return ERRCODE_CONFIGURATION_LIMIT_EXCEEDED;
		case API_LOGIN:
			return ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION;
		case API_PERMISSION:
			return ERRCODE_INSUFFICIENT_PRIVILEGE;
		case API_SCHEMA:
			return ERRCODE_FDW_INVALID_COLUMN_NAME;
		default:
			return ERRCODE_FDW_ERROR;
	}
}

/* Whether an error with this SQLSTATE is Salesforce's latest refusal. */
bool
api_is_refusal(const SalesforceApi *api, int sqlstate)
{
	return api->error.status != 0 &&
		refusal_sqlstate(api->error.refusal) == sqlstate;
}

static const char *
refusal_hint(const ApiError *error)
{
	if (strcmp(error->code, "API_DISABLED_FOR_ORG") == 0)
		return "This edition of Salesforce comes without API access, or the user lacks the permission \"API Enabled\".";
	if (error->status == 410)
		return "This API version has been retired: remove option \"api_version\" or set a newer one.";
	switch (error->refusal)
	{
		case API_TRANSIENT:
			return "This usually passes by itself; see https://status.salesforce.com if it does not.";
		case API_LIMIT:
			return "The org's allowance for 24 hours is used up; it grows again hour by hour.  See Company Information in Setup for what uses it.";
		case API_LOGIN:
			return "Check that the user of the login is active and may use the API, and that the Connected App allows it from this address.";
		case API_PERMISSION:
			return "Give the user of the login the permission in Salesforce, by profile or permission set.";
		case API_SCHEMA:
			return "The object or field was renamed or removed in Salesforce, or hidden from the user of the login.";
		case API_CURSOR:
			return "The query has to be started again.";
		case API_TOO_BIG:
			return "Ask for less at once.";
		case API_UNSUPPORTED:
		case API_REQUEST:
			break;
	}
	return NULL;
}

/* ------------------------------------------------------------------------
 * The struct
 * ------------------------------------------------------------------------
 */

SalesforceApi *
api_create(HttpClient *http, const char *client_name, ApiRelogin relogin,
		   void *relogin_arg)
{
	MemoryContext context;
	SalesforceApi *api;

	context = AllocSetContextCreate(CurrentMemoryContext, "sync api",
									ALLOCSET_SMALL_SIZES);
	api = MemoryContextAllocZero(context, sizeof(SalesforceApi));
	api->context = context;
	api->http = http;
	if (client_name != NULL && client_name[0] != '\0')
	{
		/* A comma or space would begin another option of the header. */
		if (strpbrk(client_name, ",;= \t\r\n") != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("client name \"%s\" is not valid", client_name),
					 errhint("Use letters, digits, and / . _ - only.")));
		api->client_name = MemoryContextStrdup(context, client_name);
	}
	api->relogin = relogin;
	api->relogin_arg = relogin_arg;
	api->limit_used = -1;
	api->limit_max = -1;
	return api;
}

/* Puts a copy into a member that may hold an older one. */
static void
replace_text(SalesforceApi *api, char **member, const char *value)
{
	char	   *old = *member;

	*member = value ? MemoryContextStrdup(api->context, value) : NULL;
	if (old != NULL)
		pfree(old);
}

void
api_set_session(SalesforceApi *api, const char *instance_url,
				const char *access_token)
{
	replace_text(api, &api->instance_url, instance_url);
	replace_text(api, &api->access_token, access_token);
}

TimestampTz
api_now(const SalesforceApi *api)
{
	TimestampTz now = GetCurrentTimestamp();

	if (api->server_date == 0)
		return now;
	return api->server_date + (now - api->local_date);
}

/* ------------------------------------------------------------------------
 * Refusals
 * ------------------------------------------------------------------------
 */

void
api_clear_error(SalesforceApi *api)
{
	replace_text(api, &api->error.message, NULL);
	memset(&api->error, 0, sizeof(ApiError));
}

void
api_take_error(SalesforceApi *api, const ApiError *error)
{
	char	   *message = api->error.message;

	if (error == &api->error)
		return;
	replace_text(api, &message, error->message);
	api->error = *error;
	api->error.message = message;
}

void
api_set_error(SalesforceApi *api, int status, const char *code,
			  const char *message)
{
	ApiError   *error = &api->error;

	/* Before its source, which may be the very message that is replaced. */
	replace_text(api, &error->message, foreign_text(message));
	strlcpy(error->code, foreign_text(code), sizeof(error->code));
	error->status = status;
	error->refusal = classify(status, error->code, error->message);
	strlcpy(error->request_id, api->request_id, sizeof(error->request_id));
}

void
api_read_error_json(SalesforceApi *api, int status, const Json *body)
{
	const Json *item = json_count(body) > 0 ? json_item(body, 0) : body;
	char	   *code = json_get_text(item, "errorCode");
	char	   *message = json_get_text(item, "message");

	if (code == NULL)
		code = json_get_text(item, "statusCode");
	if (code == NULL)
		code = json_get_text(item, "error");
	if (message == NULL)
		message = json_get_text(item, "error_description");
	api_set_error(api, status, code, message);
}

void
api_read_error(SalesforceApi *api, int status, const char *body)
{
	Json	   *json = json_read(body, strlen(body));

	if (json != NULL)
		api_read_error_json(api, status, json);
	else
		api_set_error(api, status, NULL, foreign_page(body));
}

static char *
error_detail(const ApiError *error)
{
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfoString(&buf, "Salesforce answered");
	if (error->status > 0)
		appendStringInfo(&buf, " %d", error->status);
	if (error->code[0] != '\0')
		appendStringInfo(&buf, " %s", error->code);
	appendStringInfoChar(&buf, '.');
	return buf.data;
}

/* Salesforce's own words are what says what is wrong, and are all that many see. */
void
api_raise(SalesforceApi *api, const char *what)
{
	const char *hint = refusal_hint(&api->error);

	ereport(ERROR,
			(errcode(refusal_sqlstate(api->error.refusal)),
			 errmsg("%s", foreign_behind(what, api->error.message)),
			 api->error.status > 0 || api->error.code[0] ?
			 errdetail("%s", error_detail(&api->error)) : 0,
			 hint ? errhint("%s", hint) : 0));
}

/* What a call was, for messages: without its query, which may be long. */
static char *
call_name(const char *method, const char *path)
{
	return psprintf("%s %.*s", method, (int) strcspn(path, "?"), path);
}

pg_noreturn static void
raise_call(SalesforceApi *api, const char *method, const char *path)
{
	const char *words = api->error.refusal == API_TRANSIENT ?
		"Salesforce could not answer %s" : "Salesforce refused %s";

	api_raise(api, psprintf(words, call_name(method, path)));
}

/* ------------------------------------------------------------------------
 * A call
 * ------------------------------------------------------------------------
 */

static bool
has_header(const List *headers, const char *name)
{
	size_t		len = strlen(name);
	ListCell   *lc;

	foreach(lc, headers)
	{
		const char *line = (const char *) lfirst(lc);

		if (pg_strncasecmp(line, name, len) == 0 && line[len] == ':')
			return true;
	}
	return false;
}

static char *
call_url(SalesforceApi *api, const char *path)
{
	if (api->instance_url == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("not logged in to Salesforce")));
	/* "@host" or ".host" would turn the instance into something else. */
	if (path[0] != '/')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("path \"%s\" of a request does not begin with a slash",
						foreign_text(path))));
	if (strncmp(path, "/services/", 10) == 0)
		return psprintf("%s%s", api->instance_url, path);
	if (api->version == NULL)
		api_choose_version(api, NULL);
	return psprintf("%s/services/data/v%s%s", api->instance_url, api->version,
					path);
}

static List *
call_headers(const SalesforceApi *api, List *given, bool has_body)
{
	List	   *headers = list_copy(given);

	headers = lappend(headers, psprintf("Authorization: Bearer %s",
										api->access_token));
	if (api->client_name != NULL)
		headers = lappend(headers, psprintf("Sforce-Call-Options: client=%s",
											api->client_name));
	if (!has_header(given, "Accept"))
		headers = lappend(headers, "Accept: application/json");
	if (has_body && !has_header(given, "Content-Type"))
		headers = lappend(headers,
						  "Content-Type: application/json; charset=UTF-8");
	return headers;
}

/*
 * "api-usage=18/5000", perhaps followed by "; per-app-api-usage=17/250(...)":
 * the org's, wherever it stands.
 */
static void
note_limits(SalesforceApi *api, const char *text)
{
	static const char name[] = "api-usage=";
	const char *p = text;

	while ((p = strstr(p, name)) != NULL)
	{
		bool		whole_word = p == text || strchr("; ,", p[-1]) != NULL;
		long long	used;
		long long	max;

		p += strlen(name);
		if (whole_word && sscanf(p, "%lld/%lld", &used, &max) == 2)
		{
			api->limit_used = used;
			api->limit_max = max;
			return;
		}
	}
}

static void
note_answer(SalesforceApi *api, const HttpAnswer *answer)
{
	const char *limits = http_header(answer, "Sforce-Limit-Info");
	const char *request = http_header(answer, "X-Sfdc-Request-Id");

	if (limits != NULL)
		note_limits(api, limits);
	strlcpy(api->request_id, request ? foreign_text(request) : "",
			sizeof(api->request_id));
	if (answer->date != 0)
	{
		api->server_date = answer->date;
		api->local_date = GetCurrentTimestamp();
	}
}

/*
 * Redirects are not followed, so they are not what was asked for either, nor is
 * a part of it (206), or a choice (300).
 */
static bool
is_refusal(int status)
{
	return status >= 300 ? status != 304 : status > 204;
}

/*
 * A 401 that a new login may cure, whatever comes with it: JSON, XML, HTML or
 * nothing.  Two kinds come again after each login, for it is the user who is
 * refused: they must not be answered by one.
 */
static bool
session_has_ended(const ApiError *error)
{
	return error->status == 401 &&
		strstr(error->message, "not valid for use with the REST API") == NULL &&
		strstr(error->message, "Connected app is not attached to Agent") == NULL;
}

/*
 * A 401 that stands though a login was made, or could not be made just now: a
 * token that is not known everywhere yet, a locator of another session.  That
 * passes, and next time there is another login.
 */
static void
note_lasting_401(SalesforceApi *api)
{
	if (session_has_ended(&api->error))
		api->error.refusal = API_TRANSIENT;
}

bool
api_renew_session(SalesforceApi *api)
{
	char	   *refused;

	if (api->relogin == NULL)
		return false;
	refused = pstrdup(api->access_token);
	return api->relogin(api, refused, api->relogin_arg);
}

static bool
log_in_again(SalesforceApi *api)
{
	return session_has_ended(&api->error) && api_renew_session(api);
}

/* No answer at all: says so in api->error, and lets the error go on. */
static void
note_no_answer(SalesforceApi *api)
{
	ApiError   *error = &api->error;

	error->status = 0;
	error->code[0] = '\0';
	error->request_id[0] = '\0';
	error->refusal = geterrcode() == ERRCODE_PROGRAM_LIMIT_EXCEEDED ?
		API_TOO_BIG : API_TRANSIENT;
	if (error->message != NULL)
		pfree(error->message);
	error->message = NULL;
}

static ApiCall
make_call(ApiKind kind, const char *method, const char *path, List *headers,
		  const char *body)
{
	ApiCall		call;

	memset(&call, 0, sizeof(call));
	call.kind = kind;
	call.method = method;
	call.path = path;
	call.headers = headers;
	call.body = body;
	return call;
}

static void
prepare_request(SalesforceApi *api, const ApiCall *call, HttpRequest *request)
{
	memset(request, 0, sizeof(*request));
	request->method = call->method;
	request->url = call_url(api, call->path);
	request->headers = call_headers(api, call->headers, call->body != NULL);
	request->body = call->body;
	request->body_len = call->body ? strlen(call->body) : 0;
	request->once = call->once;
	api->calls[call->kind]++;
	api->request_id[0] = '\0';
}

static HttpAnswer *
send_call(SalesforceApi *api, const ApiCall *call)
{
	HttpRequest request;
	HttpAnswer *answer = NULL;

	prepare_request(api, call, &request);
	PG_TRY();
	{
		answer = http_request(api->http, &request);
	}
	PG_CATCH();
	{
		note_no_answer(api);
		PG_RE_THROW();
	}
	PG_END_TRY();
	note_answer(api, answer);
	if (is_refusal(answer->status))
		api_read_error(api, answer->status, answer->body.data);
	return answer;
}

static HttpAnswer *
try_call(SalesforceApi *api, const ApiCall *call)
{
	HttpAnswer *answer = send_call(api, call);

	if (is_refusal(answer->status) && log_in_again(api))
		answer = send_call(api, call);
	if (is_refusal(answer->status))
		note_lasting_401(api);
	return answer;
}

HttpAnswer *
api_try(SalesforceApi *api, ApiKind kind, const char *method,
		const char *path, List *headers, const char *body)
{
	ApiCall		call = make_call(kind, method, path, headers, body);

	return try_call(api, &call);
}

HttpAnswer *
api_try_once(SalesforceApi *api, ApiKind kind, const char *method,
			 const char *path, List *headers, const char *body)
{
	ApiCall		call = make_call(kind, method, path, headers, body);

	call.once = true;
	return try_call(api, &call);
}

Json *
api_call_json(SalesforceApi *api, ApiKind kind, const char *method,
			  const char *path, List *headers, const char *body)
{
	HttpAnswer *answer = api_try(api, kind, method, path, headers, body);
	Json	   *json;

	if (is_refusal(answer->status))
		raise_call(api, method, path);
	json = json_read(answer->body.data, answer->body.len);
	if (json == NULL && answer->status != 204 && answer->status != 304)
	{
		/* Status 200 with an error page: whatever made it will be gone. */
		api_set_error(api, answer->status, NULL,
					  foreign_page(answer->body.data));
		api->error.refusal = API_TRANSIENT;
		raise_call(api, method, path);
	}
	pfree(answer->body.data);
	answer->body.data = NULL;
	return json;
}

/* ------------------------------------------------------------------------
 * Calls together
 * ------------------------------------------------------------------------
 */

/* The words of an error of http.c, which says the cause in its detail. */
static char *
failure_words(const ErrorData *failure)
{
	if (failure->detail == NULL)
		return pstrdup(failure->message);
	return psprintf("%s: %s", failure->message, failure->detail);
}

static void
take_failure(ApiCall *call, const HttpResult *result)
{
	call->fate = result->status > 0 ? API_CUT :
		result->sent ? API_SILENT : API_UNSENT;
	call->error.message = failure_words(result->failure);
	call->error.refusal =
		result->failure->sqlerrcode == ERRCODE_PROGRAM_LIMIT_EXCEEDED ?
		API_TOO_BIG : API_TRANSIENT;
}

static void
take_result(SalesforceApi *api, ApiCall *call, const HttpResult *result)
{
	memset(&call->error, 0, sizeof(call->error));
	call->answer = NULL;
	call->session_ended = false;
	if (result->answer == NULL)
	{
		take_failure(call, result);
		return;
	}
	note_answer(api, result->answer);
	call->answer = result->answer;
	if (!is_refusal(result->answer->status))
	{
		call->fate = API_ANSWERED;
		return;
	}
	api_read_error(api, result->answer->status, result->answer->body.data);
	call->fate = API_REFUSED;
	call->error = api->error;
	call->error.message = pstrdup(api->error.message);
	call->session_ended = session_has_ended(&api->error);
	note_lasting_401(api);
	call->error.refusal = api->error.refusal;
}

void
api_send_many(SalesforceApi *api, ApiCall **calls, int n)
{
	HttpRequest *requests = palloc(n * sizeof(HttpRequest));
	HttpResult *results = palloc(n * sizeof(HttpResult));
	int			i;

	for (i = 0; i < n; i++)
		prepare_request(api, calls[i], &requests[i]);
	http_request_many(api->http, requests, n, results);
	for (i = 0; i < n; i++)
		take_result(api, calls[i], &results[i]);
	pfree(requests);
	pfree(results);
}

/* ------------------------------------------------------------------------
 * A stream
 * ------------------------------------------------------------------------
 */

/* The error that came instead of a stream, as far as it is of use. */
static char *
read_stream_error(HttpStream *stream)
{
	char	   *body = palloc(MAX_ERROR_BODY + 1);

	body[http_read(stream, body, MAX_ERROR_BODY, MAX_ERROR_BODY)] = '\0';
	return body;
}

/* The stream, or NULL with api->error filled. */
static HttpStream *
open_once(SalesforceApi *api, const ApiCall *call)
{
	HttpRequest request;
	HttpStream *volatile stream = NULL;
	char	   *volatile error_body = NULL;
	int			status;

	prepare_request(api, call, &request);
	PG_TRY();
	{
		stream = http_open(api->http, &request);
		note_answer(api, http_stream_answer(stream));
		if (is_refusal(http_stream_answer(stream)->status))
			error_body = read_stream_error(stream);
	}
	PG_CATCH();
	{
		note_no_answer(api);
		if (stream != NULL)
			http_close(stream);
		PG_RE_THROW();
	}
	PG_END_TRY();

	if (error_body == NULL)
		return stream;
	status = http_stream_answer(stream)->status;
	http_close(stream);
	api_read_error(api, status, error_body);
	pfree(error_body);
	return NULL;
}

HttpStream *
api_open(SalesforceApi *api, ApiKind kind, const char *path, List *headers)
{
	ApiCall		call = make_call(kind, "GET", path, headers, NULL);
	HttpStream *stream = open_once(api, &call);

	if (stream == NULL && log_in_again(api))
		stream = open_once(api, &call);
	if (stream == NULL)
	{
		note_lasting_401(api);
		raise_call(api, "GET", path);
	}
	return stream;
}

/* ------------------------------------------------------------------------
 * Versions
 * ------------------------------------------------------------------------
 */

/* "62.0" -> 62; 0 if it is no version. */
static int
version_number(const char *text)
{
	int			number = 0;
	const char *p;

	if (text == NULL)
		return 0;
	for (p = text; isdigit((unsigned char) *p); p++)
	{
		if (number > 9999)
			return 0;
		number = number * 10 + (*p - '0');
	}
	return *p == '\0' || strcmp(p, ".0") == 0 ? number : 0;
}

/*
 * The one that was wanted; else the newest that is known; else, when all that
 * is offered is newer than that, the oldest.
 */
static int
best_version(const Json *offered, int wanted)
{
	int			best = 0;
	int			oldest = INT_MAX;
	int			i;

	for (i = 0; i < json_count(offered); i++)
	{
		const char *text = json_text(json_get(json_item(offered, i),
											  "version"));
		int			number = version_number(text);

		if (number == 0)
			continue;
		if (number == wanted)
			return number;
		if (number <= NEWEST_KNOWN)
			best = Max(best, number);
		oldest = Min(oldest, number);
	}
	return (best > 0 || oldest == INT_MAX) ? best : oldest;
}

static void
raise_other_number(const char *what, int64 announced, int64 came)
{
	ereport(ERROR,
			(errcode(ERRCODE_CARDINALITY_VIOLATION),
			 errmsg(came < announced ? "%s came from Salesforce incomplete"
					: "%s came from Salesforce with too many records", what),
			 errdetail("Salesforce announced " INT64_FORMAT " records, "
					   INT64_FORMAT " came.", announced, came)));
}

void
api_require_whole(const char *what, int64 announced, int64 came)
{
	if (came < announced)
		raise_other_number(what, announced, came);
}

void
api_require_sum(const char *what, int64 announced, int64 came)
{
	if (came != announced)
		raise_other_number(what, announced, came);
}

void
api_choose_version(SalesforceApi *api, const char *wanted)
{
	Json	   *offered;
	int			number;

	offered = api_call_json(api, API_KIND_OTHER, "GET", "/services/data", NIL,
							NULL);
	/* Asking for the versions is free. */
	api->calls[API_KIND_OTHER]--;
	number = best_version(offered, version_number(wanted));
	if (number == 0)
	{
		api_set_error(api, 200, NULL, "no list of API versions");
		api->error.refusal = API_TRANSIENT;
		api_raise(api, "could not choose an API version");
	}
	if (wanted != NULL && number != version_number(wanted))
		ereport(WARNING,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("Salesforce does not offer API version \"%s\", using %d.0",
						wanted, number)));
	replace_text(api, &api->version, psprintf("%d.0", number));
}
