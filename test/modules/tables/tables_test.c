/*-------------------------------------------------------------------------
 *
 * tables_test.c
 *	  The tables bank by itself, callable from SQL.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "storage/fd.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "tables/guard.h"
#include "tables/load.h"
#include "tables/merge.h"
#include "tables/relation.h"
#include "tables/schema.h"

PG_MODULE_MAGIC;

PG_FUNCTION_INFO_V1(tt_create_table);
PG_FUNCTION_INFO_V1(tt_add_columns);
PG_FUNCTION_INFO_V1(tt_change_columns);
PG_FUNCTION_INFO_V1(tt_drop_column);
PG_FUNCTION_INFO_V1(tt_comment);
PG_FUNCTION_INFO_V1(tt_build_keys);
PG_FUNCTION_INFO_V1(tt_differences);
PG_FUNCTION_INFO_V1(tt_drop);
PG_FUNCTION_INFO_V1(tt_guard);
PG_FUNCTION_INFO_V1(tt_load);
PG_FUNCTION_INFO_V1(tt_load_file);
PG_FUNCTION_INFO_V1(tt_chunk);
PG_FUNCTION_INFO_V1(tt_stage);
PG_FUNCTION_INFO_V1(tt_stage_load);
PG_FUNCTION_INFO_V1(tt_stage_load_file);
PG_FUNCTION_INFO_V1(tt_merge);
PG_FUNCTION_INFO_V1(tt_absent);
PG_FUNCTION_INFO_V1(tt_delete_absent);
PG_FUNCTION_INFO_V1(tt_stage_drop);
PG_FUNCTION_INFO_V1(tt_delete_ids);
PG_FUNCTION_INFO_V1(tt_apply);
PG_FUNCTION_INFO_V1(tt_rss_anon);

static Stage *the_stage = NULL;
static int	chunk = 64 * 1024;

/*
 * Sources
 */

typedef struct TestSource
{
	RowSource	source;
	const char *data;			/* bytes, or NULL: a file */
	int			length;
	int			at;
	const char *fails;			/* SQLSTATE to raise at the end, or ""; with an
								 * exclamation mark: only the first time */
	FILE	   *file;
	Oid			user;			/* as whom it must be read */
} TestSource;

static int
test_read(RowSource *source, void *outbuf, int minread, int maxread)
{
	TestSource *test = (TestSource *) source;
	int			n = Min(Min(maxread, Max(chunk, minread)),
						test->length - test->at);

	if (GetUserId() != test->user || InSecurityRestrictedOperation())
		elog(ERROR, "the source is not read as the caller");
	if (test->file != NULL)
		return fread(outbuf, 1, maxread, test->file);
	if (n == 0 && test->fails[0] != '\0')
		ereport(ERROR,
				(errcode(MAKE_SQLSTATE(test->fails[0], test->fails[1],
									   test->fails[2], test->fails[3],
									   test->fails[4])),
				 errmsg("the source fails")));
	memcpy(outbuf, test->data + test->at, n);
	test->at += n;
	return n;
}

static void
test_rewind(RowSource *source)
{
	TestSource *test = (TestSource *) source;

	test->at = 0;
	if (strlen(test->fails) > 5)
		test->fails = "";
	if (test->file != NULL)
		rewind(test->file);
}

static TestSource *
test_source(void)
{
	TestSource *test = palloc0(sizeof(TestSource));

	test->source.read = test_read;
	test->source.rewind = test_rewind;
	test->fails = "";
	test->user = GetUserId();
	return test;
}

static RowSource *
bytes_source(bytea *data, const char *fails)
{
	TestSource *test = test_source();

	test->data = VARDATA_ANY(data);
	test->length = VARSIZE_ANY_EXHDR(data);
	test->fails = fails;
	return &test->source;
}

static RowSource *
file_source(const char *name)
{
	TestSource *test = test_source();

	test->file = AllocateFile(name, "r");
	if (test->file == NULL)
		elog(ERROR, "could not open %s: %m", name);
	return &test->source;
}

/*
 * Arguments and results
 */

static List *
texts(ArrayType *array)
{
	Datum	   *values;
	bool	   *nulls;
	int			n;
	List	   *list = NIL;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &values, &nulls,
					  &n);
	for (int i = 0; i < n; i++)
		list = lappend(list, TextDatumGetCString(values[i]));
	return list;
}

/* The next part of a text that is divided by |; NULL if it is empty. */
static char *
part(char **rest)
{
	char	   *start = *rest;
	char	   *bar = start == NULL ? NULL : strchr(start, '|');

	*rest = bar == NULL ? NULL : bar + 1;
	if (bar != NULL)
		*bar = '\0';
	return start == NULL || *start == '\0' ? NULL : start;
}

static List *
columns(ArrayType *array)
{
	List	   *list = NIL;
	ListCell   *lc;

	foreach(lc, texts(array))
	{
		TableColumn *column = palloc0(sizeof(TableColumn));
		char	   *rest = lfirst(lc);
		char	   *not_null;

		column->name = part(&rest);
		column->type = part(&rest);
		not_null = part(&rest);
		column->not_null = not_null != NULL && strcmp(not_null, "t") == 0;
		column->default_sql = part(&rest);
		column->comment = part(&rest);
		list = lappend(list, column);
	}
	return list;
}

static text *
with_refused(const char *result, List *refused)
{
	StringInfoData text;
	ListCell   *lc;

	initStringInfo(&text);
	appendStringInfoString(&text, result);
	foreach(lc, refused)
	{
		RefusedRow *row = lfirst(lc);

		appendStringInfo(&text, "\n%s %s %s %s", row->id ? row->id : "-",
						 row->sqlstate, row->column ? row->column : "-",
						 row->message);
	}
	return cstring_to_text(text.data);
}

static text *
counts_text(const MergeCounts *counts, List *refused)
{
	return with_refused(psprintf(INT64_FORMAT " " INT64_FORMAT " " INT64_FORMAT
								 " " INT64_FORMAT " " INT64_FORMAT,
								 counts->inserted, counts->updated,
								 counts->deleted, counts->skipped,
								 counts->failed), refused);
}

/*
 * Schema
 */

Datum
tt_create_table(PG_FUNCTION_ARGS)
{
	TableSpec	spec = {0};

	spec.schema = text_to_cstring(PG_GETARG_TEXT_PP(0));
	spec.name = text_to_cstring(PG_GETARG_TEXT_PP(1));
	spec.columns = columns(PG_GETARG_ARRAYTYPE_P(2));
	spec.comment = PG_ARGISNULL(4) ? NULL :
		text_to_cstring(PG_GETARG_TEXT_PP(4));
	PG_RETURN_OID(schema_create_table(&spec, PG_GETARG_OID(3)));
}

Datum
tt_add_columns(PG_FUNCTION_ARGS)
{
	schema_add_columns(PG_GETARG_OID(0), columns(PG_GETARG_ARRAYTYPE_P(1)));
	PG_RETURN_VOID();
}

Datum
tt_change_columns(PG_FUNCTION_ARGS)
{
	ListCell   *lc;

	foreach(lc, columns(PG_GETARG_ARRAYTYPE_P(1)))
		schema_change_column(PG_GETARG_OID(0), lfirst(lc));
	PG_RETURN_VOID();
}

Datum
tt_drop_column(PG_FUNCTION_ARGS)
{
	schema_drop_column(PG_GETARG_OID(0),
					   text_to_cstring(PG_GETARG_TEXT_PP(1)));
	PG_RETURN_VOID();
}

Datum
tt_comment(PG_FUNCTION_ARGS)
{
	schema_comment(PG_GETARG_OID(0),
				   PG_ARGISNULL(1) ? NULL :
				   text_to_cstring(PG_GETARG_TEXT_PP(1)),
				   PG_ARGISNULL(2) ? NULL :
				   text_to_cstring(PG_GETARG_TEXT_PP(2)));
	PG_RETURN_VOID();
}

Datum
tt_build_keys(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(schema_build_keys(PG_GETARG_OID(0),
									  texts(PG_GETARG_ARRAYTYPE_P(1))));
}

Datum
tt_differences(PG_FUNCTION_ARGS)
{
	StringInfoData text;
	ListCell   *lc;

	initStringInfo(&text);
	foreach(lc, schema_differences(PG_GETARG_OID(0),
								   columns(PG_GETARG_ARRAYTYPE_P(1))))
		appendStringInfo(&text, "%s%s", text.len > 0 ? "\n" : "",
						 (char *) lfirst(lc));
	PG_RETURN_TEXT_P(cstring_to_text(text.data));
}

Datum
tt_drop(PG_FUNCTION_ARGS)
{
	schema_drop_table(PG_GETARG_OID(0));
	PG_RETURN_VOID();
}

Datum
tt_guard(PG_FUNCTION_ARGS)
{
	if (PG_GETARG_BOOL(1))
		guard_create_triggers(PG_GETARG_OID(0));
	else
		guard_drop_triggers(PG_GETARG_OID(0));
	PG_RETURN_VOID();
}

/*
 * Load
 */

static Datum
load_from(Oid relid, ArrayType *names, RowSource *source, bool apply)
{
	List	   *refused = NIL;
	int64		rows = load_rows(relid, texts(names), source, apply, &refused);

	return PointerGetDatum(with_refused(psprintf(INT64_FORMAT, rows),
										refused));
}

Datum
tt_load(PG_FUNCTION_ARGS)
{
	return load_from(PG_GETARG_OID(0), PG_GETARG_ARRAYTYPE_P(1),
					 bytes_source(PG_GETARG_BYTEA_PP(2),
								  text_to_cstring(PG_GETARG_TEXT_PP(4))),
					 PG_GETARG_BOOL(3));
}

Datum
tt_load_file(PG_FUNCTION_ARGS)
{
	return load_from(PG_GETARG_OID(0), PG_GETARG_ARRAYTYPE_P(1),
					 file_source(text_to_cstring(PG_GETARG_TEXT_PP(2))), true);
}

Datum
tt_chunk(PG_FUNCTION_ARGS)
{
	chunk = PG_GETARG_INT32(0);
	PG_RETURN_VOID();
}

/*
 * Merge
 */

Datum
tt_stage(PG_FUNCTION_ARGS)
{
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);

	the_stage = stage_create(PG_GETARG_OID(0),
							 texts(PG_GETARG_ARRAYTYPE_P(1)),
							 PG_ARGISNULL(2) ? NULL :
							 text_to_cstring(PG_GETARG_TEXT_PP(2)));
	MemoryContextSwitchTo(old);
	PG_RETURN_VOID();
}

static Datum
stage_from(RowSource *source)
{
	List	   *refused = NIL;
	int64		rows = stage_load(the_stage, source, &refused);

	return PointerGetDatum(with_refused(psprintf(INT64_FORMAT, rows),
										refused));
}

Datum
tt_stage_load(PG_FUNCTION_ARGS)
{
	return stage_from(bytes_source(PG_GETARG_BYTEA_PP(0), ""));
}

Datum
tt_stage_load_file(PG_FUNCTION_ARGS)
{
	return stage_from(file_source(text_to_cstring(PG_GETARG_TEXT_PP(0))));
}

Datum
tt_merge(PG_FUNCTION_ARGS)
{
	MergeCounts counts = {0};
	List	   *refused = NIL;

	merge_stage(the_stage, PG_GETARG_BOOL(0), &counts, &refused);
	PG_RETURN_TEXT_P(counts_text(&counts, refused));
}

Datum
tt_absent(PG_FUNCTION_ARGS)
{
	StringInfoData text;
	List	   *ids = stage_absent(the_stage);
	ListCell   *lc;

	initStringInfo(&text);
	foreach(lc, ids)
		appendStringInfo(&text, "%s%s", text.len > 0 ? " " : "",
						 (char *) lfirst(lc));
	PG_RETURN_TEXT_P(cstring_to_text(text.data));
}

Datum
tt_delete_absent(PG_FUNCTION_ARGS)
{
	MergeCounts counts = {0};
	List	   *refused = NIL;

	merge_delete_absent(the_stage, PG_GETARG_TIMESTAMPTZ(0), PG_GETARG_BOOL(1),
						&counts, &refused);
	PG_RETURN_TEXT_P(counts_text(&counts, refused));
}

Datum
tt_stage_drop(PG_FUNCTION_ARGS)
{
	stage_drop(the_stage);
	PG_RETURN_VOID();
}

static TimestampTz *
moments(ArrayType *array)
{
	Datum	   *values;
	bool	   *nulls;
	int			n;
	TimestampTz *result;

	deconstruct_array(array, TIMESTAMPTZOID, 8, FLOAT8PASSBYVAL,
					  TYPALIGN_DOUBLE, &values, &nulls, &n);
	result = palloc0(sizeof(TimestampTz) * (n + 1));
	for (int i = 0; i < n; i++)
		result[i] = nulls[i] ? 0 : DatumGetTimestampTz(values[i]);
	return result;
}

Datum
tt_delete_ids(PG_FUNCTION_ARGS)
{
	MergeCounts counts = {0};
	List	   *refused = NIL;

	merge_delete_ids(PG_GETARG_OID(0), texts(PG_GETARG_ARRAYTYPE_P(1)),
					 PG_ARGISNULL(2) ? NULL :
					 moments(PG_GETARG_ARRAYTYPE_P(2)),
					 PG_ARGISNULL(3) ? NULL :
					 text_to_cstring(PG_GETARG_TEXT_PP(3)),
					 PG_GETARG_BOOL(4), &counts, &refused);
	PG_RETURN_TEXT_P(counts_text(&counts, refused));
}

Datum
tt_apply(PG_FUNCTION_ARGS)
{
	ApplyState	state;

	apply_begin(PG_GETARG_OID(0), &state);
	relation_run(text_to_cstring(PG_GETARG_TEXT_PP(1)));
	if (PG_GETARG_BOOL(2))
		apply_end(&state);
	PG_RETURN_VOID();
}

Datum
tt_rss_anon(PG_FUNCTION_ARGS)
{
	FILE	   *file = AllocateFile("/proc/self/status", "r");
	char		line[256];
	long		kb = -1;

	while (file != NULL && fgets(line, sizeof(line), file) != NULL)
		(void) sscanf(line, "RssAnon: %ld", &kb);
	FreeFile(file);
	PG_RETURN_INT64(kb);
}
