
# A record that is gone for good is gone, though Salesforce says so of what it
# refers to; and records are deleted after those that refer to them.

use strict;
use warnings;
use JSON::PP;
use SyncTest;
use Test::More;
use WayOut;

my ($org, $node) = two_way(leads => 60, contacts => 60, accounts => 10, campaigns => 6,
    objects => [qw(Lead Contact Account Case Campaign)], conf => 'sync.push_bulk_threshold = 15');
sql($node, "SELECT sync.set('acme', '$_', 'direction', 'both')") for qw(Account Case);
my @leads = split /\n/, sql($node, 'SELECT id FROM acme.lead WHERE NOT isconverted ORDER BY id');
my $invalid = { statusCode => 'INVALID_CROSS_REFERENCE_KEY', message => 'invalid cross reference id' };
my $seq = 0;

sub gone
{
    $org->delete('Lead', @_);
    $org->dml(op => 'purge', object => 'Lead', records => [@_]);
    return;
}

#
# Gone for good
#

gone(@leads[ 0 .. 3 ]);
sql($node, qq{DELETE FROM acme.lead WHERE id = '$leads[0]'});
went_out($node, 'a delete of what was purged has what it wanted');
sql($node, qq{UPDATE acme.lead SET title = 'too late' WHERE id IN ('$leads[1]', '$leads[2]', '$leads[4]')});
went_out($node, 'an update of what was purged is dropped');
is(conflicts_of($node, $leads[1]) =~ s/^title\|[^|]*\|\|/title|x||/r, 'title|x||too late|salesforce|deleted', '... as a conflict');
is(record_of($org, 'Lead', $leads[4], 'Title')->{Title}, 'too late', '... others are done');
wait_for($node, qq{SELECT count(*) = 0 FROM acme.lead WHERE id IN ('$leads[1]', '$leads[2]')}, '... the rows go');
is(failures_of($node), '', '... nothing is refused');

# Under a condition
sql($node, q{SELECT sync.set('acme', 'Lead', 'unmodified_since', 'on')});
sql($node, qq{UPDATE acme.lead SET title = 'too late' WHERE id IN ('$leads[3]', '$leads[5]')});
went_out($node, 'the same under a condition');
is(conflicts_of($node, $leads[3]) =~ s/^title\|[^|]*\|\|/title|x||/r, 'title|x||too late|salesforce|deleted', '... a conflict');
is(failures_of($node), '', '... nothing is refused');
sql($node, q{SELECT sync.set('acme', 'Lead', 'unmodified_since', 'off')});

# By Bulk
gone(@leads[ 10, 11 ]);
hold($node);
sql($node, "UPDATE acme.lead SET title = 'by bulk' WHERE id IN (" . join(',', map { "'$_'" } @leads[ 10 .. 29 ]) . ')');
let_go($node, 'the same by Bulk');
is($org->count('Lead', q{Title = 'by bulk'}), 18, '... others are done');
is(failures_of($node), '', '... nothing is refused');

# What a record refers to may be meant as well: then it is refused.
$org->fault({ op => 'update', record => $leads[6] }, { record_error => $invalid });
sql($node, qq{UPDATE acme.lead SET title = 'still there' WHERE id = '$leads[6]'});
wait_for($node, qq{SELECT count(*) = 1 FROM sync.failures WHERE record = '$leads[6]' AND code = 'INVALID_CROSS_REFERENCE_KEY'}, 'a record that is there is refused');
sql($node, q{SELECT sync.retry('acme')});
went_out($node, '... until it is retried');
$org->fault({ op => 'update', record => $leads[7] }, { record_error => { %$invalid, fields => ['OwnerId'] } });
sql($node, qq{UPDATE acme.lead SET title = 'a field is named' WHERE id = '$leads[7]'});
wait_for($node, qq{SELECT count(*) = 1 FROM sync.failures WHERE record = '$leads[7]'}, 'so is one with a field');
sql($node, q{SELECT sync.retry('acme')});
went_out($node, '... until it is retried');

#
# The order of deletes
#

# Ids of deletes, call by call
sub deleted
{
    return map { [ split /,/, ($_->{query} =~ /ids=([\w,]+)/)[0] // '' ] } $org->calls(kind => 'collections');
}

sub with_account
{
    my ($n, $cases) = @_;
    my ($account) = $org->insert('Account', { Name => 'Acc ' . ++$seq });
    my @contacts = $org->insert('Contact', map { { LastName => "C $seq $_", AccountId => $account } } 1 .. $n);
    my @cases = $cases ? $org->insert('Case', map { { Subject => "C $seq", ContactId => $_, AccountId => $account } } @contacts) : ();

    return ($account, \@contacts, \@cases);
}

sub in_list { return '(' . join(',', map { "'$_'" } @_) . ')' }

# Cases keep their contacts and accounts from being deleted.
my ($account, $contacts, $cases) = with_account(3, 1);
sync_now($node, 'acme');
hold($node);
sql($node, "BEGIN; DELETE FROM acme.account WHERE id = '$account'; DELETE FROM acme.contact WHERE accountid = '$account';
    DELETE FROM acme.case WHERE accountid = '$account'; COMMIT");
$org->calls_mark;
let_go($node, 'parents and children, parents first');
is(failures_of($node), '', '... nothing is refused');
is(join(' ', map { join ',', sort @$_ } deleted()), join(' ', join(',', sort @$cases), join(',', sort @$contacts), $account), '... children go first');

# Of the same object, too
my ($top) = $org->insert('Campaign', { Name => 'top' });
my ($middle) = $org->insert('Campaign', { Name => 'middle', ParentId => $top });
my ($low) = $org->insert('Campaign', { Name => 'low', ParentId => $middle });
sync_now($node, 'acme');
hold($node);
sql($node, "DELETE FROM acme.campaign WHERE id IN ('$top', '$middle', '$low')");
$org->calls_mark;
let_go($node, 'a tree');
is(join(' ', map { @$_ } deleted()), "$low $middle $top", '... from below');

# Records that refer to each other
my ($one) = $org->insert('Contact', { LastName => 'One' });
my ($two) = $org->insert('Contact', { LastName => 'Two', ReportsToId => $one });
$org->update('Contact', { Id => $one, ReportsToId => $two });
sync_now($node, 'acme');
sql($node, "DELETE FROM acme.contact WHERE id IN ('$one', '$two')");
went_out($node, 'a circle is deleted as well');
is($org->count('Contact', "Id IN ('$one', '$two')"), 0, '... wholly');

# Many, by Bulk jobs
($account, $contacts, $cases) = with_account(20, 1);
sync_now($node, 'acme');
hold($node);
sql($node, "BEGIN; DELETE FROM acme.account WHERE id = '$account'; DELETE FROM acme.contact WHERE accountid = '$account';
    DELETE FROM acme.case WHERE accountid = '$account'; COMMIT");
let_go($node, 'many');
is(failures_of($node), '', '... nothing is refused');
is($org->count('Contact', "AccountId = '$account'") + $org->count('Account', "Id = '$account'"), 0, '... all are gone');

# A row that was moved to another parent arrives there before its old one is
# deleted with all that it has, also if it has to be tried again.
foreach my $fault (undef, 'UNABLE_TO_LOCK_ROW')
{
    my ($from, $moved) = with_account(2, 0);
    my ($to) = with_account(0, 0);

    sync_now($node, 'acme');
    $org->fault({ op => 'update', record => $moved->[0] }, { record_error => { statusCode => $fault, message => 'locked' } }, times => 3) if $fault;
    hold($node);
    sql($node, "BEGIN; UPDATE acme.contact SET accountid = '$to' WHERE accountid = '$from'; DELETE FROM acme.account WHERE id = '$from'; COMMIT");
    let_go($node, $fault ? 'moved children that are locked' : 'moved children');
    is($org->count('Contact', "AccountId = '$to'"), 2, '... outlive their old parent');
    is($org->count('Account', "Id = '$from'"), 0, '... which is deleted');
}
# ... also if it is deleted in a later transaction, while they wait
my ($from, $moved) = with_account(2, 0);
my ($to) = with_account(0, 0);
sync_now($node, 'acme');
$org->fault({ op => 'update', record => $moved->[0] }, { record_error => { statusCode => 'UNABLE_TO_LOCK_ROW', message => 'locked' } }, times => 3);
sql($node, "UPDATE acme.contact SET accountid = '$to' WHERE accountid = '$from'");
wait_for($node, q{SELECT count(*) = 1 FROM sync.outbox WHERE attempts > 1}, 'a child that was moved waits');
sql($node, "DELETE FROM acme.account WHERE id = '$from'");
went_out($node, '... when its old parent is deleted');
is($org->count('Contact', "AccountId = '$to'"), 2, '... and outlives it');
is($org->count('Account', "Id = '$from'"), 0, '... which is deleted then');
is(failures_of($node), '', 'nothing is refused');
sync_now($node, 'acme');
same_rows($node, $org, 'acme', $_, 'both sides') for qw(Contact Account Case Campaign);
done_testing();
