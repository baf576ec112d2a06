/*-------------------------------------------------------------------------
 *
 * ingest.c
 *	  Writing many records: Bulk API 2.0 ingest jobs.
 *
 * A job takes one upload and does nothing until it is closed; from then on it
 * is the org that sees to it that each record is processed once.  So what has
 * to be known after a crash is the id of the job alone.
 *
 * An empty value of the CSV leaves a field as it is, #N/A makes it null, and
 * nothing escapes a text that happens to read so.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/memutils.h"

#include "../compat.h"
#include "bulk.h"
#include "csv.h"
#include "id.h"
#include "ingest.h"
#include "text.h"
#include "origin.h"

#define CSV_NULL "#N/A"

/* The columns that Salesforce puts before those that were sent. */
#define COLUMN_ID "sf__Id"
#define COLUMN_CREATED "sf__Created"
#define COLUMN_ERROR "sf__Error"

/* ------------------------------------------------------------------------
 * Jobs
 * ------------------------------------------------------------------------
 */

/* Unknown states are new names for something that has not ended. */
static IngestState
state_of(const char *text)
{
	if (text == NULL)
		return INGEST_RUNNING;
	if (strcmp(text, "Open") == 0)
		return INGEST_OPEN;
	if (strcmp(text, "JobComplete") == 0)
		return INGEST_COMPLETE;
	if (strcmp(text, "Failed") == 0 || strcmp(text, "Aborted") == 0)
		return INGEST_FAILED;
	return INGEST_RUNNING;
}

static void
read_job(IngestJob *job, const Json *json)
{
	char	   *state = json_get_text(json, "state");

	job->state = state_of(state);
	job->processed = json_get_int(json, "numberRecordsProcessed", -1);
	job->failed = json_get_int(json, "numberRecordsFailed", -1);
	job->message = NULL;
	if (job->version == NULL)
		job->version = json_get_text(json, "apiVersion");
	if (job->state == INGEST_FAILED)
	{
		job->message = json_get_text(json, "errorMessage");
		job->message = job->message ? foreign_text(job->message) :
			psprintf("the job is in state %s", state);
		job->aborted = strcmp(state, "Aborted") == 0;
	}
}

/* A job whose version is not known is asked for with ours. */
static char *
job_path(SalesforceApi *api, const IngestJob *job, const char *tail)
{
	if (job->version == NULL)
		return psprintf("/jobs/ingest/%s%s", job->id, tail);
	return psprintf("/services/data/v%s/jobs/ingest/%s%s", job->version,
					job->id, tail);
}

static const char *
operation_of(WriteVerb verb)
{
	switch (verb)
	{
		case WRITE_CREATE:
			return "insert";
		case WRITE_UPDATE:
			return "update";
		case WRITE_UPSERT:
			return "upsert";
		case WRITE_DELETE:
			return "delete";
	}
	return NULL;
}

static char *
create_body(const char *object, WriteVerb verb, const char *external_id)
{
	StringInfoData body;

	initStringInfo(&body);
	appendStringInfoString(&body, "{\"object\":");
	json_append_string(&body, object);
	appendStringInfo(&body, ",\"operation\":\"%s\"", operation_of(verb));
	if (verb == WRITE_UPSERT)
	{
		appendStringInfoString(&body, ",\"externalIdFieldName\":");
		json_append_string(&body, external_id);
	}
	appendStringInfoString(&body, ",\"contentType\":\"CSV\","
						   "\"columnDelimiter\":\"COMMA\","
						   "\"lineEnding\":\"LF\"}");
	return body.data;
}

IngestJob *
ingest_create(SalesforceApi *api, const char *object, WriteVerb verb,
			  const char *external_id)
{
	IngestJob  *job = palloc0(sizeof(IngestJob));
	Json	   *json;

	if (api->version == NULL)
		api_choose_version(api, NULL);
	job->version = pstrdup(api->version);
	json = api_call_json(api, API_KIND_BULK, "POST", "/jobs/ingest", NIL,
						 create_body(object, verb, external_id));
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

IngestJob *
ingest_known(const char *job_id)
{
	IngestJob  *job = palloc0(sizeof(IngestJob));

	if (!id_is_valid(job_id))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is not the id of a Bulk job", job_id)));
	job->id = pstrdup(job_id);
	job->state = INGEST_RUNNING;
	job->processed = -1;
	job->failed = -1;
	return job;
}

/*
 * A call about a job.  False if the job is gone; any other refusal is raised,
 * and so is an answer that should have been a job and is not.
 */
static bool
call_job(SalesforceApi *api, IngestJob *job, const char *method,
		 const char *body, const char *doing)
{
	HttpAnswer *answer;
	Json	   *json;

	/* A job that is closed a second time says that this is not allowed. */
	answer = api_try_once(api, API_KIND_BULK, method, job_path(api, job, ""),
						  NIL, body);
	if (answer->status == 404)
	{
		job->state = INGEST_GONE;
		return false;
	}
	if (answer->status >= 300)
		api_raise(api, psprintf("could not %s Bulk job %s", doing, job->id));
	json = json_read(answer->body.data, answer->body.len);
	if (json_get(json, "state") == NULL)
	{
		api_set_error(api, answer->status, NULL,
					  foreign_page(answer->body.data));
		api->error.refusal = API_TRANSIENT;
		api_raise(api, psprintf("could not %s Bulk job %s", doing, job->id));
	}
	read_job(job, json);
	return true;
}

pg_noreturn static void
raise_gone(SalesforceApi *api, const IngestJob *job)
{
	api_set_error(api, 404, "INVALIDJOB", "the job does not exist");
	api_raise(api, psprintf("Bulk job %s is gone", job->id));
}

void
ingest_upload(SalesforceApi *api, IngestJob *job, const StringInfo csv)
{
	HttpAnswer *answer;

	if (csv->len > INGEST_MAX_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("upload for Bulk job %s is too large", job->id),
				 errdetail("It has %d bytes, Salesforce takes %d.", csv->len,
						   INGEST_MAX_BYTES)));
	answer = api_try_once(api, API_KIND_BULK, "PUT",
						  job_path(api, job, "/batches"),
						  list_make1("Content-Type: text/csv; charset=UTF-8"),
						  csv->data);
	if (answer->status == 404)
	{
		job->state = INGEST_GONE;
		raise_gone(api, job);
	}
	if (answer->status >= 300)
		api_raise(api, psprintf("could not upload the records of Bulk job %s",
								job->id));
	if (!call_job(api, job, "PATCH", "{\"state\":\"UploadComplete\"}",
				  "close"))
		raise_gone(api, job);
}

void
ingest_poll(SalesforceApi *api, IngestJob *job)
{
	(void) call_job(api, job, "GET", NULL, "read the state of");
}

void
ingest_wait(SalesforceApi *api, IngestJob *job)
{
	long		pause = 0;

	while (job->state == INGEST_RUNNING)
	{
		bulk_pause(&pause);
		ingest_poll(api, job);
	}
}

/*
 * A job in progress could be aborted too, and would leave some of its records
 * processed and some not.  Whether the abort came before a close that is still
 * on its way shows in what was processed.
 */
bool
ingest_abort(SalesforceApi *api, const char *job_id)
{
	IngestJob  *job = ingest_known(job_id);

	ingest_poll(api, job);
	if (job->state == INGEST_OPEN)
	{
		HttpAnswer *answer = api_try(api, API_KIND_BULK, "PATCH",
									 job_path(api, job, ""), NIL,
									 "{\"state\":\"Aborted\"}");

		if (answer->status >= 500)
			api_raise(api, psprintf("could not abort Bulk job %s", job_id));
		ingest_poll(api, job);
	}
	return job->state == INGEST_GONE ||
		(job->state == INGEST_FAILED && job->processed == 0);
}

void
ingest_delete(SalesforceApi *api, const char *job_id)
{
	HttpAnswer *answer;

	answer = api_try(api, API_KIND_BULK, "DELETE",
					 job_path(api, ingest_known(job_id), ""), NIL, NULL);
	if (answer->status >= 300)
		ereport(DEBUG1,
				(errmsg_internal("could not delete Bulk job %s: %d %s", job_id,
								 api->error.status, api->error.code)));
}

/*
 * The message begins with a code, as "InvalidBatch : Field name not found : X";
 * codes of calls are written with capitals.
 */
ApiRefusal
ingest_refusal(SalesforceApi *api, const IngestJob *job)
{
	const char *message = job->message;
	size_t		len = strspn(message, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
							 "abcdefghijklmnopqrstuvwxyz_");
	const char *after = message + len + strspn(message + len, " ");
	char	   *code = NULL;

	if (len > 3 && *after == ':')
	{
		code = pnstrdup(message, len);
		for (char *p = code; *p != '\0'; p++)
			*p = pg_ascii_toupper((unsigned char) *p);
		message = after + 1;
	}
	api_set_error(api, 0, code, message);
	return api->error.refusal;
}

/* ------------------------------------------------------------------------
 * The upload
 * ------------------------------------------------------------------------
 */

void
ingest_header(StringInfo csv, List *fields)
{
	const char *separator = "";
	ListCell   *lc;

	foreach(lc, fields)
	{
		appendStringInfoString(csv, separator);
		csv_append(csv, (const char *) lfirst(lc));
		separator = ",";
	}
	appendStringInfoChar(csv, '\n');
}

/* White space that Salesforce takes off a text, whose rest this is. */
static const char *
skip_blanks(const char *p)
{
	while (*p != '\0' && (unsigned char) *p <= ' ')
		p++;
	return p;
}

/* True for #N/A, as Salesforce may read it: trimmed, in any case. */
static bool
reads_as_null(const char *value)
{
	const char *p = skip_blanks(value);

	return pg_strncasecmp(p, CSV_NULL, strlen(CSV_NULL)) == 0 &&
		*skip_blanks(p + strlen(CSV_NULL)) == '\0';
}

/* A copy with LF for CRLF, the value itself if it has none, NULL for a lone CR. */
static const char *
with_plain_lines(const char *value)
{
	const char *from = strchr(value, '\r');
	char	   *copy;
	char	   *to;

	if (from == NULL)
		return value;
	copy = palloc(strlen(value) + 1);
	to = copy + (from - value);
	memcpy(copy, value, from - value);
	for (; *from != '\0'; from++)
	{
		if (*from != '\r')
			*to++ = *from;
		else if (from[1] != '\n')
		{
			pfree(copy);
			return NULL;
		}
	}
	*to = '\0';
	return copy;
}

static bool
append_value(StringInfo csv, const char *value)
{
	const char *plain;

	if (*skip_blanks(value) == '\0')
	{
		appendStringInfoString(csv, CSV_NULL);
		return true;
	}
	plain = reads_as_null(value) ? NULL : with_plain_lines(value);
	if (plain == NULL)
		return false;
	csv_append(csv, pg_server_to_any(plain, strlen(plain), PG_UTF8));
	if (plain != value)
		pfree(unconstify(char *, plain));
	return true;
}

bool
ingest_row(StringInfo csv, const char *const *values, const bool *null, int n)
{
	int			start = csv->len;
	int			i;

	for (i = 0; i < n; i++)
	{
		if (i > 0)
			appendStringInfoChar(csv, ',');
		if (values[i] == NULL && null[i])
			appendStringInfoString(csv, CSV_NULL);
		else if (values[i] != NULL && !append_value(csv, values[i]))
		{
			csv->len = start;
			csv->data[start] = '\0';
			return false;
		}
	}
	/* A line with nothing on it would be no row. */
	if (csv->len == start)
		appendStringInfoString(csv, "\"\"");
	appendStringInfoChar(csv, '\n');
	return true;
}

/* ------------------------------------------------------------------------
 * Results
 * ------------------------------------------------------------------------
 */

typedef struct Results
{
	HttpStream *stream;
	CsvReader  *csv;
	IngestOutcome outcome;
	WriteVerb	verb;
	int			columns;
	int			id;				/* places of the columns; -1 = not there */
	int			created;
	int			error;
	int		   *places;			/* of the fields that were sent */
	const char *missing;		/* a field that has none; or NULL */
	int			nfields;
	const char **values;		/* of a row, in the order of the fields */
	MemoryContext caller;		/* visit is called in */
	MemoryContext row_context;
	int64		rows;
} Results;

static int
read_stream(void *arg, char *buf, int max)
{
	return http_read((HttpStream *) arg, buf, 1, max);
}

/* The place of a column in the header line, or -1. */
static int
find_column(const CsvReader *header, const char *name)
{
	int			i;

	for (i = 0; i < header->nvalues; i++)
	{
		const char *found = header->values[i];

		if (i == 0 && strncmp(found, "\xEF\xBB\xBF", 3) == 0)
			found += 3;
		if (pg_strcasecmp(found, name) == 0)
			return i;
	}
	return -1;
}

/*
 * Where each column stands; false if the result is wholly empty.  Of a job whose
 * upload never came, or was not understood, the org does not know the columns.
 */
static bool
read_header(Results *results, List *fields)
{
	ListCell   *lc;
	int			i = 0;

	if (!csv_reader_next(results->csv))
		return false;
	results->columns = results->csv->nvalues;
	results->id = find_column(results->csv, COLUMN_ID);
	results->created = find_column(results->csv, COLUMN_CREATED);
	results->error = find_column(results->csv, COLUMN_ERROR);
	results->nfields = list_length(fields);
	results->places = palloc((results->nfields + 1) * sizeof(int));
	results->values = palloc((results->nfields + 1) * sizeof(char *));
	foreach(lc, fields)
	{
		const char *name = (const char *) lfirst(lc);

		results->places[i] = find_column(results->csv, name);
		if (results->places[i++] < 0)
			results->missing = name;
	}
	return true;
}

static const char *
value_at(const Results *results, int place)
{
	return place < 0 ? "" : results->csv->values[place];
}

static bool
is_field_name(const char *text)
{
	return text[0] != '\0' &&
		text[strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
					"abcdefghijklmnopqrstuvwxyz0123456789_.")] == '\0';
}

/* "LastName, Email" as a list; NIL if it is anything else. */
static List *
field_names(char *text)
{
	List	   *names = NIL;
	char	   *state = NULL;
	char	   *name;

	for (name = strtok_r(text, ", ", &state); name != NULL;
		 name = strtok_r(NULL, ", ", &state))
	{
		if (!is_field_name(name))
			return NIL;
		names = lappend(names, name);
	}
	return names;
}

/*
 * "CODE:message:Field, Field --", "CODE:message:--".  The message may hold
 * colons, so that the code ends at the first and the fields begin at the last.
 */
static void
read_error(IngestRow *row, const char *text)
{
	size_t		code_len = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789");
	char	   *rest;
	char	   *colon;
	size_t		len;

	row->code = "";
	row->message = foreign_text(text);
	if (code_len == 0 || text[code_len] != ':')
		return;
	row->code = pnstrdup(text, code_len);
	rest = pstrdup(text + code_len + 1);
	len = strlen(rest);
	if (len >= 2 && strcmp(rest + len - 2, "--") == 0)
	{
		rest[len - 2] = '\0';
		colon = strrchr(rest, ':');
		if (colon != NULL)
			row->error_fields = field_names(pstrdup(colon + 1));
		if (colon != NULL &&
			(row->error_fields != NIL || *skip_blanks(colon + 1) == '\0'))
			*colon = '\0';
	}
	row->message = foreign_text(rest);
}

static void
take_row(Results *results, IngestRow *row)
{
	int			i;

	for (i = 0; i < results->nfields; i++)
	{
		const char *value = value_at(results, results->places[i]);

		results->values[i] = value[0] == '\0' ? NULL :
			pg_any_to_server(value, strlen(value), PG_UTF8);
	}
	row->outcome = results->outcome;
	row->id = value_at(results, results->id);
	row->created = pg_strcasecmp(value_at(results, results->created),
								 "true") == 0;
	row->values = results->values;
	row->refusal = RECORD_RETRY;
	if (row->outcome != INGEST_ROW_FAILED)
		return;
	read_error(row, value_at(results, results->error));
	row->refusal = record_refusal_of(row->code, row->message,
									 row->error_fields, results->verb);
	row->crowded = record_is_crowded(row->code, row->message);
}

static void
visit_row(Results *results, IngestVisit visit, void *arg)
{
	MemoryContext work;
	IngestRow	row = {0};

	if (results->missing)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_COLUMN_NAME),
				 errmsg("result of Salesforce has other columns than were sent"),
				 errdetail("Column \"%s\" is missing.", results->missing)));
	if (results->csv->nvalues != results->columns)
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("result of Salesforce is not complete"),
				 errdetail("A row has %d values for %d columns.",
						   results->csv->nvalues, results->columns)));
	results->rows++;
	work = MemoryContextSwitchTo(results->row_context);
	take_row(results, &row);
	MemoryContextSwitchTo(results->caller);
	visit(&row, arg);
	MemoryContextSwitchTo(work);
	MemoryContextReset(results->row_context);
}

static const char *
result_name(IngestOutcome outcome)
{
	switch (outcome)
	{
		case INGEST_ROW_DONE:
			return "/successfulResults";
		case INGEST_ROW_FAILED:
			return "/failedResults";
		case INGEST_ROW_UNPROCESSED:
			return "/unprocessedrecords";
	}
	return NULL;
}

/* Reads one of the three files; results begins as far as it is the same. */
static void
read_results(SalesforceApi *api, const IngestJob *job, Results *results,
			 List *fields, IngestVisit visit, void *arg)
{
	results->stream = api_open(api, API_KIND_BULK,
							   job_path(api, job,
										result_name(results->outcome)),
							   list_make1("Accept: text/csv"));
	results->csv = csv_reader_create(read_stream, results->stream);
	results->rows = 0;
	results->missing = NULL;
	if (read_header(results, fields))
		while (csv_reader_next(results->csv))
			visit_row(results, visit, arg);
	http_close(results->stream);
}

/* A body that was cut at the end of a row looks complete. */
static void
check_rows(const IngestJob *job, const Results *results, int64 announced)
{
	if (job->state != INGEST_COMPLETE || announced < 0 ||
		results->rows == announced)
		return;
	ereport(ERROR,
			(errcode(ERRCODE_CONNECTION_FAILURE),
			 errmsg("result of Bulk job %s is not complete", job->id),
			 errdetail("Salesforce announced " INT64_FORMAT " records in %s, "
					   INT64_FORMAT " came.", announced,
					   result_name(results->outcome) + 1, results->rows)));
}

/* What the job says is in one of the files; -1 = it does not say. */
static int64
announced_rows(const IngestJob *job, IngestOutcome outcome)
{
	if (outcome == INGEST_ROW_UNPROCESSED || job->failed < 0)
		return -1;
	if (outcome == INGEST_ROW_FAILED)
		return job->failed;
	return job->processed < 0 ? -1 : job->processed - job->failed;
}

static void
read_all_results(SalesforceApi *api, const IngestJob *job, Results *results,
				 List *fields, IngestVisit visit, void *arg)
{
	int			i;

	for (i = INGEST_ROW_DONE; i <= INGEST_ROW_UNPROCESSED; i++)
	{
		int64		announced = announced_rows(job, (IngestOutcome) i);

		/* Each costs a call. */
		if (job->state == INGEST_COMPLETE && announced == 0)
			continue;
		results->outcome = (IngestOutcome) i;
		read_results(api, job, results, fields, visit, arg);
		check_rows(job, results, announced);
	}
}

void
ingest_results(SalesforceApi *api, const IngestJob *job, WriteVerb verb,
			   List *fields, IngestVisit visit, void *arg)
{
	MemoryContext work;
	Results		results = {0};

	work = AllocSetContextCreate(CurrentMemoryContext, "sync ingest results",
								 ALLOCSET_DEFAULT_SIZES);
	results.verb = verb;
	results.caller = MemoryContextSwitchTo(work);
	results.row_context = AllocSetContextCreate(work, "sync ingest row",
												ALLOCSET_DEFAULT_SIZES);
	PG_TRY();
	{
		read_all_results(api, job, &results, fields, visit, arg);
	}
	PG_FINALLY();
	{
		MemoryContextSwitchTo(results.caller);
		MemoryContextDelete(work);
	}
	PG_END_TRY();
}
