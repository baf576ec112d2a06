/*-------------------------------------------------------------------------
 *
 * cycle.h
 *	  One cycle of a server: ask the org what is new, bring it in.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_CYCLE_H
#define SYNC_CYCLE_H

#include "login.h"
#include "tables/catalog.h"

typedef struct Cycle
{
	Org		   *org;
	int64		run;			/* groups rows of sync.log */
	bool		now;			/* asked for by sync.now: do not wait for what
								 * is due, and bring in what is visible now */
	bool		wait;			/* for objects that others have locked, instead of
								 * passing them over */
	bool		full;			/* all objects are due, not only those with an
								 * interval of their own or just copied */
	bool		after_failure;	/* of the org as a whole */
	bool		again;			/* out: rows are to be read again at once */
	List	   *locked;			/* tables locked meanwhile */
} Cycle;

/*
 * cycle_run: increments of all live objects that are due (with now: of all, or
 * of the one named).  Failures of single objects are recorded and do not
 * stop the others; a failure of the org as a whole is raised.
 *
 * cycle_pull_object: the increment of one object that the caller has locked,
 * up to now; errors are the caller's.
 *
 * cycle_copy: first copy of one object, from where it stopped.
 *
 * cycle_failed: records an error of a step of a server (object NULL) or
 * object, with the time of the next try; the error must have been caught and
 * its transaction ended.
 *
 * cycle_tell_failure, cycle_tell_recovery: the server's log has when an object
 * (NULL: the server as a whole) begins to fail, and when it goes well again; not
 * each failure in between.
 *
 * cycle_note_push_failure: the same for what keeps changes of an object from
 * going out; the sender knows when it tries again.
 *
 * cycle_is_local: an error that the org has nothing to do with, nor an
 * interrupt: of a table, a trigger, a lock.
 *
 * cycle_concerns_object: false for an error that ends the cycle of all objects,
 * and for cancel and shutdown.
 *
 * cycle_rereads_at: when an object whose cursor was set back is to be read anew,
 * which does not wait for its turn; 0 = that is not the case.
 *
 * cycle_check_budget: ERROR when our share of the org's daily calls is used up.
 *
 * cycle_count_calls: adds the calls made since the last time to sync.calls (not
 * in a read-only transaction).
 * cycle_calls: how many those are.
 */
extern void cycle_run(Cycle *cycle, const char *object);
extern void cycle_pull_object(Cycle *cycle, SyncObject *object);
extern bool cycle_copy(Cycle *cycle, const char *object);
extern void cycle_failed(const char *server, const SyncObject *object,
						 const char *operation, int failures,
						 const struct ErrorData *error, Org *org);
extern void cycle_tell_failure(const char *server, const char *object,
							   const char *operation, const char *message,
							   const struct ErrorData *error, const Org *org);
extern void cycle_tell_recovery(const char *server, const char *object,
								const Org *org);
extern void cycle_note_push_failure(const char *server,
									const SyncObject *object,
									const struct ErrorData *error);
extern bool cycle_concerns_object(const struct ErrorData *error);
extern bool cycle_is_local(const struct ErrorData *error);
extern TimestampTz cycle_rereads_at(const SyncObject *object);
extern void cycle_check_budget(const Cycle *cycle);
extern int64 cycle_count_calls(Org *org);
extern int64 cycle_calls(const Org *org);

#endif							/* SYNC_CYCLE_H */
