#!/usr/bin/perl

# The outbound client and names: nginx's resolver and getaddrinfo(), several
# addresses, IPv6, and addresses that are nobody's business.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Call;
use Test::Nginx::DNS;
use Test::Nginx::Registry;
use Time::HiRes qw/ sleep time /;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

# getaddrinfo() asks at port 53

plan(skip_all => 'must be root') if $> != 0;

my $t = Test::Nginx->new()->has(qw/http/)->plan(43);
my $dir = $t->testdir();

# an address of this test's own, for the DNS server

my $address = join('.', 127, 100 + $$ % 100, int($$ / 100) % 256,
	1 + int(rand(250)));
my $dns = Test::Nginx::DNS->new($t, address => $address);

$t->write_file_expand('nginx.conf', <<'EOF'
%%TEST_GLOBALS%%
CALL_MODULE

daemon off;
user root;
worker_processes 1;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    error_log %%TESTDIR%%/error.log info;

    registry_client asks resolver_timeout=1s first_timeout=1s
                    target=http://kept.corp:%%PORT_8081%%
                    target=http://moves.corp:%%PORT_8081%%
                    target=http://several.corp:%%PORT_8081%%
                    target=http://six.corp:%%PORT_8081%%
                    target=http://both.corp:%%PORT_8081%%
                    target=http://none.corp:%%PORT_8081%%
                    target=http://failing.corp:%%PORT_8081%%
                    target=http://silent.corp:%%PORT_8081%%
                    target=http://nothing.corp:%%PORT_8081%%
                    target=http://quiet.corp:%%PORT_8081%%
                    target=http://[::1]:%%PORT_8081%%;

    registry_client looks resolver_timeout=1s first_timeout=1s
                    target=http://kept.corp:%%PORT_8081%%
                    target=http://moves.corp:%%PORT_8081%%
                    target=http://several.corp:%%PORT_8081%%
                    target=http://six.corp:%%PORT_8081%%
                    target=http://both.corp:%%PORT_8081%%
                    target=http://none.corp:%%PORT_8081%%
                    target=http://failing.corp:%%PORT_8081%%
                    target=http://silent.corp:%%PORT_8081%%
                    target=http://nothing.corp:%%PORT_8081%%
                    target=http://quiet.corp:%%PORT_8081%%
                    target=http://[::1]:%%PORT_8081%%;

    registry_client allowed private=on;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location ~ ^/asks/([^/]+) {
            resolver DNS;
            registry_call asks http://$1:%%PORT_8081%%$request_uri;
        }

        location ~ ^/looks/([^/]+) {
            registry_call looks http://$1:%%PORT_8081%%$request_uri;
        }

        location ~ ^/allowed/([^/]+) {
            registry_call allowed http://$1:%%PORT_8081%%$request_uri;
        }
    }
}

EOF
	=~ s/CALL_MODULE/call_module($t)/er =~ s/DNS/$address/r);

$dns->names(
	'kept.corp 127.0.0.1 ttl=300',
	'moves.corp 127.0.0.1 ttl=1',
	'several.corp 127.0.0.9 127.0.0.1 127.0.0.8 ttl=300',
	'six.corp ::1 ttl=300',
	'both.corp ::2 127.0.0.1 ttl=300',
	'failing.corp rcode=2',
	'silent.corp silent',
	'nothing.corp ttl=300',
	'private.corp 10.0.0.1 127.0.0.1 169.254.169.254 ::1 fd00::1 ttl=300',
)->start();

my $s = Test::Nginx::Call::Server->new($t, port => 8081, name => 'one');
my $two = Test::Nginx::Call::Server->new($t, port => 8081, name => 'two',
	address => '127.0.0.2');
my $six = Test::Nginx::Call::Server->new($t, port => 8081, name => 'six',
	address => '::1');

# nginx and its threads ask our server: in a mount namespace of its own

my $nginx = $Test::Nginx::NGINX;

$t->write_file('resolv.conf', "nameserver $address\n"
	. "options timeout:5 attempts:1\n");
$t->write_file('nginx', "#!/bin/sh\n"
	. "exec unshare -m sh -c 'mount --bind $dir/resolv.conf /etc/resolv.conf"
	. " && exec $nginx \"\$\@\"' sh \"\$\@\"\n");
chmod 0755, "$dir/nginx";

{
	local $Test::Nginx::NGINX = "$dir/nginx";
	$t->run();
}

###############################################################################

for my $how (qw/ asks looks /) {
	my $port = port(8081);

	is(peer("/$how/kept.corp/3"), "127.0.0.1:$port", "$how, a name");
	is(peer("/$how/several.corp/3"), "127.0.0.1:$port",
		"$how, several addresses, $_") for 1 .. 4;
	is(peer("/$how/six.corp/3"), "[::1]:$port", "$how, IPv6");
	is(peer("/$how/both.corp/3"), "127.0.0.1:$port", "$how, the other family");
	is(peer("/$how/[::1]/3"), "[::1]:$port", "$how, an IPv6 literal");

	like(error("/$how/none.corp/3"),
		qr/^the name could not be resolved, (?:Host|Name or service) not/,
		"$how, no such name");
	like(error("/$how/nothing.corp/3"), qr/^the name could not be resolved/,
		"$how, no address");
	like(error("/$how/failing.corp/3"), qr/^the name could not be resolved/,
		"$how, failure");

	my $start = time();
	is(error("/$how/silent.corp/3"),
		'the name could not be resolved, timed out', "$how, no answer");
	cmp_ok(time() - $start, '<', 3, "$how, no answer, in time");

	# others do not matter, whatever they resolve to

	is(error("/$how/private.corp/3"), 'the address is private',
		"$how, private");
	is(error("/$how/127.0.0.1/3"), 'the address is private',
		"$how, a private address");
}

is(peer('/allowed/127.0.0.1/3'), '127.0.0.1:' . port(8081), 'allowed');

###############################################################################

# who is asked for how long: as the TTL says, or half a minute

is(scalar($dns->asked('kept.corp')), 4,
	'asked once by each, for both families');

is(peer('/asks/moves.corp/3'), '127.0.0.1:' . port(8081), 'before it moves');
$dns->names('moves.corp 127.0.0.2 ttl=1');
sleep(2.1);
is(peer('/asks/moves.corp/3'), '127.0.0.2:' . port(8081),
	'a kept connection is not used for an old address');
is(peer('/asks/moves.corp/3'), '127.0.0.2:' . port(8081), 'nor then');

# many at once ask once

$dns->names('quiet.corp silent');
my @c = map { send_request(GET => '/looks/quiet.corp/3') } 1 .. 20;
response($_) for @c;
is(scalar(grep { /AAAA/ } $dns->asked('quiet.corp')), 1, 'many at once');

# by one that goes away

for my $how (qw/ asks looks /) {
	my $c = send_request(GET => "/$how/quiet.corp/3?gone");
	sleep(0.2);
	close $c;
}

# by others who wait for the same, as soon as it is there

for my $how (qw/ asks looks /) {
	$dns->freeze();
	@c = map { send_request(GET => "/$how/crowd.corp/3?free=all") } 1 .. 5;
	sleep(0.3);
	$dns->thaw();

	my $rin = '';
	vec($rin, fileno $_, 1) = 1 for @c;
	ok(select($rin, undef, undef, 10 * $Test::Nginx::PATIENCE),
		"$how, one frees all others");
	close $_ for @c;
}

is(peer('/asks/kept.corp/3'), '127.0.0.1:' . port(8081), 'alive');
is(scalar(() = $t->read_file('error.log') =~ /could not cancel/g), 0,
	'none was gone for nginx');

# what was not found is looked for again

$dns->names('quiet.corp 127.0.0.1 ttl=300');
ok(wait_for(sub { call("/$_/quiet.corp/3")->status == 200 }),
	"found, $_") for qw/ asks looks /;

###############################################################################

# DNS that is dead does not keep nginx from starting

$dns->names('kept.corp silent');
is(`$dir/nginx -t -p $dir/ -c nginx.conf 2>&1` =~ /test is successful/, 1,
	'starts without DNS');

$t->stop();
undef $t;

###############################################################################

sub peer {
	my $r = call(@_);

	return $r->header('X-Peer') // $r->header('X-Error');
}

sub error {
	return call(@_)->header('X-Error');
}

sub wait_for {
	my ($code) = @_;
	my $end = time() + 20 * $Test::Nginx::PATIENCE;

	until ($code->()) {
		return 0 if time() > $end;
		sleep(0.2);
	}

	return 1;
}

###############################################################################
