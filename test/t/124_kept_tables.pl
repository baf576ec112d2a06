
# Tables kept by sync.disable and enabled again: a partitioned one, and one that has
# only rows that were written here.

use strict;
use warnings FATAL => 'all';
use SyncTest;
use Test::More;
use WayOut;

my ($org, $node) = two_way(leads => 20, contacts => 60, accounts => 3, objects => [qw(Contact Lead)],
    conf => "sync.page_rows = 25\nsync.lost_answer_wait = 2");

# The table of contacts becomes a partitioned one of the same columns.
sql($node, q{SELECT sync.disable('acme', 'Contact')});
sql($node, q{
    ALTER TABLE acme.contact RENAME TO old_contact;
    CREATE TABLE acme.contact (LIKE acme.old_contact INCLUDING DEFAULTS) PARTITION BY HASH (id);
    CREATE TABLE acme.contact0 PARTITION OF acme.contact FOR VALUES WITH (MODULUS 3, REMAINDER 0);
    CREATE TABLE acme.contact1 PARTITION OF acme.contact FOR VALUES WITH (MODULUS 3, REMAINDER 1);
    CREATE TABLE acme.contact2 PARTITION OF acme.contact FOR VALUES WITH (MODULUS 3, REMAINDER 2);
    INSERT INTO acme.contact SELECT * FROM acme.old_contact;
    UPDATE sync.object SET relation = 'acme.contact' WHERE object = 'Contact';
    DROP TABLE acme.old_contact});
is(sql($node, q{SELECT count(DISTINCT tableoid) FROM acme.contact}), 3, 'rows in three partitions');
my @ids = split /\n/, sql($node, 'SELECT id FROM acme.contact ORDER BY id');
my $written = sql($node, q{SELECT count(*) FROM acme.contact});
$org->update('Contact', { Id => $ids[0], Title => 'there' }, { Id => $ids[1], Title => 'there' }, { Id => $ids[2], Title => 'there' });
$org->delete('Contact', @ids[ 3 .. 8 ]);
$org->insert('Contact', map { { LastName => "New $_" } } 1 .. 6);
sql($node, q{SELECT sync.enable('acme', ARRAY['Contact'])});
wait_live($node, 'acme');
is(sql($node, q{SELECT merge FROM sync.progress WHERE object = 'Contact'}), 't', 'a kept partitioned table is merged with');
same_rows($node, $org, 'acme', 'Contact', '... and is as the org', fields => [qw(LastName Title)]);
is(sql($node, q{SELECT count(DISTINCT tableoid) FROM acme.contact WHERE lastname LIKE 'New %' OR title = 'there'}) > 1, 1, '... in its partitions');
is(failures_of($node), '', '... and nothing fails');

# Rows that are moved by what comes: partitions by a column that the org changes
sql($node, q{SELECT sync.disable('acme', 'Contact')});
sql($node, q{
    ALTER TABLE acme.contact RENAME TO old_contact;
    CREATE TABLE acme.contact (LIKE acme.old_contact INCLUDING DEFAULTS) PARTITION BY LIST (department);
    CREATE TABLE acme.contact_sales PARTITION OF acme.contact FOR VALUES IN ('Sales');
    CREATE TABLE acme.contact_rest PARTITION OF acme.contact DEFAULT;
    INSERT INTO acme.contact SELECT * FROM acme.old_contact;
    UPDATE sync.object SET relation = 'acme.contact' WHERE object = 'Contact';
    DROP TABLE acme.old_contact});
$org->update('Contact', map { { Id => $_, Department => 'Sales' } } @ids[ 10 .. 14 ]);
$org->update('Contact', map { { Id => $_, Department => 'Other' } } @ids[ 15 .. 19 ]);
$org->delete('Contact', @ids[ 20 .. 22 ]);
my ($status, $out, $err) = $node->psql('postgres', q{SELECT sync.enable('acme', ARRAY['Contact'])});
wait_live($node, 'acme', objects => ['Contact'], what => 'partitions by another column than the key');
is(sql($node, q{SELECT count(*) FROM acme.contact_sales WHERE id IN ('} . join(q{', '}, @ids[ 10 .. 14 ]) . q{')}), 5, '... rows move to the partition that is theirs');
same_rows($node, $org, 'acme', 'Contact', '... and the table is as the org', fields => [qw(LastName Department)]);
sql($node, q{SELECT sync.disable('acme', 'Contact')});

# Only rows that were written here, one of them with a record whose answer was lost
{
    sql($node, q{SELECT sync.disable('acme', 'Lead', true); SELECT sync.enable('acme', ARRAY['Lead'])});
    wait_live($node, 'acme', objects => ['Lead']);
    my $fault = $org->fault({ kind => 'collections', method => 'POST' }, { apply_then => { reset => \1 } }, times => 1);
    sql($node, q{INSERT INTO acme.lead (lastname, company) VALUES ('Only here', 'x')});
    wait_until('a create is made, its answer lost', sub { ($org->hits($fault) // 1) > 0 });
    sql($node, q{SELECT sync.stop()});
    wait_for($node, q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type LIKE 'sync%' AND backend_type <> 'sync launcher'}, 'no worker');
    sql($node, q{SELECT sync.disable('acme', 'Lead'); DELETE FROM acme.lead WHERE id NOT LIKE '~%'});
    my $number = sql($node, q{SELECT max(local_id) FROM acme.lead});
    sql($node, q{SELECT sync.enable('acme', ARRAY['Lead']); SELECT sync.start()});
    wait_live($node, 'acme', objects => ['Lead']);
    is(sql($node, q{SELECT merge FROM sync.progress WHERE object = 'Lead'}), 't', 'a table of local rows alone is merged with');
    wait_for($node, q{SELECT count(*) = 0 FROM sync.attempt}, '... what was in doubt is settled');
    sync_now($node, 'acme', 'Lead');
    is(sql($node, q{SELECT count(*) FROM acme.lead WHERE lastname = 'Only here'}), 1, '... no record comes beside its row');
    is(sql($node, q{SELECT count(*) FROM acme.lead}), $org->count('Lead'), '... and all others come');
}
done_testing();
