/*-------------------------------------------------------------------------
 *
 * copy.c
 *	  First copy of an object: a Bulk job's result pages straight into COPY.
 *
 * Each page is one transaction, together with the locator of the page after
 * it, so that a crash costs one page.  Locators are stable for the life of a
 * job (Bulk API 2.0: Get Results for a Query Job), which Salesforce keeps for
 * seven days.  Objects that Bulk does not serve come by query in the order of
 * their ids; there the last id is the locator.  The primary key and the
 * indexes are built when the rows are there.  Into a table that has rows already
 * the pages are merged.
 *
 * The object's cursor is set to the org's clock before the job begins: what
 * changes in the org during the copy comes with the first increment.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "miscadmin.h"
#include "storage/lmgr.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "columns.h"
#include "copy.h"
#include "cycle.h"
#include "mapping.h"
#include "pull.h"
#include "salesforce/bulk.h"
#include "salesforce/query.h"
#include "salesforce/soql.h"
#include "step.h"
#include "tables/load.h"
#include "tables/schema.h"

int			copy_page_rows = 100000;

/* Stands in sync.progress.job for a copy that goes by query. */
#define JOB_BY_QUERY	"query"

typedef struct Copy
{
	Org		   *org;
	SyncObject *object;
	List	   *fields;			/* of SyncField * */
	List	   *names;			/* their API names */
	List	   *columns;		/* their columns */
	SyncCounts *counts;
} Copy;

static bool
goes_by_query(const SyncObject *object)
{
	return strcmp(object->job, JOB_BY_QUERY) == 0;
}

static const char *
hint_for_refused(const char *sqlstate)
{
	if (strcmp(sqlstate, "55P03") == 0)
		return "The row was set aside and is tried again as soon as it is free; the others went in.";
	if (strcmp(sqlstate, "23503") == 0)
		return "The row was set aside and is tried again by the next cycles, and later every hour; the others went in.";
	return "The row was set aside and is tried again every hour; the others went in.";
}

void
record_refused(const SyncObject *object, const char *operation, List *refused)
{
	ListCell   *lc;

	foreach(lc, refused)
	{
		RefusedRow *row = (RefusedRow *) lfirst(lc);

		catalog_failure(object->server, object->object, operation,
						row->id ? row->id : "", row->sqlstate,
						row->detail
						? psprintf("%s (%s)", row->message, row->detail)
						: row->message,
						hint_for_refused(row->sqlstate),
						row->column ? list_make1(row->column) : NIL);
	}
	if (refused != NIL)
		catalog_notify("refused", object->server, object->object,
					   psprintf("%d rows were set aside by PostgreSQL",
								list_length(refused)));
}

/*
 * queryAll, so that archived tasks and events come, too; what is in the
 * recycle bin does not.
 */
static char *
copy_statement(Copy *copy, const char *after, const char *order)
{
	SyncObject *object = copy->object;
	List	   *conditions = list_make1(object->filter);

	if (object->has_isdeleted)
		conditions = lappend(conditions, pstrdup("IsDeleted = false"));
	if (after)
		conditions = lappend(conditions,
							 psprintf("Id > %s", soql_string(after)));
	return soql_select(copy->names, object->object, conditions, order, 0);
}

/* The org's clock when this began, by an answer that came later. */
static TimestampTz
org_time(Org *org, TimestampTz local)
{
	return org->api->server_date - (org->api->local_date - local) - USECS_PER_SEC;
}

/*
 * A copy that goes on where another process stopped: if its job failed, is gone
 * with its results (after seven days), or has a field whose column was dropped,
 * start anew.
 */
static void
restart_if_lost(Copy *copy)
{
	SyncObject *object = copy->object;
	BulkJob		job = {0};

	job.id = object->job;
	job.version = object->job_version;
	bulk_poll(copy->org->api, &job);
	if (job.state != BULK_GONE && job.state != BULK_FAILED &&
		!object->fewer_fields)
		return;
	ereport(LOG,
			(errmsg("the first copy of %s starts anew: its Bulk job %s %s",
					object->object, object->job,
					job.state == BULK_GONE ? "is gone" :
					job.state == BULK_FAILED ? "has failed" :
					"has fields that are no longer synced")));
	step_begin();
	catalog_copy_reset(object);
	step_end();
	object->state = STATE_NEW;
	object->locator = NULL;
}

/*
 * A table that has rows already, for it was kept by sync.disable or a copy
 * starts anew, is never emptied: rows of users' tables may refer to its rows,
 * applications hold their local_ids, and users' own columns have values.  What
 * comes is merged by id, and at the end what the org does not have goes.
 */
static void
choose_mode(Copy *copy)
{
	SyncObject *object = copy->object;

	step_begin();
	object->merge = schema_has_records(object->relid);
	if (object->merge)
		(void) schema_build_keys(object->relid, NIL);
	step_end();
}

static void
record_job(Copy *copy, const char *job, const char *version, int64 records)
{
	SyncObject *object = copy->object;

	object->job = pstrdup(job);
	object->job_version = version ? pstrdup(version) : NULL;
	object->job_records = records;
	object->came = 0;
	object->locator = NULL;
	object->state = STATE_COPYING;
	step_begin();
	catalog_copy_started(object, object->cursor, job, version, records);
	step_end();
}

/*
 * Calls action; false if Bulk does not serve the object or the statement,
 * which Salesforce may say when the job is created or when it has failed.
 */
static bool
unless_unsupported(Copy *copy, void (*action) (Copy *copy))
{
	MemoryContext caller = CurrentMemoryContext;
	ApiError   *error = &copy->org->api->error;
	volatile bool supported = true;

	api_clear_error(copy->org->api);
	PG_TRY();
	{
		action(copy);
	}
	PG_CATCH();
	{
		if (error->status == 0 || error->refusal != API_UNSUPPORTED)
			PG_RE_THROW();
		MemoryContextSwitchTo(caller);
		FlushErrorState();
		supported = false;
	}
	PG_END_TRY();
	return supported;
}

static void
create_job(Copy *copy)
{
	TimestampTz began = GetCurrentTimestamp();
	BulkJob    *job;

	job = bulk_create(copy->org->api, copy_statement(copy, NULL, NULL),
					  copy->object->has_isdeleted);
	copy->object->cursor = org_time(copy->org, began);
	record_job(copy, job->id, job->version, -1);
}

/* Waits for the job, once; a copy that is resumed has waited before. */
static void
wait_for_job(Copy *copy)
{
	SyncObject *object = copy->object;
	BulkJob		job = {0};

	job.id = object->job;
	job.version = object->job_version;
	bulk_wait(copy->org->api, &job);
	if (object->job_records < 0 && object->locator == NULL)
		record_job(copy, job.id, job.version, job.records);
}

static void
go_by_query(Copy *copy)
{
	/* The refusal is an answer, too, and tells the org's clock. */
	copy->object->cursor = org_time(copy->org, GetCurrentTimestamp());
	record_job(copy, JOB_BY_QUERY, NULL, -1);
}

/*
 * A column of another type would refuse every row.  From here on to the end of
 * the page's transaction nobody can alter the table.
 */
static void
check_columns(Copy *copy)
{
	char	   *faults;

	LockRelationOid(copy->object->relid, RowExclusiveLock);
	faults = columns_faults(copy->object, copy->fields);
	if (faults != NULL)
		columns_refuse(copy->object, faults);
}

/* A page's outcome: rows, refused rows and the next locator, or the end. */
static void
page_done(Copy *copy, int64 rows, List *refused, int64 came, const char *next)
{
	SyncObject *object = copy->object;

	record_refused(object, "copy", refused);
	catalog_copy_advanced(object, rows, came, next);
	if (next == NULL)
		catalog_state(object, STATE_INDEXING);
	copy->counts->inserted += rows;
	copy->counts->failed += list_length(refused);
}

static char *
copy_of(const Copy *copy)
{
	return psprintf("the copy of %s", copy->object->object);
}

/*
 * With the last page, what came must be what the job has; before, no more than
 * that.
 */
static void
check_sum(Copy *copy, const BulkPage *page)
{
	SyncObject *object = copy->object;
	BulkJob		job = {0};
	int64		came = object->came + bulk_page_records(page);

	job.records = object->job_records;
	if (bulk_page_next(page) == NULL)
		bulk_require_whole(copy_of(copy), &job, page, came);
	else if (job.records >= 0 && came > job.records)
		api_require_sum(copy_of(copy), job.records, came);
}

/* A page that is merged; the place of the next one is known when it is read. */
typedef struct MergedPage
{
	Copy	   *copy;
	BulkPage   *page;			/* or NULL, and */
	const char *next;
} MergedPage;

static void
page_merged(void *arg, int64 rows)
{
	MergedPage *merged = (MergedPage *) arg;
	const char *next = merged->page ? bulk_page_next(merged->page) :
		merged->next;
	SyncObject *object = merged->copy->object;
	int64		came = merged->page ? bulk_page_records(merged->page) : 0;

	if (merged->page)
		check_sum(merged->copy, merged->page);
	catalog_copy_advanced(object, rows, came, next);
	if (next == NULL)
		catalog_state(object, STATE_INDEXING);
}

/*
 * Rows of a source straight into the table, and the progress, in one
 * transaction.  next is asked for when the rows have been read.
 */
static const char *
copy_bulk_page(Copy *copy, const BulkJob *job, const char *locator)
{
	BulkPage   *page;
	List	   *refused = NIL;
	int64		rows;
	const char *next;

	page = bulk_page_open(copy->org->api, job, locator, copy_page_rows,
						  copy->names);
	if (copy->object->merge)
	{
		MergedPage	merged = {copy, page, NULL};

		step_begin();
		check_columns(copy);
		step_end();
		(void) pull_merge_page(copy->org, copy->object, copy->fields,
							   bulk_page_source(page), page_merged,
							   &merged, copy->counts);
		next = bulk_page_next(page);
	}
	else
	{
		step_begin();
		check_columns(copy);
		rows = load_rows(copy->object->relid, copy->columns,
						 bulk_page_source(page), true, &refused);
		next = bulk_page_next(page);
		check_sum(copy, page);
		page_done(copy, rows, refused, bulk_page_records(page), next);
		step_end();
	}
	copy->object->came += bulk_page_records(page);
	next = next ? pstrdup(next) : NULL;
	bulk_page_close(page);
	return next;
}

/*
 * What came is not what the job has, or comes in a circle: somewhere pages were
 * lost or came twice, and nobody knows which.
 */
static void
copy_again(Copy *copy, ErrorData *error)
{
	if (error->sqlerrcode != ERRCODE_CARDINALITY_VIOLATION ||
		cycle_is_local(error))
		return;
	step_abort();
	step_begin();
	catalog_copy_again(copy->object);
	step_end();
}

static void
copy_pages(Copy *copy)
{
	SyncObject *object = copy->object;
	BulkJob		job = {0};
	Chain		chain = {0};
	const char *locator = object->locator;
	MemoryContext page_context = AllocSetContextCreate(CurrentMemoryContext,
													   "sync copy page",
													   ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(page_context);

	job.id = object->job;
	job.version = object->job_version;
	job.records = object->job_records;
	do
	{
		const char *next = copy_bulk_page(copy, &job, locator);

		locator = next ? MemoryContextStrdup(old, next) : NULL;
		MemoryContextReset(page_context);
		MemoryContextSwitchTo(old);
		if (locator)
			chain_step(&chain, locator);
		MemoryContextSwitchTo(page_context);
		CHECK_FOR_INTERRUPTS();
	} while (locator != NULL);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(page_context);
	object->state = STATE_INDEXING;
}

static void
copy_by_bulk(Copy *copy)
{
	MemoryContext caller = CurrentMemoryContext;

	PG_TRY();
	{
		copy_pages(copy);
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		FlushErrorState();
		copy_again(copy, error);
		ReThrowError(error);
	}
	PG_END_TRY();
}

/* One page by query; returns the id to go on after, NULL at the end. */
static char *
copy_query_page(Copy *copy, QueryPage *page, MemoryContext result)
{
	List	   *refused = NIL;
	int64		rows = 0;
	char	   *last = NULL;

	if (page->nrecords > 0)
		last = MemoryContextStrdup(result,
								   query_id(page, page->nrecords - 1));
	else if (!page->done)
		ereport(ERROR,
				(errcode(ERRCODE_CONNECTION_FAILURE),
				 errmsg("%s came from Salesforce without an end",
						copy_of(copy)),
				 errdetail("A page is empty, and not the last.")));
	if (page->done)
		api_require_whole(copy_of(copy), page->announced ? page->total : -1,
						  page->nrecords);
	if (copy->object->merge && page->nrecords > 0)
	{
		MergedPage	merged = {copy, NULL, page->done ? NULL : last};

		step_begin();
		check_columns(copy);
		step_end();
		(void) pull_merge_page(copy->org, copy->object, copy->fields,
							   query_rows(page, copy->names),
							   page_merged, &merged, copy->counts);
		return page->done ? NULL : last;
	}
	step_begin();
	check_columns(copy);
	if (page->nrecords > 0)
		rows = load_rows(copy->object->relid, copy->columns,
						 query_rows(page, copy->names), true, &refused);
	page_done(copy, rows, refused, page->nrecords, page->done ? NULL : last);
	step_end();
	return page->done ? NULL : last;
}

static void
copy_by_query(Copy *copy)
{
	SyncObject *object = copy->object;
	MemoryContext page_context = AllocSetContextCreate(CurrentMemoryContext,
													   "sync copy page",
													   ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = MemoryContextSwitchTo(page_context);
	Chain		chain = {0};
	char	   *after = object->locator;

	do
	{
		QueryPage  *page;

		page = query_run(copy->org->api,
						 copy_statement(copy, after, "Id"),
						 object->has_isdeleted);
		after = copy_query_page(copy, page, old);
		MemoryContextReset(page_context);
		MemoryContextSwitchTo(old);
		if (after)
			chain_step(&chain, after);
		MemoryContextSwitchTo(page_context);
		CHECK_FOR_INTERRUPTS();
	} while (after != NULL);
	MemoryContextSwitchTo(old);
	MemoryContextDelete(page_context);
	object->state = STATE_INDEXING;
}

/* Keys and indexes, once the rows are there. */
static void
finish_copy(Copy *copy)
{
	SyncObject *object = copy->object;
	int64		doubled;

	if (object->merge)
		pull_drop_unknown(copy->org, object, copy->fields, copy->counts);
	step_begin();
	doubled = schema_build_keys(object->relid,
								mapping_indexed(copy->fields,
												catalog_synced_objects(object->server)));
	if (object->merge)
		catalog_rows_are(object, schema_count_rows(object->relid));
	else if (doubled > 0)
		catalog_rows_added(object, -doubled);
	catalog_state(object, STATE_LIVE);
	step_end();
	object->state = STATE_LIVE;
}

void
copy_object(Org *org, SyncObject *object, SyncCounts *counts)
{
	Copy		copy = {0};

	copy.org = org;
	copy.object = object;
	copy.counts = counts;
	step_begin();
	copy.fields = catalog_fields(object);
	step_end();
	/* Gone, or its server has another name by now. */
	if (copy.fields == NIL)
		return;
	copy.names = mapping_field_names(copy.fields);
	copy.columns = mapping_column_names(copy.fields);

	if (object->direction == DIRECTION_TO && object->state == STATE_NEW)
		object->state = STATE_INDEXING;
	if (object->state == STATE_COPYING && !goes_by_query(object))
		restart_if_lost(&copy);
	if (object->state == STATE_NEW)
		choose_mode(&copy);
	if (object->state == STATE_NEW && !unless_unsupported(&copy, create_job))
		go_by_query(&copy);
	if (object->state == STATE_COPYING)
	{
		if (!goes_by_query(object) && !unless_unsupported(&copy, wait_for_job))
			go_by_query(&copy);
		if (goes_by_query(object))
			copy_by_query(&copy);
		else
			copy_by_bulk(&copy);
	}
	if (object->state == STATE_INDEXING)
		finish_copy(&copy);
	if (object->job && !goes_by_query(object))
		bulk_delete(org->api, object->job, object->job_version);
}
