
=head1 WayOut

What the tests of the way out have in common, on top of SyncTest: an org and a
server whose tables go both ways, the outbox as it stands, and the moments at
which everything has gone out.

    my ($org, $node) = two_way(leads => 50, objects => ['Lead', 'Contact']);
    hold($node);                      # changes wait in the outbox
    sql($node, 'UPDATE acme.lead ...');
    is(outbox($node), '...');
    let_go($node);                    # they go out, and what is new comes in

Only sync.now pulls (the interval is an hour), so what a test sees come in is
what it asked for.

=cut

package WayOut;

use strict;
use warnings;
use Exporter 'import';
use JSON::PP;
use SyncTest;
use Test::More;

our @EXPORT = qw(
  two_way sql outbox hold let_go push_out went_out failures_of
  conflicts_of record_of no_worker writes_of json
);

my $json = JSON::PP->new->utf8->canonical;

# Options: objects => [...]; conf => settings; mine => false for no worker;
# anything else goes to the org.
sub two_way
{
    my (%opt) = @_;
    my $objects = delete $opt{objects} || ['Lead'];
    my $conf = delete $opt{conf};
    my $server = delete $opt{server} || [];
    my $org = Org->start(%opt);
    my $node = sync_node('main', conf => $conf);

    connect_org($node, $org, 'acme', server => [ interval => '1 hour', @$server ]);
    enable_all($node, 'acme', @$objects);
    sync_now($node, 'acme');
    return ($org, $node);
}

sub sql
{
    my ($node, $sql) = @_;
    return $node->safe_psql('postgres', $sql);
}

sub json { return $json->decode($_[0]) }

# The outbox, a line for each change: operation|changes, in order.
sub outbox
{
    my ($node, $where) = @_;
    return sql($node, "SELECT operation || ' ' || changes::jsonb FROM sync.outbox"
          . ($where ? " WHERE $where" : '') . ' ORDER BY seq');
}

# Without a worker, so that changes stay where they are until sync.now.
sub no_worker
{
    my ($node) = @_;

    sql($node, 'SELECT sync.stop()');
    $node->poll_query_until('postgres',
        q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'sync worker'});
    return;
}

sub hold { return sql($_[0], q{SELECT sync.pause('acme')}) }

sub let_go
{
    my ($node, $what) = @_;

    sql($node, q{SELECT sync.resume('acme')});
    went_out($node, $what || 'everything has gone out');
    return;
}

# Everything that is not refused has reached the org.
sub went_out
{
    my ($node, $what) = @_;

    return wait_for($node,
        q{SELECT count(*) = 0 FROM sync.outbox WHERE state <> 'refused'}, $what);
}

# One round trip of everything: out, and in.
sub push_out
{
    my ($node, $what) = @_;

    sync_now($node, 'acme');
    went_out($node, $what || 'everything has gone out');
    sync_now($node, 'acme');
    return;
}

sub failures_of
{
    my ($node, $where) = @_;
    return sql($node, 'SELECT object, operation, record, code FROM sync.failures'
          . ($where ? " WHERE $where" : '') . ' ORDER BY record, code');
}

sub conflicts_of
{
    my ($node, $id) = @_;
    return sql($node, q{SELECT field, base, salesforce, local, winner, rule FROM sync.conflicts}
          . ($id ? " WHERE record = '$id'" : '') . ' ORDER BY seq');
}

# A record as the org has it, the deleted ones too; undef if it is not there.
sub record_of
{
    my ($org, $object, $id, @fields) = @_;
    my $rows = $org->rows('SELECT Id, ' . join(', ', @fields) . " FROM $object WHERE Id = '$id'");
    return $rows->[0];
}

# Requests that write records, as the org's call log has them.
sub writes_of
{
    my ($org, %opt) = @_;
    return grep {
             $_->{kind} =~ /^ingest_/
          || ($_->{kind} eq 'collections' && $_->{method} ne 'GET')
          || ($_->{kind} eq 'row' && $_->{method} ne 'GET')
          || ($_->{kind} eq 'composite' && ($_->{body} || '') =~ /"method":"PATCH"/)
    } $org->calls(%opt);
}

1;
