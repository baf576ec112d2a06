
# Another org behind the same server: a sandbox that was refreshed, another
# login_url.  Not a row moves until somebody says that it is meant.

use strict;
use warnings;
use SyncTest;
use WayOut;
use Test::More;

my $org = Org->start(leads => 60, contacts => 30, accounts => 10);
my $other = Org->start(leads => 40, contacts => 50, accounts => 12, seed => 77);
my $node = sync_node('main');
my @objects = qw(Account Contact Lead);

$other->post('/config', { org_id => '00D9Z000000000AUA2' });
connect_org($node, $org, 'acme', server => [ interval => '1 hour' ]);
enable_all($node, 'acme', @objects);

sub error_of_server { return sql($node, q{SELECT DISTINCT coalesce(last_error, '') FROM sync.status}) }
sub states { return sql($node, q{SELECT string_agg(DISTINCT state, ',') FROM sync.status}) }
sub answered
{
    my ($org) = @_;
    return join ' ', map { "$_->{kind} $_->{path}" }
      grep { $_->{kind} !~ /^(oauth|versions|identity)$/ && $_->{status} != 401 } $org->calls;
}
sub lead_to
{
    my ($where) = @_;
    my %login = SyncTest::credentials($where, 'jwt');

    sql($node, 'ALTER USER MAPPING FOR CURRENT_USER SERVER acme OPTIONS ('
          . join(', ', map { "SET $_ '$login{$_}'" } sort keys %login) . ')');
    return sql($node, "ALTER SERVER acme OPTIONS (SET login_url '$where->{info}{login}')");
}
my $changed = qr/leads to org 00D9Z000000000AUA2 now, not to 00D/;
my ($lead) = map { $_->{Id} } @{ $org->rows('SELECT Id FROM Lead WHERE IsConverted = false ORDER BY Id LIMIT 1') };
my $before = sql($node, 'SELECT md5(string_agg(l::text, chr(10) ORDER BY id)) FROM acme.account l');

# Sandbox refreshed: the same address, the same ids
hold($node);
sql($node, qq{UPDATE acme.lead SET title = 'For the first' WHERE id = '$lead'; INSERT INTO acme.lead (lastname, company) VALUES ('New', 'For the first')});
my $listener = $node->background_psql('postgres', on_error_die => 1);
$listener->query_safe('LISTEN sync');
$org->post('/config', { org_id => '00D9Z000000000AUA2' });
$org->post('/expire');
$org->change('Account', { Description => 'of the other' }, limit => 3);
$org->calls_mark;
my $log = -s $node->logfile;
sql($node, q{SELECT sync.resume('acme')});
wait_until('a refreshed sandbox: the server stops', sub { error_of_server() =~ $changed });
is(states(), 'stalled', '... and says so');
$node->psql('postgres', q{SELECT * FROM sync.now('acme')});
# A question with the token that has expired is how it was learnt.
is(answered($org), '', '... nothing was asked or written');
is(sql($node, 'SELECT count(*) FROM sync.outbox'), 2, '... what waits, waits');
is(sql($node, 'SELECT md5(string_agg(l::text, chr(10) ORDER BY id)) FROM acme.account l'), $before, '... the tables are as they were');
ok($node->wait_for_log($changed, $log), '... the log has it');
my $heard = '';
wait_until('... listeners are told', sub { $heard .= $listener->query('SELECT 1'); $heard =~ /"failure".*"28000"/ });
$listener->quit;
my $check = sql($node, q{SELECT string_agg(c::text, chr(10)) FROM sync.check('acme') c});
like($check, qr/\(org,error,"the login leads to org 00D9Z000000000AUA2.*accept_org => true/, '... sync.check, too');
is(sql($node, q{SELECT count(*) FROM sync.soql('acme', 'SELECT Id FROM Account LIMIT 1')}), 1, 'questions of one\'s own are answered');

# It was a mistake: all goes on by itself
$org->post('/config', { org_id => undef });
$org->post('/expire');
sql($node, q{SELECT sync.resume('acme')});
went_out($node, 'put back: what waited goes out');
is(record_of($org, 'Lead', $lead, 'Title')->{Title}, 'For the first', '... to its own org');
is(states(), 'live', '... and all is well');

# Another login_url, and meant so
hold($node);
sql($node, qq{UPDATE acme.lead SET title = 'Again' WHERE id = '$lead'; INSERT INTO acme.contact (lastname) VALUES ('Newer')});
lead_to($other);
$other->calls_mark;
sql($node, q{SELECT sync.resume('acme')});
wait_until('another login_url: the server stops', sub { error_of_server() =~ $changed });
is(answered($other), '', '... nothing was asked or written');
like(sql_error($node, q{SELECT sync.enable('acme', '{Campaign}')}), $changed, '... nothing can be enabled');
sql($node, q{SELECT sync.resume('acme', accept_org => true)});
wait_live($node, 'acme');
same_rows($node, $other, 'acme', 'Account', 'the tables are of the new org');
is(sql($node, 'SELECT count(*) FROM acme.lead'), 40, '... all of them');
is(sql($node, q{SELECT string_agg(operation || ' ' || code, ',' ORDER BY record) FROM sync.failures WHERE code <> '28000'}), 'push ANOTHER_ORG,push ANOTHER_ORG', 'what waited is set aside, and listed');
is(scalar(@{ $other->rows("SELECT Id FROM Contact WHERE LastName = 'Newer'") }), 0, '... not sent');
sql($node, q{SELECT sync.retry('acme', 'Contact')});
wait_until('... but when asked for', sub { scalar(@{ $other->rows("SELECT Id FROM Contact WHERE LastName = 'Newer'") }) == 1 });
sql($node, q{UPDATE acme.lead SET title = 'On' WHERE id = (SELECT min(id) FROM acme.lead WHERE NOT isconverted AND id NOT IN (SELECT record FROM sync.outbox))});
went_out($node, 'changes go to the new org from now on');
is(scalar(@{ $other->rows("SELECT Id FROM Lead WHERE Title = 'On'") }), 1, '... and are there');
is(scalar(@{ $org->rows("SELECT Id FROM Lead WHERE Title = 'On'") }), 0, '... not in the old one');

done_testing();
