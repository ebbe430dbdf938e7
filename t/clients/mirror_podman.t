#!/usr/bin/perl

# podman, skopeo and buildah with registries.conf: images of three registries
# by way of an edge, which then has them when the registries are gone.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use MIME::Base64 qw/ encode_base64 /;

use lib '../lib';
use Test::Nginx;
use Clients;
use Edge;
use Machine;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

need(qw/ podman conmon runc skopeo buildah docker-registry busybox tar curl
	unshare ip /);
machine();

my $t = Test::Nginx->new()->has(qw/http http_ssl/)->plan(41);
my $dir = $t->testdir();

my $edge = Edge->new($t);
my $alpine = $edge->fill('docker.io', 'library/alpine:3');
my $app = $edge->fill('quay.io', 'team/app:1');
my $private = $edge->fill('harbor.example.com', 'team/app:1');

$edge->fill('quay.io', 'team/other:1');
$edge->start('mirror.conf', 'edge.example.com');
example('containers/registries.conf' => '/etc/containers/registries.conf');

###############################################################################

my @podman = podman($t);
my @run = ('run', '--rm', '--network', 'none',
	'--ulimit', 'nofile=1024:1024', '--ulimit', 'nproc=1024:1024');
my @buildah = ('buildah', '--root', "$dir/root", '--runroot', "$dir/run",
	'--storage-driver', 'vfs');

# nobody believes the edge yet

fails([@podman, qw! pull docker.io/library/alpine:3 !], 'unknown authority',
	qr/x509/);

put_file('/etc/containers/certs.d/edge.example.com/ca.crt',
	slurp($edge->ca()));

# cold, warm, whoever asks

my $name = 'docker.io/library/alpine:3';

runs([@podman, 'pull', $name], 'docker.io');
$edge->cold('docker.io', $alpine, 'docker.io');
runs([@podman, @run, $name], 'docker.io, run',
	qr/^\Q$alpine->{message}\E$/m);

runs([@podman, 'rmi', $name], 'docker.io, remove');
runs([@podman, 'pull', 'alpine:3'], 'docker.io, again, by the short name');
$edge->warm('docker.io', $alpine, 'docker.io, again');

runs(['skopeo', 'copy', 'docker://quay.io/team/app:1', "dir:$dir/app"],
	'quay.io');
$edge->cold('quay.io', $app, 'quay.io');
runs([@buildah, 'pull', 'quay.io/team/app:1'], 'quay.io, buildah');
$edge->warm('quay.io', $app, 'quay.io, buildah');

runs([@podman, 'pull', 'harbor.example.com/team/app:1'], 'harbor');
$edge->cold('harbor.example.com', $private, 'harbor');

# a build on what is here

$t->write_file('Containerfile', "FROM $name\nRUN /bin/echo ran > /ran\n");

runs([@buildah, 'rmi', '-a'], 'remove');
runs([@buildah, 'build', '--isolation', 'chroot', '-t', 'built', $dir],
	'build');
$edge->warm('docker.io', $alpine, 'build');

# one that is said to be at the edge, and nowhere else

{
	example('containers/registries-only.conf' => "$dir/only.conf");
	local $ENV{CONTAINERS_REGISTRIES_CONF} = "$dir/only.conf";

	my @inspect = qw/ skopeo inspect --no-tags /;

	runs([@inspect, 'docker://quay.io/team/app:1'], 'at the edge',
		qr/"Digest": "$app->{digest}"/);
	fails([@inspect, 'docker://quay.io/team/app:2'],
		'at the edge, not there', qr/manifest unknown/);

	# but for lists of tags: they are looked for where we do not get

	$edge->served();
	fails([qw! skopeo list-tags docker://quay.io/team/app !], 'tags',
		qr/lookup quay\.io/);
	is(join("\n", map { $_->{uri} } $edge->served()), '',
		'tags, not of the edge');
	$edge->asked('quay.io');
}

# the registries are gone

$edge->stop_registries();

for my $case ([ 'docker.io', $alpine, 'library/alpine:3' ],
	[ 'docker.io', $alpine, "library/alpine\@$alpine->{digest}" ],
	[ 'harbor.example.com', $private, "team/app\@$private->{digest}" ])
{
	my ($registry, $image, $what) = @$case;

	run(@podman, qw/ rmi -a -f /);
	runs([@podman, 'pull', "$registry/$what"], "gone, $registry/$what");
	$edge->warm($registry, $image, "gone, $registry/$what");
}

runs(['skopeo', 'inspect', '--no-tags', 'docker://quay.io/team/app:1'],
	'gone, skopeo', qr/"Digest": "$app->{digest}"/);
fails([@podman, 'pull', 'quay.io/team/other:1'], 'gone, not here',
	qr/lookup quay\.io/);

# one is back, with a certificate of its own making

$edge->start_registry('quay.io', ssl => $edge->stranger('quay.io'));

my $answer;
my $logged = qr/\[error\]\ .*registry:\ TLS\ failed,\ unable\ to\ get\ local
	\ issuer\ certificate.*,\ remote:\ "quay\.io",/x;

# it was known to be gone, and is not tried with each request

ok(wait_for(sub {
	$answer = (run(qw! curl -sSki
		https://edge.example.com/v2/quay.io/team/other/manifests/1 !))[1];
	return $t->read_file('error.log') =~ $logged;
}), 'wrong certificate, logged');

like($answer, qr!^HTTP/1\.1\ 502\ .*^Content-Type:\ application/json\r\n
	.*"code":\ *"UNAVAILABLE"!msx, 'wrong certificate');
is(join("\n", $edge->asked('quay.io')), '', 'wrong certificate, not asked');

# what the edge logs in with is in no log

my $secret = join '|', map { quotemeta } $Edge::ROBOT =~ /:(.*)/,
	encode_base64($Edge::ROBOT, '');

unlike(join('', map { $t->read_file($_) } qw/ error.log requests.log /),
	qr/$secret/, 'no secrets');

###############################################################################
