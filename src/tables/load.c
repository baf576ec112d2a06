/*-------------------------------------------------------------------------
 *
 * load.c
 *	  Rows from a source into a table, by the server's own COPY.
 *
 * COPY's parser, input functions and multi-insert do all the work; the bytes
 * come from a row source through COPY's callback.  That costs 3 % over reading
 * a local file, where any way through statements costs several times as much.
 *
 * COPY gives up at the first row that it does not like.  That is rare, so only
 * then is the source read again in lots (records.c), which are bisected
 * (attempt.c) down to the rows at fault.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "catalog/objectaddress.h"
#include "commands/copy.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parse_relation.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"

#include "compat.h"
#include "tables/attempt.h"
#include "tables/blocker.h"
#include "tables/guard.h"
#include "tables/load.h"
#include "tables/records.h"
#include "tables/relation.h"

/* Longest message that is kept of a refused row: it may quote the value. */
#define MESSAGE_BYTES	1000

typedef struct Load
{
	Oid			relid;
	List	   *columns;
	RowSource  *source;
	bool		apply;
	int64		rows;			/* went in */

	/* While a COPY runs. */
	ApplyState	state;
	CopyFromState copy;
	bool		reading;		/* the source's own code runs */

	/* On the careful way. */
	RowSource  *whole;
	Records    *records;
	List	  **refused;
	MemoryContext caller;
} Load;

/*
 * COPY's callback has no argument to say whose rows it is to read, so there
 * can be one load at a time in a process.
 */
static Load *current = NULL;

static void
forget_current(void *arg)
{
	current = NULL;
}

/* The source may log in again or ask the catalog: it does so as the caller. */
static int
read_source(void *outbuf, int minread, int maxread)
{
	Load	   *load = current;
	int			n;

	apply_suspend(&load->state);
	load->reading = true;
	n = load->source->read(load->source, outbuf, minread, maxread);
	load->reading = false;
	apply_resume(&load->state);
	return n;
}

/* Puts the column that COPY is reading into the error: only COPY knows it. */
static void
name_column(void *arg)
{
	Load	   *load = arg;

	if (load->copy != NULL && copy_current_column(load->copy) != NULL)
		err_generic_string(PG_DIAG_COLUMN_NAME,
						   copy_current_column(load->copy));
}

/* What the COPY command checks, and BeginCopyFrom leaves to its caller. */
static void
check_may_copy(Relation rel)
{
	Oid			relid = RelationGetRelid(rel);
	AclResult	result = pg_class_aclcheck(relid, GetUserId(), ACL_INSERT);

	if (result != ACLCHECK_OK)
		aclcheck_error(result, get_relkind_objtype(rel->rd_rel->relkind),
					   RelationGetRelationName(rel));
	if (!rel->rd_islocaltemp)
		PreventCommandIfReadOnly("COPY FROM");
	if (check_enable_rls(relid, InvalidOid, false) == RLS_ENABLED)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("cannot copy rows into table \"%s\" with row-level security",
						relation_label(relid)),
				 errhint("Use ALTER TABLE ... NO FORCE ROW LEVEL SECURITY: the rows are written as the table's owner.")));
}

static List *
column_nodes(List *columns)
{
	List	   *nodes = NIL;
	ListCell   *lc;

	foreach(lc, columns)
		nodes = lappend(nodes, makeString(pstrdup(lfirst(lc))));
	return nodes;
}

/*
 * Sources send UTF-8 whatever the database speaks.  Salesforce quotes all
 * values and has no empty ones, so a quoted empty value is a NULL as well.
 */
static List *
copy_options(List *columns)
{
	List	   *options = NIL;

	options = lappend(options,
					  makeDefElem("format", (Node *) makeString("csv"), -1));
	options = lappend(options,
					  makeDefElem("encoding", (Node *) makeString("UTF8"), -1));
	options = lappend(options,
					  makeDefElem("force_null",
								  (Node *) column_nodes(columns), -1));
	return options;
}

static uint64
copy_into(Load *load, Relation rel)
{
	ParseState *pstate = make_parsestate(NULL);
	ErrorContextCallback context;
	uint64		rows;

	(void) addRangeTableEntryForRelation(pstate, rel, RowExclusiveLock, NULL,
										 false, false);
	load->copy = begin_copy_from(pstate, rel, read_source,
								 column_nodes(load->columns),
								 copy_options(load->columns));
	context.callback = name_column;
	context.arg = load;
	context.previous = error_context_stack;
	error_context_stack = &context;
	rows = CopyFrom(load->copy);
	error_context_stack = context.previous;

	EndCopyFrom(load->copy);
	load->copy = NULL;
	free_parsestate(pstate);
	return rows;
}

/* Gives up the claim to be the current load when this memory is given back. */
static void
become_current(Load *load)
{
	MemoryContextCallback *forget = palloc0(sizeof(MemoryContextCallback));

	if (current != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot load rows while other rows are being loaded"),
				 errhint("Do not run the sync from within a trigger of a synced table.")));
	forget->func = forget_current;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, forget);
	load->copy = NULL;
	load->reading = false;
	current = load;
}

/* One COPY of all that the source has.  Runs in an attempt, and its memory. */
static void
copy_rows(void *arg)
{
	Load	   *load = arg;
	Relation	rel;
	uint64		rows;

	become_current(load);
	if (load->apply)
	{
		apply_begin(load->relid, &load->state);
		apply_by_copy(&load->state);
	}
	else
		owner_begin(relation_owner(load->relid), &load->state);
	PushActiveSnapshot(GetTransactionSnapshot());
	rel = table_open(load->relid, RowExclusiveLock);
	check_may_copy(rel);
	rows = copy_into(load, rel);
	table_close(rel, NoLock);
	PopActiveSnapshot();
	if (load->apply)
		apply_end(&load->state);
	else
		owner_end(&load->state);

	CommandCounterIncrement();
	load->rows += rows;
}

static char *
clip(const char *text)
{
	int			length;

	if (text == NULL)
		return NULL;
	length = strlen(text);
	if (length <= MESSAGE_BYTES)
		return pstrdup(text);
	length = pg_mbcliplen(text, length, MESSAGE_BYTES);
	return psprintf("%.*s...", length, text);
}

RefusedRow *
refused_row(const char *id, const ErrorData *error)
{
	RefusedRow *row = palloc0(sizeof(RefusedRow));

	row->id = id == NULL ? NULL : pstrdup(id);
	strlcpy(row->sqlstate, unpack_sql_state(error->sqlerrcode),
			sizeof(row->sqlstate));
	row->message = clip(error->message);
	row->detail = clip(error->detail);
	row->column = error->column_name == NULL ? NULL :
		pstrdup(error->column_name);
	return row;
}

RefusedRow *
refused_locked(Oid relid, const char *id)
{
	RefusedRow *row = palloc0(sizeof(RefusedRow));
	int			pid = blocker_of_row(relid, id);

	if (pid == 0)
		pid = blocker_of_table(relid, RowExclusiveLock);
	row->id = pstrdup(id);
	strlcpy(row->sqlstate, unpack_sql_state(ERRCODE_LOCK_NOT_AVAILABLE),
			sizeof(row->sqlstate));
	row->message = pid ? psprintf("the row is locked by process %d", pid) :
		pstrdup("the row is locked by another process");
	return row;
}

RefusedRow *
refused_waiting(Oid relid, const char *id, const ErrorData *error)
{
	RefusedRow *row;
	Oid			table;
	int			pid;

	if (id == NULL || error->sqlerrcode != ERRCODE_LOCK_NOT_AVAILABLE)
		return refused_row(id, error);
	pid = blocker_of_wait(&table);
	if (blocker_of_row(relid, id) != 0 &&
		(pid == 0 || (pid == blocker_of_row(relid, id) && table == InvalidOid)))
		return refused_locked(relid, id);
	row = refused_row(id, error);
	if (OidIsValid(table) && pid != 0)
		row->message = psprintf("table \"%s\" is locked by process %d",
								relation_label(table), pid);
	else if (pid != 0)
		row->message = psprintf("a lock that the row needs is held by process %d",
								pid);
	return row;
}

/* bisect() runs this in a subtransaction. */
static void
copy_records(void *arg, int first, int last)
{
	Load	   *load = arg;

	load->source = records_choose(load->records, first, last);
	copy_rows(load);
}

static void
refuse_record(void *arg, int record, ErrorData *error)
{
	Load	   *load = arg;
	MemoryContext old = MemoryContextSwitchTo(load->caller);
	char	   *id = records_id(load->records, record);

	*load->refused = lappend(*load->refused,
							 refused_waiting(load->relid, id, error));
	MemoryContextSwitchTo(old);
}

static void
load_carefully(Load *load)
{
	Bisection	how = {.apply = copy_records, .refuse = refuse_record, .arg = load};
	int			n;

	load->whole->rewind(load->whole);
	load->records = records_create(load->whole, list_length(load->columns),
								   relation_false_columns(load->relid,
														  load->columns));
	while ((n = records_next(load->records)) > 0)
		bisect(&how, 0, n);
}

int64
load_rows(Oid relid, List *columns, RowSource *source, bool apply,
		  List **refused)
{
	Load		load = {0};
	MemoryContext context;
	ErrorData  *error;

	context = AllocSetContextCreate(CurrentMemoryContext, "sync load",
									ALLOCSET_DEFAULT_SIZES);
	load.caller = MemoryContextSwitchTo(context);
	load.relid = relid;
	load.columns = columns;
	load.source = load.whole = source;
	load.apply = apply;
	load.refused = refused;

	error = attempt(copy_rows, &load);
	if (error != NULL && load.reading)
		ReThrowError(error);
	if (error != NULL)
		load_carefully(&load);

	MemoryContextSwitchTo(load.caller);
	MemoryContextDelete(context);
	return load.rows;
}
