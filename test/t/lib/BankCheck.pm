
=head1 BankCheck

The Salesforce bank by itself: a server without the extension, with the
functions of test/modules/salesforce.

    use BankCheck;
    is(result("SELECT check_id('00Q4C00000B5Bug')"), '00Q4C00000B5BugUAF');

Statements of one call share a session, and with it the HTTP client and the
login.  SELECT check_client(MS, CA) makes a client that waits MS without a byte.

=cut

package BankCheck;

use strict;
use warnings;
use Exporter 'import';
use Fcntl ':flock';
use PostgreSQL::Test::Cluster;
use SyncTest;
use Test::More;

our @EXPORT = qw(bank_start results result error_of bytes);

my $module = "$ENV{TOP}/test/modules/salesforce";
my $node;

# Built once, whichever test comes first.
sub build
{
    open my $lock, '>', "$module/.lock" or die "$module: $!";
    flock $lock, LOCK_EX;
    my $output = `make -s -C '$module' PG_CONFIG='$ENV{PG_CONFIG}' 2>&1`;
    is($?, 0, 'the module is built') or BAIL_OUT($output);
    return;
}

sub bank_start
{
    my ($name) = @_;

    build();
    $node = PostgreSQL::Test::Cluster->new($name);
    $node->init(extra => [ '--encoding=UTF8', '--no-locale' ]);
    $node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
    $node->start;
    $node->safe_psql('postgres',
        "\\set so $module/salesforce_check\n\\i $module/salesforce_check.sql");
    return $node;
}

# What each of several statements in one session returned.
sub results
{
    my (@statements) = @_;
    my $script = join '', map { "$_;\n\\echo =====\n" } @statements;
    my ($status, $out, $err) = $node->psql('postgres', $script, on_error_stop => 0);

    diag($err) if $err ne '';
    return map { s/\n\z//r } split /=====\n?/, "$out\n";
}

# What the last of them returned.
sub result { return (results(@_))[-1] }

# The error of the last of them: SQLSTATE | message | detail | hint.
sub error_of
{
    my (@statements) = @_;
    my $last = pop @statements;
    return result(@statements, 'SELECT error_of(' . quote($last) . ')');
}

# A bytea literal.
sub bytes { return "'\\x" . unpack('H*', $_[0]) . "'::bytea" }

1;
