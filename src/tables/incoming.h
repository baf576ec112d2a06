/*-------------------------------------------------------------------------
 *
 * incoming.h
 *	  Rows of a stage that meet local changes which have not gone out yet.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_INCOMING_H
#define SYNC_INCOMING_H

#include "datatype/timestamp.h"
#include "merge.h"

typedef struct IncomingRow
{
	char	   *id;
	bool		deleted;
	TimestampTz stamp;
	bool		fresh;			/* made by us, and as it was made */
	char	  **values;			/* JSON texts, parallel to the columns asked */
} IncomingRow;

/*
 * incoming_lock: locks the rows of the table that the stage is newer than, so
 * that from then on the outbox tells all there is to know of them.  Returns the
 * ids of those that somebody else has locked; they are no longer staged.
 * incoming_rows: the staged rows with these ids, and their values of columns.
 * incoming_keep: the staged value of a column becomes what the table has.
 */
extern List *incoming_lock(const Stage *stage);
extern List *incoming_rows(const Stage *stage, List *ids, List *columns);
extern void incoming_keep(Stage *stage, const char *column, List *ids);

#endif							/* SYNC_INCOMING_H */
