
# What an owner does to columns and triggers between two looks of the sync, and to
# what is not due, is noticed all the same; it is put back once, and what is a
# user's own stays.

use strict;
use warnings FATAL => 'all';
use SyncTest;
use Test::More;
use WayOut;

my ($org, $node) = two_way(leads => 20, contacts => 10, accounts => 5, objects => [qw(Lead Contact Account Campaign)],
    conf => "sync.describe_interval = '1s'");
my ($lead) = split /\n/, sql($node, 'SELECT id FROM acme.lead WHERE NOT isconverted ORDER BY id');

sub state_of { return sql($node, "SELECT state || coalesce(' ' || last_error, '') FROM sync.status WHERE object = '$_[0]'") }
sub try_now { $node->psql('postgres', q{SELECT * FROM sync.now('acme')}); return }
sub comes_true { my ($query, $what) = @_; return wait_until($what, sub { try_now(); sql($node, $query) eq 't' }) }

# Rows that nobody has changed for long, which no overlap reads again
sql($node, q{BEGIN; ALTER TABLE acme.contact ALTER lastname TYPE varchar(1) USING left(lastname, 1);
    ALTER TABLE acme.contact ALTER lastname TYPE text; COMMIT});
comes_true(q{SELECT count(*) = 0 FROM acme.contact WHERE length(lastname) < 3}, 'retyped and back before anybody looked: filled anew');
sql($node, q{ALTER TABLE acme.campaign ALTER name TYPE text USING left(name, 1)});
comes_true(q{SELECT count(*) = 0 FROM acme.campaign WHERE length(name) < 3}, 'computed anew with the same type: filled anew');

# A change of a column that is dropped and added again while it waits
hold($node);
sql($node, qq{UPDATE acme.lead SET industry = 'waits' WHERE id = '$lead'});
sql($node, 'ALTER TABLE acme.lead DROP COLUMN industry, ADD COLUMN industry text');
let_go($node);
comes_true(qq{SELECT industry = 'waits' FROM acme.lead WHERE id = '$lead'}, 'what waits is there again');
is(record_of($org, 'Lead', $lead, 'Industry')->{Industry}, 'waits', '... and went out');

# Renamed: put back once, not beside the old one
sql($node, 'ALTER TRIGGER sync_capture ON acme.lead RENAME TO other_name');
try_now();
like(state_of('Lead'), qr/^unguarded/, 'a trigger that was renamed');
sql($node, q{SELECT sync.guard('acme', 'Lead')});
hold($node);
sql($node, qq{UPDATE acme.lead SET title = 'once' WHERE id = '$lead'});
is(sql($node, 'SELECT count(*) FROM sync.change'), 1, '... after sync.guard a change is captured once');
let_go($node);
# It would capture what the sync writes, too.
comes_true('SELECT count(*) = 0 FROM sync.outbox', '... and goes out');
try_now();
sql($node, q{CREATE TRIGGER copy AFTER UPDATE ON acme.lead FOR EACH ROW EXECUTE FUNCTION sync.capture()});
try_now();
like(state_of('Lead'), qr/^unguarded/, 'a trigger beside ours');
sql($node, q{SELECT sync.guard('acme', 'Lead')});
like(state_of('Lead'), qr/^live/, '... goes');
sql($node, 'ALTER TRIGGER sync_guard_rows ON acme.account RENAME TO still_refuses');
sql($node, q{SELECT sync.disable('acme', 'Account')});
sql($node, q{UPDATE acme.account SET description = 'mine'});
pass('sync.disable takes a renamed one along');
enable_all($node, 'acme', 'Account');

# Its name and function, but not its times
foreach my $when ('AFTER UPDATE OF title ON acme.lead FOR EACH ROW WHEN (NOT sync.own_write())',
    'AFTER INSERT OR UPDATE OR DELETE ON acme.lead FOR EACH ROW WHEN (false)',
    'AFTER INSERT OR UPDATE OR DELETE ON acme.lead FOR EACH ROW')
{
    sql($node, "DROP TRIGGER sync_capture ON acme.lead; CREATE TRIGGER sync_capture $when EXECUTE FUNCTION sync.capture();
        ALTER TABLE acme.lead ENABLE ALWAYS TRIGGER sync_capture");
    try_now();
    like(state_of('Lead'), qr/^unguarded/, "made anew: $when");
    sql($node, q{SELECT sync.guard('acme', 'Lead')});
}

# What is not pulled, or not due
sql($node, q{SELECT sync.set('acme', 'Contact', 'direction', 'to')});
try_now();
sql($node, 'ALTER TABLE acme.contact DISABLE TRIGGER USER');
try_now();
like(state_of('Contact'), qr/^unguarded/, 'an object that only goes out');
sql($node, q{SELECT sync.guard('acme', 'Contact')});
sql($node, q{SELECT sync.set('acme', 'Account', 'interval', '1 day')});
try_now();
sql($node, 'ALTER TABLE acme.account DISABLE TRIGGER USER');
sql($node, q{SELECT count(*) FROM sync.now('acme', 'Lead')});
like(state_of('Account'), qr/^unguarded/, 'an object that is not due');
sql($node, q{SELECT sync.guard('acme', 'Account')});

# A user's own column, whose name a new field takes, is not ours to change.
sql($node, q{ALTER TABLE acme.campaign ADD COLUMN mine__c integer; UPDATE acme.campaign SET mine__c = 5});
my $mine = sql($node, 'SELECT count(mine__c) FROM acme.campaign');
$org->post('/schema', { add_field => { object => 'Campaign', name => 'Mine__c', type => 'string', length => 20, label => 'Mine' } });
comes_true(q{SELECT last_error LIKE '%"mine\_\_c" is of type integer instead of text%' FROM sync.status WHERE object = 'Campaign'},
    q{a user's column has the name of a new field: an error});
is(sql($node, 'SELECT count(mine__c) FROM acme.campaign'), $mine, '... and keeps its values');
sql($node, 'ALTER TABLE acme.campaign RENAME mine__c TO mine; ALTER TABLE acme.campaign ADD COLUMN mine__c text');
comes_true(q{SELECT state = 'live' FROM sync.status WHERE object = 'Campaign'}, '... until it has another name');

# Renamed, and the other way back
sql($node, 'ALTER TABLE acme.lead RENAME COLUMN industry TO branch');
sql($node, q{SELECT sync.set('acme', 'Lead', 'exclude', 'Industry')});
comes_true(q{SELECT state = 'live' FROM sync.status WHERE object = 'Lead'}, 'a renamed column is left out');

# Dropped, and needed all the same
sql($node, q{SELECT sync.set('acme', 'Lead', 'unmodified_since', 'on')});
sql($node, 'ALTER TABLE acme.lead DROP COLUMN createddate, DROP COLUMN createdbyid, DROP COLUMN lastmodifieddate, DROP COLUMN lastmodifiedbyid');
like(sql($node, q{SELECT string_agg(detail, ' ' ORDER BY detail) FROM sync.check('acme') WHERE status = 'warning'}),
    qr/field CreatedById is not synced.*field LastModifiedDate is not synced/s, 'sync.check tells what is left out');
sql($node, q{INSERT INTO acme.lead (lastname, company) VALUES ('New', 'c')});
sql($node, qq{UPDATE acme.lead SET title = 'on condition' WHERE id = '$lead'});
wait_for($node, q{SELECT count(*) = 1 FROM sync.failures WHERE operation = 'push' AND message LIKE '%"LastModifiedDate"%unmodified_since%'},
    'a condition that cannot be made is an error');
sql($node, q{SELECT sync.set('acme', 'Lead', 'unmodified_since', 'off')});
comes_true(q{SELECT count(*) = 0 FROM sync.outbox}, '... and without it all goes out');
is(record_of($org, 'Lead', $lead, 'Title')->{Title}, 'on condition', '... as it is');

# What every row needs
my $rows = sql($node, 'SELECT count(*) FROM acme.account');
sql($node, q{ALTER TABLE acme.account DROP COLUMN isdeleted, ADD COLUMN isdeleted boolean NOT NULL DEFAULT false});
comes_true(q{SELECT state = 'live' FROM sync.status WHERE object = 'Account'}, 'isdeleted dropped and added again');
sql($node, q{ALTER TABLE acme.account DROP COLUMN systemmodstamp});
try_now();
like(state_of('Account'), qr/^failing.*systemmodstamp/, 'without the stamp: an error');
sql($node, q{ALTER TABLE acme.account ADD COLUMN systemmodstamp timestamptz});
comes_true(q{SELECT count(systemmodstamp) = count(*) FROM acme.account}, '... until it is back, and filled');
sql($node, q{ALTER TABLE acme.account DROP COLUMN id CASCADE, ADD COLUMN id text COLLATE "C"});
try_now();
try_now();
is(sql($node, 'SELECT count(*) FROM acme.account'), $rows, 'without their ids rows are not doubled');
like(state_of('Account'), qr/^failing.*lost their ids/, '... it is an error');
like(sql($node, q{SELECT string_agg(detail, ' ') FROM sync.check('acme') WHERE status = 'error'}), qr/lost their ids/, '... of sync.check, too');
sql($node, q{SELECT sync.disable('acme', 'Account')});
sql($node, 'DELETE FROM acme.account WHERE id IS NULL');
enable_all($node, 'acme', 'Account');
sync_now($node, 'acme');
same_rows($node, $org, 'acme', 'Account', '... and this is the way back');
done_testing();
