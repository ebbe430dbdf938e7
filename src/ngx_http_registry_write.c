
/*
 * An upload's bytes on their way to the session's file: hashed as they
 * arrive, written in place, or in a thread with "aio threads" and on network
 * file systems.
 */


#include "ngx_http_registry.h"


/* how much is written before the kernel is told to begin writing back */

#define NGX_HTTP_REGISTRY_WRITEBACK  (8 * 1024 * 1024)


typedef struct {
    ngx_http_registry_task_t  task;
    ngx_fd_t                  fd;
    off_t                     offset;
    u_char                   *data;
    size_t                    size;
    ngx_err_t                 err;
} ngx_http_registry_write_t;


static ngx_int_t ngx_http_registry_written(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_write_failed(ngx_http_registry_ctx_t *ctx,
    ngx_err_t err);
static void ngx_http_registry_writeback(ngx_http_registry_ctx_t *ctx);
static ngx_http_registry_write_t *ngx_http_registry_write_create(
    ngx_http_registry_ctx_t *ctx, off_t offset, size_t size);
static void ngx_http_registry_write_work(ngx_http_registry_task_t *task);
static void ngx_http_registry_writeback_work(ngx_http_registry_task_t *task);
static void ngx_http_registry_write_release(ngx_http_registry_task_t *task);


ngx_int_t
ngx_http_registry_write(ngx_http_registry_ctx_t *ctx, u_char *data, size_t len)
{
    off_t                        offset;
    ssize_t                      n;
    ngx_http_core_loc_conf_t    *clcf;
    ngx_http_registry_write_t   *write;
    ngx_http_registry_upload_t  *up;

    up = &ctx->upload;
    offset = up->hash.length;

    registry_hash_update(&up->hash, data, len);

    clcf = ngx_http_get_module_loc_conf(ctx->request, ngx_http_core_module);

    if (clcf->aio == NGX_HTTP_AIO_THREADS || ctx->store->network) {

        /* the bytes are the task's own: the request may go away meanwhile */

        write = ngx_http_registry_write_create(ctx, offset, len);
        if (write == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        ngx_memcpy(write->data, data, len);

        write->task.work = ngx_http_registry_write_work;
        ctx->task = &write->task;

        return ngx_http_registry_run_task(ctx, 1,
                                          ngx_http_registry_written);
    }

    while (len) {
        n = pwrite(up->fd, data, len, offset);

        if (n == -1 && ngx_errno == NGX_EINTR) {
            continue;
        }

        if (n == -1) {
            return ngx_http_registry_write_failed(ctx, ngx_errno);
        }

        data += n;
        len -= n;
        offset += n;
    }

    ngx_http_registry_writeback(ctx);

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_written(ngx_http_registry_ctx_t *ctx)
{
    ngx_err_t                   err;
    ngx_http_registry_write_t  *write;

    write = (ngx_http_registry_write_t *) ctx->task;
    err = write->err;

    ngx_http_registry_task_free(ctx->task);
    ctx->task = NULL;

    if (err) {
        return ngx_http_registry_write_failed(ctx, err);
    }

    ngx_http_registry_writeback(ctx);

    return ngx_http_registry_body_continue(ctx);
}


static ngx_int_t
ngx_http_registry_write_failed(ngx_http_registry_ctx_t *ctx,
    ngx_err_t err)
{
    /* the session stands where it stood before, and holds no more space */

    ctx->upload.hash = ctx->upload.start;

    if (ftruncate(ctx->upload.fd, ctx->upload.start.length) == -1) {
        ngx_log_error(NGX_LOG_ERR, ctx->request->connection->log, ngx_errno,
                      "ftruncate() of an upload failed");
    }

    return ngx_http_registry_store_failed(ctx, err, "pwrite()",
                                          "an upload's data");
}


/*
 * Has the kernel begin to write, so that the fsync at the end finds little
 * left to do, and dirty pages do not pile up until a write has to wait.
 */

static void
ngx_http_registry_writeback(ngx_http_registry_ctx_t *ctx)
{
    off_t                        size;
    ngx_http_registry_write_t   *write;
    ngx_http_registry_upload_t  *up;

    up = &ctx->upload;
    size = (off_t) up->hash.length - up->synced;

    if (size < NGX_HTTP_REGISTRY_WRITEBACK) {
        return;
    }

    write = ngx_http_registry_write_create(ctx, up->synced, 0);
    if (write == NULL) {
        return;
    }

    up->synced += size;

    write->size = size;
    write->task.work = ngx_http_registry_writeback_work;

    /* nobody waits for it */

    (void) ngx_http_registry_task_run(&write->task, ctx->store->tp);
    ngx_http_registry_task_free(&write->task);
}


/* a write with a descriptor of its own: the request's may be closed first */

static ngx_http_registry_write_t *
ngx_http_registry_write_create(ngx_http_registry_ctx_t *ctx, off_t offset,
    size_t size)
{
    ngx_http_registry_write_t  *write;

    write = ngx_http_registry_task_create(sizeof(ngx_http_registry_write_t),
                                          ctx->request->connection->log);
    if (write == NULL) {
        return NULL;
    }

    write->fd = fcntl(ctx->upload.fd, F_DUPFD_CLOEXEC, 0);
    write->offset = offset;
    write->size = size;
    write->task.release = ngx_http_registry_write_release;

    if (write->fd == -1) {
        ngx_log_error(NGX_LOG_CRIT, ctx->request->connection->log, ngx_errno,
                      "fcntl(F_DUPFD_CLOEXEC) failed");
        goto failed;
    }

    if (size) {
        write->data = ngx_palloc(write->task.pool, size);
        if (write->data == NULL) {
            goto failed;
        }
    }

    return write;

failed:

    ngx_http_registry_task_free(&write->task);

    return NULL;
}


static void
ngx_http_registry_write_work(ngx_http_registry_task_t *task)
{
    ngx_http_registry_write_t *write = (ngx_http_registry_write_t *) task;

    ssize_t  n;

    while (write->size) {
        n = pwrite(write->fd, write->data, write->size, write->offset);

        if (n == -1 && ngx_errno == NGX_EINTR) {
            continue;
        }

        if (n == -1) {
            write->err = ngx_errno;
            return;
        }

        write->data += n;
        write->size -= n;
        write->offset += n;
    }
}


static void
ngx_http_registry_writeback_work(ngx_http_registry_task_t *task)
{
    ngx_http_registry_write_t *write = (ngx_http_registry_write_t *) task;

    /* if it fails, so will the fsync that counts */

    (void) sync_file_range(write->fd, write->offset, write->size,
                           SYNC_FILE_RANGE_WRITE);
}


static void
ngx_http_registry_write_release(ngx_http_registry_task_t *task)
{
    ngx_http_registry_write_t *write = (ngx_http_registry_write_t *) task;

    if (write->fd != -1) {
        (void) close(write->fd);
    }
}
