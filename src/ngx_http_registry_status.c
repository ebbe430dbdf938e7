
/*
 * What the module did and how its parts are, for operators: counted as
 * requests end, and shown by a page in JSON or for Prometheus.
 * status_tables.c collects what is on it.
 */


#include "ngx_http_registry.h"

#include "registry_metrics.h"


static ngx_int_t ngx_http_registry_status_log(ngx_http_request_t *r);
static ngx_int_t ngx_http_registry_status_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_registry_status_format(ngx_http_request_t *r,
    ngx_uint_t *format);
static ngx_int_t ngx_http_registry_status_text(ngx_http_request_t *r,
    ngx_uint_t format, ngx_buf_t **b);
static ngx_int_t ngx_http_registry_status_send(ngx_http_request_t *r,
    ngx_uint_t format, ngx_buf_t *b);


static ngx_str_t  ngx_http_registry_status_formats[] = {
    ngx_string("json"),
    ngx_string("prometheus"),
    ngx_null_string
};


char *
ngx_http_registry_status(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_registry_loc_conf_t  *rlcf = conf;

    ngx_str_t                      *value;
    ngx_uint_t                      i;
    ngx_http_core_loc_conf_t       *clcf;
    ngx_http_registry_main_conf_t  *mcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler == ngx_http_registry_status_handler) {
        return "is duplicate";
    }

    if (clcf->handler) {
        return "conflicts with another handler of this location";
    }

    clcf->handler = ngx_http_registry_status_handler;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_registry_module);
    mcf->status = 1;

    if (cf->args->nelts == 1) {
        rlcf->status_format = NGX_HTTP_REGISTRY_STATUS_JSON;
        return NGX_CONF_OK;
    }

    value = cf->args->elts;

    for (i = 0; ngx_http_registry_status_formats[i].len; i++) {
        if (ngx_strcmp(value[1].data, ngx_http_registry_status_formats[i].data)
            == 0)
        {
            rlcf->status_format = i;
            return NGX_CONF_OK;
        }
    }

    return "wants \"json\" or \"prometheus\"";
}


ngx_int_t
ngx_http_registry_status_init(ngx_conf_t *cf)
{
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_LOG_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_registry_status_log;

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_status_log(ngx_http_request_t *r)
{
    off_t                          sent;
    ngx_uint_t                     status;
    ngx_http_registry_ctx_t       *ctx;
    ngx_http_registry_counters_t  *counters;

    if (r != r->main || !ngx_http_registry_ours(r)) {
        return NGX_OK;
    }

    ctx = ngx_http_registry_ctx(r);
    if (ctx == NULL) {
        return NGX_OK;
    }

    counters = ngx_http_registry_counters(ctx);

    if (ctx->found) {
        ngx_http_registry_count(counters, ctx->found);
    }

    /* as $body_bytes_sent */

    sent = r->connection->sent - r->header_size;

    if (sent > 0) {
        ngx_http_registry_count_n(counters, NGX_HTTP_REGISTRY_COUNT_SENT,
                                  sent);
    }

    status = r->err_status ? r->err_status : r->headers_out.status;

    if (status >= NGX_HTTP_INTERNAL_SERVER_ERROR) {
        ngx_http_registry_count(counters, NGX_HTTP_REGISTRY_COUNT_5XX);

    } else if (status >= NGX_HTTP_BAD_REQUEST) {
        ngx_http_registry_count(counters, NGX_HTTP_REGISTRY_COUNT_4XX);

    } else if (!r->request_complete) {
        ngx_http_registry_count(counters, NGX_HTTP_REGISTRY_COUNT_INCOMPLETE);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_status_handler(ngx_http_request_t *r)
{
    ngx_int_t    rc;
    ngx_buf_t   *b;
    ngx_uint_t   format;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_http_registry_status_format(r, &format) != NGX_OK) {
        return NGX_HTTP_BAD_REQUEST;
    }

    if (ngx_http_registry_status_text(r, format, &b) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_registry_status_send(r, format, b);
}


/* the location's own, or that of the argument */

static ngx_int_t
ngx_http_registry_status_format(ngx_http_request_t *r, ngx_uint_t *format)
{
    ngx_str_t                      value, *name;
    ngx_uint_t                     i;
    ngx_http_registry_loc_conf_t  *rlcf;

    if (ngx_http_arg(r, (u_char *) "format", sizeof("format") - 1, &value)
        != NGX_OK)
    {
        rlcf = ngx_http_get_module_loc_conf(r, ngx_http_registry_module);
        *format = rlcf->status_format;
        return NGX_OK;
    }

    name = ngx_http_registry_status_formats;

    for (i = 0; name[i].len; i++) {
        if (name[i].len == value.len
            && ngx_strncmp(name[i].data, value.data, value.len) == 0)
        {
            *format = i;
            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_registry_status_text(ngx_http_request_t *r, ngx_uint_t format,
    ngx_buf_t **b)
{
    size_t         len;
    ngx_array_t   *tables;
    size_t       (*text)(const registry_metrics_t *tables, size_t n,
                         char *buf, size_t size);

    tables = ngx_http_registry_status_tables(r);
    if (tables == NULL) {
        return NGX_ERROR;
    }

    text = (format == NGX_HTTP_REGISTRY_STATUS_PROMETHEUS)
           ? registry_metrics_prometheus : registry_metrics_json;

    len = text(tables->elts, tables->nelts, NULL, 0);

    *b = ngx_create_temp_buf(r->pool, len);
    if (*b == NULL) {
        return NGX_ERROR;
    }

    (*b)->last += text(tables->elts, tables->nelts, (char *) (*b)->pos, len);

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_status_send(ngx_http_request_t *r, ngx_uint_t format,
    ngx_buf_t *b)
{
    ngx_int_t    rc;
    ngx_chain_t  out;

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = b->last - b->pos;

    if (format == NGX_HTTP_REGISTRY_STATUS_PROMETHEUS) {
        ngx_str_set(&r->headers_out.content_type,
                    "text/plain; version=0.0.4; charset=utf-8");
        r->headers_out.content_type_len = sizeof("text/plain") - 1;

    } else {
        ngx_str_set(&r->headers_out.content_type, "application/json");
        r->headers_out.content_type_len = sizeof("application/json") - 1;
    }

    r->headers_out.content_type_lowcase = NULL;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    b->last_buf = (r == r->main);
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}
