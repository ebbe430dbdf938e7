
/*
 * Blobs on their way into the file system store from elsewhere: files under
 * repositories/_tmp, which their writers hold a lock on, and which become
 * blobs, or go.
 */


#include "ngx_http_registry_fs.h"


static ngx_int_t ngx_http_registry_fs_temp_open(ngx_http_registry_op_t *op,
    const char *path);


/* directories are made in a thread: that is not done without fsync */

ngx_int_t
ngx_http_registry_fs_temp_create(ngx_http_registry_op_t *op)
{
    ngx_http_registry_path_t  dir, path;

    ngx_http_registry_fs_path(op, &dir, NGX_HTTP_REGISTRY_FS_TMP);

    if (ngx_http_registry_fs_temp_name(op, dir.data, &path) != NGX_OK) {
        return NGX_ERROR;
    }

    (void) ngx_cpystrn((u_char *) op->temp,
                       (u_char *) strrchr(path.data, '/') + 1,
                       sizeof(op->temp));

    op->fd = open(path.data, O_RDWR|O_CREAT|O_EXCL|O_CLOEXEC, 0644);

    if (op->fd == NGX_INVALID_FILE && ngx_errno == NGX_ENOENT) {

        if (!op->threaded) {
            return NGX_AGAIN;
        }

        if (ngx_http_registry_fs_mkdirs(op, path.data) != NGX_OK) {
            return NGX_ERROR;
        }

        op->fd = open(path.data, O_RDWR|O_CREAT|O_EXCL|O_CLOEXEC, 0644);
    }

    if (op->fd == NGX_INVALID_FILE) {
        return ngx_http_registry_fs_failed(op, "open()", path.data);
    }

    if (flock(op->fd, LOCK_EX|LOCK_NB) == -1) {
        return ngx_http_registry_fs_failed(op, "flock()", path.data);
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_registry_fs_temp_follow(ngx_http_registry_op_t *op)
{
    ngx_int_t                 rc;
    ngx_http_registry_path_t  path;

    ngx_http_registry_fs_path(op, &path, NGX_HTTP_REGISTRY_FS_TMP "/%s",
                              op->temp);

    rc = ngx_http_registry_fs_temp_open(op, path.data);

    /* it has become a blob meanwhile */

    if (rc == NGX_DECLINED && !op->exclusive) {
        ngx_http_registry_fs_blob_path(op, &path, &op->digest);

        rc = ngx_http_registry_fs_temp_open(op, path.data);
    }

    return rc;
}


static ngx_int_t
ngx_http_registry_fs_temp_open(ngx_http_registry_op_t *op, const char *path)
{
    int  mode;

    mode = op->exclusive ? O_RDWR : O_RDONLY;

    op->fd = open(path, mode|O_CLOEXEC);

    if (op->fd == NGX_INVALID_FILE) {
        if (ngx_errno == NGX_ENOENT || ngx_errno == NGX_ENOTDIR) {
            return NGX_DECLINED;
        }

        return ngx_http_registry_fs_failed(op, "open()", path);
    }

    if (op->exclusive && flock(op->fd, LOCK_EX|LOCK_NB) == -1) {
        if (ngx_errno == NGX_EAGAIN) {
            return NGX_BUSY;
        }

        return ngx_http_registry_fs_failed(op, "flock()", path);
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_registry_fs_temp_publish(ngx_http_registry_op_t *op)
{
    ngx_http_registry_path_t  path;

    ngx_http_registry_fs_path(op, &path, NGX_HTTP_REGISTRY_FS_TMP "/%s",
                              op->temp);

    return ngx_http_registry_fs_commit(op, path.data);
}


/* a large file goes with its last descriptor: here, not on the loop */

ngx_int_t
ngx_http_registry_fs_temp_discard(ngx_http_registry_op_t *op)
{
    ngx_http_registry_path_t  path;

    if (op->temp[0]) {
        ngx_http_registry_fs_path(op, &path, NGX_HTTP_REGISTRY_FS_TMP "/%s",
                                  op->temp);

        if (unlink(path.data) == -1 && ngx_errno != NGX_ENOENT) {
            return ngx_http_registry_fs_failed(op, "unlink()", path.data);
        }
    }

    if (op->fd != NGX_INVALID_FILE) {
        (void) close(op->fd);
        op->fd = NGX_INVALID_FILE;
    }

    return NGX_OK;
}
