#!/usr/bin/perl

# Which registry a request means: the "ns" parameter and registry_namespace.
# What is asked of another registry is never answered with our content.

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

my $t = Test::Nginx->new()->has(qw/http rewrite auth_basic/)
	->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;
user root;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format namespace '$status $registry_operation $registry_repository';
    access_log %%TESTDIR%%/namespace.log namespace;

    registry_store local { path %%TESTDIR%%/registry; }
    registry_cache edge { path %%TESTDIR%%/edge;  max_size 1g; }
    registry_remote team.example { cache edge;  url http://127.0.0.1:8090; }

    server {
        listen       127.0.0.1:8080;
        server_name  Reg.Example second.example;

        location /v2/ {
            registry local;
            registry_push on;
            registry_delete on;
            registry_catalog on;
        }

        location /v2/locked/ {
            registry local;
            auth_basic "locked";
            auth_basic_user_file %%TESTDIR%%/none;
        }

        location /static/ {
            return 200 "static";
        }
    }

    server {
        listen       127.0.0.1:8081;
        server_name  mirror;
        registry_namespace team.example;

        location /v2/ {
            registry local;
            registry_push on;
        }
    }

    server {
        listen       127.0.0.1:8082;
        server_name  reg.example quay.io;
        registry_namespace $host;

        location /v2/ {
            registry local;
        }
    }

    server {
        listen       127.0.0.1:8082;
        server_name  ghcr.io.example;
        registry_namespace $http_x_registry;

        location /v2/ {
            registry local;
        }
    }

    server {
        listen       127.0.0.1:8083;
        server_name  "";

        rewrite ^/mirror(/.*) $1;

        location /v2/ {
            registry local;
        }

        location /other/ {
            rewrite ^/other(/.*) $1 last;
        }
    }

    server {
        listen       127.0.0.1:8084;
        server_name  *.wild.example ~^regex\d+$ .dot.example;

        location /v2/ {
            registry local;
        }
    }
}

EOF

$t->run()->plan(105);

###############################################################################

my $image = push_image('library/a', 'latest', 'layer');
my $digest = sha256($image);
my $layer = sha256('layer');

# none, and our own: with a port or without, in any case

my @paths = ('library/a/manifests/latest', "library/a/manifests/$digest",
	"library/a/blobs/$layer", 'library/a/tags/list', '_catalog', '',
	"library/a/referrers/$digest");

for my $path (@paths) {
	is(request(GET => "/v2/$path")->status, 200, "no ns, $path");
	is(request(GET => "/v2/$path?ns=reg.example")->status, 200,
		"own ns, $path");
	is(brief(request(GET => "/v2/$path?ns=docker.io")), '404 NAME_UNKNOWN',
		"another ns, $path");
	is(request(HEAD => "/v2/$path?ns=docker.io")->status, 404,
		"another ns, head, $path");
}

is(pull($_), 200, "own: $_") for 'second.example', 'REG.EXAMPLE',
	'reg.example:443', 'reg.example:5000', 'reg%2Eexample', 'reg.example%3A1';

is(pull($_), '404 NAME_UNKNOWN', "another: $_") for '', 'localhost',
	'127.0.0.1', 'third.example', 'reg.example.com', 'reg.exampl',
	'xreg.example', 'reg.example/', 'reg.example/library', 'library',
	'reg.example%00', 'reg.example%20', '..', '%2e%2e%2f', '%zz', '*',
	'reg.example@docker.io', 'http://reg.example', 'x' x 255, 'x' x 3000,
	'reg.example,docker.io', 'reg.example;', "reg.example%0d%0a";

# the name of the parameter, and where it is

is(request(GET => "/v2/library/a/manifests/latest?$_")->status, 404, $_)
	for 'ns=docker.io', 'x=y&ns=docker.io', 'n%73=docker.io', 'ns',
		'&&ns=docker.io&';
is(request(GET => "/v2/library/a/manifests/latest?$_")->status, 200, $_)
	for 'NS=docker.io', 'xns=docker.io', 'nss=docker.io', 'x=ns=docker.io';

# the first one counts; a contradiction is none of ours

is(request(GET => '/v2/library/a/manifests/latest?ns=docker.io&ns=reg.example')
	->status, 404, 'two');

# a push too, and it leaves nothing

is(brief(request(POST => '/v2/x/blobs/uploads/?ns=docker.io')),
	'404 NAME_UNKNOWN', 'post');
is(brief(request(PUT => '/v2/x/manifests/latest?ns=docker.io',
	body => $image, headers => { 'Content-Type' => $MANIFEST })),
	'404 NAME_UNKNOWN', 'put');
is(brief(request(DELETE => '/v2/library/a/manifests/latest?ns=docker.io')),
	'404 NAME_UNKNOWN', 'delete');
is(request(POST => '/v2/x/blobs/uploads/?ns=reg.example')->status, 202,
	'own post');

# as containerd pushes: the query stays with the location, or does not

my $uri = request(POST => '/v2/x/blobs/uploads/?ns=reg.example')->location();
is(request(PUT => "$uri?ns=reg.example&digest=" . sha256('x'), body => 'x')
	->status, 201, 'own put');

# rules come first: who may not ask learns nothing

is(request(GET => '/v2/locked/a/manifests/latest?ns=docker.io')->status, 401,
	'locked');

# other locations have nothing to do with it

is(request(GET => '/static/?ns=docker.io')->body, 'static', 'static');

# a kept connection

my $s = connection();

is(request(GET => '/v2/library/a/manifests/latest?ns=docker.io', socket => $s)
	->status, 404, 'kept');
is(request(GET => '/v2/library/a/manifests/latest', socket => $s)->status, 200,
	'kept at last');

# registry_namespace: all names of a server are another registry's

is(brief(request(GET => '/v2/library/a/manifests/latest', port => port(8081))),
	'404 NAME_UNKNOWN', 'registry_namespace');
is(brief(request(POST => '/v2/x/blobs/uploads/', port => port(8081))),
	'404 NAME_UNKNOWN', 'registry_namespace, post');
is(request(GET => '/v2/library/a/manifests/latest?ns=mirror',
	port => port(8081))->status, 200, 'registry_namespace, own ns');

is(host($_->[0]), $_->[1], "host $_->[0]") for [ 'reg.example', 200 ],
	[ 'Reg.Example:5000', 200 ], [ 'quay.io', 200 ], [ 'localhost', 404 ];

is(host('ghcr.io.example'), 200, 'namespace of an empty variable');
is(host('ghcr.io.example', 'docker.io'), 404, 'namespace of a variable');
is(host('ghcr.io.example', 'ghcr.io.example'), 200,
	'namespace of a variable, own');

# however the request came to the location

for my $prefix ('', '/mirror', '/other') {
	is(request(GET => "$prefix/v2/library/a/manifests/latest",
		port => port(8083))->status, 200, "rewrite $prefix");
	is(brief(request(GET => "$prefix/v2/library/a/manifests/latest"
		. '?ns=docker.io', port => port(8083))), '404 NAME_UNKNOWN',
		"rewrite $prefix, another ns");
}

is(brief(request(GET => '//v2/./library/a/manifests/latest?ns=docker.io')),
	'404 NAME_UNKNOWN', 'another spelling of the path');
is(brief(request(GET => '/%762/library/a/manifests/latest?ns=docker.io')),
	'404 NAME_UNKNOWN', 'encoded path');
is(brief(request(GET => '',
	raw => "GET http://reg.example/v2/library/a/manifests/latest?ns=x "
	. "HTTP/1.1\r\nHost: reg.example\r\n\r\n")), '404 NAME_UNKNOWN',
	'absolute');

# names with wildcards, and regular expressions

is(wild($_->[0]), $_->[1], "$_->[0] of several names")
	for [ 'a.wild.example', 200 ], [ 'a.b.wild.example:443', 200 ],
		[ 'wild.example', 404 ], [ 'regex1', 200 ], [ 'regex', 404 ],
		[ 'dot.example', 200 ], [ 'a.dot.example', 200 ],
		[ 'xdot.example', 404 ], [ 'docker.io', 404 ];

is($t->read_file('namespace.log') =~ /^404 pull_manifest library\/a$/m ? 1 : 0,
	1, 'logged');

###############################################################################

sub brief {
	my ($r) = @_;
	return join(' ', grep { defined } $r->status, $r->code);
}

sub pull {
	my ($ns) = @_;
	return brief(request(GET => "/v2/library/a/manifests/latest?ns=$ns"))
		=~ s/^200.*/200/r;
}

sub host {
	my ($host, $registry) = @_;
	return request(GET => '/v2/library/a/manifests/latest',
		port => port(8082), headers => { Host => $host,
			'X-Registry' => $registry })->status;
}

sub wild {
	my ($ns) = @_;
	return request(GET => "/v2/library/a/manifests/latest?ns=$ns",
		port => port(8084), headers => { Host => 'a.wild.example' })
		->status;
}

###############################################################################
