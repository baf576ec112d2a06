
# What is caught of local writes, and what is refused at once: the changed
# columns with old and new values, with the transaction and never without it,
# whatever statement made them; and who wrote.
#
# Of what users of other syncs suffer (rows of the list of pains): 10, fields
# that nobody meant to write are overwritten; 29, users' triggers are not
# supported; 30, TRUNCATE is lost.

use strict;
use warnings;
use SyncTest;
use Test::More;
use WayOut;

my ($org, $node) = two_way(leads => 40, contacts => 30, accounts => 10, campaigns => 3,
    objects => [qw(Lead Contact Account Campaign CampaignMember)],
    conf => 'max_prepared_transactions = 4');
my @leads = split /\n/, sql($node, 'SELECT id FROM acme.lead ORDER BY id');

sub clear { sql($node, 'DELETE FROM sync.change') }

# Runs statements, and returns what they left in the outbox.
sub caught
{
    my ($statements) = @_;

    clear();
    sql($node, $statements);
    return outbox($node);
}

sub refused
{
    my ($statement, $sqlstate, $message, $more, $name) = @_;
    my $error = sql_error($node, $statement);

    like($error, qr/ERROR:\s+$sqlstate: $message/, $name);
    like($error, $more, '... and says why') if $more;
    return;
}

hold($node);
sql($node, qq{UPDATE acme.lead SET title = 'was', phone = NULL, city = 'Ulm' WHERE id = '$leads[0]'});

#
# What is caught
#

is(caught(qq{UPDATE acme.lead SET title = 'is', city = 'Ulm' WHERE id = '$leads[0]'}),
    'update {"title": ["was", "is"]}', 'row 10: only the columns that changed are caught');
is(caught(qq{UPDATE acme.lead SET title = title, city = 'Ulm', phone = NULL WHERE id = '$leads[0]'}),
    '', 'a write that changes nothing leaves nothing');
is(caught(q{INSERT INTO acme.lead (lastname, company) VALUES ('Diaz', 'Initech')}),
    'insert {"company": [null, "Initech"], "lastname": [null, "Diaz"]}',
    'a new row has what was given');
like(caught(qq{DELETE FROM acme.lead WHERE id = '$leads[1]'}), qr/^delete \{.*"lastname": \["[^"]+", null\]/,
    'a deleted row has all that it had');
is(caught(qq{BEGIN; UPDATE acme.lead SET title = 'no' WHERE id = '$leads[0]'; ROLLBACK}),
    '', 'nothing of a transaction that was rolled back');
like(sql($node, q{SELECT col_description(attrelid, attnum) FROM pg_attribute
    WHERE attrelid = 'acme.lead'::regclass AND attname = 'local_id'}), qr/keeps/, 'local_id says what it is for');
is(sql($node, qq{SELECT local_id IS NOT NULL AND local_id = (SELECT local_id FROM acme.lead WHERE id = '$leads[0]')
    FROM sync.outbox WHERE record = '$leads[0]' UNION SELECT true}), 't', 'with the id that never changes');

# Subtransactions
is(caught(qq{
    BEGIN;
    UPDATE acme.lead SET title = 'one' WHERE id = '$leads[0]';
    SAVEPOINT a;
    UPDATE acme.lead SET title = 'two' WHERE id = '$leads[0]';
    SAVEPOINT b;
    UPDATE acme.lead SET city = 'Bonn' WHERE id = '$leads[0]';
    RELEASE b;
    ROLLBACK TO a;
    UPDATE acme.lead SET city = 'Kiel' WHERE id = '$leads[0]';
    COMMIT}),
    qq{update {"title": ["is", "one"]}\nupdate {"city": ["Ulm", "Kiel"]}},
    'nothing of a subtransaction that was rolled back');
is(caught(qq{
    DO \$\$
    BEGIN
        BEGIN
            UPDATE acme.lead SET title = 'lost' WHERE id = '$leads[0]';
            RAISE division_by_zero;
        EXCEPTION WHEN division_by_zero THEN
            UPDATE acme.lead SET title = 'kept' WHERE id = '$leads[0]';
        END;
    END \$\$}), 'update {"title": ["one", "kept"]}', 'nor of a block that failed');

# COPY, ON CONFLICT, MERGE, writable CTEs
is(caught("COPY acme.lead (lastname, company, title) FROM STDIN;\nA\tX\t\\N\nB\tY\tBoss\n\\.\n"),
    qq{insert {"company": [null, "X"], "lastname": [null, "A"]}\n}
      . q{insert {"title": [null, "Boss"], "company": [null, "Y"], "lastname": [null, "B"]}}, 'COPY');
is(caught(qq{
    INSERT INTO acme.lead (id, lastname, company, title) VALUES ('$leads[0]', 'x', 'x', 'upserted')
    ON CONFLICT (id) DO UPDATE SET title = excluded.title}), 'update {"title": ["kept", "upserted"]}',
    'ON CONFLICT that updates');
is(caught(qq{
    INSERT INTO acme.lead (id, lastname, company) VALUES ('$leads[0]', 'x', 'x') ON CONFLICT DO NOTHING}),
    '', 'ON CONFLICT that does nothing');
SKIP:
{
    skip 'this server has no MERGE', 1
      if sql($node, 'SHOW server_version_num') < 150000;
    is(caught(qq{
        MERGE INTO acme.lead l USING (VALUES ('$leads[0]', 'merged'), ('none', 'new')) v (id, t) ON l.id = v.id
        WHEN MATCHED THEN UPDATE SET title = v.t
        WHEN NOT MATCHED THEN INSERT (lastname, company, title) VALUES ('M', 'M', v.t)}),
        qq{update {"title": ["upserted", "merged"]}\n}
          . q{insert {"title": [null, "new"], "company": [null, "M"], "lastname": [null, "M"]}}, 'MERGE');
}
clear();

# Two-phase commit: with the transaction, and nothing of it is left in the session.
clear();
sql($node, qq{
    BEGIN;
    UPDATE acme.lead SET title = 'prepared' WHERE id = '$leads[0]';
    PREPARE TRANSACTION 'p';
    SELECT count(*) FROM acme.lead, acme.contact;
    DO 'BEGIN PERFORM string_agg(lastname, company) FROM acme.lead; END';
    BEGIN; UPDATE acme.lead SET title = 'other' WHERE id = '$leads[2]'; COMMIT});
is(outbox($node, "record = '$leads[0]'"), '', 'a prepared transaction is not seen yet');
sql($node, q{COMMIT PREPARED 'p'});
like(outbox($node, "record = '$leads[0]'"), qr/prepared/, 'and is when it commits');

# Whoever commits it knows nothing of the worker, which finds it all the same,
# long before it would have looked by itself.
clear();
sql($node, qq{BEGIN; UPDATE acme.lead SET title = 'by another' WHERE id = '$leads[0]'; PREPARE TRANSACTION 'q'});
sql($node, q{SELECT sync.resume('acme')});
sync_now($node, 'acme');
wait_for($node, qq{SELECT state = 'idle' FROM pg_stat_activity WHERE backend_type = 'sync worker'}, 'the worker has gone to sleep');
my $committed = time;
sql($node, q{COMMIT PREPARED 'q'});
went_out($node, 'what was prepared goes out');
cmp_ok(time - $committed, '<', 30, '... soon');
hold($node);

# A transaction that sees an older state captures by what the table is now, and
# so does what follows in its session.
{
    my $session = $node->background_psql('postgres', on_error_die => 1);
    $session->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM sync.field');
    sql($node, q{SELECT sync.resume('acme')});
    $org->post('/schema', { add_field => { object => 'Lead', name => 'Later__c', type => 'string', length => 40, label => 'Later' } });
    sql($node, q{SELECT sync.set('acme', 'Lead', 'fields', NULL)});
    sync_now($node, 'acme');
    hold($node);
    clear();
    $session->query_safe(qq{UPDATE acme.lead SET later__c = 'in the old' WHERE id = '$leads[3]'; COMMIT});
    $session->query_safe(qq{UPDATE acme.lead SET later__c = 'after it' WHERE id = '$leads[4]'});
    $session->quit;
    is(outbox($node), qq{update {"later__c": [null, "in the old"]}\nupdate {"later__c": [null, "after it"]}},
        'a column that came while a transaction had its snapshot');
}
clear();

# Deferred constraints: the change goes with the row when the check fails at commit.
sql($node, q{
    CREATE TABLE public.boss (lead text PRIMARY KEY);
    ALTER TABLE acme.lead ADD COLUMN boss text REFERENCES public.boss DEFERRABLE INITIALLY DEFERRED});
clear();
like(sql_error($node, qq{
    BEGIN; UPDATE acme.lead SET title = 'deferred', boss = 'nobody' WHERE id = '$leads[0]'; COMMIT}),
    qr/23503/, 'a deferred constraint fails');
is(outbox($node), '', 'and nothing was caught');
is(caught(qq{
    BEGIN;
    UPDATE acme.lead SET title = 'deferred', boss = 'somebody' WHERE id = '$leads[0]';
    INSERT INTO public.boss VALUES ('somebody');
    COMMIT}), 'update {"title": ["by another", "deferred"]}', 'but is when it holds; a user\'s own column is not');
sql($node, qq{UPDATE acme.lead SET boss = NULL; ALTER TABLE acme.lead DROP COLUMN boss; DROP TABLE public.boss});

# No setting of the session keeps a change from being caught.
is(caught(qq{SET session_replication_role = replica; UPDATE acme.lead SET title = 'replica' WHERE id = '$leads[0]'}),
    'update {"title": ["deferred", "replica"]}', 'session_replication_role = replica');
if (sql($node, 'SHOW server_version_num') >= 150000)
{
    like(sql_error($node, q{SET sync.applying = on}), qr/ERROR/, 'there is no setting that says who writes');
}
else
{
    # Any name with a dot can be set there.
    is(caught(qq{SET sync.applying = on; UPDATE acme.lead SET title = 'setting' WHERE id = '$leads[0]'}),
        'update {"title": ["replica", "setting"]}', 'a setting does not say who writes');
}

# All types, as the JSON that Salesforce takes.
my $unread = sql($node, qq{SELECT isunreadbyowner FROM acme.lead WHERE id = '$leads[0]'}) eq 't' ? 'true' : 'false';
my $read = $unread eq 'true' ? 'false' : 'true';
sql($node, qq{UPDATE acme.lead SET annualrevenue = 1, numberofemployees = NULL, email = NULL WHERE id = '$leads[0]'});
is(caught(qq{UPDATE acme.lead SET annualrevenue = 12345.50, numberofemployees = 7,
        email = E'a"b\\\\c\@d.example', isunreadbyowner = $read WHERE id = '$leads[0]'}),
    q!update {"email": [null, "a\"b\\\\c@d.example"], "annualrevenue": [1, 12345.50], "isunreadbyowner": !
      . qq![$unread, $read], "numberofemployees": [null, 7]}!, 'values as JSON');

#
# What is refused at once
#

refused('TRUNCATE acme.lead', '55000', 'table "acme.lead" cannot be truncated', qr/HINT:\s+DELETE the rows/,
    'row 30: TRUNCATE is refused');
refused('TRUNCATE acme.account, acme.contact', '55000', 'table', undef, 'also with others, or of a table that is kept');
sql($node, 'CREATE TABLE public.parent (id text PRIMARY KEY); '
      . 'ALTER TABLE acme.lead ADD COLUMN parent text REFERENCES public.parent');
refused('TRUNCATE public.parent CASCADE', '55000', 'table "acme.lead" cannot be truncated', undef,
    'also when it comes from another table');
sql($node, 'ALTER TABLE acme.lead DROP COLUMN parent; DROP TABLE public.parent');

for my $statement (q{INSERT INTO acme.account (id, name) VALUES ('001', 'x')}, q{UPDATE acme.account SET name = 'x'},
    'DELETE FROM acme.account')
{
    refused($statement, '55000', 'table "acme.account" is kept by sync from Salesforce', qr/HINT:/,
        'a table that comes from Salesforce only');
}
refused(q{INSERT INTO acme.lead (id, lastname, company) VALUES ('00Q000000000001AAA', 'x', 'y')}, '42501',
    'column "id" of table "acme.lead" cannot be written', qr/Salesforce gives ids/, 'an id of Salesforce\'s form');
refused(q{INSERT INTO acme.lead (id, lastname, company) VALUES ('7', 'x', 'y')}, '42501',
    'column "id" of table "acme.lead" cannot be written', undef, 'an id of another form');
refused(qq{UPDATE acme.lead SET id = '~999999' WHERE id = '$leads[0]'}, '42501',
    'column "id" of table "acme.lead" cannot be written', undef, 'another id for a row');
refused(qq{UPDATE acme.lead SET local_id = local_id + 1000000 WHERE id = '$leads[0]'}, '42501',
    'column "local_id" of table "acme.lead" cannot be written', qr/as long as the row exists/, 'another local_id');
refused(qq{UPDATE acme.lead SET createddate = now() WHERE id = '$leads[0]'}, '42501',
    'column "createddate" of table "acme.lead" cannot be changed', qr/does not let this login change/,
    'a column that is read-only in Salesforce');
refused(q{INSERT INTO acme.lead (lastname, company, convertedcontactid) VALUES ('x', 'y', '003000000000001AAA')},
    '42501', 'column "convertedcontactid" of table "acme.lead" cannot be given in a new row', qr/Leave the column out/,
    'the same in a new row');
refused(q{UPDATE acme.campaignmember SET campaignid = '701000000000001AAA'}, '42501',
    'column "campaignid" of table "acme.campaignmember" cannot be changed', undef,
    'a column that can only be given in a new row');
refused(q{INSERT INTO acme.lead (lastname) VALUES ('x')}, '23502',
    'column "company" of table "acme.lead" must have a value', qr/Salesforce requires the field of a Lead/,
    'a required field without a value');
refused(q{INSERT INTO acme.lead (lastname, company) VALUES ('x', '')}, '23502',
    'column "company" of table "acme.lead" must have a value', undef, 'or with an empty one');
refused(qq{UPDATE acme.lead SET lastname = NULL WHERE id = '$leads[0]'}, '23502',
    'column "lastname" of table "acme.lead" must have a value', undef, 'or that loses its value');
refused(qq{UPDATE acme.lead SET firstname = repeat('x', 41) WHERE id = '$leads[0]'}, '22001',
    'value too long for column "firstname" of table "acme.lead"', qr/It has 41 characters; Salesforce holds 40/,
    'a text that is too long');
sql($node, qq{UPDATE acme.lead SET firstname = repeat(U&'\\00fc', 40) WHERE id = '$leads[0]'});
is(sql($node, qq{SELECT length(firstname) FROM acme.lead WHERE id = '$leads[0]'}), 40,
    'characters are counted, not bytes');
refused(qq{UPDATE acme.lead SET numberofemployees = 123456789 WHERE id = '$leads[0]'}, '22003',
    'value out of range for column "numberofemployees" of table "acme.lead"', qr/8 digits before the decimal point/,
    'a number that is too large');
refused(qq{UPDATE acme.lead SET annualrevenue = 1e18 WHERE id = '$leads[0]'}, '22003',
    'value out of range for column "annualrevenue"', qr/18 digits/, 'a currency that is too large');
refused(qq{UPDATE acme.lead SET annualrevenue = 'NaN' WHERE id = '$leads[0]'}, '22003',
    'value out of range for column "annualrevenue"', qr/Salesforce has no NaN/, 'a number that is none');
refused(q{INSERT INTO acme.campaign (name, startdate) VALUES ('x', 'infinity')}, '22008', 'date out of range', undef,
    'a date that never comes');
like(sql_error($node, q{COPY acme.lead (lastname, company, firstname) FROM PROGRAM 'printf "x\ty\t%050d\n" 1'}),
    qr/22001/, 'COPY is checked, too');

# An older value may be longer than the org allows today: only new ones are judged.
$org->post('/schema', { change_field => { object => 'Lead', name => 'Title', length => 5 } });
sql($node, q{SELECT sync.resume('acme')});
sql($node, qq{UPDATE acme.lead SET title = 'in time' WHERE id = '$leads[3]'});
wait_for($node, q{SELECT count(*) = 0 FROM sync.outbox WHERE state = 'waiting'}, 'sent');
hold($node);
$org->post('/schema', { change_field => { object => 'Lead', name => 'Title', length => 128 } });

#
# Who wrote
#

# A user's trigger can tell, and what it writes itself is a write like any other.
sql($node, q{
    SELECT sync.discard(seq) FROM sync.outbox WHERE state = 'refused';
    CREATE TABLE public.seen (id text, op text, applying boolean);
    CREATE FUNCTION public.note() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO public.seen VALUES (NEW.id, TG_OP, sync.applying());
        RETURN NULL;
    END $$;
    CREATE TRIGGER note AFTER INSERT OR UPDATE ON acme.lead FOR EACH ROW EXECUTE FUNCTION public.note();
    CREATE FUNCTION public.mirror() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE acme.contact SET description = 'lead ' || NEW.lastname
        WHERE id = (SELECT min(id) FROM acme.contact);
        RETURN NULL;
    END $$;
    CREATE TRIGGER mirror AFTER UPDATE OF title ON acme.lead FOR EACH ROW
        WHEN (sync.applying()) EXECUTE FUNCTION public.mirror();
    GRANT INSERT ON public.seen TO PUBLIC});
let_go($node);
sync_now($node, 'acme');
hold($node);
sql($node, 'TRUNCATE public.seen');
my $contact = sql($node, 'SELECT min(id) FROM acme.contact');
$org->update('Lead', { Id => $leads[5], Title => 'from the org' });
sync_now($node, 'acme');
is(sql($node, qq{SELECT DISTINCT op, applying FROM public.seen WHERE id = '$leads[5]'}), 'UPDATE|t',
    'row 29: a user\'s trigger fires for what comes in, and can tell');
is(outbox($node, q{object = 'Lead'}), '', 'what came in is not caught');
like(outbox($node, q{object = 'Contact'}), qr/^update \{"description": \[.*"lead /,
    'what the trigger writes to another table is');
sql($node, qq{UPDATE acme.lead SET title = 'by hand' WHERE id = '$leads[6]'});
is(sql($node, qq{SELECT op, applying FROM public.seen WHERE id = '$leads[6]'}), 'UPDATE|f',
    'and for a user\'s write it says so');
is(sql($node, q{SELECT sync.applying()}), 'f', 'nobody is applying otherwise');
let_go($node, 'the trigger\'s write goes out');
like(record_of($org, 'Contact', $contact, 'Description')->{Description}, qr/^lead /, 'and reaches the org');

# One that fails in a block of its own does not make the rest look like a user's write.
sql($node, q{
    CREATE OR REPLACE FUNCTION public.mirror() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        BEGIN
            UPDATE acme.contact SET lastname = NULL WHERE id = (SELECT min(id) FROM acme.contact);
        EXCEPTION WHEN not_null_violation THEN
            INSERT INTO public.seen VALUES (NEW.id, 'caught', sync.applying());
        END;
        RETURN NULL;
    END $$});
hold($node);
$org->update('Lead', map { { Id => $_, Title => 'again' } } @leads[7 .. 9]);
sync_now($node, 'acme');
is(sql($node, qq{SELECT count(DISTINCT id), bool_and(applying) FROM public.seen
    WHERE op = 'caught' AND id IN ('$leads[7]', '$leads[8]', '$leads[9]')}), '3|t',
    'a trigger that fails in a block of its own');
is(outbox($node), '', 'leaves nothing behind');

# What foreign keys make of a write of a trigger's is the trigger's, too.
my ($boss, $report) = split /\n/, sql($node, 'SELECT id FROM acme.contact ORDER BY id DESC LIMIT 2');
$org->update('Contact', { Id => $report, ReportsToId => $boss });
sync_now($node, 'acme');
sql($node, qq{
    ALTER TABLE acme.contact ADD CONSTRAINT boss FOREIGN KEY (reportstoid) REFERENCES acme.contact ON DELETE CASCADE NOT VALID;
    CREATE OR REPLACE FUNCTION public.mirror() RETURNS trigger LANGUAGE plpgsql AS \$\$
    BEGIN
        DELETE FROM acme.contact WHERE id = '$boss';
        RETURN NULL;
    END \$\$});
$org->update('Lead', { Id => $leads[10], Title => 'deletes' });
sync_now($node, 'acme');
is(sql($node, q{SELECT record FROM sync.outbox WHERE operation = 'delete' ORDER BY record}), join("\n", sort $boss, $report),
    'what a foreign key does about a trigger\'s write is caught');
sql($node, 'ALTER TABLE acme.contact DROP CONSTRAINT boss');
clear();
sql($node, 'DROP TRIGGER mirror ON acme.lead; DROP TRIGGER note ON acme.lead');

# A trigger on the same table: what it adds to a row that came in goes out.
sql($node, q{
    CREATE FUNCTION public.stamp() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        UPDATE acme.lead SET city = 'set here' WHERE id = NEW.id;
        RETURN NULL;
    END $$;
    CREATE TRIGGER stamp AFTER UPDATE OF title ON acme.lead FOR EACH ROW
        WHEN (sync.applying() AND NEW.city IS DISTINCT FROM 'set here') EXECUTE FUNCTION public.stamp()});
$org->update('Lead', { Id => $leads[10], Title => 'stamp me' });
sync_now($node, 'acme');
like(outbox($node), qr/^update \{"city": \[.*"set here"\]\}$/, 'a trigger\'s write to the row that came in is caught');
let_go($node);
is(record_of($org, 'Lead', $leads[10], 'City')->{City}, 'set here', 'and reaches the org');
sql($node, 'DROP TRIGGER stamp ON acme.lead');

# Foreign keys: what they do when the sync deletes a row is no write of a user's.
sql($node, q{
    ALTER TABLE acme.contact ADD FOREIGN KEY (accountid) REFERENCES acme.account ON DELETE CASCADE NOT VALID});
my ($account) = $org->insert('Account', { Name => 'To go' });
$org->insert('Contact', map { { LastName => "Goer $_", AccountId => $account } } 1 .. 3);
sync_now($node, 'acme');
is(sql($node, qq{SELECT count(*) FROM acme.contact WHERE accountid = '$account'}), 3, 'an account with contacts');
hold($node);
$org->delete('Account', $account);
sync_now($node, 'acme');
is(sql($node, qq{SELECT count(*) FROM acme.contact WHERE accountid = '$account'}), 0, 'the contacts went with their account');
is(outbox($node), '', 'and nobody tells the org to delete them');
sql($node, 'ALTER TABLE acme.contact DROP CONSTRAINT contact_accountid_fkey');

#
# Partitions
#

sync_now($node, 'acme');
sql($node, q{
    SELECT sync.disable('acme', 'Contact');
    CREATE TABLE acme.parts (LIKE acme.contact INCLUDING DEFAULTS INCLUDING IDENTITY) PARTITION BY HASH (id);
    CREATE TABLE acme.part0 PARTITION OF acme.parts FOR VALUES WITH (MODULUS 3, REMAINDER 0);
    CREATE TABLE acme.part1 PARTITION OF acme.parts FOR VALUES WITH (MODULUS 3, REMAINDER 1);
    CREATE TABLE acme.part2 (filler int, LIKE acme.contact);
    ALTER TABLE acme.part2 DROP COLUMN filler;
    ALTER TABLE acme.parts ATTACH PARTITION acme.part2 FOR VALUES WITH (MODULUS 3, REMAINDER 2);
    DROP TABLE acme.contact;
    ALTER TABLE acme.parts RENAME TO contact});
is(sql($node, q{SELECT count(*) FROM sync.object WHERE object = 'Contact'}), 0, 'a table that was dropped is forgotten')
  or sql($node, q{DELETE FROM sync.object WHERE object = 'Contact'});
sql($node, q{
    INSERT INTO sync.object (server, object, relation, enabled) VALUES ('acme', 'Contact', 'acme.contact', false);
    SELECT sync.resume('acme'); SELECT sync.enable('acme', '{Contact}')});
wait_live($node, 'acme');
same_rows($node, $org, 'acme', 'Contact', 'a partitioned table');
hold($node);
is(caught(q{UPDATE acme.contact SET description = 'in ' || tableoid::regclass}) =~ tr/\n// + 1,
    sql($node, 'SELECT count(*) FROM acme.contact'), 'all partitions are caught');
is(sql($node, q{SELECT DISTINCT "table" FROM sync.outbox}), 'acme.contact', 'as the synced table');
is(sql($node, q{SELECT bool_and((changes -> 'description' ->> 1) = description)
    FROM sync.outbox o JOIN acme.contact c ON c.id = o.record}), 't', 'with the right columns');
refused('TRUNCATE acme.part1', '55000', 'table "acme.part1" cannot be truncated', undef, 'TRUNCATE of a partition');
sql($node, q{
    UPDATE acme.part2 SET title = 'directly';
    INSERT INTO acme.contact (lastname) SELECT 'part ' || i FROM generate_series(1, 12) i});
let_go($node, 'changes of partitions go out');
is($org->count('Contact', q{LastName LIKE 'part %'}), 12, 'new rows of partitions');
is(sql($node, q{SELECT count(*) FROM acme.contact WHERE id LIKE '~%'}), 0, 'have their ids, in whatever partition that is');
is(sql($node, q{SELECT count(*) FROM sync.outbox}), 0, 'and moving there was no write of a user\'s');

# A row that an UPDATE moves is a DELETE and an INSERT to triggers.
sql($node, q{
    ALTER TABLE acme.contact RENAME TO by_id;
    CREATE TABLE acme.moving (LIKE acme.by_id INCLUDING DEFAULTS INCLUDING IDENTITY) PARTITION BY LIST (department);
    CREATE TABLE acme.rest PARTITION OF acme.moving DEFAULT;
    CREATE TABLE acme.sales (filler int, LIKE acme.by_id);
    ALTER TABLE acme.sales DROP COLUMN filler;
    ALTER TABLE acme.moving ATTACH PARTITION acme.sales FOR VALUES IN ('Sales');
    SELECT sync.disable('acme', 'Contact');
    DROP TABLE acme.by_id;
    ALTER TABLE acme.moving RENAME TO contact;
    DELETE FROM sync.object WHERE object = 'Contact';
    INSERT INTO sync.object (server, object, relation, enabled) VALUES ('acme', 'Contact', 'acme.contact', false);
    SELECT sync.enable('acme', '{Contact}')});
wait_live($node, 'acme');
hold($node);
sql($node, q{UPDATE acme.contact SET department = NULL WHERE department IS NOT NULL});
let_go($node, 'a partition is emptied');
hold($node);
my $moves = caught(q{UPDATE acme.contact SET department = 'Sales', title = 'moved' WHERE lastname LIKE 'part %'});
is($moves =~ tr/\n// + 1, 12, 'a row that moves is one change');
unlike($moves, qr/^.*\b[DI]\b.*$/m, '... an update');
is(sql($node, q{SELECT count(*) FROM acme.sales WHERE title = 'moved'}), 12, '... of rows that are elsewhere');
sql($node, q{
    INSERT INTO acme.contact (lastname) VALUES ('new and moved');
    UPDATE acme.contact SET department = 'Sales' WHERE lastname = 'new and moved'});
refused(q{UPDATE acme.contact SET id = 'x', department = NULL WHERE title = 'moved'}, '42501',
    'column "id" of table "acme.contact" cannot be written', undef, 'an id does not change on the way');
sql($node, q{UPDATE acme.contact SET department = NULL, title = 'back' WHERE title = 'moved'});
let_go($node, 'moved rows go out');
is($org->count('Contact', q{LastName LIKE 'part %' AND Department = null AND Title = 'back'}), 12, 'and arrive');
is($org->count('Contact', q{LastName = 'new and moved' AND Department = 'Sales'}), 1, 'new ones once');
sync_now($node, 'acme');
same_rows($node, $org, 'acme', 'Contact', 'the partitions');

#
# In the end both sides are the same
#

# (What the tests above took out of the outbox never went out.)
$org->change('Lead', { Fax => '1' });
sync_now($node, 'acme');
same_rows($node, $org, 'acme', $_, 'in the end') for qw(Lead Contact Campaign CampaignMember);
is(failures_of($node), '', 'nothing failed');
done_testing();
