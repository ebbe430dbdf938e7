
/*
 * The messages of a call: the request's head and body on their way out, the
 * answer's on its way in.  Parsing is the core's, connections are those of
 * connect.c.
 */


#include "ngx_http_registry_client_exchange.h"


#define NGX_HTTP_REGISTRY_ROUNDS      16        /* before others have a turn */

#define NGX_HTTP_REGISTRY_LAST_CHUNK  "0" CRLF CRLF


static ngx_int_t ngx_http_registry_request_check(
    ngx_http_registry_exchange_t *x);
static ngx_uint_t ngx_http_registry_request_has(
    ngx_http_registry_exchange_t *x, const char *name);
static ngx_int_t ngx_http_registry_reserve(ngx_http_registry_exchange_t *x,
    size_t size);
static ngx_int_t ngx_http_registry_send(ngx_http_registry_exchange_t *x);
static ngx_int_t ngx_http_registry_flush(ngx_http_registry_exchange_t *x);
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
static void ngx_http_registry_talk_wait(ngx_http_registry_exchange_t *x);


ngx_int_t
ngx_http_registry_request(ngx_http_registry_exchange_t *x)
{
    size_t                     size;
    u_char                    *p;
    ngx_str_t                 *authorization;
    ngx_uint_t                 i, agent;
    ngx_keyval_t              *h;
    ngx_http_registry_call_t  *call;

    call = &x->call;
    authorization = NULL;

    if (ngx_http_registry_request_check(x) != NGX_OK) {
        return NGX_ERROR;
    }

    agent = !ngx_http_registry_request_has(x, "User-Agent");

    size = call->method.len + x->uri.len
           + sizeof("  HTTP/1.1" CRLF "Host: " CRLF CRLF) - 1
           + x->authority.len
           + sizeof("User-Agent: " NGX_HTTP_REGISTRY_USER_AGENT CRLF) - 1
           + sizeof("Transfer-Encoding: chunked" CRLF) - 1
           + sizeof("Content-Length: " CRLF) - 1 + NGX_OFF_T_LEN;

    h = call->headers.elts;

    for (i = 0; i < call->headers.nelts; i++) {
        size += h[i].key.len + sizeof(": " CRLF) - 1 + h[i].value.len;
    }

    if (x->proxied && !call->url.https) {
        authorization = ngx_http_registry_proxy_authorization(x->state);
        size += sizeof("Proxy-Authorization: " CRLF) - 1 + authorization->len;
    }

    if (ngx_http_registry_reserve(x, size) != NGX_OK) {
        return NGX_ERROR;
    }

    p = ngx_sprintf(x->out.last, "%V %V HTTP/1.1" CRLF "Host: %V" CRLF,
                    &call->method, &x->uri, &x->authority);

    if (agent) {
        p = ngx_cpymem(p, "User-Agent: " NGX_HTTP_REGISTRY_USER_AGENT CRLF,
                   sizeof("User-Agent: " NGX_HTTP_REGISTRY_USER_AGENT CRLF)
                   - 1);
    }

    if (authorization && authorization->len) {
        p = ngx_sprintf(p, "Proxy-Authorization: %V" CRLF, authorization);
    }

    for (i = 0; i < call->headers.nelts; i++) {
        p = ngx_sprintf(p, "%V: %V" CRLF, &h[i].key, &h[i].value);
    }

    if (call->content_length < 0) {
        p = ngx_cpymem(p, "Transfer-Encoding: chunked" CRLF,
                       sizeof("Transfer-Encoding: chunked" CRLF) - 1);

    } else if (call->content_length > 0 || !x->bodyless) {
        p = ngx_sprintf(p, "Content-Length: %O" CRLF, call->content_length);
    }

    *p++ = CR; *p++ = LF;

    x->out.last = p;

    x->pending = call->content_length;
    x->complete = (call->content_length == 0);

    return NGX_OK;
}


/* what is sent must not say anything else than the owner meant */

static ngx_int_t
ngx_http_registry_request_check(ngx_http_registry_exchange_t *x)
{
    size_t         n;
    ngx_uint_t     i;
    ngx_keyval_t  *h;

    for (n = 0; n < x->call.method.len; n++) {
        if (x->call.method.data[n] < 'A' || x->call.method.data[n] > 'Z') {
            return NGX_ERROR;
        }
    }

    for (n = 0; n < x->uri.len; n++) {
        if (x->uri.data[n] <= 0x20 || x->uri.data[n] >= 0x7f) {
            return NGX_ERROR;
        }
    }

    h = x->call.headers.elts;

    for (i = 0; i < x->call.headers.nelts; i++) {

        for (n = 0; n < h[i].value.len; n++) {
            if ((h[i].value.data[n] < 0x20 && h[i].value.data[n] != '\t')
                || h[i].value.data[n] == 0x7f)
            {
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_registry_request_has(ngx_http_registry_exchange_t *x,
    const char *name)
{
    size_t         len;
    ngx_uint_t     i;
    ngx_keyval_t  *h;

    len = ngx_strlen(name);
    h = x->call.headers.elts;

    for (i = 0; i < x->call.headers.nelts; i++) {
        if (h[i].key.len == len
            && ngx_strncasecmp(h[i].key.data, (u_char *) name, len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


/* makes room in the output buffer */

static ngx_int_t
ngx_http_registry_reserve(ngx_http_registry_exchange_t *x, size_t size)
{
    size_t      len;
    u_char     *p;
    ngx_buf_t  *out;

    out = &x->out;
    len = out->last - out->pos;

    if ((size_t) (out->end - out->last) >= size) {
        return NGX_OK;
    }

    if ((size_t) (out->end - out->start) >= len + size) {
        ngx_memmove(out->start, out->pos, len);

    } else {
        p = ngx_palloc(x->call.pool, len + size);
        if (p == NULL) {
            return NGX_ERROR;
        }

        if (out->start) {
            ngx_memcpy(p, out->pos, len);
            (void) ngx_pfree(x->call.pool, out->start);
        }

        out->start = p;
        out->end = p + len + size;
    }

    out->pos = out->start;
    out->last = out->start + len;

    return NGX_OK;
}


ngx_int_t
ngx_http_registry_call_send(ngx_http_registry_call_t *call, u_char *data,
    size_t len, ngx_uint_t last)
{
    u_char                        *p;
    ngx_http_registry_exchange_t  *x = call->exchange;

    if (x->complete) {
        return NGX_ERROR;
    }

    if (x->pending >= 0) {

        if ((off_t) len > x->pending || (last && (off_t) len < x->pending)) {
            return NGX_ERROR;
        }

        x->pending -= len;
        last = (x->pending == 0);
    }

    if (x->broken) {

        /* all that may still come is an answer */

        x->complete = last;
        return NGX_AGAIN;
    }

    if (ngx_http_registry_reserve(x, len + REGISTRY_CHUNK_HEADER_MAX
                                  + sizeof(REGISTRY_CHUNK_END) - 1
                                  + sizeof(NGX_HTTP_REGISTRY_LAST_CHUNK) - 1)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    p = x->out.last;

    if (len && x->pending < 0) {
        p += registry_chunk_header((char *) p, len);
    }

    p = ngx_cpymem(p, data, len);

    if (len && x->pending < 0) {
        *p++ = CR; *p++ = LF;
    }

    if (last && x->pending < 0) {
        p = ngx_cpymem(p, NGX_HTTP_REGISTRY_LAST_CHUNK,
                       sizeof(NGX_HTTP_REGISTRY_LAST_CHUNK) - 1);
    }

    x->out.last = p;
    x->complete = last;

    if (x->step == ngx_http_registry_talk) {
        ngx_http_registry_exchange_post(x);
    }

    if (!last && x->out.last - x->out.pos >= NGX_HTTP_REGISTRY_BUFFER_SIZE) {
        x->asked = 1;
        return NGX_AGAIN;
    }

    return NGX_OK;
}


ngx_uint_t
ngx_http_registry_rewind(ngx_http_registry_exchange_t *x)
{
    if (x->sent && !x->reuse) {
        return 0;
    }

    x->out.pos = x->out.start;
    x->in.pos = x->in.start;
    x->in.last = x->in.start;

    x->scanned = 0;
    x->heads = 0;
    x->sent = 0;
    x->broken = 0;
    x->received = 0;

    return 1;
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


ngx_int_t
ngx_http_registry_talk(ngx_http_registry_exchange_t *x)
{
    ngx_int_t  rc;

    x->log.action = NULL;

    if (ngx_http_registry_buffer(x) != NGX_OK) {
        return ngx_http_registry_exchange_fail(x, NGX_HTTP_REGISTRY_CALL_LOCAL,
                                               NULL, 0);
    }

    rc = ngx_http_registry_send(x);

    if (rc == NGX_AGAIN) {
        rc = ngx_http_registry_receive(x);
    }

    if (rc == NGX_AGAIN) {
        ngx_http_registry_talk_wait(x);
    }

    return rc;
}


/* NGX_AGAIN unless the call was freed by its owner */

static ngx_int_t
ngx_http_registry_send(ngx_http_registry_exchange_t *x)
{
    ngx_uint_t  n;

    for (n = 0; n < NGX_HTTP_REGISTRY_ROUNDS; n++) {

        if (ngx_http_registry_flush(x) != NGX_OK || !x->asked || x->complete) {
            return NGX_AGAIN;
        }

        x->asked = 0;

        x->call.on_send(&x->call);

        if (x->freed) {
            return NGX_DONE;
        }
    }

    ngx_post_event(&x->event, &ngx_posted_next_events);

    return NGX_AGAIN;
}


/* NGX_OK: all is sent; NGX_AGAIN: more can not be sent now */

static ngx_int_t
ngx_http_registry_flush(ngx_http_registry_exchange_t *x)
{
    ssize_t            n;
    ngx_connection_t  *c;

    c = x->peer->connection;

    while (x->out.pos < x->out.last && !x->broken) {

        n = c->send(c, x->out.pos, x->out.last - x->out.pos);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n < 0) {

            /* the server may have answered all the same */

            x->broken = 1;
            break;
        }

        x->out.pos += n;
        x->sent = 1;
        x->moved = 1;
    }

    if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
        x->broken = 1;
    }

    return (x->out.pos == x->out.last && !x->broken) ? NGX_OK : NGX_AGAIN;
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

        (void) ngx_http_registry_proxy_refused(x->state);

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


/* the connection is good for another call if nothing is left of this one */

static ngx_int_t
ngx_http_registry_complete(ngx_http_registry_exchange_t *x)
{
    ngx_uint_t  keep;

    keep = x->call.response.keepalive
           && x->complete
           && x->out.pos == x->out.last
           && x->in.pos == x->in.last
           && !x->broken;

    return ngx_http_registry_exchange_finish(x, keep);
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
