/*-------------------------------------------------------------------------
 *
 * watch.h
 *	  Whether a synced table still has the triggers that it was given.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_WATCH_H
#define SYNC_WATCH_H

/*
 * watch_missing: what is missing or switched off, and which rules write past
 * it, as one text; NULL if all is well.  live: whether the first copy is done.
 *
 * watch_drop_strays: triggers go that call our functions by other names: ours
 * that were renamed, and copies.
 *
 * watch_complete: partitions that were made or attached since get the triggers
 * that they do not inherit.
 */
extern char *watch_missing(Oid relid, bool takes_writes, bool live);
extern void watch_drop_strays(Oid relid);
extern void watch_complete(Oid relid, bool takes_writes);

#endif							/* SYNC_WATCH_H */
