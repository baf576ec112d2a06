
=head1 TablesTest

The tables bank by itself: a server with the functions of test/modules/tables,
two roles (app, who owns the synced tables, and usr), and no extension.

    use TablesTest;
    my $node = tables_node('load');
    my $t = create_table($node, 'acme', 'lead', 'n|integer');
    is(value($node, "SELECT tt.load($t, '{id,n}', " . bytes("a,1\n") . ')'), '1');

=cut

package TablesTest;

use strict;
use warnings;
use Exporter 'import';
use File::Basename qw(dirname);
use File::Spec;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(tables_node load_functions create_table value error_of bytes literal column_read);

sub tables_node
{
    my ($name) = @_;
    my $node = PostgreSQL::Test::Cluster->new($name);

    $node->init(extra => [ '--encoding=UTF8', '--no-locale' ]);
    $node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
    $node->start;
    $node->safe_psql('postgres', <<'SQL');
CREATE ROLE app;
CREATE ROLE usr;
GRANT CREATE ON DATABASE postgres TO app;
SQL
    load_functions($node, 'postgres');
    return $node;
}

# Built once for each test file, outside of the source tree.
my $module;

sub load_functions
{
    my ($node, $database) = @_;
    my $folder = File::Spec->rel2abs(dirname(__FILE__) . '/../../modules/tables');

    if (!$module)
    {
        my $build = PostgreSQL::Test::Utils::tempdir();
        my $pg_config = $ENV{PG_CONFIG} || 'pg_config';

        system('make', '-s', '-C', $build, '-f', "$folder/Makefile", "PG_CONFIG=$pg_config") == 0
          or die "could not build the test module\n";
        $module = "$build/tables_test.so";
    }
    $node->command_ok(
        [
            'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-v', "module=$module",
            '-f', "$folder/tables_test.sql", '-d', $node->connstr($database)
        ],
        "functions of the test module in $database");
}

# A table with id, the columns as in tables_test.sql, and a stamp: its OID.
sub create_table
{
    my ($node, $schema, $name, @columns) = @_;
    my $columns = join ', ',
      map { literal($_) } 'id|text', @columns, 'stamp|timestamp with time zone';

    return value($node, 'SELECT tt.create_table(' . literal($schema) . ', '
          . literal($name) . ", ARRAY[$columns], 'app', NULL)");
}

# How a refused row names the column that COPY was reading: PostgreSQL 13 does
# not tell it.
sub column_read
{
    my ($node, $column) = @_;
    return value($node, 'SHOW server_version_num') >= 140000 ? $column : '-';
}

sub value
{
    my ($node, $sql, $database) = @_;

    return $node->safe_psql($database || 'postgres', $sql);
}

# SQLSTATE, message, detail and hint of what fails; '' if it does not.
sub error_of
{
    my ($node, $sql) = @_;
    my ($rc, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose\n$sql");

    return $rc == 0 && $err !~ /ERROR/ ? '' : $err;
}

sub literal
{
    my ($text) = @_;

    $text =~ s/'/''/g;
    return "'$text'";
}

sub bytes
{
    my ($bytes) = @_;

    return "'\\x" . unpack('H*', $bytes) . "'::bytea";
}

1;
