/*-------------------------------------------------------------------------
 *
 * sql.c
 *	  Running SQL with typed parameters: on the extension's own tables, or on
 *	  a synced one.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <stdarg.h>

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "tables/relation.h"
#include "tables/sql.h"

#define SQL_MAX_PARAMS	32

/*
 * Parsing and planning take several times as long as running these statements,
 * and a worker runs the same ones in every cycle: plans are kept for the life
 * of the process.  PostgreSQL makes them anew when what they depend on has
 * changed.
 */
typedef struct KeptPlan
{
	char	   *statement;
	char	   *types;			/* as given to sql_run */
	SPIPlanPtr	plan;
} KeptPlan;

#define MAX_KEPT_PLANS	100

static List *kept_plans = NIL;	/* of KeptPlan *, in TopMemoryContext */

/*
 * Who owns the extension's tables: its role does what the functions do on
 * behalf of callers that have no rights on them.
 */
static Oid
extension_owner(void)
{
	Oid			namespace = get_namespace_oid("sync", false);
	Oid			relid = get_relname_relid("server", namespace);
	HeapTuple	tuple;
	Oid			owner;

	tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("extension \"sync\" is not installed in this database"),
				 errhint("Run CREATE EXTENSION sync.")));
	owner = ((Form_pg_class) GETSTRUCT(tuple))->relowner;
	ReleaseSysCache(tuple);
	return owner;
}

static void
begin_as(SqlScope *scope, Oid user, int restriction)
{
	scope->caller = CurrentMemoryContext;
	scope->latest = false;
	scope->pushed_snapshot = !ActiveSnapshotSet();
	if (scope->pushed_snapshot)
		PushActiveSnapshot(GetTransactionSnapshot());
	rights_begin(&scope->rights, user, restriction);
	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
}

/*
 * Foreign keys between our own tables cascade also in a session that replicates
 * (session_replication_role), whose DDL our event triggers follow.
 */
static void
be_origin(void)
{
	if (SessionReplicationRole != SESSION_REPLICATION_ROLE_ORIGIN)
		(void) set_config_option("session_replication_role", "origin",
								 PGC_SUSET, PGC_S_SESSION, GUC_ACTION_SAVE,
								 true, 0, false);
}

void
sql_begin(SqlScope *scope)
{
	begin_as(scope, extension_owner(), SECURITY_LOCAL_USERID_CHANGE);
	be_origin();
}

void
sql_begin_on(SqlScope *scope, Oid relid)
{
	begin_as(scope, relation_owner(relid), SECURITY_RESTRICTED_OPERATION);
}

void
sql_begin_latest(SqlScope *scope)
{
	sql_begin(scope);
	scope->latest = true;
}

void
sql_end(SqlScope *scope)
{
	SPI_finish();
	rights_end(&scope->rights);
	if (scope->pushed_snapshot)
		PopActiveSnapshot();
	MemoryContextSwitchTo(scope->caller);
}

static void
switch_off(const char *setting)
{
	(void) set_config_option(setting, "off", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

/*
 * What is switched off costs a lot in the planner's eyes where there is no other
 * way.  The plan shall not be compiled for that.
 */
void
sql_avoid_nested_loops(SqlScope *scope)
{
	switch_off("jit");
	switch_off("enable_nestloop");
}

void
sql_prefer_indexes(SqlScope *scope)
{
	switch_off("jit");
	switch_off("enable_seqscan");
	switch_off("enable_bitmapscan");
}

static Datum
list_to_array(List *texts)
{
	Datum	   *elements = palloc(sizeof(Datum) * Max(list_length(texts), 1));
	int			n = 0;
	ListCell   *lc;

	foreach(lc, texts)
		elements[n++] = CStringGetTextDatum((char *) lfirst(lc));
	return PointerGetDatum(construct_array(elements, n, TEXTOID, -1, false,
										   TYPALIGN_INT));
}

static Datum
numbers_to_array(const int64 *numbers, int n)
{
	Datum	   *elements = palloc(sizeof(Datum) * Max(n, 1));

	for (int i = 0; i < n; i++)
		elements[i] = Int64GetDatum(numbers[i]);
	return PointerGetDatum(construct_array(elements, n, INT8OID,
										   sizeof(int64), FLOAT8PASSBYVAL,
										   TYPALIGN_DOUBLE));
}

/* One parameter: its type, value, and whether it is null. */
static void
take_param(char letter, va_list *args, Oid *type, Datum *value, char *null)
{
	*null = ' ';
	switch (letter)
	{
		case 't':
		case 'n':
			{
				const char *s = va_arg(*args, const char *);

				*type = letter == 't' ? TEXTOID : NAMEOID;
				if (s == NULL)
					*null = 'n';
				else if (letter == 't')
					*value = CStringGetTextDatum(s);
				else
					*value = DirectFunctionCall1(namein, CStringGetDatum(s));
				break;
			}
		case 'b':
			*type = BOOLOID;
			*value = BoolGetDatum(va_arg(*args, int) != 0);
			break;
		case 'i':
			*type = INT4OID;
			*value = Int32GetDatum(va_arg(*args, int));
			break;
		case 'l':
			*type = INT8OID;
			*value = Int64GetDatum(va_arg(*args, int64));
			break;
		case 'o':
			*type = OIDOID;
			*value = ObjectIdGetDatum(va_arg(*args, Oid));
			break;
		case 'z':
		case 'L':
			{
				TimestampTz t = va_arg(*args, TimestampTz);

				*type = TIMESTAMPTZOID;
				*value = TimestampTzGetDatum(t);
				if (letter == 'z' && t == 0)
					*null = 'n';
				break;
			}
		case 'T':
			{
				List	   *texts = va_arg(*args, List *);

				*type = TEXTARRAYOID;
				if (texts == NIL)
					*null = 'n';
				else
					*value = list_to_array(texts);
				break;
			}
		case 'S':
			{
				const int64 *numbers = va_arg(*args, const int64 *);

				*type = INT8ARRAYOID;
				*value = numbers_to_array(numbers, va_arg(*args, int));
				break;
			}
		default:
			elog(ERROR, "unknown parameter letter \"%c\"", letter);
	}
}

static SPIPlanPtr
prepare(const char *statement, int nparams, Oid *types)
{
	SPIPlanPtr	plan;

	/* One plan for all parameters: they are rows looked up by their keys. */
	plan = SPI_prepare_cursor(statement, nparams, types,
							  CURSOR_OPT_GENERIC_PLAN);
	if (plan == NULL)
		elog(ERROR, "SPI_prepare_cursor failed: %s",
			 SPI_result_code_string(SPI_result));
	return plan;
}

static SPIPlanPtr
find_plan(const char *statement, const char *types)
{
	ListCell   *lc;

	foreach(lc, kept_plans)
	{
		KeptPlan   *kept = (KeptPlan *) lfirst(lc);

		if (strcmp(kept->statement, statement) == 0 &&
			strcmp(kept->types, types) == 0)
			return kept->plan;
	}
	return NULL;
}

static void
keep_plan(const char *statement, const char *types, SPIPlanPtr plan)
{
	MemoryContext old;
	KeptPlan   *kept;

	if (list_length(kept_plans) == MAX_KEPT_PLANS)
		return;
	old = MemoryContextSwitchTo(TopMemoryContext);
	kept = palloc(sizeof(KeptPlan));
	kept->statement = pstrdup(statement);
	kept->types = pstrdup(types);
	kept->plan = plan;
	kept_plans = lappend(kept_plans, kept);
	MemoryContextSwitchTo(old);
	SPI_keepplan(plan);
}

uint64
sql_run(SqlScope *scope, const char *statement, const char *types,...)
{
	Oid			argtypes[SQL_MAX_PARAMS];
	Datum		values[SQL_MAX_PARAMS];
	char		nulls[SQL_MAX_PARAMS];
	int			n = 0;
	va_list		args;
	SPIPlanPtr	plan;
	int			rc;

	va_start(args, types);
	for (; types[n] != '\0'; n++)
	{
		if (n == SQL_MAX_PARAMS)
			elog(ERROR, "too many parameters");
		values[n] = (Datum) 0;
		take_param(types[n], &args, &argtypes[n], &values[n], &nulls[n]);
	}
	va_end(args);

	if (SPI_tuptable != NULL)
		SPI_freetuptable(SPI_tuptable);
	plan = find_plan(statement, types);
	if (plan == NULL)
	{
		plan = prepare(statement, n, argtypes);
		keep_plan(statement, types, plan);
	}
	/* SPI asks for the transaction's snapshot unless it is given another. */
	rc = SPI_execute_snapshot(plan, values, nulls,
							  scope->latest ? GetLatestSnapshot() : InvalidSnapshot,
							  InvalidSnapshot, scope->latest, true, 0);
	if (rc < 0)
		elog(ERROR, "SPI_execute_snapshot failed: %s",
			 SPI_result_code_string(rc));
	return SPI_processed;
}

static Datum
column_datum(uint64 row, int column, bool *null)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc,
						 column, null);
}

/* Text form of a value of any type, in the caller's memory; NULL for null. */
char *
sql_text(SqlScope *scope, uint64 row, int column)
{
	char	   *value = SPI_getvalue(SPI_tuptable->vals[row],
									 SPI_tuptable->tupdesc, column);

	return value == NULL ? NULL : MemoryContextStrdup(scope->caller, value);
}

bool
sql_bool(SqlScope *scope, uint64 row, int column)
{
	bool		null;
	Datum		value = column_datum(row, column, &null);

	return !null && DatumGetBool(value);
}

/* An int8, int4 or oid column; 0 for null. */
int64
sql_int(SqlScope *scope, uint64 row, int column)
{
	bool		null;
	Datum		value = column_datum(row, column, &null);

	if (null)
		return 0;
	switch (SPI_gettypeid(SPI_tuptable->tupdesc, column))
	{
		case INT8OID:
			return DatumGetInt64(value);
		case INT4OID:
			return DatumGetInt32(value);
		default:
			return (int64) DatumGetObjectId(value);
	}
}

/* A timestamptz column; 0 for null. */
TimestampTz
sql_time(SqlScope *scope, uint64 row, int column)
{
	bool		null;
	Datum		value = column_datum(row, column, &null);

	return null ? 0 : DatumGetTimestampTz(value);
}

List *
sql_texts(SqlScope *scope, uint64 n)
{
	List	   *texts = NIL;
	MemoryContext old = MemoryContextSwitchTo(scope->caller);

	for (uint64 i = 0; i < n; i++)
		texts = lappend(texts, sql_text(scope, i, 1));
	MemoryContextSwitchTo(old);
	return texts;
}

/* A text[] column as List of char *; NIL for null. */
List *
sql_list(SqlScope *scope, uint64 row, int column)
{
	bool		null;
	Datum		value = column_datum(row, column, &null);
	MemoryContext old;
	List	   *result = NIL;
	Datum	   *elements;
	bool	   *nulls;
	int			n;

	if (null)
		return NIL;
	old = MemoryContextSwitchTo(scope->caller);
	deconstruct_array(DatumGetArrayTypeP(value), TEXTOID, -1, false,
					  TYPALIGN_INT, &elements, &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		if (!nulls[i])
			result = lappend(result, TextDatumGetCString(elements[i]));
	}
	MemoryContextSwitchTo(old);
	return result;
}

bool
sql_is_null(SqlScope *scope, uint64 row, int column)
{
	bool		null;

	(void) column_datum(row, column, &null);
	return null;
}
