
# The owner alters a synced table: writes are refused with a clear error, the
# server neither crashes nor shows memory, and goes on when it is undone.

use strict;
use warnings FATAL => 'all';
use SyncTest;
use Test::More;
use WayOut;

my ($org, $node) = two_way(leads => 10, contacts => 6, accounts => 3, objects => [qw(Lead Account)]);
my ($lead, $other) = split /\n/, sql($node, 'SELECT id FROM acme.lead ORDER BY id');
my $postmaster = $node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()');
my @writes = (
    q{INSERT INTO acme.lead (lastname, company) VALUES ('New', 'x')},
    q{UPDATE acme.lead SET title = 'altered ' || random()},
    qq{DELETE FROM acme.lead WHERE title IS DISTINCT FROM 'none'});

hold($node);

# Each write in a session of its own, and all in one whose cache is warm.
sub all_refused
{
    my ($what, $message) = @_;

    like(sql_error($node, $_), qr/ERROR:\s+\w{5}: $message/, "$what") for @writes;
    my $all = join "\n", map { "$_;" } @writes, @writes;
    my ($status, $out, $err) = $node->psql('postgres', $all, on_error_stop => 0);
    is(scalar(() = $err =~ /ERROR/g), 6, '... again and again in one session');
    unlike($err, qr/XX\d\d\d|server closed/, '... and nothing worse');
    return;
}

my $altered = qr/table "acme\.lead" was altered and takes no changes/;
my @cases = (
    [ 'id renamed', 'RENAME id TO key', 'RENAME key TO id', qr/$altered: column "id" is missing/ ],
    [ 'local_id renamed', 'RENAME local_id TO number', 'RENAME number TO local_id', qr/$altered: column "local_id" is missing/ ],
    [ 'local_id of another type', 'ALTER local_id TYPE text', 'ALTER local_id TYPE bigint USING local_id::bigint',
        qr/$altered: column "local_id" is of type text instead of bigint/ ],
    [ 'local_id of a smaller type', 'ALTER local_id TYPE smallint', 'ALTER local_id TYPE bigint', qr/$altered: column "local_id" is of type smallint/ ],
    [ 'id of another type', 'ALTER id TYPE varchar(30)', 'ALTER id TYPE text COLLATE "C"', qr/$altered: column "id" is of type character varying/ ],
    [ 'id of a fixed type', 'ALTER id TYPE char(18)', 'ALTER id TYPE text COLLATE "C"', qr/$altered: column "id" is of type/ ]);

foreach my $case (@cases)
{
    my ($what, $alter, $undo, $message) = @$case;

    sql($node, "ALTER TABLE acme.lead $alter");
    all_refused($what, $message);
    $node->psql('postgres', q{SELECT * FROM sync.now('acme', 'Lead')});
    sql($node, "ALTER TABLE acme.lead $undo");
    sql($node, qq{UPDATE acme.lead SET title = '$what' WHERE id = '$lead'});
    is(sql($node, qq{SELECT changes->'title'->>1 FROM sync.outbox WHERE record = '$lead' ORDER BY seq DESC LIMIT 1}), $what,
        '... and caught again when it is undone');
}

# In the transaction that writes as well, before and after the first write.
foreach my $first ('', qq{UPDATE acme.lead SET title = 'first' WHERE id = '$lead';})
{
    my $error = sql_error($node, qq{BEGIN; $first ALTER TABLE acme.lead RENAME local_id TO number;
        UPDATE acme.lead SET title = 'second' WHERE id = '$other'; COMMIT});
    like($error, qr/$altered/, 'altered in the transaction that writes');
}

# Columns dropped, added, made larger by others: what is there is caught.
sql($node, q{ALTER TABLE acme.lead ADD COLUMN mine text, ADD COLUMN more bigint; ALTER TABLE acme.lead DROP COLUMN mine});
sql($node, qq{UPDATE acme.lead SET more = 1, title = 'more' WHERE id = '$lead'});
is(sql($node, qq{SELECT changes FROM sync.outbox WHERE record = '$lead' ORDER BY seq DESC LIMIT 1}) =~ /"more"\]/ ? 1 : 0, 1,
    'with columns of users added and dropped');
is(sql($node, q{SELECT count(*) FROM sync.outbox WHERE changes::text LIKE '%"more":%'}), 0, '... theirs are not caught');

# Partitions: attached under the synced table, detached, attached under another one.
sql($node, q{SELECT sync.disable('acme', 'Account', true)});
sql($node, q{SELECT sync.enable('acme', ARRAY['Contact'], 'acme')});
sql($node, q{SELECT sync.resume('acme')});
wait_live($node, 'acme');
hold($node);
sql($node, q{
    CREATE TABLE public.whole (LIKE acme.contact) PARTITION BY LIST (department);
    CREATE TABLE public.other PARTITION OF public.whole DEFAULT;
    ALTER TABLE acme.contact ALTER COLUMN department SET DEFAULT 'x';
    UPDATE acme.contact SET department = 'x';
    ALTER TABLE public.whole ATTACH PARTITION acme.contact FOR VALUES IN ('x')});
my ($contact, $second) = split /\n/, sql($node, 'SELECT id FROM acme.contact ORDER BY id');
sql($node, qq{UPDATE public.whole SET title = 'through another parent' WHERE id = '$contact'});
like(sql($node, qq{SELECT changes FROM sync.outbox WHERE record = '$contact' ORDER BY seq DESC LIMIT 1}), qr/through another parent/,
    'attached under another parent: caught');
sql($node, qq{UPDATE public.whole SET department = 'y' WHERE id = '$contact'});
is(sql($node, qq{SELECT operation FROM sync.outbox WHERE record = '$contact' ORDER BY seq DESC LIMIT 1}), 'delete',
    'a row that moves out of the synced table is deleted there');
like(sql_error($node, qq{UPDATE public.whole SET department = 'x' WHERE id = '$contact'}), qr/42501|23505/, 'and does not come back by its id');
sql($node, 'ALTER TABLE public.whole DETACH PARTITION acme.contact');
sql($node, qq{UPDATE acme.contact SET title = 'detached' WHERE id = '$second'});
like(sql($node, qq{SELECT changes FROM sync.outbox WHERE record = '$second' ORDER BY seq DESC LIMIT 1}), qr/detached/, 'detached: caught');

# Our functions as triggers of tables that have nothing to do with it.
sql($node, q{CREATE TABLE public.stray (id int, local_id text); CREATE VIEW public.stray_view AS TABLE public.stray});
foreach my $trigger ('AFTER INSERT ON public.stray FOR EACH ROW EXECUTE FUNCTION sync.capture()',
    'AFTER INSERT ON public.stray FOR EACH STATEMENT EXECUTE FUNCTION sync.capture()',
    'BEFORE INSERT ON public.stray FOR EACH ROW EXECUTE FUNCTION sync.capture()',
    'BEFORE INSERT ON public.stray FOR EACH STATEMENT EXECUTE FUNCTION sync.identify()',
    'AFTER INSERT ON public.stray FOR EACH ROW EXECUTE FUNCTION sync.identify()',
    'INSTEAD OF INSERT ON public.stray_view FOR EACH ROW EXECUTE FUNCTION sync.capture()',
    'INSTEAD OF INSERT ON public.stray_view FOR EACH ROW EXECUTE FUNCTION sync.identify()')
{
    my ($table) = $trigger =~ /ON (\S+)/;
    my $error = sql_error($node, "BEGIN; CREATE TRIGGER t $trigger; INSERT INTO $table VALUES (1, 'x')");
    like($error, qr/ERROR:\s+(39P01|55000)/, '... as a stray trigger');
}
sql($node, q{BEGIN; CREATE TRIGGER t BEFORE INSERT ON public.stray FOR EACH ROW EXECUTE FUNCTION sync.identify();
    INSERT INTO public.stray VALUES (1, 'x'); ROLLBACK});

is($node->safe_psql('postgres', 'SELECT pg_postmaster_start_time()'), $postmaster, 'the server is the same');
unlike(PostgreSQL::Test::Utils::slurp_file($node->logfile), qr/terminated by signal/, 'nobody crashed');
done_testing();
