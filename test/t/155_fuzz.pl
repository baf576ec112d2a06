
# The short form of make fuzz: every decoder under libFuzzer for a moment.

use strict;
use warnings;

exec $^X, "$ENV{TOP}/test/fuzz/fuzz.pl" or die "fuzz.pl: $!\n";
