/*-------------------------------------------------------------------------
 *
 * chain.c
 *	  A chain of pages: see chain.h.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "chain.h"
#include "text.h"
#include "origin.h"

void
chain_step(Chain *chain, const char *place)
{
	if (chain->place != NULL && strcmp(chain->place, place) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_CARDINALITY_VIOLATION),
				 errmsg("result of Salesforce does not go on"),
				 errdetail("It comes back to the page at \"%s\".",
						   foreign_text(place))));
	if (chain->steps++ < chain->limit)
		return;
	chain->place = pstrdup(place);
	chain->limit = chain->limit > 0 ? chain->limit * 2 : 1;
	chain->steps = 0;
}
