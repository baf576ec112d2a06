
# sync.pause, sync.stop and sync.disable while the org does not answer: whoever waits
# for it leaves at once, not when the time-out ends; nothing fails, and it goes on
# from where it was.

use strict;
use warnings FATAL => 'all';
use SyncTest;
use Test::More;
use Time::HiRes 'time';
use WayOut;

use constant HANG => 50;
use constant SOON => 10;

my ($org, $node) = two_way(leads => 250, contacts => 250, accounts => 120, objects => [qw(Contact)],
    conf => 'sync.page_rows = 100', server => [ timeout => '60 s' ]);
my $copiers = q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type LIKE 'sync cop%'};
my $page = { kind => 'bulk_query_results', object => 'Lead' };
my %hang = (
    'its first page' => [ $page, { hang => HANG } ],
    'its second page' => [ $page, { hang => HANG }, after => 1 ],
    'the middle of a page' => [ $page, { slow => { chunk => 3000, pause => HANG }, pass => \1 } ],
    'the end of the job' => [ { kind => 'bulk_query_status' }, { hang => HANG } ]);
my %say = (
    pause => [ q{SELECT sync.pause('acme')}, q{SELECT sync.resume('acme')} ],
    stop => [ q{SELECT sync.stop()}, q{SELECT sync.start()} ],
    disable => [ q{SELECT sync.disable('acme', 'Lead')}, q{SELECT sync.enable('acme', ARRAY['Lead'])} ]);

sub soon
{
    my ($began, $what) = @_;
    return cmp_ok(time - $began, '<', SOON, $what);
}

foreach my $where (sort keys %hang)
{
    foreach my $how (sort keys %say)
    {
        my $what = "$how while a copy waits for $where";
        my ($match, $action, %opt) = @{ $hang{$where} };
        my $fault = $org->fault($match, $action, times => 1, %opt);

        sql($node, q{SELECT sync.enable('acme', ARRAY['Lead'])});
        wait_until("$what: it waits", sub { ($org->hits($fault) // 0) > 0 });
        my $began = time;
        sql($node, $say{$how}[0]);
        wait_for($node, $copiers, '... the copier leaves');
        soon($began, '... at once');
        is(sql($node, q{SELECT count(*) FROM sync.failures}), 0, '... which is no failure');
        is(sql($node, q{SELECT count(*) FROM sync.log WHERE outcome = 'running' OR outcome LIKE 'sync left%'}), 0, '... nor runs on in the log');
        $org->no_faults;
        sql($node, $say{$how}[1]);
        wait_live($node, 'acme');
        is(sql($node, 'SELECT count(*) FROM acme.lead'), $org->count('Lead'), '... it goes on, and has all rows');
        sql($node, q{SELECT sync.disable('acme', 'Lead', true)});
    }
}

# Not a command of the sync's: whoever waits for the table gets it when nothing comes.
{
    my $fault = $org->fault(@{ $hang{'the middle of a page'} }[ 0, 1 ], times => 1);

    sql($node, q{SELECT sync.enable('acme', ARRAY['Lead'])});
    wait_until('a page hangs', sub { ($org->hits($fault) // 0) > 0 });
    my $began = time;
    sql($node, q{ALTER TABLE acme.lead ADD COLUMN mine text});
    soon($began, '... ALTER TABLE does not wait for it');
    wait_live($node, 'acme');
    is(sql($node, 'SELECT count(*) FROM acme.lead'), $org->count('Lead'), '... the page is read again');
    is(sql($node, q{SELECT count(*) FROM sync.failures}), 0, '... and nothing fails');
}

# The worker itself, in a cycle and while it looks before it sends
my $idle = q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'sync worker' AND state = 'active'};
my ($id) = split /\n/, sql($node, 'SELECT id FROM acme.lead WHERE NOT isconverted ORDER BY id LIMIT 1');
foreach my $how (qw(pause stop))
{
    my $fault = $org->fault({ kind => 'query' }, { hang => HANG }, times => 1);

    sql($node, qq{UPDATE acme.lead SET title = '$how' WHERE id = '$id'});
    wait_until("$how while the worker looks", sub { ($org->hits($fault) // 0) > 0 });
    my $began = time;
    sql($node, $say{$how}[0]);
    wait_for($node, $idle, '... it leaves');
    soon($began, '... at once');
    is(sql($node, q{SELECT count(*) FROM sync.failures}), 0, '... which is no failure');
    is(sql($node, q{SELECT state FROM sync.outbox}), 'waiting', '... the change waits');
    $org->no_faults;
    sql($node, $say{$how}[1]);
    went_out($node, '... and goes out then');
    is(record_of($org, 'Lead', $id, 'Title')->{Title}, $how, '... as it is');

    $fault = $org->fault({ kind => 'composite' }, { hang => HANG }, times => 1);
    sql($node, q{UPDATE sync.server_progress SET next_cycle = NULL; ALTER SERVER acme OPTIONS (SET timeout '61 s')}) if $how eq 'pause';
    sql($node, q{UPDATE sync.server_progress SET next_cycle = NULL; ALTER SERVER acme OPTIONS (SET timeout '60 s')}) if $how eq 'stop';
    wait_until("$how while the worker asks what is new", sub { ($org->hits($fault) // 0) > 0 });
    $began = time;
    sql($node, $say{$how}[0]);
    wait_for($node, $idle, '... it leaves');
    soon($began, '... at once');
    is(sql($node, q{SELECT count(*) FROM sync.failures}), 0, '... which is no failure');
    $org->no_faults;
    sql($node, $say{$how}[1]);
}

# What writes is not left: nobody would know what became of it.
{
    my $fault = $org->fault({ kind => 'collections', method => 'POST' }, { delay => 4 }, times => 1);

    sql($node, q{INSERT INTO acme.lead (lastname, company) VALUES ('Written', 'x')});
    wait_until('a create is on its way', sub { ($org->hits($fault) // 1) > 0 });
    sql($node, q{SELECT sync.pause('acme')});
    wait_for($node, q{SELECT count(*) = 1 FROM acme.lead WHERE lastname = 'Written' AND id NOT LIKE '~%'}, '... its answer is waited for');
    is(sql($node, q{SELECT count(*) FROM sync.attempt}), 0, '... nothing is in doubt');
}
done_testing();
