/*-------------------------------------------------------------------------
 *
 * relation.h
 *	  A synced table by its OID: names for SQL and for people, its owner, and
 *	  statements on it.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_RELATION_H
#define SYNC_RELATION_H

#include "nodes/pg_list.h"

/*
 * relation_sql: schema.table quoted for SQL.  relation_label: schema.table as
 * it is, for messages.  Both raise ERRCODE_UNDEFINED_TABLE when it is gone.
 *
 * relation_error: within ereport, the error's fields schema, table and column
 * (NULL: of the table as a whole), by which drivers tell what was refused.
 *
 * relation_rows: the same for SELECT, UPDATE and DELETE: partitions are parts of
 * the table, but rows of tables that inherit from it otherwise are not
 * Salesforce's.
 *
 * relation_false_columns: for each of the columns (List of char *), whether it
 * is a boolean that is NOT NULL: it holds false for what Salesforce sends as
 * nothing.
 *
 * relation_run: runs statements as the current user and returns the rows that
 * the last of them processed; relation_run_args with parameters.
 * relation_number, relation_texts: the first column of the first row, or of
 * all rows (in the caller's memory), that a query returned.
 */
extern char *relation_sql(Oid relid);
extern char *relation_rows(Oid relid);
extern char *relation_label(Oid relid);
extern int	relation_error(Oid relid, const char *column);
extern Oid	relation_owner(Oid relid);
extern bool *relation_false_columns(Oid relid, List *columns);

extern uint64 relation_run(const char *sql);
extern uint64 relation_run_args(const char *sql, int nargs, Oid *types,
								Datum *values);
extern int64 relation_number(const char *sql);
extern List *relation_texts(const char *sql, int nargs, Oid *types,
							Datum *values);

#endif							/* SYNC_RELATION_H */
