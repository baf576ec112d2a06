"""First copies: against COPY of a file, against a scripted peer; their memory."""

import json
import os
import subprocess

import procfs
import tables


def watched_copy(db, server):
    """A copy whose memory is watched; -> MiB when idle, MiB of each phase.

    Idle is what the worker of the server holds, which has logged in and run a
    cycle.  The org writes its result meanwhile, so that no run that is timed
    has to wait for that.
    """
    idle = procfs.private_memory(int(db.value(f"""
        SELECT w.pid FROM sync.worker w JOIN sync.server s USING (serverid)
        WHERE s.server = '{server}'""")))
    tables.enable_leads(db, server)
    watch = procfs.MemoryWatch(procfs.wait_for(db, "sync copier"), lambda: db.value(
        f"""SELECT state FROM sync.progress
            WHERE server = '{server}' AND object = 'Lead'"""))
    watch.start()
    tables.wait_live(db, server)
    watch.join()
    return idle, watch.largest


def ours(db, org, server):
    """-> seconds, CPU seconds of the process that copies, rows."""
    tables.drop_leads(db, server)
    db.run("CHECKPOINT")
    tables.enable_leads(db, server)
    cpu = procfs.cpu_until_end(procfs.wait_for(db, "sync copier"))
    tables.wait_live(db, server)
    began, ended, rows, _ = tables.last_step(db, server, "Lead", "copy")
    return org.own_seconds(began, ended), cpu, rows


def from_file(db, server, file):
    """Server-side COPY, then key and indexes; -> seconds, CPU seconds, rows."""
    model = f"{server}.lead"
    tables.create_peer(db, "peer.lead", model)
    keys = tables.key_statements(db, "peer.lead", model)
    names = tables.columns(db, server)
    db.run("CHECKPOINT")
    cpu, seconds = db.cpu_and_seconds(
        tables.copy_statement("peer.lead", names, file), *keys)
    return seconds, cpu, int(db.value("SELECT count(*) FROM peer.lead"))


def against_file(db, org, server, runs):
    """-> for each run ours and theirs, in seconds and in CPU seconds; rows."""
    found = []
    file = org.newest_result()
    for _ in range(runs):
        mine, my_cpu, rows = ours(db, org, server)
        theirs, their_cpu, peer_rows = from_file(db, server, file)
        if rows != peer_rows:
            raise SystemExit(f"{rows} rows here, {peer_rows} there")
        found.append((mine, theirs, my_cpu, their_cpu))
    return found, rows


def scripted(db, org, server, work):
    """The same by jsforce and pg; into a table without keys."""
    tables.create_peer(db, "peer.scripted", f"{server}.lead")
    db.run("CHECKPOINT")
    statement = org.get("/calls?kind=bulk_query_create")["calls"][-1]["body"]
    done = subprocess.run(
        ["node", f"{work}/peer/copy.js", org.port_file, db.socket,
         "peer.scripted", json.loads(statement)["query"]],
        cwd=f"{work}/peer", capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the peer failed: {done.stdout}{done.stderr}")
    found = json.loads(done.stdout)
    return found["seconds"], found["rows"]


def has_scripted_peer(work):
    return os.path.isdir(f"{work}/peer/node_modules/jsforce")


def against_scripted(db, org, server, work, runs):
    found = []
    for _ in range(runs):
        mine, _, rows = ours(db, org, server)
        theirs, peer_rows = scripted(db, org, server, work)
        if rows != peer_rows:
            raise SystemExit(f"{rows} rows here, {peer_rows} there")
        found.append((mine, theirs))
    return found, rows
