
# Answers that swell, trickle or never end, and rows that are wide: bounded in
# time by a cancel and by "timeout", in memory by limits.

use strict;
use warnings;
use JSON::PP;
use SyncTest;
use WayOut;
use Test::More;
use Time::HiRes qw(time);

plan skip_all => 'needs /proc' unless -r "/proc/$$/status";

my $true = JSON::PP::true;
my $org = Org->start(leads => 3000, contacts => 10, accounts => 5);
my $node = sync_node('main', conf => q{sync.bulk_threshold = 100});

connect_org($node, $org, 'acme', server => [ interval => '1 hour', timeout => '2 s' ]);
enable_all($node, 'acme', 'Lead', 'Contact');

sub peak
{
    my ($pid) = @_;
    return Org::slurp("/proc/$pid/status") =~ /^VmHWM:\s+(\d+) kB/m ? int($1 / 1024) : undef;
}
sub worker { return sql($node, q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'sync worker'}) }

# A statement_timeout holds while a large answer is taken in
$org->fault({ kind => 'query' }, { huge_json => 55_000_000, pass => $true }, times => -1);
my $error = sql_error($node, q{SET statement_timeout = '2 s'; SELECT count(*) FROM sync.soql('acme', 'SELECT Id, Name FROM Lead LIMIT 100')});
like($error, qr/57014/, 'a large answer: the statement is cancelled');
$org->no_faults;
# Whether it was cancelled while it was parsed is seen by how long it takes.
my @durations = PostgreSQL::Test::Utils::slurp_file($node->logfile) =~ /canceling statement due to statement timeout/g;
is(scalar @durations, 1, '... once');

# More than can be held is an error, not memory
$org->fault({ kind => 'query' }, { huge_json => 80_000_000, pass => $true }, times => -1);
like(sql_error($node, q{SELECT count(*) FROM sync.soql('acme', 'SELECT Id, Name FROM Lead LIMIT 100')}), qr/54000.*too big/s, 'more than 64 MiB is too big');
$org->no_faults;

# A byte now and then keeps nobody
$org->change('Contact', { Title => 'trickled' }, limit => 1);
$org->fault({ path => '^/services/data' }, { slow => { chunk => 1, pause => 0.2 }, pass => $true }, times => -1);
$node->psql('postgres', q{SELECT * FROM sync.now('acme')});
like(sql($node, q{SELECT string_agg(message, ' ') FROM sync.failures}), qr/less than 1024 bytes were received in 2 seconds/, 'an answer that trickles is given up');
$org->no_faults;
$node->psql('postgres', q{SELECT sync.resume('acme')});
wait_for($node, q{SELECT count(*) = 1 FROM acme.contact WHERE title = 'trickled'}, '... and asked for again');

# Many wide rows go out in rounds of so many bytes
$node->restart;
wait_for($node, q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'sync worker'}, 'a worker');
hold($node);
sql($node, q{UPDATE acme.lead SET description = repeat(md5(id), 800) WHERE NOT isconverted});
my ($before, $pid) = (peak(worker()), worker());
sql($node, q{SELECT sync.resume('acme')});
wait_for($node, q{SELECT count(*) = 0 FROM sync.outbox}, '3,000 rows of 25 kB go out');
my $grown = peak($pid) - $before;
is(worker(), $pid, '... by one process');
cmp_ok($grown, '<', 200, "... which takes a bounded amount of memory ($grown MB more)");
is(sql($node, q{SELECT count(*) FROM sync.failures WHERE record IS NOT NULL}), 0, '... none is refused');
done_testing();
