
# Rows that go: deleted, undeleted, purged, merged, of objects that cannot be
# undeleted, with what hangs on them; removed or marked.

use strict;
use warnings;
use JSON::PP;
use SyncTest;
use Test::More;

my $org = Org->start(leads => 400, accounts => 100, contacts => 200, members => 200);
my $node = sync_node('main');
my @objects = qw(Lead Account Contact Opportunity Campaign CampaignMember Task);

connect_org($node, $org, 'acme', server => [ interval => '1 hour' ]);
enable_all($node, 'acme', @objects);
sync_now($node, 'acme');

sub all_same
{
    my ($what) = @_;
    # Deletes of what cannot be undeleted are told by getDeleted, in whole
    # minutes: the next minute has come.  A clock that jumps is learnt with the
    # next login.
    $org->post('/clock', { step_seconds => 61 });
    $org->post('/expire');
    sync_now($node, 'acme') for 1 .. 2;
    same_rows($node, $org, 'acme', $_, $what) for @objects;
}

my @leads = map { $_->{Id} } @{ $org->rows('SELECT Id FROM Lead WHERE IsConverted = false LIMIT 20') };
$org->delete('Lead', @leads[ 0 .. 4 ]);
all_same('after deletes');
$org->dml(op => 'undelete', object => 'Lead', records => [ @leads[ 0, 1 ] ]);
all_same('after undelete');

# The log of deletes may remember them, in the same second, too.
$org->post('/config', { log_keeps_undeleted => JSON::PP::true });
$org->post('/clock', { frozen => JSON::PP::true });
$org->delete('Lead', @leads[ 17 .. 19 ]);
$org->dml(op => 'undelete', object => 'Lead', records => [ @leads[ 17, 18 ] ]);
$org->post('/clock', { frozen => JSON::PP::false });
all_same('after undelete within a second');
$org->post('/config', { log_keeps_undeleted => JSON::PP::false });
$org->dml(op => 'purge', object => 'Lead', records => [ $leads[2] ]);
all_same('after a purge of what was gone already');

# Deleted and purged between two cycles: queryAll has nothing to show.
$org->delete('Lead', $leads[5]);
$org->dml(op => 'purge', object => 'Lead', records => [ $leads[5] ]);
all_same('after a purge between two cycles');

# Made and deleted between two cycles: never seen, and no failure.
my ($brief) = $org->insert('Lead', { LastName => 'Brief', Company => 'B' });
$org->delete('Lead', $brief);
all_same('after a short life');

$org->dml(op => 'merge', object => 'Lead', records => [
    { master => { Id => $leads[6], Title => 'merged' }, losers => [ @leads[ 7, 8 ] ] } ]);
all_same('after a merge');

my ($account) = map { $_->{AccountId} }
  @{ $org->rows('SELECT AccountId FROM Contact WHERE AccountId != null LIMIT 1') };
$org->delete('Account', $account);
all_same('after an account with what hangs on it');

# CampaignMember: undeletable is false, so its deletes are told by getDeleted
# alone.
my @members = map { $_->{Id} } @{ $org->rows('SELECT Id FROM CampaignMember LIMIT 3') };
$org->delete('CampaignMember', @members);
all_same('after deletes that queryAll does not show');

# The lead of a member.
my ($person) = map { $_->{LeadId} }
  @{ $org->rows('SELECT LeadId FROM CampaignMember WHERE LeadId != null LIMIT 1') };
$org->delete('Lead', $person);
all_same('after a lead with its memberships');

$org->dml(op => 'convert', object => 'Lead', records => [
    { leadId => $leads[9], convertedStatus => 'Closed - Converted', accountId => undef,
      contactId => undef, opportunityName => undef,
      doNotCreateOpportunity => JSON::PP::false, ownerId => undef } ]);
all_same('after a conversion');

# Marked in place of removed.
$node->safe_psql('postgres', q{SELECT sync.set('acme', 'Lead', 'on_delete', 'mark')});
$org->delete('Lead', $leads[10]);
sync_now($node, 'acme');
is($node->safe_psql('postgres', qq{SELECT isdeleted FROM acme.lead WHERE id = '$leads[10]'}),
    't', 'on_delete = mark keeps the row and marks it');
$org->dml(op => 'undelete', object => 'Lead', records => [ $leads[10] ]);
sync_now($node, 'acme');
is($node->safe_psql('postgres', qq{SELECT isdeleted FROM acme.lead WHERE id = '$leads[10]'}),
    'f', 'until it comes back');
is($node->safe_psql('postgres', q{SELECT count(*) FROM sync.failures}), 0, 'no failures');
done_testing();
