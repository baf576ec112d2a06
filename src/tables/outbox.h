/*-------------------------------------------------------------------------
 *
 * outbox.h
 *	  What waits to go out, and what has been sent and not answered.
 *
 * All functions need an open transaction and do their part of it.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_OUTBOX_H
#define SYNC_OUTBOX_H

#include "datatype/timestamp.h"
#include "tables/catalog.h"

typedef struct OutboxChange
{
	int64		seq;
	Oid			relid;
	char	   *id;
	char		operation;		/* I, U, D */
	char	   *changes;		/* JSON: {"column": [old, new], ...} */
	TimestampTz captured;
	char		state;			/* p, r */
	int			attempts;
	int64		txn;			/* changes of the same transaction have the same
								 * number; 0 = it has no others */
	int64		command;		/* orders them; see fold.c */
} OutboxChange;

/*
 * outbox_is_due: whether outbox_take would return anything, or outbox_set_aside
 * find something.
 * outbox_next: when something will be due that is not now; 0 = nothing.
 * outbox_is_prepared: a prepared transaction has changes, of whatever server.
 * outbox_take: the changes of the rows that are due, at most so many, oldest
 * rows first, those of a row together and in the order in which they were
 * captured.  Rows with a change in an open attempt are not due, nor are those
 * that wait for their id; refused changes come along with later ones of their
 * row.  Of these tables (their oids); the caller has the locks of the objects,
 * so that nobody gives up, or decides a conflict about, what it has taken.
 * outbox_due_tables: tables (oids) that may have some; none while the server is
 * paused.  only: this one (0: all); except: not these.
 * outbox_set_aside: all changes of an object that have not been sent are refused,
 * since its direction has become from; 0: those that still wait, of all such
 * objects.  Returns how many.
 * outbox_note_settled: failures to send anything of an object are over where
 * nothing of it waits.
 * outbox_set_all_aside: all changes of an object, sent or not, are refused, and
 * listed with this code, message and hint; returns how many.
 * outbox_doubt_creates: the waiting creates of a server may have been sent, and
 * what was noted of it be lost: each is in doubt now, and looked for in the org
 * before it is sent.
 * outbox_awaited: those of these records that updates refer to, or did before,
 * which are still to go out; but for the changes in hand.  *until: when those are
 * due.
 * outbox_columns_of: the columns of a change that no later one of its row has.
 * outbox_of_attempt: the changes that were sent with it.
 * outbox_of_rows: changes of rows that stand in the stage; outbox_of_ids: of
 * rows with these ids; outbox_change: one, unless it has been sent; NULL
 * otherwise; outbox_of_gone: updates of rows that are no longer in
 * the table; outbox_dangling: those of the ids (provisional ones) that nobody
 * is going to create, the others NULL.
 */
extern bool outbox_is_due(const char *server);
extern TimestampTz outbox_next(const char *server);
extern bool outbox_is_prepared(void);
extern List *outbox_due_tables(const char *server, Oid only,
							   const int64 *except, int nexcept);
extern List *outbox_take(const int64 *among, int namong, int max_changes);
extern List *outbox_note_settled(const char *server);
extern int64 outbox_set_aside(const char *server, Oid relid);
extern int64 outbox_set_all_aside(const SyncObject *object, const char *code,
								  const char *message, const char *hint);
extern void outbox_doubt_creates(const char *server);
extern List *outbox_awaited(List *ids, const int64 *in_hand, int n,
							TimestampTz *until);
extern List *outbox_columns_of(const OutboxChange *change);
extern List *outbox_of_attempt(int64 attempt);
extern List *outbox_of_rows(Oid relid, Oid stage);
extern List *outbox_of_ids(Oid relid, List *ids);
extern List *outbox_of_gone(Oid relid);
extern List *outbox_dangling(List *ids);

/*
 * What becomes of changes, by their numbers.
 * outbox_defer: nothing can be done with them before `next`; no attempt of
 * theirs.  outbox_undefer: of those, the ones that refer to new rows are looked
 * at again, since some have got their ids.
 */
extern void outbox_undefer(const char *server);
extern OutboxChange *outbox_change(int64 seq);
extern void outbox_done(const int64 *seqs, int n);
extern void outbox_again(const int64 *seqs, int n, TimestampTz next);
extern void outbox_refuse(const int64 *seqs, int n);
extern void outbox_defer(const int64 *seqs, int n, TimestampTz next);
extern void outbox_sent(const int64 *seqs, int n, int64 attempt);

/*
 * Puts one change in the place of others of its row (n of them): its operation
 * and its content as they are now.
 */
extern void outbox_replace(const int64 *seqs, int n, char operation,
						   const char *changes);

/*
 * A change on behalf of the sync itself, in the place of one that is done: later
 * changes of the row come after it.
 */
extern void outbox_add(int64 seq, Oid relid, const char *id, char operation,
					   const char *changes);

/* Attempts */
typedef struct OutboxAttempt
{
	int64		attempt;
	char	   *object;
	char	   *verb;
	TimestampTz started;		/* by the org's clock */
	TimestampTz sent;			/* by ours */
	TimestampTz in_doubt;		/* 0 = not told: the sender is gone */
	bool		may_run;		/* the org has not answered at all: the request
								 * may still be running there */
	bool		guessed;		/* by outbox_doubt_creates */
	char	   *job;			/* or NULL */
	char	   *external_id;	/* field that an upsert went by; or NULL */
} OutboxAttempt;

extern int64 attempt_begin(const char *server, const char *object,
						   const char *verb, const char *external_id,
						   TimestampTz started);
extern void attempt_has_job(int64 attempt, const char *job);
extern void attempt_in_doubt(int64 attempt, bool may_run);
extern void attempt_end(int64 attempt);
extern List *attempts_open(const char *server); /* of OutboxAttempt * */

/*
 * Since when records of an object may have been made by attempts that are open,
 * by the org's clock; 0 = there are none.  Our notion of that clock may be a
 * little off.
 */
#define ATTEMPT_CLOCK_SLACK	(2 * USECS_PER_MINUTE)

extern TimestampTz attempts_since(const char *server, const char *object);

/* Conflicts */
extern void conflict_record(const char *server, const char *object,
							const char *id, const char *field,
							const char *base, const char *salesforce,
							const char *local, const char *winner,
							const char *rule);

#endif							/* SYNC_OUTBOX_H */
