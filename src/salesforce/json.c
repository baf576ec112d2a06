/*-------------------------------------------------------------------------
 *
 * json.c
 *	  Reading JSON: the only door to json-c.
 *
 * Functions that call json-c do not raise errors while it is at work, and the
 * owner of what json-c allocates exists, with its reset callback, before
 * json-c is asked for anything.
 *
 * This file must not include utils/builtins.h.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <limits.h>
#include <json-c/json.h>

#include "miscadmin.h"
#include "utils/json.h"
#include "utils/memutils.h"

#include "json.h"
#include "origin.h"

/*
 * A Composite answer nests a describe or query answer by three levels, and
 * those nest less than ten themselves.
 */
#define MAX_DEPTH 64

/* Takes some milliseconds. */
#define SLICE ((Size) 1024 * 1024)

/* From json-c 0.15 on strict parsing minds a newline after the document. */
#ifndef JSON_TOKENER_ALLOW_TRAILING_CHARS
#define JSON_TOKENER_ALLOW_TRAILING_CHARS 0
#endif

typedef struct Owner
{
	MemoryContextCallback gone;
	struct json_object *root;
	struct json_tokener *tokener;	/* while it parses */
} Owner;

static struct json_object *
node_object(const Json *node)
{
	return (struct json_object *) unconstify(Json *, node);
}

static void
owner_gone(void *arg)
{
	Owner	   *owner = (Owner *) arg;

	json_object_put(owner->root);
	owner->root = NULL;
	if (owner->tokener != NULL)
		json_tokener_free(owner->tokener);
	owner->tokener = NULL;
}

static Owner *
create_owner(void)
{
	Owner	   *owner = palloc0(sizeof(Owner));

	owner->gone.func = owner_gone;
	owner->gone.arg = owner;
	MemoryContextRegisterResetCallback(CurrentMemoryContext, &owner->gone);
	return owner;
}

/* The bytes of the escape that begins at text, which may be cut short. */
static Size
escape_length(const char *text, Size left)
{
	return Min(left, left > 1 && text[1] == 'u' ? 6 : 2);
}

/*
 * A copy without \u0000, or the text itself if it has none.  Each escape is
 * taken as a whole, and outside of strings there are none: what is no JSON must
 * not become JSON by what is taken out of it.
 */
static const char *
without_nuls(const char *text, Size *len)
{
	char	   *copy;
	Size		from = 0;
	Size		to = 0;
	bool		in_string = false;

	if (memmem(text, *len, "\\u0000", 6) == NULL)
		return text;
	copy = MemoryContextAllocHuge(CurrentMemoryContext, *len + 1);
	while (from < *len)
	{
		Size		n = 1;

		if (text[from] == '"')
			in_string = !in_string;
		else if (text[from] == '\\' && in_string)
			n = escape_length(text + from, *len - from);
		if (n < 6 || memcmp(text + from, "\\u0000", 6) != 0)
		{
			memcpy(copy + to, text + from, n);
			to += n;
		}
		from += n;
	}
	copy[to] = '\0';
	*len = to;
	return copy;
}

static bool
only_blanks(const char *text, Size len)
{
	Size		i;

	for (i = 0; i < len; i++)
		if (strchr(" \t\r\n", text[i]) == NULL)
			return false;
	return true;
}

/*
 * Strict parsing of json-c 0.18 takes bytes above 127 for control characters
 * and refuses them (json-c issues 875 and 892), so texts with such bytes are
 * parsed leniently there: a comma too many passes, a text cut short does not.
 * 0.15 to 0.19 share one name, so which it is only shows at run time.
 */
static bool
can_be_strict(const char *text, Size len)
{
	Size		i;

	if (json_c_version_num() >> 8 != 18)
		return true;
	for (i = 0; i < len; i++)
		if (IS_HIGHBIT_SET(text[i]))
			return false;
	return true;
}

/* In slices, between which a cancel is heeded; *end is where it ended. */
static struct json_object *
parse_slices(struct json_tokener *tokener, const char *text, Size len,
			 Size *end)
{
	struct json_object *root = NULL;

	for (*end = 0; root == NULL && *end < len;)
	{
		Size		slice = Min(len - *end, SLICE);

		root = json_tokener_parse_ex(tokener, text + *end, (int) slice);
		*end += json_tokener_get_parse_end(tokener);
		if (root == NULL &&
			json_tokener_get_error(tokener) != json_tokener_continue)
			break;
		CHECK_FOR_INTERRUPTS();
	}
	return root;
}

/* NULL if the text is not one whole JSON document. */
static struct json_object *
parse(Owner *owner, const char *text, Size len)
{
	struct json_object *root;
	Size		end;

	owner->tokener = json_tokener_new_ex(MAX_DEPTH);
	if (owner->tokener == NULL)
		return NULL;
	if (can_be_strict(text, len))
		json_tokener_set_flags(owner->tokener, JSON_TOKENER_STRICT |
							   JSON_TOKENER_ALLOW_TRAILING_CHARS);
	root = parse_slices(owner->tokener, text, len, &end);
	if (root != NULL && !only_blanks(text + end, len - end))
	{
		json_object_put(root);
		root = NULL;
	}
	json_tokener_free(owner->tokener);
	owner->tokener = NULL;
	return root;
}

Json *
json_read(const char *text, Size len)
{
	Owner	   *owner;
	const char *clean;
	JsonKind	kind;

	if (len > INT_MAX)
		return NULL;
	owner = create_owner();
	clean = without_nuls(text, &len);
	owner->root = parse(owner, clean, len);
	if (clean != text)
		pfree(unconstify(char *, clean));
	kind = json_kind((Json *) owner->root);
	if (kind != JSON_IS_OBJECT && kind != JSON_IS_ARRAY)
		return NULL;
	return (Json *) owner->root;
}

Json *
json_hold(Json *node)
{
	Owner	   *owner = create_owner();

	owner->root = json_object_get(node_object(node));
	return (Json *) owner->root;
}

JsonKind
json_kind(const Json *node)
{
	switch (json_object_get_type(node_object(node)))
	{
		case json_type_boolean:
			return JSON_IS_BOOLEAN;
		case json_type_double:
		case json_type_int:
			return JSON_IS_NUMBER;
		case json_type_string:
			return JSON_IS_STRING;
		case json_type_array:
			return JSON_IS_ARRAY;
		case json_type_object:
			return JSON_IS_OBJECT;
		case json_type_null:
			break;
	}
	return JSON_IS_NULL;
}

bool
json_member(const Json *node, const char *key, Json **value)
{
	struct json_object *found = NULL;
	bool		present;

	present = json_kind(node) == JSON_IS_OBJECT &&
		json_object_object_get_ex(node_object(node), key, &found);
	*value = (Json *) found;
	return present;
}

Json *
json_get(const Json *node, const char *key)
{
	Json	   *value;

	(void) json_member(node, key, &value);
	return value;
}

int
json_count(const Json *node)
{
	if (json_kind(node) != JSON_IS_ARRAY)
		return 0;
	return (int) json_object_array_length(node_object(node));
}

Json *
json_item(const Json *node, int i)
{
	if (i < 0 || i >= json_count(node))
		return NULL;
	return (Json *) json_object_array_get_idx(node_object(node), i);
}

/*
 * json-c keeps the text of a double that it parsed, and gives it back here:
 * nothing is rounded on the way.
 */
const char *
json_text(const Json *node)
{
	int			style = JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE;
	const char *text;

	switch (json_kind(node))
	{
		case JSON_IS_NULL:
			return NULL;
		case JSON_IS_STRING:
			return json_object_get_string(node_object(node));
		default:
			text = json_object_to_json_string_ext(node_object(node), style);
			if (text == NULL)
				ereport(ERROR,
						(errcode(ERRCODE_OUT_OF_MEMORY),
						 errmsg("out of memory")));
			return text;
	}
}

char *
json_get_text(const Json *node, const char *key)
{
	const char *text = json_text(json_get(node, key));

	return text != NULL ? pstrdup(text) : NULL;
}

bool
json_get_bool(const Json *node, const char *key, bool otherwise)
{
	Json	   *value = json_get(node, key);

	if (json_kind(value) != JSON_IS_BOOLEAN)
		return otherwise;
	return json_object_get_boolean(node_object(value));
}

int64
json_get_int(const Json *node, const char *key, int64 otherwise)
{
	Json	   *value = json_get(node, key);

	if (json_kind(value) != JSON_IS_NUMBER)
		return otherwise;
	return json_object_get_int64(node_object(value));
}

/* The iterator holds no memory, so visit may raise an error. */
void
json_visit(const Json *node, JsonVisit visit, void *arg)
{
	struct json_object_iterator at;
	struct json_object_iterator end;

	if (json_kind(node) != JSON_IS_OBJECT)
		return;
	at = json_object_iter_begin(node_object(node));
	end = json_object_iter_end(node_object(node));
	while (!json_object_iter_equal(&at, &end))
	{
		visit(json_object_iter_peek_name(&at),
			  (Json *) json_object_iter_peek_value(&at), arg);
		json_object_iter_next(&at);
	}
}

static void
remove_below(const char *key, Json *value, void *arg)
{
	json_remove(value, (const char *) arg);
}

void
json_remove(Json *node, const char *key)
{
	int			i;

	for (i = 0; i < json_count(node); i++)
		json_remove(json_item(node, i), key);
	if (json_kind(node) != JSON_IS_OBJECT)
		return;
	json_object_object_del(node_object(node), key);
	json_visit(node, remove_below, unconstify(char *, key));
}

void
json_append_string(StringInfo buf, const char *text)
{
	escape_json(buf, text);
}
