
# The field that creates go by is gone: its column was dropped, the field has left
# the org, or external_id was set to something else, while rows wait to be created
# or the answer to an upsert was lost. Each becomes one record.

use strict;
use warnings FATAL => 'all';
use SyncTest;
use Test::More;
use WayOut;

my ($org, $node) = two_way(leads => 10, contacts => 10, accounts => 3, objects => [qw(Contact)],
    conf => "sync.lost_answer_wait = 2\nsync.push_bulk_threshold = 20");
my $upsert = { kind => 'collections', method => 'PATCH', path => 'Contact/Ext__c' };
my %lost = (applied => { apply_then => { reset => \1 } }, 'not applied' => { reset => \1 });
my %gone = (
    'its column is dropped' => sub { sql($node, 'ALTER TABLE acme.contact DROP COLUMN ext__c') },
    'external_id is unset' => sub { sql($node, q{SELECT sync.set('acme', 'Contact', 'external_id', NULL)}) });
my $n = 0;

sub has_external_id { return sql($node, q{SELECT coalesce((SELECT external_id FROM sync.object WHERE object = 'Contact'), '')}) }
sub again
{
    sql($node, 'ALTER TABLE acme.contact ADD COLUMN IF NOT EXISTS ext__c text');
    sync_now($node, 'acme');
    sql($node, q{SELECT sync.set('acme', 'Contact', 'external_id', 'Ext__c')});
    return;
}

sub one_each
{
    my ($name, $rows, $what) = @_;

    went_out($node, "$what: nothing waits");
    wait_for($node, qq{SELECT count(*) = $rows FROM acme.contact WHERE lastname = '$name' AND id NOT LIKE '~%'}, '... each row has its id');
    is($org->count('Contact', "LastName = '$name'"), $rows, '... of a record of its own');
    sync_now($node, 'acme');
    is(sql($node, qq{SELECT count(*) FROM acme.contact WHERE lastname = '$name'}), $rows, '... none comes beside it');
    is(failures_of($node), '', '... and nothing fails');
    return;
}

again();
foreach my $gone (sort keys %gone)
{
    # Rows that wait
    my $name = 'W' . ++$n;
    hold($node);
    sql($node, "INSERT INTO acme.contact (lastname, ext__c) SELECT '$name', '$name-' || i FROM generate_series(1, 3) i");
    $gone{$gone}->();
    is(has_external_id(), '', "$gone: it is unset");
    sql($node, q{SELECT sync.resume('acme')});
    one_each($name, 3, '... creates that waited');
    sql($node, "INSERT INTO acme.contact (lastname) VALUES ('N$n')");
    one_each("N$n", 1, '... a new one');
    again();

    # Answers that were lost
    foreach my $lost (sort keys %lost)
    {
        foreach my $rows (3, 25)
        {
            $name = 'L' . ++$n;
            my $match = $rows > 20 ? { kind => 'ingest_other', method => 'PATCH' } : $upsert;
            my $fault = $org->fault($match, $lost{$lost}, times => 1);
            sql($node, "INSERT INTO acme.contact (lastname, ext__c) SELECT '$name', '$name-' || i FROM generate_series(1, $rows) i");
            wait_until("$rows upserts, $lost: the answer is lost", sub { ($org->hits($fault) // 1) > 0 });
            sql($node, q{SELECT sync.pause('acme')});
            $gone{$gone}->();
            $org->no_faults;
            sql($node, q{SELECT sync.resume('acme')});
            one_each($name, $rows, "... then $gone");
            again();
        }
    }
}

# The notice, and what is told of a field that the login no longer sees
my (undef, undef, $err) = $node->psql('postgres', 'ALTER TABLE acme.contact DROP COLUMN ext__c');
like($err, qr/NOTICE:.*created without external id.*HINT:.*sync\.set\('acme', 'Contact', 'external_id', 'Ext__c'\)/s, 'a notice says how to set it again');
again();
foreach my $lost (sort keys %lost)
{
    my $name = 'F' . ++$n;
    my $fault = $org->fault($upsert, $lost{$lost}, times => 1);
    my $offset = -s $node->logfile;

    sql($node, "INSERT INTO acme.contact (lastname, ext__c) VALUES ('$name', '$name')");
    wait_until("the field leaves the org, $lost", sub { ($org->hits($fault) // 1) > 0 });
    sql($node, q{SELECT sync.pause('acme')});
    $org->post('/fls', { username => $org->{info}{run_as}, object => 'Contact', field => 'Ext__c', visible => \0 });
    sql($node, q{SELECT sync.resume('acme')});
    wait_for($node, q{SELECT count(*) = 0 FROM sync.attempt}, '... it is settled');
    sql($node, q{UPDATE sync.progress SET described = '-infinity', describe_tag = NULL});
    sync_now($node, 'acme');
    is(has_external_id(), '', '... external_id is unset');
    ok($node->log_contains(qr/created without external id/, $offset), '... which the log says');
    sql($node, q{SELECT sync.retry('acme')});
    one_each($name, 1, '... it is one record');
    $org->post('/fls', { username => $org->{info}{run_as}, object => 'Contact', field => 'Ext__c', visible => \1 });
    sql($node, q{UPDATE sync.progress SET described = '-infinity', describe_tag = NULL});
    sync_now($node, 'acme');
    sql($node, q{SELECT sync.set('acme', 'Contact', 'external_id', 'Ext__c')});
}
done_testing();
