
/*
 * "auth client": the remote is asked whether it would let this client have
 * what it wants, with the client's own credentials, and its answer is
 * believed for a while, for these credentials and this repository.  So a
 * copy of what is private goes to nobody whom the remote would refuse.
 */


#include "ngx_http_registry.h"


#define NGX_HTTP_REGISTRY_VERDICT        'v'
#define NGX_HTTP_REGISTRY_VERDICT_VALID  60000      /* milliseconds */


typedef struct {
    ngx_str_t          text;
    uint32_t           hash;
    u_char             data[1 + sizeof(uint32_t) + REGISTRY_DIGEST_MAX
                            + REGISTRY_NAME_MAX];
} ngx_http_registry_verdict_key_t;


static ngx_int_t ngx_http_registry_verdict_ask(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_verdict_header(
    ngx_http_registry_ask_t *ask);
static void ngx_http_registry_verdict_done(ngx_http_registry_ask_t *ask);
static ngx_int_t ngx_http_registry_verdict_take(ngx_http_registry_ctx_t *ctx,
    registry_http_response_t *response);
static ngx_int_t ngx_http_registry_verdict(ngx_http_registry_ctx_t *ctx);
static ngx_uint_t ngx_http_registry_verdict_headless(
    ngx_http_registry_ctx_t *ctx);
static void ngx_http_registry_verdict_key(ngx_http_registry_ctx_t *ctx,
    ngx_http_registry_verdict_key_t *key);
static ngx_uint_t ngx_http_registry_verdict_known(
    ngx_http_registry_ctx_t *ctx);
static void ngx_http_registry_verdict_keep(ngx_http_registry_ctx_t *ctx);
static void ngx_http_registry_verdict_drop(ngx_http_registry_ctx_t *ctx);


ngx_int_t
ngx_http_registry_permitted(ngx_http_registry_ctx_t *ctx,
    ngx_http_registry_step_pt next)
{
    if (ctx->remote->auth == NGX_HTTP_REGISTRY_AUTH_EDGE
        || ngx_http_registry_verdict_known(ctx))
    {
        ctx->step = next;
        return NGX_OK;
    }

    if (ctx->offline) {
        return ngx_http_registry_offline_refuse(ctx);
    }

    ctx->permitted = next;
    ctx->step = ngx_http_registry_verdict;

    return ngx_http_registry_verdict_ask(ctx);
}


ngx_int_t
ngx_http_registry_doubted(ngx_http_registry_ctx_t *ctx, ngx_uint_t status,
    ngx_http_registry_step_pt next)
{
    if (ctx->remote->auth == NGX_HTTP_REGISTRY_AUTH_EDGE || ctx->doubted
        || (status != NGX_HTTP_UNAUTHORIZED && status != NGX_HTTP_FORBIDDEN))
    {
        return NGX_DECLINED;
    }

    ctx->doubted = 1;
    ctx->permitted = next;
    ctx->step = ngx_http_registry_verdict;

    return ngx_http_registry_verdict_ask(ctx);
}


static ngx_int_t
ngx_http_registry_verdict_ask(ngx_http_registry_ctx_t *ctx)
{
    ngx_uint_t                blob, content;
    ngx_http_registry_ask_t  *ask;

    static ngx_str_t  get = ngx_string("GET");
    static ngx_str_t  head = ngx_string("HEAD");
    static ngx_str_t  first = ngx_string("bytes=0-0");
    static ngx_str_t  accept = ngx_string(NGX_HTTP_REGISTRY_ACCEPT);

    if (!ngx_http_registry_passable(ctx->request)) {
        return NGX_HTTP_BAD_REQUEST;
    }

    /* not everybody knows HEAD of what is no content */

    blob = (ctx->route.endpoint == REGISTRY_ENDPOINT_BLOB);
    content = (blob || ctx->route.endpoint == REGISTRY_ENDPOINT_MANIFEST);

    ask = ngx_http_registry_ask_for(ctx, (content && !ctx->verdict_get)
                                             ? &head : &get);

    if (ask == NULL
        || ngx_http_registry_remote_path(ctx, &ask->path) != NGX_OK
        || ngx_http_registry_ask_header(ask, "Accept", &accept) != NGX_OK
        || (blob && ctx->verdict_get
            && ngx_http_registry_ask_header(ask, "Range", &first) != NGX_OK))
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ask->on_header = ngx_http_registry_verdict_header;
    ask->on_done = ngx_http_registry_verdict_done;

    return (ngx_http_registry_ask_start(ask) == NGX_ERROR)
           ? NGX_HTTP_INTERNAL_SERVER_ERROR : NGX_AGAIN;
}


static ngx_int_t
ngx_http_registry_verdict_header(ngx_http_registry_ask_t *ask)
{
    ngx_http_registry_ctx_t *ctx = ask->data;

    ctx->verdict = ask->response->status;

    if (ctx->verdict == NGX_HTTP_OK && ngx_http_registry_ask_html(ask)) {
        ctx->verdict = 0;
        ctx->verdict_error = NGX_HTTP_REGISTRY_CALL_PROTOCOL;

    } else if (ngx_http_registry_verdict_take(ctx, ask->response) != NGX_OK) {
        ctx->verdict = NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->ask = NULL;
    ngx_http_registry_ask_free(ask);

    ngx_http_registry_resume(ctx);

    return NGX_ERROR;
}


static void
ngx_http_registry_verdict_done(ngx_http_registry_ask_t *ask)
{
    ngx_http_registry_ctx_t *ctx = ask->data;

    ctx->verdict = 0;
    ctx->verdict_error = ask->error;

    ctx->ask = NULL;
    ngx_http_registry_ask_free(ask);

    ngx_http_registry_resume(ctx);
}


/* where to log in, and when to come again */

static ngx_int_t
ngx_http_registry_verdict_take(ngx_http_registry_ctx_t *ctx,
    registry_http_response_t *response)
{
    ngx_str_t              value;
    const registry_str_t  *field;

    field = registry_http_field(response, "retry-after");

    if (field) {
        value.data = (u_char *) field->data;
        value.len = field->len;

        ctx->retry_after.data = ngx_pstrdup(ctx->request->pool, &value);
        if (ctx->retry_after.data == NULL) {
            return NGX_ERROR;
        }

        ctx->retry_after.len = value.len;
    }

    return (response->status == NGX_HTTP_UNAUTHORIZED)
           ? ngx_http_registry_challenge(ctx, response) : NGX_OK;
}


ngx_int_t
ngx_http_registry_challenge(ngx_http_registry_ctx_t *ctx,
    registry_http_response_t *response)
{
    size_t                 i;
    ngx_str_t              value;
    const registry_str_t  *field;

    i = 0;

    for ( ;; ) {
        field = registry_http_field_next(response, "www-authenticate", &i);

        if (field == NULL) {
            return NGX_OK;
        }

        value.data = (u_char *) field->data;
        value.len = field->len;

        if (ngx_http_registry_add_header(ctx->request, "WWW-Authenticate",
                                         &value)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }
}


static ngx_int_t
ngx_http_registry_verdict(ngx_http_registry_ctx_t *ctx)
{
    if (ngx_http_registry_verdict_headless(ctx)) {
        ctx->verdict_get = 1;
        return ngx_http_registry_verdict_ask(ctx);
    }

    switch (ctx->verdict) {

    case 0:
        return ngx_http_registry_remote_error(ctx, ctx->verdict_error);

    case NGX_HTTP_OK:
    case NGX_HTTP_PARTIAL_CONTENT:
    case NGX_HTTP_NOT_MODIFIED:
    case NGX_HTTP_RANGE_NOT_SATISFIABLE:        /* it is empty */
        ngx_http_registry_verdict_keep(ctx);
        ctx->step = ctx->permitted;
        return NGX_OK;

    case NGX_HTTP_UNAUTHORIZED:
        ngx_http_registry_verdict_drop(ctx);
        return ngx_http_registry_fail(ctx, REGISTRY_UNAUTHORIZED, NULL);

    case NGX_HTTP_FORBIDDEN:
        ngx_http_registry_verdict_drop(ctx);

        /* fall through */

    default:

        /* 404 too: some registries say so of what is not for this client */

        return ngx_http_registry_remote_status(ctx, ctx->verdict,
                            &ctx->retry_after,
                            (ctx->route.endpoint == REGISTRY_ENDPOINT_BLOB)
                                ? REGISTRY_BLOB_UNKNOWN
                                : REGISTRY_MANIFEST_UNKNOWN);
    }
}


/*
 * A registry that knows no HEAD; for blobs that may be 404, as of one that is
 * itself a cache.
 */

static ngx_uint_t
ngx_http_registry_verdict_headless(ngx_http_registry_ctx_t *ctx)
{
    if (ctx->verdict_get) {
        return 0;
    }

    switch (ctx->verdict) {

    case NGX_HTTP_NOT_FOUND:
        return ctx->route.endpoint == REGISTRY_ENDPOINT_BLOB;

    case NGX_HTTP_BAD_REQUEST:
    case NGX_HTTP_NOT_ALLOWED:
    case NGX_HTTP_NOT_IMPLEMENTED:
        return ctx->route.endpoint == REGISTRY_ENDPOINT_BLOB
               || ctx->route.endpoint == REGISTRY_ENDPOINT_MANIFEST;

    default:
        return 0;
    }
}


/* credentials are kept as their hash */

static void
ngx_http_registry_verdict_key(ngx_http_registry_ctx_t *ctx,
    ngx_http_registry_verdict_key_t *key)
{
    u_char             *p;
    ngx_str_t           value;
    registry_digest_t   digest;

    ngx_http_registry_client_authorization(ctx, &value);

    registry_hash_bytes(REGISTRY_SHA256, value.data, value.len, &digest);

    p = key->data;
    *p++ = NGX_HTTP_REGISTRY_VERDICT;
    p = ngx_cpymem(p, &ctx->remote->id, sizeof(uint32_t));
    p = ngx_cpymem(p, digest.text, digest.len);
    p = ngx_cpymem(p, ctx->remote_name.data, ctx->remote_name.len);

    key->text.data = key->data;
    key->text.len = p - key->data;
    key->hash = ngx_murmur_hash2(key->text.data, key->text.len);
}


static ngx_uint_t
ngx_http_registry_verdict_known(ngx_http_registry_ctx_t *ctx)
{
    ngx_uint_t                        known;
    ngx_http_registry_zone_t         *zone;
    ngx_http_registry_entry_t        *entry;
    ngx_http_registry_verdict_key_t   key;

    zone = ctx->remote->zone;

    ngx_http_registry_verdict_key(ctx, &key);

    ngx_http_registry_zone_lock(zone);

    entry = ngx_http_registry_zone_find(zone, &key.text, key.hash);

    known = (entry && ngx_current_msec - entry->checked
                      < NGX_HTTP_REGISTRY_VERDICT_VALID);

    ngx_http_registry_zone_unlock(zone);

    return known;
}


static void
ngx_http_registry_verdict_keep(ngx_http_registry_ctx_t *ctx)
{
    ngx_str_t                         none;
    ngx_http_registry_zone_t         *zone;
    ngx_http_registry_verdict_key_t   key;

    zone = ctx->remote->zone;
    ngx_str_set(&none, "");

    ngx_http_registry_verdict_key(ctx, &key);

    ngx_http_registry_zone_lock(zone);

    (void) ngx_http_registry_zone_put(zone, &key.text, key.hash, &none,
                                      &none);

    ngx_http_registry_zone_unlock(zone);
}


static void
ngx_http_registry_verdict_drop(ngx_http_registry_ctx_t *ctx)
{
    ngx_http_registry_zone_t         *zone;
    ngx_http_registry_entry_t        *entry;
    ngx_http_registry_verdict_key_t   key;

    zone = ctx->remote->zone;

    ngx_http_registry_verdict_key(ctx, &key);

    ngx_http_registry_zone_lock(zone);

    entry = ngx_http_registry_zone_find(zone, &key.text, key.hash);

    if (entry) {
        ngx_http_registry_zone_delete(zone, entry);
    }

    ngx_http_registry_zone_unlock(zone);
}
