
# From provisional ids to Salesforce's: children before their parents have an
# id, circles, users' own foreign keys, and what applications hold on to.
#
# Of what users of other syncs suffer: row 11, rows that are there twice when
# reading is faster than the id; row 9, deleted rows that come back; row 30, parents and children made in one
# transaction.

use strict;
use warnings;
use JSON::PP;
use SyncTest;
use Test::More;
use WayOut;

my ($org, $node) = two_way(leads => 20, contacts => 20, accounts => 5, campaigns => 2,
    objects => [qw(Lead Contact Account Campaign CampaignMember)]);

sub resolved
{
    my ($provisional) = @_;
    return sql($node, "SELECT sync.resolve('$provisional')");
}

sub same_all
{
    my ($what) = @_;
    same_rows($node, $org, 'acme', $_, $what) for qw(Lead Contact Campaign CampaignMember);
    return;
}

sub calls_to_write { return scalar(my @calls = writes_of($org)) }

#
# One row
#

hold($node);
my ($id, $local) = split /\|/, sql($node,
    q{INSERT INTO acme.lead (lastname, company) VALUES ('One', 'O') RETURNING id, local_id});
like($id, qr/^~\d+$/, 'a new row has a provisional id');
is(resolved($id), '', 'which has become nothing yet');
is(resolved('00Q000000000001AAA'), '00Q000000000001AAA', 'any other id is what it is');
my ($second) = sql($node, q{INSERT INTO acme.lead (lastname, company) VALUES ('Two', 'O') RETURNING id});
isnt($second, $id, 'each has its own');
sql($node, qq{UPDATE acme.lead SET title = 'while provisional' WHERE id = '$id'});
let_go($node);
my $real = resolved($id);
like($real, qr/^00Q\w{15}$/, 'sync.resolve knows what it has become');
is(sql($node, qq{SELECT id FROM acme.lead WHERE local_id = $local}), $real, 'local_id still finds the row');
is(sql($node, qq{UPDATE acme.lead SET city = 'late' WHERE id = '$id' RETURNING 1}), '',
    'the provisional id finds nothing any more');
is(sql($node, qq{UPDATE acme.lead SET city = 'in time' WHERE local_id = $local RETURNING id}), $real,
    'an update that was read before the id changed still finds the row');
went_out($node, 'sent');
is(record_of($org, 'Lead', $real, 'City', 'Title')->{City}, 'in time', 'and goes out');
is(record_of($org, 'Lead', $real, 'Title')->{Title}, 'while provisional', 'a change to the provisional row was part of the insert');
is(sql($node, q{SELECT sync.resolve('~99999999')}), '', 'a number that was never given is nothing');

# A role that may only write to the table can use all of it.
sql($node, q{
    CREATE ROLE app;
    GRANT USAGE ON SCHEMA acme TO app;
    GRANT SELECT, INSERT, UPDATE, DELETE ON acme.lead TO app;
    SET ROLE app;
    INSERT INTO acme.lead (lastname, company) VALUES ('Of app', 'O');
    SELECT sync.resolve('~1')});
went_out($node, 'a role that may only write to the table');
is($org->count('Lead', q{LastName = 'Of app'}), 1, 'has its row in the org');

# Who reads while the ids change
is(sql($node, qq{BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM acme.lead WHERE lastname = 'One'; COMMIT}),
    1, 'one row all the time');

#
# Parents and children in one transaction
#

hold($node);
sql($node, q{
    WITH campaign AS (
        INSERT INTO acme.campaign (name) VALUES ('Fair') RETURNING id
    ), person AS (
        INSERT INTO acme.lead (lastname, company) SELECT 'Visitor ' || i, 'V' FROM generate_series(1, 5) i RETURNING id
    )
    INSERT INTO acme.campaignmember (campaignid, leadid) SELECT campaign.id, person.id FROM campaign, person});
is(sql($node, q{SELECT count(*) FROM acme.campaignmember WHERE campaignid LIKE '~%' AND leadid LIKE '~%'}), 5,
    'children refer to parents that have no id');
$org->calls_mark;
let_go($node);
is(sql($node, q{
    SELECT count(*) FROM acme.campaignmember m JOIN acme.campaign c ON c.id = m.campaignid
    JOIN acme.lead l ON l.id = m.leadid WHERE c.name = 'Fair' AND l.id LIKE '00Q%' AND c.id LIKE '701%' AND m.id LIKE '00v%'}),
    5, 'row 30: parents and children of one transaction');
is(scalar @{ $org->rows(q{SELECT Id FROM CampaignMember WHERE Campaign.Name = 'Fair' AND Lead.Company = 'V'}) }, 5,
    'are so in the org');
is(calls_to_write(), 3, 'in one call for each object');
sync_now($node, 'acme');
same_all('after parents and children');

# The child is written first, and its parent afterwards.
hold($node);
sql($node, q{
    BEGIN;
    SELECT sync.provisional_id() AS parent \gset
    INSERT INTO acme.campaign (name, parentid) VALUES ('Child', :'parent');
    INSERT INTO acme.campaign (id, name) VALUES (:'parent', 'Parent of Child');
    COMMIT});
let_go($node);
is($org->rows(q{SELECT Parent.Name FROM Campaign WHERE Name = 'Child'})->[0]{Parent}{Name}, 'Parent of Child',
    'a child that was written before its parent');

# An existing row that is made to refer to a new one, and away from it again.
hold($node);
my $contact = sql($node, q{SELECT min(id) FROM acme.contact});
my ($boss) = sql($node, q{INSERT INTO acme.contact (lastname) VALUES ('Boss') RETURNING id});
sql($node, qq{UPDATE acme.contact SET reportstoid = '$boss' WHERE id = '$contact'});
let_go($node);
is(record_of($org, 'Contact', $contact, 'ReportsToId')->{ReportsToId}, resolved($boss),
    'an old row that refers to a new one');
is(sql($node, qq{SELECT reportstoid FROM acme.contact WHERE id = '$contact'}), resolved($boss), 'here, too');

# The parent gets its id between the child's commit and its turn.
hold($node);
($boss) = sql($node, q{INSERT INTO acme.contact (lastname) VALUES ('Earlier') RETURNING id});
let_go($node);
hold($node);
my $alive = sql_error($node, qq{
    INSERT INTO acme.contact (lastname, reportstoid) VALUES ('Stale', '$boss');
    SELECT 1 / 0});
sql($node, qq{INSERT INTO acme.contact (lastname, reportstoid) VALUES ('Stale', '$boss')});
let_go($node);
is($org->rows(q{SELECT ReportsTo.LastName FROM Contact WHERE LastName = 'Stale'})->[0]{ReportsTo}{LastName}, 'Earlier',
    'a child of a provisional id that has already become another');
sync_now($node, 'acme');
is(sql($node, q{SELECT count(*) FROM acme.contact WHERE reportstoid LIKE '~%'}), 0, 'and the row here says so');
same_all('after references to new rows');

# A tree within one object, deeper than one call is wide
hold($node);
sql($node, q{
    WITH RECURSIVE ids AS MATERIALIZED (
        SELECT i, sync.provisional_id() AS id FROM generate_series(1, 40) i)
    INSERT INTO acme.contact (id, lastname, reportstoid)
    SELECT c.id, 'Chain ' || c.i, p.id FROM ids c LEFT JOIN ids p ON p.i = c.i - 1 ORDER BY c.i DESC});
let_go($node, 'a chain of 40 has gone out');
is($org->count('Contact', q{LastName LIKE 'Chain %' AND ReportsToId <> null}), 39, 'each under the one before');
sync_now($node, 'acme');
same_all('after a chain');

#
# Circles
#

hold($node);
sql($node, q{
    WITH ids AS MATERIALIZED (SELECT i, sync.provisional_id() AS id FROM generate_series(1, 3) i)
    INSERT INTO acme.contact (id, lastname, reportstoid)
    SELECT c.id, 'Circle ' || c.i, p.id FROM ids c JOIN ids p ON p.i = c.i % 3 + 1;
    WITH own AS MATERIALIZED (SELECT sync.provisional_id() AS id)
    INSERT INTO acme.campaign (id, name, parentid) SELECT id, 'Own parent', NULL FROM own});
let_go($node, 'a circle has gone out');
is(scalar @{ $org->rows(q{SELECT Id FROM Contact WHERE LastName LIKE 'Circle %' AND ReportsTo.LastName LIKE 'Circle %'}) },
    3, 'a circle of three new rows');
is($org->count('Contact', q{LastName LIKE 'Circle %'}), 3, 'none of them twice');
sync_now($node, 'acme');
same_all('after a circle');
is(sql($node, q{SELECT count(*) FROM acme.contact a JOIN acme.contact b ON b.id = a.reportstoid
    WHERE a.lastname LIKE 'Circle %' AND b.lastname LIKE 'Circle %'}), 3, 'the circle is whole here');

# Two rows that refer to each other, and one that hangs on them; beside it one
# whose parent will never come.
hold($node);
sql($node, q{
    WITH ids AS MATERIALIZED (SELECT i, sync.provisional_id() AS id FROM generate_series(1, 3) i)
    INSERT INTO acme.contact (id, lastname, reportstoid)
    SELECT c.id, 'Pair ' || c.i, p.id FROM ids c JOIN ids p ON p.i = CASE c.i WHEN 1 THEN 2 WHEN 2 THEN 1 ELSE 2 END;
    INSERT INTO acme.contact (lastname, reportstoid) VALUES ('Orphan', '~88888888')});
sql($node, q{SELECT sync.resume('acme')});
wait_for($node, q{SELECT count(*) = 0 FROM sync.outbox WHERE changes::text LIKE '%Pair%'}, 'a pair goes out');
is($org->count('Contact', q{LastName LIKE 'Pair %' AND ReportsToId <> null}), 3, 'a pair and what hangs on it');
is($org->count('Contact', q{LastName = 'Orphan'}), 0, 'a child whose parent never comes does not go');
is(outbox($node, q{state = 'refused'}), 'insert {"lastname": [null, "Orphan"], "reportstoid": [null, "~88888888"]}',
    'visibly, and holds up nobody');
sql($node, q{UPDATE acme.contact SET reportstoid = NULL WHERE lastname = 'Orphan'});
went_out($node, 'until it is told to go alone');
is($org->count('Contact', q{LastName = 'Orphan'}), 1, 'a child that gave its parent up');

# Many circles at once are no more work than one.
hold($node);
sql($node, q{
    WITH ids AS MATERIALIZED (SELECT i, sync.provisional_id() AS id FROM generate_series(0, 399) i)
    INSERT INTO acme.contact (id, lastname, reportstoid)
    SELECT c.id, 'Couple ' || c.i, p.id FROM ids c JOIN ids p ON p.i = c.i # 1});
$org->calls_mark;
let_go($node, 'many circles go out');
is(scalar @{ $org->rows(q{SELECT Id FROM Contact WHERE LastName LIKE 'Couple %' AND ReportsTo.LastName LIKE 'Couple %'}) },
    400, 'each with its reference');
is(scalar(writes_of($org)), 3, 'in three calls: one half, the other half, the references of the first');
sync_now($node, 'acme');
same_all('after many circles');

# A parent that is deleted before it was sent
hold($node);
($boss) = sql($node, q{INSERT INTO acme.contact (lastname) VALUES ('Never') RETURNING id});
sql($node, qq{INSERT INTO acme.contact (lastname, reportstoid) VALUES ('Under Never', '$boss')});
sql($node, qq{DELETE FROM acme.contact WHERE id = '$boss'});
sql($node, q{UPDATE acme.contact SET reportstoid = NULL WHERE lastname = 'Under Never'});
let_go($node);
is($org->count('Contact', q{LastName IN ('Never', 'Under Never')}), 1, 'a parent that was deleted before it was sent');

#
# Users' own foreign keys
#

sql($node, q{
    CREATE TABLE public.follows (lead text REFERENCES acme.lead (id) ON UPDATE CASCADE, what text);
    CREATE TABLE public.blocks (lead text REFERENCES acme.lead (id), what text);
    CREATE TABLE public.later (lead text REFERENCES acme.lead (id) ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED)});
hold($node);
my ($follower) = sql($node, q{INSERT INTO acme.lead (lastname, company) VALUES ('Followed', 'F') RETURNING id});
sql($node, qq{INSERT INTO public.follows VALUES ('$follower', 'x'); INSERT INTO public.later VALUES ('$follower')});
let_go($node);
is(sql($node, q{SELECT lead FROM public.follows}), resolved($follower), 'a foreign key with ON UPDATE CASCADE follows');
is(sql($node, q{SELECT lead FROM public.later}), resolved($follower), 'a deferred one, too');

# One without blocks this row, and no other.
hold($node);
$org->calls_mark;
my ($blocked) = sql($node, q{INSERT INTO acme.lead (lastname, company) VALUES ('Blocked', 'B') RETURNING id});
my ($free) = sql($node, q{INSERT INTO acme.lead (lastname, company) VALUES ('Free', 'B') RETURNING id});
sql($node, qq{INSERT INTO public.blocks VALUES ('$blocked', 'x')});
sql($node, q{SELECT sync.resume('acme')});
wait_for($node, q{SELECT count(*) = 1 FROM sync.failures WHERE operation = 'replace'}, 'a foreign key without it is a failure');
is(sql($node, q{SELECT code, message ~ 'blocks_lead_fkey', hint ~ 'ON UPDATE CASCADE' FROM sync.failures}),
    '23503|t|t', 'which says what stands in the way, and what to do');
like(resolved($free), qr/^00Q/, 'the other row has its id');
is(sql($node, q{SELECT id FROM acme.lead WHERE lastname = 'Free'}), resolved($free), 'here, too');
is(resolved($blocked), sql($node, q{SELECT record FROM sync.failures WHERE operation = 'replace'}),
    'what the blocked one has become is known');
sync_now($node, 'acme') for 1 .. 3;
is($org->count('Lead', q{LastName = 'Blocked'}), 1, 'it is created once, however often it is tried');
is(sql($node, q{SELECT count(*) FROM acme.lead WHERE lastname = 'Blocked'}), 1, 'and there once');

# What is done to it meanwhile waits, and stops nobody.
sql($node, q{UPDATE acme.lead SET title = 'blocked, and changed' WHERE lastname = 'Blocked'});
sql($node, q{UPDATE acme.lead SET title = 'free, and changed' WHERE lastname = 'Free'});
wait_until('others go on', sub { $org->rows(q{SELECT Title FROM Lead WHERE LastName = 'Free'})->[0]{Title} });
sync_now($node, 'acme');
is(outbox($node), 'update {"title": [null, "blocked, and changed"]}', 'a change of the blocked row waits');
is(sql($node, q{SELECT string_agg(DISTINCT state, ',') FROM sync.status}), 'live', 'nothing else suffers');
sql($node, q{
    ALTER TABLE public.blocks DROP CONSTRAINT blocks_lead_fkey,
        ADD FOREIGN KEY (lead) REFERENCES acme.lead (id) ON UPDATE CASCADE});
sync_now($node, 'acme');
is(sql($node, q{SELECT lead FROM public.blocks}), resolved($blocked), 'it is retried, and follows when it can');
is(failures_of($node), '', 'and the failure is over');
went_out($node, 'everything has gone out');
is($org->rows(q{SELECT Title FROM Lead WHERE LastName = 'Blocked'})->[0]{Title}, 'blocked, and changed',
    'and what waited goes out under its new id');
sync_now($node, 'acme');
same_all('after foreign keys');
is($org->count('Lead', q{LastName = 'Blocked'}), 1, 'still once');

# A row that somebody has locked takes its id later.
hold($node);
my ($held) = sql($node, q{INSERT INTO acme.lead (lastname, company) VALUES ('Held', 'H') RETURNING id});
my $user = $node->background_psql('postgres');
$user->query_safe(qq{BEGIN; UPDATE acme.lead SET title = 'in the middle' WHERE id = '$held'});
sql($node, q{SELECT sync.resume('acme')});
wait_for($node, qq{SELECT sync.resolve('$held') IS NOT NULL}, 'a row that is being written to goes out as it was');
sql($node, q{INSERT INTO acme.lead (lastname, company) VALUES ('Meanwhile', 'H')});
wait_until('others go on meanwhile', sub { $org->count('Lead', q{LastName = 'Meanwhile'}) == 1 });
$user->query_safe('COMMIT');
$user->quit;
sync_now($node, 'acme');
went_out($node, 'everything has gone out');
is(record_of($org, 'Lead', resolved($held), 'Title')->{Title}, 'in the middle', 'what was being written follows');
is($org->count('Lead', q{LastName = 'Held'}), 1, 'and nothing is created twice');

# One that is deleted by a transaction that is still open when its id comes.
hold($node);
my ($gone) = sql($node, q{INSERT INTO acme.lead (lastname, company) VALUES ('Gone', 'G') RETURNING id});
$user = $node->background_psql('postgres');
$user->query_safe(qq{BEGIN; DELETE FROM acme.lead WHERE id = '$gone'});
sql($node, q{SELECT sync.resume('acme')});
wait_for($node, qq{SELECT sync.resolve('$gone') IS NOT NULL}, 'a row that is being deleted goes out');
$user->query_safe('COMMIT');
$user->quit;
sync_now($node, 'acme');
went_out($node, 'and so does its deletion');
sync_now($node, 'acme');
is(record_of($org, 'Lead', resolved($gone), 'IsDeleted')->{IsDeleted}, JSON::PP::true,
    'row 9: a row that was deleted in between is deleted in the org');
is(sql($node, q{SELECT count(*) FROM acme.lead WHERE lastname = 'Gone'}), 0, 'and does not come back');

#
# Upserts by an external id
#

{
    sql($node, q{SELECT sync.set('acme', 'CampaignMember', 'external_id', 'Ext__c')});
    hold($node);
    sql($node, q{
        INSERT INTO acme.campaignmember (campaignid, leadid, ext__c)
        SELECT c.id, l.id, 'ext-1' FROM acme.campaign c, acme.lead l WHERE c.name = 'Fair' AND l.lastname = 'Held'});
    $org->calls_mark;
    let_go($node);
    is(scalar(grep { $_->{path} =~ m{/composite/sobjects/CampaignMember/Ext__c} } $org->calls), 1,
        'a create with an external id is an upsert');
    is($org->count('CampaignMember', q{Ext__c = 'ext-1'}), 1, 'of one record');
}

sync_now($node, 'acme');
same_all('in the end');
is(sql($node, join ' UNION ALL ', map { "SELECT id FROM acme.$_ WHERE id LIKE '~%'" } qw(lead contact campaign campaignmember)),
    '', 'nothing provisional is left');
is(sql($node, 'SELECT count(*) FROM sync.local_id WHERE NOT replaced'), 0, 'nothing waits for its id');
done_testing();
