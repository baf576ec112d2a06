
# The tables bank: changed rows into a live table.

use strict;
use warnings;
use PostgreSQL::Test::Utils;
use TablesTest;
use Test::More;

my $node = tables_node('tables_merge');

# A table with the given rows, and the key.
sub live_table
{
    my ($name, $rows, @columns) = @_;
    my $t = create_table($node, 'acme', $name, @columns);

    value($node, "SELECT tt.load($t, '" . names(@columns) . "', " . bytes($rows) . "), tt.build_keys($t, '{}')");
    return $t;
}

sub names
{
    return '{' . join(',', 'id', (map { '"' . (split /\|/)[0] . '"' } @_), 'stamp') . '}';
}

# Stages rows and merges them: inserted, updated, deleted, skipped, failed; and
# in further lines what was refused.
sub merge
{
    my ($t, $columns, $rows, %how) = @_;
    my $mark = $how{mark} ? 'true' : 'false';
    my @pages = ref $rows ? @$rows : ($rows);
    my $load = join '', map { "SELECT tt.stage_load(" . bytes($_) . ") \\g /dev/null\n" } @pages;

    return value($node, "SELECT tt.stage($t, '$columns', 'stamp') \\g /dev/null\n$load"
          . "SELECT tt.merge($mark);\nSELECT tt.stage_drop() \\g /dev/null\n");
}

sub rows
{
    my ($table, $columns) = @_;

    return value($node, "SELECT $columns FROM $table ORDER BY id COLLATE \"C\"");
}

my @columns = ('name|text', 'n|numeric', 'ok|boolean|t|false', 'isdeleted|boolean|t|false');
my $all = names(@columns);
my ($old, $same, $new) = ('2024-01-01T00:00:00Z', '2024-01-02T00:00:00Z', '2024-01-03T00:00:00Z');
my $start = join '', map { "$_,name$_,$_,true,false,$same\n" } 1 .. 9;

# --- Each kind of row ------------------------------------------------------

my $t = live_table('lead', $start, @columns);

is(merge($t, $all, <<"CSV"), '1 3 1 5 0', 'new, changed, deleted and skipped rows');
1,name1,1,true,false,$same
2,name2,2.00,true,false,$same
3,changed,3,true,false,$new
4,changed at once,4,true,false,$same
5,"",,"",false,$new
6,old,6,true,false,$old
7,name7,7,true,true,$new
8,name8,8,true,true,$old
new,new,1,false,false,$new
gone,never seen,1,false,true,$new
CSV
is(rows('acme.lead', 'id, name, n, ok'), <<'TEXT' =~ s/\n\z//r, '... and what became of them');
1|name1|1|t
2|name2|2|t
3|changed|3|t
4|changed at once|4|t
5|||f
6|name6|6|t
8|name8|8|t
9|name9|9|t
new|new|1|f
TEXT

is(merge($t, $all, ''), '0 0 0 0 0', 'an empty stage');
is(merge($t, $all, <<"CSV"), '0 2 0 0 0', 'an id that was staged more than once counts once');
1,first,1,true,false,$new
1,newest,1,true,false,2024-01-04T00:00:00Z
1,oldest,1,true,false,$same
2,read first,1,true,false,$new
2,read last,1,true,false,$new
CSV
is(value($node, "SELECT string_agg(name, ', ' ORDER BY id) FROM acme.lead WHERE id IN ('1', '2')"), 'newest, read last', '... with what is newest, or was read last');
is(merge($t, $all, [ "3,page one,3,t,f,$new\n", "3,page two,3,t,t,$new\n4,page two,4,t,f,$new\n" ]), '0 1 1 0 0', 'several pages in one stage');
is(merge($t, $all, [ "4,x,4,t,t,$new\n", "4,undeleted,4,t,f,2024-01-05T00:00:00Z\n" ]), '0 1 0 0 0', 'deleted and restored');

# Unchanged rows leave no trace.  Hint bits are set beforehand: with checksums,
# the default from PostgreSQL 18 on, setting them writes WAL.  That takes a
# commit that has reached the disk, hence the checkpoint in front.
my $many = live_table('many', join('', map { sprintf "%05d,x,1,t,f,$same\n", $_ } 1 .. 20_000), @columns);
my ($merged, $wal, $changed) = split /\n/, value($node, <<"SQL");
SELECT tt.stage($many, '$all', 'stamp') \\g /dev/null
SELECT tt.stage_load(convert_to(string_agg(format('%s,x,1,t,f,$same', lpad(i::text, 5, '0')), E'\\n'), 'UTF8')) FROM generate_series(1, 20000) AS i \\g /dev/null
CHECKPOINT;
VACUUM acme.many;
CHECKPOINT;
SELECT pg_current_wal_insert_lsn() AS before \\gset
SELECT tt.merge();
SELECT pg_current_wal_insert_lsn() - :'before' < 100000;
SELECT count(*) FROM acme.many WHERE xmax <> 0;
SQL
is($merged, '0 0 0 20000 0', 'unchanged rows are skipped');
is($wal, 't', '... without writing WAL');
is($changed, '0', '... or locking them');

# --- Marks instead of deletes ------------------------------------------------

my $m = live_table('marked', $start, @columns);

is(merge($m, $all, "1,last,1,t,t,$new\n2,name2,2,true,true,$old\ngone,x,1,t,t,$new\n", mark => 1), '0 1 0 2 0', 'a deleted row is marked');
is(value($node, "SELECT name, isdeleted FROM acme.marked WHERE id = '1'"), 'last|t', '... with its last values');
is(merge($m, $all, "1,last,1,t,t,$new\n", mark => 1), '0 0 0 1 0', 'marked once');
is(merge($m, $all, "1,back,1,t,f,2024-01-04T00:00:00Z\n", mark => 1), '0 1 0 0 0', 'and restored');
is(value($node, "SELECT count(*) FILTER (WHERE isdeleted) || ' of ' || count(*) FROM acme.marked"), '0 of 9', 'none marked, none gone');

# --- What makes a row fail ----------------------------------------------------

my $f = live_table('failing', join('', map { "$_,name$_,$_,true,false,$same\n" } 10 .. 60), @columns);

value($node, <<'SQL');
ALTER TABLE acme.failing ADD CONSTRAINT positive CHECK (n > 0), ADD UNIQUE (name);
CREATE TABLE mine (ref text REFERENCES acme.failing ON UPDATE CASCADE);
INSERT INTO mine VALUES ('11');
CREATE FUNCTION raise() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.name LIKE 'raise%' THEN RAISE 'not %', NEW.id; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER raise BEFORE INSERT OR UPDATE ON acme.failing FOR EACH ROW EXECUTE FUNCTION raise();
SQL
is(merge($f, $all, join '',
        "12,fine,12,t,f,$new\n", "11,x,1,t,t,$new\n", "13,x,-1,t,f,$new\n", "14,raise,1,t,f,$new\n",
        "15,x,1,t,t,$new\n", "zz,raise,1,t,f,$new\n", "zy,fine too,1,t,f,$new\n", "16,name17,1,t,f,$new\n"),
    <<'TEXT' =~ s/\n\z//r, 'rows that fail are set aside, the others go in');
1 1 1 0 5
11 23503 - update or delete on table "failing" violates foreign key constraint "mine_ref_fkey" on table "mine"
13 23514 - new row for relation "failing" violates check constraint "positive"
14 P0001 - not 14
16 23505 - duplicate key value violates unique constraint "failing_name_key"
zz P0001 - not zz
TEXT
is(rows('acme.failing', 'id, name') =~ s/^(?!1[1-6]\b|z).*\n//rmg, "11|name11\n12|fine\n13|name13\n14|name14\n16|name16\nzy|fine too", '... and nothing else has changed');

# Rows that need each other, in an order in which they cannot come one by one.
is(merge($f, $all, join '', "20,name21,1,t,f,$new\n", "21,name22,1,t,f,$new\n", "22,other,1,t,f,$new\n", "23,name24,1,t,f,$new\n", "24,name24,1,t,t,$new\n"),
    '0 4 1 0 0', 'unique values that wander from row to row');
my $tree = live_table('tree', '', 'parent|text COLLATE "C"', 'isdeleted|boolean|t|false');
value($node, 'ALTER TABLE acme.tree ADD FOREIGN KEY (parent) REFERENCES acme.tree');
is(merge($tree, '{id,parent,stamp}', join '', map { "$_," . ($_ - 1 || '') . ",$same\n" } reverse 1 .. 50), '50 0 0 0 0', 'children before their parents');
is(merge($tree, '{id,parent,isdeleted,stamp}', join('', map { "$_,,f,$new\n" } 2 .. 50) . "1,,t,$new\n"), '0 49 1 0 0', 'a parent that goes when its child lets go of it');
is(merge($tree, '{id,parent,isdeleted,stamp}', "60,61,f,$new\n61,,f,$new\n2,61,f,$new\n"), '2 1 0 0 0', 'a row that gets a new parent');

# A staged row that is none.
is(value($node, "SELECT tt.stage($f, '$all', 'stamp') \\g /dev/null\nSELECT tt.stage_load(" . bytes("30,x,bad,t,f,$new\n,x,1,t,f,$new\n31,fine31,1,t,f,$new\n") . ");\nSELECT tt.merge();"),
    "1\n30 22P02 " . column_read($node, 'n') . qq( invalid input syntax for type numeric: "bad"\n- 23502 id null value in column "id" of relation "_sync_stage" violates not-null constraint\n0 1 0 0 0), 'rows refused by the stage are named, too');

# --- Tables that users have changed ---------------------------------------------

my $u = live_table('used', $start, @columns);

value($node, <<'SQL');
ALTER TABLE acme.used ADD mine text, ADD num bigint GENERATED ALWAYS AS IDENTITY, ADD twice numeric GENERATED ALWAYS AS (n * 2) STORED;
SELECT tt.guard('acme.used'::regclass::oid, false);
UPDATE acme.used SET mine = 'kept';
CREATE TABLE fired (what text);
GRANT INSERT ON fired TO app;
CREATE FUNCTION fire() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.fired VALUES (TG_OP || ' ' || sync.applying() || ' ' || current_user); RETURN NULL; END $$;
CREATE TRIGGER fire AFTER INSERT OR UPDATE OR DELETE ON acme.used FOR EACH ROW EXECUTE FUNCTION fire();
SQL
is(merge($u, $all, "1,changed,10,t,f,$new\n2,x,2,t,t,$new\nnew,x,3,t,f,$new\n"), '1 1 1 0 0', 'a table with columns and triggers of the user');
is(value($node, "SELECT mine, num, twice FROM acme.used WHERE id IN ('1', 'new') ORDER BY id"), "kept|1|20\n|10|6", '... which keep their values');
is(value($node, 'SELECT string_agg(what, \', \' ORDER BY what) FROM fired'), 'DELETE true app, INSERT true app, UPDATE true app', '... and fire once, for what happened');
value($node, 'CREATE COLLATION anycase (provider = icu, locale = \'und-u-ks-level2\', deterministic = false); ALTER TABLE acme.used ALTER name TYPE text COLLATE anycase');
is(merge($u, $all, "1,CHANGED,10,t,f,$new\n"), '0 1 0 0 0', 'another spelling is a change, whatever the collation says');
like(error_of($node, "SELECT tt.stage($u, '$all', 'stamp'); SELECT tt.stage_load(" . bytes("1,x,1,t,f,$new\n") . "); ALTER TABLE acme.used RENAME name TO renamed; SELECT tt.merge();"),
    qr/42703: table "acme.used" has no column "name"/, 'a column that went in between');

my $q = create_table($node, 'Ac"me', 'Sel"ect', 'order|text', 'Fr"om|integer');
value($node, "SELECT tt.load($q, '{id,order,\"Fr\\\"om\",stamp}', " . bytes("1,a,1,$same\n") . "), tt.build_keys($q, '{order}')");
is(merge($q, '{id,order,"Fr\"om",stamp}', "1,b,2,$new\n2,c,3,$new\n"), '1 1 0 0 0', 'keywords and quotes as names');
is(value($node, "SELECT tt.delete_ids($q, '{1}', NULL, 'stamp')"), '0 0 1 0 0', '... for deletes as well');

value($node, 'CREATE TABLE acme.parts (id text COLLATE "C" PRIMARY KEY, n int, stamp timestamptz) PARTITION BY HASH (id); CREATE TABLE acme.part0 PARTITION OF acme.parts FOR VALUES WITH (MODULUS 2, REMAINDER 0); CREATE TABLE acme.part1 PARTITION OF acme.parts FOR VALUES WITH (MODULUS 2, REMAINDER 1); ALTER TABLE acme.parts OWNER TO app; ALTER TABLE acme.part0 OWNER TO app; ALTER TABLE acme.part1 OWNER TO app');
my $p = value($node, q{SELECT 'acme.parts'::regclass::oid});
is(merge($p, '{id,n,stamp}', join '', map { "$_,$_,$same\n" } 1 .. 20), '20 0 0 0 0', 'into partitions');
is(merge($p, '{id,n,stamp}', join '', map { "$_,0,$new\n" } 11 .. 30), '10 10 0 0 0', '... again');

# --- Deletes by id -----------------------------------------------------------------

my $d = live_table('deletes', join('', map { "$_,name$_,$_,true,false,$same\n" } 10 .. 30), @columns);

is(value($node, "SELECT tt.delete_ids($d, '{10,11,12,nobody}', ARRAY['$old', '$same', NULL, '$new']::timestamptz[], 'stamp')"),
    '0 0 2 2 0', 'deletes up to a moment');
is(value($node, "SELECT string_agg(id, ' ' ORDER BY id) FROM acme.deletes WHERE id < '14'"), '10 13', '... leave newer rows');
value($node, "CREATE TABLE refers (ref text REFERENCES acme.deletes); INSERT INTO refers VALUES ('14')");
is(value($node, "SELECT tt.delete_ids($d, '{13,14,15}', NULL, 'stamp')"),
    qq(0 0 2 0 1\n14 23503 - update or delete on table "deletes" violates foreign key constraint "refers_ref_fkey" on table "refers"), 'a foreign key refuses one');
is(value($node, "SELECT tt.delete_ids($d, '{14,16,nobody}', NULL, 'stamp', true), tt.delete_ids($d, '{14}', NULL, NULL, true)"),
    '0 2 0 1 0|0 0 0 1 0', 'marks by id');
is(value($node, 'SELECT string_agg(id, \' \' ORDER BY id) FROM acme.deletes WHERE isdeleted'), '14 16', '... are there');

sub sweep
{
    my ($mark, $rows, $columns) = @_;

    return value($node, "SELECT tt.stage($d, '$columns', 'stamp') \\g /dev/null\nSELECT tt.stage_load("
          . bytes($rows) . ") \\g /dev/null\nSELECT tt.delete_absent('$new', $mark);\nSELECT tt.stage_drop() \\g /dev/null");
}

value($node, "SELECT tt.load($d, '$all', " . bytes("young,x,1,t,f,$new\n") . ')');
is(sweep('true', join('', map { "$_\n" } 10, 17 .. 30), '{id}'), '0 0 0 0 0', 'a sweep that marks has nothing to do');
is(sweep('true', join('', map { "$_\n" } 17 .. 30), '{id}'), '0 1 0 0 0', '... or marks');
is(sweep('false', join('', map { "$_,f\n" } 10, 17 .. 28) . "29,t\n", '{id,isdeleted}'),
    qq(0 0 3 0 1\n14 23503 - update or delete on table "deletes" violates foreign key constraint "refers_ref_fkey" on table "refers"),
    'a sweep that deletes, but for what is referred to');
is(value($node, 'SELECT string_agg(id, \' \' ORDER BY id) FROM acme.deletes'), join(' ', 10, 14, 17 .. 28, 'young'), '... leaves what is younger');

# --- What a second reading of ids and stamps has to fetch ------------------------------

is(value($node, "SELECT tt.stage($m, '{id,stamp,isdeleted}', 'stamp') \\g /dev/null\nSELECT tt.stage_load("
          . bytes("2,$same,f\n3,$new,f\nnew,$new,f\n4,$same,t\ngone,$same,t\n5,$old,f\n") . ") \\g /dev/null\nSELECT tt.absent();"),
    '3 new 4 5', 'rows that differ, and deleted ones that are here');
value($node, "SELECT tt.delete_ids($m, '{4}', NULL, 'stamp', true)");
is(value($node, "SELECT tt.stage($m, '{id,stamp,isdeleted}', 'stamp') \\g /dev/null\nSELECT tt.stage_load("
          . bytes("4,$same,t\n") . ") \\g /dev/null\nSELECT tt.absent();"), '', '... but not those that are marked already');

# --- The stage ---------------------------------------------------------------------------

is(value($node, "SELECT tt.stage($m, '{id}', NULL), tt.stage($m, '{id,name}', NULL) \\g /dev/null\nSELECT count(*) FROM pg_class WHERE relpersistence = 't' AND relkind = 'r';\nSELECT tt.stage_drop(), tt.stage_drop() \\g /dev/null\nSELECT count(*) FROM pg_class WHERE relpersistence = 't';"),
    "1\n0", 'there is one stage at most, and none afterwards');
value($node, 'ALTER DATABASE postgres OWNER TO app; REVOKE TEMP ON DATABASE postgres FROM PUBLIC; CREATE SCHEMA own AUTHORIZATION usr');
my $o = value($node, q{SELECT tt.create_table('own', 't', ARRAY['id|text', 'n|integer', 'stamp|timestamp with time zone'], 'usr', NULL)});
value($node, "SELECT tt.build_keys($o, '{}')");
is(merge($o, '{id,n,stamp}', "1,1,$new\n"), '1 0 0 0 0', 'the owner need not be allowed to create temporary tables');

# A hostile type: its check runs as the owner wherever rows are cast.
value($node, <<'SQL');
CREATE TABLE casts (who text);
GRANT INSERT ON casts TO usr;
CREATE FUNCTION spy(int) RETURNS bool LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.casts VALUES (current_user); RETURN true; END $$;
CREATE DOMAIN spied AS int CHECK (spy(value));
ALTER TABLE own.t ALTER n TYPE spied;
TRUNCATE casts;
SQL
is(merge($o, '{id,n,stamp}', "2,2,$new\n"), '1 0 0 0 0', 'a column of a domain');
is(value($node, 'SELECT DISTINCT who FROM casts'), 'usr', '... is checked by its owner, also in the stage');

# --- Plans ----------------------------------------------------------------------------------

# Whether the key's index is used must not depend on luck: one row of many.
my $one = value($node, <<"SQL");
BEGIN;
SELECT tt.stage($many, '$all', 'stamp') \\g /dev/null
SELECT tt.stage_load('00001,changed,1,t,f,$new') \\g /dev/null
SELECT tt.merge();
SELECT seq_scan FROM pg_stat_xact_user_tables WHERE relid = $many;
COMMIT;
SQL
is($one, "0 1 0 0 0\n0", 'one changed row is found by the key');

# --- Many rows, bad ones anywhere --------------------------------------------------------------

my $seed = $ENV{SEED} || int(rand(1 << 30));
note("SEED=$seed");
srand($seed);
my $r = live_table('random', join('', map { sprintf "r%05d,old,1,t,f,$same\n", $_ } 1 .. 10_000), @columns);
value($node, 'ALTER TABLE acme.random ADD CONSTRAINT positive CHECK (n > 0)');

for my $share (0, 0.0003, 0.01, 0.3)
{
    my %expect = (i => 0, u => 0, d => 0, s => 0, f => 0);
    my (@rows, @bad, %now);

    %now = map { (split /\|/)[ 0, 1 ] } split /\n/, rows('acme.random', 'id, name');
    for my $i (1 .. 6000)
    {
        my $key = sprintf 'r%05d', 1 + int rand 12_000;
        next if $expect{$key}++;
        my $there = exists $now{$key};
        my $kind = rand() < $share ? 'f' : (qw(u s d))[ rand 3 ];

        if ($kind eq 'f') { push @rows, "$key,bad,-1,t,f,$new\n"; push @bad, $key; $expect{f}++ }
        elsif ($kind eq 'd') { push @rows, "$key,x,1,t,t,$new\n"; $expect{ $there ? 'd' : 's' }++; delete $now{$key} }
        elsif ($kind eq 's' && $there) { push @rows, "$key,older,1,t,f,$old\n"; $expect{s}++ }
        else { push @rows, "$key,v$share-$i,1,t,f,$new\n"; $expect{ $there ? 'u' : 'i' }++; $now{$key} = "v$share-$i" }
    }
    my $file = PostgreSQL::Test::Utils::tempdir() . '/rows';
    append_to_file($file, join '', @rows);
    my ($counts, @refused) = split /\n/,
      value($node, "SELECT tt.stage($r, '$all', 'stamp') \\g /dev/null\nSELECT tt.stage_load_file('$file') \\g /dev/null\nSELECT tt.merge();");

    is($counts, join(' ', @expect{qw(i u d s f)}), "share $share: " . scalar(@rows) . ' rows, counted');
    is(join(' ', map { (split / /)[0] } @refused), join(' ', sort @bad), '... the bad ones are named');
    is_deeply({ map { (split /\|/)[ 0, 1 ] } split /\n/, rows('acme.random', 'id, name') }, \%now, '... and the table is what it should be');
}

$node->stop;
done_testing();
