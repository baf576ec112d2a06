
=head1 ChaosLocal

Writers in PostgreSQL: a few sessions, each now and then in a transaction that
stays open.  A trigger of the user's own keeps a history of what they committed:
the last to fire BEFORE each row, since those alone fire in the order of what
happens.  Those fire for the row that ON CONFLICT turns into an update, too, so
another one, AFTER, notes what was inserted indeed.  Other triggers, of every timing, before and after ours by their names, and
some levels deep, write to the same rows again.

=cut

package ChaosLocal;

use strict;
use warnings;
use ChaosData;
use ChaosSession;

use constant SESSIONS => 3;

my $history = q{
    CREATE SCHEMA chaos;
    CREATE TABLE chaos.history (seq bigserial PRIMARY KEY, object text, op text, local_id bigint,
        id text, token text, changes jsonb, txn xid8 DEFAULT pg_current_xact_id(),
        depth int DEFAULT pg_trigger_depth(), happened timestamptz DEFAULT clock_timestamp());
    CREATE TABLE chaos.born (token text);
    CREATE FUNCTION chaos.note_birth() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO chaos.born VALUES (to_jsonb(new) ->> tg_argv[0]);
        RETURN NULL;
    END $$;
    CREATE FUNCTION chaos.note() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
        was jsonb := CASE WHEN tg_op <> 'INSERT' THEN to_jsonb(old) ELSE '{}' END;
        row jsonb := CASE WHEN tg_op <> 'DELETE' THEN to_jsonb(new) ELSE was END;
    BEGIN
        INSERT INTO chaos.history (object, op, local_id, id, token, changes)
        SELECT tg_argv[0], left(tg_op, 1), (row ->> 'local_id')::bigint, row ->> 'id',
               row ->> tg_argv[1], jsonb_object_agg(key, value)
               FILTER (WHERE value IS DISTINCT FROM was -> key AND key NOT IN ('id', 'local_id'))
        FROM jsonb_each(row);
        RETURN coalesce(new, old);
    END $$};

# What users' triggers write, by object: two texts that nobody else depends on.
my %touched = (lead => [ 'city', 'phone' ], contact => [ 'department', 'phone' ], campaign => [ 'description', 'type' ]);

sub touching
{
    my ($table) = @_;
    my ($one, $two) = @{ $touched{$table} };

    return qq{
        CREATE FUNCTION chaos.touch_$table() RETURNS trigger LANGUAGE plpgsql AS \$\$
        DECLARE
            dice float := random();
        BEGIN
            IF tg_when = 'BEFORE' THEN
                IF dice < 0.1 THEN new.$one := 'before ' || (dice * 1000)::int; END IF;
                RETURN new;
            END IF;
            IF pg_trigger_depth() > 4 OR dice > 0.4 THEN
                RETURN NULL;
            ELSIF dice < 0.1 THEN
                UPDATE acme.$table SET $one = tg_name || (dice * 10000)::int WHERE id = new.id;
            ELSIF dice < 0.2 AND tg_op = 'UPDATE' THEN
                UPDATE acme.$table SET $one = old.$one, $two = old.$two WHERE id = new.id;
            ELSIF dice < 0.25 THEN
                UPDATE acme.$table SET $two = tg_name WHERE id =
                    (SELECT id FROM acme.$table WHERE NOT $one IS NULL ORDER BY md5(id || dice) LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED);
            ELSIF dice < 0.3 THEN
                BEGIN
                    UPDATE acme.$table SET $one = 'lost' WHERE id = new.id;
                    RAISE division_by_zero;
                EXCEPTION WHEN division_by_zero THEN
                    UPDATE acme.$table SET $two = 'kept' WHERE id = new.id;
                END;
            ELSIF dice < 0.31 AND new.id LIKE '~%' THEN
                DELETE FROM acme.$table WHERE id = new.id;
            END IF;
            RETURN NULL;
        END \$\$;
        CREATE TRIGGER a_before BEFORE INSERT OR UPDATE ON acme.$table FOR EACH ROW
            WHEN (NOT sync.applying()) EXECUTE FUNCTION chaos.touch_$table();
        CREATE TRIGGER a_first AFTER INSERT OR UPDATE ON acme.$table FOR EACH ROW
            WHEN (NOT sync.applying()) EXECUTE FUNCTION chaos.touch_$table();
        CREATE TRIGGER u_last AFTER INSERT OR UPDATE ON acme.$table FOR EACH ROW
            WHEN (NOT sync.applying()) EXECUTE FUNCTION chaos.touch_$table();
        CREATE CONSTRAINT TRIGGER at_commit AFTER INSERT OR UPDATE ON acme.$table
            DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
            WHEN (NOT sync.applying()) EXECUTE FUNCTION chaos.touch_$table()};
}

sub new
{
    my ($class, $node) = @_;
    my $self = bless { node => $node, done => {}, errors => {} }, $class;

    $node->safe_psql('postgres', $history);
    foreach my $object (sort keys %OBJECTS)
    {
        my $token = lc($OBJECTS{$object}{token} || 'id');
        $node->safe_psql('postgres', qq{CREATE TRIGGER zz_history
            BEFORE INSERT OR UPDATE OR DELETE ON acme.$object FOR EACH ROW
            WHEN (NOT sync.applying()) EXECUTE FUNCTION chaos.note('$object', '$token');
            CREATE TRIGGER zz_born AFTER INSERT ON acme.$object FOR EACH ROW
            WHEN (NOT sync.applying()) EXECUTE FUNCTION chaos.note_birth('$token')});
    }
    $node->safe_psql('postgres', touching($_)) for sort keys %touched;
    # Sessions wait for each other's locks never, for the worker's not for long.
    $self->{sessions} = [ map {
        ChaosSession->new($node, q{SET lock_timeout = '500ms'; SET statement_timeout = '20s'})
    } 1 .. SESSIONS ];
    return $self;
}

# In a transaction of the session's, of its own, or the statement's.
sub run
{
    my ($self, $session, $what, @statements) = @_;

    foreach my $sql (@statements)
    {
        my ($answer, $error) = $session->ask($sql);

        next unless defined $error;
        $self->{errors}{$error =~ s/\d+/N/gr =~ s/"[^"]*"/"..."/gr}++;
        $session->{open} = 0;
        $session->ask('ROLLBACK') unless $error eq 'gone';
        return 0;
    }
    $self->{done}{$what}++;
    return 1;
}

sub some_id
{
    my ($object, $condition) = @_;
    my $from = join '', map { any('0' .. '9', 'A' .. 'Z', 'a' .. 'z') } 1 .. 4;
    my $table = 'acme.' . lc $object;
    my $where = $condition ? " AND $condition" : '';

    return "(SELECT id FROM $table WHERE md5(id) >= md5('$from')$where ORDER BY md5(id) LIMIT 1)";
}

sub insert_sql
{
    my ($object, %values) = @_;
    my $token = $OBJECTS{$object}{token};

    $values{$token} = new_token($object, 'here') if $token;
    my @names = sort keys %values;
    my @sql = map {
        ref $values{$_} ? ${ $values{$_} } : sql_value($object, $_, $values{$_})
    } @names;
    return "INSERT INTO acme.$object (" . join(', ', @names) . ') VALUES (' . join(', ', @sql) . ')';
}

sub update_sql
{
    my ($object, $which) = @_;
    my %values = some_values($object, 3);

    return "UPDATE acme.$object SET "
      . join(', ', map { "$_ = " . sql_value($object, $_, $values{$_}) } sort keys %values)
      . " WHERE id = $which";
}

my $alive = 'NOT isconverted';

sub insert_some
{
    my $object = any(qw(Lead Lead Contact Campaign));
    return map { insert_sql($object, some_values($object, 4, 1)) } 1 .. 1 + int rand 4;
}

# So many at once that they go by Bulk.
sub insert_many
{
    my $object = any(qw(Lead Contact));
    return ('BEGIN', (map { insert_sql($object, some_values($object, 4, 1)) } 1 .. 40), 'COMMIT');
}

sub update_some
{
    my $object = any(qw(Lead Lead Contact Campaign CampaignMember));
    my $condition = $object eq 'Lead' && chance(0.95) ? $alive : undef;
    return map { update_sql($object, some_id($object, $condition)) } 1 .. 1 + int rand 3;
}

sub update_many
{
    my $object = any(qw(Lead Contact));
    my %values = some_values($object, 1);
    my ($name) = keys %values;
    return "UPDATE acme.$object SET $name = " . sql_value($object, $name, $values{$name})
      . " WHERE id IN (SELECT id FROM acme.$object WHERE "
      . ($object eq 'Lead' ? $alive : 'true') . ' ORDER BY md5(id || ' . int(rand 1e6) . ') LIMIT 40)';
}

sub one_row_often
{
    my $object = any(qw(Lead Contact Campaign));
    my ($id) = some_id($object, $object eq 'Lead' ? $alive : undef);
    return map { update_sql($object, $id) } 1 .. 4;
}

sub delete_one
{
    my $object = any(qw(Lead Contact Campaign CampaignMember CampaignMember));
    return "DELETE FROM acme.$object WHERE id = " . some_id($object, $object eq 'Lead' ? $alive : undef);
}

# Parents and children, new and old ones.
sub members
{
    my $new = chance(0.5);
    my $lead = chance(0.5);
    my $campaign = $new ? q{(SELECT max(id) FROM acme.campaign WHERE id LIKE '~%')}
      : some_id('Campaign');
    my $person = $lead ? 'Lead' : 'Contact';
    my @sql = ('BEGIN');

    push @sql, insert_sql('Campaign', some_values('Campaign', 2, 1)) if $new;
    push @sql, insert_sql($person, some_values($person, 2, 1)) if chance(0.5);
    push @sql, insert_sql('CampaignMember', CampaignId => \$campaign,
        "${person}Id" => \(some_id($person, $lead ? $alive : undef))) for 1 .. 1 + int rand 2;
    return (@sql, 'COMMIT');
}

# A line of contacts, a tree of campaigns, now and then a circle.
sub family
{
    my $object = any(qw(Contact Campaign));
    my $reference = $object eq 'Contact' ? 'ReportsToId' : 'ParentId';
    my $last = "(SELECT max(id) FROM acme.$object WHERE id LIKE '~%')";
    my @sql = ('BEGIN', insert_sql($object, some_values($object, 2, 1)));

    push @sql, insert_sql($object, some_values($object, 2, 1), $reference => \$last)
      for 1 .. 1 + int rand 3;
    push @sql, "UPDATE acme.$object SET $reference = $last WHERE id ="
      . " (SELECT min(id) FROM acme.$object WHERE id LIKE '~%')"
      if $object eq 'Contact' && chance(0.3);
    return (@sql, 'COMMIT');
}

sub move_family
{
    my $new = chance(0.5) ? 'NULL' : some_id('Contact');
    return "UPDATE acme.contact SET reportstoid = nullif($new, id) WHERE id = " . some_id('Contact');
}

sub savepoints
{
    my @sql = ('BEGIN', insert_some(), 'SAVEPOINT s', insert_some(), update_some(), delete_one(),
        chance(0.7) ? 'ROLLBACK TO s' : 'RELEASE s', update_some());
    return (@sql, chance(0.7) ? 'COMMIT' : 'ROLLBACK');
}

sub come_and_go
{
    my $object = any(qw(Lead Contact));
    my $last = "(SELECT max(id) FROM acme.$object WHERE id LIKE '~%')";
    return (chance(0.5) ? 'BEGIN' : 'SELECT 1', insert_sql($object, some_values($object, 2, 1)),
        update_sql($object, $last), "DELETE FROM acme.$object WHERE id = $last", 'COMMIT');
}

# What the org's validation rule refuses.
sub refused
{
    return chance(0.5) ? insert_sql('Lead', some_values('Lead', 2, 1), City => 'Forbidden')
      : "UPDATE acme.lead SET city = 'Forbidden', phone = '" . int(rand 1000) . "' WHERE id = "
      . some_id('Lead', $alive);
}

# What an application does that has not learned the id that a row has become.
sub old_id
{
    my $object = any(qw(Lead Contact));
    my $old = "coalesce((SELECT provisional FROM sync.local_id WHERE relation = 'acme.$object'::regclass"
      . " ORDER BY random() LIMIT 1), '~1')";
    my $sql = insert_sql($object, some_values($object, 2, 1)) =~ s/\(/(id, /r =~ s/VALUES \(/VALUES ($old, /r;
    return $sql . any('', ' ON CONFLICT (id) DO UPDATE SET phone = excluded.phone');
}

sub copy_in
{
    my @rows = map { join "\t", "Copied $_", 'Copy & Co', new_token('Lead', 'here') } 1 .. 5;
    return join "\n", 'COPY acme.lead (lastname, company, group__c) FROM STDIN;', @rows, '\\.', '';
}

my @operations = (
    [ 14, 'insert' => \&insert_some ], [ 20, 'update' => \&update_some ],
    [ 2, 'insert many' => \&insert_many ], [ 2, 'update many' => \&update_many ],
    [ 6, 'one row often' => \&one_row_often ], [ 4, 'delete' => \&delete_one ],
    [ 6, 'members' => \&members ], [ 5, 'family' => \&family ], [ 3, 'move' => \&move_family ],
    [ 4, 'savepoints' => \&savepoints ], [ 3, 'come and go' => \&come_and_go ],
    [ 2, 'refused' => \&refused ], [ 1, 'copy' => \&copy_in ], [ 2, 'old id' => \&old_id ]);
my @weighted = map { my $operation = $_; ($operation) x $operation->[0] } @operations;

# One operation of one of the sessions; some leave their transaction open.
sub step
{
    my ($self) = @_;
    my $session = any(@{ $self->{sessions} });
    my (undef, $what, $make) = @{ any(@weighted) };
    my @sql = $make->();

    if ($session->{open})
    {
        @sql = grep { !/^(BEGIN|COMMIT|ROLLBACK)$/ } @sql;
        @sql = () if $what eq 'copy' || $what eq 'savepoints';
        if (chance(0.4))
        {
            push @sql, chance(0.8) ? 'COMMIT' : 'ROLLBACK';
            $session->{open} = 0;
        }
    }
    elsif ($sql[0] ne 'BEGIN' && $what ne 'copy' && $what ne 'come and go' && chance(0.15))
    {
        unshift @sql, 'BEGIN';
        $session->{open} = 1;
    }
    return $self->run($session, $what, @sql);
}

sub finish
{
    my ($self) = @_;

    foreach my $session (@{ $self->{sessions} })
    {
        $session->ask('COMMIT') if $session->{open};
        $session->end;
    }
    return;
}

1;
