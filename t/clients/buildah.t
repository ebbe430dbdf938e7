#!/usr/bin/perl

# A real buildah: build, push, build on what was pushed, manifest lists.

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

need(qw/ buildah busybox /);

my $t = Test::Nginx->new()->has(qw/http auth_basic/)->plan(13);
my $dir = $t->testdir();

registry($t);

###############################################################################

my $reg = '127.0.0.1:' . port(8080);

home($t);

my @buildah = ('buildah', '--root', "$dir/root", '--runroot', "$dir/run",
	'--storage-driver', 'vfs');
my @plain = ('--tls-verify=false');
my @build = ('build', '--isolation', 'chroot', '--layers', @plain);

rootfs("$dir/image", 'built');
$t->write_file('image/Containerfile', <<'EOF');
FROM scratch
ADD . /
RUN /bin/echo ran > /ran
EOF

runs([@buildah, @build, '-t', "$reg/base:1", "$dir/image"], 'build');
runs([@buildah, 'push', @plain, '--digestfile', "$dir/digest", "$reg/base:1"],
	'push');

my $digest = slurp("$dir/digest");

like(http_get('/v2/base/manifests/1'), qr/Docker-Content-Digest: $digest\r/i,
	'the tag has the digest that buildah told');

runs([@buildah, 'rmi', '-a'], 'remove');

# the base comes from the registry

mkdir "$dir/second";
random_file("$dir/second/large", 20);
$t->write_file('second/Containerfile', <<EOF);
FROM $reg/base:1
ADD large /
RUN /bin/cat /message /ran
EOF

runs([@buildah, @build, '--pull-always', '-t', "$reg/second:1",
	"$dir/second"], 'build on what was pushed', qr/^built\nran$/m);

# what the registry gave last is not sent to it again

requests($t);
runs([@buildah, 'push', @plain, "$reg/second:1"], 'push of the second image');

my @requests = requests($t);

is(scalar(grep { /^201 POST \S+[?&]mount=/ } @requests), 2,
	'layers of the base mounted');
is(join("\n", grep { /^5/ } @requests), '', 'no server errors');

# a manifest list, with both images

runs([@buildah, 'manifest', 'create', 'list'], 'manifest list');
runs([@buildah, 'manifest', 'add', 'list', "containers-storage:$reg/base:1"],
	'manifest list, first image');
runs([@buildah, 'manifest', 'add', 'list',
	"containers-storage:$reg/second:1"], 'manifest list, second image');
runs([@buildah, 'manifest', 'push', @plain, '--all', 'list',
	"docker://$reg/list:1"], 'push of a manifest list');
like(http_get('/v2/list/manifests/1'), qr/"digest": *"$digest"/,
	'the list names the first image');

###############################################################################
