
# A login that may only read, as the quick start of other tools recommends: its
# describes say deletable: false of everything, and yet others delete.

use strict;
use warnings;
use JSON::PP;
use SyncTest;
use Test::More;

my $org = Org->start(leads => 60, accounts => 20, contacts => 40, members => 30);
my $node = sync_node('main');
my @objects = qw(Account Contact Lead Campaign CampaignMember User);
my ($true, $false) = (JSON::PP::true, JSON::PP::false);

# DescribeSObjectResult: createable, updateable, deletable and undeletable
# are the rights of the user who asks.
$org->post('/fls', { username => 'sync@example.com', object => $_, editable => $false }) for @objects;
connect_org($node, $org, 'acme', server => [ interval => '1 hour' ]);
enable_all($node, 'acme', @objects);
sync_now($node, 'acme');

my %gone;
foreach my $object (qw(Contact Lead CampaignMember))
{
    my @ids = map { $_->{Id} } @{ $org->rows("SELECT Id FROM $object"
          . ($object eq 'Lead' ? ' WHERE IsConverted = false' : '')) };
    $gone{$object} = [ @ids[ 0 .. 1 ] ];
}
# Purged ones, queryAll never shows.
$org->dml(op => 'delete', object => $_, records => $gone{$_}, as => 'ada@example.com') for qw(CampaignMember Contact Lead);
$org->dml(op => 'purge', object => 'Lead', records => [ $gone{Lead}[0] ]);
$org->post('/clock', { step_seconds => 61 });
$org->post('/expire');
sync_now($node, 'acme') for 1 .. 2;
same_rows($node, $org, 'acme', $_, 'what others deleted is deleted here') for @objects;

my $lines = $node->safe_psql('postgres', q{SELECT c::text FROM sync.check('acme') c});
like($lines, qr/object Lead[^\n]*deletes by getDeleted/, 'sync.check says how deletes are told');

# Of what is not replicateable, nothing tells: ids are compared once a day.
$org->post('/schema', { add_object => { name => 'Note__c', label => 'Note', flags => [qw(createable updateable deletable queryable retrieveable)],
    fields => [ { name => 'Text__c', type => 'string', length => 80 } ] } });
my ($note) = map { $org->insert('Note__c', { Name => "note $_" }) } 1 .. 5;
$org->post('/fls', { username => 'sync@example.com', object => 'Note__c', editable => $false });
enable_all($node, 'acme', 'Note__c');
like($node->safe_psql('postgres', q{SELECT c::text FROM sync.check('acme') c WHERE c::text ~ 'Note__c'}), qr/comparing ids once a day/, '... and of what is not replicateable');
$org->dml(op => 'delete', object => 'Note__c', records => [ $note ], as => 'ada@example.com');
# What is younger than the overlap may be there and not visible yet.
$org->post('/clock', { step_seconds => 3600 });
$org->post('/expire');
$node->safe_psql('postgres', q{UPDATE sync.progress SET swept = now() - interval '25 hours' WHERE object = 'Note__c'});
sync_now($node, 'acme');
same_rows($node, $org, 'acme', 'Note__c', 'a delete that nothing told of');
is($node->safe_psql('postgres', 'SELECT count(*) FROM sync.failures'), 0, 'nothing failed');

done_testing();
