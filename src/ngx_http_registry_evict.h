
/*
 * Limits of a cache: what was not used for the longest time is removed when
 * it has grown too large, or the disk too full, and what was not used for too
 * long in any case.  Workers say what they put in and use; the cache manager
 * process removes.
 */


#ifndef NGX_HTTP_REGISTRY_EVICT_H
#define NGX_HTTP_REGISTRY_EVICT_H


#include "ngx_http_registry_store.h"
#include "ngx_http_registry_wake.h"
#include "ngx_http_registry_zone.h"


typedef struct ngx_http_registry_evict_shared_s
    ngx_http_registry_evict_shared_t;

typedef struct ngx_http_registry_evict_manager_s
    ngx_http_registry_evict_manager_t;

typedef struct ngx_http_registry_evict_seen_s
    ngx_http_registry_evict_seen_t;


struct ngx_http_registry_evict_s {
    off_t                               max_size;   /* bytes; 0: no limit */
    off_t                               min_free;   /* bytes; 0: none */
    time_t                              inactive;   /* seconds; 0: for ever */
    ngx_http_registry_adopt_t          *adopt;      /* or NULL */

    /* evict.c's own */
    ngx_http_registry_zone_t           *zone;       /* whose wake to use */
    ngx_shm_zone_t                     *shm_zone;
    ngx_slab_pool_t                    *shpool;
    ngx_http_registry_evict_shared_t   *sh;
    ngx_http_registry_evict_seen_t     *seen;       /* by this process */
    time_t                              logged;
    ngx_http_registry_evict_manager_t  *manager;    /* of that process */
};


/*
 * For a status page.  Sizes are of the blobs with what a file system takes
 * for them: whole blocks of 4 KiB, and one for the directory of each.
 */

typedef struct {
    off_t        size;          /* bytes; an estimate until "indexed" */
    ngx_uint_t   blobs;         /* that the manager has found so far */
    ngx_uint_t   evictions;     /* since nginx was started */
    off_t        evicted;       /* bytes, likewise */
    ngx_uint_t   indexed;       /* 1: all blobs are known */
} ngx_http_registry_evict_status_t;


/* settings that are not set yet; NULL if memory is short */

ngx_http_registry_evict_t *ngx_http_registry_evict_create(ngx_conf_t *cf);

/*
 * When the store's parameters have been read: their defaults, and shared
 * memory that belongs to the module "tag".
 */

ngx_int_t ngx_http_registry_evict_init(ngx_conf_t *cf,
    ngx_http_registry_store_t *store, ngx_http_registry_zone_t *zone,
    void *tag);


/*
 * In workers, and the first one also where blobs are adopted.  For a store
 * that is no cache these do nothing.
 *
 * A blob or a manifest of so many bytes was published, and used at that time:
 * after it has its final name, and also if it had it before.
 */

void ngx_http_registry_evict_added(ngx_http_registry_store_t *store,
    const registry_digest_t *digest, off_t size, time_t used);

/* its file was removed, by another one than the manager */

void ngx_http_registry_evict_removed(ngx_http_registry_store_t *store,
    const registry_digest_t *digest);

/*
 * A blob or a manifest was sent, from wherever.  To be called each time: it
 * is cheap.
 */

void ngx_http_registry_evict_used(ngx_http_registry_store_t *store,
    const registry_digest_t *digest);

/*
 * 1 if there is room for a blob of so many bytes that nobody waits for: it is
 * no larger than all of the cache may be, and the cache is within its limits,
 * or nearly, as it is while something is being removed.
 */

ngx_uint_t ngx_http_registry_evict_room(ngx_http_registry_store_t *store,
    off_t size);

/*
 * Room for what is going to be published: NGX_DECLINED if the cache is over
 * its limit by a thirty-second part, and 32 MiB at least, so that nothing
 * should be added until more was removed.  It is given back in any case, with
 * what was set here, and before _added(); what a worker that died has not
 * given back is so by the next walk over the cache.
 */

ngx_int_t ngx_http_registry_evict_reserve(ngx_http_registry_store_t *store,
    off_t size, ngx_uint_t *walks);
void ngx_http_registry_evict_unreserve(ngx_http_registry_store_t *store,
    off_t size, ngx_uint_t walks);

void ngx_http_registry_evict_status(ngx_http_registry_store_t *store,
    ngx_http_registry_evict_status_t *status);


/*
 * In the cache manager process: starts what goes on by events of its own
 * then.  May be called again.  Returns when that should be, in milliseconds.
 */

ngx_msec_t ngx_http_registry_evict_manager(ngx_http_registry_store_t *store);


#endif /* NGX_HTTP_REGISTRY_EVICT_H */
