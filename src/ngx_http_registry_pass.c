
/*
 * Passing a request on to a remote and its answer to the client, as they
 * come, keeping nothing of them: lists, pushes, and what of a blob is asked
 * for in a way that the cache has no part in.
 */


#include "ngx_http_registry_follow.h"


/* a part that breaks off is gone on with so often */
#define NGX_HTTP_REGISTRY_PASS_TRIES  5


static ngx_int_t ngx_http_registry_pass_request(ngx_http_registry_ctx_t *ctx,
    ngx_http_registry_ask_t *ask);
static ngx_int_t ngx_http_registry_pass_header(ngx_http_registry_ask_t *ask);
static ngx_int_t ngx_http_registry_pass_answer(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_pass_check(ngx_http_registry_ctx_t *ctx);
static void ngx_http_registry_pass_part(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_pass_part_header(
    ngx_http_registry_ask_t *ask);
static ngx_int_t ngx_http_registry_pass_headers(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_pass_link(ngx_http_registry_ctx_t *ctx,
    const registry_str_t *value);
static ngx_int_t ngx_http_registry_pass_body(ngx_http_registry_ask_t *ask,
    u_char *data, size_t len);
static ngx_int_t ngx_http_registry_pass_copy(ngx_http_registry_ctx_t *ctx,
    ngx_buf_t *b, u_char *data, size_t len);
static ngx_int_t ngx_http_registry_pass_output(ngx_http_registry_ctx_t *ctx,
    ngx_chain_t *out);
static ngx_int_t ngx_http_registry_pass_more(ngx_http_registry_ctx_t *ctx);
static void ngx_http_registry_pass_done(ngx_http_registry_ask_t *ask);
static ngx_int_t ngx_http_registry_pass_again(ngx_http_registry_ctx_t *ctx,
    const char *reason);
static void ngx_http_registry_pass_end(ngx_http_registry_ctx_t *ctx,
    ngx_int_t rc);


/* what of the client's request is the remote's business too: not our ETag */

static ngx_str_t  ngx_http_registry_pass_in[] = {
    ngx_string("accept"),
    ngx_string("range"),
    ngx_string("content-range"),
    ngx_string("content-type"),
    ngx_null_string
};


/* what of the answer is the client's; type, length and Link are dealt with */

static const char  *ngx_http_registry_pass_out[] = {
    "accept-ranges",
    "content-range",
    "docker-content-digest",
    "docker-upload-uuid",
    "oci-chunk-min-length",
    "oci-filters-applied",
    "oci-subject",
    "oci-tag",
    "range",
    NULL
};


/* nginx lets more through than HTTP has: RFC 3986, RFC 9110 section 5.5 */

ngx_uint_t
ngx_http_registry_passable(ngx_http_request_t *r)
{
    size_t            n;
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    for (n = 0; n < r->args.len; n++) {
        if (r->args.data[n] <= 0x20 || r->args.data[n] >= 0x7f) {
            return 0;
        }
    }

    for (part = &r->headers_in.headers.part; part; part = part->next) {

        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            for (n = 0; n < h[i].value.len; n++) {
                if ((h[i].value.data[n] < 0x20 && h[i].value.data[n] != '\t')
                    || h[i].value.data[n] == 0x7f)
                {
                    return 0;
                }
            }
        }
    }

    return 1;
}


ngx_int_t
ngx_http_registry_pass(ngx_http_registry_ctx_t *ctx, ngx_str_t *path)
{
    ngx_int_t                 rc;
    ngx_http_registry_ask_t  *ask;

    if (!ngx_http_registry_passable(ctx->request)) {
        return NGX_HTTP_BAD_REQUEST;
    }

    rc = ngx_http_discard_request_body(ctx->request);
    if (rc != NGX_OK) {
        return rc;
    }

    ask = ngx_http_registry_pass_ask(ctx, path, ngx_http_registry_pass_check);
    if (ask == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* of a blob that is to be pushed, where that would go */

    ask->push = (ctx->route.endpoint == REGISTRY_ENDPOINT_BLOB
                 && ctx->request->method == NGX_HTTP_HEAD
                 && ctx->conf->push == NGX_HTTP_REGISTRY_PUSH_PROXY);

    return (ngx_http_registry_ask_start(ask) == NGX_ERROR)
           ? NGX_HTTP_INTERNAL_SERVER_ERROR : NGX_AGAIN;
}


ngx_http_registry_ask_t *
ngx_http_registry_pass_ask(ngx_http_registry_ctx_t *ctx, ngx_str_t *path,
    ngx_http_registry_step_pt check)
{
    ngx_http_registry_ask_t  *ask;

    ask = ngx_http_registry_ask_for(ctx, &ctx->request->method_name);
    if (ask == NULL) {
        return NULL;
    }

    ask->path = *path;
    ask->on_header = ngx_http_registry_pass_header;
    ask->on_body = ngx_http_registry_pass_body;
    ask->on_done = ngx_http_registry_pass_done;

    ctx->check = check;

    return ngx_http_registry_pass_request(ctx, ask) == NGX_OK ? ask : NULL;
}


static ngx_int_t
ngx_http_registry_pass_request(ngx_http_registry_ctx_t *ctx,
    ngx_http_registry_ask_t *ask)
{
    ngx_str_t        *name;
    ngx_table_elt_t  *h;

    for (name = ngx_http_registry_pass_in; name->len; name++) {

        h = ngx_http_registry_header_in(ctx->request, name);

        if (h && ngx_http_registry_ask_header(ask, (char *) h->key.data,
                                              &h->value)
                 != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_pass_header(ngx_http_registry_ask_t *ask)
{
    ngx_http_registry_ctx_t *ctx = ask->data;

    ngx_int_t  rc;

    rc = ngx_http_registry_pass_answer(ctx);

    if (rc == NGX_OK) {
        return NGX_OK;
    }

    if (rc == NGX_DECLINED) {
        ctx->ask = NULL;
        ngx_http_registry_ask_free(ask);
        ngx_http_registry_resume(ctx);

        return NGX_ERROR;
    }

    ngx_http_registry_pass_end(ctx, rc);

    return NGX_ERROR;
}


/* NGX_OK: a body follows; NGX_DECLINED: a step; else the request is over */

static ngx_int_t
ngx_http_registry_pass_answer(ngx_http_registry_ctx_t *ctx)
{
    ngx_int_t                  rc;
    ngx_http_request_t        *r;
    registry_http_response_t  *response;

    rc = ctx->check(ctx);
    if (rc != NGX_OK) {
        return rc;
    }

    r = ctx->request;
    response = ctx->ask->response;

    r->headers_out.status = response->status;
    r->headers_out.content_length_n = response->content_length;

    if (ngx_http_registry_pass_headers(ctx) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (response->status == NGX_HTTP_NO_CONTENT) {
        r->header_only = 1;
        r->headers_out.content_length_n = -1;
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return (rc == NGX_OK) ? NGX_DONE : rc;
    }

    r->write_event_handler = ngx_http_registry_writer;
    ctx->step = ngx_http_registry_pass_more;

    return NGX_OK;
}


/* of a pull */

static ngx_int_t
ngx_http_registry_pass_check(ngx_http_registry_ctx_t *ctx)
{
    ngx_uint_t  status;

    status = ctx->ask->response->status;

    if (status != NGX_HTTP_OK && status != NGX_HTTP_PARTIAL_CONTENT) {
        return ngx_http_registry_remote_refused(ctx,
                            (ctx->route.endpoint == REGISTRY_ENDPOINT_BLOB)
                                ? REGISTRY_BLOB_UNKNOWN
                                : REGISTRY_NAME_UNKNOWN);
    }

    if (ngx_http_registry_ask_html(ctx->ask)) {
        return ngx_http_registry_remote_error(ctx,
                                             NGX_HTTP_REGISTRY_CALL_PROTOCOL);
    }

    ngx_http_registry_pass_part(ctx);

    ngx_http_registry_found(ctx, NGX_HTTP_REGISTRY_COUNT_BYPASS);

    return NGX_OK;
}


/* of a part of a blob it is known what is missing, if it breaks off */

static void
ngx_http_registry_pass_part(ngx_http_registry_ctx_t *ctx)
{
    int64_t                first, last, size;
    const registry_str_t  *field;

    field = registry_http_field(ctx->ask->response, "content-range");

    if (ctx->follow && field
        && registry_content_range_answer_parse(*field, &first, &last, &size)
           == REGISTRY_OK)
    {
        ctx->part = first;
        ctx->part_end = last + 1;
    }
}


static ngx_int_t
ngx_http_registry_pass_headers(ngx_http_registry_ctx_t *ctx)
{
    ngx_str_t              value;
    ngx_uint_t             blob;
    const char           **name;
    const registry_str_t  *field;

    /* its digest is the one that was asked for, whoever sends it */

    blob = (ctx->route.endpoint == REGISTRY_ENDPOINT_BLOB);

    if (blob && ngx_http_registry_add_digest(ctx, &ctx->digest) != NGX_OK) {
        return NGX_ERROR;
    }

    for (name = ngx_http_registry_pass_out; *name; name++) {
        field = registry_http_field(ctx->ask->response, *name);

        if (field == NULL
            || (blob && ngx_strcmp(*name, "docker-content-digest") == 0))
        {
            continue;
        }

        value.data = (u_char *) field->data;
        value.len = field->len;

        if (ngx_http_registry_add_header(ctx->request, *name, &value)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    field = registry_http_field(ctx->ask->response, "link");

    if (field && ngx_http_registry_pass_link(ctx, field) != NGX_OK) {
        return NGX_ERROR;
    }

    field = registry_http_field(ctx->ask->response, "content-type");

    if (field) {
        value.len = field->len;
        value.data = ngx_pnalloc(ctx->request->pool, field->len);
        if (value.data == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(value.data, field->data, field->len);
        ngx_http_registry_set_type(ctx->request, &value);
    }

    return NGX_OK;
}


/*
 * The next page as the client asked for this one, with the query that the
 * remote wants for it: its own path would lead past us.
 */

static ngx_int_t
ngx_http_registry_pass_link(ngx_http_registry_ctx_t *ctx,
    const registry_str_t *value)
{
    u_char              *p, *last, *query, *end;
    ngx_str_t            link, path, ns;
    ngx_http_request_t  *r;

    r = ctx->request;

    p = (u_char *) value->data;
    last = p + value->len;

    end = ngx_strlchr(p, last, '>');
    query = end ? ngx_strlchr(p, end, '?') : NULL;

    if (query == NULL || *p != '<') {
        return NGX_OK;
    }

    path = r->main->unparsed_uri;
    p = ngx_strlchr(path.data, path.data + path.len, '?');

    if (p) {
        path.len = p - path.data;
    }

    ngx_str_null(&ns);
    (void) ngx_http_arg(r, (u_char *) "ns", 2, &ns);

    link.data = ngx_pnalloc(r->pool, sizeof("<&ns=>; rel=\"next\"")
                                     + path.len + (end - query) + ns.len);
    if (link.data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_sprintf(link.data, "<%V%*s", &path, (size_t) (end - query),
                    query);

    if (ns.len) {
        p = ngx_sprintf(p, "&ns=%V", &ns);
    }

    link.len = ngx_sprintf(p, ">; rel=\"next\"") - link.data;

    return ngx_http_registry_add_header(r, "Link", &link);
}


static ngx_int_t
ngx_http_registry_pass_body(ngx_http_registry_ask_t *ask, u_char *data,
    size_t len)
{
    ngx_http_registry_ctx_t *ctx = ask->data;

    ngx_int_t     rc;
    ngx_chain_t  *cl;

    cl = ngx_chain_get_free_buf(ctx->request->pool, &ctx->free);

    if (cl == NULL
        || (ctx->part_end && (off_t) len > ctx->part_end - ctx->part)
        || ngx_http_registry_pass_copy(ctx, cl->buf, data, len) != NGX_OK)
    {
        rc = NGX_ERROR;

    } else {
        ctx->part += len;
        rc = ngx_http_registry_pass_output(ctx, cl);
    }

    if (rc != NGX_ERROR) {
        return rc;
    }

    ngx_http_registry_pass_end(ctx, NGX_ERROR);

    return NGX_ERROR;
}


/* a buffer that is free again keeps its memory */

static ngx_int_t
ngx_http_registry_pass_copy(ngx_http_registry_ctx_t *ctx, ngx_buf_t *b,
    u_char *data, size_t len)
{
    if (b->start == NULL || (size_t) (b->end - b->start) < len) {
        b->start = ngx_palloc(ctx->request->pool, len);
        if (b->start == NULL) {
            return NGX_ERROR;
        }

        b->end = b->start + len;
    }

    b->tag = (ngx_buf_tag_t) &ngx_http_registry_module;
    b->temporary = 1;
    b->flush = 1;
    b->pos = b->start;
    b->last = ngx_cpymem(b->start, data, len);

    return NGX_OK;
}


/* NGX_AGAIN: the client is slow, and more would have to be kept */

static ngx_int_t
ngx_http_registry_pass_output(ngx_http_registry_ctx_t *ctx, ngx_chain_t *out)
{
    ngx_int_t  rc;

    rc = ngx_http_registry_send(ctx, out);

    ngx_chain_update_chains(ctx->request->pool, &ctx->free, &ctx->busy, &out,
                            (ngx_buf_tag_t) &ngx_http_registry_module);

    return rc;
}


/* the step when the client has taken what there was */

static ngx_int_t
ngx_http_registry_pass_more(ngx_http_registry_ctx_t *ctx)
{
    switch (ngx_http_registry_pass_output(ctx, NULL)) {

    case NGX_OK:
        ngx_http_registry_ask_resume(ctx->ask);
        return NGX_AGAIN;

    case NGX_AGAIN:
        return NGX_AGAIN;

    default:
        ngx_http_registry_ask_free(ctx->ask);
        ctx->ask = NULL;
        ctx->rc = NGX_ERROR;
        return NGX_DONE;
    }
}


static void
ngx_http_registry_pass_done(ngx_http_registry_ask_t *ask)
{
    ngx_http_registry_ctx_t *ctx = ask->data;

    ngx_int_t  rc;

    if (ask->error == NGX_HTTP_REGISTRY_CALL_OK && ctx->part_end
        && ctx->part != ctx->part_end)
    {
        ask->error = NGX_HTTP_REGISTRY_CALL_TRUNCATED;
        ask->reason = "it ended before its time";
    }

    if (ask->error == NGX_HTTP_REGISTRY_CALL_OK) {
        rc = ngx_http_send_special(ctx->request, NGX_HTTP_LAST);

    } else if (ctx->request->header_sent) {

        if (ngx_http_registry_pass_again(ctx, ask->reason) == NGX_AGAIN) {
            return;
        }

        /* a length or a last chunk that is missing tells the client */

        rc = NGX_ERROR;

    } else {
        rc = ngx_http_registry_remote_error(ctx, ask->error);
    }

    ngx_http_registry_pass_end(ctx, rc);
}


/* NGX_AGAIN: the rest of a part is asked for, by another ask than before */

static ngx_int_t
ngx_http_registry_pass_again(ngx_http_registry_ctx_t *ctx, const char *reason)
{
    ngx_http_registry_ask_t  *ask;

    if (ctx->part_end == 0
        || ctx->part_tries++ == NGX_HTTP_REGISTRY_PASS_TRIES)
    {
        return NGX_ERROR;
    }

    ngx_log_error(NGX_LOG_WARN, ctx->request->connection->log, 0,
                  "registry_remote \"%V\": a part of blob %s of repository "
                  "\"%V\" broke off at byte %O: %s", &ctx->remote->name,
                  ctx->digest.text, &ctx->name, ctx->part, reason);

    ask = ngx_http_registry_blob_ask(&ctx->follow->fetch.blob, "GET",
                                     ctx->part, ctx->part_end - 1);
    if (ask == NULL) {
        return NGX_ERROR;
    }

    ask->on_header = ngx_http_registry_pass_part_header;
    ask->on_body = ngx_http_registry_pass_body;
    ask->on_done = ngx_http_registry_pass_done;
    ask->data = ctx;

    ngx_http_registry_ask_free(ctx->ask);
    ctx->ask = ask;

    return ngx_http_registry_ask_start(ask);
}


static ngx_int_t
ngx_http_registry_pass_part_header(ngx_http_registry_ask_t *ask)
{
    ngx_http_registry_ctx_t *ctx = ask->data;

    off_t                        size, skip;
    ngx_http_registry_failure_t  failure;

    size = -1;

    if (ask->response->status == NGX_HTTP_PARTIAL_CONTENT
        && ngx_http_registry_blob_answer(ask->response, ctx->part,
                                         ctx->part_end - 1, &size, &skip,
                                         &failure)
           == NGX_OK)
    {
        return NGX_OK;
    }

    if (ngx_http_registry_pass_again(ctx, "it was refused") != NGX_AGAIN) {
        ngx_http_registry_pass_end(ctx, NGX_ERROR);
    }

    return NGX_ERROR;
}


static void
ngx_http_registry_pass_end(ngx_http_registry_ctx_t *ctx, ngx_int_t rc)
{
    ngx_http_registry_ask_free(ctx->ask);
    ctx->ask = NULL;

    ngx_http_registry_end(ctx, (rc == NGX_DONE) ? NGX_OK : rc);
}
