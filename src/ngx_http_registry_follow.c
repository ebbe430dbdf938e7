
/*
 * Sending a blob while it is fetched: from the growing file, as far as it may
 * be sent, and no faster than the client takes it.  Whatever has happened to
 * the copy by then, a client is told the truth by a status, or by an answer
 * that breaks off; never by wrong bytes.
 */


#include "ngx_http_registry_follow.h"


/* a range that begins so far after what there is, is not waited for */

#define NGX_HTTP_REGISTRY_FOLLOW_FAR     (8 * 1024 * 1024)

/* the store has had it, and then not, so often */

#define NGX_HTTP_REGISTRY_FOLLOW_ROUNDS  3


static ngx_http_registry_follow_t *ngx_http_registry_follow_create(
    ngx_http_registry_ctx_t *ctx);
static void ngx_http_registry_follow_stop(void *data);
static void ngx_http_registry_follow_cleanup(void *data);
static void ngx_http_registry_follow_woken(void *data);
static ngx_int_t ngx_http_registry_follow_range(ngx_http_registry_ctx_t *ctx);
static ngx_uint_t ngx_http_registry_follow_if_range(
    ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_follow_leave(ngx_http_registry_ctx_t *ctx,
    ngx_http_registry_step_pt next);
static ngx_int_t ngx_http_registry_follow_start(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_follow_known(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_follow_unsatisfiable(
    ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_follow_content_range(
    ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_follow_send(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_follow_more(ngx_http_registry_ctx_t *ctx);
static off_t ngx_http_registry_follow_limit(ngx_http_registry_follow_t *f);
static ngx_int_t ngx_http_registry_follow_reopened(
    ngx_http_registry_ctx_t *ctx);


ngx_int_t
ngx_http_registry_follow(ngx_http_registry_ctx_t *ctx,
    ngx_http_registry_step_pt found, ngx_http_registry_step_pt pass)
{
    ngx_http_request_t          *r;
    ngx_http_registry_follow_t  *f;

    r = ctx->request;

    if (r->method != NGX_HTTP_GET || r != r->main) {
        ctx->step = pass;
        return NGX_OK;
    }

    f = ctx->follow;

    if (!ngx_http_registry_passable(r)) {
        return NGX_HTTP_BAD_REQUEST;
    }

    if (f == NULL) {
        f = ngx_http_registry_follow_create(ctx);
        if (f == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    f->found = found;
    f->pass = pass;

    if (f->rounds++ == NGX_HTTP_REGISTRY_FOLLOW_ROUNDS
        || ngx_http_registry_follow_range(ctx) != NGX_OK)
    {
        ctx->step = pass;
        return NGX_OK;
    }

    switch (ngx_http_registry_fetch_start(&f->fetch)) {

    case NGX_OK:
        break;

    case NGX_DECLINED:
        ctx->step = pass;
        return NGX_OK;

    default:
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_http_registry_found(ctx, f->fetch.joined
                                     ? NGX_HTTP_REGISTRY_COUNT_JOIN
                                     : NGX_HTTP_REGISTRY_COUNT_MISS);

    ctx->step = ngx_http_registry_follow_start;

    return NGX_OK;
}


static ngx_http_registry_follow_t *
ngx_http_registry_follow_create(ngx_http_registry_ctx_t *ctx)
{
    ngx_pool_cleanup_t          *cln;
    ngx_http_request_t          *r;
    ngx_http_cleanup_t          *hcln;
    ngx_http_registry_blob_t    *blob;
    ngx_http_registry_follow_t  *f;

    r = ctx->request;

    f = ngx_pcalloc(r->pool, sizeof(ngx_http_registry_follow_t));
    if (f == NULL) {
        return NULL;
    }

    f->fetch.handler = ngx_http_registry_follow_woken;
    f->fetch.data = ctx;

    blob = &f->fetch.blob;

    blob->remote = ctx->remote;
    blob->name = ctx->name;
    blob->remote_name = ctx->remote_name;
    blob->digest = ctx->digest;

    ngx_http_registry_client_authorization(ctx, &blob->authorization);

    if (ngx_http_registry_client_via(ctx, &blob->via) != NGX_OK) {
        return NULL;
    }

    /* a thread may still read the file when the request is terminated */

    hcln = ngx_http_cleanup_add(r, 0);
    if (hcln == NULL) {
        return NULL;
    }

    cln = ngx_pool_cleanup_add(r->pool, 0);
    if (cln == NULL) {
        return NULL;
    }

    hcln->handler = ngx_http_registry_follow_stop;
    hcln->data = f;

    cln->handler = ngx_http_registry_follow_cleanup;
    cln->data = f;

    ctx->follow = f;

    return f;
}


static void
ngx_http_registry_follow_stop(void *data)
{
    ngx_http_registry_follow_t *f = data;

    ngx_http_registry_follow_rest_stop(f);
    ngx_http_registry_fetch_stop(&f->fetch);
}


static void
ngx_http_registry_follow_cleanup(void *data)
{
    ngx_http_registry_follow_t *f = data;

    ngx_http_registry_follow_rest_stop(f);
    ngx_http_registry_fetch_cancel(&f->fetch);
}


static void
ngx_http_registry_follow_woken(void *data)
{
    ngx_http_registry_resume(data);
}


/* NGX_DECLINED: what is asked for is not one range */

static ngx_int_t
ngx_http_registry_follow_range(ngx_http_registry_ctx_t *ctx)
{
    registry_str_t               text;
    ngx_table_elt_t             *h;
    ngx_http_registry_follow_t  *f;

    f = ctx->follow;

    f->pos = 0;
    f->end = -1;
    f->ranged = 0;
    f->fetch.join = 0;

    h = ctx->request->headers_in.range;

    if (h == NULL || !ngx_http_registry_follow_if_range(ctx)) {
        return NGX_OK;
    }

    text.data = (char *) h->value.data;
    text.len = h->value.len;

    switch (registry_byte_range_parse(text, &f->range)) {

    case REGISTRY_OK:
        break;

    case REGISTRY_DECLINED:
        return NGX_DECLINED;

    default:
        return NGX_OK;
    }

    f->ranged = 1;

    /* not for its sake alone is all of the blob fetched */

    if (f->range.first == -1) {
        f->fetch.join = 1;

    } else {
        f->pos = f->range.first;
        f->fetch.join = (f->pos > NGX_HTTP_REGISTRY_FOLLOW_FAR);
    }

    return NGX_OK;
}


/* RFC 9110, section 13.1.5: of no other entity */

static ngx_uint_t
ngx_http_registry_follow_if_range(ngx_http_registry_ctx_t *ctx)
{
    ngx_str_t        *value;
    ngx_table_elt_t  *h;

    h = ctx->request->headers_in.if_range;

    if (h == NULL) {
        return 1;
    }

    value = &h->value;

    return value->len == ctx->digest.len + 2
           && value->data[0] == '"' && value->data[value->len - 1] == '"'
           && ngx_memcmp(value->data + 1, ctx->digest.text, ctx->digest.len)
              == 0;
}


static ngx_int_t
ngx_http_registry_follow_leave(ngx_http_registry_ctx_t *ctx,
    ngx_http_registry_step_pt next)
{
    ngx_http_registry_fetch_cancel(&ctx->follow->fetch);

    ctx->step = next;

    return NGX_OK;
}


/* until the first byte can be sent, an error can be answered */

static ngx_int_t
ngx_http_registry_follow_start(ngx_http_registry_ctx_t *ctx)
{
    ngx_int_t                    rc;
    ngx_http_registry_fetch_t   *fetch;
    ngx_http_registry_follow_t  *f;

    f = ctx->follow;
    fetch = &f->fetch;

    for ( ;; ) {

        switch (fetch->state) {

        case NGX_HTTP_REGISTRY_FETCH_FAILED:
            rc = ngx_http_registry_doubted(ctx, fetch->failure.status,
                                           f->found);
            if (rc != NGX_DECLINED) {
                ngx_http_registry_fetch_cancel(fetch);
                return rc;
            }

            return ngx_http_registry_follow_failed(ctx, &fetch->failure);

        case NGX_HTTP_REGISTRY_FETCH_FOUND:
            return ngx_http_registry_follow_leave(ctx, f->found);

        case NGX_HTTP_REGISTRY_FETCH_DEGRADED:
            if (f->ranged) {
                return ngx_http_registry_follow_leave(ctx, f->pass);
            }

            ctx->step = ngx_http_registry_follow_rest;
            return NGX_OK;

        default:
            break;
        }

        if (fetch->known) {
            rc = ngx_http_registry_follow_known(ctx);

            if (rc != NGX_AGAIN) {
                return rc;
            }
        }

        if (ngx_http_registry_fetch_wait(fetch) == NGX_AGAIN) {
            return ngx_http_registry_follow_wait(ctx);
        }
    }
}


/* NGX_AGAIN: it is too early for a header */

static ngx_int_t
ngx_http_registry_follow_known(ngx_http_registry_ctx_t *ctx)
{
    int64_t                      first, last;
    ngx_int_t                    rc;
    ngx_http_registry_fetch_t   *fetch;
    ngx_http_registry_follow_t  *f;

    f = ctx->follow;
    fetch = &f->fetch;

    /* there are no ranges of what has no size */

    if (fetch->size == -1) {
        f->ranged = 0;
        f->pos = 0;
    }

    if (f->ranged) {

        if (registry_byte_range_of(&f->range, fetch->size, &first, &last)
            != REGISTRY_OK)
        {
            return ngx_http_registry_follow_unsatisfiable(ctx);
        }

        f->pos = first;
        f->end = last + 1;

    } else {
        f->end = fetch->size;
    }

    if (fetch->state == NGX_HTTP_REGISTRY_FETCH_RUNNING) {

        if (f->pos - fetch->written > NGX_HTTP_REGISTRY_FOLLOW_FAR) {
            return ngx_http_registry_follow_leave(ctx, f->pass);
        }

        if (fetch->ready <= f->pos) {
            return NGX_AGAIN;
        }
    }

    rc = ngx_http_registry_follow_header(ctx);

    if (rc == NGX_OK) {
        ctx->step = ngx_http_registry_follow_send;
    }

    return rc;
}


static ngx_int_t
ngx_http_registry_follow_unsatisfiable(ngx_http_registry_ctx_t *ctx)
{
    u_char     buf[sizeof("bytes */") + NGX_OFF_T_LEN];
    ngx_str_t  value;

    value.data = buf;
    value.len = ngx_sprintf(buf, "bytes */%O", ctx->follow->fetch.size) - buf;

    if (ngx_http_registry_add_header(ctx->request, "Content-Range", &value)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return NGX_HTTP_RANGE_NOT_SATISFIABLE;
}


ngx_int_t
ngx_http_registry_follow_header(ngx_http_registry_ctx_t *ctx)
{
    ngx_int_t                    rc;
    ngx_http_request_t          *r;
    ngx_http_registry_follow_t  *f;

    static ngx_str_t  type = ngx_string("application/octet-stream");
    static ngx_str_t  bytes = ngx_string("bytes");

    r = ctx->request;
    f = ctx->follow;

    r->headers_out.status = f->ranged ? NGX_HTTP_PARTIAL_CONTENT
                                      : NGX_HTTP_OK;

    r->headers_out.content_length_n = (f->end == -1) ? -1 : f->end - f->pos;

    ngx_http_registry_set_type(r, &type);

    if (ngx_http_registry_add_digest(ctx, &ctx->digest) != NGX_OK
        || (f->ranged
            && ngx_http_registry_follow_content_range(ctx) != NGX_OK)
        || (f->end != -1
            && ngx_http_registry_add_header(r, "Accept-Ranges", &bytes)
               != NGX_OK))
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        ctx->rc = rc;
        return NGX_DONE;
    }

    r->write_event_handler = ngx_http_registry_writer;

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_follow_content_range(ngx_http_registry_ctx_t *ctx)
{
    u_char                       buf[sizeof("bytes -/") + 3 * NGX_OFF_T_LEN];
    ngx_str_t                    value;
    ngx_http_registry_follow_t  *f;

    f = ctx->follow;

    value.data = buf;
    value.len = ngx_sprintf(buf, "bytes %O-%O/%O", f->pos, f->end - 1,
                            f->fetch.size)
                - buf;

    return ngx_http_registry_add_header(ctx->request, "Content-Range",
                                        &value);
}


static ngx_int_t
ngx_http_registry_follow_send(ngx_http_registry_ctx_t *ctx)
{
    ngx_int_t                    rc;
    ngx_buf_t                   *b;
    ngx_chain_t                  out;
    ngx_http_registry_follow_t  *f;

    f = ctx->follow;

    /* what was handed out before has to go first */

    rc = ngx_http_registry_send(ctx, NULL);

    while (rc == NGX_OK) {

        b = ngx_http_registry_follow_file(ctx,
                                          ngx_http_registry_follow_limit(f));
        if (b == NULL) {
            return ngx_http_registry_follow_more(ctx);
        }

        out.buf = b;
        out.next = NULL;

        rc = ngx_http_registry_send(ctx, &out);

        if (f->last && rc != NGX_ERROR) {
            ctx->rc = NGX_OK;
            return NGX_DONE;
        }
    }

    if (rc == NGX_AGAIN) {
        return NGX_AGAIN;
    }

    ctx->rc = NGX_ERROR;

    return NGX_DONE;
}


/* all that there is was sent: what comes next */

static ngx_int_t
ngx_http_registry_follow_more(ngx_http_registry_ctx_t *ctx)
{
    ngx_http_registry_fetch_t  *fetch;

    fetch = &ctx->follow->fetch;

    switch (fetch->state) {

    case NGX_HTTP_REGISTRY_FETCH_RUNNING:
        break;

    case NGX_HTTP_REGISTRY_FETCH_DONE:
        ctx->rc = ngx_http_send_special(ctx->request, NGX_HTTP_LAST);
        return NGX_DONE;

    case NGX_HTTP_REGISTRY_FETCH_DEGRADED:
        ctx->step = ngx_http_registry_follow_rest;
        return NGX_OK;

    case NGX_HTTP_REGISTRY_FETCH_FOUND:
        return ngx_http_registry_open_blob(ctx,
                                           ngx_http_registry_follow_reopened);

    case NGX_HTTP_REGISTRY_FETCH_FAILED:

        /* a length, or a last chunk, that is missing tells the client */

        ctx->rc = NGX_ERROR;
        return NGX_DONE;
    }

    if (ngx_http_registry_fetch_wait(fetch) == NGX_AGAIN) {
        return ngx_http_registry_follow_wait(ctx);
    }

    return NGX_OK;
}


/* how far the file may be sent */

static off_t
ngx_http_registry_follow_limit(ngx_http_registry_follow_t *f)
{
    off_t                       limit, hold;
    ngx_http_registry_fetch_t  *fetch;

    fetch = &f->fetch;
    limit = fetch->ready;

    if (fetch->state == NGX_HTTP_REGISTRY_FETCH_DONE && f->end == -1) {
        f->end = fetch->size;
    }

    /* what the copy did not come to verify, the rest has to */

    if (fetch->state == NGX_HTTP_REGISTRY_FETCH_DEGRADED && !f->ranged) {
        hold = (f->end == -1) ? limit : f->end;
        hold -= ngx_http_registry_hold(f->end);
        limit = ngx_min(limit, hold);
    }

    return (f->end == -1) ? limit : ngx_min(limit, f->end);
}


ngx_buf_t *
ngx_http_registry_follow_file(ngx_http_registry_ctx_t *ctx, off_t limit)
{
    ngx_buf_t                   *b;
    ngx_http_registry_follow_t  *f;

    f = ctx->follow;

    if (limit <= f->pos) {
        return NULL;
    }

    f->file.fd = f->fetch.fd;
    f->file.name = ctx->request->uri;
    f->file.log = ctx->request->connection->log;

    b = &f->buf;

    ngx_memzero(b, sizeof(ngx_buf_t));

    b->file = &f->file;
    b->file_pos = f->pos;
    b->file_last = limit;
    b->in_file = 1;

    f->pos = limit;
    f->last = (limit == f->end);

    b->last_buf = f->last;
    b->last_in_chain = f->last;
    b->flush = !f->last;

    return b;
}


ngx_int_t
ngx_http_registry_follow_wait(ngx_http_registry_ctx_t *ctx)
{
    ngx_connection_t          *c;
    ngx_http_request_t        *r;
    ngx_http_core_loc_conf_t  *clcf;

    r = ctx->request;
    c = r->connection;

    if (!r->discard_body) {
        r->read_event_handler = ngx_http_test_reading;
    }

    if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        ctx->rc = NGX_ERROR;
        return NGX_DONE;
    }

    if (!r->header_sent) {
        return NGX_AGAIN;
    }

    if (c->tcp_nopush == NGX_TCP_NOPUSH_SET) {
        if (ngx_tcp_push(c->fd) == -1) {
            ngx_connection_error(c, ngx_socket_errno, ngx_tcp_push_n
                                 " failed");
            ctx->rc = NGX_ERROR;
            return NGX_DONE;
        }

        c->tcp_nopush = NGX_TCP_NOPUSH_UNSET;
    }

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (clcf->tcp_nodelay && ngx_tcp_nodelay(c) != NGX_OK) {
        ctx->rc = NGX_ERROR;
        return NGX_DONE;
    }

    return NGX_AGAIN;
}


/* this process was held up for so long that others forgot the copy */

static ngx_int_t
ngx_http_registry_follow_reopened(ngx_http_registry_ctx_t *ctx)
{
    ngx_fd_t                     fd;
    ngx_pool_cleanup_t          *cln;
    ngx_pool_cleanup_file_t     *clnf;
    ngx_http_registry_fetch_t   *fetch;

    fetch = &ctx->follow->fetch;

    if (ctx->op->status != NGX_OK) {
        ngx_http_registry_end_op(ctx);
        ctx->rc = NGX_ERROR;
        return NGX_DONE;
    }

    if (ctx->op->fd != NGX_INVALID_FILE) {

        cln = ngx_pool_cleanup_add(ctx->request->pool,
                                   sizeof(ngx_pool_cleanup_file_t));
        if (cln == NULL) {
            ngx_http_registry_end_op(ctx);
            ctx->rc = NGX_ERROR;
            return NGX_DONE;
        }

        cln->handler = ngx_pool_cleanup_file;
        clnf = cln->data;

        clnf->fd = ctx->op->fd;
        clnf->name = (u_char *) "registry blob";
        clnf->log = ctx->request->pool->log;
    }

    fd = ctx->op->of.fd;

    fetch->state = NGX_HTTP_REGISTRY_FETCH_DONE;
    fetch->fd = fd;
    fetch->size = ctx->op->of.size;
    fetch->ready = ctx->op->of.size;

    ctx->op->fd = NGX_INVALID_FILE;
    ngx_http_registry_end_op(ctx);

    ctx->step = ngx_http_registry_follow_send;

    return NGX_OK;
}


ngx_int_t
ngx_http_registry_follow_failed(ngx_http_registry_ctx_t *ctx,
    ngx_http_registry_failure_t *failure)
{
    u_char     buf[NGX_TIME_T_LEN];
    ngx_str_t  retry;

    if (failure->status == 0) {
        return ngx_http_registry_remote_error(ctx, failure->error);
    }

    retry.data = buf;
    retry.len = 0;

    if (failure->retry_after) {
        retry.len = ngx_sprintf(buf, "%T", failure->retry_after) - buf;
    }

    return ngx_http_registry_remote_status(ctx, failure->status, &retry,
                                           REGISTRY_BLOB_UNKNOWN);
}
