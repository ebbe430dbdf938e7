#!/usr/bin/perl

# The configurations of conf/examples, each loaded and exercised for what it is
# about, and those that the documentation shows.  What those do that have other
# registries behind them is in t/examples_proxy.t and t/clients.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use Digest::SHA qw/ sha256_hex /;
use IO::Socket::INET;
use JSON::PP;
use MIME::Base64;
use Time::HiRes qw/ time /;

use lib 'lib';
use Test::Nginx;
use Test::Nginx::CA;
use Test::Nginx::Origin;
use Test::Nginx::Proxy;
use Clients;
use Images;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $examples = '../conf/examples';
my %ports = (5000 => 8080, 5001 => 8081, 443 => 8443);
my @snippets = snippets('../README.md', glob('../docs/*.md'));

my $t = Test::Nginx->new()
	->has(qw/http http_ssl access auth_basic auth_request limit_conn/)
	->has(qw/limit_req map proxy realip rewrite/)
	->has_daemon('openssl')->has_daemon('tinyproxy')
	->plan(130 + 2 * @snippets);
my $d = $t->testdir();

# workers run as nginx would have them, and not as root

chmod 0755, $d;

$t->write_file('registry.htpasswd', "user:{PLAIN}secret\n");
certificates();

###############################################################################

my ($registry, $r, $blob, $image);

# as small as it gets

example('minimal.conf');

$registry = Images->new(port(8080));
$image = Images::image([ $blob = Images::blob('x' x 100_000) ]);

is($registry->push_image('a/b', 'tag', $image, 'patch'), undef,
	'minimal: push');
is(join("\n", $registry->check('a/b', 'tag', $image->{digest})), '',
	'minimal: pull');
is($registry->request('DELETE', "/v2/a/b/manifests/tag")->{status}, 405,
	'minimal: no delete');

$t->stop();

# the same, by a reload of an nginx that knew nothing of it

$t->write_file_expand('nginx.conf', <<'EOF')->run();
pid        %%TESTDIR%%/nginx.pid;
error_log  %%TESTDIR%%/error.log debug;
daemon     off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%
}
EOF

write_conf('minimal.conf', slurp("$examples/minimal.conf"));
$t->reload();

ok(wait_for(sub { (http_get('/v2/') // '') =~ / 200 / }), 'minimal: reload');
is($registry->push_image('a/b', 'new', $image), undef,
	'minimal: reload, push');

$t->stop();

# TLS

example('tls.conf');

like(https('GET', '/v2/'), qr!^HTTP/1.1 200 !, 'tls: base');
$r = https('POST', '/v2/a/b/blobs/uploads/');
like($r, qr!^HTTP/1.1 202 !, 'tls: push');
like($r, qr!^Location: /v2/a/b/blobs/uploads/!m, 'tls: no scheme in Location');

$t->stop();

# passwords

example('htpasswd.conf');

$r = https('GET', '/v2/');
like($r, qr!^HTTP/1.1 401 !, 'htpasswd: no login');
like($r, qr!^WWW-Authenticate: Basic realm="registry"!m,
	'htpasswd: says how to log in');
is(code($r), 'UNAUTHORIZED', 'htpasswd: no login, document');
is(code(https('GET', '/v2/', login('user', 'wrong'))), 'UNAUTHORIZED',
	'htpasswd: wrong password');
is(code(https('POST', '/v2/a/b/blobs/uploads/')), 'UNAUTHORIZED',
	'htpasswd: push without login');
like(https('GET', '/v2/', login('user', 'secret')), qr!^HTTP/1.1 200 !,
	'htpasswd: login');
like(https('POST', '/v2/a/b/blobs/uploads/', login('user', 'secret')),
	qr!^HTTP/1.1 202 !, 'htpasswd: push');

$t->stop();

# somebody else decides

$t->run_daemon(\&auth_daemon, port(8090));
$t->waitforsocket('127.0.0.1:' . port(8090)) or die "no auth daemon\n";

example('auth-request.conf');

$registry = Images->new(port(8080));
$image = Images::image([]);

$r = $registry->request('GET', '/v2/');
is($r->{status}, 401, 'auth_request: no login');
is($r->{headers}{'www-authenticate'}, 'Basic realm="team"',
	'auth_request: says how to log in');
is(code($r), 'UNAUTHORIZED', 'auth_request: no login, document');

my @login = (Authorization => login('team', 'any') =~ s/.*: //r);

is($registry->request('GET', '/v2/', undef, @login)->{status}, 200,
	'auth_request: login');
is($registry->request('POST', '/v2/team/a/blobs/uploads/', '', @login)
	->{status}, 202, 'auth_request: push');

my $hello = 'sha256:' . sha256_hex('hello');
is(join(' ', map { $registry->request('POST', "/v2/team/$_", 'hello', @login)
	->{status} } "b/blobs/uploads/?digest=$hello",
	"a/blobs/uploads/?mount=$hello&from=team/b"), '201 202',
	'auth_request: a mount is an upload');

$r = $registry->request('POST', '/v2/other/a/blobs/uploads/', 'x' x 100_000,
	@login);
is($r->{status}, 403, 'auth_request: push of another');
is(code($r), 'DENIED', 'auth_request: push of another, document');

is($registry->request('GET', '/v2/team/a/manifests/1', undef, @login)
	->{status}, 404, 'auth_request: pull');
is($t->read_file('auth.log'), <<'EOL', 'auth_request: what it was told');
check  127.0.0.1
check  127.0.0.1
push_blob team/a 127.0.0.1
push_blob team/b 127.0.0.1
push_blob team/a 127.0.0.1
push_blob other/a 127.0.0.1
pull_manifest team/a 127.0.0.1
EOL

$t->stop();
$t->stop_daemons();

# limits

example('limit.conf');

$registry = Images->new(port(8080));
$image = Images::image([ $blob = Images::blob('x' x 45_000_000) ]);

is($registry->push_image('a', 'tag', $image, 'put'), undef, 'limit: push');

my %seen;

for (1 .. 150) {
	$r = $registry->request('GET', '/v2/a/manifests/tag');
	$seen{$r->{status}}++;
	last if $r->{status} != 200;
}

cmp_ok($seen{200}, '>=', 41, 'limit: a burst of manifests');
is($r->{status}, 429, 'limit: too many manifests');
is(code($r), 'TOOMANYREQUESTS', 'limit: too many manifests, document');

my $started = time();

is(join("\n", $registry->check_blob('a', $blob->{digest}, 45_000_000)), '',
	'limit: blobs are not counted with them');
cmp_ok(time() - $started, '>', 1, 'limit: a blob is slowed down');

my @open = map { blob_begun($blob) } 1 .. 6;

$r = $registry->request('GET', "/v2/a/blobs/$blob->{digest}");
is($r->{status}, 429, 'limit: too many blobs');
is(code($r), 'TOOMANYREQUESTS', 'limit: too many blobs, document');
is($registry->request('GET', '/v2/')->{status}, 200,
	'limit: others are not limited');

@open = ();

$t->stop();

# addresses

example('realip.conf');

$registry = Images->new(port(8080));

is($registry->request('GET', '/v2/', undef,
	'X-Forwarded-For' => '192.0.2.7')->{status}, 200, 'realip: allowed');

$r = $registry->request('POST', '/v2/a/blobs/uploads/', '',
	'X-Forwarded-For' => '198.51.100.1, 10.0.0.1');
is($r->{status}, 403, 'realip: denied');
is(code($r), 'DENIED', 'realip: denied, document');
is($registry->request('POST', '/v2/a/blobs/uploads/', '',
	'X-Forwarded-For' => '192.0.2.7')->{status}, 202, 'realip: push');

$t->stop();

is($t->read_file('registry.log'), <<'EOL', 'realip: logged');
192.0.2.7 127.0.0.1 200 check -
198.51.100.1 127.0.0.1 403 push_blob a
192.0.2.7 127.0.0.1 202 push_blob a
EOL

# certificates of clients

example('client-cert.conf');

$r = https('GET', '/v2/');
like($r, qr!^HTTP/1.1 400 !, 'client certificate: none');
is(code($r), 'UNSUPPORTED', 'client certificate: none, document');

$r = https('POST', '/v2/a/blobs/uploads/', '', 'stranger');
like($r, qr!^HTTP/1.1 400 !, 'client certificate: wrong');
is(code($r), 'UNSUPPORTED', 'client certificate: wrong, document');

like(https('GET', '/v2/', '', 'client'), qr!^HTTP/1.1 200 !,
	'client certificate: base');
like(https('POST', '/v2/a/blobs/uploads/', '', 'client'), qr!^HTTP/1.1 202 !,
	'client certificate: push');

$t->stop();

# many pull, few push

example('read-only.conf');

$registry = Images->new(port(8080));
$image = Images::image([ $blob = Images::blob('read only') ]);

is($registry->push_image('a', 'tag', $image, 'patch'), undef,
	'read-only: push from here');

my %elsewhere = (LocalAddr => '127.0.0.2');

like(http_get('/v2/', %elsewhere), qr/ 200 /, 'read-only: base');
like(http_get('/v2/a/manifests/tag', %elsewhere), qr/ 200 /,
	'read-only: pull of a manifest');
like(http_head("/v2/a/blobs/$blob->{digest}", %elsewhere), qr/ 200 /,
	'read-only: look at a blob');

for my $uri (qw! blobs/uploads/ manifests/tag !) {
	my $method = $uri eq 'manifests/tag' ? 'PUT' : 'POST';

	$r = http("$method /v2/a/$uri HTTP/1.0\nHost: localhost\n"
		. "Content-Length: 2\n\n{}", %elsewhere);
	like($r, qr/ 403 /, "read-only: $method from elsewhere");
	is(code($r), 'DENIED', "read-only: $method from elsewhere, document");
}

my %push = (PeerAddr => '127.0.0.1:' . port(8081));

is(code(http_get('/v2/', %push)), 'UNAUTHORIZED',
	'read-only: the place to push to wants a login');

$registry = Images->new(port(8081));
@login = (Authorization => login('user', 'secret') =~ s/.*: //r);

is($registry->request('POST', '/v2/a/blobs/uploads/', '', @login)->{status},
	202, 'read-only: push with a login');
is($registry->request('DELETE', "/v2/a/manifests/tag", undef, @login)
	->{status}, 202, 'read-only: delete with a login');

$t->stop();

# the log

example('logging.conf');

$registry = Images->new(port(8080));
$image = Images::image([ $blob = Images::blob('logged') ]);

$registry->push_image('a/b', 'tag', $image, 'patch');
$registry->request('GET', '/v2/a/b/manifests/tag') for 1 .. 2;
$registry->request('GET', "/v2/a/b/blobs/$blob->{digest}", undef,
	'User-Agent' => "\"quoted\"\\");
$registry->request('GET', '/v2/A%22%00b/manifests/tag');
http("\x16\x03\x01\n\n");

$t->stop();

my @lines = split /\n/, $t->read_file('registry.json');
my @logged = map { eval { decode_json($_) } || {} } @lines;

is(scalar(grep { %$_ } @logged), scalar(@lines), 'log: each line is JSON');
is(join(' ', grep { ref $_ } map { values %$_ } @logged), '', 'log: flat');

my ($put) = grep { $_->{operation} eq 'push_manifest' } @logged;

is($put->{status}, '201', 'log: status');
is($put->{method}, 'PUT', 'log: method');
is($put->{repository}, 'a/b', 'log: repository');
is($put->{reference}, 'tag', 'log: reference');
is($put->{digest}, $image->{digest}, 'log: digest');
is($put->{client}, '127.0.0.1', 'log: client');
like($put->{time}, qr/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d$/,
	'log: time');
cmp_ok($put->{received}, '>', length($image->{content}), 'log: received');

is(join(' ', map { $_->{cache} } grep { $_->{operation} eq 'pull_manifest' }
	@logged), 'MISS HIT', 'log: cache');

my ($get) = grep { $_->{operation} eq 'pull_blob' } @logged;

is($get->{digest}, $blob->{digest}, 'log: digest of a blob');
is($get->{completed}, 'OK', 'log: completed');
cmp_ok($get->{sent}, '>', 6, 'log: sent');

# what reads the log knows no other names

my $fluentd = slurp("$examples/fluentd.conf");
my $promtail = slurp("$examples/promtail.yaml");

my ($expressions) = $promtail =~ /expressions:\n((?: {12}.*\n)+)/;
my ($labels) = $promtail =~ /- labels:\n((?: {10}.*\n)+)/;

is(join(' ', grep { !exists $put->{$_} } $expressions =~ /: (\w+)$/mg), '',
	'promtail: names');
is(join(' ', grep { $expressions !~ /^ +$_:/m } $labels =~ /(\w+):/g), '',
	'promtail: labels');
is(join(' ', grep { !exists $put->{$_} }
	$fluentd =~ /^ +time_key (\w+)$/m, $fluentd =~ /^ +types (\w+):/m), '',
	'fluentd: names');
is(join(' ', map { m!(/var/log/nginx/\S+)! } $fluentd, $promtail,
	slurp("$examples/logging.conf") =~ /(access_log \S+)/),
	join(' ', ('/var/log/nginx/registry.json') x 3), 'same log');

# the status page

example('status.conf');

$registry = Images->new(port(8080));
$image = Images::image([ $blob = Images::blob('counted') ]);

is($registry->push_image('a/b', 'tag', $image, 'patch'), undef,
	'status: push');
is(join("\n", $registry->check('a/b', 'tag', $image->{digest})), '',
	'status: pull');

$r = $registry->request('GET', '/status');
is(decode_json($r->{content})->{namespaces}{''}{requests}{push_manifest}, 1,
	'status: JSON');

$r = $registry->request('GET', '/metrics');
like($r->{content}, qr/^nginx_registry_requests_total
	\{namespace="",operation="push_manifest"\}\ 1$/mx, 'status: Prometheus');

like(http_get($_, LocalAddr => '127.0.0.2'), qr/ 403 /,
	"status: $_ from elsewhere") for qw! /status /metrics !;

$t->stop();

# a branch office

my $hub = Test::Nginx::Origin->new($t, port => 8091);
my $harbor = Test::Nginx::Origin->new($t, port => 8092,
	basic => 'edge:0fTheOffice');
my $proxy = Test::Nginx::Proxy->tinyproxy($t, port => 8093);

$t->write_file('harbor.cred', "edge:0fTheOffice\n");

example('branch-office.conf',
	'https://registry-1.docker.io' => 'http://127.0.0.1:8091',
	'https://harbor.example.com' => 'http://127.0.0.1:8092',
	'http://proxy.example.com:3128' => 'http://127.0.0.1:8093');

$registry = Images->new(port(8080));
my $mirror = Images->new(port(8081));
$image = $hub->image('library/alpine', '3', [ $blob = Images::blob('hub') ]);

is(join("\n", $mirror->check('alpine', '3', $image->{digest})), '',
	'branch: Docker Hub, mirror');
is(join("\n", $registry->check('docker.io/alpine', '3', $image->{digest})),
	'', 'branch: Docker Hub, full name');

$image = Images::image([ $blob = Images::blob('own') ]);
$hub->image('office/app', '2', [ 'not ours' ]);

is($registry->push_image('office/app', '1', $image, 'patch'), undef,
	'branch: push');
is(join("\n", map { $_->check('office/app', '1', $image->{digest}) }
	$registry, $mirror), '', 'branch: our own');
is($mirror->request('GET', '/v2/office/app/manifests/2')->{status}, 404,
	'branch: not somebody else\'s');

my $of_harbor = 'harbor.example.com/team/app';

$image = $harbor->image('team/app', '1', [ 'first' ]);
is($registry->request('GET', "/v2/$of_harbor/manifests/1")->{content},
	$image->{content}, 'branch: the main site');

$image = $harbor->image('team/app', '1', [ 'second' ]);
$r = $registry->request('POST', '/purge/harbor.example.com', encode_json({
	type => 'PUSH_ARTIFACT', event_data => {
		resources => [ { digest => $image->{digest}, tag => '1' } ],
		repository => { repo_full_name => 'team/app' } } }));
is($r->{content},
	'{"purged":{"tags":1,"manifests":0,"blobs":0},"skipped":0}',
	'branch: webhook');
is($registry->request('GET', "/v2/$of_harbor/manifests/1")->{content},
	$image->{content}, 'branch: pushed there');
like(http_get('/purge/', LocalAddr => '127.0.0.2'), qr/ 403 /,
	'branch: not for everybody');

is(scalar(grep { !proxied($_) } $hub->requests()), 0,
	'branch: Docker Hub by the proxy');
is(scalar(grep { proxied($_) } $harbor->requests()), 0,
	'branch: the main site without');

$t->write_file('registry.offline', '');
$_->forget() for $hub, $harbor;
$image = $hub->image('library/alpine', '4', [ 'new' ]);
is($mirror->request('GET', '/v2/alpine/manifests/3')->{status}, 200,
	'branch: offline');
$r = $mirror->request('GET', '/v2/alpine/manifests/4');
is($r->{status} . code($r), '504UNAVAILABLE', 'branch: offline, not here');
is($hub->requests(), 0, 'branch: offline, not asked');

unlink "$d/registry.offline";
is($mirror->request('GET', '/v2/alpine/manifests/4')->{status}, 200,
	'branch: online again');

$t->stop();

# the image, which has a directory for the store already

mkdir "$d/docker-conf";
chown((getpwnam('www-data'))[2, 3], "$d/docker-conf");

example('docker.conf');

$registry = Images->new(port(8080));
$image = Images::image([ Images::blob('image') ]);

is($registry->push_image('a', 'tag', $image, 'patch'), undef, 'image: push');
is(join("\n", $registry->check('a', 'tag', $image->{digest})), '',
	'image: pull');

$t->stop();

like($t->read_file('stdout.log'), qr!PUT /v2/a/manifests/tag!, 'image: log');
like($t->read_file('stderr.log'), qr!\[notice\]!, 'image: error log');

# with other registries behind

$t->write_file('registry.cred', "user:secret\n");

for my $name (qw/ mirror transparent push-through ha-edge harbor-front /) {
	example("$name.conf");
	$t->stop();
}

# all of the directory was here, and is in the list

my @all = map { m!([^/]+)$! } glob("$examples/*.*");
my $readme = slurp('../README.md');

is(join(' ', grep { !$seen{$_} } @all), 'fluentd.conf promtail.yaml',
	'every example');
is(join(' ', grep { $readme !~ m!\(conf/examples/\Q$_\E\)! } @all), '',
	'every example, README.md');

# the documentation, and first what it shows of the clients' files

my @shown = slurp('../docs/clients.md')
	=~ m!\]\(\.\./conf/examples/clients/(\S+?)\).*?^```\w+\n(.*?)^```$!msg;

while (my ($file, $text) = splice(@shown, 0, 2)) {
	$seen{$file} = 1;
	is(slurp("$examples/clients/$file"), $text, "clients.md: $file");
}

is(join(' ', grep { !$seen{$_} } map { s!.*examples/clients/!!r }
	split /\n/, `find $examples/clients -type f`), '',
	'clients.md: every file');

for my $snippet (@snippets) {
	my ($name, $text) = @$snippet;
	my $whole = whole_conf($text);
	my ($listen) = $whole =~ /\blisten +(\d+);/;
	my ($uri) = $whole =~ m!^ *location (/v2/) !m
		? $1 : $whole =~ m!^ *location (/v2/\S*)!m;

	run_conf($name, $whole);
	like(http_get($uri, PeerAddr => '127.0.0.1:' . port($ports{$listen})),
		qr/^Docker-Distribution-Api-Version: /m, "$name: serves");
	$t->stop();
}

# the subroutines below hold on to it, and its own tests come at its end

undef $t;

###############################################################################

# Runs an example with paths and ports of the test's own.

# example(name, what is there => what is to be there ...)

sub example {
	my ($name, %urls) = @_;
	my $conf = slurp("$examples/$name");

	$conf =~ m!^load_module modules/ngx_http_registry_module\.so;$!m
		or die "$name: does not load the module\n";
	$seen{$name} = 1;

	for my $url (keys %urls) {
		$conf =~ s/\Q$url\E/$urls{$url}/g or die "$name: no $url\n";
	}

	run_conf($name, $conf);
}

sub run_conf {
	write_conf(@_);

	# the test of it leaves that there, and empty

	unlink "$d/nginx.pid";
	$t->run();
}

sub write_conf {
	my ($name, $conf) = @_;
	my $store = $name =~ s/\W/-/gr;

	$conf =~ s/^(?:load_module|daemon|pid) .*\n//mg;
	$conf =~ s/^(?=events)/%%TEST_GLOBALS%%\ndaemon off;\n\n/m;
	$conf =~ s/^http \{\n/http {\n    %%TEST_GLOBALS_HTTP%%\n/m;
	$conf =~ s!/var/lib/registry!%%TESTDIR%%/$store!g;
	$conf =~ s!/var/cache/registry!%%TESTDIR%%/$store-cache!g;
	$conf =~ s!/(?:etc|var/log)/nginx!%%TESTDIR%%!g;
	$conf =~ s!/dev/(stdout|stderr)!%%TESTDIR%%/$1.log!g;
	$conf =~ s/127\.0\.0\.1:9000/127.0.0.1:8090/g;
	$conf =~ s/(\blisten +)(\d+)/$1 . '127.0.0.1:'
		. ($ports{$2} || die "$name: listen $2\n")/ge;
	$conf =~ s/^ +\K(500\d)(?= )/port($ports{$1})/gme;

	$t->write_file_expand('nginx.conf', $conf);
	like($t->dump_config(), qr/test is successful/, "$name: loads");
}

# The configurations in Markdown: ["README.md:12", text].

sub snippets {
	my @found;

	for my $file (@_) {
		my $text = slurp($file);
		my ($name) = $file =~ m!([^/]+)$!;

		while ($text =~ /^```nginx\n(.*?)^```$/msg) {
			my ($start, $snippet) = ($-[0], $1);
			my $line = 1 + (substr($text, 0, $start) =~ tr/\n//);

			push @found, [ "$name:$line", $snippet ];
		}
	}

	return @found;
}

# A configuration around what may be a part of one.

sub whole_conf {
	my ($text) = @_;

	return $text if $text =~ /^events/m;

	my ($store) = $text =~ /^registry_store +(\w+)/m;
	my %remotes = map { $_ => 1 } $text
		=~ /\bregistry_(?:proxy|namespace) +([\w:]*\.[\w.:]+);/g;
	my $stores = $store ? ''
		: "registry_store local { path /var/lib/registry; }\n";

	delete @remotes{$text =~ /^registry_remote +(\S+)/mg};
	$stores .= join("\n", 'registry_cache any {',
		'path /var/cache/registry-any; inactive 1d; }',
		map { "registry_remote $_ { url http://127.0.0.1:9; cache any; }" }
			sort keys %remotes) if %remotes;

	$store ||= 'local';

	$text = "location /v2/ { registry $store;\n$text\n}\n"
		if $text !~ /^(?:server|location|log_format|map|resolver
			|registry_(?:cache|memcached|remote|store|zone))\b/mx;

	my ($http, $server) = $text =~ /^(.*?)^(location .*)\z/ms
		? ($1, $2) : ($text, '');

	if ($text !~ /^server \{/m) {
		$server ||= "location /v2/ { registry $store; }";
		$http .= "server {\nlisten 5000;\nserver_name localhost;\n"
			. "$server\n}\n";

	} else {
		$http = $text;
	}

	$stores .= "ssl_certificate /etc/nginx/registry.crt;\n"
		. "ssl_certificate_key /etc/nginx/registry.key;\n"
		if $text =~ /\bssl;/ && $text !~ /ssl_certificate /;

	return "events {\n}\n\nhttp {\n$stores$http\n}\n";
}

###############################################################################

# a certificate for the server, which has another name in some examples, one
# for a client, and one of a stranger

sub certificates {
	for (qw/ ca:registry.example.com:registry:edge clients-ca:client:client
		stranger-ca:stranger:stranger /)
	{
		my ($ca, $owner, @names) = split /:/;
		my $pair = Test::Nginx::CA->new($t, $ca)->certificate($owner);

		for my $name (@names) {
			symlink($pair->{cert}, "$d/$name.crt")
				&& symlink($pair->{key}, "$d/$name.key")
				or die "$name: $!\n";
		}
	}
}

# a request over TLS, with a header and a client's certificate, if any

sub https {
	my ($method, $uri, $header, $certificate) = @_;
	my $port = port(8443);
	my $arguments = $certificate
		? " -cert $d/$certificate.crt -key $d/$certificate.key" : '';

	$header = $header ? "$header\n" : '';
	$header .= "Content-Length: 0\n" if $method eq 'POST';

	$t->write_file('request', "$method $uri HTTP/1.1\n"
		. "Host: registry.example.com\n${header}Connection: close\n\n");

	return scalar `openssl s_client -quiet -connect 127.0.0.1:$port \\
		-servername registry.example.com -CAfile $d/ca.crt \\
		-verify_hostname registry.example.com -verify_return_error \\
		$arguments <$d/request 2>$d/openssl.err`;
}

sub login {
	return 'Authorization: Basic ' . encode_base64(join(':', @_), '');
}

# the code of an error's document, of an answer in either form

sub code {
	my ($answer) = @_;

	my ($type, $body) = ref $answer
		? ($answer->{headers}{'content-type'}, $answer->{content})
		: $answer =~ /^Content-Type: (\S+?)\r\n.*?\r\n\r\n(.*)/ms;

	return 'no JSON' if ($type // '') ne 'application/json';

	return join ' ', map { $_->{code} } @{decode_json($body)->{errors}};
}

# Everybody must log in; team "x" may push to "x/...".

sub auth_daemon {
	my ($port) = @_;

	my $server = IO::Socket::INET->new(LocalAddr => "127.0.0.1:$port",
		Listen => 5, Reuse => 1) or die "Can't listen: $!\n";

	while (my $client = $server->accept()) {
		my ($head, %header) = ('');

		while (<$client>) {
			last if /^\r?\n/;
			$header{lc $1} = $2 if /^([\w-]+): *(.*?)\r?\n/;
		}

		next if !%header;

		my ($operation, $repository, $address)
			= map { $_ // '' } @header{qw/ x-operation x-repository
				x-client /};
		my ($user) = decode_base64(($header{authorization} // '')
			=~ s/^Basic //r) =~ /^(\w+):/;

		open(my $log, '>>', "$d/auth.log") or die;
		print $log "$operation $repository $address\n";
		close $log;

		print $client !defined $user
			? "HTTP/1.0 401 Unauthorized\r\n"
				. "WWW-Authenticate: Basic realm=\"team\"\r\n\r\n"
			: $operation =~ /^push/ && $repository !~ m!^$user/!
			? "HTTP/1.0 403 Forbidden\r\n\r\n"
			: "HTTP/1.0 200 OK\r\n\r\n";
	}
}

sub proxied {
	my ($request) = @_;
	return ($request->{headers}{via} // '') =~ /tinyproxy/;
}

# a blob that is being sent and not read

sub blob_begun {
	my ($blob) = @_;

	my $s = http("GET /v2/a/blobs/$blob->{digest} HTTP/1.0\n"
		. "Host: localhost\n\n", start => 1);
	sysread($s, my $begin, 100);

	return $s;
}

###############################################################################
