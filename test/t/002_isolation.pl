
# The isolation tests (test/specs/, test/expected/) in a temporary cluster, one
# line of TAP for each spec.

use strict;
use warnings;
use Regress;

Regress::run(
    program => $ENV{PG_ISOLATION_REGRESS},
    list => 'ISOLATION',
    name => 'isolation',
    options => [ "--inputdir=$ENV{TOP}/test" ]);
