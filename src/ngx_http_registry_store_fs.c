
/*
 * The file system driver: the table of its operations, and those on blobs,
 * manifests and tags.  Each is one blocking function, run in place on a
 * local disk where nginx would do the same for a static file, and in a
 * thread otherwise.
 */


#include "ngx_http_registry_fs.h"

#include <sys/vfs.h>


/* f_type of file systems where a stat() may take a network's time */

#define NGX_HTTP_REGISTRY_FS_NFS   0x6969
#define NGX_HTTP_REGISTRY_FS_SMB   0x517b
#define NGX_HTTP_REGISTRY_FS_SMB2  0xfe534d42
#define NGX_HTTP_REGISTRY_FS_CIFS  0xff534d42
#define NGX_HTTP_REGISTRY_FS_CEPH  0x00c36400
#define NGX_HTTP_REGISTRY_FS_FUSE  0x65735546
#define NGX_HTTP_REGISTRY_FS_9P    0x01021997
#define NGX_HTTP_REGISTRY_FS_LUSTRE 0x0bd00bd0
#define NGX_HTTP_REGISTRY_FS_GPFS  0x47504653


/* how large a manifest may be to be read in place */

#define NGX_HTTP_REGISTRY_FS_HERE  (32 * 1024)


typedef ngx_int_t (*ngx_http_registry_fs_pt)(ngx_http_registry_op_t *op);


static void ngx_http_registry_fs_init(ngx_http_registry_store_t *store,
    ngx_log_t *log);
static ngx_int_t ngx_http_registry_fs_start(ngx_http_registry_op_t *op);
static void ngx_http_registry_fs_work(ngx_http_registry_task_t *task);
static ngx_int_t ngx_http_registry_fs_locked(ngx_http_registry_op_t *op,
    ngx_http_registry_fs_pt work);

static ngx_int_t ngx_http_registry_fs_blob_open(ngx_http_registry_op_t *op);
static ngx_int_t ngx_http_registry_fs_blob_delete(ngx_http_registry_op_t *op);
static ngx_int_t ngx_http_registry_fs_blob_mount(ngx_http_registry_op_t *op);
static ngx_int_t ngx_http_registry_fs_manifest_read(
    ngx_http_registry_op_t *op);
static ngx_int_t ngx_http_registry_fs_manifest_data(
    ngx_http_registry_op_t *op);
static ngx_int_t ngx_http_registry_fs_manifest_check(
    ngx_http_registry_op_t *op);
static ngx_int_t ngx_http_registry_fs_manifest_write(
    ngx_http_registry_op_t *op);
static ngx_int_t ngx_http_registry_fs_type_write(ngx_http_registry_op_t *op);
static ngx_int_t ngx_http_registry_fs_tags_write(ngx_http_registry_op_t *op);
static ngx_int_t ngx_http_registry_fs_tag_write(ngx_http_registry_op_t *op,
    const char *tag);
static ngx_int_t ngx_http_registry_fs_tag_confirm(ngx_http_registry_op_t *op,
    const char *tag);
static ngx_int_t ngx_http_registry_fs_manifest_delete(
    ngx_http_registry_op_t *op);
static ngx_int_t ngx_http_registry_fs_untag(ngx_http_registry_op_t *op);
static ngx_int_t ngx_http_registry_fs_tag_delete(ngx_http_registry_op_t *op);
static ngx_int_t ngx_http_registry_fs_linked(ngx_http_registry_op_t *op,
    const char *name, const registry_digest_t *digest);


/*
 * A push writes a manifest and then the tags that point at it; a deletion
 * looks for the tags and then takes the manifest away.  Where the two met, a
 * tag would point at nothing, or lose its directory while it is written.  So
 * pushes share the lock on their repository's manifests, and deletions have
 * it to themselves.
 */

static const struct {
    ngx_http_registry_fs_pt  work;
    unsigned                 slow:1;    /* fsync, or a walk: in a thread */
    int                      lock;      /* LOCK_SH, LOCK_EX, or 0 */
} ngx_http_registry_fs_ops[NGX_HTTP_REGISTRY_OP_MAX] = {

    [NGX_HTTP_REGISTRY_OP_BLOB_OPEN] =
        { ngx_http_registry_fs_blob_open, 0, 0 },
    [NGX_HTTP_REGISTRY_OP_BLOB_DELETE] =
        { ngx_http_registry_fs_blob_delete, 1, 0 },
    [NGX_HTTP_REGISTRY_OP_BLOB_MOUNT] =
        { ngx_http_registry_fs_blob_mount, 1, 0 },
    [NGX_HTTP_REGISTRY_OP_BLOB_TOUCH] =
        { ngx_http_registry_fs_blob_touch, 1, 0 },
    [NGX_HTTP_REGISTRY_OP_TEMP_CREATE] =
        { ngx_http_registry_fs_temp_create, 0, 0 },
    [NGX_HTTP_REGISTRY_OP_TEMP_FOLLOW] =
        { ngx_http_registry_fs_temp_follow, 0, 0 },
    [NGX_HTTP_REGISTRY_OP_TEMP_PUBLISH] =
        { ngx_http_registry_fs_temp_publish, 1, 0 },
    [NGX_HTTP_REGISTRY_OP_TEMP_DISCARD] =
        { ngx_http_registry_fs_temp_discard, 1, 0 },
    [NGX_HTTP_REGISTRY_OP_UPLOAD_CREATE] =
        { ngx_http_registry_fs_upload_create, 1, 0 },
    [NGX_HTTP_REGISTRY_OP_UPLOAD_OPEN] =
        { ngx_http_registry_fs_upload_open, 0, 0 },
    [NGX_HTTP_REGISTRY_OP_UPLOAD_SAVE] =
        { ngx_http_registry_fs_upload_save, 1, 0 },
    [NGX_HTTP_REGISTRY_OP_UPLOAD_COMMIT] =
        { ngx_http_registry_fs_upload_commit, 1, 0 },
    [NGX_HTTP_REGISTRY_OP_UPLOAD_DELETE] =
        { ngx_http_registry_fs_upload_delete, 1, 0 },
    [NGX_HTTP_REGISTRY_OP_MANIFEST_READ] =
        { ngx_http_registry_fs_manifest_read, 0, 0 },
    [NGX_HTTP_REGISTRY_OP_MANIFEST_CHECK] =
        { ngx_http_registry_fs_manifest_check, 1, 0 },
    [NGX_HTTP_REGISTRY_OP_MANIFEST_WRITE] =
        { ngx_http_registry_fs_manifest_write, 1, LOCK_SH },
    [NGX_HTTP_REGISTRY_OP_MANIFEST_DELETE] =
        { ngx_http_registry_fs_manifest_delete, 1, LOCK_EX },
    [NGX_HTTP_REGISTRY_OP_TAG_WRITE] =
        { ngx_http_registry_fs_tags_write, 1, LOCK_SH },
    [NGX_HTTP_REGISTRY_OP_TAG_DELETE] =
        { ngx_http_registry_fs_tag_delete, 1, LOCK_EX },
    [NGX_HTTP_REGISTRY_OP_PURGE] =
        { ngx_http_registry_fs_purge, 1, 0 },
    [NGX_HTTP_REGISTRY_OP_PURGE_REMOVE] =
        { ngx_http_registry_fs_purge_remove, 1, 0 },
    [NGX_HTTP_REGISTRY_OP_TAGS] =
        { ngx_http_registry_fs_tags, 1, 0 },
    [NGX_HTTP_REGISTRY_OP_CATALOG] =
        { ngx_http_registry_fs_catalog, 1, 0 },
    [NGX_HTTP_REGISTRY_OP_REFERRERS] =
        { ngx_http_registry_fs_referrers, 1, 0 },
};


ngx_http_registry_driver_t  ngx_http_registry_fs_driver = {
    ngx_http_registry_fs_init,
    ngx_http_registry_fs_start,
    ngx_http_registry_fs_expire
};


/* also where a part of it is a symbolic link to another file system */

static void
ngx_http_registry_fs_init(ngx_http_registry_store_t *store, ngx_log_t *log)
{
    char            path[NGX_MAX_PATH];
    ngx_uint_t      i, n;
    struct statfs   fs;

    static const char *const  parts[] = {
        "", "/" NGX_HTTP_REGISTRY_FS_ROOT "/" NGX_HTTP_REGISTRY_FS_BLOBS,
        "/" NGX_HTTP_REGISTRY_FS_ROOT "/" NGX_HTTP_REGISTRY_FS_REPOS
    };

    static const uint32_t  network[] = {
        NGX_HTTP_REGISTRY_FS_NFS, NGX_HTTP_REGISTRY_FS_SMB,
        NGX_HTTP_REGISTRY_FS_SMB2, NGX_HTTP_REGISTRY_FS_CIFS,
        NGX_HTTP_REGISTRY_FS_CEPH, NGX_HTTP_REGISTRY_FS_FUSE,
        NGX_HTTP_REGISTRY_FS_9P, NGX_HTTP_REGISTRY_FS_LUSTRE,
        NGX_HTTP_REGISTRY_FS_GPFS
    };

    for (n = 0; n < sizeof(parts) / sizeof(parts[0]); n++) {

        (void) snprintf(path, sizeof(path), "%s%s",
                        (char *) store->path.data, parts[n]);

        if (statfs(path, &fs) == -1) {

            if (n == 0 || ngx_errno != NGX_ENOENT) {
                ngx_log_error(NGX_LOG_ERR, log, ngx_errno,
                              "statfs() \"%s\" of %s \"%V\" failed", path,
                              ngx_http_registry_store_kind(store),
                              &store->name);
            }

            continue;
        }

        for (i = 0; i < sizeof(network) / sizeof(network[0]); i++) {
            if ((uint32_t) fs.f_type == network[i]) {
                store->network = 1;
            }
        }
    }
}


static ngx_int_t
ngx_http_registry_fs_start(ngx_http_registry_op_t *op)
{
    ngx_int_t           rc;
    ngx_thread_pool_t  *tp;

    tp = NULL;

    if (ngx_http_registry_fs_ops[op->kind].slow || op->store->network) {
        tp = op->store->tp;
        op->cache = NULL;
        op->file_pool = NULL;
    }

    /* a file that is kept open keeps its space when it is evicted */

    if (op->store->evict) {
        op->cache = NULL;
    }

    op->task.work = ngx_http_registry_fs_work;
    op->threaded = (tp != NULL);

    rc = ngx_http_registry_task_run(&op->task, tp);

    /* a large manifest is read, hashed and looked into in a thread */

    if (rc == NGX_OK && op->status == NGX_AGAIN) {
        op->threaded = 1;
        rc = ngx_http_registry_task_run(&op->task, op->store->tp);
    }

    return rc;
}


static void
ngx_http_registry_fs_work(ngx_http_registry_task_t *task)
{
    ngx_http_registry_op_t  *op = (ngx_http_registry_op_t *) task;

    ngx_int_t                rc;
    ngx_http_registry_fs_pt  work;

    work = ngx_http_registry_fs_ops[op->kind].work;
    rc = NGX_DECLINED;

    /* first, since it may be adopted meanwhile: then it is found here */

    if (op->waiting) {
        rc = ngx_http_registry_fs_adopt_purge(op, work);
    }

    if (rc == NGX_ERROR) {
        op->status = rc;
        return;
    }

    op->status = ngx_http_registry_fs_locked(op, work);

    if (op->status == NGX_DECLINED) {
        op->status = rc;
    }
}


static ngx_int_t
ngx_http_registry_fs_locked(ngx_http_registry_op_t *op,
    ngx_http_registry_fs_pt work)
{
    int        how;
    ngx_fd_t   lock;
    ngx_int_t  rc;

    how = ngx_http_registry_fs_ops[op->kind].lock;

    if (how == 0) {
        return work(op);
    }

    rc = ngx_http_registry_fs_lock_manifests(op, how, &lock);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = work(op);

    (void) close(lock);

    return rc;
}


/* the link comes first, so that a blob deleted here is gone at once */

static ngx_int_t
ngx_http_registry_fs_linked(ngx_http_registry_op_t *op, const char *name,
    const registry_digest_t *digest)
{
    ngx_http_registry_path_t  path;

    ngx_http_registry_fs_path(op, &path, NGX_HTTP_REGISTRY_FS_LAYER, name,
                              ngx_http_registry_fs_digest(digest));

    return ngx_http_registry_fs_exists(op, path.data);
}


static ngx_int_t
ngx_http_registry_fs_blob_open(ngx_http_registry_op_t *op)
{
    ngx_int_t                 rc;
    ngx_str_t                 name;
    ngx_file_info_t           fi;
    ngx_http_registry_path_t  path;

    if (!op->linked) {
        rc = ngx_http_registry_fs_linked(op, op->name, &op->digest);

        if (rc != NGX_OK && !(rc == NGX_DECLINED && op->any)) {
            return rc;
        }

        op->linked = (rc == NGX_OK);
    }

    ngx_http_registry_fs_blob_path(op, &path, &op->digest);

    if (op->file_pool) {
        name.len = path.len;
        name.data = (u_char *) path.data;

        if (ngx_open_cached_file(op->cache, &name, &op->of, op->file_pool)
            == NGX_OK)
        {
            return op->of.is_file ? NGX_OK : NGX_DECLINED;
        }

        if (op->of.err == NGX_ENOENT || op->of.err == NGX_ENOTDIR) {
            return NGX_DECLINED;
        }

        ngx_set_errno(op->of.err);
        return ngx_http_registry_fs_failed(op, "open()", path.data);
    }

    op->fd = open(path.data, O_RDONLY|O_CLOEXEC);

    if (op->fd == NGX_INVALID_FILE) {
        if (ngx_errno == NGX_ENOENT || ngx_errno == NGX_ENOTDIR) {
            return NGX_DECLINED;
        }

        return ngx_http_registry_fs_failed(op, "open()", path.data);
    }

    if (ngx_fd_info(op->fd, &fi) == NGX_FILE_ERROR) {
        return ngx_http_registry_fs_failed(op, "fstat()", path.data);
    }

    if (!ngx_is_file(&fi)) {
        return NGX_DECLINED;
    }

    op->of.fd = op->fd;
    op->of.size = ngx_file_size(&fi);
    op->of.mtime = ngx_file_mtime(&fi);

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_fs_blob_delete(ngx_http_registry_op_t *op)
{
    ngx_int_t                 rc, link;
    ngx_http_registry_path_t  path;

    ngx_http_registry_fs_path(op, &path, NGX_HTTP_REGISTRY_FS_LAYER,
                              op->name,
                              ngx_http_registry_fs_digest(&op->digest));

    link = ngx_http_registry_fs_unlink(op, path.data);

    if (link == NGX_ERROR || !op->all) {
        return link;
    }

    rc = ngx_http_registry_fs_blob_evict(op, &op->digest);

    return (rc == NGX_ERROR) ? rc : link;
}


static ngx_int_t
ngx_http_registry_fs_blob_mount(ngx_http_registry_op_t *op)
{
    ngx_int_t                 rc;
    ngx_http_registry_path_t  path;

    if (op->from) {
        rc = ngx_http_registry_fs_linked(op, op->from, &op->digest);
        if (rc != NGX_OK) {
            return rc;
        }
    }

    ngx_http_registry_fs_blob_path(op, &path, &op->digest);

    rc = ngx_http_registry_fs_exists(op, path.data);
    if (rc != NGX_OK) {
        return rc;
    }

    ngx_http_registry_fs_path(op, &path, NGX_HTTP_REGISTRY_FS_LAYER,
                              op->name,
                              ngx_http_registry_fs_digest(&op->digest));

    return ngx_http_registry_fs_put_link(op, path.data, &op->digest);
}


static ngx_int_t
ngx_http_registry_fs_manifest_read(ngx_http_registry_op_t *op)
{
    ngx_int_t                 rc;
    ngx_file_info_t           fi;
    ngx_http_registry_path_t  path;

    if (op->tag) {
        ngx_http_registry_fs_path(op, &path,
                                  NGX_HTTP_REGISTRY_FS_CURRENT, op->name,
                                  op->tag);

        rc = ngx_http_registry_fs_read_link(op, path.data, &op->digest);
        if (rc != NGX_OK) {
            return rc;
        }

        if (op->store->evict && stat(path.data, &fi) == 0) {
            op->of.mtime = ngx_file_mtime(&fi);
        }
    }

    ngx_http_registry_fs_path(op, &path, NGX_HTTP_REGISTRY_FS_REVISION,
                              op->name,
                              ngx_http_registry_fs_digest(&op->digest));

    rc = ngx_http_registry_fs_exists(op, path.data);
    if (rc != NGX_OK) {
        return rc;
    }

    if (op->known.len && registry_digest_equal(&op->known, &op->digest)) {
        return NGX_OK;
    }

    op->known.len = 0;

    return ngx_http_registry_fs_manifest_data(op);
}


static ngx_int_t
ngx_http_registry_fs_manifest_data(ngx_http_registry_op_t *op)
{
    int                       own;
    size_t                    len;
    ngx_int_t                 rc;
    registry_str_t            in;
    ngx_http_registry_path_t  path;

    rc = ngx_http_registry_fs_manifest(op, &op->digest, &op->data, &op->size);
    if (rc != NGX_OK) {
        return rc;
    }

    in.data = (const char *) op->data;
    in.len = op->size;

    if (registry_media_type(in, op->media_type, &own) != REGISTRY_OK) {
        ngx_set_errno(NGX_EILSEQ);
        return ngx_http_registry_fs_failed(op, "manifest", op->digest.text);
    }

    if (own) {
        return NGX_OK;
    }

    /* the type it was pushed with, where the bytes do not say it */

    ngx_http_registry_fs_path(op, &path, NGX_HTTP_REGISTRY_FS_TYPE,
                              op->name,
                              ngx_http_registry_fs_digest(&op->digest));

    if (ngx_http_registry_fs_exists(op, path.data) == NGX_OK) {
        len = sizeof(op->media_type) - 1;

        rc = ngx_http_registry_fs_read(op, path.data, op->media_type, &len);
        if (rc == NGX_ERROR) {
            return rc;
        }

        op->media_type[len] = '\0';
    }

    return NGX_OK;
}


/*
 * What cannot be verified is not served.  NGX_AGAIN: it is too large for the
 * event loop.
 */

ngx_int_t
ngx_http_registry_fs_manifest(ngx_http_registry_op_t *op,
    const registry_digest_t *digest, u_char **data, size_t *size)
{
    ngx_int_t                 rc;
    ngx_file_info_t           fi;
    registry_digest_t         found;
    ngx_http_registry_path_t  path;

    ngx_http_registry_fs_blob_path(op, &path, digest);

    if (stat(path.data, &fi) == -1) {
        if (ngx_errno == NGX_ENOENT || ngx_errno == NGX_ENOTDIR) {
            return NGX_DECLINED;
        }

        return ngx_http_registry_fs_failed(op, "stat()", path.data);
    }

    if (ngx_file_size(&fi) > NGX_HTTP_REGISTRY_FS_HERE && !op->threaded) {
        return NGX_AGAIN;
    }

    if (ngx_file_size(&fi) > REGISTRY_MANIFEST_MAX) {
        ngx_set_errno(EFBIG);
        return ngx_http_registry_fs_failed(op, "manifest", path.data);
    }

    *size = (size_t) ngx_file_size(&fi);

    *data = malloc(*size + 1);
    if (*data == NULL) {
        return ngx_http_registry_fs_failed(op, "malloc()", path.data);
    }

    rc = ngx_http_registry_fs_read(op, path.data, *data, size);

    if (rc == NGX_OK) {
        registry_hash_bytes(digest->algorithm, *data, *size, &found);

        if (!registry_digest_equal(&found, digest)) {
            ngx_set_errno(NGX_EILSEQ);
            rc = ngx_http_registry_fs_failed(op, "manifest", path.data);
        }
    }

    if (rc != NGX_OK) {
        free(*data);
        *data = NULL;
    }

    return rc;
}


static ngx_int_t
ngx_http_registry_fs_manifest_check(ngx_http_registry_op_t *op)
{
    ngx_int_t                  rc;
    ngx_uint_t                 i;
    ngx_http_registry_path_t   path;
    ngx_http_registry_item_t  *item;

    for (i = 0; i < op->nitems; i++) {
        item = &op->items[i];

        if (item->type == REGISTRY_DESCRIPTOR_FOREIGN) {
            continue;
        }

        rc = NGX_DECLINED;

        if (item->type == REGISTRY_DESCRIPTOR_MANIFEST) {
            ngx_http_registry_fs_path(op, &path,
                               NGX_HTTP_REGISTRY_FS_REVISION, op->name,
                               ngx_http_registry_fs_digest(&item->digest));

            rc = ngx_http_registry_fs_exists(op, path.data);
        }

        /* an index may list blobs: buildkit's cache manifests do */

        if (rc == NGX_DECLINED) {
            rc = ngx_http_registry_fs_linked(op, op->name, &item->digest);
        }

        if (rc == NGX_OK) {
            ngx_http_registry_fs_blob_path(op, &path, &item->digest);

            rc = ngx_http_registry_fs_exists(op, path.data);
        }

        if (rc == NGX_ERROR) {
            return rc;
        }

        item->missing = (rc == NGX_DECLINED);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_fs_manifest_write(ngx_http_registry_op_t *op)
{
    ngx_int_t                 rc;
    ngx_uint_t                i;
    ngx_http_registry_path_t  path;

    ngx_http_registry_fs_blob_path(op, &path, &op->digest);

    rc = ngx_http_registry_fs_put(op, path.data, op->data, op->size);

    if (rc == NGX_OK) {
        rc = ngx_http_registry_fs_type_write(op);
    }

    /* Distribution's garbage collector fails on manifests without it */

    if (rc == NGX_OK) {
        ngx_http_registry_fs_path(op, &path, NGX_HTTP_REGISTRY_FS_TAGS "/",
                                  op->name);

        rc = ngx_http_registry_fs_mkdirs(op, path.data);
    }

    if (rc == NGX_OK) {
        ngx_http_registry_fs_path(op, &path, NGX_HTTP_REGISTRY_FS_REVISION,
                                  op->name,
                                  ngx_http_registry_fs_digest(&op->digest));

        rc = ngx_http_registry_fs_put_link(op, path.data, &op->digest);
    }

    if (rc == NGX_OK && op->subject.len) {
        rc = ngx_http_registry_fs_refer(op, &op->subject, &op->digest,
                                        op->descriptor);
    }

    for (i = 0; rc == NGX_OK && i < op->ntags; i++) {
        rc = ngx_http_registry_fs_tag_write(op, op->tags[i]);
    }

    return rc;
}


/* the type it was pushed with this time, if the bytes do not say it */

static ngx_int_t
ngx_http_registry_fs_type_write(ngx_http_registry_op_t *op)
{
    ngx_int_t                 rc;
    ngx_http_registry_path_t  path;

    ngx_http_registry_fs_path(op, &path, NGX_HTTP_REGISTRY_FS_TYPE,
                              op->name,
                              ngx_http_registry_fs_digest(&op->digest));

    if (op->media_type[0]) {
        rc = ngx_http_registry_fs_put(op, path.data, op->media_type,
                                      ngx_strlen(op->media_type));

        /* also in a cache there is to be no link without it */

        return (rc == NGX_OK && op->store->evict)
               ? ngx_http_registry_fs_sync_parent(op, path.data) : rc;
    }

    rc = ngx_http_registry_fs_unlink(op, path.data);

    return (rc == NGX_DECLINED) ? NGX_OK : rc;
}


static ngx_int_t
ngx_http_registry_fs_tags_write(ngx_http_registry_op_t *op)
{
    ngx_int_t   rc;
    ngx_uint_t  i;

    rc = NGX_OK;

    for (i = 0; rc == NGX_OK && i < op->ntags; i++) {
        rc = ngx_http_registry_fs_tag_confirm(op, op->tags[i]);

        if (rc == NGX_DECLINED) {
            rc = ngx_http_registry_fs_tag_write(op, op->tags[i]);
        }
    }

    return rc;
}


/* the time of a tag's link says when it was known to be true */

static ngx_int_t
ngx_http_registry_fs_tag_confirm(ngx_http_registry_op_t *op, const char *tag)
{
    ngx_int_t                 rc;
    registry_digest_t         digest;
    ngx_http_registry_path_t  path;

    ngx_http_registry_fs_path(op, &path, NGX_HTTP_REGISTRY_FS_CURRENT,
                              op->name, tag);

    rc = ngx_http_registry_fs_read_link(op, path.data, &digest);
    if (rc != NGX_OK) {
        return rc;
    }

    if (!registry_digest_equal(&digest, &op->digest)) {
        return NGX_DECLINED;
    }

    if (utimensat(AT_FDCWD, path.data, NULL, 0) == -1) {
        return ngx_http_registry_fs_failed(op, "utimensat()", path.data);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_fs_tag_write(ngx_http_registry_op_t *op, const char *tag)
{
    ngx_int_t                 rc;
    ngx_http_registry_path_t  path;

    ngx_http_registry_fs_path(op, &path, NGX_HTTP_REGISTRY_FS_INDEX,
                              op->name, tag,
                              ngx_http_registry_fs_digest(&op->digest));

    rc = ngx_http_registry_fs_put_link(op, path.data, &op->digest);
    if (rc != NGX_OK) {
        return rc;
    }

    ngx_http_registry_fs_path(op, &path, NGX_HTTP_REGISTRY_FS_CURRENT,
                              op->name, tag);

    return ngx_http_registry_fs_put_link(op, path.data, &op->digest);
}


/*
 * The tags go first: a kill in between leaves a manifest without a tag, not
 * a tag without a manifest.
 */

static ngx_int_t
ngx_http_registry_fs_manifest_delete(ngx_http_registry_op_t *op)
{
    ngx_int_t                 rc;
    ngx_http_registry_path_t  path, type;

    ngx_http_registry_fs_path(op, &path, NGX_HTTP_REGISTRY_FS_REVISION,
                              op->name,
                              ngx_http_registry_fs_digest(&op->digest));

    rc = ngx_http_registry_fs_exists(op, path.data);

    /* while it is adopted, its tags may have come without it */

    if (rc == NGX_ERROR || (rc == NGX_DECLINED && op->waiting == NULL)) {
        return rc;
    }

    rc = ngx_http_registry_fs_untag(op);
    if (rc == NGX_ERROR) {
        return rc;
    }

    rc = ngx_http_registry_fs_unrefer(op);
    if (rc == NGX_ERROR) {
        return rc;
    }

    ngx_http_registry_fs_path(op, &type, NGX_HTTP_REGISTRY_FS_TYPE,
                              op->name,
                              ngx_http_registry_fs_digest(&op->digest));

    rc = ngx_http_registry_fs_unlink(op, type.data);
    if (rc == NGX_ERROR) {
        return rc;
    }

    return ngx_http_registry_fs_unlink(op, path.data);
}


static ngx_int_t
ngx_http_registry_fs_untag(ngx_http_registry_op_t *op)
{
    DIR                       *dir;
    ngx_int_t                  rc;
    ngx_err_t                  err;
    struct dirent             *de;
    registry_str_t             tag;
    registry_digest_t          digest;
    ngx_http_registry_path_t   path;

    ngx_http_registry_fs_path(op, &path, NGX_HTTP_REGISTRY_FS_TAGS,
                              op->name);

    dir = opendir(path.data);

    if (dir == NULL) {
        err = ngx_errno;

        if (err == NGX_ENOENT) {
            return NGX_OK;
        }

        return ngx_http_registry_fs_failed(op, "opendir()", path.data);
    }

    rc = NGX_OK;

    for ( ;; ) {
        ngx_set_errno(0);
        de = readdir(dir);

        if (de == NULL) {
            if (ngx_errno) {
                rc = ngx_http_registry_fs_failed(op, "readdir()", path.data);
            }

            break;
        }

        tag.data = de->d_name;
        tag.len = ngx_strlen(de->d_name);

        if (!registry_tag_valid(tag)) {
            continue;
        }

        ngx_http_registry_fs_path(op, &path, NGX_HTTP_REGISTRY_FS_CURRENT,
                                  op->name, de->d_name);

        rc = ngx_http_registry_fs_read_link(op, path.data, &digest);

        if (rc == NGX_OK && registry_digest_equal(&digest, &op->digest)) {
            op->tag = de->d_name;
            rc = ngx_http_registry_fs_tag_delete(op);

            if (rc == NGX_OK
                && ngx_http_registry_list_add(&op->list, tag.data, tag.len)
                   != NGX_OK)
            {
                rc = ngx_http_registry_fs_failed(op, "malloc()", path.data);
            }
        }

        if (rc == NGX_ERROR) {
            break;
        }

        rc = NGX_OK;
    }

    op->tag = NULL;

    (void) closedir(dir);

    return rc;
}


static ngx_int_t
ngx_http_registry_fs_tag_delete(ngx_http_registry_op_t *op)
{
    ngx_int_t                 rc;
    ngx_http_registry_path_t  path;

    ngx_http_registry_fs_path(op, &path, NGX_HTTP_REGISTRY_FS_CURRENT,
                              op->name, op->tag);

    rc = ngx_http_registry_fs_exists(op, path.data);
    if (rc != NGX_OK) {
        return rc;
    }

    ngx_http_registry_fs_path(op, &path, NGX_HTTP_REGISTRY_FS_TAG,
                              op->name, op->tag);

    return ngx_http_registry_fs_discard(op, path.data);
}
