"""What the demo shows, told step by step: each step's SQL, and what came of it.

usage: story.py FOLDER PSQL

FOLDER holds the socket of the running server and the port file of the org.
All that is printed was run here and now; times are measured.
"""

import json
import subprocess
import sys
import textwrap
import time
import urllib.request

TERMINAL = sys.stdout.isatty()
BOLD, DIM, PLAIN = ("\033[1m", "\033[2m", "\033[0m") if TERMINAL else ("", "", "")
MARGIN = "   "
WIDTH = 100

# Seconds after which something that should happen is said not to.
PATIENCE = 120


class Database:
    """The demo's server through psql, just as the reader will use it."""

    def __init__(self, folder, psql):
        self.where = f"host={folder}/socket user=demo dbname=demo"
        self.command = [psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", self.where]

    def run(self, sql, *options):
        done = self.psql(sql, *options)
        if done.returncode:
            sys.exit(f"{sql}\n{done.stdout}{done.stderr}")
        return done.stdout

    def psql(self, sql, *options):
        return subprocess.run([*self.command, *options], input=sql, capture_output=True,
                              text=True, check=False)

    def rows(self, sql):
        """The answer of a query, as lists of text."""
        out = self.run(sql, "-A", "-t", "-F", "\x1f")
        return [line.split("\x1f") for line in out.splitlines()]

    def value(self, sql):
        return self.rows(sql)[0][0]

    def wait_for(self, condition):
        """Until it is true; returns how many seconds that took."""
        began = time.monotonic()
        while self.value(f"SELECT {condition}") != "t":
            if time.monotonic() - began > PATIENCE:
                sys.exit(f"This did not come true: {condition}\n"
                         + self.run("TABLE sync.outbox; TABLE sync.failures; TABLE sync.conflicts;"))
            time.sleep(0.05)
        return time.monotonic() - began


class Org:
    """The other users of the simulated org, through its admin surface."""

    def __init__(self, folder):
        with open(f"{folder}/port.json", encoding="utf-8") as file:
            self.info = json.load(file)

    def post(self, path, **body):
        request = urllib.request.Request(self.info["admin"] + path, json.dumps(body).encode())
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def change(self, user, op, name, *records):
        answer = self.post("/dml", op=op, object=name, records=list(records), **{"as": user})
        for result in answer["results"]:
            if not result["success"]:
                sys.exit(f"the org refused to {op} {name}: {result['errors']}")
        return [result["id"] for result in answer["results"]]


def chapter(title):
    chapter.number += 1
    print(f"\n{BOLD}{chapter.number}  {title}{PLAIN}\n", flush=True)


chapter.number = 0


def say(text):
    print(textwrap.fill(text, WIDTH, initial_indent=MARGIN, subsequent_indent=MARGIN))


def statement(sql):
    """Prints SQL as it would stand in psql, and hands it on."""
    sql = textwrap.dedent(sql).strip()
    prompt = "demo=#"
    for line in sql.splitlines():
        print(f"{MARGIN}{DIM}{prompt}{PLAIN} {line}")
        prompt = "demo=#" if line.endswith(";") else "demo-#"
    sys.stdout.flush()
    return sql


def indented(out):
    print(textwrap.indent(out.strip("\n"), MARGIN), end="\n\n")


def show(db, sql):
    """A query and its answer."""
    indented(db.run(statement(sql), "-P", "footer=off", "-P", "null=-"))


def do(db, sql):
    """A command, of which only the SQL is worth showing."""
    db.run(statement(sql))
    print()


def refused(db, sql):
    """A command that must fail, and its error."""
    done = db.psql(statement(sql))
    if not done.returncode:
        sys.exit("This should have been refused.")
    indented(done.stderr)


EMPTY = "NOT EXISTS (SELECT FROM sync.outbox)"


def connect(db, org):
    chapter("Where the org is, and how to log in: ordinary SQL objects")
    do(db, "CREATE EXTENSION sync;")
    do(db, f"""
        CREATE SERVER acme FOREIGN DATA WRAPPER salesforce
            OPTIONS (login_url '{org.info["login"]}');
        """)
    do(db, f"""
        CREATE USER MAPPING FOR CURRENT_USER SERVER acme
            OPTIONS (auth 'jwt', username '{org.info["run_as"]}',
                     client_id '{org.info["client_id"]}',
                     private_key_file '{org.info["private_key_file"]}');
        """)


def check(db):
    chapter("What could stop the sync, before it does")
    show(db, "SELECT * FROM sync.check('acme');")


def loaded(db):
    """Rows in the tables so far, and how many of the tables are complete."""
    return [int(value) for value in db.rows("""
        SELECT coalesce(sum(rows), 0)::bigint
               + (SELECT coalesce(sum(tuples_processed), 0) FROM pg_stat_progress_copy),
               count(*) FILTER (WHERE state = 'live'), count(*)
        FROM sync.status""")[0]]


def first_copy(db):
    chapter("The first copy: the default set of objects, and a custom one")
    do(db, "SELECT sync.enable('acme');")
    do(db, "SELECT sync.enable('acme', ARRAY['Machine__c']);")
    began = time.monotonic()
    shown = 0
    while True:
        rows, live, tables = loaded(db)
        seconds = time.monotonic() - began
        if live == tables or seconds > PATIENCE:
            break
        if TERMINAL:
            print(f"\r{MARGIN}{rows:>9,} rows, {live} of {tables} tables live, {seconds:4.1f} s",
                  end="", flush=True)
        elif seconds >= shown + 2:
            shown = seconds
            print(f"{MARGIN}{rows:>9,} rows, {live} of {tables} tables live, {seconds:4.1f} s", flush=True)
        time.sleep(0.2)
    if live < tables:
        sys.exit(db.run("TABLE sync.status; TABLE sync.failures;"))
    print(f"{chr(13) if TERMINAL else ''}{MARGIN}{BOLD}{rows:,} records in {tables} tables after "
          f"{seconds:.1f} s{PLAIN}\n")
    show(db, "SELECT \"table\", direction, state, rows, last_synced FROM sync.status;")


def query(db):
    chapter("They are tables, with keys and indexes: join them as you like")
    show(db, """
        SELECT a.name AS account, count(*) AS deals, sum(o.amount) AS amount,
               max(u.name) AS owner
        FROM acme.opportunity o
        JOIN acme.account a ON a.id = o.accountid
        JOIN acme."user" u ON u.id = a.ownerid
        WHERE NOT o.isclosed
        GROUP BY a.id ORDER BY amount DESC NULLS LAST LIMIT 5;
        """)


def increment(db, org):
    chapter("Somebody works in Salesforce")
    lead, gone = [row[0] for row in db.rows(
        "SELECT id FROM acme.lead WHERE NOT isconverted AND title ~ '^[A-Z][a-z]{2,12}$' ORDER BY id LIMIT 2")]
    leads = f"""
        SELECT id, name, title FROM acme.lead
        WHERE id IN ('{lead}', '{gone}') OR lastname = 'Diaz-Demo';
        """
    show(db, leads)
    org.change("ada@example.com", "update", "Lead", {"Id": lead, "Title": "Chief Demo Officer"})
    org.change("ben@example.com", "insert", "Lead",
               {"FirstName": "Ana", "LastName": "Diaz-Demo", "Company": "Initech", "Title": "Engineer"})
    org.change("admin@example.com", "delete", "Lead", gone)
    changed = org.post("/change", object="Opportunity", where="IsClosed = false",
                       set={"NextStep": "Call {Id}"}, limit=1000)["changed"]
    say(f"In the org, Ada gave the first lead a title, Ben made a new lead, an admin deleted the second "
        f"one, and a mass update touched {changed:,} opportunities.")
    print()
    began = time.monotonic()
    show(db, """
        SELECT object, operation, new, updated, deleted, skipped, calls, outcome
        FROM sync.now('acme') WHERE new + updated + deleted > 0;
        """)
    say(f"({time.monotonic() - began:.1f} s.  The worker does the same by itself, every five minutes "
        "unless told otherwise.)")
    print()
    show(db, leads)
    assert_arrived(db, lead, gone, changed)


def assert_arrived(db, lead, gone, changed):
    """The story must be true, or end with an error."""
    true = db.value(f"""
        SELECT (SELECT title FROM acme.lead WHERE id = '{lead}') = 'Chief Demo Officer'
           AND NOT EXISTS (SELECT FROM acme.lead WHERE id = '{gone}')
           AND EXISTS (SELECT FROM acme.lead WHERE lastname = 'Diaz-Demo')
           AND (SELECT count(*) FROM acme.opportunity WHERE nextstep = 'Call ' || id) = {changed}""")
    if true != "t":
        sys.exit("The changes did not arrive.\n" + db.run("TABLE sync.failures;"))


def other_way(db):
    chapter("And back: what you write reaches Salesforce")
    contact = db.value("SELECT min(id) FROM acme.contact")
    show(db, """
        INSERT INTO acme.lead (lastname, company, email)
        VALUES ('Demo', 'Initech', 'demo@initech.example') RETURNING id, local_id;
        """)
    do(db, f"UPDATE acme.contact SET phone = '+49 30 1234' WHERE id = '{contact}';")
    say(f"{db.wait_for(EMPTY):.1f} s later sync.outbox is empty.  What the org has now, asked in its own "
        "language, and the id that the new row got there:")
    print()
    show(db, f"""
        SELECT sync.soql('acme', 'SELECT Id, LastName, Email FROM Lead WHERE LastName = ''Demo''')
        UNION ALL
        SELECT sync.soql('acme', 'SELECT Id, Phone FROM Contact WHERE Id = ''{contact}''');
        """)
    show(db, "SELECT id, local_id, lastname FROM acme.lead WHERE lastname = 'Demo';")


def refusals(db, org):
    chapter("What cannot be is refused: at once, or by Salesforce")
    refused(db, "UPDATE acme.lead SET postalcode = '1 Evergreen Terrace, Springfield' WHERE lastname = 'Demo';")
    refused(db, "UPDATE acme.lead SET createddate = now() WHERE lastname = 'Demo';")
    org.post("/config", validation={"object": "Lead", "where": "Title = 'Boss'", "field": "Title",
                                    "message": "There is only one boss."})
    say("That much the org's own description tells.  It does not tell of the validation rule that an admin "
        "there has just made:")
    print()
    do(db, "UPDATE acme.lead SET title = 'Boss' WHERE lastname = 'Demo';")
    db.wait_for("EXISTS (SELECT FROM sync.failures WHERE code = 'FIELD_CUSTOM_VALIDATION_EXCEPTION')")
    show(db, """
        SELECT o.seq, o.state, o.changes, f.code, f.message
        FROM sync.outbox o JOIN sync.failures f USING (server, object, record);
        """)
    say("The next change of the row goes out together with it.  (sync.retry sends it again as it is, "
        "sync.discard gives it up.)")
    print()
    do(db, "UPDATE acme.lead SET title = 'Engineer' WHERE lastname = 'Demo';")
    db.wait_for(f"{EMPTY} AND NOT EXISTS (SELECT FROM sync.failures)")
    show(db, """
        SELECT (SELECT count(*) FROM sync.outbox) AS outbox,
               (SELECT count(*) FROM sync.failures) AS failures;
        """)


def conflict(db, org):
    chapter("Both sides change the same field")
    lead = db.value("SELECT id FROM acme.lead WHERE lastname = 'Demo'")
    contact = db.value("SELECT id FROM acme.contact WHERE phone = '+49 30 1234'")
    do(db, f"""
        SELECT sync.pause('acme');
        UPDATE acme.lead SET title = 'Director' WHERE id = '{lead}';
        UPDATE acme.contact SET phone = '+49 30 5678' WHERE id = '{contact}';
        """)
    org.change("ada@example.com", "update", "Lead", {"Id": lead, "Title": "Architect"})
    org.change("ada@example.com", "update", "Contact", {"Id": contact, "Phone": "+1 415 555 0100"})
    say("Before that goes out, Ada changes both in Salesforce.")
    print()
    do(db, "SELECT sync.resume('acme');")
    db.wait_for(EMPTY)
    show(db, "SELECT object, field, base, salesforce, local, winner, rule FROM sync.conflicts;")
    say("For leads, what was written here wins, for contacts what was written there, unless sync.set says "
        "otherwise.  Now both sides have the same:")
    print()
    both = f"""
        SELECT title AS here,
               sync.soql('acme', 'SELECT Title FROM Lead WHERE Id = ''{lead}''') ->> 'Title' AS there
        FROM acme.lead WHERE id = '{lead}'
        UNION ALL
        SELECT phone,
               sync.soql('acme', 'SELECT Phone FROM Contact WHERE Id = ''{contact}''') ->> 'Phone'
        FROM acme.contact WHERE id = '{contact}';
        """
    show(db, both)
    if db.rows(both) != [["Director"] * 2, ["+1 415 555 0100"] * 2]:
        sys.exit("Not as the rules say.\n" + db.run("TABLE sync.conflicts;"))


def calls(db):
    chapter("What was done, and what it cost of the org's daily API calls")
    show(db, """
        SELECT kind, sum(calls) AS calls, max(org_allowance) AS daily_allowance
        FROM sync.usage GROUP BY kind ORDER BY calls DESC;
        """)
    show(db, """
        SELECT operation, count(*) AS steps, sum(new) AS new, sum(updated) AS updated,
               sum(deleted) AS deleted, sum(failed) AS failed
        FROM sync.log GROUP BY operation;
        """)


def look_around(db, org):
    chapter("Yours to look at")
    lead = db.value("SELECT id FROM acme.lead WHERE lastname = 'Diaz-Demo'")
    change = json.dumps({"op": "update", "object": "Lead", "records": [{"Id": lead, "Title": "You"}]})
    for what, how in (
            ("SQL", f"psql '{db.where}'"),
            ("change a lead in the org", f"curl -d '{change}' {org.info['admin']}/dml"),
            ("and fetch it", "SELECT * FROM sync.now('acme');"),
            ("end and remove all of this", "make demo-stop")):
        print(f"{MARGIN}{what:<28}{BOLD}{how}{PLAIN}")
    print()


def main():
    folder, psql = sys.argv[1:]
    db, org = Database(folder, psql), Org(folder)
    connect(db, org)
    check(db)
    first_copy(db)
    query(db)
    increment(db, org)
    other_way(db)
    refusals(db, org)
    conflict(db, org)
    calls(db)
    look_around(db, org)


if __name__ == "__main__":
    main()
