"""A simulated org of the benchmark's own, and when it answered what.

The org's CPU is not the extension's: what it does to produce a Bulk result is
left out of all figures.  So what counts begins when the org says that the job
is complete.  When that was is read from the org's request lines, each of which
gets the time at which it arrives here.
"""

import datetime
import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
from dataclasses import dataclass

LINE = re.compile(r"^\S+ ([A-Z]+) (\S+) (\d+) .*?([0-9.]+) ms$")
START_SECONDS = 3600
# getUpdated answers whole minutes, and is asked for two at least: what was
# changed just before a figure is taken would still be read in it.
QUIET = datetime.timedelta(hours=1)


@dataclass
class Answer:
    time: float
    method: str
    path: str
    status: int
    seconds: float

    def is_results(self):
        return "/results" in self.path

    def is_job_status(self):
        return self.method == "GET" and "/jobs/query/" in self.path and \
            not self.is_results()


class Org:
    """leads of them, and few of everything else unless counts say so."""

    def __init__(self, work, name, leads, python, **counts):
        self.name = name
        self.folder = f"{work}/orgs/{name}"
        os.makedirs(self.folder)
        self.port_file = f"{self.folder}/port.json"
        self.answers = []
        sizes = [f"--{key}={value}" for key, value in counts.items()]
        end = datetime.datetime.now(datetime.timezone.utc) - QUIET
        self.process = subprocess.Popen(
            [python, f"{work}/tree/test/org", "--state", f"{self.folder}/state",
             "--port-file", self.port_file, "--bulk-cache", "--seed", "7",
             "--max-calls", "10000000", "--end", end.isoformat(timespec="seconds"),
             "--leads", str(leads), *sizes],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True)
        threading.Thread(target=self._read_lines, daemon=True).start()

    def _read_lines(self):
        with open(f"{self.folder}/log", "w", encoding="utf-8") as log:
            for line in self.process.stderr:
                now = time.time()
                log.write(line)
                log.flush()
                found = LINE.match(line.rstrip())
                if found:
                    self.answers.append(Answer(
                        now, found[1], found[2], int(found[3]),
                        float(found[4]) / 1000))

    def wait(self):
        until = time.monotonic() + START_SECONDS
        while not os.path.exists(self.port_file):
            if self.process.poll() is not None or time.monotonic() > until:
                sys.exit(f"the org {self.name} did not start: see {self.folder}/log")
            time.sleep(0.1)
        with open(self.port_file, encoding="utf-8") as file:
            self.info = json.load(file)
        return self

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait()

    # What the admin surface can do.

    def get(self, path):
        with urllib.request.urlopen(self.info["admin"] + path) as answer:
            return json.load(answer)

    def post(self, path, **body):
        request = urllib.request.Request(self.info["admin"] + path,
                                         json.dumps(body).encode())
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def change(self, where, count, **values):
        """A mass update of Leads by another user."""
        changed = self.post("/change", object="Lead", where=where, limit=count,
                            set=values)["changed"]
        if changed != count:
            raise SystemExit(f"the org changed {changed} rows where {where}")

    def age(self, where, count, **values):
        """Dates rows back that were changed to these values.  A pull reads
        again what lies less than a minute before it: all runs before."""
        changed = self.post("/change", object="Lead", where=where, set=values,
                            stamp="2026-01-01T00:00:00.000Z")["changed"]
        if changed != count:
            raise SystemExit(f"the org dated {changed} rows where {where}")

    def calls(self):
        """API calls of the org's allowance that were made until now."""
        return sum(call["api_calls"] for call in self.get("/calls")["calls"])

    def newest_result(self):
        """The file of the Bulk result that was written last."""
        folder = f"{self.folder}/state/bulk"
        files = [f"{folder}/{job}/rows.csv" for job in os.listdir(folder)]
        return max((file for file in files if os.path.exists(file)),
                   key=os.path.getmtime)

    def own_seconds(self, began, ended):
        """Of a step that ran from began to ended: how long it took after its
        first Bulk job was complete, less what the org needed for other
        answers than result pages."""
        answers = [a for a in list(self.answers) if began <= a.time <= ended]
        first = next(i for i, a in enumerate(answers) if a.is_results())
        complete = max(a.time for a in answers[:first] if a.is_job_status())
        waits = sum(a.seconds for a in answers[first:] if not a.is_results())
        return ended - complete - waits
