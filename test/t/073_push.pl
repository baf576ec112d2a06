
# How changes travel: folded to the net change of each row, few calls, the
# headers that keep the org's rules off, children of one parent together, and
# many at once by Bulk.
#
# Of what users of other syncs suffer: row 6, writing is strictly serial and
# takes days; row 7, UNABLE_TO_LOCK_ROW where children of one parent are written
# in parallel; row 10, fields that nobody meant to write are overwritten.

use strict;
use warnings;
use JSON::PP;
use SyncTest;
use Test::More;
use WayOut;

my ($org, $node) = two_way(leads => 3000, contacts => 1200, accounts => 2, campaigns => 1,
    objects => [qw(Lead Contact)], server => [ client_name => 'pgsync' ]);
my @leads = split /\n/, sql($node, 'SELECT id FROM acme.lead WHERE NOT isconverted ORDER BY id');

# Does something while the worker is paused, lets everything go out, and
# returns the calls that wrote.
sub sent
{
    my ($statements, $what) = @_;

    hold($node);
    sql($node, $statements);
    $org->calls_mark;
    let_go($node, $what);
    return writes_of($org);
}

sub last_push
{
    my ($object) = @_;
    return sql($node, qq{
        SELECT new, updated, deleted, skipped, failed, outcome FROM sync.log
        WHERE operation = 'push' AND object = '$object' ORDER BY seq DESC LIMIT 1});
}

#
# The net change
#

my @calls = sent(q{
    INSERT INTO acme.lead (lastname, company) VALUES ('Fold', 'F');
    UPDATE acme.lead SET title = 'a' WHERE lastname = 'Fold';
    UPDATE acme.lead SET title = 'b', city = 'C' WHERE lastname = 'Fold'}, 'an insert and two updates');
is(scalar @calls, 1, 'are one call');
is_deeply(json($calls[0]{body})->{records},
    [ { attributes => { type => 'Lead' }, LastName => 'Fold', Company => 'F', Title => 'b', City => 'C' } ],
    'one insert with the latest values');
is(last_push('Lead'), '1|0|0|0|0|done', 'as the log says');

@calls = sent(q{
    INSERT INTO acme.lead (lastname, company) VALUES ('Brief', 'F');
    UPDATE acme.lead SET title = 'a' WHERE lastname = 'Brief';
    DELETE FROM acme.lead WHERE lastname = 'Brief'}, 'an insert and a delete');
is(scalar @calls, 0, 'are nothing');
is(last_push('Lead'), '0|0|0|1|0|done', 'as the log says');

sql($node, qq{UPDATE acme.lead SET title = 'before', city = 'before' WHERE id = '$leads[0]'});
went_out($node, 'prepared');
@calls = sent(qq{
    UPDATE acme.lead SET title = 'x' WHERE id = '$leads[0]';
    UPDATE acme.lead SET title = 'y' WHERE id = '$leads[0]';
    UPDATE acme.lead SET title = 'before' WHERE id = '$leads[0]'}, 'a change and back');
is(scalar @calls, 0, 'is nothing');
@calls = sent(qq{
    UPDATE acme.lead SET title = 'x', city = 'x' WHERE id = '$leads[0]';
    UPDATE acme.lead SET city = 'before' WHERE id = '$leads[0]'}, 'two fields, one of them back');
is_deeply([ map { json($_->{body})->{records} } @calls ],
    [ [ { attributes => { type => 'Lead' }, Id => $leads[0], Title => 'x' } ] ],
    'row 10: only the field that is different is sent');
@calls = sent(qq{
    UPDATE acme.lead SET title = NULL, city = '' WHERE id = '$leads[0]'}, 'values that are taken away');
is(json($calls[0]{body})->{records}[0]{Title}, undef, 'are sent as null');
@calls = sent(qq{
    UPDATE acme.lead SET title = 'gone' WHERE id = '$leads[1]';
    DELETE FROM acme.lead WHERE id = '$leads[1]'}, 'an update and a delete');
is(join(' ', map { "$_->{method} $_->{status}" } @calls), 'DELETE 200', 'are a delete');

#
# One wake for a transaction, after it
#

my $runs = sql($node, q{SELECT count(*) FROM sync.log WHERE operation = 'push'});
$org->calls_mark;
my $user = $node->background_psql('postgres');
$user->query_safe('BEGIN');
$user->query_safe(qq{UPDATE acme.lead SET city = 'in a transaction $_' WHERE id = '$leads[$_]'}) for 10 .. 30;
sync_now($node, 'acme');
is(scalar(writes_of($org)), 0, 'nothing of an open transaction goes out');
$user->query_safe(qq{UPDATE acme.lead SET city = 'in a transaction $_' WHERE id = '$leads[$_]'}) for 31 .. 60;
$user->query_safe('COMMIT');
$user->quit;
went_out($node, 'a transaction of 51 statements');
is(scalar(writes_of($org)), 1, 'goes out in one call');
is(sql($node, q{SELECT count(*) FROM sync.log WHERE operation = 'push'}), $runs + 1, 'of one push');

# A pause holds for all that is committed after it, also while a push is going on
my $slow = $org->fault({ kind => 'collections', method => 'PATCH' }, { delay => 1, pass => JSON::PP::true });
sql($node, qq{UPDATE acme.lead SET city = 'before the pause' WHERE id = '$leads[95]'});
wait_until('a write is on its way', sub { $org->hits($slow) });
hold($node);
sql($node, qq{UPDATE acme.lead SET city = 'after the pause' WHERE id IN ('$leads[95]', '$leads[96]')});
wait_for($node, q{SELECT state = 'idle' FROM pg_stat_activity WHERE backend_type = 'sync worker'}, 'it has ended');
is($org->count('Lead', q{City = 'before the pause'}), 1, 'what was on its way arrives');
is($org->count('Lead', q{City = 'after the pause'}), 0, 'what came after the pause waits');
let_go($node, 'and goes');
is($org->count('Lead', q{City = 'after the pause'}), 2, 'when the pause is over');

#
# Few calls
#

$org->calls_mark;
@calls = sent(q{INSERT INTO acme.lead (lastname, company) SELECT 'Many ' || i, 'M' FROM generate_series(1, 450) i},
    '450 new rows');
is(scalar @calls, 3, 'are three calls of at most 200');
is(scalar(grep { $_->{kind} eq 'collections' && $_->{status} == 200 } @calls), 3, 'to sObject Collections');
is($org->count('Lead', q{LastName LIKE 'Many %'}), 450, 'and all are there');
is(sql($node, q{SELECT count(*) FROM acme.lead WHERE id LIKE '~%'}), 0, 'each with its id');
is(scalar @{ $org->rows(q{SELECT Id FROM Lead WHERE LastName = 'Many 77'}) }, 1, 'each its own');
is($org->rows(q{SELECT Id FROM Lead WHERE LastName = 'Many 77'})->[0]{Id},
    sql($node, q{SELECT id FROM acme.lead WHERE lastname = 'Many 77'}), 'and the right one');

sync_now($node, 'acme');
$org->calls_mark;
sql($node, q{UPDATE acme.lead SET fax = 'f' || right(id, 8) WHERE id IN
    (SELECT id FROM acme.lead WHERE NOT isconverted ORDER BY id LIMIT 1000)});
went_out($node, '1,000 changed rows');
is($org->count('Lead', q{Fax LIKE 'f%'}), 1000, 'have changed in the org');
cmp_ok($org->api_calls, '<=', 6, 'for at most 6 calls in all');

@calls = sent(q{DELETE FROM acme.lead WHERE lastname LIKE 'Many 1%'}, 'deletes');
is(scalar @calls, 1, 'travel together, too');
is($org->count('Lead', q{LastName LIKE 'Many 1%' AND IsDeleted = false}), 0, 'and have been made');

#
# Headers
#

$org->post('/config', { assignment_owner => 'ben@example.com' });
@calls = sent(qq{
    INSERT INTO acme.lead (lastname, company) VALUES ('Mine', 'M');
    UPDATE acme.lead SET title = 'still mine' WHERE id = '$leads[70]'}, 'with an assignment rule');
my %header = map { lc $_ => $calls[0]{headers}{$_} } keys %{ $calls[0]{headers} };
is($header{'sforce-auto-assign'}, 'FALSE', 'the org is told not to assign');
is($header{'sforce-call-options'}, 'client=pgsync', 'and who is calling');
my $me = $org->{info}{users}{ $org->{info}{run_as} }{id};
is($org->rows(q{SELECT OwnerId FROM Lead WHERE LastName = 'Mine'})->[0]{OwnerId}, $me, 'a new lead keeps its owner');
is(record_of($org, 'Lead', $leads[70], 'OwnerId')->{OwnerId},
    sql($node, qq{SELECT ownerid FROM acme.lead WHERE id = '$leads[70]'}), 'and so does an old one');

#
# Bulk above a threshold
#

sql($node, q{ALTER SYSTEM SET sync.push_bulk_threshold = 300; SELECT pg_reload_conf()});
wait_for($node, q{SELECT current_setting('sync.push_bulk_threshold') = '300'}, 'a lower threshold');
@calls = sent(q{UPDATE acme.lead SET website = 'w' || right(id, 8) WHERE id IN
    (SELECT id FROM acme.lead WHERE NOT isconverted ORDER BY id LIMIT 300)}, 'as many as the threshold');
is(scalar(grep { $_->{kind} =~ /^ingest/ } @calls), 0, 'go by Collections');
my $text = q{E'quotes "q", commas, \\\\ and\nlines\r\nof them, #N/A'};
@calls = sent(qq{
    UPDATE acme.lead SET description = $text || right(id, 6), city = NULL, annualrevenue = 12.5
    WHERE id IN (SELECT id FROM acme.lead WHERE NOT isconverted ORDER BY id LIMIT 400);
    UPDATE acme.lead SET description = '#N/A' WHERE id = '$leads[80]'}, 'more than that');
is(scalar(grep { $_->{kind} eq 'ingest_create' && $_->{status} == 200 } @calls), 1, 'go by one Bulk job');
is(json((grep { $_->{kind} eq 'ingest_create' } @calls)[0]{body})->{lineEnding}, 'LF', 'with its line ends said');
is($org->count('Lead', q{AnnualRevenue = 12.5}), 400, 'all of them');
is(record_of($org, 'Lead', $leads[80], 'Description')->{Description}, '#N/A',
    'also the one whose text a Bulk job would take for a null');
is($org->count('Lead', q{City = null AND AnnualRevenue = 12.5}), 400, 'nulls are nulls');
sync_now($node, 'acme');
same_rows($node, $org, 'acme', 'Lead', 'after a Bulk update');

@calls = sent(q{INSERT INTO acme.lead (lastname, company, description)
    SELECT 'Bulk ' || i % 390, 'B', CASE WHEN i % 2 = 0 THEN E'a\r\nb  ' ELSE ' "x" ' END FROM generate_series(1, 400) i},
    'new rows by Bulk, some of them equal');
is(scalar(grep { $_->{kind} eq 'ingest_create' } @calls), 1, 'are one job');
is($org->count('Lead', q{LastName LIKE 'Bulk %'}), 400, 'each there once');
is(sql($node, q{SELECT count(*), count(DISTINCT id) FROM acme.lead WHERE lastname LIKE 'Bulk %' AND id LIKE '00Q%'}),
    '400|400', 'each with an id');
my $wrong = grep { sql($node, qq{SELECT lastname FROM acme.lead WHERE id = '$_->{Id}'}) ne $_->{LastName} }
  @{ $org->rows(q{SELECT Id, LastName FROM Lead WHERE LastName LIKE 'Bulk 1%'}) };
is($wrong, 0, 'and its own');
sync_now($node, 'acme');
same_rows($node, $org, 'acme', 'Lead', 'after a Bulk insert');
sent(q{DELETE FROM acme.lead WHERE lastname LIKE 'Bulk %'}, 'and they go by Bulk');
is($org->count('Lead', q{LastName LIKE 'Bulk %' AND IsDeleted = false}), 0, 'all of them');
sql($node, q{ALTER SYSTEM RESET sync.push_bulk_threshold; SELECT pg_reload_conf()});
wait_for($node, q{SELECT current_setting('sync.push_bulk_threshold') = '2000'}, 'the usual threshold');

#
# Children of one parent
#

# The account's id of each contact that can be seen in a call's body.
my %account = map { split /\|/ } split /\n/, sql($node, 'SELECT id, accountid FROM acme.contact WHERE accountid IS NOT NULL');
sub accounts_in
{
    my ($call) = @_;
    my %seen;
    $seen{ $account{$_} }++ for grep { $account{$_} } $call->{body} =~ /"Id":"(\w{18})"/g;
    return sort keys %seen;
}

sub in_flight
{
    my ($statement, $what) = @_;
    my $fault = $org->fault({ kind => 'collections' }, { delay => 1, pass => JSON::PP::true });
    my @calls = sent($statement, $what);

    $org->no_faults;
    return grep { $_->{kind} eq 'collections' } @calls;
}

@calls = sent(q{
    UPDATE acme.contact SET title = 'sorted' WHERE id IN (
        SELECT id FROM (SELECT id, row_number() OVER (PARTITION BY accountid ORDER BY id) n FROM acme.contact
            WHERE accountid IS NOT NULL) x WHERE n <= 200)}, '200 contacts of each of two accounts');
is(scalar @calls, 2, 'are two calls');
is_deeply([ map { scalar(my @a = accounts_in($_)) } @calls ], [ 1, 1 ], 'row 7: each with the contacts of one account');
isnt((accounts_in($calls[0]))[0], (accounts_in($calls[1]))[0], 'of another one each');

my @parents = sort keys %{ { reverse %account } };
@calls = in_flight(qq{
    UPDATE acme.contact SET title = 'one parent' WHERE id IN (
        SELECT id FROM acme.contact WHERE accountid = '$parents[0]' ORDER BY id LIMIT 400)}, '400 contacts of one account');
is(join(' ', map { $_->{fault} ? 'slow' : 'fast' } @calls), 'slow fast',
    'row 7: a call waits for the one before that locks the same account');
@calls = in_flight(q{
    UPDATE acme.contact SET title = 'two parents' WHERE id IN (
        SELECT id FROM (SELECT id, row_number() OVER (PARTITION BY accountid ORDER BY id) n FROM acme.contact
            WHERE accountid IS NOT NULL) x WHERE n <= 200)}, '200 of each');
is(join(' ', map { $_->{fault} ? 'slow' : 'fast' } @calls), 'fast slow',
    'row 6: calls that do not get into each other\'s way are under way together');

#
# Under a condition
#

sql($node, q{SELECT sync.set('acme', 'Lead', 'unmodified_since', 'on')});
@calls = sent(qq{UPDATE acme.lead SET title = 'careful' WHERE id IN (SELECT id FROM acme.lead
    WHERE NOT isconverted ORDER BY id LIMIT 30)}, 'updates under a condition');
is(join(' ', sort map { $_->{kind} . ' ' . scalar(@{ $_->{subrequests} }) } @calls), 'composite 25 composite 5',
    'go 25 to a Composite call');
like($calls[0]{body}, qr/"If-Unmodified-Since":"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT"/, 'with the condition');
like($calls[0]{body}, qr/"Sforce-Auto-Assign":"FALSE"/, 'and without the assignment rule');
is($org->count('Lead', q{Title = 'careful'}), 30, 'all of them');

sync_now($node, 'acme');
same_rows($node, $org, 'acme', $_, 'in the end') for qw(Lead Contact);
is(failures_of($node), '', 'nothing failed');
is(sql($node, q{SELECT count(*) FROM sync.conflicts}), 0, 'and nothing was a conflict');
done_testing();
