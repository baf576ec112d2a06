
# Results that end too early, or never: a proxy that strips a header, an empty
# page, a chain of pages that comes back.  The rows are summed up and compared
# with what the org announced (Bulk API 2.0: numberRecordsProcessed).

use strict;
use warnings;
use JSON::PP;
use SyncTest;
use Test::More;

my $org = Org->start(leads => 1000, accounts => 300);
my $node = sync_node('main', conf => q{sync.bulk_threshold = 200});
my $true = JSON::PP::true;

connect_org($node, $org, 'acme', server => [ interval => '1 hour', timeout => '5 s' ]);
$org->post('/config', { bulk_page_rows => 100 });

sub value { return $node->safe_psql('postgres', $_[0]) }
sub told { my ($like, $what) = @_; return wait_for($node, qq{SELECT count(*) > 0 FROM sync.failures WHERE message ~ '$like'}, $what) }

# The first copy, whose first page has lost its locator
$org->fault({ kind => 'bulk_query_results' }, { locator => undef, pass => $true }, times => 1);
$node->safe_psql('postgres', q{SELECT sync.enable('acme', ARRAY['Lead'])});
told('copy of Lead came from Salesforce incomplete.*announced 1000 records, 100 came', 'a copy that ends after 100 of 1,000 rows is told');
$node->psql('postgres', q{SELECT sync.resume('acme')});
wait_live($node, 'acme');
same_rows($node, $org, 'acme', 'Lead', 'it begins anew, and is whole');

# A proxy that always strips it: never live, and never anything deleted
my $log = -s $node->logfile;
$node->safe_psql('postgres', q{SELECT sync.disable('acme', drop_table => false)});
$org->fault({ kind => 'bulk_query_results' }, { drop_headers => ['Sforce-Locator'], pass => $true }, times => -1);
$node->safe_psql('postgres', q{SELECT sync.enable('acme', ARRAY['Lead'])});
told('copy of Lead came from Salesforce incomplete', 'a proxy that strips the header');
$node->psql('postgres', q{SELECT sync.resume('acme')});
wait_for($node, q{SELECT failures >= 2 FROM sync.progress}, '... each time, and the failures are counted');
is(value(q{SELECT count(*) FROM sync.status WHERE state = 'live'}), 0, '... it is not live');
is(value('SELECT count(*) FROM acme.lead'), 1000, '... and no row is gone');
$org->no_faults;
$node->psql('postgres', q{SELECT sync.resume('acme')});
wait_live($node, 'acme');
same_rows($node, $org, 'acme', 'Lead', '... whole when the proxy is');
is(value('SELECT failures || restarts::text FROM sync.progress'), '00', '... failures are forgotten');

# An increment by Bulk
$org->change('Lead', { Title => 'many' }, limit => 700);
$org->fault({ kind => 'bulk_query_results' }, { locator => undef, pass => $true }, times => 1);
$node->psql('postgres', q{SELECT * FROM sync.now('acme')});
told('list of records of Lead came from Salesforce incomplete', 'an increment that ends too early');
$node->psql('postgres', q{SELECT sync.resume('acme')});
wait_for($node, q{SELECT count(*) = 700 FROM acme.lead WHERE title = 'many'}, '... is asked for again');
same_rows($node, $org, 'acme', 'Lead', '... and whole');

# A -> B -> A
$node->safe_psql('postgres', q{SELECT sync.disable('acme', drop_table => true)});
$org->calls_mark;
enable_all($node, 'acme', 'Lead');
my @locators = map { $_->{query} =~ /locator=([^&]+)/ } grep { $_->{kind} eq 'bulk_query_results' } $org->calls;
cmp_ok(scalar @locators, '>', 5, 'pages have locators');
$node->safe_psql('postgres', q{SELECT sync.disable('acme', drop_table => true)});
$org->fault({ kind => 'bulk_query_results', path => "locator=\Q$locators[3]\E" }, { locator => $locators[1], pass => $true }, times => -1);
$node->safe_psql('postgres', q{SELECT sync.enable('acme', ARRAY['Lead'])});
told('too many records|does not go on', 'a chain that comes back');
cmp_ok(value('SELECT count(*) FROM acme.lead'), '<=', 1000, '... brings no more rows than there are');
$org->no_faults;
$node->psql('postgres', q{SELECT sync.resume('acme')});
wait_live($node, 'acme');
same_rows($node, $org, 'acme', 'Lead', '... whole thereafter');

# Without a number of records the end must be said
$node->safe_psql('postgres', q{SELECT sync.disable('acme', drop_table => true)});
$org->fault({ kind => 'bulk_query_status' }, { replace => [ [ '"numberRecordsProcessed":\d+,', '' ] ] }, times => -1);
$org->fault({ kind => 'bulk_query_results' }, { locator => undef, pass => $true }, times => 1);
$node->safe_psql('postgres', q{SELECT sync.enable('acme', ARRAY['Lead'])});
told('without an end', 'neither a number nor an end');
$node->psql('postgres', q{SELECT sync.resume('acme')});
wait_live($node, 'acme');
same_rows($node, $org, 'acme', 'Lead', '... the end alone will do');
$org->no_faults;
$node->safe_psql('postgres', q{SELECT sync.disable('acme', drop_table => true)});

# By query
$org->post('/config', { page_size => 50 });
foreach my $fault ([ 'an empty page', '"records":\[.+\]', '"records":[]' ], [ 'a page that says it is the last', '"done":false', '"done":true' ])
{
    my ($what, @replace) = @$fault;

    $org->fault({ kind => 'bulk_query_create' }, { status => 400, errorCode => 'INVALIDENTITY', message => 'Entity is not supported by Bulk' }, times => -1);
    $org->fault({ kind => 'query' }, { replace => [ \@replace ], pass => $true }, times => 1, after => 1);
    $node->safe_psql('postgres', q{SELECT sync.enable('acme', ARRAY['Account'])});
    told('copy of Account came from Salesforce (incomplete|without an end)', "by query: $what");
    $node->psql('postgres', q{SELECT sync.resume('acme')});
    wait_live($node, 'acme');
    same_rows($node, $org, 'acme', 'Account', "... $what is not the end");
    $org->no_faults;
    $org->change('Account', { Description => $what }, limit => 250);
    $org->fault({ kind => 'query_more' }, { replace => [ \@replace ], pass => $true }, times => 1, after => 1);
    $node->psql('postgres', q{SELECT * FROM sync.now('acme')});
    $node->psql('postgres', q{SELECT sync.resume('acme')});
    wait_for($node, qq{SELECT count(*) = 250 FROM acme.account WHERE description = '$what'}, '... nor of an increment');
    $org->no_faults;
    $node->safe_psql('postgres', q{SELECT sync.disable('acme', drop_table => true)});
}
done_testing();
