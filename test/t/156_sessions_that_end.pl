
# The session ends in whatever dress the org says so, the instance moves, or does
# not answer: one login each, and no standstill.

use strict;
use warnings;
use JSON::PP;
use SyncTest;
use WayOut;
use Test::More;

my ($true, $false) = (JSON::PP::true, JSON::PP::false);
my $org = Org->start(leads => 30, contacts => 10, accounts => 5);
my $node = sync_node('main');

connect_org($node, $org, 'acme', server => [ interval => '1 hour', timeout => '2 s' ]);
enable_all($node, 'acme', 'Lead', 'Contact');

sub logins { return scalar grep { $_->{kind} eq 'oauth' } $org->calls }
sub changed
{
    my ($what) = @_;
    $org->change('Lead', { Title => $what }, limit => 1);
    # It raises where the login is refused.
    return $node->psql('postgres', q{SELECT count(*) FROM sync.now('acme')});
}
sub came { my ($what) = @_; return sql($node, qq{SELECT count(*) FROM acme.lead WHERE title = '$what'}) }
sub seconds_to_retry { return sql($node, q{SELECT coalesce(ceil(extract(epoch FROM retry_at - now())), 0) FROM sync.server_progress}) }

# 401 as it has been seen
foreach my $dress (
    [ 'empty', { status => 401, body => '' } ],
    [ 'HTML', { status => 401, html => $true } ],
    [ 'XML', { status => 401, body => '<?xml version="1.0"?><Errors><Error><errorCode>InvalidSessionId</errorCode></Error></Errors>' } ],
    [ 'a header', { status => 401, body => '', headers => { 'Sfdc-OAuth-Error' => '1703' } } ],
    [ 'an invalid token', { status => 401, errorCode => 'LOGIN_OAUTH_INVALID_TOKEN', message => 'Failed: Invalid Token' } ])
{
    my ($what, $action) = @$dress;

    $org->calls_mark;
    $org->fault({ kind => $_ }, $action, times => 1) for qw(composite);
    changed("401 $what");
    is(came("401 $what"), 1, "a 401, $what: the cycle goes on");
    is(logins(), 1, '... after one login');
    $org->no_faults;
    is(sql($node, 'SELECT count(*) FROM sync.failures'), 0, '... nothing failed');
}

# On the way out, of a Bulk page, and of a describe
$org->calls_mark;
my $refused = $org->fault({ method => 'PATCH' }, { status => 401, html => $true }, times => 1);
sql($node, q{UPDATE acme.lead SET city = 'Sent' WHERE id = (SELECT min(id) FROM acme.lead WHERE NOT isconverted)});
went_out($node, 'a 401 to a write: it goes out');
is($org->hits($refused), 1, '... which it met');
cmp_ok(logins(), '<=', 1, '... after one login at most: somebody may have made it');

# Where the text says that it is the user who is refused, no login helps
$org->calls_mark;
$org->fault({ kind => 'composite' }, { status => 401, errorCode => 'INVALID_SESSION_ID', message => 'This session is not valid for use with the REST API' }, times => -1);
changed('refused');
is(logins(), 0, 'a user who is refused: no login');
cmp_ok(seconds_to_retry(), '>', 300, '... and no hurry');
$org->no_faults;
sql($node, q{SELECT sync.resume('acme')});
wait_until('... until it is well again', sub { changed('refused'); came('refused') > 0 });

# A second 401 after a login passes
$org->calls_mark;
$org->fault({ kind => 'composite' }, { status => 401, errorCode => 'INVALID_SESSION_ID', message => 'Session expired or invalid' }, times => 2);
changed('twice');
cmp_ok(logins(), '<=', 2, 'a 401 that stands after a login: no more logins');
cmp_ok(seconds_to_retry(), '<=', 10, '... and it is tried again in seconds');
wait_for($node, q{SELECT failures = 0 FROM sync.server_progress}, '... by itself');
$org->no_faults;

# A login host that has no better idea
$org->fault({ kind => 'oauth' }, { status => 400, error => 'unknown_error', error_description => 'retry your request' }, times => 1);
$org->post('/expire');
changed('unknown');
cmp_ok(seconds_to_retry(), '<=', 10, 'unknown_error of a login passes');
wait_for($node, q{SELECT failures = 0 FROM sync.server_progress}, '... by itself');
$org->no_faults;

# The instance has moved: whatever is at the old address, a login tells the new
foreach my $old ([ 'redirects', { status => 301, headers => { Location => 'https://other.example/' }, body => '' } ],
    [ 'an HTML page that says 404', { status => 404, html => $true } ], [ 'a host that is down', { status => 503, html => $true } ],
    [ 'connections that are reset', { reset => $true } ], [ 'silence', { hang => 30 } ])
{
    my ($what, $action) = @$old;

    sql($node, q{SELECT sync.resume('acme')});
    wait_for($node, q{SELECT failures = 0 FROM sync.server_progress}, "before $what all is well");
    $org->calls_mark;
    $org->fault({ path => '^/services/data' }, $action, times => -1);
    $node->psql('postgres', q{SELECT * FROM sync.now('acme')});
    wait_until("$what: a login is made", sub { $node->psql('postgres', q{SELECT sync.resume('acme')}); logins() > 0 });
    $org->no_faults;
    wait_until('... and all goes on', sub { $node->psql('postgres', q{SELECT sync.resume('acme')}); changed($what); came($what) > 0 });
}
done_testing();
