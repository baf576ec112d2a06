/*-------------------------------------------------------------------------
 *
 * push_bulk.c
 *	  Many rows of one verb, as a Bulk ingest job.
 *
 * The job's id is recorded before anything is uploaded.  A job that was not
 * closed has done nothing and is aborted; one that was closed is done once,
 * and its results are read whenever we come back.
 *
 * Results come in no order.  A row is recognised by what was sent: by its id,
 * or by all its values; rows with all values the same are interchangeable.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "utils/builtins.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "mapping.h"
#include "push.h"
#include "salesforce/ingest.h"
#include "step.h"

typedef struct JobRow
{
	uint64		key;			/* hash of what was sent; must be first */
	List	   *rows;			/* of PushRow *, not answered yet */
} JobRow;

typedef struct Job
{
	PushObject *target;
	WriteVerb	verb;
	List	   *fields;			/* API names: the columns */
	List	   *columns;		/* of the table, parallel */
	HTAB	   *rows;
	int64		told;			/* rows that were done or failed */
} Job;

static const char *const verb_names[] = {"create", "update", "upsert", "delete"};

/* The columns of the upload: all that any row has. */
static void
choose_columns(Job *job, List *rows)
{
	ListCell   *lc;
	ListCell   *lc2;

	if (job->verb == WRITE_UPDATE || job->verb == WRITE_DELETE)
	{
		job->fields = list_make1(pstrdup("Id"));
		job->columns = list_make1(pstrdup("id"));
	}
	if (job->verb == WRITE_DELETE)
		return;
	foreach(lc, rows)
	{
		PushRow    *row = (PushRow *) lfirst(lc);

		foreach(lc2, row->change->fields)
		{
			NetField   *net = (NetField *) lfirst(lc2);
			SyncField  *field = push_field(job->target, net->column);

			if (field && !mapping_has_name(job->fields, field->field))
			{
				job->fields = lappend(job->fields, field->field);
				job->columns = lappend(job->columns, net->column);
			}
		}
	}
}

/* A row's values, in the order of the columns. */
static void
fill_values(const Job *job, const PushRow *row, const char **values,
			bool *nulls)
{
	int			i = 0;
	ListCell   *lc;

	foreach(lc, job->columns)
	{
		NetField   *net = NULL;

		values[i] = NULL;
		nulls[i] = false;
		if (i == 0 && (job->verb == WRITE_UPDATE || job->verb == WRITE_DELETE))
			values[i] = row->change->id;
		else
			net = fold_field(row->change, (char *) lfirst(lc));
		if (net)
		{
			values[i] = net->raw;
			nulls[i] = net->raw == NULL && job->verb != WRITE_CREATE;
		}
		i++;
	}
}

/*
 * A value without what Salesforce may do to its blanks and line ends, which are
 * sent as LF (ingest.h).
 */
uint64
push_value_key(const char *value, int seed)
{
	StringInfoData bare;
	uint64		key;

	initStringInfo(&bare);
	for (; *value; value++)
	{
		if (*value != '\r' && *value != '\n' && *value != ' ')
			appendStringInfoChar(&bare, *value);
	}
	key = hash_bytes_extended((unsigned char *) bare.data, bare.len, seed);
	pfree(bare.data);
	return key;
}

/* What the result of a row will be recognised by. */
static uint64
row_key(const Job *job, const char *const *values)
{
	bool		by_id = job->verb == WRITE_UPDATE || job->verb == WRITE_DELETE;
	int			n = by_id ? 1 : list_length(job->fields);
	uint64		key = 0;

	for (int i = 0; i < n; i++)
	{
		const char *v = values[i] && strcmp(values[i], "#N/A") != 0
			? values[i] : "";

		key = hash_combine64(key, push_value_key(v, i));
	}
	return key;
}

static void
note_row(Job *job, PushRow *row, const char *const *values)
{
	uint64		key = row_key(job, values);
	JobRow	   *entry;
	bool		found;

	entry = hash_search(job->rows, &key, HASH_ENTER, &found);
	if (!found)
		entry->rows = NIL;
	entry->rows = lappend(entry->rows, row);
}

static void
prepare_job(Job *job, PushObject *target, WriteVerb verb, List *rows)
{
	HASHCTL		ctl;

	memset(job, 0, sizeof(Job));
	job->target = target;
	job->verb = verb;
	choose_columns(job, rows);
	memset(&ctl, 0, sizeof(ctl));
	ctl.keysize = sizeof(uint64);
	ctl.entrysize = sizeof(JobRow);
	ctl.hcxt = CurrentMemoryContext;
	job->rows = hash_create("sync ingest rows", 1024, &ctl,
							HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

/*
 * The upload.  Returns the rows that are in it.  What is over the size is left
 * for another job (*left), what CSV cannot carry (the text "#N/A") for another
 * way (*unfit).
 */
static List *
build_csv(Job *job, List *rows, StringInfo csv, List **left, List **unfit)
{
	int			n = list_length(job->fields);
	const char **values = palloc(sizeof(char *) * n);
	bool	   *nulls = palloc(sizeof(bool) * n);
	List	   *in = NIL;
	ListCell   *lc;

	ingest_header(csv, job->fields);
	foreach(lc, rows)
	{
		PushRow    *row = (PushRow *) lfirst(lc);
		int			before = csv->len;

		fill_values(job, row, values, nulls);
		if (!ingest_row(csv, values, nulls, n))
		{
			*unfit = lappend(*unfit, row);
			continue;
		}
		if (csv->len > INGEST_MAX_BYTES)
		{
			csv->len = before;
			csv->data[before] = '\0';
			*left = lappend(*left, row);
			continue;
		}
		note_row(job, row, values);
		in = lappend(in, row);
	}
	return in;
}

/* One result. */
static void
take_result(const IngestRow *result, void *arg)
{
	Job		   *job = (Job *) arg;
	uint64		key = row_key(job, result->values);
	JobRow	   *entry = hash_search(job->rows, &key, HASH_FIND, NULL);
	PushRow    *row;
	ListCell   *lc;

	if (entry == NULL || entry->rows == NIL)
		return;
	row = (PushRow *) llast(entry->rows);
	entry->rows = list_delete_last(entry->rows);
	if (result->outcome == INGEST_ROW_UNPROCESSED)
	{
		push_mark_undone(row);
		return;
	}
	job->told++;
	row->record.answered = true;
	row->record.success = result->outcome == INGEST_ROW_DONE;
	row->record.created = result->created;
	row->record.new_id = result->id ? pstrdup(result->id) : NULL;
	if (row->record.success)
		return;
	row->record.code = pstrdup(result->code ? result->code : "");
	row->record.message = pstrdup(result->message ? result->message : "");
	foreach(lc, result->error_fields)
		row->record.error_fields = lappend(row->record.error_fields,
										   pstrdup(lfirst(lc)));
	row->record.refusal = result->refusal;
	row->record.crowded = result->crowded;
}

/*
 * Rows of which the results say nothing.  If those that they tell of are all
 * that the job has processed, it has not come to the others; so it is with
 * updates and deletes, which harm nobody twice, and upserts.  What a create came
 * to is not known otherwise: it is looked for.
 */
static void
mark_untold(const Job *job, const IngestJob *ingest, List *rows)
{
	bool		all_told = ingest->processed == job->told;
	ListCell   *lc;

	foreach(lc, rows)
	{
		PushRow    *row = (PushRow *) lfirst(lc);

		if (!row->record.answered && (all_told || job->verb != WRITE_CREATE))
			push_mark_undone(row);
	}
}

/*
 * Whether Collections may do better with the row: of a job that failed as a
 * whole they say what is wrong with which row, their calls can be smaller than
 * the transactions of a job, and they know headers that a job does not.
 */
static bool
wants_call(const Job *job, const IngestJob *ingest, const PushRow *row)
{
	const WriteRecord *record = &row->record;

	if (!record->answered || record->success)
		return false;
	if (record->code == NULL)
		return ingest->state == INGEST_FAILED && !ingest->aborted;
	return record->crowded ||
		(job->target->object->allow_duplicates &&
		 strcmp(record->code, "DUPLICATES_DETECTED") == 0);
}

/* Notes what came of the rows, but of those that are sent otherwise. */
static List *
note_results(Push *push, const Job *job, const IngestJob *ingest, List *rows,
			 int64 attempt)
{
	List	   *settled = NIL;
	List	   *others = NIL;
	int64	   *seqs;
	int			n;
	ListCell   *lc;

	foreach(lc, rows)
	{
		if (wants_call(job, ingest, (PushRow *) lfirst(lc)))
			others = lappend(others, lfirst(lc));
		else
			settled = lappend(settled, lfirst(lc));
	}
	seqs = push_numbers(others, &n);
	step_begin();
	outbox_sent(seqs, n, 0);
	attempt_has_job(attempt, NULL);
	push_note_outcomes(push, settled, attempt);
	step_end();
	return others;
}

/* A job that failed for a field that is gone says so as a call does. */
static bool
evolved_after(Push *push, const Job *job, const IngestJob *ingest)
{
	if (ingest->state != INGEST_FAILED || ingest->aborted || push->evolved ||
		ingest_refusal(push->org->api, ingest) != API_SCHEMA)
		return false;
	push_evolve(push, job->target->object);
	return true;
}

/* Returns rows that are to be sent by Collections now. */
static List *
finish(Push *push, Job *job, IngestJob *ingest, List *rows, int64 attempt)
{
	List	   *others;

	ingest_results(push->org->api, ingest, job->verb, job->fields,
				   take_result, job);
	mark_untold(job, ingest, rows);
	push_bring_contacts(push, rows);
	push_find_gone(push, job->target, rows);
	others = note_results(push, job, ingest, rows, attempt);
	ingest_delete(push->org->api, ingest->id);
	if (others != NIL && ingest->state == INGEST_FAILED)
		ereport(LOG,
				(errmsg("Bulk job %s for changes of \"%s\" failed, they are sent by Collections",
						ingest->id, job->target->object->object),
				 errdetail("%s", ingest->message)));
	return evolved_after(push, job, ingest) ? NIL : others;
}

/* It may take the rows one by one nevertheless. */
static bool
refuses_job(const ApiError *error)
{
	return error->status != 0 && error->refusal != API_TRANSIENT &&
		error->refusal != API_LOGIN &&
		strcmp(error->code, "REQUEST_LIMIT_EXCEEDED") != 0;
}

static void
tell_refused(const PushObject *target, const ApiError *error)
{
	ereport(LOG,
			(errmsg("Salesforce takes no Bulk job for changes of \"%s\", they are sent by Collections",
					target->object->object),
			 errdetail("%s: %s", error->code, error->message)));
}

/*
 * A new job, or NULL if Salesforce takes none for these rows: an object that
 * Bulk does not serve, a permission, the allowance of Bulk alone.
 */
static IngestJob *
create_job(Push *push, PushObject *target, WriteVerb verb)
{
	MemoryContext caller = CurrentMemoryContext;
	ApiError   *error = &push->org->api->error;
	IngestJob  *volatile ingest = NULL;

	api_clear_error(push->org->api);
	PG_TRY();
	{
		ingest = ingest_create(push->org->api, target->object->object, verb,
							   target->object->external_id);
	}
	PG_CATCH();
	{
		if (!refuses_job(error))
			PG_RE_THROW();
		MemoryContextSwitchTo(caller);
		FlushErrorState();
		tell_refused(target, error);
	}
	PG_END_TRY();
	return ingest;
}

/* False if the job's rows were refused, and it will do nothing any more. */
static bool
upload(Push *push, PushObject *target, IngestJob *ingest, StringInfo csv)
{
	MemoryContext caller = CurrentMemoryContext;
	ApiError   *error = &push->org->api->error;
	volatile bool refused = false;

	api_clear_error(push->org->api);
	PG_TRY();
	{
		ingest_upload(push->org->api, ingest, csv);
	}
	PG_CATCH();
	{
		if (!refuses_job(error))
			PG_RE_THROW();
		MemoryContextSwitchTo(caller);
		FlushErrorState();
		tell_refused(target, error);
		refused = true;
	}
	PG_END_TRY();
	pfree(csv->data);
	return !refused || !ingest_abort(push->org->api, ingest->id);
}

/*
 * One job; rows left over for another one or another way as in build_csv.
 * Rows of a job that cannot be are left for another way.
 */
static void
run_job(Push *push, PushObject *target, WriteVerb verb, List *rows,
		List **left, List **unfit)
{
	StringInfoData csv;
	IngestJob  *ingest;
	Job			job;
	List	   *in;
	int64		attempt;
	int64	   *seqs;
	int			n;

	prepare_job(&job, target, verb, rows);
	initStringInfo(&csv);
	in = build_csv(&job, rows, &csv, left, unfit);
	if (in == NIL)
		return;
	ingest = create_job(push, target, verb);
	if (ingest == NULL)
	{
		*unfit = list_concat(*unfit, list_concat(in, *left));
		*left = NIL;
		return;
	}
	seqs = push_numbers(in, &n);
	step_begin();
	attempt = attempt_begin(push->server, target->object->object,
							verb_names[verb], target->object->external_id,
							api_now(push->org->api));
	attempt_has_job(attempt, ingest->id);
	outbox_sent(seqs, n, attempt);
	step_end();
	if (!upload(push, target, ingest, &csv))
	{
		step_begin();
		push_give_back(in, attempt);
		step_end();
		*unfit = list_concat(*unfit, in);
		return;
	}
	ingest_wait(push->org->api, ingest);
	*unfit = list_concat(*unfit, finish(push, &job, ingest, in, attempt));
}

List *
push_by_bulk(Push *push, PushObject *target, WriteVerb verb, List *rows)
{
	List	   *unfit = NIL;

	while (rows != NIL)
	{
		List	   *left = NIL;

		run_job(push, target, verb, rows, &left, &unfit);
		rows = left;
	}
	return unfit;
}

/*
 * A job that does not run any more, and that we have aborted if it was open.
 * The answer to an earlier abort may have been lost.
 */
static bool
nothing_was_done(const IngestJob *ingest)
{
	return ingest->state == INGEST_OPEN || ingest->state == INGEST_GONE ||
		(ingest->aborted && ingest->processed == 0);
}

/* What a job that is forgotten may have done is no harm if it is done twice. */
static bool
may_go_again(const PushObject *target, const OutboxAttempt *attempt,
			 WriteVerb verb)
{
	const char *present = target->object->external_id;

	if (verb == WRITE_UPSERT)
		return present != NULL && attempt->external_id != NULL &&
			strcmp(present, attempt->external_id) == 0;
	return verb != WRITE_CREATE;
}

/*
 * A job of which only the id is known.
 */
JobEnd
push_finish_job(Push *push, PushObject *target, const OutboxAttempt *attempt,
				List *rows)
{
	IngestJob  *ingest = ingest_known(attempt->job);
	List	   *left = NIL;
	List	   *in;
	StringInfoData csv;
	Job			job;
	WriteVerb	verb = WRITE_CREATE;

	for (size_t i = 0; i < lengthof(verb_names); i++)
	{
		if (strcmp(verb_names[i], attempt->verb) == 0)
			verb = (WriteVerb) i;
	}
	ingest_poll(push->org->api, ingest);
	if (ingest->state == INGEST_GONE && !may_go_again(target, attempt, verb))
		return JOB_UNKNOWN;
	if (ingest->state == INGEST_RUNNING ||
		(ingest->state == INGEST_OPEN &&
		 !ingest_abort(push->org->api, ingest->id)))
		return JOB_RUNNING;
	if (nothing_was_done(ingest))
	{
		step_begin();
		push_give_back(rows, attempt->attempt);
		step_end();
		return JOB_SETTLED;
	}
	prepare_job(&job, target, verb, rows);
	initStringInfo(&csv);
	in = build_csv(&job, rows, &csv, &left, &left);
	pfree(csv.data);
	/* What is to go otherwise is due again. */
	(void) finish(push, &job, ingest, list_concat(in, left),
				  attempt->attempt);
	return JOB_SETTLED;
}
