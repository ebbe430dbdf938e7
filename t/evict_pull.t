#!/usr/bin/perl

# What is pulled from a remote counts in its cache, and what is pulled again is
# not what goes.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use Time::HiRes qw/ sleep /;

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Origin;
use Test::Nginx::Registry;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http/)
	->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

error_log %%TESTDIR%%/notice.log notice;

daemon off;
user root;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    registry_cache edge { path %%TESTDIR%%/cache;  max_size 160k; }

    registry_cache small { path %%TESTDIR%%/small;  max_size 1m; }

    registry_remote docker.io { url http://127.0.0.1:%%PORT_8081%%;  cache edge; }
    registry_remote ghcr.io { url http://127.0.0.1:%%PORT_8081%%;  cache small; }

    server {
        listen       127.0.0.1:8080;
        registry_namespace docker.io;

        location /v2/ {
            registry_proxy all;
        }

        location /purge/ {
            registry_purge docker.io;
        }
    }
}

EOF

my $origin = Test::Nginx::Origin->new($t, port => 8081);

$t->run()->plan(23);

###############################################################################

# a blob takes 16k, so ten are what there is room for

my @blobs = map { $origin->blob('library/a', $_ x 12_000)->{digest} }
	'a' .. 'o';
my @files = map { $t->testdir() . '/cache/docker/registry/v2/blobs/sha256/'
	. substr($_, 7, 2) . '/' . substr($_, 7) . '/data' } @blobs;

is(pulled(0 .. 9), 10, 'pulled');
ok(within(sub { (grep { -e } @files[0 .. 9]) == 10 }), 'kept');
$t->stop();

# the first one was used the longest time ago, and is used again; by HEAD, since
# a file system may set the time of access itself when a file is read

utime((time - 7200 + 60 * $_) x 2, $files[$_]) or die for 0 .. 9;
$t->run();

ok(within(sub { $t->read_file('notice.log')
	=~ /registry_cache "edge" has 10 blobs/ }), 'counted at the start');

$origin->forget();

is(request(HEAD => "/v2/library/a/blobs/$blobs[0]")->status, 200, 'used again');
is(pulled(10 .. 14), 5, 'more than there is room for');
ok(within(sub { (grep { -e } @files[10 .. 14]) == 5
	&& (grep { -e } @files) == 10 }), 'within the limit');
is_deeply([ grep { -e $files[$_] } 0 .. 14 ], [ 0, 6 .. 14 ],
	'least recently used goes');

is(pulled(0), 1, 'what was used');
is($origin->requests(qr/GET .*$blobs[0]/), 0, 'is still here');

# what is purged makes room at once

is(request(DELETE => "/purge/library/a\@$blobs[14]")->status, 200, 'purged');
is(pulled(1), 1, 'as much as there is room for');
ok(within(sub { -e $files[1] }) && (grep { -e } @files[0 .. 13]) == 10,
	'nothing is evicted for it');

# nothing is removed for a while: then what exceeds the limit too far is sent,
# and not kept

my @large = map { $origin->blob('b', $_ x 12_000_000) } 'a' .. 'e';
my ($manager) = $t->read_file('notice.log')
	=~ /.*start cache manager process (\d+)/s;

kill 'STOP', $manager;
my @s = map { send_request(GET => "/v2/b/blobs/$_->{digest}?ns=ghcr.io") }
	@large;
is(scalar(grep { response($s[$_])->body eq $large[$_]{content} } 0 .. 4), 5,
	'too much at once, sent');
ok(within(sub { kept(@large) == 3 }), 'some are kept');
is((grep { get($_) } @large) && kept(@large), 3, 'no more of them');
kill 'CONT', $manager;
ok(within(sub { kept(@large) == 0 }), 'removed at last');
ok(get($large[0]) && within(sub { $t->read_file('notice.log')
	=~ /registry_cache "small" grows faster than it is evicted from/ }),
	'logged');

# what is removed while it is fetched is sent, and fetched again

my $bytes = 'gone' x 3_000;
my $gone = $origin->blob('library/a', $bytes);
my $tmp = $t->testdir() . '/cache/docker/registry/v2/repositories/_tmp';

$origin->rule({ path => qr/$gone->{digest}/, stall => 1000, times => 1 });
my $s = send_request(GET => "/v2/library/a/blobs/$gone->{digest}");

ok(within(sub { glob("$tmp/.??*") }), 'being fetched');
unlink glob("$tmp/.??*");
$origin->release();

ok(response($s)->body eq $bytes, 'removed meanwhile, sent');
ok(within(sub { $t->read_file('notice.log')
	=~ /keeping a copy in registry_cache "edge" failed/ }),
	'removed meanwhile, logged');
ok(request(GET => "/v2/library/a/blobs/$gone->{digest}")->body eq $bytes,
	'removed meanwhile, fetched again');

# and so is what is evicted before another repository has it

$origin->blob('library/b', $gone);
$origin->rule({ path => qr!/b/blobs/!, method => 'HEAD', hold => 1,
	times => 1 });
$s = send_request(GET => "/v2/library/b/blobs/$gone->{digest}");
$origin->await(qr!^HEAD .*/b/blobs/!);

my $file = $t->testdir() . '/cache/docker/registry/v2/blobs/'
	. $gone->{digest} =~ s!^(\w+):(..)(.*)!$1/$2/$2$3/data!r;

ok(within(sub { unlink($file) }), 'evicted before it is linked');
$origin->release();
ok(response($s)->body eq $bytes, 'evicted before it is linked, sent');

# the subs below know it too

undef $t;

###############################################################################

sub pulled {
	return scalar grep {
		request(GET => "/v2/library/a/blobs/$blobs[$_]")->status == 200
	} @_;
}

sub get {
	my ($blob) = @_;
	return request(GET => "/v2/b/blobs/$blob->{digest}?ns=ghcr.io")->body
		eq $blob->{content};
}

sub kept {
	return scalar grep { -e $t->testdir()
		. '/small/docker/registry/v2/blobs/sha256/'
		. substr($_->{digest}, 7, 2) . '/' . substr($_->{digest}, 7)
		. '/data' } @_;
}

sub within {
	my ($done) = @_;

	for (1 .. 500) {
		return 1 if $done->();
		sleep(0.02);
	}

	return 0;
}

###############################################################################
