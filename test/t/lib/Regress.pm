
# Runs pg_regress or the isolation tester and turns what it says of each test
# into TAP, so that each counts by itself.

package Regress;

use strict;
use warnings;
use File::Path qw(make_path);
use Test::More;

sub run
{
    my (%test) = @_;
    my $output = "$ENV{TESTDATADIR}/$test{name}";
    my @tests = tests_of($test{list});
    my %outcome;

    plan skip_all => "no $test{list} tests" unless @tests;
    # PostgreSQL 13 does not install the isolation tester.
    plan skip_all => "this server comes without $test{program}" unless -x $test{program};
    make_path($output);
    my @command = (
        $test{program},
        "--inputdir=$ENV{TOP}", "--outputdir=$output",
        '--bindir=' . bindir(), "--temp-instance=$output/tmp",
        "--temp-config=$ENV{TEMP_CONFIG}",
        "--dbname=sync_$test{name}", '--encoding=UTF8', '--no-locale',
        @{ $test{options} || [] }, @tests);
    my @lines = output_of(@command);
    my $status = $? >> 8;

    foreach my $line (@lines)
    {
        # "test name ... ok 12 ms" up to PostgreSQL 15, then TAP
        $outcome{$2} = $3 eq 'ok'
          if $line =~ /^(test|    )\s*(\w+)\s+\.\.\. (ok|FAILED|diff)/;
        $outcome{$2} = $1 eq 'ok'
          if $line =~ /^(ok|not ok)\s+\d+\s+[-+]\s+(\w+)/;
    }
    ok($outcome{$_}, $_) for @tests;
    ok($status == 0, "$test{name} ended well")
      unless grep { !$outcome{$_} } @tests;
    show(\@lines, $output) if $status;
    done_testing();
}

# The names that the Makefile gives to installcheck.
sub tests_of
{
    my ($list) = @_;
    open my $makefile, '<', "$ENV{TOP}/Makefile" or die "Makefile: $!";
    my $text = join '', <$makefile>;

    $text =~ s/\\\n/ /g;
    return $text =~ /^$list\s*=(.*)$/m ? split(' ', $1) : ();
}

sub bindir
{
    my $bindir = `'$ENV{PG_CONFIG}' --bindir`;
    chomp $bindir;
    return $bindir;
}

sub output_of
{
    my (@command) = @_;
    open my $out, '-|', join(' ', map { "'$_'" } @command) . ' 2>&1'
      or die "$command[0]: $!";
    my @lines = <$out>;
    close $out;
    return @lines;
}

# The differences, or what the program said where there are none.
sub show
{
    my ($lines, $output) = @_;

    if (open my $diffs, '<', "$output/regression.diffs")
    {
        diag($_) for <$diffs>;
        return;
    }
    diag($_) for @$lines;
}

1;
