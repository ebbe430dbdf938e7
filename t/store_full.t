#!/usr/bin/perl

# A store that fails: the disk is full, the workers may not write or read, the
# directory is not there any more.  The client is told so, the log says why,
# nothing is left behind, and all goes on when the cause is gone.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use File::Find qw/ find /;
use JSON::PP;

use lib 'lib';
use Test::Nginx;
use Clients;
use Images;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

need(qw/ mount umount /);

my $t = Test::Nginx->new()->has(qw/http/);
my $d = $t->testdir();
my $mounted;

END { system('umount', '-l', "$d/disk") if $mounted; }

mkdir "$d/disk";
system('mount', '-t', 'tmpfs', '-o', 'size=4m,mode=755', 'full', "$d/disk")
	== 0 or plan(skip_all => 'no tmpfs can be mounted');
$mounted = 1;

$t->plan(70);

# what the workers may not do, root may

chmod 0755, $d;
my $group = getgrgid((getpwnam('nobody'))[3]);

mkdir "$d/denied";

$t->write_file_expand('nginx.conf', <<"EOC")->run();

%%TEST_GLOBALS%%

daemon off;
user nobody $group;
worker_processes 1;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    registry_store full   { path %%TESTDIR%%/disk/full;  tag_valid 0; }
    registry_store denied { path %%TESTDIR%%/denied; }
    registry_store gone   { path %%TESTDIR%%/gone;  tag_valid 0; }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        registry_push on;
        registry_delete on;

        location /v2/ {
            registry full;
        }

        location /v2/threads/ {
            registry full;
            aio threads;
        }

        location /v2/denied/ {
            registry denied;
        }

        location /v2/gone/ {
            registry gone;
        }
    }
}

EOC

###############################################################################

my $registry = Images->new(port(8080));
my $image = Images::image([ Images::blob('a' x 100_000) ]);
my $large = Images::blob('b' x 6_000_000);
my ($r, $location, @before);

is($registry->push_image('a', 'tag', $image), undef, 'there is an image');

# an upload does not fit, however it comes and however it is written

for my $name (qw! a threads/a !) {
	@before = files();

	$r = $registry->request('POST', "/v2/$name/blobs/uploads/"
		. "?digest=$large->{digest}", $large->{content});
	failed($r, 507, 'UNAVAILABLE', "$name: POST of all");
	is(left(), '', "$name: POST of all, nothing left");

	$location = begin($name);
	@before = files();

	$r = $registry->request('PATCH', $location, $large->{content});
	failed($r, 507, 'UNAVAILABLE', "$name: PATCH");
	is(left(), '', "$name: PATCH, nothing left");
	is($registry->request('GET', $location)->{headers}{range}, '0-0',
		"$name: PATCH, the session stands where it stood");

	# a session that has bytes keeps those that were acknowledged

	is($registry->request('PATCH', $location, 'c' x 1_000_000)->{status},
		202, "$name: PATCH that fits");
	@before = files();

	$r = $registry->request('PATCH', $location, $large->{content});
	failed($r, 507, 'UNAVAILABLE', "$name: PATCH after it");
	is(left(), '', "$name: PATCH after it, nothing left");
	is($registry->request('GET', $location)->{headers}{range}, '0-999999',
		"$name: PATCH after it, the session stands where it stood");

	my $blob = Images::blob('c' x 1_000_000 . "$name");

	is($registry->request('PUT', "$location?digest=$blob->{digest}", $name)
		->{status}, 201, "$name: the session goes on");
	is($registry->check_blob($name, $blob->{digest}, length $blob->{content}),
		undef, "$name: its blob is whole");
}

# nothing fits

my $blob = Images::blob('d');
my $tagged = Images::blob($image->{content} . ' ', $image->{type});

$location = begin('a');
is($registry->request('PATCH', $location, $blob->{content})->{status}, 202,
	'a session whose blob is still to be made');
my $other = begin('a');

fill();
@before = files();

failed($registry->request('POST', '/v2/new/blobs/uploads/', ''), 507,
	'UNAVAILABLE', 'full: POST');
is(left(), '', 'full: POST, nothing left');

failed($registry->request('PATCH', $other, 'x' x 10_000), 507, 'UNAVAILABLE',
	'full: PATCH');
is(left(), '', 'full: PATCH, nothing left');

failed(push_manifest('a/manifests/new', $tagged), 507, 'UNAVAILABLE',
	'full: PUT of a manifest');
is(left(), '', 'full: PUT of a manifest, nothing left');
is($registry->request('GET', '/v2/a/manifests/new')->{status}, 404,
	'full: no such tag');

failed(push_manifest('a/manifests/tag', $tagged), 507, 'UNAVAILABLE',
	'full: a tag is moved');
is(join("\n", $registry->check('a', 'tag', $image->{digest})), '',
	'full: the tag stays where it was, and is served');

logged('crit', qr/write\(\) "[^"]+"/, 'full', 'a', 28, 'full: logged');

# there is room again

unlink "$d/disk/filler";

is($registry->request('PUT', "$location?digest=$blob->{digest}", '')->{status},
	201, 'room: the session goes on');
is(push_manifest('a/manifests/tag', $tagged)->{status}, 201,
	'room: the tag is moved');
is(join("\n", $registry->check('a', 'tag', $tagged->{digest})), '',
	'room: it is served');
is($registry->push_image('new', 'tag', $image), undef, 'room: new repository');

# what workers may not write to

$r = $registry->request('POST', '/v2/denied/a/blobs/uploads/', '');
failed($r, 500, 'UNKNOWN', 'denied: POST');
unlike($r->{content}, qr/\Q$d/, 'denied: POST, no path is told');
failed(push_manifest('denied/a/manifests/tag', Images::blob(
	'{"schemaVersion":2,"layers":[]}', $image->{type})), 500, 'UNKNOWN',
	'denied: PUT of a manifest');
is($registry->request('GET', '/v2/denied/a/tags/list')->{status}, 404,
	'denied: nothing there');
logged('error', qr!mkdir\(\) "\Q$d\E/denied/[^"]+"!, 'denied', 'denied/a', 13,
	'denied: logged');

chown((getpwnam('nobody'))[2, 3], "$d/denied");
is($registry->push_image('denied/a', 'tag', $image), undef,
	'denied: allowed now');

# nor read

my ($layer) = reverse @{$image->{blobs}};
my $data = "$d/denied/docker/registry/v2/blobs/" . $layer->{digest}
	=~ s!^(\w+):(..)(.*)!$1/$2/$2$3/data!r;

chmod 0, $data;
failed($registry->request('GET', "/v2/denied/a/blobs/$layer->{digest}"), 500,
	'UNKNOWN', 'denied: GET of a blob');
logged('error', qr/open\(\) "\Q$data\E"/, 'denied', 'denied/a', 13,
	'denied: GET of a blob, logged');
chmod 0644, $data;
is(join("\n", $registry->check('denied/a', 'tag')), '', 'denied: all readable');

# the directory goes

is($registry->push_image('gone/a', 'tag', $image), undef, 'gone: still there');

rename("$d/gone", "$d/elsewhere") or die "Can't rename: $!\n";

failed($registry->request('GET', '/v2/gone/a/manifests/tag'), 404,
	'MANIFEST_UNKNOWN', 'gone: manifest');
failed($registry->request('GET', "/v2/gone/a/blobs/$layer->{digest}"), 404,
	'BLOB_UNKNOWN', 'gone: blob');
failed($registry->request('POST', '/v2/gone/a/blobs/uploads/', ''), 500,
	'UNKNOWN', 'gone: POST');
logged('error', qr!mkdir\(\) "\Q$d\E/gone"!, 'gone', 'gone/a', 13,
	'gone: logged');

rename("$d/elsewhere", "$d/gone") or die "Can't rename: $!\n";

is(join("\n", $registry->check('gone/a', 'tag')), '', 'gone: back');
is($registry->push_image('gone/b', 'tag', $image), undef, 'gone: push');

###############################################################################

$t->stop();
system('umount', "$d/disk") == 0 and $mounted = 0;

undef $t;

###############################################################################

sub begin {
	my ($name) = @_;

	return $registry->request('POST', "/v2/$name/blobs/uploads/", '')
		->{headers}{location};
}

sub push_manifest {
	my ($uri, $manifest) = @_;

	return $registry->request('PUT', "/v2/$uri", $manifest->{content},
		'Content-Type' => $manifest->{type});
}

sub failed {
	my ($r, $status, $code, $name) = @_;

	is($r->{status}, $status, "$name: $status");
	is(eval { join ' ', map { $_->{code} }
		@{decode_json($r->{content})->{errors}} }, $code,
		"$name: document");
}

sub logged {
	my ($level, $call, $store, $repository, $errno, $name) = @_;

	my $about = qq!registry_store "$store", repository "$repository"!;

	like($t->read_file('error.log'),
		qr/ \[$level\] .* $call failed, \Q$about\E \($errno: /, $name);
}

# the files of the disk that may get full, with their sizes

sub files {
	my @files;

	find({ no_chdir => 1, wanted => sub {
		push @files, s!^.*/registry/v2/!!r . ' ' . -s _ if -f;
	} }, "$d/disk/full");

	return sort @files;
}

# those that are new or have grown; a client may have its answer before

sub left {
	my %before = map { $_ => 1 } @before;
	my @left;

	wait_for(sub { !(@left = grep { !$before{$_} } files()) }, 3);

	return join "\n", @left;
}

sub fill {
	open(my $fh, '>', "$d/disk/filler") or die "Can't fill: $!\n";
	$fh->autoflush();

	while (syswrite($fh, 'x' x 4096)) { }
}

###############################################################################
