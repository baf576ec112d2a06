
# Changes that are given up: sync.discard, also while they are being sent, of rows
# that Salesforce does not know and of records that are gone; and those of an
# object whose direction is set to from.

use strict;
use warnings FATAL => 'all';
use SyncTest;
use Test::More;
use WayOut;

my ($org, $node) = two_way(leads => 20, contacts => 10, accounts => 3, objects => [qw(Lead Contact)]);
my @leads = split /\n/, sql($node, 'SELECT id FROM acme.lead WHERE NOT isconverted ORDER BY id');

sub seq_of { return sql($node, "SELECT max(seq) FROM sync.outbox WHERE record = '$_[0]'") }

# Being looked at, or being sent: it waits for the sender, and one of both holds.
foreach my $where ({ kind => 'query' }, { kind => 'collections' })
{
    my $id = shift @leads;
    my $was = record_of($org, 'Lead', $id, 'Title')->{Title} // '';
    hold($node);
    sql($node, qq{UPDATE acme.lead SET title = 'discarded?' WHERE id = '$id'});
    my $seq = seq_of($id);
    my $fault = $org->fault($where, { delay => 2 }, times => 1);
    sql($node, q{SELECT sync.resume('acme')});
    wait_until("an answer to $where->{kind} is held back", sub { ($org->hits($fault) // 1) > 0 });
    my ($status, $out, $err) = $node->psql('postgres', "SELECT sync.discard($seq)");
    went_out($node, '... nothing waits any more');
    sync_now($node, 'acme');
    my $is = record_of($org, 'Lead', $id, 'Title')->{Title} // '';
    is($is, $status == 0 ? $was : 'discarded?', '... ' . ($status == 0 ? 'discarded' : 'refused to discard') . ', and so it is there');
    is(sql($node, qq{SELECT coalesce(title, '') FROM acme.lead WHERE id = '$id'}), $is, '... and here');
    $org->no_faults;
}

# Given up in a transaction that is still open: not sent meanwhile, others are.
{
    my ($id) = splice @leads, 0, 1;
    my ($contact) = split /\n/, sql($node, 'SELECT id FROM acme.contact ORDER BY id');
    hold($node);
    sql($node, qq{UPDATE acme.lead SET title = 'open' WHERE id = '$id'});
    my $seq = seq_of($id);
    my $session = $node->background_psql('postgres', on_error_die => 1);
    $session->query_safe("BEGIN; SELECT sync.discard($seq)");
    sql($node, qq{UPDATE acme.contact SET title = 'beside' WHERE id = '$contact'; SELECT sync.resume('acme')});
    wait_for($node, q{SELECT count(*) = 0 FROM sync.outbox WHERE object = 'Contact'}, 'another object goes out');
    isnt(record_of($org, 'Lead', $id, 'Title')->{Title}, 'open', '... what is being given up does not');
    $session->query_safe('ROLLBACK');
    $session->quit;
    went_out($node, '... until that is rolled back');
    is(record_of($org, 'Lead', $id, 'Title')->{Title}, 'open', '... and then it does');
}

# Rows that Salesforce does not know
hold($node);
my $new = sql($node, q{INSERT INTO acme.lead (lastname, company, title, isunreadbyowner, annualrevenue) VALUES ('New', 'x', 'one', true, 12.5) RETURNING id});
sql($node, qq{UPDATE acme.lead SET title = 'two', city = 'Ulm', isunreadbyowner = false, annualrevenue = 7 WHERE id = '$new'});
my $update = seq_of($new);
sql($node, qq{UPDATE acme.lead SET city = 'Bonn' WHERE id = '$new'});
sql($node, "SELECT sync.discard($update)");
is(sql($node, qq{SELECT title, city, isunreadbyowner, annualrevenue FROM acme.lead WHERE id = '$new'}), 'one|Bonn|t|12.5',
    'an update of a new row: what it changed goes back, what was changed later stays');
my $gone = sql($node, q{INSERT INTO acme.lead (lastname, company) VALUES ('Gone', 'x') RETURNING id});
sql($node, qq{UPDATE acme.lead SET title = 'x' WHERE id = '$gone'});
sql($node, qq{SELECT sync.discard(min(seq)) FROM sync.outbox WHERE record = '$gone'});
is(sql($node, qq{SELECT (SELECT count(*) FROM acme.lead WHERE id = '$gone') + (SELECT count(*) FROM sync.outbox WHERE record = '$gone')}), 0,
    'an insert: the row and all its changes');
my $deleted = sql($node, q{INSERT INTO acme.lead (lastname, company) VALUES ('Deleted', 'x') RETURNING id});
sql($node, qq{DELETE FROM acme.lead WHERE id = '$deleted'});
sql($node, 'SELECT sync.discard(' . seq_of($deleted) . ')');
let_go($node, 'the rest goes out');
is($org->count('Lead', q{LastName = 'New' AND Title = 'one' AND City = 'Bonn'}), 1, 'the new row as it is');
is($org->count('Lead', q{LastName IN ('Gone', 'Deleted')}), 0, 'and not the others');
sync_now($node, 'acme');
is(sql($node, q{SELECT count(*) FROM sync.failures}), 0, 'nothing fails');

# Its id came meanwhile, but the row could not take it yet.
{
    hold($node);
    my $id = sql($node, q{INSERT INTO acme.lead (lastname, company) VALUES ('Late', 'x') RETURNING id});
    my $session = $node->background_psql('postgres', on_error_die => 1);
    sql($node, 'CREATE TABLE public.ref (id text REFERENCES acme.lead ON UPDATE CASCADE)');
    $session->query_safe("BEGIN; INSERT INTO public.ref VALUES ('$id')");
    sql($node, q{SELECT sync.resume('acme')});
    wait_for($node, qq{SELECT count(*) = 1 FROM sync.local_id WHERE provisional = '$id'}, 'a record is there, its row waits');
    hold($node);
    sql($node, qq{UPDATE acme.lead SET title = 'given up' WHERE id = '$id'});
    sql($node, 'SELECT sync.discard(' . seq_of($id) . ')');
    $session->query_safe('ROLLBACK');
    $session->quit;
    let_go($node);
    wait_for($node, q{SELECT count(*) = 1 FROM acme.lead WHERE lastname = 'Late' AND id NOT LIKE '~%' AND title IS NULL}, '... and goes back to what the record is');
    sql($node, 'DROP TABLE public.ref');
    wait_for($node, q{SELECT count(*) = 0 FROM sync.failures}, '... nothing fails');
}

# A record that is gone: deleted, or purged, or hidden
foreach my $how (qw(delete purge))
{
    my ($id, $other) = splice @leads, 0, 2;
    $org->fault({ record => $id }, { record_error => { statusCode => 'FIELD_CUSTOM_VALIDATION_EXCEPTION', message => 'not so' } });
    sql($node, qq{UPDATE acme.lead SET title = 'refused' WHERE id = '$id'});
    wait_for($node, q{SELECT count(*) = 1 FROM sync.outbox WHERE state = 'refused'}, 'a change is refused');
    $org->no_faults;
    my $seq = seq_of($id);
    $org->delete('Lead', $id);
    $org->dml(op => 'purge', object => 'Lead', records => [$id]) if $how eq 'purge';
    sql($node, "SELECT sync.discard($seq)");
    wait_for($node, qq{SELECT count(*) = 0 FROM acme.lead WHERE id = '$id'}, "its record is gone ($how): so is the row");
    wait_for($node, q{SELECT count(*) = 0 FROM sync.failures}, '... and nothing fails');
    $org->update('Lead', { Id => $other, Title => "beside $how" });
    sync_now($node, 'acme');
    is(sql($node, qq{SELECT title FROM acme.lead WHERE id = '$other'}), "beside $how", '... others go on');
}

# What has no form of an id stops nothing.
sql($node, q{INSERT INTO sync.failures (server, object, operation, record, code, message, last_seen)
    SELECT 'acme', 'Lead', 'pull', r, 'DISCARDED', 'x', '-infinity' FROM unnest(ARRAY['~7', 'x''y', '00Q', '00Qzzzzzzzzzzzzzzz']) r});
my ($last) = splice @leads, 0, 1;
$org->update('Lead', { Id => $last, Title => 'with odd ids' });
sync_now($node, 'acme');
is(sql($node, qq{SELECT title FROM acme.lead WHERE id = '$last'}), 'with odd ids', 'ids of no form stop nothing');
is(sql($node, q{SELECT state FROM sync.status WHERE object = 'Lead'}), 'live', '... the object is live');
sql($node, q{DELETE FROM sync.failures});
like(sql_error($node, 'SELECT sync.discard(0)'), qr/42704.*no change 0/s, 'one that is not there');

# Direction
my ($one, $two) = splice @leads, 0, 2;
hold($node);
sql($node, qq{UPDATE acme.lead SET title = 'aside' WHERE id = '$one'; UPDATE acme.lead SET title = 'aside' WHERE id = '$two';
    INSERT INTO acme.lead (lastname, company) VALUES ('Aside', 'x')});
my ($status, $out, $err) = $node->psql('postgres', q{SELECT sync.set('acme', 'Lead', 'direction', 'from')});
like($err, qr/NOTICE:\s+3 changes of Lead that wait are set aside/, 'direction from: what waits is set aside');
sql($node, q{SELECT sync.resume('acme')});
sync_now($node, 'acme');
isnt(record_of($org, 'Lead', $one, 'Title')->{Title}, 'aside', '... and not sent');
is($org->count('Lead', q{LastName = 'Aside'}), 0, '... new rows neither');
is(sql($node, q{SELECT count(*) FROM sync.failures WHERE code = 'DIRECTION'}), 3, '... but told');
is(sql($node, q{SELECT string_agg(DISTINCT state, ',') FROM sync.outbox}), 'refused', '... and kept');
($status, $out, $err) = $node->psql('postgres', q{SELECT sync.retry('acme', 'Lead')});
like("$out $err", qr/^0.*direction is from/s, '... sync.retry says why it does nothing');
sql($node, 'SELECT sync.discard(' . seq_of($two) . ')');
wait_for($node, qq{SELECT title IS DISTINCT FROM 'aside' FROM acme.lead WHERE id = '$two'}, '... one is given up');
sql($node, q{SELECT sync.set('acme', 'Lead', 'direction', 'both'); SELECT sync.retry('acme', 'Lead')});
went_out($node, 'direction both and sync.retry: they go out');
is(record_of($org, 'Lead', $one, 'Title')->{Title}, 'aside', '... the update');
is($org->count('Lead', q{LastName = 'Aside'}), 1, '... the new row');
is(sql($node, q{SELECT count(*) FROM sync.failures}), 0, '... and nothing is told any more');

# While the table is in use sync.set does not stop everybody.
my $session = $node->background_psql('postgres', on_error_die => 1);
$session->query_safe('BEGIN; SELECT count(*) FROM acme.lead');
like(sql_error($node, q{SELECT sync.set('acme', 'Lead', 'direction', 'from')}), qr/55P03/, 'sync.set waits for a lock for a moment only');
$session->quit;

# Who listens learns ids and codes, and no values.
{
    my $listener = $node->background_psql('postgres', on_error_die => 1);
    $listener->query_safe('LISTEN sync');
    my ($id, $clash) = splice @leads, 0, 2;
    $org->fault({ record => $id }, { record_error => { statusCode => 'FIELD_CUSTOM_VALIDATION_EXCEPTION', message => 'TopSecret is not so' } }, times => 1);
    sql($node, qq{UPDATE acme.lead SET title = 'TopSecret' WHERE id = '$id'});
    wait_for($node, q{SELECT count(*) = 1 FROM sync.outbox WHERE state = 'refused'}, 'a change is refused');
    sql($node, q{CREATE UNIQUE INDEX one ON acme.lead (website) WHERE website = 'TopSecret'});
    sql($node, q{ALTER TABLE acme.contact ADD CONSTRAINT no_secret CHECK (title <> 'TopSecret')});
    $org->update('Lead', { Id => $id, Website => 'TopSecret' }, { Id => $clash, Website => 'TopSecret' });
    sync_now($node, 'acme');
    $org->fault({ kind => 'composite' }, { status => 400, body => '[{"errorCode":"TopSecret code","message":"TopSecret"}]' }, times => 3);
    $node->psql('postgres', q{SELECT * FROM sync.now('acme')});
    $org->no_faults;
    $node->psql('postgres', q{SELECT * FROM sync.now('acme')});
    my $told = $listener->query('SELECT 1');
    like($told, qr/FIELD_CUSTOM_VALIDATION_EXCEPTION/, 'who listens learns of a refusal by its code');
    like($told, qr/$id/, '... and its id');
    unlike($told, qr/TopSecret/, '... and no values');
    $listener->quit;
}

# Other encodings
foreach my $encoding (qw(LATIN1 SQL_ASCII))
{
    my $db = lc $encoding;
    sql($node, "CREATE DATABASE $db ENCODING '$encoding' TEMPLATE template0 LOCALE 'C'");
    $node->safe_psql($db, 'CREATE EXTENSION sync');
    connect_org($node, $org, 'acme', db => $db);
    like(sql_error($node, q{SELECT sync.enable('acme', ARRAY['Lead'])}, db => $db), qr/0A000.*encoding $encoding cannot be synced.*UTF8/s,
        "$encoding is refused");
    is($node->safe_psql($db, q{SELECT status FROM sync.check('acme') WHERE item = 'encoding'}), 'error', '... and sync.check says so');
}
done_testing();
