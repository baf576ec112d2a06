
# Logins of a worker that goes on: what they open is closed again, whether they
# fail or not.

use strict;
use warnings;
use SyncTest;
use Test::More;
use WayOut;

plan skip_all => 'needs /proc' unless -r "/proc/$$/status";

my ($org, $node) = two_way(leads => 20);
my $worker = q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'sync worker'};
my $pid = sql($node, $worker);

sub sockets { return scalar grep { (readlink($_) // '') =~ /^socket:/ } glob("/proc/$pid/fd/*") }

# Lets the worker try again, and waits until the failures in a row are so many.
sub try_until
{
    my ($failures) = @_;

    sql($node, q{SELECT sync.resume('acme')});
    return $node->poll_query_until('postgres',
        "SELECT failures = $failures AND (next_cycle IS NOT NULL OR failures > 0) FROM sync.server_progress");
}

try_until(0);
my $before = sockets();
$org->fault({ kind => 'oauth' }, { status => 400, error => 'invalid_grant', error_description => 'expired' }, times => -1);
$org->post('/expire');
try_until($_) for 1 .. 3;
my $after_three = sockets();
try_until($_) for 4 .. 12;
is(sockets(), $after_three, 'logins that fail leave nothing open');
$org->no_faults;
try_until(0);
is(sockets(), $before, 'nor does one that succeeds');
is(sql($node, $worker), $pid, 'all in the same process');
done_testing();
