-- The functions of the test module, for psql -v module=PATH. Columns are
-- written name|type|not null (t or f)|default|comment.

CREATE SCHEMA sync;
CREATE FUNCTION sync.own_write() RETURNS boolean
    AS :'module', 'sync_own_write' LANGUAGE C STABLE STRICT PARALLEL RESTRICTED;
CREATE FUNCTION sync.applying() RETURNS boolean
    AS :'module', 'sync_applying' LANGUAGE C STABLE STRICT PARALLEL RESTRICTED;
CREATE FUNCTION sync.refuse_write() RETURNS trigger
    AS :'module', 'sync_refuse_write' LANGUAGE C;
GRANT USAGE ON SCHEMA sync TO PUBLIC;

CREATE SCHEMA tt;
GRANT USAGE ON SCHEMA tt TO PUBLIC;
CREATE FUNCTION tt.create_table(schema text, name text, columns text[], owner regrole, comment text)
    RETURNS oid AS :'module', 'tt_create_table' LANGUAGE C;
CREATE FUNCTION tt.add_columns(oid, text[]) RETURNS void
    AS :'module', 'tt_add_columns' LANGUAGE C STRICT;
CREATE FUNCTION tt.change_columns(oid, text[]) RETURNS void
    AS :'module', 'tt_change_columns' LANGUAGE C STRICT;
CREATE FUNCTION tt.drop_column(oid, text) RETURNS void
    AS :'module', 'tt_drop_column' LANGUAGE C STRICT;
CREATE FUNCTION tt.comment(oid, text, text) RETURNS void
    AS :'module', 'tt_comment' LANGUAGE C;
CREATE FUNCTION tt.build_keys(oid, text[]) RETURNS bigint
    AS :'module', 'tt_build_keys' LANGUAGE C STRICT;
CREATE FUNCTION tt.differences(oid, text[]) RETURNS text
    AS :'module', 'tt_differences' LANGUAGE C STRICT;
CREATE FUNCTION tt.drop(oid) RETURNS void
    AS :'module', 'tt_drop' LANGUAGE C STRICT;
CREATE FUNCTION tt.guard(oid, boolean) RETURNS void
    AS :'module', 'tt_guard' LANGUAGE C STRICT;

-- Loads say how many rows went in, and then each refused one in a line:
-- id, SQLSTATE, column, message. source_fails: the source raises this SQLSTATE
-- at its end.
CREATE FUNCTION tt.load(oid, columns text[], rows bytea, apply boolean DEFAULT true, source_fails text DEFAULT '')
    RETURNS text AS :'module', 'tt_load' LANGUAGE C STRICT;
CREATE FUNCTION tt.load_file(oid, columns text[], file text)
    RETURNS text AS :'module', 'tt_load_file' LANGUAGE C STRICT;
CREATE FUNCTION tt.chunk(bytes int) RETURNS void
    AS :'module', 'tt_chunk' LANGUAGE C STRICT;

-- There is one stage. Merges say inserted, updated, deleted, skipped, failed
-- and then each refused row.
CREATE FUNCTION tt.stage(oid, columns text[], stamp text) RETURNS void
    AS :'module', 'tt_stage' LANGUAGE C;
CREATE FUNCTION tt.stage_load(rows bytea) RETURNS text
    AS :'module', 'tt_stage_load' LANGUAGE C STRICT;
CREATE FUNCTION tt.stage_load_file(file text) RETURNS text
    AS :'module', 'tt_stage_load_file' LANGUAGE C STRICT;
CREATE FUNCTION tt.merge(mark boolean DEFAULT false) RETURNS text
    AS :'module', 'tt_merge' LANGUAGE C STRICT;
CREATE FUNCTION tt.absent() RETURNS text
    AS :'module', 'tt_absent' LANGUAGE C STRICT;
CREATE FUNCTION tt.delete_absent(before timestamptz, mark boolean DEFAULT false) RETURNS text
    AS :'module', 'tt_delete_absent' LANGUAGE C STRICT;
CREATE FUNCTION tt.stage_drop() RETURNS void
    AS :'module', 'tt_stage_drop' LANGUAGE C STRICT;
CREATE FUNCTION tt.delete_ids(oid, ids text[], moments timestamptz[], stamp text, mark boolean DEFAULT false)
    RETURNS text AS :'module', 'tt_delete_ids' LANGUAGE C;

-- Begins to apply and runs the statement; with_end: and ends it.
CREATE FUNCTION tt.apply(oid, statement text, with_end boolean DEFAULT true)
    RETURNS void AS :'module', 'tt_apply' LANGUAGE C STRICT;

-- Private memory of this process, in kB.
CREATE FUNCTION tt.rss_anon() RETURNS bigint
    AS :'module', 'tt_rss_anon' LANGUAGE C STRICT;
