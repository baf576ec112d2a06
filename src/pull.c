/*-------------------------------------------------------------------------
 *
 * pull.c
 *	  Increments: what changed in the org since the cursor, into the table.
 *
 * A row's stamp is given when it is written and the row is seen when its
 * transaction commits, up to ten minutes and more later.  So a pull
 * reads from the cursor less an overlap, and the merge drops what the table
 * has already.  The cursor moves to the org's own clock as it was before the
 * question, never to the newest stamp seen, and no further than
 * latestDateCovered, by which Salesforce says what no transaction that is
 * still open can fall behind (REST API: Get Updated).
 *
 * Few rows come with one query; many are taken apart: new ones in full, by
 * pages or a Bulk job, and of the overlap ids and stamps first, then only the
 * rows that differ.  All of it can be repeated, and is when a step fails: the
 * cursor moves last.
 *
 * Deletes come three ways: rows in the recycle bin by queryAll; getDeleted for
 * those that never get there (undeletable objects, purged rows); and a sweep
 * over all ids where even that can't tell.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "columns.h"
#include "compat.h"
#include "conflict.h"
#include "copy.h"
#include "mapping.h"
#include "pull.h"
#include "salesforce/bulk.h"
#include "salesforce/id.h"
#include "salesforce/soql.h"
#include "step.h"
#include "tables/identity.h"
#include "tables/merge.h"
#include "tables/outbox.h"
#include "tables/schema.h"

int			pull_bulk_threshold = 10000;

/* How far back getUpdated and getDeleted answer: 30 and 15 days, less some. */
#define UPDATED_REACH	(29 * USECS_PER_DAY)
#define DELETED_REACH	(14 * USECS_PER_DAY)

/*
 * A window that is to include this minute ends so far ahead: a process that has
 * just started knows the org's clock from the last login only.
 */
#define FUTURE_END		USECS_PER_HOUR

/* Ids in one query: 100,000 characters of SOQL would hold 4,700. */
#define IDS_PER_QUERY	1000

/* A row that was set aside is tried again after so long. */
#define REFUSED_RETRY	USECS_PER_HOUR

/* How often ids are compared where nothing else tells of deletes. */
#define SWEEP_INTERVAL	USECS_PER_DAY

/* What is at hand while one object is pulled. */
typedef struct Work
{
	Org		   *org;
	Pull	   *pull;
	SyncObject *object;
	List	   *names;			/* of all fields */
	List	   *columns;
	char	   *stamp_column;
	TimestampTz started;
	SyncCounts *counts;
	bool		left_out;		/* rows that have to be read again */
	const char *operation;		/* for sync.failures */
	bool		overwrites;		/* what comes counts, whatever its stamp */
	List	  **seen;			/* where the ids that come are noted; or NULL */
	bool		nameless;		/* a row came whose id could not be read */
	MemoryContext context;		/* of one page */
} Work;

/* What to do with a page of rows that came in; source is read once. */
typedef void (*PageHandler) (Work *work, RowSource *source, bool streams,
							 void *arg);

/*
 * Questions
 */

void
pull_prepare(Pull *pull, Org *org)
{
	SyncObject *object = pull->object;

	if (TIMESTAMP_IS_NOBEGIN(object->cursor) || object->cursor == 0)
		pull->from = DT_NOBEGIN;
	else
		pull->from = object->cursor - org->server->overlap;
}

static TimestampTz
whole_minute(TimestampTz t)
{
	return t - t % USECS_PER_MINUTE;
}

static bool
reaches(const Pull *pull, TimestampTz now, int64 reach)
{
	return !TIMESTAMP_IS_NOBEGIN(pull->from) && pull->from > now - reach;
}

/* A window in whole minutes, at least one long. */
static void
set_window(Question *question, TimestampTz from, TimestampTz end)
{
	question->end = whole_minute(end);
	question->start = Min(whole_minute(from),
						  question->end - 2 * USECS_PER_MINUTE);
}

static int
ask_updated(Pull *pull, Question *question, TimestampTz now)
{
	if (!pull->object->replicateable || !reaches(pull, now, UPDATED_REACH))
		return 0;
	question->kind = QUESTION_UPDATED;
	question->object = pull->object->object;
	set_window(question, pull->from, now);
	pull->updated = question;
	return 1;
}

/*
 * Nobody can delete these (Object Reference: User).  A describe does not tell:
 * its deletable and undeletable are the rights of the login, which may have
 * none to delete, while others have.
 */
static bool
is_never_deleted(const SyncObject *object)
{
	return strcmp(object->object, "User") == 0 ||
		strcmp(object->object, "Organization") == 0;
}

static int
ask_deleted(Pull *pull, Question *question, TimestampTz end, TimestampTz now)
{
	if (!pull->object->replicateable || is_never_deleted(pull->object) ||
		!reaches(pull, now, DELETED_REACH))
		return 0;
	question->kind = QUESTION_DELETED;
	question->object = pull->object->object;
	set_window(question, pull->from, end);
	pull->deleted = question;
	return 1;
}

int
pull_ask_ids(Pull *pull, Question *questions, TimestampTz now)
{
	int			n = ask_updated(pull, questions, now);

	return n + ask_deleted(pull, questions + n, now, now);
}

/* "SystemModstamp >= from"; NULL when everything is wanted. */
static char *
since(const SyncObject *object, const char *operator, TimestampTz moment)
{
	if (TIMESTAMP_IS_NOBEGIN(moment))
		return NULL;
	return psprintf("%s %s %s", object->stamp_field, operator,
					soql_datetime(moment));
}

static char *
stamp_order(const SyncObject *object)
{
	return psprintf("%s, Id", object->stamp_field);
}

/* queryAll where there are deleted or archived rows to be seen. */
static QuestionKind
query_kind(const SyncObject *object)
{
	return object->has_isdeleted ? QUESTION_QUERY_ALL : QUESTION_QUERY;
}

static void
ask_query(Pull *pull, Question *question, List *names, const char *filter)
{
	SyncObject *object = pull->object;

	question->kind = query_kind(object);
	question->soql = soql_select(names, object->object,
								 list_make2((char *) filter,
											since(object, ">=", pull->from)),
								 stamp_order(object), PULL_QUICK_ROWS);
}

/*
 * With immediately = true the caller wants what is visible now: getUpdated
 * and getDeleted are asked along, the one for latestDateCovered, the other for
 * rows that queryAll never shows: purged ones, and those of objects that have
 * no recycle bin.  Its end is in the future, or with past_only the last whole
 * minute.
 */
int
pull_ask_rows(Pull *pull, Question *questions, TimestampTz now,
			  bool immediately, bool past_only)
{
	int			n = 0;

	/*
	 * Ids that changed, before the rows: a row that enters the filter between
	 * the two answers must not look as if it had left it.
	 */
	if (pull->object->filter)
	{
		pull->visible = &questions[n++];
		ask_query(pull, pull->visible, list_make1(pstrdup("Id")), NULL);
	}
	pull->rows = &questions[n++];
	ask_query(pull, pull->rows, mapping_field_names(pull->fields),
			  pull->object->filter);
	if (immediately)
	{
		n += ask_updated(pull, questions + n, now);
		n += ask_deleted(pull, questions + n,
						 past_only ? now : now + FUTURE_END, now);
	}
	return n;
}

bool
pull_ask_past(Pull *pull, TimestampTz now)
{
	if (pull->deleted == NULL || pull->deleted->answered ||
		pull->deleted->end <= now ||
		pull->deleted->refusal.refusal != API_REQUEST)
		return false;
	set_window(pull->deleted, pull->from, now);
	return true;
}

bool
pull_has_changes(const Pull *pull)
{
	return pull->updated == NULL || !pull->updated->answered ||
		pull->updated->ids != NIL;
}

/*
 * Rows into the table
 */

static void
add_counts(Work *work, const MergeCounts *merged)
{
	work->counts->inserted += merged->inserted;
	work->counts->updated += merged->updated;
	work->counts->deleted += merged->deleted;
	work->counts->skipped += merged->skipped;
	if (merged->inserted != merged->deleted)
		catalog_rows_added(work->object, merged->inserted - merged->deleted);
}

/* Of the columns those that move with every change, also with our own. */
static List *
audit_columns(const Work *work)
{
	List	   *audit = list_make3("lastmodifieddate", "lastmodifiedbyid",
								  work->stamp_column);
	List	   *columns = NIL;
	ListCell   *lc;

	foreach(lc, work->columns)
	{
		if (mapping_has_name(audit, lfirst(lc)))
			columns = lappend(columns, lfirst(lc));
	}
	return columns;
}

/*
 * A record that may be one that we made, without having got the answer, does not
 * come in beside the row that it was made from.
 */
static void
leave_doubtful(Work *work, Stage *stage)
{
	TimestampTz since = attempts_since(work->object->server,
									   work->object->object);

	if (since && identity_doubtful(work->object->relid, stage->stage,
								   work->org->user_id, since) > 0)
		work->left_out = true;
}

/* Merges a stage and keeps the books, within a step. */
static void
merge_and_record(Work *work, Stage *stage, List *refused)
{
	MergeCounts merged = {0};

	if (work->object->direction == DIRECTION_BOTH)
	{
		stage->audit = audit_columns(work);
		merged.skipped += stage_drop_same(stage);
		leave_doubtful(work, stage);
		refused = list_concat(refused, conflict_resolve(work->object, stage));
	}
	merge_stage(stage, work->object->mark, &merged, &refused);
	add_counts(work, &merged);
	work->counts->failed += list_length(refused);
	record_refused(work->object, work->operation, refused);
	catalog_rows_recovered(work->object, stage->stage, work->started);
	stage_drop(stage);
}

/* What the stage refused has come as well: it is no row that is gone. */
static void
note_seen(Work *work, const Stage *stage, List *refused)
{
	List	   *ids;
	MemoryContext old;
	ListCell   *lc;

	if (work->seen == NULL)
		return;
	ids = stage_ids(stage->stage, NIL);
	foreach(lc, refused)
	{
		RefusedRow *row = (RefusedRow *) lfirst(lc);

		if (row->id)
			ids = lappend(ids, row->id);
		else
			work->nameless = true;
	}
	old = MemoryContextSwitchTo(GetMemoryChunkContext(work));
	foreach(lc, ids)
		*work->seen = lappend(*work->seen, pstrdup(lfirst(lc)));
	MemoryContextSwitchTo(old);
}

/*
 * PageHandler: full rows into stage and table.  What streams from the network
 * is staged in a transaction of its own, so that no lock on the table is held
 * while the network is waited for.
 */
static void
merge_page(Work *work, RowSource *source, bool streams, void *arg)
{
	List	   *refused = NIL;
	Stage	   *stage;

	step_begin();
	stage = stage_create(work->object->relid, work->columns,
						 work->stamp_column);
	stage->overwrites = work->overwrites;
	(void) stage_load(stage, source, &refused);
	note_seen(work, stage, refused);
	if (streams)
	{
		step_may_be_lost();
		step_end();
		step_begin();
	}
	merge_and_record(work, stage, refused);
	step_end();
}

/* PageHandler: ids and stamps; which rows differ is appended to *arg. */
static void
compare_page(Work *work, RowSource *source, bool streams, void *arg)
{
	List	  **differing = (List **) arg;
	List	   *columns = list_make2(pstrdup("id"), work->stamp_column);
	List	   *refused = NIL;
	Stage	   *stage;
	ListCell   *lc;
	List	   *absent;

	if (work->object->has_isdeleted)
		columns = lappend(columns, pstrdup("isdeleted"));
	step_begin();
	stage = stage_create(work->object->relid, columns, work->stamp_column);
	(void) stage_load(stage, source, &refused);
	absent = stage_absent(stage);
	stage_drop(stage);
	step_end();

	MemoryContextSwitchTo(GetMemoryChunkContext(work));
	foreach(lc, absent)
		*differing = lappend(*differing, pstrdup((char *) lfirst(lc)));
	MemoryContextSwitchTo(work->context);
}

/* PageHandler: ids into the stage *arg, made by the first page. */
static void
collect_ids(Work *work, RowSource *source, bool streams, void *arg)
{
	Stage	   *stage = (Stage *) arg;
	List	   *refused = NIL;

	step_begin();
	(void) stage_load(stage, source, &refused);
	step_end();
}

static char *
list_of(const Work *work)
{
	return psprintf("a list of records of %s", work->object->object);
}

/* Returns how many the org announced; -1 = it did not. */
static int64
bulk_pages(Work *work, List *names, List *conditions, PageHandler handle,
		   void *arg)
{
	SalesforceApi *api = work->org->api;
	SyncObject *object = work->object;
	BulkJob    *job;
	char	   *locator = NULL;
	Chain		chain = {0};
	int64		came = 0;

	job = bulk_create(api, soql_select(names, object->object, conditions,
									   NULL, 0), object->has_isdeleted);
	bulk_wait(api, job);
	do
	{
		MemoryContext old = MemoryContextSwitchTo(work->context);
		BulkPage   *page = bulk_page_open(api, job, locator, copy_page_rows,
										  names);
		const char *next;

		handle(work, bulk_page_source(page), true, arg);
		next = bulk_page_next(page);
		locator = next ? MemoryContextStrdup(old, next) : NULL;
		came += bulk_page_records(page);
		if (next == NULL)
			bulk_require_whole(list_of(work), job, page, came);
		bulk_page_close(page);
		MemoryContextSwitchTo(old);
		if (locator)
			chain_step(&chain, locator);
		MemoryContextReset(work->context);
		CHECK_FOR_INTERRUPTS();
	} while (locator != NULL);
	bulk_delete(api, job->id, job->version);
	return job->records;
}

/* The same. */
static int64
query_pages(Work *work, QueryPage *page, List *names, PageHandler handle,
			void *arg)
{
	int64		announced = page->announced ? page->total : -1;
	int64		came = 0;

	for (;;)
	{
		QueryPage  *next = NULL;
		MemoryContext old = MemoryContextSwitchTo(work->context);

		if (page->nrecords > 0)
			handle(work, query_rows(page, names), false, arg);
		came += page->nrecords;
		MemoryContextSwitchTo(old);
		MemoryContextReset(work->context);
		CHECK_FOR_INTERRUPTS();
		if (!page->done)
			next = query_next(work->org->api, page);
		query_free(page);
		if (next == NULL)
			break;
		page = next;
	}
	api_require_whole(list_of(work), announced, came);
	return announced;
}

/* The first page by query; NULL if that is no way for so much. */
static QueryPage *
first_page(Work *work, const char *soql)
{
	SalesforceApi *api = work->org->api;
	MemoryContext caller = CurrentMemoryContext;
	QueryPage  *volatile page = NULL;

	api_clear_error(api);
	PG_TRY();
	{
		page = query_run(api, soql, work->object->has_isdeleted);
	}
	PG_CATCH();
	{
		if (api->error.status == 0 || api->error.refusal != API_TOO_BIG)
			PG_RE_THROW();
		MemoryContextSwitchTo(caller);
		FlushErrorState();
	}
	PG_END_TRY();
	return page;
}

/*
 * All rows that fulfil the conditions, page by page, to handle.  The first
 * page tells how many there are: many go by Bulk job instead, unless Bulk does
 * not serve the object.  Fewer than the org announced are an error: the cursor
 * would pass over those that are missing.  Returns how many it announced.
 */
static int64
pull_rows(Work *work, List *names, List *conditions, PageHandler handle,
		  void *arg)
{
	SyncObject *object = work->object;
	QueryPage  *page;
	bool		bulk = object->job == NULL || strcmp(object->job, "query") != 0;

	page = first_page(work, soql_select(names, object->object, conditions,
										stamp_order(object), 0));
	if (page && (!bulk || page->total <= pull_bulk_threshold))
		return query_pages(work, page, names, handle, arg);
	if (page)
		query_free(page);
	return bulk_pages(work, names, conditions, handle, arg);
}

/* Rows by id, some at a time. */
static void
pull_ids(Work *work, List *ids)
{
	List	   *some = NIL;
	int			i = 0;
	ListCell   *lc;

	foreach(lc, ids)
	{
		some = lappend(some, lfirst(lc));
		if (++i % IDS_PER_QUERY == 0 || i == list_length(ids))
		{
			(void) pull_rows(work, work->names,
							 list_make2(work->object->filter,
										soql_id_in(some)),
							 merge_page, NULL);
			list_free(some);
			some = NIL;
		}
	}
}

/*
 * Deletes
 */

static void
delete_ids(Work *work, List *ids, const TimestampTz *moments)
{
	MergeCounts merged = {0};
	List	   *refused = NIL;

	if (ids == NIL)
		return;
	merge_delete_ids(work->object->relid, ids, moments, work->stamp_column,
					 work->object->mark, &merged, &refused);
	add_counts(work, &merged);
	work->counts->failed += list_length(refused);
	record_refused(work->object, "deletes", refused);
}

/* Ids of the page's records that are not deleted. */
static HTAB *
alive_ids(const Work *work, const QueryPage *page)
{
	HASHCTL		ctl = {.keysize = SALESFORCE_ID_LEN + 1};
	HTAB	   *alive;

	ctl.entrysize = ctl.keysize;
	ctl.hcxt = CurrentMemoryContext;
	alive = hash_create("sync records alive", 256, &ctl,
						HASH_ELEM | HASH_STRINGS_COMPAT | HASH_CONTEXT);
	for (int i = 0; page != NULL && i < page->nrecords; i++)
	{
		const char *deleted = work->object->has_isdeleted ?
			query_value(page, i, "IsDeleted") : NULL;

		if (deleted == NULL || strcmp(deleted, "true") != 0)
			(void) hash_search(alive, query_id(page, i), HASH_ENTER,
							   NULL);
	}
	return alive;
}

/*
 * What getDeleted named.  A row that was undeleted since has a newer stamp
 * than its deletion, and stays.  Within the same second it has not; so what
 * this pull itself has seen alive stays, too: if it was deleted thereafter, the
 * next one finds it.
 */
static void
apply_deleted(Work *work)
{
	Pull	   *pull = work->pull;
	Question   *deleted = pull->deleted;
	HTAB	   *alive;
	List	   *ids = NIL;
	TimestampTz *moments;
	int			n = 0;
	ListCell   *lc;

	if (deleted == NULL || !deleted->answered || deleted->deleted == NIL)
		return;
	alive = alive_ids(work, pull->rows ? pull->rows->page : NULL);
	moments = palloc(sizeof(TimestampTz) * list_length(deleted->deleted));
	foreach(lc, deleted->deleted)
	{
		DeletedRecord *record = (DeletedRecord *) lfirst(lc);

		if (hash_search(alive, record->id, HASH_FIND, NULL) != NULL)
			continue;
		ids = lappend(ids, record->id);
		moments[n++] = record->deleted;
	}
	hash_destroy(alive);
	delete_ids(work, ids, moments);
	if (work->object->direction == DIRECTION_BOTH && ids != NIL)
		conflict_deleted(work->object);
}

static bool
page_has_id(const QueryPage *page, const char *id)
{
	for (int i = 0; i < page->nrecords; i++)
	{
		if (strcmp(query_id(page, i), id) == 0)
			return true;
	}
	return false;
}

/* Rows that changed and no longer fulfil the filter. */
static void
apply_left_filter(Work *work)
{
	const QueryPage *visible = work->pull->visible->page;
	const QueryPage *rows = work->pull->rows->page;
	List	   *left = NIL;

	for (int i = 0; i < visible->nrecords; i++)
	{
		const char *id = query_id(visible, i);

		if (!page_has_id(rows, id))
			left = lappend(left, pstrdup(id));
	}
	/* What is changed here goes out first; then it leaves. */
	if (work->object->direction == DIRECTION_BOTH)
		left = conflict_without_changes(work->object, left);
	delete_ids(work, left, NULL);
}

/*
 * Whatever is not in the list is going to be deleted here, so it is trusted only
 * if the org said how long it is, and so many different ids stand in it.
 */
static void
check_ids(Work *work, Stage *stage, int64 announced)
{
	char	   *what = psprintf("the list of all ids of %s",
								work->object->object);

	if (announced < 0)
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("%s came from Salesforce without a number of records",
						what),
				 errdetail("Rows that are not in it would be deleted.")));
	api_require_whole(what, announced, stage_count(stage));
}

/*
 * Compares all ids: what the org no longer has, or the filter no longer lets
 * through, goes.
 */
static void
sweep(Work *work)
{
	int64		announced;
	TimestampTz before = api_now(work->org->api) - work->org->server->overlap;
	List	   *conditions = list_make1(work->object->filter);
	MergeCounts merged = {0};
	List	   *refused = NIL;
	Stage	   *stage;

	if (work->object->has_isdeleted)
		conditions = lappend(conditions, pstrdup("IsDeleted = false"));
	step_begin();
	stage = stage_create(work->object->relid, list_make1(pstrdup("id")),
						 work->stamp_column);
	stage->overwrites = work->overwrites;
	step_end();
	announced = pull_rows(work, list_make1(pstrdup("Id")), conditions,
						  collect_ids, stage);
	step_begin();
	check_ids(work, stage, announced);
	merge_delete_absent(stage, before, work->object->mark, &merged, &refused);
	add_counts(work, &merged);
	work->counts->failed += list_length(refused);
	record_refused(work->object, "deletes", refused);
	if (work->object->direction == DIRECTION_BOTH && merged.deleted > 0)
		conflict_deleted(work->object);
	stage_drop(stage);
	catalog_swept(work->object);
	step_end();
}

/*
 * Whether deletes may have gone by unseen: further back than the org tells, or
 * never told for this object.
 */
static bool
needs_sweep(const Pull *pull)
{
	const SyncObject *object = pull->object;
	const Question *deleted = pull->deleted;
	TimestampTz now = pull->asked;

	if (is_never_deleted(object))
		return false;
	if (!TIMESTAMP_IS_NOBEGIN(pull->from) &&
		(pull->from < now - DELETED_REACH ||
		 (deleted && deleted->answered &&
		  deleted->earliest_available > pull->from)))
		return now - object->swept > SWEEP_INTERVAL;
	if (!object->undeletable && deleted && !deleted->answered)
		return now - object->swept > SWEEP_INTERVAL;
	if (!object->undeletable && !object->replicateable)
		return now - object->swept > SWEEP_INTERVAL;
	return false;
}

/*
 * One object
 */

static TimestampTz
new_cursor(const Work *work)
{
	const Pull *pull = work->pull;
	TimestampTz cursor = pull->asked;

	if (work->left_out)
		return work->object->cursor;
	if (pull->updated && pull->updated->answered &&
		pull->updated->latest_covered != 0)
		cursor = Min(cursor, pull->updated->latest_covered);
	if (pull->deleted && pull->deleted->answered &&
		pull->deleted->latest_covered != 0)
		cursor = Min(cursor, pull->deleted->latest_covered);
	return cursor;
}

static bool
is_whole(const Question *question)
{
	const QueryPage *page = question ? question->page : NULL;

	return page == NULL ||
		(page->done && page->nrecords < PULL_QUICK_ROWS &&
		 page->nrecords >= page->total);
}

/* The answers at hand are all there is. */
static bool
is_quick(const Pull *pull)
{
	if (pull->rows == NULL)
		return !pull_has_changes(pull);
	return is_whole(pull->rows) && is_whole(pull->visible);
}

/* A question that the org refused in a way that asking again may cure. */
static void
check_refusal(Work *work, const Question *question)
{
	if (question == NULL || question->answered)
		return;
	if (question->kind == QUESTION_UPDATED || question->kind == QUESTION_DELETED)
	{
		ApiRefusal	refusal = question->refusal.refusal;

		if (refusal != API_TRANSIENT && refusal != API_LIMIT)
			return;				/* then by query, or by a sweep */
	}
	api_take_error(work->org->api, &question->refusal);
	api_raise(work->org->api,
			  psprintf("could not read changes of %s", work->object->object));
}

/* Everything from the quick answers, in one transaction. */
static void
apply_quick(Work *work, TimestampTz due)
{
	Pull	   *pull = work->pull;
	QueryPage  *page = pull->rows ? pull->rows->page : NULL;

	step_begin();
	if (page && page->nrecords > 0)
	{
		List	   *refused = NIL;
		Stage	   *stage = stage_create(work->object->relid, work->columns,
										 work->stamp_column);

		(void) stage_load(stage, query_rows(page, work->names), &refused);
		merge_and_record(work, stage, refused);
	}
	if (pull->visible && pull->visible->answered)
		apply_left_filter(work);
	apply_deleted(work);
	catalog_pulled(work->object, new_cursor(work), work->started, due);
	step_may_be_lost();
	step_end();
}

/*
 * More than fits into one answer: what is new in full; of the overlap only
 * what differs.
 */
static void
apply_many(Work *work, TimestampTz due)
{
	SyncObject *object = work->object;
	Pull	   *pull = work->pull;

	if (TIMESTAMP_IS_NOBEGIN(pull->from))
		(void) pull_rows(work, work->names, list_make1(object->filter),
						 merge_page, NULL);
	else
	{
		List	   *stamps = list_make2(pstrdup("Id"), object->stamp_field);
		List	   *differing = NIL;

		if (object->has_isdeleted)
			stamps = lappend(stamps, pstrdup("IsDeleted"));
		(void) pull_rows(work, work->names,
						 list_make2(object->filter,
									since(object, ">=", object->cursor)),
						 merge_page, NULL);
		(void) pull_rows(work, stamps,
						 list_make3(object->filter,
									since(object, ">=", pull->from),
									since(object, "<", object->cursor)),
						 compare_page, &differing);
		pull_ids(work, differing);
	}
	if (object->filter)
		sweep(work);
	step_begin();
	apply_deleted(work);
	catalog_pulled(object, new_cursor(work), work->started, due);
	step_end();
}

/* Takes ids that are alive in the org out of the list. */
static void
drop_alive(const QueryPage *page, List **ids)
{
	for (int i = 0; i < page->nrecords; i++)
	{
		const char *alive = query_id(page, i);
		ListCell   *lc;

		foreach(lc, *ids)
		{
			if (strcmp((char *) lfirst(lc), alive) == 0)
				*ids = foreach_delete_current(*ids, lc);
		}
	}
}

/* Of these ids those whose records the org does not have, within the filter. */
static List *
ids_not_there(Work *work, List *ids)
{
	SyncObject *object = work->object;
	List	   *gone = list_copy(ids);
	QueryPage  *page;
	int64		announced;
	int64		came = 0;

	page = query_run(work->org->api,
					 soql_select(list_make1(pstrdup("Id")), object->object,
								 list_make2(object->filter, soql_id_in(ids)),
								 NULL, 0), false);
	announced = page->total;
	while (page)
	{
		came += page->nrecords;
		drop_alive(page, &gone);
		page = page->done ? NULL : query_next(work->org->api, page);
	}
	api_require_whole(list_of(work), announced, came);
	return gone;
}

/*
 * Deletes that something here refused (a foreign key): tried again, unless the
 * record has come back meanwhile.
 */
static void
retry_deletes(Work *work, TimestampTz before)
{
	SyncObject *object = work->object;
	List	   *ids;
	List	   *gone;

	step_begin();
	ids = catalog_failed_records(object, true, before, IDS_PER_QUERY);
	step_end();
	if (ids == NIL)
		return;
	gone = ids_not_there(work, ids);
	step_begin();
	catalog_records_recovered(object->server, object->object, "deletes", ids);
	delete_ids(work, gone, NULL);
	step_end();
}

/* What is no id of Salesforce's would make the question as a whole fail. */
static List *
well_formed(List *ids)
{
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, ids)
	{
		if (id_is_valid(lfirst(lc)))
			result = lappend(result, lfirst(lc));
	}
	return result;
}

/*
 * A record that is not returned and has changes of ours may be there all the
 * same: outside of the filter, or hidden from us.  What becomes of the changes
 * only Salesforce can say; until then its row stays, and is asked for again.
 */
static void
note_unseen(const SyncObject *object, List *ids)
{
	ListCell   *lc;

	foreach(lc, ids)
		catalog_failure(object->server, object->object, "pull", lfirst(lc),
						"NOT_RETURNED",
						"Salesforce does not return the record: it is deleted, hidden from the login, or outside of \"where\"; the row stays while changes of it wait",
						"sync.outbox lists the changes. sync.retry sends those that were refused again; sync.discard gives one up.",
						NIL);
}

/*
 * What the org does not return is gone there, hidden from us, or has left the
 * filter: so it goes here, too, as a sweep would take it.
 */
static void
retry_records(Work *work, List *ids)
{
	List	   *seen = NIL;
	List	   *gone = NIL;
	List	   *unseen;
	ListCell   *lc;

	work->seen = &seen;
	work->nameless = false;
	pull_ids(work, ids);
	work->seen = NULL;
	foreach(lc, ids)
	{
		if (!work->nameless && !mapping_has_name(seen, lfirst(lc)))
			gone = lappend(gone, lfirst(lc));
	}
	step_begin();
	unseen = gone;
	if (work->object->direction == DIRECTION_BOTH)
		gone = conflict_without_changes(work->object, gone);
	note_unseen(work->object, list_difference_ptr(unseen, gone));
	delete_ids(work, gone, NULL);
	catalog_records_retried(work->object, ids, work->started);
	step_end();
}

/* Rows that PostgreSQL refused before may be welcome by now. */
static void
retry_refused(Work *work, bool at_once)
{
	TimestampTz before = work->started - (at_once ? 0 : REFUSED_RETRY);
	List	   *ids;

	step_begin();
	ids = identity_settled(well_formed(catalog_failed_records(work->object,
															 false, before,
															 IDS_PER_QUERY)));
	step_end();
	if (ids != NIL)
		retry_records(work, ids);
	retry_deletes(work, before);
}

static void
check_table(Work *work)
{
	char	   *faults;

	step_begin();
	faults = columns_faults(work->object, work->pull->fields);
	if ((faults != NULL) != work->object->misshapen)
	{
		catalog_misshapen(work->object, faults != NULL);
		/* Values may have been cut to another type meanwhile. */
		if (faults == NULL)
		{
			catalog_cursor_reset(work->object);
			catalog_cycle_at_once(work->object->server);
		}
	}
	step_end();
	if (faults != NULL)
		columns_refuse(work->object, faults);
}

static Work *
create_work(Pull *pull, Org *org, TimestampTz started, SyncCounts *counts)
{
	Work	   *work = palloc0(sizeof(Work));

	work->org = org;
	work->pull = pull;
	work->object = pull->object;
	work->names = mapping_field_names(pull->fields);
	work->columns = mapping_column_names(pull->fields);
	work->stamp_column = mapping_lower(pull->object->stamp_field);
	work->started = started;
	work->operation = "pull";
	work->counts = counts;
	work->context = AllocSetContextCreate(CurrentMemoryContext,
										  "sync pull page",
										  ALLOCSET_DEFAULT_SIZES);
	return work;
}

void
pull_records(Org *org, SyncObject *object, List *ids, SyncCounts *counts)
{
	Pull	   *pull = palloc0(sizeof(Pull));

	pull->object = object;
	step_begin();
	pull->fields = catalog_fields(object);
	step_end();
	if (pull->fields != NIL)
		pull_ids(create_work(pull, org, GetCurrentTimestamp(), counts), ids);
}

static Work *
create_copy_work(Org *org, SyncObject *object, List *fields,
				 SyncCounts *counts)
{
	Pull	   *pull = palloc0(sizeof(Pull));
	Work	   *work;

	pull->object = object;
	pull->fields = fields;
	work = create_work(pull, org, GetCurrentTimestamp(), counts);
	work->operation = "copy";
	work->overwrites = true;
	return work;
}

int64
pull_merge_page(Org *org, SyncObject *object, List *fields, RowSource *source,
				void (*done) (void *arg, int64 rows), void *arg,
				SyncCounts *counts)
{
	Work	   *work = create_copy_work(org, object, fields, counts);
	int64		before = counts->inserted - counts->deleted;
	List	   *refused = NIL;
	int64		rows;
	Stage	   *stage;

	step_begin();
	stage = stage_create(object->relid, work->columns, work->stamp_column);
	stage->overwrites = true;
	rows = stage_load(stage, source, &refused);
	step_may_be_lost();
	step_end();
	step_begin();
	merge_and_record(work, stage, refused);
	/* What is counted while a copy runs is how far it has come. */
	done(arg, rows - (counts->inserted - counts->deleted - before));
	step_end();
	return rows;
}

void
pull_drop_unknown(Org *org, SyncObject *object, List *fields,
				  SyncCounts *counts)
{
	sweep(create_copy_work(org, object, fields, counts));
}

void
pull_apply(Pull *pull, Org *org, TimestampTz started, TimestampTz due,
		   bool immediately, SyncCounts *counts)
{
	Work	   *work;

	/* Rows may be read though none has changed. */
	if (pull->fields == NIL && pull->object->has_refused)
	{
		step_begin();
		pull->fields = catalog_fields(pull->object);
		step_end();
	}
	work = create_work(pull, org, started, counts);
	check_refusal(work, pull->updated);
	check_refusal(work, pull->deleted);
	check_refusal(work, pull->visible);
	check_refusal(work, pull->rows);
	if (pull->fields != NIL)
		check_table(work);
	if (pull->object->has_refused)
		retry_refused(work, immediately);
	if (needs_sweep(pull))
		sweep(work);
	if (is_quick(pull))
		apply_quick(work, due);
	else
		apply_many(work, due);
}
