/*-------------------------------------------------------------------------
 *
 * stamps.c
 *	  What the rows of a synced table look like, for those who send changes.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/builtins.h"
#include "utils/timestamp.h"

#include "tables/relation.h"
#include "tables/sql.h"
#include "tables/stamps.h"

List *
stamps_differing(Oid relid, const char *stamp, List *found, List *stamps)
{
	SqlScope	sql;
	List	   *result;

	if (found == NIL)
		return NIL;
	sql_begin_on(&sql, relid);
	result = sql_texts(&sql,
					   sql_run(&sql,
							   psprintf("SELECT u.i FROM unnest($1, $2) AS u (i, s)"
										" LEFT JOIN %s t ON t.id = u.i"
										" WHERE t.%s IS DISTINCT FROM u.s::pg_catalog.timestamptz",
										relation_rows(relid),
										quote_identifier(stamp)),
							   "TT", found, stamps));
	sql_end(&sql);
	return result;
}

List *
stamps_column(Oid relid, const char *column, List *ids)
{
	SqlScope	sql;
	List	   *result;

	if (ids == NIL)
		return NIL;
	sql_begin_on(&sql, relid);
	result = sql_texts(&sql,
					   sql_run(&sql,
							   psprintf("SELECT t.%s FROM unnest($1)"
										" WITH ORDINALITY AS u (i, n)"
										" LEFT JOIN %s t ON t.id = u.i"
										" ORDER BY u.n",
										quote_identifier(column),
										relation_rows(relid)),
							   "T", ids));
	sql_end(&sql);
	return result;
}

TimestampTz
stamps_parse(const char *text)
{
	return DatumGetTimestampTz(DirectFunctionCall3(timestamptz_in,
												   CStringGetDatum(text),
												   ObjectIdGetDatum(InvalidOid),
												   Int32GetDatum(-1)));
}
