
/*
 * Locations that have both what is hosted and remotes: a name in a namespace
 * is looked for among what is hosted, under the name without the namespace,
 * before the remote is asked.  What is local only is never asked for.
 */


#include "ngx_http_registry.h"

#include "registry_name.h"


static void ngx_http_registry_hosted_back(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_hosted_none(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_hosted_subject(
    ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_hosted_looked(
    ngx_http_registry_ctx_t *ctx);


char *
ngx_http_registry_local_only(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_registry_loc_conf_t  *rlcf = conf;

    ngx_str_t                    *value;
    ngx_uint_t                    i;
    ngx_http_registry_pattern_t  *pattern;

    if (rlcf->local_only == NGX_CONF_UNSET_PTR) {
        rlcf->local_only = ngx_array_create(cf->pool, 4,
                                       sizeof(ngx_http_registry_pattern_t));
        if (rlcf->local_only == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        pattern = ngx_array_push(rlcf->local_only);
        if (pattern == NULL) {
            return NGX_CONF_ERROR;
        }

        pattern->text.data = (char *) value[i].data;
        pattern->text.len = value[i].len;
        pattern->file = cf->conf_file->file.name.data;
        pattern->line = cf->conf_file->line;

        if (!registry_pattern_valid(pattern->text)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid pattern \"%V\" of repositories",
                               &value[i]);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


/* a pattern with a namespace would be about nothing */

char *
ngx_http_registry_merge_local_only(ngx_conf_t *cf,
    ngx_http_registry_loc_conf_t *prev, ngx_http_registry_loc_conf_t *conf)
{
    u_char                         *p;
    ngx_str_t                       first;
    ngx_uint_t                      i;
    ngx_http_registry_pattern_t    *pattern;
    ngx_http_registry_main_conf_t  *mcf;

    if (conf->local_only == NGX_CONF_UNSET_PTR) {
        ngx_conf_merge_ptr_value(conf->local_only, prev->local_only, NULL);
        return NGX_CONF_OK;
    }

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_registry_module);

    pattern = conf->local_only->elts;

    for (i = 0; i < conf->local_only->nelts; i++) {

        first.data = (u_char *) pattern[i].text.data;

        p = ngx_strlchr(first.data, first.data + pattern[i].text.len, '/');
        if (p == NULL) {
            continue;
        }

        first.len = p - first.data;

        if (ngx_http_registry_find_remote(mcf, &first)) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "pattern \"%*s\" of names without a namespace "
                          "begins with that of a registry_remote in %s:%ui",
                          pattern[i].text.len, pattern[i].text.data,
                          pattern[i].file, pattern[i].line);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


ngx_uint_t
ngx_http_registry_is_local(ngx_http_registry_ctx_t *ctx, ngx_str_t *name)
{
    ngx_uint_t                    i;
    ngx_array_t                  *patterns;
    registry_str_t                text;
    ngx_http_registry_pattern_t  *pattern;

    patterns = ctx->conf->local_only;

    if (patterns == NULL) {
        return 0;
    }

    text.data = (char *) name->data;
    text.len = name->len;

    pattern = patterns->elts;

    for (i = 0; i < patterns->nelts; i++) {
        if (registry_name_match(text, pattern[i].text)) {
            return 1;
        }
    }

    return 0;
}


ngx_int_t
ngx_http_registry_hosted(ngx_http_registry_ctx_t *ctx)
{
    u_char              *p;
    ngx_str_t            uri;
    ngx_http_request_t  *r;

    ctx->hosts = 0;
    ctx->local = 0;

    if (ctx->remote == NULL || ctx->remote_name.len == 0) {
        return NGX_OK;
    }

    ctx->local = ngx_http_registry_is_local(ctx, &ctx->remote_name);

    if (ctx->conf->store == NULL) {
        return NGX_OK;
    }

    /* "/v2/NAMESPACE/..." without the namespace */

    r = ctx->request;

    uri.data = ngx_pnalloc(r->pool, r->uri.len);
    if (uri.data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_strlchr(r->uri.data + 4, r->uri.data + r->uri.len, '/');

    if (p) {
        uri.len = ngx_sprintf(uri.data, "/v2%*s",
                              (size_t) (r->uri.data + r->uri.len - p), p)
                  - uri.data;

        ctx->hosts = ngx_http_registry_same_rules(r, &uri);
    }

    return NGX_OK;
}


ngx_http_registry_side_e
ngx_http_registry_side(ngx_http_registry_ctx_t *ctx,
    const ngx_http_registry_method_t *method)
{
    if (!ctx->hosts) {
        return NGX_HTTP_REGISTRY_SIDE_REMOTE;
    }

    if (ctx->local) {
        return NGX_HTTP_REGISTRY_SIDE_HOSTED;
    }

    switch (method->needs) {

    case NGX_HTTP_REGISTRY_MAY_PUSH:
        return (ctx->conf->push == NGX_HTTP_REGISTRY_PUSH_ON)
                   ? NGX_HTTP_REGISTRY_SIDE_HOSTED
                   : NGX_HTTP_REGISTRY_SIDE_REMOTE;

    case NGX_HTTP_REGISTRY_MAY_DELETE:
        return NGX_HTTP_REGISTRY_SIDE_HOSTED;

    default:
        break;
    }

    /* who pushes looks first whether he has to, where it goes */

    if (ctx->route.endpoint == REGISTRY_ENDPOINT_BLOB
        && ctx->request->method == NGX_HTTP_HEAD
        && ctx->conf->push != NGX_HTTP_REGISTRY_PUSH_OFF)
    {
        return (ctx->conf->push == NGX_HTTP_REGISTRY_PUSH_ON)
                   ? NGX_HTTP_REGISTRY_SIDE_HOSTED
                   : NGX_HTTP_REGISTRY_SIDE_REMOTE;
    }

    return NGX_HTTP_REGISTRY_SIDE_FIRST;
}


void
ngx_http_registry_hosted_begin(ngx_http_registry_ctx_t *ctx)
{
    ctx->origin = ctx->remote;
    ctx->origin_name = ctx->name;

    ctx->remote = NULL;
    ctx->store = ctx->conf->store;
    ctx->name = ctx->remote_name;
}


static void
ngx_http_registry_hosted_back(ngx_http_registry_ctx_t *ctx)
{
    ctx->remote = ctx->origin;
    ctx->store = ctx->origin->store;
    ctx->name = ctx->origin_name;
}


ngx_int_t
ngx_http_registry_hosted_first(ngx_http_registry_ctx_t *ctx)
{
    ngx_http_registry_hosted_begin(ctx);

    switch (ctx->route.endpoint) {

    case REGISTRY_ENDPOINT_MANIFEST:

        /* pulls of what the remote has do not all look on the disk first */

        ngx_http_registry_manifest_key(ctx, ctx->route.by_digest
                                                ? NULL : &ctx->reference);

        if (ngx_http_registry_cache_is_absent(&ctx->manifest,
                                              ctx->store->tag_valid))
        {
            ngx_http_registry_hosted_back(ctx);
            return ngx_http_registry_remote_begin(ctx);
        }

        break;

    case REGISTRY_ENDPOINT_REFERRERS:
        return ngx_http_registry_hosted_subject(ctx);

    default:
        break;
    }

    return ngx_http_registry_try(ctx, ctx->method->step,
                                 ngx_http_registry_hosted_none);
}


static ngx_int_t
ngx_http_registry_hosted_none(ngx_http_registry_ctx_t *ctx)
{
    if (ctx->route.endpoint == REGISTRY_ENDPOINT_MANIFEST) {
        ngx_http_registry_cache_drop(&ctx->manifest);
        ngx_http_registry_cache_absent(&ctx->manifest);
    }

    ngx_http_registry_hosted_back(ctx);

    return ngx_http_registry_remote_begin(ctx);
}


/* a list of referrers is never missing: it is that of who has the subject */

static ngx_int_t
ngx_http_registry_hosted_subject(ngx_http_registry_ctx_t *ctx)
{
    ngx_http_registry_op_t  *op;

    op = ngx_http_registry_op(ctx, NGX_HTTP_REGISTRY_OP_MANIFEST_READ);
    if (op == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    op->known = ctx->digest;

    return ngx_http_registry_run_op(ctx, ngx_http_registry_hosted_looked);
}


static ngx_int_t
ngx_http_registry_hosted_looked(ngx_http_registry_ctx_t *ctx)
{
    ngx_int_t  rc;

    if (ctx->op->status == NGX_DECLINED) {
        ngx_http_registry_end_op(ctx);
        return ngx_http_registry_hosted_none(ctx);
    }

    rc = ngx_http_registry_op_result(ctx, REGISTRY_MANIFEST_UNKNOWN);
    if (rc != NGX_OK) {
        return rc;
    }

    ngx_http_registry_end_op(ctx);

    ctx->step = ctx->method->step;

    return NGX_OK;
}
