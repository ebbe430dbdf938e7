
/*
 * Mounts: a blob that another repository has becomes one of this repository
 * too, without being uploaded.  One that is not granted begins an upload.
 */


#include "ngx_http_registry.h"

#include "registry_name.h"


#define NGX_HTTP_REGISTRY_BLOB_URI  (REGISTRY_NAME_MAX + REGISTRY_DIGEST_MAX   \
                                     + sizeof("/v2//blobs/"))


static ngx_int_t ngx_http_registry_mount_from(ngx_http_registry_ctx_t *ctx,
    ngx_str_t *from);
static ngx_uint_t ngx_http_registry_mount_same(ngx_http_registry_ctx_t *ctx,
    ngx_str_t *from, const char *blob);
static ngx_int_t ngx_http_registry_mounted(ngx_http_registry_ctx_t *ctx);


ngx_int_t
ngx_http_registry_mount(ngx_http_registry_ctx_t *ctx)
{
    ngx_int_t                rc;
    ngx_str_t                from;
    ngx_http_registry_op_t  *op;

    rc = ngx_http_registry_mount_from(ctx, &from);

    if (rc != NGX_OK || from.len == 0) {
        return rc;
    }

    op = ngx_http_registry_op(ctx, NGX_HTTP_REGISTRY_OP_BLOB_MOUNT);
    if (op == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    op->from = ngx_http_registry_op_copy(op, &from);
    if (op->from == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->absent = ctx->step;

    return ngx_http_registry_run_op(ctx, ngx_http_registry_mounted);
}


/* the repository to mount from, empty if none may be */

static ngx_int_t
ngx_http_registry_mount_from(ngx_http_registry_ctx_t *ctx, ngx_str_t *from)
{
    char                 buf[REGISTRY_NAME_MAX];
    size_t               len;
    registry_str_t       query, text;
    registry_status_e    status;
    ngx_http_request_t  *r;

    r = ctx->request;
    ngx_str_null(from);

    query.data = (const char *) r->args.data;
    query.len = r->args.len;

    status = registry_query_find(query, "from", buf, sizeof(buf), &len);

    if (status == REGISTRY_DECLINED) {

        if (ngx_http_registry_cache_blob_of(ngx_http_registry_zone(r),
                                            ctx->store, &ctx->digest,
                                            from, r->pool)
            != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

    } else {
        text.data = buf;
        text.len = len;

        if (status != REGISTRY_OK || !registry_name_valid(text)) {
            return ngx_http_registry_fail(ctx, REGISTRY_NAME_INVALID,
                                          "\"from\" is no repository name");
        }

        from->len = len;
        from->data = ngx_pnalloc(r->pool, len);
        if (from->data == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        ngx_memcpy(from->data, buf, len);
    }

    if (from->len == 0) {
        return NGX_OK;
    }

    /* what the client may pull is what the same rules let it see */

    if (!ngx_http_registry_mount_same(ctx, from, "uploads/")
        || !ngx_http_registry_mount_same(ctx, from, ctx->digest.text))
    {
        ngx_str_null(from);
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_http_registry_mount_same(ngx_http_registry_ctx_t *ctx, ngx_str_t *from,
    const char *blob)
{
    u_char     here[NGX_HTTP_REGISTRY_BLOB_URI];
    u_char     there[NGX_HTTP_REGISTRY_BLOB_URI];
    ngx_str_t  one, two;

    one.data = here;
    one.len = ngx_snprintf(here, sizeof(here), "/v2/%V/blobs/%s", &ctx->name,
                           blob)
              - here;

    two.data = there;
    two.len = ngx_snprintf(there, sizeof(there), "/v2/%V/blobs/%s", from,
                           blob)
              - there;

    return ctx->conf->mount
           && ngx_http_registry_same_location(ctx->request, &one, &two);
}


static ngx_int_t
ngx_http_registry_mounted(ngx_http_registry_ctx_t *ctx)
{
    ngx_int_t  rc;

    if (ctx->op->status == NGX_DECLINED) {
        ngx_http_registry_end_op(ctx);
        ctx->step = ctx->absent;
        return NGX_OK;
    }

    rc = ngx_http_registry_op_result(ctx, REGISTRY_BLOB_UNKNOWN);
    if (rc != NGX_OK) {
        return rc;
    }

    ngx_http_registry_end_op(ctx);

    rc = ngx_http_discard_request_body(ctx->request);
    if (rc != NGX_OK) {
        return rc;
    }

    ngx_http_registry_count(ngx_http_registry_counters(ctx),
                            NGX_HTTP_REGISTRY_COUNT_MOUNTED);

    return ngx_http_registry_blob_created(ctx);
}
