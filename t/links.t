#!/usr/bin/perl

# What the memory knows of a repository's blobs: a link that was seen is not
# looked up again for tag_valid, and one that was deleted here is gone at once.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Time::HiRes qw/ sleep /;
use Test::Nginx;
use Test::Nginx::Registry;
use Strace;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http/)->has_daemon('strace')
	->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;
user root;
worker_processes 2;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    registry_zone 128k;

    registry_store long  { path %%TESTDIR%%/long;  tag_valid 1h; }
    registry_store short { path %%TESTDIR%%/short; }
    registry_store never { path %%TESTDIR%%/never; tag_valid 0; }

    add_header X-Pid $pid always;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /v2/ {
            registry long;
            registry_push on;
            registry_delete on;
        }

        location /v2/open/ {
            registry long;
            registry_push on;
            registry_delete on;
            open_file_cache max=100;
        }

        location /v2/short/ {
            registry short;
            registry_push on;
            registry_delete on;
        }

        location /v2/never/ {
            registry never;
            registry_push on;
            registry_delete on;
        }
    }
}

EOF

$t->run()->plan(42);

###############################################################################

my $dir = $t->testdir();

# one connection to each of the workers

my ($one, $two, $pid) = workers();

my $digest = sha256('a blob');

push_blob($_, 'a blob') for 'a', 'b', 'short/a', 'never/a';

# a link that was seen is remembered by both, of one repository

is(pull('a', $one), 200, 'pulled');

unlink link_of('long', 'a') or die;

is(pull('a', $_), 200, 'link gone, long valid') for $one, $two;
is(pull('a', $two, 'HEAD'), 200, 'link gone, long valid, head');
is(pull('c', $_), 404, 'a repository without it') for $one, $two;

unlink link_of('long', 'b') or die;
is(pull('b', $one), 404, 'link that was never seen');

# by default for a second, or never

is(pull('short/a', $one), 200, 'short');
unlink link_of('short', 'short/a') or die;

sleep(1.1);
is(pull('short/a', $_), 404, 'link gone, a second later') for $one, $two;

is(pull('never/a', $one), 200, 'never valid');
unlink link_of('never', 'never/a') or die;
is(pull('never/a', $_), 404, 'link gone, never valid') for $one, $two;

# a link does not make up for a blob that is gone

push_blob('d', 'collected');
$digest = sha256('collected');

is(pull('d', $one), 200, 'before a garbage collection');
unlink data($digest) or die;
is(pull('d', $_), 404, 'after a garbage collection') for $one, $two;
push_blob('d', 'collected', socket => $two);
is(pull('d', $_), 200, 'pushed again') for $one, $two;

# deleted here: gone at once, for either worker, in that repository

for my $name ('a', 'open/a') {
	push_blob($_, 'deleted') for $name, 'other';
	$digest = sha256('deleted');

	is(join(' ', map { pull($name, $_), pull('other', $_) } $one, $two),
		'200 200 200 200', "$name, before");

	is(request(DELETE => "/v2/$name/blobs/$digest", socket => $two)->status,
		202, "$name, deleted");
	is(pull($name, $_), 404, "$name, deleted, get") for $one, $two;
	is(pull($name, $one, 'HEAD'), 404, "$name, deleted, head");
	is(pull('other', $_), 200, "$name, another repository")
		for $one, $two;

	push_blob($name, 'deleted');
	is(pull($name, $_), 200, "$name, pushed again") for $one, $two;
}

# by sha512

push_blob('a', 'strong', digest => $digest = sha512('strong'));
is(pull('a', $one), 200, 'sha512');
request(DELETE => "/v2/a/blobs/$digest", socket => $one);
is(pull('a', $two), 404, 'sha512, deleted');

# more than there is room for

my $many = 'many/' . 'x' x 200;
my %many = map { push_blob($many, "blob $_") => 1 } 1 .. 250;
my %status;

for (1 .. 2) {
	for (sort keys %many) {
		$digest = $_;
		$status{pull($many, $one)}++;
	}
}

is(join(' ', %status), '200 500', 'many');

# a pull has looked at the link, and is held up before it remembers that, while
# the link is deleted

push_blob('race', 'slow');
$digest = sha256('slow');
my ($deleted, $pulled);

my @calls = trace($t, $pid, 'inject=open,openat:delay_enter=1000000', sub {
	send_request(GET => "/v2/race/blobs/$digest", socket => $one);
	sleep(0.4);

	$deleted = request(DELETE => "/v2/race/blobs/$digest", socket => $two)
		->status;
	$pulled = response($one)->status;
});

is("$pulled $deleted", '200 202', 'pulled while it is deleted');
is(scalar(grep { $_->{arguments} =~ m!\Q/race/_layers/! } @calls), 1,
	'pulled while it is deleted: the link was there');
is(join(' ', pull('race', $two), pull('race', $one)), '404 404',
	'pulled while it is deleted: gone');

###############################################################################

sub pull {
	my ($name, $s, $method) = @_;

	return request($method // 'GET', "/v2/$name/blobs/$digest",
		socket => $s)->status;
}

# connections to both workers, and the pid of the first

sub workers {
	my %sockets;

	for (1 .. 1000) {
		my $s = connection();
		my $worker = request(GET => '/v2/', socket => $s)
			->header('X-Pid');

		$sockets{$worker} //= $s;
		next if keys %sockets < 2;

		my @pids = sort keys %sockets;
		return @sockets{@pids}, $pids[0];
	}

	die "one worker has all connections\n";
}

sub link_of {
	my ($store, $name) = @_;

	return "$dir/$store/docker/registry/v2/repositories/$name/_layers/"
		. $digest =~ tr!:!/!r . '/link';
}

sub data {
	my ($algorithm, $hex) = split(/:/, $_[0]);

	return "$dir/long/docker/registry/v2/blobs/$algorithm/"
		. substr($hex, 0, 2) . "/$hex/data";
}

###############################################################################
