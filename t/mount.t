#!/usr/bin/perl

# Mounting blobs from other repositories: only what the client may pull there,
# and what is in doubt begins an upload.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Registry;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http access rewrite/)
	->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;
user root;
worker_processes 2;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format operation '$request_method $status $registry_operation';
    access_log %%TESTDIR%%/operations.log operation;

    registry_store local { path %%TESTDIR%%/registry; }
    registry_store other { path %%TESTDIR%%/other; }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /v2/ {
            registry local;
            registry_push on;
            registry_delete on;
        }

        location /v2/apart/ {
            registry local;
            registry_push on;
        }

        location /v2/apart/nested/ {
            registry local;
            registry_push on;

            location /v2/apart/nested/deeper/ {
                registry_push on;
            }
        }

        location = /v2/exact/blobs/uploads/ {
            registry local;
            registry_push on;
        }

        location ~ ^/v2/regex {
            registry local;
            registry_push on;
        }

        location ^~ /v2/regexless/ {
            registry local;
            registry_push on;
        }

        location ~ ^/v2/split/[^/]+/blobs/sha {
            registry local;
            deny all;
        }

        location /v2/other/ {
            registry other;
            registry_push on;
        }

        location /v2/pull/ {
            registry local;
        }

        location /v2/never/ {
            registry local;
            registry_push on;
            registry_mount off;

            location /v2/never/nested/ {
            }

            location /v2/never/but/ {
                registry_mount on;
            }
        }
    }

    server {
        listen       127.0.0.1:8081;
        server_name  localhost;

        location /v2/ {
            registry local;
            registry_push on;
        }
    }
}

EOF

$t->run()->plan(103);

###############################################################################

my $root = $t->testdir() . '/registry/docker/registry/v2';

my $blob = push_blob('a', 'a blob');
my $sha512 = push_blob('a', 'a blob', digest => sha512('a blob'));

# granted

my $r = mount('b', $blob, 'a');
is($r->status, 201, 'mount');
is($r->location(), "/v2/b/blobs/$blob", 'mount location');
is($r->header('Docker-Content-Digest'), $blob, 'mount digest');
is($r->header('Content-Length'), 0, 'mount length');
is($r->header('Docker-Upload-UUID'), undef, 'mount is no upload');
is(request(GET => "/v2/b/blobs/$blob")->body, 'a blob', 'mounted');
is(sessions('b'), 0, 'mount has no session');

is(mount('b', $blob, 'a')->status, 201, 'mount again');
is(mount('a', $blob, 'a')->status, 201, 'mount from itself');
is(mount('c/d', $blob, 'b')->status, 201, 'mount from what was mounted');
is(mount('b', $sha512, 'a')->status, 201, 'mount sha512');
is(request(GET => "/v2/b/blobs/$sha512")->body, 'a blob', 'mounted sha512');
is(request(POST => "/v2/e%2ff/blobs/uploads/?from=c%2Fd&mount="
	. $blob =~ s/:/%3a/r)->status, 201, 'encoded');
is(request(POST => "/v2/g/blobs/uploads?x=y&mount=$blob&from=a&z")->status,
	201, 'other parameters, no slash');
is(mount('h', $blob, 'a', body => 'x' x 100000)->status, 201, 'with a body');
is(mount('i', $blob, 'a', body => [ 'x' x 100000 ])->status, 201,
	'with a chunked body');

# what was deleted in one repository stays in the other

is(request(DELETE => "/v2/a/blobs/$blob")->status, 202, 'delete');
is(request(GET => "/v2/b/blobs/$blob")->status, 200, 'mounted stays');
is(begun(mount('j', $blob, 'a')), '202 j', 'mount of a deleted one');
is(request(GET => "/v2/j/blobs/$blob")->status, 404, 'nothing mounted');

# an upload begins where it is not granted, and can be finished

my $none = sha256('none');

is(begun(mount('k', $none, 'a')), '202 k', 'unknown blob');
is(begun(mount('k', $none, 'none')), '202 k', 'unknown repository');
is(begun(mount('k', $none, 'k')), '202 k', 'unknown in itself');
is(begun(mount('k', $blob, 'a/b')), '202 k', 'another repository');

my $only = push_blob('only/here', 'not linked elsewhere');
is(begun(mount('k', $only, 'b')), '202 k', 'not linked there');
is(request(HEAD => "/v2/k/blobs/$only")->status, 404, 'not linked here');

my $uri = mount('k', $none, 'a')->location();
is(request(PUT => "$uri?digest=$none", body => 'none')->status, 201,
	'upload instead');

# with bytes at hand the upload is finished at once

is(request(POST => "/v2/k/blobs/uploads/?mount=" . sha256('more')
	. '&from=a&digest=' . sha256('more'), body => 'more')->status, 201,
	'mount or upload');
is(request(GET => '/v2/k/blobs/' . sha256('more'))->body, 'more',
	'mount or upload bytes');

my ($this, $that) = (push_blob('a', 'this'), sha256('that'));

$r = request(POST => "/v2/k/blobs/uploads/?mount=$this&from=a&digest=$that",
	body => 'that');
is($r->status . ' ' . $r->header('Docker-Content-Digest'), "201 $this",
	'mount of one, bytes of another');
$r = request(POST => "/v2/k/blobs/uploads/?mount=$none&from=b&digest=$that",
	body => 'that');
is($r->status . ' ' . $r->header('Docker-Content-Digest'), "201 $that",
	'no mount of one, bytes of another');
is($r->location(), "/v2/k/blobs/$that",
	'no mount of one, bytes of another, location');
is(brief(request(POST => "/v2/k/blobs/uploads/?mount=$none&from=b&digest="
	. sha256('these'), body => 'those')), '400 DIGEST_INVALID',
	'no mount, and wrong bytes');

# as podman does: cancel it, with delete permitted or not

for my $name ('k', 'apart/x') {
	$uri = mount($name, sha256('never'), 'a')->location();
	is(request(DELETE => $uri)->status, 204, "cancelled, $name");
}

# bytes that are gone behind a link

my $gone = push_blob('b', 'gone');
my ($hex) = $gone =~ /:(.*)/;
unlink "$root/blobs/sha256/" . substr($hex, 0, 2) . "/$hex/data" or die;
is(begun(mount('k', $gone, 'b')), '202 k', 'bytes are gone');

# locations: what other rules hold for is not granted

push_blob($_, 'secret') for 'a', 'apart/x', 'apart/nested/x',
	'apart/nested/deeper/x', 'exact', 'regex/x', 'regexless/x', 'regex2',
	'split/x';

my $secret = sha256('secret');

for (
	[ 'b', 'a', 201 ],
	[ 'b', 'apart/x', 202 ], [ 'apart/y', 'a', 202 ],
	[ 'apart/y', 'apart/x', 201 ],
	[ 'apart/y', 'apart/nested/x', 202 ],
	[ 'apart/nested/y', 'apart/x', 202 ],
	[ 'apart/nested/y', 'apart/nested/x', 201 ],
	[ 'apart/nested/y', 'apart/nested/deeper/x', 202 ],
	[ 'apart/nested/deeper/y', 'apart/nested/deeper/x', 201 ],
	[ 'b', 'exact', 202 ], [ 'exact', 'a', 202 ], [ 'exact', 'exact', 201 ],
	[ 'b', 'regex/x', 202 ], [ 'regex/y', 'a', 202 ],
	[ 'regex/y', 'regex/x', 201 ], [ 'regex/y', 'regex2', 201 ],
	[ 'regex/y', 'regexless/x', 202 ], [ 'regexless/y', 'regex/x', 202 ],
	[ 'regexless/y', 'regexless/x', 201 ],
	[ 'b', 'split/x', 202 ], [ 'split/y', 'split/x', 201 ],
	[ 'other/y', 'a', 202 ],
) {
	my ($to, $from, $status) = @$_;

	is(mount($to, $secret, $from)->status, $status, "$from to $to");
}

is(request(HEAD => "/v2/other/y/blobs/$secret")->status, 404,
	'nothing from another store');
is(mount('z', $secret, 'a', port => port(8081))->status, 201,
	'another server, its own location');

$r = mount('pull/x', $secret, 'a');
is(brief($r) . ' ' . $r->header('Allow'), '405 UNSUPPORTED ',
	'push is not permitted');

# without from: granted if it is known here

is(anonymous('l', push_blob('b', 'known')), 201, 'anonymous');
is(request(GET => '/v2/l/blobs/' . sha256('known'))->body, 'known',
	'anonymous mounted');
is(anonymous('m', sha256('known')), 201, 'anonymous, of what was mounted');
is(anonymous('n', sha256('unknown')), '202', 'anonymous, unknown');
is(anonymous('apart/z', sha256('known')), 202,
	'anonymous, another location');
is(anonymous('other/z', sha256('known')), 202, 'anonymous, another store');

push_blob('apart/x', 'apart only');
is(anonymous('n', sha256('apart only')), 202,
	'anonymous, only in another location');
is(anonymous('apart/z', sha256('apart only')), 201,
	'anonymous, in this location');

push_blob('b', 'deleted');
request(DELETE => '/v2/b/blobs/' . sha256('deleted'));
is(anonymous('n', sha256('deleted')), 202, 'anonymous, deleted');

# where it is off, and inherited

push_blob("never/$_/x", 'never') for 'a', 'nested', 'but';

is(begun(mount("never/$_/y", sha256('never'), "never/$_/x")), "202 never/$_/y",
	"off, $_") for 'a', 'nested';
is(anonymous('never/a/y', sha256('never')), 202, 'off, anonymous');
is(mount('never/but/y', sha256('never'), 'never/but/x')->status, 201,
	'on again');
is(request(POST => '/v2/never/a/z/blobs/uploads/?mount=' . sha256('never')
	. '&from=never/a/x&digest=' . sha256('never'), body => 'never')->status,
	201, 'off, with bytes at hand');

# an empty from is no name; what is malformed is refused

my %bad = ('' => 'empty', A => 'upper case', '../a' => 'path',
	'a/../a' => 'path inside', '%2e%2e%2fa' => 'encoded path',
	'a%00' => 'zero', '_uploads' => 'internal', 'a/_layers' => 'internal',
	'x' x 256 => 'too long', 'x' x 3000 => 'much too long', '%zz' => 'escape',
	'a%20b' => 'space', '/a' => 'slash', 'a/' => 'slash at the end');

is(brief(mount('o', $secret, $_)), '400 NAME_INVALID', "from, $bad{$_}")
	for sort keys %bad;

for my $digest ('', 'x', 'sha256:', 'sha256:' . 'a' x 63, 'md5:' . 'a' x 32,
	'sha256:..%2f' . 'a' x 58)
{
	is(brief(mount('o', $digest, 'a')), '400 DIGEST_INVALID',
		'digest ' . substr($digest, 0, 14));
}

is(brief(mount('O', $secret, 'a')), '400 NAME_INVALID', 'bad target');
is(begun(request(POST => '/v2/o/blobs/uploads/?from=a')), '202 o',
	'from alone');
ok(!-e "$root/repositories/$_", "nothing made of $_") for 'none', 'O';

# connections are kept

my $s = connection();

is(mount('p', $secret, 'a', socket => $s, body => 'x' x 70000)->status, 201,
	'kept');
is(mount('p', $none, 'a', socket => $s)->status, 202, 'kept, not granted');
is(request(GET => '/v2/', socket => $s)->status, 200, 'kept at last');

unlike($t->read_file('operations.log'), qr/^POST 201 (?!push_blob$)/m,
	'operation');

###############################################################################

sub brief {
	my ($r) = @_;
	return join(' ', grep { defined } $r->status, $r->code);
}

sub mount {
	my ($name, $digest, $from, %opts) = @_;
	return request(POST => "/v2/$name/blobs/uploads/"
		. "?mount=$digest&from=$from", %opts);
}

sub anonymous {
	my ($name, $digest) = @_;
	return request(POST => "/v2/$name/blobs/uploads/?mount=$digest")
		->status;
}

# the status, and the repository that an upload has begun in

sub begun {
	my ($r) = @_;
	return brief($r) . ' ' . (($r->location() // '')
		=~ m!^/v2/(.*)/blobs/uploads/[0-9a-f-]{36}$!)[0];
}

sub sessions {
	my ($name) = @_;
	return scalar(my @sessions = glob("$root/repositories/$name/_uploads/*"));
}

###############################################################################
