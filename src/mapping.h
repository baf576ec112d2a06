/*-------------------------------------------------------------------------
 *
 * mapping.h
 *	  Which field of an object becomes which column of its table.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_MAPPING_H
#define SYNC_MAPPING_H

#include "salesforce/describe.h"
#include "tables/catalog.h"
#include "tables/schema.h"

/*
 * mapping_fields: the fields of the object that are synced, as SyncField *, Id
 * first, then as described.  only: the names asked for, NIL = all; exclude:
 * names left out.  Id, the stamp and IsDeleted always stay.  A name that the
 * object does not have is an ERROR, unless missing_ok.
 *
 * mapping_column, mapping_table: the column of a field, the table of an
 * object (name lower-cased).
 * mapping_indexed: columns to be indexed: references to objects in `synced`
 * (names).
 * mapping_stamp: the field that tells when a row changed; NULL if none.
 * mapping_is_copied: false for types that have no column of their own.
 */
extern List *mapping_fields(const DescribeObject *object, List *only,
							List *exclude, bool missing_ok);
extern TableColumn *mapping_column(const SyncField *field, const char *help);
extern TableSpec *mapping_table(const DescribeObject *object, List *fields,
								const char *schema);
extern List *mapping_indexed(List *fields, List *synced);
extern const char *mapping_stamp(const DescribeObject *object);
extern bool mapping_is_copied(const DescribeField *field);
extern char *mapping_lower(const char *name);

/* Names of the fields or of the columns of a List of SyncField *. */
extern List *mapping_field_names(List *fields);
extern List *mapping_column_names(List *fields);

/* Case-insensitive search in a List of char *. */
extern bool mapping_has_name(List *names, const char *name);

#endif							/* SYNC_MAPPING_H */
