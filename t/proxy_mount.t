#!/usr/bin/perl

# Mounts that are passed on to a remote: what the client may pull here, by the
# name that the remote knows it by, with a token for both repositories; and an
# upload where it is not granted.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use MIME::Base64 qw/ encode_base64 /;
use Test::Nginx;
use Test::Nginx::DockerRegistry;
use Test::Nginx::Origin;
use Test::Nginx::Registry;
use Test::Nginx::Token;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http access/)->has_daemon('docker-registry')
	->write_file_expand('nginx.conf', <<'EOF_CONF');

%%TEST_GLOBALS%%

daemon off;
user root;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format mounts '$request_method $status $registry_digest';
    access_log %%TESTDIR%%/mounts.log mounts;

    registry_cache edge { path %%TESTDIR%%/cache;  max_size 1g; }
    registry_store local { path %%TESTDIR%%/local; }

    registry_remote default { cache edge;  valid 1h;  allow_private on; }

    registry_remote edge.example {
        url          http://127.0.0.1:8082;
        credentials  %%TESTDIR%%/edge.cred;
    }

    registry_remote client.example {
        url          http://127.0.0.1:8082;
        auth         client;
    }

    registry_remote docker.io {
        url          http://127.0.0.1:8081;
        alias        index.docker.io;
    }

    registry_remote own.example {
        url          http://127.0.0.1:8081;
        auth         client;
    }

    server {
        listen       127.0.0.1:8080;
        server_name  reg.example;

        location /v2/ {
            registry local;
            registry_proxy all;
            registry_push proxy;
            registry_local_only internal/*;
        }

        location /v2/docker.io/apart/ {
            registry_proxy all;
            registry_push proxy;
        }

        location ~ ^/v2/docker.io/denied/.*/blobs/sha {
            registry_proxy all;
            deny all;
        }

        location = /status {
            registry_status;
        }
    }

    server {
        listen       127.0.0.1:8083;
        server_name  docker.io;

        registry_namespace docker.io;

        location /v2/ {
            registry_proxy all;
            registry_push proxy;
        }
    }
}

EOF_CONF

$t->write_file('edge.cred', 'alice:wonder');

my $token = Test::Nginx::Token->new($t, port => 8084,
	users => {
		alice => { password => 'wonder',
			allow => { 'team/*' => 'pull,push' } },
		root => { password => 'superuser', allow => { '*' => '*' } },
	}, anonymous => undef);
my $registry = Test::Nginx::DockerRegistry->new($t, port => 8082,
	token => $token);
my $origin = Test::Nginx::Origin->new($t, port => 8081);

$t->run()->plan(89);

###############################################################################

# a real registry, and the edge's account there

my $base = put('edge.example/team/base', 'the base');

$token->forget();
my $r = mount('edge.example/team/app', $base, 'edge.example/team/base');

is($r->status, 201, 'edge');
is($r->location, "/v2/edge.example/team/app/blobs/$base", 'edge, location');
is($r->header('Docker-Content-Digest'), $base, 'edge, digest');
is(join(' ', map { $_->{path} =~ s/.*?&//r } $token->requests()),
	'scope=repository:team/app:pull%2Cpush&scope=repository:team/base:pull',
	'edge, a token for both');
is(request(GET => "/v2/edge.example/team/app/blobs/$base")->body, 'the base',
	'edge, pulled');

$token->forget();
is(mount('edge.example/team/app', $base, 'edge.example/team/base')->status,
	201, 'edge, again');
is($token->requests(), 0, 'edge, again, the token is kept');
is(mount('edge.example/team/other', $base, 'edge.example/team/app')->status,
	201, 'edge, other repositories');
is($token->requests(), 1, 'edge, other repositories, another token');

is(begun(mount('edge.example/team/app', sha256('none'),
	'edge.example/team/base'), 'none'), '202 201', 'edge, unknown blob');
is(begun(mount('edge.example/team/app', $base, 'edge.example/team/none'),
	'the base'), '202 201', 'edge, unknown repository');

# it may not pull there: the service grants less than it is asked for, or
# refuses

my %root = bearer(root => 'superuser', 'secret/base', 'pull,push');
my $secret = put('client.example/secret/base', 'secret', headers => \%root);

is(begun(mount('edge.example/team/app', $secret, 'edge.example/secret/base'),
	'secret but known'), '202 201', 'edge, not granted');
is(request(HEAD => "/v2/edge.example/team/app/blobs/$secret")->status, 404,
	'edge, not granted, not mounted');

for my $status (401, 403, 400) {
	$token->rule({ path => qr/secret/, status => $status });
	is(begun(mount('edge.example/team/app', $secret,
		'edge.example/secret/base'), "token $status"), '202 201',
		"edge, no token, $status");
}

$token->clear();

unlike($t->read_file('error.log'), qr/"edge.example" answers 401/,
	'edge, not granted, no line in the log');

# and the client's own

my $path = 'client.example/team/app';
my $new = put('client.example/team/base', 'new',
	headers => { bearer(alice => 'wonder', 'team/base', 'pull,push') });

$r = mount($path, $new, 'client.example/team/base');
is($r->status . $r->code, '401UNAUTHORIZED', 'client, nothing shown');

my ($scope) = $r->header('WWW-Authenticate') =~ /scope="(.*?)"/;
is(join(' ', sort split(/ /, $scope)),
	'repository:team/app:pull,push repository:team/base:pull',
	'client, nothing shown, challenge');

my %app = bearer(alice => 'wonder', 'team/app', 'pull,push');
my %both = bearer(alice => 'wonder', 'team/app', 'pull,push', 'team/base',
	'pull');

$r = mount($path, $new, 'client.example/team/base', headers => \%app);
is($r->status, 401, 'client, a token for one');
like($r->header('WWW-Authenticate'), qr!repository:team/base:pull!,
	'client, a token for one, challenge');
is(begun(request(POST => "/v2/$path/blobs/uploads/", headers => \%app),
	'upload', headers => \%app), '202 201', 'client, upload instead');

$r = mount($path, $new, 'client.example/team/base', headers => \%both);
is($r->status, 201, 'client, a token for both');
is($r->location, "/v2/$path/blobs/$new", 'client, location');
is(request(GET => "/v2/$path/blobs/$new", headers => \%app)->body, 'new',
	'client, pulled');
is(begun(mount($path, sha256('x'), 'client.example/team/base',
	headers => \%both), 'x', headers => \%app), '202 201',
	'client, unknown blob');

# however the repositories are named

$origin->blob($_, 'layer') for qw! library/base team/base apart/base
	denied/base internal/base !;

my $layer = sha256('layer');

for my $case (
	[ '/v2/docker.io/team/app', '', 'docker.io/team/base', 'team/base' ],
	[ '/v2/docker.io/app', '', 'docker.io/base', 'library/base' ],
	[ '/v2/docker.io/library/app', '', 'docker.io/library/base',
		'library/base' ],
	[ '/v2/index.docker.io/team/app', '', 'index.docker.io/base',
		'library/base' ],
	[ '/v2/docker.io/team/app', '', 'index.docker.io/team/base',
		'team/base' ],
	[ '/v2/team/app', '&ns=docker.io', 'team/base', 'team/base' ],
	[ '/v2/app', '&ns=docker.io', 'base', 'library/base' ],
	[ '/v2/team/app', '&ns=index.docker.io', 'docker.io/team/base',
		'team/base' ],
	[ '/v2/team/app', '', 'team/base', 'team/base', 8083 ],
	[ '/v2/app', '', 'base', 'library/base', 8083 ],
	[ '/v2/docker.io/app', '', 'docker.io/base', 'library/base', 8083 ],
	[ '/v2/team/app', '', 'team%2fbase', 'team/base', 8083 ],
	[ '/v2/docker.io/apart/app', '', 'docker.io/apart/base', 'apart/base' ],
) {
	my ($name, $ns, $from, $there, $port) = @$case;
	my $what = "$name$ns, $from" . ($port ? ', namespace' : '');

	$origin->forget();
	is(request(POST => "$name/blobs/uploads/?mount=$layer&from=$from$ns",
		port => port($port // 8080))->status, 201, $what);
	is(join(' ', map { $_->{path} } $origin->requests(qr/^POST/)),
		'/v2/' . ($name =~ m!/app$! && $there =~ /library/
			&& $name !~ /team|library/ ? 'library/' : '')
		. ($name =~ s!^/v2/!!r =~ s!^(?:index\.)?docker\.io/!!r)
		. "/blobs/uploads/?mount=$layer&from=$there", "$what, asked for");
}

# what the client may not pull by the same rules, or does not name, is no
# business of the remote

for my $case (
	[ 'docker.io/team/app', 'docker.io/apart/base', 'another location' ],
	[ 'docker.io/apart/app', 'docker.io/team/base', 'another location' ],
	[ 'docker.io/team/app', 'docker.io/denied/base', 'blobs are denied' ],
	[ 'docker.io/team/app', 'docker.io/internal/base', 'local only' ],
	[ 'docker.io/team/app', 'own.example/team/base', 'another remote' ],
	[ 'docker.io/team/app', 'team/base', 'hosted' ],
	[ 'docker.io/team/app', undef, 'anonymous' ],
) {
	my ($name, $from, $what) = @$case;

	$origin->forget();
	is(begun(mount($name, $layer, $from), "no $what"), '202 201', $what);
	is($origin->requests(qr/mount|from/), 0, "$what, not asked for");
}

# bytes at hand are an upload

$origin->forget();
$r = request(POST => '/v2/docker.io/team/app/blobs/uploads/?mount=' . $layer
	. '&from=docker.io/team/base&digest=' . sha256('at once'),
	body => 'at once');
is($r->status, 201, 'with bytes');
is($r->location, '/v2/docker.io/team/app/blobs/' . sha256('at once'),
	'with bytes, location');
is($origin->requests(qr/mount/), 0, 'with bytes, not asked for');

# what is malformed is refused, as everywhere

is(brief(mount('docker.io/team/app', 'sha256:x', 'docker.io/team/base')),
	'400 DIGEST_INVALID', 'malformed digest');

for my $from ('', 'docker.io/../base', 'docker.io/A', 'docker.io/a%00',
	'docker.io/' . 'x' x 300)
{
	is(brief(mount('docker.io/team/app', $layer, $from)),
		'400 NAME_INVALID', 'malformed from ' . substr($from, 0, 20));
}

# what the remote makes of it

for my $status (400, 401, 403, 404, 405) {
	$origin->rule({ path => qr/mount/, status => $status });
	$origin->forget();
	is(begun(mount('docker.io/team/app', $layer, 'docker.io/team/base'),
		"refused $status"), '202 201', "refused, $status");
}

$origin->rule({ path => qr/mount/, status => 403 });
is(begun(mount('own.example/team/app', $layer, 'own.example/team/base'),
	'refused'), '202 201', 'refused, client, 403');
$origin->rule({ path => qr/mount/, status => 429,
	headers => { 'Retry-After' => 3 } });
$r = mount('docker.io/team/app', $layer, 'docker.io/team/base');
is(brief($r) . ' ' . $r->header('Retry-After'), '429 TOOMANYREQUESTS 3',
	'refused, 429');
$origin->rule({ path => qr/mount/, status => 500 });
is(brief(mount('docker.io/team/app', $layer, 'docker.io/team/base')),
	'502 UNAVAILABLE', 'failed');
$origin->clear();

# both are refused

$origin->rule({ path => qr/uploads/, status => 403 });
$origin->forget();
is(brief(mount('own.example/team/app', $layer, 'own.example/team/base')),
	'403 DENIED', 'refused, and the upload too');
is($origin->requests(qr/^POST/), 2, 'refused, and the upload too, asked once');
$origin->clear();

# connections are kept, and it is counted

my $s = connection();

for (1 .. 2) {
	is(mount('docker.io/team/app', $layer, 'docker.io/team/base',
		socket => $s)->status, 201, 'kept');
}

my $status = request(GET => '/status')->json->{namespaces};
is($status->{'edge.example'}{pushed_blobs}{mount}, 3, 'counted');

like($t->read_file('mounts.log'), qr/^POST 201 \Q$base\E$/m, 'logged');

###############################################################################

sub brief {
	my ($r) = @_;
	return join(' ', grep { defined } $r->status, $r->code);
}

sub mount {
	my ($name, $digest, $from, %opts) = @_;
	return request(POST => "/v2/$name/blobs/uploads/?mount=$digest"
		. (defined $from ? "&from=$from" : ''), %opts);
}

# the status of what has begun an upload, and of its end

sub begun {
	my ($r, $bytes, %opts) = @_;

	return brief($r) if $r->status != 202;
	return '202 ' . request(PUT => $r->location . '&digest='
		. sha256($bytes), body => $bytes, %opts)->status;
}

sub put {
	my ($name, $bytes, %opts) = @_;
	my $digest = sha256($bytes);

	my $r = request(POST => "/v2/$name/blobs/uploads/", %opts);
	request(PUT => $r->location . "&digest=$digest", body => $bytes, %opts);

	return $digest;
}

sub bearer {
	my ($user, $password, %scopes) = @_;

	my $r = request(GET => '/token?service=registry.test' . join('', map {
		"&scope=repository:$_:$scopes{$_}" } sort keys %scopes),
		port => port(8084), headers => { Authorization => 'Basic '
			. encode_base64("$user:$password", '') });

	return (Authorization => 'Bearer ' . $r->json->{token});
}

###############################################################################
