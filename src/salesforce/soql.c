/*-------------------------------------------------------------------------
 *
 * soql.c
 *	  Writing SOQL, and reading the date and time texts of the API.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <ctype.h>

#include "utils/datetime.h"
#include "utils/timestamp.h"

#include "id.h"
#include "soql.h"
#include "text.h"

/* Datetimes that Salesforce stores. */
#define FIRST_YEAR 1700
#define LAST_YEAR 4000

/*
 * Escapes are the documented ones only: a backslash before any other character
 * is an error in SOQL.
 */
char *
soql_string(const char *value)
{
	StringInfoData buf;
	const char *p;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '\'');
	for (p = value; *p != '\0'; p++)
	{
		static const char plain[] = "\n\r\t\b\f'\\";
		static const char escaped[] = "nrtbf'\\";
		const char *at = strchr(plain, *p);

		if (at != NULL)
		{
			appendStringInfoChar(&buf, '\\');
			appendStringInfoChar(&buf, escaped[at - plain]);
		}
		else if ((unsigned char) *p < ' ')
			appendStringInfo(&buf, "\\u%04X", (unsigned char) *p);
		else
			appendStringInfoChar(&buf, *p);
	}
	appendStringInfoChar(&buf, '\'');
	return buf.data;
}

char *
soql_datetime(TimestampTz value)
{
	struct pg_tm tm;
	fsec_t		fsec;

	if (TIMESTAMP_NOT_FINITE(value) ||
		timestamp2tm(value, NULL, &tm, &fsec, NULL, NULL) != 0 ||
		tm.tm_year < FIRST_YEAR || tm.tm_year > LAST_YEAR)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp is out of the range of Salesforce"),
				 errdetail("Salesforce stores the years %d to %d.",
						   FIRST_YEAR, LAST_YEAR)));
	return psprintf("%04d-%02d-%02dT%02d:%02d:%02dZ", tm.tm_year, tm.tm_mon,
					tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

/* Reads exactly n digits; false if they are not there. */
static bool
read_digits(const char **p, int n, int *value)
{
	*value = 0;
	while (n-- > 0)
	{
		if (!isdigit((unsigned char) **p))
			return false;
		*value = *value * 10 + (*(*p)++ - '0');
	}
	return true;
}

static bool
read_char(const char **p, char c)
{
	if (**p != c)
		return false;
	(*p)++;
	return true;
}

/* ".000", as many digits as there are, into microseconds. */
static bool
read_fraction(const char **p, fsec_t *fsec)
{
	int			unit = 100000;

	*fsec = 0;
	if (!read_char(p, '.'))
		return true;
	if (!isdigit((unsigned char) **p))
		return false;
	while (isdigit((unsigned char) **p))
	{
		*fsec += (*(*p)++ - '0') * unit;
		unit /= 10;
	}
	return true;
}

/* "Z", "+0000" or "+00:00", into seconds east of Greenwich. */
static bool
read_offset(const char **p, int *offset)
{
	int			sign = **p == '-' ? -1 : 1;
	int			hours;
	int			minutes;

	*offset = 0;
	if (read_char(p, 'Z'))
		return true;
	if (!read_char(p, '+') && !read_char(p, '-'))
		return false;
	if (!read_digits(p, 2, &hours))
		return false;
	(void) read_char(p, ':');
	if (!read_digits(p, 2, &minutes))
		return false;
	*offset = sign * (hours * SECS_PER_HOUR + minutes * SECS_PER_MINUTE);
	return true;
}

static bool
read_datetime(const char *p, struct pg_tm *tm, fsec_t *fsec, int *offset)
{
	memset(tm, 0, sizeof(*tm));
	return read_digits(&p, 4, &tm->tm_year) && read_char(&p, '-') &&
		read_digits(&p, 2, &tm->tm_mon) && read_char(&p, '-') &&
		read_digits(&p, 2, &tm->tm_mday) && read_char(&p, 'T') &&
		read_digits(&p, 2, &tm->tm_hour) && read_char(&p, ':') &&
		read_digits(&p, 2, &tm->tm_min) && read_char(&p, ':') &&
		read_digits(&p, 2, &tm->tm_sec) && read_fraction(&p, fsec) &&
		read_offset(&p, offset) && *p == '\0';
}

static bool
is_date_and_time(const struct pg_tm *tm)
{
	return tm->tm_year >= 1 && tm->tm_mon >= 1 && tm->tm_mon <= 12 &&
		tm->tm_mday >= 1 &&
		tm->tm_mday <= day_tab[isleap(tm->tm_year)][tm->tm_mon - 1] &&
		tm->tm_hour <= 23 && tm->tm_min <= 59 && tm->tm_sec <= 60;
}

TimestampTz
soql_parse_datetime(const char *text)
{
	struct pg_tm tm;
	fsec_t		fsec;
	int			offset;
	Timestamp	value;

	if (!read_datetime(text, &tm, &fsec, &offset) ||
		!is_date_and_time(&tm) ||
		tm2timestamp(&tm, fsec, NULL, &value) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_DATETIME_FORMAT),
				 errmsg("\"%s\" is not a datetime of the Salesforce API",
						foreign_text(text))));
	return value - offset * USECS_PER_SEC;
}

/* Letters, digits, _ and the dot of a path: nothing that could be more. */
static const char *
checked_name(const char *name)
{
	const char *p;

	for (p = name; *p != '\0'; p++)
		if (!isalnum((unsigned char) *p) && *p != '_' && *p != '.')
			break;
	if (*p != '\0' || p == name || !isalpha((unsigned char) *name))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_NAME),
				 errmsg("\"%s\" is not a name in Salesforce",
						foreign_text(name))));
	return name;
}

char *
soql_select(List *fields, const char *object, List *conditions,
			const char *order, int limit)
{
	StringInfoData buf;
	const char *separator = "SELECT ";
	ListCell   *lc;

	initStringInfo(&buf);
	foreach(lc, fields)
	{
		appendStringInfo(&buf, "%s%s", separator,
						 checked_name((const char *) lfirst(lc)));
		separator = ", ";
	}
	appendStringInfo(&buf, " FROM %s", checked_name(object));
	separator = " WHERE ";
	foreach(lc, conditions)
	{
		if (lfirst(lc) == NULL)
			continue;
		appendStringInfo(&buf, "%s(%s)", separator,
						 (const char *) lfirst(lc));
		separator = " AND ";
	}
	if (order != NULL)
		appendStringInfo(&buf, " ORDER BY %s", order);
	if (limit > 0)
		appendStringInfo(&buf, " LIMIT %d", limit);
	return buf.data;
}

char *
soql_id_in(List *ids)
{
	StringInfoData buf;
	const char *separator = "Id IN (";
	ListCell   *lc;

	Assert(ids != NIL);
	initStringInfo(&buf);
	foreach(lc, ids)
	{
		const char *id = (const char *) lfirst(lc);

		if (!id_is_valid(id))
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("\"%s\" is not a Salesforce id",
							foreign_text(id))));
		appendStringInfo(&buf, "%s'%s'", separator, id);
		separator = ",";
	}
	appendStringInfoChar(&buf, ')');
	return buf.data;
}
