package Clients;

# What the tests with real programs share: looking for the programs, running
# them to their end or as daemons, a registry for them, a root file system to
# make images of, and the requests that reached nginx.

###############################################################################

use warnings;
use strict;

use base qw/ Exporter /;

our @EXPORT = qw/ need run runs fails daemon wait_for registry dockerd
	containerd podman home rootfs random_file oci_layout sha256_of slurp
	requests mounts_in /;

use Digest::SHA;
use File::Path qw/ make_path /;
use JSON::PP;
use POSIX qw//;
use Test::More qw//;

###############################################################################

# Debian's programs, whatever else is installed

our $PATH = $ENV{PATH};
$ENV{PATH} = '/usr/sbin:/usr/bin:/sbin:/bin';

# nothing of the user's own configuration, and no way out of this machine

delete @ENV{qw/ HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY http_proxy
	https_proxy all_proxy no_proxy XDG_CONFIG_HOME XDG_DATA_HOME
	DOCKER_HOST CONTAINER_HOST REGISTRY_AUTH_FILE /};

our $TIMEOUT = 120;

# plan a skip unless we are root and the programs are there

sub need {
	my @missing = grep { my $p = $_;
		!grep { -x "$_/$p" } split(/:/, $ENV{PATH}) } @_;

	Test::More::plan(skip_all => "no @missing here") if @missing;
	Test::More::plan(skip_all => 'must be root') if $> != 0;
}

# run a program to its end; its exit status and all it printed

sub run {
	my @cmd = @_;
	my $out = '';

	my $pid = open(my $fh, '-|');
	die "Can't fork: $!\n" unless defined $pid;

	if ($pid == 0) {
		setpgrp(0, 0);
		open(STDIN, '<', '/dev/null');
		open(STDERR, '>&', \*STDOUT);
		exec { $cmd[0] } @cmd
			or do { print "can't run $cmd[0]: $!\n"; POSIX::_exit(127) };
	}

	eval {
		local $SIG{ALRM} = sub { die "timeout\n" };
		alarm($TIMEOUT);
		while (sysread($fh, $out, 65536, length $out)) { }
		alarm(0);
	};

	if ($@) {
		kill 'KILL', -$pid;
		$out .= "\n(killed after $TIMEOUT seconds)\n";
	}

	close $fh;

	return ($?, $out);
}

# test that a program succeeds, or that it fails; what it printed must match

sub runs {
	my ($cmd, $name, $re) = @_;
	my ($status, $out) = run(@$cmd);

	Test::More::ok($status == 0 && (!defined $re || $out =~ $re), $name)
		or explain_run($cmd, $status, $out, $re);

	return $out;
}

sub fails {
	my ($cmd, $name, $re) = @_;
	my ($status, $out) = run(@$cmd);

	Test::More::ok($status != 0 && (!defined $re || $out =~ $re), $name)
		or explain_run($cmd, $status, $out, $re);

	return $out;
}

sub explain_run {
	my ($cmd, $status, $out, $re) = @_;

	Test::More::diag("command: @$cmd\nstatus: $status\n"
		. (defined $re ? "wanted: $re\n" : '') . "output:\n$out");
}

# a daemon with its output in NAME.log, stopped with the test's other daemons

sub daemon {
	my ($t, $name, @cmd) = @_;
	my $log = $t->testdir() . "/$name.log";

	$t->run_daemon('/bin/sh', '-c', "exec \"\$@\" >$log 2>&1", 'sh', @cmd);

	return $log;
}

sub wait_for {
	my ($check, $seconds) = @_;

	for (1 .. 10 * ($seconds || 30)) {
		return 1 if $check->();
		select undef, undef, undef, 0.1;
	}

	return 0;
}

# A registry: on 8080 everybody may push and delete, and "apart" is another
# location; on 8081 nobody without the password of "user"; on 8082 nobody may
# push.  What reached it is what requests() tells.

sub registry {
	my ($t) = @_;

	$t->write_file('users', "user:{PLAIN}secret\n");
	$t->write_file_expand('nginx.conf', <<'EOF')->run();

%%TEST_GLOBALS%%

daemon off;
user root;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format requests '$status $request_method $request_uri';
    access_log %%TESTDIR%%/requests.log requests;

    registry_store local { path %%TESTDIR%%/registry; }

    server {
        listen       127.0.0.1:8080;
        server_name  localhost;

        location /v2/ {
            registry local;
            registry_push on;
            registry_delete on;
        }

        location /v2/apart/ {
            registry local;
            registry_push on;
        }
    }

    server {
        listen       127.0.0.1:8081;
        server_name  localhost;

        auth_basic            "registry";
        auth_basic_user_file  %%TESTDIR%%/users;

        location /v2/ {
            registry local;
            registry_push on;
        }
    }

    server {
        listen       127.0.0.1:8082;
        server_name  localhost;

        location /v2/ {
            registry local;
        }
    }
}

EOF
}

# A dockerd with a file of configuration, and everything else of it in the
# test's directory; returns the command that talks to it.

sub dockerd {
	my ($t, $config) = @_;
	my $dir = $t->testdir();
	my @docker = ('docker', '-H', "unix://$dir/docker.sock");

	# where podman looks for it, too

	@ENV{qw/ HOME DOCKER_CONFIG /} = ($dir, "$dir/docker-config");
	make_path("$dir/docker-config");
	spew("$dir/docker-config/config.json", '{}');

	my $log = daemon($t, 'dockerd', 'dockerd', '-H',
		"unix://$dir/docker.sock", '--config-file', $config,
		'--data-root', "$dir/docker-data",
		'--exec-root', "$dir/docker-exec",
		'--pidfile', "$dir/docker.pid",
		'--bridge=none', '--iptables=false', '--ip6tables=false');

	wait_for(sub { (run(@docker, 'info'))[0] == 0 })
		or die "dockerd does not start:\n" . slurp($log);

	return @docker;
}

# the same of containerd, which without a file does without the interface that
# Kubernetes uses

sub containerd {
	my ($t, $config) = @_;
	my $dir = $t->testdir();
	my @ctr = ('ctr', '-a', "$dir/containerd.sock");
	my $imports = defined $config ? "\"$config\"" : '';
	my $disabled = defined $config ? '' : '"io.containerd.grpc.v1.cri", ';

	$ENV{HOME} = $dir;
	$t->write_file('containerd.toml', <<EOF);
version = 2
root = "$dir/containerd"
state = "$dir/state"
disabled_plugins = [$disabled"io.containerd.internal.v1.opt"]
imports = [$imports]
[grpc]
  address = "$dir/containerd.sock"
[ttrpc]
  address = "$dir/containerd.sock.ttrpc"
EOF

	my $log = daemon($t, 'containerd', 'containerd', '-c',
		"$dir/containerd.toml");

	wait_for(sub { (run(@ctr, 'version'))[0] == 0 })
		or die "containerd does not start:\n" . slurp($log);

	return @ctr;
}

# podman's command, which needs no daemon

sub podman {
	my ($t) = @_;
	my $dir = $t->testdir();

	home($t);

	return ('podman', '--root', "$dir/root", '--runroot', "$dir/run",
		'--tmpdir', "$dir/tmp", '--storage-driver', 'vfs',
		'--network-config-dir', "$dir/net",
		'--cgroup-manager', 'cgroupfs', '--events-backend', 'file',
		'--runtime', 'runc');
}

# of podman and buildah, which accept all images

sub home {
	my ($t) = @_;

	$ENV{HOME} = $t->testdir();
	make_path("$ENV{HOME}/.config/containers");
	spew("$ENV{HOME}/.config/containers/policy.json",
		'{"default":[{"type":"insecureAcceptAnything"}]}');
}

# a root file system of a static busybox, with a message to print

sub rootfs {
	my ($dir, $message) = @_;

	make_path("$dir/bin", "$dir/etc", "$dir/tmp");
	spew("$dir/message", "$message\n");
	system('cp', '/bin/busybox', "$dir/bin/busybox") == 0
		or die "Can't copy busybox\n";

	for my $name (qw/ sh cat echo ls true /) {
		symlink('busybox', "$dir/bin/$name")
			or die "Can't make $dir/bin/$name: $!\n";
	}

	return $dir;
}

# a file of bytes that do not compress

sub random_file {
	my ($file, $mb) = @_;

	system('dd', 'if=/dev/urandom', "of=$file", 'bs=1M', "count=$mb",
		'status=none') == 0 or die "Can't write $file\n";

	return $file;
}

# An OCI layout with a tag: an image for one architecture, or an index of
# images for several.  Layers are given as directories.  Returns the digest
# that is tagged.

sub oci_layout {
	my ($dir, $tag, %layers) = @_;
	my $oci = 'application/vnd.oci.image';
	my @images;

	make_path("$dir/blobs/sha256");

	for my $arch (sort keys %layers) {
		my (@layers, @ids);

		for my $layer (@{$layers{$arch}}) {
			my $tar = "$dir/layer.tar";

			system('tar', '-C', $layer, '-cf', $tar, '.') == 0
				&& push(@ids, 'sha256:' . sha256_of($tar))
				&& system('gzip', '-n', $tar) == 0
				or die "Can't archive $layer\n";

			push @layers, blob($dir, "$oci.layer.v1.tar+gzip",
				slurp("$tar.gz"));
			unlink "$tar.gz";
		}

		my $config = blob($dir, "$oci.config.v1+json", {
			architecture => $arch, os => 'linux',
			config => { Cmd => ['/bin/cat', '/message'] },
			rootfs => { type => 'layers', diff_ids => \@ids }
		});

		push @images, blob($dir, "$oci.manifest.v1+json", {
			schemaVersion => 2,
			mediaType => "$oci.manifest.v1+json",
			config => $config, layers => \@layers
		});

		$images[-1]{platform} = { architecture => $arch, os => 'linux' };
	}

	my $tagged = @images == 1 ? $images[0]
		: blob($dir, "$oci.index.v1+json", {
			schemaVersion => 2,
			mediaType => "$oci.index.v1+json",
			manifests => \@images
		});

	$tagged->{annotations} = { 'org.opencontainers.image.ref.name' => $tag };

	spew("$dir/oci-layout", '{"imageLayoutVersion":"1.0.0"}');
	spew("$dir/index.json", encode_json({ schemaVersion => 2,
		manifests => [ $tagged ] }));

	return $tagged->{digest};
}

# the descriptor of a blob that is put into a layout

sub blob {
	my ($dir, $type, $content) = @_;

	$content = JSON::PP->new->canonical->pretty->encode($content)
		if ref $content;

	my $hex = Digest::SHA::sha256_hex($content);

	spew("$dir/blobs/sha256/$hex", $content);

	return { mediaType => $type, digest => "sha256:$hex",
		size => length($content) + 0 };
}

sub sha256_of {
	my ($file) = @_;
	return Digest::SHA->new(256)->addfile($file, 'b')->hexdigest();
}

sub slurp {
	my ($file) = @_;

	open(my $fh, '<:raw', $file) or return '';
	local $/;
	my $content = <$fh>;

	return defined $content ? $content : '';
}

sub spew {
	my ($file, $content) = @_;

	open(my $fh, '>:raw', $file) or die "Can't write $file: $!\n";
	print $fh $content;
	close $fh or die "Can't write $file: $!\n";
}

# "STATUS METHOD URI" of the requests since the last call, from a log written
# with log_format requests '$status $request_method $request_uri', without the
# attempts at TLS that clients make first

my %seen;

sub requests {
	my ($t, $name) = @_;
	my $file = $t->testdir() . '/' . ($name || 'requests.log');
	my $all = '';

	# a client may be gone before nginx has logged

	for (1 .. 20) {
		my $len = length $all;
		$all = slurp($file);
		last if $len && length $all == $len;
		select undef, undef, undef, 0.1;
	}

	my @lines = grep { !/^400 - / } split /\n/,
		substr($all, $seen{$file} || 0);
	$seen{$file} = length $all;

	return @lines;
}

# mount points below a directory

sub mounts_in {
	my ($dir) = @_;
	return grep { index($_, "$dir/") == 0 }
		map { (split / /)[4] } split /\n/, slurp('/proc/self/mountinfo');
}

1;

###############################################################################
