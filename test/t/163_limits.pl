
# Limits of the org's own code, and locks that it meets, may be passed by smaller
# calls: halved until they pass, refused only for a row alone.

use strict;
use warnings;
use JSON::PP;
use SyncTest;
use Test::More;
use WayOut;

my ($org, $node) = two_way(leads => 700, contacts => 300, objects => [qw(Lead Contact)],
    conf => 'sync.push_bulk_threshold = 300');
my $n = 0;

sub leads { my ($limit) = @_; return "(SELECT id FROM acme.lead WHERE NOT isconverted ORDER BY id LIMIT $limit)" }

# How many records each call had
sub sizes
{
    return map { my @ids = ($_->{path} . ($_->{body} // '')) =~ /"attributes"/g; scalar @ids }
      grep { $_->{kind} eq 'collections' } $org->calls;
}

# Changes of so many rows pass, in not too many calls
sub passes
{
    my ($what, $rows, $most, %governor) = @_;
    my $title = 'pass ' . ++$n;

    $org->post('/config', { governor => { object => 'Lead', rows => 25, %governor } });
    $org->calls_mark;
    hold($node);
    sql($node, "UPDATE acme.lead SET title = '$title' WHERE id IN " . leads($rows));
    let_go($node, $what);
    is($org->count('Lead', "Title = '$title'"), $rows, '... all are done');
    is(failures_of($node), '', '... nothing is refused');
    cmp_ok(scalar(sizes()), '<=', $most, "... in at most $most calls");
    return;
}

foreach my $words ('LeadTrigger: execution of BeforeUpdate caused by: System.LimitException: Apex CPU time limit exceeded',
    'Too many SOQL queries: 101', 'LeadTrigger: System.LimitException: Too many DML rows: 10001',
    'Record Currently Unavailable: The record you are attempting to edit, or one of its related records, is currently being modified by another user. Please try again.',
    'LeadTrigger: System.DmlException: Update failed. First exception on row 0; first error: UNABLE_TO_LOCK_ROW, unable to obtain exclusive access to this record: []')
{
    passes($words =~ s/^(.{30}).*/$1/r, 200, 16, message => $words);
}
passes('in the words of a flow', 200, 16, statusCode => 'CANNOT_EXECUTE_FLOW_TRIGGER', message => 'the apex cpu time limit exceeded, said the flow');
passes('by addError', 200, 16, statusCode => 'FIELD_CUSTOM_VALIDATION_EXCEPTION', message => 'unable to obtain exclusive access to this record or 1 records');
passes('an unknown error', 200, 16, statusCode => 'UNKNOWN_EXCEPTION', message => 'System.LimitException: Too many queueable jobs added to the queue: 51');
passes('down to one', 5, 12, rows => 1);
passes('many calls: the others are made smaller at once', 300, 28);
passes('a Bulk job', 600, 60);
passes('under a condition', 20, 16, rows => 5) if sql($node, q{SELECT sync.set('acme', 'Lead', 'unmodified_since', 'on')}) eq '';
sql($node, q{SELECT sync.set('acme', 'Lead', 'unmodified_since', 'off')});

# New rows and deletes
$org->post('/config', { governor => { object => 'Lead', rows => 25 } });
hold($node);
sql($node, q{INSERT INTO acme.lead (lastname, company) SELECT 'Limited', 'c' || i FROM generate_series(1, 150) i});
let_go($node, 'new rows');
is($org->count('Lead', q{LastName = 'Limited'}), 150, '... each is made once');
is(sql($node, q{SELECT count(*) FROM acme.lead WHERE lastname = 'Limited' AND id NOT LIKE '~%'}), 150, '... and has its id');
hold($node);
sql($node, q{DELETE FROM acme.lead WHERE lastname = 'Limited'});
let_go($node, 'deletes');
is($org->count('Lead', q{LastName = 'Limited'}), 0, '... are done');
is(failures_of($node), '', '... nothing is refused');
$org->post('/config', { governor => undef });

# A row that is always over the limit is refused, the others are not.
my ($bad) = split /\n/, sql($node, leads(40) =~ s/^\(|\)$//gr);
$org->fault({ op => 'update', record => $bad }, { record_error => { statusCode => 'CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY',
        message => 'System.LimitException: Apex heap size too large: 1' } }, times => -1);
hold($node);
sql($node, "UPDATE acme.lead SET title = 'one is bad' WHERE id IN " . leads(40));
let_go($node, 'a row that is too much by itself');
is(failures_of($node), "Lead|push|$bad|CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY", '... is refused alone');
is($org->count('Lead', q{Title = 'one is bad'}), 39, '... the others are done');
$org->no_faults;
sql($node, q{SELECT sync.retry('acme')});
went_out($node, '... until it is retried');

# A lock that a row meets alone may be somebody else's.
$org->fault({ op => 'update', record => $bad }, { record_error => { statusCode => 'CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY',
        message => 'LeadTrigger: UNABLE_TO_LOCK_ROW, unable to obtain exclusive access to this record' } }, times => 3);
sql($node, "UPDATE acme.lead SET title = 'locked' WHERE id = '$bad'");
went_out($node, 'a lock that a trigger meets');
is(failures_of($node), '', '... is no failure');
$org->fault({ op => 'update', record => $bad }, { record_error => { statusCode => 'CANNOT_INSERT_UPDATE_ACTIVATE_ENTITY',
        message => 'Record Currently Unavailable' } }, times => -1);
sql($node, "UPDATE acme.lead SET title = 'for ever' WHERE id = '$bad'");
sql($node, "UPDATE sync.change SET attempts = 6");
wait_for($node, qq{SELECT count(*) = 1 FROM sync.failures WHERE record = '$bad'}, '... unless it stays');
$org->no_faults;
sql($node, q{SELECT sync.retry('acme')});
went_out($node, '... until it is retried');

# The user knows what the org can take.
foreach my $value ("'0'", "'201'", "'x'", "'5 '", "''", "'9999999999999999999'")
{
    like(sql_error($node, "SELECT sync.set('acme', 'Lead', 'batch_rows', $value)"), qr/22023: invalid value for option "batch_rows"/, "batch_rows $value");
}
sql($node, q{SELECT sync.set('acme', 'Lead', 'batch_rows', '50')});
passes('batch_rows', 350, 7, rows => 50);
is(join(' ', sizes()), join(' ', (50) x 7), '... of the size that was set');
sql($node, q{SELECT sync.set('acme', 'Lead', 'batch_rows', NULL)});
$org->post('/config', { governor => undef });
$org->calls_mark;
hold($node);
sql($node, q{UPDATE acme.lead SET title = 'default' WHERE id IN } . leads(210));
let_go($node, 'without it');
is(scalar(my @calls = sizes()), 2, '... as many as a call takes');

# Duplicate rules that only warn
my $email = sql($node, q{SELECT email FROM acme.lead WHERE email IS NOT NULL LIMIT 1});
$org->post('/config', { duplicate_rule => { object => 'Lead', field => 'Email', action => 'alert' } });
my ($double) = sql($node, qq{INSERT INTO acme.lead (lastname, company, email) VALUES ('Double', 'D', '$email') RETURNING id});
wait_for($node, qq{SELECT count(*) = 1 FROM sync.failures WHERE record = '$double' AND code = 'DUPLICATES_DETECTED'}, 'a duplicate is refused');
like(sql_error($node, q{SELECT sync.set('acme', 'Lead', 'allow_duplicates', 'perhaps')}), qr/22023/, 'allow_duplicates perhaps');
sql($node, q{SELECT sync.set('acme', 'Lead', 'allow_duplicates', 'on'); SELECT sync.retry('acme')});
went_out($node, '... and saved with allow_duplicates');
is($org->count('Lead', q{LastName = 'Double'}), 1, '... once');
hold($node);
sql($node, qq{INSERT INTO acme.lead (lastname, company, email) SELECT 'Double', 'D' || i, '$email' FROM generate_series(1, 350) i});
let_go($node, 'many, by a Bulk job and what it refuses by calls');
is($org->count('Lead', q{LastName = 'Double'}), 351, '... each once');
sql($node, q{SELECT sync.set('acme', 'Lead', 'unmodified_since', 'on')});
sql($node, qq{UPDATE acme.lead SET title = 'double', email = '$email' WHERE id IN (SELECT id FROM acme.lead WHERE NOT isconverted AND email <> '$email' ORDER BY id LIMIT 3)});
went_out($node, 'under a condition');
is($org->count('Lead', q{Title = 'double'}), 3, '... too');
sql($node, q{SELECT sync.set('acme', 'Lead', 'unmodified_since', 'off'); SELECT sync.set('acme', 'Lead', 'allow_duplicates', 'off')});
is(failures_of($node), '', 'nothing is refused');
($double) = sql($node, qq{INSERT INTO acme.lead (lastname, company, email) VALUES ('Off again', 'D', '$email') RETURNING id});
wait_for($node, qq{SELECT count(*) = 1 FROM sync.failures WHERE record = '$double'}, 'off again');
done_testing();
