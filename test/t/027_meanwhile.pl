
# Two at a time: what is set or dropped while the org is being waited for, and
# users' transactions that stay open while the worker goes on.

use strict;
use warnings;
use SyncTest;
use Test::More;
use WayOut;

my $org = Org->start(leads => 400, start => '2020-01-01', end => '2020-12-31');
my $node = sync_node('main');

connect_org($node, $org, 'acme', server => [ interval => '1 hour' ]);
enable_all($node, 'acme', 'Lead', 'Campaign');
sync_now($node, 'acme');

# Runs SQL beside the test; while the org holds back the answer to the request
# that matches, does something else.
sub meanwhile
{
    my ($sql, $match, $work) = @_;
    my $fault = $org->fault($match, { hold => JSON::PP::true() });
    my $run = sql_start($node, $sql);

    wait_until('the org is waited for', sub { $org->hits($fault) });
    $work->();
    $org->no_faults;
    return sql_end($run);
}

# An object is disabled while it is being checked.
my ($status, $out, $err) = meanwhile(q{SELECT item, status FROM sync.check('acme')},
    { kind => 'describe', object => 'Campaign' },
    sub { sql($node, q{SELECT sync.disable('acme', 'Campaign')}) });
is($status, 0, 'a check of what is disabled meanwhile ends well') or diag($err);
like($out, qr/^object Campaign\|ok$/m, 'with what it had found');
is(sql($node, q{SELECT count(*) FROM sync.status WHERE state = 'disabled'}), 1, 'the server is there');

# Fields and filters that are set while a pull is under way.
sub pull_during
{
    my ($set) = @_;
    ($status, $out, $err) = meanwhile(q{SELECT count(*) FROM sync.now('acme', 'Lead')}, { kind => 'composite' }, sub {
        sql($node, $set);
        is(sql($node, q{SELECT cursor FROM sync.progress WHERE object = 'Lead'}), '-infinity', 'all is to be read again');
    });
    is($status, 0, 'the pull ends well') or diag($err);
    is(sql($node, q{SELECT cursor FROM sync.progress WHERE object = 'Lead'}), '-infinity', 'which is still so when the pull has ended');
    sync_now($node, 'acme');
}
sql($node, q{SELECT sync.set('acme', 'Lead', 'exclude', 'Phone')});
sync_now($node, 'acme');
pull_during(q{SELECT sync.set('acme', 'Lead', 'exclude', NULL)});
same_rows($node, $org, 'acme', 'Lead', 'a field that came during a pull');
pull_during(q{SELECT sync.set('acme', 'Lead', 'where', $$Status = 'Open - Not Contacted'$$)});
same_rows($node, $org, 'acme', 'Lead', 'a filter that came during a pull', where => q{Status = 'Open - Not Contacted'});
sql($node, q{SELECT sync.set('acme', 'Lead', 'where', $$Status = 'Working - Contacted'$$)});
pull_during(q{SELECT sync.set('acme', 'Lead', 'where', NULL)});
same_rows($node, $org, 'acme', 'Lead', 'a filter that went while all was being read again');

# What is set, and not committed yet, between two pages of the first copy.
my $session = $node->background_psql('postgres');
my $setter = $session->query('SELECT pg_backend_pid()');
my $open = $org->count('Lead', q{Status = 'Open - Not Contacted'});

$org->post('/config', { bulk_page_rows => 100 });
sub copy_during
{
    my ($set, $rows) = @_;

    $org->fault({ kind => 'bulk_query_results' }, { status => 503 }, times => -1, after => 2);
    sql($node, q{SELECT sync.disable('acme', 'Lead', drop_table => true)});
    sql($node, q{SELECT sync.enable('acme', '{Lead}')});
    wait_for($node, q{SELECT locator IS NOT NULL AND failures > 0 FROM sync.progress WHERE object = 'Lead'},
        'a copy stops at its third page');
    no_worker($node);
    wait_for($node, q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'sync copier'}, 'nobody copies');
    $org->no_faults;
    $session->query('BEGIN');
    $session->query($set);
    my $copy = sql_start($node, q{SELECT operation, CASE operation WHEN 'copy' THEN new + updated + skipped ELSE new END FROM sync.now('acme') WHERE object IS NOT NULL});
    wait_for($node, qq{
        SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'acme.lead'::regclass AND NOT granted)
            OR EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'sync cycle')
            AND EXISTS (SELECT FROM pg_locks WHERE pid = $setter AND locktype = 'advisory')},
        'whoever copies waits');
    $session->query('COMMIT');
    ($status, $out, $err) = sql_end($copy);
    is($status, 0, 'and copies by it') or diag($err);
    is($out, "copy|$rows\npull|0\n", 'all that it lets through, from the first page on');
}
copy_during(q{SELECT sync.set('acme', 'Lead', 'exclude', 'Phone')}, 400);
same_rows($node, $org, 'acme', 'Lead', 'a field that went during the first copy');
copy_during(q{SELECT sync.set('acme', 'Lead', 'where', $$Status = 'Open - Not Contacted'$$)}, $open);
same_rows($node, $org, 'acme', 'Lead', 'a filter that came during the first copy', where => q{Status = 'Open - Not Contacted'});

# Questions in a transaction that stays open hold up no cycle, and need not write.
sql($node, q{ALTER SERVER acme OPTIONS (SET interval '1 s'); SELECT sync.resume('acme')});
$session->query_safe($_) for 'BEGIN', q{SELECT count(*) FROM sync.soql('acme', 'SELECT Id FROM Lead LIMIT 1')},
  q{SELECT length(sync.describe('acme', 'Lead')::text)}, q{SELECT count(*) FROM sync.limits('acme')},
  q{SELECT count(*) FROM sync.check('acme')};
for my $name (qw(First Second))
{
    $org->insert('Lead', { LastName => $name, Company => 'S', Status => 'Open - Not Contacted' });
    $org->post('/clock', { step_seconds => 61 });
    wait_for($node, "SELECT count(*) = 1 FROM acme.lead WHERE lastname = '$name'", "the worker goes on: $name");
}
my $before = sql($node, 'SELECT sum(calls) FROM sync.usage');
$session->query_safe('COMMIT');
cmp_ok(sql($node, 'SELECT sum(calls) FROM sync.usage'), '>=', $before + 4, 'its calls are counted');
is(sql($node, q{BEGIN READ ONLY; SELECT count(*) FROM sync.soql('acme', 'SELECT Id FROM Lead LIMIT 1')}), 1, 'a question in a read-only transaction');
is(sql($node, 'SELECT count(*) - count(DISTINCT (server, hour, kind)) FROM sync.usage'), 0, 'sync.usage has a row for each hour and kind');

# Of hours that are over a worker makes one row of each kind.
no_worker($node);
sql($node, q{INSERT INTO sync.calls (server, hour, kind, calls)
    SELECT 'acme', date_trunc('hour', now()) - interval '3 hours', kind, n FROM generate_series(1, 4) n, unnest('{query,other}'::text[]) kind});
sql($node, 'SELECT sync.start()');
wait_for($node, q{SELECT count(*) = 2 FROM sync.calls WHERE hour < now() - interval '2 hours'}, 'counts of an hour are put together');
is(sql($node, q{SELECT string_agg(kind || ' ' || calls, ', ' ORDER BY kind) FROM sync.usage WHERE hour < now() - interval '2 hours'}),
    'other 10, query 10', 'and are right');
$session->quit;
done_testing();
