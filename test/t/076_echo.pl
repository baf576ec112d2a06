
# What we sent comes back: it is no news, it is never sent again, and what the
# org's own automation did to the same record on the way is news.
#
# Of what users of other syncs suffer: row 9, values that flip; row 10, fields
# that nobody meant to write are overwritten by a stale echo; row 11, rows that
# are there twice when reading is faster than the id.

use strict;
use warnings;
use JSON::PP;
use SyncTest;
use Test::More;
use WayOut;

my ($org, $node) = two_way(leads => 2600, campaigns => 2, machines => 20,
    objects => [qw(Lead Campaign Machine__c)]);
my @leads = split /\n/, sql($node, 'SELECT id FROM acme.lead WHERE NOT isconverted ORDER BY id');

# What the log has of the last pull of an object: new|updated|deleted|skipped|failed.
sub last_pull
{
    my ($object) = @_;
    return sql($node, qq{
        SELECT new, updated, deleted, skipped > 0, failed FROM sync.log
        WHERE object = '$object' AND operation = 'pull' ORDER BY seq DESC LIMIT 1});
}

sub writes { return scalar writes_of($org, since => 0) }

# The worker sends; what came back is brought in by one sync.now.
sub out_and_back
{
    went_out($node, $_[0]);
    sync_now($node, 'acme');
    return;
}

# Three more cycles: nobody writes anything.
sub is_quiet
{
    my ($what) = @_;
    my $rows = join ' UNION ALL ', map { "SELECT '$_', ctid::text, xmin::text FROM acme.$_" }
      qw(lead campaign machine__c);
    my $versions = "SELECT md5(string_agg(r::text, ' ' ORDER BY r)) FROM ($rows) r";
    my ($sent, $before) = (writes(), sql($node, $versions));

    sync_now($node, 'acme') for 1 .. 3;
    is(writes(), $sent, "$what: nothing is sent again");
    is(sql($node, $versions), $before, "$what: and nothing is written here");
    is(sql($node, 'SELECT count(*) FROM sync.outbox'), 0, "$what: the outbox is empty");
    return;
}

sub same_all
{
    my ($what) = @_;
    same_rows($node, $org, 'acme', $_, $what) for qw(Lead Campaign Machine__c);
    return;
}

#
# An update
#

sql($node, q{
    CREATE TABLE public.fired (id text, applying boolean);
    GRANT INSERT ON public.fired TO PUBLIC;
    CREATE FUNCTION public.fire() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO public.fired VALUES (NEW.id, sync.applying());
        RETURN NULL;
    END $$;
    CREATE TRIGGER fire AFTER UPDATE OF title ON acme.lead FOR EACH ROW EXECUTE FUNCTION public.fire()});
sql($node, qq{UPDATE acme.lead SET title = 'mine' WHERE id = '$leads[0]'});
out_and_back('an update');
is(last_pull('Lead'), '0|0|0|t|0', 'what we sent comes back as skipped');
same_all('after an update and its echo');
is(sql($node, qq{SELECT applying FROM public.fired WHERE id = '$leads[0]'}), 'f',
    'users\' triggers on the column fired for the write, not for its echo');
is_quiet('an update');

# Together with somebody else's change of another record
sql($node, qq{UPDATE acme.lead SET title = 'mine too' WHERE id = '$leads[0]'});
went_out($node, 'an update beside a change in the org');
$org->update('Lead', { Id => $leads[1], Title => 'theirs' });
sync_now($node, 'acme');
is(last_pull('Lead'), '0|1|0|t|0', 'the other change is counted, ours is not');
same_all('after both');

# A touch of the org's that changes nothing we keep
$org->update('Lead', { Id => $leads[2] });
sync_now($node, 'acme');
is(last_pull('Lead'), '0|0|0|t|0', 'a new stamp alone is no change either');
same_all('after a touch');

# An object that comes from Salesforce only has no echo: there it counts.
$org->update('Machine__c', { Id => $org->rows('SELECT Id FROM Machine__c LIMIT 1')->[0]{Id} });
sync_now($node, 'acme');
is(last_pull('Machine__c'), '0|1|0|f|0', 'tables that are not written to count it as before');

#
# What the org does on top of it
#

$org->post('/config', { trigger => { object => 'Lead', on => [ 'insert', 'update' ],
    set => { Description => 'by the org: {Title}' } } });
sql($node, qq{UPDATE acme.lead SET title = 'automated' WHERE id = '$leads[3]'});
out_and_back('an update with automation behind it');
is(last_pull('Lead'), '0|1|0|t|0', 'what the org did to the same record is news');
is(sql($node, qq{SELECT title, description FROM acme.lead WHERE id = '$leads[3]'}),
    'automated|by the org: automated', 'and comes in');
same_all('after automation on another field');
is_quiet('automation on another field');

# On the very field that we sent
$org->post('/config', { trigger => { object => 'Lead', on => ['update'], set => { Title => 'Dr {LastName}' } } });
sql($node, qq{UPDATE acme.lead SET title = 'overruled' WHERE id = '$leads[4]'});
out_and_back('an update that the org overrules');
is(sql($node, qq{SELECT title = 'Dr ' || lastname FROM acme.lead WHERE id = '$leads[4]'}), 't',
    'row 9: the org\'s own rule has the last word');
is(sql($node, q{SELECT count(*) FROM sync.conflicts}), 0, 'which is no conflict');
is_quiet('automation on the same field');

# On a field that is changed here meanwhile: ours goes out, once.
$org->post('/config', { trigger => { object => 'Lead', on => ['update'], set => { Description => 'seen {Title}' } } });
hold($node);
sql($node, qq{UPDATE acme.lead SET title = 'step 1' WHERE id = '$leads[5]'});
let_go($node);
hold($node);
sql($node, qq{UPDATE acme.lead SET title = 'step 2', city = 'Here' WHERE id = '$leads[5]'});
sync_now($node, 'acme');
is(sql($node, qq{SELECT title, city, description FROM acme.lead WHERE id = '$leads[5]'}),
    'step 2|Here|seen step 1', 'row 10: the echo of an earlier write does not undo a later one');
is(sql($node, q{SELECT count(*) FROM sync.conflicts}), 0, 'and is no conflict');
let_go($node);
sync_now($node, 'acme');
same_all('after a write between a write and its echo');
$org->post('/config', { trigger => undef });
is_quiet('a write between a write and its echo');

#
# Values that the org stores in another form
#

sql($node, q{SELECT sync.set('acme', 'Machine__c', 'direction', 'both')});
my @machines = split /\n/, sql($node, 'SELECT id FROM acme.machine__c ORDER BY id');
sql($node, qq{
    UPDATE acme.lead SET title = '  padded  ', city = '', email = 'Mixed.Case\@Example.com',
        annualrevenue = 1234.50, description = E'two\\r\\nlines\\n' WHERE id = '$leads[6]';
    UPDATE acme.machine__c SET price__c = 1.005, pressure__c = 0.123456789, wear__c = 12.3456,
        last_reading__c = '2026-01-31 10:00:00.987+01', service_time__c = '10:11:12.5',
        options__c = 'Stainless;Heated' WHERE id = '$machines[0]'});
out_and_back('values that the org writes another way');
same_all('after values that the org writes another way');
is_quiet('values that the org writes another way');
is(failures_of($node), '', 'none of them is refused');

#
# A new row, and one that goes
#

my $rows = sql($node, 'SELECT count(*) FROM acme.lead');
sql($node, q{INSERT INTO acme.lead (lastname, company) SELECT 'Echo ' || i, 'E' FROM generate_series(1, 20) i});
sync_now($node, 'acme');
out_and_back('new rows, read at once');
is(sql($node, 'SELECT count(*) FROM acme.lead'), $rows + 20, 'row 11: each new row is there once');
is($org->count('Lead', q{LastName LIKE 'Echo %'}), 20, 'and once in the org');
same_all('after new rows');
is(sql($node, q{SELECT count(*) FROM acme.lead WHERE id LIKE '~%'}), 0, 'with the org\'s ids');
is_quiet('new rows');

# The org's record is read before its row here has taken its id.
hold($node);
sql($node, q{INSERT INTO acme.lead (lastname, company) VALUES ('Locked', 'L')});
my $user = $node->background_psql('postgres') if $node->can('background_psql');
SKIP:
{
    skip 'no session in the background', 3 unless $user;
    eval { $user->query_safe('SELECT 1'); 1 } or skip 'no session in the background', 3;
    $user->query_safe(q{BEGIN; SELECT 1 FROM acme.lead WHERE lastname = 'Locked' FOR UPDATE});
    sql($node, q{SELECT sync.resume('acme')});
    wait_until('the org has it', sub { $org->count('Lead', q{LastName = 'Locked'}) == 1 });
    sync_now($node, 'acme');
    is(sql($node, q{SELECT count(*) FROM acme.lead WHERE lastname = 'Locked'}), 1,
        'row 11: a record that is read before its row has the id is not there twice');
    $user->query_safe('COMMIT');
    $user->quit;
}
sql($node, q{SELECT sync.resume('acme')});
sync_now($node, 'acme');
is(sql($node, q{SELECT count(*), bool_or(id LIKE '~%') FROM acme.lead WHERE lastname = 'Locked'}), '1|f',
    'and takes it as soon as it can');
sync_now($node, 'acme');
same_all('after that');

sql($node, qq{DELETE FROM acme.lead WHERE id = '$leads[7]'});
out_and_back('a delete');
is(last_pull('Lead') =~ /^0\|0\|0\|/ ? 1 : 0, 1, 'a delete of ours comes back as nothing');
is(record_of($org, 'Lead', $leads[7], 'IsDeleted')->{IsDeleted}, JSON::PP::true, 'the record is in the recycle bin');
same_all('after a delete');
is_quiet('a delete');

#
# Many, by Bulk
#

$org->calls_mark;
sql($node, q{UPDATE acme.lead SET website = 'http://echo.example/' || id WHERE NOT isconverted});
out_and_back('many rows by Bulk');
is(scalar(grep { $_->{kind} eq 'ingest_create' } $org->calls), 1, 'by one job');
is(last_pull('Lead'), '0|0|0|t|0', 'many rows by Bulk come back as skipped');
same_all('after many');
is_quiet('many');
done_testing();
