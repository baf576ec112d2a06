
# The decoders under libFuzzer: each target of test/fuzz from the examples in its
# corpus, until so many runs or seconds are over.  What it finds is a failure.
#
# Long by make fuzz (FUZZ_MINUTES, FUZZ_TARGET, FUZZ_SEED), short as
# test/t/155_fuzz.pl.  Without clang and its libFuzzer all is skipped.

use strict;
use warnings;
use File::Basename;
use IPC::Run;
use MIME::Base64;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $here = "$ENV{TOP}/test/fuzz";
my $make = "make -s -C '$here' PG_CONFIG='$ENV{PG_CONFIG}'";

plan skip_all => 'no clang with libFuzzer here'
  if system("$make runtime >/dev/null 2>&1") != 0;

my $output = `$make -j2 2>&1`;
is($?, 0, 'the module is built') or BAIL_OUT($output);

my $node = PostgreSQL::Test::Cluster->new('fuzz');
$node->init(extra => [ '--encoding=UTF8', '--no-locale' ]);
my $found = "$PostgreSQL::Test::Utils::tmp_check/found";
mkdir $found;

# One statement in a process of its own, which libFuzzer may end as it likes.
sub single
{
    my ($statement, $seconds) = @_;
    my $out = '';
    my $timer = IPC::Run::timer($seconds);
    my $run = IPC::Run::start(
        [ 'postgres', '--single', '-D', $node->data_dir, '-F',
            '-c', 'shared_preload_libraries=', '-c', 'log_min_messages=fatal', 'postgres' ],
        '<', \"$statement\n", '>&', \$out, $timer);

    eval { $run->finish; 1 } or do { $run->kill_kill; $out .= "\n$@" };
    return ($run->full_result(0), $out);
}

single("CREATE FUNCTION $_ LANGUAGE c STRICT", 60)
  for "fuzz(text, text[]) RETURNS int AS '$here/fuzz'",
  "fuzz_targets() RETURNS text AS '$here/fuzz'";
my ($status, $list) = single('SELECT fuzz_targets()', 60);
my @targets = $list =~ /"([a-z_ ]+) "/ ? split(/ /, $1) : ();
cmp_ok(scalar(@targets), '>', 20, 'the targets are known') or diag($list);

# Every target has examples, and all examples are some target's.
is(join(' ', sort map { basename($_) } glob "$here/corpus/*"), join(' ', sort @targets),
    'each has a corpus');

@targets = grep { $_ eq $ENV{FUZZ_TARGET} } @targets if $ENV{FUZZ_TARGET};
ok(scalar(@targets), 'something to do') or diag("no target $ENV{FUZZ_TARGET}");

my $seconds = $ENV{FUZZ_MINUTES} ? int($ENV{FUZZ_MINUTES} * 60 / (@targets || 1)) + 1 : 2;
my $seed = $ENV{FUZZ_SEED} || ($ENV{FUZZ_MINUTES} ? time % 1_000_000 : 1);
my @limits = ("-max_total_time=$seconds", $ENV{FUZZ_MINUTES} ? () : '-runs=5000');

# What ended it, in a form in which it can be put into the corpus.
sub tell
{
    my ($target, $out) = @_;
    my @lines = grep { !/^#\d+\s+(NEW|REDUCE|pulse|RELOAD)/ } split /\n/, $out;

    splice @lines, 0, @lines - 40 if @lines > 40;
    diag(join "\n", @lines);
    foreach my $file (glob "$found/$target-*")
    {
        my $input = slurp_file($file);
        diag("base64 -d >test/fuzz/corpus/$target/NAME <<'END'\n", encode_base64($input), 'END')
          if length $input <= 16384;
    }
    return;
}

foreach my $target (@targets)
{
    # What is new is written to the first folder.
    my $new = "$PostgreSQL::Test::Utils::tmp_check/new_$target";
    my @args = (@limits, "-seed=$seed", '-timeout=10', '-rss_limit_mb=1024', '-max_len=8192',
        '-detect_leaks=0', (map { "-handle_$_=0" } qw(int term usr1 usr2)),
        "-artifact_prefix=$found/$target-", "-dict=$here/dictionary", '-print_final_stats=1',
        $new, "$here/corpus/$target");

    mkdir $new;
    my ($code, $out) = single("SELECT fuzz('$target', '{" . join(',', map { "\"$_\"" } @args) . "}')",
        $seconds + 120);
    my ($runs) = $out =~ /number_of_executed_units: (\d+)/;
    ok($code == 0 && $runs && $out !~ /^ERROR/m, "$target: " . ($runs || 'no') . ' runs, nothing found')
      or tell($target, $out);
    note($1) while $out =~ /^(stat::.*|#\d+\s+DONE.*)$/mg;
}

done_testing();
