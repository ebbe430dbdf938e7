
/*
 * The rest of a blob that nobody keeps, because the disk is full, say: it
 * comes from the remote and goes to one client, through no more memory than
 * a buffer.  The hash goes on where the copy's stood, so that here too the
 * last bytes wait for the digest.  Of a range nothing can be verified.
 */


#include "ngx_http_registry_follow.h"


static ngx_int_t ngx_http_registry_rest_ask(ngx_http_registry_ctx_t *ctx);
static void ngx_http_registry_rest_again(ngx_event_t *ev);
static ngx_int_t ngx_http_registry_rest_on_header(
    ngx_http_registry_ask_t *ask);
static ngx_int_t ngx_http_registry_rest_on_body(ngx_http_registry_ask_t *ask,
    u_char *data, size_t len);
static void ngx_http_registry_rest_on_done(ngx_http_registry_ask_t *ask);
static ngx_int_t ngx_http_registry_rest_complete(
    ngx_http_registry_ctx_t *ctx);
static void ngx_http_registry_rest_broken(ngx_http_registry_ctx_t *ctx,
    ngx_http_registry_failure_t *failure, const char *reason);
static off_t ngx_http_registry_rest_limit(ngx_http_registry_follow_t *f);
static ngx_int_t ngx_http_registry_rest_send(ngx_http_registry_ctx_t *ctx,
    u_char *data, size_t len, off_t limit);
static ngx_int_t ngx_http_registry_rest_memory(ngx_http_registry_ctx_t *ctx,
    u_char *data, size_t len, off_t limit);
static ngx_int_t ngx_http_registry_rest_sent(ngx_http_registry_ctx_t *ctx);
static void ngx_http_registry_rest_end(ngx_http_registry_ctx_t *ctx,
    ngx_int_t rc);


ngx_int_t
ngx_http_registry_follow_rest(ngx_http_registry_ctx_t *ctx)
{
    ngx_int_t                    rc;
    registry_digest_t            digest;
    ngx_http_registry_fetch_t   *fetch;
    ngx_http_registry_follow_t  *f;

    f = ctx->follow;
    fetch = &f->fetch;

    f->from = f->ranged ? f->pos : fetch->ready;
    f->seen = f->from;
    f->retry.from = f->from;

    f->tail = ngx_palloc(ctx->request->pool, NGX_HTTP_REGISTRY_HOLD_ANY);
    if (f->tail == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (fetch->known && !f->ranged) {
        f->end = fetch->size;
    }

    ngx_http_registry_fetch_hash(fetch, &f->hash);

    f->pause.handler = ngx_http_registry_rest_again;
    f->pause.data = ctx;
    f->pause.log = ngx_cycle->log;

    ctx->step = ngx_http_registry_rest_sent;

    /* all of it was there, and only not kept */

    if (fetch->known && f->end == -1
        && registry_hash_is(&f->hash, &ctx->digest, &digest))
    {
        f->end = f->seen;
    }

    if (fetch->known && f->seen == f->end) {
        return ngx_http_registry_rest_complete(ctx);
    }

    rc = ngx_http_registry_rest_ask(ctx);

    return (rc == NGX_AGAIN) ? ngx_http_registry_follow_wait(ctx) : rc;
}


void
ngx_http_registry_follow_rest_stop(ngx_http_registry_follow_t *f)
{
    if (f->ask) {
        ngx_http_registry_ask_free(f->ask);
        f->ask = NULL;
    }

    if (f->pause.timer_set) {
        ngx_del_timer(&f->pause);
    }
}


/* NGX_AGAIN, or how the request has ended */

static ngx_int_t
ngx_http_registry_rest_ask(ngx_http_registry_ctx_t *ctx)
{
    ngx_http_registry_ask_t     *ask;
    ngx_http_registry_follow_t  *f;

    f = ctx->follow;

    ask = ngx_http_registry_blob_ask(&f->fetch.blob, "GET", f->seen,
                                     f->ranged ? f->end - 1 : -1);
    if (ask) {
        ask->on_header = ngx_http_registry_rest_on_header;
        ask->on_body = ngx_http_registry_rest_on_body;
        ask->on_done = ngx_http_registry_rest_on_done;
        ask->data = ctx;

        f->ask = ask;

        if (ngx_http_registry_ask_start(ask) == NGX_AGAIN) {
            return NGX_AGAIN;
        }

        ngx_http_registry_follow_rest_stop(f);
    }

    if (ctx->request->header_sent) {
        ctx->rc = NGX_ERROR;
        return NGX_DONE;
    }

    return NGX_HTTP_INTERNAL_SERVER_ERROR;
}


static void
ngx_http_registry_rest_again(ngx_event_t *ev)
{
    ngx_int_t                 rc;
    ngx_http_registry_ctx_t  *ctx;

    ctx = ev->data;

    ngx_http_set_log_request(ctx->request->connection->log, ctx->request);

    rc = ngx_http_registry_rest_ask(ctx);

    if (rc != NGX_AGAIN) {
        ngx_http_registry_rest_end(ctx, (rc == NGX_DONE) ? ctx->rc : rc);
    }
}


static ngx_int_t
ngx_http_registry_rest_on_header(ngx_http_registry_ask_t *ask)
{
    ngx_http_registry_ctx_t *ctx = ask->data;

    off_t                        size;
    ngx_http_registry_follow_t  *f;
    ngx_http_registry_failure_t  failure;

    f = ctx->follow;

    ngx_http_set_log_request(ctx->request->connection->log, ctx->request);

    size = f->fetch.known ? f->fetch.size : -1;

    if (ngx_http_registry_blob_answer(ask->response, f->seen,
                                      f->ranged ? f->end - 1 : -1, &size,
                                      &f->skip, &failure)
        != NGX_OK)
    {
        ngx_http_registry_rest_broken(ctx, &failure, "it was refused");
        return NGX_ERROR;
    }

    if (!f->fetch.known) {
        f->fetch.known = 1;
        f->fetch.size = size;
        f->end = size;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_rest_on_body(ngx_http_registry_ask_t *ask, u_char *data,
    size_t len)
{
    ngx_http_registry_ctx_t *ctx = ask->data;

    size_t                       n;
    ngx_int_t                    rc;
    ngx_http_registry_follow_t  *f;
    ngx_http_registry_failure_t  failure;

    f = ctx->follow;

    ngx_http_set_log_request(ctx->request->connection->log, ctx->request);

    if (f->skip) {
        n = (f->skip > (off_t) len) ? len : (size_t) f->skip;

        f->skip -= n;
        data += n;
        len -= n;
    }

    /* a range from a server that knows no ranges ends before its answer */

    if (f->ranged && (off_t) len > f->end - f->seen) {
        len = (size_t) (f->end - f->seen);
    }

    if (f->end != -1 && (off_t) len > f->end - f->seen) {
        ngx_memzero(&failure, sizeof(ngx_http_registry_failure_t));
        failure.error = NGX_HTTP_REGISTRY_CALL_PROTOCOL;

        ngx_http_registry_rest_broken(ctx, &failure, "more came than that");
        return NGX_ERROR;
    }

    if (len == 0) {
        return NGX_OK;
    }

    f->seen += len;

    if (!f->ranged) {
        registry_hash_update(&f->hash, data, len);
    }

    rc = ngx_http_registry_rest_send(ctx, data, len,
                                     ngx_http_registry_rest_limit(f));

    if (rc == NGX_AGAIN) {
        f->paused = 1;
        return NGX_AGAIN;
    }

    if (rc == NGX_OK && !f->last) {
        return NGX_OK;
    }

    ngx_http_registry_rest_end(ctx, (rc == NGX_DONE) ? ctx->rc : rc);

    return NGX_ERROR;
}


static void
ngx_http_registry_rest_on_done(ngx_http_registry_ask_t *ask)
{
    ngx_http_registry_ctx_t *ctx = ask->data;

    ngx_int_t                     rc;
    const char                   *reason;
    registry_digest_t             digest;
    ngx_http_registry_follow_t   *f;
    ngx_http_registry_failure_t   failure;

    f = ctx->follow;

    ngx_http_set_log_request(ctx->request->connection->log, ctx->request);

    ngx_memzero(&failure, sizeof(ngx_http_registry_failure_t));
    failure.error = ask->error;
    reason = ask->reason;

    /* where a size that is not told ends, the digest knows as well */

    if (f->fetch.known && f->end == -1
        && registry_hash_is(&f->hash, &ctx->digest, &digest))
    {
        failure.error = NGX_HTTP_REGISTRY_CALL_OK;
    }

    if (failure.error == NGX_HTTP_REGISTRY_CALL_OK
        && f->end != -1 && f->seen != f->end)
    {
        failure.error = NGX_HTTP_REGISTRY_CALL_TRUNCATED;
        reason = "it ended before its time";
    }

    if (failure.error != NGX_HTTP_REGISTRY_CALL_OK) {
        ngx_http_registry_rest_broken(ctx, &failure, reason);
        return;
    }

    ngx_http_registry_follow_rest_stop(f);

    f->end = f->seen;

    rc = ngx_http_registry_rest_complete(ctx);

    ngx_http_registry_rest_end(ctx, (rc == NGX_DONE) ? ctx->rc : rc);
}


/* all of it is there; what was held back goes out if it is right */

static ngx_int_t
ngx_http_registry_rest_complete(ngx_http_registry_ctx_t *ctx)
{
    ngx_int_t                     rc;
    registry_digest_t             digest;
    ngx_http_registry_follow_t   *f;
    ngx_http_registry_failure_t   failure;

    f = ctx->follow;

    if (!f->ranged && !registry_hash_is(&f->hash, &ctx->digest, &digest)) {
        ngx_log_error(NGX_LOG_ERR, ctx->request->connection->log, 0,
                      "registry_remote \"%V\" sent something else than "
                      "blob %s of repository \"%V\": %O bytes are %s",
                      &ctx->remote->name, ctx->digest.text, &ctx->name,
                      f->seen, digest.text);

        if (ctx->request->header_sent) {
            return NGX_ERROR;
        }

        ngx_memzero(&failure, sizeof(ngx_http_registry_failure_t));
        failure.error = NGX_HTTP_REGISTRY_CALL_PROTOCOL;

        return ngx_http_registry_follow_failed(ctx, &failure);
    }

    /* of an empty one there is nothing else to send */

    if (!ctx->request->header_sent) {
        rc = ngx_http_registry_follow_header(ctx);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    rc = ngx_http_registry_rest_send(ctx, NULL, 0, f->seen);

    if (rc == NGX_OK && !f->last) {
        rc = ngx_http_send_special(ctx->request, NGX_HTTP_LAST);
    }

    if (rc == NGX_OK || rc == NGX_AGAIN) {
        ctx->rc = NGX_OK;
        return NGX_DONE;
    }

    return rc;
}


static void
ngx_http_registry_rest_broken(ngx_http_registry_ctx_t *ctx,
    ngx_http_registry_failure_t *failure, const char *reason)
{
    ngx_int_t                    rc, pause;
    ngx_http_registry_follow_t  *f;

    f = ctx->follow;

    ngx_http_registry_follow_rest_stop(f);
    f->paused = 0;

    if (!ctx->request->header_sent && f->seen == 0) {
        rc = ngx_http_registry_follow_failed(ctx, failure);
        ngx_http_registry_rest_end(ctx, rc);
        return;
    }

    ngx_log_error(NGX_LOG_WARN, ctx->request->connection->log, 0,
                  "registry_remote \"%V\": blob %s of repository \"%V\" "
                  "broke off at byte %O: %s (%ui)", &ctx->remote->name,
                  ctx->digest.text, &ctx->name, f->seen, reason,
                  failure->status);

    pause = ngx_http_registry_blob_pause(&f->retry, f->seen, failure);

    if (pause == NGX_ERROR) {
        rc = ctx->request->header_sent
             ? NGX_ERROR : ngx_http_registry_follow_failed(ctx, failure);
        ngx_http_registry_rest_end(ctx, rc);
        return;
    }

    ngx_add_timer(&f->pause, (ngx_msec_t) pause);
}


/* how far it may be sent before the digest is known to be right */

static off_t
ngx_http_registry_rest_limit(ngx_http_registry_follow_t *f)
{
    off_t  limit;

    if (f->ranged) {
        return f->seen;
    }

    limit = (f->end == -1) ? f->seen : f->end;
    limit -= ngx_http_registry_hold(f->end);

    return ngx_min(limit, f->seen);
}


/*
 * Sends what lies before the limit: what is left of the file, what was held
 * back, and the first of these bytes; the others are held back.
 */

static ngx_int_t
ngx_http_registry_rest_send(ngx_http_registry_ctx_t *ctx, u_char *data,
    size_t len, off_t limit)
{
    ngx_int_t                    rc;
    ngx_buf_t                   *b;
    ngx_chain_t                  file, memory, *out;
    ngx_http_registry_follow_t  *f;

    f = ctx->follow;

    if (limit > f->pos && !ctx->request->header_sent) {
        rc = ngx_http_registry_follow_header(ctx);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    out = NULL;

    b = ngx_http_registry_follow_file(ctx, ngx_min(limit, f->from));

    if (b) {
        file.buf = b;
        file.next = NULL;
        out = &file;
    }

    rc = ngx_http_registry_rest_memory(ctx, data, len, limit);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_OK) {
        memory.buf = &f->mem;
        memory.next = NULL;

        if (out) {
            out->next = &memory;

        } else {
            out = &memory;
        }
    }

    return out ? ngx_http_registry_send(ctx, out) : NGX_OK;
}


/* NGX_OK: f->mem is to be sent; NGX_DECLINED: nothing is */

static ngx_int_t
ngx_http_registry_rest_memory(ngx_http_registry_ctx_t *ctx, u_char *data,
    size_t len, off_t limit)
{
    size_t                       n, held, size;
    ngx_buf_t                   *b;
    ngx_http_registry_follow_t  *f;

    f = ctx->follow;
    b = &f->mem;

    n = (limit > f->pos) ? (size_t) (limit - f->pos) : 0;

    if (n) {
        size = b->end - b->start;

        if (size < n) {
            size = ngx_max(n, 2 * size);

            b->start = ngx_palloc(ctx->request->pool, size);
            if (b->start == NULL) {
                return NGX_ERROR;
            }

            b->end = b->start + size;
        }

        held = ngx_min(n, f->tail_len);

        b->pos = b->start;
        b->last = ngx_cpymem(b->start, f->tail, held);

        ngx_memmove(f->tail, f->tail + held, f->tail_len - held);
        f->tail_len -= held;

        if (data && n > held) {
            b->last = ngx_cpymem(b->last, data, n - held);
            data += n - held;
            len -= n - held;
        }

        f->pos = limit;
        f->last = (limit == f->end);

        b->temporary = 1;
        b->last_buf = f->last;
        b->last_in_chain = f->last;
        b->flush = !f->last;
    }

    if (len) {
        ngx_memcpy(f->tail + f->tail_len, data, len);
        f->tail_len += len;
    }

    return n ? NGX_OK : NGX_DECLINED;
}


/* a step: the client has taken something */

static ngx_int_t
ngx_http_registry_rest_sent(ngx_http_registry_ctx_t *ctx)
{
    ngx_int_t                    rc;
    ngx_http_registry_follow_t  *f;

    f = ctx->follow;

    rc = ngx_http_registry_send(ctx, NULL);

    if (rc == NGX_ERROR) {
        ctx->rc = NGX_ERROR;
        return NGX_DONE;
    }

    if (rc == NGX_OK && f->ask && f->paused) {
        f->paused = 0;
        ngx_http_registry_ask_resume(f->ask);
    }

    return NGX_AGAIN;
}


static void
ngx_http_registry_rest_end(ngx_http_registry_ctx_t *ctx, ngx_int_t rc)
{
    ngx_http_registry_follow_rest_stop(ctx->follow);

    ngx_http_registry_end(ctx, rc);
}
