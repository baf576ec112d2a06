/*-------------------------------------------------------------------------
 *
 * fuzz.c
 *	  libFuzzer inside a server process, where palloc and ereport work.
 *
 * SELECT fuzz('json', '{-runs=1000,corpus/json}') does not return: libFuzzer
 * ends the process, with 0 if nothing was found.  Meant for postgres --single,
 * which nobody else sends signals to.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include <stdio.h>
#include <stdlib.h>

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "fuzz.h"

PG_MODULE_MAGIC;

extern int	LLVMFuzzerRunDriver(int *argc, char ***argv,
								int (*run) (const uint8_t *data, size_t size));

static const FuzzTarget *target;
static MemoryContext work;

void
fuzz_failed(const char *what, const char *file, int line)
{
	fprintf(stderr, "does not hold: %s (%s:%d)\n", what, file, line);
	abort();
}

char *
fuzz_string(const char *data, Size size)
{
	char	   *text = palloc(size + 1);

	memcpy(text, data, size);
	text[size] = '\0';
	return text;
}

/*
 * In a PG_CATCH.  Errors are what odd input should end in, but not all: an
 * internal error is one that nobody thought of, and memory that runs out here
 * is a length that was believed.
 */
static void
judge_error(void)
{
	int			category = ERRCODE_TO_CATEGORY(geterrcode());
	ErrorData  *error;

	if (category != ERRCODE_TO_CATEGORY(ERRCODE_INTERNAL_ERROR) &&
		geterrcode() != ERRCODE_OUT_OF_MEMORY)
		return;
	error = CopyErrorData();
	fprintf(stderr, "%s: %s (%s:%d)\n", unpack_sql_state(error->sqlerrcode),
			error->message, error->filename, error->lineno);
	abort();
}

static int
one_input(const uint8_t *data, size_t size)
{
	MemoryContext caller = MemoryContextSwitchTo(work);

	PG_TRY();
	{
		target->run((const char *) data, size);
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(work);
		judge_error();
		FlushErrorState();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	MemoryContextReset(work);
	return 0;
}

static const FuzzTarget *
find_target(const FuzzTarget *targets, const char *name)
{
	for (; targets->name != NULL; targets++)
		if (strcmp(targets->name, name) == 0)
			return targets;
	return NULL;
}

/* libFuzzer's arguments, as main would have got them. */
static char **
make_argv(ArrayType *args, int *argc)
{
	Datum	   *items;
	char	  **argv;
	int			n;
	int			i;

	deconstruct_array(args, TEXTOID, -1, false, TYPALIGN_INT, &items, NULL,
					  &n);
	argv = palloc0((n + 2) * sizeof(char *));
	argv[0] = pstrdup("fuzz");
	for (i = 0; i < n; i++)
		argv[i + 1] = TextDatumGetCString(items[i]);
	*argc = n + 1;
	return argv;
}

PG_FUNCTION_INFO_V1(fuzz);
PGDLLEXPORT Datum fuzz(PG_FUNCTION_ARGS);

Datum
fuzz(PG_FUNCTION_ARGS)
{
	char	   *name = text_to_cstring(PG_GETARG_TEXT_PP(0));
	int			argc;
	char	  **argv = make_argv(PG_GETARG_ARRAYTYPE_P(1), &argc);

	target = find_target(small_targets, name);
	if (target == NULL)
		target = find_target(answer_targets, name);
	if (target == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there is no target \"%s\"", name)));
	work = AllocSetContextCreate(TopMemoryContext, "fuzz",
								 ALLOCSET_DEFAULT_SIZES);
	PG_RETURN_INT32(LLVMFuzzerRunDriver(&argc, &argv, one_input));
}

/* The names of all targets, one a line. */
PG_FUNCTION_INFO_V1(fuzz_targets);
PGDLLEXPORT Datum fuzz_targets(PG_FUNCTION_ARGS);

Datum
fuzz_targets(PG_FUNCTION_ARGS)
{
	const FuzzTarget *next;
	StringInfoData names;

	initStringInfo(&names);
	for (next = small_targets; next->name != NULL; next++)
		appendStringInfo(&names, "%s ", next->name);
	for (next = answer_targets; next->name != NULL; next++)
		appendStringInfo(&names, "%s ", next->name);
	PG_RETURN_TEXT_P(cstring_to_text(names.data));
}
