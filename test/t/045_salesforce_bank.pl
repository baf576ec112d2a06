
# The Salesforce bank by itself, without tables or workers: HTTP that breaks
# off, JSON, CSV cut anywhere, ids, SOQL, refusals, and one call of each kind
# against an org.

use strict;
use warnings;
use Compress::Zlib;
use JSON::PP;
use SyncTest;
use WireServer;
use PostgreSQL::Test::Cluster;
use Test::More;

my $module = "$ENV{TOP}/test/modules/salesforce";
my $built = `make -s -C '$module' PG_CONFIG='$ENV{PG_CONFIG}' 2>&1`;
is($?, 0, 'the module is built') or BAIL_OUT($built);

my $node = PostgreSQL::Test::Cluster->new('bank');
$node->init(extra => [ '--encoding=UTF8', '--no-locale' ]);
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->start;
$node->safe_psql('postgres',
    "\\set so $module/salesforce_check\n\\i $module/salesforce_check.sql");

# Runs statements in one session; what each returned.
sub results
{
    my (@statements) = @_;
    my $script = join '', map { "$_;\n\\echo =====\n" } @statements;
    my ($status, $out, $err) = $node->psql('postgres', $script, on_error_stop => 0);

    diag($err) if $err ne '';
    return map { s/\n\z//r } split /=====\n?/, "$out\n";
}

sub result { return (results(@_))[-1] }

# The error of the last statement.
sub error_of
{
    my (@statements) = @_;
    my $last = pop @statements;
    return result(@statements, 'SELECT error_of(' . quote($last) . ')');
}

# ---------------------------------------------------------------- addresses

is(result("SELECT string_agg(u, ' ') FROM unnest(ARRAY['https://a.b/', 'http://a.b/',
    'http://127.0.0.1:8/', 'http://[::1]/', 'http://localhost', 'http://127.0.0.1.evil.com/',
    'http://127.0.0.1\@evil.com/', 'https://u:p\@a.b', 'ftp://127.0.0.1/', 'file:///etc/passwd',
    'http://evil.com\\\@127.0.0.1/', '//a.b', 'a.b', '']) u WHERE check_url(u)"),
    'https://a.b/ http://127.0.0.1:8/ http://[::1]/ http://localhost',
    'https anywhere, http to this machine alone');
is(result(q{SELECT check_origin('https://A.b', 'https://a.B:443/x?y'),
    check_origin('https://a.b', 'http://a.b'), check_origin('https://a.b', 'https://a.b.c')}),
    't|f|f', 'same origin: scheme, host and port');

# --------------------------------------------------------------------- http

my $text = join '', map { sprintf "%09d\n", $_ } 1 .. 200_000;
my $gzipped = Compress::Zlib::memGzip($text);

sub head { return "HTTP/1.1 200 OK\r\n" . join('', map { "$_\r\n" } @_) . "\r\n" }
sub chunk { return sprintf("%x\r\n", length $_[0]) . "$_[0]\r\n" }

my $wire = WireServer->start(
    '/text' => sub { print { $_[0] } head('Content-Length: ' . length $text) . $text },
    '/gzip' => sub { print { $_[0] } head('Content-Encoding: gzip',
            'Content-Length: ' . length $gzipped) . $gzipped },
    '/short' => sub { print { $_[0] } head('Content-Length: 100') . 'half'; return 0 },
    '/cut' => sub { print { $_[0] } head('Transfer-Encoding: chunked') . chunk("a\n" x 100); return 0 },
    '/close' => sub { print { $_[0] } head('Content-Length: 2') . 'ok'; return 0 },
    '/early' => sub { print { $_[0] } "HTTP/1.1 103 Early\r\nX: y\r\n\r\n" . head('Content-Length: 2') . 'ok' },
    '/nothing' => sub { return 0 },
    '/redirect' => sub { print { $_[0] } "HTTP/1.1 302 Found\r\nLocation: /close\r\nContent-Length: 0\r\n\r\n" },
    '/headers' => sub { print { $_[0] } head((map { "X-$_: " . 'y' x 1000 } 1 .. 60), 'Content-Length: 2') . 'ok' },
    '/garbage' => sub { print { $_[0] } "\0\1 no HTTP\r\n\r\n"; return 0 },
    '/services/oauth2/token' => sub { print { $_[0] } head('Content-Length: 6') . '<html>'; return 0 },
    '/hang' => sub { sleep 3600; return 0 },
    '/stop' => sub { print { $_[0] } head('Content-Length: 100') . 'half'; sleep 3600; return 0 });

sub get { return "SELECT check_request('GET', '$wire->{url}$_[0]', '{}', NULL, " . ($_[1] || 0) . ')' }
sub stream { return "SELECT check_stream('$wire->{url}$_[0]', $_[1])" }
my $start = 'SELECT check_client(600, NULL)';

is(result($start, "SELECT md5(" . get('/text') =~ s/^SELECT //r . ") = md5('200 ' || "
          . "(SELECT string_agg(lpad(i::text, 9, '0') || E'\\n', '' ORDER BY i) FROM generate_series(1, 200000) i))"),
    't', 'an answer arrives whole');
is(result($start, "SELECT count(DISTINCT md5(check_stream('$wire->{url}' || path, piece))) "
          . "FROM unnest(ARRAY['/text', '/gzip']) path, unnest(ARRAY[7, 65536, 3000000]) piece"),
    1, 'a stream is the same in pieces of any size, compressed or not');
like(error_of($start, get('/text', 1_000_000)), qr/^54000 \| answer from \S+ is too big/,
    'an answer over its limit');
like(error_of($start, get($_)), qr/^08006 \| answer from \S+ broke off \| GET $_: /, "$_: a cut body is an error")
  for '/short', '/cut', '/stop';
like(error_of($start, stream($_, 100)), qr/^08006 \| answer from \S+ broke off/, "$_: of a stream too")
  for '/short', '/cut', '/stop';
like(error_of($start, get("$_?secret=1")), qr{^08006 \| could not get an answer from \S+ \| GET $_: [^?]*$},
    "$_: is no answer") for '/nothing', '/headers', '/garbage', '/hang';
is(result($start, get('/redirect')), '302 ', 'redirects are not followed');
is(result($start, get('/early')), '200 ok', 'an interim answer is not the answer');
is(result($start, get('/close'), get('/close'), get('/close')), '200 ok',
    'connections that the server closed are not used again');
like(error_of($start, "SELECT check_request('GET', 'http://example.com/', '{}', NULL, 0)"),
    qr/^22023 \| address of host "example.com" is not allowed/, 'plain http elsewhere is refused');
like(error_of($start, "SELECT check_request('GET', '$wire->{url}/text', ARRAY[E'A: b\\r\\nC: d'], NULL, 0)"),
    qr/^22023 .*line break/, 'a header cannot bring another');
is(result($start, "SELECT array(SELECT CASE WHEN length(x) > 100 THEN 'long' ELSE left(x, 9) END FROM unnest(check_many(ARRAY["
          . join(', ', map { "'$wire->{url}$_'" } ('/close') x 20, '/hang', '/short', '/text')
          . '])) x)'),
    '{' . join(',', ('ok') x 20, '"could not"', '"answer fr"', 'long') . '}',
    'many at once: each has its answer or its failure');

# A cancel is served at once, and the client goes on.
foreach my $statement (get('/hang'), get('/stop'), stream('/stop', 100))
{
    my @out = results('SELECT check_client(600000, NULL)', 'CREATE TEMP TABLE t AS SELECT clock_timestamp() AS t0',
        "SET statement_timeout = '200ms'", 'SELECT error_of(' . quote('SELECT 1') . ')');
    my ($status, $out, $err) = $node->psql('postgres',
        "SELECT check_client(600000, NULL);\nSET statement_timeout = '200ms';\n$statement;\n"
          . "SET statement_timeout = 0;\n" . get('/close'), on_error_stop => 0);
    like($err, qr/canceling statement due to statement timeout/, "a cancel ends: $statement");
    is((split /\n/, $out)[-1], '200 ok', 'and the client goes on');
}

# Errors leave nothing behind.
my ($sockets_before, $memory_before, $sockets_after, $memory_after) = split /\|/,
  result($start, <<"EOSQL");
CREATE FUNCTION pg_temp.anon() RETURNS int LANGUAGE sql AS
\$\$ SELECT (regexp_match(pg_read_file('/proc/self/status'), 'RssAnon:\\s+(\\d+)'))[1]::int \$\$;
CREATE FUNCTION pg_temp.fail(n int) RETURNS void LANGUAGE plpgsql AS \$\$
BEGIN
    FOR i IN 1..n LOOP
        PERFORM error_of('SELECT check_stream(''$wire->{url}/cut'', 7)'),
            error_of('SELECT check_request(''GET'', ''$wire->{url}/text'', ''{}'', NULL, 1000)'),
            error_of('SELECT check_request(''GET'', ''$wire->{url}/short'', ''{}'', NULL, 0)');
    END LOOP;
END \$\$;
DO 'BEGIN PERFORM pg_temp.fail(20); END';
CREATE TEMP TABLE before AS SELECT check_sockets() s, pg_temp.anon() a;
DO 'BEGIN PERFORM pg_temp.fail(200); END';
SELECT s, a, check_sockets(), pg_temp.anon() FROM before
EOSQL
cmp_ok($sockets_after, '<=', $sockets_before, 'errors leave no sockets open');
cmp_ok($memory_after, '<', $memory_before + 1000, 'nor memory');

# --------------------------------------------------------------------- json

sub json { my ($body, @path) = @_;
    return "SELECT check_json(convert_to(" . quote($body) . ", 'UTF8'), '{" . join(',', @path) . "}')" }

is(result(json('{"a":[{"b":300.0}]}', qw(a 0 b))), '300.0', 'numbers stay as they were sent');
is(result(json('{"a":1.0E17}', 'a')), '1.0E17', 'in every notation');
is(result(json('{"a":12345678901.123456789}', 'a')), '12345678901.123456789', 'without rounding');
is(result(json('{"a":"x\\u0000y\\\\u0000"}', 'a')), 'xy\\u0000', 'NULs are taken out, an escaped backslash is none');
is(result(json('{"a":"\\ud83d\\ude00\\ud83d"}', 'a')), "\x{F0}\x{9F}\x{98}\x{80}\x{EF}\x{BF}\x{BD}", 'surrogates');
is(result(json($_)), 'no JSON', "no document: $_")
  for '{"a":1', '{"a":1}}', '', 'null', '"a"', '1', '{"a":01}', '<html>', ('[' x 100) . (']' x 100);
is(result(json("{\"a\":true}\n ", 'a')), 'true', 'blanks at the end');

# ------------------------------------------------------------- ids and SOQL

is(result("SELECT string_agg(check_id(left(id, 15)) || check_id(id), ' ') FROM unnest('{$_}'::text[]) id"), "$_$_",
    "checksum of $_")
  for qw(00Q4C00000B5BugUAF 0120B000000NAH0QAO 00D1a000000H3O9EAK 0051a000000UGT8AAO 01gC000006QJJ7fIAH
  0019H00000H28uBQAR a00D0000008pQRAIA2 000000000000000AAA);
is(result("SELECT count(check_id(id)) FROM unnest(ARRAY['00Q4C00000B5BugUAG', '00Q4C00000B5BugU', '00Q4C00000B5Bu',
    '00Q4C00000B5Bu~', '', '00q4c00000b5buguaf', '00Q4C00000B5BugUAFx']) id"), 0, 'what is no id');

is(result(q{SELECT check_soql_string(E'O\'Hara \\\\ "x"\n\t\x01é')}), q{'O\\'Hara \\\\ "x"\\n\\t\\u0001é'}, 'string literals');
is(result(q{SELECT check_soql_datetime('2026-01-31 11:00:00.9+01')}), '2026-01-31T10:00:00Z', 'datetime literals');
like(error_of(qq{SELECT check_soql_datetime('$_')}), qr/^22008/, "no datetime of Salesforce: $_") for 'infinity', '1500-01-01';
is(result("SELECT string_agg((check_parse_datetime(t) AT TIME ZONE 'UTC')::text, ' ') FROM unnest(ARRAY["
          . "'2024-02-29T10:00:00.000+0000', '2024-02-29T10:00:00.5Z', '2024-02-29T11:30:00+01:30', '2024-02-29T10:00:00Z']) t"),
    '2024-02-29 10:00:00 2024-02-29 10:00:00.5 2024-02-29 10:00:00 2024-02-29 10:00:00', 'datetimes of the API');
like(error_of("SELECT check_parse_datetime('$_')"), qr/^22007/, "no datetime: $_")
  for '2023-02-29T10:00:00Z', '2024-02-29', '2024-02-29T10:00:00', '2024-02-29T10:00:00.Z', '2024-02-29T25:00:00Z', 'now', '2024-02-29T10:00:00Zx';
is(result("SELECT check_select('{Id,Owner.Name}', 'Lead', 'A = 1 OR B = 2', 'C = 3', 'SystemModstamp, Id', 5)"),
    'SELECT Id, Owner.Name FROM Lead WHERE (A = 1 OR B = 2) AND (C = 3) ORDER BY SystemModstamp, Id LIMIT 5', 'a statement');
is(result("SELECT check_select('{Id}', 'Lead', NULL, NULL, NULL, 0)"), 'SELECT Id FROM Lead', 'the shortest');
like(error_of("SELECT check_select(ARRAY['Id', " . quote($_) . "], 'Lead', NULL, NULL, NULL, 0)"), qr/^42602/, "no field: $_")
  for 'Id FROM User', "a'b", '', '1a', '(SELECT Id FROM Contacts)';

# ---------------------------------------------------------------------- csv

sub csv { my ($page, $fields) = @_;
    return "SELECT string_agg(r, ' AND ') FROM csv_results('{" . ($fields || 'Id,Owner.Name') . "}', " . bytes($page) . ') r' }
sub bytes { return "'\\x" . unpack('H*', $_[0]) . "'::bytea" }

my $header = qq{"Id","Owner.Name"\n};
my %pages = (
    qq{$header"1","a"\n"2","b"\n} => [ 2, qq{"1","a"\n"2","b"\n} ],
    qq{$header"1","a ""x""\n\n,b"\n"2",""\n} => [ 2, qq{"1","a ""x""\n\n,b"\n"2",""\n} ],
    qq{Id,OWNER.NAME\r\n"1","a"\r\n} => [ 1, qq{"1","a"\r\n} ],
    qq{\xEF\xBB\xBF$header"1","\xC3\xA9"} => [ 1, qq{"1","\xC3\xA9"} ],
    qq{$header"1","a\0b"\n\0"2","\0"\n} => [ 2, qq{"1","ab"\n"2",""\n} ],
    $header => [ 0, '' ],
    ($header =~ s/\n//r) => [ 0, '' ],
    '' => [ 0, '' ],
    qq{$header"1","12345678\n12345678\n""""\n"\n} => [ 1, qq{"1","12345678\n12345678\n""""\n"\n} ]);
foreach my $page (sort keys %pages)
{
    my ($records, $rows) = @{ $pages{$page} };
    is(result(csv($page)), "whole $records $rows", 'cut anywhere: ' . unpack('H*', $page));
}
is(result("SELECT left(check_csv('{Id,Owner.Name}', " . bytes(qq{$header"1","a}) . ", '{}'), 5)"), 'cut 0',
    'a page that ends inside a value');
is(result("SELECT left(check_csv(ARRAY['a,b', 'c\"d'], " . bytes(qq{"a,b","c""d"\n}) . ", '{}'), 8)"), 'whole 0 ',
    'names are read as CSV');
like(error_of("SELECT check_csv('{Id,Name}', " . bytes($_) . ", '{}')"), qr/^HV\S+ \| result of Salesforce has other columns/, "header $_")
  for qq{"Name","Id"\n}, qq{"Id"\n}, qq{"Id","Name","X"\n}, qq{"1","2"\n}, "Records not found for this query";

# ----------------------------------------------------------------- describe

my $describe = encode_json({ name => 'Thing__c', keyPrefix => 'a01', custom => JSON::PP::true, fields => [
    { name => 'Id', type => 'id', label => 'Id', length => 18 },
    { name => 'Price__c', type => 'currency', label => "Price \x{20AC}", precision => 18, scale => 2,
        nillable => JSON::PP::true, createable => JSON::PP::true, filterable => JSON::PP::false, referenceTo => [] },
    { name => 'Who__c', type => 'reference', label => 'Who', referenceTo => [ 'Contact', 'Lead' ], compoundFieldName => 'X' } ] });
is(result('SELECT check_describe(' . quote($describe) . ", 'price__C')"),
    "Thing__c a01 3 Price__c currency \"Price \xE2\x82\xAC\" 0/0/18/2 nillable createable refs 0", 'a description');
is(result('SELECT check_describe(' . quote($describe) . ", 'Who__c')"),
    'Thing__c a01 3 Who__c reference "Who" 0/0/0/0 nillable filterable of X refs 2', 'attributes that are missing');
like(error_of("SELECT check_describe('$_', 'x')"), qr/^22023/, "no description: $_") for '[]', '<html>';

# Descriptions of real orgs, where a folder with some is at hand.
SKIP:
{
    my @files = glob(($ENV{DESCRIBES} || '/nonexistent') . '/*_describe.json');
    skip 'no DESCRIBES folder', 1 unless @files;
    foreach my $file (@files)
    {
        my $body = Org::slurp($file);
        my $json = decode_json($body);
        my $count = @{ $json->{fields} || [] };
        my $name = $json->{name} || '';
        my $prefix = $json->{keyPrefix} || '-';
        is(result('SELECT check_describe(' . quote($body) . ", '')"), "$name $prefix $count", $file);
    }
}

# ----------------------------------------------------------------- with org

my $org = Org->start(leads => 30);
my $info = $org->{info};
my $user = $info->{users}{ $info->{run_as} };
my $key = Org::slurp($info->{private_key_file});

sub login
{
    my (%c) = @_;
    $c{auth} ||= 'jwt';
    %c = (login => $info->{login}, client_id => $info->{client_id}, client_secret => $info->{client_secret},
        username => $info->{run_as}, password => $user->{password} . $user->{security_token}, key => $key,
        refresh_token => $info->{refresh_token}, %c);
    return 'SELECT check_login(' . join(', ', map { defined $c{$_} ? quote($c{$_}) : 'NULL' }
          qw(login auth client_id client_secret username password key refresh_token)) . ')';
}

my @in = ($start, login());

is(result($start, login(auth => $_)), "$info->{instance} $info->{org_id} $user->{id}", "login by $_")
  for qw(jwt client_credentials refresh_token password);

# Refusals name Salesforce's reason and what to do, and never a secret.
my %refused = (
    'wrong client' => [ { client_id => 'nobody' }, qr/^28000 .* \| Salesforce answered 400 invalid_client_id: .* \| client_id must/ ],
    'wrong secret' => [ { auth => 'client_credentials', client_secret => 's3cr3t' },
        qr/^28000 .* \| Salesforce answered 4\d\d invalid_client: .* \| client_secret must/ ],
    'wrong password' => [ { auth => 'password', password => 's3cr3t' },
        qr/^28000 .* \| Salesforce answered 400 invalid_grant: authentication failure.* \| Check user name/ ],
    'dead refresh token' => [ { auth => 'refresh_token', refresh_token => 's3cr3t' },
        qr/^28000 .* \| Salesforce answered 400 invalid_grant: expired .* \| The refresh token was revoked/ ],
    'no secret' => [ { auth => 'client_credentials', client_secret => undef }, qr/^28000 \| option "client_secret" is missing \| Login by/ ],
    'no key' => [ { key => 's3cr3t' }, qr/^28P01 \| private key cannot be used \| It is not a private key in PEM/ ],
    'half a key' => [ { key => substr($key, 0, 400) }, qr/^28P01 / ],
    'no such auth' => [ { auth => 'basic' }, qr/^22023 \| unknown auth "basic"/ ],
    'no address' => [ { login => 'http://example.com' }, qr/^22023 \| login_url "http:\/\/example.com" is not allowed/ ],
    'an address with a path' => [ { login => "$info->{login}/services" }, qr/^22023 \| login_url/ ],
    'no login host' => [ { login => $wire->{url} }, qr/^08006 \| no usable answer to the login/ ]);
foreach my $what (sort keys %refused)
{
    my ($changes, $expected) = @{ $refused{$what} };
    my $error = error_of($start, login(%$changes));
    like($error, $expected, $what);
    unlike($error, qr/s3cr3t|BEGIN|\Q$info->{client_secret}\E/, 'names no secret');
}

# A wrong clock is no reason to fail.
$org->post('/clock', { skew_seconds => 7200 });
is(result($start, login()), "$info->{instance} $info->{org_id} $user->{id}", 'login where clocks differ');
$org->post('/clock', { skew_seconds => 0 });

# An instance that the login may not name.
foreach my $instance ('http://example.com', "$info->{instance}/x", 'ftp://127.0.0.1', 'https://u:p@example.com')
{
    $org->fault({ path => 'oauth2/token' },
        { pass => JSON::PP::true, replace => [ [ '"instance_url"\s*:\s*"[^"]*"', qq{"instance_url":"$instance"} ] ] });
    like(error_of($start, login()), qr/^08006 \| login at \S+ named an instance that is not allowed/, "instance $instance");
    $org->no_faults;
}

# Error bodies of all shapes.
my @errors = (
    [ 400, '[{"message":"\nselect x from Y\n       ^\nERROR at Row:1\nNo such column \'x\'","errorCode":"INVALID_FIELD"}]',
        "schema [INVALID_FIELD] select x from Y ERROR at Row:1 No such column 'x'" ],
    [ 400, '{"error":"invalid_grant","error_description":"expired"}', 'request [invalid_grant] expired' ],
    [ 400, '[{"statusCode":"MALFORMED_ID","message":"bad id","fields":[]}]', 'request [MALFORMED_ID] bad id' ],
    [ 403, '[{"message":"TotalRequests Limit exceeded.","errorCode":"REQUEST_LIMIT_EXCEEDED"}]',
        'limit [REQUEST_LIMIT_EXCEEDED] TotalRequests Limit exceeded.' ],
    [ 403, '[{"message":"ConcurrentPerOrgLongTxn Limit exceeded.","errorCode":"REQUEST_LIMIT_EXCEEDED"}]',
        'transient [REQUEST_LIMIT_EXCEEDED] ConcurrentPerOrgLongTxn Limit exceeded.' ],
    [ 400, '[{"message":"Entity \'X\' is not supported by the Bulk API.","errorCode":"INVALIDENTITY"}]',
        "unsupported [INVALIDENTITY] Entity 'X' is not supported by the Bulk API." ],
    [ 400, '[{"message":"invalid query locator","errorCode":"INVALID_QUERY_LOCATOR"}]', 'cursor [INVALID_QUERY_LOCATOR] invalid query locator' ],
    [ 400, '[{"message":"Your query request was running for too long.","errorCode":"QUERY_TIMEOUT"}]',
        'too_big [QUERY_TIMEOUT] Your query request was running for too long.' ],
    [ 403, '[{"message":"no","errorCode":"API_DISABLED_FOR_ORG"}]', 'permission [API_DISABLED_FOR_ORG] no' ],
    [ 401, '[{"message":"Session expired or invalid","errorCode":"INVALID_SESSION_ID"}]', 'login [INVALID_SESSION_ID] Session expired or invalid' ],
    [ 500, '[{"message":"oops","errorCode":"UNKNOWN_EXCEPTION"}]', 'transient [UNKNOWN_EXCEPTION] oops' ],
    [ 420, '<html><head><title>Slow  down</title></head></html>', 'transient [] a web page titled "Slow down"' ],
    [ 503, '', 'transient [] an empty answer' ],
    [ 400, '<html>', 'transient [] a web page' ],
    [ 404, '', 'request [] an empty answer' ],
    [ 400, '[{"message":"half', 'transient [] JSON that is cut short or damaged' ],
    [ 502, 'Bad Gateway', 'transient [] "Bad Gateway"' ],
    [ 400, '[]', 'transient [] ' ],
    [ 400, '[{"message":"' . ('x' x 3000) . '","errorCode":"' . ('C' x 100) . '"}]', 'request [' . ('C' x 63) . '] ' . ('x' x 1000) . '...' ]);
foreach my $case (@errors)
{
    my ($status, $body, $expected) = @$case;
    is(result(@in, "SELECT check_error($status, " . quote($body) . ')'), $expected, "a refusal: $status " . substr $body, 0, 60);
}

# Calls.
is(result(@in, "SELECT check_version('60.0')"), '60.0', 'the version that was wanted');
is(result(@in, 'SELECT check_version(NULL)'), '62.0', 'the newest that is known');
is(result(@in, q{SELECT substr(check_api('GET', '/limits', NULL), 1, 4)}, 'SELECT check_limits(100000)'), 'some of the allowance', 'the allowance is noted');
is(result(@in, q{SELECT substr(check_api('GET', '/nothing', NULL), 1, 4)}), '404 ', 'a refusal as an answer');
like(error_of(@in, q{SELECT check_query('SELECT Nope FROM Lead', '{Nope}', false)}),
    qr/^HV\S+ \| Salesforce refused GET \/services\/data\/v62.0\/query \| Salesforce answered 400 INVALID_FIELD: .*No such column/, 'a refusal as an error');
is(result(@in, 'SELECT error_of($$SELECT check_query($q$SELECT Id FROM Nope$q$, $q${Id}$q$, false)$$) <> $$$$', 'SELECT check_refusal()'),
    'schema 400 [INVALID_TYPE]', 'and its class');

# Sessions that end.
foreach my $statement (q{SELECT length(check_query('SELECT Id FROM Lead', '{Id}', false))}, q{SELECT length(check_bulk('SELECT Id FROM Lead', '{Id}', 10)) > 1})
{
    my @calls;
    $org->fault({ method => 'GET', path => '/(query\?|results)' },
        { status => 401, errorCode => 'INVALID_SESSION_ID', message => 'Session expired or invalid' });
    $org->calls_mark;
    like(result(@in, $statement), qr/^(630|t)$/, 'a session that ended is renewed');
    @calls = $org->calls(kind => 'oauth');
    is(scalar @calls, 2, 'by one login');
    $org->no_faults;
}
foreach my $message ('Session expired or invalid', 'This session is not valid for use with the REST API')
{
    $org->fault({ path => '/query' }, { status => 401, errorCode => 'INVALID_SESSION_ID', message => $message }, times => -1);
    $org->calls_mark;
    like(error_of(@in, q{SELECT check_query('SELECT Id FROM Lead', '{Id}', false)}), qr/^28000 .*\Q$message\E/, "again and again: $message");
    is(scalar(my @calls = $org->calls(kind => 'oauth')), $message =~ /^Session/ ? 2 : 1, 'makes no loop');
    $org->no_faults;
}

# Queries by page and Bulk give the same rows.
my $fields = 'Id,LastName,NumberOfEmployees,IsConverted,Street,CreatedDate,Owner.Name';
my $select = "SELECT $fields FROM Lead ORDER BY Id";
my ($id) = $org->insert('Lead', { LastName => qq{O'"Hara", \\N}, Company => 'x', Street => "a\nb" });
$org->post('/config', { page_size => 7 });
my $by_query = result(@in, "SELECT check_query('$select', '{$fields}', false)");
is(scalar(my @lines = $by_query =~ /^"00Q/mg), 31, 'all pages of a query');
like($by_query, qr/^"$id","O'""Hara"", \\N",,false,"a\nb","[^"]+\+0000","[^"]+"$/m, 'values as CSV');
$org->post('/config', { page_size => 2000 });
my ($announced, $by_bulk) = split / /, result(@in, "SELECT check_bulk('$select', '{$fields}', 7)"), 2;
is($announced, 31, 'all pages of a Bulk job');
{
    # Each page was read twice: once in small pieces, once after a rewind.
    my (%query, %bulk);
    $query{$_}++ for records($by_query);
    $bulk{$_}++ for records($by_bulk);
    is_deeply([ sort keys %bulk ], [ sort keys %query ], 'the same records as by query');
    is_deeply([ grep { $_ != 2 } values %bulk ], [], 'each as often as it was read');
}

# Records with values compared without what the two ways write differently.
sub records
{
    my ($csv) = @_;
    my @records = $csv =~ /^((?:"(?:[^"]|"")*"|[^",\n]*)(?:,(?:"(?:[^"]|"")*"|[^",\n]*))*)\n?/mg;
    s/\+0000"/Z"/, s/""(?=,|$)//g, s/"((?:[^",\n]|,)*)"/$1/g for @records;
    return grep { /^00Q/ } @records;
}

like(result(@in, "SELECT check_record('SELECT Id, Owner.Name FROM Lead WHERE Id = ''$id''')"),
    qr/^\{"Id":"$id","Owner":\{"Name":"[^"]+"\}\}$/, 'a record as JSON');
is(result(@in, 'SELECT length(check_query(' . quote("SELECT Id FROM Lead WHERE LastName != '" . ('x' x 3900) . "' AND FirstName != '" . ('y' x 3900) . "' AND Company != '" . ('z' x 3900) . "'")
          . q{, '{Id}', false))}), 31 * 21, 'a statement too long for a URL');
like(error_of(@in, q{SELECT check_query('SELECT Id FROM Lead', '{Id,Name}', false)}), qr/lacks field "Name"/, 'a field that is not there');

# Pages that are not what they seem.
my %bad_pages = (
    'a page cut at the end of a row' => [ 'results', { truncate => { rows => 3, clean => JSON::PP::true } }, qr/^08006 .*announced 31 records, 3 came/ ],
    'a page that breaks off' => [ 'results', { truncate => { bytes => 300 } }, qr/^08006 .*broke off/ ],
    'a locator that repeats' => [ 'results\?.*locator', { repeat_locator => JSON::PP::true }, qr/^08006 .*does not go on/, 7 ],
    'another header' => [ 'results', { replace => [ [ '"LastName"', '"Surname"' ] ] }, qr/^HV\S+ .*Expected "LastName", found "Surname"/ ],
    'an HTML page' => [ 'jobs/query$', { status => 503, html => JSON::PP::true }, qr/^08006 .*503/ ],
    'a job that fails' => [ 'jobs/query$', { job_failed => "INVALID_FIELD: \nSELECT x\n       ^\nNo such column 'x'" },
        qr/^HV\S+ \| Bulk job 750\w+ failed \| Salesforce answered INVALID_FIELD: SELECT x No such column 'x'\./ ]);
foreach my $what (sort keys %bad_pages)
{
    my ($path, $action, $expected, $size) = @{ $bad_pages{$what} };
    $action->{pass} = JSON::PP::true unless grep { exists $action->{$_} } qw(status job_failed);
    $org->fault({ path => $path }, $action, times => -1);
    like(error_of(@in, "SELECT check_bulk('$select', '{$fields}', " . ($size || 0) . ')'), $expected, $what);
    $org->no_faults;
}
$org->fault({ path => 'results' }, { pass => JSON::PP::true, nul => JSON::PP::true }, times => -1);
is((split / /, result(@in, "SELECT check_bulk('$select', '{$fields}', 0)"))[0], 31, 'NULs are taken out of CSV');
$org->no_faults;
$org->fault({ path => 'results' }, { pass => JSON::PP::true, locator => undef, drop_headers => ['Sforce-NumberOfRecords'] }, times => -1);
is((split / /, result(@in, "SELECT check_bulk('$select', '{$fields}', 0)"))[0], -1, 'headers that a proxy took away');
$org->no_faults;
$org->fault({ path => '/query' }, { pass => JSON::PP::true, next_url => 'https://example.com/services/data/v62.0/query/01g' });
$org->post('/config', { page_size => 7 });
like(error_of(@in, "SELECT check_query('$select', '{$fields}', false)"), qr/^08006 .*leads to another host/, 'a next page elsewhere');
$org->post('/config', { page_size => 2000 });
$org->no_faults;
$org->fault({ path => '/query' }, { pass => JSON::PP::true, bad_json => JSON::PP::true });
like(error_of(@in, "SELECT check_query('$select', '{$fields}', false)"), qr/^08006 .*JSON that is cut short/, 'broken JSON');
$org->no_faults;

# Empty results.
foreach my $empty (JSON::PP::true, JSON::PP::false)
{
    $org->post('/config', { bulk_empty_body => $empty });
    is(result(@in, q{SELECT check_bulk('SELECT Id FROM Lead WHERE Id = null', '{Id}', 0)}), '0 ', 'a result without rows');
}

# Several questions in one call.
$org->calls_mark;
is(result(@in, q{SELECT check_ask('{Lead,Contact,Nope,Campaign}', now() - interval '1 hour', now() + interval '1 hour')}),
    '1 to updated to none 1 to none to none INVALID_TYPE NOT_FOUND NOT_FOUND 1 to none to none ', 'questions together');
is(scalar(my @composite = $org->calls(kind => 'composite')), 1, 'in one call');
$org->fault({ path => '/composite$' }, { status => 403, errorCode => 'FORBIDDEN', message => 'no' }, times => -1);
like(result(@in, q{SELECT check_ask('{Lead}', now() - interval '1 hour', now() + interval '1 hour')}), qr/^1 to updated to none/, 'one by one where Composite is refused');
$org->no_faults;

is(result(@in, q{SELECT check_describe_org('lead')}), 'Lead, of many', 'describe');
like(error_of(@in, "SELECT check_describe_org('$_')"), qr/^HV00R \| object "\Q$_\E" does not exist/, "no object $_") for 'Nope', '../query', '';

$node->stop;
done_testing();
