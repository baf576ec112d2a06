/* sql/sync--1.0.sql */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION sync" to load this file. \quit

--
-- The wrapper: servers and user mappings describe orgs and logins
--

CREATE FUNCTION sync.salesforce_fdw_validator(options text[], catalog oid)
RETURNS void
AS 'MODULE_PATHNAME', 'salesforce_fdw_validator'
LANGUAGE C STRICT;

COMMENT ON FUNCTION sync.salesforce_fdw_validator(text[], oid) IS
'Checks the options of a server or user mapping of the wrapper salesforce. Errors: fdw_invalid_option_name, with the valid names as a hint; invalid_parameter_value; insufficient_privilege for private_key_file and ca_file without membership in pg_read_server_files.';

CREATE FOREIGN DATA WRAPPER salesforce
    NO HANDLER
    VALIDATOR sync.salesforce_fdw_validator;

COMMENT ON FOREIGN DATA WRAPPER salesforce IS
'Salesforce orgs that sync keeps tables in step with';

--
-- Configuration. Rows are written by the functions below, never by hand.
-- What the worker writes all the time (progress) is kept apart from what
-- administrators set, so that it need not wait until their transactions end:
-- only where they set progress itself back (sync.set of fields or filter), and
-- then for that row.
--

CREATE TABLE sync.server (
    server    name PRIMARY KEY,
    serverid  oid NOT NULL,       -- follows ALTER SERVER ... RENAME
    origin    text NOT NULL,      -- where it was enabled: a restored copy differs
    schema    name NOT NULL,      -- where new tables go
    running   boolean NOT NULL DEFAULT true,    -- sync.start, sync.stop
    paused    boolean NOT NULL DEFAULT false,   -- sync.pause, sync.resume
    resumed   timestamptz,        -- when last
    org_id    text,               -- of Salesforce; NULL: to be learned
    timeline  text                -- of the database that sent last (catalog_timeline)
);

CREATE TABLE sync.object (
    server      name NOT NULL
        REFERENCES sync.server ON UPDATE CASCADE ON DELETE CASCADE,
    object      text NOT NULL,
    relation    regclass NOT NULL,
    enabled     boolean NOT NULL DEFAULT true,  -- false: kept by sync.disable
    direction   text NOT NULL DEFAULT 'from'
        CHECK (direction IN ('from', 'both', 'to')),
    fields      text[],           -- NULL: all that the login sees
    exclude     text[] NOT NULL DEFAULT '{}',
    filter      text,             -- SOQL condition
    on_delete   text NOT NULL DEFAULT 'delete'
        CHECK (on_delete IN ('delete', 'mark')),
    interval    interval,         -- NULL: the server's
    conflict    text NOT NULL DEFAULT 'salesforce'
        CHECK (conflict IN ('salesforce', 'local', 'latest')),
    external_id text,             -- creates are upserts by this field
    push_deletes boolean NOT NULL DEFAULT true,
    unmodified_since boolean NOT NULL DEFAULT false,
    allow_duplicates boolean NOT NULL DEFAULT false,
    batch_rows  integer           -- most in a call; NULL: as many as it takes
        CHECK (batch_rows BETWEEN 1 AND 200),
    PRIMARY KEY (server, object)
);

-- What the org said of the fields that are synced, in the order of columns.
CREATE TABLE sync.field (
    server       name NOT NULL,
    object       text NOT NULL,
    field        text NOT NULL,
    attname      name NOT NULL,
    attnum       smallint,        -- NULL: to be learned
    atttype      regtype NOT NULL,
    dropped      boolean NOT NULL DEFAULT false,    -- its column, by a user
    ordinal      integer NOT NULL,
    durable_id   text,            -- tells a field from another of its name
    type         text NOT NULL,   -- Salesforce's word
    label        text,
    length       integer NOT NULL,
    digits       integer NOT NULL,
    precision    integer NOT NULL,
    scale        integer NOT NULL,
    nillable     boolean NOT NULL,
    createable   boolean NOT NULL,
    updateable   boolean NOT NULL,
    defaulted    boolean NOT NULL,
    calculated   boolean NOT NULL,
    external_id  boolean NOT NULL,
    default_true boolean NOT NULL,   -- of a boolean
    reference_to text[] NOT NULL,
    PRIMARY KEY (server, object, field),
    FOREIGN KEY (server, object)
        REFERENCES sync.object ON UPDATE CASCADE ON DELETE CASCADE
);
-- Asked for whenever an object is read, and there are hardly any.
CREATE INDEX field_dropped ON sync.field (server, object) WHERE dropped;

-- How far each object has come. Rows of a table and the cursor that covers
-- them commit together.
CREATE TABLE sync.progress (
    server        name NOT NULL,
    object        text NOT NULL,
    state         text NOT NULL DEFAULT 'new'
        CHECK (state IN ('new', 'copying', 'indexing', 'live')),
    stamp_field   text NOT NULL,  -- SystemModstamp where there is one
    has_isdeleted boolean NOT NULL,
    undeletable   boolean NOT NULL,
    replicateable boolean NOT NULL,
    cursor        timestamptz,    -- all changes up to here are in the table
    rereads       bigint NOT NULL DEFAULT 0,    -- how often it was set back
    rows          bigint NOT NULL DEFAULT 0,
    last_synced   timestamptz,    -- start of the last pull that succeeded
    due           timestamptz,    -- NULL: now
    job           text,           -- first copy: Bulk job, or 'query'
    job_version   text,
    job_records   bigint,
    locator       text,           -- first copy: next page; NULL: the first
    came          bigint NOT NULL DEFAULT 0,        -- first copy: records of its job
    restarts      integer NOT NULL DEFAULT 0,       -- first copy: it came out wrong
    merge         boolean NOT NULL DEFAULT false,   -- first copy: rows are there
    fewer         boolean NOT NULL DEFAULT false,   -- fields than its job has
    swept         timestamptz,    -- when all ids were compared last
    described     timestamptz,
    described_fully timestamptz,
    describe_tag  text,           -- Last-Modified of the last describe
    unguarded     text,           -- which triggers the table lacks
    misshapen     boolean NOT NULL DEFAULT false,   -- columns were not as needed
    kept          smallint[] NOT NULL DEFAULT '{}', -- columns of fields that left
    failures      integer NOT NULL DEFAULT 0,
    retry_at      timestamptz,
    last_error    text,
    PRIMARY KEY (server, object),
    FOREIGN KEY (server, object)
        REFERENCES sync.object ON UPDATE CASCADE ON DELETE CASCADE
);

-- The same for the server as a whole: a login that fails, an allowance that
-- is used up, an org that is down.
CREATE TABLE sync.server_progress (
    server      name PRIMARY KEY
        REFERENCES sync.server ON UPDATE CASCADE ON DELETE CASCADE,
    next_cycle  timestamptz,
    last_cycle  timestamptz,      -- end of the last cycle that succeeded
    failures    integer NOT NULL DEFAULT 0,
    retry_at    timestamptz,
    last_error  text,
    resumed     timestamptz,      -- sync.server.resumed that was followed last
    limit_used  bigint,           -- Sforce-Limit-Info
    limit_max   bigint
);

SELECT pg_catalog.pg_extension_config_dump('sync.server', '');
SELECT pg_catalog.pg_extension_config_dump('sync.object', '');
SELECT pg_catalog.pg_extension_config_dump('sync.field', '');
SELECT pg_catalog.pg_extension_config_dump('sync.progress', '');
SELECT pg_catalog.pg_extension_config_dump('sync.server_progress', '');

--
-- The way out. The capture trigger writes rows of sync.change directly; the
-- order of its columns is known there (src/tables/capture.c).
--

CREATE TABLE sync.change (
    seq          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    relation     regclass NOT NULL,
    id           text COLLATE "C" NOT NULL,
    local_id     bigint,
    operation    "char" NOT NULL,    -- I, U, D
    changes      json NOT NULL,      -- {"column": [old, new], ...}
    captured     timestamptz NOT NULL,
    state        "char" NOT NULL DEFAULT 'p',   -- pending, refused
    attempt      bigint,             -- sent with, outcome not known yet
    attempts     integer NOT NULL DEFAULT 0,
    next_attempt timestamptz,        -- NULL: at once
    txn          bigint,             -- seq of its transaction's first change
    command      bigint              -- by which command of the transaction
);

-- What was sent and not answered yet: recorded before it is sent, so that
-- nobody sends it again without looking.
CREATE TABLE sync.attempt (
    attempt  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    server   name NOT NULL
        REFERENCES sync.server ON UPDATE CASCADE ON DELETE CASCADE,
    object   text NOT NULL,
    verb     text NOT NULL,          -- create, update, upsert, delete
    external_id text,                -- field of an upsert
    started  timestamptz NOT NULL,   -- by the org's clock
    sent     timestamptz NOT NULL DEFAULT clock_timestamp(),
    in_doubt timestamptz,            -- no answer came: since when
    may_run  boolean NOT NULL DEFAULT true,     -- it may still run over there
    guessed  boolean NOT NULL DEFAULT false,    -- perhaps it was sent, see outbox.c
    job      text                    -- Bulk ingest job
);

-- What provisional ids have become. replaced: the row has its id.
CREATE TABLE sync.local_id (
    provisional text COLLATE "C" PRIMARY KEY,
    id          text COLLATE "C" NOT NULL,
    relation    regclass NOT NULL,
    created     timestamptz NOT NULL DEFAULT now(),
    replaced    boolean NOT NULL DEFAULT false
);
CREATE INDEX local_id_waiting ON sync.local_id (id) WHERE NOT replaced;

CREATE SEQUENCE sync.provisional;

-- Defaults of local_id; whoever inserts a row draws from it.
CREATE SEQUENCE sync.local_number;

CREATE TABLE sync.conflicts (
    seq        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    server     name NOT NULL,
    object     text NOT NULL,
    record     text NOT NULL,
    field      text,              -- NULL: the row as a whole (deleted)
    base       text,              -- what both had last; values as text
    salesforce text,
    local      text,
    winner     text NOT NULL,     -- salesforce, local
    rule       text NOT NULL,     -- salesforce, local, latest, deleted
    happened   timestamptz NOT NULL DEFAULT clock_timestamp()
);

SELECT pg_catalog.pg_extension_config_dump('sync.change', '');
SELECT pg_catalog.pg_extension_config_dump('sync.attempt', '');
-- In a restored copy writers go on numbering where the dump ended.
SELECT pg_catalog.pg_extension_config_dump('sync.change_seq_seq', '');
SELECT pg_catalog.pg_extension_config_dump('sync.attempt_attempt_seq', '');
SELECT pg_catalog.pg_extension_config_dump('sync.local_id', '');
SELECT pg_catalog.pg_extension_config_dump('sync.provisional', '');
SELECT pg_catalog.pg_extension_config_dump('sync.local_number', '');

-- The session of each server, shared by all backends. Unlogged: a token
-- belongs neither into WAL nor into a dump, and is cheap to replace.
CREATE UNLOGGED TABLE sync.session (
    serverid      oid PRIMARY KEY,
    generation    bigint NOT NULL,   -- counts logins, successful or not
    credentials   text NOT NULL,     -- which version of the credentials
    instance_url  text,
    access_token  text,
    user_id       text,
    org_id        text,              -- NULL: the login did not say
    clock_offset  bigint,            -- microseconds that the org is ahead of us
    version       text,
    login_at      timestamptz NOT NULL,
    error_state   text,              -- SQLSTATE of a login that was refused
    error_message text,
    error_detail  text,
    error_hint    text
);
REVOKE ALL ON sync.session FROM PUBLIC;

--
-- What happened
--

CREATE TABLE sync.log (
    seq       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run       bigint NOT NULL,    -- the cycle it was part of
    server    name NOT NULL,
    object    text,
    operation text NOT NULL,      -- copy, pull, deletes, schema
    started   timestamptz NOT NULL,
    ended     timestamptz,
    new       bigint NOT NULL DEFAULT 0,
    updated   bigint NOT NULL DEFAULT 0,
    deleted   bigint NOT NULL DEFAULT 0,
    skipped   bigint NOT NULL DEFAULT 0,
    failed    bigint NOT NULL DEFAULT 0,
    calls     bigint NOT NULL DEFAULT 0,
    outcome   text NOT NULL,      -- running, done, interrupted, or the error
    pid       integer             -- who is at it, while it runs
);
CREATE INDEX log_started ON sync.log (started);
CREATE INDEX log_run ON sync.log (run);

CREATE SEQUENCE sync.run;

CREATE TABLE sync.failures (
    seq        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    server     name NOT NULL,
    object     text,
    operation  text NOT NULL,
    record     text,              -- Salesforce id; NULL: the step as a whole
    code       text NOT NULL,     -- Salesforce's errorCode, or the SQLSTATE
    message    text NOT NULL,
    fields     text[],
    hint       text,
    count      bigint NOT NULL DEFAULT 1,
    first_seen timestamptz NOT NULL DEFAULT now(),
    last_seen  timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX failures_step ON sync.failures
    (server, coalesce(object, ''), operation, coalesce(record, ''), code);

-- Rows are added, never changed: a transaction that asked something and stays
-- open must not keep others from counting. Once an hour a worker puts together
-- what was counted in hours that are over.
CREATE TABLE sync.calls (
    seq    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    server name NOT NULL,
    hour   timestamptz NOT NULL,
    kind   text NOT NULL,
    calls  bigint NOT NULL
);
CREATE INDEX calls_hour ON sync.calls (server, hour);

-- Which process serves a server; unlogged, since a crash ends them all.
CREATE UNLOGGED TABLE sync.worker (
    serverid oid PRIMARY KEY,
    pid      integer NOT NULL
);
REVOKE ALL ON sync.worker FROM PUBLIC;

--
-- Who is writing to a synced table: the sync, or somebody else
--

-- STABLE: the answer does not change within a statement. Not PARALLEL SAFE:
-- the mark is known to the process that writes, not to its parallel workers.
CREATE FUNCTION sync.applying() RETURNS boolean
AS 'MODULE_PATHNAME', 'sync_applying'
LANGUAGE C STABLE STRICT PARALLEL RESTRICTED;

COMMENT ON FUNCTION sync.applying() IS
'True while the sync writes to a synced table: for triggers that shall fire, or not fire, for what comes from Salesforce.';

CREATE FUNCTION sync.own_write() RETURNS boolean
AS 'MODULE_PATHNAME', 'sync_own_write'
LANGUAGE C STABLE STRICT PARALLEL RESTRICTED;

COMMENT ON FUNCTION sync.own_write() IS
'True in the WHEN clause of a trigger if the statement is one of the sync''s own; what other triggers do when they fire for it are writes of theirs.';

CREATE FUNCTION sync.refuse_write() RETURNS trigger
AS 'MODULE_PATHNAME', 'sync_refuse_write'
LANGUAGE C;

COMMENT ON FUNCTION sync.refuse_write() IS
'Trigger function of synced tables that are kept from Salesforce.';


CREATE FUNCTION sync.capture() RETURNS trigger
AS 'MODULE_PATHNAME', 'sync_capture'
LANGUAGE C;

COMMENT ON FUNCTION sync.capture() IS
'Trigger function of synced tables that go both ways: writes the changed columns to the outbox, and refuses what Salesforce would refuse.';

CREATE FUNCTION sync.refuse_truncate() RETURNS trigger
AS 'MODULE_PATHNAME', 'sync_refuse_truncate'
LANGUAGE C;

COMMENT ON FUNCTION sync.refuse_truncate() IS
'Trigger function of synced tables that go both ways: refuses TRUNCATE, which does not tell what to delete in Salesforce.';

CREATE FUNCTION sync.provisional_id() RETURNS text
AS 'MODULE_PATHNAME', 'sync_provisional_id'
LANGUAGE C VOLATILE;

COMMENT ON FUNCTION sync.provisional_id() IS
'The id of a row that Salesforce does not know yet: ~ and a number. Default of the column id. A row takes only an id that was drawn in its own transaction.';

CREATE FUNCTION sync.identify() RETURNS trigger
AS 'MODULE_PATHNAME', 'sync_identify'
LANGUAGE C;

COMMENT ON FUNCTION sync.identify() IS
'Trigger function of synced tables that go both ways: a new row gets its own local_id, whatever the statement says, and a provisional id where it says NULL.';

--
-- Administration
--

CREATE FUNCTION sync.check(server name,
    OUT item text, OUT status text, OUT detail text, OUT hint text)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'sync_check'
LANGUAGE C VOLATILE CALLED ON NULL INPUT;

COMMENT ON FUNCTION sync.check(name) IS
'Everything that could stop the sync of a server, before it does: one row for each thing looked at, with status ok, warning or error, and a hint. Asks the org; changes nothing. The caller must own the server.';

CREATE FUNCTION sync.enable(server name, objects text[] DEFAULT NULL, schema name DEFAULT NULL)
RETURNS SETOF regclass
AS 'MODULE_PATHNAME', 'sync_enable'
LANGUAGE C VOLATILE CALLED ON NULL INPUT;

COMMENT ON FUNCTION sync.enable(name, text[], name) IS
'Creates the tables of the objects named (default: Lead, Contact, Account, User, Group, Opportunity, OpportunityContactRole, Campaign, CampaignMember, CampaignMemberStatus, Task, Event, as far as the login sees them) in the schema given (default: named like the server), and starts syncing them when the transaction commits. To be called again to add objects. Returns the tables. Errors: fdw_table_not_found, feature_not_supported (no field tells of changes), duplicate_table, reserved_name (a schema of the system, or sync), and those of the login. The caller must own the server.';

CREATE FUNCTION sync.enable(server name, object text, schema name DEFAULT NULL)
RETURNS SETOF regclass
AS 'MODULE_PATHNAME', 'sync_enable_names'
LANGUAGE C VOLATILE CALLED ON NULL INPUT;

COMMENT ON FUNCTION sync.enable(name, text, name) IS
'The same for one object, or several as ''Lead, Contact'' or ''{Lead,Contact}''. The caller must own the server.';

CREATE FUNCTION sync.set(server name, object text, option text, value text)
RETURNS void
AS 'MODULE_PATHNAME', 'sync_set'
LANGUAGE C VOLATILE CALLED ON NULL INPUT;

COMMENT ON FUNCTION sync.set(name, text, text, text) IS
'Sets an option of a synced object: fields, exclude (lists of API names; columns come and go with them), "where" (a SOQL condition), on_delete (delete, mark), interval (its own pause between pulls), direction (from, both, to), conflict (salesforce, local, latest: who wins when both sides changed a field), external_id (creates become upserts by this field), push_deletes (on, off), unmodified_since (on: never overwrite a record that changed since it was read), batch_rows (1 to 200: most rows in a call), allow_duplicates (on: save in spite of duplicate rules that only warn). NULL takes it back to the default. Errors: fdw_invalid_option_name, invalid_parameter_value, fdw_invalid_column_name, and what the org says of a condition. The caller must own the server.';

CREATE FUNCTION sync.disable(server name, object text DEFAULT NULL, drop_table boolean DEFAULT false)
RETURNS void
AS 'MODULE_PATHNAME', 'sync_disable'
LANGUAGE C VOLATILE CALLED ON NULL INPUT;

COMMENT ON FUNCTION sync.disable(name, text, boolean) IS
'Stops syncing an object, or all of a server. The table stays, and becomes an ordinary one, unless drop_table. Changes that wait stay with it, for sync.enable. The caller must own the server.';

CREATE FUNCTION sync.guard(server name, object text)
RETURNS void
AS 'MODULE_PATHNAME', 'sync_guard'
LANGUAGE C VOLATILE CALLED ON NULL INPUT;

COMMENT ON FUNCTION sync.guard(name, text) IS
'Puts the triggers of a synced table back that were dropped or switched off (state unguarded). What was written meanwhile was not captured: sync.set(server, object, ''where'', its value) reads all rows again. Errors: lock_not_available if the table is in use for three seconds. The caller must own the server.';

CREATE FUNCTION sync.pause(server name)
RETURNS void
AS 'MODULE_PATHNAME', 'sync_pause'
LANGUAGE C VOLATILE CALLED ON NULL INPUT;

COMMENT ON FUNCTION sync.pause(name) IS
'Keeps the worker of a server from calling the org until sync.resume; local changes wait in sync.outbox. The caller must own the server.';

CREATE FUNCTION sync.resume(server name, accept_org boolean DEFAULT false)
RETURNS void
AS 'MODULE_PATHNAME', 'sync_resume'
LANGUAGE C VOLATILE CALLED ON NULL INPUT;

COMMENT ON FUNCTION sync.resume(name, boolean) IS
'Goes on after sync.pause, or after the database was restored or copied; also ends the waiting after failures. accept_org: also if the login leads to another org than before: waiting changes are set aside into sync.failures, and all tables are read anew. The caller must own the server.';

CREATE FUNCTION sync.start()
RETURNS integer
AS 'MODULE_PATHNAME', 'sync_start'
LANGUAGE C STRICT VOLATILE;

COMMENT ON FUNCTION sync.start() IS
'Starts the workers of this database''s servers that the caller owns; returns for how many servers. Without sync in shared_preload_libraries to be called after each restart.';

CREATE FUNCTION sync.stop()
RETURNS integer
AS 'MODULE_PATHNAME', 'sync_stop'
LANGUAGE C STRICT VOLATILE;

COMMENT ON FUNCTION sync.stop() IS
'Ends the workers of this database''s servers that the caller owns, until sync.start; returns for how many servers.';

CREATE FUNCTION sync.retry(server name, object text DEFAULT NULL)
RETURNS bigint
AS 'MODULE_PATHNAME', 'sync_retry'
LANGUAGE C VOLATILE CALLED ON NULL INPUT;

COMMENT ON FUNCTION sync.retry(name, text) IS
'Sends changes that Salesforce refused, or that wait for their next attempt, again at once; returns how many. The caller must own the server.';

CREATE FUNCTION sync.discard(seq bigint)
RETURNS void
AS 'MODULE_PATHNAME', 'sync_discard'
LANGUAGE C VOLATILE CALLED ON NULL INPUT;

COMMENT ON FUNCTION sync.discard(bigint) IS
'Gives a change in sync.outbox up (seq there): the row is read again and goes back to what Salesforce has, a row that was never created there is deleted. Not a change that is being sent. The caller must own the server.';

CREATE FUNCTION sync.resolve(id text)
RETURNS text
AS 'MODULE_PATHNAME', 'sync_resolve'
LANGUAGE C STRICT STABLE;

COMMENT ON FUNCTION sync.resolve(text) IS
'The Salesforce id that a provisional id (~ and a number) has become; NULL if it has not yet. Any other id as it is.';

CREATE FUNCTION sync.now(server name, object text DEFAULT NULL)
RETURNS SETOF sync.log
AS 'MODULE_PATHNAME', 'sync_now'
LANGUAGE C VOLATILE CALLED ON NULL INPUT;

COMMENT ON FUNCTION sync.now(name, text) IS
'Sends what waits in sync.outbox and runs one cycle of a server, or of one object, at once, in a background process of its own; returns what the log got from it. Everything that was visible in the org when it began is then in the tables, but for steps that failed, each of which is a warning; a refused login is an error (invalid_authorization_specification). Works with no worker running; also while the server is paused, without sending. The caller must own the server.';

CREATE FUNCTION sync.soql(server name, query text)
RETURNS SETOF jsonb
AS 'MODULE_PATHNAME', 'sync_soql'
LANGUAGE C VOLATILE CALLED ON NULL INPUT;

COMMENT ON FUNCTION sync.soql(name, text) IS
'Asks the org a SOQL query; one jsonb for each record. Needs USAGE on the server.';

CREATE FUNCTION sync.describe(server name, object text)
RETURNS jsonb
AS 'MODULE_PATHNAME', 'sync_describe'
LANGUAGE C VOLATILE CALLED ON NULL INPUT;

COMMENT ON FUNCTION sync.describe(name, text) IS
'What the org says of an object and its fields, as far as the login sees (/sobjects/OBJECT/describe). Errors: fdw_table_not_found. Needs USAGE on the server.';

CREATE FUNCTION sync.limits(server name,
    OUT name text, OUT max bigint, OUT remaining bigint)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'sync_limits'
LANGUAGE C VOLATILE CALLED ON NULL INPUT;

COMMENT ON FUNCTION sync.limits(name) IS
'The org''s limits and what remains of them (/limits). Needs USAGE on the server.';

CREATE FUNCTION sync.objects(server name,
    OUT object text, OUT label text, OUT custom boolean, OUT writable boolean, OUT "table" regclass)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'sync_objects'
LANGUAGE C VOLATILE CALLED ON NULL INPUT;

COMMENT ON FUNCTION sync.objects(name) IS
'The objects that the login may query, for sync.enable: API name, label, whether it is a custom one, whether the login may create or change records, and its table if it is synced (/sobjects). Objects without a time stamp are among them, which only their own description tells; sync.enable refuses those. Needs USAGE on the server.';

-- What was dropped is no longer synced.
CREATE FUNCTION sync.dropped()
RETURNS event_trigger
AS 'MODULE_PATHNAME', 'sync_dropped'
LANGUAGE C;

COMMENT ON FUNCTION sync.dropped() IS
'Forgets servers and tables that were dropped.';

CREATE EVENT TRIGGER sync_dropped ON sql_drop
    WHEN TAG IN ('DROP TABLE', 'DROP SCHEMA', 'DROP SERVER', 'DROP OWNED')
    EXECUTE FUNCTION sync.dropped();

ALTER EVENT TRIGGER sync_dropped ENABLE ALWAYS;

COMMENT ON EVENT TRIGGER sync_dropped IS
'Ends the syncing of servers and tables that were dropped.';

-- What was altered is looked at.
CREATE FUNCTION sync.altered()
RETURNS event_trigger
AS 'MODULE_PATHNAME', 'sync_altered'
LANGUAGE C;

COMMENT ON FUNCTION sync.altered() IS
'Follows servers to new names, and wakes the workers when servers or user mappings were altered.';

CREATE EVENT TRIGGER sync_altered ON ddl_command_end
    WHEN TAG IN ('ALTER SERVER', 'CREATE USER MAPPING', 'ALTER USER MAPPING', 'DROP USER MAPPING')
    EXECUTE FUNCTION sync.altered();

ALTER EVENT TRIGGER sync_altered ENABLE ALWAYS;

COMMENT ON EVENT TRIGGER sync_altered IS
'Lets changed servers and user mappings take effect at once.';

-- What was altered of synced tables is followed.
CREATE FUNCTION sync.columns_altered()
RETURNS event_trigger
AS 'MODULE_PATHNAME', 'sync_columns_altered'
LANGUAGE C;

COMMENT ON FUNCTION sync.columns_altered() IS
'Leaves fields out whose columns were dropped, and fills columns that were added again.';

CREATE EVENT TRIGGER sync_columns_altered ON ddl_command_end
    WHEN TAG IN ('ALTER TABLE')
    EXECUTE FUNCTION sync.columns_altered();

ALTER EVENT TRIGGER sync_columns_altered ENABLE ALWAYS;

COMMENT ON EVENT TRIGGER sync_columns_altered IS
'Follows what is done to the columns of synced tables.';

-- Values that an ALTER TABLE computes anew are no longer the org's.
CREATE FUNCTION sync.rewritten()
RETURNS event_trigger
AS 'MODULE_PATHNAME', 'sync_rewritten'
LANGUAGE C;

COMMENT ON FUNCTION sync.rewritten() IS
'Lets tables be read again whose columns were given another type.';

CREATE EVENT TRIGGER sync_rewritten ON table_rewrite
    EXECUTE FUNCTION sync.rewritten();

ALTER EVENT TRIGGER sync_rewritten ENABLE ALWAYS;

COMMENT ON EVENT TRIGGER sync_rewritten IS
'Fills synced tables anew when ALTER TABLE has changed their values.';

--
-- Looking at it
--

-- A worker holds the lock LOCK_WORKER of its server (src/step.c).
CREATE VIEW sync.status AS
WITH served AS MATERIALIZED (
    SELECT l.objid AS serverid
      FROM pg_locks l
     WHERE l.locktype = 'advisory' AND l.granted
       AND l.classid = 1 AND l.objsubid = x'5346'::integer
       AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database())
)
SELECT o.server,
       o.object,
       o.relation AS "table",
       o.direction,
       CASE
           WHEN NOT o.enabled THEN 'disabled'
           WHEN s.paused OR NOT s.running THEN 'paused'
           WHEN NOT pg_is_in_recovery() AND s.serverid NOT IN (SELECT serverid FROM served) THEN 'no worker'
           WHEN sp.failures > 0 THEN 'stalled'
           WHEN p.failures > 0 THEN 'failing'
           WHEN p.unguarded IS NOT NULL THEN 'unguarded'
           WHEN p.state = 'copying' AND p.job_records > 0 THEN
               'copying ' || least(floor(100.0 * p.rows / p.job_records), 100) || ' %'
           WHEN p.state = 'copying' THEN 'copying'
           WHEN p.state = 'indexing' THEN 'copying 100 %'
           ELSE p.state
       END AS state,
       p.rows,
       p.last_synced,
       date_trunc('second', clock_timestamp() - p.last_synced) AS lag,
       CASE
           WHEN NOT o.enabled OR s.paused OR NOT s.running THEN NULL
           ELSE greatest(coalesce(p.due, sp.next_cycle), p.retry_at, sp.retry_at)
       END AS next_due,
       (SELECT count(*) FROM sync.change c
         WHERE c.relation = o.relation AND c.state = 'p') AS queue,
       (SELECT count(*) FROM sync.failures f
         WHERE f.server = o.server AND f.object = o.object
           AND f.record IS NOT NULL) AS refused,
       coalesce(sp.last_error, p.last_error, p.unguarded) AS last_error
  FROM sync.object o
  JOIN sync.server s USING (server)
  JOIN sync.server_progress sp USING (server)
  JOIN sync.progress p USING (server, object)
 ORDER BY o.server, o.object;

COMMENT ON VIEW sync.status IS
'How each object stands. state: new, copying n %, live, paused, no worker (none runs for its server: see sync.check), stalled (the server as a whole cannot be reached or refuses), failing (this object alone), unguarded (its table lacks triggers of the sync''s: see sync.guard), disabled. lag: how long ago the last pull that succeeded began.';
COMMENT ON TABLE sync.log IS
'What was done: each row one operation (copy, pull, push, schema; ask: the questions that all objects share; cycle: one that failed as a whole) with its counts. Rows of one cycle have the same run. Kept for keep_log.';
COMMENT ON TABLE sync.failures IS
'What went wrong and has not gone well since: steps (record is null), and rows (record is their id) that PostgreSQL refused (copy, pull, deletes, replace; code is the SQLSTATE) or Salesforce (push; code and message are its own). Rows go by themselves when it goes well.';

CREATE VIEW sync.outbox AS
SELECT c.seq,
       o.server,
       o.object,
       c.relation AS "table",
       c.id AS record,
       c.local_id,
       CASE c.operation WHEN 'I' THEN 'insert' WHEN 'U' THEN 'update' ELSE 'delete' END AS operation,
       c.changes,
       c.captured,
       CASE
           WHEN c.attempt IS NOT NULL THEN 'sent'
           WHEN c.state = 'r' THEN 'refused'
           ELSE 'waiting'
       END AS state,
       c.attempts,
       c.next_attempt
  FROM sync.change c
  LEFT JOIN sync.object o USING (relation)
 ORDER BY c.seq;

COMMENT ON VIEW sync.outbox IS
'Local changes that have not reached Salesforce yet: changes holds the changed columns with old and new values. state: waiting, sent (the answer is not there yet, or was lost and is being looked up), refused (see sync.failures; sync.retry, sync.discard).';
COMMENT ON TABLE sync.conflicts IS
'Fields that both sides changed: base (what both had last), salesforce and local (what each had then), who won, and by which rule (conflict of sync.set; deleted: the record is gone). field is null where a row was deleted here and changed there. Kept for 90 days, or for keep_log if that is longer.';

CREATE VIEW sync.backlog AS
WITH done AS (
    SELECT server, object,
           sum(new + updated + deleted + skipped) FILTER (WHERE operation IN ('copy', 'pull')) AS pulled,
           sum(new + updated + deleted) FILTER (WHERE operation = 'push') AS pushed
      FROM sync.log
     WHERE started > now() - interval '24 hours'
     GROUP BY server, object
), rows AS (
    SELECT o.server, o.object, 'from Salesforce' AS direction,
           CASE WHEN p.state IN ('new', 'copying') THEN greatest(p.job_records - p.rows, 0) ELSE 0 END AS waiting,
           d.pulled AS done,
           NULL::timestamptz AS oldest
      FROM sync.object o
      JOIN sync.progress p USING (server, object)
      LEFT JOIN done d USING (server, object)
     WHERE o.enabled AND o.direction <> 'to'
    UNION ALL
    SELECT o.server, o.object, 'to Salesforce',
           (SELECT count(*) FROM sync.change c WHERE c.relation = o.relation AND c.state = 'p'),
           d.pushed,
           (SELECT min(captured) FROM sync.change c WHERE c.relation = o.relation AND c.state = 'p')
      FROM sync.object o
      LEFT JOIN done d USING (server, object)
     WHERE o.enabled AND o.direction <> 'from'
)
SELECT server, object, direction, waiting,
       round(coalesce(done, 0) / 24.0, 1) AS rows_per_hour,
       CASE WHEN waiting = 0 THEN interval '0'
            WHEN done > 0 THEN date_trunc('second', waiting / done * interval '24 hours')
       END AS estimated,
       CASE WHEN oldest < now() - interval '10 minutes' THEN 'growing' ELSE 'normal' END AS trend
  FROM rows
 ORDER BY server, object, direction;

COMMENT ON VIEW sync.backlog IS
'Rows waiting in each direction, how many went through in the last 24 hours, how long the rest would take at that rate, and whether it grows: changes that have waited for ten minutes.';

CREATE VIEW sync.usage AS
SELECT c.server,
       c.hour,
       c.kind,
       c.calls,
       sp.limit_used AS org_used_24h,
       sp.limit_max AS org_allowance,
       (SELECT sp.limit_max * coalesce(rtrim((SELECT option_value
                 FROM pg_options_to_table(f.srvoptions)
                WHERE option_name = 'api_budget'), ' %'), '80')::numeric / 100
          FROM pg_foreign_server f
         WHERE f.srvname = c.server)::bigint AS budget,
       sum(c.calls) OVER (PARTITION BY c.server, c.kind ORDER BY c.hour) AS calls_so_far
  FROM (SELECT server, hour, kind, sum(calls)::bigint AS calls
          FROM sync.calls
         GROUP BY server, hour, kind) c
  JOIN sync.server_progress sp USING (server)
 ORDER BY c.server, c.hour DESC, c.kind;

COMMENT ON VIEW sync.usage IS
'API calls that sync made, by hour and kind, beside what all clients of the org used of its daily allowance when last seen, and how many calls in 24 hours sync allows itself (api_budget). Not counted is what was asked in read-only transactions.';

-- The tables beneath. Who looks into them finds what they are.
COMMENT ON TABLE sync.server IS
'Configuration: servers that were enabled. Written by the functions, never by hand.';
COMMENT ON TABLE sync.object IS
'Configuration: synced objects, their tables and options. Written by sync.enable and sync.set, never by hand.';
COMMENT ON TABLE sync.field IS
'What the org said of the fields that are synced. Internal.';
COMMENT ON TABLE sync.progress IS
'How far each object has come; sync.status shows it. Internal.';
COMMENT ON TABLE sync.server_progress IS
'How far each server has come; sync.status and sync.usage show it. Internal.';
COMMENT ON TABLE sync.change IS
'Local changes on their way out; sync.outbox shows them. Internal.';
COMMENT ON TABLE sync.attempt IS
'What was sent and is not answered yet. Internal.';
COMMENT ON TABLE sync.local_id IS
'What provisional ids have become; sync.resolve tells. Internal.';
COMMENT ON TABLE sync.session IS
'Sessions at the orgs; only superusers may read it. Internal.';
COMMENT ON TABLE sync.calls IS
'API calls by hour and kind; sync.usage shows them. Internal.';
COMMENT ON TABLE sync.worker IS
'Which process serves which server. Internal.';

--
-- Who may do what. Nothing is open to the public but what triggers need;
-- GRANT EXECUTE on the functions lets a role administer the servers it owns.
--

-- What ALTER DEFAULT PRIVILEGES gives away of all that is created is meant for
-- tables of users, not for logins, values of rows, and books that only the
-- functions may write.
DO $$
DECLARE
    given record;
BEGIN
    FOR given IN
        SELECT o.kind, o.name, a.grantee::pg_catalog.regrole AS grantee
        FROM (SELECT 'SCHEMA', 'sync', n.nspacl, n.nspowner
              FROM pg_catalog.pg_namespace n WHERE n.nspname = 'sync'
              UNION ALL
              SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END,
                  c.oid::pg_catalog.regclass::pg_catalog.text, c.relacl, c.relowner
              FROM pg_catalog.pg_class c
              WHERE c.relnamespace = 'sync'::pg_catalog.regnamespace
                  AND c.relkind IN ('r', 'v', 'S')
              UNION ALL
              SELECT 'FUNCTION', p.oid::pg_catalog.regprocedure::pg_catalog.text,
                  p.proacl, p.proowner
              FROM pg_catalog.pg_proc p
              WHERE p.pronamespace = 'sync'::pg_catalog.regnamespace)
            AS o (kind, name, acl, owner),
            pg_catalog.aclexplode(o.acl) AS a
        WHERE a.grantee NOT IN (0, o.owner)
        GROUP BY 1, 2, 3
    LOOP
        EXECUTE pg_catalog.format('REVOKE ALL ON %s %s FROM %s',
            given.kind, given.name, given.grantee);
    END LOOP;
END $$;

REVOKE ALL ON SCHEMA sync FROM PUBLIC;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA sync FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA sync FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA sync FROM PUBLIC;
GRANT USAGE ON SCHEMA sync TO PUBLIC;
GRANT EXECUTE ON FUNCTION sync.applying(), sync.own_write(), sync.refuse_write(),
    sync.capture(), sync.refuse_truncate(), sync.provisional_id(),
    sync.identify() TO PUBLIC;
GRANT USAGE ON SEQUENCE sync.local_number TO PUBLIC;
GRANT EXECUTE ON FUNCTION sync.resolve(text) TO PUBLIC;
-- Not the outbox and the conflicts, which hold values of rows.
GRANT SELECT ON sync.status, sync.log, sync.failures, sync.usage, sync.backlog
    TO pg_monitor;
