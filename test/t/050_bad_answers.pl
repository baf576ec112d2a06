
# What can go wrong on the way: each fault is a clear failure, loses nothing,
# leaves the other objects going, and is over when it is over.

use strict;
use warnings;
use SyncTest;
use Test::More;

my $org = Org->start(leads => 1200, campaigns => 30);
my $node = sync_node('main');
my $true = JSON::PP::true();

connect_org($node, $org, 'acme', server => [ interval => '1 hour', timeout => '2 s' ]);
enable_all($node, 'acme', 'Lead', 'Campaign');
sync_now($node, 'acme');
$org->post('/config', { page_size => 200 });

# name, what is met by requests for leads, what the failure says
my @faults = (
    [ 'an HTML error page', { status => 503, html => $true }, qr/503/ ],
    [ 'an HTML page with status 200', { bad_json => 'html', pass => $true }, qr/./ ],
    [ 'malformed JSON', { bad_json => $true, pass => $true }, qr/JSON/i ],
    [ 'a truncated body', { truncate => { bytes => 700 }, pass => $true }, qr/./ ],
    [ 'a truncated body that ends cleanly', { truncate => { bytes => 700, clean => $true }, pass => $true }, qr/./ ],
    [ '500', { status => 500 }, qr/500/ ],
    [ '503', { status => 503 }, qr/503/ ],
    [ '420', { status => 420 }, qr/420/ ],
    [ 'a reset', { reset => $true }, qr/./ ],
    [ 'a reset in the middle', { reset => 'middle' }, qr/./ ],
    [ 'a hang', { hang => 30 }, qr/./ ],
    [ '403 REQUEST_LIMIT_EXCEEDED', { status => 403, errorCode => 'REQUEST_LIMIT_EXCEEDED',
        message => 'TotalRequests Limit exceeded.' }, qr/REQUEST_LIMIT_EXCEEDED|Limit exceeded/ ],
    [ '403 by permission', { status => 403, errorCode => 'INSUFFICIENT_ACCESS',
        message => 'insufficient access rights' }, qr/INSUFFICIENT_ACCESS|insufficient access/ ],
    [ 'QUERY_TIMEOUT', { status => 400, errorCode => 'QUERY_TIMEOUT',
        message => 'Your query request was running for too long.' }, qr/QUERY_TIMEOUT|too long/ ],
    [ 'a next page on another host', { next_url => 'http://127.0.0.1:1/services/data/v60.0/query/01g-200',
        pass => $true }, qr/./ ]);

my $n = 0;
for (@faults)
{
    my ($what, $action, $words) = @$_;
    my $mark = 'fault ' . ++$n;

    $org->change('Lead', { Title => "$mark {Id}" }, limit => 450);
    $org->change('Campaign', { Description => "$mark {Id}" });
    # Whatever asks for leads, in a request of its own or inside of another.
    $org->fault({ object => 'Lead', sub => $true }, $action, times => -1)
      if !grep { exists $action->{$_} } qw(reset hang truncate bad_json);
    $org->fault({ object => 'Lead' }, $action, times => -1);
    my ($status, $out, $err) = $node->psql('postgres', q{SELECT * FROM sync.now('acme')});
    my $failures = $node->safe_psql('postgres', q{
        SELECT code, message, hint FROM sync.failures WHERE server = 'acme'});
    like("$failures$err", $words, "$what is reported");
    isnt("$failures$err", '', "$what is a failure or an error");
    unlike("$failures$err", qr/[\n\r]\s*\^|<html/i, "$what: as one readable line");
    $org->no_faults;
    # Back-off must not hold up somebody who asks.
    $node->psql('postgres', q{SELECT * FROM sync.now('acme')});
    same_rows($node, $org, 'acme', 'Lead', "after $what");
    same_rows($node, $org, 'acme', 'Campaign', "after $what");
    is($node->safe_psql('postgres', q{SELECT count(*) FROM sync.failures WHERE server = 'acme'}), 0,
        "after $what: the failure is history");
}

# A failure of one object holds up no other, in the same cycle.
$org->change('Lead', { Title => 'alone {Id}' }, limit => 10);
$org->change('Campaign', { Description => 'alone {Id}' });
$org->fault({ object => 'Lead', sub => $true }, { status => 400, errorCode => 'QUERY_TIMEOUT',
    message => 'Your query request was running for too long.' }, times => -1);
$org->fault({ object => 'Lead' }, { status => 400, errorCode => 'QUERY_TIMEOUT',
    message => 'Your query request was running for too long.' }, times => -1);
$node->psql('postgres', q{SELECT * FROM sync.now('acme')});
same_rows($node, $org, 'acme', 'Campaign', 'beside a failing object');
is($node->safe_psql('postgres', q{SELECT state FROM sync.status WHERE object = 'Campaign'}), 'live',
    'which is live');
is($node->safe_psql('postgres', q{SELECT state FROM sync.status WHERE object = 'Lead'}), 'failing',
    'while the other is failing');
$org->no_faults;

# A very large answer is bounded.
$org->change('Lead', { Title => 'huge {Id}' }, limit => 10);
$org->fault({ kind => 'query' }, { huge_json => 100_000_000, pass => $true }, times => 1);
$org->fault({ kind => 'composite' }, { huge_json => 100_000_000, pass => $true }, times => 1);
$node->psql('postgres', q{SELECT * FROM sync.now('acme')});
$org->no_faults;
$node->psql('postgres', q{SELECT * FROM sync.now('acme')});
same_rows($node, $org, 'acme', 'Lead', 'after 100 MB of JSON');

# NUL in a value.
$org->change('Lead', { Title => 'nul {Id}' }, limit => 300);
$org->fault({ object => 'Lead' }, { nul => $true, pass => $true }, times => -1);
$node->psql('postgres', q{SELECT * FROM sync.now('acme')});
is($node->safe_psql('postgres', q{SELECT count(*) FROM acme.lead WHERE title LIKE 'nul %'}), 300,
    'a NUL in a value does not stop the rows');
$org->no_faults;

# The host is not there: nothing is lost, the org comes back.
$org->change('Lead', { Title => 'down {Id}' }, limit => 10);
$org->stop;
my $error = sql_error($node, q{SELECT * FROM sync.soql('acme', 'SELECT Id FROM Lead LIMIT 1')});
like($error, qr/ERROR:\s+08/, 'an org that is down is a connection failure');
like($error, qr/127\.0\.0\.1/, 'which names the host');
$org->restart;
$node->psql('postgres', q{SELECT * FROM sync.now('acme')});
same_rows($node, $org, 'acme', 'Lead', 'after the org was down');

# A name that does not resolve.
connect_org($node, $org, 'nowhere', server => [ login_url => 'https://no-such-host.invalid' ]);
$error = sql_error($node, q{SELECT * FROM sync.soql('nowhere', 'SELECT Id FROM Lead LIMIT 1')});
like($error, qr/ERROR:\s+08\w+.*no-such-host\.invalid/s, 'a name that does not resolve is named');
done_testing();
