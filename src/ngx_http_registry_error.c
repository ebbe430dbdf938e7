
/*
 * Errors.  A handler says what is wrong and returns a status; nginx makes an
 * error of it as of its own ones; and the filters here put the document of
 * the specification in the place of nginx's page, for both.  What is not
 * covered is what has no header to be filtered: see docs/directives.md.
 */


#include "ngx_http_registry.h"


#define NGX_HTTP_REGISTRY_DETAILS  16       /* of one error */


static ngx_int_t ngx_http_registry_header_filter(ngx_http_request_t *r);
static ngx_int_t ngx_http_registry_body_filter(ngx_http_request_t *r,
    ngx_chain_t *in);
static ngx_uint_t ngx_http_registry_early(ngx_http_request_t *r);
static ngx_int_t ngx_http_registry_document(ngx_http_request_t *r,
    ngx_http_registry_ctx_t *ctx);
static void ngx_http_registry_document_free(void *data);


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;
static ngx_http_output_body_filter_pt    ngx_http_next_body_filter;


ngx_int_t
ngx_http_registry_fail(ngx_http_registry_ctx_t *ctx, registry_error_e error,
    const char *message)
{
    return ngx_http_registry_fail_status(ctx, error, message,
                                         registry_error_status(error));
}


ngx_int_t
ngx_http_registry_fail_status(ngx_http_registry_ctx_t *ctx,
    registry_error_e error, const char *message, ngx_int_t status)
{
    ctx->error = error;
    ctx->message = message;

    return status;
}


void
ngx_http_registry_detail(ngx_http_registry_ctx_t *ctx, const void *data,
    size_t len)
{
    if (ctx->details == NULL) {
        ctx->details = ngx_palloc(ctx->request->pool,
                          NGX_HTTP_REGISTRY_DETAILS * sizeof(registry_str_t));
    }

    /* without memory the error still has its code */

    if (ctx->details == NULL || ctx->ndetails == NGX_HTTP_REGISTRY_DETAILS) {
        return;
    }

    ctx->details[ctx->ndetails].data = data;
    ctx->details[ctx->ndetails++].len = len;
}


ngx_int_t
ngx_http_registry_filter_init(ngx_conf_t *cf)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_registry_header_filter;

    ngx_http_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ngx_http_registry_body_filter;

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_header_filter(ngx_http_request_t *r)
{
    ngx_uint_t                ours;
    ngx_http_registry_ctx_t  *ctx;

    static ngx_str_t  version = ngx_string("registry/2.0");

    ours = ngx_http_registry_ours(r);

    if (r != r->main || (!ours && !ngx_http_registry_purges(r))) {
        return ngx_http_next_header_filter(r);
    }

    ctx = ngx_http_get_module_ctx(r, ngx_http_registry_module);

    /* a range that is not satisfiable comes here twice, as a 200 before */

    if (ours && !(ctx && ctx->versioned)
        && ngx_http_registry_add_header(r, "Docker-Distribution-Api-Version",
                                        &version)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ctx) {
        ctx->versioned = ours;
    }

    if (r->err_status < NGX_HTTP_BAD_REQUEST
        && r->headers_out.status < NGX_HTTP_BAD_REQUEST)
    {
        return ngx_http_next_header_filter(r);
    }

    ctx = ngx_http_registry_ctx(r);

    if (ctx == NULL
        || (!ctx->passed && ngx_http_registry_document(r, ctx) != NGX_OK))
    {
        return NGX_ERROR;
    }

    return ngx_http_next_header_filter(r);
}


/* a location of ours, or a request for one that failed before it was found */

ngx_uint_t
ngx_http_registry_ours(ngx_http_request_t *r)
{
    ngx_http_core_loc_conf_t      *clcf;
    ngx_http_registry_loc_conf_t  *rlcf;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_registry_module);

    if (rlcf->store || rlcf->proxy) {
        clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);
        return clcf->handler == ngx_http_registry_handler;
    }

    return ngx_http_registry_early(r);
}


static ngx_uint_t
ngx_http_registry_early(ngx_http_request_t *r)
{
    u_char                        *p, *last;
    ngx_http_core_loc_conf_t      *clcf;
    ngx_http_registry_srv_conf_t  *sscf;

    sscf = ngx_http_get_module_srv_conf(r, ngx_http_registry_module);
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    /* a server's own configuration has no name: no location was found */

    if (!sscf->enabled || clcf->name.len || r->internal) {
        return 0;
    }

    if (r->unparsed_uri.len) {
        p = r->unparsed_uri.data;
        last = p + r->unparsed_uri.len;

    } else if (r->uri_start && r->header_in) {
        p = r->uri_start;
        last = r->header_in->last;

    } else {
        return 0;
    }

    return (last - p >= 4 && ngx_strncmp(p, "/v2/", 4) == 0);
}


static ngx_int_t
ngx_http_registry_document(ngx_http_request_t *r,
    ngx_http_registry_ctx_t *ctx)
{
    size_t               len;
    ngx_uint_t           status;
    registry_error_e     error;
    const char          *message;
    ngx_pool_cleanup_t  *cln;

    static ngx_str_t     type = ngx_string("application/json");

    status = r->headers_out.status;

    error = ctx->error;
    message = ctx->message;

    if (error == REGISTRY_ERROR_NONE) {
        error = registry_error_of_status(status);
    }

    cln = ngx_pool_cleanup_add(r->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    ctx->document.data = (u_char *) registry_error_document(error, message,
                                                            ctx->details,
                                                            ctx->ndetails,
                                                            &len);
    if (ctx->document.data == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_http_registry_document_free;
    cln->data = ctx->document.data;

    ctx->document.len = len;
    ctx->replaced = 1;

    ngx_http_clear_accept_ranges(r);
    ngx_http_clear_last_modified(r);
    ngx_http_clear_etag(r);
    ngx_http_clear_content_length(r);

    r->headers_out.content_length_n = len;
    ngx_str_null(&r->headers_out.charset);

    ngx_http_registry_set_type(r, &type);

    return NGX_OK;
}


static void
ngx_http_registry_document_free(void *data)
{
    free(data);
}


static ngx_int_t
ngx_http_registry_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_buf_t                *b;
    ngx_chain_t              *cl, out;
    ngx_http_registry_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_registry_module);

    if (ctx == NULL || !ctx->replaced || in == NULL) {
        return ngx_http_next_body_filter(r, in);
    }

    for (cl = in; cl; cl = cl->next) {
        cl->buf->pos = cl->buf->last;
        cl->buf->file_pos = cl->buf->file_last;
    }

    if (ctx->document.len == 0) {
        return NGX_OK;
    }

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->memory = 1;
    b->pos = ctx->document.data;
    b->last = b->pos + ctx->document.len;
    b->last_buf = 1;
    b->last_in_chain = 1;

    ctx->document.len = 0;

    out.buf = b;
    out.next = NULL;

    return ngx_http_next_body_filter(r, &out);
}
