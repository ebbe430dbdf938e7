#!/usr/bin/perl

# The configurations of conf/examples that are in front of a Harbor; those in
# front of other registries are for t/clients.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use MIME::Base64 qw/ encode_base64 /;

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Harbor;
use Clients;
use Edge;
use Images;
use Machine;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

need(qw/ skopeo unshare ip openssl /);
machine();

my $t = Test::Nginx->new()->has(qw/http http_ssl map proxy upstream_zone/)
	->has('socket_ssl')->plan(29);
my $dir = $t->testdir();

my $edge = Edge->new($t);
my %users = (
	'robot$edge' => { password => 'Se:cr$et', allow => { '*' => '*' } },
	alice => { password => 'wonder', allow => { 'team/*' => '*' } },
	bob => { password => 'builder', allow => { 'other/*' => '*' } },
);

my ($first, $second) = harbors('10.0.0.21', '10.0.0.22');
my ($replica) = harbors('10.1.0.21');
my @both = ($first, $second);
my $asked = qr!/v2/.!;		# and not only whether it is well

###############################################################################

# two Harbors and a replica

$edge->run('ha-edge.conf', 'edge.example.com');

my $name = 'harbor.example.com/team/app';
my $client = client('edge.example.com');
my $image = $first->image('team/app', '1', [ map { $_ x 300_000 } 'a' .. 'f' ]);

is(join("\n", $client->check($name, '1', $image->{digest})), '', 'pull');
is(scalar(grep { !$_->requests(qr/^GET .*blobs/) } @both), 0,
	'pull, from both');
is($replica->requests($asked), 0, 'pull, not from the replica');

ok($_->await(qr!^\w+ /v2/$!), 'asked whether it is well')
	for @both, $replica;

# a blob is whole, whatever becomes of the one it comes from

$first->rule({ path => qr/blobs/, close => 1_000_000, times => 1 });
$image = $first->image('team/app', '2', [ map { $_ x 3_000_000 } 'k' .. 'n' ]);
is(join("\n", $client->check($name, '2', $image->{digest})), '',
	'one breaks off');
is(scalar(grep { !$_->{complete} } $first->requests(qr/blobs/)), 1,
	'one breaks off, indeed');
$first->clear();

$first->stop();
$image = $second->image('team/app', '3', [ map { $_ x 300_000 } 'p' .. 't' ]);
is(join("\n", $client->check($name, '3', $image->{digest})), '',
	'one is gone');
is($replica->requests($asked), 0, 'one is gone, not from the replica');

# pushes, as long as there is one of the two

$image = Images::image([ Images::blob('pushed') ]);
is($client->push_image($name, '4', $image, 'patch'), undef, 'push');
is(join("\n", $client->check($name, '4', $image->{digest})), '',
	'push, pull');

$second->stop();
is($client->request('POST', "/v2/$name/blobs/uploads/", '')->{status}, 502,
	'both are gone, no push');
is($replica->requests($asked), 0, 'both are gone, no push to the replica');

$image = $replica->image('team/app', '5', [ map { $_ x 300_000 } 'u' .. 'z' ]);
is(join("\n", $client->check($name, '5', $image->{digest})), '',
	'both are gone, pull');
cmp_ok($replica->requests(qr/^GET .*blobs/), '>=', 6,
	'both are gone, pull from the replica');

$replica->stop();
is(join("\n", $client->check($name, '5', $image->{digest})), '',
	'all are gone, pull');

$t->stop();

###############################################################################

# in front of Harbor, for everybody

$_->start() for @both;
$edge->run('harbor-front.conf', 'harbor.example.com');
trust($edge->ca());

$client = client('harbor.example.com');
$image = $first->image('team/app', '6', [ 'front' ]);

like($client->request('GET', '/harbor/projects')->{content},
	qr/<title>Harbor/, 'front: UI');
is($client->request('GET', '/api/v2.0/ping')->{content}, 'Pong',
	'front: API');
is($client->request('GET', '/v2/')->{headers}{'www-authenticate'},
	'Bearer realm="https://harbor.example.com/service/token",'
	. 'service="registry.test"', 'front: where to log in');
is($client->request('GET', '/service/token?service=registry.test', undef,
	basic('alice', 'wrong'))->{status}, 401, 'front: tokens');

$name = 'docker://harbor.example.com/team/app';

my @alice = qw/ --src-creds alice:wonder /;

runs([ qw/ skopeo copy /, @alice, "$name:6", "dir:$dir/six" ], 'front: pull');
$_->forget() for @both;
runs([ qw/ skopeo copy /, @alice, "$name:6", "dir:$dir/six" ],
	'front: pull again');
is(scalar(map { $_->requests(qr/^GET .*blobs/) } @both), 0,
	'front: pull again, from here');

fails([ qw/ skopeo copy /, "$name:6", "dir:$dir/no" ], 'front: anonymous',
	qr/unauthorized|authentication required/);
fails([ qw/ skopeo copy --src-creds bob:builder /, "$name:6", "dir:$dir/no" ],
	'front: another user', qr/unauthorized|denied|authentication required/);

runs([ qw/ skopeo copy --dest-creds alice:wonder /, "dir:$dir/six",
	"$name:7" ], 'front: push');
runs([ qw/ skopeo inspect --no-tags --creds alice:wonder /, "$name:7" ],
	'front: pull of what was pushed', qr/"Digest": "$image->{digest}"/);

# which Harbor says to be elsewhere

is($client->request('GET', '/v2/other.example.com/team/app/manifests/6')
	->{status}, 401, 'front: no other registry');

###############################################################################

undef $t;

###############################################################################

# with the same content, at these addresses

sub harbors {
	my @addresses = @_;
	my $pair = $edge->{ca}->certificate('harbor.example.com');
	my @harbors;

	for my $address (@addresses) {
		push @harbors, Test::Nginx::Harbor->new($t, port => 443,
			address => address($address), ssl => $pair,
			host => 'harbor.example.com', users => \%users,
			anonymous => undef,
			@harbors ? (store => $harbors[0]) : ());
	}

	return @harbors;
}

sub client {
	my ($host) = @_;

	return Images->new("https://$host", verify_SSL => 1,
		SSL_options => { SSL_ca_file => $edge->ca() });
}

sub basic {
	return (Authorization => 'Basic ' . encode_base64(join(':', @_), ''));
}

###############################################################################
