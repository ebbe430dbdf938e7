#!/usr/bin/perl

# The build: what config says when something is missing, where the modules
# stand in nginx, and the check of the layers.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use Cwd qw/ abs_path /;
use File::Path qw/ make_path /;
use File::Temp qw/ tempdir /;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $root = abs_path('..');
my $dir = tempdir('nginx-test-XXXXXXXXXX', TMPDIR => 1, CLEANUP => 1);

# the tree that the module was built in

my ($tree) = grep { -f "$_/auto/options" }
	glob("$root/build/packaged/* $root/build*/source/*");

plan(skip_all => 'nothing built by ./dev build') unless $tree;
plan(tests => 21);

system("cp -R '$tree' '$dir/nginx' && rm -rf '$dir/nginx/objs'") == 0
	or die "can't copy $tree\n";

my $configure = -f "$tree/configure" ? './configure' : 'auto/configure';

###############################################################################

my @threads = qw/ --with-compat --with-threads /;
my $dynamic = "--add-dynamic-module=$root";

# by a relative path, as people type it

symlink($root, "$dir/module") or die "can't symlink: $!\n";
my ($status, $out) = configure(@threads, '--add-dynamic-module=../module');
is($status, 0, 'configured') or diag($out);

is(join(' ', list('module_names')),
	'ngx_http_registry_module ngx_http_registry_conf_module',
	'two modules in one object');

is(join(' ', list('module_order')), 'ngx_http_registry_conf_module'
	. ' ngx_http_core_module ngx_http_registry_module'
	. ' ngx_http_copy_filter_module', 'where they stand');

my %sources = map { m!(\w+)\.c$! ? ($1 => 1) : () }
	glob("$root/src/*.c $root/src/core/*.c");
my %objects = map { $_ => 1 }
	slurp("$dir/nginx/objs/Makefile") =~ m!^objs/addon/\w+/(\w+)\.o:!mg;

is_deeply(\%objects, \%sources, 'every source is compiled');

like(slurp("$dir/nginx/objs/Makefile"), qr!ADDON_DEPS.*\.\./module/src/core/registry!,
	'every header is a dependency');

###############################################################################

refused('no threads', qr/--with-threads/, '--with-compat', $dynamic);

refused('static', qr/only be built as a dynamic module.*--add-dynamic-module/s,
	@threads, "--add-module=$root");

# headers that do not compile are as good as none

for (['jansson.h', 'libjansson-dev'], ['openssl/evp.h', 'libssl-dev'],
	['libmemcached/memcached.h', 'libmemcached-dev'])
{
	my ($header, $package) = @$_;

	make_path("$dir/$package/$header" =~ s!/[^/]+$!!r);
	open(my $fh, '>', "$dir/$package/$header") or die "can't write: $!\n";
	print $fh "#error not here\n";
	close $fh;

	refused("no $header", qr/needs the .* library,.*\Q$package\E/s,
		@threads, "--with-cc-opt=-I$dir/$package", $dynamic);
}

###############################################################################

($status, $out) = command("$root/tools/check-layers");
is($status, 0, 'layers') or diag($out);

make_path("$dir/copy/src/core", "$dir/copy/tools");
system("cp '$root/tools/check-layers' '$dir/copy/tools'") == 0 or die;

layers('core/registry_name.c', '<ngx_core.h>', qr/the core includes/);
layers('core/registry_name.c', '"../ngx_http_registry.h"',
	qr/the core includes/);
layers('ngx_http_registry_task.c', '"ngx_http_registry_store.h"',
	qr/mechanisms include .* of the stores above/);
layers('ngx_http_registry_store_fs.c', '"ngx_http_registry.h"',
	qr/stores include .* of the handlers above/);
layers('ngx_http_registry_surprise.c', '<ngx_core.h>', qr/in no layer/);

###############################################################################

sub refused {
	my ($name, $message, @options) = @_;

	my ($status, $out) = configure(@options);

	isnt($status, 0, $name);
	like($out, $message, "$name, the message");
}

sub layers {
	my ($file, $header, $message) = @_;
	my $path = "$dir/copy/src/$file";

	open(my $fh, '>', $path) or die "can't write $path: $!\n";
	print $fh "#include $header\n";
	close $fh;

	my ($status, $out) = command("$dir/copy/tools/check-layers");
	ok($status != 0 && $out =~ $message, "$file with $header") or diag($out);

	unlink $path;
}

sub configure {
	return command('sh', '-c', 'cd "$1" && shift && exec "$@"', 'sh',
		"$dir/nginx", $configure, '--builddir=objs', @_,
		'--without-http_rewrite_module', '--without-http_gzip_module');
}

sub command {
	my $pid = open(my $fh, '-|') // die "can't fork: $!\n";

	if ($pid == 0) {
		open(STDERR, '>&', \*STDOUT);
		exec(@_) or exit 127;
	}

	local $/;
	my $out = <$fh>;
	close $fh;

	return ($?, $out);
}

# an array in the file that configure makes for the object

sub list {
	my ($name) = @_;

	my ($list) = slurp("$dir/nginx/objs/ngx_http_registry_module_modules.c")
		=~ /ngx_$name\[\] = \{(.*?)\};/s;

	return $list =~ /"(\w+)"/g;
}

sub slurp {
	my ($path) = @_;

	open(my $fh, '<', $path) or die "can't open $path: $!\n";
	local $/;

	return scalar <$fh>;
}

###############################################################################
