/*-------------------------------------------------------------------------
 *
 * guard.c
 *	  Who is writing to a synced table: the sync, or somebody else.
 *
 * A table that is kept from Salesforce must not be changed by anybody else:
 * the change would stay behind in PostgreSQL and vanish with the next one from
 * there.  So each synced table has a trigger that refuses, unless the process
 * has said by apply_begin that it is the sync.
 *
 * What the sync writes runs code of the table's owner, or of those whom the
 * owner let put triggers on it.  Hence it runs with the owner's rights in a
 * security-restricted operation, as REFRESH MATERIALIZED VIEW does, whoever is
 * connected.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_extension.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parse_func.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "compat.h"
#include "tables/guard.h"
#include "tables/relation.h"

#define GUARD_TRIGGER	"sync_guard"

/* The subtransaction that writes as the sync; invalid when none does. */
static SubTransactionId applying = InvalidSubTransactionId;

/* How deep in triggers its statements are. */
static int	applying_depth = 0;

static bool callbacks_registered = false;

PG_FUNCTION_INFO_V1(sync_applying);
PG_FUNCTION_INFO_V1(sync_own_write);
PG_FUNCTION_INFO_V1(sync_refuse_write);

static void
forget_at_transaction_end(XactEvent event, void *arg)
{
	switch (event)
	{
		case XACT_EVENT_COMMIT:
		case XACT_EVENT_PARALLEL_COMMIT:
		case XACT_EVENT_ABORT:
		case XACT_EVENT_PARALLEL_ABORT:
		case XACT_EVENT_PREPARE:
			applying = InvalidSubTransactionId;
			break;
		default:
			break;
	}
}

/*
 * A subtransaction that fails inside of a write (a trigger's own EXCEPTION
 * block) leaves the mark; one that began the write, or holds the one that did,
 * takes it away.  Numbers grow, and those within a live subtransaction are
 * larger than its own.
 */
static void
forget_at_subtransaction_end(SubXactEvent event, SubTransactionId mine,
							 SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB && applying >= mine)
		applying = InvalidSubTransactionId;
	else if (event == SUBXACT_EVENT_COMMIT_SUB && applying == mine)
		applying = parent;
}

static void
set_mark(void)
{
	if (!callbacks_registered)
	{
		RegisterXactCallback(forget_at_transaction_end, NULL);
		RegisterSubXactCallback(forget_at_subtransaction_end, NULL);
		callbacks_registered = true;
	}
	applying = GetCurrentSubTransactionId();
	applying_depth = DatumGetInt32(pg_trigger_depth(NULL));
}

/* SET CONSTRAINTS ALL IMMEDIATE */
void
check_constraints_at_once(void)
{
	ConstraintsSetStmt *all = makeNode(ConstraintsSetStmt);

	all->constraints = NIL;
	all->deferred = false;
	AfterTriggerSetState(all);
}

void
owner_begin(Oid owner, ApplyState *state)
{
	rights_begin(&state->rights, owner, SECURITY_RESTRICTED_OPERATION);
	GetUserIdAndSecContext(&state->owner, &state->owner_context);
	state->marked = false;
}

void
owner_end(ApplyState *state)
{
	rights_end(&state->rights);
}

void
apply_begin(Oid relid, ApplyState *state)
{
	if (applying != InvalidSubTransactionId)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("cannot write to table \"%s\" while the sync is writing to another",
						relation_label(relid)),
				 errhint("Do not run the sync from within a trigger of a synced table.")));

	check_constraints_at_once();
	owner_begin(relation_owner(relid), state);
	set_mark();
	state->marked = true;
}

void
apply_end(ApplyState *state)
{
	applying = InvalidSubTransactionId;
	owner_end(state);
}

void
apply_suspend(const ApplyState *state)
{
	applying = InvalidSubTransactionId;
	SetUserIdAndSecContext(state->rights.user, state->rights.sec_context);
}

void
apply_resume(const ApplyState *state)
{
	SetUserIdAndSecContext(state->owner, state->owner_context);
	if (state->marked)
		set_mark();
}

/*
 * sync.applying(): true while the sync writes to a synced table, for the
 * triggers of the tables, the users' own among them.
 */
Datum
sync_applying(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(applying != InvalidSubTransactionId);
}

/*
 * sync.own_write(): true if the statement that runs now is one of the sync's
 * own, or what a foreign key does because of it.  The queries of foreign keys
 * run one level down, within their trigger, and under SECURITY_NOFORCE_RLS, as
 * no others do.  What users' triggers do when they fire for such a statement
 * are writes of theirs, and so is what foreign keys make of those.
 */
Datum
sync_own_write(PG_FUNCTION_ARGS)
{
	int			depth;

	if (applying == InvalidSubTransactionId)
		PG_RETURN_BOOL(false);
	depth = DatumGetInt32(pg_trigger_depth(NULL)) - applying_depth;
	PG_RETURN_BOOL(depth == 0 || (depth == 1 && InNoForceRLSOperation()));
}

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
			 errhint("Make the change in Salesforce; or let local changes go there with sync.set(server, object, 'direction', 'both'), or end the synchronization with sync.disable.")));
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

static void
drop_trigger(Oid relid)
{
	if (OidIsValid(get_trigger_oid(relid, GUARD_TRIGGER, true)))
		relation_run(psprintf("DROP TRIGGER " GUARD_TRIGGER " ON %s",
							  relation_sql(relid)));
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
	tables = find_all_inheritors(relid, ShareRowExclusiveLock, NULL);
	foreach(lc, tables)
		action(lfirst_oid(lc));
	owner_end(&state);
}

void
guard_create_triggers(Oid relid)
{
	guard_for_each_partition(relid, create_trigger);
}

void
guard_drop_triggers(Oid relid)
{
	guard_for_each_partition(relid, drop_trigger);
}
