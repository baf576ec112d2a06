/*-------------------------------------------------------------------------
 *
 * ingest.h
 *	  Writing many records: Bulk API 2.0 ingest jobs.
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
	INGEST_FAILED,				/* as a whole, or aborted; message says why */
	INGEST_GONE					/* the org does not know it (any more) */
} IngestState;

typedef struct IngestJob
{
	char	   *id;
	char	   *version;		/* that it was created with; NULL = not known,
								 * the first poll tells */
	IngestState state;
	int64		processed;		/* failed ones included; -1 = not said */
	int64		failed;			/* -1 = not said */
	char	   *message;		/* of a failed job; or NULL */
	bool		aborted;		/* by us, or by somebody in the org */
} IngestJob;

/*
 * ingest_create: an open job; its id is to be recorded durably before
 * ingest_upload.  ingest_known: one by its recorded id; its state is unknown
 * until ingest_poll.
 *
 * ingest_upload: sends the CSV (built by ingest_header and ingest_row) and
 * closes the job (UploadComplete).  Once closed, its records will be processed
 * once, whatever happens to us; before that none of them is.  Raises where
 * either fails; then the state is what ingest_poll says.
 *
 * ingest_abort: ends a job that was not closed; true if it is certain that
 * none of its records was or will be processed (also when the job is gone),
 * false if the job had been closed: it goes on, and its results are to be
 * awaited.  Raises when the org does not say.
 *
 * ingest_delete: forgets a job that has ended, and its results; what cannot be
 * deleted is left to the org, which does so after seven days.
 *
 * ingest_poll, ingest_wait: as for query jobs (bulk.h); a job that failed as a
 * whole does not raise.
 *
 * ingest_refusal: what the message of a job that failed as a whole asks for, as
 * that of a call would; it is api->error then.
 */
extern IngestJob *ingest_create(SalesforceApi *api, const char *object,
								WriteVerb verb, const char *external_id);
extern IngestJob *ingest_known(const char *job_id);
extern void ingest_upload(SalesforceApi *api, IngestJob *job,
						  const StringInfo csv);
extern void ingest_poll(SalesforceApi *api, IngestJob *job);
extern void ingest_wait(SalesforceApi *api, IngestJob *job);
extern bool ingest_abort(SalesforceApi *api, const char *job_id);
extern void ingest_delete(SalesforceApi *api, const char *job_id);
extern ApiRefusal ingest_refusal(SalesforceApi *api, const IngestJob *job);

/*
 * The upload.  fields: List of char *, the columns (Id first for update and
 * delete), in the order of the values of each row.
 *
 * ingest_row appends a row.  NULL value with null = true: #N/A; with false:
 * left out (unchanged).  A value that Salesforce stores as null (empty, or
 * blanks alone) is sent as #N/A, for as an empty one it would be left out.
 * CRLF inside values becomes LF (the job's line ending is LF, a stray one fails
 * the whole job).  False, and nothing appended, if a value cannot be sent
 * this way: the literal text #N/A, or a lone CR.  Such a record must go by
 * Collections.
 */
extern void ingest_header(StringInfo csv, List *fields);
extern bool ingest_row(StringInfo csv, const char *const *values,
					   const bool *null, int n);

/*
 * ingest_results: outcomes of a job that has ended, a failed one included (some
 * of its records may have been processed).  For each row of successfulResults,
 * failedResults and unprocessedrecords calls visit, values being the original
 * columns as sent, in the order of `fields` (header names may come quoted or
 * not, in another order, or another case).  Order of rows is not the input's.
 * Streams in bounded memory; what row points to is valid during the call.
 *
 * Raises when fewer or more rows came than the job says it processed, after
 * they were visited: the results are to be read again then.
 */
typedef enum IngestOutcome
{
	INGEST_ROW_DONE,
	INGEST_ROW_FAILED,
	INGEST_ROW_UNPROCESSED		/* nothing was done with it */
} IngestOutcome;

typedef struct IngestRow
{
	IngestOutcome outcome;
	const char *id;				/* sf__Id; may be empty */
	bool		created;
	const char *code;			/* of a failure; before the first colon */
	const char *message;
	List	   *error_fields;	/* of char * */
	RecordRefusal refusal;		/* of all but INGEST_ROW_DONE */
	bool		crowded;		/* record_is_crowded */
	const char *const *values;	/* NULL pointer for an empty value */
} IngestRow;

typedef void (*IngestVisit) (const IngestRow *row, void *arg);

extern void ingest_results(SalesforceApi *api, const IngestJob *job,
						   WriteVerb verb, List *fields, IngestVisit visit,
						   void *arg);

#endif							/* SYNC_INGEST_H */
