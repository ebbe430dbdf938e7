
/*
 * What the files of the health checks share: an upstream {} that is checked,
 * and its peers, as they are in its zone and as they are known in ours.
 */


#ifndef NGX_HTTP_REGISTRY_HEALTH_CHECK_H
#define NGX_HTTP_REGISTRY_HEALTH_CHECK_H


#include "ngx_http_registry_health.h"


typedef struct {
    ngx_http_registry_health_t       *health;
    ngx_http_upstream_srv_conf_t     *upstream;
    ngx_http_registry_health_conf_t   conf;
    ngx_http_registry_client_t        client;
    registry_url_t                    url;

    /* of the process that leads */
    ngx_event_t                       timer;
    ngx_queue_t                       probes;   /* under way */
} ngx_http_registry_health_check_t;


/* a peer as it is in the upstream {} */

typedef struct {
    ngx_str_t                         name;
    ngx_uint_t                        marked;   /* down, by us */
} ngx_http_registry_health_found_t;


#define ngx_http_registry_health_equal(one, two)                              \
    ((one)->len == (two)->len                                                 \
     && ngx_memcmp((one)->data, (two)->data, (one)->len) == 0)


/* health.c: stops what this process does, if it does anything */

void ngx_http_registry_health_stop(ngx_http_registry_health_t *health);
void ngx_http_registry_health_cleanup(void *data);


/* health_conf.c: NULL if the upstream {} of that name is not checked */

ngx_http_registry_health_check_t *ngx_http_registry_health_find(
    ngx_http_registry_health_t *health, ngx_str_t *upstream);


/*
 * health_peers.c: the lease.  _join() is for a new configuration, after which the
 * older ones' processes hold nothing.  _take() takes the lease or renews it;
 * 1 if it is ours, else 0.
 */

void ngx_http_registry_health_join(ngx_http_registry_health_t *health);
ngx_uint_t ngx_http_registry_health_take(ngx_http_registry_health_t *health);

/*
 * The peers that are to be asked, primary and backup, as an array of _found_t
 * in the pool; NULL if memory is short.
 */

ngx_array_t *ngx_http_registry_health_walk(
    ngx_http_registry_health_check_t *check, ngx_pool_t *pool);

/*
 * Each of them is in the upstream {}, perhaps again: what is known of it
 * holds.  NGX_ERROR if there is no room to know it.
 */

ngx_int_t ngx_http_registry_health_seen(
    ngx_http_registry_health_check_t *check,
    ngx_http_registry_health_found_t *found);

/* and what was not seen in this second is not there any more */

void ngx_http_registry_health_sweep(ngx_http_registry_health_check_t *check);

/*
 * How a check ended: with a status, or else an error.  NGX_DECLINED: the peer
 * is down now, NGX_OK: it is up again, NGX_DONE: it is as it was.
 */

ngx_int_t ngx_http_registry_health_count(
    ngx_http_registry_health_check_t *check, ngx_str_t *name,
    ngx_uint_t status, ngx_http_registry_call_error_e error);


#endif /* NGX_HTTP_REGISTRY_HEALTH_CHECK_H */
