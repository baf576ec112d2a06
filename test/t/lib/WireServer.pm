
=head1 WireServer

An HTTP server that sends what a test gives it, byte for byte: what no decent
server would send.

    my $wire = WireServer->start('/short' => sub { ... print {$_[0]} "..." });
    $wire->{url} . '/short'

The function for a path gets the socket and the request line; when it returns
false, the connection ends.

=cut

package WireServer;

use strict;
use warnings;
use IO::Socket::INET;
use POSIX ();

my @running;

sub start
{
    my ($class, %answers) = @_;
    my $listener = IO::Socket::INET->new(
        LocalAddr => '127.0.0.1', Listen => 64, ReuseAddr => 1)
      or die "listen: $!";
    my $pid = fork;
    die "fork: $!" unless defined $pid;
    unless ($pid)
    {
        setpgrp;
        serve($listener, \%answers);
        POSIX::_exit(0);
    }
    push @running, $pid;
    return bless { url => 'http://127.0.0.1:' . $listener->sockport, pid => $pid }, $class;
}

sub serve
{
    my ($listener, $answers) = @_;

    $SIG{CHLD} = 'IGNORE';
    while (my $socket = $listener->accept)
    {
        next if fork;
        $socket->autoflush(1);
        while (my $request = read_request($socket))
        {
            my ($path) = $request =~ m{^\S+ ([^ ?]*)};
            last unless $answers->{$path} && $answers->{$path}->($socket, $request);
        }
        close $socket;
        POSIX::_exit(0);
    }
    return;
}

# The request with its headers; empty at the end of the connection.
sub read_request
{
    my ($socket) = @_;
    my $request = '';

    while (defined(my $line = <$socket>))
    {
        return $request if $line =~ /^\r?\n$/;
        $request .= $line;
    }
    return '';
}

END
{
    my $status = $?;
    kill 'KILL', -$_ for @running;
    waitpid $_, 0 for @running;
    $? = $status;
}

1;
