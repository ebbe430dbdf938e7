
/*
 * Pulling what a remote has: from its cache if that may be, and else from the
 * remote.
 */


#include "ngx_http_registry.h"

#include "ngx_http_registry_fill.h"


static ngx_int_t ngx_http_registry_proxy_pass(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_proxy_find(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_proxy_expired(
    ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_proxy_send(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_proxy_fill(ngx_http_registry_ctx_t *ctx,
    ngx_uint_t known, ngx_uint_t wait);
static void ngx_http_registry_proxy_woken(void *data);
static ngx_int_t ngx_http_registry_proxy_filled(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_proxy_open(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_proxy_opened(ngx_http_registry_ctx_t *ctx);


/* "/v2/": whether the client has to log in is the remote's to say */

ngx_int_t
ngx_http_registry_proxy_base(ngx_http_registry_ctx_t *ctx)
{
    return ngx_http_registry_permitted(ctx, ngx_http_registry_base);
}


/*
 * Lists change all the time: no copy of them would be worth keeping.  So the
 * question itself shows whether the client may have the answer.
 */

ngx_int_t
ngx_http_registry_proxy_list(ngx_http_registry_ctx_t *ctx)
{
    return ngx_http_registry_proxy_pass(ctx);
}


static ngx_int_t
ngx_http_registry_proxy_pass(ngx_http_registry_ctx_t *ctx)
{
    ngx_str_t  path;

    if (ngx_http_registry_remote_path(ctx, &path) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_registry_pass(ctx, &path);
}


/*
 * The path at the remote, and what of the query is its business.  It has
 * passed the grammars.
 */

ngx_int_t
ngx_http_registry_remote_path(ngx_http_registry_ctx_t *ctx, ngx_str_t *path)
{
    u_char              *p, *start;
    ngx_str_t            value;
    ngx_uint_t           i;
    ngx_http_request_t  *r;

    static ngx_str_t  args[] = {
        ngx_string("n"), ngx_string("last"), ngx_string("artifactType")
    };

    r = ctx->request;

    /* "/v2/NAMESPACE/..." without the namespace */

    p = ngx_strlchr(r->uri.data + 4, r->uri.data + r->uri.len, '/');
    if (p == NULL) {
        p = r->uri.data + r->uri.len;
    }

    path->data = ngx_pnalloc(r->pool, r->uri.len + r->args.len
                                      + sizeof("?&artifactType="));
    if (path->data == NULL) {
        return NGX_ERROR;
    }

    start = ngx_sprintf(path->data, "/v2%*s",
                        (size_t) (r->uri.data + r->uri.len - p), p);
    p = start;

    if (ctx->route.endpoint == REGISTRY_ENDPOINT_TAGS
        || ctx->route.endpoint == REGISTRY_ENDPOINT_CATALOG
        || ctx->route.endpoint == REGISTRY_ENDPOINT_REFERRERS)
    {
        for (i = 0; i < sizeof(args) / sizeof(args[0]); i++) {
            if (ngx_http_arg(r, args[i].data, args[i].len, &value)
                == NGX_OK)
            {
                p = ngx_sprintf(p, "%c%V=%V", (p == start) ? '?' : '&',
                                &args[i], &value);
            }
        }
    }

    path->len = p - path->data;

    return NGX_OK;
}


ngx_int_t
ngx_http_registry_proxy_manifest(ngx_http_registry_ctx_t *ctx)
{
    return ngx_http_registry_permitted(ctx, ngx_http_registry_proxy_find);
}


static ngx_int_t
ngx_http_registry_proxy_find(ngx_http_registry_ctx_t *ctx)
{
    ngx_int_t                      rc;
    ngx_http_registry_manifest_t  *m;

    m = &ctx->manifest;

    ngx_http_registry_manifest_key(ctx, ctx->route.by_digest
                                            ? NULL : &ctx->reference);
    m->valid = ctx->remote->valid;
    m->fixed = 1;
    m->pulled = (ctx->remote->prefetch
                 && ctx->request->method == NGX_HTTP_GET);

    rc = ngx_http_registry_cache_get(m, ctx->request->pool);

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (rc == NGX_OK) {
        ngx_http_registry_found(ctx, NGX_HTTP_REGISTRY_COUNT_HIT);
        return ngx_http_registry_proxy_send(ctx);
    }

    if (rc == NGX_DECLINED) {

        if (ngx_http_registry_cache_is_absent(m, ctx->remote->negative)) {
            ngx_http_registry_found(ctx, NGX_HTTP_REGISTRY_COUNT_HIT);
            ngx_http_registry_detail(ctx, ctx->reference.data,
                                     ctx->reference.len);

            return ngx_http_registry_fail(ctx, REGISTRY_MANIFEST_UNKNOWN,
                                          NULL);
        }

        return ngx_http_registry_proxy_fill(ctx, 0, 1);
    }

    return ngx_http_registry_proxy_expired(ctx);
}


/*
 * A tag whose time is over.  Who comes to a remote that is known not to
 * answer does not wait until that is known once more.
 */

static ngx_int_t
ngx_http_registry_proxy_expired(ngx_http_registry_ctx_t *ctx)
{
    ngx_int_t                    up;
    ngx_http_registry_remote_t  *remote;

    remote = ctx->remote;

    if (ctx->manifest.age / 1000 > (ngx_msec_t) remote->stale_for) {
        return ngx_http_registry_proxy_fill(ctx, 1, 1);
    }

    up = ngx_http_registry_remote_up(remote);

    if (up == NGX_OK && !(remote->use_stale
                          & NGX_HTTP_REGISTRY_STALE_UPDATING))
    {
        return ngx_http_registry_proxy_fill(ctx, 1, 1);
    }

    if (up != NGX_OK && !(remote->use_stale
                          & (NGX_HTTP_REGISTRY_STALE_ERROR
                             |NGX_HTTP_REGISTRY_STALE_TIMEOUT)))
    {
        return ngx_http_registry_proxy_fill(ctx, 1, 1);
    }

    if (up != NGX_DECLINED) {
        (void) ngx_http_registry_proxy_fill(ctx, 1, 0);
    }

    ngx_http_registry_found(ctx, NGX_HTTP_REGISTRY_COUNT_STALE);

    return ngx_http_registry_proxy_send(ctx);
}


static ngx_int_t
ngx_http_registry_proxy_send(ngx_http_registry_ctx_t *ctx)
{
    ngx_int_t  rc;
    ngx_str_t  via;

    ngx_http_registry_evict_used(ctx->store, &ctx->manifest.digest);

    rc = ngx_http_registry_send_manifest(ctx);

    /* the client has it by now, so far as it has taken it */

    if (ctx->manifest.fresh
        && ngx_http_registry_client_via(ctx, &via) == NGX_OK)
    {
        ngx_http_registry_prefetch(ctx->remote, &ctx->manifest,
                                   &ctx->remote_name, &via);
    }

    return rc;
}


/* without "wait" it goes on by itself */

static ngx_int_t
ngx_http_registry_proxy_fill(ngx_http_registry_ctx_t *ctx, ngx_uint_t known,
    ngx_uint_t wait)
{
    ngx_int_t                  rc;
    ngx_http_registry_fill_t  *fill;

    if (!ngx_http_registry_passable(ctx->request)) {
        return NGX_HTTP_BAD_REQUEST;
    }

    fill = ngx_pcalloc(ctx->request->pool, sizeof(ngx_http_registry_fill_t));
    if (fill == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    fill->pool = ctx->request->pool;
    fill->manifest = ctx->manifest;
    fill->known = known;
    fill->name = ctx->remote_name;
    ngx_http_registry_client_authorization(ctx, &fill->authorization);

    if (ngx_http_registry_client_via(ctx, &fill->via) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (wait) {
        fill->handler = ngx_http_registry_proxy_woken;
        fill->data = ctx;
        ctx->fill = fill;
    }

    rc = ngx_http_registry_fill_start(fill, ctx->remote);

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (wait) {
        ctx->step = ngx_http_registry_proxy_filled;
    }

    return rc;
}


static void
ngx_http_registry_proxy_woken(void *data)
{
    ngx_http_registry_resume(data);
}


static ngx_int_t
ngx_http_registry_proxy_filled(ngx_http_registry_ctx_t *ctx)
{
    ngx_int_t                  rc;
    ngx_http_registry_fill_t  *fill;

    static const ngx_http_registry_count_e  counts[] = {
        [NGX_HTTP_REGISTRY_FILL_HIT] = NGX_HTTP_REGISTRY_COUNT_HIT,
        [NGX_HTTP_REGISTRY_FILL_MISS] = NGX_HTTP_REGISTRY_COUNT_MISS,
        [NGX_HTTP_REGISTRY_FILL_JOIN] = NGX_HTTP_REGISTRY_COUNT_JOIN,
        [NGX_HTTP_REGISTRY_FILL_REVALIDATED] =
            NGX_HTTP_REGISTRY_COUNT_REVALIDATED,
        [NGX_HTTP_REGISTRY_FILL_STALE] = NGX_HTTP_REGISTRY_COUNT_STALE
    };

    fill = ctx->fill;
    ctx->fill = NULL;

    ngx_http_registry_found(ctx, counts[fill->found]);

    if (fill->rc == NGX_OK) {
        ctx->manifest = fill->manifest;
        return ngx_http_registry_proxy_send(ctx);
    }

    if (fill->status) {
        rc = ngx_http_registry_doubted(ctx, fill->status,
                                       ngx_http_registry_proxy_find);
        if (rc != NGX_DECLINED) {
            return rc;
        }

        return ngx_http_registry_remote_status(ctx, fill->status,
                                               &fill->retry_after,
                                               REGISTRY_MANIFEST_UNKNOWN);
    }

    return ngx_http_registry_remote_error(ctx, fill->error);
}


ngx_int_t
ngx_http_registry_proxy_blob(ngx_http_registry_ctx_t *ctx)
{
    /* whether it has to be pushed: the remote may not have it any more */

    if (ctx->request->method == NGX_HTTP_HEAD
        && ctx->conf->push == NGX_HTTP_REGISTRY_PUSH_PROXY)
    {
        return ngx_http_registry_proxy_pass(ctx);
    }

    return ngx_http_registry_permitted(ctx, ngx_http_registry_proxy_open);
}


static ngx_int_t
ngx_http_registry_proxy_open(ngx_http_registry_ctx_t *ctx)
{
    return ngx_http_registry_open_blob(ctx, ngx_http_registry_proxy_opened);
}


static ngx_int_t
ngx_http_registry_proxy_opened(ngx_http_registry_ctx_t *ctx)
{
    if (ctx->op->status == NGX_OK) {
        ngx_http_registry_evict_used(ctx->store, &ctx->digest);
        ngx_http_registry_found(ctx, NGX_HTTP_REGISTRY_COUNT_HIT);
        return ngx_http_registry_send_blob(ctx);
    }

    /* what fails there is no reason not to answer */

    ngx_http_registry_end_op(ctx);

    return ngx_http_registry_follow(ctx, ngx_http_registry_proxy_open,
                                    ngx_http_registry_proxy_pass);
}


ngx_http_registry_ask_t *
ngx_http_registry_ask_for(ngx_http_registry_ctx_t *ctx, ngx_str_t *method)
{
    ngx_http_registry_ask_t  *ask;

    ask = ngx_http_registry_ask_create(ctx->remote);
    if (ask == NULL) {
        return NULL;
    }

    ask->method = *method;
    ask->name = ctx->remote_name;
    ask->blob = (ctx->route.endpoint == REGISTRY_ENDPOINT_BLOB);
    ask->data = ctx;

    ctx->ask = ask;

    ngx_http_registry_client_authorization(ctx, &ask->authorization);

    if (ngx_http_registry_client_via(ctx, &ask->via) != NGX_OK) {
        return NULL;
    }

    return ask;
}


void
ngx_http_registry_client_authorization(ngx_http_registry_ctx_t *ctx,
    ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ctx->request->headers_in.authorization;

    if (h && ctx->remote->auth == NGX_HTTP_REGISTRY_AUTH_CLIENT) {
        *value = h->value;

    } else {
        ngx_str_null(value);
    }
}


/* of several fields one list: RFC 9110, section 5.3 */

ngx_int_t
ngx_http_registry_client_via(ngx_http_registry_ctx_t *ctx, ngx_str_t *value)
{
    u_char           *p;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    ngx_str_null(value);

    for (part = &ctx->request->headers_in.headers.part;
         part;
         part = part->next)
    {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (h[i].key.len != sizeof("Via") - 1
                || ngx_strncasecmp(h[i].key.data, (u_char *) "Via",
                                   sizeof("Via") - 1)
                   != 0)
            {
                continue;
            }

            if (value->len == 0) {
                *value = h[i].value;
                continue;
            }

            p = ngx_pnalloc(ctx->request->pool,
                            value->len + 2 + h[i].value.len);
            if (p == NULL) {
                return NGX_ERROR;
            }

            value->len = ngx_sprintf(p, "%V, %V", value, &h[i].value) - p;
            value->data = p;
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_http_registry_remote_status(ngx_http_registry_ctx_t *ctx,
    ngx_uint_t status, ngx_str_t *retry_after, registry_error_e unknown)
{
    if (retry_after->len
        && ngx_http_registry_add_header(ctx->request, "Retry-After",
                                        retry_after)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    switch (status) {

    case NGX_HTTP_NOT_FOUND:
        ngx_http_registry_detail(ctx, ctx->reference.data,
                                 ctx->reference.len);
        return ngx_http_registry_fail(ctx, unknown, NULL);

    case NGX_HTTP_UNAUTHORIZED:
    case NGX_HTTP_FORBIDDEN:

        /* not 401: a client would show us what is meant for the remote */

        return ngx_http_registry_fail_status(ctx, REGISTRY_DENIED,
                                             "the remote registry denies it",
                                             NGX_HTTP_FORBIDDEN);

    case NGX_HTTP_TOO_MANY_REQUESTS:
        return ngx_http_registry_fail_status(ctx, REGISTRY_TOOMANYREQUESTS,
                                  "the remote registry limits its requests",
                                  NGX_HTTP_TOO_MANY_REQUESTS);

    case NGX_HTTP_RANGE_NOT_SATISFIABLE:
        return NGX_HTTP_RANGE_NOT_SATISFIABLE;

    case NGX_HTTP_REGISTRY_LOOP:
        return ngx_http_registry_fail_status(ctx, REGISTRY_UNAVAILABLE,
                                             "this request was here before",
                                             NGX_HTTP_REGISTRY_LOOP);

    default:

        /* of the others there is a line already */

        if (status >= NGX_HTTP_BAD_REQUEST
            && status < NGX_HTTP_INTERNAL_SERVER_ERROR)
        {
            ngx_log_error(NGX_LOG_ERR, ctx->request->connection->log, 0,
                          "registry_remote \"%V\" answers %ui",
                          &ctx->remote->name, status);
        }

        return ngx_http_registry_fail_status(ctx, REGISTRY_UNAVAILABLE,
                                          "the remote registry has failed",
                                          NGX_HTTP_BAD_GATEWAY);
    }
}


ngx_int_t
ngx_http_registry_remote_refused(ngx_http_registry_ctx_t *ctx,
    registry_error_e unknown)
{
    ngx_str_t                  retry;
    const registry_str_t      *field;
    registry_http_response_t  *response;

    response = ctx->ask->response;

    /* the client can show something else, if it was its own that was shown */

    if (response->status == NGX_HTTP_UNAUTHORIZED
        && ctx->remote->auth == NGX_HTTP_REGISTRY_AUTH_CLIENT)
    {
        return (ngx_http_registry_challenge(ctx, response) == NGX_OK)
               ? ngx_http_registry_fail(ctx, REGISTRY_UNAUTHORIZED, NULL)
               : NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_str_null(&retry);

    field = registry_http_field(response, "retry-after");

    if (field) {
        retry.data = (u_char *) field->data;
        retry.len = field->len;
    }

    return ngx_http_registry_remote_status(ctx, response->status, &retry,
                                           unknown);
}


ngx_int_t
ngx_http_registry_remote_error(ngx_http_registry_ctx_t *ctx,
    ngx_http_registry_call_error_e error)
{
    ngx_http_registry_detail(ctx, ctx->remote->name.data,
                             ctx->remote->name.len);

    if (error == NGX_HTTP_REGISTRY_CALL_TIMEOUT) {
        return ngx_http_registry_fail_status(ctx, REGISTRY_UNAVAILABLE,
                                    "the remote registry does not answer",
                                    NGX_HTTP_GATEWAY_TIME_OUT);
    }

    return ngx_http_registry_fail_status(ctx, REGISTRY_UNAVAILABLE,
                                    "the remote registry does not answer",
                                    NGX_HTTP_BAD_GATEWAY);
}
