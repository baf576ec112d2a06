
# A worker looks at tables only when they may have been altered since it looked
# last.  Whatever is done to them, one way or another, is noticed by the process
# that has looked before.

use strict;
use warnings FATAL => 'all';
use SyncTest;
use Test::More;
use WayOut;

my ($org, $node) = two_way(leads => 10, contacts => 6, accounts => 3, objects => [qw(Lead Contact Account)]);
sql($node, q{ALTER SERVER acme OPTIONS (SET interval '300 ms'); SELECT sync.resume('acme')});

sub cycles { return sql($node, q{SELECT count(*) FROM sync.log WHERE operation = 'ask'}) }
sub some_cycles { my $before = cycles(); return wait_until('some cycles', sub { cycles() >= $before + 3 }) }
sub becomes { my ($object, $state, $what) = @_; return wait_for($node, "SELECT state = '$state' FROM sync.status WHERE object = '$object'", $what) }
sub worker { return sql($node, 'SELECT pid FROM sync.worker') }

sub noticed
{
    my ($object, $sql, $what) = @_;
    some_cycles();
    sql($node, $sql);
    becomes($object, 'unguarded', $what);
    sql($node, "SELECT sync.guard('acme', '$object')");
    return becomes($object, 'live', '... until it is put back');
}

# Partitions
sql($node, q{SELECT sync.disable('acme', 'Contact', true)});
enable_all($node, 'acme', 'Contact');
sql($node, q{
    SELECT sync.disable('acme', 'Contact');
    ALTER TABLE acme.contact RENAME TO old_contact;
    CREATE TABLE acme.contact (LIKE acme.old_contact INCLUDING DEFAULTS) PARTITION BY LIST (department);
    CREATE TABLE acme.contact_rest PARTITION OF acme.contact DEFAULT PARTITION BY LIST (department);
    CREATE TABLE acme.contact_below PARTITION OF acme.contact_rest DEFAULT;
    UPDATE sync.object SET relation = 'acme.contact' WHERE object = 'Contact'});
enable_all($node, 'acme', 'Contact');
some_cycles();
my $worker = worker();

noticed('Lead', 'ALTER TABLE acme.lead DISABLE TRIGGER sync_capture', 'a trigger that is disabled');
noticed('Lead', 'ALTER TABLE acme.lead DISABLE TRIGGER sync_capture', 'once more');
noticed('Account', 'DROP TRIGGER sync_guard_rows ON acme.account', 'one that is dropped');
noticed('Account', 'ALTER TRIGGER sync_guard_rows ON acme.account RENAME TO other', 'one that is renamed');
noticed('Contact', 'ALTER TABLE acme.contact_below DISABLE TRIGGER USER', 'one of a partition');
noticed('Contact', 'ALTER TABLE acme.contact_below DISABLE TRIGGER USER', 'once more');

sql($node, q{CREATE TABLE acme.contact_x PARTITION OF acme.contact_rest FOR VALUES IN ('no such department')});
wait_until('a partition that was made later is guarded', sub { my ($status, $out, $err) = $node->psql('postgres', 'BEGIN; TRUNCATE acme.contact_x; ROLLBACK');
    return $err =~ /cannot be truncated/ });
noticed('Contact', 'ALTER TABLE acme.contact_x DISABLE TRIGGER USER', '... and watched');

sql($node, 'CREATE TABLE public.ruled (id text)');
some_cycles();
sql($node, 'CREATE RULE besides AS ON UPDATE TO acme.lead DO ALSO INSERT INTO public.ruled VALUES (new.id)');
becomes('Lead', 'unguarded', 'a rule');
sql($node, 'DROP RULE besides ON acme.lead');
becomes('Lead', 'live', '... until it is gone');

# Done in a transaction that stays open over some cycles, in which tables must be
# looked at for another reason and cannot be
my $session = $node->background_psql('postgres', on_error_die => 1);
$session->query_safe('BEGIN; ALTER TABLE acme.lead DISABLE TRIGGER sync_capture, ADD COLUMN mine text');
sql($node, q{SELECT sync.set('acme', 'Account', 'exclude', 'Description')});
some_cycles();
is(sql($node, q{SELECT count(*) FROM sync.progress WHERE unguarded IS NOT NULL}), 0, 'not committed');
$session->query_safe('COMMIT');
$session->quit;
becomes('Lead', 'unguarded', '... committed: noticed');
sql($node, q{SELECT sync.guard('acme', 'Lead')});

# Columns, where no event trigger sees it
sql($node, 'ALTER EVENT TRIGGER sync_columns_altered DISABLE');
$org->change('Lead', { Industry => 'Banking', Title => 'T' });
wait_for($node, q{SELECT count(*) = 10 FROM acme.lead WHERE industry = 'Banking'}, 'what was there');
foreach my $time ('a column that was dropped and added again', 'once more')
{
    some_cycles();
    sql($node, 'ALTER TABLE acme.lead DROP COLUMN industry, ADD COLUMN industry text');
    wait_for($node, q{SELECT count(*) = 10 FROM acme.lead WHERE industry = 'Banking'}, "$time: filled anew");
}
some_cycles();
sql($node, 'ALTER TABLE acme.lead DROP COLUMN title');
wait_for($node, q{SELECT count(*) = 1 FROM sync.field WHERE object = 'Lead' AND field = 'Title' AND dropped}, 'a column that was dropped: left out');
becomes('Lead', 'live', '... and the object is live');
sql($node, 'ALTER EVENT TRIGGER sync_columns_altered ENABLE');

# Direction decides which triggers there are to be.
sql($node, q{SELECT sync.set('acme', 'Account', 'direction', 'both')});
becomes('Account', 'live', 'another direction');
noticed('Account', 'ALTER TABLE acme.account DISABLE TRIGGER sync_capture', 'a trigger that it has now');

is(worker(), $worker, 'all that in one process');
done_testing();
