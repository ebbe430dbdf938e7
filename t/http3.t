#!/usr/bin/perl

# Pushes and pulls over HTTP/3, through a proxy (t/http3) that speaks it to
# nginx and HTTP/1.1 to us.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Registry;
use Clients;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http http_v3/)->has_daemon('openssl');
my $dir = $t->testdir();
my $build = "$FindBin::Bin/../build/http3";

{
	# any go will do
	local $ENV{PATH} = $Clients::PATH;
	local $Clients::TIMEOUT = 600;

	my ($status, $out) = run("$FindBin::Bin/http3/build", $build);

	plan(skip_all => 'no HTTP/3 client: ' . (split /\n/, $out)[-1])
		if $status != 0;
}

run('openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes',
	'-subj', '/CN=localhost', '-days', 2, '-keyout', "$dir/server.key",
	'-out', "$dir/server.crt");

$t->write_file_expand('nginx.conf', <<'EOF')->run()->plan(54);

%%TEST_GLOBALS%%

daemon off;
user root;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    error_log %%TESTDIR%%/error.log info;

    registry_store local { path %%TESTDIR%%/registry; }

    ssl_certificate      server.crt;
    ssl_certificate_key  server.key;

    client_max_body_size 1m;

    add_header X-Protocol $server_protocol always;

    server {
        listen       127.0.0.1:%%PORT_8443_UDP%% quic;
        server_name  localhost;

        location /v2/ {
            registry local;
            registry_push on;
            registry_delete on;
        }

        location /v2/threads/ {
            registry local;
            registry_push on;
            sendfile on;
            aio threads;
        }

        location /v2/closed/ {
            registry local;
        }

        location /v2/limited/ {
            registry local;
            registry_push on;
            registry_max_blob_size 1000;
        }
    }
}

EOF

$t->run_daemon("$build/proxy", port(8080), port(8443, udp => 1));
$t->waitforsocket('127.0.0.1:' . port(8080)) or die "no proxy\n";

###############################################################################

my $r = request(GET => '/v2/');
is($r->status . ' ' . $r->header('X-Protocol'), '200 HTTP/3.0', 'protocol');

# blobs, with and without a length, in one request and in several

for my $name ('a', 'threads/a') {
	for my $size (0, 1, 70_000, 5_000_000) {
		my $bytes = bytes($size);
		my $digest = sha256($bytes);
		my $case = "$name, $size bytes";

		push_blob($name, $bytes);
		is(pull($name, $digest), $digest, "$case, put");

		substr($bytes, -1) = 'y' if $size;
		$digest = sha256($bytes);

		my $uri = request(POST => "/v2/$name/blobs/uploads/")->location;
		$r = request(PATCH => $uri, body => [ unpack('(a30000)*',
			$bytes) ]);
		is($r->status, 202, "$case, streamed");
		is(request(PUT => $r->location . "?digest=$digest")->status,
			201, "$case, finished");
		is(pull($name, $digest), $digest, "$case, pulled");
	}
}

my $large = bytes(50 * 1024 * 1024);
my $digest = push_blob('a', $large);
is(pull('a', $digest), $digest, '50 MiB');

$r = request(GET => "/v2/a/blobs/$digest",
	headers => { Range => 'bytes=1000000-9999999' });
is($r->status, 206, 'range');
ok($r->body eq substr($large, 1000000, 9000000), 'range, bytes');
is(request(HEAD => "/v2/a/blobs/$digest")->header('Content-Length'),
	length $large, 'head');

# an image

my $image = push_image('b', 'latest', 'a layer');

for my $reference ('latest', sha256($image)) {
	$r = request(GET => "/v2/b/manifests/$reference");
	is($r->body, $image, "manifest by $reference");
	is($r->header('Docker-Content-Digest'), sha256($image),
		"manifest by $reference, digest");
}

is(push_manifest('b', sha256($image) . '?tag=x&tag=y', $image)->status, 201,
	'tags');
is_deeply(request(GET => '/v2/b/tags/list')->json->{tags},
	[ qw/ latest x y / ], 'list');
is(request(DELETE => '/v2/b/manifests/x')->status, 202, 'delete');

# errors, with a body on its way or without

is(brief(GET => '/v2/b/manifests/x'), '404 MANIFEST_UNKNOWN', 'no manifest');
is(brief(PUT => '/v2/closed/b/manifests/x', body => 'x' x 3_000_000),
	'405 UNSUPPORTED', 'not permitted');

my $uri = request(POST => '/v2/limited/b/blobs/uploads/')->location;

is(brief(PATCH => $uri, body => 'x' x 3_000_000), '413 SIZE_INVALID',
	'too large');
is(brief(PATCH => $uri, body => [ ('x' x 30_000) x 100 ]),
	'413 SIZE_INVALID', 'too large, streamed');

$uri = request(POST => '/v2/b/blobs/uploads/')->location;
$uri = request(PATCH => $uri, body => 'x' x 100_000)->location;

is(brief(PUT => "$uri?digest=$digest"), '400 DIGEST_INVALID', 'wrong digest');

# a client that goes away in the middle, and comes back

$uri = request(POST => '/v2/b/blobs/uploads/')->location;

my $s = send_request(PATCH => $uri, raw => "PATCH $uri HTTP/1.1\r\n"
	. "Host: localhost\r\nContent-Length: 1000000\r\n\r\n"
	. 'x' x 200_000);

wait_for(sub { stands($uri) >= 100_000 });
close $s;
wait_for(sub { request(PATCH => $uri, body => 'y')->status == 202 });

my $stands = stands($uri);
cmp_ok($stands, '>', 100_000, 'given up, and continued');

my $bytes = 'x' x ($stands - 1) . 'y';
$digest = sha256($bytes);
is(request(PUT => "$uri?digest=$digest")->status, 201, 'given up, finished');
is(pull('b', $digest), $digest, 'given up, pulled');

# many at once

my @uri = map { request(POST => '/v2/many/blobs/uploads/')->location } 1 .. 20;
my @many = map { bytes(100_000 + $_) } 1 .. 20;
my @s = map { send_request(PUT => "$uri[$_]?digest=" . sha256($many[$_]),
	body => $many[$_]) } 0 .. 19;

is(join(' ', map { response($_)->status } @s), join(' ', (201) x 20),
	'many at once');

@s = map { send_request(GET => '/v2/many/blobs/' . sha256($_)) } @many;
is(scalar(grep { response($s[$_])->body eq $many[$_] } 0 .. 19), 20,
	'many at once, pulled');

###############################################################################

# the digest of what is pulled

sub pull {
	my ($name, $digest) = @_;
	my $r = request(GET => "/v2/$name/blobs/$digest");

	return $r->status == 200 ? sha256($r->body) : $r->summary();
}

sub brief {
	my $r = request(@_);
	return join(' ', $r->status, $r->code // '');
}

# how many bytes an upload has on the disk

sub stands {
	my ($uri) = @_;
	my ($name, $id) = $uri =~ m!^/v2/(.*)/blobs/uploads/(.*)$!;

	return -s "$dir/registry/docker/registry/v2/repositories/$name"
		. "/_uploads/$id/data";
}

sub bytes {
	my ($n) = @_;
	my $piece = join('', map { pack('N', rand 2 ** 32) } 1 .. 4096);

	return substr($piece x (1 + $n / length $piece), 0, $n);
}

###############################################################################
