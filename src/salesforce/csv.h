/*-------------------------------------------------------------------------
 *
 * csv.h
 *	  CSV as Bulk results come, on its way to COPY; and written as they do.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_CSV_H
#define SYNC_CSV_H

#include "lib/stringinfo.h"
#include "nodes/pg_list.h"

/* One page, however it is cut into pieces.  Private to csv.c but records. */
typedef struct CsvPage
{
	List	   *fields;			/* what the header line must name */
	StringInfoData header;		/* as much of it as has come */
	bool		header_done;
	bool		quoted;			/* the next byte is inside quotes */
	bool		in_record;		/* the last record has no line end yet */
	int64		records;		/* that have ended */
} CsvPage;

/* csv_begin allocates in CurrentMemoryContext, which must last. */
extern void csv_begin(CsvPage *page, List *fields);
extern void csv_restart(CsvPage *page);

/*
 * Takes the header line and NUL bytes out of a piece of the page, in place,
 * and counts records; returns what is left of len.  A header line that does
 * not name the fields in their order is an ERROR.
 */
extern int	csv_filter(CsvPage *page, char *buf, int len);

/* After the last piece: false if it ended inside a quoted value. */
extern bool csv_end(CsvPage *page);

/* Appends a value with quotes around it. */
extern void csv_append_quoted(StringInfo buf, const char *value);

#endif							/* SYNC_CSV_H */
