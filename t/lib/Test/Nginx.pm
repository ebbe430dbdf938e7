package Test::Nginx;

# Runs nginx for a test and talks to it.  The public methods and functions are
# those of the library that nginx's own tests use, so a test runs with either;
# this one knows by itself where the module and the packaged nginx are, and can
# put nginx under valgrind.  See t/README.md for the environment variables.

###############################################################################

use warnings;
use strict;

use base qw/ Exporter /;

our @EXPORT = qw/ http http_get http_head log_in log_out port /;
our @EXPORT_OK = qw/ http_content http_end http_gzip_like http_gzip_request
	http_start /;
our %EXPORT_TAGS = (gzip => [ qw/ http_gzip_like http_gzip_request / ]);

###############################################################################

use Cwd qw/ abs_path /;
use File::Basename qw/ dirname /;
use File::Path qw/ remove_tree /;
use File::Temp qw/ tempdir /;
use IO::Socket::INET;
use POSIX qw/ WNOHANG /;
use Test::More qw//;
use Time::HiRes qw/ sleep time /;

use Test::Nginx::Secrets ();

###############################################################################

my $root = abs_path(dirname(__FILE__) . '/../../..');

our $NGINX = $ENV{TEST_NGINX_BINARY} // '/usr/sbin/nginx';
our $GLOBALS = $ENV{TEST_NGINX_GLOBALS}
	// "load_module $root/build/ngx_http_registry_module.so;\n";

# everything takes longer under valgrind

our $PATIENCE = $ENV{TEST_NGINX_VALGRIND} ? 10 : 1;

our $TODO;

my %ports;

# modules that are there unless configured out, and their options

my %builtin = (
	(map { $_ => "http_${_}_module" } qw/ access auth_basic autoindex
		browser charset empty_gif fastcgi geo grpc gzip limit_conn
		limit_req map memcached mirror proxy referer rewrite scgi
		split_clients ssi tunnel upstream_hash upstream_ip_hash
		upstream_keepalive upstream_least_conn upstream_least_time
		upstream_random upstream_zone userid uwsgi /),
	http => 'http', cache => 'http-cache', pcre => 'pcre',
	upstream_sticky => 'http_upstream_sticky_module',
);

# and those that must be configured in; other names are looked for as they are

my %option = (
	(map { $_ => "--with-http_${_}_module" } qw/ auth_request flv realip
		sub /),
	mail => '--with-mail(?=\s|$)', stream => '--with-stream(?=\s|$)',
	sni => 'TLS SNI support enabled',
);

###############################################################################

sub new {
	my ($class) = @_;

	Test::More::BAIL_OUT("no nginx at $NGINX") unless -x $NGINX;

	my $self = bless {
		pid => $$,
		testdir => tempdir('nginx-test-XXXXXXXXXX', TMPDIR => 1),
		daemons => [],
	}, ref $class || $class;

	# stop what was started when the test itself is stopped

	$SIG{INT} = $SIG{TERM} = sub { exit 1 };

	return $self;
}

sub DESTROY {
	my ($self) = @_;
	local ($?, $@, $!);

	return if $self->{pid} != $$;

	$self->stop();
	$self->stop_daemons();

	if (Test::More->builder->expected_tests()) {
		my $log = $self->log_text('error.log');

		{
			local $TODO = $self->{todo_alerts} ? 'alerts' : undef;
			my @alerts = $log =~ /^.*\[alert\].*$/mg;
			Test::More::is(join("\n", @alerts), '', 'no alerts');
		}

		my @errors = $log =~ /^.*(?:Sanitizer|runtime error:).*$/mg;
		push @errors, $self->valgrind_errors();

		# tests with several nginx count two for each of the others

		my @secrets = Test::Nginx::Secrets::found(map {
			$_ => $self->log_text($_) } 'error.log', 'access.log',
			keys %{$self->{logs}});
		push @errors, splice(@secrets) if !$self->{planned};

		Test::More::is(join("\n", @errors), '', 'no sanitizer errors')
			or Test::More::diag($log =~
				/^(.*(?:ERROR: \w+Sanitizer|runtime error:)(?:.*\n){1,40})/m);

		Test::More::is(join("\n", @secrets), '', 'no secrets')
			if $self->{planned};
	}

	print $self->log_text('error.log') if $ENV{TEST_NGINX_CATLOG};

	if ($ENV{TEST_NGINX_LEAVE}) {
		Test::More::diag("left: $self->{testdir}");

	} else {
		remove_tree($self->{testdir}, { error => \my $ignored });
	}
}

sub log_text {
	my ($self, $name) = @_;

	return '' unless -e "$self->{testdir}/$name";
	return $self->read_file($name) // '';
}

# valgrind's complaints, one process's after another's

sub valgrind_errors {
	my ($self) = @_;
	my @errors;

	for my $file (glob("$self->{testdir}/valgrind.*")) {
		my $text = $self->log_text($file =~ s!.*/!!r);

		push @errors, $text if $text =~ /^==\d+== +(?!ERROR SUMMARY)\S/m;
	}

	return @errors;
}

###############################################################################

sub plan {
	my ($self, $tests) = @_;

	# three more are made when the object is destroyed

	Test::More::plan(tests => $tests + 3);
	$self->{planned} = 1;

	return $self;
}

sub has {
	my ($self, @features) = @_;

	for my $feature (@features) {
		next if $self->has_module($feature) || $self->has_feature($feature);
		Test::More::plan(skip_all => "no $feature available");
	}

	return $self;
}

sub has_module {
	my ($self, $feature) = @_;
	my $configured = $self->configured();

	if (my $name = $builtin{$feature}) {
		return $configured !~ /--without-\Q$name\E(?=\s|$)/;
	}

	my $re = $option{$feature} // $feature;

	return $configured =~ /$re/;
}

sub has_feature {
	my ($self, $feature) = @_;

	return 1 if $feature =~ /^(?:symlink|unix|udp)$/;

	if ($feature =~ /^socket_ssl(?:_(\w+))?$/) {
		my %can = (sni => 'can_client_sni', alpn => 'can_alpn',
			sslversion => 'get_sslversion',
			reused => 'get_session_reused');

		return 0 unless eval { require IO::Socket::SSL; 1 };
		return 1 unless defined $1;

		my $method = $can{$1} && IO::Socket::SSL->can($can{$1});

		return 0 unless $method;
		return $1 =~ /^(?:sni|alpn)$/ ? IO::Socket::SSL->$method() : 1;
	}

	if ($feature =~ /^(openssl|libressl):([0-9.]+)([a-z]*)$/) {
		my ($library, $version, $patch) = ($1, $2, $3);

		return 0 unless $self->configured()
			=~ /with \Q$library\E ([0-9.]+)([a-z]*)/i;

		return not_older([ split(/\./, $1), map { ord } split(//, $2) ],
			[ split(/\./, $version), map { ord } split(//, $patch) ]);
	}

	return 0;
}

sub has_version {
	my ($self, $version) = @_;

	$self->configured() =~ m!nginx version: nginx/([0-9.]+)!
		or die "no version in the output of $NGINX -V\n";

	return not_older([ split(/\./, $1) ], [ split(/\./, $version) ]);
}

sub not_older {
	my ($have, $need) = @_;

	for my $i (0 .. $#$need) {
		my $order = ($have->[$i] // 0) <=> $need->[$i];
		return $order > 0 ? 1 : 0 if $order;
	}

	return 1;
}

sub configured {
	my ($self) = @_;

	return $self->{configured} //= `'$NGINX' -V 2>&1`;
}

sub has_daemon {
	my ($self, $daemon) = @_;

	return $self if -x $daemon
		|| grep { -x "$_/$daemon" } split(/:/, $ENV{PATH});

	Test::More::plan(skip_all => "$daemon not found");
}

sub todo_alerts {
	my ($self) = @_;

	$self->{todo_alerts} = 1;

	return $self;
}

###############################################################################

sub command {
	my ($self) = @_;
	my $dir = $self->{testdir};
	my @command = ($NGINX, '-p', "$dir/", '-c', 'nginx.conf',
		'-e', 'error.log');

	# a configuration without %%TEST_GLOBALS%% still needs the two

	push @command, '-g', "pid $dir/nginx.pid; error_log $dir/error.log debug;"
		unless defined $self->{globals};

	return @command;
}

sub run {
	my ($self, $file) = @_;
	my @command = $self->command();

	if (defined $file) {
		open(my $fh, '<', $file) or die "Can't open $file: $!\n";
		local $/;
		$self->write_file_expand('nginx.conf', scalar <$fh>);
		@command = $self->command();
	}

	unshift @command, qw/ valgrind -q --keep-debuginfo=yes --leak-check=full
		--show-leak-kinds=definite --num-callers=30 /,
		"--suppressions=$root/t/valgrind.supp",
		"--log-file=$self->{testdir}/valgrind.%p"
		if $ENV{TEST_NGINX_VALGRIND};

	my $pid = fork() // die "Can't fork: $!\n";

	if ($pid == 0) {
		$SIG{INT} = $SIG{TERM} = 'DEFAULT';
		exec { $command[0] } @command
			or warn "Can't exec $command[0]: $!\n";
		POSIX::_exit(1);
	}

	$self->{started} = $pid;

	$self->waitforfile("$self->{testdir}/nginx.pid", $pid)
		or die "Can't start nginx\n";

	return $self;
}

sub try_run {
	my ($self, $message) = @_;

	open(my $stderr, '>&', \*STDERR) or die "Can't dup stderr: $!\n";
	open(STDERR, '>', '/dev/null') or die "Can't open /dev/null: $!\n";
	my $started = eval { $self->run(); 1 };
	open(STDERR, '>&', $stderr);

	return $self if $started;

	log_core('', $self->log_text('error.log'));
	Test::More::plan(skip_all => $message);
}

sub dump_config {
	my ($self) = @_;

	my ($binary, @arguments) = $self->command();
	my $pid = open(my $fh, '-|') // die "Can't fork: $!\n";

	if ($pid == 0) {
		open(STDERR, '>&', \*STDOUT);
		exec($binary, '-T', @arguments) or POSIX::_exit(1);
	}

	local $/;
	my $text = <$fh>;
	close $fh;

	return $text;
}

sub reload {
	my ($self) = @_;

	kill 'HUP', $self->read_file('nginx.pid') if $self->{started};

	return $self;
}

sub stop {
	my ($self) = @_;

	my $child = delete $self->{started} or return $self;

	# after an upgrade it is another one; without a file it is gone, or has
	# not written one yet

	my ($pid) = $self->log_text('nginx.pid') =~ /^(\d+)/;

	$pid //= $child if waitpid($child, WNOHANG) == 0;
	return $self if !$pid;

	for my $signal ([ 'QUIT', 90 ], [ 'TERM', 10 ], [ 'KILL', 10 ]) {
		kill $signal->[0], $pid;
		last if reaped($pid, $signal->[1] * $PATIENCE);
	}

	return $self;
}

sub run_daemon {
	my ($self, $code, @args) = @_;

	my $pid = fork() // die "Can't fork: $!\n";

	if ($pid == 0) {
		$SIG{INT} = $SIG{TERM} = 'DEFAULT';

		if (ref $code eq 'CODE') {
			$code->(@args);
			exit 0;
		}

		exec { $code } $code, @args
			or warn "Can't exec $code: $!\n";
		POSIX::_exit(1);
	}

	push @{$self->{daemons}}, $pid;

	return $self;
}

sub stop_daemons {
	my ($self) = @_;

	while (defined(my $pid = shift @{$self->{daemons}})) {
		for my $signal (qw/ TERM KILL /) {
			kill $signal, $pid;
			last if reaped($pid, 5);
		}
	}

	return $self;
}

sub reaped {
	my ($pid, $seconds) = @_;

	return wait_until($seconds, sub { waitpid($pid, WNOHANG) != 0 });
}

sub waitforfile {
	my ($self, $file, $pid) = @_;
	my $exited = 0;

	wait_until(30 * $PATIENCE, sub {
		return 1 if -s $file || $exited;
		$exited = defined $pid && waitpid($pid, WNOHANG) != 0;
		return 0;
	});

	return -e $file ? 1 : $exited ? 0 : undef;
}

sub waitforsocket {
	my ($self, $peer) = @_;

	return wait_until(30 * $PATIENCE, sub {
		return defined IO::Socket::INET->new(Proto => 'tcp',
			PeerAddr => $peer);
	});
}

sub wait_until {
	my ($seconds, $done) = @_;
	my $end = time() + $seconds;

	while (!$done->()) {
		return undef if time() > $end;
		sleep(0.02);
	}

	return 1;
}

###############################################################################

sub testdir {
	my ($self) = @_;
	return $self->{testdir};
}

sub read_file {
	my ($self, $name) = @_;

	open(my $fh, '<', "$self->{testdir}/$name")
		or die "Can't open $name: $!\n";
	local $/;

	return scalar <$fh>;
}

sub write_file {
	my ($self, $name, $content) = @_;

	open(my $fh, '>', "$self->{testdir}/$name")
		or die "Can't create $name: $!\n";
	binmode $fh;
	print $fh $content;
	close $fh or die "Can't write $name: $!\n";

	Test::Nginx::Secrets::written($name, $content);

	$self->{logs}{$_} = 1 for $content
		=~ m!^\s*(?:error|access)_log\s+\Q$self->{testdir}\E/([^\s;]+)!mg;

	return $self;
}

sub write_file_expand {
	my ($self, $name, $content) = @_;

	$content =~ s/%%TEST_GLOBALS%%/$self->test_globals()/ge;
	$content =~ s/%%TEST_GLOBALS_HTTP%%/$self->test_globals_http()/ge;
	$content =~ s/%%TEST_GLOBALS_STREAM%%/$self->test_globals_stream()/ge;
	$content =~ s/%%TESTDIR%%/$self->{testdir}/g;
	$content =~ s/127\.0\.0\.1:(8\d{3})/'127.0.0.1:' . port($1)/ge;
	$content =~ s/%%PORT_(\d+)%%/port($1)/ge;
	$content =~ s/%%PORT_(\d+)_UDP%%/port($1, udp => 1)/ge;

	return $self->write_file($name, $content);
}

sub test_globals {
	my ($self) = @_;

	return $self->{globals} //= "pid $self->{testdir}/nginx.pid;\n"
		. "error_log $self->{testdir}/error.log debug;\n"
		. $GLOBALS;
}

sub test_globals_http {
	my ($self) = @_;
	my $dir = $self->{testdir};

	return $self->{globals_http} //= join('',
		"root $dir;\naccess_log $dir/access.log;\n",
		"client_body_temp_path $dir/client_body_temp;\n",
		(map { "${_}_temp_path $dir/${_}_temp;\n" }
			grep { $self->has_module($_) }
			qw/ fastcgi proxy uwsgi scgi /),
		$ENV{TEST_NGINX_GLOBALS_HTTP} // '');
}

sub test_globals_stream {
	return $ENV{TEST_NGINX_GLOBALS_STREAM} // '';
}

# port(8080) is a free port near 8080, the same one whenever it is asked again;
# a socket of the other protocol holds it against tests that run beside

sub port {
	my ($number, %opts) = @_;

	if (!$ports{$number}) {
		my ($mine, $other) = $opts{udp} ? qw/ udp tcp / : qw/ tcp udp /;
		my $port = $number;

		for (1 .. 100) {
			my $lock = bind_port($other, $port);

			if ($lock && bind_port($mine, $port)) {
				$ports{$number} = { port => $port, socket => $lock };
				last;
			}

			$port = $number - $number % 500 + int(rand(500));
		}

		die "no free port near $number\n" unless $ports{$number};
	}

	return $ports{$number}{$opts{socket} ? 'socket' : 'port'};
}

sub bind_port {
	my ($proto, $port) = @_;

	return IO::Socket::INET->new(Proto => $proto, LocalAddr => '127.0.0.1',
		LocalPort => $port,
		$proto eq 'tcp' ? (Listen => 1, ReuseAddr => 1) : ());
}

###############################################################################

sub log_out {
	log_core('>> ', @_);
}

sub log_in {
	log_core('<< ', @_);
}

sub log_core {
	my ($prefix, $text) = @_;

	return unless $ENV{TEST_NGINX_VERBOSE} && defined $text;

	my $length = length $text;

	$text = substr($text, 0, 2048) . "(... $length bytes)" if $length > 2048;
	$text =~ s/([^\x20-\x7e\n])/sprintf('\\x%02x', ord $1)/ge;

	print map { "# $prefix$_\n" } split(/\n/, $text);
}

###############################################################################

sub http_get {
	my ($url, %extra) = @_;
	return http("GET $url HTTP/1.0\nHost: localhost\n\n", %extra);
}

sub http_head {
	my ($url, %extra) = @_;
	return http("HEAD $url HTTP/1.0\nHost: localhost\n\n", %extra);
}

sub http {
	my ($request, %extra) = @_;
	my $s = http_start($request, %extra);

	return $s if $extra{start} || !defined $s;
	return http_end($s, %extra);
}

sub http_start {
	my ($request, %extra) = @_;

	return in_time(sub {
		my $s = $extra{socket} || IO::Socket::INET->new(
			Proto => 'tcp',
			PeerAddr => '127.0.0.1:' . port($extra{SSL} ? 8443 : 8080),
			%extra
		)
			or die "can't connect: $!\n";

		if ($extra{SSL}) {
			require IO::Socket::SSL;

			IO::Socket::SSL->start_SSL($s,
				SSL_verify_mode => IO::Socket::SSL::SSL_VERIFY_NONE(),
				%extra)
				or die IO::Socket::SSL::errstr() . "\n";
		}

		log_out($request);
		$s->print($request);

		sleep($extra{sleep}) if $extra{sleep};

		if (!$extra{aborted} && $extra{body}) {
			log_out($extra{body});
			$s->print($extra{body});
		}

		return $s;
	});
}

sub http_end {
	my ($s) = @_;

	return in_time(sub {
		local $/;
		my $reply = $s->getline();

		$s->close();
		log_in($reply);

		return $reply;
	});
}

sub in_time {
	my ($code) = @_;
	my $result;

	eval {
		local $SIG{ALRM} = sub { die "timeout\n" };
		local $SIG{PIPE} = sub { die "sigpipe\n" };

		alarm(8 * $PATIENCE);
		$result = $code->();
		alarm(0);
	};

	my $error = $@;
	alarm(0);

	if ($error) {
		log_in("died: $error");
		return undef;
	}

	return $result;
}

# the body of an answer, chunks put together

sub http_content {
	my ($text) = @_;

	return undef unless defined $text
		&& $text =~ /\A(.*?)\r?\n\r?\n(.*)\z/s;

	my ($head, $body) = ($1, $2);

	return $body if $head !~ /^Transfer-Encoding:\s*chunked/im;

	my $content = '';

	while ($body =~ s/\A([0-9a-f]+)[^\n]*\n//i) {
		my $size = hex($1);

		return $content if $size == 0;

		$content .= substr($body, 0, $size, '');
		$body =~ s/\A\r?\n//;
	}

	return $content . '[no-last-chunk]';
}

sub http_gzip_request {
	my ($url) = @_;

	return http("GET $url HTTP/1.1\nHost: localhost\n"
		. "Connection: close\nAccept-Encoding: gzip\n\n");
}

sub http_gzip_like {
	my ($text, $re, $name) = @_;

	require IO::Uncompress::Gunzip;

	my $in = http_content($text);
	IO::Uncompress::Gunzip::gunzip(\$in => \my $out);

	Test::More->builder->like($out, $re, $name);
}

###############################################################################

1;

###############################################################################
