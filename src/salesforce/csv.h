/*-------------------------------------------------------------------------
 *
 * csv.h
 *	  CSV as Bulk results come, on its way to COPY or read value by value; and
 *	  written as they do.
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

/*
 * Appends a value as it is, or with quotes where it needs them: a delimiter, a
 * quote, a line end, or a blank at either end.
 */
extern void csv_append(StringInfo buf, const char *value);

/*
 * Reading records one after the other, with their values, in the memory of the
 * largest.  read copies up to max bytes, 0 at the end.  csv_reader_next: false
 * at the end, an ERROR where the text ends inside quotes.  NULs and empty
 * lines are left out.  Everything is allocated in the context that was current
 * at csv_reader_create.
 */
typedef int (*CsvRead) (void *arg, char *buf, int max);

typedef struct CsvReader
{
	CsvRead		read;
	void	   *arg;
	char	   *piece;			/* what was read and not yet taken */
	int			at;
	int			end;
	StringInfoData text;		/* the values, each with a NUL behind it */
	int		   *starts;			/* of the values in text */
	char	  **values;			/* the same as pointers */
	int			nvalues;
	int			space;			/* of both arrays */
} CsvReader;

extern CsvReader *csv_reader_create(CsvRead read, void *arg);
extern bool csv_reader_next(CsvReader *reader);

#endif							/* SYNC_CSV_H */
