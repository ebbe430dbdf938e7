#!/usr/bin/perl

# Without TLS, with the settings that docs/clients.md says: dockerd, containerd
# and podman pull from the edge of README.md, and dockerd from that of a branch
# office, whose way to Docker Hub is a squid.

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
use Test::Nginx::Proxy;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

need(qw/ dockerd docker containerd ctr runc podman docker-registry skopeo
	squid busybox tar unshare ip /);
machine();

my $t = Test::Nginx->new()->has(qw/http http_ssl/)->plan(23);
my $dir = $t->testdir();

my $edge = Edge->new($t);
my $alpine = $edge->fill('docker.io', 'library/alpine:3');
my $other = $edge->fill('docker.io', 'team/other:1');
my $debian = $edge->fill('docker.io', 'library/debian:12');
my $app = $edge->fill('harbor.example.com', 'team/app:1');

my ($conf) = grep { /registry_proxy/ }
	slurp('../../README.md') =~ /^```nginx\n(.*?)^```$/msg;
my $docs = slurp('../../docs/clients.md');
my $examples = '../../conf/examples/clients';

$edge->start($conf, 'edge.example.com');

###############################################################################

# docker

put_file('/etc/docker/daemon.json', '{' . join(',', said('docker')) . '}');

my @docker = dockerd($t, '/etc/docker/daemon.json');

runs([@docker, qw/ pull alpine:3 /], 'docker', qr/Digest: $alpine->{digest}/);
$edge->cold('docker.io', $alpine, 'docker');

run(@docker, qw/ rmi alpine:3 /);
runs([@docker, qw! pull edge.example.com:5000/docker.io/alpine:3 !],
	'docker, full name', qr/Digest: $alpine->{digest}/);
$edge->warm('docker.io', $alpine, 'docker, full name');

# containerd

my ($host) = said('containerd');
my $hosts = slurp("$examples/containerd/certs.d/docker.io/hosts.toml");

$hosts =~ s/^\[host\..*\]$/$host/m or die "no host: $hosts\n";
put_file('/etc/containerd/certs.d/docker.io/hosts.toml', $hosts);

my @ctr = (containerd($t), qw! images pull --hosts-dir
	/etc/containerd/certs.d !);

runs([@ctr, 'docker.io/team/other:1'], 'containerd');
$edge->cold('docker.io', $other, 'containerd');

# podman

my $mirror = join("\n", said('podman, skopeo, buildah, CRI-O'));
my $registries = slurp("$examples/containers/registries.conf");

$registries =~ s!^location = "edge\.example\.com/docker\.io"$!$mirror!m
	or die "no mirror: $registries\n";
put_file('/etc/containers/registries.conf', $registries);

runs([podman($t), qw! pull docker.io/team/other:1 !], 'podman');
$edge->warm('docker.io', $other, 'podman');

# a branch office, of which nobody gets to Docker Hub but by the proxy

$t->stop();
trust($edge->ca());

my $squid = Test::Nginx::Proxy->squid($t, port => 3128,
	address => '10.0.0.13', hosts => { 'registry-1.docker.io' => '11.0.0.1',
		'auth.docker.io' => '11.0.0.2' });

$edge->run('branch-office.conf', 'edge.example.com');

runs([@docker, qw/ pull debian:12 /], 'branch, docker.io',
	qr/Digest: $debian->{digest}/);
$edge->cold('docker.io', $debian, 'branch, docker.io');
runs([@docker, 'pull', 'edge.example.com:5000/harbor.example.com/team/app:1'],
	'branch, harbor', qr/Digest: $app->{digest}/);
$edge->cold('harbor.example.com', $app, 'branch, harbor');

my $own = 'edge.example.com:5000/office/app:1';

run(@docker, 'tag', 'debian:12', $own);
runs([@docker, 'push', $own], 'branch, push');
run(@docker, qw/ rmi debian:12 /, $own);
runs([@docker, qw! pull office/app:1 !], 'branch, our own',
	qr/Downloaded newer image/);

$squid->stop();

my %asked = map { $_ => 1 } $squid->log();

is(join(', ', sort keys %asked), 'CONNECT auth.docker.io:443,'
	. ' CONNECT registry-1.docker.io:443', 'branch, by the proxy');
is(join("\n", grep { /^5/ } map { "$_->{status} $_->{method} $_->{uri}" }
	$edge->served()), '', 'branch, no server errors');

###############################################################################

$t->stop_daemons();

is(join("\n", mounts_in($dir)), '', 'nothing left mounted');

###############################################################################

# the settings of a client, in their order

sub said {
	my ($client) = @_;
	my ($table) = $docs =~ /^Without TLS(.*?)^## /ms;
	my ($row) = $table =~ /^\| \Q$client\E \| (.*) \|$/m
		or die "no $client without TLS in clients.md\n";

	return $row =~ /`([^`]+)`/g;
}

###############################################################################
