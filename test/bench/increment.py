"""Many changed rows by Bulk, against COPY and the same merge by hand."""

import threading

import procfs
import tables

CHANGED = 50000
# The first of them lie all over the first half of a million.
WHICH = "City = 'York'"


def values(run):
    return {"Title": "Run %d of {Id}" % run, "Rating": ("Hot", "Warm", "Cold")[run % 3]}


def ours(db, org, server):
    """-> seconds, CPU seconds of the process that pulls."""
    db.run("CHECKPOINT")
    call = threading.Thread(target=db.run, args=(f"SELECT sync.now('{server}', 'Lead')",))
    call.start()
    cpu = procfs.cpu_until_end(procfs.wait_for(db, "sync cycle"))
    call.join()
    began, ended, new, updated = tables.last_step(db, server, "Lead", "pull")
    if (new, updated) != (0, CHANGED):
        raise SystemExit(f"the pull wrote {new} + {updated} rows")
    return org.own_seconds(began, ended), cpu


def merge_statements(table, columns, file):
    """What tables/merge.c runs for rows that are all known: the stage by COPY,
    then what differs.  It leaves out INSERT and DELETE then, and so does this."""
    others = [name for name in columns if name != "id"]
    differs = " OR ".join(f't."{name}" IS DISTINCT FROM s."{name}"' for name in others)
    sets = ", ".join(f'"{name}" = s."{name}"' for name in others)
    names = ", ".join(f'"{name}"' for name in columns)
    return [
        "BEGIN",
        f"CREATE TEMPORARY TABLE stage AS SELECT {names} FROM {table} WITH NO DATA",
        tables.copy_statement("stage", columns, file),
        "COMMIT",
        "BEGIN",
        "ANALYZE stage (id)",
        f"""UPDATE {table} AS t SET {sets} FROM stage AS s
            WHERE t.id = s.id AND s.isdeleted IS NOT TRUE
            AND (s.systemmodstamp < t.systemmodstamp) IS NOT TRUE AND ({differs})""",
        "COMMIT",
    ]


def by_hand(db, table, columns, file):
    db.run("CHECKPOINT")
    cpu, seconds = db.cpu_and_seconds("SET work_mem = '64MB'", "SET jit = off",
                                      *merge_statements(table, columns, file))
    return seconds, cpu


def check_equal(db, server, columns):
    names = ", ".join(f'"{name}"' for name in columns)
    different = int(db.value(f"""
        SELECT count(*) FROM (SELECT {names} FROM {server}.lead
                       EXCEPT SELECT {names} FROM peer.lead) AS d"""))
    if different:
        raise SystemExit(f"{different} rows differ from the peer's")


def against_hand(db, org, server, runs):
    """The peer's table has the same rows, keys and indexes before each run.
    -> for each run ours and theirs, in seconds and in CPU seconds."""
    db.run(f"ANALYZE {server}.lead; ANALYZE peer.lead;")
    columns = tables.columns(db, server)
    found = []
    for run in range(runs):
        org.change(WHICH, CHANGED, **values(run))
        mine, my_cpu = ours(db, org, server)
        theirs, their_cpu = by_hand(db, "peer.lead", columns, org.newest_result())
        found.append((mine, theirs, my_cpu, their_cpu))
        org.age("Title LIKE 'Run %d of %%'" % run, CHANGED, **values(run))
    check_equal(db, server, columns)
    return found
