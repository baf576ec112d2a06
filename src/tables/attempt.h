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

/*
 * attempt: runs body in a subtransaction.  NULL if it went well; the error, in
 * the caller's memory, if it failed with one that a single row can cause (the
 * subtransaction is rolled back then).  Any other error is passed on.  The
 * memory that body allocates is given back either way.
 *
 * attempt_any: the same, with nothing passed on, cancel included.
 *
 * bisect: applies the items from first to before last, all at once if it goes
 * so, otherwise in halves of halves, until each item that fails stands alone;
 * that one is handed to refuse.  apply runs in a subtransaction.
 */
typedef struct Bisection
{
	void		(*apply) (void *arg, int first, int last);
	void		(*refuse) (void *arg, int item, ErrorData *error);
	void	   *arg;
} Bisection;

extern ErrorData *attempt_any(void (*body) (void *arg), void *arg);
extern ErrorData *attempt(void (*body) (void *arg), void *arg);
extern void bisect(const Bisection *how, int first, int last);

#endif							/* SYNC_ATTEMPT_H */
