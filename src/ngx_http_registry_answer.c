
/*
 * What answers have in common: their fields, and those without a body or with
 * one from memory.
 */


#include "ngx_http_registry.h"

#include "registry_relay.h"


/* a repository, and a session of a remote */
#define NGX_HTTP_REGISTRY_LOCATION  (2 * REGISTRY_NAME_MAX + 64               \
                                     + REGISTRY_RELAY_MAX)


static ngx_table_elt_t *ngx_http_registry_push_header(ngx_http_request_t *r,
    const char *name, ngx_str_t *value);


ngx_table_elt_t *
ngx_http_registry_header_in(ngx_http_request_t *r, ngx_str_t *name)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    for (part = &r->headers_in.headers.part; part; part = part->next) {

        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (h[i].key.len == name->len
                && ngx_strncasecmp(h[i].key.data, name->data, name->len) == 0)
            {
                return &h[i];
            }
        }
    }

    return NULL;
}


void
ngx_http_registry_set_type(ngx_http_request_t *r, ngx_str_t *type)
{
    /*
     * In the place of Content-Encoding, and not among the headers: gzip,
     * gunzip, charset and the like then leave the bytes alone.
     */
    static ngx_table_elt_t  identity = {
        .hash = 0,
        .key = ngx_string("Content-Encoding"),
        .value = ngx_string("identity")
    };

    r->headers_out.content_encoding = &identity;

    r->headers_out.content_type = *type;
    r->headers_out.content_type_lowcase = NULL;

    /* or else a "charset" is added to it */

    r->headers_out.content_type_len = 0;
}


ngx_int_t
ngx_http_registry_add_header(ngx_http_request_t *r, const char *name,
    ngx_str_t *value)
{
    ngx_str_t  copy;

    copy.len = value->len;
    copy.data = ngx_pstrdup(r->pool, value);

    if (copy.data == NULL
        || ngx_http_registry_push_header(r, name, &copy) == NULL)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* with an ETag, which nginx's own filters then test */

ngx_int_t
ngx_http_registry_add_digest(ngx_http_registry_ctx_t *ctx,
    registry_digest_t *digest)
{
    ngx_str_t            value, quoted;
    ngx_http_request_t  *r;

    r = ctx->request;

    quoted.len = digest->len + 2;
    quoted.data = ngx_pnalloc(r->pool, quoted.len);
    if (quoted.data == NULL) {
        return NGX_ERROR;
    }

    value.len = digest->len;
    value.data = quoted.data + 1;

    quoted.data[0] = '"';
    ngx_memcpy(value.data, digest->text, value.len);
    quoted.data[quoted.len - 1] = '"';

    if (ngx_http_registry_push_header(r, "Docker-Content-Digest", &value)
        == NULL)
    {
        return NGX_ERROR;
    }

    if (!(r->method & NGX_HTTP_REGISTRY_READ)) {
        return NGX_OK;
    }

    r->headers_out.etag = ngx_http_registry_push_header(r, "ETag", &quoted);

    return r->headers_out.etag ? NGX_OK : NGX_ERROR;
}


/* the value is the request's already */

static ngx_table_elt_t *
ngx_http_registry_push_header(ngx_http_request_t *r, const char *name,
    ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NULL;
    }

    h->hash = 1;
    h->key.len = ngx_strlen(name);
    h->key.data = (u_char *) name;
    h->value = *value;

#if (nginx_version >= 1023000)
    h->next = NULL;
#endif

    return h;
}


u_char *
ngx_http_registry_uri(ngx_http_registry_ctx_t *ctx, u_char *p, u_char *last)
{
    return ngx_slprintf(p, last, "/v2/%V%s%V", &ctx->ns,
                        ctx->ns.len ? "/" : "", &ctx->remote_name);
}


ngx_int_t
ngx_http_registry_add_location(ngx_http_registry_ctx_t *ctx, const char *fmt,
    ...)
{
    u_char     buf[NGX_HTTP_REGISTRY_LOCATION], *p;
    va_list    args;
    ngx_str_t  value;

    p = ngx_http_registry_uri(ctx, buf, buf + sizeof(buf));

    va_start(args, fmt);
    p = ngx_vslprintf(p, buf + sizeof(buf), fmt, args);
    va_end(args);

    value.data = buf;
    value.len = p - buf;

    return ngx_http_registry_add_header(ctx->request, "Location", &value);
}


ngx_int_t
ngx_http_registry_send_empty(ngx_http_registry_ctx_t *ctx, ngx_uint_t status)
{
    ngx_http_request_t  *r;

    r = ctx->request;

    r->headers_out.status = status;
    r->header_only = 1;

    if (status != NGX_HTTP_NO_CONTENT) {
        r->headers_out.content_length_n = 0;
    }

    ctx->rc = ngx_http_send_header(r);

    return NGX_DONE;
}


ngx_int_t
ngx_http_registry_send_bytes(ngx_http_registry_ctx_t *ctx, ngx_str_t *type,
    ngx_str_t *body)
{
    ngx_int_t            rc;
    ngx_buf_t           *b;
    ngx_chain_t          out;
    ngx_http_request_t  *r;

    r = ctx->request;

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = body->len;

    ngx_http_registry_set_type(r, type);

    ctx->rc = ngx_http_send_header(r);

    if (ctx->rc == NGX_ERROR || ctx->rc > NGX_OK || r->header_only) {
        return NGX_DONE;
    }

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        ctx->rc = NGX_ERROR;
        return NGX_DONE;
    }

    b->pos = body->data;
    b->last = body->data + body->len;
    b->memory = (body->len != 0);
    b->last_buf = (r == r->main);
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    ctx->rc = ngx_http_output_filter(r, &out);

    return NGX_DONE;
}


ngx_int_t
ngx_http_registry_base(ngx_http_registry_ctx_t *ctx)
{
    static ngx_str_t  type = ngx_string("application/json");
    static ngx_str_t  body = ngx_string("{}");

    return ngx_http_registry_send_bytes(ctx, &type, &body);
}
