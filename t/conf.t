#!/usr/bin/perl

# The configuration: what "nginx -t" refuses, with file and line; how the
# directives inherit; and locations in locations, limit_except and "if".

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

my $t = Test::Nginx->new()->has(qw/http rewrite proxy empty_gif access
	ssi auth_request mirror/)
	->plan(194);

my $head = <<'EOF';
%%TEST_GLOBALS%%

daemon off;
user root;

events {
}
EOF

###############################################################################

# what is refused: the line with the mistake is marked

my $store = 'registry_store local { path %%TESTDIR%%/registry; }';
my $server = 'server { listen 127.0.0.1:8080; location /v2/ {'
	. ' registry local; } }';

refused($t, 'store without a path', <<'EOF', qr/"local" has no "path"/);
registry_store local {
}                                                       # here
EOF

refused($t, 'store with an empty path', <<'EOF', qr/"path" is empty/);
registry_store local {
    path "";                                            # here
}
EOF

refused($t, 'two paths', <<'EOF', qr/"path" is duplicate/);
registry_store local {
    path %%TESTDIR%%/a;
    path %%TESTDIR%%/b;                                 # here
}
EOF

refused($t, 'variable in a path', <<'EOF', qr/"path" cannot have variables/);
registry_store local {
    path %%TESTDIR%%/$host;                             # here
}
EOF

refused($t, 'two stores of one name', <<'EOF', qr/duplicate registry_store "local"/);
registry_store local { path %%TESTDIR%%/a; }
registry_store local { path %%TESTDIR%%/b; }            # here
EOF

for my $path ('a', 'a/', 'a//', '/a', './a', 'a/.') {
	refused($t, "two stores of one path, $path", <<"EOF",
registry_store one { path %%TESTDIR%%/a; }
registry_store two { path %%TESTDIR%%/$path; }          # here
EOF
		qr/registry_store "two" has the path of registry_store "one"/);
}

refused($t, 'store named off', <<'EOF', qr/cannot be named "off"/);
registry_store off { path %%TESTDIR%%/a; }              # here
EOF

refused($t, 'store without a name', <<'EOF', qr/invalid number of arguments/);
registry_store { path %%TESTDIR%%/a; }                  # here
EOF

refused($t, 'store without a block', <<'EOF', qr/has no opening "\{"/);
registry_store local;                                   # here
EOF

refused($t, 'unknown parameter', <<'EOF', qr/parameter "size" of a registry_store/);
registry_store local {
    path %%TESTDIR%%/a;
    size 1g;                                            # here
}
EOF

for (qw/ max_size=1g min_free=1g inactive=1d adopt=docker.io /) {
	my ($name, $value) = split(/=/);

	refused($t, "$name of a store", <<"EOF",
registry_store local {
    path %%TESTDIR%%/a;
    $name $value;                                       # here
}
EOF
		qr/a registry_store has no "$name", a registry_cache has/);

	refused($t, "$name twice", <<"EOF", qr/"$name" is duplicate/);
registry_cache edge {
    path %%TESTDIR%%/a;
    $name $value;
    $name $value;                                       # here
}
EOF
}

refused($t, 'parameter of a store', <<'EOF', qr/registry_cache has no "upload_/);
registry_cache edge {
    path %%TESTDIR%%/a;
    upload_expires 1d;                                  # here
}
EOF

refused($t, 'unknown parameter of a cache', <<'EOF', qr/"size" of a registry_cache/);
registry_cache edge {
    path %%TESTDIR%%/a;
    size 1g;                                            # here
}
EOF

refused($t, 'cache without a path', <<'EOF', qr/registry_cache "edge" has no "path"/);
registry_cache edge {
    max_size 1g;
}                                                       # here
EOF

refused($t, 'cache named off', <<'EOF', qr/cannot be named "off"/);
registry_cache off { path %%TESTDIR%%/a; }              # here
EOF

refused($t, 'store and cache of one name', <<'EOF', qr/duplicate registry_cache "one"/);
registry_store one { path %%TESTDIR%%/a; }
registry_cache one { path %%TESTDIR%%/b; }              # here
EOF

refused($t, 'store and cache of one path', <<'EOF',
registry_cache two { path %%TESTDIR%%/a;  max_size 1g; }
registry_store one { path %%TESTDIR%%/a; }              # here
EOF
	qr/registry_store "one" has the path of registry_cache "two"/);

for my $ns ('docker.io', 'ghcr.io', 'ghcr.io:443') {
	refused($t, "adopt for $ns", <<"EOF",
registry_cache edge {
    path %%TESTDIR%%/a;  max_size 1g;
    adopt $ns;                                          # here
}
registry_cache two { path %%TESTDIR%%/b;  max_size 1g; }
registry_remote quay.io { cache edge;  url http://127.0.0.1:1; }
registry_remote ghcr.io { cache two;  url http://127.0.0.1:1; }
EOF
		qr/"$ns" is no registry_remote with this cache/);
}

accepted($t, 'adopt for an alias', <<'EOF');
registry_cache edge { path %%TESTDIR%%/a;  max_size 1g;  adopt x.example; }
registry_remote quay.io { cache edge;  url http://127.0.0.1:1;  alias x.example; }
EOF

refused($t, 'a cache as a registry', <<'EOF', qr/"edge" is a registry_cache, not/);
registry_cache edge { path %%TESTDIR%%/a;  max_size 1g; }
server {
    location /v2/ {
        registry edge;                                  # here
    }
}
EOF

refused($t, 'parameter without a value', <<'EOF', qr/arguments in "path"/);
registry_store local {
    path;                                               # here
}
EOF

refused($t, 'parameter with two values', <<'EOF', qr/arguments in "tag_valid"/);
registry_store local {
    tag_valid 1s 2s;                                    # here
}
EOF

refused($t, 'block in a store', <<'EOF', qr/"path"|unexpected "\{"/);
registry_store local {
    path a {                                            # here
    }
}
EOF

for my $bad (qw/ x -1 1x 1.5 99999999999999999999 /, '""') {
	for my $name (qw/ tag_valid upload_expires /) {
		refused($t, "$name $bad", <<"EOF",
registry_store local {
    path %%TESTDIR%%/a;
    $name $bad;                                         # here
}
EOF
			qr/"$name" invalid value|"$name" is/);
	}

	for my $name (qw/ max_size min_free inactive /) {
		refused($t, "$name $bad", <<"EOF",
registry_cache edge {
    path %%TESTDIR%%/a;
    $name $bad;                                         # here
}
EOF
			qr/"$name" invalid value|"$name" is/);
	}
}

refused($t, 'upload_expires 0', <<'EOF', qr/"upload_expires" must be above zero/);
registry_store local {
    path %%TESTDIR%%/a;
    upload_expires 0;                                   # here
}
EOF

for (qw/ tag_valid=1s upload_expires=1h threads=default /) {
	my ($name, $value) = split(/=/);

	refused($t, "$name twice", <<"EOF", qr/"$name" is duplicate/);
registry_store local {
    path %%TESTDIR%%/a;
    $name $value;
    $name $value;                                       # here
}
EOF
}

refused($t, 'unknown thread pool', <<'EOF', qr/unknown thread pool "none"/);
registry_store local {
    path %%TESTDIR%%/a;
    threads none;                                       # here
}
EOF

refused($t, 'unknown store', <<'EOF', qr/unknown registry_store "none"/);
server {
    location /v2/ {
        registry none;                                  # here
    }
}
EOF

refused($t, 'unknown store, nested', <<"EOF", qr/unknown registry_store "none"/);
$store
server {
    location /v2/ {
        registry local;

        location /v2/x/ {
            registry none;                              # here
        }
    }
}
EOF

refused($t, 'registry twice', <<"EOF", qr/"registry" directive is duplicate/);
$store
server {
    location /v2/ {
        registry local;
        registry local;                                 # here
    }
}
EOF

refused($t, 'registry off, and on', <<"EOF", qr/"registry" directive is duplicate/);
$store
server {
    location /v2/ {
        registry off;
        registry local;                                 # here
    }
}
EOF

refused($t, 'registry without a store', <<'EOF', qr/invalid number of arguments/);
server {
    location /v2/ {
        registry;                                       # here
    }
}
EOF

for my $context ('', 'server {', 'server { location /v2/ { if ($args) {',
	'server { location /v2/ { limit_except GET {')
{
	refused($t, "registry in \"$context\"", "$store\n$context\n"
		. "registry local;        # here\n"
		. '}' x ($context =~ tr/{//) . "\n",
		qr/"registry" directive is not allowed here/);
}

for my $name (qw/ registry_push registry_mount registry_delete
	registry_catalog /)
{
	refused($t, "$name is no flag", <<"EOF", qr/invalid value "yes"/);
$name yes;                                              # here
EOF

	refused($t, "$name twice", <<"EOF", qr/"$name" directive is duplicate/);
$name on;
$name on;                                               # here
EOF
}

refused($t, 'references', <<'EOF', qr/invalid value "maybe"/);
registry_references maybe;                              # here
EOF

refused($t, 'references twice', <<'EOF', qr/is duplicate/);
registry_references on;
registry_references off;                                # here
EOF

for my $bad (qw/ x -1 1t 99999999999999999999 /, '""') {
	refused($t, "max_blob_size $bad", <<"EOF",
registry_max_blob_size $bad;                            # here
EOF
		qr/"registry_max_blob_size" directive invalid value/);
}

for my $bad (qw/ x -1 0 1k 127k 99999999999999999999 /, '""') {
	refused($t, "zone $bad", <<"EOF",
registry_zone $bad;                                     # here
EOF
		qr/is too small|has an invalid size/);
}

refused($t, 'zone twice', <<'EOF', qr/"registry_zone" directive is duplicate/);
registry_zone 1m;
registry_zone 2m;                                       # here
EOF

refused($t, 'zone in a server', <<'EOF', qr/"registry_zone" directive is not allow/);
server {
    registry_zone 1m;                                   # here
}
EOF

refused($t, 'store in a server', <<'EOF', qr/"registry_store" directive is not a/);
server {
    registry_store local {                              # here
        path %%TESTDIR%%/a;
    }
}
EOF

refused($t, 'namespace in a location', <<'EOF', qr/directive is not allowed here/);
server {
    location /v2/ {
        registry_namespace docker.io;                   # here
    }
}
EOF

refused($t, 'namespace twice', <<'EOF', qr/is duplicate/);
registry_namespace docker.io;
registry_namespace docker.io;                           # here
EOF

refused($t, 'namespace of nobody', <<"EOF", qr/"dokcer.io" is neither that of a re/);
$store
registry_namespace dokcer.io;                           # here
server {
    server_name reg.example;
    location /v2/ { registry local; }
}
EOF

accepted($t, 'namespaces of servers, and where there is no registry', <<"EOF");
$store
registry_cache edge { path %%TESTDIR%%/edge;  max_size 1g; }
registry_remote ghcr.io { url http://127.0.0.1:1;  cache edge;  alias x.example; }
registry_namespace nobody.example;
server {
    listen 127.0.0.1:8080;
    server_name reg.example;
    registry_namespace Reg.Example:5000;
    location /v2/ { registry local; }
}
server {
    listen 127.0.0.1:8081;
    registry_namespace x.example;
    location /v2/ { registry_proxy all; }
}
server {
    listen 127.0.0.1:8082;
    registry_namespace "";
    location /v2/ { registry_proxy all; }
}
server {
    listen 127.0.0.1:8083;
}
EOF

like(conf($t, 'registry_namespace $none;'), qr/\[emerg\] unknown "none" variable/,
	'refused: namespace of no variable');

refused($t, 'status of no format', <<'EOF', qr/wants "json" or "prometheus"/);
server {
    location = /status {
        registry_status xml;                            # here
    }
}
EOF

refused($t, 'status twice', <<'EOF', qr/"registry_status" directive is duplicate/);
server {
    location = /status {
        registry_status;
        registry_status prometheus;                     # here
    }
}
EOF

refused($t, 'status of a server', <<'EOF', qr/"registry_status" directive is not a/);
server {
    registry_status;                                    # here
}
EOF

refused($t, 'registry, then status', <<"EOF", qr/conflicts with another handler/);
$store
server {
    location /v2/ {
        registry local;
        registry_status;                                # here
    }
}
EOF

refused($t, 'status, then registry', <<"EOF", qr/conflicts with another handler/);
$store
server {
    location /v2/ {
        registry_status;
        registry local;                                 # here
    }
}
EOF

refused($t, 'purges twice', <<'EOF', qr/"registry_purge" directive is duplicate/);
server {
    location /purge/ {
        registry_purge;
        registry_purge;                                 # here
    }
}
EOF

refused($t, 'purges of a server', <<'EOF', qr/"registry_purge" directive is not a/);
server {
    registry_purge;                                     # here
}
EOF

refused($t, 'purges of an unknown remote', <<'EOF', qr/unknown registry_remote "x"/);
server {
    location /purge/ {
        registry_purge x;                               # here
    }
}
EOF

for my $location ('~ ^/purge/', '@purge') {
	refused($t, "purges of $location", <<"EOF", qr/needs a location by prefix/);
server {
    location $location {
        registry_purge;                                 # here
    }
}
EOF
}

for my $other ('registry local;', 'empty_gif;', 'registry_status;') {
	my ($first, $second) = $other =~ /registry/ ? ('', '# here')
		: ('# here', '');

	refused($t, "purges, then $other", <<"EOF", qr/conflicts with another handl/);
$store
server {
    location /v2/ {
        registry_purge;                                 $first
        $other                                          $second
    }
}
EOF

	refused($t, "$other then purges", <<"EOF", qr/conflicts with another handl/);
$store
server {
    location /v2/ {
        $other
        registry_purge;                                 # here
    }
}
EOF
}

for my $pattern ('A/*', 'a:1', '""', 'a?', 'x' x 256) {
	refused($t, "pattern $pattern", <<"EOF", qr/invalid pattern ".*" of repositories/);
registry_local_only a/* $pattern;                       # here
EOF
}

refused($t, 'pattern with a namespace', <<'EOF', qr!pattern "ghcr.io/a/\*" of names!);
registry_cache edge { path %%TESTDIR%%/edge;  max_size 1g; }
registry_remote ghcr.io { url http://127.0.0.1:1;  cache edge; }
server {
    location /v2/ {
        registry_proxy all;
        registry_local_only a/*;
        registry_local_only b/* ghcr.io/a/*;            # here
    }
}
EOF

for my $url ('https://user:password-of-it@host/', 'https://host/?password-of-it') {
	refused($t, "url $url", <<"EOF", qr!without user and query: "(?:https://)?host/"!);
registry_cache edge { path %%TESTDIR%%/edge;  max_size 1g; }
registry_remote ghcr.io { url $url;  cache edge; }      # here
EOF
}

for my $name ('all', 'off') {
	refused($t, "a remote named $name", <<"EOF", qr/invalid name of a registry_remote "$name"/);
registry_remote $name { url http://127.0.0.1:1; }         # here
EOF

	refused($t, "an alias $name", <<"EOF", qr/invalid alias "$name"/);
registry_remote ghcr.io { alias $name; }                  # here
EOF
}

# something else that answers in the location, before or after

for my $other ('proxy_pass http://127.0.0.1:8081;', 'empty_gif;') {
	my ($name) = $other =~ /(\w+)/;

	refused($t, "$name, then registry", <<"EOF", qr/registry.*(?:handler|conflict)/);
$store
server {
    location /v2/ {
        $other
        registry local;                                 # here
    }
}
EOF

	refused($t, "registry, then $name", <<"EOF", qr/registry|duplicate|conflict/);
$store
server {
    location /v2/ {
        registry local;                                 # here
        $other
    }
}
EOF

	for my $remote ('ghcr.io', 'all') {
		refused($t, "registry_proxy $remote, then $name", <<"EOF",
registry_cache edge { path %%TESTDIR%%/edge;  max_size 1g; }
registry_remote ghcr.io { url http://127.0.0.1:1;  cache edge; }
server {
    location /v2/ {
        registry_proxy $remote;                         # here
        $other
    }
}
EOF
			qr/"registry_proxy" conflicts with another handler/);
	}
}

refused($t, 'pushes to what is not hosted', <<'EOF', qr/"registry_push on" is about what is hosted/);
registry_cache edge { path %%TESTDIR%%/edge;  max_size 1g; }
registry_remote ghcr.io { url http://127.0.0.1:1;  cache edge; }
server {
    location /v2/ {
        registry_push on;
        registry_proxy all;                             # here
    }
}
EOF

# what is fine, and makes nothing

accepted($t, 'nothing', '');
accepted($t, 'a store that nobody uses', $store);
accepted($t, 'status of nothing', 'server { location = /status {'
	. ' registry_status; } }');
accepted($t, 'purges of nothing', 'server { location /purge/ {'
	. ' registry_purge; } }');
accepted($t, 'purges, and others within', <<"EOF");
registry_cache edge { path %%TESTDIR%%/edge;  max_size 1g; }
registry_remote ghcr.io { url http://127.0.0.1:1;  cache edge; }
$store
server {
    listen 127.0.0.1:8080;

    location / {
        registry_purge ghcr.io;

        location /v2/     { registry local; }
        location /v2/x/   { registry_proxy all; }
        location /status  { registry_status; }
        location /nothing { return 204; }
    }
}
EOF
accepted($t, 'a store that comes later', "$server\n$store");
accepted($t, 'zone of the least size', "registry_zone 192k;\n$store\n$server");
accepted($t, 'all of a store', <<"EOF");
registry_store local {
    path            %%TESTDIR%%/registry;
    tag_valid       500ms;
    upload_expires  1w;
    threads         default;
}
$server
EOF
accepted($t, 'a relative path', "registry_store local { path registry; }\n$server");
accepted($t, 'everything of a cache', <<"EOF");
$store
registry_cache edge {
    path       %%TESTDIR%%/edge;
    max_size   200g;
    min_free   10g;
    inactive   30d;
    tag_valid  5s;
    threads    default;
}
$server
EOF
accepted($t, 'nothing but caches', <<'EOF');
registry_cache one { path %%TESTDIR%%/a;  max_size 0;  min_free 0;  inactive 1s; }
registry_cache two { path %%TESTDIR%%/b;  min_free 1; }
EOF
like(conf($t, 'registry_cache edge { path %%TESTDIR%%/a; }'),
	qr/\[warn\] .*registry_cache "edge" has no limit: .* in \S+nginx.conf:\d+\n/,
	'a cache without a limit');
accepted($t, 'pushes that are on elsewhere', <<"EOF");
$store
registry_push on;
registry_cache edge { path %%TESTDIR%%/edge;  max_size 1g; }
registry_remote ghcr.io { url http://127.0.0.1:1;  cache edge; }
server {
    location /v2/ {
        registry local;
        registry_push on;

        location /v2/ghcr.io/ {
            registry off;
            registry_proxy all;
        }

        location /v2/ghcr.io/x/ {
            registry_proxy all;
            registry_push on;
        }
    }

    location /v2/ghcr.io/y/ {
        registry_proxy all;
    }
}
EOF
accepted($t, 'remotes, and something else within', <<"EOF");
registry_cache edge { path %%TESTDIR%%/edge;  max_size 1g; }
registry_remote ghcr.io { url http://127.0.0.1:1;  cache edge; }
server {
    location /v2/ {
        registry_proxy all;

        location /v2/y/ {
            proxy_pass http://127.0.0.1:8081;
        }
    }
}
EOF
accepted($t, 'a store off', <<"EOF");
$store
server {
    location /v2/ {
        registry local;

        location /v2/x/ {
            registry off;
            proxy_pass http://127.0.0.1:8081;
        }

        location /v2/y/ {
            proxy_pass http://127.0.0.1:8081;
        }
    }
}
EOF
accepted($t, 'two stores, one below the other', <<"EOF");
registry_store one { path %%TESTDIR%%/a; }
registry_store two { path %%TESTDIR%%/a/b; }
EOF

ok(!-e $t->testdir() . "/$_", "$_ is not made by a test")
	for qw/ registry a /;

###############################################################################

# how it inherits

$t->write_file('ssi.html', 'a<!--#include virtual="/v2/a/tags/list" -->b'
		. '<!--#include virtual="/v2/a/blobs/' . sha256('x' x 10)
		. '" -->c<!--#include virtual="/v2/a/manifests/none" -->')
	->write_file('x.txt', 'a file')
	->write_file_expand('nginx.conf', $head . <<'EOF');

thread_pool few threads=1;

http {
    %%TEST_GLOBALS_HTTP%%

    registry_store one { path %%TESTDIR%%/one; threads few; }
    registry_store two { path two; }

    registry_push on;
    registry_delete on;
    registry_max_blob_size 10;
    registry_references off;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        registry_catalog on;

        location /v2/ {
            registry one;

            location /v2/nested/ {
                registry_push off;
            }

            location /v2/second/ {
                registry two;
                registry_max_blob_size 0;
                registry_references on;

                location ~ ^/v2/second/deep/ {
                    registry_max_blob_size 1k;
                }
            }

            location /v2/off/ {
                registry off;
            }

            location /v2/gif/ {
                empty_gif;
            }

            location /v2/except/ {
                limit_except GET {
                    allow 127.0.0.2;
                    deny all;
                }
            }

            location /v2/if/ {
                if ($arg_x) {
                    set $y z;
                }

                if ($request_method = POST) {
                    add_header X-If yes always;
                }
            }
        }

        location /v2/renamed/ {
            registry one;
            rewrite ^/v2/renamed/(.*) /v2/$1 break;
        }

        location /elsewhere/ {
            rewrite ^/elsewhere(/.*) $1 last;
        }

        location /static/ {
        }

        location = /ssi.html {
            ssi on;
        }

        location /asked/ {
            auth_request /v2/a/tags/list;
            alias %%TESTDIR%%/;
        }

        location /mirrored/ {
            mirror /v2/a/tags/list;
            alias %%TESTDIR%%/;
        }
    }

    server {
        listen       127.0.0.1:8081;
        server_name  localhost;

        registry_push off;

        location /v2/ {
            registry one;
        }
    }
}

EOF

my $dir = $t->testdir();

# what the tests left: it would be taken for that of a running nginx

unlink "$dir/nginx.pid";

$t->run();

is(push10('a'), '201 413', 'of http');
is(push10('nested/x'), '405 405', 'in a nested location');
is(push10('second/x'), '201 201', 'in a nested location of another store');
is(push10('second/deep/x'), '201 201', 'in a location nested deeper');
is(push10('a', port(8081)), '405 405', 'of another server');

ok(-d "$dir/one/docker", 'store one');
ok(-d "$dir/two/docker", 'store two, a relative path');

is(brief(push_manifest('a', 'x', missing())), '201', 'references of http');
is(brief(push_manifest('second/x', 'x', missing())),
	'400 MANIFEST_BLOB_UNKNOWN', 'references of a location');
is(request(GET => '/v2/_catalog')->body, '{"repositories":["a"]}',
	'catalog of the server');
is(brief(request(GET => '/v2/_catalog', port => port(8081))),
	'405 UNSUPPORTED', 'no catalog of another');
is(request(DELETE => '/v2/a/manifests/x')->status, 202, 'delete of http');

is(brief(request(GET => '/v2/nested/x/tags/list')), '404 NAME_UNKNOWN',
	'nested answers');
like(request(GET => '/v2/off/x/tags/list')->body, qr/<html>/, 'off');
is(request(GET => '/v2/gif/x')->header('Content-Type'), 'image/gif',
	'another handler');
like(request(GET => '/static/x')->body, qr/<html>/, 'outside');

is(brief(request(GET => '/v2/except/x/tags/list')), '404 NAME_UNKNOWN',
	'limit_except');
is(brief(request(POST => '/v2/except/x/blobs/uploads/')), '403 DENIED',
	'limit_except, denied');

is(brief(request(GET => '/v2/if/x/tags/list?x=1')), '404 NAME_UNKNOWN', 'if');
is(brief(request(POST => '/v2/if/x/blobs/uploads/?x=1&digest=' . sha256('x'),
	body => 'x')), '201', 'if, post');
is(request(POST => '/v2/if/x/blobs/uploads/')->header('X-If'), 'yes',
	'if, its headers');
is(push10('if/x'), '201 413', 'if, its limits');

my $r = request(GET => '/v2/renamed/a/tags/list');
is($r->status . ' ' . $r->json->{name}, '200 a', 'rewrite, break');
$r = request(POST => '/v2/renamed/a/blobs/uploads/?digest=' . sha256('x'),
	body => 'x');
is($r->status . ' ' . $r->location(), '201 /v2/a/blobs/' . sha256('x'),
	'rewrite, location');
$r = request(GET => '/elsewhere/v2/a/tags/list');
is($r->status . ' ' . $r->json->{name}, '200 a', 'rewrite, last');

# in subrequests

like(http_get('/ssi.html'), qr/a\{"name":"a","tags":\[\]\}bx{10}c<html>/,
	'included');
is(request(GET => '/asked/x.txt')->body, 'a file', 'auth_request');
is(request(GET => '/mirrored/x.txt')->body, 'a file', 'mirror');

###############################################################################

sub brief {
	my ($r) = @_;
	return join(' ', grep { defined } $r->status, $r->code);
}

sub missing {
	return { schemaVersion => 2, mediaType => $MANIFEST, layers => [
		{ digest => sha256('none'), size => 4 } ] };
}

# pushes ten bytes, and eleven

sub push10 {
	my ($name, $port) = @_;

	return join(' ', map { request(POST => "/v2/$name/blobs/uploads/"
		. '?digest=' . sha256('x' x $_), body => 'x' x $_,
		port => $port)->status } 10, 11);
}

# an error, at the line that says so

sub refused {
	my ($t, $name, $lines, $re) = @_;
	my $out = conf($t, $lines);

	my @lines = split(/\n/, $t->read_file('nginx.conf'));
	my ($n) = grep { $lines[$_ - 1] =~ /# here/ } 1 .. @lines;

	if ($out =~ /test is successful/) {
		fail("refused: $name");
		return;
	}

	my ($error) = $out =~ /\[emerg\] (.*)/;
	like($error // $out, qr/$re.* in \S*nginx\.conf:$n$/,
		"refused: $name");
}

sub accepted {
	my ($t, $name, $lines) = @_;
	like(conf($t, $lines), qr/test is successful/, "accepted: $name");
}

sub conf {
	my ($t, $lines) = @_;

	$t->write_file_expand('nginx.conf', $head . "http {\n"
		. "    %%TEST_GLOBALS_HTTP%%\n$lines\n}\n");

	return $t->dump_config();
}

###############################################################################
