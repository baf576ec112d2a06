
# The regression tests (sql/, expected/) in a temporary cluster, one line of
# TAP for each script.

use strict;
use warnings;
use Regress;

Regress::run(
    program => $ENV{PG_REGRESS},
    list => 'REGRESS',
    name => 'regress');
