
/*
 * A module of its own, ordered before the core module, since what a location
 * inherits is settled there: limits that are right for a site, and wrong for
 * a registry, are set before that, unless the location itself sets them.
 */


#include "ngx_http_registry.h"


#define NGX_HTTP_REGISTRY_BODY_BUFFER  (512 * 1024)


static char *ngx_http_registry_lift_limits(ngx_conf_t *cf, void *conf);


static ngx_http_module_t  ngx_http_registry_conf_module_ctx = {
    NULL,                                  /* preconfiguration */
    NULL,                                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    ngx_http_registry_lift_limits,         /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_http_registry_conf_module = {
    NGX_MODULE_V1,
    &ngx_http_registry_conf_module_ctx,    /* module context */
    NULL,                                  /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static char *
ngx_http_registry_lift_limits(ngx_conf_t *cf, void *conf)
{
    ngx_uint_t                       i;
    ngx_http_core_loc_conf_t       **clcf;
    ngx_http_registry_main_conf_t   *mcf;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_registry_module);

    clcf = mcf->locations.elts;

    for (i = 0; i < mcf->locations.nelts; i++) {

        if (clcf[i]->client_max_body_size == NGX_CONF_UNSET) {
            clcf[i]->client_max_body_size = 0;
        }

        /* it is also the window of an upload over HTTP/2 */

        if (clcf[i]->client_body_buffer_size == NGX_CONF_UNSET_SIZE) {
            clcf[i]->client_body_buffer_size = NGX_HTTP_REGISTRY_BODY_BUFFER;
        }

        if (clcf[i]->error_pages == NULL) {
            clcf[i]->error_pages = ngx_array_create(cf->pool, 1,
                                                sizeof(ngx_http_err_page_t));
            if (clcf[i]->error_pages == NULL) {
                return NGX_CONF_ERROR;
            }
        }
    }

    return NGX_CONF_OK;
}
