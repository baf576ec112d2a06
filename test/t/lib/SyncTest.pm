
=head1 SyncTest

What the whole-system tests have in common: a simulated org, a server with the
extension, and the two connected.

    use SyncTest;
    my $org = Org->start(leads => 500);
    my $node = sync_node('main');
    connect_org($node, $org, 'acme');
    $node->safe_psql('postgres', "SELECT sync.enable('acme', '{Lead}')");
    wait_live($node, 'acme');
    same_rows($node, $org, 'acme', 'Lead', 'after the first copy');

Nothing here waits for time to pass, only for conditions.

=cut

package SyncTest;

use strict;
use warnings;
use Exporter 'import';
use IPC::Run;
use JSON::PP;
use Org;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $json = JSON::PP->new->utf8;

our @EXPORT = qw(
  sync_node connect_org options_of sql_error wait_for wait_live wait_log
  enable_all sync_now same_rows rows_of wait_until quote sql_start sql_end
  crash
);

# A started server with the extension in its database postgres.  preload => 0
# leaves the library out of shared_preload_libraries; conf => further settings.
sub sync_node
{
    my ($name, %opt) = @_;
    my $node = PostgreSQL::Test::Cluster->new($name);

    $node->init(extra => [ '--encoding=UTF8', '--no-locale' ],
        allows_streaming => $opt{streaming});
    $node->append_conf('postgresql.conf', "shared_preload_libraries = ''")
      if defined $opt{preload} && !$opt{preload};
    $node->append_conf('postgresql.conf', "restart_after_crash = on");
    $node->append_conf('postgresql.conf', $opt{conf}) if $opt{conf};
    $node->start;
    $node->safe_psql('postgres', 'CREATE EXTENSION sync');
    return $node;
}

# kill -9 of the postmaster, and a start as soon as its children have gone, too.
sub crash
{
    my ($node) = @_;
    my $pid = $node->{_pid};

    $node->kill9;
    wait_until('the server is dead', sub { !kill 0, $pid });
    for (1 .. 100)
    {
        return if $node->start(fail_ok => 1);
        select undef, undef, undef, 0.1;
    }
    $node->start;
    return;
}

sub quote
{
    my ($text) = @_;
    $text =~ s/'/''/g;
    return "'$text'";
}

sub quote_ident
{
    my ($name) = @_;
    $name =~ s/"/""/g;
    return qq{"$name"};
}

# OPTIONS (...) from a list of names and values.
sub options_of
{
    my (@pairs) = @_;
    my @options;

    while (my ($name, $value) = splice @pairs, 0, 2)
    {
        push @options, "$name " . quote($value);
    }
    return 'OPTIONS (' . join(', ', @options) . ')';
}

# The credentials that each grant needs, from the org's port file.
sub credentials
{
    my ($org, $auth) = @_;
    my $info = $org->{info};
    my $user = $info->{run_as};
    my $login = $info->{users}{$user};
    my @client = (client_id => $info->{client_id});
    my @secret = (client_secret => $info->{client_secret});

    return (@client, username => $user,
        private_key_file => $info->{private_key_file}) if $auth eq 'jwt';
    return (@client, @secret) if $auth eq 'client_credentials';
    return (@client, @secret, refresh_token => $info->{refresh_token})
      if $auth eq 'refresh_token';
    return (@client, @secret, username => $user,
        password => $login->{password} . $login->{security_token});
}

# Server and user mapping for an org.  Options: auth; db; role (whose mapping
# and server it is); server and mapping, lists of options put in the place of,
# or added to, the usual ones.
sub connect_org
{
    my ($node, $org, $name, %opt) = @_;
    my $db = $opt{db} || 'postgres';
    my $auth = $opt{auth} || 'jwt';
    my %server = (
        login_url => $org->{info}{login}, ca_file => $org->{info}{ca_file},
        @{ $opt{server} || [] });
    my %mapping = (auth => $auth, credentials($org, $auth), @{ $opt{mapping} || [] });
    my $role = $opt{role} ? "SET ROLE $opt{role};" : '';

    delete $server{$_} for grep { !defined $server{$_} } keys %server;
    delete $mapping{$_} for grep { !defined $mapping{$_} } keys %mapping;
    my $ident = quote_ident($name);
    $node->safe_psql($db, qq{$role
        CREATE SERVER $ident FOREIGN DATA WRAPPER salesforce }
          . options_of(map { $_ => $server{$_} } sort keys %server) . qq{;
        CREATE USER MAPPING FOR CURRENT_USER SERVER $ident }
          . options_of(map { $_ => $mapping{$_} } sort keys %mapping));
}

# Runs what must fail, and returns everything that psql said of it.
sub sql_error
{
    my ($node, $sql, %opt) = @_;
    my ($status, $out, $err) = $node->psql($opt{db} || 'postgres',
        "\\set VERBOSITY verbose\n$sql", on_error_stop => 1);

    isnt($status, 0, 'is refused: ' . substr($sql =~ s/\s+/ /gr, 0, 60));
    return $err;
}

# Runs SQL beside the test; sql_end waits for it and gives (status, out, err).
sub sql_start
{
    my ($node, $sql, %opt) = @_;
    my %run = (in => "\\set VERBOSITY verbose\n$sql", out => '', err => '');

    $run{handle} = IPC::Run::start(
        [ 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-d',
            $node->connstr($opt{db} || 'postgres'), '-f', '-' ],
        '<', \$run{in}, '>', \$run{out}, '2>', \$run{err});
    return \%run;
}

sub sql_end
{
    my ($run) = @_;

    $run->{handle}->finish;
    return ($run->{handle}->result || 0, $run->{out}, $run->{err});
}

# Waits until a query gives t.
sub wait_for
{
    my ($node, $query, $what, %opt) = @_;
    my $db = $opt{db} || 'postgres';

    return pass($what) if $node->poll_query_until($db, $query);
    fail($what);
    diag($node->safe_psql($db, $_))
      for 'TABLE sync.status', 'TABLE sync.failures',
      'SELECT * FROM sync.log ORDER BY seq DESC LIMIT 10';
    return;
}

# Waits until a Perl condition holds.
sub wait_until
{
    my ($what, $condition) = @_;
    my $deadline = time() + $PostgreSQL::Test::Utils::timeout_default;

    until ($condition->())
    {
        return fail($what) if time() > $deadline;
        select undef, undef, undef, 0.1;
    }
    return pass($what);
}

# Waits until every object of a server (or those given) is live.
sub wait_live
{
    my ($node, $server, %opt) = @_;
    my $objects = join ',', map { quote($_) } @{ $opt{objects} || [] };
    my $which = 'server = ' . quote($server)
      . ($objects ne '' ? " AND object IN ($objects)" : '');

    return wait_for($node,
        "SELECT count(*) > 0 AND bool_and(state = 'live')"
          . " FROM sync.status WHERE $which",
        $opt{what} || "$server is live", %opt);
}

# Waits for a line in the server's log after an offset.
sub wait_log
{
    my ($node, $regex, $offset) = @_;
    return $node->wait_for_log($regex, $offset || 0);
}

# Enables objects (default: the whole default set) and waits for the copy.
sub enable_all
{
    my ($node, $server, @objects) = @_;
    my $list = @objects ? ', ARRAY[' . join(',', map { quote($_) } @objects) . ']' : '';

    $node->safe_psql('postgres', 'SELECT sync.enable(' . quote($server) . "$list)");
    return wait_live($node, $server);
}

# One cycle, now; in the caller's session when no worker runs.
sub sync_now
{
    my ($node, $server, $object, %opt) = @_;
    my $which = defined $object ? ', ' . quote($object) : '';

    return $node->safe_psql($opt{db} || 'postgres',
        'SELECT count(*) FROM sync.now(' . quote($server) . "$which)");
}

# Columns of a table with the SQL that writes their values as the REST API does.
sub columns_of
{
    my ($node, $table, $db) = @_;
    my %writes = (
        'timestamp with time zone' =>
          q{to_char(%s AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"+0000"')},
        'time without time zone' => q{to_char('2000-01-01'::date + %s, 'HH24:MI:SS.MS"Z"')},
        'numeric' => 'trim_scale(%s)::text');
    my $list = $node->safe_psql($db,
        "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute"
          . ' WHERE attrelid = ' . quote($table) . '::regclass AND attnum > 0'
          . " AND NOT attisdropped AND attname <> 'local_id' ORDER BY attnum");

    return map {
        my ($name, $type) = split /\|/;
        ($name => sprintf $writes{$type} || '%s::text', qq{"$name"})
    } split /\n/, $list;
}

# A table's rows by id, each a hash of column and text.
sub rows_of
{
    my ($node, $table, %opt) = @_;
    my $db = $opt{db} || 'postgres';
    my %columns = columns_of($node, $table, $db);
    my @names = $opt{fields} ? map { lc } 'id', @{ $opt{fields} } : sort keys %columns;
    my @lines = split /\n/, $node->safe_psql($db,
        'SELECT jsonb_object(ARRAY[' . join(', ', map { quote($_) } @names)
          . '], ARRAY[' . join(', ', map { $columns{$_} } @names) . "]) FROM $table");
    my %rows;

    foreach my $row (map { $json->decode($_) } @lines)
    {
        $rows{ $row->{id} } = $row;
    }
    return \%rows;
}

# A value of the org's JSON as text.
sub text_of
{
    my ($value) = @_;

    return $value if !defined $value;
    return $value ? 'true' : 'false' if JSON::PP::is_bool($value);
    return $value;
}

# True where the two texts are the same value: numbers may be written in more
# than one way.
sub same_value
{
    my ($ours, $theirs) = @_;

    return !defined $ours && !defined $theirs
      if !defined $ours || !defined $theirs;
    return 1 if $ours eq $theirs;
    my $number = qr/^-?\d+(\.\d+)?([eE][-+]?\d+)?$/;
    return $ours =~ $number && $theirs =~ $number && $ours == $theirs;
}

# The table holds exactly the org's undeleted rows with their values: of all
# columns that are fields, or of those in fields => [...].  where => SOQL.
# Roll-ups change in the org without a new stamp, as formulas do.
sub same_rows
{
    my ($node, $org, $schema, $object, $what, %opt) = @_;
    my $table = quote_ident($schema) . '.' . quote_ident(lc $object);
    my $ours = rows_of($node, $table, %opt);
    my %columns = columns_of($node, $table, $opt{db} || 'postgres');
    my @names = grep { !/^(numberof(leads|contacts|converted|opp|resp|won)|amount(all|won))/i }
      $opt{fields} ? @{ $opt{fields} } : sort keys %columns;
    my $where = $opt{where} ? " WHERE $opt{where}" : '';
    my @ask = list_of('Id', @names, grep { $_ eq 'isdeleted' } keys %columns);
    my $theirs = $org->rows('SELECT ' . join(', ', @ask) . " FROM $object$where");
    my (@problems, %seen);

    foreach my $record (@$theirs)
    {
        my %row = map { lc $_ => text_of($record->{$_}) } keys %$record;
        my $mine = $ours->{ $row{id} };

        $seen{ $row{id} } = 1;
        next if !$mine && ($row{isdeleted} || 'false') eq 'true';
        push(@problems, "$row{id} is missing"), next if !$mine;
        push @problems,
          map { "$row{id} $_: ours " . shown($mine->{$_}) . ', theirs ' . shown($row{$_}) }
          grep { !same_value($mine->{$_}, $row{$_}) } map { lc } @names;
    }
    push @problems, map { "$_ should not be there" } grep { !$seen{$_} } keys %$ours;
    my $same = ok(!@problems, "$what: $object is as in the org (" . keys(%$ours) . ' rows)');

    diag(scalar(@problems) . ' differences, such as', map { "\n  $_" } splice @problems, 0, 4)
      if @problems;
    return $same;
}

sub shown { return defined $_[0] ? "'$_[0]'" : 'null' }

# The names without repeating any, whatever their case.
sub list_of
{
    my %seen;
    return grep { !$seen{ lc $_ }++ } @_;
}

1;
