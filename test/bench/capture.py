"""What capture costs the writer: mass updates, and commits of single rows.

Each is measured beside the same statement on a table of the same shape, rows
and indexes without any trigger; the mass update also beside a trigger that
finds the difference of the rows by hstore, as audit tables and other syncs
have it.  The server is paused, so that what is captured stays in the outbox
and nobody else works meanwhile, unless said otherwise.
"""

import re
import subprocess

import tables

TABLES = {"ours": "{server}.lead", "plain": "peer.plain", "hstore": "peer.audited"}

# The design of the well-known audit triggers: the old row and the changed
# values as hstore, written from PL/pgSQL.  It is spared the columns about the
# session (user, address, application, text of the query) that these keep too.
AUDIT = """
    CREATE EXTENSION IF NOT EXISTS hstore;
    CREATE TABLE peer.audit (
        event_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        relid oid NOT NULL, record text NOT NULL, action text NOT NULL,
        row_data hstore, changed_fields hstore,
        action_time timestamptz NOT NULL);
    CREATE FUNCTION peer.audit() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        old_row hstore;
        changed hstore;
    BEGIN
        IF TG_OP = 'UPDATE' THEN
            old_row := hstore(OLD.*);
            changed := hstore(NEW.*) - old_row;
            IF changed = hstore('') THEN
                RETURN NULL;
            END IF;
            INSERT INTO peer.audit (relid, record, action, row_data, changed_fields, action_time)
            VALUES (TG_RELID, OLD.id, 'U', old_row, changed, clock_timestamp());
        ELSIF TG_OP = 'DELETE' THEN
            INSERT INTO peer.audit (relid, record, action, row_data, action_time)
            VALUES (TG_RELID, OLD.id, 'D', hstore(OLD.*), clock_timestamp());
        ELSE
            INSERT INTO peer.audit (relid, record, action, row_data, action_time)
            VALUES (TG_RELID, NEW.id, 'I', hstore(NEW.*), clock_timestamp());
        END IF;
        RETURN NULL;
    END $$;
    CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON peer.audited
        FOR EACH ROW EXECUTE FUNCTION peer.audit();"""


def has_hstore(db):
    return db.value("""SELECT count(*) FROM pg_available_extensions
                       WHERE name = 'hstore'""") == "1"


def prepare(db, server):
    """The peers' tables: what the synced one is but for its triggers."""
    model = TABLES["ours"].format(server=server)
    for table in (TABLES["plain"], TABLES["hstore"]):
        tables.create_peer(db, table, model)
        db.run(f"INSERT INTO {table} OVERRIDING SYSTEM VALUE TABLE {model};"
               + ";".join(tables.key_statements(db, table, model)))
    if has_hstore(db):
        db.run(AUDIT)
    # pgbench draws a number, and an application knows its ids.
    db.run(f"""CREATE TABLE peer.ids AS SELECT row_number() OVER ()::int AS n, id
                   FROM {model};
               ALTER TABLE peer.ids ADD PRIMARY KEY (n);
               ANALYZE peer.ids;""")
    for table in TABLES.values():
        db.run(f"ANALYZE {table.format(server=server)}")


def forget_changes(db):
    db.run("TRUNCATE sync.change;")
    if has_hstore(db):
        db.run("TRUNCATE peer.audit;")


# A mass update -----------------------------------------------------------

def update(db, table, run):
    """-> CPU seconds, seconds.  VACUUM first: each finds the space of the rows that the last one left."""
    forget_changes(db)
    db.run(f"VACUUM {table}; CHECKPOINT;")
    return db.cpu_and_seconds(f"UPDATE {table} SET title = 'Captured {run}'")


def updates(db, server, runs):
    """-> for each run a dict of (CPU seconds, seconds).  The first, which spreads
    the tables over new pages, does not count."""
    sides = [side for side in TABLES if side != "hstore" or has_hstore(db)]
    found = []
    for run in range(runs + 1):
        found.append({side: update(db, TABLES[side].format(server=server), run)
                      for side in sides})
    return found[1:]


# Single rows -------------------------------------------------------------

SCRIPT = """\\set n random(1, {rows})
\\set v random(1, 1000000)
UPDATE {table} SET title = 'Commit ' || :v
 WHERE id = (SELECT id FROM peer.ids WHERE n = :n);
"""


def commit_ms(db, table, rows, seconds):
    """Mean time of a transaction, from pgbench's one client."""
    script = f"{db.folder}/commit.sql"
    with open(script, "w", encoding="utf-8") as file:
        file.write(SCRIPT.format(table=table, rows=rows))
    done = subprocess.run(
        [f"{db.bindir}/pgbench", "-n", "-c", "1", "-T", str(seconds), "-M", "prepared",
         "-f", script, f"host={db.socket} user=bench dbname=bench"],
        capture_output=True, text=True, check=False)
    found = re.search(r"latency average = ([0-9.]+) ms", done.stdout)
    if done.returncode or not found:
        raise SystemExit(f"pgbench: {done.stdout}{done.stderr}")
    return float(found[1])


def commits(db, server, runs, seconds):
    """-> for each run a dict of ms; who is first changes."""
    rows = int(db.value("SELECT count(*) FROM peer.ids"))
    found = []
    db.run(f"VACUUM {server}.lead; VACUUM peer.plain; CHECKPOINT;")
    sides = ["ours", "plain"]
    for _ in range(runs):
        found.append({side: commit_ms(db, TABLES[side].format(server=server), rows, seconds)
                      for side in sides})
        sides.reverse()
    return found


def end(db, server):
    """The worker goes on; what was captured here is not sent."""
    forget_changes(db)
    db.run(f"DROP TABLE peer.plain, peer.audited, peer.ids; VACUUM {server}.lead;"
           f"SELECT sync.resume('{server}');")
