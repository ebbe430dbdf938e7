#!/usr/bin/perl

# What it takes to reach a remote changes while pulls go on, and none fails:
# passwords, authorities, addresses.  Name servers that are dead, and clocks
# that differ.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use Time::HiRes qw/ sleep time /;

use lib 'lib';
use MIME::Base64 qw/ encode_base64 /;
use Images;
use Test::Nginx;
use Test::Nginx::CA;
use Test::Nginx::DNS;
use Test::Nginx::Origin;
use Test::Nginx::Process;
use Test::Nginx::Registry;
use Test::Nginx::Token;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http http_ssl socket_ssl/)
	->has_daemon('openssl');
my $dir = $t->testdir();

my $old = Test::Nginx::CA->new($t, 'old');
my $new = Test::Nginx::CA->new($t, 'new');

$t->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;
user root;
worker_processes 2;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    error_log %%TESTDIR%%/error.log info;

    resolver 127.0.0.1:%%PORT_8053_UDP%% ipv6=off;
    resolver_timeout 500ms;

    registry_cache edge { path %%TESTDIR%%/cache; }

    registry_remote default { cache edge;  valid 0;  allow_private on; }

    registry_remote basic.example {
        url          http://127.0.0.1:8081;
        credentials  %%TESTDIR%%/basic.cred;
    }

    registry_remote token.example {
        url          http://127.0.0.1:8082;
        credentials  %%TESTDIR%%/token.cred;
    }

    registry_remote tls.example {
        url                      https://127.0.0.1:8443;
        ssl_name                 registry.corp;
        ssl_trusted_certificate  %%TESTDIR%%/trusted.crt;
    }

    registry_remote dns.example { url http://moves.corp:%%PORT_8085%%; }
    registry_remote clock.example { url http://127.0.0.1:8086; }

    server {
        listen       127.0.0.1:8080 reuseport;
        server_name  localhost;

        add_header   X-How $registry_cache always;

        location /v2/ {
            registry_proxy all;
        }
    }
}

EOF

put('basic.cred', "edge:one\n");
put('token.cred', "edge:one\n");
put('trusted.crt', slurp($old->file()));

my $basic = Test::Nginx::Origin->new($t, port => 8081, basic => 'edge:one');
my $issuer = Test::Nginx::Token->new($t, port => 8083, opaque => 1,
	anonymous => undef, users => users('one'));
my $bearer = Test::Nginx::Origin->new($t, port => 8082, token => $issuer);
my $tls = Test::Nginx::Origin->new($t, port => 8443,
	ssl => $old->certificate('registry.corp'));
my ($here, $there) = map { Test::Nginx::Origin->new($t, port => 8085,
	address => $_, store => $basic) } '127.0.0.1', '127.0.0.2';
my $clock = Test::Nginx::Token->new($t, port => 8087, issued_at => 1);
my $clocked = Test::Nginx::Origin->new($t, port => 8086, token => $clock);

my $dns = Test::Nginx::DNS->new($t, port => port(8053, udp => 1));
$dns->names('moves.corp 127.0.0.1 ttl=1');

my $seed = $ENV{TEST_SEED} // time() % 2 ** 31;

srand($seed);
print "# TEST_SEED=$seed\n";

# nobody is there who knows a name

$t->run()->plan(38);

###############################################################################

my $image = $basic->image('a/b', 'here', [ 'layer' ]);
my $moves = '/v2/dns.example/a/b/manifests/here';

is(brief(GET => $moves), '502 UNAVAILABLE', 'DNS is dead, a manifest');
is(brief(GET => "/v2/dns.example/a/b/blobs/$image->{layers}[0]{digest}"),
	'502 UNAVAILABLE', 'DNS is dead, a blob');

$dns->start()->freeze();
is(brief(GET => $moves), '502 UNAVAILABLE', 'DNS hangs');
$dns->thaw();

ok(soon(sub { request(GET => $moves)->body eq $image->{content} }),
	'DNS is back');

ok(logged('the name could not be resolved, .*remote: "dns.example"'),
	'DNS is dead, log');

$dns->kill();
ok(soon(sub {
	my $r = request(GET => $moves);
	return $r->header('X-How') eq 'STALE' && $r->body eq $image->{content};
}), 'DNS is dead again, a copy here');
$dns->start();

# a name leads to another server, and the one before ends soon after it

my @load = load('dns.example', $basic);

pulled(@load, 10);
$dns->names('moves.corp 127.0.0.2 ttl=1');
ok(soon(sub { $here->forget(); pulled(@load, 15); !$here->requests() }),
	'DNS: another server is asked');
$here->stop();
pulled(@load, 15);
ended('DNS', @load);
cmp_ok($there->requests(), '>', 15, 'DNS: by all');

###############################################################################

# A new password: the file is replaced while both are good, and that is all.
# Who has looked at the file in this second hears of it by a 401.

my @passwords = 'one';

@load = load('basic.example', $basic);
pulled(@load, 10);

ok(soon(sub {
	push @passwords, 'password-' . @passwords;

	$basic->set(basic => [ map { "edge:$_" } @passwords[-2, -1] ]);
	put('basic.cred', "edge:$passwords[-1]\n");
	$basic->set(basic => "edge:$passwords[-1]");
	pulled(@load, 20);

	return grep { $_->{status} == 401 && $_->{headers}{authorization} }
		$basic->requests();
}), 'basic: an old password was shown');

ended('basic', @load);

my %shown = map { $_->{headers}{authorization} // '' => 1 }
	$basic->requests();
is(scalar(grep { $shown{'Basic ' . encode_base64("edge:$_", '')} }
	@passwords), scalar @passwords, 'basic: each was used');

# the same of an issuer of tokens, with a token for each repository

@passwords = 'one';
@load = load('token.example', $bearer);
pulled(@load, 10);

ok(soon(sub {
	push @passwords, 'password-' . @passwords;

	$issuer->set(users => users(@passwords[-2, -1]));
	put('token.cred', "edge:$passwords[-1]\n");
	$issuer->set(users => users($passwords[-1]));
	pulled(@load, 20);

	return grep { $_->{status} == 401 } $issuer->requests();
}), 'token: an old password was shown');

ended('token', @load);

# nothing of them is anybody's business

ok(!logged('password-'), 'no password in the log');

###############################################################################

# A new authority: both are trusted for a while, and a worker looks once a
# second.

@load = load('tls.example', $tls);
pulled(@load, 10);
put('trusted.crt', slurp($old->file()) . slurp($new->file()));
sleep(1.1);
$tls->set(ssl => $new->certificate('registry.corp'), keepalive => 0);
pulled(@load, 15);
put('trusted.crt', slurp($new->file()));
sleep(1.1);
pulled(@load, 15);
ended('authority', @load);

# and the one before is trusted no more

$image = $tls->image('a/b', 'known', [ 'known' ]);
is(request(GET => '/v2/tls.example/a/b/manifests/known')->body,
	$image->{content}, 'authority: the new one');

$tls->set(ssl => $old->certificate('registry.corp'));
$tls->image('a/b', 'x', [ 'x' ]);
is(brief(GET => '/v2/tls.example/a/b/manifests/x'), '502 UNAVAILABLE',
	'authority: no more, a manifest');
is(brief(GET => "/v2/tls.example/a/b/blobs/$image->{layers}[0]{digest}"),
	'502 UNAVAILABLE', 'authority: no more, a blob');
my $r = request(GET => '/v2/tls.example/a/b/manifests/known');
is($r->header('X-How') . ' ' . $r->body, "STALE $image->{content}",
	'authority: no more, a copy here');
ok(logged('TLS failed, .*(?:issuer|self).*remote: "tls.example"'),
	'authority: no more, log');

###############################################################################

# The clocks of the remote and of its issuer differ from ours: a token is good
# for as long as it says, from when it came.

for my $skew (-7200, 7200) {
	my $name = $skew < 0 ? 'late' : 'early';
	my ($long, $short) = map { $clocked->image("$name/$_", 1, [ $_ ]) }
		'long', 'short';
	my $path = "/v2/clock.example/$name";

	$clocked->set(skew => $skew);
	$clock->set(skew => $skew, expires_in => 300);
	$clock->forget();

	is(request(GET => "$path/long/manifests/1")->body, $long->{content},
		"$name clocks");
	request(GET => "$path/long/manifests/1") for 1 .. 5;
	is($clock->requests(), 1, "$name clocks, one token");

	$clock->set(expires_in => 2);
	is(request(GET => "$path/short/manifests/1")->body, $short->{content},
		"$name clocks, a short life");
	ok(soon(sub {
		request(GET => "$path/short/manifests/1");
		sleep(0.2);
		return $clock->requests() > 2;
	}), "$name clocks, until it ends");
}

# the remote does not agree with its own issuer

$clocked->set(skew => 0);

for my $skew (-7200, 7200) {
	my $name = $skew < 0 ? 'late' : 'early';
	my $image = $clocked->image("issuer/$name", 1, [ $name ]);
	my $path = "/v2/clock.example/issuer/$name/manifests/1";

	$clock->set(skew => $skew, expires_in => 300);
	is(brief(GET => $path), '403 DENIED', "$name issuer");

	$clock->set(skew => 0);
	is(request(GET => $path)->body, $image->{content},
		"$name issuer, no more");
}

ok(logged('"clock.example" answers 401'), 'clock of the issuer, log');

undef $t;

###############################################################################

sub users {
	my (@passwords) = @_;

	return { edge => { password => \@passwords, allow => { '*' => 'pull' } } };
}

# in the place of what was there, at once

sub put {
	my ($name, $text) = @_;

	$t->write_file("$name.new", $text);
	rename("$dir/$name.new", "$dir/$name") or die "$name: $!\n";
}

sub slurp {
	my ($path) = @_;

	open(my $fh, '<', $path) or die "$path: $!\n";
	local $/;
	return scalar <$fh>;
}

sub brief {
	my $r = request(@_);
	return join(' ', grep { defined } $r->status, $r->code);
}

sub logged {
	my ($re) = @_;
	return scalar grep { /\[(?:warn|error)\].*$re/ }
		split(/\n/, $t->read_file('error.log'));
}

sub soon {
	my ($what) = @_;
	my $end = time() + 20 * $Test::Nginx::Process::PATIENCE;

	while (!$what->()) {
		return 0 if time() > $end;
		sleep 0.02;
	}

	return 1;
}

###############################################################################

# Clients that pull one image after another, each of them cold, until they are
# told to end; what they find is in a file.

sub load {
	my ($remote, $origin) = @_;
	my $file = "$dir/load-$remote";

	return ($file, map {
		my $number = $_;

		Test::Nginx::Process->new(sub {
			srand($seed + $number);
			open(my $fh, '>>', $file) or die "$file: $!\n";
			$fh->autoflush(1);

			for (my $n = 0; !-e "$file.end"; $n++) {
				my $error = pull($remote, $origin, "$number-$n") // 'pulled';
				print $fh $error =~ s/\n/ /gr, "\n";
				sleep(0.1);
			}
		})->start();
	} 1 .. 2);
}

# undef, or what went wrong

sub pull {
	my ($remote, $origin, $n) = @_;
	my $layer = $origin->blob("load/$n",
		join('', map { pack('N', rand 2 ** 32) } 1 .. 10000));
	my $image = $origin->manifest("load/$n", 1, Images::image([ $layer ]));

	my %content = ('manifests/1' => $image->{content},
		"blobs/$layer->{digest}" => $layer->{content});

	for my $path (sort { $b cmp $a } keys %content) {
		my $r = eval { request(GET => "/v2/$remote/load/$n/$path") };

		return "$path: " . ($r ? $r->summary() : $@)
			if !$r || $r->status != 200 || $r->body ne $content{$path};
	}

	return undef;
}

# waits for so many more

sub pulled {
	my ($n, $file) = @_[-1, 0];
	my $end = $n + found($file);

	soon(sub { found($file) >= $end }) or die "pulls hang\n";
}

sub found {
	my ($file) = @_;

	open(my $fh, '<', $file) or return 0;
	return scalar(() = <$fh>);
}

sub ended {
	my ($name, $file, @load) = @_;

	open(my $end, '>', "$file.end") or die "$file: $!\n";
	is(scalar(grep { !$_->wait(30 * $Test::Nginx::Process::PATIENCE) } @load), 0,
		"$name: all ended");

	open(my $fh, '<', $file) or die "$file: $!\n";
	my %found;
	$found{$_}++ for map { s/^(?:blobs|manifests)\S+//r } <$fh>;

	note("$name: $found{qq{pulled\n}} pulled");
	delete $found{"pulled\n"};
	is(join('', map { "$found{$_} $_" } sort keys %found), '',
		"$name: no pull failed");
}

###############################################################################
