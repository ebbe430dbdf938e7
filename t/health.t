#!/usr/bin/perl

# Health checks: who is asked, how often and by whom, what counts as healthy,
# who gets no request of a client meanwhile, after a reload and after the
# death of the worker that asks too; and what "nginx -t" refuses.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Clients;
use Test::Nginx;
use Test::Nginx::CA;
use Test::Nginx::Origin;
use Test::Nginx::Registry;

use Time::HiRes qw/ sleep time /;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/ http upstream_zone socket_ssl /)
	->has_daemon('openssl')->plan(115)->todo_alerts();

my $interval = 0.4;

my $head = <<'EOF';

%%TEST_GLOBALS%%

error_log %%TESTDIR%%/notice.log notice;

daemon off;
user root;

events {
}

EOF

my $http = <<'EOF';

http {
    %%TEST_GLOBALS_HTTP%%

    error_log %%TESTDIR%%/error.log notice;

    add_header X-Pid $pid always;

    registry_cache edge { path %%TESTDIR%%/cache; max_size 1g; }

    upstream pair {
        zone pair 64k;
        server 127.0.0.1:8081 max_fails=0;
        server 127.0.0.1:8082 max_fails=0;
        server 127.0.0.1:8089 down;
    }

    upstream spare {
        zone spare 64k;
        least_conn;
        server 127.0.0.1:8083 max_fails=0;
        server 127.0.0.1:8084 backup max_fails=0;
    }

    upstream tls {
        zone tls 64k;
        server 127.0.0.1:8085;
    }

    upstream unchecked {
        server 127.0.0.1:8081;
    }

    upstream seldom {
        zone seldom 64k;
        server 127.0.0.1:8082;
    }

    registry_remote default {
        cache edge;
        health_check interval=400ms fails=3 passes=2;
        use_stale off;
        ssl_trusted_certificate ca.crt;
    }

    registry_remote pair.example { url http://pair; }
    registry_remote same.example { url http://pair; }
    registry_remote spare.example { url http://spare; }
    registry_remote address.example { url http://127.0.0.1:8082; }

    registry_remote tls.example {
        url https://tls;
        ssl_name registry.corp;
        health_check uri=/v2/?of=tls interval=400ms timeout=300ms fails=2 passes=1;
    }

    registry_remote unchecked.example {
        url http://unchecked;
        health_check off;
    }

    registry_remote seldom.example {
        url http://127.0.0.1:8082;
        push_url http://seldom;
        health_check interval=1h;
    }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /v2/ {
            registry_proxy all;
        }
    }
}

EOF

my $ca = Test::Nginx::CA->new($t);
my $stranger = Test::Nginx::CA->new($t, 'stranger');

my ($first, $second, $primary, $backup) = map {
	Test::Nginx::Origin->new($t, port => $_) } 8081 .. 8084;
my $tls = Test::Nginx::Origin->new($t, port => 8085,
	ssl => $ca->certificate('registry.corp'));

my $base = '^/v2/(?:\?.*)?$';
my $checks = qr!^GET /v2/(?:\?.*)?$!;
my $broken = { path => $base, status => 500 };
my $pulls = 0;

$t->write_file_expand('nginx.conf', "worker_processes 3;\n$head$http")->run();

###############################################################################

# who is asked

my ($check) = $first->await($checks, 2);

is($check->{path}, '/v2/', 'asked for /v2/');
is($check->{headers}{host}, 'pair', 'by its name');
ok(!exists $check->{headers}{authorization}, 'without credentials');
ok($second->await($checks, 2), 'all are asked');
ok($backup->await($checks, 2), 'and so is a backup');

$_->forget() for $first, $second, $backup;
is(pull('pair', 20), '404' x 20, 'all serve');
ok(pulled($first) && pulled($second), 'both');
is(pull('spare', 4), '404' x 4, 'a primary serves');
is(pulled($backup), 0, 'and its backup does not');

# it is one of the workers that asks, each peer once in an interval

my $start = time();

$first->forget();
$first->await($checks, 5);
cmp_ok($first->requests($checks), '<=', (time() - $start) / $interval + 1,
	'once in an interval');

# so many failures in a row, and not less

$first->forget()->rule({ %$broken, times => 2 });
$first->await($checks, 6);
is(join(' ', map { $_->{status} } ($first->requests($checks))[0 .. 2]),
	'500 500 200', 'two failures');
is(downs($first), 0, 'are not three');

$first->rule($broken);
ok(went($first, 'down: 500'), 'three failures');

$first->forget();
is(pull('pair', 20), '404' x 20, 'down, the other serves');
is(pull('same', 4), '404' x 4, 'down, also for another remote');
is(pulled($first), 0, 'down, no client gets there');

$first->await($checks, 4);
is(downs($first), 1, 'down, logged once');
is(pull('unchecked', 1), '404', 'another upstream knows nothing of it');

# A reload: not a single request goes there, before anybody asks, and old
# workers do not stay.

my $seldom = $http =~ s/interval=400ms fails/interval=1h fails/r;

$first->forget();

for my $text ($seldom, $http) {
	my %old = workers();

	$t->write_file_expand('nginx.conf', "worker_processes 3;\n$head$text");
	$t->reload();
	ok(wait_for(sub { pull('pair', 4); replaced(%old) }), 'reload');
	is(pull('pair', 20), '404' x 20, 'reload, the other serves');
	is(pulled($first), 0, 'reload, no client gets there');
	ok(wait_for(sub { !grep { kill 0, $_ } keys %old }),
		'reload, old workers go');
}

ok($first->await($checks, 4), 'reload, it is asked');
is(downs($first), 1, 'reload, no news');

# so many that pass in a row, and not less

$first->clear()->forget()->rule({ %$broken, skip => 1 });
$first->await($checks, 5);
is(ups($first), 0, 'one that passed is not two');

$first->clear();
ok(went($first, 'up again'), 'two that passed');

$first->forget();
is(pull('pair', 20), '404' x 20, 'up, all serve');
ok(pulled($first), 'up, clients get there');
is(ups($first), 1, 'up, logged once');

# what is healthy, and what is not

$first->set(basic => 'alice:wonder')->forget();
$first->await($checks, 6);
is(join('', map { $_->{status} } ($first->requests($checks))[0 .. 4]),
	'401' x 5, 'answered 401');
is(downs($first), 1, '401 is healthy');
pull('pair', 4);
ok(pulled($first), '401, clients get there');
$first->set(basic => undef);

my @sick = (
	[ $first, { status => 403 }, 'down: 403' ],
	[ $second, { status => 302 }, 'down: 302' ],
	[ $primary, { close => 1 }, 'down: the answer ended too early' ],
	[ $backup, { stall => 1 }, 'down: timed out' ],
);

$_->[0]->rule({ path => $base, %{$_->[1]} }) for @sick;
ok(went($_->[0], $_->[2]), $_->[2]) for @sick;
$_->[0]->clear()->release() for @sick;
ok(went($_->[0], 'up again'), "not $_->[2]") for @sick;

$first->freeze();
$primary->stop();
ok(went($primary, 'down: the connection failed'), 'stopped');
ok(went($first, 'down: timed out'), 'frozen');
is(pull('pair', 8), '404' x 8, 'frozen, the other serves at once');
$first->thaw();
$primary->start();
ok(went($_, 'up again'), 'neither') for $first, $primary;

# a backup

$primary->rule($broken);
ok(went($primary, 'down: 500'), 'primary down');
$_->forget() for $primary, $backup;
is(pull('spare', 8), '404' x 8, 'primary down, its backup serves');
is(pulled($primary), 0, 'primary down, no client gets there');
ok(pulled($backup), 'primary down, all get to its backup');

$backup->rule($broken);
ok(went($backup, 'down: 500'), 'both down');
$_->forget() for $primary, $backup;
is(pull('spare', 4), '502' x 4, 'both down, a clear answer');
is(pulled($primary) + pulled($backup), 0, 'both down, no client gets there');

$primary->clear();
ok(went($primary, 'up again'), 'primary up');
is(pull('spare', 4), '404' x 4, 'primary up, it serves');

# TLS

($check) = $tls->await(qr!^GET /v2/\?of=tls$!, 2);
is("$check->{sni} $check->{headers}{host}", 'registry.corp registry.corp',
	'tls, the name of the remote');
is(downs($tls), 0, 'tls, up');
is(pull('tls', 4), '404' x 4, 'tls, serves');

$tls->set(ssl => $stranger->certificate('registry.corp'));
ok(went($tls, 'down: TLS failed'), 'tls, signed by a stranger');
$tls->set(ssl => $ca->certificate('other.corp'));
$tls->forget();
sleep(3 * $interval);
is(ups($tls) . $tls->requests(), '00', 'tls, of another name');
$tls->set(ssl => $ca->certificate('registry.corp'));
ok(went($tls, 'up again'), 'tls, up');

# whichever worker it was that asked

my %workers;

wait_for(sub { %workers = (%workers, workers()); keys %workers == 3 });

for my $pid (sort keys %workers) {
	kill 'KILL', $pid;
	ok(wait_for(sub { !kill 0, $pid }), 'a worker killed');
	$second->forget();
	ok($second->await($checks, 4), 'peers are asked');
}

$first->rule($broken);
ok(went($first, 'down: 500'), 'and marked');
$first->forget();
pull('pair', 8);
is(pulled($first), 0, 'for all workers');
$first->clear();

$t->stop();

# a process that is all there is

$t->write_file_expand('nginx.conf', "master_process off;\n$head$http")->run();

$first->rule($broken);
ok(went($first, 'down: 500'), 'alone, down');
$first->forget();
is(pull('pair', 8), '404' x 8, 'alone, the other serves');
is(pulled($first), 0, 'alone, no client gets there');
$first->clear();
ok(went($first, 'up again'), 'alone, up');

$t->stop();

is(join("\n", grep { !/exited on signal 9/ }
	$t->read_file('notice.log') =~ /^.*\[alert\].*$/mg), '', 'no other alerts');

###############################################################################

# what is refused

my $zone = 'upstream u { zone u 64k; server 127.0.0.1:8081; }';

for my $bad ('uri=', 'uri=v2', 'uri=/v2/#x', 'interval=0', 'interval=x',
	'interval=', 'timeout=0', 'fails=0', 'fails=-1', 'passes=x',
	'status=200', 'on')
{
	refused("health_check $bad;", $zone,
		qr/invalid value "\Q$bad\E" in "health_check"/);
}

refused('health_check "uri=/v2/ x";', $zone, qr!invalid value "uri=/v2/ x"!);
refused('health_check interval=1s timeout=2s;', $zone,
	qr/"health_check" has a "timeout" longer than its "interval"/);
refused('health_check off uri=/;', $zone, qr/invalid value "off"/);
refused('health_check; health_check off;', $zone, qr/is duplicate/);

refused('health_check;', 'upstream u { server 127.0.0.1:8081; }', told(
	'upstream "u" in FILE has no "zone", which "health_check" of '
	. 'registry_remote "u.example" in FILE needs'));
refused('health_check;', '', told('"health_check" of registry_remote '
	. '"u.example" in FILE checks servers of an upstream, which none of '
	. 'its URLs names'));
refused('health_check;', "$zone registry_remote v.example { cache edge;"
	. ' url http://u; health_check fails=2; }',
	told('"health_check" of registry_remote "u.example" in FILE differs '
	. 'from that of registry_remote "v.example" in FILE, which names the '
	. 'same upstream "u"'));

undef $t;

###############################################################################

# as many requests, which a server of the remote has to answer

sub pull {
	my ($remote, $n) = @_;

	return join('', map { request(GET => "/v2/$remote.example/lib/x/manifests/"
		. ++$pulls)->status } 1 .. $n);
}

sub pulled {
	my ($origin) = @_;
	return scalar $origin->requests(qr/manifests/);
}

# what the log says of a server, and how often; went() waits for one more

sub said {
	my ($origin, $what) = @_;
	my $re = qr/peer 127\.0\.0\.1:$origin->{port} of upstream "\w+" is $what/;

	return scalar(() = $t->read_file('notice.log') =~ /$re/g);
}

sub downs { return said($_[0], 'down') }
sub ups { return said($_[0], 'up again') }

sub went {
	my ($origin, $what) = @_;
	my $count = ++$origin->{went}{$what};

	return wait_for(sub { said($origin, $what) >= $count });
}

sub workers {
	return map { request(GET => '/v2/none')->header('X-Pid') => 1 } 1 .. 30;
}

# nobody of the old ones answers any more

sub replaced {
	my %old = @_;
	my %new = workers();

	return !grep { $old{$_} } keys %new;
}

# a remote whose upstream is "u", and whose line is the one with the mistake

sub refused {
	my ($check, $others, $re) = @_;

	my $url = $others ? 'http://u' : 'http://127.0.0.1:8081';

	$t->write_file_expand('nginx.conf', $head . <<"EOF");
http {
    %%TEST_GLOBALS_HTTP%%
    registry_cache edge { path %%TESTDIR%%/cache; max_size 1g; }
    $others
    registry_remote u.example { cache edge; url $url; $check }
    server {
        listen       127.0.0.1:8080;
        location /v2/ { registry_proxy all; }
    }
}
EOF

	my $out = $t->dump_config();
	my ($said) = $out =~ /^nginx: \[emerg\] (.*)/m;

	like($said // $out, $re, "refused: $check");
	like($said // '', qr/nginx\.conf:\d+/, "refused: $check, where");
}

sub told {
	my ($text) = @_;
	my $re = join('\S+nginx\.conf:\d+', map { quotemeta }
		split(/FILE/, $text));

	return qr/^$re/;
}

###############################################################################
