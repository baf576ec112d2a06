/*-------------------------------------------------------------------------
 *
 * records.c
 *	  The records of a row source, some thousands at a time, in memory.
 *
 * When COPY refuses rows, they have to be told apart without trusting them:
 * they may hold bytes that are no text, too many or too few values, or an open
 * quote.  So the only thing read here is where a record ends, and that by
 * COPY's own rule for CSV (a quote anywhere switches between inside and
 * outside; a line feed outside ends the record), and each record goes on to
 * COPY as it came.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/memutils.h"

#include "tables/records.h"

/*
 * How much is in memory at once.  Larger lots need fewer COPYs while all goes
 * well, smaller ones fewer to find the record that does not.
 */
#define LOT_RECORDS		4096
#define LOT_BYTES		(4 * 1024 * 1024)

/*
 * A record of Salesforce's is far below this: longer ones come from a quote
 * that nobody closed.
 */
#define RECORD_BYTES	(64 * 1024 * 1024)

#define INPUT_BYTES		(64 * 1024)

/* Longer than any id. */
#define ID_BYTES		64

struct Records
{
	RowSource	chosen;			/* first: what records_choose hands out */
	int			chosen_at;		/* its next byte in the lot */
	int			chosen_start;
	int			chosen_end;

	RowSource  *source;
	int			ncolumns;
	const bool *false_columns;

	char	   *input;			/* what the source gave last */
	int			input_at;
	int			input_end;
	bool		at_end;

	StringInfoData lot;
	int			starts[LOT_RECORDS + 1];	/* offsets in lot; and its end */
	int			nrecords;

	/* The record that is being read. */
	bool		quoted;
	int			column;
	int			value_start;	/* offset in lot */
};

static int
read_chosen(RowSource *source, void *outbuf, int minread, int maxread)
{
	Records    *records = (Records *) source;
	int			n = Min(maxread, records->chosen_end - records->chosen_at);

	memcpy(outbuf, records->lot.data + records->chosen_at, n);
	records->chosen_at += n;
	return n;
}

static void
rewind_chosen(RowSource *source)
{
	Records    *records = (Records *) source;

	records->chosen_at = records->chosen_start;
}

Records *
records_create(RowSource *source, int ncolumns, const bool *false_columns)
{
	Records    *records = palloc0(sizeof(Records));

	records->chosen.read = read_chosen;
	records->chosen.rewind = rewind_chosen;
	records->source = source;
	records->ncolumns = ncolumns;
	records->false_columns = false_columns;
	records->input = palloc(INPUT_BYTES);
	initStringInfo(&records->lot);
	return records;
}

RowSource *
records_choose(Records *records, int first, int last)
{
	records->chosen_start = records->starts[first];
	records->chosen_end = records->starts[last];
	records->chosen_at = records->chosen_start;
	return &records->chosen;
}

/* Ends the value at the end of the lot; puts false where that is asked for. */
static void
end_value(Records *records)
{
	StringInfo	lot = &records->lot;
	char	   *value = lot->data + records->value_start;
	int			length = lot->len - records->value_start;
	bool		cr = length > 0 && value[length - 1] == '\r';

	if (records->column < records->ncolumns &&
		records->false_columns[records->column])
	{
		length -= cr;
		if (length == 0 || (length == 2 && value[0] == '"' && value[1] == '"'))
		{
			lot->len = records->value_start;
			appendStringInfoString(lot, cr ? "f\r" : "f");
		}
	}
	records->column++;
}

static void
end_record(Records *records)
{
	records->starts[++records->nrecords] = records->lot.len;
	records->column = 0;
	records->quoted = false;
	records->value_start = records->lot.len;
}

/* A lot ends where a record does. */
static bool
lot_is_full(const Records *records)
{
	return records->nrecords == LOT_RECORDS ||
		(records->lot.len >= LOT_BYTES &&
		 records->lot.len == records->starts[records->nrecords]);
}

/* Takes what has been read, up to the end of a record that fills the lot. */
static void
take_input(Records *records)
{
	StringInfo	lot = &records->lot;

	while (records->input_at < records->input_end && !lot_is_full(records))
	{
		char		c = records->input[records->input_at++];

		if (c == '"')
			records->quoted = !records->quoted;
		else if (!records->quoted && (c == ',' || c == '\n'))
			end_value(records);

		appendStringInfoCharMacro(lot, c);
		if (!records->quoted && c == ',')
			records->value_start = lot->len;
		else if (!records->quoted && c == '\n')
			end_record(records);
	}
}

static bool
read_input(Records *records)
{
	int			n;

	CHECK_FOR_INTERRUPTS();
	n = records->source->read(records->source, records->input, 1, INPUT_BYTES);
	records->input_at = 0;
	records->input_end = n;
	records->at_end = n == 0;
	return n > 0;
}

static void
check_length(const Records *records)
{
	if (records->lot.len - records->starts[records->nrecords] > RECORD_BYTES)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a record is longer than %d MB",
						RECORD_BYTES / (1024 * 1024)),
				 errdetail("Its first value is \"%s\". A quote may not have been closed.",
						   records_id(records, records->nrecords) ?
						   records_id(records, records->nrecords) : "")));
}

int
records_next(Records *records)
{
	resetStringInfo(&records->lot);
	records->nrecords = 0;
	records->starts[0] = 0;
	records->value_start = 0;

	while (!lot_is_full(records))
	{
		if (records->input_at == records->input_end &&
			(records->at_end || !read_input(records)))
			break;
		take_input(records);
		check_length(records);
	}

	/* The last record may lack its line feed. */
	if (records->at_end &&
		records->lot.len > records->starts[records->nrecords])
	{
		if (!records->quoted)
			end_value(records);
		end_record(records);
	}
	return records->nrecords;
}

char *
records_id(const Records *records, int record)
{
	const char *start = records->lot.data + records->starts[record];
	const char *end = records->lot.data + records->lot.len;
	const char *c;

	if (start < end && *start == '"')
		start++;
	for (c = start; c < end && *c != '"' && *c != ',' && *c != '\r' &&
		 *c != '\n'; c++)
	{
		if (*c <= ' ' || *c > '~' || c - start >= ID_BYTES)
			return NULL;
	}
	return c == start ? NULL : pnstrdup(start, c - start);
}
