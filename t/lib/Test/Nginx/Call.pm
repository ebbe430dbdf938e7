package Test::Nginx::Call;

# The outbound client by itself: a module of the tests makes a location pass
# its requests on (t/client), and a plain server is the other side.
#
#     load_module CALL_MODULE;                  # in the configuration
#     call_module($t);                          # builds it
#
#     my $s = Test::Nginx::Call::Server->new($t, port => 8081);
#     call('/x/1000')->body                     # 1000 bytes of pattern()

###############################################################################

use warnings;
use strict;

use base qw/ Exporter /;

our @EXPORT = qw/ call_module call pattern/;

use Cwd qw/ abs_path /;
use File::Basename qw/ dirname /;
use File::Compare qw/ compare /;
use Test::More qw//;

use Test::Nginx;
use Test::Nginx::Registry;

my $root = abs_path(dirname(__FILE__) . '/../../../..');

###############################################################################

# The tree that the tested nginx was built in, or its headers, by ./dev build.
# Returns what loads the module.

sub call_module {
	my ($t) = @_;
	my $nginx = $Test::Nginx::NGINX;
	my $out = $t->testdir() . '/call.so';

	my ($tree) = grep { compare("$_/objs/nginx", $nginx) == 0 }
		glob("$root/build*/source/*");

	($tree) = glob("$root/build/packaged/*") if !$tree;

	system("$root/t/client/build", $tree, $out) == 0
		or Test::More::BAIL_OUT("can't build the module of the test");

	return "load_module $out;";
}

# call(path, option => value ...) is request() with GET, or option "method"

sub call {
	my ($path, %opts) = @_;

	return request(delete $opts{method} // 'GET', $path, %opts);
}

# so many bytes that are not like each other

sub pattern {
	my ($size) = @_;
	my $text = join('', map { sprintf("%07d\n", $_) } 1 .. 4096);

	return substr($text x (1 + int($size / length $text)), 0, $size);
}

###############################################################################

package Test::Nginx::Call::Server;

# "/NUMBER" is so many bytes; a body that is sent is told of in X-Size and
# X-Digest

use warnings;
use strict;

use base qw/ Test::Nginx::Server /;

use Digest::SHA qw/ sha256_hex /;

sub answer {
	my ($self, $request) = @_;
	my ($size) = $request->{uri} =~ m!/(\d+)$!;

	return {
		status => 200,
		headers => {
			'X-Server' => $self->{name} // $self->{port},
			'X-Size' => length $request->{body},
			'X-Digest' => sha256_hex($request->{body}),
		},
		body => Test::Nginx::Call::pattern($size // 3),
	};
}

###############################################################################

1;

###############################################################################
