
/*
 * Mounts: a blob that another repository has becomes one of this repository
 * too, without being uploaded.  One that is not granted begins an upload.
 */


#include "ngx_http_registry.h"

#include "registry_name.h"


/* a name with its namespace, a digest, and what stands around them */
#define NGX_HTTP_REGISTRY_BLOB_URI  (NGX_HTTP_REGISTRY_URI                     \
                                     + REGISTRY_DIGEST_MAX                     \
                                     + sizeof("//blobs/"))


static ngx_int_t ngx_http_registry_mount_from(ngx_http_registry_ctx_t *ctx,
    ngx_str_t *from);
static ngx_int_t ngx_http_registry_mount_arg(ngx_http_registry_ctx_t *ctx,
    ngx_str_t *from);
static ngx_int_t ngx_http_registry_mount_invalid(
    ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_mount_named(ngx_http_registry_ctx_t *ctx,
    ngx_str_t *text, ngx_http_registry_remote_t **remote, ngx_str_t *from);
static ngx_uint_t ngx_http_registry_mount_same(ngx_http_registry_ctx_t *ctx,
    ngx_str_t *ns, ngx_str_t *name, ngx_str_t *from);
static ngx_uint_t ngx_http_registry_mount_location(
    ngx_http_registry_ctx_t *ctx, ngx_str_t *ns, ngx_str_t *name,
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
    ngx_int_t            rc;
    ngx_str_t            none;
    registry_str_t       text;
    ngx_http_request_t  *r;

    r = ctx->request;

    rc = ngx_http_registry_mount_arg(ctx, from);

    if (rc == NGX_DECLINED) {

        if (ngx_http_registry_cache_blob_of(ngx_http_registry_zone(r),
                                            ctx->store, &ctx->digest,
                                            from, r->pool)
            != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

    } else if (rc != NGX_OK) {
        return rc;

    } else {
        text.data = (char *) from->data;
        text.len = from->len;

        if (!registry_name_valid(text)) {
            return ngx_http_registry_mount_invalid(ctx);
        }
    }

    ngx_str_set(&none, "");

    if (from->len
        && !ngx_http_registry_mount_same(ctx, &none, &ctx->name, from))
    {
        ngx_str_null(from);
    }

    return NGX_OK;
}


/* as the client names it; NGX_DECLINED if it does not */

static ngx_int_t
ngx_http_registry_mount_arg(ngx_http_registry_ctx_t *ctx, ngx_str_t *from)
{
    size_t              len;
    registry_str_t      query;
    registry_status_e   status;

    ngx_str_null(from);

    query.data = (const char *) ctx->request->args.data;
    query.len = ctx->request->args.len;

    from->data = ngx_pnalloc(ctx->request->pool, REGISTRY_NAME_MAX);
    if (from->data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    status = registry_query_find(query, "from", (char *) from->data,
                                 REGISTRY_NAME_MAX, &len);

    if (status == REGISTRY_DECLINED) {
        return NGX_DECLINED;
    }

    if (status != REGISTRY_OK) {
        return ngx_http_registry_mount_invalid(ctx);
    }

    from->len = len;

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_mount_invalid(ngx_http_registry_ctx_t *ctx)
{
    return ngx_http_registry_fail(ctx, REGISTRY_NAME_INVALID,
                                  "\"from\" is no repository name");
}


/*
 * Nothing is mounted that the client does not name: what it is that the
 * remote would let us pull is not for the client to find out.
 */

ngx_int_t
ngx_http_registry_mount_remote(ngx_http_registry_ctx_t *ctx, ngx_str_t *from)
{
    ngx_int_t                    rc;
    ngx_str_t                    text;
    ngx_http_registry_remote_t  *remote;

    rc = ngx_http_registry_upload_arg(ctx, "mount", &ctx->digest);

    if (rc == NGX_OK) {
        rc = ngx_http_registry_mount_arg(ctx, &text);
    }

    if (rc == NGX_OK) {
        rc = ngx_http_registry_mount_named(ctx, &text, &remote, from);
    }

    if (rc != NGX_OK) {
        return rc;
    }

    return (remote == ctx->remote
            && !ngx_http_registry_is_local(ctx, from)
            && ngx_http_registry_mount_same(ctx, &ctx->ns, &ctx->remote_name,
                                            from))
           ? NGX_OK : NGX_DECLINED;
}


/* as the request's own one is: whose it is, and what it is called there */

static ngx_int_t
ngx_http_registry_mount_named(ngx_http_registry_ctx_t *ctx, ngx_str_t *text,
    ngx_http_registry_remote_t **remote, ngx_str_t *from)
{
    ngx_int_t            rc;
    ngx_str_t            uri, canonical, path;
    registry_str_t       in;
    registry_route_t     route;
    ngx_http_request_t  *r;

    r = ctx->request;

    uri.data = ngx_pnalloc(r->pool, NGX_HTTP_REGISTRY_BLOB_URI);
    if (uri.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    uri.len = ngx_sprintf(uri.data, "/v2/%V/blobs/%s", text, ctx->digest.text)
              - uri.data;

    rc = ngx_http_registry_canonical(r, &uri, &canonical);

    if (rc == NGX_OK) {
        rc = ngx_http_registry_namespace(r, &canonical, remote, &path);
    }

    if (rc != NGX_OK) {
        return (rc == NGX_DECLINED) ? rc : NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    in.data = (char *) path.data;
    in.len = path.len;

    if (registry_route_parse(in, &route) != REGISTRY_ERROR_NONE) {
        return ngx_http_registry_mount_invalid(ctx);
    }

    from->data = (u_char *) route.name.data;
    from->len = route.name.len;

    return NGX_OK;
}


/* what the client may pull is what the same rules let it see */

static ngx_uint_t
ngx_http_registry_mount_same(ngx_http_registry_ctx_t *ctx, ngx_str_t *ns,
    ngx_str_t *name, ngx_str_t *from)
{
    return ngx_http_registry_mount_location(ctx, ns, name, from, "uploads/")
           && ngx_http_registry_mount_location(ctx, ns, name, from,
                                               ctx->digest.text);
}


static ngx_uint_t
ngx_http_registry_mount_location(ngx_http_registry_ctx_t *ctx, ngx_str_t *ns,
    ngx_str_t *name, ngx_str_t *from, const char *blob)
{
    u_char     here[NGX_HTTP_REGISTRY_BLOB_URI];
    u_char     there[NGX_HTTP_REGISTRY_BLOB_URI];
    ngx_str_t  one, two;

    one.data = here;
    one.len = ngx_snprintf(here, sizeof(here), "/v2/%V%s%V/blobs/%s", ns,
                           ns->len ? "/" : "", name, blob)
              - here;

    two.data = there;
    two.len = ngx_snprintf(there, sizeof(there), "/v2/%V%s%V/blobs/%s", ns,
                           ns->len ? "/" : "", from, blob)
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
