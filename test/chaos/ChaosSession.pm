
=head1 ChaosSession

A session of psql beside the test: one statement after the other, errors are
answers, and a server that goes away is met with a new connection.

=cut

package ChaosSession;

use strict;
use warnings;
use IPC::Open2;
use Time::HiRes qw(time);

# What no statement of ours needs; a psql that says nothing for so long hangs.
use constant PATIENCE => 60;

sub new
{
    my ($class, $node, $setup) = @_;
    return bless { node => $node, setup => $setup, open => 0, number => 0 }, $class;
}

sub connect
{
    my ($self) = @_;

    $self->{pid} = open2($self->{out}, $self->{in}, 'sh', '-c',
        'exec stdbuf -oL psql -XAtq -v VERBOSITY=terse -d "$0" 2>&1', $self->{node}->connstr('postgres'));
    $self->{open} = 0;
    return $self->ask($self->{setup});
}

sub end
{
    my ($self) = @_;
    my $pid = delete $self->{pid} or return;

    kill 'KILL', $pid;
    close $self->{$_} for 'in', 'out';
    waitpid $pid, 0;
    $self->{open} = 0;
    return;
}

# (answer, error): error is undef if all went well, 'gone' if the server did not
# answer to the end.
sub ask
{
    my ($self, $sql) = @_;
    local $SIG{PIPE} = 'IGNORE';

    $self->connect unless $self->{pid};
    return ('', 'gone') unless $self->{pid};
    $self->{asked} = $sql;
    my $mark = 'end of answer ' . ++$self->{number};
    syswrite $self->{in}, encoded($sql . ($sql =~ /\n\z/ ? '' : ";\n") . "\\echo '$mark'\n");
    my $answer = $self->read_to($mark);
    if (!defined $answer
        || $answer =~ /server closed the connection|no connection to the server|terminating connection/)
    {
        $self->end;
        return ('', 'gone');
    }
    return ($answer, $1) if $answer =~ /^(?:psql:[^:]*:\d+: )?((?:ERROR|FATAL): .*)$/m;
    return ($answer, undef);
}

sub encoded { my ($text) = @_; utf8::encode($text) if utf8::is_utf8($text); return $text }

sub read_to
{
    my ($self, $mark) = @_;
    my ($text, $deadline) = ('', time + PATIENCE);

    until ($text =~ s/^\Q$mark\E\n\z//m)
    {
        my $ready = '';
        vec($ready, fileno $self->{out}, 1) = 1;
        die "a statement hangs: $self->{asked}; psql said so far: $text" if time > $deadline;
        next unless select $ready, undef, undef, 1;
        return undef unless sysread $self->{out}, $text, 65536, length $text;
    }
    return $text;
}

1;
