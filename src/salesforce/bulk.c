/*-------------------------------------------------------------------------
 *
 * bulk.c
 *	  Bulk API 2.0 query jobs.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "../compat.h"
#include "bulk.h"
#include "csv.h"
#include "id.h"
#include "text.h"
#include "origin.h"

/* Between polls, ms: each costs an API call, and small jobs end in seconds. */
#define FIRST_POLL 200
#define LAST_POLL 10000

/* Somebody may want the waiting to end (http_heed). */
#define MAX_NAP 1000

struct BulkPage
{
	RowSource	source;			/* first: what COPY reads from */
	MemoryContext context;
	SalesforceApi *api;
	char	   *path;
	char	   *locator;		/* of this page; NULL = the first */
	char	   *next;			/* of the page after; NULL = none */
	bool		unsaid;			/* the header that names it was not there */
	int64		announced;		/* Sforce-NumberOfRecords; -1 = not sent */
	HttpStream *stream;			/* NULL at the end */
	CsvPage		csv;
};

/* ------------------------------------------------------------------------
 * Jobs
 * ------------------------------------------------------------------------
 */

/* Unknown states are new names for something that has not ended. */
static BulkState
state_of(const char *text)
{
	if (text == NULL)
		return BULK_RUNNING;
	if (strcmp(text, "JobComplete") == 0)
		return BULK_COMPLETE;
	if (strcmp(text, "Failed") == 0 || strcmp(text, "Aborted") == 0)
		return BULK_FAILED;
	return BULK_RUNNING;
}

static char *
job_path(const char *version, const char *id, const char *tail)
{
	return psprintf("/services/data/v%s/jobs/query/%s%s", version, id, tail);
}

static void
read_job(BulkJob *job, const Json *json)
{
	char	   *state = json_get_text(json, "state");

	job->state = state_of(state);
	job->records = json_get_int(json, "numberRecordsProcessed", -1);
	job->message = NULL;
	if (job->state == BULK_FAILED)
	{
		job->message = json_get_text(json, "errorMessage");
		if (job->message == NULL)
			job->message = psprintf("the job is in state %s", state);
	}
}

BulkJob *
bulk_create(SalesforceApi *api, const char *soql, bool all_rows)
{
	StringInfoData body;
	BulkJob    *job = palloc0(sizeof(BulkJob));
	Json	   *json;

	if (api->version == NULL)
		api_choose_version(api, NULL);
	initStringInfo(&body);
	appendStringInfo(&body, "{\"operation\":\"%s\",\"query\":",
					 all_rows ? "queryAll" : "query");
	json_append_string(&body, soql);
	appendStringInfoString(&body, ",\"contentType\":\"CSV\","
						   "\"columnDelimiter\":\"COMMA\","
						   "\"lineEnding\":\"LF\"}");
	job->version = pstrdup(api->version);
	json = api_call_json(api, API_KIND_BULK, "POST", "/jobs/query", NIL,
						 body.data);
	job->id = json_get_text(json, "id");
	if (job->id == NULL || !id_is_valid(job->id))
	{
		api_set_error(api, 200, NULL, "no id of the new job");
		api->error.refusal = API_TRANSIENT;
		api_raise(api, "could not create a Bulk job");
	}
	read_job(job, json);
	return job;
}

void
bulk_poll(SalesforceApi *api, BulkJob *job)
{
	HttpAnswer *answer;
	Json	   *json;

	answer = api_try(api, API_KIND_BULK, "GET",
					 job_path(job->version, job->id, ""), NIL, NULL);
	if (answer->status == 404)
	{
		job->state = BULK_GONE;
		return;
	}
	if (answer->status >= 300)
		api_raise(api, psprintf("could not read the state of Bulk job %s",
								job->id));
	json = json_read(answer->body.data, answer->body.len);
	if (json_get(json, "state") == NULL)
	{
		api_set_error(api, answer->status, NULL,
					  foreign_page(answer->body.data));
		api->error.refusal = API_TRANSIENT;
		api_raise(api, psprintf("could not read the state of Bulk job %s",
								job->id));
	}
	read_job(job, json);
}

/*
 * Takes the code off "CODE : words", as the message of a failed job often is;
 * NULL if it has none.
 */
static char *
leading_code(const char **message)
{
	size_t		len = strspn(*message, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_");
	const char *after = *message + len + strspn(*message + len, " ");
	char	   *code;

	if (len <= 3 || *after != ':')
		return NULL;
	code = pnstrdup(*message, len);
	*message = after + 1;
	return code;
}

pg_noreturn static void
raise_failed(SalesforceApi *api, const BulkJob *job)
{
	const char *message = job->message;
	char	   *code;

	if (job->state == BULK_GONE)
	{
		api_set_error(api, 404, "INVALIDJOB", "the job does not exist");
		api_raise(api, psprintf("Bulk job %s is gone", job->id));
	}
	code = leading_code(&message);
	api_set_error(api, 0, code, message);
	/* Words that say nothing are no sign of a trouble that passes. */
	if (api->error.code[0] == '\0' && api->error.refusal == API_TRANSIENT)
		api->error.refusal = API_REQUEST;
	api_raise(api, psprintf("Bulk job %s failed", job->id));
}

void
bulk_pause(long *ms)
{
	static uint32 wait_event = 0;
	TimestampTz until;
	long		left;

	*ms = *ms == 0 ? FIRST_POLL : Min(*ms * 3 / 2, LAST_POLL);
	left = *ms;
	until = TimestampTzPlusMilliseconds(GetCurrentTimestamp(), left);
	while (left > 0)
	{
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 Min(left, MAX_NAP), named_wait_event("SyncBulkJob", &wait_event));
		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		http_heed_now(true);
		/* The clock may be set meanwhile: never wait longer than before. */
		left = Min(left, (until - GetCurrentTimestamp()) / 1000);
	}
}

void
bulk_wait(SalesforceApi *api, BulkJob *job)
{
	long		pause = 0;

	while (job->state == BULK_RUNNING)
	{
		bulk_pause(&pause);
		bulk_poll(api, job);
	}
	if (job->state != BULK_COMPLETE)
		raise_failed(api, job);
}

void
bulk_delete(SalesforceApi *api, const char *job_id, const char *version)
{
	char	   *path = job_path(version, job_id, "");
	HttpAnswer *answer;

	if (!id_is_valid(job_id))
		return;
	answer = api_try(api, API_KIND_BULK, "DELETE", path, NIL, NULL);
	if (answer->status < 300 || answer->status == 404)
		return;
	/* Only a job that has ended can be deleted. */
	answer = api_try(api, API_KIND_BULK, "PATCH", path, NIL,
					 "{\"state\":\"Aborted\"}");
	if (answer->status < 300)
		answer = api_try(api, API_KIND_BULK, "DELETE", path, NIL, NULL);
	/* What cannot be deleted now is forgotten by the org after seven days. */
	if (answer->status >= 300)
		ereport(DEBUG1,
				(errmsg_internal("could not delete Bulk job %s: %d %s", job_id,
								 api->error.status, api->error.code)));
}

/* ------------------------------------------------------------------------
 * Result pages
 * ------------------------------------------------------------------------
 */

static char *
page_path(const BulkJob *job, const char *locator, int max_records)
{
	StringInfoData path;
	char		separator = '?';

	initStringInfo(&path);
	appendStringInfoString(&path, job_path(job->version, job->id,
										   "/results"));
	if (max_records > 0)
	{
		appendStringInfo(&path, "%cmaxRecords=%d", separator, max_records);
		separator = '&';
	}
	if (locator != NULL)
		appendStringInfo(&path, "%clocator=%s", separator,
						 http_encode(locator));
	return path.data;
}

/*
 * The last page has the word null there.  Where the header is missing somebody
 * may have taken it out: then only the sum of the rows tells.
 */
static char *
next_locator(const HttpAnswer *answer, bool *unsaid)
{
	const char *text = http_header(answer, "Sforce-Locator");

	*unsaid = text == NULL || text[0] == '\0';
	if (text == NULL || text[0] == '\0' || strcmp(text, "null") == 0)
		return NULL;
	return pstrdup(text);
}

static int64
announced_records(const HttpAnswer *answer)
{
	const char *text = http_header(answer, "Sforce-NumberOfRecords");
	long long	n;

	if (text == NULL || sscanf(text, "%lld", &n) != 1 || n < 0)
		return -1;
	return n;
}

/* Sends the request; the rows follow as they are read. */
static void
open_page(BulkPage *page)
{
	MemoryContext caller = MemoryContextSwitchTo(page->context);
	const HttpAnswer *answer;

	PG_TRY();
	{
		page->stream = api_open(page->api, API_KIND_BULK, page->path,
								list_make1("Accept: text/csv"));
	}
	PG_CATCH();
	{
		/* A job is forgotten after a week, with its results. */
		if (page->api->error.status == 404)
			page->api->error.refusal = API_CURSOR;
		PG_RE_THROW();
	}
	PG_END_TRY();
	answer = http_stream_answer(page->stream);
	page->next = next_locator(answer, &page->unsaid);
	page->announced = announced_records(answer);
	csv_restart(&page->csv);
	MemoryContextSwitchTo(caller);

	/* Nothing of the page is read then: it would be read for ever. */
	if (page->next != NULL && page->locator != NULL &&
		strcmp(page->next, page->locator) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("result of Salesforce does not go on"),
				 errdetail("The page at locator \"%s\" names itself as the next one.",
						   foreign_text(page->locator))));
}

static void
check_end(BulkPage *page)
{
	bool		whole = csv_end(&page->csv);
	int64		records = page->csv.records;

	if (page->announced == -1 ? whole : whole && records == page->announced)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_CONNECTION_FAILURE),
			 errmsg("result page of Salesforce is not complete"),
			 page->announced == -1 ?
			 errdetail("It ends inside a value.") :
			 errdetail("Salesforce announced " INT64_FORMAT " records, "
					   INT64_FORMAT " came.", page->announced, records)));
}

static int
read_page(RowSource *source, void *outbuf, int minread, int maxread)
{
	BulkPage   *page = (BulkPage *) source;
	int			got = 0;

	while (page->stream != NULL && (got < minread || got == 0))
	{
		char	   *buf = (char *) outbuf + got;
		int			n = http_read(page->stream, buf, 1, maxread - got);

		if (n == 0)
		{
			http_close(page->stream);
			page->stream = NULL;
			check_end(page);
		}
		else
			got += csv_filter(&page->csv, buf, n);
	}
	return got;
}

static void
close_stream(BulkPage *page)
{
	HttpStream *stream = page->stream;

	page->stream = NULL;
	if (stream != NULL)
		http_close(stream);
}

static void
rewind_page(RowSource *source)
{
	BulkPage   *page = (BulkPage *) source;

	close_stream(page);
	open_page(page);
}

static List *
copy_names(const List *names)
{
	List	   *copy = NIL;
	ListCell   *lc;

	foreach(lc, names)
		copy = lappend(copy, pstrdup((const char *) lfirst(lc)));
	return copy;
}

BulkPage *
bulk_page_open(SalesforceApi *api, const BulkJob *job, const char *locator,
			   int max_records, List *fields)
{
	MemoryContext context;
	MemoryContext caller;
	BulkPage   *page;

	context = AllocSetContextCreate(CurrentMemoryContext, "sync bulk page",
									ALLOCSET_DEFAULT_SIZES);
	caller = MemoryContextSwitchTo(context);
	page = palloc0(sizeof(BulkPage));
	page->source.read = read_page;
	page->source.rewind = rewind_page;
	page->context = context;
	page->api = api;
	page->path = page_path(job, locator, max_records);
	page->locator = locator ? pstrdup(locator) : NULL;
	csv_begin(&page->csv, copy_names(fields));
	MemoryContextSwitchTo(caller);

	PG_TRY();
	{
		open_page(page);
	}
	PG_CATCH();
	{
		MemoryContextDelete(context);
		PG_RE_THROW();
	}
	PG_END_TRY();
	return page;
}

RowSource *
bulk_page_source(BulkPage *page)
{
	return &page->source;
}

const char *
bulk_page_next(const BulkPage *page)
{
	return page->next;
}

int64
bulk_page_rows(const BulkPage *page)
{
	return page->announced;
}

int64
bulk_page_records(const BulkPage *page)
{
	return page->csv.records;
}

void
bulk_require_whole(const char *what, const BulkJob *job, const BulkPage *last,
				   int64 came)
{
	if (job->records < 0 && last->unsaid)
		ereport(ERROR,
				(errcode(ERRCODE_CARDINALITY_VIOLATION),
				 errmsg("%s came from Salesforce without an end", what),
				 errdetail("Neither did the job say how many records it has, nor a page that it is the last.")));
	if (job->records >= 0)
		api_require_sum(what, job->records, came);
}

void
bulk_page_close(BulkPage *page)
{
	MemoryContextDelete(page->context);
}
