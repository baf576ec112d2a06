
# What can be seen of the way out: the outbox, conflicts, the backlog, the log,
# and what NOTIFY tells those who listen.

use strict;
use warnings;
use JSON::PP;
use SyncTest;
use Test::More;
use WayOut;

my ($org, $node) = two_way(leads => 60, contacts => 20, accounts => 3,
    objects => [qw(Lead Contact Account)]);
my @leads = split /\n/, sql($node, 'SELECT id FROM acme.lead WHERE NOT isconverted ORDER BY id');
my @contacts = split /\n/, sql($node, 'SELECT id FROM acme.contact ORDER BY id');

# One that listens.
my $listener = $node->background_psql('postgres');
$listener->query_safe('LISTEN sync');

# The payloads that have come since the last time, by their event.
sub heard
{
    my $text = $listener->query(q{SELECT 'x'});
    my @events = map { json($_) } $text =~ /Asynchronous notification "sync" with payload "(\{.*?\})" received/g;
    return @events;
}

sub hear
{
    my ($event, $what) = @_;
    my @found;

    wait_until($what, sub { push @found, grep { $_->{event} eq $event } heard(); return scalar @found });
    return $found[0];
}

#
# The outbox
#

hold($node);
my ($new, $local) = split /\|/,
    sql($node, q{INSERT INTO acme.lead (lastname, company) VALUES ('New', 'N') RETURNING id, local_id});
sql($node, qq{UPDATE acme.lead SET title = 'x', city = 'y' WHERE id = '$leads[0]'; DELETE FROM acme.lead WHERE id = '$leads[1]'});
is(sql($node, q{SELECT server, object, "table", operation, state, attempts, next_attempt IS NULL FROM sync.outbox ORDER BY seq}),
    join("\n", map { "acme|Lead|acme.lead|$_|waiting|0|t" } qw(insert update delete)), 'what waits, in order');
is(sql($node, q{SELECT record, local_id FROM sync.outbox ORDER BY seq LIMIT 1}), "$new|$local", 'with the row it is about');
is(sql($node, q{SELECT changes ->> 'title' IS NOT NULL, changes -> 'city' ->> 1 FROM sync.outbox WHERE operation = 'update'}),
    't|y', 'and its columns, old and new');
is(sql($node, q{SELECT count(*) FROM sync.outbox WHERE captured BETWEEN now() - interval '1 minute' AND now()}), 3, 'and when');

# The backlog, and status
is(sql($node, q{SELECT waiting, trend FROM sync.backlog WHERE object = 'Lead' AND direction = 'to Salesforce'}), '3|normal',
    'the backlog counts them');
is(sql($node, q{SELECT string_agg(direction, ',' ORDER BY direction) FROM sync.backlog WHERE object = 'Lead'}),
    'from Salesforce,to Salesforce', 'in each direction');
is(sql($node, q{SELECT string_agg(direction, ',') FROM sync.backlog WHERE object = 'Account'}), 'from Salesforce',
    'an object that comes from Salesforce only has one');
is(sql($node, q{SELECT queue, refused FROM sync.status WHERE object = 'Lead'}), '3|0', 'and so does the status');
sql($node, q{UPDATE sync.change SET captured = captured - interval '1 hour'});
is(sql($node, q{SELECT trend FROM sync.backlog WHERE object = 'Lead' AND direction = 'to Salesforce'}), 'growing',
    'what has waited for long makes it grow');

# On its way
my $fault = $org->fault({ kind => 'collections', method => 'POST' }, { delay => 2, pass => JSON::PP::true });
sql($node, q{SELECT sync.resume('acme')});
wait_until('a create is on its way', sub { $org->hits($fault) });
is(sql($node, qq{SELECT state FROM sync.outbox WHERE record = '$new'}), 'sent', 'what was sent and not answered yet');
like(sql_error($node, qq{SELECT sync.discard(seq) FROM sync.outbox WHERE record = '$new'}), qr/or it is being sent/,
    'cannot be given up');
went_out($node, 'all are answered');
is(sql($node, q{SELECT waiting, estimated FROM sync.backlog WHERE object = 'Lead' AND direction = 'to Salesforce'}),
    '0|00:00:00', 'the backlog is empty');

# The log
is(sql($node, q{SELECT sum(new), sum(updated), sum(deleted), sum(failed), bool_and(ended >= started), string_agg(DISTINCT outcome, ',')
    FROM sync.log WHERE operation = 'push' AND object = 'Lead'}), '1|1|1|0|t|done', 'the log counts what went out');
cmp_ok(sql($node, q{SELECT rows_per_hour FROM sync.backlog WHERE object = 'Lead' AND direction = 'to Salesforce'}), '>', 0,
    'the backlog knows how fast it goes');
is(sql($node, q{SELECT sum(calls) > 0 FROM sync.usage}), 't', 'the calls are counted');

#
# Refused
#

$org->post('/config', { validation => { object => 'Lead', where => q{Title = 'bad'}, message => 'No "bad" titles.', field => 'Title' } });
sql($node, qq{UPDATE acme.lead SET title = 'bad' WHERE id = '$leads[2]'});
my $heard = hear('refused', 'a refusal is told');
is_deeply([ @$heard{qw(server object)} ], [ 'acme', 'Lead' ], 'of which object');
is($heard->{detail}, "$leads[2]: FIELD_CUSTOM_VALIDATION_EXCEPTION", 'and of which record, and by which code');
is(sql($node, q{SELECT state, attempts FROM sync.outbox}), 'refused|1', 'it stands in the outbox');
is(sql($node, q{SELECT object, operation, record, code, message, fields, count FROM sync.failures}),
    qq{Lead|push|$leads[2]|FIELD_CUSTOM_VALIDATION_EXCEPTION|No "bad" titles.|{Title}|1}, 'and among the failures');
is(sql($node, q{SELECT queue, refused FROM sync.status WHERE object = 'Lead'}), '0|1', 'and in the status');
is(sql($node, q{SELECT waiting FROM sync.backlog WHERE object = 'Lead' AND direction = 'to Salesforce'}), 0, 'it is no backlog');
is(sql($node, q{SELECT failed FROM sync.log WHERE operation = 'push' ORDER BY seq DESC LIMIT 1}), 1, 'and in the log');
$org->post('/config', { validation => undef });
sql($node, q{SELECT sync.retry('acme')});
went_out($node, 'sent again');
wait_for($node, q{SELECT count(*) = 0 FROM sync.failures}, 'no failure is left');

# A long message of many bytes does not break the notification.
$org->fault({ record => $leads[3] }, { record_error => { statusCode => 'FIELD_INTEGRITY_EXCEPTION', message => 'ü€' x 5000 } });
sql($node, qq{UPDATE acme.lead SET title = 'long' WHERE id = '$leads[3]'});
$heard = hear('refused', 'a refusal in many words is told');
cmp_ok(length $heard->{detail}, '<=', 1000, 'in fewer');
sql($node, q{SELECT sync.retry('acme')});
wait_for($node, q{SELECT count(*) = 0 FROM sync.outbox}, 'and goes');

#
# Conflicts
#

heard();
hold($node);
sql($node, qq{UPDATE acme.contact SET title = 'ours', department = 'ours' WHERE id = '$contacts[0]'});
$org->post('/clock', { step_seconds => 2 });
$org->update('Contact', { Id => $contacts[0], Title => 'theirs', Department => 'theirs' });
sql($node, q{SELECT sync.resume('acme')});
$heard = hear('conflict', 'a conflict is told');
is_deeply([ @$heard{qw(server object detail)} ], [ 'acme', 'Contact', $contacts[0] ], 'with its record');
is(sql($node, q{SELECT server, object, record, field, salesforce, local, winner, rule, happened <= now() FROM sync.conflicts ORDER BY field}),
    join("\n", map { qq{acme|Contact|$contacts[0]|$_|theirs|ours|salesforce|salesforce|t} } qw(department title)),
    'both values of each field are kept');

#
# A stall, and a recovery
#

my $limit = $org->fault({ path => '.' }, { status => 503 }, times => -1);
sql($node, qq{UPDATE acme.lead SET title = 'while it is down' WHERE id = '$leads[4]'});
eval { sync_now($node, 'acme') };
$heard = hear('failure', 'an org that is down is told');
is($heard->{server}, 'acme', 'as a failure of the server');
$org->no_faults;
sql($node, q{SELECT sync.resume('acme')});
went_out($node, 'and goes on');
hear('recovery', 'the recovery is told');

# Who may see it
sql($node, q{CREATE ROLE nobody_special; CREATE ROLE watcher; GRANT pg_monitor TO watcher});
like(sql_error($node, "SET ROLE nobody_special; TABLE sync.$_"), qr/42501/, "sync.$_ is not for everybody")
  for qw(outbox conflicts backlog change attempt);
ok(defined sql($node, "SET ROLE watcher; SELECT count(*) FROM sync.$_"), "a monitor may see sync.$_") for qw(status backlog log failures);
like(sql_error($node, "SET ROLE watcher; TABLE sync.$_"), qr/42501/, "but not sync.$_, which holds values of rows")
  for qw(outbox conflicts);

$listener->quit;
sync_now($node, 'acme');
same_rows($node, $org, 'acme', $_, 'in the end') for qw(Lead Contact);
done_testing();
