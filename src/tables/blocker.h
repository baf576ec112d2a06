/*-------------------------------------------------------------------------
 *
 * blocker.h
 *	  Who holds the lock that something of ours waited for in vain.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_BLOCKER_H
#define SYNC_BLOCKER_H

#include "storage/lockdefs.h"

/*
 * blocker_of_table: the process id of somebody who holds a lock on a table that
 * conflicts with mode; 0 if nobody does.
 *
 * blocker_of_row: the same for the row with this id, which has been locked,
 * updated or deleted by a transaction that is still open.
 *
 * blocker_check_table: ERRCODE_LOCK_NOT_AVAILABLE, naming the process, if a lock
 * on the table cannot be had at once.  The lock is kept till the transaction ends.
 *
 * blocker_of_wait: who has the lock that this process waited for last, of
 * whatever kind it was, and if it was a table's, of which; 0 if that is not known
 * or no longer so.  For whoever has caught the error of such a wait.  Known is
 * what was waited for between blocker_watch and blocker_unwatch; closely: also
 * where locks are waited for briefly (patience_begin).
 */
extern int	blocker_of_table(Oid relid, LOCKMODE mode);
extern int	blocker_of_row(Oid relid, const char *id);
extern void blocker_check_table(Oid relid, LOCKMODE mode);
extern int	blocker_of_wait(Oid *table);
extern void blocker_watch(void);
extern void blocker_unwatch(void);
extern void blocker_watch_closely(bool closely);

#endif							/* SYNC_BLOCKER_H */
