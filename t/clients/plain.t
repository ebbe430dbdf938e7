#!/usr/bin/perl

# The edge of README.md, without TLS: dockerd, containerd and podman pull from
# it with the settings that docs/clients.md says.

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
	busybox tar unshare ip /);
machine();

my $t = Test::Nginx->new()->has(qw/http http_ssl/)->plan(13);
my $dir = $t->testdir();

my $edge = Edge->new($t);
my $alpine = $edge->fill('docker.io', 'library/alpine:3');
my $other = $edge->fill('docker.io', 'team/other:1');

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
