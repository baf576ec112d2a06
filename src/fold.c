/*-------------------------------------------------------------------------
 *
 * fold.c
 *	  The net change of each row, from the changes in the outbox.
 *
 * The changes of a row are put into the order in which they happened.  Their
 * numbers in the outbox (seq) tell that between transactions, since a row that
 * one of them has changed is locked until it commits.  Within a transaction
 * triggers fire in any order, but no command changes a row twice, and later
 * commands have larger numbers: there the number of the command tells it.
 *
 * However often a row was changed, Salesforce learns its latest state once:
 * insert and updates are one insert, insert and delete nothing.  A value that
 * was changed back is no change, but for one that has gone out meanwhile, of
 * which the answer may be lost: the org has to be looked at.
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
#include "utils/numeric.h"

#include "fold.h"
#include "salesforce/json.h"
#include "tables/capture.h"
#include "tables/identity.h"

typedef struct RowKey
{
	Oid			relid;
	char		id[SYNC_ID_SPACE];
} RowKey;

/* The changes of one row (OutboxChange *), as they happened. */
typedef struct RowChanges
{
	List	   *changes;
} RowChanges;

typedef struct RowEntry
{
	RowKey		key;
	RowChanges *row;
} RowEntry;

NetField *
fold_field(const NetChange *change, const char *column)
{
	ListCell   *lc;

	foreach(lc, change->fields)
	{
		NetField   *field = (NetField *) lfirst(lc);

		if (strcmp(field->column, column) == 0)
			return field;
	}
	return NULL;
}

/* A JSON value as text: strings quoted. */
static char *
value_text(Json *value)
{
	StringInfoData buf;
	char	   *exact;
	const char *text = json_text(value);

	if (text == NULL)
		return pstrdup("null");
	if (json_kind(value) != JSON_IS_STRING)
		return pstrdup(text);
	initStringInfo(&buf);
	json_append_string(&buf, text);

	/* There is one for each change of a large backlog. */
	exact = pstrdup(buf.data);
	pfree(buf.data);
	return exact;
}

static void
add_field(const char *column, Json *values, void *arg)
{
	NetChange  *change = (NetChange *) arg;
	NetField   *field = fold_field(change, column);
	const char *text;

	if (field == NULL)
	{
		field = palloc0(sizeof(NetField));
		field->column = pstrdup(column);
		field->base = value_text(json_item(values, 0));
		change->fields = lappend(change->fields, field);
	}
	else
		field->between = lappend(field->between, field->value);
	field->value = value_text(json_item(values, 1));
	text = json_text(json_item(values, 1));
	field->raw = text ? pstrdup(text) : NULL;
	field->bare = text && json_kind(json_item(values, 1)) != JSON_IS_STRING;
}

/*
 * What comes after what.  A row that was deleted can be inserted again with
 * the same provisional id by the transaction that drew it; a row that moves
 * between partitions was captured as one update.
 */
static NetOperation
net_operation(const NetChange *net, char operation)
{
	if (net->nseqs == 0)
		return operation == 'I' ? NET_INSERT :
			operation == 'U' ? NET_UPDATE : NET_DELETE;
	switch (net->operation)
	{
		case NET_INSERT:
			return operation == 'U' ? NET_INSERT :
				operation == 'D' ? NET_NOTHING : NET_IMPOSSIBLE;
		case NET_UPDATE:
			return operation == 'U' ? NET_UPDATE :
				operation == 'D' ? NET_DELETE : NET_IMPOSSIBLE;
		case NET_NOTHING:
			return operation == 'I' ? NET_INSERT : NET_IMPOSSIBLE;
		default:
			return NET_IMPOSSIBLE;
	}
}

static void
tell_impossible(const NetChange *net, const OutboxChange *change)
{
	ereport(WARNING,
			(errcode(ERRCODE_INTERNAL_ERROR),
			 errmsg("change %lld of row \"%s\" cannot follow those before it",
					(long long) change->seq, change->id),
			 errdetail("The changes of the row are kept and not sent.")));
}

/* scratch holds the parsed JSON, for no longer than it is needed. */
static void
add_change(NetChange *net, const OutboxChange *change, MemoryContext scratch)
{
	MemoryContext old = MemoryContextSwitchTo(scratch);
	Json	   *json = json_read(change->changes, strlen(change->changes));
	NetOperation before = net->operation;

	MemoryContextSwitchTo(old);
	if (json == NULL)
		elog(ERROR, "change %lld in the outbox is no JSON",
			 (long long) change->seq);
	net->operation = net_operation(net, change->operation);
	if (net->operation == NET_IMPOSSIBLE && before != NET_IMPOSSIBLE)
		tell_impossible(net, change);
	if (before == NET_NOTHING && net->operation == NET_INSERT)
		net->fields = NIL;
	json_visit(json, add_field, net);
	MemoryContextReset(scratch);
	net->seqs[net->nseqs++] = change->seq;
	net->attempts = Max(net->attempts, change->attempts);
	net->captured = Max(net->captured, change->captured);
}

static void
mark_back(NetChange *net)
{
	ListCell   *lc;

	if (net->operation != NET_UPDATE)
		return;
	foreach(lc, net->fields)
	{
		NetField   *field = (NetField *) lfirst(lc);

		field->back = strcmp(field->base, field->value) == 0;
	}
}

void
fold_drop_back(NetChange *net)
{
	List	   *fields = NIL;
	ListCell   *lc;

	if (net->operation != NET_UPDATE)
		return;
	foreach(lc, net->fields)
	{
		if (!((NetField *) lfirst(lc))->back)
			fields = lappend(fields, lfirst(lc));
	}
	net->fields = fields;
	if (fields == NIL)
		net->operation = NET_NOTHING;
}

static HTAB *
create_rows(void)
{
	HASHCTL		ctl;

	memset(&ctl, 0, sizeof(ctl));
	ctl.keysize = sizeof(RowKey);
	ctl.entrysize = sizeof(RowEntry);
	ctl.hcxt = CurrentMemoryContext;
	return hash_create("sync net changes", 256, &ctl,
					   HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static bool
happened_before(const OutboxChange *a, const OutboxChange *b)
{
	return a->txn != 0 && a->txn == b->txn && a->command < b->command;
}

/* Most changes come in order, and go to the end at once. */
static void
put_in_order(RowChanges *row, OutboxChange *change)
{
	int			n = list_length(row->changes);

	while (n > 0 && happened_before(change, list_nth(row->changes, n - 1)))
		n--;
	row->changes = list_insert_nth(row->changes, n, change);
}

static RowChanges *
find_row(HTAB *rows, const OutboxChange *change, bool *found)
{
	RowKey		key;
	RowEntry   *entry;

	memset(&key, 0, sizeof(key));
	key.relid = change->relid;
	strlcpy(key.id, change->id, sizeof(key.id));
	entry = hash_search(rows, &key, HASH_ENTER, found);
	if (!*found)
		entry->row = palloc0(sizeof(RowChanges));
	return entry->row;
}

/* List of RowChanges * */
static List *
group_by_row(List *changes)
{
	HTAB	   *rows = create_rows();
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, changes)
	{
		OutboxChange *change = (OutboxChange *) lfirst(lc);
		bool		found;
		RowChanges *row = find_row(rows, change, &found);

		if (!found)
			result = lappend(result, row);
		put_in_order(row, change);
	}
	hash_destroy(rows);
	return result;
}

static NetChange *
fold_row(const RowChanges *row, MemoryContext scratch)
{
	OutboxChange *first = (OutboxChange *) linitial(row->changes);
	NetChange  *net = palloc0(sizeof(NetChange));
	ListCell   *lc;

	net->relid = first->relid;
	net->id = first->id;
	net->seqs = palloc(sizeof(int64) * list_length(row->changes));
	foreach(lc, row->changes)
		add_change(net, (OutboxChange *) lfirst(lc), scratch);
	mark_back(net);
	return net;
}

List *
fold_changes(List *changes)
{
	MemoryContext scratch = AllocSetContextCreate(CurrentMemoryContext,
												  "sync fold",
												  ALLOCSET_SMALL_SIZES);
	List	   *rows = group_by_row(changes);
	List	   *result = NIL;
	ListCell   *lc;

	foreach(lc, rows)
	{
		RowChanges *row = (RowChanges *) lfirst(lc);

		result = lappend(result, fold_row(row, scratch));
		list_free(row->changes);
	}
	list_free_deep(rows);
	MemoryContextDelete(scratch);
	return result;
}

char *
fold_text(const NetChange *change)
{
	StringInfoData buf;
	ListCell   *lc;

	initStringInfo(&buf);
	appendStringInfoChar(&buf, '{');
	foreach(lc, change->fields)
	{
		NetField   *field = (NetField *) lfirst(lc);

		if (lc != list_head(change->fields))
			appendStringInfoChar(&buf, ',');
		json_append_string(&buf, field->column);
		appendStringInfo(&buf, ":[%s,%s]", field->base, field->value);
	}
	appendStringInfoChar(&buf, '}');
	return buf.data;
}

static bool
is_number(const char *json)
{
	return isdigit((unsigned char) json[0]) || json[0] == '-';
}

static Datum
number_of(const char *json)
{
	return DirectFunctionCall3(numeric_in, CStringGetDatum(json),
							   ObjectIdGetDatum(InvalidOid),
							   Int32GetDatum(-1));
}

static bool
same_number(const char *a, const char *b)
{
	return DatumGetBool(DirectFunctionCall2(numeric_eq, number_of(a),
											number_of(b)));
}

/*
 * "2026-01-31T10:00:00.123Z", or with +0000 as REST writes it: Salesforce keeps
 * whole seconds.
 */
static bool
is_datetime(const char *json)
{
	size_t		n = strlen(json);

	return n >= 22 && json[0] == '"' && isdigit((unsigned char) json[1]) &&
		json[11] == 'T' && json[5] == '-' && json[14] == ':' &&
		(json[n - 2] == 'Z' || strcmp(json + n - 6, "+0000\"") == 0);
}

/* Length of the character or escape that a JSON string goes on with. */
static int
character_length(const char *json)
{
	if (json[0] != '\\')
		return 1;
	return json[1] == 'u' ? 6 : 2;
}

static bool
is_blank(const char *json)
{
	return json[0] == ' ' ||
		(json[0] == '\\' && json[1] != '\0' && strchr("ntr", json[1]));
}

/*
 * A JSON string as Salesforce keeps the text, escapes as they are: without
 * outer blanks, its line ends all of one kind (Bulk jobs know but one); NULL if
 * nothing is left, or for null.
 */
static char *
normal_text(const char *json)
{
	const char *end = json + strlen(json) - 1;
	char	   *normal = palloc(strlen(json) + 1);
	char	   *to = normal;
	char	   *last = normal;	/* behind what is no blank */

	for (json++; json < end; json += character_length(json))
	{
		int			length = character_length(json);
		bool		blank = is_blank(json);

		if (blank && last == normal)
			continue;
		if (strncmp(json, "\\r\\n", 4) == 0)
			continue;
		memcpy(to, json, length);
		if (strncmp(json, "\\r", 2) == 0)
			to[1] = 'n';
		to += length;
		if (!blank)
			last = to;
	}
	*last = '\0';
	return last == normal ? NULL : normal;
}

static bool
same_text(const char *a, const char *b)
{
	char	   *x = a[0] == '"' ? normal_text(a) : NULL;
	char	   *y = b[0] == '"' ? normal_text(b) : NULL;

	return x && y ? strcmp(x, y) == 0 : x == y;
}

bool
fold_same(const char *a, const char *b)
{
	if (strcmp(a, b) == 0)
		return true;
	if (is_number(a) && is_number(b))
		return same_number(a, b);
	if (is_datetime(a) && is_datetime(b))
		return strncmp(a, b, 20) == 0;
	if ((a[0] != '"' && strcmp(a, "null") != 0) ||
		(b[0] != '"' && strcmp(b, "null") != 0))
		return false;
	return same_text(a, b);
}

static int
decimals_of(const char *number)
{
	const char *point = strchr(number, '.');

	return point ? (int) strspn(point + 1, "0123456789") : 0;
}

/*
 * Standard amounts say that their scale is 0 and keep cents all the same
 * (REST API, describe of AnnualRevenue): so the scale is a lower bound.
 */
static bool
is_rounding(const char *sent, const char *stored, int scale)
{
	int			decimals = Max(decimals_of(stored), scale);
	Datum		rounded;

	if (decimals_of(sent) <= decimals)
		return false;
	rounded = DirectFunctionCall2(numeric_round, number_of(sent),
								  Int32GetDatum(decimals));
	return DatumGetBool(DirectFunctionCall2(numeric_eq, rounded,
											number_of(stored)));
}

bool
fold_same_stored(const NetField *field, const char *sent, const char *stored)
{
	if (fold_same(sent, stored))
		return true;
	return field->rounds && is_number(sent) && is_number(stored) &&
		is_rounding(sent, stored, field->scale);
}

void
fold_describe(NetChange *net, List *fields)
{
	ListCell   *lc;

	foreach(lc, fields)
	{
		SyncField  *known = (SyncField *) lfirst(lc);
		NetField   *field;

		if (!known->reference && !known->rounded)
			continue;
		field = fold_field(net, known->attname);
		if (field == NULL)
			continue;
		field->reference = known->reference;
		field->rounds = known->rounded;
		field->scale = known->scale;
	}
}

/* "~" and a number, in quotes. */
static bool
is_provisional(const char *json)
{
	size_t		digits;

	if (json[0] != '"' || json[1] != PROVISIONAL_MARK)
		return false;
	digits = strspn(json + 2, "0123456789");
	return digits > 0 && strcmp(json + 2 + digits, "\"") == 0;
}

bool
fold_is_provisional(const NetField *field)
{
	return field->reference && is_provisional(field->value);
}

/* Each of a field's values that is a provisional id. */
static void
visit_provisional(List *nets, void (*visit) (NetField *field, char **json,
											 void *arg), void *arg)
{
	ListCell   *lc;
	ListCell   *lc2;

	foreach(lc, nets)
	{
		foreach(lc2, ((NetChange *) lfirst(lc))->fields)
		{
			NetField   *field = (NetField *) lfirst(lc2);

			if (!field->reference)
				continue;
			if (is_provisional(field->base))
				visit(field, &field->base, arg);
			if (is_provisional(field->value))
				visit(field, &field->value, arg);
		}
	}
}

static void
collect_provisional(NetField *field, char **json, void *arg)
{
	List	  **ids = (List **) arg;

	*ids = lappend(*ids, pnstrdup(*json + 1, strlen(*json) - 2));
}

/* What they have become, in the order in which they were collected. */
typedef struct KnownIds
{
	List	   *ids;
	int			next;
} KnownIds;

static void
replace_provisional(NetField *field, char **json, void *arg)
{
	KnownIds   *known = (KnownIds *) arg;
	char	   *id = (char *) list_nth(known->ids, known->next++);

	if (id == NULL)
		return;
	if (json == &field->value)
		field->raw = id;
	*json = psprintf("\"%s\"", id);
}

void
fold_known_ids(List *nets)
{
	List	   *ids = NIL;
	KnownIds	known = {NIL, 0};

	visit_provisional(nets, collect_provisional, &ids);
	if (ids == NIL)
		return;
	known.ids = identity_known(ids);
	visit_provisional(nets, replace_provisional, &known);
}
