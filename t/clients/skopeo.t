#!/usr/bin/perl

# A real skopeo: copies both ways in all its formats, an index with all of its
# images, copies between repositories, lists, deletes, synchronizes.

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

need(qw/ skopeo busybox tar gzip /);

my $t = Test::Nginx->new()->has(qw/http auth_basic/)->plan(33);
my $dir = $t->testdir();

registry($t);

###############################################################################

my $reg = '127.0.0.1:' . port(8080);
my $auth = '127.0.0.1:' . port(8081);

$ENV{HOME} = $dir;

my @skopeo = ('skopeo', '--insecure-policy', '--tmpdir', $dir);
my @to = ('copy', '--dest-tls-verify=false');
my @from = ('copy', '--src-tls-verify=false');
my @both = ('copy', '--src-tls-verify=false', '--dest-tls-verify=false');
my @plain = ('--tls-verify=false');

rootfs("$dir/root", 'it runs');
mkdir "$dir/$_" for qw/ large arm sync /;
random_file("$dir/large/file", 20);
random_file("$dir/arm/file", 1);

# an image, in and out, in every format

my $digest = oci_layout("$dir/image", 'one',
	amd64 => ["$dir/root", "$dir/large"]);

runs([@skopeo, @to, "oci:$dir/image:one", "docker://$reg/image:one"],
	'copy from oci:');
is(digest('image:one'), $digest, 'digest kept');

runs([@skopeo, @from, "docker://$reg/image:one", "oci:$dir/back:one"],
	'copy to oci:');
is(content("$dir/back"), content("$dir/image"), 'same blobs came back');

runs([@skopeo, @from, "docker://$reg/image:one", "dir:$dir/dir"],
	'copy to dir:');
runs([@skopeo, @to, "dir:$dir/dir", "docker://$reg/image:dir"],
	'copy from dir:');
is(digest('image:dir'), $digest, 'digest kept through dir:');

runs([@skopeo, @both, '--format', 'v2s2', "docker://$reg/image:one",
	"docker://$reg/image:docker"], 'copy as a Docker image');
runs([@skopeo, @from, "docker://$reg/image:docker",
	"docker-archive:$dir/archive.tar:$reg/image:docker"],
	'copy to docker-archive:');

# layers of an archive are not compressed: they become so, of unknown length

runs([@skopeo, @to, "docker-archive:$dir/archive.tar",
	"docker://$reg/image:archive"], 'copy from docker-archive:');

# an index with all of its images

my $index = oci_layout("$dir/multi", 'all', amd64 => ["$dir/root"],
	arm64 => ["$dir/arm", "$dir/root"], s390x => ["$dir/arm"]);

runs([@skopeo, @to, '--all', "oci:$dir/multi:all", "docker://$reg/multi:all"],
	'copy --all of an index');
is('sha256:' . Digest::SHA::sha256_hex((run(@skopeo, 'inspect', @plain,
	'--raw', "docker://$reg/multi:all"))[1]), $index, 'index byte for byte');

runs([@skopeo, @from, '--all', "docker://$reg/multi:all", "oci:$dir/all:all"],
	'copy --all to oci:');
is(content("$dir/all"), content("$dir/multi"), 'all blobs came back');

runs([@skopeo, @from, '--override-arch', 'arm64', "docker://$reg/multi:all",
	"oci:$dir/arm64:arm64"], 'copy of one architecture');

# to another repository: mounted

requests($t);
runs([@skopeo, @both, '--all', "docker://$reg/multi:all",
	"docker://$reg/other/multi:all"], 'copy between repositories');

my @requests = requests($t);

is(scalar(grep { /^201 POST \S+[?&]mount=/ } @requests), 2,
	'layers mounted');
is(scalar(grep { / PATCH / } @requests), 3, 'only the configs sent');
is(join("\n", grep { /^5/ } @requests), '', 'no server errors');

# lists

like(runs([@skopeo, 'list-tags', @plain, "docker://$reg/image"], 'list-tags'),
	qr/"archive",\s+"dir",\s+"docker",\s+"one"/, 'all tags');
runs([@skopeo, 'inspect', @plain, "docker://$reg/image:one"], 'inspect',
	qr/"Digest": "$digest"/);
runs([@skopeo, 'inspect', @plain, '--config', "docker://$reg/image:one"],
	'inspect --config', qr/"architecture":\s*"amd64"/);

# synchronization

runs([@skopeo, 'sync', '--src-tls-verify=false', '--src', 'docker', '--dest',
	'dir', "$reg/image", "$dir/sync"], 'sync to a directory');
runs([@skopeo, 'sync', '--dest-tls-verify=false', '--src', 'dir', '--dest',
	'docker', "$dir/sync", "$reg/synced"], 'sync from a directory');
is(digest('synced/image:one'), $digest, 'digest kept through sync');

# deletes

runs([@skopeo, 'delete', @plain, "docker://$reg/synced/image:one"], 'delete');
fails([@skopeo, 'inspect', @plain, "docker://$reg/synced/image:one"],
	'deleted', qr/manifest unknown/);

# A mount across locations is not granted: the session that is opened instead
# is cancelled with DELETE, and the blob sent.

mkdir "$dir/fresh";
random_file("$dir/fresh/file", 1);
oci_layout("$dir/new", 'new', amd64 => ["$dir/fresh"]);

run(@skopeo, @to, "oci:$dir/new:new", "docker://$reg/apart/new:new");

requests($t);
runs([@skopeo, @to, "oci:$dir/new:new", "docker://$reg/late:new"],
	'copy when a mount is not granted');
@requests = requests($t);

ok((grep { /^202 POST \S+[?&]mount=/ } @requests)
	&& (grep { /^204 DELETE \S+\/uploads\// } @requests)
	&& !(grep { /^(?!404 HEAD)[45]/ } @requests),
	'session opened by a mount cancelled')
	or diag(join("\n", @requests));

# passwords

fails([@skopeo, @to, '--dest-creds', 'user:wrong', "oci:$dir/image:one",
	"docker://$auth/private:one"], 'wrong password', qr/unauthorized|40[13]/i);
runs([@skopeo, @to, '--dest-creds', 'user:secret', "oci:$dir/image:one",
	"docker://$auth/private:one"], 'right password');
runs([@skopeo, 'inspect', @plain, '--creds', 'user:secret',
	"docker://$auth/private:one"], 'inspect with a password',
	qr/"Digest": "$digest"/);

###############################################################################

sub digest {
	my ($image) = @_;
	my ($status, $out) = run(@skopeo, 'inspect', @plain, '--format',
		'{{.Digest}}', "docker://$reg/$image");
	return $out =~ /(\S+)/ ? $1 : '';
}

# names of the blobs of a layout, all of them checked

sub content {
	my ($layout) = @_;
	return join "\n", map { m!([^/]+)$! && sha256_of($_) eq $1 ? $1 : "bad $_" }
		sort glob "$layout/blobs/sha256/*";
}

###############################################################################
