
/*
 * Lists of the file system driver, a page at a time.  What a page holds in
 * memory is bounded by its length, whatever the directory's.
 */


#include "ngx_http_registry_fs.h"


/* the smallest "limit" names above "last", in no order until they are done */

typedef struct {
    char                      **names;
    size_t                      n;
    size_t                      limit;
    size_t                      size;
    const char                 *last;
    ngx_uint_t                  more;
} ngx_http_registry_page_t;


static ngx_int_t ngx_http_registry_fs_scan(ngx_http_registry_op_t *op,
    const char *path, ngx_uint_t dirs, ngx_http_registry_page_t *page);
static ngx_int_t ngx_http_registry_page_init(ngx_http_registry_page_t *page,
    const char *last, size_t limit);
static ngx_int_t ngx_http_registry_page_add(ngx_http_registry_page_t *page,
    const char *name, const char *suffix);
static void ngx_http_registry_page_cut(ngx_http_registry_page_t *page);
static void ngx_http_registry_page_free(ngx_http_registry_page_t *page);
static int ngx_libc_cdecl ngx_http_registry_page_cmp(const void *one,
    const void *two);
static ngx_int_t ngx_http_registry_list_add(ngx_http_registry_list_t *list,
    const char *text, size_t len);
static ngx_int_t ngx_http_registry_fs_walk(ngx_http_registry_op_t *op,
    const char *prefix, const char *marker);
static ngx_int_t ngx_http_registry_fs_referrer_add(
    ngx_http_registry_op_t *op, const char *name);


ngx_int_t
ngx_http_registry_fs_readdir(ngx_http_registry_op_t *op, const char *path,
    const char *last, ngx_uint_t limit, ngx_http_registry_list_t *list)
{
    size_t                    i;
    ngx_int_t                 rc;
    ngx_http_registry_page_t  page;

    list->n = 0;
    list->len = 0;
    list->size = 0;

    if (ngx_http_registry_page_init(&page, last, limit) != NGX_OK) {
        return ngx_http_registry_fs_failed(op, "malloc()", path);
    }

    rc = ngx_http_registry_fs_scan(op, path, 0, &page);

    for (i = 0; rc == NGX_OK && i < page.n; i++) {
        if (ngx_http_registry_list_add(list, page.names[i],
                                       ngx_strlen(page.names[i]))
            != NGX_OK)
        {
            rc = ngx_http_registry_fs_failed(op, "malloc()", path);
        }
    }

    list->next[0] = '\0';

    if (rc == NGX_OK && page.more && page.n) {
        (void) snprintf(list->next, sizeof(list->next), "%s",
                        page.names[page.n - 1]);
    }

    ngx_http_registry_page_free(&page);

    return rc;
}


ngx_int_t
ngx_http_registry_fs_tags(ngx_http_registry_op_t *op)
{
    ngx_int_t                 rc;
    ngx_http_registry_path_t  path;

    rc = ngx_http_registry_fs_path(op, &path, NGX_HTTP_REGISTRY_FS_TAGS,
                                   op->name);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_registry_fs_readdir(op, path.data, op->last, op->limit,
                                      &op->list);
    if (rc != NGX_DECLINED) {
        return rc;
    }

    /* a repository that never had a tag is there all the same */

    rc = ngx_http_registry_fs_path(op, &path, NGX_HTTP_REGISTRY_FS_REPO,
                                   op->name);
    if (rc != NGX_OK) {
        return rc;
    }

    return ngx_http_registry_fs_exists(op, path.data);
}


ngx_int_t
ngx_http_registry_fs_catalog(ngx_http_registry_op_t *op)
{
    return ngx_http_registry_fs_repositories(op, "_manifests");
}


ngx_int_t
ngx_http_registry_fs_repositories(ngx_http_registry_op_t *op,
    const char *marker)
{
    ngx_int_t  rc;

    rc = ngx_http_registry_fs_walk(op, "", marker);

    return (rc == NGX_DONE || rc == NGX_DECLINED) ? NGX_OK : rc;
}


/*
 * Visits names in their order as whole strings.  Since "-" and "." sort
 * before "/", a directory stands in its parent's page twice: as itself,
 * "a", and as what is below, "a/".  NGX_DONE when the page is full.
 */

static ngx_int_t
ngx_http_registry_fs_walk(ngx_http_registry_op_t *op, const char *prefix,
    const char *marker)
{
    char                       name[REGISTRY_NAME_MAX + 2];
    char                      *p;
    size_t                     i, len;
    ngx_int_t                  rc;
    ngx_http_registry_page_t   page;
    ngx_http_registry_path_t   path;

    rc = ngx_http_registry_fs_path(op, &path, NGX_HTTP_REGISTRY_FS_REPOS
                                   "/%s", prefix);
    if (rc != NGX_OK) {
        return rc;
    }

    len = ngx_strlen(prefix);

    /* twice the entries of a directory: nothing is cut off here */

    if (ngx_http_registry_page_init(&page, "", NGX_MAX_SIZE_T_VALUE)
        != NGX_OK)
    {
        return ngx_http_registry_fs_failed(op, "malloc()", path.data);
    }

    rc = ngx_http_registry_fs_scan(op, path.data, 1, &page);

    for (i = 0; rc == NGX_OK && i < page.n; i++) {

        p = page.names[i];

        if (len + ngx_strlen(p) > REGISTRY_NAME_MAX) {
            continue;
        }

        (void) snprintf(name, sizeof(name), "%s%s", prefix, p);

        if (name[ngx_strlen(name) - 1] == '/') {

            /* what is below "last" is not over yet */

            if (strcmp(name, op->last) > 0
                || strncmp(name, op->last, ngx_strlen(name)) == 0)
            {
                rc = ngx_http_registry_fs_walk(op, name, marker);

                if (rc == NGX_DECLINED) {
                    rc = NGX_OK;
                }
            }

            continue;
        }

        if (strcmp(name, op->last) <= 0) {
            continue;
        }

        if (ngx_http_registry_fs_path(op, &path,
                                      NGX_HTTP_REGISTRY_FS_REPO "/%s", name,
                                      marker)
            != NGX_OK)
        {
            rc = NGX_ERROR;
            break;
        }

        if (ngx_http_registry_fs_exists(op, path.data) != NGX_OK) {
            continue;
        }

        if (op->list.n == op->limit) {
            rc = NGX_DONE;
            break;
        }

        if (ngx_http_registry_list_add(&op->list, name, ngx_strlen(name))
            != NGX_OK)
        {
            rc = ngx_http_registry_fs_failed(op, "malloc()", path.data);
        }
    }

    ngx_http_registry_page_free(&page);

    if (rc == NGX_DONE && op->list.next[0] == '\0' && op->list.n) {

        /* the last name of the list; it ends with a zero */

        for (p = op->list.start + op->list.len - 1;
             p > op->list.start && p[-1] != '\0';
             p--)
        { /* void */ }

        (void) snprintf(op->list.next, sizeof(op->list.next), "%s", p);
    }

    return rc;
}


ngx_int_t
ngx_http_registry_fs_referrers(ngx_http_registry_op_t *op)
{
    char                      *p, *last;
    ngx_int_t                  rc;
    ngx_uint_t                 i;
    ngx_http_registry_list_t   names;
    ngx_http_registry_path_t   path;

    rc = ngx_http_registry_fs_path(op, &path, NGX_HTTP_REGISTRY_FS_REFERRERS,
                                   op->name,
                                   ngx_http_registry_fs_digest(&op->digest));
    if (rc != NGX_OK) {
        return rc;
    }

    ngx_memzero(&names, sizeof(ngx_http_registry_list_t));

    last = op->last;

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

            if (op->list.n == op->limit) {
                (void) snprintf(op->list.next, sizeof(op->list.next), "%s",
                                last);
                rc = NGX_DONE;
                break;
            }

            rc = ngx_http_registry_fs_referrer_add(op, p);

            if (rc == NGX_ERROR) {
                break;
            }

            last = p;
            p += ngx_strlen(p) + 1;
            rc = NGX_OK;
        }

        last = names.next;

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

    rc = ngx_http_registry_fs_path(op, &path, NGX_HTTP_REGISTRY_FS_REVISION,
                                   op->name,
                                   ngx_http_registry_fs_digest(&digest));
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_registry_fs_exists(op, path.data);
    if (rc != NGX_OK) {
        return rc;
    }

    rc = ngx_http_registry_fs_path(op, &path, NGX_HTTP_REGISTRY_FS_REFERRER,
                                   op->name,
                                   ngx_http_registry_fs_digest(&op->digest),
                                   name);
    if (rc != NGX_OK) {
        return rc;
    }

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


const char *
ngx_http_registry_fs_referrer(const registry_digest_t *digest, char *buf)
{
    ngx_memcpy(buf, digest->text, digest->len + 1);
    buf[REGISTRY_ALGORITHM_LEN] = '-';

    return buf;
}


/* with "dirs" a name stands for itself and, with a slash, what is below */

static ngx_int_t
ngx_http_registry_fs_scan(ngx_http_registry_op_t *op, const char *path,
    ngx_uint_t dirs, ngx_http_registry_page_t *page)
{
    DIR            *dir;
    ngx_int_t       rc;
    struct dirent  *de;

    dir = opendir(path);

    if (dir == NULL) {
        if (ngx_errno == NGX_ENOENT || ngx_errno == NGX_ENOTDIR) {
            return NGX_DECLINED;
        }

        return ngx_http_registry_fs_failed(op, "opendir()", path);
    }

    rc = NGX_OK;

    for ( ;; ) {
        ngx_set_errno(0);
        de = readdir(dir);

        if (de == NULL) {
            if (ngx_errno) {
                rc = ngx_http_registry_fs_failed(op, "readdir()", path);
            }

            break;
        }

        if (ngx_strcmp(de->d_name, ".") == 0
            || ngx_strcmp(de->d_name, "..") == 0
            || (dirs && de->d_name[0] == '_')
            || (dirs && de->d_type == DT_REG))
        {
            continue;
        }

        if (ngx_http_registry_page_add(page, de->d_name, "") != NGX_OK
            || (dirs
                && ngx_http_registry_page_add(page, de->d_name, "/")
                   != NGX_OK))
        {
            rc = ngx_http_registry_fs_failed(op, "malloc()", path);
            break;
        }
    }

    (void) closedir(dir);

    ngx_http_registry_page_cut(page);

    return rc;
}


static ngx_int_t
ngx_http_registry_page_init(ngx_http_registry_page_t *page, const char *last,
    size_t limit)
{
    ngx_memzero(page, sizeof(ngx_http_registry_page_t));

    page->last = last;
    page->limit = limit;
    page->size = ngx_max(ngx_min(limit, 512), 1) * 2;
    page->names = malloc(page->size * sizeof(char *));

    return page->names ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_http_registry_page_add(ngx_http_registry_page_t *page, const char *name,
    const char *suffix)
{
    char   *copy, **names;
    size_t  len;

    if (strcmp(name, page->last) <= 0) {
        return NGX_OK;
    }

    if (page->n == page->size) {

        if (page->n / 2 >= page->limit) {
            ngx_http_registry_page_cut(page);

        } else {
            names = realloc(page->names, page->size * 2 * sizeof(char *));
            if (names == NULL) {
                return NGX_ERROR;
            }

            page->names = names;
            page->size *= 2;
        }
    }

    len = ngx_strlen(name) + ngx_strlen(suffix) + 1;

    copy = malloc(len);
    if (copy == NULL) {
        return NGX_ERROR;
    }

    (void) snprintf(copy, len, "%s%s", name, suffix);

    page->names[page->n++] = copy;

    return NGX_OK;
}


/* sorts, and keeps what the limit allows */

static void
ngx_http_registry_page_cut(ngx_http_registry_page_t *page)
{
    qsort(page->names, page->n, sizeof(char *), ngx_http_registry_page_cmp);

    while (page->n > page->limit) {
        free(page->names[--page->n]);
        page->more = 1;
    }
}


static void
ngx_http_registry_page_free(ngx_http_registry_page_t *page)
{
    while (page->n) {
        free(page->names[--page->n]);
    }

    free(page->names);
}


static int ngx_libc_cdecl
ngx_http_registry_page_cmp(const void *one, const void *two)
{
    return strcmp(*(char *const *) one, *(char *const *) two);
}


static ngx_int_t
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
