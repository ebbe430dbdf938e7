
/*
 * Sorted directories.  A page of a list must not cost what the whole list
 * does: a large directory is read and sorted once, and kept in the process
 * until it changes.
 */


#include "ngx_http_registry_fs.h"

#include <pthread.h>


#define NGX_HTTP_REGISTRY_FS_DIRS      16
#define NGX_HTTP_REGISTRY_FS_DIR_MIN   256          /* names; else not kept */
#define NGX_HTTP_REGISTRY_FS_DIR_MAX   (32 * 1024 * 1024)   /* bytes, of all */

/*
 * A directory that changed this recently may change again within the same
 * tick of its time stamp.
 */
#define NGX_HTTP_REGISTRY_FS_DIR_SETTLED  2         /* seconds */


static ngx_http_registry_dir_t *ngx_http_registry_fs_dir_find(
    const char *path, ngx_uint_t dirs, const struct stat *sb);
static void ngx_http_registry_fs_dir_keep(ngx_http_registry_dir_t *dir);
static void ngx_http_registry_fs_dir_unref(ngx_http_registry_dir_t *dir);
static ngx_int_t ngx_http_registry_fs_dir_read(ngx_http_registry_op_t *op,
    ngx_http_registry_dir_t *dir);
static ngx_int_t ngx_http_registry_fs_dir_add(ngx_http_registry_dir_t *dir,
    const char *name, const char *suffix);
static ngx_int_t ngx_http_registry_fs_dir_sort(ngx_http_registry_dir_t *dir);
static int ngx_libc_cdecl ngx_http_registry_fs_dir_cmp(const void *one,
    const void *two);


static pthread_mutex_t           ngx_http_registry_fs_lock =
    PTHREAD_MUTEX_INITIALIZER;
static ngx_http_registry_dir_t  *ngx_http_registry_fs_dirs[
    NGX_HTTP_REGISTRY_FS_DIRS];
static size_t                    ngx_http_registry_fs_dirs_size;
static ngx_uint_t                ngx_http_registry_fs_dirs_used;


ngx_int_t
ngx_http_registry_fs_dir_open(ngx_http_registry_op_t *op, const char *path,
    ngx_uint_t dirs, ngx_http_registry_dir_t **dir)
{
    ngx_int_t                 rc;
    struct stat               sb;
    ngx_http_registry_dir_t  *d;

    if (stat(path, &sb) == -1) {
        if (ngx_errno == NGX_ENOENT || ngx_errno == NGX_ENOTDIR) {
            return NGX_DECLINED;
        }

        return ngx_http_registry_fs_failed(op, "stat()", path);
    }

    d = ngx_http_registry_fs_dir_find(path, dirs, &sb);

    if (d) {
        *dir = d;
        return NGX_OK;
    }

    d = calloc(1, sizeof(ngx_http_registry_dir_t));
    if (d == NULL) {
        return ngx_http_registry_fs_failed(op, "malloc()", path);
    }

    d->refs = 1;
    d->dirs = dirs;
    d->sb = sb;

    d->path = strdup(path);

    if (d->path == NULL) {
        rc = ngx_http_registry_fs_failed(op, "malloc()", path);

    } else {
        rc = ngx_http_registry_fs_dir_read(op, d);
    }

    if (rc != NGX_OK) {
        ngx_http_registry_fs_dir_close(d);
        return rc;
    }

    ngx_http_registry_fs_dir_keep(d);

    *dir = d;

    return NGX_OK;
}


void
ngx_http_registry_fs_dir_close(ngx_http_registry_dir_t *dir)
{
    (void) pthread_mutex_lock(&ngx_http_registry_fs_lock);

    ngx_http_registry_fs_dir_unref(dir);

    (void) pthread_mutex_unlock(&ngx_http_registry_fs_lock);
}


size_t
ngx_http_registry_fs_dir_after(ngx_http_registry_dir_t *dir,
    const char *last)
{
    size_t  low, high, middle;

    low = 0;
    high = dir->n;

    while (low < high) {
        middle = low + (high - low) / 2;

        if (strcmp(dir->names[middle], last) <= 0) {
            low = middle + 1;

        } else {
            high = middle;
        }
    }

    return low;
}


static ngx_http_registry_dir_t *
ngx_http_registry_fs_dir_find(const char *path, ngx_uint_t dirs,
    const struct stat *sb)
{
    ngx_uint_t                i;
    ngx_http_registry_dir_t  *d, *found;

    found = NULL;

    (void) pthread_mutex_lock(&ngx_http_registry_fs_lock);

    for (i = 0; i < NGX_HTTP_REGISTRY_FS_DIRS; i++) {
        d = ngx_http_registry_fs_dirs[i];

        if (d == NULL || d->dirs != dirs || strcmp(d->path, path) != 0) {
            continue;
        }

        if (d->sb.st_ino == sb->st_ino && d->sb.st_dev == sb->st_dev
            && d->sb.st_mtim.tv_sec == sb->st_mtim.tv_sec
            && d->sb.st_mtim.tv_nsec == sb->st_mtim.tv_nsec)
        {
            d->refs++;
            d->used = ++ngx_http_registry_fs_dirs_used;
            found = d;
        }

        break;
    }

    (void) pthread_mutex_unlock(&ngx_http_registry_fs_lock);

    return found;
}


/* in the place of what was kept of this path, or of the least recently used */

static void
ngx_http_registry_fs_dir_keep(ngx_http_registry_dir_t *dir)
{
    ngx_uint_t                i, slot;
    ngx_http_registry_dir_t  *d;

    if (dir->n < NGX_HTTP_REGISTRY_FS_DIR_MIN
        || time(NULL) - dir->sb.st_mtim.tv_sec
           < NGX_HTTP_REGISTRY_FS_DIR_SETTLED)
    {
        return;
    }

    (void) pthread_mutex_lock(&ngx_http_registry_fs_lock);

    slot = 0;

    for (i = 0; i < NGX_HTTP_REGISTRY_FS_DIRS; i++) {
        d = ngx_http_registry_fs_dirs[i];

        if (d && d->dirs == dir->dirs && strcmp(d->path, dir->path) == 0) {
            slot = i;
            break;
        }

        if (ngx_http_registry_fs_dirs[slot]
            && (d == NULL
                || d->used < ngx_http_registry_fs_dirs[slot]->used))
        {
            slot = i;
        }
    }

    d = ngx_http_registry_fs_dirs[slot];

    if (d) {
        ngx_http_registry_fs_dirs[slot] = NULL;
        ngx_http_registry_fs_dirs_size -= d->size;
        ngx_http_registry_fs_dir_unref(d);
    }

    if (ngx_http_registry_fs_dirs_size + dir->size
        <= NGX_HTTP_REGISTRY_FS_DIR_MAX)
    {
        dir->refs++;
        dir->used = ++ngx_http_registry_fs_dirs_used;
        ngx_http_registry_fs_dirs[slot] = dir;
        ngx_http_registry_fs_dirs_size += dir->size;
    }

    (void) pthread_mutex_unlock(&ngx_http_registry_fs_lock);
}


/* called under the lock */

static void
ngx_http_registry_fs_dir_unref(ngx_http_registry_dir_t *dir)
{
    if (--dir->refs) {
        return;
    }

    free(dir->names);
    free(dir->text);
    free(dir->path);
    free(dir);
}


static ngx_int_t
ngx_http_registry_fs_dir_read(ngx_http_registry_op_t *op,
    ngx_http_registry_dir_t *dir)
{
    DIR            *dp;
    ngx_int_t       rc;
    struct dirent  *de;

    dp = opendir(dir->path);

    if (dp == NULL) {
        if (ngx_errno == NGX_ENOENT || ngx_errno == NGX_ENOTDIR) {
            return NGX_DECLINED;
        }

        return ngx_http_registry_fs_failed(op, "opendir()", dir->path);
    }

    rc = NGX_OK;

    for ( ;; ) {
        ngx_set_errno(0);
        de = readdir(dp);

        if (de == NULL) {
            if (ngx_errno) {
                rc = ngx_http_registry_fs_failed(op, "readdir()", dir->path);
            }

            break;
        }

        if (ngx_strcmp(de->d_name, ".") == 0
            || ngx_strcmp(de->d_name, "..") == 0
            || (dir->dirs && (de->d_name[0] == '_' || de->d_type == DT_REG)))
        {
            continue;
        }

        if (ngx_http_registry_fs_dir_add(dir, de->d_name, "") != NGX_OK
            || (dir->dirs
                && ngx_http_registry_fs_dir_add(dir, de->d_name, "/")
                   != NGX_OK))
        {
            rc = ngx_http_registry_fs_failed(op, "malloc()", dir->path);
            break;
        }
    }

    (void) closedir(dp);

    if (rc == NGX_OK && ngx_http_registry_fs_dir_sort(dir) != NGX_OK) {
        rc = ngx_http_registry_fs_failed(op, "malloc()", dir->path);
    }

    return rc;
}


static ngx_int_t
ngx_http_registry_fs_dir_add(ngx_http_registry_dir_t *dir, const char *name,
    const char *suffix)
{
    char    *text;
    size_t   len, size;

    len = ngx_strlen(name) + ngx_strlen(suffix) + 1;

    if (dir->len + len > dir->allocated) {
        size = ngx_max(dir->allocated * 2, 4096);

        text = realloc(dir->text, size);
        if (text == NULL) {
            return NGX_ERROR;
        }

        dir->text = text;
        dir->allocated = size;
    }

    (void) snprintf(dir->text + dir->len, len, "%s%s", name, suffix);

    dir->len += len;
    dir->n++;

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_fs_dir_sort(ngx_http_registry_dir_t *dir)
{
    char    *p;
    size_t   i;

    dir->names = malloc((dir->n + 1) * sizeof(char *));
    if (dir->names == NULL) {
        return NGX_ERROR;
    }

    p = dir->text;

    for (i = 0; i < dir->n; i++) {
        dir->names[i] = p;
        p += ngx_strlen(p) + 1;
    }

    qsort(dir->names, dir->n, sizeof(char *), ngx_http_registry_fs_dir_cmp);

    dir->size = dir->allocated + (dir->n + 1) * sizeof(char *);

    return NGX_OK;
}


static int ngx_libc_cdecl
ngx_http_registry_fs_dir_cmp(const void *one, const void *two)
{
    return strcmp(*(char *const *) one, *(char *const *) two);
}
