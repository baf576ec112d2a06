
# A synced table that is made unlogged is empty after a crash: that is told, and
# it is filled anew when it is logged again.

use strict;
use warnings FATAL => 'all';
use SyncTest;
use Test::More;
use WayOut;

my ($org, $node) = two_way(leads => 50, objects => ['Lead'], server => [ overlap => '0' ]);

# One cycle that reads nothing old.
$org->insert('Lead', { LastName => 'Later', Company => 'x' });
sync_now($node, 'acme');
is(sql($node, 'SELECT count(*) FROM acme.lead'), 51, 'all rows are there');

sql($node, 'ALTER TABLE acme.lead SET UNLOGGED');
like(sql($node, q{SELECT detail FROM sync.check('acme') WHERE status = 'error'}), qr/It is unlogged.*SET LOGGED/, 'the check says it');
$org->insert('Lead', { LastName => 'Latest', Company => 'x' });
sync_now($node, 'acme');
like(sql($node, q{SELECT state || ' ' || last_error FROM sync.status}), qr/^failing .*It is unlogged/, '... and the state');
sql($node, 'ALTER TABLE acme.lead SET LOGGED');
sync_now($node, 'acme') for 1, 2;
same_rows($node, $org, 'acme', 'Lead', 'after it was unlogged');
is(sql($node, 'SELECT state FROM sync.status'), 'live', '... it is live');

# Nobody looks in between.
sql($node, 'SELECT sync.stop(); ALTER TABLE acme.lead SET UNLOGGED');
crash($node);
is(sql($node, 'SELECT count(*) FROM acme.lead'), 0, 'a crash has emptied it');
sql($node, 'ALTER TABLE acme.lead SET LOGGED; SELECT sync.start()');
sync_now($node, 'acme') for 1, 2;
same_rows($node, $org, 'acme', 'Lead', 'after a crash');
done_testing();
