
# No user stops the sync, and the sync stops no user: what a transaction of a
# user's has locked stands aside, is told with the process that has it, and comes
# soon after; all else goes on.

use strict;
use warnings FATAL => 'all';
use SyncTest;
use Test::More;
use Time::HiRes qw(time);
use WayOut;

my ($org, $node) = two_way(leads => 30, contacts => 20, accounts => 10, campaigns => 3,
    objects => [qw(Lead Contact Account Campaign CampaignMember)]);
my @leads = split /\n/, sql($node, 'SELECT id FROM acme.lead WHERE NOT isconverted ORDER BY id');
my @contacts = split /\n/, sql($node, 'SELECT id FROM acme.contact ORDER BY id');
my @accounts = split /\n/, sql($node, 'SELECT id FROM acme.account ORDER BY id');
my $round = 0;

# Somebody's transaction.
sub open_session
{
    my ($sql) = @_;
    my $session = $node->background_psql('postgres', on_error_die => 1);

    $session->query_safe("BEGIN; $sql");
    chomp(my $pid = $session->query_safe('SELECT pg_backend_pid()'));
    return ($session, $pid);
}

sub close_session
{
    my ($session) = @_;
    $session->query_safe('ROLLBACK');
    $session->quit;
    return;
}

# Meanwhile other objects go both ways, and no one waits in line behind us.
sub others_go_on
{
    my ($what, %opt) = @_;
    my $value = 'round ' . ++$round;
    my $started = time;

    if (($opt{not} // '') ne 'Contact')
    {
        sql($node, "SET lock_timeout = '5s'; UPDATE acme.contact SET title = '$value' WHERE id = '$contacts[0]'");
        wait_for($node, qq{SELECT count(*) = 0 FROM sync.outbox WHERE object = 'Contact' AND changes::text LIKE '%$value%'},
            "$what: a change of another object goes out");
        is(record_of($org, 'Contact', $contacts[0], 'Title')->{Title}, $value, '... and is there');
    }
    $org->update('Account', { Id => $accounts[0], Description => $value });
    sync_now($node, 'acme', 'Account');
    is(sql($node, qq{SELECT description FROM acme.account WHERE id = '$accounts[0]'}), $value, '... another object comes in');
    cmp_ok(time - $started, '<', 45, '... soon');
    isnt(sql($node, q{SELECT string_agg(DISTINCT state, ',') FROM sync.status}), 'stalled', '... the server is not stalled');
    return;
}

sub told
{
    my ($pid, $what) = @_;
    return wait_for($node, qq{SELECT count(*) > 0 FROM sync.failures WHERE message ~ 'process $pid\\M'}, $what);
}

sub no_failures
{
    my ($what) = @_;
    $node->psql('postgres', q{SELECT * FROM sync.now('acme')});
    return wait_for($node, q{SELECT count(*) = 0 FROM sync.failures}, $what);
}

# One row locked by SELECT ... FOR UPDATE: it stands aside, the others of its
# object come in.
foreach my $object (qw(Lead Account))
{
    my ($row, $other) = $object eq 'Lead' ? @leads[0, 1] : @accounts[1, 2];
    my $field = $object eq 'Lead' ? 'Title' : 'Description';
    my ($session, $pid) = open_session("SELECT FROM acme.$object WHERE id = '$row' FOR UPDATE");

    $org->update($object, { Id => $row, $field => 'locked here' }, { Id => $other, $field => 'free here' });
    sync_now($node, 'acme');
    is(sql($node, "SELECT $field FROM acme.$object WHERE id = '$other'"), 'free here', "$object: the other row comes in");
    told($pid, '... who has the row locked is told');
    like(sql($node, qq{SELECT code FROM sync.failures WHERE record = '$row'}), qr/55P03/, '... with the row');
    is(sql($node, "SELECT state FROM sync.status WHERE object = '$object'"), 'live', '... the object is live');
    others_go_on("$object row");
    close_session($session);
    wait_for($node, "SELECT $field = 'locked here' FROM acme.$object WHERE id = '$row'", '... and comes by itself when it is free');
    no_failures('... nothing is left of it');
}

# A row that was changed and not committed, and that changed in the org as well
{
    my ($session, $pid) = open_session("UPDATE acme.lead SET city = 'mine' WHERE id = '$leads[2]'");
    $org->update('Lead', { Id => $leads[2], Title => 'theirs' }, { Id => $leads[3], Title => 'theirs' });
    sync_now($node, 'acme');
    is(sql($node, qq{SELECT title FROM acme.lead WHERE id = '$leads[3]'}), 'theirs', 'an uncommitted change: other rows come in');
    told($pid, '... told');
    $session->query_safe('COMMIT');
    $session->quit;
    went_out($node, '... it goes out after its commit');
    wait_for($node, qq{SELECT title = 'theirs' AND city = 'mine' FROM acme.lead WHERE id = '$leads[2]'}, '... and both are there');
    is(record_of($org, 'Lead', $leads[2], 'City')->{City}, 'mine', '... on both sides');
    no_failures('... nothing is left of it');
}

# The whole table, in every mode that keeps us from writing
foreach my $mode ('SHARE', 'SHARE ROW EXCLUSIVE', 'EXCLUSIVE', 'ACCESS EXCLUSIVE')
{
    my ($session, $pid) = open_session("LOCK TABLE acme.lead IN $mode MODE");
    my $title = "in $mode";
    $org->update('Lead', { Id => $leads[4], Title => $title });
    sync_now($node, 'acme');
    told($pid, "LOCK TABLE IN $mode MODE: told");
    is(sql($node, q{SELECT state FROM sync.status WHERE object = 'Lead'}), 'failing', '... the object says so');
    like(sql($node, q{SELECT last_error FROM sync.status WHERE object = 'Lead'}), qr/process $pid/, '... and by whom');
    others_go_on('a locked table');
    close_session($session);
    wait_for($node, qq{SELECT title = '$title' FROM acme.lead WHERE id = '$leads[4]'}, '... it comes by itself when it is free');
    no_failures('... nothing is left of it');
}

# Changes that wait to go out, and rows that are to take their ids, in a table that
# somebody has locked.
foreach my $mode ('EXCLUSIVE', 'ACCESS EXCLUSIVE')
{
    hold($node);
    sql($node, qq{UPDATE acme.lead SET title = 'out of $mode' WHERE id = '$leads[5]';
        INSERT INTO acme.lead (lastname, company) VALUES ('New in $mode', 'x')});
    my ($session, $pid) = open_session("LOCK TABLE acme.lead IN $mode MODE");
    sql($node, q{SELECT sync.resume('acme')});
    others_go_on('changes of a locked table wait');
    close_session($session);
    went_out($node, '... and go out by themselves');
    wait_for($node, qq{SELECT count(*) = 1 FROM acme.lead WHERE lastname = 'New in $mode' AND id NOT LIKE '~%'}, '... the new row takes its id');
    is($org->count('Lead', "LastName = 'New in $mode'"), 1, '... of one record');
    no_failures('... nothing is left of it');
}

# Rows of users that refer to a synced one, not committed: the record is deleted,
# or the row is to take its id.
{
    sql($node, 'CREATE TABLE public.note (lead text REFERENCES acme.lead ON UPDATE CASCADE ON DELETE CASCADE)');
    my ($session, $pid) = open_session("INSERT INTO public.note VALUES ('$leads[6]')");
    $org->delete('Lead', $leads[6], $leads[7]);
    sync_now($node, 'acme');
    is(sql($node, qq{SELECT count(*) FROM acme.lead WHERE id = '$leads[7]'}), 0, 'a reference that is not committed: another record is deleted');
    is(sql($node, qq{SELECT count(*) FROM acme.lead WHERE id = '$leads[6]'}), 1, '... this one waits');
    told($pid, '... and is told');
    others_go_on('a reference');
    $session->query_safe('COMMIT');
    $session->quit;
    wait_for($node, qq{SELECT count(*) = 0 FROM acme.lead WHERE id = '$leads[6]'}, '... it goes when it can');
    no_failures('... nothing is left of it');

    hold($node);
    my $new = sql($node, q{INSERT INTO acme.lead (lastname, company) VALUES ('Referred to', 'x') RETURNING id});
    ($session, $pid) = open_session("INSERT INTO public.note VALUES ('$new')");
    sql($node, q{SELECT sync.resume('acme')});
    told($pid, 'a row that is to take its id is referred to: told');
    others_go_on('an id that waits');
    $session->query_safe('COMMIT');
    $session->quit;
    wait_for($node, q{SELECT count(*) = 1 FROM acme.lead WHERE lastname = 'Referred to' AND id NOT LIKE '~%'}, '... it takes its id when it can');
    is(sql($node, q{SELECT count(*) FROM public.note n JOIN acme.lead l ON l.id = n.lead WHERE l.lastname = 'Referred to'}), 1,
        '... and what refers to it follows');
    no_failures('... nothing is left of it');
    sql($node, 'DROP TABLE public.note');
}

# A key that an open transaction has inserted
{
    sql($node, 'CREATE UNIQUE INDEX one_email ON acme.lead (email) WHERE email IS NOT NULL');
    my ($session, $pid) = open_session("INSERT INTO acme.lead (lastname, company, email) VALUES ('Key', 'x', 'key\@x.example')");
    $org->update('Lead', { Id => $leads[8], Email => 'key@x.example' }, { Id => $leads[9], Title => 'beside the key' });
    sync_now($node, 'acme');
    is(sql($node, qq{SELECT title FROM acme.lead WHERE id = '$leads[9]'}), 'beside the key', 'a unique key that is not committed: other rows come in');
    is(sql($node, qq{SELECT count(*) FROM sync.failures WHERE record = '$leads[8]'}), 1, '... the row is told');
    others_go_on('a key');
    close_session($session);
    wait_for($node, qq{SELECT email = 'key\@x.example' FROM acme.lead WHERE id = '$leads[8]'}, '... it comes when it can');
    no_failures('... nothing is left of it');
    sql($node, 'DROP INDEX acme.one_email');
}

# A table of the user's that a trigger writes to
{
    sql($node, q{
        CREATE TABLE public.audit (id text);
        CREATE FUNCTION public.audit() RETURNS trigger LANGUAGE plpgsql AS
            'BEGIN INSERT INTO public.audit VALUES (new.id); RETURN NULL; END';
        CREATE TRIGGER audit AFTER UPDATE ON acme.lead FOR EACH ROW EXECUTE FUNCTION public.audit()});
    my ($session, $pid) = open_session('LOCK TABLE public.audit');
    $org->update('Lead', map { { Id => $_, Title => 'audited' } } @leads[10 .. 14]);
    sync_now($node, 'acme');
    wait_for($node, q{SELECT count(*) > 0 FROM sync.failures}, "a trigger's table that is locked: told");
    others_go_on("a trigger's table");
    close_session($session);
    wait_for($node, q{SELECT count(*) = 5 FROM acme.lead WHERE title = 'audited'}, '... the rows come when they can');
    no_failures('... nothing is left of it');
    sql($node, 'DROP TRIGGER audit ON acme.lead');
}

# Nobody waits long behind us while we wait.
{
    my ($session, $pid) = open_session("SELECT FROM acme.lead WHERE id = '$leads[15]' FOR UPDATE");
    $org->update('Lead', map { { Id => $_, Title => 'line' } } @leads[15 .. 19]);
    my $run = sql_start($node, q{SELECT count(*) FROM sync.now('acme', 'Lead')});
    foreach (1 .. 20)
    {
        my ($status, $out, $err) = $node->psql('postgres', qq{SET lock_timeout = '4s'; UPDATE acme.lead SET city = 'c$_' WHERE id = '$leads[16]'});
        is($status, 0, 'another row can be written') or diag($err);
    }
    sql_end($run);
    close_session($session);
    went_out($node, 'and goes out');
    no_failures('... nothing is left of it');
}

# sync.now in a transaction that would wait for itself
foreach my $lock ('LOCK TABLE acme.lead', 'LOCK TABLE acme.lead IN SHARE MODE', 'LOCK TABLE acme.lead IN EXCLUSIVE MODE',
    "SELECT FROM acme.lead WHERE id = '$leads[0]' FOR UPDATE", "SELECT FROM acme.lead WHERE id = '$leads[0]' FOR KEY SHARE")
{
    like(sql_error($node, "BEGIN; $lock; SELECT * FROM sync.now('acme')"), qr/25001.*sync\.now cannot run/s, "sync.now after $lock");
}
sql($node, q{BEGIN; LOCK TABLE acme.lead IN ROW EXCLUSIVE MODE; SELECT count(*) FROM sync.now('acme'); COMMIT});
same_rows($node, $org, 'acme', $_, 'in the end') for qw(Lead Contact Account);
done_testing();
