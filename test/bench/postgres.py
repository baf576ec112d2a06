"""A database server of the benchmark's own, through psql."""

import os
import re
import subprocess
import sys

# What a server of this size would be set to, for both sides of each figure.
# Without autovacuum no run is disturbed by one that the run before has caused.
SETTINGS = """
listen_addresses = ''
unix_socket_directories = '{folder}/socket'
logging_collector = off
shared_buffers = '1GB'
max_wal_size = '20GB'
checkpoint_timeout = '1h'
autovacuum = off
"""


class Postgres:
    def __init__(self, folder, bindir):
        self.folder = folder
        self.bindir = bindir
        self.socket = f"{folder}/socket"
        self.psql = [f"{bindir}/psql", "-X", "-q", "-A", "-t", "-F", "\x1f",
                     "-v", "ON_ERROR_STOP=1",
                     "-d", f"host={self.socket} user=bench dbname=bench"]

    def tool(self, name, *arguments):
        done = subprocess.run([f"{self.bindir}/{name}", *arguments],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode:
            sys.exit(f"{name}: {done.stdout}")

    def start(self):
        os.mkdir(self.socket)
        data = f"{self.folder}/data"
        self.tool("initdb", "-D", data, "-U", "bench", "--auth=trust",
                  "--encoding=UTF8", "--no-locale", "--no-sync")
        with open(f"{self.folder}/server.conf", encoding="utf-8") as file:
            staged = file.read()
        with open(f"{data}/postgresql.conf", "a", encoding="utf-8") as file:
            file.write(staged + SETTINGS.format(folder=self.folder))
        # pg_ctl's own output goes to no pipe: the server would inherit it.
        subprocess.run([f"{self.bindir}/pg_ctl", "-D", data, "-w", "-l",
                        f"{self.folder}/server.log", "start"],
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                       check=True)
        self.tool("createdb", "-h", self.socket, "-U", "bench", "bench")
        self.run("CREATE EXTENSION sync; CREATE SCHEMA peer;")

    def stop(self):
        subprocess.run([f"{self.bindir}/pg_ctl", "-D", f"{self.folder}/data",
                        "-w", "-m", "fast", "stop"], check=False,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def run(self, sql):
        done = subprocess.run([*self.psql, "-f", "-"], input=sql,
                              capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{sql[:2000]}\n{done.stdout}{done.stderr}")
        return done.stdout

    def rows(self, sql):
        return [line.split("\x1f") for line in self.run(sql).splitlines()]

    def value(self, sql):
        return self.rows(sql)[0][0]

    def seconds(self, *statements):
        """Time that statements take within one session, as psql measures it."""
        out = self.run("\\timing on\n" + "\n".join(f"{sql};" for sql in statements))
        found = re.findall(r"^Time: ([0-9.]+) ms", out, re.MULTILINE)
        if len(found) != len(statements):
            sys.exit(f"psql told no times: {out}")
        return sum(float(ms) for ms in found) / 1000

    def cpu_and_seconds(self, *statements):
        """The same, and before it the time that the session was on a CPU."""
        clock = "SELECT 'cpu ' || pg_read_file('/proc/self/schedstat');\n"
        out = self.run(clock + "\\timing on\n" +
                       "\n".join(f"{sql};" for sql in statements) +
                       "\n\\timing off\n" + clock)
        before, after = [int(cpu) for cpu in re.findall(r"^cpu (\d+)", out, re.MULTILINE)]
        times = re.findall(r"^Time: ([0-9.]+) ms", out, re.MULTILINE)
        return (after - before) / 1e9, sum(float(ms) for ms in times) / 1000
