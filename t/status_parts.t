#!/usr/bin/perl

# What the status page says of blobs that are being fetched, of servers that
# are checked, and of memcached.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Clients;
use Test::Nginx;
use Test::Nginx::Origin;
use Test::Nginx::Registry;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http upstream_zone/)
	->has_daemon('memcached')->plan(31);

my $conf = <<'EOF';

%%TEST_GLOBALS%%

daemon off;
user root;
worker_processes 2;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    registry_zone 2m;

    registry_cache edge { path %%TESTDIR%%/cache; max_size 1m; }
    registry_memcached 127.0.0.1:8090 127.0.0.1:8091 key=%%TESTDIR%%/mc.key
                       timeout=500ms;

    upstream origin {
        zone origin 64k;
        server 127.0.0.1:8081 max_fails=0;
        server 127.0.0.1:8082 backup max_fails=0;
        server 127.0.0.1:8083 down;
    }

    registry_remote docker.io {
        url           http://origin;
        cache         edge;
        valid         1h;
        health_check  uri=/v2/ interval=100ms fails=1 passes=1;
    }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /v2/ {
            registry_proxy all;
        }

        location = /status {
            registry_status;
        }

        location = /metrics {
            registry_status prometheus;
        }
    }
}

EOF

$t->write_file_expand('nginx.conf', $conf);
$t->write_file('mc.key', "a key of more than 16 bytes\n");

my $origin = Test::Nginx::Origin->new($t, port => 8081);
my $backup = Test::Nginx::Origin->new($t, port => 8082, store => $origin);

$t->run_daemon('memcached', '-u', 'nobody', '-l', '127.0.0.1',
	'-p', port(8090), '-t', 1);
$t->waitforsocket('127.0.0.1:' . port(8090)) or die "no memcached\n";

$t->run();

###############################################################################

# a blob that several fetch

my $image = $origin->image('library/alpine', 'latest', [ 'layer' x 100_000 ]);
my $path = '/v2/docker.io/library/alpine';
my $layer = $image->{layers}[0]{digest};

$origin->rule({ path => qr/$layer/, stall => 1000 });

my $first = send_request(GET => "$path/blobs/$layer");
$origin->await(qr/GET .*$layer/, 1);

is(status()->{flights}{running}, 1, 'flight');
cmp_ok(status()->{flights}{limit}, '>=', 16, 'flights, limit');

my $second = send_request(GET => "$path/blobs/$layer");

ok(wait_for(sub { status()->{active}{requests}{pull_blob} == 2 }),
	'two who want it');

$origin->release();

is(length response($first)->body, 500_000, 'flight, the first');
is(length response($second)->body, 500_000, 'flight, the second');

ok(wait_for(sub { status()->{flights}{running} == 0 }), 'flight, ended');
ok(wait_for(sub { !status()->{active}{requests}{pull_blob} }), 'nobody is left');

my $hub = status()->{namespaces}{'docker.io'};

is($hub->{flights}, 1, 'flights');
is($hub->{received_bytes}, 500_000, 'flight, bytes of the remote');
is($hub->{sent_bytes}, 1_000_000, 'flight, bytes to clients');
is($hub->{results}{miss}, 1, 'flight, a miss');
is($hub->{results}{join}, 1, 'flight, a join');

request(GET => "$path/blobs/$layer");
ok(wait_for(sub { status()->{namespaces}{'docker.io'}{results}{hit} == 1 }),
	'then a hit');

# what is in the cache now, and what was there before

my $edge = status()->{caches}{edge};

is($edge->{max_size_bytes}, 1024 * 1024, 'cache, limit');
ok(wait_for(sub { status()->{caches}{edge}{size_bytes} > 500_000 }),
	'cache, size');
is(status()->{caches}{edge}{evictions}, 0, 'cache, nothing evicted');

for my $n (1 .. 3) {
	$layer = $origin->blob('library/alpine', $n x 300_000)->{digest};
	request(GET => "$path/blobs/$layer");
}

ok(wait_for(sub { status()->{caches}{edge}{evictions} > 0 }),
	'cache, evictions');
cmp_ok(status()->{caches}{edge}{evicted_bytes}, '>', 300_000,
	'cache, evicted bytes');
ok(wait_for(sub { status()->{caches}{edge}{blobs} > 0 }), 'cache, blobs');

# servers that are checked

ok(wait_for(sub { peer(8081)->{checks} > 0 && peer(8082)->{checks} > 0 }),
	'health checks');
is(flags(8081) . ', ' . flags(8082) . ', ' . flags(8083),
	'up, backup up, down', 'healthy');

$origin->rule({ status => 500 });
ok(wait_for(sub { flags(8081) eq 'down unhealthy' }), 'unhealthy');
cmp_ok(peer(8081)->{failed_checks}, '>', 0, 'failed checks');
is(peer(8083)->{checks}, undef, 'not checked');

$origin->clear();
ok(wait_for(sub { flags(8081) eq 'up' }), 'healthy again');

# memcached: one server of two is there

for my $n (1 .. 20) {
	$origin->image("library/image$n", 'latest', [ "layer $n" ]);
	request(GET => "/v2/docker.io/library/image$n/manifests/latest");
}

ok(wait_for(sub { !server(8091)->{up} }), 'memcached, down');
cmp_ok(server(8091)->{failures}, '>', 0, 'memcached, failures');
is_deeply(server(8090), { up => JSON::PP::true, failures => 0,
	gets => { hit => 0, miss => server(8090)->{gets}{miss} } },
	'memcached, up');
cmp_ok(server(8090)->{gets}{miss}, '>', 10, 'memcached, misses');

like(request(GET => '/metrics')->body, qr/^nginx_registry_memcached_up
	\{server="127\.0\.0\.1:\d+"\}\ 1$/mx, 'memcached, prometheus');

# nothing is in shared memory any more

$t->stop();
$t->run();

request(GET => "/v2/docker.io/library/image$_/manifests/latest") for 1 .. 20;
ok(wait_for(sub { server(8090)->{gets}{hit} > 0 }), 'memcached, hits');

###############################################################################

sub status {
	return request(GET => '/status')->json;
}

sub peer {
	my ($port) = @_;
	return status()->{upstreams}{origin}{'127.0.0.1:' . port($port)};
}

sub server {
	my ($port) = @_;
	return status()->{memcached}{'127.0.0.1:' . port($port)};
}

sub flags {
	my ($peer) = peer(@_);
	return join(' ', grep { ref $peer->{$_} && $peer->{$_} }
		sort keys %$peer);
}

###############################################################################
