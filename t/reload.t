#!/usr/bin/perl

# Transfers outlive what nginx goes through: a reload and a binary upgrade let
# them end, also those of what is being fetched from a remote, and an upload
# that a restart breaks off goes on after it.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use Digest::SHA qw/ sha256_hex /;
use IO::Socket::INET;

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Origin;
use Clients;
use Images;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http/)->plan(55);
my $d = $t->testdir();
my $upgraded;

END {
	local $?;
	kill 'TERM', slurp("$d/nginx.pid") || () if $upgraded;
}

my $conf = <<'EOC';

%%TEST_GLOBALS%%

daemon off;
user root;
worker_processes 2;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    registry_store local { path %%TESTDIR%%/registry; }
    registry_cache edge { path %%TESTDIR%%/cache; }

    registry_remote remote.example {
        url    http://127.0.0.1:8081;
        cache  edge;
    }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        add_header   X-Pid $pid always;

        location /v2/ {
            registry local;
            registry_push on;
        }

        location /v2/threads/ {
            registry local;
            registry_push on;
            aio threads;
        }

        location /v2/remote.example/ {
            registry_proxy remote.example;
        }
    }
}

EOC

$t->write_file_expand('nginx.conf', $conf)->run();

###############################################################################

my $origin = Test::Nginx::Origin->new($t, port => 8081);
my $registry = Images->new(port(8080));
my $large = Images::blob(join '', map { chr(rand(256)) x 30 } 1 .. 1_000_000);
my $image = Images::image([ $large ]);

is($registry->push_image('a', 'tag', $image), undef, 'there is an image');

# reload

my %old = workers();
my @transfers = begin();
my ($blob, @fetches) = fetch();

$t->reload();
ok(wait_for(sub { replaced(%old) }), 'reload: new workers');
push @fetches, follow($blob) for 1 .. 4;
is(join("\n", $registry->check('a', 'tag', $image->{digest})), '',
	'reload: all is served');
ok(scalar(grep { kill 0, $_ } keys %old),
	'reload: old workers stay for their transfers');

end('reload', @transfers);
is(fetched($blob, @fetches), 6, 'reload: what is fetched is whole for all');
is($origin->requests(qr/$blob->{digest}/), 1, 'reload: fetched once');
ok(wait_for(sub { !grep { kill 0, $_ } keys %old }), 'reload: old workers go');

# A restart: a session that rests, one that a client left, and one that is
# written to while nginx is told to end at once.

my ($rests, $left, $stopped) = map { Session->new('a') } 1 .. 3;

is($rests->patch(0, 1_000_000), 202, 'restart: bytes before it');

$left->write_part(0, 2_000_000, 1_000_000);
ok(wait_for(sub { -s $left->file() == 1_000_000 }),
	'restart: half a chunk before it');
$left->hang_up();
ok(wait_for(sub { ($left->status())[0] == 1_000_000 }),
	'restart: what a client sent before it hung up is kept');

is($stopped->patch(0, 500_000), 202, 'restart: a chunk before it');
$stopped->write_part(500_000, 2_000_000, 1_000_000);
ok(wait_for(sub { -s $stopped->file() == 1_500_000 }),
	'restart: half a chunk under way');

kill 'TERM', $t->read_file('nginx.pid');
ok(wait_for(sub { !-e "$d/nginx.pid" }), 'restart: stopped');
$t->run();

for my $case (['resting', $rests], ['left', $left], ['stopped', $stopped]) {
	my ($name, $session) = @$case;
	my ($stands, $location) = $session->status();

	is($location, $session->{location}, "restart: $name session is there");
	cmp_ok($stands, '>=', $name eq 'stopped' ? 500_000 : 1_000_000,
		"restart: $name session has its bytes");
	is($session->patch($stands, 3_000_000 - $stands), 202,
		"restart: $name session goes on");
	is($session->finish(), 201, "restart: $name session ends");
	is($session->check(), undef, "restart: $name session's blob is whole");
}

is(join("\n", $registry->check('a', 'tag', $image->{digest})), '',
	'restart: all is served');

$t->stop();

# A binary upgrade, which a master only knows as a daemon.  The new one gets
# no more of the environment than it is told, and sanitizers want theirs.

$t->write_file_expand('nginx.conf', $conf =~ s/daemon off;/join('',
	map { "env $_;\n" } qw! ASAN_OPTIONS LSAN_OPTIONS UBSAN_OPTIONS !)/er);
$upgraded = 1;

system($Test::Nginx::NGINX, '-p', "$d/", '-c', 'nginx.conf', '-e',
	'error.log') == 0 or die "Can't start nginx\n";
ok(wait_for(sub { -s "$d/nginx.pid" }), 'upgrade: started');

my $old = $t->read_file('nginx.pid');
chomp $old;

%old = workers();
@transfers = begin();
($blob, @fetches) = fetch();

kill 'USR2', $old;
ok(wait_for(sub { -s "$d/nginx.pid" && -s "$d/nginx.pid.oldbin" }),
	'upgrade: new master') or die "No new master\n";
push @fetches, follow($blob) for 1 .. 8;

# both serve now, each with a memory of its own: a tag that one has moved is
# seen by the other when tag_valid is over

my $second = Images::image([]);

is($registry->push_image('a', 'moved', $image), undef, 'upgrade: push');
$registry->check('a', 'moved') for 1 .. 10;
is($registry->push_image('a', 'moved', $second), undef, 'upgrade: tag moved');
select undef, undef, undef, 1.1;
is(join("\n", map { $registry->check('a', 'moved', $second->{digest}) }
	1 .. 20), '', 'upgrade: moved for both');

kill 'WINCH', $old;
ok(wait_for(sub { replaced(%old) }), 'upgrade: new workers alone');

end('upgrade', @transfers);

# each has a memory of its own, so it fetches by itself

push @fetches, follow($blob) for 1 .. 4;
is(fetched($blob, @fetches), 14, 'upgrade: what is fetched is whole for all');
is($origin->requests(qr/$blob->{digest}/), 2, 'upgrade: fetched once by each');
ok(wait_for(sub { !grep { !/\.\.?$/ }
	glob "$d/cache/docker/registry/v2/repositories/_tmp/{.*,*}" }),
	'upgrade: nothing is left of it');

kill 'QUIT', $old;
ok(wait_for(sub { !-e "$d/nginx.pid.oldbin" }), 'upgrade: old master goes');
is(join("\n", $registry->check('a', 'tag', $image->{digest})), '',
	'upgrade: all is served');

kill 'QUIT', slurp("$d/nginx.pid");
ok(wait_for(sub { !-e "$d/nginx.pid" }), 'upgrade: stopped');

undef $t;

###############################################################################

# the workers that answer, as far as they show

sub workers {
	return map { (http_head('/v2/') // '') =~ /^X-Pid: (\d+)/m
		? ($1 => 1) : () } 1 .. 30;
}

# nobody of the old ones answers any more

sub replaced {
	my %old = @_;
	my %new = workers();

	return %new && !grep { $old{$_} } keys %new;
}

# an upload of either kind and a download that have begun

sub begin {
	my @sessions = map { Session->new($_) } qw! a threads/a !;

	for my $session (@sessions) {
		$session->write_part(0, 3_000_000, 1_000_000);
		wait_for(sub { -s $session->file() == 1_000_000 })
			or die "An upload does not begin\n";
	}

	my $download = http("GET /v2/a/blobs/$large->{digest} HTTP/1.0\n\n",
		start => 1);
	sysread($download, my $begun, 1000) or die "A download does not begin\n";

	return (@sessions, $download, $begun);
}

# and here they end

sub end {
	my ($name, @transfers) = @_;
	my ($one, $two, $download, $answer) = @transfers;

	for my $session ($one, $two) {
		$name .= ' with threads' if $session eq $two;

		is($session->write_rest(2_000_000), 202, "$name: upload ends");
		is($session->finish(), 201, "$name: it becomes a blob");
		is($session->check(), undef, "$name: which is whole");
	}

	local $/;
	$answer .= <$download>;

	is(sha256_hex($answer =~ s/^.*?\r\n\r\n//sr), sha256_hex($large->{content}),
		"$name: download is whole");
}

# A blob that comes as far as its middle, and two clients who have seen that.

sub fetch {
	my $blob = $origin->blob('a', join '', map { chr(rand(256)) x 3 }
		1 .. 1_000_000);

	$origin->rule({ path => qr/$blob->{digest}/, stall => 1_500_000,
		times => 1 });

	return ($blob, map { follow($blob) } 1 .. 2);
}

# [ socket, what has come ]

sub follow {
	my ($blob) = @_;
	my $s = http("GET /v2/remote.example/a/blobs/$blob->{digest}"
		. " HTTP/1.0\n\n", start => 1);

	sysread($s, my $begun, 1000) or die "A fetch does not begin\n";

	return [ $s, $begun ];
}

# how many have all of it in the end

sub fetched {
	my ($blob, @fetches) = @_;

	$origin->release();

	return scalar grep {
		my ($s, $answer) = @$_;
		local $/;
		$answer .= <$s>;
		$answer =~ s/^.*?\r\n\r\n//sr eq $blob->{content};
	} @fetches;
}

###############################################################################

# An upload in pieces, of 3,000,000 bytes.

package Session;

sub new {
	my ($class, $name) = @_;
	my $r = $registry->request('POST', "/v2/$name/blobs/uploads/", '');

	return bless { name => $name, location => $r->{headers}{location},
		blob => Images::blob(join '', map { chr(rand(256)) x 3 }
			1 .. 1_000_000) }, $class;
}

sub file {
	my ($self) = @_;
	my ($id) = $self->{location} =~ m!([^/]+)$!;

	return "$d/registry/docker/registry/v2/repositories/$self->{name}"
		. "/_uploads/$id/data";
}

sub status {
	my ($self) = @_;
	my $r = $registry->request('GET', $self->{location});

	return (($r->{headers}{range} // '') =~ /^0-(\d+)$/ ? $1 + 1 : -1,
		$r->{headers}{location});
}

sub patch {
	my ($self, $from, $length) = @_;

	return $registry->request('PATCH', $self->{location},
		substr($self->{blob}{content}, $from, $length),
		'Content-Range' => $from . '-' . ($from + $length - 1))
		->{status};
}

# the first part of a chunk

sub write_part {
	my ($self, $from, $length, $part) = @_;

	$self->{socket} = Test::Nginx::http("PATCH $self->{location} HTTP/1.0\n"
		. "Content-Length: $length\nContent-Range: $from-"
		. ($from + $length - 1) . "\n\n"
		. substr($self->{blob}{content}, $from, $part), start => 1);
	$self->{at} = $from + $part;
}

sub write_rest {
	my ($self, $length) = @_;

	my $answer = Test::Nginx::http(substr($self->{blob}{content},
		$self->{at}, $length), socket => delete $self->{socket});

	return $answer =~ /^HTTP\S+ (\d+)/ ? $1 : $answer;
}

sub hang_up {
	my ($self) = @_;

	close delete $self->{socket};
}

sub finish {
	my ($self) = @_;

	return $registry->request('PUT', "$self->{location}"
		. "?digest=$self->{blob}{digest}", '')->{status};
}

sub check {
	my ($self) = @_;

	return $registry->check_blob($self->{name}, $self->{blob}{digest},
		3_000_000);
}

###############################################################################
