
# What administrators do to the sync's own tables (VACUUM FULL, CREATE INDEX, a LOCK)
# and open transactions with functions of ours end no worker, and a row that
# stands aside in a table that is then locked as a whole keeps no other object.

use strict;
use warnings FATAL => 'all';
use SyncTest;
use Test::More;
use WayOut;

my ($org, $node) = two_way(leads => 10, contacts => 10, accounts => 10, objects => [qw(Lead Contact Account)]);
my @leads = split /\n/, sql($node, 'SELECT id FROM acme.lead WHERE NOT isconverted ORDER BY id');
my @contacts = split /\n/, sql($node, 'SELECT id FROM acme.contact ORDER BY id');
my @accounts = split /\n/, sql($node, 'SELECT id FROM acme.account ORDER BY id');
my $round = 0;

sub worker { return sql($node, q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'sync worker'}) }

sub open_session
{
    my ($sql) = @_;
    my $session = $node->background_psql('postgres', on_error_die => 1);

    $session->query_safe("SET client_min_messages = 'error'; BEGIN; $sql");
    return $session;
}

sub close_session
{
    my ($session) = @_;
    $session->query_safe('ROLLBACK');
    $session->quit;
    return;
}

# The worker needs each of these for each turn or cycle; it lives on.
sql($node, q{ALTER SERVER acme OPTIONS (SET interval '1s')});
foreach my $table (qw(server server_progress object progress change failures log))
{
    my $worker = worker();
    my $log = -s $node->logfile;
    my $session = open_session("LOCK TABLE sync.$table");

    ok($node->wait_for_log(qr/canceling statement due to lock timeout/, $log), "sync.$table is locked: the worker meets it");
    close_session($session);
    sql($node, qq{UPDATE acme.contact SET title = 'own $table' WHERE id = '$contacts[0]'});
    went_out($node, '... changes go out after it');
    is(worker(), $worker, '... the same worker lives');
    unlike(sql($node, q{SELECT string_agg(DISTINCT state, ',') FROM sync.status}), qr/stalled/, '... the org is not down');
}
sql($node, q{ALTER SERVER acme OPTIONS (SET interval '1 hour')});

# A row stands aside; then its whole table is locked, readers and all.
{
    my $row = open_session("SELECT FROM acme.lead WHERE id = '$leads[0]' FOR UPDATE");
    my $other = open_session("SELECT FROM acme.contact WHERE id = '$contacts[1]' FOR UPDATE");
    $org->update('Lead', { Id => $leads[0], Title => 'aside' });
    $org->update('Contact', { Id => $contacts[1], Title => 'aside' });
    sync_now($node, 'acme');
    is(sql($node, q{SELECT count(*) FROM sync.failures WHERE code = '55P03' AND record IS NOT NULL}), 2, 'two rows stand aside');
    my $table = $node->background_psql('postgres', on_error_die => 1);
    $row->query_safe('ROLLBACK; BEGIN; LOCK TABLE acme.lead');
    close_session($other);
    wait_for($node, qq{SELECT title = 'aside' FROM acme.contact WHERE id = '$contacts[1]'},
        '... one comes in while the table of the other is locked');
    close_session($row);
    $table->quit;
    wait_for($node, qq{SELECT title = 'aside' FROM acme.lead WHERE id = '$leads[0]'}, '... the other after it');
    wait_for($node, q{SELECT count(*) = 0 FROM sync.failures}, '... nothing is left of it');
}

# Functions of ours, and DDL, in transactions that stay open
foreach my $call (q{SELECT sync.disable('acme', 'Lead')}, q{SELECT sync.enable('acme', ARRAY['Campaign'])},
    q{SELECT sync.set('acme', 'Lead', 'direction', 'from')}, q{SELECT sync.set('acme', 'Lead', 'exclude', 'fax')},
    q{SELECT sync.guard('acme', 'Lead')}, q{SELECT sync.stop()}, q{ALTER TABLE acme.lead ADD COLUMN mine int},
    q{ALTER SERVER acme RENAME TO other}, q{DROP TABLE acme.lead CASCADE}, q{ALTER TABLE acme.lead OWNER TO CURRENT_USER})
{
    my $worker = worker();
    my $value = 'open ' . ++$round;
    my $session = open_session($call);
    $org->update('Lead', { Id => $leads[2], Title => $value });
    $org->update('Account', { Id => $accounts[2], Description => $value });
    sql($node, qq{UPDATE acme.contact SET title = '$value' WHERE id = '$contacts[3]'});
    wait_for($node, qq{SELECT count(*) = 0 FROM sync.outbox WHERE object = 'Contact'}, "open $call: another object goes out");
    $node->psql('postgres', q{SELECT * FROM sync.now('acme')});
    # A server's name is the key of all that is kept about it.
    is(sql($node, qq{SELECT description FROM acme.account WHERE id = '$accounts[2]'}), $value, '... another comes in')
      unless $call =~ /RENAME/;
    is(worker(), $worker, '... the worker lives');
    unlike(sql($node, q{SELECT string_agg(DISTINCT state, ',') FROM sync.status}), qr/stalled/, '... the org is not down');
    like(sql($node, q{SELECT string_agg(message, ',') FROM sync.failures WHERE object = 'Lead'}), qr/held by process \d+/, '... who holds the object is told')
      if $call =~ /direction/;
    close_session($session);
    wait_for($node, qq{SELECT title = '$value' FROM acme.lead WHERE id = '$leads[2]'}, '... all comes in after it');
    $node->psql('postgres', q{SELECT * FROM sync.now('acme')});
    wait_for($node, q{SELECT count(*) = 0 FROM sync.failures}, '... nothing is left of it');
}
done_testing();
