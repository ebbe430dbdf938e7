
/*
 * Variables.  They have their values in every phase, so that limits, maps
 * and access rules can use them, and not the log alone.
 */


#include "ngx_http_registry.h"


typedef enum {
    NGX_HTTP_REGISTRY_VAR_OPERATION = 0,
    NGX_HTTP_REGISTRY_VAR_REPOSITORY,
    NGX_HTTP_REGISTRY_VAR_REFERENCE,
    NGX_HTTP_REGISTRY_VAR_DIGEST,
    NGX_HTTP_REGISTRY_VAR_CACHE,
    NGX_HTTP_REGISTRY_VAR_REMOTE
} ngx_http_registry_var_e;


static ngx_int_t ngx_http_registry_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


static ngx_http_variable_t  ngx_http_registry_vars[] = {

    { ngx_string("registry_operation"), NULL, ngx_http_registry_variable,
      NGX_HTTP_REGISTRY_VAR_OPERATION, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("registry_repository"), NULL, ngx_http_registry_variable,
      NGX_HTTP_REGISTRY_VAR_REPOSITORY, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("registry_reference"), NULL, ngx_http_registry_variable,
      NGX_HTTP_REGISTRY_VAR_REFERENCE, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("registry_digest"), NULL, ngx_http_registry_variable,
      NGX_HTTP_REGISTRY_VAR_DIGEST, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("registry_cache"), NULL, ngx_http_registry_variable,
      NGX_HTTP_REGISTRY_VAR_CACHE, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("registry_remote"), NULL, ngx_http_registry_variable,
      NGX_HTTP_REGISTRY_VAR_REMOTE, NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


ngx_int_t
ngx_http_registry_add_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_http_registry_vars; v->name.len; v++) {
        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_str_t                 value;
    ngx_http_registry_ctx_t  *ctx;

    ngx_str_null(&value);

    ctx = ngx_http_registry_ctx(r);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    switch (data) {

    case NGX_HTTP_REGISTRY_VAR_OPERATION:
        if (ctx->method) {
            value = ctx->method->operation;
        }
        break;

    case NGX_HTTP_REGISTRY_VAR_REPOSITORY:
        value = ctx->name;
        break;

    case NGX_HTTP_REGISTRY_VAR_REFERENCE:
        value = ctx->reference;
        break;

    case NGX_HTTP_REGISTRY_VAR_DIGEST:
        value.data = (u_char *) ctx->digest.text;
        value.len = ctx->digest.len;
        break;

    case NGX_HTTP_REGISTRY_VAR_CACHE:
        value = ctx->cache;
        break;

    case NGX_HTTP_REGISTRY_VAR_REMOTE:
        if (ctx->remote) {
            value = ctx->remote->name;
        }
        break;
    }

    if (value.len == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->data = value.data;
    v->len = value.len;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}
