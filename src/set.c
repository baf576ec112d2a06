/*-------------------------------------------------------------------------
 *
 * set.c
 *	  sync.set: how an object is synced.
 *
 * Each option is checked as far as the org is needed for it; what was set holds
 * from the caller's commit.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "fmgr.h"
#include "utils/builtins.h"

#include "compat.h"
#include "cycle.h"
#include "evolve.h"
#include "functions.h"
#include "login.h"
#include "mapping.h"
#include "salesforce/collections.h"
#include "salesforce/query.h"
#include "salesforce/soql.h"
#include "tables/outbox.h"
#include "tables/sql.h"
#include "wake.h"

PG_FUNCTION_INFO_V1(sync_set);

static void
set_column(const SyncObject *object, const char *column, const char *cast,
		   const char *value)
{
	SqlScope	sql;

	sql_begin(&sql);
	(void) sql_run(&sql,
				   psprintf("UPDATE sync.object SET %s = $3%s"
							" WHERE server = $1 AND object = $2",
							quote_identifier(column), cast),
				   "ntt", object->server, object->object, value);
	sql_end(&sql);
}

static void
set_list(const SyncObject *object, const char *column, List *names)
{
	SqlScope	sql;

	sql_begin(&sql);
	(void) sql_run(&sql,
				   psprintf("UPDATE sync.object SET %s = $3"
							" WHERE server = $1 AND object = $2",
							quote_identifier(column)),
				   "ntT", object->server, object->object, names);
	sql_end(&sql);
}

static void
invalid_setting(const char *option, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for option \"%s\"", option),
			 errdetail("%s", detail)));
}

/* What each pull reads, and what tells rows and changes from each other. */
static bool
is_needed(const SyncObject *object, const char *field)
{
	return pg_strcasecmp(field, "Id") == 0 ||
		pg_strcasecmp(field, "IsDeleted") == 0 ||
		pg_strcasecmp(field, object->stamp_field) == 0;
}

/* A new record must have a value for it. */
static bool
is_required(const SyncField *field)
{
	return field->createable && !field->nillable && !field->defaulted &&
		strcmp(field->type, "boolean") != 0;
}

static void
check_exclude(const SyncObject *object, List *names)
{
	ListCell   *lc;

	foreach(lc, names)
	{
		if (is_needed(object, (char *) lfirst(lc)))
			invalid_setting("exclude",
							psprintf("Field %s cannot be left out: sync needs it to find rows and their changes.",
									 (char *) lfirst(lc)));
	}
}

/*
 * What goes to Salesforce needs the fields without which no record is created.
 * Those that an administrator names cannot be meant; of those that a list lacks
 * it is told, for rows may only be updated here.
 */
static void
check_required(const SyncObject *object, const char *option, List *names)
{
	bool		excluding = strcmp(option, "exclude") == 0;
	ListCell   *lc;

	if (object->direction == DIRECTION_FROM || names == NIL)
		return;
	foreach(lc, catalog_fields(object))
	{
		SyncField  *field = (SyncField *) lfirst(lc);

		if (!is_required(field) ||
			mapping_has_name(names, field->field) != excluding)
			continue;
		if (excluding)
			invalid_setting(option,
							psprintf("Field %s cannot be left out while new rows go to Salesforce, which requires it of a %s.",
									 field->field, object->object));
		ereport(WARNING,
				(errmsg("new rows of %s will be refused: Salesforce requires field %s, which is left out",
						object->object, field->field),
				 errhint("Add it to the option \"fields\", or set the direction to from.")));
	}
}

/*
 * Which fields are synced: the table changes with it, in this transaction.
 */
static void
set_fields(const ServerOptions *server, SyncObject *object,
		   const char *option, const char *value)
{
	List	   *names = split_names(value);
	Org		   *org;

	if (strcmp(option, "fields") == 0)
		object->only_fields = names;
	else
	{
		check_exclude(object, names);
		object->exclude = names;
	}
	check_required(object, option, names);
	org = org_open(server->name);
	if (strcmp(option, "exclude") == 0 && names == NIL)
		set_column(object, "exclude", "::pg_catalog.text[]", "{}");
	else
		set_list(object, option, names);
	evolve_choose_fields(org, object);
	(void) cycle_count_calls(org);
	org_close(org);
}

/* The org itself says whether a condition is one. */
static void
set_where(const ServerOptions *server, SyncObject *object, const char *value)
{
	if (value && value[0])
	{
		Org		   *org = org_open(server->name);

		(void) query_run(org->api,
						 soql_select(list_make1(pstrdup("Id")), object->object,
									 list_make1(pstrdup(value)), NULL, 1),
						 false);
		(void) cycle_count_calls(org);
		org_close(org);
	}
	set_column(object, "filter", "", value && value[0] ? value : NULL);
	evolve_filter_changed(object);
}

/* One of the words; NULL: the default, the first of them. */
static const char *
choose_word(const char *option, const char *value, const char *const *words,
			int n)
{
	StringInfoData valid;

	if (value == NULL)
		return words[0];
	initStringInfo(&valid);
	for (int i = 0; i < n; i++)
	{
		if (strcmp(words[i], value) == 0)
			return words[i];
		appendStringInfo(&valid, "%s%s", i ? ", " : "", words[i]);
	}
	invalid_setting(option, psprintf("It must be one of: %s.", valid.data));
	return NULL;				/* not reached */
}

static void
set_on_delete(SyncObject *object, const char *value)
{
	static const char *const words[] = {"delete", "mark"};

	value = choose_word("on_delete", value, words, 2);
	if (strcmp(value, "mark") == 0 && !object->has_isdeleted)
		invalid_setting("on_delete",
						psprintf("%s has no field IsDeleted to mark.",
								 object->object));
	set_column(object, "on_delete", "", value);
}

static bool
login_may_write(List *fields)
{
	ListCell   *lc;

	foreach(lc, fields)
	{
		SyncField  *field = (SyncField *) lfirst(lc);

		if (field->createable || field->updateable)
			return true;
	}
	return false;
}

/* What waits does not go out any more, and is not forgotten. */
static void
set_changes_aside(const SyncObject *object)
{
	int64		n = outbox_set_aside(object->server, object->relid);

	if (n > 0)
		ereport(NOTICE,
				(errmsg("%lld changes of %s that wait are set aside",
						(long long) n, object->object),
				 errhint("sync.failures lists them. sync.retry sends them once the direction is both again; sync.discard gives them up.")));
}

static void
set_direction(SyncObject *object, const char *value)
{
	static const char *const words[] = {"from", "both", "to"};
	const char *direction = choose_word("direction", value, words, 3);
	bool		writes = strcmp(direction, "from") != 0;

	if (writes && !login_may_write(catalog_fields(object)))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("the login may not write to %s", object->object),
				 errhint("Give its profile or permission set the right, and see sync.check.")));
	/* What a sender has in its hands cannot be set aside any more. */
	if (!writes)
		wait_for_sender(object);
	set_column(object, "direction", "", direction);
	schema_take_writes(object->relid, writes);
	if (!writes)
		set_changes_aside(object);
	if (object->state == STATE_LIVE)
		(void) schema_build_keys(object->relid, NIL);
	catalog_changed();
}

static void
set_conflict(SyncObject *object, const char *value)
{
	static const char *const words[] = {"salesforce", "local", "latest"};

	if (value == NULL && strcmp(object->object, "Lead") == 0)
		value = "local";
	set_column(object, "conflict", "",
			   choose_word("conflict", value, words, 3));
}

static void
set_external_id(SyncObject *object, const char *value)
{
	ListCell   *lc;

	if (value == NULL)
	{
		set_column(object, "external_id", "", NULL);
		return;
	}
	foreach(lc, catalog_fields(object))
	{
		SyncField  *field = (SyncField *) lfirst(lc);

		if (pg_strcasecmp(field->field, value) != 0)
			continue;
		if (!field->external_id)
			invalid_setting("external_id",
							psprintf("%s is not marked as an external id in Salesforce.",
									 field->field));
		set_column(object, "external_id", "", field->field);
		return;
	}
	invalid_setting("external_id", psprintf("%s has no synced field \"%s\".",
											object->object, value));
}

static void
set_boolean(SyncObject *object, const char *option, const char *value,
			bool otherwise)
{
	bool		on = otherwise;

	if (value && !parse_bool(value, &on))
		invalid_setting(option, "It must be on or off.");
	set_column(object, option, "::pg_catalog.bool", on ? "true" : "false");
}

static void
set_interval(SyncObject *object, const char *value)
{
	int64		duration;

	if (value && (!parse_duration(value, &duration) || duration == 0))
		invalid_setting("interval",
						"It must be a positive interval of at most 100 years.");
	set_column(object, "interval", "::pg_catalog.interval", value);
}

static void
set_batch_rows(SyncObject *object, const char *value)
{
	char	   *end;
	long		rows;

	if (value)
	{
		errno = 0;
		rows = strtol(value, &end, 10);
		if (errno != 0 || end == value || *end != '\0' || rows < 1 ||
			rows > COLLECTION_MAX_RECORDS)
			invalid_setting("batch_rows",
							psprintf("It must be a number from 1 to %d.",
									 COLLECTION_MAX_RECORDS));
		value = psprintf("%ld", rows);
	}
	set_column(object, "batch_rows", "::pg_catalog.int4", value);
}

/*
 * sync.set(server name, object text, option text, value text) returns void
 */
Datum
sync_set(PG_FUNCTION_ARGS)
{
	ServerOptions *server = own_server(fcinfo);
	char	   *name = text_arg(fcinfo, 1);
	char	   *option = text_arg(fcinfo, 2);
	char	   *value = text_arg(fcinfo, 3);
	SyncObject *object;

	require_arg(fcinfo, 1, "object");
	require_arg(fcinfo, 2, "option");
	object = synced_object(server, name);
	if (strcmp(option, "fields") == 0 || strcmp(option, "exclude") == 0)
		set_fields(server, object, option, value);
	else if (strcmp(option, "where") == 0)
		set_where(server, object, value);
	else if (strcmp(option, "on_delete") == 0)
		set_on_delete(object, value);
	else if (strcmp(option, "direction") == 0)
		set_direction(object, value);
	else if (strcmp(option, "interval") == 0)
		set_interval(object, value);
	else if (strcmp(option, "conflict") == 0)
		set_conflict(object, value);
	else if (strcmp(option, "external_id") == 0)
		set_external_id(object, value);
	else if (strcmp(option, "push_deletes") == 0)
		set_boolean(object, option, value, true);
	else if (strcmp(option, "unmodified_since") == 0)
		set_boolean(object, option, value, false);
	else if (strcmp(option, "allow_duplicates") == 0)
		set_boolean(object, option, value, false);
	else if (strcmp(option, "batch_rows") == 0)
		set_batch_rows(object, value);
	else
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
				 errmsg("invalid option \"%s\"", option),
				 errhint("Valid options in this context are: direction, fields, exclude, where, on_delete, conflict, external_id, interval, push_deletes, unmodified_since, batch_rows, allow_duplicates")));
	worker_wake_at_commit(server->serverid, false);
	PG_RETURN_VOID();
}
