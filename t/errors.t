#!/usr/bin/perl

# Every error is the specification's document: those of bad names, references
# and methods, those that nginx makes in our locations, and those it makes
# before it has found a location.  Nothing is left behind.

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

my $t = Test::Nginx->new()->has(qw/http http_ssl auth_basic auth_request
	access limit_req rewrite gzip charset/)->has_daemon('openssl');

$t->write_file('x.html', 'an error page')
	->write_file('own.html', 'a page of its own')
	->write_file('users', "user:{PLAIN}secret\n")
	->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;
user root;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    registry_store local { path %%TESTDIR%%/registry; }

    limit_req_zone $uri zone=one:1m rate=1r/m;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        error_page 401 403 404 405 410 413 416 418 429 500 503 /x.html;

        client_max_body_size 1k;
        gzip on;
        gzip_types *;
        gzip_min_length 1;
        charset koi8-r;
        charset_types *;

        location /v2/ {
            registry local;
            registry_push on;
        }

        location /v2/all/ {
            registry local;
            registry_push on;
            registry_delete on;
        }

        location /v2/basic/ {
            registry local;
            auth_basic "the registry";
            auth_basic_user_file %%TESTDIR%%/users;
        }

        location /v2/request/ {
            registry local;
            auth_request /auth;
        }

        location /v2/denied/ {
            registry local;
            registry_push on;
            deny all;
        }

        location /v2/often/ {
            registry local;
            limit_req zone=one;
            limit_req_status 429;
        }

        location /v2/busy/ {
            registry local;
            limit_req zone=one;
        }

        location /v2/small/ {
            registry local;
            registry_push on;
            client_max_body_size 1k;
        }

        location /v2/except/ {
            registry local;
            registry_push on;
            limit_except GET {
                deny all;
            }
        }

        location /v2/returned/ {
            registry local;

            if ($arg_teapot) {
                return 418;
            }

            if ($arg_text) {
                return 503 "text";
            }

            if ($arg_elsewhere) {
                return 307 /elsewhere;
            }

            return 410;
        }

        location /v2/own/ {
            registry local;
            error_page 404 /own.html;
            error_page 405 =200 @own;
        }

        location @own {
            return 200 "own";
        }

        location /v2/twice/ {
            registry local;
            registry_push on;
            registry_max_blob_size 1k;
            error_page 400 413 = @twice;
        }

        location @twice {
            registry local;
            registry_push on;
        }

        location = /auth {
            internal;
            return 401;
        }

        location /html/ {
        }
    }

    server {
        listen       127.0.0.1:8081;
        server_name  localhost;

        large_client_header_buffers 2 4k;

        location /v2/ {
            registry local;
        }
    }

    server {
        listen       127.0.0.1:8443 ssl;
        server_name  localhost;

        ssl_certificate      localhost.crt;
        ssl_certificate_key  localhost.key;

        location /v2/ {
            registry local;
        }
    }
}

EOF

my $dir = $t->testdir();

system("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes "
	. "-batch -subj /CN=localhost -days 2 -out $dir/localhost.crt "
	. "-keyout $dir/localhost.key >$dir/openssl.out 2>&1") == 0
	or die "can't make a certificate\n";

$t->run()->plan(338);

###############################################################################

my $root = "$dir/registry/docker/registry/v2";

my $image = push_image('a', 'latest', 'layer');
my $digest = sha256($image);
my $layer = sha256('layer');
my $id = '00000000-0000-4000-8000-000000000000';
my $before = tree();

# names: of every endpoint, reading and writing

my $long = 'x' x 255;

for my $bad ('A', 'aA', '-a', 'a-', '.a', 'a.', '_a', 'a_', 'a..b', 'a.-b',
	'a___b', 'a_.b', 'a/-b', 'a/b-', 'a/_layers', '_uploads', '...', 'a/...',
	'a/.b', 'a%20b', 'a+b', 'a:b', 'a@b', 'a*b', 'a%09b', 'a%0d%0ab', 'a%5cb',
	'a%7fb', 'a"b', 'a%c3%a4', 'a%ff', '%252e%252e', 'a;b', 'a~b', 'a,b',
	"${long}x", "$long/x", 'a/' x 127 . 'bb', 'x' x 3000)
{
	my $what = length $bad > 30 ? 'of ' . length $bad : $bad;

	is(error(GET => "/v2/$bad/tags/list"), '400 NAME_INVALID',
		"name $what");
	is(error(POST => "/v2/$bad/blobs/uploads/"), '400 NAME_INVALID',
		"name $what, post");
}

for my $path ("manifests/latest", "manifests/$digest", "blobs/$digest",
	"referrers/$digest", "blobs/uploads/$id")
{
	is(error(GET => "/v2/A/$path"), '400 NAME_INVALID', "bad name, $path");
	is(error(PUT => "/v2/A/$path", body => 'x'),
		'400 NAME_INVALID', "bad name, put, $path");
}

is(error(GET => "/v2/$long/tags/list"), '404 NAME_UNKNOWN', 'longest name');

my $r = request(GET => '/v2/a%22%ff%0a/tags/list');
is($r->json->{errors}[0]{detail}, "a\"\x{fffd}\n", 'detail of a bad name');

# a name within the limit is fine on disk too

is(push_image($_, 'latest', 'x'), request(GET => "/v2/$_/manifests/latest")
	->body, 'name of ' . length) for $long, 'a/' x 127 . 'a';

$before = tree();

# references

for my $bad ('', '-x', '.x', '...', 'a%20b', 'a+b', 'a@b', '%c3%a4',
	'x' x 129, 'x' x 3000, '%252e%252e', '..%5cx', 'a%0ab', '%20', 'a"b', '*')
{
	my $what = substr($bad, 0, 10);

	is(error(GET => "/v2/a/manifests/$bad"), '400 MANIFEST_INVALID',
		"tag $what");
	is(error(PUT => "/v2/a/manifests/$bad", body => $image),
		'400 MANIFEST_INVALID', "tag $what, put");
}

for my $bad ('', 'x', 'sha256:', 'sha256:x', "${digest}0", uc $digest,
	"sha256:" . 'A' x 64, "sha256:" . 'g' x 64, 'md5:' . '0' x 32,
	'sha256:..%5c' . 'a' x 59, ':' . '0' x 64, 'sha256:' . '0' x 3000)
{
	my $what = substr($bad, 0, 20);

	is(error(GET => "/v2/a/blobs/$bad"), '400 DIGEST_INVALID',
		"digest $what");
	is(error(GET => "/v2/a/referrers/$bad"), '400 DIGEST_INVALID',
		"digest $what, referrers");

	is(error(GET => "/v2/a/manifests/$bad"), '400 DIGEST_INVALID',
		"digest $what, manifest") if $bad =~ /:/;
}

# paths that lead somewhere else; nginx resolves them before we see them

for my $path ('/v2/..%2f..%2f..%2fetc/passwd', '/v2/%2e%2e/%2e%2e/etc/passwd',
	'/v2/a/../../../etc/passwd', '/v2/a%00/tags/list', '/v2/a/manifests/%00',
	'/v2/a/manifests/x%00', '/v2/%zz/tags/list', '/v2/a%/tags/list')
{
	is(error(GET => $path), '400 UNSUPPORTED', "path $path");
}

is(error(GET => '/v2/a/%2e%2e/b/tags/list'), '404 NAME_UNKNOWN',
	'path to another repository');
is(request(GET => '/v2/b/..%2Fa/tags/list')->status, 200,
	'path to this repository');
is(request(GET => '/v2/b/../a/./tags//list')->status, 200,
	'path with dots and slashes');
is(request(GET => '/v2/../html/x')->body =~ /<html>|error page/ ? 1 : 0, 1,
	'path out of the registry');
is(error(GET => "/v2/a/blobs/sha256:..%2f..%2f..%2frepositories"),
	'404 UNSUPPORTED', 'path in a digest');

# there is no such endpoint

for my $path ('a', 'a/', 'a/tags', 'a/tags/', 'a/tags/lists', 'a/manifests',
	'a/blobs', 'a/x/y', '_catalogs', 'manifests/x', 'blobs/uploads/',
	'a/_manifests/tags/x', "blobs/$digest", 'a/uploads/x')
{
	is(error(GET => "/v2/$path"), '404 UNSUPPORTED', "no endpoint $path");
}

# nor such a thing

is(error(GET => '/v2/b/tags/list'), '404 NAME_UNKNOWN', 'no repository');
is(error(GET => '/v2/a/manifests/x'), '404 MANIFEST_UNKNOWN', 'no tag');
is(error(GET => "/v2/a/blobs/$digest"), '404 BLOB_UNKNOWN', 'no blob');
is(error(GET => "/v2/a/blobs/uploads/$id"), '404 BLOB_UPLOAD_UNKNOWN',
	'no upload');
is(error(PATCH => "/v2/a/blobs/uploads/$id", body => 'x'),
	'404 BLOB_UPLOAD_UNKNOWN', 'no upload, patch');
is(error(GET => "/v2/a/blobs/uploads/x"), '404 BLOB_UPLOAD_UNKNOWN',
	'no upload, by no id');

for my $path ('A/tags/list', 'b/tags/list', 'a/manifests/x', "a/blobs/$digest")
{
	my $get = request(GET => "/v2/$path");
	$r = request(HEAD => "/v2/$path");

	is(join(' ', $r->status, $r->header('Content-Length'),
		$r->header('Content-Type')), join(' ', $get->status,
		length $get->body, 'application/json'), "head $path");
}

# methods: what is permitted is what Allow says

my %allow = (
	'' => 'GET, HEAD',
	'_catalog' => '',
	'a/tags/list' => 'GET, HEAD',
	'a/manifests/latest' => 'GET, HEAD, PUT',
	"a/manifests/$digest" => 'GET, HEAD, PUT',
	"a/blobs/$layer" => 'GET, HEAD',
	"a/referrers/$digest" => 'GET, HEAD',
	'a/blobs/uploads/' => 'POST',
	"a/blobs/uploads/$id" => 'GET, HEAD, PUT, PATCH, DELETE',
	'all/manifests/latest' => 'GET, HEAD, PUT, DELETE',
	"all/blobs/$layer" => 'GET, HEAD, DELETE',
);

for my $path (sort keys %allow) {
	for my $method (qw/ POST PUT PATCH DELETE OPTIONS PROPFIND FOO /) {
		next if $allow{$path} =~ /\b$method\b/;

		is(error($method => "/v2/$path") . ' '
			. request($method => "/v2/$path")->header('Allow'),
			"405 UNSUPPORTED $allow{$path}", "$method $path");
	}
}

is(request(HEAD => '/v2/a/blobs/uploads/')->status, 405, 'HEAD of uploads');
is(error(GET => '/v2/_catalog'), '405 UNSUPPORTED', 'GET of a catalog');

for my $path ('a/manifests/latest', 'a/blobs/uploads/',
	"a/blobs/uploads/$id")
{
	$r = request(PUT => "/v2/$path", port => port(8081), body => $image);
	is(form($r) . ' ' . $r->header('Allow'), '405 UNSUPPORTED '
		. ($path =~ /manifests/ ? 'GET, HEAD' : ''),
		"push is off, $path");
}

is(form(request(GET => "/v2/a/blobs/uploads/$id", port => port(8081))),
	'405 UNSUPPORTED', 'push is off, status');

# 401, 403

$r = request(GET => '/v2/basic/manifests/x');
is(form($r), '401 UNAUTHORIZED', 'auth_basic');
is($r->header('WWW-Authenticate'), 'Basic realm="the registry"',
	'auth_basic challenge');
is(error(GET => '/v2/basic/manifests/x', headers =>
	{ Authorization => 'Basic dXNlcjp3cm9uZw==' }), '401 UNAUTHORIZED',
	'auth_basic, wrong password');
is(error(GET => '/v2/basic/manifests/x', headers =>
	{ Authorization => 'Basic dXNlcjpzZWNyZXQ=' }), '404 MANIFEST_UNKNOWN',
	'auth_basic, right password');

is(error(GET => '/v2/request/manifests/x'), '401 UNAUTHORIZED',
	'auth_request');

is(error(GET => '/v2/denied/manifests/x'), '403 DENIED', 'deny');
is(error(POST => '/v2/denied/blobs/uploads/'), '403 DENIED', 'deny, post');
is(error(PUT => '/v2/denied/manifests/x', body => 'x' x 100000), '403 DENIED',
	'deny, put');

is(error(GET => '/v2/except/manifests/x'), '404 MANIFEST_UNKNOWN',
	'limit_except, get');
is(request(HEAD => '/v2/except/manifests/x')->status, 404,
	'limit_except, head');
is(error(PUT => '/v2/except/manifests/x', body => $image), '403 DENIED',
	'limit_except, put');
is(error(POST => '/v2/except/blobs/uploads/'), '403 DENIED',
	'limit_except, post');

# 429, 503

is(error(GET => '/v2/often/manifests/x'), '404 MANIFEST_UNKNOWN', 'once');
is(error(GET => '/v2/often/manifests/x'), '429 TOOMANYREQUESTS',
	'too often');
is(error(GET => '/v2/busy/manifests/x'), '404 MANIFEST_UNKNOWN', 'idle');
is(error(GET => '/v2/busy/manifests/x'), '503 UNAVAILABLE', 'busy');

# 413 of nginx

is(error(PUT => '/v2/small/manifests/x', body => 'x' x 1025),
	'413 SIZE_INVALID', 'client_max_body_size');
is(error(PUT => '/v2/small/manifests/x', body => [ 'x' x 1025 ]),
	'413 SIZE_INVALID', 'client_max_body_size, chunked');
is(error(PUT => '/v2/small/manifests/x', body => [ ('x' x 100) x 20 ]),
	'413 SIZE_INVALID', 'client_max_body_size, many chunks');

# of the rewrite module

is(error(GET => '/v2/returned/tags/list'), '410 UNSUPPORTED', 'return 410');
is(error(GET => '/v2/returned/tags/list?teapot=1'), '418 UNSUPPORTED',
	'return 418');
is(error(GET => '/v2/returned/tags/list?text=1'), '503 UNAVAILABLE',
	'return 503 with text');
$r = request(GET => '/v2/returned/tags/list?elsewhere=1');
is($r->status . ' ' . $r->location(), '307 /elsewhere', 'return 307');

# error pages: not the server's, but the location's own

$r = request(GET => '/html/x');
is($r->status . ' ' . $r->body, '404 an error page', 'outside');
$r = request(GET => '/v2/own/manifests/x');
is($r->status . ' ' . $r->body, '404 a page of its own', 'own page');
is($r->header('Content-Type') =~ m!^text/html! ? 1 : 0, 1, 'own page type');
$r = request(PUT => '/v2/own/manifests/x', body => $image);
is($r->status . ' ' . $r->body, '200 own', 'own location');
is(error(GET => '/v2/own/manifests/-'), '400 MANIFEST_INVALID',
	'no own page for that');

# an error page that is a registry has no body to read any more

for my $body ([ 'x' x 3_000_000 ], [ 'x' x 1000, 'x' x 1000 ]) {
	is(error(POST => '/v2/twice/x/blobs/uploads/?digest=' . sha256('y'),
		body => $body), '500 UNKNOWN', 'body of ' . @$body . ' chunks');
}

is(error(PUT => '/v2/twice/x/manifests/x', body => '{'), '500 UNKNOWN',
	'body that was read');

$before = tree();

# compression and character sets are none of an error's

$r = request(GET => '/v2/a/manifests/x', headers =>
	{ 'Accept-Encoding' => 'gzip' });
is($r->header('Content-Encoding'), undef, 'not compressed');
is(form($r), '404 MANIFEST_UNKNOWN', 'not compressed document');

# before a location is found

my $get = 'GET /v2/a/tags/list';

for (
	[ 'bad Host', "$get HTTP/1.1\r\nHost: a/b" ],
	[ 'empty Host', "$get HTTP/1.1\r\nHost:" ],
	[ 'no Host', "$get HTTP/1.1\r\nX: y" ],
	[ 'two Hosts', "$get HTTP/1.1\r\nHost: a\r\nHost: b" ],
	[ 'zero in a header', "$get HTTP/1.1\r\nHost: a\r\nX: a\0b" ],
	[ 'bad Content-Length', "$get HTTP/1.1\r\nHost: a\r\n"
		. 'Content-Length: x' ],
	[ 'negative Content-Length', "$get HTTP/1.1\r\nHost: a\r\n"
		. 'Content-Length: -1' ],
	[ 'huge Content-Length', "$get HTTP/1.1\r\nHost: a\r\n"
		. 'Content-Length: 99999999999999999999' ],
	[ 'two Content-Lengths', "$get HTTP/1.1\r\nHost: a\r\n"
		. "Content-Length: 1\r\nContent-Length: 2" ],
	[ 'Content-Length and Transfer-Encoding', "$get HTTP/1.1\r\nHost: a\r\n"
		. "Content-Length: 1\r\nTransfer-Encoding: chunked" ],
	[ 'broken escape', "GET /v2/%zz HTTP/1.1\r\nHost: a" ],
	[ 'above the root', "GET /v2/../../x HTTP/1.1\r\nHost: a" ],
	[ 'malformed line', "GET /v2/ \0 HTTP/1.1\r\nHost: a" ],
	[ 'malformed version', "$get HTTP/x\r\nHost: a" ],
	[ 'long header', "$get HTTP/1.1\r\nHost: a\r\nX: " . 'x' x 5000 ],
	[ 'long headers', "$get HTTP/1.1\r\nHost: a\r\n"
		. join("\r\n", map { 'X: ' . 'x' x 1000 } 1 .. 20) ],
	[ 'escaped', "GET /v2/%00 HTTP/1.1\r\nHost: a" ],
	[ 'HTTP/1.0', "GET /v2/%00 HTTP/1.0" ],
	[ 'absolute', "GET http://a/v2/%00 HTTP/1.1\r\nHost: a" ],
	[ 'long URI', 'GET /v2/' . 'x' x 5000 . "/tags/list HTTP/1.1\r\nHost: a",
		'414 UNSUPPORTED' ],
	[ 'long query', "$get?" . 'x' x 5000 . " HTTP/1.1\r\nHost: a",
		'414 UNSUPPORTED' ],
	[ 'Transfer-Encoding of another kind', "$get HTTP/1.1\r\nHost: a\r\n"
		. 'Transfer-Encoding: gzip', '501 UNSUPPORTED' ],
	[ 'HTTP/3.0', "$get HTTP/3.0\r\nHost: a", '505 UNKNOWN' ],
	[ 'TRACE', "TRACE /v2/ HTTP/1.1\r\nHost: a", '405 UNSUPPORTED' ],
) {
	my ($name, $raw, $expected) = @$_;

	is(form(request(GET => '', port => port(8081),
		raw => "$raw\r\nConnection: close\r\n\r\n")),
		$expected // '400 UNSUPPORTED', "early, $name");
}

$r = request(GET => '', port => port(8081),
	raw => "GET /x%00 HTTP/1.1\r\nHost: a\r\n\r\n");
like($r->body, qr/<html>/, 'early, not of the registry');

is(form(request(GET => '/v2/', port => port(8443))), '400 UNSUPPORTED',
	'plain request to a port of TLS');

# kept connections

my $s = connection();

for ([ GET => '/v2/basic/manifests/x', 401 ], [ GET => '/v2/b/tags/list', 404 ],
	[ FOO => '/v2/', 405 ], [ PUT => '/v2/denied/manifests/x', 403 ],
	[ GET => '/v2/busy/manifests/x', 503 ],
	[ GET => '/v2/often/manifests/x', 429 ],
	[ PUT => "/v2/a/blobs/$layer", 405 ], [ GET => '/v2/', 200 ])
{
	my ($method, $path, $status) = @$_;

	is(request($method => $path, socket => $s,
		$method eq 'PUT' ? (body => 'x' x 70000) : ())->status,
		$status, "kept, $method $status");
}

is_deeply(tree(), $before, 'nothing is left of all that');
is(request(GET => '/v2/a/manifests/latest')->body, $image, 'and it goes on');

###############################################################################

# status and code, or what is wrong with the document

sub form {
	my ($r) = @_;

	return 'no answer' unless defined $r->status;

	my $type = $r->header('Content-Type') // '';
	my $errors = ($r->json // {})->{errors};

	return $r->status . " type $type" if $type ne 'application/json';
	return $r->status . ' length'
		if $r->header('Content-Length') != length $r->body;
	return $r->status . ' version'
		if ($r->header('Docker-Distribution-Api-Version') // '')
			ne 'registry/2.0';
	return $r->status . ' leftovers'
		if grep { defined $r->header($_) } qw/ ETag Last-Modified
			Accept-Ranges Content-Encoding /;
	return $r->status . ' ' . $r->body
		unless join(' ', keys %{$r->json // {}}) eq 'errors'
			&& ref $errors eq 'ARRAY' && @$errors
			&& !grep { !length $_->{message} || !length $_->{code}
				|| grep { !/^(?:code|message|detail)$/ }
				keys %$_ } @$errors;

	return $r->status . ' ' . $r->code;
}

sub error {
	return form(request(@_));
}

sub tree {
	my @names;
	find(sub { push @names, $File::Find::name }, $root);
	return [ sort @names ];
}

###############################################################################
