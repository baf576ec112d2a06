
# Many changes go out in few calls, and come back as no news.  SYNC_MANY=100000
# is the number for which make bench gives a figure; the calls hardly grow.
#
# Of what users of other syncs suffer: row 6, days for millions.

use strict;
use warnings;
use SyncTest;
use Test::More;
use WayOut;

my $rows = $ENV{SYNC_MANY} || 20_000;
my ($org, $node) = two_way(leads => $rows + 5000);

$org->calls_mark;
sql($node, qq{UPDATE acme.lead SET fax = right(id, 8) WHERE id IN
    (SELECT id FROM acme.lead WHERE NOT isconverted LIMIT $rows)});
wait_until("$rows rows have gone out",
    sub { sql($node, 'SELECT count(*) FROM sync.change') == 0 });
cmp_ok($org->api_calls, '<=', 40, 'for at most 40 calls');
diag(join ' ', 'calls:', map { $_->{kind} } grep { $_->{api_calls} } $org->calls);
is(sql($node, q{SELECT sum(updated) FROM sync.log WHERE operation = 'push'}), $rows, 'as the log says');
sync_now($node, 'acme');
is(sql($node, qq{SELECT updated, skipped >= $rows FROM sync.log WHERE operation = 'pull' ORDER BY seq DESC LIMIT 1}),
    '0|t', 'what comes back is no news');
is(sql($node, 'SELECT count(*) FROM acme.lead WHERE fax = right(id, 8)'), $rows, 'each has its value here');
same_rows($node, $org, 'acme', 'Lead', 'and in the org', fields => [qw(LastName Fax SystemModstamp)]);
done_testing();
