#!/usr/bin/perl

# Cold blobs when the cache takes no more of them: the disk or its inodes are
# full, the process that fetches hangs.  All pulls succeed, and what is wrong
# still does not get through.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use Time::HiRes qw/ sleep time /;

use lib 'lib';
use Clients;
use Flight;
use Test::Nginx;
use Test::Nginx::Origin;
use Test::Nginx::Registry;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

need(qw/ mount umount /);

my $t = Test::Nginx->new()->has(qw/http/);
my $d = $t->testdir();
my %mounted;

END { system('umount', '-l', $_) for keys %mounted; }

for my $disk ([ bytes => 'size=4m' ], [ inodes => 'size=64m,nr_inodes=40' ]) {
	my ($name, $options) = @$disk;

	mkdir "$d/$name";
	system('mount', '-t', 'tmpfs', '-o', "$options,mode=755", 'full',
		"$d/$name") == 0 or plan(skip_all => 'no tmpfs can be mounted');
	$mounted{"$d/$name"} = 1;
}

$t->write_file_expand('nginx.conf', <<'EOC')->plan(54);

%%TEST_GLOBALS%%

daemon off;
user root;
worker_processes 2;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    error_log %%TESTDIR%%/error.log info;

    add_header X-How "$pid $registry_cache";

    # 16 flights

    registry_zone 192k;

    registry_cache bytes  { path %%TESTDIR%%/bytes; }
    registry_cache inodes { path %%TESTDIR%%/inodes; }
    registry_cache room   { path %%TESTDIR%%/room; }
    registry_cache small  { path %%TESTDIR%%/small;  max_size 1m; }

    registry_remote bytes  { url http://127.0.0.1:8081;  cache bytes; }
    registry_remote inodes { url http://127.0.0.1:8081;  cache inodes; }
    registry_remote room   { url http://127.0.0.1:8081;  cache room; }
    registry_remote small  { url http://127.0.0.1:8081;  cache small; }

    server {
        listen       127.0.0.1:8080 reuseport;
        server_name  localhost;

        location /v2/ {
            registry_proxy all;
        }
    }
}

EOC

my $MB = 1024 * 1024;
my $origin = Test::Nginx::Origin->new($t, port => 8081);

$t->run();

###############################################################################

# full while it is fetched: from the file, then from the remote

my ($blob, $path) = cold('bytes', 8 * $MB);
$origin->rule({ path => qr/$blob->{digest}/, stall => $MB, times => 1 });

my @s = map { send_request(GET => $path) } 1 .. 8;
my @in = map { read_some($_, $MB) } @s;
is(scalar(grep { length(body($_)) == $MB } @in), 8, 'before it is full');
my $near = send_request(GET => $path,
	headers => { Range => 'bytes=5000000-6000000' });
$origin->release();

my @r = map { response($s[$_], in => $in[$_]) } 0 .. 7;
is(scalar(grep { $_->body eq $blob->{content} } @r), 8, 'full, and all of it');
ok(response($near)->body eq substr($blob->{content}, 5000000, 1000001),
	'full, a range');
ok(empty('bytes'), 'full, nothing left');
ok(logged('bytes'), 'full, logged once by a worker');

my ($first, @rest) = $origin->requests(qr/GET .*$blob->{digest}/);
is(scalar(grep { ($_->{headers}{range} // '') =~ /^bytes=[1-9]\d+-/ } @rest),
	9, 'full, the rest was asked for');

# full from the start

$origin->forget();
($blob, $path) = cold('bytes', 6 * $MB);

@s = map { send_request(GET => $path) } 1 .. 4;
@r = map { response($_) } @s;
is(scalar(grep { $_->body eq $blob->{content} } @r), 4, 'full before');
is($r[0]->header('Content-Length'), 6 * $MB, 'full before, length');
is($r[0]->header('Docker-Content-Digest'), $blob->{digest},
	'full before, digest');

# wrong bytes do not get through there either

for my $case ([ 0, {} ], [ -1, {} ], [ 3 * $MB, {} ],
	[ 0, { chunked => 1 } ], [ -1, { chunked => 1 } ])
{
	my ($at, $rule) = @$case;
	my $how = join(' ', "flipped at $at", keys %$rule);

	($blob, $path) = cold('bytes', 6 * $MB);
	$origin->rule({ path => qr/$blob->{digest}/, flip => $at, %$rule });

	my $r = request(GET => $path);
	ok($r->status == 200 && !$r->complete, "$how, not complete");
	cmp_ok(length $r->body, '<=', 6 * $MB - 4096, "$how, nor nearly");
}

$origin->clear();

($blob, $path) = cold('bytes', 6 * $MB);
$origin->rule({ path => qr/$blob->{digest}/, chunked => 1 });
my $r = request(GET => $path);
ok($r->complete && $r->body eq $blob->{content}, 'full, chunked');
$origin->clear();

# where the length is missing, and then the end of it, the digest knows it

($blob, $path) = cold('bytes', 6 * $MB);
$origin->rule({ path => qr/$blob->{digest}/, last_chunk => '' });
$r = request(GET => $path);
ok($r->complete && $r->body eq $blob->{content}, 'full, no last chunk');
$origin->clear();

# nor does an origin that breaks off

($blob, $path) = cold('bytes', 6 * $MB);
$origin->rule({ path => qr/$blob->{digest}/, close => 5 * $MB, times => 1 },
	{ path => qr/$blob->{digest}/, reset => 100000, skip => 1, times => 1 });
ok(request(GET => $path)->body eq $blob->{content}, 'full, broken off');

for my $size (0, 1, 4095, 4096, 4097, 65536, 65537) {
	($blob, $path) = cold('inodes', $size);
	my @names = fill("$d/inodes");

	my $r = request(GET => $path);
	is($r->status . $r->body, "200$blob->{content}", "inodes, $size bytes");

	unlink @names;
}

ok(logged('inodes'), 'inodes, logged once by a worker');

# manifests are served as well, by what memory there is

for my $cache (qw/ bytes inodes /) {
	my $image = $origin->image('a/b', $cache, [ $cache ]);
	my @names = $cache eq 'bytes' ? brim("$d/bytes") : fill("$d/inodes");

	is(request(GET => "/v2/$cache/a/b/manifests/$cache")->body,
		$image->{content}, "$cache, a manifest");
	ok(soon(sub { $t->read_file('error.log') =~ /\[error\] .* failed,
		\ registry_cache\ "$cache",\ repository\ "$cache\/a\/b"
		\ \(28:/x }), "$cache, a manifest, logged");

	unlink @names;
}

# the remote refuses, and the disk is full

($blob, $path) = cold('bytes', 6 * $MB);
$origin->rule({ path => qr/$blob->{digest}/, status => 404 });
is(request(GET => $path)->status, 404, 'full, refused');
$origin->rule({ path => qr/$blob->{digest}/, status => 429,
	headers => { 'Retry-After' => 3 } });
is(request(GET => $path)->header('Retry-After'), 3, 'full, too many requests');
$origin->clear();

# there is room again

system('rm', '-rf', "$d/bytes/docker") == 0 or die "can't remove\n";

($blob, $path) = cold('bytes', $MB);
ok(request(GET => $path)->body eq $blob->{content}, 'room again');
ok(soon(sub { request(GET => $path)->header('X-How') =~ /HIT/ }),
	'room again, kept');

# somebody removes what is being fetched

($blob, $path) = cold('room', 4 * $MB);
$origin->rule({ path => qr/$blob->{digest}/, stall => $MB, times => 1 });

@s = map { send_request(GET => $path) } 1 .. 4;
@in = map { read_some($_, $MB) } @s;
system('rm', '-rf', "$d/room/docker") == 0 or die "can't remove\n";
$origin->release();

@r = map { response($s[$_], in => $in[$_]) } 0 .. 3;
is(scalar(grep { $_->body eq $blob->{content} } @r), 4, 'removed, all of it');
ok(request(GET => $path)->body eq $blob->{content}, 'removed, and again');
ok(soon(sub { request(GET => $path)->header('X-How') =~ /HIT/ }),
	'removed, and kept');

# There is no room for it when all of it is there: nothing is got twice.  The
# size is not known, or the client had to wait for something else.

my ($manager) = $t->read_file('error.log')
	=~ /.*start cache manager process (\d+)/s or die "no manager\n";

kill 'STOP', $manager;
request(GET => (cold('small', 12 * $MB))[1]) for 1 .. 3;

($blob, $path) = cold('small', 2 * $MB);
$origin->rule({ path => qr/$blob->{digest}/, chunked => 1, stall => $MB });

@s = map { send_request(GET => $path) } 1 .. 4;
@in = map { read_some($_, $MB / 2) } @s;
$origin->release();

@r = map { response($s[$_], in => $in[$_]) } 0 .. 3;
is(scalar(grep { $_->complete && $_->body eq $blob->{content} } @r), 4,
	'no room, chunked');
is($origin->requests(qr/$blob->{digest}/), 1, 'no room, chunked, asked once');

($blob, $path) = cold('small', 2 * $MB);
$origin->blob('a/c', $blob);
$origin->rule({ path => qr/$blob->{digest}/, method => 'GET', stall => $MB },
	{ path => qr/$blob->{digest}/, method => 'HEAD', delay => 1 });

my $s = send_request(GET => $path);
my $in = read_some($s, $MB);
my $other = send_request(GET => "/v2/small/a/c/blobs/$blob->{digest}");
$origin->await(qr/^HEAD .*$blob->{digest}/);
$origin->release();

ok(response($s, in => $in)->body eq $blob->{content}, 'no room');
ok(response($other)->body eq $blob->{content}, 'no room, elsewhere');
is($origin->requests(qr/^GET .*$blob->{digest}/), 1, 'no room, asked once');

kill 'CONT', $manager;
$origin->clear();

# more blobs at a time than there are places for flights

my @many = map { [ cold('room', 200000) ] } 1 .. 40;
$origin->rule(map { { path => qr/$_->[0]{digest}/, stall => 100000 } } @many);

@s = map { send_request(GET => $_->[1]) } @many;
$origin->await(qr/^GET .*$_->[0]{digest}/) for @many;
$origin->clear();
$origin->release();

@r = map { response($_) } @s;
is(scalar(grep { $r[$_]->body eq $many[$_][0]{content} } 0 .. 39), 40,
	'too many');
cmp_ok(hits(@many), '<=', 16, 'too many, no more are kept');
ok(soon(sub { hits(@many) == 40 }), 'too many, kept in the end');

# the process that fetches hangs: those of others go on without it

($blob, $path) = cold('room', 4 * $MB);
$origin->rule({ path => qr/$blob->{digest}/, stall => $MB, times => 1 });

@s = map { send_request(GET => $path) } 1 .. 12;
@in = map { read_some($_, $MB) } @s;

my $pid = leader($d);
kill 'STOP', $pid;

my @others = grep { $in[$_] !~ /^X-How: $pid /m } 0 .. 11;
@r = map { response($s[$_], in => $in[$_]) } @others;
is(scalar(grep { $_->body eq $blob->{content} } @r), scalar @others,
	'hangs, others go on');

# a new request does not wait for it either

my @new = map { send_request(GET => $path) } 1 .. 8;
sleep 0.2;
kill 'CONT', $pid;
@r = map { response($_) } @new;
is(scalar(grep { $_->body eq $blob->{content} } @r), 8, 'hung, and again');

$origin->release();

my @own = map { response($s[$_], in => $in[$_]) }
	grep { $in[$_] =~ /^X-How: $pid /m } 0 .. 11;
is(scalar(grep { $_->body eq $blob->{content} } @own), scalar @own,
	'hung, its own');
ok(empty('room'), 'hung, nothing left');
ok(request(GET => $path)->body eq $blob->{content}, 'hung, warm');

$t->stop();
system('umount', $_) == 0 and delete $mounted{$_} for keys %mounted;

# the subs below know it too

undef $t;

###############################################################################

sub cold {
	my ($remote, $size) = @_;
	my $blob = $origin->blob('a/b', bytes($size));

	return ($blob, "/v2/$remote/a/b/blobs/$blob->{digest}");
}

sub hits {
	return scalar grep { request(GET => $_->[1])->header('X-How') =~ /HIT/ }
		@_;
}

sub logged {
	my ($cache) = @_;

	my @pids = $t->read_file('error.log') =~
		/ \[crit\] (\d+)#.* a copy in registry_cache "$cache"/g;

	return @pids && @pids == keys %{{ map { $_ => 1 } @pids }};
}

sub empty {
	my ($cache) = @_;

	return soon(sub { !grep { !/\.\.?$/ }
		glob "$d/$cache/docker/registry/v2/repositories/_tmp/{.*,*}" });
}

# takes all bytes that there are

sub brim {
	my ($dir) = @_;

	open(my $fh, '>', "$dir/brim") or die "$dir/brim: $!\n";
	1 while syswrite($fh, 'x' x 4096);

	return "$dir/brim";
}

# takes all inodes that there are

sub fill {
	my ($dir) = @_;
	my @names;

	while (@names < 100) {
		my $name = "$dir/fill" . @names;
		open(my $fh, '>', $name) or last;
		push @names, $name;
	}

	return @names;
}

###############################################################################
