
# Users' triggers change rows again before, between and after ours: what reaches
# Salesforce is the difference between the row before the transaction's first
# change and the row as it was committed, whatever fired when.

use strict;
use warnings FATAL => 'all';
use SyncTest;
use Test::More;
use WayOut;

my ($org, $node) = two_way(leads => 40, contacts => 20, accounts => 5, objects => [qw(Lead Contact Account)]);
my @leads = split /\n/, sql($node, 'SELECT id FROM acme.lead WHERE NOT isconverted ORDER BY id');
my @contacts = split /\n/, sql($node, 'SELECT id FROM acme.contact ORDER BY id');

# A function that does $body for rows of $when, as a trigger of every name order
# around ours (sync_capture), and of every timing.
sub trigger
{
    my ($name, $table, $when, $body) = @_;

    return qq{
        CREATE FUNCTION public.$name() RETURNS trigger LANGUAGE plpgsql AS \$\$
        BEGIN
            IF sync.applying() THEN RETURN coalesce(new, old); END IF;
            $body
            RETURN coalesce(new, old);
        END \$\$;
        CREATE TRIGGER $name $when ON acme.$table FOR EACH ROW EXECUTE FUNCTION public.$name()};
}

sub without
{
    my ($table, @names) = @_;
    sql($node, join ';', map { "DROP TRIGGER $_ ON acme.$table; DROP FUNCTION public.$_()" } @names);
    return;
}

# Lets everything out, and compares both sides.
sub arrives
{
    my ($what, $id, %fields) = @_;

    let_go($node, "$what: gone out");
    is(sql($node, 'SELECT count(*) FROM sync.failures'), 0, '... nothing failed')
      or diag(sql($node, 'TABLE sync.failures'));
    my $record = record_of($org, 'Lead', $id, join ', ', sort keys %fields);
    is($record->{$_}, $fields{$_}, "... $_ there") for sort keys %fields;
    sync_now($node, 'acme');
    foreach my $field (sort keys %fields)
    {
        is(sql($node, "SELECT \L$field\E FROM acme.lead WHERE id = '$id'"), $fields{$field} // '', "... $field here");
    }
    return;
}

# A trigger of either side of ours in the order of names, which normalises what
# was written: on UPDATE.
foreach my $name (qw(a_first z_last))
{
    my $id = shift @leads;
    hold($node);
    sql($node, qq{UPDATE acme.lead SET title = 'before' WHERE id = '$id'});
    let_go($node);
    hold($node);
    sql($node, trigger($name, 'lead', 'AFTER UPDATE', q{
        IF new.title <> upper(new.title) THEN
            UPDATE acme.lead SET title = upper(title) WHERE id = new.id;
        END IF;}));
    sql($node, qq{UPDATE acme.lead SET title = 'after' WHERE id = '$id'});
    arrives("$name on UPDATE", $id, Title => 'AFTER');

    # ... and one that puts the value back, so that nothing has changed
    hold($node);
    sql($node, qq{UPDATE acme.lead SET title = 'After' WHERE id = '$id'});
    is(sql($node, qq{SELECT title FROM acme.lead WHERE id = '$id'}), 'AFTER', 'it is back');
    $org->calls_mark;
    arrives("$name and back", $id, Title => 'AFTER');
    without('lead', $name);
}

# On INSERT: changed by a trigger, deleted by one.
foreach my $name (qw(a_first z_last))
{
    hold($node);
    sql($node, trigger($name, 'lead', 'AFTER INSERT', q{
        IF new.lastname LIKE 'Gone%' THEN
            DELETE FROM acme.lead WHERE id = new.id;
        ELSE
            UPDATE acme.lead SET title = 'made ' || lastname, lastname = lastname || '!' WHERE id = new.id;
        END IF;}));
    sql($node, qq{INSERT INTO acme.lead (lastname, company) VALUES ('New $name', 'x'), ('Gone $name', 'x')});
    let_go($node, "$name on INSERT: gone out");
    is($org->count('Lead', "LastName = 'New $name!' AND Title = 'made New $name'"), 1, '... as the trigger left it');
    is($org->count('Lead', "LastName LIKE 'Gone%'"), 0, '... and what it deleted is not there');
    is(sql($node, q{SELECT count(*) FROM sync.failures}), 0, '... nothing failed');
    without('lead', $name);
}

# On UPDATE a trigger deletes the row.
foreach my $name (qw(a_first z_last))
{
    my $id = shift @leads;
    hold($node);
    sql($node, trigger($name, 'lead', 'AFTER UPDATE', q{
        DELETE FROM acme.lead WHERE id = new.id AND new.title = 'away';}));
    sql($node, qq{UPDATE acme.lead SET title = 'away' WHERE id = '$id'});
    let_go($node, "$name deletes on UPDATE: gone out");
    is(record_of($org, 'Lead', $id, 'IsDeleted')->{IsDeleted}, JSON::PP::true, '... it is deleted there');
    is(sql($node, q{SELECT count(*) FROM sync.failures}), 0, '... nothing failed');
    without('lead', $name);
}

# On DELETE a trigger writes to another row of the same statement.
{
    my ($one, $two) = splice @leads, 0, 2;
    hold($node);
    sql($node, trigger('a_first', 'lead', 'AFTER DELETE', qq{
        UPDATE acme.lead SET title = 'heir' WHERE id = '$two';}));
    sql($node, qq{DELETE FROM acme.lead WHERE id = '$one'});
    arrives('a write on DELETE', $two, Title => 'heir');
    is(record_of($org, 'Lead', $one, 'IsDeleted')->{IsDeleted}, JSON::PP::true, '... and the delete');
    without('lead', 'a_first');
}

# Another row of the same statement: the trigger of the first changes the second,
# for which ours has not fired yet.
{
    my ($one, $two) = splice @leads, 0, 2;
    hold($node);
    sql($node, trigger('a_first', 'lead', 'AFTER UPDATE', qq{
        IF new.id = '$one' AND new.title = 'both' THEN
            UPDATE acme.lead SET title = 'second' WHERE id = '$two';
        END IF;}));
    sql($node, qq{UPDATE acme.lead SET title = 'both' WHERE id IN ('$one', '$two')});
    arrives('another row of the statement', $two, Title => 'second');
    arrives('and the first', $one, Title => 'both');
    without('lead', 'a_first');
}

# Across tables in one statement, and triggers that write to each other's tables.
{
    my $lead = shift @leads;
    my $contact = shift @contacts;
    hold($node);
    sql($node, trigger('a_first', 'contact', 'AFTER UPDATE', qq{
        UPDATE acme.lead SET city = 'by contact', title = title || '+' WHERE id = '$lead' AND pg_trigger_depth() < 3;})
        . ';' . trigger('b_first', 'lead', 'AFTER UPDATE', qq{
        UPDATE acme.contact SET department = 'by lead' WHERE id = '$contact' AND pg_trigger_depth() < 2;}));
    sql($node, qq{
        WITH c AS (UPDATE acme.contact SET title = 'cte' WHERE id = '$contact' RETURNING id)
        UPDATE acme.lead SET title = 'cte' WHERE id = '$lead'});
    my ($title, $city) = split /\|/, sql($node, qq{SELECT title, city FROM acme.lead WHERE id = '$lead'});
    like($title, qr/^cte\++$/, "a trigger wrote more than once ($title)");
    arrives('across tables', $lead, Title => $title, City => 'by contact');
    is(record_of($org, 'Contact', $contact, 'Department')->{Department}, 'by lead', '... and the other table');
    without('contact', 'a_first');
    without('lead', 'b_first');
}

# Deep: each write makes the next, five times; constraint triggers at commit; BEFORE
# triggers; subtransactions that fail in between.
{
    my $id = shift @leads;
    hold($node);
    sql($node, trigger('a_deep', 'lead', 'AFTER UPDATE', q{
        IF pg_trigger_depth() < 6 THEN
            BEGIN
                UPDATE acme.lead SET title = 'lost', city = 'lost' WHERE id = new.id;
                RAISE division_by_zero;
            EXCEPTION WHEN division_by_zero THEN
                UPDATE acme.lead SET title = 'depth ' || pg_trigger_depth() WHERE id = new.id;
            END;
        END IF;}) . q{;
        CREATE FUNCTION public.at_commit() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF new.street IS DISTINCT FROM 'at commit' THEN
                UPDATE acme.lead SET street = 'at commit' WHERE id = new.id;
            END IF;
            RETURN NULL;
        END $$;
        CREATE CONSTRAINT TRIGGER a_commit AFTER UPDATE ON acme.lead DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW WHEN (NOT sync.applying()) EXECUTE FUNCTION public.at_commit()});
    sql($node, qq{UPDATE acme.lead SET title = 'start' WHERE id = '$id'});
    my $title = sql($node, qq{SELECT title FROM acme.lead WHERE id = '$id'});
    like($title, qr/^depth/, "triggers wrote again and again ($title)");
    arrives('deep', $id, Title => $title, Street => 'at commit');
    sql($node, 'DROP TRIGGER a_commit ON acme.lead; DROP FUNCTION public.at_commit()');
    without('lead', 'a_deep');
}

# Several transactions on one row stay in their order, whatever their commands.
{
    my $id = shift @leads;
    hold($node);
    sql($node, qq{BEGIN; SELECT 1; UPDATE acme.contact SET title = 'x' WHERE id = '$contacts[0]';
        UPDATE acme.contact SET title = 'y' WHERE id = '$contacts[0]';
        UPDATE acme.lead SET title = 'one' WHERE id = '$id'; COMMIT});
    sql($node, qq{UPDATE acme.lead SET title = 'two' WHERE id = '$id'});
    sql($node, qq{BEGIN; UPDATE acme.lead SET city = 'c' WHERE id = '$id';
        UPDATE acme.lead SET title = 'three' WHERE id = '$id'; COMMIT});
    sql($node, qq{UPDATE acme.lead SET title = 'four' WHERE id = '$id'});
    arrives('several transactions', $id, Title => 'four', City => 'c');
}

# What cannot have happened is kept, refused and told; the rest goes on.
{
    my ($id, $other) = splice @leads, 0, 2;
    hold($node);
    sql($node, qq{UPDATE acme.lead SET title = 'kept' WHERE id = '$id'; UPDATE acme.lead SET title = 'goes' WHERE id = '$other';
        INSERT INTO sync.change (relation, id, operation, changes, captured)
        VALUES ('acme.lead', '$id', 'I', '{"lastname": [null, "Twice"]}', now())});
    let_go($node, 'an impossible sequence stops only itself');
    is(record_of($org, 'Lead', $other, 'Title')->{Title}, 'goes', 'another row goes out');
    is(sql($node, qq{SELECT count(*), bool_and(state = 'refused') FROM sync.outbox WHERE record = '$id'}), '2|t',
        'its changes are kept');
    is(sql($node, qq{SELECT code FROM sync.failures WHERE record = '$id'}), 'INTERNAL_ERROR', 'and it is told');
    $org->update('Lead', { Id => $id, Title => 'theirs' });
    sync_now($node, 'acme');
    is(sql($node, qq{SELECT title FROM acme.lead WHERE id = '$id'}), 'kept', 'what was written here stays');
}
done_testing();
