#!/usr/bin/perl

# Nothing secret is logged or shown: whatever is asked, refused and fails on
# the way to a remote, its tokens, its storage, a proxy or memcached.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use IO::Socket::INET;
use MIME::Base64 qw/ encode_base64 /;
use Test::Nginx;
use Test::Nginx::CA;
use Test::Nginx::Origin;
use Test::Nginx::Process;
use Test::Nginx::Registry;
use Test::Nginx::Secrets;
use Test::Nginx::Token;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http http_ssl auth_basic socket_ssl/)
	->has_daemon('openssl')->has_daemon('/usr/bin/tinyproxy');

# Some failures are logged once a minute for a remote: each meets others.

my $SETS = 100;

my %remote = (
	basic => 'url http://127.0.0.1:8091;  credentials basic.cred;
		allow_private on;',
	public => 'url http://127.0.0.1:8091;  credentials basic.cred;',
	proxied => 'url http://127.0.0.1:8091;  credentials basic.cred;
		http_proxy http://127.0.0.1:8095 credentials=proxy.cred;',
	token => 'url http://127.0.0.1:8092;  credentials token.cred;
		allow_private on;',
	identity => 'url http://127.0.0.1:8092;  credentials identity.cred;
		allow_private on;',
	client => 'url http://127.0.0.1:8093;  auth client;',
	tls => 'url https://127.0.0.1:8096;  credentials basic.cred;
		ssl_certificate ca-1.crt;  ssl_certificate_key ca-1.key;
		ssl_trusted_certificate stranger.crt;',
);

my $remotes = join("\n", map { my $set = $_; map {
	"registry_remote $_-$set.example { $remote{$_} }" } sort keys %remote }
	0 .. $SETS - 1);

$t->write_file_expand('nginx.conf', <<'EOF' =~ s/REMOTES/$remotes/r);

%%TEST_GLOBALS%%

daemon off;
user root;

error_log %%TESTDIR%%/info.log info;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format all '$request $status $registry_operation $registry_remote '
                   '$registry_repository $registry_reference $registry_digest '
                   '$registry_cache $remote_user';
    access_log %%TESTDIR%%/all.log all;

    # what is logged on purpose, and not looked at when the test ends

    log_format sent '$http_authorization';
    access_log sent.log sent;

    registry_memcached 127.0.0.1:8099 key=%%TESTDIR%%/mc.key;

    registry_cache edge { path %%TESTDIR%%/cache;  max_size 1g; }

    registry_remote default { cache edge;  valid 0;  valid 404 0; }

    REMOTES

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /v2/ {
            registry_proxy all;
            registry_push proxy;
        }

        location /v2/basic-0.example/locked/ {
            registry_proxy all;
            auth_basic "edge";
            auth_basic_user_file %%TESTDIR%%/htpasswd;
        }

        location = /status {
            registry_status;
        }
    }
}

EOF

my $password = 'Pa$$:word>>>???';
my $signature = 'c2lnbmF0dXJlLW9mLXRoZS1jZG4';

secret('the key of memcached', 'a body has this');

$t->write_file($_->[0], $_->[1]) for
	[ 'basic.cred', "robot\$edge:$password\n" ],
	[ 'token.cred', "alice:wonderland\n" ],
	[ 'identity.cred', to_json({ auths => { '127.0.0.1:' . port(8092) => {
		identitytoken => 'a-refresh-token' } } }) ],
	[ 'proxy.cred', "proxy-user:proxy-password\n" ],
	[ 'htpasswd', "locked:{PLAIN}locked-password\n" ],
	[ 'mc.key', "the key of memcached\n" ];

my $ca = Test::Nginx::CA->new($t);
my $pair = $ca->certificate('127.0.0.1');
Test::Nginx::CA->new($t, 'stranger');

my $basic = Test::Nginx::Origin->new($t, port => 8091,
	basic => "robot\$edge:$password");
my $issuer = Test::Nginx::Token->new($t, port => 8094, anonymous => undef,
	users => { alice => { password => 'wonderland',
		allow => { '*' => 'pull,push' } } });
my $bearer = Test::Nginx::Origin->new($t, port => 8092, token => $issuer);
my $client = Test::Nginx::Origin->new($t, port => 8093, token => $issuer);
my $tls = Test::Nginx::Origin->new($t, port => 8096, ssl => $pair);
my $cdn = Test::Nginx::Origin->new($t, port => 8097);
my $proxy = tinyproxy($t);

$_->image('team/app', '1', [ 'layer' ]) for $basic, $bearer, $client;
$t->run()->plan(126);

###############################################################################

my ($set, @answers) = (0);

# what is shown, and that it is good for something

my %password = (Authorization => 'Basic '
	. encode_base64('alice:wonderland', ''));
my %token = (Authorization => 'Bearer ' . request(GET =>
	'/token?service=registry.test&scope=repository:team/app:pull',
	port => port(8094), headers => \%password)->json->{token});
my %wrong = (Authorization => 'Bearer a-token-that-nobody-gave');

is(get("$_-0.example/team/app/manifests/1"), 200, $_)
	for qw/ basic token proxied /;
is(get('client-0.example/team/app/manifests/1', %token), 200, 'client');
is(get('client-0.example/team/app/manifests/1', %$_), 401, 'client, refused')
	for {}, \%password, \%wrong;
is(get('basic-0.example/locked/app/manifests/1', %$_), 401, 'edge, refused')
	for {}, \%password, \%wrong;
is(get('basic-0.example/team/app/manifests/1', %$_), 200, 'nobody asked')
	for \%password, \%wrong;

# Everything that a remote, its token service, its storage and a proxy can do
# wrong, with something secret in it.

my $query = "X-Amz-Credential=a-key-of-the-storage&X-Amz-Signature=$signature";
my $nowhere = 'http://127.0.0.1:' . port(8098);

my @urls = ("http://user:userinfo-password\@127.0.0.1/x?$query",
	"http://user:userinfo-password\@127.0.0.1:x/?$query", "ftp://x/?$query",
	"http://127.0.0.2:1/x?$query", "https://127.0.0.2:1/x?$query",
	"//user:userinfo-password\@x/?$query", "$nowhere/x?$query",
	"$nowhere?$query");

for my $failure ((map { { status => $_ } } 401, 403, 404, 407, 429, 500),
	{ html => 1 }, { flip => 5 }, { close => 10 }, { reset => 10 },
	{ endless => 1 }, { drop => 1 }, { raw => "a body has this\r\n\r\n" },
	{ redirect => 'endless' }, map { { redirect => $_ } } @urls)
{
	my $name = join(' ', %$failure) =~ s/\s+$//r;

	fails($basic, $failure, "registry, $name", qw/ basic public proxied /);
	fails($issuer, $failure, "tokens, $name", qw/ token identity /);

	$basic->rule({ redirect => $cdn->url() . "/x?$query" });
	fails($cdn, $failure, "storage, $name", qw/ basic public proxied /);
	$basic->clear();
}

for my $url (@urls) {
	fails($bearer, { status => 401, headers => { 'WWW-Authenticate' =>
		qq{Bearer realm="$url",service="x"} } }, "realm, $url",
		qw/ token identity /);
	fails($basic, { status => 202, method => 'POST',
		headers => { Location => $url } }, "upload, $url", 'basic');
}

fails($tls, {}, 'a certificate of nobody', 'tls');

# passwords that are wrong now

$t->write_file($_->[0], $_->[1]) for
	[ 'basic.cred', "robot\$edge:another-password\n" ],
	[ 'token.cred', "alice:another-password\n" ],
	[ 'proxy.cred', "proxy-user:another-password\n" ];

fails($cdn, {}, 'other passwords', qw/ basic token proxied /);
$proxy->stop();
fails($cdn, {}, 'no proxy', 'proxied');

# the status page

for my $page (map { "/status?format=$_" } qw/ json prometheus /) {
	is(request(GET => $page)->status, 200, $page);
}

$t->stop();

###############################################################################

# they would be found: they are in the logs of the other side, and in one that
# has them on purpose

for my $server ($basic, $issuer, $bearer, $client) {
	isnt(scalar found('log', $server->dir() . '/log'), 0,
		'credentials were sent to ' . $server->url());
}

isnt(scalar found('sent.log', $t->testdir() . '/sent.log'), 0,
	'credentials were sent by clients');

for my $case ([ 'info', 'http header', 1 ], [ 'info', "http\nheader", 1 ],
	[ 'debug', 'http header', 0 ], [ 'debug', "http\nheader", 0 ],
	[ 'debug', 'registry', 1 ], [ 'debug', '*1 registry', 1 ])
{
	my ($level, $text, $count) = @$case;

	is(scalar Test::Nginx::Secrets::found(log =>
		"2026/11/24 11:11:11 [$level] 1#1: $text: wonderland\n"
		. "2026/11/24 11:11:11 [info] 1#1: nothing\n"), $count,
		"$level, " . $text =~ s/\n/, /r);
}

# and the failures were logged

my $log = $t->read_file('info.log');

ok(index($log, $_) >= 0, "logged: $_") for '/x', 'answers 401', 'answers 500',
	'is not followed', 'malformed realm', 'the token service', 'no token',
	"upload's Location", 'wants other credentials', 'certificate',
	'is left out';

# but nothing secret was

is(join("\n", Test::Nginx::Secrets::found($_ => $t->read_file($_))), '', $_)
	for qw/ info.log error.log access.log all.log /;
is(join("\n", Test::Nginx::Secrets::found(answers => join("\n", @answers))),
	'', 'answers');

###############################################################################

sub get {
	my ($path, %headers) = @_;
	my $r = request(GET => "/v2/$path", headers => \%headers);

	push @answers, map({ "$_->[0]: $_->[1]" } @{$r->{fields}}), $r->body;

	return $r->status;
}

# asks remotes that were not asked before for all kinds of things that are not
# there, while a server does what a rule says

sub fails {
	my ($server, $rule, $name, @remotes) = @_;
	my @got;

	die "not as many remotes\n" if ++$set == $SETS;

	$server->rule({ body => '{"details":"a body has this"}', %$rule });

	for my $remote (map { "$_-$set.example/team/app" } @remotes) {
		my $digest = sha256($set);

		push @got, get("$remote/manifests/$set"),
			get("$remote/blobs/$digest"),
			get("$remote/blobs/$digest", Range => 'bytes=9999999-');

		# of which a part may succeed

		request(POST => "/v2/$remote/blobs/uploads/");
		request(GET => "/v2/$remote/tags/list");
	}

	$server->clear();

	is(join(' ', grep { $_ < 400 } @got), '', $name);
}

# found in a file

sub found {
	my ($name, $file) = @_;

	open(my $fh, '<', $file) or die "$file: $!\n";

	return Test::Nginx::Secrets::found($name => join('', <$fh>));
}

sub tinyproxy {
	my ($t) = @_;
	my $port = port(8095);
	my $dir = $t->testdir();

	$t->write_file('tinyproxy.conf', <<"EOF");
Port $port
Listen 127.0.0.1
Timeout 60
MaxClients 10
BasicAuth proxy-user proxy-password
LogFile "$dir/tinyproxy.log"
EOF

	my $process = Test::Nginx::Process->new(sub {
		open(STDOUT, '>', '/dev/null');
		open(STDERR, '>', '/dev/null');
		exec('/usr/bin/tinyproxy', '-d', '-c', "$dir/tinyproxy.conf");
	});

	$process->start();
	$t->waitforsocket("127.0.0.1:$port") or die "no tinyproxy\n";

	return $process;
}

###############################################################################
