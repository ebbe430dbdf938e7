#!/usr/bin/perl

# Deleting tags, manifests and blobs.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Registry;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http/)
	->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;
user root;
worker_processes 2;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    registry_store local { path %%TESTDIR%%/registry; tag_valid 1h; }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /v2/ {
            registry local;
            registry_push on;
            registry_delete on;
        }

        location /v2/kept/ {
            registry local;
            registry_push on;
        }
    }
}

EOF

$t->run()->plan(76);

###############################################################################

my $root = $t->testdir() . '/registry/docker/registry/v2';

my $image = push_image('a', 'one', 'layer');
my $digest = sha256($image);
my $uri = "/v2/a/manifests/$digest";

push_manifest('a', $_, $image) for qw/ two three /;
my $other = push_image('a', 'other', 'another layer');

# a tag: the others and the manifest stay

is(request(GET => '/v2/a/manifests/one')->status, 200, 'tag');

my $r = request(DELETE => '/v2/a/manifests/one');
is($r->status, 202, 'delete a tag');
is($r->header('Content-Length'), 0, 'delete a tag, length');

is(brief(request(GET => '/v2/a/manifests/one')), '404 MANIFEST_UNKNOWN',
	'deleted tag');
is(brief(request(DELETE => '/v2/a/manifests/one')), '404 MANIFEST_UNKNOWN',
	'delete a tag again');
is(request(GET => $uri)->status, 200, 'manifest stays');
is(tags('a'), 'other three two', 'other tags stay');
ok(!-e "$root/repositories/a/_manifests/tags/one", 'nothing left of the tag');

# a manifest: its tags go with it, its blobs stay

is(request(GET => "/v2/a/manifests/$_")->status, 200, "before, $_")
	for qw/ two three other /, $digest;

is(request(DELETE => $uri)->status, 202, 'delete a manifest');

is(brief(request($_ => $uri)), $_ eq 'HEAD' ? '404' : '404 MANIFEST_UNKNOWN',
	"deleted manifest, $_") for qw/ GET HEAD DELETE /;
is(brief(request(GET => "/v2/a/manifests/$_")), '404 MANIFEST_UNKNOWN',
	"deleted with its manifest, $_") for qw/ two three /;
is(request(GET => '/v2/a/manifests/other')->body, $other, 'other manifest');
is(tags('a'), 'other', 'other tag');
is(request(GET => '/v2/a/blobs/' . sha256('layer'))->status, 200, 'blob');
ok(!-e "$root/repositories/a/_manifests/revisions/sha256/"
	. substr($digest, 7) . '/link', 'nothing left of the manifest');

# and again, pushed anew

is(push_manifest('a', 'two', $image)->status, 201, 'pushed anew');
is(request(GET => '/v2/a/manifests/two')->body, $image, 'pushed anew, tag');
is(request(GET => $uri)->body, $image, 'pushed anew, manifest');

# a tag that moved away is not deleted with what it was

push_manifest('a', 'moving', $image);
push_manifest('a', 'moving', $other);
is(request(DELETE => $uri)->status, 202, 'delete what a tag was');
is(request(GET => '/v2/a/manifests/moving')->body, $other, 'tag has moved');

# by sha512, and beside sha256

my $sha512 = sha512($image);

push_manifest('a', "$sha512?tag=strong", $image);
push_manifest('a', 'weak', $image);
is(request(DELETE => "/v2/a/manifests/$sha512")->status, 202, 'sha512');
is(request(GET => '/v2/a/manifests/strong')->status, 404, 'sha512 tag');
is(request(GET => '/v2/a/manifests/weak')->status, 200, 'sha256 tag');

# a type that was kept beside the manifest

my $plain = to_json({ schemaVersion => 2, layers => [] });
my $where = "$root/repositories/a/_manifests/revisions/sha256/"
	. substr(sha256($plain), 7);

push_manifest('a', 'plain', $plain, type => 'application/x.y+json');
ok(-e "$where/media_type", 'type');
is(request(DELETE => '/v2/a/manifests/' . sha256($plain))->status, 202,
	'delete a manifest with a type');
is_deeply([ glob("$where/*") ], [], 'nothing left of it');

push_manifest('a', 'plain', $plain);
is(request(GET => '/v2/a/manifests/plain')->header('Content-Type'), $MANIFEST,
	'pushed anew, type');

# a repository's own: the same bytes elsewhere stay

push_blob($_, 'layer') for qw/ a b /;
push_manifest('a', 'shared', $plain);
push_manifest('b', 'shared', $plain);

is(request(DELETE => '/v2/a/manifests/' . sha256($plain))->status, 202,
	'delete in one repository');
is(request(GET => '/v2/b/manifests/shared')->status, 200,
	'stays in another');

# a blob

my $layer = sha256('layer');

is(request(HEAD => "/v2/a/blobs/$layer")->status, 200, 'blob before');
$r = request(DELETE => "/v2/a/blobs/$layer");
is($r->status, 202, 'delete a blob');
is($r->header('Content-Length'), 0, 'delete a blob, length');
is($r->header('Docker-Content-Digest'), $layer, 'delete a blob, digest');

is(brief(request($_ => "/v2/a/blobs/$layer")), $_ eq 'HEAD' ? '404'
	: '404 BLOB_UNKNOWN', "deleted blob, $_") for qw/ GET HEAD DELETE /;
is(request(GET => "/v2/b/blobs/$layer")->body, 'layer', 'blob elsewhere');

is(brief(push_manifest('a', 'x', $image)), '400 MANIFEST_BLOB_UNKNOWN',
	'a manifest of a deleted blob');

push_blob('a', 'layer');
is(request(GET => "/v2/a/blobs/$layer")->body, 'layer', 'blob pushed anew');

is(request(DELETE => '/v2/a/blobs/' . push_blob('a', 'x',
	digest => sha512('x')))->status, 202, 'delete a sha512 blob');

# while it is pulled

my $large = join('', map { pack('N', $_ * 2654435761 % 2**32) } 1 .. 2000000);
my $s = send_request(GET => '/v2/a/blobs/' . push_blob('a', $large));
sysread($s, my $in, 1000);
is(request(DELETE => '/v2/a/blobs/' . sha256($large))->status, 202,
	'delete while it is pulled');
ok(response($s, in => $in)->body eq $large, 'pulled to its end');

# what is not there

my $none = sha256('none');

is(brief(request(DELETE => '/v2/none/manifests/x')), '404 MANIFEST_UNKNOWN',
	'no repository, tag');
is(brief(request(DELETE => "/v2/none/manifests/$none")),
	'404 MANIFEST_UNKNOWN', 'no repository, manifest');
is(brief(request(DELETE => "/v2/none/blobs/$none")), '404 BLOB_UNKNOWN',
	'no repository, blob');
is(brief(request(DELETE => "/v2/a/manifests/$none")), '404 MANIFEST_UNKNOWN',
	'no manifest');
is(brief(request(DELETE => "/v2/a/blobs/$none")), '404 BLOB_UNKNOWN',
	'no blob');
is(brief(request(DELETE => "/v2/b/manifests/" . sha256($other))),
	'404 MANIFEST_UNKNOWN', 'manifest of another repository');
is(brief(request(DELETE => '/v2/a/manifests/..%2f..%2fx')), '404 UNSUPPORTED',
	'a path');
is(brief(request(DELETE => '/v2/a/manifests/.x')), '400 MANIFEST_INVALID',
	'no tag');
is(brief(request(DELETE => '/v2/a/blobs/x')), '400 DIGEST_INVALID',
	'no digest');

ok(!-e "$root/repositories/none", 'nothing made of it');

# what cannot be read can be deleted

push_manifest('a', 'broken', $plain);
write_file("$root/blobs/sha256/" . substr(sha256($plain), 7, 2) . '/'
	. substr(sha256($plain), 7) . '/data', 'broken');
is(request(DELETE => '/v2/a/manifests/' . sha256($plain))->status, 202,
	'delete a broken manifest');
is(request(GET => '/v2/a/manifests/broken')->status, 404,
	'deleted broken manifest');

# a tag that leads nowhere

push_manifest('a', 'dangling', $other);
write_file("$root/repositories/a/_manifests/tags/dangling/current/link",
	$none);
is(request(DELETE => '/v2/a/manifests/dangling')->status, 202,
	'delete a dangling tag');

# bodies and kept connections

$s = connection();

is(request(DELETE => '/v2/a/manifests/other', socket => $s, body => 'x' x 9999)
	->status, 202, 'with a body');
is(request(DELETE => '/v2/a/manifests/other', socket => $s, body => [ 'x' ])
	->status, 404, 'with a chunked body');
is(request(DELETE => "/v2/a/blobs/$none", socket => $s)->status, 404,
	'kept, blob');
is(request(DELETE => "/v2/b/blobs/$layer", socket => $s)->status, 202,
	'kept, deleted');
is(request(GET => '/v2/', socket => $s)->status, 200, 'kept at last');

# not permitted

push_image('kept/x', 'latest', 'kept');

for ([ 'manifests/latest', 'GET, HEAD, PUT' ],
	[ "manifests/$none", 'GET, HEAD, PUT' ],
	[ 'blobs/' . sha256('kept'), 'GET, HEAD' ])
{
	$r = request(DELETE => "/v2/kept/x/$_->[0]");
	is(brief($r), '405 UNSUPPORTED', "not permitted, $_->[0]");
	is($r->header('Allow'), $_->[1], "not permitted, $_->[0], allow");
}

is(request(GET => '/v2/kept/x/manifests/latest')->status, 200,
	'not permitted, tag');
is(request(GET => '/v2/kept/x/blobs/' . sha256('kept'))->status, 200,
	'not permitted, blob');

is_deeply([ glob("$root/repositories/_tmp/.??*") ], [], 'nothing temporary');

###############################################################################

sub brief {
	my ($r) = @_;
	return join(' ', grep { defined } $r->status, $r->code);
}

sub tags {
	my ($name) = @_;
	return join(' ', @{request(GET => "/v2/$name/tags/list")
		->json->{tags}});
}

sub write_file {
	my ($name, $bytes) = @_;

	open(my $fh, '>', $name) or die "can't write $name: $!";
	print $fh $bytes;
	close $fh;
}

###############################################################################
