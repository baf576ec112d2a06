/*-------------------------------------------------------------------------
 *
 * fold.h
 *	  The net change of each row, from the changes in the outbox.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_FOLD_H
#define SYNC_FOLD_H

#include "tables/catalog.h"
#include "tables/outbox.h"

typedef enum NetOperation
{
	NET_NOTHING,				/* inserted and deleted */
	NET_INSERT,
	NET_UPDATE,
	NET_DELETE,
	NET_IMPOSSIBLE				/* no row can have gone through these changes */
} NetOperation;

/* Values are JSON texts: "\"abc\"", "12.5", "true", "null". */
typedef struct NetField
{
	char	   *column;
	char	   *base;			/* what both sides had last */
	char	   *value;			/* what it is to become */
	char	   *raw;			/* the same without quotes and escapes; NULL for
								 * null */
	bool		bare;			/* number or boolean */
	bool		reference;		/* to another record; see fold_describe */
	bool		rounds;			/* Salesforce keeps so many decimals of it, and */
	int			scale;			/* perhaps some more */
	List	   *between;		/* values that it had meanwhile (char *): they
								 * may have gone out already */
	bool		back;			/* of an update: it is to be what it was */
} NetField;

typedef struct NetChange
{
	Oid			relid;
	char	   *id;
	NetOperation operation;
	List	   *fields;			/* of NetField *; of a delete: base values */
	int64	   *seqs;			/* the changes that it is made of */
	int			nseqs;
	int			attempts;
	TimestampTz captured;		/* the latest */
} NetChange;

/*
 * fold_changes: List of OutboxChange * (changes of a row in the order of their
 * numbers) to List of NetChange *, rows in the order of their first appearance.
 * Fields that were changed back are there: one of their values between may have
 * gone out.  NET_IMPOSSIBLE is an internal error, told to the server's log; the
 * changes are to be kept, and refused.
 * fold_drop_back: leaves those fields out, once it is known that none has.
 * fold_text: the JSON of a net change, as the outbox holds it.
 * fold_field: the field of a column; or NULL.
 * fold_same: whether two JSON values are the same to Salesforce: numbers by
 * value, texts without outer blanks, whatever their line ends, empty texts as null,
 * times by the second.
 * fold_same_stored: or the second is what Salesforce makes of the first when
 * it keeps it in this field, rounded to the field's scale.
 * fold_describe: tells the fields of a change what they are (fields: of
 * SyncField *); fold_is_provisional: it refers to a row that has no id yet;
 * fold_known_ids: puts what provisional ids in references have become in their
 * place.
 */
extern List *fold_changes(List *changes);
extern void fold_drop_back(NetChange *net);
extern char *fold_text(const NetChange *change);
extern NetField *fold_field(const NetChange *change, const char *column);
extern bool fold_same(const char *a, const char *b);
extern bool fold_same_stored(const NetField *field, const char *sent,
							 const char *stored);
extern void fold_describe(NetChange *net, List *fields);
extern bool fold_is_provisional(const NetField *field);
extern void fold_known_ids(List *nets);

#endif							/* SYNC_FOLD_H */
