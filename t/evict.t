#!/usr/bin/perl

# Limits of a cache: what was not used for the longest time goes when it is
# too large or the disk too full, what was not used for too long goes in any
# case, and so does what then leads nowhere in the repositories; nothing else
# does.  When a blob was used is known from its file, so all of it holds after
# a restart, and for what others put there.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use Digest::SHA qw/ sha256_hex sha512_hex /;
use File::Find qw/ find /;
use File::Path qw/ make_path /;
use Time::HiRes qw/ sleep /;

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Registry;
use Clients;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

need(qw/ mount umount /);

my $t = Test::Nginx->new()->has(qw/http/)->todo_alerts();
my $dir = $t->testdir();
my @mounted;

END { local $?; unmount($mounted[-1]) while @mounted; }

mkdir "$dir/disk";
mount('-t', 'tmpfs', '-o', 'size=16m', 'evict', "$dir/disk")
	or plan(skip_all => 'no tmpfs can be mounted');

$t->plan(53);

# a blob of 10,000 bytes is 16 KiB with its directory

conf($t, '');

my $many = 20_000;
my $patience = $ENV{TEST_NGINX_VALGRIND} ? 10 : 1;

###############################################################################

# 20 blobs where 10 fit, each used a minute after the one before; what was
# written last is not what was used last

my @lru = map { put('lru', "lru $_", 21 - $_, 100) } 1 .. 20;

# one of the other algorithm, one from the future, one that was written last

push @lru, put('lru', 'of sha512', 1 / 2, 100, \&sha512_hex);
push @lru, put('lru', 'of the future', -100, 100);
push @lru, put('lru', 'written', 100, 1 / 2);

# no blobs

my @others = map { spew("$dir/lru/$_") } 'file', 'docker/registry/v2/x/y/data',
	map { "docker/registry/v2/blobs/$_" } 'data', 'sha256/data', 'md5/00/00/data',
	'sha256/00/data', 'sha256/00/x/data', 'sha256/00/' . '0' x 63 . '/data',
	'sha256/00/' . 'F' x 64 . '/data', 'sha256/11/' . '0' x 64 . '/data';

# a directory in the place of a file, and a file beside one that goes

make_path($others[@others] = path('lru', '00' x 32));
push @others, spew($lru[0] =~ s/data$/another/r);

# what a kill may leave

make_path("$dir/lru/docker/registry/v2/blobs/sha256/ab/" . 'ab' x 32);

# not used for more than an hour, or for less

my @idle = map { put('idle', "idle $_", $_ * 15 + 5, 200) } 1 .. 8;

# on a small disk, that is not full yet

my @disk = map { put('disk', "disk $_", 21 - $_, 100, undef, 500_000) } 1 .. 20;

put('many', "many $_", $_, 100, undef, 10) for 1 .. $many;

$t->run();

is_deeply(left(@lru), [ @lru[13 .. 22] ], 'least recently used');
is_deeply(left(@idle), [ @idle[0 .. 2] ], 'inactive');
is_deeply([ grep { -e } @others ], \@others, 'nothing else is removed');
ok(gone("$dir/lru/docker/registry/v2/blobs/sha256/ab/" . 'ab' x 32),
	'an empty directory is');
ok(!-e $lru[1] =~ s!/data$!!r, 'the directory of a blob is');
ok(-d $lru[0] =~ s!/data$!!r, 'unless there is something in it');

# the largest one is known after some time, and nobody waits for it

is(request(GET => '/v2/')->status, 200, 'served meanwhile');
is(indexed($t, 'many'), "$many " . $many * 8192, 'many blobs are found');
is(indexed($t, 'lru'), '23 ' . 23 * 16384, 'all sizes are counted');

# somebody else takes space on the disk

is_deeply([ grep { -e } @disk ], \@disk, 'the disk has room');
spew("$dir/disk/filler", 'x' x 3_000_000);
ok(within(sub { free() >= 4 * 1024 * 1024 }), 'free again');
my @rest = grep { -e } @disk;
ok(@rest > 5, 'no more is removed than it takes');
is_deeply(\@rest, [ @disk[20 - @rest .. 19] ], 'least recently used of a disk');
unlink "$dir/disk/filler";

###############################################################################

# links that lead nowhere, and some that do not

my $repos = "$dir/lru/docker/registry/v2/repositories";
my $kept = $lru[20] =~ s!.*/([0-9a-f]+)/data!$1!r;
my $lost = sha256_hex('no such blob');

spew("$repos/a/_layers/sha256/$lost/link", "sha256:$lost");
spew("$repos/a/_layers/sha512/$kept/link", "sha512:$kept");
image("$repos/docker.io/library/x", $lost, 'sha256');
image("$repos/host_5000/a", $lost, 'sha256');
image("$repos/host_5000/a/b", $kept, 'sha512');
image("$repos/host_5000/a/b", $lost, 'sha256', 'other');
image("$repos/host_5000/tags", $kept, 'sha512');
image("$repos/many", sha256_hex($_), 'sha256', "tag$_") for 1 .. 20;

# a tag that moved, to what is there and to what is not

spew("$repos/moved/_manifests/tags/$_/index/sha256/$lost/link") for 1, 2;
spew("$repos/moved/_manifests/tags/$_/index/sha512/$kept/link") for 1, 2;
spew("$repos/moved/_manifests/tags/1/current/link", "sha512:$kept");
spew("$repos/moved/_manifests/tags/2/current/link", "sha256:$lost\n");

# a manifest without a tag is one that Distribution's collector must find

spew("$repos/untagged/_manifests/revisions/sha512/$kept/link");
make_path("$repos/untagged/_manifests/tags", "$repos/empty/_manifests/tags");

# nobody's business; uploads are not looked for

my @own = map { spew("$repos/own/$_") } 'x', "_layers/sha256/$lost/x",
	"_layers/sha256/x/link", "_layers/md5/$lost/link",
	"_manifests/tags/x/current/link", "_manifests/tags/x/current/y",
	"_manifests/sha256-$lost", "_uploads/x/data", "_uploads/x/startedat";
utime(0, 0, $_) or die for grep { /_uploads/ } @own;
push @own, spew("$repos/_tmp/new/link");
symlink "$dir/elsewhere", "$repos/own/_layers/sha256/link" or die;
push @own, spew("$dir/elsewhere/sha256/$lost/link"),
	"$repos/own/_layers/sha256/link";

$t->reload();

ok(gone("$repos/a/_layers/sha256"), 'link of a blob');
ok(-e "$repos/a/_layers/sha512/$kept/link", 'not of one that is there');
ok(gone("$repos/docker.io"), 'a whole repository');
ok(gone("$repos/host_5000/a/_manifests"), 'of one with another below');
ok(gone("$repos/host_5000/a/_referrers"), 'its referrers');
ok(gone("$repos/many"), 'one with many images');
ok(gone("$repos/empty"), 'an empty one');

my $image = "$repos/host_5000/a/b";
ok(gone("$image/_manifests/tags/other"), 'a tag');
ok(gone("$image/_manifests/revisions/sha256"), 'a manifest with its type');
ok(gone("$image/_layers/sha256"), 'its layer');
is_deeply(files($image), [ map { "$image/$_" } sort "_layers/sha512/$kept/link",
	"_manifests/lock", "_manifests/revisions/sha512/$kept/link",
	"_manifests/revisions/sha512/$kept/media_type",
	'_manifests/tags/tag/current/link',
	"_manifests/tags/tag/index/sha512/$kept/link",
	"_referrers/sha256/$lost/sha512-$kept" ], 'what is there stays');
is(@{files("$repos/host_5000/tags")}, 7, 'also where it is called tags');

ok(gone("$repos/moved/_manifests/tags/1/index/sha256"), 'moved away from it');
ok(-e "$repos/moved/_manifests/tags/1/current/link", 'and stays');
ok(gone("$repos/moved/_manifests/tags/2/current"), 'moved to it');
ok(-e "$repos/moved/_manifests/tags/2/index/sha512/$kept/link",
	'where it was before');
ok(-d "$repos/untagged/_manifests/tags", 'no tags yet');
is_deeply([ grep { -e || -l } @own ], \@own, 'nothing else is removed');
is_deeply([ glob("$repos/_tmp/.??*") ], [], 'nothing is left');

# what is used after the manager saw it, and before it goes, stays

my $soon = 60 - 8 * $patience / 60;
my @soon = map { put('idle', "soon $_", $soon, 100) } 1, 2;

$t->reload();
like(indexed($t, 'idle', 3), qr/^5 /, 'before it goes');
touch($soon[0]);

ok(gone($soon[1]), 'unused');
ok(-e $soon[0], 'used since');

###############################################################################

# a restart: what was used since stays, what was added meanwhile counts

$t->stop();

touch($lru[13]);
touch($lru[22]);
my @new = map { put('lru', "new $_", 0, 0) } 1 .. 3;
my $old = put('lru', 'old', 2 * 60, 2 * 60);

$t->run();

is_deeply(left(@lru[13 .. 22], @new, $old), [ @lru[13, 17 .. 22], @new ],
	'restarted, least recently used');
ok(gone($old), 'restarted, older than all');

# a manager that is killed is started again, and knows all anew

indexed($t, 'many', 4);
my ($manager) = $t->read_file('error.log')
	=~ /.*start cache manager process (\d+)/s;

my $late = put('lru', 'late', 0, 0);
kill 'KILL', $manager;

ok(gone($lru[17]), 'manager killed, evicts');
is_deeply([ grep { -e } @lru[13, 18 .. 22], @new, $late ],
	[ @lru[13, 18 .. 22], @new, $late ], 'manager killed, no more than that');
is(indexed($t, 'many', 5), "$many " . $many * 8192, 'manager killed, index');

# a smaller limit

conf($t, '', lru => 'max_size 64k');
$t->reload();

ok(within(sub { (grep { -e } @lru, @new, $late) == 4 }),
	'reload with a smaller limit');
ok(-e $late && !-e $lru[18], 'least recently used of it');

# another path is another cache, and none is none

conf($t, '', lru => '', idle => 'inactive 1h; max_size 1');
$t->reload();

ok(gone($_), 'a limit of a byte') for @idle[0 .. 2];
is(request(GET => '/v2/')->status, 200, 'served');
is((grep { -e } @lru, @new, $late), 4, 'no limit');

$t->stop();

###############################################################################

# what cannot be removed stays, is logged, and holds nothing up

my $before = put('lru', 'before', 60, 60);
my $after = put('lru', 'after', 30, 30);
utime(time - 45 * 60, time - 45 * 60, $late) or die;
mount('--bind', $late, $late);

conf($t, '', lru => 'max_size 16k');
$t->run();

ok(gone($before) && gone($after), 'beside what cannot be removed');
ok(within(sub { $t->read_file('error.log')
	=~ /unlink\(\) "$late" of registry_cache "lru" failed \(16:/ }),
	'it is logged');
ok(-e $late, 'and is there');

$t->stop();
unmount($late);

# without a master a worker does it

conf($t, 'master_process off;', lru => 'max_size 1');
$t->run();

ok(gone($late), 'master_process off');
is(request(GET => '/v2/')->status, 200, 'master_process off, served');

# only what was provoked

my @alerts = grep { !/process $manager exited on signal 9/ }
	$t->read_file('error.log') =~ /^.*\[alert\].*$/mg;
is_deeply(\@alerts, [], 'no other alerts');

###############################################################################

sub conf {
	my ($t, $main, %caches) = @_;

	%caches = (
		lru => 'max_size 160k',
		idle => 'inactive 1h',
		many => 'max_size 1g; min_free 1k; inactive 30d',
		%caches,
	);

	my $lines = join('', map { "    registry_cache $_ { path $dir/$_;"
		. ($caches{$_} && "$caches{$_};") . " }\n" } sort keys %caches);

	$t->write_file_expand('nginx.conf', <<"EOC");

%%TEST_GLOBALS%%

daemon off;
user root;
$main

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

$lines
    registry_cache disk { path $dir/disk/cache; min_free 4m; }
    registry_store local { path $dir/local; }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /v2/ {
            registry local;
        }
    }
}

EOC
}

# a blob that was used and written some minutes ago: the name of its file

sub put {
	my ($cache, $content, $used, $written, $hash, $size) = @_;

	my $hex = ($hash // \&sha256_hex)->($content);
	my $file = spew(path($cache, $hex), $content
		. 'x' x (($size // 10_000) - length $content));

	utime(time - $used * 60, time - $written * 60, $file) or die;

	return $file;
}

sub path {
	my ($cache, $hex) = @_;

	return "$dir/" . ($cache eq 'disk' ? 'disk/cache' : $cache)
		. '/docker/registry/v2/blobs/'
		. (length $hex == 64 ? 'sha256' : 'sha512') . '/'
		. substr($hex, 0, 2) . "/$hex/data";
}

# a manifest with its tag, a layer, and a referrer

sub image {
	my ($repo, $hex, $algorithm, $tag) = @_;

	$tag //= 'tag';

	spew("$repo/_layers/$algorithm/$hex/link");
	spew("$repo/_manifests/lock");
	spew("$repo/_manifests/revisions/$algorithm/$hex/$_")
		for qw/ link media_type /;
	spew("$repo/_manifests/tags/$tag/index/$algorithm/$hex/link");
	spew("$repo/_manifests/tags/$tag/current/link", "$algorithm:$hex");
	spew("$repo/_referrers/sha256/$lost/$algorithm-$hex", '{}');
}

sub spew {
	my ($file, $content) = @_;

	make_path($file =~ s![^/]*$!!r);
	open(my $fh, '>', $file) or die "can't write $file: $!";
	print $fh $content // 'x';
	close $fh or die "can't write $file: $!";

	return $file;
}

# used now, but not written

sub touch {
	my ($file) = @_;
	utime(time, (stat $file)[9], $file) or die "can't touch $file: $!";
}

# those of some files that are there when nothing has changed for a while

sub left {
	my @files = @_;
	my ($n, $same) = (-1, 0);

	within(sub {
		my $now = grep { -e } @files;
		$same = $now == $n ? $same + 1 : 0;
		$n = $now;
		return $same == 100 && $n < @files;
	});

	return [ grep { -e } @files ];
}

sub files {
	my ($path) = @_;
	my @files;

	find(sub { push @files, $File::Find::name unless -d }, $path);

	return [ sort @files ];
}

sub gone {
	my ($name) = @_;
	return within(sub { !-e $name && !-l $name });
}

sub within {
	my ($done) = @_;

	for (1 .. 1000 * $patience) {
		return 1 if $done->();
		sleep(0.02);
	}

	return 0;
}

# what the manager says of a cache when it knows all of it: the n-th time

sub indexed {
	my ($t, $cache, $n) = @_;
	my @found;

	within(sub {
		@found = $t->read_file('error.log') 
			=~ /registry_cache "$cache" has (\d+) blobs in (\d+) bytes/g;
		return @found >= 2 * ($n // 1);
	});

	return join(' ', @found[-2, -1]);
}

sub free {
	my ($blocks) = `df -k --output=avail $dir/disk` =~ /(\d+)/;
	return $blocks * 1024;
}

# until the end of the test

sub mount {
	my (@arguments) = @_;

	system('mount', @arguments) == 0 or return 0;
	push @mounted, $arguments[-1];

	return 1;
}

sub unmount {
	my ($path) = @_;

	system('umount', '-l', $path);
	@mounted = grep { $_ ne $path } @mounted;
}

###############################################################################
