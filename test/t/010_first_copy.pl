
# The first copy of the default set of objects and a custom one: every row and
# every field, types, keys and indexes, objects that Bulk refuses, rows that
# PostgreSQL refuses.

use strict;
use warnings;
use SyncTest;
use Test::More;

my $org = Org->start(leads => 1500);
my $node = sync_node('main');

# An org writes what it likes: names that SQL reads as keywords, quotes in
# labels and help texts.
$org->post('/schema', { add_field => {
    object => 'Lead', name => 'Select__c', type => 'string', length => 40,
    label => q{It's "quoted"; DROP TABLE x; --}, inlineHelpText => q{Don't \ panic 'here'} } });
my @leads = map { $_->{Id} } @{ $org->rows('SELECT Id FROM Lead LIMIT 3') };
$org->update('Lead', { Id => $leads[0], Select__c => q{a'b"c\\d,e} . "\nnext \x{1F600}" });

connect_org($node, $org, 'acme');
my @default = split /\n/, $node->safe_psql('postgres', q{
    SELECT sync.enable('acme');
    SELECT sync.enable('acme', ARRAY['machine__C', 'LeadStatus']);
    SELECT object FROM sync.status ORDER BY object});
my @objects = split ' ', $node->safe_psql('postgres',
    q{SELECT string_agg(object, ' ' ORDER BY object) FROM sync.status});
is("@objects", join(' ', sort qw(Account Campaign CampaignMember CampaignMemberStatus
    Contact Event Group Lead LeadStatus Machine__c Opportunity OpportunityContactRole
    Task User)), 'the default set, and objects by name in any case');
wait_live($node, 'acme');

# Everything that came.
same_rows($node, $org, 'acme', $_, 'after the first copy') for @objects;
is($node->safe_psql('postgres', 'SELECT count(*) FROM sync.failures'), 0, 'no failures');

# The shape of the tables.
my $types = $node->safe_psql('postgres', q{
    SELECT string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attname)
    FROM pg_attribute WHERE attrelid = 'acme.lead'::regclass
    AND attname IN ('id', 'name', 'isconverted', 'annualrevenue', 'numberofemployees',
                    'createddate', 'converteddate', 'latitude', 'status', 'ownerid')});
is($types, 'annualrevenue numeric, converteddate date, createddate timestamp with time zone, '
    . 'id text, isconverted boolean, latitude numeric, name text, numberofemployees integer, '
    . 'ownerid text, status text', 'types');
is($node->safe_psql('postgres', q{
    SELECT string_agg(attname, ' ' ORDER BY attname) FROM pg_attribute
    WHERE attrelid = 'acme.lead'::regclass AND attname IN ('address', 'street', 'city')}),
    'city street', 'a compound field stands for its parts');
is($node->safe_psql('postgres', q{
    SELECT collname FROM pg_attribute a JOIN pg_collation c ON c.oid = attcollation
    WHERE attrelid = 'acme.lead'::regclass AND attname = 'id'}), 'C', 'ids compare as bytes');
is($node->safe_psql('postgres', q{
    SELECT pg_get_constraintdef(oid) FROM pg_constraint
    WHERE conrelid = 'acme.lead'::regclass AND contype = 'p'}), 'PRIMARY KEY (id)', 'primary key');
is($node->safe_psql('postgres', q{
    SELECT attnotnull, pg_get_expr(adbin, adrelid) FROM pg_attribute
    JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
    WHERE attrelid = 'acme.lead'::regclass AND attname = 'isconverted'}), 't|false',
    'a boolean is never null');
is($node->safe_psql('postgres', q{
    SELECT count(*) FROM pg_index i JOIN pg_attribute a
    ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
    WHERE indrelid = 'acme.contact'::regclass AND attname IN ('accountid', 'ownerid')}), 2,
    'references to synced objects are indexed');
is($node->safe_psql('postgres', q{
    SELECT count(*) FROM pg_index i JOIN pg_attribute a
    ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
    WHERE indrelid = 'acme.contact'::regclass AND attname = 'individualid'}), 0,
    'references to others are not');
like($node->safe_psql('postgres', q{
    SELECT col_description(attrelid, attnum) FROM pg_attribute
    WHERE attrelid = 'acme.lead'::regclass AND attname = 'select__c'}),
    qr/It's "quoted"; DROP TABLE x; --/, 'the label is the comment');
is($node->safe_psql('postgres', qq{
    SELECT select__c FROM acme.lead WHERE id = '$leads[0]'}), q{a'b"c\\d,e} . "\nnext \xF0\x9F\x98\x80",
    'text with quotes, line breaks and an emoji');
is($node->safe_psql('postgres', q{
    SELECT count(DISTINCT relowner) FROM pg_class c
    WHERE relnamespace = 'acme'::regnamespace AND relkind = 'r' AND relowner =
        (SELECT srvowner FROM pg_foreign_server WHERE srvname = 'acme')}), 1,
    "tables belong to the server's owner");

# How it came: large objects by Bulk, the one that Bulk refuses by query.
my %kinds;
$kinds{ ($_->{object} || '') . ' ' . $_->{kind} }++ for $org->calls;
ok($kinds{'Lead bulk_query_results'}, 'leads came by Bulk');
ok(!$kinds{'Lead query'} || $kinds{'Lead query'} < 3, 'and not by query pages');
my @log = split /\n/, $node->safe_psql('postgres', q{
    SELECT new, failed, outcome FROM sync.log WHERE object = 'Lead' AND operation = 'copy'});
is_deeply(\@log, ['1500|0|done'], 'one line in the log counts them');

# Nobody else writes to tables that come from Salesforce only.
like(sql_error($node, "UPDATE acme.opportunity SET name = 'x'"), qr/ERROR: .*\n(.*\n)*HINT/,
    'a local write is refused with a hint');
like(sql_error($node, 'TRUNCATE acme.account'), qr/ERROR/, 'so is TRUNCATE');
like(sql_error($node, q{SET session_replication_role = replica;
    DELETE FROM acme.opportunity}), qr/ERROR/, 'also as a replica');

# What PostgreSQL cannot hold is set aside and named; the rest is there.
my $bad = $org->fault({ kind => 'bulk_query_results', object => 'Case' }, { invalid_utf8 => 1 });
$org->fault({ kind => 'bulk_query_results', object => 'Case' }, { invalid_utf8 => 1 }, times => -1);
$node->safe_psql('postgres', q{SELECT sync.enable('acme', ARRAY['Case'])});
wait_live($node, 'acme', objects => ['Case']);
my $cases = $org->count('Case');
is($node->safe_psql('postgres', 'SELECT count(*) FROM acme."case"'), $cases - 1,
    'all cases but the one with invalid UTF-8');
like($node->safe_psql('postgres', q{
    SELECT object, operation, record IS NOT NULL, code, message FROM sync.failures}),
    qr/^Case\|copy\|t\|22021\|/, 'which is named with the reason');
$org->no_faults;
wait_for($node, q{SELECT count(*) > 0 FROM sync.now('acme')}, 'a cycle after that');
done_testing();
