
/*
 * Lists of the file system driver, a page at a time: of a directory's names,
 * which tags are, and of repositories.
 */


#include "ngx_http_registry_fs.h"


static ngx_int_t ngx_http_registry_fs_has(ngx_http_registry_op_t *op,
    const char *name, const char *const *markers);
static ngx_int_t ngx_http_registry_fs_walk(ngx_http_registry_op_t *op,
    const char *prefix, const char *const *markers);
static ngx_int_t ngx_http_registry_fs_step(ngx_http_registry_op_t *op,
    const char *prefix, const char *entry, size_t len,
    const char *const *markers);
static ngx_int_t ngx_http_registry_fs_visit(ngx_http_registry_op_t *op,
    const char *name, const char *const *markers);


/* what makes a directory a repository */

static const char *const  ngx_http_registry_fs_content[] = {
    "_manifests", "_layers", NULL
};


ngx_int_t
ngx_http_registry_fs_readdir(ngx_http_registry_op_t *op, const char *path,
    const char *last, ngx_uint_t limit, ngx_http_registry_list_t *list)
{
    size_t                    i;
    ngx_int_t                 rc;
    ngx_http_registry_dir_t  *dir;

    list->n = 0;
    list->len = 0;
    list->size = 0;

    rc = ngx_http_registry_fs_dir_open(op, path, 0, &dir);
    if (rc != NGX_OK) {
        list->next[0] = '\0';
        return rc;
    }

    i = ngx_http_registry_fs_dir_after(dir, last);
    list->next[0] = '\0';

    for ( /* void */ ; i < dir->n && list->n < limit; i++) {
        rc = ngx_http_registry_list_add(list, dir->names[i],
                                        ngx_strlen(dir->names[i]));
        if (rc != NGX_OK) {
            rc = ngx_http_registry_fs_failed(op, "malloc()", path);
            break;
        }
    }

    if (rc == NGX_OK && i < dir->n && list->n) {
        (void) ngx_cpystrn((u_char *) list->next, (u_char *) dir->names[i - 1],
                           sizeof(list->next));
    }

    ngx_http_registry_fs_dir_close(dir);

    return rc;
}


ngx_int_t
ngx_http_registry_fs_tags(ngx_http_registry_op_t *op)
{
    ngx_int_t                 rc;
    ngx_http_registry_path_t  path;

    ngx_http_registry_fs_path(op, &path, NGX_HTTP_REGISTRY_FS_TAGS,
                              op->name);

    rc = ngx_http_registry_fs_readdir(op, path.data, op->last, op->limit,
                                      &op->list);
    if (rc != NGX_DECLINED) {
        return rc;
    }

    /* a repository that never had a tag is there all the same */

    return ngx_http_registry_fs_has(op, op->name,
                                    ngx_http_registry_fs_content);
}


/* whether a repository has one of those directories */

static ngx_int_t
ngx_http_registry_fs_has(ngx_http_registry_op_t *op, const char *name,
    const char *const *markers)
{
    ngx_int_t                 rc;
    ngx_http_registry_path_t  path;

    rc = NGX_DECLINED;

    for ( /* void */ ; *markers && rc == NGX_DECLINED; markers++) {
        ngx_http_registry_fs_path(op, &path, NGX_HTTP_REGISTRY_FS_REPO "/%s",
                                  name, *markers);

        rc = ngx_http_registry_fs_exists(op, path.data);
    }

    return rc;
}


ngx_int_t
ngx_http_registry_fs_catalog(ngx_http_registry_op_t *op)
{
    return ngx_http_registry_fs_repositories(op,
                                             ngx_http_registry_fs_content);
}


ngx_int_t
ngx_http_registry_fs_repositories(ngx_http_registry_op_t *op,
    const char *const *markers)
{
    ngx_int_t  rc;

    rc = ngx_http_registry_fs_walk(op, "", markers);

    if (rc == NGX_DONE) {
        return NGX_OK;
    }

    /* this was the last page */

    op->list.next[0] = '\0';

    return (rc == NGX_DECLINED) ? NGX_OK : rc;
}


/*
 * Visits names in their order as whole strings.  Since "-" and "." sort
 * before "/", a directory stands in its parent's list twice: as itself, "a",
 * and as what is below, "a/".  NGX_DONE when the page is full.
 */

static ngx_int_t
ngx_http_registry_fs_walk(ngx_http_registry_op_t *op, const char *prefix,
    const char *const *markers)
{
    size_t                     i, len;
    ngx_int_t                  rc;
    const char                *last, *p;
    ngx_http_registry_dir_t   *dir;
    ngx_http_registry_path_t   path;

    ngx_http_registry_fs_path(op, &path, NGX_HTTP_REGISTRY_FS_REPOS
                              "/%s", prefix);

    rc = ngx_http_registry_fs_dir_open(op, path.data, 1, &dir);
    if (rc != NGX_OK) {
        return rc;
    }

    len = ngx_strlen(prefix);
    last = (strncmp(op->last, prefix, len) == 0) ? op->last + len : "";
    p = strchr(last, '/');

    /* what is left below the directory that the last page ended in */

    if (p) {
        rc = ngx_http_registry_fs_step(op, prefix, last, p - last + 1,
                                       markers);
    }

    for (i = ngx_http_registry_fs_dir_after(dir, last);
         i < dir->n && (rc == NGX_OK || rc == NGX_DECLINED);
         i++)
    {
        if (p && strncmp(last, dir->names[i], p - last + 1) == 0) {
            continue;
        }

        rc = ngx_http_registry_fs_step(op, prefix, dir->names[i],
                                       ngx_strlen(dir->names[i]), markers);
    }

    ngx_http_registry_fs_dir_close(dir);

    return (rc == NGX_DECLINED) ? NGX_OK : rc;
}


/* what cannot be a repository, "..", lost+found, is passed over */

static ngx_int_t
ngx_http_registry_fs_step(ngx_http_registry_op_t *op, const char *prefix,
    const char *entry, size_t len, const char *const *markers)
{
    char            name[REGISTRY_NAME_MAX + 2];
    registry_str_t  text;

    if (ngx_strlen(prefix) + len > REGISTRY_NAME_MAX) {
        return NGX_DECLINED;
    }

    text.data = name;
    text.len = snprintf(name, sizeof(name), "%s%.*s", prefix, (int) len,
                        entry);

    if (entry[len - 1] != '/') {
        return registry_name_valid(text)
                   ? ngx_http_registry_fs_visit(op, name, markers)
                   : NGX_DECLINED;
    }

    text.len--;

    return registry_name_valid(text)
               ? ngx_http_registry_fs_walk(op, name, markers)
               : NGX_DECLINED;
}


static ngx_int_t
ngx_http_registry_fs_visit(ngx_http_registry_op_t *op, const char *name,
    const char *const *markers)
{
    ngx_int_t  rc;

    rc = ngx_http_registry_fs_has(op, name, markers);
    if (rc != NGX_OK) {
        return rc;
    }

    if (op->list.n == op->limit) {
        return NGX_DONE;
    }

    if (ngx_http_registry_list_add(&op->list, name, ngx_strlen(name))
        != NGX_OK)
    {
        return ngx_http_registry_fs_failed(op, "malloc()", name);
    }

    (void) ngx_cpystrn((u_char *) op->list.next, (u_char *) name,
                       sizeof(op->list.next));

    return NGX_OK;
}


ngx_int_t
ngx_http_registry_list_add(ngx_http_registry_list_t *list, const char *text,
    size_t len)
{
    char    *start;
    size_t   size;

    if (list->len + len + 1 > list->size) {
        size = ngx_max(list->size * 2, list->len + len + 1);

        start = realloc(list->start, size);
        if (start == NULL) {
            return NGX_ERROR;
        }

        list->start = start;
        list->size = size;
    }

    ngx_memcpy(list->start + list->len, text, len);
    list->start[list->len + len] = '\0';

    list->len += len + 1;
    list->n++;

    return NGX_OK;
}
