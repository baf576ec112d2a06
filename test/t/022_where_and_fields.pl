
# A SOQL filter: only its rows come, and rows that leave it go; lists of fields
# to take or to leave out; both changed later.

use strict;
use warnings;
use SyncTest;
use Test::More;

my $org = Org->start(leads => 500);
my $node = sync_node('main');
my $open = q{Status = 'Open - Not Contacted'};

connect_org($node, $org, 'acme', server => [ interval => '1 hour' ]);
$node->safe_psql('postgres', q{
    BEGIN;
    SELECT sync.enable('acme', ARRAY['Lead', 'Campaign']);
    SELECT sync.set('acme', 'Lead', 'where', $$Status = 'Open - Not Contacted'$$);
    COMMIT});
wait_live($node, 'acme');
sync_now($node, 'acme');
same_rows($node, $org, 'acme', 'Lead', 'with a filter', where => $open);
cmp_ok($node->safe_psql('postgres', 'SELECT count(*) FROM acme.lead'), '>', 0, 'it has rows');

# Rows enter and leave the filter.
my @inside = map { $_->{Id} } @{ $org->rows("SELECT Id FROM Lead WHERE $open LIMIT 5") };
my @outside = map { $_->{Id} }
  @{ $org->rows(q{SELECT Id FROM Lead WHERE Status = 'Working - Contacted' LIMIT 5}) };
$org->update('Lead', map { { Id => $_, Status => 'Working - Contacted' } } @inside[ 0, 1 ]);
$org->update('Lead', map { { Id => $_, Status => 'Open - Not Contacted' } } @outside[ 0, 1 ]);
$org->update('Lead', { Id => $inside[2], Title => 'still inside' }, { Id => $outside[2], Title => 'still outside' });
$org->delete('Lead', $inside[3]);
$org->insert('Lead', { LastName => 'In', Company => 'I', Status => 'Open - Not Contacted' },
    { LastName => 'Out', Company => 'O', Status => 'Working - Contacted' });
sync_now($node, 'acme');
same_rows($node, $org, 'acme', 'Lead', 'after rows entered and left', where => $open);

# Another filter later, and none at all.
$node->safe_psql('postgres', q{SELECT sync.set('acme', 'Lead', 'where', $$LastName LIKE 'S%'$$)});
wait_live($node, 'acme');
# Rows of the very second in which the filter changed may need one more.
sync_now($node, 'acme') for 1 .. 2;
same_rows($node, $org, 'acme', 'Lead', 'with another filter', where => q{LastName LIKE 'S%'});
$node->safe_psql('postgres', q{SELECT sync.set('acme', 'Lead', 'where', NULL)});
wait_live($node, 'acme');
sync_now($node, 'acme');
same_rows($node, $org, 'acme', 'Lead', 'without a filter');

# A filter that the org does not understand is an error of whoever set it, or
# of this object alone; the other goes on.
my ($status, $out, $err) = $node->psql('postgres',
    q{SELECT sync.set('acme', 'Lead', 'where', 'NoSuchField = 1')});
$org->insert('Campaign', { Name => 'Goes on' });
sync_now($node, 'acme') if $status;
wait_for($node, q{SELECT count(*) = 1 FROM acme.campaign WHERE name = 'Goes on'},
    'a bad filter stops no other object');
if ($status == 0)
{
    wait_for($node, q{SELECT count(*) > 0 FROM sync.failures
        WHERE object = 'Lead' AND message ~ 'NoSuchField'}, 'and is reported');
    $node->safe_psql('postgres', q{SELECT sync.set('acme', 'Lead', 'where', NULL)});
    wait_live($node, 'acme');
}
else
{
    like($err, qr/NoSuchField/, 'and is refused');
}

# Fields to leave out.
$node->safe_psql('postgres', q{SELECT sync.set('acme', 'Lead', 'exclude', 'Phone, website')});
wait_live($node, 'acme');
sync_now($node, 'acme');
is($node->safe_psql('postgres', q{
    SELECT count(*) FROM pg_attribute WHERE attrelid = 'acme.lead'::regclass
    AND attname IN ('phone', 'website') AND NOT attisdropped}), 0, 'excluded fields have no column');
same_rows($node, $org, 'acme', 'Lead', 'without two fields');

# Only some fields: Id and the stamps stay.
$node->safe_psql('postgres', q{SELECT sync.set('acme', 'Lead', 'exclude', NULL)});
$node->safe_psql('postgres', q{SELECT sync.set('acme', 'Lead', 'fields', 'LastName, Email')});
wait_live($node, 'acme');
sync_now($node, 'acme');
my $columns = $node->safe_psql('postgres', q{
    SELECT string_agg(attname, ' ' ORDER BY attname) FROM pg_attribute
    WHERE attrelid = 'acme.lead'::regclass AND attnum > 0 AND NOT attisdropped});
like($columns, qr/^email id (isdeleted )?lastname (local_id )?systemmodstamp$/, 'the fields asked for and what the sync needs');
same_rows($node, $org, 'acme', 'Lead', 'with two fields', fields => [ 'LastName', 'Email' ]);

my $error = sql_error($node, q{SELECT sync.set('acme', 'Lead', 'fields', 'LastName, Nonsense')});
like($error, qr/Nonsense/, 'an unknown field is named');
$error = sql_error($node, q{SELECT sync.set('acme', 'Lead', 'colour', 'red')});
like($error, qr/HINT:.*where/, 'an unknown option names the valid ones');
done_testing();
