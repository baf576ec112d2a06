
# Dropping what a worker is busy with: nothing blocks, nothing crashes, nothing
# is left behind.

use strict;
use warnings;
use SyncTest;
use Test::More;

my $org = Org->start(leads => 500);
my $node = sync_node('main');
my $workers = q{
    SELECT count(*) = 0 FROM pg_stat_activity
    WHERE backend_type LIKE 'sync%' AND backend_type NOT LIKE '%launcher%'};

# A database, in mid-download.
$node->safe_psql('postgres', 'CREATE DATABASE doomed');
$node->safe_psql('doomed', 'CREATE EXTENSION sync');
connect_org($node, $org, 'acme', db => 'doomed');
$org->fault({ kind => 'bulk_query_results' }, { hang => 600 }, times => -1);
$node->safe_psql('doomed', q{SELECT sync.enable('acme', ARRAY['Lead'])});
wait_until('a page hangs', sub { grep { $_->{fault} } $org->calls(kind => 'bulk_query_results') });
$node->safe_psql('postgres', 'DROP DATABASE doomed WITH (FORCE)');
wait_for($node, $workers, 'DROP DATABASE is not blocked and leaves no worker');
$org->no_faults;

# The extension, in mid-download, with the tables kept.
connect_org($node, $org, 'acme');
enable_all($node, 'acme', 'Lead');
$org->fault({ path => '/jobs/query/.*/results|/query' }, { hang => 600 }, times => -1);
$node->safe_psql('postgres', q{SELECT sync.enable('acme', ARRAY['Account'])});
wait_until('a page hangs', sub { grep { $_->{fault} } $org->calls });
$node->safe_psql('postgres', q{SET statement_timeout = '30s'; DROP EXTENSION sync CASCADE});
wait_for($node, $workers, 'DROP EXTENSION is not blocked and leaves no worker');
is($node->safe_psql('postgres', 'SELECT count(*) FROM acme.lead'), 500, 'tables stay');
is($node->safe_psql('postgres', q{UPDATE acme.lead SET title = 'mine' WHERE false RETURNING 1}), '',
    'as ordinary tables');
$node->safe_psql('postgres', 'DROP SCHEMA acme CASCADE');
$org->no_faults;

# And all of it again.
$node->safe_psql('postgres', 'CREATE EXTENSION sync');
connect_org($node, $org, 'acme', server => [ interval => '1 s' ]);
enable_all($node, 'acme', 'Lead', 'Account');

# A server of SQL/MED.
$node->safe_psql('postgres', 'DROP SERVER acme CASCADE');
wait_for($node, $workers, 'DROP SERVER ends its worker');
is($node->safe_psql('postgres', 'SELECT count(*) FROM sync.status'), 0, 'and its configuration');

# A table under the hands of the sync: an error of this object alone.
connect_org($node, $org, 'acme', server => [ interval => '1 s' ]);
$node->safe_psql('postgres', 'DROP SCHEMA acme CASCADE');
enable_all($node, 'acme', 'Lead', 'Account');
$node->safe_psql('postgres', 'DROP TABLE acme.account');
$org->insert('Lead', { LastName => 'Alone', Company => 'S' });
$org->post('/clock', { step_seconds => 61 });
wait_for($node, q{SELECT count(*) = 1 FROM acme.lead WHERE lastname = 'Alone'},
    'others go on when a table was dropped by hand');
done_testing();
