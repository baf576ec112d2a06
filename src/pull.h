/*-------------------------------------------------------------------------
 *
 * pull.h
 *	  Increments: what changed in the org since the cursor, into the table.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_PULL_H
#define SYNC_PULL_H

#include "login.h"
#include "salesforce/query.h"
#include "tables/catalog.h"

/* Above so many rows a pull goes by Bulk job (GUC sync.bulk_threshold). */
extern int	pull_bulk_threshold;

/*
 * Rows that are asked for along with those of other objects, in one Composite
 * call.  If there are more, the object is pulled by itself.
 */
#define PULL_QUICK_ROWS		500

/* The questions about one object, and then their answers. */
typedef struct Pull
{
	SyncObject *object;
	List	   *fields;			/* of SyncField *; NIL until needed */
	TimestampTz from;			/* cursor less overlap; DT_NOBEGIN = all */
	TimestampTz asked;			/* the org's clock before the questions */
	Question   *updated;		/* NULL: not asked */
	Question   *deleted;
	Question   *visible;		/* ids changed, whatever the filter says */
	Question   *rows;
} Pull;

/*
 * pull_prepare: the window of an object.
 * pull_ask_ids: fills in questions for the ids that changed (getUpdated,
 * getDeleted), pull_ask_rows for the rows; each returns how many.  now is the
 * org's clock; immediately: what is visible now is wanted, not only what is a
 * minute old.
 * pull_ask_past: after an answer, whether the org would not hear of a window
 * that ends in the future; then the question has been changed to one that ends
 * now, and is to be asked again.
 * pull_has_changes: after ids were asked, whether rows must be asked for.
 * pull_records: brings in single records by id; the cursor stays.
 * pull_merge_page: a page of all rows of an object into a table that has rows
 * already; done is called in the transaction that merges them, with what is to
 * be added to the rows counted.  pull_drop_unknown: after the last one, rows
 * that the org does not have leave the table.
 * pull_apply: brings in what the answers hold, or more where they say that
 * there is more; counts what happened, moves the cursor, sets when the object
 * is due again.  Errors leave the cursor where it was.
 */
extern void pull_prepare(Pull *pull, Org *org);
extern int	pull_ask_ids(Pull *pull, Question *questions, TimestampTz now);
extern int	pull_ask_rows(Pull *pull, Question *questions, TimestampTz now,
						  bool immediately, bool past_only);
extern bool pull_ask_past(Pull *pull, TimestampTz now);
extern bool pull_has_changes(const Pull *pull);
extern void pull_records(Org *org, SyncObject *object, List *ids,
						 SyncCounts *counts);
extern int64 pull_merge_page(Org *org, SyncObject *object, List *fields,
							 RowSource *source,
							 void (*done) (void *arg, int64 rows), void *arg,
							 SyncCounts *counts);
extern void pull_drop_unknown(Org *org, SyncObject *object, List *fields,
							  SyncCounts *counts);
extern void pull_apply(Pull *pull, Org *org, TimestampTz started,
					   TimestampTz due, bool immediately, SyncCounts *counts);

/* Questions that one object can have. */
#define PULL_QUESTIONS	4

#endif							/* SYNC_PULL_H */
