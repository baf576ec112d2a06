
# HTTP by itself: answers that are whole and answers that are not, limits,
# cancels, and that errors leave nothing behind.

use strict;
use warnings;
use BankCheck;
use Compress::Zlib;
use SyncTest;
use Test::More;
use WireServer;

my $node = bank_start('http');

# Where requests may go.
my @allowed = qw(https://a.b/ http://127.0.0.1:8/ http://[::1]/ http://localhost);
my @refused = (
    'http://a.b/', 'http://127.0.0.1.evil.com/', 'http://127.0.0.1@evil.com/',
    'https://u:p@a.b', 'ftp://127.0.0.1/', 'file:///etc/passwd',
    'http://evil.com\\@127.0.0.1/', '//a.b', 'a.b', '');
is(result("SELECT check_url('$_')"), 't', "allowed: $_") for @allowed;
is(result("SELECT check_url('$_')"), 'f', "refused: '$_'") for @refused;
is(result("SELECT check_origin('https://A.b', '$_->[0]')"), $_->[1], "the same origin: $_->[0]")
  for [ 'https://a.B:443/x?y', 't' ], [ 'http://a.b', 'f' ], [ 'https://a.b.c', 'f' ];

my $text = join '', map { sprintf "%09d\n", $_ } 1 .. 200_000;
my $gzipped = Compress::Zlib::memGzip($text);

sub head { return "HTTP/1.1 200 OK\r\n" . join('', map { "$_\r\n" } @_) . "\r\n" }
sub size { return 'Content-Length: ' . length $_[0] }
sub chunk { return sprintf("%x\r\n", length $_[0]) . "$_[0]\r\n" }

# A function that sends bytes and then goes on, ends the connection, or hangs.
sub sends { my ($bytes) = @_; return sub { print { $_[0] } $bytes; return 1 } }
sub ends { my ($bytes) = @_; return sub { print { $_[0] } $bytes; return 0 } }
sub hangs { my ($bytes) = @_; return sub { print { $_[0] } $bytes; sleep 3600; return 0 } }

my $wire = WireServer->start(
    '/text' => sends(head(size($text)) . $text),
    '/gzip' => sends(head('Content-Encoding: gzip', size($gzipped)) . $gzipped),
    '/early' => sends("HTTP/1.1 103 Early\r\nX: y\r\n\r\n" . head(size('ok')) . 'ok'),
    '/redirect' => sends("HTTP/1.1 302 Found\r\nLocation: /close\r\nContent-Length: 0\r\n\r\n"),
    '/headers' => sends(head((map { "X-$_: " . 'y' x 1000 } 1 .. 60), size('ok')) . 'ok'),
    '/close' => ends(head(size('ok')) . 'ok'),
    '/short' => ends(head('Content-Length: 100') . 'half'),
    '/cut' => ends(head('Transfer-Encoding: chunked') . chunk("a\n" x 100)),
    '/nothing' => ends(''),
    '/garbage' => ends("\0\1 no HTTP\r\n\r\n"),
    '/hang' => hangs(''),
    '/stop' => hangs(head('Content-Length: 100') . 'half'));

sub request
{
    my ($path, $limit) = @_;
    return "SELECT check_request('GET', '$wire->{url}$path', '{}', NULL, " . ($limit || 0) . ')';
}

sub stream
{
    my ($path, $piece) = @_;
    return "SELECT check_stream('$wire->{url}$path', $piece)";
}

# One that gives a busy machine its time, and one for what never comes.
my $client = 'SELECT check_client(60000, NULL)';
my $hasty = 'SELECT check_client(2000, NULL)';

# Whole answers.
is(result($client, 'SELECT md5((' . request('/text') . ")) = md5('200 ' || string_agg("
          . q{lpad(i::text, 9, '0') || E'\n', '' ORDER BY i)) FROM generate_series(1, 200000) i}),
    't', 'an answer arrives whole');
is(result($client, "SELECT count(DISTINCT md5(check_stream('$wire->{url}' || path, piece)))"
          . " FROM unnest(ARRAY['/text', '/gzip']) path, unnest(ARRAY[7, 65536, 3000000]) piece"),
    1, 'a stream is the same in pieces of any size, compressed or not');
is(result($client, request('/redirect')), '302 ', 'redirects are not followed');
is(result($client, request('/early')), '200 ok', 'an interim answer is not the answer');
is(result($client, (request('/close')) x 3), '200 ok',
    'connections that the server closed are not used again');

# Answers that are none, or not whole: an error that names no query.
like(error_of($client, request('/text', 1_000_000)),
    qr/^54000 \| answer from \S+ is too big/, 'an answer over its limit');
for my $path ('/short', '/cut', '/stop')
{
    my $expected = qr/^08006 \| answer from \S+ broke off \| GET $path: /;
    my $with = $path eq '/stop' ? $hasty : $client;
    like(error_of($with, request($path)), $expected, "$path: a cut body");
    like(error_of($with, stream($path, 100)), $expected, "$path: a cut stream");
}
for my $path ('/nothing', '/headers', '/garbage', '/hang')
{
    like(error_of($path eq '/hang' ? $hasty : $client, request("$path?secret=1")),
        qr{^08006 \| could not get an answer from \S+ \| GET $path: [^?]*$}, "$path: no answer");
}

# Requests that are not sent.
like(error_of($client, "SELECT check_request('GET', 'http://example.com/', '{}', NULL, 0)"),
    qr/^22023 \| address of host "example.com" is not allowed/, 'plain http elsewhere');
like(error_of($client, "SELECT check_request('GET', '$wire->{url}/text',"
          . q{ ARRAY[E'A: b\r\nC: d'], NULL, 0)}),
    qr/^22023 .*line break/, 'a header that brings another');

# Many at once.
my @urls = map { "$wire->{url}$_" } ('/close') x 20, '/hang', '/short', '/text';
is(result($hasty, "SELECT array(SELECT CASE WHEN length(x) > 1000 THEN 'long' ELSE left(x, 9) END"
          . ' FROM unnest(check_many(ARRAY[' . join(', ', map { "'$_'" } @urls) . '])) x)'),
    '{' . join(',', ('ok') x 20, '"could not"', '"answer fr"', 'long') . '}',
    'many at once: each has its answer or its failure');

# A cancel is served at once, and the client goes on.
foreach my $statement (request('/hang'), request('/stop'), stream('/stop', 100))
{
    my ($status, $out, $err) = $node->psql('postgres',
        "SELECT check_client(600000, NULL);\nSET statement_timeout = '200ms';\n$statement;\n"
          . "SET statement_timeout = 0;\n" . request('/close'), on_error_stop => 0);
    like($err, qr/canceling statement due to statement timeout/, "a cancel ends: $statement");
    is((split /\n/, $out)[-1], '200 ok', 'and the client goes on');
}

# Errors leave nothing behind.
my @failing = map { quote($_) } stream('/cut', 7), request('/text', 1000), request('/short');
my $fail = join ', ', map { "error_of($_)" } @failing;
my ($sockets_before, $memory_before, $sockets_after, $memory_after) = split /\|/, result(
    $client,
    q{CREATE FUNCTION pg_temp.anon() RETURNS int LANGUAGE sql AS
        $$ SELECT (regexp_match(pg_read_file('/proc/self/status'), 'RssAnon:\s+(\d+)'))[1]::int $$},
    "CREATE FUNCTION pg_temp.fail(n int) RETURNS void LANGUAGE plpgsql AS
        \$\$ BEGIN FOR i IN 1..n LOOP PERFORM $fail; END LOOP; END \$\$",
    'SELECT pg_temp.fail(20)',
    'CREATE TEMP TABLE before AS SELECT check_sockets() s, pg_temp.anon() a',
    'SELECT pg_temp.fail(200)',
    'SELECT s, a, check_sockets(), pg_temp.anon() FROM before');
cmp_ok($sockets_after, '<=', $sockets_before, 'errors leave no sockets open');
cmp_ok($memory_after, '<', $memory_before + 1000, 'nor memory');

$node->stop;
done_testing();
