#
# test/harness.pl [FILE...] - runs the tests of all kinds and counts them
# test/harness.pl --stop FOLDER - ends what a runner that died has left there
#
# Every kind of test speaks TAP: Perl files by themselves, pg_regress and the
# isolation tester through test/t/00*.pl, Python's unittest through
# test/unittest_tap.py.  So one count covers them all, and the line at the end
# is true: a runner that crashes, times out or breaks off its plan counts as a
# failure, and so does a run in which nothing was tested.
#
# Called by test/run, as an unprivileged user, with WORK (the folder of this
# run) and PG_CONFIG in the environment.
#
use strict;
use warnings;
use File::Basename qw(basename dirname);
use File::Find;
use File::Spec;
use TAP::Harness;

# No single file should need this long, but where it is asked to (make chaos);
# one that hangs must not take all day.
use constant FILE_SECONDS => $ENV{FILE_SECONDS} || 480;

if (@ARGV && $ARGV[0] eq '--stop')
{
    stop_leftovers($ARGV[1]);
    exit 0;
}

my $tree = File::Spec->rel2abs(dirname(__FILE__) . '/..');
my $work = $ENV{WORK} or die "WORK is not set\n";

set_environment();
chdir $tree or die "$tree: $!\n";
exit run(@ARGV ? @ARGV : all_files());

# Where PostgreSQL's own test modules and programs are, and where they write.
sub set_environment
{
    my $pgxs = dirname(dirname(pg_config('--pgxs')));
    my $bindir = pg_config('--bindir');

    $ENV{PATH} = "$bindir:$ENV{PATH}";
    $ENV{PERL5LIB} = join ':', "$pgxs/test/perl", "$tree/test/t/lib",
      grep { defined } $ENV{PERL5LIB};
    $ENV{PG_REGRESS} = "$pgxs/test/regress/pg_regress";
    $ENV{PG_ISOLATION_REGRESS} = "$pgxs/test/isolation/pg_isolation_regress";
    $ENV{TESTDIR} = $work;
    $ENV{TESTDATADIR} = "$work/tmp_check";
    $ENV{TESTLOGDIR} = "$work/tmp_check/log";
    $ENV{PG_TEST_PORT_DIR} = "$work/ports";
    $ENV{TEMP_CONFIG} = "$work/temp.conf";
    $ENV{TMPDIR} = "$work/tmp";
    $ENV{TOP} = $tree;
    $ENV{PG_TEST_TIMEOUT_DEFAULT} ||= 90;
    $ENV{PERL_TEST_HARNESS_DUMP_TAP} = "$work/tap";
    $ENV{PYTHONDONTWRITEBYTECODE} = 1;
    delete @ENV{ grep { /^PG(HOST|PORT|USER|DATABASE|DATA|PASS|SERVICE)/ }
          keys %ENV };
    mkdir $_ for "$work/tmp", "$work/ports", "$work/tap", "$work/tmp_check";
}

sub pg_config
{
    my ($what) = @_;
    my $answer = `'$ENV{PG_CONFIG}' $what`;
    chomp $answer;
    return $answer;
}

# Whole-system tests first, the long ones among them by their numbers, so that
# the short checks fill the gaps at the end.
sub all_files
{
    return ((sort glob('test/t/*.pl')),
        (sort glob('test/org/tests/test_*.py')),
        (grep { -x } sort glob('test/org/checks/*/*.js test/org/checks/*/run')));
}

sub command_of
{
    my ($file) = @_;
    my @limit = ('timeout', '-k', '20', FILE_SECONDS);

    return [ @limit, $ENV{PYTHON} || 'python3', 'test/unittest_tap.py', $file ]
      if $file =~ /\.py$/;
    return [ @limit, $^X, $file ] if $file =~ /\.pl$/;
    return [ @limit, $file ];
}

sub run
{
    my @files = @_;
    my $jobs = $ENV{JOBS} || 3;
    my $harness = Harness->new(
        {
            jobs => $jobs,
            timer => 1,
            merge => 1,
            color => 0,
            errors => 0,
            formatter_class => 'Lines',
            exec => sub { command_of($_[1]) },
        });
    my $result = $harness->runtests(@files);

    show_failures($result, $_) for $result->descriptions;
    return summary($result);
}

# What failed and what was said about it, for one file.
sub show_failures
{
    my ($result, $file) = @_;
    my ($parser) = $result->parsers($file);
    my ($lines_left, $last) = (0, '');

    return unless $parser->has_problems;
    print "\n--- $file\n";
    open my $tap, '<', "$work/tap/$file" or return;
    while (my $line = <$tap>)
    {
        $lines_left = $line =~ /^not ok/ && $line !~ /# TODO/i ? 30 : 0
          if $line =~ /^(not )?ok\b/;
        print $line if $lines_left-- > 0;
        $last = $line;
    }
    close $tap;
    print "(the last line it printed) $last"
      if $parser->parse_errors || $parser->exit;
    print "$_\n" for $parser->parse_errors;
    print 'exit status ', $parser->exit, "\n" if $parser->exit;
    show_log($file);
}

# The end of the whole-system test's own log: commands and their errors.
sub show_log
{
    my ($file) = @_;
    my $log = "$work/tmp_check/log/regress_log_" . basename($file, '.pl');
    $log = "$work/tmp_check/log/" . basename($log) unless -e $log;

    open my $in, '<', $log or return;
    my @lines = <$in>;
    close $in;
    splice @lines, 0, @lines - 40 if @lines > 40;
    print "... $log:\n", map { "    $_" } @lines;
}

sub summary
{
    my ($result) = @_;
    my ($passed, $failed, $skipped) = (0, 0, 0);

    foreach my $file ($result->descriptions)
    {
        my ($parser) = $result->parsers($file);
        my $bad = $parser->failed;
        my $skip = $parser->skipped;

        # Tests that a runner never came to are as bad as ones that fail.
        $bad ||= 1 if $parser->has_problems || $parser->exit;
        $skip = 1 if defined $parser->skip_all;
        $failed += $bad;
        $skipped += $skip;
        $passed += $parser->actual_passed - (defined $parser->skip_all ? 0 : $skip);
    }
    $failed ||= 1 unless $passed;
    print "\n$passed passed, $failed failed",
      ($skipped ? ", $skipped skipped" : ''), "\n";
    return $failed ? 1 : 0;
}

# Servers and orgs write their process id into their folder.
sub stop_leftovers
{
    my ($folder) = @_;
    my @pids;

    find(
        {
            no_chdir => 1,
            wanted => sub {
                push @pids, first_number($_)
                  if basename($_) eq 'postmaster.pid'
                  || basename($_) eq 'port.json';
            }
        },
        grep { -d } "$folder/tmp_check", "$folder/tmp");
    kill 'INT', grep { $_ } @pids;
}

# postmaster.pid begins with the number, an org's port file names it.
sub first_number
{
    my ($file) = @_;

    open my $in, '<', $file or return 0;
    my $text = join '', <$in>;
    return $1 if $text =~ /^(\d+)/ || $text =~ /"pid":\s*(\d+)/;
    return 0;
}

# A test that bails out is one that failed; the others go on.
package Harness;
use base 'TAP::Harness';

sub _bailout { }

# One line per file, in the order in which they end.
package Lines;
use base 'TAP::Formatter::Base';

sub open_test
{
    my ($self, $name, $parser) = @_;
    return Lines::Session->new({ name => $name, formatter => $self, parser => $parser });
}

sub summary { }

package Lines::Session;
use base 'TAP::Formatter::Session';

sub close_test
{
    my ($self) = @_;
    my $parser = $self->parser;
    my $seconds = $parser->end_time - $parser->start_time;
    my $tests = $parser->tests_run;
    my $what = defined $parser->skip_all ? 'skipped: ' . $parser->skip_all
      : $parser->has_problems ? 'FAILED'
      : 'ok';

    printf "%-44s %4d tests %6.1f s  %s\n", $self->name, $tests, $seconds, $what;
}

1;
