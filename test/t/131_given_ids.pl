
# Ids come from the column's default alone; what applications give for id and
# local_id makes no second record, and takes no other row's place.

use strict;
use warnings FATAL => 'all';
use SyncTest;
use Test::More;
use WayOut;

my ($org, $node) = two_way(leads => 20, contacts => 10, accounts => 3, campaigns => 2,
    objects => [qw(Lead Contact Campaign)]);

sub refused
{
    my ($statement, $sqlstate, $message, $name) = @_;
    my $error = sql_error($node, $statement);

    like($error, qr/ERROR:\s+$sqlstate: $message/, $name);
    return $error;
}

sub count_leads { return $org->count('Lead', "LastName LIKE '$_[0]'") }

# An application that holds the provisional id after the row has got its own.
my $held = sql($node, q{INSERT INTO acme.lead (lastname, company) VALUES ('Held', 'x') RETURNING id});
went_out($node, 'a new row has gone out');
$node->poll_query_until('postgres', qq{SELECT NOT EXISTS (SELECT FROM acme.lead WHERE id = '$held')});
my $became = sql($node, qq{SELECT sync.resolve('$held')});
my $upsert = q{INSERT INTO acme.lead (id, lastname, company, title) VALUES ('%s', 'Held', 'x', 'again')};
foreach my $conflict ('', ' ON CONFLICT (id) DO UPDATE SET title = excluded.title', ' ON CONFLICT DO NOTHING')
{
    my $error = refused(sprintf($upsert, $held) . $conflict, '23505', qr/row "$held" of table "acme.lead" exists already/,
        "a provisional id that was replaced$conflict");
    like($error, qr/"$became"/, '... says what it has become');
    like($error, qr/HINT:.*local_id/, '... and what to use');
}
sync_now($node, 'acme');
is(count_leads('Held'), 1, 'there is one record');
is(sql($node, q{SELECT count(*), min(id) FROM acme.lead WHERE lastname = 'Held'}), "1|$became", 'and one row');

# While it waits for its id, an upsert is an update.
hold($node);
my $waits = sql($node, q{INSERT INTO acme.lead (lastname, company) VALUES ('Waits', 'x') RETURNING id});
sql($node, qq{INSERT INTO acme.lead (id, lastname, company, title) VALUES ('$waits', 'Waits', 'x', 'upserted')
    ON CONFLICT (id) DO UPDATE SET title = excluded.title});
let_go($node);
is(count_leads('Waits'), 1, 'an upsert of a row that waits is one record');
is($org->rows(q{SELECT Title FROM Lead WHERE LastName = 'Waits'})->[0]{Title}, 'upserted', '... with what it set');

# Numbers that nobody drew yet, or that another transaction drew.
my $next = sql($node, 'SELECT last_value + 3 FROM sync.provisional');
refused(qq{INSERT INTO acme.lead (id, lastname, company) VALUES ('~$next', 'Early', 'x')}, '42501',
    'column "id" of table "acme.lead" cannot be written', 'a number that was not drawn yet');
my $drawn = sql($node, 'SELECT sync.provisional_id()');
refused(qq{INSERT INTO acme.lead (id, lastname, company) VALUES ('$drawn', 'Other', 'x')}, '42501',
    'column "id" of table "acme.lead" cannot be written', 'a number that another transaction drew');
refused(qq{BEGIN; SELECT sync.provisional_id(); INSERT INTO acme.lead (id, lastname, company)
    SELECT '~0' || last_value, 'Zero', 'x' FROM sync.provisional}, '42501',
    'column "id" of table "acme.lead" cannot be written', 'another spelling of one that was drawn');
foreach my $id ('~', '~x', '~-1', '~ 7', '~99999999999999999999', '', 'x')
{
    refused(qq{INSERT INTO acme.lead (id, lastname, company) VALUES ('$id', 'Odd', 'x')}, '42501',
        'column "id" of table "acme.lead" cannot be written', "no id: '$id'");
}
my ($innocent) = sql($node, q{INSERT INTO acme.lead (lastname, company) VALUES ('Innocent', 'x') RETURNING id});
like($innocent, qr/^~\d+$/, 'who draws next has its own');

# A row copied back from elsewhere takes nobody's place, nor does COPY.
sql($node, q{CREATE TABLE public.backup AS SELECT * FROM acme.campaign WHERE false});
hold($node);
sql($node, q{
    INSERT INTO acme.campaign (name) VALUES ('Parent');
    INSERT INTO acme.campaign (name, parentid) SELECT 'Child', id FROM acme.campaign WHERE name = 'Parent';
    INSERT INTO public.backup SELECT * FROM acme.campaign WHERE name IN ('Parent', 'Child')});
let_go($node);
$node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM acme.campaign WHERE id LIKE '~%'});
refused(q{INSERT INTO acme.campaign SELECT * FROM public.backup}, '23505', 'row "~\d+"', 'a row that is copied back');
sql($node, q{INSERT INTO acme.campaign (name, parentid) SELECT name || ' copied', parentid FROM public.backup WHERE name = 'Child'});
went_out($node, 'a copy without the id has gone out');
is($org->rows(q{SELECT Parent.Name FROM Campaign WHERE Name = 'Child copied'})->[0]{Parent}{Name}, 'Parent',
    'what refers to a replaced id refers to the record that it became');
is($org->count('Campaign', q{Name = 'Parent'}), 1, 'there is one parent');
like(sql_error($node, qq{COPY acme.lead (id, lastname, company) FROM STDIN;\n$held\tHeld\tx\n\\.\n}), qr/23505/, 'COPY with such an id');

# local_id: NULL, a number of another row's, DEFAULT, nothing.
my $other = sql($node, qq{SELECT local_id FROM acme.lead WHERE id = '$became'});
my @given = (undef, $other, 999999999, 'DEFAULT', '-1');
foreach my $given (@given)
{
    my $value = defined $given ? $given : 'NULL';
    my $number = sql($node, qq{INSERT INTO acme.lead (lastname, company, local_id) VALUES ('Numbered', 'x', $value) RETURNING local_id});
    like($number, qr/^\d+$/, "local_id given as $value");
    isnt($number, $value, '... is a number of its own');
}
is(sql($node, 'SELECT count(*) - count(DISTINCT local_id) FROM acme.lead'), 0, 'no two rows have the same');
my ($id, $number) = split /\|/, sql($node, q{INSERT INTO acme.lead (id, lastname, company, local_id)
    VALUES (NULL, 'No id', 'x', NULL) RETURNING id, local_id});
like("$id $number", qr/^~\d+ \d+$/, 'an id given as NULL is none');
went_out($node, 'they have gone out');
is(count_leads('Numbered'), scalar @given, 'each is one record');
refused(qq{UPDATE acme.lead SET local_id = NULL WHERE id = '$became'}, '42501', 'column "local_id"', 'local_id cannot be taken away');
sql($node, qq{UPDATE acme.lead SET local_id = $other, title = 'same number' WHERE id = '$became'});
went_out($node, 'nor does it hurt to write it as it is');

# What others give it during the first copy, when no trigger watches.
$org->fault({ kind => 'bulk_result' }, { hang => 30 }, times => 1);
sql($node, q{SELECT sync.disable('acme', 'Contact', true)});
sql($node, q{SELECT sync.enable('acme', ARRAY['Contact'])});
sql($node, q{INSERT INTO acme.contact (lastname, local_id) VALUES ('Copy 1', 5), ('Copy 2', 5), ('Copy 3', NULL), ('Copy 4', DEFAULT)});
$org->no_faults;
sql($node, q{SELECT count(*) FROM sync.now('acme')});
wait_live($node, 'acme');
is(sql($node, q{SELECT count(*), count(DISTINCT local_id), count(local_id) = count(*) FROM acme.contact}), '14|14|t',
    'rows written during the first copy have numbers of their own');
went_out($node, 'and go out');

# A trigger that keeps the id from the row: no second row, and it is told.
sql($node, q{
    CREATE FUNCTION public.keep_id() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        new.id := old.id;
        RETURN new;
    END $$;
    CREATE TRIGGER keep_id BEFORE UPDATE ON acme.lead FOR EACH ROW WHEN (old.lastname LIKE 'Kept%') EXECUTE FUNCTION public.keep_id()});
sql($node, q{INSERT INTO acme.lead (lastname, company) VALUES ('Kept', 'x'), ('Free', 'x')});
wait_for($node, q{SELECT count(*) = 1 FROM sync.failures WHERE operation = 'replace'}, 'a swallowed id is told');
like(sql($node, q{SELECT message FROM sync.failures WHERE operation = 'replace'}), qr/trigger of table "acme.lead" keeps row ~\d+/, '... as what it is');
sync_now($node, 'acme');
is(sql($node, q{SELECT count(*) FROM acme.lead WHERE lastname = 'Kept'}), 1, 'there is one row');
is(count_leads('Kept'), 1, '... and one record');
is(sql($node, q{SELECT count(*) FROM acme.lead WHERE lastname = 'Free' AND id LIKE '~%'}), 0, 'the other has its id');
sql($node, q{CREATE OR REPLACE FUNCTION public.keep_id() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'});
sync_now($node, 'acme');
is(sql($node, q{SELECT count(*) FROM acme.lead WHERE lastname = 'Kept'}), 1, 'nor with one that swallows the row');
sql($node, q{CREATE OR REPLACE FUNCTION public.keep_id() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN new.id := 'else'; RETURN new; END $$});
sync_now($node, 'acme');
is(sql($node, q{SELECT count(*) FROM acme.lead WHERE lastname = 'Kept' AND id LIKE '~%'}), 1, 'nor with one that makes up an id');
sql($node, q{DROP TRIGGER keep_id ON acme.lead});
sync_now($node, 'acme');
is(sql($node, q{SELECT count(*) FROM acme.lead WHERE lastname = 'Kept' AND id NOT LIKE '~%'}), 1, 'without the trigger it takes its id');
is(sql($node, q{SELECT count(*) FROM sync.failures}), 0, '... and nothing fails');

# A child that is committed after its parent has got its id.
{
    my $session = $node->background_psql('postgres', on_error_die => 1);
    hold($node);
    my $parent = sql($node, q{INSERT INTO acme.contact (lastname) VALUES ('Parent') RETURNING id});
    $session->query_safe(qq{BEGIN; INSERT INTO acme.contact (lastname, reportstoid) VALUES ('Late child', '$parent')});
    let_go($node);
    $node->poll_query_until('postgres', qq{SELECT NOT EXISTS (SELECT FROM acme.contact WHERE id = '$parent')});
    $session->query_safe('COMMIT');
    $session->quit;
    went_out($node, 'the child has gone out');
    is(sql($node, q{SELECT reportstoid FROM acme.contact WHERE lastname = 'Late child'}),
        sql($node, qq{SELECT sync.resolve('$parent')}), 'its row refers to the id at once');
}
sync_now($node, 'acme');
same_rows($node, $org, 'acme', $_, 'in the end') for qw(Lead Contact Campaign);
done_testing();
