/*-------------------------------------------------------------------------
 *
 * describe.c
 *	  What the org says of its objects and fields, as far as the login sees.
 *
 * Attributes are taken as optional throughout: which there are depends on the
 * version and on the object.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/memutils.h"

#include "describe.h"
#include "text.h"
#include "origin.h"

/* The text of a member; empty if it is missing, so that it can be shown. */
static char *
text_or_empty(const Json *json, const char *key)
{
	char	   *text = json_get_text(json, key);

	return text != NULL ? text : pstrdup("");
}

static List *
read_names(const Json *array)
{
	List	   *names = NIL;
	int			i;

	for (i = 0; i < json_count(array); i++)
	{
		const char *name = json_text(json_item(array, i));

		if (name != NULL)
			names = lappend(names, pstrdup(name));
	}
	return names;
}

/* Of a Composite request. */
#define MAX_SUBREQUESTS	25

static DescribeField *
read_field(const Json *json)
{
	DescribeField *field = palloc0(sizeof(DescribeField));

	field->name = text_or_empty(json, "name");
	field->type = text_or_empty(json, "type");
	field->label = text_or_empty(json, "label");
	field->help = json_get_text(json, "inlineHelpText");
	field->compound = json_get_text(json, "compoundFieldName");
	field->relationship = json_get_text(json, "relationshipName");
	field->reference_to = read_names(json_get(json, "referenceTo"));
	field->length = (int) json_get_int(json, "length", 0);
	field->digits = (int) json_get_int(json, "digits", 0);
	field->precision = (int) json_get_int(json, "precision", 0);
	field->scale = (int) json_get_int(json, "scale", 0);
	field->nillable = json_get_bool(json, "nillable", true);
	field->createable = json_get_bool(json, "createable", false);
	field->updateable = json_get_bool(json, "updateable", false);
	field->defaulted_on_create = json_get_bool(json, "defaultedOnCreate",
											   false);
	field->default_true = json_get_bool(json, "defaultValue", false);
	field->calculated = json_get_bool(json, "calculated", false);
	field->custom = json_get_bool(json, "custom", false);
	field->external_id = json_get_bool(json, "externalId", false);
	field->id_lookup = json_get_bool(json, "idLookup", false);
	field->unique = json_get_bool(json, "unique", false);
	field->filterable = json_get_bool(json, "filterable", true);
	field->sortable = json_get_bool(json, "sortable", true);
	return field;
}

static DescribeObject *
read_object(const Json *json)
{
	DescribeObject *object = palloc0(sizeof(DescribeObject));
	const Json *fields = json_get(json, "fields");
	int			i;

	object->name = text_or_empty(json, "name");
	object->label = text_or_empty(json, "label");
	object->key_prefix = json_get_text(json, "keyPrefix");
	object->custom = json_get_bool(json, "custom", false);
	object->createable = json_get_bool(json, "createable", false);
	object->updateable = json_get_bool(json, "updateable", false);
	object->deletable = json_get_bool(json, "deletable", false);
	object->undeletable = json_get_bool(json, "undeletable", false);
	object->queryable = json_get_bool(json, "queryable", false);
	object->replicateable = json_get_bool(json, "replicateable", false);
	object->retrieveable = json_get_bool(json, "retrieveable", false);
	for (i = 0; i < json_count(fields); i++)
		object->fields = lappend(object->fields,
								 read_field(json_item(fields, i)));
	return object;
}

/*
 * A describe takes megabytes while it is parsed, and is kept as kilobytes: the
 * tree lives in a context of its own.  NULL if body is no JSON object.
 */
static DescribeObject *
parse_object(const char *body, Size len)
{
	MemoryContext work;
	MemoryContext caller;
	DescribeObject *object = NULL;
	Json	   *json;

	work = AllocSetContextCreate(CurrentMemoryContext, "sync describe",
								 ALLOCSET_DEFAULT_SIZES);
	caller = MemoryContextSwitchTo(work);
	json = json_read(body, len);
	MemoryContextSwitchTo(caller);
	if (json_kind(json) == JSON_IS_OBJECT)
		object = read_object(json);
	MemoryContextDelete(work);
	return object;
}

DescribeObject *
describe_parse(const char *body)
{
	DescribeObject *object = parse_object(body, strlen(body));

	if (object == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("not a description of a Salesforce object")));
	return object;
}

/* Anything but a name would be another path, or no request at all. */
static bool
is_name(const char *object)
{
	return object[0] != '\0' &&
		strspn(object, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
			   "0123456789_") == strlen(object);
}

pg_noreturn static void
raise_unknown(const char *object)
{
	ereport(ERROR,
			(errcode(ERRCODE_FDW_TABLE_NOT_FOUND),
			 errmsg("object \"%s\" does not exist in Salesforce, or the login does not see it",
					foreign_text(object)),
			 errhint("Check the API name (custom objects end in __c) and the object permissions of the user of the login.")));
}

static HttpAnswer *
ask_describe(SalesforceApi *api, const char *object, List *headers)
{
	HttpAnswer *answer;

	if (!is_name(object))
		raise_unknown(object);
	answer = api_try(api, API_KIND_DESCRIBE, "GET",
					 psprintf("/sobjects/%s/describe", object), headers, NULL);
	if (answer->status < 300 || answer->status == 304)
		return answer;
	if (api->error.status == 404 ||
		strcmp(api->error.code, "INVALID_TYPE") == 0)
		raise_unknown(object);
	api_raise(api, psprintf("could not describe object \"%s\"", object));
}

DescribeObject *
describe_object(SalesforceApi *api, const char *object,
				const char *if_modified_since)
{
	List	   *headers = NIL;
	HttpAnswer *answer;
	DescribeObject *result;
	const char *last_modified;

	if (if_modified_since != NULL)
		headers = list_make1(psprintf("If-Modified-Since: %s",
									  if_modified_since));
	answer = ask_describe(api, object, headers);
	if (answer->status == 304)
		return NULL;
	result = parse_object(answer->body.data, answer->body.len);
	if (result == NULL || result->fields == NIL)
	{
		api_set_error(api, answer->status, NULL, result == NULL ?
					  foreign_page(answer->body.data) :
					  "a description without fields");
		api->error.refusal = API_TRANSIENT;
		api_raise(api, psprintf("could not describe object \"%s\"", object));
	}
	last_modified = http_header(answer, "Last-Modified");
	if (last_modified != NULL)
		result->last_modified = pstrdup(last_modified);
	pfree(answer->body.data);
	return result;
}

/* One subrequest of a Composite call, If-Modified-Since among its headers. */
static void
append_question(StringInfo body, SalesforceApi *api, int number,
				const char *object, const char *tag)
{
	appendStringInfo(body, "%s{\"method\":\"GET\",\"referenceId\":\"d%d\",\"url\":",
					 number % MAX_SUBREQUESTS > 0 ? "," : "", number);
	json_append_string(body, psprintf("/services/data/v%s/sobjects/%s/describe",
									  api->version, object));
	appendStringInfoString(body,
						   ",\"httpHeaders\":{\"If-Modified-Since\":");
	json_append_string(body, tag);
	appendStringInfoString(body, "}}");
}

static void
ask_unchanged(SalesforceApi *api, const char *body, bool *unchanged, int n)
{
	HttpAnswer *answer = api_try(api, API_KIND_COMPOSITE, "POST",
								 "/composite", NIL, body);
	const Json *items;
	int			i;

	if (answer->status >= 300)
		return;
	items = json_get(json_read(answer->body.data, answer->body.len),
					 "compositeResponse");
	for (i = 0; i < json_count(items); i++)
	{
		const Json *item = json_item(items, i);
		const char *name = json_text(json_get(item, "referenceId"));
		int			number;

		if (name && sscanf(name, "d%d", &number) == 1 && number >= 0 &&
			number < n && json_get_int(item, "httpStatusCode", 0) == 304)
			unchanged[number] = true;
	}
}

bool *
describe_unchanged(SalesforceApi *api, List *objects, List *tags)
{
	int			n = list_length(objects);
	bool	   *unchanged = palloc0(sizeof(bool) * Max(n, 1));
	StringInfoData body;
	int			i = 0;
	ListCell   *lc;
	ListCell   *lc2;

	if (api->version == NULL)
		api_choose_version(api, NULL);
	initStringInfo(&body);
	forboth(lc, objects, lc2, tags)
	{
		if (i % MAX_SUBREQUESTS == 0)
		{
			resetStringInfo(&body);
			appendStringInfoString(&body,
								   "{\"allOrNone\":false,\"compositeRequest\":[");
		}
		append_question(&body, api, i, (char *) lfirst(lc),
						(char *) lfirst(lc2));
		if (++i % MAX_SUBREQUESTS != 0 && i < n)
			continue;
		appendStringInfoString(&body, "]}");
		ask_unchanged(api, body.data, unchanged, n);
	}
	pfree(body.data);
	return unchanged;
}

char *
describe_text(SalesforceApi *api, const char *object)
{
	return ask_describe(api, object, NIL)->body.data;
}

List *
describe_global(SalesforceApi *api)
{
	MemoryContext work;
	MemoryContext caller;
	List	   *objects = NIL;
	const Json *array;
	int			i;

	work = AllocSetContextCreate(CurrentMemoryContext, "sync describe",
								 ALLOCSET_DEFAULT_SIZES);
	caller = MemoryContextSwitchTo(work);
	array = json_get(api_call_json(api, API_KIND_DESCRIBE, "GET", "/sobjects",
								   NIL, NULL), "sobjects");
	MemoryContextSwitchTo(caller);
	for (i = 0; i < json_count(array); i++)
		objects = lappend(objects, read_object(json_item(array, i)));
	MemoryContextDelete(work);
	return objects;
}

/* Names are case-insensitive in Salesforce. */
DescribeField *
describe_field(const DescribeObject *object, const char *name)
{
	ListCell   *lc;

	foreach(lc, object->fields)
	{
		DescribeField *field = (DescribeField *) lfirst(lc);

		if (pg_strcasecmp(field->name, name) == 0)
			return field;
	}
	return NULL;
}
