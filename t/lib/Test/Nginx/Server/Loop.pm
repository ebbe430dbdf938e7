package Test::Nginx::Server::Loop;

# The process of a Test::Nginx::Server: one loop over its connections, which
# reads requests, finds the rules for them, and sends the answers at the rate
# and with the faults that these want.  All that it knows of its requests is in
# files for the test.

###############################################################################

use warnings;
use strict;

use Fcntl qw/ O_CREAT O_RDWR /;
use IO::Socket::IP;
use JSON::PP qw//;
use POSIX qw//;
use Socket qw/ IPPROTO_TCP SO_LINGER SOL_SOCKET TCP_NODELAY /;
use Time::HiRes qw/ time /;

use Test::Nginx::Secrets ();
use Test::Nginx::Server::Answer;

###############################################################################

my $json = JSON::PP->new->canonical->ascii;

our $BACKLOG = 1024;

# most bytes at once, of a connection in a turn of the loop, of a head

my $WRITE = 262144;
my $TURN = 1048576;
my $HEAD = 262144;

# how long the pieces of a limited rate last, and how late they may come
# without slowing it down

my $TICK = 0.005;
my $LATE = 0.05;

# between single bytes, so that they are read one by one

my $PAUSE = 0.0005;

# what is known of a request as it goes on: bytes of the body sent, status,
# whether the answer was sent to its end

my $SLOT = 'QLL';
my $SLOT_SIZE = length pack($SLOT, 0, 0, 0);

sub slot {
	my ($slots, $id) = @_;
	return unpack($SLOT, substr($slots, $id * $SLOT_SIZE, $SLOT_SIZE));
}

###############################################################################

sub new {
	my ($class, $server, $listen, $control) = @_;

	return bless {
		server => $server,
		listen => $listen,
		control => $control,
		connections => {},
		count => 0,
		rules => [],
		line => { next => 0 },
	}, $class;
}

sub run {
	my ($self, $parent) = @_;
	my $dir = $self->{server}->dir();

	$SIG{PIPE} = 'IGNORE';
	close_others(map { fileno $_ } @$self{qw/ listen control /});

	open($self->{log}, '>>:raw', "$dir/log") or die "$dir/log: $!\n";
	sysopen($self->{slots}, "$dir/slots", O_RDWR | O_CREAT)
		or die "$dir/slots: $!\n";

	$self->{requests} = (-s $self->{slots}) / $SLOT_SIZE;
	$self->{listen}->blocking(0);

	# the one who started us may end without a chance to stop us

	$self->turn() while getppid() == $parent;
}

# a socket of the test that we hold too is not closed when the test closes it

sub close_others {
	my %keep = map { $_ => 1 } 0 .. 2, @_;

	open(my $null, '+<', '/dev/null') or die "/dev/null: $!\n";

	for my $fd (map { m!(\d+)$! } glob('/proc/self/fd/*')) {
		POSIX::dup2(fileno $null, $fd)
			if !$keep{$fd} && -e "/proc/self/fd/$fd";
	}
}

sub turn {
	my ($self) = @_;
	my ($listen, $control) = map { fileno $_ } @$self{qw/ listen control /};
	my ($r, $w, $wait, $now) = ('', '', 1, time());
	my @connections = values %{$self->{connections}};

	vec($r, $control, 1) = 1;
	vec($r, $listen, 1) = 1 if !$self->{deaf};

	for my $c (@connections) {
		vec($r, $c->{fd}, 1) = 1;

		next if !$c->{answer} || $c->{held};

		my $left = $c->{not_before} - $now;

		vec($w, $c->{fd}, 1) = 1 if $left <= 0;
		$wait = $left if $left > 0 && $left < $wait;
	}

	return if select($r, $w, undef, $wait) <= 0;

	for my $c (@connections) {
		$self->writable($c) if vec($w, $c->{fd}, 1);
		$self->readable($c) if vec($r, $c->{fd}, 1) && $c->{socket};
	}

	$self->controlled() if vec($r, $control, 1);
	$self->accept() if vec($r, $listen, 1);
}

###############################################################################

# what the test says

sub controlled {
	my ($self) = @_;

	my $s = $self->{control}->accept() or return;
	my $line = <$s> // return;

	my ($command, $value) = @{$json->decode($line)};
	my $method = "do_$command";

	eval { $self->$method($value); 1 };
	$s->printflush($@ ? $@ : "done\n");
}

sub do_sync { }

sub do_rule {
	my ($self, $rules) = @_;

	push @{$self->{rules}}, map { { %$_, seen => 0 } } @$rules;
}

sub do_clear {
	my ($self) = @_;

	$self->{rules} = [];
}

sub do_release {
	my ($self) = @_;

	$_->{held} = 0 for values %{$self->{connections}};
}

sub do_set {
	my ($self, $opts) = @_;

	@{$self->{server}}{keys %$opts} = values %$opts;
	delete $self->{context};
}

# The kernel establishes connections up to the backlog, whether they are
# accepted or not, and one more: our own.

sub do_deaf {
	my ($self, $deaf) = @_;

	$self->{deaf} = $deaf;

	listen($self->{listen}, $deaf ? 0 : $BACKLOG) or die "listen: $!\n";

	$self->accept();
	$self->{fillers} = [];

	for (1 .. ($deaf ? 2 : 0)) {
		my $s = IO::Socket::IP->new(Blocking => 0,
			PeerHost => $self->{server}{address},
			PeerPort => $self->{server}{port}) or die "fill: $@\n";

		push @{$self->{fillers}}, $s;
		$self->{own}{address($s->sockhost(), $s->sockport())} = 1;
	}
}

###############################################################################

sub accept {
	my ($self) = @_;

	while (my $s = $self->{listen}->accept()) {
		my $peer = address($s->peerhost() // '', $s->peerport() // 0);

		next if delete $self->{own}{$peer};

		$s->blocking(0);
		setsockopt($s, IPPROTO_TCP, TCP_NODELAY, 1);

		my $c = { id => "$$-" . $self->{count}++, peer => $peer,
			socket => $s, fd => fileno $s, in => '' };

		$self->{connections}{$c->{id}} = $c;
		$self->write_log({ connection => $c->{id}, peer => $peer });
		$self->start_tls($c) if $self->{server}{ssl};
	}
}

sub address {
	my ($host, $port) = @_;

	return $host =~ /:/ ? "[$host]:$port" : "$host:$port";
}

sub start_tls {
	my ($self, $c) = @_;
	my $ssl = $self->{server}{ssl};

	require IO::Socket::SSL;

	my $verify = !$ssl->{client_ca} ? IO::Socket::SSL::SSL_VERIFY_NONE()
		: IO::Socket::SSL::SSL_VERIFY_PEER()
		| IO::Socket::SSL::SSL_VERIFY_FAIL_IF_NO_PEER_CERT();

	$self->{context} //= IO::Socket::SSL::SSL_Context->new(SSL_server => 1,
		SSL_cert_file => $ssl->{cert}, SSL_key_file => $ssl->{key},
		SSL_verify_mode => $verify, SSL_ca_file => $ssl->{client_ca})
		or die 'TLS: ' . IO::Socket::SSL::errstr() . "\n";

	IO::Socket::SSL->start_SSL($c->{socket}, SSL_server => 1,
		SSL_startHandshake => 0, SSL_reuse_ctx => $self->{context});

	$c->{handshake} = 1;
}

# true when it is done

sub handshake {
	my ($self, $c) = @_;
	my $s = $c->{socket};

	if (!$s->accept_SSL()) {
		$self->gone($c)
			if IO::Socket::SSL::errstr() !~ /^SSL wants a /;
		return 0;
	}

	$c->{handshake} = 0;
	$c->{tls} = { tls => $s->get_sslversion(), sni => $s->get_servername(),
		client => scalar $s->peer_certificate('subject') };

	return 1;
}

###############################################################################

sub readable {
	my ($self, $c) = @_;

	return if $c->{handshake} && !$self->handshake($c);

	do {
		my $n = sysread($c->{socket}, $c->{in}, 65536, length $c->{in});

		if (!defined $n) {
			$self->gone($c) if !$!{EAGAIN};
			return;
		}

		return $self->gone($c) if $n == 0;

	} while ($c->{tls} && $c->{socket}->pending());

	if ($c->{last}) {
		$c->{in} = '';

	} elsif (!$c->{answer}) {
		$self->process($c);
	}
}

# what was read, as far as it goes

sub process {
	my ($self, $c) = @_;

	if (!$c->{request}) {
		if ($c->{in} !~ s/\A(?:\r?\n)*(\S.*?\r?\n)\r?\n//s) {
			$self->gone($c) if length $c->{in} > $HEAD;
			return;
		}

		my $request = $c->{request} = parse($1)
			// return $self->gone($c);

		$self->log_request($c);
		$c->{rule} = $self->match($request);
		$self->begin($c) or return;
	}

	$self->read_body($c) or return;
	$self->respond($c, $self->{server}->answer($c->{request}));
}

sub parse {
	my ($line, @fields) = split(/\r?\n/, $_[0]);
	my %headers;

	my ($method, $path, $version) = $line =~ m!^(\S+) (\S+) HTTP/1\.([01])$!
		or return undef;

	for (@fields) {
		my ($name, $value) = split(/:\s*/, $_, 2);
		push @{$headers{lc $name}}, $value // '';
	}

	$_ = join(', ', @$_) for values %headers;

	my ($uri, $query) = split(/\?/, $path, 2);

	return { method => $method, path => $path, version => $version,
		headers => \%headers, body => '', uri => unescape($uri),
		query => { map { my ($name, $value) = split(/=/, $_, 2);
			unescape($name) => unescape(($value // '') =~ y/+/ /r) }
			split(/&/, $query // '') },
	};
}

sub unescape {
	my ($text) = @_;
	return $text =~ s/%([0-9a-f]{2})/chr hex $1/gier;
}

# the rules for a request, put together

sub match {
	my ($self, $request) = @_;
	my %all;

	for my $rule (@{$self->{rules}}) {
		my ($path, $method) = @$rule{qw/ path method /};

		next if defined $path && $request->{path} !~ /$path/;
		next if defined $method
			&& $request->{method} !~ /^(?:$method)$/;

		my $seen = $rule->{seen}++ - ($rule->{skip} // 0);

		next if $seen < 0
			|| defined $rule->{times} && $seen >= $rule->{times};

		%all = (%all, %$rule);
	}

	return \%all;
}

# False if the body is not to be read.  An answer before it is the last one of
# its connection.

sub begin {
	my ($self, $c) = @_;
	my ($request, $rule) = @$c{qw/ request rule /};
	my $headers = $request->{headers};
	my $server = $self->{server};
	my $expect = ($headers->{expect} // '') =~ /100-continue/i;

	return $self->cut($c, $rule->{drop} eq 'reset') if $rule->{drop};

	my $answer = $rule->{early} ? $server->answer($request)
		: $expect ? $server->early($request) : undef;

	if ($answer) {
		$c->{last} = 1;
		$self->respond($c, $answer);
		return 0;
	}

	syswrite($c->{socket}, "HTTP/1.1 100 Continue\r\n\r\n") if $expect;

	$c->{sink} = $server->sink($request);
	$c->{left} = ($headers->{'transfer-encoding'} // '') =~ /chunked/i
		? undef : $headers->{'content-length'} // 0;
	$c->{chunk} = 0;

	return 1;
}

# true when the body is complete

sub read_body {
	my ($self, $c) = @_;

	if (defined $c->{left}) {
		take($c, \$c->{left});
		return $c->{left} == 0;
	}

	while (1) {
		take($c, \$c->{chunk});
		return 0 if $c->{chunk};

		# the empty line at the end is left to the next request

		$c->{in} =~ s/\A(?:\r\n)?([0-9a-f]+)\r\n//i or return 0;
		$c->{chunk} = hex $1 or return 1;
	}
}

sub take {
	my ($c, $left) = @_;
	my $bytes = substr($c->{in}, 0, $$left, '');

	$$left -= length $bytes;

	if ($c->{sink}) {
		print {$c->{sink}} $bytes;

	} else {
		$c->{request}{body} .= $bytes;
	}
}

###############################################################################

sub respond {
	my ($self, $c, $answer) = @_;
	my ($request, $rule) = @$c{qw/ request rule /};
	my $server = $self->{server};

	delete $c->{sink};

	$c->{answer} = Test::Nginx::Server::Answer->new($server, $request,
		$rule, $answer, $c->{last} || !$server->{keepalive});

	$c->{out} = '';
	$c->{held} = $rule->{hold};
	$c->{not_before} = $rule->{delay} ? time() + $rule->{delay} : 0;
	$c->{pace} = { rate => $rule->{rate}, next => 0 };

	$self->write_slot($c);
}

sub writable {
	my ($self, $c) = @_;
	my $left = $TURN;

	while ($left > 0) {
		if (!length $c->{out}) {
			$self->next_piece($c) or return;
		}

		my $n = syswrite($c->{socket}, $c->{out}, $self->most($c));

		if (!defined $n) {
			$self->gone($c) if !$!{EAGAIN};
			return;
		}

		substr($c->{out}, 0, $n, '');
		$left -= $n;
		$self->account($c, $n);

		return if $c->{not_before};
	}
}

# fills the empty output; false if there is nothing, for now or for ever

sub next_piece {
	my ($self, $c) = @_;
	my ($piece, $body) = $c->{answer}->next();

	return $self->finish($c) if !defined $piece;
	return $self->event($c, $piece) if !defined $body;

	$c->{out} = $piece;
	$c->{overhead} = length($piece) - $body;

	return 1;
}

sub event {
	my ($self, $c, $event) = @_;

	if ($event eq 'stall') {
		$c->{held} = 1;
		return 0;
	}

	kill 'KILL', $$ if $event eq 'exit';

	return $self->cut($c, $event eq 'reset');
}

# bytes to be written at once

sub most {
	my ($self, $c) = @_;
	my $most = $c->{rule}{piece} // $WRITE;

	for my $rate (grep { $_ } $self->{server}{rate}, $c->{rule}{rate}) {
		my $tick = int($rate * $TICK) || 1;
		$most = $tick if $tick < $most;
	}

	return $most;
}

# Counts what was written, and says when to go on: who has sent something
# waits for the time that it takes, after all who sent before on the line.

sub account {
	my ($self, $c, $n) = @_;
	my $overhead = $c->{overhead} < $n ? $c->{overhead} : $n;
	my $now = time();

	$c->{overhead} -= $overhead;
	$c->{sent} += $n - $overhead;
	$self->write_slot($c);

	$c->{not_before} = $c->{rule}{piece} ? $now + $PAUSE : 0;
	$self->{line}{rate} = $self->{server}{rate};

	for my $pace (grep { $_->{rate} } $c->{pace}, $self->{line}) {
		$pace->{next} = $now if $pace->{next} < $now - $LATE;
		$pace->{next} += $n / $pace->{rate};

		$c->{not_before} = $pace->{next}
			if $pace->{next} > $c->{not_before};
	}
}

sub finish {
	my ($self, $c) = @_;

	$self->write_slot($c, 1);

	if ($c->{last}) {
		# the client may be sending still, and would see a RST
		delete $c->{answer};
		shutdown($c->{socket}, 1) if !$c->{tls};
		return 0;
	}

	return $self->shut($c) if $c->{answer}->close();

	delete @$c{qw/ answer request rule /};

	$self->process($c) if length $c->{in};

	return 0;
}

# breaks the connection off, with a FIN or with a RST

sub cut {
	my ($self, $c, $reset) = @_;

	setsockopt($c->{socket}, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0))
		if $reset;

	return $self->gone($c);
}

# without the closure alert of TLS

sub gone {
	my ($self, $c) = @_;

	return $self->shut($c, SSL_no_shutdown => 1);
}

sub shut {
	my ($self, $c, @how) = @_;
	my $s = delete $c->{socket};

	delete $self->{connections}{$c->{id}};

	$s->close($c->{tls} ? @how : ());

	return 0;
}

###############################################################################

sub log_request {
	my ($self, $c) = @_;
	my $request = $c->{request};

	Test::Nginx::Secrets::authorization($request->{headers}{$_})
		for qw/ authorization proxy-authorization /;

	$c->{slot} = $self->{requests}++;
	$c->{sent} = 0;
	$self->write_slot($c);

	$self->write_log({ id => $c->{slot}, connection => $c->{id},
		peer => $c->{peer}, method => $request->{method},
		path => $request->{path}, headers => $request->{headers},
		time => time(), %{$c->{tls} // {}} });
}

sub write_log {
	my ($self, $record) = @_;

	syswrite($self->{log}, $json->encode($record) . "\n");
}

sub write_slot {
	my ($self, $c, $complete) = @_;

	sysseek($self->{slots}, $c->{slot} * $SLOT_SIZE, 0);
	syswrite($self->{slots}, pack($SLOT, $c->{sent},
		$c->{answer} ? $c->{answer}->status() : 0, $complete // 0));
}

###############################################################################

1;

###############################################################################
