
/*
 * An upload's bytes on their way to the session's file: hashed as they
 * arrive, written in place, or in a thread with "aio threads", on network
 * file systems, and if the body is all there already.
 */


#include "ngx_http_registry.h"

#include "ngx_http_registry_disk.h"


static ngx_int_t ngx_http_registry_written(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_write_failed(ngx_http_registry_ctx_t *ctx,
    ngx_err_t err);
static void ngx_http_registry_writeback(ngx_http_registry_ctx_t *ctx);


ngx_int_t
ngx_http_registry_write(ngx_http_registry_ctx_t *ctx, u_char *data, size_t len)
{
    off_t                        offset;
    ngx_http_core_loc_conf_t    *clcf;
    ngx_http_registry_disk_t    *file;
    ngx_http_registry_upload_t  *up;

    up = ctx->upload;
    offset = up->hash.length;

    registry_hash_update(&up->hash, data, len);

    clcf = ngx_http_get_module_loc_conf(ctx->request, ngx_http_core_module);

    /* a body that is in a file would keep the worker up to its end */

    if (clcf->aio == NGX_HTTP_AIO_THREADS || ctx->store->network
        || ctx->file_buf)
    {

        file = ngx_http_registry_disk_create(up->fd, data, len, offset,
                                             ctx->request->connection->log);
        if (file == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        ctx->task = &file->task;

        return ngx_http_registry_run_task(ctx, 1,
                                          ngx_http_registry_written);
    }

    if (ngx_http_registry_disk_write(up->fd, data, len, offset) != NGX_OK) {
        return ngx_http_registry_write_failed(ctx, ngx_errno);
    }

    ngx_http_registry_writeback(ctx);

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_written(ngx_http_registry_ctx_t *ctx)
{
    ngx_err_t                  err;
    ngx_http_registry_disk_t  *file;

    file = (ngx_http_registry_disk_t *) ctx->task;
    err = file->err;

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

    ctx->upload->hash = ctx->upload->start;

    if (ftruncate(ctx->upload->fd, ctx->upload->start.length) == -1) {
        ngx_log_error(NGX_LOG_ERR, ctx->request->connection->log, ngx_errno,
                      "ftruncate() of an upload failed");
    }

    return ngx_http_registry_store_failed(ctx, err, "pwrite()",
                                          "an upload's data");
}


static void
ngx_http_registry_writeback(ngx_http_registry_ctx_t *ctx)
{
    ngx_http_registry_disk_writeback(ctx->upload->fd, &ctx->upload->synced,
                                     ctx->upload->hash.length,
                                     ctx->store->tp,
                                     ctx->request->connection->log);
}
