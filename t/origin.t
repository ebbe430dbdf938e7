#!/usr/bin/perl

# The other side of the tests of a proxy: the origin serves and takes pushes as
# a registry does, each fault is on the wire as the rule says, a real
# docker-registry takes the issuer's tokens and pulls through the origin.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::CA;
use Test::Nginx::DockerRegistry;
use Test::Nginx::Origin;
use Test::Nginx::Registry;
use Test::Nginx::Token;

use IO::Select;
use IO::Socket::SSL;
use MIME::Base64 qw/ encode_base64 /;
use Time::HiRes qw/ time /;

use Images;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/ socket_ssl /)->has_daemon('openssl')
	->has_daemon('docker-registry')->has_daemon('htpasswd')->plan(181);

my $o = Test::Nginx::Origin->new($t, port => 8081);

my $image = $o->image('library/alpine', 'latest',
	[ 'first', join('', map { chr($_ % 251) } 1 .. 300_000) ]);
my $blob = $image->{layers}[1];
my $bytes = $blob->{content};
my $uri = "/v2/library/alpine/blobs/$blob->{digest}";
my $tag = '/v2/library/alpine/manifests/latest';

###############################################################################

# what a registry does

my $r = get('/v2/');
is($r->status, 200, 'base');
is($r->header('Docker-Distribution-Api-Version'), 'registry/2.0', 'version');

$r = get($tag);
is($r->body, $image->{content}, 'manifest by tag');
is($r->header('Docker-Content-Digest'), $image->{digest}, 'its digest');
is($r->header('Content-Type'), $image->{type}, 'its type');
is(get("/v2/library/alpine/manifests/$image->{digest}")->body,
	$image->{content}, 'manifest by digest');
is(get($tag, headers => { 'If-None-Match' => qq{"$image->{digest}"} })->status,
	304, 'manifest not modified');

$r = of('HEAD', $tag);
is($r->header('Content-Length'), length $image->{content}, 'HEAD of manifest');

is(get("/v2/library/alpine/manifests/none")->code, 'MANIFEST_UNKNOWN',
	'unknown tag');
is(get($uri =~ s/alpine/other/r)->code, 'BLOB_UNKNOWN',
	'blob of another repository');

$r = get($uri);
ok($r->body eq $bytes, 'blob');
is($r->header('Accept-Ranges'), 'bytes', 'ranges');

for my $case ([ '10-19', 10, 10 ], [ '299990-', 299990, 10 ],
	[ '-5', 299995, 5 ], [ '299999-400000', 299999, 1 ])
{
	my ($range, $from, $length) = @$case;
	my $to = $from + $length - 1;

	$r = get($uri, headers => { Range => "bytes=$range" });

	is($r->status, 206, "range $range");
	is($r->header('Content-Range'), "bytes $from-$to/300000",
		"$range range");
	is($r->body, substr($bytes, $from, $length), "$range body");
}

$r = get($uri, headers => { Range => 'bytes=300000-' });
is($r->status, 416, 'range beyond the end');
is($r->header('Content-Range'), 'bytes */300000', 'size told');

$o->manifest('library/alpine', $_, $image) for 1 .. 4;
$o->set(page => 2);
$r = get('/v2/library/alpine/tags/list');
is("@{$r->json->{tags}}", '1 2', 'first page of tags');
$r = get($r->header('Link') =~ /<(.*)>;.*next/ && $1);
is("@{$r->json->{tags}}", '3 4', 'second page of tags');
$r = get($r->header('Link') =~ /<(.*)>;.*next/ && $1);
is("@{$r->json->{tags}}", 'latest', 'last page of tags');
is($r->header('Link'), undef, 'no page after it');

my $referrer = $o->image('library/alpine', undef, [], subject => $image);
$r = get("/v2/library/alpine/referrers/$image->{digest}");
is($r->json->{manifests}[0]{digest}, $referrer->{digest}, 'referrers');
$o->index('library/alpine', 'index', $image);
is(get('/v2/_catalog')->json->{repositories}[0], 'library/alpine', 'catalog');

# pushes

my $client = Images->new($o->port());
my $pushed = Images::image([ Images::blob('x' x 700_000) ]);

for my $how (qw/ put patch /) {
	is($client->push_image("pushed/$how", 'one', $pushed, $how), undef,
		"$how: image pushed");
	is(join(' ', $client->check("pushed/$how", 'one', $pushed->{digest})),
		'', "$how: image pulled");
}

is(of('POST', "/v2/pushed/mount/blobs/uploads/?from=pushed/put&mount="
	. $pushed->{blobs}[1]{digest})->status, 201, 'mount');
is($client->push_blob('pushed/put', { content => 'x',
	digest => sha256('y') }), "PUT: 400 "
	. '{"errors":[{"code":"DIGEST_INVALID","detail":null,'
	. '"message":"answered by the origin"}]}', 'wrong digest');
is($client->push_manifest('pushed/other', 'one', $pushed) =~ /_BLOB_UNKNOWN/,
	1, 'manifest without its blobs');
is(push_blob('pushed/chunked', 'one' . 'two', port => $o->port()),
	sha256('onetwo'), 'push in one');

$r = of('POST', '/v2/pushed/order/blobs/uploads/');
$r = of('PATCH', $r->location, body => [ 'some', 'chunks' ]);
is($r->header('Range'), '0-9', 'chunked upload');
$r = of('PATCH', $r->location, body => 'x',
	headers => { 'Content-Range' => '5-5' });
is($r->status, 416, 'chunk out of order');
is(get($r->location)->header('Range'), '0-9', 'upload as it was');
is(of('DELETE', $r->location)->status, 204, 'upload cancelled');

###############################################################################

# what it notes

$o->forget();
my $s = connection($o->port());

get($uri, socket => $s, headers => { 'User-Agent' => 'test',
	Range => 'bytes=9-' });
request(HEAD => $uri, socket => $s);
get($tag);

is($o->requests(), 3, 'all requests');
is($o->connections(), 2, 'connections');
is($o->bytes_sent(qr/blobs/), 299_991, 'bytes sent');

my ($noted) = $o->requests(qr/^GET .*blobs/);
is($noted->{path}, $uri, 'path noted');
is($noted->{status}, 206, 'status noted');
is($noted->{headers}{'user-agent'}, 'test', 'header noted');
is($noted->{peer}, '127.0.0.1:' . $s->sockport(), 'client noted');
is($noted->{complete}, 1, 'end noted');

###############################################################################

# faults in the head

$r = faulty({ status => 429, headers => { 'Retry-After' => 7,
	'RateLimit-Limit' => '100;w=21600' } });
is($r->status, 429, 'status');
is($r->code, 'TOOMANYREQUESTS', 'error document');
is($r->header('Retry-After'), 7, 'retry after');
is($r->header('RateLimit-Limit'), '100;w=21600', 'rate-limit header');

$r = faulty({ html => 1 });
is($r->header('Content-Type'), 'text/html', 'HTML');
like($r->body, qr/^<html>/, 'HTML document');

$r = faulty({ headers => { 'Docker-Content-Digest' => sha256('x') } });
is($r->header('Docker-Content-Digest'), sha256('x'), 'wrong digest');
$r = faulty({ headers => { 'docker-content-digest' => undef } });
is($r->header('Docker-Content-Digest'), undef, 'no digest');
$r = faulty({ headers => { 'X-Large' => 'x' x 100_000 } });
is(length $r->header('X-Large'), 100_000, 'large header');
$r = faulty({ headers => { Link => [ 'a', 'b' ] } });
is(join(' ', $r->headers('Link')), 'a b', 'header twice');

$r = faulty({ headers => { 'Content-Length' => 300_001 } });
is($r->complete, 0, 'length too large');
is(length $r->body, 300_000, 'length too large, body');
$r = faulty({ headers => { 'Content-Length' => 10 } });
is(length $r->body, 10, 'length too small');
$r = faulty({ headers => { 'Content-Length' => undef } });
ok($r->body eq $bytes, 'no length');
$r = faulty({ version => 0 });
ok($r->body eq $bytes, 'HTTP/1.0');

$r = faulty({ redirect => 'http://169.254.169.254/latest/meta-data' });
is($r->status, 307, 'redirect');
is($r->header('Location'), 'http://169.254.169.254/latest/meta-data',
	'redirect to a given URL');
$r = faulty({ redirect => 'http://127.0.0.1:1' });
is($r->header('Location'), "http://127.0.0.1:1$uri", 'to another server');
$o->rule({ redirect => 'endless' });
is($r->location, $uri . ($_ ? "?hop=$_" : ''), "endless redirect $_"),
	$r = get($r->location) for 0 .. 2;
$o->clear();

$r = faulty({ interim => [ 100, 103 ] });
is(join(' ', $r->statuses), '100 103 200', 'interim answers');

$o->rule({ endless => 1 });
$s = send_request(GET => $uri, port => $o->port());
my $head = '';
sysread($s, $head, 65536, length $head) while length $head < 1_000_000;
unlike($head, qr/\r\n\r\n/, 'endless head');
close $s;
$o->clear();

$o->rule({ raw => "HTTP/9.9 \xff\n" });
$s = send_request(GET => $uri, port => $o->port());
is(join('', <$s>), "HTTP/9.9 \xff\n", 'raw answer');
$o->clear();

# in the body

$r = faulty({ chunked => 1 });
ok($r->body eq $bytes, 'chunked');
is($r->header('Content-Length'), undef, 'chunked, no length');
$r = faulty({ chunked => 1000 });
ok($r->body eq $bytes, 'small chunks');
$r = faulty({ last_chunk => '' });
is($r->complete, 0, 'no last chunk');
$o->rule({ last_chunk => "zz\r\n" });
$s = send_request(GET => $uri, port => $o->port());
like(join('', <$s>), qr/\r\nzz\r\n$/, 'malformed chunk');
$o->clear();

for my $case ([ 1000, 1000 ], [ 0, 0 ], [ -1, 299_999 ]) {
	my ($at, $length) = @$case;

	$r = faulty({ close => $at });
	is($r->complete, 0, "closed at $at");
	is(length $r->body, $length, "length when closed at $at");
}

for my $at (0, 1000, -1) {
	$r = faulty({ flip => $at });
	my $expected = $bytes;
	substr($expected, $at, 1) ^= "\x01";
	ok($r->body eq $expected, "bit flipped at $at");
}

$o->rule({ reset => 1000 });
$s = send_request(GET => $uri, port => $o->port());
1 while sysread($s, my $ignored, 65536);
ok($!{ECONNRESET}, 'connection reset');
$o->clear();

$r = faulty({ piece => 1, path => qr/manifests/ }, $tag);
is($r->body, $image->{content}, 'byte by byte');

# in time

my $start = time();
$r = faulty({ rate => 1_000_000 });
ok($r->body eq $bytes, 'limited rate');
cmp_ok(time() - $start, '>', 0.28, 'as long as it takes');

$o->set(rate => 1_000_000);
$start = time();
my @s = map { send_request(GET => $uri, port => $o->port()) } 1 .. 2;
ok($_->body eq $bytes, 'limited line') for map { response($_) } @s;
cmp_ok(time() - $start, '>', 0.56, 'twice as long for two');
$o->set(rate => undef);

$start = time();
faulty({ delay => 0.2 });
cmp_ok(time() - $start, '>', 0.2, 'delayed');

$o->rule({ stall => 1000 });
$s = send_request(GET => $uri, port => $o->port());
my $in = '';
sysread($s, $in, 65536, length $in) while IO::Select->new($s)->can_read(0.2);
is(length($in =~ s/.*?\r\n\r\n//sr), 1000, 'stalled');
$o->release();
ok(response($s, in => $in)->body eq $bytes, 'and released');
$o->clear();

$o->rule({ hold => 1 });
$s = send_request(GET => "$uri?held", port => $o->port());
is($o->await(qr/held/), 1, 'request arrived');
ok(!IO::Select->new($s)->can_read(0.2), 'held');
$o->release();
ok(response($s)->body eq $bytes, 'and released');
$o->clear();

# of connections

is(faulty({ drop => 1 })->status, undef, 'closed without an answer');
is(faulty({ keepalive => 0 })->header('Connection'), 'close', 'not kept');

$s = connection($o->port());
$o->rule({ skip => 1, times => 1, drop => 1 });
is(get($tag, socket => $s)->status, 200, 'kept connection');
is(get($tag, socket => $s)->status, undef, 'closed at the next request');
is(get($tag)->status, 200, 'a new one');
$o->clear();

$o->set(keepalive => 0);
is(get($tag, socket => connection($o->port()))->header('Connection'), 'close',
	'none is kept');
$o->set(keepalive => 1);

$o->rule({ early => 1, status => 401 });
$s = connection($o->port());
$s->print("PUT /v2/a/b HTTP/1.1\r\nContent-Length: 1000000\r\n\r\npart");
is(response($s)->status, 401, 'answer before the body');
$o->clear();

$r = of('PUT', '/v2/a/manifests/b', body => '{}',
	headers => { Expect => '100-continue' });
is(join(' ', $r->statuses), '100 201', '100-continue');

ok(!eval { $o->rule({ rates => 1 }); 1 }, 'unknown rule');

# which requests

$o->rule({ method => 'HEAD', status => 404 },
	{ path => qr/blobs/, times => 2, status => 503 });
is(of('HEAD', $tag)->status, 404, 'rule for HEAD');
is(get($tag)->status, 200, 'not for GET');
is(get($uri)->status, 503, 'first time') for 1 .. 2;
is(get($uri)->status, 200, 'last time');
$o->clear();

###############################################################################

# many clients, and no descriptor of the test is held

@s = map { connection($o->port()) } 1 .. 150;
send_request(GET => $uri, socket => $_) for @s;
is(scalar(grep { response($_)->body eq $bytes } @s), 150, '150 clients');

# the process

$o->stop();
ok(!IO::Socket::INET->new(PeerAddr => '127.0.0.1:' . $o->port()), 'stopped');
$o->start();
is(get($tag)->status, 200, 'started again');

$o->forget();
$o->rule({ exit => 1000 });
$r = get($uri);
is(length $r->body, 1000, 'killed at a byte');
is($o->bytes_sent(), 1000, 'and known afterwards');
$o->wait(5);
$o->start();
is(get($uri)->complete, 1, 'started without the rule');

$o->freeze();
$s = send_request(GET => $tag, port => $o->port());
ok(!IO::Select->new($s)->can_read(0.2), 'frozen');
$o->thaw();
is(response($s)->status, 200, 'thawed');

$o->forget();
$o->deaf();
$s = IO::Socket::INET->new(PeerAddr => '127.0.0.1:' . $o->port(),
	Blocking => 0);
ok(!IO::Select->new($s)->can_write(0.2), 'not connected');
$o->deaf(0);
ok(IO::Select->new($s)->can_write(5), 'connected at last');
$s->blocking(1);
is(get($tag, socket => $s)->status, 200, 'and served');
is($o->connections(), 1, 'one connection seen');

my $peer = Test::Nginx::Origin->new($t, port => 8082, store => $o);
ok(get($uri, port => $peer->port())->body eq $bytes, 'a second one like it');

###############################################################################

# TLS

my $ca = Test::Nginx::CA->new($t);
my $stranger = Test::Nginx::CA->new($t, 'stranger');
my $secure = Test::Nginx::Origin->new($t, port => 8443, store => $o,
	host => 'registry.test', ssl => $ca->certificate('registry.test'));

like($secure->url(), qr!^https://registry.test:\d+$!, 'URL');
ok(secure_get($uri)->body eq $bytes, 'TLS');
is(($secure->requests())[0]{sni}, 'registry.test', 'SNI noted');
is(secure_get($uri, SSL_ca_file => $stranger->file()), undef, 'wrong CA');
is(secure_get($uri, SSL_verifycn_name => 'other.test'), undef, 'wrong name');

$secure->set(ssl => $ca->expired('registry.test'));
is(secure_get($uri), undef, 'expired');
like($IO::Socket::SSL::SSL_ERROR, qr/verify failed/, 'and therefore refused');

$secure->set(ssl => { %{$ca->certificate('registry.test')},
	client_ca => $ca->file() });
my $mine = $ca->certificate('client');
ok(secure_get($uri, SSL_cert_file => $mine->{cert},
	SSL_key_file => $mine->{key})->body eq $bytes, 'client certificate');
like(($secure->requests())[-1]{client}, qr/CN=client/, 'which is noted');
is(eval { secure_get($uri)->status }, undef, 'none');

$secure->set(ssl => $ca->certificate('registry.test'));
$secure->rule({ close => 1000 });
is(length secure_get($uri)->body, 1000, 'closed in TLS');

###############################################################################

# credentials

$o->set(basic => 'user:pass:word');
$r = get($tag);
is($r->status, 401, 'no credentials');
is($r->header('WWW-Authenticate'), 'Basic realm="origin"', 'challenge');
is(get($tag, headers => { basic('user:pass:word') })->status, 200,
	'credentials');
is(get($tag, headers => { basic('user:wrong') })->status, 401, 'wrong ones');

my %issuer = (port => 8083, users => {
	alice => { password => 'secret', allow => {
		'team/*' => 'pull,push', 'library/*' => '*' } },
	bob => { password => 'secret', allow => { 'team/b' => 'pull' } } });

my $token = Test::Nginx::Token->new($t, %issuer);

my $guarded = Test::Nginx::Origin->new($t, port => 8084, store => $o,
	token => $token);
my $registry = Test::Nginx::DockerRegistry->new($t, port => 8085,
	token => $token);

$r = get($tag, port => $guarded->port());
is($r->header('WWW-Authenticate'), 'Bearer realm="' . $token->url() . '/token"'
	. ',service="registry.test",scope="repository:library/alpine:pull"',
	'challenge for a token');
is(get($tag, port => $guarded->port(),
	headers => { bearer('library/alpine:pull') })->status, 200,
	'anonymous token');
is(get($tag, port => $guarded->port(),
	headers => { bearer('library/other:pull') })->status, 401,
	'token for something else');

# the same of both

for my $registry ($guarded, $registry) {
	my $kind = ref($registry) =~ s/.*:://r;
	my @port = (port => $registry->port());
	my $push = { bearer('team/a:pull,push', 'alice:secret') };

	is(push_blob('team/a', 'content', @port, headers => $push),
		sha256('content'), "$kind: blob pushed with a token");
	is(push_manifest('team/a', 'latest', { schemaVersion => 2,
		mediaType => $INDEX, manifests => [] }, @port,
		headers => $push)->status, 201, "$kind: manifest pushed");

	for my $case ([ 401 ], [ 200, 'team/a:pull' ],
		[ 200, 'team/a:pull', 'alice:secret' ],
		[ 401, 'team/a:pull', 'bob:secret' ], [ 401, 'other:pull' ])
	{
		my ($status, @scope) = @$case;

		is(get('/v2/team/a/manifests/latest', @port,
			headers => { Accept => $INDEX,
				@scope ? bearer(@scope) : () })->status,
			$status, "$kind: pull: @scope");
	}

	is(of('POST', '/v2/team/a/blobs/uploads/', @port,
		headers => { bearer('team/a:pull,push') })->status, 401,
		"$kind: no push for anybody");

	for my $skew (-400, 400) {
		$token->set(skew => $skew);
		is(get('/v2/team/a/manifests/latest', @port,
			headers => { bearer('team/a:pull') })->status, 401,
			"$kind: clock of the issuer: $skew");
	}

	$token->set(skew => 0);
}

is(token('team/a:pull', 'alice:wrong')->status, 401, 'wrong password');
$token->set(anonymous => undef);
is(token('team/a:pull')->status, 401, 'nothing for anybody');
is($token->requests(qr/scope=repository:team/) > 10, 1, 'counted');

$token->set(anonymous => { '*' => 'pull' }, field => 'access_token',
	expires_in => undef);
is(join(' ', sort keys %{token('team/a:pull')->json}), 'access_token',
	'another field, no expiry');
$token->set(field => 'both', expires_in => 5);
is(join(' ', sort keys %{token('team/a:pull')->json}),
	'access_token expires_in token', 'both fields');

$token->set(opaque => 1, field => 'token');
my $opaque = { bearer('library/alpine:pull') };
is(get($tag, port => $guarded->port(), headers => $opaque)->status, 200,
	'opaque token');
$token->revoke();
is(get($tag, port => $guarded->port(), headers => $opaque)->status, 401,
	'revoked token');

# the other kinds of keys and of headers

for my $case ([ 'RS256', 'kid' ], [ 'ES256', 'x5c' ]) {
	my ($algorithm, $header) = @$case;

	$token->stop();
	$registry->stop();
	$token = Test::Nginx::Token->new($t, %issuer,
		algorithm => $algorithm, header => $header);
	$registry = Test::Nginx::DockerRegistry->new($t, port => 8085,
		token => $token);

	is(get('/v2/team/a/manifests/latest', port => $registry->port(),
		headers => { Accept => $INDEX, bearer('team/a:pull') })
		->status, 200, "$algorithm and $header");
}

###############################################################################

# a real docker-registry as client of the origin: TLS, tokens, a password of
# its own

$secure->clear();
$secure->set(bearer => $token->bearer(), host => '127.0.0.1',
	ssl => $ca->certificate('127.0.0.1'));
$secure->forget();

my $mirror = Test::Nginx::DockerRegistry->new($t, port => 8086,
	basic => 'me:mine', ssl => $ca->certificate('registry.test'),
	env => { SSL_CERT_FILE => $ca->file() },
	proxy => { remoteurl => $secure->url(), username => 'alice',
		password => 'secret' });

my @mirror = (port => $mirror->port());

is(secure_get($uri, @mirror)->status, 401, 'mirror: no password');
$r = secure_get($uri, @mirror, headers => { basic('me:mine') });
ok($r->body eq $bytes, 'mirror: pulled');
cmp_ok($secure->bytes_sent(qr/^GET .*blobs/), '>=', 300_000,
	'mirror: out of the origin');
ok(scalar $token->requests(qr/account=alice/), 'mirror: with a token');

###############################################################################

sub of {
	my ($method, $path, %opts) = @_;
	return request($method, $path, port => $o->port(), %opts);
}

sub get {
	return of('GET', @_);
}

sub faulty {
	my ($rule, $path) = @_;

	$o->rule($rule);
	my $r = get($path // $uri);
	$o->clear();

	return $r;
}

sub secure_get {
	my ($path, %opts) = @_;

	my $s = IO::Socket::SSL->new(
		PeerAddr => '127.0.0.1:' . ($opts{port} // $secure->port()),
		SSL_hostname => 'registry.test', SSL_ca_file => $ca->file(),
		SSL_verifycn_name => 'registry.test',
		SSL_verifycn_scheme => 'http', %opts) or return undef;

	my $fields = join('', map { "$_: $opts{headers}{$_}\r\n" }
		keys %{$opts{headers} // {}});

	$s->print("GET $path HTTP/1.1\r\nHost: registry.test\r\n$fields\r\n");

	return response($s);
}

sub basic {
	return (Authorization => 'Basic ' . encode_base64($_[0], ''));
}

sub token {
	my ($scope, $credentials) = @_;

	return request(GET => '/token?service=registry.test'
		. "&scope=repository:$scope", port => $token->port(),
		headers => { $credentials ? basic($credentials) : () });
}

sub bearer {
	return (Authorization => 'Bearer ' . token(@_)->json->{token});
}

###############################################################################
