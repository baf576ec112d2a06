
# The tables bank: making, changing and guarding synced tables.

use strict;
use warnings;
use PostgreSQL::Test::Utils;
use TablesTest;
use Test::More;

my $node = tables_node('tables_schema');

# --- Tables ---------------------------------------------------------------

my $columns = q{ARRAY['id|text||', 'select|text|||A "keyword"', 'Qu"ote|integer', 'done|boolean|t|false|Don''t', 'stamp|timestamp with time zone']};
my $t = value($node, "SELECT tt.create_table('Ac\"me', 'order', $columns, 'app', 'It''s \\ a table')");

is(value($node, "SELECT nspowner::regrole || ' ' || relowner::regrole FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE c.oid = $t"),
    'app app', 'schema and table belong to the owner');
is(value($node, "SELECT string_agg(format('%s %s %s %s', quote_ident(attname), format_type(atttypid, atttypmod), attnotnull, collname), ', ' ORDER BY attnum) FROM pg_attribute LEFT JOIN pg_collation k ON k.oid = attcollation WHERE attrelid = $t AND attnum > 0"),
    'id text t C, "select" text f default, "Qu""ote" integer f , done boolean t , stamp timestamp with time zone f ',
    'columns, their types, and the collation of id');
is(value($node, "SELECT obj_description($t) || ' / ' || col_description($t, 2) || ' / ' || col_description($t, 4)"),
    q{It's \ a table / A "keyword" / Don't}, 'comments');

my $taken = error_of($node, "CREATE VIEW \"Ac\"\"me\".v AS SELECT 1; SELECT tt.create_table('Ac\"me', 'v', $columns, 'app', NULL)");
like($taken, qr/42P07: cannot create table "Ac"me.v": the name is taken/, 'a taken name is refused');
like($taken, qr/"Ac"me.v" is a view owned by/, '... saying what holds it');
like($taken, qr/HINT/, '... and what to do');
like(error_of($node, "CREATE TYPE \"Ac\"\"me\".typ AS ENUM ('x'); SELECT tt.create_table('Ac\"me', 'typ', $columns, 'app', NULL)"),
    qr/42P07.*is a type owned/s, 'a type can hold a name, too');
like(error_of($node, "SELECT tt.create_table('acme', repeat('x', 64), $columns, 'app', NULL)"),
    qr/42622: /, 'a name that PostgreSQL would cut short is refused');
like(error_of($node, "SELECT tt.create_table('other', 't', $columns, 'usr', NULL)"),
    qr/42501: permission denied for database/, 'the owner needs the right to create the schema');

# --- Columns that come later ---------------------------------------------

my $more = q{ARRAY['select|text', 'extra|text|||Later', 'flag|boolean|t|false']};
value($node, "SELECT tt.add_columns($t, $more)") for 1, 2;
is(value($node, "SELECT string_agg(attname, ' ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = $t AND attnum > 5"),
    'extra flag', 'columns are added once');
is(value($node, "SELECT col_description($t, 6)"), 'Later', '... with their comments');
value($node, "SELECT tt.comment($t, 'extra', 'Changed'), tt.comment($t, NULL, NULL), tt.comment($t, 'gone', 'x')");
is(value($node, "SELECT col_description($t, 6) || coalesce(obj_description($t), ' none')"),
    'Changed none', 'comments change');

{
    my $other = $node->background_psql('postgres');

    $other->query_safe("BEGIN; SELECT count(*) FROM \"Ac\"\"me\".\"order\"");
    like(error_of($node, "SELECT tt.add_columns($t, ARRAY['waits|text'])"),
        qr/55P03: /, 'adding a column does not make everybody wait behind a long reader');
    $other->query_safe('COMMIT');
    $other->quit;
}

my $c = create_table($node, 'acme', 'retyped', 'a|integer', 'b|boolean|t|false', 'c|text');
value($node, "SELECT tt.load($c, '{id,a,b,c}', " . bytes("1,1,true,x\n") . ')');
value($node, "SELECT tt.change_columns($c, ARRAY['a|boolean|t|false', 'b|text', 'c|numeric'])");
is(value($node, 'SELECT * FROM acme.retyped'), '1|f|||', 'columns of other types are empty, or as a new row has them');
is(value($node, "SELECT string_agg(attname || attnotnull || coalesce(pg_get_expr(adbin, adrelid), ''), ' ' ORDER BY attnum) FROM pg_attribute LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum WHERE attrelid = $c AND attnum IN (2, 3)"),
    'atruefalse bfalse', '... with the new defaults and without the old');
value($node, "SELECT tt.drop_column($c, 'c'), tt.drop_column($c, 'c')");
is(value($node, 'SELECT * FROM acme.retyped'), '1|f||', 'a column goes');
value($node, 'CREATE VIEW acme.uses AS SELECT b FROM acme.retyped');
like(error_of($node, "SELECT tt.drop_column($c, 'b')"), qr/2BP01: /, '... unless something depends on it');

# --- Departures ------------------------------------------------------------

my $d = create_table($node, 'acme', 'changed', 'a|text', 'b|integer', 'c|text COLLATE "C"', 'e|numeric');
my $expected = q{ARRAY['id|text', 'a|text', 'b|integer', 'c|text COLLATE "C"', 'e|numeric', 'stamp|timestamp with time zone']};

is(value($node, "SELECT tt.differences($d, $expected)"), '', 'a table as made has no differences');
value($node, 'ALTER TABLE acme.changed ADD mine text, ADD ours int NOT NULL DEFAULT 3, ADD local_id bigint GENERATED ALWAYS AS IDENTITY, ADD computed int GENERATED ALWAYS AS (1) STORED');
is(value($node, "SELECT tt.differences($d, $expected)"), '', 'nor has one with columns of the user');
value($node, 'ALTER TABLE acme.changed ADD unfilled int NOT NULL; ALTER TABLE acme.changed RENAME a TO aa; ALTER TABLE acme.changed ALTER b TYPE bigint; ALTER TABLE acme.changed ALTER e TYPE numeric(4,2); ALTER TABLE acme.changed DROP c, ADD c text GENERATED ALWAYS AS (aa) STORED');
is(value($node, "SELECT tt.differences($d, $expected)"), <<'TEXT' =~ s/\n\z//r, 'what was changed by hand');
Column "a" is missing: it was dropped or renamed.
Column "b" is of type bigint instead of integer.
Column "c" is generated and takes no values.
Column "e" is of type numeric(4,2) instead of numeric.
Column "unfilled", which is not synced, is NOT NULL and has no default.
TEXT
is(value($node, 'SELECT tt.differences(1, ARRAY[\'id|text\'])'), 'The table does not exist any more.', 'a table that is gone');

# --- Keys ------------------------------------------------------------------

my $k = create_table($node, 'acme', 'keyed', 'p|text', 'q|text');
my $rows = bytes(join '', map { "$_,x,y,2024-01-01\n" } qw(1 2 2 3 3 3));
my $indexes = "SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_index JOIN pg_class ON oid = indexrelid WHERE indrelid = $k";

value($node, "SELECT tt.load($k, '{id,p,q,stamp}', $rows)");
is(value($node, "SELECT tt.build_keys($k, '{p,q,gone}')"), '3', 'rows that came twice are removed for the key');
is(value($node, 'SELECT string_agg(id, \' \' ORDER BY id) FROM acme.keyed'), '1 2 3', '... and one of each stays');
is(value($node, $indexes), 'keyed_p_idx keyed_pkey keyed_q_idx', 'key and indexes');
is(value($node, "SELECT tt.build_keys($k, '{p,q}')"), '0', 'building again does nothing');
is(value($node, $indexes), 'keyed_p_idx keyed_pkey keyed_q_idx', '... and leaves them as they are');
is(value($node, "SELECT conname || ' ' || contype::text FROM pg_constraint WHERE conrelid = $k AND contype <> 'n'"), 'keyed_pkey p', 'the key is the primary key');

value($node, 'CREATE TABLE mine (ref text REFERENCES acme.keyed ON UPDATE CASCADE); ALTER TABLE acme.keyed RENAME TO renamed');
value($node, 'DROP INDEX acme.keyed_q_idx; CREATE INDEX mine_q ON acme.renamed (q)');
value($node, "SELECT tt.build_keys($k, '{p,q}')");
is(value($node, $indexes), 'keyed_p_idx keyed_pkey mine_q', 'what a user\'s index does already is not done twice');
like(error_of($node, "SELECT tt.drop($k)"), qr/2BP01: .*DETAIL: .*mine_ref_fkey/s, 'dropping names what depends on the table');
value($node, "DROP TABLE mine; SELECT tt.drop($k), tt.drop($k)");
is(value($node, "SELECT to_regclass('acme.renamed')"), '', 'dropped');

# --- The guard ---------------------------------------------------------------

my $g = create_table($node, 'acme', 'guarded', 'n|integer');
value($node, 'GRANT ALL ON acme.guarded TO usr; GRANT USAGE ON SCHEMA acme TO usr');
value($node, "SELECT tt.load($g, '{id,n}', " . bytes("1,1\n2,2\n") . ')');

for my $who ('RESET ROLE', 'SET ROLE app', 'SET ROLE usr', 'SET session_replication_role = replica')
{
    for my $what ("INSERT INTO acme.guarded VALUES ('3')", 'UPDATE acme.guarded SET n = 0',
        'DELETE FROM acme.guarded WHERE false', 'TRUNCATE acme.guarded', "COPY acme.guarded FROM PROGRAM 'echo'")
    {
        next if $what =~ /^COPY/ && $who =~ /ROLE (app|usr)/;
        like(error_of($node, "$who; $what"), qr/55000: table "acme.guarded" is kept by sync from Salesforce.*DETAIL.*HINT.*sync\.disable/s,
            "refused: $who; $what");
    }
}
is(value($node, 'SELECT sum(n) FROM acme.guarded'), '3', 'nothing was changed');
is(value($node, 'SET ROLE usr; SELECT sync.applying()'), 'f', 'anybody may ask who is writing');

value($node, "SELECT tt.apply($g, 'UPDATE acme.guarded SET n = n + 1')");
is(value($node, 'SELECT sum(n) FROM acme.guarded'), '5', 'the sync may write');

# Errors at any depth leave no mark behind.
is(value($node, <<"SQL"), "f\nf\nf\nf", 'an error while applying clears the mark');
DO \$\$ BEGIN PERFORM tt.apply($g, 'SELECT 1/0'); EXCEPTION WHEN division_by_zero THEN END \$\$;
SELECT sync.applying();
BEGIN; SAVEPOINT a; SELECT tt.apply($g, 'SELECT 1', false) \\g /dev/null
ROLLBACK TO a; SELECT sync.applying(); COMMIT;
BEGIN; SELECT tt.apply($g, 'SELECT 1', false) \\g /dev/null
ROLLBACK; SELECT sync.applying();
BEGIN; SELECT tt.apply($g, 'SELECT 1', false) \\g /dev/null
COMMIT; SELECT sync.applying();
SQL
is(value($node, "DO \$\$ BEGIN PERFORM tt.apply($g, 'SELECT 1/0'); EXCEPTION WHEN division_by_zero THEN END \$\$; SELECT current_user = session_user, current_setting('search_path') <> ''"),
    't|t', '... and gives back user and search_path');

value($node, <<'SQL');
CREATE TABLE seen (who text, applying bool, restricted text);
GRANT ALL ON seen TO app;
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    BEGIN PERFORM 1/0; EXCEPTION WHEN division_by_zero THEN END;
    INSERT INTO public.seen VALUES (current_user, sync.applying(), current_setting('search_path'));
    BEGIN CREATE TEMP TABLE x (); EXCEPTION WHEN insufficient_privilege THEN INSERT INTO public.seen VALUES ('refused'); END;
    RETURN NEW;
END $$;
CREATE TRIGGER note AFTER UPDATE ON acme.guarded FOR EACH ROW EXECUTE FUNCTION note();
SQL
value($node, "SELECT tt.apply($g, 'UPDATE acme.guarded SET n = n + 1 WHERE id = ''1''')");
like(value($node, 'SELECT * FROM seen'), qr/^app\|t\|.*\nrefused\|\|$/,
    'users\' triggers fire as the owner, restricted, and can tell who is writing');

value($node, 'DROP TRIGGER note ON acme.guarded; CREATE FUNCTION nest() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM tt.apply(' . $g . ', \'SELECT 1\'); RETURN NEW; END $$; CREATE TRIGGER nest AFTER UPDATE ON acme.guarded FOR EACH ROW EXECUTE FUNCTION nest()');
like(error_of($node, "SELECT tt.apply($g, 'UPDATE acme.guarded SET n = 1')"), qr/55000: cannot write to table/, 'applying does not nest');
value($node, 'DROP TRIGGER nest ON acme.guarded');

# What is deferred until commit must not run as whoever commits.
value($node, <<'SQL');
TRUNCATE seen;
CREATE FUNCTION who() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.seen VALUES (current_user); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER later AFTER UPDATE ON acme.guarded DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION who();
SQL
value($node, "SELECT tt.apply($g, 'UPDATE acme.guarded SET n = 7 WHERE id = ''1''')");
is(value($node, 'SELECT who FROM seen'), 'app', 'deferred triggers fire as the owner, too');

value($node, "SELECT tt.guard($g, true), tt.guard($g, true), tt.guard($g, false)");
is(value($node, 'UPDATE acme.guarded SET n = 0; SELECT sum(n) FROM acme.guarded'), '0', 'an ordinary table without the guard');

# Partitions
value($node, 'CREATE TABLE acme.parts (id text NOT NULL, n int) PARTITION BY HASH (id); CREATE TABLE acme.part0 PARTITION OF acme.parts FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE acme.part1 PARTITION OF acme.parts FOR VALUES WITH (MODULUS 2, REMAINDER 1)');
my $p = value($node, q{SELECT 'acme.parts'::regclass::oid});
value($node, "SELECT tt.guard($p, true)");
like(error_of($node, "INSERT INTO acme.$_ VALUES ('1')"), qr/55000: table "acme.$_"/, "$_ is guarded") for qw(parts part0);
value($node, "SELECT tt.load($p, '{id,n}', " . bytes(join '', map { "$_,$_\n" } 1 .. 9, 9) . ')');
is(value($node, "SELECT tt.build_keys($p, '{n}')"), '1', 'keys of a partitioned table');
is(value($node, "SELECT tt.build_keys($p, '{n}')"), '0', '... once');
is(value($node, 'SELECT count(*), count(DISTINCT tableoid) FROM acme.parts'), '9|2', '... over rows in both partitions');
value($node, "SELECT tt.guard($p, false)");

$node->stop;
done_testing();
