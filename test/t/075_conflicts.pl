
# Both sides changed the same: decided field by field from the last common
# value, recorded with both values, and settled for good.
#
# Of what users of other syncs suffer: row 9, values that flip and rows that come
# back; row 10, fields that nobody meant to write are overwritten.

use strict;
use warnings;
use JSON::PP;
use SyncTest;
use Test::More;
use WayOut;

my ($org, $node) = two_way(leads => 120, contacts => 60, accounts => 4, campaigns => 3,
    objects => [qw(Lead Contact Campaign)]);
my $seed = $ENV{SYNC_SEED} || time;
my @leads = split /\n/, sql($node, 'SELECT id FROM acme.lead WHERE NOT isconverted ORDER BY id');
my @contacts = split /\n/, sql($node, 'SELECT id FROM acme.contact ORDER BY id');
my @campaigns = split /\n/, sql($node, 'SELECT id FROM acme.campaign ORDER BY id');

diag("seed $seed (SYNC_SEED)");
srand $seed;

sub org_value
{
    my ($object, $id, $field) = @_;
    my $record = record_of($org, $object, $id, $field);
    return $record ? $record->{$field} : undef;
}

sub here
{
    my ($object, $id, $columns) = @_;
    return sql($node, "SELECT $columns FROM acme." . lc($object) . " WHERE id = '$id'");
}

sub writes { return scalar writes_of($org, since => 0) }

# Out and in until nothing moves; then both sides are the same and stay so.
sub settle
{
    my ($what) = @_;

    push_out($node, "$what: everything has gone out");
    sync_now($node, 'acme');
    same_rows($node, $org, 'acme', $_, $what) for qw(Lead Contact Campaign);
    my $sent = writes();
    my $conflicts = sql($node, 'SELECT count(*) FROM sync.conflicts');
    sync_now($node, 'acme') for 1 .. 2;
    is(writes(), $sent, "$what: row 9: nothing flips back and forth");
    is(sql($node, 'SELECT count(*) FROM sync.conflicts'), $conflicts, "$what: nor is it a conflict again");
    is(failures_of($node), '', "$what: nothing failed");
    return;
}

# A change of ours that waits, and one of theirs meanwhile.
sub both
{
    my ($object, $id, $ours, $theirs) = @_;

    hold($node);
    $org->post('/clock', { step_seconds => 2 });
    sql($node, 'UPDATE acme.' . lc($object) . " SET $ours WHERE id = '$id'");
    $org->update($object, { Id => $id, %$theirs }) if $theirs;
    return;
}

sql($node, qq{
    UPDATE acme.lead SET title = 'base', city = 'base', phone = 'base', annualrevenue = 10, isunreadbyowner = false
    WHERE NOT isconverted;
    UPDATE acme.contact SET title = 'base', department = 'base', phone = 'base';
    UPDATE acme.campaign SET description = 'base'});
went_out($node, 'a common state');
sync_now($node, 'acme');

#
# Different fields are no conflict
#

both('Lead', $leads[0], q{title = 'ours'}, { City => 'theirs' });
let_go($node);
is(here('Lead', $leads[0], 'title, city'), 'ours|theirs', 'changes of different fields meet');
is(org_value('Lead', $leads[0], 'City') . org_value('Lead', $leads[0], 'Title'), 'theirsours',
    'row 10: on both sides');
is(conflicts_of($node, $leads[0]), '', 'and are no conflict');

# The same value on both sides
both('Contact', $contacts[0], q{title = 'same', phone = ' padded '}, { Title => 'same', Phone => 'padded' });
$org->calls_mark;
let_go($node);
is(conflicts_of($node, $contacts[0]), '', 'the same value on both sides is no conflict');
is(scalar(writes_of($org)), 0, 'and nothing to send');

# Salesforce rounds to the field's scale; what it makes of our own value is no
# change of theirs, though the row here has not seen it yet.
sql($node, qq{UPDATE acme.campaign SET expectedresponse = 12.3456, budgetedcost = 99.999 WHERE id = '$campaigns[2]'});
went_out($node, 'more decimals than Salesforce keeps');
is(org_value('Campaign', $campaigns[2], 'ExpectedResponse') . ' ' . org_value('Campaign', $campaigns[2], 'BudgetedCost'), '12.35 100',
    'are rounded there');
is(here('Campaign', $campaigns[2], 'expectedresponse, budgetedcost'), '12.3456|99.999', 'which the row does not know yet');
sql($node, qq{UPDATE acme.campaign SET expectedresponse = 12.3, budgetedcost = 98.5 WHERE id = '$campaigns[2]'});
went_out($node, 'the next change');
is(org_value('Campaign', $campaigns[2], 'ExpectedResponse') . ' ' . org_value('Campaign', $campaigns[2], 'BudgetedCost'), '12.3 98.5',
    'goes out');
is(conflicts_of($node, $campaigns[2]), '', 'and meets no conflict');
sql($node, qq{UPDATE acme.campaign SET expectedresponse = 1.005 WHERE id = '$campaigns[2]'});
went_out($node, 'a rounded value');
both('Campaign', $campaigns[2], q{expectedresponse = 5}, { ExpectedResponse => 1.02 });
let_go($node);
is(conflicts_of($node, $campaigns[2]), 'expectedresponse|1.005|1.02|5|salesforce|salesforce', 'a change of theirs is one');

#
# The defaults
#

both('Lead', $leads[1], q{title = 'ours', city = 'ours'}, { Title => 'theirs', Phone => 'theirs' });
let_go($node);
is(here('Lead', $leads[1], 'title, city, phone'), 'ours|ours|theirs', 'a lead: ours wins, per field');
is(conflicts_of($node, $leads[1]), q{title|base|theirs|ours|local|local}, 'recorded with all three values');
is(org_value('Lead', $leads[1], 'Title'), 'ours', 'and goes out');

both('Contact', $contacts[1], q{title = 'ours', department = 'ours'}, { Title => 'theirs', Phone => 'theirs' });
let_go($node);
is(here('Contact', $contacts[1], 'title, department, phone'), 'theirs|ours|theirs', 'a contact: theirs wins, per field');
is(conflicts_of($node, $contacts[1]), q{title|base|theirs|ours|salesforce|salesforce}, 'recorded');
is(org_value('Contact', $contacts[1], 'Title') . org_value('Contact', $contacts[1], 'Department'), 'theirsours',
    'our other field goes out');
both('Campaign', $campaigns[0], qq{description = E'"ours" \\\\ ä\\tb'}, { Description => '"theirs"' });
let_go($node);
is(here('Campaign', $campaigns[0], 'description'), '"theirs"', 'others: theirs wins');
is(conflicts_of($node, $campaigns[0]), qq{description|base|"theirs"|"ours" \\ ä\tb|salesforce|salesforce}, 'recorded as it was written');
settle('the defaults');

# By a pull instead of a look
both('Lead', $leads[2], q{title = 'ours', annualrevenue = 20.50, isunreadbyowner = true},
    { Title => 'theirs', AnnualRevenue => 30 });
both('Contact', $contacts[2], q{title = NULL}, { Title => 'theirs' });
sync_now($node, 'acme');
is(join("\n", sort split /\n/, conflicts_of($node, $leads[2])),
    qq{annualrevenue|10|30.0|20.50|local|local\ntitle|base|theirs|ours|local|local}, 'a pull decides in the same way');
is(here('Lead', $leads[2], 'title, annualrevenue, isunreadbyowner'), 'ours|20.50|t', 'ours stays here');
is(here('Contact', $contacts[2], 'title'), 'theirs', 'theirs came in');
is(sql($node, qq{SELECT salesforce, local IS NULL FROM sync.conflicts WHERE record = '$contacts[2]'}), 'theirs|t',
    'against a null of ours');
sync_now($node, 'acme');
is(sql($node, qq{SELECT count(*) FROM sync.conflicts WHERE record = '$leads[2]'}), 2, 'once decided, it is decided');
let_go($node);
settle('decided by a pull');

#
# latest
#

sql($node, q{SELECT sync.set('acme', 'Lead', 'conflict', 'latest')});
both('Lead', $leads[3], q{title = 'ours, earlier'});
$org->post('/clock', { step_seconds => 60 });
$org->update('Lead', { Id => $leads[3], Title => 'theirs, later' });
let_go($node);
is(here('Lead', $leads[3], 'title'), 'theirs, later', 'latest: theirs was later');
hold($node);
$org->update('Lead', { Id => $leads[4], Title => 'theirs, earlier' });
sql($node, qq{UPDATE acme.lead SET title = 'ours, later' WHERE id = '$leads[4]'});
sql($node, qq{UPDATE sync.change SET captured = captured + interval '5 minutes'});
let_go($node);
is(here('Lead', $leads[4], 'title'), 'ours, later', 'latest: ours was later');
is(sql($node, qq{SELECT winner, rule FROM sync.conflicts WHERE record IN ('$leads[3]', '$leads[4]') ORDER BY seq}),
    "salesforce|latest\nlocal|latest", 'both recorded');
sql($node, q{SELECT sync.set('acme', 'Lead', 'conflict', 'salesforce')});
both('Lead', $leads[5], q{title = 'ours'}, { Title => 'theirs' });
let_go($node);
is(here('Lead', $leads[5], 'title'), 'theirs', 'the rule can be set');
sql($node, q{SELECT sync.set('acme', 'Lead', 'conflict', NULL)});
is(sql($node, q{SELECT conflict FROM sync.object WHERE object = 'Lead'}), 'local', 'and taken back to the default');
settle('latest');

#
# Deletes
#

# Deleted here, changed there
hold($node);
sql($node, qq{DELETE FROM acme.lead WHERE id = '$leads[10]'; DELETE FROM acme.contact WHERE id = '$contacts[10]'});
$org->update('Lead', { Id => $leads[10], Title => 'changed' });
$org->update('Contact', { Id => $contacts[10], Title => 'changed' });
let_go($node);
sync_now($node, 'acme');
is(record_of($org, 'Lead', $leads[10], 'IsDeleted')->{IsDeleted}, JSON::PP::true, 'a lead that we deleted and they changed is deleted');
is(here('Lead', $leads[10], 'count(*)'), 0, 'and does not come back');
is(record_of($org, 'Contact', $contacts[10], 'IsDeleted')->{IsDeleted}, JSON::PP::false, 'a contact stays');
is(here('Contact', $contacts[10], 'title'), 'changed', 'and comes back, as they changed it');
is(sql($node, qq{SELECT field IS NULL, salesforce, local, winner FROM sync.conflicts
    WHERE record IN ('$leads[10]', '$contacts[10]') ORDER BY object}),
    "t|changed|deleted|salesforce\nt|changed|deleted|local", 'both are recorded');

# Deleted here, untouched there, and read before the delete went out
hold($node);
sql($node, qq{DELETE FROM acme.contact WHERE id = '$contacts[11]'});
sync_now($node, 'acme') for 1 .. 2;
is(here('Contact', $contacts[11], 'count(*)'), 0, 'row 9: a pull does not bring a deleted row back');
$org->update('Contact', { Id => $contacts[12] });
let_go($node);
is(record_of($org, 'Contact', $contacts[11], 'IsDeleted')->{IsDeleted}, JSON::PP::true, 'and it is deleted there');

# Changed by us, sent, and deleted by us before that came back: nobody else
# changed it, whatever its stamp says.
sql($node, qq{UPDATE acme.contact SET title = 'last words', department = NULL WHERE id = '$contacts[14]'});
went_out($node, 'a change');
$org->post('/clock', { step_seconds => 2 });
hold($node);
sql($node, qq{DELETE FROM acme.contact WHERE id = '$contacts[14]';
    UPDATE acme.contact SET title = 'unsent' WHERE id = '$contacts[15]'; DELETE FROM acme.contact WHERE id = '$contacts[15]'});
$org->update('Contact', { Id => $contacts[15] });
my $recorded = sql($node, 'SELECT count(*) FROM sync.conflicts');
let_go($node);
sync_now($node, 'acme');
is(record_of($org, 'Contact', $contacts[14], 'IsDeleted')->{IsDeleted}, JSON::PP::true,
    'row 9: a change of ours and a delete after it are no conflict');
is(record_of($org, 'Contact', $contacts[15], 'IsDeleted')->{IsDeleted}, JSON::PP::true,
    'nor are a change that was never sent and a touch of theirs');
is(here('Contact', $contacts[14], 'count(*)') + here('Contact', $contacts[15], 'count(*)'), 0, 'neither comes back');
is(sql($node, 'SELECT count(*) FROM sync.conflicts'), $recorded, 'and nothing is recorded');

# Changed here, deleted there
both('Lead', $leads[12], q{title = 'ours', city = 'ours'});
$org->delete('Lead', $leads[12]);
both('Contact', $contacts[13], q{title = 'ours'});
$org->delete('Contact', $contacts[13]);
sync_now($node, 'acme');
is(here('Lead', $leads[12], 'count(*)'), 0, 'a record that is deleted there is gone, whatever the rule');
is(sql($node, qq{SELECT string_agg(field || ' ' || winner || ' ' || rule, ',' ORDER BY field) FROM sync.conflicts
    WHERE record = '$leads[12]'}), 'city salesforce deleted,title salesforce deleted', 'what we had changed is recorded');
is(sql($node, 'SELECT count(*) FROM sync.outbox'), 0, 'and nothing is left to send');
let_go($node);

# Deleted on both sides
hold($node);
sql($node, qq{DELETE FROM acme.lead WHERE id = '$leads[14]'});
$org->delete('Lead', $leads[14]);
my $conflicts = sql($node, 'SELECT count(*) FROM sync.conflicts');
let_go($node);
is(sql($node, 'SELECT count(*) FROM sync.conflicts'), $conflicts, 'deleted on both sides is no conflict');

# Deleted and undeleted there, changed here
both('Lead', $leads[15], q{title = 'ours through it all'});
$org->delete('Lead', $leads[15]);
$org->dml(op => 'undelete', object => 'Lead', records => [ $leads[15] ]);
let_go($node);
is(org_value('Lead', $leads[15], 'Title'), 'ours through it all', 'a record that came back in time takes our change');

# Deletes that are not to be sent
sql($node, q{SELECT sync.set('acme', 'Campaign', 'push_deletes', 'off')});
sql($node, qq{DELETE FROM acme.campaign WHERE id = '$campaigns[2]'});
went_out($node, 'a delete that is not to be sent');
is(record_of($org, 'Campaign', $campaigns[2], 'IsDeleted')->{IsDeleted}, JSON::PP::false, 'stays here');
$org->update('Campaign', { Id => $campaigns[2], Description => 'alive' });
settle('deletes');

#
# Held transactions of others
#

# Stamped before our change, seen after it
my $tx = $org->post('/tx/begin')->{tx};
$org->post('/dml', { op => 'update', object => 'Contact', tx => $tx, records => [ { Id => $contacts[20], Title => 'held' } ] });
$org->post('/dml', { op => 'update', object => 'Lead', tx => $tx, records => [ { Id => $leads[20], Title => 'held' } ] });
sql($node, qq{UPDATE acme.contact SET title = 'ours' WHERE id = '$contacts[20]';
    UPDATE acme.lead SET title = 'ours' WHERE id = '$leads[20]'});
wait_for($node, q{SELECT count(*) = 2 FROM sync.outbox WHERE attempts > 0}, 'what somebody else is changing waits');
sync_now($node, 'acme');
$org->post('/tx/commit', { tx => $tx });
sql($node, q{SELECT sync.retry('acme')});
went_out($node, 'until he has done');
is(here('Contact', $contacts[20], 'title'), 'held', 'a contact: his change wins, though its stamp is older than ours');
is(org_value('Lead', $leads[20], 'Title'), 'ours', 'a lead: ours');
is(sql($node, qq{SELECT winner FROM sync.conflicts WHERE record IN ('$contacts[20]', '$leads[20]') ORDER BY object}),
    "salesforce\nlocal", 'a conflict like any other');
settle('held transactions');

#
# Between the look and the write
#

my $fault = $org->fault({ kind => 'collections', method => 'PATCH' }, { delay => 1, pass => JSON::PP::true });
sql($node, qq{UPDATE acme.contact SET department = 'ours' WHERE id = '$contacts[21]'});
wait_until('the write is on its way', sub { $org->hits($fault) });
$org->update('Contact', { Id => $contacts[21], Title => 'just then' });
went_out($node, 'another field, between the look and the write');
settle('another field between the look and the write');
is(here('Contact', $contacts[21], 'title, department'), 'just then|ours', 'nothing is lost');

# With unmodified_since not even of the same field
sql($node, q{SELECT sync.set('acme', 'Contact', 'unmodified_since', 'on')});
$org->post('/clock', { step_seconds => 2 });
$fault = $org->fault({ kind => 'composite', body => 'If-Unmodified-Since' }, { delay => 1, pass => JSON::PP::true });
sql($node, qq{UPDATE acme.contact SET title = 'ours' WHERE id = '$contacts[22]'});
wait_until('the write is on its way', sub { $org->hits($fault) });
$org->update('Contact', { Id => $contacts[22], Title => 'just before' });
went_out($node, 'the same field, under a condition');
is(org_value('Contact', $contacts[22], 'Title'), 'just before', 'is not overwritten');
is(conflicts_of($node, $contacts[22]), q{title|base|just before|ours|salesforce|salesforce}, 'but decided by the rule');
settle('under a condition');
sql($node, q{SELECT sync.set('acme', 'Contact', 'unmodified_since', 'off')});

# While we write, somebody here goes on
$fault = $org->fault({ kind => 'collections', method => 'PATCH' }, { delay => 1, pass => JSON::PP::true });
sql($node, qq{UPDATE acme.contact SET title = 'first' WHERE id = '$contacts[23]'});
wait_until('the write is on its way', sub { $org->hits($fault) });
sql($node, qq{UPDATE acme.contact SET title = 'second' WHERE id = '$contacts[23]'});
went_out($node, 'a change while the one before is being sent');
is(org_value('Contact', $contacts[23], 'Title'), 'second', 'goes out after it');
is(conflicts_of($node, $contacts[23]), '', 'and is no conflict with our own');
settle('a change while the one before is being sent');

# A row is deleted while its change is being sent
$fault = $org->fault({ kind => 'collections', method => 'PATCH' }, { delay => 1, pass => JSON::PP::true });
sql($node, qq{UPDATE acme.contact SET title = 'last words' WHERE id = '$contacts[24]'});
wait_until('the write is on its way', sub { $org->hits($fault) });
sql($node, qq{DELETE FROM acme.contact WHERE id = '$contacts[24]'});
went_out($node, 'a delete while a change is being sent');
sync_now($node, 'acme');
is(record_of($org, 'Contact', $contacts[24], 'IsDeleted')->{IsDeleted}, JSON::PP::true,
    'is made: the change before it was ours');
is(here('Contact', $contacts[24], 'count(*)'), 0, 'and the row stays away');

# The answer to our write is lost, and somebody here goes on before we know: by
# a pull or by the look before the next write.
foreach my $way ('by a look', 'by a pull')
{
    my @mine = splice @contacts, 50, 4;
    my $ids = join ', ', map { "'$_'" } @mine;
    my $before = sql($node, 'SELECT count(*) FROM sync.conflicts');

    sql($node, qq{UPDATE acme.contact SET title = 'base', phone = 'base' WHERE id IN ($ids)});
    push_out($node, "$way: a common state");
    $org->post('/clock', { step_seconds => 2 });
    $fault = $org->fault({ kind => 'collections', method => 'PATCH' },
        { apply_then => { delay => 1.5, reset => JSON::PP::true } });
    sql($node, qq{UPDATE acme.contact SET title = 'sent', phone = 'kept' WHERE id IN ($ids)});
    wait_until("$way: the write is on its way", sub { $org->hits($fault) });
    hold($node);
    sql($node, qq{UPDATE acme.contact SET title = 'base' WHERE id = '$mine[0]';
        UPDATE acme.contact SET title = 'base', phone = 'base' WHERE id = '$mine[1]';
        UPDATE acme.contact SET title = 'base' WHERE id = '$mine[2]';
        DELETE FROM acme.contact WHERE id = '$mine[3]'});
    wait_for($node, qq{SELECT count(*) = 4 FROM sync.outbox WHERE record IN ($ids) AND attempts = 1},
        "$way: the answer is lost");
    is(org_value('Contact', $mine[0], 'Title'), 'sent', 'but the write was made');
    $org->update('Contact', { Id => $mine[2], Title => 'theirs' });
    sync_now($node, 'acme') if $way eq 'by a pull';
    let_go($node, "$way: what follows has gone out");
    is(org_value('Contact', $mine[0], 'Title') . org_value('Contact', $mine[0], 'Phone'), 'basekept',
        "$way: a field that was changed back is changed back there");
    is(org_value('Contact', $mine[1], 'Title') . org_value('Contact', $mine[1], 'Phone'), 'basebase',
        'so is a whole row');
    is(org_value('Contact', $mine[2], 'Title'), 'theirs', 'but what somebody else wrote there since stays');
    is(record_of($org, 'Contact', $mine[3], 'IsDeleted')->{IsDeleted}, JSON::PP::true, 'a delete is made');
    settle("$way, after a lost answer");
    is(here('Contact', $mine[0], 'title, phone'), 'base|kept', 'what was written here last stands');
    is(here('Contact', $mine[3], 'count(*)'), 0, 'what was deleted stays away');
    is(sql($node, 'SELECT count(*) FROM sync.conflicts'), $before, 'and nothing of it is a conflict');
}

# A new row is changed, and deleted, while it is being created
$fault = $org->fault({ kind => 'collections', method => 'POST' }, { delay => 1, pass => JSON::PP::true });
my ($local, $other) = split /\n/, sql($node, q{INSERT INTO acme.lead (lastname, company) VALUES ('While created', 'W'), ('Not for long', 'W') RETURNING local_id});
wait_until('the create is on its way', sub { $org->hits($fault) });
sql($node, qq{UPDATE acme.lead SET title = 'changed' WHERE local_id = $local; DELETE FROM acme.lead WHERE local_id = $other});
went_out($node, 'a change and a delete while the rows are being created');
is($org->rows(q{SELECT Title FROM Lead WHERE LastName = 'While created'})->[0]{Title}, 'changed', 'the change follows');
is($org->count('Lead', q{LastName = 'Not for long' AND IsDeleted = false}), 0, 'so does the delete');
settle('while rows are being created');
is(sql($node, q{SELECT count(*) FROM acme.lead WHERE lastname = 'Not for long'}), 0, 'row 9: what was deleted does not come back');

#
# While rows come in
#

# A local change between the org's answer and the merge: the pull is held at
# its answer, the change commits, and is neither lost nor overwritten.
$fault = $org->fault({ kind => 'composite' }, { apply_then => { delay => 1, pass => JSON::PP::true } });
$org->update('Contact', { Id => $contacts[25], Title => 'coming in', Department => 'coming in' });
my $pull = sql_start($node, q{SELECT count(*) FROM sync.now('acme')});
wait_until('the pull has its answer', sub { $org->hits($fault) });
hold($node);
sql($node, qq{UPDATE acme.contact SET phone = 'ours', department = 'ours' WHERE id = '$contacts[25]'});
sql_end($pull);
is(here('Contact', $contacts[25], 'title, phone'), 'coming in|ours', 'a change while rows come in is kept');
is(conflicts_of($node, $contacts[25]), q{department|base|coming in|ours|salesforce|salesforce},
    'and judged by the value that both had last');
let_go($node);
settle('while rows come in');

# Rows that are read again because of the overlap, while somebody writes to
# them all the time: no value of the org's, which has not changed, comes back.
sql($node, q{
    CREATE TABLE public.flipped (id text, was text, became text);
    GRANT INSERT ON public.flipped TO PUBLIC;
    CREATE FUNCTION public.watch() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO public.flipped VALUES (NEW.id, OLD.title, NEW.title);
        RETURN NULL;
    END $$;
    CREATE TRIGGER watch AFTER UPDATE ON acme.contact FOR EACH ROW
        WHEN (sync.applying() AND OLD.title IS DISTINCT FROM NEW.title) EXECUTE FUNCTION public.watch()});
sync_now($node, 'acme');
my $writer = sql_start($node, join "\n", map {
    my $id = $contacts[ 30 + $_ % 20 ];
    qq{UPDATE acme.contact SET title = 'w$_' WHERE id = '$id';}
} 1 .. 1500);
sync_now($node, 'acme') for 1 .. 12;
is((sql_end($writer))[0], 0, 'a writer who goes on while rows are read again');
is(sql($node, 'SELECT was, became FROM public.flipped'), '', 'row 9: nothing of his is taken back');
sql($node, 'DROP TRIGGER watch ON acme.contact');
settle('with a writer who goes on');

#
# Stamps count whole seconds
#

# Two changes there within one second, one seen here between them
hold($node);
$org->post('/clock', { frozen => JSON::PP::true });
$org->update('Contact', { Id => $contacts[26], Title => 'first half' });
sync_now($node, 'acme');
sql($node, qq{UPDATE acme.contact SET title = 'ours' WHERE id = '$contacts[26]'});
$org->update('Contact', { Id => $contacts[26], Title => 'second half' });
$org->post('/clock', { frozen => JSON::PP::false });
$org->post('/clock', { step_seconds => 5 });
let_go($node);
settle('within one second');
is(conflicts_of($node, $contacts[26]), q{title|first half|second half|ours|salesforce|salesforce},
    'a change within the second of the last one seen');

#
# References to rows that had no id
#

my ($boss) = sql($node, q{INSERT INTO acme.contact (lastname) VALUES ('Boss') RETURNING id});
went_out($node, 'a parent');
$fault = $org->fault({ kind => 'collections', method => 'POST', body => 'Follower' }, { delay => 1, pass => JSON::PP::true });
my $follower = sql($node, qq{INSERT INTO acme.contact (lastname, reportstoid) VALUES ('Follower', '$boss') RETURNING local_id});
wait_until('a child is on its way', sub { $org->hits($fault) });
sql($node, qq{UPDATE acme.contact SET reportstoid = '$contacts[27]' WHERE local_id = $follower});
went_out($node, 'and given another parent meanwhile');
is($org->rows(q{SELECT ReportsToId FROM Contact WHERE LastName = 'Follower'})->[0]{ReportsToId}, $contacts[27],
    'which is no conflict: both sides knew the first one');
is(sql($node, q{SELECT count(*) FROM sync.conflicts WHERE field = 'reportstoid'}), 0, 'nothing is recorded');

# One of a circle is sent without its reference, and given another meanwhile
$fault = $org->fault({ kind => 'collections', method => 'POST', body => 'Circle' }, { delay => 1, pass => JSON::PP::true });
sql($node, q{BEGIN;
    INSERT INTO acme.contact (lastname) VALUES ('Circle 1');
    INSERT INTO acme.contact (lastname, reportstoid) SELECT 'Circle 2', id FROM acme.contact WHERE lastname = 'Circle 1';
    UPDATE acme.contact SET reportstoid = (SELECT id FROM acme.contact WHERE lastname = 'Circle 2') WHERE lastname = 'Circle 1';
    COMMIT});
wait_until('one of a circle is on its way', sub { $org->hits($fault) });
sql($node, qq{UPDATE acme.contact SET reportstoid = '$contacts[27]' WHERE lastname = 'Circle 1'});
went_out($node, 'and given a parent outside of it');
is($org->rows(q{SELECT ReportsToId FROM Contact WHERE LastName = 'Circle 1'})->[0]{ReportsToId}, $contacts[27],
    'which stands: it came after what was held back');
is(sql($node, q{SELECT count(*) FROM sync.conflicts WHERE field = 'reportstoid'}), 0, 'nothing is recorded');
settle('references to rows that had no id');

#
# Any interleaving
#

# Writers on both sides at random, with cycles and looks in between; in the end
# both sides are the same and each conflict has a winner that stands.
my @pool = ((map { [ 'Lead', $_ ] } @leads[40 .. 49]), (map { [ 'Contact', $_ ] } @contacts[40 .. 49]));
my %column = (Title => 'title', Phone => 'phone');
for my $round (1 .. 6)
{
    for my $step (1 .. 25)
    {
        my ($object, $id) = @{ $pool[ rand @pool ] };
        my ($field) = (sort keys %column)[ rand 2 ];
        my $what = rand;

        if ($what < 0.4)
        {
            sql($node, 'UPDATE acme.' . lc($object) . " SET $column{$field} = 'h$round.$step' WHERE id = '$id'");
        }
        elsif ($what < 0.8)
        {
            $org->post('/dml', { op => 'update', object => $object, records => [ { Id => $id, $field => "o$round.$step" } ] });
        }
        elsif ($what < 0.85) { hold($node) }
        elsif ($what < 0.9) { sql($node, q{SELECT sync.resume('acme')}) }
        elsif ($what < 0.95) { sync_now($node, 'acme') }
        else { $org->post('/clock', { step_seconds => 1 + int rand 3 }) }
    }
    sql($node, q{SELECT sync.resume('acme')});
    push_out($node, "round $round has gone out");
}
settle('after random changes on both sides');
is(sql($node, q{SELECT count(*) FROM sync.conflicts WHERE winner NOT IN ('salesforce', 'local')}), 0, 'each conflict has a winner');
done_testing();
