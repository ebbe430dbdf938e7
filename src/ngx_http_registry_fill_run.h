
/*
 * A run, and what the files of fill.c have of each other.  A run ends by
 * _run_found() or _run_failed(), and may be gone then.
 */


#ifndef NGX_HTTP_REGISTRY_FILL_RUN_H
#define NGX_HTTP_REGISTRY_FILL_RUN_H


#include "ngx_http_registry_fill.h"
#include "ngx_http_registry_flight.h"


#define NGX_HTTP_REGISTRY_FILL_HERE  (32 * 1024)    /* more: in a thread */


typedef struct ngx_http_registry_run_s  ngx_http_registry_run_t;


struct ngx_http_registry_run_s {
    ngx_queue_t                     queue;      /* of all that run */
    ngx_queue_t                     waiters;    /* of fill_t */
    ngx_pool_t                     *pool;

    ngx_http_registry_remote_t     *remote;
    ngx_http_registry_manifest_t    manifest;   /* what is wanted */
    ngx_http_registry_manifest_t    copy;       /* body NULL: there is none */
    ngx_str_t                       name;
    ngx_str_t                       via;
    ngx_str_t                       authorization;

    ngx_http_registry_flight_t      flight;     /* of who asks the remote */
    void                          (*next)(ngx_http_registry_run_t *run);

    ngx_http_registry_ask_t        *ask;
    ngx_http_registry_op_t         *op;
    ngx_http_registry_task_t       *task;
    ngx_http_registry_memcached_op_t  *mop;

    registry_digest_t               digest;     /* of what is got; len 0: not
                                                   known */
    registry_hash_t                 hash;
    ngx_str_t                       body;       /* of the answer so far */
    size_t                          size;       /* allocated for it */
    ngx_str_t                       content_type;
    ngx_str_t                       retry_after;

    time_t                          since;      /* when the copy was known to
                                                   be true, seconds */
    unsigned                        typed:1;    /* the type is not in it */
    unsigned                        shared:1;   /* memcached had it, */
    unsigned                        told:1;     /* or where the tag points */
    unsigned                        moved:1;    /* the tag, to run->digest */
    unsigned                        boarded:1;
    unsigned                        again:1;    /* an answer broke off */
};


/* fill.c: the life of a run */

ngx_int_t ngx_http_registry_run_str(ngx_pool_t *pool, ngx_str_t *to,
    ngx_str_t *from);
void ngx_http_registry_run_failed(ngx_http_registry_run_t *run,
    ngx_uint_t status, ngx_http_registry_call_error_e error,
    const char *reason);
void ngx_http_registry_run_absent(ngx_http_registry_run_t *run);
void ngx_http_registry_run_found(ngx_http_registry_run_t *run,
    ngx_http_registry_fill_e found);


/*
 * fill_tiers.c: the tag from memcached, what has a digest from the cache and
 * from memcached, and then, perhaps, the remote
 */

void ngx_http_registry_run_tag(ngx_http_registry_run_t *run);
void ngx_http_registry_run_read(ngx_http_registry_run_t *run,
    registry_digest_t *digest);
void ngx_http_registry_run_share(ngx_http_registry_run_t *run);


/*
 * fill_flight.c: asks, unless another worker does; then the run ends with what
 * came of that, or asks after all.  Whoever asks says how it ended: with 200,
 * the manifest is in shared memory.
 */

void ngx_http_registry_run_board(ngx_http_registry_run_t *run,
    void (*ask)(ngx_http_registry_run_t *run));
void ngx_http_registry_run_land(ngx_http_registry_run_t *run,
    ngx_uint_t status, ngx_http_registry_call_error_e error);


/* fill_ask.c: the remote */

void ngx_http_registry_run_check(ngx_http_registry_run_t *run);
void ngx_http_registry_run_get(ngx_http_registry_run_t *run);


#endif /* NGX_HTTP_REGISTRY_FILL_RUN_H */
