
# TLS is verified: with the CA of the org it works, without it does not; a
# client goes to the login host and the instance that login named, and nowhere
# else.

use strict;
use warnings;
use SyncTest;
use Test::More;

my $org = Org->start(leads => 100, 'login-port' => 0, args => ['--tls']);
my $node = sync_node('main');
my $query = q{SELECT * FROM sync.soql('%s', 'SELECT Id FROM Lead LIMIT 1')};

like($org->{info}{login}, qr/^https:/, 'the org speaks TLS');
isnt($org->{info}{login}, $org->{info}{instance}, 'login host and instance are two');
connect_org($node, $org, 'acme');
enable_all($node, 'acme', 'Lead');
same_rows($node, $org, 'acme', 'Lead', 'over TLS');

connect_org($node, $org, 'noca', server => [ ca_file => undef ]);
like(sql_error($node, sprintf $query, 'noca'), qr/ERROR:\s+08\w+.*\n(.*\n)*.*(certificate|SSL|TLS)/i,
    'an unknown CA is an error');
is($node->safe_psql('postgres', 'SELECT count(*) FROM sync.session WHERE access_token IS NOT NULL'),
    1, 'that leaves no session');

# The certificate must be for the host.
my $by_name = $org->{info}{login} =~ s/127\.0\.0\.1/127.0.0.2/r;
connect_org($node, $org, 'othername', server => [ login_url => $by_name ]);
like(sql_error($node, sprintf $query, 'othername'), qr/ERROR:\s+08/, 'so is another name');

# client_credentials is for My Domain only.
connect_org($node, $org, 'wronghost', auth => 'client_credentials');
like(sql_error($node, sprintf $query, 'wronghost'), qr/request not supported on this domain.*HINT.*My Domain/s,
    'the grant that needs My Domain says so');

# A redirect is not followed; a nextRecordsUrl to another host neither.
my $victim = Org->start(leads => 20);
$org->fault({ path => '/query' }, { status => 302,
    headers => { Location => "$victim->{info}{instance}/services/data" } });
$victim->calls_mark;
like(sql_error($node, sprintf $query, 'acme'), qr/302|redirect/i, 'a redirect is an error');
$org->post('/config', { page_size => 20 });
$org->fault({ kind => 'query' }, { next_url => "$victim->{info}{instance}/services/data/v60.0/query/01gX-20",
        pass => JSON::PP::true() });
like(sql_error($node, q{SELECT * FROM sync.soql('acme', 'SELECT Id FROM Lead')}), qr/ERROR/,
    'a next page on another host is an error');
is(scalar($victim->calls), 0, 'and nobody else was asked');

# So is an instance that is no https address.
$org->fault({ path => 'oauth2/token' }, { pass => JSON::PP::true(),
    replace => [ [ 'https://127[^"]*', 'http://example.com' ] ] }, times => -1);
$org->post('/expire');
like(sql_error($node, sprintf $query, 'acme'), qr/ERROR/, 'an instance without TLS is refused');
done_testing();
