
# What was sent is noted where it was sent from.  After a failover to an
# asynchronous standby, a recovery to a point in time, or the restore of a dump
# that note may be missing: waiting creates are looked for before they go out.

use strict;
use warnings;
use SyncTest;
use WayOut;
use Test::More;

my $org = Org->start(leads => 20, contacts => 20, accounts => 10);
my $primary = sync_node('primary', streaming => 1, conf => 'sync.lost_answer_wait = 1s');
my $dump = "$ENV{TESTDATADIR}/sync.dump";

connect_org($primary, $org, 'acme', server => [ interval => '1 hour' ]);
enable_all($primary, 'acme', 'Lead', 'Contact', 'Campaign');
$primary->safe_psql('postgres', q{SELECT sync.set('acme', 'Contact', 'external_id', 'Ext__c')});
$primary->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'copy', has_streaming => 1);
$standby->start;

sub found { my ($object, $name) = @_; return scalar @{ $org->rows("SELECT Id FROM $object WHERE LastName = '$name'") } }

# Rows with values that the org changes, with updates of the same transaction
# and of later ones; one that was never sent.
hold($primary);
sql($primary, q{INSERT INTO acme.lead (lastname, company, title) SELECT 'Five', 'c' || i, 't' || i FROM generate_series(1, 5) i});
sql($primary, q{INSERT INTO acme.contact (lastname, ext__c) SELECT 'Keyed', 'k' || i FROM generate_series(1, 3) i});
sql($primary, q{BEGIN; INSERT INTO acme.lead (lastname, company) VALUES ('Same', 'a'); UPDATE acme.lead SET company = 'b', title = 'x' WHERE lastname = 'Same'; COMMIT});
sql($primary, q{UPDATE acme.lead SET title = 'later' WHERE lastname = 'Five' AND company = 'c3'});
$primary->wait_for_catchup($standby);
$standby->stop;
$primary->command_ok([ 'pg_dump', '-Fc', '-f', $dump, $primary->connstr('postgres') ], 'a dump');
let_go($primary, 'the primary sends');
is(join(' ', found('Lead', 'Five'), found('Contact', 'Keyed'), found('Lead', 'Same')), '5 3 1', '... each once');
$primary->safe_psql('postgres', 'CREATE DATABASE restored');
$primary->stop('immediate');

sub all_is_well
{
    my ($node, $what, %opt) = @_;

    wait_for($node, q{SELECT count(*) = 0 FROM sync.outbox}, "$what: nothing waits", %opt);
    wait_for($node, q{SELECT count(*) = 0 FROM acme.lead WHERE id LIKE '~%'}, '... all have their ids', %opt);
    is(join(' ', found('Lead', 'Five'), found('Contact', 'Keyed'), found('Lead', 'Same')), '5 3 1', '... nothing is doubled');
    is(join(',', sort map { $_->{Title} } @{ $org->rows(q{SELECT Title FROM Lead WHERE LastName = 'Five'}) }), 'later,t1,t2,t4,t5', '... the last values are there');
    is($node->safe_psql($opt{db} || 'postgres', 'SELECT count(*) FROM sync.failures'), 0, '... nothing failed');
    sync_now($node, 'acme', undef, %opt);
    same_rows($node, $org, 'acme', $_, '... both sides', %opt) for qw(Lead Contact);
    return;
}

# Failover: the standby has the changes, and not that they were sent
$standby->append_conf('postgresql.conf', "primary_conninfo = ''");
$standby->start;
$standby->promote;
sql($standby, q{INSERT INTO acme.lead (lastname, company) VALUES ('New since', 'x')});
sql($standby, q{SELECT sync.resume('acme')});
all_is_well($standby, 'the promoted standby');
is(found('Lead', 'New since'), 1, '... what is new was sent');
like(sql($standby, q{SELECT string_agg(c::text, chr(10)) FROM sync.check('acme') c}), qr/timeline 2/, 'sync.check tells of the timeline');
$standby->stop;

# Two copies of the outbox: a dump from before the sending, restored
$primary->start;
went_out($primary, 'the old server, still there, goes on');
$primary->safe_psql('postgres', 'SELECT sync.stop()');
$primary->command_ok([ 'pg_restore', '--exit-on-error', '-d', $primary->connstr('restored'), $dump ], 'a restore');
$primary->safe_psql('restored', q{SELECT sync.resume('acme')});
all_is_well($primary, 'the restored copy', db => 'restored');
done_testing();
