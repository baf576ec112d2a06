/*-------------------------------------------------------------------------
 *
 * merge.h
 *	  Changed rows into a live table: stage, drop what is unchanged, merge.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_MERGE_H
#define SYNC_MERGE_H

#include "datatype/timestamp.h"

#include "load.h"

typedef struct Stage
{
	Oid			relid;			/* the synced table */
	Oid			stage;			/* the temporary table */
	List	   *columns;		/* of char *: id first, as in the synced table */
	char	   *stamp;			/* column that tells older from newer */
	bool		has_isdeleted;	/* "isdeleted" is one of the columns */
	List	   *audit;			/* of char *: of the columns those that tell
								 * only who changed a record and when; set by
								 * the caller, see merge_stage */
	bool		prepared;		/* has statistics, and each id once */
	bool		overwrites;		/* its rows count, whatever the table's stamps
								 * say; set by the caller, for a table that may
								 * have been written to by others */
	bool		audit_alone;	/* there may be rows in which only audit
								 * columns differ */
} Stage;

typedef struct MergeCounts
{
	int64		inserted;
	int64		updated;
	int64		deleted;
	int64		skipped;		/* unchanged but for audit columns, or older
								 * than what is there */
	int64		failed;
} MergeCounts;

/*
 * stage_create: a temporary table with the given columns of relid, types the
 * same.  If "isdeleted" is among them it tells which rows are deleted (SOQL can
 * select IsDeleted only once, so there is no column apart).  The struct is in
 * the caller's memory; the table survives the transaction (a stage is loaded
 * in one that may wait for the network, and merged in another that does not),
 * until stage_drop or the next stage_create: there is one at a time.
 *
 * stage_load: rows of a source into the stage, columns in the stage's order.
 * Returns the number of rows; refused as in load.h.  May be called repeatedly.
 *
 * stage_ids: the ids in a stage (List of char *), of these or, with NIL, all of
 * them.  stage_remove: takes rows out of it.  stage_count: how many different
 * ids there are.
 *
 * stage_drop_same: takes out what the table has already, and returns how much
 * that was.  For tables that others write to: what is no longer in the stage
 * cannot overwrite what they write before the merge.  Whoever gives staged rows
 * values of the table's after that sets audit_alone.
 *
 * merge_stage: applies the stage to the table as its owner (guard.h):
 *	- rows with isdeleted = true are deleted, or with mark = true updated like
 *	  others; in neither case are they inserted;
 *	- rows equal in all columns, and rows with an older stamp than the table's,
 *	  are skipped by a join, and cost no lock, no write and no WAL;
 *	- the rest is updated or inserted.  Where the stage names audit columns, a
 *	  row in which nothing else differs has those alone updated and counts as
 *	  skipped: so does what we sent when it comes back.
 * If the whole fails with an error that one row can cause (attempt.c), ranges
 * of ids are halved around it and the single rows set aside into *refused.  An
 * id that stands in the stage twice counts once, with its newest stamp, and of
 * equal stamps the row that was loaded last.  Adds to *counts, as do the
 * others; rows that were only marked count as updated.
 *
 * merge_delete_ids: deletes (or marks) rows by id, those whose stamp is not
 * newer than the moment given with each id (0 = whatever the stamp); ids not
 * there are no error.  moments: TimestampTz array parallel to ids, or NULL.
 *
 * merge_delete_absent: deletes (or marks) the rows of the table whose id is not
 * in the stage and whose stamp is older than `before`: the end of a sweep over
 * all ids, for deletes that no other way tells of.  The stage may consist of
 * ids alone.  If it overwrites, of any age; never rows with provisional ids.
 *
 * stage_absent: of the ids in the stage, those that the table does not have
 * with the same stamp (List of char *): what a re-reading of ids and stamps
 * has to fetch.  Rows with isdeleted count only if the table has them, and not
 * if it has them marked already.
 */
extern Stage *stage_create(Oid relid, List *columns, const char *stamp);
extern int64 stage_load(Stage *stage, RowSource *source, List **refused);
extern List *stage_ids(Oid stage, List *among);
extern void stage_remove(Oid stage, List *ids);
extern int64 stage_count(Stage *stage);
extern int64 stage_drop_same(Stage *stage);
extern void merge_stage(Stage *stage, bool mark, MergeCounts *counts,
						List **refused);
extern List *stage_absent(Stage *stage);
extern void merge_delete_absent(Stage *stage, TimestampTz before, bool mark,
								MergeCounts *counts, List **refused);
extern void stage_drop(Stage *stage);
extern void merge_delete_ids(Oid relid, List *ids,
							 const TimestampTz *moments, const char *stamp,
							 bool mark, MergeCounts *counts,
							 List **refused);

#endif							/* SYNC_MERGE_H */
