
# Records are written through Collections, or under a condition through
# Composite: to an org that refuses some, loses answers, and hangs.

use strict;
use warnings;
use BankCheck;
use JSON::PP;
use SyncTest;
use Test::More;
use WriteCheck;

my ($node, $org) = write_start('collections', leads => 30);
my ($true, $false) = (JSON::PP::true, JSON::PP::false);
my %user = map { /^(\w+)/ => $org->{info}{users}{$_}{id} } keys %{ $org->{info}{users} };

sub other
{
    my ($object, $id, %fields) = @_;
    return { object => $object, ($id ? (id => $id) : ()), fields => \%fields };
}
sub machine { my (%fields) = @_; return other('Machine__c', undef, %fields) }

# ------------------------------------------------------- create, update, delete

my $awkward = qq{"q", \\n\nx \x{20AC} \x{1F600}};
my $call = write_one(create => lead('One', NumberOfEmployees => 7, Title => $awkward, Email => undef));
my ($id) = ids_of($call);
is(told($call), 'answered: created', 'a record is created');
is_deeply([ map { value_of($id, $_) } qw(LastName NumberOfEmployees Title Email) ],
    [ 'One', 7, $awkward, undef ], 'with its values, as they are');

$call = write_one(update => change($id, Title => undef, NumberOfEmployees => 8, IsUnreadByOwner => $true));
is(told($call), 'answered: ok', 'and updated');
is_deeply([ map { value_of($id, $_) } qw(Title NumberOfEmployees IsUnreadByOwner LastName) ],
    [ undef, 8, $true, 'One' ], 'in what was sent; null is null');
is(told(write_one(update => change(substr($id, 0, 15), Title => 'x'))), 'answered: ok', 'by its short id too');

$call = write_one(create => map { lead("Many $_") } 1 .. 200);
my @many = ids_of($call);
is(scalar(grep { $_->{created} } @{ $call->{records} }), 200, '200 are created');
is_deeply([ map { value_of($many[ $_ - 1 ], 'LastName') } 1, 2, 100, 200 ],
    [ map { "Many $_" } 1, 2, 100, 200 ], 'with the results in the order of the records');
$org->calls_mark;
my $all_ok = 'answered: ' . join ', ', ('ok') x 200;
is(told(write_one(update => map { change($_, Title => "T $_") } @many)), $all_ok, '200 are updated');
is(kinds(), 'collections', 'in one call');
is(value_of($many[-1], 'Title'), "T $many[-1]", 'each with its own');
is(told(write_one(delete => map { change($_) } @many)), $all_ok, '200 are deleted');
is($org->count('Lead', "LastName LIKE 'Many %'"), 0, 'and gone');

# Upserts by an external id.
$call = write_one(upsert => 'Serial__c', map { machine(Serial__c => "S $_", Name => "M $_", Price__c => 3.25) } 1 .. 3);
is(told($call), 'answered: created, created, created', 'upserts create');
my @machines = ids_of($call);
$call = write_one(upsert => 'Serial__c', map { machine(Serial__c => "S $_", Name => "N $_") } 3, 4, 1);
is(told($call), 'answered: ok, created, ok', 'or update');
is_deeply([ (ids_of($call))[ 0, 2 ] ], [ @machines[ 2, 0 ] ], 'the same records');
is(told(write_one(upsert => 'Serial__c', map { machine(Serial__c => $_, Name => 'x') } 'S 8', 'S 9', 'S 8')),
    'answered: park DUPLICATE_VALUE Serial__c, created, park DUPLICATE_VALUE Serial__c',
    'but not the same external id twice');

# Assignment rules would move records that are created or updated.
my ($lead, $spare) = $org->insert('Lead', map { { LastName => $_, Company => 'x', OwnerId => $user{sync} } } 'Mine', 'Spare');
$org->post('/config', { assignment_owner => 'ada@example.com' });
is(value_of((ids_of(write_one(create => lead('Assigned'))))[0], 'OwnerId'), $user{sync}, 'no rule moves a new record');
write_one(update => change($lead, Title => 'x'));
is(value_of($lead, 'OwnerId'), $user{sync}, 'nor an updated one');
write_one(update => { %{ change($lead, Title => 'y') }, since => value_of($lead, 'LastModifiedDate') });
is(value_of($lead, 'OwnerId'), $user{sync}, 'nor one under a condition');
$org->post('/config', { assignment_owner => undef });

# Several types in a call, several calls at once.
my ($contact) = $org->insert('Contact', { LastName => 'C' });
my ($campaign) = $org->insert('Campaign', { Name => 'Camp' });
$call = write_one(create => lead('Mixed'), other('Contact', undef, LastName => 'Mixed'),
    other('CampaignMember', undef, CampaignId => $campaign, ContactId => $contact));
is(told($call), 'answered: created, created, created', 'types are mixed');
is(join(' ', map { substr $_, 0, 3 } ids_of($call)), '00Q 003 00v', 'each its own');

sub runs
{
    my ($n) = @_;
    return call_of(update => map { $_ % 2 ? change($lead, Title => "$_") : other('Contact', $contact, Title => "$_") } 1 .. $n);
}
is(told((outcomes(runs(10)))[0]), 'answered: ' . join(', ', ('ok') x 10), 'in ten runs of a type');
fails_with(outcomes_of(runs(11)), qr/too many runs of types in one call: 11/, 'but not in eleven');
fails_with(outcomes_of(call_of(create => map { lead($_) } 1 .. 201)), qr/too many records in one call: 201/, 'nor 201');
{
    my @calls = outcomes(map { call_of(create => map { lead("Flight $_") } 1 .. 5) } 1 .. 20);
    my %ids = map { $_ => 1 } map { ids_of($_) } @calls;

    is(join(' | ', map { told($_) } @calls), join(' | ', ('answered: ' . join ', ', ('created') x 5) x 20), 'twenty calls');
    is(scalar(keys %ids), 100, 'each record its own');
    @calls = outcomes(call_of(create => lead('A')), call_of(update => change($lead, Title => 'B')),
        call_of(delete => change((keys %ids)[0])), call_of('create'));
    is(join(' | ', map { told($_) } @calls), 'answered: created | answered: ok | answered: ok | answered: ',
        'of all verbs, and an empty one');
}

# ------------------------------------------------------- records that are refused

my ($deleted, $converted, $locked) =
  $org->insert('Lead', map { { LastName => $_, Company => 'x' } } 'Deleted', 'Converted', 'Locked');
$org->delete('Lead', $deleted);
$org->post('/dml', { op => 'convert', object => 'Lead',
        records => [ { leadId => $converted, convertedStatus => 'Closed - Converted' } ] });
my $tx = $org->post('/tx/begin')->{tx};
$org->post('/dml', { op => 'update', object => 'Lead', tx => $tx, records => [ { Id => $locked, Title => 'held' } ] });
my @refusals = (
    [ $deleted, Title => 'x', 'gone ENTITY_IS_DELETED' ],
    [ $lead, Title => 'fine', 'ok' ],
    [ $converted, Title => 'x', 'converted CANNOT_UPDATE_CONVERTED_LEAD' ],
    [ $locked, Title => 'x', 'retry UNABLE_TO_LOCK_ROW' ],
    [ $lead, Email => 'no address', 'park INVALID_EMAIL_ADDRESS Email' ],
    [ $lead, LastName => undef, 'park REQUIRED_FIELD_MISSING LastName' ],
    [ $lead, OwnerId => $user{former}, 'park INACTIVE_OWNER_OR_USER OwnerId' ],
    [ '00Q000000000001EAA', Title => 'x', 'park INVALID_CROSS_REFERENCE_KEY' ],
    [ $lead, CreatedById => $user{ada}, 'park INVALID_FIELD_FOR_INSERT_UPDATE CreatedById' ]);
$call = write_one(update => map { change($_->[0], $_->[1] => $_->[2]) } @refusals);
is(told($call), 'answered: ' . join(', ', map { $_->[3] } @refusals), 'refusals of every class, each in its place');
like($call->{records}[3]{message}, qr/^unable to obtain exclusive access to this record/, 'in the words of Salesforce');
is($call->{records}[4]{id}, undef, 'without an id');
is(value_of($lead, 'Title'), 'fine', 'what was not refused is written');
$org->post('/tx/commit', { tx => $tx });
is(told(write_one(update => change($locked, Title => 'x'))), 'answered: ok', 'what was locked goes later');

is( told(write_one(create => lead('x', Email => 'no'), lead('Good'), other('Lead', undef, Title => 'x'), lead('y', OwnerId => $lead))),
    'answered: park INVALID_EMAIL_ADDRESS Email, created, park REQUIRED_FIELD_MISSING LastName Company, '
      . 'park MALFORMED_ID OwnerId', 'new records that are refused');
my ($account) = $org->insert('Account', { Name => 'Gone' });
$org->delete('Account', $account);
is(told(write_one(create => other('Contact', undef, LastName => 'x', AccountId => $account))),
    'answered: park ENTITY_IS_DELETED AccountId', 'a parent that is gone does not make a new record gone');
is(told(write_one(update => other('Contact', $contact, AccountId => $account))),
    'answered: park ENTITY_IS_DELETED AccountId', 'nor an old one');
is(told(write_one(delete => change($deleted), change($spare))), 'answered: gone ENTITY_IS_DELETED, ok', 'deletes');

foreach my $case ([ 'retry', 'REQUEST_RUNNING_TOO_LONG' ], [ 'retry', 'UNKNOWN_EXCEPTION' ],
    [ 'park', 'FIELD_CUSTOM_VALIDATION_EXCEPTION' ], [ 'park', 'NEW_CODE' ])
{
    my ($class, $code) = @$case;
    my $told = with_fault({ record => 'Second' },
        { record_error => { statusCode => $code, message => 'why', fields => ['City'] } },
        sub { told(write_one(create => map { lead($_) } qw(First Second Third))) });
    is($told, "answered: created, $class $code City, created", $code);
}
my @classes = (
    [ 'CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY', 'LeadTrigger: System.DmlException: UNABLE_TO_LOCK_ROW, x', '{}', 'update', 'retry' ],
    [ 'CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY', 'LeadTrigger: no', '{}', 'update', 'park' ],
    [ 'FIELD_CUSTOM_VALIDATION_EXCEPTION', 'never say UNABLE_TO_LOCK_ROW', '{}', 'update', 'park' ],
    [ 'FIELD_CUSTOM_VALIDATION_EXCEPTION', 'unable to obtain exclusive access to this record', '{}', 'update', 'retry' ],
    [ 'CANNOT_EXECUTE_FLOW_TRIGGER', 'Record Currently Unavailable: x', '{}', 'create', 'retry' ],
    [ 'CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY', 'System.LimitException: Too many SOQL queries: 101', '{}', 'create', 'park' ],
    [ 'INVALID_CROSS_REFERENCE_KEY', 'invalid cross reference id', '{}', 'delete', 'gone' ],
    [ 'INVALID_CROSS_REFERENCE_KEY', 'invalid cross reference id', '{OwnerId}', 'delete', 'park' ],
    [ 'INVALID_CROSS_REFERENCE_KEY', 'invalid cross reference id', '{}', 'update', 'park' ],
    [ 'ENTITY_IS_DELETED', '', '{Id}', 'delete', 'gone' ],
    [ 'ENTITY_IS_DELETED', '', '{}', 'upsert', 'park' ]);
foreach my $case (@classes)
{
    my $expected = pop @$case;
    is(result('SELECT check_record_refusal(' . join(', ', map { quote($_) } @$case) . ')'), $expected, join ' ', @$case);
}

# Several errors of one record are told together.
my $two_errors = '"errors":[{"statusCode":"INVALID_EMAIL_ADDRESS","message":"one","fields":["Email"]},'
  . '{"statusCode":"STRING_TOO_LONG","message":"two","fields":["City"]}]';
$call = with_fault({ kind => 'collections' }, { pass => $true, replace => [ [ '"errors":.*\]\}\]', qq{$two_errors,"id":null\}]} ] ] },
    sub { write_one(create => other('Lead', undef, Company => 'x')) });
is(told($call) . " $call->{records}[0]{message}", 'answered: park INVALID_EMAIL_ADDRESS Email City one; two', 'several errors');

# What no request can hold is refused here, and the others are sent.
$call = write_one(update => change('~12', Title => 'x'), change($locked, NumberOfEmployees => { bare => 'NaN' }),
    change($locked, Title => 'sent'));
is(told($call), 'answered: park MALFORMED_ID, park INVALID_TYPE_ON_FIELD_IN_RECORD NumberOfEmployees, ok',
    'a provisional id, a number that JSON has not');
is(value_of($locked, 'Title'), 'sent', 'the rest is sent');
$org->calls_mark;
is(told(write_one(delete => change('~12'))), 'answered: park MALFORMED_ID', 'nothing but such');
is(kinds(), '', 'is no call');

# ------------------------------------------------------------ the call as a whole

my ($json_error, $limit) = map { "refused: " . join ', ', ($_) x 2 } 'park JSON_PARSER_ERROR', 'retry REQUEST_LIMIT_EXCEEDED';
my @whole = (
    # what happens, what is told, whether it was done
    [ 'a 503 before', { status => 503 }, 'lost: ?, ?', 0 ],
    [ 'a 503 after', { apply_then => { status => 503 } }, 'lost: ?, ?', 1 ],
    [ 'a 500 after', { apply_then => { status => 500 } }, 'lost: ?, ?', 1 ],
    [ 'a 502 of a gateway', { status => 502 }, 'in doubt: ?, ?', 0 ],
    [ 'a 503 of a gateway', { apply_then => { status => 503, html => $true } }, 'in doubt: ?, ?', 1 ],
    [ 'a reset before any byte', { reset => $true }, 'in doubt: ?, ?', 0 ],
    [ 'a reset after', { apply_then => { reset => $true } }, 'in doubt: ?, ?', 1 ],
    [ 'a reset in the middle', { reset => 'middle' }, 'lost: ?, ?', 1 ],
    [ 'silence', { apply_then => { hang => 30 } }, 'in doubt: ?, ?', 1 ],
    [ 'a body that is cut', { pass => $true, truncate => { bytes => 40 } }, 'lost: ?, ?', 1 ],
    [ 'a body that is cut cleanly', { pass => $true, truncate => { bytes => 40, clean => $true } }, 'lost: ?, ?', 1 ],
    [ 'HTML with status 200', { pass => $true, bad_json => 'html' }, 'lost: ?, ?', 1 ],
    [ 'a result too few', { pass => $true, replace => [ [ '^\[\{[^\]]*\]\},', '[' ] ] }, 'lost: ?, ?', 1 ],
    [ 'a result without id', { pass => $true, replace => [ [ '^\[\{"id":"\w+"', '[{"id":null' ] ] }, 'answered: ?, created', 1 ],
    [ 'a result that says nothing', { pass => $true, replace => [ [ '^\[\{[^\]]*\]\},', '[{},' ] ] }, 'answered: ?, created', 1 ],
    [ 'an object for a list', { pass => $true, replace => [ [ '^\[', '{"results":[' ], [ '\]$', ']}' ] ] }, 'lost: ?, ?', 1 ],
    [ 'the allowance used up', { status => 403 }, $limit, 0 ],
    [ 'a 429', { status => 429 }, 'refused: retry, retry', 0 ],
    [ 'no permission', { status => 403, errorCode => 'API_DISABLED_FOR_ORG', message => 'no' },
        'refused: retry API_DISABLED_FOR_ORG, retry API_DISABLED_FOR_ORG', 0 ],
    [ 'a wrong request', { status => 400, errorCode => 'JSON_PARSER_ERROR', message => 'no' }, $json_error, 0 ],
    [ 'a redirect', { status => 302, headers => { Location => 'http://127.0.0.1:1/' } }, 'refused: retry, retry', 0 ]);
foreach my $case (@whole)
{
    my ($what, $action, $expected, $done) = @$case;
    my @statements = map { outcomes_of($_) } call_of(update => change($locked, Title => 'x')),
      call_of(create => map { lead("After $what") } 1, 2);

    # The connection has been used before: left to itself, libcurl would send
    # again on a new one.
    $org->calls_mark;
    ($call) = with_fault({ kind => 'collections', body => 'After ' }, $action,
        sub { @{ parsed(result($what eq 'silence' ? impatient(@statements) : logged_in(@statements))) } });
    is(told($call), $expected, $what);
    is($org->count('Lead', "LastName = 'After $what'"), $done ? 2 : 0, $done ? 'was done' : 'was not done');
    is(kinds(), 'collections collections', 'sent once');
    is(!!($call->{failure} // $call->{refusal}), $expected !~ /^answered/, 'with a reason');
}
$call = with_fault({ kind => 'collections' }, { pass => $true, replace => [ [ $locked, $lead ] ] },
    sub { write_one(update => change($locked, Title => 'x')) });
is(told($call), 'lost: ?', 'results of other records than were sent');

$call = write_one(update => change($locked, Nope__c => 'x'), change($lead, Title => 'x'));
like("$call->{refused} $call->{refusal}", qr/^1 schema 400 \[INVALID_FIELD\] No such column 'Nope__c'/,
    'a field that is not there refuses all');

my @calls = with_fault({ kind => 'collections', body => 'Unlucky' }, { reset => $true },
    sub { outcomes(map { call_of(create => lead($_)) } 'A', 'Unlucky', 'B') });
is(join(' | ', map { told($_) } @calls), 'answered: created | in doubt: ? | answered: created', 'trouble of one call is its own');

# Connections that do not come about.
my ($port) = $org->{info}{instance} =~ /:(\d+)$/;
foreach my $address ('http://127.0.0.1:1', "https://127.0.0.1:$port", 'https://no-such-host.invalid')
{
    my @statements = ('SELECT check_version(NULL)', 'SELECT check_instance(' . quote($address) . ')',
        outcomes_of(call_of(create => lead('x'))));

    ($call) = @{ parsed(result(logged_in(@statements))) };
    is(told($call), 'refused: retry', "$address: nothing was done");
    like($call->{refusal}, qr/^transient 0 \[\] could not get an answer from \Q$address\E: POST /, 'with a reason');
}

# Sessions that end.
my $ended = { status => 401 };
$org->calls_mark;
@calls = with_fault({ kind => 'collections' }, $ended, sub { outcomes(map { call_of(create => lead("Session $_")) } 1 .. 3) });
is(join(' | ', map { told($_) } @calls), join(' | ', ('answered: created') x 3), 'a session that ended is renewed');
is($org->count('Lead', "LastName LIKE 'Session %'"), 3, 'each record is there once');
is(scalar(my @logins = $org->calls(kind => 'oauth')), 2, 'by one login');
is(scalar(my @sent = $org->calls(kind => 'collections')), 4, 'and only what was refused is sent again');
$call = with_fault({ kind => 'collections' }, $ended, sub { write_one(create => lead('Never')) }, times => -1);
is(told($call), 'refused: retry INVALID_SESSION_ID', 'a session that is not taken again');
like($call->{refusal}, qr/^transient 401 /, 'is told as that');
$org->fault({ kind => 'oauth' }, { status => 400, error => 'inactive_user', error_description => 'gone' }, after => 1);
with_fault({ kind => 'collections' }, $ended,
    sub { fails_with(outcomes_of(call_of(create => lead('Never'))), qr/^28000 .*inactive_user/, 'a login that is refused') });
is($org->count('Lead', "LastName = 'Never'"), 0, 'nothing was done');

with_fault({ kind => 'collections' }, { hang => 30 },
    sub { cancelled(outcomes_of(call_of(create => lead('x'))), 'a call is cancelled') });

# ------------------------------------------------------------------- conditions

my ($one, $two, $three) = $org->insert('Lead', map { { LastName => "Cond $_", Company => 'x' } } 1 .. 3);
my %seen;
sub look { $seen{$_} = value_of($_, 'LastModifiedDate') for @_; return }
sub under { my ($which, %fields) = @_; return { %{ change($which, %fields) }, since => $seen{$which} } }

look($one, $two, $three);
$org->post('/clock', { step_seconds => 5 });
$org->update('Lead', { Id => $two, Title => 'theirs' });
$org->delete('Lead', $three);
$org->calls_mark;
$call = write_one(update => (map { under($_, Title => 'ours') } $one, $two, $three), change($locked, Title => 'free'));
like(told($call), qr/^answered: ok, changed( \w+)?, gone ENTITY_IS_DELETED, ok$/, 'changed since or not; gone; without condition');
is(kinds(), 'composite', 'in one Composite request');
is_deeply([ map { value_of($_, 'Title') } $one, $two, $locked ], [ 'ours', 'theirs', 'free' ],
    'only what had not changed was written');
is((ids_of($call))[0], $one, 'its id');
look($one);
is(told(write_one(update => under($one, Email => 'no'), under($one, Title => 'again'))),
    'answered: park INVALID_EMAIL_ADDRESS Email, ok', 'refusals name the field');

# Nothing escapes a reference to another part of a Composite request.
my $reference = '@{r1.id}';
look($one);
$org->calls_mark;
$call = write_one(update => under($one, Title => $reference), map { under($_, Title => 'x') } $two, $three);
like(told($call), qr/^answered: ok, changed( \w+)?, gone ENTITY_IS_DELETED$/, 'a text like a reference');
is(kinds(), 'row row row', 'makes single rows');
is(value_of($one, 'Title'), $reference, 'and arrives as it is');

my $invalid = [ { errorCode => 'FIELD_INTEGRITY_EXCEPTION', message => 'no', fields => ['City'] } ];
my @single = (
    [ 'all refused', 2, { status => 403 }, $limit ],
    [ 'one refused', 1, { status => 403 }, 'answered: retry REQUEST_LIMIT_EXCEEDED, ok' ],
    [ 'one lost', 1, { reset => $true }, 'partly lost: ?, ok' ],
    [ 'all lost', 2, { status => 500 }, 'lost: ?, ?' ],
    [ 'one invalid', 1, { status => 400, body => $invalid }, 'answered: park FIELD_INTEGRITY_EXCEPTION City, ok' ]);
foreach my $case (@single)
{
    my ($what, $times, $action, $expected) = @$case;
    my $match = { kind => 'row', $times == 1 ? (body => '\{r1') : () };

    look($one, $locked);
    $call = with_fault($match, $action,
        sub { write_one(update => under($one, Title => $reference), under($locked, Title => 'x')) }, times => $times);
    is(told($call), $expected, "of single rows $what");
    is($call->{in_doubt}, $what eq 'one lost' ? $true : $false, 'in doubt or not');
}
my $no_content = '"httpStatusCode":204,"referenceId":"r0"';
foreach my $case ([ { status => 503 }, 'lost: ?, ?' ], [ { status => 403 }, $limit ],
    [ { pass => $true, replace => [ [ '"referenceId":"r0"', '"referenceId":"r9"' ] ] }, 'answered: ?, ok' ],
    [ { pass => $true, replace => [ [ $no_content, $no_content =~ s/204/500/r ] ] }, 'answered: ?, ok' ],
    [ { pass => $true, replace => [ [ '"compositeResponse"', '"nothing"' ] ] }, 'lost: ?, ?' ])
{
    my ($action, $expected) = @$case;

    look($locked);
    $call = with_fault({ kind => 'composite' }, $action,
        sub { write_one(update => change($one, Title => 'a'), under($locked, Title => 'b')) });
    is(told($call), $expected, "of a Composite request: $expected");
}
fails_with(outcomes_of(call_of(create => { %{ lead('x') }, since => $seen{$one} })),
    qr/only updates can be made under a condition/, 'creations know no condition');
fails_with(outcomes_of(call_of(update => map { under($one, Title => 'x') } 1 .. 26)),
    qr/too many records in one call: 26/, '26 conditions');

# A database in another encoding sends UTF-8 all the same.
my $module = "$ENV{TOP}/test/modules/salesforce/salesforce_check";
my $name = "M\x{FC}ller-Latin";
utf8::upgrade($name);
$node->safe_psql('postgres', "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'");
$node->safe_psql('latin', "\\set so $module\n\\i $module.sql");
like($node->safe_psql('latin', join ";\n", logged_in("SET client_encoding = 'UTF8'", outcomes_of(call_of(create => lead($name))))),
    qr/"success":true/, 'from another encoding');
is($org->count('Lead', "LastName = '$name'"), 1, 'as UTF-8');

note('processor time of a record: ' . result(logged_in('SELECT round(check_write_cost(20)::numeric, 1)')) . ' us');

$node->stop;
done_testing();
