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

CREATE FUNCTION sync.refuse_write() RETURNS trigger
AS 'MODULE_PATHNAME', 'sync_refuse_write'
LANGUAGE C;

COMMENT ON FUNCTION sync.refuse_write() IS
'Trigger function of synced tables that are kept from Salesforce.';

-- Owners of synced tables create the triggers, and everybody who writes to one
-- asks sync.applying().
GRANT USAGE ON SCHEMA sync TO PUBLIC;
GRANT EXECUTE ON FUNCTION sync.applying(), sync.refuse_write() TO PUBLIC;
