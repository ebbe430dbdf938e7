#!/usr/bin/perl

# A real containerd with ctr: import, push, remove, pull and run images, the
# namespace that it tells a mirror, filters that must leave content alone.

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

need(qw/ containerd ctr runc busybox tar gzip /);

my $t = Test::Nginx->new()->has(qw/http gzip/)->plan(24);
my $dir = $t->testdir();

$t->write_file_expand('nginx.conf', <<'EOF')->run();

%%TEST_GLOBALS%%

daemon off;
user root;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format requests '$status $request_method $request_uri';
    access_log %%TESTDIR%%/requests.log requests;

    registry_store local { path %%TESTDIR%%/registry; }

    # containerd accepts gzip

    gzip on;
    gzip_types *;
    gzip_min_length 0;

    server {
        listen       127.0.0.1:8080;
        server_name  reg.example;

        location /v2/ {
            registry local;
            registry_push on;
        }
    }
}

EOF

###############################################################################

my $reg = '127.0.0.1:' . port(8080);

my @ctr = containerd($t);
my @plain = ('--plain-http');

# an image of two layers, and an index

rootfs("$dir/root", 'it runs');
mkdir "$dir/large";
random_file("$dir/large/file", 20);

my $digest = oci_layout("$dir/image", 'one',
	amd64 => ["$dir/root", "$dir/large"]);
my $index = oci_layout("$dir/multi", 'all', amd64 => ["$dir/root"],
	arm64 => ["$dir/large"]);

for my $layout (qw/ image multi /) {
	system("tar -C $dir/$layout -cf $dir/$layout.tar .") == 0
		or die "tar: $?\n";
}

runs([@ctr, qw/images import --base-name/, "$reg/image", "$dir/image.tar"],
	'import');
runs([@ctr, qw/images push/, @plain, "$reg/image:one"], 'push');

my @requests = requests($t);

is(scalar(grep { /^201 PUT \S+\/blobs\/uploads\// } @requests), 3,
	'blobs sent in one PUT each');
is(join("\n", grep { / PATCH |^5/ } @requests), '', 'and in no other way');

like(http_get('/v2/image/manifests/one'),
	qr/Docker-Content-Digest: $digest\r/i, 'digest kept');

# images without their content, so that all of it comes from the registry

forget("$reg/image:one");
runs([@ctr, qw/images pull/, @plain, "$reg/image:one"], 'pull');
runs([@ctr, qw/images ls/], 'same digest', qr/\Q$reg\E\/image:one .*$digest/);

SKIP: {
	skip 'the image is for amd64', 2 if (POSIX::uname())[4] ne 'x86_64';

	runs([@ctr, qw/run --rm/, "$reg/image:one", 'one'], 'run',
		qr/^it runs$/m);
	is((run(@ctr, qw/run --rm/, "$reg/image:one", 'two', '/bin/busybox',
		'sha256sum', '/file'))[1],
		sha256_of("$dir/large/file") . "  /file\n",
		'large layer is whole');
}

requests($t);
runs([@ctr, qw/images push/, @plain, "$reg/image:two", "$reg/image:one"],
	'push under another tag');
is(join("\n", grep { / (POST|PATCH) | PUT \S+\/blobs\// } requests($t)), '',
	'nothing sent again');

# an index with all of its images

runs([@ctr, qw/images import --all-platforms --base-name/, "$reg/multi",
	"$dir/multi.tar"], 'import of an index');
runs([@ctr, qw/images push/, @plain, "$reg/multi:all"], 'push of an index');
forget("$reg/multi:all");
runs([@ctr, qw/images pull --all-platforms/, @plain, "$reg/multi:all"],
	'pull of an index');
runs([@ctr, qw/images ls/], 'same index',
	qr/\Q$reg\E\/multi:all .*$index.* linux\/amd64,linux\/arm64/);

# The registry as a host of reg.example, which is its own name, and of a name
# that it does not serve.

for my $name (qw/ reg.example other.example /) {
	mkdir "$dir/hosts";
	mkdir "$dir/hosts/$name";
	$t->write_file("hosts/$name/hosts.toml", <<EOF);
server = "http://$reg"
[host."http://$reg"]
  capabilities = ["pull", "resolve", "push"]
EOF
}

my @hosts = ('--hosts-dir', "$dir/hosts");

forget("$reg/image:one", "$reg/image:two");
requests($t);
runs([@ctr, qw/images pull/, @hosts, 'reg.example/image:one'],
	'pull with our own name as namespace');
is(scalar(grep { /^200 GET \S+[?&]ns=reg\.example$/ } requests($t)), 4,
	'namespace told');

runs([@ctr, qw/images tag/, 'reg.example/image:one',
	'reg.example/new/image:two'], 'tag');
runs([@ctr, qw/images push/, @hosts, 'reg.example/new/image:two'],
	'push with our own name as namespace');
like(http_get('/v2/new/image/manifests/two'),
	qr/Docker-Content-Digest: $digest\r/i, 'pushed');

is(scalar(grep { /^201 POST \S+[?&]mount=/ } requests($t)), 3,
	'blobs mounted');

fails([@ctr, qw/images pull/, @hosts, 'other.example/image:one'],
	'pull with another namespace', qr/not found/);
is(join("\n", grep { !/^404 \S+ \S+[?&]ns=other\.example/ } requests($t)), '',
	'another namespace not known');

###############################################################################

$t->stop_daemons();

is(join("\n", mounts_in($dir)), '', 'nothing left mounted');

###############################################################################

# removes images with all that only they use

sub forget {
	run(@ctr, qw/images rm --sync/, @_);
	run(@ctr, qw/content prune references/);
}

###############################################################################
