
# Deadlocks and serialization failures are retried at once, at our cost, and
# concern the object; transactions that have locked rows of the sync's own tables
# neither stop nor kill anybody; DBAs' event triggers and settings do not matter.

use strict;
use warnings FATAL => 'all';
use SyncTest;
use Test::More;
use WayOut;

my ($org, $node) = two_way(leads => 30, contacts => 20, accounts => 10, objects => [qw(Lead Contact Account)]);
my @leads = split /\n/, sql($node, 'SELECT id FROM acme.lead WHERE NOT isconverted ORDER BY id');
my @contacts = split /\n/, sql($node, 'SELECT id FROM acme.contact ORDER BY id');
my @accounts = split /\n/, sql($node, 'SELECT id FROM acme.account ORDER BY id');

# A trigger that fails like that a few times, and then not
foreach my $state (qw(40P01 40001))
{
    sql($node, qq{
        CREATE SEQUENCE public.tries;
        CREATE FUNCTION public.unlucky() RETURNS trigger LANGUAGE plpgsql AS \$\$
        BEGIN
            IF nextval('public.tries') < 3 THEN RAISE 'unlucky' USING errcode = '$state'; END IF;
            RETURN NULL;
        END \$\$;
        CREATE TRIGGER unlucky AFTER UPDATE ON acme.account FOR EACH ROW EXECUTE FUNCTION public.unlucky()});
    $org->update('Account', { Id => $accounts[0], Description => "after $state" });
    is(sql($node, q{SELECT outcome FROM sync.now('acme', 'Account') WHERE object = 'Account'}), 'done', "$state is retried at once");
    is(sql($node, qq{SELECT description FROM acme.account WHERE id = '$accounts[0]'}), "after $state", '... and the row is in');
    sql($node, 'DROP TRIGGER unlucky ON acme.account; DROP FUNCTION public.unlucky(); DROP SEQUENCE public.tries');
}

# ... and one that never stops: the object's own, soon again, and no other's
sql($node, q{
    CREATE FUNCTION public.unlucky() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE 'unlucky' USING errcode = '40P01'; END $$;
    CREATE TRIGGER unlucky AFTER UPDATE ON acme.account FOR EACH ROW EXECUTE FUNCTION public.unlucky()});
$org->update('Account', { Id => $accounts[1], Description => 'never' });
$org->update('Lead', { Id => $leads[0], Title => 'beside' });
sync_now($node, 'acme');
is(sql($node, qq{SELECT title FROM acme.lead WHERE id = '$leads[0]'}), 'beside', 'a deadlock without end: another object goes on');
is(sql($node, q{SELECT count(*) FROM sync.failures WHERE object = 'Account'}), 1, '... it is told');
unlike(sql($node, q{SELECT string_agg(state, ',') FROM sync.status}), qr/stalled/, '... the org is not down');
sql($node, 'DROP TRIGGER unlucky ON acme.account; DROP FUNCTION public.unlucky()');
wait_for($node, qq{SELECT description = 'never' FROM acme.account WHERE id = '$accounts[1]'}, '... and it heals by itself');

# A real deadlock: the user is not the victim.
{
    my $session = $node->background_psql('postgres', on_error_die => 1);
    sql($node, q{
        CREATE TABLE public.meet (id int); INSERT INTO public.meet VALUES (1);
        CREATE FUNCTION public.meet() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN UPDATE public.meet SET id = 1; RETURN NULL; END';
        CREATE TRIGGER meet AFTER UPDATE ON acme.account FOR EACH ROW WHEN (sync.applying()) EXECUTE FUNCTION public.meet()});
    sql($node, 'ALTER TABLE acme.account DISABLE TRIGGER sync_guard, DISABLE TRIGGER sync_guard_rows');
    $session->query_safe('BEGIN; UPDATE public.meet SET id = 1');
    $org->update('Account', { Id => $accounts[2], Description => 'met' });
    my $run = sql_start($node, q{SELECT count(*) FROM sync.now('acme', 'Account')});
    wait_for($node, q{SELECT count(*) > 0 FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE NOT l.granted AND a.backend_type = 'sync cycle'
        OR EXISTS (SELECT FROM sync.failures)}, 'we wait for a user');
    $session->query_safe(qq{UPDATE acme.account SET rating = rating WHERE id = '$accounts[2]'; COMMIT});
    pass('... who waits for us, and gets through');
    sql_end($run);
    $session->quit;
    sql($node, 'ALTER TABLE acme.account ENABLE ALWAYS TRIGGER sync_guard, ENABLE ALWAYS TRIGGER sync_guard_rows');
    wait_for($node, qq{SELECT description = 'met' FROM acme.account WHERE id = '$accounts[2]'}, '... and the row comes in');
    sql($node, 'DROP TRIGGER meet ON acme.account');
}

# Open transactions with functions of ours
my $round = 0;
foreach my $call (q{SELECT sync.resume('acme')}, q{SELECT sync.retry('acme')}, q{SELECT sync.set('acme', 'Account', 'interval', '2 hours')},
    q{SELECT sync.set('acme', 'Account', 'where', 'Name != null')}, q{SELECT sync.set('acme', 'Lead', 'conflict', 'salesforce')},
    q{SELECT sync.discard(seq) FROM sync.outbox WHERE object = 'Lead'}, q{SELECT sync.pause('acme')},
    q{ALTER SERVER acme OPTIONS (SET interval '2 hours')})
{
    my $value = 'while open ' . ++$round;
    my $fault = $org->fault({ record => $leads[1] },
        { record_error => { statusCode => 'FIELD_CUSTOM_VALIDATION_EXCEPTION', message => 'not so' } });
    sql($node, qq{UPDATE acme.lead SET title = 'refused $round' WHERE id = '$leads[1]'});
    wait_for($node, q{SELECT count(*) > 0 FROM sync.outbox WHERE state = 'refused'}, 'a change is refused');
    $org->no_faults;
    my $session = $node->background_psql('postgres', on_error_die => 1);
    $session->query_safe("BEGIN; $call");
    sql($node, qq{UPDATE acme.contact SET title = '$value' WHERE id = '$contacts[0]'});
    wait_for($node, q{SELECT count(*) = 0 FROM sync.outbox WHERE object = 'Contact'}, "open $call: another object goes out");
    $org->update('Contact', { Id => $contacts[1], Department => $value });
    sync_now($node, 'acme', 'Contact');
    is(sql($node, qq{SELECT department FROM acme.contact WHERE id = '$contacts[1]'}), $value, '... and comes in');
    is(sql($node, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'sync worker'}), 1, '... the worker lives');
    unlike(sql($node, q{SELECT string_agg(state, ',') FROM sync.status}), qr/stalled/, '... the org is not down');
    $session->query_safe('ROLLBACK');
    $session->quit;
    sql($node, q{SELECT sync.retry('acme')});
    went_out($node, '... and all goes out after it');
}

# Administrators' event triggers: none of theirs fires in a cycle.
sql($node, q{
    CREATE TABLE public.ddl_log (tag text);
    CREATE UNIQUE INDEX one_title ON acme.lead (website) WHERE website = 'same';
    CREATE FUNCTION public.log_ddl() RETURNS event_trigger LANGUAGE plpgsql AS
        'BEGIN INSERT INTO ddl_log VALUES (tg_tag); END';
    CREATE FUNCTION public.ban() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no %', tg_tag; END $$;
    CREATE EVENT TRIGGER log_end ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'ALTER TABLE', 'CREATE INDEX')
        EXECUTE FUNCTION public.log_ddl();
    CREATE EVENT TRIGGER log_drop ON sql_drop WHEN TAG IN ('DROP TABLE', 'DROP INDEX') EXECUTE FUNCTION public.log_ddl();
    CREATE EVENT TRIGGER ban ON ddl_command_start WHEN TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'DROP TABLE', 'ALTER TABLE', 'CREATE INDEX')
        EXECUTE FUNCTION public.ban()});
$org->update('Lead', { Id => $leads[2], Title => 'banned' }, { Id => $leads[3], Website => 'same' }, { Id => $leads[4], Website => 'same' });
$org->delete('Account', $accounts[9]);
sync_now($node, 'acme');
is(sql($node, qq{SELECT title FROM acme.lead WHERE id = '$leads[2]'}), 'banned', 'a ban on DDL: rows come in');
is(sql($node, qq{SELECT count(*) FROM sync.failures WHERE object = 'Lead' AND code = '23505'}), 1, '... one is refused, for its own sake');
is(sql($node, qq{SELECT count(*) FROM acme.account WHERE id = '$accounts[9]'}), 0, '... deletes, too');
sql($node, q{INSERT INTO acme.lead (lastname, company) VALUES ('Banned', 'x')});
went_out($node, '... changes go out');
wait_for($node, q{SELECT count(*) = 1 FROM acme.lead WHERE lastname = 'Banned' AND id NOT LIKE '~%'}, '... and take their ids');
$org->change('Lead', { Title => 'many {Id}' });
sync_now($node, 'acme');
is(sql($node, q{SELECT count(*) FROM acme.lead WHERE title LIKE 'many %'}), $org->count('Lead', q{Title LIKE 'many %'}) - 1,
    '... many rows as well, but for that one');
is(sql($node, 'SELECT count(*) FROM public.ddl_log'), 0, '... and nothing was logged');
sql($node, q{DROP EVENT TRIGGER ban});
sql($node, q{DROP EVENT TRIGGER log_end});
sql($node, q{DROP EVENT TRIGGER log_drop});
sql($node, 'DROP INDEX acme.one_title');
$node->psql('postgres', q{SELECT * FROM sync.now('acme')});
is(sql($node, 'SELECT count(*) FROM sync.failures'), 0, 'nothing fails without them');

# Settings of the database and of roles
sql($node, q{CREATE ROLE nobody_in_particular; CREATE ACCESS METHOD heap2 TYPE TABLE HANDLER heap_tableam_handler});
sql($node, join ';', map { "ALTER DATABASE postgres SET $_" } 'role = nobody_in_particular', 'session_replication_role = replica', 'row_security = off',
  'default_table_access_method = heap2', 'transform_null_equals = on', 'default_transaction_read_only = on',
  'lock_timeout = 0', 'statement_timeout = 1', "search_path = ''", 'standard_conforming_strings = off', "IntervalStyle = 'sql_standard'",
  "DateStyle = 'German'", "TimeZone = 'Asia/Kolkata'", 'quote_all_identifiers = on', "bytea_output = 'escape'", 'array_nulls = off',
  'extra_float_digits = -5', 'check_function_bodies = off', "default_tablespace = ''", 'lc_messages = \'C\'', 'enable_seqscan = off',
  'max_parallel_workers_per_gather = 0', 'jit = on', 'plan_cache_mode = force_custom_plan');
$node->restart;
# For this test's own sessions, which a worker does not have.
$ENV{PGOPTIONS} = join ' ', map { "-c $_" } qw(role=none statement_timeout=0 default_transaction_read_only=off
  session_replication_role=origin search_path=public standard_conforming_strings=on timezone=UTC datestyle=ISO);
$org->update('Lead', { Id => $leads[5], Title => 'odd settings' });
$org->delete('Account', $accounts[8]);
wait_for($node, "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'sync worker'", 'a worker starts');
sql($node, "SELECT count(*) FROM sync.now('acme')");
is(sql($node, "SELECT title FROM acme.lead WHERE id = '$leads[5]'"), 'odd settings', 'odd settings: rows come in');
is(sql($node, "SELECT count(*) FROM acme.account WHERE id = '$accounts[8]'"), 0, '... deletes');
sql($node, "INSERT INTO acme.contact (lastname, birthdate) VALUES ('Odd', '1999-12-31')");
wait_for($node, "SELECT count(*) = 0 FROM sync.outbox", '... changes go out');
is($org->rows(q{SELECT Birthdate FROM Contact WHERE LastName = 'Odd'})->[0]{Birthdate}, '1999-12-31', '... as they are');
is(sql($node, "SELECT count(*) FROM sync.failures"), 0, '... nothing fails');
sql($node, "SELECT sync.enable('acme', ARRAY['Campaign'])");
is(sql($node, "SELECT a.amname FROM pg_class c JOIN pg_am a ON a.oid = c.relam WHERE c.oid = 'acme.campaign'::regclass"), 'heap', 'tables are heaps');
wait_for($node, "SELECT state = 'live' FROM sync.status WHERE object = 'Campaign'", '... and copied');
sql($node, 'ALTER DATABASE postgres RESET ALL');

# Row-level security forced on the owner
sql($node, 'ALTER TABLE acme.account ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY');
$org->update('Account', { Id => $accounts[0], Description => 'forced' });
$org->update('Lead', { Id => $leads[6], Title => 'beside forced' });
$node->psql('postgres', q{SELECT * FROM sync.now('acme')});
is(sql($node, qq{SELECT title FROM acme.lead WHERE id = '$leads[6]'}), 'beside forced', 'forced row-level security: of that object alone');
like(sql($node, q{SELECT last_error FROM sync.status WHERE object = 'Account'}), qr/row-level security/i, '... it says so');
like(sql($node, q{SELECT status || ' ' || detail FROM sync.check('acme') WHERE item = 'table of Account'}),
    qr/^error .*row-level security.*NO FORCE/si, '... and so does sync.check');
sql($node, 'ALTER TABLE acme.account NO FORCE ROW LEVEL SECURITY');
sync_now($node, 'acme');
is(sql($node, qq{SELECT description FROM acme.account WHERE id = '$accounts[0]'}), 'forced', '... until it is not forced');
done_testing();
