
# What an owner can always do to our triggers is noticed by the next cycle and by
# sync.check, told, and put back by sync.guard.

use strict;
use warnings FATAL => 'all';
use SyncTest;
use Test::More;
use WayOut;

my ($org, $node) = two_way(leads => 10, contacts => 6, accounts => 3, objects => [qw(Lead Contact Account)]);
my ($lead) = split /\n/, sql($node, 'SELECT id FROM acme.lead ORDER BY id');
my ($account) = split /\n/, sql($node, 'SELECT id FROM acme.account ORDER BY id');

sub state_of { return sql($node, "SELECT state FROM sync.status WHERE object = '$_[0]'") }

sub guarded_again
{
    my ($object, $what) = @_;
    sql($node, "SELECT sync.guard('acme', '$object')");
    is(state_of($object), 'live', "$what: sync.guard puts it back");
    is(sql($node, q{SELECT count(*) FROM sync.failures}), 0, '... nothing is told any more');
    is(sql($node, "SELECT count(*) FROM sync.check('acme') WHERE status = 'error'"), 0, '... nor by sync.check');
    if ($object eq 'Account')
    {
        like(sql_error($node, qq{UPDATE acme.account SET name = 'x' WHERE id = '$account'}), qr/is kept by sync/, '... and writes are refused');
    }
    else
    {
        sql($node, qq{SET session_replication_role = replica; UPDATE acme.lead SET title = 'guarded: $what' WHERE id = '$lead'});
        went_out($node, '... and writes go out');
        is(record_of($org, 'Lead', $lead, 'Title')->{Title}, "guarded: $what", '... as they are');
    }
    return;
}

my @ways = (
    [ 'Lead', 'DISABLE TRIGGER USER', 'ALTER TABLE acme.lead DISABLE TRIGGER USER', qr/"sync_capture".* is disabled/ ],
    [ 'Lead', 'DISABLE and ENABLE TRIGGER ALL', 'ALTER TABLE acme.lead DISABLE TRIGGER ALL; ALTER TABLE acme.lead ENABLE TRIGGER ALL',
        qr/"sync_capture".*session_replication_role/ ],
    [ 'Lead', 'ENABLE REPLICA', 'ALTER TABLE acme.lead ENABLE REPLICA TRIGGER sync_capture', qr/"sync_capture".*session_replication_role/ ],
    [ 'Lead', 'DROP TRIGGER', 'DROP TRIGGER sync_capture ON acme.lead', qr/"sync_capture".* is missing/ ],
    [ 'Lead', 'DROP of the numbering', 'DROP TRIGGER sync_identity ON acme.lead', qr/"sync_identity".* is missing/ ],
    [ 'Lead', 'DROP of the ban on TRUNCATE', 'DROP TRIGGER sync_no_truncate ON acme.lead', qr/"sync_no_truncate".* is missing/ ],
    [ 'Lead', 'another function', q{DROP TRIGGER sync_capture ON acme.lead; CREATE FUNCTION public.capture() RETURNS trigger LANGUAGE plpgsql
        AS 'BEGIN RETURN NULL; END'; CREATE TRIGGER sync_capture AFTER UPDATE ON acme.lead FOR EACH ROW EXECUTE FUNCTION public.capture();
        ALTER TABLE acme.lead ENABLE ALWAYS TRIGGER sync_capture}, qr/"sync_capture".* calls another function/ ],
    [ 'Account', 'DISABLE TRIGGER ALL', 'ALTER TABLE acme.account DISABLE TRIGGER ALL', qr/"sync_guard".* is disabled/ ],
    [ 'Account', 'DROP TRIGGER', 'DROP TRIGGER sync_guard_rows ON acme.account', qr/"sync_guard_rows".* is missing/ ],
    [ 'Account', 'DISABLE and ENABLE', 'ALTER TABLE acme.account DISABLE TRIGGER sync_guard; ALTER TABLE acme.account ENABLE TRIGGER sync_guard',
        qr/"sync_guard".*session_replication_role/ ]);

foreach my $way (@ways)
{
    my ($object, $what, $sql, $message) = @$way;
    sql($node, $sql);
    like(sql($node, q{SELECT status || ' ' || detail || ' ' || hint FROM sync.check('acme') WHERE status = 'error'}),
        qr/^error .*$message.*sync\.guard\('acme', '$object'\)/s, "$what: sync.check says so");
    $org->update('Account', { Id => $account, Description => $what });
    sync_now($node, 'acme');
    is(state_of($object), 'unguarded', '... and the next cycle');
    like(sql($node, q{SELECT message FROM sync.failures WHERE operation = 'guard'}), $message, '... with what it is');
    like(sql($node, q{SELECT hint FROM sync.failures WHERE operation = 'guard'}), qr/sync\.guard/, '... and how to mend it');
    is(sql($node, qq{SELECT description FROM acme.account WHERE id = '$account'}), $what, '... pulls go on');
    guarded_again($object, $what);
}

# A rule
sql($node, 'CREATE TABLE public.ruled (id text); CREATE RULE besides AS ON UPDATE TO acme.lead DO ALSO INSERT INTO public.ruled VALUES (new.id)');
sync_now($node, 'acme');
is(state_of('Lead'), 'unguarded', 'a rule is told');
like(sql($node, q{SELECT message FROM sync.failures}), qr/rule besides on table acme\.lead/, '... by its name');
sql($node, 'DROP RULE besides ON acme.lead');
sync_now($node, 'acme');
is(state_of('Lead'), 'live', '... until it is gone');

# Partitions made later have what they do not inherit.
sql($node, q{SELECT sync.disable('acme', 'Contact', true)});
sql($node, q{SELECT sync.enable('acme', ARRAY['Contact'])});
wait_live($node, 'acme');
sql($node, q{
    SELECT sync.disable('acme', 'Contact');
    ALTER TABLE acme.contact RENAME TO old_contact;
    CREATE TABLE acme.contact (LIKE acme.old_contact INCLUDING DEFAULTS) PARTITION BY LIST (department);
    CREATE TABLE acme.contact_rest PARTITION OF acme.contact DEFAULT;
    UPDATE sync.object SET relation = 'acme.contact' WHERE object = 'Contact'});
sql($node, q{SELECT sync.enable('acme', ARRAY['Contact'])});
wait_live($node, 'acme');
sql($node, q{CREATE TABLE acme.contact_x PARTITION OF acme.contact FOR VALUES IN ('no such department')});
sync_now($node, 'acme');
is(state_of('Contact'), 'live', 'a partition that was made later');
like(sql_error($node, 'TRUNCATE acme.contact_x'), qr/cannot be truncated/, '... is guarded by the next cycle');
sql($node, 'ALTER TABLE acme.contact_x DISABLE TRIGGER USER');
sync_now($node, 'acme');
is(state_of('Contact'), 'unguarded', '... and watched');
sql($node, q{SELECT sync.guard('acme', 'Contact')});
is(state_of('Contact'), 'live', '... and put back');

# Locks: it does not wait for long.
my $session = $node->background_psql('postgres', on_error_die => 1);
$session->query_safe('BEGIN; SELECT count(*) FROM acme.lead');
like(sql_error($node, q{SELECT sync.guard('acme', 'Lead')}), qr/55P03/, 'sync.guard waits for a lock for a moment only');
$session->quit;
like(sql_error($node, q{CREATE ROLE other; GRANT EXECUTE ON FUNCTION sync.guard TO other; SET ROLE other; SELECT sync.guard('acme', 'Lead')}),
    qr/42501/, 'nobody but the owner of the server');
done_testing();
