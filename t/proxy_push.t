#!/usr/bin/perl

# Pushing to a remote through the edge.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Images;
use MIME::Base64 qw/ encode_base64 /;
use Test::Nginx;
use Test::Nginx::Origin;
use Test::Nginx::Registry;
use Test::Nginx::Token;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $conf = <<'EOF';

%%TEST_GLOBALS%%

daemon off;
user root;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    registry_cache edge { path %%TESTDIR%%/cache;  max_size 1g; }
    registry_store local { path %%TESTDIR%%/local; }

    registry_remote default { cache edge;  valid 1h;  allow_private on; }

    registry_remote open.example { url http://127.0.0.1:8081; }

    registry_remote split.example {
        url          http://127.0.0.1:8081;
        push_url     http://127.0.0.1:8087;
        valid        1ms;
    }

    registry_remote apart.example {
        url          http://127.0.0.1:8088;
        push_url     http://127.0.0.1:8082;
        credentials  %%TESTDIR%%/token.cred;
    }

    registry_remote token.example {
        url          http://127.0.0.1:8082;
        credentials  %%TESTDIR%%/token.cred;
    }

    registry_remote client.example {
        url          http://127.0.0.1:8082;
        auth         client;
    }

    registry_remote robin.example { url http://robin; }
    registry_remote least.example { url http://least; }

    # one of the two is a backup server

    upstream robin {
        server       127.0.0.1:8085 fail_timeout=1s PRIMARY;
        server       127.0.0.1:8086 fail_timeout=1s BACKUP;
        keepalive    4;
    }

    upstream least {
        zone         least 64k;
        least_conn;
        server       127.0.0.1:8085 fail_timeout=1s PRIMARY;
        server       127.0.0.1:8086 fail_timeout=1s BACKUP;
    }

    server {
        listen       127.0.0.1:8080;
        server_name  reg.example;

        registry_push on;

        location /v2/ {
            registry local;
            registry_proxy all;
            registry_push proxy;
        }

        location /v2/open.example/closed/ {
            registry_proxy all;
        }
    }
}

EOF

my $t = Test::Nginx->new()->has(qw/http upstream_keepalive
	upstream_least_conn upstream_zone/);

configure('', 'backup');
$t->write_file('token.cred', 'alice:wonder');

my $open = Test::Nginx::Origin->new($t, port => 8081);
my $token = Test::Nginx::Token->new($t, port => 8084,
	users => { alice => { password => 'wonder',
		allow => { '*' => 'pull,push' } } }, anonymous => undef);
my $bearer = Test::Nginx::Origin->new($t, port => 8082, token => $token);

my $first = Test::Nginx::Origin->new($t, port => 8085);
my $second = Test::Nginx::Origin->new($t, port => 8086, store => $first);

$t->run()->plan(119);

###############################################################################

for my $ns ('open.example', 'token.example') {
	my $origin = $ns eq 'open.example' ? $open : $bearer;
	my $layer = join('', map { chr(rand 256) } 1 .. 100000) x 50;

	# as dockerd does, as containerd does, and at once

	my $digest = patch($ns, 'team/app', $layer);
	is(request(GET => "/v2/$ns/team/app/blobs/$digest")->body eq $layer, 1,
		"$ns, patch, pulled");

	put($ns, 'team/app', "put $ns");
	is(request(GET => "/v2/$ns/team/app/blobs/" . sha256("put $ns"))->body,
		"put $ns", "$ns, put, pulled");

	my $r = request(POST => "/v2/$ns/team/app/blobs/uploads/?digest="
		. sha256('once'), body => 'once');
	is($r->status, 201, "$ns, post with body");
	is($r->location, "/v2/$ns/team/app/blobs/" . sha256('once'),
		"$ns, post with body, location");

	# a manifest, and the tag is new at once

	for my $version ('one', 'two') {
		my $image = Images::image([ Images::blob("$ns $version") ]);
		put($ns, 'team/app', $_->{content}) for @{$image->{blobs}};

		$r = request(PUT => "/v2/$ns/team/app/manifests/latest",
			body => $image->{content},
			headers => { 'Content-Type' => $image->{type} });
		is($r->status, 201, "$ns, manifest $version");
		is($r->header('Docker-Content-Digest'), $image->{digest},
			"$ns, manifest $version, digest");
		is($r->location, "/v2/$ns/team/app/manifests/latest",
			"$ns, manifest $version, location");

		is(request(GET => "/v2/$ns/team/app/manifests/latest")->body,
			$image->{content}, "$ns, pulled $version");
	}
}

# so are tags that go with a digest, and one of which it is not known whether
# it has been pushed

my @tags = qw/ latest other /;

is(request(GET => "/v2/open.example/team/app/manifests/$_")->status,
	$_ eq 'latest' ? 200 : 404, "$_, before") for @tags;

my $image = Images::image([ Images::blob('by digest') ]);
put('open.example', 'team/app', $_->{content}) for @{$image->{blobs}};

my $r = put_manifest("/v2/open.example/team/app/manifests/$image->{digest}?"
	. join('&', map { "tag=$_" } @tags), $image);
is($r->status, 201, 'tags with a digest');
is(request(GET => "/v2/open.example/team/app/manifests/$_")->body,
	$image->{content}, "$_, pulled") for @tags;

is(brief(PUT => "/v2/open.example/team/app/manifests/$image->{digest}?tag=.",
	body => $image->{content}), '400 MANIFEST_INVALID', 'no tag');

# and the digest of what is pushed by its tag

$image = Images::image([ Images::blob('by tag') ]);
put('open.example', 'team/app', $_->{content}) for @{$image->{blobs}};

my $path = "/v2/open.example/team/app/manifests/$image->{digest}";
is(request(GET => $path)->status, 404, 'by tag, not there yet');
is(put_manifest('/v2/open.example/team/app/manifests/tag', $image)->status,
	201, 'by tag');
is(request(GET => $path)->body, $image->{content}, 'by tag, pulled');

$image = Images::image([ Images::blob('answer is lost') ]);
put('open.example', 'team/app', $_->{content}) for @{$image->{blobs}};

$open->rule({ path => qr/manifests/, method => 'PUT', status => 500 });
is(put_manifest('/v2/open.example/team/app/manifests/latest', $image)
	->status, 502, 'answer is lost');
is(request(GET => '/v2/open.example/team/app/manifests/latest')->body,
	$image->{content}, 'answer is lost, pulled');
$open->clear();

# what is refused changes nothing here

$open->rule({ path => qr/manifests/, method => 'PUT', status => 403 });
is(put_manifest('/v2/open.example/team/app/manifests/latest', $image)
	->status, 403, 'refused');
$open->forget();
is(request(GET => '/v2/open.example/team/app/manifests/latest')->body,
	$image->{content}, 'refused, pulled');
is($open->requests(), 0, 'refused, known here');
$open->clear();

# a token that is known here, and not there any more

$token->revoke();
is(put_manifest('/v2/token.example/team/app/manifests/2', $image)->status,
	403, 'token is revoked');
is(put_manifest('/v2/token.example/team/app/manifests/2', $image)->code,
	'MANIFEST_BLOB_UNKNOWN', 'token is revoked, the next one is not');

# where pushes go is not where pulls come from: one may be down

for my $content ('split', 'split, and moved') {
	$image = $open->image('team/split', 'latest', [ $content ]);
	is(request(GET => '/v2/split.example/team/split/manifests/latest')
		->body, $image->{content}, $content);
	is(brief(POST => '/v2/split.example/team/split/blobs/uploads/'),
		'502 UNAVAILABLE', "$content, push_url is down");
}

# nor is how to log in

my $basic = Test::Nginx::Origin->new($t, port => 8088,
	basic => 'alice:wonder');

$image = $basic->image('team/apart', 'latest', [ 'apart' ]);
$bearer->blob('team/apart', $_) for @{$image->{blobs}};

for my $tag (1, 2) {
	is(request(GET => '/v2/apart.example/team/apart/manifests/'
		. ($tag == 1 ? 'latest' : $image->{digest}))->body,
		$image->{content}, "apart, pulled $tag");
	is(put_manifest("/v2/apart.example/team/apart/manifests/$tag", $image)
		->status, 201, "apart, pushed $tag");
}

# What a client asks before it pushes is about the remote, not about what has
# been pulled from there and is gone.

for my $ns ('open.example', 'token.example') {
	my $origin = $ns eq 'open.example' ? $open : $bearer;
	my $path = "/v2/$ns/team/gone/blobs/" . sha256('gone');

	$origin->blob('team/gone', 'gone');
	is(request(HEAD => $path)->status, 200, "$ns, there");
	is(request(GET => $path)->body, 'gone', "$ns, pulled");
	kept($t, "$ns/team/gone", sha256('gone'));
	is(request(HEAD => $path)->header('Content-Length'), 4,
		"$ns, there, and here");

	$origin->remove('team/gone', sha256('gone'));
	is(request(HEAD => $path)->status, 404, "$ns, gone there");
	is(request(GET => $path)->body, 'gone', "$ns, gone there, pulled");

	put($ns, 'team/gone', 'gone');
	is(request(HEAD => $path)->status, 200, "$ns, pushed again");
}

$open->blob('team/split', 'split');
is(brief(HEAD => '/v2/split.example/team/split/blobs/' . sha256('split')),
	'502', 'asked where pushes go');

# nor about what is hosted by the same name

push_blob('team/hosted', 'hosted');
$path = '/v2/open.example/team/hosted/blobs/' . sha256('hosted');
is(request(HEAD => $path)->status, 404, 'hosted, not there');
is(request(GET => $path)->body, 'hosted', 'hosted, pulled');

# nor where nobody may push

$open->blob('closed/gone', 'gone');
$path = '/v2/open.example/closed/gone/blobs/' . sha256('gone');
is(request(GET => $path)->body, 'gone', 'closed, pulled');
kept($t, 'open.example/closed/gone', sha256('gone'));
$open->remove('closed/gone', sha256('gone'));
is(request(HEAD => $path)->status, 200, 'closed, gone there');

# parameters without a value

$open->forget();
is(request(POST => '/v2/open.example/x/blobs/uploads/?' . 'tag&' x 1900 . 'x')
	->status, 202, 'parameters');
is(($open->requests())[-1]{path}, '/v2/x/blobs/uploads/?'
	. join('&', ('tag') x 1900), 'parameters, as they came');

# with the client's own credentials, where nothing is here yet

$path = '/v2/client.example/team/new/blobs/uploads/';
$r = request(POST => $path);

is($r->status . $r->code, '401UNAUTHORIZED', 'client, nothing shown');
like($r->header('WWW-Authenticate'),
	qr!^Bearer realm=.*scope="repository:team/new:pull,push"!,
	'client, nothing shown, challenge');

my %alice = bearer('team/new');

is(request(POST => $path, headers => { Authorization => 'Bearer none' })
	->status, 401, 'client, unknown token');
$r = request(POST => $path, headers => \%alice);
is($r->status, 202, 'client, post');
is(request(PUT => $r->location . '&digest=' . sha256('client'),
	body => 'client', headers => \%alice)->status, 201, 'client, put');

# names without a namespace at first

my $s = request(POST => '/v2/x/blobs/uploads/?ns=open.example');
is($s->status, 202, 'ns');
like($s->location, qr!^/v2/open.example/x/blobs/uploads/[\w-]{36}\?_session=!,
	'ns, location');
is(request(PUT => $s->location . '&digest=' . sha256('ns'), body => 'ns')
	->status, 201, 'ns, put');

# where it stands, and giving up

$s = request(POST => '/v2/open.example/x/blobs/uploads/');
$s = request(PATCH => $s->location, body => 'abc');
is($s->header('Range'), '0-2', 'range');
is(request(GET => $s->location)->header('Range'), '0-2', 'status');
is(request(DELETE => $s->location)->status, 204, 'cancel');
is(brief(PATCH => $s->location, body => 'def'), '404 BLOB_UPLOAD_UNKNOWN',
	'cancelled');

# a session is of one repository, and made by nobody else

$s = request(POST => '/v2/open.example/x/blobs/uploads/')->location;
is(brief(PATCH => $s =~ s!/x/!/y/!r, body => 'a'),
	'404 BLOB_UPLOAD_UNKNOWN', 'of another repository');
is(brief(PATCH => $s =~ s/.$/x/r, body => 'a'), '404 BLOB_UPLOAD_UNKNOWN',
	'tampered');
is(brief(PATCH => $s =~ s/\?.*//r, body => 'a'), '404 BLOB_UPLOAD_UNKNOWN',
	'without');

# what the remote refuses

is(brief(PUT => $s . '&digest=' . sha256('other'), body => 'a'),
	'400 DIGEST_INVALID', 'wrong digest');

$open->rule({ path => qr/bad429/, status => 429,
	headers => { 'Retry-After' => 3 } });
is(brief(POST => '/v2/open.example/bad429/blobs/uploads/'),
	'429 TOOMANYREQUESTS', 'too many requests');
$open->rule({ path => qr/bad500/, status => 500 });
is(brief(POST => '/v2/open.example/bad500/blobs/uploads/'),
	'502 UNAVAILABLE', 'failed');
$open->rule({ path => qr/early.*_?/, method => 'PATCH', status => 400,
	early => 1 });
$s = request(POST => '/v2/open.example/early/blobs/uploads/')->location;
is(request(PATCH => $s, body => 'x' x 3000000)->status, 400, 'early answer');
$open->rule({ path => qr/elsewhere/, headers => {
	Location => 'https://elsewhere.example/v2/x' } });
is(brief(POST => '/v2/open.example/elsewhere/blobs/uploads/'),
	'502 UNAVAILABLE', 'Location elsewhere');
$open->rule({ path => qr/redirected/, redirect => $bearer->url() });
is(brief(POST => '/v2/open.example/redirected/blobs/uploads/'),
	'502 UNAVAILABLE', 'redirect of an upload');
is(brief(PUT => '/v2/open.example/redirected/manifests/1', body => '{}'),
	'502 UNAVAILABLE', 'redirect of a manifest');
is(scalar(() = $t->read_file('error.log') =~ /redirect from .* is not followed/g),
	2, 'redirects, logged');
$open->clear();

# hosted beside it, and a location without

is(request(POST => '/v2/own/blobs/uploads/')->status, 202, 'hosted');
is(brief(POST => '/v2/open.example/closed/x/blobs/uploads/'),
	'405 UNSUPPORTED', 'not permitted');

$open->stop();
is(brief(POST => '/v2/open.example/x/blobs/uploads/'), '502 UNAVAILABLE',
	'down');

# Pulls are a backup server's while the others are down, pushes never: neither
# when that is found out, nor when it is known, nor by a connection that is kept.

for my $ns ('robin.example', 'least.example') {
	my $path = "/v2/$ns/team/app";
	my $image = $first->image('team/app', $ns, [ $ns ]);

	put($ns, 'team/app', "put $ns");
	is(request(GET => "$path/blobs/" . sha256("put $ns"))->body,
		"put $ns", "$ns, pushed");

	my $session = request(POST => "$path/blobs/uploads/")->location;
	is($second->requests(), 0, "$ns, backup server not asked");

	$first->stop();

	is(brief(POST => "$path/blobs/uploads/"), '502 UNAVAILABLE',
		"$ns, down, post");
	is(request(GET => "$path/manifests/$ns")->body, $image->{content},
		"$ns, down, pulled from the backup server");
	is(brief(POST => "$path/blobs/uploads/"), '502 UNAVAILABLE',
		"$ns, known to be down, post");
	is(brief(PUT => "$path/manifests/x", body => $image->{content},
		headers => { 'Content-Type' => $image->{type} }),
		'502 UNAVAILABLE', "$ns, known to be down, manifest");
	is(brief(PATCH => $session, body => 'abc'), '502 UNAVAILABLE',
		"$ns, known to be down, session");
	is($second->requests(qr/^(?!GET|HEAD)/), 0,
		"$ns, nothing pushed to the backup server");

	$first->start();
	pushed_until("$path/blobs/uploads/");
	is(brief(POST => "$path/blobs/uploads/"), '202', "$ns, up again");

	$second->forget();
}

# a session of a server that has become a backup one is not gone on with

$s = request(POST => '/v2/robin.example/x/blobs/uploads/')->location;
$first->forget();

configure('backup', '');
$t->reload();

# the old worker knows nothing of it

for (1 .. 500) {
	last if $t->read_file('error.log') =~ /worker process \d+ exited/;
	select undef, undef, undef, 0.02;
}

is(brief(PATCH => $s, body => 'abc'), '502 UNAVAILABLE',
	'a backup server now, session');
is($first->requests(qr/^PATCH/), 0, 'a backup server now, not asked');

undef $t;

###############################################################################

# which of the two is a backup server

sub configure {
	my ($primary, $backup) = @_;

	$t->write_file_expand('nginx.conf', $conf =~ s/PRIMARY/$primary/gr
		=~ s/BACKUP/$backup/gr);
}

# until a blob is in the cache

sub kept {
	my ($t, $name, $digest) = @_;
	my $link = $t->testdir() . "/cache/docker/registry/v2/repositories/$name"
		. '/_layers/' . $digest =~ s!:!/!r . '/link';

	for (1 .. 500) {
		return if -e $link;
		select undef, undef, undef, 0.02;
	}
}

# until pushes are accepted

sub pushed_until {
	my ($path) = @_;

	for (1 .. 200) {
		return if request(POST => $path)->status == 202;
		select undef, undef, undef, 0.05;
	}
}

sub brief {
	my $r = request(@_);
	return join(' ', grep { defined } $r->status, $r->code);
}

sub put_manifest {
	my ($path, $image) = @_;

	return request(PUT => $path, body => $image->{content},
		headers => { 'Content-Type' => $image->{type} });
}

sub bearer {
	my ($name) = @_;

	my $r = request(GET => '/token?service=registry.test&scope=repository:'
		. "$name:pull,push", port => port(8084), headers => {
			Authorization => 'Basic '
				. encode_base64('alice:wonder', '') });

	return (Authorization => 'Bearer ' . $r->json->{token});
}

sub patch {
	my ($ns, $name, $bytes) = @_;
	my $digest = sha256($bytes);

	my $r = request(POST => "/v2/$ns/$name/blobs/uploads/");
	is($r->status, 202, "$ns, post");
	$r = request(PATCH => $r->location,
		body => [ unpack('(a65536)*', $bytes) ]);
	is($r->status, 202, "$ns, patch");
	$r = request(PUT => $r->location . "&digest=$digest");
	is($r->status, 201, "$ns, put");

	return $digest;
}

sub put {
	my ($ns, $name, $bytes) = @_;

	my $r = request(POST => "/v2/$ns/$name/blobs/uploads/");

	return request(PUT => $r->location . '&digest=' . sha256($bytes),
		body => $bytes);
}

###############################################################################
