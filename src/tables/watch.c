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
#include "nodes/primnodes.h"
#include "rewrite/prs2lock.h"
#include "rewrite/rewriteDefine.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"

#include "compat.h"
#include "tables/altered.h"
#include "tables/capture.h"
#include "tables/guard.h"
#include "tables/relation.h"
#include "tables/watch.h"

/* All triggers of ours. */
typedef struct OwnTrigger
{
	const char *name;
	const char *function;
	int16		type;			/* when it fires: TRIGGER_TYPE_ bits */
	bool		takes_writes;	/* of tables that do, or of those that don't */
	bool		when_live;		/* only when the first copy is done */
} OwnTrigger;

#define ANY_CHANGE \
	(TRIGGER_TYPE_INSERT | TRIGGER_TYPE_UPDATE | TRIGGER_TYPE_DELETE)

static const OwnTrigger own_triggers[] = {
	{"sync_guard", "refuse_write",
	TRIGGER_TYPE_BEFORE | ANY_CHANGE | TRIGGER_TYPE_TRUNCATE, false, false},
	{"sync_guard_rows", "refuse_write",
	TRIGGER_TYPE_ROW | ANY_CHANGE, false, false},
	{"sync_capture", "capture",
	TRIGGER_TYPE_ROW | ANY_CHANGE, true, false},
	{"sync_no_truncate", "refuse_truncate",
	TRIGGER_TYPE_BEFORE | TRIGGER_TYPE_TRUNCATE, true, false},
	{"sync_identity", "identify",
	TRIGGER_TYPE_ROW | TRIGGER_TYPE_BEFORE | TRIGGER_TYPE_INSERT, true, true},
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
is_function(Oid oid, const char *function)
{
	char	   *name = get_func_name(oid);

	return name != NULL && strcmp(name, function) == 0 &&
		get_func_namespace(oid) == get_namespace_oid("sync", false);
}

/* NOT sync.own_write() */
static bool
is_own_condition(const char *qual)
{
	Node	   *node = qual ? stringToNode(qual) : NULL;
	Node	   *asked;

	if (node == NULL || !IsA(node, BoolExpr) ||
		((BoolExpr *) node)->boolop != NOT_EXPR)
		return false;
	asked = (Node *) linitial(((BoolExpr *) node)->args);
	return IsA(asked, FuncExpr) &&
		is_function(((FuncExpr *) asked)->funcid, "own_write");
}

/* It fires whenever ours would, and for nothing else. */
static bool
fires_as(const Trigger *trigger, const OwnTrigger *own)
{
	return trigger->tgtype == own->type && trigger->tgnattr == 0 &&
		is_own_condition(trigger->tgqual);
}

/* Whether it is one of ours by its function, and has another name. */
static bool
is_stray(const Trigger *trigger, bool takes_writes)
{
	bool		ours = false;

	for (size_t i = 0; i < lengthof(own_triggers); i++)
	{
		const OwnTrigger *own = &own_triggers[i];

		if (own->takes_writes == takes_writes &&
			strcmp(trigger->tgname, own->name) == 0)
			return false;
		ours |= is_function(trigger->tgfoid, own->function);
	}
	return ours;
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
		else if (!is_function(trigger->tgfoid, own->function))
			tell(told, rel, own->name, "calls another function");
		else if (!fires_as(trigger, own))
			tell(told, rel, own->name, "fires at other times");
		else if (trigger->tgenabled == TRIGGER_DISABLED)
			tell(told, rel, own->name, "is disabled");
		else if (trigger->tgenabled != TRIGGER_FIRES_ALWAYS)
			tell(told, rel, own->name,
				 "can be switched off by session_replication_role");
	}
	/* A change would be captured twice, or refused that shall go out. */
	for (int i = 0; rel->trigdesc && i < rel->trigdesc->numtriggers; i++)
	{
		const Trigger *trigger = &rel->trigdesc->triggers[i];

		if (is_stray(trigger, takes_writes))
			tell(told, rel, trigger->tgname, "does what another one is for");
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
		Relation	rel;

		altered_look_part(lfirst_oid(lc), relid);
		rel = table_open(lfirst_oid(lc), AccessShareLock);
		look_at_triggers(&told, rel, takes_writes, live);
		look_at_rules(&told, rel);
		table_close(rel, AccessShareLock);
	}
	return told.len ? told.data : NULL;
}

/* Those on partitions go with that of the table, which comes first. */
static void
drop_strays(Oid relid)
{
	Relation	rel = table_open(relid, NoLock);
	List	   *names = NIL;
	ListCell   *lc;

	for (int i = 0; rel->trigdesc && i < rel->trigdesc->numtriggers; i++)
	{
		const Trigger *trigger = &rel->trigdesc->triggers[i];

		if (is_stray(trigger, true) && is_stray(trigger, false))
			names = lappend(names, pstrdup(trigger->tgname));
	}
	table_close(rel, NoLock);
	foreach(lc, names)
	{
		relation_run(psprintf("DROP TRIGGER %s ON %s",
							  quote_identifier(lfirst(lc)),
							  relation_sql(relid)));
		CommandCounterIncrement();
	}
}

void
watch_drop_strays(Oid relid)
{
	guard_for_each_partition(relid, drop_strays);
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
