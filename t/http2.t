#!/usr/bin/perl

# Pushes and pulls over HTTP/2, with real clients: curl; h2load for many
# streams at once; nghttp for answers that come before the end of a body, which
# curl 7 loses, whatever the server.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use JSON::PP qw//;
use Test::Nginx;
use Test::Nginx::Registry;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http http_v2/)->has_daemon('curl')
	->has_daemon('h2load')->has_daemon('nghttp')
	->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;
user root;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    error_log %%TESTDIR%%/error.log info;

    registry_store local { path %%TESTDIR%%/registry; }

    client_max_body_size 1m;
    client_body_timeout 5s;

    server {
        listen       127.0.0.1:8080 http2;
        server_name  localhost;

        location /v2/ {
            registry local;
            registry_push on;
            registry_delete on;
        }

        location /v2/threads/ {
            registry local;
            registry_push on;
            aio threads;
        }

        location /v2/small/ {
            registry local;
            registry_push on;
            client_body_buffer_size 16k;
        }

        location /v2/limited/ {
            registry local;
            registry_push on;
            registry_max_blob_size 1000;
        }
    }
}

EOF

$t->run()->plan(86);

###############################################################################

my $dir = $t->testdir();
my $root = "$dir/registry/docker/registry/v2";
my $none = '00000000-0000-4000-8000-000000000000';
my $url = 'http://127.0.0.1:' . port(8080);

my $large = join('', map { pack('N', $_ * 2654435761 % 2**32) } 1 .. 1250000);

my %bodies = (none => '', byte => 'x', small => 'y' x 1000,
	page => 'p' x 16384, large => $large);

$t->write_file($_, $bodies{$_}) for keys %bodies;
$t->write_file('head', substr($large, 0, 3000000))
	->write_file('tail', substr($large, 3000000));

is(curl('/v2/')->{version}, 2, 'version');

for my $name (qw/ a threads small /) {

	for my $file (sort keys %bodies) {
		my $digest = sha256($bodies{$file});

		my $r = curl("/v2/$name/x/blobs/uploads/?digest=$digest",
			'-X', 'POST', '--data-binary', "\@$dir/$file");
		is($r->{status}, 201, "post, $name, $file");
		ok(curl("/v2/$name/x/blobs/$digest")->{body} eq $bodies{$file},
			"post, $name, $file, bytes");
	}

	# PATCH and PUT; of unknown length, which is HTTP/2's way of chunks

	my $digest = sha256($large);
	my $uri = session("$name/y");

	my $r = curl($uri, '-X', 'PATCH', '-H', 'Content-Length:',
		'-T', "$dir/head");
	is($r->{status}, 202, "patch, $name");
	is($r->{headers}{range}, '0-2999999', "patch, $name, range");

	$r = nghttp($uri, PATCH => 'tail', '-H', 'Content-Range: 0-1999999');
	is("$r->{status} $r->{headers}{range}", '416 0-2999999',
		"out of order, $name");

	is(curl("$uri?digest=$digest", '-X', 'PUT', '-H',
		'Content-Range: 3000000-4999999', '--data-binary',
		"\@$dir/tail")->{status}, 201, "put, $name");
	ok(curl("/v2/$name/y/blobs/$digest")->{body} eq $large,
		"put, $name, bytes");

	is(put(session("$name/z") . "?digest=$digest", 'large')->{status}, 201,
		"put of all, $name");
	is(sessions("$name/$_"), 0, "no session left, $name/$_")
		for qw/ x y z /;
}

# manifests, and what they are asked with

my $manifest = to_json({ schemaVersion => 2, mediaType => $MANIFEST,
	layers => [], annotations => { x => 'x' x 100000 } });
$t->write_file('manifest', $manifest);

is(put('/v2/a/manifests/latest', 'manifest', '-H',
	"Content-Type: $MANIFEST")->{status}, 201, 'manifest');

my $r = curl('/v2/a/manifests/latest');
is($r->{body}, $manifest, 'manifest bytes');
is($r->{headers}{'docker-content-digest'}, sha256($manifest),
	'manifest digest');
is(curl('/v2/a/manifests/latest', '-I')->{headers}{'content-length'},
	length $manifest, 'manifest head');
is(curl('/v2/a/manifests/latest', '-H', 'If-None-Match: "'
	. sha256($manifest) . '"')->{status}, 304, 'manifest not modified');

$r = curl('/v2/a/x/blobs/' . sha256($large), '-r', '100-199');
is($r->{status}, 206, 'range');
is($r->{body}, substr($large, 100, 100), 'range bytes');

# errors

is(code(put(session('a') . '?digest=' . sha256('x'), 'large')),
	'400 DIGEST_INVALID', 'wrong digest');
is(code(nghttp("/v2/a/blobs/uploads/$none?digest=" . sha256('x'),
	PUT => 'large')), '404 BLOB_UPLOAD_UNKNOWN', 'no session');
is(code(nghttp(session('limited') . '?digest=' . sha256($large),
	PUT => 'large')), '413 SIZE_INVALID', 'too large');
is(code(nghttp(session('limited') . '?digest=' . sha256($large),
	PUT => 'large', '--no-content-length')), '413 SIZE_INVALID',
	'too large, of unknown length');
is(code(nghttp('/v2/a/manifests/latest', PUT => 'large')), '413 SIZE_INVALID',
	'manifest too large');
is(code(nghttp('/v2/a/manifests/latest', PUT => 'large',
	'--no-content-length')), '413 SIZE_INVALID',
	'manifest too large, of unknown length');
is(code(nghttp("/v2/a/blobs/$none", PATCH => 'large')), '400 DIGEST_INVALID',
	'bad digest');
is(code(curl('/v2/A/tags/list')), '400 NAME_INVALID', 'bad name');
is(code(curl('/v2/a/tags/list', '-X', 'OPTIONS')), '405 UNSUPPORTED',
	'method');
is(code(nghttp('/v2/a/manifests/none', GET => 'small')),
	'404 MANIFEST_UNKNOWN', 'get with a body');

# a client that goes away in the middle

my $uri = session('cut');
curl($uri, '-X', 'PATCH', '-T', "$dir/large", '--limit-rate', '1M',
	'--max-time', '1');
my $at = until_true(sub {
	my $r = curl($uri, '-X', 'PATCH', '-d', '');
	$r->{status} == 202 && $r->{headers}{range};
});
like($at, qr/^0-[1-9]\d{4,}$/, 'cut off');

my ($end) = $at =~ /-(\d+)/;
$t->write_file('rest', substr($large, $end + 1));
is(put("$uri?digest=" . sha256($large), 'rest')->{status}, 201,
	'cut off, finished');
ok(curl('/v2/cut/blobs/' . sha256($large))->{body} eq $large,
	'cut off, bytes');

# many at once on one connection: the same blob, and reads beside it

is(load(200, 20, "/v2/many/blobs/uploads/?digest=" . sha256('y' x 1000),
	'-d', "$dir/small"), '200 0', 'many posts of a small blob');
is(load(20, 10, "/v2/many/blobs/uploads/?digest=" . sha256($large),
	'-d', "$dir/large"), '20 0', 'many posts of a large blob');
is(load(2000, 50, '/v2/a/manifests/latest'), '2000 0', 'many manifests');
is(load(40, 20, '/v2/a/x/blobs/' . sha256($large)), '40 0', 'many blobs');
ok(curl('/v2/many/blobs/' . sha256($large))->{body} eq $large,
	'many, bytes');
is(sessions('many'), 0, 'many, no session left');

# a window that is opened slowly

$r = curl('/v2/a/x/blobs/' . sha256($large), '--limit-rate', '8M');
ok($r->{body} eq $large, 'slow reader');

is_deeply([ glob("$root/repositories/_tmp/.??*") ], [], 'nothing temporary');

###############################################################################

# status, headers and body

sub curl {
	my ($path, @options) = @_;

	unlink "$dir/out";

	open(my $fh, '-|', 'curl', '-q', '-s', '--http2-prior-knowledge',
		'--noproxy', '*', '--max-time', 30, '-D', "$dir/headers",
		'-o', "$dir/out", '-w', '%{http_version} %{http_code}',
		@options, "$url$path") or die "can't run curl: $!";
	my ($version, $status) = split(/ /, <$fh> // '');
	close $fh;

	my %headers = map { /^([^:]+):\s*(.*?)\r?$/ ? (lc $1, $2) : () }
		split(/\n/, slurp("$dir/headers"));

	return { version => $version, status => $status,
		headers => \%headers, body => slurp("$dir/out") };
}

sub put {
	my ($path, $file, @options) = @_;
	return curl($path, '-X', 'PUT', '--data-binary', "\@$dir/$file",
		@options);
}

sub nghttp {
	my ($path, $method, $file, @options) = @_;

	open(my $fh, '-|', 'nghttp', '-v', '--timeout', 30, '-H',
		":method: $method", '-d', "$dir/$file", @options, "$url$path")
		or die "can't run nghttp: $!";
	my $out = join('', <$fh>);
	close $fh;

	my %headers = $out =~ /recv \(stream_id=\d+\) (:?[^:\n]+): (.*)/g;
	my ($body) = $out =~ /^(\{"errors".*?\})\[/m;

	return { status => $headers{':status'}, headers => \%headers,
		body => $body // '' };
}

sub session {
	my ($name) = @_;
	return curl("/v2/$name/blobs/uploads/", '-X', 'POST')
		->{headers}{location} // die 'no session';
}

sub code {
	my ($r) = @_;
	my $json = eval { JSON::PP::decode_json($r->{body}) } // {};

	return "$r->{status} " . ($json->{errors}[0]{code} // '');
}

# how many of the requests were answered 2xx, and how many were not

sub load {
	my ($n, $streams, $path, @options) = @_;

	open(my $fh, '-|', 'h2load', '-n', $n, '-c', 2, '-m', $streams,
		@options, "$url$path") or die "can't run h2load: $!";
	my $out = join('', <$fh>);
	close $fh;

	my ($good) = $out =~ /status codes: (\d+) 2xx/;
	my ($bad) = $out =~ /(\d+) failed/;

	return "$good $bad";
}

sub until_true {
	my ($code) = @_;

	for (1 .. 200) {
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

sub slurp {
	my ($name) = @_;

	open(my $fh, '<', $name) or return '';
	local $/;

	return scalar <$fh> // '';
}

###############################################################################
