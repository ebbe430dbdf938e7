#!/usr/bin/perl

# An edge whose only way out is the company's proxy: squid and tinyproxy as
# Debian has them, in front of a registry with its tokens and its storage at
# other hosts.  The edge is a machine of its own, with a wire to the proxy, no
# route beyond it, and nobody to ask for names.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use IO::Socket::INET;
use Time::HiRes qw/ sleep time /;

use lib 'lib';
use Clients;
use Images;
use Machine;
use Test::Nginx;
use Test::Nginx::CA;
use Test::Nginx::Origin;
use Test::Nginx::Proxy;
use Test::Nginx::Registry;
use Test::Nginx::Token;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

need(qw/ unshare nsenter ip openssl squid tinyproxy /);
machine();

my $t = Test::Nginx->new()->has(qw/http http_ssl sni socket_ssl/)->plan(114);
my $dir = $t->testdir();

# the proxy's end of the wire, the edge's, and what is behind the proxy

my ($near, $edge) = qw/ 10.9.0.1 10.9.0.2 /;

my %address = (
	'registry.corp' => '11.0.0.1',
	'auth.corp' => '11.0.0.2',
	'cdn.corp' => '11.0.0.3',
	'plain.corp' => '11.0.0.4',
);

my @there = wire($t, $near, $edge,
	map { $_ => $near } qw/ proxy.corp direct.corp /);

address($_) for values %address;
hosts(%address);

my $ca = Test::Nginx::CA->new($t);

my $token = Test::Nginx::Token->new($t, server('auth.corp'),
	anonymous => undef, users => { robot => { password => 'hub',
		allow => { '*' => 'pull' } } });
my $registry = Test::Nginx::Origin->new($t, server('registry.corp'),
	token => $token);
my $cdn = Test::Nginx::Origin->new($t, server('cdn.corp'),
	store => $registry);
my $plain = Test::Nginx::Origin->new($t, port => 80, host => 'plain.corp',
	address => $address{'plain.corp'});
my $direct = Test::Nginx::Origin->new($t, server('direct.corp'),
	address => $near);

my @servers = ($registry, $token, $cdn, $plain);

$registry->rule({ path => qr/blobs/, redirect => $cdn->url() });

$t->write_file('hub.cred', "robot:hub\n");
$t->write_file('proxy.cred', "edge:s3cret\n");
$t->write_file('wrong.cred', "edge:wr0ng\n");

my $client = Images->new("http://$edge:8080");
my $MB = 1024 * 1024;
my $log_begins;		# for the proxy that it is about

###############################################################################

# nothing leads from there to here but the wire

for my $name (sort keys %address) {
	is(there('print gethostbyname(shift) ? "known" : "unknown"', $name),
		'unknown', "$name is unknown at the edge");
	is(there('print IO::Socket::INET->new(PeerAddr => shift,'
		. ' PeerPort => shift, Timeout => 5) ? "connected" : $!',
		$address{$name}, $name =~ /plain/ ? 80 : 443),
		'Network is unreachable', "$name is not to be reached");
}

through('squid', Test::Nginx::Proxy->squid($t, port => 3128,
	address => $near, from => $near, user => 'edge', password => 's3cret',
	config => [ 'acl tls port 443', 'acl CONNECT method CONNECT',
		'http_access deny CONNECT !tls' ]));

through('tinyproxy', Test::Nginx::Proxy->tinyproxy($t, port => 8888,
	address => $near, from => $near, user => 'edge', password => 's3cret',
	config => [ 'ConnectPort 443' ]));

undef $t;

###############################################################################

sub through {
	my ($name, $proxy) = @_;

	edge($name, $proxy);

	pulls($name, $proxy);
	refused($name, $proxy);
	broken($name, $proxy, $_) for qw/ registry.corp plain.corp /;
	down($name, $proxy);

	$t->stop();

	unlike($t->read_file('error.log'), qr/s3cret|wr0ng|Basic/,
		"$name, no secret is logged");
}

sub pulls {
	my ($name, $proxy) = @_;

	my @images = map { $registry->image('team/app', $_,
		[ bytes(100_000), bytes(300_000) ]) } qw/ amd64 arm64 /;
	my $index = $registry->index('team/app', $name, @images);

	# without the proxy there is no way

	is(brief('/v2/bare.corp/team/app/manifests/amd64'), '502 UNAVAILABLE',
		"$name, nothing without it");
	ok(logged(qr/101: Network is unreachable/, qr/"bare.corp"/),
		"$name, nothing without it, logged");
	is(scalar(map { $_->requests() } @servers), 0,
		"$name, nothing without it, nobody was asked");

	# cold

	is(join("\n", $client->check('registry.corp/team/app', $name,
		$index->{digest})), '', "$name, cold");

	my @tokens = $token->requests(qr!^GET /token!);
	my @blobs = $registry->requests(qr/^GET .*blobs/);
	my @content = $cdn->requests(qr/^GET .*blobs/);

	is(scalar @blobs, 6, "$name, blobs, asked for");
	is(scalar @content, 6, "$name, blobs, fetched");
	is(scalar(grep { ($_->{headers}{authorization} // '') !~ /^Bearer / }
		@blobs), 0, "$name, blobs, asked for with a token");
	is(scalar(grep { $_->{headers}{authorization} } @content), 0,
		"$name, no token for the storage");
	is(scalar(@tokens), 1, "$name, one token");
	like($tokens[0]{headers}{authorization}, qr/^Basic /,
		"$name, a token for the login");

	# plain HTTP

	my $other = $plain->image('team/app', $name, [ bytes(200_000) ]);
	is(join("\n", $client->check('plain.corp/team/app', $name,
		$other->{digest})), '', "$name, http");

	# past the proxy

	my $near_by = $direct->image('team/app', $name, [ bytes(200_000) ]);
	is(join("\n", $client->check('direct.corp/team/app', $name,
		$near_by->{digest})), '', "$name, no_proxy");
	is(join(' ', peers($direct)), $edge, "$name, no_proxy, from the edge");

	is(join(' ', peers(@servers)), $near, "$name, all others from the proxy");
	is(scalar(grep { my $headers = $_->{headers};
		grep { /^proxy-/ } keys %$headers }
		map { $_->requests() } $registry, $token, $cdn), 0,
		"$name, nothing for the proxy beyond it");

	# warm, and warm without the proxy

	my $size = -s "$proxy->{dir}/log";

	$_->forget() for @servers;
	is(join("\n", $client->check('registry.corp/team/app',
		$index->{digest})), '', "$name, warm");
	is(scalar(map { $_->requests() } @servers), 0,
		"$name, warm, nobody was asked");
	is(-s "$proxy->{dir}/log", $size, "$name, warm, nor the proxy");

	$proxy->stop();

	my %asked = map { $_ => 1 } $proxy->log();
	is(join(' ', sort grep { /CONNECT/ } keys %asked),
		'CONNECT auth.corp:443 CONNECT cdn.corp:443 '
		. 'CONNECT registry.corp:443', "$name, the names it resolved");
	is(scalar(grep { m!^GET http://plain\.corp/v2/! } keys %asked), 3,
		"$name, the URLs it was asked for");

	is(join("\n", $client->check('registry.corp/team/app', $name,
		$index->{digest})), '', "$name, warm, stopped");

	$proxy->start();
}

sub refused {
	my ($name, $proxy) = @_;
	my $server = quotemeta("$near:$proxy->{port}");

	is(brief("/v2/$_/team/app/manifests/amd64"), '502 UNAVAILABLE',
		"$name, $_") for qw/ wrong.corp none.corp none.plain.corp /;

	# tinyproxy's 401 cannot be told from the remote's

	is(brief('/v2/wrong.plain.corp/team/app/manifests/amd64'),
		$name eq 'tinyproxy' ? '403 DENIED' : '502 UNAVAILABLE',
		"$name, wrong.plain.corp");

	for my $case ([ 'wrong.corp', '40[17]', 'https' ],
		[ 'none.corp', 407, 'https' ], [ 'none.plain.corp', 407, 'http' ])
	{
		my ($remote, $status, $scheme) = @$case;

		ok(logged(qr/the proxy refused, $status: it wants other/,
			qr/remote: "$remote"/, qr!"GET $scheme://!,
			qr/server: "$server"/), "$name, $remote, logged");
	}
}

# killed in the middle of a blob that many wait for, and started again

sub broken {
	my ($name, $proxy, $remote) = @_;
	my $source = $remote eq 'plain.corp' ? $plain : $cdn;
	my ($blob, $path) = cold($remote, 8 * $MB);

	$name = "$name, $remote";

	$source->rule({ path => qr/$blob->{digest}/, rate => $MB / 2 });

	my @s = map { asking($path) } 1 .. 8;
	my @in = map { read_some($_, 300_000) } @s;

	$proxy->kill();
	ok(logged(qr/$blob->{digest} .* broke off .*: the connection failed/),
		"$name, it is gone");

	push @s, asking($path);
	push @in, '';

	$source->clear();
	sleep(4);
	$proxy->start();

	my @r = map { response($s[$_], in => $in[$_]) } 0 .. $#s;

	is(scalar(grep { $_->status == 200 && $_->body eq $blob->{content} } @r),
		scalar @s, "$name, it is back, and everybody has all of it");
	is($r[-1]->header('X-How'), 'JOIN', "$name, who came meanwhile joined");

	my @requests = $source->requests(qr/^GET .*$blob->{digest}/);
	my ($from) = ($requests[-1]{headers}{range} // '')
		=~ /^bytes=(\d+)-$/;

	is(scalar @requests, 2, "$name, asked again");
	cmp_ok($from // 0, '>=', 300_000, "$name, from where it was");
}

# it does not come back

sub down {
	my ($name, $proxy) = @_;
	my $manifest = "/v2/registry.corp/team/app/manifests/$name";
	my ($blob, $path) = cold('registry.corp', 100_000);
	my ($large, $long) = cold('registry.corp', 8 * $MB);
	my $old = request(GET => $manifest, socket => connected())->body;

	ok(request(GET => $path, socket => connected())->body
		eq $blob->{content}, "$name, before");

	# it hangs

	$proxy->freeze();
	is(brief('/v2/registry.corp/team/new/manifests/1'), '504 UNAVAILABLE',
		"$name, hangs, cold");
	$proxy->thaw();

	# it is killed in the middle of a blob

	$cdn->rule({ path => qr/$large->{digest}/, rate => $MB / 2 });

	my @s = map { asking($long) } 1 .. 4;
	my @in = map { read_some($_, 300_000) } @s;

	$proxy->kill();

	my @r = map { response($s[$_], in => $in[$_]) } 0 .. $#s;
	is(scalar(grep { $_->complete } @r), 0, "$name, gone, a blob breaks off");
	is(scalar(grep { $_->body ne substr($large->{content}, 0,
		length $_->body) } @r), 0, "$name, gone, the bytes were right");

	# cold, stale and warm

	my ($cold, $cold_path) = cold('registry.corp', 100);

	is(brief('/v2/registry.corp/team/new/manifests/1'), '502 UNAVAILABLE',
		"$name, gone, manifest");
	is(brief($cold_path), '502 UNAVAILABLE', "$name, gone, blob");
	is(brief('/v2/plain.corp/team/new/manifests/1'), '502 UNAVAILABLE',
		"$name, gone, http");

	my $r = request(GET => $manifest, socket => connected());
	is($r->body, $old, "$name, gone, a manifest that was here");
	is($r->header('X-How'), 'STALE', "$name, gone, stale");
	$r = request(GET => $path, socket => connected());
	ok($r->body eq $blob->{content}, "$name, gone, a blob that was here");
	is($r->header('X-How'), 'HIT', "$name, gone, warm");

	# and then it does

	$cdn->clear();
	$proxy->start();

	$r = request(GET => $long, socket => connected(), headers => {
		Range => 'bytes=' . length($r[0]->body) . '-' });
	is($r->status, 206, "$name, back, the rest");
	ok($r[0]->body . $r->body eq $large->{content},
		"$name, back, the right bytes");
	ok(request(GET => $cold_path, socket => connected())->body
		eq $cold->{content}, "$name, back, cold");

	$proxy->stop();
}

###############################################################################

sub server {
	my ($name) = @_;

	return (port => 443, host => $name, address => $address{$name},
		ssl => $ca->certificate($name));
}

# what a line of perl prints that is run at the edge

sub there {
	my ($code, @arguments) = @_;

	open(my $fh, '-|', @there, $^X, '-MIO::Socket::INET', '-e', $code,
		@arguments) or die "nsenter: $!\n";
	local $/;

	return scalar <$fh>;
}

# nginx at the edge, with a cache of its own for each proxy

sub edge {
	my ($name, $proxy) = @_;

	my $url = "http://proxy.corp:$proxy->{port}";

	$t->write_file('nginx', "#!/bin/sh\nexec @there"
		. " $Test::Nginx::NGINX \"\$@\"\n");
	chmod 0755, "$dir/nginx";

	$t->write_file_expand('nginx.conf', <<"EOF");

%%TEST_GLOBALS%%

daemon off;
user root;
worker_processes 2;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    error_log %%TESTDIR%%/error.log info;

    add_header X-How "\$registry_cache" always;

    registry_cache edge { path %%TESTDIR%%/cache-$name;  max_size 1g; }

    registry_remote default {
        cache            edge;
        valid            0;
        connect_timeout  2s;
        http_proxy       $url credentials=%%TESTDIR%%/proxy.cred
                         no_proxy=direct.corp;
        ssl_trusted_certificate  %%TESTDIR%%/ca.crt;
    }

    registry_remote registry.corp { credentials %%TESTDIR%%/hub.cred; }
    registry_remote plain.corp { url http://plain.corp; }
    registry_remote direct.corp {}

    registry_remote bare.corp {
        url         https://$address{'registry.corp'};
        http_proxy  off;
    }

    registry_remote wrong.corp {
        url         https://registry.corp;
        http_proxy  $url credentials=%%TESTDIR%%/wrong.cred;
    }

    registry_remote wrong.plain.corp {
        url         http://plain.corp;
        http_proxy  $url credentials=%%TESTDIR%%/wrong.cred;
    }

    registry_remote none.corp {
        url         https://registry.corp;
        http_proxy  $url;
    }

    registry_remote none.plain.corp {
        url         http://plain.corp;
        http_proxy  $url;
    }

    server {
        listen       $edge:8080;
        server_name  localhost;

        location /v2/ {
            registry_proxy all;
        }
    }
}

EOF

	$log_begins = -s "$dir/error.log" // 0;
	$_->forget() for @servers, $direct;

	local $Test::Nginx::NGINX = "$dir/nginx";
	$t->run();
}

sub connected {
	return IO::Socket::INET->new("$edge:8080")
		// die "can't connect to the edge: $!\n";
}

sub asking {
	my ($path) = @_;
	return send_request(GET => $path, socket => connected());
}

sub brief {
	my ($path) = @_;
	my $r = request(GET => $path, socket => connected());

	return join(' ', grep { defined } $r->status, $r->code);
}

# the addresses that requests came from

sub peers {
	my %peers = map { $_->{peer} =~ s/:\d+$//r => 1 }
		map { $_->requests() } @_;

	return sort keys %peers;
}

sub bytes {
	my ($size) = @_;
	my $seed = pack('N*', map { int rand 2 ** 32 } 1 .. 1000);

	return substr(join('', map { $seed . pack('N', $_) }
		0 .. $size / length $seed), 0, $size);
}

# a new blob, and its path at the edge

sub cold {
	my ($remote, $size) = @_;
	my $origin = $remote eq 'plain.corp' ? $plain : $registry;
	my $blob = $origin->blob('team/app', bytes($size));

	return ($blob, "/v2/$remote/team/app/blobs/$blob->{digest}");
}

# an answer up to so many bytes, or as far as it comes

sub read_some {
	my ($s, $size) = @_;
	my $in = '';
	my $end = time() + 30 * $Test::Nginx::PATIENCE;

	while (length $in < $size) {
		my $r = '';
		vec($r, fileno $s, 1) = 1;

		select($r, undef, undef, $end - time()) > 0 or last;
		sysread($s, $in, 65536, length $in) or last;
	}

	return $in;
}

# true once the error log has a line like all of these

sub logged {
	my (@re) = @_;
	my $end = time() + 10 * $Test::Nginx::PATIENCE;

	while (1) {
		my @lines = split(/\n/, substr($t->read_file('error.log'),
			$log_begins));

		for my $re (@re) {
			@lines = grep { /$re/ } @lines;
		}

		return 1 if @lines;
		return 0 if time() > $end;
		sleep(0.02);
	}
}

###############################################################################
