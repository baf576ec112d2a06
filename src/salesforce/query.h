/*-------------------------------------------------------------------------
 *
 * query.h
 *	  Rows by query and queryAll, page by page; several questions in one
 *	  Composite call.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_QUERY_H
#define SYNC_QUERY_H

#include "../row_source.h"
#include "api.h"
#include "chain.h"

/* One page of an answer. */
typedef struct QueryPage
{
	MemoryContext context;		/* holds the page */
	int64		total;			/* totalSize of the whole answer */
	bool		announced;		/* it was told */
	int			nrecords;		/* in this page */
	bool		done;			/* no page after this one */
	char	   *next;			/* path of the next page; or NULL */
	Json	   *records;
	Chain		chain;			/* of the pages up to this one */
} QueryPage;

/*
 * query_run: the first page.  all_rows: queryAll (deleted and archived rows
 * too).  A statement too long for a URL (REST API: Status Codes, 414) goes by
 * POST through Composite.  An answer over the size that fits in memory is
 * asked again with a smaller batchSize before giving up.
 * query_next: the page after; the locator must stay on the org's own origin.
 * query_free: releases a page.
 * query_rows: its records as a row source; fields: List of char *, paths such
 * as Owner.Name allowed; ERROR if a record lacks a field.
 * query_value: one field of one record as text; NULL for null; ERROR if the
 * record lacks it.  query_required: the same, ERROR for null, too; query_id: its
 * Id, ERROR if that is none.  query_record_text: one record as JSON text, copied, without
 * the "attributes" that the API puts into each.
 */
extern QueryPage *query_run(SalesforceApi *api, const char *soql,
							bool all_rows);
extern QueryPage *query_next(SalesforceApi *api, const QueryPage *page);
extern void query_free(QueryPage *page);
extern RowSource *query_rows(QueryPage *page, List *fields);
extern const char *query_value(const QueryPage *page, int record,
							   const char *field);
extern const char *query_required(const QueryPage *page, int record,
								  const char *field);
extern const char *query_id(const QueryPage *page, int record);
extern char *query_record_text(const QueryPage *page, int record);

/* What a Composite call can ask. */
typedef enum QuestionKind
{
	QUESTION_QUERY,
	QUESTION_QUERY_ALL,
	QUESTION_UPDATED,			/* ids changed between start and end */
	QUESTION_DELETED
} QuestionKind;

typedef struct DeletedRecord
{
	char	   *id;
	TimestampTz deleted;
} DeletedRecord;

typedef struct Question
{
	QuestionKind kind;
	const char *soql;			/* of a query */
	const char *object;			/* of updated, deleted */
	TimestampTz start;			/* seconds are truncated to the minute by the
								 * org */
	TimestampTz end;

	/* The answer. */
	bool		answered;		/* false: refusal says why not */
	ApiError	refusal;
	QueryPage  *page;			/* of a query */
	List	   *ids;			/* updated: of char * */
	List	   *deleted;		/* deleted: of DeletedRecord * */
	TimestampTz latest_covered; /* 0 = not said */
	TimestampTz earliest_available; /* deleted; 0 = not said */
} Question;

/*
 * query_ask: all questions, in as few Composite calls as the limits allow (25
 * subrequests, of which 5 queries).  Where the org refuses Composite as a
 * whole, each is asked by itself.  A refused subrequest does not raise: it is
 * marked, and so is one whose answer makes no sense.  Failures of the call itself
 * do raise.
 */
extern void query_ask(SalesforceApi *api, Question *questions, int n);

#endif							/* SYNC_QUERY_H */
