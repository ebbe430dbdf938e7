package Test::Nginx::Server;

# An HTTP server for the other side of a test, plain or TLS, in a process of
# its own (Test::Nginx::Server::Loop).  What it answers is said by those who
# inherit from it; what it does wrong, by rules that the test sets while it
# runs.
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
use Time::HiRes qw/ sleep time /;

use Test::Nginx ();
use Test::Nginx::Secrets ();
use Test::Nginx::Server::Loop;

###############################################################################

my $json = JSON::PP->new->canonical->ascii;

my %RULE = map { $_ => 1 } qw/ path method skip times
	rate delay hold piece stall close reset exit flip drop keepalive early
	status headers html body raw version interim endless chunked last_chunk
	redirect /;

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
	my $name = join('-', lc $class =~ s/.*:://r, $opts{address} // (),
		$opts{port} // croak 'no port');

	my $self = bless {
		address => '127.0.0.1',
		keepalive => 1,
		%opts,
		port => Test::Nginx::port($opts{port}),
		dir => $t->testdir() . "/$name",
		seen => [],
		log_end => 0,
	}, $class;

	make_path($self->{dir});
	secrets(%opts);

	return $self->start();
}

sub port { return $_[0]{port} }
sub dir { return $_[0]{dir} }

sub url {
	my ($self) = @_;

	my $host = $self->{host} // $self->{address};

	return ($self->{ssl} ? 'https' : 'http') . '://'
		. ($host =~ /:/ ? "[$host]" : $host) . ":$self->{port}";
}

# starts it again after stop(), with its options, but without any rules; when
# this returns it can be connected to

sub start {
	my ($self) = @_;
	my $path = "$self->{dir}/control";

	my $listen = IO::Socket::IP->new(ReuseAddr => 1,
		Listen => $Test::Nginx::Server::Loop::BACKLOG,
		LocalHost => $self->{address}, LocalPort => $self->{port})
		or croak "can't listen on port $self->{port}: $@";

	unlink $path;

	my $control = IO::Socket::UNIX->new(Listen => 16, Local => $path)
		or croak "can't listen on $path: $!";

	$self->{code} = sub {
		Test::Nginx::Server::Loop->new($self, $listen, $control)
			->run(@_);
	};
	$self->SUPER::start();

	delete $self->{code};

	return $self;
}

# rule({...}) is in force when it returns, and so are the others.  Of several
# rules that match a request, the later ones say more.

sub rule {
	my ($self, @rules) = @_;

	for my $rule (@rules) {
		my ($wrong) = grep { !$RULE{$_} } keys %$rule;
		croak "no such rule: $wrong" if defined $wrong;

		Test::Nginx::Secrets::signed($_) for grep { defined }
			$rule->{redirect}, %{$rule->{headers} // {}};

		$rule = { %$rule, map { $_ => "$rule->{$_}" }
			grep { defined $rule->{$_} } qw/ path method / };
	}

	return $self->command(rule => \@rules);
}

sub clear { return $_[0]->command(clear => 1) }

# answers that "hold" and "stall" keep waiting go on

sub release { return $_[0]->command(release => 1) }

# a deaf server's connections are not established: connect() gets no answer

sub deaf { return $_[0]->command(deaf => $_[1] // 1) }

sub set {
	my ($self, %opts) = @_;

	@$self{keys %opts} = values %opts;
	secrets(%opts);

	return $self->{pid} ? $self->command(set => \%opts) : $self;
}

# the passwords of those who inherit, one or several in a list

sub secrets {
	my (%opts) = @_;
	my %users = %{$opts{users} // {}};

	Test::Nginx::Secrets::credentials(split(/:/, $_, 2))
		for several($opts{basic});

	for my $user (keys %users) {
		Test::Nginx::Secrets::credentials($user, $_)
			for several($users{$user}{password});
	}
}

sub several {
	my ($some) = @_;
	return ref $some ? @$some : $some // ();
}

sub command {
	my ($self, @command) = @_;
	my $r = '';

	my $s = IO::Socket::UNIX->new(Peer => "$self->{dir}/control")
		or croak "can't tell the server on port $self->{port}: $!";

	$s->printflush($json->encode(\@command), "\n");

	vec($r, fileno $s, 1) = 1;
	select($r, undef, undef, 10 * $Test::Nginx::Process::PATIENCE) > 0
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

	my $slots = '';

	$self->read_log();

	if (open(my $fh, '<:raw', "$self->{dir}/slots")) {
		local $/;
		$slots = <$fh> // '';
	}

	my @requests = grep { exists $_->{id}
		&& (!defined $re || "$_->{method} $_->{path}" =~ $re) }
		@{$self->{seen}};

	for my $request (@requests) {
		@$request{qw/ sent status complete /} =
			Test::Nginx::Server::Loop::slot($slots, $request->{id});
	}

	return @requests;
}

# waits until there are so many of them, and returns them, or nothing

sub await {
	my ($self, $re, $count) = @_;
	my $end = time() + 10 * $Test::Nginx::Process::PATIENCE;

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

	# what a client has got may not be noted yet

	eval { $self->command('sync') } if $self->{pid} && !$self->{frozen};

	open(my $fh, '<:raw', "$self->{dir}/log") or return;
	seek($fh, $self->{log_end}, 0);

	while (my $line = <$fh>) {
		last if $line !~ /\n\z/;
		$self->{log_end} = tell($fh);
		push @{$self->{seen}}, $json->decode($line);
	}
}

###############################################################################

# What those who inherit define, and what is called in the server's process.
# A request is
#
#     { method, path, uri => path without query and escapes, query => {},
#       headers => { in lower case }, body }
#
# and an answer { status, headers => {}, and body or file, offset, length }.

sub answer {
	my ($self, $request) = @_;
	return $self->error(404);
}

# an answer of that status, with its document

sub error {
	my ($self, $status) = @_;
	return { status => $status, body => "$status\n" };
}

# the answer, if there is one that does not need the body

sub early { return undef }

# a file handle for the body, if it is not to be kept in memory

sub sink { return undef }

###############################################################################

1;

###############################################################################
