package Test::Nginx::CA;

# A certificate authority of the test's own, and what it signs.
#
#     my $ca = Test::Nginx::CA->new($t);
#     my $pair = $ca->certificate('registry.corp', '127.0.0.1');
#
#     $ca->file, $pair->{cert}, $pair->{key}

###############################################################################

use warnings;
use strict;

use Test::Nginx::Secrets ();

###############################################################################

my $NEW_KEY = '-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes';

# authorities of other names are strangers to this one

sub new {
	my ($class, $t, $name) = @_;

	$name //= 'ca';

	my $self = bless {
		path => $t->testdir() . "/$name",
		log => $t->testdir() . '/openssl.out',
		count => 0,
	}, $class;

	$self->openssl("req -x509 $NEW_KEY -days 2 -subj '/CN=$name'"
		. " -keyout $self->{path}.key -out $self->{path}.crt");

	return $self;
}

sub file { return "$_[0]{path}.crt" }

# for names and addresses, of a server or of a client

sub certificate {
	my ($self, @names) = @_;
	return $self->sign(2, @names);
}

sub expired {
	my ($self, @names) = @_;
	return $self->sign(0, @names);
}

sub sign {
	my ($self, $days, @names) = @_;
	my $path = "$self->{path}-" . ++$self->{count};
	my $alternatives = join(',', map { /^[\d.]+$|:/ ? "IP:$_" : "DNS:$_" }
		@names);

	$self->openssl("req $NEW_KEY -subj '/CN=$names[0]'"
		. " -addext subjectAltName=$alternatives"
		. " -keyout $path.key -out $path.csr");
	$self->openssl("x509 -req -days $days -in $path.csr"
		. " -CA $self->{path}.crt -CAkey $self->{path}.key"
		. " -CAcreateserial -copy_extensions copy -out $path.crt");

	return { cert => "$path.crt", key => "$path.key" };
}

sub openssl {
	my ($self, $arguments) = @_;

	system("openssl $arguments >>$self->{log} 2>&1") == 0
		or die "openssl $arguments: look into $self->{log}\n";

	Test::Nginx::Secrets::private_key($1) if $arguments =~ /-keyout (\S+)/;
}

###############################################################################

1;

###############################################################################
