
/*
 * Copies of blobs in the making, as all see them: joining one, waiting until
 * there is more, reading its file, and linking the repositories that wanted
 * it.  Nothing here belongs to a client.
 */


#include "ngx_http_registry_cache.h"
#include "ngx_http_registry_copy_lead.h"


/* a store that took no more is left alone for so long: milliseconds */

#define NGX_HTTP_REGISTRY_COPY_FULL  5000


typedef struct {
    ngx_queue_t                 queue;
    ngx_http_registry_blob_t    blob;       /* remote, name, purges */
} ngx_http_registry_copy_link_t;


static ngx_uint_t ngx_http_registry_copy_full(
    ngx_http_registry_store_t *store);
static ngx_http_registry_copy_t *ngx_http_registry_copy_find(
    ngx_http_registry_blob_t *blob);
static ngx_http_registry_copy_t *ngx_http_registry_copy_create(
    ngx_http_registry_blob_t *blob);
static ngx_int_t ngx_http_registry_copy_blob(ngx_http_registry_copy_t *copy,
    ngx_http_registry_blob_t *blob);
static ngx_int_t ngx_http_registry_copy_take(ngx_http_registry_copy_t *copy,
    ngx_uint_t join);
static void ngx_http_registry_copy_destroy(ngx_http_registry_copy_t *copy);
static void ngx_http_registry_copy_close(ngx_http_registry_copy_t *copy);
static void ngx_http_registry_copy_changed(void *data);
static void ngx_http_registry_copy_notify(ngx_http_registry_copy_t *copy);
static void ngx_http_registry_copy_orphaned(ngx_http_registry_copy_t *copy);
static void ngx_http_registry_copy_link(ngx_http_registry_copy_t *copy,
    ngx_http_registry_blob_t *blob);
static void ngx_http_registry_copy_link_all(ngx_http_registry_copy_t *copy);
static void ngx_http_registry_copy_link_done(void *data);
static void ngx_http_registry_copy_follow(ngx_http_registry_copy_t *copy);
static void ngx_http_registry_copy_followed(void *data);


static ngx_queue_t  ngx_http_registry_copies = {
    &ngx_http_registry_copies, &ngx_http_registry_copies
};


ngx_int_t
ngx_http_registry_copy_join(ngx_http_registry_blob_t *blob, ngx_uint_t join,
    ngx_http_registry_copy_t **out)
{
    ngx_int_t                  rc;
    ngx_http_registry_copy_t  *copy;

    blob->purges = ngx_http_registry_cache_purges(blob->remote->zone,
                                                  &blob->name);

    copy = ngx_http_registry_copy_find(blob);

    if (copy == NULL) {

        if (!join && ngx_http_registry_copy_full(blob->remote->store)) {
            return NGX_DECLINED;
        }

        copy = ngx_http_registry_copy_create(blob);
        if (copy == NULL) {
            return NGX_ERROR;
        }

        rc = ngx_http_registry_copy_take(copy, join);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    copy->users++;
    *out = copy;

    return NGX_OK;
}


static ngx_uint_t
ngx_http_registry_copy_full(ngx_http_registry_store_t *store)
{
    return store->full
           && ngx_current_msec - store->full < NGX_HTTP_REGISTRY_COPY_FULL;
}


static ngx_http_registry_copy_t *
ngx_http_registry_copy_find(ngx_http_registry_blob_t *blob)
{
    ngx_queue_t               *q;
    ngx_http_registry_copy_t  *copy;

    for (q = ngx_queue_head(&ngx_http_registry_copies);
         q != ngx_queue_sentinel(&ngx_http_registry_copies);
         q = ngx_queue_next(q))
    {
        copy = ngx_queue_data(q, ngx_http_registry_copy_t, queue);

        if (!ngx_http_registry_copy_ended(copy)
            && copy->blob.remote->store == blob->remote->store
            && registry_digest_equal(&copy->blob.digest, &blob->digest))
        {
            return copy;
        }
    }

    return NULL;
}


static ngx_http_registry_copy_t *
ngx_http_registry_copy_create(ngx_http_registry_blob_t *blob)
{
    ngx_pool_t                *pool;
    ngx_http_registry_copy_t  *copy;

    pool = ngx_create_pool(4096, ngx_cycle->log);
    if (pool == NULL) {
        return NULL;
    }

    copy = ngx_pcalloc(pool, sizeof(ngx_http_registry_copy_t));
    if (copy == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    copy->pool = pool;
    copy->fd = NGX_INVALID_FILE;
    copy->version = 1;
    copy->blob.remote = blob->remote;
    copy->blob.digest = blob->digest;

    ngx_queue_init(&copy->waits);
    ngx_queue_init(&copy->links);

    copy->flight.handler = ngx_http_registry_copy_changed;
    copy->flight.data = copy;

    if (ngx_http_registry_copy_blob(copy, blob) != NGX_OK) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    return copy;
}


/* whose blob it is that is asked for; of a client, the latest credentials */

static ngx_int_t
ngx_http_registry_copy_blob(ngx_http_registry_copy_t *copy,
    ngx_http_registry_blob_t *blob)
{
    ngx_str_t                 *to;
    ngx_http_registry_blob_t  *own;

    own = &copy->blob;

    if (own->name.len != blob->name.len
        || ngx_memcmp(own->name.data, blob->name.data, blob->name.len) != 0)
    {
        own->name.data = ngx_pstrdup(copy->pool, &blob->name);
        own->remote_name.data = ngx_pstrdup(copy->pool, &blob->remote_name);
        own->via.data = ngx_pstrdup(copy->pool, &blob->via);

        if (own->name.data == NULL || own->remote_name.data == NULL
            || own->via.data == NULL)
        {
            own->name.len = 0;
            return NGX_ERROR;
        }

        own->remote = blob->remote;
        own->purges = blob->purges;
        own->name.len = blob->name.len;
        own->remote_name.len = blob->remote_name.len;
        own->via.len = blob->via.len;
    }

    to = &own->authorization;

    if (copy->authorization_size < blob->authorization.len) {
        to->data = ngx_pnalloc(copy->pool, 2 * blob->authorization.len);
        if (to->data == NULL) {
            copy->authorization_size = 0;
            to->len = 0;
            return NGX_ERROR;
        }

        copy->authorization_size = 2 * blob->authorization.len;
    }

    to->len = blob->authorization.len;

    if (to->len) {
        ngx_memcpy(to->data, blob->authorization.data, to->len);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_copy_take(ngx_http_registry_copy_t *copy, ngx_uint_t join)
{
    u_char                      buf[NGX_HTTP_REGISTRY_FLIGHT_KEY];
    ngx_int_t                   rc;
    ngx_str_t                   key;
    ngx_http_registry_store_t  *store;

    store = copy->blob.remote->store;

    key.data = buf;
    key.len = ngx_snprintf(buf, sizeof(buf), "%08xD%08xD%s", store->id[0],
                           store->id[1], copy->blob.digest.text)
              - buf;

    rc = ngx_http_registry_flight_take(&copy->flight, copy->blob.remote->zone,
                                       &key, &copy->blob.name, join);

    if (rc == NGX_DECLINED) {
        ngx_destroy_pool(copy->pool);
        return NGX_DECLINED;
    }

    ngx_queue_insert_tail(&ngx_http_registry_copies, &copy->queue);

    copy->busy++;

    if (rc == NGX_OK) {
        ngx_http_registry_count(copy->blob.remote->counters,
                                NGX_HTTP_REGISTRY_COUNT_FLIGHTS);

        copy->vouched = 1;
        ngx_http_registry_copy_lead(copy);
    }

    ngx_http_registry_copy_refresh(copy);

    copy->busy--;

    return NGX_OK;
}


void
ngx_http_registry_copy_leave(ngx_http_registry_copy_t *copy)
{
    copy->busy++;
    copy->users--;

    ngx_http_registry_copy_release(copy);
}


void
ngx_http_registry_copy_release(ngx_http_registry_copy_t *copy)
{
    copy->busy--;

    if (copy->busy || copy->users || copy->flight.leads) {
        return;
    }

    /* repositories are to be linked that nobody else knows of */

    if (!ngx_queue_empty(&copy->links)
        && !ngx_http_registry_copy_ended(copy))
    {
        if (!copy->flight.waiting) {
            ngx_http_registry_flight_wait(&copy->flight);
        }

        return;
    }

    ngx_http_registry_copy_destroy(copy);
}


static void
ngx_http_registry_copy_destroy(ngx_http_registry_copy_t *copy)
{
    ngx_http_registry_flight_leave(&copy->flight);
    ngx_queue_remove(&copy->queue);

    ngx_http_registry_copy_stop(copy);
    ngx_http_registry_copy_close(copy);

    ngx_destroy_pool(copy->pool);
}


/* what has no name any more goes with its descriptor, which may take long */

static void
ngx_http_registry_copy_close(ngx_http_registry_copy_t *copy)
{
    ngx_http_registry_op_t  *op;

    if (copy->fd == NGX_INVALID_FILE) {
        return;
    }

    if (copy->flight.state == NGX_HTTP_REGISTRY_FLIGHT_FAILED
        || copy->flight.state == NGX_HTTP_REGISTRY_FLIGHT_DEGRADED)
    {
        op = ngx_http_registry_copy_op(copy,
                                       NGX_HTTP_REGISTRY_OP_TEMP_DISCARD);
        if (op) {
            op->fd = copy->fd;

            (void) ngx_http_registry_op_start(op);
            ngx_http_registry_op_free(op);
            return;
        }
    }

    if (ngx_close_file(copy->fd) == NGX_FILE_ERROR) {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, ngx_errno,
                      ngx_close_file_n " of a registry copy failed");
    }
}


ngx_int_t
ngx_http_registry_copy_wait(ngx_http_registry_copy_t *copy,
    ngx_http_registry_copy_wait_t *wait)
{
    if (wait->version != copy->version) {
        wait->version = copy->version;
        return NGX_OK;
    }

    if (!wait->waiting) {
        ngx_queue_insert_tail(&copy->waits, &wait->queue);
        wait->waiting = 1;
    }

    if (!copy->flight.waiting && !ngx_http_registry_copy_ended(copy)) {
        ngx_http_registry_flight_wait(&copy->flight);
    }

    return NGX_AGAIN;
}


static void
ngx_http_registry_copy_changed(void *data)
{
    ngx_http_registry_copy_t *copy = data;

    copy->busy++;

    ngx_http_registry_copy_refresh(copy);

    if (copy->flight.orphan) {
        ngx_http_registry_copy_orphaned(copy);
    }

    ngx_http_registry_copy_notify(copy);

    if (!copy->flight.waiting && !ngx_http_registry_copy_ended(copy)
        && (!ngx_queue_empty(&copy->waits) || !ngx_queue_empty(&copy->links)))
    {
        ngx_http_registry_flight_wait(&copy->flight);
    }

    ngx_http_registry_copy_release(copy);
}


void
ngx_http_registry_copy_refresh(ngx_http_registry_copy_t *copy)
{
    off_t                             written;
    ngx_http_registry_flight_t       *flight;
    ngx_http_registry_flight_state_e  state;

    if (ngx_http_registry_copy_ended(copy)) {
        return;
    }

    flight = &copy->flight;
    state = flight->state;
    written = flight->written;

    ngx_http_registry_flight_look(flight);

    if (flight->state != state || flight->written != written) {
        copy->version++;
    }

    if (flight->state == NGX_HTTP_REGISTRY_FLIGHT_DEGRADED && !flight->lost) {
        ngx_http_registry_flight_hash(flight, &copy->hash);
    }

    if (flight->state == NGX_HTTP_REGISTRY_FLIGHT_STORED) {
        ngx_http_registry_copy_link_all(copy);
    }

    if (!flight->leads && flight->state > NGX_HTTP_REGISTRY_FLIGHT_STARTING
        && flight->state != NGX_HTTP_REGISTRY_FLIGHT_FAILED
        && copy->fd == NGX_INVALID_FILE && copy->op == NULL && !copy->gone
        && !copy->found)
    {
        ngx_http_registry_copy_follow(copy);
    }
}


static void
ngx_http_registry_copy_notify(ngx_http_registry_copy_t *copy)
{
    ngx_queue_t                    *q, waits;
    ngx_http_registry_copy_wait_t  *wait;

    if (ngx_queue_empty(&copy->waits)) {
        return;
    }

    /* those who wait again wait for the next time */

    ngx_queue_init(&waits);
    ngx_queue_add(&waits, &copy->waits);
    ngx_queue_init(&copy->waits);

    while (!ngx_queue_empty(&waits)) {
        q = ngx_queue_head(&waits);
        wait = ngx_queue_data(q, ngx_http_registry_copy_wait_t, queue);

        ngx_queue_remove(q);
        wait->waiting = 0;

        wait->handler(wait->data);
    }
}


/*
 * Nobody leads it any more.  A process that is to exit leaves it to others,
 * if there are any.
 */

static void
ngx_http_registry_copy_orphaned(ngx_http_registry_copy_t *copy)
{
    if (!copy->vouched || copy->op) {
        return;
    }

    if (ngx_exiting && !copy->patient) {
        copy->patient = 1;
        return;
    }

    if (ngx_http_registry_flight_adopt(&copy->flight, &copy->blob.name)
        == NGX_OK)
    {
        ngx_http_registry_copy_take_up(copy);
        ngx_http_registry_copy_refresh(copy);
    }
}


ngx_uint_t
ngx_http_registry_copy_is_for(ngx_http_registry_copy_t *copy, ngx_str_t *name)
{
    return ngx_http_registry_flight_label(&copy->flight, name);
}


void
ngx_http_registry_copy_vouch(ngx_http_registry_copy_t *copy,
    ngx_http_registry_blob_t *blob)
{
    if (!ngx_http_registry_copy_is_for(copy, &blob->name)) {
        ngx_http_registry_copy_link(copy, blob);

        /* the remote may have said so when all the others had it already */

        if (copy->flight.state == NGX_HTTP_REGISTRY_FLIGHT_STORED) {
            ngx_http_registry_copy_link_all(copy);
        }
    }

    /* one that is led goes on being asked for by the same name */

    if (copy->flight.leads
        && (copy->blob.name.len != blob->name.len
            || ngx_memcmp(copy->blob.name.data, blob->name.data,
                          blob->name.len) != 0))
    {
        return;
    }

    copy->vouched = (ngx_http_registry_copy_blob(copy, blob) == NGX_OK);

    if (copy->flight.orphan) {
        copy->busy++;
        ngx_http_registry_copy_orphaned(copy);
        copy->busy--;
    }
}


static void
ngx_http_registry_copy_link(ngx_http_registry_copy_t *copy,
    ngx_http_registry_blob_t *blob)
{
    ngx_str_t                      *name;
    ngx_queue_t                    *q;
    ngx_http_registry_copy_link_t  *link;

    name = &blob->name;

    for (q = ngx_queue_head(&copy->links);
         q != ngx_queue_sentinel(&copy->links);
         q = ngx_queue_next(q))
    {
        link = ngx_queue_data(q, ngx_http_registry_copy_link_t, queue);

        if (link->blob.name.len == name->len
            && ngx_memcmp(link->blob.name.data, name->data, name->len) == 0)
        {
            return;
        }
    }

    /* without memory it is linked the next time that it is asked for */

    link = ngx_palloc(copy->pool, sizeof(ngx_http_registry_copy_link_t));
    if (link == NULL) {
        return;
    }

    link->blob.remote = blob->remote;
    link->blob.purges = blob->purges;
    link->blob.name.len = name->len;
    link->blob.name.data = ngx_pstrdup(copy->pool, name);

    if (link->blob.name.data) {
        ngx_queue_insert_tail(&copy->links, &link->queue);
    }
}


static void
ngx_http_registry_copy_link_all(ngx_http_registry_copy_t *copy)
{
    ngx_int_t                       rc;
    ngx_queue_t                    *q;
    ngx_http_registry_op_t         *op;
    ngx_http_registry_copy_link_t  *link;

    for (q = ngx_queue_head(&copy->links);
         q != ngx_queue_sentinel(&copy->links);
         q = ngx_queue_next(q))
    {
        link = ngx_queue_data(q, ngx_http_registry_copy_link_t, queue);

        if (ngx_http_registry_blob_purged(&link->blob)) {
            continue;
        }

        op = ngx_http_registry_op_create(copy->blob.remote->store,
                                         NGX_HTTP_REGISTRY_OP_BLOB_MOUNT,
                                         &link->blob.name, ngx_cycle->log);
        if (op == NULL) {
            continue;
        }

        op->digest = copy->blob.digest;
        op->task.handler = ngx_http_registry_copy_link_done;
        op->task.data = op;

        rc = ngx_http_registry_op_start(op);

        if (rc != NGX_AGAIN) {
            ngx_http_registry_op_free(op);
        }
    }

    ngx_queue_init(&copy->links);
}


static void
ngx_http_registry_copy_link_done(void *data)
{
    ngx_http_registry_op_t *op = data;

    if (op->status == NGX_ERROR) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, op->err,
                      "%s \"%s\" failed, registry_store \"%V\", "
                      "repository \"%s\"", op->call, op->path,
                      &op->store->name, op->name);
    }

    ngx_http_registry_op_free(op);
}


ngx_uint_t
ngx_http_registry_blob_purged(ngx_http_registry_blob_t *blob)
{
    return blob->purges != ngx_http_registry_cache_purges(blob->remote->zone,
                                                          &blob->name);
}


/* NULL if memory is short */

ngx_http_registry_op_t *
ngx_http_registry_copy_op(ngx_http_registry_copy_t *copy,
    ngx_http_registry_op_e kind)
{
    ngx_http_registry_op_t  *op;

    op = ngx_http_registry_op_create(copy->blob.remote->store, kind,
                                     &copy->blob.name, ngx_cycle->log);
    if (op == NULL) {
        return NULL;
    }

    op->digest = copy->blob.digest;

    return op;
}


/* the handler is called in any case, perhaps from within; it frees copy->op */

void
ngx_http_registry_copy_run(ngx_http_registry_copy_t *copy,
    ngx_http_registry_op_t *op, void (*handler)(void *data))
{
    ngx_int_t  rc;

    copy->op = op;

    op->task.handler = handler;
    op->task.data = copy;

    rc = ngx_http_registry_op_start(op);

    if (rc == NGX_AGAIN) {
        return;
    }

    if (rc == NGX_ERROR) {
        op->status = NGX_ERROR;
        op->err = 0;
        op->call = "a task for";
    }

    handler(copy);
}


void
ngx_http_registry_copy_end_op(ngx_http_registry_copy_t *copy)
{
    ngx_http_registry_op_free(copy->op);
    copy->op = NULL;
}


static void
ngx_http_registry_copy_follow(ngx_http_registry_copy_t *copy)
{
    ngx_http_registry_op_t  *op;

    op = ngx_http_registry_copy_op(copy, NGX_HTTP_REGISTRY_OP_TEMP_FOLLOW);

    if (op == NULL || copy->flight.file[0] == '\0') {

        if (op) {
            ngx_http_registry_op_free(op);
        }

        copy->gone = 1;
        copy->version++;
        return;
    }

    ngx_memcpy(op->temp, copy->flight.file, sizeof(op->temp));

    ngx_http_registry_copy_run(copy, op, ngx_http_registry_copy_followed);
}


static void
ngx_http_registry_copy_followed(void *data)
{
    ngx_http_registry_copy_t *copy = data;

    ngx_http_registry_op_t  *op;

    op = copy->op;

    if (op->status == NGX_OK) {
        copy->fd = op->fd;
        op->fd = NGX_INVALID_FILE;

    } else {
        copy->gone = 1;

        if (op->status == NGX_ERROR) {
            ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, op->err,
                          "%s \"%s\" failed", op->call, op->path);
        }
    }

    copy->version++;
    copy->busy++;

    ngx_http_registry_copy_end_op(copy);
    ngx_http_registry_copy_notify(copy);

    ngx_http_registry_copy_release(copy);
}
