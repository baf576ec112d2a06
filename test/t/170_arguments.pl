
# What is called with arguments that cannot be meant says so at once, before the
# org is asked or anything is written; what can only mean one thing is done.

use strict;
use warnings;
use JSON::PP;
use SyncTest;
use Test::More;

my $org = Org->start(leads => 10, accounts => 3, contacts => 5);
my $node = sync_node('main');
my $db = 'postgres';

connect_org($node, $org, 'acme', server => [ interval => '1 hour' ]);

# A null, as of a sub-select that found nothing, does not mean "do nothing".
like(sql_error($node, "SELECT $_"), qr/ERROR:\s+22004: the server must be named/, '... for want of a server')
  for 'sync.check(NULL)', 'sync.enable(NULL)', "sync.enable(NULL, 'Lead')", "sync.set(NULL, 'Lead', 'where', NULL)",
  'sync.disable(NULL)', "sync.guard(NULL, 'Lead')", 'sync.pause(NULL)', 'sync.resume(NULL)',
  'sync.retry(NULL)', 'sync.now(NULL)', "sync.soql(NULL, 'SELECT Id FROM Lead')",
  "sync.describe(NULL, 'Lead')", 'sync.limits(NULL)', 'sync.objects(NULL)';
like(sql_error($node, "SELECT $_->[0]"), qr/ERROR:\s+22004: the $_->[1] must be named/, "... for want of $_->[1]")
  for [ "sync.guard('acme', NULL)", 'object' ], [ "sync.soql('acme', NULL)", 'query' ],
  [ "sync.describe('acme', NULL)", 'object' ], [ 'sync.discard(NULL)', 'change' ],
  [ "sync.set('acme', NULL, 'where', NULL)", 'object' ], [ "sync.set('acme', 'Lead', NULL, NULL)", 'option' ];

# Options of a server.
like(sql_error($node, "CREATE SERVER wrong FOREIGN DATA WRAPPER salesforce OPTIONS (login_url '$_')"),
    qr/ERROR:\s+22023: invalid value for option "login_url".*DETAIL/s, 'an address that is no login host')
  for 'https://acme.my.salesforce.com/services/oauth2/token', 'https://login.salesforce.com/?un=x',
  'https://login.salesforce.com/#x', 'https://acme.lightning.force.com', 'login.salesforce.com';
like(sql_error($node, "CREATE SERVER wrong FOREIGN DATA WRAPPER salesforce OPTIONS (api_budget '$_')"),
    qr/ERROR:\s+22023: invalid value for option "api_budget".*DETAIL.*percent/s, 'a share that is none')
  for '0.5', '1', '0x50', 'inf', '1e1', '-5', '0 %', '101';
$node->safe_psql($db, "CREATE SERVER right_one FOREIGN DATA WRAPPER salesforce
    OPTIONS (api_budget '0.5 %', login_url 'https://login.salesforce.com/')");
pass('half a percent, and a slash behind the host, are understood');

# Nothing of the wrapper can be a foreign table, which nobody could read.
like(sql_error($node, $_), qr/ERROR:\s+0A000:.*no foreign tables.*HINT.*sync\.enable/s, 'no foreign tables')
  for 'CREATE FOREIGN TABLE lead (id text) SERVER acme',
  q{CREATE FOREIGN TABLE lead (id text) SERVER acme OPTIONS (object 'Lead')};

# Where tables would go.
like(sql_error($node, "SELECT sync.enable('acme', ARRAY['Lead'], '$_')"),
    qr/ERROR:\s+42939:.*"$_".*HINT/s, "not in $_")
  for 'pg_catalog', 'pg_toast', 'pg_temp', 'pg_mine', 'information_schema', 'sync';
like(sql_error($node, "SELECT sync.enable('acme', ARRAY['Lead'], '')"), qr/ERROR:\s+3F000/, 'nor in one without a name');
$node->safe_psql($db, 'CREATE SERVER sync FOREIGN DATA WRAPPER salesforce');
like(sql_error($node, q{SELECT sync.enable('sync')}), qr/ERROR:\s+42939:.*HINT:.*schema/s,
    'a server of that name needs a schema');
is($node->safe_psql($db, 'SELECT count(*) FROM sync.server'), 0, 'and nothing is known of either');

# What there is.
is($node->safe_psql($db, q{
    SELECT object, label, custom, writable, "table" FROM sync.objects('acme') WHERE object IN ('Lead', 'Machine__c')}),
    "Lead|Lead|f|t|\nMachine__c|Machine|t|t|", 'the objects that can be enabled');
$node->safe_psql($db, "CREATE ROLE analyst; GRANT EXECUTE ON FUNCTION sync.objects TO analyst");
like(sql_error($node, q{SET ROLE analyst; SELECT sync.objects('acme')}), qr/ERROR:\s+42501/, 'not told to all');
$node->safe_psql($db, q{GRANT USAGE ON FOREIGN SERVER acme TO analyst});
cmp_ok($node->safe_psql($db, q{SET ROLE analyst; SELECT count(*) FROM sync.objects('acme')}), '>', 10,
    'but to those who may use the server');

# Objects by one name, by several, and as array literals.
is($node->safe_psql($db, q{SELECT sync.enable('acme', 'case')}), 'acme."case"', 'one object by its name');
is($node->safe_psql($db, q{SELECT sync.enable('acme', 'Lead, Account')}), "acme.lead\nacme.account", 'several');
is($node->safe_psql($db, q{SELECT sync.enable('acme', '{Contact,"Campaign"}')}), "acme.contact\nacme.campaign",
    'a literal of an array');
is($node->safe_psql($db, q{SELECT sync.enable('acme', ARRAY['User'], 'acme')}), 'acme."user"', 'an array');
is($node->safe_psql($db, q{SELECT sync.enable('acme', '{}')}), '', 'an empty one');
is($node->safe_psql($db, q{SELECT sync.enable('acme', objects => '{Task}')}), 'acme.task', 'by name of the argument');
like(sql_error($node, q{SELECT sync.enable('acme', ' ')}), qr/ERROR:\s+22023/, 'no name');
like(sql_error($node, q{SELECT sync.enable('acme', 'Nonsense')}), qr/ERROR:\s+HV00R.*Nonsense/, 'an unknown one');
wait_live($node, 'acme');
is($node->safe_psql($db, q{SELECT string_agg(object || ' ' || "table", ', ' ORDER BY object)
    FROM sync.objects('acme') WHERE "table" IS NOT NULL}),
    'Account acme.account, Campaign acme.campaign, Case acme."case", Contact acme.contact, Lead acme.lead,'
      . ' Task acme.task, User acme."user"', 'sync.objects says which are synced');
cmp_ok($node->safe_psql($db, q{SELECT count(*) FROM sync.enable('acme', NULL)}), '>', 2, 'the default set');

# Fields that cannot be left out.
like(sql_error($node, "SELECT sync.set('acme', '$_->[0]', 'exclude', '$_->[1]')"),
    qr/ERROR:\s+22023: invalid value for option "exclude".*DETAIL:.*$_->[2]/s, "$_->[1] of $_->[0]")
  for [ 'Account', 'id', 'id' ], [ 'Account', 'Fax, SystemModstamp', 'SystemModstamp' ],
  [ 'Lead', 'IsDeleted', 'IsDeleted' ], [ 'Lead', 'Phone,company', 'Company' ], [ 'Lead', 'LastName', 'LastName' ];
is($node->safe_psql($db, q{SELECT count(*) FROM sync.object WHERE exclude <> '{}'}), 0, '... stay');
$node->safe_psql($db, q{SELECT sync.set('acme', 'Account', 'exclude', 'Name')});
pass('where nothing goes out, what Salesforce requires may be left out');
wait_live($node, 'acme');
my ($status, undef, $err) = $node->psql($db, q{SELECT sync.set('acme', 'Lead', 'fields', 'LastName, Email')});
is($status, 0, 'a list of fields is taken');
like($err, qr/WARNING:.*Lead.*Company/, 'with a warning of what it lacks');
like($node->safe_psql($db, q{SELECT item, status, detail FROM sync.check('acme')}),
    qr/^object Lead\|warning\|.*Company/m, 'and sync.check tells of it');

# Both forms of sync.enable are granted, as the manual has it.
my ($grant) = PostgreSQL::Test::Utils::slurp_file("$ENV{TOP}/README.md") =~ /(GRANT EXECUTE ON FUNCTION sync\.check.*?) TO sales_sync;/s;
$node->safe_psql($db, "$grant TO analyst");
is($node->safe_psql($db, q{SELECT count(*) FROM pg_proc WHERE pronamespace = 'sync'::regnamespace AND proname = 'enable'
    AND has_function_privilege('analyst', oid, 'EXECUTE')}), 2, "the manual's GRANT");

done_testing();
