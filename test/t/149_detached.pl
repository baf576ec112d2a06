
# A partition that is detached is an ordinary table; it can be attached again.

use strict;
use warnings FATAL => 'all';
use SyncTest;
use Test::More;
use WayOut;

my ($org, $node) = two_way(leads => 20, accounts => 5, objects => [qw(Lead Account)]);

foreach my $object ('Lead', 'Account')
{
    my $table = lc $object;

    sql($node, qq{
        SELECT sync.disable('acme', '$object');
        ALTER TABLE acme.$table RENAME TO old_$table;
        CREATE TABLE acme.$table (LIKE acme.old_$table INCLUDING DEFAULTS) PARTITION BY LIST (industry);
        CREATE TABLE acme.${table}_rest PARTITION OF acme.$table DEFAULT;
        CREATE TABLE acme.${table}_x PARTITION OF acme.$table FOR VALUES IN ('X');
        UPDATE sync.object SET relation = 'acme.$table' WHERE object = '$object';
        SELECT sync.enable('acme', '{$object}')});
    wait_live($node, 'acme');
    like(sql_error($node, "TRUNCATE acme.${table}_x"), qr/55000/, 'a partition is guarded');
    sql($node, qq{
        ALTER TABLE acme.$table DETACH PARTITION acme.${table}_x;
        INSERT INTO acme.${table}_x (id, industry) VALUES ('1', 'X');
        UPDATE acme.${table}_x SET industry = 'Y';
        TRUNCATE acme.${table}_x});
    pass('... and an ordinary table when it is detached');
    is(outbox($node), '', '... whose changes go nowhere');
    like(sql_error($node, "TRUNCATE acme.${table}_rest"), qr/55000/, 'others are guarded still');
    sql($node, "ALTER TABLE acme.$table ATTACH PARTITION acme.${table}_x FOR VALUES IN ('X')");
    sync_now($node, 'acme');
    like(sql_error($node, "TRUNCATE acme.${table}_x"), qr/55000/, '... and it, when it is attached again');
    is(sql($node, "SELECT state FROM sync.status WHERE object = '$object'"), 'live', 'the object is live');
    same_rows($node, $org, 'acme', $object, 'at last');
}
done_testing();
