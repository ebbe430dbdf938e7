#!/usr/bin/perl

# A real dockerd: push, remove, pull and run images, shared layers, mounts
# between repositories, manifest lists, logins.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib '../lib';
use Test::Nginx;
use Clients;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

need(qw/ dockerd docker containerd runc busybox tar /);

my $t = Test::Nginx->new()->has(qw/http auth_basic/)->plan(38);
my $dir = $t->testdir();

registry($t);

###############################################################################

my $reg = '127.0.0.1:' . port(8080);
my $auth = '127.0.0.1:' . port(8081);
my $readonly = '127.0.0.1:' . port(8082);

$ENV{DOCKER_BUILDKIT} = 0;

$t->write_file('docker.json', '{}');

my @docker = dockerd($t, "$dir/docker.json");

# one layer, made without any network

rootfs("$dir/root", 'it runs');
system("tar -C $dir/root -cf $dir/root.tar .") == 0 or die "tar: $?\n";

runs([@docker, 'import', '-c', 'CMD ["/bin/cat", "/message"]',
	"$dir/root.tar", "$reg/one:1"], 'import');

my $digest = pushed(runs([@docker, 'push', "$reg/one:1"], 'push'));

like(http_get('/v2/one/tags/list'), qr/\{"name":"one","tags":\["1"\]\}/,
	'tag listed');
like(http_get('/v2/one/manifests/1'), qr/Docker-Content-Digest: $digest/i,
	'the tag has the digest that docker told');

runs([@docker, 'rmi', "$reg/one:1"], 'remove');
runs([@docker, 'pull', "$reg/one:1"], 'pull', qr/Digest: $digest/);
runs([@docker, 'run', '--rm', '--network=none', "$reg/one:1"], 'run',
	qr/^it runs$/m);

runs([@docker, 'rmi', "$reg/one:1"], 'remove again');
runs([@docker, 'pull', "$reg/one\@$digest"], 'pull by digest',
	qr/Digest: $digest/);

# layers on top, one of them larger than any buffer

mkdir "$dir/build";
random_file("$dir/build/large", 40);

$t->write_file('build/small', "small file\n");
$t->write_file('build/Dockerfile', <<EOF);
FROM $reg/one\@$digest
ADD large /
ADD small /
CMD ["/bin/cat", "/small"]
EOF

runs([@docker, 'build', '-q', '-t', "$reg/layers:1", "$dir/build"], 'build');

requests($t);

my $out = runs([@docker, 'push', "$reg/layers:1"], 'push of layers');
my @requests = requests($t);

$digest = pushed($out);

is(scalar(grep { /^202 PATCH / } @requests), (() = $out =~ /: Pushed/g) + 1,
	'layers and config streamed by PATCH');
is(join("\n", grep { !/^2|^404 HEAD / } @requests), '', 'no errors');

# what is there is not sent again

runs([@docker, 'push', "$reg/layers:1"], 'push again',
	qr/(?:Layer already exists.*){3}/s);
is(join("\n", grep { / (POST|PATCH) | PUT \S+\/blobs\// } requests($t)), '',
	'nothing sent again');

# under another name the blobs are mounted

runs([@docker, 'tag', "$reg/layers:1", "$reg/other/name:1"], 'second name');
like(runs([@docker, 'push', "$reg/other/name:1"], 'push of the second name',
	qr/(?:Mounted from .*){3}/s), qr/digest: $digest /,
	'same digest under the second name');

@requests = requests($t);

is(scalar(grep { /^201 POST \S+[?&]mount=sha256/ } @requests), 3,
	'layers mounted');
is(scalar(grep { / PATCH / } @requests), 1, 'only the config sent');

run(@docker, 'rmi', '-f', "$reg/layers:1", "$reg/other/name:1");
run(@docker, 'image', 'prune', '-af');

is((run(@docker, 'images', '-q'))[1], '', 'all images removed');
runs([@docker, 'pull', "$reg/other/name:1"], 'pull of the second name',
	qr/Digest: $digest/);
runs([@docker, 'run', '--rm', '--network=none', "$reg/other/name:1"],
	'run of the second name', qr/^small file$/m);
is((run(@docker, 'run', '--rm', '--network=none', "$reg/other/name:1",
	'/bin/busybox', 'sha256sum', '/large'))[1],
	sha256_of("$dir/build/large") . "  /large\n", 'large layer is whole');

# manifest lists

runs([@docker, 'manifest', 'create', '--insecure', "$reg/other/name:list",
	"$reg/other/name:1"], 'manifest list');
runs([@docker, 'manifest', 'push', '--insecure', "$reg/other/name:list"],
	'push of a manifest list');
runs([@docker, 'rmi', "$reg/other/name:1"], 'remove before the list');
runs([@docker, 'pull', "$reg/other/name:list"], 'pull by the list',
	qr/Status: Downloaded newer image/);

# what is not there

fails([@docker, 'pull', "$reg/other/name:none"], 'pull of an unknown tag',
	qr/manifest for \S+ not found: manifest unknown/);
fails([@docker, 'pull', "$reg/nothing:1"], 'pull of an unknown name',
	qr/not found/);

# a place to pull from only

runs([@docker, 'tag', "$reg/other/name:list", "$readonly/new:1"], 'tag');
fails([@docker, 'push', "$readonly/new:1"], 'push where it is off',
	qr/unsupported|not allowed/i);

# passwords

runs([@docker, 'tag', "$reg/other/name:list", "$auth/private:1"], 'tag');
fails([@docker, 'push', "$auth/private:1"], 'push without login',
	qr/no basic auth credentials/);
fails([@docker, 'login', '-u', 'user', '-p', 'wrong', $auth],
	'login with a wrong password', qr/unauthorized/i);
runs([@docker, 'login', '-u', 'user', '-p', 'secret', $auth], 'login',
	qr/Login Succeeded/);
runs([@docker, 'push', "$auth/private:1"], 'push after login');

###############################################################################

$t->stop_daemons();

is(join("\n", mounts_in($dir)), '', 'nothing left mounted');

###############################################################################

sub pushed {
	return $_[0] =~ /digest: (sha256:[0-9a-f]{64}) / ? $1 : 'none';
}

###############################################################################
