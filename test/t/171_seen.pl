
# What fails is seen: by who calls sync.now, in the server's log, in sync.status and
# sync.check, and in pg_stat_activity while it is done.

use strict;
use warnings;
use SyncTest;
use Test::More;
use WayOut;

my ($org, $node) = two_way(leads => 20, accounts => 5, contacts => 5, objects => [qw(Lead Account)],
    conf => 'sync.describe_interval = 604800');

sub now
{
    my ($status, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\nSELECT * FROM sync.now('acme')");
    return ($status, $err =~ s/^psql:\S+ //gmr);
}

sub state_of { return sql($node, "SELECT DISTINCT state FROM sync.status WHERE object = '$_[0]'") }

# A step that fails is a warning, and the others are done.
my ($status, $err) = now();
is($err, '', 'where all is well, sync.now says nothing');
my $log = -s $node->logfile;
$org->fault({ sub => \1, object => 'Lead' },
    { status => 400, error => 'INVALID_QUERY_FILTER_OPERATOR', message => 'odd filter' }, times => -1);
$org->insert('Account', { Name => 'New one' });
($status, $err) = now();
is($status, 0, 'an object that fails is no error');
like($err, qr/^WARNING:.*pull of Lead failed: .*\nHINT:.*sync\.failures/m, '... but a warning');
unlike($err, qr/Account/, '... of that object alone');
is(sql($node, q{SELECT count(*) FROM acme.account WHERE name = 'New one'}), 1, '... and the others are done');

# The server's log has the beginning and the end, once each.
sub lines
{
    my $text = PostgreSQL::Test::Utils::slurp_file($node->logfile, $log);
    return scalar(() = $text =~ /$_[0]/g);
}

my $begun = qr/WARNING:  pull of object "Lead" of server "acme" has begun to fail: [^\n]+\n[^\n]*DETAIL:  X-Sfdc-Request-Id: [0-9a-f]{32}\n/;
is(lines($begun), 1, 'the log tells that it has begun, with the id of the request');
now();
is(lines($begun), 1, '... once');
is(lines(qr/goes well again/), 0, '... and nothing of an end');
$org->no_faults;
(undef, $err) = now();
is($err, '', 'when it goes well again, nothing is said');
is(lines(qr/LOG:  object "Lead" of server "acme" goes well again\n/), 1, '... but in the log');
now();
is(lines(qr/goes well again/), 1, '... once');

# What fails here has no request.
my $session = $node->background_psql('postgres');
$log = -s $node->logfile;
$session->query('BEGIN; LOCK TABLE acme.lead');
$org->insert('Lead', { LastName => 'Locked', Company => 'L' });
(undef, $err) = now();
like($err, qr/^WARNING:.*pull of Lead failed/m, 'a locked table is a warning');
is(lines(qr/WARNING:  pull of object "Lead"/), 1, '... and in the log');
is(lines(qr/X-Sfdc-Request-Id/), 0, '... without a request');
$session->query('ROLLBACK');
$session->quit;
now();
is(sql($node, q{SELECT count(*) FROM acme.lead WHERE lastname = 'Locked'}), 1, '... it comes when the lock is gone');

# What is being done, and for whom.
wait_for($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'sync worker'
    AND application_name = 'acme' AND state = 'idle' AND query = 'waiting'}, 'the worker is named like its server');
my $fault = $org->fault({ kind => 'composite' }, { hang => 20 }, times => 1);
my $asking = sql_start($node, q{SELECT count(*) FROM sync.now('acme')});
wait_for($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'sync cycle' AND application_name = 'acme' AND query = 'ask'},
    'a cycle that asks');
$org->no_faults;
sql($node, q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'sync cycle'});
sql_end($asking);
$fault = $org->fault({ kind => 'bulk_query_status' }, { hang => 20 }, times => 1);
sql($node, q{SELECT sync.enable('acme', 'Contact')});
wait_for($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'sync copier' AND application_name = 'acme' AND query = 'copy Contact'},
    'a copier');
sql($node, q{ALTER SERVER acme RENAME TO "Acme & Co"});
wait_for($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'sync worker' AND application_name = 'Acme & Co'}, 'a new name');
sql($node, q{ALTER SERVER "Acme & Co" RENAME TO acme});
$org->no_faults;
wait_live($node, 'acme');
sql($node, q{SELECT sync.pause('acme')});
wait_for($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'sync worker' AND query = 'paused'}, 'a pause');
sql($node, q{SELECT sync.resume('acme')});

# A login that is refused is an error; the server's end of it is in the log, too.
$log = -s $node->logfile;
sql($node, q{ALTER USER MAPPING FOR CURRENT_USER SERVER acme OPTIONS (SET client_id 'nonsense')});
($status, $err) = now();
isnt($status, 0, 'a refused login is an error of sync.now');
like($err, qr/ERROR:\s+28000: .*invalid_client.*\nHINT/s, '... with its reason');
unlike($err, qr/WARNING/, '... told once');
wait_for($node, q{SELECT bool_and(state = 'stalled') FROM sync.status}, '... and the server is stalled');
cmp_ok(lines(qr/WARNING:  cycle of server "acme" has begun to fail/), '>=', 1, 'the log tells of it');
sql($node, qq{ALTER USER MAPPING FOR CURRENT_USER SERVER acme OPTIONS (SET client_id '$org->{info}{client_id}')});
($status, $err) = now();
is($err, '', 'with the right login all is well');
wait_log($node, qr/LOG:  server "acme" goes well again/, $log);
wait_live($node, 'acme');
pass('and the log tells of that, too');

# No worker.
sub of_check { return sql($node, q{SELECT status || ': ' || detail FROM sync.check('acme') WHERE item = 'worker'}) }

is(of_check(), 'ok: it runs', 'sync.check sees the worker');
sql($node, q{SELECT sync.pause('acme')});
is(of_check(), 'warning: the server is paused', '... while it is paused');
sql($node, q{SELECT sync.resume('acme'); SELECT sync.stop()});
is(of_check(), 'warning: it was ended by sync.stop', '... and that it was stopped');
is(state_of('Lead'), 'paused', '... which is no state without a worker');
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
sql($node, 'SELECT sync.start()');
wait_live($node, 'acme');
$node->restart;
is(state_of('Lead'), 'no worker', 'after a restart without a launcher there is no worker');
like(of_check(), qr/^error: no worker runs/, '... which is an error of sync.check');
like(sql($node, q{SELECT hint FROM sync.check('acme') WHERE item = 'worker'}), qr/sync\.start/, '... with what to do');
sync_now($node, 'acme');
is(state_of('Lead'), 'no worker', 'sync.now alone does not mend that');
sql($node, q{CREATE ROLE watcher; GRANT pg_monitor TO watcher});
is(sql($node, q{SET ROLE watcher; SELECT DISTINCT state FROM sync.status}), 'no worker', 'those who watch see it');
sql($node, 'SELECT sync.start()');
wait_live($node, 'acme', what => 'sync.start does');
is(of_check(), 'ok: it runs', '... and sync.check says so');
is(sql($node, q{SET ROLE watcher; SELECT DISTINCT state FROM sync.status}), 'live', '... and those who watch see it');
done_testing();
