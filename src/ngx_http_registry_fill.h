
/*
 * Manifests of a remote: from its cache or the remote itself, whichever has
 * what may be believed, and from there into shared memory and the cache.
 */


#ifndef NGX_HTTP_REGISTRY_FILL_H
#define NGX_HTTP_REGISTRY_FILL_H


#include "ngx_http_registry_cache.h"
#include "ngx_http_registry_remote.h"


typedef enum {
    NGX_HTTP_REGISTRY_FILL_HIT = 0,     /* of the cache, or memcached */
    NGX_HTTP_REGISTRY_FILL_MISS,        /* of the remote */
    NGX_HTTP_REGISTRY_FILL_JOIN,        /* likewise, and for somebody else */
    NGX_HTTP_REGISTRY_FILL_REVALIDATED, /* ours, and the remote's still */
    NGX_HTTP_REGISTRY_FILL_STALE        /* ours, the remote does not answer */
} ngx_http_registry_fill_e;


/*
 * An operation: created, started and freed by its owner.  The handler is
 * called once, never from within _start(), unless it was freed before.  Who
 * wants the same waits for the same request, in whichever worker, and it goes
 * on when they are all gone.
 */

typedef struct {
    ngx_queue_t                      queue;     /* of those who wait */
    ngx_pool_t                      *pool;      /* the owner's */
    void                           (*handler)(void *data);
    void                            *data;

    /*
     * What is wanted; as ngx_http_registry_cache_get() left it, so that a
     * copy that is there, its time being over, is used if nothing is better.
     * Set on return if rc is NGX_OK, with its bytes in the owner's pool.
     */
    ngx_http_registry_manifest_t     manifest;

    ngx_str_t                        name;      /* as the remote calls it */
    ngx_str_t                        via;       /* as of an ask */
    ngx_str_t                        authorization;

    ngx_int_t                        rc;        /* NGX_OK or NGX_ERROR */
    ngx_http_registry_fill_e         found;

    /* NGX_ERROR: as of the remote, 0 if it did not answer */
    ngx_uint_t                       status;
    ngx_str_t                        retry_after;
    ngx_http_registry_call_error_e   error;

    unsigned                         known:1;   /* there is a copy */
    unsigned                         waiting:1;
    unsigned                         starting:1;
    unsigned                         joined:1;
} ngx_http_registry_fill_t;


/* with a handler NGX_AGAIN; without one nobody waits.  NGX_ERROR: no memory */

ngx_int_t ngx_http_registry_fill_start(ngx_http_registry_fill_t *fill,
    ngx_http_registry_remote_t *remote);

/* what was pushed or purged is asked for again, by all workers and nodes */

void ngx_http_registry_fill_forget(ngx_http_registry_remote_t *remote,
    ngx_http_registry_manifest_t *manifest);

/* the same of what the nodes share alone */

void ngx_http_registry_fill_unshare(ngx_http_registry_remote_t *remote,
    ngx_http_registry_manifest_t *manifest);

/* nothing is called any more; the fill itself is the owner's memory */

void ngx_http_registry_fill_cancel(ngx_http_registry_fill_t *fill);


#endif /* NGX_HTTP_REGISTRY_FILL_H */
