/*-------------------------------------------------------------------------
 *
 * enable.c
 *	  sync.enable: objects of an org become tables.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/catalog.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "compat.h"
#include "cycle.h"
#include "evolve.h"
#include "functions.h"
#include "login.h"
#include "mapping.h"
#include "rows.h"
#include "tables/sql.h"
#include "wake.h"

PG_FUNCTION_INFO_V1(sync_enable);
PG_FUNCTION_INFO_V1(sync_enable_names);

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

const char *
unfit_encoding(void)
{
	return GetDatabaseEncoding() == PG_UTF8 ? NULL :
		GetDatabaseEncodingName();
}

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
register_server(const ServerOptions *server, const Org *org,
				const char *schema)
{
	SqlScope	sql;

	sql_begin(&sql);
	(void) sql_run(&sql,
				   "INSERT INTO sync.server AS s"
				   " (server, serverid, origin, schema, org_id, timeline)"
				   " VALUES ($1, $2, $3, coalesce($4, $1), $5, $6)"
				   " ON CONFLICT (server) DO UPDATE SET serverid = $2,"
				   " schema = coalesce($4, s.schema), running = true,"
				   " org_id = coalesce(s.org_id, $5)",
				   "notntt", server->name, server->serverid, catalog_origin(),
				   schema, org->org_id, catalog_timeline());
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
				"SELECT o.relation::pg_catalog.oid FROM sync.object o"
				" WHERE o.server = $1 AND o.object = $2 AND NOT o.enabled",
				"nt", server->name, object) > 0)
		relid = (Oid) sql_int(&sql, 0, 1);
	sql_end(&sql);
	return get_rel_name(relid) != NULL ? relid : InvalidOid;
}

/*
 * The table of an object: a new one; or, after sync.disable, the one that was
 * kept, its missing columns added.
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
			(errmsg("the table of %s that sync.disable kept is compared with the org, and brought up to date",
					described->name)));
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
				   " has_isdeleted, undeletable, replicateable,"
				   " described, describe_tag)"
				   " VALUES ($1, $2, $3, $4, $5, $6, now(), $7)",
				   "nttbbbt", server->name, described->name, stamp,
				   describe_field(described, "IsDeleted") != NULL,
				   described->undeletable, described->replicateable,
				   described->last_modified);
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

static void
require_encoding(void)
{
	const char *encoding = unfit_encoding();

	if (encoding)
		ereport(ERROR,
				(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
				 errmsg("a database with encoding %s cannot be synced", encoding),
				 errdetail("Salesforce's texts are Unicode, and not all of them could be stored here."),
				 errhint("Use a database that was created with ENCODING 'UTF8'.")));
}

/*
 * Where tables of users do not belong: schemas of the system, and this
 * extension's own, whose tables the names of objects could meet.
 */
static void
check_schema(const char *schema)
{
	if (schema[0] == '\0')
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_SCHEMA_NAME),
				 errmsg("the name of the schema is empty")));
	if (IsReservedName(schema) ||
		strcmp(schema, "information_schema") == 0 ||
		strcmp(schema, "sync") == 0)
		ereport(ERROR,
				(errcode(ERRCODE_RESERVED_NAME),
				 errmsg("tables of Salesforce objects cannot be created in schema \"%s\"",
						schema),
				 errdetail("It belongs to the system, or to the extension itself."),
				 errhint("Name another: sync.enable(server, objects, schema). Without one, it is named like the server.")));
}

/* The schema that was asked for, or NULL for the one that there is. */
static char *
asked_schema(const ServerOptions *server, FunctionCallInfo fcinfo)
{
	char	   *schema = name_arg(fcinfo, 2);

	if (schema != NULL)
		check_schema(schema);
	else if (catalog_server(server->name) == NULL)
		check_schema(server->name);
	return schema;
}

/* asked: names; NIL and by_default: the default set. */
static Datum
enable(FunctionCallInfo fcinfo, bool by_default, List *asked)
{
	ServerOptions *server = own_server(fcinfo);
	char	   *schema = asked_schema(server, fcinfo);
	RowsOut    *out = rows_begin(fcinfo);
	Org		   *org;
	List	   *names;
	ListCell   *lc;

	require_encoding();
	org = org_open(server->name);
	names = choose_objects(org->api, by_default, asked);
	register_server(server, org, schema);
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
 * sync.enable(server name, objects text[], schema name) returns setof regclass
 */
Datum
sync_enable(PG_FUNCTION_ARGS)
{
	return enable(fcinfo, PG_ARGISNULL(1), PG_ARGISNULL(1) ? NIL :
				  text_array_to_list(PG_GETARG_ARRAYTYPE_P(1)));
}

/*
 * sync.enable(server name, object text, schema name) returns setof regclass
 *
 * A literal is taken for a text before it is taken for an array, so this has to
 * understand those of arrays, too.
 */
Datum
sync_enable_names(PG_FUNCTION_ARGS)
{
	char	   *names = text_arg(fcinfo, 1);
	List	   *asked = split_names(names);

	if (names && asked == NIL && strchr(names, '{') == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the name of an object must not be empty")));
	return enable(fcinfo, names == NULL, asked);
}
