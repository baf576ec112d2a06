/*-------------------------------------------------------------------------
 *
 * schema.h
 *	  Creating and changing synced tables.
 *
 * Speaks of columns and PostgreSQL types only; which Salesforce field becomes
 * which column is decided by the bridge (mapping.c).
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_SCHEMA_H
#define SYNC_SCHEMA_H

#include "nodes/pg_list.h"

typedef struct TableColumn
{
	char	   *name;
	char	   *type;			/* SQL text of the type: "text", "numeric" */
	bool		not_null;
	char	   *default_sql;	/* SQL expression; or NULL */
	char	   *comment;		/* or NULL */
} TableColumn;

typedef struct TableSpec
{
	char	   *schema;
	char	   *name;
	char	   *comment;		/* or NULL */
	List	   *columns;		/* of TableColumn *; the first is id */
	bool		takes_writes;	/* local changes go to Salesforce */
} TableSpec;

/*
 * schema_create_table: creates the schema if it is missing and the table, both
 * owned by owner, with the guard triggers (guard.h), without keys and indexes.
 * ERRCODE_DUPLICATE_TABLE, saying what holds the name, if it is taken.
 *
 * A table that takes local writes has a column local_id, provisional ids as the
 * default of id, and the capture triggers (capture.h) instead of the guard's.
 * schema_take_writes: changes a table to the one or the other; the column stays
 * once it is there.
 *
 * schema_release: makes it an ordinary table, without triggers of ours.
 * schema_guard: gives it all of them anew.  These three wait for locks as
 * schema_add_columns does.
 *
 * schema_add_columns, schema_comment: DDL for fields that came later; what is
 * there already stays as it is.  Waits for its lock for three seconds at most,
 * ERRCODE_LOCK_NOT_AVAILABLE then: to be tried again with the next cycle.
 *
 * schema_change_column: another type for a column, its values emptied (to be
 * filled again by the caller).  schema_drop_column: takes a column away, unless
 * something depends on it.
 *
 * schema_build_keys: PRIMARY KEY (id) and one index per name in indexed, what
 * is there already left alone.  Duplicate ids (a page that a broken proxy
 * delivered twice) are removed first where the key needs it; returns how many
 * rows that were.
 *
 * schema_differences: how the table departs from the columns that it should
 * have (a column dropped, renamed or retyped by hand), each a sentence; NIL if
 * it does not.  Columns that users added are no difference, unless NOT NULL
 * without a default.
 *
 * schema_has_records: whether the table has rows, of whatever kind: a local one
 * may be of a record whose id it has not taken yet.
 * schema_count_rows: how many rows it has.
 *
 * schema_drop_table: drops the table; an error names what depends on it.
 *
 * All run with the rights of the table's owner and an empty search_path.
 */
extern Oid	schema_create_table(const TableSpec *spec, Oid owner);
extern void schema_take_writes(Oid relid, bool takes_writes);
extern void schema_release(Oid relid);
extern void schema_guard(Oid relid, bool takes_writes, bool live);
extern void schema_add_columns(Oid relid, List *columns);
extern void schema_change_column(Oid relid, TableColumn *column);
extern void schema_drop_column(Oid relid, const char *column);
extern void schema_comment(Oid relid, const char *column, const char *comment);
extern int64 schema_build_keys(Oid relid, List *indexed);
extern List *schema_differences(Oid relid, List *columns);
extern bool schema_has_records(Oid relid);
extern int64 schema_count_rows(Oid relid);
extern void schema_drop_table(Oid relid);

#endif							/* SYNC_SCHEMA_H */
