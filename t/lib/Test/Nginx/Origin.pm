package Test::Nginx::Origin;

# The registry behind the one that is tested: it has what the test gives it,
# takes pushes, asks for credentials, counts, and misbehaves as it is told
# (Test::Nginx::Server).
#
#     my $o = Test::Nginx::Origin->new($t, port => 8081);
#     my $image = $o->image('library/alpine', 'latest', [ $layer ]);
#
#     is($o->requests(qr/GET .*$image->{layers}[0]{digest}/), 1, 'once');

###############################################################################

use warnings;
use strict;

use base qw/ Test::Nginx::Server /;

use Digest::SHA qw//;
use File::Path qw/ make_path /;
use JSON::PP qw//;
use MIME::Base64 qw/ encode_base64 /;

use Images;

###############################################################################

my $json = JSON::PP->new->canonical->utf8;

my %CODE = (400 => 'MANIFEST_INVALID', 401 => 'UNAUTHORIZED',
	403 => 'DENIED', 404 => 'NAME_UNKNOWN', 405 => 'UNSUPPORTED',
	429 => 'TOOMANYREQUESTS', 500 => 'UNKNOWN', 503 => 'UNAVAILABLE');

my $INDEX = 'application/vnd.oci.image.index.v1+json';

###############################################################################
#
# The test's side.  Options besides those of Test::Nginx::Server:
#
#     store     another origin, to serve the same content
#     basic     'user:password' that is asked for, or several in a list
#     token     the Test::Nginx::Token whose tokens are asked for
#     skew      seconds that the clock, by which tokens end, is ahead of ours
#     page      most entries of a list
#     relative  1 for relative Locations of uploads
#
# Repositories are directories, with the types of manifests, blobs that are
# links into the common ones, and the digests of tags.
#
###############################################################################

sub new {
	my ($class, $t, %opts) = @_;

	my $store = delete $opts{store};
	my $token = delete $opts{token};

	$opts{bearer} = $token->bearer() if $token;
	$opts{store} = $store ? $store->{store}
		: join('-', $t->testdir() . '/store', $opts{address} // (),
			$opts{port});

	make_path("$opts{store}/blobs", "$opts{store}/repositories");

	return $class->SUPER::new($t, %opts);
}

# image(repository, tag, [ layer ... ]) of bytes or of Images::blob(); returns
# what Images::image() does, a hash with content and digest of the manifest,
# and its layers.  The tag may be undef.

sub image {
	my ($self, $name, $tag, $layers, %opts) = @_;
	my @layers = map { ref $_ ? $_ : Images::blob($_) } @$layers;
	my $image = Images::image(\@layers, %opts);

	$self->blob($name, $_) for @{$image->{blobs}};
	$self->manifest($name, $tag, $image);

	return { %$image, layers => \@layers };
}

sub index {
	my ($self, $name, $tag, @images) = @_;

	return $self->manifest($name, $tag, Images::image_index(@images));
}

sub manifest {
	my ($self, $name, $tag, $manifest) = @_;
	my $digest = $manifest->{digest};

	$self->put("blobs/$digest", $manifest->{content});
	$self->put(repository($name) . "/manifests/$digest", $manifest->{type});
	$self->put(repository($name) . "/tags/$tag", $digest) if defined $tag;

	return $manifest;
}

sub blob {
	my ($self, $name, $blob) = @_;

	$blob = Images::blob($blob) if !ref $blob;

	$self->put("blobs/$blob->{digest}", $blob->{content});
	$self->put(repository($name) . "/blobs/$blob->{digest}", '');

	return $blob;
}

# forgets a manifest, a tag or a blob

sub remove {
	my ($self, $name, $what) = @_;
	my $dir = repository($name);

	unlink map { "$self->{store}/$dir/$_/$what" }
		qw/ tags manifests blobs /;

	return $self;
}

###############################################################################

# the directory of a repository, in the store

sub repository {
	my ($name) = @_;
	return 'repositories/' . $name =~ s!/!%!gr;
}

sub put {
	my ($self, $path, $content) = @_;
	my $file = "$self->{store}/$path";

	make_path($file =~ s!/[^/]*$!!r);

	open(my $fh, '>:raw', "$file.$$") or die "$file: $!\n";
	print $fh $content;
	close $fh or die "$file: $!\n";
	rename "$file.$$", $file or die "$file: $!\n";
}

sub get {
	my ($self, $path) = @_;

	open(my $fh, '<:raw', "$self->{store}/$path") or return undef;
	local $/;

	return scalar <$fh>;
}

sub has {
	my ($self, $path) = @_;
	return -e "$self->{store}/$path";
}

sub list {
	my ($self, $path) = @_;

	opendir(my $dh, "$self->{store}/$path") or return;

	return sort grep { !/^\./ } readdir $dh;
}

###############################################################################
#
# The server's side
#
###############################################################################

my $NAME = qr![a-z0-9._/-]+?!;

my @ROUTES = (
	[ qr!^/v2/$!, 'base' ],
	[ qr!^/v2/_catalog$!, 'catalog' ],
	[ qr!^/v2/($NAME)/tags/list$!, 'tags' ],
	[ qr!^/v2/($NAME)/referrers/([^/]+)$!, 'referrers' ],
	[ qr!^/v2/($NAME)/manifests/([^/]+)$!, 'manifests' ],
	[ qr!^/v2/($NAME)/blobs/uploads/([^/]*)$!, 'uploads' ],
	[ qr!^/v2/($NAME)/blobs/([^/]+)$!, 'blobs' ],
);

sub answer {
	my ($self, $request) = @_;
	my ($method, @arguments) = route($request);

	my $answer = $self->early($request)
		// ($method ? $self->$method($request, @arguments)
			: $self->error(404));

	$answer->{headers}{'Docker-Distribution-Api-Version'} = 'registry/2.0';

	return $answer;
}

sub route {
	my ($request) = @_;

	for my $route (@ROUTES) {
		my ($re, $method) = @$route;
		my @arguments = $request->{uri} =~ $re or next;

		return ($method, @arguments);
	}

	return;
}

sub error {
	my ($self, $status, $code, %headers) = @_;

	return document({ errors => [ {
		code => $code // $CODE{$status} // 'UNKNOWN',
		message => "answered by the origin", detail => undef } ],
		}, status => $status, headers => \%headers);
}

sub document {
	my ($data, %answer) = @_;

	return { %answer, body => $json->encode($data), headers => {
		'Content-Type' => 'application/json',
		%{$answer{headers} // {}} } };
}

###############################################################################

# the answer to a request without the credentials that it needs

sub early {
	my ($self, $request) = @_;
	my ($scheme, $given) = split(/ /,
		$request->{headers}{authorization} // ' ', 2);

	if (defined(my $basic = $self->{basic})) {
		return undef if lc $scheme eq 'basic'
			&& grep { $given eq encode_base64($_, '') }
				ref $basic ? @$basic : $basic;

		return $self->error(401, undef,
			'WWW-Authenticate' => 'Basic realm="origin"');
	}

	if (my $bearer = $self->{bearer}) {
		my @scopes = scopes($request);
		my $known = lc $scheme eq 'bearer'
			&& token($bearer, $given, time() + ($self->{skew} // 0));

		return undef if $known
			&& !grep { !allows($known, @$_) } @scopes;

		return $self->error(401, undef, 'WWW-Authenticate' => join(',',
			qq{Bearer realm="$bearer->{realm}"},
			qq{service="$bearer->{service}"},
			@scopes ? 'scope="' . join(' ',
				map { join(':', @$_) } @scopes) . '"' : (),
			$known ? 'error="insufficient_scope"'
				: $given ne '' ? 'error="invalid_token"' : ()));
	}

	return undef;
}

# type, name and actions of all that a request needs, as docker-registry has it

sub scopes {
	my ($request) = @_;
	my ($route, $name) = route($request);

	return if !$route || $route eq 'base';
	return [ 'registry', 'catalog', '*' ] if $route eq 'catalog';

	my $method = $request->{method};
	my $from = $request->{query}{from};

	return [ 'repository', $name, $method =~ /^(?:GET|HEAD)$/ ? 'pull'
		: $method eq 'DELETE' && $route ne 'uploads' ? 'delete'
		: 'pull,push' ],
		defined $from ? [ 'repository', $from, 'pull' ] : ();
}

# What the issuer noted of a token that it gave out; it stands for the check
# of the signature.  As in other registries the clocks may differ by a minute.

sub token {
	my ($bearer, $given, $now) = @_;
	my $file = "$bearer->{tokens}/" . Digest::SHA::sha256_hex($given);

	open(my $fh, '<:raw', $file) or return undef;
	local $/;
	my $claims = $json->decode(scalar <$fh>);

	return undef if $now > $claims->{exp} + 60
		|| $now < $claims->{nbf} - 60
		|| $claims->{aud} ne $bearer->{service};

	return $claims;
}

sub allows {
	my ($claims, $type, $name, $actions) = @_;
	my %granted;

	for my $access (@{$claims->{access}}) {
		next if $access->{type} ne $type || $access->{name} ne $name;
		$granted{$_} = 1 for @{$access->{actions}};
	}

	return !grep { !$granted{$_} } split(/,/, $actions);
}

###############################################################################

sub base { return document({}) }

sub catalog {
	my ($self, $request) = @_;

	return $self->page($request, 'repositories', {},
		map { s!%!/!gr } $self->list('repositories'));
}

sub tags {
	my ($self, $request, $name) = @_;

	return $self->error(404) if !$self->has(repository($name));

	return $self->page($request, 'tags', { name => $name },
		$self->list(repository($name) . '/tags'));
}

# after "last", at most "n"

sub page {
	my ($self, $request, $key, $data, @entries) = @_;
	my %headers;
	my $last = $request->{query}{last};
	my ($n) = sort { $a <=> $b } grep { defined }
		$request->{query}{n}, $self->{page};

	@entries = grep { $_ gt $last } @entries if defined $last;

	if (defined $n && @entries > $n) {
		$#entries = $n - 1;
		$headers{Link} = "<$request->{uri}?last=$entries[-1]&n=$n>;"
			. ' rel="next"' if $n > 0;
	}

	return document({ %$data, $key => \@entries }, headers => \%headers);
}

sub referrers {
	my ($self, $request, $name, $digest) = @_;
	my $dir = repository($name) . '/manifests';
	my $type = $request->{query}{artifactType};
	my @referrers;

	for my $manifest ($self->list($dir)) {
		my $content = $self->get("blobs/$manifest");
		my $data = $json->decode($content);

		next if ($data->{subject}{digest} // '') ne $digest;

		push @referrers, { digest => $manifest,
			mediaType => $self->get("$dir/$manifest"),
			size => length $content,
			artifactType => $data->{artifactType}
				// $data->{config}{mediaType},
			$data->{annotations}
				? (annotations => $data->{annotations}) : () };
	}

	@referrers = grep { $_->{artifactType} eq $type } @referrers
		if defined $type;

	my %filtered = defined $type
		? ('OCI-Filters-Applied' => 'artifactType') : ();

	return document({ schemaVersion => 2, mediaType => $INDEX,
		manifests => \@referrers },
		headers => { 'Content-Type' => $INDEX, %filtered });
}

###############################################################################

sub manifests {
	my ($self, $request, $name, $reference) = @_;
	my $dir = repository($name);
	my $method = $request->{method};

	return $self->put_manifest($request, $name, $reference)
		if $method eq 'PUT';

	my $digest = $reference =~ /:/ ? $reference
		: $self->get("$dir/tags/$reference")
		// return $self->error(404, 'MANIFEST_UNKNOWN');
	my $type = $self->get("$dir/manifests/$digest")
		// return $self->error(404, 'MANIFEST_UNKNOWN');

	if ($method eq 'DELETE') {
		$self->remove($name, $reference);
		return { status => 202, headers => {} };
	}

	return $self->error(405) if $method !~ /^(?:GET|HEAD)$/;

	return $self->content($request, $digest, $type);
}

sub put_manifest {
	my ($self, $request, $name, $reference) = @_;
	my $body = $request->{body};
	my $data = eval { $json->decode($body) };
	my $dir = repository($name);

	my $digest = ($reference =~ /^(sha512):/ ? 'sha512:'
		. Digest::SHA::sha512_hex($body)
		: 'sha256:' . Digest::SHA::sha256_hex($body));

	return $self->error(400, 'MANIFEST_INVALID')
		if ref $data ne 'HASH';
	return $self->error(400, 'DIGEST_INVALID')
		if $reference =~ /:/ && $reference ne $digest;

	for my $blob (grep { defined } $data->{config},
		@{$data->{layers} // []})
	{
		return $self->error(404, 'MANIFEST_BLOB_UNKNOWN')
			if !$self->has("$dir/blobs/$blob->{digest}");
	}

	my @tags = $reference =~ /:/ ? $request->{path} =~ /[?&]tag=([^&]*)/g
		: $reference;

	$self->manifest($name, $_, { content => $body, digest => $digest,
		type => $request->{headers}{'content-type'} // '' })
		for @tags ? @tags : undef;

	return { status => 201, headers => {
		Location => $self->location($request,
			"/v2/$name/manifests/$digest"),
		'Docker-Content-Digest' => $digest,
		$reference =~ /:/ && @tags ? ('OCI-Tag' => \@tags) : (),
		$data->{subject}
			? ('OCI-Subject' => $data->{subject}{digest}) : () } };
}

sub blobs {
	my ($self, $request, $name, $digest) = @_;

	return $self->error(404, 'BLOB_UNKNOWN')
		if !$self->has(repository($name) . "/blobs/$digest");

	if ($request->{method} eq 'DELETE') {
		$self->remove($name, $digest);
		return { status => 202, headers => {} };
	}

	return $self->error(405) if $request->{method} !~ /^(?:GET|HEAD)$/;

	return $self->content($request, $digest, 'application/octet-stream');
}

# one range, as most clients ask for; of several all is sent

sub content {
	my ($self, $request, $digest, $type) = @_;
	my $file = "$self->{store}/blobs/$digest";
	my $size = -s $file;
	my $match = $request->{headers}{'if-none-match'} // '';

	my %headers = ('Content-Type' => $type, ETag => qq{"$digest"},
		'Docker-Content-Digest' => $digest, 'Accept-Ranges' => 'bytes');

	return { status => 304, headers => \%headers }
		if $match eq '*' || $match =~ /"\Q$digest\E"/;

	my $range = $request->{headers}{range} // '';
	my $if_range = $request->{headers}{'if-range'} // $headers{ETag};

	return { file => $file, headers => \%headers }
		if $range !~ /^bytes=(?=.*\d)(\d*)-(\d*)$/
		|| $if_range ne $headers{ETag};

	my ($from, $to) = ($1, $2);

	($from, $to) = ($size > $to ? $size - $to : 0, $size - 1)
		if $from eq '';
	$to = $size - 1 if $to eq '' || $to >= $size;

	return $self->error(416, 'RANGE_INVALID',
		'Content-Range' => "bytes */$size") if $from > $to;

	return { status => 206, file => $file, offset => $from,
		length => $to - $from + 1, headers => { %headers,
			'Content-Range' => "bytes $from-$to/$size" } };
}

###############################################################################
#
# Uploads are files of this origin alone, not of those with the same store
#
###############################################################################

sub location {
	my ($self, $request, $path) = @_;

	my $host = $request->{headers}{host};

	return $path if $self->{relative} || !defined $host;
	return ($self->{ssl} ? 'https' : 'http') . "://$host$path";
}

# what is uploaded is written as it comes

sub sink {
	my ($self, $request) = @_;
	my ($route, $name, $id) = route($request);

	return undef if ($route // '') ne 'uploads'
		|| $request->{method} !~ /^(?:POST|PATCH|PUT)$/
		|| $self->early($request);

	my $file = $self->upload($request, $id);

	return undef if $id ne '' && !-e $file;

	# a chunk from somewhere else is not written

	my ($from) = ($request->{headers}{'content-range'} // '') =~ /^(\d+)-/;

	if (defined $from && $from != -s $file) {
		$request->{out_of_order} = 1;
		return undef;
	}

	open(my $fh, '>>:raw', $file) or die "$file: $!\n";
	$fh->autoflush(1);

	return $fh;
}

# the file of an upload, a new one if it has no identifier yet

sub upload {
	my ($self, $request, $id) = @_;

	return $request->{upload} //= "$self->{dir}/upload-"
		. ($id ne '' ? $id : Digest::SHA::sha1_hex(rand() . time()));
}

sub uploads {
	my ($self, $request, $name, $id) = @_;
	my $method = $request->{method};
	my $file = $self->upload($request, $id);

	return $self->start_upload($request, $name)
		if $method eq 'POST' && $id eq '';

	return $self->error(404, 'BLOB_UPLOAD_UNKNOWN') if !-e $file;

	if ($method eq 'DELETE') {
		unlink $file;
		return { status => 204, headers => {} };
	}

	return $self->upload_status($request, $name, 204) if $method eq 'GET';
	return $self->upload_status($request, $name, 416)
		if $request->{out_of_order};
	return $self->upload_status($request, $name, 202) if $method eq 'PATCH';
	return $self->finish_upload($request, $name) if $method eq 'PUT';
	return $self->error(405);
}

sub start_upload {
	my ($self, $request, $name) = @_;
	my ($mount, $from, $digest) =
		@{$request->{query}}{qw/ mount from digest /};

	if (defined $mount && defined $from
		&& $self->has(repository($from) . "/blobs/$mount"))
	{
		unlink $request->{upload};
		$self->put(repository($name) . "/blobs/$mount", '');
		return $self->uploaded($request, $name, $mount);
	}

	return $self->finish_upload($request, $name) if defined $digest;
	return $self->upload_status($request, $name, 202);
}

sub upload_status {
	my ($self, $request, $name, $status) = @_;
	my $id = $request->{upload} =~ s/.*-//r;
	my $size = (-s $request->{upload}) // 0;

	return { status => $status, headers => {
		Location => $self->location($request,
			"/v2/$name/blobs/uploads/$id?_state=$size"),
		Range => '0-' . ($size ? $size - 1 : 0),
		'Docker-Upload-UUID' => $id } };
}

sub finish_upload {
	my ($self, $request, $name) = @_;
	my $digest = $request->{query}{digest} // '';
	my ($algorithm) = $digest =~ /^sha(256|512):/
		or return $self->error(400, 'DIGEST_INVALID');
	my $file = $request->{upload};
	my $sha = Digest::SHA->new($algorithm)->addfile($file, 'b');

	if ($digest ne "sha$algorithm:" . $sha->hexdigest()) {
		unlink $file;
		return $self->error(400, 'DIGEST_INVALID');
	}

	rename $file, "$self->{store}/blobs/$digest"
		or die "$digest: $!\n";
	$self->put(repository($name) . "/blobs/$digest", '');

	return $self->uploaded($request, $name, $digest);
}

sub uploaded {
	my ($self, $request, $name, $digest) = @_;

	return { status => 201, headers => {
		Location => $self->location($request,
			"/v2/$name/blobs/$digest"),
		'Docker-Content-Digest' => $digest } };
}

###############################################################################

1;

###############################################################################
