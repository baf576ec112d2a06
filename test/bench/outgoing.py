"""What it takes to bring local changes to the org: calls, time, the worker's CPU."""

import random
import subprocess
import time

import cycles
import procfs
import tables


def wait_sent(db, server):
    """Until the outbox is empty, and what the worker does after that is over."""
    until = time.monotonic() + tables.PATIENCE
    pid = cycles.worker_pid(db, server)
    while db.value(f"""
            SELECT (SELECT count(*) FROM sync.change) +
                   (SELECT count(*) FROM pg_stat_activity
                     WHERE pid = {pid} AND state <> 'idle')""") != "0":
        if time.monotonic() > until:
            raise SystemExit(db.run("TABLE sync.status;"))
        if db.value("SELECT count(*) FROM sync.failures") != "0":
            raise SystemExit(db.run("TABLE sync.failures LIMIT 5;"))
        time.sleep(0.05)


def read_back(db, server):
    """What was pushed comes back with its new stamps, as it does in each cycle.
    Until then a row that is changed again is looked at more closely.  And what
    autovacuum would have done within a minute is done (here it is off)."""
    wait_sent(db, server)
    db.run(f"SELECT count(*) FROM sync.now('{server}', 'Lead');"
           f"VACUUM {server}.lead; VACUUM sync.change;")


def change(db, server, rows, value):
    db.run(f"""UPDATE {server}.lead SET title = '{value}' WHERE id IN
               (SELECT id FROM {server}.lead ORDER BY id LIMIT {rows});""")


def check_arrived(org, rows, value):
    there = org.get(f"/count?object=Lead&where=Title%20%3D%20'{value.replace(' ', '%20')}'")
    if there["count"] != rows:
        raise SystemExit(f"{there['count']} of {rows} rows are in the org")


def calls(db, org, server, rows, value):
    """-> API calls, seconds until all of the rows were in the org."""
    read_back(db, server)
    org.post("/calls/reset")
    began = time.monotonic()
    change(db, server, rows, value)
    wait_sent(db, server)
    took = time.monotonic() - began
    check_arrived(org, rows, value)
    return org.calls(), took


# From a commit to the record ---------------------------------------------

class Session:
    """One psql that stays, so that no process is started in between."""

    def __init__(self, db):
        self.process = subprocess.Popen(db.psql, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)

    def ask(self, sql):
        self.process.stdin.write(f"{sql};\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def is_write(answer):
    return answer.path.endswith("/composite/sobjects") and answer.method == "PATCH"


def wait_answer(org, after):
    """The first answer to a write that the org has given since then.  When it
    has answered it says so on its standard error, and the line is given its
    time when it is read here, so the figure holds that way, too."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        for answer in org.answers[after:]:
            if is_write(answer):
                if answer.status != 200:
                    raise SystemExit(f"the org answered {answer.status}")
                return answer
        time.sleep(0.001)
    raise SystemExit("a change did not reach the org")


def latency(session, org, server, record, value):
    """-> seconds from just before COMMIT is sent until the org has answered the
    call that changes the record, and the part of them that is the org's own."""
    seen = len(org.answers)
    session.ask(f"BEGIN; UPDATE {server}.lead SET title = '{value}'"
                f" WHERE id = '{record}'; SELECT 1")
    began = time.time()
    session.ask("COMMIT; SELECT 1")
    answer = wait_answer(org, seen)
    return (answer.time - began,
            sum(a.seconds for a in org.answers[seen:] if a.time <= answer.time))


def latencies(db, org, server, count, seed):
    """-> for each of some rows its latency; then the same for these rows again,
    before a cycle has read them back.  The worker has nothing to do before each,
    for 0.1 s at least."""
    rng = random.Random(seed)
    ids = [row[0] for row in db.rows(f"SELECT id FROM {server}.lead ORDER BY id")]
    records = rng.sample(ids, count)
    session = Session(db)
    found = []
    read_back(db, server)
    for turn in ("First", "Again"):
        times = []
        for record in records:
            time.sleep(rng.uniform(0.1, 0.2))
            times.append(latency(session, org, server, record, f"{turn} {record}"))
        found.append(times)
    session.close()
    wait_sent(db, server)
    check_arrived(org, 1, f"Again {records[-1]}")
    return found


# The worker's CPU --------------------------------------------------------

def cpu_per_row(db, org, server, rows, value):
    """-> microseconds of the worker's CPU, rows per second, through Collections."""
    db.run("ALTER SYSTEM SET sync.push_bulk_threshold = 1000000;"
           "SELECT pg_reload_conf();")
    read_back(db, server)
    pid = cycles.worker_pid(db, server)
    cpu = procfs.cpu_seconds(pid)
    began = time.monotonic()
    change(db, server, rows, value)
    wait_sent(db, server)
    took = time.monotonic() - began
    cpu = procfs.cpu_seconds(pid) - cpu
    check_arrived(org, rows, value)
    db.run("ALTER SYSTEM RESET sync.push_bulk_threshold; SELECT pg_reload_conf();")
    return cpu / rows * 1e6, rows / took
