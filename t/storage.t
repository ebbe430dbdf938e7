#!/usr/bin/perl

# Blobs that a remote keeps elsewhere: what goes wrong there is not the
# remote's failure, whose tags go on being asked for.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Origin;
use Test::Nginx::Registry;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http/)->plan(23);

$t->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;
user root;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    error_log %%TESTDIR%%/error.log notice;

    add_header X-How $registry_cache always;

    registry_cache edge { path %%TESTDIR%%/cache; max_size 1g; }

    registry_remote far.example {
        url            http://127.0.0.1:8081;
        cache          edge;
        valid          0;
        allow_private  on;
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
    }
}

EOC

my $registry = Test::Nginx::Origin->new($t, port => 8081);
my $storage = Test::Nginx::Origin->new($t, port => 8082, store => $registry);
my $image = $registry->image('team/app', '1', [ 'layer' ]);

my $blobs = { path => qr/blobs/, redirect => $storage->url() };
my $manifests = { path => qr/manifests/, redirect => $storage->url() };
my $blob_count = 0;

$t->run();

###############################################################################

$registry->rule($blobs);

is(tag(), '200 MISS', 'a tag');
is(blob(), 200, 'a blob');
is(up(), 1, 'the remote answers');

for my $case ([ { status => 429, headers => { 'Retry-After' => 7 } }, 429 ],
	[ { status => 503 }, 502 ], [ { status => 500 }, 502 ],
	[ { drop => 'reset' }, 502 ])
{
	my ($rule, $status) = @$case;
	my $name = join(' ', map { "$_ $rule->{$_}" } grep { !ref $rule->{$_} }
		keys %$rule);

	$storage->rule($rule);
	is(blob(), $status, "storage, $name");
	is(up(), 1, "storage, $name, the remote answers");
	is(tag(), '200 REVALIDATED', "storage, $name, the remote is asked");
	$storage->clear();
}

is(namespace()->{retry_at}, undef, 'nor did the remote say Retry-After');

# the remote itself

$registry->clear()->rule({ status => 503 });
is(tag(), '200 STALE', 'the remote, 503');
is(up(), 0, 'the remote does not answer');

$registry->clear()->rule($blobs);
$storage->rule({ status => 503 });
is(blob(), 502, 'a redirect to storage that fails');
is(up(), 1, 'is an answer');
$storage->clear();

# a registry that another one stands for is not storage

$registry->clear()->rule($manifests);
is(tag(), '200 REVALIDATED', 'a tag from elsewhere');
$storage->rule({ status => 503 });
tag();
is(up(), 0, 'elsewhere, 503');

$t->stop();

my $at = quotemeta '127.0.0.1:' . $storage->port();
is(scalar(() = $t->read_file('error.log') =~ /\[error\] .*registry_remote
	\ "far\.example":\ storage\ "$at"\ answers\ 429,\ peer\ "$at",
	\ "GET\ [^"]*blobs/gx), 1, 'logged once');

###############################################################################

sub tag {
	my $r = request(GET => '/v2/far.example/team/app/manifests/1');

	return $r->status . ' ' . $r->header('X-How');
}

# a new one each time

sub blob {
	my $blob = $registry->blob('team/app', 'blob ' . ++$blob_count);

	return request(GET => "/v2/far.example/team/app/blobs/$blob->{digest}")
		->status;
}

sub namespace {
	return request(GET => '/status')->json->{namespaces}{'far.example'};
}

sub up {
	return namespace()->{up} ? 1 : 0;
}

###############################################################################
