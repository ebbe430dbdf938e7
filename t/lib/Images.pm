package Images;

# A registry client of our own, for what no real one does: many pushes at
# once, pushes that are broken off and go on, and looking at every byte of
# what a registry has.

###############################################################################

use warnings;
use strict;

use Digest::SHA qw/ sha256_hex sha512_hex /;
use HTTP::Tiny;
use JSON::PP;

use Test::Nginx::Secrets ();

###############################################################################

my $OCI = 'application/vnd.oci.image';

our $ACCEPT = join ', ', "$OCI.index.v1+json", "$OCI.manifest.v1+json",
	map { "application/vnd.docker.distribution.manifest$_.v2+json" }
		'', '.list';

# of a port, or at a URL

sub new {
	my ($class, $where, %options) = @_;

	return bless {
		base => $where =~ /:/ ? $where : "http://127.0.0.1:$where",
		http => HTTP::Tiny->new(max_redirect => 0, timeout => 60, %options),
	}, $class;
}

# an answer as HTTP::Tiny gives it; status 599 if there was none

sub request {
	my ($self, $method, $uri, $content, %headers) = @_;

	$uri = $self->{base} . $uri if $uri =~ m!^/!;
	Test::Nginx::Secrets::authorization($headers{Authorization});
	$headers{'Content-Type'} ||= 'application/octet-stream'
		if defined $content;

	return $self->{http}->request($method, $uri, { headers => \%headers,
		defined $content ? (content => $content) : () });
}

###############################################################################

# A blob of any bytes, or of what JSON says

sub blob {
	my ($content, $type, $algorithm) = @_;

	$content = JSON::PP->new->canonical->encode($content) if ref $content;

	return { content => $content, type => $type || "$OCI.layer.v1.tar",
		digest => ($algorithm || '') eq 'sha512'
			? 'sha512:' . sha512_hex($content)
			: 'sha256:' . sha256_hex($content) };
}

sub descriptor {
	my ($blob) = @_;

	return { mediaType => $blob->{type}, digest => $blob->{digest},
		size => length($blob->{content}) + 0 };
}

# an image of layers; options: subject, algorithm

sub image {
	my ($layers, %options) = @_;
	my $alg = $options{algorithm};

	my $config = blob({ architecture => 'amd64', os => 'linux',
		created_by => 'test ' . rand() }, "$OCI.config.v1+json", $alg);

	my $image = blob({
		schemaVersion => 2,
		mediaType => "$OCI.manifest.v1+json",
		config => descriptor($config),
		layers => [ map { descriptor($_) } @$layers ],
		$options{subject}
			? (artifactType => 'application/x.test',
				subject => descriptor($options{subject})) : ()
	}, "$OCI.manifest.v1+json", $alg);

	$image->{blobs} = [ $config, @$layers ];

	return $image;
}

sub image_index {
	my (@images) = @_;

	return blob({ schemaVersion => 2, mediaType => "$OCI.index.v1+json",
		manifests => [ map { descriptor($_) } @images ]
	}, "$OCI.index.v1+json");
}

###############################################################################

# Push a blob in one of the ways that clients do.  These return undef, or what
# went wrong.

sub push_blob {
	my ($self, $name, $blob, $how) = @_;
	my $content = $blob->{content};

	my $r = $self->request('POST', "/v2/$name/blobs/uploads/", '');
	return "POST: $r->{status}" if $r->{status} != 202;

	if (($how || '') eq 'patch') {
		my $pos = 0;

		while ($pos < length $content) {
			my $chunk = substr($content, $pos, 262144);
			my $end = $pos + length($chunk) - 1;

			$r = $self->request('PATCH', $r->{headers}{location},
				$chunk, 'Content-Range' => "$pos-$end");
			return "PATCH: $r->{status}" if $r->{status} != 202;

			$pos = $end + 1;
		}

		$content = '';
	}

	$r = $self->request('PUT', with_digest($r, $blob), $content);

	return $r->{status} == 201 ? undef : "PUT: $r->{status} $r->{content}";
}

sub with_digest {
	my ($r, $blob) = @_;
	my $uri = $r->{headers}{location};

	return $uri . ($uri =~ /\?/ ? '&' : '?') . "digest=$blob->{digest}";
}

sub push_manifest {
	my ($self, $name, $reference, $manifest) = @_;

	my $r = $self->request('PUT', "/v2/$name/manifests/$reference",
		$manifest->{content}, 'Content-Type' => $manifest->{type});

	return $r->{status} == 201 ? undef
		: "PUT of $reference: $r->{status} $r->{content}";
}

sub push_image {
	my ($self, $name, $reference, $image, $how) = @_;

	for my $blob (@{$image->{blobs}}) {
		my $wrong = $self->push_blob($name, $blob, $how);
		return $wrong if $wrong;
	}

	return $self->push_manifest($name, $reference || $image->{digest},
		$image);
}

###############################################################################

# Pull everything below a manifest and look at every byte; returns what is
# wrong.  With "digest" the reference must lead to it.

sub check {
	my ($self, $name, $reference, $digest) = @_;

	my $r = $self->request('GET', "/v2/$name/manifests/$reference", undef,
		Accept => $ACCEPT);

	return "manifest $reference: $r->{status}" if $r->{status} != 200;

	my $told = $r->{headers}{'docker-content-digest'} || 'none';

	return "manifest $reference: digest $told, expected $digest"
		if $digest && $told ne $digest;
	return "manifest $reference: not the bytes of $told"
		if !is_digest_of($told, $r->{content});

	my $manifest = decode_json($r->{content});

	return map({ $self->check($name, $_->{digest}) }
			@{$manifest->{manifests} || []}),
		map({ $self->check_blob($name, $_->{digest}, $_->{size}) }
			grep { defined } $manifest->{config},
			@{$manifest->{layers} || []});
}

sub check_blob {
	my ($self, $name, $digest, $size) = @_;

	my $r = $self->request('GET', "/v2/$name/blobs/$digest");

	return "blob $digest: $r->{status}" if $r->{status} != 200;
	return "blob $digest: not its bytes"
		if !is_digest_of($digest, $r->{content});
	return "blob $digest: size is not $size"
		if defined $size && length($r->{content}) != $size;

	return;
}

sub is_digest_of {
	my ($digest, $content) = @_;

	return $digest eq ($digest =~ /^sha512:/
		? 'sha512:' . sha512_hex($content)
		: 'sha256:' . sha256_hex($content));
}

# all tags of a repository, and what is wrong with them

sub tags {
	my ($self, $name) = @_;

	my $r = $self->request('GET', "/v2/$name/tags/list");
	return if $r->{status} != 200;

	return sort @{decode_json($r->{content})->{tags} || []};
}

sub check_all {
	my ($self, $name) = @_;
	my @tags = $self->tags($name);

	return "no tags of $name" if !@tags;
	return map { my $tag = $_; map { "$name:$tag: $_" }
		$self->check($name, $tag) } @tags;
}

1;

###############################################################################
