
/*
 * The life of a request: its state, the loop that runs its steps, what these
 * wait for, and its end.
 */


#include "ngx_http_registry.h"


static ngx_int_t ngx_http_registry_run(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_overloaded(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_tried(ngx_http_registry_ctx_t *ctx);
static void ngx_http_registry_wake(void *data);
static void ngx_http_registry_cleanup(void *data);


ngx_int_t
ngx_http_registry_handler(ngx_http_request_t *r)
{
    return ngx_http_registry_begin(r, ngx_http_registry_endpoint);
}


ngx_int_t
ngx_http_registry_begin(ngx_http_request_t *r, ngx_http_registry_step_pt step)
{
    ngx_int_t                 rc;
    ngx_http_registry_ctx_t  *ctx;

    ctx = ngx_http_registry_ctx(r);
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->conf = ngx_http_get_module_loc_conf(r, ngx_http_registry_module);
    ctx->step = step;

    rc = ngx_http_registry_run(ctx);

    if (rc == NGX_AGAIN) {
        r->main->count++;
        return NGX_DONE;
    }

    return ctx->rc;
}


ngx_http_registry_ctx_t *
ngx_http_registry_ctx(ngx_http_request_t *r)
{
    ngx_http_cleanup_t       *cln;
    ngx_http_registry_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_registry_module);

    if (ctx == NULL) {
        ctx = ngx_pcalloc(r->pool, sizeof(ngx_http_registry_ctx_t));
        if (ctx == NULL) {
            return NULL;
        }

        /* filter_finalize and internal redirects forget r->ctx, not this */

        cln = ngx_http_cleanup_add(r, 0);
        if (cln == NULL) {
            return NULL;
        }

        cln->handler = ngx_http_registry_cleanup;
        cln->data = ctx;

        ctx->request = r;

        ngx_http_set_ctx(r, ctx, ngx_http_registry_module);
    }

    /* a variable may have been asked for before a rewrite */

    if (ctx->uri.data != r->uri.data || ctx->uri.len != r->uri.len) {
        ctx->uri = r->uri;
        ngx_http_registry_parse(ctx);
    }

    return ctx;
}


/* NGX_AGAIN: a step waits; NGX_DONE: the request is over, with ctx->rc */

static ngx_int_t
ngx_http_registry_run(ngx_http_registry_ctx_t *ctx)
{
    ngx_int_t  rc;

    ctx->running = 1;

    do {
        rc = ctx->step(ctx);

        if (rc != NGX_OK && rc != NGX_AGAIN && rc != NGX_DONE) {
            rc = ngx_http_registry_upload_failed(ctx, rc);
        }

    } while (rc == NGX_OK);

    ctx->running = 0;

    if (rc == NGX_AGAIN || rc == NGX_DONE) {
        return rc;
    }

    /* a body that is not read to its end takes the connection with it */

    if (ctx->request->reading_body) {
        ctx->request->keepalive = 0;
    }

    ctx->rc = rc;

    return NGX_DONE;
}


void
ngx_http_registry_resume(ngx_http_registry_ctx_t *ctx)
{
    ngx_http_request_t  *r;

    /* what a step waits for may end while it is being started */

    if (ctx->running) {
        return;
    }

    r = ctx->request;

    ngx_http_set_log_request(r->connection->log, r);

    if (ngx_http_registry_run(ctx) == NGX_DONE) {
        ngx_http_registry_end(ctx, ctx->rc);
        return;
    }

    ngx_http_run_posted_requests(r->connection);
}


void
ngx_http_registry_end(ngx_http_registry_ctx_t *ctx, ngx_int_t rc)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = ctx->request;
    c = r->connection;

    /* a body that is not read to its end takes the connection with it */

    if (r->reading_body) {
        r->read_event_handler = ngx_http_block_reading;
        r->keepalive = 0;
    }

    ngx_http_finalize_request(r, rc);
    ngx_http_run_posted_requests(c);
}


void
ngx_http_registry_found(ngx_http_registry_ctx_t *ctx,
    ngx_http_registry_count_e how)
{
    static const ngx_str_t  names[] = {
        ngx_string("HIT"), ngx_string("MISS"), ngx_string("REVALIDATED"),
        ngx_string("STALE"), ngx_string("JOIN"), ngx_string("BYPASS")
    };

    ctx->cache = names[how - NGX_HTTP_REGISTRY_COUNT_HIT];
    ctx->found = how;
}


ngx_http_registry_op_t *
ngx_http_registry_op(ngx_http_registry_ctx_t *ctx,
    ngx_http_registry_op_e kind)
{
    ngx_http_registry_op_t  *op;

    op = ngx_http_registry_op_create(ctx->store, kind, &ctx->name,
                                     ctx->request->connection->log);
    if (op == NULL) {
        return NULL;
    }

    op->digest = ctx->digest;

    if (ctx->upload && ctx->upload->id.len) {
        ngx_memcpy(op->upload, ctx->upload->id.data, REGISTRY_UPLOAD_ID_LEN);
    }

    op->task.handler = ngx_http_registry_wake;
    op->task.data = ctx;

    ctx->op = op;

    return op;
}


ngx_int_t
ngx_http_registry_run_op(ngx_http_registry_ctx_t *ctx,
    ngx_http_registry_step_pt next)
{
    ngx_int_t  rc;

    ctx->step = next;

    rc = ngx_http_registry_op_start(ctx->op);

    return (rc == NGX_ERROR) ? ngx_http_registry_overloaded(ctx) : rc;
}


ngx_int_t
ngx_http_registry_run_task(ngx_http_registry_ctx_t *ctx, ngx_uint_t thread,
    ngx_http_registry_step_pt next)
{
    ngx_int_t  rc;

    ctx->step = next;
    ctx->task->handler = ngx_http_registry_wake;
    ctx->task->data = ctx;

    rc = ngx_http_registry_task_run(ctx->task,
                                    thread ? ctx->store->tp : NULL);

    return (rc == NGX_ERROR) ? ngx_http_registry_overloaded(ctx) : rc;
}


static ngx_int_t
ngx_http_registry_overloaded(ngx_http_registry_ctx_t *ctx)
{
    /* a session's descriptor goes back to whom the clean-up looks for it */

    if (ctx->op && ctx->upload && ctx->upload->id.len) {
        ctx->upload->fd = ctx->op->fd;
        ctx->op->fd = NGX_INVALID_FILE;
    }

    if (ctx->op) {
        ngx_http_registry_end_op(ctx);
    }

    return ngx_http_registry_fail(ctx, REGISTRY_UNAVAILABLE,
                                  "too much is waiting for the store");
}


static void
ngx_http_registry_wake(void *data)
{
    ngx_http_registry_resume(data);
}


void
ngx_http_registry_end_op(ngx_http_registry_ctx_t *ctx)
{
    ngx_http_registry_op_free(ctx->op);
    ctx->op = NULL;
}


ngx_int_t
ngx_http_registry_try(ngx_http_registry_ctx_t *ctx,
    ngx_http_registry_step_pt step, ngx_http_registry_step_pt absent)
{
    ngx_int_t  rc;

    rc = step(ctx);

    if (rc == NGX_OK || rc == NGX_AGAIN) {
        ctx->present = ctx->step;
        ctx->absent = absent;
        ctx->step = ngx_http_registry_tried;
    }

    return rc;
}


static ngx_int_t
ngx_http_registry_tried(ngx_http_registry_ctx_t *ctx)
{
    if (ctx->op->status == NGX_DECLINED) {
        ngx_http_registry_end_op(ctx);
        ctx->step = ctx->absent;

    } else {
        ctx->step = ctx->present;
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_registry_op_result(ngx_http_registry_ctx_t *ctx,
    registry_error_e unknown)
{
    ngx_int_t  rc;

    switch (ctx->op->status) {

    case NGX_OK:
        return NGX_OK;

    case NGX_DECLINED:
        if (ctx->reference.len) {
            ngx_http_registry_detail(ctx, ctx->reference.data,
                                     ctx->reference.len);

        } else {
            ngx_http_registry_detail(ctx, ctx->name.data, ctx->name.len);
        }

        rc = ngx_http_registry_fail(ctx, unknown, NULL);
        break;

    case NGX_BUSY:
        rc = ngx_http_registry_fail_status(ctx, REGISTRY_BLOB_UPLOAD_INVALID,
                                  "another request is writing to this upload",
                                  NGX_HTTP_CONFLICT);
        break;

    case NGX_ABORT:
        ngx_http_registry_detail(ctx, ctx->digest.text, ctx->digest.len);
        rc = ngx_http_registry_fail(ctx, REGISTRY_DIGEST_INVALID, NULL);
        break;

    default:
        rc = ngx_http_registry_store_failed(ctx, ctx->op->err, ctx->op->call,
                                            ctx->op->path);
    }

    ngx_http_registry_end_op(ctx);

    return rc;
}


ngx_int_t
ngx_http_registry_store_failed(ngx_http_registry_ctx_t *ctx, ngx_err_t err,
    const char *call, const char *path)
{
    ngx_uint_t  full, level;

    full = (err == NGX_ENOSPC || err == EDQUOT);
    level = full ? NGX_LOG_CRIT : NGX_LOG_ERR;

    ngx_log_error(level, ctx->request->connection->log, err,
                  "%s \"%s\" failed, registry_store \"%V\", "
                  "repository \"%V\"",
                  call, path, &ctx->store->name, &ctx->name);

    if (full) {
        return ngx_http_registry_fail_status(ctx, REGISTRY_UNAVAILABLE,
                                             "the store is full",
                                             NGX_HTTP_INSUFFICIENT_STORAGE);
    }

    return ngx_http_registry_fail(ctx, REGISTRY_UNKNOWN,
                                  "the store failed; the error log says how");
}


static void
ngx_http_registry_cleanup(void *data)
{
    ngx_http_registry_ctx_t  *ctx = data;

    if (ctx->active) {
        ngx_http_registry_count_active(ngx_http_registry_zone(ctx->request),
                                       ctx->active->count, -1);
    }

    if (ctx->ask) {
        ngx_http_registry_ask_free(ctx->ask);
        ctx->ask = NULL;
    }

    if (ctx->fill) {
        ngx_http_registry_fill_cancel(ctx->fill);
        ctx->fill = NULL;
    }

    if (ctx->op) {
        ngx_http_registry_end_op(ctx);
    }

    ngx_http_registry_upload_cleanup(ctx);

    if (ctx->task) {
        ngx_http_registry_task_free(ctx->task);
        ctx->task = NULL;
    }

    if (ctx->parsed) {
        registry_manifest_free(ctx->parsed);
        ctx->parsed = NULL;
    }
}
