"""What the kernel tells of a process: its CPU time and its private memory."""

import threading
import time

SAMPLE_SECONDS = 0.02
APPEAR_SECONDS = 60


def wait_for(db, kind):
    """The pid of the server process of this kind, which is to appear."""
    until = time.monotonic() + APPEAR_SECONDS
    while time.monotonic() < until:
        rows = db.rows(f"SELECT pid FROM pg_stat_activity WHERE backend_type = '{kind}'")
        if rows:
            return int(rows[0][0])
        time.sleep(SAMPLE_SECONDS)
    raise SystemExit(f"no {kind} was seen")


def cpu_seconds(pid):
    """Time on a CPU, user and system; from the scheduler, in nanoseconds, for
    the ticks of /proc/PID/stat are longer than an idle cycle."""
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
        return int(file.read().split()[0]) / 1e9


def cpu_until_end(pid):
    """Waits until a process has ended; -> its CPU seconds when last seen."""
    seconds = 0
    try:
        while True:
            seconds = cpu_seconds(pid)
            time.sleep(SAMPLE_SECONDS)
    except (FileNotFoundError, ProcessLookupError):
        return seconds


def private_memory(pid):
    """RssAnon in MiB; None when the process is gone.  VmRSS would count what a
    process touched of the shared buffers."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            for line in file:
                if line.startswith("RssAnon:"):
                    return int(line.split()[1]) / 1024
    except (FileNotFoundError, ProcessLookupError):
        pass
    return None


class MemoryWatch(threading.Thread):
    """The largest private memory of a process, apart for each phase.

    phase is a function that names the present one.  A sample counts for a phase
    only if that was asked for before and after it, with the same answer.
    """

    def __init__(self, pid, phase):
        super().__init__(daemon=True)
        self.pid = pid
        self.phase = phase
        self.largest = {}
        self.samples = 0

    def run(self):
        before = self.phase()
        while True:
            seen = []
            for _ in range(10):
                value = private_memory(self.pid)
                if value is None:
                    return
                seen.append(value)
                time.sleep(SAMPLE_SECONDS)
            after = self.phase()
            if after == before:
                self.samples += len(seen)
                self.largest[after] = max(self.largest.get(after, 0), *seen)
            before = after
