
# What one object does is its own trouble: slow to answer, an unreadable answer,
# an id that is none.  The others are asked alone, and come in.

use strict;
use warnings;
use JSON::PP;
use SyncTest;
use WayOut;
use Test::More;

my $true = JSON::PP::true;
my $org = Org->start(leads => 30, contacts => 20, accounts => 10);
my $node = sync_node('main');
my @objects = qw(Account Contact Lead);

connect_org($node, $org, 'acme', server => [ interval => '1 hour', timeout => '2 s' ]);
enable_all($node, 'acme', @objects);

foreach my $trouble (
    [ 'is slow', sub { $org->fault({ kind => 'composite', body => 'FROM%20Contact|Contact/(updated|deleted)' }, { hang => 60 }, times => -1);
        $org->fault({ path => 'FROM%20Contact|Contact/(updated|deleted)' }, { hang => 60 }, times => -1) },
        qr/timeout/ ],
    [ 'has an unreadable date', sub { $org->fault({ kind => 'updated', object => 'Contact', sub => $_ }, { replace => [ [ '"latestDateCovered":"[^"]*"', '"latestDateCovered":""' ] ] }, times => -1) for $true, JSON::PP::false },
        qr/not a datetime/ ],
    [ 'has an id that is none', sub { $org->fault({ path => 'query.*Contact', sub => $_ }, { replace => [ [ '"Id":"003[^"]*"', '"Id":"0035h000000000AXXX"' ] ] }, times => -1) for $true, JSON::PP::false },
        qr/Id|id/ ])
{
    my ($what, $fault, $words) = @$trouble;

    $fault->();
    $org->change($_, { Description => $what }, limit => 1) for @objects;
    $node->psql('postgres', q{SELECT * FROM sync.now('acme')});
    is(sql($node, qq{SELECT count(*) FROM acme.$_ WHERE description = '$what'}), 1, "Contact $what: $_ comes in") for qw(account lead);
    is(sql($node, q{SELECT string_agg(DISTINCT object, ',') FROM sync.failures}), 'Contact', '... and it alone fails');
    like(sql($node, q{SELECT string_agg(message, ' ') FROM sync.failures}), $words, '... and says why');
    $org->no_faults;
    $node->psql('postgres', q{SELECT sync.resume('acme')});
    wait_until('... until it is well again', sub {
        $node->psql('postgres', q{SELECT * FROM sync.now('acme')});
        sql($node, qq{SELECT count(*) FROM acme.contact WHERE description = '$what'}) == 1 });
    is(sql($node, 'SELECT count(*) FROM sync.failures'), 0, '... nothing is left of it');
}

# Nobody answers: that is the org's
$org->fault({ path => '^/services/data' }, { hang => 60 }, times => -1);
$node->psql('postgres', q{SELECT * FROM sync.now('acme')});
is(sql($node, q{SELECT string_agg(DISTINCT state, ',') FROM sync.status}), 'stalled', 'silence of all is the org\'s');
$org->no_faults;
done_testing();
