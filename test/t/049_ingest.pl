
# Many records are written by Bulk ingest jobs: what the CSV can say, results in
# an order of their own, and jobs that go wrong at each step.

use strict;
use warnings;
use BankCheck;
use JSON::PP;
use SyncTest;
use Test::More;
use WriteCheck;

my ($node, $org) = write_start('ingest', leads => 30);
my ($true, $false) = (JSON::PP::true, JSON::PP::false);

# A function of the check module with its arguments as text.
sub asked
{
    my ($function, @arguments) = @_;
    return "SELECT $function(" . join(', ', map { defined $_ ? quote($_) : 'NULL' } @arguments) . ')';
}

# A whole job; rows have null for null and false for what is left out.
sub job_of
{
    my ($object, $verb, $external_id, $fields, @rows) = @_;
    return "SELECT check_ingest('$object', '$verb', "
      . (defined $external_id ? quote($external_id) : 'NULL') . ", '{$fields}', " . json_text(\@rows) . ')';
}

sub ingest { return parsed(result(logged_in(job_of(@_)))) }
sub new_leads { return ('Lead', 'create', undef, 'LastName,Company', @_) }

# Rows by one of their values (the first), in a few words.
sub rows_told
{
    my ($job, $key) = @_;
    my %told;

    foreach my $row (@{ $job->{rows} })
    {
        my @words = $row->{outcome} eq 'failed' ? (@{$row}{qw(refusal code)}, @{ $row->{fields} })
          : ($row->{outcome}, $row->{created} ? 'created' : '');
        $told{ $row->{values}[ $key || 0 ] } = join ' ', grep { $_ ne '' } @words;
    }
    return \%told;
}

# --------------------------------------------------------------------- the CSV

sub csv
{
    my ($fields, @rows) = @_;
    return result("SELECT check_ingest_csv('{$fields}', " . json_text(\@rows) . ')');
}

is( csv('Id,LastName,Title', [ 'a', undef, $false ], [ 'b', '', '  ' ], [ 'c', 'x,y', 'say "hi"' ],
        [ 'd', ' lead', 'trail ' ], [ 'e', "two\nlines", "cr\r\nlf" ]),
    qq{Id,LastName,Title\na,#N/A,\nb,#N/A,#N/A\nc,"x,y","say ""hi"""\nd," lead","trail "\ne,"two\nlines","cr\nlf"\n0 refused},
    'null, left out, quoted');
is(csv('Id,Title', [ 'a', '#N/A' ], [ 'b', ' #n/a ' ], [ 'c', "lone\rcr" ], [ 'd', '#N/A x' ]),
    "Id,Title\nd,#N/A x\n3 refused", 'what CSV cannot say is refused');
is(csv('Id', [$false]), qq{Id\n""\n0 refused}, 'a row with nothing in it is a row');

# ------------------------------------------------------------------------ jobs

my $awkward = qq{"a", b\n\x{20AC} \x{1F600} ;'};
$org->calls_mark;
my $job = ingest('Lead', 'create', undef, 'Company,LastName,Title,NumberOfEmployees',
    map { [ $_ == 7 ? undef : "Bulk $_", "B $_", $_ == 3 ? $awkward : "t\r\n$_", $_ ] } 1 .. 300);
my %by_name = map { $_->{values}[1] => $_ } @{ $job->{rows} };
my $told = rows_told($job, 1);
is($job->{state}, 'complete', 'an insert');
is(scalar(grep { $_ eq 'done created' } values %$told), 299, 'inserts all');
is($told->{'B 7'}, 'park REQUIRED_FIELD_MISSING Company', 'but what is not valid');
isnt(join(' ', map { $_->{values}[1] } @{ $job->{rows} }[ 0 .. 9 ]), join(' ', map { "B $_" } 1 .. 10),
    'the results are in an order of their own');
is_deeply([ map { value_of($by_name{"B $_"}{id}, 'LastName') } 1, 150, 300 ], [ 'B 1', 'B 150', 'B 300' ],
    'each row comes with its own id');
is($by_name{'B 3'}{values}[2], $awkward, 'values come back as they were sent');
is(value_of($by_name{'B 3'}{id}, 'Title'), $awkward, 'and arrived so');
is(value_of($by_name{'B 4'}{id}, 'Title'), "t\n4", 'a CRLF as LF');
is($by_name{'B 7'}{id}, '', 'a failed insert has no id');
unlike($_->{body}, qr/\r/, 'no CR is sent') for $org->calls(kind => 'ingest_upload');

my @b = map { $by_name{"B $_"}{id} } 1 .. 6;
$org->delete('Lead', $b[4]);
$job = ingest('Lead', 'update', undef, 'Id,Title,NumberOfEmployees,Email', [ $b[0], undef, $false, $false ],
    [ $b[1], $false, 77, $false ], [ $b[2], '', 5, 'nobody' ], [ $b[4], 'x', 1, $false ], [ $b[5], '', $false, $false ]);
is_deeply(rows_told($job),
    { $b[0] => 'done', $b[1] => 'done', $b[2] => 'park INVALID_EMAIL_ADDRESS Email', $b[4] => 'gone ENTITY_IS_DELETED', $b[5] => 'done' },
    'an update, with failures');
is_deeply([ map { [ value_of($_, 'Title'), value_of($_, 'NumberOfEmployees') ] } @b[ 0, 1, 5 ] ],
    [ [ undef, 1 ], [ "t\n2", 77 ], [ undef, 6 ] ], '#N/A is null, empty leaves as it is');
is_deeply((grep { $_->{values}[0] eq $b[1] } @{ $job->{rows} })[0]{values}, [ $b[1], undef, 77, undef ],
    'empty values of results are null');

$job = ingest('Machine__c', 'upsert', 'Serial__c', 'Serial__c,Name,Price__c', [ 'S 1', 'new', '1.5' ]);
is_deeply(rows_told($job), { 'S 1' => 'done created' }, 'an upsert creates');
$job = ingest('Machine__c', 'upsert', 'Serial__c', 'Serial__c,Name,Price__c', [ 'S 1', 'old', '1.5' ], [ 'S 2', 'new', '2.25' ], [ 'S 3', 'new', 'much' ]);
$told = rows_told($job);
like(delete $told->{'S 3'}, qr/^park /, 'but not what is no number');
is_deeply($told, { 'S 1' => 'done', 'S 2' => 'done created' }, 'and tells new from old');
$job = ingest('Lead', 'delete', undef, 'Id', [ $b[0] ], [ $b[1] ], [ $b[4] ]);
is_deeply(rows_told($job), { $b[0] => 'done', $b[1] => 'done', $b[4] => 'gone ENTITY_IS_DELETED' }, 'a delete');
$job = ingest('Lead', 'update', undef, 'Id,Title', [ $b[2], '#N/A' ], [ $b[3], 'ok' ]);
is("$job->{refused} " . value_of($b[2], 'Title'), "1 $awkward", 'a row that has to go another way is not sent');

# ------------------------------------------------------------ errors and headers

my @field_error = (statusCode => 'FIELD_CUSTOM_VALIDATION_EXCEPTION', fields => [ 'City', 'Own__c' ]);
$job = with_fault({ record => 'Colon' }, { record_error => { @field_error, message => 'Either: this, or: that' } },
    sub { ingest(new_leads([ 'Colon', 'x' ])) });
is("$job->{rows}[0]{message} | @{ $job->{rows}[0]{fields} }", 'Either: this, or: that | City Own__c', 'a message with colons');

my @errors = (
    [ 'UNABLE_TO_LOCK_ROW:unable: 001xxx,001yyy,...:--', 'retry UNABLE_TO_LOCK_ROW', 'unable: 001xxx,001yyy,...' ],
    [ 'something else', 'park', 'something else' ],
    [ 'CODE:half', 'park CODE', 'half' ],
    [ 'CODE:see http://x.y/z --', 'park CODE', 'see http://x.y/z' ]);
foreach my $case (@errors)
{
    my ($error, $expected, $message) = @$case;
    $job = with_fault({ kind => 'ingest_results', path => 'failed' },
        { pass => $true, replace => [ [ 'REQUIRED_FIELD_MISSING[^"]*', $error ] ] },
        sub { ingest(new_leads([ 'x', undef ])) });
    is(rows_told($job)->{x} . " | $job->{rows}[0]{message}", "$expected | $message", "error $error");
}

my $header = [ '^"sf__Id","sf__Created","LastName","Company"', "\x{FEFF}COMPANY,sf__id,\"LASTNAME\",sf__Created" ];
$job = with_fault({ kind => 'ingest_results' }, { pass => $true, replace => [ $header, [ '"00Q\w+","(\w+)","Form","y"', '"y",00Q,Form,true' ] ] },
    sub { ingest(new_leads([ 'Form', 'y' ])) });
is(join(' ', @{ $job->{rows}[0]{values} }, @{ $job->{rows}[0] }{qw(id created)}), 'Form y 00Q 1',
    'columns in another order, case, and quoting');

# Results that are not whole.
my @broken = (
    [ 'rows that lack', { truncate => { rows => 1, clean => $true } },
        qr/^08006 \| result of Bulk job \w+ is not complete \| Salesforce announced 3 records in successfulResults, 1 came/ ],
    [ 'a value that is cut', { truncate => { bytes => 60, clean => $true } }, qr/^08006 \| result of Salesforce is not complete \| It ends inside a value/ ],
    [ 'a body that breaks off', { truncate => { bytes => 60 } }, qr/^08006 .*broke off/ ],
    [ 'a row that lacks a value', { replace => [ [ '"true","L 2",', '' ] ] }, qr/^08006 .*A row has 2 values for 4 columns/ ],
    [ 'a column that lacks', { replace => [ [ '"LastName"', '"Surname"' ] ] }, qr/^HV\S+ .*Column "LastName" is missing/ ],
    [ 'a 503', { status => 503 }, qr/^08006 .*503/ ]);
foreach my $case (@broken)
{
    my ($what, $action, $expected) = @$case;
    with_fault({ kind => 'ingest_results', path => 'successful' }, { $action->{status} ? () : (pass => $true), %$action },
        sub { fails_with(job_of(new_leads(map { [ "L $_", 'x' ] } 1 .. 3)), $expected, $what) });
}
$job = with_fault({ kind => 'ingest_results', path => 'successful' }, { pass => $true, nul => $true },
    sub { ingest(new_leads([ 'Nul', 'x' ])) });
is_deeply(rows_told($job), { Nul => 'done created' }, 'a NUL in a result');
$org->calls_mark;
ingest(new_leads([ 'Calls', 'x' ]));
is(scalar(my @reads = $org->calls(kind => 'ingest_results')), 2, 'results that are known to be empty are not asked for');

# ------------------------------------------------------------ jobs that go wrong

sub create_job { return result(logged_in(asked('check_ingest_create', 'Lead', 'create', undef))) }
sub upload { return asked('check_ingest_upload', @_) }
sub wait_job { return result(logged_in(asked('check_ingest_wait', @_))) }
sub aborted { return result(logged_in(asked('check_ingest_abort', @_))) }
sub results_of { return { rows => parsed(result(logged_in(asked('check_ingest_results', $_[0], 'create', '{LastName,Company}')))) } }

my $small = "LastName,Company\nJob 1,x\nJob 2,x\n";
fails_with(asked('check_ingest_create', 'TaskStatus', 'create', undef),
    qr/^HV\S+ \| Salesforce refused POST .* INVALIDENTITY/, 'an object that Bulk does not take');

# As a whole.
foreach my $case ([ "LastName,Nope__c\na,b\n", 'InvalidBatch : Field name not found : Nope__c' ],
    [ "LastName,Company\r\na,b\r\n", 'ClientInputError : LineEnding is invalid on user data. Current LineEnding setting is LF' ],
    [ "LastName,Company\na,b\nc\n", 'InvalidBatch : The number of columns in row 3 is 1, it should be 2' ])
{
    my ($csv, $message) = @$case;
    my $id = create_job();

    like(result(logged_in(upload($id, $csv))), qr/^running /, 'an upload with a mistake is taken');
    is(wait_job($id), "failed 0 0 $message", 'the job fails as a whole, which raises nothing');
}

# Before it is closed nothing happens, so it can always be begun anew.
my @uploads = (
    [ 'before', 'PUT', { reset => $true } ],
    [ 'after', 'PUT', { apply_then => { reset => $true } } ],
    [ 'by a 503', 'PUT', { status => 503 } ],
    [ 'before the close', 'PATCH', { reset => $true } ]);
foreach my $case (@uploads)
{
    my ($what, $method, $action) = @$case;
    my $id = create_job();

    with_fault({ path => '/jobs/ingest', method => $method }, $action,
        sub { fails_with(upload($id, $small), qr/^08006 /, "an upload that ends $what") });
    is(aborted($id), 't', 'the job is ended, nothing was processed');
    is($org->count('Lead', "LastName LIKE 'Job %'"), 0, 'nothing is there');
}

# Closed, and the answer lost: the job goes on and is found by its id.
my $closed = create_job();
with_fault({ path => '/jobs/ingest', method => 'PATCH' }, { apply_then => { reset => $true } },
    sub { fails_with(upload($closed, $small), qr/^08006 /, 'the answer to the close is lost') });
is(aborted($closed), 'f', 'a job that was closed is not aborted');
is(wait_job($closed), 'complete 2 0 ', 'it goes on');
is_deeply(rows_told(results_of($closed)), { 'Job 1' => 'done created', 'Job 2' => 'done created' }, 'its results are found');
is($org->count('Lead', "LastName LIKE 'Job %'"), 2, 'each record once');
fails_with(upload($closed, $small), qr/^HV\S+ \| could not upload the records/, 'it takes no second upload');

# While it waits.
$org->post('/config', { bulk_hold => $true });
my $held = create_job();
like(result(logged_in(upload($held, "LastName,Company\nHeld,x\n"))), qr/^running /, 'a job that waits');
cancelled(asked('check_ingest_wait', $held), 'can be waited for, and that cancelled');
is(aborted($held), 'f', 'it is not aborted');
$org->post('/jobs/release');
is(wait_job($held), 'complete 1 0 ', 'and ends');
$org->post('/config', { bulk_hold => $false });

my $open = create_job();
is(aborted($open), 't', 'an open job is aborted');
is(wait_job($open), 'failed 0 0 the job is in state Aborted', 'and has failed');
is(aborted($open), 't', 'it can be aborted again');
is_deeply(results_of($open)->{rows}, [], 'its results are none, of whatever columns');

# Unprocessed records.
$job = with_fault({ kind => 'ingest_results', path => 'unprocessed' }, { pass => $true, replace => [ [ '\Z', qq{"Left","x"\n} ] ] },
    sub { ingest(new_leads([ 'Done', 'x' ])) });
is_deeply(rows_told($job), { Done => 'done created', Left => 'unprocessed' }, 'unprocessed records are told');
is((grep { $_->{outcome} eq 'unprocessed' } @{ $job->{rows} })[0]{refusal}, 'retry', 'and may go again');

# Gone.
result(logged_in(asked('check_ingest_delete', $closed)));
is(wait_job($closed), 'gone -1 -1 ', 'a deleted job is gone');
is(aborted($closed), 't', 'needs no abort');
fails_with(upload($closed, $small), qr/^HV\S+ \| Bulk job \w+ is gone/, 'takes no upload');
fails_with(asked('check_ingest_results', $closed, 'create', '{LastName}'), qr/404/, 'has no results');
is(result(logged_in(asked('check_ingest_delete', $closed))), '', 'and can be deleted again');
fails_with(asked('check_ingest_wait', '../query'), qr/^22023 /, 'an id is an id');

# Sessions end at each step.
$org->fault({ path => '/jobs/ingest', method => $_ }, { status => 401 }) for qw(POST PUT PATCH GET);
is_deeply(rows_told(ingest(new_leads([ 'Session', 'x' ]))), { Session => 'done created' }, 'sessions that end are renewed');
$org->no_faults;

$node->stop;
done_testing();
