#!/usr/bin/perl

# Purging what is kept of remotes: what a DELETE names, and what the events of
# another registry are about.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use Fcntl qw/ LOCK_EX /;
use File::Path qw/ make_path /;

use lib 'lib';
use Images;
use Strace;
use Test::Nginx;
use Test::Nginx::Origin;
use Test::Nginx::Registry;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http access/)->has_daemon('strace')
	->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;
user root;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format purge "$status $registry_operation $registry_remote $registry_repository $registry_reference $registry_digest";

    registry_cache edge { path %%TESTDIR%%/cache;  max_size 1g; }

    registry_remote default { cache edge;  valid 1h;  valid 404 1h; }

    registry_remote docker.io {
        url    http://127.0.0.1:8081;
        alias  index.docker.io;
    }

    registry_remote harbor.example:8443 {
        url    http://127.0.0.1:8082;
        alias  harbor.internal;
    }

    client_max_body_size 10;
    error_page 400 404 405 = /page;

    server {
        listen       127.0.0.1:8080;

        location /v2/ {
            registry_proxy all;
        }

        location /purge {
            registry_purge;
            access_log %%TESTDIR%%/purge.log purge;

            location /purge/nobody/ {
                deny all;
            }

            limit_except POST DELETE GET PUT {
                deny all;
            }
        }

        location /hub/ {
            registry_purge docker.io;
        }

        location = /hook {
            registry_purge harbor.internal;
        }

        location /page {
            return 200 page;
        }

        location = /status {
            registry_status;
            add_header X-Pid $pid;
        }
    }
}

EOF

my $hub = Test::Nginx::Origin->new($t, port => 8081);
my $harbor = Test::Nginx::Origin->new($t, port => 8082);

$t->run()->plan(188);

my $cache = $t->testdir() . '/cache/docker/registry/v2';
my $repositories = "$cache/repositories";
my $n = 0;

###############################################################################

# a tag, by every spelling

for my $path ('/purge/docker.io/library/alpine:latest',
	'/purge/docker.io/alpine:latest', '/purge/index.docker.io/alpine:latest',
	'/purge/alpine:latest?ns=docker.io',
	'/purge/library/alpine:latest?ns=index.docker.io',
	'/purge/docker.io/alpine:latest?ns=docker.io',
	'/hub/alpine:latest', '/hub/docker.io/alpine:latest')
{
	my $old = $hub->image('library/alpine', 'latest', [ $n++ ]);
	purged(DELETE => '/purge/docker.io/alpine');
	pull('docker.io/alpine', 'latest');
	written('docker.io/library/alpine', 'latest');

	my $new = $hub->image('library/alpine', 'latest', [ $n++ ]);
	is(pull('docker.io/alpine', 'latest'), $old->{content}, 'kept');

	is_deeply(purged(DELETE => $path), [ 1, 0, 0 ], $path);
	is(pull('docker.io/alpine', 'latest'), $new->{content}, 'purged');
	written('docker.io/library/alpine', 'latest');
}

is_deeply(purged(DELETE => '/purge/docker.io/alpine:other'), [ 0, 0, 0 ],
	'a tag that is not kept');
is_deeply(purged(DELETE => '/purge/docker.io/other'), [ 0, 0, 0 ],
	'a repository that is not kept');
ok(!-e "$repositories/docker.io/library/other", 'is not made by that');

# a manifest by its digest, with its tags

my $image = $hub->image('team/app', 'one', [ 'layer' ]);
my ($digest, $layer) = ($image->{digest}, $image->{layers}[0]{digest});

$hub->manifest('team/app', 'two', $image);

for my $tag ('one', 'two') {
	pull('docker.io/team/app', $tag);
	written('docker.io/team/app', $tag);
}

$hub->forget();
pull('docker.io/team/app', $_) for 'one', 'two', $digest;
is($hub->requests(), 0, 'digest, kept');

is_deeply(purged(DELETE => "/purge/docker.io/team/app\@$digest"),
	[ 2, 1, 0 ], 'digest');
is(pull('docker.io/team/app', $digest), $image->{content},
	'digest, pulled again');
is($hub->requests(qr/^GET .*$digest/), 1, 'digest, asked');
written('docker.io/team/app', $digest);

is_deeply(purged(DELETE => "/purge/docker.io/team/app:one\@$digest"),
	[ 0, 1, 0 ], 'digest and a tag that is not kept');

# a blob, and its bytes are got again

# (who fetched it has it open for a second longer)

blob('docker.io/team/app', $layer);
waitfor(sub { -e data($layer) });
select undef, undef, undef, 1.5;
overwrite($layer, 'rotten');
is(blob('docker.io/team/app', $layer), 'rotten', 'blob, kept');

is_deeply(purged(DELETE => "/purge/docker.io/team/app\@$layer"),
	[ 0, 0, 1 ], 'blob');
is(blob('docker.io/team/app', $layer), 'layer', 'blob, pulled again');

# a repository, and no other one

written('docker.io/team/app', $layer);

for my $case ([ 'team/app', 'one' ], [ 'team/app', 'two' ],
	[ 'team/app/sub', 'one' ])
{
	my ($name, $tag) = @$case;

	$hub->image($name, $tag, [ $name ]) if $name ne 'team/app';
	pull("docker.io/$name", $tag);
	written("docker.io/$name", $tag);
}

$hub->forget();

is_deeply(purged(DELETE => '/purge/docker.io/team/app'), [ 2, 1, 1 ],
	'repository');
pull('docker.io/team/app/sub', 'one');
is($hub->requests(), 0, 'repository, not the one below');
ok(!-e "$repositories/docker.io/team/app/_manifests", 'repository, directory');
pull('docker.io/team/app', $digest);
is($hub->requests(qr/^GET .*$digest/), 1, 'repository, asked');
is_deeply([ grep { -d } glob("$repositories/_tmp/.??*") ], [],
	'repository, nothing left');

# all below a name, and a whole namespace

$hub->image('team/app-x', 'one', [ 'another' ]);

for my $name ('team/app-x', 'team/app') {
	pull("docker.io/$name", 'one');
	written("docker.io/$name", 'one');
}

is_deeply(purged(DELETE => '/purge/docker.io/team/app/'), [ 2, 2, 0 ],
	'below');
ok(!-e "$repositories/docker.io/team/app", 'below, directory');
$hub->forget();
pull('docker.io/team/app-x', 'one');
is($hub->requests(qr/^GET/), 0, 'below, no other one');

for my $name ('team/app', 'team/app/sub') {
	pull("docker.io/$name", 'one');
	written("docker.io/$name", 'one');
}

is($hub->requests(qr/^GET/), 2, 'below, asked');

my $other = $harbor->image('p/app', 'one', [ 'harbor' ]);
pull('harbor.example:8443/p/app', 'one');
written('harbor.example_8443/p/app', 'one');

is_deeply(purged(DELETE => '/purge/docker.io'), [ 4, 5, 0 ], 'namespace');
ok(!-e "$repositories/docker.io", 'namespace, directory');
ok(-e "$repositories/harbor.example_8443/p/app", 'namespace, no other one');
$hub->forget();
pull('docker.io/team/app', 'one');
is($hub->requests(qr/^GET/), 1, 'namespace, asked');
written('docker.io/team/app', 'one');
is_deeply(purged(DELETE => '/hub/'), [ 1, 1, 0 ],
	'namespace of the directive');
is_deeply(purged(DELETE => '/purge/?ns=docker.io'), [ 0, 0, 0 ],
	'namespace, again');
is_deeply(purged(DELETE => '/purge/harbor.example:8443/p/app:one'),
	[ 1, 0, 0 ], 'a port');
is_deeply(purged(DELETE => '/purge/harbor.example:8443/'), [ 0, 1, 0 ],
	'a port, namespace');

# more than one task removes

for my $i (1 .. 150) {
	my $hex = sprintf('%064x', $i);
	my $dir = "docker.io/many/$i";

	link_to("$dir/_layers/sha256/$hex/link", $hex);
	link_to("$dir/_manifests/revisions/sha256/$hex/link", $hex);
	link_to("$dir/_manifests/tags/t/current/link", $hex);
	link_to("$dir/_manifests/tags/t/index/sha256/$hex/link", $hex);
}

is_deeply(purged(DELETE => '/purge/docker.io/many/'), [ 150, 150, 150 ],
	'many');
is_deeply([ grep { -d } glob("$repositories/_tmp/.??*") ], [],
	'many, nothing left');

# what is pushed to the remote

for my $case ([ 'distribution', \&distribution ], [ 'harbor', \&harbor ],
	[ 'cloudevents', \&cloudevents ])
{
	my ($name, $document) = @$case;
	my $app = "p/$name";

	is(request(GET => "/v2/harbor.internal/$app/manifests/1")->status, 404,
		"$name, polled");
	my $one = $harbor->image($app, '1', [ "$name 1" ]);
	is(request(GET => "/v2/harbor.internal/$app/manifests/1")->status, 404,
		"$name, 404 is kept");

	is_deeply(purged(POST => '/purge/', $document->('push', $app, '1',
		$one->{digest})), [ 1, 0, 0, 0 ], "$name, pushed");
	is(pull("harbor.internal/$app", '1'), $one->{content},
		"$name, pulled at once");
	written("harbor.example_8443/$app", '1', $one->{digest});

	my $two = $harbor->image($app, '1', [ "$name 2" ]);
	is(pull("harbor.internal/$app", '1'), $one->{content}, "$name, kept");
	purged(POST => '/purge', $document->('push', $app, '1',
		$two->{digest}));
	is(pull("harbor.internal/$app", '1'), $two->{content},
		"$name, moved at once");
	written("harbor.example_8443/$app", '1', $two->{digest});

	# by digest, too

	my $three = $harbor->image($app, undef, [ "$name 3" ]);
	$harbor->remove($app, $three->{digest});
	is(request(GET => "/v2/harbor.internal/$app/manifests/$three->{digest}")
		->status, 404, "$name, polled by digest");
	$harbor->manifest($app, undef, $three);
	purged(POST => '/purge', $document->('push', $app, 'x',
		$three->{digest}));
	is(pull("harbor.internal/$app", $three->{digest}), $three->{content},
		"$name, by digest at once");

	# deleted there

	is_deeply(purged(POST => '/purge/', $document->('delete', $app, '1',
		$two->{digest})), [ 1, 1, 0, 0 ], "$name, deleted");
	ok(!-e "$repositories/harbor.example_8443/$app/_manifests/tags/1",
		"$name, deleted, no tag");
	$harbor->forget();
	is(pull("harbor.internal/$app", $two->{digest}), $two->{content},
		"$name, deleted, asked");
	is($harbor->requests(qr/^GET/), 1, "$name, deleted, requests");
}

# a remote that does not answer after the event: the copy is better than none

my $kept = $harbor->image('p/down', '1', [ 'down' ]);
pull('harbor.internal/p/down', '1');
written('harbor.example_8443/p/down', '1');
purged(POST => '/hook', distribution('push', 'p/down', '1',
	$kept->{digest}, 'who.knows'));
$harbor->stop();
is(pull('harbor.internal/p/down', '1'), $kept->{content}, 'stale');
$harbor->start();

# a whole repository deleted there

is_deeply(purged(POST => '/purge/harbor.internal', to_json({ events => [ {
	action => 'delete', target => { repository => 'p/down' } } ] })),
	[ 1, 1, 0, 0 ], 'repository deleted');

# several, some of no interest

is_deeply(purged(POST => '/purge?ns=docker.io', to_json({ events => [
	event('push', 'alpine', 'a'), event('pull', 'alpine', 'b'),
	event('push', 'alpine', 'c'), event('push', 'Alpine', 'd'),
	event('push', 'x' x 250, 'e') ] })), [ 2, 0, 0, 3 ], 'skipped');
is_deeply(purged(POST => '/hub/', to_json({ events => [] })),
	[ 0, 0, 0, 0 ], 'no events');
is_deeply(purged(POST => '/purge/docker.io/', to_json({ events => [
	map { event('push', "team/$_", 'a') } 1 .. 900 ] })), [ 900, 0, 0, 0 ],
	'a large document');

# all or nothing

$image = $hub->image('library/both', '1', [ 'both' ]);
pull('docker.io/both', '1');
$hub->forget();
is(brief(POST => '/purge/', body => to_json({ events => [
	event('push', 'library/both', '1', 'docker.io'),
	event('push', 'p/app', '1', 'quay.io') ] })), '404 NAME_UNKNOWN',
	'an unknown host');
pull('docker.io/both', '1');
is($hub->requests(), 0, 'an unknown host, nothing done');
is(brief(POST => '/purge/', body => to_json({ events => [
	event('push', 'p/app', '1') ] })), '404 NAME_UNKNOWN', 'no host');

# a pull that is under way: what it brings is nobody else's

for my $case ([ DELETE => '/purge/docker.io/library/race:1' ],
	[ DELETE => '/purge/docker.io/library/race' ],
	[ DELETE => '/purge/docker.io/' ],
	[ POST => '/purge/docker.io', to_json({ events => [
		event('push', 'library/race', '1') ] }) ])
{
	my ($method, $path, $body) = @$case;

	purged(DELETE => '/purge/docker.io/');
	my $old = $hub->image('library/race', '1', [ 'race ' . $n++ ]);

	$hub->forget();
	$hub->rule({ path => qr/race/, method => 'GET', hold => 1, times => 1 });
	my $s = send_request(GET => '/v2/docker.io/race/manifests/1');
	waitfor(sub { grep { $_->{status} } $hub->requests(qr/^GET .*race/) });

	my $new = $hub->image('library/race', '1', [ 'race ' . $n++ ]);
	purged($method => $path, $body);
	is(pull('docker.io/race', '1'), $new->{content},
		"race, $path, pulled meanwhile");

	$hub->release();
	is(response($s)->body, $old->{content}, "race, $path, who began before");
	$hub->clear();
	$hub->forget();

	is(pull('docker.io/race', '1'), $new->{content},
		"race, $path, pulled after");
	is(pull('docker.io/race', $old->{digest}), $old->{content},
		"race, $path, by digest");
	is($hub->requests(qr/^GET .*$old->{digest}/), 1,
		"race, $path, not kept");
}

# a blob that is being fetched for one repository, and sent to another one too:
# who wanted it gets it, and what was purged does not have it again

for my $case ([ '/purge/docker.io/fly', 0, 1 ], [ '/purge/docker.io/wing', 1, 0 ],
	[ '/purge/docker.io/', 0, 0 ], [ '/purge/harbor.internal/fly', 1, 1 ],
	[ '/purge/docker.io/fly@', 0, 1 ])
{
	my ($path, %linked) = ($case->[0], fly => $case->[1],
		wing => $case->[2]);
	my $bytes = 'fly ' . $n++ . 'x' x 100_000;
	my $blob = $hub->blob('library/fly', $bytes);
	my ($hex) = $blob->{digest} =~ /:(.*)/;

	$hub->blob('library/wing', $blob);
	$hub->rule({ path => qr/$hex/, method => 'GET', stall => 1000 });
	$hub->forget();

	my @s = send_request(GET => "/v2/docker.io/fly/blobs/$blob->{digest}");
	waitfor(sub { grep { $_->{status} } $hub->requests(qr/^GET/) });
	push @s, send_request(GET => "/v2/docker.io/wing/blobs/$blob->{digest}");
	waitfor(sub { grep { $_->{status} } $hub->requests(qr/^HEAD/) });

	$path .= $blob->{digest} if $path =~ /\@$/;
	purged(DELETE => $path);
	$hub->release();

	is(scalar(grep { response($_)->body eq $bytes } @s), 2,
		"blob, $path, sent");
	waitfor(\&landed);

	for my $name ('fly', 'wing') {
		my $link = "$repositories/docker.io/library/$name/_layers"
			. "/sha256/$hex/link";

		waitfor(sub { -e $link }) if $linked{$name};
		ok($linked{$name} == (-e $link ? 1 : 0),
			"blob, $path, link of $name");
	}

	$hub->clear();
	$hub->forget();

	for my $name ('fly', 'wing') {
		ok(blob("docker.io/$name", $blob->{digest}) eq $bytes,
			"blob, $path, pulled for $name");
		is($hub->requests(qr!^HEAD .*/$name/!), 1 - $linked{$name},
			"blob, $path, asked for $name");
	}
}

# the purge comes while the blob is written to the disk, which takes long

my $slow = $hub->blob('library/slow', 'slow ' . $n++);
my $link = "$repositories/docker.io/library/slow/_layers/"
	. $slow->{digest} =~ s!:!/!r . '/link';

trace($t, worker('/status'), 'inject=fsync:delay_enter=500000', sub {
	is(blob('docker.io/slow', $slow->{digest}), $slow->{content},
		'blob, slow disk, sent');
	select undef, undef, undef, 0.1;
	purged(DELETE => '/purge/docker.io/slow');
	waitfor(\&landed);
});

ok(-e data($slow->{digest}), 'blob, slow disk, kept');
eval { waitfor(sub { !-e $link }) };
ok(!-e $link, 'blob, slow disk, no link');

# a directory that is empty is taken away before it is synced

my $bare = $hub->blob('library/bare', 'bare');
$link = "$repositories/docker.io/library/bare/_layers/"
	. $bare->{digest} =~ s!:!/!r . '/link';
blob('docker.io/bare', $bare->{digest});
waitfor(sub { -e $link });

trace($t, worker('/status'), 'inject=unlink:delay_exit=500000', sub {
	my $s = send_request(DELETE =>
		"/purge/docker.io/bare\@$bare->{digest}");
	waitfor(sub { !-e $link });
	ok(rmdir $link =~ s!/link$!!r, 'blob, empty directory, removed');
	is(response($s)->status, 200, 'blob, empty directory, purged');
});

# not found meanwhile, and that is not remembered

$hub->rule({ path => qr/soon/, hold => 1, times => 1 });
my $s = send_request(GET => '/v2/docker.io/soon/manifests/1');
waitfor(sub { grep { $_->{status} } $hub->requests(qr/soon/) });
purged(POST => '/hub/', to_json({ events => [
	event('push', 'library/soon', '1') ] }));
$hub->release();
is(response($s)->status, 404, '404 under way');
$hub->clear();
$image = $hub->image('library/soon', '1', [ 'soon' ]);
is(pull('docker.io/soon', '1'), $image->{content}, '404 under way, after');

# what is not possible

is(brief(DELETE => '/purge/quay.io/x'), '404 NAME_UNKNOWN', 'unknown');
is(brief(DELETE => '/purge/'), '404 NAME_UNKNOWN', 'nothing named');
is(brief(DELETE => '/purge'), '404 NAME_UNKNOWN', 'nothing at all');
is(brief(DELETE => '/purged/docker.io/x'), '404 NAME_UNKNOWN', 'no prefix');
is(brief(DELETE => '/purge/x?ns=quay.io'), '404 NAME_UNKNOWN', 'unknown ns');
is(brief(DELETE => '/purge/x?ns='), '404 NAME_UNKNOWN', 'empty ns');
is(brief(DELETE => '/purge/docker.io/x?ns=harbor.internal'),
	'404 NAME_UNKNOWN', 'two of them');
is(brief(DELETE => '/hub/harbor.internal/x'), '404 NAME_UNKNOWN',
	'not of this location');
is(brief(DELETE => '/hub/x?ns=harbor.internal'), '404 NAME_UNKNOWN',
	'not of this location, ns');
is(brief(DELETE => '/hub/X'), '400 NAME_INVALID', 'name');
is(brief(DELETE => '/hub/x:1/'), '400 NAME_INVALID', 'tag of a directory');
is(brief(DELETE => '/hub/x:'), '400 MANIFEST_INVALID', 'tag, empty');
is(brief(DELETE => '/hub/x:a:b'), '400 MANIFEST_INVALID', 'tag');
is(brief(DELETE => '/hub/x@'), '400 DIGEST_INVALID', 'digest, empty');
is(brief(DELETE => '/hub/x@sha256:1'), '400 DIGEST_INVALID', 'digest');
is(brief(POST => '/hub/', body => '{'), '400 UNSUPPORTED', 'no JSON');
is(brief(POST => '/hub/', body => '[]'), '400 UNSUPPORTED', 'no object');
is(brief(POST => '/hub/', body => '{"a":1}'), '400 UNSUPPORTED',
	'no events');
is(brief(POST => '/hub/'), '400 UNSUPPORTED', 'no body');
is(brief(POST => '/hub/', body => '[' x 100_000), '400 UNSUPPORTED', 'deep');
is(brief(POST => '/hub/', body => ' ' x 1_048_577), '413 SIZE_INVALID',
	'large');
is(brief(POST => '/hub/', body => [ (' ' x 100_000) x 11 ]),
	'413 SIZE_INVALID', 'large, chunked');
is(brief(POST => '/purge/docker.io/x', body => '{}'), '404 NAME_UNKNOWN',
	'events of a repository');
is(brief(DELETE => '/purge/nobody/x'), '403 DENIED', 'denied');

my $r = request(GET => '/purge/docker.io/x');
is($r->status . ' ' . $r->code . ' ' . $r->header('Allow'),
	'405 UNSUPPORTED POST, DELETE', 'method');
is(brief(PUT => '/purge/docker.io/x', body => 'x' x 100_000),
	'405 UNSUPPORTED', 'method with a body');
is(brief(PATCH => '/purge/docker.io/x'), '403 DENIED', 'limit_except');

# the log

purged(DELETE => "/purge/docker.io/x:1\@$digest");
$t->stop();
like($t->read_file('purge.log'),
	qr!^200 purge docker.io docker.io/library/x 1 $digest$!m, 'log');

###############################################################################

sub pull {
	my ($name, $reference) = @_;
	return request(GET => "/v2/$name/manifests/$reference")->body;
}

sub blob {
	my ($name, $digest) = @_;
	return request(GET => "/v2/$name/blobs/$digest")->body;
}

# the tags, manifests and blobs that an answer counts, and what was skipped

sub purged {
	my ($method, $path, $body) = @_;

	my $r = request($method => $path,
		defined $body ? (body => $body) : ());

	return $r->summary if $r->status != 200
		|| $r->header('Content-Type') ne 'application/json';

	my $answer = $r->json;

	return [ @{$answer->{purged}}{qw/ tags manifests blobs /},
		exists $answer->{skipped} ? $answer->{skipped} : () ];
}

sub brief {
	my $r = request(@_);
	return join(' ', grep { defined } $r->status, $r->code);
}

# What is pulled is written to the cache after it was sent, under a lock.  The
# worker knows of it when it answers once more.

sub written {
	my ($name, $reference, $digest) = @_;
	my $dir = "$repositories/$name";

	if ($reference =~ /^(sha256):(.*)/) {
		waitfor(sub { -e "$dir/_layers/$1/$2/link"
			|| -e "$dir/_manifests/revisions/$1/$2/link" });

	} else {
		waitfor(sub {
			open(my $fh, '<',
				"$dir/_manifests/tags/$reference/current/link")
				or return 0;
			return !defined $digest || <$fh> eq $digest;
		});
	}

	if (open(my $lock, '+<', "$dir/_manifests/lock")) {
		flock($lock, LOCK_EX) or die "lock: $!\n";
	}

	request(GET => '/v2/');
}

# nothing is being fetched

sub landed {
	return request(GET => '/status')->json->{flights}{running} == 0;
}

# the file of a blob

sub data {
	my ($digest) = @_;
	my ($hex) = $digest =~ /:(.*)/;

	return "$cache/blobs/sha256/" . substr($hex, 0, 2) . "/$hex/data";
}

sub overwrite {
	my ($digest, $bytes) = @_;

	open(my $fh, '>:raw', data($digest)) or die "$digest: $!\n";
	print $fh $bytes;
	close $fh;
}

sub link_to {
	my ($path, $hex) = @_;
	my $file = "$repositories/$path";

	make_path($file =~ s!/[^/]*$!!r);

	open(my $fh, '>:raw', $file) or die "$file: $!\n";
	print $fh "sha256:$hex";
	close $fh;
}

sub waitfor {
	my ($condition) = @_;

	for (1 .. 500) {
		return if $condition->();
		select undef, undef, undef, 0.02;
	}

	die "nothing came\n";
}

###############################################################################

# documents of others

sub event {
	my ($action, $repository, $tag, $host) = @_;

	return { action => $action,
		target => { repository => $repository, tag => $tag },
		defined $host ? (request => { host => $host }) : () };
}

sub distribution {
	my ($action, $repository, $tag, $digest, $host) = @_;

	return to_json({ events => [ { id => 'x', action => $action,
		timestamp => '2026-01-01T00:00:00Z',
		target => { mediaType => $MANIFEST, size => 1, digest => $digest,
			length => 1, repository => $repository, tag => $tag,
			url => 'http://x/' },
		request => { id => 'y', addr => '10.0.0.1:1',
			host => $host // 'harbor.internal', method => 'PUT' },
		actor => {}, source => {} } ] });
}

sub harbor {
	my ($action, $repository, $tag, $digest) = @_;

	return to_json({ type => uc $action . '_ARTIFACT', occur_at => 1,
		operator => 'admin', event_data => harbor_data($repository, $tag,
			$digest) });
}

sub cloudevents {
	my ($action, $repository, $tag, $digest) = @_;
	my %type = (push => 'pushed', delete => 'deleted');

	return to_json({ specversion => '1.0', id => 'x',
		type => "harbor.artifact.$type{$action}",
		datacontenttype => 'application/json',
		data => harbor_data($repository, $tag, $digest) });
}

sub harbor_data {
	my ($repository, $tag, $digest) = @_;

	return { resources => [ { digest => $digest, tag => $tag,
			resource_url => "harbor.internal/$repository:$tag" } ],
		repository => { name => 'x', namespace => 'p',
			repo_full_name => $repository,
			repo_type => 'private' } };
}

###############################################################################
