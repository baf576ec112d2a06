/*-------------------------------------------------------------------------
 *
 * query.c
 *	  Rows by query and queryAll, page by page; several questions in one
 *	  Composite call.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "utils/memutils.h"

#include "csv.h"
#include "id.h"
#include "query.h"
#include "soql.h"
#include "text.h"
#include "origin.h"

/*
 * Longest path with its query.  16,384 bytes is what Salesforce takes together
 * with all headers, of which a token may be 3 kB; proxies may take less.
 */
#define MAX_PATH_LENGTH 8000

/* Of a Composite call (REST API: Composite). */
#define MAX_SUBREQUESTS 25
#define MAX_QUERIES 5

/* Batch sizes that are tried while an answer does not fit; 0 = the default. */
static const int batch_sizes[] = {0, 500, 200};

/* The rows of a page as CSV. */
typedef struct QueryRows
{
	RowSource	source;			/* first: what COPY reads from */
	const QueryPage *page;
	List	   *paths;			/* per field the List of its parts */
	bool		has_id;			/* one of them is the Id */
	int			next;			/* record to be written next */
	StringInfoData row;
	int			taken;			/* bytes of row that were handed out */
} QueryRows;

pg_noreturn static void
raise_broken(SalesforceApi *api, const char *what)
{
	api_set_error(api, 200, NULL, what);
	api->error.refusal = API_TRANSIENT;
	api_raise(api, "answer to a query is not complete");
}

/* ------------------------------------------------------------------------
 * Pages
 * ------------------------------------------------------------------------
 */

/* The path of a URL in an answer, which must not lead to another host. */
static char *
own_path(SalesforceApi *api, const char *url)
{
	const char *path = url;

	if (url[0] != '/')
	{
		if (!http_same_origin(url, api->instance_url))
			ereport(ERROR,
					(errcode(ERRCODE_CONNECTION_FAILURE),
					 errmsg("answer of Salesforce leads to another host"),
					 errdetail("The next page is not on %s.",
							   api->instance_url)));
		path = strstr(url, "://");
		if (path != NULL)
			path = strchr(path + 3, '/');
	}
	if (path == NULL || strncmp(path, "/services/", 10) != 0)
		raise_broken(api, "the address of the next page is no path of the API");
	return pstrdup(path);
}

static void
require_objects(SalesforceApi *api, const Json *array)
{
	for (int i = 0; i < json_count(array); i++)
	{
		if (json_kind(json_item(array, i)) != JSON_IS_OBJECT)
			raise_broken(api, "a record in it is none");
	}
}

/* The page in a child of CurrentMemoryContext; json may go afterwards. */
static QueryPage *
read_query_page(SalesforceApi *api, const Json *json)
{
	MemoryContext context;
	MemoryContext caller;
	QueryPage  *page;
	Json	   *records = json_get(json, "records");
	char	   *next = json_get_text(json, "nextRecordsUrl");

	if (json_kind(records) != JSON_IS_ARRAY)
		raise_broken(api, "no records in it");
	require_objects(api, records);
	context = AllocSetContextCreate(CurrentMemoryContext, "sync query page",
									ALLOCSET_SMALL_SIZES);
	caller = MemoryContextSwitchTo(context);
	page = palloc0(sizeof(QueryPage));
	page->context = context;
	page->records = json_hold(records);
	page->nrecords = json_count(records);
	page->total = json_get_int(json, "totalSize", -1);
	page->announced = page->total >= 0;
	if (!page->announced)
		page->total = page->nrecords;
	page->done = json_get_bool(json, "done", false);
	if (!page->done)
	{
		if (next == NULL)
			raise_broken(api, "neither the last page nor the address of the next");
		page->next = own_path(api, next);
	}
	MemoryContextSwitchTo(caller);
	return page;
}

static char *
query_path(const SalesforceApi *api, const char *soql, bool all_rows)
{
	return psprintf("/services/data/v%s/%s?q=%s", api->version,
					all_rows ? "queryAll" : "query", http_encode(soql));
}

static char *
batch_size_header(int batch_size)
{
	return psprintf("batchSize=%d", batch_size);
}

static void
append_subrequest(StringInfo body, const char *path, int number,
				  int batch_size)
{
	appendStringInfo(body, "%s{\"method\":\"GET\",\"referenceId\":\"q%d\",",
					 number > 0 ? "," : "", number);
	if (batch_size > 0)
		appendStringInfo(body,
						 "\"httpHeaders\":{\"Sforce-Query-Options\":\"%s\"},",
						 batch_size_header(batch_size));
	appendStringInfoString(body, "\"url\":");
	json_append_string(body, path);
	appendStringInfoChar(body, '}');
}

static void
begin_composite(StringInfo body)
{
	initStringInfo(body);
	appendStringInfoString(body,
						   "{\"allOrNone\":false,\"compositeRequest\":[");
}

/* A statement that is too long for a URL goes in the body of a Composite. */
static Json *
ask_by_composite(SalesforceApi *api, const char *path, int batch_size)
{
	StringInfoData body;
	const Json *item;
	int			status;

	begin_composite(&body);
	append_subrequest(&body, path, 0, batch_size);
	appendStringInfoString(&body, "]}");
	item = json_item(json_get(api_call_json(api, API_KIND_COMPOSITE, "POST",
											"/composite", NIL, body.data),
							  "compositeResponse"), 0);
	status = (int) json_get_int(item, "httpStatusCode", 0);
	if (status < 200 || status >= 300)
	{
		api_read_error_json(api, status, json_get(item, "body"));
		api_raise(api, "Salesforce refused a query");
	}
	return json_get(item, "body");
}

static Json *
ask_page(SalesforceApi *api, const char *path, int batch_size)
{
	List	   *headers = NIL;

	if (strlen(path) > MAX_PATH_LENGTH)
		return ask_by_composite(api, path, batch_size);
	if (batch_size > 0)
		headers = list_make1(psprintf("Sforce-Query-Options: %s",
									  batch_size_header(batch_size)));
	return api_call_json(api, API_KIND_QUERY, "GET", path, headers, NULL);
}

/* NULL if the answer is too big to be held, and may_fail. */
static Json *
try_page(SalesforceApi *api, const char *path, int batch_size, bool may_fail)
{
	MemoryContext context = CurrentMemoryContext;
	Json	   *volatile json = NULL;

	PG_TRY();
	{
		json = ask_page(api, path, batch_size);
	}
	PG_CATCH();
	{
		if (!may_fail || geterrcode() != ERRCODE_PROGRAM_LIMIT_EXCEEDED)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
	}
	PG_END_TRY();
	return json;
}

/* The parsed answer is left as soon as its records have been taken out. */
static QueryPage *
fetch_page(SalesforceApi *api, const char *path)
{
	MemoryContext work;
	MemoryContext caller;
	QueryPage  *page;
	Json	   *json = NULL;
	int			last = lengthof(batch_sizes) - 1;
	int			i;

	work = AllocSetContextCreate(CurrentMemoryContext, "sync query",
								 ALLOCSET_DEFAULT_SIZES);
	caller = MemoryContextSwitchTo(work);
	for (i = 0; json == NULL && i <= last; i++)
		json = try_page(api, path, batch_sizes[i], i < last);
	MemoryContextSwitchTo(caller);
	page = read_query_page(api, json);
	MemoryContextDelete(work);
	return page;
}

QueryPage *
query_run(SalesforceApi *api, const char *soql, bool all_rows)
{
	if (api->version == NULL)
		api_choose_version(api, NULL);
	return fetch_page(api, query_path(api, soql, all_rows));
}

QueryPage *
query_next(SalesforceApi *api, const QueryPage *page)
{
	QueryPage  *next;

	Assert(page->next != NULL);
	next = fetch_page(api, page->next);
	if (next->next != NULL)
	{
		MemoryContext caller = MemoryContextSwitchTo(next->context);

		next->chain = page->chain;
		if (next->chain.place)
			next->chain.place = pstrdup(next->chain.place);
		chain_step(&next->chain, next->next);
		MemoryContextSwitchTo(caller);
	}
	return next;
}

void
query_free(QueryPage *page)
{
	MemoryContextDelete(page->context);
}

/* ------------------------------------------------------------------------
 * Values
 * ------------------------------------------------------------------------
 */

typedef struct Search
{
	const char *key;
	bool		found;
	Json	   *value;
} Search;

static void
search_member(const char *key, Json *value, void *arg)
{
	Search	   *search = (Search *) arg;

	if (search->found || pg_strcasecmp(key, search->key) != 0)
		return;
	search->found = true;
	search->value = value;
}

/* The member of that name, in any case if not as written. */
static bool
find_member(const Json *node, const char *key, Json **value)
{
	Search		search = {key, false, NULL};

	if (json_member(node, key, value))
		return true;
	json_visit(node, search_member, &search);
	*value = search.value;
	return search.found;
}

/* Follows a path such as Owner, Name; a parent that is null ends it. */
static Json *
find_value(const Json *record, const List *path)
{
	const Json *node = record;
	ListCell   *lc;

	foreach(lc, path)
	{
		const char *part = (const char *) lfirst(lc);
		Json	   *value;

		if (!find_member(node, part, &value))
			ereport(ERROR,
					(errcode(ERRCODE_FDW_INVALID_COLUMN_NAME),
					 errmsg("record of Salesforce lacks field \"%s\"", part)));
		if (value == NULL)
			return NULL;
		node = value;
	}
	return unconstify(Json *, node);
}

static List *
split_path(const char *field)
{
	List	   *parts = NIL;
	const char *dot;

	while ((dot = strchr(field, '.')) != NULL)
	{
		parts = lappend(parts, pnstrdup(field, dot - field));
		field = dot + 1;
	}
	return lappend(parts, pstrdup(field));
}

const char *
query_value(const QueryPage *page, int record, const char *field)
{
	return json_text(find_value(json_item(page->records, record),
								split_path(field)));
}

const char *
query_required(const QueryPage *page, int record, const char *field)
{
	const char *value = query_value(page, record, field);

	if (value == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_ERROR),
				 errmsg("record of Salesforce has no \"%s\"", field)));
	return value;
}

const char *
query_id(const QueryPage *page, int record)
{
	const char *id = query_required(page, record, "Id");

	if (!id_is_valid(id))
		ereport(ERROR,
				(errcode(ERRCODE_FDW_ERROR),
				 errmsg("record of Salesforce has the Id \"%s\", which is none",
						foreign_text(id))));
	return id;
}

char *
query_record_text(const QueryPage *page, int record)
{
	Json	   *node = json_item(page->records, record);

	json_remove(node, "attributes");
	return pstrdup(json_text(node));
}

/* ------------------------------------------------------------------------
 * Rows
 * ------------------------------------------------------------------------
 */

static void
append_value(StringInfo row, const Json *value)
{
	const char *text = json_text(value);

	if (text == NULL)
		return;
	switch (json_kind(value))
	{
		case JSON_IS_BOOLEAN:
		case JSON_IS_NUMBER:
			appendStringInfoString(row, text);
			break;
		default:
			csv_append_quoted(row, text);
	}
}

static void
write_row(QueryRows *rows)
{
	const Json *record = json_item(rows->page->records, rows->next);
	const char *separator = "";
	ListCell   *lc;

	/* By a wrong one the row would be another. */
	if (rows->has_id)
		(void) query_id(rows->page, rows->next);
	rows->next++;

	resetStringInfo(&rows->row);
	rows->taken = 0;
	foreach(lc, rows->paths)
	{
		appendStringInfoString(&rows->row, separator);
		append_value(&rows->row, find_value(record, (List *) lfirst(lc)));
		separator = ",";
	}
	appendStringInfoChar(&rows->row, '\n');
}

/* As many rows as fit: the end is where fewer than asked for come. */
static int
read_rows(RowSource *source, void *outbuf, int minread, int maxread)
{
	QueryRows  *rows = (QueryRows *) source;
	int			got = 0;

	while (got < maxread)
	{
		int			n;

		if (rows->taken == rows->row.len)
		{
			if (rows->next == rows->page->nrecords)
				break;
			write_row(rows);
		}
		n = Min(rows->row.len - rows->taken, maxread - got);
		memcpy((char *) outbuf + got, rows->row.data + rows->taken, n);
		rows->taken += n;
		got += n;
	}
	return got;
}

static void
rewind_rows(RowSource *source)
{
	QueryRows  *rows = (QueryRows *) source;

	rows->next = 0;
	rows->taken = 0;
	resetStringInfo(&rows->row);
}

RowSource *
query_rows(QueryPage *page, List *fields)
{
	MemoryContext caller = MemoryContextSwitchTo(page->context);
	QueryRows  *rows = palloc0(sizeof(QueryRows));
	ListCell   *lc;

	rows->source.read = read_rows;
	rows->source.rewind = rewind_rows;
	rows->page = page;
	foreach(lc, fields)
	{
		const char *field = (const char *) lfirst(lc);

		rows->paths = lappend(rows->paths, split_path(field));
		rows->has_id |= strcmp(field, "Id") == 0;
	}
	initStringInfo(&rows->row);
	MemoryContextSwitchTo(caller);
	return &rows->source;
}

/* ------------------------------------------------------------------------
 * Several questions together
 * ------------------------------------------------------------------------
 */

static bool
is_query(const Question *question)
{
	return question->kind == QUESTION_QUERY ||
		question->kind == QUESTION_QUERY_ALL;
}

/* "2026-01-31T10%3A00%3A00%2B00%3A00", the form that the reference shows. */
static char *
window_time(TimestampTz time)
{
	char	   *text = soql_datetime(time);

	text[strlen(text) - 1] = '\0';
	return psprintf("%s%%2B00%%3A00", http_encode(text));
}

static char *
question_path(const SalesforceApi *api, const Question *question)
{
	if (is_query(question))
		return query_path(api, question->soql,
						  question->kind == QUESTION_QUERY_ALL);
	return psprintf("/services/data/v%s/sobjects/%s/%s/?start=%s&end=%s",
					api->version, http_encode(question->object),
					question->kind == QUESTION_UPDATED ?
					"updated" : "deleted",
					window_time(question->start), window_time(question->end));
}

static TimestampTz
read_time(const Json *json, const char *key)
{
	const char *text = json_text(json_get(json, key));

	return text != NULL ? soql_parse_datetime(text) : 0;
}

/* Such a list is there even if it is empty. */
static void
require_array(SalesforceApi *api, const Json *json)
{
	if (json_kind(json) != JSON_IS_ARRAY)
		raise_broken(api, "no list of records in it");
}

static char *
require_id(SalesforceApi *api, const Json *json)
{
	const char *id = json_kind(json) == JSON_IS_STRING ? json_text(json) : NULL;

	if (id == NULL || !id_is_valid(id))
		raise_broken(api, "a record in it has no id");
	return pstrdup(id);
}

static List *
read_updated(SalesforceApi *api, const Json *ids)
{
	List	   *list = NIL;

	require_array(api, ids);
	for (int i = 0; i < json_count(ids); i++)
		list = lappend(list, require_id(api, json_item(ids, i)));
	return list;
}

static List *
read_deleted(SalesforceApi *api, const Json *records)
{
	List	   *list = NIL;

	require_array(api, records);
	for (int i = 0; i < json_count(records); i++)
	{
		const Json *item = json_item(records, i);
		DeletedRecord *record = palloc0(sizeof(DeletedRecord));

		record->id = require_id(api, json_get(item, "id"));
		record->deleted = read_time(item, "deletedDate");
		if (record->deleted == 0)
			raise_broken(api, "a record in it has no date of deletion");
		list = lappend(list, record);
	}
	return list;
}

static void
decode_answer(SalesforceApi *api, Question *question, const Json *body)
{
	if (is_query(question))
	{
		question->page = read_query_page(api, body);
		return;
	}
	question->latest_covered = read_time(body, "latestDateCovered");
	question->earliest_available = read_time(body, "earliestDateAvailable");
	if (question->kind == QUESTION_UPDATED)
		question->ids = read_updated(api, json_get(body, "ids"));
	else
		question->deleted = read_deleted(api, json_get(body,
													   "deletedRecords"));
}

/* Marks a question with api->error. */
static void
refuse(const SalesforceApi *api, Question *question)
{
	question->answered = false;
	question->refusal = api->error;
	question->refusal.message = pstrdup(api->error.message ?
										api->error.message : "");
}

/* In a PG_CATCH: nothing came, or not to the end. */
static bool
got_no_answer(const SalesforceApi *api)
{
	return geterrcode() == ERRCODE_CONNECTION_FAILURE &&
		api->error.status == 0;
}

/* In a PG_CATCH: an answer that makes no sense concerns its question alone. */
static void
refuse_broken(SalesforceApi *api, Question *question, MemoryContext caller)
{
	bool		no_answer = got_no_answer(api);
	ErrorData  *error;

	MemoryContextSwitchTo(caller);
	error = CopyErrorData();
	if (error->sqlerrcode == ERRCODE_QUERY_CANCELED ||
		error->sqlerrcode == ERRCODE_OUT_OF_MEMORY)
		PG_RE_THROW();
	FlushErrorState();
	api_set_error(api, no_answer ? 0 : 200, NULL, error->detail ?
				  psprintf("%s: %s", error->message, error->detail) :
				  error->message);
	api->error.refusal = API_TRANSIENT;
	refuse(api, question);
}

static void
read_answer(SalesforceApi *api, Question *question, const Json *body)
{
	MemoryContext caller = CurrentMemoryContext;

	PG_TRY();
	{
		decode_answer(api, question, body);
		question->answered = true;
	}
	PG_CATCH();
	{
		refuse_broken(api, question, caller);
	}
	PG_END_TRY();
}

static void
ask_window_alone(SalesforceApi *api, Question *question)
{
	HttpAnswer *answer;
	Json	   *json;

	answer = api_try(api, API_KIND_OTHER, "GET", question_path(api, question),
					 NIL, NULL);
	if (answer->status >= 300)
	{
		refuse(api, question);
		return;
	}
	json = json_read(answer->body.data, answer->body.len);
	pfree(answer->body.data);
	read_answer(api, question, json);
}

/* A refusal raises in fetch_page, and is told by its status, a broken answer by
 * the status of success. */
static void
ask_query_alone(SalesforceApi *api, Question *question)
{
	MemoryContext context = CurrentMemoryContext;

	api->error.status = 0;
	PG_TRY();
	{
		question->page = fetch_page(api, question_path(api, question));
		question->answered = true;
	}
	PG_CATCH();
	{
		if (api->error.status == 0)
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
		refuse(api, question);
	}
	PG_END_TRY();
}

/* Gives each question of a batch its part of the answer. */
static void
read_composite(SalesforceApi *api, Question **batch, int n, const Json *json)
{
	const Json *items = json_get(json, "compositeResponse");
	bool		seen[MAX_SUBREQUESTS] = {false};
	int			read = 0;
	int			i;

	for (i = 0; i < json_count(items); i++)
	{
		const Json *item = json_item(items, i);
		const char *name = json_text(json_get(item, "referenceId"));
		int			status = (int) json_get_int(item, "httpStatusCode", 0);
		int			number;

		if (name == NULL || sscanf(name, "q%d", &number) != 1 ||
			number < 0 || number >= n || seen[number])
			continue;
		seen[number] = true;
		read++;
		if (status >= 200 && status < 300)
		{
			read_answer(api, batch[number], json_get(item, "body"));
			continue;
		}
		api_read_error_json(api, status, json_get(item, "body"));
		refuse(api, batch[number]);
	}
	if (read != n)
		raise_broken(api, "a Composite call was not answered in all its parts");
}

/*
 * True if the batch was asked; false where the org does not take Composite for
 * it, as a whole.
 */
static bool
ask_together(SalesforceApi *api, Question **batch, int n)
{
	StringInfoData body;
	HttpAnswer *answer;
	Json	   *json;
	int			i;

	begin_composite(&body);
	for (i = 0; i < n; i++)
		append_subrequest(&body, question_path(api, batch[i]), i, 0);
	appendStringInfoString(&body, "]}");
	answer = api_try(api, API_KIND_COMPOSITE, "POST", "/composite", NIL,
					 body.data);
	if (answer->status >= 300)
	{
		switch (api->error.refusal)
		{
			case API_PERMISSION:
			case API_UNSUPPORTED:
			case API_SCHEMA:
			case API_REQUEST:
				return false;
			default:
				api_raise(api, "Salesforce refused a Composite call");
		}
	}
	json = json_read(answer->body.data, answer->body.len);
	pfree(answer->body.data);
	read_composite(api, batch, n, json);
	return true;
}

/*
 * Same; an answer too big to be held counts as not taken, and so does one that
 * does not come: one question may take longer than all others together.
 */
static bool
try_together(SalesforceApi *api, Question **batch, int n)
{
	MemoryContext context = CurrentMemoryContext;
	volatile bool asked = false;

	PG_TRY();
	{
		asked = ask_together(api, batch, n);
	}
	PG_CATCH();
	{
		if (geterrcode() != ERRCODE_PROGRAM_LIMIT_EXCEEDED &&
			!(n > 1 && got_no_answer(api)))
			PG_RE_THROW();
		MemoryContextSwitchTo(context);
		FlushErrorState();
	}
	PG_END_TRY();
	return asked;
}

static void
ask_alone(SalesforceApi *api, Question *question)
{
	if (is_query(question))
		ask_query_alone(api, question);
	else
		ask_window_alone(api, question);
}

/* False if nobody answers; that the question is slow is its own trouble. */
static bool
try_alone(SalesforceApi *api, Question *question)
{
	MemoryContext context = CurrentMemoryContext;
	volatile bool answered = true;

	PG_TRY();
	{
		ask_alone(api, question);
	}
	PG_CATCH();
	{
		if (!got_no_answer(api))
			PG_RE_THROW();
		refuse_broken(api, question, context);
		answered = false;
	}
	PG_END_TRY();
	return answered;
}

/* The next questions that fit into one call; returns how many. */
static int
next_batch(Question *questions, int n, bool *taken, Question **batch)
{
	int			queries = 0;
	int			count = 0;
	int			i;

	for (i = 0; i < n && count < MAX_SUBREQUESTS; i++)
	{
		if (taken[i] || (is_query(&questions[i]) && queries == MAX_QUERIES))
			continue;
		if (is_query(&questions[i]))
			queries++;
		taken[i] = true;
		batch[count++] = &questions[i];
	}
	return count;
}

static void
ask_batch(SalesforceApi *api, Question **batch, int n)
{
	int			silent = 0;
	int			i;

	/* One alone costs the same, and has less that can be refused. */
	if ((n > 1 ||
		 strlen(question_path(api, batch[0])) > MAX_PATH_LENGTH) &&
		try_together(api, batch, n))
		return;
	/* None of three is answered: it is the org, and others would wait, too. */
	for (i = 0; i < n; i++)
	{
		if (n == 1 || (i == 2 && silent == 2))
			ask_alone(api, batch[i]);
		else if (!try_alone(api, batch[i]))
			silent++;
	}
}

void
query_ask(SalesforceApi *api, Question *questions, int n)
{
	bool	   *taken = palloc0(n * sizeof(bool));
	Question   *batch[MAX_SUBREQUESTS];
	int			count;

	if (api->version == NULL)
		api_choose_version(api, NULL);
	while ((count = next_batch(questions, n, taken, batch)) > 0)
		ask_batch(api, batch, count);
	pfree(taken);
}
