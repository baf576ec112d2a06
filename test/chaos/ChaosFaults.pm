
=head1 ChaosFaults

What goes wrong: the org's answers, its sessions, the worker and the server.

=cut

package ChaosFaults;

use strict;
use warnings;
use ChaosData;
use JSON::PP;
use SyncTest;

my $true = JSON::PP::true;

sub new
{
    my ($class, $node, $org) = @_;
    return bless { node => $node, org => $org, done => {}, killed => 0 }, $class;
}

my @requests = (
    { kind => 'collections' }, { kind => 'collections' }, { kind => 'collections' },
    { kind => 'composite' }, { kind => 'composite' }, { kind => 'query' }, { kind => 'query_more' },
    { kind => 'ingest_create' }, { kind => 'ingest_upload' }, { kind => 'ingest_status' },
    { kind => 'ingest_results' }, { kind => 'ingest_other' }, { kind => 'bulk_query_create' },
    { kind => 'bulk_query_results' }, { kind => 'describe' });

my @troubles = (
    { status => 503 }, { status => 500 }, { status => 502, html => $true }, { reset => $true },
    { reset => 'middle' }, { hang => 5 }, { bad_json => $true }, { truncate => { bytes => 40 } },
    { close => $true, pass => $true }, { delay => 0.5, pass => $true });

sub fault
{
    my ($self) = @_;
    my $trouble = any(@troubles);

    $trouble = { apply_then => $trouble } if chance(0.5) && !$trouble->{pass};
    return $self->{org}->fault(any(@requests), $trouble, times => 1 + int rand 2);
}

sub record_error
{
    my ($self) = @_;
    my $error = any(
        { statusCode => 'UNABLE_TO_LOCK_ROW', message => 'unable to obtain exclusive access' },
        { statusCode => 'SERVER_UNAVAILABLE', message => 'Server too busy' });

    return $self->{org}->fault({ kind => any('collections', 'ingest_upload') },
        { record_error => $error }, times => 1 + int rand 5);
}

sub expire { return $_[0]->{org}->post('/expire') }

# A psql that meets a server in recovery may be gone before it was told what to
# ask.
sub psql
{
    my ($self, $sql) = @_;
    my @answer = eval { $self->{node}->psql('postgres', $sql) };

    die $@ if $@ && $@ !~ /Broken pipe/;
    return @answer;
}

sub pid_of
{
    my ($self, $what) = @_;
    my (undef, $pid) = $self->psql(
        "SELECT pid FROM pg_stat_activity WHERE backend_type = '$what' ORDER BY random() LIMIT 1");
    return $pid && $pid =~ /^\d+$/ ? $pid : undef;
}

sub kill_worker
{
    my ($self) = @_;
    my $pid = $self->pid_of('sync worker') or return;

    $self->{killed}++;
    return kill 'KILL', $pid;
}

sub end_worker
{
    my ($self) = @_;
    my $pid = $self->pid_of('sync worker') or return;
    return $self->sql("SELECT pg_terminate_backend($pid)");
}

sub crash_server { my ($self) = @_; SyncTest::crash($self->{node}); return }

sub sql
{
    my ($self, $sql) = @_;
    return $self->psql("SET statement_timeout = '5s'; $sql");
}

sub pause { return $_[0]->sql(q{SELECT sync.pause('acme')}) }
sub resume { return $_[0]->sql(q{SELECT sync.resume('acme')}) }
sub now { return $_[0]->sql(q{SELECT count(*) FROM sync.now('acme')}) }

my @operations = (
    [ 30, 'fault' => \&fault ], [ 5, 'record error' => \&record_error ], [ 4, 'expire' => \&expire ],
    [ 4, 'kill worker' => \&kill_worker ], [ 3, 'end worker' => \&end_worker ],
    [ 2, 'crash server' => \&crash_server ], [ 2, 'pause' => \&pause ],
    [ 12, 'resume' => \&resume ], [ 8, 'now' => \&now ]);
my @weighted = map { my $operation = $_; ($operation) x $operation->[0] } @operations;

sub step
{
    my ($self) = @_;
    my (undef, $what, $do) = @{ any(@weighted) };

    $do->($self);
    $self->{done}{$what}++;
    return;
}

1;
