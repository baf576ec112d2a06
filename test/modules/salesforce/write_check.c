/*-------------------------------------------------------------------------
 *
 * write_check.c
 *	  Writing records as SQL functions, for tests: what is to be written comes
 *	  as JSON, and so does what became of it.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/resource.h>

#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "ingest.h"
#include "soql.h"
#include "salesforce_check.h"

static const char *const api_refusal_names[] = {
	"transient", "limit", "login", "permission", "schema", "cursor",
	"too_big", "unsupported", "request"
};

static const char *const record_refusal_names[] = {
	"retry", "park", "gone", "changed", "converted"
};

static const char *const state_names[] = {
	"open", "running", "complete", "failed", "gone"
};

static const char *const outcome_names[] = {"done", "failed", "unprocessed"};

static WriteVerb
verb_of(const char *name)
{
	if (strcmp(name, "create") == 0)
		return WRITE_CREATE;
	if (strcmp(name, "update") == 0)
		return WRITE_UPDATE;
	if (strcmp(name, "upsert") == 0)
		return WRITE_UPSERT;
	if (strcmp(name, "delete") == 0)
		return WRITE_DELETE;
	elog(ERROR, "no verb: %s", name);
}

static void
append_text(StringInfo out, const char *name, const char *value)
{
	appendStringInfo(out, ",\"%s\":", name);
	if (value == NULL)
		appendStringInfoString(out, "null");
	else
		json_append_string(out, value);
}

static void
append_names(StringInfo out, const List *names)
{
	const char *separator = "";
	ListCell   *lc;

	appendStringInfoString(out, ",\"fields\":[");
	foreach(lc, names)
	{
		appendStringInfoString(out, separator);
		json_append_string(out, (const char *) lfirst(lc));
		separator = ",";
	}
	appendStringInfoChar(out, ']');
}

/* ------------------------------------------------------------------------
 * collections
 * ------------------------------------------------------------------------
 */

/* {"bare": "x"} is a value that is written as it is, whatever it is. */
static void
read_field(const char *key, Json *value, void *arg)
{
	WriteRecord *record = (WriteRecord *) arg;
	WriteField *field = &record->fields[record->nfields++];

	field->name = pstrdup(key);
	field->bare = json_kind(value) == JSON_IS_BOOLEAN ||
		json_kind(value) == JSON_IS_NUMBER || json_kind(value) == JSON_IS_OBJECT;
	if (json_kind(value) == JSON_IS_OBJECT)
		field->value = json_get_text(value, "bare");
	else if (value != NULL)
		field->value = pstrdup(json_text(value));
}

static WriteRecord *
read_record(const Json *json)
{
	WriteRecord *record = palloc0(sizeof(WriteRecord));
	char	   *since = json_get_text(json, "since");

	record->object = json_get_text(json, "object");
	record->id = json_get_text(json, "id");
	record->fields = palloc0(100 * sizeof(WriteField));
	json_visit(json_get(json, "fields"), read_field, record);
	if (since != NULL)
		record->unmodified_since = soql_parse_datetime(since);
	return record;
}

static void
read_call(WriteCall *call, const Json *json)
{
	const Json *records = json_get(json, "records");
	int			i;

	call->verb = verb_of(json_get_text(json, "verb"));
	call->external_id = json_get_text(json, "external_id");
	call->nrecords = json_count(records);
	call->records = palloc0((call->nrecords + 1) * sizeof(WriteRecord *));
	for (i = 0; i < call->nrecords; i++)
		call->records[i] = read_record(json_item(records, i));
}

static void
append_record(StringInfo out, const WriteRecord *record)
{
	appendStringInfo(out, "{\"answered\":%s,\"success\":%s,\"created\":%s",
					 record->answered ? "true" : "false",
					 record->success ? "true" : "false",
					 record->created ? "true" : "false");
	append_text(out, "id", record->new_id);
	append_text(out, "refusal", record->answered && !record->success ?
				record_refusal_names[record->refusal] : NULL);
	append_text(out, "code", record->code);
	append_text(out, "message", record->message);
	append_names(out, record->error_fields);
	appendStringInfoChar(out, '}');
}

static void
append_call(StringInfo out, const WriteCall *call)
{
	int			i;

	appendStringInfo(out, "{\"answered\":%s,\"refused\":%s,\"in_doubt\":%s",
					 call->answered ? "true" : "false",
					 call->refused ? "true" : "false",
					 call->in_doubt_now ? "true" : "false");
	append_text(out, "refusal", call->refused ?
				psprintf("%s %d [%s] %s",
						 api_refusal_names[call->refusal.refusal],
						 call->refusal.status, call->refusal.code,
						 call->refusal.message) : NULL);
	append_text(out, "failure", call->failure);
	appendStringInfoString(out, ",\"records\":[");
	for (i = 0; i < call->nrecords; i++)
	{
		if (i > 0)
			appendStringInfoChar(out, ',');
		append_record(out, call->records[i]);
	}
	appendStringInfoString(out, "]}");
}

CHECK_FUNCTION(check_write)
{
	char	   *what = ARG_TEXT(0);
	Json	   *json = json_read(what, strlen(what));
	int			n = json_count(json);
	WriteCall  *calls = palloc0((n + 1) * sizeof(WriteCall));
	StringInfoData out;
	int			i;

	for (i = 0; i < n; i++)
		read_call(&calls[i], json_item(json, i));
	collections_write(check_org(), calls, n);
	initStringInfo(&out);
	appendStringInfoChar(&out, '[');
	for (i = 0; i < n; i++)
	{
		if (i > 0)
			appendStringInfoChar(&out, ',');
		append_call(&out, &calls[i]);
	}
	appendStringInfoChar(&out, ']');
	RETURN_TEXT(out.data);
}

/* Sends all that follows to another address, with the session as it is. */
CHECK_FUNCTION(check_instance)
{
	SalesforceApi *api = check_org();

	api_set_session(api, ARG_TEXT(0), pstrdup(api->access_token));
	PG_RETURN_VOID();
}

CHECK_FUNCTION(check_record_refusal)
{
	RecordRefusal refusal = record_refusal_of(ARG_TEXT(0), ARG_TEXT(1),
											  check_list(PG_GETARG_DATUM(2)),
											  verb_of(ARG_TEXT(3)));

	RETURN_TEXT(record_refusal_names[refusal]);
}

static double
cpu_us(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_utime.tv_sec * 1e6 + usage.ru_utime.tv_usec +
		usage.ru_stime.tv_sec * 1e6 + usage.ru_stime.tv_usec;
}

/* The processor time of a record, in µs: ten fields, calls of 200 records. */
CHECK_FUNCTION(check_write_cost)
{
	int			n = PG_GETARG_INT32(0);
	WriteCall  *calls = palloc0(n * sizeof(WriteCall));
	double		before;
	int			i;
	int			j;
	int			k;

	for (i = 0; i < n; i++)
	{
		calls[i].verb = WRITE_CREATE;
		calls[i].nrecords = 200;
		calls[i].records = palloc(200 * sizeof(WriteRecord *));
		for (j = 0; j < 200; j++)
		{
			WriteRecord *record = palloc0(sizeof(WriteRecord));
			static const char *const names[] = {
				"LastName", "Company", "FirstName", "Title", "City", "Street",
				"Country", "Phone", "Website", "Description"
			};

			record->object = "Lead";
			record->fields = palloc0(10 * sizeof(WriteField));
			record->nfields = 10;
			for (k = 0; k < 10; k++)
			{
				record->fields[k].name = names[k];
				record->fields[k].value = psprintf("value %d of %d", k, j);
			}
			calls[i].records[j] = record;
		}
	}
	before = cpu_us();
	collections_write(check_org(), calls, n);
	before = cpu_us() - before;
	for (i = 0; i < n; i++)
		for (j = 0; j < 200; j++)
			if (!calls[i].records[j]->success)
				elog(ERROR, "not written");
	PG_RETURN_FLOAT8(before / (n * 200.0));
}

/* ------------------------------------------------------------------------
 * ingest
 * ------------------------------------------------------------------------
 */

/*
 * Rows as a JSON array of arrays: null makes null, false leaves out.  Rows
 * that cannot be sent this way are left out and counted at the end.
 */
static void
make_csv(StringInfo csv, List *fields, const char *text, int *refused)
{
	Json	   *rows = json_read(text, strlen(text));
	int			n = list_length(fields);
	const char **values = palloc(n * sizeof(char *));
	bool	   *null = palloc(n * sizeof(bool));
	int			i;
	int			j;

	*refused = 0;
	ingest_header(csv, fields);
	for (i = 0; i < json_count(rows); i++)
	{
		for (j = 0; j < n; j++)
		{
			Json	   *value = json_item(json_item(rows, i), j);

			null[j] = value == NULL;
			values[j] = json_kind(value) == JSON_IS_STRING ||
				json_kind(value) == JSON_IS_NUMBER ? json_text(value) : NULL;
		}
		if (!ingest_row(csv, values, null, n))
			(*refused)++;
	}
}

CHECK_FUNCTION(check_ingest_csv)
{
	StringInfoData csv;
	int			refused;

	initStringInfo(&csv);
	make_csv(&csv, check_list(PG_GETARG_DATUM(0)), ARG_TEXT(1), &refused);
	RETURN_TEXT(psprintf("%s%d refused", csv.data, refused));
}

CHECK_FUNCTION(check_ingest_create)
{
	RETURN_TEXT(ingest_create(check_org(), ARG_TEXT(0), verb_of(ARG_TEXT(1)),
							  ARG_TEXT_OR_NULL(2))->id);
}

static char *
job_text(const IngestJob *job)
{
	return psprintf("%s " INT64_FORMAT " " INT64_FORMAT " %s",
					state_names[job->state], job->processed, job->failed,
					job->message ? job->message : "");
}

CHECK_FUNCTION(check_ingest_upload)
{
	IngestJob  *job = ingest_known(ARG_TEXT(0));
	StringInfoData csv;

	initStringInfo(&csv);
	appendStringInfoString(&csv, ARG_TEXT(1));
	ingest_upload(check_org(), job, &csv);
	RETURN_TEXT(job_text(job));
}

CHECK_FUNCTION(check_ingest_wait)
{
	IngestJob  *job = ingest_known(ARG_TEXT(0));

	ingest_wait(check_org(), job);
	RETURN_TEXT(job_text(job));
}

CHECK_FUNCTION(check_ingest_abort)
{
	PG_RETURN_BOOL(ingest_abort(check_org(), ARG_TEXT(0)));
}

CHECK_FUNCTION(check_ingest_delete)
{
	ingest_delete(check_org(), ARG_TEXT(0));
	PG_RETURN_VOID();
}

typedef struct Collected
{
	StringInfoData out;
	int			nvalues;
} Collected;

static void
collect_row(const IngestRow *row, void *arg)
{
	Collected  *collected = (Collected *) arg;
	StringInfo	out = &collected->out;
	int			i;

	appendStringInfo(out, "%s{\"outcome\":\"%s\",\"created\":%s",
					 out->len > 1 ? "," : "", outcome_names[row->outcome],
					 row->created ? "true" : "false");
	append_text(out, "id", row->id);
	append_text(out, "refusal", row->outcome == INGEST_ROW_DONE ? NULL :
				record_refusal_names[row->refusal]);
	append_text(out, "code", row->code);
	append_text(out, "message", row->message);
	append_names(out, row->error_fields);
	appendStringInfoString(out, ",\"values\":[");
	for (i = 0; i < collected->nvalues; i++)
	{
		appendStringInfoString(out, i > 0 ? "," : "");
		if (row->values[i] == NULL)
			appendStringInfoString(out, "null");
		else
			json_append_string(out, row->values[i]);
	}
	appendStringInfoString(out, "]}");
}

static char *
results_text(const IngestJob *job, WriteVerb verb, List *fields)
{
	Collected	collected;

	initStringInfo(&collected.out);
	collected.nvalues = list_length(fields);
	appendStringInfoChar(&collected.out, '[');
	ingest_results(check_org(), job, verb, fields, collect_row, &collected);
	appendStringInfoChar(&collected.out, ']');
	return collected.out.data;
}

CHECK_FUNCTION(check_ingest_results)
{
	IngestJob  *job = ingest_known(ARG_TEXT(0));

	ingest_poll(check_org(), job);
	RETURN_TEXT(results_text(job, verb_of(ARG_TEXT(1)),
							 check_list(PG_GETARG_DATUM(2))));
}

/* A whole job: object, verb, external id, fields, rows. */
CHECK_FUNCTION(check_ingest)
{
	WriteVerb	verb = verb_of(ARG_TEXT(1));
	List	   *fields = check_list(PG_GETARG_DATUM(3));
	IngestJob  *job = ingest_create(check_org(), ARG_TEXT(0), verb,
									ARG_TEXT_OR_NULL(2));
	StringInfoData csv;
	int			refused;

	initStringInfo(&csv);
	make_csv(&csv, fields, ARG_TEXT(4), &refused);
	ingest_upload(check_org(), job, &csv);
	ingest_wait(check_org(), job);
	RETURN_TEXT(psprintf("{\"id\":\"%s\",\"state\":\"%s\",\"refused\":%d,"
						 "\"rows\":%s}", job->id, state_names[job->state],
						 refused, results_text(job, verb, fields)));
}
