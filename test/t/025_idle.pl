
# What a cycle costs when nothing is new.

use strict;
use warnings;
use SyncTest;
use Test::More;

my $org = Org->start(leads => 300, start => '2020-01-01', end => '2020-12-31');
my $node = sync_node('main');

connect_org($node, $org, 'acme', server => [ interval => '1 s' ]);
enable_all($node, 'acme');

# A scheduled cycle of the default set of objects is one call, from the second
# after the copies on.
wait_for($node, q{SELECT count(*) >= 3 FROM sync.log WHERE operation = 'ask'
    AND started > (SELECT max(ended) FROM sync.log WHERE operation = 'copy')}, 'the copies are over');
$org->calls_mark;
wait_until('three cycles of the worker', sub { $org->calls >= 3 });
my @calls = $org->calls;
my %kinds;
$kinds{ $_->{kind} }++ for @calls;
is_deeply([ keys %kinds ], ['composite'], 'each is one composite call')
  or diag(join ', ', map { "$_->{kind} $_->{path}" } @calls);
is($org->api_calls, scalar @calls, 'which costs one of the allowance');
is($node->safe_psql('postgres', q{
    SELECT DISTINCT calls FROM (SELECT run, sum(calls) AS calls FROM sync.log
        WHERE run IN (SELECT run FROM sync.log WHERE operation = 'ask' ORDER BY seq DESC LIMIT 2)
        GROUP BY run) c}), 1, 'by the log, too');
is($node->safe_psql('postgres', q{
    SELECT count(*) FROM sync.log WHERE operation = 'pull' AND run =
        (SELECT max(run) FROM sync.log WHERE operation = 'ask')}), 0, 'no line in the log for what was idle');

# sync.now asks each of the twelve objects by query, five to a call.
$node->safe_psql('postgres', q{ALTER SERVER acme OPTIONS (SET interval '1 hour'); SELECT sync.resume('acme')});
wait_for($node, q{SELECT bool_and(next_due > now() + interval '50 min') FROM sync.status}, 'the worker sleeps');
$org->calls_mark;
sync_now($node, 'acme');
cmp_ok($org->api_calls, '<=', 3, 'sync.now costs one call for five idle objects')
  or diag(join ', ', map { "$_->{kind} $_->{path}" } $org->calls);
done_testing();
