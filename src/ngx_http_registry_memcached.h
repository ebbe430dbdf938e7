
/*
 * Manifests and tags in memcached, shared by several nodes.  libmemcached is
 * called in threads only, and its consistent hashing chooses the server.
 * Whatever goes wrong is a miss, and a server that fails is left out for a
 * while.
 */


#ifndef NGX_HTTP_REGISTRY_MEMCACHED_H
#define NGX_HTTP_REGISTRY_MEMCACHED_H


#include "ngx_http_registry_count.h"
#include "ngx_http_registry_task.h"

#include "registry_digest.h"
#include "registry_manifest.h"


#define NGX_HTTP_REGISTRY_MEMCACHED_KEY   250   /* bytes, by the protocol */
#define NGX_HTTP_REGISTRY_MEMCACHED_HASH  64    /* of these, the last */
#define NGX_HTTP_REGISTRY_MEMCACHED_KEPT  8     /* connections to a server */

/* an item is at most 1m there by default, with its key and header */
#define NGX_HTTP_REGISTRY_MEMCACHED_VALUE  (1024 * 1024 - 1024)


/* of a server, in all processes; the order is that of status_tables.c */

typedef enum {
    NGX_HTTP_REGISTRY_MEMCACHED_HITS = 0,
    NGX_HTTP_REGISTRY_MEMCACHED_MISSES,
    NGX_HTTP_REGISTRY_MEMCACHED_FAILURES,
    NGX_HTTP_REGISTRY_MEMCACHED_DOWN,       /* no counter: 1 or 0 */
    NGX_HTTP_REGISTRY_MEMCACHED_COUNTERS
} ngx_http_registry_memcached_count_e;


typedef struct {
    ngx_str_t                     name;     /* as it was configured */
    char                         *host;     /* or the path of a socket */
    in_port_t                     port;     /* 0: it is a path */
    ngx_http_registry_counters_t *counters;

    /* connected, and in nobody's hands; under the mutex */
    struct memcached_st          *kept[NGX_HTTP_REGISTRY_MEMCACHED_KEPT];
    ngx_uint_t                    nkept;

    /* what this process thinks of it; the threads know nothing of that */
    ngx_uint_t                    down;     /* left out, until a probe ... */
    ngx_msec_t                    probe;    /* ... not before this time */
    ngx_uint_t                    late;     /* operations over the limit */
    time_t                        logged;   /* that it is down */
    ngx_uint_t                    told;     /* and not yet that it is back */
} ngx_http_registry_memcached_server_t;


typedef struct {
    ngx_array_t                   servers;
    ngx_str_t                     secret;   /* empty: tags are not kept */
    ngx_str_t                     prefix;   /* of keys */
    ngx_msec_t                    timeout;  /* of an operation */
    ngx_msec_t                    fail_timeout;
    ngx_thread_pool_t            *tp;

    struct memcached_st          *ring;     /* chooses, and never connects */
    ngx_thread_mutex_t            mutex;
} ngx_http_registry_memcached_t;


typedef enum {
    /* digest; out: bytes, media_type */
    NGX_HTTP_REGISTRY_MEMCACHED_GET_MANIFEST = 0,

    /* bytes, media_type, ttl */
    NGX_HTTP_REGISTRY_MEMCACHED_SET_MANIFEST,

    /* out: digest, time */
    NGX_HTTP_REGISTRY_MEMCACHED_GET_TAG,

    /* digest, time, ttl */
    NGX_HTTP_REGISTRY_MEMCACHED_SET_TAG,

    NGX_HTTP_REGISTRY_MEMCACHED_DELETE,

    /* ours: whether a server answers again */
    NGX_HTTP_REGISTRY_MEMCACHED_PROBE
} ngx_http_registry_memcached_op_e;


typedef struct {
    ngx_http_registry_task_t      task;     /* first: its pool is ours */

    /* of the owner: called once if _start() says NGX_AGAIN, unless freed */
    void                        (*handler)(void *data);
    void                         *data;

    /*
     * NGX_OK: found and proven, stored, deleted.  NGX_DECLINED: nothing
     * found, or nothing that is to be believed; perhaps not stored, not
     * deleted.  What is said to be "out" is set with NGX_OK only.
     */
    ngx_int_t                     status;

    registry_digest_t             digest;

    /* in: the owner's, copied by _start(); out: lives as long as this */
    ngx_str_t                     bytes;
    char                          media_type[REGISTRY_MEDIA_TYPE_MAX + 1];

    time_t                        time;     /* when the tag was known true */
    time_t                        ttl;      /* seconds; 0: without an end */

    /* the rest is private; of the event loop: */

    ngx_http_registry_memcached_t         *memcached;
    ngx_http_registry_memcached_op_e       kind;
    ngx_http_registry_memcached_server_t  *server;
    u_char                        key[NGX_HTTP_REGISTRY_MEMCACHED_KEY + 1];
    size_t                        key_len;
    ngx_msec_t                    deadline;
    ngx_event_t                   limit;
    ngx_uint_t                    running;
    ngx_uint_t                    late;     /* the limit has passed */

    /* and of the thread, as long as it runs */

    char                         *value;    /* malloc()ed */
    size_t                        size;
    ngx_int_t                     result;   /* to be the status */
    int                           rc;       /* libmemcached's, and its errno */
    ngx_err_t                     err;
    ngx_uint_t                    garbage;
} ngx_http_registry_memcached_op_t;


/*
 * registry_memcached server ... [key=file] [timeout=time] [fail_timeout=time]
 *                               [prefix=string] [threads=pool];
 *
 * A slot of type ngx_http_registry_memcached_t *, NULL if there is none.
 */

char *ngx_http_registry_memcached_slot(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);

/* while the configuration is read: the servers' counters are in that zone */

ngx_int_t ngx_http_registry_memcached_counters(
    ngx_http_registry_memcached_t *mc, ngx_http_registry_zone_t *zone,
    ngx_pool_t *pool);

/* in each process, before anything else */

ngx_int_t ngx_http_registry_memcached_init(ngx_http_registry_memcached_t *mc,
    ngx_log_t *log);

/* the clean-up of the configuration's pool, which the slot adds */

void ngx_http_registry_memcached_cleanup(void *data);


/*
 * The key is any bytes that say what the value is of, the same on all nodes.
 * NULL if memory is short.
 */

ngx_http_registry_memcached_op_t *ngx_http_registry_memcached_op(
    ngx_http_registry_memcached_t *mc, ngx_http_registry_memcached_op_e kind,
    ngx_str_t *key, ngx_log_t *log);

/*
 * NGX_OK: it has ended, see the status.  NGX_AGAIN: the handler will be
 * called, and at the latest when the time-out has passed.
 */

ngx_int_t ngx_http_registry_memcached_start(
    ngx_http_registry_memcached_op_t *op);

/*
 * At any time, once.  What was started goes on: also the way to set or delete
 * something and not to wait for it.
 */

void ngx_http_registry_memcached_free(ngx_http_registry_memcached_op_t *op);


#endif /* NGX_HTTP_REGISTRY_MEMCACHED_H */
