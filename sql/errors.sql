-- Calls that are refused before any org is asked.

CREATE FOREIGN DATA WRAPPER regress_sync_other;
CREATE SERVER other FOREIGN DATA WRAPPER regress_sync_other;
CREATE SERVER acme FOREIGN DATA WRAPPER salesforce;
CREATE ROLE regress_sync_owner SUPERUSER;
ALTER SERVER acme OWNER TO regress_sync_owner;

-- no such server, or one of another wrapper
SELECT sync.enable('nosuch');
SELECT sync.enable('other');
SELECT sync.enable(NULL);
SELECT * FROM sync.now('nosuch');
SELECT * FROM sync.check('nosuch');
SELECT sync.soql('nosuch', 'SELECT Id FROM Lead');
SELECT sync.describe('nosuch', 'Lead');
SELECT * FROM sync.limits('nosuch');

-- a server that nothing was enabled for
SELECT sync.pause('acme');
SELECT sync.resume('acme');
SELECT sync.disable('acme');
SELECT sync.disable('acme', 'Lead');
SELECT sync.set('acme', 'Lead', 'on_delete', 'mark');
SELECT * FROM sync.now('acme');

-- no login
SELECT sync.enable('acme');
SELECT sync.soql('acme', 'SELECT Id FROM Lead');

-- nothing there
SELECT count(*) FROM sync.status;
SELECT count(*) FROM sync.log;
SELECT count(*) FROM sync.failures;
SELECT count(*) FROM sync.usage;
SELECT sync.applying();

-- without EXECUTE, and with it but for a server of somebody else
CREATE ROLE regress_sync_stranger;
SET ROLE regress_sync_stranger;
SELECT sync.pause('acme');
SELECT sync.enable('acme');
SELECT count(*) FROM sync.status;
SELECT count(*) FROM sync.session;
RESET ROLE;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA sync TO regress_sync_stranger;
SET ROLE regress_sync_stranger;
SELECT sync.enable('acme');
SELECT sync.disable('acme');
SELECT sync.pause('acme');
SELECT sync.set('acme', 'Lead', 'on_delete', 'mark');
SELECT * FROM sync.now('acme');
SELECT * FROM sync.check('acme');
SELECT sync.soql('acme', 'SELECT Id FROM Lead');
SELECT sync.describe('acme', 'Lead');
SELECT * FROM sync.limits('acme');
RESET ROLE;

-- the trigger functions are no functions to call
SELECT sync.refuse_write();
CREATE TABLE plain (a int);
CREATE TRIGGER t BEFORE INSERT ON plain FOR EACH STATEMENT EXECUTE FUNCTION sync.refuse_write();
INSERT INTO plain VALUES (1);
DROP TABLE plain;

-- settings
SET sync.max_copiers = 3;
SHOW sync.max_copiers;

SET client_min_messages = warning;
DROP OWNED BY regress_sync_stranger;
DROP ROLE regress_sync_stranger;
DROP SERVER acme;
DROP ROLE regress_sync_owner;
DROP FOREIGN DATA WRAPPER regress_sync_other CASCADE;
