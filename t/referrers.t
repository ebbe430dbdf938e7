#!/usr/bin/perl

# Referrers: manifests with a subject, the list of them, its filter, its
# pages, and what deletion does to it.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use File::Path qw/ remove_tree /;
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
        }
    }
}

EOF

$t->run()->plan(74);

###############################################################################

my $root = $t->testdir() . '/registry/docker/registry/v2';

my $image = push_image('a', 'latest', 'layer');
my $digest = sha256($image);
my $uri = "/v2/a/referrers/$digest";

my $sbom = 'application/vnd.example.sbom.v1+json';
my $signature = 'application/vnd.example.signature.v1';
my $empty = push_blob('a', '{}');
my %config = (config => { mediaType => $CONFIG, digest => $empty, size => 2 });

# none yet

my $r = request(GET => $uri);
is($r->status, 200, 'none');
is($r->header('Content-Type'), $INDEX, 'none type');
is($r->body, "{\"schemaVersion\":2,\"mediaType\":\"$INDEX\",\"manifests\":[]}",
	'none bytes');
is($r->header('Link'), undef, 'none link');
is($r->header('OCI-Filters-Applied'), undef, 'none filter');

is(request(GET => "/v2/none/referrers/$digest")->body, $r->body,
	'no repository');
is(request(GET => '/v2/a/referrers/' . sha512('x'))->body, $r->body, 'sha512');
is(request(HEAD => $uri)->header('Content-Length'), length $r->body, 'head');

is(brief(request(GET => "/v2/a/referrers/$_")), '400 DIGEST_INVALID',
	"bad digest $_") for '', 'latest', 'sha256:x', 'md5:' . 'a' x 32;
is(brief(request(GET => "/v2/A/referrers/$digest")), '400 NAME_INVALID',
	'bad name');

# of all kinds

my @all = (
	refer('by artifactType', $MANIFEST, artifactType => $sbom, %config,
		annotations => { 'org.example' => 'yes', number => '1' }),
	refer('by config', $MANIFEST, %config, layers => []),
	refer('an index', $INDEX, manifests => []),
	refer('an index with artifactType', $INDEX, manifests => [],
		artifactType => $signature, annotations => { x => 'y' }),
	refer('another of the same', $MANIFEST, artifactType => $sbom, %config,
		annotations => { 'org.example' => 'no', "\x{e4}\"\\" => "\n" }),
);

my %expected = map { $_->{digest} => $_ } @all;
my @digests = sort keys %expected;

$r = request(GET => $uri);
is($r->header('Content-Type'), $INDEX, 'list type');
is($r->json->{mediaType}, $INDEX, 'list media type');
is_deeply($r->json->{manifests}, [ @expected{@digests} ], 'list');
is($r->header('Link'), undef, 'list link');

is_deeply(request(GET => $uri)->json->{manifests}, $r->json->{manifests},
	'the same again');

# the filter

is(filter($sbom), join(' ', 'artifactType', grep {
	($expected{$_}{artifactType} // '') eq $sbom } @digests), 'filter');
is(filter($signature), "artifactType $all[3]{digest}", 'filter, index');
is(filter($CONFIG), "artifactType $all[1]{digest}", 'filter, config');
is(filter($sbom =~ s/\+/%2B/r =~ s!/!%2F!r), filter($sbom),
	'filter, encoded');
is(filter('none/such'), 'artifactType', 'filter, none');
is(filter(''), 'artifactType', 'filter, empty');
is(filter($sbom =~ s/json/jso/r), 'artifactType', 'filter, a part of it');
is(filter('%zz'), '400 UNSUPPORTED', 'filter, malformed');
is(filter('%00'), '400 UNSUPPORTED', 'filter, zero');
is(filter('x' x 1000), '400 UNSUPPORTED', 'filter, too long');

# pages

is(pages("$uri?n=$_"), brief_list(@digests), "pages of $_") for 1 .. 6;

my @wanted = grep { ($expected{$_}{artifactType} // '') eq $sbom } @digests;

is(pages("$uri?n=$_&artifactType=$sbom"), brief_list(@wanted),
	"filtered pages of $_") for 1 .. 3;

$r = request(GET => "$uri?n=1&artifactType=$sbom");
is($r->header('OCI-Filters-Applied'), 'artifactType', 'filter of a page');
like($r->header('Link'), qr!^<\Q$uri\E\?n=1&last=[^&>]+
	&artifactType=\Q${\($sbom =~ s/\+/%2B/r)}\E>;\ rel="next"$!x,
	'filter of the next page');

is(request(GET => "$uri?n=0")->body,
	"{\"schemaVersion\":2,\"mediaType\":\"$INDEX\",\"manifests\":[]}",
	'page of none');
is(request(GET => "$uri?n=0")->header('Link'), undef, 'page of none, link');
is(scalar @{request(GET => "$uri?n=1000000000")->json->{manifests}}, 5,
	'page of a billion');
is(brief(request(GET => "$uri?n=x")), '400 UNSUPPORTED', 'page of x');
is(request(GET => "$uri?last=z")->body, request(GET => "$uri?n=0")->body,
	'beyond the end');
is(request(GET => "$uri?last=../../..")->status, 200, 'last is a path');

# another repository's, and another subject's

is(filter('', 'b'), 'artifactType', 'another repository');

my $chain = refer('of a referrer', $MANIFEST, %config, layers => [],
	subject => { mediaType => $MANIFEST, size => 1,
		digest => $all[0]{digest} });
is_deeply(request(GET => "/v2/a/referrers/$all[0]{digest}")->json->{manifests},
	[ $chain ], 'a referrer has referrers');

# a subject that is not there, or is of the other algorithm

my $later = sha512('later');
my $before = refer('before its subject', $MANIFEST, %config, layers => [],
	subject => { mediaType => $MANIFEST, size => 5, digest => $later });
is_deeply(request(GET => "/v2/a/referrers/$later")->json->{manifests},
	[ $before ], 'before its subject');

# pushed by sha512: listed by what it was pushed as

my $strong = to_json({ schemaVersion => 2, mediaType => $MANIFEST, %config,
	layers => [], artifactType => 'a/b', subject => { size => 1,
	mediaType => $MANIFEST, digest => $later } });
is(push_manifest('a', sha512($strong), $strong)->header('OCI-Subject'),
	$later, 'sha512 referrer');
is(join(' ', map { $_->{digest} } @{request(GET => "/v2/a/referrers/$later")
	->json->{manifests}}), join(' ', $before->{digest}, sha512($strong)),
	'sha512 referrer listed');

# many: every page is full, and none is lost

my $many = sha256('many');
my @many;

for my $i (1 .. 41) {
	push @many, refer("one of many $i", $MANIFEST, %config,
		layers => [], artifactType => $i % 3 ? 'a/b' : 'c/d',
		subject => { mediaType => $MANIFEST, size => 1,
			digest => $many })->{digest};
}

is(pages("/v2/a/referrers/$many?n=$_"), brief_list(sort @many), "many by $_")
	for 3, 10, 20, 41;
is(pages("/v2/a/referrers/$many?n=5&artifactType=c/d"),
	brief_list(sort @many[grep { $_ % 3 == 2 } 0 .. 40]), 'many filtered');

# annotations that are no strings would break clients

my $odd = sha256('odd');
push_manifest('a', 'odd', { schemaVersion => 2, mediaType => $MANIFEST,
	%config, layers => [], annotations => { x => 1, y => 'z', z => {} },
	subject => { mediaType => $MANIFEST, size => 1, digest => $odd } });
is_deeply(request(GET => "/v2/a/referrers/$odd")
	->json->{manifests}[0]{annotations}, { y => 'z' }, 'odd annotations');

# deleted

is(request(DELETE => "/v2/a/manifests/$all[0]{digest}")->status, 202,
	'delete');
is(join(' ', map { $_->{digest} } @{request(GET => $uri)->json->{manifests}}),
	join(' ', grep { $_ ne $all[0]{digest} } @digests), 'deleted');
is_deeply([ glob("$root/repositories/a/_referrers/sha256/"
	. substr($digest, 7) . '/*' . substr($all[0]{digest}, 7)) ], [],
	'deleted file');

# what another program deleted, or left half written

my ($gone) = map { substr($_, 7) } $all[1]{digest};
unlink "$root/repositories/a/_manifests/revisions/sha256/$gone/link" or die;
is(join(' ', map { $_->{digest} } @{request(GET => $uri)->json->{manifests}}),
	join(' ', grep { !/$gone|\Q$all[0]{digest}\E/ } @digests),
	'deleted behind our back');

my $dir = "$root/repositories/a/_referrers/sha256/" . substr($digest, 7);

for my $name ('x', 'sha256-x', 'sha256:' . 'a' x 64, '.tmp') {
	open(my $fh, '>', "$dir/$name") or die;
	print $fh 'x';
	close $fh;
}

is(scalar @{request(GET => $uri)->json->{manifests}}, 3, 'odd files');
is(pages("$uri?n=1"), brief_list(grep { !/$gone|\Q$all[0]{digest}\E/ }
	@digests), 'odd files, pages');

# pushed to another registry program, known by a tag: taken over at once

for my $sum (\&sha256, \&sha512) {
	my $subject = $sum->('elsewhere');
	my @there;

	for my $i (1 .. 5) {
		push @there, refer("elsewhere $i", $MANIFEST, %config,
			layers => [], subject => { size => 1,
			mediaType => $MANIFEST, digest => $i == 1
				? sha256('nobody') : $subject });
	}

	my $stranger = push_image('elsewhere', 'x', 'stranger');
	remove_tree("$root/repositories/a/_referrers/"
		. $subject =~ tr!:!/!r);

	# it lists what is no referrer, what is not here, and a duplicate

	push_blob('a', $stranger);

	is(push_manifest('a', substr($subject, 0, 71) =~ tr/:/-/r,
		{ schemaVersion => 2, mediaType => $INDEX, manifests => [
			@there, $there[2], { mediaType => $MANIFEST,
			digest => sha256($stranger), size => 1 } ] })->status,
		201, 'known by a tag');

	$r = request(GET => "/v2/a/referrers/$subject?n=2");
	is(scalar @{$r->json->{manifests}}, 2, 'known by a tag, page');
	is(pages("/v2/a/referrers/$subject?n=2"), brief_list(sort
		map { $_->{digest} } @there[1 .. 4]), 'known by a tag, pages');
	is_deeply(request(GET => "/v2/a/referrers/$subject")
		->json->{manifests}, [ sort { $a->{digest} cmp $b->{digest} }
		@there[1 .. 4] ], 'known by a tag, list');

	request(DELETE => "/v2/a/manifests/$there[3]{digest}");
	is(pages("/v2/a/referrers/$subject?n=9"), brief_list(sort
		map { $_->{digest} } @there[1, 2, 4]),
		'known by a tag, deleted');
}

# the subject goes: its referrers stay in the list

is(request(DELETE => "/v2/a/manifests/$digest")->status, 202,
	'subject deleted');
is(scalar @{request(GET => $uri)->json->{manifests}}, 3,
	'subject deleted, list');

###############################################################################

sub brief {
	my ($r) = @_;
	return join(' ', grep { defined } $r->status, $r->code);
}

# pushes a manifest with a subject, and returns its descriptor

sub refer {
	my ($name, $type, %members) = @_;

	my $manifest = { schemaVersion => 2, mediaType => $type,
		'org.example.name' => $name, subject => { digest => $digest,
		mediaType => $MANIFEST, size => length $image }, %members };
	my $bytes = to_json($manifest);

	my $r = push_manifest('a', sha256($bytes), $bytes);
	$r->status == 201 && $r->header('OCI-Subject')
		eq $manifest->{subject}{digest}
		or die "$name: " . $r->summary();

	my $artifact = $manifest->{artifactType}
		// ($manifest->{config} // {})->{mediaType};

	return { mediaType => $type, digest => sha256($bytes),
		size => length $bytes,
		$artifact ? (artifactType => $artifact) : (),
		$members{annotations} ? (annotations => $members{annotations})
			: () };
}

# the filter that was applied, and the digests

sub filter {
	my ($type, $name) = @_;

	my $r = request(GET => '/v2/' . ($name // 'a')
		. "/referrers/$digest?artifactType=$type");
	return brief($r) if $r->status != 200;

	return join(' ', $r->header('OCI-Filters-Applied') // 'not applied',
		map { $_->{digest} } @{$r->json->{manifests}});
}

# some of each digest will do

sub brief_list {
	return join(' ', map { substr($_, 7, 4) } @_);
}

sub pages {
	my ($path) = @_;
	my ($n) = $path =~ /n=(\d+)/;
	my @all;

	for (1 .. 50) {
		my $r = request(GET => $path);
		my @page = map { $_->{digest} } @{$r->json->{manifests}};
		push @all, @page;

		my $link = $r->header('Link') // return brief_list(@all);
		return 'page of ' . @page if @page != $n;
		($path) = $link =~ m!^<(/v2/[^>]*)>; rel="next"$!
			or return "bad link $link";
	}

	return 'no end';
}

###############################################################################
