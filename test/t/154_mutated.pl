
# Answers of every kind with one member missing, null, of another type, doubled,
# nested, in another order, or cut: each is an error of its own step at most.  No
# process crashes, and when the answers are right again, all is well.

use strict;
use warnings;
use SyncTest;
use WayOut;
use Test::More;
use Time::HiRes qw(time);

my $seed = $ENV{MUTATION_SEED} || int(time) % 1_000_000;
my $rounds = $ENV{MUTATION_ROUNDS} || 6;
diag("mutations: seed $seed") ;
srand $seed;

my $org = Org->start(leads => 120, contacts => 60, accounts => 20, members => 20, seed => $seed);
my $node = sync_node('main', conf => q{
    sync.bulk_threshold = 60
    sync.push_bulk_threshold = 30
    sync.lost_answer_wait = '1 s'});
my @objects = qw(Account Campaign Contact Lead);

connect_org($node, $org, 'acme', server => [ interval => '1 hour', timeout => '3 s' ]);
enable_all($node, 'acme', @objects);

# What is done here while the answers of a kind are spoilt.
my %work = (
    pull => sub { $org->change('Lead', { Title => 'p' . int rand 1000 }, limit => 3); $org->change('Contact', { Title => 'p' . int rand 1000 }, limit => 2) },
    pull_many => sub { $org->change('Lead', { Title => 'm' . int rand 1000 }, limit => 90) },
    deletes => sub { $org->delete('Contact', $org->insert('Contact', { LastName => 'Brief' })) },
    push => sub { sql($node, q{UPDATE acme.lead SET city = 'c' || (random() * 1000)::int WHERE id IN (SELECT id FROM acme.lead WHERE NOT isconverted ORDER BY random() LIMIT 3); INSERT INTO acme.contact (lastname) VALUES ('Mutant')}) },
    push_many => sub { sql($node, q{UPDATE acme.lead SET rating = 'Hot' WHERE NOT isconverted; UPDATE acme.lead SET rating = 'Cold' WHERE NOT isconverted; INSERT INTO acme.contact (lastname) SELECT 'Mutants' FROM generate_series(1, 40)}) },
    copy => sub { sql($node, q{SELECT sync.disable('acme', 'Account'); SELECT sync.enable('acme', '{Account}')}) },
    ask => sub { $node->psql('postgres', $_) for q{SELECT * FROM sync.check('acme')}, q{SELECT sync.soql('acme', 'SELECT Id, Name FROM Lead')}, q{SELECT sync.describe('acme', 'Lead')}, q{SELECT * FROM sync.limits('acme')} },
    login => sub { $org->post('/expire') },
    schema => sub { sql($node, q{UPDATE sync.progress SET described = NULL, described_fully = NULL, describe_tag = NULL}) });
my %meets = (
    oauth => ['login'], versions => ['login'], identity => ['login'], limits => ['ask'], describe_global => ['ask'],
    describe => [ 'schema', 'ask' ], query => [ 'pull', 'ask', 'push' ], query_more => [ 'ask', 'pull_many' ],
    composite => [ 'pull', 'push', 'deletes', 'schema' ], updated => ['deletes'], deleted => ['deletes'],
    bulk_query_create => [ 'pull_many', 'copy' ], bulk_query_status => [ 'pull_many', 'copy' ], bulk_query_results => [ 'pull_many', 'copy' ],
    collections => ['push'], row => ['push'], ingest_create => ['push_many'], ingest_upload => ['push_many'],
    ingest_status => ['push_many'], ingest_results => ['push_many'], ingest_other => ['push_many']);

my $log = $node->logfile;
sub crashes { return scalar(() = PostgreSQL::Test::Utils::slurp_file($log) =~ /terminated by signal/g) }

foreach my $round (1 .. $rounds)
{
    foreach my $kind (sort keys %meets)
    {
        my $what = $meets{$kind}[ rand @{ $meets{$kind} } ];

        $org->fault({ kind => $kind }, { mutate => "$seed-$round-$kind", pass => JSON::PP::true }, times => 1 + int rand 3);
        $work{$what}->();
        $node->psql('postgres', q{SELECT sync.resume('acme'); SELECT * FROM sync.now('acme')});
        $org->no_faults;
        if (crashes() > 0)
        {
            fail("answers of $kind, round $round: nobody crashes");
            diag("seed $seed");
            done_testing();
            exit 1;
        }
    }
    pass("round $round: nobody crashed");
}

# All that was read wrong is read again, and all that can go out goes out.
wait_until('everything settles', sub {
    $node->psql('postgres', q{SELECT sync.resume('acme'); SELECT * FROM sync.now('acme')});
    sql($node, q{SELECT (SELECT count(*) FROM sync.attempt) + (SELECT count(*) FROM sync.outbox WHERE state = 'waiting')}) == 0 });
wait_live($node, 'acme');
sql($node, qq{SELECT sync.set('acme', '$_', 'where', NULL)}) for @objects;
$node->psql('postgres', q{SELECT * FROM sync.now('acme')}) for 1 .. 2;
is(sql($node, q{SELECT string_agg(DISTINCT state, ',') FROM sync.status}), 'live', 'all is live again');
sql($node, q{SELECT sync.discard(seq) FROM sync.outbox});
$node->psql('postgres', q{SELECT * FROM sync.now('acme')}) for 1 .. 2;
same_rows($node, $org, 'acme', 'Account', 'read again, both sides');
my @internal = PostgreSQL::Test::Utils::slurp_file($log) =~ /^(.*(?:ERROR|FATAL|PANIC):  (?:XX\d\d\d:|cache lookup|unexpected).*)$/mg;
is(join("\n", splice @internal, 0, 5), '', 'no internal errors');
is(crashes(), 0, 'nobody crashed');
done_testing();
