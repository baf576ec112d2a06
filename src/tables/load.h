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
	char	   *column;			/* to blame, where it is known; or NULL */
} RefusedRow;

/*
 * load_rows: COPYs a source into relid's columns (List of char *, in the
 * source's order; the first is id), and returns how many rows went in.  Runs in
 * the caller's transaction, in a subtransaction of its own, as the owner of
 * the table; the source is read as the caller.  Not nestable.
 *
 * If COPY refuses a row (an error that a row can cause: classes 22 and 23, what
 * a user's trigger raises, and the like), the source is read again, carefully:
 * a few thousand records at a time, each lot by a COPY of its own, halved around
 * each record that fails, so that only that record is set aside, into *refused
 * (List of RefusedRow *, appended; allocated in the caller's context).  A NULL
 * in a boolean column that is NOT NULL is false then.  Bytes that are not UTF-8
 * and records with too many or too few values set their row aside, too.  Any
 * other error (connection, cancel, disk full), and any error of the source's
 * own, is passed on.
 *
 * With apply = true rows are written as by apply_begin (guard.h); without,
 * unmarked (stages).
 *
 * refused_row: such a row from the error that it met.  refused_locked: one that
 * somebody else has locked, naming the process.  refused_waiting: from any error;
 * if it is that of a lock, naming who has it, whatever it is.
 */
extern int64 load_rows(Oid relid, List *columns, RowSource *source,
					   bool apply, List **refused);
extern RefusedRow *refused_locked(Oid relid, const char *id);
extern RefusedRow *refused_waiting(Oid relid, const char *id,
								   const ErrorData *error);
extern RefusedRow *refused_row(const char *id, const ErrorData *error);

#endif							/* SYNC_LOAD_H */
