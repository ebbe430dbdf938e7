#!/usr/bin/perl

# The status page: its numbers after requests that are known, in JSON and for
# Prometheus, with several workers, after a reload, after a worker was killed;
# and what it must not show.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use JSON::PP qw//;

use lib 'lib';
use Clients;
use Test::Nginx;
use Test::Nginx::Origin;
use Test::Nginx::Registry;
use Test::Nginx::Token;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http upstream_zone upstream_keepalive/);
my $d = $t->testdir();

my $conf = <<'EOF';

%%TEST_GLOBALS%%

daemon off;
user root;
worker_processes WORKERS;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    registry_zone 1m;

    registry_cache edge { path %%TESTDIR%%/cache; max_size 1g; }
    registry_store local { path %%TESTDIR%%/local; }

    registry_remote default { cache edge;  valid 1h;  valid 404 1s; }

    upstream origin {
        zone origin 64k;
        server 127.0.0.1:8081 max_fails=1 fail_timeout=1h;
        server 'unix:%%TESTDIR%%/a"b\c' down;
        server 127.0.0.1:8089 backup fail_timeout=1h;
        server 127.0.0.1:8089 backup fail_timeout=1h;
        keepalive 4;
    }

    registry_remote docker.io {
        url  http://origin;
    }

    registry_remote team.example:5000 {
        url            http://127.0.0.1:8083;
        credentials    %%TESTDIR%%/team.cred;
        allow_private  on;
    }

    REMOTES

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /v2/ {
            registry local;
            registry_push on;
            registry_delete on;
            registry_catalog on;

            location /v2/slow/ {
                limit_rate 10k;
            }

            location = /v2/status {
                registry_status;
            }
        }

        location /v2/docker.io/ {
            registry_proxy docker.io;
        }

        location /v2/team.example:5000/ {
            registry_proxy all;
        }

        location = /status {
            registry_status;
        }

        location = /json {
            registry_status json;
        }

        location /metrics {
            registry_status prometheus;

            if ($arg_quiet) {
                access_log off;
            }

            location = /metrics/status {
                registry_status;
            }
        }
    }
}

EOF

configure($t, workers => 1);
$t->write_file('team.cred', "alice:wonder-land\n");

my $origin = Test::Nginx::Origin->new($t, port => 8081);
my $issuer = Test::Nginx::Token->new($t, port => 8084, users => { alice =>
	{ password => 'wonder-land', allow => { 'team/*' => 'pull' } } });
my $team = Test::Nginx::Origin->new($t, port => 8083, token => $issuer);

$t->run()->plan(66)->todo_alerts();

###############################################################################

# nothing yet, and nothing in the cache, as soon as that is known

wait_for(sub { status()->{caches}{edge}{indexed} });

my $r = request(GET => '/status');

is($r->status, 200, 'status');
is($r->header('Content-Type'), 'application/json', 'type');
is(join(' ', sort keys %{$r->json->{namespaces}}),
	' docker.io team.example:5000', 'namespaces');
is(join(' ', grep { $_ } values %{numbers()}), '', 'nothing was counted');

is(request(HEAD => '/status')->header('Content-Length'),
	length $r->body, 'head');
is(request(GET => '/json')->body, $r->body, 'json');
is(request(GET => '/metrics/status')->body, $r->body, 'json, inherits nothing');
is(request(GET => '/metrics?quiet=1')->header('Content-Type'),
	'text/plain; version=0.0.4; charset=utf-8', 'prometheus, in "if"');
is(request(GET => '/metrics?format=json')->body, $r->body,
	'json, by the argument');
is(request(GET => '/v2/status')->body, $r->body, 'in a registry');
is(request(GET => '/v2/status')->header('Docker-Distribution-Api-Version'),
	undef, 'in a registry, not a part of it');

$r = request(GET => '/metrics');

is($r->status, 200, 'prometheus');
is($r->header('Content-Type'), 'text/plain; version=0.0.4; charset=utf-8',
	'prometheus, type');
is(request(GET => '/status?format=prometheus')->body, $r->body,
	'prometheus, by the argument');
is(request(HEAD => '/metrics')->header('Content-Length'), length $r->body,
	'prometheus, head');

is(request(POST => '/status', body => 'x')->status, 405, 'post');
is(request(GET => '/status?format=xml')->status, 400, 'unknown format');
is(request(GET => '/status?format=')->status, 400, 'empty format');

# what is hosted

my ($manifest, $sent);

is_deeply(changes(sub { $manifest = push_image('a', 'tag', 'layer') }), {
	'- requests push_blob' => 4,
	'- requests push_manifest' => 1,
	'- pushed_blobs upload' => 2,
}, 'push');

is_deeply(changes(sub {
	request(POST => '/v2/b/blobs/uploads/?from=a&mount=' . sha256('layer'));
	request(POST => '/v2/b/blobs/uploads/?digest=' . sha256('x'),
		body => 'x');
}), {
	'- requests push_blob' => 2,
	'- pushed_blobs upload' => 1,
	'- pushed_blobs mount' => 1,
}, 'push, mount and all at once');

is_deeply(changes(sub {
	request(GET => '/v2/a/manifests/tag');
	request(GET => '/v2/a/manifests/' . sha256($manifest));
	request(HEAD => '/v2/a/manifests/tag');
	request(GET => '/v2/a/blobs/' . sha256('layer'));
	request(GET => '/v2/a/blobs/' . sha256('layer'),
		headers => { Range => 'bytes=1-2' });
	request(HEAD => '/v2/a/blobs/' . sha256('layer'));
}), {
	'- requests pull_manifest' => 3,
	'- requests pull_blob' => 3,
	'- results miss' => 1,
	'- results hit' => 2,
	'- sent_bytes' => 2 * length($manifest) + 5 + 2,
}, 'pull');

is_deeply(changes(sub {
	$sent += length request(@$_)->body for [ GET => '/v2/' ],
		[ GET => '/v2/_catalog' ], [ GET => '/v2/a/tags/list' ],
		[ GET => '/v2/a/referrers/' . sha256('x') ];
}), {
	(map { ("- requests $_" => 1) } qw/ check list_catalog list_tags
		list_referrers /),
	'- sent_bytes' => $sent,
}, 'lists');

$sent = 0;

is_deeply(changes(sub {
	$sent += length request(@$_)->body for [ GET => '/v2/a/manifests/none' ],
		[ DELETE => '/v2/b/blobs/' . sha256('x') ],
		[ DELETE => '/v2/b/manifests/' . sha256('x') ],
		[ PUT => '/v2/' ], [ GET => '/v2/a/none' ],
		[ GET => '/v2/a/manifests/tag?ns=unknown.example' ];
}), {
	'- requests pull_manifest' => 1,
	'- requests delete_manifest' => 1,
	'- requests delete_blob' => 1,
	'- errors 4xx' => 5,
	'- sent_bytes' => $sent,
}, 'errors of clients');

# before a location is found, and where the connection is kept

is_deeply(changes(sub {
	$sent = length request('', '', raw => "GET /v2/ HTTP/1.1\r\n\r\n")->body;
}), { '- errors 4xx' => 1, '- sent_bytes' => $sent }, 'no host');

is_deeply(changes(sub {
	my $s = connection();
	request(GET => '/v2/a/blobs/' . sha256('layer'), socket => $s) for 1 .. 3;
}), {
	'- requests pull_blob' => 3,
	'- sent_bytes' => 15,
}, 'kept connection');

# a client that goes away

my $large = push_blob('slow/a', 'large' x 20_000);

is_deeply(changes(sub {
	my $s = send_request(GET => "/v2/slow/a/blobs/$large");
	sysread($s, my $buf, 1000);
	is(status()->{active}{requests}{pull_blob}, 1, 'a pull in progress');
	close $s;
	ok(wait_for(sub { !status()->{active}{requests}{pull_blob} }),
		'no more in progress');
}, qr/sent_bytes/), {
	'- requests pull_blob' => 1,
	'- errors incomplete' => 1,
}, 'a client that goes away');

# a remote's, cold and warm

my $image = $origin->image('library/alpine', 'latest', [ 'a layer' ]);
my $path = '/v2/docker.io/library/alpine';
my $layer = $image->{layers}[0]{digest};
my $size = length $image->{content};

is_deeply(changes(sub { request(GET => "$path/manifests/latest") }), {
	'docker.io requests pull_manifest' => 1,
	'docker.io results miss' => 1,
	'docker.io sent_bytes' => $size,
	'docker.io received_bytes' => $size,
	'docker.io answers answered' => 1,
}, 'remote, cold');

is_deeply(changes(sub {
	request(GET => "$path/manifests/latest");
	request(GET => '/v2/library/alpine/manifests/latest?ns=docker.io');
}), {
	'docker.io requests pull_manifest' => 2,
	'docker.io results hit' => 2,
	'docker.io sent_bytes' => 2 * $size,
}, 'remote, warm');

$sent = 0;

is_deeply(changes(sub {
	$sent += length request(GET => "$path/manifests/none")->body;
	$sent += length request(POST => "$path/blobs/uploads/")->body;
}, qr/received_bytes/), {
	'docker.io requests pull_manifest' => 1,
	'docker.io results miss' => 1,
	'docker.io errors 4xx' => 2,
	'docker.io sent_bytes' => $sent,
	'docker.io answers answered' => 1,
}, 'remote, errors of clients');

# tokens

my $app = $team->image('team/app', '1', [ 'layer' ]);
$team->image('other/app', '1', [ 'layer' ]);

is_deeply(changes(sub {
	request(GET => '/v2/team.example:5000/team/app/manifests/1');
}), {
	'team.example:5000 requests pull_manifest' => 1,
	'team.example:5000 results miss' => 1,
	'team.example:5000 sent_bytes' => length $app->{content},
	'team.example:5000 received_bytes' => length $app->{content},
	'team.example:5000 answers answered' => 1,
	'team.example:5000 tokens got' => 1,
}, 'token');

$issuer->rule({ status => 401 });

is_deeply(changes(sub {
	request(GET => '/v2/team.example:5000/other/app/manifests/1');
}, qr/_bytes|answers/), {
	'team.example:5000 requests pull_manifest' => 1,
	'team.example:5000 results miss' => 1,
	'team.example:5000 errors 4xx' => 1,
	'team.example:5000 tokens failed' => 1,
}, 'no token');

$issuer->clear();

# limits

is(status()->{namespaces}{'docker.io'}{rate_limit}, undef, 'no limit');

$origin->rule({ path => qr/limit/, headers => {
	'RateLimit-Limit' => '100;w=21600',
	'RateLimit-Remaining' => '76;w=21600' } });
request(GET => '/v2/docker.io/library/limit/manifests/1');

my $hub = status()->{namespaces}{'docker.io'};

is(join(' ', @$hub{qw/ rate_limit rate_remaining rate_window /}),
	'100 76 21600', 'limit');

$origin->rule({ path => qr/limit/, headers => {
	'RateLimit-Limit' => 'many', 'RateLimit-Remaining' => '5' } });
request(GET => '/v2/docker.io/library/limit/manifests/2');
is(status()->{namespaces}{'docker.io'}{rate_remaining}, 76,
	'limit that is none');

$origin->clear();
$origin->rule({ path => qr/many/, status => 429,
	headers => { 'Retry-After' => 600 } });

my $now = time();

is_deeply(changes(sub {
	request(GET => '/v2/docker.io/library/many/manifests/1');
}, qr/_bytes/), {
	'docker.io requests pull_manifest' => 1,
	'docker.io results miss' => 1,
	'docker.io errors 4xx' => 1,
	'docker.io answers limited' => 1,
}, 'too many requests');

$hub = status()->{namespaces}{'docker.io'};

cmp_ok($hub->{retry_at}, '>=', $now + 600, 'when to come again');
cmp_ok($hub->{retry_at}, '<=', time() + 600, 'and not later');
is($hub->{up}, JSON::PP::false, 'limited, not up');

# a remote that is not well; to look does not change what is thought of it

$origin->clear();
request(GET => '/v2/docker.io/library/again/manifests/1');
is(status()->{namespaces}{'docker.io'}{up}, JSON::PP::true, 'up again');

$team->rule({ status => 500 });

is_deeply(changes(sub {
	request(GET => '/v2/team.example:5000/team/app/manifests/2');
}, qr/_bytes/), {
	'team.example:5000 requests pull_manifest' => 1,
	'team.example:5000 results miss' => 1,
	'team.example:5000 errors 5xx' => 1,
	'team.example:5000 answers failed' => 1,
}, 'failed');

is(status()->{namespaces}{'team.example:5000'}{up}, JSON::PP::false, 'down');
is(status()->{namespaces}{'team.example:5000'}{up}, JSON::PP::false,
	'still down');

# servers of an upstream: the second one answers no better than the first

my $peers = status()->{upstreams}{origin};
my @names = (map({ '127.0.0.1:' . port($_) } 8081, 8089), "unix:$d/a\"b\\c");

is(join(' ', sort keys %$peers), join(' ', sort @names), 'servers');
is(join(', ', map { flags($peers->{$_}) } @names), 'up, backup up, down',
	'servers, well');

$origin->rule({ status => 500 });

is_deeply(changes(sub {
	request(GET => '/v2/docker.io/library/failed/manifests/1');
}, qr/_bytes/), {
	'docker.io requests pull_manifest' => 1,
	'docker.io results miss' => 1,
	'docker.io errors 5xx' => 1,
	'docker.io answers broken' => 1,
}, 'no answer');

$peers = status()->{upstreams}{origin};
is(join(', ', map { flags($peers->{$_}) } @names),
	'failed, backup failed, down', 'servers, failed');

# the zone

my $zone = status()->{zone};

is($zone->{size_bytes}, 1024 * 1024, 'zone, size');
cmp_ok($zone->{free_bytes}, '<', 1024 * 1024, 'zone, free');
cmp_ok($zone->{entries}, '>', 4, 'zone, entries');
is($zone->{evictions}, 0, 'zone, evictions');

# the same numbers for Prometheus

agree('prometheus');

# no secrets

for my $page ('/status', '/metrics') {
	unlike(request(GET => $page)->body, qr/alice|wonder|bearer|eyJ|team\.cred/i,
		"no secrets, $page");
}

# several workers, and another remote

my $before = numbers();

configure($t, workers => 4, remotes => 'registry_remote new.example {'
	. ' url http://127.0.0.1:8081; }');
reload($t);

is(status()->{namespaces}{'new.example'}{requests}{check}, 0,
	'reload, a new remote');
is_deeply({ map { $_ => numbers()->{$_} } keys %$before }, $before,
	'reload, all that was counted');

is_deeply(changes(sub {
	request(GET => '/v2/a/blobs/' . sha256('layer')) for 1 .. 40;
	ok(wait_for(sub { status()->{namespaces}{''}{sent_bytes}
		>= $before->{'- sent_bytes'} + 200 }), 'workers');
}), {
	'- requests pull_blob' => 40,
	'- sent_bytes' => 200,
}, 'many requests');

# an upload in the hands of a worker that is killed

my $location = request(POST => '/v2/a/blobs/uploads/')->location;
my $s = send_request(PATCH => $location, raw => "PATCH $location HTTP/1.1\r\n"
	. "Host: localhost\r\nContent-Length: 100\r\n\r\nsome");

ok(wait_for(sub { status()->{active}{requests}{push_blob} == 1 }),
	'an upload in progress');

kill 'KILL', workers($t);
ok(wait_for(sub { eval { status()->{active}{requests}{push_blob} == 0 } }),
	'none after workers were killed');

# without the remote, and with it again

$before = numbers();

configure($t, workers => 2);
reload($t);
is(status()->{namespaces}{'new.example'}, undef, 'reload, a remote less');

configure($t, workers => 1, remotes => 'registry_remote new.example {'
	. ' url http://127.0.0.1:8081; }');
reload($t);
is_deeply(numbers(), $before, 'reload, all that was counted, again');

agree('reload, prometheus');

###############################################################################

sub status {
	return request(GET => '/status')->json;
}

# what is counted, as { 'docker.io requests check' => 0, ... }

sub numbers {
	my $namespaces = status()->{namespaces};
	my %numbers;

	for my $name (keys %$namespaces) {
		my $of = $namespaces->{$name};
		my $ns = $name eq '' ? '-' : $name;

		for my $key (grep { !/^(?:rate|retry|up)/ } keys %$of) {
			if (ref $of->{$key}) {
				$numbers{"$ns $key $_"} = $of->{$key}{$_}
					for keys %{$of->{$key}};

			} else {
				$numbers{"$ns $key"} = $of->{$key};
			}
		}
	}

	return \%numbers;
}

# what these requests change, but for what is not to be looked at

sub changes {
	my ($code, $not) = @_;

	my $before = numbers();
	$code->();
	my $after = numbers();

	return { map { $_ => $after->{$_} - $before->{$_} }
		grep { $after->{$_} != $before->{$_} && !($not && /$not/) }
		keys %$after };
}

sub flags {
	my ($peer) = @_;
	return join(' ', grep { ref $peer->{$_} && $peer->{$_} }
		sort keys %$peer);
}

# both pages have the same numbers

sub agree {
	my ($name) = @_;
	my $json = status();
	my $samples = prometheus(request(GET => '/metrics')->body);
	my %expected;

	my %metric = (
		requests => [ 'requests_total', 'operation' ],
		errors => [ 'errors_total', 'class' ],
		results => [ 'results_total', 'result' ],
		pushed_blobs => [ 'pushed_blobs_total', 'how' ],
		sent_bytes => [ 'sent_bytes_total' ],
		received_bytes => [ 'received_bytes_total' ],
		answers => [ 'remote_answers_total', 'result' ],
		tokens => [ 'tokens_total', 'result' ],
		flights => [ 'flights_total' ],
		prefetches => [ 'prefetches_total', 'result' ],
		rate_limit => [ 'rate_limit_requests' ],
		rate_remaining => [ 'rate_limit_remaining_requests' ],
		rate_window => [ 'rate_limit_window_seconds' ],
		retry_at => [ 'retry_timestamp_seconds' ],
		up => [ 'remote_up' ],
	);

	for my $ns (keys %{$json->{namespaces}}) {
		my $of = $json->{namespaces}{$ns};

		for my $key (keys %$of) {
			my ($metric, $label) = @{$metric{$key}};

			if (!$label) {
				$expected{"$metric namespace=$ns"} = $of->{$key} + 0;
				next;
			}

			$expected{"$metric namespace=$ns $label=$_"} = $of->{$key}{$_}
				for keys %{$of->{$key}};
		}
	}

	for my $peer (keys %{$json->{upstreams}{origin}}) {
		$expected{"peer_$_ upstream=origin peer=$peer"} =
			$json->{upstreams}{origin}{$peer}{$_} + 0
			for qw/ up down failed backup connections /;
	}

	my $cache = $json->{caches}{edge};
	$expected{"cache_$_ cache=edge"} = $cache->{$_} + 0
		for qw/ size_bytes max_size_bytes blobs indexed /;
	$expected{"cache_$_ cache=edge"} = $cache->{$_ =~ s/_total//r}
		for qw/ evictions_total evicted_bytes_total /;

	my %others = map { $_ => delete $samples->{$_} }
		grep { !exists $expected{$_} } keys %$samples;

	is_deeply($samples, \%expected, "$name, the same numbers");
	is(join(' ', sort grep { !/^active_requests operation=\w+$/ }
		keys %others), 'flights flights_limit zone_entries '
		. 'zone_evictions_total zone_free_bytes zone_size_bytes',
		"$name, the others");
}

# The text format 0.0.4, and no more of it than there has to be: HELP, TYPE and
# samples of each metric together, no series twice, counters by their names.

sub prometheus {
	my ($text) = @_;
	my (%samples, %seen, $help, $metric, $type);

	die "no end of the last line\n" if $text !~ /\n\z/;

	for my $line (split(/\n/, $text)) {

		if ($line =~ /^# HELP (nginx_registry_[a-z_]+) [A-Z].*\.$/) {
			die "$line: without samples\n" if defined $help;
			die "$line: again\n" if $seen{$1}++;
			$help = $1;
			next;
		}

		if ($line =~ /^# TYPE (\w+) (counter|gauge)$/) {
			die "$line: no HELP\n" if $1 ne ($help // '');
			($metric, $type, $help) = ($1, $2, undef);
			die "$line: name\n"
				if ($type eq 'counter') != ($metric =~ /_total$/);
			next;
		}

		my ($name, $labels, $value) = $line
			=~ /^(\w+)(?:\{((?:[^"]|"(?:[^"\\]|\\.)*")*)\})? (\d+)$/
			or die "$line: not a sample\n";

		die "$line: not below its TYPE\n" if $name ne ($metric // '');

		my @labels;

		while (defined $labels && length $labels) {
			$labels =~ s/^([a-z]\w*)="((?:[^"\\]|\\[\\"n])*)"(?:,(?=.)|$)//
				or die "$line: labels\n";
			my ($label, $text) = ($1, $2);
			$text =~ s/\\(.)/$1 eq 'n' ? "\n" : $1/ge;
			push @labels, "$label=$text";
		}

		my $series = join(' ', $name =~ s/^nginx_registry_//r,
			@labels);

		die "$line: again\n" if exists $samples{$series};
		$samples{$series} = $value;
	}

	die "$help: without samples\n" if defined $help;

	return \%samples;
}

sub workers {
	my ($t) = @_;
	my $master = $t->read_file('nginx.pid') + 0;
	my %pids = map { split / /, $_, 2 } map { s/^\s+//r }
		split(/\n/, `ps --ppid $master -o pid=,args=`);

	return grep { $pids{$_} !~ /cache manager|shutting down/ } keys %pids;
}

# until all workers are new ones

sub reload {
	my ($t) = @_;
	my %old = map { $_ => 1 } workers($t);

	$t->reload();

	wait_for(sub {
		my @now = workers($t);
		return @now && !grep { $old{$_} } @now;
	}) or die "no new workers\n";
}

sub configure {
	my ($t, %opts) = @_;
	my $text = $conf;
	my $remotes = $opts{remotes} // '';

	$text =~ s/WORKERS/$opts{workers}/;
	$text =~ s/REMOTES/$remotes/;

	$t->write_file_expand('nginx.conf', $text);
}
