#!/usr/bin/perl

# The outbound client: requests and answers as they are on the wire, kept
# connections, backpressure, failures, and being freed at any time.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Digest::SHA qw/ sha256_hex /;
use Test::Nginx;
use Test::Nginx::Call;
use Test::Nginx::Registry;
use Time::HiRes qw/ sleep time /;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http/)->plan(101);

$t->write_file_expand('nginx.conf', <<'EOF' =~ s/CALL_MODULE/call_module($t)/er);

%%TEST_GLOBALS%%
CALL_MODULE

daemon off;
worker_processes 1;
worker_shutdown_timeout 5s;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    error_log %%TESTDIR%%/error.log info;

    client_max_body_size 0;
    keepalive_requests 100000;

    registry_client one target=http://127.0.0.1:8081
                    target=http://127.0.0.1:8082 keepalive=2
                    first_timeout=1s read_timeout=1s send_timeout=1s;
    registry_client none target=http://127.0.0.1:8081 keepalive=0;
    registry_client short target=http://127.0.0.1:8081
                    keepalive_timeout=100ms;
    registry_client self target=http://127.0.0.1:8080;
    registry_client deaf target=http://127.0.0.1:8083 connect_timeout=500ms;
    registry_client patient target=http://127.0.0.1:8081 read_timeout=60s
                    first_timeout=60s send_timeout=60s;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location / {
            registry_call one http://127.0.0.1:%%PORT_8081%%$request_uri;
        }

        location /none/ {
            registry_call none http://127.0.0.1:%%PORT_8081%%$request_uri;
        }

        location /short/ {
            registry_call short http://127.0.0.1:%%PORT_8081%%$request_uri;
        }

        location /deaf/ {
            registry_call deaf http://127.0.0.1:%%PORT_8083%%$request_uri;
        }

        location /patient/ {
            registry_call patient http://127.0.0.1:%%PORT_8081%%$request_uri;
        }

        # head and body in one piece, and which connection it is

        location /number {
            return 404 $connection;
        }

        location /self {
            registry_call self http://127.0.0.1:%%PORT_8080%%/number;
        }

        location /refused/ {
            registry_call one http://127.0.0.1:%%PORT_8082%%$request_uri;
        }
    }
}

EOF

my $s = Test::Nginx::Call::Server->new($t, port => 8081);
my $deaf = Test::Nginx::Call::Server->new($t, port => 8083);
my $port = port(8081);

$t->run();

###############################################################################

# the request

my $r = call('/3?a=b');
is($r->status, 200, 'status');
ok($r->body eq pattern(3), 'body');
is($r->header('X-Peer'), "127.0.0.1:$port", 'peer');

my ($seen) = $s->requests();
is($seen->{method} . ' ' . $seen->{path}, 'GET /3?a=b', 'request line');
is($seen->{headers}{host}, "127.0.0.1:$port", 'host');
like($seen->{headers}{'user-agent'}, qr!^nginx/\S+ ngx_http_registry$!,
	'user agent');
is($seen->{headers}{connection}, undef, 'connection');
is($seen->{headers}{'content-length'}, undef, 'no length without a body');

call('/3', method => 'POST', body => '');
is(($s->requests(qr/POST/))[0]{headers}{'content-length'}, '0',
	'a length where a body is expected');

call('/3?header=a%20b%09c');
is(($s->requests(qr/header/))[0]{headers}{'x-test'}, "a b\tc", 'a header');

is(call("/3?header=a%$_")->status, 400, "no %$_ in a header")
	for qw/ 0a 0d 00 7f /;

# bodies

ok(call("/$_")->body eq pattern($_), "$_ bytes") for 0, 1, 65536, 3_000_000;

for my $rule ({ chunked => 1 }, { chunked => 7 }, { chunked => 70000 },
	{ headers => { 'Content-Length' => undef } }, { version => 0 },
	{ piece => 100 }, { interim => [ 100, 103, 102 ] })
{
	my ($name) = map { "$_ " . (ref $rule->{$_} ? '' : $rule->{$_}) }
		keys %$rule;

	$s->rule($rule);
	ok(call('/20000')->body eq pattern(20000), $name);
	$s->clear();
}

is(call('/300', method => 'HEAD')->status, 200, 'head');

$s->rule({ status => 204 });
is(call('/300')->status, 204, 'no content');
$s->clear();

$s->rule({ status => 304, headers => { 'Content-Length' => 300 } });
is(call('/300')->status, 304, 'not modified, with a length');
$s->clear();

is(call('/300')->status, 200, 'after it');

# bodies of requests

for my $size (1, 65536, 1_000_000, 5_000_000) {
	my $body = pattern($size);

	$r = call('/3', method => 'PUT', body => $body);
	is($r->header('X-Size'), $size, "put $size bytes");
	is($r->header('X-Digest'), sha256_hex($body), "put $size bytes, digest");

	$r = call('/3', method => 'PATCH', body => [ unpack('(a70000)*', $body) ]);
	is($r->header('X-Digest'), sha256_hex($body), "patch $size bytes, chunked");
}

is(call('/3', method => 'PATCH', body => [ '' ])->header('X-Size'), 0,
	'an empty chunked body');

# the answer comes before the body is read

$s->rule({ early => 1, status => 413 });
is(call('/3', method => 'PUT', body => pattern(5_000_000))->status, 413,
	'an early answer');
$s->clear();

###############################################################################

# connections are kept

is(connections(sub { call('/3') for 1 .. 10 }), 0, 'kept');
is(connections(sub { call('/3', method => 'HEAD') for 1 .. 10 }), 0,
	'kept after head');
is(connections(sub { call('/none/3') for 1 .. 3 }), 3, 'not kept');
is(connections(sub { call('/3', method => 'PUT', body => 'a') for 1 .. 3 }),
	3, 'not used for a body');
is(connections(sub { call('/3') for 1 .. 3 }), 0, 'but for others');

$s->rule({ chunked => 100 });
is(connections(sub { call('/1000') for 1 .. 3 }), 0, 'kept after chunks');
$s->clear();

$s->rule({ keepalive => 0 });
cmp_ok(connections(sub { call('/3') for 1 .. 6 }), '>=', 4,
	'not kept if it closes');
$s->clear();

$s->rule({ body => 'abcdef', headers => { 'Content-Length' => 3 } });
is(call('/3')->body, 'abc', 'more than its length');
is(connections(sub { call('/3') }), 1, 'not kept after it');
$s->clear();

# and when a call is freed, if all that is left of its answer has come

call('/3');
is(connections(sub { call('/3?free=header', method => 'HEAD') for 1 .. 3;
	call('/3') }), 0, 'kept if freed at the head');
my $number = call('/self')->body;
call('/self?free=header');
is(call('/self')->body, $number, 'kept if freed with a body that is there');
is(connections(sub { call('/3000000?free=header'); call('/3') }), 1,
	'not kept if freed with a body that is not');

# no more than are to be kept

$s->rule({ delay => 0.2 });
my @sockets = map { send_request(GET => '/3') } 1 .. 5;
response($_) for @sockets;
$s->clear();
is(connections(sub {
	$s->rule({ delay => 0.2 });
	my @s = map { send_request(GET => '/3') } 1 .. 5;
	response($_) for @s;
	$s->clear();
}), 3, 'two are kept');

call('/short/3');
ok(wait_for(sub { established() <= 2 }), 'closed when it was idle for long');

# the server closes one, or resets it, and may have restarted

for my $how (qw/ close reset /) {
	call('/3');
	$s->rule({ drop => $how, times => 1 });
	is(call('/3')->status, 200, "once more after a kept one is gone, $how");
	$s->clear();
}

call('/3');
$s->stop()->start();
is(call('/3')->status, 200, 'after a restart');

$s->rule({ drop => 'close' });
like(call('/3')->header('X-Error'), qr/the connection failed, closed before/,
	'but not for ever');
$s->clear();

###############################################################################

# failures

error('/refused/3', qr/^the connection failed \(111\)$/, 'refused');

$deaf->deaf();
error('/deaf/3', qr/^timed out, while connecting$/, 'connect timeout');
$deaf->deaf(0);

$s->rule({ hold => 1 });
error('/3', qr/^timed out, while waiting for the answer$/, 'first byte');
$s->clear();

$s->rule({ stall => 1000 });
$r = call('/2000');
ok($r->body eq pattern(1000), 'stalled');
ok(!$r->complete, 'stalled, not complete');
$s->clear();

for my $how (qw/ close reset /) {
	for my $chunked (0, 100) {
		$s->rule({ $how => 1000, chunked => $chunked });
		$r = call('/2000');
		ok($r->body eq pattern(1000), "$how, chunked $chunked");
		ok(!$r->complete, "$how, chunked $chunked, not complete");
		$s->clear();
	}
}

raw("HTTP/1.1 200 OK\r\nContent-Le", qr/ended too early, in the head$/,
	'in the head');
raw("HTTP/2.0 200 OK\r\n\r\n", qr/not valid, the head is not supported$/,
	'HTTP/2');
raw("HTTP/1.1 101 Switching Protocols\r\n\r\n", qr/the head is not supported$/,
	'an upgrade');
raw("SSH-2.0-OpenSSH_9.2\r\n\r\n", qr/not valid, the head is not valid$/,
	'not HTTP');
raw("HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
	qr/the head is not valid$/, 'two lengths');
raw("HTTP/1.1 200 OK\r\n" . "X: y\r\n" x 101 . "\r\n",
	qr/the head is not valid$/, '101 fields');
raw("HTTP/1.1 200 OK\r\nX: " . 'y' x 33000 . "\r\n\r\n",
	qr/not valid, the head is too large$/, 'a large field');
raw("HTTP/1.1 100 Continue\r\n\r\n" x 2000, qr/the head is too large$/,
	'many interim answers');

$s->rule({ endless => 1 });
error('/3', qr/not valid, the head is too large$/, 'endless');
$s->clear();

$s->rule({ raw => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	. "3\r\nabc\r\nxyz\r\n" });
$r = call('/3');
is($r->status, 200, 'broken chunks');
ok(!$r->complete, 'broken chunks, not complete');
$s->clear();

# a server that does not read the request

$s->rule({ early => 1, hold => 1 });
my $started = time();
my $c = send_request(PUT => '/3', raw => "PUT /3 HTTP/1.1\r\nHost: localhost"
	. "\r\nContent-Length: 100000000\r\nConnection: close\r\n\r\n");
$s->await(qr/PUT/);
$s->freeze();
{
	local $SIG{PIPE} = 'IGNORE';
	$c->blocking(0);
	my $chunk = 'x' x 1000000;
	my $rin = '';
	vec($rin, fileno $c, 1) = 1;
	while (!select(my $out = $rin, undef, undef, 0)) {
		my $n = syswrite($c, $chunk) // 0;
		sleep(0.01) if !$n;
	}
	$c->blocking(1);
}
like(response($c)->header('X-Error'), qr/^timed out, while sending/,
	'send timeout');
$s->thaw();
$s->clear();

###############################################################################

# backpressure: what the client does not read is not read either

SKIP: {
skip 'memory', 3 if $ENV{TEST_NGINX_VALGRIND};

my $before = memory();

$c = send_request(GET => '/patient/200000000');
ok(wait_for(sub { my ($q) = $s->requests(qr/200000000/); $q && $q->{sent} }),
	'a slow client');
sleep(1);

cmp_ok(($s->requests(qr/200000000/))[0]{sent}, '<', 100_000_000,
	'the server waits');
cmp_ok(memory() - $before, '<', 1_000_000, 'memory stays');

close $c;
}

ok(wait_for(sub { ($s->requests(qr/GET .*(?:0000|3)$/))[-1]
	&& established() <= 2 }), 'gone with the client');

###############################################################################

# freed in every state, and from every handler

for my $where (qw/ header body done /) {
	call("/20000?free=$where");
	call("/none/20000?free=$where");
}

call('/3?free=send', method => 'PUT', body => pattern(5_000_000));

$s->rule({ chunked => 100 });
call("/20000?free=$_") for qw/ header body done /;
$s->clear();

call("/refused/3?free=done");

# by a client that goes away: connecting, sending, waiting, reading

$deaf->deaf();
gone(GET => '/deaf/3');
$deaf->deaf(0);

$s->rule({ hold => 1 });
gone(GET => '/3', sub { $s->await(qr/GET/) });
$s->clear();

$s->rule({ stall => 100 });
gone(GET => '/1000', sub { response_head($_[0]) });
$s->clear();

gone(PUT => '/3', sub { $s->await(qr/PUT/) },
	raw => "PUT /3 HTTP/1.1\r\nHost: localhost\r\n"
		. "Content-Length: 10\r\n\r\nabc");

is(call('/3')->status, 200, 'alive');

# a worker that is told to stop waits for its calls, and for no idle connection

my @workers = workers();
$s->rule({ stall => 500, method => 'GET' });
$c = send_request(GET => '/1000?last');
my $in = response_head($c);
$t->reload();
ok(wait_for(sub { my %now = map { $_ => 1 } workers();
	grep { !$now{$_} } @workers or workers() > @workers }), 'reloaded');
sleep(0.3);
$s->release();
$r = response($c, in => $in);
ok($r->complete, 'a call goes on when its worker is to stop');
$s->clear();
ok(wait_for(sub { my %now = map { $_ => 1 } workers();
	!grep { $now{$_} } @workers }), 'then the worker exits');

# but not for longer than worker_shutdown_timeout

@workers = workers();
$s->rule({ stall => 500, method => 'GET' });
$c = send_request(GET => '/patient/1000?long');
$in = response_head($c);
$t->reload();
ok(wait_for(sub { my %now = map { $_ => 1 } workers();
	%now && !grep { $now{$_} } @workers }), 'worker_shutdown_timeout');
ok(!response($c, in => $in)->complete(), 'the call has ended');
$s->clear();

# what is logged: an error of each kind once a minute

$t->stop();

my $log = $t->read_file('error.log');
my @lines = grep { /the connection failed/ } split(/\n/, $log);
cmp_ok(scalar @lines, '>', 1, 'logged');
is(scalar(grep { /\[error\]/ } @lines), 1, 'once as an error');
is(scalar(grep { /connect\(\)/ } split(/\n/, $log)), 0, 'not by nginx');
like($log, qr!\[error\].*registry: timed out, while waiting for the answer.*remote: "one", request: "GET http://127.0.0.1:$port/3", server: "127.0.0.1:$port"!,
	'what is logged');
unlike($log, qr/a=b/, 'no query is logged');

undef $t;

###############################################################################

sub error {
	my ($path, $re, $name) = @_;

	like(call($path)->header('X-Error'), $re, $name);
}

sub raw {
	my ($bytes, $re, $name) = @_;

	$s->rule({ raw => $bytes });
	error('/3', $re, $name);
	$s->clear();
}

# how many the server has accepted during that

sub connections {
	my ($code) = @_;

	my $before = $s->connections();
	$code->();

	return $s->connections() - $before;
}

# of nginx, to the server

sub established {
	my $n = 0;
	my $hex = sprintf(':%04X', $port);

	open(my $fh, '<', '/proc/net/tcp') or die "/proc/net/tcp: $!\n";

	while (<$fh>) {
		my (undef, undef, $remote, $state) = split;
		$n++ if $state eq '01' && substr($remote, -5) eq $hex;
	}

	return $n;
}

sub gone {
	my ($method, $path, $wait, %opts) = @_;

	my $socket = send_request($method => $path, %opts);
	$wait ? $wait->($socket) : sleep(0.1);
	close $socket;
	sleep(0.1);
}

sub response_head {
	my ($socket) = @_;
	my $in = '';

	sysread($socket, $in, 4096);

	return $in;
}

sub workers {
	my ($master) = $t->read_file('nginx.pid') =~ /(\d+)/;

	return `ps --ppid $master -o pid=` =~ /(\d+)/g;
}

sub memory {
	my ($pid) = workers();

	open(my $fh, '<', "/proc/$pid/status") or die "/proc/$pid: $!\n";
	my ($kb) = join('', <$fh>) =~ /^VmRSS:\s+(\d+)/m;

	return $kb * 1024;
}

sub wait_for {
	my ($code) = @_;
	my $end = time() + 10 * $Test::Nginx::PATIENCE;

	until ($code->()) {
		return 0 if time() > $end;
		sleep(0.02);
	}

	return 1;
}

###############################################################################
