/*-------------------------------------------------------------------------
 *
 * origin.h
 *	  Telling the org's errors from all others.
 *
 * A login that fails, or an allowance that is used up, concerns all objects.  The
 * SQLSTATE does not say so: a user's trigger that fires for our writes may raise
 * any.  What no SQL can choose is the message domain of the code that raises.  So
 * each file that raises errors of the org's includes this, after all others.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_ORIGIN_H
#define SYNC_ORIGIN_H

#define ORG_DOMAIN		"sync_org"

#undef TEXTDOMAIN
#define TEXTDOMAIN		ORG_DOMAIN

#endif							/* SYNC_ORIGIN_H */
