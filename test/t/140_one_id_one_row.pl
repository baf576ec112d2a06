
# A provisional id stands for one row of one table, whatever triggers make of it.

use strict;
use warnings FATAL => 'all';
use SyncTest;
use Test::More;
use WayOut;

my ($org, $node) = two_way(leads => 5, contacts => 5, accounts => 2,
    objects => [qw(Lead Contact)]);

hold($node);

# In one transaction, from one table to another.
like(sql_error($node, q{
    BEGIN;
    INSERT INTO acme.lead (lastname, company) VALUES ('Mirror', 'x') RETURNING id \gset
    INSERT INTO acme.contact (id, lastname) VALUES (:'id', 'Mirror');
    COMMIT}), qr/23505.*stands for a row of table "acme\.lead".*Leave the column out/s,
    'the id of a new lead is none for a contact');

# By triggers that copy a row with its id, before and after it is there.
sql($node, q{
    CREATE FUNCTION public.mirror() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO acme.contact (id, lastname) VALUES (NEW.id, NEW.lastname);
        RETURN NEW;
    END $$});
foreach my $when ('BEFORE', 'AFTER')
{
    sql($node, "CREATE TRIGGER a_mirror $when INSERT ON acme.lead FOR EACH ROW EXECUTE FUNCTION public.mirror()");
    like(sql_error($node, q{INSERT INTO acme.lead (lastname, company) VALUES ('Mirror', 'x'), ('Mirror', 'y')}),
        qr/23505.*stands for a row of table/s, "... nor by a trigger $when INSERT");
    sql($node, 'DROP TRIGGER a_mirror ON acme.lead');
}
is(outbox($node), '', 'nothing of it waits');

# With an id of its own it goes; numbers that are drawn in any order are given once.
sql($node, q{
    CREATE OR REPLACE FUNCTION public.mirror() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO acme.contact (lastname) VALUES (NEW.lastname);
        RETURN NEW;
    END $$;
    CREATE TRIGGER a_mirror BEFORE INSERT ON acme.lead FOR EACH ROW EXECUTE FUNCTION public.mirror();
    INSERT INTO acme.lead (lastname, company, local_id) SELECT 'Mirror', n::text, 1 FROM generate_series(1, 3) n;
    DROP TRIGGER a_mirror ON acme.lead;
    INSERT INTO acme.lead (id, lastname, company, local_id)
        SELECT id, 'Mirror', 'z', 1 FROM (SELECT sync.provisional_id() AS id FROM generate_series(1, 3) OFFSET 0) AS drawn
        ORDER BY id DESC});
is(sql($node, q{SELECT count(*), count(DISTINCT local_id), count(*) FILTER (WHERE local_id = 1)
    FROM acme.lead WHERE lastname = 'Mirror'}), '6|6|0', 'each row has a number of its own');
let_go($node);
push_out($node);
is(sql($node, q{SELECT (SELECT count(*) FROM acme.lead WHERE lastname = 'Mirror' AND id NOT LIKE '~%'),
    (SELECT count(*) FROM acme.contact WHERE lastname = 'Mirror' AND id NOT LIKE '~%')}), '6|3', 'all have their ids');
is($org->count('Lead', q{LastName = 'Mirror'}) . '|' . $org->count('Contact', q{LastName = 'Mirror'}), '6|3',
    '... and are there once');
done_testing();
