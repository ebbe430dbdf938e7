package Bench;

# What all benches need: servers that are started and stopped by name, rounds
# of wrk on them, medians, and files in a directory that ends with us.

###############################################################################

use warnings;
use strict;

use base qw/ Exporter /;

use Cwd qw/ abs_path /;
use File::Path qw/ make_path remove_tree /;
use File::Temp qw/ tempdir /;
use FindBin;
use IO::Socket::INET;
use POSIX qw//;
use Time::HiRes qw/ sleep /;

use Images;

###############################################################################

our @EXPORT = qw/ $dir $rounds $seconds $nginx %port %pid
	add_nginx add_server alias start stop fresh workers
	compare ratio median spread
	cpu pss status bytes static write_file read_file /;

our $rounds = $ENV{ROUNDS} || 5;
our $seconds = $ENV{SECONDS} || 5;
our $nginx = $ENV{TEST_NGINX_BINARY} || '/usr/sbin/nginx';

my $module = abs_path("$FindBin::Bin/../build/ngx_http_registry_module.so")
	or die "no module, ./dev build makes it\n";

our $dir = tempdir('registry-bench-XXXXXX', CLEANUP => 1,
	$ENV{BENCH_DIR} ? (DIR => $ENV{BENCH_DIR}) : (TMPDIR => 1));

my $ticks = POSIX::sysconf(POSIX::_SC_CLK_TCK());

# name => port, command and, when it runs, the process that we have started
# and the one that does the work

our (%port, %pid);
my (%command, %master);

END {
	my $status = $?;
	stop($_) for keys %master;
	$? = $status;
}

# for the servers of tests, which run here too

sub testdir { return $dir }

###############################################################################

sub add_server {
	my ($server, $port, @command) = @_;

	$port{$server} = $port;
	$command{$server} = [ @command ];
}

# Of a configuration for its http block.  One worker has a core, and wrk the
# other; several of them run where they like.

sub add_nginx {
	my ($server, $port, $http, $workers) = @_;
	my $where = $workers ? '' : 'worker_cpu_affinity 01;';

	$workers //= 1;
	add_server($server, $port, $nginx, '-p', "$dir/", '-e', "$server.log",
		'-c', "$server.conf");

	write_file("$dir/$server.conf", <<"EOF");
load_module $module;
pid $dir/$server.pid;
error_log $dir/$server.log warn;
user root;
daemon off;
worker_processes $workers;
$where
worker_rlimit_nofile 8192;

events {
    worker_connections 4096;
}

http {
    access_log off;
    client_body_temp_path $dir/temp;
    proxy_temp_path $dir/proxy_temp;
    keepalive_requests 1000000000;
    sendfile on;
    tcp_nopush on;
    default_type application/octet-stream;
$http
}
EOF
}

# another name of a server that runs, for another port of it

sub alias {
	my ($server, $port, $of) = @_;

	$port{$server} = $port;
	$pid{$server} = $pid{$of};
}

sub start {
	my ($server) = @_;

	$master{$server} = spawn(@{$command{$server}});

	for (1 .. 100) {
		last if IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port{$server}");
		sleep(0.1);
	}

	$pid{$server} = $command{$server}[0] eq $nginx
		? (workers($server))[0] : $master{$server};
}

# starts it, again if it runs, with nothing in its directory

sub fresh {
	my ($server) = @_;

	stop($server);
	remove_tree("$dir/$server");
	start($server);
}

# which the master may not have started yet

sub workers {
	my ($server, $n) = @_;

	for (1 .. 100) {
		my @workers = grep { is_worker($_, $master{$server}) }
			map { m!/(\d+)$! } glob('/proc/[0-9]*');
		return @workers if @workers >= ($n // 1);

		sleep(0.1);
	}

	die "no workers of $server\n";
}

sub is_worker {
	my ($pid, $master) = @_;
	my $stat = eval { read_file("/proc/$pid/stat") } // return 0;

	return $stat =~ /\) \S (\d+)/ && $1 == $master
		&& read_file("/proc/$pid/cmdline") =~ /worker process/;
}

sub spawn {
	my @command = @_;

	my $pid = fork() // die "fork: $!\n";
	return $pid if $pid;

	open(STDOUT, '>>', "$dir/out");
	open(STDERR, '>>', "$dir/out");
	exec(@command) or POSIX::_exit(1);
}

sub stop {
	my ($server) = @_;
	my $pid = delete $master{$server} or return;

	kill 'TERM', $pid;
	waitpid($pid, 0);
}

###############################################################################

# Rounds of wrk, every server in each of them, and the first one compared with
# the others.  Requests or GiB a second, and CPU time of the server for each.

sub compare {
	my ($what, $connections, $paths, @servers) = @_;
	my (%rate, %cpu);
	my $large = $what =~ /MiB/;
	my $first = $servers[0];

	write_file("$dir/paths", join '', map { "$_\n" } @$paths);

	wrk($_, $connections, 1) for @servers;

	for my $round (1 .. $rounds) {
		for my $server (@servers) {
			my $cpu = cpu($server);
			my ($requests, $size, $time)
				= wrk($server, $connections, $seconds);
			my $n = $large ? $size / 2 ** 30 : $requests;

			push @{$rate{$server}}, $n / $time;
			push @{$cpu{$server}}, (cpu($server) - $cpu) / $n;
		}

		push @servers, shift @servers;
	}

	print "$what, $connections connections\n";

	for my $server (sort { $port{$a} <=> $port{$b} } @servers) {
		printf $large
			? "  %-9s %8.2f GiB/s   %8.3f CPU s/GiB\n"
			: "  %-9s %8.0f /s      %8.2f CPU us/request\n",
			$server, median(@{$rate{$server}}),
			median(@{$cpu{$server}}) * ($large ? 1 : 1e6);
	}

	my @others = grep { $_ ne $first } sort @servers;

	ratio('rate', $first, $_, \%rate) for @others;
	ratio('CPU', $first, $_, \%cpu) for @others;
	print "\n";
}

sub wrk {
	my ($server, $connections, $time) = @_;

	# nginx is on the other core

	local $ENV{PATHS} = "$dir/paths";
	my $out = `taskset -c 1 wrk -t1 -c$connections -d${time}s --timeout 30s \\
		-H 'Accept: $Images::ACCEPT' -s $FindBin::Bin/report.lua \\
		http://127.0.0.1:$port{$server} 2>&1`;

	my ($requests, $size, $us, $errors)
		= $out =~ /^result (\d+) (\d+) (\d+) (\d+)$/m or die "wrk: $out\n";

	print "  $server: $errors errors\n" if $errors;

	return ($requests, $size, $us / 1e6);
}

sub ratio {
	my ($what, $one, $two, $values) = @_;
	my @ratios = map { $values->{$one}[$_] / ($values->{$two}[$_] || 1e-9) }
		0 .. $#{$values->{$one}};

	printf "  %-4s %s / %-9s %8.2f  [%.2f .. %.2f]\n", $what, $one, $two,
		median(@ratios), (sort { $a <=> $b } @ratios)[0, -1];
}

sub median {
	my @sorted = sort { $a <=> $b } @_;
	return ($sorted[$#sorted / 2] + $sorted[@sorted / 2]) / 2;
}

# a line of a table: the median of some values, the smallest and the largest

sub spread {
	my ($what, $unit, @values) = @_;

	printf "  %-28s %9.2f %s  [%.2f .. %.2f]\n", $what, median(@values),
		$unit, (sort { $a <=> $b } @values)[0, -1];
}

###############################################################################

# of a server, or of a process

sub cpu {
	my ($server) = @_;
	my $pid = $pid{$server} // $server;
	my @stat = split / /, read_file("/proc/$pid/stat") =~ s/.*\) //sr;

	return ($stat[11] + $stat[12]) / $ticks;
}

sub pss {
	my ($server) = @_;
	my $pid = $pid{$server} // $server;
	my ($kb) = read_file("/proc/$pid/smaps_rollup") =~ /^Pss:\s+(\d+)/m;

	return $kb / 1024;
}

sub status {
	my ($server, $name) = @_;
	my ($kb) = read_file("/proc/$pid{$server}/status") =~ /^$name:\s+(\d+)/m;

	return $kb / 1024;
}

###############################################################################

sub bytes {
	my ($n) = @_;

	open(my $fh, '<:raw', '/dev/urandom') or die "urandom: $!\n";
	my $bytes = '';
	while (length $bytes < $n) {
		sysread($fh, $bytes, $n - length $bytes, length $bytes);
	}

	return $bytes;
}

sub static {
	my ($path, $content) = @_;

	make_path("$dir/static" . ($path =~ s![^/]+$!!r));
	write_file("$dir/static$path", $content);
}

sub write_file {
	my ($file, $content) = @_;

	open(my $fh, '>:raw', $file) or die "$file: $!\n";
	print $fh $content;
	close $fh or die "$file: $!\n";
}

sub read_file {
	my ($file) = @_;

	open(my $fh, '<', $file) or die "$file: $!\n";
	local $/;

	return scalar <$fh>;
}

###############################################################################

1;

###############################################################################
