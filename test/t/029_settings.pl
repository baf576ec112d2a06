
# Settings of a database are for those who work in it: workers go by their own.

use strict;
use warnings;
use SyncTest;
use Test::More;
use WayOut;

my ($org, $node) = two_way(leads => 20, objects => [ 'Lead', 'Contact' ]);
my %settings = (default_transaction_read_only => 'on', default_transaction_isolation => 'repeatable read',
    default_transaction_deferrable => 'on', lock_timeout => '10ms', statement_timeout => '10ms',
    idle_in_transaction_session_timeout => '10ms', transaction_timeout => '10ms',
    datestyle => 'SQL, DMY', timezone => 'Asia/Kolkata');

# This test's own sessions are to have none of them.
my %plain = (default_transaction_read_only => 'off', default_transaction_isolation => 'read\\ committed',
    lock_timeout => 0, statement_timeout => 0, idle_in_transaction_session_timeout => 0, datestyle => 'ISO');
my ($timeout) = sql($node, q{SELECT name FROM pg_settings WHERE name = 'transaction_timeout'});
if ($timeout) { $plain{$timeout} = 0 } else { delete $settings{transaction_timeout} }
$ENV{PGOPTIONS} = join ' ', map { "-c $_=$plain{$_}" } sort keys %plain;
sql($node, "ALTER DATABASE postgres SET $_ = '$settings{$_}'") for sort keys %settings;
no_worker($node);
sql($node, 'SELECT sync.start()');

# The condition of a write is the row's own stamp.
my $id = sql($node, 'SELECT min(id) FROM acme.lead WHERE NOT isconverted');
my $stamp = sql($node, "SELECT systemmodstamp FROM acme.lead WHERE id = '$id'");
sql($node, q{SELECT sync.set('acme', 'Lead', 'unmodified_since', 'on')});
$org->calls_mark;
sql($node, "UPDATE acme.lead SET title = 'Ours' WHERE id = '$id'");
went_out($node, 'a worker writes where others may only read');
my ($moment) = map { ($_->{body} || '') =~ /"If-Unmodified-Since":"([^"]+)"/ } writes_of($org);
is(sql($node, "SELECT '$moment'::timestamptz - date_trunc('second', '$stamp'::timestamptz) BETWEEN '0' AND '1 s'"), 't', "on condition of $stamp");

# A row that a user has locked is tried again, and what was changed there is seen.
sub locked
{
    my ($row) = @_;
    my $session = $node->background_psql('postgres');

    $session->query('BEGIN');
    $session->query("UPDATE acme.lead SET title = 'Later' WHERE id = '$row'");
    $org->update('Lead', { Id => $row, Phone => '4711' });
    my @done = $node->psql('postgres', q{SELECT outcome FROM sync.now('acme', 'Lead')});
    $session->query('COMMIT');
    $session->quit;
    return @done;
}
my ($status, $out, $err) = locked($id);
is("$status $out$err", "0 done\ndone", 'a row that is locked keeps nothing');
went_out($node, 'what was changed there goes out');
wait_for($node, "SELECT phone = '4711' FROM acme.lead WHERE id = '$id'", 'and what came meanwhile comes in');
is(sql($node, "SELECT title, phone FROM acme.lead WHERE id = '$id'"), 'Later|4711', 'both changes are in');
is(failures_of($node), '', 'no failure');

# What a function returns does not depend on how its session writes dates.
is(sql($node, q{SET datestyle = 'SQL, DMY'; SET timezone = 'Asia/Kolkata';
    SELECT bool_and(started BETWEEN now() - interval '1 min' AND clock_timestamp()) FROM sync.now('acme')}), 't',
    'moments are the same in any form');
done_testing();
