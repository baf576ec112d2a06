/*-------------------------------------------------------------------------
 *
 * evolve.h
 *	  Following changes of the org's schema.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_EVOLVE_H
#define SYNC_EVOLVE_H

#include "login.h"
#include "tables/catalog.h"

/* Seconds between two readings of an object's describe (GUC). */
extern int	evolve_interval;

/*
 * evolve_due: the objects whose describe should be read again, after those that
 * certainly have not changed were told from them by one call.
 *
 * evolve_object: reads it, if it changed (and now and then in full), and makes
 * the table follow: new fields become columns and are filled by the next pull,
 * fields that are gone or hidden are no longer asked for (their columns and
 * values stay), a field that became another type gets a column of that type.
 * Returns how many fields came, went or changed.
 */
extern List *evolve_due(Org *org, List *objects);
extern int	evolve_object(Org *org, SyncObject *object);

/*
 * What an administrator chose, in a backend.
 *
 * evolve_choose_fields: after object->only_fields or exclude were set: columns
 * of fields that are no longer wanted are dropped, new ones added; a name that
 * does not exist is an ERROR.
 *
 * evolve_filter_changed: after the filter was set: all rows are read again.
 */
extern void evolve_choose_fields(Org *org, SyncObject *object);
extern void evolve_filter_changed(SyncObject *object);

#endif							/* SYNC_EVOLVE_H */
