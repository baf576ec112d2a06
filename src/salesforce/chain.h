/*-------------------------------------------------------------------------
 *
 * chain.h
 *	  A chain of pages, each of which names the next: it must come to an end.
 *
 * A proxy or a fault may lead back to a page that was read already, and the rows
 * would come for ever.  Brent's method (R. P. Brent, An improved Monte Carlo
 * factorization algorithm, BIT 20, 1980) notices a circle of any length with one
 * place kept in mind.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_CHAIN_H
#define SYNC_CHAIN_H

typedef struct Chain
{
	char	   *place;			/* where it was once; NULL = not begun */
	int64		steps;			/* since then */
	int64		limit;			/* after so many another place is kept */
} Chain;

/*
 * chain_step: the next page is at this place (a locator, an address, an id).
 * ERRCODE_CARDINALITY_VIOLATION if it was there before.  What is kept lives in
 * CurrentMemoryContext.
 */
extern void chain_step(Chain *chain, const char *place);

#endif							/* SYNC_CHAIN_H */
