package Test::Nginx::Registry;

# A registry client for the tests: requests over plain sockets, so that what
# is on the wire is what the test says, and the few steps that most tests
# start with.  It works beside either Test::Nginx.
#
#     my $r = request(PUT => "/v2/a/manifests/latest", body => $manifest,
#         headers => { 'Content-Type' => $MANIFEST });
#
#     $r->status        201
#     $r->header('Link') the values of all Link fields, joined
#     $r->headers('Link') the same as a list
#     $r->location       path and query of Location
#     $r->body, $r->json, $r->code ("MANIFEST_INVALID")

###############################################################################

use warnings;
use strict;

use base qw/ Exporter /;

our @EXPORT = qw/ request connection response send_request sha256 sha512
	to_json push_blob push_manifest push_image $MANIFEST $INDEX $CONFIG
	$LAYER /;

###############################################################################

use Carp qw/ croak /;
use Digest::SHA qw//;
use IO::Socket::INET;
use JSON::PP qw//;
use Socket qw/ IPPROTO_TCP TCP_NODELAY /;
use Time::HiRes qw/ time /;

use Test::Nginx;
use Test::Nginx::Secrets ();

###############################################################################

our $MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
our $INDEX = 'application/vnd.oci.image.index.v1+json';
our $CONFIG = 'application/vnd.oci.image.config.v1+json';
our $LAYER = 'application/vnd.oci.image.layer.v1.tar+gzip';

our $TIMEOUT = 30 * ($ENV{TEST_NGINX_VALGRIND} ? 10 : 1);

###############################################################################

sub sha256 {
	return 'sha256:' . Digest::SHA::sha256_hex($_[0]);
}

sub sha512 {
	return 'sha512:' . Digest::SHA::sha512_hex($_[0]);
}

# the same data always give the same bytes

sub to_json {
	return JSON::PP->new->canonical->utf8->encode($_[0]);
}

###############################################################################

# request(METHOD => path, option => value ...) sends a request and reads the
# answer.  Options:
#
#     headers   a hash; a list as a value gives several fields, undef none,
#               also of those that are sent by default
#     body      a string, sent with Content-Length; several strings in a list
#               are sent chunked
#     port      as nginx listens on, port(8080) by default
#     socket    of connection(), which is then kept open
#     raw       what is sent instead of all that

sub request {
	my ($method, $path, %opts) = @_;

	my $s = $opts{socket} // connection($opts{port});
	my $out = $opts{raw} // message($method, $path, %opts);

	my $in = exchange($s, $out);
	my $r = response($s, method => $method, in => $in);

	Test::Nginx::Secrets::answered($path, $r->body);

	return $r;
}

# sends a request without waiting for the answer, which response() reads

sub send_request {
	my ($method, $path, %opts) = @_;

	my $s = $opts{socket} // connection($opts{port});
	my $out = $opts{raw} // message($method, $path, %opts);

	local $SIG{PIPE} = 'IGNORE';

	while (length $out) {
		my $n = syswrite($s, $out) // croak "can't send: $!";
		substr($out, 0, $n, '');
	}

	return $s;
}

sub connection {
	my ($port) = @_;

	$port //= port(8080);

	my $s = IO::Socket::INET->new(Proto => 'tcp',
		PeerAddr => "127.0.0.1:$port")
		or croak "can't connect to port $port: $!";

	setsockopt($s, IPPROTO_TCP, TCP_NODELAY, 1);

	return $s;
}

sub message {
	my ($method, $path, %opts) = @_;
	my $body = $opts{body};

	my %headers = (
		Host => 'localhost',
		$opts{socket} ? () : (Connection => 'close'),
	);

	if (ref $body) {
		$headers{'Transfer-Encoding'} = 'chunked';
		$body = join('', map { sprintf("%x\r\n%s\r\n", length, $_) }
			grep { length } @$body) . "0\r\n\r\n";

	} elsif (defined $body) {
		$headers{'Content-Length'} = length $body;

	} elsif ($method =~ /^(?:POST|PUT|PATCH)$/) {
		$headers{'Content-Length'} = 0;
	}

	my %given = %{$opts{headers} // {}};

	for my $name (keys %given) {
		delete @headers{grep { lc eq lc $name } keys %headers};
	}

	my $out = "$method $path HTTP/1.1\r\n";

	for my $set (\%headers, \%given) {
		for my $name (sort keys %$set) {
			my $value = $set->{$name};

			Test::Nginx::Secrets::authorization($value)
				if lc $name eq 'authorization';

			$out .= "$name: $_\r\n"
				for grep { defined } ref $value ? @$value : $value;
		}
	}

	log_out($out);

	return $out . "\r\n" . ($body // '');
}

# writes and reads at once: a server may answer, and close, before it has read
# the whole body

sub exchange {
	my ($s, $out) = @_;
	my ($in, $sent, $end) = ('', 0, time() + $TIMEOUT);

	local $SIG{PIPE} = 'IGNORE';

	$s->blocking(0);

	while ($sent < length $out) {
		my ($r, $w) = ('', '');
		vec($r, fileno $s, 1) = 1;
		$w = $r;

		select($r, $w, undef, $end - time()) > 0
			or croak 'timed out sending a request';

		if (vec($r, fileno $s, 1)) {
			my $n = sysread($s, $in, 65536, length $in);
			last if defined $n ? !$n : !$!{EAGAIN};
		}

		if (vec($w, fileno $s, 1)) {
			my $n = syswrite($s, $out, 262144, $sent);
			last if !defined $n && !$!{EAGAIN};
			$sent += $n // 0;
		}
	}

	$s->blocking(1);

	return $in;
}

# response(socket, method => 'HEAD', in => bytes read before) reads one answer

sub response {
	my ($s, %opts) = @_;
	my $in = $opts{in} // '';
	my $end = time() + $TIMEOUT;
	my $self = bless { fields => [], body => '', complete => 0 },
		'Test::Nginx::Registry::Response';

	# true if there is more

	my $more = sub {
		my $r = '';
		vec($r, fileno $s, 1) = 1;

		select($r, undef, undef, $end - time()) > 0
			or croak 'timed out reading a response';

		return sysread($s, $in, 262144, length $in);
	};

	do {
		while ($in !~ /\r?\n\r?\n/) {
			$more->() or return $self;
		}

		$in =~ s/\A(.*?)\r?\n\r?\n//s;
		my ($line, @fields) = split(/\r?\n/, $1);
		log_in($1);

		($self->{status}) = $line =~ m!^HTTP/1\.[01] (\d{3})!
			or croak "not a status line: $line";

		$self->{fields} = [ map { [ split(/:\s*/, $_, 2) ] } @fields ];
		push @{$self->{statuses}}, $self->{status};

	} while ($self->{status} < 200);

	if (($opts{method} // '') eq 'HEAD' || $self->{status} =~ /^[23]04$/) {
		$self->{complete} = 1;

	} elsif (($self->header('Transfer-Encoding') // '') =~ /chunked/i) {
		$self->{complete} = 1 if chunks($self, \$in, $more);

	} elsif (defined(my $length = $self->header('Content-Length'))) {
		while (length $in < $length) {
			$more->() or last;
		}

		$self->{complete} = 1 if length $in >= $length;
		$self->{body} = substr($in, 0, $length, '');

	} else {
		1 while $more->();
		$self->{complete} = 1;
		$self->{body} = $in;
	}

	return $self;
}

sub chunks {
	my ($self, $in, $more) = @_;

	while (1) {
		while ($$in !~ /\n/) {
			$more->() or return 0;
		}

		$$in =~ s/\A([0-9a-f]+)[^\n]*\n//i
			or croak 'not a chunk: ' . substr($$in, 0, 100);
		my $size = hex $1;

		while (length $$in < $size + 2) {
			$more->() or return 0;
		}

		$self->{body} .= substr($$in, 0, $size);
		substr($$in, 0, $size + 2, '');

		return 1 if $size == 0;
	}
}

###############################################################################

# push_blob(repository, bytes) returns the digest

sub push_blob {
	my ($name, $bytes, %opts) = @_;
	my $digest = $opts{digest} // sha256($bytes);

	my $r = request(POST => "/v2/$name/blobs/uploads/", %opts);
	croak "can't start an upload: " . $r->summary if $r->status != 202;

	my $location = $r->location;
	$location .= $location =~ /\?/ ? '&' : '?';

	$r = request(PUT => "${location}digest=$digest", %opts, body => $bytes,
		headers => { %{$opts{headers} // {}},
			'Content-Type' => 'application/octet-stream' });
	croak "can't push a blob: " . $r->summary if $r->status != 201;

	return $digest;
}

# push_manifest(repository, reference, manifest) of bytes or data returns the
# response

sub push_manifest {
	my ($name, $reference, $manifest, %opts) = @_;
	my $bytes = ref $manifest ? to_json($manifest) : $manifest;
	my $type = delete $opts{type}
		// (eval { JSON::PP::decode_json($bytes)->{mediaType} })
		// $MANIFEST;

	return request(PUT => "/v2/$name/manifests/$reference", %opts,
		body => $bytes,
		headers => { 'Content-Type' => $type, %{$opts{headers} // {}} });
}

# push_image(repository, tag, layer ...) returns the manifest's bytes

sub push_image {
	my ($name, $tag, @layers) = @_;

	my $descriptor = sub {
		my ($type, $bytes) = @_;

		return { mediaType => $type, size => length $bytes,
			digest => push_blob($name, $bytes) };
	};

	my $manifest = to_json({
		schemaVersion => 2,
		mediaType => $MANIFEST,
		config => $descriptor->($CONFIG, '{}'),
		layers => [ map { $descriptor->($LAYER, $_) } @layers ],
	});

	my $r = push_manifest($name, $tag, $manifest);
	croak "can't push a manifest: " . $r->summary if $r->status != 201;

	return $manifest;
}

###############################################################################

package Test::Nginx::Registry::Response;

use warnings;
use strict;

# undef if the connection was closed before an answer

sub status { return $_[0]{status} }

# with the ones before it: 100 Continue

sub statuses { return @{$_[0]{statuses} // []} }

sub body { return $_[0]{body} }

# false if the connection was closed before the end of the body

sub complete { return $_[0]{complete} }

sub headers {
	my ($self, $name) = @_;

	return map { $_->[1] } grep { lc $_->[0] eq lc $name }
		@{$self->{fields}};
}

sub header {
	my ($self, $name) = @_;
	my @values = $self->headers($name);

	return @values ? join(', ', @values) : undef;
}

sub location {
	my ($self) = @_;
	my $location = $self->header('Location') // return undef;

	return $location =~ s!^https?://[^/]+!!ir;
}

sub json {
	my ($self) = @_;

	return eval { JSON::PP::decode_json($self->{body}) };
}

# the code of the first error of an error document

sub code {
	my ($self) = @_;
	my $document = $self->json();

	return undef unless ref $document eq 'HASH'
		&& ref $document->{errors} eq 'ARRAY'
		&& ref $document->{errors}[0] eq 'HASH';

	return $document->{errors}[0]{code};
}

sub summary {
	my ($self) = @_;

	return join(' ', $self->{status} // 'no answer',
		substr($self->{body}, 0, 200));
}

###############################################################################

1;

###############################################################################
