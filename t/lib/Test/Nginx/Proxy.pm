package Test::Nginx::Proxy;

# The proxy of a company, as Debian has it: squid or tinyproxy.  It is stopped,
# killed, frozen and started again like all that is beside nginx
# (Test::Nginx::Process).
#
#     my $proxy = Test::Nginx::Proxy->squid($t, port => 8091,
#         user => 'edge', password => 'secret');
#
#     $proxy->kill()->start();
#     $proxy->log()         'CONNECT registry.corp:443', ...

###############################################################################

use warnings;
use strict;

use base qw/ Test::Nginx::Process /;

use File::Path qw/ make_path /;
use IO::Socket::INET;
use Time::HiRes qw/ sleep time /;

use Test::Nginx ();

###############################################################################

# Options:
#
#     port, address   where it listens, at 127.0.0.1 by default
#     from            the address that its own connections come from
#     user, password  that it asks for; without them it asks for none
#     hosts           { name => address } instead of /etc/hosts, of squid only
#     config          more lines of its configuration

sub squid {
	my ($class, $t, %opts) = @_;
	my $self = $class->create($t, 'squid', %opts);
	my $dir = $self->{dir};

	my @config = ("http_port $self->{address}:$self->{port}",
		"coredump_dir $dir", "cache_log $dir/cache.log",
		'logformat request %rm %ru', "access_log stdio:$dir/log request",
		'visible_hostname proxy.corp', 'pid_filename none',
		'cache deny all', 'cache_mem 8 MB',
		'shutdown_lifetime 0 seconds');

	push @config, "tcp_outgoing_address $self->{from}" if $self->{from};

	if (my $hosts = $self->{hosts}) {
		$self->put('hosts', map { "$hosts->{$_} $_" } keys %$hosts);
		push @config, "hosts_file $dir/hosts";
	}

	if (defined $self->{user}) {
		chomp(my $hash = `openssl passwd -apr1 '$self->{password}'`);

		$self->put('passwd', "$self->{user}:$hash");
		push @config, 'auth_param basic program '
			. "/usr/lib/squid/basic_ncsa_auth $dir/passwd",
			'auth_param basic children 1',
			'acl known proxy_auth REQUIRED',
			'http_access deny !known';
	}

	push @config, @{$self->{config}}, 'http_access allow all';
	$self->put('squid.conf', @config);

	# it does not stay root

	if (my @user = (getpwnam('proxy'))[2, 3]) {
		chmod 0755, $t->testdir();
		chown @user, $dir, glob("$dir/*");
	}

	return $self->runs(qw! /usr/sbin/squid -N -f !, "$dir/squid.conf");
}

sub tinyproxy {
	my ($class, $t, %opts) = @_;
	my $self = $class->create($t, 'tinyproxy', %opts);
	my $dir = $self->{dir};

	my @config = ("Listen $self->{address}", "Port $self->{port}",
		qq{LogFile "$dir/log"}, 'Timeout 60', 'MaxClients 100');

	push @config, "Bind $self->{from}" if $self->{from};
	push @config, "BasicAuth $self->{user} $self->{password}"
		if defined $self->{user};

	$self->put('tinyproxy.conf', @config, @{$self->{config}});

	return $self->runs(qw! /usr/bin/tinyproxy -d -c !,
		"$dir/tinyproxy.conf");
}

sub create {
	my ($class, $t, $name, %opts) = @_;

	my $self = $class->new(undef, address => '127.0.0.1', config => [],
		%opts, port => Test::Nginx::port($opts{port}),
		dir => $t->testdir() . "/$name-$opts{port}");

	make_path($self->{dir});

	return $self;
}

sub put {
	my ($self, $name, @lines) = @_;

	open(my $fh, '>', "$self->{dir}/$name") or die "$name: $!\n";
	print $fh map { "$_\n" } @lines;
	close $fh or die "$name: $!\n";
}

sub runs {
	my ($self, @command) = @_;

	$self->{code} = sub {
		open(STDOUT, '>', '/dev/null');
		open(STDERR, '>', '/dev/null');
		exec { $command[0] } @command;
	};

	return $self->start();
}

###############################################################################

sub port { return $_[0]{port} }

# when this returns it can be connected to

sub start {
	my ($self) = @_;
	my $end = time() + 20 * $Test::Nginx::Process::PATIENCE;

	$self->SUPER::start();

	until (IO::Socket::INET->new(PeerAddr => $self->{address},
		PeerPort => $self->{port}))
	{
		die "the proxy at port $self->{port} does not start\n"
			if time() > $end;
		sleep(0.05);
	}

	return $self;
}

# What it was asked for, "METHOD host:port" or "METHOD URL".  squid writes of
# a tunnel when that has ended, at the latest when it is stopped itself.

sub log {
	my ($self) = @_;

	open(my $fh, '<', "$self->{dir}/log") or return;

	return map { /(?:^|Request.*\): )([A-Z]+ \S+)/ ? $1 : () } <$fh>;
}

###############################################################################

1;

###############################################################################
