#!/usr/bin/perl

# kill -9 of a worker, or of everything, at random moments of a running push
# load.  Afterwards every push that was answered 201 is there, byte for byte,
# no tag names something missing, uploads went on where they stood or were
# refused, and what was left lying about is removed in time.
#
# KILLS=200 makes it that many kills.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Clients;
use Images;

use File::Find;
use Time::HiRes qw/ sleep /;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $kills = $ENV{KILLS} || 20;
my $pushers = 4;

my $t = Test::Nginx->new()->has(qw/http/)->plan(10)->todo_alerts();
my $dir = $t->testdir();

$t->write_file_expand('nginx.conf', <<'EOF')->run();

%%TEST_GLOBALS%%

error_log %%TESTDIR%%/error.log notice;

daemon off;
user root;
worker_processes 2;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    access_log off;

    registry_store local { path %%TESTDIR%%/registry; }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /v2/ {
            registry local;
            registry_push on;
        }
    }
}

EOF

###############################################################################

my $seed = $ENV{SEED} || time();
note("SEED=$seed");
srand($seed);

my @pids = map { my $n = $_; spawn(sub { pusher($n) }) } 1 .. $pushers;
my %killed = (worker => 0, everything => 0);

# a slow machine gets more of them, until enough was pushed to look at

for (my $n = 0; $n < $kills || !enough() && $n < 10 * $kills; $n++) {
	sleep(0.05 + rand(0.5));

	my $what = rand() < 0.6 ? 'worker' : 'everything';
	my ($master) = slurp("$dir/nginx.pid") =~ /(\d+)/;
	my %children = children($master);
	my @workers = grep { $children{$_} !~ /cache manager/ } keys %children;

	$killed{$what}++;

	if ($what eq 'worker') {
		kill 'KILL', $workers[rand @workers] if @workers;
		next;
	}

	kill 'KILL', $master, keys %children;
	waitpid($master, 0);
	unlink "$dir/nginx.pid";

	$t->run();
}

sleep(1);
$t->write_file('stop', '');

is(join(' ', map { waitpid($_, 0); $? } @pids), join(' ', (0) x $pushers),
	"load after $killed{worker} kills of a worker "
	. "and $killed{everything} of everything");

###############################################################################

my $registry = Images->new(port(8080));

my (%count, @wrong, %blobs, %manifests, %tags);

for my $line (map { split /\n/, slurp("$dir/journal.$_") } 1 .. $pushers) {
	my ($what, @rest) = split / /, $line;
	$count{$what}++;

	if ($what eq 'wrong') {
		push @wrong, "@rest";

	} elsif ($what eq 'blob') {
		$blobs{"@rest"} = 1;

	} elsif ($what eq 'tag') {
		my ($name, $tag, $digest) = @rest;
		$manifests{"$name $digest"} = 1;
		$tags{"$name $tag"} = $digest;
	}
}

note("$count{blob} blobs, $count{tag} manifests answered 201");
note("broken off: ", join ', ', map { ($count{$_} || 0) . " $_" }
	qw/ continued refused finished /);

is(join("\n", @wrong), '', 'no wrong answers under load');
cmp_ok($count{tag} || 0, '>', $kills, 'something was pushed');
cmp_ok($count{continued} || 0, '>', 0, 'uploads went on where they stood');

whole('all blobs that were answered 201',
	map { $registry->check_blob(split / /) } sort keys %blobs);
whole('all manifests that were answered 201',
	map { manifest(split / /) } sort keys %manifests);
whole('all tags that were answered 201',
	map { tag((split / /), $tags{$_}) } sort keys %tags);
whole('all tags there are', map { my $name = $_;
	map { tag($name, $_) } $registry->tags($name) } qw! load/a load/b !);

# At most what each pusher was at may be left at each kill, and is removed when
# it is old.

my @left = left();

cmp_ok(scalar(@left), '<=', $pushers * $kills, 'files left are few');
note(scalar(@left) . ' files and sessions left');

$t->stop();

for my $file (@left) {
	my $past = time() - 30 * 24 * 3600;
	utime($past, $past, grep { -e } $file, "$file/data");
}

$t->run();

ok(wait_for(sub { !left() }), 'files left are removed')
	or diag(join("\n", left()));

###############################################################################

sub whole {
	my ($name, @problems) = @_;
	is(join("\n", grep { defined } @problems), '', "$name are whole");
}

# every blob was looked at already, or is so now; not once for every tag

sub manifest {
	my ($name, $digest) = @_;

	my $r = $registry->request('GET', "/v2/$name/manifests/$digest");
	return "$name: manifest $digest: $r->{status}" if $r->{status} != 200;
	return "$name: manifest $digest: not its bytes"
		if !Images::is_digest_of($digest, $r->{content});

	my $manifest = JSON::PP::decode_json($r->{content});

	return map { $blobs{"$name $_->{digest} $_->{size}"}++ ? ()
		: $registry->check_blob($name, $_->{digest}, $_->{size}) }
		$manifest->{config}, @{$manifest->{layers}};
}

sub tag {
	my ($name, $tag, $digest) = @_;

	my $r = $registry->request('HEAD', "/v2/$name/manifests/$tag");
	return "$name:$tag: $r->{status}" if $r->{status} != 200;

	my $told = $r->{headers}{'docker-content-digest'};

	return "$name:$tag: $told, not $digest" if $digest && $told ne $digest;
	return $manifests{"$name $told"}++ ? () : manifest($name, $told);
}

# temporary files and unfinished uploads, and files that have no place here

sub left {
	my @found;
	my $name = qr/[a-z0-9]+/;
	my $digest = qr/sha256\/[0-9a-f]{64}/;

	find({ no_chdir => 1, wanted => sub {
		if (m!/_uploads/[^/]+$! || m!/_tmp/[^/]+$!) {
			push @found, $_;
			$File::Find::prune = 1;

		} elsif (-f $_ && !m!^$dir/registry/docker/registry/v2/(?:
			blobs/sha256/[0-9a-f]{2}/[0-9a-f]{64}/data
			|repositories/load/[ab]/(?:
				_layers/$digest/link
				|_manifests/lock
				|_manifests/revisions/$digest/(?:link|media_type)
				|_manifests/tags/[^/]+/current/link
				|_manifests/tags/[^/]+/index/$digest/link))$!x)
		{
			push @found, $_;
		}
	} }, "$dir/registry");

	return @found;
}

# pids and command lines

sub children {
	my ($pid) = @_;
	my %children;

	for my $proc (glob('/proc/[0-9]*')) {
		my ($child, $parent) = slurp("$proc/stat")
			=~ /^(\d+) \(.*\) \S (\d+)/s or next;
		$children{$child} = slurp("$proc/cmdline") if $parent == $pid;
	}

	return %children;
}

sub spawn {
	my ($code) = @_;

	my $pid = fork();
	die "Can't fork: $!\n" unless defined $pid;

	if ($pid == 0) {
		$code->();
		POSIX::_exit(0);
	}

	return $pid;
}

###############################################################################

sub enough {
	my $journal = join('', map { slurp($_) } glob("$dir/journal.*"));

	return (() = $journal =~ /^tag /mg) > $kills
		&& $journal =~ /^continued/m;
}

# A pusher keeps a journal of what was answered 201, and of its first words:
# "wrong", an answer there should never be; "continued", an upload that went on
# after it was broken off; "refused", one that did not; "finished", one that
# was done already.

my ($journal, $random);

sub pusher {
	my ($n) = @_;
	my $r = Images->new(port(8080));
	my $last;

	srand($seed + $n);

	open($journal, '>>', "$dir/journal.$n") or die;
	open($random, '<:raw', '/dev/urandom') or die;

	for (my $i = 1; !-e "$dir/stop"; $i++) {
		my $name = rand() < 0.5 ? 'load/a' : 'load/b';
		my @layers = map { layer() } 0 .. rand(3);
		my $image = Images::image(\@layers);

		for my $blob (@{$image->{blobs}}) {
			push_blob($r, $name, $blob);
			told('blob', $name, $blob->{digest},
				length($blob->{content}));
		}

		for my $tag ("tag-$n-$i", "latest-$n") {
			my $a;

			do {
				$a = $r->request('PUT', "/v2/$name/manifests/$tag",
					$image->{content}, 'Content-Type' => $image->{type});
			} while (nobody($a));

			$a->{status} == 201
				? told('tag', $name, $tag, $image->{digest})
				: told('wrong', "PUT of $name:$tag: $a->{status}");
		}
	}
}

sub layer {
	my $size = int(1000 * 2 ** rand(11));
	read($random, my $bytes, $size) == $size or die;
	return Images::blob($bytes);
}

sub told {
	syswrite($journal, "@_\n");
}

# no answer: nginx is gone, or the worker

sub nobody {
	my ($answer) = @_;

	return 0 if $answer->{status} != 599;
	sleep(0.02);
	return 1;
}

# until it is answered 201

sub push_blob {
	my ($r, $name, $blob) = @_;

	while (1) {
		my $uri = "/v2/$name/blobs/uploads/";
		my $whole = rand() < 0.2;

		my $a = $r->request('POST',
			$whole ? "$uri?digest=$blob->{digest}" : $uri,
			$whole ? $blob->{content} : '');

		next if nobody($a);
		return if $whole && $a->{status} == 201;

		if ($whole || $a->{status} != 202) {
			told('wrong', "POST: $a->{status}");
			return;
		}

		my $status = upload($r, $a->{headers}{location}, $blob,
			rand() < 0.3 ? 1e9 : 30_000);

		return if $status == 201;

		if ($status != 404) {
			told('wrong', "upload: $status");
			return;
		}

		# a PUT may have been done, though nobody said so

		do {
			$a = $r->request('HEAD', "/v2/$name/blobs/$blob->{digest}");
		} while (nobody($a));

		told($a->{status} == 200 ? 'finished' : 'refused');
	}
}

# sends the blob to a session; after a break from where the session says that
# it stands

sub upload {
	my ($r, $session, $blob, $chunk) = @_;
	my $size = length $blob->{content};
	my $pos = 0;
	my $broken = 0;

	while (1) {
		my $a;

		if ($broken) {
			$a = $r->request('GET', $session);
			next if nobody($a);
			return $a->{status} if $a->{status} != 204;

			my ($end) = ($a->{headers}{range} || '') =~ /^0-(\d+)$/;
			return "no Range" if !defined $end;

			# 0-0 is an empty one

			$pos = $end ? $end + 1 : 0;
			$broken = 0;

			return "Range of $end, size is $size" if $pos > $size;
			told('continued') if $pos > 0;
		}

		if ($size - $pos > $chunk) {
			my $end = $pos + $chunk - 1;

			$a = $r->request('PATCH', $session,
				substr($blob->{content}, $pos, $chunk),
				'Content-Range' => "$pos-$end");

			if (nobody($a)) {
				$broken = 1;
				next;
			}

			return $a->{status} if $a->{status} != 202;

			$session = $a->{headers}{location};
			$pos = $end + 1;
			next;
		}

		$a = $r->request('PUT', $session
			. ($session =~ /\?/ ? '&' : '?') . "digest=$blob->{digest}",
			substr($blob->{content}, $pos));

		if (nobody($a)) {
			$broken = 1;
			next;
		}

		return $a->{status};
	}
}

###############################################################################
