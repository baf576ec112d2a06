
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

# Started again while the old worker is still on its way out: here it waits to
# clear up its temporary tables.
my $workers = q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'sync worker'};
$node->psql('postgres', 'SELECT sync.start()');
$org->insert('Lead', { LastName => 'Before', Company => 'S' });
$org->post('/clock', { step_seconds => 61 });
wait_for($node, q{SELECT count(*) = 1 FROM acme.lead WHERE lastname = 'Before'}, 'it is started again');
my $session = $node->background_psql('postgres');
$session->query('BEGIN');
$session->query("COMMENT ON SCHEMA $_ IS 'held'") for split /\n/,
  $node->safe_psql('postgres', q{SELECT nspname FROM pg_namespace WHERE nspname LIKE 'pg\_temp\_%'});
$node->safe_psql('postgres', 'SELECT sync.stop()');
wait_for($node, q{SELECT count(*) = 1 FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE backend_type = 'sync worker' AND locktype = 'object' AND NOT granted}, 'a worker is leaving');
$node->psql('postgres', 'SELECT sync.start()');
wait_for($node, "SELECT ($workers) = 2 AND ($workers AND wait_event_type = 'Extension') = 1",
    'the next one waits until it has left');
$session->query('ROLLBACK');
$session->quit;
wait_for($node, "SELECT ($workers) = 1", 'it leaves');
$org->insert('Lead', { LastName => 'After', Company => 'S' });
$org->post('/clock', { step_seconds => 61 });
wait_for($node, q{SELECT count(*) = 1 FROM acme.lead WHERE lastname = 'After'}, 'and the next one takes over');
done_testing();
