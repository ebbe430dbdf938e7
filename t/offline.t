#!/usr/bin/perl

# Remotes that are not asked: what there is of them is served, whatever its
# age, and stays.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use MIME::Base64 qw/ encode_base64 /;

use lib 'lib';
use Images;
use Test::Nginx;
use Test::Nginx::Origin;
use Test::Nginx::Registry;

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

    add_header X-Cache $registry_cache always;

    registry_cache edge { path %%TESTDIR%%/cache;  max_size MAX; }

    registry_remote default { cache edge;  valid 1s;  allow_private on; }

    registry_remote docker.io { url http://127.0.0.1:8081; }
    registry_remote port.example:5000 { url http://127.0.0.1:8081; }
    registry_remote open.example { url http://127.0.0.1:8082;  auth client; }
    registry_remote none.example {}

    registry_remote checked.example {
        url           http://checked;
        health_check  interval=100ms;
    }

    upstream checked {
        zone checked 128k;
        server 127.0.0.1:8083;
    }

    EXTRA

    server {
        listen 127.0.0.1:8080;
        registry_offline $http_x_offline;

        location /v2/ {
            registry_proxy docker.io;
            registry_push proxy;
            registry_catalog on;
        }

        location /v2/port.example:5000/ {
            registry_proxy port.example:5000;
        }

        location /v2/open.example/ {
            registry_proxy open.example;
        }
    }

    server {
        listen 127.0.0.1:8085;
        registry_offline on;

        location /v2/ {
            registry_proxy all;

            location /v2/docker.io/online/ {
                registry_proxy docker.io;
                registry_offline off;
            }
        }
    }
}

EOF

my $t = Test::Nginx->new()->has(qw/http/);
my $dir = $t->testdir();

# "none" can be resolved by nobody, and need not be

configure($t, max => '1g', http => '');

my $hub = Test::Nginx::Origin->new($t, port => 8081);
my $private = Test::Nginx::Origin->new($t, port => 8082,
	basic => 'alice:wonder');
my $checked = Test::Nginx::Origin->new($t, port => 8083);

$t->run()->plan(56);

###############################################################################

my %offline = (headers => { 'X-Offline' => 'on' });

my $image = $hub->image('library/alpine', '3', [ 'layer' x 1000 ]);
my $layer = $image->{layers}[0]{digest};
my $path = '/v2/docker.io/library/alpine';

is(how(GET => "$path/manifests/3"), "200 MISS $image->{content}", 'online');
request(GET => "$path/blobs/$layer");
waitfor(sub { -s data($layer) && -s data($image->{digest}) });

# within the time that it is believed, and after it

pull_until("$path/manifests/3", 'HIT');
is(how(GET => "$path/manifests/3", %offline), "200 HIT $image->{content}",
	'believed');
select undef, undef, undef, 1.1;
$hub->forget();

for my $value ('on', '1', 'yes') {
	is(how(GET => "$path/manifests/3", headers => { 'X-Offline' => $value }),
		"200 STALE $image->{content}", "offline: $value");
}

is(how(GET => "$path/manifests/$image->{digest}", %offline),
	"200 HIT $image->{content}", 'by digest');
is(how(GET => '/v2/alpine/manifests/3?ns=docker.io', %offline),
	"200 STALE $image->{content}", 'ns');
is(request(HEAD => "$path/manifests/3", %offline)->header('Content-Length'),
	length $image->{content}, 'head');
is(how(GET => "$path/blobs/$layer", %offline), '200 HIT '
	. 'layer' x 1000, 'blob');
is(request(GET => "$path/blobs/$layer", headers => { 'X-Offline' => 1,
	Range => 'bytes=1-3' })->body, 'aye', 'range');
is(request(GET => '/v2/docker.io/', %offline)->status, 200, 'base');

# what is not here

my $none = sha256('none');

for my $case ([ GET => "$path/manifests/4" ], [ HEAD => "$path/manifests/4" ],
	[ GET => "$path/manifests/$none" ], [ GET => "$path/blobs/$none" ],
	[ GET => '/v2/docker.io/none/manifests/1' ],
	[ GET => '/v2/docker.io/none/tags/list' ],
	[ GET => '/v2/docker.io/_catalog' ],
	[ GET => "$path/referrers/$image->{digest}" ],
	[ POST => "$path/blobs/uploads/" ],
	[ PUT => "$path/manifests/3" ])
{
	my ($method, $uri) = @$case;
	my $r = request($method => $uri, %offline,
		$method eq 'PUT' ? (body => '{}') : ());

	is(join(' ', grep { defined } $r->status, $r->code),
		$method eq 'HEAD' ? '504' : '504 UNAVAILABLE', "$method $uri");
}

my $r = request(GET => "$path/manifests/4", %offline);
is($r->json->{errors}[0]{message}, 'offline: there is no copy here',
	'message');
is($r->json->{errors}[0]{detail}, 'docker.io', 'detail');

# tags that were pulled

$hub->image('library/alpine', $_, [ $_ ]) for '4', '5';
$hub->image('x/y', $_, [ $_ ]) for 'a', 'b';

for my $uri ("$path/manifests/4", map { "/v2/port.example:5000/x/y/manifests/$_" }
	'a', 'b')
{
	request(GET => $uri);
	my ($file) = $uri =~ /:5000/
		? "port.example_5000/x/y/_manifests/tags/" . substr($uri, -1)
		: 'docker.io/library/alpine/_manifests/tags/4';
	waitfor(sub { -e "$dir/cache/docker/registry/v2/repositories/$file/"
		. 'current/link' });
}

$hub->forget();
is_deeply(request(GET => "$path/tags/list", %offline)->json,
	{ name => 'library/alpine', tags => [ '3', '4' ] }, 'tags');

$r = request(GET => '/v2/port.example:5000/x/y/tags/list?n=1', %offline);
is_deeply($r->json, { name => 'x/y', tags => [ 'a' ] }, 'tags, page');
is($r->header('Link'),
	'</v2/port.example:5000/x/y/tags/list?n=1&last=a>; rel="next"',
	'tags, link');
is_deeply(request(GET => '/v2/port.example:5000/x/y/tags/list?n=1&last=a',
	%offline)->json->{tags}, [ 'b' ], 'tags, next page');
is_deeply(request(GET => "$path/tags/list")->json->{tags}, [ '3', '4', '5' ],
	'tags, online');

is($hub->requests(), 1, 'not asked');

# whom nobody can ask about

my @alice = (Authorization => 'Basic ' . encode_base64('alice:wonder', ''));
my $secret = $private->image('team/app', '1', [ 'secret' ]);
my $team = '/v2/open.example/team/app/manifests';

is(request(GET => "$team/1", headers => { @alice })->body,
	$secret->{content}, 'client, online');
is(request(GET => "$team/1", headers => { @alice, 'X-Offline' => 1 })->body,
	$secret->{content}, 'client, was permitted');
is(request(GET => "$team/1", headers => { 'X-Offline' => 1 })->status, 504,
	'nobody, was not');

# values that say no

for my $value ('', '0', 'off') {
	select undef, undef, undef, 1.1;
	$hub->forget();
	is(how(GET => "$path/manifests/3", headers => { 'X-Offline' => $value }),
		"200 REVALIDATED $image->{content}", "online: '$value'");
	is($hub->requests(), 1, "online: '$value', asked");
}

# memory is empty after a start, and the remote is down

$t->stop();
$hub->stop();
$t->run();

select undef, undef, undef, 1.1;

for my $port (8080, 8085) {
	my %on = $port == 8080 ? %offline : ();
	$on{port} = port($port);

	like(how(GET => "$path/manifests/3", %on),
		qr/^200 STALE \Q$image->{content}\E$/, "$port, started");
	is(how(GET => "$path/manifests/3", %on),
		"200 STALE $image->{content}", "$port, again");
	is(how(GET => "$path/manifests/$image->{digest}", %on),
		"200 HIT $image->{content}", "$port, by digest");
	is(request(GET => '/v2/docker.io/none/manifests/1', %on)->status, 504,
		"$port, none");
}

is(request(GET => '/v2/docker.io/online/x/manifests/1', port => port(8085))
	->status, 502, 'a location online');
is(request(GET => '/v2/none.example/x/manifests/1', port => port(8085))
	->status, 504, 'a remote without an address');

# online again

$hub->start();
my $moved = $hub->image('library/alpine', '3', [ 'moved' ]);

waitfor(sub { request(GET => "$path/manifests/3")->body
	eq $moved->{content} });

# health checks, where the remote may be asked

is($checked->requests(), 0, 'nobody is checked');

# Eviction: not of a cache that nothing is put in, since a part of it would be
# gone for good.  That it would have been is seen when that changes.

my $other = $hub->image('library/alpine', 'other', [ 'x' x 100_000 ]);
request(GET => "$path/blobs/$_->{digest}") for @{$other->{layers}};
waitfor(sub { -s data($other->{layers}[0]{digest}) });

configure($t, max => '10k', http => 'registry_offline on;',
	only => 1);
$t->stop();
$t->run();
select undef, undef, undef, 3;
is(-s data($other->{layers}[0]{digest}), 100_000, 'not evicted');
is(request(GET => "$path/blobs/$other->{layers}[0]{digest}",
	port => port(8085))->status, 200, 'not evicted, pulled');
is($checked->requests(), 0, 'nobody is checked, only offline');

configure($t, max => '10k', http => '');
$t->stop();
$t->run();
waitfor(sub { !-e data($other->{layers}[0]{digest}) });
ok(!-e data($other->{layers}[0]{digest}), 'evicted');

$t->stop();

# refused

for my $value ('yes', '1', '""') {
	configure($t, max => '1g', http => "registry_offline $value;");
	like($t->dump_config(), qr/\[emerg\] "registry_offline" directive must be/,
		"value $value");
}

###############################################################################

# only: without the location that is online, and the variable

sub configure {
	my ($t, %opts) = @_;
	my $text = $conf =~ s/MAX/$opts{max}/r =~ s/EXTRA/$opts{http}/r;

	if ($opts{only}) {
		$text =~ s/registry_offline \$http_x_offline;//;
		$text =~ s/registry_offline off;//;
	}

	$t->write_file_expand('nginx.conf', $text);
}

sub how {
	my $r = request(@_);
	return join(' ', $r->status, $r->header('X-Cache') // '', $r->body);
}

sub pull_until {
	my ($uri, $cache) = @_;
	waitfor(sub { request(GET => $uri)->header('X-Cache') eq $cache });
}

sub data {
	my ($digest) = @_;
	my ($hex) = $digest =~ /:(.*)/;

	return "$dir/cache/docker/registry/v2/blobs/sha256/"
		. substr($hex, 0, 2) . "/$hex/data";
}

sub waitfor {
	my ($condition) = @_;

	for (1 .. 1000) {
		return if $condition->();
		select undef, undef, undef, 0.02;
	}

	die "nothing came\n";
}

###############################################################################
