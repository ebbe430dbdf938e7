#!/usr/bin/perl

# A store on a file system where any call may take a network's time, which is
# one by FUSE here: the event loop makes none of them.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use File::Path qw/ make_path /;

use lib 'lib';
use Clients;
use Images;
use Strace;
use Test::Nginx;
use Test::Nginx::Origin;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

need(qw/ fuse-overlayfs umount strace /);

my $t = Test::Nginx->new()->has(qw/http/);
my $d = $t->testdir();
my $mounted;

END { system('umount', '-l', "$d/far") if $mounted; }

make_path(map { "$d/$_" } qw/ far lower upper work /);
system("fuse-overlayfs -o lowerdir=$d/lower,upperdir=$d/upper,workdir=$d/work"
	. " $d/far 2>$d/fuse.err") == 0
	or plan(skip_all => 'no FUSE can be mounted');
$mounted = 1;

$t->plan(26);

# of one store the blobs alone are there

make_path("$d/far/blobs", "$d/part/docker/registry/v2");
symlink "$d/far/blobs", "$d/part/docker/registry/v2/blobs" or die;

$t->write_file_expand('nginx.conf', <<'EOC')->run();

%%TEST_GLOBALS%%

daemon off;
user root;
worker_processes 1;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    registry_store whole { path %%TESTDIR%%/far/whole;  tag_valid 0; }
    registry_store part  { path %%TESTDIR%%/part;       tag_valid 0; }
    registry_cache edge  { path %%TESTDIR%%/far/edge;   max_size 1g; }

    registry_remote docker.io { url http://127.0.0.1:8081;  cache edge; }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        add_header   X-Pid $pid always;

        registry_push on;
        registry_delete on;

        location /v2/ {
            registry whole;
            open_file_cache max=100;
        }

        location /v2/part/ {
            registry part;
        }

        location /v2/docker.io/ {
            registry_proxy docker.io;
        }

        location /purge/ {
            registry_purge;
        }
    }
}

EOC

###############################################################################

my $registry = Images->new(port(8080));
my $pid = worker('/v2/');

my $image = Images::image([ Images::blob('a layer ' x 10_000) ]);
my ($layer) = $image->{blobs}[1];
my ($r, $location);

for my $name ('a', 'part/a') {
	in_threads("$name: push", sub {
		is($registry->push_image($name, 'tag', $image, 'patch'), undef,
			"$name: pushed");
	});

	in_threads("$name: pull", sub {
		is(join("\n", $registry->check($name, 'tag')), '',
			"$name: pulled");
	});

	# an upload goes on where it stood

	$location = $registry->request('POST', "/v2/$name/blobs/uploads/", '')
		->{headers}{location};
	$registry->request('PATCH', $location, 'some ');

	in_threads("$name: upload", sub {
		is($registry->request('GET', $location)->{headers}{range},
			'0-4', "$name: where an upload stands");
		my $blob = Images::blob('some bytes');
		is($registry->request('PUT', "$location?digest=$blob->{digest}",
			'bytes')->{status}, 201, "$name: upload ended");
	});

	in_threads("$name: deletion", sub {
		is($registry->request('DELETE',
			"/v2/$name/manifests/$image->{digest}")->{status}, 202,
			"$name: deleted");
	});
}

# what is no file is not there

my $data = "$d/far/whole/docker/registry/v2/blobs/" . $layer->{digest}
	=~ s!^(\w+):(..)(.*)!$1/$2/$2$3/data!r;

unlink $data or die;
mkdir $data or die;
is($registry->request('GET', "/v2/a/blobs/$layer->{digest}")->{status}, 404,
	'a directory in the place of a blob');

# a cache

my $hub = Test::Nginx::Origin->new($t, port => 8081);

$image = $hub->image('library/a', 'tag', [ 'a layer ' x 10_000 ]);
my $digest = $image->{layers}[0]{digest};
my $link = "$d/far/edge/docker/registry/v2/repositories/docker.io/library/a/"
	. '_layers/' . $digest =~ tr!:!/!r . '/link';

for my $case ('fetched', 'again') {
	in_threads("cache: $case", sub {
		is(join("\n", $registry->check('docker.io/library/a', 'tag')),
			'', "cache: $case");

		for (1 .. 500) {
			last if -e $link;
			select undef, undef, undef, 0.02;
		}
	});
}

is($hub->requests(qr/^GET .*blobs/), 2, 'cache: asked for each once');

in_threads('cache: purge', sub {
	$r = $registry->request('DELETE', '/purge/docker.io/library/a');
	is($r->{status}, 200, 'cache: purged');
});

$t->stop();
system('umount', "$d/far") == 0 and $mounted = 0;

undef $t;

###############################################################################

# what is done with files there is not done by the event loop, but to write and
# to send

sub in_threads {
	my ($case, $code) = @_;

	my @calls = grep { $_->{thread} == $pid
		&& $_->{arguments} =~ m!["<]\Q$d\E/(?:far|part)/! }
		trace($t, $pid, 'trace=%file,flock,ftruncate,fsync,pwrite64',
			$code);

	is_deeply([ map { "$_->{name}($_->{arguments})" } @calls ], [],
		"$case: in threads");
}

###############################################################################
