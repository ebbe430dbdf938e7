
/*
 * Upload sessions of the file system driver, under the repository's
 * _uploads: "data", the bytes; "startedat", for Distribution's own purge;
 * "hashstate", how far the session stands and the hash up to there.  Bytes
 * beyond that were never acknowledged.
 */


#include "ngx_http_registry_fs.h"


#define NGX_HTTP_REGISTRY_FS_HASH_BUF    (1024 * 1024)

/* one round of expire(): repositories, and when the next one is due */
#define NGX_HTTP_REGISTRY_FS_PAGE        256
#define NGX_HTTP_REGISTRY_FS_NEXT_ROUND  50         /* milliseconds */
#define NGX_HTTP_REGISTRY_FS_NEXT_WALK   (60 * 1000)
#define NGX_HTTP_REGISTRY_FS_TMP_VALID   3600       /* seconds */


static ngx_int_t ngx_http_registry_fs_upload_files(
    ngx_http_registry_op_t *op);
static ngx_int_t ngx_http_registry_fs_upload_keep(
    ngx_http_registry_op_t *op);
static void ngx_http_registry_fs_upload_path(ngx_http_registry_op_t *op,
    ngx_http_registry_path_t *path, const char *file);
static ngx_int_t ngx_http_registry_fs_upload_cut(ngx_http_registry_op_t *op,
    const char *path);
static ngx_int_t ngx_http_registry_fs_upload_state(
    ngx_http_registry_op_t *op);
static ngx_int_t ngx_http_registry_fs_upload_verify(
    ngx_http_registry_op_t *op, const char *path);
static void ngx_http_registry_fs_expire_uploads(ngx_http_registry_op_t *op,
    time_t before);
static void ngx_http_registry_fs_expire_dir(ngx_http_registry_op_t *op,
    ngx_http_registry_path_t *path, time_t before);
static void ngx_http_registry_fs_expire_entry(ngx_http_registry_op_t *op,
    const char *dir, const char *name, time_t before);
static ngx_fd_t ngx_http_registry_fs_expire_open(const char *path);


ngx_int_t
ngx_http_registry_fs_upload_create(ngx_http_registry_op_t *op)
{
    ngx_err_t                 err;
    ngx_int_t                 rc;
    ngx_http_registry_path_t  path;

    ngx_http_registry_fs_path(op, &path, NGX_HTTP_REGISTRY_FS_UPLOAD,
                              op->name, op->upload);

    if (mkdir(path.data, 0755) == -1) {

        if (ngx_errno != NGX_ENOENT) {
            return ngx_http_registry_fs_failed(op, "mkdir()", path.data);
        }

        rc = ngx_http_registry_fs_mkdirs(op, path.data);
        if (rc != NGX_OK) {
            return rc;
        }

        if (mkdir(path.data, 0755) == -1) {
            return ngx_http_registry_fs_failed(op, "mkdir()", path.data);
        }
    }

    rc = ngx_http_registry_fs_upload_files(op);

    if (rc != NGX_OK) {
        err = op->err;
        (void) ngx_http_registry_fs_remove_tree(op, path.data);
        op->err = err;
    }

    return rc;
}


static ngx_int_t
ngx_http_registry_fs_upload_files(ngx_http_registry_op_t *op)
{
    int                       n;
    char                      text[sizeof("2026-01-01T00:00:00Z")];
    time_t                    now;
    ngx_fd_t                  fd;
    ngx_int_t                 rc;
    struct tm                 tm;
    ngx_http_registry_path_t  path;

    now = time(NULL);
    (void) gmtime_r(&now, &tm);

    n = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);

    ngx_http_registry_fs_upload_path(op, &path, "startedat");

    fd = open(path.data, O_WRONLY|O_CREAT|O_EXCL|O_CLOEXEC, 0644);

    if (fd == NGX_INVALID_FILE) {
        return ngx_http_registry_fs_failed(op, "open()", path.data);
    }

    rc = ngx_http_registry_fs_write(op, fd, path.data, text, n);

    (void) close(fd);

    if (rc != NGX_OK) {
        return rc;
    }

    ngx_http_registry_fs_upload_path(op, &path, "data");

    fd = open(path.data, O_WRONLY|O_CREAT|O_EXCL|O_CLOEXEC, 0644);

    if (fd == NGX_INVALID_FILE) {
        return ngx_http_registry_fs_failed(op, "open()", path.data);
    }

    (void) close(fd);

    return ngx_http_registry_fs_upload_keep(op);
}


ngx_int_t
ngx_http_registry_fs_upload_open(ngx_http_registry_op_t *op)
{
    ngx_int_t                 rc;
    ngx_file_info_t           fi, now;
    ngx_http_registry_path_t  path;

    ngx_http_registry_fs_upload_path(op, &path, "data");

    op->fd = open(path.data, O_RDWR|O_CLOEXEC);

    if (op->fd == NGX_INVALID_FILE) {
        if (ngx_errno == NGX_ENOENT || ngx_errno == NGX_ENOTDIR) {
            return NGX_DECLINED;
        }

        return ngx_http_registry_fs_failed(op, "open()", path.data);
    }

    if (op->exclusive && flock(op->fd, LOCK_EX|LOCK_NB) == -1) {
        if (ngx_errno == NGX_EAGAIN) {
            return NGX_BUSY;
        }

        return ngx_http_registry_fs_failed(op, "flock()", path.data);
    }

    if (ngx_fd_info(op->fd, &fi) == NGX_FILE_ERROR) {
        return ngx_http_registry_fs_failed(op, "fstat()", path.data);
    }

    /* what is locked must still be the session's, and not a blob by now */

    if (stat(path.data, &now) == -1 || fi.st_ino != now.st_ino
        || fi.st_dev != now.st_dev)
    {
        return NGX_DECLINED;
    }

    /* the state is read under the lock: its last owner has written it */

    rc = ngx_http_registry_fs_upload_state(op);
    if (rc != NGX_OK) {
        return rc;
    }

    /* a power failure may have taken bytes that were not on the disk yet */

    if ((uint64_t) ngx_file_size(&fi) < op->hash.length) {
        return NGX_DECLINED;
    }

    if (!op->exclusive || (uint64_t) ngx_file_size(&fi) == op->hash.length) {
        return NGX_OK;
    }

    return ngx_http_registry_fs_upload_cut(op, path.data);
}


/* gigabytes may have come since: that is for a thread */

static ngx_int_t
ngx_http_registry_fs_upload_cut(ngx_http_registry_op_t *op, const char *path)
{
    if (!op->threaded) {
        (void) close(op->fd);
        op->fd = NGX_INVALID_FILE;
        return NGX_AGAIN;
    }

    if (ftruncate(op->fd, op->hash.length) == -1) {
        return ngx_http_registry_fs_failed(op, "ftruncate()", path);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_fs_upload_state(ngx_http_registry_op_t *op)
{
    char                      buf[REGISTRY_HASH_STATE_MAX];
    size_t                    len;
    ngx_int_t                 rc;
    registry_str_t            state;
    ngx_http_registry_path_t  path;

    ngx_http_registry_fs_upload_path(op, &path, "hashstate");

    len = sizeof(buf);

    rc = ngx_http_registry_fs_read(op, path.data, buf, &len);
    if (rc != NGX_OK) {
        return rc;
    }

    state.data = buf;
    state.len = len;

    /* somebody else's session, or one cut short by a power failure */

    if (registry_hash_import(state, &op->hash) != REGISTRY_OK) {
        return NGX_DECLINED;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_registry_fs_upload_save(ngx_http_registry_op_t *op)
{
    ngx_int_t  rc;

    /*
     * The hash goes on from here: a state that outlives a power failure must
     * not speak of bytes that did not.
     */

    if (op->fd != NGX_INVALID_FILE && fsync(op->fd) == -1) {
        rc = ngx_http_registry_fs_failed(op, "fsync()", op->upload);

    } else {
        rc = ngx_http_registry_fs_upload_keep(op);
    }

    /*
     * Who opens the session next may do so before a writeback has closed its
     * copy of the descriptor, with which the lock would go.
     */

    if (op->fd != NGX_INVALID_FILE) {
        (void) flock(op->fd, LOCK_UN);
    }

    return rc;
}


/* a rename, so that a reader sees this state or the one before */

static ngx_int_t
ngx_http_registry_fs_upload_keep(ngx_http_registry_op_t *op)
{
    char                      buf[REGISTRY_HASH_STATE_MAX];
    size_t                    len;
    ngx_fd_t                  fd;
    ngx_int_t                 rc;
    ngx_http_registry_path_t  path, temp;

    ngx_http_registry_fs_upload_path(op, &path, "hashstate");

    ngx_http_registry_fs_upload_path(op, &temp, "hashstate.new");

    len = registry_hash_export(&op->hash, buf);

    fd = open(temp.data, O_WRONLY|O_CREAT|O_TRUNC|O_CLOEXEC, 0644);

    /* the session was cancelled meanwhile */

    if (fd == NGX_INVALID_FILE && ngx_errno == NGX_ENOENT) {
        return NGX_DECLINED;
    }

    if (fd == NGX_INVALID_FILE) {
        return ngx_http_registry_fs_failed(op, "open()", temp.data);
    }

    rc = ngx_http_registry_fs_write(op, fd, temp.data, buf, len);

    (void) close(fd);

    if (rc != NGX_OK) {
        (void) unlink(temp.data);
        return rc;
    }

    if (rename(temp.data, path.data) == 0) {
        return NGX_OK;
    }

    if (ngx_errno == NGX_ENOENT) {
        return NGX_DECLINED;
    }

    return ngx_http_registry_fs_failed(op, "rename()", path.data);
}


ngx_int_t
ngx_http_registry_fs_upload_commit(ngx_http_registry_op_t *op)
{
    ngx_int_t                 rc;
    ngx_http_registry_path_t  path;

    ngx_http_registry_fs_upload_path(op, &path, "data");

    rc = ngx_http_registry_fs_upload_verify(op, path.data);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_registry_fs_commit(op, path.data);
    if (rc != NGX_OK) {
        return rc;
    }

    /* what is left of the session is not worth a failed push */

    ngx_http_registry_fs_path(op, &path, NGX_HTTP_REGISTRY_FS_UPLOAD,
                              op->name, op->upload);

    (void) ngx_http_registry_fs_remove_tree(op, path.data);

    return NGX_OK;
}


/* NGX_ABORT if the session's bytes are not what the digest says */

static ngx_int_t
ngx_http_registry_fs_upload_verify(ngx_http_registry_op_t *op,
    const char *path)
{
    off_t              offset;
    u_char            *buf;
    ssize_t            n;
    ngx_int_t          rc;
    registry_hash_t    hash;
    registry_digest_t  digest;

    if (op->hash.algorithm == op->digest.algorithm) {
        return registry_hash_is(&op->hash, &op->digest, &digest) ? NGX_OK
                                                                 : NGX_ABORT;
    }

    /* the digest came with the last request, in another algorithm */

    buf = malloc(NGX_HTTP_REGISTRY_FS_HASH_BUF);
    if (buf == NULL) {
        return ngx_http_registry_fs_failed(op, "malloc()", path);
    }

    registry_hash_init(&hash, op->digest.algorithm);

    rc = NGX_OK;
    offset = 0;

    for ( ;; ) {
        n = pread(op->fd, buf, NGX_HTTP_REGISTRY_FS_HASH_BUF, offset);

        if (n == -1 && ngx_errno == NGX_EINTR) {
            continue;
        }

        if (n == -1) {
            rc = ngx_http_registry_fs_failed(op, "pread()", path);
            break;
        }

        if (n == 0) {
            break;
        }

        registry_hash_update(&hash, buf, n);
        offset += n;
    }

    free(buf);

    if (rc != NGX_OK) {
        return rc;
    }

    return registry_hash_is(&hash, &op->digest, &digest) ? NGX_OK : NGX_ABORT;
}


ngx_int_t
ngx_http_registry_fs_upload_delete(ngx_http_registry_op_t *op)
{
    ngx_http_registry_path_t  path;

    ngx_http_registry_fs_path(op, &path, NGX_HTTP_REGISTRY_FS_UPLOAD,
                              op->name, op->upload);

    /* a large file goes with its last descriptor: here, not on the loop */

    if (op->fd != NGX_INVALID_FILE) {
        (void) close(op->fd);
        op->fd = NGX_INVALID_FILE;
    }

    return ngx_http_registry_fs_discard(op, path.data);
}


static void
ngx_http_registry_fs_upload_path(ngx_http_registry_op_t *op,
    ngx_http_registry_path_t *path, const char *file)
{
    ngx_http_registry_fs_path(op, path, NGX_HTTP_REGISTRY_FS_UPLOAD "/%s",
                              op->name, op->upload, file);
}


/*
 * Runs in the cache manager process, where nothing else waits for it.  A
 * round looks at a page of repositories, and the next one goes on from there.
 */

ngx_msec_t
ngx_http_registry_fs_expire(ngx_http_registry_store_t *store)
{
    time_t                     now;
    ngx_str_t                  last;
    ngx_msec_t                 next;
    ngx_msec_int_t             left;
    ngx_http_registry_op_t    *op;
    ngx_http_registry_path_t   path;

    /* the other managers of the process decide when it calls them all */

    left = (ngx_msec_int_t) (store->due - ngx_current_msec);

    if (store->due && left > 0) {
        return left;
    }

    last.data = (u_char *) store->cursor;
    last.len = ngx_strlen(store->cursor);

    op = ngx_http_registry_op_create(store, NGX_HTTP_REGISTRY_OP_CATALOG,
                                     &last, ngx_cycle->log);
    if (op == NULL) {
        return NGX_HTTP_REGISTRY_FS_NEXT_WALK;
    }

    now = ngx_time();

    /* nobody uploads to a cache */

    if (store->evict == NULL) {
        ngx_http_registry_fs_expire_uploads(op, now - store->upload_expires);
    }

    next = op->list.next[0] ? NGX_HTTP_REGISTRY_FS_NEXT_ROUND
                            : NGX_HTTP_REGISTRY_FS_NEXT_WALK;

    ngx_memcpy(store->cursor, op->list.next, sizeof(store->cursor));

    ngx_http_registry_fs_path(op, &path, NGX_HTTP_REGISTRY_FS_TMP);
    ngx_http_registry_fs_expire_dir(op, &path,
                                    now - NGX_HTTP_REGISTRY_FS_TMP_VALID);

    ngx_http_registry_fs_path(op, &path, NGX_HTTP_REGISTRY_FS_BLOBS_TMP);
    ngx_http_registry_fs_expire_dir(op, &path,
                                    now - NGX_HTTP_REGISTRY_FS_TMP_VALID);

    ngx_http_registry_op_free(op);

    store->due = ngx_current_msec + next;

    return next;
}


/* of the next page of repositories */

static void
ngx_http_registry_fs_expire_uploads(ngx_http_registry_op_t *op, time_t before)
{
    char                      *p;
    ngx_uint_t                 i;
    ngx_http_registry_path_t   path;

    static const char *const   uploads[] = { "_uploads", NULL };

    op->last = op->name;
    op->limit = NGX_HTTP_REGISTRY_FS_PAGE;

    if (ngx_http_registry_fs_repositories(op, uploads) != NGX_OK) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, op->err,
                      "%s \"%s\" of registry_store \"%V\" failed", op->call,
                      op->path, &op->store->name);
        return;
    }

    p = op->list.start;

    for (i = 0; i < op->list.n; i++) {

        ngx_http_registry_fs_path(op, &path, NGX_HTTP_REGISTRY_FS_UPLOADS, p);
        ngx_http_registry_fs_expire_dir(op, &path, before);

        p += ngx_strlen(p) + 1;
    }
}


/* removes the entries of a directory that nobody touched for some time */

static void
ngx_http_registry_fs_expire_dir(ngx_http_registry_op_t *op,
    ngx_http_registry_path_t *path, time_t before)
{
    char                      *p;
    ngx_uint_t                 i;
    ngx_http_registry_list_t   list;

    ngx_memzero(&list, sizeof(ngx_http_registry_list_t));

    do {
        free(list.start);
        list.start = NULL;

        if (ngx_http_registry_fs_readdir(op, path->data, list.next,
                                         NGX_HTTP_REGISTRY_FS_PAGE, &list)
            != NGX_OK)
        {
            break;
        }

        p = list.start;

        for (i = 0; i < list.n; i++) {
            ngx_http_registry_fs_expire_entry(op, path->data, p, before);
            p += ngx_strlen(p) + 1;
        }

    } while (list.next[0]);

    free(list.start);
}


static void
ngx_http_registry_fs_expire_entry(ngx_http_registry_op_t *op,
    const char *dir, const char *name, time_t before)
{
    ngx_fd_t                  fd;
    struct stat               sb;
    ngx_http_registry_path_t  entry, data;

    if (snprintf(entry.data, sizeof(entry.data), "%s/%s", dir, name)
        >= (int) sizeof(entry.data)
        || snprintf(data.data, sizeof(data.data), "%s/%s/data", dir, name)
           >= (int) sizeof(data.data))
    {
        return;
    }

    /* of a session: when its last byte came */

    if (stat(data.data, &sb) == -1 && lstat(entry.data, &sb) == -1) {
        return;
    }

    if (sb.st_mtime > before) {
        return;
    }

    /* what is locked is in use, however slowly */

    fd = ngx_http_registry_fs_expire_open(data.data);

    if (fd == NGX_INVALID_FILE) {
        fd = ngx_http_registry_fs_expire_open(entry.data);
    }

    if (fd != NGX_INVALID_FILE && flock(fd, LOCK_EX|LOCK_NB) == -1) {
        (void) close(fd);
        return;
    }

    ngx_log_error(NGX_LOG_INFO, ngx_cycle->log, 0,
                  "registry: removing abandoned \"%s\"", entry.data);

    if (ngx_http_registry_fs_remove_tree(op, entry.data) != NGX_OK) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, op->err,
                      "%s \"%s\" failed", op->call, op->path);
    }

    if (fd != NGX_INVALID_FILE) {
        (void) close(fd);
    }
}


/* to be locked: NFS wants that to be for writing, which no directory is */

static ngx_fd_t
ngx_http_registry_fs_expire_open(const char *path)
{
    ngx_fd_t  fd;

    fd = open(path, O_RDWR|O_NONBLOCK|O_CLOEXEC);

    return (fd == NGX_INVALID_FILE)
           ? open(path, O_RDONLY|O_NONBLOCK|O_CLOEXEC) : fd;
}
