package Remote;

# The content of a remote: an origin of the tests, which counts what it sends
# and does not send faster than it is told.

###############################################################################

use warnings;
use strict;

use List::Util qw/ max min /;
use POSIX ();
use Time::HiRes qw/ sleep time /;

use Bench;
use Images;
use Pull;
use Test::Nginx::Origin;

###############################################################################

my $count = $ENV{COUNT} || 200;

sub origin {
	return Test::Nginx::Origin->new('Bench', port => 18210, @_);
}

# A remote with its cache, in a server of its own.  What is in it has the same
# names as at the origin.

sub remote {
	my ($server, $origin, $cache) = @_;

	return <<"EOF";
    registry_cache edge { path $dir/$cache;  max_size 100g; }

    registry_remote docker.io {
        url    @{[ $origin->url() ]};
        cache  edge;
        valid  1h;
    }

    server {
        listen 127.0.0.1:$server reuseport;
        registry_namespace docker.io;

        location /v2/ {
            registry_proxy all;
        }
    }
EOF
}

###############################################################################

# One large blob that many want at once, from an origin that is slow: what the
# origin sends, how long after the first client the others have their first
# byte, and when the last one has its last, beside one client at the origin.
# Who takes ten times as long as that is measured once.

my @COLD = (
	[ cold => 'registry' ],
	[ lock => 'proxy_cache_lock, 1 h' ],
	[ short_lock => 'proxy_cache_lock, 5 s' ],
	[ mirror => 'docker-registry, proxy' ],
);

sub cold {
	my $size = ($ENV{SIZE} || 200) * 1024 * 1024;
	my $rate = ($ENV{RATE} || 20) * 1e6;
	my $clients = $ENV{CLIENTS} || 50;

	my $origin = origin();
	my $blob = $origin->blob('bench/cold', Images::blob(bytes($size)));
	my $path = "/v2/bench/cold/blobs/$blob->{digest}";
	my (%table, %slow);

	delete $blob->{content};
	cold_servers($origin);
	$origin->set(rate => $rate);

	for my $round (1 .. $rounds) {
		my $alone = Pull::pull($origin->port(), $path, 1)->{end}[0];

		push @{$table{origin}{end}}, $alone;

		for my $server (grep { !$slow{$_} } map { $_->[0] } @COLD) {
			my %row = cold_pull($server, $origin, $path, $clients);

			$row{bytes} /= $size;
			$row{ratio} = $row{end} / $alone;
			$slow{$server} = 1 if $row{ratio} > 10;
			push @{$table{$server}{$_}}, $row{$_} for keys %row;
		}
	}

	printf "a cold blob, %d MiB at %d MB/s, %d clients, 4 workers\n",
		$size / 1048576, $rate / 1e6, $clients;
	printf "  %-24s %14s %18s %12s %10s\n", '', 'sent by origin',
		'first byte within', 'last end', '/ alone';
	printf "  %-24s %12.2f x %15s %11.2f s\n", 'one client, origin', 1, '',
		median(@{$table{origin}{end}});
	printf "  %-24s %12.2f x %15.1f ms %11.2f s %10.3f  [%.3f .. %.3f]\n",
		$_->[1], cold_row($table{$_->[0]}) for @COLD;
	print "\n";
}

sub cold_pull {
	my ($server, $origin, $path, $clients) = @_;

	fresh($server);
	system('sync');
	$origin->forget();

	my $pulled = Pull::pull($port{$server}, $path, $clients);
	my @first = @{$pulled->{first}};
	my $sent = $origin->bytes_sent(qr/blobs/);

	stop($server);

	return (bytes => $sent, end => max(@{$pulled->{end}}),
		first => (max(@first) - min(@first)) * 1000);
}

sub cold_row {
	my ($rows) = @_;

	return (map { median(@{$rows->{$_}}) } qw/ bytes first end ratio /),
		min(@{$rows->{ratio}}), max(@{$rows->{ratio}});
}

sub cold_servers {
	my ($origin) = @_;

	add_nginx('cold', 18211, remote(18211, $origin, 'cold'), 4);
	cold_lock('lock', 18212, $origin, '1h');
	cold_lock('short_lock', 18213, $origin, '5s');
	add_server('mirror', 18214, 'docker-registry', 'serve',
		"$dir/mirror.yml");

	write_file("$dir/mirror.yml", <<"EOF");
version: 0.1
log:
  level: error
  accesslog:
    disabled: true
storage:
  filesystem:
    rootdirectory: $dir/mirror
http:
  addr: 127.0.0.1:18214
proxy:
  remoteurl: @{[ $origin->url() ]}
EOF
}

sub cold_lock {
	my ($server, $port, $origin, $time) = @_;

	add_nginx($server, $port, <<"EOF", 4);
    proxy_cache_path $dir/$server keys_zone=blobs:1m max_size=100g
                     use_temp_path=off;

    server {
        listen 127.0.0.1:$port reuseport;

        location / {
            proxy_pass @{[ $origin->url() ]};
            proxy_cache blobs;
            proxy_cache_valid 200 1h;
            proxy_cache_lock on;
            proxy_cache_lock_timeout $time;
            proxy_cache_lock_age $time;
            proxy_read_timeout $time;
        }
    }
EOF
}

###############################################################################

# Many that wait: all of them want one blob, and its origin is stopped in the
# middle of it.  What each worker has more of memory then than without clients,
# and what it does while nothing comes.

sub stopped {
	my $size = 20 * 1024 * 1024;
	my $clients = $ENV{CLIENTS} || 1000;
	my $time = $ENV{STOPPED} || 60;

	my $origin = origin();
	my $blob = $origin->blob('bench/stopped', Images::blob(bytes($size)));
	my $path = "/v2/bench/stopped/blobs/$blob->{digest}";

	add_nginx('stopped', 18216, remote(18216, $origin, 'stopped'), 4);
	cold_lock('stopped_lock', 18217, $origin, '1h');
	$origin->set(rate => 2e6);

	printf "%d clients of a blob, its origin stopped for %d s, 4 workers\n",
		$clients, $time;
	printf "  %-12s %8s %16s %18s\n", '', 'failed', 'MiB a worker',
		'CPU a worker';

	my ($ours, $peer) = map {
		stopped_pull($_, $origin, $path, $clients, $time)
	} qw/ stopped stopped_lock /;

	printf "  most CPU of the registry / of proxy_cache_lock %8.2f\n\n",
		$ours / ($peer || 1e-9);
}

sub stopped_pull {
	my ($server, $origin, $path, $clients, $time) = @_;

	fresh($server);

	my @workers = workers($server, 4);
	my @memory = map { pss($_) } @workers;

	$origin->forget();

	my $client = stopped_clients($server, $path, $clients);

	sleep(0.1) while !$origin->requests(qr/blobs/);
	sleep(2);
	$origin->freeze();

	# until all of them have what there is

	sleep($time / 4);

	my @cpu = map { cpu($_) } @workers;

	sleep($time * 3 / 4);
	@cpu = map { (cpu($workers[$_]) - $cpu[$_]) / $time * 4 / 3 * 100 } 0 .. 3;
	@memory = map { pss($workers[$_]) - $memory[$_] } 0 .. 3;

	$origin->thaw();
	waitpid($client, 0);

	printf "  %-12s %8s %6.1f .. %6.1f %8.3f .. %.3f %%\n", $server,
		$? ? 'yes' : 'none', min(@memory), max(@memory), min(@cpu), max(@cpu);

	stop($server);

	return max(@cpu);
}

# a process that ends well if all of them have got all

sub stopped_clients {
	my ($server, $path, $clients) = @_;

	my $pid = fork() // die "fork: $!\n";
	return $pid if $pid;

	eval { Pull::pull($port{$server}, $path, $clients) };

	print "  $server: $@" if $@;
	STDOUT->flush();

	POSIX::_exit($@ ? 1 : 0);
}

###############################################################################

# What was pulled before, beside what was pushed here: one worker, two ports.

sub warm {
	my $origin = origin();

	add_nginx('hosted', 18221, <<"EOF" . remote(18222, $origin, 'warm'));
    registry_store local { path $dir/hosted; }

    server {
        listen 127.0.0.1:18221;

        location /v2/ {
            registry local;
            registry_push on;
        }
    }
EOF

	start('hosted');
	alias('proxied', 18222, 'hosted');

	my $image = Images::image([ map { Images::blob(bytes(1000)) } 1 .. 12 ]);

	warm_push($origin, $_) for @{$image->{blobs}};
	$origin->manifest('bench/warm', 'latest', $image);

	my $wrong = Images->new($port{hosted})->push_manifest('bench/warm',
		'latest', $image);
	die "push: $wrong\n" if $wrong;

	for my $reference ('latest', $image->{digest}) {
		warm_compare('manifest by ' . ($reference eq 'latest' ? 'tag'
			: 'digest') . ', ' . length($image->{content}) . ' bytes',
			32, "/v2/bench/warm/manifests/$reference");
	}

	for ([ 64, 4096, '4 KiB', 32 ], [ 2, 100 * 1048576, '100 MiB', 8 ]) {
		my ($n, $size, $human, $connections) = @$_;

		warm_compare("$n blobs, $human", $connections, map {
			warm_push($origin, Images::blob(bytes($size))) } 1 .. $n);
	}

	stop('hosted');
}

# the same blob on both sides, and its path

sub warm_push {
	my ($origin, $blob) = @_;

	my $wrong = Images->new($port{hosted}, timeout => 600)->push_blob(
		'bench/warm', $blob);
	die "push: $wrong\n" if $wrong;

	$origin->blob('bench/warm', $blob);

	return "/v2/bench/warm/blobs/$blob->{digest}";
}

sub warm_compare {
	my ($what, $connections, @paths) = @_;
	my $s = Pull::connection($port{proxied});

	Pull::get($s, $_) for @paths;

	compare("warm, $what", $connections, \@paths, qw/ proxied hosted /);
}

###############################################################################

# How long a manifest takes that is in memory, in the cache on the disk, in
# memcached, or only at the remote: $count of them, one after the other, in each
# place.  A restart empties the memory, and a fresh start the disk too.

sub tiers {
	my $origin = origin();
	my $memcached = 'registry_memcached 127.0.0.1:18232;';
	my %time;

	add_server('memcached', 18232, qw/ memcached -u root -l 127.0.0.1 -U 0
		-p 18232 /);
	add_nginx('tiers', 18231, remote(18231, $origin, 'tiers') . $memcached);
	add_nginx('alone', 18231, remote(18231, $origin, 'tiers'));

	start('memcached');

	for my $round (1 .. $rounds) {
		my @layers = map { Images::blob("layer $_") } 1 .. 12;
		my @paths = map { '/v2/bench/tiers/manifests/'
			. $origin->manifest('bench/tiers', undef,
				Images::image(\@layers))->{digest} } 1 .. $count;

		fresh('tiers');
		tier($origin, \%time, $count, 'remote', @paths);

		# on their way to memcached and to the disk

		sleep(1);

		fresh('tiers');
		tier($origin, \%time, 0, 'memcached', @paths);
		sleep(1);
		stop('tiers');
		start('alone');
		tier($origin, \%time, 0, 'store', @paths);
		tier($origin, \%time, 0, 'shared memory', @paths);
		stop('alone');
	}

	print "a manifest, medians of $count, one after the other\n";
	spread($_, 'ms', @{$time{$_}}) for 'shared memory', 'store', 'memcached',
		'remote';
	print "\n";

	stop('memcached');
}

sub tier {
	my ($origin, $time, $asked, $what, @paths) = @_;
	my $s = Pull::connection(18231);

	$origin->forget();
	push @{$time->{$what}}, median(map { Pull::get($s, $_) } @paths);

	my $n = $origin->requests();
	print "  $what: the remote was asked $n times\n" if $n != $asked;
}

###############################################################################

# Small blobs, each of them asked for once, through the registry and through
# proxy_pass, in turn.

sub small {
	my $origin = origin();
	my $upstream = $origin->url() =~ s!.*/!!r;
	my (%time, @difference);

	add_nginx('small', 18241, remote(18241, $origin, 'small') . <<"EOF");
    upstream origin {
        server $upstream;
        keepalive 16;
    }

    server {
        listen 127.0.0.1:18242;

        location / {
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }
    }
EOF

	start('small');

	my @how = ([ 'registry', 18241 ], [ 'proxy_pass', 18242 ],
		[ 'origin', $origin->port() ]);
	my %socket = map { $_->[0] => Pull::connection($_->[1]) } @how;

	for my $round (1 .. $rounds) {
		my %took;

		for (1 .. $count) {
			for my $how (map { $_->[0] } @how) {
				my $blob = $origin->blob('bench/small', bytes(4096));

				push @{$took{$how}}, Pull::get($socket{$how},
					"/v2/bench/small/blobs/$blob->{digest}");
			}

			push @how, shift @how;
		}

		push @{$time{$_}}, median(@{$took{$_}}) for keys %took;
		push @difference, $time{registry}[-1] - $time{proxy_pass}[-1];
	}

	print "a cold blob, 4 KiB, medians of $count, one after the other\n";
	spread($_, 'ms', @{$time{$_}}) for qw/ registry proxy_pass origin /;
	spread('registry - proxy_pass', 'ms', @difference);
	print "\n";

	stop('small');
}

###############################################################################

1;

###############################################################################
