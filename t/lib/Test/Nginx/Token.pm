package Test::Nginx::Token;

# An issuer of tokens as Docker Hub and Harbor have: it gives out JWTs that a
# real docker-registry accepts, and Test::Nginx::Origin too.  It counts, and
# misbehaves as it is told (Test::Nginx::Server).
#
#     my $token = Test::Nginx::Token->new($t, port => 8082, users => {
#         alice => { password => 'secret', allow => { 'team/*' => '*' } } });
#
#     my $o = Test::Nginx::Origin->new($t, port => 8081, token => $token);

###############################################################################

use warnings;
use strict;

use base qw/ Test::Nginx::Server /;

use Digest::SHA qw/ sha256 sha256_hex /;
use File::Path qw/ make_path /;
use IPC::Open2 qw/ open2 /;
use JSON::PP qw//;
use MIME::Base64 qw/ decode_base64 encode_base64 encode_base64url /;
use POSIX qw/ strftime /;

use Test::Nginx::Secrets;

###############################################################################

my $json = JSON::PP->new->canonical->utf8;

my %NEW_KEY = (
	ES256 => 'ec -pkeyopt ec_paramgen_curve:P-256',
	RS256 => 'rsa:2048',
);

###############################################################################
#
# The test's side.  Options besides those of Test::Nginx::Server:
#
#     users       { name => { password, allow => { 'a/*' => 'pull,push' } } };
#                 several passwords in a list
#     anonymous   the same as "allow", for those without credentials; undef to
#                 refuse them
#     service, issuer
#     lifetime    of a token, in seconds
#     expires_in  the number that is told; undef to tell none
#     issued_at   1 to tell when it was issued, by its clock
#     field       'token', 'access_token', or 'both'
#     skew        seconds that its clock is ahead of ours
#     algorithm   ES256 or RS256
#     header      what names the key: 'kid' or 'x5c'
#     opaque      1 for tokens that are no JWTs
#
# In "allow", "*" stands for all actions; what is not a repository has its
# type before its name: 'registry:catalog'.
#
###############################################################################

sub new {
	my ($class, $t, %opts) = @_;

	return $class->SUPER::new($t, defaults($t, %opts));
}

sub defaults {
	my ($t, %opts) = @_;
	my $path = join('-', $t->testdir() . '/token', $opts{address} // (),
		$opts{port});

	%opts = (service => 'registry.test', issuer => 'issuer.test',
		anonymous => { '*' => 'pull' }, lifetime => 300,
		field => 'token', skew => 0,
		algorithm => 'ES256', header => 'kid',
		tokens => "$path/issued", key => "$path/issuer.key",
		cert => "$path/issuer.crt", %opts);

	make_path($opts{tokens});

	system("openssl req -x509 -newkey $NEW_KEY{$opts{algorithm}} -nodes"
		. " -days 2 -subj /CN=issuer -keyout $opts{key}"
		. " -out $opts{cert} >$path/openssl.out 2>&1") == 0
		or die "no key of an issuer: look into $path/openssl.out\n";

	Test::Nginx::Secrets::private_key($opts{key});

	return %opts;
}

# what Test::Nginx::Origin has to know

sub bearer {
	my ($self) = @_;

	return { realm => $self->url() . '/token', service => $self->{service},
		tokens => $self->{tokens} };
}

# the same for docker-registry

sub registry_auth {
	my ($self) = @_;

	return { token => { realm => $self->url() . '/token',
		service => $self->{service}, issuer => $self->{issuer},
		rootcertbundle => $self->{cert} } };
}

# the origin knows the tokens no more that were given out until now

sub revoke {
	my ($self) = @_;

	unlink glob("$self->{tokens}/*");

	return $self;
}

###############################################################################
#
# The server's side
#
###############################################################################

sub answer {
	my ($self, $request) = @_;

	return $self->error(404) if $request->{uri} ne '/token';
	return $self->error(405) if $request->{method} ne 'GET';

	my ($user, $allow) = $self->authenticate($request);

	return $self->error(401) if !$allow;

	my $now = time() + $self->{skew};

	my $claims = { iss => $self->{issuer}, aud => $self->{service},
		sub => $user, iat => $now, nbf => $now,
		exp => $now + $self->{lifetime},
		jti => sha256_hex(rand() . $$ . $now),
		access => [ granted($request, $allow) ] };

	my $token = $self->{opaque} ? $claims->{jti} : $self->jwt($claims);

	$self->note($token, $claims);

	my $expires_in = exists $self->{expires_in} ? $self->{expires_in}
		: $self->{lifetime};

	return document(200, {
		$self->{field} ne 'access_token' ? (token => $token) : (),
		$self->{field} ne 'token' ? (access_token => $token) : (),
		defined $expires_in ? (expires_in => $expires_in) : (),
		$self->{issued_at} ? (issued_at =>
			strftime('%Y-%m-%dT%H:%M:%SZ', gmtime $now)) : () });
}

sub document {
	my ($status, $data) = @_;

	return { status => $status, body => $json->encode($data),
		headers => { 'Content-Type' => 'application/json' } };
}

sub error {
	my ($self, $status) = @_;
	my $answer = document($status, { details => 'no token' });

	$answer->{headers}{'WWW-Authenticate'} = 'Basic realm="issuer"'
		if $status == 401;

	return $answer;
}

# the user, and what is allowed; nothing for wrong credentials

sub authenticate {
	my ($self, $request) = @_;
	my $header = $request->{headers}{authorization}
		// return ('', $self->{anonymous});

	my ($given) = $header =~ /^basic (\S+)$/i or return;
	my ($name, $password) = split(/:/, decode_base64($given), 2);
	my $user = $self->{users}{$name} or return;

	my $right = $user->{password};

	return if !grep { ($password // '') eq $_ }
		ref $right ? @$right : $right;
	return ($name, $user->{allow} // {});
}

# of the scopes asked for, what is allowed; a scope may be asked for with
# others in one parameter, or in one of its own

sub granted {
	my ($request, $allow) = @_;
	my @granted;

	my @scopes = map { Test::Nginx::Server::Loop::unescape(y/+/ /r) }
		$request->{path} =~ /[?&]scope=([^&]*)/g;

	for my $scope (map { split(/ /) } @scopes) {
		my ($type, $name, $actions) = $scope =~ /^(\w+):(.+):([^:]*)$/
			or next;
		my $what = $type eq 'repository' ? $name : "$type:$name";
		my $allowed = join(',', map { $allow->{$_} }
			grep { $what =~ pattern($_) } keys %$allow);

		my @actions = grep { $allowed =~ /(?:^|,)(?:\Q$_\E|\*)(?:,|$)/ }
			split(/,/, $actions) or next;

		push @granted, { type => $type, name => $name,
			actions => \@actions };
	}

	return @granted;
}

sub pattern {
	my ($pattern) = @_;
	my $re = join('.*', map { quotemeta } split(/\*/, $pattern, -1));

	return qr/^$re$/;
}

sub note {
	my ($self, $token, $claims) = @_;
	my $file = "$self->{tokens}/" . sha256_hex($token);

	secret($token);

	open(my $fh, '>:raw', $file) or die "$file: $!\n";
	print $fh $json->encode($claims);
	close $fh or die "$file: $!\n";
}

###############################################################################

sub jwt {
	my ($self, $claims) = @_;

	my $header = { typ => 'JWT', alg => $self->{algorithm},
		$self->{header} eq 'x5c' ? (x5c => [ $self->x5c() ])
			: (kid => $self->kid()) };

	my $signed = join('.', map { encode_base64url($json->encode($_)) }
		$header, $claims);

	return "$signed." . encode_base64url($self->signature($signed));
}

sub signature {
	my ($self, $text) = @_;
	my $signature = openssl($text, 'dgst', '-sha256', '-sign',
		$self->{key});

	return $signature if $self->{algorithm} eq 'RS256';

	# two integers in DER; JWS wants them in 32 bytes each, RFC 7518, 3.4

	return join('', map { substr("\0" x 32 . $_, -32) }
		unpack('x3 C/a x C/a', $signature));
}

# the name of a key in libtrust, which docker-registry knows it by

sub kid {
	my ($self) = @_;

	return $self->{kid} //= do {
		my $der = openssl('', 'pkey', '-in', $self->{key}, '-pubout',
			'-outform', 'DER');

		join(':', base32(substr(sha256($der), 0, 30)) =~ /.{4}/g);
	};
}

sub base32 {
	my ($bytes) = @_;
	my @digits = ('A' .. 'Z', 2 .. 7);

	return join('', map { $digits[oct "0b$_"] }
		unpack('B*', $bytes) =~ /.{5}/g);
}

sub x5c {
	my ($self) = @_;

	return $self->{x5c} //= encode_base64(openssl('', 'x509', '-in',
		$self->{cert}, '-outform', 'DER'), '');
}

sub openssl {
	my ($in, @arguments) = @_;
	my $pid = open2(my $out, my $to, 'openssl', @arguments);

	binmode $_ for $out, $to;
	print $to $in;
	close $to;

	local $/;
	my $result = <$out>;

	waitpid($pid, 0);
	die "openssl @arguments failed\n" if $?;

	return $result;
}

###############################################################################

1;

###############################################################################
