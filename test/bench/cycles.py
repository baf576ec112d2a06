"""Idle cycles, sync.now with nothing to do, and single changed rows."""

import random
import time

import procfs
import tables

IDLE_CYCLES = 200


def count_cycles(db, server):
    return int(db.value(f"""SELECT count(*) FROM sync.log
        WHERE server = '{server}' AND operation = 'ask'"""))


def worker_pid(db, server):
    return int(db.value(f"""SELECT w.pid FROM sync.worker w
        JOIN sync.server s USING (serverid) WHERE s.server = '{server}'"""))


def wait_cycles(db, server, upto):
    while count_cycles(db, server) < upto:
        time.sleep(0.5)


def idle(db, org, server, cycles=IDLE_CYCLES):
    """-> API calls and worker's CPU seconds of one cycle.

    The pause is short so that many cycles fit into a minute; what the process
    does between two of them, such as looking at its tables, counts.
    """
    db.run(f"ALTER SERVER {server} OPTIONS (SET interval '100 ms');"
           f"SELECT sync.resume('{server}');")
    wait_cycles(db, server, count_cycles(db, server) + 5)
    pid = worker_pid(db, server)
    org.post("/calls/reset")
    first = count_cycles(db, server)
    cpu = procfs.cpu_seconds(pid)
    wait_cycles(db, server, first + cycles)
    cpu = procfs.cpu_seconds(pid) - cpu
    calls = org.calls()
    done = count_cycles(db, server) - first
    db.run(f"ALTER SERVER {server} OPTIONS (SET interval '1 day');"
           f"SELECT sync.resume('{server}');")
    return calls / done, cpu / done


def now_seconds(db, server):
    return db.seconds(f"SELECT count(*) FROM sync.now('{server}')")


def one_row(db, org, server, lead):
    """-> the pull's own time and that of all of sync.now, with one new value."""
    title = "Row %d" % time.monotonic_ns()
    org.change(f"Id = '{lead}'", 1, Title=title)
    whole = db.seconds(f"SELECT count(*) FROM sync.now('{server}', 'Lead')")
    began, ended, _, updated = tables.last_step(db, server, "Lead", "pull")
    if updated != 1:
        raise SystemExit(f"{updated} rows changed instead of one")
    org.age(f"Id = '{lead}'", 1, Title=title)
    return ended - began, whole


def single_rows(db, places, runs, seed):
    """places: (org, server); each run changes one row in each of them.
    -> for each place a list of (pull, whole)."""
    rng = random.Random(seed)
    leads = {server: [row[0] for row in db.rows(
        f"SELECT id FROM {server}.lead ORDER BY id")]
        for _, server in places}
    found = {server: [] for _, server in places}
    for _, server in places:
        db.run(f"ANALYZE {server}.lead")
    for _ in range(runs):
        for org, server in places:
            found[server].append(one_row(db, org, server, rng.choice(leads[server])))
    return found
