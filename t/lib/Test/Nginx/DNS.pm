package Test::Nginx::DNS;

# A name server of the test's own, over UDP, in a process that can be stopped,
# frozen and started as others (Test::Nginx::Process); it does not run before
# the first start().
#
#     my $dns = Test::Nginx::DNS->new($t, port => port(8053, udp => 1));
#
#     $dns->names('a.corp 127.0.0.1 ::1 ttl=1', 'b.corp rcode=2',
#         'c.corp silent')->start();
#     is($dns->asked('a.corp'), 2, 'for A and for AAAA');

###############################################################################

use warnings;
use strict;

use base qw/ Test::Nginx::Process /;

use Carp qw/ croak /;
use IO::Select;
use IO::Socket::INET;
use Socket qw/ AF_INET6 inet_aton inet_pton /;

###############################################################################

sub new {
	my ($class, $t, %opts) = @_;

	my $self = bless { address => '127.0.0.1', port => 53, %opts }, $class;

	$self->{path} = join('-', $t->testdir() . '/dns', @$self{qw/ address
		port /});

	return $self->names();
}

# all that it knows from now on; others do not exist

sub names {
	my ($self, @lines) = @_;
	my $file = "$self->{path}.names";

	open(my $fh, '>', "$file.new") or die "$file: $!\n";
	print $fh map { "$_\n" } @lines;
	close $fh or die "$file: $!\n";
	rename("$file.new", $file) or die "$file: $!\n";

	return $self;
}

# "name type" for each question about a name

sub asked {
	my ($self, $name) = @_;

	open(my $fh, '<', "$self->{path}.asked") or return;

	return grep { /^\Q$name\E / } <$fh>;
}

sub start {
	my ($self) = @_;

	my $socket = IO::Socket::INET->new(Proto => 'udp',
		LocalAddr => $self->{address}, LocalPort => $self->{port})
		or croak "port $self->{port} of $self->{address}: $!";

	$self->{code} = sub { $self->serve($socket, @_) };
	$self->SUPER::start();

	delete $self->{code};

	return $self;
}

###############################################################################

# the server's side

sub serve {
	my ($self, $socket, $parent) = @_;
	my $select = IO::Select->new($socket);

	open(my $log, '>>', "$self->{path}.asked") or die "log: $!\n";
	$log->autoflush(1);

	while (getppid() == $parent) {
		next if !$select->can_read(1);

		my $peer = recv($socket, my $query, 512, 0) // next;
		my $answer = $self->answer($log, $query) // next;

		send($socket, $answer, 0, $peer);
	}
}

# RFC 1035

sub answer {
	my ($self, $log, $query) = @_;
	my $id = unpack('n', $query);
	my @labels;

	for my $label (unpack('(C/a)*', substr($query, 12))) {
		last if $label eq '';
		push @labels, $label;
	}

	my $name = lc join('.', @labels);
	my $question = substr($query, 12, length($name) + 2 + 4);
	my $type = unpack('n', substr($question, -4));

	print $log "$name ", $type == 28 ? 'AAAA' : 'A', "\n";

	open(my $fh, '<', "$self->{path}.names") or return undef;
	my ($line) = grep { /^\Q$name\E /i } <$fh>;

	return pack('n6', $id, 0x8183, 1, 0, 0, 0) . $question if !$line;
	return undef if $line =~ / silent/;

	my ($rcode) = $line =~ /rcode=(\d+)/;
	my ($ttl) = $line =~ /ttl=(\d+)/;
	my @addresses = $type == 28
		? map { inet_pton(AF_INET6, $_) } $line =~ / ([0-9a-f]*:[0-9a-f:]+)/g
		: map { inet_aton($_) } $line =~ / (\d+\.\d+\.\d+\.\d+)/g;

	return pack('n6', $id, 0x8180 | ($rcode // 0), 1, scalar @addresses, 0, 0)
		. $question . join('', map {
			pack('n3 N n/a*', 0xc00c, $type, 1, $ttl // 300, $_)
		} @addresses);
}

###############################################################################

1;

###############################################################################
