/*-------------------------------------------------------------------------
 *
 * describe.h
 *	  What the org says of its objects and fields, as far as the login sees.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_DESCRIBE_H
#define SYNC_DESCRIBE_H

#include "api.h"

typedef struct DescribeField
{
	char	   *name;
	char	   *type;			/* Salesforce's word: string, reference, ... */
	char	   *label;
	char	   *help;			/* inlineHelpText; or NULL */
	char	   *compound;		/* compoundFieldName; or NULL */
	char	   *relationship;	/* relationshipName; or NULL */
	List	   *reference_to;	/* of char * */
	int			length;			/* characters */
	int			digits;			/* of an int */
	int			precision;		/* of a double, currency, percent */
	int			scale;
	bool		nillable;
	bool		createable;
	bool		updateable;
	bool		defaulted_on_create;
	bool		default_true;	/* of a boolean: defaultValue is true */
	bool		calculated;
	bool		custom;
	bool		external_id;
	bool		id_lookup;
	bool		unique;
	bool		filterable;
	bool		sortable;
} DescribeField;

typedef struct DescribeObject
{
	char	   *name;
	char	   *label;
	char	   *key_prefix;		/* or NULL */
	bool		custom;
	bool		createable;
	bool		updateable;
	bool		deletable;
	bool		undeletable;
	bool		queryable;
	bool		replicateable;
	bool		retrieveable;
	List	   *fields;			/* of DescribeField *; NIL in global entries */
	char	   *last_modified;	/* Last-Modified of the answer; or NULL */
} DescribeObject;

/*
 * describe_object: NULL when if_modified_since (a Last-Modified text, or NULL)
 * was given and nothing changed since.  An unknown or invisible object is an
 * ERROR with ERRCODE_FDW_TABLE_NOT_FOUND.
 * describe_unchanged: of many objects (names, and Last-Modified texts, parallel)
 * which certainly have not changed since, by one Composite call for each 25;
 * what it cannot tell counts as changed.
 * describe_global: all objects that the login sees, without fields.
 * describe_parse: the same from a describe body (pure; for checks).
 * describe_text: the body of /sobjects/X/describe as it came.
 */
extern DescribeObject *describe_object(SalesforceApi *api, const char *object,
									   const char *if_modified_since);
extern bool *describe_unchanged(SalesforceApi *api, List *objects, List *tags);
extern List *describe_global(SalesforceApi *api);
extern DescribeObject *describe_parse(const char *body);
extern char *describe_text(SalesforceApi *api, const char *object);

extern DescribeField *describe_field(const DescribeObject *object,
									 const char *name);

#endif							/* SYNC_DESCRIBE_H */
