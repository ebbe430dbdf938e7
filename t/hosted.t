#!/usr/bin/perl

# Locations with what is hosted and with remotes: what is hosted wins, and
# what is local only is asked of nobody else.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use File::Path qw/ make_path /;
use JSON::PP qw//;

use lib 'lib';
use Images;
use Test::Nginx;
use Test::Nginx::Origin;
use Test::Nginx::Registry;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http access rewrite/)
	->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;
user root;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    add_header X-How "$registry_remote $registry_repository $registry_cache" always;

    registry_cache edge { path %%TESTDIR%%/cache;  max_size 1g; }
    registry_store local { path %%TESTDIR%%/local; }

    registry_remote default { cache edge;  valid 1h;  valid 404 0; }
    registry_remote docker.io { url http://127.0.0.1:8081; }
    registry_remote quay.io { url http://127.0.0.1:8082; }

    # a mirror of Docker Hub that has something of its own

    server {
        listen       127.0.0.1:8080;
        registry_namespace docker.io;

        location /v2/ {
            registry local;
            registry_proxy docker.io;
            registry_push on;
            registry_delete on;
            registry_local_only team/* *-internal;
        }

        location /v2/secret/ {
            registry local;
            deny all;
        }

        location /v2/blocked/ {
            registry off;
            return 403;
        }

        location ~ ^/v2/regex/ {
            registry local;
        }
    }

    # a registry with several remotes, which takes no pushes

    server {
        listen       127.0.0.1:8085;
        server_name  reg.example;

        location /v2/ {
            registry local;
            registry_proxy all;
        }

        location /v2/docker.io/plain/ {
            registry_proxy all;
            registry off;
        }
    }

    # the location of a remote alone; "/" is about something else

    server {
        listen       127.0.0.1:8086;

        location / {
            return 204;
        }

        location /v2/docker.io/ {
            registry local;
            registry_proxy docker.io;
            registry_push on;
        }
    }

    # pushes go through

    server {
        listen       127.0.0.1:8087;
        registry_local_only team/*;

        location /v2/ {
            registry local;
            registry_proxy all;
            registry_push proxy;

            location /v2/docker.io/other/ {
                registry_local_only other/x;
            }
        }
    }

    # nothing hosted

    server {
        listen       127.0.0.1:8088;

        location /v2/ {
            registry_proxy all;
            registry_push proxy;
            registry_local_only team/*;
        }
    }

    # what is hosted is looked for elsewhere than where "/" is a registry

    server {
        listen       127.0.0.1:8089;

        location / {
            registry local;
        }

        location /v2/docker.io/ {
            registry local;
            registry_proxy docker.io;
        }
    }
}

EOF

my $hub = Test::Nginx::Origin->new($t, port => 8081);
my $quay = Test::Nginx::Origin->new($t, port => 8082);

$t->run()->plan(97);

my $local = $t->testdir() . '/local/docker/registry/v2';
my @ports = map { port($_) } 8080, 8085 .. 8089;
my ($mirror, $plain, $alone, $through, $nothing, $site) = @ports;

###############################################################################

# both have the image, and one has what the other has not

my $remote = $hub->image('library/alpine', 'latest', [ 'remote' ]);
my $moved = $hub->image('library/alpine', 'theirs', [ 'theirs' ]);
my $hosted = push_image('library/alpine', 'latest', 'hosted');
my ($layer) = map { $_->{digest} } @{JSON::PP::decode_json($hosted)->{layers}};

$hub->forget();

for my $uri ('/v2/alpine/manifests/latest',
	'/v2/library/alpine/manifests/latest',
	'/v2/docker.io/alpine/manifests/latest',
	'/v2/docker.io/library/alpine/manifests/latest',
	'/v2/alpine/manifests/latest?ns=docker.io',
	'/v2/alpine/manifests/' . sha256($hosted))
{
	is(how(GET => $uri), "library/alpine $hosted", "hosted: $uri");
	is(request(HEAD => $uri)->header('Docker-Content-Digest'),
		sha256($hosted), "hosted: $uri, head");
}

is(how(GET => "/v2/alpine/blobs/$layer"), "library/alpine hosted",
	'hosted, blob');
is($hub->requests(), 0, 'hosted, nobody was asked');

is(how(GET => '/v2/alpine/manifests/theirs'),
	"docker.io docker.io/library/alpine $moved->{content}",
	'the remote\'s tag');
is(how(GET => "/v2/alpine/manifests/$remote->{digest}"),
	"docker.io docker.io/library/alpine $remote->{content}",
	'the remote\'s digest');
is(how(GET => "/v2/alpine/blobs/$remote->{layers}[0]{digest}"),
	'docker.io docker.io/library/alpine remote', 'the remote\'s blob');

$hub->forget();
is(how(GET => '/v2/alpine/manifests/theirs'),
	"docker.io docker.io/library/alpine $moved->{content}",
	'the remote\'s tag, warm');
is($hub->requests(), 0, 'the remote\'s tag, warm, not asked');
is(brief(GET => '/v2/alpine/manifests/none'), '404 MANIFEST_UNKNOWN',
	'nobody\'s tag');

# pushed to what is hosted, the next pull has it at once, though it was just
# looked for

my $next = push_image('library/alpine', 'theirs', 'next');
is(how(GET => '/v2/alpine/manifests/theirs'), "library/alpine $next",
	'pushed, and hosted');

# lists

is_deeply(request(GET => '/v2/alpine/tags/list')->json,
	{ name => 'library/alpine', tags => [ 'latest', 'theirs' ] }, 'tags');
my $r = request(GET => '/v2/alpine/tags/list?n=1');
is($r->header('Link'),
	'</v2/docker.io/library/alpine/tags/list?n=1&last=latest>; rel="next"',
	'tags, link');
$hub->image('x/y', 'z', [ 'z' ]);
is_deeply(request(GET => '/v2/x/y/tags/list')->json->{tags}, [ 'z' ],
	'the remote\'s tags');

my $referrer = to_json({ schemaVersion => 2, mediaType => $MANIFEST,
	artifactType => 'a/b', config => descriptor('{}', $CONFIG),
	layers => [], subject => descriptor($hosted, $MANIFEST) });
is(push_manifest('library/alpine', sha256($referrer), $referrer)->status, 201,
	'a referrer');
$hub->forget();
is_deeply([ map { $_->{digest} } @{request(GET => '/v2/alpine/referrers/'
	. sha256($hosted))->json->{manifests}} ], [ sha256($referrer) ],
	'referrers');
is($hub->requests(), 0, 'referrers, not asked');
is_deeply(request(GET => "/v2/alpine/referrers/$remote->{digest}")->json
	->{manifests}, [], 'the remote\'s referrers');
is($hub->requests(qr/referrers/), 1, 'the remote\'s referrers, asked');

# a push looks for its layers here: the remote's are not here

is(request(HEAD => "/v2/alpine/blobs/$remote->{layers}[0]{digest}")->status,
	404, 'who pushes looks here');
is(request(HEAD => "/v2/alpine/blobs/$layer")->status, 200,
	'who pushes looks here, and finds');

$r = request(POST => '/v2/alpine/blobs/uploads/');
like($r->location, qr!^/v2/docker\.io/library/alpine/blobs/uploads/[\w-]{36}$!,
	'Location of an upload');
is(request(PATCH => $r->location, body => 'abc')->status, 202, 'chunk');
is(request(GET => $r->location)->header('Range'), '0-2', 'where it stands');
is(request(PUT => $r->location . '?digest=' . sha256('abc'))->status, 201,
	'upload');
is(request(GET => '/v2/alpine/blobs/' . sha256('abc'))->body, 'abc',
	'uploaded');

$r = request(POST => "/v2/library/other/blobs/uploads/?mount=$layer"
	. '&from=library/alpine');
is($r->status, 201, 'mount');
is($r->location, "/v2/docker.io/library/other/blobs/$layer",
	'mount, Location');

# deleted

is(request(DELETE => '/v2/alpine/manifests/theirs')->status, 202, 'delete');
is(how(GET => '/v2/alpine/manifests/theirs'),
	"docker.io docker.io/library/alpine $moved->{content}",
	'deleted, the remote\'s again');
is(brief(DELETE => '/v2/alpine/manifests/theirs'), '404 MANIFEST_UNKNOWN',
	'nothing of a remote\'s is deleted');

# local only

$hub->image('team/app', '1', [ 'evil' ]);
$hub->image('team/a/b', '1', [ 'evil' ]);
$hub->image('x-internal', '1', [ 'evil' ]);
$hub->image('library/x-internal', '1', [ 'evil' ]);
my $evil = $hub->image('team/app', '2', [ 'evil' ]);
my $ours = push_image('team/app', '1', 'ours');
$hub->forget();

is(how(GET => '/v2/team/app/manifests/1'), "team/app $ours", 'local only');
is(brief(GET => $_), '404 MANIFEST_UNKNOWN', "local only: $_")
	for '/v2/team/app/manifests/2', '/v2/docker.io/team/app/manifests/2',
		"/v2/team/app/manifests/$evil->{digest}",
		'/v2/team/a/b/manifests/1', '/v2/x-internal/manifests/1';
is(brief(GET => "/v2/team/app/blobs/$evil->{layers}[0]{digest}"),
	'404 BLOB_UNKNOWN', 'local only, blob');
is(brief(GET => '/v2/team/none/tags/list'), '404 NAME_UNKNOWN',
	'local only, tags');
is(request(GET => "/v2/team/none/referrers/$evil->{digest}")->status, 200,
	'local only, referrers');
is($hub->requests(), 0, 'local only, nobody was asked');
is(request(GET => '/v2/teams/app/manifests/1')->status, 404,
	'not local only');
is($hub->requests(), 1, 'not local only, asked');

# other rules for the name without the namespace: they are not got around

for my $name ('secret/app', 'blocked/app', 'regex/app') {
	my $hidden = push_image('a/hidden', '1', "hidden $name");
	my $from = "$local/repositories";
	my $dir = $name =~ s!/.*!!r;

	mkdir "$from/$dir";
	rename "$from/a/hidden", "$from/$name" or die "$name: $!\n";
	$hub->forget();

	is(brief(GET => "/v2/$name/manifests/1"), '404 MANIFEST_UNKNOWN',
		"$name, other rules");
	is($hub->requests(qr/manifests/), 1, "$name, the remote's name alone");
	is(brief(POST => "/v2/$name/blobs/uploads/"), '405 UNSUPPORTED',
		"$name, not pushed to");
	is(brief(DELETE => "/v2/$name/manifests/1"), '405 UNSUPPORTED',
		"$name, nor deleted");
}

# several remotes, each name in all of them

my $theirs = $quay->image('library/alpine', 'q', [ 'quay' ]);

for my $case ([ 'docker.io/library/alpine/manifests/latest', $hosted ],
	[ 'quay.io/library/alpine/manifests/latest', $hosted ],
	[ 'quay.io/library/alpine/manifests/q', $theirs->{content} ],
	[ 'library/alpine/manifests/latest', $hosted ],
	[ 'library/alpine/manifests/latest?ns=quay.io', $hosted ],
	[ 'library/alpine/manifests/latest?ns=reg.example', $hosted ])
{
	my ($uri, $content) = @$case;
	is(request(GET => "/v2/$uri", port => $plain)->body, $content,
		"several: $uri");
}

is(brief(GET => '/v2/library/alpine/manifests/theirs', port => $plain),
	'404 MANIFEST_UNKNOWN', 'several, without a namespace');
is(brief(POST => '/v2/quay.io/x/blobs/uploads/', port => $plain),
	'405 UNSUPPORTED', 'several, no pushes');
is(request(HEAD => "/v2/quay.io/library/alpine/blobs/"
	. $theirs->{layers}[0]{digest}, port => $plain)->status, 200,
	'several, no pushes, so head is asked of the remote');

# what the remote does not say of a blob is known from its digest

my $far = $quay->image('a/far', '1', [ 'far' x 4_000_000 ])->{layers}[0]{digest};

$quay->rule({ path => qr/blobs/,
	headers => { 'Docker-Content-Digest' => undef } });

for my $case ([ HEAD => 200 ], [ GET => 206, Range => 'bytes=11999999-' ]) {
	my ($method, $status, %headers) = @$case;

	$r = request($method => "/v2/quay.io/a/far/blobs/$far", port => $plain,
		headers => \%headers);
	is($r->status . ' ' . ($r->header('Docker-Content-Digest') // ''),
		"$status $far", "a remote's blob, $method, digest");
	is($r->header('ETag'), "\"$far\"", "a remote's blob, $method, etag");
}

$quay->clear();

push_image('plain/app', '1', 'plain');
is(brief(GET => '/v2/docker.io/plain/app/manifests/1', port => $plain),
	'404 MANIFEST_UNKNOWN', 'a location without "registry"');

# a remote's own location

is(request(GET => '/v2/docker.io/alpine/manifests/latest', port => $alone)
	->body, $hosted, 'alone');
$r = request(POST => '/v2/docker.io/new/app/blobs/uploads/', port => $alone);
like($r->location, qr!^/v2/docker\.io/new/app/blobs/uploads/!,
	'alone, Location');
is(request(PUT => $r->location . '?digest=' . sha256('new'), body => 'new',
	port => $alone)->status, 201, 'alone, pushed');
is(request(GET => '/v2/new/app/blobs/' . sha256('new'))->body, 'new',
	'alone, hosted');
is(request(GET => '/v2/docker.io/alpine/manifests/latest', port => $site)
	->body, $remote->{content}, '"/" has rules for what is hosted');

# pushes that go through, but for what is local only

$r = request(POST => '/v2/docker.io/library/alpine/blobs/uploads/',
	port => $through);
like($r->location, qr/_session=/, 'through');
$r = request(POST => '/v2/docker.io/team/app/blobs/uploads/',
	port => $through);
like($r->location, qr!^/v2/docker\.io/team/app/blobs/uploads/[\w-]{36}$!,
	'through, local only');
is(request(GET => '/v2/docker.io/team/app/manifests/1', port => $through)
	->body, $ours, 'through, local only, pulled');
is(request(GET => '/v2/docker.io/library/alpine/manifests/latest',
	port => $through)->body, $hosted, 'through, hosted wins');
$hub->image('other/y', '1', [ 'y' ]);
is(request(GET => '/v2/docker.io/other/y/manifests/1', port => $through)
	->status, 200, 'inherited patterns are replaced');
is(request(GET => '/v2/docker.io/other/x/manifests/1', port => $through)
	->status, 404, 'inherited patterns are replaced, by these');

# nothing hosted

$hub->forget();
is(brief($_ => '/v2/docker.io/team/app/manifests/1', port => $nothing,
	$_ eq 'PUT' ? (body => '{}') : ()), '404 NAME_UNKNOWN',
	"nothing hosted, $_") for qw/ GET PUT /;
is($hub->requests(), 0, 'nothing hosted, not asked');
is(request(GET => '/v2/docker.io/alpine/manifests/latest', port => $nothing)
	->body, $remote->{content}, 'nothing hosted, the remote\'s');

# methods

$r = request(PATCH => '/v2/docker.io/alpine/manifests/latest');
is($r->status . ' ' . $r->header('Allow'), '405 GET, HEAD, PUT, DELETE',
	'Allow');
$r = request(DELETE => '/v2/docker.io/alpine/manifests/latest',
	port => $through);
is($r->status . ' ' . $r->header('Allow'), '405 GET, HEAD, PUT',
	'Allow, through');

# the store fails: that is no reason to ask somebody else

my $link = "$local/repositories/library/broken/_manifests/tags/1/current/link";
$hub->image('library/broken', '1', [ 'broken' ]);
make_path($link);
is(brief(GET => '/v2/docker.io/broken/manifests/1', port => $plain),
	'500 UNKNOWN', 'the store fails');

$t->stop();

###############################################################################

# what answered, and with what

sub how {
	my $r = request(@_);
	return join(' ', ($r->header('X-How') // '') =~ s/ \w*$//r, $r->body);
}

sub brief {
	my $r = request(@_);
	return join(' ', grep { defined } $r->status, $r->code);
}

sub descriptor {
	my ($bytes, $type) = @_;

	return { mediaType => $type, size => length $bytes,
		digest => sha256($bytes) };
}

###############################################################################
