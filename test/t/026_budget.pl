
# The share of the org's calls that the sync may use: when it is used up
# nothing happens but one question each time, whether the allowance has grown.

use strict;
use warnings;
use SyncTest;
use Test::More;
use WayOut;

my ($org, $node) = two_way(leads => 20);
my $id = sql($node, 'SELECT min(id) FROM acme.lead WHERE NOT isconverted');

$org->update('Lead', { Id => $id, Title => 'Before' });
$org->post('/limits', { max => 6, used => 0 });
sync_now($node, 'acme');
is(sql($node, "SELECT title FROM acme.lead WHERE id = '$id'"), 'Before', 'the answers tell of a small allowance');

$org->update('Lead', { Id => $id, Title => 'Meanwhile' });
$org->calls_mark;
like(sql($node, q{SELECT outcome FROM sync.now('acme')}), qr/^the API budget of server "acme" is used up/, 'the budget is used up');
is(join(' ', map { $_->{path} =~ s{.*/}{}r } $org->calls), 'limits', 'one question, nothing else');
is(sql($node, 'SELECT state FROM sync.status'), 'stalled', 'which is seen');
like(sql($node, 'SELECT last_error FROM sync.status'), qr/the org allows 6, of which sync may use 80 %/, 'and why');

$org->post('/limits', { max => 100_000, used => 0 });
sync_now($node, 'acme');
is(sql($node, "SELECT title FROM acme.lead WHERE id = '$id'"), 'Meanwhile', 'when the org allows more, it goes on');
is(failures_of($node), '', 'no failure is left');
done_testing();
