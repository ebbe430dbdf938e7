
/*
 * Blobs of a cache as files: what there is, when it was last used, taking it
 * away, and clearing up what then leads nowhere.  To unlink a file that a
 * worker is sending takes its name alone: the worker has it to the end.
 */


#include "ngx_http_registry_fs.h"

#include <sys/statvfs.h>


static ngx_int_t ngx_http_registry_fs_blobs_open(ngx_http_registry_op_t *op,
    ngx_http_registry_fs_blobs_t *blobs);
static ngx_int_t ngx_http_registry_fs_blobs_look(ngx_http_registry_op_t *op,
    ngx_http_registry_fs_blobs_t *blobs, const char *name,
    ngx_http_registry_fs_blob_t *blob);
static void ngx_http_registry_fs_blob_set(ngx_http_registry_fs_blob_t *blob,
    const struct stat *sb);

static ngx_int_t ngx_http_registry_fs_sweep_entry(ngx_http_registry_op_t *op,
    ngx_http_registry_fs_sweep_t *sweep, const char *name);
static ngx_int_t ngx_http_registry_fs_sweep_enter(ngx_http_registry_op_t *op,
    ngx_http_registry_fs_sweep_t *sweep);
static ngx_int_t ngx_http_registry_fs_sweep_leave(
    ngx_http_registry_fs_sweep_t *sweep);
static ngx_int_t ngx_http_registry_fs_sweep_file(ngx_http_registry_op_t *op,
    const char *path, void *data);
static ngx_int_t ngx_http_registry_fs_leads(ngx_http_registry_op_t *op,
    const char *path, const char *file);
static ngx_int_t ngx_http_registry_fs_named(const char *text, size_t len,
    char separator, registry_digest_t *digest);
static ngx_uint_t ngx_http_registry_fs_ends(
    const ngx_http_registry_path_t *path, const char *suffix);


/*
 * When a blob was last used is its file's time of access, which is set here
 * and not left to the kernel: "noatime" and "relatime" do not matter.  The
 * time of modification is Last-Modified, and stays.
 */

ngx_int_t
ngx_http_registry_fs_blob_touch(ngx_http_registry_op_t *op)
{
    struct stat               sb;
    struct timespec           times[2];
    ngx_http_registry_path_t  path;

    ngx_http_registry_fs_blob_path(op, &path, &op->digest);

    if (stat(path.data, &sb) == -1) {
        if (ngx_errno == NGX_ENOENT || ngx_errno == NGX_ENOTDIR) {
            return NGX_DECLINED;
        }

        return ngx_http_registry_fs_failed(op, "stat()", path.data);
    }

    /* by another worker */

    if (time(NULL) - sb.st_atime < (time_t) op->limit) {
        return NGX_OK;
    }

    times[0].tv_sec = 0;
    times[0].tv_nsec = UTIME_NOW;
    times[1].tv_sec = 0;
    times[1].tv_nsec = UTIME_OMIT;

    if (utimensat(AT_FDCWD, path.data, times, 0) == -1) {
        if (ngx_errno == NGX_ENOENT || ngx_errno == NGX_ENOTDIR) {
            return NGX_DECLINED;
        }

        return ngx_http_registry_fs_failed(op, "utimensat()", path.data);
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_registry_fs_blob_stat(ngx_http_registry_op_t *op,
    ngx_http_registry_fs_blob_t *blob)
{
    struct stat               sb;
    ngx_http_registry_path_t  path;

    ngx_http_registry_fs_blob_path(op, &path, &blob->digest);

    if (lstat(path.data, &sb) == -1) {
        if (ngx_errno == NGX_ENOENT || ngx_errno == NGX_ENOTDIR) {
            return NGX_DECLINED;
        }

        return ngx_http_registry_fs_failed(op, "lstat()", path.data);
    }

    ngx_http_registry_fs_blob_set(blob, &sb);

    return NGX_OK;
}


/* writing is a use, too */

static void
ngx_http_registry_fs_blob_set(ngx_http_registry_fs_blob_t *blob,
    const struct stat *sb)
{
    blob->size = sb->st_size;
    blob->used = ngx_max(sb->st_atime, sb->st_mtime);
}


/* nothing is synced: it does no harm if it is there again after a crash */

ngx_int_t
ngx_http_registry_fs_blob_evict(ngx_http_registry_op_t *op,
    const registry_digest_t *digest)
{
    ngx_http_registry_path_t  path;

    ngx_http_registry_fs_blob_path(op, &path, digest);

    if (unlink(path.data) == -1) {
        if (ngx_errno == NGX_ENOENT || ngx_errno == NGX_ENOTDIR) {
            return NGX_DECLINED;
        }

        return ngx_http_registry_fs_failed(op, "unlink()", path.data);
    }

    /* unless the same blob is being published again */

    *strrchr(path.data, '/') = '\0';
    (void) rmdir(path.data);

    return NGX_OK;
}


ngx_int_t
ngx_http_registry_fs_space(ngx_http_registry_op_t *op, off_t *used,
    off_t *free)
{
    struct statvfs            fs;
    ngx_http_registry_path_t  path;

    /* may be a symbolic link to another file system, or not there yet */

    ngx_http_registry_fs_path(op, &path, NGX_HTTP_REGISTRY_FS_BLOBS);

    if (statvfs(path.data, &fs) == -1
        && (ngx_errno != NGX_ENOENT
            || statvfs((char *) op->store->path.data, &fs) == -1))
    {
        return ngx_http_registry_fs_failed(op, "statvfs()", path.data);
    }

    *used = (off_t) (fs.f_blocks - fs.f_bfree) * (off_t) fs.f_frsize;
    *free = (off_t) fs.f_bavail * (off_t) fs.f_frsize;

    return NGX_OK;
}


ngx_int_t
ngx_http_registry_fs_blobs_next(ngx_http_registry_op_t *op,
    ngx_http_registry_fs_blobs_t *blobs, ngx_http_registry_fs_blob_t *blob)
{
    ngx_err_t       err;
    struct dirent  *de;

    if (blobs->dir == NULL) {
        return ngx_http_registry_fs_blobs_open(op, blobs);
    }

    ngx_set_errno(0);
    de = readdir(blobs->dir);

    if (de) {
        return ngx_http_registry_fs_blobs_look(op, blobs, de->d_name, blob);
    }

    err = ngx_errno;

    ngx_http_registry_fs_blobs_close(blobs);

    if (err) {
        ngx_set_errno(err);
        return ngx_http_registry_fs_failed(op, "readdir()", "blobs");
    }

    return NGX_AGAIN;
}


void
ngx_http_registry_fs_blobs_close(ngx_http_registry_fs_blobs_t *blobs)
{
    if (blobs->dir) {
        (void) closedir(blobs->dir);
        blobs->dir = NULL;
    }
}


static ngx_int_t
ngx_http_registry_fs_blobs_open(ngx_http_registry_op_t *op,
    ngx_http_registry_fs_blobs_t *blobs)
{
    ngx_uint_t                n;
    ngx_http_registry_path_t  path;

    n = blobs->shards++;

    if (n / 256 > REGISTRY_SHA512) {
        return NGX_DONE;
    }

    blobs->algorithm = n / 256;
    (void) snprintf(blobs->shard, sizeof(blobs->shard), "%02x",
                    (unsigned) n % 256);

    ngx_http_registry_fs_path(op, &path, NGX_HTTP_REGISTRY_FS_SHARD,
                              registry_algorithm_name(blobs->algorithm),
                              blobs->shard);

    blobs->dir = opendir(path.data);

    if (blobs->dir || ngx_errno == NGX_ENOENT || ngx_errno == NGX_ENOTDIR) {
        return NGX_AGAIN;
    }

    return ngx_http_registry_fs_failed(op, "opendir()", path.data);
}


static ngx_int_t
ngx_http_registry_fs_blobs_look(ngx_http_registry_op_t *op,
    ngx_http_registry_fs_blobs_t *blobs, const char *name,
    ngx_http_registry_fs_blob_t *blob)
{
    char            data[REGISTRY_DIGEST_MAX + sizeof("/data")];
    struct stat     sb;
    registry_str_t  text;

    text.data = data;
    text.len = snprintf(data, sizeof(data), "%s:%s",
                        registry_algorithm_name(blobs->algorithm), name);

    if (text.len > REGISTRY_DIGEST_MAX
        || registry_digest_parse(text, &blob->digest) != REGISTRY_OK
        || strncmp(name, blobs->shard, sizeof(blobs->shard) - 1) != 0)
    {
        return NGX_AGAIN;
    }

    (void) snprintf(data, sizeof(data), "%s/data", name);

    if (fstatat(dirfd(blobs->dir), data, &sb, AT_SYMLINK_NOFOLLOW) == 0) {

        if (!S_ISREG(sb.st_mode)) {
            return NGX_AGAIN;
        }

        ngx_http_registry_fs_blob_set(blob, &sb);
        return NGX_OK;
    }

    if (ngx_errno == NGX_ENOENT || ngx_errno == NGX_ENOTDIR) {

        /* what a kill between unlink() and rmdir() left */

        (void) unlinkat(dirfd(blobs->dir), name, AT_REMOVEDIR);
        return NGX_AGAIN;
    }

    return ngx_http_registry_fs_failed(op, "fstatat()", blob->digest.text);
}


ngx_int_t
ngx_http_registry_fs_sweep(ngx_http_registry_op_t *op,
    ngx_http_registry_fs_sweep_t *sweep)
{
    ngx_int_t                      rc;
    struct dirent                 *de;
    ngx_http_registry_fs_level_t  *level;

    if (sweep->depth == 0) {

        if (sweep->begun++) {
            return NGX_DONE;
        }

        if (sweep->file == NULL) {
            ngx_http_registry_fs_path(op, &sweep->path,
                                      NGX_HTTP_REGISTRY_FS_REPOS);
            sweep->file = ngx_http_registry_fs_sweep_file;
        }

        rc = ngx_http_registry_fs_sweep_enter(op, sweep);

        return (rc == NGX_DECLINED) ? NGX_DONE : rc;
    }

    level = &sweep->level[sweep->depth - 1];

    de = readdir(level->dir);

    if (de == NULL) {
        return ngx_http_registry_fs_sweep_leave(sweep);
    }

    if (ngx_strcmp(de->d_name, ".") == 0 || ngx_strcmp(de->d_name, "..") == 0
        || (sweep->depth == 1 && ngx_strcmp(de->d_name, "_tmp") == 0))
    {
        return NGX_OK;
    }

    rc = ngx_http_registry_fs_sweep_entry(op, sweep, de->d_name);

    if (rc != NGX_OK) {
        level->left++;
    }

    return (rc == NGX_ERROR) ? NGX_ERROR : NGX_OK;
}


/* NGX_OK if it is gone, or was entered; NGX_DECLINED if it stays */

static ngx_int_t
ngx_http_registry_fs_sweep_entry(ngx_http_registry_op_t *op,
    ngx_http_registry_fs_sweep_t *sweep, const char *name)
{
    size_t                     len;
    struct stat                sb;
    ngx_http_registry_path_t  *path;

    path = &sweep->path;
    len = sweep->level[sweep->depth - 1].len;

    path->len = len + ngx_strlen(name) + 1;

    if (path->len >= sizeof(path->data)) {
        return NGX_DECLINED;
    }

    path->data[len] = '/';
    ngx_memcpy(path->data + len + 1, name, path->len - len);

    if (lstat(path->data, &sb) == -1) {
        return NGX_OK;
    }

    if (S_ISDIR(sb.st_mode)) {
        return ngx_http_registry_fs_sweep_enter(op, sweep);
    }

    if (!S_ISREG(sb.st_mode)) {
        return NGX_DECLINED;
    }

    /* it goes with its directory, and keeps that for nothing */

    if (ngx_http_registry_fs_ends(path, "/_manifests/lock")) {
        return NGX_OK;
    }

    return sweep->file(op, path->data, sweep->data);
}


void
ngx_http_registry_fs_sweep_close(ngx_http_registry_fs_sweep_t *sweep)
{
    while (sweep->depth) {
        (void) closedir(sweep->level[--sweep->depth].dir);
    }
}


/* NGX_DECLINED if it is not there, or too far down to be a repository's */

static ngx_int_t
ngx_http_registry_fs_sweep_enter(ngx_http_registry_op_t *op,
    ngx_http_registry_fs_sweep_t *sweep)
{
    ngx_http_registry_fs_level_t  *level;

    if (sweep->depth == NGX_HTTP_REGISTRY_FS_DEPTH) {
        return NGX_DECLINED;
    }

    level = &sweep->level[sweep->depth];

    level->dir = opendir(sweep->path.data);

    if (level->dir == NULL) {
        if (ngx_errno == NGX_ENOENT || ngx_errno == NGX_ENOTDIR) {
            return NGX_DECLINED;
        }

        return ngx_http_registry_fs_failed(op, "opendir()", sweep->path.data);
    }

    level->len = sweep->path.len;
    level->left = 0;

    sweep->depth++;

    return NGX_OK;
}


/*
 * A directory that nothing is left in goes.  If a worker needs it at the same
 * moment it makes it again.  "tags" stays as long as its repository has a
 * manifest: Distribution's garbage collector fails without it.
 */

static ngx_int_t
ngx_http_registry_fs_sweep_leave(ngx_http_registry_fs_sweep_t *sweep)
{
    ngx_uint_t                     tags;
    ngx_http_registry_path_t      *path;
    ngx_http_registry_fs_level_t  *level;

    path = &sweep->path;
    level = &sweep->level[--sweep->depth];

    (void) closedir(level->dir);

    if (sweep->depth == 0) {
        return NGX_DONE;
    }

    path->len = level->len;
    path->data[path->len] = '\0';

    tags = ngx_http_registry_fs_ends(path, "/_manifests/tags");

    if (level->left == 0 && ngx_http_registry_fs_ends(path, "/_manifests")
        && path->len + sizeof("/tags") <= sizeof(path->data))
    {
        ngx_memcpy(path->data + path->len, "/tags", sizeof("/tags"));

        /* who writes a tag has the lock */

        if (rmdir(path->data) == 0 || ngx_errno == NGX_ENOENT) {
            ngx_memcpy(path->data + path->len, "/lock", sizeof("/lock"));
            (void) unlink(path->data);
        }

        path->data[path->len] = '\0';
    }

    if (level->left
        || (!tags && rmdir(path->data) == -1 && ngx_errno != NGX_ENOENT))
    {
        level[-1].left++;
    }

    return NGX_OK;
}


/*
 * NGX_OK if it is gone, NGX_DECLINED if it stays.  A worker may bring the
 * blob and write the link while this looks: so the link is taken out of
 * sight first, and put back if it leads to something by then.
 */

static ngx_int_t
ngx_http_registry_fs_sweep_file(ngx_http_registry_op_t *op, const char *path,
    void *data)
{
    ngx_int_t                 rc;
    ngx_http_registry_path_t  temp;

    if (ngx_http_registry_fs_leads(op, path, path) != NGX_DECLINED) {
        return NGX_DECLINED;
    }

    rc = ngx_http_registry_fs_hide(op, path, &temp);

    if (rc != NGX_OK) {
        return (rc == NGX_DECLINED) ? NGX_OK : rc;
    }

    rc = ngx_http_registry_fs_leads(op, path, temp.data);

    /* one that was written meanwhile is newer */

    if (rc == NGX_OK && link(temp.data, path) == -1
        && ngx_errno != NGX_EEXIST)
    {
        rc = ngx_http_registry_fs_failed(op, "link()", path);
    }

    (void) unlink(temp.data);

    switch (rc) {

    case NGX_OK:
        return NGX_DECLINED;

    case NGX_DECLINED:
        return NGX_OK;

    default:
        return rc;
    }
}


/* NGX_DECLINED if what a file in a repository is about has no data */

static ngx_int_t
ngx_http_registry_fs_leads(ngx_http_registry_op_t *op, const char *path,
    const char *file)
{
    registry_digest_t         digest;
    ngx_http_registry_path_t  data;

    if (ngx_http_registry_fs_about(op, path, file, &digest) != NGX_OK) {
        return NGX_OK;
    }

    ngx_http_registry_fs_blob_path(op, &data, &digest);

    return ngx_http_registry_fs_exists(op, data.data);
}


ngx_int_t
ngx_http_registry_fs_about(ngx_http_registry_op_t *op, const char *path,
    const char *file, registry_digest_t *digest)
{
    const char  *name, *dir, *above;

    /* a path is longer than what is looked for here */

    name = strrchr(path, '/') + 1;
    dir = (char *) memrchr(path, '/', name - 1 - path) + 1;
    above = (char *) memrchr(path, '/', dir - 1 - path) + 1;

    if (ngx_strcmp(dir, "current/link") == 0) {
        return ngx_http_registry_fs_read_link(op, file, digest);
    }

    if (ngx_strcmp(name, "link") == 0 || ngx_strcmp(name, "media_type") == 0)
    {
        return ngx_http_registry_fs_named(above, name - 1 - above, '/',
                                          digest);
    }

    if (strstr(path, "/_referrers/")) {
        return ngx_http_registry_fs_named(name, ngx_strlen(name), '-',
                                          digest);
    }

    return NGX_DECLINED;
}


/* a digest with another character in the place of the colon */

static ngx_int_t
ngx_http_registry_fs_named(const char *text, size_t len, char separator,
    registry_digest_t *digest)
{
    char            buf[REGISTRY_DIGEST_MAX];
    registry_str_t  in;

    if (len <= REGISTRY_ALGORITHM_LEN || len > sizeof(buf)
        || text[REGISTRY_ALGORITHM_LEN] != separator)
    {
        return NGX_DECLINED;
    }

    ngx_memcpy(buf, text, len);
    buf[REGISTRY_ALGORITHM_LEN] = ':';

    in.data = buf;
    in.len = len;

    return registry_digest_parse(in, digest) == REGISTRY_OK ? NGX_OK
                                                            : NGX_DECLINED;
}


static ngx_uint_t
ngx_http_registry_fs_ends(const ngx_http_registry_path_t *path,
    const char *suffix)
{
    size_t  len;

    len = ngx_strlen(suffix);

    return path->len >= len
           && ngx_memcmp(path->data + path->len - len, suffix, len) == 0;
}
