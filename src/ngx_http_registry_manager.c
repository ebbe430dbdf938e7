
/*
 * What goes on without a request: the cache manager process looks after
 * stores and caches.
 */


#include "ngx_http_registry.h"


static ngx_msec_t ngx_http_registry_manager(void *data);
static void ngx_http_registry_manager_event(ngx_event_t *ev);


/* with "master_process off", where there is no cache manager process */

static ngx_event_t  ngx_http_registry_manager_timer;


/*
 * nginx starts its cache manager process if some path has a manager.  One
 * that is there already is borrowed: a path of our own would be a directory
 * that nobody needs.
 */

ngx_int_t
ngx_http_registry_manager_init(ngx_conf_t *cf,
    ngx_http_registry_main_conf_t *mcf)
{
    ngx_uint_t    i;
    ngx_path_t  **path;

    path = cf->cycle->paths.elts;

    for (i = 0; i < cf->cycle->paths.nelts; i++) {

        if (path[i]->manager == NULL && path[i]->loader == NULL
            && path[i]->data == NULL)
        {
            path[i]->manager = ngx_http_registry_manager;
            path[i]->data = mcf;
            return NGX_OK;
        }
    }

    if (mcf->locations.nelts == 0) {

        /* nor is there a server to use a cache */

        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                  "no path for the manager of registry stores");

    return NGX_ERROR;
}


static ngx_msec_t
ngx_http_registry_manager(void *data)
{
    ngx_http_registry_main_conf_t  *mcf = data;

    ngx_uint_t                   i;
    ngx_msec_t                   next, n;
    ngx_http_registry_store_t  **store;

    next = 60 * 60 * 1000;
    store = mcf->stores.elts;

    for (i = 0; i < mcf->stores.nelts; i++) {
        n = store[i]->driver->expire(store[i]);
        next = ngx_min(next, n);

        if (store[i]->evict && !store[i]->offline) {
            n = ngx_http_registry_evict_manager(store[i]);
            next = ngx_min(next, n);
        }

        ngx_http_registry_adopt_manager(store[i]);
    }

    return next;
}


void
ngx_http_registry_manager_init_process(ngx_cycle_t *cycle)
{
    static ngx_connection_t  dumb;

    if (ngx_process != NGX_PROCESS_SINGLE) {
        return;
    }

    ngx_http_registry_manager_timer.handler = ngx_http_registry_manager_event;
    ngx_http_registry_manager_timer.data = &dumb;
    ngx_http_registry_manager_timer.log = cycle->log;
    ngx_http_registry_manager_timer.cancelable = 1;

    ngx_add_timer(&ngx_http_registry_manager_timer, 1);
}


static void
ngx_http_registry_manager_event(ngx_event_t *ev)
{
    ngx_msec_t                      next;
    ngx_http_registry_main_conf_t  *mcf;

    /* a reload may have brought another configuration */

    next = 60 * 1000;

    if (ngx_get_conf(ngx_cycle->conf_ctx, ngx_http_module)) {
        mcf = ngx_http_cycle_get_module_main_conf(ngx_cycle,
                                                  ngx_http_registry_module);
        next = ngx_http_registry_manager(mcf);
    }

    ngx_add_timer(ev, ngx_max(next, 1));
}
