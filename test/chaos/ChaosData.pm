
=head1 ChaosData

What the writers on both sides write: objects, their fields, and values.

=cut

package ChaosData;

use strict;
use warnings;
use utf8;
use Exporter 'import';
use JSON::PP;

our @EXPORT = qw(%OBJECTS any chance new_token some_values sql_value json_value normal);

# token: the field by which a record that was inserted here is known, once and
# for all.  required: what a new record must have.
our %OBJECTS = (
    Lead => {
        token => 'Group__c',
        required => { LastName => 'word', Company => 'word' },
        fields => {
            FirstName => 'word', City => 'word', Phone => 'word', Description => 'text',
            Rating => [ 'Hot', 'Warm', 'Cold', undef ], Email => 'email',
            AnnualRevenue => 'number', NumberOfEmployees => 'integer', Newsletter__c => 'boolean',
            First_Contact__c => 'datetime', Score__c => 'decimal' } },
    Contact => {
        token => 'Ext__c',
        required => { LastName => 'word' },
        fields => {
            FirstName => 'word', MailingCity => 'word', Phone => 'word', Description => 'text',
            Email => 'email', Department => 'word', Title => 'word', Birthdate => 'date' } },
    Campaign => {
        token => 'Name',
        required => {},
        fields => {
            Type => [ 'Webinar', 'Conference', undef ], StartDate => 'date',
            BudgetedCost => 'number', ExpectedResponse => 'decimal', IsActive => 'boolean',
            Description => 'text' } },
    CampaignMember => { required => {}, fields => { Status => [ 'Sent', 'Responded' ] } });

my @words = ('Ada', 'Bö', 'Čapek', '東京', "O'Neil", 'a "quote"', 'semi;colon', 'com,ma', 'Zoë 🦉',
    '~77', '#N', '0', 'null', '\\N', '@{x}');
my $tokens = 0;

sub any { return $_[ int rand @_ ] }

sub chance { return rand() < $_[0] }

sub new_token
{
    my ($object, $side) = @_;
    return sprintf '%s-%s-%d', $object, $side, ++$tokens;
}

sub value
{
    my ($kind) = @_;

    return any(@$kind) if ref $kind;
    return undef if chance(0.1) && $kind !~ /boolean/;
    return any(@words) . ' ' . int rand 1000 if $kind eq 'word';
    return any('', ' ', "\n") if $kind eq 'text' && chance(0.1);
    return any('', ' ', "\n") . any(@words) . any("\nline ", "\r\nline ", ', ') . int(rand 1000)
      . any('', '  ', "\n")
      if $kind eq 'text';
    return 'p' . int(rand 10000) . '@example.com' if $kind eq 'email';
    return int rand 100000 if $kind =~ /^(number|integer)$/;
    return sprintf '%.2f', rand 900 if $kind eq 'decimal';
    return any(0, 1) if $kind eq 'boolean';
    return sprintf '20%02d-%02d-%02d', rand 30, 1 + rand 12, 1 + rand 28 if $kind eq 'date';
    return sprintf '20%02d-%02d-%02dT%02d:%02d:%02d.000Z', rand 30, 1 + rand 12, 1 + rand 28,
      rand 24, rand 60, rand 60 if $kind eq 'datetime';
    die "no such kind: $kind";
}

# Values for at most $most of an object's fields, and for those required of a
# new record.
sub some_values
{
    my ($object, $most, $new) = @_;
    my $facts = $OBJECTS{$object};
    my @names = sort keys %{ $facts->{fields} };
    my %values;

    for (1 .. 1 + int rand $most)
    {
        my $name = any(@names);
        $values{$name} = value($facts->{fields}{$name});
    }
    if ($new)
    {
        $values{$_} = value($facts->{required}{$_}) // 'x' for sort keys %{ $facts->{required} };
    }
    return %values;
}

sub is_boolean { my ($object, $name) = @_; return ($OBJECTS{$object}{fields}{$name} // '') eq 'boolean' }

sub sql_value
{
    my ($object, $name, $value) = @_;

    return 'NULL' unless defined $value;
    return $value ? 'true' : 'false' if is_boolean($object, $name);
    $value =~ s/'/''/g;
    $value =~ s/\\/\\\\/g;
    $value =~ s/\n/\\n/g;
    $value =~ s/\r/\\r/g;
    return " E'$value'";
}

sub json_value
{
    my ($object, $name, $value) = @_;

    return undef unless defined $value;
    return $value ? JSON::PP::true : JSON::PP::false if is_boolean($object, $name);
    my $kind = $OBJECTS{$object}{fields}{$name} // '';
    return $kind =~ /^(number|integer|decimal)$/ ? $value + 0 : $value;
}

# As Salesforce keeps it: without outer blanks, an empty text as none, whole
# seconds, numbers by value; line ends are one character.
sub normal
{
    my ($value) = @_;

    return '' unless defined $value;
    return $value ? 'true' : 'false' if JSON::PP::is_bool($value);
    $value =~ s/\r\n?/\n/g;
    $value =~ s/^\s+|\s+$//g;
    $value = "$1T$2" if $value =~ /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(\.\d+)?(Z|\+00(:?00)?)$/;
    $value = sprintf '%.15g', $value if $value =~ /^-?\d+(\.\d+)?$/;
    return $value;
}

1;
