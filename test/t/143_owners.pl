
# Tables of different owners: who owns contacts need not see leads, and what is
# wrong with contacts holds up no change of a lead but that of its own contact.

use strict;
use warnings FATAL => 'all';
use SyncTest;
use Test::More;
use WayOut;

my ($org, $node) = two_way(leads => 20, contacts => 10, accounts => 5, objects => [qw(Lead Contact)]);
my @leads = split /\n/, sql($node, 'SELECT id FROM acme.lead WHERE NOT isconverted ORDER BY id LIMIT 4');

sub org_value { my ($object, $id, $field) = @_; return record_of($org, $object, $id, $field)->{$field} }

sql($node, 'CREATE ROLE keeper; GRANT USAGE ON SCHEMA acme TO keeper; ALTER TABLE acme.contact OWNER TO keeper');
$org->dml(op => 'convert', object => 'Lead', records => [ { leadId => $_ } ]) for @leads[0, 1];
sync_now($node, 'acme');

hold($node);
sql($node, qq{UPDATE acme.lead SET title = 'Redirected', phone = NULL WHERE id IN ('$leads[0]', '$leads[2]')});
let_go($node);
my $contact = org_value('Lead', $leads[0], 'ConvertedContactId');
is(org_value('Contact', $contact, 'Title'), 'Redirected', 'a change of a converted lead goes to a contact of another owner');
is(org_value('Lead', $leads[2], 'Title'), 'Redirected', '... and others go out');
is(failures_of($node), '', 'nothing failed');

# The contacts' owner cannot write them.
sql($node, 'REVOKE UPDATE ON acme.contact FROM keeper');
hold($node);
sql($node, qq{UPDATE acme.lead SET title = 'Denied' WHERE id IN ('$leads[1]', '$leads[3]')});
let_go($node);
is(org_value('Lead', $leads[3], 'Title'), 'Denied', 'where a contact cannot be written, other changes go out');
like(sql($node, qq{SELECT message FROM sync.failures WHERE record = '$leads[1]'}),
    qr/its contact does not take the change: permission denied/, '... and this one says why it does not');
sql($node, 'GRANT UPDATE ON acme.contact TO keeper');
sql($node, q{SELECT sync.retry('acme')});
went_out($node, 'it goes, too');
is(org_value('Contact', org_value('Lead', $leads[1], 'ConvertedContactId'), 'Title'), 'Denied', 'in the end');
done_testing();
