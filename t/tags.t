#!/usr/bin/perl

# Lists of tags and of repositories: what is in them, in which order, and a
# page at a time.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use File::Path qw/ make_path /;
use Test::Nginx;
use Test::Nginx::Registry;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http gzip/)
	->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;
user root;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    registry_store local { path %%TESTDIR%%/registry; }
    registry_store empty { path %%TESTDIR%%/empty; }
    registry_store many { path %%TESTDIR%%/many; }

    gzip              on;
    gzip_types        *;
    gzip_min_length   1;

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /v2/ {
            registry local;
            registry_push on;
            registry_delete on;
            registry_catalog on;
        }

        location /v2/private/ {
            registry local;
            registry_push on;
        }

        location ~ ^/v2/(regex)/ {
            registry local;
            registry_push on;
        }
    }

    server {
        listen       127.0.0.1:8081;
        server_name  localhost;

        location /v2/ {
            registry local;
        }
    }

    server {
        listen       127.0.0.1:8082;
        server_name  localhost;

        registry_catalog on;

        location /v2/ {
            registry empty;
        }

        location /v2/many/ {
            registry many;
        }
    }
}

EOF

$t->run()->plan(96);

###############################################################################

my $root = $t->testdir() . '/registry/docker/registry/v2';
my $manifest = to_json({ schemaVersion => 2, layers => [] });

# tags, in the order of their bytes

my @tags = qw/ 0 1.0 1.0-rc1 10 9 A B _x a a-b a.b a_b latest z /;

for my $tag (reverse @tags) {
	push_manifest('a/b', $tag, $manifest)->status == 201 or die;
}

my $r = request(GET => '/v2/a/b/tags/list');
is($r->status, 200, 'list');
is($r->header('Content-Type'), 'application/json', 'list type');
is($r->header('Content-Length'), length $r->body, 'list length');
is($r->header('Link'), undef, 'list link');
is($r->header('Docker-Distribution-Api-Version'), 'registry/2.0', 'version');
is($r->body, '{"name":"a/b","tags":[' . join(',', map { "\"$_\"" } @tags)
	. ']}', 'list bytes');

my $length = $r->header('Content-Length');
$r = request(HEAD => '/v2/a/b/tags/list');
is($r->status . ' ' . $r->header('Content-Length'), "200 $length", 'head');

# pages

is(tags('a/b', 'n=3'), '0 1.0 1.0-rc1 <n=3&last=1.0-rc1>', 'page');
is(tags('a/b', 'n=3&last=1.0-rc1'), '10 9 A <n=3&last=A>', 'next page');
is(tags('a/b', 'n=3&last=a_b'), 'latest z', 'last page');
is(tags('a/b', 'n=14'), "@tags", 'page of all');
is(tags('a/b', 'n=13&last=0'), "@tags[1 .. 13]", 'page of the rest');
is(tags('a/b', 'last=a.b'), 'a_b latest z', 'last alone');
is(tags('a/b', 'last=a.b%00'), '400 UNSUPPORTED', 'last with a zero');
is(tags('a/b', 'last=ab'), 'latest z', 'last that is no tag');
is(tags('a/b', 'last=zzz'), '', 'last beyond the end');
is(tags('a/b', 'last=z&n=1'), '', 'last is the end');
is(tags('a/b', 'last=&n=1'), '0 <n=1&last=0>', 'last is empty');
is(tags('a/b', 'last=%2e%2e%2f&n=1'), '0 <n=1&last=0>', 'last is a path');
is(tags('a/b', 'l%61st=latest'), 'z', 'encoded name');
is(tags('a/b', 'last=%6Catest'), 'z', 'encoded value');
is(tags('a/b', 'last=' . 'x' x 255), 'z', 'long last');
is(tags('a/b', 'last=' . 'x' x 256), '400 UNSUPPORTED', 'last too long');
is(tags('a/b', 'last=%zz'), '400 UNSUPPORTED', 'malformed last');

for my $n (1, 2, 5, 13) {
	is(pages("/v2/a/b/tags/list?n=$n", 'tags'), "@tags", "pages of $n");
}

# numbers

is(tags('a/b', 'n=0'), '', 'none');
is(tags('a/b', 'n=0&last=a'), '', 'none after');
is(tags('a/b', "n=$_"), "@tags", "n=$_")
	for '1000000000', '9999999999', '18446744073709551616',
		'99999999999999999999', '9' x 30, '0' x 30 . '99';
is(tags('a/b', "n=$_"), '400 UNSUPPORTED', "n=$_")
	for '', '-1', '+1', '1.5', '1e3', '0x10', 'x', '%31%00',
		'%201', '1%20';
is(tags('a/b', 'n=%31'), '0 <n=1&last=0>', 'encoded number');
is(tags('a/b', 'n=1&n=2'), '0 <n=1&last=0>', 'two numbers');
is(tags('a/b', 'N=1&m=2&&x'), "@tags", 'other parameters');

# what there is no list of

is(tags('none', ''), '404 NAME_UNKNOWN', 'no repository');
is(tags('a', ''), '404 NAME_UNKNOWN', 'only repositories below');
is(tags('a/b/c', ''), '404 NAME_UNKNOWN', 'no repository below');
is(brief(request(GET => '/v2/a/b/tags/')), '404 UNSUPPORTED', 'no endpoint');
is(brief(request(GET => '/v2/a/b/tags/list/')), '404 UNSUPPORTED',
	'a slash too many');
is(brief(request(GET => '/v2/tags/list')), '404 UNSUPPORTED', 'no name');
is(brief(request(GET => '/v2/A/tags/list')), '400 NAME_INVALID', 'bad name');

push_blob('bare', 'no manifest here');
is(tags('bare', ''), '', 'no tag yet');

push_manifest('untagged', sha256($manifest), $manifest);
is(tags('untagged', ''), '', 'no tag');

push_manifest('deleted', 'x', $manifest);
request(DELETE => '/v2/deleted/manifests/x');
is(tags('deleted', ''), '', 'no tag any more');

# names that look like the API's own words

push_manifest($_, 'x', $manifest) for 'tags', 'tags/list', 'manifests/blobs';
is(tags($_, ''), 'x', "$_ is a name")
	for 'tags', 'tags/list', 'manifests/blobs';

# what others left there is no tag

make_path("$root/repositories/a/b/_manifests/tags/$_")
	for '.hidden', 'not a tag', "\xe4", 'x' x 129;
is(tags('a/b', ''), "@tags", 'what is no tag');

# a cut in the middle of many

my $many = $t->testdir() . '/many/docker/registry/v2/repositories/many/x';
make_path("$many/_manifests/tags");
mkdir sprintf("$many/_manifests/tags/t%05d", $_) for 1 .. 10003;

$r = request(GET => '/v2/many/x/tags/list', port => port(8082));
is(scalar @{$r->json->{tags}}, 10000, 'no more than that at once');
is($r->header('Link'),
	'</v2/many/x/tags/list?n=10000&last=t10000>; rel="next"', 'and the rest');
is(join(' ', @{request(GET => '/v2/many/x/tags/list?n=10000&last=t10000',
	port => port(8082))->json->{tags}}), 't10001 t10002 t10003', 'the rest');
is(join(' ', @{request(GET => '/v2/many/x/tags/list?n=2&last=t04999',
	port => port(8082))->json->{tags}}), 't05000 t05001', 'in the middle');

###############################################################################

# the catalogue: by whole names, without what other rules hold for

push_manifest($_, 'x', $manifest) for 'a', 'a-b', 'a.b', 'a/b/c', 'a0', 'z/z/z',
	'private/x', 'regex/x';

my @names = ('a', 'a-b', 'a.b', 'a/b', 'a/b/c', 'a0',
	'bare', 'deleted',
	'manifests/blobs', 'tags', 'tags/list', 'untagged', 'z/z/z');

$r = request(GET => '/v2/_catalog');
is($r->status, 200, 'catalog');
is($r->header('Content-Type'), 'application/json', 'catalog type');
is($r->body, '{"repositories":[' . join(',', map { "\"$_\"" } @names) . ']}',
	'catalog bytes');
is($r->header('Link'), undef, 'catalog link');
is(request(HEAD => '/v2/_catalog')->status, 200, 'catalog head');

is(pages("/v2/_catalog?n=$_", 'repositories'), "@names", "catalog by $_")
	for 1, 2, 5, 12, 100;

is(catalog('n=2'), 'a a-b <n=2&last=a-b>', 'catalog page');
is(catalog('n=2&last=a-b'), 'a.b a/b <n=2&last=a/b>', 'catalog next page');
is(catalog('last=tags%2Flist'), 'untagged z/z/z', 'catalog last');
is(catalog('last=a/b/'), "@names[4 .. 12]", 'catalog last with a slash');
is(catalog('last=zz'), '', 'catalog last beyond the end');
is(catalog('n=0'), '', 'catalog none');
is(catalog('n=1000000000'), "@names", 'catalog of a billion');
is(catalog('n=x'), '400 UNSUPPORTED', 'catalog of x');

is(brief(request(GET => '/v2/_catalog/')), '404 UNSUPPORTED',
	'catalog with a slash');

# off, and empty

$r = request(GET => '/v2/_catalog', port => port(8081));
is(brief($r), '405 UNSUPPORTED', 'catalog off');
is($r->header('Allow'), '', 'catalog off allow');

is(request(GET => '/v2/_catalog', port => port(8082))->body,
	'{"repositories":[]}', 'catalog empty');

# connections are kept, and a body is of no interest

my $s = connection();

is(request(GET => $_, socket => $s, body => 'x' x 10000)->status, 200, "kept, $_")
	for '/v2/_catalog', '/v2/a/b/tags/list', '/v2/a/b/tags/list?n=1';
is(request(GET => '/v2/none/tags/list', socket => $s)->status, 404,
	'kept, unknown');
is(request(DELETE => '/v2/_catalog', socket => $s)->status, 405,
	'kept, not allowed');
is(request(GET => '/v2/_catalog', socket => $s)->status, 200, 'kept at last');

is(request(GET => '/v2/_catalog', headers => { 'Accept-Encoding' => 'gzip' })
	->header('Content-Encoding'), undef, 'not compressed');

###############################################################################

sub brief {
	my ($r) = @_;
	return join(' ', grep { defined } $r->status, $r->code);
}

# what is in a list, and the query of the next page; or status and code

sub list {
	my ($path, $member) = @_;

	my $r = request(GET => $path);
	return brief($r) if $r->status != 200;

	my ($base) = split(/\?/, $path);
	my $link = $r->header('Link') // '';
	$link =~ s/^<\Q$base\E\?(.*)>; rel="next"$/<$1>/;

	return join(' ', @{$r->json->{$member}}, $link ne '' ? $link : ());
}

sub tags {
	my ($name, $query) = @_;
	return list("/v2/$name/tags/list?$query", 'tags');
}

sub catalog {
	my ($query) = @_;
	return list("/v2/_catalog?$query", 'repositories');
}

# all pages, one after another

sub pages {
	my ($path, $member) = @_;
	my @all;

	for (1 .. 50) {
		my $r = request(GET => $path);
		push @all, @{$r->json->{$member}};

		my $link = $r->header('Link') // return "@all";
		($path) = $link =~ m!^<(/v2/[^>]*)>; rel="next"$!
			or return "bad link $link";
	}

	return 'no end';
}

###############################################################################
