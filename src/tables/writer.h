/*-------------------------------------------------------------------------
 *
 * writer.h
 *	  Who is writing to a synced table: the sync, or somebody else.
 *
 * The mark is a variable of the process, which no SQL can set.  The triggers
 * of a synced table ask it in their WHEN clause, where asking costs nothing
 * measurable (in a trigger's body it costs 18 %).
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_WRITER_H
#define SYNC_WRITER_H

#include "rights.h"

typedef struct ApplyState
{
	Rights		rights;			/* the caller's */
	Oid			owner;			/* the table's */
	int			owner_context;
	bool		marked;
	bool		by_copy;		/* see apply_by_copy */
} ApplyState;

/*
 * apply_begin .. apply_end: between them the process writes to relid as the
 * table's owner, in a security-restricted operation, marked as the sync.  On
 * error, transaction or subtransaction abort restores the user; the mark is
 * cleared by apply_end or, on error, by a transaction callback, so that PG_TRY
 * is not needed.  Not nestable.
 *
 * What counts as written by the sync are the statements that the caller of
 * apply_begin runs by SPI, and what foreign keys make of them: not what
 * triggers, rules, or functions in defaults and constraints do meanwhile.
 * apply_by_copy: the caller runs COPY instead, by calling CopyFrom itself.
 *
 * Deferred constraints are checked at once, here and for the rest of the
 * transaction: until the commit they would wait for code of the owner's to be
 * run by whoever is connected, which a restricted operation refuses.
 *
 * owner_begin .. owner_end: the same user and restrictions without the mark.
 * Whoever writes to a table between them does check_constraints_at_once before.
 *
 * apply_suspend .. apply_resume: between them the caller is itself again, for
 * code that is no part of the writing, such as reading from the org.
 */
extern void apply_begin(Oid relid, ApplyState *state);
extern void apply_by_copy(ApplyState *state);
extern void apply_end(ApplyState *state);
extern void apply_suspend(const ApplyState *state);
extern void apply_resume(const ApplyState *state);
extern void check_constraints_at_once(void);
extern void owner_begin(Oid owner, ApplyState *state);
extern void owner_end(ApplyState *state);

#endif							/* SYNC_WRITER_H */
