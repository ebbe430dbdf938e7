
/*
 * Which endpoint a request means, whose the repository is, and whether the
 * location permits it.
 */


#include "ngx_http_registry.h"


static ngx_int_t ngx_http_registry_parse_name(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_admit(ngx_http_registry_ctx_t *ctx);
static ngx_uint_t ngx_http_registry_served(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_name_unknown(ngx_http_registry_ctx_t *ctx);
static ngx_uint_t ngx_http_registry_loop(ngx_http_request_t *r);
static ngx_uint_t ngx_http_registry_permits(ngx_http_registry_ctx_t *ctx,
    const ngx_http_registry_method_t *method);
static ngx_int_t ngx_http_registry_not_allowed(ngx_http_registry_ctx_t *ctx);


/* each list ends with a method of 0 */

static const ngx_http_registry_method_t  ngx_http_registry_endpoints[][5] = {

    [REGISTRY_ENDPOINT_BASE] = {
        { NGX_HTTP_REGISTRY_READ, ngx_http_registry_base,
          ngx_http_registry_proxy_base,
          ngx_string("check"),
          NGX_HTTP_REGISTRY_COUNT_CHECK, NGX_HTTP_REGISTRY_MAY_PULL }
    },

    [REGISTRY_ENDPOINT_CATALOG] = {
        { NGX_HTTP_REGISTRY_READ, ngx_http_registry_list_catalog,
          ngx_http_registry_proxy_list,
          ngx_string("list_catalog"),
          NGX_HTTP_REGISTRY_COUNT_LIST_CATALOG, NGX_HTTP_REGISTRY_MAY_CATALOG }
    },

    [REGISTRY_ENDPOINT_TAGS] = {
        { NGX_HTTP_REGISTRY_READ, ngx_http_registry_list_tags,
          ngx_http_registry_proxy_list,
          ngx_string("list_tags"),
          NGX_HTTP_REGISTRY_COUNT_LIST_TAGS, NGX_HTTP_REGISTRY_MAY_PULL }
    },

    [REGISTRY_ENDPOINT_MANIFEST] = {
        { NGX_HTTP_REGISTRY_READ, ngx_http_registry_pull_manifest,
          ngx_http_registry_proxy_manifest,
          ngx_string("pull_manifest"),
          NGX_HTTP_REGISTRY_COUNT_PULL_MANIFEST, NGX_HTTP_REGISTRY_MAY_PULL },
        { NGX_HTTP_PUT, ngx_http_registry_push_manifest,
          ngx_http_registry_proxy_push,
          ngx_string("push_manifest"),
          NGX_HTTP_REGISTRY_COUNT_PUSH_MANIFEST, NGX_HTTP_REGISTRY_MAY_PUSH },
        { NGX_HTTP_DELETE, ngx_http_registry_delete_manifest,
          NULL,
          ngx_string("delete_manifest"),
          NGX_HTTP_REGISTRY_COUNT_DELETE_MANIFEST,
          NGX_HTTP_REGISTRY_MAY_DELETE }
    },

    [REGISTRY_ENDPOINT_REFERRERS] = {
        { NGX_HTTP_REGISTRY_READ, ngx_http_registry_list_referrers,
          ngx_http_registry_proxy_list,
          ngx_string("list_referrers"),
          NGX_HTTP_REGISTRY_COUNT_LIST_REFERRERS, NGX_HTTP_REGISTRY_MAY_PULL }
    },

    [REGISTRY_ENDPOINT_BLOB] = {
        { NGX_HTTP_REGISTRY_READ, ngx_http_registry_pull_blob,
          ngx_http_registry_proxy_blob,
          ngx_string("pull_blob"),
          NGX_HTTP_REGISTRY_COUNT_PULL_BLOB, NGX_HTTP_REGISTRY_MAY_PULL },
        { NGX_HTTP_DELETE, ngx_http_registry_delete_blob,
          NULL,
          ngx_string("delete_blob"),
          NGX_HTTP_REGISTRY_COUNT_DELETE_BLOB, NGX_HTTP_REGISTRY_MAY_DELETE }
    },

    [REGISTRY_ENDPOINT_UPLOADS] = {
        { NGX_HTTP_POST, ngx_http_registry_start_upload,
          ngx_http_registry_proxy_push,
          ngx_string("push_blob"),
          NGX_HTTP_REGISTRY_COUNT_PUSH_BLOB, NGX_HTTP_REGISTRY_MAY_PUSH }
    },

    [REGISTRY_ENDPOINT_UPLOAD] = {
        { NGX_HTTP_REGISTRY_READ, ngx_http_registry_upload_status,
          ngx_http_registry_proxy_push,
          ngx_string("push_blob"),
          NGX_HTTP_REGISTRY_COUNT_PUSH_BLOB, NGX_HTTP_REGISTRY_MAY_PUSH },
        { NGX_HTTP_PATCH, ngx_http_registry_append_upload,
          ngx_http_registry_proxy_push,
          ngx_string("push_blob"),
          NGX_HTTP_REGISTRY_COUNT_PUSH_BLOB, NGX_HTTP_REGISTRY_MAY_PUSH },
        { NGX_HTTP_PUT, ngx_http_registry_finish_upload,
          ngx_http_registry_proxy_push,
          ngx_string("push_blob"),
          NGX_HTTP_REGISTRY_COUNT_PUSH_BLOB, NGX_HTTP_REGISTRY_MAY_PUSH },
        { NGX_HTTP_DELETE, ngx_http_registry_cancel_upload,
          ngx_http_registry_proxy_push,
          ngx_string("push_blob"),
          NGX_HTTP_REGISTRY_COUNT_PUSH_BLOB, NGX_HTTP_REGISTRY_MAY_PUSH }
    }
};


static const struct {
    ngx_uint_t  method;
    ngx_str_t   name;
} ngx_http_registry_methods[] = {
    { NGX_HTTP_GET, ngx_string("GET") },
    { NGX_HTTP_HEAD, ngx_string("HEAD") },
    { NGX_HTTP_POST, ngx_string("POST") },
    { NGX_HTTP_PUT, ngx_string("PUT") },
    { NGX_HTTP_PATCH, ngx_string("PATCH") },
    { NGX_HTTP_DELETE, ngx_string("DELETE") }
};


void
ngx_http_registry_parse(ngx_http_registry_ctx_t *ctx)
{
    const ngx_http_registry_method_t  *method;

    ctx->method = NULL;
    ctx->digest.len = 0;

    if (ngx_http_registry_parse_name(ctx) != NGX_OK
        || ctx->route_error != REGISTRY_ERROR_NONE)
    {
        return;
    }

    method = ngx_http_registry_endpoints[ctx->route.endpoint];

    for ( /* void */ ; method->methods; method++) {
        if (method->methods & ctx->request->method) {
            ctx->method = method;
            break;
        }
    }

    if (ctx->route.by_digest) {
        ctx->digest = ctx->route.digest;
    }
}


/* the route is that of the path at the remote, the name has its namespace */

static ngx_int_t
ngx_http_registry_parse_name(ngx_http_registry_ctx_t *ctx)
{
    u_char          *p;
    ngx_str_t        path, *dir;
    registry_str_t   text;

    ctx->route_error = REGISTRY_UNKNOWN;

    if (ngx_http_registry_namespace(ctx->request, &ctx->uri, &ctx->remote,
                                    &path)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    text.data = (const char *) path.data;
    text.len = path.len;

    ctx->route_error = registry_route_parse(text, &ctx->route);

    ctx->name.data = (u_char *) ctx->route.name.data;
    ctx->name.len = ctx->route.name.len;
    ctx->reference.data = (u_char *) ctx->route.reference.data;
    ctx->reference.len = ctx->route.reference.len;

    ctx->remote_name = ctx->name;
    ngx_str_null(&ctx->ns);

    if (ctx->remote == NULL) {
        return NGX_OK;
    }

    ctx->ns = ctx->remote->name;

    if (ctx->name.len == 0) {
        return NGX_OK;
    }

    dir = &ctx->remote->dir;

    if (dir->len + 1 + ctx->name.len > REGISTRY_NAME_MAX) {
        ctx->route_error = REGISTRY_NAME_INVALID;
        return NGX_OK;
    }

    p = ngx_pnalloc(ctx->request->pool, dir->len + 1 + ctx->name.len);
    if (p == NULL) {
        ctx->route_error = REGISTRY_UNKNOWN;
        return NGX_ERROR;
    }

    ctx->name.data = p;
    p = ngx_cpymem(p, dir->data, dir->len);
    *p++ = '/';
    p = ngx_cpymem(p, ctx->route.name.data, ctx->route.name.len);
    ctx->name.len = p - ctx->name.data;

    return NGX_OK;
}


ngx_int_t
ngx_http_registry_endpoint(ngx_http_registry_ctx_t *ctx)
{
    ngx_int_t            rc;
    ngx_str_t            uri, *text;
    ngx_http_request_t  *r;

    r = ctx->request;

    rc = ngx_http_registry_canonical(r, &r->uri, &uri);

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (rc == NGX_DECLINED) {
        return ngx_http_registry_name_unknown(ctx);
    }

    /* a rewrite after the server's own: the location has to be found again */

    if (uri.data != r->uri.data) {
        ctx->rc = ngx_http_internal_redirect(r, &uri, &r->args);
        return NGX_DONE;
    }

    if (!ngx_http_registry_served(ctx)) {
        return ngx_http_registry_name_unknown(ctx);
    }

    if (ngx_http_registry_loop(r)) {
        return ngx_http_registry_fail_status(ctx, REGISTRY_UNAVAILABLE,
                                             "this request was here before",
                                             NGX_HTTP_REGISTRY_LOOP);
    }

    if (ctx->route_error == REGISTRY_UNSUPPORTED_OPERATION) {
        return ngx_http_registry_fail_status(ctx, ctx->route_error,
                                             "no such endpoint",
                                             NGX_HTTP_NOT_FOUND);
    }

    if (ctx->route_error != REGISTRY_ERROR_NONE) {
        text = (ctx->reference.len
                && ctx->route_error != REGISTRY_NAME_INVALID)
               ? &ctx->reference : &ctx->name;

        ngx_http_registry_detail(ctx, text->data, text->len);

        return ngx_http_registry_fail(ctx, ctx->route_error, NULL);
    }

    return ngx_http_registry_admit(ctx);
}


/* what the location permits begins */

static ngx_int_t
ngx_http_registry_admit(ngx_http_registry_ctx_t *ctx)
{
    ngx_http_request_t        *r;
    ngx_http_registry_side_e   side;

    r = ctx->request;

    if (ngx_http_registry_hosted(ctx) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ctx->local && !ctx->hosts) {
        return ngx_http_registry_name_unknown(ctx);
    }

    if (ctx->method == NULL || !ngx_http_registry_permits(ctx, ctx->method)) {
        return ngx_http_registry_not_allowed(ctx);
    }

    /* a subrequest has no body of its own, and nothing to answer a push to */

    if (r != r->main && !(r->method & NGX_HTTP_REGISTRY_READ)) {
        return ngx_http_registry_not_allowed(ctx);
    }

    side = ngx_http_registry_side(ctx, ctx->method);

    if (side == NGX_HTTP_REGISTRY_SIDE_HOSTED) {
        ngx_http_registry_hosted_begin(ctx);
    }

    if (r == r->main) {
        ngx_http_registry_count(ngx_http_registry_counters(ctx),
                                ctx->method->count);

        ctx->active = ctx->method;
        ngx_http_registry_count_active(ngx_http_registry_zone(r),
                                       ctx->method->count, 1);
    }

    if (ctx->remote == NULL) {
        ctx->step = ctx->method->step;
        return NGX_OK;
    }

    if (side == NGX_HTTP_REGISTRY_SIDE_FIRST) {
        ctx->step = ngx_http_registry_hosted_first;
        return NGX_OK;
    }

    return ngx_http_registry_remote_begin(ctx);
}


ngx_int_t
ngx_http_registry_remote_begin(ngx_http_registry_ctx_t *ctx)
{
    if (ngx_http_registry_offline(ctx) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->step = ctx->offline ? ngx_http_registry_offline_begin
                             : ctx->method->proxy;
    return NGX_OK;
}


/* whether this location has what the request's namespace means */

static ngx_uint_t
ngx_http_registry_served(ngx_http_registry_ctx_t *ctx)
{
    ngx_http_registry_loc_conf_t  *conf;

    conf = ctx->conf;

    if (ctx->remote) {
        ctx->store = ctx->remote->store;

        return conf->proxy
               && (conf->remote == NULL || conf->remote == ctx->remote);
    }

    ctx->store = conf->store;

    /* "/v2/" says that there is a registry, and nothing of its content */

    return conf->store || (ctx->route_error == REGISTRY_ERROR_NONE
                           && ctx->route.endpoint == REGISTRY_ENDPOINT_BASE);
}


static ngx_int_t
ngx_http_registry_name_unknown(ngx_http_registry_ctx_t *ctx)
{
    return ngx_http_registry_fail(ctx, REGISTRY_NAME_UNKNOWN,
                                  "this registry does not serve that one");
}


/* a cache that asks itself, perhaps by way of others */

static ngx_uint_t
ngx_http_registry_loop(ngx_http_request_t *r)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    if (ngx_http_registry_via.len == 0) {
        return 0;
    }

    for (part = &r->headers_in.headers.part; part; part = part->next) {

        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (h[i].key.len == sizeof("Via") - 1
                && ngx_strncasecmp(h[i].key.data, (u_char *) "Via",
                                   sizeof("Via") - 1)
                   == 0
                && ngx_strlcasestrn(h[i].value.data,
                                    h[i].value.data + h[i].value.len,
                                    ngx_http_registry_via.data,
                                    ngx_http_registry_via.len - 1)
                   != NULL)
            {
                return 1;
            }
        }
    }

    return 0;
}


static ngx_uint_t
ngx_http_registry_permits(ngx_http_registry_ctx_t *ctx,
    const ngx_http_registry_method_t *method)
{
    ngx_uint_t  remote;

    remote = (ctx->remote && ngx_http_registry_side(ctx, method)
                             != NGX_HTTP_REGISTRY_SIDE_HOSTED);

    if (remote && method->proxy == NULL) {
        return 0;
    }

    switch (method->needs) {

    case NGX_HTTP_REGISTRY_MAY_PUSH:
        return ctx->conf->push >= (remote ? NGX_HTTP_REGISTRY_PUSH_PROXY
                                          : NGX_HTTP_REGISTRY_PUSH_ON);

    case NGX_HTTP_REGISTRY_MAY_DELETE:
        return ctx->conf->delete;

    case NGX_HTTP_REGISTRY_MAY_CATALOG:
        return ctx->conf->catalog;

    default:
        return 1;
    }
}


/* RFC 9110, section 15.5.6: 405 comes with Allow */

static ngx_int_t
ngx_http_registry_not_allowed(ngx_http_registry_ctx_t *ctx)
{
    u_char                             buf[64], *p;
    ngx_str_t                          allow;
    ngx_uint_t                         i, methods;
    const ngx_http_registry_method_t  *method;

    methods = 0;
    method = ngx_http_registry_endpoints[ctx->route.endpoint];

    for ( /* void */ ; method->methods; method++) {
        if (ngx_http_registry_permits(ctx, method)) {
            methods |= method->methods;
        }
    }

    p = buf;

    for (i = 0;
         i < sizeof(ngx_http_registry_methods)
             / sizeof(ngx_http_registry_methods[0]);
         i++)
    {
        if (methods & ngx_http_registry_methods[i].method) {
            p = ngx_slprintf(p, buf + sizeof(buf), "%s%V",
                             (p == buf) ? "" : ", ",
                             &ngx_http_registry_methods[i].name);
        }
    }

    allow.data = buf;
    allow.len = p - buf;

    if (ngx_http_registry_add_header(ctx->request, "Allow", &allow)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_registry_fail(ctx, REGISTRY_UNSUPPORTED_OPERATION, NULL);
}


ngx_http_registry_counters_t *
ngx_http_registry_counters(ngx_http_registry_ctx_t *ctx)
{
    ngx_http_registry_main_conf_t  *mcf;

    if (ctx->remote) {
        return ctx->remote->counters;
    }

    mcf = ngx_http_get_module_main_conf(ctx->request,
                                        ngx_http_registry_module);

    return mcf->counters;
}
