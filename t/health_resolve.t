#!/usr/bin/perl

# Health checks of servers whose names nginx resolves again and again, since
# 1.27.3: who comes is asked, who leaves is not, and who comes back is what it
# was, also with a reload.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Clients;
use Test::Nginx;
use Test::Nginx::DNS;
use Test::Nginx::Origin;
use Test::Nginx::Registry;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/ http upstream_zone /);

plan(skip_all => 'no servers that are resolved again')
	if !$t->has_version('1.27.3');

$t->plan(17)->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

error_log %%TESTDIR%%/notice.log notice;

daemon off;
user root;
worker_processes 2;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    registry_cache edge { path %%TESTDIR%%/cache; max_size 1g; }

    upstream moving {
        zone moving 64k;
        resolver 127.0.0.1:%%PORT_8090_UDP%% valid=1s ipv6=off;
        server peers.test:%%PORT_8081%% resolve max_fails=0;
    }

    registry_remote moving.example {
        cache edge;
        url http://moving;
        use_stale off;
        health_check interval=400ms fails=3 passes=2;
    }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        add_header   X-Pid $pid always;

        location /v2/ {
            registry_proxy all;
        }
    }
}

EOF

my @address = map { "127.0.0.$_" } 1 .. 3;
my ($first, $second, $third) = map {
	Test::Nginx::Origin->new($t, port => 8081, address => $_) } @address;
my $dns = Test::Nginx::DNS->new($t, port => port(8090, udp => 1));
my $checks = qr!^GET /v2/$!;
my $pulls = 0;

names(@address[0, 1]);
$dns->start();
$t->run();

###############################################################################

ok($_->await($checks, 2), 'all are asked') for $first, $second;
is(pull(8), '404' x 8, 'all serve');

$first->rule({ path => '^/v2/$', status => 500 });
ok(wait_for(sub { said('down: 500') }), 'one is down');
$first->forget();
is(pull(8), '404' x 8, 'the other serves');
is(pulled($first), 0, 'no client gets there');

# it leaves; another one comes

names(@address[1, 2]);
ok($third->await($checks, 2), 'a new one is asked');
ok(wait_for(sub { left($first) }), 'who left is not');
is(pull(8), '404' x 8, 'they serve');

# it comes back

names(@address);
$first->forget();
ok($first->await($checks, 1), 'it is back, and asked');
is(pull(8), '404' x 8, 'it is back, others serve');
is(pulled($first), 0, 'it is back, no client gets there');

# and nginx takes it over into a new zone

my %old = workers();

$t->reload();
ok(wait_for(sub { pull(4); my %new = workers(); !grep { $old{$_} } keys %new }),
	'reload');
is(pulled($first), 0, 'reload, no client gets there');
is(said('down'), 1, 'all the time it was down');

$first->clear();
ok(wait_for(sub { said('up again') }), 'it is up');
$first->forget();
pull(12);
ok(pulled($first), 'clients get there');

undef $t;

###############################################################################

sub pull {
	my ($n) = @_;

	return join('', map { request(GET => '/v2/moving.example/x/manifests/'
		. ++$pulls)->status } 1 .. $n);
}

sub pulled {
	my ($origin) = @_;
	return scalar $origin->requests(qr/manifests/);
}

sub said {
	my ($what) = @_;
	my $re = qr/peer 127\.0\.0\.1:\d+ of upstream "moving" is $what/;

	return scalar(() = $t->read_file('notice.log') =~ /$re/g);
}

# others are asked, this one is not

sub left {
	my ($origin) = @_;

	$_->forget() for $origin, $second;
	$second->await($checks, 3);

	return !$origin->requests($checks);
}

sub workers {
	return map { request(GET => '/v2/none')->header('X-Pid') => 1 } 1 .. 20;
}

# what the DNS server says of peers.test

sub names {
	my (@addresses) = @_;

	$dns->names("peers.test @addresses ttl=1");
}

###############################################################################
