/*-------------------------------------------------------------------------
 *
 * collections.c
 *	  Writing records through sObject Collections, or under a condition.
 *
 * What matters most here is to know what became of each record.  Salesforce
 * answers 200 also when every record failed; a 4xx means that nothing was
 * done, a 5xx means nothing at all; and when no answer came, the work may be
 * done, or still going on.  So nothing is taken for an answer that does not
 * account for all records, in the order in which they were sent.
 *
 * A WriteCall goes out as one or more parts, each an HTTP request.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "mb/pg_wchar.h"
#include "utils/datetime.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "collections.h"
#include "id.h"
#include "text.h"
#include "origin.h"

/* Rules that only warn of duplicates let the record in then. */
#define DUPLICATE_RULE_HEADER "Sforce-Duplicate-Rule-Header"
#define ALLOW_DUPLICATES "allowSave=true"

typedef enum PartForm
{
	PART_COLLECTION,
	PART_COMPOSITE,
	PART_ROW					/* of one record */
} PartForm;

typedef enum PartOutcome
{
	PART_ANSWERED,
	PART_REFUSED,				/* nothing was done */
	PART_LOST					/* nobody knows */
} PartOutcome;

typedef struct Part
{
	ApiCall		http;
	WriteCall  *call;
	PartForm	form;
	WriteRecord **records;
	int			nrecords;

	PartOutcome outcome;
	bool		in_doubt;		/* lost, and may still be running */
	char	   *failure;		/* why it was lost */
} Part;

typedef struct Writer
{
	SalesforceApi *api;
	MemoryContext results;		/* of what the structs are given */
	List	   *parts;			/* of Part *, of all calls */
} Writer;

/* ------------------------------------------------------------------------
 * What a refusal of a record asks for
 * ------------------------------------------------------------------------
 */

/*
 * What passes by itself.  UNKNOWN_EXCEPTION is an error within Salesforce and
 * may pass as well; if it stays, it is repeated ever more rarely, and holds up
 * no other record.
 */
static const char *const passing_codes[] = {
	"UNABLE_TO_LOCK_ROW",
	"REQUEST_LIMIT_EXCEEDED",
	"LIMIT_EXCEEDED",
	"SERVER_UNAVAILABLE",
	"QUERY_TIMEOUT",
	"REQUEST_RUNNING_TOO_LONG",
	"UNKNOWN_EXCEPTION",
	"ALL_OR_NONE_OPERATION_ROLLED_BACK",
	"PROCESSING_HALTED",
	"API_DISABLED_FOR_ORG",		/* of a part of a Composite request */
	"API_CURRENTLY_DISABLED"
};

RecordRefusal
record_refusal(const char *code)
{
	int			i;

	for (i = 0; i < (int) lengthof(passing_codes); i++)
		if (strcmp(code, passing_codes[i]) == 0)
			return RECORD_RETRY;
	if (strcmp(code, "ENTITY_IS_DELETED") == 0)
		return RECORD_GONE;
	if (strcmp(code, "CANNOT_UPDATE_CONVERTED_LEAD") == 0)
		return RECORD_CONVERTED;
	return RECORD_PARK;
}

/* What a lock is called where code of the org met it. */
static const char *const lock_words[] = {
	"unable to obtain exclusive access to this record",
	"Record Currently Unavailable",
	"is currently being modified by another user"
};

/* Limits for what the org's own code does in one transaction. */
static const char *const limit_words[] = {
	"System.LimitException",
	"CPU time limit",
	"Too many SOQL queries",
	"Too many SOSL queries",
	"Too many query rows",
	"Too many query locator rows",
	"Too many DML",
	"Too many future calls",
	"Too many queueable jobs",
	"Too many callouts",
	"heap size too large"
};

/* In any case of letters: triggers and flows say it in their own words. */
static bool
mentions(const char *text, const char *words)
{
	size_t		len = strlen(words);

	for (; *text != '\0'; text++)
		if (pg_strncasecmp(text, words, len) == 0)
			return true;
	return false;
}

static bool
mentions_any(const char *text, const char *const *words, int n)
{
	int			i;

	for (i = 0; i < n; i++)
		if (mentions(text, words[i]))
			return true;
	return false;
}

/*
 * A lock that came as the failure of a trigger or a flow.  The message of a
 * validation rule is what somebody wrote: it takes more than the code there.
 */
static bool
is_wrapped_lock(const char *code, const char *message)
{
	if (message == NULL || strcmp(code, "UNABLE_TO_LOCK_ROW") == 0)
		return false;
	if (mentions_any(message, lock_words, lengthof(lock_words)))
		return true;
	return strcmp(code, "FIELD_CUSTOM_VALIDATION_EXCEPTION") != 0 &&
		strstr(message, "UNABLE_TO_LOCK_ROW") != NULL;
}

bool
record_is_crowded(const char *code, const char *message)
{
	return message != NULL &&
		(is_wrapped_lock(code, message) ||
		 mentions_any(message, limit_words, lengthof(limit_words)));
}

RecordRefusal
record_refusal_of(const char *code, const char *message, const List *fields,
				  WriteVerb verb)
{
	RecordRefusal refusal = record_refusal(code);

	if (refusal == RECORD_PARK && is_wrapped_lock(code, message))
		return RECORD_RETRY;
	/* Of a record that is gone for good: a delete refers to nothing else. */
	if (verb == WRITE_DELETE && fields == NIL &&
		strcmp(code, "INVALID_CROSS_REFERENCE_KEY") == 0)
		return RECORD_GONE;
	if (refusal != RECORD_GONE)
		return refusal;
	if (verb == WRITE_CREATE || verb == WRITE_UPSERT)
		return RECORD_PARK;
	if (fields != NIL && pg_strcasecmp(linitial(fields), "Id") != 0)
		return RECORD_PARK;
	return RECORD_GONE;
}

/* In an update the same code may mean the record, or what it refers to. */
bool
record_may_be_gone(const WriteRecord *record)
{
	return record->answered && !record->success &&
		record->refusal == RECORD_PARK && record->error_fields == NIL &&
		(strcmp(record->code, "INVALID_CROSS_REFERENCE_KEY") == 0 ||
		 strcmp(record->code, "NOT_FOUND") == 0);
}

/* Where it was not the record that was refused, but the request with it. */
static RecordRefusal
refusal_with(const ApiError *error)
{
	switch (error->refusal)
	{
		case API_TRANSIENT:
		case API_LIMIT:
		case API_LOGIN:
		case API_PERMISSION:
			return RECORD_RETRY;
		default:
			return RECORD_PARK;
	}
}

static void
refuse_record(Writer *writer, WriteRecord *record, RecordRefusal refusal,
			  const char *code, const char *message)
{
	MemoryContext work = MemoryContextSwitchTo(writer->results);

	record->answered = true;
	record->success = false;
	record->refusal = refusal;
	record->code = pstrdup(code);
	record->message = foreign_text(message);
	MemoryContextSwitchTo(work);
}

/* ------------------------------------------------------------------------
 * Requests
 * ------------------------------------------------------------------------
 */

static const char *
skip_digits(const char *p)
{
	while (*p >= '0' && *p <= '9')
		p++;
	return p;
}

/* True if JSON has the text as a number or a truth value. */
static bool
is_json_literal(const char *text)
{
	const char *p = text;
	const char *digits;

	if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0)
		return true;
	if (*p == '-')
		p++;
	digits = p;
	p = skip_digits(p);
	if (p == digits || (*digits == '0' && p > digits + 1))
		return false;
	if (*p == '.')
	{
		digits = ++p;
		p = skip_digits(p);
		if (p == digits)
			return false;
	}
	if (*p == 'e' || *p == 'E')
	{
		p++;
		if (*p == '+' || *p == '-')
			p++;
		digits = p;
		p = skip_digits(p);
		if (p == digits)
			return false;
	}
	return *p == '\0';
}

/* False if no request can hold the record; it is refused then. */
static bool
record_can_go(Writer *writer, const WriteCall *call, WriteRecord *record)
{
	int			i;

	if ((call->verb == WRITE_UPDATE || call->verb == WRITE_DELETE) &&
		(record->id == NULL || !id_is_valid(record->id)))
	{
		refuse_record(writer, record, RECORD_PARK, "MALFORMED_ID",
					  psprintf("\"%s\" is not the id of a Salesforce record",
							   record->id ? record->id : ""));
		return false;
	}
	for (i = 0; i < record->nfields; i++)
	{
		WriteField *field = &record->fields[i];

		if (field->value == NULL || !field->bare ||
			is_json_literal(field->value))
			continue;
		refuse_record(writer, record, RECORD_PARK,
					  "INVALID_TYPE_ON_FIELD_IN_RECORD",
					  psprintf("%s: Salesforce has no such value: %s",
							   field->name, field->value));
		record->error_fields = lappend(record->error_fields,
									   MemoryContextStrdup(writer->results,
														   field->name));
		return false;
	}
	return true;
}

static void
append_field(StringInfo buf, const WriteField *field)
{
	json_append_string(buf, field->name);
	appendStringInfoChar(buf, ':');
	if (field->value == NULL)
		appendBinaryStringInfo(buf, "null", 4);
	else if (field->bare)
		appendStringInfoString(buf, field->value);
	else
		json_append_string(buf, field->value);
}

/* The fields alone, as a single row takes them. */
static void
append_fields(StringInfo buf, const WriteRecord *record)
{
	int			i;

	appendStringInfoChar(buf, '{');
	for (i = 0; i < record->nfields; i++)
	{
		if (i > 0)
			appendStringInfoChar(buf, ',');
		append_field(buf, &record->fields[i]);
	}
	appendStringInfoChar(buf, '}');
}

static void
append_record(StringInfo buf, const WriteRecord *record, bool with_id)
{
	int			i;

	appendStringInfoString(buf, "{\"attributes\":{\"type\":");
	json_append_string(buf, record->object);
	appendStringInfoChar(buf, '}');
	if (with_id)
		appendStringInfo(buf, ",\"Id\":\"%s\"", record->id);
	for (i = 0; i < record->nfields; i++)
	{
		appendStringInfoChar(buf, ',');
		append_field(buf, &record->fields[i]);
	}
	appendStringInfoChar(buf, '}');
}

/* What was written in the database's encoding, as the API takes it. */
static char *
finish_body(StringInfo body)
{
	return pg_server_to_any(body->data, body->len, PG_UTF8);
}

static char *
collection_body(const Part *part)
{
	StringInfoData body;
	int			i;

	initStringInfo(&body);
	appendStringInfoString(&body, "{\"allOrNone\":false,\"records\":[");
	for (i = 0; i < part->nrecords; i++)
	{
		if (i > 0)
			appendStringInfoChar(&body, ',');
		append_record(&body, part->records[i],
					  part->call->verb == WRITE_UPDATE);
	}
	appendStringInfoString(&body, "]}");
	return finish_body(&body);
}

static char *
delete_path(const Part *part)
{
	StringInfoData path;
	int			i;

	initStringInfo(&path);
	appendStringInfoString(&path,
						   "/composite/sobjects?allOrNone=false&ids=");
	for (i = 0; i < part->nrecords; i++)
		appendStringInfo(&path, "%s%s", i > 0 ? "," : "",
						 part->records[i]->id);
	return path.data;
}

static void
make_collection(Part *part)
{
	ApiCall    *http = &part->http;

	http->kind = API_KIND_ROWS;
	http->path = "/composite/sobjects";
	switch (part->call->verb)
	{
		case WRITE_CREATE:
			http->method = "POST";
			break;
		case WRITE_UPDATE:
			http->method = "PATCH";
			break;
		case WRITE_UPSERT:
			http->method = "PATCH";
			http->path = psprintf("/composite/sobjects/%s/%s",
								  http_encode(part->records[0]->object),
								  http_encode(part->call->external_id));
			break;
		case WRITE_DELETE:
			http->method = "DELETE";
			http->path = delete_path(part);
			return;
	}
	http->body = collection_body(part);
}

/* "Wed, 03 Jul 2013 19:43:31 GMT", in English whatever the locale. */
static char *
http_date(TimestampTz stamp)
{
	struct pg_tm tm;
	fsec_t		fsec;

	if (timestamp2tm(stamp, NULL, &tm, &fsec, NULL, NULL) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp out of range")));
	return psprintf("%.3s, %02d %.3s %04d %02d:%02d:%02d GMT",
					days[j2day(date2j(tm.tm_year, tm.tm_mon, tm.tm_mday))],
					tm.tm_mday, months[tm.tm_mon - 1], tm.tm_year,
					tm.tm_hour, tm.tm_min, tm.tm_sec);
}

static char *
row_path(const WriteRecord *record)
{
	return psprintf("/sobjects/%s/%s", http_encode(record->object),
					record->id);
}

/*
 * Parts of a Composite request take over no header of it but those of login
 * and content, so the others stand in each.
 */
static void
append_subrequest(StringInfo body, const SalesforceApi *api,
				  const WriteCall *call, const WriteRecord *record, int i)
{
	appendStringInfo(body, "{\"method\":\"PATCH\","
					 "\"url\":\"/services/data/v%s%s\","
					 "\"referenceId\":\"r%d\","
					 "\"httpHeaders\":{\"Sforce-Auto-Assign\":\"FALSE\"",
					 api->version, row_path(record), i);
	if (api->client_name != NULL)
		appendStringInfo(body, ",\"Sforce-Call-Options\":\"client=%s\"",
						 api->client_name);
	if (call->allow_duplicates)
		appendStringInfoString(body, ",\"" DUPLICATE_RULE_HEADER "\":\""
							   ALLOW_DUPLICATES "\"");
	if (record->unmodified_since != 0)
		appendStringInfo(body, ",\"If-Unmodified-Since\":\"%s\"",
						 http_date(record->unmodified_since));
	appendStringInfoString(body, "},\"body\":");
	append_fields(body, record);
	appendStringInfoChar(body, '}');
}

static void
make_composite(const Writer *writer, Part *part)
{
	StringInfoData body;
	int			i;

	initStringInfo(&body);
	appendStringInfoString(&body,
						   "{\"allOrNone\":false,\"compositeRequest\":[");
	for (i = 0; i < part->nrecords; i++)
	{
		if (i > 0)
			appendStringInfoChar(&body, ',');
		append_subrequest(&body, writer->api, part->call, part->records[i],
						  i);
	}
	appendStringInfoString(&body, "]}");
	part->http.kind = API_KIND_COMPOSITE;
	part->http.method = "POST";
	part->http.path = "/composite";
	part->http.body = finish_body(&body);
}

static void
make_row(Part *part)
{
	const WriteRecord *record = part->records[0];
	StringInfoData body;

	initStringInfo(&body);
	append_fields(&body, record);
	part->http.kind = API_KIND_ROWS;
	part->http.method = "PATCH";
	part->http.path = row_path(record);
	part->http.body = finish_body(&body);
	if (record->unmodified_since != 0)
		part->http.headers =
			lappend(part->http.headers,
					psprintf("If-Unmodified-Since: %s",
							 http_date(record->unmodified_since)));
}

static void
add_part(Writer *writer, WriteCall *call, PartForm form,
		 WriteRecord **records, int nrecords)
{
	Part	   *part = palloc0(sizeof(Part));

	part->call = call;
	part->form = form;
	part->records = records;
	part->nrecords = nrecords;
	part->http.once = true;
	part->http.headers = list_make1("Sforce-Auto-Assign: FALSE");
	if (call->allow_duplicates)
		part->http.headers = lappend(part->http.headers,
									 DUPLICATE_RULE_HEADER ": "
									 ALLOW_DUPLICATES);
	if (form == PART_COLLECTION)
		make_collection(part);
	else if (form == PART_COMPOSITE)
		make_composite(writer, part);
	else
		make_row(part);
	writer->parts = lappend(writer->parts, part);
}

/* ------------------------------------------------------------------------
 * Which requests a call makes
 * ------------------------------------------------------------------------
 */

static bool
has_condition(const WriteCall *call)
{
	int			i;

	for (i = 0; i < call->nrecords; i++)
		if (call->records[i]->unmodified_since != 0)
			return true;
	return false;
}

/* Composite puts results of other parts in for this, in any text. */
static bool
has_reference(WriteRecord **records, int n)
{
	int			i;
	int			j;

	for (i = 0; i < n; i++)
		for (j = 0; j < records[i]->nfields; j++)
		{
			const char *value = records[i]->fields[j].value;

			if (value != NULL && strstr(value, "@{") != NULL)
				return true;
		}
	return false;
}

/* These are mistakes of the caller, not of the data. */
static void
check_call(const WriteCall *call, bool conditional)
{
	int			chunks = 1;
	int			i;

	for (i = 1; i < call->nrecords; i++)
		chunks += strcmp(call->records[i]->object,
						 call->records[i - 1]->object) != 0;
	if (call->nrecords > (conditional ? COMPOSITE_MAX_RECORDS :
						  COLLECTION_MAX_RECORDS))
		elog(ERROR, "too many records in one call: %d", call->nrecords);
	if (!conditional && call->verb != WRITE_DELETE &&
		chunks > (call->verb == WRITE_UPSERT ? 1 : COLLECTION_MAX_CHUNKS))
		elog(ERROR, "too many runs of types in one call: %d", chunks);
	if (conditional && call->verb != WRITE_UPDATE)
		elog(ERROR, "only updates can be made under a condition");
}

static void
clear_outcome(WriteCall *call)
{
	int			i;

	call->answered = call->refused = call->in_doubt_now = false;
	memset(&call->refusal, 0, sizeof(call->refusal));
	call->failure = NULL;
	for (i = 0; i < call->nrecords; i++)
	{
		WriteRecord *record = call->records[i];

		record->answered = record->success = record->created = false;
		record->crowded = false;
		record->new_id = record->code = record->message = NULL;
		record->refusal = RECORD_RETRY;
		record->error_fields = NIL;
	}
}

static void
plan_call(Writer *writer, WriteCall *call)
{
	WriteRecord **records = palloc((call->nrecords + 1) * sizeof(*records));
	bool		conditional = has_condition(call);
	int			n = 0;
	int			i;

	check_call(call, conditional);
	clear_outcome(call);
	for (i = 0; i < call->nrecords; i++)
		if (record_can_go(writer, call, call->records[i]))
			records[n++] = call->records[i];
	if (n == 0)
		return;
	if (!conditional)
		add_part(writer, call, PART_COLLECTION, records, n);
	else if (!has_reference(records, n))
		add_part(writer, call, PART_COMPOSITE, records, n);
	else
		for (i = 0; i < n; i++)
			add_part(writer, call, PART_ROW, records + i, 1);
}

/* ------------------------------------------------------------------------
 * Answers
 * ------------------------------------------------------------------------
 */

static void
lose_part(Part *part, bool in_doubt, const char *failure)
{
	int			i;

	part->outcome = PART_LOST;
	part->in_doubt = in_doubt;
	part->failure = pstrdup(failure);
	for (i = 0; i < part->nrecords; i++)
		part->records[i]->answered = false;
}

static void
refuse_part(Writer *writer, Part *part)
{
	const ApiError *error = &part->http.error;
	int			i;

	part->outcome = PART_REFUSED;
	for (i = 0; i < part->nrecords; i++)
		refuse_record(writer, part->records[i], refusal_with(error),
					  error->code, error->message);
}

static List *
add_fields(List *list, const Json *fields)
{
	int			i;

	for (i = 0; i < json_count(fields); i++)
	{
		const char *name = json_text(json_item(fields, i));

		if (name != NULL)
			list = lappend(list, foreign_text(name));
	}
	return list;
}

/*
 * The errors of one record, of which there may be several: the first decides,
 * all are told.  code_key: Collections and single rows name it differently.
 * False if there are none.
 */
static bool
read_errors(Writer *writer, WriteRecord *record, WriteVerb verb,
			const Json *errors, const char *code_key)
{
	MemoryContext work;
	StringInfoData message;
	char	   *code = json_get_text(json_item(errors, 0), code_key);
	int			i;

	if (code == NULL)
		return false;
	initStringInfo(&message);
	for (i = 0; i < json_count(errors); i++)
	{
		const char *text = json_text(json_get(json_item(errors, i),
											  "message"));

		appendStringInfo(&message, "%s%s", i > 0 ? "; " : "",
						 text ? text : "");
	}
	refuse_record(writer, record, RECORD_PARK, foreign_text(code),
				  message.data);
	work = MemoryContextSwitchTo(writer->results);
	for (i = 0; i < json_count(errors); i++)
		record->error_fields = add_fields(record->error_fields,
										  json_get(json_item(errors, i),
												   "fields"));
	MemoryContextSwitchTo(work);
	record->refusal = record_refusal_of(record->code, record->message,
										record->error_fields, verb);
	record->crowded = record_is_crowded(record->code, record->message);
	return true;
}

static void
accept_record(Writer *writer, WriteRecord *record, const char *id)
{
	record->answered = true;
	record->success = true;
	if (id != NULL)
	{
		record->new_id = MemoryContextAlloc(writer->results,
											SALESFORCE_ID_LEN + 1);
		id_canonical(id, record->new_id);
	}
}

/* True if something stands there that is no empty list. */
static bool
tells_errors(const Json *errors)
{
	return json_kind(errors) != JSON_IS_NULL &&
		(json_kind(errors) != JSON_IS_ARRAY || json_count(errors) > 0);
}

/*
 * What cannot be understood leaves the record unanswered, and so does a result
 * that contradicts itself: a success with errors, a failure without any, a new
 * record that has no id or failed with one.  Whether it was made is looked for
 * then.
 */
static void
read_item(Writer *writer, Part *part, WriteRecord *record, const Json *item)
{
	WriteVerb	verb = part->call->verb;
	const char *id = json_text(json_get(item, "id"));
	const Json *errors = json_get(item, "errors");

	if (id != NULL && !id_is_valid(id))
		id = NULL;
	if (!json_get_bool(item, "success", false))
	{
		if (id == NULL || verb != WRITE_CREATE)
			(void) read_errors(writer, record, verb, errors, "statusCode");
		return;
	}
	if (tells_errors(errors))
		return;
	/* A new record that has no id would never be found again. */
	if (id == NULL && (verb == WRITE_CREATE || verb == WRITE_UPSERT))
		return;
	accept_record(writer, record, id);
	record->created = verb == WRITE_CREATE ||
		json_get_bool(item, "created", false);
}

/* Two new records cannot have the same id: which of them has it is not known. */
static void
doubt_same_ids(const Part *part)
{
	int			i;
	int			j;

	for (i = 0; i < part->nrecords; i++)
		for (j = 0; j < i; j++)
		{
			WriteRecord *a = part->records[i];
			WriteRecord *b = part->records[j];

			if (a->new_id != NULL && b->new_id != NULL &&
				strcmp(a->new_id, b->new_id) == 0)
				a->answered = a->success = b->answered = b->success = false;
		}
}

/* True if an id that was answered is that of the record in this place. */
static bool
is_answer_to(const Part *part, int i, const Json *item)
{
	WriteVerb	verb = part->call->verb;
	const char *id = json_text(json_get(item, "id"));
	char		sent[SALESFORCE_ID_LEN + 1];
	char		answered[SALESFORCE_ID_LEN + 1];

	if (verb == WRITE_CREATE || verb == WRITE_UPSERT ||
		id == NULL || !id_is_valid(id))
		return true;
	id_canonical(part->records[i]->id, sent);
	id_canonical(id, answered);
	return strcmp(sent, answered) == 0;
}

static void
read_collection(Writer *writer, Part *part, const Json *json)
{
	int			i;

	if (json_kind(json) != JSON_IS_ARRAY || json_count(json) != part->nrecords)
	{
		lose_part(part, false, psprintf("the answer has %d results for %d records",
										json_count(json), part->nrecords));
		return;
	}
	for (i = 0; i < part->nrecords; i++)
		if (!is_answer_to(part, i, json_item(json, i)))
		{
			lose_part(part, false, "the results are not those of the records that were sent");
			return;
		}
	for (i = 0; i < part->nrecords; i++)
		read_item(writer, part, part->records[i], json_item(json, i));
	if (part->call->verb == WRITE_CREATE || part->call->verb == WRITE_UPSERT)
		doubt_same_ids(part);
}

/* A row that answered by itself, or within Composite. */
static void
read_row(Writer *writer, WriteRecord *record, int status, const Json *body)
{
	if (status >= 200 && status < 300)
	{
		accept_record(writer, record, record->id);
		return;
	}
	if (status == 412)
	{
		/* Its body is not documented: the status alone counts. */
		refuse_record(writer, record, RECORD_CHANGED, "",
					  "the record was changed in Salesforce meanwhile");
		(void) read_errors(writer, record, WRITE_UPDATE, body, "errorCode");
		record->refusal = RECORD_CHANGED;
		return;
	}
	if (status >= 400 && status < 500 &&
		!read_errors(writer, record, WRITE_UPDATE, body, "errorCode"))
		refuse_record(writer, record, RECORD_RETRY, "",
					  psprintf("HTTP status %d", status));
}

static void
read_composite(Writer *writer, Part *part, const Json *json)
{
	const Json *items = json_get(json, "compositeResponse");
	int			i;

	if (json_count(items) != part->nrecords)
	{
		lose_part(part, false, psprintf("the answer has %d results for %d records",
										json_count(items), part->nrecords));
		return;
	}
	for (i = 0; i < part->nrecords; i++)
	{
		const Json *item = json_item(items, i);
		const char *reference = json_text(json_get(item, "referenceId"));

		if (reference == NULL || strcmp(reference, psprintf("r%d", i)) != 0)
			continue;
		read_row(writer, part->records[i],
				 (int) json_get_int(item, "httpStatusCode", 0),
				 json_get(item, "body"));
	}
}

static void
read_answer(Writer *writer, Part *part)
{
	const HttpAnswer *answer = part->http.answer;
	Json	   *json;

	part->outcome = PART_ANSWERED;
	if (part->form == PART_ROW)
	{
		read_row(writer, part->records[0], answer->status, NULL);
		return;
	}
	json = json_read(answer->body.data, answer->body.len);
	if (json == NULL)
		lose_part(part, false, psprintf("the answer is %s",
										foreign_page(answer->body.data)));
	else if (part->form == PART_COLLECTION)
		read_collection(writer, part, json);
	else
		read_composite(writer, part, json);
}

/* A single row's refusal is about the record, unless it is about the login. */
static bool
concerns_record(const Part *part)
{
	const ApiError *error = &part->http.error;

	if (part->form != PART_ROW)
		return false;
	if (error->status == 412)
		return true;
	return error->code[0] != '\0' && error->refusal != API_LIMIT &&
		error->refusal != API_LOGIN && error->refusal != API_PERMISSION;
}

static void
read_refusal(Writer *writer, Part *part)
{
	const ApiError *error = &part->http.error;
	const HttpAnswer *answer = part->http.answer;

	if (error->status >= 500)
		/* Not Salesforce's own words: a gateway that would not wait. */
		lose_part(part, error->code[0] == '\0',
				  psprintf("Salesforce answered %d %s: %s", error->status,
						   error->code, error->message));
	else if (concerns_record(part))
	{
		part->outcome = PART_ANSWERED;
		read_row(writer, part->records[0], answer->status,
				 json_read(answer->body.data, answer->body.len));
	}
	else
		refuse_part(writer, part);
}

static void
take_part(Writer *writer, Part *part)
{
	switch (part->http.fate)
	{
		case API_ANSWERED:
			read_answer(writer, part);
			break;
		case API_REFUSED:
			read_refusal(writer, part);
			break;
		case API_UNSENT:
			refuse_part(writer, part);
			break;
		case API_SILENT:
			lose_part(part, true, part->http.error.message);
			break;
		case API_CUT:
			lose_part(part, false, part->http.error.message);
			break;
	}
}

/* ------------------------------------------------------------------------
 * All of it
 * ------------------------------------------------------------------------
 */

/* A copy of an error that lasts as long as the results. */
static ApiError
keep_error(const Writer *writer, const ApiError *error)
{
	ApiError	copy = *error;

	copy.message = MemoryContextStrdup(writer->results,
									   error->message ? error->message : "");
	return copy;
}

/* The outcome of a call as a whole, from those of its parts. */
static void
conclude_call(const Writer *writer, WriteCall *call)
{
	int			answered = 0;
	int			refused = 0;
	int			lost = 0;
	ListCell   *lc;

	memset(&call->refusal, 0, sizeof(call->refusal));
	call->failure = NULL;
	call->in_doubt_now = false;
	foreach(lc, writer->parts)
	{
		Part	   *part = (Part *) lfirst(lc);

		if (part->call != call)
			continue;
		if (part->outcome == PART_ANSWERED)
			answered++;
		else if (part->outcome == PART_REFUSED && refused++ == 0)
			call->refusal = keep_error(writer, &part->http.error);
		else if (part->outcome == PART_LOST)
		{
			call->in_doubt_now |= part->in_doubt;
			if (lost++ == 0)
				call->failure = MemoryContextStrdup(writer->results,
													part->failure);
		}
	}
	call->refused = refused > 0 && answered + lost == 0;
	call->answered = lost == 0 || answered + refused > 0;
}

static void
send_parts(Writer *writer, List *parts)
{
	ApiCall   **calls = palloc((list_length(parts) + 1) * sizeof(ApiCall *));
	int			n = 0;
	ListCell   *lc;

	foreach(lc, parts)
		calls[n++] = &((Part *) lfirst(lc))->http;
	api_send_many(writer->api, calls, n);
	foreach(lc, parts)
		take_part(writer, (Part *) lfirst(lc));
}

static List *
parts_without_session(const Writer *writer)
{
	List	   *parts = NIL;
	ListCell   *lc;

	foreach(lc, writer->parts)
		if (((Part *) lfirst(lc))->http.session_ended)
			parts = lappend(parts, lfirst(lc));
	return parts;
}

/*
 * All outcomes are written down before a new login is tried, since that may
 * raise an error, and they would be lost with it.
 */
static void
write_calls(Writer *writer, WriteCall *calls, int n)
{
	List	   *again;
	int			i;

	for (i = 0; i < n; i++)
		plan_call(writer, &calls[i]);
	send_parts(writer, writer->parts);
	for (i = 0; i < n; i++)
		conclude_call(writer, &calls[i]);
	again = parts_without_session(writer);
	if (again == NIL || !api_renew_session(writer->api))
		return;
	send_parts(writer, again);
	for (i = 0; i < n; i++)
		conclude_call(writer, &calls[i]);
}

void
collections_write(SalesforceApi *api, WriteCall *calls, int n)
{
	MemoryContext work;
	Writer		writer = {0};

	if (api->version == NULL)
		api_choose_version(api, NULL);
	work = AllocSetContextCreate(CurrentMemoryContext, "sync write",
								 ALLOCSET_DEFAULT_SIZES);
	writer.api = api;
	writer.results = CurrentMemoryContext;
	PG_TRY();
	{
		MemoryContextSwitchTo(work);
		write_calls(&writer, calls, n);
	}
	PG_FINALLY();
	{
		MemoryContextSwitchTo(writer.results);
		MemoryContextDelete(work);
	}
	PG_END_TRY();
}
