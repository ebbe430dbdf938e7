package Test::Nginx::Harbor;

# A registry as Harbor is one: with its issuer of tokens, an API and a user
# interface on the same host.  See Test::Nginx::Origin for all else of it.
#
#     my $one = Test::Nginx::Harbor->new($t, port => 443, address =>
#         '10.0.0.1', host => 'harbor.corp', ssl => $pair, users => {...});
#     my $two = Test::Nginx::Harbor->new($t, ..., store => $one);

###############################################################################

use warnings;
use strict;

use base qw/ Test::Nginx::Origin /;

use Test::Nginx::Token;

###############################################################################

# "users" and "anonymous" are those of Test::Nginx::Token; two with the same
# store have the same users

sub new {
	my ($class, $t, %opts) = @_;
	my $store = $opts{store};

	my $issuer = $store ? $store->{issuer} : bless {
		Test::Nginx::Token::defaults($t, %opts)
	}, 'Test::Nginx::Token';

	return $class->SUPER::new($t, %opts, issuer => $issuer, bearer => {
		realm => "https://$opts{host}/service/token",
		service => $issuer->{service}, tokens => $issuer->{tokens} });
}

sub answer {
	my ($self, $request) = @_;
	my $uri = $request->{uri};

	return $self->SUPER::answer($request) if $uri =~ m!^/v2/!;

	return $self->{issuer}->answer({ %$request, uri => '/token' })
		if $uri eq '/service/token';

	return page('text/plain', 'Pong') if $uri eq '/api/v2.0/ping';
	return page('text/html', '<title>Harbor</title>');
}

sub page {
	my ($type, $body) = @_;

	return { status => 200, body => $body,
		headers => { 'Content-Type' => $type } };
}

###############################################################################

1;

###############################################################################
