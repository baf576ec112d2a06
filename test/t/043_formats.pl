
# What the Salesforce bank reads and writes, without a network: JSON, ids, SOQL,
# CSV cut anywhere, descriptions of objects.
#
# DESCRIBES may name a folder of describe bodies of real orgs, *_describe.json:
# they are then read too.

use strict;
use warnings;
use BankCheck;
use JSON::PP;
use SyncTest;
use Test::More;

my $node = bank_start('formats');

# JSON.
sub json
{
    my ($body, @path) = @_;
    return 'SELECT check_json(convert_to(' . quote($body) . ", 'UTF8'), '{"
      . join(',', @path) . "}')";
}

is(result(json('{"a":[{"b":300.0}]}', qw(a 0 b))), '300.0', 'numbers stay as they were sent');
is(result(json('{"a":1.0E17}', 'a')), '1.0E17', 'in every notation');
is(result(json('{"a":12345678901.123456789}', 'a')), '12345678901.123456789', 'unrounded');
is(result(json('{"a":"x\\u0000y\\\\u0000"}', 'a')), 'xy\\u0000',
    'NULs are taken out, and only those');
is(result(json('{"a":"\\ud83d\\ude00\\ud83d"}', 'a')), "\xF0\x9F\x98\x80\xEF\xBF\xBD",
    'surrogates, in pairs or alone');
is(result(json("{\"a\":true}\n ", 'a')), 'true', 'blanks at the end');
is(result(json($_)), 'no JSON', "no document: $_")
  for '{"a":1', '{"a":1}}', '', 'null', '"a"', '1', '{"a":01}', '<html>',
  ('[' x 100) . (']' x 100), '["\\u0\\u0000000"]', '[1\\u00002]', '[tr\\u0000ue]', '["\\u0000';

# Ids, as real orgs gave them.
for my $id (qw(00Q4C00000B5BugUAF 0120B000000NAH0QAO 00D1a000000H3O9EAK 0051a000000UGT8AAO
    01gC000006QJJ7fIAH 0019H00000H28uBQAR a00D0000008pQRAIA2 000000000000000AAA))
{
    is(result("SELECT check_id(left('$id', 15)), check_id('$id')"), "$id|$id", "checksum of $id");
}
is(result("SELECT check_id('$_')"), '', "no id: '$_'")
  for qw(00Q4C00000B5BugUAG 00Q4C00000B5BugU 00Q4C00000B5Bu 00Q4C00000B5Bu~ 00q4c00000b5buguaf
  00Q4C00000B5BugUAFx), '';

# SOQL.
is(result(q{SELECT check_soql_string(E'O\'Hara \\\\ "x"\n\t\x01é')}),
    q{'O\\'Hara \\\\ "x"\\n\\t\\u0001é'}, 'string literals');
is(result(q{SELECT check_soql_datetime('2026-01-31 11:00:00.9+01')}), '2026-01-31T10:00:00Z',
    'datetime literals');
like(error_of(qq{SELECT check_soql_datetime('$_')}), qr/^22008/, "no datetime of Salesforce: $_")
  for 'infinity', '1500-01-01';
is(result("SELECT check_parse_datetime('$_') = '2024-02-29 10:00:00+00'"), 't', "datetime $_")
  for '2024-02-29T10:00:00.000+0000', '2024-02-29T10:00:00.000Z', '2024-02-29T11:30:00+01:30',
  '2024-02-29T10:00:00Z';
like(error_of("SELECT check_parse_datetime('$_')"), qr/^22007/, "no datetime: $_")
  for '2023-02-29T10:00:00Z', '2024-02-29', '2024-02-29T10:00:00', '2024-02-29T10:00:00.Z',
  '2024-02-29T25:00:00Z', 'now', '2024-02-29T10:00:00Zx';
is(result(q{SELECT check_select('{Id,Owner.Name}', 'Lead', 'A = 1 OR B = 2', 'C = 3',
    'SystemModstamp, Id', 5)}),
    'SELECT Id, Owner.Name FROM Lead WHERE (A = 1 OR B = 2) AND (C = 3)'
      . ' ORDER BY SystemModstamp, Id LIMIT 5', 'a statement');
is(result("SELECT check_select('{Id}', 'Lead', NULL, NULL, NULL, 0)"), 'SELECT Id FROM Lead',
    'the shortest');
like(error_of("SELECT check_select(ARRAY['Id', " . quote($_) . "], 'Lead', NULL, NULL, NULL, 0)"),
    qr/^42602/, "no field: '$_'")
  for 'Id FROM User', "a'b", '', '1a', '(SELECT Id FROM Contacts)';

# CSV: the same rows and the same count, wherever two cuts fall.
my $header = qq{"Id","Owner.Name"\n};
my @pages = (
    [ qq{$header"1","a"\n"2","b"\n}, 2, qq{"1","a"\n"2","b"\n} ],
    [ qq{$header"1","a ""x""\n\n,b"\n"2",""\n}, 2, qq{"1","a ""x""\n\n,b"\n"2",""\n} ],
    [ qq{Id,OWNER.NAME\r\n"1","a"\r\n}, 1, qq{"1","a"\r\n} ],
    [ qq{\xEF\xBB\xBF$header"1","\xC3\xA9"}, 1, qq{"1","\xC3\xA9"} ],
    [ qq{$header"1","a\0b"\n\0"2","\0"\n}, 2, qq{"1","ab"\n"2",""\n} ],
    [ qq{$header"1","12345678\n1234567\n""""\n"\n}, 1, qq{"1","12345678\n1234567\n""""\n"\n} ],
    [ $header, 0, '' ],
    [ qq{"Id","Owner.Name"}, 0, '' ],
    [ '', 0, '' ]);

foreach my $page (@pages)
{
    my ($bytes, $records, $rows) = @$page;
    is(result("SELECT string_agg(r, ' AND ') FROM csv_results('{Id,Owner.Name}', "
              . bytes($bytes) . ') r'),
        "whole $records $rows", 'cut anywhere: ' . unpack 'H*', $bytes);
}
is(result("SELECT left(check_csv('{Id,Owner.Name}', " . bytes(qq{$header"1","a}) . ", '{}'), 5)"),
    'cut 0', 'a page that ends inside a value');
is(result(
        q{SELECT left(check_csv(ARRAY['a,b', 'c"d'], } . bytes(qq{"a,b","c""d"\n}) . q{, '{}'), 8)}),
    'whole 0 ', 'names are read as CSV');
like(error_of("SELECT check_csv('{Id,Name}', " . bytes($_) . ", '{}')"),
    qr/^HV\S+ \| result of Salesforce has other columns/, 'another header: ' . s/\n//r)
  for qq{"Name","Id"\n}, qq{"Id"\n}, qq{"Id","Name","X"\n}, qq{"1","2"\n},
  'Records not found for this query';

# Descriptions.
my ($true, $false) = (JSON::PP::true, JSON::PP::false);
my $describe = encode_json({ name => 'Thing__c', keyPrefix => 'a01', custom => $true, fields => [
    { name => 'Id', type => 'id', label => 'Id', length => 18 },
    { name => 'Price__c', type => 'currency', label => "Price \x{20AC}", precision => 18, scale => 2,
        nillable => $true, createable => $true, filterable => $false, referenceTo => [] },
    { name => 'Who__c', type => 'reference', label => "Who \x{1F600}", compoundFieldName => 'X',
        referenceTo => [ 'Contact', 'Lead' ] } ] });
is(result('SELECT check_describe(' . quote($describe) . ", 'price__C')"),
    "Thing__c a01 3 Price__c currency \"Price \xE2\x82\xAC\" 0/0/18/2 nillable createable refs 0",
    'a description');
is(result('SELECT check_describe(' . quote($describe) . ", 'Who__c')"),
    "Thing__c a01 3 Who__c reference \"Who \xF0\x9F\x98\x80\" 0/0/0/0 nillable filterable of X refs 2",
    'attributes that are missing');
like(error_of("SELECT check_describe('$_', 'x')"), qr/^22023/, "no description: $_")
  for '[]', '<html>';

foreach my $file (glob(($ENV{DESCRIBES} || '/nonexistent') . '/*_describe.json'))
{
    my $body = Org::slurp($file);
    my $json = decode_json($body);
    my $expected = join ' ', $json->{name} || '', $json->{keyPrefix} || '-',
      scalar @{ $json->{fields} || [] };

    is(result('SELECT check_describe(' . quote($body) . ", '')"), $expected, $file);
}

$node->stop;
done_testing();
