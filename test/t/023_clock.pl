
# The org's clock is another than ours: nothing is missed, whichever is ahead,
# and when it jumps.

use strict;
use warnings;
use SyncTest;
use Test::More;

my $org = Org->start(leads => 200);
my $node = sync_node('main');

for my $skew (0, -7200, 7200)
{
    $org->post('/clock', { skew_seconds => $skew });
    connect_org($node, $org, "skew$skew" =~ s/-/_/r, server => [ interval => '1 hour' ]);
    my $server = "skew$skew" =~ s/-/_/r;
    enable_all($node, $server, 'Lead', 'Campaign');
    for my $round (1 .. 3)
    {
        my $mark = "$server $round";

        $org->insert('Lead', { LastName => $mark, Company => 'C' });
        $org->change('Lead', { Title => $mark }, limit => 20);
        my ($lead) = map { $_->{Id} } 
              grep { !$_->{IsDeleted} }
              @{ $org->rows('SELECT Id, IsDeleted FROM Lead WHERE IsConverted = false') };
        $org->delete('Lead', $lead);
        sync_now($node, $server);
        same_rows($node, $org, $server, 'Lead', "clock off by $skew s, round $round");
    }
    my $lag = $node->safe_psql('postgres', qq{
        SELECT extract(epoch FROM lag) BETWEEN -60 AND 900 FROM sync.status
        WHERE server = '$server' AND object = 'Lead'});
    is($lag, 't', "lag is told by the org's clock");
}
done_testing();
