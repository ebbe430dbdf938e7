
/*
 * Shared memory.  Bodies are chains of pieces no larger than a page, so that
 * a zone in use for months does not want for a run of free pages.
 */


#include "ngx_http_registry_count.h"
#include "ngx_http_registry_flight.h"
#include "ngx_http_registry_health.h"
#include "ngx_http_registry_wake.h"
#include "ngx_http_registry_zone.h"


/* how many entries one entry may cost before it is given up */

#define NGX_HTTP_REGISTRY_ZONE_EVICT  64


static ngx_int_t ngx_http_registry_zone_create(
    ngx_http_registry_zone_t *zone, size_t size);
static ngx_int_t ngx_http_registry_zone_body(ngx_http_registry_zone_t *zone,
    ngx_http_registry_entry_t *entry, ngx_str_t *body);
static void ngx_http_registry_zone_insert(ngx_rbtree_node_t *temp,
    ngx_rbtree_node_t *node, ngx_rbtree_node_t *sentinel);
static ngx_int_t ngx_http_registry_zone_cmp(ngx_http_registry_entry_t *one,
    ngx_http_registry_entry_t *two);


static const ngx_http_registry_zone_part_t *const
    ngx_http_registry_zone_parts[NGX_HTTP_REGISTRY_ZONE_PARTS] =
{
    [NGX_HTTP_REGISTRY_ZONE_WAKE] = &ngx_http_registry_wake_part,
    [NGX_HTTP_REGISTRY_ZONE_FLIGHT] = &ngx_http_registry_flight_part,
    [NGX_HTTP_REGISTRY_ZONE_COUNT] = &ngx_http_registry_count_part,
    [NGX_HTTP_REGISTRY_ZONE_HEALTH] = &ngx_http_registry_health_part
};


ngx_int_t
ngx_http_registry_zone_init(ngx_shm_zone_t *shm_zone, void *data)
{
    ngx_http_registry_zone_t  *old = data;
    ngx_http_registry_zone_t  *zone;

    ngx_uint_t  i;

    zone = shm_zone->data;
    zone->shpool = (ngx_slab_pool_t *) shm_zone->shm.addr;

    if (old) {
        zone->sh = old->sh;

    } else if (shm_zone->shm.exists) {
        zone->sh = zone->shpool->data;

        if (zone->sh->version != NGX_HTTP_REGISTRY_ZONE_VERSION) {
            ngx_log_error(NGX_LOG_EMERG, shm_zone->shm.log, 0,
                          "registry_zone of another version");
            return NGX_ERROR;
        }

    } else if (ngx_http_registry_zone_create(zone, shm_zone->shm.size)
               != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < NGX_HTTP_REGISTRY_ZONE_PARTS; i++) {
        if (ngx_http_registry_zone_parts[i]->init(zone, old,
                                                  shm_zone->shm.log)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_zone_create(ngx_http_registry_zone_t *zone, size_t size)
{
    size_t                       n;
    ngx_uint_t                   i;
    ngx_http_registry_shared_t  *sh;

    sh = ngx_slab_calloc(zone->shpool, sizeof(ngx_http_registry_shared_t));
    if (sh == NULL) {
        return NGX_ERROR;
    }

    sh->version = NGX_HTTP_REGISTRY_ZONE_VERSION;
    ngx_rbtree_init(&sh->rbtree, &sh->sentinel, ngx_http_registry_zone_insert);
    ngx_queue_init(&sh->queue);

    for (i = 0; i < NGX_HTTP_REGISTRY_ZONE_PARTS; i++) {
        n = ngx_http_registry_zone_parts[i]->size(size);

        sh->part[i] = ngx_slab_calloc(zone->shpool, n);
        if (sh->part[i] == NULL) {
            return NGX_ERROR;
        }
    }

    zone->sh = sh;
    zone->shpool->data = sh;

    /* a full zone is its normal state */

    zone->shpool->log_nomem = 0;

    return NGX_OK;
}


ngx_http_registry_entry_t *
ngx_http_registry_zone_find(ngx_http_registry_zone_t *zone, ngx_str_t *key,
    uint32_t hash)
{
    ngx_int_t                   rc;
    ngx_rbtree_node_t          *node, *sentinel;
    ngx_http_registry_entry_t  *entry;

    node = zone->sh->rbtree.root;
    sentinel = zone->sh->rbtree.sentinel;

    while (node != sentinel) {

        if (hash != node->key) {
            node = (hash < node->key) ? node->left : node->right;
            continue;
        }

        entry = (ngx_http_registry_entry_t *) node;

        rc = ngx_memn2cmp(key->data, entry->data, key->len, entry->key_len);

        if (rc == 0) {
            return entry;
        }

        node = (rc < 0) ? node->left : node->right;
    }

    return NULL;
}


void
ngx_http_registry_zone_touch(ngx_http_registry_zone_t *zone,
    ngx_http_registry_entry_t *entry)
{
    if ((ngx_msec_int_t) (ngx_current_msec - entry->used) < 1000) {
        return;
    }

    entry->used = ngx_current_msec;

    ngx_queue_remove(&entry->queue);
    ngx_queue_insert_head(&zone->sh->queue, &entry->queue);
}


ngx_http_registry_entry_t *
ngx_http_registry_zone_put(ngx_http_registry_zone_t *zone, ngx_str_t *key,
    uint32_t hash, ngx_str_t *value, ngx_str_t *body)
{
    size_t                      size;
    ngx_http_registry_entry_t  *entry;

    entry = ngx_http_registry_zone_find(zone, key, hash);

    if (entry) {
        ngx_http_registry_zone_delete(zone, entry);
    }

    size = offsetof(ngx_http_registry_entry_t, data) + key->len + value->len;

    entry = ngx_http_registry_zone_alloc(zone, size, NULL);
    if (entry == NULL) {
        return NULL;
    }

    entry->node.key = hash;
    entry->size = body->len;
    entry->body = NULL;
    entry->checked = ngx_current_msec;
    entry->used = ngx_current_msec;
    entry->key_len = (u_short) key->len;
    entry->value_len = (u_short) value->len;
    entry->fresh = 0;

    ngx_memcpy(ngx_cpymem(entry->data, key->data, key->len), value->data,
               value->len);

    ngx_rbtree_insert(&zone->sh->rbtree, &entry->node);
    ngx_queue_insert_head(&zone->sh->queue, &entry->queue);
    zone->sh->entries++;

    if (ngx_http_registry_zone_body(zone, entry, body) != NGX_OK) {
        ngx_http_registry_zone_delete(zone, entry);
        return NULL;
    }

    return entry;
}


static ngx_int_t
ngx_http_registry_zone_body(ngx_http_registry_zone_t *zone,
    ngx_http_registry_entry_t *entry, ngx_str_t *body)
{
    u_char                      *p;
    size_t                       n, left;
    ngx_http_registry_chunk_t   *chunk, **last;

    p = body->data;
    left = body->len;
    last = &entry->body;

    while (left) {
        n = ngx_min(left, ngx_pagesize
                          - offsetof(ngx_http_registry_chunk_t, data));

        chunk = ngx_http_registry_zone_alloc(zone,
                                  offsetof(ngx_http_registry_chunk_t, data) + n,
                                  entry);
        if (chunk == NULL) {
            return NGX_ERROR;
        }

        chunk->next = NULL;
        ngx_memcpy(chunk->data, p, n);

        *last = chunk;
        last = &chunk->next;

        p += n;
        left -= n;
    }

    return NGX_OK;
}


void
ngx_http_registry_zone_delete(ngx_http_registry_zone_t *zone,
    ngx_http_registry_entry_t *entry)
{
    ngx_http_registry_chunk_t  *chunk, *next;

    for (chunk = entry->body; chunk; chunk = next) {
        next = chunk->next;
        ngx_slab_free_locked(zone->shpool, chunk);
    }

    ngx_rbtree_delete(&zone->sh->rbtree, &entry->node);
    ngx_queue_remove(&entry->queue);
    zone->sh->entries--;
    ngx_slab_free_locked(zone->shpool, entry);
}


void
ngx_http_registry_zone_copy(ngx_http_registry_entry_t *entry, u_char *to)
{
    size_t                      n, left;
    ngx_http_registry_chunk_t  *chunk;

    left = entry->size;

    for (chunk = entry->body; left; chunk = chunk->next) {
        n = ngx_min(left, ngx_pagesize
                          - offsetof(ngx_http_registry_chunk_t, data));
        to = ngx_cpymem(to, chunk->data, n);
        left -= n;
    }
}


void
ngx_http_registry_zone_changed(ngx_http_registry_zone_t *zone, uint32_t hash)
{
    hash %= NGX_HTTP_REGISTRY_ZONE_STRIPES;

    zone->sh->generation[hash]++;
    zone->sh->changed[hash] = ngx_time();
}


void *
ngx_http_registry_zone_reserve(ngx_http_registry_zone_t *zone, size_t size)
{
    void  *p;

    do {
        p = ngx_http_registry_zone_alloc(zone, size, NULL);
    } while (p == NULL && !ngx_queue_empty(&zone->sh->queue));

    if (p) {
        ngx_memzero(p, size);
    }

    return p;
}


void *
ngx_http_registry_zone_alloc(ngx_http_registry_zone_t *zone, size_t size,
    ngx_http_registry_entry_t *keep)
{
    void                       *p;
    ngx_uint_t                  i;
    ngx_queue_t                *q;
    ngx_http_registry_entry_t  *entry;

    for (i = 0; /* void */ ; i++) {

        p = ngx_slab_alloc_locked(zone->shpool, size);

        if (p || i == NGX_HTTP_REGISTRY_ZONE_EVICT
            || ngx_queue_empty(&zone->sh->queue))
        {
            return p;
        }

        q = ngx_queue_last(&zone->sh->queue);
        entry = ngx_queue_data(q, ngx_http_registry_entry_t, queue);

        if (entry == keep) {
            return NULL;
        }

        ngx_http_registry_zone_delete(zone, entry);
        zone->sh->evicted++;
    }
}


static void
ngx_http_registry_zone_insert(ngx_rbtree_node_t *temp,
    ngx_rbtree_node_t *node, ngx_rbtree_node_t *sentinel)
{
    ngx_rbtree_node_t  **p;

    for ( ;; ) {

        if (node->key != temp->key) {
            p = (node->key < temp->key) ? &temp->left : &temp->right;

        } else {
            p = (ngx_http_registry_zone_cmp((ngx_http_registry_entry_t *) node,
                                            (ngx_http_registry_entry_t *) temp)
                 < 0) ? &temp->left : &temp->right;
        }

        if (*p == sentinel) {
            break;
        }

        temp = *p;
    }

    *p = node;
    node->parent = temp;
    node->left = sentinel;
    node->right = sentinel;
    ngx_rbt_red(node);
}


static ngx_int_t
ngx_http_registry_zone_cmp(ngx_http_registry_entry_t *one,
    ngx_http_registry_entry_t *two)
{
    return ngx_memn2cmp(one->data, two->data, one->key_len, two->key_len);
}
