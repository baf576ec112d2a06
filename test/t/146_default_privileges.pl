
# ALTER DEFAULT PRIVILEGES gives away nothing of the extension's own.

use strict;
use warnings FATAL => 'all';
use SyncTest;
use Test::More;

my $node = sync_node('main');

$node->safe_psql('postgres', q{
    DROP EXTENSION sync CASCADE;
    DROP SCHEMA IF EXISTS sync;
    CREATE ROLE "a reader";
    ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO "a reader";
    ALTER DEFAULT PRIVILEGES GRANT ALL ON SEQUENCES TO "a reader", PUBLIC;
    ALTER DEFAULT PRIVILEGES GRANT ALL ON SCHEMAS TO "a reader", PUBLIC;
    ALTER DEFAULT PRIVILEGES GRANT ALL ON FUNCTIONS TO "a reader";
    ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
    CREATE EXTENSION sync});
is($node->safe_psql('postgres', q{
    SELECT c.oid::regclass, p FROM pg_class c, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'TRIGGER', 'REFERENCES']) p
    WHERE c.relnamespace = 'sync'::regnamespace AND c.relkind IN ('r', 'v') AND has_table_privilege('a reader', c.oid, p)}), '', 'no table');
is($node->safe_psql('postgres', q{
    SELECT c.oid::regclass FROM pg_class c WHERE c.relnamespace = 'sync'::regnamespace AND CASE WHEN c.relkind = 'S'
    THEN has_sequence_privilege('a reader', c.oid, 'USAGE, UPDATE') END}), 'sync.local_number', 'no sequence but that of a default');
is($node->safe_psql('postgres', q{SELECT has_schema_privilege('a reader', 'sync', 'CREATE')}), 'f', 'nothing can be created there');
is($node->safe_psql('postgres', q{
    SELECT string_agg(proname, ' ' ORDER BY proname) FROM pg_proc
    WHERE pronamespace = 'sync'::regnamespace AND has_function_privilege('a reader', oid, 'EXECUTE')}),
    'applying capture identify own_write provisional_id refuse_truncate refuse_write resolve', 'no function but what triggers need');
done_testing();
