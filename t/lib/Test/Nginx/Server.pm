package Test::Nginx::Server;

# An HTTP server for the other side of a test: one process with one loop over
# its connections, plain or TLS.  What it answers is said by those who inherit
# from it; what it does wrong, by rules that the test sets while it runs.
#
#     $s->rule({ path => qr/blobs/, close => 1000, times => 1 });
#     is($s->requests(qr/^GET .*blobs/), 2, 'asked again');
#
# t/README.md lists the rules.

###############################################################################

use warnings;
use strict;

use base qw/ Test::Nginx::Process /;

use Carp qw/ croak /;
use File::Path qw/ make_path /;
use IO::Handle;
use IO::Socket::IP;
use IO::Socket::UNIX;
use JSON::PP qw//;
use POSIX qw//;
use Socket qw/ IPPROTO_TCP MSG_DONTWAIT SO_LINGER SOL_SOCKET SOCK_STREAM
	TCP_NODELAY /;
use Time::HiRes qw/ sleep time /;

use Test::Nginx ();

###############################################################################

my $json = JSON::PP->new->canonical->ascii;

my $BACKLOG = 1024;

# most bytes of a body at once, most of one connection in a turn of the loop,
# most of a request's head

my $PIECE = 262144;
my $TURN = 1048576;
my $HEAD = 262144;

# how long the pieces of a limited rate last, and how late they may come
# without slowing it down

my $TICK = 0.005;
my $LATE = 0.05;

# what is known of a request as it goes on: bytes of the body sent, status,
# whether the answer was sent to its end

my $SLOT = 'QLL';
my $SLOT_SIZE = length pack($SLOT, 0, 0, 0);

my %REASON = (200 => 'OK', 201 => 'Created', 202 => 'Accepted',
	204 => 'No Content', 206 => 'Partial Content',
	304 => 'Not Modified', 307 => 'Temporary Redirect',
	400 => 'Bad Request', 401 => 'Unauthorized', 403 => 'Forbidden',
	404 => 'Not Found', 405 => 'Method Not Allowed',
	416 => 'Range Not Satisfiable', 429 => 'Too Many Requests',
	500 => 'Internal Server Error', 503 => 'Service Unavailable');

###############################################################################
#
# The test's side
#
###############################################################################

# new($t, port => 8081, option => value ...) starts one.  Options, which set()
# changes:
#
#     address    to listen on, 127.0.0.1 by default
#     host       its name in url(), the address by default
#     ssl        { cert => file, key => file, client_ca => file }
#     rate       bytes a second of all connections together
#     keepalive  0 to close connections after each answer

sub new {
	my ($class, $t, %opts) = @_;
	my $name = lc $class =~ s/.*:://r;

	my $self = bless {
		address => '127.0.0.1',
		keepalive => 1,
		%opts,
		port => Test::Nginx::port($opts{port} // croak 'no port'),
		dir => $t->testdir() . "/$name-$opts{port}",
		seen => [],
		log_end => 0,
	}, $class;

	make_path($self->{dir});

	return $self->start();
}

sub port { return $_[0]{port} }
sub dir { return $_[0]{dir} }

sub url {
	my ($self) = @_;

	return ($self->{ssl} ? 'https' : 'http') . '://'
		. ($self->{host} // $self->{address}) . ":$self->{port}";
}

# starts it again after stop(), with its options, but without any rules; when
# this returns it can be connected to

sub start {
	my ($self) = @_;
	my $path = "$self->{dir}/control";

	my $listen = IO::Socket::IP->new(Listen => $BACKLOG, ReuseAddr => 1,
		LocalHost => $self->{address}, LocalPort => $self->{port})
		or croak "can't listen on port $self->{port}: $@";

	unlink $path;

	my $control = IO::Socket::UNIX->new(Listen => 16, Local => $path)
		or croak "can't listen on $path: $!";

	$self->{code} = sub { $self->serve(shift, $listen, $control) };
	$self->SUPER::start();

	delete $self->{code};

	return $self;
}

# rule({...}) is in force when it returns, and so are the others.  Of several
# rules that match a request, the later ones say more.

sub rule {
	my ($self, @rules) = @_;

	return $self->command(rule => [ map { my $rule = $_; +{
		map { $_ => ref $rule->{$_} eq 'Regexp' ? "$rule->{$_}"
			: $rule->{$_} } keys %$rule } } @rules ]);
}

sub clear { return $_[0]->command(clear => 1) }

# answers that "hold" and "stall" keep waiting go on

sub release { return $_[0]->command(release => 1) }

# a deaf server's connections are not established: connect() gets no answer

sub deaf { return $_[0]->command(deaf => $_[1] // 1) }

sub set {
	my ($self, %opts) = @_;

	@$self{keys %opts} = values %opts;

	return $self->{pid} ? $self->command(set => \%opts) : $self;
}

sub command {
	my ($self, @command) = @_;
	my $r = '';

	my $s = IO::Socket::UNIX->new(Peer => "$self->{dir}/control")
		or croak "can't tell the server on port $self->{port}: $!";

	$s->printflush($json->encode(\@command), "\n");

	vec($r, fileno $s, 1) = 1;
	select($r, undef, undef, 10 * $Test::Nginx::PATIENCE) > 0
		or croak "no answer from the server on port $self->{port}";

	my $answer = <$s> // '';
	croak "$command[0]: $answer" if $answer ne "done\n";

	return $self;
}

# requests(qr/^GET .*blobs/) since forget(), or how many, in their order:
#
#     { method, path, headers => { range => ... }, connection, peer, sni,
#       sent => bytes of the body, status => 0 before an answer, complete }

sub requests {
	my ($self, $re) = @_;

	# what a client has got may not be noted yet

	eval { $self->command('sync') } if $self->{pid} && !$self->{frozen};

	$self->read_log();

	open(my $fh, '<:raw', "$self->{dir}/slots") or return;
	local $/;
	my $slots = <$fh> // '';

	my @requests = grep { exists $_->{id}
		&& (!defined $re || "$_->{method} $_->{path}" =~ $re) }
		@{$self->{seen}};

	for my $request (@requests) {
		@$request{qw/ sent status complete /} = unpack($SLOT,
			substr($slots, $request->{id} * $SLOT_SIZE, $SLOT_SIZE));
	}

	return @requests;
}

# waits until there are so many of them, and returns them, or nothing

sub await {
	my ($self, $re, $count) = @_;
	my $end = time() + 10 * $Test::Nginx::PATIENCE;

	while ($self->requests($re) < ($count // 1)) {
		return if time() > $end;
		sleep(0.005);
	}

	return $self->requests($re);
}

# of bodies, and as the kernel took them from us

sub bytes_sent {
	my ($self, $re) = @_;
	my $sum = 0;

	$sum += $_->{sent} for $self->requests($re);

	return $sum;
}

sub connections {
	my ($self) = @_;

	$self->read_log();

	return scalar grep { !exists $_->{id} } @{$self->{seen}};
}

sub forget {
	my ($self) = @_;

	$self->read_log();
	$self->{seen} = [];

	return $self;
}

sub read_log {
	my ($self) = @_;

	open(my $fh, '<:raw', "$self->{dir}/log") or return;
	seek($fh, $self->{log_end}, 0);

	while (my $line = <$fh>) {
		last if $line !~ /\n\z/;
		$self->{log_end} = tell($fh);
		push @{$self->{seen}}, $json->decode($line);
	}
}

###############################################################################
#
# The server's side.  Those who inherit say what to do with a request
#
#     { method, path, uri, query => {}, headers => {}, body }
#
# in answer($request), which returns { status, headers => {}, and body or
# file, offset, length }; in early($request), which may return an answer to
# what is not to be read further; and in sink($request), which may return a
# file handle for the body.
#
###############################################################################

sub early { return undef }
sub sink { return undef }

sub serve {
	my ($self, $parent, $listen, $control) = @_;

	$SIG{PIPE} = 'IGNORE';

	$self->{listen} = $listen;
	$self->{control} = $control;

	close_others(fileno $listen, fileno $control);

	open($self->{log}, '>>:raw', "$self->{dir}/log") or die "log: $!\n";
	open($self->{slots}, '+>>:raw', "$self->{dir}/slots")
		or die "slots: $!\n";
	close($self->{slots});
	open($self->{slots}, '+<:raw', "$self->{dir}/slots")
		or die "slots: $!\n";

	$self->{connections} = {};
	$self->{rules} = [];
	$self->{next_request} = (-s $self->{slots}) / $SLOT_SIZE;
	$self->{next_connection} = 0;
	$self->{line} = { next => 0 };

	$listen->blocking(0);

	# the one who started us is gone, perhaps without a chance to stop us

	$self->turn() while getppid() == $parent;
}

# a socket of the test that we hold too is not closed when the test closes it

sub close_others {
	my %keep = map { $_ => 1 } 0 .. 2, @_;

	open(my $null, '+<', '/dev/null') or die "/dev/null: $!\n";

	for my $fd (map { m!(\d+)$! } glob('/proc/self/fd/*')) {
		POSIX::dup2(fileno $null, $fd) if !$keep{$fd} && -e "/proc/self/fd/$fd";
	}
}

sub turn {
	my ($self) = @_;
	my ($r, $w, $wait, $now) = ('', '', 1, time());
	my ($listen, $control) = @$self{qw/ listen control /};

	vec($r, fileno $control, 1) = 1;
	vec($r, fileno $listen, 1) = 1 if !$self->{deaf};

	for my $c (values %{$self->{connections}}) {
		vec($r, $c->{fd}, 1) = 1;

		next if !$c->{answer} || $c->{held};

		my $left = $c->{not_before} - $now;

		vec($w, $c->{fd}, 1) = 1 if $left <= 0;
		$wait = $left if $left > 0 && $left < $wait;
	}

	return if select($r, $w, undef, $wait) <= 0;

	for my $c (my @all = values %{$self->{connections}}) {
		$self->writable($c) if vec($w, $c->{fd}, 1);
		$self->readable($c) if vec($r, $c->{fd}, 1) && $c->{socket};
	}

	$self->controlled() if vec($r, fileno $control, 1);
	$self->accept() if !$self->{deaf} && vec($r, fileno $listen, 1);
}

###############################################################################

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

	for my $rule (@$rules) {
		qr/$_/ for grep { defined } @$rule{qw/ path method /};
	}

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

	@$self{keys %$opts} = values %$opts;
	delete $self->{context};
}

# The kernel establishes connections up to the backlog, whether they are
# accepted or not, and one more: our own.

sub do_deaf {
	my ($self, $deaf) = @_;
	my $listen = $self->{listen};

	$self->{deaf} = $deaf;

	listen($listen, $deaf ? 0 : $BACKLOG) or die "listen: $!\n";

	if (!$deaf) {
		$self->{fillers} = [];
		return;
	}

	$self->accept();

	for (1 .. 2) {
		my $s = IO::Socket::IP->new(PeerHost => $self->{address},
			PeerPort => $self->{port}, Blocking => 0)
			or die "fill: $@\n";

		push @{$self->{fillers}}, $s;
		$self->{own}{address($s->sockhost(), $s->sockport())} = 1;
	}
}

sub address {
	my ($host, $port) = @_;

	return $host =~ /:/ ? "[$host]:$port" : "$host:$port";
}

sub accept {
	my ($self) = @_;

	while (my $s = $self->{listen}->accept()) {
		my $peer = address($s->peerhost() // '', $s->peerport() // 0);
		my $id = "$$-" . $self->{next_connection}++;

		next if delete $self->{own}{$peer};

		$s->blocking(0);
		setsockopt($s, IPPROTO_TCP, TCP_NODELAY, 1);

		$self->{connections}{$id} = { id => $id, peer => $peer,
			socket => $s, fd => fileno $s, in => '' };

		$self->write_log({ connection => $id, peer => $peer });
		$self->start_tls($self->{connections}{$id}) if $self->{ssl};
	}
}

sub start_tls {
	my ($self, $c) = @_;
	my $ssl = $self->{ssl};

	require IO::Socket::SSL;

	$self->{context} //= IO::Socket::SSL::SSL_Context->new(SSL_server => 1,
		SSL_cert_file => $ssl->{cert}, SSL_key_file => $ssl->{key},
		$ssl->{client_ca} ? (SSL_ca_file => $ssl->{client_ca},
			SSL_verify_mode => IO::Socket::SSL::SSL_VERIFY_PEER()
			| IO::Socket::SSL::SSL_VERIFY_FAIL_IF_NO_PEER_CERT())
			: (SSL_verify_mode => IO::Socket::SSL::SSL_VERIFY_NONE()))
		or die "TLS: " . IO::Socket::SSL::errstr() . "\n";

	IO::Socket::SSL->start_SSL($c->{socket}, SSL_server => 1,
		SSL_startHandshake => 0, SSL_reuse_ctx => $self->{context});

	$c->{handshake} = 1;
}

sub handshake {
	my ($self, $c) = @_;
	my $s = $c->{socket};

	if (!$s->accept_SSL()) {
		my $error = IO::Socket::SSL::errstr();

		$self->gone($c) if $error !~ /^SSL wants a (?:read|write)/;

		return 0;
	}

	$c->{handshake} = 0;
	$c->{tls} = { sni => $s->get_servername(),
		tls => $s->get_sslversion(),
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

	} while ($self->{ssl} && $c->{socket}->pending());

	if ($c->{drain}) {
		$c->{in} = '';
		return;
	}

	$self->process($c) if !$c->{answer};
}

# what was read, as far as it goes

sub process {
	my ($self, $c) = @_;

	if (!$c->{request}) {
		if ($c->{in} !~ s/\A(?:\r?\n)*(\S.*?\r?\n)\r?\n//s) {
			$self->gone($c) if length $c->{in} > $HEAD;
			return;
		}

		$self->begin($c, $1) or return;
	}

	$self->read_body($c) or return;
	$self->respond($c, $self->answer($c->{request}));
}

sub begin {
	my ($self, $c, $head) = @_;
	my ($line, @fields) = split(/\r?\n/, $head);
	my %headers;

	my ($method, $path, $version) = $line =~ m!^(\S+) (\S+) HTTP/1\.([01])$!
		or return $self->gone($c);

	for (@fields) {
		my ($name, $value) = split(/:\s*/, $_, 2);
		push @{$headers{lc $name}}, $value // '';
	}

	$_ = join(', ', @$_) for values %headers;

	my ($uri, $query) = split(/\?/, $path, 2);

	my $request = $c->{request} = { method => $method, path => $path,
		uri => unescape($uri), version => $version,
		headers => \%headers, body => '',
		query => { map { my ($name, $value) = split(/=/, $_, 2);
			(unescape($name), unescape($value // '')) }
			split(/&/, $query // '') },
	};

	$self->log_request($c);

	my $rule = $c->{rule} = $self->match($request);

	return $self->cut($c, $rule->{drop} eq 'reset') if $rule->{drop};

	$c->{left} = ($headers{'transfer-encoding'} // '') =~ /chunked/i
		? undef : $headers{'content-length'} // 0;
	$c->{chunk} = 0;

	return $self->check_early($c);
}

sub unescape {
	my ($text) = @_;
	return $text =~ s/%([0-9a-f]{2})/chr hex $1/gier;
}

# an answer before the body was read is the last one of its connection

sub check_early {
	my ($self, $c) = @_;
	my ($request, $rule) = @$c{qw/ request rule /};
	my $expect = ($request->{headers}{expect} // '') =~ /100-continue/i;

	my $answer = $rule->{early} ? $self->answer($request)
		: $expect ? $self->early($request) : undef;

	if ($answer) {
		$c->{drain} = !defined $c->{left} || $c->{left} > 0;
		return $self->respond($c, $answer) && 0;
	}

	syswrite($c->{socket}, "HTTP/1.1 100 Continue\r\n\r\n") if $expect;

	$c->{sink} = $self->sink($request);

	return 1;
}

# the rules for a request, put together

sub match {
	my ($self, $request) = @_;
	my %all;

	for my $rule (@{$self->{rules}}) {
		next if defined $rule->{path} && $request->{path} !~ $rule->{path};
		next if defined $rule->{method}
			&& $request->{method} !~ /^(?:$rule->{method})$/;

		my $seen = $rule->{seen}++ - ($rule->{skip} // 0);

		next if $seen < 0
			|| defined $rule->{times} && $seen >= $rule->{times};

		%all = (%all, %$rule);
	}

	return \%all;
}

# true when the body is complete

sub read_body {
	my ($self, $c) = @_;

	if (defined $c->{left}) {
		$self->take($c, \$c->{left});
		return $c->{left} == 0;
	}

	while (1) {
		$self->take($c, \$c->{chunk});
		return 0 if $c->{chunk};

		$c->{in} =~ s/\A(?:\r\n)?([0-9a-f]+)[^\n]*\n//i or return 0;
		$c->{chunk} = hex $1;

		if ($c->{chunk} == 0) {
			$c->{left} = 0;
			$c->{in} =~ s/\A\r?\n//;
			return 1;
		}
	}
}

sub take {
	my ($self, $c, $left) = @_;
	my $bytes = substr($c->{in}, 0, $$left, '');

	$$left -= length $bytes;

	if ($c->{sink}) {
		print {$c->{sink}} $bytes;

	} else {
		$c->{request}{body} .= $bytes;
	}
}

###############################################################################

# makes the answer ready to be sent

sub respond {
	my ($self, $c, $answer) = @_;
	my ($request, $rule) = @$c{qw/ request rule /};

	delete $c->{sink};

	$answer = $self->ruled($request, $rule, $answer);

	my $size = $answer->{length} // ($answer->{file}
		? (-s $answer->{file}) - ($answer->{offset} // 0)
		: length($answer->{body} //= ''));
	my $bodyless = $request->{method} eq 'HEAD'
		|| $answer->{status} =~ /^(?:1..|204|304)$/;

	my @fields = $self->fields($c, $answer, $size, $bodyless);
	my $end = $bodyless || defined $rule->{raw} ? 0 : $size;

	if ($answer->{file}) {
		open($answer->{fh}, '<:raw', $answer->{file})
			or die "$answer->{file}: $!\n";
		sysseek($answer->{fh}, $answer->{offset} // 0, 0);
	}

	$c->{out} = $rule->{raw} // join('',
		(map { "HTTP/1.1 $_ Interim\r\nX-Interim: yes\r\n\r\n" }
			@{$rule->{interim} // []}),
		'HTTP/1.' . ($rule->{version} // 1) . " $answer->{status} "
			. ($REASON{$answer->{status}} // 'Status') . "\r\n",
		(map { "$_->[0]: $_->[1]\r\n" } @fields),
		$rule->{endless} ? () : "\r\n");

	$c->{overhead} = length $c->{out};
	$c->{answer} = { %$answer, pos => 0, end => $end, chunk => 0,
		events => [ events($rule, $end) ],
		paces => [ $rule->{rate} ? { rate => $rule->{rate}, next => 0 }
			: () ],
	};
	$c->{last} = $rule->{last_chunk} // "0\r\n\r\n"
		if $answer->{chunked} && !$bodyless;
	$c->{sent} = 0;
	$c->{not_before} = $rule->{delay} ? time() + $rule->{delay} : 0;
	$c->{held} = $rule->{hold};

	$self->write_slot($c);

	return 1;
}

# an answer as the rules want it

sub ruled {
	my ($self, $request, $rule, $answer) = @_;

	if (defined $rule->{redirect}) {
		my $to = $rule->{redirect};

		if ($to eq 'endless') {
			my $hop = ($request->{query}{hop} // 0) + 1;
			$to = "$request->{uri}?hop=$hop";

		} elsif ($to =~ m!^https?://[^/]+$!) {
			$to .= $request->{path};
		}

		$answer = { status => 307, headers => { Location => $to } };
	}

	if ($rule->{status} && $rule->{status} != ($answer->{status} // 200)) {
		$answer = $self->error($rule->{status});
	}

	if ($rule->{html}) {
		$answer = { status => $answer->{status},
			headers => { 'Content-Type' => 'text/html' },
			body => "<html><body>Please log in</body></html>\n" };
	}

	if (defined $rule->{body}) {
		$answer = { %$answer, body => $rule->{body}, file => undef,
			length => undef };
	}

	return { status => 200, %$answer,
		chunked => $rule->{chunked} || defined $rule->{last_chunk} };
}

sub error {
	my ($self, $status) = @_;

	return { status => $status, body => "$status\n" };
}

# the header fields; and says if the connection is kept

sub fields {
	my ($self, $c, $answer, $size, $bodyless) = @_;
	my ($request, $rule) = @$c{qw/ request rule /};
	my $connection = $request->{headers}{connection} // '';
	my %headers = %{$answer->{headers} // {}};

	if ($answer->{chunked}) {
		$headers{'Transfer-Encoding'} = 'chunked';

	} elsif (!$bodyless || $request->{method} eq 'HEAD') {
		$headers{'Content-Length'} = $size;
	}

	my $given = $rule->{headers} // {};

	for my $name (keys %$given) {
		delete @headers{grep { lc eq lc $name } keys %headers};
		$headers{$name} = $given->{$name};
	}

	my ($length) = map { $headers{$_} }
		grep { lc eq 'content-length' } keys %headers;

	$c->{close} = !$self->{keepalive} || $c->{drain}
		|| defined $rule->{keepalive} && !$rule->{keepalive}
		|| defined $rule->{last_chunk} || defined $rule->{raw}
		|| defined $rule->{version} && $rule->{version} == 0
		|| ($request->{version} ? $connection =~ /close/i
			: $connection !~ /keep-alive/i)
		|| !$bodyless && !$answer->{chunked}
			&& ($length // -1) ne $size;

	$headers{Connection} = 'close'
		if $c->{close} && !grep { lc eq 'connection' } keys %headers;

	return map { my $name = $_; map { [ $name, $_ ] }
		grep { defined } ref $headers{$name} ? @{$headers{$name}}
			: $headers{$name} } sort keys %headers;
}

# what happens at which byte of the body; from its end if negative

sub events {
	my ($rule, $end) = @_;

	return sort { $a->[0] <=> $b->[0] }
		grep { $_->[0] >= 0 && $_->[0] <= $end }
		map { my $at = $rule->{$_}; [ $at < 0 ? $end + $at : $at, $_ ] }
		grep { defined $rule->{$_} } qw/ flip stall close reset exit /;
}

###############################################################################

sub writable {
	my ($self, $c) = @_;
	my $left = $TURN;

	return if $c->{handshake} && !$self->handshake($c);

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

# bytes to be written at once

sub most {
	my ($self, $c) = @_;
	my $most = $c->{rule}{piece} // $PIECE;

	for my $rate ($self->{rate}, $c->{rule}{rate}) {
		my $tick = int(($rate || next) * $TICK) || 1;
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
	$self->write_slot($c) if $n > $overhead;

	$c->{not_before} = $c->{rule}{piece} ? $now + 0.0005 : 0;

	for my $pace (@{$c->{answer}{paces}}, $self->{line}) {
		my $rate = $pace->{rate} // $self->{rate} || next;

		$pace->{next} = $now if $pace->{next} < $now - $LATE;
		$pace->{next} += $n / $rate;

		$c->{not_before} = $pace->{next}
			if $pace->{next} > $c->{not_before};
	}
}

# fills the empty output; false if there is nothing, for now or for ever

sub next_piece {
	my ($self, $c) = @_;
	my $answer = $c->{answer};
	my $event = $answer->{events}[0];

	if ($c->{rule}{endless}) {
		$c->{out} = 'X-Endless: ' . 'x' x 100 . "\r\n";
		$c->{overhead} = length $c->{out};
		return 1;
	}

	while ($event && $event->[0] <= $answer->{pos}
		&& $event->[1] ne 'flip')
	{
		shift @{$answer->{events}};
		$self->event($c, $event->[1]) or return 0;
		$event = $answer->{events}[0];
	}

	my $n = ($event && $event->[0] > $answer->{pos} ? $event->[0]
		: $event ? $event->[0] + 1 : $answer->{end}) - $answer->{pos};

	$n = $answer->{end} - $answer->{pos}
		if $n > $answer->{end} - $answer->{pos};

	return $self->piece($c, $n) if $n > 0;

	if (defined(my $last = delete $c->{last})) {
		$c->{out} = ($answer->{chunk} ? "\r\n" : '') . $last;
		$c->{overhead} = length $c->{out};
		return 1 if length $c->{out};
	}

	$self->finish($c);

	return 0;
}

sub piece {
	my ($self, $c, $n) = @_;
	my ($answer, $rule) = @$c{qw/ answer rule /};
	my ($event) = @{$answer->{events}};
	my $bytes;

	$n = $PIECE if $n > $PIECE;
	$n = $rule->{chunked}
		if $answer->{chunked} && ($rule->{chunked} // 1) > 1
			&& $n > $rule->{chunked};

	if ($answer->{fh}) {
		$n = sysread($answer->{fh}, $bytes, $n);

		# shorter than it was

		return $self->cut($c) if !$n;

	} else {
		$bytes = substr($answer->{body}, $answer->{pos}, $n);
	}

	if ($event && $event->[1] eq 'flip' && $event->[0] == $answer->{pos}) {
		shift @{$answer->{events}};
		substr($bytes, 0, 1) ^= "\x01";
	}

	my $frame = $answer->{chunked}
		? sprintf("%s%x\r\n", $answer->{chunk}++ ? "\r\n" : '', $n) : '';

	$c->{out} = $frame . $bytes;
	$c->{overhead} = length $frame;
	$answer->{pos} += $n;

	return 1;
}

# false if nothing more is to be sent

sub event {
	my ($self, $c, $event) = @_;

	if ($event eq 'stall') {
		$c->{held} = 1;
		return 0;
	}

	if ($event eq 'exit') {
		kill 'KILL', $$;
	}

	return $self->cut($c, $event eq 'reset');
}

sub finish {
	my ($self, $c) = @_;

	$self->write_slot($c, 1);

	if ($c->{close}) {
		delete $c->{answer};
		return $self->shut($c) if !$c->{drain};

		# the rest of the request is still to be read
		shutdown($c->{socket}, 1) if !$self->{ssl};
		return;
	}

	delete @$c{qw/ answer request rule /};

	$self->process($c) if length $c->{in};
}

# breaks the connection off, with a FIN or with a RST

sub cut {
	my ($self, $c, $reset) = @_;

	setsockopt($c->{socket}, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0))
		if $reset;

	return $self->gone($c);
}

# for a client that is gone; TLS without its closure alert is a truncation

sub gone {
	my ($self, $c) = @_;

	return $self->shut($c, SSL_no_shutdown => 1);
}

sub shut {
	my ($self, $c, @how) = @_;
	my $s = delete $c->{socket};

	delete $self->{connections}{$c->{id}};

	$s->close($self->{ssl} ? @how : ());

	return 0;
}

###############################################################################

sub log_request {
	my ($self, $c) = @_;
	my $request = $c->{request};

	$c->{slot} = $self->{next_request}++;
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
		$c->{answer} ? $c->{answer}{status} : 0, $complete // 0));
}

###############################################################################

1;

###############################################################################
