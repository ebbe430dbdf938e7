
/*
 * Prefetching.  A manifest is read, in a thread if it is large, and what the
 * cache has not got of it is put into a queue.  Of that, so many are fetched
 * at a time; what does not fit into the queue, or may not be fetched when its
 * turn comes, is dropped, since whoever wants it gets it all the same.
 */


#include "ngx_http_registry_prefetch.h"
#include "ngx_http_registry_evict.h"
#include "ngx_http_registry_fetch.h"
#include "ngx_http_registry_fill.h"


/* of each remote, in each worker */

#define NGX_HTTP_REGISTRY_PREFETCH_JOBS   4
#define NGX_HTTP_REGISTRY_PREFETCH_QUEUE  256

#define NGX_HTTP_REGISTRY_PREFETCH_HERE   (32 * 1024)   /* more: in a thread */


struct ngx_http_registry_prefetch_s {
    ngx_queue_t                    waiting;     /* of items */
    ngx_uint_t                     nwaiting;
    ngx_uint_t                     running;
};


/* a manifest that is read */

typedef struct {
    ngx_http_registry_task_t       task;

    ngx_http_registry_remote_t    *remote;
    ngx_str_t                      name;        /* as of a blob */
    ngx_str_t                      remote_name;
    ngx_str_t                      via;

    registry_str_t                 in;
    registry_str_t                 content_type;
    const registry_platform_t     *platforms;   /* of the configuration */
    ngx_uint_t                     nplatforms;
    ngx_uint_t                     only_image;  /* an index is left alone */

    registry_manifest_t           *manifest;    /* NULL: it is of no use */
    ngx_http_registry_op_t        *op;
} ngx_http_registry_prefetch_read_t;


/* a blob or the manifest of a platform that is to be fetched */

typedef struct {
    ngx_queue_t                    queue;
    ngx_pool_t                    *pool;
    registry_descriptor_e          type;
    ngx_http_registry_fetch_t      fetch;       /* its blob: also of a
                                                   manifest */
    ngx_http_registry_fill_t       fill;
} ngx_http_registry_prefetch_item_t;


static void ngx_http_registry_prefetch_read(
    ngx_http_registry_remote_t *remote, ngx_http_registry_manifest_t *manifest,
    ngx_str_t *remote_name, ngx_str_t *via, ngx_uint_t only_image);
static ngx_int_t ngx_http_registry_prefetch_copy(
    ngx_http_registry_prefetch_read_t *read,
    ngx_http_registry_manifest_t *manifest, ngx_str_t *remote_name,
    ngx_str_t *via);
static ngx_int_t ngx_http_registry_prefetch_str(ngx_pool_t *pool,
    ngx_str_t *to, ngx_str_t *from);
static void ngx_http_registry_prefetch_work(ngx_http_registry_task_t *task);
static void ngx_http_registry_prefetch_release(
    ngx_http_registry_task_t *task);
static void ngx_http_registry_prefetch_parsed(void *data);
static void ngx_http_registry_prefetch_check(
    ngx_http_registry_prefetch_read_t *read);
static void ngx_http_registry_prefetch_checked(void *data);
static void ngx_http_registry_prefetch_unread(
    ngx_http_registry_prefetch_read_t *read);
static void ngx_http_registry_prefetch_add(
    ngx_http_registry_prefetch_read_t *read, const registry_descriptor_t *d);
static ngx_http_registry_prefetch_item_t *ngx_http_registry_prefetch_item(
    ngx_http_registry_prefetch_read_t *read, const registry_descriptor_t *d);

static void ngx_http_registry_prefetch_next(
    ngx_http_registry_remote_t *remote);
static ngx_uint_t ngx_http_registry_prefetch_permitted(
    ngx_http_registry_remote_t *remote);
static ngx_int_t ngx_http_registry_prefetch_start(
    ngx_http_registry_prefetch_item_t *item);
static void ngx_http_registry_prefetch_woken(void *data);
static ngx_int_t ngx_http_registry_prefetch_blob(
    ngx_http_registry_prefetch_item_t *item);
static ngx_int_t ngx_http_registry_prefetch_manifest(
    ngx_http_registry_prefetch_item_t *item);
static void ngx_http_registry_prefetch_filled(void *data);
static void ngx_http_registry_prefetch_got(
    ngx_http_registry_prefetch_item_t *item);
static void ngx_http_registry_prefetch_end(
    ngx_http_registry_prefetch_item_t *item);


#define ngx_http_registry_prefetch_count(remote, what)                        \
    ngx_http_registry_count((remote)->counters, what)


ngx_http_registry_prefetch_t *
ngx_http_registry_prefetch_create(ngx_pool_t *pool)
{
    ngx_http_registry_prefetch_t  *prefetch;

    prefetch = ngx_pcalloc(pool, sizeof(ngx_http_registry_prefetch_t));
    if (prefetch == NULL) {
        return NULL;
    }

    ngx_queue_init(&prefetch->waiting);

    return prefetch;
}


void
ngx_http_registry_prefetch(ngx_http_registry_remote_t *remote,
    ngx_http_registry_manifest_t *manifest, ngx_str_t *remote_name,
    ngx_str_t *via)
{
    if (!ngx_exiting) {
        ngx_http_registry_prefetch_read(remote, manifest, remote_name, via, 0);
    }
}


static void
ngx_http_registry_prefetch_read(ngx_http_registry_remote_t *remote,
    ngx_http_registry_manifest_t *manifest, ngx_str_t *remote_name,
    ngx_str_t *via, ngx_uint_t only_image)
{
    ngx_int_t                           rc;
    ngx_http_registry_prefetch_read_t  *read;

    read = ngx_http_registry_task_create(
                                    sizeof(ngx_http_registry_prefetch_read_t),
                                    ngx_cycle->log);
    if (read == NULL) {
        return;
    }

    read->remote = remote;
    read->only_image = only_image;

    if (remote->platforms) {
        read->platforms = remote->platforms->elts;
        read->nplatforms = remote->platforms->nelts;
    }

    read->task.work = ngx_http_registry_prefetch_work;
    read->task.release = ngx_http_registry_prefetch_release;
    read->task.handler = ngx_http_registry_prefetch_parsed;
    read->task.data = read;

    if (ngx_http_registry_prefetch_copy(read, manifest, remote_name, via)
        != NGX_OK)
    {
        ngx_http_registry_prefetch_unread(read);
        return;
    }

    rc = ngx_http_registry_task_run(&read->task,
                                    read->in.len
                                        > NGX_HTTP_REGISTRY_PREFETCH_HERE
                                        ? remote->store->tp : NULL);

    if (rc == NGX_OK) {
        ngx_http_registry_prefetch_parsed(read);

    } else if (rc == NGX_ERROR) {
        ngx_http_registry_prefetch_unread(read);
    }
}


static ngx_int_t
ngx_http_registry_prefetch_copy(ngx_http_registry_prefetch_read_t *read,
    ngx_http_registry_manifest_t *manifest, ngx_str_t *remote_name,
    ngx_str_t *via)
{
    ngx_str_t    body, type;
    ngx_pool_t  *pool;

    pool = read->task.pool;

    if (ngx_http_registry_prefetch_str(pool, &read->name, &manifest->name)
        != NGX_OK
        || ngx_http_registry_prefetch_str(pool, &read->remote_name,
                                          remote_name)
           != NGX_OK
        || ngx_http_registry_prefetch_str(pool, &read->via, via) != NGX_OK
        || ngx_http_registry_prefetch_str(pool, &type, &manifest->media_type)
           != NGX_OK
        || ngx_http_registry_prefetch_str(pool, &body, &manifest->body)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    read->in.data = (char *) body.data;
    read->in.len = body.len;
    read->content_type.data = (char *) type.data;
    read->content_type.len = type.len;

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_prefetch_str(ngx_pool_t *pool, ngx_str_t *to,
    ngx_str_t *from)
{
    if (from->len == 0) {
        ngx_str_set(to, "");
        return NGX_OK;
    }

    to->len = from->len;
    to->data = ngx_pstrdup(pool, from);

    return to->data ? NGX_OK : NGX_ERROR;
}


static void
ngx_http_registry_prefetch_work(ngx_http_registry_task_t *task)
{
    const char  *reason;

    ngx_http_registry_prefetch_read_t *read =
                                   (ngx_http_registry_prefetch_read_t *) task;

    /* a manifest that clients have to make sense of may be none to us */

    (void) registry_manifest_parse(read->in, read->content_type,
                                   &read->manifest, &reason);
}


static void
ngx_http_registry_prefetch_release(ngx_http_registry_task_t *task)
{
    ngx_http_registry_prefetch_read_t *read =
                                   (ngx_http_registry_prefetch_read_t *) task;

    registry_manifest_free(read->manifest);
}


static void
ngx_http_registry_prefetch_parsed(void *data)
{
    ngx_http_registry_prefetch_read_t *read = data;

    size_t                        i, n;
    const registry_descriptor_t  *d;

    if (read->manifest == NULL) {
        ngx_http_registry_task_free(&read->task);
        return;
    }

    if (!registry_manifest_is_index(read->manifest)) {
        ngx_http_registry_prefetch_check(read);
        return;
    }

    d = registry_manifest_descriptors(read->manifest, &n);

    for (i = 0; i < n && !read->only_image; i++) {
        if (registry_manifest_is_for(read->manifest, i, read->platforms,
                                     read->nplatforms))
        {
            ngx_http_registry_prefetch_add(read, &d[i]);
        }
    }

    ngx_http_registry_prefetch_next(read->remote);

    ngx_http_registry_task_free(&read->task);
}


/* which blobs the repository has already */

static void
ngx_http_registry_prefetch_check(ngx_http_registry_prefetch_read_t *read)
{
    size_t                        i, n;
    ngx_http_registry_op_t       *op;
    const registry_descriptor_t  *d;

    d = registry_manifest_descriptors(read->manifest, &n);

    op = ngx_http_registry_op_create(read->remote->store,
                                     NGX_HTTP_REGISTRY_OP_MANIFEST_CHECK,
                                     &read->name, ngx_cycle->log);
    if (op == NULL) {
        ngx_http_registry_prefetch_unread(read);
        return;
    }

    read->op = op;

    op->nitems = n;
    op->items = ngx_pcalloc(op->task.pool,
                            (n + 1) * sizeof(ngx_http_registry_item_t));
    if (op->items == NULL) {
        goto failed;
    }

    for (i = 0; i < n; i++) {
        op->items[i].digest = d[i].digest;
        op->items[i].type = d[i].type;
    }

    op->task.handler = ngx_http_registry_prefetch_checked;
    op->task.data = read;

    switch (ngx_http_registry_op_start(op)) {

    case NGX_OK:
        ngx_http_registry_prefetch_checked(read);
        return;

    case NGX_AGAIN:
        return;
    }

failed:

    ngx_http_registry_op_free(op);
    ngx_http_registry_prefetch_unread(read);
}


static void
ngx_http_registry_prefetch_checked(void *data)
{
    ngx_http_registry_prefetch_read_t *read = data;

    size_t                        i, n;
    ngx_http_registry_op_t       *op;
    const registry_descriptor_t  *d;

    op = read->op;
    d = registry_manifest_descriptors(read->manifest, &n);

    if (op->status == NGX_ERROR) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, op->err,
                      "%s \"%s\" failed, registry_cache \"%V\", "
                      "repository \"%V\"", op->call, op->path,
                      &op->store->name, &read->name);
        n = 0;
    }

    for (i = 0; i < n; i++) {
        if (op->items[i].missing) {
            ngx_http_registry_prefetch_add(read, &d[i]);
        }
    }

    ngx_http_registry_op_free(op);

    ngx_http_registry_prefetch_next(read->remote);

    ngx_http_registry_task_free(&read->task);
}


/* memory is short, or all threads are busy: as one that was dropped */

static void
ngx_http_registry_prefetch_unread(ngx_http_registry_prefetch_read_t *read)
{
    ngx_http_registry_prefetch_count(read->remote,
                                     NGX_HTTP_REGISTRY_COUNT_DROPPED);

    ngx_http_registry_task_free(&read->task);
}


static void
ngx_http_registry_prefetch_add(ngx_http_registry_prefetch_read_t *read,
    const registry_descriptor_t *d)
{
    ngx_http_registry_prefetch_t       *prefetch;
    ngx_http_registry_prefetch_item_t  *item;

    prefetch = read->remote->prefetch;
    item = NULL;

    if (prefetch->nwaiting < NGX_HTTP_REGISTRY_PREFETCH_QUEUE
        && ngx_http_registry_evict_room(read->remote->store, d->size))
    {
        item = ngx_http_registry_prefetch_item(read, d);
    }

    if (item == NULL) {
        ngx_http_registry_prefetch_count(read->remote,
                                         NGX_HTTP_REGISTRY_COUNT_DROPPED);
        return;
    }

    ngx_queue_insert_tail(&prefetch->waiting, &item->queue);
    prefetch->nwaiting++;
}


static ngx_http_registry_prefetch_item_t *
ngx_http_registry_prefetch_item(ngx_http_registry_prefetch_read_t *read,
    const registry_descriptor_t *d)
{
    ngx_pool_t                         *pool;
    ngx_http_registry_blob_t           *blob;
    ngx_http_registry_prefetch_item_t  *item;

    pool = ngx_create_pool(sizeof(ngx_http_registry_prefetch_item_t) + 512,
                           ngx_cycle->log);
    if (pool == NULL) {
        return NULL;
    }

    item = ngx_pcalloc(pool, sizeof(ngx_http_registry_prefetch_item_t));
    if (item == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    item->pool = pool;
    item->type = d->type;

    blob = &item->fetch.blob;

    blob->remote = read->remote;
    blob->digest = d->digest;

    if (ngx_http_registry_prefetch_str(pool, &blob->name, &read->name)
        != NGX_OK
        || ngx_http_registry_prefetch_str(pool, &blob->remote_name,
                                          &read->remote_name)
           != NGX_OK
        || ngx_http_registry_prefetch_str(pool, &blob->via, &read->via)
           != NGX_OK)
    {
        ngx_destroy_pool(pool);
        return NULL;
    }

    return item;
}


static void
ngx_http_registry_prefetch_next(ngx_http_registry_remote_t *remote)
{
    ngx_queue_t                        *q;
    ngx_http_registry_prefetch_t       *prefetch;
    ngx_http_registry_prefetch_item_t  *item;

    prefetch = remote->prefetch;

    while (prefetch->running < NGX_HTTP_REGISTRY_PREFETCH_JOBS
           && !ngx_queue_empty(&prefetch->waiting))
    {
        q = ngx_queue_head(&prefetch->waiting);
        item = ngx_queue_data(q, ngx_http_registry_prefetch_item_t, queue);

        /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
        ngx_queue_remove(q);

        prefetch->nwaiting--;
        prefetch->running++;

        if (!ngx_http_registry_prefetch_permitted(remote)) {
            ngx_http_registry_prefetch_count(remote,
                                             NGX_HTTP_REGISTRY_COUNT_DROPPED);

        } else if (ngx_http_registry_prefetch_start(item) == NGX_AGAIN) {
            continue;
        }

        ngx_http_registry_prefetch_end(item);
    }
}


/* what clients want comes first: they share the flights, and the remote */

static ngx_uint_t
ngx_http_registry_prefetch_permitted(ngx_http_registry_remote_t *remote)
{
    ngx_uint_t  running, room, limit;

    if (ngx_exiting || !ngx_http_registry_remote_answers(remote)
        || (time_t) remote->counters->count[NGX_HTTP_REGISTRY_COUNT_RETRY_AT]
           > ngx_time())
    {
        return 0;
    }

    ngx_http_registry_flight_status(remote->zone, &running, &room, &limit);

    return room > limit / 2;
}


/* NGX_AGAIN: it goes on; NGX_OK: it has ended */

static ngx_int_t
ngx_http_registry_prefetch_start(ngx_http_registry_prefetch_item_t *item)
{
    ngx_http_registry_fetch_t  *fetch;

    if (item->type == REGISTRY_DESCRIPTOR_MANIFEST) {
        return ngx_http_registry_prefetch_manifest(item);
    }

    fetch = &item->fetch;

    fetch->handler = ngx_http_registry_prefetch_woken;
    fetch->data = item;

    if (ngx_http_registry_fetch_start(fetch) != NGX_OK) {
        fetch->state = NGX_HTTP_REGISTRY_FETCH_DEGRADED;
    }

    return ngx_http_registry_prefetch_blob(item);
}


static void
ngx_http_registry_prefetch_woken(void *data)
{
    ngx_http_registry_prefetch_item_t *item = data;

    ngx_http_registry_remote_t  *remote;

    remote = item->fetch.blob.remote;

    if (ngx_http_registry_prefetch_blob(item) == NGX_OK) {
        ngx_http_registry_prefetch_end(item);
        ngx_http_registry_prefetch_next(remote);
    }
}


/* what somebody else fetches, or has left to others, is not waited for */

static ngx_int_t
ngx_http_registry_prefetch_blob(ngx_http_registry_prefetch_item_t *item)
{
    ngx_int_t                    rc;
    ngx_http_registry_fetch_t   *fetch;
    ngx_http_registry_remote_t  *remote;

    fetch = &item->fetch;
    remote = fetch->blob.remote;

    for ( ;; ) {
        rc = ngx_http_registry_fetch_wait(fetch);

        switch (fetch->state) {

        case NGX_HTTP_REGISTRY_FETCH_RUNNING:
            break;

        case NGX_HTTP_REGISTRY_FETCH_DONE:
            if (!fetch->joined) {
                ngx_http_registry_prefetch_count(remote,
                                            NGX_HTTP_REGISTRY_COUNT_FETCHED);
            }

            return NGX_OK;

        case NGX_HTTP_REGISTRY_FETCH_FOUND:
            return NGX_OK;

        case NGX_HTTP_REGISTRY_FETCH_FAILED:
            ngx_http_registry_prefetch_count(remote,
                                          NGX_HTTP_REGISTRY_COUNT_UNFETCHED);
            return NGX_OK;

        case NGX_HTTP_REGISTRY_FETCH_DEGRADED:
            ngx_http_registry_prefetch_count(remote,
                                            NGX_HTTP_REGISTRY_COUNT_DROPPED);
            return NGX_OK;
        }

        if (!ngx_http_registry_fetch_leads(fetch)
            && !ngx_http_registry_fetch_asks(fetch))
        {
            return NGX_OK;
        }

        if (rc == NGX_AGAIN) {
            return NGX_AGAIN;
        }
    }
}


static ngx_int_t
ngx_http_registry_prefetch_manifest(ngx_http_registry_prefetch_item_t *item)
{
    ngx_int_t                      rc;
    ngx_http_registry_blob_t      *blob;
    ngx_http_registry_fill_t      *fill;
    ngx_http_registry_manifest_t  *m;

    blob = &item->fetch.blob;
    fill = &item->fill;
    m = &fill->manifest;

    m->zone = blob->remote->zone;
    m->store = blob->remote->store;
    m->name = blob->name;
    m->digest = blob->digest;
    m->valid = blob->remote->valid;
    m->fixed = 1;
    m->pulled = 1;

    rc = ngx_http_registry_cache_get(m, item->pool);

    if (rc == NGX_OK) {
        ngx_http_registry_prefetch_got(item);
        return NGX_OK;
    }

    fill->pool = item->pool;
    fill->name = blob->remote_name;
    fill->via = blob->via;
    fill->handler = ngx_http_registry_prefetch_filled;
    fill->data = item;

    if (rc == NGX_DECLINED) {
        rc = ngx_http_registry_fill_start(fill, blob->remote);
    }

    if (rc == NGX_OK) {
        ngx_http_registry_prefetch_got(item);
    }

    return (rc == NGX_AGAIN) ? NGX_AGAIN : NGX_OK;
}


static void
ngx_http_registry_prefetch_filled(void *data)
{
    ngx_http_registry_prefetch_item_t *item = data;

    ngx_http_registry_remote_t  *remote;

    remote = item->fetch.blob.remote;

    ngx_http_registry_prefetch_got(item);

    ngx_http_registry_prefetch_end(item);
    ngx_http_registry_prefetch_next(remote);
}


/* its blobs are put into the queue */

static void
ngx_http_registry_prefetch_got(ngx_http_registry_prefetch_item_t *item)
{
    ngx_http_registry_blob_t  *blob;
    ngx_http_registry_fill_t  *fill;

    blob = &item->fetch.blob;
    fill = &item->fill;

    if (fill->rc != NGX_OK) {
        ngx_http_registry_prefetch_count(blob->remote,
                                         NGX_HTTP_REGISTRY_COUNT_UNFETCHED);
        return;
    }

    if (fill->found == NGX_HTTP_REGISTRY_FILL_MISS) {
        ngx_http_registry_prefetch_count(blob->remote,
                                         NGX_HTTP_REGISTRY_COUNT_FETCHED);
    }

    ngx_http_registry_prefetch_read(blob->remote, &fill->manifest,
                                    &blob->remote_name, &blob->via, 1);
}


static void
ngx_http_registry_prefetch_end(ngx_http_registry_prefetch_item_t *item)
{
    item->fetch.blob.remote->prefetch->running--;

    if (item->type != REGISTRY_DESCRIPTOR_MANIFEST) {
        ngx_http_registry_fetch_cancel(&item->fetch);
    }

    ngx_destroy_pool(item->pool);
}
