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

typedef struct Redirect
{
	const SyncObject *lead;
	SyncObject *contact;
	const char *id;
	List	   *columns;
	uint64		changed;
} Redirect;

/*
 * As the contact's owner, but not as the sync: the capture trigger shall see
 * it, and refuses what the contact cannot hold.
 */
static void
write_contact(void *arg)
{
	Redirect   *r = (Redirect *) arg;
	Oid			types[1] = {TEXTOID};
	Datum		values[1];
	StringInfoData sql;
	ApplyState	state;
	ListCell   *lc;

	initStringInfo(&sql);
	appendStringInfo(&sql, "UPDATE %s AS c SET ",
					 relation_rows(r->contact->relid));
	foreach(lc, r->columns)
	{
		const char *name = quote_identifier((char *) lfirst(lc));

		appendStringInfo(&sql, "%s%s = l.%s",
						 lc == list_head(r->columns) ? "" : ", ", name, name);
	}
	appendStringInfo(&sql, " FROM %s AS l WHERE l.id = $1"
					 " AND c.id = l.convertedcontactid",
					 relation_rows(r->lead->relid));
	values[0] = CStringGetTextDatum(r->id);
	check_constraints_at_once();
	owner_begin(relation_owner(r->contact->relid), &state);
	r->changed = relation_run_args(sql.data, 1, types, values);
	owner_end(&state);
}

char *
redirect_to_contact(const SyncObject *lead, const char *id, List *columns,
					bool *later)
{
	Redirect	r = {lead, NULL, id, columns, 0};
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
	error = attempt(write_contact, &r);
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
