/*-------------------------------------------------------------------------
 *
 * functions.h
 *	  What the administration functions share with sync.check.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_FUNCTIONS_H
#define SYNC_FUNCTIONS_H

#include "nodes/pg_list.h"

/* The objects that sync.enable takes when none are named. */
extern List *default_object_names(void);

#endif							/* SYNC_FUNCTIONS_H */
