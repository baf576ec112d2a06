
# Hostile objects of every name that our SQL uses, in the caller's temporary
# schema, in the owner's schema, in public: none of them ever runs with the rights
# of anybody else, whatever is called, fires or works in the background; and all
# still works.

use strict;
use warnings FATAL => 'all';
use SyncTest;
use Test::More;
use WayOut;

my ($org, $node) = two_way(leads => 30, contacts => 10, accounts => 5, campaigns => 2,
    objects => [qw(Lead Contact Account)], conf => "sync.bulk_threshold = 5\nsync.describe_interval = '1s'");

# What our SQL names: types, and what functions and relations of pg_catalog it uses.
my @types = qw(oid int8 int4 int2 text name bool json jsonb char regclass regtype timestamptz timestamp
  interval numeric date time xid tid bytea record float8 pg_lsn);
my @functions = qw(now clock_timestamp count min max sum lower unnest to_json to_char nextval setval date_trunc array_remove
  array_append json_object_keys substr row_number bool_or pg_trigger_depth current_database array_length min own_write applying
  capture identify provisional_id refuse_write pg_options_to_table extract floor round rtrim);
my @relations = qw(pg_class pg_attribute pg_foreign_server pg_locks pg_stat_activity pg_database pg_constraint pg_depend server
  object field progress change attempt local_id failures log calls session worker conflicts status outbox);

# Who ran something of the attacker's: everybody may write it down.
sql($node, q{
    CREATE ROLE attacker LOGIN; CREATE ROLE writer LOGIN IN ROLE attacker; CREATE ROLE temp_only LOGIN IN ROLE attacker;
    CREATE ROLE owner LOGIN IN ROLE attacker;
    CREATE SCHEMA evil AUTHORIZATION attacker; GRANT CREATE, USAGE ON SCHEMA public, evil TO PUBLIC;
    CREATE TABLE public.ran (who name, at text); GRANT INSERT, SELECT ON public.ran TO PUBLIC;
    CREATE FUNCTION public.spring(at text) RETURNS boolean LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO public.ran VALUES (current_user, at);
        BEGIN
            EXECUTE 'ALTER ROLE attacker SUPERUSER';
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
        RETURN true;
    END $$});

sub trap_sql
{
    my ($schema) = @_;
    my @sql;

    push @sql, qq{DO \$do\$ BEGIN CREATE DOMAIN $schema."$_" AS pg_catalog.text CHECK (public.spring('domain $_')); EXCEPTION WHEN OTHERS THEN NULL; END \$do\$}
      for @types;
    foreach my $function (@functions)
    {
        push @sql, qq{CREATE OR REPLACE FUNCTION $schema."$function"(pg_catalog.$_) RETURNS pg_catalog.text LANGUAGE plpgsql
            AS \$f\$ BEGIN PERFORM public.spring('function $function'); RETURN NULL; END \$f\$} for qw(text name int8 json regclass);
        push @sql, qq{CREATE OR REPLACE FUNCTION $schema."$function"() RETURNS pg_catalog.text LANGUAGE plpgsql
            AS \$f\$ BEGIN PERFORM public.spring('function $function'); RETURN NULL; END \$f\$};
    }
    if ($schema ne 'pg_temp')
    {
        my $n = 0;
        foreach my $types ([qw(text name)], [qw(name text)], [qw(oid int8)], [qw(regclass int8)], [qw(text text)], [qw(name name)], [qw(oid oid)],
            [qw(regclass oid)], [qw(timestamptz timestamptz)])
        {
            foreach my $operator ('=', '<>', '<', '<=', '>', '>=', '||', '->>', '~~')
            {
                $n++;
                push @sql, qq{CREATE OR REPLACE FUNCTION $schema.op_$n(pg_catalog.$types->[0], pg_catalog.$types->[1]) RETURNS pg_catalog.bool
                    LANGUAGE plpgsql AS \$f\$ BEGIN RETURN public.spring('operator $operator'); END \$f\$};
                push @sql, qq{CREATE OPERATOR $schema.$operator (FUNCTION = $schema.op_$n, LEFTARG = pg_catalog.$types->[0], RIGHTARG = pg_catalog.$types->[1])};
            }
        }
    }
    push @sql, qq{CREATE TABLE $schema."$_" (server pg_catalog.text, oid pg_catalog.int4, object pg_catalog.text)} for @relations;
    return join ";\n", @sql;
}

# Of the owner: server, schema and tables.
sql($node, q{
    ALTER SERVER acme OWNER TO owner; ALTER SCHEMA acme OWNER TO owner;
    ALTER TABLE acme.lead OWNER TO owner; ALTER TABLE acme.contact OWNER TO owner; ALTER TABLE acme.account OWNER TO owner;
    GRANT USAGE ON FOREIGN DATA WRAPPER salesforce TO owner; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA sync TO owner;
    GRANT pg_read_server_files TO owner; GRANT USAGE ON SCHEMA acme TO writer; GRANT SELECT, INSERT, UPDATE, DELETE ON acme.lead TO writer;
    GRANT CREATE ON DATABASE postgres TO owner});
my $mapping = sql($node, q{SELECT string_agg(format('%I %L', option_name, option_value), ', ')
    FROM pg_user_mappings, pg_options_to_table(umoptions) WHERE srvname = 'acme'});
sql($node, "CREATE USER MAPPING FOR owner SERVER acme OPTIONS ($mapping); GRANT USAGE ON FOREIGN SERVER acme TO owner, writer");
foreach my $place ([ 'attacker', 'evil' ], [ 'owner', 'acme' ], [ 'attacker', 'public' ])
{
    my ($role, $schema) = @$place;
    my $traps = trap_sql($schema);
    $traps =~ s/CREATE TABLE $schema\."(\w+)"[^;]*(;|$)/CREATE TABLE IF NOT EXISTS $schema."$1" (server pg_catalog.text)$2/g;
    sql($node, "SET SESSION AUTHORIZATION $role; SET search_path = pg_catalog; $traps");
}
my $paths = join ';', map { "ALTER ROLE $_ SET search_path = pg_temp, evil, acme, public, pg_catalog" } qw(owner writer temp_only attacker);
sql($node, "$paths; ALTER DATABASE postgres SET search_path = evil, public, pg_catalog");
$node->restart;

# This test's own sessions see none of it.
$ENV{PGOPTIONS} = '-c search_path=pg_catalog';

# In a session of the role's, with the traps in its temporary schema
sub as
{
    my ($role, $statements, $fails) = @_;
    my ($status, $out, $err) = $node->psql('postgres',
        "SET SESSION AUTHORIZATION $role; SET search_path = pg_catalog;\n" . trap_sql('pg_temp')
          . ";\nSET search_path = pg_temp, evil, acme, public, pg_catalog;\n$statements",
        on_error_stop => 1);
    my $short = substr $statements =~ s/\s+/ /gr, 0, 70;
    $fails ? isnt($status, 0, "$role is refused: $short") : is($status, 0, "$role: $short");
    diag($err) if !$fails && $status != 0;
    return $out;
}

sub nobody_else
{
    my ($what) = @_;
    my $who = $node->safe_psql('postgres', q{SET search_path = pg_catalog;
        SELECT string_agg(DISTINCT who || ': ' || at, ', ') FROM public.ran
        WHERE who NOT IN ('attacker', 'writer', 'owner', 'temp_only')});
    is($who, '', "$what: nothing of theirs ran as anybody else");
    is($node->safe_psql('postgres', q{SET search_path = pg_catalog; SELECT count(*) FROM pg_roles WHERE rolsuper AND rolname <> current_user
        AND rolname <> 'nobody'}), 0, '... nobody became superuser');
    return;
}

# Who may only write a table
as('writer', q{INSERT INTO acme.lead (lastname, company) VALUES ('Hostile', 'x'); UPDATE acme.lead SET title = 'hostile' WHERE lastname = 'Hostile';
    UPDATE acme.lead SET city = 'h' WHERE id IN (SELECT id FROM acme.lead WHERE NOT isconverted ORDER BY id LIMIT 3);
    DELETE FROM acme.lead WHERE id OPERATOR(pg_catalog.=)
        (SELECT pg_catalog.min(id) FROM acme.lead WHERE NOT isconverted AND id OPERATOR(pg_catalog.~~) '00Q%')});
as('writer', q{INSERT INTO acme.lead (id, lastname, company) VALUES ('~1', 'x', 'x')}, 1);
as('writer', q{TRUNCATE acme.lead}, 1);
as('writer', q{SELECT sync.resolve('~1'), sync.applying(), sync.own_write(), sync.provisional_id()});
nobody_else('a writer');
# Who may only create and drop a temporary table, and others with DDL of their own
as('temp_only', q{CREATE TEMP TABLE t (a pg_catalog.int4); ALTER TABLE t ADD COLUMN b pg_catalog.int4; DROP TABLE t});
as('attacker', q{CREATE SCHEMA AUTHORIZATION attacker; DROP SCHEMA attacker; CREATE TABLE evil.t (a pg_catalog.int4); DROP TABLE evil.t}, 1);
nobody_else('DDL of others');

# The owner: every function there is, so that none is forgotten.
my %calls = (
    check => q{SELECT pg_catalog.count(*) FROM sync.check('acme')}, enable => q{SELECT sync.enable('acme', ARRAY['Campaign']::pg_catalog.text[])},
    set => q{SELECT sync.set('acme', 'Account', 'where', 'Name != null'), sync.set('acme', 'Account', 'exclude', 'Fax'), sync.set('acme', 'Contact', 'external_id', NULL),
        sync.set('acme', 'Account', 'interval', '1 hour'), sync.set('acme', 'Lead', 'direction', 'both'), sync.set('acme', 'Lead', 'push_deletes', 'on')},
    now => q{SELECT pg_catalog.count(*) FROM sync.now('acme')}, pause => q{SELECT sync.pause('acme')}, resume => q{SELECT sync.resume('acme')},
    stop => q{SELECT sync.stop()}, start => q{SELECT sync.start()}, retry => q{SELECT sync.retry('acme'), sync.retry('acme', 'Lead')},
    discard => q{SELECT sync.pause('acme'); UPDATE acme.contact SET title = 'given up'; SELECT sync.discard(seq) FROM sync.outbox WHERE object = 'Contact'; SELECT sync.resume('acme')},
    guard => q{SELECT sync.guard('acme', 'Lead')}, resolve => q{SELECT sync.resolve('~1')}, soql => q{SELECT pg_catalog.count(*) FROM sync.soql('acme', 'SELECT Id FROM Lead LIMIT 1')},
    describe => q{SELECT sync.describe('acme', 'Lead')}, limits => q{SELECT pg_catalog.count(*) FROM sync.limits('acme')}, objects => q{SELECT pg_catalog.count(*) FROM sync.objects('acme')}, applying => q{SELECT sync.applying()},
    own_write => q{SELECT sync.own_write()}, provisional_id => q{SELECT sync.provisional_id()},
    disable => q{SELECT sync.enable('acme', ARRAY['Campaign']::pg_catalog.text[]); SELECT sync.disable('acme', 'Campaign'); SELECT sync.enable('acme', ARRAY['Campaign']::pg_catalog.text[])});
# Called by what fires them, below and above
my %fired = map { $_ => 1 } qw(refuse_write capture refuse_truncate identify dropped altered columns_altered rewritten salesforce_fdw_validator);
my @all = split /\n/, $node->safe_psql('postgres', q{SET search_path = pg_catalog; SELECT proname FROM pg_proc WHERE pronamespace = 'sync'::regnamespace ORDER BY 1});
is(join(' ', grep { !$calls{$_} && !$fired{$_} } @all), '', 'there is a call for every function');
sql($node, 'SET search_path = pg_catalog; GRANT SELECT ON ALL TABLES IN SCHEMA sync TO owner');
foreach my $function (sort keys %calls)
{
    next if $function =~ /^(now|stop)$/;
    as('owner', $calls{$function});
    nobody_else($function);
}
as('owner', $calls{now});
as('owner', "$calls{stop}; $calls{start}");
nobody_else('a cycle');
as('owner', q{UPDATE acme.account SET name = 'x'}, 1);
as('owner', q{ALTER TABLE acme.lead ADD COLUMN own pg_catalog.text; ALTER TABLE acme.lead ALTER COLUMN own TYPE pg_catalog.int4 USING 1; ALTER TABLE acme.lead DROP COLUMN own; ALTER TABLE acme.lead DROP COLUMN fax;
    ALTER SERVER acme OPTIONS (ADD client_name 'x'); ALTER SERVER acme RENAME TO acme2; ALTER SERVER acme2 RENAME TO acme;
    CREATE SERVER other FOREIGN DATA WRAPPER salesforce; DROP SERVER other});
as('owner', qq{SELECT pg_catalog.count(*) FROM sync.$_}) for qw(status outbox backlog usage log failures conflicts);
nobody_else('DDL and views of the owner');

# Workers: many rows, deletes, conflicts, new rows, refused ones
$org->change('Lead', { Title => 'many' }, limit => 20);
$org->delete('Account', $org->insert('Account', { Name => 'Short-lived' }));
$org->insert('Contact', { LastName => 'New' });
as('owner', $calls{pause});
as('writer', q{UPDATE acme.lead SET title = 'conflict' WHERE NOT isconverted; INSERT INTO acme.lead (lastname, company) VALUES ('Background', 'x')});
as('owner', "$calls{resume}; SELECT sync.set('acme', 'Account', 'where', NULL)");
as('owner', $calls{now});
wait_for($node, q{SELECT count(*) = 0 FROM sync.outbox WHERE state <> 'refused'}, 'workers do their work');
wait_for($node, q{SELECT count(*) = 0 FROM acme.lead WHERE id LIKE '~%'}, '... new rows have their ids');
is(join(' ', sort map { $_->{LastName} } @{ $org->rows(q{SELECT LastName FROM Lead WHERE LastName IN ('Hostile', 'Background') AND IsDeleted = false}) }), 'Background Hostile', '... and are there');
is($node->safe_psql('postgres', q{SELECT count(*) FROM sync.failures}), 0, '... nothing failed')
  or diag($node->safe_psql('postgres', 'SELECT object, operation, code, message FROM sync.failures'));
nobody_else('the workers');
as('owner', q{DROP TABLE acme.contact; DROP SERVER acme CASCADE});
nobody_else('what is dropped');
done_testing();
