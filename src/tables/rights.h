/*-------------------------------------------------------------------------
 *
 * rights.h
 *	  Running code with the rights of somebody else.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_RIGHTS_H
#define SYNC_RIGHTS_H

/* What the caller of rights_begin was, for rights_end. */
typedef struct Rights
{
	Oid			user;
	int			sec_context;
	int			guc_level;
} Rights;

/*
 * rights_begin .. rights_end: between them the process acts as user, under
 * restriction (SECURITY_RESTRICTED_OPERATION for code that the user wrote,
 * SECURITY_LOCAL_USERID_CHANGE for ours), with search_path = pg_catalog,
 * pg_temp.  On error, the abort of the transaction or subtransaction restores
 * all three.
 */
extern void rights_begin(Rights *caller, Oid user, int restriction);
extern void rights_end(const Rights *caller);

#endif							/* SYNC_RIGHTS_H */
