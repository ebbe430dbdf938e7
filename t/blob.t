#!/usr/bin/perl

# Pulling blobs: whole, conditionally, in ranges, through filters and nginx's
# ways to send a file.

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

my $t = Test::Nginx->new()->has(qw/http gzip/)
	->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;
user root;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    registry_store local { path %%TESTDIR%%/registry; }

    gzip              on;
    gzip_types        *;
    gzip_min_length   1;
    gunzip            on;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /v2/ {
            registry local;
            registry_push on;
            registry_delete on;
        }

        location /v2/sendfile/ {
            registry local;
            registry_push on;
            sendfile on;
        }

        location /v2/threads/ {
            registry local;
            registry_push on;
            sendfile on;
            aio threads;
            output_buffers 2 32k;
        }

        location /v2/direct/ {
            registry local;
            registry_push on;
            aio threads;
            directio 4k;
        }

        location /v2/cached/ {
            registry local;
            registry_push on;
            registry_delete on;
            open_file_cache max=10;
            open_file_cache_errors on;
        }

        location /v2/once/ {
            registry local;
            registry_push on;
            max_ranges 1;
        }
    }
}

EOF

$t->run()->plan(98);

###############################################################################

my $root = $t->testdir() . '/registry/docker/registry/v2';
my $bytes = join('', map { chr(33 + $_ % 94) } 0 .. 999);
my $digest = push_blob('a', $bytes);
my $uri = "/v2/a/blobs/$digest";
my $etag = "\"$digest\"";

# whole

my $r = request(GET => $uri);
is($r->status, 200, 'get');
is($r->body, $bytes, 'bytes');
is($r->header('Content-Length'), 1000, 'length');
is($r->header('Content-Type'), 'application/octet-stream', 'type');
is($r->header('Docker-Content-Digest'), $digest, 'digest');
is($r->header('ETag'), $etag, 'etag');
is($r->header('Accept-Ranges'), 'bytes', 'accept ranges');
is($r->header('Docker-Distribution-Api-Version'), 'registry/2.0', 'version');
my $modified = $r->header('Last-Modified');
ok($modified, 'last modified');

$r = request(HEAD => $uri);
is($r->status, 200, 'head');
is($r->header('Content-Length'), 1000, 'head length');
is($r->header('Docker-Content-Digest'), $digest, 'head digest');
is($r->header('ETag'), $etag, 'head etag');

# what is not there

is(brief(request(GET => '/v2/a/blobs/' . sha256('no'))), '404 BLOB_UNKNOWN',
	'unknown');
is(brief(request(GET => "/v2/b/blobs/$digest")), '404 BLOB_UNKNOWN',
	'known to another repository');
is(brief(request(GET => '/v2/a/blobs/sha256:' . substr($digest, 7, 63))),
	'400 DIGEST_INVALID', 'digest too short');
is(brief(request(GET => "/v2/a/blobs/$digest" . '0')), '400 DIGEST_INVALID',
	'digest too long');
is(brief(request(GET => '/v2/a/blobs/' . uc(substr($digest, 7)))),
	'400 DIGEST_INVALID', 'digest without algorithm');
is(brief(request(GET => '/v2/a/blobs/sha256:' . uc('ab' x 32))),
	'400 DIGEST_INVALID', 'digest in upper case');
is(brief(request(GET => '/v2/a/blobs/md5:' . '0' x 32)),
	'400 DIGEST_INVALID', 'digest of another algorithm');

$r = request(HEAD => '/v2/a/blobs/' . sha256('no'));
is($r->status, 404, 'head unknown');
ok($r->header('Content-Length') > 0, 'head unknown length');

# a link to bytes that are gone, bytes without a link

my $gone = push_blob('a', 'gone');
unlink data($gone) or die;
is(brief(request(GET => "/v2/a/blobs/$gone")), '404 BLOB_UNKNOWN',
	'link without bytes');

my $loose = push_blob('a', 'loose');
unlink link_of('a', $loose) or die;
is(brief(request(GET => "/v2/a/blobs/$loose")), '404 BLOB_UNKNOWN',
	'bytes without link');

my $odd = push_blob('a', 'odd');
unlink data($odd) or die;
mkdir data($odd) or die;
is(brief(request(GET => "/v2/a/blobs/$odd")), '404 BLOB_UNKNOWN',
	'a directory');

# other sizes

my $empty = push_blob('a', '');
$r = request(GET => "/v2/a/blobs/$empty");
is($r->status, 200, 'empty');
is($r->header('Content-Length'), 0, 'empty length');
is($r->header('Docker-Content-Digest'), $empty, 'empty digest');

is(get("/v2/a/blobs/$empty", Range => 'bytes=0-')->status, 200,
	'all of empty');
is(get("/v2/a/blobs/$empty", Range => 'bytes=1-')->status, 416,
	'range of empty');

my $sha512 = push_blob('a', $bytes, digest => sha512($bytes));
$r = request(GET => "/v2/a/blobs/$sha512");
is($r->body, $bytes, 'sha512');
is($r->header('Docker-Content-Digest'), $sha512, 'sha512 digest');

# the same bytes in all the ways that nginx sends a file

my $large = join('', map { pack('N', $_ * 2654435761 % 2**32) } 1 .. 300000);

for my $name (qw/ a sendfile threads direct cached once /) {
	my $d = push_blob("$name/x", $large);
	ok(request(GET => "/v2/$name/x/blobs/$d")->body eq $large,
		"large, $name");
	ok(get("/v2/$name/x/blobs/$d", Range => 'bytes=4097-1100000')->body
		eq substr($large, 4097, 1100000 - 4096), "large range, $name");
}

# conditions

$r = get($uri, 'If-None-Match' => $etag);
is($r->status, 304, 'if-none-match');
is($r->header('ETag'), $etag, 'if-none-match etag');
is($r->header('Docker-Content-Digest'), $digest, 'if-none-match digest');

is(get($uri, 'If-None-Match' => "\"x\", W/$etag")->status, 304,
	'if-none-match list');
is(get($uri, 'If-None-Match' => '*')->status, 304, 'if-none-match any');
is(get($uri, 'If-None-Match' => '"x"')->status, 200,
	'if-none-match of another');
is(get($uri, 'If-Modified-Since' => $modified)->status, 304,
	'if-modified-since');
is(get($uri, 'If-Match' => $etag)->status, 200, 'if-match');

$r = get($uri, 'If-Match' => '"x"');
is(brief($r), '412 UNSUPPORTED', 'if-match of another');
is($r->header('Content-Type'), 'application/json', 'if-match document');

# ranges

is(range('bytes=0-0'), '206 0-0/1000 ' . substr($bytes, 0, 1), 'first byte');
is(range('bytes=10-19'), '206 10-19/1000 ' . substr($bytes, 10, 10),
	'ten bytes');
is(range('bytes=900-'), '206 900-999/1000 ' . substr($bytes, 900),
	'open range');
is(range('bytes=0-'), "206 0-999/1000 $bytes", 'open range of all');
is(range('bytes=-10'), '206 990-999/1000 ' . substr($bytes, 990), 'suffix');
is(range('bytes=-5000'), "206 0-999/1000 $bytes", 'suffix of more than all');
is(range('bytes=990-5000'), '206 990-999/1000 ' . substr($bytes, 990),
	'past the end');
is(range('bytes=0-9,0-9,0-9,100-'), join(' ', 206, map { "$_->[0]/1000 "
	. substr($bytes, $_->[1], $_->[2]) } (['0-9', 0, 10]) x 3,
	['100-999', 100, 900]), 'ranges that overlap');

$r = get($uri, Range => 'bytes=5-6,998-,-1');
is($r->status, 206, 'ranges');
my ($boundary) = $r->header('Content-Type')
	=~ m!^multipart/byteranges; boundary=(\S+)$!;
ok($boundary, 'ranges type');
is($r->header('Docker-Content-Digest'), $digest, 'ranges digest');
is_deeply([ parts($r) ], [
	[ 'bytes 5-6/1000', substr($bytes, 5, 2) ],
	[ 'bytes 998-999/1000', substr($bytes, 998) ],
	[ 'bytes 999-999/1000', substr($bytes, 999) ] ], 'ranges parts');

for my $bad ('bytes=1000-', 'bytes=-0', 'bytes=5-4', 'bytes=x-y', 'bytes=1-2,')
{
	$r = get($uri, Range => $bad);
	is($r->status . ' ' . $r->header('Content-Range'), '416 bytes */1000',
		"not satisfiable, $bad");
	ok(defined $r->code, "not satisfiable, $bad, document");
}

is($r->header('Docker-Distribution-Api-Version'), 'registry/2.0',
	'not satisfiable, version');
is(range('items=0-1'), "200 $bytes", 'unit of another kind');
is(get("/v2/once/x/blobs/" . sha256($large), Range => 'bytes=0-1,3-4')->status,
	200, 'max_ranges');

# If-Range

is(get($uri, Range => 'bytes=1-2', 'If-Range' => $etag)->status, 206,
	'if-range');
is(get($uri, Range => 'bytes=1-2', 'If-Range' => '"x"')->status, 200,
	'if-range of another');
is(get($uri, Range => 'bytes=1-2', 'If-Range' => $modified)->status, 206,
	'if-range date');

# a parallel client hangs up in the middle of what it asked for

for (1 .. 3) {
	my $s = send_request(GET => '/v2/a/x/blobs/' . sha256($large),
		headers => { Range => 'bytes=100-' });
	sysread($s, my $some, 1000);
	close $s;
}

is(request(GET => $uri)->status, 200, 'after a client hung up');

# no filter touches the bytes

$r = get($uri, 'Accept-Encoding' => 'zstd, gzip');
is($r->header('Content-Encoding'), undef, 'not compressed');
is($r->body, $bytes, 'not compressed bytes');

my $gz = "\x1f\x8b\x08\0\0\0\0\0\0\3" . 'not gzip really';
my $gzipped = push_blob('a', $gz);
is(request(GET => "/v2/a/blobs/$gzipped")->body, $gz, 'not uncompressed');

# open_file_cache: pushed is there at once, and deleted is gone at once

my $new = sha256('new');
is(request(HEAD => "/v2/cached/x/blobs/$new")->status, 404, 'cached before');
push_blob('cached/x', 'new');
is(request(HEAD => "/v2/cached/x/blobs/$new")->status, 200, 'cached pushed');
is(request(DELETE => "/v2/cached/x/blobs/$new")->status, 202,
	'cached delete');
is(request(GET => "/v2/cached/x/blobs/$new")->status, 404, 'cached deleted');

# connections are kept: after answers, errors, and bodies of GET requests

my $s = connection();

is(request(GET => $uri, socket => $s)->body, $bytes, 'kept');
is(request(GET => "/v2/b/blobs/$digest", socket => $s)->status, 404,
	'kept, unknown');
is(request(GET => $uri, socket => $s, headers => { Range => 'bytes=-0' })
	->status, 416, 'kept, not satisfiable');
is(request(HEAD => "/v2/b/blobs/$digest", socket => $s)->status, 404,
	'kept, head unknown');
is(request(GET => $uri, socket => $s, body => 'x' x 100000)->status, 200,
	'kept, get with a body');
is(request(GET => $uri, socket => $s, body => [ 'x' x 1000, 'y' ])->status,
	200, 'kept, get with a chunked body');
is(request(GET => $uri, socket => $s)->body, $bytes, 'kept at last');

# pipelined

my $get = "GET $uri HTTP/1.1\r\nHost: localhost\r\n";
send_request(GET => $uri, socket => $s, raw =>
	"$get\r\n${get}Range: bytes=-1\r\n\r\n${get}Connection: close\r\n\r\n");

is(pipelined($s), '200 206 200 ', 'pipelined');

###############################################################################

sub brief {
	my ($r) = @_;
	return join(' ', grep { defined } $r->status, $r->code);
}

sub get {
	my ($uri, %headers) = @_;
	return request(GET => $uri, headers => \%headers);
}

# status, and Content-Range and bytes of each part

sub range {
	my ($range) = @_;
	my $r = get($uri, Range => $range);

	return join(' ', $r->status, map { "$_->[0] $_->[1]" =~ s/^bytes //r }
		parts($r)) if $r->header('Content-Type') =~ /^multipart/;

	return join(' ', grep { defined } $r->status,
		($r->header('Content-Range') // '') =~ /^bytes (.*)/, $r->body);
}

sub parts {
	my ($r) = @_;
	my ($boundary) = $r->header('Content-Type') =~ /boundary=(\S+)/;
	my @parts;

	my $body = "\r\n" . $r->body =~ s/^\r\n//r;
	return 'no end' unless $body =~ s/\r\n--\Q$boundary\E--\r\n\z//;

	for my $part (grep { length } split(/\r\n--\Q$boundary\E\r\n/, $body)) {
		my ($head, $bytes) = split(/\r\n\r\n/, $part, 2);
		push @parts, [ $head =~ /^Content-Range: (.*?)\r?$/m, $bytes ];
	}

	return @parts;
}

# the status of each answer, and what is left

sub pipelined {
	my ($s) = @_;
	my ($in, @status) = ('');

	while (sysread($s, $in, 65536, length $in)) { }

	while ($in =~ s!\AHTTP/1.1 (\d+)(.*?\r\n)\r\n!!s) {
		push @status, $1;
		substr($in, 0, $2 =~ /\r\nContent-Length: (\d+)/ && $1, '');
	}

	return join(' ', @status, $in);
}

sub data {
	my ($algorithm, $hex) = split(/:/, $_[0]);
	return "$root/blobs/$algorithm/" . substr($hex, 0, 2) . "/$hex/data";
}

sub link_of {
	my ($name, $digest) = @_;
	return "$root/repositories/$name/_layers/" . $digest =~ tr!:!/!r
		. '/link';
}

###############################################################################
