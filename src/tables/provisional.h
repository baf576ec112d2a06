/*-------------------------------------------------------------------------
 *
 * provisional.h
 *	  Ids and numbers of rows that exist only here so far.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#ifndef SYNC_PROVISIONAL_H
#define SYNC_PROVISIONAL_H

/*
 * Rows that exist only here so far have ids of this form: the character and a
 * number.  No Salesforce id contains it.
 */
#define PROVISIONAL_MARK	'~'

/* Room for any id: 18 characters, or the mark, 19 digits and a NUL. */
#define SYNC_ID_SPACE	24

/*
 * provisional_is: whether an id has the form.
 *
 * provisional_is_new: whether it was drawn in this transaction by the default
 * of the column, as the id of a new row must be: any other one stands, or will
 * stand, for another row.
 *
 * provisional_refuse: the error for any other id in a new row of relid.
 *
 * provisional_go_on: numbers that are drawn from now on are larger than those
 * that the table has.  It may be older than the extension, which may have been
 * dropped and created again.
 */
extern bool provisional_is(const char *id);
extern bool provisional_is_new(const char *id);
extern void provisional_refuse(Oid relid, const char *id);
extern void provisional_go_on(Oid relid);

#endif							/* SYNC_PROVISIONAL_H */
