
# The org's metadata changes, or somebody changes a column by hand: the sync
# follows, or says what is wrong, for that object alone.  And an idle cycle.

use strict;
use warnings;
use SyncTest;
use Test::More;

my $org = Org->start(leads => 300);
my $node = sync_node('main');

connect_org($node, $org, 'acme', server => [ interval => '1 hour' ]);
enable_all($node, 'acme');
sync_now($node, 'acme');

# An idle scheduled cycle of the default set of objects costs one call.  The
# worker's own cycles are meant: sync.now asks to the second.
$org->post('/clock', { step_seconds => 120 });
sync_now($node, 'acme');
$org->calls_mark;
$node->safe_psql('postgres', q{ALTER SERVER acme OPTIONS (SET interval '1 s')});
wait_until('three cycles of the worker', sub { $org->calls >= 3 });
my @calls = $org->calls;
my %kinds;
$kinds{ $_->{kind} }++ for @calls;
is_deeply([ keys %kinds ], ['composite'], 'an idle cycle is one composite call')
  or diag(join ', ', map { "$_->{kind} $_->{path}" } @calls);
my $cycles = $node->safe_psql('postgres', q{
    SELECT max(calls) FROM (SELECT run, sum(calls) AS calls FROM sync.log
        WHERE run > (SELECT min(run) FROM sync.log WHERE operation = 'copy') + 20 GROUP BY run) c});
cmp_ok($cycles || 0, '<=', 1, 'by the log, too');
$node->safe_psql('postgres', q{ALTER SERVER acme OPTIONS (SET interval '1 hour')});

# sync.now asks the twelve objects by query, five to a call.
$org->calls_mark;
sync_now($node, 'acme');
cmp_ok($org->api_calls, '<=', 4, 'sync.now costs one call for five idle objects');

# A field that came: described again and filled, old rows included.
$org->post('/schema', { add_field => { object => 'Lead', name => 'Extra__c', type => 'string', length => 20 } });
$org->change('Lead', { Extra__c => 'o {Id}' }, limit => 100, touch => JSON::PP::false());
$org->change('Lead', { Title => 'seen' }, limit => 1);
sync_now($node, 'acme');
wait_for($node, q{SELECT count(*) = 1 FROM pg_attribute
    WHERE attrelid = 'acme.lead'::regclass AND attname = 'extra__c'}, 'a new field is a new column');
sync_now($node, 'acme');
wait_for($node, q{SELECT count(*) = 100 FROM acme.lead WHERE extra__c LIKE 'o %'},
    'filled for rows that did not change since');
same_rows($node, $org, 'acme', 'Lead', 'with a new field');

# A field that went.
$org->post('/schema', { remove_field => { object => 'Lead', name => 'Extra__c' } });
$org->change('Lead', { Title => 'without' }, limit => 5);
$node->psql('postgres', q{SELECT * FROM sync.now('acme', 'Lead')});
$node->psql('postgres', q{SELECT * FROM sync.now('acme', 'Lead')});
is($node->safe_psql('postgres', q{SELECT count(*) FROM acme.lead WHERE title = 'without'}), 5,
    'a field that went does not stop its object');
same_rows($node, $org, 'acme', 'Lead', 'without the field', fields => [ 'Title', 'LastName' ]);

# A field that the login may no longer see.
$org->post('/fls', { username => $org->{info}{run_as}, object => 'Lead', field => 'Phone',
    visible => JSON::PP::false() });
$org->change('Lead', { Title => 'hidden' }, limit => 5);
$node->psql('postgres', q{SELECT * FROM sync.now('acme', 'Lead')});
$node->psql('postgres', q{SELECT * FROM sync.now('acme', 'Lead')});
is($node->safe_psql('postgres', q{SELECT count(*) FROM acme.lead WHERE title = 'hidden'}), 5,
    'nor does one that is hidden');
$org->post('/fls', { username => $org->{info}{run_as}, object => 'Lead', field => 'Phone',
    visible => JSON::PP::true() });

# An object that the login may no longer see: of this object alone.
$org->post('/fls', { username => $org->{info}{run_as}, object => 'Campaign', field => undef,
    visible => JSON::PP::false() });
$org->change('Lead', { Title => 'beside' }, limit => 5);
$node->psql('postgres', q{SELECT * FROM sync.now('acme')});
is($node->safe_psql('postgres', q{SELECT count(*) FROM acme.lead WHERE title = 'beside'}), 5,
    'an object that is hidden stops no other');
is($node->safe_psql('postgres', q{SELECT count(*) > 0 FROM sync.failures WHERE object = 'Campaign'}), 't',
    'and is reported');
$org->post('/fls', { username => $org->{info}{run_as}, object => 'Campaign', field => undef,
    visible => JSON::PP::true() });
$node->psql('postgres', q{SELECT * FROM sync.now('acme')});
is($node->safe_psql('postgres', q{SELECT count(*) FROM sync.failures WHERE object = 'Campaign'}), 0,
    'until it is back');

# A longer text than described before.
$org->post('/schema', { change_field => { object => 'Lead', name => 'Title', length => 255 } });
$org->change('Lead', { Title => 'x' x 200 }, limit => 3);
sync_now($node, 'acme');
is($node->safe_psql('postgres', q{SELECT count(*) FROM acme.lead WHERE length(title) = 200}), 3,
    'a longer field needs no change of the table');

# Changed by hand.
$node->safe_psql('postgres', q{ALTER TABLE acme.lead ADD COLUMN note text DEFAULT 'mine'});
$node->safe_psql('postgres', q{CREATE INDEX ON acme.lead (lower(email))});
$org->change('Lead', { Title => 'own column' }, limit => 3);
sync_now($node, 'acme');
is($node->safe_psql('postgres', q{SELECT count(*) FROM acme.lead WHERE title = 'own column' AND note = 'mine'}), 3,
    "a user's own column and index are left alone");
$node->safe_psql('postgres', q{ALTER TABLE acme.lead RENAME COLUMN industry TO branch});
$org->change('Lead', { Title => 'renamed' }, limit => 3);
$org->change('Account', { Description => 'renamed' }, limit => 3);
$node->psql('postgres', q{SELECT * FROM sync.now('acme')});
like($node->safe_psql('postgres', q{SELECT message FROM sync.failures WHERE object = 'Lead'}),
    qr/industry/, 'a column renamed by hand is named');
is($node->safe_psql('postgres', q{SELECT count(*) FROM acme.account WHERE description = 'renamed'}), 3,
    'others go on');
$node->safe_psql('postgres', q{ALTER TABLE acme.lead RENAME COLUMN branch TO industry});
$node->psql('postgres', q{SELECT * FROM sync.now('acme')});
same_rows($node, $org, 'acme', 'Lead', 'with the column back', fields => [ 'Title', 'Industry' ]);
$node->safe_psql('postgres', q{ALTER TABLE acme.lead ALTER COLUMN industry TYPE varchar(1) USING left(industry, 1)});
$org->change('Lead', { Title => 'retyped', Industry => 'Banking' }, limit => 3);
$node->psql('postgres', q{SELECT * FROM sync.now('acme')});
like($node->safe_psql('postgres', q{SELECT message || coalesce(hint, '') FROM sync.failures WHERE object = 'Lead' LIMIT 1}),
    qr/industry|too long/, 'so is one of another type');
done_testing();
