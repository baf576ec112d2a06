/*-------------------------------------------------------------------------
 *
 * fuzz.h
 *	  What the files of the fuzzing module share.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_FUZZ_H
#define SYNC_FUZZ_H

#include "api.h"

/*
 * One kind of foreign bytes.  run decodes one input, in a memory context that
 * is reset afterwards; it may raise any error but an internal one.  data is
 * exactly size bytes long.
 */
typedef struct FuzzTarget
{
	const char *name;
	void		(*run) (const char *data, Size size);
} FuzzTarget;

extern const FuzzTarget small_targets[];
extern const FuzzTarget answer_targets[];

/* What must hold whatever comes: otherwise the input counts as a crash. */
#define fuzz_require(condition) \
	do { \
		if (!(condition)) \
			fuzz_failed(#condition, __FILE__, __LINE__); \
	} while (0)

pg_noreturn extern void fuzz_failed(const char *what, const char *file,
									int line);

/* The input as a string. */
extern char *fuzz_string(const char *data, Size size);

/*
 * A client whose answers are in the input (canned.c): a status, header lines
 * and a body, or a body alone.
 */
#define FUZZ_INSTANCE "https://acme.my.salesforce.com"
extern HttpClient *canned_client(const char *data, Size size);

#endif							/* SYNC_FUZZ_H */
