package Flight;

# What the tests of cold blobs share: bytes, answers that are read as they come,
# and who fetches.

###############################################################################

use warnings;
use strict;

use base qw/ Exporter /;

our @EXPORT = qw/ bytes read_some body soon leader /;

use Time::HiRes qw/ sleep time /;

###############################################################################

# so many, which nobody has

sub bytes {
	my ($size) = @_;
	my $seed = pack('N*', map { int rand 2 ** 32 } 1 .. 1000);

	return substr(join('', map { $seed . pack('N', $_) }
		0 .. $size / length $seed), 0, $size);
}

# an answer up to so many bytes of its body, or as far as it comes

sub read_some {
	my ($s, $size) = @_;
	my $in = '';
	my $end = time() + 10;

	while (length(body($in)) < $size) {
		my $r = '';
		vec($r, fileno $s, 1) = 1;

		select($r, undef, undef, $end - time()) > 0 or last;
		sysread($s, $in, 262144, length $in) or last;
	}

	return $in;
}

sub body {
	my ($in) = @_;
	return $in =~ /\r\n\r\n(.*)/s ? $1 : '';
}

# what becomes true soon

sub soon {
	my ($what) = @_;
	my $end = time() + 10;

	while (!$what->()) {
		return 0 if time() > $end;
		sleep 0.01;
	}

	return 1;
}

# the worker that has the lock on the file that is fetched into this cache

sub leader {
	my ($dir) = @_;

	for (glob '/proc/[0-9]*/fdinfo/*') {
		my ($pid, $fd) = m!(\d+)/fdinfo/(\d+)!;
		my $file = readlink "/proc/$pid/fd/$fd" // next;

		next if $file !~ m!^\Q$dir\E/.*/_tmp/!;

		open(my $fh, '<', $_) or next;
		return $pid if grep { /FLOCK/ } <$fh>;
	}

	die "nobody fetches anything\n";
}

1;

###############################################################################
