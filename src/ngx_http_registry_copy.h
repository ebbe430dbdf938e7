
/*
 * Copies of blobs in the making: how a blob of a remote gets into the store,
 * and how others read it meanwhile.  In a process there is one for each blob
 * that it fetches, or follows while another one does.
 */


#ifndef NGX_HTTP_REGISTRY_COPY_H
#define NGX_HTTP_REGISTRY_COPY_H


#include "ngx_http_registry_disk.h"
#include "ngx_http_registry_flight.h"
#include "ngx_http_registry_remote.h"


/* a blob that somebody wants */

typedef struct {
    ngx_http_registry_remote_t      *remote;
    ngx_str_t                        name;      /* repository, in the store */
    ngx_str_t                        remote_name;   /* at the remote */
    registry_digest_t                digest;
    ngx_str_t                        authorization; /* of the client, or
                                                       empty: see _ask_t */
    ngx_str_t                        via;       /* likewise */
    uint32_t                         purges;    /* set by _join(): see
                                                   _blob_purged() */
} ngx_http_registry_blob_t;


/* how an answer that breaks off is asked for again: its owner sets "from" */

typedef struct {
    off_t                            from;      /* the byte it began with */
    ngx_uint_t                       tries;     /* since then */
} ngx_http_registry_retry_t;


typedef struct {
    ngx_queue_t                      queue;
    ngx_uint_t                       version;   /* of the copy, as it was seen;
                                                   0 at first */
    void                           (*handler)(void *data);
    void                            *data;
    unsigned                         waiting:1;
} ngx_http_registry_copy_wait_t;


typedef struct {
    /* for those who joined to read */

    ngx_http_registry_blob_t         blob;      /* as it is fetched */
    ngx_http_registry_flight_t       flight;
    ngx_fd_t                         fd;        /* to read from, or none yet */
    registry_hash_t                  hash;      /* DEGRADED: of what is there */

    unsigned                         found:1;   /* STORED: it was there, */
    unsigned                         linked:1;  /* and linked to blob.name */
    unsigned                         gone:1;    /* there is no file to read */

    /* copy.c's own */

    unsigned                         vouched:1; /* the blob can be asked for */
    unsigned                         answered:1;
    unsigned                         finished:1;
    unsigned                         paused:1;  /* the ask is to be resumed */
    unsigned                         patient:1;
    unsigned                         reserved:1;    /* room in the cache */
    ngx_uint_t                       busy;
    ngx_uint_t                       users;
    ngx_uint_t                       version;

    ngx_pool_t                      *pool;
    ngx_queue_t                      queue;
    ngx_queue_t                      waits;
    ngx_queue_t                      links;

    ngx_http_registry_ask_t         *ask;
    ngx_http_registry_op_t          *op;
    ngx_http_registry_disk_t        *file;      /* being written */
    u_char                          *kept;      /* before there is a file */
    size_t                           kept_len;
    size_t                           authorization_size;
    off_t                            size;      /* -1: not known */
    off_t                            skip;      /* of the answer */
    off_t                            synced;
    ngx_http_registry_retry_t        retry;
    ngx_event_t                      pause;
    ngx_uint_t                       walks;     /* of what is reserved */
} ngx_http_registry_copy_t;


/*
 * Joins the copy that is being made, or begins it, unless "join" is set, with
 * this blob, of which nothing is kept.  NGX_OK, NGX_DECLINED: there is none,
 * or too many are made already; NGX_ERROR: memory is short.
 */
ngx_int_t ngx_http_registry_copy_join(ngx_http_registry_blob_t *blob,
    ngx_uint_t join, ngx_http_registry_copy_t **copy);

/* once for each _join(); the copy goes on being made */
void ngx_http_registry_copy_leave(ngx_http_registry_copy_t *copy);

/*
 * NGX_OK: it is not as it was when this was asked before.  NGX_AGAIN: the
 * handler will be called, once; not for a copy whose flight has ended.
 */
ngx_int_t ngx_http_registry_copy_wait(ngx_http_registry_copy_t *copy,
    ngx_http_registry_copy_wait_t *wait);

/* 1 if it is made for this repository, else 0 */
ngx_uint_t ngx_http_registry_copy_is_for(ngx_http_registry_copy_t *copy,
    ngx_str_t *name);

/*
 * The remote lets this repository have it: it may be asked for so, and is
 * linked to it once it is in the store.
 */
void ngx_http_registry_copy_vouch(ngx_http_registry_copy_t *copy,
    ngx_http_registry_blob_t *blob);


/*
 * A request for the blob, from byte "first" to byte "last", or with -1 to the
 * end; NULL if memory is short.
 */
ngx_http_registry_ask_t *ngx_http_registry_blob_ask(
    ngx_http_registry_blob_t *blob, const char *method, off_t first,
    off_t last);

/*
 * NGX_OK if that is what its answer has, or else *skip bytes before it; *size
 * is the size of the blob, -1 if it is not known, and must not change.
 * NGX_DECLINED with why not.
 */
ngx_int_t ngx_http_registry_blob_answer(registry_http_response_t *response,
    off_t first, off_t last, off_t *size, off_t *skip,
    ngx_http_registry_failure_t *failure);


/*
 * 1 if the repository was purged since its blob was joined, or something of
 * it: then it is not linked, though those who wanted it get it; else 0.
 */
ngx_uint_t ngx_http_registry_blob_purged(ngx_http_registry_blob_t *blob);


/* what an answer that is not the blob says */
void ngx_http_registry_blob_refused(registry_http_response_t *response,
    ngx_http_registry_failure_t *failure);

/*
 * The answer broke off at byte "at": milliseconds until the rest is to be
 * asked for, or NGX_ERROR if that was done often enough.
 */
ngx_int_t ngx_http_registry_blob_pause(ngx_http_registry_retry_t *retry,
    off_t at, ngx_http_registry_failure_t *failure);


#endif /* NGX_HTTP_REGISTRY_COPY_H */
