
# Whatever SQLSTATE a user's trigger chooses to raise, it concerns its row or its
# object: no login that fails, no org that is down, no worker that ends.

use strict;
use warnings FATAL => 'all';
use SyncTest;
use Test::More;
use WayOut;

my ($org, $node) = two_way(leads => 10, contacts => 10, objects => [qw(Contact Lead)]);
my @contacts = split /\n/, sql($node, 'SELECT id FROM acme.contact ORDER BY id');
my @leads = split /\n/, sql($node, 'SELECT id FROM acme.lead WHERE NOT isconverted ORDER BY id');

sub worker { return sql($node, q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'sync worker'}) }

sub not_stalled
{
    return unlike(sql($node, q{SELECT string_agg(DISTINCT state, ',') FROM sync.status}), qr/stalled/, '... the org is not down');
}

# A login that fails, an allowance that is used up, a cancel, a shutdown, an
# administrator's command, a connection (of postgres_fdw), a foreign server, ...
foreach my $state (qw(28000 28P01 53400 53100 57014 57P01 57P03 08006 HV000 XX000 0A000 25006 42501 58030 P0001))
{
    my $worker = worker();

    sql($node, qq{
        CREATE FUNCTION public.raise() RETURNS trigger LANGUAGE plpgsql AS \$\$
        BEGIN RAISE 'raised $state' USING errcode = '$state'; END \$\$;
        CREATE TRIGGER a_raise AFTER UPDATE ON acme.contact FOR EACH ROW WHEN (sync.applying())
            EXECUTE FUNCTION public.raise()});
    # In: Contact comes before Lead.
    $org->update('Contact', { Id => $contacts[0], Department => "in $state" });
    $org->update('Lead', { Id => $leads[0], Title => "in $state" });
    $node->psql('postgres', q{SELECT * FROM sync.now('acme')});
    is(sql($node, qq{SELECT title FROM acme.lead WHERE id = '$leads[0]'}), "in $state", "$state: another object comes in");
    like(sql($node, q{SELECT string_agg(object || ' ' || message, ',') FROM sync.failures}),
        qr/^Contact raised $state/, '... it is told of its object');
    not_stalled();

    # Out: a row is to take its id.
    sql($node, "INSERT INTO acme.contact (lastname) VALUES ('New $state')");
    wait_for($node, q{SELECT count(*) > 0 FROM sync.failures WHERE operation IN ('replace', 'push')},
        '... an id that cannot be taken is told')
      or diag(sql($node, 'SELECT operation, object, record, code, message FROM sync.failures'));
    sql($node, qq{UPDATE acme.lead SET city = 'out $state' WHERE id = '$leads[1]'});
    wait_for($node, q{SELECT count(*) = 0 FROM sync.outbox WHERE object = 'Lead'}, '... another object goes out');
    is(record_of($org, 'Lead', $leads[1], 'City')->{City}, "out $state", '... and is there');
    not_stalled();
    is(worker(), $worker, '... the worker lives');

    sql($node, 'DROP FUNCTION public.raise CASCADE');
    sync_now($node, 'acme');
    wait_for($node, qq{SELECT count(*) = 1 FROM acme.contact WHERE lastname = 'New $state' AND id NOT LIKE '~%'},
        '... the id is taken after it');
    is(sql($node, qq{SELECT department FROM acme.contact WHERE id = '$contacts[0]'}), "in $state", '... the row is in');
    wait_for($node, q{SELECT count(*) = 0 FROM sync.failures}, '... nothing is left of it')
      or diag(sql($node, 'SELECT operation, object, record, code, message FROM sync.failures'));
}
done_testing();
