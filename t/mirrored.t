#!/usr/bin/perl

# A large upload whose body nginx has read into a file before, for a mirror:
# the worker answers others while it takes that.

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

my $t = Test::Nginx->new()->has(qw/http mirror rewrite/)
	->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;
user root;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    registry_store local { path %%TESTDIR%%/registry; }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        keepalive_requests 1000000;

        location /v2/ {
            registry local;
            registry_push on;
            mirror /mirror;
        }

        location = /mirror {
            internal;
            return 204;
        }
    }
}

EOC

$t->run()->plan(4);

###############################################################################

my $sessions = $t->testdir()
	. '/registry/docker/registry/v2/repositories/a/_uploads';
my $size = 64 * 1024 * 1024;
my $body = join('', map { pack('N', $_) x 16384 } 1 .. $size / 65536);
my $digest = sha256($body);

my $s = send_request(POST => "/v2/a/blobs/uploads/?digest=$digest",
	body => $body);

# one answer may have been on its way when it began, and a second one not

my $probe = connection();
my $meanwhile = 0;

while (!readable($s)) {
	request(GET => '/v2/', socket => $probe)->status == 200 or last;

	my ($data) = glob("$sessions/*/data");
	my $written = $data && -s $data;

	$meanwhile++ if $written && $written < $size;
}

cmp_ok($meanwhile, '>', 1, 'others were answered meanwhile');

my $r = response($s);
is($r->status, 201, 'pushed');
is($r->header('Docker-Content-Digest'), $digest, 'digest');
ok(request(GET => "/v2/a/blobs/$digest")->body eq $body, 'bytes');

###############################################################################

sub readable {
	my ($s) = @_;

	my $in = '';
	vec($in, fileno $s, 1) = 1;

	return select($in, undef, undef, 0);
}

###############################################################################
