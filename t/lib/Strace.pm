package Strace;

# What a process asks of the kernel while a piece of a test runs.

###############################################################################

use warnings;
use strict;

use base qw/ Exporter /;

our @EXPORT = qw/ trace worker /;

use POSIX qw/ WNOHANG /;
use Time::HiRes qw/ sleep time /;

use Test::Nginx;

###############################################################################

my $tracer;

END { local $?; stop() if $tracer; }

# The pid of the worker that answers, of a server with "add_header X-Pid $pid".

sub worker {
	my ($uri) = @_;

	return http_get($uri) =~ /^X-Pid: (\d+)/m ? $1
		: die "no X-Pid in an answer\n";
}

# The calls of a process, all its threads, in the order in which they begin:
# { thread, name, arguments, result, begin, end }, the last two being places in
# that order, "end" undefined if the call has not returned.  The expression is
# that of strace's option -e.

sub trace {
	my ($t, $pid, $expression, $code) = @_;
	my $dir = $t->testdir();

	unlink "$dir/strace.out", "$dir/strace.err";

	$tracer = fork() // die "Can't fork: $!\n";

	if ($tracer == 0) {
		open(STDERR, '>', "$dir/strace.err");
		exec('strace', '-f', '-y', '-s', 256, '-e', $expression,
			'-o', "$dir/strace.out", '-p', $pid)
			or POSIX::_exit(127);
	}

	wait_for(sub { slurp("$dir/strace.err") =~ /attached/
			|| waitpid($tracer, WNOHANG) });
	my $attached = slurp("$dir/strace.err");

	die "strace: $attached" if $attached !~ /Process $pid attached/;

	$code->();

	# what was under way when the last answer came may still return

	sleep(0.3);
	stop();

	return parse(slurp("$dir/strace.out"));
}

sub stop {
	kill 'INT', $tracer;
	waitpid($tracer, 0);
	$tracer = undef;
}

sub parse {
	my ($text) = @_;
	my (@calls, %unfinished);
	my $place = 0;

	for (split /\n/, $text) {
		$place++;

		if (/^(\d+) +<\.\.\. (\w+) resumed>(.*)/) {
			my $call = delete $unfinished{$1} or next;
			finish($call, $call->{arguments} . $3, $place);

		} elsif (/^(\d+) +(\w+)\((.*)/) {
			push @calls, my $call = { thread => $1, name => $2,
				begin => $place };

			my ($process, $rest) = ($1, $3);

			if ($rest =~ s/ <(?:unfinished|detached) \.\.\.>$//) {
				$call->{arguments} = $rest;
				$unfinished{$process} = $call;

			} else {
				finish($call, $rest, $place);
			}
		}
	}

	return @calls;
}

sub finish {
	my ($call, $text, $place) = @_;

	$text =~ /^(.*)\) += (.*)$/ or return;

	@{$call}{qw/ arguments result end /} = ($1, $2, $place);
}

###############################################################################

sub wait_for {
	my ($done) = @_;
	my $end = time() + 30;

	until ($done->()) {
		die "strace does not attach\n" if time() > $end;
		sleep(0.02);
	}
}

sub slurp {
	my ($file) = @_;

	open(my $fh, '<', $file) or return '';
	local $/;

	return scalar(<$fh>) // '';
}

###############################################################################

1;

###############################################################################
