
/*
 * What is known of the peers, in the registry's zone, and who finds it out;
 * the peers in the zones of their upstreams.  Only a bit of a peer is set
 * there, since balancing is nginx's.
 */


#include "ngx_http_registry_health_check.h"


/* in peer->down: ours, and that of "server ... down" */

#define NGX_HTTP_REGISTRY_HEALTH_DOWN    0x00010000
#define NGX_HTTP_REGISTRY_HEALTH_OFF     0x00000001

#define NGX_HTTP_REGISTRY_HEALTH_LEASE   5000   /* milliseconds */
#define NGX_HTTP_REGISTRY_HEALTH_FORGET  3600   /* seconds */


typedef struct {
    ngx_queue_t                       queue;
    time_t                            seen;
    ngx_uint_t                        listed;   /* it is in the upstream {} */
    ngx_http_registry_health_peer_t   peer;
    u_char                            data[1];  /* the peer's names */
} ngx_http_registry_health_record_t;


typedef struct {
    ngx_uint_t                        generation;   /* the newest one */

    /* the lease */
    ngx_pid_t                         pid;
    ngx_uint_t                        holder;       /* the pid's generation */
    ngx_msec_t                        expires;

    ngx_queue_t                       records;
} ngx_http_registry_health_shared_t;


static size_t ngx_http_registry_health_size(size_t zone);
static ngx_int_t ngx_http_registry_health_init(ngx_http_registry_zone_t *zone,
    ngx_http_registry_zone_t *old, ngx_log_t *log);
static ngx_http_registry_health_shared_t *ngx_http_registry_health_shared(
    ngx_http_registry_zone_t *zone);

static ngx_uint_t ngx_http_registry_health_holds(
    ngx_http_registry_health_t *health);
static ngx_uint_t ngx_http_registry_health_vacant(
    ngx_http_registry_health_t *health);

static ngx_int_t ngx_http_registry_health_found(ngx_array_t *peers,
    ngx_http_upstream_rr_peer_t *peer);
static ngx_http_registry_health_record_t *ngx_http_registry_health_record(
    ngx_http_registry_health_check_t *check, ngx_str_t *name);
static ngx_http_registry_health_record_t *ngx_http_registry_health_new(
    ngx_http_registry_health_check_t *check, ngx_str_t *name);
static ngx_uint_t ngx_http_registry_health_changed(
    ngx_http_registry_health_peer_t *peer,
    ngx_http_registry_health_conf_t *conf);
static ngx_uint_t ngx_http_registry_health_fit(ngx_uint_t status);

static void ngx_http_registry_health_mark(
    ngx_http_registry_health_check_t *check, ngx_str_t *name, ngx_uint_t down);
static void ngx_http_registry_health_mark_peer(
    ngx_http_upstream_rr_peers_t *peers, ngx_http_upstream_rr_peer_t *peer,
    ngx_uint_t down);

static ngx_int_t ngx_http_registry_health_copy(ngx_array_t *peers,
    ngx_http_registry_health_peer_t *peer);


const ngx_http_registry_zone_part_t  ngx_http_registry_health_part = {
    ngx_http_registry_health_size,
    ngx_http_registry_health_init
};


static size_t
ngx_http_registry_health_size(size_t zone)
{
    return sizeof(ngx_http_registry_health_shared_t);
}


static ngx_int_t
ngx_http_registry_health_init(ngx_http_registry_zone_t *zone,
    ngx_http_registry_zone_t *old, ngx_log_t *log)
{
    ngx_http_registry_health_shared_t  *sh;

    sh = ngx_http_registry_health_shared(zone);

    if (old == NULL) {
        ngx_queue_init(&sh->records);
    }

    return NGX_OK;
}


static ngx_http_registry_health_shared_t *
ngx_http_registry_health_shared(ngx_http_registry_zone_t *zone)
{
    return zone->sh->part[NGX_HTTP_REGISTRY_ZONE_HEALTH];
}


/*
 * The zone of an upstream {} is new in each cycle, ours is not: its peers are
 * marked before any worker sees them.
 */

void
ngx_http_registry_health_join(ngx_http_registry_health_t *health)
{
    ngx_queue_t                        *q, *next;
    ngx_http_registry_health_check_t   *check;
    ngx_http_registry_health_record_t  *record;
    ngx_http_registry_health_shared_t  *sh;

    sh = ngx_http_registry_health_shared(health->zone);

    ngx_http_registry_zone_lock(health->zone);

    health->generation = ++sh->generation;

    for (q = ngx_queue_head(&sh->records);
         q != ngx_queue_sentinel(&sh->records);
         q = next)
    {
        next = ngx_queue_next(q);
        record = ngx_queue_data(q, ngx_http_registry_health_record_t, queue);

        check = ngx_http_registry_health_find(health, &record->peer.upstream);

        if (check == NULL) {
            ngx_queue_remove(q);
            ngx_slab_free_locked(health->zone->shpool, record);

        } else if (record->peer.down) {
            ngx_http_registry_health_mark(check, &record->peer.name, 1);
        }
    }

    ngx_http_registry_zone_unlock(health->zone);
}


ngx_uint_t
ngx_http_registry_health_take(ngx_http_registry_health_t *health)
{
    ngx_uint_t                          ours;
    ngx_http_registry_health_shared_t  *sh;

    sh = ngx_http_registry_health_shared(health->zone);

    ngx_http_registry_zone_lock(health->zone);

    ours = ngx_http_registry_health_holds(health)
           || ngx_http_registry_health_vacant(health);

    if (ours) {
        sh->pid = ngx_pid;
        sh->holder = health->generation;
        sh->expires = ngx_current_msec + NGX_HTTP_REGISTRY_HEALTH_LEASE;
    }

    ngx_http_registry_zone_unlock(health->zone);

    return ours;
}


static ngx_uint_t
ngx_http_registry_health_holds(ngx_http_registry_health_t *health)
{
    ngx_http_registry_health_shared_t  *sh;

    sh = ngx_http_registry_health_shared(health->zone);

    return sh->pid == ngx_pid
           && sh->holder == health->generation
           && sh->generation == health->generation;
}


static ngx_uint_t
ngx_http_registry_health_vacant(ngx_http_registry_health_t *health)
{
    ngx_http_registry_health_shared_t  *sh;

    sh = ngx_http_registry_health_shared(health->zone);

    if (sh->generation != health->generation) {
        return 0;
    }

    return sh->holder != health->generation
           || (ngx_msec_int_t) (ngx_current_msec - sh->expires) >= 0
           || (kill(sh->pid, 0) == -1 && ngx_errno == NGX_ESRCH);
}


ngx_array_t *
ngx_http_registry_health_walk(ngx_http_registry_health_check_t *check,
    ngx_pool_t *pool)
{
    ngx_int_t                      rc;
    ngx_array_t                   *found;
    ngx_http_upstream_rr_peer_t   *peer;
    ngx_http_upstream_rr_peers_t  *peers;

    found = ngx_array_create(pool, 8,
                             sizeof(ngx_http_registry_health_found_t));
    if (found == NULL) {
        return NULL;
    }

    rc = NGX_OK;

    for (peers = check->upstream->peer.data; peers; peers = peers->next) {

        ngx_http_upstream_rr_peers_rlock(peers);

        for (peer = peers->peer; peer && rc == NGX_OK; peer = peer->next) {
            if (!(peer->down & NGX_HTTP_REGISTRY_HEALTH_OFF)) {
                rc = ngx_http_registry_health_found(found, peer);
            }
        }

        ngx_http_upstream_rr_peers_unlock(peers);
    }

    return (rc == NGX_OK) ? found : NULL;
}


/* once, however often it is listed */

static ngx_int_t
ngx_http_registry_health_found(ngx_array_t *peers,
    ngx_http_upstream_rr_peer_t *peer)
{
    ngx_uint_t                         i, marked;
    ngx_http_registry_health_found_t  *found;

    marked = (peer->down & NGX_HTTP_REGISTRY_HEALTH_DOWN) ? 1 : 0;

    found = peers->elts;

    for (i = 0; i < peers->nelts; i++) {
        if (ngx_http_registry_health_equal(&found[i].name, &peer->name)) {
            found[i].marked &= marked;
            return NGX_OK;
        }
    }

    found = ngx_array_push(peers);
    if (found == NULL) {
        return NGX_ERROR;
    }

    found->marked = marked;

    found->name.len = peer->name.len;
    found->name.data = ngx_pstrdup(peers->pool, &peer->name);

    return found->name.data ? NGX_OK : NGX_ERROR;
}


ngx_int_t
ngx_http_registry_health_seen(ngx_http_registry_health_check_t *check,
    ngx_http_registry_health_found_t *found)
{
    ngx_uint_t                          down;
    ngx_http_registry_zone_t           *zone;
    ngx_http_registry_health_record_t  *record;

    zone = check->health->zone;
    down = 0;

    ngx_http_registry_zone_lock(zone);

    record = ngx_http_registry_health_record(check, &found->name);

    if (record == NULL) {
        record = ngx_http_registry_health_new(check, &found->name);
    }

    if (record) {
        record->seen = ngx_time();
        record->listed = 1;
        down = record->peer.down;
    }

    ngx_http_registry_zone_unlock(zone);

    if (record == NULL) {
        return NGX_ERROR;
    }

    if (down != found->marked) {
        ngx_http_registry_health_mark(check, &found->name, down);
    }

    return NGX_OK;
}


/* with the zone locked; NULL: there is none */

static ngx_http_registry_health_record_t *
ngx_http_registry_health_record(ngx_http_registry_health_check_t *check,
    ngx_str_t *name)
{
    ngx_str_t                          *upstream;
    ngx_queue_t                        *q;
    ngx_http_registry_health_record_t  *record;
    ngx_http_registry_health_shared_t  *sh;

    upstream = &check->upstream->host;
    sh = ngx_http_registry_health_shared(check->health->zone);

    for (q = ngx_queue_head(&sh->records);
         q != ngx_queue_sentinel(&sh->records);
         q = ngx_queue_next(q))
    {
        record = ngx_queue_data(q, ngx_http_registry_health_record_t, queue);

        if (ngx_http_registry_health_equal(&record->peer.name, name)
            && ngx_http_registry_health_equal(&record->peer.upstream,
                                              upstream))
        {
            return record;
        }
    }

    return NULL;
}


/* likewise; a peer is up until it is known to be down */

static ngx_http_registry_health_record_t *
ngx_http_registry_health_new(ngx_http_registry_health_check_t *check,
    ngx_str_t *name)
{
    u_char                             *p;
    size_t                              size;
    ngx_str_t                          *upstream;
    ngx_http_registry_zone_t           *zone;
    ngx_http_registry_health_peer_t    *peer;
    ngx_http_registry_health_record_t  *record;
    ngx_http_registry_health_shared_t  *sh;

    zone = check->health->zone;
    upstream = &check->upstream->host;

    size = offsetof(ngx_http_registry_health_record_t, data) + upstream->len
           + name->len;

    record = ngx_http_registry_zone_alloc(zone, size, NULL);
    if (record == NULL) {
        return NULL;
    }

    ngx_memzero(record, size);

    peer = &record->peer;
    p = record->data;

    peer->since = ngx_time();

    peer->upstream.len = upstream->len;
    peer->upstream.data = p;
    p = ngx_cpymem(p, upstream->data, upstream->len);

    peer->name.len = name->len;
    peer->name.data = p;
    ngx_memcpy(p, name->data, name->len);

    sh = ngx_http_registry_health_shared(zone);
    ngx_queue_insert_tail(&sh->records, &record->queue);

    return record;
}


/* a peer that left the upstream {} may come back */

void
ngx_http_registry_health_sweep(ngx_http_registry_health_check_t *check)
{
    ngx_queue_t                        *q, *next;
    ngx_http_registry_zone_t           *zone;
    ngx_http_registry_health_record_t  *record;
    ngx_http_registry_health_shared_t  *sh;

    zone = check->health->zone;
    sh = ngx_http_registry_health_shared(zone);

    ngx_http_registry_zone_lock(zone);

    for (q = ngx_queue_head(&sh->records);
         q != ngx_queue_sentinel(&sh->records);
         q = next)
    {
        next = ngx_queue_next(q);
        record = ngx_queue_data(q, ngx_http_registry_health_record_t, queue);

        if (record->seen == ngx_time()
            || !ngx_http_registry_health_equal(&record->peer.upstream,
                                               &check->upstream->host))
        {
            continue;
        }

        record->listed = 0;

        if (ngx_time() - record->seen > NGX_HTTP_REGISTRY_HEALTH_FORGET) {
            ngx_queue_remove(q);
            ngx_slab_free_locked(zone->shpool, record);
        }
    }

    ngx_http_registry_zone_unlock(zone);
}


ngx_int_t
ngx_http_registry_health_count(ngx_http_registry_health_check_t *check,
    ngx_str_t *name, ngx_uint_t status, ngx_http_registry_call_error_e error)
{
    ngx_uint_t                          changed, down;
    ngx_http_registry_zone_t           *zone;
    ngx_http_registry_health_record_t  *record;

    zone = check->health->zone;
    changed = 0;
    down = 0;

    ngx_http_registry_zone_lock(zone);

    record = ngx_http_registry_health_record(check, name);

    if (record && ngx_http_registry_health_holds(check->health)) {
        record->peer.checked = ngx_time();
        record->peer.status = status;
        record->peer.error = error;

        changed = ngx_http_registry_health_changed(&record->peer,
                                                   &check->conf);
        down = record->peer.down;
    }

    ngx_http_registry_zone_unlock(zone);

    if (!changed) {
        return NGX_DONE;
    }

    ngx_http_registry_health_mark(check, name, down);

    return down ? NGX_DECLINED : NGX_OK;
}


/* its last check has ended: 1 if that makes a difference, else 0 */

static ngx_uint_t
ngx_http_registry_health_changed(ngx_http_registry_health_peer_t *peer,
    ngx_http_registry_health_conf_t *conf)
{
    peer->checks++;

    if (ngx_http_registry_health_fit(peer->status)) {
        peer->fails = 0;
        peer->passes++;

    } else {
        peer->passes = 0;
        peer->fails++;
        peer->failures++;
    }

    if (peer->down ? peer->passes < conf->passes : peer->fails < conf->fails) {
        return 0;
    }

    peer->down = !peer->down;
    peer->since = peer->checked;

    return 1;
}


/*
 * A registry that asks for credentials serves, we have shown none.  With 403
 * it says that it would not serve us even so.
 */

static ngx_uint_t
ngx_http_registry_health_fit(ngx_uint_t status)
{
    return (status >= NGX_HTTP_OK && status < NGX_HTTP_SPECIAL_RESPONSE)
           || status == NGX_HTTP_UNAUTHORIZED;
}


static void
ngx_http_registry_health_mark(ngx_http_registry_health_check_t *check,
    ngx_str_t *name, ngx_uint_t down)
{
    ngx_http_upstream_rr_peer_t   *peer;
    ngx_http_upstream_rr_peers_t  *peers;

    for (peers = check->upstream->peer.data; peers; peers = peers->next) {

        ngx_http_upstream_rr_peers_wlock(peers);

        for (peer = peers->peer; peer; peer = peer->next) {
            if (ngx_http_registry_health_equal(&peer->name, name)) {
                ngx_http_registry_health_mark_peer(peers, peer, down);
            }
        }

        ngx_http_upstream_rr_peers_unlock(peers);
    }
}


/* nginx 1.27.3 and later count on "tries" being those that are not down */

static void
ngx_http_registry_health_mark_peer(ngx_http_upstream_rr_peers_t *peers,
    ngx_http_upstream_rr_peer_t *peer, ngx_uint_t down)
{
    peers->tries -= (peer->down == 0);

    if (down) {
        peer->down |= NGX_HTTP_REGISTRY_HEALTH_DOWN;

    } else {
        peer->down &= ~NGX_HTTP_REGISTRY_HEALTH_DOWN;
    }

    peers->tries += (peer->down == 0);
}


ngx_array_t *
ngx_http_registry_health_peers(ngx_http_registry_zone_t *zone,
    ngx_pool_t *pool)
{
    ngx_int_t                           rc;
    ngx_array_t                        *peers;
    ngx_queue_t                        *q;
    ngx_http_registry_health_record_t  *record;
    ngx_http_registry_health_shared_t  *sh;

    peers = ngx_array_create(pool, 8, sizeof(ngx_http_registry_health_peer_t));
    if (peers == NULL) {
        return NULL;
    }

    rc = NGX_OK;
    sh = ngx_http_registry_health_shared(zone);

    ngx_http_registry_zone_lock(zone);

    for (q = ngx_queue_head(&sh->records);
         q != ngx_queue_sentinel(&sh->records) && rc == NGX_OK;
         q = ngx_queue_next(q))
    {
        record = ngx_queue_data(q, ngx_http_registry_health_record_t, queue);

        if (record->listed) {
            rc = ngx_http_registry_health_copy(peers, &record->peer);
        }
    }

    ngx_http_registry_zone_unlock(zone);

    return (rc == NGX_OK) ? peers : NULL;
}


static ngx_int_t
ngx_http_registry_health_copy(ngx_array_t *peers,
    ngx_http_registry_health_peer_t *peer)
{
    ngx_http_registry_health_peer_t  *copy;

    copy = ngx_array_push(peers);
    if (copy == NULL) {
        return NGX_ERROR;
    }

    *copy = *peer;

    copy->upstream.data = ngx_pstrdup(peers->pool, &peer->upstream);
    copy->name.data = ngx_pstrdup(peers->pool, &peer->name);

    return copy->upstream.data && copy->name.data ? NGX_OK : NGX_ERROR;
}
