package Edge;

# The scene of docs/clients.md, on a Machine: nginx as conf/examples configures
# it, and the registries that it is in front of, each a real docker-registry
# with TLS:
#
#     docker.io             tokens, of an issuer elsewhere
#     quay.io               open
#     harbor.example.com    a password; its certificate is of an authority of
#                           its own
#     registry.example.com  tokens; as that one

###############################################################################

use warnings;
use strict;

use base qw/ Exporter /;

our @EXPORT = qw/ example /;

use Cwd qw/ abs_path /;
use File::Basename qw/ dirname /;
use JSON::PP;
use POSIX qw/ uname /;
use Scalar::Util qw/ weaken /;
use Test::More;

use Clients qw/ oci_layout random_file requests rootfs slurp /;
use Machine;
use Test::Nginx::CA;
use Test::Nginx::DNS;
use Test::Nginx::DockerRegistry;
use Test::Nginx::Token;

###############################################################################

my $EXAMPLES = abs_path(dirname(__FILE__) . '/../../conf/examples');

my $RESOLVER = '10.0.0.53';
my $ARCHITECTURE = { aarch64 => 'arm64' }->{(uname())[4]} // 'amd64';

# where nginx listens; what is on 127.0.0.1 dockerd does not verify

our $ADDRESS = '10.0.0.1';

# those on the Internet are not among those that are private (RFC 6890);
# ghcr.io leads to nginx itself

my %ADDRESS = (
	'registry-1.docker.io' => '11.0.0.1',
	'auth.docker.io' => '11.0.0.2',
	'quay.io' => '11.0.0.3',
	'harbor.example.com' => '10.0.0.10',
	'registry.example.com' => '10.0.0.11',
	'auth.example.com' => '10.0.0.12',
	'proxy.example.com' => '10.0.0.13',
);

my %HOST = ('docker.io' => 'registry-1.docker.io');

# user and password that are asked for, by harbor.example.com and by the issuers

our $ROBOT = 'robot$edge:Se:cr$et';
our %USER = (alice => 'wonder');

###############################################################################

# Edge->new($t) makes the places and names; fill() puts images into the
# registries, before start() runs them and nginx.  Clients have to be told of
# the authority of the edge's certificate, which is in the file ca().

sub new {
	my ($class, $t) = @_;
	my $dir = $t->testdir();

	# for workers that are not root

	chmod 0755, $dir;

	my $self = bless {
		t => $t,
		dir => $dir,
		internet => Test::Nginx::CA->new($t, 'internet'),
		ca => Test::Nginx::CA->new($t),
		images => 0,
	}, $class;

	weaken($self->{t});

	address($_) for $ADDRESS, $RESOLVER, values %ADDRESS;
	$self->{dns} = Test::Nginx::DNS->new($t, address => $RESOLVER)
		->names("ghcr.io $ADDRESS",
			map { "$_ $ADDRESS{$_}" } keys %ADDRESS)->start();
	trust($self->{internet}->file());
	put_file('/etc/nginx/ca.crt', slurp($self->{ca}->file()));
	put_file('/etc/nginx/harbor.cred', "$ROBOT\n");
	put_file('/etc/containers/policy.json',
		'{"default":[{"type":"insecureAcceptAnything"}]}');

	return $self;
}

sub ca { return $_[0]{ca}->file() }

# Makes an image that nobody else has and puts it into a registry.  Returns its
# digest, the message that it prints, and its blobs with their sizes.

sub fill {
	my ($self, $registry, $name) = @_;
	my $path = "$self->{dir}/image-" . ++$self->{images};
	my $message = "$name of $registry";
	my ($repository, $tag) = split /:/, $name;

	mkdir $_ or die "$_: $!\n" for $path, "$path/large";
	random_file("$path/large/file", 3);
	rootfs("$path/root", $message);

	my $digest = oci_layout("$path/layout", $tag,
		$ARCHITECTURE => [ "$path/root", "$path/large" ]);

	my $filler = $self->{filler}{$registry}
		//= Test::Nginx::DockerRegistry->new($self->{t},
			port => 5100 + keys %{$self->{filler} // {}},
			root => "$self->{dir}/$registry");

	my ($status, $out) = Clients::run(qw/ skopeo copy
		--dest-tls-verify=false /, "oci:$path/layout:$tag",
		'docker://127.0.0.1:' . $filler->port() . "/$name");
	die $out if $status != 0;

	my $manifest = decode_json(slurp("$path/layout/blobs/"
		. $digest =~ s!:!/!r));

	return { digest => $digest, message => $message,
		blobs => { map { $_->{digest} => $_->{size} }
			$manifest->{config}, @{$manifest->{layers}} } };
}

# Runs nginx with a configuration, by its name in conf/examples or as text, and
# the registries that it is about.  The names are those in its certificate, and
# lead to it.

sub start {
	my ($self, $what, @names) = @_;
	my $conf = configuration($what);

	delete $self->{filler};
	$self->start_registry($_)
		for grep { $conf =~ /registry_remote \Q$_\E / } registries();

	return $self->run($what, @names);
}

# the same of nginx alone

sub run {
	my ($self, $what, @names) = @_;
	my $pair = $self->{ca}->certificate(@names);
	my $conf = configuration($what);

	put_file('/etc/nginx/edge.crt', slurp($pair->{cert}));
	put_file('/etc/nginx/edge.key', slurp($pair->{key}));
	hosts(map { $_ => $ADDRESS } @names);

	$conf =~ s/^(?:load_module|daemon|pid) .*\n//mg;
	$conf =~ s/^(?=events)/%%TEST_GLOBALS%%\ndaemon off;\n\n/m;
	$conf =~ s!/var/lib/registry!%%TESTDIR%%/registry!g;
	$conf =~ s/\blisten +\K(?=\d+\b(?!\.))/$ADDRESS:/g;
	$conf =~ s/^http \{\n\K/%%TEST_GLOBALS_HTTP%%
		log_format requests '\$status \$request_method \$request_uri '
			'\$registry_remote \$registry_cache \$body_bytes_sent';
		access_log %%TESTDIR%%\/requests.log requests;\n/m;

	$self->{t}->write_file_expand('nginx.conf', $conf)->run();

	return $self;
}

sub configuration {
	my ($what) = @_;
	return $what =~ /\n/ ? $what : slurp("$EXAMPLES/$what");
}

sub registries {
	return ('docker.io', grep { !/docker|auth|proxy/ } keys %ADDRESS);
}

sub start_registry {
	my ($self, $name, %options) = @_;
	my $host = $HOST{$name} // $name;
	my $authority = $host =~ /example/ ? $self->{ca} : $self->{internet};

	%options = $name eq 'docker.io' ? (token => 'auth.docker.io')
		: $name eq 'harbor.example.com' ? (basic => $ROBOT)
		: $name eq 'registry.example.com' ? (token => 'auth.example.com')
		: ()
		if !%options;

	$options{token} = $self->issuer($options{token}) if $options{token};

	$self->{registry}{$name} = Test::Nginx::DockerRegistry->new($self->{t},
		port => 443, address => $ADDRESS{$host},
		ssl => $authority->certificate($host),
		root => "$self->{dir}/$name",
		log => { level => 'info', formatter => 'json' }, %options);
}

sub issuer {
	my ($self, $host) = @_;
	my $authority = $host =~ /example/ ? $self->{ca} : $self->{internet};

	return $self->{issuer}{$host} //= Test::Nginx::Token->new($self->{t},
		port => 443, address => $ADDRESS{$host}, host => $host,
		ssl => $authority->certificate($host), users => {
			map { $_ => { password => $USER{$_},
				allow => { '*' => '*' } } } keys %USER });
}

# a certificate that nobody believes

sub stranger {
	my ($self, $name) = @_;

	return Test::Nginx::CA->new($self->{t}, 'stranger')->certificate($name);
}

sub stop_registries {
	my ($self) = @_;

	$_->stop() for map { values %{$self->{$_} // {}} }
		qw/ registry issuer /;
}

###############################################################################

# a file of conf/examples/clients in its place

sub example {
	my ($file, $path) = @_;

	put_file($path, slurp("$EXAMPLES/clients/$file"));
}

# what nginx was asked since the last call, and how it answered

sub served {
	my ($self) = @_;

	return map { my %r;
		@r{qw/ status method uri remote cache sent /} = split / /;
		\%r } requests($self->{t});
}

# what a registry was asked: "STATUS METHOD URI BYTES"

sub asked {
	my ($self, $name) = @_;
	my $log = $self->{registry}{$name}{log};
	my @lines = split /\n/, substr(slurp($log), $self->{seen}{$name} // 0);

	$self->{seen}{$name} = -s $log;

	return map { join ' ', @$_{map { "http.$_" } qw/ response.status
			request.method request.uri response.written /} }
		grep { $_->{msg} eq 'response completed' }
		map { decode_json($_) } grep { /^\{/ } @lines;
}

# tests that an image was pulled since the last call: fetched, each byte once,
# or without a byte from the registry

sub cold {
	my ($self, $registry, $image, $name, @served) = @_;

	@served = $self->served() if !@served;

	is_deeply(sizes(qr/^MISS$/, @served), $image->{blobs},
		"$name, served");
	is_deeply(sizes(qr/./, map { my %r; @r{qw/ status method uri sent /}
		= split / /; \%r } $self->asked($registry)), $image->{blobs},
		"$name, fetched once");
}

sub warm {
	my ($self, $registry, $image, $name) = @_;

	is_deeply(sizes(qr/^HIT$/, $self->served()), $image->{blobs},
		"$name, served from here");
	is(join("\n", grep { !m!^200 HEAD \S+/manifests/! }
		$self->asked($registry)), '', "$name, nothing fetched");
}

sub sizes {
	my ($cache, @requests) = @_;
	my %sizes;

	for my $r (@requests) {
		next if $r->{method} ne 'GET' || ($r->{cache} // '-') !~ $cache;
		next if $r->{uri} !~ m!/blobs/(sha256:\w+)(?:\?|$)!;
		$sizes{$1} += $r->{sent};
	}

	return \%sizes;
}

###############################################################################

1;

###############################################################################
