
# Without shared_preload_libraries: sync.now works, sync.start says what it
# cannot promise.

use strict;
use warnings;
use SyncTest;
use Test::More;

my $org = Org->start(leads => 200);
my $node = sync_node('main', preload => 0);

connect_org($node, $org, 'acme', server => [ interval => '1 s' ]);
$node->safe_psql('postgres', q{SELECT sync.enable('acme', ARRAY['Lead'])});
sync_now($node, 'acme');
wait_live($node, 'acme', what => 'sync.now makes the first copy');
same_rows($node, $org, 'acme', 'Lead', 'by sync.now alone');

my ($status, $out, $err) = $node->psql('postgres', 'SELECT sync.start()');
is($status, 0, 'sync.start works');
like($err, qr/shared_preload_libraries/, 'and says what it cannot promise');
$org->insert('Lead', { LastName => 'Self', Company => 'S' });
$org->post('/clock', { step_seconds => 61 });
wait_for($node, q{SELECT count(*) = 1 FROM acme.lead WHERE lastname = 'Self'},
    'the worker brings changes by itself');
$node->psql('postgres', 'SELECT sync.start()');
is($node->safe_psql('postgres', q{
    SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'sync%'
    AND backend_type NOT LIKE '%launcher%'}), 1, 'starting twice makes one worker');
$node->safe_psql('postgres', 'SELECT sync.stop()');
wait_for($node, q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type LIKE 'sync%'},
    'sync.stop ends it');
done_testing();
