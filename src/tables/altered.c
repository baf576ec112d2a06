/*-------------------------------------------------------------------------
 *
 * altered.c
 *	  Which tables may have been altered since they were looked at.
 *
 * What owners do to columns, triggers, rules and partitions must be noticed by
 * the next cycle, and is rare.  To look at every table in every cycle costs more
 * than all else that an idle cycle does.  All of that sends an invalidation of
 * the table's relcache entry to every process, and no transaction begins before it
 * has taken what was sent; so a table without one is as it was.
 *
 * Only for this process, which looks once at everything when it starts.
 *
 * Copyright (c) 2026, the sync authors
 *
 *-------------------------------------------------------------------------
 */
#include "postgres.h"

#include "utils/hsearch.h"
#include "utils/inval.h"

#include "compat.h"
#include "tables/altered.h"
#include "tables/catalog.h"

typedef struct Looked
{
	Oid			relid;			/* the key: a synced table or a partition of it */
	Oid			table;			/* the synced table */
	int			running;		/* looks that no change came after, yet */
	int			well;			/* those of them that found nothing to do */
} Looked;

static HTAB *looked = NULL;
static Oid	object_relid = InvalidOid;	/* sync.object: see catalog_changed */

static Looked *
find_looked(Oid relid)
{
	return hash_search(looked, &relid, HASH_FIND, NULL);
}

static void
forget(Looked *entry)
{
	if (entry)
		entry->running = entry->well = 0;
}

/* Runs where nothing can be looked up. */
static void
note_altered(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS status;
	Looked	   *entry;

	if (OidIsValid(relid) && relid != object_relid)
	{
		entry = find_looked(relid);
		if (entry)
			forget(find_looked(entry->table));
		forget(entry);
		return;
	}
	hash_seq_init(&status, looked);
	while ((entry = hash_seq_search(&status)) != NULL)
		forget(entry);
}

static void
start_noting(void)
{
	HASHCTL		ctl;

	memset(&ctl, 0, sizeof(ctl));
	ctl.keysize = sizeof(Oid);
	ctl.entrysize = sizeof(Looked);
	looked = hash_create("sync tables looked at", 64, &ctl,
						 HASH_ELEM | HASH_BLOBS);
	CacheRegisterRelcacheCallback(note_altered, (Datum) 0);
}

static Looked *
enter(Oid relid, Oid table)
{
	bool		found;
	Looked	   *entry = hash_search(looked, &relid, HASH_ENTER, &found);

	if (!found)
		forget(entry);
	entry->table = table;
	return entry;
}

bool
altered_since_look(Oid relid, int look)
{
	Looked	   *entry = looked ? find_looked(relid) : NULL;

	return entry == NULL || (entry->well & look) == 0;
}

void
altered_look_begins(Oid relid, int look)
{
	Looked	   *entry;

	if (looked == NULL)
		start_noting();
	object_relid = catalog_object_table();
	entry = enter(relid, relid);
	entry->running |= look;
	entry->well &= ~look;
}

void
altered_look_part(Oid part, Oid relid)
{
	if (looked != NULL && part != relid)
		(void) enter(part, relid);
}

void
altered_look_is_well(Oid relid, int look)
{
	Looked	   *entry = looked ? find_looked(relid) : NULL;

	if (entry)
		entry->well |= entry->running & look;
}
