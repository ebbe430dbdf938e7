#!/usr/bin/perl

# Somebody waits for an image: it is not there each time, then it is pushed at
# a real docker-registry behind us, and has to be seen: within the time of
# "valid 404", and at once after an event.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Images;
use Test::Nginx;
use Test::Nginx::DockerRegistry;
use Test::Nginx::Registry;
use Time::HiRes qw/ sleep time /;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http/)->has_daemon('docker-registry')
	->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;
user root;
worker_processes 2;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    registry_cache edge { path %%TESTDIR%%/cache;  max_size 1g; }

    # as it is by default: "valid 404 5s"

    registry_remote main.example {
        url    http://127.0.0.1:8081;
        cache  edge;
    }

    registry_remote event.example {
        url    http://127.0.0.1:8081;
        cache  edge;
        valid  404 1h;
    }

    server {
        listen       127.0.0.1:8080;

        location /v2/ {
            registry_proxy all;
        }

        location /purge/ {
            registry_purge event.example;
        }
    }
}

EOF

my $hook = Hook->new($t, port => 8082);

Test::Nginx::DockerRegistry->new($t, port => 8081, notifications => {
	endpoints => [ { name => 'hook', url => $hook->url() . '/',
		timeout => '5s', threshold => 1000, backoff => '100ms' } ] });

$t->run()->plan(19);

my $main = Images->new(port(8081));

###############################################################################

# polled once a second for longer than an answer holds, and on after the push;
# to ask again does not make it hold for longer

my @ways = map { my $what = $_; map { "$_ $what" } qw/ GET HEAD / }
	qw/ tag digest blob /;

my $image = Images::image([ Images::blob('polled') ]);
my %answers = map { $_ => '' } @ways;

for my $second (1 .. 7) {
	sleep(1) if $second > 1;
	$answers{$_} .= pull($_, 'main.example/app', $image) . ' ' for @ways;
}

is($answers{$_}, '404 ' x 7, "$_, before the push") for @ways;

is($main->push_image('app', 'latest', $image), undef, 'pushed');

my $pushed = time();
my $limit = $pushed + 5 + 5 * $Test::Nginx::PATIENCE;
my %seen;

while (keys %seen < @ways && time() < $limit) {
	for my $way (grep { !$seen{$_} } @ways) {
		my $status = pull($way, 'main.example/app', $image);

		$seen{$way} = [ $status, time() - $pushed ] if $status != 404;
	}

	sleep(0.1);
}

for my $way (@ways) {
	my ($status, $seconds) = @{$seen{$way} // [ 404, time() - $pushed ]};

	is($status, 200, "$way, after the push");
	note(sprintf('%s: seen after %.1f s', $way, $seconds));
}

# what was pushed is not seen until the event comes, and then at the first pull;
# that a blob is not there is not remembered at all

for my $way (@ways) {
	my $name = $way =~ y/A-Z /a-z-/r;
	my $image = Images::image([ Images::blob($way) ]);
	my @got = (pull($way, "event.example/$name", $image));

	$main->push_image($name, 'latest', $image);

	push @got, pull($way, "event.example/$name", $image);
	push @got, map { request(POST => '/purge/', body => $_)->status }
		$hook->events($name);
	push @got, pull($way, "event.example/$name", $image);

	is(join(' ', @got), $way =~ /blob/ ? '404 200 200 200'
		: '404 404 200 200', "$way, an event");
}

###############################################################################

sub pull {
	my ($way, $name, $image) = @_;
	my ($method, $what) = split(/ /, $way);

	return request($method => "/v2/$name/" . {
		tag => 'manifests/latest',
		digest => "manifests/$image->{digest}",
		blob => "blobs/$image->{blobs}[1]{digest}" }->{$what})->status;
}

###############################################################################

# keeps the events that it gets

package Hook;

use base qw/ Test::Nginx::Server /;

use Time::HiRes qw//;

sub answer {
	my ($self, $request) = @_;

	open(my $fh, '>>', "$self->{dir}/events") or die "events: $!\n";
	syswrite($fh, $request->{body} =~ s/\s+/ /gr . "\n");

	return { status => 200 };
}

# the document about the manifest of a repository, when it has come

sub events {
	my ($self, $name) = @_;

	for (1 .. 500 * $Test::Nginx::PATIENCE) {
		if (open(my $fh, '<', "$self->{dir}/events")) {
			my @events = grep { /"repository": ?"\Q$name\E"/
				&& /"tag": ?"latest"/ } <$fh>;
			return @events if @events;
		}

		Time::HiRes::sleep(0.02);
	}

	return;
}

###############################################################################
