#!/usr/bin/perl

# Pushing blobs: sessions from POST to PUT, in every way that clients send
# bytes, and what becomes of a session when something goes wrong.

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

my $t = Test::Nginx->new()->has(qw/http mirror proxy/)
	->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;
user root;
worker_processes 2;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    registry_store local { path %%TESTDIR%%/registry; }
    registry_store copy { path %%TESTDIR%%/copy; }

    client_body_buffer_size 16k;
    client_max_body_size    1k;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /v2/ {
            registry local;
            registry_push on;
        }

        location /v2/threads/ {
            registry local;
            registry_push on;
            aio threads;
        }

        location /v2/large/ {
            registry local;
            registry_push on;
            client_body_buffer_size 1m;
        }

        location /v2/limited/ {
            registry local;
            registry_push on;
            registry_max_blob_size 1000;
        }

        location /v2/slow/ {
            registry local;
            registry_push on;
            client_body_timeout 1s;
        }

        location /v2/mirrored/ {
            registry local;
            registry_push on;
            mirror /mirror;
        }

        location = /mirror {
            internal;
            client_max_body_size 0;
            proxy_pass http://127.0.0.1:8081$request_uri;
        }
    }

    server {
        listen       127.0.0.1:8081;
        server_name  localhost;

        location /v2/ {
            registry copy;
            registry_push on;
        }
    }
}

EOF

$t->run()->plan(371);

###############################################################################

my $root = $t->testdir() . '/registry/docker/registry/v2';

# a session

my $r = request(POST => '/v2/a/blobs/uploads/');
my $id = qr/[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}/;

is($r->status, 202, 'post');
like($r->header('Location'), qr!^/v2/a/blobs/uploads/$id$!, 'post location');
is($r->header('Range'), '0-0', 'post range');
is($r->header('Docker-Upload-UUID'), $r->header('Location') =~ s!.*/!!r,
	'post id');
is($r->header('Content-Length'), 0, 'post length');
is($r->header('Docker-Distribution-Api-Version'), 'registry/2.0', 'version');
is(sessions('a'), 1, 'session');

my $uri = $r->location();

is(stands($uri), '204 0-0', 'empty stands');
is(brief(request(HEAD => $uri)), '204', 'head of a session');

$r = request(PATCH => $uri, body => 'hello ');
is($r->status, 202, 'patch');
is($r->header('Range'), '0-5', 'patch range');
is($r->location(), $uri, 'patch location');
is(stands($uri), '204 0-5', 'patched stands');

$r = request(PATCH => $uri, body => [ 'won', 'derful', ' ' ]);
is($r->status . ' ' . $r->header('Range'), '202 0-15', 'patch chunked');

$r = request(PUT => "$uri?digest=" . sha256('hello wonderful world'),
	body => 'world');
is($r->status, 201, 'put');
is($r->location(), '/v2/a/blobs/' . sha256('hello wonderful world'),
	'put location');
is($r->header('Docker-Content-Digest'), sha256('hello wonderful world'),
	'put digest');
is($r->header('Content-Length'), 0, 'put length');
is($r->header('ETag'), undef, 'put etag');
is(pulled('a', 'hello wonderful world'), 1, 'put bytes');
is(sessions('a'), 0, 'put session');
is(stands($uri), '404 BLOB_UPLOAD_UNKNOWN', 'put stands');
is(brief(request(PATCH => $uri, body => 'x')), '404 BLOB_UPLOAD_UNKNOWN',
	'patch after put');
is(brief(request(PUT => "$uri?digest=" . sha256(''))),
	'404 BLOB_UPLOAD_UNKNOWN', 'put after put');
is(brief(request(DELETE => $uri)), '404 BLOB_UPLOAD_UNKNOWN',
	'delete after put');

# no slash at the end, a body that means nothing

is(request(POST => '/v2/a/blobs/uploads')->status, 202, 'post without slash');
is(request(POST => '/v2/a/blobs/uploads/', body => 'x' x 50000)->status, 202,
	'post with a body');

# all ways to send the same, in all kinds of locations

my $large = join('', map { pack('N', $_ * 2654435761 % 2**32) } 1 .. 300000);
my @pieces = unpack('(a70001)*', $large);

for my $name (qw/ a threads large mirrored /) {

	for my $bytes ('', 'x', 'y' x 16384, $large) {
		my $digest = sha256($bytes);
		my $what = "$name, " . length($bytes) . ' bytes';

		$r = request(POST => "/v2/$name/x/blobs/uploads/?digest=$digest",
			body => $bytes);
		is($r->status, 201, "whole post, $what");
		is(pulled("$name/x", $bytes), 1, "whole post bytes, $what");

		is(put("$name/y", $bytes, body => $bytes), 201,
			"whole put, $what");
		is(pulled("$name/y", $bytes), 1, "whole put bytes, $what");
	}

	is(put("$name/chunked", $large, body => \@pieces), 201,
		"chunked put, $name");
	is(pulled("$name/chunked", $large), 1, "chunked put bytes, $name");

	# as dockerd does

	$uri = session("$name/patched");
	is(request(PATCH => $uri, body => \@pieces)->header('Range'),
		'0-' . (length($large) - 1), "chunked patch, $name");
	is(request(PUT => "$uri?digest=" . sha256($large))->status, 201,
		"put after patch, $name");
	is(pulled("$name/patched", $large), 1,
		"put after patch bytes, $name");

	# in chunks, the last of them with the PUT

	$uri = session("$name/chunks");
	my $at = 0;
	my @ranges;

	for my $piece (@pieces[0 .. $#pieces - 1]) {
		my $end = $at + length($piece) - 1;
		$r = request(PATCH => $uri, body => $piece,
			headers => { 'Content-Range' => "$at-$end" });
		push @ranges, $r->header('Range');
		$at = $end + 1;
	}

	is_deeply(\@ranges, [ map { '0-' . ($_ * 70001 - 1) }
		1 .. $#pieces ], "chunks, $name");

	$r = request(PUT => "$uri?digest=" . sha256($large),
		body => $pieces[-1], headers => { 'Content-Range' =>
			"$at-" . (length($large) - 1) });
	is($r->status, 201, "put of the last chunk, $name");
	is(pulled("$name/chunks", $large), 1,
		"put of the last chunk bytes, $name");

	is(join(' ', map { sessions("$name/$_") }
		qw/ x y chunked patched chunks /), '0 0 0 0 0',
		"no sessions left, $name");
}

# what a mirror is sent is not eaten up

is(pulled('mirrored/x', $_, port(8081)), 1, 'mirrored ' . length($_))
	for '', 'x', 'y' x 16384, $large;

for my $length (10, 100000) {
	my $manifest = to_json({ schemaVersion => 2, layers => [],
		annotations => { x => 'x' x $length } });

	is(push_manifest('mirrored/x', 'latest', $manifest)->status, 201,
		"manifest of $length");
	ok(until_true(sub {
		my $r = request(GET => '/v2/mirrored/x/manifests/latest',
			port => port(8081));
		return ($r->body // '') eq $manifest;
	}), "manifest of $length mirrored");
}

# Content-Range, in both spellings

$uri = session('ranges');
is(chunk($uri, '0-4', 'hello'), '202 0-4', 'chunk');
is(chunk($uri, 'bytes 5-5/*', ' '), '202 0-5', 'chunk with unit');
is(chunk($uri, 'bytes 6-7/100', 'wo'), '202 0-7', 'chunk with size');
is(chunk($uri, '8-8', [ 'r' ]), '202 0-8', 'chunk chunked');

for my $bad ('x', '', '-', '9', '9-', '-9', '9-8', '9-9-9', ' 9-9x', '0x9-0x9',
	'9-9/*', 'bytes 9-9', 'bytes 9-9/', 'bytes 9-9/9', 'bytes */100',
	'bytes=9-9', 'items 9-9/10', '+9-9', '9-18446744073709551625',
	'9-9223372036854775807')
{
	is(chunk($uri, $bad, 'x'), '400 BLOB_UPLOAD_INVALID',
		"malformed Content-Range \"$bad\"");
}

is(chunk($uri, '9-9', 'xx'), '400 SIZE_INVALID', 'range too short');
is(chunk($uri, '9-11', 'xx'), '400 SIZE_INVALID', 'range too long');
is(chunk($uri, '9-9', ''), '400 SIZE_INVALID', 'range without bytes');
is(chunk($uri, '9-9', [ 'x', 'x' ]), '400 SIZE_INVALID',
	'range too short, chunked');
is(chunk($uri, '9-11', [ 'x', 'x' ]), '400 SIZE_INVALID',
	'range too long, chunked');
is(chunk($uri, '9-9', []), '400 SIZE_INVALID',
	'range without bytes, chunked');

is(chunk($uri, '5-9', 'again'), '416 BLOB_UPLOAD_INVALID 0-8', 'overlap');
is(chunk($uri, '0-4', 'again'), '416 BLOB_UPLOAD_INVALID 0-8', 'repeated');
is(chunk($uri, '10-10', 'x'), '416 BLOB_UPLOAD_INVALID 0-8', 'hole');
is(chunk($uri, '10-11', [ 'x', 'x' ]), '416 BLOB_UPLOAD_INVALID 0-8',
	'hole, chunked');

$r = request(PATCH => $uri, body => 'x',
	headers => { 'Content-Range' => '0-0' });
is($r->location(), $uri, 'where it stands, location');

$r = request(PUT => "$uri?digest=" . sha256('hello world'), body => 'ld',
	headers => { 'Content-Range' => '5-6' });
is(brief($r) . ' ' . $r->header('Range'), '416 BLOB_UPLOAD_INVALID 0-8',
	'put out of order');
is(stands($uri), '204 0-8', 'nothing of all that counts');

# what is refused does not keep others from writing, not even while the rest
# of it is thrown away

my $s = send_request(PATCH => $uri, headers => { 'Content-Length' => 1000,
	'Content-Range' => '0-999' });
is(brief(response($s)), '416 BLOB_UPLOAD_INVALID', 'out of order');
is(chunk($uri, '9-9', 'l'), '202 0-9', 'next after out of order');
close $s;

$r = request(PUT => "$uri?digest=" . sha256('hello world'), body => 'd',
	headers => { 'Content-Range' => '10-10' });
is($r->status, 201, 'put in order');
is(pulled('ranges', 'hello world'), 1, 'put in order bytes');

$uri = session('ranges');
is(chunk($uri, '1-1', 'x'), '416 BLOB_UPLOAD_INVALID 0-0',
	'first chunk not at 0');
is(chunk($uri, '0-0', 'x'), '202 0-0', 'first chunk of one byte');
is(chunk($uri, '1-1', 'y'), '202 0-1', 'second chunk');

is(request(PATCH => $uri)->header('Range'), '0-1', 'empty patch');

# digests

$uri = session('digests');
request(PATCH => $uri, body => 'bytes');

is(brief(request(PUT => $uri)), '400 DIGEST_INVALID', 'no digest');
is(brief(request(PUT => "$uri?digest")), '400 DIGEST_INVALID',
	'digest without value');

for my $bad ('', 'x', 'sha256:', 'sha256:' . 'a' x 63, 'sha256:' . 'a' x 65,
	'sha256:' . 'g' x 64, 'sha256:' . 'A' x 64, 'SHA256:' . 'a' x 64,
	'sha512:' . 'a' x 64, 'md5:' . 'a' x 32, 'sha384:' . 'a' x 96,
	'sha256%00:' . 'a' x 64, 'sha256:..%2f..%2f' . 'a' x 58, 'a' x 3000)
{
	is(brief(request(PUT => "$uri?digest=$bad", body => 'more')),
		'400 DIGEST_INVALID', 'bad digest ' . substr($bad, 0, 20));
}

is(stands($uri), '204 0-4', 'session after bad digests');

my $digest = sha256('bytes') =~ s/:/%3A/r;
is(request(PUT => "$uri?_state=x%26y&%64igest=$digest&x=y")->status, 201,
	'digest among other parameters, encoded');

$uri = session('digests');
request(PATCH => $uri, body => 'bytes');
is(brief(request(PUT => "$uri?digest=" . sha256('others'))),
	'400 DIGEST_INVALID', 'wrong digest');
is(sessions('digests'), 0, 'session after a wrong digest');
is(-e data(sha256('others')), undef, 'no blob of a wrong digest');

is(brief(request(POST => '/v2/digests/blobs/uploads/?digest='
	. sha256('others'), body => 'bytes')), '400 DIGEST_INVALID',
	'wrong digest of a post');
is(brief(request(POST => '/v2/digests/blobs/uploads/?digest=sha256:0',
	body => 'bytes')), '400 DIGEST_INVALID', 'bad digest of a post');
is(sessions('digests'), 0, 'sessions after bad digests of posts');

# sha512: announced or not, and with the other one at the end

for my $query ('', '?digest-algorithm=sha512', '?digest-algorithm=sha256') {
	for my $sum (\&sha256, \&sha512) {
		my $bytes = "of a session with $query, " . $sum->('');
		my $what = $query . ' ' . substr($sum->(''), 0, 6);

		$uri = session("sha$query");
		is(request(PATCH => $uri, body => substr($bytes, 0, 9))->status,
			202, "patch, $what");
		is(request(PUT => "$uri?digest=" . $sum->($bytes),
			body => substr($bytes, 9))->status, 201, "put, $what");
		is(pulled('sha', $bytes, undef, $sum), 1, "bytes, $what");

		$uri = session("sha$query");
		request(PATCH => $uri, body => 'x');
		is(brief(request(PUT => "$uri?digest=" . $sum->($bytes))),
			'400 DIGEST_INVALID', "wrong digest, $what");
	}
}

is(put('sha', 'at once', body => 'at once', digest => sha512('at once')), 201,
	'sha512 put');
is(pulled('sha', 'at once', undef, \&sha512), 1, 'sha512 put bytes');
is(request(POST => '/v2/sha/blobs/uploads/?digest=' . sha512('posted'),
	body => 'posted')->status, 201, 'sha512 post');
is(pulled('sha', 'posted', undef, \&sha512), 1, 'sha512 post bytes');
is(brief(request(POST => '/v2/sha/blobs/uploads/?digest-algorithm=md5')),
	'400 DIGEST_INVALID', 'unknown algorithm');
is(sessions('sha'), 0, 'sha sessions');

# somebody else's session, and what is no session

$uri = session('mine');
(my $other = $uri) =~ s!/mine/!/other/!;

is(stands($other), '404 BLOB_UPLOAD_UNKNOWN', 'another repository');
is(brief(request(PATCH => $other, body => 'x')), '404 BLOB_UPLOAD_UNKNOWN',
	'patch in another repository');
is(brief(request(PUT => "$other?digest=" . sha256('x'), body => 'x')),
	'404 BLOB_UPLOAD_UNKNOWN', 'put in another repository');
is(brief(request(DELETE => $other)), '404 BLOB_UPLOAD_UNKNOWN',
	'delete in another repository');
is(-e "$root/repositories/other", undef, 'nothing made of it');

for my $bad ('x', 'a' x 36, '...', '_x', '%ff', '%252e%252e',
	uc('abcdef00-0000-4000-8000-000000000000'),
	'abcdef00-0000-4000-8000-000000000000x')
{
	is(brief(request(PATCH => "/v2/mine/blobs/uploads/$bad", body => 'x')),
		'404 BLOB_UPLOAD_UNKNOWN', "no session: $bad");
}

is(stands($uri), '204 0-0', 'mine stands');

# cancelled

is(request(DELETE => $uri)->status, 204, 'delete');
is(stands($uri), '404 BLOB_UPLOAD_UNKNOWN', 'deleted');
is(sessions('mine'), 0, 'deleted session');

# limits

is(put('limited', 'x' x 1000, body => 'x' x 1000), 201, 'at the limit');
is(put('limited', 'x' x 1001, body => 'x' x 1001), '413 SIZE_INVALID',
	'above the limit');
is(put('limited', 'x' x 1001, body => [ 'x' x 1000, 'x' ]),
	'413 SIZE_INVALID', 'above the limit, chunked');

$uri = session('limited');
is(request(PATCH => $uri, body => 'y' x 999)->status, 202, 'below the limit');
is(brief(request(PATCH => $uri, body => 'yy')), '413 SIZE_INVALID',
	'limit of a session');
is(stands($uri), '204 0-998', 'limited stands');
is(request(PUT => "$uri?digest=" . sha256('y' x 1000), body => 'y')->status,
	201, 'up to the limit');

my $before = sessions('limited');
is(brief(request(POST => '/v2/limited/blobs/uploads/?digest='
	. sha256('x' x 1001), body => 'x' x 1001)), '413 SIZE_INVALID',
	'limit of a post');
is(brief(request(POST => '/v2/limited/blobs/uploads/?digest='
	. sha256('x' x 1001), body => [ 'x' x 1000, 'x' ])),
	'413 SIZE_INVALID', 'limit of a post, chunked');
is(sessions('limited'), $before, 'no sessions that nobody knows');

# two at the same time

$uri = session('busy');
$s = begin(PATCH => $uri, 10, 'first');
my $p = connection();

is(stands($uri), '204 0-0', 'stands, busy');

$r = request(PATCH => $uri, socket => $p, body => 'second');
is(brief($r), '409 BLOB_UPLOAD_INVALID', 'patch, busy');
is(brief(request(PUT => "$uri?digest=" . sha256('second'), body => 'second',
	socket => $p)), '409 BLOB_UPLOAD_INVALID', 'put, busy');
is(brief(request(PATCH => $uri, body => [ 'second' ], socket => $p)),
	'409 BLOB_UPLOAD_INVALID', 'chunked patch, busy');

syswrite($s, ' last');
is(response($s)->header('Range'), '0-9', 'first goes on');
is(request(PATCH => $uri, body => '!', socket => $p)->header('Range'), '0-10',
	'not busy any more');

# a session that is deleted while bytes arrive

$uri = session('deleted');
$s = begin(PATCH => $uri, 10, 'first');
is(request(DELETE => $uri)->status, 204, 'delete, busy');
syswrite($s, ' last');
is(brief(response($s)), '404 BLOB_UPLOAD_UNKNOWN', 'patch of a deleted one');

$uri = session('deleted');
$digest = sha256('never');
$s = begin(PUT => "$uri?digest=$digest", 5, 'nev');
is(request(DELETE => $uri)->status, 204, 'delete, busy with put');
syswrite($s, 'er');
is(brief(response($s)), '404 BLOB_UPLOAD_UNKNOWN', 'put of a deleted one');
is(-e data($digest) =~ s!/data$!!r, undef, 'nothing left of it');
is(sessions('deleted'), 0, 'deleted sessions');

# a client that hangs up, and goes on where the session stands

for my $name (qw/ a threads large /) {
	my $bytes = 'a' x 200000 . 'b' x 200000;

	for my $method (qw/ PATCH PUT /) {
		$uri = session("$name/cut");
		my $query = $method eq 'PUT' ? '?digest=' . sha256($bytes) : '';

		$s = begin($method => "$uri$query", length $bytes,
			substr($bytes, 0, 150000));
		ok(arrived($uri, 150000), "arrived, $method, $name");
		close $s;

		is(settles($uri), '0-149999', "cut off, $method, $name");
		is(request(PUT => "$uri?digest=" . sha256($bytes),
			body => substr($bytes, 150000))->status, 201,
			"cut off, finished, $method, $name");
		is(pulled("$name/cut", $bytes), 1,
			"cut off, bytes, $method, $name");
	}

	# in the middle of a chunk of the encoding

	$uri = session("$name/cut");
	$s = send_request(PATCH => $uri, raw => "PATCH $uri HTTP/1.1\r\n"
		. "Host: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
		. "5\r\nhello\r\nff\r\nbut");
	ok(arrived($uri, 8), "arrived, chunked, $name");
	close $s;
	is(settles($uri), '0-7', "cut off, chunked, $name");
	is(request(DELETE => $uri)->status, 204, "cut off, deleted, $name");

	# nobody knows of the session of a whole post

	my $path = "/v2/$name/cut/blobs/uploads/?digest=" . sha256('x' x 100);
	$s = begin(POST => $path, 100, 'xxx');
	is(sessions("$name/cut"), 1, "post under way, $name");
	close $s;
	ok(until_true(sub { !sessions("$name/cut") }), "post cut off, $name");
}

# a body that stops, longer than the timeout

$uri = session('slow');
$s = begin(PATCH => $uri, 10, 'first');
is(response($s)->status, undef, 'timed out');
is(stands($uri), '204 0-4', 'timed out stands');

# a malformed body

$uri = session('a');
$r = request(PATCH => $uri, raw => "PATCH $uri HTTP/1.1\r\nHost: localhost\r\n"
	. "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nxyz\r\nabc");
is($r->status, 400, 'malformed chunk');
ok(defined $r->code, 'malformed chunk, document');
is(request(PUT => "$uri?digest=" . sha256('abc'), body =>
	stands($uri) eq '204 0-2' ? '' : 'abc')->status, 201,
	'malformed chunk, session');

# 100-continue: for bodies that are read, and not before an error

my %expect = (Expect => '100-continue');

$uri = session('a');
$r = request(PATCH => $uri, body => 'x', headers => \%expect);
is(join(' ', $r->statuses()), '100 202', 'expect');
$r = request(PUT => "$uri?digest=" . sha256('xy'), body => 'y',
	headers => \%expect);
is(join(' ', $r->statuses()), '100 201', 'expect put');

for (
	[ 404, PATCH => $uri ],
	[ 404, PUT => "$uri?digest=" . sha256('y') ],
	[ 400, PUT => "$uri?digest=y" ],
	[ 405, PATCH => '/v2/a/blobs/uploads/' ],
	[ 400, POST => '/v2/A/blobs/uploads/' ],
	[ 413, PUT => session('limited') . '?digest=' . sha256('') ],
) {
	my ($status, $method, $path) = @$_;

	my $s = send_request($method => $path, headers => { %expect,
		'Content-Length' => 2000 });
	$r = response($s);
	is(join(' ', $r->statuses()), $status, "expect, $method $status");
	ok(defined $r->code(), "expect, $method $status, document");
}

# connections are kept, whatever was refused

$s = connection();
$uri = session('kept');
my $unknown = '/v2/kept/blobs/uploads/00000000-0000-4000-8000-000000000000';

is(request(POST => '/v2/kept/blobs/uploads/', socket => $s)->status, 202,
	'kept, post');
is(request(PATCH => $uri, socket => $s, body => 'x' x 100000)->status, 202,
	'kept, patch');
is(request(PATCH => $unknown, socket => $s, body => 'x' x 100000)->status,
	404, 'kept, unknown');
is(request(PATCH => $unknown, socket => $s, body => [ 'x' x 100000 ])->status,
	404, 'kept, unknown, chunked');
is(request(GET => $unknown, socket => $s)->status, 404, 'kept, get unknown');
is(request(PATCH => $uri, socket => $s, body => 'x' x 10000,
	headers => { 'Content-Range' => '0-9999' })->status, 416,
	'kept, out of order');
is(request(PATCH => '/v2/kept/blobs/uploads/', socket => $s, body => 'x')
	->status, 405, 'kept, not allowed');
is(request(GET => $uri, socket => $s)->status, 204, 'kept, status');
is(request(DELETE => $unknown, socket => $s, body => 'x')->status, 404,
	'kept, delete unknown');
is(request(PUT => "$uri?digest=" . sha256('x' x 100000), socket => $s)->status,
	201, 'kept, put');
is(request(DELETE => session('kept'), socket => $s)->status, 204,
	'kept, delete');
is(request(GET => '/v2/', socket => $s)->status, 200, 'kept at last');

# pipelined

$uri = session('pipe');
my $head = "$uri HTTP/1.1\r\nHost: localhost\r\n";

$s = send_request(PATCH => $uri, raw =>
	"PATCH ${head}Content-Length: 4\r\n\r\npipe"
	. "PATCH ${head}Transfer-Encoding: chunked\r\n\r\n2\r\nli\r\n0\r\n\r\n"
	. "GET $head\r\n"
	. "PATCH ${head}Content-Length: 3\r\nContent-Range: 0-2\r\n\r\nXXX"
	. "PATCH ${head}Content-Length: 3\r\n\r\nned"
	. 'PUT ' . $head =~ s! !'?digest=' . sha256('pipelined') . ' '!er
	. "Connection: close\r\nContent-Length: 0\r\n\r\n");

my $in = '';
while (sysread($s, $in, 65536, length $in)) { }

is(join(' ', $in =~ m!HTTP/1.1 (\d+)!g), '202 202 204 416 202 201',
	'pipelined');
is(pulled('pipe', 'pipelined'), 1, 'pipelined bytes');

# bytes a few at a time

$uri = session('drip');
$s = begin(PATCH => $uri, 26, '');

for my $c ('a' .. 'z') {
	syswrite($s, $c);
	select(undef, undef, undef, 0.005);
}

is(response($s)->header('Range'), '0-25', 'drip');
is(request(PUT => "$uri?digest=" . sha256(join '', 'a' .. 'z'))->status, 201,
	'drip put');

# the same blob again, and while somebody reads it

my $pull = send_request(GET => '/v2/a/x/blobs/' . sha256($large));
is(put('a/x', $large, body => $large), 201, 'pushed again');
is(put('again', $large, body => $large), 201, 'pushed to another repository');
ok(response($pull)->body eq $large, 'pulled meanwhile');
is(pulled('a/x', $large), 1, 'pulled afterwards');

# a session whose files are not as they were left

my $dir = "$root/repositories/a/_uploads";

$uri = session('a');
request(PATCH => $uri, body => 'hello');
write_file("$dir/" . $uri =~ s!.*/!!r . '/data', 'hello, but not said so');
is(stands($uri), '204 0-4', 'bytes that were never acknowledged');
is(request(PUT => "$uri?digest=" . sha256('hello!'), body => '!')->status, 201,
	'bytes that were never acknowledged, put');
is(pulled('a', 'hello!'), 1, 'bytes that were never acknowledged, gone');

$uri = session('a');
request(PATCH => $uri, body => 'hello');
write_file("$dir/" . $uri =~ s!.*/!!r . '/data', 'hell');
is(stands($uri), '404 BLOB_UPLOAD_UNKNOWN', 'bytes lost');
is(brief(request(PATCH => $uri, body => 'x')), '404 BLOB_UPLOAD_UNKNOWN',
	'bytes lost, patch');

for my $state ('', 'x', "\0" x 600) {
	$uri = session('a');
	write_file("$dir/" . $uri =~ s!.*/!!r . '/hashstate', $state);
	is(stands($uri), '404 BLOB_UPLOAD_UNKNOWN', 'state lost');
	is(request(DELETE => $uri)->status, 204, 'state lost, delete');
}

# a store that cannot be written to

write_file("$root/repositories/file", '');
is(brief(request(POST => '/v2/file/blobs/uploads/')), '500 UNKNOWN',
	'cannot write');
is(brief(request(POST => '/v2/file/blobs/uploads/?digest=' . sha256('x'),
	body => 'x')), '500 UNKNOWN', 'cannot write, post');

# through a reload and a restart

$uri = session('survivor');
$s = begin(PATCH => $uri, 10, 'hello');

$t->reload();
ok(until_true(sub { $t->read_file('error.log') =~ /gracefully shutting down/ }),
	'reload');
syswrite($s, ' wond');
is(response($s)->header('Range'), '0-9', 'reload, patch goes on');
close $s;
is(request(PATCH => $uri, body => 'erful')->header('Range'), '0-14',
	'reload, next patch');

$t->stop();
$t->run();

is(stands($uri), '204 0-14', 'restart');
is(request(PUT => "$uri?digest=" . sha256('hello wonderful world'),
	body => ' world')->status, 201, 'restart, put');
is(pulled('survivor', 'hello wonderful world'), 1, 'restart, bytes');

is_deeply([ glob("$root/repositories/_tmp/.??*") ], [], 'nothing temporary');

###############################################################################

sub brief {
	my ($r) = @_;
	return join(' ', grep { defined } $r->status, $r->code);
}

sub session {
	my ($name, $query) = split(/(?=\?)/, $_[0]);
	my $r = request(POST => "/v2/$name/blobs/uploads/" . ($query // ''));

	return $r->location() // die 'no session: ' . $r->summary();
}

sub stands {
	my ($uri) = @_;
	my $r = request(GET => $uri);

	return join(' ', brief($r), $r->header('Range') // ());
}

sub chunk {
	my ($uri, $range, $body) = @_;
	my $r = request(PATCH => $uri, body => $body,
		headers => { 'Content-Range' => $range });

	return join(' ', brief($r), $r->header('Range') // ());
}

sub put {
	my ($name, $bytes, %opts) = @_;
	my $digest = delete $opts{digest} // sha256($bytes);

	return brief(request(PUT => session($name) . "?digest=$digest", %opts));
}

# 1 if these bytes are served; a mirror may be late

sub pulled {
	my ($name, $bytes, $port, $sum) = @_;
	my $uri = "/v2/$name/blobs/" . ($sum // \&sha256)->($bytes);

	return until_true(sub {
		my $r = request(GET => $uri, port => $port);
		return $r->status == 200 && $r->body eq $bytes;
	}) ? 1 : 0;
}

# sends the head of a request, and some of its body when that is asked for

sub begin {
	my ($method, $uri, $length, $bytes) = @_;

	my $s = send_request($method => $uri, headers => {
		'Content-Length' => $length, 'Expect' => '100-continue' });

	sysread($s, my $in, length "HTTP/1.1 100 Continue\r\n\r\n");
	$in eq "HTTP/1.1 100 Continue\r\n\r\n" or die "no 100: $in";

	syswrite($s, $bytes);

	return $s;
}

# where a session stands when the request that wrote to it is over

sub settles {
	my ($uri) = @_;

	return until_true(sub {
		my $r = request(PATCH => $uri);
		return $r->status == 202 && $r->header('Range');
	});
}

# true when so many bytes of a session are written

sub arrived {
	my ($uri, $size) = @_;
	my ($name, $id) = $uri =~ m!^/v2/(.*)/blobs/uploads/(.*)!;
	my $file = "$root/repositories/$name/_uploads/$id/data";

	return until_true(sub { -s $file >= $size });
}

sub until_true {
	my ($code) = @_;

	for (1 .. 500) {
		my $result = $code->();
		return $result if $result;
		select(undef, undef, undef, 0.02);
	}

	return 0;
}

sub sessions {
	my ($name) = @_;
	return scalar(my @sessions = glob("$root/repositories/$name/_uploads/*"));
}

sub data {
	my ($algorithm, $hex) = split(/:/, $_[0]);
	return "$root/blobs/$algorithm/" . substr($hex, 0, 2) . "/$hex/data";
}

sub write_file {
	my ($name, $bytes) = @_;

	open(my $fh, '>', $name) or die "can't write $name: $!";
	print $fh $bytes;
	close $fh;
}

###############################################################################
