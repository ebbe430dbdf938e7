#!/usr/bin/perl

# One directory served by docker-registry and by us: what one writes the other
# serves, also when both write at once, and its garbage collector leaves every
# tag whole.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::DockerRegistry;
use Clients;
use Images;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

need(qw/ docker-registry /);

my $t = Test::Nginx->new()->has(qw/http/)->plan(70);
my $dir = $t->testdir();

$t->write_file_expand('nginx.conf', <<'EOF')->run();

%%TEST_GLOBALS%%

daemon off;
user root;
worker_processes 2;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    registry_store local { path %%TESTDIR%%/registry; }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /v2/ {
            registry local;
            registry_push on;
            registry_delete on;
            registry_catalog on;
        }
    }
}

EOF

my $registry = Test::Nginx::DockerRegistry->new($t, port => 8081,
	root => "$dir/registry");

###############################################################################

my $ours = Images->new(port(8080));
my $theirs = Images->new($registry->port());

my @layers = map { Images::blob(random_bytes($_)) } 10, 100_000, 2_000_000;

# each writes, the other serves

for my $case (['theirs', $theirs, $ours], ['ours', $ours, $theirs]) {
	my ($who, $writer, $reader) = @$case;
	my ($one, $two) = map { Images::image(\@layers) } 1, 2;
	my $index = Images::image_index($one, $two);

	whole("$who: image written",
		$writer->push_image("$who/a", 'one', $one, 'patch'));
	whole("$who: second image written",
		$writer->push_image("$who/a", undef, $two));
	whole("$who: index written",
		$writer->push_manifest("$who/a", 'index', $index));

	whole("$who: image served by the other",
		$reader->check("$who/a", 'one', $one->{digest}));
	whole("$who: index served by the other",
		$reader->check("$who/a", 'index', $index->{digest}));
	is(join(' ', $reader->tags("$who/a")), 'index one',
		"$who: tags listed by the other");

	# a layer of another repository

	my $r = $reader->request('POST', "/v2/$who/b/blobs/uploads/"
		. "?mount=$layers[2]{digest}&from=$who/a", '');
	is($r->{status}, 201, "$who: layer mounted by the other");
	whole("$who: mounted layer served",
		$writer->check_blob("$who/b", $layers[2]{digest}, 2_000_000));
	whole("$who: image of mounted layers",
		$reader->push_image("$who/b", 'one', $one));

	# a tag moved by one, which the other had seen

	whole("$who: tag moved by the other",
		$reader->push_manifest("$who/a", 'one', $two));
	ok(wait_for(sub { !$writer->check("$who/a", 'one', $two->{digest}) }, 3),
		"$who: moved tag seen");
	whole("$who: tag moved back",
		$writer->push_manifest("$who/a", 'one', $one));
	ok(wait_for(sub { !$reader->check("$who/a", 'one', $one->{digest}) }, 3),
		"$who: tag moved back seen by the other");

	# a manifest deleted by one

	$writer->push_image("$who/a", 'gone', my $gone = Images::image([]));
	$reader->check("$who/a", 'gone');
	$r = $writer->request('DELETE', "/v2/$who/a/manifests/$gone->{digest}");
	is($r->{status}, 202, "$who: manifest deleted");
	ok(wait_for(sub { 2 == grep { /: 404$/ }
			map { $reader->check("$who/a", $_) }
			'gone', $gone->{digest} }, 3),
		"$who: deleted manifest gone from the other");
}

is($ours->request('GET', '/v2/_catalog')->{content} =~ s/\s//gr,
	$theirs->request('GET', '/v2/_catalog')->{content} =~ s/\s//gr,
	'same catalogues');

# Both at once: one repository, a shared layer, tags of their own, and one tag
# that all of them move and one of them reads.  What docker-registry refuses is
# tried again: it writes a link in place, and reads its own half-written ones.

my $shared = Images::blob(random_bytes(500_000));
my @pushers;

for my $n (1 .. 4) {
	my $pid = fork();
	die "Can't fork: $!\n" unless defined $pid;

	if ($pid == 0) {
		my $registry = $n % 2 ? $ours : $theirs;
		my @wrong;

		srand($n);

		for my $i (1 .. 12) {
			my $image = Images::image([ $shared,
				Images::blob(random_bytes(50_000)) ]);

			for (1 .. ($n % 2 ? 1 : 5)) {
				@wrong = grep { $_ }
					$registry->push_image('both', "tag-$n-$i",
						$image, $i % 2 ? 'patch' : 'put'),
					$registry->push_manifest('both', 'latest',
						$image);
				last if !@wrong;
			}

			last if @wrong;
			next if $i == 1;

			@wrong = $ours->check('both', 'latest');
			last if @wrong;
		}

		diag("pusher $n: $_") for @wrong;
		POSIX::_exit(@wrong ? 1 : 0);
	}

	push @pushers, $pid;
}

is(join(' ', map { waitpid($_, 0); $? } @pushers), '0 0 0 0',
	'both at once: all pushed');
is(scalar(my @tags = $ours->tags('both')), 4 * 12 + 1, 'both at once: all tags');
whole('both at once: all served by us', $ours->check_all('both'));
whole('both at once: all served by them', $theirs->check_all('both'));

# Its garbage collector, on what it knows and what it does not: images that no
# tag names any more, referrers, sha512, unfinished uploads.

my $image = Images::image(\@layers);
my $old = Images::image([ Images::blob(random_bytes(1000)) ]);
my $referrer = Images::image([], subject => $image);
my $long = Images::image([ Images::blob(random_bytes(1000), undef, 'sha512') ],
	algorithm => 'sha512');

$ours->push_image('gc', 'tag', $old);
$ours->push_image('gc', 'tag', $image);
$ours->push_image('gc', undef, $referrer);
$ours->push_blob('gc', my $unused = Images::blob(random_bytes(1000)), 'patch');
$ours->request('POST', '/v2/gc/blobs/uploads/', '');

whole('sha512 pushed', $ours->push_image('gc512', 'long', $long));
is(referrers(), $referrer->{digest}, 'referrer listed');

for my $options ([], ['-m']) {
	my $name = "garbage-collect @$options";

	runs(['docker-registry', 'garbage-collect', @$options,
		$registry->config()], $name);

	# what was in our memory may be trusted for a second

	sleep 2;

	for my $repository (qw! theirs/a ours/a both gc gc512 !) {
		my @tags = grep { $_ ne 'index' } $ours->tags($repository);

		whole("$name: $repository served by us",
			map { $ours->check($repository, $_) } @tags);
		whole("$name: $repository served by them",
			map { $theirs->check($repository, $_) } @tags);
	}

	# with -m it takes an index for all that a tag needs, and removes the
	# images of the index that have no tag of their own

	for my $repository (qw! theirs/a ours/a !) {
		my @wrong = $theirs->check($repository, 'index');

		note("$name: $repository:index: ", @wrong ? @wrong : 'whole');
		whole("$name: $repository:index served by us",
			$ours->check($repository, 'index')) unless @$options;
	}

	is($ours->request('HEAD', "/v2/gc/blobs/$unused->{digest}")->{status},
		404, "$name: unused blob gone");
	is(referrers(), @$options ? '' : $referrer->{digest},
		"$name: referrers");
	is($ours->request('GET', "/v2/gc/manifests/$old->{digest}")->{status},
		@$options ? 404 : 200, "$name: image without a tag");
}

# what was collected can be pushed again

whole('pushed again', $ours->push_image('gc', 'old', $old));
whole('pushed again, served by us', $ours->check('gc', 'old'));
whole('pushed again, served by them', $theirs->check('gc', 'old'));

###############################################################################

sub whole {
	my ($name, @wrong) = @_;
	is(join("\n", grep { defined } @wrong), '', $name);
}

sub random_bytes {
	my ($n) = @_;
	open(my $fh, '<:raw', '/dev/urandom') or die;
	read($fh, my $bytes, $n) == $n or die;
	return $bytes;
}

sub referrers {
	my $r = $ours->request('GET', "/v2/gc/referrers/$image->{digest}");
	return join ' ', map { $_->{digest} }
		@{JSON::PP::decode_json($r->{content})->{manifests}};
}

###############################################################################
