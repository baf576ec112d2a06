/*-------------------------------------------------------------------------
 *
 * provisional.c
 *	  Ids and numbers of rows that exist only here so far.
 *
 * A provisional id is drawn once, stands for one row, and is never used again,
 * also when Salesforce has given the row its id: applications go on holding it,
 * and sync.resolve tells what it has become.  An INSERT that brings one along
 * (an upsert by an application that has not learned the new id, a row copied
 * back from elsewhere) would make a second record in the org, or take the id of
 * a row that somebody else is about to insert.  So this process remembers which
 * ones its transaction has drawn, and capture takes no others.
 *
 * local_id is drawn anew for each row that is inserted here, whatever the
 * statement says: mappers send NULL for it, or the number of the row that was
 * duplicated.  A trigger does that, since a column that is GENERATED ALWAYS
 * refuses them.  The trigger is made when the first copy is done: COPY inserts
 * many rows at once only where no trigger fires before each of them.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#include "compat.h"
#include "tables/provisional.h"
#include "tables/relation.h"
#include "tables/sql.h"

PG_FUNCTION_INFO_V1(sync_provisional_id);
PG_FUNCTION_INFO_V1(sync_identify);

/* Numbers without a gap; those of one process grow. */
typedef struct DrawnRange
{
	int64		first;
	int64		last;
} DrawnRange;

/* Numbers of rows that were inserted into one table. */
typedef struct TakenRange
{
	int64		first;
	int64		last;
	Oid			relid;
} TakenRange;

/* What this transaction has drawn, and what it has done with it; in order. */
static struct
{
	LocalTransactionId in;
	MemoryContext context;		/* of the ranges */
	DrawnRange *ranges;
	int			n;
	int			space;
	TakenRange *taken;
	int			ntaken;
	int			taken_space;
} drawn = {InvalidLocalTransactionId};

static void
forget_drawn(void)
{
	if (drawn.context == NULL)
		drawn.context = AllocSetContextCreate(TopMemoryContext,
											  "sync provisional ids",
											  ALLOCSET_SMALL_SIZES);
	MemoryContextReset(drawn.context);
	drawn.in = current_lxid();
	drawn.n = 0;
	drawn.space = 16;
	drawn.ranges = MemoryContextAlloc(drawn.context,
									  sizeof(DrawnRange) * drawn.space);
	drawn.ntaken = 0;
	drawn.taken_space = 16;
	drawn.taken = MemoryContextAlloc(drawn.context,
									 sizeof(TakenRange) * drawn.taken_space);
}

static void
remember_drawn(int64 number)
{
	if (drawn.in != current_lxid())
		forget_drawn();
	if (drawn.n > 0 && drawn.ranges[drawn.n - 1].last == number - 1)
	{
		drawn.ranges[drawn.n - 1].last = number;
		return;
	}
	if (drawn.n == drawn.space)
	{
		drawn.space *= 2;
		drawn.ranges = repalloc_huge(drawn.ranges,
									 sizeof(DrawnRange) * drawn.space);
	}
	drawn.ranges[drawn.n].first = drawn.ranges[drawn.n].last = number;
	drawn.n++;
}

static bool
was_drawn(int64 number)
{
	int			low = 0;
	int			high = drawn.in == current_lxid() ? drawn.n - 1 : -1;

	while (low <= high)
	{
		int			middle = low + (high - low) / 2;

		if (number < drawn.ranges[middle].first)
			high = middle - 1;
		else if (number > drawn.ranges[middle].last)
			low = middle + 1;
		else
			return true;
	}
	return false;
}

/* How many ranges begin at the number or before. */
static int
taken_before(int64 number)
{
	int			low = 0;
	int			high = drawn.ntaken;

	while (low < high)
	{
		int			middle = low + (high - low) / 2;

		if (drawn.taken[middle].first <= number)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The table that a row of this number was inserted into; or InvalidOid. */
static Oid
taken_by(int64 number)
{
	int			n = taken_before(number);

	return n > 0 && drawn.taken[n - 1].last >= number ?
		drawn.taken[n - 1].relid : InvalidOid;
}

/* They mostly come as they were drawn, and for one table after the other. */
static void
remember_taken(int64 number, Oid relid)
{
	int			n = taken_before(number);

	if (n > 0 && drawn.taken[n - 1].last == number - 1 &&
		drawn.taken[n - 1].relid == relid)
	{
		drawn.taken[n - 1].last = number;
		return;
	}
	if (drawn.ntaken == drawn.taken_space)
	{
		drawn.taken_space *= 2;
		drawn.taken = repalloc_huge(drawn.taken,
									sizeof(TakenRange) * drawn.taken_space);
	}
	memmove(&drawn.taken[n + 1], &drawn.taken[n],
			sizeof(TakenRange) * (drawn.ntaken++ - n));
	drawn.taken[n] = (TakenRange) {number, number, relid};
}

bool
provisional_is(const char *id)
{
	return id[0] == PROVISIONAL_MARK && id[1] != '\0' &&
		strspn(id + 1, "0123456789") == strlen(id + 1);
}

static int64
number_of(const char *id)
{
	return strtoll(id + 1, NULL, 10);
}

/* ~007 is not the id that 7 was drawn for. */
bool
provisional_is_new(const char *id)
{
	return provisional_is(id) && id[1] != '0' && strlen(id) < SYNC_ID_SPACE &&
		was_drawn(number_of(id));
}

/* What the id has become, in the row as well; NULL if it has not. */
static char *
known_id(const char *id)
{
	SqlScope	sql;
	char	   *known = NULL;

	if (!provisional_is(id))
		return NULL;
	sql_begin_latest(&sql);
	if (sql_run(&sql, "SELECT l.id FROM sync.local_id l"
				" WHERE l.provisional = $1 AND l.replaced", "t", id) > 0)
		known = sql_text(&sql, 0, 1);
	sql_end(&sql);
	return known;
}

/*
 * An INSERT that names such an id is refused rather than applied to the row
 * that it stands for: a new row may have been meant, and an upsert looks the same
 * from here.
 */
static void
refuse_replaced(Oid relid, const char *id, const char *became)
{
	ereport(ERROR,
			(errcode(ERRCODE_UNIQUE_VIOLATION),
			 errmsg("row \"%s\" of table \"%s\" exists already: its id is \"%s\" now",
					id, relation_label(relid), became),
			 errhint("Use that id, or the row's local_id; sync.resolve(id) tells what a provisional id has become."),
			 relation_error(relid, "id")));
}

void
provisional_refuse(Oid relid, const char *id)
{
	char	   *became = known_id(id);

	if (became != NULL)
		refuse_replaced(relid, id, became);
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("column \"id\" of table \"%s\" cannot be written",
					relation_label(relid)),
			 errdetail("Salesforce gives ids; until then a new row has a provisional one, which the column's default draws."),
			 errhint("Leave the column out."),
			 relation_error(relid, "id")));
}

/* Of a partition the table that it is of. */
static Oid
whole_table(Oid relid)
{
	return get_rel_relispartition(relid) ?
		llast_oid(get_partition_ancestors(relid)) : relid;
}

/*
 * An id stands for one row: one that a trigger writes into two tables would
 * come back from Salesforce for one of them only.
 */
static void
check_taken(Oid relid, const char *id)
{
	Oid			taken = taken_by(number_of(id));

	if (!OidIsValid(taken) || taken == whole_table(relid))
		return;
	ereport(ERROR,
			(errcode(ERRCODE_UNIQUE_VIOLATION),
			 errmsg("id \"%s\" of table \"%s\" stands for a row of table \"%s\"",
					id, relation_label(relid), relation_label(taken)),
			 errhint("Leave the column out, and the row gets an id of its own."),
			 relation_error(relid, "id")));
}

/*
 * Whether a row with this id is being inserted for the first time.  One that an
 * UPDATE moves to another partition is inserted there once more.
 */
static bool
is_first_insert(Oid relid, const char *id)
{
	if (!provisional_is_new(id))
		return false;
	check_taken(relid, id);
	if (OidIsValid(taken_by(number_of(id))))
		return false;
	remember_taken(number_of(id), whole_table(relid));
	return true;
}

/* Of the extension's own; sessions need no right on it. */
static Oid
find_sequence(const char *name)
{
	return get_relname_relid(name, get_namespace_oid("sync", false));
}

static text *
draw_id(void)
{
	int64		number = nextval_internal(find_sequence("provisional"), false);

	remember_drawn(number);
	return cstring_to_text(psprintf("%c" INT64_FORMAT, PROVISIONAL_MARK,
									number));
}

/*
 * sync.provisional_id() returns text: the default of a synced table's id
 */
Datum
sync_provisional_id(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(draw_id());
}

/* Or InvalidAttrNumber: the table was altered, and capture will say so. */
static AttrNumber
find_column(Oid relid, const char *name, Oid type)
{
	AttrNumber	attnum = get_attnum(relid, name);

	return attnum != InvalidAttrNumber && get_atttype(relid, attnum) == type ?
		attnum : InvalidAttrNumber;
}

static void
check_identify_call(FunctionCallInfo fcinfo)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		!TRIGGER_FIRED_BEFORE(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event) ||
		!TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" must be fired BEFORE INSERT FOR EACH ROW",
						"sync.identify")));
}

/* The row with another value in one column. */
static HeapTuple
set_column(HeapTuple row, TupleDesc desc, AttrNumber attnum, Datum value)
{
	int			column = attnum;
	bool		null = false;

	return heap_modify_tuple_by_cols(row, desc, 1, &column, &value, &null);
}

/*
 * sync.identify() returns trigger: gives a new row its number, and its
 * provisional id where the statement says NULL
 */
Datum
sync_identify(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	HeapTuple	row;
	TupleDesc	desc;
	AttrNumber	id;
	AttrNumber	local_id;
	Datum		value;
	bool		null;
	char	   *given;
	char	   *became;
	bool		first;

	check_identify_call(fcinfo);
	row = trigger->tg_trigtuple;
	desc = RelationGetDescr(trigger->tg_relation);
	id = find_column(RelationGetRelid(trigger->tg_relation), "id", TEXTOID);
	local_id = find_column(RelationGetRelid(trigger->tg_relation), "local_id",
						   INT8OID);
	if (id == InvalidAttrNumber || local_id == InvalidAttrNumber)
		return PointerGetDatum(row);

	if (heap_attisnull(row, id, desc))
		row = set_column(row, desc, id, PointerGetDatum(draw_id()));
	value = heap_getattr(row, id, desc, &null);
	given = TextDatumGetCString(value);
	first = is_first_insert(RelationGetRelid(trigger->tg_relation), given);
	became = first ? NULL : known_id(given);
	if (became != NULL)
		refuse_replaced(RelationGetRelid(trigger->tg_relation), given, became);
	if (first || heap_attisnull(row, local_id, desc))
		row = set_column(row, desc, local_id,
						 Int64GetDatum(nextval_internal(find_sequence("local_number"),
														false)));
	return PointerGetDatum(row);
}

static void
go_beyond(const char *sequence, int64 number)
{
	SqlScope	sql;

	if (number <= 0)
		return;
	sql_begin(&sql);
	(void) sql_run(&sql,
				   psprintf("SELECT pg_catalog.setval('sync.%s', $1)"
							" FROM sync.%s s WHERE s.last_value < $1",
							sequence, sequence), "l", number);
	sql_end(&sql);
}

/* Numbers that a bigint cannot hold were not drawn by us. */
void
provisional_go_on(Oid relid)
{
	SqlScope	sql;
	int64		id;
	int64		local_id = 0;
	char	   *table = relation_rows(relid);

	sql_begin_on(&sql, relid);
	(void) sql_run(&sql,
				   psprintf("SELECT pg_catalog.max(pg_catalog.substr(t.id, 2)::pg_catalog.int8)"
							" FROM %s t WHERE t.id ~ '^~[0-9]{1,18}$'", table),
				   "");
	id = sql_int(&sql, 0, 1);
	if (find_column(relid, "local_id", INT8OID) != InvalidAttrNumber)
	{
		(void) sql_run(&sql, psprintf("SELECT pg_catalog.max(t.local_id) FROM %s t",
									  table), "");
		local_id = sql_int(&sql, 0, 1);
	}
	sql_end(&sql);
	go_beyond("provisional", id);
	go_beyond("local_number", local_id);
}
