
# What is told about a change or a row holds: a change that sync.set has set aside
# is not sent, also if a sender has it in its hands just then; a row that the org
# returns is not gone, though it cannot be stored when it is tried again.

use strict;
use warnings FATAL => 'all';
use SyncTest;
use Test::More;
use WayOut;

my ($org, $node) = two_way(leads => 200, objects => [qw(Lead)], conf => 'sync.bulk_threshold = 1');
my @leads = split /\n/, sql($node, 'SELECT id FROM acme.lead WHERE NOT isconverted ORDER BY id');

# Rows that were set aside are tried again, by Bulk, and cannot be read.
{
    my @ids = splice @leads, 0, 4;
    my $in = join ',', map { "'$_'" } @ids;
    sql($node, qq{CREATE TABLE public.note (id text REFERENCES acme.lead ON UPDATE CASCADE ON DELETE CASCADE);
        INSERT INTO public.note SELECT unnest(ARRAY[$in]);
        INSERT INTO sync.failures (server, object, operation, record, code, message, last_seen)
        SELECT 'acme', 'Lead', 'pull', r, '22021', 'x', '-infinity' FROM unnest(ARRAY[$in]) r});
    my $fault = $org->fault({ kind => 'bulk_query_results', object => 'Lead' }, { invalid_utf8 => 1 }, times => -1);
    sync_now($node, 'acme', 'Lead');
    ok($org->hits($fault) > 0, 'rows are tried again');
    is(sql($node, qq{SELECT count(*) FROM acme.lead WHERE id IN ($in)}), 4, '... what is refused again stays here');
    is(sql($node, q{SELECT count(*) FROM public.note}), 4, '... with what refers to it');
    is(sql($node, q{SELECT string_agg(DISTINCT code, ' ') FROM sync.failures}), '22021', '... and is told');
    $org->no_faults;
    sync_now($node, 'acme', 'Lead');
    is(sql($node, q{SELECT count(*) FROM sync.failures}), 0, '... until it can be read');
}

# The direction becomes from while a change is looked at, or sent.
foreach my $where ({ kind => 'query' }, { kind => 'collections' })
{
    my $id = shift @leads;
    my $was = record_of($org, 'Lead', $id, 'Title')->{Title} // '';

    hold($node);
    sql($node, qq{UPDATE acme.lead SET title = 'aside?' WHERE id = '$id'});
    my $fault = $org->fault($where, { delay => 2, pass => JSON::PP::true }, times => 1);
    sql($node, q{SELECT sync.resume('acme')});
    wait_until("an answer to $where->{kind} is held back", sub { ($org->hits($fault) // 0) > 0 });
    my ($status, $out, $err) = $node->psql('postgres', q{SELECT sync.set('acme', 'Lead', 'direction', 'from')});
    is($status, 0, '... the direction is set');
    my $waits = sql($node, qq{SELECT count(*) FROM sync.outbox WHERE record = '$id'});
    is($err =~ /set aside/ ? 1 : 0, $waits, '... what waits is told');
    # It waits for the object's lock, which whoever sends has until it is done.
    sync_now($node, 'acme', 'Lead');
    is(record_of($org, 'Lead', $id, 'Title')->{Title} // '', $waits ? $was : 'aside?', '... and has been sent, or not, as was said');
    $org->no_faults;
    sql($node, q{SELECT sync.set('acme', 'Lead', 'direction', 'both'); SELECT sync.retry('acme', 'Lead')});
    went_out($node, '... both again');
    is(record_of($org, 'Lead', $id, 'Title')->{Title}, 'aside?', '... it goes out');
}
is(sql($node, q{SELECT count(*) FROM sync.failures}), 0, 'nothing fails');
done_testing();
