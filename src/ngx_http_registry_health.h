
/*
 * Active health checks: the peers of an upstream {} are asked now and then
 * whether they serve, and those that do not are marked down in its zone.  How
 * they fare is in the registry's zone, and outlives workers and reloads.
 */


#ifndef NGX_HTTP_REGISTRY_HEALTH_H
#define NGX_HTTP_REGISTRY_HEALTH_H


#include "ngx_http_registry_client.h"
#include "ngx_http_registry_zone.h"


/* "health_check", as it was configured; all is set if "enabled" is 1 */

typedef struct {
    ngx_flag_t                       enabled;   /* may be NGX_CONF_UNSET */
    ngx_str_t                        uri;
    ngx_msec_t                       interval;
    ngx_msec_t                       timeout;   /* not more than interval */
    ngx_uint_t                       fails;     /* in a row, to be down */
    ngx_uint_t                       passes;    /* in a row, to be up again */
    unsigned                         inherited:1;   /* by the remote */
} ngx_http_registry_health_conf_t;


/* what is checked in one configuration, and by the process that does it */

typedef struct {
    ngx_http_registry_zone_t        *zone;
    ngx_array_t                      checks;    /* of pointers to health.c's
                                                   own, one an upstream {} */
    ngx_uint_t                       generation;
    ngx_uint_t                       leads;     /* this process does it */
} ngx_http_registry_health_t;


/* how a peer fares */

typedef struct {
    ngx_str_t                        upstream;
    ngx_str_t                        name;      /* "10.0.0.1:443" */
    ngx_uint_t                       down;      /* 0 or 1 */
    time_t                           since;     /* it is up, or down */
    time_t                           checked;   /* when the last check ended;
                                                   0: there was none yet */
    ngx_uint_t                       status;    /* of its answer; 0: none */
    ngx_http_registry_call_error_e   error;     /* why there was none */
    ngx_uint_t                       passes;    /* in a row, up to now */
    ngx_uint_t                       fails;     /* likewise */
    ngx_uint_t                       checks;    /* of all time */
    ngx_uint_t                       failures;
} ngx_http_registry_health_peer_t;


/*
 * The set function of a command, for a ngx_http_registry_health_conf_t at
 * cmd->offset: "[uri=] [interval=] [timeout=] [fails=] [passes=]" or "off".
 */
char *ngx_http_registry_health_slot(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* a new configuration */
ngx_int_t ngx_http_registry_health_create(ngx_conf_t *cf,
    ngx_http_registry_health_t *health, ngx_http_registry_zone_t *zone);

/*
 * After ngx_http_registry_client_init(): has the upstreams of the client's
 * targets checked, if "conf" says so.  One that was added before is checked
 * once.  Errors are logged, with the client's file and line.
 */
ngx_int_t ngx_http_registry_health_add(ngx_conf_t *cf,
    ngx_http_registry_health_t *health, ngx_http_registry_client_t *client,
    ngx_http_registry_health_conf_t *conf);

/*
 * In the master, once this is the configuration: what is known of the peers
 * holds for the new cycle's workers from their first request on.
 */
void ngx_http_registry_health_init_module(ngx_http_registry_health_t *health);

/* in each worker */
void ngx_http_registry_health_init_process(ngx_cycle_t *cycle);

/*
 * How the peers fare that are checked, as an array of _health_peer_t in the
 * pool, in the order in which they were first seen; NULL if memory is short.
 * What is not asked for at all ("server ... down") is not among them.
 */
ngx_array_t *ngx_http_registry_health_peers(ngx_http_registry_zone_t *zone,
    ngx_pool_t *pool);


extern const ngx_http_registry_zone_part_t  ngx_http_registry_health_part;


#endif /* NGX_HTTP_REGISTRY_HEALTH_H */
