
/*
 * A module of the tests: a location passes its requests to another server
 * with the module's outbound client, and what comes back to its own client.
 * It needs the symbols of ngx_http_registry_module.so, loaded before.
 *
 *     registry_client NAME target=URL[,ssl_name] verify=off ...;
 *     location / { registry_call NAME http://host$request_uri; }
 *
 * Arguments of a request: "free" is the handler that frees the call (header,
 * body, send, done), or "all": the last one frees the others of this worker,
 * whose requests then hang; "pin" is the call's, "header" the value of X-Test.
 * What went wrong is in X-Error of a 502.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "ngx_http_registry_client.h"


#define NGX_HTTP_REGISTRY_CALL_PIECE  65536


typedef struct {
    ngx_array_t                  clients;   /* of _client_t * */
} ngx_http_registry_call_main_conf_t;


typedef struct {
    ngx_http_registry_client_t  *client;
    ngx_http_complex_value_t     url;
} ngx_http_registry_call_loc_conf_t;


typedef struct {
    ngx_http_request_t          *request;
    ngx_http_registry_call_t    *call;
    ngx_str_t                    free;      /* in which handler */
    ngx_queue_t                  queue;     /* of all calls */

    ngx_buf_t                   *buf;       /* on its way to the client */
    ngx_chain_t                  out;

    ngx_chain_t                 *body;      /* of the request, to be sent */

    unsigned                     wait:1;    /* for on_send */
    unsigned                     paused:1;  /* until the client has read */
    unsigned                     last:1;    /* the request's body ended */
} ngx_http_registry_call_ctx_t;


typedef struct {
    ngx_str_t                    name;
    size_t                       offset;
    char                      *(*set)(ngx_conf_t *cf,
                                      ngx_http_registry_client_t *client,
                                      void *field, ngx_str_t *value);
} ngx_http_registry_call_param_t;


static ngx_int_t ngx_http_registry_call_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_registry_call_begin(ngx_http_request_t *r,
    ngx_http_registry_call_ctx_t *ctx);
static ngx_int_t ngx_http_registry_call_add_header(ngx_http_request_t *r,
    ngx_http_registry_call_t *call);
static void ngx_http_registry_call_body_handler(ngx_http_request_t *r);
static void ngx_http_registry_call_read(ngx_http_request_t *r);
static void ngx_http_registry_call_write(ngx_http_request_t *r);
static void ngx_http_registry_call_finalize(ngx_http_request_t *r,
    ngx_int_t rc);
static void ngx_http_registry_call_gone(void *data);
static void ngx_http_registry_call_cleanup(void *data);
static void ngx_http_registry_call_free_others(
    ngx_http_registry_call_ctx_t *ctx);
static ngx_uint_t ngx_http_registry_call_freed(
    ngx_http_registry_call_ctx_t *ctx, const char *where);
static ngx_int_t ngx_http_registry_call_on_header(
    ngx_http_registry_call_t *call);
static ngx_int_t ngx_http_registry_call_on_body(
    ngx_http_registry_call_t *call, u_char *data, size_t len);
static void ngx_http_registry_call_on_send(ngx_http_registry_call_t *call);
static void ngx_http_registry_call_on_done(ngx_http_registry_call_t *call);
static ngx_int_t ngx_http_registry_call_failed(
    ngx_http_registry_call_ctx_t *ctx);
static ngx_int_t ngx_http_registry_call_field(ngx_http_request_t *r,
    const char *name, size_t name_len, const char *value, size_t len);

static void *ngx_http_registry_call_create_main_conf(ngx_conf_t *cf);
static ngx_int_t ngx_http_registry_call_init(ngx_conf_t *cf);
static void *ngx_http_registry_call_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_registry_call_merge_loc_conf(ngx_conf_t *cf,
    void *parent, void *child);
static char *ngx_http_registry_call_client(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_registry_call(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

static char *ngx_http_registry_call_target(ngx_conf_t *cf,
    ngx_http_registry_client_t *client, void *field, ngx_str_t *value);
static char *ngx_http_registry_call_url(ngx_conf_t *cf,
    ngx_http_registry_client_t *client, void *field, ngx_str_t *value);
static char *ngx_http_registry_call_names(ngx_conf_t *cf,
    ngx_http_registry_client_t *client, void *field, ngx_str_t *value);
static char *ngx_http_registry_call_file(ngx_conf_t *cf,
    ngx_http_registry_client_t *client, void *field, ngx_str_t *value);
static char *ngx_http_registry_call_msec(ngx_conf_t *cf,
    ngx_http_registry_client_t *client, void *field, ngx_str_t *value);
static char *ngx_http_registry_call_flag(ngx_conf_t *cf,
    ngx_http_registry_client_t *client, void *field, ngx_str_t *value);
static char *ngx_http_registry_call_number(ngx_conf_t *cf,
    ngx_http_registry_client_t *client, void *field, ngx_str_t *value);


#define ngx_http_registry_call_offset(field)                                  \
    offsetof(ngx_http_registry_client_t, field)


static ngx_queue_t  ngx_http_registry_calls = {
    &ngx_http_registry_calls, &ngx_http_registry_calls
};


static ngx_http_registry_call_param_t  ngx_http_registry_call_params[] = {

    { ngx_string("target"), 0, ngx_http_registry_call_target },

    { ngx_string("connect_timeout"),
      ngx_http_registry_call_offset(connect_timeout),
      ngx_http_registry_call_msec },

    { ngx_string("send_timeout"),
      ngx_http_registry_call_offset(send_timeout),
      ngx_http_registry_call_msec },

    { ngx_string("first_timeout"),
      ngx_http_registry_call_offset(first_timeout),
      ngx_http_registry_call_msec },

    { ngx_string("read_timeout"),
      ngx_http_registry_call_offset(read_timeout),
      ngx_http_registry_call_msec },

    { ngx_string("resolver_timeout"),
      ngx_http_registry_call_offset(resolver_timeout),
      ngx_http_registry_call_msec },

    { ngx_string("keepalive"),
      ngx_http_registry_call_offset(keepalive),
      ngx_http_registry_call_number },

    { ngx_string("keepalive_timeout"),
      ngx_http_registry_call_offset(keepalive_timeout),
      ngx_http_registry_call_msec },

    { ngx_string("verify"),
      ngx_http_registry_call_offset(ssl_verify),
      ngx_http_registry_call_flag },

    { ngx_string("verify_depth"),
      ngx_http_registry_call_offset(ssl_verify_depth),
      ngx_http_registry_call_number },

    { ngx_string("trusted"),
      ngx_http_registry_call_offset(ssl_trusted_certificate),
      ngx_http_registry_call_file },

    { ngx_string("certificate"),
      ngx_http_registry_call_offset(ssl_certificate),
      ngx_http_registry_call_file },

    { ngx_string("key"),
      ngx_http_registry_call_offset(ssl_certificate_key),
      ngx_http_registry_call_file },

    { ngx_string("proxy"),
      ngx_http_registry_call_offset(proxy),
      ngx_http_registry_call_url },

    { ngx_string("credentials"),
      ngx_http_registry_call_offset(proxy_credentials),
      ngx_http_registry_call_file },

    { ngx_string("no_proxy"),
      ngx_http_registry_call_offset(no_proxy),
      ngx_http_registry_call_names },

    { ngx_string("private"),
      ngx_http_registry_call_offset(allow_private),
      ngx_http_registry_call_flag },

    { ngx_null_string, 0, NULL }
};


static ngx_command_t  ngx_http_registry_call_commands[] = {

    { ngx_string("registry_client"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_registry_call_client,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("registry_call"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE2,
      ngx_http_registry_call,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_registry_call_module_ctx = {
    NULL,                                      /* preconfiguration */
    ngx_http_registry_call_init,               /* postconfiguration */

    ngx_http_registry_call_create_main_conf,   /* create main configuration */
    NULL,                                      /* init main configuration */

    NULL,                                      /* create server configuration */
    NULL,                                      /* merge server configuration */

    ngx_http_registry_call_create_loc_conf,    /* create location
                                                  configuration */
    ngx_http_registry_call_merge_loc_conf      /* merge location
                                                  configuration */
};


ngx_module_t  ngx_http_registry_call_module = {
    NGX_MODULE_V1,
    &ngx_http_registry_call_module_ctx,        /* module context */
    ngx_http_registry_call_commands,           /* module directives */
    NGX_HTTP_MODULE,                           /* module type */
    NULL,                                      /* init master */
    NULL,                                      /* init module */
    NULL,                                      /* init process */
    NULL,                                      /* init thread */
    NULL,                                      /* exit thread */
    NULL,                                      /* exit process */
    NULL,                                      /* exit master */
    NGX_MODULE_V1_PADDING
};


/* what configure writes for a dynamic module */

ngx_module_t  *ngx_modules[] = { &ngx_http_registry_call_module, NULL };
char          *ngx_module_names[] = { "ngx_http_registry_call_module", NULL };
char          *ngx_module_order[] = { NULL };


static ngx_int_t
ngx_http_registry_call_handler(ngx_http_request_t *r)
{
    ngx_int_t                      rc;
    ngx_pool_cleanup_t            *cln;
    ngx_http_registry_call_ctx_t  *ctx;

    cln = ngx_pool_cleanup_add(r->pool, sizeof(ngx_http_registry_call_ctx_t));
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx = cln->data;
    ngx_memzero(ctx, sizeof(ngx_http_registry_call_ctx_t));

    cln->handler = ngx_http_registry_call_gone;

    ctx->request = r;
    ngx_http_set_ctx(r, ctx, ngx_http_registry_call_module);
    ngx_queue_insert_tail(&ngx_http_registry_calls, &ctx->queue);

    rc = ngx_http_registry_call_begin(r, ctx);

    if (rc != NGX_OK) {
        return rc;
    }

    r->request_body_no_buffering = 1;

    rc = ngx_http_read_client_request_body(r,
                                          ngx_http_registry_call_body_handler);

    return (rc >= NGX_HTTP_SPECIAL_RESPONSE) ? rc : NGX_DONE;
}


static ngx_int_t
ngx_http_registry_call_begin(ngx_http_request_t *r,
    ngx_http_registry_call_ctx_t *ctx)
{
    ngx_str_t                           text;
    registry_str_t                      in;
    ngx_http_registry_call_t           *call;
    ngx_http_registry_call_loc_conf_t  *lcf;

    lcf = ngx_http_get_module_loc_conf(r, ngx_http_registry_call_module);

    call = ngx_http_registry_call_create(lcf->client);
    if (call == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->call = call;

    if (ngx_http_complex_value(r, &lcf->url, &text) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    in.data = (char *) text.data;
    in.len = text.len;

    if (registry_url_parse(in, &call->url) != REGISTRY_OK) {
        return NGX_HTTP_BAD_REQUEST;
    }

    (void) ngx_http_arg(r, (u_char *) "free", 4, &ctx->free);
    (void) ngx_http_arg(r, (u_char *) "pin", 3, &call->pin);

    call->data = ctx;
    call->method = r->method_name;
    call->content_length = r->headers_in.chunked ? -1
                           : ngx_max(r->headers_in.content_length_n, 0);
    call->on_header = ngx_http_registry_call_on_header;
    call->on_body = ngx_http_registry_call_on_body;
    call->on_send = ngx_http_registry_call_on_send;
    call->on_done = ngx_http_registry_call_on_done;

    if (ngx_http_registry_call_add_header(r, call) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ngx_http_registry_call_start(call) != NGX_AGAIN) {
        return NGX_HTTP_BAD_REQUEST;
    }

    return NGX_OK;
}


/* any bytes, since it is the client that refuses some */

static ngx_int_t
ngx_http_registry_call_add_header(ngx_http_request_t *r,
    ngx_http_registry_call_t *call)
{
    u_char     *dst, *src;
    ngx_str_t   value;

    if (ngx_http_arg(r, (u_char *) "header", 6, &value) != NGX_OK) {
        return NGX_OK;
    }

    src = value.data;
    dst = ngx_pnalloc(call->pool, value.len);
    if (dst == NULL) {
        return NGX_ERROR;
    }

    value.data = dst;
    ngx_unescape_uri(&dst, &src, value.len, 0);
    value.len = dst - value.data;

    return ngx_http_registry_call_header(call, "X-Test", &value);
}


static void
ngx_http_registry_call_body_handler(ngx_http_request_t *r)
{
    ngx_http_registry_call_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_registry_call_module);

    ctx->body = r->request_body->bufs;
    r->request_body->bufs = NULL;

    r->read_event_handler = ngx_http_registry_call_read;
    r->write_event_handler = ngx_http_registry_call_write;

    ngx_http_registry_call_read(r);
}


/* the request's body goes out as fast as it is taken */

static void
ngx_http_registry_call_read(ngx_http_request_t *r)
{
    ngx_int_t                      rc;
    ngx_buf_t                     *b;
    ngx_http_registry_call_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_registry_call_module);

    if (ctx->call == NULL || ctx->call->content_length == 0) {
        ngx_http_test_reading(r);
        return;
    }

    while (!ctx->wait && !ctx->last) {

        if (ctx->body == NULL && r->reading_body) {

            rc = ngx_http_read_unbuffered_request_body(r);

            if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
                ngx_http_registry_call_finalize(r, rc);
                return;
            }

            ctx->body = r->request_body->bufs;
            r->request_body->bufs = NULL;

            if (ctx->body == NULL && rc == NGX_AGAIN) {
                return;
            }
        }

        if (ctx->body == NULL) {
            ctx->last = 1;
            rc = ngx_http_registry_call_send(ctx->call, NULL, 0, 1);

            if (rc == NGX_ERROR && ctx->call->content_length < 0) {
                ngx_http_registry_call_finalize(r, NGX_ERROR);
            }

            return;
        }

        b = ctx->body->buf;
        ctx->body = ctx->body->next;

        rc = ngx_http_registry_call_send(ctx->call, b->pos,
                                         b->last - b->pos, 0);
        b->pos = b->last;

        if (rc == NGX_ERROR) {
            ngx_http_registry_call_finalize(r, NGX_ERROR);
            return;
        }

        ctx->wait = (rc == NGX_AGAIN);
    }
}


/* the answer goes out, and the next piece is asked for when it has */

static void
ngx_http_registry_call_write(ngx_http_request_t *r)
{
    ngx_http_registry_call_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_registry_call_module);

    if (r->connection->write->timedout
        || ngx_http_output_filter(r, NULL) == NGX_ERROR)
    {
        ngx_http_registry_call_finalize(r, NGX_ERROR);
        return;
    }

    if (ctx->buf && ngx_buf_size(ctx->buf) > 0) {
        if (ngx_handle_write_event(r->connection->write, 0) != NGX_OK) {
            ngx_http_registry_call_finalize(r, NGX_ERROR);
        }

        return;
    }

    if (ctx->paused) {
        ctx->paused = 0;
        ngx_http_registry_call_resume(ctx->call);
    }
}


static void
ngx_http_registry_call_finalize(ngx_http_request_t *r, ngx_int_t rc)
{
    ngx_connection_t  *c;

    c = r->connection;

    ngx_http_finalize_request(r, rc);
    ngx_http_run_posted_requests(c);
}


static void
ngx_http_registry_call_gone(void *data)
{
    ngx_http_registry_call_ctx_t  *ctx = data;

    ngx_queue_remove(&ctx->queue);

    ngx_http_registry_call_cleanup(ctx);
}


static void
ngx_http_registry_call_free_others(ngx_http_registry_call_ctx_t *ctx)
{
    ngx_queue_t                   *q;
    ngx_http_registry_call_ctx_t  *other;

    for (q = ngx_queue_head(&ngx_http_registry_calls);
         q != ngx_queue_sentinel(&ngx_http_registry_calls);
         q = ngx_queue_next(q))
    {
        other = ngx_queue_data(q, ngx_http_registry_call_ctx_t, queue);

        if (other != ctx) {
            ngx_http_registry_call_cleanup(other);
        }
    }
}


static void
ngx_http_registry_call_cleanup(void *data)
{
    ngx_http_registry_call_ctx_t  *ctx = data;

    if (ctx->call) {
        ngx_http_registry_call_free(ctx->call);
        ctx->call = NULL;
    }
}


static ngx_uint_t
ngx_http_registry_call_freed(ngx_http_registry_call_ctx_t *ctx,
    const char *where)
{
    if (ctx->free.len != ngx_strlen(where)
        || ngx_strncmp(ctx->free.data, where, ctx->free.len) != 0)
    {
        return 0;
    }

    ngx_http_registry_call_free(ctx->call);
    ctx->call = NULL;

    ngx_http_registry_call_finalize(ctx->request,
                              ctx->request->header_sent
                              ? NGX_ERROR : NGX_HTTP_SERVICE_UNAVAILABLE);

    return 1;
}


static ngx_int_t
ngx_http_registry_call_on_header(ngx_http_registry_call_t *call)
{
    size_t                         i;
    registry_http_field_t         *f;
    ngx_http_request_t            *r;
    ngx_http_registry_call_ctx_t  *ctx;

    ctx = call->data;
    r = ctx->request;

    if (ngx_http_registry_call_freed(ctx, "header")) {
        return NGX_ERROR;
    }

    r->headers_out.status = call->response.status;
    r->headers_out.content_length_n = call->response.content_length;

    f = call->response.fields;

    for (i = 0; i < call->response.n; i++) {

        if (f[i].name.len > 2
            && ngx_strncasecmp((u_char *) f[i].name.data, (u_char *) "x-", 2)
               == 0
            && ngx_http_registry_call_field(r, f[i].name.data, f[i].name.len,
                                            f[i].value.data, f[i].value.len)
               != NGX_OK)
        {
            goto failed;
        }
    }

    if (ngx_http_registry_call_field(r, "X-Peer", sizeof("X-Peer") - 1,
                                     (char *) call->peer.data, call->peer.len)
        != NGX_OK)
    {
        goto failed;
    }

    if (ngx_http_send_header(r) == NGX_ERROR) {
        goto failed;
    }

    return NGX_OK;

failed:

    ngx_http_registry_call_cleanup(ctx);
    ngx_http_registry_call_finalize(r, NGX_ERROR);

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_registry_call_on_body(ngx_http_registry_call_t *call, u_char *data,
    size_t len)
{
    ngx_buf_t                     *b;
    ngx_http_request_t            *r;
    ngx_http_registry_call_ctx_t  *ctx;

    ctx = call->data;
    r = ctx->request;
    b = ctx->buf;

    if (ngx_http_registry_call_freed(ctx, "body")) {
        return NGX_ERROR;
    }

    if (b == NULL) {
        b = ngx_create_temp_buf(r->pool, NGX_HTTP_REGISTRY_CALL_PIECE);
        if (b == NULL) {
            goto failed;
        }

        b->flush = 1;
        ctx->buf = b;
        ctx->out.buf = b;
    }

    b->pos = b->start;
    b->last = ngx_cpymem(b->start, data, len);

    if (ngx_http_output_filter(r, &ctx->out) == NGX_ERROR) {
        goto failed;
    }

    if (ngx_buf_size(b) > 0) {

        if (ngx_handle_write_event(r->connection->write, 0) != NGX_OK) {
            goto failed;
        }

        ctx->paused = 1;
        return NGX_AGAIN;
    }

    return NGX_OK;

failed:

    ngx_http_registry_call_cleanup(ctx);
    ngx_http_registry_call_finalize(r, NGX_ERROR);

    return NGX_ERROR;
}


static void
ngx_http_registry_call_on_send(ngx_http_registry_call_t *call)
{
    ngx_http_registry_call_ctx_t  *ctx;

    ctx = call->data;

    if (ngx_http_registry_call_freed(ctx, "send")) {
        return;
    }

    ctx->wait = 0;

    ngx_http_registry_call_read(ctx->request);
}


static void
ngx_http_registry_call_on_done(ngx_http_registry_call_t *call)
{
    ngx_int_t                      rc;
    ngx_http_request_t            *r;
    ngx_http_registry_call_ctx_t  *ctx;

    ctx = call->data;
    r = ctx->request;

    if (ngx_http_registry_call_freed(ctx, "done")) {
        return;
    }

    if (ctx->free.len == 3 && ngx_strncmp(ctx->free.data, "all", 3) == 0) {
        ngx_http_registry_call_free_others(ctx);
    }

    if (call->error == NGX_HTTP_REGISTRY_CALL_OK) {
        rc = ngx_http_send_special(r, NGX_HTTP_LAST);

    } else if (r->header_sent) {
        rc = NGX_ERROR;

    } else {
        rc = ngx_http_registry_call_failed(ctx);
    }

    ngx_http_registry_call_cleanup(ctx);

    ngx_http_registry_call_finalize(r, rc);
}


static ngx_int_t
ngx_http_registry_call_failed(ngx_http_registry_call_ctx_t *ctx)
{
    u_char                    *p, text[256];
    ngx_http_request_t        *r;
    ngx_http_registry_call_t  *call;

    r = ctx->request;
    call = ctx->call;

    p = ngx_snprintf(text, sizeof(text), "%s%s%s",
                     ngx_http_registry_call_error(call->error),
                     call->reason ? ", " : "",
                     call->reason ? call->reason : "");

    if (call->err) {
        p = ngx_snprintf(p, text + sizeof(text) - p, " (%d)", call->err);
    }

    r->headers_out.status = NGX_HTTP_BAD_GATEWAY;
    r->headers_out.content_length_n = 0;
    r->header_only = 1;

    if (ngx_http_registry_call_field(r, "X-Error", sizeof("X-Error") - 1,
                                     (char *) text, p - text)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_send_header(r);
}


static ngx_int_t
ngx_http_registry_call_field(ngx_http_request_t *r, const char *name,
    size_t name_len, const char *value, size_t len)
{
    u_char           *p;
    ngx_table_elt_t  *h;

    p = ngx_pnalloc(r->pool, name_len + len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->hash = 1;
#if (nginx_version >= 1023000)
    h->next = NULL;
#endif

    h->key.data = p;
    h->key.len = name_len;
    p = ngx_cpymem(p, name, name_len);

    h->value.data = p;
    h->value.len = len;
    ngx_memcpy(p, value, len);

    return NGX_OK;
}


static void *
ngx_http_registry_call_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_registry_call_main_conf_t  *mcf;

    mcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_registry_call_main_conf_t));
    if (mcf == NULL) {
        return NULL;
    }

    if (ngx_array_init(&mcf->clients, cf->pool, 4,
                       sizeof(ngx_http_registry_client_t *))
        != NGX_OK)
    {
        return NULL;
    }

    return mcf;
}


/* when locations are merged */

static ngx_int_t
ngx_http_registry_call_init(ngx_conf_t *cf)
{
    ngx_uint_t                            i;
    ngx_http_registry_client_t          **client;
    ngx_http_registry_call_main_conf_t   *mcf;

    mcf = ngx_http_conf_get_module_main_conf(cf,
                                             ngx_http_registry_call_module);
    client = mcf->clients.elts;

    for (i = 0; i < mcf->clients.nelts; i++) {
        if (ngx_http_registry_client_init(cf, client[i]) != NGX_CONF_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static void *
ngx_http_registry_call_create_loc_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_http_registry_call_loc_conf_t));
}


static char *
ngx_http_registry_call_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child)
{
    ngx_http_registry_call_loc_conf_t  *conf = child;

    ngx_http_conf_ctx_t         *ctx;
    ngx_http_core_loc_conf_t    *clcf;
    ngx_http_registry_client_t  *client;

    client = conf->client;

    if (client == NULL) {
        return NGX_CONF_OK;
    }

    ctx = cf->ctx;
    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    client->main_conf = ctx->main_conf;
    client->srv_conf = ctx->srv_conf;
    client->loc_conf = clcf->loc_conf;

    if (clcf->resolver && clcf->resolver->connections.nelts) {
        client->resolver = clcf->resolver;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_registry_call_client(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_registry_call_main_conf_t  *mcf = conf;

    char                             *rv;
    u_char                           *p;
    ngx_str_t                        *arg, name, value;
    ngx_uint_t                        i;
    ngx_http_registry_client_t       *client, **slot;
    ngx_http_registry_call_param_t   *param;

    client = ngx_pcalloc(cf->pool, sizeof(ngx_http_registry_client_t));
    slot = ngx_array_push(&mcf->clients);

    if (client == NULL || slot == NULL
        || ngx_array_init(&client->targets, cf->pool, 1,
                          sizeof(ngx_http_registry_target_t))
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    *slot = client;

    arg = cf->args->elts;

    client->name = arg[1];
    client->connect_timeout = 5000;
    client->send_timeout = 5000;
    client->first_timeout = 5000;
    client->read_timeout = 5000;
    client->resolver_timeout = 5000;
    client->keepalive = 4;
    client->keepalive_timeout = 60000;
    client->ssl_verify = 1;
    client->ssl_verify_depth = 3;
    client->file = cf->conf_file->file.name.data;
    client->line = cf->conf_file->line;

    for (i = 2; i < cf->args->nelts; i++) {

        p = ngx_strlchr(arg[i].data, arg[i].data + arg[i].len, '=');
        if (p == NULL) {
            return "has a parameter without a value";
        }

        name.data = arg[i].data;
        name.len = p - name.data;
        value.data = p + 1;
        value.len = arg[i].data + arg[i].len - value.data;

        for (param = ngx_http_registry_call_params; param->set; param++) {
            if (param->name.len == name.len
                && ngx_strncmp(param->name.data, name.data, name.len) == 0)
            {
                break;
            }
        }

        if (param->set == NULL) {
            return "has an unknown parameter";
        }

        rv = param->set(cf, client, (u_char *) client + param->offset, &value);
        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_registry_call(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_registry_call_loc_conf_t  *lcf = conf;

    ngx_str_t                            *value;
    ngx_uint_t                            i;
    ngx_http_core_loc_conf_t             *clcf;
    ngx_http_registry_client_t          **client;
    ngx_http_compile_complex_value_t      ccv;
    ngx_http_registry_call_main_conf_t   *mcf;

    value = cf->args->elts;

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = &value[2];
    ccv.complex_value = &lcf->url;

    if (ngx_http_compile_complex_value(&ccv) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    clcf->handler = ngx_http_registry_call_handler;

    mcf = ngx_http_conf_get_module_main_conf(cf,
                                             ngx_http_registry_call_module);
    client = mcf->clients.elts;

    for (i = 0; i < mcf->clients.nelts; i++) {

        if (client[i]->name.len == value[1].len
            && ngx_strncmp(client[i]->name.data, value[1].data, value[1].len)
               == 0)
        {
            lcf->client = client[i];
            return NGX_CONF_OK;
        }
    }

    return "names an unknown client";
}


static char *
ngx_http_registry_call_target(ngx_conf_t *cf,
    ngx_http_registry_client_t *client, void *field, ngx_str_t *value)
{
    u_char                      *p;
    ngx_str_t                    url;
    ngx_http_registry_target_t  *target;

    target = ngx_array_push(&client->targets);
    if (target == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(target, sizeof(ngx_http_registry_target_t));

    url = *value;

    p = ngx_strlchr(url.data, url.data + url.len, ',');

    if (p) {
        target->ssl_name.data = p + 1;
        target->ssl_name.len = url.data + url.len - (p + 1);
        url.len = p - url.data;
    }

    return ngx_http_registry_call_url(cf, client, &target->url, &url);
}


static char *
ngx_http_registry_call_url(ngx_conf_t *cf, ngx_http_registry_client_t *client,
    void *field, ngx_str_t *value)
{
    registry_str_t  in;

    in.data = (char *) value->data;
    in.len = value->len;

    return (registry_url_parse(in, field) == REGISTRY_OK)
           ? NGX_CONF_OK : "has an invalid URL";
}


static char *
ngx_http_registry_call_names(ngx_conf_t *cf,
    ngx_http_registry_client_t *client, void *field, ngx_str_t *value)
{
    ngx_array_t  **names = field;

    u_char     *p, *last, *end;
    ngx_str_t  *name;

    *names = ngx_array_create(cf->pool, 4, sizeof(ngx_str_t));
    if (*names == NULL) {
        return NGX_CONF_ERROR;
    }

    last = value->data + value->len;

    for (p = value->data; p < last; p = end + 1) {

        end = ngx_strlchr(p, last, ',');
        if (end == NULL) {
            end = last;
        }

        name = ngx_array_push(*names);
        if (name == NULL) {
            return NGX_CONF_ERROR;
        }

        name->data = p;
        name->len = end - p;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_registry_call_file(ngx_conf_t *cf, ngx_http_registry_client_t *client,
    void *field, ngx_str_t *value)
{
    *(ngx_str_t *) field = *value;

    return NGX_CONF_OK;
}


static char *
ngx_http_registry_call_msec(ngx_conf_t *cf, ngx_http_registry_client_t *client,
    void *field, ngx_str_t *value)
{
    ngx_int_t  msec;

    msec = ngx_parse_time(value, 0);

    if (msec == NGX_ERROR) {
        return "has an invalid time";
    }

    *(ngx_msec_t *) field = (ngx_msec_t) msec;

    return NGX_CONF_OK;
}


static char *
ngx_http_registry_call_flag(ngx_conf_t *cf, ngx_http_registry_client_t *client,
    void *field, ngx_str_t *value)
{
    *(ngx_flag_t *) field = (value->len == 2);

    return NGX_CONF_OK;
}


static char *
ngx_http_registry_call_number(ngx_conf_t *cf,
    ngx_http_registry_client_t *client, void *field, ngx_str_t *value)
{
    ngx_int_t  n;

    n = ngx_atoi(value->data, value->len);

    if (n == NGX_ERROR) {
        return "has an invalid number";
    }

    *(ngx_uint_t *) field = n;

    return NGX_CONF_OK;
}
