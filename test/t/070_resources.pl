
# Memory and descriptors: bounded during a copy, whatever the number of rows;
# and not growing with cycles, with failures, with cancelled calls.

use strict;
use warnings;
use SyncTest;
use Test::More;
use Time::HiRes qw(sleep);

plan skip_all => 'needs /proc' unless -r "/proc/$$/status";

my $org = Org->start(leads => 60000, start => '2020-01-01', end => '2020-12-31');
my $node = sync_node('main', conf => "sync.page_rows = 10000");

sub rss_anon
{
    my ($pid) = @_;
    my $status = Org::slurp("/proc/$pid/status");
    return $status =~ /^RssAnon:\s+(\d+) kB/m ? $1 : undef;
}


# Files of tables are opened and closed by the server as its caches come and go;
# what could leak is the rest: sockets, above all.
sub descriptors
{
    my ($pid) = @_;
    return scalar grep { (readlink($_) // '') !~ m{/(base|global|pg_\w+)/} } glob("/proc/$pid/fd/*");
}

sub pid_of
{
    my ($type) = @_;
    return $node->safe_psql('postgres', qq{
        SELECT pid FROM pg_stat_activity WHERE backend_type = 'sync $type' LIMIT 1});
}

# The copier, watched while it copies.
connect_org($node, $org, 'acme', server => [ interval => '1 hour' ]);
$org->fault({ kind => 'bulk_query_results', object => 'Lead' }, { delay => 0.3, pass => JSON::PP::true() },
    times => -1);
$node->safe_psql('postgres', q{SELECT sync.enable('acme', ARRAY['Lead'])});
$node->poll_query_until('postgres', q{SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = 'sync copier'});
my $copier = pid_of('copier');
my (@samples, $rss);
while (defined($rss = rss_anon($copier)))
{
    push @samples, $rss;
    sleep 0.02;
}
my @sorted = sort { $a <=> $b } @samples;
cmp_ok(scalar @samples, '>', 20, 'the copier was watched');
cmp_ok($sorted[-1] - $sorted[0], '<', 12 * 1024, 'its memory stays within 12 MiB ('
    . "$sorted[0] to $sorted[-1] kB)");
wait_live($node, 'acme');
is($node->safe_psql('postgres', 'SELECT count(*) FROM acme.lead'), 60000, 'all rows');
$org->no_faults;

# Many cycles of the worker: idle ones, ones with changes, failing ones.
my $many = 100;
sub cycles
{
    my ($n) = @_;
    my $from = $org->calls_mark;

    $node->safe_psql('postgres', q{ALTER SERVER acme OPTIONS (SET interval '5 ms'); SELECT sync.resume('acme')});
    wait_until("$n cycles", sub {
        my $next = $org->get("/calls?since=" . ($from + $n - 1))->{calls};
        return scalar @$next; });
    $node->safe_psql('postgres', q{ALTER SERVER acme OPTIONS (SET interval '1 hour')});
}

sub steady
{
    my ($what, $work) = @_;
    my $pid = pid_of('worker');

    # Caches fill up first.
    $work->() for 1 .. 2;
    my ($memory, $fds) = (rss_anon($pid), descriptors($pid));
    $work->();
    is(pid_of('worker'), $pid, "$what: the same process");
    cmp_ok(rss_anon($pid) - $memory, '<', 600, "$what: no more memory");
    cmp_ok(descriptors($pid), '<=', $fds + 8, "$what: no more descriptors");
}

steady('idle cycles', sub { cycles($many) });
steady('cycles with changes', sub {
    for (1 .. 15)
    {
        $org->change('Lead', { Title => "round $_ {Id}" }, limit => 200);
        $org->post('/clock', { step_seconds => 61 });
        cycles(3);
    }
});

# A backend: errors and cancels, after which the session goes on.
my $session = $node->background_psql('postgres', on_error_stop => 0);
my $pid = $session->query('SELECT pg_backend_pid()');
sub repeated
{
    my ($n) = @_;
    $session->query(join "\n",
        ("SELECT count(*) FROM sync.soql('acme', 'SELECT Id, Name, Description FROM Lead LIMIT 20');") x $n);
}
for (
    [ '503', { status => 503 } ],
    [ 'malformed JSON', { bad_json => JSON::PP::true(), pass => JSON::PP::true() } ],
    [ 'a reset', { reset => 'middle' } ], [ 'cancelled calls', { hang => 60 } ], [ 'no fault', undef ])
{
    my ($what, $action) = @$_;

    $org->fault({ path => '/query' }, $action, times => -1) if $action;
    $session->query(q{SET statement_timeout = '20ms'}) if $what =~ /cancel/;
    repeated(30);
    my ($memory, $fds) = (rss_anon($pid), descriptors($pid));
    repeated(60);
    cmp_ok(rss_anon($pid) - $memory, '<', 600, "a backend with $what: no more memory");
    cmp_ok(descriptors($pid), '<=', $fds + 8, "a backend with $what: no more descriptors");
    $session->query('RESET statement_timeout');
    $org->no_faults;
}
$session->quit;
done_testing();
