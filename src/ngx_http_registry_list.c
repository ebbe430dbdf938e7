
/*
 * Lists: tags, the catalogue of repositories, referrers.  A page at a time;
 * where there is more, Link says how to ask for it.
 */


#include "ngx_http_registry.h"

#include "registry_name.h"


#define NGX_HTTP_REGISTRY_LIST_TAGS       10000     /* of one page, at most */
#define NGX_HTTP_REGISTRY_LIST_CATALOG    1000
#define NGX_HTTP_REGISTRY_LIST_REFERRERS  500


/* whether an entry may stand in the list */

typedef ngx_uint_t (*ngx_http_registry_entry_pt)(ngx_http_registry_ctx_t *ctx,
    registry_str_t entry);


static ngx_int_t ngx_http_registry_list(ngx_http_registry_ctx_t *ctx,
    ngx_http_registry_op_e kind, ngx_uint_t max,
    ngx_http_registry_step_pt next);
static ngx_int_t ngx_http_registry_list_limit(ngx_http_registry_ctx_t *ctx,
    ngx_uint_t max, ngx_uint_t *limit);
static ngx_int_t ngx_http_registry_list_arg(ngx_http_registry_ctx_t *ctx,
    const char *name, char **arg);
static ngx_int_t ngx_http_registry_list_malformed(
    ngx_http_registry_ctx_t *ctx, const char *message);

static ngx_int_t ngx_http_registry_send_tags(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_send_catalog(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_send_referrers(
    ngx_http_registry_ctx_t *ctx);
static ngx_uint_t ngx_http_registry_list_tag(ngx_http_registry_ctx_t *ctx,
    registry_str_t entry);
static ngx_uint_t ngx_http_registry_list_repository(
    ngx_http_registry_ctx_t *ctx, registry_str_t entry);
static ngx_int_t ngx_http_registry_list_link(ngx_http_registry_ctx_t *ctx,
    ngx_str_t *path);
static ngx_int_t ngx_http_registry_send_list(ngx_http_registry_ctx_t *ctx,
    ngx_str_t *before, ngx_http_registry_entry_pt filter, ngx_str_t *type);


static ngx_str_t  ngx_http_registry_json = ngx_string("application/json");
static ngx_str_t  ngx_http_registry_index =
    ngx_string(REGISTRY_TYPE_OCI_INDEX);


ngx_int_t
ngx_http_registry_list_tags(ngx_http_registry_ctx_t *ctx)
{
    return ngx_http_registry_list(ctx, NGX_HTTP_REGISTRY_OP_TAGS,
                                  NGX_HTTP_REGISTRY_LIST_TAGS,
                                  ngx_http_registry_send_tags);
}


ngx_int_t
ngx_http_registry_list_catalog(ngx_http_registry_ctx_t *ctx)
{
    return ngx_http_registry_list(ctx, NGX_HTTP_REGISTRY_OP_CATALOG,
                                  NGX_HTTP_REGISTRY_LIST_CATALOG,
                                  ngx_http_registry_send_catalog);
}


ngx_int_t
ngx_http_registry_list_referrers(ngx_http_registry_ctx_t *ctx)
{
    return ngx_http_registry_list(ctx, NGX_HTTP_REGISTRY_OP_REFERRERS,
                                  NGX_HTTP_REGISTRY_LIST_REFERRERS,
                                  ngx_http_registry_send_referrers);
}


static ngx_int_t
ngx_http_registry_list(ngx_http_registry_ctx_t *ctx,
    ngx_http_registry_op_e kind, ngx_uint_t max,
    ngx_http_registry_step_pt next)
{
    ngx_int_t                rc;
    ngx_http_registry_op_t  *op;

    rc = ngx_http_discard_request_body(ctx->request);
    if (rc != NGX_OK) {
        return rc;
    }

    op = ngx_http_registry_op(ctx, kind);
    if (op == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_registry_list_limit(ctx, max, &op->limit);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_registry_list_arg(ctx, "last", &op->last);
    if (rc != NGX_OK) {
        return rc;
    }

    if (op->last == NULL) {
        op->last = (char *) "";
    }

    rc = ngx_http_registry_list_arg(ctx, "artifactType", &op->artifact_type);
    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_http_registry_run_op(ctx, next);
}


static ngx_int_t
ngx_http_registry_list_limit(ngx_http_registry_ctx_t *ctx, ngx_uint_t max,
    ngx_uint_t *limit)
{
    char               buf[REGISTRY_NAME_MAX];
    size_t             len;
    uint64_t           n;
    registry_str_t     query, text;
    registry_status_e  status;

    query.data = (const char *) ctx->request->args.data;
    query.len = ctx->request->args.len;

    *limit = max;

    status = registry_query_find(query, "n", buf, sizeof(buf), &len);

    if (status == REGISTRY_DECLINED) {
        return NGX_OK;
    }

    text.data = buf;
    text.len = len;

    if (status != REGISTRY_OK
        || registry_decimal_parse(text, &n) != REGISTRY_OK)
    {
        return ngx_http_registry_list_malformed(ctx, "\"n\" is not a number");
    }

    *limit = (ngx_uint_t) ngx_min(n, max);

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_list_arg(ngx_http_registry_ctx_t *ctx, const char *name,
    char **arg)
{
    char               buf[REGISTRY_NAME_MAX];
    size_t             len;
    ngx_str_t          value;
    registry_str_t     query;
    registry_status_e  status;

    query.data = (const char *) ctx->request->args.data;
    query.len = ctx->request->args.len;

    status = registry_query_find(query, name, buf, sizeof(buf), &len);

    if (status == REGISTRY_DECLINED) {
        return NGX_OK;
    }

    if (status != REGISTRY_OK) {
        return ngx_http_registry_list_malformed(ctx,
                                                "a parameter is malformed");
    }

    value.data = (u_char *) buf;
    value.len = len;

    *arg = ngx_http_registry_op_copy(ctx->op, &value);

    return *arg ? NGX_OK : NGX_HTTP_INTERNAL_SERVER_ERROR;
}


static ngx_int_t
ngx_http_registry_list_malformed(ngx_http_registry_ctx_t *ctx,
    const char *message)
{
    return ngx_http_registry_fail_status(ctx, REGISTRY_UNSUPPORTED_OPERATION,
                                         message, NGX_HTTP_BAD_REQUEST);
}


static ngx_int_t
ngx_http_registry_send_tags(ngx_http_registry_ctx_t *ctx)
{
    u_char     buf[NGX_HTTP_REGISTRY_URI + 64], *p;
    ngx_int_t  rc;
    ngx_str_t  text;

    rc = ngx_http_registry_op_result(ctx, REGISTRY_NAME_UNKNOWN);
    if (rc != NGX_OK) {
        return rc;
    }

    p = ngx_http_registry_uri(ctx, buf, buf + sizeof(buf));

    text.data = buf;
    text.len = ngx_slprintf(p, buf + sizeof(buf), "/tags/list") - buf;

    if (ngx_http_registry_list_link(ctx, &text) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    text.len = ngx_snprintf(buf, sizeof(buf), "{\"name\":\"%V\",\"tags\":[",
                            &ctx->remote_name)
               - buf;

    return ngx_http_registry_send_list(ctx, &text, ngx_http_registry_list_tag,
                                       &ngx_http_registry_json);
}


static ngx_int_t
ngx_http_registry_send_catalog(ngx_http_registry_ctx_t *ctx)
{
    ngx_int_t  rc;

    static ngx_str_t  path = ngx_string("/v2/_catalog");
    static ngx_str_t  before = ngx_string("{\"repositories\":[");

    rc = ngx_http_registry_op_result(ctx, REGISTRY_NAME_UNKNOWN);
    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_http_registry_list_link(ctx, &path) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_registry_send_list(ctx, &before,
                                       ngx_http_registry_list_repository,
                                       &ngx_http_registry_json);
}


static ngx_int_t
ngx_http_registry_send_referrers(ngx_http_registry_ctx_t *ctx)
{
    u_char     buf[NGX_HTTP_REGISTRY_URI + REGISTRY_DIGEST_MAX + 64], *p;
    ngx_int_t  rc;
    ngx_str_t  path;

    static ngx_str_t  filter = ngx_string("artifactType");
    static ngx_str_t  before = ngx_string("{\"schemaVersion\":2,"
                                          "\"mediaType\":\""
                                          REGISTRY_TYPE_OCI_INDEX "\","
                                          "\"manifests\":[");

    rc = ngx_http_registry_op_result(ctx, REGISTRY_NAME_UNKNOWN);
    if (rc != NGX_OK) {
        return rc;
    }

    p = ngx_http_registry_uri(ctx, buf, buf + sizeof(buf));

    path.data = buf;
    path.len = ngx_slprintf(p, buf + sizeof(buf), "/referrers/%V",
                            &ctx->reference)
               - buf;

    if (ngx_http_registry_list_link(ctx, &path) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ctx->op->artifact_type
        && ngx_http_registry_add_header(ctx->request, "OCI-Filters-Applied",
                                        &filter)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_registry_send_list(ctx, &before, NULL,
                                       &ngx_http_registry_index);
}


/* what other programs left in a directory need not be a tag */

static ngx_uint_t
ngx_http_registry_list_tag(ngx_http_registry_ctx_t *ctx, registry_str_t entry)
{
    return registry_tag_valid(entry);
}


/* a repository that other rules hold for is not listed under these */

static ngx_uint_t
ngx_http_registry_list_repository(ngx_http_registry_ctx_t *ctx,
    registry_str_t entry)
{
    u_char     buf[REGISTRY_NAME_MAX + 64];
    ngx_str_t  uri;

    uri.data = buf;
    uri.len = ngx_snprintf(buf, sizeof(buf), "/v2/%*s/tags/list", entry.len,
                           entry.data)
              - buf;

    return ngx_http_registry_same_location(ctx->request, &ctx->request->uri,
                                           &uri);
}


/* Link (RFC 8288) with rel="next", if there is a next page */

static ngx_int_t
ngx_http_registry_list_link(ngx_http_registry_ctx_t *ctx, ngx_str_t *path)
{
    u_char                  *p;
    size_t                   len;
    ngx_str_t                link;
    registry_str_t           text;
    ngx_http_registry_op_t  *op;

    op = ctx->op;

    if (op->list.next[0] == '\0') {
        return NGX_OK;
    }

    len = sizeof("<?n=&last=&artifactType=>; rel=\"next\"") + path->len
          + NGX_INT64_LEN + 3 * ngx_strlen(op->list.next);

    if (op->artifact_type) {
        len += 3 * ngx_strlen(op->artifact_type);
    }

    link.data = ngx_pnalloc(ctx->request->pool, len);
    if (link.data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_sprintf(link.data, "<%V?n=%ui&last=", path, op->limit);

    text.data = op->list.next;
    text.len = ngx_strlen(op->list.next);
    p += registry_query_encode(text, (char *) p);

    if (op->artifact_type) {
        p = ngx_sprintf(p, "&artifactType=");

        text.data = op->artifact_type;
        text.len = ngx_strlen(op->artifact_type);
        p += registry_query_encode(text, (char *) p);
    }

    p = ngx_sprintf(p, ">; rel=\"next\"");

    link.len = p - link.data;

    return ngx_http_registry_add_header(ctx->request, "Link", &link);
}


/* entries that pass a filter are strings; without one they are JSON */

static ngx_int_t
ngx_http_registry_send_list(ngx_http_registry_ctx_t *ctx, ngx_str_t *before,
    ngx_http_registry_entry_pt filter, ngx_str_t *type)
{
    char                      *entry;
    u_char                    *p, *first;
    ngx_str_t                  body;
    ngx_uint_t                 i;
    registry_str_t             text;
    ngx_http_registry_list_t  *list;

    list = &ctx->op->list;

    body.data = ngx_pnalloc(ctx->request->pool,
                            before->len + list->len + 3 * list->n
                            + sizeof("]}"));
    if (body.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    p = ngx_cpymem(body.data, before->data, before->len);
    first = p;
    entry = list->start;

    for (i = 0; i < list->n; i++) {

        text.data = entry;
        text.len = ngx_strlen(entry);
        entry += text.len + 1;

        if (filter && !filter(ctx, text)) {
            continue;
        }

        if (p != first) {
            *p++ = ',';
        }

        if (filter) {
            *p++ = '"';
        }

        p = ngx_cpymem(p, text.data, text.len);

        if (filter) {
            *p++ = '"';
        }
    }

    *p++ = ']';
    *p++ = '}';

    body.len = p - body.data;

    ngx_http_registry_end_op(ctx);

    return ngx_http_registry_send_bytes(ctx, type, &body);
}
