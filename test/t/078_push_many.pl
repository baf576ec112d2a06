
# A hundred thousand changes go out in few calls, and come back as no news.
#
# Of what users of other syncs suffer: row 6, days for millions.

use strict;
use warnings;
use SyncTest;
use Test::More;
use WayOut;

my $rows = 100_000;
my ($org, $node) = two_way(leads => $rows + 5000);

hold($node);
sql($node, qq{UPDATE acme.lead SET fax = right(id, 8) WHERE id IN
    (SELECT id FROM acme.lead WHERE NOT isconverted LIMIT $rows)});
is(sql($node, 'SELECT count(*) FROM sync.outbox'), $rows, 'all are caught');
$org->calls_mark;
sql($node, q{SELECT sync.resume('acme')});
wait_until('100,000 rows have gone out',
    sub { sql($node, 'SELECT count(*) FROM sync.change') == 0 });
cmp_ok($org->api_calls, '<=', 40, 'for at most 40 calls');
diag(join ' ', 'calls:', map { $_->{kind} } grep { $_->{api_calls} } $org->calls);
is(sql($node, q{SELECT sum(updated) FROM sync.log WHERE operation = 'push'}), $rows, 'as the log says');
sync_now($node, 'acme');
is(sql($node, q{SELECT updated, skipped >= 100000 FROM sync.log WHERE operation = 'pull' ORDER BY seq DESC LIMIT 1}),
    '0|t', 'what comes back is no news');
is(sql($node, 'SELECT count(*) FROM acme.lead WHERE fax = right(id, 8)'), $rows, 'each has its value here');
same_rows($node, $org, 'acme', 'Lead', 'and in the org', fields => [qw(LastName Fax SystemModstamp)]);
done_testing();
