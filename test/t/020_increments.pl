
# Changes in the org arrive: equal stamps, page boundaries, late commits, big
# backlogs; what is unchanged costs no write, and the log counts it all.

use strict;
use warnings;
use JSON::PP;
use SyncTest;
use Test::More;

my $org = Org->start(leads => 3000);
my $node = sync_node('main', conf => 'sync.bulk_threshold = 1000');

connect_org($node, $org, 'acme', server => [ interval => '1 hour' ]);
enable_all($node, 'acme', 'Lead', 'Account', 'User');
sync_now($node, 'acme');

sub log_of
{
    my ($object) = @_;
    return $node->safe_psql('postgres', qq{
        SELECT sum(new), sum(updated), sum(deleted), sum(failed) FROM sync.log
        WHERE object = '$object' AND operation <> 'copy'
        AND run = (SELECT max(run) FROM sync.log WHERE object = '$object')});
}

sub writes
{
    return $node->safe_psql('postgres', q{
        SELECT sum(n_tup_ins + n_tup_upd + n_tup_del) FROM pg_stat_user_tables
        WHERE schemaname = 'acme'});
}

# One of each.
my @ids = map { $_->{Id} } @{ $org->rows('SELECT Id FROM Lead ORDER BY Id LIMIT 10') };
$org->update('Lead', { Id => $ids[0], Title => 'first', Email => undef });
$org->insert('Lead', { LastName => 'New', Company => 'N' }, { LastName => 'Newer', Company => 'N' });
$org->delete('Lead', $ids[1]);
sync_now($node, 'acme');
same_rows($node, $org, 'acme', 'Lead', 'after a few changes');
is(log_of('Lead'), '2|1|1|0', 'which the log counts');

# Nothing new: not a row is written, although the overlap is read again.
my $before = writes();
sync_now($node, 'acme') for 1 .. 3;
$node->safe_psql('postgres', 'SELECT pg_stat_force_next_flush()')
  if $node->safe_psql('postgres', 'SHOW server_version_num') >= 150000;
is(writes(), $before, 'what is unchanged costs no write');

# Many rows with one stamp, over several query pages.
$org->post('/config', { page_size => 200 });
$org->change('Lead', { Title => 'same second {Id}' }, limit => 950);
sync_now($node, 'acme');
same_rows($node, $org, 'acme', 'Lead', 'after 950 rows with one stamp');
is($node->safe_psql('postgres', q{SELECT count(*) FROM acme.lead WHERE title LIKE 'same second%'}),
    950, 'all 950 of them');

# Rows that change while their pages are read.
$org->change('Lead', { Title => 'before {Id}' }, limit => 900);
$org->fault({ kind => 'query_more' }, { delay => 2, pass => JSON::PP::true }, times => 1);
$org->calls_mark;
my $cycle = sql_start($node, q{SELECT count(*) FROM sync.now('acme')});
wait_until('a page is on its way', sub { grep { $_->{fault} } $org->calls });
$org->change('Lead', { Title => 'meanwhile {Id}' }, limit => 900);
sql_end($cycle);
sync_now($node, 'acme');
same_rows($node, $org, 'acme', 'Lead', 'after changes under the hands of the reader');

# A transaction that commits late: its rows carry stamps from before the cursor.
my $tx = $org->post('/tx/begin')->{tx};
$org->post('/dml', { op => 'update', object => 'Lead', tx => $tx,
    records => [ { Id => $ids[3], Title => 'late' } ] });
$org->post('/dml', { op => 'insert', object => 'Lead', tx => $tx,
    records => [ { LastName => 'Late', Company => 'L' } ] });
$org->update('Lead', { Id => $ids[4], Title => 'on time' });
$org->post('/clock', { step_seconds => 30 });
sync_now($node, 'acme');
is($node->safe_psql('postgres', qq{SELECT title FROM acme.lead WHERE id = '$ids[4]'}),
    'on time', 'a later change arrives first');
$org->post('/clock', { step_seconds => 60 });
sync_now($node, 'acme');
$org->post('/tx/commit', { tx => $tx });
sync_now($node, 'acme');
same_rows($node, $org, 'acme', 'Lead', 'after a late commit');

# One that commits after hours: Salesforce says by latestDateCovered how far
# back its transactions reach, and the cursor waits for them.
$tx = $org->post('/tx/begin')->{tx};
$org->post('/dml', { op => 'insert', object => 'Lead', tx => $tx,
    records => [ { LastName => 'Very late', Company => 'L' } ] });
for (1 .. 3)
{
    $org->post('/clock', { step_seconds => 3600 });
    $org->change('Lead', { Title => "hour $_" }, limit => 3, where => "Id > '$ids[5]'");
    sync_now($node, 'acme');
}
is($node->safe_psql('postgres', q{SELECT count(*) FROM acme.lead WHERE title = 'hour 3'}), 3,
    'others do not wait for it');
$org->post('/tx/commit', { tx => $tx });
$org->post('/clock', { step_seconds => 61 });
sync_now($node, 'acme');
same_rows($node, $org, 'acme', 'Lead', 'after a commit that is hours late');

# A large backlog comes by Bulk.
$org->calls_mark;
my $many = $org->change('Lead', { Description => 'backlog {Id}' });
sync_now($node, 'acme');
ok((grep { $_->{kind} eq 'bulk_query_results' } $org->calls), 'a large backlog comes by Bulk');
same_rows($node, $org, 'acme', 'Lead', 'after a change of every row');
is(log_of('Lead'), "0|$many|0|0", 'counted as updates');

# Objects without the rows to change are not disturbed.
same_rows($node, $org, 'acme', $_, 'at the end') for 'Account', 'User';
is($node->safe_psql('postgres', q{SELECT count(*) FROM sync.failures}), 0, 'no failures');
done_testing();
