/*-------------------------------------------------------------------------
 *
 * stamps.h
 *	  What the rows of a synced table look like, for those who send changes.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_STAMPS_H
#define SYNC_STAMPS_H

#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

/*
 * stamps_differing: of the records found in the org (parallel lists of ids and
 * stamps) those whose stamp is not the table's, or which the table does not
 * have.
 * stamps_column: a column's text for each of the ids, NULL where there is none.
 * stamps_parse: a timestamp of such a text.
 */
extern List *stamps_differing(Oid relid, const char *stamp, List *found,
							  List *stamps);
extern List *stamps_column(Oid relid, const char *column, List *ids);
extern TimestampTz stamps_parse(const char *text);

#endif							/* SYNC_STAMPS_H */
