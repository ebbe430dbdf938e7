#!/usr/bin/perl

# What is on the disk: Distribution's layout to the byte, and our own files
# beside it.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use File::Find qw/ find /;
use File::Temp qw/ tempdir /;
use JSON::PP qw//;
use Strace;
use Test::Nginx;
use Test::Nginx::Registry;
use Time::HiRes qw/ sleep /;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

umask 022;

my $t = Test::Nginx->new()->has(qw/http/)->has_daemon('strace')
	->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;
user root;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    registry_store local { path %%TESTDIR%%/registry; }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        add_header   X-Pid $pid always;

        location /v2/ {
            registry local;
            registry_push on;
            registry_delete on;
        }
    }
}

EOF

$t->run()->plan(43);

###############################################################################

my $dir = $t->testdir() . '/registry';
my $root = "$dir/docker/registry/v2";

# nginx makes the directory, and nothing below before it is needed

ok(-d $dir, 'directory');
is_deeply(files(), {}, 'empty');

request(GET => $_) for '/v2/', '/v2/a/tags/list', '/v2/a/manifests/x',
	'/v2/a/blobs/' . sha256('x'), '/v2/a/referrers/' . sha256('x');
is_deeply([ glob("$dir/*") ], [], 'nothing made by reading');

# a session

my $uri = request(POST => '/v2/a/b/blobs/uploads/')->location();
my ($id) = $uri =~ m!([^/]*)$!;
my $session = "repositories/a/b/_uploads/$id";

is(names(), join(' ', map { "$session/$_" } qw/ data hashstate startedat /),
	'session');
is(content("$session/data"), '', 'session data');
like(content("$session/startedat"), qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/,
	'session start');

request(PATCH => $uri, body => 'hello ');
is(content("$session/data"), 'hello ', 'session patched');
is(names(), join(' ', map { "$session/$_" } qw/ data hashstate startedat /),
	'session patched, files');

request(DELETE => $uri);
is(names(), '', 'session deleted');

# a blob and its link

my $blob = push_blob('a/b', 'hello world');
my $hex = substr($blob, 7);

is_deeply(files(), {
	blob($blob) => 'hello world',
	layer('a/b', $blob) => $blob,
}, 'blob');
is(content(layer('a/b', $blob)), "sha256:$hex", 'link without a line break');

# sha512 beside it, the empty one, and a mount

my $strong = push_blob('a/b', 'hello world', digest => sha512('hello world'));
my $empty = push_blob('a/b', '');
request(POST => "/v2/c/blobs/uploads/?from=a/b&mount=$blob");

is_deeply(files(), {
	blob($blob) => 'hello world',
	blob($strong) => 'hello world',
	blob($empty) => '',
	layer('a/b', $blob) => $blob,
	layer('a/b', $strong) => $strong,
	layer('a/b', $empty) => $empty,
	layer('c', $blob) => $blob,
}, 'blobs');

is(blob($blob), 'blobs/sha256/' . substr($hex, 0, 2) . "/$hex/data",
	'path of a blob');
is(layer('c', $blob), "repositories/c/_layers/sha256/$hex/link",
	'path of a link');

# a manifest, by tag and by digest

my $image = to_json({ schemaVersion => 2, mediaType => $MANIFEST,
	config => { mediaType => $CONFIG, digest => $empty, size => 0 },
	layers => [ { mediaType => $LAYER, digest => $blob, size => 11 } ] });
my $digest = sha256($image);
my %before = (%{files()}, 'repositories/a/b/_manifests/lock' => '');

push_manifest('a/b', $digest, $image);

is_deeply(files(), { %before,
	blob($digest) => $image,
	revision('a/b', $digest) => $digest,
}, 'manifest by digest');

push_manifest('a/b', 'latest', $image);

is_deeply(files(), { %before,
	blob($digest) => $image,
	revision('a/b', $digest) => $digest,
	tag('a/b', 'latest', 'current') => $digest,
	tag('a/b', 'latest', $digest) => $digest,
}, 'manifest by tag');

is(revision('a/b', $digest), 'repositories/a/b/_manifests/revisions/sha256/'
	. substr($digest, 7) . '/link', 'path of a revision');
is(tag('a/b', 'latest', 'current'),
	'repositories/a/b/_manifests/tags/latest/current/link',
	'path of a tag');
is(tag('a/b', 'latest', $digest),
	'repositories/a/b/_manifests/tags/latest/index/sha256/'
	. substr($digest, 7) . '/link', "path of a tag's index");

# the tag moves: its index keeps what it was

my $next = to_json({ schemaVersion => 2, mediaType => $MANIFEST,
	config => { mediaType => $CONFIG, digest => $empty, size => 0 },
	layers => [] });
my $moved = sha512($next);
push_manifest('a/b', "$moved?tag=latest&tag=other", $next);

is_deeply(files(), { %before,
	blob($digest) => $image,
	blob($moved) => $next,
	revision('a/b', $digest) => $digest,
	revision('a/b', $moved) => $moved,
	tag('a/b', 'latest', 'current') => $moved,
	tag('a/b', 'latest', $digest) => $digest,
	tag('a/b', 'latest', $moved) => $moved,
	tag('a/b', 'other', 'current') => $moved,
	tag('a/b', 'other', $moved) => $moved,
}, 'moved tag');

# the tag's directory goes as a whole

request(DELETE => '/v2/a/b/manifests/latest');
is((() = grep { m!/tags/latest/! } keys %{files()}), 0, 'deleted tag');
ok(!-e "$root/repositories/a/b/_manifests/tags/latest",
	'deleted tag, directory');

request(DELETE => "/v2/a/b/manifests/$moved");
request(DELETE => "/v2/a/b/manifests/$digest");

is_deeply(files(), { %before,
	blob($digest) => $image,
	blob($moved) => $next,
}, 'deleted manifests');

# ours: a type that the bytes do not say, and referrers

my $plain = to_json({ schemaVersion => 2, layers => [] });
my $typed = revision('t', sha256($plain)) =~ s/link$/media_type/r;

push_manifest('t', 'x', $plain, type => 'application/x.y+json');
is(content($typed), 'application/x.y+json', 'type');
push_manifest('t', 'x', $plain, type => $MANIFEST);
is(content($typed), undef, 'type that the bytes say');
push_manifest('t', 'x', $image = to_json({ schemaVersion => 2,
	mediaType => 'application/x.y+json' }), type => 'application/x.y+json');
is(content(revision('t', sha256($image)) =~ s/link$/media_type/r), undef,
	'type of its own');

my $signature = to_json({ schemaVersion => 2, mediaType => $MANIFEST,
	artifactType => 'a/b', annotations => { x => 'y' }, layers => [],
	subject => { mediaType => $MANIFEST, digest => $digest, size => 5 } });
my $signed = sha256($signature);
my $referrer = 'repositories/t/_referrers/sha256/' . substr($digest, 7)
	. '/' . $signed =~ tr/:/-/r;

push_manifest('t', $signed, $signature);
is_deeply(JSON::PP::decode_json(content($referrer)), { mediaType => $MANIFEST,
	digest => $signed, size => length $signature, artifactType => 'a/b',
	annotations => { x => 'y' } }, 'referrer');

request(DELETE => "/v2/t/manifests/$signed");
is(content($referrer), undef, 'deleted referrer');

# long names: every file has a path

my $long = join('/', ('x' x 63) x 4);
push_manifest($long, 'y' x 128, $plain);
is(content(tag($long, 'y' x 128, 'current')), sha256($plain), 'long names');

$long = 'x' x 255;
push_manifest($long, 'y' x 128, $plain);
is(content(tag($long, 'y' x 128, 'current')), sha256($plain),
	'a long component');

# a repository in another, and one that is called like a part of the API

push_manifest($_, 'x', $plain) for 'a', 'a/b/c', 'a/tags', 'a/blobs/uploads';
is(content(tag($_, 'x', 'current')), sha256($plain), "repository $_")
	for 'a', 'a/b/c', 'a/tags', 'a/blobs/uploads';

# for others to read

find({ no_chdir => 1, wanted => sub {
	my $mode = (stat)[2] & 07777;
	push @main::odd, sprintf('%s %o', $_, $mode)
		if $mode != (-d _ ? 0755 : 0644);
} }, $dir);

is_deeply(\@main::odd, [], 'modes');
is_deeply([ grep { m!_tmp|/\.! } keys %{files()} ], [], 'nothing temporary');

# blobs on another disk: they cannot be renamed there

SKIP: {
	my $other = eval { tempdir('nginx-test-XXXXXXXXXX', DIR => '/dev/shm',
		CLEANUP => 1) };

	skip 'no other file system at /dev/shm', 7
		unless $other && (stat $other)[0] != (stat $dir)[0];

	rename "$root/blobs", "$root/blobs.old" or die;
	symlink $other, "$root/blobs" or die;

	is(request(GET => '/v2/a/b/blobs/' . push_blob('a/b', 'far away'))
		->body, 'far away', 'another disk');
	my $far = push_image('a/b', 'far', 'away');
	is(request(GET => '/v2/a/b/manifests/far')->body, $far,
		'another disk, manifest');
	is_deeply(files("$root/blobs"), { map { blob(sha256($_))
		=~ s/^blobs.//r => $_ } 'far away', 'away', '{}', $far },
		'another disk, files');
	is_deeply([ grep { m!_tmp|_uploads|/\.! } keys %{files()} ], [],
		'another disk, nothing temporary');
	ok(-d "$root/blobs/_tmp", 'another disk, where it is copied to');

	# the directory goes while that is copied

	my $late = sha256('late');
	my $empty = "$root/" . blob($late) =~ s!/data$!!r;

	trace($t, worker('/'), 'inject=fsync:delay_enter=300000', sub {
		my $s = send_request(POST =>
			"/v2/a/b/blobs/uploads/?digest=$late", body => 'late');

		for (1 .. 1000) {
			last if glob("$root/blobs/_tmp/.??*");
			sleep(0.01);
		}

		ok(rmdir $empty, 'another disk, no directory any more');
		is(response($s)->status, 201, 'another disk, it is made again');
	});
}

###############################################################################

# all files, and what they hold

sub files {
	my $below = $_[0] // $root;
	my %files;

	return {} if !-d $below;

	find({ no_chdir => 1, wanted => sub {
		$files{substr($_, 1 + length $below)} = slurp($_) if -f;
	} }, "$below/");

	return \%files;
}

sub names {
	return join(' ', sort keys %{files()});
}

# undef if there is no such file

sub content {
	my ($name) = @_;
	return -e "$root/$name" ? slurp("$root/$name") : undef;
}

sub slurp {
	my ($name) = @_;

	open(my $fh, '<', $name) or die "can't read $name: $!";
	local $/;

	return scalar <$fh> // '';
}

sub blob {
	my ($algorithm, $hex) = split(/:/, $_[0]);
	return "blobs/$algorithm/" . substr($hex, 0, 2) . "/$hex/data";
}

sub layer {
	my ($name, $digest) = @_;
	return "repositories/$name/_layers/" . $digest =~ tr!:!/!r . '/link';
}

sub revision {
	my ($name, $digest) = @_;
	return "repositories/$name/_manifests/revisions/"
		. $digest =~ tr!:!/!r . '/link';
}

sub tag {
	my ($name, $tag, $what) = @_;
	$what = 'index/' . $what =~ tr!:!/!r if $what =~ /:/;
	return "repositories/$name/_manifests/tags/$tag/$what/link";
}

###############################################################################
