/*-------------------------------------------------------------------------
 *
 * catalog.h
 *	  What is synced, how far it has come, and what happened: the tables of
 *	  schema sync, as structs.
 *
 * All functions need an open transaction and do their part of it.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_CATALOG_H
#define SYNC_CATALOG_H

#include "access/attnum.h"
#include "datatype/timestamp.h"
#include "nodes/pg_list.h"

typedef struct SyncServer
{
	char	   *name;
	Oid			serverid;
	char	   *schema;
	bool		running;
	bool		paused;
	TimestampTz next_cycle;		/* 0 = at once */
	int			failures;		/* in a row */
	TimestampTz retry_at;
} SyncServer;

typedef struct SyncField
{
	char	   *field;
	char	   *attname;
	char	   *type;			/* Salesforce's word */
	char	   *label;
	int			length;
	int			digits;
	int			precision;
	int			scale;
	bool		nillable;
	bool		createable;
	bool		updateable;
	bool		defaulted;
	bool		calculated;
	bool		external_id;
	bool		default_true;	/* of a boolean: what Salesforce sets itself */
	List	   *reference_to;	/* of char * */
	Oid			atttype;		/* of the column, as it should be */
	int16		attnum;			/* 0 = not learned yet */
	bool		reference;		/* type: to another record */
	bool		rounded;		/* type: a number that is kept to its scale */
} SyncField;

typedef enum SyncDirection
{
	DIRECTION_FROM,				/* Salesforce -> table */
	DIRECTION_BOTH,
	DIRECTION_TO				/* table -> Salesforce */
} SyncDirection;

typedef enum SyncConflict
{
	CONFLICT_SALESFORCE,		/* who wins, per field */
	CONFLICT_LOCAL,
	CONFLICT_LATEST
} SyncConflict;

typedef enum SyncState
{
	STATE_NEW,					/* nothing copied yet */
	STATE_COPYING,				/* pages come in */
	STATE_INDEXING,				/* rows are there, keys are not */
	STATE_LIVE
} SyncState;

typedef struct SyncObject
{
	char	   *server;
	Oid			serverid;
	char	   *object;
	Oid			relid;
	List	   *only_fields;	/* "fields" option; NIL = all */
	List	   *exclude;
	char	   *filter;			/* SOQL condition; or NULL */
	bool		mark;			/* on_delete = mark */
	int64		interval;		/* microseconds; -1 = the server's */
	SyncDirection direction;
	SyncConflict conflict;
	char	   *external_id;	/* or NULL */
	bool		push_deletes;
	bool		unmodified_since;	/* write under If-Unmodified-Since */
	bool		allow_duplicates;	/* in spite of rules that warn of them */
	int			batch_rows;		/* most in a call; 0 = as many as it takes */

	SyncState	state;
	char	   *stamp_field;
	bool		has_isdeleted;
	bool		undeletable;	/* the login may take it out of the bin */
	bool		replicateable;
	TimestampTz cursor;			/* 0 = none */
	int64		rereads;		/* how often the cursor was set back */
	int64		rows;
	TimestampTz due;			/* 0 = at once */
	TimestampTz swept;			/* when all ids were compared last */
	TimestampTz last_synced;	/* 0 = never */
	bool		has_refused;	/* rows of it stand in sync.failures, */
	TimestampTz rows_due;		/* some of them for so long; 0 = for an hour */
	bool		has_failures;	/* steps of it do, */
	bool		push_failed;	/* or that its rows cannot go out */
	bool		misshapen;		/* its columns were not as they should be */
	bool		fewer_fields;	/* are copied than its job was asked for */
	char	   *unguarded;		/* which triggers are missing; NULL = none */
	char	   *job;
	char	   *job_version;
	int64		job_records;	/* -1 = not known */
	int64		came;			/* records of it, up to the locator */
	bool		merge;			/* first copy: into a table that has rows */
	char	   *locator;
	TimestampTz described;
	TimestampTz described_fully;
	char	   *describe_tag;
	int			failures;
	TimestampTz retry_at;
} SyncObject;

typedef struct SyncCounts
{
	int64		inserted;
	int64		updated;
	int64		deleted;
	int64		skipped;
	int64		failed;
	int64		calls;
} SyncCounts;

/* Reading */
extern SyncServer *catalog_server(const char *server);
extern SyncServer *catalog_server_by_oid(Oid serverid);
extern List *catalog_servers(void); /* of SyncServer *, all of the database */
extern SyncObject *catalog_object(const char *server, const char *object);
extern SyncObject *catalog_object_by_relid(Oid relid);
extern List *catalog_objects(const char *server);	/* of SyncObject * */
extern List *catalog_fields(const SyncObject *object);	/* of SyncField * */
extern List *catalog_dropped_fields(const SyncObject *object);	/* names */
extern List *catalog_synced_objects(const char *server);	/* names */

/*
 * Progress of an object; each writes what its name says and nothing else.
 * catalog_cursor_reset: all rows will be read again by the next pull, and merged;
 * of an object that is being copied, by the first one.  It waits for no pull that is under way, whose questions
 * are older: catalog_pulled leaves the cursor alone if it was set back since
 * the object was read, by whomever but its caller.
 * catalog_copy_advanced: one more page: rows that are in the table now, records
 * that came.  catalog_copy_again: what came cannot be all, or comes for ever; the
 * copy begins anew, and until it is done failures are counted on, so that the
 * waits between them grow.
 * catalog_field_identities: which field each name stands for (parallel lists of
 * char *); returns how many stand for another than before.
 * catalog_column_kept: the column stays though its field has left the org;
 * catalog_column_taken: whether it is such a one, which from now on it is not.
 * catalog_misshapen: whether columns of the table are not as they should be.
 * catalog_unguarded: which triggers the table lacks, NULL when it lacks none;
 * told in sync.failures as well.
 */
extern void catalog_copy_started(const SyncObject *object, TimestampTz cursor,
								 const char *job, const char *version,
								 int64 records);
extern void catalog_copy_advanced(const SyncObject *object, int64 rows,
								  int64 came, const char *locator);
extern void catalog_copy_again(const SyncObject *object);
extern void catalog_copy_reset(const SyncObject *object);
extern void catalog_state(const SyncObject *object, SyncState state);
extern void catalog_pulled(const SyncObject *object, TimestampTz cursor,
						   TimestampTz started, TimestampTz due);
extern void catalog_swept(const SyncObject *object);
extern void catalog_rows_added(const SyncObject *object, int64 rows);
extern void catalog_rows_are(const SyncObject *object, int64 rows);
extern void catalog_cursor_reset(SyncObject *object);
extern void catalog_object_failed(const SyncObject *object, TimestampTz retry_at,
								  const char *error);
extern void catalog_described(const SyncObject *object, bool fully,
							  const char *tag);
extern int64 catalog_field_identities(const SyncObject *object, List *fields,
									  List *identities);
extern void catalog_misshapen(const SyncObject *object, bool misshapen);
extern void catalog_unguarded(const SyncObject *object, const char *what);
extern void catalog_add_fields(const SyncObject *object, List *fields);
extern void catalog_changed(void);
extern Oid	catalog_object_table(void);
extern void catalog_column_kept(const SyncObject *object, AttrNumber attnum);
extern bool catalog_column_taken(const SyncObject *object, AttrNumber attnum);
extern bool catalog_external_id_left(const SyncObject *object,
									 const char *field);
extern void catalog_remove_field(const SyncObject *object, const char *field);

/*
 * Progress of a server.  catalog_follow_resume: after sync.resume the waiting
 * after failures is over; returns whether there was one since the last time.
 */
extern void catalog_cycle_at_once(const char *server);
extern void catalog_cycle_done(const char *server, TimestampTz next_cycle);
extern bool catalog_follow_resume(const char *server);
extern void catalog_server_recovered(const char *server);
extern int64 catalog_limit_max(const char *server);
extern void catalog_server_failed(const char *server, TimestampTz retry_at,
								  const char *error);
extern void catalog_limits(const char *server, int64 used, int64 max);
extern void catalog_count_calls(const char *server, const char *kind,
								int64 calls);
extern int64 catalog_calls_today(const char *server);	/* last 24 h */

/* sync.log */
extern int64 catalog_next_run(void);
extern int64 catalog_log_start(int64 run, const char *server,
							   const char *object, const char *operation);
extern void catalog_log_end(int64 seq, const SyncCounts *counts,
							const char *outcome);
extern void catalog_log_whole(int64 run, const char *server,
							  const char *object, const char *operation,
							  TimestampTz started, const SyncCounts *counts,
							  const char *outcome);
extern void catalog_log_interrupted(const char *server);
extern void catalog_log_trim(const char *server, TimestampTz before);

/*
 * sync.failures.  One row for each server, object, operation, record and code,
 * counted up when it happens again.  catalog_steps_recovered removes those of
 * the steps of an object that goes well again (NULL: of the server as a whole),
 * push being one for itself, as it says nothing about the others,
 * catalog_rows_recovered those of records that stand in the stage and were not
 * refused again since the given moment.  catalog_failed_records lists ids of
 * set-aside rows last tried before the given moment, or that are due since they
 * were only locked; catalog_read_again puts one there that is to be read again
 * with the next cycle; catalog_records_retried removes those that have been
 * asked for and were not refused again since.  catalog_rows_soon: those that were locked;
 * catalog_rows_later: they still are.
 */
extern void catalog_failure(const char *server, const char *object,
							const char *operation, const char *record,
							const char *code, const char *message,
							const char *hint, List *fields);
extern void catalog_refusal(const char *server, const char *object,
							const char *record, const char *code,
							const char *message, List *fields);
extern void catalog_records_recovered(const char *server, const char *object,
									  const char *operation, List *records);
extern void catalog_steps_recovered(const char *server, const char *object,
									bool push);
extern void catalog_rows_recovered(const SyncObject *object, Oid stage,
								   TimestampTz since);
extern List *catalog_rows_soon(const SyncObject *object);
extern void catalog_rows_later(const SyncObject *object);
extern void catalog_records_retried(const SyncObject *object, List *records,
									TimestampTz since);
extern void catalog_read_again(const SyncObject *object, const char *id);
extern List *catalog_failed_records(const SyncObject *object, bool deletes,
									TimestampTz before, int limit);

/*
 * A small JSON message on channel sync, sent when the transaction commits.  Any
 * role can listen: detail is an id, a number or a code (catalog_code), never a
 * message, which may quote values.
 */
extern const char *catalog_code(const char *code);
extern void catalog_notify(const char *event, const char *server,
						   const char *object, const char *detail);

/* The process that serves a server, for waking it; 0 if there is none. */
extern void catalog_worker_started(Oid serverid, int pid);
extern void catalog_worker_leaves(Oid serverid);
extern int	catalog_worker_pid(Oid serverid);
extern Oid	catalog_worker_table(void);

/*
 * Follows ALTER SERVER ... RENAME and a restored dump (other oids), and pauses
 * what was restored into another database.  After a promotion, a recovery to a
 * point in time or a restore, waiting creates are in doubt.
 *
 * catalog_org_known: which org a server leads to, if it is not known yet.
 * catalog_accept_org: from now on it is the one of the last login; what was sent
 * to the other one and not answered is forgotten.
 */
extern void catalog_reconcile(void);
extern char *catalog_origin(void);
extern char *catalog_timeline(void);
extern void catalog_org_known(const char *server, const char *org_id);
extern void catalog_accept_org(const char *server);

#endif							/* SYNC_CATALOG_H */
