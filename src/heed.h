/*-------------------------------------------------------------------------
 *
 * heed.h
 *	  Leaving what is waited for when the administrator says so.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_HEED_H
#define SYNC_HEED_H

/*
 * heed_server: from here on this process, a worker, leaves what it waits for
 * when the server is paused, stopped or dropped.
 * heed_copy: and, until heed_copy(InvalidOid), when this table is no longer
 * synced, or somebody waits for a lock on it while nothing comes.
 *
 * That is an error which is_interrupt knows.  heed_has_left tells it from a
 * cancel: it is no failure, and is recorded nowhere.
 */
struct ErrorData;

extern void heed_server(Oid serverid);
extern void heed_copy(Oid relid);
extern bool heed_has_left(const struct ErrorData *error);

#endif							/* SYNC_HEED_H */
