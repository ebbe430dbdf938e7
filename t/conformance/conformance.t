#!/usr/bin/perl

# The official conformance program of the OCI distribution specification with
# all of its optional checks, judged by its results file: its exit status is 0
# even if it could not start.  Once on a plain server, and once on a server
# full of directives that break a registry's clients if they have an effect.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib '../lib';
use Test::Nginx;
use Clients;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

# tests that the program itself skips, and why

my %skips = (
);

my $program = "$FindBin::Bin/../../build/conformance/conformance";

{
	# any go will do
	local $ENV{PATH} = $Clients::PATH;
	local $Clients::TIMEOUT = 900;

	my ($status, $out) = run("$FindBin::Bin/build",
		"$FindBin::Bin/../../build/conformance");

	plan(skip_all => 'no conformance program: ' . (split /\n/, $out)[-1])
		if $status != 0;
}

my $t = Test::Nginx->new()->has(qw/http http_ssl http_v2 gzip/)
	->has_daemon('openssl')->plan(11);
my $dir = $t->testdir();

run('openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes',
	'-subj', '/CN=127.0.0.1', '-addext', 'subjectAltName=IP:127.0.0.1',
	'-days', 2, '-keyout', "$dir/server.key", '-out', "$dir/server.crt");

$t->write_file('x.html', 'an error page of the site');
$t->write_file_expand('nginx.conf', <<'EOF')->run();

%%TEST_GLOBALS%%

daemon off;
user root;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format requests '$status $request_method $request_uri '
                        '$server_protocol';

    registry_store plain { path %%TESTDIR%%/plain; }
    registry_store hostile { path %%TESTDIR%%/hostile; }

    # images and indexes of which not everything is there
    registry_references off;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        access_log %%TESTDIR%%/plain.log requests;

        location /v2/ {
            registry plain;
            registry_push on;
            registry_delete on;
        }
    }

    server {
        listen       127.0.0.1:8081 ssl http2;
        server_name  localhost;

        ssl_certificate      %%TESTDIR%%/server.crt;
        ssl_certificate_key  %%TESTDIR%%/server.key;

        access_log %%TESTDIR%%/hostile.log requests;

        client_max_body_size 1m;
        sendfile off;
        aio threads;

        gzip on;
        gzip_types *;
        gzip_min_length 0;
        gzip_proxied any;
        charset utf-8;
        charset_types *;
        default_type text/html;
        expires 1d;

        error_page 401 403 404 405 500 /x.html;

        location = /x.html {
        }

        location / {
            location /v2/ {
                registry hostile;
                registry_push on;
                registry_delete on;

                limit_except GET {
                    allow 127.0.0.1;
                    deny all;
                }

                location /v2/conformance/ {
                    limit_except GET {
                        allow 127.0.0.1;
                        deny all;
                    }

                    location ~ /(blobs|manifests)/ {
                    }
                }
            }
        }
    }
}

EOF

###############################################################################

$ENV{HOME} = $dir;
$ENV{SSL_CERT_FILE} = "$dir/server.crt";

# options that the program leaves off by default

$ENV{"OCI_$_"} = 'true' for qw/ API_BLOBS_DIGEST_HEADER
	API_BLOBS_MOUNT_ANONYMOUS API_BLOBS_UPLOAD_CANCEL
	API_MANIFESTS_DIGEST_HEADER API_MANIFESTS_TAG_PARAM DATA_SPARSE
	DATA_EMPTY_BLOB DATA_SHA512 /;

conformance('plain', '1.1', 8080, 'disabled');
conformance('hostile', 'dev', 8081, 'enabled');

like(slurp("$dir/hostile.log"), qr/ HTTP\/2\.0$/m, 'HTTP/2 was spoken');

###############################################################################

sub conformance {
	my ($name, $version, $port, $tls) = @_;

	local $ENV{OCI_VERSION} = $version;
	local $ENV{OCI_REGISTRY} = '127.0.0.1:' . port($port);
	local $ENV{OCI_TLS} = $tls;
	local $ENV{OCI_RESULTS_DIR} = "$dir/$name-results";

	my ($status, $out) = run($program);

	# the table of the interfaces and kinds of data

	my $yaml = slurp("$dir/$name-results/results.yaml");
	my %table = $yaml =~ /^  ([A-Z][^:\n]*): (Pass|Skip|Disabled|FAIL|Error)$/mg;

	cmp_ok(scalar(keys %table), '>', 50, "$name: results");
	is(join(', ', grep { $table{$_} ne 'Pass' } sort keys %table), '',
		"$name: all interfaces and kinds of data pass");

	# every single test

	my (%tests, %why);
	my $junit = slurp("$dir/$name-results/junit.xml");

	while ($junit =~ m!<testcase\ name="([^"]+)"[^>]*\ status="(\w+)">
		(?:\s*<system-out>(.*?)</system-out>)?!xsg)
	{
		push @{$tests{$2}}, $1;
		$why{$1} = $3 || '';
	}

	my @passed = @{delete $tests{passed} || []};
	my @skipped = @{delete $tests{skipped} || []};
	my @failed = map { @$_ } values %tests;

	cmp_ok(scalar(@passed), '>', 700, "$name: tests passed")
		or diag(substr($out, -2000));

	is(scalar(@failed), 0, "$name: no test failed");
	diag("$name: failed: $_\n    " . text($why{$_})) for sort @failed;

	my @unexpected = grep { !$skips{$_} } @skipped;

	is(scalar(@unexpected), 0, "$name: no unexpected skips");
	diag("$name: skipped: $_\n    " . text($why{$_})) for sort @unexpected;
	note("$name: skipped: $_: $skips{$_}") for grep { $skips{$_} } @skipped;
}

sub text {
	my ($xml) = @_;
	my %entity = (lt => '<', gt => '>', quot => '"', amp => '&',
		'#34' => '"', '#39' => "'", '#xA' => "\n    ", '#x9' => ' ');

	return $xml =~ s/&([^;]+);/$entity{$1} || ''/ger;
}

###############################################################################
