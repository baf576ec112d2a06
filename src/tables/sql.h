/*-------------------------------------------------------------------------
 *
 * sql.h
 *	  Running SQL with typed parameters: on the extension's own tables, or on
 *	  a synced one.
 *
 * Statements run between sql_begin and sql_end: SPI is connected, and
 * search_path is safe (rights.h), so that nobody's operators, functions or types
 * are picked up.
 *
 * After sql_begin the user is the owner of the extension's tables, who is a
 * superuser, and callers need no rights on them.  So these statements must not
 * name a synced table or a stage: the planner alone runs code that their owner
 * wrote (expressions of indexes and statistics).  Those are for sql_begin_on,
 * and what one kind of statement found goes to the other in arrays.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_SQL_H
#define SYNC_SQL_H

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

#include "rights.h"

typedef struct SqlScope
{
	Rights		rights;			/* the caller's */
	bool		pushed_snapshot;
	bool		latest;
	MemoryContext caller;		/* results are copied here */
} SqlScope;

/*
 * sql_begin needs an open transaction.  On error, transaction or
 * subtransaction abort undoes what sql_end would have undone.
 * sql_begin_on: as the owner of this table, in a security-restricted operation,
 * for statements on it and on its stage.
 * sql_begin_latest: statements that only read see what others have committed
 * until now, also in a REPEATABLE READ transaction (for what background workers
 * report back).
 */
extern void sql_begin(SqlScope *scope);
extern void sql_begin_on(SqlScope *scope, Oid relid);
extern void sql_begin_latest(SqlScope *scope);
extern void sql_end(SqlScope *scope);

/*
 * For statements of this scope that join tables which are full at one moment
 * and empty at the next (the outbox, a stage), and arrays whose length the
 * planner does not know: whatever it believes, it shall not compare each with
 * each.
 */
extern void sql_avoid_nested_loops(SqlScope *scope);

/*
 * For statements of this scope on tables whose rows come and go.  A plan that
 * was made while such a table was empty reads all of it, and is kept.  And most
 * of what it holds later are rows that are gone, until it is vacuumed: index
 * scans mark what leads to those, and the next ones pass it over; others look at
 * each of them every time.
 */
extern void sql_prefer_indexes(SqlScope *scope);

/*
 * Runs one statement; types has one letter for each parameter that follows:
 *	t  const char *, NULL = null	n  the same, as name
 *	b  bool							i  int32
 *	l  int64						o  Oid
 *	z  TimestampTz, 0 = null		T  List of char *, as text[]; NIL = null
 *	L  TimestampTz as is			S  const int64 *, int: an int8[]
 * Returns the number of rows processed or returned.
 */
extern uint64 sql_run(SqlScope *scope, const char *statement,
					  const char *types,...);

/*
 * Columns (from 1) of the rows that the latest sql_run returned, in the
 * caller's memory; sql_texts: the first column of all n rows, NULL for null.
 */
extern char *sql_text(SqlScope *scope, uint64 row, int column);
extern bool sql_bool(SqlScope *scope, uint64 row, int column);
extern int64 sql_int(SqlScope *scope, uint64 row, int column);
extern TimestampTz sql_time(SqlScope *scope, uint64 row, int column);
extern List *sql_texts(SqlScope *scope, uint64 n);
extern List *sql_list(SqlScope *scope, uint64 row, int column);
extern bool sql_is_null(SqlScope *scope, uint64 row, int column);

#endif							/* SYNC_SQL_H */
