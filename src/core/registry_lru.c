
/*
 * A binary heap by last use over a hash table by key.  Entries are in one
 * array and refer to each other by index: half the size of pointers, and
 * memory that was never reached by growing is never touched.
 */


#include <stdlib.h>
#include <string.h>

#include "registry_lru.h"


#define REGISTRY_LRU_FIRST  1024            /* entries; a power of two */
#define REGISTRY_LRU_MAX    0x80000000u
#define REGISTRY_LRU_NONE   0xffffffffu


typedef struct {
    uint32_t        used;
    unsigned        size:31;
    unsigned        mark:1;
    uint32_t        next;       /* of its bucket, or of the free ones */
    uint32_t        place;      /* in the heap; NONE: it is free */
    unsigned char   key[];      /* key_len */
} registry_lru_node_t;


#define registry_lru_stride(lru)                                              \
    (offsetof(registry_lru_node_t, key) + (lru)->key_len)

#define registry_lru_node(lru, i)                                             \
    ((registry_lru_node_t *) (void *)                                         \
     ((lru)->entries + (size_t) (i) * registry_lru_stride(lru)))


static registry_status_e registry_lru_grow(registry_lru_t *lru);
static uint32_t *registry_lru_bucket(const registry_lru_t *lru,
    const unsigned char *key);
static uint32_t *registry_lru_find(const registry_lru_t *lru,
    const unsigned char *key);
static void registry_lru_unlink(registry_lru_t *lru, uint32_t *link);
static void registry_lru_settle(registry_lru_t *lru, uint32_t i);
static void registry_lru_place(registry_lru_t *lru, uint32_t place,
    uint32_t i);


registry_lru_t *
registry_lru_create(size_t key_len)
{
    registry_lru_t  *lru;

    lru = calloc(1, sizeof(registry_lru_t));
    if (lru == NULL) {
        return NULL;
    }

    lru->key_len = key_len;
    lru->free = REGISTRY_LRU_NONE;

    return lru;
}


void
registry_lru_destroy(registry_lru_t *lru)
{
    if (lru == NULL) {
        return;
    }

    free(lru->entries);
    free(lru->heap);
    free(lru->buckets);
    free(lru);
}


registry_status_e
registry_lru_put(registry_lru_t *lru, const unsigned char *key, uint32_t size,
    uint32_t used, uint32_t *old)
{
    uint32_t              i, *link;
    registry_lru_node_t  *node;

    link = registry_lru_find(lru, key);

    if (link) {
        i = *link;
        node = registry_lru_node(lru, i);
        *old = node->size;

    } else {
        if (lru->free == REGISTRY_LRU_NONE && lru->made == lru->allocated
            && registry_lru_grow(lru) != REGISTRY_OK)
        {
            return REGISTRY_NOMEM;
        }

        i = lru->free;

        if (i == REGISTRY_LRU_NONE) {
            i = lru->made++;

        } else {
            lru->free = registry_lru_node(lru, i)->next;
        }

        node = registry_lru_node(lru, i);
        memcpy(node->key, key, lru->key_len);

        link = registry_lru_bucket(lru, key);
        node->next = *link;
        *link = i;

        registry_lru_place(lru, (uint32_t) lru->count++, i);
        *old = 0;
    }

    lru->size += (uint64_t) size - *old;

    node->size = size & REGISTRY_LRU_SIZE_MAX;
    node->used = used;
    node->mark = lru->mark & 1;

    registry_lru_settle(lru, i);

    return REGISTRY_OK;
}


registry_status_e
registry_lru_oldest(const registry_lru_t *lru, registry_lru_entry_t *entry)
{
    registry_lru_node_t  *node;

    if (lru->count == 0) {
        return REGISTRY_DECLINED;
    }

    node = registry_lru_node(lru, lru->heap[0]);

    entry->key = node->key;
    entry->size = node->size;
    entry->used = node->used;

    return REGISTRY_OK;
}


registry_status_e
registry_lru_remove(registry_lru_t *lru, const unsigned char *key)
{
    uint32_t  *link;

    link = registry_lru_find(lru, key);

    if (link == NULL) {
        return REGISTRY_DECLINED;
    }

    registry_lru_unlink(lru, link);

    return REGISTRY_OK;
}


void
registry_lru_begin(registry_lru_t *lru)
{
    lru->mark ^= 1;
}


void
registry_lru_end(registry_lru_t *lru)
{
    uint32_t              i;
    registry_lru_node_t  *node;

    for (i = 0; i < lru->made; i++) {
        node = registry_lru_node(lru, i);

        if (node->place != REGISTRY_LRU_NONE && node->mark != lru->mark) {
            registry_lru_unlink(lru, registry_lru_find(lru, node->key));
        }
    }
}


static registry_status_e
registry_lru_grow(registry_lru_t *lru)
{
    void                 *p;
    uint32_t              i, n, *link, *buckets;
    registry_lru_node_t  *node;

    if (lru->allocated == REGISTRY_LRU_MAX) {
        return REGISTRY_NOMEM;
    }

    n = lru->allocated ? lru->allocated * 2 : REGISTRY_LRU_FIRST;

    p = realloc(lru->entries, (size_t) n * registry_lru_stride(lru));
    if (p == NULL) {
        return REGISTRY_NOMEM;
    }

    lru->entries = p;

    p = realloc(lru->heap, (size_t) n * sizeof(uint32_t));
    if (p == NULL) {
        return REGISTRY_NOMEM;
    }

    lru->heap = p;

    buckets = malloc((size_t) n * sizeof(uint32_t));
    if (buckets == NULL) {
        return REGISTRY_NOMEM;
    }

    memset(buckets, 0xff, (size_t) n * sizeof(uint32_t));

    free(lru->buckets);
    lru->buckets = buckets;
    lru->allocated = n;

    /* it grows when none is free: all that were made are in use */

    for (i = 0; i < lru->made; i++) {
        node = registry_lru_node(lru, i);
        link = registry_lru_bucket(lru, node->key);
        node->next = *link;
        *link = i;
    }

    return REGISTRY_OK;
}


static uint32_t *
registry_lru_bucket(const registry_lru_t *lru, const unsigned char *key)
{
    uint32_t  hash;

    memcpy(&hash, key, sizeof(uint32_t));

    return &lru->buckets[hash & (lru->allocated - 1)];
}


/* where the index of an entry stands, NULL if there is none */

static uint32_t *
registry_lru_find(const registry_lru_t *lru, const unsigned char *key)
{
    uint32_t             *link;
    registry_lru_node_t  *node;

    if (lru->count == 0) {
        return NULL;
    }

    for (link = registry_lru_bucket(lru, key);
         *link != REGISTRY_LRU_NONE;
         link = &node->next)
    {
        node = registry_lru_node(lru, *link);

        if (memcmp(node->key, key, lru->key_len) == 0) {
            return link;
        }
    }

    return NULL;
}


static void
registry_lru_unlink(registry_lru_t *lru, uint32_t *link)
{
    uint32_t              i, last, place;
    registry_lru_node_t  *node;

    i = *link;
    node = registry_lru_node(lru, i);
    place = node->place;

    *link = node->next;

    node->next = lru->free;
    node->place = REGISTRY_LRU_NONE;
    lru->free = i;

    lru->size -= node->size;
    lru->count--;

    /* the last of the heap takes its place */

    last = lru->heap[lru->count];

    if (last != i) {
        registry_lru_place(lru, place, last);
        registry_lru_settle(lru, last);
    }
}


/* moves an entry up or down the heap, to where it belongs */

static void
registry_lru_settle(registry_lru_t *lru, uint32_t i)
{
    uint32_t  used, place, other;

    place = registry_lru_node(lru, i)->place;
    used = registry_lru_node(lru, i)->used;

    while (place) {
        other = (place - 1) / 2;

        if (registry_lru_node(lru, lru->heap[other])->used <= used) {
            break;
        }

        registry_lru_place(lru, place, lru->heap[other]);
        place = other;
    }

    for ( ;; ) {
        other = place * 2 + 1;

        if (other >= lru->count) {
            break;
        }

        if (other + 1 < lru->count
            && registry_lru_node(lru, lru->heap[other + 1])->used
               < registry_lru_node(lru, lru->heap[other])->used)
        {
            other++;
        }

        if (registry_lru_node(lru, lru->heap[other])->used >= used) {
            break;
        }

        registry_lru_place(lru, place, lru->heap[other]);
        place = other;
    }

    registry_lru_place(lru, place, i);
}


static void
registry_lru_place(registry_lru_t *lru, uint32_t place, uint32_t i)
{
    lru->heap[place] = i;
    registry_lru_node(lru, i)->place = place;
}
