
# What is refused where it is written: by a message that drivers can take apart, and
# only what Salesforce would refuse or lose.

use strict;
use warnings;
use SyncTest;
use Test::More;
use WayOut;

my ($org, $node) = two_way(leads => 20, accounts => 5, contacts => 10, objects => [qw(Lead Contact Campaign Account)]);
my ($lead) = split /\n/, sql($node, q{SELECT id FROM acme.lead WHERE NOT isconverted ORDER BY id});
my ($contact) = split /\n/, sql($node, 'SELECT id FROM acme.contact ORDER BY id');

#
# '' where nothing is stored
#

hold($node);
sql($node, qq{UPDATE acme.lead SET title = NULL WHERE id = '$lead'});
let_go($node);
sync_now($node, 'acme');
hold($node);
my @read_only = split /\n/, sql($node, q{SELECT f.attname FROM sync.field f WHERE f.object = 'Lead'
    AND NOT f.updateable AND NOT f.createable AND f.atttype = 'text'::regtype AND f.attname <> 'id'});
my ($empty) = grep { sql($node, qq{SELECT $_ IS NULL FROM acme.lead WHERE id = '$lead'}) eq 't' } @read_only;
ok(defined $empty, "a read-only column without a value: $empty");
sql($node, qq{UPDATE acme.lead SET title = '', $empty = '' WHERE id = '$lead'});
is(outbox($node), '', 'an empty text in the place of none is no change, in a read-only column either');
sql($node, qq{UPDATE acme.lead SET title = NULL, $empty = NULL WHERE id = '$lead'});
is(outbox($node), '', '... nor the other way round');
sql($node, qq{UPDATE acme.lead SET title = 'x' WHERE id = '$lead'});
sql($node, qq{UPDATE acme.lead SET title = '', $empty = '' WHERE id = '$lead'});
is(outbox($node), qq{update {"title": [null, "x"]}\nupdate {"title": ["x", ""]}}, '... in the place of a value it is one');
sql($node, qq{INSERT INTO acme.lead (lastname, company, title, $empty) VALUES ('Empty', 'E', '', '')});
is(outbox($node, "operation = 'insert'"), q{insert {"company": [null, "E"], "lastname": [null, "Empty"]}},
    'in a new row it is as if it were not given');
like(sql_error($node, q{INSERT INTO acme.lead (lastname, company) VALUES ('', 'E')}), qr/23502/, '... but where a value is required');
let_go($node);
is(record_of($org, 'Lead', $lead, 'Title')->{Title}, undef, 'and so it arrives');

#
# Dates that Salesforce cannot hold
#

sub refused
{
    my ($statement, $sqlstate, $table, $column, $words) = @_;
    my $error = sql_error($node, $statement);

    like($error, qr/ERROR:\s+$sqlstate: $words/, $words);
    like($error, qr/SCHEMA NAME:\s+acme\n.*TABLE NAME:\s+$table\n/s, '... of which table');
    like($error, qr/COLUMN NAME:\s+$column\n/, "... and column $column") if defined $column;
    unlike($error, qr/COLUMN NAME/, '... and of no column') if !defined $column;
    return;
}

hold($node);
refused(qq{UPDATE acme.contact SET birthdate = '$_' WHERE id = '$contact'}, '22008', 'contact', 'birthdate', 'date out of range')
  for '0001-01-01 BC', '4713-11-24 BC', '0001-01-01', '1699-12-31', '4001-01-01', '9999-12-31', '5874897-12-31', 'infinity', '-infinity';
sql($node, qq{UPDATE acme.contact SET birthdate = '$_' WHERE id = '$contact'}) for '1700-01-01', '4000-12-31';
like(outbox($node), qr/"1700-01-01".*"4000-12-31"/s, 'the first and the last day that it has');
sql($node, q{SELECT sync.discard(seq) FROM sync.outbox});
$org->post('/schema', { add_field => { object => 'Lead', name => "$_->[0]", type => $_->[1] } }) for [ 'At__c', 'datetime' ], [ 'Time__c', 'time' ];
let_go($node);
sql($node, q{UPDATE sync.progress SET described = now() - interval '1 day'});
sync_now($node, 'acme');
is(sql($node, q{SELECT count(*) FROM pg_attribute WHERE attrelid = 'acme.lead'::regclass AND attname IN ('at__c', 'time__c')}), 2, 'fields for moments and times');
hold($node);
refused(qq{UPDATE acme.lead SET at__c = '$_' WHERE id = '$lead'}, '22008', 'lead', 'at__c', 'timestamp out of range')
  for '0044-03-15 12:00 BC', '1699-12-31 23:59:59.999+00', '4000-12-31 00:00:00.001+00', '4001-01-01', 'infinity', '-infinity';
refused(qq{UPDATE acme.lead SET time__c = '24:00' WHERE id = '$lead'}, '22008', 'lead', 'time__c', 'time out of range');
sql($node, qq{UPDATE acme.lead SET at__c = '1700-01-01 00:00+00', time__c = '23:59:59.9999' WHERE id = '$lead'});
sql($node, qq{UPDATE acme.lead SET at__c = '4000-12-31 00:00+00' WHERE id = '$lead'});
let_go($node);
my $record = record_of($org, 'Lead', $lead, 'At__c', 'Time__c');
like($record->{At__c}, qr/^4000-12-31T00:00:00/, 'the last moment arrives');
like($record->{Time__c}, qr/^23:59:59/, '... and the last time of a day');

# What got in past the triggers can be put right.
hold($node);
sql($node, qq{SET session_replication_role = replica; ALTER TABLE acme.lead DISABLE TRIGGER sync_capture;
    UPDATE acme.lead SET at__c = '0044-03-15 12:00 BC' WHERE id = '$lead'; ALTER TABLE acme.lead ENABLE ALWAYS TRIGGER sync_capture});
sql($node, qq{UPDATE acme.lead SET at__c = '2026-03-15 12:00+00' WHERE id = '$lead'});
like(outbox($node), qr/BC", "2026-03-15T12:00:00.000Z"/, 'an old value is not refused');
let_go($node);
like(record_of($org, 'Lead', $lead, 'At__c')->{At__c}, qr/^2026-03-15T12/, '... and the new one arrives');

#
# Every refusal says of what it is
#

refused(qq{UPDATE acme.lead SET $empty = 'x' WHERE id = '$lead'}, '42501', 'lead', $empty, 'column');
refused(qq{INSERT INTO acme.lead (lastname, company, $empty) VALUES ('a', 'b', 'x')}, '42501', 'lead', $empty, 'column');
refused(q{INSERT INTO acme.lead (lastname) VALUES ('a')}, '23502', 'lead', 'company', 'column "company"');
refused(qq{UPDATE acme.lead SET lastname = '' WHERE id = '$lead'}, '23502', 'lead', 'lastname', 'column "lastname"');
refused(qq{UPDATE acme.lead SET firstname = repeat('x', 41) WHERE id = '$lead'}, '22001', 'lead', 'firstname', 'value too long');
refused(qq{UPDATE acme.lead SET annualrevenue = 1e18 WHERE id = '$lead'}, '22003', 'lead', 'annualrevenue', 'value out of range');
refused(qq{UPDATE acme.lead SET id = '00Q000000000000AAA' WHERE id = '$lead'}, '42501', 'lead', 'id', 'column "id"');
refused(qq{UPDATE acme.lead SET local_id = 1 WHERE id = '$lead'}, '42501', 'lead', 'local_id', 'column "local_id"');
refused(q{INSERT INTO acme.lead (id, lastname, company) VALUES ('x', 'a', 'b')}, '42501', 'lead', 'id', 'column "id"');
refused('TRUNCATE acme.lead', '55000', 'lead', undef, 'table "acme.lead" cannot be truncated');
refused(q{DELETE FROM acme.account}, '55000', 'account', undef, 'table "acme.account" is kept');
sql($node, 'ALTER TABLE acme.campaign RENAME COLUMN description TO described');
refused(q{INSERT INTO acme.campaign (name) VALUES ('x')}, '55000', 'campaign', 'description', 'table "acme.campaign" was altered');
sql($node, 'ALTER TABLE acme.campaign RENAME COLUMN described TO description');

#
# Salesforce's own words
#

like(sql_error($node, q{SELECT sync.soql('acme', 'SELECT Nonsense FROM Lead')}),
    qr/^psql:\S+ ERROR:\s+\w+: [^\n]*No such column 'Nonsense'[^\n]*\nDETAIL:  Salesforce answered 400 INVALID_FIELD\.\n/m,
    'stand in the primary message');
like(sql_error($node, q{SELECT sync.set('acme', 'Lead', 'where', 'Nonsense = 1')}), qr/ERROR:[^\n]*Nonsense[^\n]*\nDETAIL/, '... of every call');
$org->fault({ kind => 'oauth' }, { status => 400, error => 'invalid_grant', error_description => 'user is a teapot' }, times => -1);
$org->post('/expire');
like(sql_error($node, q{SELECT sync.soql('acme', 'SELECT Id FROM Lead')}), qr/ERROR:[^\n]*user is a teapot\nDETAIL:  Salesforce answered 400 invalid_grant/, '... of a login');
my ($status, undef, $err) = $node->psql('postgres', q{SELECT sync.now('acme')});
like($err, qr/ERROR:[^\n]*user is a teapot/, '... by sync.now, too');
is(sql($node, q{SELECT count(*) FROM sync.log WHERE outcome ~ 'user is a teapot$'}), 1, '... and in the log');

done_testing();
