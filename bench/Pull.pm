package Pull;

# Clients that cost little: many that pull the same thing at once in a single
# loop, and one that asks for one thing after the other.  What they get is
# thrown away where it is, in the kernel.

###############################################################################

use warnings;
use strict;

use IO::Socket::INET;
use Socket qw/ IPPROTO_TCP MSG_TRUNC TCP_NODELAY /;
use Time::HiRes qw/ time /;

use Images;

###############################################################################

# most bytes of an answer to be thrown away at once

my $MOST = 4 * 1024 * 1024;

# pull(port, path, clients): when each of them got its first byte of the body
# and its last one, in seconds since they asked

sub pull {
	my ($port, $path, $clients) = @_;
	my %open;
	my @all = map { { socket => connection($port), head => '' } }
		1 .. $clients;
	my $start = time();

	for my $c (@all) {
		ask($c->{socket}, $path);
		$c->{socket}->blocking(0);
		$open{fileno $c->{socket}} = $c;
	}

	while (%open) {
		my $r = '';
		vec($r, $_, 1) = 1 for keys %open;

		select($r, undef, undef, undef);

		for my $fd (grep { vec($r, $_, 1) } keys %open) {
			delete $open{$fd} if !readable($open{$fd}, $start);
		}
	}

	return { first => [ map { $_->{first} } @all ],
		end => [ map { $_->{end} } @all ] };
}

# false at the end of the answer

sub readable {
	my ($c, $start) = @_;

	if (!defined $c->{left}) {
		my $n = sysread($c->{socket}, $c->{head}, 65536, length $c->{head});

		die "no answer\n" if defined $n && $n == 0;
		answered($c) or return 1;

	} else {
		skip($c) or return 1;
	}

	if (!defined $c->{first} && $c->{left} < $c->{size}) {
		$c->{first} = time() - $start;
	}

	return 1 if $c->{left};

	$c->{end} = time() - $start;

	return 0;
}

# true when the head of the answer is here; what is left is that of the body

sub answered {
	my ($c) = @_;

	$c->{head} =~ s/\A(.*?\r\n)\r\n//s or return 0;

	my $head = $1;

	die "answer: $head" if $head !~ m!\AHTTP/1.1 200 !
		|| $head !~ /^Content-Length: (\d+)\r$/mi;

	$c->{size} = $1;
	$c->{left} = $1 - length $c->{head};

	return 1;
}

# true when something has come

sub skip {
	my ($c) = @_;

	my $from = recv($c->{socket}, my $buf,
		$c->{left} < $MOST ? $c->{left} : $MOST, MSG_TRUNC);

	if (!defined $from) {
		return 0 if $!{EAGAIN};
		die "pull: $!\n";
	}

	die "pull: $c->{left} bytes are missing\n" if !length $buf;

	$c->{left} -= length $buf;

	return 1;
}

###############################################################################

# of a connection that is kept, how long a request takes, in milliseconds

sub get {
	my ($socket, $path) = @_;
	my $c = { socket => $socket, head => '' };
	my $start = time();

	ask($socket, $path);
	1 while readable($c, $start);

	return $c->{end} * 1000;
}

sub connection {
	my ($port) = @_;

	my $s = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port")
		or die "connect to port $port: $!\n";
	setsockopt($s, IPPROTO_TCP, TCP_NODELAY, 1);

	return $s;
}

sub ask {
	my ($socket, $path) = @_;

	syswrite($socket, "GET $path HTTP/1.1\r\nHost: 127.0.0.1\r\n"
		. "Accept: $Images::ACCEPT\r\n\r\n") // die "ask: $!\n";
}

###############################################################################

1;

###############################################################################
