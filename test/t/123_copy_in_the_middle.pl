
# A copy into a table that has rows, broken off between two pages: by kill -9, by a
# Bulk job that is lost, by other fields.

use strict;
use warnings FATAL => 'all';
use SyncTest;
use Test::More;
use WayOut;

my ($org, $node) = two_way(leads => 250, accounts => 120, objects => [qw(Lead)], conf => 'sync.page_rows = 100');
sql($node, q{CREATE TABLE public.note (id text REFERENCES acme.lead ON UPDATE CASCADE ON DELETE CASCADE);
    INSERT INTO public.note SELECT id FROM acme.lead});
my $notes = sql($node, q{SELECT count(*) FROM public.note});
my $written = q{SELECT max(xmin::text::bigint) || ' ' || md5(string_agg(id || local_id, ',' ORDER BY id)) FROM acme.lead};
my $before = sql($node, $written);

# Begins a copy, and returns when its second page is asked for and not answered.
sub begin_copy
{
    my ($object, $how) = @_;
    my $fault = $org->fault({ kind => 'bulk_query_results', object => $object }, { hang => 6 }, after => 1, times => 1);

    sql($node, "SELECT sync.enable('acme', ARRAY['$object'])");
    wait_until("$how: the first page is in, the second on its way", sub { ($org->hits($fault) // 0) > 0 });
    return;
}

# It stops where it is told that its page does not come.
sub copier_leaves
{
    my ($how) = @_;

    $org->no_faults;
    return wait_for($node, q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type LIKE 'sync cop%'}, "$how: the copier leaves");
}

sub ends
{
    my ($how) = @_;

    $org->no_faults;
    wait_live($node, 'acme');
    is(sql($node, q{SELECT count(*) FROM public.note}), $notes, "$how: what refers to rows stays");
    is(sql($node, $written), $before, '... no row is written');
    is(sql($node, q{SELECT rows FROM sync.status WHERE object = 'Lead'}), $notes, '... and all are counted');
    return;
}

sql($node, q{SELECT sync.disable('acme', 'Lead')});
begin_copy('Lead', 'kill -9');
isnt(sql($node, q{SELECT locator FROM sync.progress WHERE object = 'Lead'}), '', '... its place is known');
crash($node);
$org->calls_mark;
ends('kill -9');
is((grep { $_->{kind} eq 'bulk_query_create' } $org->calls), 0, '... no other job was needed');

sql($node, q{SELECT sync.disable('acme', 'Lead')});
begin_copy('Lead', 'lost job');
sql($node, q{SELECT sync.stop()});
copier_leaves('lost job');
sql($node, q{UPDATE sync.progress SET job = '750000000000000AAA' WHERE object = 'Lead'; SELECT sync.start()});
ends('lost job');

sql($node, q{SELECT sync.disable('acme', 'Lead')});
begin_copy('Lead', 'other fields');
sql($node, q{SELECT sync.pause('acme')});
copier_leaves('other fields');
sql($node, q{SELECT sync.set('acme', 'Lead', 'exclude', 'Fax'); SELECT sync.resume('acme')});
$org->no_faults;
wait_live($node, 'acme');
is(sql($node, q{SELECT count(*) FROM public.note}), $notes, 'other fields: what refers to rows stays');
sync_now($node, 'acme', 'Lead');
same_rows($node, $org, 'acme', 'Lead', 'other fields', fields => [qw(LastName Company)]);

# A plain copy whose job is lost has rows of its first page: they are merged with.
begin_copy('Account', 'lost job of a plain copy');
is(sql($node, q{SELECT merge FROM sync.progress WHERE object = 'Account'}), 'f', '... into an empty table');
sql($node, q{SELECT sync.stop()});
copier_leaves('lost job of a plain copy');
sql($node, q{UPDATE sync.progress SET job = '750000000000000AAA' WHERE object = 'Account'; SELECT sync.start()});
wait_live($node, 'acme');
is(sql($node, q{SELECT count(*) FROM acme.account}), $org->count('Account'), '... each row once');
same_rows($node, $org, 'acme', 'Account', 'lost job of a plain copy', fields => ['Name']);

is(sql($node, q{SELECT count(*) FROM sync.failures}), 0, 'nothing fails');
done_testing();
