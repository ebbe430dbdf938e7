#!/usr/bin/perl

# A manifest that is pushed with tags while the manifest, or one of the tags,
# is deleted.  Whoever comes first: what is left is whole, and every tag that
# is listed can be pulled.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Time::HiRes qw/ sleep /;
use Test::Nginx;
use Test::Nginx::Registry;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http/)
	->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;
user root;
worker_processes 2;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    registry_store local { path %%TESTDIR%%/registry; tag_valid 1h; }

    server {
        listen       127.0.0.1:8080 reuseport;
        server_name  localhost;

        location /v2/ {
            registry local;
            registry_push on;
            registry_delete on;
        }
    }
}

EOF

$t->run()->plan(8);

###############################################################################

my $rounds = $ENV{TEST_NGINX_VALGRIND} ? 20 : 50;

my $manifest = to_json({ schemaVersion => 2, mediaType => $MANIFEST,
	layers => [] });
my $digest = sha256($manifest);

race('a manifest deleted', $digest);
race('a tag deleted', 'x');

# deletions meet each other too: one of them finds something

my (%together, @odd);

for (1 .. $rounds) {
	push_manifest('both', "$digest?tag=x&tag=y", $manifest);

	my @s = map { send_request(DELETE => "/v2/both/manifests/$_") }
		$digest, 'x';
	my @status = map { response($_)->status } @s;

	$together{"@status"}++;
	push @odd, left('both');
}

is_deeply([ grep { !/^(?:202 202|202 404)$/ } keys %together ], [],
	'two deletions');
is_deeply(\@odd, [], 'two deletions, nothing left');

###############################################################################

# the deletion begins before, with or after the push, by some milliseconds

sub race {
	my ($case, $reference) = @_;
	my (%push, %delete, @left);

	for my $round (1 .. $rounds) {
		my $wait = (($round * 7) % 20 - 5) / 2000;

		push_manifest('a', "$digest?tag=x&tag=y", $manifest)
			if $round % 2;

		my @s;

		for my $who ($wait > 0 ? qw/ push delete / : qw/ delete push /) {
			sleep(abs $wait) if @s;

			push @s, $who eq 'delete'
				? [ \%delete, send_request(DELETE =>
					"/v2/a/manifests/$reference") ]
				: [ \%push, send_request(PUT =>
					"/v2/a/manifests/$digest?tag=x&tag=y",
					body => $manifest,
					headers => { 'Content-Type' => $MANIFEST }) ];
		}

		$_->[0]{response($_->[1])->status}++ for @s;

		push @left, left('a');
	}

	is_deeply([ keys %push ], [ 201 ], "$case: pushes");
	is_deeply([ grep { !/^(?:202|404)$/ } keys %delete ], [],
		"$case: deletions");
	is_deeply(\@left, [], "$case: every tag leads to the manifest");
}

# tags that are listed, and lead nowhere

sub left {
	my ($name) = @_;
	my $list = request(GET => "/v2/$name/tags/list");

	return $list->summary() if $list->status != 200;

	return map { "$_: " . request(GET => "/v2/$name/manifests/$_")->status }
		grep { request(GET => "/v2/$name/manifests/$_")->status != 200 }
		@{$list->json->{tags}};
}

###############################################################################
