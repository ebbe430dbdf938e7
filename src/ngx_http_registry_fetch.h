
/*
 * Getting a blob that is not in the cache yet: one client's view of the one
 * copy that is made for all of them, as far as this client may see it.
 */


#ifndef NGX_HTTP_REGISTRY_FETCH_H
#define NGX_HTTP_REGISTRY_FETCH_H


#include "ngx_http_registry_copy.h"


/*
 * So much of the end is held back until the digest is right, so that nobody
 * ever has a wrong blob and believes it: bytes, of a blob whose size is known
 * and of one whose size is not.
 */

#define NGX_HTTP_REGISTRY_HOLD      4096
#define NGX_HTTP_REGISTRY_HOLD_ANY  65536

#define ngx_http_registry_hold(size)                                          \
    (((size) == -1) ? NGX_HTTP_REGISTRY_HOLD_ANY : NGX_HTTP_REGISTRY_HOLD)


typedef enum {
    NGX_HTTP_REGISTRY_FETCH_RUNNING = 0,
    NGX_HTTP_REGISTRY_FETCH_DONE,       /* all of it is ready */

    /* the store has it, also for this repository: it is to be asked again */
    NGX_HTTP_REGISTRY_FETCH_FOUND,

    NGX_HTTP_REGISTRY_FETCH_FAILED,     /* "failure" says why */

    /*
     * No copy is made.  What is ready is the beginning of the blob, so far as
     * one can see: the rest is to be got from the remote by oneself.
     */
    NGX_HTTP_REGISTRY_FETCH_DEGRADED
} ngx_http_registry_fetch_state_e;


/* zeroed by its owner, whose memory it is */

typedef struct {
    /* set by the owner, before _start(); bytes that live as long as this */

    ngx_http_registry_blob_t         blob;
    void                           (*handler)(void *data);
    void                            *data;
    unsigned                         join:1;    /* if it is fetched already */

    /* after _start() and each _wait() that returned NGX_OK */

    ngx_http_registry_fetch_state_e  state;
    off_t                            size;      /* -1: not known, yet or at
                                                   all: see "known" */
    off_t                            written;   /* bytes that have come */
    off_t                            ready;     /* bytes that may be sent */
    ngx_fd_t                         fd;        /* to read them from; it stays
                                                   the fetch's */
    ngx_http_registry_failure_t      failure;   /* error: of a call */
    unsigned                         known:1;   /* the remote sends it */
    unsigned                         joined:1;  /* somebody began before us */

    /* fetch.c's own */

    unsigned                         checked:1; /* the remote lets us have it */
    unsigned                         ranged:1;  /* it was asked by GET */
    unsigned                         again:1;
    ngx_http_registry_copy_t        *copy;
    ngx_http_registry_copy_wait_t    wait;
    ngx_http_registry_ask_t         *ask;
    ngx_http_registry_op_t          *op;
} ngx_http_registry_fetch_t;


/*
 * NGX_OK: started, see how it is.  NGX_DECLINED: with "join", nobody fetches
 * it.  NGX_ERROR: memory is short.
 */
ngx_int_t ngx_http_registry_fetch_start(ngx_http_registry_fetch_t *fetch);

/*
 * NGX_OK: something is not as it was, or nothing will change any more.
 * NGX_AGAIN: the handler will be called, once, and then this is to be called
 * again.
 */
ngx_int_t ngx_http_registry_fetch_wait(ngx_http_registry_fetch_t *fetch);

/*
 * DEGRADED: the hash of the "ready" bytes, to go on with.
 */
void ngx_http_registry_fetch_hash(ngx_http_registry_fetch_t *fetch,
    registry_hash_t *hash);

/* 1 if what is fetched is fetched here, and only because of this one */

#define ngx_http_registry_fetch_leads(fetch)                                  \
    ((fetch)->copy && (fetch)->copy->flight.leads && !(fetch)->joined)

/* 1 if the remote is being asked whether this repository may have it */

#define ngx_http_registry_fetch_asks(fetch)  ((fetch)->ask || (fetch)->op)

/* the handler is called no more; what is there can be read still */
void ngx_http_registry_fetch_stop(ngx_http_registry_fetch_t *fetch);

/* at any time, to be started again perhaps; the blob goes on being fetched */
void ngx_http_registry_fetch_cancel(ngx_http_registry_fetch_t *fetch);


#endif /* NGX_HTTP_REGISTRY_FETCH_H */
