
/*
 * What both sides of a cache's limits share: a total of its size, and a ring
 * in which workers tell the manager what they put in.  The manager's side is
 * in evict_manager.c.
 */


#include "ngx_http_registry_evict_shared.h"


#define NGX_HTTP_REGISTRY_EVICT_PAGES  8    /* beside what is shared */
#define NGX_HTTP_REGISTRY_EVICT_SEEN   4096
#define NGX_HTTP_REGISTRY_EVICT_EXCESS                                        \
    (32 * 1024 * 1024 / NGX_HTTP_REGISTRY_EVICT_BLOCK)


/* what this process said was used, by a hash of its digest */

struct ngx_http_registry_evict_seen_s {
    uint32_t    hash;
    uint32_t    time;       /* seconds */
};


static ngx_int_t ngx_http_registry_evict_zone_init(ngx_shm_zone_t *shm_zone,
    void *data);
static void ngx_http_registry_evict_tell(ngx_http_registry_store_t *store,
    const registry_digest_t *digest, uint32_t blocks, time_t used);
static void ngx_http_registry_evict_wake(ngx_http_registry_evict_t *evict);
static void ngx_http_registry_evict_touched(void *data);


ngx_http_registry_evict_t *
ngx_http_registry_evict_create(ngx_conf_t *cf)
{
    ngx_http_registry_evict_t  *evict;

    evict = ngx_pcalloc(cf->pool, sizeof(ngx_http_registry_evict_t));
    if (evict == NULL) {
        return NULL;
    }

    evict->max_size = NGX_CONF_UNSET;
    evict->min_free = NGX_CONF_UNSET;
    evict->inactive = NGX_CONF_UNSET;

    return evict;
}


/*
 * The memory is a zone of its own, named by the path: it goes on with the
 * cache, whatever the configuration calls that, and a worker that dies with
 * the mutex is dealt with by nginx.
 */

ngx_int_t
ngx_http_registry_evict_init(ngx_conf_t *cf, ngx_http_registry_store_t *store,
    ngx_http_registry_zone_t *zone, void *tag)
{
    size_t                      size;
    ngx_http_registry_evict_t  *evict;

    evict = store->evict;

    ngx_conf_init_value(evict->max_size, 0);
    ngx_conf_init_value(evict->min_free, 0);
    ngx_conf_init_value(evict->inactive, 0);

    evict->seen = ngx_pcalloc(cf->pool, NGX_HTTP_REGISTRY_EVICT_SEEN
                                   * sizeof(ngx_http_registry_evict_seen_t));
    if (evict->seen == NULL) {
        return NGX_ERROR;
    }

    size = ngx_align(sizeof(ngx_http_registry_evict_shared_t), ngx_pagesize)
           + NGX_HTTP_REGISTRY_EVICT_PAGES * ngx_pagesize;

    evict->zone = zone;
    evict->shm_zone = ngx_shared_memory_add(cf, &store->path, size, tag);

    if (evict->shm_zone == NULL) {
        return NGX_ERROR;
    }

    evict->shm_zone->init = ngx_http_registry_evict_zone_init;
    evict->shm_zone->data = evict;

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_evict_zone_init(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_http_registry_evict_t  *old = data;

    ngx_http_registry_evict_t         *evict;
    ngx_http_registry_evict_shared_t  *sh;

    evict = shm_zone->data;
    evict->shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    if (old) {
        evict->sh = old->sh;
        return NGX_OK;
    }

    if (shm_zone->shm.exists) {
        evict->sh = evict->shpool->data;
        return NGX_OK;
    }

    sh = ngx_slab_calloc(evict->shpool,
                         sizeof(ngx_http_registry_evict_shared_t));
    if (sh == NULL) {
        return NGX_ERROR;
    }

    sh->touch = 1;
    sh->limit = NGX_MAX_INT_T_VALUE;

    evict->sh = sh;
    evict->shpool->data = sh;

    return NGX_OK;
}


void
ngx_http_registry_evict_added(ngx_http_registry_store_t *store,
    const registry_digest_t *digest, off_t size, time_t used)
{
    ngx_http_registry_evict_tell(store, digest,
                                 ngx_http_registry_evict_blocks(size), used);
}


void
ngx_http_registry_evict_removed(ngx_http_registry_store_t *store,
    const registry_digest_t *digest)
{
    ngx_http_registry_evict_tell(store, digest, 0, 0);
}


static void
ngx_http_registry_evict_tell(ngx_http_registry_store_t *store,
    const registry_digest_t *digest, uint32_t blocks, time_t used)
{
    ngx_uint_t                         n, wake;
    ngx_http_registry_evict_t         *evict;
    ngx_http_registry_evict_item_t     item;
    ngx_http_registry_evict_shared_t  *sh;

    evict = store->evict;

    if (evict == NULL) {
        return;
    }

    sh = evict->sh;

    (void) registry_digest_bytes(digest, item.key);
    item.algorithm = digest->algorithm;
    item.blocks = blocks;
    item.time = (uint32_t) used;

    ngx_shmtx_lock(&evict->shpool->mutex);

    sh->size += item.blocks;

    n = sh->head - sh->tail;

    if (n < NGX_HTTP_REGISTRY_EVICT_RING) {
        sh->ring[sh->head++ % NGX_HTTP_REGISTRY_EVICT_RING] = item;

    } else {
        sh->lost = 1;
    }

    wake = (sh->size > sh->limit || n >= NGX_HTTP_REGISTRY_EVICT_RING / 2);

    ngx_shmtx_unlock(&evict->shpool->mutex);

    if (wake) {
        ngx_http_registry_evict_wake(evict);
    }
}


/* with "master_process off" this process is the manager */

static void
ngx_http_registry_evict_wake(ngx_http_registry_evict_t *evict)
{
    ngx_http_registry_wake_signal(evict->zone,
                                  (ngx_process == NGX_PROCESS_SINGLE)
                                      ? ngx_http_registry_wake_slot()
                                      : NGX_HTTP_REGISTRY_WAKE_MANAGER);
}


/*
 * Only now and then is it told to the file: not if this process did lately,
 * nor, as the task sees, if another one did.
 */

void
ngx_http_registry_evict_used(ngx_http_registry_store_t *store,
    const registry_digest_t *digest)
{
    uint32_t                         hash, now, touch;
    ngx_int_t                        rc;
    ngx_http_registry_op_t          *op;
    ngx_http_registry_evict_t       *evict;
    ngx_http_registry_evict_seen_t  *seen;

    static ngx_str_t                 none = ngx_string("");

    evict = store->evict;

    if (evict == NULL) {
        return;
    }

    now = (uint32_t) ngx_time();
    touch = (uint32_t) evict->sh->touch;

    /* a part of a digest is as good as the whole */

    hash = ngx_murmur_hash2((u_char *) registry_digest_hex(digest), 16);
    seen = &evict->seen[hash % NGX_HTTP_REGISTRY_EVICT_SEEN];

    if (seen->hash == hash && now - seen->time < touch) {
        return;
    }

    op = ngx_http_registry_op_create(store, NGX_HTTP_REGISTRY_OP_BLOB_TOUCH,
                                     &none, ngx_cycle->log);
    if (op == NULL) {
        return;
    }

    op->digest = *digest;
    op->limit = touch;
    op->task.handler = ngx_http_registry_evict_touched;
    op->task.data = op;

    rc = ngx_http_registry_op_start(op);

    if (rc == NGX_ERROR) {

        /* the threads are busy: the next use will do */

        ngx_http_registry_op_free(op);
        return;
    }

    seen->hash = hash;
    seen->time = now;

    if (rc == NGX_OK) {
        ngx_http_registry_evict_touched(op);
    }
}


static void
ngx_http_registry_evict_touched(void *data)
{
    ngx_http_registry_op_t  *op = data;

    if (op->status == NGX_ERROR) {
        ngx_http_registry_evict_failed(op);
    }

    ngx_http_registry_op_free(op);
}


void
ngx_http_registry_evict_failed(ngx_http_registry_op_t *op)
{
    ngx_http_registry_evict_t  *evict;

    evict = op->store->evict;

    if (evict->logged && ngx_time() - evict->logged < 60) {
        return;
    }

    evict->logged = ngx_time();

    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, op->err,
                  "%s \"%s\" of registry_cache \"%V\" failed", op->call,
                  op->path, &op->store->name);
}


ngx_uint_t
ngx_http_registry_evict_room(ngx_http_registry_store_t *store, off_t size)
{
    ngx_atomic_uint_t                  limit;
    ngx_http_registry_evict_t         *evict;
    ngx_http_registry_evict_shared_t  *sh;

    evict = store->evict;

    if (evict == NULL) {
        return 1;
    }

    sh = evict->sh;
    limit = sh->limit;

    return ngx_http_registry_evict_blocks(size) <= limit
           && sh->size <= limit + limit / 32;
}


ngx_int_t
ngx_http_registry_evict_reserve(ngx_http_registry_store_t *store,
    off_t size, ngx_uint_t *walks)
{
    ngx_int_t                          rc;
    ngx_uint_t                         wake;
    ngx_atomic_uint_t                  excess;
    ngx_http_registry_evict_t         *evict;
    ngx_http_registry_evict_shared_t  *sh;

    evict = store->evict;

    if (evict == NULL) {
        return NGX_OK;
    }

    sh = evict->sh;
    excess = ngx_max(sh->limit / 32, NGX_HTTP_REGISTRY_EVICT_EXCESS);

    ngx_shmtx_lock(&evict->shpool->mutex);

    if (sh->size > sh->limit && sh->size - sh->limit > excess) {
        rc = NGX_DECLINED;

    } else {
        sh->size += ngx_http_registry_evict_blocks(size);
        *walks = sh->walks;
        rc = NGX_OK;
    }

    wake = (sh->size > sh->limit);

    ngx_shmtx_unlock(&evict->shpool->mutex);

    if (wake) {
        ngx_http_registry_evict_wake(evict);
    }

    return rc;
}


void
ngx_http_registry_evict_unreserve(ngx_http_registry_store_t *store,
    off_t size, ngx_uint_t walks)
{
    ngx_uint_t                  blocks;
    ngx_http_registry_evict_t  *evict;

    evict = store->evict;

    if (evict == NULL) {
        return;
    }

    blocks = ngx_http_registry_evict_blocks(size);

    ngx_shmtx_lock(&evict->shpool->mutex);

    /* a walk that has ended since has counted what is there, and no more */

    if (evict->sh->walks == walks) {
        evict->sh->size -= ngx_min(evict->sh->size, blocks);
    }

    ngx_shmtx_unlock(&evict->shpool->mutex);
}


void
ngx_http_registry_evict_status(ngx_http_registry_store_t *store,
    ngx_http_registry_evict_status_t *status)
{
    ngx_http_registry_evict_shared_t  *sh;

    sh = store->evict->sh;

    status->size = (off_t) sh->size * NGX_HTTP_REGISTRY_EVICT_BLOCK;
    status->blobs = sh->blobs;
    status->evictions = sh->evictions;
    status->evicted = (off_t) sh->evicted * NGX_HTTP_REGISTRY_EVICT_BLOCK;
    status->indexed = sh->indexed;
}
