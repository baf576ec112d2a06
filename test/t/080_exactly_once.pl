
# A record that is made here is made in the org once, whatever happens to the
# answer: the request is carried out and answered by an error, a reset or not at
# all; it never arrives; the worker or the whole server is killed at any point
# between.  Leads have nothing but their values to be known by; contacts go by
# an external id.  Few rows go by Collections, many by a Bulk job.

use strict;
use warnings;
use IPC::Run;
use JSON::PP;
use SyncTest;
use Test::More;

use constant FEW => 4;
use constant MANY => 30;

my $org = Org->start(leads => 20, contacts => 10, campaigns => 3);
my $node = sync_node('main', conf => qq{
    sync.lost_answer_wait = '1 s'
    sync.push_bulk_threshold = @{[ MANY - 10 ]}});
my $token = 0;

connect_org($node, $org, 'acme', server => [ interval => '1 h', timeout => '2 s' ]);
enable_all($node, 'acme', 'Lead', 'Contact', 'Account', 'Campaign', 'CampaignMember');
$node->safe_psql('postgres', q{SELECT sync.set('acme', 'Contact', 'external_id', 'Ext__c')});

my %insert = (
    Lead => q{INSERT INTO acme.lead (lastname, company, title, city, leadsource)
        SELECT 'T%1$s', 'Initech', 'n' || n, 'Bonn', 'Web' FROM generate_series(1, %2$d) AS n},
    Contact => q{INSERT INTO acme.contact (lastname, title, ext__c)
        SELECT 'T%1$s', 'n' || n, 'T%1$s-' || n FROM generate_series(1, %2$d) AS n});
my %create = (
    Lead => { method => 'POST', path => '/composite/sobjects', body => '"Lead"' },
    Contact => { method => 'PATCH', path => '/composite/sobjects/Contact' });

sub insert_rows
{
    my ($object, $rows) = @_;

    $token++;
    $node->safe_psql('postgres', sprintf $insert{$object}, $token, $rows);
    return "T$token";
}

# Nothing waits any more, and every row has the id of a record of its own that
# has the row's values.
sub settled
{
    my ($what, $object, $name, $rows, $where) = @_;
    my $table = 'acme.' . lc $object;

    wait_for($node, q{SELECT NOT EXISTS (SELECT FROM sync.change)
        AND NOT EXISTS (SELECT FROM sync.attempt)
        AND NOT EXISTS (SELECT FROM sync.local_id WHERE NOT replaced)}, "$what: all is sent");
    my $theirs = join "\n", sort map { "$_->{Id} $_->{Title}" }
      @{ $org->rows("SELECT Id, Title FROM $object WHERE LastName = '$name'" . ($where // '')) };
    my $ours = join "\n", sort split /\n/, $node->safe_psql('postgres',
        "SELECT id || ' ' || title FROM $table WHERE lastname = '$name'");
    is(scalar(split /\n/, $theirs), $rows, "$what: $rows $object records, no more, no less");
    is($ours, $theirs, "$what: each $object row has the id of its record");
    is($node->safe_psql('postgres', q{SELECT count(*) FROM sync.failures
        WHERE record IS NOT NULL}), 0, "$what: nothing was refused");
    return;
}

sub hit
{
    my ($what, $fault) = @_;
    return wait_until("$what: the request has come", sub { $org->hits($fault) > 0 });
}

# Ends waiting after a failure of the org as a whole.
sub go_on
{
    $node->safe_psql('postgres', q{SELECT sync.resume('acme')});
    return;
}

sub worker_pid
{
    return $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity
        WHERE backend_type = 'sync worker'
           OR backend_type LIKE 'sync%' AND backend_type NOT LIKE '%launcher%' LIMIT 1});
}

sub kill_worker
{
    my $pid = worker_pid();

    kill 'KILL', $pid;
    wait_until('the worker is dead', sub { !kill 0, $pid });
    $node->poll_query_until('postgres', 'SELECT true');
    return;
}

my %kill = (worker => \&kill_worker, server => sub { crash($node) });

#
# The answer is lost, and the process lives
#
my %lost = (
    'applied, then 500' => { apply_then => { status => 500 } },
    'applied, then 503 by a gateway' => { apply_then => { status => 503, html => JSON::PP::true } },
    'applied, then reset' => { apply_then => { reset => JSON::PP::true } },
    'applied, then half an answer' => { apply_then => { reset => 'middle' } },
    'applied, then no answer' => { apply_then => { hang => 20 } },
    'reset before it arrives' => { reset => JSON::PP::true },
    'no answer, and not applied' => { hang => 20 },
    '503, not applied' => { status => 503 },
    '500, not applied' => { status => 500 });

foreach my $way (sort keys %lost)
{
    my %fault = map { $_ => $org->fault($create{$_}, $lost{$way}) } sort keys %create;
    my %name = map { $_ => insert_rows($_, FEW) } sort keys %create;

    foreach my $object (sort keys %create)
    {
        hit("$object, $way", $fault{$object});
        settled("$object, $way", $object, $name{$object}, FEW);
    }
}

# Values that Salesforce does not keep as they are sent: blanks, empty texts.
foreach my $object (sort keys %create)
{
    my $what = "$object with empty texts, its answer lost";
    my $fault = $org->fault($create{$object}, { apply_then => { reset => JSON::PP::true } });
    my $name = 'T' . ++$token;

    $node->safe_psql('postgres', "INSERT INTO acme.$object (lastname, title, description, fax, phone, "
          . ($object eq 'Lead' ? 'company' : 'ext__c') . ") VALUES ('$name', 'n1', ' ', '', '  ', '$name')");
    hit($what, $fault);
    settled($what, $object, $name, 1);
}

# The next request for the session finds that it has expired.
foreach my $object (sort keys %create)
{
    $org->post('/expire');
    my $name = insert_rows($object, FEW);
    settled("$object, session expired", $object, $name, FEW);
    my $fault = $org->fault($create{$object}, { apply_then => { reset => JSON::PP::true } });
    $name = insert_rows($object, FEW);
    hit("$object, session expired after a lost answer", $fault);
    $org->post('/expire');
    settled("$object, session expired after a lost answer", $object, $name, FEW);
}

#
# The process does not live
#
foreach my $who (sort keys %kill)
{
    foreach my $object (sort keys %create)
    {
        my %at = (
            'killed before it is applied' => { hang => 20 },
            'killed after it was applied' => { apply_then => { hang => 20 } });
        foreach my $when (sort keys %at)
        {
            my $what = "$object, $who $when";
            my $fault = $org->fault($create{$object}, $at{$when});
            my $name = insert_rows($object, FEW);

            hit($what, $fault);
            $kill{$who}->();
            settled($what, $object, $name, FEW);
        }
    }
}

# Deleted here before it is known that it was made: so it is there, too.
foreach my $object (sort keys %create)
{
    foreach my $lost ('answer lost', 'worker killed')
    {
        my $what = "$object, $lost, then deleted";
        my $fault = $org->fault($create{$object}, { apply_then => { hang => 20 } });
        my $name = insert_rows($object, FEW);

        hit($what, $fault);
        kill_worker() if $lost eq 'worker killed';
        $node->safe_psql('postgres', "DELETE FROM acme.$object WHERE lastname = '$name'");
        settled($what, $object, $name, 0, ' AND IsDeleted = false');
        is(scalar @{ $org->rows("SELECT Id FROM $object WHERE LastName = '$name' AND IsDeleted = true") },
            FEW, "$what: all are deleted");
        sync_now($node, 'acme');
        is($node->safe_psql('postgres', "SELECT count(*) FROM acme.$object WHERE lastname = '$name'"), 0,
            "$what: none comes back");
    }
}

# Writers who never pause do not put off the looking up of what is in doubt.
foreach my $object (sort keys %create)
{
    my $what = "$object, among commits that never end";
    my $fault = $org->fault($create{$object}, { apply_then => { reset => JSON::PP::true } });
    my $name = insert_rows($object, FEW);
    my $others = 0;

    hit($what, $fault);
    wait_until("$what: it is known", sub {
        $node->safe_psql('postgres', "UPDATE acme.campaign SET description = 'd" . $others++ . "'");
        return $node->safe_psql('postgres',
            "SELECT count(*) FROM acme.$object WHERE lastname = '$name' AND id LIKE '~%'") == 0;
    });
    settled($what, $object, $name, FEW);
}

# A session that holds a lock until it is told to go, or its server dies.
sub hold_lock
{
    my ($sql) = @_;
    my ($in, $out) = ("BEGIN;\n$sql;\nSELECT 'locked';\n", '');
    my $handle = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') ],
        '<', \$in, '>', \$out, '2>', '/dev/null',
        IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));

    $handle->pump until $out =~ /locked/;
    return $handle;
}

# The answer has come, and cannot be noted, or the ids cannot be put in place.
my %locks = (
    'with the answer in hand' => 'LOCK TABLE sync.local_id IN SHARE MODE',
    'with ids to be replaced' => 'LOCK TABLE acme.%s IN SHARE MODE');

foreach my $when (sort keys %locks)
{
    foreach my $who (sort keys %kill)
    {
        foreach my $object (sort keys %create)
        {
            my $what = "$object, $who killed $when";
            my $fault = $org->fault($create{$object}, { pass => JSON::PP::true, delay => 1.5 });
            my $name = insert_rows($object, FEW);

            hit($what, $fault);
            my $session = hold_lock(sprintf $locks{$when}, lc $object);
            wait_for($node, q{SELECT count(*) > 0 FROM pg_stat_activity
                WHERE backend_type LIKE 'sync%' AND wait_event_type = 'Lock'
                OR EXISTS (SELECT FROM sync.failures WHERE operation = 'replace')}, "$what: it waits");
            $kill{$who}->();
            $session->kill_kill;
            settled($what, $object, $name, FEW);
        }
    }
}

#
# Bulk ingest
#
my %step = (
    'job made' => { kind => 'ingest_create' },
    'rows uploaded' => { kind => 'ingest_upload' },
    'job closed' => { method => 'PATCH', path => '/jobs/ingest/' },
    'job asked for' => { kind => 'ingest_status', method => 'GET' },
    'results read' => { kind => 'ingest_results' });

foreach my $step (sort keys %step)
{
    foreach my $object (sort keys %create)
    {
        foreach my $way ($object eq 'Lead'
            ? ('applied, then 500', 'applied, then reset', 'applied, then no answer')
            : ('reset before it arrives', '503, not applied'))
        {
                my $what = "Bulk, $object, $step, $way";
            my $fault = $org->fault($step{$step}, $lost{$way});
            my $name = insert_rows($object, MANY);

            hit($what, $fault);
            go_on();
            settled($what, $object, $name, MANY);
            go_on();
        }
        foreach my $who ($object eq 'Lead' ? 'worker' : 'server')
        {
            my $what = "Bulk, $object, $step, $who killed";
            my $fault = $org->fault($step{$step}, { apply_then => { hang => 20 } });
            my $name = insert_rows($object, MANY);

            hit($what, $fault);
            $kill{$who}->();
            settled($what, $object, $name, MANY);
        }
    }
}

# The job is done, but does not say so yet: its records do not come in beside the
# rows that they were made from.
foreach my $object (sort keys %create)
{
    my $what = "Bulk, $object, done and not known";
    my $fault = $org->fault({ kind => 'ingest_status' },
        { pass => JSON::PP::true, replace => [ [ 'JobComplete', 'InProgress' ] ] }, times => -1);
    my $name = insert_rows($object, MANY);

    wait_until("$what: the records are there",
        sub { $org->count($object, "LastName = '$name'") == MANY });
    kill_worker();
    wait_for($node, q{SELECT count(*) > 0 FROM pg_stat_activity WHERE backend_type = 'sync worker'},
        "$what: another worker");
    sync_now($node, 'acme') for 1 .. 2;
    is($node->safe_psql('postgres', "SELECT count(*), count(*) FILTER (WHERE id LIKE '~%')"
          . " FROM acme.$object WHERE lastname = '$name'"), MANY . '|' . MANY, "$what: no row is there twice");
    $org->no_faults;
    settled($what, $object, $name, MANY);
    sync_now($node, 'acme');
    same_rows($node, $org, 'acme', $object, $what);
}

# The upload is lost, and so is the answer to the abort that follows from it.
foreach my $object (sort keys %create)
{
    my $what = "Bulk, $object, upload and abort lost";
    my $lost = $org->fault({ kind => 'ingest_upload' }, { reset => JSON::PP::true });
    my $fault = $org->fault({ method => 'PATCH', path => '/jobs/ingest/', body => 'Aborted' },
        { apply_then => { status => 500 } });
    my $name = insert_rows($object, MANY);

    hit($what, $lost);
    go_on();
    hit($what, $fault);
    go_on();
    settled($what, $object, $name, MANY);
}

# The same, where the job does not say how much it has done.
foreach my $object (sort keys %create)
{
    my $what = "Bulk, $object, upload and abort lost, nothing said";
    my $ended = $org->fault({ method => 'PATCH', path => '/jobs/ingest', body => 'Aborted' },
        { apply_then => { status => 503 } });

    $org->fault({ kind => 'ingest_upload' }, { apply_then => { reset => JSON::PP::true } });
    $org->fault({ kind => 'ingest_status' }, { pass => JSON::PP::true,
        replace => [ [ '"numberRecordsProcessed":\s*0,?', '' ] ] }, times => -1);
    my $name = insert_rows($object, MANY);

    wait_until("$what: it is ended", sub { go_on(); return $org->hits($ended) > 0 });
    go_on();
    settled($what, $object, $name, MANY);
    $org->no_faults;
}

ok((grep { $_->{kind} eq 'ingest_upload' } $org->calls(since => 0)) > 10, 'rows went by Bulk jobs');

done_testing();
