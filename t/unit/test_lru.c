
/*
 * What a cache has by last use: every answer compared with that of an array
 * which is searched from end to end, and every allocation failed.
 */


#include "unit.h"

#include "registry_lru.h"


#define KEYS  512


/* the model: size 0 if there is no such key */

typedef struct {
    uint32_t  size;
    uint32_t  used;
    int       seen;
} model_t;


static uint32_t
next_random(uint32_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 17;
    *state ^= *state << 5;

    return *state;
}


/* keys differ in few bits, so that many are in one bucket */

static void
make_key(unsigned char *key, size_t len, unsigned n)
{
    memset(key, 0, len);
    key[0] = (unsigned char) (n % 7);
    key[len - 2] = (unsigned char) (n >> 8);
    key[len - 1] = (unsigned char) n;
}


static unsigned
key_number(const unsigned char *key, size_t len)
{
    return (unsigned) key[len - 2] << 8 | key[len - 1];
}


/* 1 if both say the same */

static int
agrees(const registry_lru_t *lru, const model_t *model, size_t len)
{
    size_t                i, count;
    uint32_t              oldest;
    uint64_t              size;
    registry_lru_entry_t  entry;

    count = 0;
    size = 0;
    oldest = 0xffffffff;

    for (i = 0; i < KEYS; i++) {
        if (model[i].size) {
            count++;
            size += model[i].size;
            oldest = model[i].used < oldest ? model[i].used : oldest;
        }
    }

    if (lru->count != count || lru->size != size) {
        return 0;
    }

    if (registry_lru_oldest(lru, &entry) != REGISTRY_OK) {
        return count == 0;
    }

    i = key_number(entry.key, len);

    return count && entry.used == oldest && i < KEYS
           && model[i].size == entry.size && model[i].used == entry.used;
}


static int
put_one(registry_lru_t *lru, model_t *model, size_t len, unsigned n,
    uint32_t size, uint32_t used)
{
    uint32_t       old;
    unsigned char  key[64];

    make_key(key, len, n);

    if (registry_lru_put(lru, key, size, used, &old) != REGISTRY_OK
        || old != model[n].size)
    {
        return 0;
    }

    model[n].size = size;
    model[n].used = used;
    model[n].seen = 1;

    return 1;
}


static int
remove_one(registry_lru_t *lru, model_t *model, size_t len, unsigned n)
{
    unsigned char      key[64];
    registry_status_e  status;

    make_key(key, len, n);

    status = registry_lru_remove(lru, key);

    if (status != (model[n].size ? REGISTRY_OK : REGISTRY_DECLINED)) {
        return 0;
    }

    model[n].size = 0;

    return 1;
}


static int
look_anew(registry_lru_t *lru, model_t *model, size_t len, uint32_t *state)
{
    int       good;
    unsigned  i;

    for (i = 0; i < KEYS; i++) {
        model[i].seen = 0;
    }

    registry_lru_begin(lru);

    good = 1;

    for (i = 0; i < KEYS; i++) {
        if (next_random(state) % 3) {
            good &= put_one(lru, model, len, i,
                            1 + next_random(state) % 1000,
                            next_random(state) % 200);
        }
    }

    registry_lru_end(lru);

    for (i = 0; i < KEYS; i++) {
        if (!model[i].seen) {
            model[i].size = 0;
        }
    }

    return good;
}


static void
check_random(size_t len)
{
    long             i, wrong;
    model_t          model[KEYS];
    uint32_t         state;
    unsigned         n;
    registry_lru_t  *lru;

    lru = registry_lru_create(len);
    memset(model, 0, sizeof(model));

    state = 20;
    wrong = 0;

    for (i = 0; i < 20000; i++) {
        n = next_random(&state) % KEYS;

        if (i % 4000 == 3999) {
            wrong += !look_anew(lru, model, len, &state);

        /* now and then it is nearly empty */

        } else if (next_random(&state) % 8 < ((i / 2000) % 2 ? 2u : 6u)) {
            wrong += !put_one(lru, model, len, n,
                              1 + next_random(&state) % 1000,
                              next_random(&state) % 200);

        } else {
            wrong += !remove_one(lru, model, len, n);
        }

        wrong += !agrees(lru, model, len);
    }

    unit_ok(wrong == 0, "keys of %zu bytes: always what the model says", len);

    registry_lru_destroy(lru);
}


static void
check_order(void)
{
    int                    sorted;
    size_t                 i;
    uint32_t               old, last;
    unsigned char          key[32];
    registry_lru_t        *lru;
    registry_lru_entry_t   entry;

    lru = registry_lru_create(sizeof(key));

    unit_ok(registry_lru_oldest(lru, &entry) == REGISTRY_DECLINED,
            "nothing is the oldest of none");
    make_key(key, sizeof(key), 1);
    unit_ok(registry_lru_remove(lru, key) == REGISTRY_DECLINED,
            "nothing to remove of none");

    /* more than it has room for at first, and twice more */

    for (i = 0; i < 5000; i++) {
        make_key(key, sizeof(key), (unsigned) i);
        (void) registry_lru_put(lru, key, REGISTRY_LRU_SIZE_MAX,
                                (uint32_t) (i * 7919 % 5000), &old);
    }

    unit_is_number((long long) lru->count, 5000, "all are there");
    unit_is_number((long long) lru->size, 5000LL * REGISTRY_LRU_SIZE_MAX,
                   "with the largest size");

    sorted = 1;
    last = 0;

    while (registry_lru_oldest(lru, &entry) == REGISTRY_OK) {
        sorted &= entry.used >= last;
        last = entry.used;
        (void) registry_lru_remove(lru, entry.key);
    }

    unit_ok(sorted && last == 4999, "from the oldest to the newest");
    unit_ok(lru->count == 0 && lru->size == 0, "nothing is left");

    registry_lru_begin(lru);
    registry_lru_end(lru);
    unit_ok(lru->count == 0, "a round over nothing");

    registry_lru_destroy(lru);
    registry_lru_destroy(NULL);
}


static void
check_memory(void)
{
    int              wrong;
    long             n;
    uint32_t         i, old;
    unsigned char    key[32];
    registry_lru_t  *lru;

    wrong = 0;

    for (n = 1; n < 100; n++) {
        unit_fail_at(n);

        lru = registry_lru_create(sizeof(key));

        for (i = 0; lru && i < 3000; i++) {
            make_key(key, sizeof(key), i);

            if (registry_lru_put(lru, key, 1, i, &old) != REGISTRY_OK) {
                wrong += lru->count != i || lru->size != i;

                /* the next attempt has memory again */

                wrong += registry_lru_put(lru, key, 1, i, &old)
                         != REGISTRY_OK;
            }
        }

        wrong += lru && (lru->count != 3000 || lru->size != 3000);
        wrong += (lru == NULL) != (n == 1);

        registry_lru_destroy(lru);

        if (unit_allocations < n) {
            break;
        }
    }

    unit_fail_at(0);
    unit_ok(n > 7 && n < 100 && wrong == 0,
            "each of %ld allocations failed while it grows", n - 1);
}


int
main(void)
{
    check_order();
    check_random(4);
    check_random(32);
    check_random(64);
    check_memory();

    return unit_done();
}
