#!/usr/bin/perl

# The outbound client and upstream {}: its balancing methods choose the server,
# its failure accounting and keepalive hold, and the next server is tried.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Call;
use Test::Nginx::Registry;
use Time::HiRes qw/ sleep time /;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http upstream_hash upstream_ip_hash
	upstream_keepalive upstream_least_conn upstream_random upstream_zone/);

my $least_time = $t->has_version('1.31.0')
	&& $t->has_module('upstream_least_time');

# one is 8081, two is 8082, three is 8083

my %upstreams = (
	rr => 'server 127.0.0.1:8081 weight=3; server 127.0.0.1:8082;',
	least => 'zone least 64k; least_conn; server 127.0.0.1:8081;
		server 127.0.0.1:8082;',
	uri => 'hash $request_uri; server 127.0.0.1:8081; server 127.0.0.1:8082;
		server 127.0.0.1:8083;',
	consistent => 'hash $registry_repository consistent;
		server 127.0.0.1:8081; server 127.0.0.1:8082;
		server 127.0.0.1:8083;',
	all => 'hash "$remote_addr $remote_port $server_addr $server_port $host
		$http_host $http_cookie $cookie_a $arg_a $args $uri $request_uri
		$request_method $scheme $https $ssl_server_name $is_args
		$request $request_id $remote_user $binary_remote_addr
		$proxy_protocol_addr $server_protocol $server_name $hostname
		$content_length $request_body $upstream_addr $upstream_status
		$upstream_http_x $sent_http_x $document_root $request_filename
		$realpath_root $limit_rate $request_time $request_length
		$connection $connection_requests $status $msec $pid $nginx_version
		$tcpinfo_rtt $proxy_host $registry_operation $registry_reference
		$registry_digest $registry_cache $map";
		server 127.0.0.1:8081; server 127.0.0.1:8082;',
	ip => 'ip_hash; server 127.0.0.1:8081; server 127.0.0.1:8082;
		server 127.0.0.1:8083;',
	random => 'random two least_conn; server 127.0.0.1:8081;
		server 127.0.0.1:8082;',
	backup => 'server 127.0.0.1:8081 fail_timeout=1s;
		server 127.0.0.1:8082 backup;',
	fails => 'server 127.0.0.1:8081 max_fails=2 fail_timeout=2s;
		server 127.0.0.1:8082;',
	cut => 'zone cut 64k; server 127.0.0.1:8081 max_fails=2 fail_timeout=60s;
		server 127.0.0.1:8082;',
	zone => 'zone zone 64k; server 127.0.0.1:8081 fail_timeout=30s;
		server 127.0.0.1:8082;',
	max => 'zone max 64k; server 127.0.0.1:8081 max_conns=1;
		server 127.0.0.1:8082 backup;',
	keep => 'server 127.0.0.1:8081; keepalive 1;',
	keep_two => 'server 127.0.0.1:8081; server 127.0.0.1:8082 backup;
		keepalive 4; keepalive_requests 3;',
	single => 'server 127.0.0.1:8081 fail_timeout=60s;',
	down => 'server 127.0.0.1:8081 down; server 127.0.0.1:8082 down;',
	two => 'server 127.0.0.1:8081 max_fails=0;
		server 127.0.0.1:8082 max_fails=0;',
	dead => 'server 127.0.0.1:8084; server 127.0.0.1:8084;',
	pinned => 'zone pinned 64k; server 127.0.0.1:8081;
		server 127.0.0.1:8082 backup;',
);

if ($least_time) {
	$upstreams{time} = 'least_time header inflight; zone time 64k;
		server 127.0.0.1:8081; server 127.0.0.1:8082;';
	$upstreams{last} = 'least_time last_byte; server 127.0.0.1:8081;
		server 127.0.0.1:8082; keepalive 4;';
	$upstreams{sticky} = 'sticky cookie srv; server 127.0.0.1:8081;
		server 127.0.0.1:8082;';
}

my $upstreams = join("\n", map { "upstream $_ { $upstreams{$_} }\n"
	. "registry_client $_ target=http://$_ first_timeout="
	. (/^(?:max|least)$/ ? '30s;' : '1s;') }
	sort keys %upstreams);
my $locations = join("\n", map { "location /$_/ {"
	. "registry_call $_ http://$_\$uri\$is_args\$args; }" }
	sort keys %upstreams);

my $conf = <<'EOF';

%%TEST_GLOBALS%%
CALL_MODULE

daemon off;
worker_processes 2;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    error_log %%TESTDIR%%/error.log info;

    keepalive_requests 100000;

    map $http_user_agent$remote_addr $map {
        default  a;
        ~*curl   b;
    }

    UPSTREAMS

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        add_header   X-Pid $pid always;

        LOCATIONS

        location /v2/ {
            registry_call consistent http://consistent$uri;
        }

        location /passed/ {
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_pass http://keep;
        }
    }
}

EOF

$conf =~ s/CALL_MODULE/call_module($t)/e;
$conf =~ s/UPSTREAMS/$upstreams/;
$conf =~ s/LOCATIONS/$locations/;

$t->write_file_expand('nginx.conf', $conf);

my @s = map { Test::Nginx::Call::Server->new($t, port => $_) }
	8081, 8082, 8083;
my ($one, $two, $three) = map { $_->port() } @s;

$t->run()->plan($least_time ? 64 : 59);

###############################################################################

# both ends are the same worker's

my $pid;

sub c {
	my ($path, %opts) = @_;

	while (1) {
		my $r = call($path, %opts);
		my $now = $r->header('X-Pid') // return $r;

		$pid //= $now;
		return $r if $opts{any} || $now == $pid;
	}
}

# round robin by weight, and what each server was asked for

my ($socket, $other) = two_workers();

is(chosen('/rr/3', 40), "$one:30 $two:10", 'weights');

# the one with a request that hangs gets no other

$s[0]->rule({ hold => 1, times => 1 });
my @held = (send_request(GET => '/least/hold'));
$s[0]->await(qr/hold/) || $s[1]->await(qr/hold/);
my $held = $s[0]->requests(qr/hold/) ? $one : $two;
SKIP: {
skip 'it is the other one', 1 if $held == $two;
is(chosen('/least/3', 6), "$two:6", 'least_conn');
}
$_->release()->clear() for @s;
response($_) for @held;

# the same for the same key, and not all the same

my %key = map { my $path = "/uri/$_/3"; $path => chosen($path, 3) } 1 .. 20;
is(scalar(grep { !/:3$/ } values %key), 0, 'hash');
is(scalar(keys %{{ map { $_ => 1 } values %key }}), 3, 'hash, three servers');

%key = map { my $path = "/v2/team/app$_/manifests/latest";
	$path => chosen($path, 2) } 1 .. 20;
is(scalar(grep { !/:2$/ } values %key), 0, 'consistent');
is(scalar(keys %{{ map { $_ => 1 } values %key }}), 3,
	'consistent, three servers');
is(chosen('/v2/team/app1/blobs/uploads/', 1) =~ s/:1//r,
	$key{'/v2/team/app1/manifests/latest'} =~ s/:2//r,
	'a variable of ours');

is(c('/all/3?a=b')->status, 200, 'all variables');

like(chosen('/ip/3', 6), qr/^\d+:6$/, 'ip_hash');

my %random = map { split /:/ } split(/ /, chosen('/random/3', 40));
is(scalar(keys %random), 2, 'random');

# passed over while it fails

$s[0]->stop();
is(chosen('/backup/3', 3), "$two:3", 'backup');
$s[0]->start();
is(chosen('/backup/3', 3), "$two:3", 'backup, for fail_timeout');
ok(wait_for(sub { chosen('/backup/3', 1) eq "$one:1" }), 'back again');

$s[0]->rule({ status => 503 });
forget();
is(chosen('/fails/3', 12), "$two:12", 'max_fails');
is(scalar($s[0]->requests()), 2, 'max_fails, asked twice');
$s[0]->clear();

# all workers know

$s[0]->rule({ status => 502 });
forget();
is(chosen('/zone/3', 6), "$two:6", 'zone');
is(join(' ', map { request(GET => '/zone/3', socket => $other)
	->header('X-Server') } 1 .. 6), join(' ', ($two) x 6),
	'zone, another worker');
is(scalar($s[0]->requests()), 1, 'zone, asked once');
$s[0]->clear();

$s[0]->rule({ hold => 1 });
@held = (send_request(GET => '/max/3'));
$s[0]->await(qr/max/);
is(chosen('/max/3', 3), "$two:3", 'max_conns');
$s[0]->release()->clear();
response($_) for @held;
is(chosen('/max/3', 3), "$one:3", 'max_conns, let go');

###############################################################################

# the upstream keeps connections, with proxy_pass

is(connections('/keep/3', 5), 1, 'keepalive');
is(connections('/passed/3', 2), 0, "keepalive, ours used by proxy_pass");
is(connections('/keep/3', 2), 0, "keepalive, proxy_pass's used by us");
is(connections('/two/3', 4), $t->has_version('1.29.7') ? 2 : 4,
	'keepalive, by default');
is(connections('/keep_two/3', 7), 3, 'keepalive_requests');

# a kept connection that is gone is nobody's fault

for my $how (qw/ close reset /) {
	c('/keep_two/3');
	$s[0]->rule({ drop => $how, times => 1 });
	is(chosen('/keep_two/3', 3), "$one:3", "kept connection, $how");
	$s[0]->clear();
}

# but a fresh one is

$s[0]->rule({ drop => 'close' });
is(chosen('/keep_two/3', 2), "$two:2", 'fresh connection');
$s[0]->clear();

###############################################################################

# the next server, if that can do no harm

for my $rule ({ drop => 'close' }, { drop => 'reset' }, { hold => 1 },
	{ status => 500 }, { status => 502 }, { status => 503 },
	{ status => 504 }, { raw => "HTTP/1.1 200 OK\r\nX" },
	{ raw => "garbage\r\n\r\n" })
{
	my ($name) = map { "$_ $rule->{$_}" =~ s/\s+/ /gr } keys %$rule;

	$s[0]->rule($rule);
	my @got = map { c('/two/3') } 1, 2;
	is(join(' ', map { $_->status . ' ' . $_->header('X-Server') } @got),
		"200 $two 200 $two", "next after $name");
	$s[0]->clear();
}

$_->rule({ status => 503 }) for @s;
is(c('/two/3')->status, 503, 'the last answer is passed on');
$_->clear() for @s;

for my $status (401, 404, 429) {
	$s[0]->rule({ status => $status });
	my %seen = map { c('/two/3')->status => 1 } 1, 2;
	is(join(' ', sort keys %seen), "200 $status", "no next after $status");
	$s[0]->clear();
}

# a body is sent once, but not to one that was not reached

$s[0]->rule({ drop => 'close' });
my @put = map { c('/two/3', method => 'PUT', body => 'abc') } 1, 2;
is(scalar(grep { $_->status == 200 } @put), 1, 'no next with a body');
@put = map { c('/two/3', method => 'POST', body => '') } 1, 2;
is(scalar(grep { $_->status == 200 } @put), 1, 'no next after a POST');
$s[0]->stop();
@put = map { c('/two/3', method => 'PUT', body => 'abc') } 1, 2;
is(scalar(grep { $_->status == 200 } @put), 2, 'next if not connected');
$s[0]->start();

# not after the head

$s[0]->rule({ close => 100 });
my @got = map { c('/two/1000') } 1, 2;
is(scalar(grep { $_->complete() } @got), 1, 'truncated');
$s[0]->clear();

# and a truncation counts

$s[0]->rule({ close => 100 });
forget();
c('/cut/1000') for 1 .. 12;
is(scalar($s[0]->requests()), 2, 'truncations count');
$s[0]->clear();

###############################################################################

# an upstream of one server is tried each time

$s[0]->stop();
like(c('/single/3')->header('X-Error'), qr/^the connection failed \(111\)/,
	'single');
$s[0]->start();
is(c('/single/3')->status, 200, 'single, at once');

like(c('/down/3')->header('X-Error'), qr/^no live server$/, 'all are down');
like(c('/dead/3')->header('X-Error'), qr/^the connection failed \(111\)/,
	'all refuse');
like(c('/dead/3')->header('X-Error'), qr/^no live server$/, 'none is left');

###############################################################################

# a call that goes on with one server

is(c("/pinned/3?pin=127.0.0.1:$two")->header('X-Server'), $two,
	'pinned to a backup');
is(c("/pinned/3?pin=127.0.0.1:$one")->header('X-Server'), $one, 'pinned');
is(c("/rr/3?pin=127.0.0.1:$two")->header('X-Server'), $two,
	'pinned, no zone');
like(c("/pinned/3?pin=127.0.0.1:$three")->header('X-Error'),
	qr/^no live server, the pinned one is not there/, 'pinned to a stranger');

$s[1]->rule({ status => 503 });
is(c("/pinned/3?pin=127.0.0.1:$two")->status, 503, 'pinned, no next');
$s[1]->clear();

$s[1]->stop();
like(c("/pinned/3?pin=127.0.0.1:$two")->header('X-Error'),
	qr/^the connection failed/, 'pinned, refused');
$s[1]->start();

###############################################################################

# gone in every state: the servers' counts of connections come down again

$_->rule({ hold => 1 }) for @s;
for (1 .. 3) {
	my $c = send_request(GET => '/max/gone');
	$s[0]->await(qr/gone/, $_);
	close $c;
	sleep(0.2);
}
$_->clear() for @s;
is(chosen('/max/3', 1), "$one:1", 'let go by a client that is gone');

c("/keep/20000?free=$_") for qw/ header body done /;
is(c('/keep/3')->status, 200, 'freed in handlers');

###############################################################################

SKIP: {
skip 'no least_time', 0 if !$least_time;

is(c('/time/3')->status, 200, 'least_time');

$s[0]->rule({ delay => 0.2 });
chosen("/$_/3", 8) for qw/ time last /;
for (qw/ time last /) {
	my %n = map { split /:/ } split(/ /, chosen("/$_/3", 10));
	cmp_ok($n{$two}, '>', $n{$one} // 0, "least_time, $_");
}
$s[0]->clear();

is(c('/sticky/3')->status, 200, 'sticky');
is(connections('/last/3', 1), 0, 'least_time, keepalive');
}

###############################################################################

# "8081:3 8082:1"

sub chosen {
	my ($path, $n) = @_;
	my %count;

	$count{request(GET => $path, socket => $socket)->header('X-Server')
		// 'none'}++ for 1 .. $n;

	return join(' ', map { "$_:$count{$_}" } grep { $count{$_} }
		$one, $two, $three, 'none');
}

# of the first server

sub connections {
	my ($path, $n) = @_;
	my $sum = sub { my $n = 0; $n += $_->connections() for @s; $n };

	my $before = $sum->();
	request(GET => $path, socket => $socket) for 1 .. $n;

	return $sum->() - $before;
}

sub forget {
	$_->forget() for @s;
}

# connections to both

sub two_workers {
	my %workers;

	while (keys %workers < 2) {
		my $s = connection();
		my $pid = request(GET => '/rr/0', socket => $s)->header('X-Pid');
		$workers{$pid} //= $s;
	}

	my ($first, $second) = sort { $a <=> $b } keys %workers;

	$pid = $first;

	return @workers{$first, $second};
}

sub wait_for {
	my ($code) = @_;
	my $end = time() + 10 * $Test::Nginx::PATIENCE;

	until ($code->()) {
		return 0 if time() > $end;
		sleep(0.1);
	}

	return 1;
}

###############################################################################
