#!/usr/bin/perl

# Manifests of remotes in memcached: two nodes that share what one of them has
# found out, and do without it when it is dead, hangs, or holds garbage.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Digest::SHA qw//;
use Images;
use IO::Select;
use IO::Socket::INET;
use Test::Nginx;
use Test::Nginx::Origin;
use Test::Nginx::Process;
use Test::Nginx::Registry;
use Test::Nginx::Secrets;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $conf = <<'EOF';

%%TEST_GLOBALS%%

daemon off;
user root;
worker_processes 2;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    add_header X-How "$registry_cache" always;

    registry_memcached 127.0.0.1:8091 127.0.0.1:8092 KEY
                       timeout=TIMEOUTms fail_timeout=1s;

    registry_cache edge { path %%TESTDIR%%/cache;  max_size 1g; }

    registry_remote docker.io {
        url    http://127.0.0.1:8082;
        cache  edge;
        valid  1h;
    }

    server {
        listen       127.0.0.1:OWN;
        registry_namespace docker.io;

        location /v2/ {
            registry_proxy all;
            registry_push proxy;
        }

        location /purge/ {
            registry_purge docker.io;
        }
    }
}

EOF

my $one = Test::Nginx->new()->has(qw/http/)->has_daemon('memcached');
my @nodes = ($one, Test::Nginx->new(), Test::Nginx->new());

# of the last one the secret is another

secret('the secret of all', 'another secret!!');

$nodes[$_]->write_file('secret', $_ == 2 ? 'another secret!!' : 'the secret '
	. "of all\n") for 0 .. 2;
$nodes[$_]->write_file_expand('nginx.conf', node($_)) for 0 .. 2;

my $hub = Test::Nginx::Origin->new($one, port => 8082);
my @images;
my @mc = map { memcached($_) } 8091, 8092;
until_true(10, sub { grep({ talk($_, "version\r\n") } @mc) == 2 });

$_->run() for reverse @nodes;
$one->plan(90);

###############################################################################

my $image = $hub->image('library/alpine', 'latest', [ 'layer' ]);
my $path = '/v2/library/alpine/manifests/latest';
my $exact = "/v2/library/alpine/manifests/$image->{digest}";

is(pull(0, $path), "MISS $image->{content}", 'first node');

# the values are on their way when the client has its answer

until_true(10, sub {
	items() == 2
		&& kept(0, 'library/alpine/_manifests/tags/latest/current/link')
});
is(items(), 2, 'a manifest and a tag are kept');

$hub->forget();

my $r = request(GET => $path, port => port(8086));
is($r->header('X-How') . " " . $r->body, "HIT $image->{content}",
	'second node, by tag');
is($r->header('Content-Type') . $r->header('Docker-Content-Digest'),
	$image->{type} . $image->{digest}, 'second node, headers');
is(pull(1, $exact), "HIT $image->{content}", 'second node, by digest');
is($hub->requests(), 0, 'the remote was not asked');

# a tag of nodes with another secret is not believed; bytes have a digest

is(pull(2, $exact), "HIT $image->{content}", 'another secret, by digest');
is($hub->requests(), 0, 'another secret, by digest, not asked');
like(pull(2, $path), qr/^(?:REVALIDATED|MISS) \Q$image->{content}\E$/,
	'another secret, by tag');
cmp_ok($hub->requests(), '>', 0, 'another secret, by tag, asked');

# what is pushed through one node is seen by the other workers and nodes

my $second = Images::image([ Images::blob('second') ]);
push_blob('library/new', $_->{content}) for @{$second->{blobs}};

for my $manifest ($image, $second) {
	push_blob('library/new', $_->{content}) for @{$manifest->{blobs}};
	is(request(PUT => '/v2/library/new/manifests/1',
		body => $manifest->{content},
		headers => { 'Content-Type' => $manifest->{type} })->status, 201,
		'pushed');
	like(pull(0, '/v2/library/new/manifests/1'),
		qr/ \Q$manifest->{content}\E$/, 'pushed, pulled') for 1 .. 4;
}

# what is purged is asked for again, though memcached has it

my $moved = $hub->image('library/alpine', 'latest', [ 'moved' ]);
is(pull(0, $path), "HIT $image->{content}", 'before an event');
is(request(POST => '/purge/', body => to_json({ events => [ {
	action => 'push', target => { repository => 'library/alpine',
		tag => 'latest' } } ] }))->status, 200, 'event');
like(pull(0, $path), qr/ \Q$moved->{content}\E$/, 'after an event');

# a purge finds in the cache what it has to remove from memcached

my $revision = $image->{digest} =~ s!:!/!r;

until_true(10, sub {
	kept(0, 'library/alpine/_manifests/tags/latest/current/link')
		eq $moved->{digest}
		&& kept(0, "library/alpine/_manifests/revisions/$revision/link");
});

ok(shared('alpine', $image->{digest}), 'before a purge');
is(request(DELETE => '/purge/alpine')->status, 200, 'purge');
until_true(10, sub { !shared('alpine', $image->{digest}) });

$hub->forget();
is(pull(0, $exact), "MISS $image->{content}", 'after a purge');
is($hub->requests(qr/^GET .*$image->{digest}/), 1, 'after a purge, asked');

# What has a digest is looked for on the disk first.  (A node that starts has
# nothing in memory.)

$image = $hub->image('library/disk', '1', [ 'disk' ]);
my $link = "library/disk/_manifests/revisions/$image->{digest}/link"
	=~ s!:!/!r;
$exact = "/v2/library/disk/manifests/$image->{digest}";

is(pull(0, $exact), "MISS $image->{content}", 'disk');
until_true(10, sub { kept(0, $link) && shared('disk', $image->{digest}) });

my $gets = gets();
$hub->forget();
restart($one);
is(pull(0, $exact), "HIT $image->{content}", 'on the disk');
is(gets(), $gets, 'on the disk, memcached is not asked');

unlink glob($one->testdir() . '/cache/docker/registry/v2/blobs/sha256/*/'
	. $image->{digest} =~ s/.*://r . '/data') or die "no data: $!\n";

restart($one);
is(pull(0, $exact), "HIT $image->{content}", 'not on the disk');
is(gets(), $gets + 1, 'not on the disk, memcached is asked');
is($hub->requests(), 0, 'not on the disk, the remote is not asked');

# where a tag points memcached is asked first, and the disk keeps what it says

is(pull(1, $exact), "HIT $image->{content}", 'second node, by digest');
until_true(10, sub { kept(1, $link) });
is(pull(0, '/v2/library/disk/manifests/1'), "MISS $image->{content}",
	'first node, tag');
until_true(10, sub { shared('disk', '1') });

$gets = gets();
$hub->forget();
is(pull(1, '/v2/library/disk/manifests/1'), "HIT $image->{content}",
	'second node, tag');
is(gets(), $gets + 1, 'second node, tag, memcached is asked for that alone');
is($hub->requests(), 0, 'second node, tag, the remote is not asked');
$link = 'library/disk/_manifests/tags/1/current/link';
until_true(10, sub { kept(1, $link) });
is(kept(1, $link), $image->{digest}, 'second node, tag, kept');

# garbage is a miss

flush($_) for @mc;
garbage($_) for @mc;

my $other = $hub->image('library/other', '1', [ 'other' ]);
is(pull(0, '/v2/library/other/manifests/1'), "MISS $other->{content}",
	'garbage');

# The same of values that were right: what is served still is, and the remote
# is asked for it.  One image by its tag, another by its digest.

my %spoil = (
	empty => sub { '' },
	random => sub { join('', map { chr rand 256 } 1 .. length $_[0]) },
	half => sub { substr($_[0], 0, length($_[0]) / 2) },
	longer => sub { "$_[0]\n" },
	bit => sub { $_[0] ^ ("\0" x int(length($_[0]) * 0.7) . "\1") },
	large => sub { 'x' x 1_000_000 },
	swapped => sub { $_[1] },
);

for my $how (sort keys %spoil) {
	my ($tagged, $exact) = map { $hub->image('library/spoilt', "$how-$_",
		[ "$how $_" ]) } 'tag', 'digest';
	my @keys = map { key('library/spoilt', $_) } "$how-tag", "$how-digest",
		$tagged->{digest}, $exact->{digest};

	pull(0, "/v2/library/spoilt/manifests/$how-$_") for 'tag', 'digest';
	until_true(10, sub { 4 == grep { defined value($_) } @keys });

	# of each kind there are two, which may change places

	my @values = map { value($_) } @keys;
	put($keys[$_], $spoil{$how}->(@values[$_, $_ ^ 1])) for 0 .. 3;

	$hub->forget();
	like(pull(1, "/v2/library/spoilt/manifests/$how-tag"),
		qr/ \Q$tagged->{content}\E$/, "spoilt, $how, by tag");
	is($hub->requests(qr!/manifests/$how-tag!), 1,
		"spoilt, $how, by tag, asked");
	is(pull(1, "/v2/library/spoilt/manifests/$exact->{digest}"),
		"MISS $exact->{content}", "spoilt, $how, by digest");
}

# Restarted: what it had is gone, and so are the connections to it.  Who has
# met it in between leaves it out for a while.

$_->kill()->start() for @mc;
until_true(10, sub { grep({ talk($_, "version\r\n") } @mc) == 2 });

my ($tries, $got, $bad) = (0, '', 0);

until_true(20, sub {
	my $image = $hub->image('library/restarted', ++$tries, [ $tries ]);
	my $content = qr/ \Q$image->{content}\E$/;
	my @keys = map { key('library/restarted', $_) } $tries, $image->{digest};

	$bad++ if pull(0, "/v2/library/restarted/manifests/$tries") !~ $content;
	until_true(1, sub { 2 == grep { defined value($_) } @keys });

	$got = pull(1, "/v2/library/restarted/manifests/$tries");
	$bad++ if $got !~ $content;

	return $got =~ /^HIT/;
});

is($bad, 0, 'restarted');
like($got, qr/^HIT/, 'restarted, shared again');

# in the place of one there is something else, which says that to a "get", and
# an error to all else

@images = map { $hub->image('library/many', $_, [ "many $_" ]) } 1 .. 20;

for my $answer ("HTTP/1.1 400 Bad Request\r\n\r\n", "ERROR\r\n", "\r\n",
	"VALUE \0 0 5\r\n", "VALUE KEY 0 4294967295\r\nx", "VALUE KEY 0 -1\r\n",
	"VALUE KEY 0 3\r\nabcdefgh\r\nEND\r\n", "x" x 100_000)
{
	$mc[0]->kill();
	my $heard = $one->testdir() . '/heard';
	my $stranger = stranger($mc[0]{port}, $answer, $heard);
	my $wrong = 0;

	# it is asked again when some time is over since it was found to be none

	until_true(10, sub {
		$wrong += wrong(0);
		request(DELETE => '/purge/library/many');
		return -s $heard;
	});

	my $name = substr($answer, 0, 20) =~ s/\s+/ /gr;
	is($wrong, 0, "no memcached: $name");
	ok(-s $heard, "no memcached: $name, asked");

	$stranger->kill();
	$mc[0]->start();
}

# what was purged while it was being kept is no failure of the disk

is(scalar(grep { /\[error\] .*registry_cache "edge"/ }
	split(/\n/, $one->read_file('error.log'))), 0, 'purged at once');

# a server that is dead, one that hangs, and both of them back

$mc[0]->kill();

is(wrong(0), 0, 'one is dead');
until_true(10, sub { $one->read_file('error.log') =~ /is left out/ });
is($one->read_file('error.log') =~ /is left out/ ? 1 : 0, 1,
	'one is dead, logged');

$mc[1]->freeze();
is(wrong(1), 0, 'one is dead, one hangs');
$mc[1]->thaw();

$mc[0]->start();

# it is asked again when there is something to ask it for

my $n = 0;
until_true(20, sub {
	pull(0, '/v2/library/none/manifests/' . ++$n);
	return $one->read_file('error.log') =~ /is back/;
});

is($one->read_file('error.log') =~ /is back/ ? 1 : 0, 1, 'is back');
is(wrong($_), 0, "node $_ at last") for 0, 1;

# before the tests are counted

@nodes = ();
undef $one;

###############################################################################

sub node {
	my ($n) = @_;
	my %own = (0 => 8080, 1 => 8086, 2 => 8087);

	# valgrind is slow, but not slow enough to be called dead

	my $timeout = $ENV{TEST_NGINX_VALGRIND} ? 2000 : 500;

	return $conf =~ s/OWN/$own{$n}/r =~ s!KEY!key=%%TESTDIR%%/secret!r
		=~ s/TIMEOUT/$timeout/r;
}

sub pull {
	my ($n, $path) = @_;
	my $r = request(GET => $path, port => port((8080, 8086, 8087)[$n]));

	return $r->header('X-How') . ' ' . $r->body;
}

# how many of many images cannot be pulled

sub wrong {
	my ($n) = @_;

	return scalar grep {
		my $content = $images[$_ - 1]->{content};
		pull($n, "/v2/library/many/manifests/$_") !~ / \Q$content\E$/;
	} 1 .. @images;
}

sub memcached {
	my ($label) = @_;
	my $port = port($label);
	my $user = $> == 0 ? '-u nobody' : '';

	my $mc = Test::Nginx::Process->new(sub {
		exec('memcached', '-l', '127.0.0.1', '-p', $port, '-U', 0,
			split / /, $user);
	}, port => $port)->start();

	return $mc;
}

sub until_true {
	my ($seconds, $done) = @_;
	my $end = time() + $seconds * ($ENV{TEST_NGINX_VALGRIND} ? 10 : 1);

	select undef, undef, undef, 0.02 while !$done->() && time() < $end;
}

sub key {
	my ($name, $reference) = @_;
	return 'registry:' . Digest::SHA::sha256_hex(
		"docker.io/$name\0$reference");
}

# from the server that has it, and to it

sub value {
	my ($key, $to) = @_;

	for my $mc (@mc) {
		my $in = talk($mc, "get $key\r\n");

		$in =~ /^VALUE \S+ \d+ (\d+)\r\n/ or next;
		$$to = $mc if $to;

		return substr($in, $+[0], $1);
	}

	return undef;
}

sub put {
	my ($key, $value) = @_;

	value($key, \my $mc);
	talk($mc, "set $key 0 0 " . length($value) . "\r\n$value\r\n") =~ /^STORED/
		or die "$key is not stored\n";
}

# a server that is no memcached

sub stranger {
	my ($port, $answer, $heard) = @_;

	unlink $heard;

	my $listen = IO::Socket::INET->new(Listen => 16, ReuseAddr => 1,
		LocalAddr => "127.0.0.1:$port") or die "port $port: $!\n";

	return Test::Nginx::Process->new(sub {
		my ($parent) = @_;
		my $select = IO::Select->new($listen);

		$SIG{PIPE} = 'IGNORE';

		while (getppid() == $parent) {
			for my $s ($select->can_read(1)) {
				if ($s == $listen) {
					$select->add($listen->accept() // next);
					next;
				}

				my $n = sysread($s, my $in, 65536);

				if (!$n) {
					$select->remove($s);
					next;
				}

				open(my $fh, '>>', $heard) or die "$heard: $!\n";
				print $fh $in;
				close $fh;

				my ($key) = $in =~ /^get (\S+)/;
				syswrite($s, $key ? $answer =~ s/KEY/$key/r : "ERROR\r\n");
			}
		}
	})->start();
}

sub talk {
	my ($mc, $text) = @_;

	my $s = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$mc->{port}")
		or return '';
	print $s "${text}quit\r\n";
	local $/;
	return <$s> // '';
}

sub items {
	my $n = 0;
	$n += $_ for map { talk($_, "stats\r\n") =~ /STAT curr_items (\d+)/ } @mc;
	return $n;
}

sub flush { talk($_[0], "flush_all\r\n") }

sub restart {
	my ($node) = @_;

	$node->stop();
	$node->run();
}

# how often they were asked for something

sub gets {
	my $n = 0;
	$n += $_ for map { talk($_, "stats\r\n") =~ /STAT cmd_get (\d+)/ } @mc;
	return $n;
}

# whether one of them has a tag or a digest

sub shared {
	my ($name, $reference) = @_;
	my $key = 'registry:' . Digest::SHA::sha256_hex(
		"docker.io/library/$name\0$reference");

	return scalar grep { talk($_, "get $key\r\n") =~ /^VALUE/ } @mc;
}

# what a node's disk has in a link

sub kept {
	my ($n, $path) = @_;

	open(my $fh, '<', $nodes[$n]->testdir()
		. "/cache/docker/registry/v2/repositories/docker.io/$path")
		or return '';
	return <$fh> // '';
}

# under every key that was ever asked for there is something else

sub garbage {
	my ($mc) = @_;

	for my $key (map { "registry:" . Digest::SHA::sha256_hex($_) }
		"docker.io/library/other\0" . '1',
		"docker.io/library/other\0" . sha256('x'))
	{
		for my $value ('', 'garbage', "registry-tag 1 x\n", "\0" x 10000) {
			talk($mc, "set $key 0 0 " . length($value) . "\r\n$value\r\n");
		}
	}
}

###############################################################################
