/*-------------------------------------------------------------------------
 *
 * csv.c
 *	  CSV as Bulk results come, on its way to COPY or read value by value; and
 *	  written as they do.
 *
 * Where COPY reads, it parses the values.  What it cannot know is done here on the bytes that
 * pass by: each result page begins with a header line of its own, values may
 * hold NULs, and a body that was cut at the end of a row looks complete, so
 * that the records have to be counted.  Line ends inside quotes are no
 * records; whether one is inside follows from the number of quotes before it,
 * since a quote inside a value is doubled.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "../compat.h"
#include "csv.h"
#include "text.h"
#include "origin.h"

/* 800 columns with names of 80 characters take 64 kB. */
#define MAX_HEADER (1024 * 1024)

/* A record has 400,000 characters at the most (Bulk API 2.0: Limits). */
#define MAX_RECORD (16 * 1024 * 1024)
#define PIECE_SIZE (16 * 1024)

/* What next_byte returns at the end. */
#define NO_BYTE (-1)

void
csv_begin(CsvPage *page, List *fields)
{
	memset(page, 0, sizeof(*page));
	page->fields = fields;
	initStringInfo(&page->header);
}

void
csv_restart(CsvPage *page)
{
	resetStringInfo(&page->header);
	page->header_done = false;
	page->quoted = false;
	page->in_record = false;
	page->records = 0;
}

/*
 * Whether the number of quotes is odd, eight bytes at a time: every value is
 * quoted, so stopping at each of them would cost as much as a tenth of COPY.
 */
static bool
odd_quotes(const char *p, Size len)
{
	const uint64 low = UINT64CONST(0x7F7F7F7F7F7F7F7F);
	const uint64 quotes = UINT64CONST(0x2222222222222222);
	uint64		odd = 0;
	bool		result = false;

	for (; len >= sizeof(uint64); p += sizeof(uint64), len -= sizeof(uint64))
	{
		uint64		word;

		memcpy(&word, p, sizeof(word));
		word ^= quotes;
		/* The highest bit of each byte that is zero now. */
		odd ^= ~(((word & low) + low) | word | low);
	}
	for (; len > 0; p++, len--)
		result ^= *p == '"';
	odd ^= odd >> 32;
	odd ^= odd >> 16;
	odd ^= odd >> 8;
	return result ^ ((odd >> 7) & 1);
}

static void
count_records(CsvPage *page, const char *p, Size len)
{
	const char *end = p + len;
	const char *newline;

	if (len == 0)
		return;
	while ((newline = memchr(p, '\n', end - p)) != NULL)
	{
		page->quoted ^= odd_quotes(p, newline - p);
		if (!page->quoted)
			page->records++;
		p = newline + 1;
	}
	page->quoted ^= odd_quotes(p, end - p);
	page->in_record = p < end || page->quoted;
}

/* Closes the gaps that NULs leave; there are none in nearly every piece. */
static int
strip_nuls(char *buf, int len)
{
	char	   *end = buf + len;
	char	   *to = memchr(buf, '\0', len);
	const char *from;

	if (to == NULL)
		return len;
	for (from = to; from < end; from++)
		if (*from != '\0')
			*to++ = *from;
	return to - buf;
}

/* The next name of a header line; advances *line past it and its comma. */
static char *
next_name(char **line)
{
	char	   *p = *line;
	char	   *out = p;
	char	   *name = p;
	bool		quoted = false;

	for (; *p != '\0' && (quoted || *p != ','); p++)
	{
		if (*p != '"')
			*out++ = *p;
		else if (quoted && p[1] == '"')
			*out++ = *p++;
		else
			quoted = !quoted;
	}
	*line = *p == ',' ? p + 1 : p;
	*out = '\0';
	return name;
}

pg_noreturn static void
raise_header(const char *expected, const char *found)
{
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_COLUMN_NAME),
			 errmsg("result of Salesforce has other columns than were asked for"),
			 errdetail("Expected \"%s\", found \"%s\".", expected,
					   foreign_text(found))));
}

/* The line without its end; a byte order mark is tolerated. */
static void
check_header(CsvPage *page)
{
	char	   *line = page->header.data;
	int			len = page->header.len;
	ListCell   *lc;

	while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r'))
		line[--len] = '\0';
	if (strncmp(line, "\xEF\xBB\xBF", 3) == 0)
		line += 3;
	foreach(lc, page->fields)
	{
		const char *expected = (const char *) lfirst(lc);
		const char *name = next_name(&line);

		if (pg_strcasecmp(name, expected) != 0)
			raise_header(expected, name);
	}
	if (*line != '\0')
		raise_header("", line);
	page->header_done = true;
}

/* Takes what belongs to the header line; returns how many bytes that were. */
static int
take_header(CsvPage *page, const char *buf, int len)
{
	int			i;

	for (i = 0; i < len; i++)
	{
		if (buf[i] == '"')
			page->quoted = !page->quoted;
		else if (buf[i] == '\n' && !page->quoted)
			break;
	}
	if (page->header.len + i > MAX_HEADER)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("result of Salesforce has no header line")));
	appendBinaryStringInfo(&page->header, buf, i);
	if (i == len)
		return len;
	check_header(page);
	return i + 1;
}

int
csv_filter(CsvPage *page, char *buf, int len)
{
	len = strip_nuls(buf, len);
	if (!page->header_done)
	{
		int			taken = take_header(page, buf, len);

		len -= taken;
		memmove(buf, buf + taken, len);
	}
	if (page->header_done)
		count_records(page, buf, len);
	return len;
}

bool
csv_end(CsvPage *page)
{
	if (page->quoted)
		return false;
	/* A page without rows is a header line, ended or not, or nothing. */
	if (!page->header_done && page->header.len > 0)
		check_header(page);
	if (page->in_record)
		page->records++;
	page->in_record = false;
	return true;
}

void
csv_append_quoted(StringInfo buf, const char *value)
{
	const char *quote;

	appendStringInfoChar(buf, '"');
	while ((quote = strchr(value, '"')) != NULL)
	{
		appendBinaryStringInfo(buf, value, quote - value + 1);
		appendStringInfoChar(buf, '"');
		value = quote + 1;
	}
	appendStringInfoString(buf, value);
	appendStringInfoChar(buf, '"');
}

void
csv_append(StringInfo buf, const char *value)
{
	size_t		len = strlen(value);

	if (strpbrk(value, ",\"\r\n") != NULL ||
		(len > 0 && ((unsigned char) value[0] <= ' ' ||
					 (unsigned char) value[len - 1] <= ' ')))
		csv_append_quoted(buf, value);
	else
		appendBinaryStringInfo(buf, value, len);
}

/* ------------------------------------------------------------------------
 * Reading values
 * ------------------------------------------------------------------------
 */

CsvReader *
csv_reader_create(CsvRead read, void *arg)
{
	CsvReader  *reader = palloc0(sizeof(CsvReader));

	reader->read = read;
	reader->arg = arg;
	reader->piece = palloc(PIECE_SIZE);
	initStringInfo(&reader->text);
	reader->space = 32;
	reader->starts = palloc(reader->space * sizeof(int));
	reader->values = palloc(reader->space * sizeof(char *));
	return reader;
}

/* The next byte that is no NUL, which is left to be taken by at++. */
static inline int
peek_byte(CsvReader *reader)
{
	for (;;)
	{
		while (reader->at < reader->end)
		{
			if (reader->piece[reader->at] != '\0')
				return (unsigned char) reader->piece[reader->at];
			reader->at++;
		}
		reader->at = 0;
		reader->end = reader->read(reader->arg, reader->piece, PIECE_SIZE);
		if (reader->end == 0)
			return NO_BYTE;
	}
}

static inline int
next_byte(CsvReader *reader)
{
	int			c = peek_byte(reader);

	if (c != NO_BYTE)
		reader->at++;
	return c;
}

static void
begin_value(CsvReader *reader)
{
	if (reader->nvalues == reader->space)
	{
		reader->space *= 2;
		reader->starts = repalloc(reader->starts,
								  reader->space * sizeof(int));
		reader->values = repalloc(reader->values,
								  reader->space * sizeof(char *));
	}
	reader->starts[reader->nvalues++] = reader->text.len;
	if (reader->text.len > MAX_RECORD)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a record in a result of Salesforce is too long")));
}

/* The rest of a quoted piece of a value, whose opening quote was taken. */
static void
read_quoted(CsvReader *reader)
{
	for (;;)
	{
		int			c = next_byte(reader);

		if (c == NO_BYTE)
			ereport(ERROR,
					(errcode(ERRCODE_CONNECTION_FAILURE),
					 errmsg("result of Salesforce is not complete"),
					 errdetail("It ends inside a value.")));
		if (c == '"')
		{
			if (peek_byte(reader) != '"')
				return;
			reader->at++;
		}
		appendStringInfoCharMacro(&reader->text, (char) c);
	}
}

/* A value; returns what ended it: a comma, a line end, or the end of all. */
static int
read_value(CsvReader *reader)
{
	int			c;

	begin_value(reader);
	while ((c = next_byte(reader)) != NO_BYTE && c != ',' && c != '\n')
	{
		if (c == '"')
			read_quoted(reader);
		else if (c != '\r')
			appendStringInfoCharMacro(&reader->text, (char) c);
	}
	appendStringInfoChar(&reader->text, '\0');
	return c;
}

bool
csv_reader_next(CsvReader *reader)
{
	int			c;
	int			i;

	while ((c = peek_byte(reader)) == '\n' || c == '\r')
		reader->at++;
	if (c == NO_BYTE)
		return false;
	resetStringInfo(&reader->text);
	reader->nvalues = 0;
	while (read_value(reader) == ',')
		;
	for (i = 0; i < reader->nvalues; i++)
		reader->values[i] = reader->text.data + reader->starts[i];
	return true;
}
