
# The workers: brought up by the launcher for each enabled server of each
# database, and again after a crash, without waiting for its next look; paused, stopped and woken; and gone within
# a second when the server stops, also in the middle of a download.

use strict;
use warnings;
use SyncTest;
use Test::More;
use Time::HiRes qw(time);

my $org = Org->start(leads => 300);
my $other = Org->start(leads => 50);
my $node = sync_node('main', conf => "max_worker_processes = 16\nsync.naptime = '1h'");
my $workers = q{
    SELECT count(*) FROM pg_stat_activity
    WHERE backend_type LIKE 'sync%' AND backend_type NOT LIKE '%launcher%'};

connect_org($node, $org, 'acme', server => [ interval => '1 s' ]);
enable_all($node, 'acme', 'Lead', 'Campaign');

# By itself, in the interval.  A scheduled cycle may ask in whole minutes.
$org->insert('Lead', { LastName => 'Self', Company => 'S' });
$org->post('/clock', { step_seconds => 61 });
wait_for($node, q{SELECT count(*) = 1 FROM acme.lead WHERE lastname = 'Self'},
    'a change arrives by itself');

# What it did can be seen in a transaction that keeps its snapshot.
like($node->safe_psql('postgres', q{
    BEGIN ISOLATION LEVEL REPEATABLE READ;
    SELECT FROM acme.lead LIMIT 0;
    SELECT operation, outcome FROM sync.now('acme', 'Lead') WHERE object = 'Lead';
    COMMIT}), qr/^pull\|done$/m, 'sync.now within REPEATABLE READ');

# A second database with a server of its own, whose name needs quotes.
$node->safe_psql('postgres', 'CREATE DATABASE second');
$node->safe_psql('second', 'CREATE EXTENSION sync');
connect_org($node, $other, q{o'ther "Org"}, db => 'second', server => [ interval => '1 s' ]);
$node->safe_psql('second', q{SELECT sync.enable($$o'ther "Org"$$, ARRAY['Lead'])});
wait_live($node, q{o'ther "Org"}, db => 'second', what => 'live in the second database');
same_rows($node, $other, q{o'ther "Org"}, 'Lead', 'there', db => 'second');
is($node->safe_psql('postgres', $workers), 2, 'one worker for each server');

# Restart, and a crash of everything.
sub comes_back
{
    my ($what) = @_;

    for ($org, $other)
    {
        $_->insert('Lead', { LastName => $what, Company => 'S' });
        $_->post('/clock', { step_seconds => 61 });
    }
    wait_for($node, "SELECT count(*) = 1 FROM acme.lead WHERE lastname = '$what'",
        "the first goes on after $what");
    wait_for($node, "SELECT count(*) = 1 FROM \"o'ther \"\"Org\"\"\".lead WHERE lastname = '$what'",
        "the second goes on after $what", db => 'second');
}
$node->restart;
comes_back('restart');
my $pid = $node->safe_psql('postgres', q{
    SELECT pid FROM pg_stat_activity WHERE backend_type LIKE 'sync%'
    AND backend_type NOT LIKE '%launcher%' AND datname = 'postgres' LIMIT 1});
kill 'KILL', $pid;
$node->poll_query_until('postgres', 'SELECT true');
comes_back('crash');

# A single worker that is ended comes back.
$node->safe_psql('postgres', q{
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type LIKE 'sync%'});
comes_back('termination');

# Pause holds, resume goes on; stop ends the worker, start brings it back.
$node->safe_psql('postgres', q{SELECT sync.pause('acme')});
like($node->safe_psql('postgres', q{SELECT DISTINCT state FROM sync.status}), qr/^paused$/,
    'paused can be seen');
$org->insert('Lead', { LastName => 'Held', Company => 'S' });
comes_back_not('Held');
$node->safe_psql('postgres', q{SELECT sync.resume('acme')});
$org->post('/clock', { step_seconds => 61 });
wait_for($node, q{SELECT count(*) = 1 FROM acme.lead WHERE lastname = 'Held'}, 'resume goes on');

$node->safe_psql('postgres', 'SELECT sync.stop()');
wait_for($node, "$workers AND datname = 'postgres'" =~ s/count\(\*\)/count(*) = 0/r, 'stop ends the worker');
$node->restart;
is($node->safe_psql('second', 'SELECT true'), 't', 'restarted');
wait_for($node, "$workers AND datname = 'second'" =~ s/count\(\*\)/count(*) = 1/r,
    'the other database has its worker');
is($node->safe_psql('postgres', "$workers AND datname = 'postgres'"), 0, 'stopped stays stopped');
$node->safe_psql('postgres', 'SELECT sync.start()');
wait_for($node, "$workers AND datname = 'postgres'" =~ s/count\(\*\)/count(*) = 1/r, 'start brings it back');

sub comes_back_not
{
    my ($name) = @_;
    my $cycles = $other->calls_mark;

    # The other server's worker goes through cycles meanwhile.
    $other->insert('Lead', { LastName => $name, Company => 'S' });
    $other->post('/clock', { step_seconds => 61 });
    wait_for($node, "SELECT count(*) = 1 FROM \"o'ther \"\"Org\"\"\".lead WHERE lastname = '$name'",
        'the other server goes on', db => 'second');
    is($node->safe_psql('postgres', "SELECT count(*) FROM acme.lead WHERE lastname = '$name'"),
        0, 'the paused one does not');
}

# A change of configuration wakes a worker that has long to sleep.
$node->safe_psql('postgres', q{ALTER SERVER acme OPTIONS (SET interval '1 day')});
wait_for($node, q{SELECT bool_and("next due" > now() + interval '1 hour')
    FROM (SELECT next_due AS "next due" FROM sync.status) s}, 'ALTER SERVER takes effect by itself');
$node->safe_psql('postgres', q{SELECT sync.enable('acme', ARRAY['Account'])});
wait_live($node, 'acme', what => 'a new object is copied at once');

# Stopping in the middle of a download, of a hanging answer, takes no second.
$org->post('/config', { bulk_page_rows => 100 });
for my $action ({ hang => 600 }, { slow => { chunk => 10, pause => 1 }, pass => JSON::PP::true() })
{
    $org->calls_mark;
    $org->fault({ kind => 'bulk_query_results' }, $action, times => -1);
    $node->safe_psql('postgres', q{SELECT sync.reload('acme', 'Lead')})
      if $node->safe_psql('postgres', q{
            SELECT count(*) FROM pg_proc WHERE pronamespace = 'sync'::regnamespace
            AND proname = 'reload'});
    $node->safe_psql('postgres', q{
        SELECT sync.disable('acme', 'Lead', drop_table => true);
        SELECT sync.enable('acme', ARRAY['Lead'])});
    wait_until('a page hangs', sub { grep { $_->{fault} } $org->calls(kind => 'bulk_query_results') });
    my $began = time;
    $node->stop('fast');
    cmp_ok(time - $began, '<', 3, 'the server stops at once, with a checkpoint');
    $org->no_faults;
    $node->start;
    wait_live($node, 'acme', what => 'and the copy goes on');
}
same_rows($node, $org, 'acme', 'Lead', 'after all that');
done_testing();
