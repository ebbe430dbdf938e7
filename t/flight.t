#!/usr/bin/perl

# Cold blobs: fetched once, and sent to everybody meanwhile, in all workers;
# what is held back, ranges, origins that break off, lie or refuse, other
# repositories, workers that are killed, reloads.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use File::Find qw/ find /;
use IO::Socket::INET;
use Time::HiRes qw/ sleep time /;

use lib 'lib';
use Flight;
use Images;
use Test::Nginx;
use Test::Nginx::Origin;
use Test::Nginx::Registry;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

# what stalls for no more than a moment may seem to do so for longer

my $patience = $ENV{TEST_NGINX_VALGRIND} ? '20s' : '1s';

my $t = Test::Nginx->new()->has(qw/http/)->todo_alerts()
	->write_file_expand('nginx.conf', <<'EOC' =~ s/PATIENCE/$patience/r);

%%TEST_GLOBALS%%

daemon off;
user root;
worker_processes 4;
worker_shutdown_timeout 10m;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    error_log %%TESTDIR%%/error.log info;

    add_header X-How "$pid $registry_cache";

    registry_cache edge { path %%TESTDIR%%/cache; }

    upstream two {
        server 127.0.0.1:8082;
        server 127.0.0.1:8083;
    }

    registry_remote default { cache edge;  read_timeout PATIENCE; }
    registry_remote one { url http://127.0.0.1:8081; }
    registry_remote two { url http://two; }

    server {
        listen       127.0.0.1:8080 reuseport;
        server_name  localhost;

        location = /status {
            registry_status;
        }

        location /v2/one/ {
            registry_proxy one;
        }

        location /v2/two/ {
            registry_proxy two;
        }

        location /v2/one/buffers/ {
            registry_proxy one;
            sendfile off;
            output_buffers 2 8k;
        }

        location /v2/one/threads/ {
            registry_proxy one;
            sendfile on;
            aio threads;
        }

        location /v2/one/slow/ {
            registry_proxy one;
            sendfile on;
            tcp_nopush on;
            limit_rate 1m;
        }
    }
}

EOC

my $HOLD = 4096;
my $MB = 1024 * 1024;
my $cache = $t->testdir() . '/cache';

my $one = Test::Nginx::Origin->new($t, port => 8081);
my $left = Test::Nginx::Origin->new($t, port => 8082);
my $right = Test::Nginx::Origin->new($t, port => 8083, store => $left);

$t->run()->plan(178);

###############################################################################

# all sizes, about what is held back; nothing is asked for twice

for my $size (0, 1, $HOLD - 1, $HOLD, $HOLD + 1, 70000, $MB + 7) {
	my $blob = $one->blob('a/sizes', bytes($size));
	my $path = "/v2/one/a/sizes/blobs/$blob->{digest}";

	my $r = request(GET => $path);
	is($r->status, 200, "$size bytes, status");
	ok($r->body eq $blob->{content}, "$size bytes, body");
	is($r->header('Content-Length'), $size, "$size bytes, length");

	stored($blob->{digest});
	$one->forget();

	ok(request(GET => $path)->body eq $blob->{content},
		"$size bytes, again");
	is($one->requests(), 0, "$size bytes, kept");
}

my $wide = Images::blob(bytes($MB), undef, 'sha512');
$one->blob('a/sizes', $wide);
ok(request(GET => "/v2/one/a/sizes/blobs/$wide->{digest}")->body
	eq $wide->{content}, 'sha512');

# what a cold answer says

my ($blob, $path) = cold($one, 'a/headers', 10000);
my $r = request(GET => $path);
is($r->header('Docker-Content-Digest'), $blob->{digest}, 'digest');
is($r->header('ETag'), "\"$blob->{digest}\"", 'etag');
is($r->header('Accept-Ranges'), 'bytes', 'accept-ranges');
is($r->header('Content-Type'), 'application/octet-stream', 'type');
like($r->header('X-How'), qr/^\d+ MISS$/, 'miss');
stored($blob->{digest});
like(request(GET => $path)->header('X-How'), qr/^\d+ HIT$/, 'hit');

($blob, $path) = cold($one, 'a/headers', 10000);
is(request(GET => $path, headers => { 'If-None-Match' =>
	"\"$blob->{digest}\"" })->status, 304, 'not modified');
is(request(HEAD => $path)->status, 200, 'head');

# everybody has what has come, whoever asked first

($blob, $path) = cold($one, 'a/many', 2 * $MB);
$one->rule({ path => qr/$blob->{digest}/, stall => $MB });

my @s = map { send_request(GET => $path) } 1 .. 12;
my @in = map { read_some($_, $MB) } @s;

is(scalar(grep { length(body($_)) >= $MB } @in), 12, 'sent as it comes');
is(scalar(grep { substr($blob->{content}, 0, length body($_)) eq body($_) }
	@in), 12, 'the right bytes');
is(scalar(grep { length(body($_)) > $MB } @in), 0, 'and no more');

# a range of what is there, and of what is not yet

$r = request(GET => $path, headers => { Range => 'bytes=10-19' });
is($r->status, 206, 'range');
is($r->body, substr($blob->{content}, 10, 10), 'range, bytes');
is($r->header('Content-Range'), "bytes 10-19/" . 2 * $MB, 'range, which');
like($r->header('X-How'), qr/JOIN/, 'range, joined');

is(request(GET => $path, headers => { Range => 'bytes=0-0' })->body,
	substr($blob->{content}, 0, 1), 'range, one byte');
is(request(GET => $path, headers => { Range => 'bytes=4000000-' })->status,
	416, 'range, beyond the end');
is(request(GET => $path, headers => { Range => 'bytes=4000000-' })
	->header('Content-Range'), 'bytes */' . 2 * $MB, 'range, beyond, which');
is(length(body(read_some(send_request(GET => $path, headers => {
	Range => 'bytes=0-9', 'If-Range' => '"other"' }), $MB))), $MB,
	'if-range of another');
is(request(GET => $path, headers => { Range => 'bytes=0-9',
	'If-Range' => "\"$blob->{digest}\"" })->body,
	substr($blob->{content}, 0, 10), 'if-range');

my $late = send_request(GET => $path, headers => { Range => 'bytes=-10' });
my $middle = send_request(GET => $path, headers =>
	{ Range => 'bytes=1048570-1048585' });

# clients go away, and nothing changes for the others

close $_ for @s[0 .. 5];

$one->release();

my @r = map { response($s[$_], method => 'GET', in => $in[$_]) } 6 .. 11;
is(scalar(grep { $_->body eq $blob->{content} } @r), 6, 'the rest');
is(response($late)->body, substr($blob->{content}, -10), 'range, the end');
is(response($middle)->body, substr($blob->{content}, 1048570, 16),
	'range, across');
is($one->requests(qr/GET .*$blob->{digest}/), 1, 'one request');
is($one->bytes_sent(qr/GET .*$blob->{digest}/), 2 * $MB, 'once all its bytes');

my %workers = map { ($_->header('X-How') =~ /(\d+)/)[0], 1 } @r;
cmp_ok(keys %workers, '>', 1, 'in several workers');

# all clients go away

($blob, $path) = cold($one, 'a/alone', 2 * $MB);
$one->rule({ path => qr/$blob->{digest}/, stall => $MB });
my $s = send_request(GET => $path);
read_some($s, $MB);
close $s;
sleep 0.1;
$one->release();
ok(stored($blob->{digest}), 'fetched for nobody');
is($one->requests(qr/$blob->{digest}/), 1, 'fetched for nobody, once');

# ranges that are not worth fetching all, or waiting

($blob, $path) = cold($one, 'a/far', 10 * $MB);
$r = request(GET => $path, headers => { Range => 'bytes=9437184-9437193' });
is($r->status, 206, 'far range');
is($r->body, substr($blob->{content}, 9437184, 10), 'far range, bytes');
like($r->header('X-How'), qr/BYPASS/, 'far range, passed');
$r = request(GET => $path, headers => { Range => 'bytes=-10',
	'If-Range' => "\"$blob->{digest}\"" });
is($r->body, substr($blob->{content}, -10), 'last bytes');
ok(!(grep { $_->{headers}{'if-range'} } $one->requests(qr/$blob->{digest}/)),
	'our ETag is not for the remote');
is($one->bytes_sent(qr/$blob->{digest}/), 20, 'far ranges, only these');

$one->rule({ path => qr/$blob->{digest}/, stall => 1000, times => 1 });
$s = send_request(GET => $path);
$one->await(qr/GET .*$blob->{digest}/, 3);
$r = request(GET => $path, headers => { Range => 'bytes=9437184-9437193' });
is($r->body, substr($blob->{content}, 9437184, 10), 'far range, meanwhile');
$r = request(GET => $path, headers => { Range => 'bytes=0-1,5-6' });
is($r->status, 200, 'several ranges, as the origin answers');
$one->release();
ok(response($s)->body eq $blob->{content}, 'and all of it');

# the end is held back until the digest is right

($blob, $path) = cold($one, 'a/held', $MB);
$one->rule({ path => qr/$blob->{digest}/, stall => -1 });
$s = send_request(GET => $path);
my $in = read_some($s, $MB - $HOLD);
is(length body($in), $MB - $HOLD, 'held back');
$one->release();
ok(response($s, in => $in)->body eq $blob->{content}, 'held back, and sent');

for my $at (0, 500000, -1) {
	($blob, $path) = cold($one, 'a/flip', $MB);
	$one->rule({ path => qr/$blob->{digest}/, flip => $at });

	@s = map { send_request(GET => $path) } 1 .. 4;
	@r = map { response($_) } @s;

	is(scalar(grep { $_->status == 200 && $_->complete } @r), 0, "flipped at $at, none complete");
	is(scalar(grep { length($_->body) <= $MB - $HOLD } @r), 4,
		"flipped at $at, nor nearly");
	ok(gone($blob->{digest}), "flipped at $at, not kept");
	ok($t->read_file('error.log') =~ m!"one" sent something else than blob $blob->{digest} of repository "one/a/flip": $MB bytes from 127.0.0.1!,
		"flipped at $at, logged");
}

($blob, $path) = cold($one, 'a/flip', 100);
$one->rule({ path => qr/$blob->{digest}/, flip => 50 });
is(brief(GET => $path), '502 UNAVAILABLE', 'flipped, small');
$one->clear();
is(request(GET => $path)->body, $blob->{content}, 'and right the next time');

# the origin breaks off

for my $rule ({ close => 300000 }, { reset => 300000 }, { close => 0 },
	{ stall => 300000 })
{
	my ($how) = %$rule;

	($blob, $path) = cold($one, 'a/broken', $MB);
	$one->rule({ path => qr/$blob->{digest}/, times => 1, %$rule });

	ok(request(GET => $path)->body eq $blob->{content}, "$how $rule->{$how}");

	@r = $one->requests(qr/$blob->{digest}/);
	is(scalar @r, 2, "$how $rule->{$how}, asked again");

	my $from = ($r[1]{headers}{range} // 'bytes=0-') =~ /^bytes=(\d+)-$/
		? $1 : 'nothing';
	$rule->{$how} == 0 || $how eq 'reset'
		? cmp_ok($from, '<=', 300000, "$how $rule->{$how}, for the rest")
		: is($from, 300000, "$how $rule->{$how}, for the rest");
}

$one->clear();

# one that knows no ranges sends all again

($blob, $path) = cold($one, 'a/again', $MB);
$one->rule({ path => qr/$blob->{digest}/, times => 1, close => 300000 },
	{ path => qr/$blob->{digest}/, skip => 1, raw =>
		"HTTP/1.1 200 OK\r\nContent-Length: $MB\r\n\r\n$blob->{content}" });
ok(request(GET => $path)->body eq $blob->{content}, 'no ranges');

# another size is not the rest of it

($blob, $path) = cold($one, 'a/other', $MB);
$one->rule({ path => qr/$blob->{digest}/, times => 1, close => 300000 },
	{ path => qr/$blob->{digest}/, skip => 1, raw =>
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello" });
$r = request(GET => $path);
ok(!$r->complete && length $r->body <= 300000, 'another size');
ok(gone($blob->{digest}), 'another size, not kept');

# more than there is

($blob, $path) = cold($one, 'a/more', $MB);
$one->rule({ path => qr/$blob->{digest}/, times => 1, close => 300000 },
	{ path => qr/$blob->{digest}/, skip => 1, raw =>
		"HTTP/1.1 206 OK\r\nContent-Range: bytes 5-9/$MB\r\n"
		. "Content-Length: 5\r\n\r\nhello" });
ok(!request(GET => $path)->complete, 'another range');

$one->clear();

# the next peer goes on where the first one was killed

for my $at (1, 777777, 2 * $MB - 1) {
	($blob, $path) = cold($left, 'a/peers', 2 * $MB, 'two');
	$_->rule({ path => qr/$blob->{digest}/, exit => $at }) for $left;

	@s = map { send_request(GET => $path) } 1 .. 8;
	@r = map { response($_) } @s;
	is(scalar(grep { $_->body eq $blob->{content} } @r), 8,
		"peer killed at $at");

	$left->stop();
	$left->start();
	sleep 0.1;
}

# the remote refuses

for my $case ([ { status => 404 }, '404 BLOB_UNKNOWN' ],
	[ { status => 401 }, '403 DENIED' ], [ { status => 403 }, '403 DENIED' ],
	[ { status => 500 }, '502 UNAVAILABLE' ],
	[ { status => 503 }, '502 UNAVAILABLE' ],
	[ { status => 204 }, '502 UNAVAILABLE' ],
	[ { redirect => 'endless' }, '502 UNAVAILABLE' ],
	[ { drop => 1 }, '502 UNAVAILABLE' ],
	[ { endless => 1 }, '502 UNAVAILABLE' ])
{
	my ($rule, $answer) = @$case;

	($blob, $path) = cold($one, 'a/refused', 100);
	$one->rule({ path => qr/$blob->{digest}/, %$rule });
	is(brief(GET => $path), $answer, "refused, " . join(' ', %$rule));
}

($blob, $path) = cold($one, 'a/refused', 100);
$one->rule({ path => qr/$blob->{digest}/, status => 429,
	headers => { 'Retry-After' => 7 } });
$r = request(GET => $path);
is($r->status . $r->code, '429TOOMANYREQUESTS', 'too many requests');
is($r->header('Retry-After'), 7, 'too many requests, when');
ok(gone($blob->{digest}), 'nothing left');

$one->clear();

# a size that is not known

for my $size (0, 100, 3 * $MB) {
	($blob, $path) = cold($one, 'a/chunked', $size);
	$one->rule({ path => qr/$blob->{digest}/, chunked => 1 });

	$r = request(GET => $path);
	ok($r->complete && $r->body eq $blob->{content}, "$size chunked");
	ok(stored($blob->{digest}), "$size chunked, kept");
}

($blob, $path) = cold($one, 'a/chunked', 3 * $MB);
$one->rule({ path => qr/$blob->{digest}/, chunked => 1, stall => 2 * $MB });
$s = send_request(GET => $path, headers => { Range => 'bytes=5-9' });
$in = read_some($s, $MB);
like($in, qr/^HTTP\S+ 200 /, 'chunked, no range');
$one->release();
ok(response($s, in => $in)->body eq $blob->{content},
	'chunked, no range, all');

($blob, $path) = cold($one, 'a/chunked', $MB);
$one->rule({ path => qr/$blob->{digest}/, chunked => 1, flip => -1 });
$r = request(GET => $path);
ok($r->status != 200 || !$r->complete, 'chunked, flipped');

$one->clear();

# ways to send

for my $way (qw/ buffers threads slow /) {
	($blob, $path) = cold($one, "$way/a", 2 * $MB);
	$one->rule({ path => qr/$blob->{digest}/, stall => $MB });
	$s = send_request(GET => $path);
	$in = read_some($s, 1000);
	$one->release();
	ok(response($s, in => $in)->body eq $blob->{content}, "$way");
}

$one->clear();

# another repository is asked about, and downloads nothing

($blob, $path) = cold($one, 'b/first', 2 * $MB);
$one->blob('b/second', $blob);
$one->rule({ path => qr!first/blobs/$blob->{digest}!, stall => $MB });

$s = send_request(GET => $path);
read_some($s, $MB);
my $second = send_request(GET => "/v2/one/b/second/blobs/$blob->{digest}");
$in = read_some($second, $MB);
is(length body($in), $MB, 'second repository');
is(brief(GET => "/v2/one/b/third/blobs/$blob->{digest}"), '404 BLOB_UNKNOWN',
	'a repository that has it not');
$one->release();
ok(response($second, in => $in)->body eq $blob->{content},
	'second repository, all');
is(join(' ', map { $_->{method} }
	$one->requests(qr!second/blobs/$blob->{digest}!)), 'HEAD',
	'second repository, asked');

ok(linked($blob->{digest}, 'one/b/second'), 'second repository, linked');
$one->forget();
like(request(GET => "/v2/one/b/second/blobs/$blob->{digest}")
	->header('X-How'), qr/HIT/, 'second repository, warm');

# the same of what is in the store already

$one->blob('b/third', $blob);
ok(request(GET => "/v2/one/b/third/blobs/$blob->{digest}")->body
	eq $blob->{content}, 'third repository');
is(join(' ', map { $_->{method} } $one->requests()), 'HEAD',
	'third repository, asked');
is(brief(GET => "/v2/one/b/fourth/blobs/$blob->{digest}"), '404 BLOB_UNKNOWN',
	'not the fourth');

# registries that do not know HEAD

$one->blob('b/fifth', $blob);
$one->rule({ method => 'HEAD', status => 405 });
ok(request(GET => "/v2/one/b/fifth/blobs/$blob->{digest}")->body
	eq $blob->{content}, 'no HEAD');
cmp_ok($one->bytes_sent(qr/fifth/), '<=', 1, 'no HEAD, one byte');

$one->clear();

# who joined is not refused for the sake of who began

($blob, $path) = cold($one, 'b/refused', 100000);
$one->blob('b/granted', $blob);
$one->rule({ path => qr!refused/blobs!, status => 404, hold => 1 });
$s = send_request(GET => $path);
$one->await(qr!^GET .*refused/blobs/$blob->{digest}!);
$second = send_request(GET => "/v2/one/b/granted/blobs/$blob->{digest}");
$one->await(qr!^HEAD .*granted/blobs/$blob->{digest}!);
$one->release();
is(response($s)->status, 404, 'refused');
ok(response($second)->body eq $blob->{content}, 'granted');

$one->clear();

# the worker that fetches is killed: its clients come back, others notice
# nothing

for my $round (1 .. 3) {
	($blob, $path) = cold($one, "c/killed", 4 * $MB);
	$one->rule({ path => qr/$blob->{digest}/, times => 1, stall => $MB });

	@s = map { send_request(GET => $path) } 1 .. 16;
	@in = map { read_some($_, $MB) } @s;

	my $pid = leader($cache);
	kill 'KILL', $pid;

	@r = map { response($s[$_], in => $in[$_]) } 0 .. 15;

	my @others = grep { pid($_) != $pid } @r;

	is(scalar(grep { $_->body eq $blob->{content} } @others),
		scalar @others, "killed, others $round");

	my ($own) = grep { pid($_) == $pid } @r;

	$r = request(GET => $path,
		headers => { Range => 'bytes=' . length($own->body) . '-' });
	ok($own->body . $r->body eq $blob->{content}, "killed, its own $round");

	@r = $one->requests(qr/$blob->{digest}/);
	is($r[1]{headers}{range}, "bytes=$MB-", "killed, went on $round");
}

$one->clear();

# the only worker that had to do with it is killed

($blob, $path) = cold($one, 'c/lonely', 2 * $MB);
$one->rule({ path => qr/$blob->{digest}/, times => 1, stall => $MB });
$s = send_request(GET => $path);
$in = read_some($s, $MB);
kill 'KILL', leader($cache);
ok(!response($s, in => $in)->complete, 'killed, alone');
ok(soon(sub { request(GET => '/status')->json->{flights}{running} == 0 }),
	'killed, alone, nobody fetches it');
ok(request(GET => $path)->body eq $blob->{content}, 'killed, and taken up');
@r = $one->requests(qr/$blob->{digest}/);
is($r[1]{headers}{range}, "bytes=$MB-", 'killed, from where it was');

# nobody comes for so long that what it has left is removed

($blob, $path) = cold($one, 'c/late', 2 * $MB);
$one->rule({ path => qr/$blob->{digest}/, times => 1, stall => $MB });
$s = send_request(GET => $path);
$in = read_some($s, $MB);
kill 'KILL', leader($cache);
ok(!response($s, in => $in)->complete, 'killed, and removed');
unlink temporary();
ok(request(GET => $path)->body eq $blob->{content}, 'removed, all of it');
ok(request(GET => $path)->body eq $blob->{content} && stored($blob->{digest}),
	'removed, and kept');

# of what has no length all is there, and nobody knows it

($blob, $path) = cold($one, 'c/unsized', 2 * $MB);
$one->rule({ path => qr/$blob->{digest}/, times => 1, chunked => 1,
	stall => 2 * $MB });
@s = map { send_request(GET => $path) } 1 .. 8;
@in = map { read_some($_, $MB) } @s;
my $pid = leader($cache);
kill 'KILL', $pid;
@r = grep { pid($_) != $pid } map { response($s[$_], in => $in[$_]) } 0 .. 7;
is(scalar(grep { $_->complete && $_->body eq $blob->{content} } @r),
	scalar @r, 'killed, all was there');
ok(stored($blob->{digest}), 'killed, all was there, kept');
is($one->requests(qr/$blob->{digest}/), 1, 'killed, all was there, one request');

$one->clear();

# a reload

($blob, $path) = cold($one, 'c/reload', 4 * $MB);
$one->rule({ path => qr/$blob->{digest}/, stall => $MB });
@s = map { send_request(GET => $path) } 1 .. 8;
@in = map { read_some($_, $MB) } @s;
my $old = leader($cache);
reload();
push @s, map { send_request(GET => $path) } 1 .. 8;
push @in, map { read_some($_, $MB) } @s[8 .. 15];
$one->release();
@r = map { response($s[$_], in => $in[$_]) } 0 .. 15;
is(scalar(grep { $_->body eq $blob->{content} } @r), 16, 'reload');
is($one->requests(qr/$blob->{digest}/), 1, 'reload, one request');
ok(waited($old), 'reload, the old worker exits');

# an old worker that is killed has no successor

($blob, $path) = cold($one, 'c/drained', 4 * $MB);
$one->rule({ path => qr/$blob->{digest}/, times => 1, stall => $MB });
$s = send_request(GET => $path);
read_some($s, $MB);
$old = leader($cache);
reload();
@s = map { send_request(GET => $path) } 1 .. 8;
@in = map { read_some($_, $MB) } @s;
kill 'KILL', $old;
@r = map { response($s[$_], in => $in[$_]) } 0 .. 7;
is(scalar(grep { $_->body eq $blob->{content} } @r), 8,
	'killed after a reload');
@r = $one->requests(qr/$blob->{digest}/);
is(scalar @r, 2, 'killed after a reload, asked once more');
is($r[1]{headers}{range}, "bytes=$MB-",
	'killed after a reload, from where it was');

# one whose remote fails gives up like any other

($blob, $path) = cold($one, 'c/failing', 2 * $MB);
$one->rule({ path => qr/$blob->{digest}/, times => 1, stall => $MB },
	{ path => qr/$blob->{digest}/, skip => 1, status => 404 });
$s = send_request(GET => $path);
$in = read_some($s, $MB);
$old = leader($cache);
reload();
ok(!response($s, in => $in)->complete, 'a remote that fails after a reload');
ok(waited($old), 'a remote that fails after a reload, the old worker exits');
$one->clear();

# an old worker that is not given the time leaves it to others

configure('500ms');
reload();

($blob, $path) = cold($one, 'c/shutdown', 4 * $MB);
$one->rule({ path => qr/$blob->{digest}/, times => 1, stall => $MB });
$s = send_request(GET => $path);
read_some($s, $MB);
$old = leader($cache);
reload();
@s = map { send_request(GET => $path) } 1 .. 8;
@in = map { read_some($_, $MB) } @s;
ok(waited($old), 'shut down');
@r = map { response($s[$_], in => $in[$_]) } 0 .. 7;
is(scalar(grep { $_->body eq $blob->{content} } @r), 8, 'and others go on');
is(($one->requests(qr/$blob->{digest}/))[1]{headers}{range}, "bytes=$MB-",
	'from where it was');

# also what the remote has not answered yet

($blob, $path) = cold($one, 'c/early', 4 * $MB);
$one->rule({ path => qr/$blob->{digest}/, times => 1, hold => 1 });
$s = send_request(GET => $path);
$one->await(qr/$blob->{digest}/);
reload();
@r = map { response($_) } map { send_request(GET => $path) } 1 .. 8;
is(scalar(grep { $_->body eq $blob->{content} } @r), 8,
	'shut down early, and others go on');
is($one->requests(qr/$blob->{digest}/), 2,
	'shut down early, asked once more');

ok(soon(sub { !temporary() }), 'no temporary files');

# the subs below know it too

undef $t;

###############################################################################

sub configure {
	my ($timeout) = @_;
	my $text = $t->read_file('nginx.conf');

	$text =~ s/(worker_shutdown_timeout) [^;]*/$1 $timeout/;
	$t->write_file('nginx.conf', $text);
}

# a new blob at an origin, and its path here, when the last one is done with

sub cold {
	my ($origin, $name, $size, $remote) = @_;

	soon(sub { !temporary() }) or die "a fetch does not end\n";

	my $blob = $origin->blob($name, bytes($size));

	$remote //= 'one';

	return ($blob, "/v2/$remote/$name/blobs/$blob->{digest}");
}

sub brief {
	my $r = request(@_);
	return join(' ', grep { defined } $r->status, $r->code);
}

sub pid {
	my ($r) = @_;
	return ($r->header('X-How') // '') =~ /^(\d+)/ ? $1 : 0;
}

sub blobfile {
	my ($alg, $hex) = split(/:/, $_[0]);
	my $dir = substr($hex, 0, 2);

	return "$cache/docker/registry/v2/blobs/$alg/$dir/$hex/data";
}

sub temporary {
	return grep { !/\.\.?$/ }
		glob "$cache/docker/registry/v2/repositories/_tmp/{.*,*}";
}

# in its place, linked, with its name gone from among the temporary ones

sub stored {
	my ($digest) = @_;
	my ($alg, $hex) = split(/:/, $digest);

	return soon(sub { -f blobfile($digest) && !temporary()
		&& grep { -f } glob "$cache/docker/registry/v2/repositories/"
			. "*/*/*/_layers/$alg/$hex/link" });
}

sub gone {
	my ($digest) = @_;
	return soon(sub { !temporary() }) && !-e blobfile($digest);
}

sub linked {
	my ($digest, $name) = @_;
	my ($alg, $hex) = split(/:/, $digest);

	return soon(sub { -f "$cache/docker/registry/v2/repositories/$name/"
		. "_layers/$alg/$hex/link" });
}

# until the workers before it take no more connections

sub reload {
	my $left = () = $t->read_file('error.log') =~ /gracefully shutting down/g;

	kill 'HUP', $t->read_file('nginx.pid');

	soon(sub {
		my @n = $t->read_file('error.log') =~ /gracefully shutting down/g;
		return @n == $left + 4;
	}) or die "no reload\n";
}

sub waited {
	my ($pid) = @_;
	return soon(sub { !kill 0, $pid });
}

###############################################################################
