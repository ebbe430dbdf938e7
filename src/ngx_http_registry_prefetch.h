
/*
 * Prefetching: when a client pulls a manifest that is new here, the blobs
 * that it refers to begin to be fetched before anybody asks for them, and of
 * an index the manifests of some platforms with their blobs.  They are copies
 * like all others, which clients join.
 */


#ifndef NGX_HTTP_REGISTRY_PREFETCH_H
#define NGX_HTTP_REGISTRY_PREFETCH_H


#include "ngx_http_registry_cache.h"
#include "ngx_http_registry_remote.h"


/* what is under way for one remote, in each worker; NULL: memory is short */

ngx_http_registry_prefetch_t *ngx_http_registry_prefetch_create(
    ngx_pool_t *pool);

/*
 * What the manifest refers to; remote->prefetch is not NULL.  Nobody is told
 * how it goes but the remote's counters.  Of the arguments nothing is kept.
 */

void ngx_http_registry_prefetch(ngx_http_registry_remote_t *remote,
    ngx_http_registry_manifest_t *manifest, ngx_str_t *remote_name,
    ngx_str_t *via);


#endif /* NGX_HTTP_REGISTRY_PREFETCH_H */
