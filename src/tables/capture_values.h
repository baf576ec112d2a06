/*-------------------------------------------------------------------------
 *
 * capture_values.h
 *	  Values of synced tables as the JSON that Salesforce takes.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_CAPTURE_VALUES_H
#define SYNC_CAPTURE_VALUES_H

#include "access/attnum.h"
#include "lib/stringinfo.h"

typedef struct CaptureColumn
{
	AttrNumber	attnum;			/* in the table that fired; may differ between
								 * partitions */
	char	   *name;
	char	   *key;			/* the name as a JSON string */
	Oid			type;
	int16		typlen;
	bool		typbyval;
	bool		createable;
	bool		updateable;
	bool		required;		/* on create */
	bool		nillable;
	bool		default_true;	/* of a boolean */
	Oid			should_be;		/* the type that the column was given */
	int			max_chars;		/* 0 = no limit */
	int			max_digits;		/* before the decimal point; 0 = no limit */
} CaptureColumn;

/* What is known of a table; key is the oid of the table that fires. */
typedef struct CaptureTable
{
	Oid			relid;
	Oid			root;			/* the synced table; differs for a partition */
	Oid			serverid;
	char	   *object;
	AttrNumber	id;
	AttrNumber	local_id;		/* or InvalidAttrNumber */
	AttrNumber	last;			/* of all these: no later one is read */
	int			ncolumns;
	CaptureColumn *columns;
} CaptureTable;

/*
 * capture_refuse_write, capture_refuse_missing: errors about a column that this
 * login may not write, or that must have a value.
 * capture_is_empty: null to Salesforce, as empty texts are.
 * capture_is_default: what a column has when an INSERT does not name it.
 * capture_append_change: {"column":[old,new] without the closing brace; raises an
 * error if the field cannot hold the new value.
 */
extern void capture_refuse_write(const CaptureTable *table,
								 const CaptureColumn *column, bool creating);
extern void capture_refuse_missing(const CaptureTable *table,
								   const CaptureColumn *column);
extern bool capture_is_empty(const CaptureColumn *column, Datum value,
							 bool null);
extern bool capture_is_default(const CaptureColumn *column, Datum value,
							   bool null);
extern void capture_append_change(StringInfo buf, const CaptureTable *table,
								  const CaptureColumn *column, Datum old,
								  bool old_null, Datum new, bool new_null);

#endif							/* SYNC_CAPTURE_VALUES_H */
