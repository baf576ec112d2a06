/*-------------------------------------------------------------------------
 *
 * stage.c
 *	  Making and dropping the temporary table that changed rows go through.
 *
 * The stage has the synced columns of its table, and belongs to its owner, like
 * everything that happens with it, but for its making: a security-restricted
 * operation may not create temporary tables.
 *
 * There is a new one for each page, since what is staged differs from object to
 * object, so it must not look like DDL: administrators have event triggers
 * that log, or forbid, what people create and drop.  As where the server itself
 * needs a table for a moment (CLUSTER, REFRESH MATERIALIZED VIEW), the catalog is
 * called directly, and no statement is run.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/heap.h"
#include "catalog/namespace.h"
#include "catalog/pg_am.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "catalog/toasting.h"
#include "commands/defrem.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

#include "compat.h"
#include "tables/merge.h"
#include "tables/relation.h"
#include "tables/rights.h"
#include "tables/stage.h"

/* As whoever may create temporary tables; no SQL is run meanwhile. */
static void
superuser_begin(Rights *caller)
{
	rights_begin(caller, BOOTSTRAP_SUPERUSERID, SECURITY_LOCAL_USERID_CHANGE);
}

static Oid
find_stage(void)
{
	return RangeVarGetRelid(makeRangeVar("pg_temp", STAGE_NAME, -1), NoLock,
							true);
}

/* Whatever its owner made depend on it goes with it. */
static void
drop_present(void)
{
	Oid			relid = find_stage();
	ObjectAddress object;

	if (!OidIsValid(relid))
		return;
	ObjectAddressSet(object, RelationRelationId, relid);
	performDeletion(&object, DROP_CASCADE,
					PERFORM_DELETION_INTERNAL | PERFORM_DELETION_QUIETLY);
	CommandCounterIncrement();
}

static void
describe_column(TupleDesc desc, int n, Oid relid, const char *name)
{
	AttrNumber	attnum = get_attnum(relid, name);
	Oid			type;
	int32		typmod;
	Oid			collation;

	if (attnum == InvalidAttrNumber)
		ereport(ERROR,
				(errcode(ERRCODE_UNDEFINED_COLUMN),
				 errmsg("table \"%s\" has no column \"%s\"",
						relation_label(relid), name)));
	get_atttypetypmodcoll(relid, attnum, &type, &typmod, &collation);
	TupleDescInitEntry(desc, n, name, type, typmod, 0);
	TupleDescInitEntryCollation(desc, n, collation);
}

/* A row without an id is no row; the load sets it aside. */
static TupleDesc
describe_stage(Oid relid, List *columns)
{
	TupleDesc	desc = CreateTemplateTupleDesc(list_length(columns));
	int			n = 1;
	ListCell   *lc;

	foreach(lc, columns)
		describe_column(desc, n++, relid, (char *) lfirst(lc));
	set_column_not_null(desc, 1);
	return desc;
}

static Oid
create_empty(Oid relid, List *columns)
{
	Oid			stage;

	stage = heap_create_with_catalog(STAGE_NAME,
									 LookupCreationNamespace("pg_temp"),
									 InvalidOid, InvalidOid, InvalidOid,
									 InvalidOid, relation_owner(relid),
									 HEAP_TABLE_AM_OID,
									 describe_stage(relid, columns), NIL,
									 RELKIND_RELATION,
									 RELPERSISTENCE_TEMP, false, false,
									 ONCOMMIT_NOOP, (Datum) 0, false, false,
									 true, InvalidOid, NULL);
	CommandCounterIncrement();
	NewRelationCreateToastTable(stage, (Datum) 0);
	CommandCounterIncrement();
	return stage;
}

Oid
stage_make(Oid relid, List *columns)
{
	Rights		caller;
	Oid			stage;

	superuser_begin(&caller);
	drop_present();
	stage = create_empty(relid, columns);
	rights_end(&caller);
	return stage;
}

void
stage_unmake(void)
{
	Rights		caller;

	superuser_begin(&caller);
	drop_present();
	rights_end(&caller);
}

void
stage_index(Oid stage, const char *column)
{
	IndexElem  *element = makeNode(IndexElem);
	IndexStmt  *statement = makeNode(IndexStmt);
	Rights		caller;

	element->name = pstrdup(column);
	element->ordering = SORTBY_DEFAULT;
	element->nulls_ordering = SORTBY_NULLS_DEFAULT;
	statement->relation = makeRangeVar("pg_temp", STAGE_NAME, -1);
	statement->accessMethod = "btree";
	statement->indexParams = list_make1(element);
	statement->transformed = true;
	superuser_begin(&caller);
	define_index(stage, statement);
	CommandCounterIncrement();
	rights_end(&caller);
}
