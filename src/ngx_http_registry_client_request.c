
/*
 * A request on its way out: its head, which is written when the call is
 * started, and a body that comes in pieces.
 */


#include "ngx_http_registry_client_exchange.h"


#define NGX_HTTP_REGISTRY_LAST_CHUNK  "0" CRLF CRLF


static size_t ngx_http_registry_request_size(ngx_http_registry_exchange_t *x);
static ngx_int_t ngx_http_registry_request_check(
    ngx_http_registry_exchange_t *x);
static ngx_uint_t ngx_http_registry_request_has(
    ngx_http_registry_exchange_t *x, const char *name);
static ngx_int_t ngx_http_registry_reserve(ngx_http_registry_exchange_t *x,
    size_t size);
static ngx_int_t ngx_http_registry_append(ngx_http_registry_exchange_t *x,
    u_char *data, size_t len);
static ngx_int_t ngx_http_registry_flush(ngx_http_registry_exchange_t *x);


ngx_int_t
ngx_http_registry_request(ngx_http_registry_exchange_t *x)
{
    u_char                    *p;
    ngx_str_t                  authorization;
    ngx_uint_t                 i;
    ngx_keyval_t              *h;
    ngx_http_registry_call_t  *call;

    call = &x->call;

    ngx_str_null(&authorization);

    if (x->proxied && !call->url.https) {
        authorization = *ngx_http_registry_proxy_authorization(x->state);
    }

    if (ngx_http_registry_request_check(x) != NGX_OK
        || ngx_http_registry_reserve(x, ngx_http_registry_request_size(x)
                                        + authorization.len)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    p = ngx_sprintf(x->out.last, "%V %V HTTP/1.1" CRLF "Host: %V" CRLF,
                    &call->method, &x->uri, &x->authority);

    if (!ngx_http_registry_request_has(x, "User-Agent")) {
        p = ngx_sprintf(p, "User-Agent: %s" CRLF,
                        NGX_HTTP_REGISTRY_USER_AGENT);
    }

    if (authorization.len) {
        p = ngx_sprintf(p, "Proxy-Authorization: %V" CRLF, &authorization);
    }

    h = call->headers.elts;

    for (i = 0; i < call->headers.nelts; i++) {
        p = ngx_sprintf(p, "%V: %V" CRLF, &h[i].key, &h[i].value);
    }

    if (call->content_length < 0) {
        p = ngx_sprintf(p, "Transfer-Encoding: chunked" CRLF);

    } else if (call->content_length > 0 || !x->bodyless) {
        p = ngx_sprintf(p, "Content-Length: %O" CRLF, call->content_length);
    }

    *p++ = CR; *p++ = LF;

    x->out.last = p;

    x->pending = call->content_length;
    x->complete = (call->content_length == 0);

    return NGX_OK;
}


/* of the head, or more */

static size_t
ngx_http_registry_request_size(ngx_http_registry_exchange_t *x)
{
    size_t         size;
    ngx_uint_t     i;
    ngx_keyval_t  *h;

    size = x->call.method.len + x->uri.len + x->authority.len
           + sizeof("  HTTP/1.1" CRLF
                    "Host: " CRLF
                    "User-Agent: " NGX_HTTP_REGISTRY_USER_AGENT CRLF
                    "Proxy-Authorization: " CRLF
                    "Transfer-Encoding: chunked" CRLF
                    "Content-Length: " CRLF CRLF)
           + NGX_OFF_T_LEN;

    h = x->call.headers.elts;

    for (i = 0; i < x->call.headers.nelts; i++) {
        size += h[i].key.len + sizeof(": " CRLF) + h[i].value.len;
    }

    return size;
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
    ngx_http_registry_exchange_t  *x = call->exchange;

    if (x->complete || x->ended) {
        return NGX_ERROR;
    }

    if (x->pending >= 0) {

        if ((off_t) len > x->pending || (last && (off_t) len < x->pending)) {
            return NGX_ERROR;
        }

        x->pending -= len;
        last = (x->pending == 0);
    }

    x->complete = last;

    if (x->broken) {

        /* all that may still come is an answer */

        return NGX_AGAIN;
    }

    if (ngx_http_registry_append(x, data, len) != NGX_OK) {
        return NGX_ERROR;
    }

    if (x->step == ngx_http_registry_talk) {
        ngx_http_registry_exchange_post(x);
    }

    if (!last && x->out.last - x->out.pos >= NGX_HTTP_REGISTRY_BUFFER_SIZE) {
        x->asked = 1;
        return NGX_AGAIN;
    }

    return NGX_OK;
}


/* a piece of the body, in the coding that it is sent in */

static ngx_int_t
ngx_http_registry_append(ngx_http_registry_exchange_t *x, u_char *data,
    size_t len)
{
    u_char      *p;
    ngx_uint_t   chunked;

    if (ngx_http_registry_reserve(x, len + REGISTRY_CHUNK_HEADER_MAX
                                  + sizeof(REGISTRY_CHUNK_END) - 1
                                  + sizeof(NGX_HTTP_REGISTRY_LAST_CHUNK) - 1)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    p = x->out.last;
    chunked = (x->pending < 0);

    if (len && chunked) {
        p += registry_chunk_header((char *) p, len);
    }

    if (len) {
        p = ngx_cpymem(p, data, len);
    }

    if (len && chunked) {
        p = ngx_cpymem(p, REGISTRY_CHUNK_END, sizeof(REGISTRY_CHUNK_END) - 1);
    }

    if (x->complete && chunked) {
        p = ngx_cpymem(p, NGX_HTTP_REGISTRY_LAST_CHUNK,
                       sizeof(NGX_HTTP_REGISTRY_LAST_CHUNK) - 1);
    }

    x->out.last = p;

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


ngx_int_t
ngx_http_registry_request_send(ngx_http_registry_exchange_t *x)
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
