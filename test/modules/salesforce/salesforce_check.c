/*-------------------------------------------------------------------------
 *
 * salesforce_check.c
 *	  The Salesforce bank as SQL functions, for tests.
 *
 * What is not about SQL is tested here without tables or workers: each
 * function makes one call, or keeps one login for the session.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/stat.h>

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "bulk.h"
#include "csv.h"
#include "describe.h"
#include "id.h"
#include "query.h"
#include "salesforce_check.h"
#include "session.h"
#include "soql.h"

PG_MODULE_MAGIC;

static const char *const refusal_names[] = {
	"transient", "limit", "login", "permission", "schema", "cursor",
	"too_big", "unsupported", "request"
};

static HttpClient *client = NULL;
static SalesforceApi *org = NULL;
static Credentials credentials;

SalesforceApi *
check_org(void)
{
	return org;
}

List *
check_list(Datum datum)
{
	List	   *list = NIL;
	Datum	   *items;
	int			n;
	int			i;

	deconstruct_array(DatumGetArrayTypeP(datum), TEXTOID, -1, false,
					  TYPALIGN_INT, &items, NULL, &n);
	for (i = 0; i < n; i++)
		list = lappend(list, TextDatumGetCString(items[i]));
	return list;
}

static HttpClient *
the_client(int idle_timeout, const char *ca_file)
{
	HttpOptions options = {"sync-check", ca_file, 5000, idle_timeout};
	MemoryContext caller;

	if (client != NULL && idle_timeout == 0)
		return client;
	caller = MemoryContextSwitchTo(TopMemoryContext);
	client = http_create(&options);
	MemoryContextSwitchTo(caller);
	return client;
}

/* ------------------------------------------------------------------------
 * http
 * ------------------------------------------------------------------------
 */

/* A new client from here on; the one before is left to the process. */
CHECK_FUNCTION(check_client)
{
	the_client(PG_GETARG_INT32(0), PG_ARGISNULL(1) ? NULL :
			   MemoryContextStrdup(TopMemoryContext, ARG_TEXT(1)));
	PG_RETURN_VOID();
}

CHECK_FUNCTION(check_request)
{
	HttpRequest request = {0};
	HttpAnswer *answer;

	request.method = ARG_TEXT(0);
	request.url = ARG_TEXT(1);
	request.headers = check_list(PG_GETARG_DATUM(2));
	request.body = ARG_TEXT_OR_NULL(3);
	request.body_len = request.body ? strlen(request.body) : 0;
	request.max_answer = PG_GETARG_INT32(4);
	answer = http_request(the_client(0, NULL), &request);
	RETURN_TEXT(psprintf("%d %s", answer->status, answer->body.data));
}

CHECK_FUNCTION(check_many)
{
	List	   *urls = check_list(PG_GETARG_DATUM(0));
	int			n = list_length(urls);
	HttpRequest *requests = palloc0(n * sizeof(HttpRequest));
	HttpResult *results = palloc0(n * sizeof(HttpResult));
	Datum	   *result = palloc(n * sizeof(Datum));
	int			i;

	for (i = 0; i < n; i++)
	{
		requests[i].method = "GET";
		requests[i].url = list_nth(urls, i);
	}
	http_request_many(the_client(0, NULL), requests, n, results);
	for (i = 0; i < n; i++)
		result[i] = CStringGetTextDatum(results[i].answer != NULL ?
										results[i].answer->body.data :
										psprintf("%s: %s", results[i].failure->message,
												 results[i].failure->detail));
	PG_RETURN_ARRAYTYPE_P(construct_array(result, n, TEXTOID, -1, false,
										  TYPALIGN_INT));
}

/* Reads a stream in pieces of a given size; the bytes of all of them. */
CHECK_FUNCTION(check_stream)
{
	HttpRequest request = {0};
	int			piece = PG_GETARG_INT32(1);
	char	   *buf = palloc(piece);
	HttpStream *stream;
	StringInfoData all;
	int			n;

	request.method = "GET";
	request.url = ARG_TEXT(0);
	stream = http_open(the_client(0, NULL), &request);
	initStringInfo(&all);
	while ((n = http_read(stream, buf, piece, piece)) > 0)
		appendBinaryStringInfo(&all, buf, n);
	http_close(stream);
	PG_RETURN_BYTEA_P((bytea *) cstring_to_text_with_len(all.data, all.len));
}

/* How many sockets this process has open. */
CHECK_FUNCTION(check_sockets)
{
	struct stat st;
	int			n = 0;
	int			fd;

	for (fd = 0; fd < 1024; fd++)
		if (fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode))
			n++;
	PG_RETURN_INT32(n);
}

CHECK_FUNCTION(check_url)
{
	PG_RETURN_BOOL(http_url_allowed(ARG_TEXT(0)));
}

CHECK_FUNCTION(check_origin)
{
	PG_RETURN_BOOL(http_same_origin(ARG_TEXT(0), ARG_TEXT(1)));
}

/* ------------------------------------------------------------------------
 * json, id, soql, csv, describe: no network
 * ------------------------------------------------------------------------
 */

CHECK_FUNCTION(check_json)
{
	bytea	   *body = PG_GETARG_BYTEA_PP(0);
	Json	   *json = json_read(VARDATA_ANY(body), VARSIZE_ANY_EXHDR(body));
	ListCell   *lc;

	if (json == NULL)
		RETURN_TEXT("no JSON");
	foreach(lc, check_list(PG_GETARG_DATUM(1)))
	{
		const char *key = lfirst(lc);

		json = json_kind(json) == JSON_IS_ARRAY ?
			json_item(json, atoi(key)) : json_get(json, key);
	}
	if (json == NULL)
		PG_RETURN_NULL();
	RETURN_TEXT(json_text(json));
}

CHECK_FUNCTION(check_id)
{
	char		out[SALESFORCE_ID_LEN + 1];
	char	   *id = ARG_TEXT(0);

	if (!id_is_valid(id))
		PG_RETURN_NULL();
	id_canonical(id, out);
	RETURN_TEXT(out);
}

CHECK_FUNCTION(check_soql_string)
{
	RETURN_TEXT(soql_string(ARG_TEXT(0)));
}

CHECK_FUNCTION(check_soql_datetime)
{
	RETURN_TEXT(soql_datetime(PG_GETARG_TIMESTAMPTZ(0)));
}

CHECK_FUNCTION(check_parse_datetime)
{
	PG_RETURN_TIMESTAMPTZ(soql_parse_datetime(ARG_TEXT(0)));
}

CHECK_FUNCTION(check_select)
{
	RETURN_TEXT(soql_select(check_list(PG_GETARG_DATUM(0)), ARG_TEXT(1),
							list_make3(ARG_TEXT_OR_NULL(2), NULL,
									   ARG_TEXT_OR_NULL(3)),
							ARG_TEXT_OR_NULL(4), PG_GETARG_INT32(5)));
}

/* A page in pieces that end where cuts say: "records whole rows". */
CHECK_FUNCTION(check_csv)
{
	List	   *fields = check_list(PG_GETARG_DATUM(0));
	bytea	   *in = PG_GETARG_BYTEA_PP(1);
	ArrayType  *cuts = PG_GETARG_ARRAYTYPE_P(2);
	int			ncuts = ArrayGetNItems(ARR_NDIM(cuts), ARR_DIMS(cuts));
	int			len = VARSIZE_ANY_EXHDR(in);
	char	   *buf = palloc(len + 1);
	StringInfoData out;
	CsvPage		page;
	int			from = 0;
	bool		whole;
	int			i;

	initStringInfo(&out);
	csv_begin(&page, fields);
	for (i = 0; i <= ncuts; i++)
	{
		int			to = i < ncuts ? ((int *) ARR_DATA_PTR(cuts))[i] : len;

		memcpy(buf, VARDATA_ANY(in) + from, to - from);
		appendBinaryStringInfo(&out, buf,
							   csv_filter(&page, buf, to - from));
		from = to;
	}
	whole = csv_end(&page);
	RETURN_TEXT(psprintf("%s " INT64_FORMAT " %s", whole ? "whole" : "cut",
						 page.records, out.data));
}

/* How long csv_filter takes for n copies of a page without header, in s. */
CHECK_FUNCTION(check_csv_seconds)
{
	bytea	   *in = PG_GETARG_BYTEA_PP(0);
	int			len = VARSIZE_ANY_EXHDR(in);
	int			i;
	TimestampTz start;
	CsvPage		page;

	csv_begin(&page, NIL);
	page.header_done = true;
	start = GetCurrentTimestamp();
	for (i = 0; i < PG_GETARG_INT32(1); i++)
		csv_filter(&page, VARDATA_ANY(in), len);
	PG_RETURN_FLOAT8((GetCurrentTimestamp() - start) / 1000000.0);
}

CHECK_FUNCTION(check_describe)
{
	DescribeObject *object = describe_parse(ARG_TEXT(0));
	DescribeField *field = describe_field(object, ARG_TEXT(1));
	StringInfoData buf;

	initStringInfo(&buf);
	appendStringInfo(&buf, "%s %s %d", object->name,
					 object->key_prefix ? object->key_prefix : "-",
					 list_length(object->fields));
	if (field != NULL)
		appendStringInfo(&buf, " %s %s \"%s\" %d/%d/%d/%d%s%s%s%s%s refs %d",
						 field->name, field->type, field->label,
						 field->length, field->digits, field->precision,
						 field->scale, field->nillable ? " nillable" : "",
						 field->createable ? " createable" : "",
						 field->updateable ? " updateable" : "",
						 field->filterable ? " filterable" : "",
						 field->compound ? psprintf(" of %s", field->compound)
						 : "", list_length(field->reference_to));
	RETURN_TEXT(buf.data);
}

/* ------------------------------------------------------------------------
 * With an org
 * ------------------------------------------------------------------------
 */

static bool
relogin(SalesforceApi *api, const char *refused_token, void *arg)
{
	Session    *session = session_login(api->http, &credentials);

	if (strcmp(session->access_token, refused_token) == 0)
		return false;
	api_set_session(api, session->instance_url, session->access_token);
	return true;
}

static const char *
keep(FunctionCallInfo fcinfo, int n)
{
	if (PG_ARGISNULL(n))
		return NULL;
	return MemoryContextStrdup(TopMemoryContext, ARG_TEXT(n));
}

CHECK_FUNCTION(check_login)
{
	MemoryContext caller;
	Session    *session;

	credentials.login_url = keep(fcinfo, 0);
	credentials.auth = keep(fcinfo, 1);
	credentials.client_id = keep(fcinfo, 2);
	credentials.client_secret = keep(fcinfo, 3);
	credentials.username = keep(fcinfo, 4);
	credentials.password = keep(fcinfo, 5);
	credentials.private_key = keep(fcinfo, 6);
	credentials.refresh_token = keep(fcinfo, 7);
	session = session_login(the_client(0, NULL), &credentials);

	caller = MemoryContextSwitchTo(TopMemoryContext);
	org = api_create(client, "sync-check", relogin, NULL);
	api_set_session(org, session->instance_url, session->access_token);
	MemoryContextSwitchTo(caller);
	RETURN_TEXT(psprintf("%s %s %s", session->instance_url, session->org_id,
						 session->user_id));
}

CHECK_FUNCTION(check_version)
{
	api_choose_version(org, ARG_TEXT_OR_NULL(0));
	RETURN_TEXT(org->version);
}

CHECK_FUNCTION(check_error)
{
	api_read_error(org, PG_GETARG_INT32(0), ARG_TEXT(1));
	RETURN_TEXT(psprintf("%s [%s] %s", refusal_names[org->error.refusal],
						 org->error.code, org->error.message));
}

/* The latest refusal, also after an error. */
CHECK_FUNCTION(check_refusal)
{
	RETURN_TEXT(psprintf("%s %d [%s]", refusal_names[org->error.refusal],
						 org->error.status, org->error.code));
}

CHECK_FUNCTION(check_api)
{
	HttpAnswer *answer = api_try(org, API_KIND_OTHER, ARG_TEXT(0),
								 ARG_TEXT(1), NIL, ARG_TEXT_OR_NULL(2));

	RETURN_TEXT(psprintf("%d %s", answer->status, answer->body.data));
}

CHECK_FUNCTION(check_limits)
{
	RETURN_TEXT(psprintf("%s of %s",
						 org->limit_used > 0 ? "some" : "none",
						 org->limit_max == PG_GETARG_INT32(0) ?
						 "the allowance" : "another number"));
}

static void
append_source(StringInfo out, RowSource *source, int piece)
{
	char	   *buf = palloc(piece);
	int			n;

	while ((n = source->read(source, buf, 1, piece)) > 0)
		appendBinaryStringInfo(out, buf, n);
	pfree(buf);
}

/* All pages as CSV, each read twice. */
CHECK_FUNCTION(check_query)
{
	List	   *fields = check_list(PG_GETARG_DATUM(1));
	QueryPage  *page = query_run(org, ARG_TEXT(0), PG_GETARG_BOOL(2));
	StringInfoData all;

	initStringInfo(&all);
	for (;;)
	{
		RowSource  *source = query_rows(page, fields);
		StringInfoData once;
		QueryPage  *next;

		initStringInfo(&once);
		append_source(&once, source, 7);
		source->rewind(source);
		append_source(&all, source, 65536);
		if (strcmp(once.data, all.data + all.len - once.len) != 0)
			elog(ERROR, "the second reading differs");
		if (page->next == NULL)
			break;
		next = query_next(org, page);
		query_free(page);
		page = next;
	}
	RETURN_TEXT(all.data);
}

CHECK_FUNCTION(check_record)
{
	QueryPage  *page = query_run(org, ARG_TEXT(0), false);

	RETURN_TEXT(query_record_text(page, 0));
}

CHECK_FUNCTION(check_bulk)
{
	List	   *fields = check_list(PG_GETARG_DATUM(1));
	BulkJob    *job = bulk_create(org, ARG_TEXT(0), false);
	const char *locator = NULL;
	int64		announced = 0;
	StringInfoData all;

	bulk_wait(org, job);
	initStringInfo(&all);
	do
	{
		BulkPage   *page = bulk_page_open(org, job, locator,
										  PG_GETARG_INT32(2), fields);
		RowSource  *source = bulk_page_source(page);

		append_source(&all, source, 11);
		source->rewind(source);
		append_source(&all, source, 65536);
		announced += bulk_page_rows(page);
		locator = bulk_page_next(page) ? pstrdup(bulk_page_next(page)) : NULL;
		bulk_page_close(page);
	} while (locator != NULL);
	bulk_delete(org, job->id, job->version);
	bulk_poll(org, job);
	if (job->state != BULK_GONE)
		elog(ERROR, "the deleted job is still there");
	RETURN_TEXT(psprintf(INT64_FORMAT " %s", announced, all.data));
}

/* Questions of all kinds: how each was answered. */
CHECK_FUNCTION(check_ask)
{
	List	   *objects = check_list(PG_GETARG_DATUM(0));
	int			n = list_length(objects) * 3;
	Question   *questions = palloc0(n * sizeof(Question));
	StringInfoData out;
	int			i;

	for (i = 0; i < n; i++)
	{
		Question   *q = &questions[i];

		q->object = list_nth(objects, i / 3);
		q->kind = i % 3 == 0 ? QUESTION_QUERY :
			i % 3 == 1 ? QUESTION_UPDATED : QUESTION_DELETED;
		q->soql = psprintf("SELECT Id FROM %s LIMIT 1", q->object);
		q->start = PG_GETARG_TIMESTAMPTZ(1);
		q->end = PG_GETARG_TIMESTAMPTZ(2);
	}
	query_ask(org, questions, n);
	initStringInfo(&out);
	for (i = 0; i < n; i++)
	{
		Question   *q = &questions[i];

		if (!q->answered)
			appendStringInfo(&out, "%s ", q->refusal.code);
		else if (q->page != NULL)
			appendStringInfo(&out, "%d ", q->page->nrecords);
		else
			appendStringInfo(&out, "%s%s ", q->latest_covered ? "to " : "",
							 q->ids ? "updated" :
							 q->deleted ? "deleted" : "none");
	}
	RETURN_TEXT(out.data);
}

CHECK_FUNCTION(check_describe_org)
{
	DescribeObject *object = describe_object(org, ARG_TEXT(0), NULL);

	if (describe_object(org, ARG_TEXT(0), object->last_modified) != NULL)
		elog(ERROR, "described again though nothing changed");
	RETURN_TEXT(psprintf("%s, of %s", object->name,
						 list_length(describe_global(org)) > 10 ?
						 "many" : "few"));
}
