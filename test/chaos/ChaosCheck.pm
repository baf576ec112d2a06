
=head1 ChaosCheck

Everything has settled: are both sides the same, and has nobody lost anything?

=cut

package ChaosCheck;

use strict;
use warnings;
use ChaosData;
use JSON::PP;
use SyncTest;
use Test::More;

# Differences that are shown of each kind.
use constant SHOWN => 12;

my $json = JSON::PP->new->utf8->canonical->allow_nonref;

sub new
{
    my ($class, $node, $org, $others) = @_;
    my $self = bless { node => $node, org => $org, others => $others }, $class;

    $self->{here}{$_} = $self->rows_here($_) for sort keys %OBJECTS;
    $self->{there}{$_} = $self->rows_there($_) for sort keys %OBJECTS;
    $self->{history} = $self->json_rows('SELECT to_jsonb(h) FROM chaos.history h ORDER BY seq');
    $self->{born} = { map { $_ => 1 } @{ $self->json_rows('SELECT to_jsonb(token) FROM chaos.born WHERE token IS NOT NULL') } };
    $self->{outbox} = $self->json_rows('SELECT to_jsonb(o) FROM sync.outbox o');
    $self->{pending}{ $_->{record} }{$_->{operation}} = $_ for @{ $self->{outbox} };
    foreach my $change (@{ $self->{outbox} })
    {
        $self->{unsent}{ $change->{record} }{$_} = 1 for keys %{ $change->{changes} };
    }
    return $self;
}

sub json_rows
{
    my ($self, $query) = @_;
    return [ map { $json->decode($_) } split /\n/,
        $self->{node}->safe_psql('postgres', "SET timezone = 'UTC'; $query") ];
}

sub rows_here
{
    my ($self, $object) = @_;
    return { map { $_->{id} => $_ } @{ $self->json_rows("SELECT to_jsonb(t) FROM acme.$object t") } };
}

# Deleted ones, too.
sub rows_there
{
    my ($self, $object) = @_;
    my @fields = split /\n/, $self->{node}->safe_psql('postgres',
        "SELECT field FROM sync.field WHERE object = '$object' ORDER BY ordinal");
    my %rows;

    foreach my $record (@{ $self->{org}->rows('SELECT ' . join(', ', @fields) . " FROM $object") })
    {
        my %row = map { lc $_ => $record->{$_} } @fields;
        $rows{ $row{id} } = \%row;
    }
    return \%rows;
}

sub shown
{
    my ($what, @problems) = @_;

    my $good = ok(!@problems, $what);
    diag(scalar(@problems) . ': ' . join "\n    ", '', splice @problems, 0, SHOWN) if @problems;
    return $good;
}

sub exact
{
    my ($value) = @_;

    return 'null' unless defined $value;
    return $value ? 'true' : 'false' if JSON::PP::is_bool($value);
    return "$1T$2" if $value =~ /^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.000)?(?:Z|\+00:?00)$/;
    return sprintf '%.15g', $value if $value =~ /^-?\d+(\.\d+)?$/;
    return "'$value'";
}

# Field by field, but for those whose change was refused.
sub equal
{
    my ($self, $object) = @_;
    my ($here, $there) = ($self->{here}{$object}, $self->{there}{$object});
    my @problems;

    foreach my $id (sort keys %$there)
    {
        my ($ours, $theirs) = ($here->{$id}, $there->{$id});

        next if $self->{pending}{$id}{delete};
        if (!$ours || $theirs->{isdeleted})
        {
            push @problems, "$id is missing here" if !$theirs->{isdeleted};
            push @problems, "$id is here and deleted in the org" if $ours;
            next;
        }
        foreach my $column (sort keys %$theirs)
        {
            next if SyncTest::is_derived($object, $column) || $self->{unsent}{$id}{$column};
            my ($x, $y) = (exact($ours->{$column}), exact($theirs->{$column}));
            push @problems, "$id $column: here $x, there $y" if $x ne $y;
        }
    }
    push @problems, map { "$_ is not in the org" }
      grep { !/^~/ && !$there->{$_} && !$self->{pending}{$_}{delete} } sort keys %$here;
    return shown("$object is the same on both sides (" . keys(%$here) . ' rows)', @problems);
}

# A record with the token of each row that was inserted and not taken back.
sub tokens
{
    my ($self, $object) = @_;
    my $token = lc($OBJECTS{$object}{token} || return);
    my (%there, %wanted, @doubled, @lost);

    push @{ $there{ $_->{$token} } }, $_->{id}
      for grep { ($_->{$token} // '') =~ /-(here|there)-/ } values %{ $self->{there}{$object} };
    foreach my $change (grep { $_->{object} eq $object } @{ $self->{history} })
    {
        $wanted{ $change->{token} } = $change
          if $change->{op} eq 'I' && $self->{born}{ $change->{token} };
        delete $wanted{ $change->{token} } if $change->{op} eq 'D' && $change->{token};
    }
    @doubled = map { "$_: @{ $there{$_} }" } grep { @{ $there{$_} } > 1 } sort keys %there;
    @lost = grep { !$there{$_} && !$self->is_refused($object, $wanted{$_}) } sort keys %wanted;
    $_ .= $self->record_story($wanted{$_}{id}) for @lost;
    shown("$object: no record is doubled (" . keys(%wanted) . ' inserted here)', @doubled);
    return shown("$object: none is lost", @lost);
}

# Still here under its provisional id, and in the outbox.
sub is_refused
{
    my ($self, $object, $insert) = @_;
    return $self->{here}{$object}{ $insert->{id} } && $self->{pending}{ $insert->{id} }{insert};
}

# What nobody in the org wrote to must be as it was written last here.
sub last_words
{
    my ($self, $object) = @_;
    my %by_local = map { $_->{local_id} => $_ } grep { defined $_->{local_id} }
      values %{ $self->{here}{$object} };
    my %last;

    foreach my $change (grep { $_->{object} eq $object } @{ $self->{history} })
    {
        my $changes = $change->{changes} || {};
        # The org gives a new record what it was given no value for.
        delete $changes->{status} if $change->{op} eq 'I' && !defined $changes->{status};
        $last{ $change->{local_id} }{$_} = $changes->{$_} for keys %$changes;
    }
    my ($checked, @problems) = (0);
    foreach my $local (sort { $a <=> $b } keys %last)
    {
        my $row = $by_local{$local} or next;
        my $id = $row->{id};

        # Its contact has got them.
        next if $row->{isconverted};
        foreach my $column (sort keys %{ $last{$local} })
        {
            next unless grep { lc $_ eq $column } keys %{ $OBJECTS{$object}{fields} };
            next if $self->{unsent}{$id}{$column} || !$self->{others}->never_wrote($id, $column);
            my ($x, $y) = (normal($row->{$column}), normal($last{$local}{$column}));
            $checked++;
            push @problems, "$id (local_id $local) $column: is '$x', was written as '$y'"
              . $self->story($object, $id, $local, $column) if $x ne $y;
        }
    }
    return shown("$object: what was written here last stands ($checked values)", @problems);
}

# All that is known of a field, for whoever has to find out.
sub story
{
    my ($self, $object, $id, $local, $column) = @_;
    my @known = map { "wrote $_->{op} $_->{seq}: " . $json->encode($_->{changes}{$column}) }
      grep { $_->{object} eq $object && $_->{local_id} == $local && exists $_->{changes}{$column} }
      @{ $self->{history} };

    push @known, map { $json->encode($_) } @{ $self->json_rows(
        "SELECT to_jsonb(c) FROM sync.conflicts c WHERE record = '$id'"
          . " UNION ALL SELECT to_jsonb(f) FROM sync.failures f WHERE record = '$id'") };
    return join "\n        ", '', @known;
}

# The same of a record, by any id that it had.
sub record_story
{
    my ($self, $id, $column) = @_;
    my ($became) = @{ $self->json_rows(
        "SELECT to_jsonb(l) FROM sync.local_id l WHERE '$id' IN (l.id, l.provisional)") };
    my %ids = map { $_ => 1 } grep { defined } $id, @{ $became || {} }{qw(id provisional)};
    my @known = map { $json->encode($_) }
      grep { $ids{ $_->{id} } && (!$column || $_->{op} ne 'U' || exists $_->{changes}{$column}) }
      @{ $self->{history} };

    push @known, $json->encode($became) if $became;
    push @known, map { $json->encode($_) } grep { $ids{ $_->{record} // '' } } @{ $self->{outbox} },
      @{ $self->json_rows('SELECT to_jsonb(c) FROM sync.conflicts c') },
      @{ $self->json_rows('SELECT to_jsonb(f) FROM sync.failures f') };
    return join "\n        ", '', @known;
}

# A record that was deleted or merged: the org itself takes it out of what refers
# to it.
sub is_gone
{
    my ($self, $id) = @_;
    return 0 unless ($id // '') =~ /^\w{18}$/;
    my ($record) = grep { $_ } map { $self->{there}{$_}{$id} } keys %OBJECTS;
    return !$record || $record->{isdeleted} || !$self->{others}->never_wrote($id, '*');
}

# What was deleted here is deleted there, if nobody there did anything to it.
sub deleted
{
    my ($self, $object) = @_;
    my %became = map { $_->{provisional} => $_->{id} }
      @{ $self->json_rows('SELECT to_jsonb(l) FROM sync.local_id l') };
    my %kept = map { $_->{record} => 1 } @{ $self->json_rows(
        q{SELECT to_jsonb(c) FROM sync.conflicts c WHERE field IS NULL AND winner = 'salesforce'}) };
    my @ids = map { $became{ $_->{id} } // $_->{id} }
      grep { $_->{object} eq $object && $_->{op} eq 'D' } @{ $self->{history} };
    my @problems = grep {
             $self->{there}{$object}{$_} && !$self->{there}{$object}{$_}{isdeleted}
          && !$self->{pending}{$_}{delete} && !$kept{$_} && $self->{others}->never_wrote($_, '*')
    } @ids;

    return shown("$object: what was deleted here is deleted there (" . @ids . ')', @problems);
}

sub conflicts
{
    my ($self) = @_;
    my @problems;
    my $conflicts = $self->json_rows(
        q{SELECT to_jsonb(c) FROM sync.conflicts c WHERE rule <> 'deleted' AND field IS NOT NULL});

    foreach my $conflict (@$conflicts)
    {
        next if $conflict->{field} eq 'status' && !defined $conflict->{base};
        next if $self->is_gone($conflict->{base});
        # Its contact has got what was written, and the lead has its old value.
        next if ($self->{here}{ $conflict->{object} }{ $conflict->{record} } || {})->{isconverted};
        push @problems, $json->encode($conflict) . $self->record_story($conflict->{record}, $conflict->{field})
          if $self->{others}->never_wrote($conflict->{record}, $conflict->{field});
    }
    return shown('conflicts are only where both sides wrote (' . @$conflicts . ')', @problems);
}

# What is left in the outbox was refused and says so, or refers to what was.
sub refused
{
    my ($self) = @_;
    my $failed = $self->json_rows(
        q{SELECT to_jsonb(f) FROM sync.failures f WHERE record IS NOT NULL});
    my %listed = map { $_->{record} => 1 } @$failed;
    my (%codes, @problems);

    foreach my $change (@{ $self->{outbox} })
    {
        $listed{ $change->{record} } = 1 if grep { /^~\d+$/ && $self->{pending}{$_} }
          map { $_->[1] // '' } values %{ $change->{changes} };
    }
    @problems = map { $json->encode($_) } grep { !$listed{ $_->{record} } } @{ $self->{outbox} };
    $codes{"$_->{object}, $_->{operation}: $_->{code} " . ($_->{message} =~ s/\w*\d\w*/N/gr)}++
      for @$failed;
    note("refused: $_ x $codes{$_}") for sort keys %codes;
    return shown('what was refused is listed (' . @{ $self->{outbox} } . ' changes)', @problems);
}

sub all
{
    my ($self) = @_;

    foreach my $object (sort keys %OBJECTS)
    {
        $self->equal($object);
        $self->tokens($object);
        $self->last_words($object);
        $self->deleted($object);
    }
    $self->conflicts;
    $self->refused;
    return;
}

1;
