/*-------------------------------------------------------------------------
 *
 * functions.c
 *	  The SQL-callable administration: what is synced, and whether it runs.
 *
 * Each function checks for itself that its caller owns the server; then it
 * works on the extension's tables as their owner (tables/sql.h).  Changes are
 * part of the caller's transaction; workers learn of them when it commits.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/event_trigger.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "cycle.h"
#include "evolve.h"
#include "functions.h"
#include "login.h"
#include "mapping.h"
#include "rows.h"
#include "salesforce/query.h"
#include "salesforce/soql.h"
#include "step.h"
#include "tables/capture.h"
#include "tables/identity.h"
#include "tables/outbox.h"
#include "tables/sql.h"
#include "worker.h"

PG_FUNCTION_INFO_V1(sync_enable);
PG_FUNCTION_INFO_V1(sync_set);
PG_FUNCTION_INFO_V1(sync_disable);
PG_FUNCTION_INFO_V1(sync_pause);
PG_FUNCTION_INFO_V1(sync_resume);
PG_FUNCTION_INFO_V1(sync_start);
PG_FUNCTION_INFO_V1(sync_stop);
PG_FUNCTION_INFO_V1(sync_now);
PG_FUNCTION_INFO_V1(sync_retry);
PG_FUNCTION_INFO_V1(sync_discard);
PG_FUNCTION_INFO_V1(sync_resolve);
PG_FUNCTION_INFO_V1(sync_dropped);
PG_FUNCTION_INFO_V1(sync_altered);

/* The eight categories; parents first. */
static const char *const default_objects[] = {
	"User", "Group", "Account", "Contact", "Lead", "Campaign",
	"CampaignMemberStatus", "CampaignMember", "Opportunity",
	"OpportunityContactRole", "Task", "Event"
};

List *
default_object_names(void)
{
	List	   *names = NIL;

	for (size_t i = 0; i < lengthof(default_objects); i++)
		names = lappend(names, pstrdup(default_objects[i]));
	return names;
}

static char *
text_arg(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n));
}

static char *
name_arg(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : pstrdup(NameStr(*PG_GETARG_NAME(n)));
}

/* The server named by the first argument; the caller must own it. */
static ServerOptions *
named_server(FunctionCallInfo fcinfo)
{
	ServerOptions *server;

	if (PG_ARGISNULL(0))
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("the server must be named")));
	server = server_options(NameStr(*PG_GETARG_NAME(0)));
	require_server_owner(server);
	return server;
}

/* The same, to be configured: it may have been renamed or restored just now. */
static ServerOptions *
own_server(FunctionCallInfo fcinfo)
{
	ServerOptions *server = named_server(fcinfo);

	catalog_reconcile();
	return server;
}

/* An object of the server by name in any case; ERROR if it is not synced. */
static SyncObject *
synced_object(const ServerOptions *server, const char *name)
{
	SyncObject *object = catalog_object(server->name, name);

	if (object == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("object \"%s\" of server \"%s\" is not synced", name,
						server->name),
				 errhint("SELECT sync.enable('%s', '{%s}') starts it.",
						 server->name, name)));
	return object;
}

static void
run_on_server(const char *statement, const char *server)
{
	SqlScope	sql;

	sql_begin(&sql);
	(void) sql_run(&sql, statement, "n", server);
	sql_end(&sql);
}

/*
 * sync.enable
 */

static List *
text_array_to_list(ArrayType *array)
{
	Datum	   *elements;
	bool	   *nulls;
	int			n;
	List	   *result = NIL;

	deconstruct_array(array, TEXTOID, -1, false, TYPALIGN_INT, &elements,
					  &nulls, &n);
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("the name of an object must not be null")));
		result = lappend(result, TextDatumGetCString(elements[i]));
	}
	return result;
}

static DescribeObject *
find_entry(List *global, const char *name)
{
	ListCell   *lc;

	foreach(lc, global)
	{
		DescribeObject *entry = (DescribeObject *) lfirst(lc);

		if (pg_strcasecmp(entry->name, name) == 0)
			return entry;
	}
	return NULL;
}

/*
 * The objects to enable, by the org's own names.  Of the default set those
 * that the login may not see are left out with a notice; one that was asked
 * for by name is an error.
 */
static List *
choose_objects(SalesforceApi *api, bool by_default, List *asked)
{
	List	   *global = describe_global(api);
	List	   *chosen = NIL;
	List	   *names = by_default ? default_object_names() : asked;
	ListCell   *lc;

	foreach(lc, names)
	{
		char	   *name = (char *) lfirst(lc);
		DescribeObject *entry = find_entry(global, name);

		if (entry && entry->queryable)
		{
			if (!mapping_has_name(chosen, entry->name))
				chosen = lappend(chosen, entry->name);
		}
		else if (!by_default)
			ereport(ERROR,
					(errcode(ERRCODE_FDW_TABLE_NOT_FOUND),
					 entry == NULL
					 ? errmsg("object \"%s\" does not exist in the org, or the login may not see it", name)
					 : errmsg("object \"%s\" cannot be queried", name),
					 errhint("Custom objects end in \"__c\"; sync.check(server) lists what the login lacks.")));
		else
			ereport(NOTICE,
					(errmsg("object \"%s\" is left out: the login may not see it",
							name)));
	}
	return chosen;
}

/* What goes both ways unless told otherwise, as far as the login may write it. */
static bool
goes_both_ways(const DescribeObject *described)
{
	static const char *const names[] = {"Lead", "Contact", "Campaign",
	"CampaignMember"};

	for (size_t i = 0; i < lengthof(names); i++)
	{
		if (strcmp(names[i], described->name) == 0)
			return described->createable || described->updateable;
	}
	return false;
}

/* Makes the server known, in the schema given or the one it has. */
static void
register_server(const ServerOptions *server, const char *schema)
{
	SqlScope	sql;

	sql_begin(&sql);
	(void) sql_run(&sql,
				   "INSERT INTO sync.server AS s"
				   " (server, serverid, origin, schema)"
				   " VALUES ($1, $2, $3, coalesce($4, $1))"
				   " ON CONFLICT (server) DO UPDATE SET serverid = $2,"
				   " schema = coalesce($4, s.schema), running = true",
				   "notn", server->name, server->serverid, catalog_origin(),
				   schema);
	(void) sql_run(&sql,
				   "INSERT INTO sync.server_progress (server) VALUES ($1)"
				   " ON CONFLICT DO NOTHING", "n", server->name);
	sql_end(&sql);
}

static Oid
disabled_table(const ServerOptions *server, const char *object)
{
	SqlScope	sql;
	Oid			relid = InvalidOid;

	sql_begin(&sql);
	if (sql_run(&sql,
				"SELECT o.relation::oid FROM sync.object o"
				" JOIN pg_catalog.pg_class c ON c.oid = o.relation"
				" WHERE o.server = $1 AND o.object = $2 AND NOT o.enabled",
				"nt", server->name, object) > 0)
		relid = (Oid) sql_int(&sql, 0, 1);
	sql_end(&sql);
	return relid;
}

/*
 * The table of an object: a new one; or, after sync.disable, the one that was
 * kept, emptied for a new copy, its missing columns added.
 */
static Oid
provide_table(const ServerOptions *server, const DescribeObject *described,
			  List *fields, const char *schema)
{
	TableSpec  *spec = mapping_table(described, fields, schema);
	bool		both = goes_both_ways(described);
	Oid			kept = disabled_table(server, described->name);
	List	   *missing = NIL;
	ListCell   *lc;

	spec->takes_writes = both;
	if (!OidIsValid(kept))
		return schema_create_table(spec, server->owner);

	foreach(lc, spec->columns)
	{
		TableColumn *column = (TableColumn *) lfirst(lc);

		if (get_attnum(kept, column->name) == InvalidAttrNumber)
			missing = lappend(missing, column);
	}
	ereport(NOTICE,
			(errmsg("the table of %s that sync.disable kept is emptied and copied anew",
					described->name)));
	schema_empty_table(kept);
	if (missing != NIL)
		schema_add_columns(kept, missing);
	schema_take_writes(kept, both);
	return kept;
}

static void
register_object(const ServerOptions *server, const DescribeObject *described,
				List *fields, const char *stamp, Oid relid)
{
	SqlScope	sql;
	SyncObject	object = {0};

	sql_begin(&sql);
	(void) sql_run(&sql, "DELETE FROM sync.object"
				   " WHERE server = $1 AND object = $2",
				   "nt", server->name, described->name);
	(void) sql_run(&sql,
				   "INSERT INTO sync.object (server, object, relation,"
				   " direction, conflict) VALUES ($1, $2, $3, $4, $5)",
				   "ntott", server->name, described->name, relid,
				   goes_both_ways(described) ? "both" : "from",
				   strcmp(described->name, "Lead") == 0 ? "local"
				   : "salesforce");
	(void) sql_run(&sql,
				   "INSERT INTO sync.progress (server, object, stamp_field,"
				   " has_isdeleted, undeletable, deletable, replicateable,"
				   " described, describe_tag)"
				   " VALUES ($1, $2, $3, $4, $5, $6, $7, now(), $8)",
				   "nttbbbbt", server->name, described->name, stamp,
				   describe_field(described, "IsDeleted") != NULL,
				   described->undeletable, described->deletable,
				   described->replicateable, described->last_modified);
	sql_end(&sql);
	object.server = server->name;
	object.object = described->name;
	catalog_add_fields(&object, fields);
}

static Oid
enable_object(const ServerOptions *server, SalesforceApi *api,
			  const char *name, const char *schema)
{
	DescribeObject *described = describe_object(api, name, NULL);
	const char *stamp = mapping_stamp(described);
	List	   *fields;
	Oid			relid;

	if (stamp == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("object \"%s\" cannot be synced", described->name),
				 errdetail("It has none of the fields SystemModstamp, LastModifiedDate and CreatedDate, by which changes are found."),
				 errhint("Read it with sync.soql.")));
	fields = mapping_fields(described, NIL, NIL, false);
	relid = provide_table(server, described, fields, schema);
	register_object(server, described, fields, stamp, relid);
	return relid;
}

/*
 * sync.enable(server name, objects text[], schema name) returns setof regclass
 */
Datum
sync_enable(PG_FUNCTION_ARGS)
{
	ServerOptions *server = own_server(fcinfo);
	List	   *asked = PG_ARGISNULL(1) ? NIL :
		text_array_to_list(PG_GETARG_ARRAYTYPE_P(1));
	RowsOut    *out = rows_begin(fcinfo);
	Org		   *org = org_open(server->name);
	List	   *names = choose_objects(org->api, PG_ARGISNULL(1), asked);
	char	   *schema;
	ListCell   *lc;

	register_server(server, name_arg(fcinfo, 2));
	schema = catalog_server(server->name)->schema;
	foreach(lc, names)
	{
		char	   *name = (char *) lfirst(lc);
		Datum		value;
		bool		null = false;

		if (catalog_object(server->name, name) != NULL)
		{
			if (asked != NIL)
				ereport(NOTICE,
						(errmsg("object \"%s\" is synced already", name)));
			continue;
		}
		value = ObjectIdGetDatum(enable_object(server, org->api, name,
											   schema));
		rows_add(out, &value, &null);
	}
	(void) cycle_count_calls(org);
	org_close(org);
	worker_wake_at_commit(server->serverid, true);
	return (Datum) 0;
}

/*
 * sync.set
 */

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

/* "A, B, C" or an array literal. */
static List *
split_names(const char *value)
{
	char	   *copy;
	char	   *rest = NULL;
	List	   *names = NIL;

	if (value == NULL)
		return NIL;
	copy = pstrdup(value);
	for (char *name = strtok_r(copy, "{}, \t\n", &rest); name;
		 name = strtok_r(NULL, "{}, \t\n", &rest))
		names = lappend(names, name);
	return names;
}

static void
invalid_setting(const char *option, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for option \"%s\"", option),
			 errdetail("%s", detail)));
}

/*
 * Which fields are synced: the table changes with it, in this transaction.
 */
static void
set_fields(const ServerOptions *server, SyncObject *object,
		   const char *option, const char *value)
{
	Org		   *org = org_open(server->name);
	List	   *names = split_names(value);

	if (strcmp(option, "fields") == 0)
		object->only_fields = names;
	else
		object->exclude = names;
	if (strcmp(option, "exclude") == 0 && names == NIL)
		set_column(object, "exclude", "::text[]", "{}");
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
	set_column(object, "direction", "", direction);
	schema_take_writes(object->relid, writes);
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
	set_column(object, option, "::boolean", on ? "true" : "false");
}

static void
set_interval(SyncObject *object, const char *value)
{
	int64		duration;

	if (value && (!parse_duration(value, &duration) || duration == 0))
		invalid_setting("interval",
						"It must be a positive interval of at most 100 years.");
	set_column(object, "interval", "::interval", value);
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

	if (name == NULL || option == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
				 errmsg("object and option must be named")));
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
	else
		ereport(ERROR,
				(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
				 errmsg("invalid option \"%s\"", option),
				 errhint("Valid options in this context are: direction, fields, exclude, where, on_delete, conflict, external_id, interval, push_deletes, unmodified_since")));
	worker_wake_at_commit(server->serverid, false);
	PG_RETURN_VOID();
}

/*
 * sync.disable
 */

static void
forget_object(const SyncObject *object, bool drop_table)
{
	SqlScope	sql;
	bool		exists = get_rel_name(object->relid) != NULL;

	if (exists && drop_table)
		schema_drop_table(object->relid);
	else if (exists)
		schema_release(object->relid);

	sql_begin(&sql);
	if (exists && !drop_table)
		(void) sql_run(&sql, "UPDATE sync.object SET enabled = false"
					   " WHERE server = $1 AND object = $2",
					   "nt", object->server, object->object);
	else
		(void) sql_run(&sql, "DELETE FROM sync.object"
					   " WHERE server = $1 AND object = $2",
					   "nt", object->server, object->object);
	(void) sql_run(&sql, "DELETE FROM sync.failures"
				   " WHERE server = $1 AND object = $2",
				   "nt", object->server, object->object);
	sql_end(&sql);
}

/*
 * sync.disable(server name, object text, drop_table boolean) returns void
 */
Datum
sync_disable(PG_FUNCTION_ARGS)
{
	ServerOptions *server = own_server(fcinfo);
	char	   *name = text_arg(fcinfo, 1);
	bool		drop_table = !PG_ARGISNULL(2) && PG_GETARG_BOOL(2);
	List	   *objects;
	ListCell   *lc;

	objects = name ? list_make1(synced_object(server, name)) :
		catalog_objects(server->name);
	foreach(lc, objects)
		forget_object((SyncObject *) lfirst(lc), drop_table);
	worker_wake_at_commit(server->serverid, false);
	PG_RETURN_VOID();
}

/*
 * sync.pause, sync.resume, sync.start, sync.stop
 */

static void
require_enabled(const ServerOptions *server)
{
	if (catalog_server(server->name) == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("nothing of server \"%s\" is synced", server->name),
				 errhint("SELECT sync.enable('%s') starts it.",
						 server->name)));
}

/*
 * sync.pause(server name) returns void
 */
Datum
sync_pause(PG_FUNCTION_ARGS)
{
	ServerOptions *server = own_server(fcinfo);

	require_enabled(server);
	run_on_server("UPDATE sync.server SET paused = true WHERE server = $1",
				  server->name);
	worker_wake_at_commit(server->serverid, false);
	PG_RETURN_VOID();
}

/*
 * sync.resume(server name) returns void
 *
 * Also tells a restored copy of a database that it is to go on: from now on it
 * is where the server is synced.
 */
Datum
sync_resume(PG_FUNCTION_ARGS)
{
	ServerOptions *server = own_server(fcinfo);
	SqlScope	sql;

	require_enabled(server);
	sql_begin(&sql);
	(void) sql_run(&sql, "UPDATE sync.server SET paused = false,"
				   " running = true, origin = $2, serverid = $3"
				   " WHERE server = $1",
				   "nto", server->name, catalog_origin(), server->serverid);
	(void) sql_run(&sql, "UPDATE sync.server_progress SET retry_at = NULL,"
				   " next_cycle = NULL WHERE server = $1", "n", server->name);
	(void) sql_run(&sql, "UPDATE sync.progress SET retry_at = NULL"
				   " WHERE server = $1", "n", server->name);
	sql_end(&sql);
	worker_wake_at_commit(server->serverid, true);
	PG_RETURN_VOID();
}

/* All servers of this database that the caller owns, started or stopped. */
static int
set_running(bool running)
{
	List	   *servers;
	ListCell   *lc;
	int			n = 0;

	catalog_reconcile();
	servers = catalog_servers();
	foreach(lc, servers)
	{
		SyncServer *server = (SyncServer *) lfirst(lc);

		if (!server_owned_by(server->serverid, GetUserId()))
			continue;
		run_on_server(running
					  ? "UPDATE sync.server SET running = true WHERE server = $1"
					  : "UPDATE sync.server SET running = false WHERE server = $1",
					  server->name);
		worker_wake_at_commit(server->serverid, running);
		n++;
	}
	return n;
}

/*
 * sync.start() returns integer: for how many servers
 */
Datum
sync_start(PG_FUNCTION_ARGS)
{
	if (!worker_has_launcher())
		ereport(NOTICE,
				(errmsg("the workers will not come back after a restart or a crash of the server"),
				 errhint("Add sync to shared_preload_libraries, and a launcher keeps them running.")));
	PG_RETURN_INT32(set_running(true));
}

/*
 * sync.stop() returns integer: for how many servers
 */
Datum
sync_stop(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT32(set_running(false));
}

/*
 * Changes that wait
 */

/*
 * sync.retry(server name, object text) returns bigint: how many changes
 */
Datum
sync_retry(PG_FUNCTION_ARGS)
{
	ServerOptions *server = own_server(fcinfo);
	char	   *name = text_arg(fcinfo, 1);
	SqlScope	sql;
	int64		n;

	sql_begin(&sql);
	n = sql_run(&sql,
				"UPDATE sync.change c SET state = 'p', next_attempt = NULL"
				" FROM sync.object o WHERE o.relation = c.relation"
				" AND o.server = $1 AND ($2 IS NULL OR o.object = $2)"
				" AND (c.state = 'r' OR c.next_attempt IS NOT NULL)",
				"nt", server->name,
				name ? synced_object(server, name)->object : NULL);
	sql_end(&sql);
	worker_wake_at_commit(server->serverid, false);
	PG_RETURN_INT64(n);
}

/* The row goes back to what Salesforce has. */
static void
give_up_change(const SyncObject *object, const OutboxChange *change)
{
	ListCell   *lc;

	outbox_done(&change->seq, 1);
	if (change->operation != 'I')
	{
		catalog_read_again(object, change->id);
		return;
	}
	/* Later changes of a row that there never was. */
	foreach(lc, outbox_of_ids(object->relid, list_make1(change->id)))
		outbox_done(&((OutboxChange *) lfirst(lc))->seq, 1);
	identity_drop(object->relid, change->id);
}

/*
 * sync.discard(seq bigint) returns void
 */
Datum
sync_discard(PG_FUNCTION_ARGS)
{
	OutboxChange *change = outbox_change(PG_GETARG_INT64(0));
	SyncObject *object = change ? catalog_object_by_relid(change->relid) : NULL;

	if (object == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("there is no change %lld in the outbox, or it is being sent",
						(long long) PG_GETARG_INT64(0)),
				 errhint("SELECT seq FROM sync.outbox lists them.")));
	require_server_owner(server_options(object->server));
	give_up_change(object, change);
	worker_wake_at_commit(object->serverid, false);
	PG_RETURN_VOID();
}

/*
 * sync.resolve(id text) returns text
 */
Datum
sync_resolve(PG_FUNCTION_ARGS)
{
	char	   *id = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *known;

	if (id[0] != PROVISIONAL_MARK)
		PG_RETURN_TEXT_P(cstring_to_text(id));
	known = (char *) linitial(identity_known(list_make1(id)));
	if (known == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(known));
}

/*
 * sync.now
 */

/* What the log got from a run, as rows of sync.log. */
static void
return_log(RowsOut *out, int64 run)
{
	SqlScope	sql;
	uint64		n;
	const char **values = palloc(sizeof(char *) * out->desc->natts);

	sql_begin_latest(&sql);
	/* Moments are read again as they were written, whatever the session's zone. */
	(void) set_config_option("DateStyle", "ISO", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	n = sql_run(&sql, "SELECT * FROM sync.log WHERE run = $1 ORDER BY seq",
				"l", run);
	for (uint64 i = 0; i < n; i++)
	{
		for (int column = 0; column < out->desc->natts; column++)
			values[column] = sql_text(&sql, i, column + 1);
		rows_add_texts(out, values);
	}
	sql_end(&sql);
	if (n == 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the cycle ended without a result"),
				 errhint("The server log says why.")));
}

/*
 * sync.now(server name, object text) returns setof sync.log
 *
 * The cycle runs in a worker of its own, in transactions of its own.
 */
Datum
sync_now(PG_FUNCTION_ARGS)
{
	ServerOptions *server = named_server(fcinfo);
	char	   *name = text_arg(fcinfo, 1);
	RowsOut    *out = rows_begin(fcinfo);
	SyncServer *known = catalog_server_by_oid(server->serverid);
	WorkerArgs	args = {0};

	/*
	 * The cycle would wait for what this transaction has locked, and this one
	 * waits for the cycle.
	 */
	if (TransactionIdIsValid(GetTopTransactionIdIfAny()))
		ereport(ERROR,
				(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
				 errmsg("sync.now cannot run in a transaction that has written something"),
				 errhint("Commit first.")));
	if (known)
		server->name = known->name;
	require_enabled(server);
	args.task = WORKER_NOW;
	args.serverid = server->serverid;
	if (name)
		strlcpy(args.object, synced_object(server, name)->object,
				WORKER_OBJECT_LEN);
	args.number = catalog_next_run();
	worker_run_and_wait(&args);
	return_log(out, args.number);
	return (Datum) 0;
}

/* Tables of servers that are no more become ordinary ones. */
static void
release_tables(void)
{
	SqlScope	sql;
	List	   *relids = NIL;
	uint64		n;
	ListCell   *lc;

	sql_begin(&sql);
	n = sql_run(&sql,
				"SELECT o.relation::oid FROM sync.object o"
				" JOIN sync.server s USING (server)"
				" JOIN pg_catalog.pg_class c ON c.oid = o.relation"
				" WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_foreign_server f"
				" WHERE f.srvname = s.server OR f.oid = s.serverid)", "");
	MemoryContextSwitchTo(sql.caller);
	for (uint64 i = 0; i < n; i++)
		relids = lappend_oid(relids, (Oid) sql_int(&sql, i, 1));
	sql_end(&sql);
	foreach(lc, relids)
		schema_release(lfirst_oid(lc));
}

/*
 * Event trigger on sql_drop: what no longer exists is no longer synced.
 */
Datum
sync_dropped(PG_FUNCTION_ARGS)
{
	SqlScope	sql;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		elog(ERROR, "not fired by event trigger manager");
	release_tables();
	sql_begin(&sql);
	(void) sql_run(&sql,
				   "DELETE FROM sync.object o"
				   " WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_class c"
				   " WHERE c.oid = o.relation)", "");
	(void) sql_run(&sql,
				   "DELETE FROM sync.server s"
				   " WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_foreign_server f"
				   " WHERE f.srvname = s.server OR f.oid = s.serverid)", "");
	(void) sql_run(&sql,
				   "DELETE FROM sync.failures f WHERE object IS NOT NULL"
				   " AND NOT EXISTS (SELECT FROM sync.object o"
				   " WHERE o.server = f.server AND o.object = f.object)", "");
	(void) sql_run(&sql,
				   "DELETE FROM sync.failures f"
				   " WHERE NOT EXISTS (SELECT FROM sync.server s"
				   " WHERE s.server = f.server)", "");
	(void) sql_run(&sql,
				   "DELETE FROM sync.log l"
				   " WHERE NOT EXISTS (SELECT FROM sync.server s"
				   " WHERE s.server = l.server)", "");
	(void) sql_run(&sql,
				   "DELETE FROM sync.change c"
				   " WHERE NOT EXISTS (SELECT FROM sync.object o"
				   " WHERE o.relation = c.relation)", "");
	(void) sql_run(&sql,
				   "DELETE FROM sync.conflicts c"
				   " WHERE NOT EXISTS (SELECT FROM sync.server s"
				   " WHERE s.server = c.server)", "");
	sql_end(&sql);
	catalog_changed();
	PG_RETURN_NULL();
}

/*
 * Event trigger on ddl_command_end: servers and user mappings may have been
 * altered; their workers look at once.  A new name is followed before another
 * server can take the old one.
 */
Datum
sync_altered(PG_FUNCTION_ARGS)
{
	ListCell   *lc;

	if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
		elog(ERROR, "not fired by event trigger manager");
	catalog_reconcile();
	foreach(lc, catalog_servers())
		worker_wake_at_commit(((SyncServer *) lfirst(lc))->serverid, false);
	PG_RETURN_NULL();
}
