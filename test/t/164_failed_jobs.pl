
# A Bulk job that fails as a whole says why as a call does: a field that has
# left is no fault of the rows, and what is tells Collections, row by row.

use strict;
use warnings;
use JSON::PP;
use SyncTest;
use Test::More;
use WayOut;

my ($org, $node) = two_way(leads => 200, contacts => 10, objects => [qw(Lead Contact)],
    conf => qq{sync.push_bulk_threshold = 15\nsync.lost_answer_wait = '1 s'});
my ($true, $n) = (JSON::PP::true, 0);

sub jobs { return scalar grep { $_->{kind} eq 'ingest_create' } $org->calls }
sub leads { return '(SELECT id FROM acme.lead WHERE NOT isconverted ORDER BY id LIMIT 40)' }

# A field leaves
$org->post('/schema', { add_field => { object => 'Lead', name => "Gone${_}__c", type => 'string', length => 40 } }) for 1 .. 3;
sync_now($node, 'acme');
sql($node, q{SELECT sync.set('acme', 'Lead', 'exclude', NULL)});
sync_now($node, 'acme');

foreach my $verb (qw(UPDATE INSERT))
{
    my $field = 'Gone' . ++$n . '__c';
    my $column = lc $field;

    hold($node);
    sql($node, $verb eq 'UPDATE' ? "UPDATE acme.lead SET title = 'left', $column = 'x' WHERE id IN " . leads()
        : "INSERT INTO acme.lead (lastname, company, $column) SELECT 'Left', 'c' || i, 'x' FROM generate_series(1, 40) i");
    $org->post('/schema', { remove_field => { object => 'Lead', name => $field } });
    $org->calls_mark;
    let_go($node, "$verb of a field that has left");
    is($org->count('Lead', $verb eq 'UPDATE' ? q{Title = 'left'} : q{LastName = 'Left'}), 40, '... the rest of the rows goes, once');
    is(failures_of($node), '', '... nothing is refused');
    cmp_ok(jobs(), '<=', 2, '... by two jobs at most');
    is(sql($node, qq{SELECT count(*) FROM sync.conflicts WHERE field = '$column' AND rule = 'no field'}), 40, '... what it had is a conflict');
}

# Jobs that fail for other reasons
foreach my $message ('InvalidBatch : Field name not found : LastName', 'InternalServerError : try later',
    'ClientInputError : LineEnding is invalid on user data. Current LineEnding setting is LF',
    'Batch failed: Retried more than 20 times', 'LimitExceeded : too many batches', '')
{
    my $what = $message =~ s/ :.*//r || 'no message';

    foreach my $verb (qw(UPDATE INSERT))
    {
        my $name = 'F' . ++$n;
        my $fault = $org->fault({ kind => 'ingest_create' }, { pass => $true, job_failed => $message || ' ' }, times => -1);

        hold($node);
        sql($node, $verb eq 'UPDATE' ? "UPDATE acme.lead SET title = '$name' WHERE id IN " . leads()
            : "INSERT INTO acme.lead (lastname, company, title) SELECT 'Made', 'c' || i, '$name' FROM generate_series(1, 40) i");
        let_go($node, "$what, $verb");
        cmp_ok($org->hits($fault), '>', 0, '... after the fault');
        is($org->count('Lead', "Title = '$name'"), 40, '... all is done, once');
        is(failures_of($node, 'record IS NOT NULL'), '', '... nothing is refused');
        $org->no_faults;
    }
}

# A row at fault is told from the others
$org->fault({ kind => 'ingest_create' }, { pass => $true, job_failed => 'InvalidBatch : no' });
hold($node);
sql($node, q{UPDATE acme.lead SET title = 'mixed', email = CASE WHEN id = (SELECT min(id) FROM acme.lead WHERE NOT isconverted) THEN 'no address' ELSE email END WHERE id IN } . leads());
let_go($node, 'a row at fault');
is(sql($node, q{SELECT count(*), min(code) FROM sync.failures WHERE record IS NOT NULL}), '1|INVALID_EMAIL_ADDRESS', '... is refused, alone');
is($org->count('Lead', q{Title = 'mixed'}), 39, '... the others are done');
sql($node, q{UPDATE acme.lead SET email = NULL WHERE email = 'no address'});
went_out($node, '... until it is mended');

# Results that cannot be told apart from what was sent: looked for, not doubled
my $spoilt = $org->fault({ kind => 'ingest_results' }, { pass => $true, replace => [ [ 'told-1"', 'old-1"' ] ] });
hold($node);
sql($node, q{INSERT INTO acme.lead (lastname, company) SELECT 'Told', 'told-' || i FROM generate_series(1, 30) i});
let_go($node, 'a result that is nobody\'s');
wait_for($node, q{SELECT count(*) = 0 FROM sync.attempt}, '... is looked for');
is($org->hits($spoilt), 1, '... after the fault');
is($org->count('Lead', q{LastName = 'Told'}), 30, '... each record once');
is(sql($node, q{SELECT count(*) FROM acme.lead WHERE lastname = 'Told' AND id NOT LIKE '~%'}), 30, '... each row has an id');
is(failures_of($node), '', 'nothing is refused');
sync_now($node, 'acme');
same_rows($node, $org, 'acme', 'Lead', 'both sides', fields => [qw(LastName Company Title Email)]);
done_testing();
