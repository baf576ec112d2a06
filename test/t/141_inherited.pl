
# Tables that inherit from a synced one are others: the sync leaves their rows
# alone, and is not misled by them.

use strict;
use warnings FATAL => 'all';
use SyncTest;
use Test::More;
use WayOut;

my ($org, $node) = two_way(leads => 20, objects => ['Lead']);
my @leads = split /\n/, sql($node, 'SELECT id FROM acme.lead WHERE NOT isconverted ORDER BY id');
my $foreign = '00Q000000000000AAA';

sub archived { return sql($node, q{SELECT string_agg(title, ',' ORDER BY title) FROM public.archive}) }

# An archive with rows that are in the table, that are gone, and that never were.
sql($node, qq{
    CREATE TABLE public.archive () INHERITS (acme.lead);
    INSERT INTO public.archive SELECT * FROM ONLY acme.lead WHERE id IN ('$leads[0]', '$leads[1]', '$leads[2]');
    DELETE FROM sync.change;
    INSERT INTO public.archive (id, lastname, company) VALUES ('$foreign', 'Never', 'x');
    UPDATE public.archive SET title = 'archived', systemmodstamp = '2000-01-01'});
is(outbox($node), '', 'what is written to an heir goes nowhere');

# A pull that updates, deletes and inserts.
my ($new) = $org->insert('Lead', { LastName => 'New', Company => 'x' });
sql($node, qq{INSERT INTO public.archive (id, lastname, title) VALUES ('$new', 'New', 'archived')});
$org->update('Lead', { Id => $leads[0], Title => 'pulled' });
$org->delete('Lead', $leads[1]);
sync_now($node, 'acme');
is(archived(), join(',', ('archived') x 5), 'a pull leaves the rows of an heir');
is(sql($node, qq{SELECT title FROM ONLY acme.lead WHERE id = '$leads[0]'}), 'pulled', '... changes its own');
is(sql($node, qq{SELECT count(*) FROM ONLY acme.lead WHERE id = '$leads[1]'}), 0, '... takes its own away');
is(sql($node, qq{SELECT count(*) FROM ONLY acme.lead WHERE id = '$new'}), 1, '... and brings in what only an heir has');

# All ids are compared when the table is adopted again.
sql($node, q{SELECT sync.disable('acme', 'Lead'); SELECT sync.enable('acme', '{Lead}')});
wait_live($node, 'acme');
is(archived(), join(',', ('archived') x 5), 'a copy that compares leaves the rows of an heir');

# A row that takes its id.
hold($node);
my $id = sql($node, q{INSERT INTO acme.lead (lastname, company) VALUES ('Takes', 'x') RETURNING id});
sql($node, qq{INSERT INTO public.archive (id, lastname, title) VALUES ('$id', 'Takes', 'archived')});
let_go($node);
push_out($node);
is(sql($node, q{SELECT count(*) FROM ONLY acme.lead WHERE lastname = 'Takes' AND id NOT LIKE '~%'}), 1, 'a row takes its id');
is(sql($node, q{SELECT id FROM public.archive WHERE lastname = 'Takes'}), $id, '... and its copy in an heir does not');
sql($node, 'DROP TABLE public.archive');
same_rows($node, $org, 'acme', 'Lead', 'at last');
is(failures_of($node), '', 'nothing failed');
done_testing();
