#!/usr/bin/perl

# dockerd with registry-mirrors, and by full names: images of three registries
# by way of an edge, which then has them when the registries are gone.

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

need(qw/ dockerd docker containerd runc docker-registry skopeo busybox tar
	unshare ip /);
machine();

my $t = Test::Nginx->new()->has(qw/http http_ssl/)->plan(43);
my $dir = $t->testdir();

my $edge = Edge->new($t);
my $alpine = $edge->fill('docker.io', 'library/alpine:3');
my $other = $edge->fill('docker.io', 'team/other:1');
my $app = $edge->fill('quay.io', 'team/app:1');
my $private = $edge->fill('harbor.example.com', 'team/app:1');

$edge->start('mirror.conf', 'edge.example.com');
example('docker/daemon.json' => '/etc/docker/daemon.json');

###############################################################################

my @docker = dockerd($t, '/etc/docker/daemon.json');

# who believes the edge is told to

fails([@docker, 'pull', 'alpine:3'], 'unknown authority',
	qr/lookup registry-1\.docker\.io/);
is(join('', map { $_->{uri} } $edge->served()), '',
	'unknown authority, not asked');

put_file("/etc/docker/certs.d/$_/ca.crt", slurp($edge->ca()))
	for qw/ edge.example.com edge.example.com:5001 /;

# Docker Hub, by the mirror

runs([@docker, 'pull', 'alpine:3'], 'docker.io', qr/Digest: $alpine->{digest}/);
$edge->cold('docker.io', $alpine, 'docker.io');
runs([@docker, qw/ run --rm --network=none alpine:3 /], 'docker.io, run',
	qr/^\Q$alpine->{message}\E$/m);

runs([@docker, qw/ rmi alpine:3 /], 'docker.io, remove');
runs([@docker, qw/ pull alpine:3 /], 'docker.io, again');
$edge->warm('docker.io', $alpine, 'docker.io, again');

runs([@docker, qw! pull team/other:1 !], 'docker.io, a name of two parts');
$edge->cold('docker.io', $other, 'docker.io, a name of two parts');

# all others, by the full name

for my $case ([ 'quay.io', $app ], [ 'harbor.example.com', $private ]) {
	my ($registry, $image) = @$case;
	my $name = "edge.example.com/$registry/team/app:1";

	runs([@docker, 'pull', $name], $registry,
		qr/Digest: $image->{digest}/);
	$edge->cold($registry, $image, $registry);
	runs([@docker, qw/ run --rm --network=none /, $name],
		"$registry, run", qr/^\Q$image->{message}\E$/m);
}

# and Docker Hub's, which is no other image then

runs([@docker, 'pull', 'edge.example.com/docker.io/alpine:3'],
	'docker.io, full name', qr/Digest: $alpine->{digest}/);

# BuildKit, which is in dockerd, believes whom the machine does; dockerd is
# started anew for that

run(@docker, qw/ rmi alpine:3 edge.example.com\/docker.io\/alpine:3 /);
mkdir "$dir/build";
$t->write_file('build/Dockerfile', "FROM alpine:3\nCOPY Dockerfile /\n");

{
	local $ENV{DOCKER_BUILDKIT} = 1;
	my @build = (qw/ build -q -t built /, "$dir/build");

	fails([@docker, @build], 'build, unknown authority',
		qr/lookup registry-1\.docker\.io|x509/);

	$t->stop_daemons();
	trust($edge->ca());
	@docker = dockerd($t, '/etc/docker/daemon.json');

	$edge->served();
	runs([@docker, @build], 'build');
	$edge->warm('docker.io', $alpine, 'build');
	run(@docker, qw/ builder prune -af /);
}

# the registries are gone

$edge->stop_registries();

my $of_edge = 'edge.example.com';

for my $case ([ 'docker.io', $alpine, 'alpine:3' ],
	[ 'docker.io', $alpine, "alpine\@$alpine->{digest}" ],
	[ 'docker.io', $other, 'team/other:1' ],
	[ 'quay.io', $app, "$of_edge/quay.io/team/app:1" ],
	[ 'harbor.example.com', $private,
		"$of_edge/harbor.example.com/team/app\@$private->{digest}" ])
{
	my ($registry, $image, $name) = @$case;

	run(@docker, qw/ rmi -f /, split(/\s+/,
		(run(@docker, qw/ images -q /))[1]));
	runs([@docker, 'pull', $name], "gone, $name");
	$edge->warm($registry, $image, "gone, $name");
}

fails([@docker, 'pull', 'alpine:4'], 'gone, not here',
	qr/lookup registry-1\.docker\.io/);

###############################################################################

$t->stop_daemons();

is(join("\n", mounts_in($dir)), '', 'nothing left mounted');

###############################################################################
