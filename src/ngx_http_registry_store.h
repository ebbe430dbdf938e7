
/*
 * What every store can do.  An operation is created, filled in, started and
 * freed by its owner; a driver runs it.  Nothing here knows of requests.
 */


#ifndef NGX_HTTP_REGISTRY_STORE_H
#define NGX_HTTP_REGISTRY_STORE_H


#include "ngx_http_registry_task.h"

#include "registry_digest.h"
#include "registry_manifest.h"
#include "registry_name.h"
#include "registry_upload.h"


/* of a store on a file system: what is below may take the rest */

#define NGX_HTTP_REGISTRY_STORE_PATH  (NGX_MAX_PATH - 1024)


typedef enum {
    /*
     * name, digest, linked, cache; out: of, and fd unless the file is
     * file_pool's.  With "any" it need not be the repository's; out: linked,
     * if it is.
     */
    NGX_HTTP_REGISTRY_OP_BLOB_OPEN = 0,

    /*
     * name, waiting, digest; with "all" not its link alone: others may have
     * it too
     */
    NGX_HTTP_REGISTRY_OP_BLOB_DELETE,

    /* name, from, digest: links what "from" links, or any does, if NULL */
    NGX_HTTP_REGISTRY_OP_BLOB_MOUNT,

    /*
     * digest: it was used now, which is kept unless it was used less than
     * "limit" seconds ago; name is empty
     */
    NGX_HTTP_REGISTRY_OP_BLOB_TOUCH,

    /* out: fd, temp: a file to fetch a blob into, with a lock */
    NGX_HTTP_REGISTRY_OP_TEMP_CREATE,

    /*
     * temp, digest; out: fd, to read, also if it is a blob by now, or, with
     * "exclusive", to write on, with its lock
     */
    NGX_HTTP_REGISTRY_OP_TEMP_FOLLOW,

    /* name, temp, fd, digest: makes a blob of it; links it unless "any" */
    NGX_HTTP_REGISTRY_OP_TEMP_PUBLISH,

    /* fd, and temp unless it is empty: closes the one, removes the other */
    NGX_HTTP_REGISTRY_OP_TEMP_DISCARD,

    /* name, upload, hash: a new session */
    NGX_HTTP_REGISTRY_OP_UPLOAD_CREATE,

    /*
     * name, upload; out: fd, hash, its length being where the session
     * stands.  With "exclusive" nobody else can open the session so until
     * fd is closed.
     */
    NGX_HTTP_REGISTRY_OP_UPLOAD_OPEN,

    /* name, upload, hash: keeps where the session stands */
    NGX_HTTP_REGISTRY_OP_UPLOAD_SAVE,

    /*
     * name, upload, fd, digest, hash: makes a blob of the session's data if
     * that is what it hashes to, links it and ends the session
     */
    NGX_HTTP_REGISTRY_OP_UPLOAD_COMMIT,

    /* name, upload */
    NGX_HTTP_REGISTRY_OP_UPLOAD_DELETE,

    /*
     * name, and tag or digest; out: digest, and unless it is "known", data
     * and media type; of.mtime, when the tag was known to be true
     */
    NGX_HTTP_REGISTRY_OP_MANIFEST_READ,

    /* name, items; out: "missing" of each is set */
    NGX_HTTP_REGISTRY_OP_MANIFEST_CHECK,

    /* name, digest, data, media type, tags, subject, descriptor */
    NGX_HTTP_REGISTRY_OP_MANIFEST_WRITE,

    /* name, waiting, digest: also what points to it: every such tag */
    NGX_HTTP_REGISTRY_OP_MANIFEST_DELETE,

    /* name, digest, tags: point at it, or did already and still do */
    NGX_HTTP_REGISTRY_OP_TAG_WRITE,

    /* name, waiting, tag */
    NGX_HTTP_REGISTRY_OP_TAG_DELETE,

    /*
     * name, waiting; out: temp: takes away what a repository has, or with
     * "all" what is below it too, by a new name
     */
    NGX_HTTP_REGISTRY_OP_PURGE,

    /*
     * temp, limit: removes so many files of that; out: purged, and as the
     * list the manifests, "NAME@DIGEST".  NGX_DECLINED: it was the rest.
     */
    NGX_HTTP_REGISTRY_OP_PURGE_REMOVE,

    /* [name], last, limit; out: list */
    NGX_HTTP_REGISTRY_OP_TAGS,
    NGX_HTTP_REGISTRY_OP_CATALOG,

    /* name, digest, last, limit, artifact type; out: list of descriptors */
    NGX_HTTP_REGISTRY_OP_REFERRERS,

    NGX_HTTP_REGISTRY_OP_MAX
} ngx_http_registry_op_e;


typedef struct ngx_http_registry_op_s            ngx_http_registry_op_t;
typedef struct ngx_http_registry_store_s         ngx_http_registry_store_t;
typedef struct ngx_http_registry_driver_s        ngx_http_registry_driver_t;
typedef struct ngx_http_registry_evict_s         ngx_http_registry_evict_t;
typedef struct ngx_http_registry_adopt_s         ngx_http_registry_adopt_t;


typedef struct {
    registry_digest_t            digest;
    registry_descriptor_e        type;
    ngx_uint_t                   missing;
} ngx_http_registry_item_t;


/* zero terminated strings, one after the other, in malloc()ed memory */

typedef struct {
    char                        *start;
    size_t                       len;
    size_t                       size;
    ngx_uint_t                   n;

    /* where the next page begins: its "last"; empty if this is the end */
    char                         next[REGISTRY_NAME_MAX + 1];
} ngx_http_registry_list_t;


/* how many links were removed */

typedef struct {
    ngx_uint_t                   tags;
    ngx_uint_t                   manifests;
    ngx_uint_t                   blobs;
} ngx_http_registry_purged_t;


struct ngx_http_registry_op_s {
    ngx_http_registry_task_t     task;      /* first: its pool is ours */

    ngx_http_registry_store_t   *store;
    ngx_http_registry_op_e       kind;

    /*
     * How it ended: NGX_OK; NGX_DECLINED, what it is about is not there;
     * NGX_BUSY, somebody else has the session; NGX_ABORT, the bytes are not
     * what the digest says; NGX_ERROR, and then err, call and path say what
     * failed, and err is an errno.
     */
    ngx_int_t                    status;
    ngx_err_t                    err;
    const char                  *call;
    char                         path[512];     /* perhaps cut short */

    /* what it is about; zero terminated, in the operation's pool */

    char                        *name;
    char                        *waiting;   /* its name where it waits to be
                                               adopted: NULL if nothing does */
    char                        *from;
    char                        *tag;
    char                        *last;
    char                        *artifact_type;
    char                         upload[REGISTRY_UPLOAD_ID_LEN + 1];
    char                         temp[REGISTRY_UPLOAD_ID_LEN + 2];
    registry_digest_t            digest;
    registry_hash_t              hash;
    ngx_uint_t                   limit;

    /* MANIFEST_READ */
    registry_digest_t            known;     /* len 0 if there is none */
    char                         media_type[REGISTRY_MEDIA_TYPE_MAX + 1];
    u_char                      *data;      /* read: malloc()ed, ours */
    size_t                       size;

    /* MANIFEST_WRITE: the data stay the owner's unless "data" is malloc()ed */
    char                       **tags;
    ngx_uint_t                   ntags;
    registry_digest_t            subject;   /* len 0 if there is none */
    char                        *descriptor;

    /* MANIFEST_CHECK */
    ngx_http_registry_item_t    *items;
    ngx_uint_t                   nitems;

    ngx_http_registry_list_t     list;
    ngx_http_registry_purged_t   purged;

    /*
     * BLOB_OPEN: with file_pool the file belongs to that pool and may come
     * from the cache; else fd is the operation's until it is taken.
     */
    ngx_open_file_info_t         of;
    ngx_open_file_cache_t       *cache;
    ngx_pool_t                  *file_pool;

    ngx_fd_t                     fd;        /* taken: NGX_INVALID_FILE */

    unsigned                     any:1;
    unsigned                     all:1;
    unsigned                     linked:1;   /* name is known to have it */
    unsigned                     exclusive:1;
    unsigned                     threaded:1; /* runs in a thread: may be slow */
    unsigned                     apart:2;    /* the driver's: of "waiting" */
};


struct ngx_http_registry_driver_s {
    /* once in each process, before anything else; may be NULL */
    void                       (*init)(ngx_http_registry_store_t *store,
                                       ngx_log_t *log);

    /* as ngx_http_registry_task_run() */
    ngx_int_t                  (*start)(ngx_http_registry_op_t *op);

    /*
     * In the cache manager process, in bounded rounds: removes what is
     * abandoned.  Returns when to be called next, in milliseconds.
     */
    ngx_msec_t                 (*expire)(ngx_http_registry_store_t *store);
};


/* for the log */

#define ngx_http_registry_store_kind(store)                                   \
    ((store)->evict ? "registry_cache" : "registry_store")


struct ngx_http_registry_store_s {
    ngx_str_t                           name;
    ngx_http_registry_driver_t         *driver;

    /*
     * Its part of the keys in shared memory, made of its path alone: these
     * outlive a configuration.
     */
    uint32_t                            id[2];

    ngx_str_t                           path;   /* zero terminated */
    ngx_thread_pool_t                  *tp;
    ngx_msec_t                          tag_valid;
    time_t                              upload_expires;
    unsigned                            network:1;

    ngx_http_registry_evict_t          *evict;  /* of a cache; else NULL */
    ngx_uint_t                          offline;    /* nothing is put in */

    /* of copies, in this process; 0: never */
    ngx_msec_t                          full;   /* it took no more */
    ngx_msec_t                          logged; /* and that was said */

    ngx_msec_t                          due;    /* expire(): the next round */

    /* of expire(): the repository that the last round reached */
    char                                cursor[REGISTRY_NAME_MAX + 1];

    u_char                             *file;   /* of the directive */
    ngx_uint_t                          line;
};


/* NULL if memory is short */

ngx_http_registry_op_t *ngx_http_registry_op_create(
    ngx_http_registry_store_t *store, ngx_http_registry_op_e kind,
    ngx_str_t *name, ngx_log_t *log);

/* a zero terminated copy in the operation's pool, NULL if memory is short */

char *ngx_http_registry_op_copy(ngx_http_registry_op_t *op, ngx_str_t *s);

/* task.handler and task.data are set by the owner; see _task_run() */

ngx_int_t ngx_http_registry_op_start(ngx_http_registry_op_t *op);

void ngx_http_registry_op_free(ngx_http_registry_op_t *op);


extern ngx_http_registry_driver_t  ngx_http_registry_fs_driver;


#endif /* NGX_HTTP_REGISTRY_STORE_H */
