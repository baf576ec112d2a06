"""Measures the figures that the README names, and prints them as a table.

usage: bench.py FOLDER BINDIR         (see test/bench/run)

Both sides of each ratio are measured in turn, in the same run; of the runs'
ratios and times the median counts.
"""

import os
import platform
import statistics
import sys
import time

import cycles
import first_copy
import increment
import tables
import way_out
from org import Org
from postgres import Postgres

RUNS = int(os.environ.get("BENCH_RUNS", "3"))
WAY_IN = "copy jsforce increment idle row"
ONLY = os.environ.get("BENCH_ONLY", f"{WAY_IN} {way_out.PARTS}").split()
LARGE = os.environ.get("BENCH_LARGE", "") not in ("", "0")
SEED = int(os.environ.get("BENCH_SEED", "7"))
SINGLE_ROWS = 41

FEW = {"contacts": 50, "accounts": 50, "opportunities": 50, "campaigns": 5,
       "members": 50, "tasks": 50, "events": 20, "machines": 5, "cases": 5}


class Bench:
    def __init__(self, work, bindir):
        self.work = work
        self.db = Postgres(work, bindir)
        self.orgs = {}
        self.report = []

    def start(self, *names):
        """Orgs, each a server of the same name with User synced."""
        sizes = {"small": 10000, "medium": 100000, "big": 1000000, "huge": 10000000,
                 way_out.SERVER: way_out.LEADS}
        for name in names:
            self.orgs[name] = Org(self.work, name, sizes[name], sys.executable, **FEW)
        for name in names:
            tables.create_server(self.db, self.orgs[name].wait(), name)
            self.db.run(f"SELECT sync.enable('{name}', ARRAY['User'])")
            tables.wait_live(self.db, name)

    def stop(self):
        for org in self.orgs.values():
            org.stop()
        self.db.stop()

    def row(self, what, measured, goal="", good=None):
        verdict = "" if good is None else "ok" if good else "missed"
        self.report.append((what, measured, goal, verdict))
        print(f"  {what}: {measured}  {goal}  {verdict}", flush=True)


def median(values):
    return statistics.median(list(values))


def spread(values):
    return f"{min(values):.2f}-{max(values):.2f}"


def memory_rows(bench, what, idle, largest):
    rows = largest["copying"] - idle
    bench.row(f"private memory above idle, {what}: rows",
              f"{rows:.1f} MiB ({largest['copying']:.1f} in all)", "<= 12 MiB", rows <= 12)
    if "indexing" in largest:
        bench.row(f"private memory above idle, {what}: key and indexes",
                  f"{largest['indexing'] - idle:.1f} MiB", "maintenance_work_mem, 64 MiB")


def copy_figures(bench):
    org = bench.orgs["big"]
    org.post("/calls/reset")
    watched = first_copy.watched_copy(bench.db, "big")
    bench.row("API calls of the first copy of 1 M Leads", f"{org.calls():.0f}")
    if "copy" in ONLY:
        memory_rows(bench, "1 M Leads", *watched)
        runs, rows = first_copy.against_file(bench.db, org, "big", RUNS)
        mine = median(r[0] for r in runs)
        ratios = [r[0] / r[1] for r in runs]
        cpu = [r[2] / r[3] for r in runs]
        bench.row(f"first copy, {rows:,} Leads, 40 columns, key, {{indexes}}".format(
            indexes=f"{len(tables.key_statements(bench.db, 'x', 'big.lead')) - 1} indexes"),
            f"{mine:.2f} s, {rows / mine:,.0f} rows/s")
        bench.row("... COPY of a local file, key and indexes",
                  f"{median(r[1] for r in runs):.2f} s")
        bench.row("... ratio", f"{median(ratios):.2f} ({spread(ratios)})",
                  "<= 1.10", median(ratios) <= 1.10)
        bench.row("... ratio of the CPU time of the two processes",
                  f"{median(cpu):.2f} ({spread(cpu)})")


def peer_for_increments(bench):
    """peer.lead equals big.lead, also where the runs of copies were left out."""
    db = bench.db
    if db.value("SELECT to_regclass('peer.lead') IS NULL") == "t":
        tables.create_peer(db, "peer.lead", "big.lead")
        keys = tables.key_statements(db, "peer.lead", "big.lead")
        db.run("INSERT INTO peer.lead TABLE big.lead;" + ";".join(keys))


def increment_figures(bench):
    peer_for_increments(bench)
    runs = increment.against_hand(bench.db, bench.orgs["big"], "big", RUNS)
    ratios = [r[0] / r[1] for r in runs]
    cpu = [r[2] / r[3] for r in runs]
    bench.row(f"increment, {increment.CHANGED:,} changed of 1 M, by Bulk",
              f"{median(r[0] for r in runs):.2f} s")
    bench.row("... COPY and the same merge by hand", f"{median(r[1] for r in runs):.2f} s")
    bench.row("... ratio", f"{median(ratios):.2f} ({spread(ratios)})", "<= 1.25",
              median(ratios) <= 1.25)
    bench.row("... ratio of the CPU time of the two processes",
              f"{median(cpu):.2f} ({spread(cpu)})")


def jsforce_figures(bench):
    if not first_copy.has_scripted_peer(bench.work):
        bench.row("100 k Leads by jsforce and pg", "not measured: no npm", ">= 50", False)
        return
    runs, rows = first_copy.against_scripted(
        bench.db, bench.orgs["medium"], "medium", bench.work, RUNS)
    ratios = [theirs / mine for mine, theirs in runs]
    bench.row(f"first copy, {rows:,} Leads, with key and indexes",
              f"{median(r[0] for r in runs):.2f} s")
    bench.row("... jsforce 3.6.6 into COPY by pg, without",
              f"{median(r[1] for r in runs):.1f} s, {rows / median(r[1] for r in runs):,.0f} rows/s")
    bench.row("... times faster", f"{median(ratios):.0f} ({min(ratios):.0f}-{max(ratios):.0f})",
              ">= 50", median(ratios) >= 50)


def idle_figures(bench):
    db, org = bench.db, bench.orgs["small"]
    tables.drop_leads(db, "small")
    org.post("/calls/reset")
    db.run("SELECT sync.enable('small')")
    tables.wait_live(db, "small")
    count = db.value("SELECT count(*) FROM sync.status WHERE server = 'small'")
    bench.row(f"API calls of the first copy, default set ({count} objects)", f"{org.calls():.0f}")
    runs = [cycles.idle(db, org, "small") for _ in range(RUNS)]
    calls, cpu = median(r[0] for r in runs), median(r[1] * 1000 for r in runs)
    bench.row("idle cycle, default set: API calls", f"{calls:.2f}", "1", calls <= 1.02)
    bench.row("idle cycle, default set: CPU of the worker",
              f"{cpu:.2f} ms ({spread([r[1] * 1000 for r in runs])})", "< 5 ms", cpu < 5)
    latency = median(cycles.now_seconds(db, "small") for _ in range(11)) * 1000
    bench.row("sync.now of the default set, nothing new", f"{latency:.0f} ms")


def row_figures(bench):
    places = [(bench.orgs[name], name) for name in ("small", "medium", "big")]
    found = cycles.single_rows(bench.db, places, SINGLE_ROWS, SEED)
    pulls = {name: median(pull for pull, _ in found[name]) * 1000 for name in found}
    whole = {name: median(now for _, now in found[name]) * 1000 for name in found}
    bench.row("one changed row of 10 k / 100 k / 1 M",
              " / ".join(f"{pulls[name]:.1f}" for name in pulls) + " ms")
    ratio = pulls["big"] / pulls["small"]
    bench.row("... 1 M against 10 k", f"{ratio:.2f}", "flat: <= 1.25", ratio <= 1.25)
    bench.row("... with the org's answer and sync.now's process",
              " / ".join(f"{whole[name]:.0f}" for name in whole) + " ms")


def large_figures(bench):
    for name in ("big", "medium"):
        if name in bench.orgs:
            bench.orgs[name].stop()
    bench.start("huge")
    memory_rows(bench, "10 M Leads", *first_copy.watched_copy(bench.db, "huge"))


def measure_way_in(bench):
    needed = {"big": {"copy", "increment", "row"}, "medium": {"jsforce", "row"},
              "small": {"idle", "row"}}
    bench.start(*(name for name in needed if needed[name] & set(ONLY)))
    if "big" in bench.orgs:
        copy_figures(bench)
    for name in {"medium", "small"} & set(bench.orgs):
        tables.enable_leads(bench.db, name)
        tables.wait_live(bench.db, name)
    if "jsforce" in ONLY:
        jsforce_figures(bench)
    if "increment" in ONLY:
        increment_figures(bench)
    if "row" in ONLY:
        row_figures(bench)
    if "idle" in ONLY:
        idle_figures(bench)
    if LARGE:
        large_figures(bench)


def measure(bench):
    if set(ONLY) & set(WAY_IN.split()) or LARGE:
        measure_way_in(bench)
    if set(ONLY) & set(way_out.PARTS.split()):
        way_out.figures(bench, set(ONLY), RUNS, SEED)


def machine(bench):
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = next((line.split(":")[1].strip() for line in file
                      if line.startswith("model name")), platform.machine())
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    version = bench.db.value("SHOW server_version").split()[0]
    load = os.getloadavg()
    return (f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} x {model}, {memory:.0f} GB, "
            f"PostgreSQL {version}, medians of {RUNS}, seed {SEED}, "
            f"load before {load[0]:.1f} (1 min) {load[1]:.1f} (5 min)")


def print_report(report, about):
    widths = [max(len(line[i]) for line in report) for i in range(4)]
    print(f"\n{about}\n")
    print("| " + " | ".join(title.ljust(width) for title, width in
                            zip(("work", "measured", "to reach", ""), widths)) + " |")
    print("|" + "|".join("-" * (width + 2) for width in widths) + "|")
    for line in report:
        print("| " + " | ".join(text.ljust(width) for text, width in zip(line, widths)) + " |")


def main():
    bench = Bench(*sys.argv[1:3])
    bench.db.start()
    try:
        about = machine(bench)
        print(about, flush=True)
        measure(bench)
        print_report(bench.report, about)
    finally:
        bench.stop()


main()
