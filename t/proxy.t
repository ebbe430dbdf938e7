#!/usr/bin/perl

# Pulling what another registry has: by tag and digest, cold, warm, moved,
# gone, with the remote down; names, credentials, lists, errors.

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
use Test::Nginx::Token;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http/)
	->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;
user root;
worker_shutdown_timeout 1s;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    add_header X-How "$status $registry_remote $registry_cache $registry_operation $registry_repository" always;

    registry_cache edge { path %%TESTDIR%%/cache;  max_size 1g; }
    registry_store local { path %%TESTDIR%%/local; }

    registry_remote default { cache edge;  valid 1s;  valid 404 1s; }

    registry_remote docker.io {
        url    http://127.0.0.1:8081;
        alias  index.docker.io registry-1.docker.io;
    }

    registry_remote basic.example {
        url          http://127.0.0.1:8082;
        credentials  %%TESTDIR%%/basic.cred;
    }

    registry_remote token.example:5000 {
        url          http://127.0.0.1:8083;
        credentials  %%TESTDIR%%/token.cred;
        allow_private on;
    }

    server {
        listen       127.0.0.1:8080;
        server_name  reg.example;

        location /v2/ {
            registry local;
            registry_push on;
        }

        location /v2/docker.io/ {
            registry_proxy docker.io;
            registry_catalog on;
        }

        location /v2/basic.example/ {
            registry_proxy basic.example;
        }

        location /v2/token.example:5000/ {
            registry_proxy all;
        }
    }

    server {
        listen       127.0.0.1:8085;
        registry_namespace docker.io;

        location /v2/ {
            registry_proxy all;
        }
    }
}

EOF

$t->write_file('basic.cred', "# robot\nrobot\$edge:se:cr\$et\n");
$t->write_file('token.cred', to_json({ auths => { 'token.example:5000' => {
	username => 'alice', password => 'wonder' } } }));

my $hub = Test::Nginx::Origin->new($t, port => 8081);
my $basic = Test::Nginx::Origin->new($t, port => 8082,
	basic => 'robot$edge:se:cr$et');
my $token = Test::Nginx::Token->new($t, port => 8084,
	users => { alice => { password => 'wonder',
		allow => { 'team/*' => 'pull' } } }, anonymous => undef);
my $bearer = Test::Nginx::Origin->new($t, port => 8083, token => $token);

$t->run()->plan(82);

###############################################################################

my $image = $hub->image('library/alpine', 'latest', [ 'layer' ]);
my $digest = $image->{digest};
my $layer = $image->{layers}[0]{digest};

# cold and warm, by every spelling of the name

my $path = '/v2/docker.io/library/alpine/manifests/latest';
my $r = request(GET => $path);

is($r->status, 200, 'cold');
is($r->body, $image->{content}, 'cold, bytes');
is($r->header('Docker-Content-Digest'), $digest, 'cold, digest');
is($r->header('Content-Type'), $image->{type}, 'cold, type');
is($r->header('X-How'), '200 docker.io MISS pull_manifest docker.io/library/alpine',
	'cold, how');

$hub->forget();

for my $uri ($path, '/v2/docker.io/alpine/manifests/latest',
	'/v2/index.docker.io/library/alpine/manifests/latest',
	'/v2/registry-1.docker.io/alpine/manifests/latest',
	'/v2/library/alpine/manifests/latest?ns=docker.io',
	'/v2/alpine/manifests/latest?ns=docker.io',
	'/v2/alpine/manifests/latest?ns=index.docker.io',
	'/v2/docker.io/alpine/manifests/latest?ns=docker.io',
	"/v2/library/alpine/manifests/$digest?ns=docker.io",
	"/v2/docker.io/alpine/manifests/$digest")
{
	$r = request(GET => $uri);
	is($r->status . $r->body, "200$image->{content}", $uri);
}

is(request(GET => '/v2/alpine/manifests/latest', port => port(8085))->body,
	$image->{content}, 'registry_namespace');
is(request(HEAD => $path)->header('Content-Length'),
	length $image->{content}, 'head');
$r = request(GET => '/v2/docker.io/alpine/manifests/latest',
	headers => { 'If-None-Match' => "\"$digest\"" });
is($r->status, 304, 'not modified');
is($hub->requests(), 0, 'warm, the remote was not asked');
is($r->header('X-How'), '304 docker.io HIT pull_manifest docker.io/library/alpine',
	'warm, how');

# what nginx lets through, and cannot be sent on

for my $cold ('manifests/cold', 'blobs/' . sha256('cold')) {
	my $uri = "/v2/docker.io/alpine/$cold";

	is(request(GET => $uri, headers => { Via => "1.1 \x01" })->status, 400,
		"$cold, control character in Via");
	is(request(GET => $uri, headers => { Accept => "\x7f" })->status, 400,
		"$cold, control character in Accept");
}

is(request(GET => "/v2/docker.io/alpine/tags/list?last=\xff")->status, 400,
	'a byte that is none of a query');
is(request(GET => $path, headers => { Via => "1.1 \xc3\xa4\t(x)" })->status,
	200, 'another one that is one of a field');
is(request(GET => $path, headers => { Via => "1.1 \x01" })->status, 200,
	'nothing is sent on');
is($hub->requests(), 0, 'malformed, the remote was not asked');

# not another registry's

is(brief(GET => '/v2/alpine/manifests/latest'), '404 MANIFEST_UNKNOWN',
	'hosted');
is(brief(GET => '/v2/alpine/manifests/latest?ns=quay.io'),
	'404 NAME_UNKNOWN', 'unknown ns');
is(brief(GET => '/v2/alpine/manifests/latest?ns=basic.example',
	port => port(8085)), '404 MANIFEST_UNKNOWN', 'another ns');
is(brief(GET => '/v2/docker.io/alpine/manifests/latest?ns=quay.io'),
	'404 NAME_UNKNOWN', 'unknown ns before a known one');
is(brief(POST => '/v2/docker.io/alpine/blobs/uploads/'), '405 UNSUPPORTED',
	'no push');
is(request(GET => '/v2/')->status, 200, 'base');
is(request(GET => '/v2/?ns=docker.io')->status, 200, 'base, ns');

# a blob

$hub->forget();

$r = request(GET => "/v2/docker.io/library/alpine/blobs/$layer");
is($r->status, 200, 'blob, cold');
is($r->body, 'layer', 'blob, cold, bytes');
is($r->header('Docker-Content-Digest'), $layer, 'blob, cold, digest');
is($hub->requests(qr/^GET .*blobs/), 1, 'blob, cold, asked');

# the tag moves

my $second = $hub->image('library/alpine', 'latest', [ 'second' ]);

select undef, undef, undef, 1.1;
$hub->forget();

is(request(GET => $path)->body, $second->{content}, 'moved');
is($hub->requests(qr/^HEAD .*latest/), 1, 'moved, asked first');

select undef, undef, undef, 1.1;
$hub->forget();

$r = request(GET => $path);
is($r->body, $second->{content}, 'revalidated');
is(join(' ', map { $_->{method} } $hub->requests()), 'HEAD',
	'revalidated, asked');
is($r->header('X-How'), '200 docker.io REVALIDATED pull_manifest '
	. 'docker.io/library/alpine', 'revalidated, how');

# is down

$hub->stop();
select undef, undef, undef, 1.1;

$r = request(GET => $path);
is($r->body, $second->{content}, 'down');
is($r->header('X-How'), '200 docker.io STALE pull_manifest docker.io/library/alpine',
	'down, how');
is(request(GET => $path)->body, $second->{content}, 'still down');
is(request(GET => "/v2/docker.io/library/alpine/manifests/$digest")->body,
	$image->{content}, 'down, by digest');
is(brief(GET => '/v2/docker.io/library/other/manifests/latest'),
	'502 UNAVAILABLE', 'down, cold');
is(request(GET => "/v2/docker.io/library/alpine/blobs/$layer")->body,
	'layer', 'down, blob');

$hub->start();

# a tag that is not there, and then is

is(brief(GET => '/v2/docker.io/library/new/manifests/latest'),
	'404 MANIFEST_UNKNOWN', 'absent');
$hub->forget();
is(brief(GET => '/v2/docker.io/library/new/manifests/latest'),
	'404 MANIFEST_UNKNOWN', 'absent, again');
is($hub->requests(), 0, 'absent, remembered');

$hub->image('library/new', 'latest', [ 'new' ]);
select undef, undef, undef, 1.1;
is(request(GET => '/v2/docker.io/library/new/manifests/latest')->status, 200,
	'there at last');

# a tag that goes

select undef, undef, undef, 1.1;
$hub->remove('library/new', 'latest');
is(brief(GET => '/v2/docker.io/library/new/manifests/latest'),
	'404 MANIFEST_UNKNOWN', 'gone');

$hub->stop();
select undef, undef, undef, 1.1;
is(brief(GET => '/v2/docker.io/library/new/manifests/latest'),
	'502 UNAVAILABLE', 'gone, and not stale');
$hub->start();

# answers that are none

my $n = 0;

for my $case ([ { status => 429, headers => { 'Retry-After' => 7 } },
	'429 TOOMANYREQUESTS' ], [ { status => 500 }, '502 UNAVAILABLE' ],
	[ { status => 503 }, '502 UNAVAILABLE' ],
	[ { status => 401 }, '403 DENIED' ], [ { status => 403 }, '403 DENIED' ],
	[ { status => 404 }, '404 MANIFEST_UNKNOWN' ],
	[ { html => 1, status => 200 }, '502 UNAVAILABLE' ],
	[ { flip => 3 }, '502 UNAVAILABLE' ],
	[ { close => 10 }, '502 UNAVAILABLE' ],
	[ { endless => 1 }, '502 UNAVAILABLE' ],
	[ { redirect => 'endless' }, '502 UNAVAILABLE' ],
	[ { redirect => 'http://169.254.169.254/x' }, '502 UNAVAILABLE' ])
{
	my ($rule, $answer) = @$case;
	my $name = 'bad' . ++$n;

	$hub->image("library/$name", 'latest', [ $name ]);
	$hub->rule({ path => qr!/$name/!, %$rule });

	is(brief(GET => "/v2/docker.io/library/$name/manifests/latest"), $answer,
		"remote: $answer, " . join(' ', %$rule));
}

$hub->clear();

# lists

$hub->set(page => 1);
$hub->image('library/alpine', $_, [ $_ ]) for qw/ a b /;

$r = request(GET => '/v2/docker.io/library/alpine/tags/list?n=1');
is_deeply($r->json->{tags}, [ 'a' ], 'tags');
like($r->header('Link'), qr!^</v2/docker.io/library/alpine/tags/list\?!,
	'tags, link');
is_deeply(request(GET => $r->header('Link') =~ /<(.*?)>/)->json->{tags},
	[ 'b' ], 'tags, next page');

# credentials

my $private = $basic->image('a/b', '1', [ 'private' ]);
is(request(GET => '/v2/basic.example/a/b/manifests/1')->body,
	$private->{content}, 'basic');

$private = $bearer->image('team/app', '1', [ 'private' ]);
is(request(GET => '/v2/token.example:5000/team/app/manifests/1')->body,
	$private->{content}, 'token');
is(request(GET => '/v2/team/app/manifests/1?ns=token.example:5000')->body,
	$private->{content}, 'token, ns');
is($token->requests(), 1, 'one token');

# who waits for what an old worker has asked for, is not refused because that
# one has to exit

$image = $hub->image('library/left', '1', [ 'left behind' ]);

for my $what ('manifests/1', 'blobs/' . sha256('left behind')) {
	my $uri = "/v2/docker.io/library/left/$what";

	$hub->forget();
	$hub->rule({ path => qr/$what/, hold => 1, times => 1 });

	my $old = send_request(GET => $uri);
	$hub->await(qr/$what/, 1);
	reload($t);

	is(request(GET => $uri)->status, 200, "$what, of an old worker");
	is($hub->requests(qr/$what/), 2, "$what, of an old worker, asked again");

	$hub->clear();
	$hub->release();
}

# credentials that are wrong now

$basic->set(basic => 'somebody:else');
is(brief(GET => '/v2/basic.example/a/b/manifests/2'), '403 DENIED',
	'wrong credentials');
is(brief(GET => '/v2/basic.example/a/b/manifests/3'), '403 DENIED',
	'wrong credentials, again');
is(scalar(() = $t->read_file('error.log') =~ /\[warn\] .*registry_remote
	\ "basic.example"\ answers\ 401,\ credentials\ "[^"]*basic.cred",
	\ "GET\ [^"]*manifests/gx), 1, 'wrong credentials, logged once');

###############################################################################

# until the old worker takes no more connections

sub reload {
	my ($t) = @_;
	my $old = () = $t->read_file('error.log') =~ /gracefully shutting/g;

	$t->reload();

	for (1 .. 500) {
		my $now = () = $t->read_file('error.log')
			=~ /gracefully shutting/g;
		last if $now > $old;
		select undef, undef, undef, 0.02;
	}
}

sub brief {
	my $r = request(@_);
	return join(' ', grep { defined } $r->status, $r->code);
}

###############################################################################
