"""The synced tables, and the peer's equals that plain SQL writes to."""

import time

# Forty fields of Lead: every type, two long texts, the references of which
# three are indexed (to User, which is synced too).
FIELDS = """Id IsDeleted LastName FirstName Salutation Name Title Company Street
    City State PostalCode Country Latitude Longitude Phone MobilePhone Email Website
    Description LeadSource Status Industry Rating AnnualRevenue NumberOfEmployees
    OwnerId IsConverted ConvertedDate IsUnreadByOwner CreatedDate CreatedById
    LastModifiedDate LastModifiedById SystemModstamp Ext__c Score__c Products__c
    Newsletter__c First_Contact__c""".split()

PATIENCE = 3600


def create_server(db, org, name):
    # No overlap: the rows of the run before are behind the cursor, as they are
    # with the default of ten minutes when runs are that far apart.
    db.run(f"""
        CREATE SERVER {name} FOREIGN DATA WRAPPER salesforce
            OPTIONS (login_url '{org.info["login"]}', interval '1 day', overlap '0');
        CREATE USER MAPPING FOR CURRENT_USER SERVER {name}
            OPTIONS (auth 'jwt', username '{org.info["run_as"]}',
                     client_id '{org.info["client_id"]}',
                     private_key_file '{org.info["private_key_file"]}');""")


def enable_leads(db, server):
    """Lead with its forty fields, whose first copy begins at once."""
    db.run(f"""
        BEGIN;
        SELECT sync.enable('{server}', ARRAY['Lead']);
        SELECT sync.set('{server}', 'Lead', 'fields', '{" ".join(FIELDS).replace(" ", ", ")}');
        COMMIT;""")


def drop_leads(db, server):
    db.run(f"SELECT sync.disable('{server}', 'Lead', true);")


def wait_live(db, server, pause=0.2):
    """Until all is copied, and the cycle that follows a copy is over."""
    until = time.monotonic() + PATIENCE
    while int(db.value(f"""SELECT count(*) FROM sync.status
            WHERE server = '{server}'
              AND (state = 'live' AND next_due > now() + '1 hour') IS NOT TRUE""")):
        if time.monotonic() > until:
            raise SystemExit(db.run("TABLE sync.status; TABLE sync.failures;"))
        time.sleep(pause)


def last_step(db, server, name, operation):
    """The newest row of the log: began, ended (epoch), new, updated, outcome."""
    row = db.rows(f"""
        SELECT extract(epoch FROM started), extract(epoch FROM ended),
               new, updated, outcome
          FROM sync.log
         WHERE server = '{server}' AND object = '{name}'
           AND operation = '{operation}' AND ended IS NOT NULL
         ORDER BY seq DESC LIMIT 1""")[0]
    if row[4] != "done":
        raise SystemExit(f"{operation} of {name}: {row[4]}")
    return float(row[0]), float(row[1]), int(row[2]), int(row[3])


# The peer -----------------------------------------------------------------

def columns(db, server):
    """The columns of a Bulk result, in its order; its file has no header line."""
    return [row[0] for row in db.rows(f"""
        SELECT attname FROM sync.field
         WHERE server = '{server}' AND object = 'Lead' ORDER BY ordinal""")]


def create_peer(db, table, model):
    db.run(f"DROP TABLE IF EXISTS {table};"
           f"CREATE TABLE {table} (LIKE {model} INCLUDING DEFAULTS);")


def copy_statement(table, names, file):
    """COPY with the options that any reader of such files needs."""
    quoted = ", ".join(f'"{name}"' for name in names)
    return (f"COPY {table} ({quoted}) FROM '{file}'"
            f" (FORMAT csv, ENCODING 'UTF8', FORCE_NULL ({quoted}))")


def key_statements(db, table, model):
    """The key and the indexes that the model has."""
    statements = [f"ALTER TABLE {table} ADD PRIMARY KEY (id)"]
    for (column,) in db.rows(f"""
            SELECT a.attname FROM pg_index i JOIN pg_attribute a
                ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
             WHERE i.indrelid = '{model}'::regclass AND NOT i.indisprimary"""):
        statements.append(f'CREATE INDEX ON {table} ("{column}")')
    return statements
