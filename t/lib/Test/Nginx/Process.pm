package Test::Nginx::Process;

# A process beside nginx that a test stops, kills, freezes and starts again,
# and that does not outlive the test.

###############################################################################

use warnings;
use strict;

use Carp qw/ croak /;
use POSIX qw/ WNOHANG /;
use Time::HiRes qw/ sleep time /;

###############################################################################

# everything takes longer under valgrind

our $PATIENCE = $ENV{TEST_NGINX_VALGRIND} ? 10 : 1;

# new(code) makes one of code that does not return, as exec() does not;
# start() runs it

sub new {
	my ($class, $code, %fields) = @_;

	return bless { %fields, code => $code }, $class;
}

sub start {
	my ($self) = @_;

	croak 'runs already' if !$self->wait(0);

	my $parent = $$;
	my $pid = fork() // croak "can't fork: $!";

	if ($pid == 0) {
		$SIG{INT} = $SIG{TERM} = 'DEFAULT';
		eval { $self->{code}->($parent); 1 } or warn $@;
		POSIX::_exit(1);
	}

	@$self{qw/ pid parent /} = ($pid, $parent);

	return $self;
}

sub pid { return $_[0]{pid} }

sub stop { return $_[0]->end('TERM') }
sub kill { return $_[0]->end('KILL') }

# between the two it hangs, with its connections open

sub freeze {
	my ($self) = @_;

	$self->{frozen} = 1;

	return $self->signal('STOP');
}

sub thaw {
	my ($self) = @_;

	$self->{frozen} = 0;

	return $self->signal('CONT');
}

sub signal {
	my ($self, $signal) = @_;

	CORE::kill($signal, $self->{pid}) if $self->{pid};

	return $self;
}

sub end {
	my ($self, $signal) = @_;

	return $self if !$self->{pid};

	$self->signal($signal)->thaw();

	if (!$self->wait(5 * $PATIENCE)) {
		$self->signal('KILL');
		waitpid(delete $self->{pid}, 0);
	}

	return $self;
}

# true if it ended, by itself or after a signal, within so many seconds

sub wait {
	my ($self, $seconds) = @_;
	my $end = time() + $seconds;

	while ($self->{pid}) {
		if (waitpid($self->{pid}, WNOHANG) != 0) {
			delete $self->{pid};
			last;
		}

		return 0 if time() > $end;
		sleep(0.005);
	}

	return 1;
}

sub DESTROY {
	my ($self) = @_;
	local ($?, $@, $!);

	$self->stop() if $self->{pid} && $self->{parent} == $$;
}

###############################################################################

1;

###############################################################################
