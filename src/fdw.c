/*-------------------------------------------------------------------------
 *
 * fdw.c
 *	  The wrapper "salesforce": options of servers and user mappings.
 *
 * An org is described by a SERVER and the login by a USER MAPPING, so that
 * ALTER, GRANT, DROP and pg_dump work as for any foreign data.  The validator
 * checks what is written; the readers below give it to the worker and the
 * functions in its typed form.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <sys/stat.h>

#include "access/htup_details.h"
#include "access/reloptions.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_foreign_table.h"
#include "catalog/pg_type.h"
#include "catalog/pg_user_mapping.h"
#include "commands/defrem.h"
#include "fmgr.h"
#include "foreign/foreign.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "storage/fd.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#include "compat.h"
#include "fdw.h"
#include "salesforce/url.h"

#define WRAPPER_NAME	"salesforce"

/* A key file larger than this is no key. */
#define MAX_KEY_FILE	(64 * 1024)

/* 100 years: whatever it is added to stays a timestamp. */
#define MAX_DURATION_DAYS \
	(INT64CONST(100) * MONTHS_PER_YEAR * DAYS_PER_MONTH)

typedef void (*OptionCheck) (const char *name, const char *value);

typedef struct OptionDef
{
	const char *name;
	Oid			context;		/* catalog that may hold it */
	OptionCheck check;			/* NULL: any text */
} OptionDef;

static void check_url(const char *name, const char *value);
static void check_version(const char *name, const char *value);
static void check_duration(const char *name, const char *value);
static void check_share(const char *name, const char *value);
static void check_client_name(const char *name, const char *value);
static void check_server_file(const char *name, const char *value);
static void check_auth(const char *name, const char *value);
static void check_filled(const char *name, const char *value);

static const OptionDef option_defs[] = {
	{"login_url", ForeignServerRelationId, check_url},
	{"api_version", ForeignServerRelationId, check_version},
	{"interval", ForeignServerRelationId, check_duration},
	{"overlap", ForeignServerRelationId, check_duration},
	{"api_budget", ForeignServerRelationId, check_share},
	{"client_name", ForeignServerRelationId, check_client_name},
	{"ca_file", ForeignServerRelationId, check_server_file},
	{"timeout", ForeignServerRelationId, check_duration},
	{"keep_log", ForeignServerRelationId, check_duration},
	{"auth", UserMappingRelationId, check_auth},
	{"client_id", UserMappingRelationId, check_filled},
	{"client_secret", UserMappingRelationId, check_filled},
	{"username", UserMappingRelationId, check_filled},
	{"password", UserMappingRelationId, check_filled},
	{"private_key_file", UserMappingRelationId, check_server_file},
	{"refresh_token", UserMappingRelationId, check_filled},
	{NULL, InvalidOid, NULL}
};

/* What each grant needs beyond client_id. */
typedef struct GrantDef
{
	const char *auth;
	const char *needs[4];
} GrantDef;

static const GrantDef grant_defs[] = {
	{"jwt", {"client_id", "username", "private_key_file", NULL}},
	{"client_credentials", {"client_id", "client_secret", NULL}},
	{"refresh_token", {"client_id", "refresh_token", NULL}},
	{"password", {"client_id", "client_secret", "username", "password"}},
	{NULL, {NULL}}
};

PG_FUNCTION_INFO_V1(salesforce_fdw_validator);

/*
 * Option values
 */

static void
invalid_value(const char *name, const char *detail)
{
	/* The value itself may be a secret that was put into the wrong option. */
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("invalid value for option \"%s\"", name),
			 errdetail("%s", detail)));
}

static void
check_filled(const char *name, const char *value)
{
	if (value[0] == '\0')
		invalid_value(name, "The value is empty.");
}

/*
 * What stands in a browser is the address of a page, and its host is often one
 * that shows pages and gives no tokens.
 */
static bool
is_page_host(const char *host)
{
	static const char *const suffixes[] = {".lightning.force.com",
	".my.salesforce-setup.com"};
	size_t		len = strlen(host);

	for (size_t i = 0; i < lengthof(suffixes); i++)
	{
		size_t		n = strlen(suffixes[i]);

		if (len > n && pg_strcasecmp(host + len - n, suffixes[i]) == 0)
			return true;
	}
	return false;
}

static void
check_url(const char *name, const char *value)
{
	UrlParts	parts;

	if (!http_url_allowed(value))
		invalid_value(name, "It must be an https address such as \"https://login.salesforce.com\" (plain http only to this machine itself).");
	if (url_bare_origin(value) == NULL)
		invalid_value(name, "It must be the address of a host alone, such as \"https://login.salesforce.com\", without a path or a query.");
	if (url_split(value, &parts) && is_page_host(parts.host))
		invalid_value(name, "This host shows pages and takes no logins; the org's My Domain is \"https://NAME.my.salesforce.com\".");
}

/* "62.0", as /services/data lists it. */
static void
check_version(const char *name, const char *value)
{
	size_t		digits = strspn(value, "0123456789");

	if (digits < 2 || digits > 3 || strcmp(value + digits, ".0") != 0)
		invalid_value(name, "It must be a version of the Salesforce API such as \"62.0\".");
}

/* Days and time are looked at one by one: their sum may not fit into int64. */
bool
parse_duration(const char *value, int64 *duration)
{
	Interval   *interval;
	int64		days;

	interval = DatumGetIntervalP(DirectFunctionCall3(interval_in,
													 CStringGetDatum(value),
													 ObjectIdGetDatum(InvalidOid),
													 Int32GetDatum(-1)));
	days = interval->day + interval->month * (int64) DAYS_PER_MONTH;
	if (days > MAX_DURATION_DAYS || days < -MAX_DURATION_DAYS ||
		interval->time > MAX_DURATION_DAYS * USECS_PER_DAY ||
		interval->time < -MAX_DURATION_DAYS * USECS_PER_DAY)
		return false;
	*duration = interval->time + days * USECS_PER_DAY;
	return *duration >= 0 && *duration <= MAX_DURATION_DAYS * USECS_PER_DAY;
}

static int64
duration_value(const char *name, const char *value)
{
	bool		may_be_zero = strcmp(name, "overlap") == 0;
	int64		duration;

	if (!parse_duration(value, &duration) || (duration == 0 && !may_be_zero))
		invalid_value(name, "It must be a positive interval such as \"5 min\", of at most 100 years.");
	return duration;
}

static void
check_duration(const char *name, const char *value)
{
	(void) duration_value(name, value);
}

/*
 * "80 %", "80%" or "80": 0.8; negative if it is none.  A number up to 1 without
 * the sign may be meant as a fraction, which would be a hundred times as much.
 */
static double
parse_share(const char *value)
{
	char	   *end;
	double		percent = strtod(value, &end);
	bool		has_sign;

	/* sync.usage reads it as numeric. */
	if (end == value ||
		strspn(value, "0123456789.") != (size_t) (end - value))
		return -1;
	while (*end == ' ')
		end++;
	has_sign = *end == '%';
	if (has_sign)
		end++;
	if (*end != '\0' || !(percent > 0 && percent <= 100) ||
		(percent <= 1 && !has_sign))
		return -1;
	return percent / 100;
}

static void
check_share(const char *name, const char *value)
{
	if (parse_share(value) < 0)
		invalid_value(name, "It must be a share of the org's daily calls, in percent, such as \"80 %\" (\"0.5 %\" is half a percent).");
}

/* It travels in a header, whose syntax must not be in it. */
static void
check_client_name(const char *name, const char *value)
{
	for (const char *p = value; *p; p++)
	{
		if (!isalnum((unsigned char) *p) && strchr("_-./", *p) == NULL)
			invalid_value(name, "It may contain letters, digits and the characters _ - . / only.");
	}
	check_filled(name, value);
}

static void
check_auth(const char *name, const char *value)
{
	for (const GrantDef *grant = grant_defs; grant->auth; grant++)
	{
		if (strcmp(grant->auth, value) == 0)
			return;
	}
	invalid_value(name, "It must be one of: jwt, client_credentials, refresh_token, password.");
}

/*
 * The server process reads the file with its own rights, so whoever names it
 * must be allowed to read server files (the rule of file_fdw).
 */
static void
check_server_file(const char *name, const char *value)
{
	if (!has_privs_of_role(GetUserId(), ROLE_PG_READ_SERVER_FILES))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied to set option \"%s\"", name),
				 errdetail("Only roles with privileges of pg_read_server_files may name a file of the server."),
				 errhint("Let a superuser create the user mapping, or GRANT pg_read_server_files.")));
	if (!is_absolute_path(value))
		invalid_value(name, "It must be an absolute path on the database server.");
}

static void
unknown_option(const char *name, Oid context)
{
	StringInfoData valid;

	initStringInfo(&valid);
	for (const OptionDef *def = option_defs; def->name; def++)
	{
		if (def->context == context)
			appendStringInfo(&valid, "%s%s", valid.len ? ", " : "", def->name);
	}
	ereport(ERROR,
			(errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
			 errmsg("invalid option \"%s\"", name),
			 valid.len > 0
			 ? errhint("Valid options in this context are: %s", valid.data)
			 : errhint("There are no valid options in this context.")));
}

static const char *
option_value(List *options, const char *name)
{
	ListCell   *lc;

	foreach(lc, options)
	{
		DefElem    *option = (DefElem *) lfirst(lc);

		if (strcmp(option->defname, name) == 0)
			return defGetString(option);
	}
	return NULL;
}

/* The options of a user mapping together must make a login. */
static void
check_grant(List *options)
{
	const char *auth = option_value(options, "auth");

	if (auth == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
				 errmsg("option \"auth\" is missing"),
				 errhint("It must be one of: jwt, client_credentials, refresh_token, password.")));
	for (const GrantDef *grant = grant_defs; grant->auth; grant++)
	{
		if (strcmp(grant->auth, auth) != 0)
			continue;
		for (int i = 0; i < 4 && grant->needs[i]; i++)
		{
			if (option_value(options, grant->needs[i]) == NULL)
				ereport(ERROR,
						(errcode(ERRCODE_FDW_OPTION_NAME_NOT_FOUND),
						 errmsg("option \"%s\" is missing", grant->needs[i]),
						 errdetail("Logging in with auth \"%s\" needs it.", auth)));
		}
	}
}

/*
 * A foreign table, or one of its columns.  It could be created, as the wrapper
 * is asked about options alone, and never be read.
 */
static void
refuse_foreign_table(void)
{
	ereport(ERROR,
			(errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
			 errmsg("foreign-data wrapper \"%s\" has no foreign tables",
					WRAPPER_NAME),
			 errdetail("Objects of Salesforce become ordinary tables, which sync keeps in step."),
			 errhint("SELECT sync.enable(server, 'Object') creates one; sync.soql(server, query) reads without one.")));
}

/*
 * Checks the options of CREATE and ALTER of a server or user mapping.
 */
Datum
salesforce_fdw_validator(PG_FUNCTION_ARGS)
{
	List	   *options = untransformRelOptions(PG_GETARG_DATUM(0));
	Oid			context = PG_GETARG_OID(1);
	ListCell   *lc;

	if (context == ForeignTableRelationId || context == AttributeRelationId)
		refuse_foreign_table();
	foreach(lc, options)
	{
		DefElem    *option = (DefElem *) lfirst(lc);
		const OptionDef *def = option_defs;

		while (def->name && (def->context != context ||
							 strcmp(def->name, option->defname) != 0))
			def++;
		if (def->name == NULL)
			unknown_option(option->defname, context);
		if (def->check)
			def->check(def->name, defGetString(option));
	}
	if (context == UserMappingRelationId)
		check_grant(options);
	PG_RETURN_VOID();
}

/*
 * Readers
 */

static char *
text_option(List *options, const char *name, const char *otherwise)
{
	const char *value = option_value(options, name);

	if (value == NULL)
		value = otherwise;
	return value ? pstrdup(value) : NULL;
}

static int64
duration_option(List *options, const char *name, int64 otherwise)
{
	const char *value = option_value(options, name);

	return value ? duration_value(name, value) : otherwise;
}

static ServerOptions *
read_server(ForeignServer *server)
{
	ServerOptions *result = palloc0(sizeof(ServerOptions));
	const char *budget = option_value(server->options, "api_budget");

	result->name = server->servername;
	result->serverid = server->serverid;
	result->owner = server->owner;
	result->login_url = text_option(server->options, "login_url",
									"https://login.salesforce.com");
	result->api_version = text_option(server->options, "api_version", NULL);
	result->interval = duration_option(server->options, "interval",
									   5 * USECS_PER_MINUTE);
	result->overlap = duration_option(server->options, "overlap",
									  10 * USECS_PER_MINUTE);
	result->api_budget = budget ? parse_share(budget) : 0.8;
	result->client_name = text_option(server->options, "client_name", "sync");
	result->ca_file = text_option(server->options, "ca_file", NULL);
	/* Salesforce lets a query run for 120 s (SOQL limits). */
	result->timeout = duration_option(server->options, "timeout",
									  150 * USECS_PER_SEC);
	result->keep_log = duration_option(server->options, "keep_log",
									   5 * USECS_PER_DAY);
	return result;
}

static bool
is_salesforce_server(ForeignServer *server)
{
	return strcmp(GetForeignDataWrapper(server->fdwid)->fdwname,
				  WRAPPER_NAME) == 0;
}

ServerOptions *
server_options(const char *name)
{
	ForeignServer *server = GetForeignServerByName(name, true);

	if (server == NULL || !is_salesforce_server(server))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("there is no Salesforce server \"%s\"", name),
				 errhint("Create it with CREATE SERVER ... FOREIGN DATA WRAPPER salesforce.")));
	return read_server(server);
}

ServerOptions *
server_options_by_oid(Oid serverid)
{
	ForeignServer *server = GetForeignServerExtended(serverid,
													 FSV_MISSING_OK);

	if (server == NULL || !is_salesforce_server(server))
		return NULL;
	return read_server(server);
}

/* The user mapping that the server logs in with, or NULL. */
static HeapTuple
search_mapping(const ServerOptions *server)
{
	HeapTuple	tuple = SearchSysCache2(USERMAPPINGUSERSERVER,
										ObjectIdGetDatum(server->owner),
										ObjectIdGetDatum(server->serverid));

	if (!HeapTupleIsValid(tuple))
		tuple = SearchSysCache2(USERMAPPINGUSERSERVER,
								ObjectIdGetDatum(InvalidOid),
								ObjectIdGetDatum(server->serverid));
	return tuple;
}

static HeapTuple
find_mapping(const ServerOptions *server)
{
	HeapTuple	tuple = search_mapping(server);

	if (!HeapTupleIsValid(tuple))
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_OBJECT),
				 errmsg("there is no user mapping to log in with for server \"%s\"",
						server->name),
				 errdetail("The mapping of the server's owner \"%s\" is used, or the one for PUBLIC.",
						   GetUserNameFromId(server->owner, false)),
				 errhint("Create it with CREATE USER MAPPING FOR %s SERVER %s OPTIONS (auth ...).",
						 quote_identifier(GetUserNameFromId(server->owner, false)),
						 quote_identifier(server->name))));
	return tuple;
}

/*
 * Reads a private key.  Nothing of its content appears in an error.
 */
static char *
read_key_file(const char *path)
{
	struct stat st;
	FILE	   *file = AllocateFile(path, PG_BINARY_R);
	char	   *content;
	size_t		length;

	if (file == NULL || fstat(fileno(file), &st) != 0)
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not open private key file \"%s\": %m", path),
				 errhint("The operating-system user of the PostgreSQL server must be able to read it.")));
	if (!S_ISREG(st.st_mode) || st.st_size > MAX_KEY_FILE)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is not a private key file", path),
				 errhint("A PEM file with an RSA private key is needed.")));
	content = palloc0(st.st_size + 1);
	length = fread(content, 1, st.st_size, file);
	if (ferror(file))
		ereport(ERROR,
				(errcode_for_file_access(),
				 errmsg("could not read private key file \"%s\": %m", path)));
	content[length] = '\0';
	FreeFile(file);
	return content;
}

Credentials *
server_credentials(const ServerOptions *server, Oid *mapping_user)
{
	HeapTuple	tuple = find_mapping(server);
	Credentials *result = palloc0(sizeof(Credentials));
	List	   *options = NIL;
	const char *key_file;
	Datum		datum;
	bool		null;

	datum = SysCacheGetAttr(USERMAPPINGUSERSERVER, tuple,
							Anum_pg_user_mapping_umoptions, &null);
	if (!null)
		options = untransformRelOptions(datum);
	if (mapping_user)
		*mapping_user = ((Form_pg_user_mapping) GETSTRUCT(tuple))->umuser;
	ReleaseSysCache(tuple);

	check_grant(options);
	result->login_url = server->login_url;
	result->auth = option_value(options, "auth");
	result->client_id = option_value(options, "client_id");
	result->client_secret = option_value(options, "client_secret");
	result->username = option_value(options, "username");
	result->password = option_value(options, "password");
	result->refresh_token = option_value(options, "refresh_token");
	key_file = option_value(options, "private_key_file");
	if (key_file && strcmp(result->auth, "jwt") == 0)
		result->private_key = read_key_file(key_file);
	return result;
}

/*
 * A catalog row gets a new xmin with each ALTER; freezing leaves the stored
 * value alone.
 */
char *
credentials_version(const ServerOptions *server)
{
	HeapTuple	mapping = search_mapping(server);
	HeapTuple	row = SearchSysCache1(FOREIGNSERVEROID,
									  ObjectIdGetDatum(server->serverid));
	char	   *result;

	if (!HeapTupleIsValid(row))
		elog(ERROR, "cache lookup failed for foreign server %u",
			 server->serverid);
	if (!HeapTupleIsValid(mapping))
	{
		ReleaseSysCache(row);
		return pstrdup("none");
	}
	result = psprintf("%u.%u.%u",
					  ((Form_pg_user_mapping) GETSTRUCT(mapping))->oid,
					  HeapTupleHeaderGetRawXmin(mapping->t_data),
					  HeapTupleHeaderGetRawXmin(row->t_data));
	ReleaseSysCache(mapping);
	ReleaseSysCache(row);
	return result;
}

void
store_refresh_token(const ServerOptions *server, const char *token)
{
	AlterUserMappingStmt *stmt = makeNode(AlterUserMappingStmt);
	RoleSpec   *role = makeNode(RoleSpec);
	Oid			user;

	(void) server_credentials(server, &user);
	role->roletype = OidIsValid(user) ? ROLESPEC_CSTRING : ROLESPEC_PUBLIC;
	role->rolename = OidIsValid(user) ? GetUserNameFromId(user, false) : NULL;
	role->location = -1;
	stmt->user = role;
	stmt->servername = server->name;
	stmt->options = list_make1(makeDefElemExtended(NULL, "refresh_token",
												   (Node *) makeString(pstrdup(token)),
												   DEFELEM_SET, -1));
	AlterUserMapping(stmt);
}

void
require_server_owner(const ServerOptions *server)
{
	if (!server_owned_by(server->serverid, GetUserId()))
		aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_FOREIGN_SERVER,
					   server->name);
}

void
require_server_usage(const ServerOptions *server)
{
	AclResult	result = server_usage_check(server->serverid, GetUserId());

	if (result != ACLCHECK_OK)
		aclcheck_error(result, OBJECT_FOREIGN_SERVER, server->name);
}
