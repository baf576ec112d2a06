
# The short form of what make chaos does for minutes: writers on both sides,
# faults and kills at random, then a comparison field by field.

use strict;
use warnings;

$ENV{CHAOS_SECONDS} ||= 20;
exec $^X, "$ENV{TOP}/test/chaos/chaos.pl" or die "chaos.pl: $!\n";
