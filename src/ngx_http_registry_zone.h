
/*
 * The module's shared memory: an index of entries by key with an LRU over
 * them, and what guards a late fill against a newer write.  It knows nothing
 * of what the entries mean.
 */


#ifndef NGX_HTTP_REGISTRY_ZONE_H
#define NGX_HTTP_REGISTRY_ZONE_H


#include <ngx_config.h>
#include <ngx_core.h>


/* the layout of what is shared; a change wants a new version */

#define NGX_HTTP_REGISTRY_ZONE_VERSION  4
#define NGX_HTTP_REGISTRY_ZONE_STRIPES  256
#define NGX_HTTP_REGISTRY_ZONE_MIN      (48 * ngx_pagesize)


typedef struct ngx_http_registry_chunk_s  ngx_http_registry_chunk_t;

struct ngx_http_registry_chunk_s {
    ngx_http_registry_chunk_t   *next;
    u_char                       data[1];
};


typedef struct {
    ngx_rbtree_node_t            node;      /* key: a hash of the key below */
    ngx_queue_t                  queue;
    ngx_msec_t                   checked;   /* when it was known to be true */
    ngx_msec_t                   used;
    size_t                       size;      /* of the body, in bytes */
    ngx_http_registry_chunk_t   *body;
    u_short                      key_len;
    u_short                      value_len;
    u_char                       fresh;     /* the owner's, 0 at first */
    u_char                       data[1];   /* key, then value */
} ngx_http_registry_entry_t;


/* what other mechanisms keep in the zone; the order is that of zone.c */

typedef enum {
    NGX_HTTP_REGISTRY_ZONE_WAKE = 0,
    NGX_HTTP_REGISTRY_ZONE_FLIGHT,
    NGX_HTTP_REGISTRY_ZONE_COUNT,
    NGX_HTTP_REGISTRY_ZONE_HEALTH,
    NGX_HTTP_REGISTRY_ZONE_PARTS
} ngx_http_registry_zone_part_e;


typedef struct {
    ngx_uint_t                   version;
    ngx_rbtree_t                 rbtree;
    ngx_rbtree_node_t            sentinel;
    ngx_queue_t                  queue;     /* the least recently used last */
    ngx_uint_t                   generation[NGX_HTTP_REGISTRY_ZONE_STRIPES];
    time_t                       changed[NGX_HTTP_REGISTRY_ZONE_STRIPES];
    uint32_t                     purges[NGX_HTTP_REGISTRY_ZONE_STRIPES];
    uint32_t                     epoch[NGX_HTTP_REGISTRY_ZONE_STRIPES];
    ngx_uint_t                   entries;
    ngx_uint_t                   evicted;   /* since the start */
    void                        *part[NGX_HTTP_REGISTRY_ZONE_PARTS];
} ngx_http_registry_shared_t;


typedef struct ngx_http_registry_wake_s        ngx_http_registry_wake_t;
typedef struct ngx_http_registry_zone_s        ngx_http_registry_zone_t;
typedef struct ngx_http_registry_process_s     ngx_http_registry_process_t;
typedef struct ngx_http_registry_count_name_s  ngx_http_registry_count_name_t;


struct ngx_http_registry_zone_s {
    ngx_http_registry_shared_t  *sh;
    ngx_slab_pool_t             *shpool;
    ngx_pool_t                  *pool;      /* of the cycle */
    ngx_http_registry_wake_t    *wake;      /* wake.c's own */

    /* count.c's own */
    ngx_http_registry_count_name_t  *names;
    ngx_http_registry_process_t     *process;
};


typedef struct {
    /* zeroed bytes that it wants in a zone so large, all at once */
    size_t                     (*size)(size_t zone);

    /*
     * In the master, for each cycle, and for "nginx -t".  "old" is NULL if
     * the memory is new; else it is the zone of the cycle before, which may
     * go on if this one fails.
     */
    ngx_int_t                  (*init)(ngx_http_registry_zone_t *zone,
                                       ngx_http_registry_zone_t *old,
                                       ngx_log_t *log);
} ngx_http_registry_zone_part_t;


ngx_int_t ngx_http_registry_zone_init(ngx_shm_zone_t *shm_zone, void *data);

#define ngx_http_registry_zone_lock(zone)                                     \
    ngx_shmtx_lock(&(zone)->shpool->mutex)
#define ngx_http_registry_zone_unlock(zone)                                   \
    ngx_shmtx_unlock(&(zone)->shpool->mutex)

/* all that follow are called with the lock held */

/* NULL if there is none */

ngx_http_registry_entry_t *ngx_http_registry_zone_find(
    ngx_http_registry_zone_t *zone, ngx_str_t *key, uint32_t hash);

/* moves it to the front of the LRU, at most once a second */

void ngx_http_registry_zone_touch(ngx_http_registry_zone_t *zone,
    ngx_http_registry_entry_t *entry);

/*
 * Memory for others, of at most a page; made free by evicting entries, but not
 * "keep".  NULL if there is none even so.
 */

void *ngx_http_registry_zone_alloc(ngx_http_registry_zone_t *zone,
    size_t size, ngx_http_registry_entry_t *keep);

/*
 * Puts an entry in the place of the one with the same key, making room for
 * it by evicting others.  NULL if there is no room even so.
 */

ngx_http_registry_entry_t *ngx_http_registry_zone_put(
    ngx_http_registry_zone_t *zone, ngx_str_t *key, uint32_t hash,
    ngx_str_t *value, ngx_str_t *body);

void ngx_http_registry_zone_delete(ngx_http_registry_zone_t *zone,
    ngx_http_registry_entry_t *entry);

/*
 * Zeroed memory that is never freed, at the expense of as many entries as it
 * takes; NULL if the zone is too small for it.
 */

void *ngx_http_registry_zone_reserve(ngx_http_registry_zone_t *zone,
    size_t size);

/* the body, copied to "to", which has room for entry->size bytes */

void ngx_http_registry_zone_copy(ngx_http_registry_entry_t *entry,
    u_char *to);


/*
 * A number that ngx_http_registry_zone_changed() moves on.  Who fills in what
 * was read elsewhere takes it before it reads, and fills in only if it is
 * still the same then.
 */

#define ngx_http_registry_zone_generation(zone, hash)                         \
    ((zone)->sh->generation[(hash) % NGX_HTTP_REGISTRY_ZONE_STRIPES])

void ngx_http_registry_zone_changed(ngx_http_registry_zone_t *zone,
    uint32_t hash);

/* when that was last called, in seconds; 0: never */

#define ngx_http_registry_zone_when(zone, hash)                               \
    ((zone)->sh->changed[(hash) % NGX_HTTP_REGISTRY_ZONE_STRIPES])

/* two more numbers to move on, which may be read without the lock */

#define ngx_http_registry_zone_purges(zone, hash)                             \
    ((zone)->sh->purges[(hash) % NGX_HTTP_REGISTRY_ZONE_STRIPES])

/* this one is a part of keys: what was put in before is not found any more */

#define ngx_http_registry_zone_epoch(zone, hash)                              \
    ((zone)->sh->epoch[(hash) % NGX_HTTP_REGISTRY_ZONE_STRIPES])


#endif /* NGX_HTTP_REGISTRY_ZONE_H */
