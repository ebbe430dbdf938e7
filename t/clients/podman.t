#!/usr/bin/perl

# A real podman: push, remove, pull and run images, logins.

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

need(qw/ podman conmon runc busybox tar /);

my $t = Test::Nginx->new()->has(qw/http auth_basic/)->plan(17);
my $dir = $t->testdir();

registry($t);

###############################################################################

my $reg = '127.0.0.1:' . port(8080);
my $auth = '127.0.0.1:' . port(8081);

my @podman = podman($t);
my @plain = ('--tls-verify=false');

# the default limits may be above those of this machine

my @run = ('run', '--rm', '--network', 'none',
	'--ulimit', 'nofile=1024:1024', '--ulimit', 'nproc=1024:1024');

rootfs("$dir/image", 'it runs');
system("tar -C $dir/image -cf $dir/image.tar .") == 0 or die "tar: $?\n";

runs([@podman, 'import', '--change', 'CMD ["/bin/cat", "/message"]',
	"$dir/image.tar", "$reg/one:1"], 'import');
runs([@podman, 'push', @plain, '--digestfile', "$dir/digest", "$reg/one:1"],
	'push');

my $digest = slurp("$dir/digest");

like(http_get('/v2/one/manifests/1'), qr/Docker-Content-Digest: $digest\r/i,
	'the tag has the digest that podman told');

runs([@podman, 'rmi', "$reg/one:1"], 'remove');
runs([@podman, @run, '--pull', 'always', @plain, "$reg/one:1"],
	'pull and run', qr/^it runs$/m);
runs([@podman, 'rmi', "$reg/one:1"], 'remove again');
runs([@podman, 'pull', @plain, "$reg/one\@$digest"], 'pull by digest');

# a large layer on top

mkdir "$dir/build";
random_file("$dir/build/large", 20);
$t->write_file('build/Containerfile',
	"FROM $reg/one\@$digest\nADD large /\n");

runs([@podman, 'build', '-t', "$reg/large:1", "$dir/build"], 'build');

requests($t);
runs([@podman, 'push', @plain, "$reg/large:1"], 'push of a large image');

my @requests = requests($t);

is(scalar(grep { /^201 POST \S+[?&]mount=/ } @requests), 1,
	'shared layer mounted');
is(join("\n", grep { /^5/ } @requests), '', 'no server errors');

runs([@podman, 'rmi', '-a', '-f'], 'remove all');
runs([@podman, 'pull', @plain, "$reg/large:1"], 'pull of a large image');
is((run(@podman, @run, "$reg/large:1", '/bin/busybox', 'sha256sum',
	'/large'))[1], sha256_of("$dir/build/large") . "  /large\n",
	'large layer is whole');

# passwords

fails([@podman, 'login', @plain, '-u', 'user', '-p', 'wrong', $auth],
	'login with a wrong password', qr/invalid username\/password/);
runs([@podman, 'login', @plain, '-u', 'user', '-p', 'secret', '--authfile',
	"$dir/auth.json", $auth], 'login', qr/Login Succeeded/);
runs([@podman, 'push', @plain, '--authfile', "$dir/auth.json",
	"$reg/large:1", "$auth/private:1"], 'push after login');

###############################################################################
