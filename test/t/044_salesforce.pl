
# The Salesforce bank against an org, without tables or workers: logging in,
# refusals of every shape, one call of each kind, and pages that are not what
# they seem.

use strict;
use warnings;
use BankCheck;
use JSON::PP;
use SyncTest;
use Test::More;
use WireServer;

my $node = bank_start('salesforce');
my ($true, $false) = (JSON::PP::true, JSON::PP::false);
my $org = Org->start(leads => 30);
my $info = $org->{info};
my $user = $info->{users}{ $info->{run_as} };
my $key = Org::slurp($info->{private_key_file});
my $wire = WireServer->start(
    '/services/oauth2/token' =>
      sub { print { $_[0] } "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>"; return 0 });

# A login with all that any grant needs, but for what is given.
sub login
{
    my (%given) = @_;
    my %c = (
        login => $info->{login}, auth => 'jwt', client_id => $info->{client_id},
        client_secret => $info->{client_secret}, username => $info->{run_as},
        password => $user->{password} . $user->{security_token}, key => $key,
        refresh_token => $info->{refresh_token}, %given);
    my @order = qw(login auth client_id client_secret username password key refresh_token);

    return 'SELECT check_login('
      . join(', ', map { defined $c{$_} ? quote($c{$_}) : 'NULL' } @order) . ')';
}

my $client = 'SELECT check_client(60000, NULL)';
my @in = ($client, login());
my $logged_in = "$info->{instance} $info->{org_id} $user->{id}";

sub logins { return scalar(my @calls = $org->calls(kind => 'oauth')) }

sub query
{
    my ($soql, $fields) = @_;
    return 'SELECT check_query(' . join(', ', quote($soql), quote("{$fields}"), 'false') . ')';
}

sub bulk
{
    my ($soql, $fields, $page_rows) = @_;
    return 'SELECT check_bulk(' . join(', ', quote($soql), quote("{$fields}"), $page_rows || 0) . ')';
}

# ------------------------------------------------------------------ logging in

is(result($client, login(auth => $_)), $logged_in, "login by $_")
  for qw(jwt client_credentials refresh_token password);

# Refusals name Salesforce's reason and what to do, and never a secret.
my @refused = (
    [ 'wrong client', { client_id => 'nobody' },
        qr/^28000 \| Salesforce refused the login at [^ ]+: client identifier invalid \| Salesforce answered 400 invalid_client_id\. \| client_id must/ ],
    [ 'wrong secret', { auth => 'client_credentials', client_secret => 's3cr3t' },
        qr/^28000 \| .* at [^ ]+: .* \| Salesforce answered 4\d\d invalid_client\. \| client_secret must/ ],
    [ 'wrong password', { auth => 'password', password => 's3cr3t' },
        qr/^28000 .*: authentication failure \| .* 400 invalid_grant\. \| Check user name/ ],
    [ 'dead refresh token', { auth => 'refresh_token', refresh_token => 's3cr3t' },
        qr/^28000 .*: expired .* \| .* 400 invalid_grant\. \| The refresh token was revoked/ ],
    [ 'no secret', { auth => 'client_credentials', client_secret => undef },
        qr/^28000 \| option "client_secret" is missing \| Login by/ ],
    [ 'no key', { key => 's3cr3t' },
        qr/^28P01 \| private key cannot be used \| It is not a private key in PEM/ ],
    [ 'half a key', { key => substr($key, 0, 400) }, qr/^28P01 / ],
    [ 'no such auth', { auth => 'basic' }, qr/^22023 \| unknown auth "basic"/ ],
    [ 'no address', { login => 'http://example.com' },
        qr/^22023 \| login_url "http:\/\/example.com" is not allowed/ ],
    [ 'an address with a path', { login => "$info->{login}/services" }, qr/^22023 \| login_url/ ],
    [ 'no login host', { login => $wire->{url} },
        qr/^08006 \| no usable answer to the login .* \| It is not JSON/ ]);

foreach my $case (@refused)
{
    my ($what, $changes, $expected) = @$case;
    my $error = error_of($client, login(%$changes));

    like($error, $expected, $what);
    unlike($error, qr/s3cr3t|BEGIN|\Q$info->{client_secret}\E/, 'names no secret');
}

$org->post('/clock', { skew_seconds => 7200 });
is(result($client, login()), $logged_in, 'login where the clocks differ');
$org->post('/clock', { skew_seconds => 0 });

foreach my $instance ('http://example.com', "$info->{instance}/x", 'ftp://127.0.0.1',
    'https://u:p@example.com')
{
    my $replace = [ '"instance_url"\s*:\s*"[^"]*"', qq{"instance_url":"$instance"} ];

    $org->fault({ path => 'oauth2/token' }, { pass => $true, replace => [$replace] });
    like(error_of($client, login()), qr/^08006 .*named an instance that is not allowed/,
        "an instance that no login may name: $instance");
    $org->no_faults;
}

# -------------------------------------------------------------------- refusals

my @errors = (
    [ 400, q([{"message":"\nselect x from Y\n       ^\nERROR at Row:1\nNo such column 'x'",)
          . '"errorCode":"INVALID_FIELD"}]',
        "schema [INVALID_FIELD] select x from Y ERROR at Row:1 No such column 'x'" ],
    [ 400, '{"error":"invalid_grant","error_description":"expired"}',
        'request [invalid_grant] expired' ],
    [ 400, '[{"statusCode":"MALFORMED_ID","message":"bad id","fields":[]}]',
        'request [MALFORMED_ID] bad id' ],
    [ 403, '[{"message":"TotalRequests Limit exceeded.","errorCode":"REQUEST_LIMIT_EXCEEDED"}]',
        'limit [REQUEST_LIMIT_EXCEEDED] TotalRequests Limit exceeded.' ],
    [ 403, '[{"message":"ConcurrentPerOrgLongTxn Limit exceeded.",'
          . '"errorCode":"REQUEST_LIMIT_EXCEEDED"}]',
        'transient [REQUEST_LIMIT_EXCEEDED] ConcurrentPerOrgLongTxn Limit exceeded.' ],
    [ 400, q([{"message":"Entity 'X' is not supported by the Bulk API.",)
          . '"errorCode":"INVALIDENTITY"}]',
        q{unsupported [INVALIDENTITY] Entity 'X' is not supported by the Bulk API.} ],
    [ 400, '[{"message":"invalid query locator","errorCode":"INVALID_QUERY_LOCATOR"}]',
        'cursor [INVALID_QUERY_LOCATOR] invalid query locator' ],
    [ 400, '[{"message":"Your query request was running for too long.",'
          . '"errorCode":"QUERY_TIMEOUT"}]',
        'too_big [QUERY_TIMEOUT] Your query request was running for too long.' ],
    [ 403, '[{"message":"no","errorCode":"API_DISABLED_FOR_ORG"}]',
        'permission [API_DISABLED_FOR_ORG] no' ],
    [ 401, '[{"message":"Session expired or invalid","errorCode":"INVALID_SESSION_ID"}]',
        'login [INVALID_SESSION_ID] Session expired or invalid' ],
    [ 500, '[{"message":"oops","errorCode":"UNKNOWN_EXCEPTION"}]',
        'transient [UNKNOWN_EXCEPTION] oops' ],
    [ 420, '<html><head><title>Slow  down</title></head></html>',
        'transient [] a web page titled "Slow down"' ],
    [ 503, '', 'transient [] an empty answer' ],
    [ 400, '<html>', 'transient [] a web page' ],
    [ 404, '', 'transient [] an empty answer' ],
    [ 400, '[{"message":"half', 'transient [] JSON that is cut short or damaged' ],
    [ 502, 'Bad Gateway', 'transient [] "Bad Gateway"' ],
    [ 400, '[]', 'transient [] ' ],
    [ 400, '[{"message":"' . 'x' x 3000 . '","errorCode":"' . 'C' x 100 . '"}]',
        'request [' . 'C' x 63 . '] ' . 'x' x 1000 . '...' ]);

foreach my $case (@errors)
{
    my ($status, $body, $expected) = @$case;

    is(result(@in, "SELECT check_error($status, " . quote($body) . ')'), $expected,
        "a refusal: $status " . substr $body, 0, 60);
}

# ----------------------------------------------------------------------- calls

is(result(@in, "SELECT check_version('60.0')"), '60.0', 'the version that was wanted');
is(result(@in, 'SELECT check_version(NULL)'), '62.0', 'the newest that is known');
is(result(@in, q{SELECT left(check_api('GET', '/limits', NULL), 4)},
        'SELECT check_limits(100000)'),
    'some of the allowance', 'the allowance is noted');
is(result(@in, q{SELECT left(check_api('GET', '/nothing', NULL), 4)}), '404 ',
    'a refusal as an answer');
like(error_of(@in, query('SELECT Nope FROM Lead', 'Nope')),
    qr{^HV\S+ \| Salesforce refused GET /services/data/v62.0/query: .*No such .* \| .* 400 INVALID_FIELD\.},
    'a refusal as an error');
is(result(@in, 'SELECT error_of(' . quote(query('SELECT Id FROM Nope', 'Id')) . ')',
        'SELECT check_refusal()'),
    'schema 400 [INVALID_TYPE]', 'and its class');

# Sessions that end are renewed by one login; some refusals look like that.
my %ended = (status => 401, errorCode => 'INVALID_SESSION_ID',
    message => 'Session expired or invalid');

foreach my $statement (query('SELECT Id FROM Lead', 'Id'), bulk('SELECT Id FROM Lead', 'Id', 10))
{
    $org->fault({ method => 'GET', path => '/(query\?|results)' }, \%ended);
    $org->calls_mark;
    like(result(@in, $statement), qr/00Q/, 'a session that ended is renewed');
    is(logins(), 2, 'by one login');
    $org->no_faults;
}
# One that stands after a login passes; a user who is refused stays so.
foreach my $case ([ $ended{message}, 2, '08006' ],
    [ 'This session is not valid for use with the REST API', 1, '28000' ],
    [ 'Connected app is not attached to Agent', 1, '28000' ])
{
    my ($message, $logins, $state) = @$case;

    $org->fault({ path => '/query' }, { %ended, message => $message }, times => -1);
    $org->calls_mark;
    like(error_of(@in, query('SELECT Id FROM Lead', 'Id')), qr/^$state .*\Q$message\E/,
        "again and again: $message");
    is(logins(), $logins, 'makes no loop');
    $org->no_faults;
}

# ------------------------------------------------------------------------ rows

my $fields = 'Id,LastName,NumberOfEmployees,IsConverted,Street,CreatedDate,Owner.Name';
my $select = "SELECT $fields FROM Lead ORDER BY Id";
my ($id) = $org->insert('Lead',
    { LastName => qq{O'"Hara", \\N}, Company => 'x', Street => "a\nb" });

# Records of a CSV text, without what the two ways write differently.
sub records
{
    my ($csv) = @_;
    my $value = qr/"(?:[^"]|"")*"|[^",\n]*/;
    my @records = $csv =~ /^($value(?:,$value)*)\n?/mg;

    s/\+0000"/Z"/, s/""(?=,|$)//g, s/"([^"\n]*)"/$1/g for @records;
    return grep { /^00Q/ } @records;
}

$org->post('/config', { page_size => 7 });
my $by_query = result(@in, query($select, $fields));
is(scalar records($by_query), 31, 'all pages of a query');
like($by_query, qr/^"$id","O'""Hara"", \\N",,false,"a\nb","[^"]+\+0000","[^"]+"$/m,
    'values as CSV');
$org->post('/config', { page_size => 2000 });

# Each page was read twice: in small pieces, and again after a rewind.
my ($announced, $by_bulk) = split / /, result(@in, bulk($select, $fields, 7)), 2;
my (%query, %bulk);
$query{$_}++ for records($by_query);
$bulk{$_}++ for records($by_bulk);
is($announced, 31, 'all pages of a Bulk job');
is_deeply([ sort keys %bulk ], [ sort keys %query ], 'the same records as by query');
is_deeply([ grep { $_ != 2 } values %bulk ], [], 'each as often as it was read');

foreach my $empty ($true, $false)
{
    $org->post('/config', { bulk_empty_body => $empty });
    is(result(@in, bulk('SELECT Id FROM Lead WHERE Id = null', 'Id')), '0 ',
        'a result without rows');
}

like(result(@in, "SELECT check_record('SELECT Id, Owner.Name FROM Lead WHERE Id = ''$id''')"),
    qr/^\{"Id":"$id","Owner":\{"Name":"[^"]+"\}\}$/, 'a record as JSON');
my $long = join ' AND ', map { "$_ != '" . 'x' x 3900 . "'" } qw(LastName FirstName Company);
is(scalar(my @long = result(@in, query("SELECT Id FROM Lead WHERE $long", 'Id')) =~ /^"00Q/mg), 31,
    'a statement too long for a URL');
like(error_of(@in, query('SELECT Id FROM Lead', 'Id,Name')), qr/lacks field "Name"/,
    'a field that is not there');

# ---------------------------------------- pages that are not what they seem

my @bad_pages = (
    [ 'a page cut at the end of a row', 'results', { truncate => { rows => 3, clean => $true } },
        qr/^08006 .*announced 31 records, 3 came/ ],
    [ 'a page that breaks off', 'results', { truncate => { bytes => 300 } },
        qr/^08006 .*broke off/ ],
    [ 'a locator that repeats', 'results\?.*locator', { repeat_locator => $true },
        qr/^08006 .*does not go on/ ],
    [ 'another header', 'results', { replace => [ [ '"LastName"', '"Surname"' ] ] },
        qr/^HV\S+ .*Expected "LastName", found "Surname"/ ]);

foreach my $case (@bad_pages)
{
    my ($what, $path, $action, $expected) = @$case;
    my $page_rows = $action->{repeat_locator} ? 7 : 0;

    $org->fault({ path => $path }, { pass => $true, %$action }, times => -1);
    like(error_of(@in, bulk($select, $fields, $page_rows)), $expected, $what);
    $org->no_faults;
}

$org->fault({ path => 'jobs/query$' }, { status => 503, html => $true });
like(error_of(@in, bulk($select, $fields)), qr/^08006 .*503/, 'a web page instead of a job');
$org->fault({ path => 'jobs/query$' },
    { job_failed => "INVALID_FIELD: \nSELECT x\n       ^\nNo such column 'x'" });
like(error_of(@in, bulk($select, $fields)),
    qr/^HV\S+ \| Bulk job 750\w+ failed: SELECT x No such column 'x' \| .*answered INVALID_FIELD\./,
    'a job that fails');

$org->fault({ path => 'results' }, { pass => $true, nul => $true });
is((split / /, result(@in, bulk($select, $fields)))[0], 31, 'NULs are taken out of CSV');
$org->no_faults;
$org->fault({ path => 'results' },
    { pass => $true, locator => undef, drop_headers => ['Sforce-NumberOfRecords'] },
    times => -1);
is((split / /, result(@in, bulk($select, $fields)))[0], -1, 'headers that a proxy took away');
$org->no_faults;

$org->post('/config', { page_size => 7 });
$org->fault({ path => '/query' },
    { pass => $true, next_url => 'https://example.com/services/data/v62.0/query/01g' });
like(error_of(@in, query($select, $fields)), qr/^08006 .*leads to another host/,
    'a next page elsewhere');
$org->post('/config', { page_size => 2000 });
$org->fault({ path => '/query' }, { pass => $true, bad_json => $true });
like(error_of(@in, query($select, $fields)), qr/^08006 .*JSON that is cut short/, 'broken JSON');
$org->fault({ path => '/query' }, { pass => $true, huge_json => 100_000_000 });
is(scalar records(result(@in, query($select, $fields))), 31,
    'an answer too big to be held is asked for again, in smaller pages');
$org->no_faults;

# ------------------------------------------------- several questions together

my $window = q{now() - interval '1 hour', now() + interval '1 hour'};
$org->calls_mark;
is(result(@in, "SELECT check_ask('{Lead,Contact,Nope,Campaign}', $window)"),
    '1 to updated to none 1 to none to none INVALID_TYPE NOT_FOUND NOT_FOUND 1 to none to none ',
    'questions together');
is(scalar(my @composite = $org->calls(kind => 'composite')), 1, 'in one call');
$org->fault({ path => '/composite$' },
    { status => 403, errorCode => 'FORBIDDEN', message => 'no' }, times => -1);
like(result(@in, "SELECT check_ask('{Lead}', $window)"), qr/^1 to updated to none/,
    'one by one where Composite is refused');
$org->no_faults;

# ---------------------------------------------------------------- descriptions

is(result(@in, q{SELECT check_describe_org('lead')}), 'Lead, of many', 'describe');
like(error_of(@in, "SELECT check_describe_org('$_')"),
    qr/^HV00R \| object "\Q$_\E" does not exist/, "no object '$_'")
  for 'Nope', '../query', '';

$node->stop;
done_testing();
