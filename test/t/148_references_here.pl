
# Foreign keys among synced tables: a row that comes before the one that it refers
# to does not wait for an hour.

use strict;
use warnings FATAL => 'all';
use SyncTest;
use Test::More;
use WayOut;

my ($org, $node) = two_way(leads => 20, campaigns => 2, objects => [qw(Lead Campaign CampaignMember)],
    server => [ interval => '1 s' ]);

sql($node, q{ALTER TABLE acme.campaignmember ADD FOREIGN KEY (leadid) REFERENCES acme.lead ON UPDATE CASCADE ON DELETE CASCADE});
my ($campaign) = split /\n/, sql($node, 'SELECT id FROM acme.campaign ORDER BY id');
$org->post('/clock', { step_seconds => 61 });
my ($lead) = $org->insert('Lead', { LastName => 'Parent', Company => 'x' });
my ($member) = $org->insert('CampaignMember', { LeadId => $lead, CampaignId => $campaign });
$org->post('/clock', { step_seconds => 61 });
wait_for($node, qq{SELECT count(*) = 1 FROM acme.lead WHERE id = '$lead'}, 'the lead comes in');
wait_for($node, qq{SELECT count(*) = 1 FROM acme.campaignmember WHERE id = '$member'}, 'its member as well');
wait_for($node, q{SELECT count(*) = 0 FROM sync.failures}, 'nothing is left of it');

# Going out, and coming back.
sql($node, q{
    WITH c AS (INSERT INTO acme.campaign (name, isactive) VALUES ('Autumn', true) RETURNING id),
        l AS (INSERT INTO acme.lead (lastname, company) VALUES ('Meier', 'Initech') RETURNING id)
    INSERT INTO acme.campaignmember (campaignid, leadid) SELECT c.id, l.id FROM c, l});
went_out($node, 'a member that is made with its lead');
wait_for($node, q{SELECT count(*) = 1 FROM acme.campaignmember m JOIN acme.lead l ON l.id = m.leadid
    WHERE l.lastname = 'Meier' AND m.id NOT LIKE '~%' AND m.leadid NOT LIKE '~%'}, '... has the ids of both');
$org->delete('Lead', $lead);
$org->post('/clock', { step_seconds => 61 });
wait_for($node, qq{SELECT count(*) = 0 FROM acme.campaignmember WHERE id = '$member'}, 'a lead that goes takes its member along');
is(outbox($node), '', '... and nobody tells the org');
wait_for($node, q{SELECT count(*) = 0 FROM sync.failures}, 'nothing failed');
done_testing();
