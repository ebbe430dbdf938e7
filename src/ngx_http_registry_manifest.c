
/*
 * Manifests and tags: pulling them, from shared memory if it has them, and
 * pushing and deleting them.
 */


#include "ngx_http_registry.h"


#define NGX_HTTP_REGISTRY_TAGS_MAX    64            /* ?tag= of one push */
#define NGX_HTTP_REGISTRY_PARSE_HERE  (32 * 1024)   /* more: in a thread */


typedef struct {
    ngx_http_registry_task_t   task;
    registry_str_t             in;
    registry_str_t             content_type;

    registry_status_e          status;
    registry_manifest_t       *manifest;
    const char                *reason;
    registry_digest_t          digest;      /* in: its algorithm */
} ngx_http_registry_parse_t;


static ngx_int_t ngx_http_registry_manifest_read(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_manifest_parse(
    ngx_http_registry_ctx_t *ctx);
static void ngx_http_registry_parse_work(ngx_http_registry_task_t *task);
static void ngx_http_registry_parse_release(ngx_http_registry_task_t *task);
static ngx_int_t ngx_http_registry_manifest_parsed(
    ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_manifest_check(
    ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_manifest_checked(
    ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_manifest_write(
    ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_manifest_fill(
    ngx_http_registry_ctx_t *ctx, ngx_http_registry_op_t *op);
static ngx_int_t ngx_http_registry_manifest_written(
    ngx_http_registry_ctx_t *ctx);
static void ngx_http_registry_forget_pushed(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_manifest_deleted(
    ngx_http_registry_ctx_t *ctx);


void
ngx_http_registry_manifest_key(ngx_http_registry_ctx_t *ctx, ngx_str_t *tag)
{
    ngx_http_registry_manifest_t  *m;

    m = &ctx->manifest;

    m->zone = ngx_http_registry_zone(ctx->request);
    m->store = ctx->store;
    m->name = ctx->name;
    m->digest = ctx->digest;
    m->valid = ctx->store->tag_valid;
    m->age = 0;

    if (tag) {
        m->tag = *tag;

    } else {
        ngx_str_null(&m->tag);
    }
}


ngx_int_t
ngx_http_registry_pull_manifest(ngx_http_registry_ctx_t *ctx)
{
    ngx_int_t                      rc;
    ngx_http_registry_op_t        *op;
    ngx_http_registry_manifest_t  *m;

    m = &ctx->manifest;

    ngx_http_registry_manifest_key(ctx, ctx->route.by_digest
                                            ? NULL : &ctx->reference);

    rc = ngx_http_registry_cache_get(m, ctx->request->pool);

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (rc == NGX_OK) {
        ngx_http_registry_found(ctx, NGX_HTTP_REGISTRY_COUNT_HIT);

        return ngx_http_registry_send_manifest(ctx);
    }

    op = ngx_http_registry_op(ctx, NGX_HTTP_REGISTRY_OP_MANIFEST_READ);
    if (op == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (rc == NGX_AGAIN) {
        op->known = m->digest;
    }

    if (m->tag.len) {
        op->tag = ngx_http_registry_op_copy(op, &m->tag);
        if (op->tag == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    return ngx_http_registry_run_op(ctx, ngx_http_registry_manifest_read);
}


static ngx_int_t
ngx_http_registry_manifest_read(ngx_http_registry_ctx_t *ctx)
{
    ngx_int_t                      rc;
    ngx_http_registry_manifest_t  *m;

    rc = ngx_http_registry_op_result(ctx, REGISTRY_MANIFEST_UNKNOWN);

    if (rc != NGX_OK) {
        if (rc == NGX_HTTP_NOT_FOUND) {
            ngx_http_registry_cache_drop(&ctx->manifest);
        }

        return rc;
    }

    m = &ctx->manifest;

    if (ctx->op->known.len) {
        ngx_http_registry_found(ctx, NGX_HTTP_REGISTRY_COUNT_REVALIDATED);

        ngx_http_registry_cache_confirm(m);

        return ngx_http_registry_send_manifest(ctx);
    }

    ngx_http_registry_found(ctx, NGX_HTTP_REGISTRY_COUNT_MISS);

    if (ngx_http_registry_take_manifest(ctx) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_http_registry_cache_fill(m);

    return ngx_http_registry_send_manifest(ctx);
}


/*
 * What is sent belongs to the request's pool: the log, and frames of HTTP/2
 * that are still queued, outlive the operation.
 */

ngx_int_t
ngx_http_registry_take_manifest(ngx_http_registry_ctx_t *ctx)
{
    ngx_str_t                      text;
    ngx_pool_cleanup_t            *cln;
    ngx_http_registry_op_t        *op;
    ngx_http_registry_manifest_t  *m;

    op = ctx->op;
    m = &ctx->manifest;

    cln = ngx_pool_cleanup_add(ctx->request->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = free;
    cln->data = op->data;
    op->data = NULL;

    text.data = (u_char *) op->media_type;
    text.len = ngx_strlen(op->media_type);

    m->media_type.data = ngx_pstrdup(ctx->request->pool, &text);
    if (m->media_type.data == NULL) {
        return NGX_ERROR;
    }

    m->media_type.len = text.len;
    m->age = 0;
    m->digest = op->digest;
    m->body.data = cln->data;
    m->body.len = op->size;

    ngx_http_registry_end_op(ctx);

    return NGX_OK;
}


ngx_int_t
ngx_http_registry_send_manifest(ngx_http_registry_ctx_t *ctx)
{
    ngx_http_registry_manifest_t  *m;

    m = &ctx->manifest;

    ctx->digest = m->digest;

    if (ngx_http_registry_add_digest(ctx, &ctx->digest) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_registry_send_bytes(ctx, &m->media_type, &m->body);
}


ngx_int_t
ngx_http_registry_push_manifest(ngx_http_registry_ctx_t *ctx)
{
    ngx_int_t  rc;

    rc = ngx_http_registry_push_tags(ctx);
    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_http_registry_keep_body(ctx, REGISTRY_MANIFEST_MAX,
                                       ngx_http_registry_manifest_parse);
}


ngx_int_t
ngx_http_registry_push_tags(ngx_http_registry_ctx_t *ctx)
{
    char                 buf[REGISTRY_TAG_MAX];
    size_t               len;
    ngx_str_t           *tag;
    registry_str_t       query, name, value, text;
    ngx_http_request_t  *r;

    r = ctx->request;

    if (ngx_array_init(&ctx->tags, r->pool, 1, sizeof(ngx_str_t)) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (!ctx->route.by_digest) {
        tag = ngx_array_push(&ctx->tags);
        if (tag == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        *tag = ctx->reference;

        return NGX_OK;
    }

    query.data = (const char *) r->args.data;
    query.len = r->args.len;

    while (registry_query_next(&query, &name, &value)) {

        if (name.len != 3 || ngx_strncmp(name.data, "tag", 3) != 0) {
            continue;
        }

        if (ctx->tags.nelts == NGX_HTTP_REGISTRY_TAGS_MAX) {
            return ngx_http_registry_fail_status(ctx,
                                               REGISTRY_UNSUPPORTED_OPERATION,
                                               "too many tags",
                                               NGX_HTTP_REQUEST_URI_TOO_LARGE);
        }

        text.data = buf;

        if (registry_query_decode(value, buf, sizeof(buf), &len)
            != REGISTRY_OK
            || (text.len = len, !registry_tag_valid(text)))
        {
            ngx_http_registry_detail(ctx, value.data, value.len);
            return ngx_http_registry_fail(ctx, REGISTRY_MANIFEST_INVALID,
                                          "invalid tag");
        }

        tag = ngx_array_push(&ctx->tags);
        if (tag == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        tag->len = len;
        tag->data = ngx_pnalloc(r->pool, len);
        if (tag->data == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        ngx_memcpy(tag->data, buf, len);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_manifest_parse(ngx_http_registry_ctx_t *ctx)
{
    u_char                     *p;
    size_t                      type;
    ngx_table_elt_t            *h;
    ngx_http_registry_parse_t  *parse;

    parse = ngx_http_registry_task_create(sizeof(ngx_http_registry_parse_t),
                                          ctx->request->connection->log);
    if (parse == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->task = &parse->task;

    h = ctx->request->headers_in.content_type;
    type = h ? h->value.len : 0;

    /* a copy, since the task may outlive the request */

    p = ngx_pnalloc(parse->task.pool, ctx->pushed.len + type);
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    parse->in.data = (char *) p;
    parse->in.len = ctx->pushed.len;
    parse->content_type.data = (char *) p + ctx->pushed.len;
    parse->content_type.len = type;

    p = ngx_cpymem(p, ctx->pushed.data, ctx->pushed.len);

    if (h) {
        ngx_memcpy(p, h->value.data, type);
    }

    parse->digest.algorithm = ctx->route.by_digest
                                  ? ctx->route.digest.algorithm
                                  : REGISTRY_SHA256;

    parse->task.work = ngx_http_registry_parse_work;
    parse->task.release = ngx_http_registry_parse_release;

    return ngx_http_registry_run_task(ctx, parse->in.len
                                           > NGX_HTTP_REGISTRY_PARSE_HERE,
                                      ngx_http_registry_manifest_parsed);
}


static void
ngx_http_registry_parse_work(ngx_http_registry_task_t *task)
{
    ngx_http_registry_parse_t  *parse = (ngx_http_registry_parse_t *) task;

    registry_hash_bytes(parse->digest.algorithm, parse->in.data,
                        parse->in.len, &parse->digest);

    parse->status = registry_manifest_parse(parse->in, parse->content_type,
                                            &parse->manifest, &parse->reason);
}


static void
ngx_http_registry_parse_release(ngx_http_registry_task_t *task)
{
    ngx_http_registry_parse_t  *parse = (ngx_http_registry_parse_t *) task;

    if (parse->manifest) {
        registry_manifest_free(parse->manifest);
    }
}


static ngx_int_t
ngx_http_registry_manifest_parsed(ngx_http_registry_ctx_t *ctx)
{
    registry_digest_t           digest;
    registry_status_e           status;
    const char                 *reason;
    ngx_http_registry_parse_t  *parse;

    parse = (ngx_http_registry_parse_t *) ctx->task;

    status = parse->status;
    reason = parse->reason;
    digest = parse->digest;

    ctx->parsed = parse->manifest;
    parse->manifest = NULL;

    ngx_http_registry_task_free(ctx->task);
    ctx->task = NULL;

    if (ctx->route.by_digest && !registry_digest_equal(&digest, &ctx->digest))
    {
        ngx_http_registry_detail(ctx, ctx->digest.text, ctx->digest.len);
        return ngx_http_registry_fail(ctx, REGISTRY_DIGEST_INVALID, NULL);
    }

    if (status == REGISTRY_NOMEM) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (status != REGISTRY_OK) {
        return ngx_http_registry_fail(ctx, REGISTRY_MANIFEST_INVALID, reason);
    }

    ctx->digest = digest;
    ctx->step = ngx_http_registry_manifest_check;

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_manifest_check(ngx_http_registry_ctx_t *ctx)
{
    size_t                        i, n;
    ngx_uint_t                    references;
    ngx_http_registry_op_t       *op;
    ngx_http_registry_item_t     *item;
    const registry_descriptor_t  *d;

    references = ctx->conf->references;
    d = registry_manifest_descriptors(ctx->parsed, &n);

    if (n == 0 || references == NGX_HTTP_REGISTRY_REFERENCES_OFF
        || (references == NGX_HTTP_REGISTRY_REFERENCES_SPARSE
            && registry_manifest_is_index(ctx->parsed)))
    {
        ctx->step = ngx_http_registry_manifest_write;
        return NGX_OK;
    }

    op = ngx_http_registry_op(ctx, NGX_HTTP_REGISTRY_OP_MANIFEST_CHECK);
    if (op == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    item = ngx_pcalloc(op->task.pool, n * sizeof(ngx_http_registry_item_t));
    if (item == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    op->items = item;
    op->nitems = n;

    for (i = 0; i < n; i++) {
        item[i].digest = d[i].digest;
        item[i].type = d[i].type;
    }

    return ngx_http_registry_run_op(ctx, ngx_http_registry_manifest_checked);
}


static ngx_int_t
ngx_http_registry_manifest_checked(ngx_http_registry_ctx_t *ctx)
{
    size_t                        i, n;
    ngx_int_t                     rc;
    ngx_http_registry_op_t       *op;
    const registry_descriptor_t  *d;

    rc = ngx_http_registry_op_result(ctx, REGISTRY_MANIFEST_BLOB_UNKNOWN);
    if (rc != NGX_OK) {
        return rc;
    }

    op = ctx->op;

    d = registry_manifest_descriptors(ctx->parsed, &n);

    for (i = 0; i < n; i++) {
        if (op->items[i].missing) {
            ngx_http_registry_detail(ctx, d[i].digest.text, d[i].digest.len);
        }
    }

    ngx_http_registry_end_op(ctx);

    if (ctx->ndetails) {
        return ngx_http_registry_fail(ctx, REGISTRY_MANIFEST_BLOB_UNKNOWN,
                                      NULL);
    }

    ctx->step = ngx_http_registry_manifest_write;

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_manifest_write(ngx_http_registry_ctx_t *ctx)
{
    ngx_http_registry_op_t  *op;

    op = ngx_http_registry_op(ctx, NGX_HTTP_REGISTRY_OP_MANIFEST_WRITE);

    if (op == NULL || ngx_http_registry_manifest_fill(ctx, op) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_http_registry_forget_pushed(ctx);

    return ngx_http_registry_run_op(ctx, ngx_http_registry_manifest_written);
}


/* all that the operation needs, in its own memory */

static ngx_int_t
ngx_http_registry_manifest_fill(ngx_http_registry_ctx_t *ctx,
    ngx_http_registry_op_t *op)
{
    char                     *descriptor;
    size_t                    len;
    ngx_str_t                *tag, text;
    ngx_uint_t                i;
    const registry_digest_t  *subject;

    op->size = ctx->pushed.len;

    op->data = ngx_pnalloc(op->task.pool, op->size);
    if (op->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(op->data, ctx->pushed.data, op->size);

    if (!registry_manifest_type_is_own(ctx->parsed)) {
        (void) ngx_cpystrn((u_char *) op->media_type,
                           (u_char *) registry_manifest_type(ctx->parsed),
                           sizeof(op->media_type));
    }

    op->ntags = ctx->tags.nelts;

    op->tags = ngx_palloc(op->task.pool, op->ntags * sizeof(char *));
    if (op->tags == NULL) {
        return NGX_ERROR;
    }

    tag = ctx->tags.elts;

    for (i = 0; i < op->ntags; i++) {
        op->tags[i] = ngx_http_registry_op_copy(op, &tag[i]);
        if (op->tags[i] == NULL) {
            return NGX_ERROR;
        }
    }

    subject = registry_manifest_subject(ctx->parsed);

    if (subject == NULL) {
        return NGX_OK;
    }

    op->subject = *subject;

    descriptor = registry_manifest_descriptor(ctx->parsed, &op->digest,
                                              op->size, &len);
    if (descriptor == NULL) {
        return NGX_ERROR;
    }

    text.data = (u_char *) descriptor;
    text.len = len;

    op->descriptor = ngx_http_registry_op_copy(op, &text);

    free(descriptor);

    return op->descriptor ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_registry_manifest_written(ngx_http_registry_ctx_t *ctx)
{
    ngx_int_t                 rc;
    ngx_str_t                *tag, value;
    ngx_uint_t                i;
    const registry_digest_t  *subject;

    ngx_http_registry_forget_pushed(ctx);

    rc = ngx_http_registry_op_result(ctx, REGISTRY_NAME_UNKNOWN);
    if (rc != NGX_OK) {
        return rc;
    }

    ngx_http_registry_end_op(ctx);

    tag = ctx->tags.elts;

    for (i = 0; ctx->route.by_digest && i < ctx->tags.nelts; i++) {
        if (ngx_http_registry_add_header(ctx->request, "OCI-Tag", &tag[i])
            != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    subject = registry_manifest_subject(ctx->parsed);

    if (subject) {
        value.data = (u_char *) subject->text;
        value.len = subject->len;

        if (ngx_http_registry_add_header(ctx->request, "OCI-Subject", &value)
            != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    if (ngx_http_registry_add_digest(ctx, &ctx->digest) != NGX_OK
        || ngx_http_registry_add_location(ctx, "/manifests/%s",
                                          ctx->digest.text)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_registry_send_empty(ctx, NGX_HTTP_CREATED);
}


/*
 * What is in memory may not be true any more: before a write, since its end
 * may not be seen if the client goes away, and after it, whatever came of it.
 */

static void
ngx_http_registry_forget_pushed(ngx_http_registry_ctx_t *ctx)
{
    ngx_str_t   *tag;
    ngx_uint_t   i;

    tag = ctx->tags.elts;

    for (i = 0; i < ctx->tags.nelts; i++) {
        ngx_http_registry_manifest_key(ctx, &tag[i]);
        ngx_http_registry_cache_forget(&ctx->manifest);
    }

    ngx_http_registry_manifest_key(ctx, NULL);
    ngx_http_registry_cache_forget(&ctx->manifest);
}


ngx_int_t
ngx_http_registry_delete_manifest(ngx_http_registry_ctx_t *ctx)
{
    ngx_int_t                rc;
    ngx_http_registry_op_t  *op;

    rc = ngx_http_discard_request_body(ctx->request);
    if (rc != NGX_OK) {
        return rc;
    }

    if (ctx->route.by_digest) {
        op = ngx_http_registry_op(ctx, NGX_HTTP_REGISTRY_OP_MANIFEST_DELETE);
        if (op == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

    } else {
        op = ngx_http_registry_op(ctx, NGX_HTTP_REGISTRY_OP_TAG_DELETE);
        if (op == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        op->tag = ngx_http_registry_op_copy(op, &ctx->reference);
        if (op->tag == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    return ngx_http_registry_run_op(ctx, ngx_http_registry_manifest_deleted);
}


static ngx_int_t
ngx_http_registry_manifest_deleted(ngx_http_registry_ctx_t *ctx)
{
    char        *p;
    ngx_int_t    rc;
    ngx_str_t    tag;
    ngx_uint_t   i;

    ngx_http_registry_manifest_key(ctx, ctx->route.by_digest
                                            ? NULL : &ctx->reference);
    ngx_http_registry_cache_forget(&ctx->manifest);

    /* the tags that went with a manifest */

    p = ctx->op->list.start;

    for (i = 0; i < ctx->op->list.n; i++) {
        tag.data = (u_char *) p;
        tag.len = ngx_strlen(p);
        p += tag.len + 1;

        ngx_http_registry_manifest_key(ctx, &tag);
        ngx_http_registry_cache_forget(&ctx->manifest);
    }

    rc = ngx_http_registry_op_result(ctx, REGISTRY_MANIFEST_UNKNOWN);
    if (rc != NGX_OK) {
        return rc;
    }

    ngx_http_registry_end_op(ctx);

    return ngx_http_registry_send_empty(ctx, NGX_HTTP_ACCEPTED);
}
