package Hosted;

# The registry's own content, beside static files of the same nginx, and
# docker-registry.

###############################################################################

use warnings;
use strict;

use File::Path qw/ remove_tree /;
use IO::Select;
use IO::Socket::INET;
use Time::HiRes qw/ time /;

use Bench;
use Images;

###############################################################################

my %client;

# starts the servers, once

sub servers {
	return if %client;

	configure();
	start($_) for qw/ registry static docker /;

	%client = map { $_ => Images->new($port{$_}, timeout => 600) }
		qw/ registry docker /;
}

sub configure {
	my $files = 'open_file_cache max=10000 inactive=1h;';

	add_nginx('registry', 18201, <<"EOF");
    $files
    registry_store local { path $dir/registry; }

    server {
        listen 127.0.0.1:18201;

        location /v2/ {
            registry local;
            registry_push on;
        }
    }
EOF

	add_nginx('static', 18202, <<"EOF");
    $files

    server {
        listen 127.0.0.1:18202;
        root $dir/static;
    }
EOF

	add_server('docker', 18203, 'docker-registry', 'serve',
		"$dir/docker.yml");

	write_file("$dir/docker.yml", <<"EOF");
version: 0.1
log:
  level: error
  accesslog:
    disabled: true
storage:
  filesystem:
    rootdirectory: $dir/docker
  cache:
    blobdescriptor: inmemory
http:
  addr: 127.0.0.1:18203
EOF
}

###############################################################################

# an image whose manifest has about 2 KiB

sub manifests {
	my @layers = map { Images::blob(bytes(1000)) } 1 .. 12;
	my $image = Images::image(\@layers);

	servers();

	for my $name (qw/ registry docker /) {
		my $wrong = $client{$name}->push_image('bench/image', 'latest',
			$image);
		die "push to $name: $wrong\n" if $wrong;
	}

	for my $reference ('latest', $image->{digest}) {
		my $path = "/v2/bench/image/manifests/$reference";

		static($path, $image->{content});
		compare('manifest by ' . ($reference eq 'latest' ? 'tag' : 'digest')
			. ', ' . length($image->{content}) . ' bytes',
			32, [ $path ], qw/ registry static docker /);
	}
}

sub blobs {
	my @paths;

	servers();

	for (1 .. 64) {
		my $blob = Images::blob(bytes(4096));
		push @paths, "/v2/bench/blobs/blobs/$blob->{digest}";

		for my $name (qw/ registry docker /) {
			my $wrong = $client{$name}->push_blob('bench/blobs', $blob);
			die "push to $name: $wrong\n" if $wrong;
		}

		static($paths[-1], $blob->{content});
	}

	compare('64 blobs, 4 KiB', 32, \@paths, qw/ registry static docker /);
}

sub large {
	my @paths;

	servers();

	for (1 .. 2) {
		my $blob = Images::blob(bytes(100 * 1024 * 1024));
		push @paths, "/v2/bench/large/blobs/$blob->{digest}";

		for my $name (qw/ registry docker /) {
			my $wrong = $client{$name}->push_blob('bench/large', $blob);
			die "push to $name: $wrong\n" if $wrong;
		}

		static($paths[-1], $blob->{content});
	}

	compare('2 blobs, 100 MiB', 8, \@paths, qw/ registry static docker /);
}

###############################################################################

# One blob of 1 GiB as dockerd sends it (PATCH) and as containerd does (PUT),
# beside what must be done in any case: hash it, and get it to the disk.

sub push_large {
	my $file = "$dir/large";
	my (%time, @base);

	servers();

	system('dd', 'if=/dev/urandom', "of=$file", 'bs=1M', 'count=1024',
		'status=none') == 0 or die "dd: $?\n";

	my ($digest) = `sha256sum $file` =~ /^(\w+)/;

	for (1 .. $rounds) {
		push @{$time{sha256sum}}, timed(sub { `sha256sum $file` });
		push @{$time{'dd conv=fsync'}}, timed(sub {
			system('dd', "if=$file", "of=$dir/copy", 'bs=1M',
				'conv=fsync', 'status=none') == 0 or die "dd: $?\n";
		});
		unlink "$dir/copy";

		for my $server (qw/ registry docker /) {
			for my $how (qw/ PATCH PUT /) {
				push @{$time{"$server $how"}}, timed(sub {
					upload($server, $how, $file, "sha256:$digest");
				});

				for my $name (qw/ blobs repositories /) {
					remove_tree("$dir/$server/docker/registry/v2/$name");
				}
			}
		}

		push @{$time{base}}, $time{sha256sum}[-1] > $time{'dd conv=fsync'}[-1]
			? $time{sha256sum}[-1] : $time{'dd conv=fsync'}[-1];
	}

	print "push of a blob, 1 GiB\n";
	printf "  %-14s %8.2f s  [%.2f .. %.2f]\n", $_, median(@{$time{$_}}),
		(sort { $a <=> $b } @{$time{$_}})[0, -1]
		for 'sha256sum', 'dd conv=fsync', 'registry PATCH', 'registry PUT',
			'docker PATCH', 'docker PUT';

	for my $how (qw/ PATCH PUT /) {
		ratio('time', "registry $how", 'base', \%time);
		ratio('time', "registry $how", "docker $how", \%time);
	}

	print "  (base: the longer of sha256sum and dd)\n\n";
	unlink $file;
}

sub timed {
	my ($code) = @_;

	system('sync');
	my $start = time();
	$code->();

	return time() - $start;
}

sub upload {
	my ($server, $how, $file, $digest) = @_;
	my $client = $client{$server};

	my $uri = location($client->request('POST', '/v2/bench/push/blobs/uploads/',
		''), 202);

	if ($how eq 'PUT') {
		location(send_file($server, 'PUT', with_digest($uri, $digest), $file,
			'Content-Length: ' . -s $file), 201);
		return;
	}

	$uri = location(send_file($server, 'PATCH', $uri, $file,
		'Transfer-Encoding: chunked'), 202);
	location($client->request('PUT', with_digest($uri, $digest), ''), 201);
}

# as HTTP::Tiny would, but with little work of our own

sub send_file {
	my ($server, $method, $uri, $file, $framing) = @_;
	my $chunked = $framing =~ /chunked/;
	my $s = connection($server);

	$uri =~ s!^http://[^/]+!!;
	$s->blocking(1);

	open(my $fh, '<:raw', $file) or die "$file: $!\n";
	my $out = "$method $uri HTTP/1.1\r\nHost: 127.0.0.1:$port{$server}\r\n"
		. "Content-Type: application/octet-stream\r\n$framing\r\n\r\n";

	do {
		for (my $n = 0; $n < length $out;) {
			$n += syswrite($s, $out, length($out) - $n, $n)
				// die "$server: $method: $!\n";
		}

		my $n = sysread($fh, $out, 262144) // die "$file: $!\n";
		$out = sprintf("%x\r\n", $n) . $out . "\r\n" if $n && $chunked;

	} while (length $out);

	syswrite($s, "0\r\n\r\n") if $chunked;
	sysread($s, my $answer, 65536);

	my ($status) = $answer =~ m!^HTTP/1.1 (\d+)! or die "$server: no answer\n";
	my ($location) = $answer =~ /^Location: (\S+)/mi;

	return { status => $status, content => $answer,
		headers => { location => $location } };
}

sub location {
	my ($answer, $status) = @_;
	die "status $answer->{status}: $answer->{content}\n"
		if $answer->{status} != $status;
	return $answer->{headers}{location};
}

sub with_digest {
	my ($uri, $digest) = @_;
	return $uri . ($uri =~ /\?/ ? '&' : '?') . "digest=$digest";
}

###############################################################################

# 200 uploads and 500 downloads at the same time, all of them in the middle:
# what the process that serves them needs at most.

sub memory {
	my $blob = Images::blob(bytes(32 * 1024 * 1024));
	my ($uploads, $downloads) = (200, 500);

	servers();

	print "memory, $uploads uploads and $downloads downloads at once\n";

	for my $server (qw/ registry docker /) {
		stop($server);
		start($server);

		my $wrong = $client{$server}->push_blob('bench/memory', $blob);
		die "push to $server: $wrong\n" if $wrong;

		my $before = pss($server);
		my $peak = load($server, $blob, $uploads, $downloads);

		printf "  %-9s %8.1f MiB before, %8.1f MiB at most (PSS), "
			. "%8.1f MiB (VmHWM)\n", $server, $before, $peak,
			status($server, 'VmHWM');
	}

	print "\n";
}

# One process, all the sockets.  Every upload sends a piece of its blob before
# any sends the next one, and every download reads one.

sub load {
	my ($server, $blob, $uploads, $downloads) = @_;
	my $size = 8 * 1024 * 1024;
	my $piece = 'x' x 65536;
	my $read = IO::Select->new();
	my (@up, $buf);
	my $peak = 0;

	for (1 .. $uploads) {
		my $uri = location($client{$server}->request('POST',
			'/v2/bench/memory/blobs/uploads/', ''), 202);
		my $s = connection($server);

		syswrite($s, 'PATCH ' . ($uri =~ s!^http://[^/]+!!r)
			. " HTTP/1.1\r\nHost: 127.0.0.1\r\n"
			. "Content-Type: application/octet-stream\r\n"
			. "Content-Length: $size\r\n\r\n");
		push @up, [ $s, $size ];
	}

	for (1 .. $downloads) {
		my $s = connection($server);

		syswrite($s, "GET /v2/bench/memory/blobs/$blob->{digest} HTTP/1.1\r\n"
			. "Host: 127.0.0.1\r\n\r\n");
		$read->add($s);
	}

	while (grep { $_->[1] > 0 } @up) {
		for my $up (grep { $_->[1] > 0 } @up) {
			my $n = syswrite($up->[0], $piece,
				$up->[1] < 65536 ? $up->[1] : 65536);
			$up->[1] -= $n if $n;
		}

		sysread($_, $buf, 65536) for $read->can_read(0);

		my $now = pss($server);
		$peak = $now if $now > $peak;
	}

	my $answered = 0;

	for my $up (@up) {
		$up->[0]->blocking(1);
		sysread($up->[0], $buf, 4096);
		$answered++ if $buf =~ m!^HTTP/1.1 202 !;
	}

	print "  $server: only $answered uploads answered 202\n"
		if $answered != $uploads;

	return $peak;
}

sub connection {
	my ($server) = @_;

	my $s = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port{$server}")
		or die "connect to $server: $!\n";
	$s->blocking(0);

	return $s;
}

###############################################################################

1;

###############################################################################
