
/*
 * Referrers of the file system driver: a file for each, with its descriptor,
 * in a directory for the subject, where Distribution does not look.  Those
 * that were pushed to another registry program, and are known by a tag made
 * of the subject's digest, are taken over when they are first asked for (OCI
 * Distribution 1.1, "Enabling the Referrers API").
 */


#include "ngx_http_registry_fs.h"


/* of a page: annotations can be as large as a manifest, a page should not */

#define NGX_HTTP_REGISTRY_FS_REFERRERS_LEN  (2 * 1024 * 1024)


static ngx_int_t ngx_http_registry_fs_referrer_add(
    ngx_http_registry_op_t *op, const char *name);
static void ngx_http_registry_fs_adopt(ngx_http_registry_op_t *op);
static void ngx_http_registry_fs_adopt_index(ngx_http_registry_op_t *op,
    const registry_digest_t *digest);
static void ngx_http_registry_fs_adopt_one(ngx_http_registry_op_t *op,
    const registry_digest_t *digest);
static registry_manifest_t *ngx_http_registry_fs_parse(
    ngx_http_registry_op_t *op, const registry_digest_t *digest,
    size_t *size);
static void ngx_http_registry_fs_referrer_path(
    ngx_http_registry_op_t *op, ngx_http_registry_path_t *path,
    const registry_digest_t *subject, const registry_digest_t *digest);
static void ngx_http_registry_fs_referrer_name(
    const registry_digest_t *digest, char *name);


ngx_int_t
ngx_http_registry_fs_referrers(ngx_http_registry_op_t *op)
{
    char                       last[REGISTRY_NAME_MAX + 1];
    char                      *p;
    ngx_int_t                  rc;
    ngx_uint_t                 i;
    ngx_http_registry_list_t   names;
    ngx_http_registry_path_t   path;

    ngx_http_registry_fs_path(op, &path, NGX_HTTP_REGISTRY_FS_REFERRERS,
                              op->name,
                              ngx_http_registry_fs_digest(&op->digest));

    if (op->last[0] == '\0') {
        ngx_http_registry_fs_adopt(op);
    }

    ngx_memzero(&names, sizeof(ngx_http_registry_list_t));

    (void) ngx_cpystrn((u_char *) last, (u_char *) op->last, sizeof(last));

    do {
        free(names.start);
        names.start = NULL;

        rc = ngx_http_registry_fs_readdir(op, path.data, last, op->limit,
                                          &names);
        if (rc != NGX_OK) {
            break;
        }

        p = names.start;

        for (i = 0; i < names.n; i++) {

            if (op->list.n == op->limit
                || op->list.len > NGX_HTTP_REGISTRY_FS_REFERRERS_LEN)
            {
                ngx_memcpy(op->list.next, last, sizeof(last));
                rc = NGX_DONE;
                break;
            }

            rc = ngx_http_registry_fs_referrer_add(op, p);

            if (rc == NGX_ERROR) {
                break;
            }

            (void) ngx_cpystrn((u_char *) last, (u_char *) p, sizeof(last));
            p += ngx_strlen(p) + 1;
            rc = NGX_OK;
        }

    } while (rc == NGX_OK && names.next[0]);

    free(names.start);

    return (rc == NGX_DONE || rc == NGX_DECLINED) ? NGX_OK : rc;
}


/* a referrer that another program deleted is not in the list any more */

static ngx_int_t
ngx_http_registry_fs_referrer_add(ngx_http_registry_op_t *op,
    const char *name)
{
    char                     *buf;
    size_t                    len;
    ngx_int_t                 rc;
    registry_str_t            text, type;
    registry_digest_t         digest;
    ngx_http_registry_path_t  path;

    char                      id[REGISTRY_DIGEST_MAX + 1];

    len = ngx_strlen(name);

    if (len > REGISTRY_DIGEST_MAX || len <= REGISTRY_ALGORITHM_LEN) {
        return NGX_DECLINED;
    }

    ngx_memcpy(id, name, len);
    id[REGISTRY_ALGORITHM_LEN] = ':';

    text.data = id;
    text.len = len;

    if (registry_digest_parse(text, &digest) != REGISTRY_OK) {
        return NGX_DECLINED;
    }

    ngx_http_registry_fs_path(op, &path, NGX_HTTP_REGISTRY_FS_REVISION,
                              op->name,
                              ngx_http_registry_fs_digest(&digest));

    rc = ngx_http_registry_fs_exists(op, path.data);
    if (rc != NGX_OK) {
        return rc;
    }

    ngx_http_registry_fs_path(op, &path, NGX_HTTP_REGISTRY_FS_REFERRER,
                              op->name,
                              ngx_http_registry_fs_digest(&op->digest),
                              name);

    len = REGISTRY_MANIFEST_MAX;

    buf = malloc(len);
    if (buf == NULL) {
        return ngx_http_registry_fs_failed(op, "malloc()", path.data);
    }

    rc = ngx_http_registry_fs_read(op, path.data, buf, &len);

    text.data = buf;
    text.len = len;

    if (rc == NGX_OK && op->artifact_type) {
        type.data = op->artifact_type;
        type.len = ngx_strlen(op->artifact_type);

        if (registry_descriptor_has_type(text, type) != REGISTRY_OK) {
            rc = NGX_DECLINED;
        }
    }

    if (rc == NGX_OK && len
        && ngx_http_registry_list_add(&op->list, buf, len) != NGX_OK)
    {
        rc = ngx_http_registry_fs_failed(op, "malloc()", path.data);
    }

    free(buf);

    return rc;
}


ngx_int_t
ngx_http_registry_fs_refer(ngx_http_registry_op_t *op,
    const registry_digest_t *subject, const registry_digest_t *digest,
    const char *descriptor)
{
    ngx_http_registry_path_t  path;

    ngx_http_registry_fs_referrer_path(op, &path, subject, digest);

    return ngx_http_registry_fs_put(op, path.data, descriptor,
                                    ngx_strlen(descriptor));
}


ngx_int_t
ngx_http_registry_fs_unrefer(ngx_http_registry_op_t *op)
{
    ngx_int_t                 rc;
    registry_manifest_t      *manifest;
    const registry_digest_t  *subject;
    ngx_http_registry_path_t  path;

    /* what cannot be read can still be deleted */

    manifest = ngx_http_registry_fs_parse(op, &op->digest, &op->size);
    if (manifest == NULL) {
        return NGX_DECLINED;
    }

    rc = NGX_DECLINED;
    subject = registry_manifest_subject(manifest);

    if (subject) {
        ngx_http_registry_fs_referrer_path(op, &path, subject, &op->digest);

        rc = ngx_http_registry_fs_unlink(op, path.data);
    }

    registry_manifest_free(manifest);

    return rc;
}


/* what fails here is not in the list: it is asked for again the next time */

static void
ngx_http_registry_fs_adopt(ngx_http_registry_op_t *op)
{
    char                      tag[REGISTRY_DIGEST_MAX + 1];
    registry_digest_t         digest;
    ngx_http_registry_path_t  path;

    /* of a sha512 digest the tag has the first 64 digits */

    ngx_http_registry_fs_referrer_name(&op->digest, tag);
    tag[REGISTRY_ALGORITHM_LEN + 1 + 64] = '\0';

    ngx_http_registry_fs_path(op, &path, NGX_HTTP_REGISTRY_FS_CURRENT,
                              op->name, tag);

    if (ngx_http_registry_fs_read_link(op, path.data, &digest) == NGX_OK) {
        ngx_http_registry_fs_adopt_index(op, &digest);
    }
}


static void
ngx_http_registry_fs_adopt_index(ngx_http_registry_op_t *op,
    const registry_digest_t *digest)
{
    size_t                        i, n, size;
    registry_manifest_t          *index;
    const registry_descriptor_t  *d;

    index = ngx_http_registry_fs_parse(op, digest, &size);
    if (index == NULL) {
        return;
    }

    d = registry_manifest_descriptors(index, &n);

    for (i = 0; i < n; i++) {
        if (d[i].type == REGISTRY_DESCRIPTOR_MANIFEST) {
            ngx_http_registry_fs_adopt_one(op, &d[i].digest);
        }
    }

    registry_manifest_free(index);
}


static void
ngx_http_registry_fs_adopt_one(ngx_http_registry_op_t *op,
    const registry_digest_t *digest)
{
    char                      *descriptor;
    size_t                     size, len;
    registry_manifest_t       *manifest;
    const registry_digest_t   *subject;
    ngx_http_registry_path_t   path;

    ngx_http_registry_fs_referrer_path(op, &path, &op->digest, digest);

    if (ngx_http_registry_fs_exists(op, path.data) != NGX_DECLINED) {
        return;
    }

    /* another repository's manifest is not this one's */

    ngx_http_registry_fs_path(op, &path, NGX_HTTP_REGISTRY_FS_REVISION,
                              op->name, ngx_http_registry_fs_digest(digest));

    if (ngx_http_registry_fs_exists(op, path.data) != NGX_OK) {
        return;
    }

    manifest = ngx_http_registry_fs_parse(op, digest, &size);
    if (manifest == NULL) {
        return;
    }

    subject = registry_manifest_subject(manifest);

    if (subject && registry_digest_equal(subject, &op->digest)) {

        descriptor = registry_manifest_descriptor(manifest, digest, size,
                                                  &len);
        if (descriptor) {
            (void) ngx_http_registry_fs_refer(op, &op->digest, digest,
                                              descriptor);
            free(descriptor);
        }
    }

    registry_manifest_free(manifest);
}


static registry_manifest_t *
ngx_http_registry_fs_parse(ngx_http_registry_op_t *op,
    const registry_digest_t *digest, size_t *size)
{
    u_char                *data;
    const char            *reason;
    registry_str_t         in;
    registry_status_e      status;
    registry_manifest_t   *manifest;

    static registry_str_t  none = registry_str("");

    if (ngx_http_registry_fs_manifest(op, digest, &data, size) != NGX_OK) {
        return NULL;
    }

    in.data = (const char *) data;
    in.len = *size;

    status = registry_manifest_parse(in, none, &manifest, &reason);

    free(data);

    return (status == REGISTRY_OK) ? manifest : NULL;
}


static void
ngx_http_registry_fs_referrer_path(ngx_http_registry_op_t *op,
    ngx_http_registry_path_t *path, const registry_digest_t *subject,
    const registry_digest_t *digest)
{
    char  name[REGISTRY_DIGEST_MAX + 1];

    ngx_http_registry_fs_referrer_name(digest, name);

    ngx_http_registry_fs_path(op, path, NGX_HTTP_REGISTRY_FS_REFERRER,
                              op->name, ngx_http_registry_fs_digest(subject),
                              name);
}


/* "sha256-<hex>" */

static void
ngx_http_registry_fs_referrer_name(const registry_digest_t *digest,
    char *name)
{
    ngx_memcpy(name, digest->text, digest->len + 1);
    name[REGISTRY_ALGORITHM_LEN] = '-';
}
