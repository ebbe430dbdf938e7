#!/usr/bin/perl

# What a pull costs in system calls: a manifest in memory none but those of the
# connection; a blob one sendfile, and that alone if the memory has its link and
# nginx keeps the file open.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Clients;
use Images;
use Strace;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http/)->has_daemon('strace')->plan(28);
my $root = $t->testdir() . '/registry/docker/registry/v2';

$t->write_file_expand('nginx.conf', <<'EOC')->run();

%%TEST_GLOBALS%%

daemon off;
user root;
worker_processes 1;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    access_log off;
    sendfile   on;

    registry_store warm { path %%TESTDIR%%/registry;  tag_valid 1h; }
    registry_store same { path %%TESTDIR%%/same;      tag_valid 0; }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        add_header   X-Pid $pid;

        location /v2/ {
            registry warm;
            registry_push on;
        }

        location /v2/open/ {
            registry warm;
            registry_push on;
            open_file_cache max=100;
        }

        location /v2/direct/ {
            registry warm;
            registry_push on;
            directio 4k;
        }

        location /v2/checked/ {
            registry same;
            registry_push on;
        }
    }
}

EOC

###############################################################################

# what a connection takes, and what memory does now and then

my %connection = map { $_ => 1 } qw/ accept4 close epoll_ctl epoll_pwait
	epoll_wait ioctl recvfrom sendto setsockopt shutdown writev
	brk madvise munmap /;

my $registry = Images->new(port(8080));
my $pid = worker('/v2/');

my $image = Images::image([ Images::blob('x' x 1_000_000) ]);
my $layer = $image->{blobs}[1];
my $data = $layer->{digest} =~ s!^(\w+):(..)(.*)!$root/blobs/$1/$2/$2$3/data!r;

for my $name (qw/ warm open direct checked /) {
	is($registry->push_image("$name/a", 'tag', $image), undef,
		"push to $name");
}

# manifests in memory

for my $reference ('tag', $image->{digest}) {
	for my $method (qw/ GET HEAD /) {
		my $case = "$method of a manifest by "
			. ($reference eq 'tag' ? 'tag' : 'digest');

		# now it is there

		http("$method /v2/warm/a/manifests/$reference HTTP/1.0\n\n");

		my @calls = traced($method, "warm/a/manifests/$reference",
			$case);

		is(join(' ', grep { !$connection{$_} } map { $_->{name} }
			@calls), '',
			"$case: the connection's calls alone");
	}
}

# and those that are looked up again: the links are read, not the manifest

http_get('/v2/checked/a/manifests/tag');

my @calls = traced('GET', 'checked/a/manifests/tag', 'manifest looked up');
my $opened = join ' ', map { m!/v2/(.*?)"! } grep { /"/ }
	map { $_->{arguments} } grep { $_->{name} =~ /^open/ } @calls;

is($opened, 'repositories/checked/a/_manifests/tags/tag/current/link',
	'manifest looked up: one file read');

# blobs

@calls = traced('GET', "warm/a/blobs/$layer->{digest}", 'blob');

is(sent(@calls), length $layer->{content}, 'blob: all of it by sendfile');
is(scalar(grep { $_->{name} =~ /^open/ } @calls), 1, 'blob: one open');
is(copied(@calls), '', 'blob: not read');

my $uri = "open/a/blobs/$layer->{digest}";

http_get("/v2/$uri") for 1 .. 2;

@calls = traced('GET', $uri, 'open blob');

is(sent(@calls), length $layer->{content}, 'open blob: all of it by sendfile');
is(join(' ', grep { !$connection{$_} && $_ ne 'sendfile' }
	map { $_->{name} } @calls), '',
	"open blob: sendfile and the connection's calls alone");
is(copied(@calls), '', 'open blob: not read');

# past the page cache

@calls = traced('GET', "direct/a/blobs/$layer->{digest}", 'directio');

my $direct = 0;
$direct += $_->{result} for grep { $_->{name} =~ /^pread/
	&& $_->{arguments} =~ /<\Q$data\E>/ } @calls;

is(scalar(grep { $_->{name} eq 'fcntl'
	&& $_->{arguments} =~ /<\Q$data\E>, F_SETFL, .*O_DIRECT/ } @calls) > 0, 1,
	'directio: switched on');
is($direct, length $layer->{content}, 'directio: all of it by reading');
is(sent(@calls), 0, 'directio: nothing by sendfile');

# and where nothing is remembered the link is looked at

$uri = "checked/a/blobs/$layer->{digest}";

http_get("/v2/$uri");

@calls = traced('GET', $uri, 'blob looked up');

is(join(' ', map { m!/v2/(.*?)"! } grep { /_layers/ }
	map { $_->{arguments} } @calls),
	"repositories/checked/a/_layers/" . $layer->{digest} =~ s!:!/!r
	. '/link', 'blob looked up: one link');

undef $t;

###############################################################################

sub traced {
	my ($method, $uri, $case) = @_;

	# threads wait for work; the debug log of tests takes two calls; and
	# valgrind has its own

	return grep { ($_->{name} ne 'futex' || $_->{thread} == $pid)
		&& $_->{name} ne 'gettid'
		&& $_->{arguments} !~ /MAP_ANONYMOUS/
		&& $_->{arguments} !~ m!^\d+<[^>]*/error\.log>!
		&& !($ENV{TEST_NGINX_VALGRIND} && valgrind($_)) }
		trace($t, $pid, 'trace=all', sub {
			like(http("$method /v2/$uri HTTP/1.0\n\n"),
				qr!^HTTP/1.1 200 !, "$case: answered");
		});
}

sub valgrind {
	my ($call) = @_;

	return $call->{name} =~ /^(?:clock_gettime|gettimeofday|rt_sig\w+)$/
		|| $call->{arguments} =~ /^\d+<pipe:/;
}

# how many bytes of the blob went straight to the socket

sub sent {
	my $bytes = 0;

	for (grep { $_->{name} eq 'sendfile' } @_) {
		$bytes += $_->{result}
			if $_->{arguments} =~ /^\d+<[^>]*>, \d+<\Q$data\E>/
			&& $_->{result} =~ /^\d+$/;
	}

	return $bytes;
}

sub copied {
	return join ' ', map { $_->{name} } grep { $_->{name} =~ /read|mmap/
		&& $_->{arguments} =~ /<\Q$data\E>/ } @_;
}

###############################################################################
