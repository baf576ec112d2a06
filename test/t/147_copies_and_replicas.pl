
# Writing in a copy that pg_dump made while changes waited; and DDL of sessions
# that replicate (session_replication_role).

use strict;
use warnings FATAL => 'all';
use SyncTest;
use PostgreSQL::Test::Utils;
use Test::More;
use WayOut;

my ($org, $node) = two_way(leads => 20, contacts => 5, objects => [qw(Lead Contact)], server => [ overlap => '0' ]);
my ($id) = split /\n/, sql($node, 'SELECT id FROM acme.lead WHERE NOT isconverted ORDER BY id');
sub in_copy { return $node->safe_psql('copy', $_[0]) }

hold($node);
sql($node, q{UPDATE acme.lead SET title = 'waits' WHERE NOT isconverted;
    INSERT INTO acme.lead (lastname, company) SELECT 'Waits', n::text FROM generate_series(1, 10) n;
    CREATE DATABASE copy});
$node->command_ok([ 'sh', '-c', join ' ', 'pg_dump', '-d', "'" . $node->connstr('postgres') . "'", '|', 'psql', '-Xq', '-o', '/dev/null',
    '-d', "'" . $node->connstr('copy') . "'" ], 'a copy by pg_dump');
my $waits = in_copy('SELECT count(*) FROM sync.outbox');
cmp_ok($waits, '>', 10, 'has the changes that wait');
in_copy(qq{UPDATE acme.lead SET title = 'written' WHERE id = '$id'});
my $new = in_copy(q{INSERT INTO acme.lead (lastname, company) VALUES ('Written', 'x') RETURNING id});
is(in_copy('SELECT count(*) FROM sync.outbox'), $waits + 2, '... and takes more');
is(in_copy("SELECT record FROM sync.outbox ORDER BY seq DESC LIMIT 1"), $new, '... behind them');
sql($node, 'DROP DATABASE copy WITH (FORCE)');
let_go($node);
sync_now($node, 'acme');

# Values that are cut, and a table that is dropped.
sql($node, q{
    SET session_replication_role = replica;
    ALTER TABLE acme.lead ALTER COLUMN lastname TYPE varchar(3) USING left(lastname, 3);
    ALTER TABLE acme.lead ALTER COLUMN lastname TYPE text});
sync_now($node, 'acme') for 1, 2;
same_rows($node, $org, 'acme', 'Lead', 'after values were cut');
sql($node, q{SET session_replication_role = replica; DROP TABLE acme.contact});
is(sql($node, q{SELECT string_agg(object, ',') FROM sync.status}), 'Lead', 'a table that was dropped is no longer synced');
done_testing();
