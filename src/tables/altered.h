/*-------------------------------------------------------------------------
 *
 * altered.h
 *	  Which tables may have been altered since they were looked at.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_ALTERED_H
#define SYNC_ALTERED_H

/* What is looked at; bits. */
#define LOOK_COLUMNS	0x01
#define LOOK_TRIGGERS	0x02

/*
 * altered_since_look: whether a table, or what is synced, may have changed since
 * a look at it that found nothing to do.  True for what was never looked at.
 *
 * altered_look_begins: what is altered from here on will not have been seen.  In
 * a transaction, before anything is read; what is read then must be as it is now,
 * not as in an earlier snapshot.
 *
 * altered_look_part: the look covers this partition, too.  Before it is opened.
 *
 * altered_look_is_well: the look is over, its transaction has committed, and there
 * was nothing to do.
 */
extern bool altered_since_look(Oid relid, int look);
extern void altered_look_begins(Oid relid, int look);
extern void altered_look_part(Oid part, Oid relid);
extern void altered_look_is_well(Oid relid, int look);

#endif							/* SYNC_ALTERED_H */
