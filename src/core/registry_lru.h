
/*
 * What a cache has, in the order of its last use: which entry was not used
 * for the longest time is known at once, in whatever order they were put in.
 */


#ifndef REGISTRY_LRU_H
#define REGISTRY_LRU_H


#include "registry_types.h"


#define REGISTRY_LRU_SIZE_MAX  0x7fffffff


/* to be read by anybody, written by registry_lru_*() alone */

typedef struct {
    size_t           count;         /* entries */
    uint64_t         size;          /* of all of them */

    /* from here on registry_lru.c's own */
    size_t           key_len;
    uint32_t         allocated;     /* entries there is room for */
    uint32_t         made;          /* of them, in use or free again */
    uint32_t         free;          /* the first of a list */
    uint32_t         mark;          /* of this round */
    unsigned char   *entries;
    uint32_t        *heap;
    uint32_t        *buckets;
} registry_lru_t;


typedef struct {
    const unsigned char  *key;      /* until the next change */
    uint32_t              size;     /* in the caller's unit */
    uint32_t              used;     /* in the caller's unit, say seconds */
} registry_lru_entry_t;


/*
 * Keys are bytes of a hash, all of the same length, which is a multiple of 4
 * and at least 4: they are not hashed again.  An entry takes key_len + 16
 * bytes, and 8 to 12 more to find it.
 *
 * NULL if memory is short.  Freed by registry_lru_destroy().
 */

registry_lru_t *registry_lru_create(size_t key_len);

void registry_lru_destroy(registry_lru_t *lru);

/*
 * Puts an entry in, or in the place of the one with this key: *old is the
 * size that had, or 0.  The size is at most REGISTRY_LRU_SIZE_MAX, and not 0.
 * REGISTRY_NOMEM if memory is short: nothing has changed then.
 */

registry_status_e registry_lru_put(registry_lru_t *lru,
    const unsigned char *key, uint32_t size, uint32_t used, uint32_t *old);

/* REGISTRY_DECLINED if there is none */

registry_status_e registry_lru_oldest(const registry_lru_t *lru,
    registry_lru_entry_t *entry);

/* the key may be the entry's own; REGISTRY_DECLINED if there is none */

registry_status_e registry_lru_remove(registry_lru_t *lru,
    const unsigned char *key);

/*
 * A round of looking at everything anew: registry_lru_end() removes what was
 * not put in since registry_lru_begin().
 */

void registry_lru_begin(registry_lru_t *lru);
void registry_lru_end(registry_lru_t *lru);


#endif /* REGISTRY_LRU_H */
