
# Who may do what: the owner of a server, without being superuser; others; and
# rows are written with the owner's rights, never more.

use strict;
use warnings;
use SyncTest;
use Test::More;
use WayOut;

my $org = Org->start(leads => 200, contacts => 40);
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

# Nor by what runs while a statement on the table is only planned: index
# expressions, and from PostgreSQL 14 on those of statistics, which are evaluated each time.
# One of the table's is put on the stage, too.  Whoever runs it is noted, and
# with which statement; superusers leave the tables alone meanwhile.
$node->safe_psql('postgres', as_role('owner', q{SELECT sync.enable('acme', ARRAY['Contact'])}));
wait_live($node, 'acme', what => 'contacts are there');
my $statistics = $node->safe_psql('postgres', 'SHOW server_version_num') >= 140000;
my $stage = $statistics ? q{
        IF to_regclass('pg_temp._sync_stage') IS NOT NULL THEN
            CREATE STATISTICS IF NOT EXISTS acme.of_stage ON id, (acme.planned(id)), (acme.planned('1'))
                FROM pg_temp._sync_stage;
        END IF;} : '';
$node->safe_psql('postgres', as_role('owner', qq{
    CREATE TABLE acme.planner (who text, context text);
    GRANT INSERT ON acme.planner TO PUBLIC;
    CREATE FUNCTION acme.note() RETURNS text LANGUAGE plpgsql AS \$f\$
    DECLARE
        stack text;
    BEGIN
        GET DIAGNOSTICS stack = PG_CONTEXT;
        INSERT INTO acme.planner VALUES (current_user, stack);
        $stage
        RETURN current_user;
    END \$f\$;
    CREATE FUNCTION acme.planned(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS \$f\$
    BEGIN
        IF \$1 = '1' THEN
            PERFORM acme.note();
        END IF;
        RETURN \$1;
    END \$f\$}));
foreach my $table (qw(lead contact))
{
    $node->safe_psql('postgres', as_role('owner', "CREATE INDEX ON acme.$table ((acme.planned('1')), (acme.planned(id)))"));
    $node->safe_psql('postgres', as_role('owner',
        "CREATE STATISTICS acme.of_$table ON id, (acme.planned('1')) FROM acme.$table")) if $statistics;
}

sub as_owner { return $node->safe_psql('postgres', as_role('owner', $_[0])) }

# Changes go out: updates, updates under a condition, new rows below others, and
# new rows take their ids.
my @contacts = split /\n/, as_owner('SELECT id FROM acme.contact ORDER BY id');
as_owner(qq{UPDATE acme.contact SET title = 'planned' WHERE id = '$contacts[0]'});
went_out($node, 'an update goes out');
as_owner(q{SELECT sync.set('acme', 'Contact', 'unmodified_since', 'on')});
as_owner(qq{UPDATE acme.contact SET title = 'under a condition' WHERE id = '$contacts[1]'});
went_out($node, 'one under a condition, too');
as_owner(q{SELECT sync.set('acme', 'Contact', 'unmodified_since', 'off')});
as_owner(qq{INSERT INTO acme.contact (lastname, accountid, reportstoid)
    SELECT 'Planned ' || i, (SELECT accountid FROM acme.contact WHERE id = '$contacts[0]'), '$contacts[0]'
    FROM generate_series(1, 3) i;
    UPDATE acme.contact SET title = 'below others' WHERE accountid IS NOT NULL});
went_out($node, 'so do new rows');

# What comes in meets changes that wait: another value, a deletion.
sync_now($node, 'acme');
hold($node);
as_owner(qq{UPDATE acme.contact SET title = 'ours', phone = '1' WHERE id = '$contacts[2]';
    UPDATE acme.contact SET title = 'ours' WHERE id = '$contacts[3]'});
$org->update('Contact', { Id => $contacts[2], Title => 'theirs', Department => 'theirs' });
$org->delete('Contact', $contacts[3]);
let_go($node);
sync_now($node, 'acme');
is(as_owner(qq{SELECT title, phone, department FROM acme.contact WHERE id = '$contacts[2]'}), 'theirs|1|theirs',
    'both sides of a row that was changed on both');

# A lead was converted: its change goes on to the contact, where constraints of
# the owner's that wait for the commit are checked before.
as_owner(q{
    CREATE FUNCTION acme.at_commit() RETURNS trigger LANGUAGE plpgsql AS $f$
    BEGIN
        PERFORM acme.note();
        RETURN NULL;
    END $f$;
    CREATE CONSTRAINT TRIGGER at_commit AFTER UPDATE ON acme.contact DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW WHEN (NEW.title = 'Converted') EXECUTE FUNCTION acme.at_commit()});
my $lead = as_owner(q{SELECT min(id) FROM acme.lead WHERE NOT isconverted});
hold($node);
as_owner(qq{UPDATE acme.lead SET title = 'Converted' WHERE id = '$lead'});
$org->dml(op => 'convert', object => 'Lead', records => [ { leadId => $lead } ]);
let_go($node, 'a change of a converted lead goes on');
is($org->count('Contact', q{Title = 'Converted'}), 1, 'to its contact, which has a deferred constraint');
like(as_owner(q{SELECT string_agg(context, '') FROM acme.planner}), qr/at_commit/, 'which was checked');

# A change that was refused, of a row that is deleted there
my $fault = $org->fault({ record => $contacts[5] },
    { record_error => { statusCode => 'FIELD_CUSTOM_VALIDATION_EXCEPTION', message => 'not so' } });
as_owner(qq{UPDATE acme.contact SET title = 'refused' WHERE id = '$contacts[5]'});
wait_for($node, qq{SELECT count(*) = 1 FROM sync.outbox WHERE state = 'refused' AND record = '$contacts[5]'}, 'a change is refused');
$org->delete('Contact', $contacts[5]);
sync_now($node, 'acme');
is(sql($node, 'SELECT count(*) FROM sync.outbox'), 0, 'and given up with its row');

# An attempt whose answer never comes
as_owner(q{ALTER SERVER acme OPTIONS (ADD timeout '2 s')});
$fault = $org->fault({ kind => 'collections', method => 'POST' }, { hang => 60 });
as_owner(q{INSERT INTO acme.contact (lastname) VALUES ('In doubt')});
wait_for($node, q{SELECT count(*) = 1 FROM sync.attempt WHERE in_doubt IS NOT NULL}, 'an answer is lost');
$org->update('Contact', { Id => $contacts[4], Title => 'meanwhile' });
sync_now($node, 'acme');
is(as_owner(qq{SELECT title FROM acme.contact WHERE id = '$contacts[4]'}), 'meanwhile', 'a pull while records are in doubt');

my $met = as_owner(q{SELECT count(DISTINCT context) FROM acme.planner});
cmp_ok($met, '>', $statistics ? 15 : 0, "statements that were planned ran the owner's code ($met)");
is(as_owner(q{SELECT DISTINCT who || E'\n' || context FROM acme.planner WHERE who <> 'owner'}), '',
    'as the owner, all of them');

# Who may only take on the role that reads the server's files, and has not, names none.
$node->safe_psql('postgres', q{
    CREATE ROLE half LOGIN NOINHERIT;
    GRANT pg_read_server_files TO half;
    GRANT USAGE ON FOREIGN DATA WRAPPER salesforce TO half;
    CREATE ROLE whole LOGIN;
    GRANT pg_read_server_files TO whole;
    GRANT USAGE ON FOREIGN DATA WRAPPER salesforce TO whole});
my $create = q{CREATE SERVER %s FOREIGN DATA WRAPPER salesforce OPTIONS (ca_file '/nowhere')};
like(sql_error($node, as_role('half', sprintf $create, 'half')), qr/42501.*"ca_file"/s,
    "a member that does not inherit may not name a server's file");
$node->safe_psql('postgres', as_role('half', 'SET ROLE pg_read_server_files; RESET ROLE'));
$node->safe_psql('postgres', as_role('whole', sprintf $create, 'whole'));
pass('one that does may');

# Names that are taken by something else.
$node->safe_psql('postgres', q{CREATE SCHEMA taken; CREATE TABLE taken.lead (x int); CREATE VIEW taken.campaign AS SELECT 1 AS a});
connect_org($node, $org, 'taken');
like(sql_error($node, q{SELECT sync.enable('taken', ARRAY['Lead'])}), qr/42P07.*lead/s,
    'a name that is taken is an error that says so');
like(sql_error($node, q{SELECT sync.enable('taken', ARRAY['Campaign'])}), qr/42P07.*campaign/s, 'also by a view');
is($node->safe_psql('postgres', 'SELECT count(*) FROM taken.lead'), 0, 'and is left alone');
done_testing();
