/*-------------------------------------------------------------------------
 *
 * push.h
 *	  The way out: what the outbox holds, to Salesforce.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_PUSH_H
#define SYNC_PUSH_H

#include "cycle.h"
#include "fold.h"
#include "salesforce/collections.h"

/* Settings */
extern int	push_bulk_threshold;	/* rows of one object and verb */
extern int	push_concurrency;	/* calls in flight at once */
extern int	push_answer_wait;	/* seconds that a lost request may still run */

/* What no answer can be got for now, and rows that wait for others. */
#define STUCK_RETRY			(60 * USECS_PER_SEC)

/* An object that rows go out to. */
typedef struct PushObject
{
	SyncObject *object;
	List	   *fields;			/* of SyncField * */
	SyncField  *parent;			/* field whose records writes lock; or NULL */
	bool		locked;
	List	   *refused;		/* verbs whose calls are refused as a whole */
	SyncCounts	counts;
} PushObject;

/* One row on its way. */
typedef struct PushRow
{
	NetChange  *change;
	PushObject *target;
	WriteRecord record;
	struct PushRow *waits_for;	/* see choose_ready */
	int			visit;
	int			wave;			/* deletes of what others refer to go later */
	bool		held;			/* or not in this round */
	char	   *parent;			/* id of the record that a write locks */
	List	   *held_back;		/* fields (NetField *) that wait for ids of
								 * others, to be sent afterwards */
	List	   *lost;			/* fields that the org no longer has */
	bool		guessed;		/* whether and what was sent is not known */
	NetField   *key;			/* of those the one that an upsert goes by, sent
								 * all the same when it is repeated; or NULL */
	const char *key_name;
} PushRow;

typedef struct Push
{
	Cycle	   *cycle;
	Org		   *org;
	char	   *server;
	MemoryContext context;		/* of the whole run */
	MemoryContext round;		/* of one round */
	List	   *objects;		/* of PushObject *, of the round */
	struct HTAB *checked;		/* ids whose remote stamp was looked at */
	TimestampTz started;
	int64		calls;			/* that stand in the log */
	const ApiError *refusal;	/* of everything, by the org; or NULL */
	bool		evolved;		/* the org's schema was looked at in this run */
	bool		gave_ids;		/* rows that waited for them can go now */
	int			ids_left;		/* so many that could not take theirs */
	bool		ids_locked;		/* rows that are to take them are locked */
	Oid			only;			/* rounds of this table alone; 0 = of all but
								 * those that are stuck */
} Push;

/*
 * push_run: sends what is due until nothing more can be sent; resolves what
 * was in doubt.  Returns when it should be called again though nothing new has
 * come: 0 = only then.  Failures of single rows are recorded; of the org as a
 * whole, raised.
 */
extern TimestampTz push_run(Cycle *cycle);

/* push_outcome.c: what an answer means for the changes. */
extern void push_bring_contacts(Push *push, List *rows);
extern void push_note_outcomes(Push *push, List *rows, int64 attempt);
extern void push_mark_undone(PushRow *row);
extern void push_note_lost(const PushRow *row);
extern void push_give_back(List *rows, int64 attempt);
extern TimestampTz push_backoff(int attempts);

/*
 * push_doubt.c: attempts whose answer was lost.
 * push_resolve_doubts: resolves what can be; false, for no more is to be done.
 * push_doubts_due: when they are to be looked at; 0 = there are none.
 * push_unfinished: the same for whatever a process that has ended has left,
 * rows that wait for ids that are known among it.
 */
extern bool push_resolve_doubts(Push *push);
extern TimestampTz push_doubts_due(const char *server);
extern TimestampTz push_unfinished(const char *server);

/*
 * push_bulk.c: many rows of one verb as ingest jobs; returns those that cannot
 * go that way.
 */
extern List *push_by_bulk(Push *push, PushObject *target, WriteVerb verb,
						 List *rows);

/* Values that are the same to Salesforce have the same key. */
extern uint64 push_value_key(const char *value, int seed);

typedef enum JobEnd
{
	JOB_SETTLED,
	JOB_RUNNING,				/* ask again later */
	JOB_UNKNOWN					/* the org does not know it any more */
} JobEnd;

extern JobEnd push_finish_job(Push *push, PushObject *target,
							  const OutboxAttempt *attempt, List *rows);

/*
 * push_rows.c: objects and rows, and which rows can go.
 * push_choose_waves: numbers rows so that a record is deleted after those that
 * refer to it were; returns the last number.  push_hold_parents: such a record
 * is not to be deleted in this round, since the row is still to go out
 * (push_is_settled: it is not); true if there is any.
 */

/* Rows by id. */
typedef struct PushIndex
{
	PushRow   **rows;
	int			n;
} PushIndex;

extern PushObject *push_object(Push *push, Oid relid);
extern bool push_lock(PushObject *target);
extern void push_unlock(Push *push);
extern SyncField *push_field(const PushObject *target, const char *column);
extern List *push_rows_of(Push *push, List *changes);
extern void push_fill_known_ids(List *rows);
extern bool push_is_reference(const PushRow *row, const NetField *field);
extern List *push_choose_ready(List *rows, List **still_waiting);
extern int	push_choose_waves(List *rows, PushIndex *deletes);
extern bool push_hold_parents(const PushRow *row, const PushIndex *deletes);
extern bool push_is_settled(const PushRow *row);
extern PushIndex push_index(List *rows);
extern PushRow *push_indexed(const PushIndex *index, const char *id);
extern int64 *push_numbers(List *rows, int *n);

/*
 * push_look.c: whether records are as we know them.
 * push_look: brings in what has changed of them; true if the outbox may have
 * changed thereby.  push_forget_look: what was sent is looked at again before it
 * is sent another time.  push_find_gone: updates that were refused for want of a
 * record, that one may be.  push_evolve: a field is gone from the org.
 * push_note_failure: within a step; what cannot go out of one object, until
 * push_note_recovery.
 */
extern void push_begin_looks(Push *push);
extern bool push_look(Push *push, List *rows);
extern void push_forget_look(Push *push, List *rows);
extern void push_find_gone(Push *push, PushObject *target, List *rows);
extern void push_evolve(Push *push, SyncObject *object);
extern void push_note_failure(Push *push, PushObject *target,
							  const struct ErrorData *error);
extern void push_note_recovery(Push *push, PushObject *target);
extern bool push_same_value(const NetField *net, const char *json,
							const char *theirs);

/*
 * push_send.c: rows in calls.  push_repeat: those of an upsert, again; returns
 * those of which nothing is known yet.
 * push_concerns_org: whether nothing at all can be sent, not only of an object.
 */
extern void push_send(Push *push, List *rows);
extern bool push_concerns_org(const ApiError *error);
extern List *push_repeat(Push *push, PushObject *target, List *rows,
						 const OutboxAttempt *attempt);

#endif							/* SYNC_PUSH_H */
