/*-------------------------------------------------------------------------
 *
 * ask.c
 *	  SQL functions that ask the org something and hand its answer on.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"

#include "compat.h"
#include "cycle.h"
#include "functions.h"
#include "login.h"
#include "rows.h"
#include "salesforce/describe.h"
#include "salesforce/query.h"

PG_FUNCTION_INFO_V1(sync_soql);
PG_FUNCTION_INFO_V1(sync_describe);
PG_FUNCTION_INFO_V1(sync_limits);
PG_FUNCTION_INFO_V1(sync_objects);

/* Whoever has USAGE on the server may ask; the login decides what is seen. */
static Org *
usable_org(FunctionCallInfo fcinfo)
{
	ServerOptions *server = server_arg(fcinfo);

	require_server_usage(server);
	return org_open_any(server->name);
}

static void
finish(Org *org)
{
	(void) cycle_count_calls(org);
	org_close(org);
}

/* SELECT COUNT() has no records, only their number (SOQL: COUNT()). */
static void
add_count(RowsOut *out, int64 total)
{
	char	   *record = psprintf("{\"count\": " INT64_FORMAT "}", total);
	Datum		value = DirectFunctionCall1(jsonb_in, CStringGetDatum(record));
	bool		null = false;

	rows_add(out, &value, &null);
}

/*
 * sync.soql(server name, query text) returns setof jsonb
 */
Datum
sync_soql(PG_FUNCTION_ARGS)
{
	RowsOut    *out = rows_begin(fcinfo);
	Org		   *org;
	QueryPage  *page;

	require_arg(fcinfo, 1, "query");
	org = usable_org(fcinfo);
	page = query_run(org->api, text_to_cstring(PG_GETARG_TEXT_PP(1)), false);
	if (page->nrecords == 0 && page->total > 0)
		add_count(out, page->total);
	while (page != NULL)
	{
		QueryPage  *next = NULL;

		for (int i = 0; i < page->nrecords; i++)
		{
			char	   *record = query_record_text(page, i);
			Datum		value = DirectFunctionCall1(jsonb_in,
													CStringGetDatum(record));
			bool		null = false;

			rows_add(out, &value, &null);
			pfree(DatumGetPointer(value));
			pfree(record);
		}
		CHECK_FOR_INTERRUPTS();
		if (!page->done)
			next = query_next(org->api, page);
		query_free(page);
		page = next;
	}
	finish(org);
	return (Datum) 0;
}

/*
 * sync.describe(server name, object text) returns jsonb
 */
Datum
sync_describe(PG_FUNCTION_ARGS)
{
	Org		   *org;
	char	   *body;
	Datum		result;

	require_arg(fcinfo, 1, "object");
	org = usable_org(fcinfo);
	body = describe_text(org->api, text_arg(fcinfo, 1));
	result = DirectFunctionCall1(jsonb_in, CStringGetDatum(body));
	finish(org);
	PG_RETURN_DATUM(result);
}

static void
add_limit(const char *name, Json *value, void *arg)
{
	const char *values[3];

	values[0] = name;
	values[1] = json_get_text(value, "Max");
	values[2] = json_get_text(value, "Remaining");
	if (values[1] && values[2])
		rows_add_texts((RowsOut *) arg, values);
}

/*
 * sync.limits(server name) returns table(name text, max bigint, remaining bigint)
 */
Datum
sync_limits(PG_FUNCTION_ARGS)
{
	RowsOut    *out = rows_begin(fcinfo);
	Org		   *org = usable_org(fcinfo);
	Json	   *limits = api_call_json(org->api, API_KIND_OTHER, "GET",
									   "/limits", NIL, NULL);

	json_visit(limits, add_limit, out);
	finish(org);
	return (Datum) 0;
}

/* An object's table, if it is synced. */
static Oid
table_of(List *synced, const char *name)
{
	ListCell   *lc;

	foreach(lc, synced)
	{
		SyncObject *object = (SyncObject *) lfirst(lc);

		if (strcmp(object->object, name) == 0)
			return object->relid;
	}
	return InvalidOid;
}

static void
add_object(RowsOut *out, const DescribeObject *entry, Oid table)
{
	Datum		values[5];
	bool		nulls[5] = {false};

	values[0] = CStringGetTextDatum(entry->name);
	nulls[1] = entry->label == NULL;
	values[1] = nulls[1] ? (Datum) 0 : CStringGetTextDatum(entry->label);
	values[2] = BoolGetDatum(entry->custom);
	values[3] = BoolGetDatum(entry->createable || entry->updateable);
	nulls[4] = !OidIsValid(table);
	values[4] = ObjectIdGetDatum(table);
	rows_add(out, values, nulls);
}

/*
 * sync.objects(server name) returns table(object text, label text,
 *   custom boolean, writable boolean, "table" regclass)
 */
Datum
sync_objects(PG_FUNCTION_ARGS)
{
	RowsOut    *out = rows_begin(fcinfo);
	Org		   *org = usable_org(fcinfo);
	List	   *synced = catalog_objects(org->server->name);
	ListCell   *lc;

	foreach(lc, describe_global(org->api))
	{
		DescribeObject *entry = (DescribeObject *) lfirst(lc);

		if (entry->queryable)
			add_object(out, entry, table_of(synced, entry->name));
	}
	finish(org);
	return (Datum) 0;
}
