/*-------------------------------------------------------------------------
 *
 * capture.c
 *	  Local changes of synced tables into the outbox.
 *
 * One row trigger writes the changed columns, old and new, to sync.change in
 * the transaction that changes them: whatever that transaction does in
 * subtransactions, by COPY, MERGE, ON CONFLICT or in a partition, the outbox
 * commits or rolls back with it.  The trigger's WHEN clause keeps the sync's
 * own writes out (guard.c).  It is an ALWAYS trigger, so that no setting of the
 * session switches it off.
 *
 * Triggers fire in the order of their names, and a user's may change the row
 * again before ours fires for the first change.  So each change carries the
 * number of the command that made it, which orders the changes of a row within
 * their transaction (fold.c), whatever fired when.
 *
 * What values look like there, and which ones are refused: capture_values.c.
 * Where ids come from: provisional.c.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/indexing.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/sequence.h"
#include "commands/trigger.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "tables/capture.h"
#include "tables/capture_values.h"
#include "tables/catalog.h"
#include "tables/guard.h"
#include "tables/relation.h"
#include "tables/sql.h"

#define CAPTURE_TRIGGER		"sync_capture"
#define TRUNCATE_TRIGGER	"sync_no_truncate"
#define IDENTITY_TRIGGER	"sync_identity"

PG_FUNCTION_INFO_V1(sync_capture);
PG_FUNCTION_INFO_V1(sync_refuse_truncate);

/* Columns of sync.change, in order; the rest have their defaults. */
enum
{
	CHANGE_SEQ = 1,
	CHANGE_RELATION,
	CHANGE_ID,
	CHANGE_LOCAL_ID,
	CHANGE_OPERATION,
	CHANGE_CHANGES,
	CHANGE_CAPTURED,
	CHANGE_STATE,
	CHANGE_ATTEMPT,
	CHANGE_ATTEMPTS,
	CHANGE_NEXT_ATTEMPT,
	CHANGE_TXN,
	CHANGE_COMMAND,
	CHANGE_COLUMNS = CHANGE_COMMAND
};

static HTAB *tables = NULL;
static MemoryContext tables_context = NULL;
static MemoryContext former_tables = NULL;	/* see find_table */
static bool tables_valid = false;
static Oid	change_relid = InvalidOid;
static Oid	change_sequence = InvalidOid;
static Oid	object_relid = InvalidOid;
static CaptureWake wake_server = NULL;

/*
 * A row that was deleted because an UPDATE moves it to another partition: an
 * INSERT there follows.  Only for that, and only in the subtransaction.
 */
static struct
{
	LocalTransactionId in;
	SubTransactionId sub;
	MemoryContext context;		/* of the rest */
	Oid			relid;			/* the partition */
	Oid			root;			/* the synced table */
	char	   *id;
	TupleTableSlot *row;
	ItemPointerData change;		/* the DELETE in the outbox */
} moved = {InvalidLocalTransactionId};

/* The server that was marked to be woken last, and by which transaction. */
static Oid	last_woken = InvalidOid;
static LocalTransactionId last_woken_in = InvalidLocalTransactionId;

/*
 * What is known of the tables
 */

/* Anything about a synced table or the list of them may have changed. */
static void
invalidate(Datum arg, Oid relid)
{
	if (relid == InvalidOid || relid == object_relid ||
		relid == change_relid || tables == NULL ||
		hash_search(tables, &relid, HASH_FIND, NULL) != NULL)
		tables_valid = false;
}

void
capture_init(CaptureWake wake)
{
	wake_server = wake;
	CacheRegisterRelcacheCallback(invalidate, (Datum) 0);
}

static void
reset_tables(void)
{
	HASHCTL		ctl;
	Oid			namespace = get_namespace_oid("sync", false);

	if (former_tables)
		MemoryContextDelete(former_tables);
	former_tables = tables_context;
	tables = NULL;
	tables_valid = true;
	tables_context = AllocSetContextCreate(CacheMemoryContext, "sync capture",
										   ALLOCSET_DEFAULT_SIZES);
	memset(&ctl, 0, sizeof(ctl));
	ctl.keysize = sizeof(Oid);
	ctl.entrysize = sizeof(CaptureTable);
	ctl.hcxt = tables_context;
	tables = hash_create("sync capture", 16, &ctl,
						 HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	object_relid = get_relname_relid("object", namespace);
	change_relid = get_relname_relid("change", namespace);
	change_sequence = identity_sequence(change_relid, CHANGE_SEQ);
}

/* Digits that a number may have before the decimal point. */
static int
max_digits(const SyncField *field)
{
	if (field->digits > 0)
		return field->digits;
	if (field->precision > 0 && field->precision > field->scale)
		return field->precision - field->scale;
	return 0;
}

static void
fill_column(CaptureColumn *column, Oid relid, AttrNumber attnum,
			const SyncField *field)
{
	StringInfoData key;

	initStringInfo(&key);
	escape_json(&key, field->attname);
	column->attnum = attnum;
	column->name = pstrdup(field->attname);
	column->key = key.data;
	column->type = get_atttype(relid, attnum);
	get_typlenbyval(column->type, &column->typlen, &column->typbyval);
	column->createable = field->createable;
	column->updateable = field->updateable;
	column->nillable = field->nillable;
	column->default_true = field->default_true;
	column->should_be = field->atttype;
	column->required = field->createable && !field->nillable &&
		!field->defaulted && column->type != BOOLOID;
	column->max_chars = column->type == TEXTOID ? field->length : 0;
	column->max_digits = column->type == INT4OID || column->type == INT8OID ||
		column->type == NUMERICOID ? max_digits(field) : 0;
}

/* The synced table that a partition belongs to, or the table itself. */
static SyncObject *
find_synced(Oid relid)
{
	SyncObject *object = catalog_object_by_relid(relid);
	List	   *ancestors;
	ListCell   *lc;

	if (object != NULL || !get_rel_relispartition(relid))
		return object;
	ancestors = get_partition_ancestors(relid);
	foreach(lc, ancestors)
	{
		object = catalog_object_by_relid(lfirst_oid(lc));
		if (object != NULL)
			break;
	}
	return object;
}

/*
 * The owner may alter the table at any time.  What reads these columns takes
 * their types for granted.
 */
static AttrNumber
find_own_column(Oid relid, const char *name, Oid type)
{
	AttrNumber	attnum = get_attnum(relid, name);
	Oid			is = attnum == InvalidAttrNumber ? InvalidOid :
		get_atttype(relid, attnum);

	if (is == type)
		return attnum;
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("table \"%s\" was altered and takes no changes: column \"%s\" %s",
					relation_label(relid), name,
					OidIsValid(is) ?
					psprintf("is of type %s instead of %s",
							 format_type_be(is), format_type_be(type)) :
					"is missing"),
			 errhint("Undo that by ALTER TABLE, or end the synchronization with sync.disable."),
			 relation_error(relid, name)));
	return InvalidAttrNumber;	/* not reached */
}

/* A column that was dropped is left out; one of its number is still there. */
static bool
is_renamed(const SyncObject *object, const SyncField *field)
{
	return field->attnum != InvalidAttrNumber &&
		OidIsValid(get_atttype(object->relid, field->attnum));
}

/* What is written to it would not go anywhere. */
static void
refuse_renamed(const CaptureTable *table, const char *column)
{
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("table \"%s\" was altered and takes no changes: column \"%s\" was renamed",
					relation_label(table->root), column),
			 errhint("Rename it back, or leave its field out by sync.set(..., 'exclude', ...)."),
			 relation_error(table->root, column)));
}

static void
fill_table(CaptureTable *table, const SyncObject *object, List *fields)
{
	ListCell   *lc;

	table->root = object->relid;
	table->serverid = object->serverid;
	table->object = pstrdup(object->object);
	table->id = find_own_column(table->relid, "id", TEXTOID);
	table->local_id = find_own_column(table->relid, "local_id", INT8OID);
	table->last = Max(table->id, table->local_id);
	table->columns = palloc0(sizeof(CaptureColumn) * list_length(fields));
	table->ncolumns = 0;
	foreach(lc, fields)
	{
		SyncField  *field = (SyncField *) lfirst(lc);
		AttrNumber	attnum = get_attnum(table->relid, field->attname);

		if (attnum == InvalidAttrNumber && is_renamed(object, field))
			refuse_renamed(table, field->attname);
		if (attnum == InvalidAttrNumber || attnum == table->id)
			continue;
		fill_column(&table->columns[table->ncolumns++], table->relid, attnum,
					field);
		table->last = Max(table->last, attnum);
	}
}

/*
 * Reading the catalog can bring invalidations in; what they concern is read
 * again for the next row, by which time nothing that was read before them
 * counts.  What a caller has got stays in memory for one more call.  An entry
 * is made when all that belongs to it has been read: errors leave none behind.
 */
static CaptureTable *
find_table(Oid relid)
{
	CaptureTable *table;
	CaptureTable filled = {.relid = relid};
	SyncObject *object;
	List	   *fields;
	MemoryContext context;
	MemoryContext old;

	if (!tables_valid)
		reset_tables();
	table = hash_search(tables, &relid, HASH_FIND, NULL);
	if (table != NULL)
		return table;
	object = find_synced(relid);
	if (object == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("table \"%s\" is not synced", relation_label(relid)),
				 errhint("Drop its trigger \"%s\".", CAPTURE_TRIGGER),
				 relation_error(relid, NULL)));
	fields = catalog_fields(object);
	context = AllocSetContextCreate(CurrentMemoryContext, "sync captured table",
									ALLOCSET_SMALL_SIZES);
	old = MemoryContextSwitchTo(context);
	fill_table(&filled, object, fields);
	MemoryContextSwitchTo(old);
	MemoryContextSetParent(context, tables_context);
	table = hash_search(tables, &relid, HASH_ENTER, NULL);
	*table = filled;
	return table;
}

/*
 * The changes of one row
 */

static inline bool
is_inline(Datum value)
{
	return !VARATT_IS_EXTERNAL(DatumGetPointer(value)) &&
		!VARATT_IS_COMPRESSED(DatumGetPointer(value));
}

/* What datum_image_eq says; most values are short, and it would dwell on them. */
static bool
same_value(const CaptureColumn *column, Datum a, bool a_null, Datum b,
		   bool b_null)
{
	if (a_null || b_null)
		return a_null == b_null;
	if (column->typbyval)
		return a == b;
	if (column->typlen == -1 && is_inline(a) && is_inline(b))
	{
		Size		len = VARSIZE_ANY_EXHDR(DatumGetPointer(a));

		return len == VARSIZE_ANY_EXHDR(DatumGetPointer(b)) &&
			memcmp(VARDATA_ANY(DatumGetPointer(a)),
				   VARDATA_ANY(DatumGetPointer(b)), len) == 0;
	}
	return datum_image_eq(a, b, column->typbyval, column->typlen);
}

static void
collect_insert(StringInfo buf, const CaptureTable *table, TupleTableSlot *slot)
{
	for (int i = 0; i < table->ncolumns; i++)
	{
		const CaptureColumn *column = &table->columns[i];
		Datum		value = slot->tts_values[column->attnum - 1];
		bool		null = slot->tts_isnull[column->attnum - 1];

		if (column->required && capture_is_empty(column, value, null))
			capture_refuse_missing(table, column);
		if (capture_is_default(column, value, null))
			continue;
		if (!column->createable)
			capture_refuse_write(table, column, true);
		capture_append_change(buf, table, column, (Datum) 0, true, value, null);
	}
}

/* was: the table of the old row, which differs if the row has moved. */
static void
collect_update(StringInfo buf, const CaptureTable *was,
			   const CaptureTable *table, TupleTableSlot *old,
			   TupleTableSlot *new, bool provisional)
{
	for (int i = 0; i < table->ncolumns; i++)
	{
		const CaptureColumn *column = &table->columns[i];
		int			n = column->attnum - 1;
		int			m = was->columns[i].attnum - 1;

		if (same_value(column, old->tts_values[m], old->tts_isnull[m],
					   new->tts_values[n], new->tts_isnull[n]) ||
			(capture_is_empty(column, old->tts_values[m], old->tts_isnull[m]) &&
			 capture_is_empty(column, new->tts_values[n], new->tts_isnull[n])))
			continue;
		if (provisional ? !column->createable : !column->updateable)
			capture_refuse_write(table, column, provisional);
		if (!column->nillable &&
			capture_is_empty(column, new->tts_values[n], new->tts_isnull[n]) &&
			(column->required || column->type != BOOLOID))
			capture_refuse_missing(table, column);
		capture_append_change(buf, table, column, old->tts_values[m],
					  old->tts_isnull[m], new->tts_values[n],
					  new->tts_isnull[n]);
	}
}

static void
refuse_id(const CaptureTable *table, const char *what, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
			 errmsg("column \"%s\" of table \"%s\" cannot be written", what,
					relation_label(table->root)),
			 errdetail("%s", detail),
			 errhint("Leave the column out."),
			 relation_error(table->root, what)));
}

static char *
id_of(const CaptureTable *table, TupleTableSlot *slot)
{
	if (slot->tts_isnull[table->id - 1])
		refuse_id(table, "id", "A row must have an id.");
	return TextDatumGetCString(slot->tts_values[table->id - 1]);
}

static Datum
local_id_of(const CaptureTable *table, TupleTableSlot *slot, bool *null)
{
	*null = true;
	if (table->local_id == InvalidAttrNumber)
		return (Datum) 0;
	*null = slot->tts_isnull[table->local_id - 1];
	return slot->tts_values[table->local_id - 1];
}

static void
check_ids_unchanged(const CaptureTable *was, const CaptureTable *table,
					TupleTableSlot *old, TupleTableSlot *new,
					const char *old_id)
{
	bool		old_null;
	bool		new_null;
	Datum		old_local = local_id_of(was, old, &old_null);
	Datum		new_local = local_id_of(table, new, &new_null);

	if (strcmp(old_id, id_of(table, new)) != 0)
		refuse_id(table, "id", "Salesforce gives ids, once.");
	if (old_null != new_null ||
		(!old_null && DatumGetInt64(old_local) != DatumGetInt64(new_local)))
		refuse_id(table, "local_id",
				  "It stands for the row as long as the row exists.");
}

/*
 * The transaction's number in the outbox is that of its first change: unlike
 * an xid it means the same in a restored copy.
 */
static int64
transaction_number(int64 seq)
{
	static LocalTransactionId known = InvalidLocalTransactionId;
	static int64 first;

	if (known != current_lxid())
	{
		known = current_lxid();
		first = seq;
	}
	return first;
}

/* COPY FREEZE leaves tuples that look older than their transaction. */
static CommandId
command_of_new(HeapTuple tuple)
{
	if (HeapTupleHeaderXminFrozen(tuple->t_data))
		return HeapTupleHeaderGetRawCommandId(tuple->t_data);
	return HeapTupleHeaderGetCmin(tuple->t_data);
}

static CommandId
command_of_deleted(HeapTuple tuple)
{
	return HeapTupleHeaderGetCmax(tuple->t_data);
}

/*
 * The row of the outbox.  Direct, since it is done for each row that a user
 * changes: SPI would cost more than all the rest.  Returns where it is.
 */
static ItemPointerData
write_change(const CaptureTable *table, char operation, const char *id,
			 Datum local_id, bool local_id_null, CommandId command,
			 const StringInfo changes)
{
	Datum		values[CHANGE_COLUMNS] = {0};
	bool		nulls[CHANGE_COLUMNS] = {false};
	Relation	rel = table_open(change_relid, RowExclusiveLock);
	HeapTuple	tuple;
	ItemPointerData where;
	int64		seq = nextval_internal(change_sequence, false);

	values[CHANGE_SEQ - 1] = Int64GetDatum(seq);
	values[CHANGE_RELATION - 1] = ObjectIdGetDatum(table->root);
	values[CHANGE_ID - 1] = CStringGetTextDatum(id);
	values[CHANGE_LOCAL_ID - 1] = local_id;
	nulls[CHANGE_LOCAL_ID - 1] = local_id_null;
	values[CHANGE_OPERATION - 1] = CharGetDatum(operation);
	values[CHANGE_CHANGES - 1] =
		PointerGetDatum(cstring_to_text_with_len(changes->data, changes->len));
	values[CHANGE_CAPTURED - 1] = TimestampTzGetDatum(GetCurrentTimestamp());
	values[CHANGE_STATE - 1] = CharGetDatum('p');
	nulls[CHANGE_ATTEMPT - 1] = true;
	values[CHANGE_ATTEMPTS - 1] = Int32GetDatum(0);
	nulls[CHANGE_NEXT_ATTEMPT - 1] = true;
	values[CHANGE_TXN - 1] = Int64GetDatum(transaction_number(seq));
	values[CHANGE_COMMAND - 1] = Int64GetDatum(command);
	tuple = heap_form_tuple(RelationGetDescr(rel), values, nulls);
	CatalogTupleInsert(rel, tuple);
	where = tuple->t_self;
	heap_freetuple(tuple);
	/* As any statement that writes: its lock ends with the transaction. */
	table_close(rel, NoLock);
	return where;
}

static void
take_back_change(ItemPointerData *where)
{
	Relation	rel = table_open(change_relid, RowExclusiveLock);

	CommandCounterIncrement();
	CatalogTupleDelete(rel, where);
	table_close(rel, NoLock);
}

/* Once for each transaction and server. */
static void
wake_at_commit(const CaptureTable *table)
{
	if (last_woken_in == current_lxid() && last_woken == table->serverid)
		return;
	last_woken_in = current_lxid();
	last_woken = table->serverid;
	if (wake_server)
		wake_server(table->serverid);
}

static void
finish_changes(StringInfo buf)
{
	if (buf->len == 0)
		appendStringInfoChar(buf, '{');
	appendStringInfoChar(buf, '}');
}

static void
capture_update(const CaptureTable *was, const CaptureTable *table,
			   TupleTableSlot *old, TupleTableSlot *new, CommandId command)
{
	StringInfoData buf;
	char	   *id = id_of(was, old);
	bool		null;
	Datum		local_id = local_id_of(was, old, &null);

	check_ids_unchanged(was, table, old, new, id);
	initStringInfo(&buf);
	collect_update(&buf, was, table, old, new, provisional_is(id));
	if (buf.len == 0)
		return;
	finish_changes(&buf);
	(void) write_change(table, 'U', id, local_id, null, command, &buf);
	wake_at_commit(table);
}

static bool
was_moved_here(const CaptureTable *table, const char *id)
{
	return moved.in == current_lxid() &&
		moved.sub == GetCurrentSubTransactionId() &&
		moved.root == table->root &&
		strcmp(moved.id, id) == 0;
}

/* The DELETE and this INSERT are one UPDATE. */
static void
capture_arrival(Oid relid, TupleTableSlot *slot, CommandId command)
{
	const CaptureTable *was;

	take_back_change(&moved.change);
	was = find_table(moved.relid);
	slot_getsomeattrs(moved.row, was->last);
	capture_update(was, find_table(relid), moved.row, slot, command);
	moved.in = InvalidLocalTransactionId;
}

static void
capture_insert(const CaptureTable *table, TupleTableSlot *slot,
			   CommandId command)
{
	StringInfoData buf;
	char	   *id = id_of(table, slot);
	bool		null;
	Datum		local_id = local_id_of(table, slot, &null);

	if (was_moved_here(table, id))
	{
		capture_arrival(table->relid, slot, command);
		return;
	}
	if (!provisional_is_new(id))
		provisional_refuse(table->root, id);
	initStringInfo(&buf);
	collect_insert(&buf, table, slot);
	finish_changes(&buf);
	(void) write_change(table, 'I', id, local_id, null, command, &buf);
	wake_at_commit(table);
}

static void
remember_moved(const CaptureTable *table, TupleTableSlot *slot,
			   const char *id, ItemPointerData change)
{
	MemoryContext old;

	if (moved.context == NULL)
		moved.context = AllocSetContextCreate(CacheMemoryContext,
											  "sync moved row",
											  ALLOCSET_SMALL_SIZES);
	MemoryContextReset(moved.context);
	old = MemoryContextSwitchTo(moved.context);
	moved.in = current_lxid();
	moved.sub = GetCurrentSubTransactionId();
	moved.relid = table->relid;
	moved.root = table->root;
	moved.id = pstrdup(id);
	moved.row = MakeSingleTupleTableSlot(CreateTupleDescCopy(slot->tts_tupleDescriptor),
										 &TTSOpsHeapTuple);
	ExecStoreHeapTuple(ExecCopySlotHeapTuple(slot), moved.row, true);
	moved.change = change;
	MemoryContextSwitchTo(old);
}

/* The whole row, so that it can be brought back or compared. */
static void
capture_delete(const CaptureTable *table, TupleTableSlot *slot,
			   HeapTuple tuple)
{
	StringInfoData buf;
	char	   *id = id_of(table, slot);
	bool		null;
	Datum		local_id = local_id_of(table, slot, &null);
	ItemPointerData change;

	initStringInfo(&buf);
	for (int i = 0; i < table->ncolumns; i++)
	{
		const CaptureColumn *column = &table->columns[i];
		int			n = column->attnum - 1;

		if (!slot->tts_isnull[n])
			capture_append_change(&buf, table, column, slot->tts_values[n], false,
						  (Datum) 0, true);
	}
	finish_changes(&buf);
	change = write_change(table, 'D', id, local_id, null,
						  command_of_deleted(tuple), &buf);
	if (HeapTupleHeaderIndicatesMovedPartitions(tuple->t_data))
		remember_moved(table, slot, id, change);
	wake_at_commit(table);
}

/*
 * Trigger function: AFTER INSERT OR UPDATE OR DELETE FOR EACH ROW.
 */
Datum
sync_capture(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	CaptureTable *table;

	if (!CALLED_AS_TRIGGER(fcinfo) ||
		!TRIGGER_FIRED_AFTER(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" must be fired AFTER ROW",
						"sync.capture")));

	table = find_table(RelationGetRelid(trigger->tg_relation));
	slot_getsomeattrs(trigger->tg_trigslot, table->last);
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		capture_insert(table, trigger->tg_trigslot,
					   command_of_new(trigger->tg_trigtuple));
	else if (TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		capture_delete(table, trigger->tg_trigslot, trigger->tg_trigtuple);
	else
	{
		slot_getsomeattrs(trigger->tg_newslot, table->last);
		capture_update(table, table, trigger->tg_trigslot,
					   trigger->tg_newslot,
					   command_of_new(trigger->tg_newtuple));
	}
	return PointerGetDatum(NULL);
}

Datum
sync_refuse_truncate(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" must be called as a trigger",
						"sync.refuse_truncate")));
	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("table \"%s\" cannot be truncated",
					relation_label(RelationGetRelid(trigger->tg_relation))),
			 errdetail("Its rows are records of Salesforce; TRUNCATE does not tell which of them to delete there."),
			 errhint("DELETE the rows, or end the synchronization with sync.disable."),
			 relation_error(RelationGetRelid(trigger->tg_relation), NULL)));
	PG_RETURN_NULL();			/* not reached */
}

/*
 * Triggers
 */

static void
create_row_trigger(Oid relid)
{
	char	   *table = relation_sql(relid);

	if (OidIsValid(get_trigger_oid(relid, CAPTURE_TRIGGER, true)))
		return;
	relation_run(psprintf("CREATE TRIGGER " CAPTURE_TRIGGER
						  " AFTER INSERT OR UPDATE OR DELETE ON %s"
						  " FOR EACH ROW WHEN (NOT sync.own_write())"
						  " EXECUTE FUNCTION sync.capture()", table));
	relation_run(psprintf("ALTER TABLE %s ENABLE ALWAYS TRIGGER "
						  CAPTURE_TRIGGER, table));
	guard_depend_on_extension(relid, CAPTURE_TRIGGER);
}

static void
create_truncate_trigger(Oid relid)
{
	char	   *table = relation_sql(relid);

	if (OidIsValid(get_trigger_oid(relid, TRUNCATE_TRIGGER, true)))
		return;
	relation_run(psprintf("CREATE TRIGGER " TRUNCATE_TRIGGER
						  " BEFORE TRUNCATE ON %s FOR EACH STATEMENT"
						  " WHEN (NOT sync.own_write())"
						  " EXECUTE FUNCTION sync.refuse_truncate()", table));
	relation_run(psprintf("ALTER TABLE %s ENABLE ALWAYS TRIGGER "
						  TRUNCATE_TRIGGER, table));
	guard_depend_on_extension(relid, TRUNCATE_TRIGGER);
}

static void
create_identity_trigger(Oid relid)
{
	char	   *table = relation_sql(relid);

	if (OidIsValid(get_trigger_oid(relid, IDENTITY_TRIGGER, true)))
		return;
	relation_run(psprintf("CREATE TRIGGER " IDENTITY_TRIGGER
						  " BEFORE INSERT ON %s"
						  " FOR EACH ROW WHEN (NOT sync.own_write())"
						  " EXECUTE FUNCTION sync.identify()", table));
	relation_run(psprintf("ALTER TABLE %s ENABLE ALWAYS TRIGGER "
						  IDENTITY_TRIGGER, table));
	guard_depend_on_extension(relid, IDENTITY_TRIGGER);
}

static void
drop_trigger(Oid relid, const char *name)
{
	if (OidIsValid(get_trigger_oid(relid, name, true)))
		relation_run(psprintf("DROP TRIGGER %s ON %s", name,
							  relation_sql(relid)));
}

static void
drop_truncate_trigger(Oid relid)
{
	drop_trigger(relid, TRUNCATE_TRIGGER);
}

/* Row triggers of a partitioned table are its partitions', too. */
void
capture_create_triggers(Oid relid)
{
	ApplyState	state;

	owner_begin(relation_owner(relid), &state);
	create_row_trigger(relid);
	owner_end(&state);
	guard_for_each_partition(relid, create_truncate_trigger);
}

void
capture_complete(Oid relid)
{
	ApplyState	state;

	if (!OidIsValid(get_trigger_oid(relid, CAPTURE_TRIGGER, true)))
		return;
	owner_begin(relation_owner(relid), &state);
	create_identity_trigger(relid);
	owner_end(&state);
}

void
capture_drop_triggers(Oid relid)
{
	ApplyState	state;

	owner_begin(relation_owner(relid), &state);
	drop_trigger(relid, CAPTURE_TRIGGER);
	drop_trigger(relid, IDENTITY_TRIGGER);
	owner_end(&state);
	guard_for_each_partition(relid, drop_truncate_trigger);
}
