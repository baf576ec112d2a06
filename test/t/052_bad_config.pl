
# What is asked for wrongly: each is an error of whoever asks, which names what
# is wrong and what to do, and changes nothing.

use strict;
use warnings;
use SyncTest;
use Test::More;

my $org = Org->start(leads => 100);
my $node = sync_node('main');

connect_org($node, $org, 'acme');

# What does not exist.
like(sql_error($node, q{SELECT sync.enable('nosuch')}), qr/ERROR:\s+42704.*nosuch.*HINT/s, 'unknown server');
$node->safe_psql('postgres', q{CREATE EXTENSION postgres_fdw;
    CREATE SERVER pg FOREIGN DATA WRAPPER postgres_fdw});
like(sql_error($node, q{SELECT sync.enable('pg')}), qr/ERROR:\s+42\w+.*pg/s, 'a server of another wrapper');
$node->safe_psql('postgres', q{CREATE SERVER nomapping FOREIGN DATA WRAPPER salesforce});
like(sql_error($node, q{SELECT sync.enable('nomapping')}), qr/user mapping.*HINT.*CREATE USER MAPPING/s,
    'no user mapping');
like(sql_error($node, q{SELECT sync.enable('acme', ARRAY['NoSuchObject__c'])}), qr/NoSuchObject__c/,
    'unknown object');
like(sql_error($node, q{SELECT sync.enable('acme', ARRAY['Lead', 'NoSuchObject__c'])}), qr/NoSuchObject__c/,
    'one unknown object of two');
is($node->safe_psql('postgres', q{SELECT count(*) FROM sync.object}), 0, 'enables neither');
like(sql_error($node, q{SELECT sync.enable('acme', ARRAY['Lead; DROP TABLE x'])}), qr/ERROR/, 'no name at all');
like(sql_error($node, q{SELECT sync.enable('acme', ARRAY[NULL]::text[])}), qr/ERROR/, 'null');
$node->safe_psql('postgres', q{SELECT sync.enable('acme', ARRAY[]::text[])});
is($node->safe_psql('postgres', q{SELECT count(*) FROM sync.object}), 0, 'nothing enables nothing');
$org->post('/fls', { username => $org->{info}{run_as}, object => 'Case', field => undef,
    visible => JSON::PP::false() });
like(sql_error($node, q{SELECT sync.enable('acme', ARRAY['Case'])}), qr/Case/, 'an object that the login cannot see');

# An object without SystemModstamp: another stamp, or refused with the reason.
my ($status, $out, $err) = $node->psql('postgres', q{SELECT sync.enable('acme', ARRAY['LeadHistory'])});
if ($status == 0)
{
    wait_live($node, 'acme', objects => ['LeadHistory'], what => 'an object without SystemModstamp');
    same_rows($node, $org, 'acme', 'LeadHistory', 'without SystemModstamp');
    my ($lead) = map { $_->{Id} } @{ $org->rows('SELECT Id FROM Lead LIMIT 1') };
    $org->dml(op => 'insert', object => 'LeadHistory', system => JSON::PP::true(),
        records => [ { LeadId => $lead, Field => 'created' } ]);
    sync_now($node, 'acme');
    same_rows($node, $org, 'acme', 'LeadHistory', 'after a new one');
}
else
{
    like($err, qr/SystemModstamp/, 'an object without SystemModstamp is refused with the reason');
}

# base64 fields are not copied, and sync.check says so.
$node->safe_psql('postgres', q{SELECT sync.enable('acme', ARRAY['Attachment'])});
wait_live($node, 'acme', objects => ['Attachment']);
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_attribute
    WHERE attrelid = 'acme.attachment'::regclass AND attname = 'body'}), 0, 'no column for a body');
like($node->safe_psql('postgres', q{SELECT item, detail FROM sync.check('acme')}), qr/Body/i,
    'which sync.check names');

# sync.check tells what is wrong before it is met.
my $check = $node->safe_psql('postgres', q{SELECT item, status, detail, hint FROM sync.check('acme')});
like($check, qr/\|ok\|/, 'check finds what is well');
is($node->safe_psql('postgres', q{
    SELECT count(*) FROM sync.check('acme') WHERE status NOT IN ('ok', 'warning', 'error')}), 0,
    'status is ok, warning or error');
is($node->safe_psql('postgres', q{
    SELECT count(*) FROM sync.check('acme') WHERE status <> 'ok' AND hint IS NULL}), 0,
    'each that is not has a hint');
connect_org($node, $org, 'badlogin', auth => 'client_credentials', mapping => [ client_secret => 'wrong' ]);
like($node->safe_psql('postgres', q{SELECT item, status, detail, hint FROM sync.check('badlogin')}),
    qr/\|error\|.*invalid_client/, 'a refused login is a line of check');

# Enabling twice is no error and changes nothing.
$node->safe_psql('postgres', q{SELECT sync.enable('acme', ARRAY['Lead'])});
wait_live($node, 'acme');
$org->calls_mark;
$node->safe_psql('postgres', q{SELECT sync.enable('acme', ARRAY['Lead'])});
is(scalar(grep { $_->{kind} eq 'bulk_query_create' } $org->calls), 0, 'enabling twice copies once');
same_rows($node, $org, 'acme', 'Lead', 'after enabling twice');

# Settings.
like(sql_error($node, qq{SELECT sync.set('acme', 'Lead', $_)}), qr/ERROR:.*\n(.*\n)*.*(HINT|DETAIL)/, "set $_")
  for q{'nosuch', 'x'}, q{'direction', 'sideways'}, q{'on_delete', 'explode'}, q{'interval', '-1 s'}, q{'where', 'Status ='}, q{'fields', 'Nonsense'}, q{'exclude', 'Nonsense'};
like(sql_error($node, q{SELECT sync.set('acme', 'Account', 'on_delete', 'mark')}), qr/Account/,
    'of an object that is not enabled');
like(sql_error($node, q{SELECT sync.disable('acme', 'Account')}), qr/Account/, 'disable one that is not');

# Durations that are none, or too long to reckon with, stand nowhere.  What is
# an interval at all has changed with 15 and with 17.
my $version = $node->safe_psql('postgres', 'SHOW server_version_num');
foreach my $duration ('178000000 years', '101 years', '-101 years', '2147483647 months', '2147483647 days',
    '1 mon -40 days', '0', $version >= 150000 ? '2562047788 hours' : (), $version >= 170000 ? 'infinity' : ())
{
    like(sql_error($node, "SELECT sync.set('acme', 'Lead', 'interval', '$duration')"), qr/22023.*"interval".*DETAIL/s,
        "an interval of $duration is refused");
    like(sql_error($node, "ALTER SERVER acme OPTIONS (ADD keep_log '$duration')"), qr/22023.*"keep_log".*DETAIL/s,
        'for a server, too');
}
$node->safe_psql('postgres', "SELECT sync.set('acme', 'Lead', 'interval', $_)") for q{'100 years'}, q{'1 mon -20 days'}, 'NULL';
pass('others are taken, and taken back');

# Disable keeps the table, enabling again takes it up.
$node->safe_psql('postgres', q{SELECT sync.disable('acme', 'Lead')});
is($node->safe_psql('postgres', 'SELECT count(*) FROM acme.lead'), 100, 'disabled, the table stays');
$node->safe_psql('postgres', q{UPDATE acme.lead SET title = 'mine' WHERE id = (SELECT min(id) FROM acme.lead)});
pass('as an ordinary one');
$org->insert('Lead', { LastName => 'Meanwhile', Company => 'M' });
($status, $out, $err) = $node->psql('postgres', q{SELECT sync.enable('acme', ARRAY['Lead'])});
if ($status == 0)
{
    wait_live($node, 'acme', objects => ['Lead'], what => 'enabled again');
    sync_now($node, 'acme');
    same_rows($node, $org, 'acme', 'Lead', 'enabled again');
}
else
{
    like($err, qr/42P07.*HINT/s, 'enabling again over the old table says what to do');
}

# Renaming the server, and names with quotes.
$node->safe_psql('postgres', 'ALTER SERVER acme RENAME TO "New ""Name"""');
$org->insert('Lead', { LastName => 'Renamed', Company => 'M' });
wait_for($node, q{SELECT count(*) > 0 FROM sync.status WHERE server = 'New "Name"'}, 'a rename is followed');
$node->psql('postgres', q{SELECT count(*) FROM sync.now('New "Name"')});
is($node->safe_psql('postgres', q{SELECT count(*) FROM sync.log WHERE server = 'New "Name"' AND operation = 'pull'
    AND outcome = 'done'}) > 0 ? 1 : 0, 1, 'under its new name it goes on');

# A name that goes over to another server: tables stay with the server that
# they were enabled for, whether the event trigger sees it or not.
sub servers_of
{
    return $node->safe_psql('postgres', q{
        SELECT string_agg(format('%s: %s', f.srvname, s.schema), ', ' ORDER BY s.schema)
        FROM sync.server s JOIN pg_foreign_server f ON f.oid = s.serverid AND f.srvname = s.server
        WHERE EXISTS (SELECT FROM sync.object o WHERE o.server = s.server)});
}

my $second = Org->start(leads => 5);
connect_org($node, $second, 'second');
enable_all($node, 'second', 'Lead');
$node->safe_psql('postgres', 'ALTER SERVER "New ""Name""" RENAME TO acme');
is(servers_of(), 'acme: acme, second: second', 'two servers, each with its tables');
$node->safe_psql('postgres', q{
    BEGIN; ALTER SERVER acme RENAME TO old; CREATE SERVER acme FOREIGN DATA WRAPPER salesforce; COMMIT;
    SELECT sync.pause('old')});
is(servers_of(), 'old: acme, second: second', 'a server that takes over a name takes over no tables');
like(sql_error($node, q{SELECT sync.pause('acme')}), qr/nothing of server "acme" is synced/, 'nothing of it is synced');
$node->safe_psql('postgres', q{
    DROP SERVER acme;
    BEGIN; ALTER SERVER old RENAME TO swap; ALTER SERVER second RENAME TO old; ALTER SERVER swap RENAME TO second; COMMIT;
    SELECT sync.resume('second')});
is(servers_of(), 'second: acme, old: second', 'so it is with names that were swapped');
$node->safe_psql('postgres', q{
    SELECT sync.pause('old');
    SET session_replication_role = replica;
    BEGIN; ALTER SERVER old RENAME TO older; CREATE SERVER old FOREIGN DATA WRAPPER salesforce; COMMIT;
    RESET session_replication_role;
    SELECT sync.pause('older')});
is(servers_of(), 'second: acme, older: second', 'and where no event trigger saw it');
sync_now($node, 'second');
same_rows($node, $org, 'acme', 'Lead', 'under another name');
done_testing();
