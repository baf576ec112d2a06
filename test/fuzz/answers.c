/*-------------------------------------------------------------------------
 *
 * answers.c
 *	  Targets that are given whole answers of an org (canned.c), and do with
 *	  them what the bridge does.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/timestamp.h"

#include "bulk.h"
#include "collections.h"
#include "csv.h"
#include "describe.h"
#include "fuzz.h"
#include "id.h"
#include "ingest.h"
#include "query.h"
#include "session.h"
#include "soql.h"

#define LEAD_ID "00Q4C00000B5BugUAF"
#define JOB_ID "7504C00000B5BugQAF"

/* Pages of one answer that are followed: more is a chain without an end. */
#define PAGES 100

static bool
log_in(SalesforceApi *api, const char *refused_token, void *arg)
{
	api_set_session(api, FUZZ_INSTANCE, "another");
	return strcmp(refused_token, "another") != 0;
}

/* An org that is logged in to; version NULL = to be asked for. */
static SalesforceApi *
the_org(const char *data, Size size, const char *version)
{
	SalesforceApi *api = api_create(canned_client(data, size), "sync", log_in,
									NULL);

	api_set_session(api, FUZZ_INSTANCE, "token");
	if (version != NULL)
		api->version = pstrdup(version);
	return api;
}

static List *
fields(void)
{
	return list_make3("Id", "Name", "Owner.Name");
}

/* Reads a row source to its end, in pieces; twice. */
static Size
read_rows(RowSource *source)
{
	char		buf[100];
	Size		total = 0;
	int			n;

	while ((n = source->read(source, buf, 1, sizeof(buf))) > 0)
		total += n;
	return total;
}

/* ------------------------------------------------------------------------
 * Questions
 * ------------------------------------------------------------------------
 */

static void
use_page(QueryPage *page)
{
	RowSource  *rows;
	Size		size;
	int			i;

	for (i = 0; i < page->nrecords; i++)
	{
		char	   *text = query_record_text(page, i);

		fuzz_require(json_read(text, strlen(text)) != NULL);
		fuzz_require(id_is_valid(query_id(page, i)));
		(void) soql_parse_datetime(query_required(page, i, "SystemModstamp"));
		(void) query_value(page, i, "Owner.Name");
	}
	rows = query_rows(page, fields());
	size = read_rows(rows);
	rows->rewind(rows);
	fuzz_require(read_rows(rows) == size);
}

/* A page that broke in the middle is left, and the next is read all the same. */
static void
try_page(QueryPage *page)
{
	MemoryContext caller = CurrentMemoryContext;

	PG_TRY();
	{
		use_page(page);
	}
	PG_CATCH();
	{
		if (ERRCODE_TO_CATEGORY(geterrcode()) ==
			ERRCODE_TO_CATEGORY(ERRCODE_INTERNAL_ERROR))
			PG_RE_THROW();
		MemoryContextSwitchTo(caller);
		FlushErrorState();
	}
	PG_END_TRY();
}

static void
run_query(const char *data, Size size)
{
	SalesforceApi *api = the_org(data, size, "62.0");
	QueryPage  *page = query_run(api, "SELECT Id FROM Lead", false);
	QueryPage  *next;
	int			pages = 0;

	for (;;)
	{
		try_page(page);
		fuzz_require(page->done == (page->next == NULL));
		if (page->done)
			break;
		fuzz_require(page->next[0] == '/');
		fuzz_require(++pages <= PAGES);
		next = query_next(api, page);
		query_free(page);
		page = next;
	}
	query_free(page);
}

/* The same by Composite, which a long statement goes through. */
static void
run_long_query(const char *data, Size size)
{
	char	   *soql = palloc(9001);

	memset(soql, 'x', 9000);
	soql[9000] = '\0';
	try_page(query_run(the_org(data, size, "62.0"), soql, true));
}

static void
use_answer(const Question *question)
{
	ListCell   *lc;

	if (!question->answered)
	{
		fuzz_require(question->refusal.message != NULL);
		return;
	}
	if (question->kind == QUESTION_QUERY ||
		question->kind == QUESTION_QUERY_ALL)
	{
		fuzz_require(question->page != NULL);
		try_page(question->page);
	}
	foreach(lc, question->ids)
		fuzz_require(id_is_valid((char *) lfirst(lc)));
	foreach(lc, question->deleted)
		fuzz_require(id_is_valid(((DeletedRecord *) lfirst(lc))->id));
}

static void
run_ask(const char *data, Size size)
{
	SalesforceApi *api = the_org(data, size, "62.0");
	Question	questions[4];
	int			i;

	memset(questions, 0, sizeof(questions));
	for (i = 0; i < 4; i++)
	{
		questions[i].kind = (QuestionKind) i;
		questions[i].soql = "SELECT Id FROM Lead";
		questions[i].object = "Lead";
		questions[i].end = INT64CONST(800000000) * USECS_PER_SEC;
		questions[i].start = questions[i].end - 60 * USECS_PER_SEC;
	}
	query_ask(api, questions, 4);
	for (i = 0; i < 4; i++)
		use_answer(&questions[i]);
	/* Alone, each costs a call of its own. */
	query_ask(api, &questions[QUESTION_UPDATED], 1);
	use_answer(&questions[QUESTION_UPDATED]);
	query_ask(api, &questions[QUESTION_DELETED], 1);
	use_answer(&questions[QUESTION_DELETED]);
}

/* ------------------------------------------------------------------------
 * Descriptions, versions, logins
 * ------------------------------------------------------------------------
 */

static void
use_object(const DescribeObject *object)
{
	ListCell   *lc;

	fuzz_require(object->name != NULL && object->label != NULL);
	foreach(lc, object->fields)
	{
		DescribeField *field = (DescribeField *) lfirst(lc);

		fuzz_require(field->name != NULL && field->type != NULL);
		fuzz_require(describe_field(object, field->name) != NULL);
	}
}

static void
run_describe(const char *data, Size size)
{
	SalesforceApi *api = the_org(data, size, "62.0");
	DescribeObject *object;
	ListCell   *lc;

	(void) describe_unchanged(api, list_make2("Lead", "Account"),
							  list_make2("yesterday", "today"));
	foreach(lc, describe_global(api))
		use_object((DescribeObject *) lfirst(lc));
	object = describe_object(api, "Lead", "yesterday");
	if (object != NULL)
		use_object(object);
	use_object(describe_parse(describe_text(api, "Lead")));
}

/* One object alone, from the first answer. */
static void
run_object(const char *data, Size size)
{
	DescribeObject *object;

	object = describe_object(the_org(data, size, "62.0"), "Lead", NULL);
	if (object != NULL)
		use_object(object);
}

static void
run_api(const char *data, Size size)
{
	SalesforceApi *api = the_org(data, size, NULL);
	Json	   *json;

	api_choose_version(api, NULL);
	fuzz_require(api->version != NULL);
	json = api_call_json(api, API_KIND_OTHER, "GET", "/limits", NIL, NULL);
	(void) json_get_int(json, "DailyApiRequests", 0);
	fuzz_require(api->limit_used >= -1 || api->limit_max != 0);
	(void) api_now(api);
}

/* What a refusal says, in the words of an error. */
static void
run_refusal(const char *data, Size size)
{
	SalesforceApi *api = the_org("", 0, "62.0");
	char	   *body = fuzz_string(data, size);
	int			status = 400 + (size > 0 ? (unsigned char) data[0] : 0);

	api_read_error(api, status, body);
	fuzz_require(api->error.message != NULL);
	fuzz_require(strlen(api->error.code) < sizeof(api->error.code));
	api_raise(api, "could not do it");
}

static void
run_session(const char *data, Size size)
{
	Credentials credentials = {0};
	Session    *session;

	credentials.login_url = FUZZ_INSTANCE;
	credentials.auth = "refresh_token";
	credentials.client_id = "app";
	credentials.refresh_token = "token";
	session = session_login(canned_client(data, size), &credentials);
	fuzz_require(session->access_token[0] != '\0');
	fuzz_require(http_url_allowed(session->instance_url));
	fuzz_require(strncmp(session->instance_url, "https://", 8) == 0);
	fuzz_require((session->org_id == NULL) == (session->user_id == NULL));
}

/* ------------------------------------------------------------------------
 * Bulk
 * ------------------------------------------------------------------------
 */

/* All pages of a result, each read twice. */
static void
read_pages(SalesforceApi *api, const BulkJob *job)
{
	char	   *locator = NULL;
	int64		came = 0;
	int			pages = 0;

	do
	{
		BulkPage   *page = bulk_page_open(api, job, locator, 0, fields());

		(void) read_rows(bulk_page_source(page));
		came += bulk_page_records(page);
		locator = bulk_page_next(page) ? pstrdup(bulk_page_next(page)) : NULL;
		if (locator == NULL)
			bulk_require_whole("the copy of Lead", job, page, came);
		bulk_page_close(page);
	} while (locator != NULL && ++pages < PAGES);
}

static void
run_bulk(const char *data, Size size)
{
	SalesforceApi *api = the_org(data, size, "62.0");
	BulkJob    *job = bulk_create(api, "SELECT Id FROM Lead", false);

	fuzz_require(id_is_valid(job->id));
	bulk_poll(api, job);
	fuzz_require(job->state != BULK_FAILED || job->message != NULL);
	if (job->state != BULK_RUNNING)
		bulk_wait(api, job);
	read_pages(api, job);
	bulk_delete(api, job->id, job->version);
}

/* The pages alone, from the first answer. */
static void
run_pages(const char *data, Size size)
{
	BulkJob		job = {0};

	job.id = JOB_ID;
	job.version = "62.0";
	job.state = BULK_COMPLETE;
	job.records = -1;
	read_pages(the_org(data, size, "62.0"), &job);
}

static void
use_result(const IngestRow *row, void *arg)
{
	fuzz_require(row->id != NULL);
	fuzz_require(row->outcome != INGEST_ROW_FAILED ||
				 (row->code != NULL && row->message != NULL));
	fuzz_require(row->values[0] == NULL || row->values[0][0] != '\0');
	fuzz_require(row->values[1] == NULL || row->values[1][0] != '\0');
}

static void
run_ingest(const char *data, Size size)
{
	SalesforceApi *api = the_org(data, size, "62.0");
	const char *values[] = {LEAD_ID, "Diaz"};
	const bool	null[] = {false, false};
	List	   *sent = list_make2("Id", "LastName");
	IngestJob  *job = ingest_create(api, "Lead", WRITE_UPDATE, NULL);
	StringInfoData csv;

	initStringInfo(&csv);
	ingest_header(&csv, sent);
	fuzz_require(ingest_row(&csv, values, null, 2));
	ingest_upload(api, job, &csv);
	ingest_poll(api, job);
	fuzz_require(job->state != INGEST_FAILED || job->message != NULL);
	ingest_results(api, job, WRITE_UPDATE, sent, use_result, NULL);
	(void) ingest_abort(api, job->id);
	ingest_delete(api, job->id);
}

/* The three files alone, from the first answer. */
static void
run_results(const char *data, Size size)
{
	IngestJob  *job = ingest_known(JOB_ID);

	job->state = size % 2 ? INGEST_COMPLETE : INGEST_FAILED;
	ingest_results(the_org(data, size, "62.0"), job, WRITE_CREATE,
				   list_make2("LastName", "Company"), use_result, NULL);
}

/* Values on their way out are read as they were, by the same reader. */
static int
read_upload(void *arg, char *buf, int max)
{
	StringInfo	csv = (StringInfo) arg;
	int			n = Min(max, csv->len - csv->cursor);

	memcpy(buf, csv->data + csv->cursor, n);
	csv->cursor += n;
	return n;
}

static void
run_upload(const char *data, Size size)
{
	char	   *value = fuzz_string(data, size);
	const char *values[] = {value, "next"};
	const bool	null[] = {false, false};
	StringInfoData csv;
	CsvReader  *reader;
	const char *p;
	const char *q;

	initStringInfo(&csv);
	if (!ingest_row(&csv, values, null, 2))
	{
		fuzz_require(csv.len == 0);
		return;
	}
	reader = csv_reader_create(read_upload, &csv);
	fuzz_require(csv_reader_next(reader) && reader->nvalues == 2);
	fuzz_require(strcmp(reader->values[1], "next") == 0);
	if (strcmp(reader->values[0], "#N/A") == 0)
	{
		fuzz_require(value[strspn(value, "\x01\x02\x03\x04\x05\x06\x07\b\t\n\v"
								  "\f\r\x0e\x0f\x10\x11\x12\x13\x14\x15\x16"
								  "\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f ")] ==
					 '\0');
		return;
	}
	/* Equal but for CRLF, which became LF. */
	for (p = value, q = reader->values[0]; *p != '\0'; p++)
		if (*p != '\r')
			fuzz_require(*p == *q++);
	fuzz_require(*q == '\0');
	fuzz_require(!csv_reader_next(reader));
}

/* ------------------------------------------------------------------------
 * Writing
 * ------------------------------------------------------------------------
 */

#define VERBS 5					/* the last: an update under a condition */
#define RECORDS 2

static void
plan(WriteCall *call, int verb, WriteRecord *records, WriteField *field)
{
	int			i;

	call->verb = verb == WRITE_DELETE + 1 ? WRITE_UPDATE : (WriteVerb) verb;
	call->external_id = "Key__c";
	call->records = palloc(RECORDS * sizeof(WriteRecord *));
	call->nrecords = RECORDS;
	for (i = 0; i < RECORDS; i++)
	{
		records[i].object = "Lead";
		if (call->verb == WRITE_UPDATE || call->verb == WRITE_DELETE)
			records[i].id = LEAD_ID;
		records[i].fields = field;
		records[i].nfields = call->verb == WRITE_DELETE ? 0 : 1;
		if (verb != (int) call->verb)
			records[i].unmodified_since =
				INT64CONST(800000000) * USECS_PER_SEC;
		call->records[i] = &records[i];
	}
}

/* A record is done, refused in words, or nobody knows. */
static void
use_outcome(const WriteCall *call)
{
	int			i;

	fuzz_require(!call->refused || call->answered);
	fuzz_require(call->answered || call->failure != NULL);
	for (i = 0; i < call->nrecords; i++)
	{
		const WriteRecord *record = call->records[i];

		if (!record->answered)
		{
			fuzz_require(!record->success);
			continue;
		}
		if (record->new_id != NULL)
			fuzz_require(id_is_valid(record->new_id));
		if (!record->success)
			fuzz_require(record->code != NULL && record->message != NULL);
		else if (call->verb == WRITE_CREATE || call->verb == WRITE_UPSERT)
			fuzz_require(record->new_id != NULL);
	}
}

static void
run_collections(const char *data, Size size)
{
	SalesforceApi *api = the_org(data, size, "62.0");
	WriteField	field = {"LastName", "Diaz", false};
	WriteCall	calls[VERBS];
	WriteRecord records[VERBS][RECORDS];
	int			i;

	memset(calls, 0, sizeof(calls));
	memset(records, 0, sizeof(records));
	for (i = 0; i < VERBS; i++)
		plan(&calls[i], i, records[i], &field);
	collections_write(api, calls, VERBS);
	for (i = 0; i < VERBS; i++)
		use_outcome(&calls[i]);
}

const FuzzTarget answer_targets[] = {
	{"query", run_query},
	{"long_query", run_long_query},
	{"ask", run_ask},
	{"describe", run_describe},
	{"object", run_object},
	{"api", run_api},
	{"refusal", run_refusal},
	{"session", run_session},
	{"bulk", run_bulk},
	{"pages", run_pages},
	{"ingest", run_ingest},
	{"results", run_results},
	{"upload", run_upload},
	{"collections", run_collections},
	{NULL, NULL}
};
