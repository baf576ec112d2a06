/*-------------------------------------------------------------------------
 *
 * attempt.h
 *	  Finding the rows that PostgreSQL will not take among many that it will.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_ATTEMPT_H
#define SYNC_ATTEMPT_H

#include "datatype/timestamp.h"

/*
 * attempt: runs body in a subtransaction.  NULL if it went well; the error, in
 * the caller's memory, if it failed with one that a single row can cause (the
 * subtransaction is rolled back then).  Any other error is passed on.  The
 * memory that body allocates is given back either way.
 *
 * attempt_any: the same, with nothing passed on, cancel included.
 *
 * attempt_contended: as attempt, but contention is not passed on either.
 * is_contention: a lock that was not to be had in time, a deadlock that was
 * resolved at our cost, a serialization failure: nothing is wrong, and the same
 * may go well in a moment.
 *
 * is_interrupt: a cancel (or heed.c), which is no failure of what was going on.
 * Triggers can raise its SQLSTATE, too; a shutdown is not an error that could be caught.
 *
 * bisect: applies the items from first to before last, all at once if it goes
 * so, otherwise in halves of halves, until each item that fails stands alone;
 * that one is handed to refuse.  apply runs in a subtransaction.  Until give_up
 * contention is taken for the fault of a row, too (0: it never is); who sets it
 * lets locks be waited for briefly (patience_begin .. patience_end), since each
 * half waits anew.
 */
typedef struct Bisection
{
	void		(*apply) (void *arg, int first, int last);
	void		(*refuse) (void *arg, int item, ErrorData *error);
	void	   *arg;
	TimestampTz give_up;
} Bisection;

/* How long row locks are looked for one by one, in all. */
#define ATTEMPT_PATIENCE	(2 * USECS_PER_SEC)

extern ErrorData *attempt_any(void (*body) (void *arg), void *arg);
extern ErrorData *attempt(void (*body) (void *arg), void *arg);
extern ErrorData *attempt_contended(void (*body) (void *arg), void *arg);
extern bool is_contention(const ErrorData *error);
extern bool is_interrupt(const ErrorData *error);
extern int	patience_begin(void);
extern void patience_end(int guc_level);
extern void bisect(const Bisection *how, int first, int last);

#endif							/* SYNC_ATTEMPT_H */
