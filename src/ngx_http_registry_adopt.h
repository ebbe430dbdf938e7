
/*
 * The "adopt" parameter of a cache: what docker-registry has fetched as a
 * proxy becomes the cache's own, in the cache manager process.
 */


#ifndef NGX_HTTP_REGISTRY_ADOPT_H
#define NGX_HTTP_REGISTRY_ADOPT_H


#include "ngx_http_registry_store.h"


typedef struct ngx_http_registry_adopt_manager_s
    ngx_http_registry_adopt_manager_t;


struct ngx_http_registry_adopt_s {
    ngx_str_t                           ns;     /* as configured */

    ngx_str_t                           dir;    /* on the disk: remote->dir */
    ngx_array_t                         dirs;   /* ngx_str_t: of all remotes
                                                   with this cache */

    u_char                             *file;   /* of the parameter */
    ngx_uint_t                          line;

    ngx_http_registry_adopt_manager_t  *manager;    /* of that process */
};


/*
 * In the master process, before its workers start.  Both do nothing for a
 * store without the parameter.
 */

void ngx_http_registry_adopt_init_module(ngx_http_registry_store_t *store,
    ngx_log_t *log);

/*
 * In the cache manager process: starts what goes on by events of its own
 * then.  May be called again.
 */

void ngx_http_registry_adopt_manager(ngx_http_registry_store_t *store);


#endif /* NGX_HTTP_REGISTRY_ADOPT_H */
