package Machine;

# A machine of the test's own: namespaces in which the network is a loopback
# interface with whatever addresses, /etc and the other places of
# configuration are copies, and names mean what the test says.  So a test runs
# with files as they stand in the documentation, on the ports that are theirs,
# and nothing of it reaches the machine it is on.

###############################################################################

use warnings;
use strict;

use base qw/ Exporter /;

our @EXPORT = qw/ machine address hosts wire trust put_file /;

use File::Path qw/ make_path /;
use FindBin;

use Test::Nginx::Secrets ();

###############################################################################

# the test is executed anew, in namespaces that end with it

sub machine {
	if (!$ENV{TEST_MACHINE}) {
		$ENV{TEST_MACHINE} = $$;
		exec('unshare', '--net', '--mount', '--propagation', 'private',
			$^X, "$FindBin::Bin/$FindBin::Script")
			or die "unshare: $!\n";
	}

	die "no namespaces of its own\n" if $ENV{TEST_MACHINE} != $$;

	command(qw/ ip link set lo up /);

	# over what was there, with a copy of it where that matters

	for my $dir (qw! /etc /var/cache /var/log !) {
		my $copy = $dir eq '/etc';
		my $new = $copy ? '/mnt' : $dir;

		command(qw/ mount -t tmpfs -o mode=755 tmpfs /, $new);
		command(qw! cp -a /etc/. /mnt !) if $copy;
		command(qw! mount --move !, $new, $dir) if $copy;
	}

	put_file('/etc/resolv.conf', "nameserver 127.0.0.1\n");
	hosts();
}

sub command {
	system(@_) == 0 or die "@_: failed with $?\n";
}

# an address of this machine, as a server elsewhere would have

sub address {
	my ($address) = @_;

	command(qw/ ip addr add /, "$address/32", qw/ dev lo /);

	return $address;
}

# names that are known to all programs here, and no others

sub hosts {
	my %addresses = @_;

	put_file('/etc/hosts', join('', "127.0.0.1 localhost\n",
		map { "$addresses{$_} $_\n" } sort keys %addresses));
}

# A second machine, at the other end of a wire and with no way on from there:
# it reaches what listens at our end, and knows these names and no others.
# Returns what a command begins with that is to run there.

sub wire {
	my ($t, $ours, $its, %addresses) = @_;
	my $dir = $t->testdir();

	$t->write_file('wire-hosts', join('', "127.0.0.1 localhost\n",
		map { "$addresses{$_} $_\n" } sort keys %addresses));
	$t->write_file('wire-resolv.conf', '');

	$t->run_daemon(qw/ unshare --net --mount sh -c /, <<"EOF");
mount --bind $dir/wire-hosts /etc/hosts &&
mount --bind $dir/wire-resolv.conf /etc/resolv.conf &&
echo \$\$ >$dir/wire-pid && exec sleep infinity
EOF

	$t->waitforfile("$dir/wire-pid") or die "no second machine\n";
	chomp(my $pid = $t->read_file('wire-pid'));

	my @there = ('nsenter', '--target', $pid, '--net', '--mount');

	command(qw/ ip link add wire type veth peer name wire netns /, $pid);
	command(qw/ ip addr add /, "$ours/30", qw/ dev wire /);
	command(qw/ ip link set wire up /);
	command(@there, qw/ ip addr add /, "$its/30", qw/ dev wire /);
	command(@there, qw/ ip link set /, $_, 'up') for qw/ lo wire /;

	return @there;
}

# an authority that every program here believes, for those who look into the
# bundle and those who look into the directory

sub trust {
	my ($file) = @_;
	my $certificate = read_file($file);
	my $bundle = '/etc/ssl/certs/ca-certificates.crt';
	my ($hash) = `openssl x509 -noout -hash -in $file` =~ /^(\w+)$/
		or die "no certificate: $file\n";

	put_file($bundle, read_file($bundle) . $certificate);
	put_file("/etc/ssl/certs/$hash.0", $certificate);
}

sub read_file {
	my ($path) = @_;

	open(my $fh, '<', $path) or die "Can't read $path: $!\n";
	local $/;

	return scalar <$fh>;
}

# a file of this machine, with this content

sub put_file {
	my ($path, $content) = @_;

	Test::Nginx::Secrets::written($path, $content);

	make_path($path =~ s!/[^/]*$!!r);
	unlink $path if -l $path;

	open(my $fh, '>', $path) or die "Can't write $path: $!\n";
	print $fh $content;
	close $fh or die "Can't write $path: $!\n";
}

###############################################################################

1;

###############################################################################
