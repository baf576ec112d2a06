/*-------------------------------------------------------------------------
 *
 * records.h
 *	  The records of a row source, some thousands at a time, in memory.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_RECORDS_H
#define SYNC_RECORDS_H

#include "row_source.h"

typedef struct Records Records;

/*
 * records_create: reads source by lots.  An empty value in a column whose flag
 * in false_columns (of ncolumns) is set becomes false.
 *
 * records_next: the next lot; how many records there are in it, 0 at the end.
 *
 * records_choose: the records from first to before last of the lot as a source
 * of their own, byte for byte; good until the next call of either.
 *
 * records_id: the first value of a record; NULL if it is no plain word.
 */
extern Records *records_create(RowSource *source, int ncolumns,
							   const bool *false_columns);
extern int	records_next(Records *records);
extern RowSource *records_choose(Records *records, int first, int last);
extern char *records_id(const Records *records, int record);

#endif							/* SYNC_RECORDS_H */
