/*-------------------------------------------------------------------------
 *
 * redirect.c
 *	  Changes of a converted lead, to the contact that it has become.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "lib/stringinfo.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"

#include "tables/attempt.h"
#include "tables/guard.h"
#include "tables/redirect.h"
#include "tables/relation.h"
#include "tables/sql.h"

typedef struct Redirect
{
	const SyncObject *lead;
	SyncObject *contact;
	const char *id;
	List	   *columns;
	char	   *contact_id;
	char	   *values;
	uint64		changed;
} Redirect;

/* The lead's values, as JSON, and its contact, as the lead's owner. */
static void
read_lead(Redirect *r)
{
	SqlScope	sql;
	StringInfoData statement;
	ListCell   *lc;

	initStringInfo(&statement);
	appendStringInfoString(&statement, "SELECT l.convertedcontactid,"
						   " (SELECT pg_catalog.to_json(v) FROM (SELECT ");
	foreach(lc, r->columns)
		appendStringInfo(&statement, "%sl.%s",
						 lc == list_head(r->columns) ? "" : ", ",
						 quote_identifier((char *) lfirst(lc)));
	appendStringInfo(&statement, ") AS v)::pg_catalog.text FROM %s AS l"
					 " WHERE l.id = $1", relation_rows(r->lead->relid));
	r->contact_id = r->values = NULL;
	sql_begin_on(&sql, r->lead->relid);
	if (sql_run(&sql, statement.data, "t", r->id) > 0)
	{
		r->contact_id = sql_text(&sql, 0, 1);
		r->values = sql_text(&sql, 0, 2);
	}
	sql_end(&sql);
}

/*
 * As the contact's owner, who may be another and not see leads, but not as the
 * sync: the capture trigger shall see it, and refuses what the contact cannot
 * hold.
 */
static void
write_contact(Redirect *r)
{
	Oid			relid = r->contact->relid;
	Oid			types[2] = {TEXTOID, TEXTOID};
	Datum		values[2];
	StringInfoData sql;
	ApplyState	state;
	ListCell   *lc;

	initStringInfo(&sql);
	appendStringInfo(&sql, "UPDATE %s AS c SET ", relation_rows(relid));
	foreach(lc, r->columns)
	{
		const char *column = (char *) lfirst(lc);
		Oid			type = get_atttype(relid, get_attnum(relid, column));

		appendStringInfo(&sql, "%s%s = ($2::pg_catalog.json ->> %s)::%s",
						 lc == list_head(r->columns) ? "" : ", ",
						 quote_identifier(column), quote_literal_cstr(column),
						 format_type_be_qualified(type));
	}
	appendStringInfoString(&sql, " WHERE c.id = $1");
	values[0] = CStringGetTextDatum(r->contact_id);
	values[1] = CStringGetTextDatum(r->values);
	check_constraints_at_once();
	owner_begin(relation_owner(relid), &state);
	r->changed = relation_run_args(sql.data, 2, types, values);
	owner_end(&state);
}

static void
redirect(void *arg)
{
	Redirect   *r = (Redirect *) arg;

	read_lead(r);
	if (r->contact_id != NULL)
		write_contact(r);
}

char *
redirect_to_contact(const SyncObject *lead, const char *id, List *columns,
					bool *later)
{
	Redirect	r = {.lead = lead, .id = id, .columns = columns};
	ErrorData  *error;
	ListCell   *lc;

	*later = false;
	r.contact = catalog_object(lead->server, "Contact");
	if (r.contact == NULL || r.contact->direction == DIRECTION_FROM)
		return "the lead is converted, and contacts do not go to Salesforce";
	if (get_attnum(lead->relid, "convertedcontactid") == InvalidAttrNumber)
		return "the lead is converted, and its contact is not known";
	foreach(lc, columns)
	{
		if (get_attnum(r.contact->relid, (char *) lfirst(lc)) == InvalidAttrNumber)
			return psprintf("the lead is converted, and a contact has no \"%s\"",
							(char *) lfirst(lc));
	}
	/* Whatever is wrong with contacts, other changes of leads go out. */
	error = attempt_any(redirect, &r);
	if (error && (is_interrupt(error) || is_contention(error)))
		ReThrowError(error);
	if (error)
		return psprintf("the lead is converted, and its contact does not take the change: %s",
						error->message);
	if (r.changed == 0)
	{
		*later = true;
		return "the lead is converted, and its contact is not here";
	}
	return NULL;
}
