#!/usr/bin/perl

# dockerd, containerd and podman that know nothing of the edge: the names of the
# registries lead to it.

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

need(qw/ dockerd docker containerd ctr runc podman docker-registry skopeo
	busybox tar curl unshare ip /);
machine();

my $t = Test::Nginx->new()->has(qw/http http_ssl/)->plan(24);
my $dir = $t->testdir();

my $edge = Edge->new($t);
my $alpine = $edge->fill('docker.io', 'library/alpine:3');
my $app = $edge->fill('quay.io', 'team/app:1');

my @names = qw/ registry-1.docker.io index.docker.io quay.io ghcr.io /;

$edge->start('transparent.conf', @names);

# as the documentation has it, and one more name

my ($hosts) = slurp('../../docs/clients.md') =~ /^($Edge::ADDRESS .*\n)/m;

hosts('auth.docker.io' => $Edge::ADDRESS);
put_file('/etc/hosts', slurp('/etc/hosts') . $hosts);
trust($edge->ca());

###############################################################################

$t->write_file('daemon.json', '{}');

my @docker = dockerd($t, "$dir/daemon.json");
my @ctr = containerd($t);
my @podman = podman($t);

runs([@docker, qw/ pull alpine:3 /], 'dockerd', qr/Digest: $alpine->{digest}/);
$edge->cold('docker.io', $alpine, 'dockerd');
runs([@ctr, qw! images pull docker.io/library/alpine:3 !], 'containerd');
$edge->warm('docker.io', $alpine, 'containerd');
runs([@podman, qw! pull docker.io/library/alpine:3 !], 'podman');
$edge->warm('docker.io', $alpine, 'podman');

runs([@podman, qw! pull quay.io/team/app:1 !], 'another registry');
$edge->cold('quay.io', $app, 'another registry');
runs([@ctr, qw! images pull quay.io/team/app:1 !],
	'another registry, containerd');
$edge->warm('quay.io', $app, 'another registry, containerd');

fails([@docker, qw! pull ghcr.io/team/app:1 !], 'one that leads back here',
	qr/508|Loop/);
is((run(qw! curl -s https://auth.docker.io/ !))[0] >> 8, 35,
	'a name that is not served');

# the registries are gone

$edge->stop_registries();

$edge->served();
run(@docker, qw/ rmi alpine:3 /);
runs([@docker, qw/ pull alpine:3 /], 'gone, dockerd',
	qr/Digest: $alpine->{digest}/);
$edge->warm('docker.io', $alpine, 'gone, dockerd');

run(@ctr, qw! images rm --sync quay.io/team/app:1
	docker.io/library/alpine:3 !);
run(@ctr, qw/ content prune references /);
runs([@ctr, qw! images pull !, "quay.io/team/app\@$app->{digest}"],
	'gone, containerd');
$edge->warm('quay.io', $app, 'gone, containerd');

###############################################################################

$t->stop_daemons();

is(join("\n", mounts_in($dir)), '', 'nothing left mounted');

###############################################################################
