
/*
 * The exchange over a connection: the request goes out, and the answer comes
 * in, as far as the owner takes it.  Parsing is the core's.
 */


#include "ngx_http_registry_client_exchange.h"


static void ngx_http_registry_talk_wait(ngx_http_registry_exchange_t *x);
static ngx_int_t ngx_http_registry_receive(ngx_http_registry_exchange_t *x);
static ngx_int_t ngx_http_registry_eof(ngx_http_registry_exchange_t *x,
    ssize_t n);
static ngx_int_t ngx_http_registry_head(ngx_http_registry_exchange_t *x);
static ngx_int_t ngx_http_registry_answer(ngx_http_registry_exchange_t *x);
static ngx_int_t ngx_http_registry_body(ngx_http_registry_exchange_t *x);
static ngx_int_t ngx_http_registry_body_chunked(
    ngx_http_registry_exchange_t *x);
static ngx_int_t ngx_http_registry_deliver(ngx_http_registry_exchange_t *x,
    u_char *data, size_t len);
static ngx_int_t ngx_http_registry_complete(ngx_http_registry_exchange_t *x);


ngx_int_t
ngx_http_registry_talk(ngx_http_registry_exchange_t *x)
{
    ngx_int_t  rc;

    x->log.action = NULL;

    if (ngx_http_registry_buffer(x) != NGX_OK) {
        return ngx_http_registry_exchange_fail(x, NGX_HTTP_REGISTRY_CALL_LOCAL,
                                               NULL, 0);
    }

    rc = ngx_http_registry_request_send(x);

    if (rc == NGX_AGAIN) {
        rc = ngx_http_registry_receive(x);
    }

    if (rc == NGX_AGAIN) {
        ngx_http_registry_talk_wait(x);
    }

    return rc;
}


static void
ngx_http_registry_talk_wait(ngx_http_registry_exchange_t *x)
{
    ngx_http_registry_wait_e  wait;

    if (x->out.pos < x->out.last && !x->broken) {
        wait = NGX_HTTP_REGISTRY_WAIT_SEND;

    } else if (x->paused || !(x->complete || x->broken)) {
        wait = NGX_HTTP_REGISTRY_WAIT_OWNER;

    } else if (!x->received) {
        wait = NGX_HTTP_REGISTRY_WAIT_FIRST;

    } else {
        wait = NGX_HTTP_REGISTRY_WAIT_READ;
    }

    if (wait != x->wait || x->moved) {
        x->moved = 0;
        ngx_http_registry_exchange_wait(x, wait);
    }
}


ngx_int_t
ngx_http_registry_buffer(ngx_http_registry_exchange_t *x)
{
    ngx_buf_t  *in;

    in = &x->in;

    if (in->start) {
        return NGX_OK;
    }

    in->start = ngx_palloc(x->call.pool, NGX_HTTP_REGISTRY_BUFFER_SIZE);
    if (in->start == NULL) {
        return NGX_ERROR;
    }

    in->end = in->start + NGX_HTTP_REGISTRY_BUFFER_SIZE;
    in->pos = in->start;
    in->last = in->start;

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_receive(ngx_http_registry_exchange_t *x)
{
    ssize_t            n;
    ngx_int_t          rc;
    ngx_uint_t         i;
    ngx_connection_t  *c;

    c = x->peer->connection;

    for (i = 0; i < NGX_HTTP_REGISTRY_ROUNDS; i++) {

        do {
            rc = x->answered ? ngx_http_registry_body(x)
                             : ngx_http_registry_head(x);

        } while (rc == NGX_OK && x->step == ngx_http_registry_talk);

        if (rc != NGX_AGAIN) {
            return rc;
        }

        if (x->paused) {
            break;
        }

        if (x->in.pos == x->in.last) {
            x->in.pos = x->in.start;
            x->in.last = x->in.start;
        }

        n = c->recv(c, x->in.last, x->in.end - x->in.last);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n <= 0) {
            return ngx_http_registry_eof(x, n);
        }

        x->in.last += n;
        x->received = 1;
        x->moved = 1;
    }

    if (i == NGX_HTTP_REGISTRY_ROUNDS) {
        ngx_post_event(&x->event, &ngx_posted_next_events);
    }

    if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        return ngx_http_registry_exchange_fail(x, NGX_HTTP_REGISTRY_CALL_LOCAL,
                                               NULL, 0);
    }

    return NGX_AGAIN;
}


static ngx_int_t
ngx_http_registry_eof(ngx_http_registry_exchange_t *x, ssize_t n)
{
    ngx_err_t          err;
    const char        *alert;
    ngx_connection_t  *c;

    c = x->peer->connection;
    alert = ngx_http_registry_tls_reason(c);

    err = (n < 0 && !x->call.url.https) ? ngx_socket_errno : 0;

    c->read->eof = 1;

    if (alert) {

        /* in TLSv1.3 the handshake has ended before our certificate is seen */

        return ngx_http_registry_exchange_fail(x, NGX_HTTP_REGISTRY_CALL_TLS,
                                               alert, 0);
    }

    if (!x->received) {
        return ngx_http_registry_exchange_fail(x,
                                  NGX_HTTP_REGISTRY_CALL_CONNECT,
                                  "closed before an answer", err);
    }

    if (x->answered && x->body && x->left < 0 && !x->call.response.chunked
        && n == 0)
    {
        return ngx_http_registry_exchange_finish(x, 0);
    }

    return ngx_http_registry_exchange_fail(x, NGX_HTTP_REGISTRY_CALL_TRUNCATED,
                                           x->answered ? "in the body"
                                                       : "in the head",
                                           err);
}


static ngx_int_t
ngx_http_registry_head(ngx_http_registry_exchange_t *x)
{
    size_t                     n;
    u_char                    *p;
    registry_str_t             head;
    registry_status_e          status;
    registry_http_response_t  *response;

    head.data = (char *) x->in.pos;
    head.len = x->in.last - x->in.pos;

    n = registry_http_head_end(head, &x->scanned);

    if (x->heads + (n ? n : head.len) > NGX_HTTP_REGISTRY_HEAD_MAX) {
        return ngx_http_registry_exchange_fail(x,
                                  NGX_HTTP_REGISTRY_CALL_PROTOCOL,
                                  "the head is too large", 0);
    }

    if (n == 0) {
        return NGX_AGAIN;
    }

    /* the response points into it */

    p = ngx_pnalloc(x->call.pool, n);
    if (p == NULL) {
        return ngx_http_registry_exchange_fail(x, NGX_HTTP_REGISTRY_CALL_LOCAL,
                                               NULL, 0);
    }

    ngx_memcpy(p, x->in.pos, n);

    x->in.pos += n;
    x->heads += n;
    x->scanned = 0;

    head.data = (char *) p;
    head.len = n;

    response = &x->call.response;

    status = registry_http_head_parse(head, response);

    if (status != REGISTRY_OK || response->status == 101) {
        return ngx_http_registry_exchange_fail(x,
                                  NGX_HTTP_REGISTRY_CALL_PROTOCOL,
                                  status == REGISTRY_INVALID
                                      ? "the head is not valid"
                                      : "the head is not supported", 0);
    }

    if (response->status < 200) {
        return NGX_OK;
    }

    return ngx_http_registry_answer(x);
}


/* the final head is there */

static ngx_int_t
ngx_http_registry_answer(ngx_http_registry_exchange_t *x)
{
    ngx_int_t                  rc;
    const char                *reason;
    registry_http_response_t  *response;

    response = &x->call.response;

    if (x->shim) {
        ngx_http_registry_upstream_answered(x);

        reason = ngx_http_registry_unfit(x);

        if (reason && x->reuse && x->peer->tries > 1) {

            /* the next one may be better */

            return ngx_http_registry_exchange_fail(x,
                                   NGX_HTTP_REGISTRY_CALL_BUSY, reason, 0);
        }
    }

    if (response->status == 407 && x->proxied) {

        /* the next call has the new ones, if there are new ones */

        (void) ngx_http_registry_proxy_refused(x);

        return ngx_http_registry_exchange_fail(x, NGX_HTTP_REGISTRY_CALL_PROXY,
                                        ngx_http_registry_proxy_reason(407),
                                        0);
    }

    x->answered = 1;
    x->body = registry_http_has_body(response, x->head);
    x->left = x->body ? response->content_length : 0;

    if (x->body && response->chunked) {
        registry_chunked_init(&x->chunked);
    }

    rc = x->call.on_header(&x->call);

    if (rc == NGX_ERROR || x->freed) {
        return NGX_DONE;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_body(ngx_http_registry_exchange_t *x)
{
    size_t   len;
    u_char  *data;

    if (x->paused) {
        return NGX_AGAIN;
    }

    if (x->body && x->call.response.chunked) {
        return ngx_http_registry_body_chunked(x);
    }

    if (x->left == 0) {
        return ngx_http_registry_complete(x);
    }

    data = x->in.pos;
    len = x->in.last - x->in.pos;

    if (len == 0) {
        return NGX_AGAIN;
    }

    if (x->left > 0) {
        len = (size_t) ngx_min((off_t) len, x->left);
        x->left -= len;
    }

    x->in.pos += len;

    return ngx_http_registry_deliver(x, data, len);
}


static ngx_int_t
ngx_http_registry_body_chunked(ngx_http_registry_exchange_t *x)
{
    registry_str_t     in, data;
    registry_status_e  status;

    if (x->chunked.done) {
        return ngx_http_registry_complete(x);
    }

    in.data = (char *) x->in.pos;
    in.len = x->in.last - x->in.pos;

    status = registry_chunked_next(&x->chunked, &in, &data);

    x->in.pos = x->in.last - in.len;

    switch (status) {

    case REGISTRY_OK:
        return ngx_http_registry_deliver(x, (u_char *) data.data, data.len);

    case REGISTRY_DECLINED:
        return x->chunked.done ? NGX_OK : NGX_AGAIN;

    default:
        return ngx_http_registry_exchange_fail(x,
                                  NGX_HTTP_REGISTRY_CALL_PROTOCOL,
                                  "the chunked coding is broken", 0);
    }
}


static ngx_int_t
ngx_http_registry_deliver(ngx_http_registry_exchange_t *x, u_char *data,
    size_t len)
{
    ngx_int_t  rc;

    x->call.received += len;

    rc = x->call.on_body(&x->call, data, len);

    if (rc == NGX_ERROR || x->freed) {
        return NGX_DONE;
    }

    if (rc == NGX_AGAIN) {
        x->paused = 1;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_complete(ngx_http_registry_exchange_t *x)
{
    return ngx_http_registry_exchange_finish(x, ngx_http_registry_spare(x));
}


ngx_uint_t
ngx_http_registry_spare(ngx_http_registry_exchange_t *x)
{
    off_t       rest;
    ngx_uint_t  whole;

    if (!x->answered || x->peer->connection == NULL) {
        return 0;
    }

    rest = x->in.last - x->in.pos;

    whole = (x->body && x->call.response.chunked)
            ? x->chunked.done && rest == 0 : rest == x->left;

    return whole
           && x->call.response.keepalive
           && x->complete
           && x->out.pos == x->out.last
           && !x->broken
           && !ngx_http_registry_tls_pending(x->peer->connection);
}


const char *
ngx_http_registry_unfit(ngx_http_registry_exchange_t *x)
{
    switch (x->call.response.status) {

    case NGX_HTTP_INTERNAL_SERVER_ERROR:
        return "the server answers 500";

    case NGX_HTTP_BAD_GATEWAY:
        return "the server answers 502";

    case NGX_HTTP_SERVICE_UNAVAILABLE:
        return "the server answers 503";

    case NGX_HTTP_GATEWAY_TIME_OUT:
        return "the server answers 504";

    default:
        return NULL;
    }
}
