
# Logging in: the four grants, refusals that are not repeated, sessions that
# expire, rotated refresh tokens, many at once; and no secret anywhere.

use strict;
use warnings;
use SyncTest;
use Test::More;

my $org = Org->start(leads => 50);
my $node = sync_node('main', conf => "log_statement = 'none'\nlog_min_messages = debug1");

sub logins { return scalar $org->calls(kind => 'oauth') }

sub count_of
{
    my ($server) = @_;
    return $node->safe_psql('postgres',
        "SELECT soql->>'Id' IS NOT NULL FROM sync.soql('$server', 'SELECT Id FROM Lead LIMIT 1') soql");
}

# Each grant.
for my $auth (qw(jwt client_credentials refresh_token password))
{
    connect_org($node, $org, $auth, auth => $auth);
    $org->calls_mark;
    is(count_of($auth), 't', "$auth logs in");
    is(count_of($auth), 't', 'another session of the database');
    is(logins(), 1, 'uses the same login');
}

# A transaction that keeps its snapshot sees what the login brought, which is
# done by another process.
foreach my $level ('REPEATABLE READ', 'SERIALIZABLE')
{
    $node->safe_psql('postgres', 'DELETE FROM sync.session');
    is($node->safe_psql('postgres', qq{
        BEGIN ISOLATION LEVEL $level;
        SELECT FROM sync.server LIMIT 0;
        SELECT soql->>'Id' IS NOT NULL FROM sync.soql('jwt', 'SELECT Id FROM Lead LIMIT 1') soql;
        COMMIT}), 't', "a login within $level");
}

# A session that ends is renewed once, unseen.
$org->calls_mark;
$org->post('/expire');
is(count_of('jwt'), 't', 'an expired session is renewed');
is(logins(), 1, 'by one login');

# A session that is refused again and again makes no loop.
$org->calls_mark;
$org->fault({ path => '/query' },
    { status => 401, errorCode => 'INVALID_SESSION_ID', message => 'Session expired or invalid' },
    times => -1);
like(sql_error($node, q{SELECT sync.soql('jwt', 'SELECT Id FROM Lead LIMIT 1')}),
    qr/INVALID_SESSION_ID/, '401 twice is an error');
is(logins(), 1, 'after one login');
$org->no_faults;

# Not every 401 is an expired session.
for my $message ('This session is not valid for use with the REST API',
    'Connected app is not attached to Agent')
{
    $org->calls_mark;
    $org->fault({ path => '/query' },
        { status => 401, errorCode => 'INVALID_SESSION_ID', message => $message }, times => -1);
    like(sql_error($node, q{SELECT sync.soql('jwt', 'SELECT Id FROM Lead LIMIT 1')}),
        qr/\Q$message\E/, $message);
    is(logins(), 0, 'asks for no new login');
    $org->no_faults;
}

# Many backends at once find the session expired: one login.
$org->calls_mark;
$org->post('/expire');
my @many = map { sql_start($node, q{SELECT sync.soql('jwt', 'SELECT Id FROM Lead LIMIT 1')}) } 1 .. 6;
is((sql_end($_))[0], 0, 'one of many at once') for @many;
is(logins(), 1, 'one login for all of them');

# Rotation: the new refresh token is stored before it is used, so that it
# survives a crash right after.
$org->post('/rotate', { on => JSON::PP::true() });
for my $round (1 .. 3)
{
    $org->post('/expire');
    is(count_of('refresh_token'), 't', "rotated refresh token, round $round");
}
$node->stop('immediate');
$node->start;
$org->post('/expire');
is(count_of('refresh_token'), 't', 'and after a crash');
# The answer that brought the token is lost with a rollback of whoever asked.
$org->post('/expire');
$node->safe_psql('postgres', q{
    BEGIN; SELECT sync.soql('refresh_token', 'SELECT Id FROM Lead LIMIT 1'); ROLLBACK});
$org->post('/expire');
is(count_of('refresh_token'), 't', 'a rollback does not lose it');

# Refusals: Salesforce's words, a hint, and no second try.
my @refusals = (
    [ 'wrong secret', 'client_credentials', [ client_secret => 'wrong-secret-4711' ], qr/invalid_client/ ],
    [ 'wrong password', 'password', [ password => 'wrong-secret-4711' ], qr/invalid_grant/ ],
    [ 'unknown client', 'jwt', [ client_id => 'nobody' ], qr/invalid_client_id|invalid_client/ ],
    [ 'inactive user', 'jwt', [ username => 'former@example.com' ], qr/inactive_user|invalid_grant/ ],
    [ 'unknown user', 'jwt', [ username => 'nobody@example.com' ], qr/invalid_grant/ ],
    [ 'dead refresh token', 'refresh_token', [ refresh_token => 'wrong-secret-4711' ], qr/invalid_grant/ ]);
my $n = 0;
for (@refusals)
{
    my ($what, $auth, $mapping, $words) = @$_;
    my $server = 'refused' . ++$n;

    connect_org($node, $org, $server, auth => $auth, mapping => $mapping);
    $org->calls_mark;
    my $error = sql_error($node, "SELECT sync.soql('$server', 'SELECT Id FROM Lead LIMIT 1')");
    like($error, qr/ERROR:\s+28000/, "$what: SQLSTATE");
    like($error, $words, "$what: in Salesforce's words");
    like($error, qr/HINT/, "$what: with a hint");
    is(logins(), 1, "$what: one try");
}

# A worker that cannot log in backs off by itself.
$org->calls_mark;
my ($status) = $node->psql('postgres', q{SELECT sync.enable('refused1', ARRAY['Lead'])});
isnt($status, 0, 'enable says at once that the login is refused');
connect_org($node, $org, 'later', auth => 'client_credentials', server => [ interval => '1 s' ]);
$node->safe_psql('postgres', q{SELECT sync.enable('later', ARRAY['Lead'])});
wait_live($node, 'later');
$org->post('/app', { client_secret => 'another-secret-0815' });
$org->calls_mark;
$org->post('/expire');
wait_for($node, q{SELECT count(*) > 0 FROM sync.failures WHERE server = 'later' AND message ~ 'invalid_client|log in'},
    'a login refused later is a failure of the server');
wait_for($node, q{SELECT bool_and(state IN ('failing', 'stalled')) FROM sync.status WHERE server = 'later'},
    'and its state');
cmp_ok(logins(), '<=', 2, 'which does not try again and again');
$node->safe_psql('postgres', q{
    ALTER USER MAPPING FOR CURRENT_USER SERVER later OPTIONS (SET client_secret 'another-secret-0815')});
wait_for($node, q{SELECT bool_and(state = 'live') FROM sync.status WHERE server = 'later'},
    'new credentials are tried at once');
is($node->safe_psql('postgres', q{SELECT count(*) FROM sync.failures WHERE server = 'later'}), 0,
    'and the failure is history');

# Key files.
connect_org($node, $org, 'nokey', mapping => [ private_key_file => '/no/such/key.pem' ]);
like(sql_error($node, q{SELECT sync.soql('nokey', 'SELECT Id FROM Lead')}),
    qr{/no/such/key\.pem}, 'a missing key file is named');
my $garbage = "$ENV{TESTDATADIR}/garbage.pem";
PostgreSQL::Test::Utils::append_to_file($garbage, "no key at all\n");
connect_org($node, $org, 'badkey', mapping => [ private_key_file => $garbage ]);
my $error = sql_error($node, q{SELECT sync.soql('badkey', 'SELECT Id FROM Lead')});
like($error, qr/ERROR:\s+28P01/, 'an unusable key');
unlike($error, qr/no key at all/, 'whose content is not shown');
chmod 0, $garbage;
like(sql_error($node, q{SELECT sync.soql('badkey', 'SELECT Id FROM Lead')}), qr/HINT/,
    'an unreadable key file has a hint') if $> != 0;

# No secret anywhere that is not a user mapping.
my $log = PostgreSQL::Test::Utils::slurp_file($node->logfile);
my $info = $org->{info};
my %secret = (
    'client secret' => $info->{client_secret},
    'wrong secret' => 'wrong-secret-4711',
    'new secret' => 'another-secret-0815',
    'password' => $info->{users}{ $info->{run_as} }{password},
    'refresh token' => $info->{refresh_token});
my $seen = join "\n", $node->safe_psql('postgres', q{
    SELECT row_to_json(t) FROM sync.failures t; SELECT row_to_json(t) FROM sync.log t;
    SELECT row_to_json(t) FROM sync.status t}), $error;
for my $name (sort keys %secret)
{
    # The statements that set them are not ours to hide.
    my $lines = join "\n", grep { !/STATEMENT|OPTIONS/ } split /\n/, $log;
    unlike($lines, qr/\Q$secret{$name}\E/, "$name is not in the server's log");
    unlike($seen, qr/\Q$secret{$name}\E/, "$name is not in any view");
}
unlike($log, qr/00D\w{12}!/, 'no access token in the log');
done_testing();
