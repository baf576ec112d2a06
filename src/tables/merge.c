/*-------------------------------------------------------------------------
 *
 * merge.c
 *	  Changed rows into a live table: stage, drop what is unchanged, merge.
 *
 * The stage is a temporary table with the synced columns, filled by COPY.
 * From there a join finds the rows that are older than the table's, or equal,
 * which then cost neither a lock nor WAL; the rest is written by one UPDATE,
 * one INSERT and one DELETE.  These, rather than INSERT ... ON CONFLICT, because
 * nobody else writes ids of Salesforce's into the table, because a row that is
 * updated then fires no INSERT triggers and uses up no defaults, and because
 * ON CONFLICT looks up each row twice and logs a lock on it.
 *
 * How the stage is made: stage.c.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "datatype/timestamp.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "optimizer/optimizer.h"
#include "optimizer/cost.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "tables/attempt.h"
#include "tables/blocker.h"
#include "tables/guard.h"
#include "tables/merge.h"
#include "tables/relation.h"
#include "tables/sql.h"
#include "tables/stage.h"

#define STAGE			"pg_temp." STAGE_NAME

/* The key of every synced table, and what marks a row as deleted there. */
#define ID_COLUMN		"id"
#define DELETED_COLUMN	"isdeleted"

/* How many ids are in memory and in one attempt while faults are looked for. */
#define LOT_IDS			4096

/*
 * Stage
 */

static void
append_names(StringInfo sql, const char *prefix, List *columns)
{
	ListCell   *lc;

	foreach(lc, columns)
		appendStringInfo(sql, "%s%s%s", lc == list_head(columns) ? "" : ", ",
						 prefix, quote_identifier(lfirst(lc)));
}

static const char *
id_of(const Stage *stage)
{
	return quote_identifier(linitial(stage->columns));
}

Stage *
stage_create(Oid relid, List *columns, const char *stamp)
{
	Stage	   *stage = palloc0(sizeof(Stage));
	ListCell   *lc;

	stage->relid = relid;
	stage->stamp = stamp == NULL ? NULL : pstrdup(stamp);
	stage->audit_alone = true;
	foreach(lc, columns)
	{
		stage->columns = lappend(stage->columns, pstrdup(lfirst(lc)));
		if (strcmp(lfirst(lc), DELETED_COLUMN) == 0)
			stage->has_isdeleted = true;
	}

	stage->stage = stage_make(relid, stage->columns);
	return stage;
}

int64
stage_load(Stage *stage, RowSource *source, List **refused)
{
	stage->prepared = false;
	return load_rows(stage->stage, stage->columns, source, false, refused);
}

void
stage_drop(Stage *stage)
{
	stage_unmake();
	stage->stage = InvalidOid;
}

List *
stage_ids(Oid stage, List *among)
{
	SqlScope	sql;
	List	   *ids;
	char	   *all = psprintf("SELECT " ID_COLUMN " FROM %s",
							   relation_sql(stage));

	sql_begin_on(&sql, stage);
	sql_avoid_nested_loops(&sql);
	ids = sql_texts(&sql, among == NIL ? sql_run(&sql, all, "") :
					sql_run(&sql, psprintf("%s WHERE " ID_COLUMN
										   " IN (SELECT unnest($1))", all),
							"T", among));
	sql_end(&sql);
	return ids;
}

void
stage_remove(Oid stage, List *ids)
{
	SqlScope	sql;

	if (ids == NIL)
		return;
	sql_begin_on(&sql, stage);
	sql_avoid_nested_loops(&sql);
	(void) sql_run(&sql,
				   psprintf("DELETE FROM %s WHERE " ID_COLUMN
							" IN (SELECT unnest($1))", relation_sql(stage)),
				   "T", ids);
	sql_end(&sql);
}

/*
 * An id that was staged more than once: pages were read at different times,
 * and the row changed in between.  The newest counts, of equal ones the one that
 * was read last.
 */
static void
drop_doubles(const Stage *stage)
{
	const char *id = id_of(stage);
	bool		stamped = stage->stamp != NULL &&
		get_attnum(stage->stage, stage->stamp) != InvalidAttrNumber;

	relation_run(psprintf("DELETE FROM " STAGE " WHERE ctid IN (SELECT c FROM"
						  " (SELECT ctid AS c, row_number() OVER"
						  " (PARTITION BY %s ORDER BY %s%s ctid DESC) AS n"
						  " FROM " STAGE " WHERE %s IN"
						  " (SELECT %s FROM " STAGE
						  " GROUP BY %s HAVING count(*) > 1)) AS numbered"
						  " WHERE n > 1)", id,
						  stamped ? quote_identifier(stage->stamp) : "",
						  stamped ? " DESC NULLS LAST," : "",
						  id, id, id));
}

/*
 * A temporary table has no statistics unless asked for, and without them one
 * row and a million look alike to the planner: the first wants the key's
 * index, the other a hash join.
 */
static void
prepare_stage(Stage *stage)
{
	ApplyState	state;

	if (stage->prepared)
		return;
	owner_begin(relation_owner(stage->stage), &state);
	relation_run(psprintf("ANALYZE " STAGE " (%s)", id_of(stage)));
	drop_doubles(stage);
	owner_end(&state);
	stage->prepared = true;
}

/*
 * Statements
 */

/* The parts of a merge that do not depend on how much is merged at once. */
typedef struct Merge
{
	const Stage *stage;
	char	   *table;
	char	   *update;
	char	   *audit;			/* NULL: these columns are like others */
	char	   *insert;
	char	   *delete;			/* NULL: nothing to delete */
	int64		staged;
	MergeCounts done;

	/* While faults are looked for. */
	List	   *ids;			/* of char *, in order */
	List	   *refused;		/* of RefusedRow * */
	MemoryContext caller;
} Merge;

/* A staged value as it will be in the table; booleans are never null there. */
static char *
staged_value(const char *column, bool is_false)
{
	return psprintf(is_false ? "COALESCE(s.%s, false)" : "s.%s",
					quote_identifier(column));
}

/*
 * Values are compared byte by byte: under a collation that ignores case,
 * another spelling would count as unchanged.
 */
static void
append_difference(StringInfo sql, Oid relid, const char *column, bool is_false)
{
	Oid			type;
	int32		typmod;
	Oid			collation;
	const char *collate;
	AttrNumber	attnum = get_attnum(relid, column);

	if (attnum == InvalidAttrNumber)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("table \"%s\" has no column \"%s\"",
						relation_label(relid), column)));
	get_atttypetypmodcoll(relid, attnum, &type, &typmod, &collation);
	collate = OidIsValid(collation) ? " COLLATE pg_catalog.\"C\"" : "";
	appendStringInfo(sql, "t.%s%s IS DISTINCT FROM %s%s",
					 quote_identifier(column), collate,
					 staged_value(column, is_false), collate);
}

static bool
is_audit(const Stage *stage, const char *column)
{
	ListCell   *lc;

	foreach(lc, stage->audit)
	{
		if (strcmp(lfirst(lc), column) == 0)
			return true;
	}
	return false;
}

typedef enum Differing
{
	DIFFER_AUDIT,
	DIFFER_OTHERS,
	DIFFER_ANY
} Differing;

/* Some of these columns differs. */
static void
append_differs(StringInfo sql, const Stage *stage, const bool *false_columns,
			   Differing which)
{
	int			i = 0;
	int			n = 0;
	ListCell   *lc;

	appendStringInfoChar(sql, '(');
	foreach(lc, stage->columns)
	{
		if (i > 0 && (which == DIFFER_ANY ||
					  is_audit(stage, lfirst(lc)) == (which == DIFFER_AUDIT)))
		{
			appendStringInfoString(sql, n++ > 0 ? " OR " : "");
			append_difference(sql, stage->relid, lfirst(lc), false_columns[i]);
		}
		i++;
	}
	appendStringInfoString(sql, n > 0 ? ")" : "false)");
}

/* The staged row is as new as the table's, as far as the two can tell. */
static char *
not_older(const Stage *stage)
{
	const char *stamp;

	if (stage->stamp == NULL || stage->overwrites)
		return "";
	stamp = quote_identifier(stage->stamp);
	return psprintf(" AND (s.%s < t.%s) IS NOT TRUE", stamp, stamp);
}

static void
append_assignments(StringInfo sql, const Stage *stage,
				   const bool *false_columns, bool audit)
{
	int			i = 0;
	int			n = 0;
	ListCell   *lc;

	foreach(lc, stage->columns)
	{
		if (i > 0 && (!audit || is_audit(stage, lfirst(lc))))
			appendStringInfo(sql, "%s%s = %s", n++ > 0 ? ", " : "",
							 quote_identifier(lfirst(lc)),
							 staged_value(lfirst(lc), false_columns[i]));
		i++;
	}
}

/*
 * With mark, deleted rows are rows like any other; their column isdeleted says
 * what they are.  With audit, only audit columns, of rows whose others are the
 * same: to be run after the one without.
 */
static char *
update_statement(const Merge *merge, bool mark, const bool *false_columns,
				 bool audit)
{
	const Stage *stage = merge->stage;
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "UPDATE %s AS t SET ", merge->table);
	append_assignments(&sql, stage, false_columns, audit);
	appendStringInfo(&sql, " FROM " STAGE " AS s WHERE t.%s = s.%s",
					 id_of(stage), id_of(stage));
	if (stage->has_isdeleted && !mark)
		appendStringInfoString(&sql, " AND s." DELETED_COLUMN " IS NOT TRUE");
	appendStringInfoString(&sql, not_older(stage));
	appendStringInfoString(&sql, " AND ");
	append_differs(&sql, stage, false_columns,
				   audit ? DIFFER_AUDIT : DIFFER_OTHERS);
	return sql.data;
}

/* Rows that were deleted before they were seen here are not brought in. */
static char *
insert_statement(const Merge *merge, const bool *false_columns)
{
	const Stage *stage = merge->stage;
	StringInfoData sql;
	int			i = 0;
	ListCell   *lc;

	initStringInfo(&sql);
	appendStringInfo(&sql, "INSERT INTO %s (",
					 relation_sql(stage->relid));
	append_names(&sql, "", stage->columns);
	appendStringInfoString(&sql, ") SELECT ");
	foreach(lc, stage->columns)
	{
		appendStringInfo(&sql, "%s%s", i > 0 ? ", " : "",
						 staged_value(lfirst(lc), false_columns[i]));
		i++;
	}
	appendStringInfo(&sql, " FROM " STAGE " AS s WHERE NOT EXISTS"
					 " (SELECT FROM %s AS t WHERE t.%s = s.%s)",
					 merge->table, id_of(stage), id_of(stage));
	if (stage->has_isdeleted)
		appendStringInfoString(&sql, " AND s." DELETED_COLUMN " IS NOT TRUE");
	return sql.data;
}

static char *
delete_statement(const Merge *merge)
{
	return psprintf("DELETE FROM %s AS t USING " STAGE " AS s"
					" WHERE t.%s = s.%s AND s." DELETED_COLUMN "%s",
					merge->table, id_of(merge->stage), id_of(merge->stage),
					not_older(merge->stage));
}

static void
prepare_merge(Merge *merge, const Stage *stage, bool mark)
{
	bool	   *false_columns = relation_false_columns(stage->relid,
													   stage->columns);

	merge->stage = stage;
	merge->table = relation_rows(stage->relid);
	merge->update = update_statement(merge, mark, false_columns, false);
	if (stage->audit != NIL && stage->audit_alone)
		merge->audit = update_statement(merge, mark, false_columns, true);
	merge->insert = insert_statement(merge, false_columns);
	if (stage->has_isdeleted && !mark &&
		relation_number("SELECT count(*) FROM " STAGE
						" WHERE " DELETED_COLUMN) > 0)
		merge->delete = delete_statement(merge);
	merge->staged = relation_number("SELECT count(*) FROM " STAGE);
}

/*
 * Applying
 */

static void
set_for_now(const char *name, const char *value)
{
	(void) set_config_option(name, value, PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
}

/*
 * Up to a tenth of the table or so, looking rows up by the key takes half the
 * time of reading the table for a join, even though all columns are compared:
 * what changes is in memory, mostly, and what is not is soon read, on disks of
 * today.  The default cost of random access would have it the other way round.
 * Beyond that a hash join wins, if its table fits into memory; otherwise it
 * writes the whole synced table out.  Compiling takes longer than it saves.
 */
static void
set_planner(void)
{
	double		random_cost = Min(random_page_cost, seq_page_cost * 1.1);

	set_for_now("random_page_cost", psprintf("%g", random_cost));
	set_for_now("work_mem",
				psprintf("%d", Max(work_mem, maintenance_work_mem)));
	set_for_now("jit", "off");
}

/* Runs a statement for all of the stage, or for ids from first to last. */
static int64
run_for(const Merge *merge, const char *sql, const char *first,
		const char *last)
{
	Oid			types[2] = {TEXTOID, TEXTOID};
	Datum		values[2];

	if (first == NULL)
		return relation_run(sql);
	values[0] = CStringGetTextDatum(first);
	values[1] = CStringGetTextDatum(last);
	sql = psprintf("%s AND s.%s >= $1 AND s.%s <= $2", sql,
				   id_of(merge->stage), id_of(merge->stage));
	return relation_run_args(sql, 2, types, values);
}

/* In an attempt; counts only what has not been rolled back. */
static void
merge_range(Merge *merge, const char *first, const char *last)
{
	ApplyState	state;
	int64		inserted = 0;
	int64		updated;
	int64		audited = 0;
	int64		deleted = 0;

	apply_begin(merge->stage->relid, &state);
	set_planner();
	updated = run_for(merge, merge->update, first, last);
	if (merge->audit != NULL)
		audited = run_for(merge, merge->audit, first, last);
	if (first != NULL || updated + audited < merge->staged)
		inserted = run_for(merge, merge->insert, first, last);
	if (merge->delete != NULL)
		deleted = run_for(merge, merge->delete, first, last);
	apply_end(&state);

	merge->done.inserted += inserted;
	merge->done.updated += updated;
	merge->done.deleted += deleted;
}

static void
merge_all(void *arg)
{
	merge_range(arg, NULL, NULL);
}

static void
merge_lot(void *arg, int first, int last)
{
	Merge	   *merge = arg;

	merge_range(merge, list_nth(merge->ids, first),
				list_nth(merge->ids, last - 1));
}

static void
refuse_id(void *arg, int item, ErrorData *error)
{
	Merge	   *merge = arg;
	MemoryContext old = MemoryContextSwitchTo(merge->caller);

	merge->refused = lappend(merge->refused,
							 refused_waiting(merge->stage->relid,
											 list_nth(merge->ids, item),
											 error));
	MemoryContextSwitchTo(old);
}

static List *
next_ids(const Stage *stage, const char *after)
{
	Oid			types[1] = {TEXTOID};
	Datum		values[1];
	const char *id = id_of(stage);

	values[0] = CStringGetTextDatum(after);
	return relation_texts(psprintf("SELECT %s FROM " STAGE " WHERE %s > $1"
								   " ORDER BY %s LIMIT %d", id, id, id, LOT_IDS),
						  1, types, values);
}

/* Could it be that the error has gone when other rows of the stage are in? */
static bool
depends_on_others(const RefusedRow *row)
{
	return strcmp(row->sqlstate, "23503") == 0 ||	/* foreign key */
		strcmp(row->sqlstate, "23505") == 0 ||	/* unique */
		strcmp(row->sqlstate, "23P01") == 0;	/* exclusion */
}

/*
 * A row may need another one of the same stage: the parent that comes after
 * it, or one that gives up a unique value.  As long as any of them gets in,
 * the others have another chance.
 */
static void
retry_refused(Merge *merge)
{
	Bisection	how = {.apply = merge_lot, .refuse = refuse_id, .arg = merge};
	bool		progress = true;

	while (progress)
	{
		List	   *before = merge->refused;
		ListCell   *lc;

		merge->refused = NIL;
		progress = false;
		foreach(lc, before)
		{
			RefusedRow *row = lfirst(lc);
			int			nrefused = list_length(merge->refused);

			if (!depends_on_others(row))
			{
				merge->refused = lappend(merge->refused, row);
				continue;
			}
			merge->ids = list_make1(row->id);
			bisect(&how, 0, 1);
			progress |= list_length(merge->refused) == nrefused;
		}
	}
}

static void
merge_carefully(Merge *merge, bool contended)
{
	Bisection	how = {.apply = merge_lot, .refuse = refuse_id, .arg = merge};
	int			patience = patience_begin();
	MemoryContext work = CurrentMemoryContext;
	MemoryContext lot = AllocSetContextCreate(work, "sync ids",
											  ALLOCSET_DEFAULT_SIZES);
	char	   *after = pstrdup("");

	if (contended)
		how.give_up = GetCurrentTimestamp() + ATTEMPT_PATIENCE;
	/* Ranges of ids are cheap to read when the stage has an index. */
	stage_index(merge->stage->stage, linitial(merge->stage->columns));
	for (;;)
	{
		MemoryContextSwitchTo(lot);
		merge->ids = next_ids(merge->stage, after);
		if (merge->ids == NIL)
			break;
		bisect(&how, 0, list_length(merge->ids));
		after = MemoryContextStrdup(work, llast(merge->ids));
		MemoryContextReset(lot);
	}
	MemoryContextSwitchTo(work);
	MemoryContextDelete(lot);
	retry_refused(merge);
	patience_end(patience);
}

/*
 * Rows of the table that the stage would write to and that somebody else has
 * locked.  They leave the stage, to be tried again in a moment; the others need
 * not wait for them.  A row that is to be deleted needs the stronger lock.
 */
static List *
locked_ids(const Stage *stage, bool deleted, const char *lock)
{
	char	   *id = pstrdup(id_of(stage));
	char	   *table = relation_rows(stage->relid);
	const char *which = !stage->has_isdeleted ? "true" :
		deleted ? "s." DELETED_COLUMN " IS TRUE" :
		"s." DELETED_COLUMN " IS NOT TRUE";

	if (deleted && !stage->has_isdeleted)
		return NIL;
	return relation_texts(psprintf("WITH free AS MATERIALIZED (SELECT t.%s FROM %s t"
								   " JOIN " STAGE " s ON s.%s = t.%s WHERE %s"
								   " FOR %s OF t SKIP LOCKED)"
								   " SELECT t.%s FROM %s t JOIN " STAGE " s"
								   " ON s.%s = t.%s WHERE %s AND NOT EXISTS"
								   " (SELECT FROM free f WHERE f.%s = t.%s)",
								   id, table, id, id, which, lock, id, table,
								   id, id, which, id, id),
						  0, NULL, NULL);
}

/* In a subtransaction that is rolled back, so that nothing stays locked. */
static List *
find_locked(const Stage *stage)
{
	ResourceOwner owner = CurrentResourceOwner;
	MemoryContext context = CurrentMemoryContext;
	List	   *ids;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(context);
	blocker_check_table(stage->relid, RowExclusiveLock);
	ids = list_concat(locked_ids(stage, false, "NO KEY UPDATE"),
					  locked_ids(stage, true, "UPDATE"));
	RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(context);
	CurrentResourceOwner = owner;
	return ids;
}

static bool
set_locked_aside(Merge *merge)
{
	List	   *ids = find_locked(merge->stage);
	MemoryContext old = MemoryContextSwitchTo(merge->caller);
	ListCell   *lc;

	foreach(lc, ids)
		merge->refused = lappend(merge->refused,
								 refused_locked(merge->stage->relid,
												lfirst(lc)));
	MemoryContextSwitchTo(old);
	stage_remove(merge->stage->stage, ids);
	return ids != NIL;
}

/* How often a whole merge is tried again after it met with others. */
#define MERGE_TRIES		3

/*
 * All at once, as it nearly always goes.  A deadlock or a serialization failure
 * is over when it is told; rows that are locked stand aside; and if it is still
 * not to be had, something else is locked (a key that another transaction has
 * inserted, a table that a trigger writes to), and the rows at fault are looked
 * for one by one.
 */
static void
merge_as_possible(Merge *merge)
{
	ErrorData  *error = NULL;

	for (int i = 0; i < MERGE_TRIES; i++)
	{
		error = attempt_contended(merge_all, merge);
		if (error == NULL)
			return;
		if (error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE)
		{
			if (!set_locked_aside(merge))
				break;
		}
		else if (!is_contention(error))
			break;
	}
	merge_carefully(merge, is_contention(error));
}

/* Appends what was refused to the caller's list, in the caller's memory. */
static void
hand_over(Merge *merge, MergeCounts *counts, List **refused)
{
	MemoryContext old = MemoryContextSwitchTo(merge->caller);
	ListCell   *lc;

	foreach(lc, merge->refused)
		*refused = lappend(*refused, lfirst(lc));
	MemoryContextSwitchTo(old);
	counts->inserted += merge->done.inserted;
	counts->updated += merge->done.updated;
	counts->deleted += merge->done.deleted;
	counts->failed += list_length(merge->refused);
	counts->skipped += Max(merge->staged - merge->done.inserted -
						   merge->done.updated - merge->done.deleted -
						   list_length(merge->refused), 0);
}

/* Work that looks into the stage: as its owner, in memory of its own. */
typedef struct StageWork
{
	ApplyState	owner;
	MemoryContext caller;
	MemoryContext context;
} StageWork;

static void
stage_work_begin(StageWork *work, Oid relid)
{
	work->context = AllocSetContextCreate(CurrentMemoryContext, "sync merge",
										  ALLOCSET_DEFAULT_SIZES);
	work->caller = MemoryContextSwitchTo(work->context);
	owner_begin(relation_owner(relid), &work->owner);
}

static void
stage_work_end(StageWork *work)
{
	owner_end(&work->owner);
	MemoryContextSwitchTo(work->caller);
	MemoryContextDelete(work->context);
}

void
merge_stage(Stage *stage, bool mark, MergeCounts *counts, List **refused)
{
	StageWork	work;
	Merge		merge = {0};

	stage_work_begin(&work, stage->relid);
	merge.caller = work.caller;
	prepare_stage(stage);
	prepare_merge(&merge, stage, mark);
	if (merge.staged > 0)
		merge_as_possible(&merge);
	hand_over(&merge, counts, refused);
	stage_work_end(&work);
}

/* Of the rows that differ in nothing else: do they in audit columns? */
static char *
drop_same_statement(const Stage *stage)
{
	const char *id = id_of(stage);
	const bool *false_columns = relation_false_columns(stage->relid,
													   stage->columns);
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "WITH same AS (SELECT s.ctid AS row, ");
	append_differs(&sql, stage, false_columns, DIFFER_AUDIT);
	appendStringInfo(&sql, " AS audit FROM " STAGE " AS s JOIN %s AS t"
					 " ON t.%s = s.%s WHERE NOT ",
					 relation_rows(stage->relid), id, id);
	append_differs(&sql, stage, false_columns, DIFFER_OTHERS);
	appendStringInfoString(&sql, "), dropped AS (DELETE FROM " STAGE
						   " WHERE ctid IN (SELECT row FROM same"
						   " WHERE NOT audit))"
						   " SELECT unnest(ARRAY[count(*) FILTER (WHERE NOT audit),"
						   " count(*) FILTER (WHERE audit)]) FROM same");
	return sql.data;
}

int64
stage_count(Stage *stage)
{
	StageWork	work;
	int64		count;

	stage_work_begin(&work, stage->relid);
	prepare_stage(stage);
	count = relation_number("SELECT pg_catalog.count(*) FROM " STAGE " AS s");
	stage_work_end(&work);
	return count;
}

int64
stage_drop_same(Stage *stage)
{
	StageWork	work;
	List	   *counts;
	int64		dropped;

	stage_work_begin(&work, stage->relid);
	prepare_stage(stage);
	set_planner();
	counts = relation_texts(drop_same_statement(stage), 0, NULL, NULL);
	dropped = strtoll(linitial(counts), NULL, 10);
	stage->audit_alone = strcmp(lsecond(counts), "0") != 0;
	stage_work_end(&work);
	return dropped;
}

/*
 * A row that is marked as deleted here, with the same stamp, was seen before.
 */
static char *
absent_query(const Stage *stage)
{
	const char *id = id_of(stage);
	const char *stamp = stage->stamp ? quote_identifier(stage->stamp) : NULL;
	char	   *differs = psprintf("(t.%s IS NULL%s)", id, stamp == NULL ? "" :
								   psprintf(" OR t.%s IS DISTINCT FROM s.%s",
											stamp, stamp));

	if (stage->has_isdeleted)
		differs = psprintf("CASE WHEN s." DELETED_COLUMN
						   " THEN t.%s IS NOT NULL AND"
						   " (NOT %s AND t." DELETED_COLUMN ") IS NOT TRUE"
						   " ELSE %s END", id, differs, differs);
	return psprintf("SELECT s.%s FROM " STAGE " AS s LEFT JOIN %s AS t"
					" ON t.%s = s.%s WHERE %s", id,
					relation_rows(stage->relid), id, id, differs);
}

List *
stage_absent(Stage *stage)
{
	StageWork	work;
	List	   *absent;
	char	   *query;

	stage_work_begin(&work, stage->relid);
	prepare_stage(stage);
	query = absent_query(stage);
	MemoryContextSwitchTo(work.caller);
	absent = relation_texts(query, 0, NULL, NULL);
	stage_work_end(&work);
	return absent;
}

/*
 * Deleting by id
 */

typedef struct Removal
{
	Oid			relid;
	char	   *statement;		/* with $1 ids, $2 moments */
	List	   *ids;
	const TimestampTz *moments; /* or NULL */
	bool		mark;
	int64		done;
	List	  **refused;
	int			nrefused;
	MemoryContext caller;
} Removal;

/*
 * What removes a row: DELETE or the mark, where the table has it; NULL if it
 * has not.  others: what goes with the row in FROM or USING, or NULL.
 */
static char *
removal_statement(Oid relid, bool mark, const char *others)
{
	char	   *table = relation_rows(relid);

	if (!mark)
		return psprintf("DELETE FROM %s AS t%s%s WHERE true", table,
						others ? " USING " : "", others ? others : "");
	if (get_attnum(relid, DELETED_COLUMN) == InvalidAttrNumber)
		return NULL;
	return psprintf("UPDATE %s AS t SET " DELETED_COLUMN " = true%s%s"
					" WHERE t." DELETED_COLUMN " IS NOT TRUE", table,
					others ? " FROM " : "", others ? others : "");
}

static Datum
ids_array(List *ids, int first, int last)
{
	Datum	   *values = palloc(sizeof(Datum) * (last - first));

	for (int i = first; i < last; i++)
		values[i - first] = CStringGetTextDatum(list_nth(ids, i));
	return PointerGetDatum(construct_array(values, last - first, TEXTOID, -1,
										   false, TYPALIGN_INT));
}

/* Infinity, which no stamp is newer than, stands for "whatever the stamp". */
static Datum
moments_array(const TimestampTz *moments, int first, int last)
{
	Datum	   *values = palloc(sizeof(Datum) * (last - first));

	for (int i = first; i < last; i++)
		values[i - first] = TimestampTzGetDatum(moments == NULL ||
												moments[i] == 0 ?
												DT_NOEND : moments[i]);
	return PointerGetDatum(construct_array(values, last - first,
										   TIMESTAMPTZOID, sizeof(TimestampTz),
										   FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

static void
remove_lot(void *arg, int first, int last)
{
	Removal    *removal = arg;
	Oid			types[2] = {TEXTARRAYOID, TIMESTAMPTZARRAYOID};
	Datum		values[2];
	ApplyState	state;
	int64		done;

	values[0] = ids_array(removal->ids, first, last);
	values[1] = moments_array(removal->moments, first, last);
	apply_begin(removal->relid, &state);
	set_planner();
	done = relation_run_args(removal->statement, 2, types, values);
	apply_end(&state);
	removal->done += done;
}

static void
refuse_removal(void *arg, int item, ErrorData *error)
{
	Removal    *removal = arg;
	MemoryContext old = MemoryContextSwitchTo(removal->caller);

	*removal->refused = lappend(*removal->refused,
								refused_waiting(removal->relid,
												list_nth(removal->ids, item),
												error));
	removal->nrefused++;
	MemoryContextSwitchTo(old);
}

/* Removes rows by id, lot by lot, and counts. */
static void
remove_ids(Removal *removal, const char *stamp, MergeCounts *counts)
{
	Bisection	how = {.apply = remove_lot, .refuse = refuse_removal, .arg = removal};
	int			n = list_length(removal->ids);
	int			patience;
	char	   *statement = removal_statement(removal->relid, removal->mark,
											  "ROWS FROM (unnest($1), unnest($2)) AS d (id, moment)");

	if (statement == NULL)
		return;
	blocker_check_table(removal->relid, RowExclusiveLock);
	removal->statement = psprintf("%s AND t." ID_COLUMN " = d.id%s", statement,
								  stamp == NULL ? "" :
								  psprintf(" AND (t.%s > d.moment) IS NOT TRUE",
										   quote_identifier(stamp)));
	patience = patience_begin();
	how.give_up = GetCurrentTimestamp() + ATTEMPT_PATIENCE;
	for (int first = 0; first < n; first += LOT_IDS)
		bisect(&how, first, Min(first + LOT_IDS, n));
	patience_end(patience);

	if (removal->mark)
		counts->updated += removal->done;
	else
		counts->deleted += removal->done;
	counts->failed += removal->nrefused;
}

void
merge_delete_ids(Oid relid, List *ids, const TimestampTz *moments,
				 const char *stamp, bool mark, MergeCounts *counts,
				 List **refused)
{
	StageWork	work;
	Removal		removal = {0};

	stage_work_begin(&work, relid);
	removal.relid = relid;
	removal.ids = ids;
	removal.moments = moments;
	removal.mark = mark;
	removal.refused = refused;
	removal.caller = work.caller;
	remove_ids(&removal, stamp, counts);
	counts->skipped += Max(list_length(ids) - removal.done -
						   removal.nrefused, 0);
	stage_work_end(&work);
}

typedef struct Sweep
{
	const Stage *stage;
	TimestampTz before;
	bool		mark;
	int64		done;
} Sweep;

static char *
sweep_condition(const Stage *stage)
{
	return psprintf(" AND %s AND NOT EXISTS (SELECT FROM " STAGE
					" AS s WHERE s.%s = t." ID_COLUMN "%s)",
					stage->overwrites ?
					"t." ID_COLUMN " NOT LIKE '~%' AND $1 IS NOT NULL" :
					psprintf("t.%s < $1", quote_identifier(stage->stamp)),
					id_of(stage),
					stage->has_isdeleted ?
					" AND s." DELETED_COLUMN " IS NOT TRUE" : "");
}

static void
sweep_all(void *arg)
{
	Sweep	   *sweep = arg;
	Oid			types[1] = {TIMESTAMPTZOID};
	Datum		values[1];
	char	   *statement = removal_statement(sweep->stage->relid, sweep->mark,
											  NULL);
	ApplyState	state;

	if (statement == NULL)
		return;
	values[0] = TimestampTzGetDatum(sweep->before);
	apply_begin(sweep->stage->relid, &state);
	set_planner();
	sweep->done = relation_run_args(psprintf("%s%s", statement,
											 sweep_condition(sweep->stage)),
									1, types, values);
	apply_end(&state);
}

static void
sweep_carefully(const Sweep *sweep, MergeCounts *counts, List **refused,
				MemoryContext caller)
{
	Oid			types[1] = {TIMESTAMPTZOID};
	Datum		values[1];
	Removal		removal = {0};

	values[0] = TimestampTzGetDatum(sweep->before);
	removal.relid = sweep->stage->relid;
	removal.ids = relation_texts(psprintf("SELECT t." ID_COLUMN
										  " FROM %s AS t WHERE true%s",
										  relation_rows(removal.relid),
										  sweep_condition(sweep->stage)),
								 1, types, values);
	removal.mark = sweep->mark;
	removal.refused = refused;
	removal.caller = caller;
	remove_ids(&removal, NULL, counts);
}

void
merge_delete_absent(Stage *stage, TimestampTz before, bool mark,
					MergeCounts *counts, List **refused)
{
	StageWork	work;
	Sweep		sweep = {stage, before, mark, 0};

	if (stage->stamp == NULL)
		elog(ERROR, "a sweep needs the column of the stamp");
	stage_work_begin(&work, stage->relid);
	prepare_stage(stage);
	if (attempt_contended(sweep_all, &sweep) != NULL)
		sweep_carefully(&sweep, counts, refused, work.caller);
	else if (mark)
		counts->updated += sweep.done;
	else
		counts->deleted += sweep.done;
	stage_work_end(&work);
}
