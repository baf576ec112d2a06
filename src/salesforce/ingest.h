/*-------------------------------------------------------------------------
 *
 * ingest.h
 *	  Writing many records: Bulk API 2.0 ingest jobs (§4).
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_INGEST_H
#define SYNC_INGEST_H

#include "collections.h"

/* A job's upload: at most 100 MB raw (150 MB after base64). */
#define INGEST_MAX_BYTES	(100 * 1000 * 1000)

typedef enum IngestState
{
	INGEST_OPEN,				/* not uploaded, or not closed */
	INGEST_RUNNING,
	INGEST_COMPLETE,
	INGEST_FAILED,				/* as a whole; message says why */
	INGEST_GONE					/* the org does not know it (any more) */
} IngestState;

typedef struct IngestJob
{
	char	   *id;
	char	   *version;
	IngestState state;
	int64		processed;
	int64		failed;
	char	   *message;
} IngestJob;

/*
 * ingest_create: an open job; its id is to be recorded durably before
 * ingest_upload.  fields: List of char *, the columns (Id first for update and
 * delete).
 *
 * ingest_upload: sends the CSV (built by ingest_row) and closes the job
 * (UploadComplete).  Once closed, its records will be processed once, whatever
 * happens to us.  ingest_abort: ends a job that was not closed; a job that
 * cannot be aborted any more is left as it is.
 *
 * ingest_poll, ingest_wait: as for query jobs (bulk.h); a job that failed as a
 * whole does not raise.
 *
 * ingest_results: outcomes.  For each row of successfulResults, failedResults
 * and unprocessedrecords calls row(kind, sf_id, created, code, message, fields,
 * values, n, arg), values being the original columns as sent, in the order of
 * `fields` (header names may come quoted or not, in another order, or another
 * case).  Order of rows is not the input's.  Streams in bounded memory.
 */
typedef enum IngestOutcome
{
	INGEST_ROW_DONE,
	INGEST_ROW_FAILED,
	INGEST_ROW_UNPROCESSED
} IngestOutcome;

typedef struct IngestRow
{
	IngestOutcome outcome;
	const char *id;				/* sf__Id; may be empty */
	bool		created;
	const char *code;			/* of a failure; before the first colon */
	const char *message;
	List	   *error_fields;
	const char *const *values;	/* NULL pointer for an empty value */
} IngestRow;

typedef void (*IngestVisit) (const IngestRow *row, void *arg);

extern IngestJob *ingest_create(SalesforceApi *api, const char *object,
								WriteVerb verb, const char *external_id);
extern void ingest_header(StringInfo csv, List *fields);

/*
 * Appends a row.  NULL value with null = true: #N/A; with false: left out
 * (unchanged).  CRLF inside values becomes LF (the job's line ending is LF, a
 * stray one fails the whole job, §0.8).  False if a value cannot be sent this
 * way (the literal text #N/A): such a record must go by Collections.
 */
extern bool ingest_row(StringInfo csv, const char *const *values,
					   const bool *null, int n);
extern void ingest_upload(SalesforceApi *api, IngestJob *job,
						  const StringInfo csv);
extern void ingest_poll(SalesforceApi *api, IngestJob *job);
extern void ingest_wait(SalesforceApi *api, IngestJob *job);
extern void ingest_abort(SalesforceApi *api, const char *job_id);
extern void ingest_delete(SalesforceApi *api, const char *job_id);
extern void ingest_results(SalesforceApi *api, const IngestJob *job,
						   List *fields, IngestVisit visit, void *arg);

#endif							/* SYNC_INGEST_H */
