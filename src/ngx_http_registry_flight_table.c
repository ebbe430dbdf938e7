
/*
 * The table of flights: of fixed size, in shared memory.  A place is used for
 * another key some time after its flight has ended, or nobody has taken it
 * up.
 */


#include "ngx_http_registry_flight_table.h"


#define NGX_HTTP_REGISTRY_FLIGHT_MIN      16
#define NGX_HTTP_REGISTRY_FLIGHT_MAX      1024
#define NGX_HTTP_REGISTRY_FLIGHT_ROOM     (16 * 1024)   /* of a zone, each */

/* how long one that was left is kept: milliseconds */
#define NGX_HTTP_REGISTRY_FLIGHT_LEFT     60000


static size_t ngx_http_registry_flight_size(size_t zone);
static ngx_int_t ngx_http_registry_flight_init(ngx_http_registry_zone_t *zone,
    ngx_http_registry_zone_t *old, ngx_log_t *log);
static ngx_http_registry_flight_index_t *ngx_http_registry_flight_room(
    ngx_http_registry_flights_t *sh);


const ngx_http_registry_zone_part_t  ngx_http_registry_flight_part = {
    ngx_http_registry_flight_size,
    ngx_http_registry_flight_init
};


static ngx_uint_t
ngx_http_registry_flight_n(size_t zone)
{
    size_t  n;

    n = zone / NGX_HTTP_REGISTRY_FLIGHT_ROOM;
    n = ngx_max(n, NGX_HTTP_REGISTRY_FLIGHT_MIN);

    return ngx_min(n, NGX_HTTP_REGISTRY_FLIGHT_MAX);
}


static size_t
ngx_http_registry_flight_size(size_t zone)
{
    return sizeof(ngx_http_registry_flights_t)
           + ngx_http_registry_flight_n(zone)
             * (sizeof(ngx_http_registry_flight_index_t)
                + sizeof(ngx_http_registry_flight_entry_t));
}


static ngx_int_t
ngx_http_registry_flight_init(ngx_http_registry_zone_t *zone,
    ngx_http_registry_zone_t *old, ngx_log_t *log)
{
    ngx_uint_t                    i;
    ngx_http_registry_flights_t  *sh;

    sh = ngx_http_registry_flights(zone);

    if (sh->n) {
        return NGX_OK;
    }

    sh->n = ngx_http_registry_flight_n(zone->shpool->end
                                       - (u_char *) zone->shpool);
    sh->entries = (ngx_http_registry_flight_entry_t *) (sh + 1);
    sh->index = (ngx_http_registry_flight_index_t *) (sh->entries + sh->n);

    for (i = 0; i < sh->n; i++) {
        sh->index[i].ended = 1;
        sh->index[i].since = ngx_current_msec
                             - NGX_HTTP_REGISTRY_FLIGHT_LINGER;
    }

    return NGX_OK;
}


void
ngx_http_registry_flight_status(ngx_http_registry_zone_t *zone,
    ngx_uint_t *running, ngx_uint_t *room, ngx_uint_t *limit)
{
    ngx_uint_t                    i;
    ngx_http_registry_flights_t  *sh;

    sh = ngx_http_registry_flights(zone);

    *running = 0;
    *room = 0;
    *limit = sh->n;

    for (i = 0; i < sh->n; i++) {
        if (!sh->index[i].ended) {
            *running += (sh->entries[i].owner != 0);

        } else if ((ngx_msec_int_t) (ngx_current_msec - sh->index[i].since)
                   >= NGX_HTTP_REGISTRY_FLIGHT_LINGER)
        {
            (*room)++;
        }
    }
}


ngx_http_registry_flight_entry_t *
ngx_http_registry_flight_find(ngx_http_registry_flights_t *sh,
    ngx_str_t *key, uint32_t hash)
{
    ngx_uint_t                         i;
    ngx_http_registry_flight_entry_t  *e;

    for (i = 0; i < sh->n; i++) {

        if (sh->index[i].hash != hash || !sh->index[i].listed) {
            continue;
        }

        e = &sh->entries[i];

        if (e->key_len == key->len
            && ngx_memcmp(e->key, key->data, key->len) == 0)
        {
            return e;
        }
    }

    return NULL;
}


ngx_http_registry_flight_entry_t *
ngx_http_registry_flight_create(ngx_http_registry_flights_t *sh,
    ngx_str_t *key, uint32_t hash)
{
    size_t                             own;
    ngx_http_registry_flight_entry_t  *e;
    ngx_http_registry_flight_index_t  *index;

    index = ngx_http_registry_flight_room(sh);
    if (index == NULL) {
        return NULL;
    }

    e = &sh->entries[index - sh->index];

    /* first, so that nobody who still looks takes it for what it was */

    index->listed = 0;
    e->generation++;
    ngx_memory_barrier();

    own = offsetof(ngx_http_registry_flight_entry_t, owner);
    ngx_memzero((u_char *) e + own, sizeof(*e) - own);

    e->size = -1;
    e->key_len = (u_short) key->len;
    ngx_memcpy(e->key, key->data, key->len);

    index->hash = hash;
    index->ended = 0;
    ngx_memory_barrier();

    /* last, so that nobody finds the half of it, if we are killed */

    index->listed = 1;

    return e;
}


/* the one that ended first, or else one that nobody has taken up */

static ngx_http_registry_flight_index_t *
ngx_http_registry_flight_room(ngx_http_registry_flights_t *sh)
{
    ngx_uint_t                         i;
    ngx_msec_int_t                     age, best;
    ngx_http_registry_flight_index_t  *index, *room;

    best = NGX_HTTP_REGISTRY_FLIGHT_LINGER - 1;
    room = NULL;

    for (i = 0; i < sh->n; i++) {
        index = &sh->index[i];
        age = (ngx_msec_int_t) (ngx_current_msec - index->since);

        if (index->ended && age > best) {
            best = age;
            room = index;
        }
    }

    for (i = 0; room == NULL && i < sh->n; i++) {
        index = &sh->index[i];

        if (index->ended
            || !ngx_http_registry_flight_left(&sh->entries[i]))
        {
            continue;
        }

        /* left just now, so far as anybody knows */

        if (sh->entries[i].owner) {
            ngx_http_registry_flight_orphan(sh, &sh->entries[i]);
        }

        age = (ngx_msec_int_t) (ngx_current_msec - index->since);

        if (age >= NGX_HTTP_REGISTRY_FLIGHT_LEFT) {
            room = index;
        }
    }

    return room;
}


ngx_uint_t
ngx_http_registry_flight_left(ngx_http_registry_flight_entry_t *e)
{
    ngx_pid_t  pid;

    pid = (ngx_pid_t) e->owner;

    return pid == 0 || (kill(pid, 0) == -1 && ngx_errno == NGX_ESRCH);
}


void
ngx_http_registry_flight_orphan(ngx_http_registry_flights_t *sh,
    ngx_http_registry_flight_entry_t *e)
{
    ngx_http_registry_flight_index_t  *index;

    index = &sh->index[e - sh->entries];

    index->since = ngx_current_msec;

    /* how it ended was said, and that was the last */

    if (e->state > NGX_HTTP_REGISTRY_FLIGHT_DONE) {
        index->listed = 0;
        index->ended = 1;
    }

    ngx_memory_barrier();

    e->owner = 0;
}
