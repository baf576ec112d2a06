
# The org's clock is another than ours: nothing is missed, whichever is ahead,
# and when it jumps.

use strict;
use warnings;
use SyncTest;
use Test::More;

my $node = sync_node('main');

for my $skew (0, -7200, 7200)
{
    # No row of it is from the time that its clock has yet to come to.
    my $org = Org->start(leads => 200, start => '2020-01-01', end => '2020-12-31');

    $org->post('/clock', { skew_seconds => $skew });
    connect_org($node, $org, "skew$skew" =~ s/-/_/r, server => [ interval => '1 hour' ]);
    my $server = "skew$skew" =~ s/-/_/r;
    enable_all($node, $server, 'Lead', 'CampaignMember');
    for my $round (1 .. 3)
    {
        my $mark = "$server $round";

        $org->insert('Lead', { LastName => $mark, Company => 'C' });
        $org->change('Lead', { Title => $mark }, limit => 20);
        my ($lead) = map { $_->{Id} } 
              grep { !$_->{IsDeleted} }
              @{ $org->rows('SELECT Id, IsDeleted FROM Lead WHERE IsConverted = false') };
        $org->delete('Lead', $lead);
        my ($member) = map { $_->{Id} }
          grep { !$_->{IsDeleted} } @{ $org->rows('SELECT Id, IsDeleted FROM CampaignMember') };
        $org->delete('CampaignMember', $member);
        sync_now($node, $server);
        same_rows($node, $org, $server, $_, "clock off by $skew s, round $round")
          for 'Lead', 'CampaignMember';
    }
    my $lag = $node->safe_psql('postgres', qq{
        SELECT extract(epoch FROM lag) BETWEEN -60 AND 900 FROM sync.status
        WHERE server = '$server' AND object = 'Lead'});
    is($lag, 't', "lag is told by the org's clock");
    $org->stop;
}
done_testing();
