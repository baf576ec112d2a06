/*-------------------------------------------------------------------------
 *
 * capture_values.c
 *	  Values of synced tables as the JSON that Salesforce takes.
 *
 * A change is {"column": [old, new]}.  What Salesforce would refuse by its own
 * description of the field (describe: createable, updateable, nillable, length,
 * digits, precision) is refused here, where the writer can still do something
 * about it.  incoming.c compares with these texts and has to write the same.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/json.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "tables/capture_values.h"
#include "tables/relation.h"

/*
 * What Salesforce holds (SOAP API: Primitive Data Types), in days and
 * microseconds since 2000: the years 1700 to 4000; of their last day a timestamp
 * only the first moment.
 */
#define FIRST_DAY		(-109572)	/* 1700-01-01 */
#define LAST_DAY		730850	/* 4000-12-31 */
#define FIRST_MOMENT	(FIRST_DAY * USECS_PER_DAY)
#define LAST_MOMENT	(LAST_DAY * USECS_PER_DAY)

void
capture_refuse_write(const CaptureTable *table, const CaptureColumn *column,
			 bool creating)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("column \"%s\" of table \"%s\" cannot be %s",
					column->name, relation_label(table->root),
					creating ? "given in a new row" : "changed"),
			 errdetail(creating
					   ? "Salesforce does not let this login set the field when it creates a %s."
					   : "Salesforce does not let this login change the field of a %s.",
					   table->object),
			 creating
			 ? errhint("Leave the column out; its value comes from Salesforce.")
			 : errhint("Its value comes from Salesforce."),
			 relation_error(table->root, column->name)));
}

void
capture_refuse_missing(const CaptureTable *table, const CaptureColumn *column)
{
	ereport(ERROR,
			(errcode(ERRCODE_NOT_NULL_VIOLATION),
			 errmsg("column \"%s\" of table \"%s\" must have a value",
					column->name, relation_label(table->root)),
			 errdetail("Salesforce requires the field of a %s.",
					   table->object),
			 relation_error(table->root, column->name)));
}

static void
refuse_length(const CaptureTable *table, const CaptureColumn *column,
			  int length)
{
	ereport(ERROR,
			(errcode(ERRCODE_STRING_DATA_RIGHT_TRUNCATION),
			 errmsg("value too long for column \"%s\" of table \"%s\"",
					column->name, relation_label(table->root)),
			 errdetail("It has %d characters; Salesforce holds %d.", length,
					   column->max_chars),
			 relation_error(table->root, column->name)));
}

static void
refuse_number(const CaptureTable *table, const CaptureColumn *column,
			  const char *value)
{
	ereport(ERROR,
			(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
			 errmsg("value out of range for column \"%s\" of table \"%s\"",
					column->name, relation_label(table->root)),
			 isdigit((unsigned char) value[0]) || value[0] == '-'
			 ? errdetail("Salesforce holds %d digits before the decimal point.",
						 column->max_digits)
			 : errdetail("Salesforce has no %s.", value),
			 relation_error(table->root, column->name)));
}

static void
check_text(const CaptureTable *table, const CaptureColumn *column, Datum value)
{
	text	   *t = DatumGetTextPP(value);
	int			bytes = VARSIZE_ANY_EXHDR(t);
	int			chars;

	if (bytes <= column->max_chars)
		return;
	chars = pg_mbstrlen_with_len(VARDATA_ANY(t), bytes);
	if (chars > column->max_chars)
		refuse_length(table, column, chars);
}

/* number is the value's text form. */
static void
check_number(const CaptureTable *table, const CaptureColumn *column,
			 const char *number)
{
	const char *digits = number + (number[0] == '-' ? 1 : 0);

	if (!isdigit((unsigned char) digits[0]) ||
		(column->max_digits > 0 &&
		 (int) strspn(digits, "0123456789") > column->max_digits))
		refuse_number(table, column, number);
}

/* Salesforce stores no empty texts: they are nulls there. */
bool
capture_is_empty(const CaptureColumn *column, Datum value, bool null)
{
	return null || (column->type == TEXTOID &&
					VARSIZE_ANY_EXHDR(DatumGetTextPP(value)) == 0);
}

/* The value that a column has when an INSERT does not name it, or as good as that. */
bool
capture_is_default(const CaptureColumn *column, Datum value, bool null)
{
	if (column->type == BOOLOID && !null)
		return DatumGetBool(value) == column->default_true;
	return capture_is_empty(column, value, null);
}

/*
 * Values as JSON
 */

static void
append_json_text(StringInfo buf, Datum value)
{
	char	   *s = TextDatumGetCString(value);

	escape_json(buf, s);
	pfree(s);
}

/*
 * An old value that Salesforce cannot hold never came from there, nor does it go
 * there: any text will do for it.
 */
static void
append_json_output(StringInfo buf, PGFunction output, Datum value)
{
	escape_json(buf, DatumGetCString(DirectFunctionCall1(output, value)));
}

/* what: date, timestamp or time; holds: what Salesforce can. */
static void
refuse_moment(const CaptureTable *table, const CaptureColumn *column,
			  const char *what, const char *holds)
{
	ereport(ERROR,
			(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
			 errmsg("%s out of range for Salesforce: column \"%s\" of table \"%s\"",
					what, column->name, relation_label(table->root)),
			 errdetail("Salesforce holds %s.", holds),
			 relation_error(table->root, column->name)));
}

/* Whole milliseconds in UTC: 2026-01-31T10:00:00.000Z */
static void
append_json_timestamp(StringInfo buf, const CaptureTable *table,
					  const CaptureColumn *column, TimestampTz value,
					  bool check)
{
	struct pg_tm tm;
	fsec_t		fsec;
	bool		fits = !TIMESTAMP_NOT_FINITE(value) &&
		timestamp2tm(value, NULL, &tm, &fsec, NULL, NULL) == 0 &&
		value >= FIRST_MOMENT && value <= LAST_MOMENT;

	if (!fits && check)
		refuse_moment(table, column, "timestamp",
					  "moments from 1700-01-01 00:00 to 4000-12-31 00:00 UTC");
	if (!fits)
		append_json_output(buf, timestamptz_out, TimestampTzGetDatum(value));
	else
		appendStringInfo(buf, "\"%04d-%02d-%02dT%02d:%02d:%02d.%03dZ\"",
						 tm.tm_year, tm.tm_mon, tm.tm_mday, tm.tm_hour,
						 tm.tm_min, tm.tm_sec, (int) (fsec / 1000));
}

static void
append_json_date(StringInfo buf, const CaptureTable *table,
				 const CaptureColumn *column, DateADT value, bool check)
{
	bool		fits = value >= FIRST_DAY && value <= LAST_DAY;
	int			year;
	int			month;
	int			day;

	if (!fits && check)
		refuse_moment(table, column, "date",
					  "dates from 1700-01-01 to 4000-12-31");
	if (!fits)
	{
		append_json_output(buf, date_out, DateADTGetDatum(value));
		return;
	}
	j2date(value + POSTGRES_EPOCH_JDATE, &year, &month, &day);
	appendStringInfo(buf, "\"%04d-%02d-%02d\"", year, month, day);
}

static void
append_json_time(StringInfo buf, const CaptureTable *table,
				 const CaptureColumn *column, TimeADT value, bool check)
{
	int64		ms = value / 1000;

	if (value >= USECS_PER_DAY && check)
		refuse_moment(table, column, "time",
					  "times of day before 24:00");
	appendStringInfo(buf, "\"%02d:%02d:%02d.%03dZ\"", (int) (ms / 3600000),
					 (int) (ms / 60000 % 60), (int) (ms / 1000 % 60),
					 (int) (ms % 1000));
}

static void
append_json_number(StringInfo buf, const CaptureTable *table,
				   const CaptureColumn *column, Datum value, bool check)
{
	char	   *s;

	if (column->type == INT4OID)
		s = DatumGetCString(DirectFunctionCall1(int4out, value));
	else if (column->type == INT8OID)
		s = DatumGetCString(DirectFunctionCall1(int8out, value));
	else
		s = DatumGetCString(DirectFunctionCall1(numeric_out, value));
	if (check)
		check_number(table, column, s);
	if (isdigit((unsigned char) s[0]) || s[0] == '-')
		appendStringInfoString(buf, s);
	else
		escape_json(buf, s);
	pfree(s);
}

/* check: a new value that the org must be able to hold. */
static void
append_json_value(StringInfo buf, const CaptureTable *table,
				  const CaptureColumn *column, Datum value, bool null,
				  bool check)
{
	if (null)
	{
		appendStringInfoString(buf, "null");
		return;
	}
	switch (column->type)
	{
		case TEXTOID:
			if (check && column->max_chars > 0)
				check_text(table, column, value);
			append_json_text(buf, value);
			break;
		case BOOLOID:
			appendStringInfoString(buf, DatumGetBool(value) ? "true" : "false");
			break;
		case INT4OID:
		case INT8OID:
		case NUMERICOID:
			append_json_number(buf, table, column, value, check);
			break;
		case DATEOID:
			append_json_date(buf, table, column, DatumGetDateADT(value),
							 check);
			break;
		case TIMESTAMPTZOID:
			append_json_timestamp(buf, table, column,
								  DatumGetTimestampTz(value), check);
			break;
		case TIMEOID:
			append_json_time(buf, table, column, DatumGetTimeADT(value),
							 check);
			break;
		default:
			ereport(ERROR,
					(errcode(ERRCODE_DATATYPE_MISMATCH),
					 errmsg("column \"%s\" of table \"%s\" has a type that sync does not give to a column",
							column->name, relation_label(table->root)),
					 relation_error(table->root, column->name)));
	}
}

/* Its values mean something else now than Salesforce's field. */
static void
refuse_type(const CaptureTable *table, const CaptureColumn *column)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("column \"%s\" of table \"%s\" was altered and takes no changes: it is of type %s instead of %s",
					column->name, relation_label(table->root),
					format_type_be(column->type),
					format_type_be(column->should_be)),
			 errhint("Undo that by ALTER TABLE, or leave the field out by sync.set(..., 'exclude', ...)."),
			 relation_error(table->root, column->name)));
}

void
capture_append_change(StringInfo buf, const CaptureTable *table,
			  const CaptureColumn *column, Datum old, bool old_null,
			  Datum new, bool new_null)
{
	if (column->type != column->should_be)
		refuse_type(table, column);
	appendStringInfoChar(buf, buf->len == 0 ? '{' : ',');
	appendStringInfoString(buf, column->key);
	appendStringInfoString(buf, ":[");
	append_json_value(buf, table, column, old, old_null, false);
	appendStringInfoChar(buf, ',');
	append_json_value(buf, table, column, new, new_null, true);
	appendStringInfoChar(buf, ']');
}
