#!/usr/bin/perl

# What is answered 201 is on the disk: for every file that a push publishes,
# fsync of the file, rename, fsync of its directory, in the order of blob, link,
# manifest, tag; and what is deleted is off the disk before 202.  In a cache
# nothing but bytes that nobody reads again to see is synced.  A kill cannot show
# a missing fsync, so the calls of a worker are read.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use File::Basename qw/ dirname /;

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Origin;
use Clients;
use Images;
use Strace;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http/)->has_daemon('strace')->plan(74);
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

    registry_store local { path %%TESTDIR%%/registry; }
    registry_cache edge { path %%TESTDIR%%/cache;  max_size 100g; }

    registry_remote docker.io { url http://127.0.0.1:8081;  cache edge; }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        add_header   X-Pid $pid;

        location /v2/ {
            registry local;
            registry_push on;
            registry_delete on;
        }

        location /v2/threads/ {
            registry local;
            registry_push on;
            aio threads;
        }

        location /v2/docker.io/ {
            registry_proxy docker.io;
        }
    }
}

EOC

###############################################################################

my $registry = Images->new(port(8080));
my $pid = worker('/v2/');
my ($calls, $answer);

# blobs, into directories that are there and that are not, and however the
# bytes are written

for my $name (qw! new/repository new/repository threads/a !) {
	my $blob = Images::blob(rand() x 10_000);
	my $case = "PUT to $name";

	my $location = $registry->request('POST', "/v2/$name/blobs/uploads/", '')
		->{headers}{location};

	traced(201, $case, sub {
		$registry->request('PUT', "$location?digest=$blob->{digest}",
			$blob->{content});
	});

	published($case, qr!/_uploads/[^/]+/data$!, data($blob),
		"_layers" => link_of($name, '_layers', $blob));
}

my $blob = Images::blob(rand() x 10_000);

traced(201, 'POST with a digest', sub {
	$registry->request('POST', "/v2/a/blobs/uploads/?digest=$blob->{digest}",
		$blob->{content});
});
published('POST with a digest', qr!/_uploads/[^/]+/data$!, data($blob),
	'_layers' => link_of('a', '_layers', $blob));

my $location = $registry->request('POST', '/v2/a/blobs/uploads/', '')
	->{headers}{location};
my $long = Images::blob(rand() x 10_000, undef, 'sha512');

$registry->request('PATCH', $location, $long->{content});

traced(201, 'PUT without bytes', sub {
	$registry->request('PUT', "$location?digest=$long->{digest}", '');
});
published('PUT without bytes', qr!/_uploads/[^/]+/data$!, data($long),
	'_layers' => link_of('a', '_layers', $long));

# what was never acknowledged is cut off, not by the event loop

$location = $registry->request('POST', '/v2/a/blobs/uploads/', '')
	->{headers}{location};
overwrite("$root/repositories" . $location =~ s!/v2(.*)/blobs/uploads/(.*)!
	"$1/_uploads/$2/data"!er, 'x' x 1000);

traced(202, 'PATCH over what was left', sub {
	$registry->request('PATCH', $location, 'y');
});
my ($cut) = grep { $_->{name} eq 'ftruncate' } @$calls;
ok($cut && $cut->{arguments} =~ /, 0$/ && $cut->{thread} != $pid,
	'PATCH over what was left: cut off in a thread');

my $y = Images::blob('y');
is($registry->request('PUT', "$location?digest=$y->{digest}", '')->{status},
	201, 'PATCH over what was left: it is gone');

# a mount is a link

traced(201, 'mount', sub {
	$registry->request('POST', "/v2/b/blobs/uploads/?mount=$blob->{digest}"
		. '&from=a', '');
});
published('mount', '_layers' => link_of('b', '_layers', $blob));

# manifests: first of a repository, then with all that may come with one

my $image = Images::image([ Images::blob(rand()) ]);
$registry->push_blob('a', $_) for @{$image->{blobs}};

traced(201, 'manifest', sub { push_manifest('tag', $image) });
published('manifest', data($image),
	revision => link_of('a', '_manifests/revisions', $image),
	index => link_of('a', '_manifests/tags/tag/index', $image),
	current => "$root/repositories/a/_manifests/tags/tag/current/link");

my $referrer = plain_referrer($image);

traced(201, 'referrer', sub {
	push_manifest("$referrer->{digest}?tag=one&tag=two", $referrer);
});

my $revision = link_of('a', '_manifests/revisions', $referrer);

published('referrer', data($referrer),
	media_type => $revision =~ s/link$/media_type/r,
	revision => $revision,
	referrer => link_of('a', '_referrers', $image) =~ s!/link$!/!r
		. $referrer->{digest} =~ s/:/-/r,
	map { ("index of $_" => link_of('a', "_manifests/tags/$_/index",
			$referrer),
		"current of $_" =>
			"$root/repositories/a/_manifests/tags/$_/current/link")
	} qw/ one two /);

# a tag that moves

traced(201, 'moved tag', sub { push_manifest('tag', $referrer) });
published('moved tag',
	current => "$root/repositories/a/_manifests/tags/tag/current/link");

# what goes

traced(202, 'tag deleted', sub {
	$registry->request('DELETE', '/v2/a/manifests/one');
});
removed('tag deleted', "$root/repositories/a/_manifests/tags/one");

traced(202, 'manifest deleted', sub {
	$registry->request('DELETE', "/v2/a/manifests/$referrer->{digest}");
});
removed('manifest deleted', "$root/repositories/a/_manifests/tags/two",
	"$root/repositories/a/_manifests/tags/tag", $revision);

traced(202, 'blob deleted', sub {
	$registry->request('DELETE', "/v2/a/blobs/$blob->{digest}");
});
removed('blob deleted', link_of('a', '_layers', $blob));

# What is kept of a remote, after its answer.  Where the type is not in the
# bytes, there is no link without it.

my $hub = Test::Nginx::Origin->new($t, port => 8081);

$image = $hub->image('library/a', 'tag', [ 'layer' ]);

my ($layer) = @{$image->{layers}};
my $plain = $hub->manifest('library/a', 'plain', plain_referrer($image));

$root = $t->testdir() . '/cache/docker/registry/v2';

cached('cached manifest', 'manifests/tag', '_manifests/tags/tag/current/link');
is_deeply(synced(), [ (data($image))[1] ],
	'cached manifest: nothing but its bytes is synced');
is((whole((data($image))[1]))[0], '', 'cached manifest: published');

cached('cached blob', "blobs/$layer->{digest}",
	'_layers/' . $layer->{digest} =~ s!:!/!r . '/link');
is_deeply(synced(), [ (data($layer))[1] ],
	'cached blob: nothing but its bytes is synced');
is((whole((data($layer))[1]))[0], '', 'cached blob: published');

cached('cached type', 'manifests/plain',
	'_manifests/tags/plain/current/link');

$revision = link_of('docker.io/library/a', '_manifests/revisions', $plain);
my $type = $revision =~ s/link$/media_type/r;

is_deeply(synced(), [ (data($plain))[1], $type, dirname($type) ],
	'cached type: synced with its name');

my ($wrong, $begin, $end) = publish($type);
is($wrong, '', 'cached type: published');

my ($link) = renames($revision);
ok($link && $link->{begin} > $end, 'cached type: before the link');

# what a power failure may leave of a link, or a bad disk of a manifest, is as
# good as not there

my %left = (empty => '', half => substr($image->{digest}, 0, 40),
	zeros => "\0" x length $image->{digest});

for my $tag (sort keys %left) {
	$hub->manifest('library/a', $tag, $image);
	cached($tag, "manifests/$tag", "_manifests/tags/$tag/current/link");
}

$t->stop();

my $name = 'repositories/docker.io/library/a/_manifests/tags';
overwrite("$root/$name/$_/current/link", $left{$_}) for keys %left;
overwrite((data($plain))[1], "\0" x length $plain->{content});

$t->run();

for my $case ((map { [ $_, $image ] } sort keys %left), [ 'plain', $plain ]) {
	my ($tag, $manifest) = @$case;

	is($registry->request('GET', "/v2/docker.io/library/a/manifests/$tag")
		->{content}, $manifest->{content}, "left $tag: fetched again");
}

undef $t;

###############################################################################

sub traced {
	my ($status, $name, $code) = @_;

	my @all = trace($t, $pid, 'trace=%file,write,writev,pwrite64,sendto,'
		. 'ftruncate,fsync,fdatasync', sub { is($code->()->{status}, $status,
			"$name: answered $status") });

	($answer) = map { $_->{begin} }
		grep { $_->{arguments} =~ m!"HTTP/1\.1 $status ! } @all;
	$calls = [ grep { defined $_->{end} && $_->{end} < ($answer || 0) } @all ];

	ok($answer, "$name: the answer is in the trace");
}

# pulls something, and keeps the calls until the last link of it is there

sub cached {
	my ($case, $uri, $last) = @_;

	$calls = [ trace($t, $pid, 'trace=%file,write,writev,pwrite64,'
		. 'fsync,fdatasync', sub {
		is($registry->request('GET', "/v2/docker.io/library/a/$uri")
			->{status}, 200, "$case: pulled");

		for (1 .. 500) {
			last if -e "$root/repositories/docker.io/library/a/$last";
			select undef, undef, undef, 0.02;
		}
	}) ];
}

# what was synced, by the names that it got

sub synced {
	my %became = map { paths($_) } renames(qr//);

	return [ map { $became{$_} || $_ } map { /^\d+<(.*)>$/ }
		map { $_->{arguments} } grep { $_->{name} =~ /^f(?:data)?sync$/ }
		@$calls ];
}

# Each file is published whole before the next one is.  A pattern before them
# is the name of a file that becomes the first.

sub published {
	my ($case, @files) = @_;
	my $source = ref $files[0] ? shift @files : qr!/_tmp/\.[0-9a-f-]{36}$!;
	my $last = 0;

	while (my ($name, $path) = splice(@files, 0, 2)) {
		my ($wrong, $begin, $end) = publish($path, $source);

		$wrong ||= 'begun before the file before it was published'
			if ($begin // 0) <= $last;

		is($wrong, '', "$case: $name");

		$last = $end // 0;
		$source = qr!/_tmp/\.[0-9a-f-]{36}$!;
	}
}

sub publish {
	my ($path, $source) = @_;

	my ($wrong, $begin, $end) = whole($path, $source);
	return $wrong if $wrong;

	# its directory, after the rename

	my ($directory) = grep { is_fsync($_, dirname($path))
		&& $_->{begin} > $end } @$calls;
	return 'no fsync of its directory after the rename' if !$directory;

	return ('', $begin, $directory->{end}) if $root =~ m!/cache/!;

	# and the directories that had to be made for it

	for my $made (grep { $_->{name} =~ /^mkdir/ && $_->{result} eq '0' }
		@$calls)
	{
		my ($dir) = paths($made);

		next if index($path, "$dir/") != 0;

		return "no fsync of the directory of $dir" if !grep {
			is_fsync($_, dirname($dir))
			&& $_->{begin} > $made->{end} } @$calls;
	}

	return ('', $begin, $directory->{end});
}

# the file alone: synced after its last write, before the rename

sub whole {
	my ($path, $source) = @_;

	my ($rename) = renames($path);
	return 'no rename to it' if !$rename;

	my ($from) = paths($rename);
	return "made of $from" if $from !~ ($source // qr!/_tmp/!);

	my ($sync) = grep { is_fsync($_, $from)
		&& $_->{end} < $rename->{begin} } @$calls;
	return "no fsync of $from before the rename" if !$sync;

	return "written after its fsync" if grep { $_->{name} =~ /write/
		&& $_->{arguments} =~ /^\d+<\Q$from\E>/
		&& $_->{end} > $sync->{begin} } @$calls;

	return ('', $rename->{begin}, $rename->{end});
}

# to this path, or all of them

sub renames {
	my ($path) = @_;

	return grep { $_->{name} =~ /^rename/ && $_->{result} eq '0'
		&& (ref $path || (paths($_))[1] eq $path) } @$calls;
}

# Each path is renamed away or unlinked, one after the other, and then its
# directory is synced.

sub removed {
	my ($case, @paths) = @_;

	for my $path (@paths) {
		my $name = $path =~ s/^\Q$root\E\///r;

		my ($gone) = grep { $_->{name} =~ /^(?:rename|unlink)/
			&& $_->{result} eq '0' && (paths($_))[0] eq $path }
			@$calls;

		ok($gone && grep({ is_fsync($_, dirname($path))
			&& $_->{begin} > $gone->{end} } @$calls),
			"$case: $name is gone for good");
	}
}

sub is_fsync {
	my ($call, $path) = @_;

	return $call->{name} =~ /^f(?:data)?sync$/ && $call->{result} eq '0'
		&& $call->{arguments} =~ /^\d+<\Q$path\E>$/;
}

sub paths {
	my ($call) = @_;
	return $call->{arguments} =~ /"([^"]*)"/g;
}

###############################################################################

sub data {
	my ($blob) = @_;
	my ($algorithm, $hex) = split /:/, $blob->{digest};

	return (data => "$root/blobs/$algorithm/" . substr($hex, 0, 2)
		. "/$hex/data");
}

sub link_of {
	my ($name, $below, $blob) = @_;

	return "$root/repositories/$name/$below/"
		. $blob->{digest} =~ s!:!/!r . '/link';
}

sub overwrite {
	my ($path, $bytes) = @_;

	open(my $fh, '>:raw', $path) or die "$path: $!\n";
	print $fh $bytes;
	close $fh;
}

sub push_manifest {
	my ($reference, $manifest) = @_;

	return $registry->request('PUT', "/v2/a/manifests/$reference",
		$manifest->{content}, 'Content-Type' => $manifest->{type});
}

# a manifest of a type that only its Content-Type tells

sub plain_referrer {
	my ($subject) = @_;
	my $type = 'application/vnd.example.referrer+json';

	return Images::blob({ schemaVersion => 2, artifactType => $type,
		config => Images::descriptor($image->{blobs}[0]),
		layers => [], subject => Images::descriptor($subject) }, $type);
}

###############################################################################
