
# pg_dump and restore: configuration and cursors come along, the copy starts
# paused, and goes on when told to.

use strict;
use warnings;
use SyncTest;
use Test::More;

my $org = Org->start(leads => 300);
my $node = sync_node('main');
my $dump = "$ENV{TESTDATADIR}/sync.dump";

connect_org($node, $org, 'acme', server => [ interval => '1 s' ]);
enable_all($node, 'acme', 'Lead', 'Account');
$node->safe_psql('postgres', q{SELECT sync.set('acme', 'Lead', 'on_delete', 'mark')});
$node->command_ok([ 'pg_dump', '-Fc', '-f', $dump, $node->connstr('postgres') ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE copy');
$org->insert('Lead', { LastName => 'Since', Company => 'S' });
$org->post('/clock', { step_seconds => 61 });
$org->calls_mark;
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', $node->connstr('copy'), $dump ], 'pg_restore');

wait_for($node, q{SELECT count(*) = 1 FROM acme.lead WHERE lastname = 'Since'}, 'the original goes on');
wait_for($node, q{SELECT bool_and(state = 'paused') FROM sync.status}, 'the copy is paused', db => 'copy');
is($node->safe_psql('copy', q{SELECT count(*) FROM acme.lead}), 300, 'with the rows of the dump');
is($node->safe_psql('copy', q{SELECT count(*) FROM sync.session}), 0, 'and no session');
is($node->safe_psql('copy', q{
    SELECT count(*) FROM pg_stat_activity WHERE datname = 'copy' AND backend_type LIKE 'sync%'
    AND state IS DISTINCT FROM 'idle' AND wait_event = 'SyncHttp'}), 0, 'it calls nobody');
like(sql_error($node, q{DELETE FROM acme.account}, db => 'copy'), qr/ERROR/, 'its tables are guarded');

$org->calls_mark;
$node->safe_psql('copy', q{SELECT sync.resume('acme')});
wait_for($node, q{SELECT count(*) = 1 FROM acme.lead WHERE lastname = 'Since'},
    'resumed, the copy goes on', db => 'copy');
is(scalar(grep { $_->{kind} eq 'bulk_query_create' } $org->calls), 0, 'from its cursor, without a new copy');
same_rows($node, $org, 'acme', 'Lead', 'in the copy', db => 'copy', fields => [ 'LastName', 'Title' ]);
is($node->safe_psql('copy', q{SELECT on_delete FROM sync.object WHERE object = 'Lead'}), 'mark',
    'settings came along');

# The same into another cluster, the original gone: paused as well.
my $other = PostgreSQL::Test::Cluster->new('other');
$other->init(extra => [ '--encoding=UTF8', '--no-locale' ]);
$other->start;
$node->stop;
$other->command_ok([ 'pg_restore', '--exit-on-error', '-d', $other->connstr('postgres'), $dump ],
    'pg_restore elsewhere');
$org->calls_mark;
wait_for($other, q{SELECT bool_and(state = 'paused') FROM sync.status}, 'paused there too');
is(scalar($org->calls), 0, 'without having called the org');
done_testing();
