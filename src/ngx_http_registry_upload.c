
/*
 * Pushing blobs: upload sessions from POST to the PUT that makes a blob of
 * them.  Between requests a session is on the store alone, so that any worker
 * can go on with it.
 */


#include "ngx_http_registry.h"

#include <openssl/rand.h>

#include "registry_range.h"


static ngx_int_t ngx_http_registry_upload_enter(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_upload_query(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_upload_create(
    ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_upload_created(
    ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_upload_range(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_upload_open(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_upload_opened(
    ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_upload_body(ngx_http_registry_ctx_t *ctx,
    off_t stands);
static ngx_int_t ngx_http_registry_upload_misplaced(
    ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_upload_read(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_upload_saved(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_upload_committed(
    ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_upload_left(ngx_http_registry_ctx_t *ctx);
static ngx_http_registry_op_t *ngx_http_registry_upload_leave(
    ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_upload_stands(
    ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_upload_cancelled(
    ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_upload_headers(
    ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_send_session(ngx_http_registry_ctx_t *ctx,
    ngx_uint_t status);


static ngx_int_t
ngx_http_registry_upload_enter(ngx_http_registry_ctx_t *ctx)
{
    ngx_http_registry_upload_t  *up;

    up = ngx_pcalloc(ctx->request->pool, sizeof(ngx_http_registry_upload_t));
    if (up == NULL) {
        return NGX_ERROR;
    }

    up->id = ctx->reference;
    up->fd = NGX_INVALID_FILE;

    ctx->upload = up;

    return NGX_OK;
}


/* POST: a mount, a whole blob at once, or a new session */

ngx_int_t
ngx_http_registry_start_upload(ngx_http_registry_ctx_t *ctx)
{
    ngx_int_t  rc;

    if (ngx_http_registry_upload_enter(ctx) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_registry_upload_query(ctx);
    if (rc != NGX_OK) {
        return rc;
    }

    if (ctx->upload->commit) {
        rc = ngx_http_registry_upload_body(ctx, 0);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    ctx->step = ngx_http_registry_upload_create;

    return ctx->upload->mount ? ngx_http_registry_mount(ctx) : NGX_OK;
}


static ngx_int_t
ngx_http_registry_upload_query(ngx_http_registry_ctx_t *ctx)
{
    char                         buf[REGISTRY_ALGORITHM_LEN];
    size_t                       len;
    ngx_int_t                    rc;
    registry_str_t               query, text;
    registry_status_e            status;
    registry_algorithm_e         algorithm;
    ngx_http_registry_upload_t  *up;

    up = ctx->upload;

    rc = ngx_http_registry_upload_arg(ctx, "mount", &ctx->digest);

    if (rc == NGX_OK) {
        up->mount = 1;

    } else if (rc != NGX_DECLINED) {
        return rc;
    }

    algorithm = REGISTRY_SHA256;

    rc = ngx_http_registry_upload_arg(ctx, "digest", &up->digest);

    if (rc == NGX_OK) {
        up->commit = 1;
        algorithm = up->digest.algorithm;

    } else if (rc != NGX_DECLINED) {
        return rc;
    }

    query.data = (const char *) ctx->request->args.data;
    query.len = ctx->request->args.len;

    status = registry_query_find(query, "digest-algorithm", buf, sizeof(buf),
                                 &len);

    if (status != REGISTRY_DECLINED) {
        text.data = buf;
        text.len = len;

        if (status != REGISTRY_OK
            || registry_algorithm_parse(text, &algorithm) != REGISTRY_OK)
        {
            return ngx_http_registry_fail(ctx, REGISTRY_DIGEST_INVALID,
                                     "digest-algorithm is not supported here");
        }
    }

    registry_hash_init(&up->hash, algorithm);

    return NGX_OK;
}


ngx_int_t
ngx_http_registry_upload_arg(ngx_http_registry_ctx_t *ctx, const char *name,
    registry_digest_t *digest)
{
    char               buf[REGISTRY_DIGEST_MAX];
    size_t             len;
    registry_str_t     query, text;
    registry_status_e  status;

    query.data = (const char *) ctx->request->args.data;
    query.len = ctx->request->args.len;

    status = registry_query_find(query, name, buf, sizeof(buf), &len);

    if (status == REGISTRY_DECLINED) {
        return NGX_DECLINED;
    }

    if (status == REGISTRY_OK) {
        text.data = buf;
        text.len = len;

        status = registry_digest_parse(text, digest);
    }

    if (status == REGISTRY_OK) {
        return NGX_OK;
    }

    return ngx_http_registry_fail(ctx, REGISTRY_DIGEST_INVALID,
                                  status == REGISTRY_UNSUPPORTED
                                      ? "the digest's algorithm is not "
                                        "supported here"
                                      : "the digest is malformed");
}


static ngx_int_t
ngx_http_registry_upload_create(ngx_http_registry_ctx_t *ctx)
{
    char                     id[REGISTRY_UPLOAD_ID_LEN];
    ngx_str_t                text;
    unsigned char            random[REGISTRY_UPLOAD_RANDOM_LEN];
    ngx_http_registry_op_t  *op;

    if (RAND_bytes(random, sizeof(random)) != 1) {
        ngx_log_error(NGX_LOG_CRIT, ctx->request->connection->log, 0,
                      "RAND_bytes() failed");
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    registry_upload_id(random, id);

    text.data = (u_char *) id;
    text.len = sizeof(id);

    ctx->upload->id.data = ngx_pstrdup(ctx->request->pool, &text);
    if (ctx->upload->id.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->upload->id.len = sizeof(id);

    if (ctx->upload->commit) {
        ctx->digest = ctx->upload->digest;
    }

    op = ngx_http_registry_op(ctx, NGX_HTTP_REGISTRY_OP_UPLOAD_CREATE);
    if (op == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    op->hash = ctx->upload->hash;

    return ngx_http_registry_run_op(ctx, ngx_http_registry_upload_created);
}


static ngx_int_t
ngx_http_registry_upload_created(ngx_http_registry_ctx_t *ctx)
{
    ngx_int_t  rc;

    rc = ngx_http_registry_op_result(ctx, REGISTRY_BLOB_UPLOAD_UNKNOWN);
    if (rc != NGX_OK) {
        return rc;
    }

    ngx_http_registry_end_op(ctx);

    if (ctx->upload->commit) {
        return ngx_http_registry_upload_open(ctx);
    }

    rc = ngx_http_discard_request_body(ctx->request);
    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_http_registry_send_session(ctx, NGX_HTTP_ACCEPTED);
}


/* PATCH: more bytes */

ngx_int_t
ngx_http_registry_append_upload(ngx_http_registry_ctx_t *ctx)
{
    ngx_int_t  rc;

    if (ngx_http_registry_upload_enter(ctx) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_registry_upload_range(ctx);
    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_http_registry_upload_open(ctx);
}


/* PUT: the last bytes, if any, and the digest of all */

ngx_int_t
ngx_http_registry_finish_upload(ngx_http_registry_ctx_t *ctx)
{
    ngx_int_t  rc;

    if (ngx_http_registry_upload_enter(ctx) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->upload->commit = 1;

    rc = ngx_http_registry_upload_arg(ctx, "digest", &ctx->upload->digest);

    if (rc == NGX_DECLINED) {
        return ngx_http_registry_fail(ctx, REGISTRY_DIGEST_INVALID,
                                      "there is no \"digest\" parameter");
    }

    if (rc != NGX_OK) {
        return rc;
    }

    ctx->digest = ctx->upload->digest;

    rc = ngx_http_registry_upload_range(ctx);
    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_http_registry_upload_open(ctx);
}


static ngx_int_t
ngx_http_registry_upload_range(ngx_http_registry_ctx_t *ctx)
{
    off_t                        length;
    registry_str_t               text;
    ngx_table_elt_t             *h;
    ngx_http_registry_upload_t  *up;

    static ngx_str_t  name = ngx_string("content-range");

    up = ctx->upload;

    h = ngx_http_registry_header_in(ctx->request, &name);
    if (h == NULL) {
        return NGX_OK;
    }

    text.data = (const char *) h->value.data;
    text.len = h->value.len;

    if (registry_content_range_parse(text, &up->first, &up->last)
        != REGISTRY_OK)
    {
        ngx_http_registry_detail(ctx, h->value.data, h->value.len);
        return ngx_http_registry_fail(ctx, REGISTRY_BLOB_UPLOAD_INVALID,
                                      "malformed Content-Range");
    }

    up->ranged = 1;
    length = ctx->request->headers_in.content_length_n;

    if (length != -1 && (uint64_t) length != up->last - up->first + 1) {
        return ngx_http_registry_fail(ctx, REGISTRY_SIZE_INVALID,
                                "Content-Length is not that of Content-Range");
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_upload_open(ngx_http_registry_ctx_t *ctx)
{
    ngx_http_registry_op_t  *op;

    op = ngx_http_registry_op(ctx, NGX_HTTP_REGISTRY_OP_UPLOAD_OPEN);
    if (op == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    op->exclusive = 1;

    return ngx_http_registry_run_op(ctx, ngx_http_registry_upload_opened);
}


static ngx_int_t
ngx_http_registry_upload_opened(ngx_http_registry_ctx_t *ctx)
{
    ngx_int_t                    rc;
    ngx_http_registry_upload_t  *up;

    rc = ngx_http_registry_op_result(ctx, REGISTRY_BLOB_UPLOAD_UNKNOWN);
    if (rc != NGX_OK) {
        return rc;
    }

    up = ctx->upload;

    up->fd = ctx->op->fd;
    ctx->op->fd = NGX_INVALID_FILE;
    up->hash = ctx->op->hash;

    ngx_http_registry_end_op(ctx);

    /* nothing is hashed yet: the digest that came may choose how */

    if (up->commit && up->hash.length == 0) {
        registry_hash_init(&up->hash, up->digest.algorithm);
    }

    up->start = up->hash;
    up->synced = up->hash.length;

    if (up->ranged && up->first != up->hash.length) {
        return ngx_http_registry_upload_misplaced(ctx);
    }

    return ngx_http_registry_upload_body(ctx, up->hash.length);
}


/* reading begins with the next step; what is known to be too much is refused */

static ngx_int_t
ngx_http_registry_upload_body(ngx_http_registry_ctx_t *ctx, off_t stands)
{
    off_t  max;

    max = NGX_MAX_OFF_T_VALUE;

    if (ctx->conf->max_blob_size) {
        max = ctx->conf->max_blob_size - stands;
    }

    return ngx_http_registry_read_body(ctx, ngx_http_registry_write,
                                       max, ngx_http_registry_upload_read);
}


/* 416 with where the session stands */

static ngx_int_t
ngx_http_registry_upload_misplaced(ngx_http_registry_ctx_t *ctx)
{
    if (ngx_http_registry_upload_headers(ctx) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_registry_fail_status(ctx, REGISTRY_BLOB_UPLOAD_INVALID,
                                         "the chunk is out of order",
                                         NGX_HTTP_RANGE_NOT_SATISFIABLE);
}


/* the body is read */

static ngx_int_t
ngx_http_registry_upload_read(ngx_http_registry_ctx_t *ctx)
{
    ngx_http_registry_op_t      *op;
    ngx_http_registry_upload_t  *up;

    up = ctx->upload;

    if (up->ranged
        && up->hash.length - up->start.length != up->last - up->first + 1)
    {
        up->hash = up->start;
        return ngx_http_registry_fail(ctx, REGISTRY_SIZE_INVALID,
                                      "the chunk is not as long as its "
                                      "Content-Range");
    }

    op = ngx_http_registry_op(ctx, up->commit
                                   ? NGX_HTTP_REGISTRY_OP_UPLOAD_COMMIT
                                   : NGX_HTTP_REGISTRY_OP_UPLOAD_SAVE);
    if (op == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* the lock on the session goes with the descriptor */

    op->fd = up->fd;
    up->fd = NGX_INVALID_FILE;
    op->hash = up->hash;

    return ngx_http_registry_run_op(ctx, up->commit
                                         ? ngx_http_registry_upload_committed
                                         : ngx_http_registry_upload_saved);
}


static ngx_int_t
ngx_http_registry_upload_saved(ngx_http_registry_ctx_t *ctx)
{
    ngx_int_t  rc;

    rc = ngx_http_registry_op_result(ctx, REGISTRY_BLOB_UPLOAD_UNKNOWN);
    if (rc != NGX_OK) {
        return rc;
    }

    ngx_http_registry_end_op(ctx);

    return ngx_http_registry_send_session(ctx, NGX_HTTP_ACCEPTED);
}


static ngx_int_t
ngx_http_registry_upload_committed(ngx_http_registry_ctx_t *ctx)
{
    ngx_int_t   rc;
    ngx_uint_t  single, useless;

    single = (ctx->route.endpoint == REGISTRY_ENDPOINT_UPLOADS);

    /*
     * Bytes that are not what they should be are of no use to anybody, and a
     * session of a single request is known to nobody.
     */

    useless = (single || ctx->op->status == NGX_ABORT);

    rc = ngx_http_registry_op_result(ctx, REGISTRY_BLOB_UPLOAD_UNKNOWN);

    if (rc != NGX_OK && useless) {
        ctx->rc = rc;

        if (ngx_http_registry_op(ctx, NGX_HTTP_REGISTRY_OP_UPLOAD_DELETE)
            == NULL)
        {
            return rc;
        }

        return ngx_http_registry_run_op(ctx, ngx_http_registry_upload_left);
    }

    if (rc != NGX_OK) {
        return rc;
    }

    ngx_http_registry_end_op(ctx);

    ngx_http_registry_count(ngx_http_registry_counters(ctx),
                            NGX_HTTP_REGISTRY_COUNT_UPLOADED);

    return ngx_http_registry_blob_created(ctx);
}


/* GET: where the session stands */

ngx_int_t
ngx_http_registry_upload_status(ngx_http_registry_ctx_t *ctx)
{
    ngx_int_t  rc;

    rc = ngx_http_discard_request_body(ctx->request);
    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_http_registry_upload_enter(ctx) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ngx_http_registry_op(ctx, NGX_HTTP_REGISTRY_OP_UPLOAD_OPEN) == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_registry_run_op(ctx, ngx_http_registry_upload_stands);
}


static ngx_int_t
ngx_http_registry_upload_stands(ngx_http_registry_ctx_t *ctx)
{
    ngx_int_t  rc;

    rc = ngx_http_registry_op_result(ctx, REGISTRY_BLOB_UPLOAD_UNKNOWN);
    if (rc != NGX_OK) {
        return rc;
    }

    ctx->upload->hash = ctx->op->hash;

    ngx_http_registry_end_op(ctx);

    return ngx_http_registry_send_session(ctx, NGX_HTTP_NO_CONTENT);
}


ngx_int_t
ngx_http_registry_cancel_upload(ngx_http_registry_ctx_t *ctx)
{
    ngx_int_t  rc;

    rc = ngx_http_discard_request_body(ctx->request);
    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_http_registry_upload_enter(ctx) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ngx_http_registry_op(ctx, NGX_HTTP_REGISTRY_OP_UPLOAD_DELETE) == NULL)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_registry_run_op(ctx, ngx_http_registry_upload_cancelled);
}


static ngx_int_t
ngx_http_registry_upload_cancelled(ngx_http_registry_ctx_t *ctx)
{
    ngx_int_t  rc;

    rc = ngx_http_registry_op_result(ctx, REGISTRY_BLOB_UPLOAD_UNKNOWN);
    if (rc != NGX_OK) {
        return rc;
    }

    ngx_http_registry_end_op(ctx);

    return ngx_http_registry_send_empty(ctx, NGX_HTTP_NO_CONTENT);
}


static ngx_int_t
ngx_http_registry_upload_headers(ngx_http_registry_ctx_t *ctx)
{
    u_char                       buf[NGX_INT64_LEN + 2];
    ngx_str_t                    value;
    ngx_http_request_t          *r;
    ngx_http_registry_upload_t  *up;

    r = ctx->request;
    up = ctx->upload;

    /* an empty session is "0-0" too: clients want two numbers */

    value.data = buf;
    value.len = ngx_sprintf(buf, "0-%uL",
                            up->hash.length ? up->hash.length - 1
                                            : (uint64_t) 0)
                - buf;

    if (ngx_http_registry_add_header(r, "Range", &value) != NGX_OK
        || ngx_http_registry_add_header(r, "Docker-Upload-UUID", &up->id)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_registry_add_location(ctx, "/blobs/uploads/%V", &up->id);
}


static ngx_int_t
ngx_http_registry_send_session(ngx_http_registry_ctx_t *ctx,
    ngx_uint_t status)
{
    if (ngx_http_registry_upload_headers(ctx) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_registry_send_empty(ctx, status);
}


ngx_int_t
ngx_http_registry_upload_failed(ngx_http_registry_ctx_t *ctx, ngx_int_t status)
{
    ngx_int_t  rc;

    if (ngx_http_registry_upload_leave(ctx) == NULL) {
        return status;
    }

    ctx->rc = status;
    ctx->step = ngx_http_registry_upload_left;

    rc = ngx_http_registry_op_start(ctx->op);

    if (rc == NGX_ERROR) {
        ngx_http_registry_end_op(ctx);
        return status;
    }

    return rc;
}


static ngx_int_t
ngx_http_registry_upload_left(ngx_http_registry_ctx_t *ctx)
{
    ngx_http_registry_end_op(ctx);

    return ctx->rc;
}


void
ngx_http_registry_upload_cleanup(ngx_http_registry_ctx_t *ctx)
{
    if (ngx_http_registry_upload_leave(ctx)) {
        (void) ngx_http_registry_op_start(ctx->op);
        ngx_http_registry_end_op(ctx);
    }
}


/*
 * The operation that lets go of the session's descriptor, and so of its lock:
 * it keeps where the session stands, or if nobody knows of it removes it.
 */

static ngx_http_registry_op_t *
ngx_http_registry_upload_leave(ngx_http_registry_ctx_t *ctx)
{
    ngx_fd_t                     fd;
    ngx_http_registry_op_t      *op;
    ngx_http_registry_upload_t  *up;

    up = ctx->upload;

    if (up == NULL || up->fd == NGX_INVALID_FILE) {
        return NULL;
    }

    fd = up->fd;
    up->fd = NGX_INVALID_FILE;

    /*
     * A write that goes on unseen keeps the lock until it has ended, and the
     * session stands where it stood before this request.
     */

    if (ctx->task && ctx->route.endpoint != REGISTRY_ENDPOINT_UPLOADS) {
        (void) ngx_close_file(fd);
        return NULL;
    }

    op = ngx_http_registry_op(ctx,
                              ctx->route.endpoint == REGISTRY_ENDPOINT_UPLOADS
                                  ? NGX_HTTP_REGISTRY_OP_UPLOAD_DELETE
                                  : NGX_HTTP_REGISTRY_OP_UPLOAD_SAVE);

    if (op == NULL) {
        (void) ngx_close_file(fd);
        return NULL;
    }

    op->fd = fd;
    op->hash = up->hash;

    return op;
}
