
# A table that has rows is never emptied: what refers to its rows stays, its own
# columns and numbers stay, and what differs from the org is merged by id.

use strict;
use warnings FATAL => 'all';
use SyncTest;
use Test::More;
use WayOut;

my ($org, $node) = two_way(leads => 120, contacts => 40, accounts => 30, objects => [qw(Lead Account)],
    conf => 'sync.page_rows = 100');

# Notes of users about every row, of both kinds of table
foreach my $table (qw(lead account))
{
    sql($node, qq{
        ALTER TABLE acme.$table ADD COLUMN mine text;
        CREATE TABLE public.note_$table (id text REFERENCES acme.$table ON UPDATE CASCADE ON DELETE CASCADE);
        CREATE TABLE public.link_$table (id text REFERENCES acme.$table ON UPDATE CASCADE ON DELETE SET NULL);
        INSERT INTO public.note_$table SELECT id FROM acme.$table;
        INSERT INTO public.link_$table SELECT id FROM acme.$table});
}
sub notes { return sql($node, "SELECT (SELECT count(*) FROM public.note_$_[0]) || ' ' || (SELECT count(id) FROM public.link_$_[0])") }
sub again
{
    my ($object) = @_;
    sql($node, "SELECT sync.enable('acme', ARRAY['$object'])");
    wait_live($node, 'acme');
    sync_now($node, 'acme', $object);
    return;
}

# Disabled and enabled again, with nothing changed: no row is written.
foreach my $object (qw(Lead Account))
{
    my $table = lc $object;
    my $is = notes($table);
    my $numbers = $object eq 'Lead' ? q{SELECT md5(string_agg(id || local_id, ',' ORDER BY id)) FROM acme.lead} : 'SELECT 1';
    my $had = sql($node, $numbers);
    sql($node, "SELECT sync.disable('acme', '$object')");
    sql($node, qq{UPDATE acme.$table SET mine = 'own ' || id});
    my $written = "SELECT max(xmin::text::bigint) || ' ' || count(*) FROM acme.$table";
    my $before = sql($node, $written);
    my ($status, $out, $err) = $node->psql('postgres', "SELECT sync.enable('acme', ARRAY['$object'])");
    unlike($err, qr/empt/, "$object: enabling again empties nothing");
    wait_live($node, 'acme');
    is(notes($table), $is, '... what refers to its rows stays');
    is(sql($node, $written), $before, '... no row is written');
    is(sql($node, $numbers), $had, '... nor numbered anew');
    is(sql($node, "SELECT count(*) FROM acme.$table WHERE mine = 'own ' || id"), sql($node, "SELECT count(*) FROM acme.$table"),
        "... users' columns stay");
    is(sql($node, "SELECT rows FROM sync.status WHERE object = '$object'"), sql($node, "SELECT count(*) FROM acme.$table"), '... and are counted');
    sync_now($node, 'acme', $object);
    same_rows($node, $org, 'acme', $object, 'enabled again', $object eq 'Lead' ? (fields => [qw(LastName Title Company)]) : (fields => ['Name']));
}

# Changed while it was off: here, there, on both sides; gone there; new there; made up here.
foreach my $object (qw(Lead Account))
{
    my $table = lc $object;
    my ($field, $column) = $object eq 'Lead' ? ('Title', 'title') : ('Description', 'description');
    my @ids = split /\n/, sql($node, "SELECT id FROM acme.$table ORDER BY id LIMIT 8");
    sql($node, "SELECT sync.disable('acme', '$object')");
    sql($node, qq{UPDATE acme.$table SET $column = 'here', systemmodstamp = '2999-01-01', lastmodifieddate = '2999-01-01' WHERE id IN ('$ids[0]', '$ids[1]');
        INSERT INTO acme.$table (id, } . ($object eq 'Lead' ? 'lastname, company' : 'name') . qq{, mine)
        VALUES ('00Q00000000ZZZZAAA', 'made up', } . ($object eq 'Lead' ? q{'x', 'y'} : q{'y'}) . q{)});
    $org->update($object, { Id => $ids[1], $field => 'there' }, { Id => $ids[2], $field => 'there' });
    $org->delete($object, $ids[3]);
    $org->insert($object, $object eq 'Lead' ? { LastName => 'Meanwhile', Company => 'x' } : { Name => 'Meanwhile' });
    again($object);
    is(sql($node, "SELECT $column FROM acme.$table WHERE id = '$ids[1]'"), 'there', "$object: what the org says counts, whatever the stamps here");
    is(sql($node, "SELECT count(*) FROM acme.$table WHERE id = '00Q00000000ZZZZAAA'"), 0, '... a record that the org does not have goes');
    is(sql($node, "SELECT count(*) FROM acme.$table WHERE id = '$ids[3]'"), 0, '... one that was deleted, too');
    is(sql($node, "SELECT count(*) FROM public.note_$table WHERE id = '$ids[3]'"), 0, '... with what refers to it');
    is(sql($node, "SELECT count(*) FROM public.note_$table WHERE id = '$ids[1]'"), 1, '... and no other');
    same_rows($node, $org, 'acme', $object, 'after it was off', fields => [ $field ]);
}

# What waits to go out stays and goes; rows written here stay, whatever became of them.
hold($node);
my ($lead, $both) = split /\n/, sql($node, q{SELECT id FROM acme.lead WHERE NOT isconverted ORDER BY id LIMIT 2});
sql($node, qq{UPDATE acme.lead SET city = 'waits' WHERE id = '$lead'; UPDATE acme.lead SET city = 'ours' WHERE id = '$both';
    INSERT INTO acme.lead (lastname, company, mine) VALUES ('Waits', 'x', 'of mine');
    INSERT INTO public.note_lead SELECT id FROM acme.lead WHERE lastname = 'Waits'});
my $number = sql($node, q{SELECT local_id FROM acme.lead WHERE lastname = 'Waits'});
sql($node, q{SELECT sync.disable('acme', 'Lead')});
sql($node, q{INSERT INTO acme.lead (lastname, company) VALUES ('Written while off', 'x')});
$org->update('Lead', { Id => $both, City => 'theirs' });
sql($node, q{SELECT sync.enable('acme', ARRAY['Lead']); SELECT sync.resume('acme')});
wait_live($node, 'acme');
went_out($node, 'what waited has gone out');
is(record_of($org, 'Lead', $lead, 'City')->{City}, 'waits', 'an update that waited');
is(record_of($org, 'Lead', $both, 'City')->{City}, 'ours', 'one that both sides made, by the rule of leads');
is($org->count('Lead', q{LastName = 'Waits'}), 1, 'a new row that waited is one record');
wait_for($node, q{SELECT count(*) = 1 FROM acme.lead WHERE lastname = 'Waits' AND id NOT LIKE '~%'}, '... and has its id');
is(sql($node, q{SELECT local_id || ' ' || mine FROM acme.lead WHERE lastname = 'Waits'}), "$number of mine", '... with its number and its own columns');
is(sql($node, q{SELECT count(*) FROM public.note_lead n JOIN acme.lead l USING (id) WHERE l.lastname = 'Waits'}), 1, '... and what refers to it');
is(sql($node, q{SELECT count(*) FROM acme.lead WHERE lastname = 'Written while off'}), 1, 'a row written while it was off stays');
isnt(sql($node, q{SELECT last_value FROM sync.provisional}), 1, 'numbers go on');

# The Bulk job is lost in the middle of a merging copy, and the server killed.
sql($node, q{SELECT sync.disable('acme', 'Account')});
$org->change('Account', { Description => 'changed {Id}' });
my $fault = $org->fault({ kind => 'bulk_query_results' }, { hang => 6 }, times => 1);
sql($node, q{SELECT sync.enable('acme', ARRAY['Account'])});
wait_until('a merging copy is under way', sub { ($org->hits($fault) // 0) > 0 });
is(notes('account'), sql($node, q{SELECT count(*) || ' ' || count(*) FROM acme.account WHERE name <> 'Meanwhile'}), '... nothing has gone');
crash($node);
$org->no_faults;
wait_live($node, 'acme');
sync_now($node, 'acme', 'Account');
is(sql($node, q{SELECT count(*) FROM acme.account WHERE description LIKE 'changed %'}), $org->count('Account'), '... it goes on after a crash');
sql($node, q{SELECT sync.disable('acme', 'Account')});
$fault = $org->fault({ kind => 'bulk_query_results' }, { hang => 6 }, times => 1);
sql($node, q{SELECT sync.enable('acme', ARRAY['Account'])});
wait_until('another one', sub { ($org->hits($fault) // 0) > 0 });
sql($node, q{SELECT sync.stop()});
$org->no_faults;
wait_for($node, q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type LIKE 'sync cop%'}, '... its copier leaves');
sql($node, q{UPDATE sync.progress SET job = '750000000000000AAA' WHERE object = 'Account'});
$org->no_faults;
sql($node, q{SELECT sync.start()});
wait_live($node, 'acme');
is(notes('account'), sql($node, q{SELECT count(*) || ' ' || count(*) FROM acme.account WHERE name <> 'Meanwhile'}), 'a job that is lost: nothing has gone');
same_rows($node, $org, 'acme', 'Account', 'after a lost job', fields => [qw(Name Description)]);
is(sql($node, q{SELECT count(*) FROM sync.failures}), 0, 'nothing fails');
done_testing();
