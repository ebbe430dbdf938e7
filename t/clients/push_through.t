#!/usr/bin/perl

# docker, podman and skopeo that push through an edge, to a registry where they
# log in themselves and to one where the edge has an account; then the new
# tag is pulled at once.  What two images share goes there once.

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

need(qw/ dockerd docker containerd runc podman skopeo docker-registry busybox
	tar unshare ip /);
machine();

my $t = Test::Nginx->new()->has(qw/http http_ssl auth_basic/)->plan(66);
my $dir = $t->testdir();

my @names = qw/ harbor.edge.example.com registry.edge.example.com /;
my $edge = Edge->new($t);

my $image = $edge->fill('harbor.example.com', 'team/app:0');
$edge->fill('registry.example.com', 'team/app:0');

put_file('/etc/nginx/registry.cred', "alice:$Edge::USER{alice}\n");
put_file('/etc/nginx/edge.htpasswd', "bob:{PLAIN}builder\n");
$edge->start('push-through.conf', @names);

###############################################################################

$t->write_file('daemon.json', '{}');

my @docker = dockerd($t, "$dir/daemon.json");
my @podman = podman($t);

system("tar -C $dir/image-1/root -cf $dir/root.tar .") == 0 or die "tar: $?\n";
runs([@docker, 'import', "$dir/root.tar", 'app'], 'import');

# nobody believes the edge yet

run(@docker, 'tag', 'app', "$names[0]/team/app:1");
fails([@docker, 'push', "$names[0]/team/app:1"], 'unknown authority',
	qr/x509/);

put_file("/etc/$_/ca.crt", slurp($edge->ca())) for map {
	("docker/certs.d/$_", "containers/certs.d/$_") } @names;

# what is there already, and for whom

my $there = "docker://$names[0]/team/app:0";

fails([qw/ skopeo inspect --no-tags /, $there], 'no login',
	qr/unauthorized|authentication required/);
runs([qw/ skopeo inspect --no-tags --creds /, $Edge::ROBOT, $there], 'login',
	qr/"Digest": "$image->{digest}"/);

for my $case ([ 'harbor', split(/:/, $Edge::ROBOT, 2) ],
	[ 'registry', 'bob', 'builder' ])
{
	my ($registry, $user, $password) = @$case;
	my $host = "$registry.edge.example.com";
	my $name = "$host/team/app";
	my @login = ('-u', $user, '-p', $password, $host);

	# docker

	run(@docker, 'tag', 'app', "$name:1");
	fails([@docker, 'push', "$name:1"], "$registry, docker, no login",
		qr/no basic auth credentials|unauthorized/);
	runs([@docker, 'login', @login], "$registry, docker, login");

	my $out = runs([@docker, 'push', "$name:1"],
		"$registry, docker, push");
	my ($digest) = $out =~ /digest: (sha256:\w+) /;

	is(join("\n", grep { /^\d+ PUT \S+manifests/ }
		$edge->asked("$registry.example.com")),
		'201 PUT /v2/team/app/manifests/1 0', "$registry, arrived");

	# podman

	runs([@podman, 'login', @login], "$registry, podman, login");
	runs([@podman, 'pull', "$name:1"], "$registry, podman, pull");
	is((run(@podman, 'inspect', '--format', '{{.Digest}}', "$name:1"))[1],
		"$digest\n", "$registry, podman, digest");
	runs([@podman, 'push', '--digestfile', "$dir/digest", "$name:1",
		"$name:2"], "$registry, podman, push");
	$digest = slurp("$dir/digest");

	# skopeo; the tag moves

	is(digest("$name:2"), "$digest\n", "$registry, skopeo, digest");
	runs(['skopeo', 'copy', "oci:$dir/image-2/layout:0",
		"docker://$name:2"], "$registry, skopeo, push");
	isnt(digest("$name:2"), "$digest\n", "$registry, the tag has moved");
	is(digest("$name:2"), digest("oci:$dir/image-2/layout:0"),
		"$registry, to what was pushed");

	# an image, and one on top of it in another repository

	for my $client ('docker', 'podman', 'skopeo') {
		my @names = map { "$host/team/$client-$_" } 'base', 'app';
		my @push = images($client, @names);

		$edge->asked("$registry.example.com");

		runs($push[0], "$registry, $client, push of a base");
		my $base = uploads("$registry.example.com");
		$out = runs($push[1], "$registry, $client, push of what is on it");
		my $app = uploads("$registry.example.com");

		my ($layer) = keys %{$app->{mounted}};

		is(keys %{$app->{mounted}}, 1, "$registry, $client, mounted");
		is(join(' ', map { $_->{sent}{$layer} // 0 } $base, $app), '1 0',
			"$registry, $client, the layer was sent once");
		is(keys %{$app->{sent}}, 2, "$registry, $client, and what is new");
		is((run(qw/ skopeo inspect --no-tags /, "docker://$names[1]:1"))[0],
			0, "$registry, $client, it is there");
	}
}

# what may not be pushed there

fails(['skopeo', 'copy', "oci:$dir/image-2/layout:0",
	'docker://registry.edge.example.com/other/app:1'], 'not permitted',
	qr/unsupported/i);

is(join("\n", grep { /^5/ } map { "$_->{status} $_->{method} $_->{uri}" }
	$edge->served()), '', 'no server errors');

###############################################################################

undef $t;

###############################################################################

# how a client pushes two images, of which the second is on top of the first

sub images {
	my ($client, @names) = @_;
	my $path = $names[0] =~ s!/!-!gr;
	my @commands;

	mkdir "$dir/$path" or die "$path: $!\n";

	for my $n (0, 1) {
		my $build = "$dir/$path/$n";

		mkdir $build or die "$build: $!\n";
		random_file("$build/file$n", 1);
		$t->write_file("$path/$n/Dockerfile", 'FROM '
			. ($n ? "$names[0]:1" : 'scratch') . "\nADD file$n /\n");
	}

	if ($client eq 'skopeo') {
		my @layers = map { "$dir/$path/$_" } 0, 1;

		oci_layout("$dir/$path/layout-$_", "x", amd64 => [ @layers[0 .. $_] ])
			for 0, 1;

		return map { [ qw/ skopeo copy /, "oci:$dir/$path/layout-$_:x",
			"docker://$names[$_]:1" ] } 0, 1;
	}

	my @cmd = $client eq 'docker' ? @docker : @podman;

	for my $n (0, 1) {
		my ($status, $out) = run(@cmd, 'build', '-t', "$names[$n]:1",
			"$dir/$path/$n");
		die $out if $status;
	}

	return map { [ @cmd, 'push', "$_:1" ] } @names;
}

# which blobs a registry was sent, how often, and which were mounted there

sub uploads {
	my %blobs = (sent => {}, mounted => {});

	for ($edge->asked(@_)) {
		s/%3A/:/gi;
		$blobs{$2 eq 'mount' ? 'mounted' : 'sent'}{$3}++
			if /^201 (POST|PUT) \S+[?&](mount|digest)=(sha256:\w+)/;
	}

	return \%blobs;
}

sub digest {
	my ($name) = @_;

	$name = "docker://$name" if $name !~ /^oci:/;

	return (run(qw/ skopeo inspect --no-tags --format {{.Digest}} /,
		$name))[1];
}

###############################################################################
