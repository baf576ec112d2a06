
# What Salesforce refuses: what passes by itself is tried again, what somebody
# has to mend stands in sync.failures with Salesforce's own words, and neither
# holds up anything else.
#
# Of what users of other syncs suffer: row 7, UNABLE_TO_LOCK_ROW; row 8, every
# error but an outage waits for a person, and one bad row demotes its batch;
# row 9, rows that come back.

use strict;
use warnings;
use JSON::PP;
use SyncTest;
use Test::More;
use WayOut;

my ($org, $node) = two_way(leads => 120, contacts => 60, accounts => 4, campaigns => 3,
    objects => [qw(Lead Contact Account Campaign CampaignMember)]);
my @leads = split /\n/, sql($node, 'SELECT id FROM acme.lead WHERE NOT isconverted ORDER BY id');
my @contacts = split /\n/, sql($node, 'SELECT id FROM acme.contact WHERE accountid IS NOT NULL ORDER BY accountid, id');

sub org_value
{
    my ($object, $id, $field) = @_;
    my $record = record_of($org, $object, $id, $field);
    return $record ? $record->{$field} : undef;
}

sub state_of
{
    my ($id) = @_;
    return sql($node, qq{SELECT string_agg(state, ',' ORDER BY seq) FROM sync.outbox WHERE record = '$id'});
}

sub is_refused
{
    my ($id, $code, $fields, $name) = @_;

    wait_for($node, qq{SELECT count(*) > 0 FROM sync.outbox WHERE record = '$id' AND state = 'refused'}, $name);
    is(sql($node, qq{SELECT code, coalesce(fields, '{}') FROM sync.failures WHERE record = '$id' AND operation = 'push'}),
        "$code|$fields", '... with Salesforce\'s code and fields');
    return;
}

sub same_all
{
    my ($what) = @_;

    sync_now($node, 'acme');
    same_rows($node, $org, 'acme', $_, $what) for qw(Lead Contact Campaign CampaignMember);
    return;
}

#
# What passes by itself
#

# A lock: the row is tried again, the others of its call are done.
$org->fault({ object => undef, op => 'update', record => $leads[0] },
    { record_error => { statusCode => 'UNABLE_TO_LOCK_ROW',
        message => 'unable to obtain exclusive access to this record or 1 records: 0013' } }, times => 2);
hold($node);
sql($node, qq{UPDATE acme.lead SET title = 'locked once' WHERE id IN ('$leads[0]', '$leads[1]', '$leads[2]')});
sql($node, q{SELECT sync.resume('acme')});
wait_for($node, qq{SELECT count(*) = 1 FROM sync.outbox WHERE attempts > 0 AND next_attempt > captured}, 'a locked row waits a while');
is(org_value('Lead', $leads[1], 'Title'), 'locked once', 'row 8: the others of its call are done');
is(failures_of($node), '', 'it is no failure');
went_out($node, 'row 7: and is tried again until it goes');
is(org_value('Lead', $leads[0], 'Title'), 'locked once', 'it has gone');

# Locked by somebody else's long transaction, of the parent even.
my $account = sql($node, qq{SELECT accountid FROM acme.contact WHERE id = '$contacts[0]'});
my $tx = $org->post('/tx/begin')->{tx};
$org->post('/dml', { op => 'update', object => 'Account', tx => $tx, records => [ { Id => $account, Phone => '1' } ] });
my ($new) = sql($node, qq{INSERT INTO acme.contact (lastname, accountid) VALUES ('Child of locked', '$account') RETURNING id});
sql($node, qq{UPDATE acme.lead SET title = 'unhindered' WHERE id = '$leads[3]'});
wait_for($node, qq{SELECT attempts > 0 FROM sync.outbox WHERE record = '$new'}, 'a child of a locked parent waits');
wait_until('others do not', sub { (org_value('Lead', $leads[3], 'Title') // '') eq 'unhindered' });
$org->post('/tx/commit', { tx => $tx });
went_out($node, 'row 7: it goes when the lock is gone');
is($org->count('Contact', q{LastName = 'Child of locked'}), 1, 'once');

# A server that is down, before and after it has done what it was told
for my $case ([ 'an answer of 503', { status => 503 } ], [ 'an update that was done, answered by 500',
        { apply_then => { status => 500 } } ], [ 'a connection that ends', { reset => JSON::PP::true } ])
{
    my ($what, $action) = @$case;
    my $fault = $org->fault({ kind => 'collections', method => 'PATCH' }, $action);
    sql($node, qq{UPDATE acme.lead SET title = '$what' WHERE id = '$leads[4]'});
    went_out($node, "$what: tried again");
    is($org->hits($fault), 1, 'after the fault');
    is(org_value('Lead', $leads[4], 'Title'), $what, 'and done');
}
is(failures_of($node), '', 'none of which is a failure of the row');

# The org's allowance is used up: everything waits, nothing is lost.
my $fault = $org->fault({ kind => 'collections' }, { status => 403, errorCode => 'REQUEST_LIMIT_EXCEEDED',
    message => 'TotalRequests Limit exceeded.' }, times => -1);
sql($node, qq{UPDATE acme.lead SET title = 'over the limit' WHERE id = '$leads[5]'});
wait_for($node, q{SELECT bool_and(state = 'stalled' AND last_error ~ 'TotalRequests') FROM sync.status},
    'a limit stalls the server, visibly');
my $hits = $org->hits($fault);
sql($node, qq{UPDATE acme.lead SET title = 'over the limit' WHERE id = '$leads[6]'});
is(outbox($node, q{state = 'waiting'}) =~ tr/\n//, 1, 'changes wait');
is($org->hits($fault), $hits, 'and burn no calls');
$org->no_faults;
let_go($node, 'they go when somebody says so');
is(org_value('Lead', $leads[5], 'Title'), 'over the limit', 'all of them');

#
# What somebody has to mend
#

$org->post('/config', { validation => { object => 'Lead', where => q{Title = 'forbidden'},
    message => 'Not this title.', field => 'Title' } });
hold($node);
sql($node, qq{
    UPDATE acme.lead SET title = 'forbidden' WHERE id = '$leads[10]';
    UPDATE acme.lead SET title = 'allowed' WHERE id = '$leads[11]';
    UPDATE acme.lead SET email = 'no address' WHERE id = '$leads[12]';
    UPDATE acme.lead SET geocodeaccuracy = 'Guess' WHERE id = '$leads[13]';
    UPDATE acme.lead SET ownerid = '00500000000000AAAA' WHERE id = '$leads[14]'});
$org->calls_mark;
let_go($node);
is_refused($leads[10], 'FIELD_CUSTOM_VALIDATION_EXCEPTION', '{Title}', 'a validation rule');
is(sql($node, qq{SELECT message, hint ~ 'sync.retry' FROM sync.failures WHERE record = '$leads[10]'}),
    'Not this title.|t', '... and its message');
is_refused($leads[12], 'INVALID_EMAIL_ADDRESS', '{Email}', 'a bad address');
is_refused($leads[13], 'INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST', '{GeocodeAccuracy}', 'a value that the picklist has not');
wait_for($node, qq{SELECT count(*) = 1 FROM sync.failures WHERE record = '$leads[14]'}, 'a reference to nothing');
is(org_value('Lead', $leads[11], 'Title'), 'allowed', 'row 8: the good row of the call is done');
is(scalar(writes_of($org)), 1, 'in the same call');
is(sql($node, q{SELECT refused, queue FROM sync.status WHERE object = 'Lead'}), '4|0', 'sync.status counts them');
is(sql($node, q{SELECT failed, updated FROM sync.log WHERE operation = 'push' ORDER BY seq DESC LIMIT 1}), '4|1', 'so does the log');

# They are not sent again by themselves, and hold nothing up.
$org->calls_mark;
sync_now($node, 'acme') for 1 .. 3;
is(scalar(writes_of($org)), 0, 'they are not tried blindly');
is(sql($node, qq{SELECT attempts FROM sync.outbox WHERE record = '$leads[10]'}), 1, 'once was enough');
is(sql($node, qq{SELECT title FROM acme.lead WHERE id = '$leads[10]'}), 'forbidden', 'the row here keeps its value');
sql($node, qq{UPDATE acme.lead SET title = 'after them' WHERE id = '$leads[15]'});
wait_until('later changes of others go out', sub { (org_value('Lead', $leads[15], 'Title') // '') eq 'after them' });

# A later change of the row makes a new attempt.
sql($node, qq{UPDATE acme.lead SET email = 'an\@address.example', city = 'Rome' WHERE id = '$leads[12]'});
went_out($node, 'a later change');
is(org_value('Lead', $leads[12], 'Email'), 'an@address.example', 'mends it');
is(org_value('Lead', $leads[12], 'City'), 'Rome', 'and goes along');
is(failures_of($node, qq{record = '$leads[12]'}), '', 'the failure is over');

# Another column alone does not mend it, and does not get lost.
sql($node, qq{UPDATE acme.lead SET city = 'Bern' WHERE id = '$leads[13]'});
wait_for($node, qq{SELECT max(attempts) = 2 FROM sync.outbox WHERE record = '$leads[13]'}, 'another change of a refused row is tried');
is(state_of($leads[13]), 'refused,refused', 'and refused with it');
is(sql($node, qq{SELECT count FROM sync.failures WHERE record = '$leads[13]'}), 2, 'which is counted');
sql($node, qq{UPDATE acme.lead SET geocodeaccuracy = NULL WHERE id = '$leads[13]'});
went_out($node, 'when the first is taken back');
wait_for($node, qq{SELECT count(*) = 0 FROM sync.outbox WHERE record = '$leads[13]'}, 'the other goes');
is(org_value('Lead', $leads[13], 'City'), 'Bern', 'as it was written');

# Taken back altogether: nothing is left of it.
sql($node, qq{UPDATE acme.lead SET ownerid = (SELECT ownerid FROM acme.lead WHERE id = '$leads[15]') WHERE id = '$leads[14]'});
wait_for($node, qq{SELECT count(*) = 0 FROM sync.outbox WHERE record = '$leads[14]'}, 'a change that is taken back');
is(failures_of($node, qq{record = '$leads[14]'}), '', 'is no failure any more');

# sync.retry, after the org was mended
$org->post('/config', { validation => undef });
is(sql($node, q{SELECT sync.retry('acme', 'Contact')}), 0, 'sync.retry of an object with nothing');
is(sql($node, q{SELECT sync.retry('acme')}), 1, 'sync.retry');
wait_for($node, q{SELECT count(*) = 0 FROM sync.outbox}, 'sends it again');
is(org_value('Lead', $leads[10], 'Title'), 'forbidden', 'and it is accepted');
is(failures_of($node), '', 'no failure is left');

# A new row that is refused
$org->post('/config', { duplicate_rule => { object => 'Lead', field => 'Email', action => 'block' } });
my $email = org_value('Lead', $leads[12], 'Email');
my ($double) = sql($node, qq{INSERT INTO acme.lead (lastname, company, email) VALUES ('Double', 'D', '$email') RETURNING id});
is_refused($double, 'DUPLICATES_DETECTED', '{}', 'a duplicate');
my ($child) = sql($node, qq{INSERT INTO acme.campaignmember (campaignid, leadid) SELECT min(id), '$double' FROM acme.campaign RETURNING id});
sql($node, qq{INSERT INTO acme.campaignmember (campaignid, leadid) SELECT min(id), '$leads[20]' FROM acme.campaign
    WHERE id NOT IN (SELECT campaignid FROM acme.campaignmember WHERE leadid = '$leads[20]')});
wait_for($node, q{SELECT count(*) = 1 FROM sync.outbox WHERE object = 'CampaignMember'}, 'other members go out');
is(state_of($child), 'waiting', 'what refers to a row that was refused waits');
$org->post('/config', { duplicate_rule => undef });
sql($node, q{SELECT sync.retry('acme', 'Lead')});
wait_for($node, q{SELECT count(*) = 0 FROM sync.outbox}, 'and goes with it');
is(scalar @{ $org->rows(q{SELECT Id FROM CampaignMember WHERE Lead.LastName = 'Double'}) }, 1, 'in the right order');

#
# Giving up
#

$org->post('/config', { validation => { object => 'Lead', where => q{Title = 'forbidden too'}, message => 'Nor this.', field => 'Title' } });
sub refused_seq
{
    my ($id) = @_;
    wait_for($node, qq{SELECT count(*) > 0 FROM sync.outbox WHERE record = '$id' AND state = 'refused'}, "$id is refused");
    return sql($node, qq{SELECT max(seq) FROM sync.outbox WHERE record = '$id'});
}

my $before = sql($node, qq{SELECT title FROM acme.lead WHERE id = '$leads[25]'});
sql($node, qq{UPDATE acme.lead SET title = 'forbidden too' WHERE id = '$leads[25]'});
sql($node, 'SELECT sync.discard(' . refused_seq($leads[25]) . ')');
sync_now($node, 'acme');
is(sql($node, qq{SELECT title FROM acme.lead WHERE id = '$leads[25]'}), $before, 'sync.discard takes the row back to what the org has');
is(failures_of($node), '', 'and the failure with it');

# The row does not wait for a pause of the object's own, and is not waited for
# where nothing comes in.
sql($node, q{SELECT sync.set('acme', 'Lead', 'interval', '1 hour')});
sync_now($node, 'acme');
sql($node, qq{UPDATE acme.lead SET title = 'forbidden too' WHERE id = '$leads[25]'});
sql($node, 'SELECT sync.discard(' . refused_seq($leads[25]) . ')');
wait_for($node, qq{SELECT title IS NOT DISTINCT FROM '$before' FROM acme.lead WHERE id = '$leads[25]'}, 'whatever its own interval');
sql($node, q{SELECT sync.set('acme', 'Lead', 'interval', NULL); SELECT sync.set('acme', 'Lead', 'direction', 'to')});
sql($node, qq{UPDATE acme.lead SET title = 'forbidden too' WHERE id = '$leads[25]'});
sql($node, 'SELECT sync.discard(' . refused_seq($leads[25]) . ')');
is(failures_of($node), '', 'a row that does not come in is no failure');
sql($node, qq{UPDATE acme.lead SET title = '$before' WHERE id = '$leads[25]'});
went_out($node, 'it is changed by hand');
sql($node, q{SELECT sync.set('acme', 'Lead', 'direction', 'both')});

($new) = sql($node, q{INSERT INTO acme.lead (lastname, company, title) VALUES ('Unwanted', 'U', 'forbidden too') RETURNING id});
my $seq = refused_seq($new);
sql($node, qq{UPDATE acme.lead SET city = 'meanwhile' WHERE id = '$new'});
wait_for($node, qq{SELECT count(*) = 2 FROM sync.outbox WHERE record = '$new' AND state = 'refused'}, 'a refused row that was changed');
sql($node, "SELECT sync.discard($seq)");
sync_now($node, 'acme');
is(sql($node, q{SELECT count(*) FROM acme.lead WHERE lastname = 'Unwanted'}), 0, 'a row that was never created there is deleted here');
is(sql($node, 'SELECT count(*) FROM sync.outbox'), 0, 'with all that was done to it');
is(failures_of($node), '', 'and its failure');

$org->fault({ op => 'delete', record => $leads[26] },
    { record_error => { statusCode => 'DELETE_FAILED', message => 'it is associated with something' } }, times => -1);
sql($node, qq{DELETE FROM acme.lead WHERE id = '$leads[26]'});
$seq = refused_seq($leads[26]);
is(sql($node, qq{SELECT count(*) FROM acme.lead WHERE id = '$leads[26]'}), 0, 'a delete that is refused');
sync_now($node, 'acme');
is(sql($node, qq{SELECT count(*) FROM acme.lead WHERE id = '$leads[26]'}), 0, 'row 9: a pull does not bring the row back');
sql($node, "SELECT sync.discard($seq)");
sync_now($node, 'acme');
is(sql($node, qq{SELECT count(*) FROM acme.lead WHERE id = '$leads[26]'}), 1, 'giving it up does');
$org->no_faults;

# A refused insert that the user deletes
($new) = sql($node, q{INSERT INTO acme.lead (lastname, company, title) VALUES ('Given up', 'U', 'forbidden too') RETURNING id});
refused_seq($new);
sql($node, qq{DELETE FROM acme.lead WHERE id = '$new'});
wait_for($node, q{SELECT count(*) = 0 FROM sync.outbox}, 'a refused row that is deleted here');
is(failures_of($node), '', 'is no failure any more');

like(sql_error($node, 'SELECT sync.discard(0)'), qr/42704: there is no change 0 in the outbox/, 'a change that there is not');
sql($node, qq{UPDATE acme.lead SET title = 'forbidden too' WHERE id = '$leads[27]'});
$seq = refused_seq($leads[27]);
sql($node, q{CREATE ROLE other; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA sync TO other});
like(sql_error($node, "SET ROLE other; SELECT sync.discard($seq)"), qr/42501/, 'somebody else\'s');
like(sql_error($node, q{SET ROLE other; SELECT sync.retry('acme')}), qr/42501/, 'nor may others retry');
sql($node, "SELECT sync.discard($seq)");
$org->post('/config', { validation => undef });
same_all('after refusals');

#
# What is gone
#

hold($node);
sql($node, qq{UPDATE acme.lead SET title = 'too late' WHERE id = '$leads[30]'; DELETE FROM acme.lead WHERE id = '$leads[31]'});
$org->delete('Lead', $leads[30], $leads[31]);
let_go($node, 'a change and a delete of what is already deleted');
like(conflicts_of($node, $leads[30]), qr/^title\|.*\|too late\|salesforce\|deleted$/m,
    'the change is dropped, with a note');
is(failures_of($node), '', 'neither is a failure');

# Deleted between the look and the write
hold($node);
sql($node, qq{UPDATE acme.lead SET title = 'too late' WHERE id = '$leads[32]'});
$fault = $org->fault({ kind => 'collections', method => 'PATCH' }, { delay => 1, pass => JSON::PP::true });
sql($node, q{SELECT sync.resume('acme')});
wait_until('the write is on its way', sub { $org->hits($fault) });
$org->delete('Lead', $leads[32]);
went_out($node, 'a change of what is deleted under its hands');
like(conflicts_of($node, $leads[32]), qr/^title\|.*\|salesforce\|deleted$/m, 'is dropped with a note, too');
sync_now($node, 'acme');
is(sql($node, qq{SELECT count(*) FROM acme.lead WHERE id IN ('$leads[30]', '$leads[31]', '$leads[32]')}), 0, 'all are gone here');

# A refused change whose record is deleted there
$org->fault({ record => $leads[33] }, { record_error => { statusCode => 'ENTITY_IS_LOCKED', message => 'in approval' } });
sql($node, qq{UPDATE acme.lead SET title = 'in approval' WHERE id = '$leads[33]'});
refused_seq($leads[33]);
$org->delete('Lead', $leads[33]);
sync_now($node, 'acme');
is(sql($node, 'SELECT count(*) FROM sync.outbox'), 0, 'a refused change of a record that was deleted there is dropped');
is(failures_of($node), '', 'and its failure with it');

# One that a conflict decides
$org->fault({ record => $contacts[5] }, { record_error => { statusCode => 'ENTITY_IS_LOCKED', message => 'in approval' } });
sql($node, qq{UPDATE acme.contact SET title = 'ours' WHERE id = '$contacts[5]'});
refused_seq($contacts[5]);
$org->update('Contact', { Id => $contacts[5], Title => 'theirs' });
sync_now($node, 'acme');
is(sql($node, qq{SELECT title FROM acme.contact WHERE id = '$contacts[5]'}), 'theirs', 'a refused change that loses to a later one there');
is(sql($node, 'SELECT count(*) FROM sync.outbox'), 0, 'is dropped');
is(failures_of($node), '', 'and its failure with it');

#
# Converted leads
#

my ($one, $two) = @leads[40, 41];
my ($converted, $other) = map { $org->dml(op => 'convert', object => 'Lead', records => [ { leadId => $_ } ]); $_ } $one, $two;
hold($node);
sql($node, qq{
    UPDATE acme.lead SET title = 'Contact now', phone = '+49 30 1' WHERE id = '$one';
    UPDATE acme.lead SET company = 'No field of a contact' WHERE id = '$two'});
sql($node, q{SELECT sync.resume('acme')});
wait_for($node, qq{SELECT count(*) = 0 FROM sync.outbox WHERE record = '$one'}, 'a change of a lead that was converted');
went_out($node, 'goes on');
my $contact = org_value('Lead', $one, 'ConvertedContactId');
is(org_value('Contact', $contact, 'Title'), 'Contact now', 'to its contact');
is(org_value('Contact', $contact, 'Phone'), '+49 30 1', 'with all its fields');
is_refused($two, 'CANNOT_UPDATE_CONVERTED_LEAD', '{}', 'what the contact has no field for');
like(sql($node, qq{SELECT message FROM sync.failures WHERE record = '$two'}), qr/a contact has no "company"/, 'and says so');
sql($node, "SELECT sync.discard(" . refused_seq($two) . ')');

# Converted between the look and the write
hold($node);
sql($node, qq{UPDATE acme.lead SET title = 'Just converted' WHERE id = '$leads[42]'});
$fault = $org->fault({ kind => 'collections', method => 'PATCH', body => 'Just converted' }, { delay => 1, pass => JSON::PP::true });
sql($node, q{SELECT sync.resume('acme')});
wait_until('the write is on its way', sub { $org->hits($fault) });
$org->dml(op => 'convert', object => 'Lead', records => [ { leadId => $leads[42] } ]);
went_out($node, 'a lead that is converted under its hands');
is(org_value('Contact', org_value('Lead', $leads[42], 'ConvertedContactId'), 'Title'), 'Just converted', 'goes to the contact, too');
same_all('after conversions');

#
# Single rows of a Bulk job
#

sql($node, q{ALTER SYSTEM SET sync.push_bulk_threshold = 10; SELECT pg_reload_conf()});
wait_for($node, q{SELECT current_setting('sync.push_bulk_threshold') = '10'}, 'Bulk from 11 rows on');
$org->post('/config', { validation => { object => 'Lead', where => q{Title = 'bad'}, message => 'Bad: "really", it is', field => 'Title' } });
$org->fault({ record => $leads[72] },
    { record_error => { statusCode => 'UNABLE_TO_LOCK_ROW', message => 'unable to obtain: 003x,003y' } });
hold($node);
sql($node, join ';', map { "UPDATE acme.lead SET title = '" . ($_ == 75 ? 'bad' : 'in bulk') . "' WHERE id = '$leads[$_]'" } 70 .. 89);
let_go($node, 'a Bulk job with bad rows');
is($org->count('Lead', q{Title = 'in bulk'}), 19, 'the good ones are done, and the locked one after them');
is_refused($leads[75], 'FIELD_CUSTOM_VALIDATION_EXCEPTION', '{Title}', 'the bad one');
is(sql($node, qq{SELECT message FROM sync.failures WHERE record = '$leads[75]'}), 'Bad: "really", it is', 'with its message');
sql($node, q{SELECT sync.discard(seq) FROM sync.outbox});
$org->post('/config', { validation => undef });
same_all('in the end');
is(failures_of($node), '', 'no failure is left');

#
# Bulk jobs that Salesforce does not take, and results that make no sense
#

my %no_job = (
    'an object that Bulk does not serve' => { status => 400, errorCode => 'INVALIDENTITY',
        message => q{Entity 'Lead' is not supported by the Bulk API.} },
    'no permission for Bulk' => { status => 403, errorCode => 'FEATURENOTENABLED', message => 'Feature not enabled' },
    'no Bulk job left today' => { status => 400, errorCode => 'LIMIT_EXCEEDED', message => 'Batches per 24 hours' });

foreach my $why (sort keys %no_job)
{
    my $fault = $org->fault({ kind => 'ingest_create' }, $no_job{$why}, times => -1);

    hold($node);
    sql($node, join ';', map { "UPDATE acme.lead SET title = '$why' WHERE id = '$leads[$_]'" } 70 .. 89);
    let_go($node, $why);
    cmp_ok($org->hits($fault), '>', 0, 'a job was asked for');
    is($org->count('Lead', "Title = '$why'"), 20, 'the rows go one by one');
    is(failures_of($node), '', 'and nothing fails');
    $org->no_faults;
}

# The job was done: the cycle after the failure may see that before the results
# are read again.
$org->post('/clock', { frozen => JSON::PP::true });
$fault = $org->fault({ kind => 'ingest_results' }, { pass => JSON::PP::true, replace => [ [ 'Title', 'Other' ] ] }, times => -1);
hold($node);
sql($node, join ';', map { "UPDATE acme.lead SET title = 'foreign result' WHERE id = '$leads[$_]'" } 70 .. 89);
my $is_done = q{SELECT count(*) = 0 FROM sync.outbox WHERE object = 'Lead'};
wait_until('the results have other columns', sub {
    sql($node, q{SELECT sync.resume('acme')});
    return $org->hits($fault) > 1 || sql($node, $is_done) eq 't';
});
wait_for($node, qq{SELECT ($is_done) OR count(*) > 0 FROM sync.failures WHERE object = 'Lead' AND operation = 'push'}, 'which fails for the object, or is seen to be done');
sql($node, qq{UPDATE acme.contact SET title = 'past it' WHERE id = '$contacts[20]'});
wait_for($node, q{SELECT count(*) = 0 FROM sync.outbox WHERE object = 'Contact'}, 'others go out meanwhile');
is(org_value('Contact', $contacts[20], 'Title'), 'past it', 'and are there');
$org->no_faults;
$org->post('/clock', { frozen => JSON::PP::false });
went_out($node, 'the results are read in the end');
is($org->count('Lead', q{Title = 'foreign result'}), 20, 'each is done');
same_all('after results that made no sense');

#
# A request that is refused as a whole, for one of its rows
#

sql($node, q{ALTER SYSTEM RESET sync.push_bulk_threshold; SELECT pg_reload_conf()});
wait_for($node, q{SELECT current_setting('sync.push_bulk_threshold') = '2000'}, 'the usual threshold');
$org->post('/schema', { change_field => { object => 'Lead', name => 'Fax', type => 'double', precision => 10, scale => 0 } });
hold($node);
sql($node, join ';', map { "UPDATE acme.lead SET " . ($_ == 55 ? 'fax' : 'title') . " = 'whole' WHERE id = '$leads[$_]'" } 50 .. 69);
sql($node, q{SELECT sync.resume('acme')});
wait_for($node, q{SELECT count(*) = 0 FROM sync.outbox WHERE state <> 'refused'}, 'a value that makes the request unreadable');
is($org->count('Lead', q{Title = 'whole'}), 19, 'row 8: the other 19 rows of the call go out');
is(failures_of($node, q{record IS NOT NULL}), "Lead|push|$leads[55]|JSON_PARSER_ERROR", 'the one stays behind');
$org->post('/schema', { change_field => { object => 'Lead', name => 'Fax', type => 'phone' } });
sql($node, q{SELECT sync.discard(seq) FROM sync.outbox});

# A field that has gone takes its change along, and nothing else.
# (What was given up has been read again: no cycle looks at the schema now.)
sync_now($node, 'acme');
hold($node);
$org->post('/schema', { remove_field => { object => 'Lead', name => 'Rating' } });
sql($node, qq{
    UPDATE acme.lead SET rating = 'Hot', title = 'without' WHERE id = '$leads[56]';
    UPDATE acme.lead SET rating = 'Warm' WHERE id = '$leads[58]';
    UPDATE acme.lead SET title = 'without' WHERE id = '$leads[57]'});
let_go($node, 'a field that is no longer there');
is($org->count('Lead', q{Title = 'without'}), 2, 'the other fields go out');
is(sql($node, q{SELECT record, field, local, winner, rule FROM sync.conflicts WHERE field = 'rating' ORDER BY record}),
    "$leads[56]|rating|Hot|salesforce|no field\n$leads[58]|rating|Warm|salesforce|no field", 'and what could not is told');

#
# What cannot go holds up nothing else
#

# An object that the org does not tell about
sync_now($node, 'acme');
$fault = $org->fault({ kind => 'query', path => 'FROM.{1,3}Lead' },
    { status => 400, errorCode => 'MALFORMED_QUERY', message => 'Something about leads' });
sql($node, qq{UPDATE acme.lead SET title = 'stuck' WHERE id = '$leads[81]'});
wait_for($node, q{SELECT count(*) = 1 FROM sync.failures WHERE object = 'Lead' AND operation = 'push'
    AND record IS NULL AND code = 'MALFORMED_QUERY' AND message LIKE '%Something about leads%'}, 'it is a failure');
sql($node, qq{UPDATE acme.contact SET title = 'not stuck' WHERE id = '$contacts[20]'});
wait_until('other objects go on', sub { (org_value('Contact', $contacts[20], 'Title') // '') eq 'not stuck' });
is(sql($node, qq{SELECT state, next_attempt > now() FROM sync.outbox WHERE record = '$leads[81]'}), 'waiting|t',
    'its own changes wait');
$org->no_faults;
sql($node, q{SELECT sync.retry('acme')});
wait_until('and go', sub { (org_value('Lead', $leads[81], 'Title') // '') eq 'stuck' });
wait_for($node, q{SELECT count(*) = 0 FROM sync.failures}, 'nothing is said of it any more');

# More rows than a round takes, all of them waiting for one that was refused
$org->post('/config', { validation => { object => 'Contact', where => q{LastName = 'Parent'}, message => 'No.', field => 'LastName' } });
my ($refused) = sql($node, q{INSERT INTO acme.contact (lastname) VALUES ('Parent') RETURNING id});
is_refused($refused, 'FIELD_CUSTOM_VALIDATION_EXCEPTION', '{LastName}', 'a parent');
sql($node, qq{INSERT INTO acme.contact (lastname, reportstoid) SELECT 'Child ' || i, '$refused' FROM generate_series(1, 100100) i});
sql($node, qq{UPDATE acme.lead SET title = 'behind them' WHERE id = '$leads[82]'});
wait_until('what is behind them goes', sub { (org_value('Lead', $leads[82], 'Title') // '') eq 'behind them' });
wait_for($node, q{SELECT count(*) = 100100 FROM sync.outbox WHERE object = 'Contact' AND state = 'waiting' AND next_attempt > now()},
    'they are not looked at all the time');
sql($node, q{DELETE FROM acme.contact WHERE lastname LIKE 'Child %' AND lastname NOT LIKE 'Child __'});
$org->post('/config', { validation => undef });
sql($node, qq{UPDATE acme.contact SET department = 'at last' WHERE id = '$refused'});
wait_for($node, q{SELECT count(*) = 0 FROM sync.outbox}, 'they go when their parent has its id');
is($org->count('Contact', q{ReportsTo.LastName = 'Parent'}), 90, '... all that are left');

# And are refused as soon as it is gone
$org->post('/config', { validation => { object => 'Contact', where => q{LastName = 'Parent'}, message => 'No.', field => 'LastName' } });
($refused) = sql($node, q{INSERT INTO acme.contact (lastname) VALUES ('Parent') RETURNING id});
is_refused($refused, 'FIELD_CUSTOM_VALIDATION_EXCEPTION', '{LastName}', 'another parent');
my ($child) = sql($node, qq{INSERT INTO acme.contact (lastname, reportstoid) VALUES ('Orphan', '$refused') RETURNING id});
wait_for($node, qq{SELECT next_attempt > now() FROM sync.outbox WHERE record = '$child'}, 'its child waits');
my $gone = sql($node, qq{DELETE FROM acme.contact WHERE id = '$refused' RETURNING now()});
wait_for($node, qq{SELECT count(*) = 1 FROM sync.failures WHERE record = '$child' AND code = 'INVALID_CROSS_REFERENCE_KEY'},
    'and is refused when its parent is gone');
is(sql($node, qq{SELECT first_seen - '$gone' < interval '30 s' FROM sync.failures WHERE record = '$child'}), 't', 'at once');
$org->post('/config', { validation => undef });
sql($node, qq{DELETE FROM acme.contact WHERE id = '$child'});
wait_for($node, q{SELECT count(*) = 0 FROM sync.outbox}, 'nothing is left of them');
sync_now($node, 'acme');
same_rows($node, $org, 'acme', 'Contact', 'after waiting');

#
# Parts of requests that fail again and again
#

# (What the org says of a part of a request outlives neither the request nor
# the worker.)
my $worker = q{SELECT string_agg(pid::text, ',') FROM pg_stat_activity WHERE backend_type = 'sync worker'};
my $pid = sql($node, $worker);
$fault = $org->fault({ sub => JSON::PP::true, kind => 'query' }, { status => 500 }, times => 6);
sql($node, q{ALTER SERVER acme OPTIONS (SET interval '1 s')});
$org->update('Lead', { Id => $leads[80], Title => 'seen in the end' });
wait_until('parts of several cycles fail', sub {
    sql($node, q{SELECT sync.resume('acme')});
    return $org->hits($fault) == 6;
});
sync_now($node, 'acme');
is(sql($node, qq{SELECT title FROM acme.lead WHERE id = '$leads[80]'}), 'seen in the end', 'it goes on');
is(sql($node, $worker), $pid, 'the worker is the same');
done_testing();
