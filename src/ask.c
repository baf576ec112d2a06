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
#include "login.h"
#include "rows.h"
#include "salesforce/describe.h"
#include "salesforce/query.h"

PG_FUNCTION_INFO_V1(sync_soql);
PG_FUNCTION_INFO_V1(sync_describe);
PG_FUNCTION_INFO_V1(sync_limits);

/* Whoever has USAGE on the server may ask; the login decides what is seen. */
static Org *
usable_org(FunctionCallInfo fcinfo)
{
	ServerOptions *server = server_options(NameStr(*PG_GETARG_NAME(0)));

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
	Org		   *org = usable_org(fcinfo);
	QueryPage  *page;

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
	Org		   *org = usable_org(fcinfo);
	char	   *body = describe_text(org->api,
									 text_to_cstring(PG_GETARG_TEXT_PP(1)));
	Datum		result = DirectFunctionCall1(jsonb_in, CStringGetDatum(body));

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
