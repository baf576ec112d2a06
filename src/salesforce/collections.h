/*-------------------------------------------------------------------------
 *
 * collections.h
 *	  Writing records: up to 200 in one call of sObject Collections, or
 *	  one at a time under If-Unmodified-Since through Composite.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_COLLECTIONS_H
#define SYNC_COLLECTIONS_H

#include "api.h"

#define COLLECTION_MAX_RECORDS	200
/* Runs of records of one type (REST API: sObject Collections). */
#define COLLECTION_MAX_CHUNKS	10
/* Subrequests of a Composite request (REST API: Composite). */
#define COMPOSITE_MAX_RECORDS	25

typedef enum WriteVerb
{
	WRITE_CREATE,
	WRITE_UPDATE,
	WRITE_UPSERT,				/* by an external id */
	WRITE_DELETE
} WriteVerb;

/* What a refusal of one record asks of the caller. */
typedef enum RecordRefusal
{
	RECORD_RETRY,				/* locks, limits, server busy: again, later */
	RECORD_PARK,				/* validation, required, duplicate, permission:
								 * again when somebody has changed something */
	RECORD_GONE,				/* the record is deleted, or purged */
	RECORD_CHANGED,				/* 412: changed since, under a condition */
	RECORD_CONVERTED			/* CANNOT_UPDATE_CONVERTED_LEAD */
} RecordRefusal;

typedef struct WriteField
{
	const char *name;
	const char *value;			/* text as JSON wants it for the kind, in the
								 * database's encoding; NULL = null */
	bool		bare;			/* number or boolean: not quoted */
} WriteField;

typedef struct WriteRecord
{
	const char *object;
	const char *id;				/* of update and delete; NULL otherwise */
	WriteField *fields;
	int			nfields;
	TimestampTz unmodified_since;	/* 0 = no condition */

	/* The answer. */
	bool		answered;		/* false: the outcome is not known */
	bool		success;
	bool		created;		/* of an upsert */
	char	   *new_id;			/* id that Salesforce answered; or NULL */
	RecordRefusal refusal;
	bool		crowded;		/* record_is_crowded */
	char	   *code;			/* statusCode */
	char	   *message;
	List	   *error_fields;	/* of char * */
} WriteRecord;

/* One call: records of one verb (an upsert: of one object and external id). */
typedef struct WriteCall
{
	WriteVerb	verb;
	const char *external_id;	/* field of an upsert */
	WriteRecord **records;
	int			nrecords;		/* <= COLLECTION_MAX_RECORDS */
	bool		allow_duplicates;	/* where a rule only warns of them */

	/*
	 * The answer of the call as a whole.  Not answered: nothing is known of its
	 * records (lost answer: reset, time-out; or 5xx, which may have come after
	 * the work was done).  Refused: nothing was done (4xx, or no connection
	 * came about: refusal.status 0), refusal says why.  The records say the
	 * same each; of a call under conditions that went out as several requests
	 * some may have been answered and some not.
	 */
	bool		answered;
	bool		refused;
	bool		in_doubt_now;	/* of what was not answered some may still be
								 * running there: no HTTP answer at all, or
								 * the words of a gateway, which does not wait
								 * for the org */
	ApiError	refusal;
	char	   *failure;		/* why there was no answer */
} WriteCall;

/*
 * collections_write: all calls in flight together (eight at a time), outcomes
 * in the structs; allocated in CurrentMemoryContext.  Sends Sforce-Auto-Assign:
 * FALSE (active assignment rules would move the owner), allOrNone false.
 * A 401 is answered by one new login and one repetition, since nothing was
 * done; nothing else is sent a second time.  Raises only what concerns the
 * caller itself (cancel, out of memory, login refused, a call made up
 * wrongly); when the new login is refused, the outcomes of the other calls
 * stand in the structs already.
 *
 * Records of different types are to be sorted by type (at most
 * COLLECTION_MAX_CHUNKS runs).  A record that no request can hold (a provisional
 * id, a number that JSON has no form for) is refused here, RECORD_PARK, and
 * does not keep the others from being sent.
 *
 * A call with records under a condition (unmodified_since) is an update and
 * goes through Composite, up to COMPOSITE_MAX_RECORDS records, else ERROR.
 * Values that Composite would take for a reference to another part of it
 * ("@{...}", which nothing escapes) make its records go one by one.
 */
extern void collections_write(SalesforceApi *api, WriteCall *calls, int n);

/*
 * Classifies a statusCode.  With a message: also a lock that a trigger of the
 * org met, which comes as CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY or another code.
 * record_is_crowded: such a lock, or a limit of the org's own code, may be met for
 * what the records of a call do together: a smaller call may pass.
 * RECORD_GONE is given only where the record itself is meant: the same code is
 * used for a parent that is gone, then with the reference among the fields, and
 * for any creation.  So is INVALID_CROSS_REFERENCE_KEY of a record that was purged,
 * without fields; in an update it may as well mean what the record refers to:
 * record_may_be_gone says where the org is to be asked for the record.
 */
extern RecordRefusal record_refusal(const char *code);
extern RecordRefusal record_refusal_of(const char *code, const char *message,
									   const List *fields, WriteVerb verb);
extern bool record_is_crowded(const char *code, const char *message);
extern bool record_may_be_gone(const WriteRecord *record);

#endif							/* SYNC_COLLECTIONS_H */
