
# A create whose answer was lost, while its object's direction becomes from: what
# the org turns out not to have is told, and waits for a decision. And what is told
# of an object of which nothing goes out any more.

use strict;
use warnings FATAL => 'all';
use SyncTest;
use Test::More;
use WayOut;

my ($org, $node) = two_way(leads => 10, contacts => 10, accounts => 3, objects => [qw(Lead Contact)],
    conf => 'sync.lost_answer_wait = 2');
my $create = { kind => 'collections', method => 'POST' };

# Inserts a lead whose create is not answered, and sets the direction to from
sub in_doubt
{
    my ($name, $action) = @_;
    my $fault = $org->fault($create, $action, times => 1);

    sql($node, "INSERT INTO acme.lead (lastname, company) VALUES ('$name', 'x')");
    wait_until("$name: its create is on its way", sub { ($org->hits($fault) // 1) > 0 });
    wait_for($node, q{SELECT count(*) = 1 FROM sync.attempt WHERE in_doubt IS NOT NULL}, '... and has no answer');
    sql($node, q{SELECT sync.set('acme', 'Lead', 'direction', 'from')});
    $org->no_faults;
    return;
}

in_doubt('Not there', { reset => \1 });
is(sql($node, q{SELECT count(*) FROM sync.failures}), 0, 'while it is in doubt nothing is said');
wait_for($node, q{SELECT count(*) = 0 FROM sync.attempt}, 'it is not found');
wait_for($node, q{SELECT count(*) = 1 FROM sync.failures f JOIN sync.outbox o USING (record)
    WHERE f.code = 'DIRECTION' AND f.hint LIKE '%both%sync.discard%' AND o.state = 'refused'}, '... and told');
is($org->count('Lead', q{LastName = 'Not there'}), 0, '... it is not sent again');
sync_now($node, 'acme');
is(sql($node, q{SELECT state FROM sync.outbox}), 'refused', '... nor by sync.now');
sql($node, q{SELECT sync.set('acme', 'Lead', 'direction', 'both'); SELECT sync.retry('acme', 'Lead')});
went_out($node, 'direction both and sync.retry send it');
is($org->count('Lead', q{LastName = 'Not there'}), 1, '... once');
is(sql($node, q{SELECT count(*) FROM sync.failures}), 0, '... and nothing is told any more');

in_doubt('There', { apply_then => { reset => \1 } });
wait_for($node, q{SELECT count(*) = 1 FROM acme.lead WHERE lastname = 'There' AND id NOT LIKE '~%'}, 'one that is found takes its id');
is(sql($node, q{SELECT (SELECT count(*) FROM sync.outbox) + (SELECT count(*) FROM sync.failures)}), 0, '... and nothing is left');
is($org->count('Lead', q{LastName = 'There'}), 1, '... it is there once');
sql($node, q{SELECT sync.set('acme', 'Lead', 'direction', 'both')});

in_doubt('Given up', { reset => \1 });
wait_for($node, q{SELECT count(*) = 1 FROM sync.failures WHERE code = 'DIRECTION'}, 'another one that is not there');
sql($node, q{SELECT sync.discard(seq) FROM sync.outbox});
is(sql($node, q{SELECT (SELECT count(*) FROM sync.outbox) + (SELECT count(*) FROM sync.failures)
    + (SELECT count(*) FROM acme.lead WHERE lastname = 'Given up')}), 0, '... is given up, with its row');
sql($node, q{SELECT sync.set('acme', 'Lead', 'direction', 'both')});

# As an earlier version, or a crash between the two, would leave it
hold($node);
sql($node, q{INSERT INTO acme.lead (lastname, company) VALUES ('Left', 'x');
    SELECT sync.set('acme', 'Lead', 'direction', 'from');
    UPDATE sync.change SET state = 'p'; DELETE FROM sync.failures;
    SELECT sync.resume('acme')});
wait_for($node, q{SELECT count(*) = 1 FROM sync.failures WHERE code = 'DIRECTION'}, 'whatever waits of such an object is told');
sql($node, q{SELECT sync.discard(seq) FROM sync.outbox; SELECT sync.set('acme', 'Lead', 'direction', 'both')});

# An object that could not go out, and never will: nobody tries it all the time.
{
    my ($id) = split /\n/, sql($node, 'SELECT id FROM acme.contact ORDER BY id LIMIT 1');
    my $session = $node->background_psql('postgres', on_error_die => 1);
    hold($node);
    sql($node, qq{UPDATE acme.contact SET title = 'stuck' WHERE id = '$id'});
    $session->query_safe('BEGIN; LOCK TABLE acme.contact IN ACCESS EXCLUSIVE MODE');
    sql($node, q{SELECT sync.resume('acme')});
    wait_for($node, q{SELECT count(*) = 1 FROM sync.failures WHERE object = 'Contact' AND operation = 'push' AND record IS NULL},
        'an object that is locked cannot go out');
    $session->query_safe(q{SELECT sync.disable('acme', 'Contact'); COMMIT});
    $session->quit;
    my $runs = sql($node, 'SELECT last_value FROM sync.run, pg_sleep(3)');
    cmp_ok(sql($node, 'SELECT last_value FROM sync.run, pg_sleep(3)') - $runs, '<', 10, '... it is not tried all the time when it is no longer synced');
    is(failures_of($node), '', '... nor told');
    sql($node, q{SELECT sync.enable('acme', ARRAY['Contact'])});
    wait_live($node, 'acme');
    went_out($node, '... and goes out when it is synced again');
    is(record_of($org, 'Contact', $id, 'Title')->{Title}, 'stuck', '... as it was');

    # What another process could not send is told until it has gone.
    sql($node, q{SELECT sync.stop()});
    wait_for($node, q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'sync worker'}, 'no worker');
    sql($node, q{UPDATE acme.contact SET title = 'again' WHERE title = 'stuck'});
    $session = $node->background_psql('postgres', on_error_die => 1);
    $session->query_safe('BEGIN; LOCK TABLE acme.contact IN ACCESS EXCLUSIVE MODE');
    sync_now($node, 'acme', 'Lead');
    is(sql($node, q{SELECT count(*) FROM sync.failures WHERE operation = 'push'}), 1, 'sync.now tells what it cannot send');
    $session->query_safe('ROLLBACK');
    $session->quit;
    sql($node, q{SELECT sync.discard(seq) FROM sync.outbox});
    sync_now($node, 'acme');
    is(failures_of($node), '', '... until nothing waits any more');
}
done_testing();
