#!/usr/bin/perl

# What goes wrong at a remote, and what a client of this node sees of it:
# manifests that are here in an older version, manifests and blobs that are
# not here; bytes that are wrong, for all who follow; servers that are killed
# at any byte, with another one beside them.  docs/operations.md says the same.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use Time::HiRes qw/ sleep time /;

use lib 'lib';
use Images;
use Test::Nginx;
use Test::Nginx::Origin;
use Test::Nginx::Registry;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $HOLD = 4096;
my $MB = 1024 * 1024;

my $broken = qr/ended too early, in the body.*remote: "NAME"/;

# What the remote does; what a client gets for a manifest and for a blob that
# are not here, and for a tag that is, and has moved; what is in the log.

my @faults = (
	[ limits => { status => 429, headers => { 'Retry-After' => 7 } },
		'429 TOOMANYREQUESTS', '429 TOOMANYREQUESTS', 'STALE',
		qr/"NAME" answers 429/ ],
	[ fails => { status => 500 },
		'502 UNAVAILABLE', '502 UNAVAILABLE', 'STALE',
		qr/"NAME" answers 500/ ],
	[ overloaded => { status => 503 },
		'502 UNAVAILABLE', '502 UNAVAILABLE', 'STALE',
		qr/"NAME" answers 503/ ],
	[ teapot => { status => 418 },
		'502 UNAVAILABLE', '502 UNAVAILABLE', 'STALE',
		qr/"NAME" answers 418/ ],
	[ absent => { status => 404 },
		'404 MANIFEST_UNKNOWN', '404 BLOB_UNKNOWN',
		'404 MANIFEST_UNKNOWN' ],
	[ private => { status => 401 },
		'403 DENIED', '403 DENIED', '403 DENIED',
		qr/"NAME" answers 401, credentials/ ],
	[ denies => { status => 403 },
		'403 DENIED', '403 DENIED', '403 DENIED' ],
	[ portal => { html => 1, status => 200 },
		'502 UNAVAILABLE', '502 UNAVAILABLE', 'STALE',
		qr/the answer is no manifest, registry_remote "NAME"/,
		qr/"NAME" sent something else than blob sha256:/ ],
	[ endless => { endless => 1 },
		'502 UNAVAILABLE', '502 UNAVAILABLE', 'STALE',
		qr/the head is too large.*remote: "NAME"/ ],
	[ loops => { redirect => 'endless' },
		'502 UNAVAILABLE', '502 UNAVAILABLE', 'STALE',
		qr/"NAME": the redirect from .* is not followed/ ],
	[ metadata => { redirect => 'http://169.254.169.254/latest' },
		'502 UNAVAILABLE', '502 UNAVAILABLE', 'STALE',
		qr/the address is private.*remote: "NAME"/ ],
	[ stalls => { stall => 10 },
		'504 UNAVAILABLE', '504 UNAVAILABLE', 'STALE',
		qr/timed out, while reading.*remote: "NAME"/ ],
	[ silent => { hold => 1 },
		'504 UNAVAILABLE', '504 UNAVAILABLE', 'STALE',
		qr/timed out, while waiting for the answer.*remote: "NAME"/ ],
	[ truncates => { close => 10 },
		'502 UNAVAILABLE', '502 UNAVAILABLE', 'STALE', $broken ],
	[ chunks => { close => 10, chunked => 1 },
		'502 UNAVAILABLE', '502 UNAVAILABLE', 'STALE', $broken ],
	[ unfinished => { last_chunk => '' },
		'502 UNAVAILABLE', '200', 'STALE', $broken ],
	[ lies => { last_chunk => '', flip => 3 },
		'502 UNAVAILABLE', '502 UNAVAILABLE', 'STALE', $broken ],
	[ resets => { reset => 10 },
		'502 UNAVAILABLE', '502 UNAVAILABLE', 'STALE',
		qr/registry: .*remote: "NAME"/ ],
	[ flips => { flip => 3 },
		'502 UNAVAILABLE', '502 UNAVAILABLE', 'STALE',
		qr/not what its digest says, registry_remote "NAME"/,
		qr/"NAME" sent something else than blob sha256:/ ],
	[ drops => { drop => 1 },
		'502 UNAVAILABLE', '502 UNAVAILABLE', 'STALE',
		qr/closed before an answer.*remote: "NAME"/ ],
	[ babbles => { raw => "SSH-2.0-OpenSSH_9.2\r\n\r\n" },
		'502 UNAVAILABLE', '502 UNAVAILABLE', 'STALE',
		qr/the head is not valid.*remote: "NAME"/ ],
);

my $t = Test::Nginx->new()->has(qw/http/);

# slow machines are not to be taken for silent servers

my $timeout = 500 * $Test::Nginx::Process::PATIENCE . 'ms';

my $remotes = join("\n", map { "registry_remote $_->[0].example {"
	. " url http://127.0.0.1:8081;  response_timeout $timeout;"
	. " read_timeout $timeout; }" } @faults);

$t->write_file_expand('nginx.conf', <<'EOC' =~ s/REMOTES/$remotes/r);

%%TEST_GLOBALS%%

daemon off;
user root;
worker_processes 4;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    error_log %%TESTDIR%%/error.log info;

    add_header X-How "$pid $registry_cache" always;

    registry_cache edge { path %%TESTDIR%%/cache; }

    registry_remote default { cache edge;  valid 0;  valid 404 0; }

    upstream two {
        server 127.0.0.1:8082 max_fails=0;
        server 127.0.0.1:8083 backup;
    }

    REMOTES

    registry_remote one.example { url http://127.0.0.1:8081; }
    registry_remote two.example { url http://two; }

    server {
        listen       127.0.0.1:8080 reuseport;
        server_name  localhost;

        location /v2/ {
            registry_proxy all;
        }
    }
}

EOC

my $origin = Test::Nginx::Origin->new($t, port => 8081);
my $first = Test::Nginx::Origin->new($t, port => 8082);
my $second = Test::Nginx::Origin->new($t, port => 8083, store => $first);

my $seed = $ENV{TEST_SEED} // time() % 2 ** 31;

srand($seed);
print "# TEST_SEED=$seed\n";

$t->run()->plan(@faults * 7 + 105);

###############################################################################

# a tag that was pulled moves, and more comes that nobody has pulled

my %has;

for my $fault (@faults) {
	my ($name) = @$fault;

	my $old = $origin->image("$name/tag", 1, [ "$name old" ]);

	is(request(GET => "/v2/$name.example/$name/tag/manifests/1")->body,
		$old->{content}, "$name, before");

	$has{$name} = {
		old => $old,
		new => $origin->image("$name/tag", 1, [ "$name new" ]),
		cold => $origin->image("$name/cold", 1, [ "$name cold" x 10 ]),
	};
}

ok(soon(sub { kept() == @faults }), 'before, all are kept');

$origin->rule({ path => qr!^/v2/$_->[0]/!, %{$_->[1]} }) for @faults;

# with the copy first: whom it needs not wait for later on is known by then

for my $case (answers(sub { "$_[0]/tag/manifests/1" })) {
	my ($fault, $r) = @$case;
	my ($name, $stale) = @$fault[0, 4];

	$stale = "200 $has{$name}{old}{content}" if $stale eq 'STALE';
	is($r->status . ' ' . ($r->status == 200 ? $r->body : $r->code), $stale,
		"$name, a copy here");
}

for my $case (answers(sub { "$_[0]/cold/manifests/1" })) {
	my ($fault, $r) = @$case;

	is($r->status . ' ' . $r->code, $fault->[2], "$fault->[0], a manifest");
	is($r->header('Retry-After'), $fault->[1]{headers}{'Retry-After'},
		"$fault->[0], a manifest, when") if $fault->[0] eq 'limits';
}

for my $case (answers(sub {
	"$_[0]/cold/blobs/$has{$_[0]}{cold}{layers}[0]{digest}" }))
{
	my ($fault, $r) = @$case;

	is(join(' ', grep { defined } $r->status, $r->code), $fault->[3],
		"$fault->[0], a blob");
	is($r->header('Retry-After'), $fault->[1]{headers}{'Retry-After'},
		"$fault->[0], a blob, when") if $fault->[0] eq 'limits';
}

ok(soon(sub { !temporary() }), 'nothing is left');
is(kept(), 1 + @faults, 'nothing is kept, but what was right');

for my $fault (@faults) {
	my ($name, @lines) = @$fault[0, 5 .. $#$fault];

	ok(logged(s/NAME/$name.example/r), "$name, log") for @lines;
}

# a list is no HTML either

is(brief('portal.example/portal/cold/tags/list'), '502 UNAVAILABLE',
	'portal, a list');

# and when it is over, all is well at once

$origin->release();
$origin->clear();

for my $fault (@faults) {
	my ($name) = @$fault;
	my $cold = $has{$name}{cold};
	my $layer = $cold->{layers}[0];

	is(get("$name.example/$name/cold/manifests/1")->body, $cold->{content},
		"$name no more, a manifest");
	is(get("$name.example/$name/cold/blobs/$layer->{digest}")->body,
		$layer->{content}, "$name no more, a blob");
	ok(soon(sub { get("$name.example/$name/tag/manifests/1")->body
		eq $has{$name}{new}{content} }), "$name no more, the tag");
}

###############################################################################

# One byte is wrong: nobody gets a whole blob, nor the end of one, whatever
# part was asked for, and nothing is kept.

for my $rule ({ flip => 0 }, { flip => -1 }, { flip => 1 + int rand $MB },
	{ flip => $MB + int rand $MB }, { flip => -1, chunked => 1 },
	{ flip => 1 + int rand 2 * $MB, chunked => 1 })
{
	my $size = 2 * $MB + int rand $MB;
	my $how = join(' ', map { "$_ $rule->{$_}" } sort keys %$rule)
		. " of $size";
	my ($blob, $path) = cold($origin, 'one.example', $size);

	# a client that comes too late has it fetched once more

	$origin->rule({ path => qr/$blob->{digest}/, %$rule },
		{ path => qr/$blob->{digest}/, stall => $MB, times => 1 });

	my @s = map { send_request(GET => $path) } 1 .. 8;
	my @in = map { read_some($_, $MB / 2) } @s;

	my %ranges = map { $_ => send_request(GET => $path,
		headers => { Range => "bytes=$_" }) }
		'-10', $size - 10 . '-', $size / 2 . '-', '0-';

	$origin->release();

	my @r = map { response($s[$_], in => $in[$_]) } 0 .. $#s;
	my %r = map { $_ => response($ranges{$_}) } keys %ranges;

	cmp_ok(keys %{{ map { pid($_) => 1 } @r }}, '>', 1,
		"$how, in several workers");
	is(scalar(grep { $_->complete } @r), 0, "$how, none complete");
	is(scalar(grep { length($_->body) > $size - $HOLD } @r), 0,
		"$how, nor nearly");
	is(scalar(grep { $_->status < 400 && $_->complete } values %r), 0,
		"$how, no range complete");

	ok(soon(sub { !temporary() }) && !-e blobfile($blob->{digest}),
		"$how, nothing kept");
	ok(logged('"one.example" sent something else than blob '
		. "$blob->{digest} of repository \"one.example/a/b\": "
		. "$size bytes from 127"), "$how, logged");

	$origin->clear();
	ok(request(GET => $path)->body eq $blob->{content}, "$how, and right");
}

###############################################################################

# The first server is killed at any byte, and the second goes on: no client
# notices, whatever it asked for.

for my $round (1 .. 6) {
	my $size = int(rand 4 * $MB) + 2;
	my $at = int rand $size;
	my $from = int rand $size;
	my ($blob, $path) = cold($first, 'two.example', $size);

	$first->rule({ path => qr/$blob->{digest}/, exit => $at });

	my @s = map { send_request(GET => $path) } 1 .. 6;
	push @s, map { send_request(GET => $path,
		headers => { Range => "bytes=$_" }) } "$from-", "0-$from";

	my @r = map { response($_) } @s;
	my @want = (($blob->{content}) x 6, substr($blob->{content}, $from),
		substr($blob->{content}, 0, $from + 1));

	ok($first->wait(10), "killed at $at of $size");
	is(scalar(grep { $r[$_]->complete && $r[$_]->body eq $want[$_] }
		0 .. $#r), scalar @r, "killed at $at of $size, all have it");

	$first->start();
}

# of a part that is passed on, and of a manifest

for my $round (1 .. 4) {
	my $size = 12 * $MB;
	my $from = 9 * $MB + int rand $MB;
	my $at = int rand $size - $from;
	my ($blob, $path) = cold($first, 'two.example', $size);

	$first->rule({ path => qr/$blob->{digest}/, exit => $at });

	my $r = request(GET => $path, headers => { Range => "bytes=$from-" });

	ok($first->wait(10), "killed at $at of a part");
	ok($r->complete && $r->body eq substr($blob->{content}, $from),
		"killed at $at of a part, it is whole");
	like($r->header('X-How'), qr/BYPASS/, "killed at $at of a part, how");

	$first->start();
}

for my $round (1 .. 6) {
	my $image = $first->image('a/many', "round-$round",
		[ map { "$round $_" } 1 .. 300 ]);
	my $size = length $image->{content};
	my $at = int rand $size;

	$first->rule({ path => qr/manifests/, method => 'GET', exit => $at });

	my @s = map { send_request(GET =>
		"/v2/two.example/a/many/manifests/round-$round") } 1 .. 4;
	my @r = map { response($_) } @s;

	ok($first->wait(10), "killed at $at of a manifest");
	is(scalar(grep { $_->body eq $image->{content} } @r), 4,
		"killed at $at of a manifest, all have it");

	$first->start();
}

undef $t;

###############################################################################

# of all the remotes at once: for some it takes long

sub answers {
	my ($path) = @_;
	my @s = map { [ $_, send_request(GET => "/v2/$_->[0].example/"
		. $path->($_->[0])) ] } @faults;

	return map { [ $_->[0], response($_->[1]) ] } @s;
}

sub get {
	return request(GET => "/v2/$_[0]");
}

sub brief {
	my $r = get(@_);
	return join(' ', grep { defined } $r->status, $r->code);
}

# a new blob, when the last one is done with

sub cold {
	my ($origin, $remote, $size) = @_;

	soon(sub { !temporary() }) or die "a fetch does not end\n";

	my $seed = pack('N*', map { int rand 2 ** 32 } 1 .. 1000);
	my $blob = $origin->blob('a/b', substr(join('', map { $seed
		. pack('N', $_) } 0 .. $size / length $seed), 0, $size));

	return ($blob, "/v2/$remote/a/b/blobs/$blob->{digest}");
}

sub pid {
	my ($r) = @_;
	return ($r->header('X-How') // '') =~ /^(\d+)/ ? $1 : 0;
}

# an answer up to so many bytes

sub read_some {
	my ($s, $size) = @_;
	my $in = '';
	my $end = time() + 10 * $Test::Nginx::Process::PATIENCE;

	while (length $in < $size) {
		my $r = '';
		vec($r, fileno $s, 1) = 1;

		select($r, undef, undef, $end - time()) > 0 or last;
		sysread($s, $in, 262144, length $in) or last;
	}

	return $in;
}

sub soon {
	my ($what) = @_;
	my $end = time() + 10 * $Test::Nginx::Process::PATIENCE;

	while (!$what->()) {
		return 0 if time() > $end;
		sleep 0.02;
	}

	return 1;
}

# as a warning or an error

sub logged {
	my ($re) = @_;
	return scalar grep { /\[(?:warn|error)\].*$re/ }
		split(/\n/, $t->read_file('error.log'));
}

sub blobfile {
	my ($hex) = $_[0] =~ /:(.*)/;

	return $t->testdir() . '/cache/docker/registry/v2/blobs/sha256/'
		. substr($hex, 0, 2) . "/$hex/data";
}

sub kept {
	return scalar grep { -e } glob $t->testdir()
		. '/cache/docker/registry/v2/blobs/sha256/*/*/data';
}

sub temporary {
	return grep { !/\.\.?$/ } glob $t->testdir()
		. '/cache/docker/registry/v2/repositories/_tmp/{.*,*}';
}

###############################################################################
