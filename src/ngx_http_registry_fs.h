
/*
 * The parts of the file system driver among themselves.  Everything here
 * blocks, and may run in a thread: it uses the operation and the stack.
 */


#ifndef NGX_HTTP_REGISTRY_FS_H
#define NGX_HTTP_REGISTRY_FS_H


#include "ngx_http_registry_store.h"

#include <dirent.h>
#include <sys/file.h>


/*
 * The layout is Distribution's (its registry/storage/paths.go), but for
 * _referrers, _tmp, media_type, hashstate and lock, which it passes over.
 */

#define NGX_HTTP_REGISTRY_FS_ROOT      "docker/registry/v2"
#define NGX_HTTP_REGISTRY_FS_SHARD     "blobs/%s/%s"
#define NGX_HTTP_REGISTRY_FS_REPOS     "repositories"
#define NGX_HTTP_REGISTRY_FS_REPO      "repositories/%s"
#define NGX_HTTP_REGISTRY_FS_LAYER     "repositories/%s/_layers/%s/%s/link"
#define NGX_HTTP_REGISTRY_FS_LOCK      "repositories/%s/_manifests/lock"
#define NGX_HTTP_REGISTRY_FS_REVISION                                         \
    "repositories/%s/_manifests/revisions/%s/%s/link"
#define NGX_HTTP_REGISTRY_FS_TYPE                                             \
    "repositories/%s/_manifests/revisions/%s/%s/media_type"
#define NGX_HTTP_REGISTRY_FS_TAGS      "repositories/%s/_manifests/tags"
#define NGX_HTTP_REGISTRY_FS_TAG       "repositories/%s/_manifests/tags/%s"
#define NGX_HTTP_REGISTRY_FS_CURRENT                                          \
    "repositories/%s/_manifests/tags/%s/current/link"
#define NGX_HTTP_REGISTRY_FS_INDEX                                            \
    "repositories/%s/_manifests/tags/%s/index/%s/%s/link"
#define NGX_HTTP_REGISTRY_FS_REFERRERS "repositories/%s/_referrers/%s/%s"
#define NGX_HTTP_REGISTRY_FS_REFERRER  "repositories/%s/_referrers/%s/%s/%s"
#define NGX_HTTP_REGISTRY_FS_UPLOADS   "repositories/%s/_uploads"
#define NGX_HTTP_REGISTRY_FS_UPLOAD    "repositories/%s/_uploads/%s"
#define NGX_HTTP_REGISTRY_FS_TMP       "repositories/_tmp"
#define NGX_HTTP_REGISTRY_FS_BLOBS     "blobs"
#define NGX_HTTP_REGISTRY_FS_BLOBS_TMP "blobs/_tmp"

/* beside the layout, in the directory of a cache */

#define NGX_HTTP_REGISTRY_FS_ADOPT     "_adopt"
#define NGX_HTTP_REGISTRY_FS_WAITING   NGX_HTTP_REGISTRY_FS_ADOPT "/registry/v2"


/* the two arguments that a digest is in such a path */

#define ngx_http_registry_fs_digest(d)                                        \
    registry_algorithm_name((d)->algorithm), registry_digest_hex(d)


typedef struct {
    char    data[NGX_MAX_PATH];
    size_t  len;
} ngx_http_registry_path_t;


/*
 * Those that return something return NGX_OK, NGX_DECLINED where a file or
 * directory is not there and that is an answer, or NGX_ERROR with op->err,
 * op->call and op->path set.
 */

ngx_int_t ngx_http_registry_fs_failed(ngx_http_registry_op_t *op,
    const char *call, const char *path);

/*
 * Below the layout's root.  It fits: names have passed their grammars, and
 * the path of a store is at most NGX_HTTP_REGISTRY_STORE_PATH.
 */

void ngx_http_registry_fs_path(ngx_http_registry_op_t *op,
    ngx_http_registry_path_t *path, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* blobs/sha256/ab/ab...ef/data */

void ngx_http_registry_fs_blob_path(ngx_http_registry_op_t *op,
    ngx_http_registry_path_t *path, const registry_digest_t *digest);

ngx_int_t ngx_http_registry_fs_exists(ngx_http_registry_op_t *op,
    const char *path);

/* *len: how much fits, and on return how much there was, at most that */

ngx_int_t ngx_http_registry_fs_read(ngx_http_registry_op_t *op,
    const char *path, void *buf, size_t *len);

ngx_int_t ngx_http_registry_fs_write(ngx_http_registry_op_t *op, ngx_fd_t fd,
    const char *path, const void *data, size_t len);

/*
 * The directory of a path and those above it.  Each new one is durable, as
 * all that follows, unless this is a cache: there the name of something new
 * may be lost by a power failure, and a link may hold no digest after it.
 */

ngx_int_t ngx_http_registry_fs_mkdirs(ngx_http_registry_op_t *op,
    const char *path);

/* the directory that holds the path: its entries reach the disk */

ngx_int_t ngx_http_registry_fs_sync_parent(ngx_http_registry_op_t *op,
    const char *path);

/*
 * Moves a file that is on the disk already to its final name, durably, and
 * across file systems if it must.  The source is gone afterwards, unless
 * that failed.  NGX_DECLINED if there is no source.
 */

ngx_int_t ngx_http_registry_fs_publish(ngx_http_registry_op_t *op,
    const char *from, const char *to);

/* a whole file under its final name, durably, or nothing; for data */

ngx_int_t ngx_http_registry_fs_put(ngx_http_registry_op_t *op,
    const char *path, const void *data, size_t len);

/*
 * Waits for the lock on the repository's manifests, which is held until fd is
 * closed.  A file, since what locks a directory of NFS locks it for one
 * machine alone.  With LOCK_SH the directory is made if it is not there; with
 * LOCK_EX that is NGX_DECLINED.
 */

ngx_int_t ngx_http_registry_fs_lock_manifests(ngx_http_registry_op_t *op,
    int how, ngx_fd_t *fd);

/* a name that nobody else has, in that directory */

ngx_int_t ngx_http_registry_fs_temp_name(ngx_http_registry_op_t *op,
    const char *dir, ngx_http_registry_path_t *path);

/*
 * Makes a blob of what op->fd has open under that name, and links it unless
 * op->any is set, all durably.  NGX_DECLINED if the name is gone.
 */

ngx_int_t ngx_http_registry_fs_commit(ngx_http_registry_op_t *op,
    const char *from);

/* NGX_DECLINED for a link that is not there or holds no digest */

ngx_int_t ngx_http_registry_fs_read_link(ngx_http_registry_op_t *op,
    const char *path, registry_digest_t *digest);

ngx_int_t ngx_http_registry_fs_put_link(ngx_http_registry_op_t *op,
    const char *path, const registry_digest_t *digest);

ngx_int_t ngx_http_registry_fs_unlink(ngx_http_registry_op_t *op,
    const char *path);

/*
 * Takes a file or a directory away at once: it has a temporary name then.
 * NGX_DECLINED if there is none.
 */

ngx_int_t ngx_http_registry_fs_hide(ngx_http_registry_op_t *op,
    const char *path, ngx_http_registry_path_t *temp);

/* the same with a directory, durably, then removes it with all in it */

ngx_int_t ngx_http_registry_fs_discard(ngx_http_registry_op_t *op,
    const char *path);

ngx_int_t ngx_http_registry_fs_remove_tree(ngx_http_registry_op_t *op,
    const char *path);


/* a directory's names, sorted; shared, and not to be changed */

typedef struct {
    char         **names;
    size_t         n;

    char          *path;
    char          *text;
    size_t         len;
    size_t         allocated;
    size_t         size;        /* all it takes, in bytes */
    struct stat    sb;          /* from before it was read */
    ngx_uint_t     dirs;
    ngx_uint_t     refs;
    ngx_uint_t     used;
} ngx_http_registry_dir_t;


/*
 * With "dirs" plain files and names that begin with an underscore are left
 * out, and each name is there twice: for itself, and with a slash for what
 * is below.  Closed by the caller.  NGX_DECLINED if there is none.
 */

ngx_int_t ngx_http_registry_fs_dir_open(ngx_http_registry_op_t *op,
    const char *path, ngx_uint_t dirs, ngx_http_registry_dir_t **dir);

void ngx_http_registry_fs_dir_close(ngx_http_registry_dir_t *dir);

/* the index of the first name that sorts after "last" */

size_t ngx_http_registry_fs_dir_after(ngx_http_registry_dir_t *dir,
    const char *last);


/* the operations of upload sessions */

ngx_int_t ngx_http_registry_fs_upload_create(ngx_http_registry_op_t *op);
ngx_int_t ngx_http_registry_fs_upload_open(ngx_http_registry_op_t *op);
ngx_int_t ngx_http_registry_fs_upload_save(ngx_http_registry_op_t *op);
ngx_int_t ngx_http_registry_fs_upload_commit(ngx_http_registry_op_t *op);
ngx_int_t ngx_http_registry_fs_upload_delete(ngx_http_registry_op_t *op);
ngx_msec_t ngx_http_registry_fs_expire(ngx_http_registry_store_t *store);


/* the operations of blobs that are being fetched */

ngx_int_t ngx_http_registry_fs_temp_create(ngx_http_registry_op_t *op);
ngx_int_t ngx_http_registry_fs_temp_follow(ngx_http_registry_op_t *op);
ngx_int_t ngx_http_registry_fs_temp_publish(ngx_http_registry_op_t *op);
ngx_int_t ngx_http_registry_fs_temp_discard(ngx_http_registry_op_t *op);


/* the operations of purges */

ngx_int_t ngx_http_registry_fs_purge(ngx_http_registry_op_t *op);
ngx_int_t ngx_http_registry_fs_purge_remove(ngx_http_registry_op_t *op);


/* the operations that list */

ngx_int_t ngx_http_registry_fs_tags(ngx_http_registry_op_t *op);
ngx_int_t ngx_http_registry_fs_catalog(ngx_http_registry_op_t *op);
ngx_int_t ngx_http_registry_fs_referrers(ngx_http_registry_op_t *op);

/*
 * The repositories that have one of these directories (the last marker is
 * NULL), as ngx_http_registry_fs_readdir(), into op->list.
 */

ngx_int_t ngx_http_registry_fs_repositories(ngx_http_registry_op_t *op,
    const char *const *markers);

/*
 * The names in a directory that sort after "last", in order, at most limit;
 * list->next is set if there are more.  NGX_DECLINED without a directory.
 */

ngx_int_t ngx_http_registry_fs_readdir(ngx_http_registry_op_t *op,
    const char *path, const char *last, ngx_uint_t limit,
    ngx_http_registry_list_t *list);

/* NGX_ERROR if memory is short */

ngx_int_t ngx_http_registry_list_add(ngx_http_registry_list_t *list,
    const char *text, size_t len);


/* a manifest's bytes, verified, in malloc()ed memory */

ngx_int_t ngx_http_registry_fs_manifest(ngx_http_registry_op_t *op,
    const registry_digest_t *digest, u_char **data, size_t *size);

/* what a manifest refers to knows of it; and no more, for op->digest */

ngx_int_t ngx_http_registry_fs_refer(ngx_http_registry_op_t *op,
    const registry_digest_t *subject, const registry_digest_t *digest,
    const char *descriptor);
ngx_int_t ngx_http_registry_fs_unrefer(ngx_http_registry_op_t *op);


/* the operation of evict.c: sets when a blob was last used */

ngx_int_t ngx_http_registry_fs_blob_touch(ngx_http_registry_op_t *op);


/*
 * What follows is for the cache manager process, which has one operation for
 * all of it: for the store, and for what failed.
 */

/* of the file system with the blobs, in bytes: what all users of it take */

ngx_int_t ngx_http_registry_fs_space(ngx_http_registry_op_t *op, off_t *used,
    off_t *free);


typedef struct {
    registry_digest_t         digest;
    off_t                     size;     /* bytes */
    time_t                    used;     /* when that was last */
} ngx_http_registry_fs_blob_t;


/* a walk over all blobs; all zero before the first step */

typedef struct {
    DIR                      *dir;
    ngx_uint_t                shards;   /* that have been opened */
    registry_algorithm_e      algorithm;
    char                      shard[sizeof("ff")];
} ngx_http_registry_fs_blobs_t;


/*
 * One step: NGX_OK, "blob" is set; NGX_AGAIN, there was nothing; NGX_DONE, it
 * was the last.  It may go on after NGX_ERROR.
 */

ngx_int_t ngx_http_registry_fs_blobs_next(ngx_http_registry_op_t *op,
    ngx_http_registry_fs_blobs_t *blobs, ngx_http_registry_fs_blob_t *blob);

/* at any time; may be called again */

void ngx_http_registry_fs_blobs_close(ngx_http_registry_fs_blobs_t *blobs);

/* the size of a blob, and when it was used; NGX_DECLINED if there is none */

ngx_int_t ngx_http_registry_fs_blob_stat(ngx_http_registry_op_t *op,
    ngx_http_registry_fs_blob_t *blob);

ngx_int_t ngx_http_registry_fs_blob_evict(ngx_http_registry_op_t *op,
    const registry_digest_t *digest);


/* as deep as a name of single letters, and what is in a repository */

#define NGX_HTTP_REGISTRY_FS_DEPTH  (REGISTRY_NAME_MAX / 2 + 9)

typedef struct {
    DIR                           *dir;
    size_t                         len;     /* of its path */
    ngx_uint_t                     left;    /* entries that stay */
} ngx_http_registry_fs_level_t;


/*
 * A walk over all repositories that removes what leads to blobs which are
 * not there, and empty directories; all zero before the first step.  Or, with
 * "file" set, over the directory "path", that removes empty ones, and of each
 * file does what that function does: NGX_OK if the file is gone, NGX_DECLINED
 * if it stays.
 */

typedef struct {
    ngx_uint_t                     begun;
    ngx_uint_t                     depth;
    ngx_int_t                    (*file)(ngx_http_registry_op_t *op,
                                         const char *path, void *data);
    void                          *data;
    ngx_http_registry_path_t       path;
    ngx_http_registry_fs_level_t   level[NGX_HTTP_REGISTRY_FS_DEPTH];
} ngx_http_registry_fs_sweep_t;


/* one step: NGX_OK, NGX_DONE, or NGX_ERROR, after which it may go on */

ngx_int_t ngx_http_registry_fs_sweep(ngx_http_registry_op_t *op,
    ngx_http_registry_fs_sweep_t *sweep);

void ngx_http_registry_fs_sweep_close(ngx_http_registry_fs_sweep_t *sweep);

/*
 * What a file in a repository is about: its path says it, or of a tag what is
 * in "file".  NGX_DECLINED if it is nothing that a repository has.
 */

ngx_int_t ngx_http_registry_fs_about(ngx_http_registry_op_t *op,
    const char *path, const char *file, registry_digest_t *digest);


/*
 * What docker-registry has fetched as a proxy: it is set aside first, so that
 * nothing of it is served before it was looked at, by the master process,
 * which logs what fails.
 */

void ngx_http_registry_fs_adopt_aside(ngx_http_registry_store_t *store,
    ngx_log_t *log);


/* on its way from there into the cache: zero at first, but for the names */

typedef struct {
    ngx_str_t                     *dir;     /* its namespace's */
    ngx_array_t                   *dirs;    /* ngx_str_t: all namespaces' */

    ngx_uint_t                     blobs;   /* that were adopted */
    off_t                          bytes;   /* in them */
    ngx_uint_t                     links;
    ngx_uint_t                     wrong;   /* blobs that were not */

    /* fs_adopt.c's own */
    ngx_http_registry_fs_sweep_t   sweep;
    size_t                         root;    /* length of its path */
    ngx_http_registry_path_t       link;    /* it waits for its blob */
    struct stat                    sb;      /* the blob as it was */
} ngx_http_registry_fs_adopt_t;


/* NGX_DECLINED if there is nothing; may be called again after NGX_DONE */

ngx_int_t ngx_http_registry_fs_adopt_begin(ngx_http_registry_op_t *op,
    ngx_http_registry_fs_adopt_t *adopt);

/*
 * One step, of at most a megabyte: NGX_OK, "blob" is the cache's now;
 * NGX_AGAIN, it was something else; NGX_DONE; or NGX_ERROR, after which it may
 * go on, and what could not be adopted is there still.
 */

ngx_int_t ngx_http_registry_fs_adopt_step(ngx_http_registry_op_t *op,
    ngx_http_registry_fs_adopt_t *adopt, ngx_http_registry_fs_blob_t *blob);

void ngx_http_registry_fs_adopt_close(ngx_http_registry_op_t *op,
    ngx_http_registry_fs_adopt_t *adopt);

/*
 * Does that to what waits to be adopted, where op->apart is set: under the
 * name that it will have, and under op->waiting.  NGX_OK if there was such a
 * thing.  To be done before it is done to what is adopted already.
 */

ngx_int_t ngx_http_registry_fs_adopt_purge(ngx_http_registry_op_t *op,
    ngx_int_t (*work)(ngx_http_registry_op_t *op));

/* takes away what is left, to be removed as what was purged: out: op->temp */

ngx_int_t ngx_http_registry_fs_adopt_end(ngx_http_registry_op_t *op);


#endif /* NGX_HTTP_REGISTRY_FS_H */
