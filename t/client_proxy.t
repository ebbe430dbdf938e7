#!/usr/bin/perl

# The outbound client through a corporate proxy: squid and tinyproxy as Debian
# has them, and one that misbehaves.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::CA;
use Test::Nginx::Call;
use Test::Nginx::Proxy;
use Test::Nginx::Registry;
use Time::HiRes qw/ sleep /;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http http_ssl sni socket_ssl/)
	->has_daemon('/usr/sbin/squid')->has_daemon('/usr/bin/tinyproxy')
	->has_daemon('openssl')->plan(54);

my $dir = $t->testdir();
my $ca = Test::Nginx::CA->new($t);
my $pair = $ca->certificate('origin.corp', 'localhost');

my $conf = <<'EOF';

%%TEST_GLOBALS%%
CALL_MODULE

daemon off;
worker_processes 1;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    error_log %%TESTDIR%%/error.log info;

    client_max_body_size 0;

    registry_client squid trusted=%%TESTDIR%%/ca.crt
                    proxy=http://127.0.0.1:8091
                    credentials=%%TESTDIR%%/squid.cred
                    read_timeout=2s connect_timeout=2s first_timeout=2s;
    registry_client none trusted=%%TESTDIR%%/ca.crt
                    proxy=http://127.0.0.1:8091;
    registry_client tiny trusted=%%TESTDIR%%/ca.crt
                    proxy=http://localhost:%%PORT_8092%%
                    credentials=%%TESTDIR%%/tiny.json;
    registry_client fake proxy=http://127.0.0.1:8093 connect_timeout=1s;
    registry_client moves proxy=http://127.0.0.1:8093
                    credentials=%%TESTDIR%%/moves.cred;

    registry_client host proxy=http://127.0.0.1:8094 private=on
                    no_proxy=example.com,LOCALHOST;
    registry_client suffix proxy=http://127.0.0.1:8094 private=on
                    no_proxy=.host,.localhost;
    registry_client address proxy=http://127.0.0.1:8094 private=on
                    no_proxy=10.0.0.1,127.0.0.1;
    registry_client cidr proxy=http://127.0.0.1:8094 private=on
                    no_proxy=fd00::/8,127.0.0.0/8;
    registry_client all proxy=http://127.0.0.1:8094 private=on no_proxy=*;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        LOCATIONS
    }
}

EOF

# /client/word/ goes to the URL of that word

my %url = (
	https => 'https://origin.corp:%%PORT_8443%%',
	http => 'http://origin.corp:%%PORT_8081%%',
	local => 'https://localhost:%%PORT_8443%%',
	private => 'https://127.0.0.1:%%PORT_8443%%',
	refused => 'https://origin.corp:%%PORT_8444%%',
	denied => 'https://denied.corp:%%PORT_8443%%',
	name => 'http://localhost:%%PORT_8081%%',
	address => 'http://127.0.0.1:%%PORT_8081%%',
);

my @locations;

for my $client (qw/ squid none tiny fake moves host suffix address cidr all /) {
	push @locations, map { "location /$client/$_/ {"
		. " registry_call $client $url{$_}\$request_uri; }" } keys %url;
}

$conf =~ s/CALL_MODULE/call_module($t)/e;
$conf =~ s/LOCATIONS/join("\n", @locations)/e;

$t->write_file_expand('nginx.conf', $conf);

# no interpolation, and bytes that not every base64 has the same letters for

my $password = 'p$a:ss>>>???~~~';

$t->write_file('squid.cred', "# of the edge\nrobot\$edge:$password\n");
$t->write_file('moves.cred', "edge:yesterday\n");
$t->write_file('tiny.json', '{"auths": {"localhost:' . port(8092)
	. '": {"username": "edge", "password": "secret"}}}');

my $tls = Test::Nginx::Call::Server->new($t, port => 8443, ssl => $pair);
my $plain = Test::Nginx::Call::Server->new($t, port => 8081);
my $fake = Test::Nginx::Call::Server->new($t, port => 8093);

my $squid = Test::Nginx::Proxy->squid($t, port => 8091,
	user => 'robot$edge', password => $password,
	hosts => { map { $_ => '127.0.0.1' }
		qw/ origin.corp denied.corp localhost / },
	config => [ 'acl denied dstdomain denied.corp',
		'http_access deny denied' ]);
my $tiny = Test::Nginx::Proxy->tinyproxy($t, port => 8092,
	user => 'edge', password => 'secret');

$t->run();

###############################################################################

# names are resolved by the proxy: nobody else knows this one

my $r = call('/squid/https/3');
is($r->status, 200, 'https');
is($r->header('X-Peer'), '127.0.0.1:' . port(8091), 'https, the peer');
my ($seen) = $tls->requests();
is($seen->{path}, '/squid/https/3', 'https, as to the server itself');
is($seen->{headers}{host}, 'origin.corp:' . port(8443), 'https, the host');
is($seen->{headers}{'proxy-authorization'}, undef,
	'https, not the credentials');

is(call('/squid/http/3')->status, 200, 'http');
($seen) = $plain->requests();
is($seen->{path}, '/squid/http/3', 'http, the path');
is($seen->{headers}{host}, 'origin.corp:' . port(8081), 'http, the host');

ok(call('/squid/https/5000000')->body eq pattern(5000000), 'large');
is(call('/squid/https/3', method => 'PUT', body => pattern(1000000))
	->header('X-Size'), 1000000, 'put');
is(call('/squid/http/3', method => 'PUT', body => pattern(1000000))
	->header('X-Size'), 1000000, 'http, put');

# a tunnel is kept, for the host that it leads to

my $before = $tls->connections();
call('/squid/https/3') for 1 .. 5;
is($tls->connections() - $before, 0, 'kept');
is(call('/squid/local/3')->status, 200, 'another host');
is($tls->connections() - $before, 1, 'another tunnel');

is(call('/tiny/local/3')->status, 200, 'tinyproxy, which is a name');
is(call('/tiny/name/3')->status, 200, 'tinyproxy, http');

###############################################################################

# only an address is known to be private

is(error('/squid/private/3'), 'the address is private', 'private address');
is(error('/squid/address/3'), 'the address is private',
	'private address, http');

# who does not go through it

my %bypass = (host => [ 200, 502 ], suffix => [ 502, 502 ],
	address => [ 502, 200 ], cidr => [ 502, 200 ], all => [ 200, 200 ]);

for my $client (sort keys %bypass) {
	is(call("/$client/name/3")->status, $bypass{$client}[0],
		"no_proxy, $client, a name");
	is(call("/$client/address/3")->status, $bypass{$client}[1],
		"no_proxy, $client, an address");
}

###############################################################################

# what the proxy does not do

my $wants = 'the proxy refused, 407: it wants other credentials';

is(error('/none/https/3'), $wants, 'no credentials');
is(error('/none/http/3'), $wants, 'no credentials, http');
is(error('/squid/denied/3'),
	'the proxy refused, 403: it does not let this host through', 'denied');
like(error('/squid/refused/3'),
	qr/^the proxy refused, 50[234]: /, 'unreachable');

# the credentials change: what is new is tried at once

$t->write_file('squid.cred', "robot\$edge:wrong\n");
sleep(2.1);
is(error('/squid/denied/3'), $wants, 'wrong credentials');
is(error('/squid/refused/3'), $wants, 'wrong credentials, again');
$t->write_file('squid.cred', "robot\$edge:$password\n");
is(call('/squid/https/3', method => 'POST', body => '')->status, 200,
	'new ones');

$t->write_file('squid.cred', "no credentials at all\n");
sleep(2.1);
is(call('/squid/https/3', method => 'POST', body => '')->status, 200,
	'a broken file changes nothing');

###############################################################################

# the proxy is killed, hangs, is back

$tls->rule({ stall => 1000 });
my $c = send_request(GET => '/squid/https/2000');
my $in = '';
sysread($c, $in, 1) or die;
$squid->kill();
$r = response($c, in => $in);
ok(!$r->complete(), 'killed in a body');
$tls->clear();

is(error('/squid/https/3'), 'the connection failed (111)', 'no proxy');
$squid->start();
is(call('/squid/https/3')->status, 200, 'back again');

$squid->freeze();
is(error('/squid/https/3', method => 'POST', body => ''),
	'timed out, while connecting', 'it hangs');
$squid->thaw();
is(call('/squid/https/3')->status, 200, 'it goes on');

###############################################################################

# one that is none

raw("HTTP/1.1 200 OK\r\n\r\nhello", 'the proxy refused, it says more than it may',
	'bytes before ours');
raw("garbage\r\n\r\n", 'the proxy refused, its answer is not HTTP', 'garbage');
raw("HTTP/1.1 200 OK\r\nX: " . 'x' x 40000,
	'the proxy refused, its answer is too large', 'a large answer');
raw("HTTP/1.1 302 Found\r\nLocation: http://login/\r\n\r\n",
	'the proxy refused, it answered CONNECT with an error', 'redirect');
raw("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 403 Forbidden\r\n\r\n",
	'the proxy refused, 403: it does not let this host through', 'interim');
raw("HTTP/1.1 2", 'the connection failed, closed by the proxy', 'truncated');

$fake->rule({ drop => 'reset' });
like(error('/fake/https/3'), qr/^the connection failed, closed by the proxy/,
	'reset');
$fake->clear();

$fake->rule({ hold => 1 });
is(error('/fake/https/3'), 'timed out, while connecting', 'silent');

$c = send_request(GET => '/fake/https/3');
$fake->await(qr/CONNECT/, 9);
close $c;
sleep(0.1);
$fake->clear();

# several that were asked with the old credentials

$fake->forget()->rule({ method => 'CONNECT', hold => 1, status => 407 });
my @c = map { send_request(GET => '/moves/https/3') } 1 .. 3;
$fake->await(qr/CONNECT/, 3);
$t->write_file('moves.cred', "edge:tomorrow\n");
$fake->release();
ok($fake->await(qr/CONNECT/, 6), 'all of them are asked again');
$fake->clear();
response($_) for @c;

$fake->forget();
call('/fake/https/3');

my ($connect) = $fake->requests(qr/CONNECT/);
is($connect->{path}, 'origin.corp:' . port(8443), 'what it was asked');
is($connect->{headers}{host}, $connect->{path}, 'its host');

is(call('/fake/http/3')->status, 200, 'http, in the end');

###############################################################################

$t->stop();

unlike($t->read_file('error.log'), qr/\Q$password\E|secret|Basic/,
	'no secret is logged');

undef $t;

###############################################################################

sub error {
	my ($path, %opts) = @_;

	return call($path, %opts)->header('X-Error');
}

sub raw {
	my ($bytes, $message, $name) = @_;

	$fake->rule({ method => 'CONNECT', raw => $bytes });
	is(error('/fake/https/3'), $message, $name);
	$fake->clear();
}

###############################################################################
