
# An answer that disagrees with itself is no answer: whether the records were
# made is looked for, before anything is sent again.

use strict;
use warnings;
use JSON::PP;
use SyncTest;
use Test::More;
use WayOut;

my ($true, $false) = (JSON::PP::true, JSON::PP::false);
my ($org, $node) = two_way(leads => 20, contacts => 10, objects => [qw(Lead Contact)],
    conf => q{sync.lost_answer_wait = '1 s'});
my $n = 0;

sub found { my ($object, $name) = @_; return sort map { $_->{Id} } @{ $org->rows("SELECT Id FROM $object WHERE LastName = '$name'") } }

# Three new rows become three records, each row with the id of its own.
sub three_are_three
{
    my ($what, $object, $action, %more) = @_;
    my $name = 'N' . ++$n;
    my $table = 'acme.' . lc $object;
    my $key = $object eq 'Contact' ? 'ext__c' : 'company';
    my $fault = $org->fault({ kind => 'collections', body => $name, %more }, $action);

    sql($node, "INSERT INTO $table (lastname, title, $key) SELECT '$name', 't' || i, '$name-' || i FROM generate_series(1, 3) i");
    wait_for($node, q{SELECT NOT EXISTS (SELECT FROM sync.change) AND NOT EXISTS (SELECT FROM sync.attempt)
        AND NOT EXISTS (SELECT FROM sync.local_id WHERE NOT replaced)}, "$what: all has gone out");
    is($org->hits($fault), 1, '... after the fault');
    my @records = found($object, $name);
    is(scalar(@records), 3, '... three records');
    is(sql($node, "SELECT string_agg(id, ',' ORDER BY id COLLATE \"C\") FROM $table WHERE lastname = '$name'"), join(',', @records), '... and the rows have their ids');
    is(sql($node, 'SELECT count(*) FROM sync.failures'), 0, '... nothing is refused');
    return;
}

sub spoilt { return { pass => $true, replace => [ [ @_ ] ] } }

my @cases = (
    [ 'a success without id', spoilt('"id":"\w+",', '') ],
    [ 'one of three', spoilt('^\[\{"id":"\w+"', '[{"id":null') ],
    [ 'an id that is none', spoilt('"id":"\w+"', '"id":"00Q"') ],
    [ 'an id with a wrong checksum', spoilt('^\[\{"id":"(\w{15})\w+"', '[{"id":"\1AAZ"') ],
    [ 'an id that is a number', spoilt('"id":"\w+"', '"id":7') ],
    [ 'one id for two', spoilt('^\[\{"id":"(\w+)"(.*?)"id":"\w+"', '[{"id":"\1"\2"id":"\1"') ],
    [ 'a failure without errors', spoilt('"success":true', '"success":false') ],
    [ 'and without id', spoilt('"id":"\w+","success":true', '"success":false') ],
    [ 'texts for errors', spoilt('"id":"\w+","success":true,"errors":\[\]', '"success":false,"errors":["no","no"]') ],
    [ 'a text for errors', spoilt('"id":"\w+","success":true,"errors":\[\]', '"success":false,"errors":"no"') ],
    [ 'errors without a code', spoilt('"id":"\w+","success":true,"errors":\[\]', '"success":false,"errors":[{"message":"no"}]') ],
    [ 'a failure with an id', spoilt('"success":true,"errors":\[\]', '"success":false,"errors":[{"statusCode":"STRING_TOO_LONG","message":"no"}]') ],
    [ 'a success with errors', spoilt('"errors":\[\]', '"errors":[{"statusCode":"STRING_TOO_LONG","message":"no"}]') ],
    [ 'a success that is a text', spoilt('"success":true', '"success":"true"') ],
    [ 'no success at all', spoilt('"success":true,', '') ],
    [ 'a result too few', spoilt('^\[\{[^\]]*\]\},', '[') ],
    [ 'a result too many', spoilt('^\[(\{[^\]]*\]\},)', '[\1\1') ],
    [ 'a result that is null', spoilt('^\[\{[^\]]*\]\},', '[null,') ],
    [ 'results that are lists', spoilt('\{[^\]]*\]\}', '[]') ],
    [ 'an empty list', spoilt('.+', '[]') ],
    [ 'an object', spoilt('.+', '{}') ],
    [ 'nothing done, and nothing said', { status => 200, body => [ ({ success => $false, errors => [] }) x 3 ] } ],
    [ 'nothing done, and said to be', { status => 200, body => [ ({ success => $true, errors => [], id => undef }) x 3 ] } ]);
three_are_three($_->[0], 'Lead', $_->[1], method => 'POST') foreach @cases;

# An id that another row has
my ($old) = $org->insert('Lead', { LastName => 'Old', Company => 'x' });
sync_now($node, 'acme');
three_are_three('the id of another row', 'Lead', spoilt('^\[\{"id":"\w+"', qq([{"id":"$old")), method => 'POST');
my $given = sql($node, q{SELECT id FROM sync.local_id ORDER BY id LIMIT 1});
three_are_three('an id that was given before', 'Lead', spoilt('^\[\{"id":"\w+"', qq([{"id":"$given")), method => 'POST');

# By an external id they are sent again, which harms nobody
sql($node, q{SELECT sync.set('acme', 'Contact', 'external_id', 'Ext__c')});
three_are_three("upserts, $_->[0]", 'Contact', $_->[1], method => 'PATCH') foreach @cases[ 0, 1, 5, 6, 8, 12, 15 ];

# Updates and deletes
my @leads = split /\n/, sql($node, q{SELECT id FROM acme.lead WHERE NOT isconverted AND lastname !~ '^N' ORDER BY id LIMIT 4});
foreach my $case (@cases[ 6, 8, 12, 15 ])
{
    my ($what, $action) = @$case;

    $org->fault({ kind => 'collections', method => 'PATCH' }, $action);
    sql($node, "UPDATE acme.lead SET title = '$what' WHERE id IN ('$leads[0]', '$leads[1]')");
    went_out($node, "updates, $what");
    is(scalar @{ $org->rows("SELECT Id FROM Lead WHERE Title = '$what'") }, 2, '... are done');
}
$org->fault({ kind => 'collections', method => 'DELETE' }, $cases[8][1]);
sql($node, "DELETE FROM acme.lead WHERE id IN ('$leads[2]', '$leads[3]')");
went_out($node, 'deletes, texts for errors');
is($org->count('Lead', "Id IN ('$leads[2]', '$leads[3]')"), 0, '... are done');
is(sql($node, 'SELECT count(*) FROM sync.failures'), 0, '... nothing is refused');
sync_now($node, 'acme');
same_rows($node, $org, 'acme', $_, 'both sides') for qw(Lead Contact);
done_testing();
