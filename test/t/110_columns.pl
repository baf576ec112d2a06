
# What an owner does to the columns of a synced table is followed, or is one clear
# state with one way back.

use strict;
use warnings FATAL => 'all';
use SyncTest;
use Test::More;
use WayOut;

my ($org, $node) = two_way(leads => 20, contacts => 10, accounts => 5, objects => [qw(Lead Account)],
    conf => "sync.describe_interval = '1s'");
my ($lead, $other) = split /\n/, sql($node, 'SELECT id FROM acme.lead WHERE NOT isconverted ORDER BY id');
$org->change('Lead', { Industry => 'Banking', Title => 'T' });
sync_now($node, 'acme');

sub state_of { return sql($node, "SELECT state FROM sync.status WHERE object = '$_[0]'") }
sub filled { return sql($node, q{SELECT count(*) FROM acme.lead WHERE industry = 'Banking'}) }
sub same
{
    my ($what) = @_;
    return same_rows($node, $org, 'acme', 'Lead', $what, fields => [qw(LastName Title Industry)]);
}

# Dropped and added again: filled anew
foreach my $sql ('ALTER TABLE acme.lead DROP COLUMN industry; ALTER TABLE acme.lead ADD COLUMN industry text',
    'BEGIN; ALTER TABLE acme.lead DROP COLUMN industry; ALTER TABLE acme.lead ADD COLUMN industry text; COMMIT',
    'ALTER TABLE acme.lead DROP COLUMN industry, ADD COLUMN industry text')
{
    my ($status, $out, $err) = $node->psql('postgres', $sql);
    is(filled(), 0, 'dropped and added again');
    wait_for($node, q{SELECT count(*) = 20 FROM acme.lead WHERE industry = 'Banking'}, '... it is filled anew');
    is(state_of('Lead'), 'live', '... and live');
    sql($node, qq{UPDATE acme.lead SET industry = 'Energy' WHERE id = '$lead'});
    went_out($node, '... and goes out');
    is(record_of($org, 'Lead', $lead, 'Industry')->{Industry}, 'Energy', '... as it is');
    $org->update('Lead', { Id => $lead, Industry => 'Banking' });
    sync_now($node, 'acme');
    same('afterwards');
}

# Without event triggers the cycle finds it.
sql($node, 'ALTER EVENT TRIGGER sync_columns_altered DISABLE');
sql($node, 'BEGIN; ALTER TABLE acme.lead DROP COLUMN industry; ALTER TABLE acme.lead ADD COLUMN industry text; COMMIT');
sync_now($node, 'acme');
wait_for($node, q{SELECT count(*) = 20 FROM acme.lead WHERE industry = 'Banking'}, 'found by the cycle: it is filled anew');
sql($node, 'ALTER TABLE acme.lead DROP COLUMN title');
sync_now($node, 'acme');
is(state_of('Lead'), 'live', 'a column that was dropped, found by the cycle');
is(sql($node, q{SELECT count(*) FROM sync.field WHERE field = 'Title' AND dropped}), 1, '... is left out');
sql($node, 'ALTER EVENT TRIGGER sync_columns_altered ENABLE');
sql($node, q{SELECT sync.set('acme', 'Lead', 'exclude', NULL)});
wait_for($node, q{SELECT count(*) = 20 FROM acme.lead WHERE title = 'T'}, '... until it is wanted again');

# Dropped, with a change of it waiting: as excluded, with a notice
hold($node);
sql($node, qq{UPDATE acme.lead SET industry = 'waits', title = 'waits' WHERE id = '$lead'});
my ($status, $out, $err) = $node->psql('postgres', 'ALTER TABLE acme.lead DROP COLUMN industry');
like($err, qr/NOTICE:\s+field "Industry" of Lead is no longer synced/, 'dropped: a notice');
like($err, qr/HINT:\s+Add the column again/, '... that says how to get it back');
sql($node, qq{UPDATE acme.lead SET title = 'without' WHERE id = '$other'});
let_go($node, '... changes go out');
is(record_of($org, 'Lead', $lead, 'Title')->{Title}, 'waits', '... of other columns');
sync_now($node, 'acme');
is(state_of('Lead'), 'live', '... and the object is live');
sql($node, q{SELECT sync.set('acme', 'Lead', 'exclude', '')});
sync_now($node, 'acme');
wait_for($node, q{SELECT count(*) > 0 FROM pg_attribute WHERE attrelid = 'acme.lead'::regclass AND attname = 'industry'}, '... it comes back');
wait_for($node, q{SELECT count(industry) = 20 FROM acme.lead}, '... and is filled');
same('with the column back');

# The same where only some fields are synced
sql($node, q{SELECT sync.set('acme', 'Account', 'fields', 'Name, Rating, Description')});
sync_now($node, 'acme');
sql($node, 'ALTER TABLE acme.account DROP COLUMN rating');
sync_now($node, 'acme');
is(state_of('Account'), 'live', 'one of chosen fields: the object is live');
sync_now($node, 'acme', 'Account');
is(sql($node, q{SELECT count(*) FROM pg_attribute WHERE attrelid = 'acme.account'::regclass AND attname = 'rating'}), 0,
    '... and it does not come back by itself');

# Renamed: one clear error, writes are refused, nothing is swallowed
sql($node, 'ALTER TABLE acme.lead RENAME COLUMN industry TO branch');
like(sql_error($node, qq{UPDATE acme.lead SET branch = 'lost?' WHERE id = '$lead'}), qr/55000.*column "industry" was renamed.*HINT:.*Rename it back/s,
    'renamed: a write is refused');
$org->update('Lead', { Id => $lead, Title => 'renamed' });
$node->psql('postgres', q{SELECT * FROM sync.now('acme')});
is(state_of('Lead'), 'failing', '... the object says so');
like(sql($node, q{SELECT last_error FROM sync.status WHERE object = 'Lead'}), qr/"industry" is missing/, '... and which column');
sql($node, 'ALTER TABLE acme.lead RENAME COLUMN branch TO industry');
wait_for($node, q{SELECT state = 'live' FROM sync.status WHERE object = 'Lead'}, '... renamed back it goes on by itself');
wait_for($node, qq{SELECT title = 'renamed' FROM acme.lead WHERE id = '$lead'}, '... with what came meanwhile');
sql($node, qq{UPDATE acme.lead SET industry = 'Energy' WHERE id = '$lead'});
went_out($node, '... and writes go out');

# Retyped: the same, and its values are filled anew
sql($node, q{ALTER TABLE acme.lead ALTER COLUMN industry TYPE varchar(1) USING left(industry, 1)});
like(sql_error($node, qq{UPDATE acme.lead SET industry = 'X' WHERE id = '$lead'}), qr/55000.*"industry".*character varying instead of text/s,
    'retyped: a write to it is refused');
sql($node, qq{UPDATE acme.lead SET title = 'beside it' WHERE id = '$lead'});
$org->update('Lead', { Id => $other, Title => 'retyped' });
$node->psql('postgres', q{SELECT * FROM sync.now('acme')});
is(state_of('Lead'), 'failing', '... the object says so');
like(sql($node, q{SELECT last_error FROM sync.status WHERE object = 'Lead'}), qr/"industry" is of type character varying\(1\) instead of text/, '... and what is wrong');
sql($node, 'ALTER TABLE acme.lead ALTER COLUMN industry TYPE text');
wait_for($node, q{SELECT state = 'live' FROM sync.status WHERE object = 'Lead'}, '... as it was it goes on by itself');
wait_for($node, q{SELECT count(*) = 0 FROM acme.lead WHERE length(industry) = 1}, '... and is filled anew');
went_out($node, '... what was written beside it goes out');
sync_now($node, 'acme');
same('as it was');

# A field that leaves the org and comes anew under its name: with another type, or
# the same and other values
$org->post('/schema', { add_field => { object => 'Lead', name => 'Again__c', type => 'string', length => 20, label => 'Again' } });
$org->change('Lead', { Again__c => 'old' });
wait_until('a new field is there', sub { sync_now($node, 'acme');
    return sql($node, q{SELECT count(*) FROM pg_attribute WHERE attrelid = 'acme.lead'::regclass AND attname = 'again__c'}) });
wait_until('and filled', sub { sync_now($node, 'acme'); return sql($node, q{SELECT count(*) = 20 FROM acme.lead WHERE again__c = 'old'}) eq 't' });
foreach my $new ({ type => 'string', length => 20 }, { type => 'double', precision => 18, scale => 2 })
{
    $org->post('/schema', { remove_field => { object => 'Lead', name => 'Again__c' } });
    wait_until('it has left', sub { $node->psql('postgres', q{SELECT * FROM sync.now('acme')});
        return !sql($node, q{SELECT count(*) FROM sync.field WHERE field = 'Again__c'}) });
    $org->post('/schema', { add_field => { object => 'Lead', name => 'Again__c', label => 'Again', %$new } });
    $org->change('Lead', { Again__c => $new->{type} eq 'string' ? 'new' : 7 }, limit => 3, touch => JSON::PP::false());
    wait_until("it is there again as $new->{type}", sub { $node->psql('postgres', q{SELECT * FROM sync.now('acme')});
        return sql($node, q{SELECT count(*) FROM sync.field WHERE field = 'Again__c'}) });
    wait_until('... filled anew, nothing of the old', sub { $node->psql('postgres', q{SELECT * FROM sync.now('acme')});
        return sql($node, q{SELECT count(again__c) || ' ' || count(DISTINCT again__c) FROM acme.lead}) eq '3 1' });
    is(state_of('Lead'), 'live', '... and live');
}

# Both between two looks, with the same type: its identity tells.
wait_until('the field is known by its identity', sub { $node->psql('postgres', q{SELECT * FROM sync.now('acme')});
    return sql($node, q{SELECT count(durable_id) FROM sync.field WHERE field = 'Again__c'}) });
$org->change('Lead', { Again__c => 8 }, touch => JSON::PP::true());
sync_now($node, 'acme');
$org->post('/schema', { remove_field => { object => 'Lead', name => 'Again__c' } });
$org->post('/schema', { add_field => { object => 'Lead', name => 'Again__c', label => 'Again', type => 'double', precision => 18, scale => 2 } });
$org->change('Lead', { Again__c => 9 }, limit => 2, touch => JSON::PP::false());
wait_until('deleted and made anew between two looks: filled anew', sub { $node->psql('postgres', q{SELECT * FROM sync.now('acme')});
    return sql($node, q{SELECT count(again__c) || ' ' || min(again__c)::int FROM acme.lead}) eq '2 9' });

# Nothing is on its way any more: described after all that, and no more to be read.
my $then = sql($node, 'SELECT now()');
wait_until('all is known', sub { $node->psql('postgres', q{SELECT * FROM sync.now('acme')});
    return sql($node, qq{SELECT bool_and(described > '$then' AND isfinite(cursor)) FROM sync.progress}) eq 't' });

# Restored from a dump columns have other numbers, and nothing is read again for it.
sql($node, q{SELECT sync.stop()});
sql($node, 'CREATE DATABASE restored');
$node->command_ok([ 'sh', '-c', 'pg_dump -d ' . quote($node->connstr('postgres')) . ' | psql -Xq -d ' . quote($node->connstr('restored')) ], 'restored');
$node->safe_psql('restored', q{SELECT sync.start()});
$node->poll_query_until('restored', q{SELECT paused FROM sync.server});
$node->safe_psql('restored', q{SELECT count(*) FROM sync.now('acme')});
is($node->safe_psql('restored', q{SELECT string_agg(DISTINCT state, ',') FROM sync.status}), 'paused', 'a restored copy is paused');
is($node->safe_psql('restored', q{SELECT count(*) FROM sync.progress WHERE rereads > 0 AND object = 'Lead'}),
    sql($node, q{SELECT count(*) FROM sync.progress WHERE rereads > 0 AND object = 'Lead'}), '... it reads nothing again');
is($node->safe_psql('restored', q{SELECT string_agg(object || ' ' || rereads, ', ' ORDER BY object) FROM sync.progress}),
    sql($node, q{SELECT string_agg(object || ' ' || rereads, ', ' ORDER BY object) FROM sync.progress}), '... not at all');

# Anybody's ALTER TABLE goes on as ever.
sql($node, q{CREATE ROLE plain; GRANT CREATE ON SCHEMA public TO plain; SET ROLE plain; CREATE TABLE public.theirs (a int, b int);
    ALTER TABLE public.theirs DROP COLUMN b, ADD COLUMN c text; ALTER TABLE public.theirs RENAME COLUMN c TO d});
pass("anybody's ALTER TABLE goes on");
done_testing();
