/*-------------------------------------------------------------------------
 *
 * compat.h
 *	  What differs between PostgreSQL 13 and 18.  Every version test of the
 *	  project is here.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_COMPAT_H
#define SYNC_COMPAT_H

#include "access/xlog.h"
#include "access/relation.h"
#include "catalog/dependency.h"
#include "catalog/objectaddress.h"
#include "catalog/pg_foreign_server.h"
#include "commands/copy.h"
#include "commands/defrem.h"
#include "fmgr.h"
#include "parser/parse_type.h"
#include "pgstat.h"
#include "storage/latch.h"
#include "storage/lock.h"
#include "storage/proc.h"
#include "storage/procarray.h"
#include "storage/sinvaladt.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/hsearch.h"

/*
 * Since 16 modules are built with hidden symbols, and the server's macros
 * export what SQL calls.  We hide symbols everywhere, so the macros of older
 * versions have to learn it.
 */
#if PG_VERSION_NUM < 160000
#undef PGDLLEXPORT
#define PGDLLEXPORT __attribute__((visibility("default")))
#undef PG_FUNCTION_INFO_V1
#define PG_FUNCTION_INFO_V1(funcname) \
extern PGDLLEXPORT Datum funcname(PG_FUNCTION_ARGS); \
extern PGDLLEXPORT const Pg_finfo_record * CppConcat(pg_finfo_,funcname)(void); \
const Pg_finfo_record * \
CppConcat(pg_finfo_,funcname) (void) \
{ \
	static const Pg_finfo_record my_finfo = { 1 }; \
	return &my_finfo; \
} \
extern int no_such_variable
#endif

/* 16 took it out of postgres.h. */
#if PG_VERSION_NUM >= 160000
#include "varatt.h"
#endif

/* 14 split copy.c, renamed COPY's state and let others look into it. */
#if PG_VERSION_NUM >= 140000
#include "commands/copyfrom_internal.h"
#else
typedef CopyState CopyFromState;
#endif

static inline CopyFromState
begin_copy_from(ParseState *pstate, Relation rel, copy_data_source_cb source,
				List *columns, List *options)
{
#if PG_VERSION_NUM >= 140000
	return BeginCopyFrom(pstate, rel, NULL, NULL, false, source, columns,
						 options);
#else
	return BeginCopyFrom(pstate, rel, NULL, false, source, columns, options);
#endif
}

/* The column whose value COPY is reading just now; NULL if none, or not told. */
static inline const char *
copy_current_column(CopyFromState cstate)
{
#if PG_VERSION_NUM >= 140000
	return cstate->cur_attname;
#else
	return NULL;
#endif
}

/* 16 changed the last argument. */
static inline void
parse_type(const char *text, Oid *type, int32 *typmod)
{
#if PG_VERSION_NUM >= 160000
	parseTypeString(text, type, typmod, NULL);
#else
	parseTypeString(text, type, typmod, false);
#endif
}

/* 14 took wait events out of pgstat.h, 18 wait event sets out of latch.h. */
#if PG_VERSION_NUM >= 140000
#include "utils/wait_event.h"
#endif
#if PG_VERSION_NUM >= 180000
#include "storage/waiteventset.h"
#endif

/* 15 made the timeline that is written to a matter of shared memory. */
static inline TimeLineID
present_timeline(void)
{
	if (RecoveryInProgress())
		return 0;
#if PG_VERSION_NUM >= 150000
	return GetWALInsertionTimeLine();
#else
	return ThisTimeLineID;
#endif
}

/* 14 renamed the predefined roles. */
#if PG_VERSION_NUM < 140000
#define ROLE_PG_READ_SERVER_FILES DEFAULT_ROLE_READ_SERVER_FILES
#endif

/* 16 replaced the functions per kind of object by general ones. */
static inline bool
server_owned_by(Oid serverid, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_ownercheck(ForeignServerRelationId, serverid, role);
#else
	return pg_foreign_server_ownercheck(serverid, role);
#endif
}

static inline AclResult
server_usage_check(Oid serverid, Oid role)
{
#if PG_VERSION_NUM >= 160000
	return object_aclcheck(ForeignServerRelationId, serverid, role, ACL_USAGE);
#else
	return pg_foreign_server_aclcheck(serverid, role, ACL_USAGE);
#endif
}

/* 18 has the mark in front of a declaration instead of behind it. */
#if PG_VERSION_NUM < 180000
#define pg_noreturn pg_attribute_noreturn()
#endif

/*
 * 17 let extensions name their wait events.  cache keeps the number, which is
 * the same for a name as long as the server runs.
 */
static inline uint32
named_wait_event(const char *name, uint32 *cache)
{
#if PG_VERSION_NUM >= 170000
	if (*cache == 0)
		*cache = WaitEventExtensionNew(name);
	return *cache;
#else
	return PG_WAIT_EXTENSION;
#endif
}

/*
 * 17 ties wait event sets to a resource owner instead of a memory context.
 * Either way the set is to be given back by FreeWaitEventSet.
 */
static inline WaitEventSet *
create_wait_event_set(MemoryContext context, int nevents)
{
#if PG_VERSION_NUM >= 170000
	return CreateWaitEventSet(NULL, nevents);
#else
	return CreateWaitEventSet(context, nevents);
#endif
}

/* 14 takes an object that is gone. */
static inline char *
object_description(const ObjectAddress *object)
{
#if PG_VERSION_NUM >= 140000
	return getObjectDescription(object, false);
#else
	return getObjectDescription(object);
#endif
}

/* 17 numbers processes otherwise. */
static inline PGPROC *
proc_of_vxid(const VirtualTransactionId *vxid)
{
#if PG_VERSION_NUM >= 170000
	return ProcNumberGetProc(vxid->procNumber);
#else
	return BackendIdGetProc(vxid->backendId);
#endif
}

/* Of a user's session.  18 says it the other way round. */
static inline bool
is_session(const PGPROC *proc)
{
#if PG_VERSION_NUM >= 180000
	return proc->isRegularBackend;
#else
	return !proc->isBackgroundWorker;
#endif
}

/* 18 keeps part of a column's description twice. */
static inline void
set_column_not_null(TupleDesc desc, AttrNumber attnum)
{
	TupleDescAttr(desc, attnum - 1)->attnotnull = true;
#if PG_VERSION_NUM >= 180000
	populate_compact_attribute(desc, attnum - 1);
#endif
}

/* 16 counts the parts of a partitioned index. */
static inline void
define_index(Oid relid, IndexStmt *statement)
{
#if PG_VERSION_NUM >= 160000
	(void) DefineIndex(relid, statement, InvalidOid, InvalidOid, InvalidOid,
					   -1, false, false, false, false, true);
#else
	(void) DefineIndex(relid, statement, InvalidOid, InvalidOid, InvalidOid,
					   false, false, false, false, true);
#endif
}

/* 18 runs each query once. */
#if PG_VERSION_NUM >= 180000
#define EXECUTOR_RUN_PARAMETERS \
	QueryDesc *queryDesc, ScanDirection direction, uint64 count
#define EXECUTOR_RUN_ARGUMENTS	queryDesc, direction, count
#else
#define EXECUTOR_RUN_PARAMETERS \
	QueryDesc *queryDesc, ScanDirection direction, uint64 count, \
	bool execute_once
#define EXECUTOR_RUN_ARGUMENTS	queryDesc, direction, count, execute_once
#endif

/* 14 lets utility commands leave the tree as it is. */
#if PG_VERSION_NUM >= 140000
#define PROCESS_UTILITY_PARAMETERS \
	PlannedStmt *pstmt, const char *queryString, bool readOnlyTree, \
	ProcessUtilityContext context, ParamListInfo params, \
	QueryEnvironment *queryEnv, DestReceiver *dest, QueryCompletion *qc
#define PROCESS_UTILITY_ARGUMENTS \
	pstmt, queryString, readOnlyTree, context, params, queryEnv, dest, qc
#else
#define PROCESS_UTILITY_PARAMETERS \
	PlannedStmt *pstmt, const char *queryString, \
	ProcessUtilityContext context, ParamListInfo params, \
	QueryEnvironment *queryEnv, DestReceiver *dest, QueryCompletion *qc
#define PROCESS_UTILITY_ARGUMENTS \
	pstmt, queryString, context, params, queryEnv, dest, qc
#endif

/* 14 asks that string keys be told. */
#ifdef HASH_STRINGS
#define HASH_STRINGS_COMPAT HASH_STRINGS
#else
#define HASH_STRINGS_COMPAT 0
#endif

/* 15 made the prefix of a module's settings reserved. */
static inline void
reserve_guc_prefix(const char *prefix)
{
#if PG_VERSION_NUM >= 150000
	MarkGUCPrefixReserved(prefix);
#else
	EmitWarningsOnPlaceholders(prefix);
#endif
}

/* 17 takes the relation itself. */
static inline Oid
identity_sequence(Oid relid, AttrNumber attnum)
{
#if PG_VERSION_NUM >= 170000
	Relation	rel = relation_open(relid, AccessShareLock);
	Oid			sequence = getIdentitySequence(rel, attnum, false);

	relation_close(rel, AccessShareLock);
	return sequence;
#else
	return getIdentitySequence(relid, attnum, false);
#endif
}

/* 17 moved it. */
static inline LocalTransactionId
current_lxid(void)
{
#if PG_VERSION_NUM >= 170000
	return MyProc->vxid.lxid;
#else
	return MyProc->lxid;
#endif
}

#endif							/* SYNC_COMPAT_H */
