
/*
 * Remotes that are not asked: what there is of them is served, whatever its
 * age, and nothing else.  No step here leads to one that connects.
 */


#include "ngx_http_registry.h"


#define NGX_HTTP_REGISTRY_OFFLINE_AGE  (7 * 24 * 60 * 60)   /* at most */


static ngx_uint_t ngx_http_registry_offline_says(ngx_str_t *value);
static ngx_int_t ngx_http_registry_offline_tags(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_offline_manifest(
    ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_offline_read(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_offline_send(ngx_http_registry_ctx_t *ctx,
    ngx_http_registry_count_e how);
static ngx_int_t ngx_http_registry_offline_blob(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_offline_open(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_offline_opened(
    ngx_http_registry_ctx_t *ctx);


char *
ngx_http_registry_set_offline(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char *p = conf;

    char                       *rv;
    ngx_http_complex_value_t  **cv;

    rv = ngx_http_set_complex_value_slot(cf, cmd, conf);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    cv = (ngx_http_complex_value_t **) (p + cmd->offset);

    if ((*cv)->lengths == NULL
        && ngx_strcmp((*cv)->value.data, "on") != 0
        && ngx_strcmp((*cv)->value.data, "off") != 0)
    {
        return "must be \"on\", \"off\" or have variables";
    }

    return NGX_CONF_OK;
}


ngx_uint_t
ngx_http_registry_is_offline(ngx_http_complex_value_t *value)
{
    return value && value->lengths == NULL
           && ngx_http_registry_offline_says(&value->value);
}


static ngx_uint_t
ngx_http_registry_offline_says(ngx_str_t *value)
{
    return value->len && !(value->len == 1 && value->data[0] == '0')
           && !(value->len == 3 && ngx_strncmp(value->data, "off", 3) == 0);
}


ngx_int_t
ngx_http_registry_offline(ngx_http_registry_ctx_t *ctx)
{
    ngx_str_t  value;

    if (ctx->conf->offline == NULL) {
        return NGX_OK;
    }

    if (ngx_http_complex_value(ctx->request, ctx->conf->offline, &value)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ctx->offline = ngx_http_registry_offline_says(&value);

    return NGX_OK;
}


ngx_int_t
ngx_http_registry_offline_begin(ngx_http_registry_ctx_t *ctx)
{
    if (ctx->method->needs != NGX_HTTP_REGISTRY_MAY_PULL) {
        return ngx_http_registry_offline_refuse(ctx);
    }

    switch (ctx->route.endpoint) {

    case REGISTRY_ENDPOINT_BASE:
        return ngx_http_registry_permitted(ctx, ngx_http_registry_base);

    case REGISTRY_ENDPOINT_TAGS:
        return ngx_http_registry_permitted(ctx,
                                           ngx_http_registry_offline_tags);

    case REGISTRY_ENDPOINT_MANIFEST:
        return ngx_http_registry_permitted(ctx,
                                        ngx_http_registry_offline_manifest);

    case REGISTRY_ENDPOINT_BLOB:
        return ngx_http_registry_permitted(ctx,
                                           ngx_http_registry_offline_blob);

    default:
        return ngx_http_registry_offline_refuse(ctx);
    }
}


/* 504 as RFC 9111, section 5.2.1.7, says it of "only-if-cached" */

ngx_int_t
ngx_http_registry_offline_refuse(ngx_http_registry_ctx_t *ctx)
{
    ngx_http_registry_detail(ctx, ctx->remote->name.data,
                             ctx->remote->name.len);

    return ngx_http_registry_fail_status(ctx, REGISTRY_UNAVAILABLE,
                                         "offline: there is no copy here",
                                         NGX_HTTP_GATEWAY_TIME_OUT);
}


/* those that were pulled */

static ngx_int_t
ngx_http_registry_offline_tags(ngx_http_registry_ctx_t *ctx)
{
    return ngx_http_registry_try(ctx, ngx_http_registry_list_tags,
                                 ngx_http_registry_offline_refuse);
}


static ngx_int_t
ngx_http_registry_offline_manifest(ngx_http_registry_ctx_t *ctx)
{
    ngx_int_t                      rc;
    ngx_http_registry_op_t        *op;
    ngx_http_registry_manifest_t  *m;

    m = &ctx->manifest;

    ngx_http_registry_manifest_key(ctx, ctx->route.by_digest
                                            ? NULL : &ctx->reference);
    m->valid = ctx->remote->valid;
    m->fixed = 1;

    rc = ngx_http_registry_cache_get(m, ctx->request->pool);

    switch (rc) {

    case NGX_OK:
        return ngx_http_registry_offline_send(ctx,
                                              NGX_HTTP_REGISTRY_COUNT_HIT);

    case NGX_AGAIN:
        return ngx_http_registry_offline_send(ctx,
                                              NGX_HTTP_REGISTRY_COUNT_STALE);

    case NGX_DECLINED:
        break;

    default:
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    op = ngx_http_registry_op(ctx, NGX_HTTP_REGISTRY_OP_MANIFEST_READ);
    if (op == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (m->tag.len) {
        op->tag = ngx_http_registry_op_copy(op, &m->tag);
        if (op->tag == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    return ngx_http_registry_run_op(ctx, ngx_http_registry_offline_read);
}


static ngx_int_t
ngx_http_registry_offline_read(ngx_http_registry_ctx_t *ctx)
{
    time_t                         age;
    ngx_int_t                      rc;
    ngx_http_registry_manifest_t  *m;

    m = &ctx->manifest;

    if (ctx->op->status == NGX_DECLINED) {
        ngx_http_registry_end_op(ctx);
        return ngx_http_registry_offline_refuse(ctx);
    }

    rc = ngx_http_registry_op_result(ctx, REGISTRY_MANIFEST_UNKNOWN);
    if (rc != NGX_OK) {
        return rc;
    }

    age = ngx_time() - ctx->op->of.mtime;
    age = ngx_min(ngx_max(age, 0), NGX_HTTP_REGISTRY_OFFLINE_AGE);

    if (ngx_http_registry_take_manifest(ctx) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* as old in memory, for when the remote is asked again */

    if (m->tag.len) {
        m->age = age * 1000;
    }

    ngx_http_registry_cache_fill(m);

    return ngx_http_registry_offline_send(ctx,
                                    (m->age < m->valid || m->tag.len == 0)
                                        ? NGX_HTTP_REGISTRY_COUNT_HIT
                                        : NGX_HTTP_REGISTRY_COUNT_STALE);
}


static ngx_int_t
ngx_http_registry_offline_send(ngx_http_registry_ctx_t *ctx,
    ngx_http_registry_count_e how)
{
    ngx_http_registry_found(ctx, how);
    ngx_http_registry_evict_used(ctx->store, &ctx->manifest.digest);

    return ngx_http_registry_send_manifest(ctx);
}


static ngx_int_t
ngx_http_registry_offline_blob(ngx_http_registry_ctx_t *ctx)
{
    return ngx_http_registry_try(ctx, ngx_http_registry_offline_open,
                                 ngx_http_registry_offline_refuse);
}


static ngx_int_t
ngx_http_registry_offline_open(ngx_http_registry_ctx_t *ctx)
{
    return ngx_http_registry_open_blob(ctx, ngx_http_registry_offline_opened);
}


static ngx_int_t
ngx_http_registry_offline_opened(ngx_http_registry_ctx_t *ctx)
{
    if (ctx->op->status == NGX_OK) {
        ngx_http_registry_evict_used(ctx->store, &ctx->digest);
        ngx_http_registry_found(ctx, NGX_HTTP_REGISTRY_COUNT_HIT);
    }

    return ngx_http_registry_send_blob(ctx);
}
