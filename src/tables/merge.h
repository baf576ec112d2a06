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

#include "load.h"

typedef struct Stage
{
	Oid			relid;			/* the synced table */
	Oid			stage;			/* the temporary table */
	List	   *columns;		/* of char *: id first, as in the synced table */
	char	   *stamp;			/* column that tells older from newer */
	bool		has_isdeleted;	/* "isdeleted" is one of the columns */
} Stage;

typedef struct MergeCounts
{
	int64		inserted;
	int64		updated;
	int64		deleted;
	int64		skipped;		/* unchanged, or older than what is there */
	int64		failed;
} MergeCounts;

/*
 * stage_create: a temporary table with the given columns of relid, types the
 * same.  If "isdeleted" is among them it tells which rows are deleted (SOQL can
 * select IsDeleted only once, so there is no column apart).  Survives the transaction
 * (a stage is loaded in one that may wait for the network, and merged in
 * another that does not), dropped by stage_drop or by the next stage_create.
 *
 * stage_load: rows of a source into the stage, columns in the stage's order.  Returns the number of rows; refused as in load.h.
 *
 * merge_stage: applies the stage to the table as its owner (guard.h):
 *	- rows with isdeleted = true are deleted, or with mark = true updated, the
 *	  column isdeleted being true then, where present;
 *	- rows equal in all columns, and rows with an older stamp than the table's,
 *	  are skipped by a join before ON CONFLICT, and cost no lock, no write and
 *	  no WAL;
 *	- the rest is inserted or updated.
 * If the whole fails with an error that one row can cause (classes 22, 23,
 * P0001 and the like), ranges of ids are halved around it and the single rows
 * set aside into *refused.  An id that stands in the stage twice counts once,
 * with its newest stamp.
 *
 * merge_delete_ids: deletes (or marks) rows by id, those whose stamp is not
 * newer than the moment given with each id (0 = whatever the stamp); ids not
 * there are no error.  moments: TimestampTz array parallel to ids, or NULL.
 *
 * merge_delete_absent: deletes (or marks) the rows of the table whose id is not
 * in the stage and whose stamp is older than `before`: the end of a sweep over
 * all ids, for deletes that no other way tells of.
 *
 * stage_absent: of the ids in the stage, those that the table does not have
 * with the same stamp (List of char *): what a re-reading of ids and stamps
 * has to fetch.  Rows with isdeleted count only if the table has them.
 */
extern Stage *stage_create(Oid relid, List *columns, const char *stamp);
extern int64 stage_load(Stage *stage, RowSource *source, List **refused);
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
