
/*
 * Files of the file system driver: paths, reading, and publishing, which is
 * to write to a temporary name, fsync, rename, and fsync the directory.  In a
 * cache nothing but data is synced: what has lost its name, or its link, is
 * fetched again.
 */


#include "ngx_http_registry_fs.h"

#include <ftw.h>
#include <sys/random.h>


#define NGX_HTTP_REGISTRY_FS_COPY   (1024 * 1024)
#define NGX_HTTP_REGISTRY_FS_TRIES  8


static u_char *ngx_http_registry_fs_root(ngx_http_registry_op_t *op,
    ngx_http_registry_path_t *path);
static ngx_int_t ngx_http_registry_fs_rename(ngx_http_registry_op_t *op,
    const char *from, const char *to);
static ngx_int_t ngx_http_registry_fs_mkdir(ngx_http_registry_op_t *op,
    const char *path);
static ngx_int_t ngx_http_registry_fs_sync_name(ngx_http_registry_op_t *op,
    const char *path);
static ngx_int_t ngx_http_registry_fs_put_bytes(ngx_http_registry_op_t *op,
    const char *path, const void *data, size_t len, ngx_uint_t sync);
static ngx_int_t ngx_http_registry_fs_temp(ngx_http_registry_op_t *op,
    const char *dir, ngx_http_registry_path_t *path, ngx_fd_t *fd);
static ngx_int_t ngx_http_registry_fs_copy(ngx_http_registry_op_t *op,
    const char *from, const char *to);
static void ngx_http_registry_fs_copy_dir(ngx_http_registry_op_t *op,
    const char *to, ngx_http_registry_path_t *dir);
static ngx_int_t ngx_http_registry_fs_copy_bytes(ngx_http_registry_op_t *op,
    ngx_fd_t in, const char *from, ngx_fd_t out, const char *to);
static ngx_int_t ngx_http_registry_fs_mkdirs_once(
    ngx_http_registry_op_t *op, const char *path);
static int ngx_http_registry_fs_remove(const char *path,
    const struct stat *sb, int type, struct FTW *ftw);


ngx_int_t
ngx_http_registry_fs_failed(ngx_http_registry_op_t *op, const char *call,
    const char *path)
{
    op->err = ngx_errno;
    op->call = call;

    (void) ngx_cpystrn((u_char *) op->path, (u_char *) path,
                       sizeof(op->path));

    return NGX_ERROR;
}


void
ngx_http_registry_fs_path(ngx_http_registry_op_t *op,
    ngx_http_registry_path_t *path, const char *fmt, ...)
{
    u_char   *p;
    va_list   args;

    p = ngx_http_registry_fs_root(op, path);

    path->len = p - (u_char *) path->data;

    va_start(args, fmt);
    path->len += vsnprintf((char *) p, sizeof(path->data) - path->len, fmt,
                           args);
    va_end(args);
}


/* every pull of a blob comes here: there is no format to be read */

void
ngx_http_registry_fs_blob_path(ngx_http_registry_op_t *op,
    ngx_http_registry_path_t *path, const registry_digest_t *digest)
{
    u_char      *p;
    const char  *hex;

    hex = registry_digest_hex(digest);

    p = ngx_http_registry_fs_root(op, path);

    p = ngx_cpymem(p, "blobs/", sizeof("blobs/") - 1);
    p = ngx_cpymem(p, digest->text, REGISTRY_ALGORITHM_LEN);
    *p++ = '/';
    *p++ = hex[0];
    *p++ = hex[1];
    *p++ = '/';
    p = ngx_cpymem(p, hex, registry_digest_hex_len(digest));
    p = ngx_cpymem(p, "/data", sizeof("/data") - 1);
    *p = '\0';

    path->len = p - (u_char *) path->data;
}


static u_char *
ngx_http_registry_fs_root(ngx_http_registry_op_t *op,
    ngx_http_registry_path_t *path)
{
    u_char  *p;

    p = ngx_cpymem(path->data, op->store->path.data, op->store->path.len);

    if (op->apart) {
        return ngx_cpymem(p, "/" NGX_HTTP_REGISTRY_FS_WAITING "/",
                          sizeof("/" NGX_HTTP_REGISTRY_FS_WAITING "/") - 1);
    }

    return ngx_cpymem(p, "/" NGX_HTTP_REGISTRY_FS_ROOT "/",
                      sizeof("/" NGX_HTTP_REGISTRY_FS_ROOT "/") - 1);
}


ngx_int_t
ngx_http_registry_fs_exists(ngx_http_registry_op_t *op, const char *path)
{
    if (access(path, F_OK) == 0) {
        return NGX_OK;
    }

    if (ngx_errno == NGX_ENOENT || ngx_errno == NGX_ENOTDIR) {
        return NGX_DECLINED;
    }

    return ngx_http_registry_fs_failed(op, "access()", path);
}


ngx_int_t
ngx_http_registry_fs_read(ngx_http_registry_op_t *op, const char *path,
    void *buf, size_t *len)
{
    size_t     size;
    ssize_t    n;
    ngx_fd_t   fd;
    ngx_int_t  rc;

    fd = open(path, O_RDONLY|O_CLOEXEC);

    if (fd == NGX_INVALID_FILE) {
        if (ngx_errno == NGX_ENOENT || ngx_errno == NGX_ENOTDIR) {
            return NGX_DECLINED;
        }

        return ngx_http_registry_fs_failed(op, "open()", path);
    }

    size = 0;
    rc = NGX_OK;

    while (size < *len) {
        n = read(fd, (u_char *) buf + size, *len - size);

        if (n == -1 && ngx_errno == NGX_EINTR) {
            continue;
        }

        if (n == -1) {
            rc = ngx_http_registry_fs_failed(op, "read()", path);
            break;
        }

        if (n == 0) {
            break;
        }

        size += n;
    }

    (void) close(fd);

    *len = size;

    return rc;
}


ngx_int_t
ngx_http_registry_fs_write(ngx_http_registry_op_t *op, ngx_fd_t fd,
    const char *path, const void *data, size_t len)
{
    ssize_t        n;
    const u_char  *p;

    p = data;

    while (len) {
        n = write(fd, p, len);

        if (n == -1 && ngx_errno == NGX_EINTR) {
            continue;
        }

        if (n == -1) {
            return ngx_http_registry_fs_failed(op, "write()", path);
        }

        p += n;
        len -= n;
    }

    return NGX_OK;
}


/*
 * Directories are made when they are found missing, and more than once if
 * need be: where blobs are evicted, empty directories are taken away.
 */

ngx_int_t
ngx_http_registry_fs_mkdirs(ngx_http_registry_op_t *op, const char *path)
{
    ngx_int_t   rc;
    ngx_uint_t  tries;

    tries = NGX_HTTP_REGISTRY_FS_TRIES;

    do {
        rc = ngx_http_registry_fs_mkdirs_once(op, path);
    } while (rc == NGX_ERROR && op->err == NGX_ENOENT && tries--);

    return rc;
}


/* from below, since most often no more than the last ones are missing */

static ngx_int_t
ngx_http_registry_fs_mkdirs_once(ngx_http_registry_op_t *op,
    const char *path)
{
    char                      *p, *last;
    size_t                     len;
    ngx_int_t                  rc;
    ngx_http_registry_path_t   dir;

    len = strlen(path);

    if (len >= sizeof(dir.data)) {
        ngx_set_errno(NGX_ENAMETOOLONG);
        return ngx_http_registry_fs_failed(op, "mkdir()", path);
    }

    ngx_memcpy(dir.data, path, len + 1);

    last = strrchr(dir.data, '/');
    p = last;

    for ( ;; ) {
        *p = '\0';

        rc = ngx_http_registry_fs_mkdir(op, dir.data);

        if (rc != NGX_DECLINED || p == dir.data + op->store->path.len) {
            break;
        }

        p = strrchr(dir.data, '/');
    }

    while (rc == NGX_OK && p != last) {
        *p = '/';
        p += strlen(p);

        rc = ngx_http_registry_fs_mkdir(op, dir.data);
    }

    return (rc == NGX_DECLINED)
           ? ngx_http_registry_fs_failed(op, "mkdir()", dir.data) : rc;
}


/* NGX_DECLINED: the one above is missing */

static ngx_int_t
ngx_http_registry_fs_mkdir(ngx_http_registry_op_t *op, const char *path)
{
    if (mkdir(path, 0755) == 0) {
        return ngx_http_registry_fs_sync_name(op, path);
    }

    switch (ngx_errno) {

    case NGX_EEXIST:
        return NGX_OK;

    case NGX_ENOENT:
        return NGX_DECLINED;

    default:
        return ngx_http_registry_fs_failed(op, "mkdir()", path);
    }
}


/* of something new */

static ngx_int_t
ngx_http_registry_fs_sync_name(ngx_http_registry_op_t *op, const char *path)
{
    return op->store->evict ? NGX_OK
                            : ngx_http_registry_fs_sync_parent(op, path);
}


ngx_int_t
ngx_http_registry_fs_sync_parent(ngx_http_registry_op_t *op,
    const char *path)
{
    ngx_fd_t                  fd;
    ngx_int_t                 rc;
    const char               *p;
    ngx_http_registry_path_t  dir;

    p = strrchr(path, '/');

    dir.len = p - path;
    ngx_memcpy(dir.data, path, dir.len);
    dir.data[dir.len] = '\0';

    fd = open(dir.data, O_RDONLY|O_DIRECTORY|O_CLOEXEC);

    /* of a cache it may have been taken away meanwhile, since it is empty */

    if (fd == NGX_INVALID_FILE && ngx_errno == NGX_ENOENT && op->store->evict)
    {
        return NGX_OK;
    }

    if (fd == NGX_INVALID_FILE) {
        return ngx_http_registry_fs_failed(op, "open()", dir.data);
    }

    rc = NGX_OK;

    /* some network file systems refuse it: nothing more can be done there */

    if (fsync(fd) == -1 && ngx_errno != NGX_EINVAL) {
        rc = ngx_http_registry_fs_failed(op, "fsync()", dir.data);
    }

    (void) close(fd);

    return rc;
}


ngx_int_t
ngx_http_registry_fs_publish(ngx_http_registry_op_t *op, const char *from,
    const char *to)
{
    ngx_int_t  rc;

    rc = ngx_http_registry_fs_rename(op, from, to);

    return (rc == NGX_ERROR && op->err == NGX_EXDEV)
           ? ngx_http_registry_fs_copy(op, from, to) : rc;
}


/* the same on one file system */

static ngx_int_t
ngx_http_registry_fs_rename(ngx_http_registry_op_t *op, const char *from,
    const char *to)
{
    ngx_int_t   rc;
    ngx_uint_t  tries;

    for (tries = NGX_HTTP_REGISTRY_FS_TRIES; /* void */ ; tries--) {

        if (rename(from, to) == 0) {
            return ngx_http_registry_fs_sync_name(op, to);
        }

        if (ngx_errno != NGX_ENOENT || tries == 0) {
            return ngx_http_registry_fs_failed(op, "rename()", to);
        }

        /* no directory is made for what somebody has taken away */

        rc = ngx_http_registry_fs_exists(op, from);
        if (rc != NGX_OK) {
            return rc;
        }

        if (ngx_http_registry_fs_mkdirs(op, to) != NGX_OK) {
            return NGX_ERROR;
        }
    }
}


ngx_int_t
ngx_http_registry_fs_put(ngx_http_registry_op_t *op, const char *path,
    const void *data, size_t len)
{
    return ngx_http_registry_fs_put_bytes(op, path, data, len, 1);
}


static ngx_int_t
ngx_http_registry_fs_put_bytes(ngx_http_registry_op_t *op, const char *path,
    const void *data, size_t len, ngx_uint_t sync)
{
    ngx_fd_t                  fd;
    ngx_int_t                 rc;
    ngx_http_registry_path_t  dir, temp;

    ngx_http_registry_fs_path(op, &dir, NGX_HTTP_REGISTRY_FS_TMP);

    rc = ngx_http_registry_fs_temp(op, dir.data, &temp, &fd);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_registry_fs_write(op, fd, temp.data, data, len);

    if (rc == NGX_OK && sync && fsync(fd) == -1) {
        rc = ngx_http_registry_fs_failed(op, "fsync()", temp.data);
    }

    if (close(fd) == -1 && rc == NGX_OK) {
        rc = ngx_http_registry_fs_failed(op, "close()", temp.data);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_registry_fs_publish(op, temp.data, path);
    }

    if (rc != NGX_OK) {
        (void) unlink(temp.data);
    }

    return rc;
}


ngx_int_t
ngx_http_registry_fs_lock_manifests(ngx_http_registry_op_t *op, int how,
    ngx_fd_t *fd)
{
    ngx_uint_t                tries;
    ngx_http_registry_path_t  path;

    ngx_http_registry_fs_path(op, &path, NGX_HTTP_REGISTRY_FS_LOCK, op->name);

    for (tries = NGX_HTTP_REGISTRY_FS_TRIES; /* void */ ; tries--) {

        *fd = open(path.data, O_RDWR|O_CREAT|O_CLOEXEC, 0644);

        if (*fd != NGX_INVALID_FILE || ngx_errno != NGX_ENOENT || tries == 0) {
            break;
        }

        if (how == LOCK_EX) {
            return NGX_DECLINED;
        }

        if (ngx_http_registry_fs_mkdirs(op, path.data) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (*fd == NGX_INVALID_FILE) {
        return ngx_http_registry_fs_failed(op, "open()", path.data);
    }

    while (flock(*fd, how) == -1) {
        if (ngx_errno == NGX_EINTR) {
            continue;
        }

        (void) ngx_http_registry_fs_failed(op, "flock()", path.data);
        (void) close(*fd);

        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_registry_fs_commit(ngx_http_registry_op_t *op, const char *from)
{
    ngx_int_t                 rc;
    ngx_http_registry_path_t  to;

    if (fsync(op->fd) == -1) {
        return ngx_http_registry_fs_failed(op, "fsync()", from);
    }

    ngx_http_registry_fs_blob_path(op, &to, &op->digest);

    rc = ngx_http_registry_fs_publish(op, from, to.data);
    if (rc != NGX_OK || op->any) {
        return rc;
    }

    ngx_http_registry_fs_path(op, &to, NGX_HTTP_REGISTRY_FS_LAYER,
                              op->name,
                              ngx_http_registry_fs_digest(&op->digest));

    return ngx_http_registry_fs_put_link(op, to.data, &op->digest);
}


ngx_int_t
ngx_http_registry_fs_read_link(ngx_http_registry_op_t *op, const char *path,
    registry_digest_t *digest)
{
    char            buf[REGISTRY_DIGEST_MAX + 16];
    size_t          len;
    ngx_int_t       rc;
    registry_str_t  text;

    len = sizeof(buf);

    rc = ngx_http_registry_fs_read(op, path, buf, &len);
    if (rc != NGX_OK) {
        return rc;
    }

    while (len && (buf[len - 1] == '\n' || buf[len - 1] == ' ')) {
        len--;
    }

    text.data = buf;
    text.len = len;

    /* what another program left half written is as good as not there */

    if (registry_digest_parse(text, digest) != REGISTRY_OK) {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_registry_fs_put_link(ngx_http_registry_op_t *op, const char *path,
    const registry_digest_t *digest)
{
    return ngx_http_registry_fs_put_bytes(op, path, digest->text, digest->len,
                                          op->store->evict == NULL);
}


ngx_int_t
ngx_http_registry_fs_unlink(ngx_http_registry_op_t *op, const char *path)
{
    if (unlink(path) == 0) {
        return ngx_http_registry_fs_sync_parent(op, path);
    }

    if (ngx_errno == NGX_ENOENT || ngx_errno == NGX_ENOTDIR) {
        return NGX_DECLINED;
    }

    return ngx_http_registry_fs_failed(op, "unlink()", path);
}


ngx_int_t
ngx_http_registry_fs_hide(ngx_http_registry_op_t *op, const char *path,
    ngx_http_registry_path_t *temp)
{
    ngx_http_registry_path_t  dir;

    ngx_http_registry_fs_path(op, &dir, NGX_HTTP_REGISTRY_FS_TMP);

    if (ngx_http_registry_fs_temp_name(op, dir.data, temp) != NGX_OK
        || ngx_http_registry_fs_mkdirs(op, temp->data) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (rename(path, temp->data) == 0) {
        return NGX_OK;
    }

    if (ngx_errno == NGX_ENOENT || ngx_errno == NGX_ENOTDIR) {
        return NGX_DECLINED;
    }

    return ngx_http_registry_fs_failed(op, "rename()", path);
}


ngx_int_t
ngx_http_registry_fs_discard(ngx_http_registry_op_t *op, const char *path)
{
    ngx_int_t                 rc;
    ngx_http_registry_path_t  temp;

    rc = ngx_http_registry_fs_hide(op, path, &temp);
    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_http_registry_fs_sync_parent(op, path) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_registry_fs_remove_tree(op, temp.data);
}


ngx_int_t
ngx_http_registry_fs_remove_tree(ngx_http_registry_op_t *op, const char *path)
{
    if (nftw(path, ngx_http_registry_fs_remove, 8, FTW_DEPTH|FTW_PHYS) == -1
        && ngx_errno != NGX_ENOENT)
    {
        return ngx_http_registry_fs_failed(op, "remove()", path);
    }

    return NGX_OK;
}


static int
ngx_http_registry_fs_remove(const char *path, const struct stat *sb, int type,
    struct FTW *ftw)
{
    /* what somebody else removed meanwhile is removed */

    if (remove(path) == -1 && ngx_errno != NGX_ENOENT) {
        return -1;
    }

    return 0;
}


ngx_int_t
ngx_http_registry_fs_temp_name(ngx_http_registry_op_t *op, const char *dir,
    ngx_http_registry_path_t *path)
{
    int            n;
    unsigned char  random[REGISTRY_UPLOAD_RANDOM_LEN];
    char           id[REGISTRY_UPLOAD_ID_LEN];

    if (getrandom(random, sizeof(random), 0) != sizeof(random)) {
        return ngx_http_registry_fs_failed(op, "getrandom()", dir);
    }

    registry_upload_id(random, id);

    n = snprintf(path->data, sizeof(path->data), "%s/.%.*s", dir,
                 (int) sizeof(id), id);

    if (n < 0 || (size_t) n >= sizeof(path->data)) {
        ngx_set_errno(NGX_ENAMETOOLONG);
        return ngx_http_registry_fs_failed(op, "open()", dir);
    }

    path->len = n;

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_fs_temp(ngx_http_registry_op_t *op, const char *dir,
    ngx_http_registry_path_t *path, ngx_fd_t *fd)
{
    if (ngx_http_registry_fs_temp_name(op, dir, path) != NGX_OK) {
        return NGX_ERROR;
    }

    *fd = open(path->data, O_WRONLY|O_CREAT|O_EXCL|O_CLOEXEC, 0644);

    if (*fd == NGX_INVALID_FILE && ngx_errno == NGX_ENOENT) {

        if (ngx_http_registry_fs_mkdirs(op, path->data) != NGX_OK) {
            return NGX_ERROR;
        }

        *fd = open(path->data, O_WRONLY|O_CREAT|O_EXCL|O_CLOEXEC, 0644);
    }

    if (*fd == NGX_INVALID_FILE) {
        return ngx_http_registry_fs_failed(op, "open()", path->data);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_fs_copy(ngx_http_registry_op_t *op, const char *from,
    const char *to)
{
    ngx_fd_t                  in, out;
    ngx_int_t                 rc;
    ngx_http_registry_path_t  dir, temp;

    ngx_http_registry_fs_copy_dir(op, to, &dir);

    in = open(from, O_RDONLY|O_CLOEXEC);

    if (in == NGX_INVALID_FILE) {
        return ngx_http_registry_fs_failed(op, "open()", from);
    }

    rc = ngx_http_registry_fs_temp(op, dir.data, &temp, &out);

    if (rc != NGX_OK) {
        (void) close(in);
        return rc;
    }

    rc = ngx_http_registry_fs_copy_bytes(op, in, from, out, temp.data);

    (void) close(in);

    if (rc == NGX_OK && fsync(out) == -1) {
        rc = ngx_http_registry_fs_failed(op, "fsync()", temp.data);
    }

    if (close(out) == -1 && rc == NGX_OK) {
        rc = ngx_http_registry_fs_failed(op, "close()", temp.data);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_registry_fs_rename(op, temp.data, to);
    }

    (void) unlink((rc == NGX_OK) ? from : temp.data);

    return rc;
}


/*
 * A copy that is cut by a kill is to be found again: it grows where
 * ngx_http_registry_fs_expire() looks, if that is on the file system of the
 * target, or else beside the target.
 */

static void
ngx_http_registry_fs_copy_dir(ngx_http_registry_op_t *op, const char *to,
    ngx_http_registry_path_t *dir)
{
    ngx_file_info_t           fi, target;
    ngx_http_registry_path_t  blobs;

    dir->len = strrchr(to, '/') - to;
    ngx_memcpy(dir->data, to, dir->len);
    dir->data[dir->len] = '\0';

    ngx_http_registry_fs_path(op, &blobs, NGX_HTTP_REGISTRY_FS_BLOBS);

    if (ngx_file_info(blobs.data, &fi) != NGX_FILE_ERROR
        && ngx_file_info(dir->data, &target) != NGX_FILE_ERROR
        && fi.st_dev == target.st_dev)
    {
        ngx_http_registry_fs_path(op, dir, NGX_HTTP_REGISTRY_FS_BLOBS_TMP);
    }
}


static ngx_int_t
ngx_http_registry_fs_copy_bytes(ngx_http_registry_op_t *op, ngx_fd_t in,
    const char *from, ngx_fd_t out, const char *to)
{
    u_char     *buf;
    ssize_t     n;
    ngx_int_t   rc;

    buf = malloc(NGX_HTTP_REGISTRY_FS_COPY);
    if (buf == NULL) {
        return ngx_http_registry_fs_failed(op, "malloc()", to);
    }

    for ( ;; ) {
        n = read(in, buf, NGX_HTTP_REGISTRY_FS_COPY);

        if (n == -1 && ngx_errno == NGX_EINTR) {
            continue;
        }

        if (n == -1) {
            rc = ngx_http_registry_fs_failed(op, "read()", from);
            break;
        }

        if (n == 0) {
            rc = NGX_OK;
            break;
        }

        rc = ngx_http_registry_fs_write(op, out, to, buf, n);

        if (rc != NGX_OK) {
            break;
        }
    }

    free(buf);

    return rc;
}
