
/*
 * Reading a request's body: as it arrives, a buffer at a time, no faster
 * than it is taken.  HTTP/1.1, HTTP/2 and HTTP/3 alike.
 */


#include "ngx_http_registry.h"


#define NGX_HTTP_REGISTRY_BODY_BUF  (64 * 1024)     /* if of unknown length */


static ngx_int_t ngx_http_registry_body_sink(ngx_http_registry_ctx_t *ctx,
    u_char *data, size_t len);
static ngx_int_t ngx_http_registry_body_start(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_body_step(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_body_take(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_body_buf(ngx_http_registry_ctx_t *ctx,
    ngx_buf_t *b);
static ngx_int_t ngx_http_registry_body_file(ngx_http_registry_ctx_t *ctx,
    ngx_buf_t *b);
static void ngx_http_registry_body_ready(ngx_http_request_t *r);
static void ngx_http_registry_body_event(ngx_http_request_t *r);


ngx_int_t
ngx_http_registry_keep_body(ngx_http_registry_ctx_t *ctx, off_t max,
    ngx_http_registry_step_pt done)
{
    off_t      size;
    ngx_int_t  rc;

    rc = ngx_http_registry_read_body(ctx, ngx_http_registry_body_sink, max,
                                     done);
    if (rc != NGX_OK) {
        return rc;
    }

    size = ctx->request->headers_in.content_length_n;

    ctx->pushed_size = (size > 0) ? (size_t) size : NGX_HTTP_REGISTRY_BODY_BUF;

    ctx->pushed.data = ngx_palloc(ctx->request->pool, ctx->pushed_size);
    if (ctx->pushed.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_body_sink(ngx_http_registry_ctx_t *ctx, u_char *data,
    size_t len)
{
    u_char  *p;
    size_t   size;

    if (ctx->pushed.len + len > ctx->pushed_size) {

        size = ngx_max(ctx->pushed_size * 2, ctx->pushed.len + len);

        p = ngx_palloc(ctx->request->pool, size);
        if (p == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        ngx_memcpy(p, ctx->pushed.data, ctx->pushed.len);
        (void) ngx_pfree(ctx->request->pool, ctx->pushed.data);

        ctx->pushed.data = p;
        ctx->pushed_size = size;
    }

    ngx_memcpy(ctx->pushed.data + ctx->pushed.len, data, len);
    ctx->pushed.len += len;

    return NGX_OK;
}


ngx_int_t
ngx_http_registry_read_body(ngx_http_registry_ctx_t *ctx,
    ngx_http_registry_sink_pt sink, off_t max, ngx_http_registry_step_pt done)
{
    ctx->sink = sink;
    ctx->body_max = max;
    ctx->body_done = done;
    ctx->step = ngx_http_registry_body_start;

    if (ctx->request->headers_in.content_length_n > max) {
        return ngx_http_registry_fail_status(ctx, REGISTRY_SIZE_INVALID,
                                             "more than is taken here",
                                             NGX_HTTP_REQUEST_ENTITY_TOO_LARGE);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_body_start(ngx_http_registry_ctx_t *ctx)
{
    ngx_int_t                 rc;
    ngx_http_request_t       *r;
    ngx_http_request_body_t  *rb;

    r = ctx->request;
    rb = r->request_body;

    /* an error page has led here from where the body, or some of it, went */

    if (rb && !r->preserve_body
        && (r->reading_body
            || (rb->bufs == NULL && r->headers_in.content_length_n > 0)))
    {
        return ngx_http_registry_fail_status(ctx, REGISTRY_UNKNOWN,
                                             "the body was read before",
                                             NGX_HTTP_INTERNAL_SERVER_ERROR);
    }

    r->request_body_no_buffering = 1;

    ctx->step = ngx_http_registry_body_take;

    rc = ngx_http_read_client_request_body(r, ngx_http_registry_body_ready);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        return rc;
    }

    /* the count that this took is ours already: see the handler */

    r->main->count--;

    return ctx->body_ready ? NGX_OK : NGX_AGAIN;
}


/*
 * Called from within ngx_http_read_client_request_body(), or later if a
 * short body over HTTP/2 was there before it was asked for.
 */

static void
ngx_http_registry_body_ready(ngx_http_request_t *r)
{
    ngx_http_registry_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_registry_module);

    ctx->body_ready = 1;

    ngx_http_registry_resume(ctx);
}


/* what was read becomes ours, or if others want it too, a copy of its bufs */

static ngx_int_t
ngx_http_registry_body_take(ngx_http_registry_ctx_t *ctx)
{
    ngx_buf_t                *b;
    ngx_chain_t              *in, *cl, **ll;
    ngx_http_request_t       *r;
    ngx_http_request_body_t  *rb;

    r = ctx->request;
    rb = r->request_body;

    if (rb == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->step = ngx_http_registry_body_step;

    if (!r->preserve_body) {
        ctx->body = rb->bufs;
        rb->bufs = NULL;
        return NGX_OK;
    }

    ll = &ctx->body;

    for (in = rb->bufs; in; in = in->next) {
        cl = ngx_alloc_chain_link(r->pool);
        if (cl == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        b = ngx_calloc_buf(r->pool);
        if (b == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        *b = *in->buf;

        cl->buf = b;
        cl->next = NULL;

        *ll = cl;
        ll = &cl->next;
    }

    return NGX_OK;
}


static void
ngx_http_registry_body_event(ngx_http_request_t *r)
{
    ngx_http_registry_resume(ngx_http_get_module_ctx(r,
                                                   ngx_http_registry_module));
}


ngx_int_t
ngx_http_registry_body_continue(ngx_http_registry_ctx_t *ctx)
{
    /* a task's time is not the client's; reading on sets the timer again */

    ctx->request->connection->read->timedout = 0;

    ctx->step = ngx_http_registry_body_step;

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_body_step(ngx_http_registry_ctx_t *ctx)
{
    ngx_int_t            rc;
    ngx_chain_t         *cl;
    ngx_http_request_t  *r;

    r = ctx->request;

    r->read_event_handler = ngx_http_block_reading;

    for ( ;; ) {

        while (ctx->body) {
            cl = ctx->body;

            if (ngx_buf_size(cl->buf) == 0) {
                ctx->body = cl->next;
                ngx_free_chain(r->pool, cl);
                continue;
            }

            rc = ngx_http_registry_body_buf(ctx, cl->buf);

            if (rc != NGX_OK) {
                return rc;
            }
        }

        if (!r->reading_body) {
            ctx->step = ctx->body_done;
            return NGX_OK;
        }

        rc = ngx_http_read_unbuffered_request_body(r);

        if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
            return rc;
        }

        if (rc == NGX_ERROR) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        ctx->body = r->request_body->bufs;
        r->request_body->bufs = NULL;

        if (rc == NGX_AGAIN && ctx->body == NULL) {
            r->read_event_handler = ngx_http_registry_body_event;
            return NGX_AGAIN;
        }
    }
}


/* a buffer is used up before the sink has done with it: nobody reads then */

static ngx_int_t
ngx_http_registry_body_buf(ngx_http_registry_ctx_t *ctx, ngx_buf_t *b)
{
    size_t   n;
    u_char  *p;

    if (ctx->body_size + ngx_buf_size(b) > ctx->body_max) {
        return ngx_http_registry_fail_status(ctx, REGISTRY_SIZE_INVALID,
                                             "more than is taken here",
                                             NGX_HTTP_REQUEST_ENTITY_TOO_LARGE);
    }

    if (!ngx_buf_in_memory(b)) {
        return ngx_http_registry_body_file(ctx, b);
    }

    p = b->pos;
    n = b->last - b->pos;
    b->pos = b->last;

    ctx->body_size += n;

    return ctx->sink(ctx, p, n);
}


/* nginx had read the body before us, for a mirror say, into a file */

static ngx_int_t
ngx_http_registry_body_file(ngx_http_registry_ctx_t *ctx, ngx_buf_t *b)
{
    size_t   size;
    ssize_t  n;

    if (ctx->file_buf == NULL) {
        ctx->file_buf = ngx_palloc(ctx->request->pool,
                                   NGX_HTTP_REGISTRY_FILE_BUF);
        if (ctx->file_buf == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    size = (size_t) ngx_min(b->file_last - b->file_pos,
                            NGX_HTTP_REGISTRY_FILE_BUF);

    n = ngx_read_file(b->file, ctx->file_buf, size, b->file_pos);

    if (n <= 0) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b->file_pos += n;
    ctx->body_size += n;

    return ctx->sink(ctx, ctx->file_buf, n);
}
