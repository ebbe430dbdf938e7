package Test::Nginx::DockerRegistry;

# A real docker-registry, in front of which or behind which we are.
#
#     my $r = Test::Nginx::DockerRegistry->new($t, port => 8081,
#         proxy => { remoteurl => $o->url });

###############################################################################

use warnings;
use strict;

use base qw/ Test::Nginx::Process /;

use Carp qw/ croak /;
use IO::Socket::INET;
use JSON::PP qw//;
use Time::HiRes qw/ sleep time /;

use Test::Nginx ();
use Test::Nginx::Secrets ();

###############################################################################

# new($t, port => 8081, option => value ...) starts one; when this returns it
# answers.  Options:
#
#     address   to listen on, 127.0.0.1 by default
#     root      directory of its own by default
#     basic     'user:password' that is asked for
#     token     the Test::Nginx::Token whose tokens are asked for
#     ssl       { cert => file, key => file }
#     host      its name in url(), the address by default
#     env       { name => value }
#
# and any others are sections of its configuration.

sub new {
	my ($class, $t, %opts) = @_;
	my $name = join('-', 'docker-registry', $opts{address} // (),
		$opts{port});
	my $dir = $t->testdir();

	my %own = map { $_ => delete $opts{$_} }
		qw/ port address root basic token ssl host env /;
	my $address = $own{address} // '127.0.0.1';

	my $self = $class->SUPER::new(undef,
		port => Test::Nginx::port($own{port}),
		ssl => $own{ssl},
		address => $address,
		host => $own{host} // $address,
		root => $own{root} // "$dir/$name",
		config => "$dir/$name.yml",
		log => "$dir/$name.log",
	);

	my %config = (
		version => '0.1',
		log => { level => 'error' },
		storage => {
			filesystem => { rootdirectory => $self->{root} },
			delete => { enabled => JSON::PP::true },
		},
		http => { addr => "$address:$self->{port}", $own{ssl}
			? (tls => { certificate => $own{ssl}{cert},
				key => $own{ssl}{key} }) : () },
		$own{token} ? (auth => $own{token}->registry_auth()) : (),
		$own{basic} ? (auth => { htpasswd => { realm => 'registry',
			path => htpasswd($t, "$name.htpasswd", $own{basic}) } })
			: (),
		%opts);

	# which is YAML too

	$t->write_file("$name.yml", JSON::PP->new->canonical->encode(\%config));

	$self->{code} = sub {
		@ENV{keys %{$own{env} // {}}} = values %{$own{env} // {}};
		open(STDOUT, '>>', $self->{log}) && open(STDERR, '>&', \*STDOUT)
			&& exec('docker-registry', 'serve', $self->{config})
			or die "docker-registry: $!\n";
	};

	return $self->start();
}

sub htpasswd {
	my ($t, $name, $credentials) = @_;
	my ($user, $password) = split(/:/, $credentials, 2);

	Test::Nginx::Secrets::credentials($user, $password);

	open(my $fh, '-|', 'htpasswd', '-nbB', '-C', 4, $user, $password)
		or die "htpasswd: $!\n";
	local $/;
	$t->write_file($name, scalar <$fh>);
	close $fh or die "htpasswd failed\n";

	return $t->testdir() . "/$name";
}

sub port { return $_[0]{port} }
sub root { return $_[0]{root} }
sub config { return $_[0]{config} }

sub url {
	my ($self) = @_;

	return ($self->{ssl} ? 'https' : 'http')
		. "://$self->{host}:$self->{port}";
}

sub start {
	my ($self) = @_;
	my $end = time() + 60 * $Test::Nginx::Process::PATIENCE;

	$self->SUPER::start();

	while (!IO::Socket::INET->new(PeerAddr => "$self->{address}:$self->{port}")) {
		croak 'docker-registry does not start: ' . $self->log_text()
			if $self->wait(0) || time() > $end;
		sleep(0.02);
	}

	return $self;
}

sub log_text {
	my ($self) = @_;

	open(my $fh, '<', $self->{log}) or return 'no log';
	local $/;

	return scalar <$fh>;
}

###############################################################################

1;

###############################################################################
