
# Who may do what: the owner of a server, without being superuser; others; and
# rows are written with the owner's rights, never more.

use strict;
use warnings;
use SyncTest;
use Test::More;

my $org = Org->start(leads => 200);
my $node = sync_node('main');

$node->safe_psql('postgres', q{
    CREATE ROLE owner LOGIN;
    CREATE ROLE other LOGIN;
    CREATE ROLE reader LOGIN;
    GRANT USAGE ON FOREIGN DATA WRAPPER salesforce TO owner, other;
    GRANT CREATE ON DATABASE postgres TO owner, other});

# Nothing is open to the public.
like(sql_error($node, q{SET SESSION AUTHORIZATION owner; SELECT sync.enable('acme')}), qr/42501/,
    'functions are for those who were granted them');
$node->safe_psql('postgres', q{
    GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA sync TO owner, other;
    GRANT SELECT ON sync.status, sync.failures, sync.log TO owner});

sub as_role
{
    my ($role, $sql) = @_;
    return "SET SESSION AUTHORIZATION $role;\n$sql";
}

connect_org($node, $org, 'acme', role => 'owner', auth => 'client_credentials',
    server => [ interval => '1 s' ]);
$node->safe_psql('postgres', as_role('owner', q{SELECT sync.enable('acme', ARRAY['Lead', 'Campaign'])}));
wait_live($node, 'acme', what => 'a server without a superuser');
same_rows($node, $org, 'acme', 'Lead', 'of an ordinary owner');
is($node->safe_psql('postgres', q{
    SELECT string_agg(DISTINCT pg_get_userbyid(relowner), ',') FROM pg_class
    WHERE relnamespace = 'acme'::regnamespace}), 'owner', 'owns its tables');
is($node->safe_psql('postgres', as_role('owner', q{SELECT count(*) FROM sync.status})), 2, 'sees its status');
$node->safe_psql('postgres', as_role('owner', $_)) for
    q{SELECT * FROM sync.check('acme')}, q{SELECT sync.pause('acme')}, q{SELECT sync.resume('acme')},
    q{SELECT sync.set('acme', 'Lead', 'on_delete', 'mark')}, q{SELECT * FROM sync.now('acme')},
    q{SELECT sync.soql('acme', 'SELECT Id FROM Lead LIMIT 1')}, q{SELECT * FROM sync.limits('acme')};
pass('the owner may administer it');

# Others may not, whatever they call.
for my $sql (q{SELECT sync.enable('acme', ARRAY['Account'])}, q{SELECT sync.disable('acme')},
    q{SELECT sync.pause('acme')}, q{SELECT sync.resume('acme')}, q{SELECT * FROM sync.now('acme')},
    q{SELECT sync.set('acme', 'Lead', 'on_delete', 'mark')}, q{SELECT * FROM sync.check('acme')},
    q{SELECT sync.soql('acme', 'SELECT Id FROM Lead')}, q{SELECT * FROM sync.describe('acme', 'Lead')},
    q{SELECT * FROM sync.limits('acme')}, q{TABLE sync.session}, q{UPDATE sync.server SET paused = true},
    q{SELECT * FROM acme.lead}, q{INSERT INTO sync.failures (server, operation, code, message) VALUES ('a', 'b', 'c', 'd')})
{
    like(sql_error($node, as_role('other', $sql)), qr/ERROR:\s+42501/, 'another role: permission denied');
}
is($node->safe_psql('postgres', as_role('other', q{SELECT count(*) FROM sync.status})), 0,
    'and sees no status of it')
  if $node->safe_psql('postgres', q{SELECT has_table_privilege('other', 'sync.status', 'SELECT')}) eq 't';

# Readers are granted the tables as any.
$node->safe_psql('postgres', as_role('owner', q{
    GRANT USAGE ON SCHEMA acme TO reader; GRANT SELECT ON acme.lead TO reader}));
is($node->safe_psql('postgres', as_role('reader', 'SELECT count(*) FROM acme.lead')), 200, 'a reader reads');

# A trigger of the owner runs as the owner, in a restricted operation, and can
# tell the sync from others.
$node->safe_psql('postgres', as_role('owner', q{
    CREATE TABLE acme.seen (who text, session_who text, path text, syncing boolean);
    CREATE FUNCTION acme.seen() RETURNS trigger LANGUAGE plpgsql AS $f$
    BEGIN
        INSERT INTO acme.seen VALUES (current_user, session_user, current_setting('search_path'), sync.applying());
        RETURN NULL;
    END $f$;
    CREATE TRIGGER seen AFTER INSERT OR UPDATE ON acme.lead FOR EACH ROW EXECUTE FUNCTION acme.seen()}));
$org->insert('Lead', { LastName => 'Trigger', Company => 'T' });
sync_now($node, 'acme');
wait_for($node, q{SELECT count(*) > 0 FROM acme.seen}, "the owner's trigger fires");
like($node->safe_psql('postgres', q{SELECT DISTINCT who, syncing FROM acme.seen}), qr/^owner\|t$/,
    'as the owner, and can tell that the sync writes');

# It cannot become more.
$node->safe_psql('postgres', as_role('owner', q{
    CREATE OR REPLACE FUNCTION acme.seen() RETURNS trigger LANGUAGE plpgsql AS $f$
    BEGIN
        EXECUTE 'RESET ROLE';
        EXECUTE 'RESET SESSION AUTHORIZATION';
        EXECUTE 'CREATE ROLE evil SUPERUSER';
        RETURN NULL;
    END $f$}));
$org->insert('Lead', { LastName => 'Evil', Company => 'T' });
$node->psql('postgres', q{SELECT * FROM sync.now('acme')});
wait_for($node, q{SELECT count(*) > 0 FROM sync.failures WHERE object = 'Lead'},
    'a trigger that tries to become superuser is a failure');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_roles WHERE rolname = 'evil'}), 0, 'and no role');
$node->safe_psql('postgres', as_role('owner', 'DROP TRIGGER seen ON acme.lead'));
$node->psql('postgres', q{SELECT * FROM sync.now('acme')});
same_rows($node, $org, 'acme', 'Lead', 'without the trigger', fields => ['LastName']);

# Names that are taken by something else.
$node->safe_psql('postgres', q{CREATE SCHEMA taken; CREATE TABLE taken.lead (x int); CREATE VIEW taken.campaign AS SELECT 1 AS a});
connect_org($node, $org, 'taken');
like(sql_error($node, q{SELECT sync.enable('taken', ARRAY['Lead'])}), qr/42P07.*lead/s,
    'a name that is taken is an error that says so');
like(sql_error($node, q{SELECT sync.enable('taken', ARRAY['Campaign'])}), qr/42P07.*campaign/s, 'also by a view');
is($node->safe_psql('postgres', 'SELECT count(*) FROM taken.lead'), 0, 'and is left alone');
done_testing();
