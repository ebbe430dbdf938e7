
/*
 * The table of flights in shared memory: places, and which keys they have.
 * All that is declared here is called under the zone's mutex, or it says so.
 */


#ifndef NGX_HTTP_REGISTRY_FLIGHT_TABLE_H
#define NGX_HTTP_REGISTRY_FLIGHT_TABLE_H


#include "ngx_http_registry_flight.h"


/* how long one that has ended is kept: milliseconds */
#define NGX_HTTP_REGISTRY_FLIGHT_LINGER  1000


struct ngx_http_registry_flight_entry_s {
    ngx_uint_t                   generation;
    ngx_atomic_t                 owner;     /* a process, or 0 */
    ngx_atomic_t                 state;
    ngx_atomic_t                 beat;      /* moves on while one leads */
    ngx_atomic_t                 waiters;   /* slots */

    /*
     * The state of the hash, and so how much is there: the whole one is
     * hash[record % 2], and stays so if who writes the other one is killed.
     */
    ngx_atomic_t                 record;
    registry_hash_t              hash[2];

    off_t                        size;
    ngx_http_registry_failure_t  failure;

    u_short                      key_len;
    u_short                      label_len;
    u_char                       key[NGX_HTTP_REGISTRY_FLIGHT_KEY];
    u_char                       label[REGISTRY_NAME_MAX];
    char                         file[NGX_HTTP_REGISTRY_FLIGHT_FILE];
};


/* what all of them are searched by, close together */

typedef struct {
    uint32_t                     hash;      /* of the key, never 0 */
    unsigned                     listed:1;  /* can be found by its key */
    unsigned                     ended:1;   /* can be used for another */
    ngx_msec_t                   since;     /* it ended, or was left */
} ngx_http_registry_flight_index_t;


typedef struct {
    ngx_uint_t                          n;
    ngx_http_registry_flight_index_t   *index;
    ngx_http_registry_flight_entry_t   *entries;
} ngx_http_registry_flights_t;


#define ngx_http_registry_flights(zone)                                       \
    ((ngx_http_registry_flights_t *)                                          \
     (zone)->sh->part[NGX_HTTP_REGISTRY_ZONE_FLIGHT])


/* the flight that can be found by this key; NULL if there is none */

ngx_http_registry_flight_entry_t *ngx_http_registry_flight_find(
    ngx_http_registry_flights_t *sh, ngx_str_t *key, uint32_t hash);

/* a new one, which nobody leads yet; NULL if there is no room */

ngx_http_registry_flight_entry_t *ngx_http_registry_flight_create(
    ngx_http_registry_flights_t *sh, ngx_str_t *key, uint32_t hash);

/* 1 if nobody who lives leads it, else 0; without the mutex too */

ngx_uint_t ngx_http_registry_flight_left(
    ngx_http_registry_flight_entry_t *e);

/* nobody leads it, from now on; one that had ended is found no more */

void ngx_http_registry_flight_orphan(ngx_http_registry_flights_t *sh,
    ngx_http_registry_flight_entry_t *e);


#endif /* NGX_HTTP_REGISTRY_FLIGHT_TABLE_H */
