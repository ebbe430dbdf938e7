#!/usr/bin/perl

# containerd with hosts.toml, by ctr and as kubelet asks it: images of three
# registries by way of an edge, which then has them when the registries are
# gone.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib '../lib';
use Test::Nginx;
use Clients;
use Edge;
use Machine;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

need(qw/ containerd ctr runc docker-registry skopeo busybox tar curl
	unshare ip /);
machine();

my $t = Test::Nginx->new()->has(qw/http http_ssl/)->plan(40);
my $dir = $t->testdir();

my $edge = Edge->new($t);
my $alpine = $edge->fill('docker.io', 'library/alpine:3');
my $app = $edge->fill('quay.io', 'team/app:1');
my $private = $edge->fill('harbor.example.com', 'team/app:1');

$edge->start('mirror.conf', 'edge.example.com');

for my $registry (qw/ docker.io quay.io _default /) {
	my $file = "containerd/certs.d/$registry/hosts.toml";

	example($file => "/etc/$file");
}

# what Debian has, with our section

my $config = '/etc/containerd/config.toml';
my $examples = '../../conf/examples/clients/containerd';

put_file($config, slurp($config) . slurp("$examples/config.toml"));

###############################################################################

my @ctr = containerd($t, $config);
my @pull = qw! images pull --hosts-dir /etc/containerd/certs.d !;

# nobody believes the edge yet, and then who is told to

my $name = 'harbor.example.com/team/app:1';

fails([@ctr, @pull, $name], 'unknown authority', qr/x509/);

my ($ca) = slurp('../../docs/clients.md')
	=~ /^\| containerd \| `(ca = \S+)`/m or die "no ca in clients.md\n";

put_file('/etc/containerd/edge-ca.crt', slurp($edge->ca()));
put_file("$dir/ca/_default/hosts.toml", slurp("$examples/certs.d/_default/"
	. 'hosts.toml') . "  $ca\n");
runs([@ctr, qw/ images pull --hosts-dir /, "$dir/ca", $name], 'harbor, ca');
$edge->cold('harbor.example.com', $private, 'harbor, ca');

# all programs are told; those that run know it when they first look

trust($edge->ca());

forget();
runs([@ctr, @pull, $name], 'harbor');
$edge->warm('harbor.example.com', $private, 'harbor');

# cold and warm, by ctr

$name = 'docker.io/library/alpine:3';

runs([@ctr, @pull, $name], 'docker.io');
is(join("\n", grep { !/[?&]ns=docker\.io$/ } map { $_->{uri} }
	my @served = $edge->served()), '', 'docker.io, namespace told');
$edge->cold('docker.io', $alpine, 'docker.io', @served);

runs([@ctr, qw/ run --rm /, $name, 'one'], 'docker.io, run',
	qr/^\Q$alpine->{message}\E$/m);

forget();
runs([@ctr, @pull, $name], 'docker.io, again');
$edge->warm('docker.io', $alpine, 'docker.io, again');

# as kubelet and crictl ask it

$name = 'quay.io/team/app:1';

is(cri('PullImage', $name), 0, 'quay.io, CRI');
$edge->cold('quay.io', $app, 'quay.io, CRI');
is(cri('RemoveImage', $name), 0, 'quay.io, CRI, remove');
forget();
is(cri('PullImage', $name), 0, 'quay.io, CRI, again');
$edge->warm('quay.io', $app, 'quay.io, CRI, again');

# nobody else is asked

put_file("$dir/only/quay.io/hosts.toml",
	slurp('/etc/containerd/certs.d/quay.io/hosts.toml')
		=~ s!"https://quay\.io"!"https://edge.example.com"!r);
forget();
runs([@ctr, qw/ images pull --hosts-dir /, "$dir/only", $name],
	'the edge alone');
$edge->warm('quay.io', $app, 'the edge alone');
fails([@ctr, qw/ images pull --hosts-dir /, "$dir/only",
	'quay.io/team/app:2'], 'the edge alone, not there', qr/not found/);

# the registries are gone

$edge->stop_registries();

$edge->served();
$edge->asked('quay.io');

for my $case ([ 'docker.io', $alpine, 'library/alpine:3' ],
	[ 'docker.io', $alpine, "library/alpine\@$alpine->{digest}" ],
	[ 'harbor.example.com', $private, "team/app\@$private->{digest}" ])
{
	my ($registry, $image, $name) = @$case;

	forget();
	runs([@ctr, @pull, "$registry/$name"], "gone, $registry/$name");
	$edge->warm($registry, $image, "gone, $registry/$name");
}

cri('RemoveImage', $name);
forget();
is(cri('PullImage', $name), 0, 'gone, CRI');
$edge->warm('quay.io', $app, 'gone, CRI');
like(cri('PullImage', 'quay.io/team/app:2'), qr/^[1-9]/, 'gone, not here');

###############################################################################

$t->stop_daemons();

is(join("\n", mounts_in($dir)), '', 'nothing left mounted');

###############################################################################

# removes all images with their content

sub forget {
	for my $namespace (qw/ default k8s.io /) {
		my @c = (@ctr, '-n', $namespace);
		my @names = split /\n/, (run(@c, qw/ images ls -q /))[1];

		run(@c, qw/ images rm --sync /, @names) if @names;
		run(@c, qw/ content prune references /);
	}
}

# a call of the Container Runtime Interface: gRPC, whose status it returns

sub cri {
	my ($method, $image) = @_;
	my $spec = pack('C C/a', 10, $image);
	my $request = pack('C C/a', 10, $spec);

	put_file("$dir/grpc", pack('x N/a', $request));

	my ($status, $out) = run(qw/ curl -sSi --http2-prior-knowledge
		--unix-socket /, "$dir/containerd.sock",
		'-H', 'content-type: application/grpc', '-H', 'te: trailers',
		'--data-binary', "\@$dir/grpc",
		"http://localhost/runtime.v1.ImageService/$method");

	return $out =~ /grpc-status: (\d+)/ ? $1 : $out;
}

###############################################################################
