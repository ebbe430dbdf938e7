#!/usr/bin/perl

# Five ways to name a remote's repository, three kinds of rules, HEAD, GET and
# ranges: whichever way a client asks, it gets the same answer.  A namespace
# that nobody knows is 404, and no connection is made.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Images;
use MIME::Base64 qw/ encode_base64 /;
use Test::Nginx;
use Test::Nginx::Origin;
use Test::Nginx::Registry;
use Test::Nginx::Token;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/http auth_basic/)
	->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;
user root;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    add_header X-How "$registry_operation $registry_remote $registry_repository $registry_reference $registry_digest $registry_cache" always;

    registry_cache edge { path %%TESTDIR%%/cache;  max_size 1g; }
    registry_store local { path %%TESTDIR%%/local; }

    registry_remote default { cache edge;  valid 1h;  valid 404 1h; }

    registry_remote open.example {
        url    http://127.0.0.1:8091;
        alias  open.alias;
    }

    registry_remote basic.example {
        url    http://127.0.0.1:8092;
        alias  basic.alias;
    }

    registry_remote client.example {
        url    http://127.0.0.1:8093;
        alias  client.alias;
        auth   client;
    }

    server {
        listen       127.0.0.1:8080;
        server_name  reg.example;
        include      %%TESTDIR%%/rules;
    }

    server {
        listen       127.0.0.1:8081;
        server_name  open.fixed;
        include      %%TESTDIR%%/rules;
        registry_namespace open.example;
    }

    server {
        listen       127.0.0.1:8081;
        server_name  basic.fixed;
        include      %%TESTDIR%%/rules;
        registry_namespace basic.example;
    }

    server {
        listen       127.0.0.1:8081;
        server_name  client.fixed;
        include      %%TESTDIR%%/rules;
        registry_namespace client.example;
    }

    server {
        listen       127.0.0.1:8082;
        server_name  open.example open.alias basic.example basic.alias
                     client.example client.alias;
        include      %%TESTDIR%%/rules;
        registry_namespace $host;
    }

    server {
        listen       127.0.0.1:8083;
        server_name  both.example;

        location /v2/ {
            registry local;
            registry_push on;
            registry_proxy all;
        }
    }
}

EOF

$t->write_file('rules', <<"EOF");

location /v2/ {
    registry_proxy all;
}

location /v2/basic.example/ {
    registry_proxy all;
    auth_basic "edge";
    auth_basic_user_file ${\ $t->testdir() }/htpasswd;
}

EOF

$t->write_file('htpasswd', "edge:{PLAIN}edge-password\n");

my $token = Test::Nginx::Token->new($t, port => 8094, lifetime => 7200,
	anonymous => undef, users => {
	alice => { password => 'wonderland', allow => { 'team/*' => 'pull' } },
	bob => { password => 'the-builder', allow => { 'other/*' => 'pull' } } });

my %origin = map { $_->[0] => Test::Nginx::Origin->new($t, @$_[1 .. $#$_]) }
	[ open => (port => 8091) ], [ basic => (port => 8092) ],
	[ client => (port => 8093, token => $token) ];

$t->run()->plan(459);

###############################################################################

# what is asked; the status and the part of a blob, a manifest has no ranges

my %method = (
	'HEAD' => [ 200 ],
	'GET' => [ 200 ],
	'GET bytes=2-9' => [ 206, 2, 8 ],
	'GET bytes=-5' => [ 206, -5 ],
	'GET bytes=90000-90009' => [ 206, 90000, 10 ],
	'GET bytes=100000-' => [ 416 ],
);

# who asks

my $edge = basic('edge:edge-password');
my $alice = bearer('alice:wonderland', 'team/app');
my $bob = bearer('bob:the-builder', 'other/app');

my %clients = (
	open => [ { name => 'nobody' },
		{ name => 'anybody', shows => basic('any:of-anybody') } ],
	basic => [ { name => 'nobody', status => 401 },
		{ name => 'wrong', shows => basic('edge:no'), status => 401 },
		{ name => 'token', shows => $alice, status => 401 },
		{ name => 'edge', shows => $edge } ],
	client => [ { name => 'nobody', status => 401 },
		{ name => 'edge', shows => $edge, status => 401 },
		{ name => 'wrong', shows => 'Bearer of-nobody', status => 401 },
		{ name => 'bob', shows => $bob, status => 401 },
		{ name => 'alice', shows => $alice } ],
);

my $count = 0;

for my $rule (qw/ open basic client /) {
	my $origin = $origin{$rule};
	my @clients = @{$clients{$rule}};
	my @ways = ways("$rule.example", "$rule.alias", "$rule.fixed");
	my %asked;

	for my $kind (qw/ tag digest blob /) {
		my $here = object($origin, $kind);
		ok(until_hit($ways[0], $here, $clients[-1]{shows}),
			"$rule, $kind, warm");

		for my $state (qw/ warm cold /) {
			for my $method (sort keys %method) {
				for my $client (@clients) {
					my @objects = map { $state eq 'warm' ? $here
						: object($origin, $kind) } @ways;

					$origin->forget();

					is(alike(map { answer($ways[$_], $method,
							$objects[$_], $client->{shows}) }
							0 .. $#ways),
						expected($kind, $method, $client),
						"$rule, $kind, $state, $method, "
							. $client->{name});

					note_asked(\%asked, $origin, $client, @objects);
				}
			}
		}
	}

	# who is refused here makes nobody ask, and who may be refused there only
	# has it asked whether so; credentials are for who decides

	is(join(', ', sort keys %asked), { open => '', basic => '',
		client => 'Authorization, HEAD 401' }->{$rule},
		"$rule, what the remote saw");
}

# other spellings of the same names

my $open = object($origin{open}, 'tag');
my $port = $origin{open}->port();

ok(until_hit([ 8080, '/v2/open.example/%s' ], $open), 'other spellings, warm');
is(alike(map { answer($_, 'GET', $open) } ways('open.example', 'open.alias',
		'open.fixed'), ways('Open.EXAMPLE', 'OPEN.alias', 'OPEN.fixed:1'),
	[ 8080, '/v2/%s?ns=open%%2Eexample' ], [ 8080, '/v2/open%%2Eexample/%s' ],
	[ 8080, '//v2/./open.example//%s' ], [ 8080, '/v2/%s?x=y&n%%73=open.alias' ],
	[ 8080, '/v2/open.example/%s?ns=reg.example' ],
	[ 8082, '/v2/%s', 'open.example.' ], [ 8082, '/v2/%s', 'open.example:5000' ]),
	'200 CONTENT', 'other spellings');

# two names that contradict each other: "ns" counts before Host, and what stands
# in the path is then a part of the name; the rules are those of what is served

is(status([ 8080, '/v2/open.example/%s?ns=basic.example' ], 'GET', $open),
	'401 UNAUTHORIZED', 'ns against the first component');
is(status([ 8081, '/v2/%s?ns=basic.alias', 'open.fixed' ], 'GET', $open),
	'401 UNAUTHORIZED', 'ns against registry_namespace');
is(status([ 8082, '/v2/%s?ns=basic.alias', 'open.example' ], 'GET', $open),
	'401 UNAUTHORIZED', 'ns against Host');
is(status([ 8082, '/v2/open.example/%s', 'basic.alias' ], 'GET', $open),
	'401 UNAUTHORIZED', 'Host against the first component');

# names of nobody, also where there is something hosted by the same name

my $hosted = Images::image([ Images::blob('hosted') ]);

is(Images->new(port(8083))->push_image('team/app', 'hosted', $hosted), undef,
	'hosted');

my @objects = (named('tag', 'hosted', $hosted),
	named('digest', $hosted->{digest}, $hosted),
	named('blob', $hosted->{blobs}[1]{digest}, $hosted->{blobs}[1]));

is(status([ 8083, '/v2/%s' ], 'GET', $_), '200 CONTENT',
	"hosted, $_->{reference}") for @objects;

my @unknown = (
	ways('unknown.example', 'unknown.alias'),
	(map { [ 8080, "/v2/%s?ns=$_" ] } '', 'open', 'xopen.example',
		'open.example.', '.open.example', 'open.example:443',
		'open.example:5000', 'open.example/', 'open.example/team',
		'open.example@basic.example', 'open.example,basic.example',
		'open.example%%00', 'open.example%%20', '*.example', '..', '%%zz',
		"127.0.0.1:$port", "http://127.0.0.1:$port",
		'unknown.example&ns=open.example'),
	[ 8080, '/v2/%s?ns' ],
	(map { [ 8080, "/v2/$_/%s" ] } 'xopen.example', 'open.example.',
		'open.example:443', "127.0.0.1:$port"),
	(map { [ 8082, '/v2/%s', $_ ] } 'xopen.example', '127.0.0.1', 'localhost'),
	(map { [ $_->[0], "$_->[1]?ns=unknown.example", $_->[2] ] }
		[ 8080, '/v2/open.example/%s' ], [ 8081, '/v2/%s', 'open.fixed' ],
		[ 8082, '/v2/%s', 'open.example' ]),
	[ 8083, '/v2/%s?ns=unknown.example' ], [ 8083, '/v2/%s?ns=' ],
);

push @objects, map { object($origin{open}, $_) } qw/ tag digest blob /;
$_->forget() for $token, values %origin;

is(all($_), '404, 404 NAME_UNKNOWN',
	'unknown: ' . join(', ', grep { defined } @$_[1, 2])) for @unknown;

# where something is hosted it is a name like others, of nothing

is(all([ 8083, '/v2/unknown.example/%s' ]),
	'404, 404 BLOB_UNKNOWN, 404 MANIFEST_UNKNOWN', 'unknown: hosted');

is(status([ 8080, '/v2/basic.example/%s?ns=unknown.example' ], 'GET', $open),
	'401 UNAUTHORIZED', 'unknown: rules come first');

is(join(' ', map { $_->requests() + $_->connections() }
	$token, values %origin), '0 0 0 0', 'unknown: nobody was asked');

###############################################################################

# The ways: port, path, and Host.  All of them are one repository.

sub ways {
	my ($name, $alias, $host) = @_;

	return ([ 8080, "/v2/%s?ns=$name" ], [ 8080, "/v2/%s?ns=$alias" ],
		[ 8080, "/v2/$name/%s" ], [ 8080, "/v2/$alias/%s" ],
		[ 8082, '/v2/%s', $name ], [ 8082, '/v2/%s', $alias ],
		defined $host ? [ 8081, '/v2/%s', $host ] : ());
}

# puts something new into an origin, always of the same size

sub object {
	my ($origin, $kind) = @_;
	my $number = sprintf('%05d', ++$count);
	my $blob = Images::blob($kind eq 'blob'
		? substr("$number " x 20000, 0, 100000)
		: { schemaVersion => 2, mediaType => $MANIFEST, layers => [],
			config => Images::descriptor(Images::blob('{}', $CONFIG)),
			annotations => { number => $number } }, $MANIFEST);
	my $reference = $kind eq 'tag' ? "tag-$number" : $blob->{digest};

	$kind eq 'blob' ? $origin->blob('team/app', $blob)
		: $origin->manifest('team/app', "tag-$number", $blob);

	return named($kind, $reference, $blob);
}

sub named {
	my ($kind, $reference, $blob) = @_;

	return { %$blob, reference => $reference, path => 'team/app/'
		. ($kind eq 'blob' ? 'blobs' : 'manifests') . "/$reference" };
}

# status and body, and the header without what is of this object or this moment

sub answer {
	my ($way, $method, $object, $authorization) = @_;
	my ($port, $path, $host) = @$way;
	my ($verb, $range) = split(/ /, $method);

	my $r = request($verb => sprintf($path, $object->{path}),
		port => port($port), headers => { Host => $host // 'reg.example',
			Range => $range, Authorization => $authorization });

	my (undef, $from, $length) = @{$method{$method}};
	my $content = $r->status == 206
		? substr($object->{content}, $from, $length // 100000)
		: $object->{content};
	my $body = $r->body eq $content ? 'CONTENT'
		: $r->code // $r->body;

	my $fields = join("\n", sort map { "$_->[0]: $_->[1]" } @{$r->{fields}});

	$fields =~ s/^(Date|Last-Modified): .*/$1/mg;
	$fields =~ s/\Q$_\E/OBJECT/g
		for @$object{qw/ reference digest /};

	return $r->status . ($body eq '' ? '' : " $body") . "\n$fields";
}

# status and body of all answers, or two that are not alike

sub alike {
	my ($first, @others) = @_;

	my ($other) = grep { $_ ne $first } @others;

	return defined $other ? "$first\n\n$other" : $first =~ s/\n.*//sr;
}

sub expected {
	my ($kind, $method, $client) = @_;
	my $status = $client->{status}
		// ($kind eq 'blob' ? $method{$method}[0] : 200);
	my %body = (401 => ' UNAUTHORIZED', 416 => ' SIZE_INVALID');

	return $status . ($method eq 'HEAD' ? '' : $body{$status} // ' CONTENT');
}

sub status {
	return alike(answer(@_));
}

# what was asked for somebody who was refused, and whether credentials came

sub note_asked {
	my ($asked, $origin, $client, @objects) = @_;
	my $path = join('|', map { $_->{reference} } @objects);

	for my $r ($origin->requests()) {
		$asked->{Authorization} = 1 if defined $r->{headers}{authorization};
		$asked->{"$r->{method} $r->{status}"} = 1
			if $client->{status} && $r->{path} =~ /$path/;
	}
}

# the different answers, to whatever is asked in a way

sub all {
	my ($way) = @_;
	my %answers;

	for my $object (@objects) {
		$answers{status($way, $_, $object, $edge)}++ for keys %method;
	}

	return join(', ', sort keys %answers);
}

# when a blob is whole, and no more fetched

sub until_hit {
	my ($way, $object, $authorization) = @_;

	for (1 .. 500) {
		return 1 if answer($way, 'GET', $object, $authorization)
			=~ /^X-How: .* HIT$/m;
		select undef, undef, undef, 0.02;
	}

	return 0;
}

sub basic {
	return 'Basic ' . encode_base64($_[0], '');
}

sub bearer {
	my ($user, $name) = @_;

	return 'Bearer ' . request(GET => '/token?service=registry.test&scope='
		. "repository:$name:pull", port => port(8094),
		headers => { Authorization => basic($user) })->json->{token};
}

###############################################################################
