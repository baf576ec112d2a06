
# Who writes to a synced table: the sync, or what others made run while it does;
# and ways around the triggers that refuse and capture.

use strict;
use warnings FATAL => 'all';
use SyncTest;
use Test::More;
use WayOut;

my ($org, $node) = two_way(leads => 30, contacts => 10, accounts => 5, campaigns => 2,
    objects => [qw(Lead Contact Account Campaign)], conf => "wal_level = logical\nmax_wal_senders = 10\nmax_replication_slots = 10");
my @leads = split /\n/, sql($node, 'SELECT id FROM acme.lead WHERE NOT isconverted ORDER BY id');
my ($contact) = split /\n/, sql($node, 'SELECT id FROM acme.contact ORDER BY id');
my ($account) = split /\n/, sql($node, 'SELECT id FROM acme.account ORDER BY id');

# Two rows of leads come in: one new, one changed.
sub leads_come
{
    my ($title) = @_;
    $org->insert('Lead', { LastName => "New $title", Company => 'x' });
    $org->update('Lead', { Id => $leads[0], Title => $title });
    $node->psql('postgres', q{SELECT * FROM sync.now('acme', 'Lead')});
    return sql($node, "SELECT count(*) FROM acme.lead WHERE lastname = 'New $title' OR title = '$title'");
}

sub caught { return sql($node, 'SELECT object, operation, changes::jsonb FROM sync.outbox ORDER BY seq') }

hold($node);

# A function in a default writes to another table, and to the same one.
sql($node, qq{
    CREATE FUNCTION public.by_default() RETURNS text LANGUAGE plpgsql AS \$\$
    BEGIN
        UPDATE acme.contact SET title = 'by default' WHERE id = '$contact';
        UPDATE acme.lead SET title = 'by default' WHERE id = '$leads[1]';
        RETURN 'x';
    END \$\$;
    ALTER TABLE acme.lead ADD COLUMN note text;
    ALTER TABLE acme.lead ALTER COLUMN note SET DEFAULT public.by_default()});
is(leads_come('default'), 2, 'rows come in');
like(caught(), qr/^Contact\|update\|\{"title": \[.*"by default"\]\}$/m, 'what a function in a default writes is caught');
like(caught(), qr/^Lead\|update\|\{"title": \[.*"by default"\]\}$/m, '... in the same table as well');
sql($node, qq{DELETE FROM sync.change;
    CREATE OR REPLACE FUNCTION public.by_default() RETURNS text LANGUAGE plpgsql AS \$\$
    BEGIN
        UPDATE acme.account SET name = 'by default' WHERE id = '$account';
        RETURN 'x';
    END \$\$});
leads_come('guarded');
is(sql($node, q{SELECT count(*) FROM acme.account WHERE name = 'by default'}), 0, '... and refused where it must not write');
sql($node, 'ALTER TABLE acme.lead DROP COLUMN note; DROP FUNCTION public.by_default()');

# A function of a CHECK.
sql($node, qq{
    DELETE FROM sync.change;
    CREATE FUNCTION public.by_check(text) RETURNS boolean LANGUAGE plpgsql AS \$\$
    BEGIN
        UPDATE acme.contact SET title = 'by check ' || \$1 WHERE id = '$contact';
        RETURN true;
    END \$\$;
    ALTER TABLE acme.lead ADD CONSTRAINT by_check CHECK (public.by_check(title)) NOT VALID});
is(leads_come('check'), 2, 'rows come in');
like(caught(), qr/^Contact\|update\|\{"title": \[.*"by check/m, 'what a function in a check writes is caught');
sql($node, 'ALTER TABLE acme.lead DROP CONSTRAINT by_check; DROP FUNCTION public.by_check(text); DELETE FROM sync.change');

# Rules that write besides.
sql($node, qq{
    CREATE RULE besides AS ON UPDATE TO acme.lead DO ALSO
        UPDATE acme.contact SET title = 'by rule' WHERE id = '$contact' AND new.title LIKE 'rule%'});
leads_come('rule');
like(caught(), qr/^Contact\|update\|\{"title": \[.*"by rule"\]\}$/m, 'what a rule writes besides is caught')
  if sql($node, qq{SELECT title FROM acme.contact WHERE id = '$contact'}) eq 'by rule';
isnt(sql($node, qq{SELECT coalesce(title, '') || (SELECT count(*) FROM sync.outbox)::text FROM acme.contact WHERE id = '$contact'}),
    'by rule0', '... or not written');
sql($node, 'DROP RULE besides ON acme.lead; DELETE FROM sync.change');
leads_come('no rule');

# What foreign keys do on the sync's account is the sync's; what they do on a
# trigger's is the user's.
sql($node, q{CREATE TABLE public.note (lead text REFERENCES acme.lead ON UPDATE CASCADE ON DELETE CASCADE)});
sql($node, qq{INSERT INTO public.note VALUES ('$leads[2]')});
$org->delete('Lead', $leads[2]);
sync_now($node, 'acme');
is(sql($node, 'SELECT count(*) FROM public.note'), 0, 'a record that is gone takes along what refers to it');
is(caught(), '', '... and nobody tells the org');
sql($node, 'DROP TABLE public.note');

# A parent made by INHERIT
sql($node, 'CREATE TABLE public.parent_account (LIKE acme.account); ALTER TABLE acme.account INHERIT public.parent_account;
    CREATE TABLE public.parent_lead (LIKE acme.lead); ALTER TABLE acme.lead INHERIT public.parent_lead');
like(sql_error($node, qq{UPDATE public.parent_account SET name = 'x' WHERE id = '$account'}), qr/55000.*is kept by sync/s,
    'UPDATE through a parent is refused');
like(sql_error($node, qq{DELETE FROM public.parent_account WHERE id = '$account'}), qr/55000.*is kept by sync/s, '... and DELETE');
like(sql_error($node, 'TRUNCATE public.parent_account'), qr/55000.*is kept by sync/s, '... and TRUNCATE');
sql($node, qq{UPDATE public.parent_lead SET title = 'by parent' WHERE id = '$leads[3]'});
like(caught(), qr/^Lead\|update\|.*"by parent"/, '... and caught where it may go out');
like(sql_error($node, 'TRUNCATE public.parent_lead'), qr/55000.*cannot be truncated/s, '... but for TRUNCATE');
leads_come('inherited');
sql($node, 'ALTER TABLE acme.account NO INHERIT public.parent_account; ALTER TABLE acme.lead NO INHERIT public.parent_lead;
    DELETE FROM sync.change');

# The worker's locks outlive what a trigger does to the session's.
let_go($node);
sql($node, q{
    CREATE FUNCTION public.unlock() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_advisory_unlock_all();
        PERFORM pg_advisory_lock(4711);
        RETURN NULL;
    END $$;
    CREATE TRIGGER unlock AFTER INSERT OR UPDATE ON acme.lead FOR EACH ROW EXECUTE FUNCTION public.unlock()});
sql($node, q{INSERT INTO acme.lead (lastname, company) VALUES ('Unlocks', 'x')});
wait_for($node, q{SELECT count(*) = 1 FROM acme.lead WHERE lastname = 'Unlocks' AND id NOT LIKE '~%'},
    'a row takes its id and a trigger unlocks all');
my $locks = q{SELECT count(*) FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE l.locktype = 'advisory' AND a.backend_type = 'sync worker'};
is(sql($node, $locks), 1, 'the worker has its lock, and no other');
sql($node, q{CREATE OR REPLACE FUNCTION public.unlock() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_advisory_unlock_all();
        RAISE division_by_zero;
    END $$});
sql($node, q{BEGIN; ALTER TABLE acme.lead DISABLE TRIGGER unlock; INSERT INTO acme.lead (lastname, company) VALUES ('Fails', 'x');
    ALTER TABLE acme.lead ENABLE TRIGGER unlock; COMMIT});
wait_for($node, q{SELECT count(*) > 0 FROM sync.failures}, 'also where the trigger fails');
sql($node, q{DROP TRIGGER unlock ON acme.lead});
wait_for($node, qq{SELECT ($locks) = 1}, 'the worker holds its lock');
is(sql($node, q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'sync worker'}), 1, 'there is one worker');
sync_now($node, 'acme');

# Logical replication into a copy that has the guards
{
    my $copy = PostgreSQL::Test::Cluster->new('copy');
    $copy->init(extra => [ '--encoding=UTF8', '--no-locale' ]);
    $copy->start;
    $node->command_ok([ 'sh', '-c', join ' ', 'pg_dump', '-d', "'" . $node->connstr('postgres') . "'", '|', 'psql', '-Xq',
        '-d', "'" . $copy->connstr('postgres') . "'" ], 'a copy by pg_dump');
    sql($copy, q{DELETE FROM sync.change; ALTER TABLE acme.lead DISABLE TRIGGER ALL; DELETE FROM acme.lead; ALTER TABLE acme.lead ENABLE TRIGGER ALL;
        ALTER TABLE acme.lead ENABLE ALWAYS TRIGGER sync_capture; ALTER TABLE acme.lead ENABLE ALWAYS TRIGGER sync_identity;
        ALTER TABLE acme.account DISABLE TRIGGER ALL; DELETE FROM acme.account; ALTER TABLE acme.account ENABLE TRIGGER ALL;
        ALTER TABLE acme.account ENABLE ALWAYS TRIGGER sync_guard; ALTER TABLE acme.account ENABLE ALWAYS TRIGGER sync_guard_rows});
    sql($node, 'CREATE PUBLICATION p FOR TABLE acme.lead, acme.account');
    sql($copy, 'CREATE SUBSCRIPTION s CONNECTION ' . quote($node->connstr('postgres')) . ' PUBLICATION p');
    wait_for($copy, 'SELECT count(*) = 5 FROM acme.account', 'rows of a guarded table are copied');
    $org->update('Account', { Id => $account, Name => 'Replicated' });
    $org->update('Lead', { Id => $leads[6], Title => 'Replicated' });
    $org->insert('Lead', { LastName => 'Replicated', Company => 'x' });
    sync_now($node, 'acme');
    $node->wait_for_catchup('s');
    is(sql($copy, q{SELECT (SELECT count(*) FROM acme.account WHERE name = 'Replicated')
        + (SELECT count(*) FROM acme.lead WHERE 'Replicated' IN (title, lastname))}), 3, 'and go on coming');
    is(sql($copy, 'SELECT count(*) FROM sync.change'), 0, 'nothing of it is caught there');
    is(sql($copy, q{SELECT count(*) FROM (SELECT id, local_id FROM acme.lead) a}), sql($node, 'SELECT count(*) FROM acme.lead'), 'all are there');
    is(sql($copy, q{SELECT sum(local_id) FROM acme.lead}), sql($node, 'SELECT sum(local_id) FROM acme.lead'), 'with the numbers that they have');
    like(sql_error($copy, qq{UPDATE acme.account SET name = 'x' WHERE id = '$account'}), qr/is kept by sync/, 'others are refused there');
    $copy->stop;
}
done_testing();
