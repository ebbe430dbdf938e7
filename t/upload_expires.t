#!/usr/bin/perl

# Abandoned uploads are removed by the cache manager process, and nothing else
# is.  It looks when it starts, hence at a reload.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use File::Find qw/ find /;
use File::Path qw/ make_path /;
use Test::Nginx;
use Test::Nginx::Registry;
use Strace;
use Time::HiRes qw/ sleep /;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http/)->has_daemon('strace')
	->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;
user root;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    registry_store week { path %%TESTDIR%%/week; }
    registry_store soon { path %%TESTDIR%%/soon; upload_expires 1h; }
    registry_store none { path %%TESTDIR%%/none; }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /v2/ {
            registry soon;
            registry_push on;
        }

        location /v2/week/ {
            registry week;
            registry_push on;
        }
    }
}

EOF

$t->plan(31);

###############################################################################

my $dir = $t->testdir();
my $soon = "$dir/soon/docker/registry/v2/repositories";
my $week = "$dir/week/docker/registry/v2/repositories";
my $day = 24 * 60 * 60;
my $id = '00000000-0000-4000-8000-00000000000';

# what is there before nginx starts, of this many days

put("$week/a/_uploads/${id}1/data", 8);
put("$week/a/_uploads/${id}2/data", 6);

# of a docker-registry, with the bytes and before them; and other leftovers

put("$week/a/_uploads/${id}3/$_", 8) for 'startedat', 'data',
	'hashstates/sha256/0';
put("$week/a/_uploads/${id}4/startedat", 8);
utime(time - 8 * $day, time - 8 * $day, "$week/a/_uploads/${id}4") or die;
put("$week/a/_uploads/file", 8);

# a link is removed, and not what it leads to

put("$dir/elsewhere/data", 8);
symlink "$dir/elsewhere", "$week/a/_uploads/${id}5" or die;

# deep down, and in many repositories

put("$week/a/b/c/_uploads/${id}1/data", 8);
put(sprintf("$week/r%03d/_uploads/${id}1/data", $_), 8) for 1 .. 600;

# files on their way to another name

put("$week/_tmp/.old", 1 / 12);
put("$week/_tmp/.new", 1 / 48);
put("$week/_tmp/.tree/_uploads/${id}1/data", 1);
utime(time - $day, time - $day, "$week/_tmp/.tree") or die;

put("$dir/soon/docker/registry/v2/blobs/_tmp/.old", 1 / 12);

# what is no upload

put("$week/a/_manifests/tags/x/current/link", 100);
put("$week/a/_layers/sha256/x/link", 100);
put("$week/a/_referrers/sha256/x/y", 100);
put("$dir/week/docker/registry/v2/blobs/sha256/aa/x/data", 100);

my @kept = (names("$week/a/_manifests"), names("$week/a/_layers"),
	names("$week/a/_referrers"), names("$dir/week/docker/registry/v2/blobs"),
	names("$dir/elsewhere"));

$t->run();

ok(gone("$week/a/_uploads/${id}1"), 'after a week');
ok(-e "$week/a/_uploads/${id}2/data", 'before a week');
ok(gone("$week/a/_uploads/${id}3"), "docker-registry's");
ok(gone("$week/a/_uploads/${id}4"), "docker-registry's, without bytes");
ok(gone("$week/a/_uploads/file"), 'a file');
ok(gone("$week/a/_uploads/${id}5"), 'a link');
ok(gone("$week/a/b/c/_uploads/${id}1"), 'deep down');
ok(gone("$week/r001/_uploads/${id}1"), 'first of many');
ok(gone("$week/r600/_uploads/${id}1"), 'last of many');
is_deeply([ glob("$week/r*/_uploads/*") ], [], 'all of many');
ok(gone("$week/_tmp/.old"), 'old temporary file');
ok(gone("$week/_tmp/.tree"), 'old temporary directory');
ok(-e "$week/_tmp/.new", 'new temporary file');
ok(gone("$dir/soon/docker/registry/v2/blobs/_tmp/.old"), 'old copy of a blob');

is_deeply([ names("$week/a/_manifests"), names("$week/a/_layers"),
	names("$week/a/_referrers"), names("$dir/week/docker/registry/v2/blobs"),
	names("$dir/elsewhere") ], \@kept, 'nothing else');
like($t->read_file('error.log'), qr!removing abandoned ".*/a/_uploads/${id}1"!,
	'logged');

# sessions of our own

my $blob = push_blob('x', 'a blob');
my $fresh = session('week/x');
my $empty = session('x');
my $some = session('x/y');
my $active = session('x');
my $busy = session('x');

request(PATCH => $_, body => 'some ') for $some, $active, $fresh;

my $s = send_request(PATCH => $busy, headers => { 'Content-Length' => 10,
	Expect => '100-continue' });
sysread($s, my $in, length "HTTP/1.1 100 Continue\r\n\r\n");
syswrite($s, 'hello');

# none of them is old enough: the manager that began with nginx looked already

is(request(GET => $_)->status, 204, 'not abandoned yet')
	for $empty, $some, $active;

for my $uri ($empty, $some, $busy, $active, $fresh) {
	my $time = time - 2 * 60 * 60;
	utime($time, $time, glob(dir_of($uri) . '/*')) or die;
}

request(PATCH => $active, body => 'more ');
$t->reload();

ok(gone(dir_of($empty)), 'abandoned before the first byte');
ok(gone(dir_of($some)), 'abandoned');

is(request(GET => $some)->status, 404, 'abandoned, status');
is(request(PUT => "$some?digest=" . sha256('some '))->status, 404,
	'abandoned, put');
is(request(GET => $fresh)->header('Range'), '0-4', 'of another store');
is(request(GET => $active)->header('Range'), '0-9', 'active');
is(request(PUT => "$active?digest=" . sha256('some more bytes'),
	body => 'bytes')->status, 201, 'active, put');

# a request that writes to it, however slowly: it has the lock

syswrite($s, 'world');
is(response($s)->status, 202, 'busy');
is(request(PUT => "$busy?digest=" . sha256('helloworld'))->status, 201,
	'busy, put');

is(request(GET => "/v2/x/blobs/$blob")->body, 'a blob', 'blob');

# what is locked is open for writing: NFS has no exclusive lock without that

put("$soon/n/_uploads/${id}6/data", 8);

my @calls = trace($t, $t->read_file('nginx.pid') + 0, 'trace=open,openat,flock',
	sub {
		$t->reload();
		ok(gone("$soon/n/_uploads/${id}6"), 'one more');
	});

my ($lock) = map { $_->{arguments} =~ m!<(.*/${id}6/data)>, LOCK_EX! } @calls;
is_deeply([ map { $_->{arguments} =~ /(O_\w+)/ } grep { $lock
	&& $_->{arguments} =~ /"\Q$lock\E"/ } @calls ], [ 'O_RDWR' ],
	'locked as NFS wants it');

###############################################################################

sub put {
	my ($name, $days) = @_;

	make_path($name =~ s![^/]*$!!r);
	open(my $fh, '>', $name) or die "can't write $name: $!";
	print $fh 'x';
	close $fh;

	my $time = time - $days * $day;
	utime($time, $time, $name) or die "can't date $name: $!";
}

# true when it is not there, within some seconds

sub gone {
	my ($name) = @_;

	for (1 .. 500) {
		return 1 if !-e $name && !-l $name;
		sleep(0.02);
	}

	return 0;
}

sub names {
	my ($dir) = @_;
	my @names;

	find(sub { push @names, $File::Find::name }, $dir);

	return sort @names;
}

sub session {
	my ($name) = @_;
	return request(POST => "/v2/$name/blobs/uploads/")->location()
		// die 'no session';
}

sub dir_of {
	my ($uri) = @_;
	my ($name, $id) = $uri =~ m!^/v2/(.*)/blobs/uploads/(.*)!;

	return ($name =~ /^week/ ? $week : $soon) . "/$name/_uploads/$id";
}

###############################################################################
