
# What was dropped is forgotten, by the word of the command that dropped it, and
# nothing else ever is: not because a look into the catalogs found nothing.

use strict;
use warnings FATAL => 'all';
use SyncTest;
use Test::More;
use WayOut;

my ($org, $node) = two_way(leads => 10, contacts => 6, accounts => 3, objects => [qw(Lead Contact Account)]);

hold($node);
sql($node, q{UPDATE acme.lead SET title = 'waits'; UPDATE acme.contact SET title = 'waits'});
my $waiting = sql($node, 'SELECT count(*) FROM sync.change');
sub state_of { return sql($node, q{SELECT string_agg(object, ' ' ORDER BY object) FROM sync.object}) . ' ' . sql($node, 'SELECT count(*) FROM sync.change') }
my $all = "Account Contact Lead $waiting";
is(state_of(), $all, 'changes wait');

# Tables, schemas, servers that have nothing to do with it
sql($node, $_) for 'CREATE TABLE public.t (a int); DROP TABLE public.t', 'CREATE TEMP TABLE t (a int); DROP TABLE t',
  'CREATE SCHEMA s CREATE TABLE t (a int); DROP SCHEMA s CASCADE',
  'CREATE SERVER other FOREIGN DATA WRAPPER salesforce; DROP SERVER other',
  'CREATE ROLE r; CREATE TABLE public.t (a int); ALTER TABLE public.t OWNER TO r; DROP OWNED BY r; DROP ROLE r';
is(state_of(), $all, 'nothing is forgotten for others');

# ... while our table does not show in pg_class, as other extensions have it
foreach my $hidden (q{DELETE FROM pg_class WHERE oid = 'acme.lead'::regclass},
    q{DELETE FROM pg_foreign_server WHERE srvname = 'acme'})
{
    my $left = sql($node, qq{BEGIN; CREATE TABLE public.t (a int); SET LOCAL allow_system_table_mods = on; $hidden;
        DROP TABLE public.t;
        SELECT (SELECT count(*) FROM sync.object) || ' ' || (SELECT count(*) FROM sync.change) || ' ' || (SELECT count(*) FROM sync.server);
        ROLLBACK});
    is($left, "3 $waiting 1", "hidden by $hidden: nothing is forgotten");
}
is(state_of(), $all, 'and nothing is afterwards');

# What is dropped
sql($node, 'BEGIN; DROP TABLE acme.lead; ROLLBACK');
is(state_of(), $all, 'a DROP that is rolled back');
sql($node, 'DROP TABLE acme.lead');
is(state_of(), 'Account Contact 6', 'a table, with what waits for it');
like(sql_error($node, 'CREATE ROLE r2; SET ROLE r2; DROP TABLE acme.contact'), qr/42501/, 'nobody else can');
sql($node, q{SELECT sync.disable('acme', 'Contact')});
is(state_of(), 'Account Contact 6', 'a disabled one keeps what waits');
sql($node, 'DROP TABLE acme.contact');
is(state_of(), 'Account 0', '... until it is dropped');
sql($node, 'DROP SERVER acme CASCADE');
is(sql($node, q{SELECT (SELECT count(*) FROM sync.object) + (SELECT count(*) FROM sync.server) + (SELECT count(*) FROM sync.log)}), 0,
    'a server, with all that is known of it');
sql($node, q{UPDATE acme.account SET name = 'mine'});
pass('its tables are ordinary ones');
connect_org($node, $org, 'acme', server => [ interval => '1 hour' ]);
sql($node, 'DROP TABLE acme.account');
enable_all($node, 'acme', 'Account');
sql($node, 'DROP SCHEMA acme CASCADE');
is(sql($node, 'SELECT count(*) FROM sync.object'), 0, 'a schema');
enable_all($node, 'acme', 'Account');
sql($node, 'CREATE ROLE owner; GRANT CREATE ON DATABASE postgres TO owner; ALTER SCHEMA acme OWNER TO owner; ALTER TABLE acme.account OWNER TO owner; DROP OWNED BY owner');
is(sql($node, 'SELECT count(*) FROM sync.object'), 0, 'what a role owns');
done_testing();
