
=head1 WriteCheck

Writing records through the Salesforce bank by itself (see BankCheck), and what
became of them in a few words.

    use WriteCheck;
    my ($node, $org) = write_start('writing', leads => 30);
    is(told(write_one(create => lead('Diaz'))), 'answered: created');

Each call has a session of its own, which logs in first.

=cut

package WriteCheck;

use strict;
use warnings;
use BankCheck;
use Exporter 'import';
use JSON::PP;
use SyncTest;
use Test::More;

our @EXPORT = qw(
  write_start logged_in impatient json_text parsed outcomes_of call_of lead change
  outcomes write_one told ids_of kinds value_of fails_with cancelled with_fault
);

my $json = JSON::PP->new->utf8->canonical;
my ($node, $org, @login);

# A server with the bank, and an org.
sub write_start
{
    my ($name, @options) = @_;

    $node = bank_start($name);
    $org = Org->start(@options);
    my @client = map { quote($_) } @{ $org->{info} }{qw(login client_id client_secret)};
    @login = ('SELECT check_client(120000, NULL)',
        "SELECT check_login($client[0], 'client_credentials', $client[1], $client[2],"
          . ' NULL, NULL, NULL, NULL)');
    return ($node, $org);
}

# The statements that log in, and those given; and the same with a client that
# gives up after three seconds.
sub logged_in { return (@login, @_) }
sub impatient { return ('SELECT check_client(3000, NULL)', @login[ 1 .. $#login ], @_) }

sub json_text { return quote($json->encode($_[0])) }
sub parsed { return $json->decode($_[0]) }

# A call of a verb; of an upsert the external id comes before the records.
sub call_of
{
    my ($verb, @records) = @_;
    my $external_id = @records && !ref $records[0] ? shift @records : undef;

    return { verb => $verb, external_id => $external_id, records => \@records };
}

# Records: a new lead, and a change of one.
sub lead
{
    my ($name, %more) = @_;
    return { object => 'Lead', fields => { LastName => $name, Company => 'x', %more } };
}

sub change
{
    my ($id, %fields) = @_;
    return { object => 'Lead', id => $id, fields => \%fields };
}

# The statement that makes calls.
sub outcomes_of { return 'SELECT check_write(' . json_text([@_]) . ')' }

# What became of calls, and of one.
sub outcomes { return @{ parsed(result(logged_in(outcomes_of(@_)))) } }

sub write_one
{
    my ($call) = outcomes(call_of(@_));
    return $call;
}

sub record_told
{
    my ($record) = @_;

    return '?' unless $record->{answered};
    return $record->{created} ? 'created' : 'ok' if $record->{success};
    return join ' ', grep { $_ ne '' } @{$record}{qw(refusal code)}, @{ $record->{fields} };
}

# How a call was answered, and each of its records.
sub told
{
    my ($call) = @_;
    my $whole = !$call->{answered} ? ($call->{in_doubt} ? 'in doubt' : 'lost')
      : $call->{refused} ? 'refused'
      : $call->{failure} ? 'partly lost'
      : 'answered';

    return "$whole: " . join ', ', map { record_told($_) } @{ $call->{records} };
}

sub ids_of
{
    my ($call) = @_;
    return map { $_->{id} } @{ $call->{records} };
}

# What the org was asked for, since calls_mark.
sub kinds
{
    return join ' ', grep { !/^(oauth|versions)$/ } map { $_->{kind} } $org->calls;
}

# A field of a lead, as the org has it.
sub value_of
{
    my ($id, $field) = @_;
    return $org->rows("SELECT $field FROM Lead WHERE Id = '$id'")->[0]{$field};
}

# A statement ends in this error.
sub fails_with
{
    my ($statement, $expected, $what) = @_;
    return like(error_of(logged_in($statement)), $expected, $what);
}

# A statement that would wait for long ends by a cancel.
sub cancelled
{
    my ($statement, $what) = @_;
    my ($status, $out, $err) = $node->psql('postgres',
        join(";\n", logged_in("SET statement_timeout = '300ms'", $statement)),
        on_error_stop => 1);
    return like($err, qr/canceling statement due to statement timeout/, $what);
}

# Runs code while the org does something wrong (once, unless times says else).
sub with_fault
{
    my ($match, $action, $code, %opt) = @_;

    $org->fault($match, $action, %opt);
    my @result = $code->();
    $org->no_faults;
    return wantarray ? @result : $result[0];
}

1;
