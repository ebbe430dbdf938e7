#!/usr/bin/perl

# Manifests in shared memory: when they are served from there, what makes all
# workers see a change at once, what is seen of changes by others, and a zone
# that is too small for all.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use POSIX qw//;
use Test::Nginx;
use Test::Nginx::Registry;
use Time::HiRes qw/ sleep /;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http/);

# the smallest zone, in which a few manifests find room

my $conf = <<'EOF';

%%TEST_GLOBALS%%

daemon off;
user root;
worker_processes 2;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    error_log %%TESTDIR%%/error.log info;

    registry_zone 192k;

    STORES

    keepalive_requests 1000000;

    add_header X-Cache "$pid $registry_cache" always;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /v2/ {
            registry long;
            registry_push on;
            registry_delete on;
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

my @stores = (
	'registry_store long { path %%TESTDIR%%/long; tag_valid 1h; }',
	'registry_store short { path %%TESTDIR%%/short; }',
	'registry_store never { path %%TESTDIR%%/never; tag_valid 0; }',
);

$t->write_file_expand('nginx.conf', $conf =~ s/STORES/join("\n", @stores)/er);
$t->run()->plan(89);

###############################################################################

my $dir = $t->testdir();

# one connection to each of the workers

my ($one, $two) = workers();

# missed, and then found by either worker, by tag and by digest

my $first = manifest('first');
my $digest = sha256($first);
push_manifest('a', 'x', $first);

is(cache('a', 'x', $one), 'MISS', 'after a push');
is(cache('a', 'x', $two), 'HIT', 'then');
is(cache('a', $digest, $one), 'HIT', 'by digest');
is(cache('a', 'x', $one, 'HEAD'), 'HIT', 'head');
is(cache('a', 'none', $one), '', 'unknown');

my $r = request(GET => '/v2/a/manifests/x', socket => $one);
is($r->body, $first, 'bytes');
is($r->header('Content-Type'), $MANIFEST, 'type');
is($r->header('Docker-Content-Digest'), $digest, 'digest');
is($r->header('ETag'), "\"$digest\"", 'etag');

$r = request(GET => '/v2/a/manifests/x', socket => $one,
	headers => { 'If-None-Match' => "\"$digest\"" });
is($r->status . ' ' . ($r->header('X-Cache') =~ /(\w*)$/)[0], '304 HIT',
	'not modified');

push_manifest('a', 'y', $first);
is(cache('a', 'y', $one), 'MISS', 'another tag');
is(cache('a', 'y', $two), 'HIT', 'another tag, then');

push_manifest('b', 'x', $first);
is(cache('b', $digest, $one), 'MISS', 'another repository');
is(cache('b', $digest, $two), 'HIT', 'another repository, then');
is(cache('c', $digest, $two), '', 'a repository without it');

my $sha512 = sha512($first);
push_manifest('a', "$sha512?tag=strong", $first);
is(cache('a', $sha512, $one), 'MISS', 'sha512');
is(cache('a', $sha512, $two), 'HIT', 'sha512, then');
is(cache('a', 'strong', $two), 'MISS', 'sha512 by tag');
is(cache('a', 'strong', $one), 'HIT', 'sha512 by tag, then');

# a push is seen at once by both, by whichever it was received

my $wrong = 0;

for my $i (1 .. 20) {
	my $bytes = manifest("number $i");
	push_manifest('a', 'x', $bytes, socket => $i % 2 ? $one : $two);

	$wrong++ if grep { request(GET => '/v2/a/manifests/x', socket => $_)
		->body ne $bytes } $one, $two, $one;
}

is($wrong, 0, 'pushes are seen');

# and so are the other tags of a push by digest

for my $i (1 .. 4) {
	my $bytes = manifest("tags $i");
	push_manifest('a', sha256($bytes) . '?tag=x&tag=y&tag=z', $bytes,
		socket => $i % 2 ? $one : $two);

	is(join('', map { request(GET => "/v2/a/manifests/$_",
		socket => $i % 2 ? $two : $one)->body } qw/ x y z /),
		$bytes x 3, "tags $i");
}

# another type for the same bytes

my $plain = to_json({ schemaVersion => 2, layers => [] });

for my $type ($MANIFEST, 'application/x.one', 'application/x.two', $MANIFEST) {
	push_manifest('a', 'x', $plain, type => $type, socket => $one);

	is(join(' ', map { request(GET => "/v2/a/manifests/$_", socket => $two)
		->header('Content-Type') } 'x', sha256($plain)), "$type $type",
		"type $type");
}

# deletion

push_manifest('a', $_, $first) for qw/ x y z /;
request(GET => "/v2/a/manifests/$_", socket => $one) for qw/ x y z /, $digest;

request(DELETE => '/v2/a/manifests/x', socket => $one);
is(cache('a', 'x', $two), '', 'deleted tag');
is(cache('a', 'y', $two), 'HIT', 'other tag');

request(DELETE => "/v2/a/manifests/$digest", socket => $two);
is(cache('a', 'y', $one), '', 'tag of a deleted manifest');
is(cache('a', $digest, $one), '', 'deleted manifest');
is(cache('b', $digest, $one), 'HIT', 'not in another repository');

# read what was written, while others read too

push_manifest('a', 'busy', $first);
my @readers = map { reader() } 1 .. 3;
$wrong = 0;

for my $i (1 .. 100) {
	my $bytes = manifest("busy $i");
	push_manifest('a', 'busy', $bytes, socket => $i % 2 ? $one : $two);

	$wrong++ if request(GET => '/v2/a/manifests/busy',
		socket => $i % 2 ? $two : $one)->body ne $bytes;
	$wrong++ if request(GET => '/v2/a/manifests/busy',
		socket => $i % 2 ? $two : $one)->body ne $bytes;
}

is($wrong, 0, 'read what was written');
$t->write_file('stop', '');
is(join(' ', map { waitpid($_, 0); $? } @readers), '0 0 0', 'what others read');

# nothing is looked up in the store: what changes there is not seen

push_manifest('a', 'x', $first);
request(GET => '/v2/a/manifests/x');
tag('long', 'a', 'x', sha256($plain));
is(request(GET => '/v2/a/manifests/x')->body, $first, 'moved, long valid');
unlink_tag('long', 'a', 'x');
is(cache('a', 'x', $two), 'HIT', 'deleted, long valid');

# by default a second later

my $second = manifest('second');
push_manifest('short/a', 'second', $second);
push_manifest('short/a', 'x', $first);
request(GET => '/v2/short/a/manifests/x');
tag('short', 'short/a', 'x', sha256($second));

sleep(1.1);
is(request(GET => '/v2/short/a/manifests/x', socket => $one)->body, $second,
	'moved');
is(request(GET => '/v2/short/a/manifests/x', socket => $two)->body, $second,
	'moved, other worker');

sleep(1.1);
is(cache('short/a', 'x', $two), 'REVALIDATED', 'still there');
is(cache('short/a', 'x', $one), 'HIT', 'still there, then');

# a tag that is valid does not make its manifest so, nor the reverse

sleep(1.1);
is(cache('short/a', sha256($second), $two), 'REVALIDATED', 'manifest');
is(cache('short/a', 'x', $two), 'REVALIDATED', 'its tag');

unlink_tag('short', 'short/a', 'x');
unlink revision('short', 'short/a', $digest) or die;
request(GET => "/v2/short/a/manifests/$digest");

sleep(1.1);
is(cache('short/a', 'x', $one), '', 'deleted');
is(cache('short/a', $digest, $one), '', 'deleted manifest');
is(cache('short/a', 'second', $one), 'MISS', 'another tag of it');

# or at once

push_manifest('never/a', 'x', $first);
is(cache('never/a', 'x', $one), 'MISS', 'never valid');
is(cache('never/a', 'x', $_), 'REVALIDATED', 'never valid, then')
	for $one, $two, $one;
is(cache('never/a', $digest, $_), 'REVALIDATED', 'never valid, digest')
	for $one, $two;
is(request(GET => '/v2/never/a/manifests/x')->body, $first,
	'never valid, bytes');

push_manifest('never/a', 'y', $second);

for my $bytes ($second, $first, $second) {
	tag('never', 'never/a', 'x', sha256($bytes));
	is(request(GET => '/v2/never/a/manifests/x', socket => $one)->body,
		$bytes, 'never valid, moved');
	is(cache('never/a', 'x', $two), 'REVALIDATED',
		'never valid, moved, then');
}

unlink_tag('never', 'never/a', 'x');
is(cache('never/a', 'x', $two), '', 'never valid, deleted');
unlink revision('never', 'never/a', $digest) or die;
is(cache('never/a', $digest, $two), '', 'never valid, deleted manifest');
tag('never', 'never/a', 'y', $digest);
is(cache('never/a', 'y', $two), '', 'never valid, tag of a deleted one');

# not cached: too large for a zone, or too large for this one

for my $size (300000, 200000) {
	my $large = manifest('x' x $size);
	push_manifest('a', 'large', $large, type => $MANIFEST);

	is(cache('a', 'large', $_), 'MISS', "of $size") for $one, $two, $one;
	ok(request(GET => '/v2/a/manifests/large')->body eq $large,
		"of $size, bytes");
	is(cache('a', sha256($large), $_), 'MISS', "of $size, digest")
		for $one, $two;
}

my $large = manifest('y' x 80000);
push_manifest('a', 'large', $large, type => $MANIFEST);
is(cache('a', 'large', $_), $_ == $one ? 'MISS' : 'HIT', 'of 80000')
	for $one, $two;
ok(request(GET => '/v2/a/manifests/large', socket => $one)->body eq $large,
	'of 80000, bytes');

# more than there is room for

my %many = map { $_ => manifest($_ x (200 + $_ * 37 % 1500)) } 1 .. 120;

push_manifest('a', "many$_", $many{$_}) for keys %many;

$wrong = 0;

for my $round (1 .. 3) {
	for my $i (sort { $a <=> $b } keys %many) {
		$wrong++ if request(GET => "/v2/a/manifests/many$i",
			socket => $i % 3 ? $one : $two)->body ne $many{$i};
	}
}

is($wrong, 0, 'many');
is(cache('a', 'many120', $two), 'HIT', 'the last of many');
is(cache('a', 'many1', $two), 'MISS', 'the first of many');

# sizes around those of the pieces that bodies are kept in

$wrong = 0;

for my $size (1 .. 3, map { ($_ * 4088 - 2) .. ($_ * 4088 + 2) } 1 .. 3) {
	my $bytes = '{"layers":[]' . ' ' x ($size > 13 ? $size - 13 : $size)
		. '}';
	push_manifest('a', 'size', $bytes);
	$wrong++ if grep { request(GET => '/v2/a/manifests/size',
		socket => $one)->body ne $bytes } 1 .. 2;
}

is($wrong, 0, 'sizes');

###############################################################################

# through a reload what is known stays known, and is of its own store

push_manifest('a', 'reload', $first);
push_manifest('short/a', 'reload', $second);
request(GET => "/v2/$_/manifests/reload") for 'a', 'short/a';

reload($t, @stores);
is(cache('a', 'reload', $one), 'HIT', 'reload');

my ($long, $short, $never) = @stores;
reload($t, $short, $never, $long);
is(pull('a'), $first, 'stores in order');
is(pull('short/a'), $second, 'stores in order, the other');

reload($t, 'registry_store none { path %%TESTDIR%%/none; }', @stores);
is(pull('a'), $first, 'one more store');

# another directory under a name that is known

reload($t, $long =~ s!/long!/elsewhere!r, $short, $never);
is(pull('a'), '404 MANIFEST_UNKNOWN', 'another directory');
push_manifest('a', 'reload', $second, socket => $two);
is(pull('a'), $second, 'another directory, pushed');

reload($t, $long, $short, $never);
is(pull('a'), $first, 'and back');

# two names for two directories, exchanged

reload($t, $long =~ s/store long/store short/r,
	$short =~ s/store short/store long/r, $never);
push_manifest('a', 'exchanged', $second, socket => $two);
is(pull('a'), '404 MANIFEST_UNKNOWN', 'exchanged');

###############################################################################

# the manifest's bytes, or what is wrong

sub pull {
	my ($name) = @_;

	my $r = request(GET => "/v2/$name/manifests/reload", socket => $one);
	return $r->status == 200 ? $r->body : $r->status . ' ' . $r->code;
}

sub manifest {
	my ($text) = @_;
	return to_json({ schemaVersion => 2, mediaType => $MANIFEST,
		layers => [], annotations => { text => $text } });
}

# how a manifest was found, '' if it was not

sub cache {
	my ($name, $reference, $s, $method) = @_;

	my $r = request($method // 'GET', "/v2/$name/manifests/$reference",
		socket => $s);
	my ($cache) = $r->header('X-Cache') =~ /^\d+ (\w*)$/;

	return $cache if $r->status == 200 || $cache eq '' && $r->status == 404;
	return $r->status . " $cache";
}

# connections to both workers, which are none of those

sub workers {
	my %old = map { $_ => 1 } @_;
	my %sockets;

	for (1 .. 1000) {
		my $s = connection();
		my $pid = worker($s);

		if ($old{$pid}) {
			sleep(0.01);
			next;
		}

		$sockets{$pid} //= $s;
		return values %sockets if keys %sockets == 2;
	}

	die "one worker has all connections\n";
}

sub worker {
	my ($s) = @_;
	return request(GET => '/v2/', socket => $s)->header('X-Cache')
		=~ s/ .*//r;
}

# reads one manifest again and again until it is to stop

sub reader {
	my $pid = fork() // die "can't fork: $!";
	return $pid if $pid;

	my $s = connection();
	my $failed = 0;

	while (!-e "$dir/stop") {
		my $r = request(GET => '/v2/a/manifests/busy', socket => $s);
		my $digest = $r->header('Docker-Content-Digest') // '';
		$failed++ if $r->status != 200 || sha256($r->body) ne $digest;
		sleep(0.003);
	}

	POSIX::_exit($failed ? 1 : 0);
}

sub link_of {
	my ($store, $name, $what) = @_;
	return "$dir/$store/docker/registry/v2/repositories/$name/_manifests/$what";
}

sub tag {
	my ($store, $name, $tag, $digest) = @_;
	my $file = link_of($store, $name, "tags/$tag/current/link");

	open(my $fh, '>', "$file.new") or die "can't write $file: $!";
	print $fh $digest;
	close $fh;

	rename "$file.new", $file or die "can't rename $file: $!";
}

sub unlink_tag {
	my ($store, $name, $tag) = @_;
	unlink link_of($store, $name, "tags/$tag/current/link") or die $!;
}

sub revision {
	my ($store, $name, $digest) = @_;
	return link_of($store, $name,
		'revisions/' . $digest =~ tr!:!/!r . '/link');
}

# waits until the new workers are there, and connects to them

sub reload {
	my ($t, @stores) = @_;
	my $stores = join("\n", @stores);
	my @old = (worker($one), worker($two));

	$t->write_file_expand('nginx.conf', $conf =~ s/STORES/$stores/r);
	$t->reload();

	($one, $two) = workers(@old);
}

###############################################################################
