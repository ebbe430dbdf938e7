
/*
 * Pulling what a remote has: from its cache, or by way of it.  Where the
 * client's own credentials decide ("auth client"), the remote is asked first
 * whether it would let this client have it, and its answer is believed for a
 * while.
 */


#include "ngx_http_registry.h"

#include "ngx_http_registry_fill.h"


#define NGX_HTTP_REGISTRY_VERDICT_VALID  60000      /* milliseconds */


static ngx_int_t ngx_http_registry_proxy_access(ngx_http_registry_ctx_t *ctx,
    ngx_http_registry_step_pt next);
static ngx_int_t ngx_http_registry_proxy_verdict(
    ngx_http_registry_ask_t *ask);
static void ngx_http_registry_proxy_no_verdict(ngx_http_registry_ask_t *ask);
static ngx_int_t ngx_http_registry_proxy_decided(
    ngx_http_registry_ctx_t *ctx);

static ngx_int_t ngx_http_registry_proxy_send_base(
    ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_proxy_pass(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_proxy_find(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_proxy_fill(ngx_http_registry_ctx_t *ctx,
    ngx_uint_t known, ngx_uint_t wait);
static void ngx_http_registry_proxy_woken(void *data);
static ngx_int_t ngx_http_registry_proxy_filled(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_proxy_open(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_proxy_opened(ngx_http_registry_ctx_t *ctx);
