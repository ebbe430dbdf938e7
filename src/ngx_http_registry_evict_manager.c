
/*
 * The cache manager process's half of a cache's limits.  It has an index of
 * all blobs, made by a walk over the directory, which goes on in the
 * background and begins anew every hour, and removes the least recently used.
 * All of it is done in rounds of some milliseconds.
 */


#include "ngx_http_registry_evict_shared.h"
#include "ngx_http_registry_fs.h"


/* a round of evictions */
#define NGX_HTTP_REGISTRY_EVICT_FILES   256
#define NGX_HTTP_REGISTRY_EVICT_MSEC    50
#define NGX_HTTP_REGISTRY_EVICT_ERRORS  16      /* then it waits */

/* a round of a walk, and what is between two: until all is known, and then */
#define NGX_HTTP_REGISTRY_EVICT_STEPS   20      /* milliseconds, as all below */
#define NGX_HTTP_REGISTRY_EVICT_PAUSE   10
#define NGX_HTTP_REGISTRY_EVICT_REST    200

#define NGX_HTTP_REGISTRY_EVICT_TOUCH   300     /* seconds, at most */

#define NGX_HTTP_REGISTRY_EVICT_IDLE    (60 * 1000)
#define NGX_HTTP_REGISTRY_EVICT_CHECK   (5 * 1000)
#define NGX_HTTP_REGISTRY_EVICT_WALK    (60 * 60 * 1000)
#define NGX_HTTP_REGISTRY_EVICT_SWEEP   (60 * 1000)


/* what goes on in the background */

typedef enum {
    NGX_HTTP_REGISTRY_EVICT_NOTHING = 0,
    NGX_HTTP_REGISTRY_EVICT_WALKS,      /* over blobs */
    NGX_HTTP_REGISTRY_EVICT_SWEEPS      /* over links */
} ngx_http_registry_evict_stage_e;


struct ngx_http_registry_evict_manager_s {
    ngx_http_registry_store_t         *store;
    ngx_http_registry_evict_t         *evict;
    ngx_http_registry_evict_shared_t  *sh;
    ngx_http_registry_op_t            *op;

    registry_lru_t                    *lru[REGISTRY_SHA512 + 1];
    ngx_uint_t                         managers;    /* when it was the last */

    ngx_event_t                        timer;
    ngx_http_registry_waker_t          waker;

    ngx_int_t                          found;       /* blocks, at the start */

    /* min_free: how many blocks the cache may have for that to be so */
    ngx_int_t                          room;
    ngx_msec_t                         checked;

    ngx_http_registry_evict_stage_e    stage;
    ngx_msec_t                         due;         /* its next step */
    ngx_msec_t                         began;       /* the walk */
    ngx_msec_t                         swept;
    ngx_uint_t                         dangling;    /* evicted since a sweep
                                                       began */
    ngx_http_registry_fs_blobs_t       blobs;
    ngx_http_registry_fs_sweep_t       sweep;

    unsigned                           incomplete:1;    /* the walk */

    ngx_http_registry_evict_item_t     items[NGX_HTTP_REGISTRY_EVICT_RING];
};


static ngx_http_registry_evict_manager_t *ngx_http_registry_evict_start(
    ngx_http_registry_store_t *store);
static void ngx_http_registry_evict_cleanup(void *data);
static void ngx_http_registry_evict_estimate(
    ngx_http_registry_evict_manager_t *m);

static void ngx_http_registry_evict_woken(void *data);
static void ngx_http_registry_evict_round(ngx_event_t *ev);
static void ngx_http_registry_evict_drain(
    ngx_http_registry_evict_manager_t *m);
static void ngx_http_registry_evict_gone(ngx_http_registry_evict_manager_t *m,
    ngx_http_registry_evict_item_t *item);
static void ngx_http_registry_evict_know(ngx_http_registry_evict_manager_t *m,
    registry_algorithm_e algorithm, const u_char *key, uint32_t blocks,
    time_t used, uint32_t *old);
static void ngx_http_registry_evict_uncount(
    ngx_http_registry_evict_manager_t *m, ngx_uint_t blocks);

static ngx_msec_t ngx_http_registry_evict_remove(
    ngx_http_registry_evict_manager_t *m);
static void ngx_http_registry_evict_pace(ngx_http_registry_evict_manager_t *m,
    registry_lru_entry_t *oldest);
static ngx_uint_t ngx_http_registry_evict_oldest(
    ngx_http_registry_evict_manager_t *m, registry_lru_entry_t *oldest,
    registry_digest_t *digest);
static ngx_int_t ngx_http_registry_evict_one(
    ngx_http_registry_evict_manager_t *m, registry_lru_entry_t *entry,
    const registry_digest_t *digest);
static ngx_int_t ngx_http_registry_evict_limit(
    ngx_http_registry_evict_manager_t *m);
static void ngx_http_registry_evict_check(
    ngx_http_registry_evict_manager_t *m);

static ngx_msec_t ngx_http_registry_evict_look(
    ngx_http_registry_evict_manager_t *m);
static void ngx_http_registry_evict_next(ngx_http_registry_evict_manager_t *m,
    ngx_http_registry_evict_stage_e stage, ngx_msec_t wait);
static ngx_int_t ngx_http_registry_evict_walk(
    ngx_http_registry_evict_manager_t *m);
static void ngx_http_registry_evict_walked(
    ngx_http_registry_evict_manager_t *m);


ngx_msec_t
ngx_http_registry_evict_manager(ngx_http_registry_store_t *store)
{
    if (store->evict->manager == NULL) {
        store->evict->manager = ngx_http_registry_evict_start(store);
    }

    return store->evict->manager ? NGX_HTTP_REGISTRY_EVICT_WALK
                                 : NGX_HTTP_REGISTRY_EVICT_IDLE;
}


static ngx_http_registry_evict_manager_t *
ngx_http_registry_evict_start(ngx_http_registry_store_t *store)
{
    ngx_uint_t                          i;
    ngx_pool_cleanup_t                 *cln;
    ngx_http_registry_evict_manager_t  *m;

    static ngx_str_t                    none = ngx_string("");

    cln = ngx_pool_cleanup_add(ngx_cycle->pool,
                               sizeof(ngx_http_registry_evict_manager_t));
    if (cln == NULL) {
        return NULL;
    }

    m = cln->data;
    ngx_memzero(m, sizeof(ngx_http_registry_evict_manager_t));

    m->store = store;
    m->evict = store->evict;
    m->sh = store->evict->sh;

    m->op = ngx_http_registry_op_create(store,
                                        NGX_HTTP_REGISTRY_OP_BLOB_TOUCH,
                                        &none, ngx_cycle->log);
    if (m->op == NULL) {
        return NULL;
    }

    for (i = 0; i <= REGISTRY_SHA512; i++) {
        m->lru[i] = registry_lru_create(registry_hash_len(i));
    }

    if (m->lru[REGISTRY_SHA256] == NULL || m->lru[REGISTRY_SHA512] == NULL) {
        registry_lru_destroy(m->lru[REGISTRY_SHA256]);
        registry_lru_destroy(m->lru[REGISTRY_SHA512]);
        ngx_http_registry_op_free(m->op);
        return NULL;
    }

    cln->handler = ngx_http_registry_evict_cleanup;

    m->room = NGX_MAX_INT_T_VALUE;
    m->checked = ngx_current_msec - NGX_HTTP_REGISTRY_EVICT_CHECK;
    m->due = ngx_current_msec;

    ngx_http_registry_evict_estimate(m);

    m->waker.handler = ngx_http_registry_evict_woken;
    m->waker.data = m;
    ngx_http_registry_wake_add(&m->waker);

    m->timer.handler = ngx_http_registry_evict_round;
    m->timer.data = m;
    m->timer.log = ngx_cycle->log;
    m->timer.cancelable = 1;

    ngx_add_timer(&m->timer, 1);

    return m;
}


/* with "master_process off", for the configuration before a reload */

static void
ngx_http_registry_evict_cleanup(void *data)
{
    ngx_http_registry_evict_manager_t  *m = data;

    if (m->timer.timer_set) {
        ngx_del_timer(&m->timer);
    }

    ngx_queue_remove(&m->waker.queue);

    ngx_http_registry_fs_blobs_close(&m->blobs);
    ngx_http_registry_fs_sweep_close(&m->sweep);

    registry_lru_destroy(m->lru[REGISTRY_SHA256]);
    registry_lru_destroy(m->lru[REGISTRY_SHA512]);

    ngx_http_registry_op_free(m->op);
}


/*
 * From now on this manager counts, and no other: at a reload two of them are
 * there for a moment.  A cache that nothing is known of is taken to be all
 * that the disk has on it, or as large as it may be, so that limits hold.
 */

static void
ngx_http_registry_evict_estimate(ngx_http_registry_evict_manager_t *m)
{
    off_t  size, free;

    if (ngx_http_registry_fs_space(m->op, &size, &free) != NGX_OK) {
        ngx_http_registry_evict_failed(m->op);
        size = m->evict->max_size;
    }

    if (m->evict->max_size) {
        size = ngx_min(size, m->evict->max_size);
    }

    ngx_shmtx_lock(&m->evict->shpool->mutex);

    m->managers = ++m->sh->managers;

    /* what was added meanwhile is known, and was not found */

    m->found = m->sh->size;

    if (!m->sh->estimated) {
        m->found = size / NGX_HTTP_REGISTRY_EVICT_BLOCK;
        m->sh->size += m->found;
        m->sh->estimated = 1;
    }

    m->sh->indexed = 0;

    ngx_shmtx_unlock(&m->evict->shpool->mutex);
}


static void
ngx_http_registry_evict_woken(void *data)
{
    ngx_http_registry_evict_manager_t  *m = data;

    if (m->sh->size > m->sh->limit
        || m->sh->head - m->sh->tail > NGX_HTTP_REGISTRY_EVICT_RING / 2)
    {
        ngx_http_registry_evict_round(&m->timer);
    }
}


static void
ngx_http_registry_evict_round(ngx_event_t *ev)
{
    ngx_msec_t                          next, n;
    ngx_http_registry_evict_manager_t  *m;

    m = ev->data;

    if (ev->timer_set) {
        ngx_del_timer(ev);
    }

    if (m->managers != m->sh->managers) {
        return;
    }

    ngx_time_update();

    ngx_http_registry_evict_drain(m);

    next = ngx_http_registry_evict_remove(m);

    if (next) {
        n = ngx_http_registry_evict_look(m);
        next = ngx_min(next, n);
    }

    m->sh->blobs = m->lru[REGISTRY_SHA256]->count
                   + m->lru[REGISTRY_SHA512]->count;

    ngx_add_timer(ev, ngx_max(next, 1));
}


static void
ngx_http_registry_evict_drain(ngx_http_registry_evict_manager_t *m)
{
    uint32_t                           old;
    ngx_uint_t                         i, n, lost, twice;
    ngx_http_registry_evict_item_t    *item;
    ngx_http_registry_evict_shared_t  *sh;

    sh = m->sh;

    ngx_shmtx_lock(&m->evict->shpool->mutex);

    for (n = 0; sh->tail != sh->head; n++) {
        m->items[n] = sh->ring[sh->tail++ % NGX_HTTP_REGISTRY_EVICT_RING];
    }

    lost = sh->lost;

    ngx_shmtx_unlock(&m->evict->shpool->mutex);

    twice = 0;

    for (i = 0; i < n; i++) {
        item = &m->items[i];

        if (item->blocks == 0) {
            ngx_http_registry_evict_gone(m, item);
            continue;
        }

        ngx_http_registry_evict_know(m, item->algorithm, item->key,
                                     item->blocks, item->time, &old);
        twice += old;
    }

    /* what was there already has been counted once more */

    if (twice) {
        ngx_http_registry_evict_uncount(m, twice);
    }

    if (lost && m->stage == NGX_HTTP_REGISTRY_EVICT_NOTHING) {
        m->due = ngx_current_msec;
    }
}


/* unless it was published again: then that is told, too */

static void
ngx_http_registry_evict_gone(ngx_http_registry_evict_manager_t *m,
    ngx_http_registry_evict_item_t *item)
{
    uint32_t                      old;
    ngx_http_registry_fs_blob_t   blob;

    registry_digest_set(&blob.digest, item->algorithm, item->key);

    if (ngx_http_registry_fs_blob_stat(m->op, &blob) != NGX_DECLINED) {
        return;
    }

    ngx_http_registry_evict_know(m, item->algorithm, item->key, 1, 0, &old);
    ngx_http_registry_evict_uncount(m, old);

    (void) registry_lru_remove(m->lru[item->algorithm], item->key);
}


static void
ngx_http_registry_evict_know(ngx_http_registry_evict_manager_t *m,
    registry_algorithm_e algorithm, const u_char *key, uint32_t blocks,
    time_t used, uint32_t *old)
{
    /* whatever clock that was by */

    used = ngx_max(0, ngx_min(used, ngx_time()));

    if (registry_lru_put(m->lru[algorithm], key, blocks, (uint32_t) used, old)
        == REGISTRY_OK)
    {
        return;
    }

    *old = 0;

    if (!m->incomplete) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, ngx_errno,
                      "no memory for the index of registry_cache \"%V\"",
                      &m->store->name);
    }

    m->incomplete = 1;
}


static void
ngx_http_registry_evict_uncount(ngx_http_registry_evict_manager_t *m,
    ngx_uint_t blocks)
{
    ngx_shmtx_lock(&m->evict->shpool->mutex);

    m->sh->size -= ngx_min(m->sh->size, blocks);

    ngx_shmtx_unlock(&m->evict->shpool->mutex);
}


/*
 * Evicts, and says when to look again, in milliseconds: 0 if there is more to
 * do now.
 */

static ngx_msec_t
ngx_http_registry_evict_remove(ngx_http_registry_evict_manager_t *m)
{
    time_t                 left;
    ngx_int_t              excess;
    ngx_msec_t             start, wait;
    ngx_uint_t             n, errors;
    registry_digest_t      digest;
    registry_lru_entry_t   oldest;

    wait = m->evict->min_free ? NGX_HTTP_REGISTRY_EVICT_CHECK
                              : NGX_HTTP_REGISTRY_EVICT_IDLE;

    ngx_http_registry_evict_check(m);

    start = ngx_current_msec;
    errors = 0;

    for (n = 0; n < NGX_HTTP_REGISTRY_EVICT_FILES; n++) {

        m->sh->limit = ngx_http_registry_evict_limit(m);
        excess = (ngx_int_t) (m->sh->size - m->sh->limit);

        if (!ngx_http_registry_evict_oldest(m, &oldest, &digest)) {
            return wait;
        }

        ngx_http_registry_evict_pace(m, &oldest);

        left = (time_t) oldest.used + m->evict->inactive - ngx_time();

        if (excess <= 0 && m->evict->inactive == 0) {
            return wait;
        }

        if (excess <= 0 && left > 0) {
            return (left < (time_t) wait / 1000) ? (ngx_msec_t) left * 1000
                                                 : wait;
        }

        if (ngx_http_registry_evict_one(m, &oldest, &digest) != NGX_OK
            && ++errors == NGX_HTTP_REGISTRY_EVICT_ERRORS)
        {
            return wait;
        }

        ngx_time_update();

        if (ngx_current_msec - start > NGX_HTTP_REGISTRY_EVICT_MSEC
            || ngx_quit || ngx_terminate)
        {
            break;
        }
    }

    return 0;
}


/*
 * How often a use is kept: an eighth of the time for which the oldest has
 * been there unused, so that used ones are told from unused ones.
 */

static void
ngx_http_registry_evict_pace(ngx_http_registry_evict_manager_t *m,
    registry_lru_entry_t *oldest)
{
    time_t  age;

    age = ngx_time() - (time_t) oldest->used;

    if (m->evict->inactive) {
        age = ngx_min(age, m->evict->inactive);
    }

    m->sh->touch = ngx_max(1, ngx_min(age / 8, NGX_HTTP_REGISTRY_EVICT_TOUCH));
}


/* 0 if there is none */

static ngx_uint_t
ngx_http_registry_evict_oldest(ngx_http_registry_evict_manager_t *m,
    registry_lru_entry_t *oldest, registry_digest_t *digest)
{
    ngx_uint_t            i;
    registry_lru_entry_t  entry;

    ngx_memzero(oldest, sizeof(registry_lru_entry_t));

    for (i = 0; i <= REGISTRY_SHA512; i++) {

        if (registry_lru_oldest(m->lru[i], &entry) == REGISTRY_OK
            && (oldest->key == NULL || entry.used < oldest->used))
        {
            *oldest = entry;
            registry_digest_set(digest, i, entry.key);
        }
    }

    return oldest->key != NULL;
}


/*
 * The file knows better when it was last used, since workers tell only the
 * file: if it was used since, it stays, and has another place in the index.
 */

static ngx_int_t
ngx_http_registry_evict_one(ngx_http_registry_evict_manager_t *m,
    registry_lru_entry_t *entry, const registry_digest_t *digest)
{
    uint32_t                      old;
    ngx_int_t                     rc;
    registry_lru_t               *lru;
    ngx_http_registry_fs_blob_t   blob;

    lru = m->lru[digest->algorithm];

    blob.digest = *digest;

    rc = ngx_http_registry_fs_blob_stat(m->op, &blob);

    if (rc == NGX_OK && ngx_min(blob.used, ngx_time()) > (time_t) entry->used) {
        ngx_http_registry_evict_know(m, digest->algorithm, entry->key,
                                     entry->size, blob.used, &old);
        return NGX_OK;
    }

    if (rc == NGX_OK) {
        rc = ngx_http_registry_fs_blob_evict(m->op, digest);
    }

    if (rc == NGX_ERROR) {
        ngx_http_registry_evict_failed(m->op);

        /* the others may be removed before this one is tried again */

        ngx_http_registry_evict_know(m, digest->algorithm, entry->key,
                                     entry->size, ngx_time(), &old);
        return NGX_ERROR;
    }

    ngx_log_debug2(NGX_LOG_DEBUG_HTTP, ngx_cycle->log, 0,
                   "registry_cache \"%V\" evicts %s", &m->store->name,
                   digest->text);

    if (rc == NGX_OK) {
        m->sh->evictions++;
        m->sh->evicted += entry->size;
        m->dangling++;
    }

    ngx_http_registry_evict_uncount(m, entry->size);
    (void) registry_lru_remove(lru, entry->key);

    return NGX_OK;
}


/*
 * The size the cache may have, in blocks.  While not all is known, what seems
 * to be the oldest may well not be: so until then it may stay as large as it
 * was found, and grow a little.
 */

static ngx_int_t
ngx_http_registry_evict_limit(ngx_http_registry_evict_manager_t *m)
{
    ngx_int_t  limit;

    limit = NGX_MAX_INT_T_VALUE;

    if (m->evict->max_size) {
        limit = m->evict->max_size / NGX_HTTP_REGISTRY_EVICT_BLOCK;

        if (!m->sh->indexed) {
            limit = ngx_max(limit, m->found) + limit / 32;
        }
    }

    if (m->evict->min_free) {
        limit = ngx_min(limit, m->room);
    }

    return ngx_max(limit, 0);
}


/*
 * Nobody tells how full the disk is but the disk.  What was removed may come
 * free later, when the last worker has sent it: so the disk is not asked
 * about each file.
 */

static void
ngx_http_registry_evict_check(ngx_http_registry_evict_manager_t *m)
{
    off_t  used, free;

    if (m->evict->min_free == 0
        || ngx_current_msec - m->checked < NGX_HTTP_REGISTRY_EVICT_CHECK)
    {
        return;
    }

    m->checked = ngx_current_msec;

    if (ngx_http_registry_fs_space(m->op, &used, &free) != NGX_OK) {
        ngx_http_registry_evict_failed(m->op);
        return;
    }

    free -= m->evict->min_free;

    m->room = (ngx_int_t) m->sh->size
              + (ngx_int_t) (free / NGX_HTTP_REGISTRY_EVICT_BLOCK);
}


/*
 * The index is made anew every hour, since others may write to the directory
 * too, or remove from it.  What evictions leave in the repositories is looked
 * for after that, and whenever it may have become much.  Says when to go on,
 * in milliseconds.
 */

static ngx_msec_t
ngx_http_registry_evict_look(ngx_http_registry_evict_manager_t *m)
{
    ngx_int_t       rc;
    ngx_uint_t      n;
    ngx_msec_t      start;
    ngx_msec_int_t  left;

    if (m->stage == NGX_HTTP_REGISTRY_EVICT_NOTHING
        && m->dangling > 1000 + m->sh->blobs / 4
        && ngx_current_msec - m->swept > NGX_HTTP_REGISTRY_EVICT_SWEEP)
    {
        ngx_http_registry_evict_next(m, NGX_HTTP_REGISTRY_EVICT_SWEEPS, 0);
    }

    left = (ngx_msec_int_t) (m->due - ngx_current_msec);

    if (left > 0) {
        return left;
    }

    if (m->stage == NGX_HTTP_REGISTRY_EVICT_NOTHING) {
        ngx_http_registry_evict_next(m, NGX_HTTP_REGISTRY_EVICT_WALKS, 0);
    }

    start = ngx_current_msec;
    n = 0;

    do {
        rc = (m->stage == NGX_HTTP_REGISTRY_EVICT_WALKS)
                 ? ngx_http_registry_evict_walk(m)
                 : ngx_http_registry_fs_sweep(m->op, &m->sweep);

        if (rc == NGX_ERROR) {
            ngx_http_registry_evict_failed(m->op);
        }

        if (++n % 64 == 0) {
            ngx_time_update();
        }

    } while (rc != NGX_DONE && !ngx_quit && !ngx_terminate
             && ngx_current_msec - start < NGX_HTTP_REGISTRY_EVICT_STEPS);

    if (rc != NGX_DONE) {
        ngx_http_registry_evict_next(m, m->stage,
                                     m->sh->indexed
                                         ? NGX_HTTP_REGISTRY_EVICT_REST
                                         : NGX_HTTP_REGISTRY_EVICT_PAUSE);

    } else if (m->stage == NGX_HTTP_REGISTRY_EVICT_WALKS) {
        ngx_http_registry_evict_walked(m);

    } else {
        m->swept = ngx_current_msec;
        ngx_http_registry_evict_next(m, NGX_HTTP_REGISTRY_EVICT_NOTHING,
                                     NGX_HTTP_REGISTRY_EVICT_WALK);
    }

    left = (ngx_msec_int_t) (m->due - ngx_current_msec);

    return ngx_max(left, 1);
}


static void
ngx_http_registry_evict_next(ngx_http_registry_evict_manager_t *m,
    ngx_http_registry_evict_stage_e stage, ngx_msec_t wait)
{
    ngx_uint_t  i;

    m->due = ngx_current_msec + wait;

    if (stage == m->stage) {
        return;
    }

    m->stage = stage;

    if (stage == NGX_HTTP_REGISTRY_EVICT_SWEEPS) {
        ngx_memzero(&m->sweep, sizeof(ngx_http_registry_fs_sweep_t));
        m->dangling = 0;
    }

    if (stage == NGX_HTTP_REGISTRY_EVICT_WALKS) {
        ngx_memzero(&m->blobs, sizeof(ngx_http_registry_fs_blobs_t));

        for (i = 0; i <= REGISTRY_SHA512; i++) {
            registry_lru_begin(m->lru[i]);
        }

        /* what is lost until now is on the disk, and will be found */

        m->sh->lost = 0;
        m->began = ngx_current_msec;
        m->incomplete = 0;
    }
}


static ngx_int_t
ngx_http_registry_evict_walk(ngx_http_registry_evict_manager_t *m)
{
    u_char                        key[REGISTRY_HASH_MAX];
    uint32_t                      old;
    ngx_int_t                     rc;
    ngx_http_registry_fs_blob_t   blob;

    rc = ngx_http_registry_fs_blobs_next(m->op, &m->blobs, &blob);

    if (rc == NGX_OK) {
        (void) registry_digest_bytes(&blob.digest, key);

        ngx_http_registry_evict_know(m, blob.digest.algorithm, key,
                                  ngx_http_registry_evict_blocks(blob.size),
                                  blob.used, &old);
    }

    if (rc == NGX_ERROR) {
        m->incomplete = 1;
    }

    return rc;
}


/* now the size is known, and not as it was counted or estimated */

static void
ngx_http_registry_evict_walked(ngx_http_registry_evict_manager_t *m)
{
    uint64_t                           size;
    ngx_uint_t                         i;
    ngx_http_registry_evict_shared_t  *sh;

    sh = m->sh;

    if (sh->lost) {

        /* it may have been published where the walk had been already */

        m->stage = NGX_HTTP_REGISTRY_EVICT_NOTHING;
        return;
    }

    size = 0;

    for (i = 0; i <= REGISTRY_SHA512; i++) {

        if (!m->incomplete) {
            registry_lru_end(m->lru[i]);
        }

        size += m->lru[i]->size;
    }

    if (!m->incomplete || !sh->indexed) {

        ngx_shmtx_lock(&m->evict->shpool->mutex);

        for (i = sh->tail; i != sh->head; i++) {
            size += sh->ring[i % NGX_HTTP_REGISTRY_EVICT_RING].blocks;
        }

        sh->size = size;
        sh->walks++;

        ngx_shmtx_unlock(&m->evict->shpool->mutex);
    }

    if (!sh->indexed) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "registry_cache \"%V\" has %uz blobs in %O bytes, "
                      "found in %M ms", &m->store->name,
                      m->lru[REGISTRY_SHA256]->count
                      + m->lru[REGISTRY_SHA512]->count,
                      (off_t) size * NGX_HTTP_REGISTRY_EVICT_BLOCK,
                      ngx_current_msec - m->began);
    }

    sh->indexed = 1;

    /* how much may be added is in terms of the size */

    m->checked = ngx_current_msec - NGX_HTTP_REGISTRY_EVICT_CHECK;

    ngx_http_registry_evict_next(m, NGX_HTTP_REGISTRY_EVICT_SWEEPS,
                                 NGX_HTTP_REGISTRY_EVICT_REST);
}
