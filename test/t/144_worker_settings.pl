
# Settings by ALTER DATABASE that would have the sync forget, or end.

use strict;
use warnings FATAL => 'all';
use SyncTest;
use Test::More;
use WayOut;

my ($org, $node) = two_way(leads => 5, objects => ['Lead'],
    conf => "wal_writer_delay = '10s'");

sub new_worker
{
    sql($node, q{SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE backend_type = 'sync worker'});
    return wait_for($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'sync worker'}, 'a new worker');
}

# A create that is on its way when the server dies was recorded, on the disk.
sql($node, 'ALTER DATABASE postgres SET synchronous_commit = off');
new_worker();
my $fault = $org->fault({ kind => 'collections', method => 'POST', body => 'Once' }, { apply_then => { hang => 20 } }, times => 1);
sql($node, q{SET synchronous_commit = on; INSERT INTO acme.lead (lastname, company) VALUES ('Once', 'x')});
wait_until('the create is on its way', sub { $org->hits($fault) });
crash($node);
went_out($node, 'it is known what has become of it');
sync_now($node, 'acme');
is($org->count('Lead', q{LastName = 'Once'}), 1, 'the record was made once');
is(sql($node, q{SELECT count(*) FROM acme.lead WHERE lastname = 'Once'}), 1, '... and is here once');

# An error of one object ends no process.
sql($node, q{
    ALTER DATABASE postgres RESET synchronous_commit;
    ALTER DATABASE postgres SET exit_on_error = on;
    ALTER TABLE acme.lead RENAME COLUMN title TO titel});
new_worker();
my $pid = sql($node, q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'sync worker'});
my ($id) = split /\n/, sql($node, 'SELECT id FROM acme.lead WHERE NOT isconverted ORDER BY id');
$org->update('Lead', { Id => $id, Title => 'x' });
like(sync_now($node, 'acme'), qr/^\d+$/, 'a cycle that fails answers');
wait_for($node, q{SELECT state = 'failing' FROM sync.status}, '... and says that it failed');
sql($node, 'ALTER TABLE acme.lead RENAME COLUMN titel TO title');
sync_now($node, 'acme');
is(sql($node, qq{SELECT title FROM acme.lead WHERE id = '$id'}), 'x', 'it goes on');
is(sql($node, q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'sync worker'}), $pid, 'with the same worker');
done_testing();
