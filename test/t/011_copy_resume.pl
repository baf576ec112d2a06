
# A first copy that is killed goes on with the page where it stopped (commits of
# pages are not waited for, so that the last one may be read again): after the
# death of the copier, of the server, of the job, and with changes meanwhile.

use strict;
use warnings;
use SyncTest;
use Test::More;

my $org = Org->start(leads => 4000);
my $node = sync_node('main', conf => "restart_after_crash = on\nlog_min_messages = log");

connect_org($node, $org, 'acme');
$org->post('/config', { bulk_page_rows => 500 });

sub pages
{
    return grep { $_->{kind} eq 'bulk_query_results' && $_->{status} == 200 && !$_->{fault} }
      $org->calls;
}

# Page 5 hangs until its process is dead.
sub enable_and_hang
{
    my ($pages) = @_;

    $org->no_faults;
    $org->fault({ kind => 'bulk_query_results', object => 'Lead' }, { hang => 120 },
        after => $pages, times => 1);
    $node->safe_psql('postgres', q{SELECT sync.enable('acme', ARRAY['Lead'])});
    wait_until('the copy hangs at page ' . ($pages + 1),
        sub { grep { $_->{fault} } $org->calls(kind => 'bulk_query_results') });
}

sub drop_all
{
    $node->safe_psql('postgres', q{SELECT sync.disable('acme', drop_table => true)});
}

sub copier
{
    return $node->safe_psql('postgres',
        q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'sync copier'});
}

# kill -9 of the process that copies: the server restarts all its processes.
$org->calls_mark;
enable_and_hang(4);
is($node->safe_psql('postgres', q{SELECT count(*) FROM acme.lead}), 2000,
    'four pages are there to be seen');
like($node->safe_psql('postgres', q{SELECT state FROM sync.status WHERE object = 'Lead'}),
    qr/^copying 50 ?%$/, 'and sync.status says so');
my $pid = copier();
like($pid, qr/^\d+$/, 'the copier can be seen');
# Changes during the copy: one row that was copied already, one that was not,
# one new.
my @ids = split /\n/, $node->safe_psql('postgres', 'SELECT id FROM acme.lead ORDER BY id LIMIT 2');
$org->update('Lead', { Id => $ids[0], Title => 'changed during the copy' });
$org->delete('Lead', $ids[1]);
$org->insert('Lead', { LastName => 'Late', Company => 'Riser' });
kill 'KILL', $pid;
$node->poll_query_until('postgres', 'SELECT true');
wait_live($node, 'acme', what => 'live after kill -9 of the copier');
sync_now($node, 'acme');
same_rows($node, $org, 'acme', 'Lead', 'after kill -9 of the copier');
is(scalar(grep { $_->{kind} eq 'bulk_query_create' } $org->calls), 1, 'with one job');
cmp_ok(scalar(pages()), '<=', 9, 'and no page read twice but the last')
  or diag(join "\n", map { "$_->{n} $_->{time} $_->{status} " . ($_->{fault} || '-') . " $_->{query}" }
    $org->calls(kind => 'bulk_query_results'));
drop_all();

# kill -9 of the postmaster.
$org->calls_mark;
enable_and_hang(3);
$org->no_faults;
crash($node);
wait_live($node, 'acme', what => 'live after kill -9 of the postmaster');
same_rows($node, $org, 'acme', 'Lead', 'after kill -9 of the postmaster');
is(scalar(grep { $_->{kind} eq 'bulk_query_create' } $org->calls), 1, 'with one job');
cmp_ok(scalar(pages()), '<=', 9, 'and no page read twice but the last')
  or diag(join "\n", map { "$_->{n} $_->{time} $_->{status} " . ($_->{fault} || '-') . " $_->{query}" }
    $org->calls(kind => 'bulk_query_results'));
drop_all();

# The job is gone when the copy wants to go on: it begins again, and nothing is
# doubled.
$org->calls_mark;
enable_and_hang(3);
$node->stop('immediate');
$org->no_faults;
$org->fault({ kind => 'bulk_query_results', object => 'Lead' },
    { status => 404, errorCode => 'NOT_FOUND', message => 'The requested resource does not exist' },
    times => 1);
$org->fault({ kind => 'bulk_query_status', object => 'Lead' },
    { status => 404, errorCode => 'NOT_FOUND', message => 'The requested resource does not exist' },
    times => 1);
$node->start;
wait_live($node, 'acme', what => 'live though the job was gone');
same_rows($node, $org, 'acme', 'Lead', 'after a lost job');
drop_all();

# A transaction that was open before the copy began and commits after it.
my $tx = $org->post('/tx/begin')->{tx};
$org->post('/dml', { op => 'insert', object => 'Lead', tx => $tx,
    records => [ { LastName => 'Open', Company => 'O' } ] });
$org->post('/clock', { step_seconds => 3600 });
$node->safe_psql('postgres', q{SELECT sync.enable('acme', ARRAY['Lead'])});
wait_live($node, 'acme', what => 'live beside an open transaction');
$org->post('/tx/commit', { tx => $tx });
$org->post('/clock', { step_seconds => 61 });
sync_now($node, 'acme');
same_rows($node, $org, 'acme', 'Lead', 'with a transaction that was open when the copy began');
done_testing();
