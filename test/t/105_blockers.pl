
# Whatever we wait for in vain, the process that has it is named, and no other.

use strict;
use warnings FATAL => 'all';
use SyncTest;
use Test::More;
use WayOut;

my ($org, $node) = two_way(leads => 20, contacts => 10, accounts => 10, objects => [qw(Lead Contact Account)]);
my @leads = split /\n/, sql($node, 'SELECT id FROM acme.lead WHERE NOT isconverted ORDER BY id');
my @contacts = split /\n/, sql($node, 'SELECT id FROM acme.contact ORDER BY id');

my ($reading, $reader);

sub open_session
{
    my ($sql) = @_;
    my $session = $node->background_psql('postgres', on_error_die => 1);

    $session->query_safe("BEGIN; $sql");
    ($reading, $reader) = open_session('LOCK TABLE acme.lead, acme.contact, acme.account IN ACCESS SHARE MODE')
      if $sql !~ /ACCESS SHARE/;
    chomp(my $pid = $session->query_safe('SELECT pg_backend_pid()'));
    return ($session, $pid);
}

sub close_session
{
    my ($session) = @_;
    foreach ($session, $reading)
    {
        $_->query_safe('ROLLBACK');
        $_->quit;
    }
    return;
}

# Of two sessions: who has the lock, and somebody who only reads, like pg_dump
sub told
{
    my ($pid, $reader, $what) = @_;
    wait_for($node, qq{SELECT count(*) > 0 FROM sync.failures WHERE message ~ 'process $pid\\M'}, $what)
      or diag(sql($node, 'SELECT operation, object, record, code, message FROM sync.failures'));
    return is(sql($node, qq{SELECT count(*) FROM sync.failures WHERE message ~ 'process $reader\\M'}), 0, '... and no reader');
}

sub healed
{
    my ($condition, $what) = @_;
    wait_for($node, $condition, $what);
    $node->psql('postgres', q{SELECT * FROM sync.now('acme')});
    return wait_for($node, q{SELECT count(*) = 0 FROM sync.failures}, '... nothing is left of it');
}

{
    sql($node, 'CREATE UNIQUE INDEX one_email ON acme.lead (email) WHERE email IS NOT NULL');
    my ($session, $pid) = open_session("INSERT INTO acme.lead (lastname, company, email) VALUES ('Key', 'x', 'key\@x.example')");
    $org->update('Lead', { Id => $leads[0], Email => 'key@x.example' });
    sync_now($node, 'acme');
    told($pid, $reader, 'a unique key');
    close_session($session);
    healed(qq{SELECT email = 'key\@x.example' FROM acme.lead WHERE id = '$leads[0]'}, '... it comes');
    sql($node, 'DROP INDEX acme.one_email');
}

foreach my $rows (1, 8)
{
    sql($node, q{
        CREATE TABLE public.audit (id text);
        CREATE FUNCTION public.audit() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN INSERT INTO public.audit VALUES (new.id); RETURN NULL; END';
        CREATE TRIGGER audit AFTER UPDATE ON acme.lead FOR EACH ROW EXECUTE FUNCTION public.audit()});
    my ($session, $pid) = open_session('LOCK TABLE public.audit');
    $org->update('Lead', map { { Id => $_, Title => "audited $rows" } } @leads[1 .. $rows]);
    $node->psql('postgres', q{SELECT * FROM sync.now('acme')});
    told($pid, $reader, "a trigger's table, $rows rows");
    close_session($session);
    healed(qq{SELECT count(*) = $rows FROM acme.lead WHERE title = 'audited $rows'}, '... they come');
    sql($node, 'DROP TABLE public.audit; DROP FUNCTION public.audit CASCADE');
}

# The new id of a parent has to go into a row that is locked
{
    sql($node, q{SELECT sync.set('acme', 'Account', 'direction', 'both')});
    hold($node);
    my $parent = sql($node, q{INSERT INTO acme.account (name) VALUES ('Parent') RETURNING id});
    sql($node, qq{UPDATE acme.contact SET accountid = '$parent' WHERE id = '$contacts[0]'});
    my ($session, $pid) = open_session("SELECT FROM acme.contact WHERE id = '$contacts[0]' FOR UPDATE");
    sql($node, q{SELECT sync.resume('acme')});
    told($pid, $reader, 'a row that refers to one that is to take its id');
    close_session($session);
    healed(qq{SELECT count(*) = 1 FROM acme.contact c JOIN acme.account a ON a.id = c.accountid
        WHERE c.id = '$contacts[0]' AND a.name = 'Parent' AND a.id NOT LIKE '~%'}, '... it takes it');
}

# An advisory lock in a trigger
{
    sql($node, q{
        CREATE FUNCTION public.one_by_one() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN PERFORM pg_advisory_xact_lock(42); RETURN NULL; END';
        CREATE TRIGGER one_by_one AFTER UPDATE ON acme.lead FOR EACH ROW EXECUTE FUNCTION public.one_by_one()});
    my ($session, $pid) = open_session('SELECT pg_advisory_xact_lock(42)');
    $org->update('Lead', { Id => $leads[9], Title => 'advised' });
    sync_now($node, 'acme');
    told($pid, $reader, 'an advisory lock');
    close_session($session);
    healed(qq{SELECT title = 'advised' FROM acme.lead WHERE id = '$leads[9]'}, '... it comes');
    sql($node, 'DROP FUNCTION public.one_by_one CASCADE');
}

# A foreign key that is checked at the end of the transaction
{
    sql($node, qq{CREATE TABLE public.town (name text PRIMARY KEY);
        INSERT INTO public.town SELECT DISTINCT city FROM acme.lead WHERE city IS NOT NULL ON CONFLICT DO NOTHING;
        INSERT INTO public.town VALUES ('Late');
        ALTER TABLE acme.lead ADD CONSTRAINT town FOREIGN KEY (city) REFERENCES public.town DEFERRABLE INITIALLY DEFERRED});
    my ($session, $pid) = open_session(q{DELETE FROM public.town WHERE name = 'Late'});
    $org->update('Lead', { Id => $leads[10], City => 'Late' }, { Id => $leads[11], Title => 'beside' });
    $node->psql('postgres', q{SELECT * FROM sync.now('acme')});
    told($pid, $reader, 'a deferred key');
    is(sql($node, qq{SELECT title FROM acme.lead WHERE id = '$leads[11]'}), 'beside', '... another row comes in');
    close_session($session);
    healed(qq{SELECT city = 'Late' FROM acme.lead WHERE id = '$leads[10]'}, '... it comes');
    sql($node, 'ALTER TABLE acme.lead DROP CONSTRAINT town');
}
done_testing();
