/*-------------------------------------------------------------------------
 *
 * attempt.c
 *	  Finding the rows that PostgreSQL will not take among many that it will.
 *
 * One bad row must stop only itself.  A subtransaction per row would cost more
 * than the row, so many rows share one, and only when it fails are they halved
 * around the row at fault: as good as free when there is none, and a handful
 * of repetitions for each that there is.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "access/xact.h"
#include "miscadmin.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#include "tables/attempt.h"
#include "tables/blocker.h"

/* Where locks are looked for one by one. */
#define SHORT_LOCK_TIMEOUT	"100ms"

/*
 * Can a single row be the cause?  Not what says that something is wrong with
 * the table, the database, the connection or the server, and would be so for
 * every row, or that it is worth another try as a whole.  All else is: data
 * exceptions (22), violated constraints (23), values too long for an index
 * (54), and whatever SQLSTATE a user's trigger may choose to raise.
 */
static bool
is_fault_of_a_row(const ErrorData *error)
{
	switch (ERRCODE_TO_CATEGORY(error->sqlerrcode))
	{
		case ERRCODE_CONNECTION_EXCEPTION:
		case ERRCODE_FEATURE_NOT_SUPPORTED:
		case ERRCODE_INVALID_CURSOR_STATE:
		case ERRCODE_INVALID_TRANSACTION_STATE:
		case ERRCODE_INVALID_SQL_STATEMENT_NAME:
		case ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION:
		case ERRCODE_DEPENDENT_PRIVILEGE_DESCRIPTORS_STILL_EXIST:
		case ERRCODE_INVALID_TRANSACTION_TERMINATION:
		case ERRCODE_INVALID_CURSOR_NAME:
		case ERRCODE_SAVEPOINT_EXCEPTION:
		case ERRCODE_INVALID_CATALOG_NAME:
		case ERRCODE_INVALID_SCHEMA_NAME:
		case ERRCODE_TRANSACTION_ROLLBACK:
		case ERRCODE_SYNTAX_ERROR_OR_ACCESS_RULE_VIOLATION:
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE:
		case ERRCODE_OPERATOR_INTERVENTION:
		case ERRCODE_SYSTEM_ERROR:
		case ERRCODE_CONFIG_FILE_ERROR:
		case ERRCODE_FDW_ERROR:
		case ERRCODE_INTERNAL_ERROR:
			return false;
		default:
			return true;
	}
}

ErrorData *
attempt_any(void (*body) (void *arg), void *arg)
{
	MemoryContext caller = CurrentMemoryContext;
	MemoryContext work = AllocSetContextCreate(caller, "sync attempt",
											   ALLOCSET_DEFAULT_SIZES);
	ResourceOwner owner = CurrentResourceOwner;
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(work);
	PG_TRY();
	{
		body(arg);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	CurrentResourceOwner = owner;
	MemoryContextDelete(work);
	return error;
}

ErrorData *
attempt(void (*body) (void *arg), void *arg)
{
	ErrorData  *error = attempt_any(body, arg);

	if (error != NULL && !is_fault_of_a_row(error))
		ReThrowError(error);
	return error;
}

bool
is_interrupt(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_QUERY_CANCELED &&
		error->funcname != NULL &&
		(strcmp(error->funcname, "ProcessInterrupts") == 0 ||
		 strcmp(error->funcname, "heed_leave") == 0);
}

bool
is_contention(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
		error->sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED ||
		error->sqlerrcode == ERRCODE_T_R_SERIALIZATION_FAILURE;
}

ErrorData *
attempt_contended(void (*body) (void *arg), void *arg)
{
	ErrorData  *error = attempt_any(body, arg);

	if (error != NULL && !is_fault_of_a_row(error) && !is_contention(error))
		ReThrowError(error);
	return error;
}

/* Only in workers, which wait for a second otherwise; a user's patience is his. */
int
patience_begin(void)
{
	int			level = NewGUCNestLevel();

	(void) set_config_option("lock_timeout", SHORT_LOCK_TIMEOUT, PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	blocker_watch_closely(true);
	return level;
}

void
patience_end(int guc_level)
{
	blocker_watch_closely(false);
	AtEOXact_GUC(false, guc_level);
}

/* Whether the error is one of a row, as far as this bisection is concerned. */
static bool
is_of_a_row(const Bisection *how, const ErrorData *error)
{
	return is_fault_of_a_row(error) ||
		(is_contention(error) && how->give_up > GetCurrentTimestamp());
}

typedef struct Range
{
	const Bisection *how;
	int			first;
	int			last;
} Range;

static void
apply_range(void *arg)
{
	Range	   *range = arg;

	range->how->apply(range->how->arg, range->first, range->last);
}

void
bisect(const Bisection *how, int first, int last)
{
	Range		range;
	ErrorData  *error;
	int			middle = first + (last - first) / 2;

	CHECK_FOR_INTERRUPTS();
	if (first >= last)
		return;

	range.how = how;
	range.first = first;
	range.last = last;
	error = attempt_any(apply_range, &range);
	if (error == NULL)
		return;
	if (!is_of_a_row(how, error))
		ReThrowError(error);

	if (last - first == 1)
		how->refuse(how->arg, first, error);
	FreeErrorData(error);
	if (last - first > 1)
	{
		bisect(how, first, middle);
		bisect(how, middle, last);
	}
}
