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
-- administrators set, so that neither waits for the other's row locks.
--

CREATE TABLE sync.server (
    server    name PRIMARY KEY,
    serverid  oid NOT NULL,       -- follows ALTER SERVER ... RENAME
    origin    text NOT NULL,      -- where it was enabled: a restored copy differs
    schema    name NOT NULL,      -- where new tables go
    running   boolean NOT NULL DEFAULT true,    -- sync.start, sync.stop
    paused    boolean NOT NULL DEFAULT false    -- sync.pause, sync.resume
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
    PRIMARY KEY (server, object)
);

-- What the org said of the fields that are synced, in the order of columns.
CREATE TABLE sync.field (
    server       name NOT NULL,
    object       text NOT NULL,
    field        text NOT NULL,
    attname      name NOT NULL,
    ordinal      integer NOT NULL,
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
    reference_to text[] NOT NULL,
    PRIMARY KEY (server, object, field),
    FOREIGN KEY (server, object)
        REFERENCES sync.object ON UPDATE CASCADE ON DELETE CASCADE
);

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
    deletable     boolean NOT NULL,
    replicateable boolean NOT NULL,
    cursor        timestamptz,    -- all changes up to here are in the table
    rows          bigint NOT NULL DEFAULT 0,
    last_synced   timestamptz,    -- start of the last pull that succeeded
    due           timestamptz,    -- NULL: now
    job           text,           -- first copy: Bulk job, or 'query'
    job_version   text,
    job_records   bigint,
    locator       text,           -- first copy: next page; NULL: the first
    described     timestamptz,
    describe_tag  text,           -- Last-Modified of the last describe
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
    limit_used  bigint,           -- Sforce-Limit-Info
    limit_max   bigint
);

SELECT pg_catalog.pg_extension_config_dump('sync.server', '');
SELECT pg_catalog.pg_extension_config_dump('sync.object', '');
SELECT pg_catalog.pg_extension_config_dump('sync.field', '');
SELECT pg_catalog.pg_extension_config_dump('sync.progress', '');
SELECT pg_catalog.pg_extension_config_dump('sync.server_progress', '');

-- The session of each server, shared by all backends. Unlogged: a token
-- belongs neither into WAL nor into a dump, and is cheap to replace.
CREATE UNLOGGED TABLE sync.session (
    serverid      oid PRIMARY KEY,
    generation    bigint NOT NULL,   -- counts logins, successful or not
    credentials   text NOT NULL,     -- which version of the credentials
    instance_url  text,
    access_token  text,
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

CREATE TABLE sync.calls (
    server name NOT NULL,
    hour   timestamptz NOT NULL,
    kind   text NOT NULL,
    calls  bigint NOT NULL,
    PRIMARY KEY (server, hour, kind)
);

-- Which process serves a server; unlogged, since a crash ends them all.
CREATE UNLOGGED TABLE sync.worker (
    serverid oid PRIMARY KEY,
    pid      integer NOT NULL
);
REVOKE ALL ON sync.worker FROM PUBLIC;
