/*-------------------------------------------------------------------------
 *
 * watch.c
 *	  Whether a synced table still has the triggers that it was given.
 *
 * Its owner may switch triggers off, drop them, or write rules, and some tools do
 * that for a moment: pg_restore --disable-triggers leaves ALWAYS triggers as
 * ordinary ones.  What is written meanwhile is neither refused nor captured, and
 * nobody can keep the owner from it; so it is noticed, and told.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "catalog/pg_rewrite.h"
#include "catalog/pg_trigger.h"
#include "commands/trigger.h"
#include "lib/stringinfo.h"
#include "rewrite/prs2lock.h"
#include "rewrite/rewriteDefine.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "compat.h"
#include "tables/capture.h"
#include "tables/guard.h"
#include "tables/relation.h"
#include "tables/watch.h"

/* All triggers of ours. */
typedef struct OwnTrigger
{
	const char *name;
	const char *function;
	bool		takes_writes;	/* of tables that do, or of those that don't */
	bool		when_live;		/* only when the first copy is done */
} OwnTrigger;

static const OwnTrigger own_triggers[] = {
	{"sync_guard", "refuse_write", false, false},
	{"sync_guard_rows", "refuse_write", false, false},
	{"sync_capture", "capture", true, false},
	{"sync_no_truncate", "refuse_truncate", true, false},
	{"sync_identity", "identify", true, true},
};

static const Trigger *
find_trigger(Relation rel, const char *name)
{
	for (int i = 0; rel->trigdesc && i < rel->trigdesc->numtriggers; i++)
	{
		if (strcmp(rel->trigdesc->triggers[i].tgname, name) == 0)
			return &rel->trigdesc->triggers[i];
	}
	return NULL;
}

static bool
calls(const Trigger *trigger, const char *function)
{
	char	   *name = get_func_name(trigger->tgfoid);

	return name != NULL && strcmp(name, function) == 0 &&
		get_func_namespace(trigger->tgfoid) ==
		get_namespace_oid("sync", false);
}

static void
tell(StringInfo told, Relation rel, const char *name, const char *how)
{
	appendStringInfo(told, "%strigger \"%s\" of table \"%s\" %s",
					 told->len ? "; " : "", name,
					 relation_label(RelationGetRelid(rel)), how);
}

static void
look_at_triggers(StringInfo told, Relation rel, bool takes_writes, bool live)
{
	for (size_t i = 0; i < lengthof(own_triggers); i++)
	{
		const OwnTrigger *own = &own_triggers[i];
		const Trigger *trigger;

		if (own->takes_writes != takes_writes || (own->when_live && !live))
			continue;
		trigger = find_trigger(rel, own->name);
		if (trigger == NULL)
			tell(told, rel, own->name, "is missing");
		else if (!calls(trigger, own->function))
			tell(told, rel, own->name, "calls another function");
		else if (trigger->tgenabled == TRIGGER_DISABLED)
			tell(told, rel, own->name, "is disabled");
		else if (trigger->tgenabled != TRIGGER_FIRES_ALWAYS)
			tell(told, rel, own->name,
				 "can be switched off by session_replication_role");
	}
}

static char *
describe_rule(Oid rule)
{
	ObjectAddress address;

	ObjectAddressSet(address, RewriteRelationId, rule);
	return object_description(&address);
}

/* A rule changes or adds to what the sync writes, and to what others write. */
static void
look_at_rules(StringInfo told, Relation rel)
{
	for (int i = 0; rel->rd_rules && i < rel->rd_rules->numLocks; i++)
	{
		if (rel->rd_rules->rules[i]->event != CMD_SELECT &&
			rel->rd_rules->rules[i]->enabled != RULE_DISABLED)
			appendStringInfo(told, "%s%s rewrites what is written",
							 told->len ? "; " : "",
							 describe_rule(rel->rd_rules->rules[i]->ruleId));
	}
}

/* The table and its partitions; tables that inherit from it are others. */
static List *
parts_of(Oid relid, LOCKMODE mode)
{
	return get_rel_relkind(relid) == RELKIND_PARTITIONED_TABLE ?
		find_all_inheritors(relid, mode, NULL) : list_make1_oid(relid);
}

char *
watch_missing(Oid relid, bool takes_writes, bool live)
{
	StringInfoData told;
	ListCell   *lc;

	initStringInfo(&told);
	foreach(lc, parts_of(relid, AccessShareLock))
	{
		Relation	rel = table_open(lfirst_oid(lc), AccessShareLock);

		look_at_triggers(&told, rel, takes_writes, live);
		look_at_rules(&told, rel);
		table_close(rel, AccessShareLock);
	}
	return told.len ? told.data : NULL;
}

/* The trigger that is not inherited. */
static bool
lacks_own(Oid relid, bool takes_writes)
{
	return !OidIsValid(get_trigger_oid(relid, takes_writes ?
									   "sync_no_truncate" : "sync_guard",
									   true));
}

void
watch_complete(Oid relid, bool takes_writes)
{
	bool		lacking = false;
	ListCell   *lc;

	if (get_rel_relkind(relid) != RELKIND_PARTITIONED_TABLE ||
		lacks_own(relid, takes_writes))
		return;
	foreach(lc, parts_of(relid, AccessShareLock))
		lacking |= lacks_own(lfirst_oid(lc), takes_writes);
	if (!lacking)
		return;
	if (takes_writes)
		capture_create_triggers(relid);
	else
		guard_create_triggers(relid);
}
