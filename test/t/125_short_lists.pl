
# The org's list of records is shorter than it announced: nothing is deleted here
# for that, and it is asked for again.

use strict;
use warnings FATAL => 'all';
use SyncTest;
use Test::More;
use WayOut;

my ($org, $node) = two_way(leads => 150, contacts => 40, accounts => 30, objects => [qw(Lead Account Contact)],
    conf => "sync.page_rows = 100\nsync.bulk_threshold = 140");
my $rows = q{SELECT (SELECT count(*) FROM acme.lead) || ' ' || (SELECT count(*) FROM acme.account) || ' ' || (SELECT count(*) FROM acme.contact)};
my $had = sql($node, $rows);
my $ids = { kind => 'bulk_query_results', object => 'Lead' };

# Enables a kept table again while one answer is spoilt: it stays as it was until
# the answer is whole.
sub short
{
    my ($what, $object, $match, $action, %opt) = @_;

    sql($node, "SELECT sync.disable('acme', '$object')");
    my $fault = $org->fault({ object => $object, %$match }, $action, times => -1, %opt);
    sql($node, "SELECT sync.enable('acme', ARRAY['$object'])");
    wait_for($node, qq{SELECT count(*) > 0 FROM sync.failures WHERE object = '$object' AND operation = 'copy' AND message ~ 'announced|without a number|incomplete|not complete'},
        "$what: is an error");
    is(sql($node, $rows), $had, '... nothing is deleted');
    is(sql($node, "SELECT state FROM sync.status WHERE object = '$object'"), 'failing', '... the copy is not done');
    $org->no_faults;
    sync_now($node, 'acme', $object);
    wait_live($node, 'acme');
    is(sql($node, $rows), $had, '... it is done when the answer is whole');
    is(sql($node, q{SELECT count(*) FROM sync.failures}), 0, '... and nothing is told any more');
    return;
}

my $only_ids = { kind => 'query', path => 'SELECT Id FROM' };
short('query: fewer records than totalSize', 'Account', $only_ids, { replace => [ [ '"totalSize":(\d+)', '"totalSize":1\1' ] ], pass => \1 });
short('query: no records, but a totalSize', 'Contact', $only_ids, { replace => [ [ '"records":\[.*\]', '"records":[]' ] ], pass => \1 });
short('query: no totalSize', 'Account', $only_ids, { replace => [ [ '"totalSize":\d+,', '' ] ], pass => \1 });

# Two pages to the list of leads, and the result of the copy itself before it
my $job = { kind => 'bulk_query_status' };
short('Bulk: fewer records than numberRecordsProcessed', 'Lead', $job, { replace => [ [ '"numberRecordsProcessed":(\d+)', '"numberRecordsProcessed":1\1' ] ], pass => \1 });
short('Bulk: no number', 'Lead', $job, { replace => [ [ '"numberRecordsProcessed":\d+,', '' ] ], pass => \1 });
short('Bulk: a page without a locator', 'Lead', { %$ids, path => 'maxRecords=100$' }, { locator => undef, pass => \1 });
short('Bulk: an empty page', 'Lead', $ids,
    { truncate => { rows => 0, clean => \1 }, drop_headers => [ 'Sforce-NumberOfRecords', 'Sforce-Locator' ], pass => \1 });

# A filter's rows: all that does not come has not left it.
{
    sql($node, q{SELECT sync.set('acme', 'Account', 'where', 'Name != null')});
    sync_now($node, 'acme', 'Account');
    my ($id) = split /\n/, sql($node, 'SELECT id FROM acme.account ORDER BY id LIMIT 1');
    $org->update('Account', { Id => $id, Description => 'touched' });
    my $fault = $org->fault({ sub => \1, path => 'Name != null' }, { replace => [ [ '"records":\[.*\]', '"records":[]' ] ], pass => \1 }, times => 1);
    $node->psql('postgres', q{SELECT * FROM sync.now('acme', 'Account')});
    is($org->hits($fault) // 1, 1, 'rows within the filter come short');
    is(sql($node, $rows), $had, '... none has left it');
    $org->no_faults;
    sync_now($node, 'acme', 'Account');
    is(sql($node, qq{SELECT description FROM acme.account WHERE id = '$id'}), 'touched', '... they come');
    sql($node, q{SELECT sync.set('acme', 'Account', 'where', NULL)});
}

# Many changes: the cursor does not pass over those that are missing.
{
    $org->change('Lead', { Title => 'many' });
    sync_now($node, 'acme', 'Contact');
    $org->fault($_, { replace => [ [ '"(numberRecordsProcessed|totalSize)":(\d+)', '"\1":1\2' ] ], pass => \1 }, times => -1)
      for $job, { sub => \1, path => 'query' }, { path => 'query' };
    sql($node, q{SELECT sync.set('acme', 'Lead', 'exclude', 'Fax'); SELECT sync.set('acme', 'Lead', 'exclude', NULL)});
    $node->psql('postgres', q{SELECT * FROM sync.now('acme', 'Lead')});
    wait_for($node, q{SELECT count(*) = 1 FROM sync.failures WHERE object = 'Lead' AND operation = 'pull' AND message LIKE '%incomplete%'}, 'changes that come short are an error');
    $org->no_faults;
    sync_now($node, 'acme', 'Lead');
    same_rows($node, $org, 'acme', 'Lead', 'when they are whole', fields => [qw(LastName Title Fax)]);
}
done_testing();
