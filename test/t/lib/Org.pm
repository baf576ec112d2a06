
=head1 Org

A simulated org (test/org) as a test sees it: started and stopped, changed as
its other users would, and made to misbehave, all through its admin surface.

=cut

package Org;

use strict;
use warnings;
use File::Temp;
use HTTP::Tiny;
use JSON::PP;
use POSIX ':sys_wait_h';

my $json = JSON::PP->new->utf8->canonical;
my @running;

# start(leads => 100, args => ['--tls'], ...): any option of the org's command
# line by its name with underscores, as leads => 100; switches through args.
sub start
{
    my ($class, %opt) = @_;
    my $folder = File::Temp::tempdir(
        'org.XXXXXX', DIR => $ENV{TMPDIR} || '/tmp', CLEANUP => 1);
    my @args = @{ delete $opt{args} || [] };

    push @args, '--' . ($_ =~ tr/_/-/r), $opt{$_} for sort keys %opt;
    my $self = bless { folder => $folder, args => \@args }, $class;
    push @running, $self;
    $self->run;
    return $self;
}

sub run
{
    my ($self, @more) = @_;
    my $port_file = "$self->{folder}/port.json";

    unlink $port_file;
    my $pid = fork;
    die "fork: $!" unless defined $pid;
    unless ($pid)
    {
        open STDIN, '<', '/dev/null';
        open STDOUT, '>>', "$self->{folder}/log";
        open STDERR, '>&', \*STDOUT;
        exec $ENV{PYTHON} || 'python3', "$ENV{TOP}/test/org",
          '--state', "$self->{folder}/state", '--port-file', $port_file,
          @{ $self->{args} }, @more
          or POSIX::_exit(127);
    }
    $self->{pid} = $pid;
    $self->wait_for_file($port_file);
    $self->{info} = $json->decode(slurp($port_file));
    return;
}

sub wait_for_file
{
    my ($self, $file) = @_;

    for (1 .. 1200)
    {
        return if -e $file;
        if (waitpid($self->{pid}, WNOHANG))
        {
            delete $self->{pid};
            die "the org did not start:\n" . slurp("$self->{folder}/log");
        }
        select undef, undef, undef, 0.1;
    }
    die "the org does not answer:\n" . slurp("$self->{folder}/log");
}

# The same org again, on the same ports and with its data.
sub restart
{
    my ($self) = @_;
    my %port = map { $_ => $self->{info}{$_} =~ /:(\d+)$/ } qw(login instance admin);
    my @args = ('--port', $port{instance}, '--admin-port', $port{admin});

    push @args, '--login-port', $port{login} if $port{login} != $port{instance};
    $self->stop;
    $self->run(@args);
    return;
}

sub stop
{
    my ($self, $signal) = @_;

    return unless $self->{pid};
    kill $signal || 'TERM', $self->{pid};
    waitpid $self->{pid}, 0;
    delete $self->{pid};
    return;
}

sub slurp
{
    my ($file) = @_;
    open my $in, '<', $file or return '';
    local $/;
    return scalar <$in>;
}

sub log_text { return slurp("$_[0]->{folder}/log") }

# One verb of the admin surface.
sub request
{
    my ($self, $method, $path, $body) = @_;
    my %options = defined $body ? (content => $json->encode($body)) : ();
    my $answer = HTTP::Tiny->new(timeout => 300)
      ->request($method, $self->{info}{admin} . $path, \%options);

    die "$method $path: $answer->{status} $answer->{content}"
      unless $answer->{success};
    return $json->decode($answer->{content});
}

sub post { my ($self, $path, $body) = @_; return $self->request('POST', $path, $body || {}) }
sub get { my ($self, $path) = @_; return $self->request('GET', $path) }

# dml(op => 'insert', object => 'Lead', records => [...]): the ids.
sub dml
{
    my ($self, %what) = @_;
    my $answer = $self->post('/dml', \%what);

    foreach my $result (@{ $answer->{results} })
    {
        die 'dml: ' . $json->encode($result) unless $result->{success};
    }
    return map { $_->{id} } @{ $answer->{results} };
}

sub insert
{
    my ($self, $object, @records) = @_;
    return $self->dml(op => 'insert', object => $object, records => \@records);
}

sub update
{
    my ($self, $object, @records) = @_;
    return $self->dml(op => 'update', object => $object, records => \@records);
}

sub delete
{
    my ($self, $object, @ids) = @_;
    return $self->dml(op => 'delete', object => $object, records => \@ids);
}

# change('Lead', { Title => 'x' }, where => ..., limit => ...): many at once.
sub change
{
    my ($self, $object, $set, %opt) = @_;
    return $self->post('/change', { object => $object, set => $set, %opt })->{changed};
}

# fault({ path => '/query' }, { status => 503 }, times => 2): its id.
sub fault
{
    my ($self, $match, $action, %opt) = @_;
    return $self->post('/fault', { match => $match, action => $action, %opt })->{id};
}

sub no_faults { $_[0]->request('DELETE', '/faults'); return }

sub hits
{
    my ($self, $id) = @_;
    my ($fault) = grep { $_->{id} == $id } @{ $self->get('/faults')->{faults} };
    return $fault ? $fault->{hits} : undef;
}

sub escape
{
    my ($text) = @_;
    utf8::encode($text) if utf8::is_utf8($text);
    $text =~ s/([^A-Za-z0-9_.-])/sprintf '%%%02X', ord $1/ge;
    return $text;
}

sub rows
{
    my ($self, $soql) = @_;
    return $self->get('/rows?soql=' . escape($soql))->{records};
}

sub count
{
    my ($self, $object, $where) = @_;
    my $filter = defined $where ? '&where=' . escape($where) : '';
    return $self->get("/count?object=$object$filter")->{count};
}

# The requests since calls_mark (or all), as the org's call log has them.
sub calls_mark
{
    my ($self) = @_;
    return $self->{mark} = $self->get('/calls?since=0')->{next};
}

sub calls
{
    my ($self, %opt) = @_;
    my $since = defined $opt{since} ? $opt{since} : $self->{mark} || 0;
    my $kind = $opt{kind} ? "&kind=$opt{kind}" : '';
    return @{ $self->get("/calls?since=$since$kind")->{calls} };
}

# What they cost of the daily allowance.
sub api_calls
{
    my ($self, %opt) = @_;
    my $sum = 0;
    $sum += $_->{api_calls} || 0 for $self->calls(%opt);
    return $sum;
}

END
{
    my $status = $?;
    $_->stop for @running;
    $? = $status;
}

1;
