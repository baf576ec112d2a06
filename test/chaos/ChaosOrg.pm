
=head1 ChaosOrg

The other users of the org, who work on the same records: what they wrote is
kept, so that afterwards each value can be told to be somebody's.

=cut

package ChaosOrg;

use strict;
use warnings;
use ChaosData;

# Of how many records each object is kept in mind, and how often it is looked.
use constant EVERY => 15;

sub new
{
    my ($class, $org) = @_;
    return bless { org => $org, wrote => {}, tokens => {}, ids => {}, gone => {}, held => [],
        done => {}, looked => 0 }, $class;
}

sub look
{
    my ($self) = @_;

    foreach my $object (sort keys %OBJECTS)
    {
        my $rows = $self->{org}->rows("SELECT Id, IsDeleted FROM $object"
              . ($object eq 'Lead' ? ' WHERE IsConverted = false' : ''));
        $self->{ids}{$object} = [ sort map { $_->{Id} } grep { !$_->{IsDeleted} } @$rows ];
        $self->{gone}{$object} = [ sort map { $_->{Id} } grep { $_->{IsDeleted} } @$rows ];
    }
    return;
}

sub record_of
{
    my ($object, %values) = @_;
    return { map { $_ => json_value($object, $_, $values{$_}) } keys %values };
}

# Everything of these records may have changed.
sub touched { my ($self, @ids) = @_; $self->{wrote}{$_}{'*'} = 1 for grep { $_ } @ids; return }

# In a transaction that is held for a while, or at once.
sub dml
{
    my ($self, %what) = @_;

    $what{as} = any('admin@example.com', 'ada@example.com', 'ben@example.com');
    if ($what{op} =~ /insert|update/ && chance(0.15))
    {
        push @{ $self->{held} }, $self->{org}->post('/tx/begin')->{tx} if @{ $self->{held} } < 2;
        $what{tx} = any(@{ $self->{held} });
    }
    return @{ $self->{org}->post('/dml', \%what)->{results} };
}

sub end_held
{
    my ($self) = @_;
    my $tx = shift @{ $self->{held} } or return;

    $self->{org}->post('/tx/' . (chance(0.8) ? 'commit' : 'rollback'), { tx => $tx });
    return;
}

sub some { my ($self, $object) = @_; return any(@{ $self->{ids}{$object} || [] }) }

sub insert
{
    my ($self) = @_;
    my $object = any(qw(Lead Lead Contact Campaign));
    my @records = map {
        { %{ record_of($object, some_values($object, 4, 1)) },
            $OBJECTS{$object}{token} => new_token($object, 'there') }
    } 1 .. 1 + int rand 3;

    return $self->dml(op => 'insert', object => $object, records => \@records);
}

sub insert_member
{
    my ($self) = @_;
    my $person = any(qw(Lead Contact));
    my ($campaign, $id) = ($self->some('Campaign'), $self->some($person));

    return unless $campaign && $id;
    return $self->dml(op => 'insert', object => 'CampaignMember',
        records => [ { CampaignId => $campaign, "${person}Id" => $id } ]);
}

sub update
{
    my ($self) = @_;
    my $object = any(qw(Lead Lead Contact Campaign CampaignMember));
    my @ids = grep { $_ } map { $self->some($object) } 1 .. 1 + int rand 3;
    my @records;

    foreach my $id (@ids)
    {
        my $values = record_of($object, some_values($object, 3));
        $self->{wrote}{$id}{ lc $_ } = 1 for keys %$values;
        push @records, { Id => $id, %$values };
    }
    return unless @records;
    return $self->dml(op => 'update', object => $object, records => \@records);
}

# Many at once, of a field that nobody writes here; not while somebody has one of
# them locked.
sub change
{
    my ($self) = @_;
    return eval {
        $self->{org}->change('Lead', { Website => 'https://example.com/' . int rand 1000 },
            limit => 60) };
}

sub delete
{
    my ($self) = @_;
    my $object = any(qw(Lead Contact Campaign CampaignMember));
    my $id = $self->some($object) or return;

    $self->touched($id);
    return $self->dml(op => 'delete', object => $object, records => [$id]);
}

sub undelete
{
    my ($self) = @_;
    my $object = any(qw(Lead Contact Campaign));
    my $id = any(@{ $self->{gone}{$object} || [] }) or return;

    $self->touched($id);
    return $self->dml(op => 'undelete', object => $object, records => [$id]);
}

sub merge
{
    my ($self) = @_;
    my $object = any(qw(Lead Contact));
    my ($master, $loser) = ($self->some($object), $self->some($object));

    return if !$master || !$loser || $master eq $loser;
    $self->touched($master, $loser);
    return $self->dml(op => 'merge', object => $object,
        records => [ { master => { Id => $master }, losers => [$loser] } ]);
}

sub convert
{
    my ($self) = @_;
    my $id = $self->some('Lead') or return;

    $self->touched($id);
    return $self->dml(op => 'convert', object => 'Lead', records => [ {
        leadId => $id, convertedStatus => 'Closed - Converted',
        doNotCreateOpportunity => JSON::PP::true } ]);
}

my @operations = (
    [ 10, 'insert' => \&insert ], [ 4, 'insert member' => \&insert_member ],
    [ 30, 'update' => \&update ], [ 2, 'change' => \&change ], [ 4, 'delete' => \&delete ],
    [ 3, 'undelete' => \&undelete ], [ 2, 'merge' => \&merge ], [ 2, 'convert' => \&convert ],
    [ 6, 'end held' => \&end_held ]);
my @weighted = map { my $operation = $_; ($operation) x $operation->[0] } @operations;

sub step
{
    my ($self) = @_;
    my (undef, $what, $do) = @{ any(@weighted) };

    $self->look if $self->{looked}++ % EVERY == 0;
    $do->($self);
    $self->{done}{$what}++;
    return;
}

sub finish
{
    my ($self) = @_;
    $self->end_held while @{ $self->{held} };
    return;
}

# Nobody in the org can have written this.
sub never_wrote
{
    my ($self, $id, $column) = @_;
    my $wrote = $self->{wrote}{$id} or return 1;
    return !$wrote->{'*'} && !$wrote->{$column};
}

1;
