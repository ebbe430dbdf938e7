#!/usr/bin/perl

# The events of a real docker-registry: what is pushed and deleted there is
# seen here at once, though it would be believed for an hour.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Images;
use Test::Nginx;
use Test::Nginx::DockerRegistry;

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

    log_format purge "$status $registry_repository:$registry_reference";

    registry_cache edge { path %%TESTDIR%%/cache;  max_size 1g; }

    registry_remote main.example {
        url    http://127.0.0.1:8081;
        cache  edge;
        alias  127.0.0.1:%%PORT_8081%%;
        valid  1h;
        valid  404 1h;
    }

    server {
        listen       127.0.0.1:8080;
        registry_namespace main.example;

        location /v2/ {
            registry_proxy all;
        }

        location /purge/ {
            registry_purge;
            access_log %%TESTDIR%%/purge.log purge;
        }
    }
}

EOF

my $url = 'http://127.0.0.1:' . port(8080) . '/purge/';

Test::Nginx::DockerRegistry->new($t, port => 8081, notifications => {
	endpoints => [ { name => 'edge', url => $url, timeout => '5s',
		threshold => 1000, backoff => '100ms' } ] });

$t->run()->plan(10);

my $main = Images->new(port(8081));
my $edge = Images->new(port(8080));

###############################################################################

is(pull('latest'), 404, 'polled');

my $one = Images::image([ Images::blob('one') ]);
is($main->push_image('team/app', 'latest', $one, 'patch'), undef, 'pushed');
is(until_it_is($one->{content}, 'latest'), $one->{content}, 'pulled');

my $two = Images::image([ Images::blob('two') ]);
is($main->push_image('team/app', 'latest', $two, 'patch'), undef, 'moved');
is(until_it_is($two->{content}, 'latest'), $two->{content}, 'pulled again');
is(join("\n", $edge->check('team/app', 'latest', $two->{digest})), '',
	'all of it');

is($main->request('DELETE', "/v2/team/app/manifests/$one->{digest}")
	->{status}, 202, 'deleted');
is(until_it_is(404, $one->{digest}), 404, 'gone');
is(pull('latest'), $two->{content}, 'the other one is not');

$t->stop();
unlike($t->read_file('purge.log'), qr/^[^2]/m, 'all events are welcome');

###############################################################################

# the manifest, or the status

sub pull {
	my ($reference) = @_;
	my $r = $edge->request('GET', "/v2/team/app/manifests/$reference");

	return $r->{status} == 200 ? $r->{content} : $r->{status};
}

# events come a moment after the push has ended

sub until_it_is {
	my ($content, $reference) = @_;
	my $got;

	for (1 .. 500) {
		$got = pull($reference);
		return $got if $got eq $content;
		select undef, undef, undef, 0.02;
	}

	return $got;
}

###############################################################################
