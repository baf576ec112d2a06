/*-------------------------------------------------------------------------
 *
 * rows.h
 *	  Returning rows from a SQL function, the same way in all versions.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_ROWS_H
#define SYNC_ROWS_H

#include "fmgr.h"
#include "funcapi.h"
#include "utils/tuplestore.h"

typedef struct RowsOut
{
	Tuplestorestate *store;
	TupleDesc	desc;
} RowsOut;

/*
 * rows_begin: prepares a materialized result of the function's declared row
 * type (or of the one scalar type it returns).
 * rows_add: one row of datums; rows_add_texts: one row from the text forms of
 * its values, NULL for null.
 */
extern RowsOut *rows_begin(FunctionCallInfo fcinfo);
extern void rows_add(RowsOut *out, Datum *values, bool *nulls);
extern void rows_add_texts(RowsOut *out, const char *const *values);

#endif							/* SYNC_ROWS_H */
