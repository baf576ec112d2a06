
# The org's metadata changes, or somebody changes a column by hand: the sync
# follows, or says what is wrong, for that object alone.

use strict;
use warnings;
use SyncTest;
use Test::More;

my $org = Org->start(leads => 300);
my $node = sync_node('main', conf => "sync.describe_interval = '1s'");

connect_org($node, $org, 'acme', server => [ interval => '1 hour' ]);
enable_all($node, 'acme', 'Lead', 'Account', 'Campaign');
sync_now($node, 'acme');

# A field that came: described again and filled, old rows included.
$org->post('/schema', { add_field => { object => 'Lead', name => 'Extra__c', type => 'string', length => 20 } });
$org->change('Lead', { Extra__c => 'o {Id}' }, limit => 100, touch => JSON::PP::false());
$org->change('Lead', { Title => 'seen' }, limit => 1);
wait_until('a new field is a new column', sub {
    sync_now($node, 'acme');
    return $node->safe_psql('postgres', q{SELECT count(*) FROM pg_attribute
        WHERE attrelid = 'acme.lead'::regclass AND attname = 'extra__c'});
});
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
is($node->safe_psql('postgres', q{SELECT operation, code, message FROM sync.failures WHERE object = 'Campaign'}), '',
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
