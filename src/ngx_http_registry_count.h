
/*
 * Counters, in shared memory: of each namespace, for as long as nginx runs,
 * whatever a reload makes of the list of them; and what the processes have
 * in hand at the moment.
 */


#ifndef NGX_HTTP_REGISTRY_COUNT_H
#define NGX_HTTP_REGISTRY_COUNT_H


#include <ngx_config.h>
#include <ngx_core.h>

#include "ngx_http_registry_zone.h"


/* the order is that of status_tables.c */

typedef enum {
    /* requests, by operation */
    NGX_HTTP_REGISTRY_COUNT_CHECK = 0,
    NGX_HTTP_REGISTRY_COUNT_LIST_CATALOG,
    NGX_HTTP_REGISTRY_COUNT_LIST_TAGS,
    NGX_HTTP_REGISTRY_COUNT_LIST_REFERRERS,
    NGX_HTTP_REGISTRY_COUNT_PULL_MANIFEST,
    NGX_HTTP_REGISTRY_COUNT_PUSH_MANIFEST,
    NGX_HTTP_REGISTRY_COUNT_DELETE_MANIFEST,
    NGX_HTTP_REGISTRY_COUNT_PULL_BLOB,
    NGX_HTTP_REGISTRY_COUNT_PUSH_BLOB,
    NGX_HTTP_REGISTRY_COUNT_DELETE_BLOB,
    NGX_HTTP_REGISTRY_COUNT_OPERATIONS,

    /* how they ended, if not well */
    NGX_HTTP_REGISTRY_COUNT_4XX = NGX_HTTP_REGISTRY_COUNT_OPERATIONS,
    NGX_HTTP_REGISTRY_COUNT_5XX,
    NGX_HTTP_REGISTRY_COUNT_INCOMPLETE,     /* the answer broke off */

    /* how an answer was found; the order is also that of request.c */
    NGX_HTTP_REGISTRY_COUNT_HIT,
    NGX_HTTP_REGISTRY_COUNT_MISS,
    NGX_HTTP_REGISTRY_COUNT_REVALIDATED,
    NGX_HTTP_REGISTRY_COUNT_STALE,
    NGX_HTTP_REGISTRY_COUNT_JOIN,
    NGX_HTTP_REGISTRY_COUNT_BYPASS,

    /* blobs that have come to be in a repository by a push */
    NGX_HTTP_REGISTRY_COUNT_UPLOADED,
    NGX_HTTP_REGISTRY_COUNT_MOUNTED,

    NGX_HTTP_REGISTRY_COUNT_SENT,           /* bytes of bodies, to clients */
    NGX_HTTP_REGISTRY_COUNT_HOSTED,

    /* of a remote: bytes of bodies, and how its answers were */
    NGX_HTTP_REGISTRY_COUNT_RECEIVED = NGX_HTTP_REGISTRY_COUNT_HOSTED,
    NGX_HTTP_REGISTRY_COUNT_ANSWERED,
    NGX_HTTP_REGISTRY_COUNT_LIMITED,        /* 429 */
    NGX_HTTP_REGISTRY_COUNT_FAILED,         /* 5xx */
    NGX_HTTP_REGISTRY_COUNT_BROKEN,         /* none, or not to its end */
    NGX_HTTP_REGISTRY_COUNT_TOKENS,
    NGX_HTTP_REGISTRY_COUNT_NO_TOKENS,
    NGX_HTTP_REGISTRY_COUNT_FLIGHTS,        /* begun */
    NGX_HTTP_REGISTRY_COUNT_FETCHED,        /* ahead, by "prefetch" */
    NGX_HTTP_REGISTRY_COUNT_UNFETCHED,      /* it failed */
    NGX_HTTP_REGISTRY_COUNT_DROPPED,        /* it was not tried */

    /* no counters: what its last such answer said; 0 if none did */
    NGX_HTTP_REGISTRY_COUNT_RATE_LIMIT,     /* requests */
    NGX_HTTP_REGISTRY_COUNT_RATE_REMAINING, /* of them */
    NGX_HTTP_REGISTRY_COUNT_RATE_WINDOW,    /* seconds */
    NGX_HTTP_REGISTRY_COUNT_RETRY_AT,       /* time(), of Retry-After */

    NGX_HTTP_REGISTRY_COUNT_MAX
} ngx_http_registry_count_e;


typedef struct ngx_http_registry_counters_s  ngx_http_registry_counters_t;

struct ngx_http_registry_counters_s {
    ngx_http_registry_counters_t  *next;
    ngx_str_t                      name;    /* behind them */
    ngx_uint_t                     n;
    ngx_atomic_t                   count[1];
};


/* one atomic addition each */

#define ngx_http_registry_count(counters, what)                               \
    ngx_http_registry_count_n(counters, what, 1)

#define ngx_http_registry_count_n(counters, what, number)                     \
    (void) ngx_atomic_fetch_add(&(counters)->count[what], number)


/*
 * While the configuration is read: before a process starts, *counters will
 * point to the n counters of this name, which are zero when it is new.
 * NGX_ERROR if memory is short.
 */
ngx_int_t ngx_http_registry_count_add(ngx_http_registry_zone_t *zone,
    ngx_pool_t *pool, ngx_str_t *name, ngx_uint_t n,
    ngx_http_registry_counters_t **counters);

/* in each process; without it what is in hand is not known */
void ngx_http_registry_count_init_process(ngx_http_registry_zone_t *zone);

/* an operation begins, 1, or ends, -1 */
void ngx_http_registry_count_active(ngx_http_registry_zone_t *zone,
    ngx_http_registry_count_e operation, ngx_int_t n);

/* what all processes have in hand, of each operation */
void ngx_http_registry_count_all_active(ngx_http_registry_zone_t *zone,
    ngx_int_t *active);


extern const ngx_http_registry_zone_part_t  ngx_http_registry_count_part;


#endif /* NGX_HTTP_REGISTRY_COUNT_H */
