
/*
 * Purges of the file system driver.  What is purged is taken away by a rename,
 * which is one step for a whole namespace too, and then removed in pieces.
 * If nobody does that, what is left goes with all other leftovers.
 */


#include "ngx_http_registry_fs.h"

#include <fnmatch.h>


/* below that a directory for each op->apart, with the names of that place */

#define NGX_HTTP_REGISTRY_FS_PURGED  NGX_HTTP_REGISTRY_FS_TMP "/%s"


static ngx_int_t ngx_http_registry_fs_purge_hide(ngx_http_registry_op_t *op,
    const char *part);
static ngx_int_t ngx_http_registry_fs_purge_dir(ngx_http_registry_op_t *op,
    ngx_http_registry_path_t *path);
static ngx_int_t ngx_http_registry_fs_purge_entry(ngx_http_registry_op_t *op,
    ngx_http_registry_path_t *path, const char *name);
static ngx_int_t ngx_http_registry_fs_purge_count(ngx_http_registry_op_t *op,
    ngx_http_registry_path_t *path);
static ngx_int_t ngx_http_registry_fs_purge_list(ngx_http_registry_op_t *op,
    ngx_http_registry_path_t *path);


/* what a repository has, and all of a directory */

static const char *const  ngx_http_registry_fs_purge_parts[] = {
    "/_manifests", "/_layers", "/_referrers", NULL
};

static const char *const  ngx_http_registry_fs_purge_all[] = {
    "", NULL
};


static const struct {
    const char  *pattern;
    size_t       offset;
} ngx_http_registry_fs_purge_links[] = {

    { "*/_manifests/tags/*/current/link",
      offsetof(ngx_http_registry_purged_t, tags) },
    { "*/_manifests/revisions/*/*/link",
      offsetof(ngx_http_registry_purged_t, manifests) },
    { "*/_layers/*/*/link",
      offsetof(ngx_http_registry_purged_t, blobs) },
    { NULL, 0 }
};


ngx_int_t
ngx_http_registry_fs_purge(ngx_http_registry_op_t *op)
{
    ngx_int_t                  rc, found;
    const char *const         *part;
    ngx_http_registry_path_t   path;

    if (op->temp[0] == '\0') {

        if (ngx_http_registry_fs_temp_name(op, "", &path) != NGX_OK) {
            return NGX_ERROR;
        }

        (void) ngx_cpystrn((u_char *) op->temp, (u_char *) path.data + 1,
                           sizeof(op->temp));
    }

    found = NGX_DECLINED;
    part = op->all ? ngx_http_registry_fs_purge_all
                   : ngx_http_registry_fs_purge_parts;

    for ( /* void */ ; *part; part++) {
        rc = ngx_http_registry_fs_purge_hide(op, *part);

        if (rc == NGX_ERROR) {
            return rc;
        }

        if (rc == NGX_OK) {
            found = NGX_OK;
        }
    }

    return found;
}


static ngx_int_t
ngx_http_registry_fs_purge_hide(ngx_http_registry_op_t *op, const char *part)
{
    ngx_int_t                 rc;
    ngx_uint_t                apart;
    ngx_http_registry_path_t  from, to;

    ngx_http_registry_fs_path(op, &from, NGX_HTTP_REGISTRY_FS_REPO "%s",
                              op->name, part);

    /* all of a namespace that has none where it waits */

    if (op->name[0] == '\0') {
        from.data[--from.len] = '\0';
    }

    apart = op->apart;
    op->apart = 0;

    ngx_http_registry_fs_path(op, &to, NGX_HTTP_REGISTRY_FS_PURGED "/%u/%s%s",
                              op->temp, (unsigned) apart, op->name, part);

    op->apart = apart;

    rc = ngx_http_registry_fs_exists(op, from.data);
    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_http_registry_fs_mkdirs(op, to.data) != NGX_OK) {
        return NGX_ERROR;
    }

    if (rename(from.data, to.data) == -1) {
        if (ngx_errno == NGX_ENOENT) {
            return NGX_DECLINED;
        }

        return ngx_http_registry_fs_failed(op, "rename()", from.data);
    }

    return ngx_http_registry_fs_sync_parent(op, from.data);
}


ngx_int_t
ngx_http_registry_fs_purge_remove(ngx_http_registry_op_t *op)
{
    ngx_int_t                 rc;
    ngx_http_registry_path_t  path;

    ngx_http_registry_fs_path(op, &path, NGX_HTTP_REGISTRY_FS_PURGED,
                              op->temp);

    rc = ngx_http_registry_fs_purge_dir(op, &path);

    if (rc == NGX_OK) {
        return NGX_DECLINED;
    }

    return (rc == NGX_AGAIN) ? NGX_OK : rc;
}


/* as deep as names can be; NGX_AGAIN: the limit is reached */

static ngx_int_t
ngx_http_registry_fs_purge_dir(ngx_http_registry_op_t *op,
    ngx_http_registry_path_t *path)
{
    DIR            *dir;
    size_t          len;
    ngx_int_t       rc;
    struct dirent  *de;

    dir = opendir(path->data);

    if (dir == NULL) {
        if (ngx_errno == NGX_ENOENT) {
            return NGX_OK;
        }

        return ngx_http_registry_fs_failed(op, "opendir()", path->data);
    }

    rc = NGX_OK;
    len = path->len;

    while (rc == NGX_OK) {
        ngx_set_errno(0);
        de = readdir(dir);

        if (de == NULL) {
            if (ngx_errno) {
                rc = ngx_http_registry_fs_failed(op, "readdir()",
                                                 path->data);
            }

            break;
        }

        if (ngx_strcmp(de->d_name, ".") == 0
            || ngx_strcmp(de->d_name, "..") == 0)
        {
            continue;
        }

        rc = ngx_http_registry_fs_purge_entry(op, path, de->d_name);

        path->len = len;
        path->data[len] = '\0';
    }

    (void) closedir(dir);

    if (rc != NGX_OK) {
        return rc;
    }

    if (rmdir(path->data) == -1 && ngx_errno != NGX_ENOENT) {
        return ngx_http_registry_fs_failed(op, "rmdir()", path->data);
    }

    return NGX_OK;
}


/* which makes the path longer */

static ngx_int_t
ngx_http_registry_fs_purge_entry(ngx_http_registry_op_t *op,
    ngx_http_registry_path_t *path, const char *name)
{
    if (op->limit == 0) {
        return NGX_AGAIN;
    }

    path->len += snprintf(path->data + path->len,
                          sizeof(path->data) - path->len, "/%s", name);

    if (path->len >= sizeof(path->data)) {
        ngx_set_errno(NGX_ENAMETOOLONG);
        return ngx_http_registry_fs_failed(op, "unlink()", path->data);
    }

    if (unlink(path->data) == 0) {
        op->limit--;
        return ngx_http_registry_fs_purge_count(op, path);
    }

    if (ngx_errno == EISDIR) {
        return ngx_http_registry_fs_purge_dir(op, path);
    }

    /* what somebody else removed meanwhile is removed */

    if (ngx_errno == NGX_ENOENT) {
        return NGX_OK;
    }

    return ngx_http_registry_fs_failed(op, "unlink()", path->data);
}


static ngx_int_t
ngx_http_registry_fs_purge_count(ngx_http_registry_op_t *op,
    ngx_http_registry_path_t *path)
{
    ngx_uint_t  i, *n;

    for (i = 0; ngx_http_registry_fs_purge_links[i].pattern; i++) {

        if (fnmatch(ngx_http_registry_fs_purge_links[i].pattern, path->data,
                    0)
            != 0)
        {
            continue;
        }

        n = (ngx_uint_t *) ((char *) &op->purged
                            + ngx_http_registry_fs_purge_links[i].offset);
        (*n)++;

        return (n == &op->purged.manifests)
               ? ngx_http_registry_fs_purge_list(op, path) : NGX_OK;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_fs_purge_list(ngx_http_registry_op_t *op,
    ngx_http_registry_path_t *path)
{
    int                        n;
    char                       algorithm[REGISTRY_ALGORITHM_LEN + 1];
    char                       hex[REGISTRY_DIGEST_MAX];
    char                       text[REGISTRY_NAME_MAX + 1
                                    + REGISTRY_DIGEST_MAX + 1];
    const char                *name, *p;
    ngx_http_registry_path_t   dir;

    ngx_http_registry_fs_path(op, &dir, NGX_HTTP_REGISTRY_FS_PURGED "/0/",
                              op->temp);

    name = path->data + dir.len;
    p = strstr(name, "/_manifests/revisions/");

    if (p == NULL
        || sscanf(p, "/_manifests/revisions/%6[a-z0-9]/%128[a-f0-9]/link",
                  algorithm, hex)
           != 2)
    {
        return NGX_OK;
    }

    n = snprintf(text, sizeof(text), "%.*s@%s:%s", (int) (p - name), name,
                 algorithm, hex);

    if (n < 0 || (size_t) n >= sizeof(text)) {
        return NGX_OK;
    }

    return (ngx_http_registry_list_add(&op->list, text, n) == NGX_OK)
           ? NGX_OK
           : ngx_http_registry_fs_failed(op, "malloc()", path->data);
}
