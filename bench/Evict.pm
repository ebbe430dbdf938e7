package Evict;

# The limit of a cache: how far it is crossed while far more than it holds is
# pulled, beside proxy_cache of nginx with the same limit, and how soon a cache
# with many files in it serves after a start.

###############################################################################

use warnings;
use strict;

use Digest::SHA;
use File::Path qw/ make_path /;
use IO::Socket::INET;
use List::Util qw/ max /;
use POSIX qw/ :sys_wait_h /;
use Time::HiRes qw/ sleep time /;

use Bench;
use Pull;

###############################################################################

my $gib = $ENV{GIB} || 20;
my $files = $ENV{FILES} || 200_000;

my $SIZE = 8 * 1024 * 1024;
my $CLIENTS = 8;
my $PORT = 18250;

# Blobs are the same bytes with a number behind them, so that an origin of any
# number of them keeps one.

my ($common, %number, @digests, $origin);

END {
	local $?;
	origin_stop();
}

sub blobs {
	my ($n) = @_;

	$common = bytes($SIZE - 16);

	my $sha = Digest::SHA->new(256)->add($common);

	@digests = map { 'sha256:' . $sha->clone()->add(sprintf '%016d', $_)
		->hexdigest() } 0 .. $n - 1;
	%number = map { $digests[$_] => $_ } 0 .. $n - 1;
}

sub origin_start {
	my $listen = IO::Socket::INET->new(LocalAddr => "127.0.0.1:$PORT",
		Listen => 128, ReuseAddr => 1) or die "port $PORT: $!\n";

	$origin = fork() // die "fork: $!\n";
	return if $origin;

	$SIG{INT} = $SIG{TERM} = 'DEFAULT';
	$SIG{CHLD} = 'IGNORE';

	while (1) {
		my $s = $listen->accept() or next;
		next if fork();
		origin_serve($s);
		POSIX::_exit(0);
	}
}

sub origin_serve {
	my ($s) = @_;

	while (defined(my $line = <$s>)) {
		while (defined(my $header = <$s>)) {
			last if $header !~ /\S/;
		}

		my ($digest) = $line =~ /(sha256:[0-9a-f]{64})/ or return;
		my $n = $number{$digest} // return;

		print $s "HTTP/1.1 200 OK\r\nContent-Length: $SIZE\r\n\r\n",
			$common, sprintf '%016d', $n or return;
		$s->flush();
	}
}

sub origin_stop {
	$origin or return;

	kill 'TERM', $origin;
	waitpid($origin, 0);
	$origin = undef;
}

###############################################################################

sub evict {
	my $n = $gib * 2 ** 30 / $SIZE;

	blobs($n);
	origin_start();

	add_nginx('evict', 18251, evict_remote(18251, 'evict', '1g'), 2);
	add_nginx('proxy_cache', 18252, <<"EOF", 2);
    proxy_cache_path $dir/proxy_cache keys_zone=blobs:1m max_size=1g;

    server {
        listen 127.0.0.1:18252;

        location / {
            proxy_pass http://127.0.0.1:$PORT;
            proxy_cache blobs;
            proxy_cache_valid 200 1h;
        }
    }
EOF

	printf "a cache of 1 GiB, %d GiB in blobs of %d MiB, %d clients\n",
		$gib, $SIZE / 2 ** 20, $CLIENTS;
	printf "  %-12s %8s %8s %14s %16s %8s\n", '', 'failed', 'samples',
		'most / limit', 'with unfinished', 'GiB/s';

	my ($registry, $peer) = map { evict_pull($_, $n) }
		qw/ evict proxy_cache /;

	printf "  most of the registry / of proxy_cache %8.2f\n\n",
		$registry / $peer;

	origin_stop();
}

sub evict_remote {
	my ($port, $cache, $size) = @_;

	return <<"EOF";
    registry_cache edge { path $dir/$cache;  max_size $size; }

    registry_remote docker.io {
        url    http://127.0.0.1:$PORT;
        cache  edge;
    }

    server {
        listen 127.0.0.1:$port;
        registry_namespace docker.io;

        location /v2/ {
            registry_proxy all;
        }
    }
EOF
}

sub evict_pull {
	my ($server, $n) = @_;
	my ($most, $all, $samples, $failed) = (0, 0, 0, 0);

	fresh($server);

	my $start = time();
	my %client = map { evict_client($server, $_, $n) => 1 }
		0 .. $CLIENTS - 1;

	while (%client) {
		my ($finished, $unfinished) = evict_used($server);

		$most = max($most, $finished);
		$all = max($all, $finished + $unfinished);
		$samples++;

		while ((my $pid = waitpid(-1, WNOHANG)) > 0) {
			$failed++ if delete $client{$pid} && $?;
		}

		sleep(0.1);
	}

	my $took = time() - $start;

	stop($server);

	printf "  %-12s %8d %8d %14.4f %16.4f %8.2f\n", $server, $failed,
		$samples, $most / 2 ** 30, $all / 2 ** 30, $gib / $took;

	return $most;
}

# each blob is asked for by one of the clients

sub evict_client {
	my ($server, $first, $n) = @_;

	my $pid = fork() // die "fork: $!\n";
	return $pid if $pid;

	my $done = eval {
		my $s = Pull::connection($port{$server});

		for (my $i = $first; $i < $n; $i += $CLIENTS) {
			Pull::get($s, "/v2/bench/evict/blobs/$digests[$i]");
		}

		1;
	};

	print "  $server: $@" if !$done;
	STDOUT->flush();

	POSIX::_exit($done ? 0 : 1);
}

# Bytes of files, and of those that are not finished.  What comes and goes
# while this looks may be counted too, so it looks at nothing else.

sub evict_used {
	my ($server) = @_;
	my ($finished, $unfinished) = (0, 0);

	my @files = $server eq 'evict'
		? glob("$dir/evict/docker/registry/v2/{blobs/sha256/*/*/data,{repositories,blobs}/_tmp/*}")
		: glob("$dir/$server/*");

	for my $file (@files) {
		my $size = -s $file // next;

		if ($file =~ m!/_tmp/|\.\d{10}$!) {
			$unfinished += $size;

		} else {
			$finished += $size;
		}
	}

	return ($finished, $unfinished);
}

###############################################################################

# A start with many files in the cache: until a blob that is in it, and then
# one that is not, have been answered, the start of nginx included.

sub restart {
	my (%time, $cold);

	blobs($rounds + 1);
	origin_start();
	restart_fill();

	add_nginx('restart', 18253, evict_remote(18253, 'restart', '100g'));

	start('restart');
	restart_get(0);
	stop('restart');

	for my $round (1 .. $rounds) {
		system('sync');
		$cold = eval {
			write_file('/proc/sys/vm/drop_caches', "3\n");
			1;
		};

		my $start = time();

		start('restart');

		for my $n (0, $round) {
			restart_get($n);
			push @{$time{$n ? 'cold' : 'warm'}}, (time() - $start) * 1000;
		}

		stop('restart');
	}

	printf "a start with %d blobs in the cache, %s of them in memory\n",
		$files, $cold ? 'none' : 'some';
	spread('a blob that is there', 'ms', @{$time{warm}});
	spread('then one that is not', 'ms', @{$time{cold}});
	print "\n";

	origin_stop();
}

sub restart_get {
	my ($n) = @_;

	Pull::get(Pull::connection($port{restart}),
		"/v2/bench/restart/blobs/$digests[$n]");
}

# nobody asks for these

sub restart_fill {
	my $blobs = "$dir/restart/docker/registry/v2/blobs/sha256";

	for my $n (1 .. $files) {
		my $hex = Digest::SHA::sha256_hex($n);
		my $path = "$blobs/" . substr($hex, 0, 2) . "/$hex";

		make_path($path);
		write_file("$path/data", $n);
	}
}

###############################################################################

1;

###############################################################################
