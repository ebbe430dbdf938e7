
/*
 * Adopting what docker-registry has fetched as a proxy.  Its layout is ours,
 * but for the namespace, which its repositories lack; and its blobs, some of
 * them written in place, may be cut short by a crash or spoilt by the disk.
 * So all of it is set aside at first, and goes from there into the cache link
 * by link, each blob once it has been hashed.  A kill loses nothing: what is
 * there still is looked at again.
 */


#include "ngx_http_registry_fs.h"


/* docker-registry keeps it as a proxy, and only then */
#define NGX_HTTP_REGISTRY_FS_SCHEDULER   "scheduler-state.json"

#define NGX_HTTP_REGISTRY_FS_ADOPT_BUF   (64 * 1024)
#define NGX_HTTP_REGISTRY_FS_ADOPT_READS 16     /* in a step */


static void ngx_http_registry_fs_adopt_none(ngx_http_registry_store_t *store,
    ngx_log_t *log);
static void ngx_http_registry_fs_adopt_path(ngx_http_registry_op_t *op,
    ngx_http_registry_path_t *path, const char *name);
static void ngx_http_registry_fs_adopt_data(ngx_http_registry_op_t *op,
    ngx_http_registry_path_t *path);
static ngx_int_t ngx_http_registry_fs_adopt_file(ngx_http_registry_op_t *op,
    const char *path, void *data);
static ngx_int_t ngx_http_registry_fs_adopt_open(ngx_http_registry_op_t *op,
    ngx_http_registry_fs_adopt_t *adopt,
    const ngx_http_registry_path_t *from);
static ngx_int_t ngx_http_registry_fs_adopt_hash(ngx_http_registry_op_t *op,
    ngx_http_registry_fs_adopt_t *adopt, ngx_http_registry_fs_blob_t *blob);
static ngx_int_t ngx_http_registry_fs_adopt_blob(ngx_http_registry_op_t *op,
    ngx_http_registry_fs_adopt_t *adopt, ngx_http_registry_fs_blob_t *blob);
static ngx_int_t ngx_http_registry_fs_adopt_link(ngx_http_registry_op_t *op,
    ngx_http_registry_fs_adopt_t *adopt, const char *path);
static ngx_int_t ngx_http_registry_fs_adopt_move(ngx_http_registry_op_t *op,
    const char *from, const char *to);
static ngx_uint_t ngx_http_registry_fs_adopt_named(
    ngx_http_registry_fs_adopt_t *adopt, const char *name);


/*
 * What marks the directory as docker-registry's goes along, and so the cache,
 * which is made in its place, is not taken for that at the next start.  Each
 * of the two steps may be the last one that was made.
 */

void
ngx_http_registry_fs_adopt_aside(ngx_http_registry_store_t *store,
    ngx_log_t *log)
{
    char  mark[NGX_MAX_PATH], moved[NGX_MAX_PATH];
    char  from[NGX_MAX_PATH], to[NGX_MAX_PATH];

    (void) snprintf(mark, sizeof(mark), "%s/" NGX_HTTP_REGISTRY_FS_SCHEDULER,
                    (char *) store->path.data);
    (void) snprintf(moved, sizeof(moved),
                    "%s/docker/" NGX_HTTP_REGISTRY_FS_SCHEDULER,
                    (char *) store->path.data);
    (void) snprintf(from, sizeof(from), "%s/docker",
                    (char *) store->path.data);
    (void) snprintf(to, sizeof(to), "%s/" NGX_HTTP_REGISTRY_FS_ADOPT,
                    (char *) store->path.data);

    if (rename(mark, moved) == -1 && ngx_errno != NGX_ENOENT) {
        ngx_log_error(NGX_LOG_ERR, log, ngx_errno,
                      "rename() \"%s\" to \"%s\" of registry_cache \"%V\" "
                      "failed", mark, moved, &store->name);
        return;
    }

    if (access(moved, F_OK) == -1) {

        if (access(to, F_OK) == -1) {
            ngx_http_registry_fs_adopt_none(store, log);
        }

        return;
    }

    if (rename(from, to) == 0) {
        return;
    }

    if (ngx_errno == NGX_EEXIST || ngx_errno == ENOTEMPTY) {
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "docker-registry was here again before all it had was "
                      "adopted by registry_cache \"%V\": reload when it is",
                      &store->name);
        return;
    }

    ngx_log_error(NGX_LOG_ERR, log, ngx_errno,
                  "rename() \"%s\" to \"%s\" of registry_cache \"%V\" failed",
                  from, to, &store->name);
}


/* a cache has a "_tmp" as soon as anything is put in */

static void
ngx_http_registry_fs_adopt_none(ngx_http_registry_store_t *store,
    ngx_log_t *log)
{
    char    path[NGX_MAX_PATH];
    size_t  len;

    len = snprintf(path, sizeof(path), "%s/" NGX_HTTP_REGISTRY_FS_ROOT "/"
                   NGX_HTTP_REGISTRY_FS_TMP, (char *) store->path.data);

    if (access(path, F_OK) == 0) {
        return;
    }

    path[len - (sizeof("/_tmp") - 1)] = '\0';

    if (access(path, F_OK) == 0) {
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "nothing is adopted by registry_cache \"%V\": \"%V\" "
                      "has no " NGX_HTTP_REGISTRY_FS_SCHEDULER ", as a proxy "
                      "of docker-registry has", &store->name, &store->path);
    }
}


static void
ngx_http_registry_fs_adopt_path(ngx_http_registry_op_t *op,
    ngx_http_registry_path_t *path, const char *name)
{
    path->len = snprintf(path->data, sizeof(path->data),
                         "%s/" NGX_HTTP_REGISTRY_FS_ADOPT "%s",
                         (char *) op->store->path.data, name);
}


/* of op->digest */

static void
ngx_http_registry_fs_adopt_data(ngx_http_registry_op_t *op,
    ngx_http_registry_path_t *path)
{
    path->len = snprintf(path->data, sizeof(path->data),
                         "%s/" NGX_HTTP_REGISTRY_FS_ADOPT
                         "/registry/v2/blobs/%s/%.2s/%s/data",
                         (char *) op->store->path.data,
                         registry_algorithm_name(op->digest.algorithm),
                         registry_digest_hex(&op->digest),
                         registry_digest_hex(&op->digest));
}


ngx_int_t
ngx_http_registry_fs_adopt_begin(ngx_http_registry_op_t *op,
    ngx_http_registry_fs_adopt_t *adopt)
{
    ngx_fd_t                  fd;
    ngx_int_t                 rc;
    ngx_http_registry_path_t  path;

    ngx_memzero(&adopt->sweep, sizeof(ngx_http_registry_fs_sweep_t));

    adopt->sweep.file = ngx_http_registry_fs_adopt_file;
    adopt->sweep.data = adopt;

    ngx_http_registry_fs_adopt_path(op, &adopt->sweep.path,
                                    "/registry/v2/repositories");
    adopt->root = adopt->sweep.path.len + 1;

    ngx_http_registry_fs_adopt_path(op, &path, "");

    fd = open(path.data, O_RDONLY|O_DIRECTORY|O_CLOEXEC);

    if (fd == NGX_INVALID_FILE) {
        return (ngx_errno == NGX_ENOENT)
                   ? NGX_DECLINED
                   : ngx_http_registry_fs_failed(op, "open()", path.data);
    }

    /* what is hashed is what will be there after a power failure, too */

    rc = (syncfs(fd) == 0)
             ? NGX_OK
             : ngx_http_registry_fs_failed(op, "syncfs()", path.data);

    (void) close(fd);

    return rc;
}


ngx_int_t
ngx_http_registry_fs_adopt_step(ngx_http_registry_op_t *op,
    ngx_http_registry_fs_adopt_t *adopt, ngx_http_registry_fs_blob_t *blob)
{
    ngx_int_t  rc;

    if (op->fd != NGX_INVALID_FILE) {
        return ngx_http_registry_fs_adopt_hash(op, adopt, blob);
    }

    if (adopt->link.len) {
        adopt->link.len = 0;
        rc = ngx_http_registry_fs_adopt_link(op, adopt, adopt->link.data);

    } else {
        rc = ngx_http_registry_fs_sweep(op, &adopt->sweep);
    }

    return (rc == NGX_DONE || rc == NGX_ERROR) ? rc : NGX_AGAIN;
}


void
ngx_http_registry_fs_adopt_close(ngx_http_registry_op_t *op,
    ngx_http_registry_fs_adopt_t *adopt)
{
    if (op->fd != NGX_INVALID_FILE) {
        (void) close(op->fd);
        op->fd = NGX_INVALID_FILE;
    }

    ngx_http_registry_fs_sweep_close(&adopt->sweep);
}


/* what the cache has already is right, and perhaps newer: it stays */

static ngx_int_t
ngx_http_registry_fs_adopt_file(ngx_http_registry_op_t *op, const char *path,
    void *data)
{
    ngx_http_registry_fs_adopt_t *adopt = data;

    ngx_int_t                 rc;
    ngx_http_registry_path_t  from, to;

    rc = ngx_http_registry_fs_about(op, path, path, &op->digest);
    if (rc != NGX_OK) {
        return rc;
    }

    ngx_http_registry_fs_adopt_data(op, &from);
    ngx_http_registry_fs_blob_path(op, &to, &op->digest);

    rc = ngx_http_registry_fs_exists(op, to.data);

    if (rc == NGX_OK) {
        (void) unlink(from.data);
        return ngx_http_registry_fs_adopt_link(op, adopt, path);
    }

    if (rc == NGX_ERROR) {
        return rc;
    }

    rc = ngx_http_registry_fs_adopt_open(op, adopt, &from);

    if (rc == NGX_OK) {
        adopt->link.len = ngx_strlen(path);
        ngx_memcpy(adopt->link.data, path, adopt->link.len + 1);
    }

    return rc;
}


/* NGX_DECLINED if there is none */

static ngx_int_t
ngx_http_registry_fs_adopt_open(ngx_http_registry_op_t *op,
    ngx_http_registry_fs_adopt_t *adopt, const ngx_http_registry_path_t *from)
{
    ngx_http_registry_path_t  dir;

    dir = *from;
    *strrchr(dir.data, '/') = '\0';

    op->fd = open(from->data, O_RDONLY|O_NOFOLLOW|O_NONBLOCK|O_CLOEXEC);

    if (op->fd == NGX_INVALID_FILE) {
        if (ngx_errno == NGX_ENOENT || ngx_errno == NGX_ENOTDIR
            || ngx_errno == NGX_ELOOP)
        {
            return NGX_DECLINED;
        }

        return ngx_http_registry_fs_failed(op, "open()", from->data);
    }

    if (fstat(op->fd, &adopt->sb) == -1) {
        (void) ngx_http_registry_fs_failed(op, "fstat()", from->data);

    } else if (access(dir.data, W_OK) == -1) {

        /* or else it would be hashed in vain, again and again */

        (void) ngx_http_registry_fs_failed(op, "access()", dir.data);

    } else if (S_ISREG(adopt->sb.st_mode)) {
        registry_hash_init(&op->hash, op->digest.algorithm);
        return NGX_OK;

    } else {
        (void) close(op->fd);
        op->fd = NGX_INVALID_FILE;
        return NGX_DECLINED;
    }

    (void) close(op->fd);
    op->fd = NGX_INVALID_FILE;

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_registry_fs_adopt_hash(ngx_http_registry_op_t *op,
    ngx_http_registry_fs_adopt_t *adopt, ngx_http_registry_fs_blob_t *blob)
{
    u_char                     buf[NGX_HTTP_REGISTRY_FS_ADOPT_BUF];
    ssize_t                    n;
    ngx_err_t                  err;
    ngx_int_t                  rc;
    ngx_uint_t                 i;
    registry_digest_t          found;
    ngx_http_registry_path_t   from;

    for (i = 0; i < NGX_HTTP_REGISTRY_FS_ADOPT_READS; i++) {
        n = read(op->fd, buf, sizeof(buf));

        if (n == -1 && ngx_errno == NGX_EINTR) {
            return NGX_AGAIN;
        }

        if (n <= 0) {
            break;
        }

        registry_hash_update(&op->hash, buf, n);
    }

    if (n > 0) {
        return NGX_AGAIN;
    }

    err = (n == -1) ? ngx_errno : 0;

    registry_hash_final(&op->hash, &found);

    if (err == 0 && registry_digest_equal(&found, &op->digest)) {
        rc = ngx_http_registry_fs_adopt_blob(op, adopt, blob);

    } else {
        ngx_http_registry_fs_adopt_data(op, &from);

        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, err,
                      "registry_cache \"%V\" does not adopt %s: its bytes "
                      "%s", &op->store->name, op->digest.text,
                      err ? "cannot be read" : "have another digest");

        (void) unlink(from.data);

        adopt->wrong++;
        adopt->link.len = 0;
        rc = NGX_AGAIN;
    }

    (void) close(op->fd);
    op->fd = NGX_INVALID_FILE;

    return rc;
}


/* the time of access, which the hashing has changed, tells its last use */

static ngx_int_t
ngx_http_registry_fs_adopt_blob(ngx_http_registry_op_t *op,
    ngx_http_registry_fs_adopt_t *adopt, ngx_http_registry_fs_blob_t *blob)
{
    ngx_int_t                 rc;
    struct timespec           times[2];
    ngx_http_registry_path_t  from, to;

    ngx_http_registry_fs_adopt_data(op, &from);
    ngx_http_registry_fs_blob_path(op, &to, &op->digest);

    times[0] = adopt->sb.st_atim;
    times[1].tv_sec = 0;
    times[1].tv_nsec = UTIME_OMIT;

    /* of somebody else's file only */

    (void) futimens(op->fd, times);

    rc = ngx_http_registry_fs_adopt_move(op, from.data, to.data);

    if (rc != NGX_OK) {
        adopt->link.len = 0;
        return (rc == NGX_DECLINED) ? NGX_AGAIN : rc;
    }

    adopt->blobs++;
    adopt->bytes += adopt->sb.st_size;

    blob->digest = op->digest;
    blob->size = adopt->sb.st_size;
    blob->used = ngx_max(adopt->sb.st_atime, adopt->sb.st_mtime);

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_fs_adopt_link(ngx_http_registry_op_t *op,
    ngx_http_registry_fs_adopt_t *adopt, const char *path)
{
    char                     *p;
    size_t                    size;
    ngx_int_t                 rc;
    const char               *name;
    ngx_http_registry_path_t  to;

    name = path + adopt->root;

    ngx_http_registry_fs_path(op, &to, NGX_HTTP_REGISTRY_FS_REPOS "/");

    p = to.data + to.len;
    size = sizeof(to.data) - to.len;

    if (ngx_http_registry_fs_adopt_named(adopt, name)) {
        to.len = snprintf(p, size, "%s", name);

    } else {
        to.len = snprintf(p, size, "%.*s/%s", (int) adopt->dir->len,
                          (char *) adopt->dir->data, name);
    }

    if (to.len >= size) {
        return NGX_DECLINED;
    }

    rc = ngx_http_registry_fs_exists(op, to.data);

    if (rc == NGX_OK) {
        return (unlink(path) == 0 || ngx_errno == NGX_ENOENT)
                   ? NGX_OK
                   : ngx_http_registry_fs_failed(op, "unlink()", path);
    }

    if (rc == NGX_DECLINED) {
        rc = ngx_http_registry_fs_adopt_move(op, path, to.data);
    }

    if (rc == NGX_OK) {
        adopt->links++;
    }

    return (rc == NGX_DECLINED) ? NGX_OK : rc;
}


/*
 * Each has a directory of its own, which is moved with it, so that none has to
 * be made.  Nothing waits for the disk: a move that a power failure undoes is
 * made again.  NGX_DECLINED if there is nothing to be moved.
 */

static ngx_int_t
ngx_http_registry_fs_adopt_move(ngx_http_registry_op_t *op, const char *from,
    const char *to)
{
    ngx_int_t                 rc;
    ngx_http_registry_path_t  source, target;

    source.len = strrchr(from, '/') - from;
    ngx_memcpy(source.data, from, source.len);
    source.data[source.len] = '\0';

    target.len = strrchr(to, '/') - to;
    ngx_memcpy(target.data, to, target.len);
    target.data[target.len] = '\0';

    if (rename(source.data, target.data) == 0) {
        return NGX_OK;
    }

    if (ngx_errno == NGX_ENOENT) {
        rc = ngx_http_registry_fs_exists(op, source.data);

        if (rc == NGX_OK) {
            rc = ngx_http_registry_fs_mkdirs(op, target.data);
        }

        if (rc != NGX_OK || rename(source.data, target.data) == 0) {
            return rc;
        }
    }

    /* there is such a directory, or it is on another file system */

    return ngx_http_registry_fs_publish(op, from, to);
}


/*
 * No client can ask docker-registry's remote for such a name.  So these are
 * the cache's own repositories, where docker-registry was put in its place
 * for a while.
 */

static ngx_uint_t
ngx_http_registry_fs_adopt_named(ngx_http_registry_fs_adopt_t *adopt,
    const char *name)
{
    ngx_str_t   *dir;
    ngx_uint_t   i;

    dir = adopt->dirs->elts;

    for (i = 0; i < adopt->dirs->nelts; i++) {
        if (strncmp(name, (char *) dir[i].data, dir[i].len) == 0
            && name[dir[i].len] == '/')
        {
            return 1;
        }
    }

    return 0;
}


ngx_int_t
ngx_http_registry_fs_adopt_purge(ngx_http_registry_op_t *op,
    ngx_int_t (*work)(ngx_http_registry_op_t *op))
{
    char                      *name;
    ngx_int_t                  rc, found;
    ngx_http_registry_path_t   path;

    ngx_http_registry_fs_adopt_path(op, &path, "");

    rc = ngx_http_registry_fs_exists(op, path.data);
    if (rc != NGX_OK) {
        return rc;
    }

    name = op->name;

    op->apart = 1;
    found = work(op);

    if (found != NGX_ERROR && ngx_strcmp(op->waiting, name) != 0) {

        op->apart = 2;
        op->name = op->waiting;
        rc = work(op);

        if (rc != NGX_DECLINED) {
            found = rc;
        }
    }

    op->apart = 0;
    op->name = name;

    return found;
}


ngx_int_t
ngx_http_registry_fs_adopt_end(ngx_http_registry_op_t *op)
{
    ngx_int_t                 rc;
    ngx_http_registry_path_t  path, temp;

    ngx_http_registry_fs_adopt_path(op, &path, "");

    rc = ngx_http_registry_fs_hide(op, path.data, &temp);

    if (rc == NGX_OK) {
        (void) ngx_cpystrn((u_char *) op->temp,
                           (u_char *) strrchr(temp.data, '/') + 1,
                           sizeof(op->temp));
    }

    return rc;
}
