
# What is done to columns while a table is copied for the first time: the pages that
# were in before have the values in the end, too, and the copy comes to its end.

use strict;
use warnings FATAL => 'all';
use SyncTest;
use Test::More;

my $org = Org->start(leads => 2000);
my $node = sync_node('main');
connect_org($node, $org, 'acme');
$org->post('/config', { bulk_page_rows => 500 });

sub sql { return $node->safe_psql('postgres', $_[0]) }

# Two pages of four are in, and nobody copies.
sub halfway
{
    $org->no_faults;
    $org->calls_mark;
    $org->fault({ kind => 'bulk_query_results', object => 'Lead' }, { hang => 120 }, after => 2, times => 1);
    sql(q{SELECT sync.enable('acme', ARRAY['Lead'])});
    wait_until('half-way', sub { grep { $_->{fault} } $org->calls(kind => 'bulk_query_results') });
    sql('SELECT sync.stop()');
    sql(q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'sync copier'});
    $node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type IN ('sync worker', 'sync copier')});
    is(sql('SELECT count(*) FROM acme.lead'), 1000, 'half of it is there');
}

halfway();
sql('ALTER TABLE acme.lead DROP COLUMN lastname, ADD COLUMN lastname text');
sql('SELECT sync.start()');
wait_live($node, 'acme');
wait_for($node, 'SELECT count(*) = 2000 AND count(lastname) = 2000 FROM acme.lead', 'dropped and added again: filled in all pages');
sql(q{SELECT sync.disable('acme', drop_table => true)});

halfway();
sql('ALTER TABLE acme.lead DROP COLUMN company');
sql('SELECT sync.start()');
wait_live($node, 'acme', what => 'dropped: the copy comes to its end');
sync_now($node, 'acme');
same_rows($node, $org, 'acme', 'Lead', '... without it');
sql(q{SELECT sync.disable('acme', drop_table => true)});

halfway();
sql('ALTER TABLE acme.lead ALTER COLUMN lastname TYPE varchar(1) USING left(lastname, 1)');
sql('SELECT sync.start()');
wait_for($node, q{SELECT last_error LIKE '%"lastname" is of type character varying(1) instead of text%' FROM sync.status}, 'retyped: an error');
is(sql(q{SELECT count(*) FROM sync.failures WHERE record <> ''}), 0, '... and not of every row');
sql('ALTER TABLE acme.lead ALTER COLUMN lastname TYPE text');
wait_live($node, 'acme', what => '... with the type back it goes on');
wait_for($node, q{SELECT isfinite(cursor) FROM sync.progress}, '... and reads all pages again');
same_rows($node, $org, 'acme', 'Lead', '... so that all are filled');
done_testing();
