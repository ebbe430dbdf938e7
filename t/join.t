#!/usr/bin/perl

# A manifest that many want at once, in all workers, is asked for once: cold,
# moved, refused, when the remote fails, and when the worker that asks is
# killed.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Origin;
use Test::Nginx::Registry;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http/)->todo_alerts()
	->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;
user root;
worker_processes 4;
worker_shutdown_timeout 500ms;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    add_header X-Pid $pid always;
    add_header X-How $registry_cache always;

    registry_cache edge { path %%TESTDIR%%/cache;  max_size 1g; }

    registry_remote default { cache edge;  valid 1s; }
    registry_remote one { url http://127.0.0.1:8081; }
    registry_remote two { url http://127.0.0.1:8081; }
    registry_remote three { url http://127.0.0.1:8081; }

    server {
        listen       127.0.0.1:8080 reuseport;
        server_name  localhost;

        location /v2/ {
            registry_proxy all;
        }
    }
}

EOC

my $CLIENTS = 24;

my $origin = Test::Nginx::Origin->new($t, port => 8081);

$t->run()->plan(26);

###############################################################################

# cold, by tag and by digest

my $image = $origin->image('app', 'latest', [ 'layer' ]);
my $path = '/v2/one/app/manifests/latest';

$origin->rule({ path => qr/manifests/, hold => 1 });

my @all = together($path);

is(scalar(grep { $_->status == 200 } @all), $CLIENTS, 'cold, all');
is(scalar(grep { $_->body eq $image->{content} } @all), $CLIENTS,
	'cold, bytes');
cmp_ok(scalar(keys %{{ map { $_->header('X-Pid') => 1 } @all }}), '>', 1,
	'cold, workers');
is($origin->requests(qr/manifests/), 1, 'cold, asked once');
is(scalar(grep { $_->header('X-How') eq 'MISS' } @all), 1, 'cold, a miss');
is(scalar(grep { $_->header('X-How') eq 'JOIN' } @all), $CLIENTS - 1,
	'cold, the others join');

$image = $origin->image('app', undef, [ 'another' ]);
@all = together("/v2/one/app/manifests/$image->{digest}");

is(scalar(grep { $_->body eq $image->{content} } @all), $CLIENTS,
	'by digest, bytes');
is($origin->requests(qr/manifests/), 1, 'by digest, asked once');

# the tag has not moved; it has

sleep(2);
@all = together($path);

is(scalar(grep { $_->status == 200 } @all), $CLIENTS, 'true, all');
is($origin->requests(qr/manifests/), 1, 'true, asked once');
is($origin->requests(qr/^HEAD/), 1, 'true, by HEAD');

$image = $origin->image('app', 'latest', [ 'moved' ]);
sleep(2);
@all = together($path, 2);

is(scalar(grep { $_->body eq $image->{content} } @all), $CLIENTS,
	'moved, bytes');
is($origin->requests(qr/^HEAD/), 1, 'moved, asked once');
is($origin->requests(qr/^GET/), 1, 'moved, got once');

# what is refused is refused for all, and what fails too

@all = together('/v2/one/app/manifests/none');

is(scalar(grep { $_->status == 404 } @all), $CLIENTS, 'absent, all');
is($origin->requests(qr/manifests/), 1, 'absent, asked once');

$origin->clear();
$origin->rule({ path => qr/manifests/, hold => 1, status => 429,
	headers => { 'Retry-After' => 7 } });
@all = together('/v2/two/app/manifests/busy');

is(scalar(grep { $_->status == 429 } @all), $CLIENTS, '429, all');
is(scalar(grep { ($_->header('Retry-After') // '') eq '7' } @all), $CLIENTS,
	'429, when to come again');
is($origin->requests(qr/manifests/), 1, '429, asked once');

$origin->clear();
$origin->rule({ path => qr/manifests/, hold => 1, status => 500 });
sleep(2);
@all = together($path);

is(scalar(grep { $_->status == 200 && $_->header('X-How') eq 'STALE' } @all),
	$CLIENTS, 'stale, all');
is($origin->requests(qr/manifests/), 1, 'stale, asked once');

# the worker that asks is killed: another one asks

$origin->clear();
$origin->rule({ path => qr/manifests/, hold => 1 });
$image = $origin->image('other', 'latest', [ 'layer' ]);
$path = '/v2/three/other/manifests/latest';
$origin->forget();

my @waiting = map { send_request(GET => $path) } 1 .. $CLIENTS;
my ($asked) = $origin->await(qr/manifests/, 1);
my $leader = owner($asked->{peer});

ok($leader, 'kill, who asks');
kill 'KILL', $leader;
$origin->await(qr/manifests/, 2);
$origin->release();

@all = map { response($_) } @waiting;
my @left = grep { $_->status } @all;

cmp_ok(scalar(@left), '>', 0, 'kill, others are left');
is(scalar(grep { $_->body eq $image->{content} } @left), scalar(@left),
	'kill, bytes');
is($origin->requests(qr/manifests/), 2, 'kill, asked once more');

# the one that asks is an old one, and has no time: others ask

$origin->clear();
$origin->rule({ path => qr/manifests/, hold => 1, times => 1 });
$image = $origin->image('drained', 'latest', [ 'layer' ]);
$path = '/v2/three/drained/manifests/latest';
$origin->forget();

my $first = send_request(GET => $path);
$origin->await(qr/manifests/, 1);
$t->reload();

for (1 .. 200) {
	my $left = () = $t->read_file('error.log') =~ /gracefully shutting down/g;
	last if $left == 4;
	select(undef, undef, undef, 0.05);
}

@all = map { response($_) } map { send_request(GET => $path) } 1 .. $CLIENTS;
is(scalar(grep { $_->body eq $image->{content} } @all), $CLIENTS,
	'reload, bytes');

###############################################################################

# so many requests for it, while the remote keeps its answer, to so many

sub together {
	my ($path, $asked) = @_;

	$origin->forget();

	my @waiting = map { send_request(GET => $path) } 1 .. $CLIENTS;

	for my $n (1 .. $asked // 1) {
		$origin->await(qr/manifests/, $n);

		# those who would ask too have time for it

		select(undef, undef, undef, $ENV{TEST_NGINX_VALGRIND} ? 3 : 0.3);
		$origin->release();
	}

	return map { response($_) } @waiting;
}

# the process whose connection it is

sub owner {
	my ($port) = $_[0] =~ /:(\d+)$/ or die "peer: $_[0]\n";

	return `ss -tnpH 'sport = :$port'` =~ /pid=(\d+)/ ? $1 : 0;
}

###############################################################################
