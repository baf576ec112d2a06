
# What refuses a whole call without looking at its rows concerns the object, or
# the org: its rows are not tried one by one, nor refused.

use strict;
use warnings;
use JSON::PP;
use SyncTest;
use Test::More;
use WayOut;

my ($org, $node) = two_way(leads => 700, contacts => 40, objects => [qw(Lead Contact)]);

sub refusal { my ($status, $code) = @_; return { status => $status, errorCode => $code, message => 'not now' } }
sub writes { return scalar grep { $_->{kind} eq 'collections' } $org->calls }

# For a moment, of the org
foreach my $case ([ 'UPDATE', 403, 'API_DISABLED_FOR_ORG' ], [ 'INSERT', 403, 'API_CURRENTLY_DISABLED' ])
{
    my ($verb, $status, $code) = @$case;
    my $fault = $org->fault({ kind => 'collections' }, refusal($status, $code), times => 3);

    $org->calls_mark;
    hold($node);
    sql($node, $verb eq 'UPDATE' ? q{UPDATE acme.lead SET title = 'refused' WHERE id IN (SELECT id FROM acme.lead WHERE NOT isconverted ORDER BY id LIMIT 300)}
        : q{INSERT INTO acme.lead (lastname, company) SELECT 'Refused', 'c' || i FROM generate_series(1, 300) i});
    sql($node, q{SELECT sync.resume('acme')});
    wait_for($node, q{SELECT bool_and(state = 'stalled' AND last_error ~ 'not now') FROM sync.status}, "$code: the server stalls");
    went_out($node, '... and goes on by itself');
    is($org->hits($fault), 3, '... after the fault');
    cmp_ok(writes(), '<=', 8, '... in few calls');
    is(failures_of($node, 'record IS NOT NULL'), '', '... nothing is refused');
    is($org->count('Lead', $verb eq 'UPDATE' ? q{Title = 'refused'} : q{LastName = 'Refused'}), 300, '... all is done');
}

# Of an object
foreach my $case ([ 403, 'INSUFFICIENT_ACCESS' ], [ 403, 'FORBIDDEN' ], [ 405, 'METHOD_NOT_ALLOWED' ], [ 404, 'NOT_FOUND' ])
{
    my ($status, $code) = @$case;
    my $fault = $org->fault({ kind => 'collections', body => '"Lead"' }, refusal($status, $code), times => -1);

    $org->calls_mark;
    hold($node);
    sql($node, qq{UPDATE acme.lead SET city = '$code' WHERE id IN (SELECT id FROM acme.lead WHERE NOT isconverted ORDER BY id LIMIT 600);
        UPDATE acme.contact SET title = '$code' WHERE id IN (SELECT id FROM acme.contact ORDER BY id LIMIT 10)});
    sql($node, q{SELECT sync.resume('acme')});
    wait_until("$code: other objects go on", sub { $org->count('Contact', "Title = '$code'") == 10 });
    wait_for($node, qq{SELECT count(*) = 1 FROM sync.failures WHERE object = 'Lead' AND record IS NULL AND code = '$code' AND message ~ 'not now'}, '... the object fails');
    cmp_ok(writes(), '<=', 4, '... in few calls');
    is(failures_of($node, 'record IS NOT NULL'), '', '... no row is refused');
    is(sql($node, q{SELECT count(*) FROM sync.outbox WHERE state = 'waiting'}), 600, '... they wait');
    $org->no_faults;
    sql($node, 'UPDATE sync.change SET next_attempt = NULL');
    sql($node, q{SELECT sync.resume('acme')});
    went_out($node, '... and go');
    is($org->count('Lead', "City = '$code'"), 600, '... all of them');
    is(failures_of($node), '', '... the failure is over');
}

# By Composite
sql($node, q{SELECT sync.set('acme', 'Lead', 'unmodified_since', 'on')});
my $fault = $org->fault({ kind => 'composite', body => 'PATCH' }, refusal(403, 'API_DISABLED_FOR_ORG'), times => 2);
hold($node);
sql($node, q{UPDATE acme.lead SET title = 'composite' WHERE id IN (SELECT id FROM acme.lead WHERE NOT isconverted ORDER BY id LIMIT 40)});
let_go($node, 'under a condition');
is($org->count('Lead', q{Title = 'composite'}), 40, '... all is done');
is(failures_of($node), '', '... nothing is refused');
sql($node, q{SELECT sync.set('acme', 'Lead', 'unmodified_since', 'off')});

# The look before
$fault = $org->fault({ kind => 'query', path => 'FROM Lead' }, refusal(403, 'INSUFFICIENT_ACCESS'), times => -1);
sql($node, q{UPDATE acme.lead SET title = 'unseen' WHERE id = (SELECT min(id) FROM acme.lead WHERE NOT isconverted)});
wait_for($node, q{SELECT count(*) = 1 FROM sync.failures WHERE object = 'Lead' AND record IS NULL AND operation = 'push' AND code = 'INSUFFICIENT_ACCESS'}, 'an object that may not be looked at');
sql($node, q{UPDATE acme.contact SET title = 'seen' WHERE id = (SELECT min(id) FROM acme.contact)});
wait_until('... holds up no other', sub { $org->count('Contact', q{Title = 'seen'}) == 1 });
$org->no_faults;
sql($node, 'UPDATE sync.change SET next_attempt = NULL');
let_go($node, '... and goes on');
# A pull may have met it, too.
$node->psql('postgres', q{SELECT * FROM sync.now('acme')});
is(failures_of($node), '', '... as if nothing had been');

# A Bulk job that is refused when it is uploaded or closed
$node->append_conf('postgresql.conf', 'sync.push_bulk_threshold = 20');
$node->reload;
foreach my $kind (qw(ingest_upload ingest_other))
{
    $fault = $org->fault({ kind => $kind, method => $kind eq 'ingest_upload' ? 'PUT' : 'PATCH' }, refusal(403, 'FORBIDDEN'));
    hold($node);
    sql($node, qq{INSERT INTO acme.lead (lastname, company) SELECT '$kind', 'c' || i FROM generate_series(1, 40) i});
    let_go($node, "$kind is refused");
    is($org->hits($fault), 1, '... after the fault');
    is($org->count('Lead', "LastName = '$kind'"), 40, '... each record is made once');
    is(failures_of($node), '', '... nothing is refused');
}

$node->append_conf('postgresql.conf', 'sync.push_bulk_threshold = 2000');
$node->reload;

# What may be for a row is still looked for among them.
$fault = $org->fault({ kind => 'collections', body => 'poison' }, refusal(400, 'JSON_PARSER_ERROR'), times => -1);
hold($node);
sql($node, q{UPDATE acme.lead SET title = CASE WHEN id = (SELECT min(id) FROM acme.lead WHERE NOT isconverted) THEN 'poison' ELSE 'good' END
    WHERE id IN (SELECT id FROM acme.lead WHERE NOT isconverted ORDER BY id LIMIT 50)});
let_go($node, 'a row at fault');
is(sql($node, q{SELECT count(*), min(code) FROM sync.failures WHERE record IS NOT NULL}), '1|JSON_PARSER_ERROR', '... is refused alone');
is($org->count('Lead', q{Title = 'good'}), 49, '... the others are done');
done_testing();
