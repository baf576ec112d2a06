/*-------------------------------------------------------------------------
 *
 * identity.h
 *	  From provisional ids to Salesforce's.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_IDENTITY_H
#define SYNC_IDENTITY_H

#include "datatype/timestamp.h"

#include "load.h"

/*
 * identity_given: remembers what provisional ids have become (parallel lists
 * of char *); from then on nothing creates these rows again.
 *
 * identity_replace: gives the rows of the tables of a server their ids: row,
 * every reference to it from a synced table, and its changes in the outbox, in
 * this transaction.  A row that came in from Salesforce under the same id
 * meanwhile makes way: the local one has been there first, and applications
 * hold its local_id.  A row that something refuses (a user's foreign key
 * without ON UPDATE CASCADE) is left for the next time and appended to
 * *refused, one that somebody has locked is left, too; others go on.  Returns
 * how many are left.
 *
 * identity_is_waiting: whether any are.
 *
 * identity_known: the ids of provisional ids as far as there are any: a list
 * of char * parallel to provisional, NULL for none.
 *
 * identity_refer: rows (List of char *) whose column refers to provisional ids
 * (parallel) that have been replaced already refer to the ids instead: they were
 * committed after their parents had got them.
 *
 * identity_revert: columns of a row that Salesforce does not know get the values
 * back that a change of it (JSON, as in the outbox) has taken from them.
 *
 * identity_drop: deletes a row that Salesforce does not know.
 *
 * identity_settled: of the ids those that no row has yet to take.
 *
 * identity_taken: the provisional ids that ids were given to, likewise.
 *
 * identity_waiting: takes rows that are to be replaced yet out of a stage:
 * they are in the table under their provisional ids.
 *
 * identity_doubtful: the same for what may be the records of rows whose creation
 * is in doubt: those that the table does not have and that the user (NULL: any)
 * created since.  Returns how many.
 */
extern void identity_given(Oid relid, List *provisional, List *ids);
extern int	identity_replace(const char *server, List **refused);
extern bool identity_is_waiting(const char *server);
extern List *identity_known(List *provisional);
extern List *identity_settled(List *ids);
extern List *identity_taken(List *ids);
extern void identity_refer(Oid relid, const char *column, List *rows,
						   List *provisional, List *ids);
extern void identity_revert(Oid relid, const char *id, List *columns,
							const char *changes);
extern void identity_drop(Oid relid, const char *provisional);
extern void identity_waiting(Oid relid, Oid stage);
extern int64 identity_doubtful(Oid relid, Oid stage, const char *user,
							   TimestampTz since);

#endif							/* SYNC_IDENTITY_H */
