package Test::Nginx::Server::Answer;

# One answer of Test::Nginx::Server, piece by piece, with what the rules make
# wrong in it.  When the pieces are sent is left to the loop.

###############################################################################

use warnings;
use strict;

###############################################################################

# most bytes of a body in a piece

my $PIECE = 262144;

my %REASON = (200 => 'OK', 201 => 'Created', 202 => 'Accepted',
	204 => 'No Content', 206 => 'Partial Content',
	304 => 'Not Modified', 307 => 'Temporary Redirect',
	400 => 'Bad Request', 401 => 'Unauthorized', 403 => 'Forbidden',
	404 => 'Not Found', 405 => 'Method Not Allowed',
	416 => 'Range Not Satisfiable', 429 => 'Too Many Requests',
	500 => 'Internal Server Error', 503 => 'Service Unavailable');

###############################################################################

# new(server, request, rule, answer, close) of a hash as answer() gives it;
# "close" if the connection is to be closed in any case

sub new {
	my ($class, $server, $request, $rule, $answer, $close) = @_;

	$answer = ruled($server, $request, $rule, $answer);

	my $status = $answer->{status};
	my $size = $answer->{length} // ($answer->{file}
		? (-s $answer->{file}) - ($answer->{offset} // 0)
		: length($answer->{body} // ''));
	my $bodyless = $request->{method} eq 'HEAD'
		|| $status =~ /^(?:1..|204|304)$/;

	my $self = bless {
		rule => $rule,
		status => $status,
		body => $answer->{body},
		end => $bodyless || defined $rule->{raw} ? 0 : $size,
		position => 0,
		chunks => 0,
		chunked => !$bodyless && ($rule->{chunked}
			|| defined $rule->{last_chunk}),
	}, $class;

	$self->{events} = [ events($rule, $self->{end}) ];
	$self->{last} = $rule->{last_chunk} // "0\r\n\r\n" if $self->{chunked};

	my %headers = $self->headers($answer,
		$request->{method} ne 'HEAD' && $bodyless ? undef : $size);

	$self->{close} = $close || $self->closes($request, \%headers,
		$bodyless ? undef : $size);
	$headers{Connection} = 'close' if $self->{close};

	$self->{head} = $self->head({ %headers, %{$rule->{headers} // {}} });
	$self->open($answer) if $answer->{file} && $self->{end};

	return $self;
}

# an answer as the rules want it

sub ruled {
	my ($server, $request, $rule, $answer) = @_;

	$answer->{status} //= 200;

	if (defined $rule->{redirect}) {
		$answer = { status => 307, headers => {
			Location => target($rule->{redirect}, $request) } };
	}

	if ($rule->{status} && $rule->{status} != $answer->{status}) {
		$answer = $server->error($rule->{status});
	}

	if ($rule->{html}) {
		$answer = { status => $answer->{status},
			headers => { 'Content-Type' => 'text/html' },
			body => "<html><body>Please log in</body></html>\n" };
	}

	if (defined $rule->{body}) {
		$answer = { %$answer, body => $rule->{body}, file => undef,
			length => undef };
	}

	return $answer;
}

# the path is the same on another server, unless one is given

sub target {
	my ($to, $request) = @_;

	return "$request->{uri}?hop=" . (($request->{query}{hop} // 0) + 1)
		if $to eq 'endless';

	return $to =~ m!^https?://[^/]+$! ? $to . $request->{path} : $to;
}

# what happens at which byte of the body; from its end if negative

sub events {
	my ($rule, $end) = @_;

	return sort { $a->[0] <=> $b->[0] }
		grep { $_->[0] >= 0 && $_->[0] <= $end }
		map { my $at = $rule->{$_}; [ $at < 0 ? $end + $at : $at, $_ ] }
		grep { defined $rule->{$_} } qw/ flip stall close reset exit /;
}

# without those that the rule gives in its own way

sub headers {
	my ($self, $answer, $size) = @_;
	my %headers = %{$answer->{headers} // {}};

	if ($self->{chunked}) {
		$headers{'Transfer-Encoding'} = 'chunked';

	} elsif (defined $size) {
		$headers{'Content-Length'} = $size;
	}

	my %given = map { lc $_ => 1 } keys %{$self->{rule}{headers} // {}};

	delete @headers{grep { $given{lc $_} } keys %headers};

	return %headers;
}

# whether this is the last answer of a connection, as when its length is wrong

sub closes {
	my ($self, $request, $headers, $size) = @_;
	my $rule = $self->{rule};
	my $connection = $request->{headers}{connection} // '';

	return 1 if defined $rule->{last_chunk} || defined $rule->{raw}
		|| !($rule->{keepalive} // 1) || !($rule->{version} // 1);

	return 1 if defined $size && !$self->{chunked}
		&& !defined $headers->{'Content-Length'};

	return $request->{version} ? $connection =~ /close/i
		: $connection !~ /keep-alive/i;
}

# a field with several values is in a list, and one without is left out

sub head {
	my ($self, $headers) = @_;
	my $rule = $self->{rule};

	return $rule->{raw} if defined $rule->{raw};

	return join("\r\n",
		(map { ("HTTP/1.1 $_ Interim", 'X-Interim: yes', '') }
			@{$rule->{interim} // []}),
		'HTTP/1.' . ($rule->{version} // 1) . " $self->{status} "
			. ($REASON{$self->{status}} // 'Status'),
		(map { my $name = $_; map { "$name: $_" } grep { defined }
			ref $headers->{$name} ? @{$headers->{$name}}
				: $headers->{$name} } sort keys %$headers),
		$rule->{endless} ? '' : ("", ""));
}

sub open {
	my ($self, $answer) = @_;

	open($self->{file}, '<:raw', $answer->{file})
		or die "$answer->{file}: $!\n";
	sysseek($self->{file}, $answer->{offset} // 0, 0);
}

###############################################################################

sub status { return $_[0]{status} }
sub close { return $_[0]{close} }

# The next bytes to be sent, and how many of them belong to the body; or the
# name of an event instead of them; or nothing at the end.

sub next {
	my ($self) = @_;
	my ($rule, $events) = @$self{qw/ rule events /};

	if (defined(my $head = delete $self->{head})) {
		return ($head, 0);
	}

	return ('X-Endless: ' . 'x' x 100 . "\r\n", 0) if $rule->{endless};

	my $event = $events->[0];
	my $left = $self->{end} - $self->{position};

	if ($event && $event->[0] == $self->{position}) {
		return $self->chunk(1, shift @$events)
			if $event->[1] eq 'flip' && $left;

		shift @$events;
		return ($event->[1]);
	}

	$left = $event->[0] - $self->{position} if $event;

	return $self->chunk($left) if $left > 0;

	my $last = delete $self->{last} // return;

	return (($self->{chunks} ? "\r\n" : '') . $last, 0);
}

sub chunk {
	my ($self, $size, $flip) = @_;
	my $rule = $self->{rule};
	my $bytes;

	for my $most ($PIECE, $rule->{chunked} // 1) {
		$size = $most if $most > 1 && $size > $most;
	}

	if ($self->{file}) {
		$size = sysread($self->{file}, $bytes, $size)
			or return ('close');

	} else {
		$bytes = substr($self->{body}, $self->{position}, $size);
	}

	$bytes ^= "\x01" if $flip;
	$self->{position} += $size;

	return ($bytes, $size) if !$self->{chunked};

	return (($self->{chunks}++ ? "\r\n" : '') . sprintf("%x\r\n", $size)
		. $bytes, $size);
}

###############################################################################

1;

###############################################################################
