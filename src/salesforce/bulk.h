/*-------------------------------------------------------------------------
 *
 * bulk.h
 *	  Bulk API 2.0 query jobs.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_BULK_H
#define SYNC_BULK_H

#include "../row_source.h"
#include "api.h"

typedef enum BulkState
{
	BULK_RUNNING,				/* UploadComplete, InProgress */
	BULK_COMPLETE,
	BULK_FAILED,				/* Failed, Aborted */
	BULK_GONE					/* the org no longer knows the job */
} BulkState;

typedef struct BulkJob
{
	char	   *id;
	char	   *version;		/* results must be read with the version the
								 * job was created with, else 409 (Bulk API
								 * 2.0: Get Results for a Query Job) */
	BulkState	state;
	int64		records;		/* numberRecordsProcessed; -1 = not said */
	char	   *message;		/* errorMessage of a failed job; or NULL */
} BulkJob;

/*
 * bulk_create: starts a job.  Where the object or the statement is not served
 * by Bulk the error has api->error.refusal API_UNSUPPORTED: go by query.
 * bulk_poll: reads the state anew, once.
 * bulk_wait: polls, 0.2 s growing to 10 s between polls, until the job has
 * ended; a failed job raises, with API_UNSUPPORTED, API_SCHEMA or API_TOO_BIG
 * told from its message where possible.
 * bulk_pause: the pause before the next poll, whose length it keeps in *ms
 * (0 at the beginning); for ingest jobs too.
 * bulk_delete: forgets a job and its results; never raises for a job unknown.
 */
extern BulkJob *bulk_create(SalesforceApi *api, const char *soql,
							bool all_rows);
extern void bulk_poll(SalesforceApi *api, BulkJob *job);
extern void bulk_wait(SalesforceApi *api, BulkJob *job);
extern void bulk_pause(long *ms);
extern void bulk_delete(SalesforceApi *api, const char *job_id,
						const char *version);

/*
 * A result page as a row source.  locator NULL = the first page.  fields: the
 * List of char * that the statement selected; the header line must name them
 * in that order (case-insensitive), else ERROR.  Valid after the rows were
 * read to the end: bulk_page_next gives the locator of the page after, NULL
 * at the last (header null, empty or absent); bulk_page_rows the rows
 * that were announced by Sforce-NumberOfRecords (-1 if it was not sent).
 * A page with fewer or more records than announced is an ERROR at its end
 * (ERRCODE_CONNECTION_FAILURE), as is a locator that repeats itself.
 * bulk_page_records: how many have been read.  bulk_require_whole: with the last
 * page, whether as many came in all as the job has
 * (ERRCODE_CARDINALITY_VIOLATION).  what: "the copy of Lead".
 */
typedef struct BulkPage BulkPage;
extern BulkPage *bulk_page_open(SalesforceApi *api, const BulkJob *job,
								const char *locator, int max_records,
								List *fields);
extern RowSource *bulk_page_source(BulkPage *page);
extern const char *bulk_page_next(const BulkPage *page);
extern int64 bulk_page_rows(const BulkPage *page);
extern int64 bulk_page_records(const BulkPage *page);
extern void bulk_require_whole(const char *what, const BulkJob *job,
							   const BulkPage *last, int64 came);
extern void bulk_page_close(BulkPage *page);

#endif							/* SYNC_BULK_H */
