/*-------------------------------------------------------------------------
 *
 * mapping.c
 *	  Which field of an object becomes which column of its table.
 *
 * Columns carry no length or precision: what the org sends always fits, and a
 * longer field there is no DDL here.  Compound fields (address, location) come
 * as their component fields; the contents of base64 fields are not copied.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "compat.h"
#include "mapping.h"

typedef struct TypeDef
{
	const char *salesforce;
	const char *sql;			/* NULL: no column */
} TypeDef;

/* Types that are not text (Object Reference: Field Types). */
static const TypeDef type_defs[] = {
	{"boolean", "boolean"},
	{"int", "integer"},
	{"long", "bigint"},
	{"double", "numeric"},
	{"currency", "numeric"},
	{"percent", "numeric"},
	{"date", "pg_catalog.date"},
	{"datetime", "timestamp with time zone"},
	{"time", "time without time zone"},
	/* Ids compare byte by byte, and so do the columns that join with them. */
	{"id", "pg_catalog.text COLLATE pg_catalog.\"C\""},
	{"reference", "pg_catalog.text COLLATE pg_catalog.\"C\""},
	/* Selecting these is refused by Bulk, or gives a URL instead of a value. */
	{"base64", NULL},
	{"address", NULL},
	{"location", NULL},
	{"complexvalue", NULL},
	{"json", NULL},
	{NULL, "pg_catalog.text"}
};

static const TypeDef *
find_type(const char *salesforce)
{
	const TypeDef *def = type_defs;

	while (def->salesforce && strcmp(def->salesforce, salesforce) != 0)
		def++;
	return def;
}

bool
mapping_is_copied(const DescribeField *field)
{
	return find_type(field->type)->sql != NULL;
}

bool
mapping_has_name(List *names, const char *name)
{
	ListCell   *lc;

	foreach(lc, names)
	{
		if (pg_strcasecmp((char *) lfirst(lc), name) == 0)
			return true;
	}
	return false;
}

/* API names are ASCII. */
char *
mapping_lower(const char *name)
{
	char	   *result = pstrdup(name);

	for (char *p = result; *p; p++)
		*p = pg_ascii_tolower((unsigned char) *p);
	return result;
}

/*
 * SystemModstamp moves with every change, also by the platform's own
 * processes (Object Reference: System Fields); the others serve objects that
 * do not have it.
 */
const char *
mapping_stamp(const DescribeObject *object)
{
	static const char *const candidates[] = {"SystemModstamp",
		"LastModifiedDate", "CreatedDate"};

	for (int i = 0; i < 3; i++)
	{
		DescribeField *field = describe_field(object, candidates[i]);

		if (field && field->filterable)
			return candidates[i];
	}
	return NULL;
}

static void
check_names(const DescribeObject *object, List *names)
{
	ListCell   *lc;

	foreach(lc, names)
	{
		if (describe_field(object, (char *) lfirst(lc)) == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_FDW_INVALID_COLUMN_NAME),
					 errmsg("object \"%s\" has no field \"%s\"",
							object->name, (char *) lfirst(lc)),
					 errdetail("There is none of that name, or the login may not see it."),
					 errhint("SELECT sync.describe(server, '%s') lists what the login sees.",
							 object->name)));
	}
}

/* Without its collation, which is left to the user. */
static Oid
column_type(const char *type)
{
	char	   *text = pstrdup(find_type(type)->sql);
	char	   *collate = strstr(text, " COLLATE");
	Oid			oid;
	int32		typmod;

	if (collate != NULL)
		*collate = '\0';
	parse_type(text, &oid, &typmod);
	return oid;
}

static SyncField *
make_field(const DescribeField *described)
{
	SyncField  *field = palloc0(sizeof(SyncField));

	field->field = described->name;
	field->attname = mapping_lower(described->name);
	field->type = described->type;
	field->atttype = column_type(described->type);
	field->label = described->label;
	field->length = described->length;
	field->digits = described->digits;
	field->precision = described->precision;
	field->scale = described->scale;
	field->nillable = described->nillable;
	field->createable = described->createable;
	field->updateable = described->updateable;
	field->defaulted = described->defaulted_on_create;
	field->calculated = described->calculated;
	field->default_true = described->default_true;
	field->external_id = described->external_id;
	field->reference_to = described->reference_to;
	return field;
}

List *
mapping_fields(const DescribeObject *object, List *only, List *exclude,
			   bool missing_ok)
{
	const char *stamp = mapping_stamp(object);
	List	   *fields = NIL;
	ListCell   *lc;

	if (!missing_ok)
	{
		check_names(object, only);
		check_names(object, exclude);
	}
	foreach(lc, object->fields)
	{
		DescribeField *field = (DescribeField *) lfirst(lc);
		bool		is_id = strcmp(field->name, "Id") == 0;
		bool		needed = is_id || strcmp(field->name, "IsDeleted") == 0 ||
			(stamp && strcmp(field->name, stamp) == 0);

		if (!mapping_is_copied(field))
			continue;
		if (!needed && (mapping_has_name(exclude, field->name) ||
						(only && !mapping_has_name(only, field->name))))
			continue;
		fields = is_id ? lcons(make_field(field), fields) :
			lappend(fields, make_field(field));
	}
	return fields;
}

TableColumn *
mapping_column(const SyncField *field, const char *help)
{
	TableColumn *column = palloc0(sizeof(TableColumn));

	column->name = field->attname;
	column->type = pstrdup(find_type(field->type)->sql);
	if (strcmp(field->type, "boolean") == 0)
	{
		/* Salesforce's check boxes are never null. */
		column->not_null = true;
		column->default_sql = field->default_true ? "true" : "false";
	}
	if (field->label && help)
		column->comment = psprintf("%s: %s", field->label, help);
	else
		column->comment = field->label;
	return column;
}

TableSpec *
mapping_table(const DescribeObject *object, List *fields, const char *schema)
{
	TableSpec  *spec = palloc0(sizeof(TableSpec));
	ListCell   *lc;

	spec->schema = pstrdup(schema);
	spec->name = mapping_lower(object->name);
	spec->comment = object->label;
	foreach(lc, fields)
	{
		SyncField  *field = (SyncField *) lfirst(lc);
		DescribeField *described = describe_field(object, field->field);

		spec->columns = lappend(spec->columns,
								mapping_column(field, described->help));
	}
	return spec;
}

static bool
refers_to_one_of(const SyncField *field, List *names)
{
	ListCell   *lc;

	foreach(lc, field->reference_to)
	{
		if (mapping_has_name(names, (char *) lfirst(lc)))
			return true;
	}
	return false;
}

List *
mapping_indexed(List *fields, List *synced)
{
	List	   *indexed = NIL;
	ListCell   *lc;

	foreach(lc, fields)
	{
		SyncField  *field = (SyncField *) lfirst(lc);

		if (refers_to_one_of(field, synced))
			indexed = lappend(indexed, field->attname);
	}
	return indexed;
}

List *
mapping_field_names(List *fields)
{
	List	   *names = NIL;
	ListCell   *lc;

	foreach(lc, fields)
		names = lappend(names, ((SyncField *) lfirst(lc))->field);
	return names;
}

List *
mapping_column_names(List *fields)
{
	List	   *names = NIL;
	ListCell   *lc;

	foreach(lc, fields)
		names = lappend(names, ((SyncField *) lfirst(lc))->attname);
	return names;
}
