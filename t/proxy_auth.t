#!/usr/bin/perl

# Who may have what a remote has: "auth client", where the remote decides, and
# the same rules whichever way a repository is named.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Digest::SHA qw//;
use MIME::Base64 qw/ encode_base64 /;
use Test::Nginx;
use Test::Nginx::Origin;
use Test::Nginx::Registry;
use Test::Nginx::Token;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http auth_basic/)
	->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;
user root;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    add_header X-How "$registry_cache" always;

    registry_cache edge { path %%TESTDIR%%/cache;  max_size 1g; }

    registry_remote default { cache edge; }

    registry_remote basic.example { url http://127.0.0.1:8081;  auth client; }
    registry_remote token.example { url http://127.0.0.1:8082;  auth client; }
    registry_remote open.example  {
        url    http://127.0.0.1:8083;
        alias  alias.example;
    }

    server {
        listen       127.0.0.1:8080;
        server_name  reg.example;

        location /v2/ {
            registry_proxy all;
        }

        location /v2/open.example/locked/ {
            registry_proxy open.example;
            auth_basic "locked";
            auth_basic_user_file %%TESTDIR%%/htpasswd;
        }

        location /v2/open.example/denied/ {
            registry_proxy open.example;
            deny all;
        }
    }

    server {
        listen       127.0.0.1:8085;
        server_name  open.example alias.example;
        registry_namespace $host;

        location /v2/ {
            registry_proxy all;
        }

        location /v2/open.example/locked/ {
            registry_proxy open.example;
            auth_basic "locked";
            auth_basic_user_file %%TESTDIR%%/htpasswd;
        }

        location /v2/open.example/denied/ {
            registry_proxy open.example;
            deny all;
        }
    }
}

EOF

$t->write_file('htpasswd', "edge:{PLAIN}secret\n");

my $basic = Test::Nginx::Origin->new($t, port => 8081,
	basic => 'alice:wonder');
my $token = Test::Nginx::Token->new($t, port => 8084, users => {
	alice => { password => 'wonder', allow => { 'team/*' => 'pull' } },
	bob => { password => 'builder', allow => { 'other/*' => 'pull' } } },
	anonymous => { 'public/*' => 'pull' });
my $bearer = Test::Nginx::Origin->new($t, port => 8082, token => $token);
my $open = Test::Nginx::Origin->new($t, port => 8083);

$t->run()->plan(118);

###############################################################################

# Basic: the challenge is the remote's, and so is the verdict

my $image = $basic->image('team/app', '1', [ 'basic' ]);
my $path = '/v2/basic.example/team/app/manifests/1';

my $r = request(GET => $path);
is($r->status, 401, 'basic, nothing shown');
is($r->code, 'UNAUTHORIZED', 'basic, nothing shown, code');
like($r->header('WWW-Authenticate'), qr/^basic realm=/i,
	'basic, nothing shown, challenge');
is(request(GET => '/v2/basic.example/')->status, 401, 'basic, base');
is(request(GET => '/v2/?ns=basic.example')->status, 401, 'basic, base, ns');

my $alice = basic('alice', 'wonder');

is(request(GET => '/v2/?ns=basic.example', headers => $alice)->status, 200,
	'basic, base, shown');
is(request(GET => $path, headers => $alice)->body, $image->{content},
	'basic, cold');
like(($basic->requests(qr/^HEAD .*manifests/))[-1]{headers}{accept},
	qr!application/vnd.oci.image.manifest.v1\+json!,
	'basic, cold, asked for what it is');
$basic->forget();
$r = request(GET => $path, headers => $alice);
is($r->body, $image->{content}, 'basic, warm');
is($r->header('X-How'), 'HIT', 'basic, warm, from the cache');
is($basic->requests(), 0, 'basic, warm, the verdict is known');

is(request(GET => $path)->status, 401, 'basic, warm, nothing shown');
is(request(GET => $path, headers => basic('alice', 'wrong'))->status, 401,
	'basic, warm, wrong password');
is(request(GET => $path, headers => basic('bob', 'wonder'))->status, 401,
	'basic, warm, another user');
is(request(GET => "/v2/basic.example/team/app/manifests/$image->{digest}")
	->status, 401, 'basic, warm, by digest');

$basic->stop();
is(request(GET => $path, headers => $alice)->body, $image->{content},
	'basic, down, the verdict is known');
is(brief(GET => $path, headers => basic('alice', 'x')), '502 UNAVAILABLE',
	'basic, down, the verdict is not known');
is(brief(GET => $path), '502 UNAVAILABLE', 'basic, down, nothing shown');
$basic->start();

# Bearer: the client gets its own token

$image = $bearer->image('team/app', '1', [ 'token' ]);
$path = '/v2/token.example/team/app/manifests/1';

$r = request(GET => $path);
is($r->status, 401, 'token, nothing shown');
like($r->header('WWW-Authenticate'), 
	qr!^bearer realm=.*scope="repository:team/app:pull"!i, 'token, nothing shown, challenge');

my %bearer = map { $_->[0] => bearer(@$_) }
	[ alice => 'wonder', 'team/app' ], [ bob => 'builder', 'team/app' ],
	[ '', '', 'public/app' ];

is(request(GET => $path, headers => $bearer{alice})->body,
	$image->{content}, 'token, cold');
is(request(GET => $path, headers => $bearer{alice})->header('X-How'), 'HIT',
	'token, warm');
is(request(GET => $path, headers => $bearer{bob})->status, 401,
	'token, warm, one that grants nothing');
is(request(GET => $path, headers => { Authorization => 'Bearer x' })->status,
	401, 'token, warm, none at all');
is(request(GET => $path)->status, 401, 'token, warm, nothing shown');

# a token for one repository is none for another

$bearer->image('team/other', '1', [ 'token' ]);
is(request(GET => '/v2/token.example/team/other/manifests/1',
	headers => $bearer{alice})->status, 401, 'token, another repository');

my $public = $bearer->image('public/app', '1', [ 'public' ]);
is(request(GET => '/v2/token.example/public/app/manifests/1',
	headers => $bearer{''})->body, $public->{content}, 'token, anonymous');

# credentials that are not good any more, though the verdict is known, are the
# client's to renew; and nobody else is refused for them

my $late = $bearer->image('team/app', '2', [ 'late', 'later' ]);
my @blobs = map { $_->{digest} } @{$late->{layers}};

sub late { return request(GET => "/v2/token.example/team/app/$_[0]",
	headers => $_[1] // $bearer{alice}) }

for my $what ('manifests/2', "blobs/$blobs[0]", 'tags/list') {

	is(late('manifests/1')->status, 200, "$what, permitted");
	$token->revoke();

	$r = late($what);
	is($r->status, 401, "$what, the token has ended");
	like($r->header('WWW-Authenticate'),
		qr!^bearer realm=.*scope="repository:team/app:pull"!i,
		"$what, the token has ended, challenge");
	is(late('manifests/1')->status, $what eq 'tags/list' ? 200 : 401,
		"$what, the token has ended, from the cache");

	$bearer{alice} = bearer('alice', 'wonder', 'team/app');
	is(late($what)->status, 200, "$what, a new one");
}

for my $what ([ 'manifests/3', 'manifest' ], [ "blobs/$blobs[1]", 'blob' ]) {
	my ($path, $name) = @$what;

	$bearer->image('team/app', '3', [ 'third' ]);
	my $other = bearer('alice', 'wonder', 'team/app');

	is(late('manifests/1', $_)->status, 200, "$name, both are permitted")
		for $bearer{alice}, $other;

	my ($dead) = $bearer{alice}{Authorization} =~ / (.*)/;
	unlink $t->testdir() . '/token-8084/issued/'
		. Digest::SHA::sha256_hex($dead) or die "token: $!\n";

	$bearer->rule({ path => qr/$path/, hold => 1 });
	$bearer->forget();

	my @s = map {
		my $s = send_request(GET => "/v2/token.example/team/app/$path",
			headers => $_);
		$bearer->await(qr/$path/, 1);
		$s;
	} $bearer{alice}, $other;

	select undef, undef, undef, 0.2;
	is($bearer->requests(qr/$path/), 1, "$name, one asks for both");

	$bearer->clear();
	$bearer->release();

	is(response($s[0])->status, 401, "$name, who asked, refused");
	is(response($s[1])->status, 200, "$name, who waited, not");

	$bearer{alice} = $other;
}

# a page to log in at is nobody's permission

$bearer->rule({ path => qr/v2/, redirect => $bearer->url() . '/login' });
$bearer->rule({ path => qr/login/, status => 200, html => 1 });

is(request(GET => "/v2/token.example/team/app/$_")->status, 502, "$_, a page")
	for 'manifests/1', "blobs/$blobs[0]", 'tags/list';
is(request(GET => '/v2/token.example/')->status, 502, 'base, a page');

$bearer->clear();

# a registry that knows no HEAD, of blobs at least

$bearer->blob('team/app', 'no head');
$bearer->rule({ path => qr/blobs/, method => 'HEAD', status => 404 });
is(late('blobs/' . sha256('no head'), bearer('alice', 'wonder', 'team/app'))
	->body, 'no head', 'no HEAD of blobs');
$bearer->blob('team/app', '');
is(late('blobs/' . sha256(''), bearer('alice', 'wonder', 'team/app'))
	->status, 200, 'no HEAD of blobs, empty');
is(late('blobs/' . sha256('none'), bearer('alice', 'wonder', 'team/app'))
	->status, 404, 'no HEAD of blobs, none');
$bearer->rule({ path => qr/manifests/, method => 'HEAD', status => 405 });
is(late('manifests/2', bearer('alice', 'wonder', 'team/app'))->body,
	$late->{content}, 'no HEAD of manifests');
$bearer->clear();

# the same rules, however it is said: not permitted, not to be known

$open->image("$_/app", '1', [ $_ ]) for qw/ free locked denied /;

my $digest = $open->image('locked/app', '2', [ 'digest' ])->{digest};
my $edge = basic('edge', 'secret');

for my $way ([ 8080, '/v2/open.example/%s' ], [ 8080, '/v2/alias.example/%s' ],
	[ 8080, '/v2/%s?ns=open.example' ], [ 8080, '/v2/%s?ns=alias.example' ],
	[ 8080, '/v2/open.example/%s?ns=alias.example' ],
	[ 8085, '/v2/%s', 'open.example' ], [ 8085, '/v2/%s', 'alias.example' ],
	[ 8085, '/v2/%s', 'open.example:443' ])
{
	my ($port, $format, $host) = @$way;
	my $name = $format . ($host ? ", $host" : '');
	my $get = sub {
		my ($method, $what, %headers) = @_;
		return request($method => sprintf($format, $what),
			port => port($port), headers => { Host => $host // 'reg.example',
				%headers })->status;
	};

	is($get->(GET => 'free/app/manifests/1'), 200, "$name, free");
	is($get->(GET => 'locked/app/manifests/1'), 401, "$name, locked");
	is($get->(HEAD => "locked/app/manifests/$digest"), 401,
		"$name, locked, head by digest");
	is($get->(HEAD => 'locked/app/manifests/1', %$edge), 200,
		"$name, unlocked");
	is($get->(GET => 'denied/app/manifests/1'), 403, "$name, denied");
	is($get->(GET => 'denied/app/blobs/' . sha256('denied'),
		Range => 'bytes=0-1'), 403, "$name, denied, range of a blob");
}

# an empty one has no first byte

$open->blob($_, '') for 'free/app', 'free/other';
$open->rule({ path => qr/blobs/, method => 'HEAD', status => 404 });

is(request(GET => "/v2/open.example/$_/blobs/" . sha256(''))->status, 200,
	"$_, no HEAD of blobs, empty") for 'free/app', 'free/other';

$open->clear();

# a page to log in at does not say that a repository has a blob, nor that there
# is one at all

my $free = sha256('free');

is(request(GET => "/v2/open.example/free/app/blobs/$free")->body, 'free',
	'blob of another repository');

$open->rule({ path => qr/v2/, redirect => $open->url() . '/login' });
$open->rule({ path => qr/login/, status => 200, html => 1 });

is(request(GET => "/v2/open.example/none/blobs/$free")->status, 502,
	'blob of another repository, a page');
is(request(HEAD => '/v2/open.example/free/app/blobs/' . sha256('none'))
	->status, 502, 'blob, a page');
$open->clear();

# what nobody knows, and nobody is asked

$open->forget();

for my $uri ('/v2/free/app/manifests/1',
	'/v2/unknown.example/free/app/manifests/1',
	'/v2/free/app/manifests/1?ns=unknown.example',
	'/v2/open.example/free/app/manifests/1?ns=unknown.example')
{
	is(brief(GET => $uri), '404 NAME_UNKNOWN', $uri);
}

is($open->requests() + $open->connections(), 0, 'nobody was asked');

###############################################################################

sub brief {
	my $r = request(@_);
	return join(' ', grep { defined } $r->status, $r->code);
}

sub basic {
	my ($user, $password) = @_;
	return { Authorization => 'Basic ' . encode_base64("$user:$password", '') };
}

sub bearer {
	my ($user, $password, $name) = @_;
	my $r = request(GET => "/token?service=registry.test&scope=repository:"
		. "$name:pull", port => port(8084),
		headers => $user ? basic($user, $password) : {});

	return { Authorization => 'Bearer ' . $r->json->{token} };
}

###############################################################################
