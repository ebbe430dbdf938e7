
/*
 * Pulling and deleting blobs.  Ranges, If-Range, If-None-Match, sendfile,
 * aio, directio and limit_rate are nginx's own, as for a static file.
 */


#include "ngx_http_registry.h"


static ngx_int_t ngx_http_registry_send_file(ngx_http_registry_ctx_t *ctx,
    ngx_open_file_info_t *of);
static ngx_int_t ngx_http_registry_blob_deleted(ngx_http_registry_ctx_t *ctx);


ngx_int_t
ngx_http_registry_pull_blob(ngx_http_registry_ctx_t *ctx)
{
    return ngx_http_registry_open_blob(ctx, ngx_http_registry_send_blob);
}


ngx_int_t
ngx_http_registry_open_blob(ngx_http_registry_ctx_t *ctx,
    ngx_http_registry_step_pt next)
{
    ngx_int_t                  rc;
    ngx_http_request_t        *r;
    ngx_http_registry_op_t    *op;
    ngx_http_core_loc_conf_t  *clcf;

    r = ctx->request;

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    op = ngx_http_registry_op(ctx, NGX_HTTP_REGISTRY_OP_BLOB_OPEN);
    if (op == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    op->cache = clcf->open_file_cache;
    op->file_pool = r->pool;

    op->of.read_ahead = clcf->read_ahead;
    op->of.directio = clcf->directio;
    op->of.valid = clcf->open_file_cache_valid;
    op->of.min_uses = clcf->open_file_cache_min_uses;
    op->of.events = clcf->open_file_cache_events;

    /* a remembered ENOENT would break the HEAD that follows a push */

    op->of.errors = 0;

    rc = ngx_http_registry_cache_linked(ngx_http_registry_zone(r), op->store,
                                        &ctx->name, &ctx->digest,
                                        &ctx->generation);

    ctx->linked = (rc == NGX_OK);
    op->linked = ctx->linked;

    return ngx_http_registry_run_op(ctx, next);
}


ngx_int_t
ngx_http_registry_send_blob(ngx_http_registry_ctx_t *ctx)
{
    ngx_int_t                 rc;
    ngx_open_file_info_t      of;
    ngx_pool_cleanup_t       *cln;
    ngx_pool_cleanup_file_t  *clnf;
    ngx_http_registry_op_t   *op;

    rc = ngx_http_registry_op_result(ctx, REGISTRY_BLOB_UNKNOWN);
    if (rc != NGX_OK) {
        return rc;
    }

    op = ctx->op;
    of = op->of;

    if (!ctx->linked) {
        ngx_http_registry_cache_link(ngx_http_registry_zone(ctx->request),
                                     op->store, &ctx->name, &ctx->digest,
                                     ctx->generation);
    }

    if (op->fd != NGX_INVALID_FILE) {

        cln = ngx_pool_cleanup_add(ctx->request->pool,
                                   sizeof(ngx_pool_cleanup_file_t));
        if (cln == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        cln->handler = ngx_pool_cleanup_file;
        clnf = cln->data;

        clnf->fd = op->fd;
        clnf->name = (u_char *) "registry blob";
        clnf->log = ctx->request->pool->log;

        op->fd = NGX_INVALID_FILE;
    }

    ngx_http_registry_end_op(ctx);

    return ngx_http_registry_send_file(ctx, &of);
}


static ngx_int_t
ngx_http_registry_send_file(ngx_http_registry_ctx_t *ctx,
    ngx_open_file_info_t *of)
{
    ngx_buf_t           *b;
    ngx_chain_t          out;
    ngx_http_request_t  *r;

    static ngx_str_t     type = ngx_string("application/octet-stream");

    r = ctx->request;

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = of->size;
    r->headers_out.last_modified_time = of->mtime;

    ngx_http_registry_set_type(r, &type);

    if (ngx_http_registry_add_digest(ctx, &ctx->digest) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    r->allow_ranges = 1;

    /* before the header, so that no memory can be short after it */

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b->file = ngx_pcalloc(r->pool, sizeof(ngx_file_t));
    if (b->file == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->rc = ngx_http_send_header(r);

    if (ctx->rc == NGX_ERROR || ctx->rc > NGX_OK || r->header_only) {
        return NGX_DONE;
    }

    b->file_pos = 0;
    b->file_last = of->size;
    b->in_file = (of->size != 0);
    b->last_buf = (r == r->main);
    b->last_in_chain = 1;
    b->sync = (b->last_buf || b->in_file) ? 0 : 1;

    b->file->fd = of->fd;
    b->file->name = r->uri;
    b->file->log = r->connection->log;
    b->file->directio = of->is_directio;

    out.buf = b;
    out.next = NULL;

    ctx->rc = ngx_http_output_filter(r, &out);

    return NGX_DONE;
}


ngx_int_t
ngx_http_registry_delete_blob(ngx_http_registry_ctx_t *ctx)
{
    ngx_int_t  rc;

    rc = ngx_http_discard_request_body(ctx->request);
    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_http_registry_op(ctx, NGX_HTTP_REGISTRY_OP_BLOB_DELETE) == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* before it as well: the client may be gone when it has ended */

    ngx_http_registry_cache_unlink(ngx_http_registry_zone(ctx->request),
                                   ctx->store, &ctx->name,
                                   &ctx->digest);

    return ngx_http_registry_run_op(ctx, ngx_http_registry_blob_deleted);
}


static ngx_int_t
ngx_http_registry_blob_deleted(ngx_http_registry_ctx_t *ctx)
{
    ngx_int_t  rc;

    ngx_http_registry_cache_unlink(ngx_http_registry_zone(ctx->request),
                                   ctx->store, &ctx->name,
                                   &ctx->digest);

    rc = ngx_http_registry_op_result(ctx, REGISTRY_BLOB_UNKNOWN);
    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_http_registry_add_digest(ctx, &ctx->digest) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_registry_send_empty(ctx, NGX_HTTP_ACCEPTED);
}


ngx_int_t
ngx_http_registry_blob_created(ngx_http_registry_ctx_t *ctx)
{
    ngx_http_request_t  *r;

    r = ctx->request;

    ngx_http_registry_cache_blob(ngx_http_registry_zone(r), ctx->store,
                                 &ctx->name, &ctx->digest);

    if (ngx_http_registry_add_digest(ctx, &ctx->digest) != NGX_OK
        || ngx_http_registry_add_location(ctx, "/blobs/%s", ctx->digest.text)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_registry_send_empty(ctx, NGX_HTTP_CREATED);
}
