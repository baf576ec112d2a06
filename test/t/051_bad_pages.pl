
# Bulk result pages that are not what they should be, during the first copy:
# each fails clearly, and the copy is right in the end.

use strict;
use warnings;
use SyncTest;
use Test::More;

my $org = Org->start(leads => 1000);
my $node = sync_node('main');
my $true = JSON::PP::true();

connect_org($node, $org, 'acme', server => [ interval => '1 hour', timeout => '2 s' ]);
$org->post('/config', { bulk_page_rows => 300 });

my @faults = (
    [ 'a body cut at a row end', { truncate => { rows => 100, clean => $true }, pass => $true } ],
    [ 'a body cut in a row', { truncate => { bytes => 20000, clean => $true }, pass => $true } ],
    [ 'a body cut without an end', { truncate => { rows => 100 }, pass => $true } ],
    [ 'a reset in the middle', { reset => 'middle' } ],
    [ 'a locator that repeats', { repeat_locator => $true, pass => $true } ],
    [ 'an HTML page', { status => 503, html => $true } ],
    [ 'another API version', { status => 409, errorCode => 'VERSION_MISMATCH', message => 'API version mismatch' } ],
    [ 'a hang', { hang => 30 } ]);

for (@faults)
{
    my ($what, $action) = @$_;

    $org->fault({ kind => 'bulk_query_results', object => 'Lead' }, $action, times => 1, after => 1);
    $node->safe_psql('postgres', q{SELECT sync.enable('acme', ARRAY['Lead'])});
    wait_for($node, q{SELECT count(*) > 0 FROM sync.failures WHERE object = 'Lead'
        UNION ALL SELECT false LIMIT 1}, "$what is a failure")
      if $node->safe_psql('postgres', q{SELECT state <> 'live' FROM sync.status WHERE object = 'Lead'}) eq 't';
    $node->psql('postgres', q{SELECT * FROM sync.now('acme', 'Lead')});
    wait_live($node, 'acme', what => "live after $what");
    same_rows($node, $org, 'acme', 'Lead', "after $what");
    $org->no_faults;
    $node->safe_psql('postgres', q{SELECT sync.disable('acme', drop_table => true)});
}

# Small departures that are none: an absent count, an empty locator, no body.
for ([ 'no count of records', { drop_headers => ['Sforce-NumberOfRecords'], pass => $true } ],
    [ 'no locator on a single page', { locator => undef, pass => $true } ],
    [ 'an empty locator', { locator => '', pass => $true } ])
{
    my ($what, $action) = @$_;

    $org->post('/config', { bulk_page_rows => $what =~ /locator/ ? 250000 : 300 });
    $org->fault({ kind => 'bulk_query_results' }, $action, times => -1);
    enable_all($node, 'acme', 'Lead');
    same_rows($node, $org, 'acme', 'Lead', "with $what");
    $org->no_faults;
    $node->safe_psql('postgres', q{SELECT sync.disable('acme', drop_table => true)});
}

# A job that fails, and one that is refused at once.
$org->fault({ kind => 'bulk_query_create' }, { job_failed => 'InternalServerError: try later', pass => $true },
    times => 1);
$node->safe_psql('postgres', q{SELECT sync.enable('acme', ARRAY['Lead'])});
$node->psql('postgres', q{SELECT * FROM sync.now('acme', 'Lead')});
$node->psql('postgres', q{SELECT * FROM sync.now('acme', 'Lead')});
wait_live($node, 'acme', what => 'live after a failed job');
same_rows($node, $org, 'acme', 'Lead', 'after a failed job');
$node->safe_psql('postgres', q{SELECT sync.disable('acme', drop_table => true)});

# Zero rows, with and without a header line.
for my $empty (JSON::PP::false(), $true)
{
    $org->post('/config', { bulk_empty_body => $empty });
    $node->safe_psql('postgres', q{
        BEGIN;
        SELECT sync.enable('acme', ARRAY['Lead']);
        SELECT sync.set('acme', 'Lead', 'where', $$LastName = 'nobody at all'$$);
        COMMIT});
    wait_live($node, 'acme', what => 'an object without rows');
    is($node->safe_psql('postgres', 'SELECT count(*) FROM acme.lead'), 0, 'has none');
    $node->safe_psql('postgres', q{SELECT sync.disable('acme', drop_table => true)});
}
done_testing();
