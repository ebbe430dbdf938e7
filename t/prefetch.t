#!/usr/bin/perl

# What a pulled manifest refers to is fetched before it is asked for: images,
# indexes of several platforms, once and no more than that; when it is not
# done; remotes that fail meanwhile, queues that are full, reloads; and what
# "nginx -t" refuses.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Clients;
use Images;
use Test::Nginx;
use Test::Nginx::Origin;
use Test::Nginx::Registry;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http/)->has_daemon('memcached')
	->todo_alerts();
my $d = $t->testdir();

my $head = <<'EOF';

%%TEST_GLOBALS%%

daemon off;
user root;
worker_processes 4;
worker_shutdown_timeout 10m;

events {
}

EOF

my $conf = $head . <<'EOF';

http {
    %%TEST_GLOBALS_HTTP%%

    error_log %%TESTDIR%%/error.log info;

    registry_zone 64m;

    add_header X-How "$pid $registry_cache" always;

    registry_cache edge  { path %%TESTDIR%%/cache; }
    registry_cache small { path %%TESTDIR%%/small;  max_size 1m; }
    registry_cache full  { path %%TESTDIR%%/full;   min_free 999999g; }

    registry_remote default {
        cache     edge;
        valid     1h;
        prefetch  linux/amd64 linux/arm64/v8;
    }

    registry_remote one   { url http://127.0.0.1:8081; }
    registry_remote every { url http://127.0.0.1:8081;  prefetch all; }
    registry_remote none  { url http://127.0.0.1:8081;  prefetch off; }
    registry_remote small { url http://127.0.0.1:8081;  cache small; }
    registry_remote full  { url http://127.0.0.1:8081;  cache full; }
    registry_remote two   { url http://127.0.0.1:8082;  valid 0; }
    registry_remote login { url http://127.0.0.1:8083;
                            credentials %%TESTDIR%%/login; }
    registry_remote theirs { url http://127.0.0.1:8083;  auth client; }

    server {
        listen       127.0.0.1:8080 reuseport;
        server_name  localhost;

        location /v2/ {
            registry_proxy all;
            registry_push proxy;
        }

        location = /status {
            registry_status;
        }

        location = /metrics {
            registry_status prometheus;
        }
    }

    server {
        listen       127.0.0.1:8084;
        server_name  localhost;

        registry_offline on;

        location /v2/ {
            registry_proxy all;
        }
    }
}

EOF

$t->write_file_expand('nginx.conf', $conf);
$t->write_file('login', "user:secret\n");

my $MB = 1024 * 1024;
my $AUTHORIZATION = { Authorization => 'Basic dXNlcjpzZWNyZXQ=' };

my $one = Test::Nginx::Origin->new($t, port => 8081);
my $two = Test::Nginx::Origin->new($t, port => 8082);
my $login = Test::Nginx::Origin->new($t, port => 8083, basic => 'user:secret');

$t->run()->plan(144);

# by then the cache manager process has said what there is room for

wait_for(sub { !grep { !$_->{indexed} }
	@{status()->{caches}}{qw/ small full /} })
	or die "no cache manager\n";

###############################################################################

# an image: its configuration and its layers

my $image = $one->image('a/image', 'tag', [ layers(3) ]);
my @blobs = blobs($image);

is(request(GET => manifest('one/a/image', 'tag'))->body, $image->{content},
	'image');
ok(stored('one/a/image', @blobs), 'image, its blobs are here');
is(asked($one, @blobs), '1 1 1 1', 'image, each was fetched once');
is($one->requests(qr/manifests/), 1, 'image, one manifest');
is_deeply(counted('one'), { fetched => 4, failed => 0, dropped => 0 },
	'image, counted');
is(how('one/a/image', @blobs), 'HIT HIT HIT HIT', 'image, hits');

# warm: nothing is asked for, whatever became of the blobs

unlink map { blobfile($_) } @blobs;
$one->forget();

request(GET => manifest('one/a/image', $_)) for 'tag', $image->{digest}, 'tag';
barrier('one');
is(asked($one, @blobs), '0 0 0 0', 'warm');

# HEAD is not a pull, and the one that comes after it is

$image = $one->image('a/head', 'tag', [ layers(2) ]);
@blobs = blobs($image);

is(request(HEAD => manifest('one/a/head', 'tag'))->status, 200, 'head');
request(HEAD => manifest('one/a/head', $image->{digest}));
barrier('one');
is(asked($one, @blobs), '0 0 0', 'head, nothing is fetched');

is(request(GET => manifest('one/a/head', $image->{digest}), port => port(8084))
	->status, 200, 'offline');
barrier('one');
is(asked($one, @blobs), '0 0 0', 'offline, nothing is fetched');

like(request(GET => manifest('one/a/head', $image->{digest}))
	->header('X-How'), qr/HIT/, 'head, then get');
ok(stored('one/a/head', @blobs), 'head, then get, its blobs are here');
unlink map { blobfile($_) } @blobs;
request(GET => manifest('one/a/head', $_)) for $image->{digest}, 'tag';
barrier('one');
is(asked($one, @blobs), '1 1 1', 'head, then get, each was fetched once');
is($one->requests(qr/a.head.manifests/), 1, 'head, then get, one manifest');

# a tag that is looked up again each time

$image = $two->image('a/head', 'tag', [ layers(1) ]);
@blobs = blobs($image);

request(HEAD => manifest('two/a/head', 'tag')) for 1 .. 3;
request(GET => manifest('two/a/head', 'tag'));
ok(stored('two/a/head', @blobs), 'revalidated, its blobs are here');

my $moved = $two->image('a/head', 'tag', [ layers(1) ]);
request(GET => manifest('two/a/head', 'tag'));
ok(stored('two/a/head', blobs($moved)), 'a tag that moves');

# off

$image = $one->image('a/off', 'tag', [ layers(1) ]);
@blobs = blobs($image);

is(request(GET => manifest('none/a/off', 'tag'))->status, 200, 'off');
barrier('one');
is(asked($one, @blobs), '0 0', 'off, nothing is fetched');
is_deeply(counted('none'), { fetched => 0, failed => 0, dropped => 0 },
	'off, nothing is counted');

# what is here is not fetched again, not for another repository either

my ($old, $new, $other) = layers(3);
$image = $one->image('a/first', 'tag', [ $old ]);
request(GET => manifest('one/a/first', 'tag'));
stored('one/a/first', blobs($image));
$image = $one->image('a/other', 'tag', [ $other ]);
request(GET => manifest('one/a/other', 'tag'));
stored('one/a/other', blobs($image));

$one->forget();
$image = $one->image('a/first', 'next', [ $old, $new, $other, $new ]);
request(GET => manifest('one/a/first', 'next'));
ok(stored('one/a/first', blobs($image)), 'layers that are here');
is(asked($one, $old, $new, $other), '0 1 0', 'only the new one');
is($one->requests(qr/^HEAD .*$other->{digest}/), 1,
	'of what another repository has, the remote is asked');

# what need not be here

my ($foreign, $windows, $ours) = layers(3);
$foreign->{type} = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip';
$windows->{type}
	= 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip';
$image = $one->image('a/foreign', 'tag', [ $foreign, $windows, $ours ]);
request(GET => manifest('one/a/foreign', 'tag'));
ok(stored('one/a/foreign', $ours), 'foreign layers');
barrier('one');
is(asked($one, $foreign, $windows, $ours), '0 0 1',
	'foreign layers are not fetched');

# what is being fetched is joined, by clients and as well by us

$image = $one->image('a/join', 'tag', [ layers(1, $MB) ]);
my ($layer) = @{$image->{layers}};
$one->rule({ path => qr/$layer->{digest}/, stall => 1000 });

request(GET => manifest('one/a/join', 'tag'));
$one->await(qr/^GET .*$layer->{digest}/);
my @s = map { send_request(GET => blob('one/a/join', $layer)) } 1 .. 4;
wait_for(sub { status()->{active}{requests}{pull_blob} == 4 });
$one->release();
my @r = map { response($_) } @s;

is(scalar(grep { $_->body eq $layer->{content} } @r), 4, 'joined');
is(scalar(grep { $_->header('X-How') =~ /JOIN/ } @r), 4, 'joined, how');
is(asked($one, $layer), '1', 'joined, fetched once');

$one->clear();

# of what others fetch nothing waits for its turn

$image = $one->image('a/joining', 'tag', [ layers(5, $MB), layers(1) ]);
my @large = @{$image->{layers}}[0 .. 4];
$one->rule(map { { path => qr/$_->{digest}/, stall => 1000 } } @large);

my $before = counted('one')->{fetched};
@s = map { send_request(GET => blob('one/a/joining', $_)) } @large;
$one->await(qr/^GET .*a.joining.blobs/, 5);
request(GET => manifest('one/a/joining', 'tag'));
ok(stored('one/a/joining', $image->{blobs}[0], $image->{layers}[5]),
	'joining, the rest');
$one->release();
is(scalar(grep { response($s[$_])->body eq $large[$_]{content} } 0 .. 4), 5,
	'joining, the clients');
is(asked($one, @large), '1 1 1 1 1', 'joining, fetched once');
is(counted('one')->{fetched}, $before + 2,
	'joining, what a client has begun is not ours');

$one->clear();

# what is fetched for another repository, and is here before the remote has
# said that this one may have it

$layer = $one->blob('a/another', layers(1, $MB));
$image = $one->image('a/allowed', 'tag', [ $layer ]);
$one->rule({ path => qr/a.another.blobs/, stall => 1000 },
	{ path => qr/a.allowed.blobs/, method => 'HEAD', delay => 2 });

$before = counted('one')->{fetched};
my $s = send_request(GET => blob('one/a/another', $layer));
$one->await(qr/^GET .*a.another.blobs/);
request(GET => manifest('one/a/allowed', 'tag'));
$one->await(qr/^HEAD .*$layer->{digest}/);
$one->release();
is(response($s)->body, $layer->{content}, 'another repository, the client');
ok(stored('one/a/allowed', blobs($image)), 'another repository, allowed');
is($one->requests(qr/^GET .*$layer->{digest}/), 1,
	'another repository, fetched once');
is(counted('one')->{fetched}, $before + 1, 'another repository, counted');

$one->clear();

# an index: of its platforms those that are wanted, once, whoever pulls

my %of = (
	amd64 => platform('a/index', 'linux', 'amd64'),
	arm64 => platform('a/index', 'linux', 'arm64'),
	s390x => platform('a/index', 'linux', 's390x'),
	windows => platform('a/index', 'windows', 'amd64'),
	attestation => platform('a/index', 'unknown', 'unknown'),
);
my $index = index_of('a/index', 'tag', values %of);
$one->forget();
$before = counted('one')->{fetched};

@s = map { send_request(GET => manifest('one/a/index', 'tag')) } 1 .. 16;
is(scalar(grep { response($_)->body eq $index->{content} } @s), 16, 'index');

ok(stored('one/a/index', map { blobs($_) } @of{qw/ amd64 arm64 /}),
	'index, blobs of two platforms');
ok(kept('one/a/index', @of{qw/ amd64 arm64 /}), 'index, manifests of two');

@s = map { send_request(GET => manifest('one/a/index', $of{amd64}{digest})) }
	1 .. 16;
is(scalar(grep { response($_)->body eq $of{amd64}{content} } @s), 16,
	'index, the image');
barrier('one');

is(asked($one, map { blobs($of{$_}) } qw/ amd64 arm64 /), '1 1 1 1 1 1',
	'index, each blob once');
is(asked($one, map { blobs($of{$_}) } qw/ s390x windows attestation /),
	join(' ', (0) x 9), 'index, nothing of the others');
is(scalar(grep { $one->requests(qr/manifests.$of{$_}{digest}/) } keys %of), 2,
	'index, no other manifests');
is(how('one/a/index', map { blobs($of{$_}) } qw/ amd64 arm64 /),
	'HIT HIT HIT HIT HIT HIT', 'index, hits');
is(counted('one')->{fetched} - $before, 6 + 2 + $one->requests(
	qr/manifests.(?:$of{amd64}{digest}|$of{arm64}{digest})/),
	'index, counted, with the barrier');

# each client that pulls itself what is not wanted otherwise

request(GET => manifest('one/a/index', $of{s390x}{digest}));
ok(stored('one/a/index', blobs($of{s390x})), 'another platform, pulled');

# all of them, but no attestations, and no index in an index

my $inner = index_of('a/all', 'inner', platform('a/all', 'linux', 'ppc64le'));
%of = (map({ $_ => platform('a/all', 'linux', $_) } qw/ amd64 s390x /),
	windows => platform('a/all', 'windows', 'amd64'),
	bare => $one->image('a/all', undef, [ layers(1) ]),
	attestation => platform('a/all', 'unknown', 'unknown'),
	inner => { %$inner, platform => { os => 'linux',
		architecture => 'ppc64le' }, layers => [], blobs => [] });
index_of('a/all', 'tag', values %of);
$one->forget();

request(GET => manifest('every/a/all', 'tag'));
ok(stored('every/a/all', map { blobs($of{$_}) }
	qw/ amd64 s390x windows bare /), 'all platforms');
barrier('one');
is(asked($one, blobs($of{attestation})), '0 0 0', 'all, but no attestations');
is(scalar(grep { $one->requests(qr/manifests.$of{$_}{digest}/) }
	qw/ attestation inner /), 0, 'all, but no other manifests');

# a platform that is not there, or is something else than it seems to be

my $hidden = platform('a/gap', 'linux', 'amd64');
$inner = index_of('a/gap', undef, $hidden);
%of = (amd64 => platform('a/gap', 'linux', 'amd64'),
	arm64 => { %$inner, type => $MANIFEST, platform => { os => 'linux',
		architecture => 'arm64' } });
index_of('a/gap', 'tag', values %of);
$one->remove('a/gap', $of{amd64}{digest});
my %before = %{counted('one')};

request(GET => manifest('one/a/gap', 'tag'));
ok(wait_for(sub { counted('one')->{failed} == $before{failed} + 1 }),
	'a manifest that is not there');
ok(kept('one/a/gap', $inner), 'an index in the place of an image');
barrier('one');
is(asked($one, map { blobs($_) } $of{amd64}, $hidden), '0 0 0 0 0 0',
	'neither leads to more');

# a client that does not stay, or does not read

$image = $one->image('a/gone', 'tag', [ layers(2, $MB) ]);
$one->rule({ path => qr/a.gone.manifests/, hold => 1, times => 1 });
$s = send_request(GET => manifest('one/a/gone', 'tag'));
$one->await(qr/a.gone.manifests/);
my $second = send_request(GET => manifest('one/a/gone', 'tag'));
close $s;
$one->release();
is(response($second)->body, $image->{content}, 'a client that stays');
close $second;
ok(stored('one/a/gone', blobs($image)), 'fetched for nobody');

# pushes are none

$image = Images::image([ layers(1) ]);
is(Images->new(port(8080))->push_image('one/a/pushed', 'tag', $image), undef,
	'push');
barrier('one');
is(asked($one, blobs($image)), '0 0', 'push, nothing is fetched');

# with our own credentials, and never with a client's

$image = $login->image('a/login', 'tag', [ layers(2) ]);
is(request(GET => manifest('login/a/login', 'tag'))->status, 200,
	'credentials');
ok(stored('login/a/login', blobs($image)), 'credentials, its blobs are here');

$image = $login->image('a/theirs', 'tag', [ layers(2) ]);
is(request(GET => manifest('theirs/a/theirs', 'tag'),
	headers => $AUTHORIZATION)->status, 200, 'auth client');
barrier('one');
is(asked($login, blobs($image)), '0 0 0', 'auth client, nothing is fetched');

# no room: for the one that is larger than all of it, or for anything

my ($huge, $little) = (layers(1, 2 * $MB), layers(1));
$image = $one->image('a/small', 'tag', [ $huge, $little ]);
request(GET => manifest('small/a/small', 'tag'));
ok(stored('small/a/small', $little), 'max_size, what fits');
is(asked($one, $huge), '0', 'max_size, what does not');
is(counted('small')->{dropped}, 1, 'max_size, counted');

$image = $one->image('a/full', 'tag', [ layers(2) ]);
request(GET => manifest('full/a/full', 'tag'));
ok(wait_for(sub { counted('full')->{dropped} == 3 }), 'min_free, counted');
is(asked($one, blobs($image)), '0 0 0', 'min_free, nothing is fetched');

# the queue, and how many are fetched at a time; a large manifest

my @many = layers(300, 10);
$image = $one->image('a/many', 'tag', \@many);
cmp_ok(length $image->{content}, '>', 32 * 1024, 'a large manifest');
$one->forget()->rule({ path => qr/a.many.blobs/, hold => 1 });
%before = %{counted('one')};

request(GET => manifest('one/a/many', 'tag'));
$one->await(qr/^GET .*a.many.blobs/, 4);
ok(wait_for(sub { counted('one')->{dropped} == $before{dropped} + 301 - 256 }),
	'the queue is full');
request(GET => blob('one/a/foreign', $ours)) for 1 .. 8;
is($one->requests(qr/a.many.blobs/), 4, 'four at a time');

# meanwhile, what clients want is not held up by them

is($_, "200 $many[-1]{content}", 'a client meanwhile') for pull_held($one,
	'one/a/many', $many[-1]);

$one->clear();
$one->release();
ok(stored('one/a/many', (blobs($image))[0 .. 255]), 'the queue is fetched');
is_deeply([ grep { $_ > 1 } split / /, asked($one, blobs($image)) ], [],
	'none twice');
is(asked($one, (blobs($image))[256 .. 299]), join(' ', (0) x 44),
	'not what was dropped');

# the remote fails: nobody notices, and it goes on when it is asked again

$image = $one->image('a/broken', 'tag', [ layers(2, $MB) ]);
$one->rule({ path => qr/a.broken.blobs/, close => 1000, times => 1 });
request(GET => manifest('one/a/broken', 'tag'));
ok(stored('one/a/broken', blobs($image)), 'broken off, and gone on');

$one->clear();

$image = $one->image('a/refused', 'tag', [ layers(2) ]);
($layer) = @{$image->{layers}};
$one->rule({ path => qr/$layer->{digest}/, status => 404 });
%before = %{counted('one')};
request(GET => manifest('one/a/refused', 'tag'));
ok(wait_for(sub { counted('one')->{failed} == $before{failed} + 1 }),
	'a blob that is refused');
ok(stored('one/a/refused', grep { $_->{digest} ne $layer->{digest} }
	blobs($image)), 'and the others');
$one->clear();
is(request(GET => blob('one/a/refused', $layer))->body, $layer->{content},
	'pulled all the same');

my @lost = layers(12, 100_000);
$image = $two->image('a/down', 'tag', \@lost);
$two->rule({ path => qr/a.down.blobs/, stall => 50_000 });
%before = %{counted('two')};
request(GET => manifest('two/a/down', 'tag'));
$two->await(qr/a.down.blobs/, 4);
$two->kill();
ok(wait_for(sub {
	my $now = counted('two');
	return $now->{failed} + $now->{dropped} - $before{failed}
		- $before{dropped} >= 12;
}), 'down meanwhile');
cmp_ok(counted('two')->{dropped}, '>', $before{dropped},
	'down, nothing more is tried');
is(request(GET => manifest('two/a/down', 'tag'))->body, $image->{content},
	'down, the manifest is served');
$two->start();
ok(wait_for(sub { request(GET => blob('two/a/down', $lost[0]))->body
	eq $lost[0]{content} }), 'up again');

# a remote that wants to be left alone

$image = $two->image('a/limited', 'tag', [ layers(2) ]);
$two->rule({ path => qr/a.none.manifests/, status => 429,
	headers => { 'Retry-After' => 1000 } });
is(request(GET => manifest('two/a/none', 'tag'))->status, 429, 'limited');
%before = %{counted('two')};
is(request(GET => manifest('two/a/limited', 'tag'))->status, 200,
	'limited, a client');
ok(wait_for(sub { counted('two')->{dropped} == $before{dropped} + 3 }),
	'limited, counted');
is(asked($two, blobs($image)), '0 0 0', 'limited, nothing is fetched');

# a reload: what is being fetched is, and nothing else; the old worker goes

$one->clear();
@many = layers(20, 1000);
$image = $one->image('a/reload', 'tag', \@many);
$one->forget()->rule({ path => qr/a.reload.blobs/, hold => 1 });

request(GET => manifest('one/a/reload', 'tag'));
$one->await(qr/a.reload.blobs/, 4);

my @old = reload();
my @alive = grep { kill 0, $_ } @old;
ok(@alive > 0, 'reload, an old worker is there');
%before = %{counted('one')};
is(request(GET => '/status')->status, 200, 'reload, the new ones answer');

$one->release();
ok(wait_for(sub { !grep { kill 0, $_ } @old }), 'reload, the old one goes');
is($one->requests(qr/a.reload.blobs/), 4, 'reload, nothing more is begun');
is(counted('one')->{dropped} - $before{dropped}, 21 - 4, 'reload, counted');
ok(stored('one/a/reload', (blobs($image))[0 .. 3]),
	'reload, the four are here');
ok(!temporary(), 'reload, nothing is left');

$one->clear();

is(join(' ', grep { request(GET => blob('one/a/reload', $_))->body
	ne $_->{content} } @many), '', 'reload, all of it is pulled');

# an old worker that is not given the time leaves it to who wants it

$t->write_file('nginx.conf', $t->read_file('nginx.conf')
	=~ s/(worker_shutdown_timeout) [^;]*/$1 500ms/r);
reload();

$image = $one->image('a/short', 'tag', [ layers(1, $MB) ]);
($layer) = @{$image->{layers}};
$one->rule({ path => qr/$layer->{digest}/, stall => 1000, times => 1 });
request(GET => manifest('one/a/short', 'tag'));
$one->await(qr/^GET .*$layer->{digest}/);
@old = reload();
ok(wait_for(sub { !grep { kill 0, $_ } @old }), 'a short reload');
is(asked($one, $layer), '1', 'a short reload, not asked for again');
is(request(GET => blob('one/a/short', $layer))->body, $layer->{content},
	'a short reload, pulled');
$one->clear();

# numbers for Prometheus

my $counted = counted('one');
my $metrics = request(GET => '/metrics')->body;
like($metrics, qr/^nginx_registry_prefetches_total\{namespace="one",
	result="$_"\}\ $counted->{$_}$/xm, "prometheus, $_")
	for qw/ fetched failed dropped /;

$t->stop();

###############################################################################

# a manifest that another node has found out; few flights

$t->write_file_expand('nginx.conf', $head . <<'EOF');
http {
    %%TEST_GLOBALS_HTTP%%

    registry_zone 256k;
    registry_memcached 127.0.0.1:8090 timeout=5s;

    registry_cache left  { path %%TESTDIR%%/left;  max_size 1g; }
    registry_remote one { url http://127.0.0.1:8081;  cache left;
                          prefetch linux/amd64; }

    server {
        listen       127.0.0.1:8080;
        location /v2/ { registry_proxy all; }
        location = /status { registry_status; }
        add_header X-How "$registry_cache" always;
    }
}
EOF

$t->run_daemon('memcached', '-u', 'nobody', '-l', '127.0.0.1',
	'-p', port(8090), '-t', 1);
$t->waitforsocket('127.0.0.1:' . port(8090)) or die "no memcached\n";

$image = $one->image('a/shared', 'tag', [ layers(2) ]);
@blobs = blobs($image);

$t->run();
is(request(GET => manifest('one/a/shared', $image->{digest}))->body,
	$image->{content}, 'first node');
ok(stored('one/a/shared', @blobs), 'first node, its blobs');
$t->stop();

system('rm', '-rf', "$d/left");
$one->forget();

$t->run();
like(request(GET => manifest('one/a/shared', $image->{digest}))
	->header('X-How'), qr/HIT/, 'second node');
ok(stored('one/a/shared', @blobs), 'second node, its blobs');
is($one->requests(qr/manifests/), 0, 'second node, the manifest was there');
is(asked($one, @blobs), '1 1 1', 'second node, each was fetched once');

# half of the flights are the clients'

is(status()->{flights}{limit}, 16, 'few flights');
@many = map { $one->blob('a/busy', $_) } layers(8);
$image = $one->image('a/few', 'tag', [ layers(2) ]);
$one->rule({ path => qr/a.busy.blobs/, hold => 1 });
@s = map { send_request(GET => blob('one/a/busy', $_)) } @many;
$one->await(qr/a.busy.blobs/, 8);
is(request(GET => manifest('one/a/few', 'tag'))->status, 200,
	'few flights, the manifest');
ok(wait_for(sub { counted('one')->{dropped} == 3 }), 'few flights, counted');
is(asked($one, blobs($image)), '0 0 0', 'few flights, nothing is fetched');
$one->release();
is(scalar(grep { response($_)->header('X-How') eq 'MISS' } @s), 8,
	'few flights, the clients');

$t->stop();

###############################################################################

# what is refused

refused('prefetch', qr/invalid number of arguments in "prefetch"/);
refused('prefetch all off', qr/"all" and "off" stand alone/);
refused('prefetch off linux/amd64', qr/"all" and "off" stand alone/);
refused('prefetch linux/amd64 all', qr/invalid platform "all"/);
refused("prefetch $_", qr/invalid platform "\Q$_\E" in "prefetch"/)
	for qw! on linux linux/ /amd64 linux/amd64/ linux/arm64/v8/x Linux/amd64
		linux/x86_64 linux/* unknown/unknown !;
refused("prefetch all; prefetch off", qr/"prefetch" .*is duplicate/);
refused("auth client; prefetch all",
	qr/"prefetch" cannot go with "auth client".* in registry_remote "u"/);
refused("prefetch all", undef);
refused("auth client", undef, 'prefetch all;');
refused("auth client; prefetch off", undef, 'prefetch linux/amd64;');

# the subs below know it too

undef $t;

###############################################################################

# new ones, of random bytes

sub layers {
	my ($n, $size) = @_;

	$size //= 1000;

	return map { Images::blob(substr(join('', map { pack 'N',
		rand 2 ** 32 } 1 .. ($size < 4000 ? $size / 4 + 1 : 1000))
		x ($size / 4000 + 1), 0, $size)) } 1 .. $n;
}

# an image for a platform, without a tag

sub platform {
	my ($name, $os, $architecture) = @_;

	my $image = $one->image($name, undef, [ layers(2) ]);

	return { %$image, platform => { os => $os,
		architecture => $architecture } };
}

sub index_of {
	my ($name, $tag, @images) = @_;

	my $content = to_json({ schemaVersion => 2, mediaType => $INDEX,
		manifests => [ map { { mediaType => $_->{type},
			digest => $_->{digest}, size => length $_->{content},
			$_->{platform} ? (platform => $_->{platform}) : () } }
			@images ] });

	return $one->manifest($name, $tag, { content => $content,
		type => $INDEX, digest => sha256($content) });
}

# what an image refers to; its configuration first

sub blobs {
	my ($image) = @_;

	my %seen;

	return grep { !$seen{$_->{digest}}++ } @{$image->{blobs}};
}

sub manifest {
	my ($name, $reference) = @_;
	return "/v2/$name/manifests/$reference";
}

sub blob {
	my ($name, $blob) = @_;
	return "/v2/$name/blobs/$blob->{digest}";
}

# how often an origin was asked for each blob

sub asked {
	my ($origin, @blobs) = @_;
	my %count;

	for ($origin->requests(qr/^GET .*blobs/)) {
		$count{$1}++ if $_->{path} =~ m!blobs/(.*)!;
	}

	return join(' ', map { $count{$_->{digest}} // 0 } @blobs);
}

sub how {
	my ($name, @blobs) = @_;

	return join(' ', map { request(GET => blob($name, $_))
		->header('X-How') =~ /(\w+)$/ } @blobs);
}

# A blob of an origin that holds all its answers but this one's, as a client
# gets it: its status and bytes

sub pull_held {
	my ($origin, $name, $blob) = @_;

	my $s = send_request(GET => blob($name, $blob));
	$origin->await(qr/^GET .*$blob->{digest}/);
	$origin->release();
	my $r = response($s);

	return join(' ', $r->status, $r->body);
}

# what was begun before it has ended, if there was anything

sub barrier {
	my ($remote) = @_;

	my $image = $one->image('barrier', 'tag' . rand(), [ layers(1) ]);

	request(GET => manifest("$remote/barrier", $image->{digest}));
	stored("$remote/barrier", blobs($image)) or die "a barrier does not fall\n";
}

sub status {
	return request(GET => '/status')->json;
}

sub counted {
	my ($remote) = @_;
	return status()->{namespaces}{$remote}{prefetches};
}

sub caches {
	return grep { -d } map { "$d/$_" } qw/ cache small full left /;
}

sub blobfile {
	my ($blob) = @_;
	my ($alg, $hex) = split(/:/, $blob->{digest});
	my $path = "docker/registry/v2/blobs/$alg/" . substr($hex, 0, 2)
		. "/$hex/data";

	return grep { -f } map { "$_/$path" } caches();
}

sub has {
	my ($name, $dir, $digest) = @_;
	my ($alg, $hex) = split(/:/, $digest);

	return grep { -f "$_/docker/registry/v2/repositories/$name/$dir/$alg/"
		. "$hex/link" } caches();
}

# in their places, linked, with nothing left to do

sub stored {
	my ($name, @blobs) = @_;

	return wait_for(sub { !grep { !blobfile($_)
		|| !has($name, '_layers', $_->{digest}) } @blobs });
}

sub kept {
	my ($name, @manifests) = @_;

	return wait_for(sub { !grep { !has($name, '_manifests/revisions',
		$_->{digest}) } @manifests });
}

sub temporary {
	return grep { !/\.\.?$/ } map {
		glob "$_/docker/registry/v2/repositories/_tmp/{.*,*}" } caches();
}

# all that answer, so far as one can see

sub workers {
	my %pids = map { (request(GET => '/v2/none')->header('X-How')
		=~ /^(\d+)/)[0] => 1 } 1 .. 60;

	return keys %pids;
}

# returns the old workers, when no new request comes to them

sub reload {
	my @old = workers();

	$t->reload();

	wait_for(sub {
		my %now = map { $_ => 1 } workers();
		return !grep { $now{$_} } @old;
	}) or die "no new workers\n";

	return @old;
}

# parameters of a remote; with file and line; undef: they are right

sub refused {
	my ($parameters, $re, $default) = @_;

	$default //= '';

	$t->write_file_expand('nginx.conf', $head . <<"EOF");
http {
    %%TEST_GLOBALS_HTTP%%
    registry_cache edge { path %%TESTDIR%%/cache; max_size 1g; }
    registry_remote default { $default }
    registry_remote u { url http://127.0.0.1:8081; cache edge;
        $parameters;
    }
    server {
        listen       127.0.0.1:8080;
        location /v2/ { registry_proxy all; }
    }
}
EOF

	my $out = $t->dump_config();
	my ($said) = $out =~ /^nginx: \[emerg\] (.*)/m;

	if (!defined $re) {
		is($said, undef, "permitted: $parameters");
		return;
	}

	like($said // '', $re, "refused: $parameters");
	like($said // '', qr/nginx\.conf:\d+$/, "refused: $parameters, where");
}

###############################################################################
