"""The figures of the way out, from local writes to the org."""

import statistics

import capture
import outgoing
import tables

SERVER = "out"
PARTS = "capture commit calls latency cpu"

# A disk's fsync takes now 0.2 ms, now 2: many short runs in turn.
COMMIT_SECONDS = 2
COMMIT_RUNS = 25

LATENCIES = 400
CPU_ROWS = 20000

# A lead in 25 is converted, and takes no change.
LEADS = 104200


def median(values):
    return statistics.median(list(values))


def spread(values):
    values = list(values)
    return f"{min(values):.2f}-{max(values):.2f}"


def ratios_of(found, clock):
    """Of each run: with capture to without, and the part that capture adds of
    what the other trigger adds (None without hstore)."""
    for run in found:
        ours, plain = run["ours"][clock], run["plain"][clock]
        audit = run["hstore"][clock] if "hstore" in run else None
        yield ours / plain, audit and (ours - plain) / (audit - plain)


def capture_figures(bench, runs):
    found = capture.updates(bench.db, SERVER, runs)
    rows = int(bench.db.value(f"SELECT count(*) FROM {SERVER}.lead"))
    ratios, parts = zip(*ratios_of(found, 1))
    cpu_ratios, cpu_parts = zip(*ratios_of(found, 0))
    times = {side: f"{median(run[side][1] for run in found):.2f} s" for side in found[0]}
    bench.row(f"UPDATE of {rows:,} rows, one column of 40, with capture", times["ours"])
    bench.row("... without any trigger", times["plain"])
    bench.row("... ratio", f"{median(ratios):.2f} ({spread(ratios)})", "<= 1.6",
              median(ratios) <= 1.6)
    bench.row("... ratio of CPU time", f"{median(cpu_ratios):.2f} ({spread(cpu_ratios)})")
    if "hstore" not in times:
        bench.row("... with a trigger of PL/pgSQL and hstore",
                  "not measured: no hstore", "<= 0.25", False)
        return
    bench.row("... with a trigger of PL/pgSQL and hstore", times["hstore"])
    bench.row("... added by capture, of what that adds",
              f"{median(parts):.2f} ({spread(parts)})", "<= 0.25", median(parts) <= 0.25)
    bench.row("... the same in CPU time", f"{median(cpu_parts):.2f} ({spread(cpu_parts)})")


def commit_figures(bench, runs):
    found = capture.commits(bench.db, SERVER, runs, COMMIT_SECONDS)
    ratios = [run["ours"] / run["plain"] for run in found]
    bench.row("commit of a single-row UPDATE with capture",
              f"{median(run['ours'] for run in found):.3f} ms")
    bench.row("... without any trigger", f"{median(run['plain'] for run in found):.3f} ms")
    bench.row("... ratio", f"{median(ratios):.2f} ({spread(ratios)})", "<= 1.15",
              median(ratios) <= 1.15)


def call_figures(bench, runs):
    for rows, most in ((1000, 6), (100000, 40)):
        found = [outgoing.calls(bench.db, bench.orgs[SERVER], SERVER, rows,
                                f"Calls {rows} {run}") for run in range(runs)]
        calls = median(run[0] for run in found)
        bench.row(f"API calls for {rows:,} changed rows", f"{calls:.0f}",
                  f"<= {most}", calls <= most)
        bench.row("... all of them in the org after",
                  f"{median(run[1] for run in found):.1f} s")


def high(times):
    return times[int(len(times) * 0.99)]


def latency_figures(bench, seed):
    found = outgoing.latencies(bench.db, bench.orgs[SERVER], SERVER, LATENCIES, seed)
    first, again = (sorted(run[0] * 1000 for run in turn) for turn in found)
    own = median(run[1] * 1000 for run in found[0])
    bench.row(f"commit to changed record, median of {len(first)}",
              f"{median(first):.1f} ms, {own:.1f} the org's", "<= 30 ms", median(first) <= 30)
    bench.row("... 99th percentile", f"{high(first):.1f} ms", "<= 150 ms", high(first) <= 150)
    bench.row("... a row that was pushed since the last cycle",
              f"{median(again):.1f} ms, 99th {high(again):.1f} ms")


def cpu_figures(bench, runs):
    found = [outgoing.cpu_per_row(bench.db, bench.orgs[SERVER], SERVER, CPU_ROWS,
                                  f"CPU {run}") for run in range(runs)]
    cpu = [run[0] for run in found]
    bench.row(f"CPU of the worker per row, {CPU_ROWS:,} by Collections",
              f"{median(cpu):.1f} us ({spread(cpu)})", "<= 20 us", median(cpu) <= 20)
    bench.row("... rows per second", f"{median(run[1] for run in found):,.0f}")


def enable(db):
    db.run(f"""
        BEGIN;
        SELECT sync.enable('{SERVER}', ARRAY['Lead']);
        SELECT sync.set('{SERVER}', 'Lead', 'fields', '{", ".join(tables.FIELDS)}');
        SELECT sync.set('{SERVER}', 'Lead', 'where', 'IsConverted = false');
        COMMIT;""")


def figures(bench, only, runs, seed):
    """The server is paused while the writers' side is measured."""
    bench.start(SERVER)
    enable(bench.db)
    tables.wait_live(bench.db, SERVER)
    if only & {"capture", "commit"}:
        bench.db.run(f"SELECT sync.pause('{SERVER}')")
        capture.prepare(bench.db, SERVER)
    if "capture" in only:
        capture_figures(bench, max(runs, 5))
    if "commit" in only:
        commit_figures(bench, max(runs, COMMIT_RUNS))
    if only & {"capture", "commit"}:
        capture.end(bench.db, SERVER)
    if "calls" in only:
        call_figures(bench, runs)
    if "latency" in only:
        latency_figures(bench, seed)
    if "cpu" in only:
        cpu_figures(bench, runs)
