#!/usr/bin/perl

# A directory that docker-registry has filled as a proxy becomes a cache: what
# it had is not fetched again, unless it is damaged.  A real docker-registry
# filled it, from another one.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use File::Find qw/ find /;
use File::Path qw/ make_path /;
use Time::HiRes qw/ sleep /;

use lib 'lib';
use Images;
use Test::Nginx;
use Test::Nginx::DockerRegistry;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http proxy/)->has_daemon('docker-registry')
	->todo_alerts();
my $dir = $t->testdir();
my @user = $> == 0 ? (getpwnam('nobody'))[2, 3] : ();

# workers may not be root: what they cannot write to is a part of it

chmod 0755, $dir;

my $conf = <<'EOC';

%%TEST_GLOBALS%%

daemon off;
MAIN

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format asked '$request_method $uri';
    add_header X-Cache $registry_cache always;

    registry_cache edge {
        path   %%TESTDIR%%/old;
        adopt  hub.example;
        LIMIT
    }

    CACHES

    registry_remote default { cache edge;  valid 1h;  allow_private on; }

    registry_remote docker.io { url http://127.0.0.1:8082;  alias hub.example; }
    registry_remote other.example:5000 { url http://127.0.0.1:8082; }

    server {
        listen       127.0.0.1:8080;
        registry_namespace docker.io;

        location /v2/ {
            registry_proxy docker.io;
        }

        LOCATION

        location = /status {
            registry_status;
        }

        location /purge/ {
            registry_purge;
        }
    }

    # in front of the origin, to count

    server {
        listen       127.0.0.1:8082;
        access_log   %%TESTDIR%%/asked.log asked;

        location / {
            proxy_pass http://127.0.0.1:8081;
            proxy_set_header Host $http_host;
        }
    }
}

EOC

my $origin = Test::Nginx::DockerRegistry->new($t, port => 8081);
my $old = Test::Nginx::DockerRegistry->new($t, port => 8083,
	root => "$dir/old", proxy => { remoteurl => $origin->url() });

my $hub = Images->new($origin->port());
my $theirs = Images->new($old->port());
my $ours = Images->new(port(8080));

$t->plan(78);

###############################################################################

# images that share a layer; of one with two platforms only one is pulled

my @layers = map { Images::blob("layer $_ " x (1000 * $_)) } 0 .. 9;
my ($amd64, $arm64) = map { Images::image($_) } [ @layers[0, 1] ],
	[ @layers[0, 2] ];
my $index = Images::image_index($amd64, $arm64);

push_image('library/multi', undef, $_) for $amd64, $arm64;
$hub->push_manifest('library/multi', 'latest', $index) and die;

my %image = (
	'library/single' => Images::image([ @layers[0, 3] ]),
	'a/b/c' => Images::image([ @layers[0, 4] ]),
	'library/spoilt' => Images::image([ @layers[5 .. 7] ]),
	'library/torn' => Images::image([ $layers[8] ]),
);

for my $name (sort keys %image) {
	push_image($name, '1', $image{$name});
	is(join("\n", $theirs->check($name, '1')), '', "$name pulled there");
}

manifest($theirs, 'library/multi', 'latest');
is(join("\n", $theirs->check('library/multi', $amd64->{digest})), '',
	'one platform pulled there');

leave_off();

# of a crash: a byte, an end, a manifest, an upload; and what has no link

my $v2 = "$dir/old/docker/registry/v2";

spoil(data($layers[5]));
truncate(data($layers[6]), 5) or die;
truncate(data($image{'library/torn'}), 100) or die;
spew("$v2/repositories/library/single/_uploads/x/data", 'x' x 1000);
my $unlinked = Images::blob('unlinked');
spew(data($unlinked), 'unlinked');

# when it was used

my $used = time() - 7200;
utime($used, $used - 3600, data($layers[4])) or die;

give();

configure('');
$t->run();

###############################################################################

like(adopted(1), qr/^\d+ blobs in \d+ bytes with \d+ links .* damaged: 3$/,
	'adopted');
ok(within(sub { !-e "$dir/old/_adopt" }), 'nothing is left of it');
ok(!-e "$dir/old/scheduler-state.json", 'nor what marked it');
ok(within(sub { !glob("$v2/repositories/_tmp/.??*") }), 'nor what was in it');
ok(!-e data($unlinked), 'nor what had no link');
is_deeply([ sort map { s!.*/!!r } glob("$v2/repositories/*") ],
	[ '_tmp', 'docker.io' ], 'repositories have a namespace');
is((stat data($layers[4]))[8], $used, 'last use');
is((stat data($layers[4]))[9], $used - 3600, 'time of coming');

my $damaged = join '|', map { $_->{digest} } @layers[5, 6],
	$image{'library/torn'};
is(() = $t->read_file('error.log') =~ /not adopt (?:$damaged): its bytes have/g,
	3, 'damaged: logged');

# tags are asked for, and nothing else

is(join("\n", $ours->check($_, '1', $image{$_}{digest})), '', "$_ is warm")
	for qw! library/single a/b/c !;
is(join("\n", $ours->check('library/multi', $amd64->{digest})), '',
	'a platform is warm');
is(manifest($ours, 'library/multi', 'latest'), "200 $index->{digest}",
	'index is warm');
is_deeply([ asked() ], [ sort map { "HEAD /v2/$_" } 'a/b/c/manifests/1',
	'library/multi/manifests/latest', 'library/single/manifests/1' ],
	'only asked whether tags have moved');

# what was not there, or was damaged, and nothing else

is(join("\n", $ours->check('library/spoilt', '1')), '', 'spoilt is whole');
is_deeply([ asked() ], [ sort 'HEAD /v2/library/spoilt/manifests/1',
	map { "GET /v2/library/spoilt/blobs/$_->{digest}" } @layers[5, 6] ],
	'spoilt is fetched');

is(join("\n", $ours->check('library/torn', '1')), '', 'torn is whole');
is_deeply([ grep { /GET/ } asked() ], [ 'GET /v2/library/torn/manifests/1' ],
	'torn is fetched');

is(join("\n", $ours->check('library/multi', 'latest')), '',
	'another platform is whole');
is_deeply([ sort map { s!.*/!!r } grep { /GET/ } asked() ], [ sort
	map { $_->{digest} } $arm64, $arm64->{blobs}[0], $layers[2] ],
	'another platform is fetched');

ok(within(sub {
	my $size = 0;
	find(sub { $size += (int((-s $_) / 4096 + 0.9999) + 1) * 4096
		if $_ eq 'data' }, "$v2/blobs");
	return size() == $size;
}), 'all of it is counted');

# a restart has nothing to adopt, and with the origin away it is there

$t->stop();
configure('');
$t->run();
$origin->stop();

is(join("\n", $ours->check($_, '1', $image{$_}{digest})), '', "$_, no origin")
	for sort keys %image;
is(join("\n", $ours->check('library/multi', 'latest')), '',
	'index with all, no origin');
is(times_adopted(), 1, 'adopted once');
$origin->start();

###############################################################################

# docker-registry takes the directory back for a while; what was ours is not
# lost, and what it fetches is adopted

$t->stop();
$old->start();

my $new = Images::image([ $layers[9] ]);
push_image('library/new', '1', $new);
is(join("\n", $theirs->check('library/new', '1')), '', 'pulled there again');
leave_off();

# something that takes long, and another one that is stopped by a signal

my $huge = Images::blob('huge');
spew("$v2/repositories/library/huge/_layers/"
	. $huge->{digest} =~ tr!:!/!r . '/link', $huge->{digest});
spew(data($huge));
truncate(data($huge), 2 ** 40) or die;

# and what is going to be purged, before and after that in any order

my %purged = map { my $name = $_; map { ("library/$name$_",
	Images::image([ Images::blob("$name $_") ])) } 1 .. 8 }
	qw! all tag digest below/x !;
lay($_, $purged{$_}) for sort keys %purged;

give();

$t->run();

my $aside = "$dir/old/_adopt/registry/v2";
my $file = data($huge) =~ s/\Q$v2/$aside/r;

my $manager = busy_with($file);
ok($manager, 'adoption under way');

# meanwhile it serves

is(join("\n", $ours->check($_, '1')), '', "$_ meanwhile")
	for 'library/new', 'library/single';
ok(!-e data($huge), 'not before it was hashed');

# what is purged meanwhile does not come from there afterwards

is(join(' ', map { join('-', purge("library/all$_")) } 1 .. 8),
	join(' ', ('1-1-2') x 8), 'repositories purged meanwhile');
is(join(' ', map { join('-', purge("library/tag$_:1")) } 1 .. 8),
	join(' ', ('1-0-0') x 8), 'tags purged meanwhile');
is(join(' ', map { join('-', purge("library/digest$_\@"
	. $purged{"library/digest$_"}{digest})) } 1 .. 8),
	join(' ', ('1-1-0') x 8), 'manifests purged meanwhile');
is(join('-', purge('library/below/')), '8-8-16', 'all below purged meanwhile');

# which a reload does not stop

$t->reload();
$manager = busy_with($file, $manager);
ok($manager, 'reload, adoption goes on');
unlike($t->read_file('error.log'), qr/nothing is adopted/, 'reload, it is known');

kill 'KILL', $manager;
my $next = busy_with($file, $manager);
ok($next, 'manager killed, adoption goes on');

truncate($file, 0);

like(adopted(2), qr/damaged: 1$/, 'manager killed, adopted');
ok(!-e "$dir/old/_adopt", 'manager killed, nothing is left of it');
ok(!-e data($huge), 'manager killed, damaged');

my $hub_dir = "$v2/repositories/docker.io/library";

is_deeply([ map { my $name = $_; map { glob("$hub_dir/$name$_/_*") } 1 .. 8 }
	qw! all below/x ! ], [], 'repositories purged, none');
is_deeply([ grep { -e } map { my $name = $_; map {
	"$hub_dir/$name$_/_manifests/tags/1" } 1 .. 8 } qw/ tag digest / ], [],
	'tags purged, none');
is((grep { -e "$hub_dir/digest$_/_manifests/revisions/"
	. $purged{"library/digest$_"}{digest} =~ tr!:!/!r . '/link' } 1 .. 8)
	. ' ' . (grep { -e "$hub_dir/tag$_/_manifests/revisions/"
	. $purged{"library/tag$_"}{digest} =~ tr!:!/!r . '/link' } 1 .. 8), '0 8',
	'manifests purged, none');

$origin->stop();
is(join("\n", $ours->check($_, '1')), '', "$_, manager killed, no origin")
	for sort keys %image, 'library/new';
is(join("\n", $ours->check('library/multi', 'latest')), '',
	'index, manager killed, no origin');
is_deeply([ sort map { s!.*/!!r } glob("$v2/repositories/*") ],
	[ '_tmp', 'docker.io' ], 'no namespace in a namespace');

# a limit: the least recently used goes; workers that are there may be about to
# say what was used

$t->stop();

$used = time() - 3600;
find(sub { utime($used, $used, $_) if $_ eq 'data' }, "$v2/blobs");
utime($used - 3600, $used - 3600, data($layers[4])) or die;
my @last = map { data($_) } $amd64, @{$amd64->{blobs}};
utime(time(), time(), $_) or die for @last;

configure('max_size 64k;');
leave_mark();
give();
$t->run();

like(adopted(3), qr/damaged: 0$/, 'limit: adopted');
ok(within(sub { !-e data($layers[4]) && -e $last[0] }),
	'limit: the oldest has gone');
ok(within(sub { size() <= 65536 * 33 / 32 }),
	'limit: it holds');
is_deeply([ grep { -e } @last ], \@last, 'limit: the newest stay');

###############################################################################

# what cannot be moved is not hashed in vain, and adopted when it can be

$t->stop();
$origin->start();
configure('');
leave_mark();
give();

my $closed = data($amd64) =~ s!/data$!!r;
chown(0, 0, $closed) if @user;
chmod 0555, $closed;

$t->run();

$closed =~ s/\Q$v2/$aside/;
ok(within(sub { $t->read_file('error.log')
	=~ /access\(\) "\Q$closed\E" of registry_cache "edge" failed \(13:/ }),
	'denied: logged');
ok(within(sub { $t->read_file('error.log') =~ /edge" could not adopt all/ }),
	'denied: to be tried again');
ok(-e data($layers[0]), 'denied: others are adopted');
ok(-e "$closed/data", 'denied: it is there still');

chmod 0755, $closed;
chown(@user, $closed) if @user;
$t->reload();

like(adopted(4), qr/damaged: 0$/, 'allowed: adopted');
ok(-e data($amd64), 'allowed: all of it');

# one that is not a proxy's is left alone, of a cache that asks nobody
# everything is adopted, and one that is in both places waits

$t->stop();

for my $cache (qw/ plain offline twice /) {
	my $root = "$dir/$cache/docker/registry/v2";
	spew("$root/blobs/sha256/" . $unlinked->{digest}
		=~ s!^sha256:(..)(.*)!$1/$1$2/data!r, 'unlinked');
	spew("$root/repositories/x/_layers/" . $unlinked->{digest}
		=~ tr!:!/!r . '/link', $unlinked->{digest});
}

my @plain = files("$dir/plain");
spew("$dir/$_/scheduler-state.json", '{}') for qw/ offline twice /;
spew("$dir/twice/_adopt/registry/v2/repositories/y");
give();

configure('', '', qw/ plain offline twice /);
$t->run();

ok(within(sub { $t->read_file('error.log')
	=~ /adopted by registry_cache "plain": "\S+" has no scheduler-state/ }),
	'not of a proxy: logged');
is_deeply([ files("$dir/plain") ], \@plain, 'not of a proxy: left alone');
unlike($t->read_file('error.log'), qr/nothing is adopted by \S+ "(?!plain)/,
	'not of a proxy: no other');

like(adopted(1, 'offline'), qr/^1 blobs in 8 bytes with 1 links/, 'offline');
my $r = $ours->request(GET => 
	"/v2/x/blobs/$unlinked->{digest}?ns=offline.example");
is("$r->{status} $r->{headers}{'x-cache'}", '200 HIT', 'offline: served');

like($t->read_file('error.log'), qr/again before all .* "twice": reload/,
	'in both places: logged');
adopted(1, 'twice');
$t->reload();
like(adopted(2, 'twice'), qr/^1 blobs in 8 bytes/, 'in both places: then');

# without a master a worker does it; and all of a namespace is purged

$t->stop();
spew("$dir/plain/scheduler-state.json", '{}');

my $whole = "$dir/whole/docker/registry/v2";
spew("$dir/whole/scheduler-state.json", '{}');
spew("$whole/repositories/$_/_layers/" . $huge->{digest} =~ tr!:!/!r
	. '/link', $huge->{digest}) for qw! x y/z !;
spew($file = data($huge, "$dir/whole/_adopt/registry/v2")
	=~ s!_adopt!docker!r);
truncate($file, 2 ** 40) or die;
$file =~ s!docker/!_adopt/!;
give();

configure('', 'master_process off;', qw/ plain offline twice whole /);
$t->run();

like(adopted(1, 'plain'), qr/^1 blobs in 8 bytes/, 'master_process off');

within(sub { $t->read_file('error.log') =~ /of "whole.example"/ });
is(join('-', purge('', 'whole.example')), '0-0-2',
	'a namespace purged meanwhile');
truncate($file, 0);
adopted(1, 'whole');
is_deeply([ map { s!.*/!!r } glob("$whole/repositories/*") ], [ '_tmp' ],
	'a namespace purged, nothing');

# only what was provoked

my @alerts = grep { !/process $manager exited on signal 9/ }
	$t->read_file('error.log') =~ /^.*\[alert\].*$/mg;
is_deeply(\@alerts, [], 'no other alerts');

undef $t;

###############################################################################

sub configure {
	my ($limit, $main, @caches) = @_;

	my %set = (MAIN => $main // '', LIMIT => $limit || 'max_size 1g;',
		CACHES => join("\n", map { "    registry_cache $_ {"
			. " path $dir/$_; max_size 1g; adopt $_.example; }\n"
			. "    registry_remote $_.example {"
			. " cache $_; url http://127.0.0.1:8082; }" } @caches),
		LOCATION => @caches ? 'location /v2/offline.example/ {'
			. ' registry_proxy offline.example; registry_offline on; }'
			: '');

	$t->write_file_expand('nginx.conf',
		$conf =~ s/\b(MAIN|LIMIT|CACHES|LOCATION)\b/$set{$1}/gr);
}

sub push_image {
	my $wrong = $hub->push_image(@_);
	die $wrong if $wrong;
}

# as an operator does: it is stopped, and the workers get what it has; it
# writes down after some seconds what it has

sub leave_off {
	within(sub { -e "$dir/old/scheduler-state.json" }) or die;
	$old->stop();
}

sub leave_mark { spew("$dir/old/scheduler-state.json", '{}') }

sub give {
	find(sub { chown(@user, $_) if @user }, grep { -e }
		map { "$dir/$_" } qw/ old plain offline twice whole /);
}

# as docker-registry has it

sub lay {
	my ($name, $image) = @_;
	my $dir = "$v2/repositories/$name";

	for my $blob ($image, @{$image->{blobs}}) {
		spew(data($blob), $blob->{content});
		spew("$dir/" . ($blob == $image ? '_manifests/revisions/'
			: '_layers/') . $blob->{digest} =~ tr!:!/!r . '/link',
			$blob->{digest});
	}

	spew("$dir/_manifests/tags/1/$_/link", $image->{digest})
		for 'current', 'index/' . $image->{digest} =~ tr!:!/!r;
}

# how many tags, manifests and blobs that were

sub purge {
	my ($what, $ns) = @_;
	my $r = $ours->request('DELETE', '/purge/' . ($ns // 'docker.io')
		. "/$what");

	return $r->{status} if $r->{status} != 200;
	return @{JSON::PP::decode_json($r->{content})->{purged}}
		{qw/ tags manifests blobs /};
}

sub data {
	my ($blob, $root) = @_;

	$root //= $v2;

	return "$root/blobs/" . $blob->{digest} =~ s!^(\w+):(..)(.*)!$1/$2/$2$3/data!r;
}

sub spoil {
	my ($path) = @_;

	open(my $fh, '+<', $path) or die "can't open $path: $!";
	seek($fh, 500, 0);
	read($fh, my $byte, 1);
	seek($fh, 500, 0);
	print $fh chr(ord($byte) ^ 1);
	close $fh or die;
}

sub spew {
	my ($path, $content) = @_;

	make_path($path =~ s![^/]*$!!r);
	open(my $fh, '>', $path) or die "can't write $path: $!";
	print $fh $content // '';
	close $fh or die;
}

sub files {
	my ($path) = @_;
	my @files;

	find(sub { push @files, $File::Find::name if -f }, $path);

	return sort @files;
}

sub manifest {
	my ($registry, $name, $tag) = @_;

	my $r = $registry->request('GET', "/v2/$name/manifests/$tag", undef,
		Accept => $Images::ACCEPT);

	return "$r->{status} " . ($r->{headers}{'docker-content-digest'} // '');
}

# of the origin, since this was last asked

sub asked {
	my @asked = sort split(/\n/, $t->read_file('asked.log'));
	$t->write_file('asked.log', '');

	return @asked;
}

# what the manager says when it has adopted all, the n-th time

sub adopted {
	my ($n, $cache) = @_;
	my @found;

	$cache //= 'edge';

	within(sub { (@found = $t->read_file('error.log')
		=~ /registry_cache "$cache" has adopted (.*)/g) >= $n });

	return $found[$n - 1] // '';
}

sub times_adopted {
	return scalar(() = $t->read_file('error.log') =~ /has adopted/g);
}

sub size {
	my $r = $ours->request('GET', '/status');

	return JSON::PP::decode_json($r->{content})->{caches}{edge}{size_bytes};
}

# the manager, another one than that, which has a file open

sub busy_with {
	my ($path, $other) = @_;
	my $found;

	within(sub {
		($found) = $t->read_file('error.log')
			=~ /.*start cache manager process (\d+)/s;
		return $found && $found != ($other // 0)
			&& grep { (readlink($_) // '') eq $path }
				glob("/proc/$found/fd/*");
	});

	return $found;
}

sub within {
	my ($done) = @_;

	for (1 .. 1500 * $Test::Nginx::PATIENCE) {
		return 1 if $done->();
		sleep(0.02);
	}

	return 0;
}

###############################################################################
