package Test::Nginx::Secrets;

# What no log and no status page may have in it: passwords, tokens, keys and
# signatures that the test writes, issues and sends.  Test::Nginx looks for
# them when a test ends; who makes some tells of them by itself, and a test
# of others:
#
#     secret('the key');

###############################################################################

use warnings;
use strict;

use base qw/ Exporter /;

our @EXPORT = qw/ secret /;

use File::Temp qw/ tempfile /;
use JSON::PP qw//;
use MIME::Base64 qw/ decode_base64 encode_base64 /;

###############################################################################

# what is shorter is in any text

my $SHORTEST = 6;

# of what is longer, a part is as bad

my $PART = 24;

# servers have processes of their own, and tell of secrets too

my (undef, $file) = tempfile('nginx-secrets-XXXXXXXXXX', TMPDIR => 1,
	UNLINK => 1);

my (%told, %pages);

###############################################################################

sub secret {
	my @new = grep { defined && length >= $SHORTEST && !$told{$_}++ } @_
		or return;

	open(my $fh, '>>:raw', $file) or die "$file: $!\n";
	syswrite($fh, join('', map { encode_base64($_, '') . "\n" } @new));
}

# a password, and as it is sent

sub credentials {
	my ($user, $password) = @_;

	secret($password, encode_base64("$user:$password", ''));
}

# the value of Authorization or Proxy-Authorization

sub authorization {
	my ($scheme, $value) = ($_[0] // '') =~ /^(\S+) +(.*)/ or return;

	secret($value, lc $scheme eq 'basic'
		? decode_base64($value) =~ /:(.*)/ : ());
}

# a private key, line by line

sub private_key {
	my ($path) = @_;

	open(my $fh, '<', $path) or die "$path: $!\n";
	secret(map { chomp; $_ } grep { !/^-/ } <$fh>);
}

# a file that a test writes: of credentials, as htpasswd or as docker has them

sub written {
	my ($name, $content) = @_;

	return if $name !~ /(?:\.cred|htpasswd|users|\.json)$/;

	my $config = eval { JSON::PP::decode_json($content) };

	for my $auth (ref $config eq 'HASH' ? values %{$config->{auths}} : ()) {
		authorization("Basic $auth->{auth}") if $auth->{auth};
		credentials(@$auth{qw/ username password /})
			if defined $auth->{password};
		secret($auth->{identitytoken});
	}

	return if $config;

	for my $line (split(/\n/, $content)) {
		credentials($1, $2) if $line =~ /^([^#:]+):(?:\{PLAIN\})?(.+)$/;
	}
}

# a URL that another server leads to: what is in its query is a signature

sub signed {
	my ($text) = @_;

	secret($1 =~ /=([^&]+)/g) if $text =~ /\?([^"]*)/;
}

# an answer, of which status pages are kept

sub answered {
	my ($path, $body) = @_;

	$pages{$path} = $body
		if $body =~ /^\{"namespaces":|^# TYPE nginx_registry_/m;
}

###############################################################################

# Lines that have a secret, of logs by their names with their text, and of the
# status pages as they were last.  nginx logs the headers that it reads when it
# logs for debugging; of that only our own lines count.

sub found {
	my (%logs) = @_;
	my $re = all() // return;
	my %texts = (%pages, map { $_ => undebugged($logs{$_}) } keys %logs);

	return map { my $name = $_;
		map { "$name: $_" } grep { /$re/ } split(/\n/, $texts{$name})
	} sort keys %texts;
}

sub undebugged {
	my ($text) = @_;

	return join('', grep {
		!/^\S+ \S+ \[debug\] \S+ (?:\*\d+ )?+(?!registry)/
	} split(m!^(?=\d{4}/\d\d/\d\d \d\d:\d\d:\d\d \[)!m, $text));
}

# everything that was told of, as a regular expression

sub all {
	open(my $fh, '<:raw', $file) or die "$file: $!\n";
	local $/ = "\n";

	my %parts = map { $_ => 1 } map { length > 2 * $PART
		? (substr($_, 0, $PART), substr($_, -$PART)) : $_ }
		map { decode_base64($_) } <$fh>;

	return undef if !%parts;

	my $re = join('|', map { quotemeta } sort keys %parts);

	return qr/$re/;
}

###############################################################################

1;

###############################################################################
