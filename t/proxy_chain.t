#!/usr/bin/perl

# A cache behind a cache, and one that asks itself.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Images;
use Test::Nginx;
use Test::Nginx::Origin;
use Test::Nginx::Registry;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

# at a branch office, and the main site's that it asks

my $conf = <<'EOF';

%%TEST_GLOBALS%%

daemon off;
user root;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    add_header X-How "$registry_cache" always;

    registry_cache edge { path %%TESTDIR%%/cache;  max_size 1g; }

    registry_remote docker.io { url http://127.0.0.1:PARENT;  cache edge; }
    registry_remote loop.example { url http://127.0.0.1:LOOP;  cache edge; }

    server {
        listen       127.0.0.1:OWN;
        registry_namespace docker.io;

        location /v2/ {
            registry_proxy all;
            registry_push proxy;
            registry_catalog on;
        }
    }

    # is asked for the same by those who ask in a circle

    server {
        listen       127.0.0.1:CIRCLE;
        registry_namespace loop.example;

        location /v2/ {
            registry_proxy all;
        }
    }
}

EOF

my $branch = Test::Nginx->new()->has(qw/http/);
my $main = Test::Nginx->new();

$branch->write_file_expand('nginx.conf', place(OWN => 8080, PARENT => 8081,
	CIRCLE => 8083, LOOP => 8084));
$main->write_file_expand('nginx.conf', place(OWN => 8081, PARENT => 8082,
	CIRCLE => 8084, LOOP => 8083));

my $hub = Test::Nginx::Origin->new($branch, port => 8082);

$main->run();
$branch->run()->plan(31);

###############################################################################

my $image = $hub->image('library/alpine', '3', [ 'layer' x 10000, 'another' ]);
my $index = $hub->index('library/alpine', 'latest', $image);
my $base = '/v2/library/alpine';

# headers and bytes are the origin's, and it is asked once

for my $reference ('latest', '3', $image->{digest}) {
	my $path = "$base/manifests/$reference";
	my $own = request(GET => $path, port => port(8082));

	$hub->forget();

	for my $round ('cold', 'warm') {
		my $r = request(GET => $path);

		is($r->body, $own->body, "$reference, $round");
		is($r->header('Content-Type') . $r->header('Docker-Content-Digest'),
			$own->header('Content-Type')
			. $own->header('Docker-Content-Digest'),
			"$reference, $round, headers");
	}

	cmp_ok($hub->requests(), '<=', 1, "$reference, asked once");
}

for my $layer (@{$image->{layers}}) {
	my $path = "$base/blobs/$layer->{digest}";

	$hub->forget();

	is(request(GET => $path)->body, $layer->{content}, 'layer, cold');
	like(request(GET => $path)->header('X-How'), qr/^(?:HIT|JOIN)$/,
		'layer, warm');
	is($hub->requests(qr/^GET/), 1, 'layer, asked once');
}

# what it does not have, and what is pushed through both

is(request(GET => "$base/manifests/none")->code, 'MANIFEST_UNKNOWN',
	'not there');
is(request(GET => "$base/tags/list")->json->{tags}[0], '3', 'tags');

my $digest = push_blob('library/pushed', 'through both');
my $manifest = Images::image([ Images::blob('through both') ]);
push_blob('library/pushed', $_->{content}) for @{$manifest->{blobs}};

is(request(PUT => '/v2/library/pushed/manifests/1',
	body => $manifest->{content},
	headers => { 'Content-Type' => $manifest->{type} })->status, 201,
	'pushed');
is(request(GET => '/v2/library/pushed/manifests/1', port => port(8082))->body,
	$manifest->{content}, 'pushed, at the origin');

# a circle ends where it began, and does not wait for itself

my $r = request(GET => '/v2/library/x/manifests/1', port => port(8083));
is($r->status . ' ' . $r->code, '508 UNAVAILABLE', 'circle, manifest');
$r = request(GET => '/v2/library/x/blobs/' . sha256('x'), port => port(8083));
is($r->status . ' ' . $r->code, '508 UNAVAILABLE', 'circle, blob');

$hub->stop();
is(request(GET => "$base/manifests/$index->{digest}")->body,
	$index->{content}, 'the origin is down');

$main->stop();
is(request(GET => "$base/manifests/$index->{digest}")->body,
	$index->{content}, 'the main site is down');

###############################################################################

sub place {
	my %ports = @_;
	return $conf =~ s/\b(OWN|PARENT|CIRCLE|LOOP)\b/$ports{$1}/gr;
}

###############################################################################
