/*-------------------------------------------------------------------------
 *
 * guard.c
 *	  The triggers that keep a table as Salesforce has it.
 *
 * A table that is kept from Salesforce must not be changed by anybody else:
 * the change would stay behind in PostgreSQL and vanish with the next one from
 * there.  So each synced table has triggers that refuse, unless the sync itself
 * is writing (writer.c).  One fires before a statement, so that a long one is
 * refused at its start; it fires for the table that the statement names, and so
 * not for an UPDATE of a parent that somebody made by INHERIT: for that there
 * is one that fires for rows.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "parser/parse_func.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "compat.h"
#include "tables/guard.h"
#include "tables/relation.h"

#define GUARD_TRIGGER	"sync_guard"
#define GUARD_ROWS_TRIGGER	"sync_guard_rows"

PG_FUNCTION_INFO_V1(sync_refuse_write);

/* Trigger function; the WHEN clause has already asked who is writing. */
Datum
sync_refuse_write(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		ereport(ERROR,
				(errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
				 errmsg("function \"%s\" must be called as a trigger",
						"sync.refuse_write")));

	ereport(ERROR,
			(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
			 errmsg("table \"%s\" is kept by sync from Salesforce",
					relation_label(RelationGetRelid(trigger->tg_relation))),
			 errdetail("A change made here would not reach Salesforce, and the next change there would overwrite it."),
			 errhint("Make the change in Salesforce; or let local changes go there with sync.set(server, object, 'direction', 'both'), or end the synchronization with sync.disable."),
			 relation_error(RelationGetRelid(trigger->tg_relation), NULL)));
	PG_RETURN_NULL();			/* not reached */
}

/*
 * DROP EXTENSION drops the trigger by itself then, instead of demanding
 * CASCADE, at which people would fear for the table.
 */
void
guard_depend_on_extension(Oid relid, const char *name_of_trigger)
{
	Oid			trigger = get_trigger_oid(relid, name_of_trigger, false);
	List	   *name = list_make2(makeString("sync"), makeString("refuse_write"));
	Oid			function = LookupFuncName(name, 0, NULL, false);
	Oid			extension;
	ObjectAddress from;
	ObjectAddress to;

	extension = getExtensionOfObject(ProcedureRelationId, function);
	if (!OidIsValid(extension))
		return;
	ObjectAddressSet(from, TriggerRelationId, trigger);
	ObjectAddressSet(to, ExtensionRelationId, extension);
	recordDependencyOn(&from, &to, DEPENDENCY_AUTO_EXTENSION);
}

static void
create_trigger(Oid relid)
{
	char	   *table = relation_sql(relid);

	if (OidIsValid(get_trigger_oid(relid, GUARD_TRIGGER, true)))
		return;
	relation_run(psprintf("CREATE TRIGGER " GUARD_TRIGGER
						  " BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE"
						  " ON %s FOR EACH STATEMENT"
						  " WHEN (NOT sync.own_write())"
						  " EXECUTE FUNCTION sync.refuse_write()", table));
	relation_run(psprintf("ALTER TABLE %s ENABLE ALWAYS TRIGGER "
						  GUARD_TRIGGER, table));
	guard_depend_on_extension(relid, GUARD_TRIGGER);
}

/*
 * After the row, not before it: COPY inserts many rows at once only where no
 * trigger fires before each of them.
 */
static void
create_rows_trigger(Oid relid)
{
	char	   *table = relation_sql(relid);

	if (OidIsValid(get_trigger_oid(relid, GUARD_ROWS_TRIGGER, true)))
		return;
	relation_run(psprintf("CREATE TRIGGER " GUARD_ROWS_TRIGGER
						  " AFTER INSERT OR UPDATE OR DELETE"
						  " ON %s FOR EACH ROW"
						  " WHEN (NOT sync.own_write())"
						  " EXECUTE FUNCTION sync.refuse_write()", table));
	relation_run(psprintf("ALTER TABLE %s ENABLE ALWAYS TRIGGER "
						  GUARD_ROWS_TRIGGER, table));
	guard_depend_on_extension(relid, GUARD_ROWS_TRIGGER);
}

static void
drop_trigger(Oid relid, const char *name)
{
	if (OidIsValid(get_trigger_oid(relid, name, true)))
		relation_run(psprintf("DROP TRIGGER %s ON %s", name,
							  relation_sql(relid)));
}

static void
drop_statement_trigger(Oid relid)
{
	drop_trigger(relid, GUARD_TRIGGER);
}

/*
 * Statement triggers of a partitioned table do not fire for a statement that
 * names a partition, so each has its own.
 */
void
guard_for_each_partition(Oid relid, void (*action) (Oid relid))
{
	ApplyState	state;
	List	   *tables;
	ListCell   *lc;

	owner_begin(relation_owner(relid), &state);
	/* Tables that inherit from it otherwise are others. */
	tables = get_rel_relkind(relid) == RELKIND_PARTITIONED_TABLE ?
		find_all_inheritors(relid, ShareRowExclusiveLock, NULL) :
		list_make1_oid(relid);
	foreach(lc, tables)
		action(lfirst_oid(lc));
	owner_end(&state);
}

/* Row triggers of a partitioned table are its partitions', too. */
static void
for_table(Oid relid, void (*action) (Oid relid))
{
	ApplyState	state;

	owner_begin(relation_owner(relid), &state);
	action(relid);
	owner_end(&state);
}

static void
drop_rows_trigger(Oid relid)
{
	drop_trigger(relid, GUARD_ROWS_TRIGGER);
}

void
guard_create_triggers(Oid relid)
{
	guard_for_each_partition(relid, create_trigger);
	for_table(relid, create_rows_trigger);
}

void
guard_drop_triggers(Oid relid)
{
	guard_for_each_partition(relid, drop_statement_trigger);
	for_table(relid, drop_rows_trigger);
}
