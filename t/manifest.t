#!/usr/bin/perl

# Pushing and pulling manifests: by tag and by digest, of every media type,
# byte for byte; and all that is not accepted as a manifest.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use File::Find qw/ find /;
use Test::Nginx;
use Test::Nginx::Registry;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http gzip/)
	->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;
user root;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    registry_store local { path %%TESTDIR%%/registry; tag_valid 0; }

    client_max_body_size 1k;

    gzip              on;
    gzip_types        *;
    gzip_min_length   1;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /v2/ {
            registry local;
            registry_push on;
            registry_delete on;
        }

        location /v2/sparse/ {
            registry local;
            registry_push on;
            registry_references sparse;
        }

        location /v2/loose/ {
            registry local;
            registry_push on;
            registry_references off;
        }
    }
}

EOF

$t->run()->plan(311);

###############################################################################

my $root = $t->testdir() . '/registry/docker/registry/v2';

my $docker = 'application/vnd.docker.distribution.manifest.v2+json';
my $list = 'application/vnd.docker.distribution.manifest.list.v2+json';
my $absent = sha256('absent');

# by tag

my $image = push_image('a', 'latest', 'one layer', 'two');
my $digest = sha256($image);

my $r = push_manifest('a', 'v1.0_x-Y', $image);
is($r->status, 201, 'push');
is($r->location(), "/v2/a/manifests/$digest", 'push location');
is($r->header('Docker-Content-Digest'), $digest, 'push digest');
is($r->header('Content-Length'), 0, 'push length');
is($r->header('OCI-Subject'), undef, 'push without subject');
is($r->header('OCI-Tag'), undef, 'push without tags');
is($r->header('ETag'), undef, 'push without etag');

for my $reference ('latest', 'v1.0_x-Y', $digest) {
	for my $method (qw/ GET HEAD /) {
		$r = request($method => "/v2/a/manifests/$reference");
		my $what = "$method " . substr($reference, 0, 8);

		is($r->status, 200, $what);
		is($r->header('Content-Type'), $MANIFEST, "$what type");
		is($r->header('Content-Length'), length $image,
			"$what length");
		is($r->header('Docker-Content-Digest'), $digest,
			"$what digest");
		is($r->header('ETag'), "\"$digest\"", "$what etag");
		is($r->body, $method eq 'GET' ? $image : '', "$what bytes");
	}
}

is($r->header('Docker-Distribution-Api-Version'), 'registry/2.0', 'version');

# neither ranges, nor compression, nor negotiation

my $uri = '/v2/a/manifests/latest';

is(get($uri, Range => 'bytes=0-1')->body, $image, 'range');

$r = get($uri, 'Accept-Encoding' => 'gzip, zstd');
is($r->header('Content-Encoding'), undef, 'not compressed');
is($r->body, $image, 'not compressed bytes');

$r = get($uri, Accept => 'application/vnd.oci.image.index.v1+json');
is($r->status . ' ' . $r->header('Content-Type'), "200 $MANIFEST", 'accept');

# conditions

$r = get($uri, 'If-None-Match' => "\"$digest\"");
is($r->status, 304, 'if-none-match');
is($r->header('Docker-Content-Digest'), $digest, 'if-none-match digest');
is($r->header('ETag'), "\"$digest\"", 'if-none-match etag');
is(get($uri, 'If-None-Match' => '"x"')->status, 200,
	'if-none-match of another');
is(request(HEAD => $uri, headers => { 'If-None-Match' => "\"$digest\"" })
	->status, 304, 'if-none-match of a head');
is(brief(get($uri, 'If-Match' => '"x"')), '412 UNSUPPORTED', 'if-match');

# what is not there

is(brief(request(GET => '/v2/a/manifests/none')), '404 MANIFEST_UNKNOWN',
	'unknown tag');
is(brief(request(GET => "/v2/a/manifests/$absent")), '404 MANIFEST_UNKNOWN',
	'unknown digest');
is(brief(request(GET => '/v2/b/manifests/latest')), '404 MANIFEST_UNKNOWN',
	'tag of another repository');
is(brief(request(GET => "/v2/b/manifests/$digest")), '404 MANIFEST_UNKNOWN',
	'digest of another repository');
is(brief(request(GET => '/v2/a/manifests/' . sha256('two'))),
	'404 MANIFEST_UNKNOWN', 'a blob is no manifest');

# a tag moves, the manifest stays

my $second = push_image('a', 'latest', 'another layer');
is(request(GET => $uri)->body, $second, 'moved');
is(request(GET => "/v2/a/manifests/$digest")->body, $image, 'stays');
push_manifest('a', 'latest', $image);
is(request(GET => $uri)->body, $image, 'moved back');

# by digest, with tags

my $by = "/v2/a/manifests/$digest";

is(brief(push_manifest('a', sha256($second), $image)), '400 DIGEST_INVALID',
	'wrong digest');
is(brief(push_manifest('a', sha512($second), $image)), '400 DIGEST_INVALID',
	'wrong sha512');
is(brief(push_manifest('a', 'md5:' . 'a' x 32, $image)), '400 DIGEST_INVALID',
	'unknown algorithm');

$r = push_manifest('a', $digest, $image);
is($r->status, 201, 'by digest');
is($r->header('Docker-Content-Digest'), $digest, 'by digest digest');

$r = push_manifest('a', "$digest?tag=1.2.3&x=y&tag=1&t%61g=no&tag=%6catest",
	$image);
is($r->status, 201, 'tags');
is_deeply([ $r->headers('OCI-Tag') ], [ '1.2.3', '1', 'latest' ],
	'tags named');
is(request(GET => "/v2/a/manifests/$_")->body, $image, "tag $_")
	for qw/ 1.2.3 1 latest /;

my @many = map { "many$_" } 1 .. 64;
my $query = join('&', map { "tag=$_" } @many);

$r = push_manifest('a', "$digest?$query", $image);
is($r->status, 201, 'many tags');
is_deeply([ $r->headers('OCI-Tag') ], \@many, 'many tags named');
is(brief(push_manifest('a', "$digest?$query&tag=more", $image)),
	'414 UNSUPPORTED', 'too many tags');
is(request(GET => '/v2/a/manifests/more')->status, 404, 'no tag of them');

for my $bad ('', '.x', '-x', 'x%2fy', '%c3%a4', 'x' x 129, 'a%20b', '%zz',
	'..', 'sha256:x')
{
	is(brief(push_manifest('a', "$digest?tag=fine&tag=$bad", $image)),
		'400 MANIFEST_INVALID', 'bad tag ' . substr($bad, 0, 10));
}

is(request(GET => '/v2/a/manifests/fine')->status, 404,
	'no tag beside a bad one');
is(push_manifest('a', "$digest?tag=" . 'x' x 128, $image)->status, 201,
	'longest tag');
is(push_manifest('a', 'y' x 128, $image)->status, 201, 'longest tag in path');

# sha512

my $sha512 = sha512($image);

$r = push_manifest('a', "$sha512?tag=strong", $image);
is($r->status, 201, 'sha512');
is($r->header('Docker-Content-Digest'), $sha512, 'sha512 digest');
is($r->location(), "/v2/a/manifests/$sha512", 'sha512 location');

for my $reference ($sha512, 'strong') {
	$r = request(GET => "/v2/a/manifests/$reference");
	is($r->body, $image, 'sha512 bytes');
	is($r->header('Docker-Content-Digest'), $sha512, 'sha512 digest');
}

# media types

my $blob = push_blob('a', '{}');
my %config = (config => { mediaType => $CONFIG, digest => $blob, size => 2 });
my %layers = (layers => [ { mediaType => $LAYER, digest => sha256('two'),
	size => 3 } ]);
my %entries = (manifests => [ { mediaType => $MANIFEST, digest => $digest,
	size => length $image } ]);

my @types = (
	[ 'oci image', $MANIFEST, { %config, %layers } ],
	[ 'oci index', $INDEX, { %entries } ],
	[ 'empty index', $INDEX, { manifests => [] } ],
	[ 'docker image', $docker, { %config, %layers } ],
	[ 'docker list', $list, { %entries } ],
	[ 'artifact', 'application/vnd.oci.artifact.manifest.v1+json',
		{ artifactType => 'text/x', blobs => $layers{layers} } ],
	[ 'no layers', $MANIFEST, { %config, layers => [] } ],
	[ 'null layers', $MANIFEST, { %config, layers => undef } ],
	[ 'future', 'application/vnd.example.future.v9+json', { x => [ 1 ] } ],
	[ 'longest type', 'application/' . 'x' x 243, { } ],
);

for (@types) {
	my ($name, $type, $members) = @$_;

	# the type in the manifest, and as Content-Type alone

	for my $own (1, 0) {
		my $m = to_json({ schemaVersion => 2, %$members,
			$own ? (mediaType => $type) : () });
		my $what = $own ? $name : "$name, no mediaType";

		is(push_manifest('a', 'type', $m, type => $type)->status, 201,
			$what);
		$r = request(GET => '/v2/a/manifests/type');
		is($r->header('Content-Type'), $type, "$what type");
		is($r->body, $m, "$what bytes");
		is(request(HEAD => '/v2/a/manifests/' . sha256($m))
			->header('Content-Type'), $type, "$what by digest");
	}
}

my $plain = to_json({ schemaVersion => 2, %config, %layers });
my $plainly = to_json({ schemaVersion => 2, %entries });
my $typed = to_json({ schemaVersion => 2, %config, mediaType => $MANIFEST });

is(type($plain, undef), $MANIFEST, 'nothing says it, image');
is(type($plainly, undef), $INDEX, 'nothing says it, index');
is(type($typed, undef), $MANIFEST, 'no Content-Type');
is(type($typed, "$MANIFEST; charset=utf-8"), $MANIFEST, 'parameters');
is(type($typed, "\t$MANIFEST\t;x=y"), $MANIFEST, 'white space');
is(type($typed, uc $MANIFEST), $MANIFEST, 'upper case');
is(type($plain, "$docker ; x=y"), $docker, 'parameters, type not its own');

# the same bytes under another type

is(type($plain, 'application/x.other+json'), 'application/x.other+json',
	'another type');
is(type($plain, $MANIFEST), $MANIFEST, 'and another');
is(type($plain, $docker), $docker, 'and another');
is(type($plain, undef), $MANIFEST, 'and none');

# what it refers to must be there

my ($one, $two) = (sha256('absent 1'), sha512('absent 2'));

is(missing('a', { %config, layers => [ layer($one), layer(sha256('two')),
	layer($two) ] }), "400 MANIFEST_BLOB_UNKNOWN $one $two", 'layers');
is(missing('a', { config => layer($one) }),
	"400 MANIFEST_BLOB_UNKNOWN $one", 'config');
is(missing('a', { blobs => [ layer($one) ] }, 'application/x.y+json'),
	"400 MANIFEST_BLOB_UNKNOWN $one", 'blobs');
is(missing('a', { manifests => [ layer($digest), layer($one) ] }, $INDEX),
	"400 MANIFEST_BLOB_UNKNOWN $one", 'manifests');
is(missing('other', { %config, %layers }), "400 MANIFEST_BLOB_UNKNOWN "
	. join(' ', $blob, sha256('two')), 'in another repository');
is(missing('other', { %entries }, $INDEX),
	"400 MANIFEST_BLOB_UNKNOWN $digest", 'manifest in another repository');
is((split / /, missing('a', { layers => [ map { layer(sha256("x$_")) }
	1 .. 1000 ] }))[1], 'MANIFEST_BLOB_UNKNOWN', 'a thousand');
is(missing('a', { layers => [ map { layer(sha256('two')) } 1 .. 1000 ] }),
	201, 'a thousand times the same');

is(missing('a', { layers => [ { %{layer($one)},
	urls => [ 'http://localhost/' ] } ] }), 201, 'foreign by urls');
is(missing('a', { layers => [ { %{layer($one)}, mediaType =>
	'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip' } ] }),
	201, 'nondistributable');
is(missing('a', { layers => [ { %{layer($one)}, mediaType =>
	'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip' } ] }),
	201, 'foreign of docker');
is(missing('a', { manifests => [ { %{layer($one)},
	urls => [ 'http://localhost/' ] } ] }, $INDEX),
	"400 MANIFEST_BLOB_UNKNOWN $one", 'no foreign manifests');

# a cache of buildkit lists its layers in an index

is(missing('a', { manifests => [ layer(sha256('two')) ] }, $INDEX), 201,
	'blobs of an index');

# bytes that are gone behind a link

my $gone = push_blob('a', 'gone');
unlink data($gone) or die;
is(missing('a', { layers => [ layer($gone) ] }),
	"400 MANIFEST_BLOB_UNKNOWN $gone", 'bytes are gone');

is(missing('sparse', { manifests => [ layer($one) ] }, $INDEX), 201,
	'sparse index');
is(missing('sparse', { layers => [ layer($one) ] }),
	"400 MANIFEST_BLOB_UNKNOWN $one", 'sparse image');
is(missing('loose', { manifests => [ layer($one) ] }, $INDEX), 201,
	'loose index');
is(missing('loose', { layers => [ layer($one) ] }), 201, 'loose image');

# a subject may come later

$r = push_manifest('a', 'signed', { schemaVersion => 2, mediaType => $MANIFEST,
	%config, subject => layer($one) });
is($r->status, 201, 'subject');
is($r->header('OCI-Subject'), $one, 'subject named');

# what is no manifest

my $long = 'application/' . 'x' x 244;
my $before = tree();

my @bad = (
	[ 'nothing', '' ],
	[ 'white space', "  \n" ],
	[ 'no JSON', 'hello' ],
	[ 'an array', '[]' ],
	[ 'a string', '"x"' ],
	[ 'a number', '1' ],
	[ 'null', 'null' ],
	[ 'cut off', substr($image, 0, -1) ],
	[ 'more than an object', "$image {}" ],
	[ 'a comma too many', '{"schemaVersion":2,}' ],
	[ 'not UTF-8', "{\"x\":\"\xff\"}" ],
	[ 'overlong UTF-8', "{\"x\":\"\xc0\xaf\"}" ],
	[ 'byte order mark', "\xef\xbb\xbf$image" ],
	[ 'UTF-16', join("\0", split(//, $image)) . "\0" ],
	[ 'a zero', "{\"x\":\"\\u0000\"}" ],
	[ 'gzip', "\x1f\x8b\x08\0\0\0\0\0" ],
	[ 'the same member twice', '{"layers":[],"layers":[]}' ],
	[ 'deep', nested(33) ],
	[ 'very deep', nested(100000) ],
	[ 'very deep objects', '{"x":' x 100000 . '1' . '}' x 100000 ],
	[ 'never closed', '{"x":' . '[' x 1000000 ],
	[ 'a million arrays', '{"x":[' . '[],' x 1000000 . '[]]}' ],
	[ 'both', { %config, %layers, %entries } ],
	[ 'layers and manifests', { layers => [], manifests => [] } ],
	[ 'config and manifests', { %config, %entries }, $INDEX ],
	[ 'blobs and manifests', { blobs => [], manifests => [] }, $INDEX ],
	[ 'layers of an index', { %layers }, $INDEX ],
	[ 'layers of a docker list', { %config, %layers }, $list ],
	[ 'manifests of an image', { %entries }, $MANIFEST ],
	[ 'manifests of a docker image', { %entries }, $docker ],
	[ 'another Content-Type', $image, $docker ],
	[ 'Content-Type of an index', $image, $INDEX ],
	[ 'a malformed Content-Type', $plain, 'manifest' ],
	[ 'half a Content-Type', $plain, 'application/' ],
	[ 'a Content-Type too long', $plain, $long ],
	[ 'a Content-Type with spaces', $plain, 'text/x y' ],
	[ 'mediaType is a number', '{"mediaType":1,"layers":[]}' ],
	[ 'mediaType too long', { mediaType => $long, layers => [] }, undef ],
	[ 'mediaType with a line break', { mediaType => "a/b\r\nx: y",
		layers => [] }, undef ],
	[ 'nothing says what it is', '{"schemaVersion":2}', undef ],
	[ 'schema 1', { schemaVersion => 1, name => 'a', fsLayers => [] },
		'application/vnd.docker.distribution.manifest.v1+json' ],
	[ 'schema 1 by type', { schemaVersion => 2 },
		'application/vnd.docker.distribution.manifest.v1+prettyjws' ],
	[ 'schema 1 by version', { schemaVersion => 1, layers => [] } ],
	[ 'layers is an object', { layers => {} } ],
	[ 'layers is a string', { layers => 'x' } ],
	[ 'manifests is an object', { manifests => {} }, $INDEX ],
	[ 'layer is a string', { layers => [ $digest ] } ],
	[ 'layer is null', { layers => [ undef ] } ],
	[ 'config is an array', { config => [] } ],
	[ 'layer without digest', { layers => [ { size => 1 } ] } ],
	[ 'layer with half a digest', { layers => [ layer('sha256:ab') ] } ],
	[ 'layer with a path for a digest',
		{ layers => [ layer('sha256:../../../' . 'a' x 55) ] } ],
	[ 'layer with another algorithm',
		{ layers => [ layer('md5:' . 'a' x 32) ] } ],
	[ 'layer with a digest in upper case',
		{ layers => [ layer(uc $digest) ] } ],
	[ 'layer without size', { layers => [ { digest => $digest } ] } ],
	[ 'layer of negative size', { layers => [ layer($digest, -1) ] } ],
	[ 'layer of a fractional size', { layers => [ layer($digest, 1.5) ] } ],
	[ 'layer of a size in words', { layers => [ layer($digest, 'big') ] } ],
	[ 'layer of a size beyond numbers', "{\"layers\":[{\"digest\":"
		. "\"$digest\",\"size\":18446744073709551616}]}" ],
	[ 'subject is a string', { layers => [], subject => $digest } ],
	[ 'subject without digest', { layers => [], subject => {} } ],
);

for (@bad) {
	my ($name, $manifest, @type) = @$_;

	$manifest = { schemaVersion => 2, %$manifest } if ref $manifest;

	$r = push_manifest('a', 'bad', $manifest,
		type => $MANIFEST, @type ? (headers =>
			{ 'Content-Type' => $type[0] }) : ());
	is(brief($r), '400 MANIFEST_INVALID', "bad: $name");
}

is_deeply(tree(), $before, 'nothing is left of them');
is(request(GET => '/v2/a/manifests/bad')->status, 404, 'no such tag');

is(type(nested(32), 'application/x.deep+json'), 'application/x.deep+json',
	'deep enough');

# too large

my $most = to_json({ layers => [], x => 'x' x (4 * 1024 * 1024 - 20) });
is(length $most, 4 * 1024 * 1024, 'four mebibytes');
is(push_manifest('large', 'at', $most, type => $MANIFEST)->status, 201,
	'at the limit');
ok(request(GET => '/v2/large/manifests/at')->body eq $most,
	'at the limit bytes');

my @chunks = unpack('(a100000)*', $most);
my %type = (headers => { 'Content-Type' => $MANIFEST });

is(request(PUT => '/v2/large/manifests/chunked', %type, body => \@chunks)
	->status, 201, 'at the limit, chunked');
ok(request(GET => '/v2/large/manifests/chunked')->body eq $most,
	'at the limit, chunked bytes');

for my $body ("$most ", [ @chunks, ' ' ]) {
	$r = request(PUT => '/v2/large/manifests/above', %type, body => $body);
	is(brief($r), '413 SIZE_INVALID', 'above the limit');
}

my $s = send_request(PUT => '/v2/large/manifests/above', headers => {
	'Content-Length' => 100 * 1024 * 1024, Expect => '100-continue' });
$r = response($s);
is(join(' ', $r->statuses(), $r->code), '413 SIZE_INVALID', '100 MiB, expect');

$r = request(PUT => '/v2/large/manifests/above', %type,
	body => [ (' ' x 1048576) x 100 ]);
is(brief($r), '413 SIZE_INVALID', '100 MiB, chunked');

is(request(GET => '/v2/large/manifests/above')->status, 404, 'nothing of it');

# a client that hangs up

$before = tree();
$s = send_request(PUT => '/v2/a/manifests/cut', headers => {
	'Content-Length' => length($image), 'Content-Type' => $MANIFEST });
syswrite($s, substr($image, 0, 100));
close $s;
is(request(GET => '/v2/a/manifests/cut')->status, 404, 'cut off');
is_deeply(tree(), $before, 'nothing is left of it');

# 100-continue

my %expect = (Expect => '100-continue');

is(join(' ', push_manifest('a', 'latest', $image, headers => \%expect)
	->statuses()), '100 201', 'expect');
is(join(' ', push_manifest('a', '-', $image, headers => \%expect)
	->statuses()), '400', 'expect, bad tag');

# connections are kept

$s = connection();

is(push_manifest('a', 'latest', $image, socket => $s)->status, 201, 'kept');
is(request(PUT => $uri, socket => $s, %type, body => [ $image ])->status, 201,
	'kept, chunked');
is(request(GET => '/v2/a/manifests/none', socket => $s)->status, 404,
	'kept, unknown');
is(request(HEAD => '/v2/a/manifests/none', socket => $s)->status, 404,
	'kept, head unknown');
is(request(HEAD => $uri, socket => $s)->status, 200, 'kept, head');
is(request(GET => $uri, socket => $s, body => 'x' x 100000)->body, $image,
	'kept, get with a body');
is(request(GET => $uri, socket => $s, headers =>
	{ 'If-None-Match' => "\"$digest\"" })->status, 304, 'kept, not modified');
is(request(GET => $uri, socket => $s)->body, $image, 'kept at last');

# pipelined

my $head = "$uri HTTP/1.1\r\nHost: localhost\r\n";

$s = send_request(PUT => $uri, raw => "PUT ${head}Content-Type: $MANIFEST\r\n"
	. 'Content-Length: ' . length($second) . "\r\n\r\n$second"
	. "HEAD $head\r\nGET $head\r\nHEAD $head\r\n"
	. "HEAD ${head}Connection: close\r\n\r\n");

my $in = '';
while (sysread($s, $in, 65536, length $in)) { }

is(join(' ', $in =~ m!HTTP/1.1 (\d+)!g), '201 200 200 200 200', 'pipelined');
ok(index($in, $second) > 0, 'pipelined bytes');

# what others wrote, or broke

my $tag = "$root/repositories/a/_manifests/tags/latest/current/link";

write_file($tag, "$digest\n");
is(request(GET => $uri)->body, $image, 'a link with a line break');

for my $bad ('', 'x', 'sha256:', "$digest$digest", '../' . $digest,
	"\0" x 1000)
{
	write_file($tag, $bad);
	is(brief(request(GET => $uri)), '404 MANIFEST_UNKNOWN',
		'a broken link');
}

write_file($tag, $absent);
is(brief(request(GET => $uri)), '404 MANIFEST_UNKNOWN', 'a dangling link');

write_file($tag, sha256('two'));
is(brief(request(GET => $uri)), '404 MANIFEST_UNKNOWN', 'a link to a blob');

write_file($tag, $digest);
is(request(GET => $uri)->body, $image, 'a good link');

push_manifest('a', 'broken', to_json({ layers => [], x => 1 }));
my $broken = sha256(to_json({ layers => [], x => 1 }));
write_file(data($broken), to_json({ layers => [], x => 2 }));

$r = request(GET => '/v2/a/manifests/broken');
is(brief($r), '500 UNKNOWN', 'bytes that are not those of the digest');
is(brief(request(GET => "/v2/a/manifests/$broken")), '500 UNKNOWN',
	'bytes that are not those of the digest, by digest');

unlink data($broken);
is(brief(request(GET => '/v2/a/manifests/broken')), '404 MANIFEST_UNKNOWN',
	'bytes that are gone');

is(push_manifest('a', 'broken', to_json({ layers => [], x => 1 }))->status, 201,
	'pushed again');
is(request(GET => '/v2/a/manifests/broken')->status, 200, 'whole again');

is_deeply([ glob("$root/repositories/_tmp/.??*") ], [], 'nothing temporary');

###############################################################################

sub brief {
	my ($r) = @_;
	return join(' ', grep { defined } $r->status, $r->code);
}

sub get {
	my ($uri, %headers) = @_;
	return request(GET => $uri, headers => \%headers);
}

sub layer {
	my ($digest, $size) = @_;
	return { mediaType => $LAYER, digest => $digest, size => $size // 3 };
}

# the type that a manifest has when it comes back

sub type {
	my ($manifest, $type) = @_;

	my $r = push_manifest('a', 'type', $manifest,
		headers => { 'Content-Type' => $type });
	return brief($r) if $r->status != 201;

	$r = request(GET => '/v2/a/manifests/type');
	return 'other bytes' if $r->body ne $manifest;

	return $r->header('Content-Type');
}

# status, code, and what the errors are about

sub missing {
	my ($name, $members, $type) = @_;

	my $r = push_manifest($name, 'missing', { schemaVersion => 2,
		%$members }, type => $type // $MANIFEST);
	return $r->status if $r->status == 201;

	return join(' ', brief($r), map { $_->{detail} }
		@{$r->json->{errors}});
}

sub nested {
	my ($n) = @_;
	return '{"x":' . '[' x ($n - 1) . ']' x ($n - 1) . '}';
}

sub data {
	my ($algorithm, $hex) = split(/:/, $_[0]);
	return "$root/blobs/$algorithm/" . substr($hex, 0, 2) . "/$hex/data";
}

sub tree {
	my @names;
	find(sub { push @names, $File::Find::name }, $root);
	return [ sort @names ];
}

sub write_file {
	my ($name, $bytes) = @_;

	open(my $fh, '>', $name) or die "can't write $name: $!";
	print $fh $bytes;
	close $fh;
}

###############################################################################
