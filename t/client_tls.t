#!/usr/bin/perl

# The outbound client and TLS: servers that are not what they should be are
# refused, connections that others made are not trusted, certificates are
# replaced while it runs.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Digest::SHA qw/ sha256_hex /;
use File::Copy qw/ copy /;
use Test::Nginx;
use Test::Nginx::CA;
use Test::Nginx::Call;
use Test::Nginx::Registry;
use Time::HiRes qw/ sleep time /;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http http_ssl sni upstream_keepalive
	socket_ssl/)->has_daemon('openssl');

my $ca = Test::Nginx::CA->new($t);
my $stranger = Test::Nginx::CA->new($t, 'stranger');
my $dir = $t->testdir();

my %pair = (
	good => $ca->certificate('registry.corp', '127.0.0.1'),
	expired => $ca->expired('registry.corp'),
	stranger => $stranger->certificate('registry.corp'),
	other => $ca->certificate('other.corp', '*.wild.corp', 'f*.part.corp'),
	client => $ca->certificate('edge-one'),
	second => $ca->certificate('edge-two'),
);

sub keys_of {
	return "ssl_certificate $pair{$_[0]}{cert};"
		. " ssl_certificate_key $pair{$_[0]}{key};";
}

# what the client has, which will change

put($ca->file(), 'trusted.crt');
put($ca->file(), 'rotated.crt');
put($pair{client}{cert}, 'client.crt');
put($pair{client}{key}, 'client.key');

my $conf = <<'EOF';

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

    client_max_body_size 0;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_ssl_session_reuse off;

    ssl_session_cache shared:tls:1m;

    registry_client good trusted=%%TESTDIR%%/trusted.crt
                    target=https://127.0.0.1:8443,registry.corp;
    registry_client fresh trusted=%%TESTDIR%%/trusted.crt keepalive=0
                    target=https://127.0.0.1:8443,registry.corp;
    registry_client address trusted=%%TESTDIR%%/trusted.crt
                    target=https://127.0.0.1:8443;
    registry_client expired trusted=%%TESTDIR%%/trusted.crt
                    target=https://127.0.0.1:8444,registry.corp;
    registry_client stranger trusted=%%TESTDIR%%/trusted.crt
                    target=https://127.0.0.1:8445,registry.corp;
    registry_client other trusted=%%TESTDIR%%/trusted.crt
                    target=https://127.0.0.1:8446,registry.corp;
    registry_client wild trusted=%%TESTDIR%%/trusted.crt
                    target=https://127.0.0.1:8446,a.wild.corp;
    registry_client partial trusted=%%TESTDIR%%/trusted.crt
                    target=https://127.0.0.1:8446,foo.part.corp;
    registry_client off verify=off
                    target=https://127.0.0.1:8445,registry.corp;
    registry_client system target=https://127.0.0.1:8443,registry.corp;
    registry_client plain trusted=%%TESTDIR%%/trusted.crt
                    target=https://127.0.0.1:8448,registry.corp;
    registry_client old trusted=%%TESTDIR%%/trusted.crt
                    target=https://127.0.0.1:8449,registry.corp;
    registry_client rotated trusted=%%TESTDIR%%/rotated.crt keepalive=2
                    certificate=%%TESTDIR%%/client.crt
                    key=%%TESTDIR%%/client.key private=on
                    target=https://127.0.0.1:8447,registry.corp;
    registry_client server trusted=%%TESTDIR%%/trusted.crt
                    connect_timeout=1s send_timeout=10s
                    target=https://127.0.0.1:8451,registry.corp;
    registry_client up trusted=%%TESTDIR%%/trusted.crt
                    target=https://up,registry.corp;
    registry_client strict trusted=%%TESTDIR%%/stranger.crt
                    target=https://up,registry.corp;
    registry_client loose verify=off
                    target=https://up,registry.corp;
    registry_client known trusted=%%TESTDIR%%/trusted.crt keepalive=2
                    certificate=%%TESTDIR%%/client.crt
                    key=%%TESTDIR%%/client.key
                    target=https://known,registry.corp;

    upstream up {
        server 127.0.0.1:8443;
        keepalive 8;
    }

    upstream known {
        server 127.0.0.1:8447;
        keepalive 8;
    }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        LOCATIONS

        location /registry.corp/ {
            registry_call good https://registry.corp:%%PORT_8443%%$request_uri;
        }

        location /REGISTRY.CORP/ {
            registry_call up https://REGISTRY.CORP$request_uri;
        }

        location /foreign/ {
            registry_call rotated https://127.0.0.1:%%PORT_8447%%$request_uri;
        }

        location /private/ {
            registry_call good https://127.0.0.1:%%PORT_8447%%$request_uri;
        }

        location /passed/ {
            proxy_pass https://up;
            proxy_ssl_server_name on;
            proxy_ssl_name registry.corp;
        }

        location /passed_known/ {
            proxy_pass https://known;
        }
    }

    server {
        listen 127.0.0.1:8443 ssl;
        KEYS(good)
        BODY
    }

    server {
        listen 127.0.0.1:8444 ssl;
        KEYS(expired)
        BODY
    }

    server {
        listen 127.0.0.1:8445 ssl;
        KEYS(stranger)
        BODY
    }

    server {
        listen 127.0.0.1:8446 ssl;
        KEYS(other)
        BODY
    }

    server {
        listen 127.0.0.1:8447 ssl;
        KEYS(good)
        ssl_verify_client optional;
        ssl_client_certificate CA;
        BODY
    }

    server {
        listen 127.0.0.1:8448;
        BODY
    }

    server {
        listen 127.0.0.1:8449 ssl;
        KEYS(good)
        ssl_protocols TLSv1 TLSv1.1;
        ssl_ciphers ALL:@SECLEVEL=0;
        BODY
    }
}

EOF

# the client's locations: the client "up" calls https://up, and so on

my %url = (up => 'https://up', strict => 'https://up', loose => 'https://up',
	known => 'https://known');
my $locations = join("\n", map {
	my ($name, $port) = @$_;
	my $url = $url{$name} // "https://127.0.0.1:%%PORT_$port%%";
	"location /$name/ { registry_call $name $url\$request_uri; }"
} [ 'good', 8443 ], [ 'fresh', 8443 ], [ 'address', 8443 ],
	[ 'expired', 8444 ], [ 'stranger', 8445 ], [ 'other', 8446 ],
	[ 'wild', 8446 ], [ 'partial', 8446 ], [ 'off', 8445 ],
	[ 'system', 8443 ], [ 'plain', 8448 ], [ 'old', 8449 ],
	[ 'rotated', 8447 ], [ 'server', 8451 ], [ 'up' ], [ 'strict' ],
	[ 'loose' ], [ 'known' ]);

my $body = <<'EOF';
location / {
            add_header X-Seen "$connection $ssl_session_reused $ssl_protocol"
                              always;
            add_header X-Name "$ssl_server_name $http_host" always;
            add_header X-Client "$ssl_client_s_dn" always;
            return 200 ok;
        }
EOF

$conf =~ s/CALL_MODULE/call_module($t)/e;
$conf =~ s/LOCATIONS/$locations/;
$conf =~ s/KEYS\((\w+)\)/keys_of($1)/ge;
$conf =~ s/BODY/$body/g;
$conf =~ s/CA;/$ca->file() . ';'/e;

$t->write_file_expand('nginx.conf', $conf);

my $s = Test::Nginx::Call::Server->new($t, port => 8451,
	ssl => { %{$pair{good}}, client_ca => undef });

# which is where OpenSSL looks by itself

$ENV{SSL_CERT_FILE} = $ca->file();

$t->run()->plan(67);

###############################################################################

my $r = call('/good/');
is($r->status, 200, 'verified');
is($r->header('X-Name'), 'registry.corp registry.corp', 'SNI and Host');
like($r->header('X-Seen'), qr/TLSv1\.[23]$/, 'protocol');

is(call('/registry.corp/')->header('X-Name'), 'registry.corp registry.corp',
	'the name leads to the remote itself');
is(call('/private/')->header('X-Error'), 'the address is private',
	'but not another port');

is(call('/address/')->status, 200, 'an address on the certificate');
is(call('/address/')->header('X-Name'), '127.0.0.1:' . port(8443),
	'an address, no SNI');
is(call('/system/')->status, 200, "the system's certificates");

error('expired', 'TLS failed, certificate has expired');
error('stranger', qr/^TLS failed, (?:unable to get local issuer certificate|self.signed certificate in certificate chain)$/);
error('other', qr/^TLS failed, [Hh]ost ?name mismatch$/);
is(call('/wild/')->status, 200, 'wildcard');
error('partial', qr/^TLS failed, [Hh]ost ?name mismatch$/);
is(call('/off/')->status, 200, 'not verified if it is off');
error('plain', qr/^TLS failed, (?!the handshake was broken off)/);
error('old', qr/^TLS failed, /);

###############################################################################

# connections and sessions

is(seen('good'), seen('good'), 'kept');
isnt(seen('fresh'), seen('fresh'), 'not kept');
like(call('/fresh/')->header('X-Seen'), qr/ r /, 'session resumed');

# an upstream's connections are everybody's, but not everybody is trusted

isnt(seen('passed'), seen('up'), "proxy_pass's is not used");
is(seen('up'), seen('up'), 'ours is');
is(call('/REGISTRY.CORP/')->header('X-Name'), 'registry.corp registry.corp',
	'the name with the usual port');
isnt(seen('loose'), seen('up'), "nor one of another remote");
error('strict', qr/^TLS failed, /, 'nor one that trusts others');
is(seen('up'), seen('up'), 'ours again');

# one with our certificate is not given away

is(call('/known/')->header('X-Client'), 'CN=edge-one', 'client certificate');
is(call('/passed_known/')->header('X-Client') // '', '',
	'not for proxy_pass');
is(seen('known'), seen('known'), 'but kept');

###############################################################################

# our certificate, for the remote itself only

is(call('/rotated/')->header('X-Client'), 'CN=edge-one', 'certificate');
$r = call('/foreign/');
is($r->status, 200, 'the remote by another way');
is($r->header('X-Client'), 'CN=edge-one', 'is the remote');

# it is replaced: the old connection is not used any more

my $before = seen('rotated');
put($pair{second}{cert}, 'client.crt');
put($pair{second}{key}, 'client.key');
later();
$r = call('/rotated/');
is($r->header('X-Client'), 'CN=edge-two', 'replaced');
unlike($r->header('X-Seen'), qr/^$before | r /, 'on another connection');

# broken, or in the middle of it, or gone

put($pair{client}{cert}, 'client.crt');
later();
is(call('/rotated/')->header('X-Client'), 'CN=edge-two',
	'a key of another certificate');
put($pair{client}{key}, 'client.key');
later();
is(call('/rotated/')->header('X-Client'), 'CN=edge-one', 'now it is its own');

$t->write_file('client.key', 'garbage');
later();
is(call('/rotated/')->status, 200, 'a broken key');
later();
is(call('/rotated/')->status, 200, 'a broken key, still');

unlink "$dir/client.key";
later();
is(call('/rotated/')->status, 200, 'no key');
put($pair{client}{key}, 'client.key');

# trust is withdrawn, and given again

put($stranger->file(), 'rotated.crt');
later();
error('rotated', qr/^TLS failed, /, 'another CA');
put($ca->file(), 'rotated.crt');
later();
is(call('/rotated/')->status, 200, 'trusted again');

###############################################################################

# a server that asks for a certificate, and gets none

$s->set(ssl => { %{$pair{good}}, client_ca => $ca->file() });
like(call('/server/3')->header('X-Error'),
	qr/^TLS failed, (?:certificate required|handshake failure)$/,
	'certificate required');
$s->set(ssl => { %{$pair{good}}, client_ca => undef });

# large bodies, and one that has to wait

for my $size (1, 16384, 20_000_000) {
	ok(call("/server/$size")->body eq pattern($size), "$size bytes");
}

my $data = pattern(5_000_000);
$r = call('/server/3', method => 'PUT', body => $data);
is($r->header('X-Digest'), sha256_hex($data), 'put');

my $put = send_request(PUT => '/server/3', raw => "PUT /server/3 HTTP/1.1\r\n"
	. "Host: localhost\r\nConnection: close\r\n"
	. "Content-Length: 5000000\r\n\r\n" . substr($data, 0, 10));
$s->await(qr/PUT/, 2);
$s->freeze();
{
	$put->blocking(0);
	my $sent = 10;
	my $idle = 0;

	while ($sent < 5_000_000) {
		my $n = syswrite($put, $data, 300_000, $sent) // 0;
		$sent += $n;
		sleep(0.01);
		$idle = $n ? 0 : $idle + 1;
		$s->thaw() if $idle == 20;
	}

	$put->blocking(1);
}
$s->thaw();
is(response($put)->header('X-Digest'), sha256_hex($data), 'put, slowly');

# truncated

$s->rule({ close => 1000 });
$r = call('/server/2000');
ok($r->body eq pattern(1000) && !$r->complete(), 'truncated');
$s->clear();

# a handshake that does not go on

$s->freeze();
is(call('/server/3?fresh', method => 'POST', body => '')
	->header('X-Error'), 'timed out, while connecting', 'handshake timeout');
my $c = send_request(POST => '/server/3', body => 'abc');
sleep(0.2);
close $c;
sleep(0.2);
$s->thaw();
is(call('/server/3')->status, 200, 'after it');

call("/server/20000?free=$_") for qw/ header body done /;
call('/server/3?free=send', method => 'PUT', body => $data);
is(call('/server/3')->status, 200, 'freed in handlers');

###############################################################################

# what nginx -t says

refused('registry_client x target=https://127.0.0.1:8443 trusted=none.crt;',
	qr/none\.crt.*no TLS for "x" in \S+:\d+/s, 'no CA');
refused('registry_client x target=https://127.0.0.1:8443'
	. " certificate=$dir/client.crt key=none.key;",
	qr/none\.key.*no TLS for "x" in \S+:\d+/s, 'no key');
refused('registry_client x target=https://127.0.0.1:8443'
	. " certificate=$dir/client.crt;", qr/need each other in \S+:\d+/,
	'a certificate without a key');
refused('registry_client x target=https://127.0.0.1:8443'
	. " certificate=$dir/client.crt key=$pair{second}{key};",
	qr/no TLS for "x" in \S+:\d+/, 'a key of another certificate');
refused('registry_client x target=https://up:8443;',
	qr/upstream "up" may not have port 8443 in \S+:\d+/, 'a port');
refused('registry_client x proxy=https://127.0.0.1:8443;',
	qr/not supported in \S+:\d+/, 'a proxy with TLS');

###############################################################################

$t->stop();

my $log = $t->read_file('error.log');
my $kept = () = $log =~ /the old ones stay in use/g;
is($kept, 3, 'what could not be loaded is logged once');
like($log, qr/registry: TLS failed, certificate has expired while TLS handshaking, remote: "expired"/,
	'what is logged');

# an error once a minute, and nothing by nginx, unless it is debugged

$t->write_file('nginx.conf', $t->read_file('nginx.conf')
	=~ s/(error_log \S+) debug;/$1 info;/r)->run();

call('/expired/') for 1 .. 3;

$t->stop();

my @lines = grep { /remote: "expired"/ }
	split(/\n/, substr($t->read_file('error.log'), length $log));
is(scalar @lines, 3, 'each failure is logged');
is(scalar(grep { /\[error\]/ } @lines), 1, 'once as an error');
is(scalar(grep { /registry: TLS failed/ } @lines), 3, 'not by nginx');

undef $t;

###############################################################################

sub put {
	my ($from, $to) = @_;

	copy($from, "$dir/$to.new") or die "$from: $!\n";
	rename("$dir/$to.new", "$dir/$to") or die "$to: $!\n";
}

# the files are looked at once a second

sub later { sleep(2.1) }

# the connection at the server

sub seen {
	my ($name) = @_;

	return (split(/ /, call("/$name/")->header('X-Seen') // 'none'))[0];
}

sub error {
	my ($name, $message, $text) = @_;
	my $got = call("/$name/")->header('X-Error');

	return ref $message ? like($got, $message, $text // $name)
		: is($got, $message, $text // $name);
}

sub refused {
	my ($directive, $message, $name) = @_;

	my $text = $t->read_file('nginx.conf');
	$text =~ s/(server \{)/$directive\n$1/;
	$t->write_file('refused.conf', $text);

	my $out = `$Test::Nginx::NGINX -t -p $dir/ -c refused.conf 2>&1`;

	isnt($?, 0, $name);
	like($out, $message, "$name, the message");
}

###############################################################################
