
# On a standby nothing runs; after its promotion everything goes on.

use strict;
use warnings;
use SyncTest;
use Test::More;

my $org = Org->start(leads => 200);
my $primary = sync_node('primary', streaming => 1);

connect_org($primary, $org, 'acme', server => [ interval => '1 s' ]);
enable_all($primary, 'acme', 'Lead');
$primary->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'copy', has_streaming => 1);
$standby->start;
$primary->wait_for_catchup($standby);

is($standby->safe_psql('postgres', q{
    SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'sync%'
    AND backend_type NOT LIKE '%launcher%'}), 0, 'no worker on the standby');
is($standby->safe_psql('postgres', 'SELECT count(*) FROM acme.lead'), 200, 'but the rows');
my $error = sql_error($standby, q{SELECT * FROM sync.now('acme')});
like($error, qr/ERROR:\s+25006/, 'sync.now is refused there as any write');

$org->insert('Lead', { LastName => 'Before', Company => 'S' });
$primary->stop('immediate');
$org->insert('Lead', { LastName => 'After', Company => 'S' });
$org->post('/clock', { step_seconds => 61 });
$standby->promote;
wait_for($standby, q{SELECT count(*) = 2 FROM acme.lead WHERE lastname IN ('Before', 'After')},
    'the promoted server goes on');
same_rows($standby, $org, 'acme', 'Lead', 'after promotion');
is($standby->safe_psql('postgres', q{SELECT DISTINCT state FROM sync.status}), 'live',
    'live, not paused: a failover is no copy');
done_testing();
