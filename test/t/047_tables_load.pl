
# The tables bank: rows from a source into a table, and those that do not fit.

use strict;
use warnings;
use PostgreSQL::Test::Utils;
use TablesTest;
use Test::More;

my $node = tables_node('tables_load');

# Loads rows into an emptied table; what tt.load says, and the ids that are in.
sub load
{
    my ($table, $columns, $rows, @more) = @_;
    my $more = join '', map { ", $_" } @more;

    return value($node, "SELECT tt.apply('$table'::regclass::oid, 'TRUNCATE $table') \\g /dev/null\n"
          . "SELECT tt.load('$table'::regclass::oid, '$columns', " . bytes($rows) . "$more)");
}

sub ids
{
    my ($table) = @_;

    return value($node, "SELECT string_agg(id, ' ' ORDER BY id) FROM $table");
}

# --- What COPY takes ---------------------------------------------------------

create_table($node, 'acme', 'lead', 'name|text', 'n|integer', 'ok|boolean|t|false', 'maybe|boolean', 'day|date');
my $all = '{id,name,n,ok,maybe,day,stamp}';

is(load('acme.lead', $all, <<'CSV'), '5', 'rows as Salesforce sends them');
"1","a","1","true","false","2024-02-29","2024-01-01T10:00:00.000Z"
"2","","","false","","",""
"3",,,false,,,
"4","two
lines, ""quoted"", ünïcödé","-5","true","","","2024-01-01T10:00:00.000+0000"
"5","\.","1","true","","",""
CSV
is(value($node, 'SELECT count(*), count(name), count(n), bool_or(maybe), max(stamp) FROM acme.lead'),
    '5|3|3|f|2024-01-01 10:00:00+00', 'empty values are NULL, quoted or not');
is(value($node, "SELECT name FROM acme.lead WHERE id = '4'"), qq(two\nlines, "quoted", ünïcödé), 'text arrives as it is');
is(load('acme.lead', $all, ''), '0', 'no rows');
is(load('acme.lead', '{id,n}', "1,2\r\n3,4"), '2', 'CRLF, and no line feed at the end');
for my $chunk (1, 2, 3, 7)
{
    is(value($node, "SELECT tt.chunk($chunk) \\g /dev/null\nSELECT tt.load('acme.lead'::regclass::oid, '{id,name}', " . bytes(qq("a$chunk","x""\n"\n"b$chunk",ü\n)) . ')'),
        '2', "a source that gives $chunk bytes at a time");
}

# --- Rows that are refused, each alone ------------------------------------------

my $id = '00QR00000001abcAAA';
my ($in_n, $in_day, $in_ok) = map { column_read($node, $_) } qw(n day ok);
my %bad = (
    'a value of the wrong type' => [ "$id,x,no,t,,,", "$id 22P02 $in_n " ],
    'a number out of range' => [ "$id,x,99999999999,t,,,", "$id 22003 $in_n " ],
    'a day that is none' => [ "$id,x,1,t,,2023-02-29,", "$id 22008 $in_day " ],
    'a record that is too short' => [ "$id,x,1", "$id 22P04 - " ],
    'a record that is too long' => [ "$id,x,1,t,,,,more", "$id 22P04 - " ],
    'an empty record' => [ '', '- 22P04 - ' ],
    'bytes that are not UTF-8' => [ "$id,\"a\xff\nb\",1,t,,,", "$id 22021 - " ],
    'a character cut short' => [ "$id,\xe2\x82,1,t,,,", "$id 22021 - " ],
    'an id that is not UTF-8' => [ "x\xff,x,1,t,,,", '- 22021 - ' ],
    'no id' => [ ',x,1,t,,,', '- 23502 id ' ],
    'what a CHECK refuses' => [ "$id,checked,1,t,,,", "$id 23514 - " ],
    'what a trigger refuses' => [ "$id,raised,1,t,,,", "$id P0001 - not this one" ],
    'what a trigger refuses in its own words' => [ "$id,own,1,t,,,", "$id XY123 - mine" ],
    'what is too long for an index' => [ "$id," . join('', map { chr(97 + rand 26) } 1 .. 9000) . ',1,t,,,', "$id 54000 - " ],
    'what a foreign key refuses' => [ "$id,x,7,t,,,", "$id 23503 - " ],
    'what a domain refuses' => [ "$id,x,1,t,,2001-01-01,", "$id 23514 $in_day " ],
);

value($node, <<'SQL');
SELECT tt.apply('acme.lead'::regclass::oid, 'TRUNCATE acme.lead');
CREATE TABLE numbers (n int PRIMARY KEY);
INSERT INTO numbers SELECT generate_series(1, 3);
GRANT REFERENCES, SELECT ON numbers TO app;
CREATE DOMAIN recent AS date CHECK (value > '2001-01-01');
CREATE FUNCTION raise() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.name = 'raised' THEN RAISE 'not this one'; END IF;
    IF NEW.name = 'own' THEN RAISE 'mine' USING ERRCODE = 'XY123'; END IF;
    RETURN NEW;
END $$;
ALTER TABLE acme.lead ADD CHECK (name <> 'checked'), ADD FOREIGN KEY (n) REFERENCES numbers, ALTER day TYPE recent;
CREATE TRIGGER raise BEFORE INSERT ON acme.lead FOR EACH ROW EXECUTE FUNCTION raise();
CREATE INDEX ON acme.lead (name);
SQL

for my $what (sort keys %bad)
{
    my ($record, $expected) = @{ $bad{$what} };

    for my $before (0, 1, 5)
    {
        my $rows = join '', map { "\"$_\",\"x\",2,t,,,\n" } 1 .. 9;
        my @rows = split /^/, $rows;

        splice @rows, $before, 0, "$record\n";
        my ($n, @refused) = split /\n/, load('acme.lead', $all, join '', @rows);
        is($n, 9, "$what, after $before: the others go in");
        is(scalar @refused, 1, '... one is refused');
        like($refused[0] // '', qr/^\Q$expected\E/, '... and named');
    }
}
is(ids('acme.lead'), '1 2 3 4 5 6 7 8 9', 'nothing is in twice');

like(load('acme.lead', $all, qq(1,x,1,t,,,\n2,x,2,t,,,\n3,x,"open\n)), qr/^2\n3 22P04 - unterminated/, 'an open quote at the end');
is(load('acme.lead', $all, "1,x,1,,,,\n2,x,2,\"\",,,\n3,x,3,t,,,\n"), '3', 'nothing is false, where NULL is not allowed');
is(value($node, "SELECT string_agg(ok::text || coalesce(maybe::text, '-'), ' ' ORDER BY id) FROM acme.lead"),
    'false- false- true-', '... but NULL where it is');
like(load('acme.lead', '{id,ok}', qq("1",""\r\n"2",""\r\n"3",what\r\n)), qr/^2\n3 22P02 $in_ok /, '... also at the end of a CRLF line');
my $long = load('acme.lead', '{id,n}', '1,' . ('x' x 5000) . "\n");
ok(length($long) < 1200, 'what is kept of a message has bounds');

# --- Errors that are no row's fault ------------------------------------------------

for my $state ('08006', '22P02', '23505', '57014', '54000')
{
    like(error_of($node, "SELECT tt.load('acme.lead'::regclass::oid, '$all', " . bytes("1,x,1,t,,,\n") . ", source_fails => '$state')"),
        qr/ERROR:  $state: the source fails/, "what the source raises ($state) is passed on");
    like(error_of($node, "SELECT tt.load('acme.lead'::regclass::oid, '$all', " . bytes("1,x,no,t,,,\n") . ", source_fails => '$state')"),
        qr/ERROR:  $state: the source fails/, '... also on the careful way') unless $state eq '57014';
}
like(error_of($node, "SELECT tt.load('acme.lead'::regclass::oid, '$all', " . bytes("1,x,1,t,,,\n") . ", source_fails => '22P02!')"),
    qr/ERROR:  22P02: the source fails/, '... without reading it again');
like(error_of($node, "SELECT tt.load('acme.lead'::regclass::oid, '{id,gone}', " . bytes("1,x\n") . ')'),
    qr/42703: /, 'a column that is not there');
value($node, 'CREATE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM gone(); RETURN NEW; END $$; CREATE TRIGGER broken BEFORE INSERT ON acme.lead FOR EACH ROW EXECUTE FUNCTION broken()');
like(error_of($node, "SELECT tt.load('acme.lead'::regclass::oid, '{id}', " . bytes("1\n") . ')'),
    qr/42883: /, 'a trigger that is broken for every row');
value($node, 'DROP TRIGGER broken ON acme.lead; REVOKE INSERT ON acme.lead FROM app');
like(error_of($node, "SELECT tt.load('acme.lead'::regclass::oid, '{id}', " . bytes("1\n") . ')'),
    qr/42501: permission denied for table lead/, 'an owner without the right to insert');
value($node, 'GRANT INSERT ON acme.lead TO app; ALTER TABLE acme.lead ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY');
like(error_of($node, "SELECT tt.load('acme.lead'::regclass::oid, '{id}', " . bytes("1\n") . ')'),
    qr/0A000: .*row-level security/, 'row-level security that binds the owner');
value($node, 'ALTER TABLE acme.lead NO FORCE ROW LEVEL SECURITY');
like(error_of($node, "BEGIN READ ONLY; SELECT tt.load('acme.lead'::regclass::oid, '{id}', " . bytes("1\n") . ')'),
    qr/25006: /, 'a read-only transaction');
value($node, 'CREATE FUNCTION nest() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM tt.load(\'acme.lead\'::regclass::oid, \'{id}\', \'x\'); RETURN NEW; END $$; CREATE TRIGGER nest AFTER INSERT ON acme.lead FOR EACH ROW EXECUTE FUNCTION nest()');
like(error_of($node, "SELECT tt.load('acme.lead'::regclass::oid, '{id}', " . bytes("1\n") . ')'),
    qr/55000: cannot load rows while other rows are being loaded/, 'loads do not nest');
value($node, 'DROP TRIGGER nest ON acme.lead');
is(load('acme.lead', '{id}', "1\n"), '1', 'and after all of this a load goes well');

# --- Resuming: rows and progress commit together -------------------------------------

is(value($node, <<'SQL'), "1\n1", 'a page that was rolled back is not there, and comes again');
SELECT tt.apply('acme.lead'::regclass::oid, 'TRUNCATE acme.lead') \g /dev/null
BEGIN; SELECT tt.load('acme.lead'::regclass::oid, '{id}', 'a') \g /dev/null
ROLLBACK;
SELECT tt.load('acme.lead'::regclass::oid, '{id}', 'a');
SELECT count(*) FROM acme.lead;
SQL

# --- Another encoding ------------------------------------------------------------------

value($node, "CREATE DATABASE latin TEMPLATE template0 ENCODING LATIN1 LC_COLLATE 'C' LC_CTYPE 'C'");
value($node, 'GRANT CREATE ON DATABASE latin TO app');
load_functions($node, 'latin');
value($node, q{SELECT tt.create_table('acme', 'lead', ARRAY['id|text', 'name|text'], 'app', NULL)}, 'latin');
like(value($node, "SELECT tt.load('acme.lead'::regclass::oid, '{id,name}', " . bytes("1,\xc3\xbc\n2,\xe2\x82\xac\n3,x\n") . ')', 'latin'),
    qr/^2\n2 22P05 - /, 'a character that the database\'s encoding lacks');
is(value($node, "SELECT encode(convert_to(name, 'LATIN1'), 'hex') FROM acme.lead WHERE id = '1'", 'latin'), 'fc', '... the others are converted');

# --- Many rows, bad ones anywhere --------------------------------------------------------

my $seed = $ENV{SEED} || int(rand(1 << 30));
note("SEED=$seed");
srand($seed);
create_table($node, 'acme', 'many', 'name|text', 'n|integer', 'ok|boolean|t|false');

sub random_value
{
    my @parts = ('a', 'bc', ',', '""', "\n", 'ü', '\\', ' ', "\r\n", '\.');

    return '"' . join('', map { $parts[ rand @parts ] } 0 .. rand 6) . '"';
}

for my $round (1 .. 6)
{
    my $share = (0, 0.0005, 0.01, 0.2, 0.9, 1)[ $round - 1 ];
    my $n = $round < 4 ? 10_000 : 1_000;
    my (@rows, @good, @bad);

    for my $i (1 .. $n)
    {
        my $bad = rand() < $share;
        my $key = sprintf 'r%05d', $i;
        my @kinds = (
            "$key," . random_value() . ",x$i,t", "$key," . random_value(),
            "$key,\"\xfe\",$i,t", "$key,\"" . 'checked' . "\",$i,t");

        push @rows, $bad ? $kinds[ rand @kinds ] : "$key," . random_value() . ",$i," . ('', '""', 't', 'false')[ rand 4 ];
        push @{ $bad ? \@bad : \@good }, $key;
    }
    value($node, q{ALTER TABLE acme.many DROP CONSTRAINT IF EXISTS c, ADD CONSTRAINT c CHECK (name <> 'checked')});
    my $file = PostgreSQL::Test::Utils::tempdir() . '/rows';
    append_to_file($file, join("\n", @rows) . ($round % 2 ? "\n" : ''));
    my ($count, @refused) = split /\n/,
      value($node, "SELECT tt.apply('acme.many'::regclass::oid, 'TRUNCATE acme.many') \\g /dev/null\nSELECT tt.load_file('acme.many'::regclass::oid, '{id,name,n,ok}', '$file')");

    is($count, scalar @good, "round $round: $count of $n rows go in");
    is(join(' ', map { (split / /)[0] } grep { /^r\d{5} / } @refused), join(' ', @bad), '... and the others are refused, all and only they');
    is(value($node, q{SELECT count(*) FILTER (WHERE id <> format('r%s', lpad(n::text, 5, '0'))) FROM acme.many}), '0', '... with the values that belong together');
    is(ids('acme.many'), join(' ', @good), '... each once');
}

# --- Memory ------------------------------------------------------------------------------

my $big = PostgreSQL::Test::Utils::tempdir() . '/big';
open my $out, '>', $big or die;
print $out join(',', $_, '"' . 'x' x 90 . '"', $_ % 50_000 == 7 ? 'bad' : $_, 't'), "\n" for 1 .. 300_000;
close $out;
my ($small, $after) = split /\n/, value($node, <<"SQL");
SELECT tt.apply('acme.many'::regclass::oid, 'TRUNCATE acme.many') \\g /dev/null
SELECT tt.load('acme.many'::regclass::oid, '{id,name,n,ok}', '1,x,x,t') \\g /dev/null
SELECT tt.rss_anon();
SELECT tt.load_file('acme.many'::regclass::oid, '{id,name,n,ok}', '$big') \\g /dev/null
SELECT tt.rss_anon();
SQL
cmp_ok($after - $small, '<', 16 * 1024, 'careful loading of 30 MB takes little memory (' . ($after - $small) . ' kB)');
is(value($node, 'SELECT count(*) FROM acme.many'), '299994', '... and all the rows that fit');

$node->stop;
done_testing();
