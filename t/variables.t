#!/usr/bin/perl

# The variables: in the log, and before that in every phase.

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

my $t = Test::Nginx->new()->has(qw/http map rewrite access limit_req/)
	->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;
user root;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format registry '$arg_fence|$request_method $status|$registry_operation|'
                        '$registry_repository|$registry_reference|'
                        '$registry_digest|$registry_cache|$registry_remote';
    access_log %%TESTDIR%%/registry.log registry;

    map $registry_operation $pushes {
        ~^push_  1;
        default  0;
    }

    limit_req_zone $registry_repository zone=one:1m rate=1r/m;

    registry_store local { path %%TESTDIR%%/registry; tag_valid 1h; }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /v2/ {
            registry local;
            registry_push on;
            registry_delete on;
            registry_catalog on;
            add_header X-Operation "$registry_operation" always;
        }

        location /v2/frozen/ {
            registry local;
            registry_push on;

            if ($pushes) {
                return 403;
            }
        }

        location /v2/limited/ {
            registry local;
            limit_req zone=one;
        }

        location /v2/own/ {
            registry local;
            error_page 404 = @own;
        }

        location @own {
            return 200 "$registry_operation $registry_repository";
        }

        location /v2/renamed/ {
            registry local;
            rewrite ^/v2/renamed/(.*)$ /v2/$1 break;
            add_header X-Repository "$registry_repository" always;
        }

        location / {
            return 200 "[$registry_operation$registry_repository]";
        }
    }
}

EOF

$t->run()->plan(51);

###############################################################################

my $image = push_image('a/b', 'latest', 'layer');
my $digest = sha256($image);
my $blob = sha256('layer');
my $none = sha256('none');
my $file = $t->testdir() . '/registry.log';
my $fence = 0;
my @log;

# what everything is called

logged([ GET => '/v2/' ], '200|check|||||');
logged([ HEAD => '/v2/' ], '200|check|||||');
logged([ GET => '/v2/_catalog' ], '200|list_catalog|||||');
logged([ GET => '/v2/a/b/tags/list?n=1' ], '200|list_tags|a/b||||');
logged([ GET => "/v2/a/b/referrers/$digest" ],
	"200|list_referrers|a/b|$digest|$digest||");

logged([ GET => '/v2/a/b/manifests/latest' ],
	"200|pull_manifest|a/b|latest|$digest|MISS|");
logged([ GET => '/v2/a/b/manifests/latest' ],
	"200|pull_manifest|a/b|latest|$digest|HIT|");
logged([ HEAD => '/v2/a/b/manifests/latest' ],
	"200|pull_manifest|a/b|latest|$digest|HIT|");
logged([ GET => "/v2/a/b/manifests/$digest" ],
	"200|pull_manifest|a/b|$digest|$digest|HIT|");
logged([ GET => '/v2/a/b/manifests/none' ],
	'404|pull_manifest|a/b|none|||');
logged([ GET => "/v2/a/b/manifests/$none" ],
	"404|pull_manifest|a/b|$none|$none||");
logged([ GET => '/v2/a/b/manifests/latest', headers =>
	{ 'If-None-Match' => "\"$digest\"" } ],
	"304|pull_manifest|a/b|latest|$digest|HIT|");

logged([ PUT => '/v2/a/b/manifests/next', body => $image,
	headers => { 'Content-Type' => $MANIFEST } ],
	"201|push_manifest|a/b|next|$digest||");
logged([ PUT => "/v2/a/b/manifests/$digest", body => $image,
	headers => { 'Content-Type' => $MANIFEST } ],
	"201|push_manifest|a/b|$digest|$digest||");
logged([ PUT => '/v2/a/b/manifests/next', body => 'no manifest' ],
	'400|push_manifest|a/b|next|||');
logged([ PUT => "/v2/a/b/manifests/$none", body => $image ],
	"400|push_manifest|a/b|$none|$none||");
logged([ DELETE => '/v2/a/b/manifests/next' ],
	'202|delete_manifest|a/b|next|||');
logged([ DELETE => "/v2/a/b/manifests/$none" ],
	"404|delete_manifest|a/b|$none|$none||");

logged([ GET => "/v2/a/b/blobs/$blob" ], "200|pull_blob|a/b|$blob|$blob||");
logged([ GET => "/v2/a/b/blobs/$blob", headers => { Range => 'bytes=1-2' } ],
	"206|pull_blob|a/b|$blob|$blob||");
logged([ GET => "/v2/a/b/blobs/$blob", headers => { Range => 'bytes=9-' } ],
	"416|pull_blob|a/b|$blob|$blob||");
logged([ HEAD => "/v2/a/b/blobs/$none" ], "404|pull_blob|a/b|$none|$none||");

my $r = logged([ POST => '/v2/a/b/blobs/uploads/' ], '202|push_blob|a/b||||');
my $uri = $r->location();
my ($session) = $uri =~ m!([^/]*)$!;

logged([ PATCH => $uri, body => 'x' ], "202|push_blob|a/b|$session|||");
logged([ GET => $uri ], "204|push_blob|a/b|$session|||");
logged([ PATCH => $uri, body => 'x', headers =>
	{ 'Content-Range' => '0-0' } ], "416|push_blob|a/b|$session|||");
logged([ PUT => "$uri?digest=" . sha256('x') ],
	"201|push_blob|a/b|$session|" . sha256('x') . '||');
logged([ DELETE => $uri ], "404|push_blob|a/b|$session|||");

logged([ POST => '/v2/a/b/blobs/uploads/?digest=' . sha256('y'), body => 'y' ],
	'201|push_blob|a/b||' . sha256('y') . '||');
logged([ POST => "/v2/c/blobs/uploads/?from=a/b&mount=$blob" ],
	"201|push_blob|c||$blob||");
logged([ DELETE => "/v2/c/blobs/$blob" ], "202|delete_blob|c|$blob|$blob||");

# what is not permitted, or makes no sense

logged([ DELETE => '/v2/a/b/tags/list' ], '405||a/b||||');
logged([ PATCH => '/v2/a/b/manifests/latest' ], '405||a/b|latest|||');
logged([ GET => '/v2/A/manifests/latest' ], '400||A|latest|||');
logged([ GET => '/v2/a/b/manifests/-' ], '400||a/b|-|||');
logged([ GET => '/v2/a/b/nothing' ], '404||||||');
logged([ GET => '/v2/a/b/manifests/latest?ns=docker.io' ],
	"404|pull_manifest|a/b|latest|||");
logged([ GET => '', raw => "GET /v2/%00 HTTP/1.1\r\nHost: a\r\n\r\n" ],
	'400||||||');
logged([ GET => '', raw => "TRACE /v2/ HTTP/1.1\r\nHost: a\r\n\r\n" ],
	'405||||||', 'TRACE');

# before the handler

is(request(GET => '/v2/a/b/tags/list')->header('X-Operation'), 'list_tags',
	'header');
is(request(POST => '/v2/frozen/x/blobs/uploads/')->status, 403,
	'map, push of a blob');
is(request(PUT => '/v2/frozen/x/manifests/x', body => $image)->status, 403,
	'map, push of a manifest');
is(request(GET => '/v2/frozen/x/tags/list')->status, 404, 'map, pull');

is(request(GET => "/v2/limited/$_/tags/list")->status, 404, "limit, $_")
	for 'one', 'two';
is(request(GET => '/v2/limited/one/manifests/x')->status, 503,
	'limit, one again');

# after a redirect, and a rewrite

is(request(GET => '/v2/own/x/tags/list')->body, 'list_tags own/x',
	'internal redirect');
is(request(GET => '/v2/renamed/a/b/tags/list')->header('X-Repository'), 'a/b',
	'rewrite');
logged([ GET => '/v2/renamed/a/b/manifests/latest' ],
	"200|pull_manifest|a/b|latest|$digest|MISS|");

# elsewhere

is(request(GET => '/x')->body, '[]', 'another location');
logged([ GET => '/x' ], '200||||||');

###############################################################################

# the line that a request leaves in the log; '-' is what is empty

sub logged {
	my ($request, $expected, $name) = @_;

	fence();
	my $r = request(@$request);
	fence();

	my ($line) = join("\n", @log) =~ /\n-\|(.*)\n$fence\|/;

	is($line, ($name // $request->[0]) . ' ' . join('|',
		map { length ? $_ : '-' } split(/\|/, $expected, -1)),
		substr("$expected, $request->[1]", 0, 60));

	return $r;
}

# lines are written after answers, but one after another

sub fence {
	$fence++;
	request(GET => "/x?fence=$fence");

	for (1 .. 500) {
		@log = read_log();
		last if grep { /^$fence\|/ } @log;
		select(undef, undef, undef, 0.01);
	}
}

sub read_log {
	open(my $fh, '<', $file) or return;
	chomp(my @lines = <$fh>);
	return @lines;
}

###############################################################################
