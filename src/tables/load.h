/*-------------------------------------------------------------------------
 *
 * load.h
 *	  Rows from a source into a table, by the server's own COPY.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_LOAD_H
#define SYNC_LOAD_H

#include "nodes/pg_list.h"
#include "row_source.h"

/* A row that PostgreSQL would not take. */
typedef struct RefusedRow
{
	char	   *id;				/* Salesforce id; NULL if that is unusable too */
	char		sqlstate[6];
	char	   *message;
	char	   *detail;			/* or NULL */
} RefusedRow;

/*
 * load_rows: COPYs a source into relid's columns (List of char *, in the
 * source's order; the first is id), and returns how many rows went in.  Runs in
 * the caller's transaction, in a subtransaction of its own.
 *
 * If COPY refuses a row (any error of the classes 22 and 23, or raised by a
 * user's trigger), the source is read again, carefully: into text first, then
 * cast and inserted in ranges that are halved around each row that fails, so
 * that only that row is set aside, into *refused (List of RefusedRow *,
 * appended; allocated in the caller's context).  A NULL in a boolean column is
 * false.  Bytes that are not UTF-8 set their row aside, too.  Any other error
 * (connection, cancel, disk full) is passed on.
 *
 * With apply = true rows are written as by apply_begin (guard.h); without, as
 * the current user (stages).
 */
extern int64 load_rows(Oid relid, List *columns, RowSource *source,
					   bool apply, List **refused);

#endif							/* SYNC_LOAD_H */
