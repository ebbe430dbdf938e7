
/*
 * The two halves of the limits of a cache among themselves: what workers and
 * the cache manager process share.
 */


#ifndef NGX_HTTP_REGISTRY_EVICT_SHARED_H
#define NGX_HTTP_REGISTRY_EVICT_SHARED_H


#include "ngx_http_registry_evict.h"

#include "registry_lru.h"


#define NGX_HTTP_REGISTRY_EVICT_BLOCK  4096     /* bytes */
#define NGX_HTTP_REGISTRY_EVICT_RING   512


typedef struct {
    u_char         key[REGISTRY_HASH_MAX];      /* the digest */
    uint32_t       algorithm;
    uint32_t       blocks;                      /* 0: it was removed */
    uint32_t       time;                        /* seconds */
} ngx_http_registry_evict_item_t;


struct ngx_http_registry_evict_shared_s {

    /* under the mutex, in blocks; what is in the ring is counted already */
    ngx_atomic_t   size;

    /* the rest of this half is the manager's */
    ngx_atomic_t   limit;       /* a larger size wants it to be woken */
    ngx_atomic_t   touch;       /* seconds: how often a use is kept */
    ngx_atomic_t   blobs;
    ngx_atomic_t   evictions;
    ngx_atomic_t   evicted;     /* blocks */
    ngx_atomic_t   indexed;
    ngx_atomic_t   estimated;   /* "size" means something */

    /* under the mutex */
    ngx_uint_t     managers;    /* that there were: the last one counts */
    ngx_uint_t     walks;       /* that have found out the size */
    ngx_uint_t     head;        /* counting on and on */
    ngx_uint_t     tail;
    ngx_uint_t     lost;        /* one did not fit: only the disk knows it */

    ngx_http_registry_evict_item_t  ring[NGX_HTTP_REGISTRY_EVICT_RING];
};


/* a blob takes whole blocks, and its directory takes one, as on ext4 */

#define ngx_http_registry_evict_blocks(size)                                  \
    ((uint32_t) ngx_min(((size) + NGX_HTTP_REGISTRY_EVICT_BLOCK - 1)          \
                        / NGX_HTTP_REGISTRY_EVICT_BLOCK + 1,                  \
                        REGISTRY_LRU_SIZE_MAX))


/* logs what an operation met with, not more than once a minute */

void ngx_http_registry_evict_failed(ngx_http_registry_op_t *op);


#endif /* NGX_HTTP_REGISTRY_EVICT_SHARED_H */
