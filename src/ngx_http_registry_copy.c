
/*
 * Copies of blobs in the making.  The one that leads the flight asks the
 * remote, writes what comes to a temporary file, and hashes it; if the answer
 * breaks off it asks for the rest.  Once the digest is right the others have
 * it all, and the file becomes a blob of the store in a thread.  Nothing here
 * belongs to a client.
 */


#include "ngx_http_registry_copy.h"
#include "ngx_http_registry_evict.h"

#include "registry_range.h"

#include <sys/file.h>


/* an answer that broke off is asked for again so often without progress */

#define NGX_HTTP_REGISTRY_COPY_TRIES     5
#define NGX_HTTP_REGISTRY_COPY_PROGRESS  (1024 * 1024)

/* a store that took no more is left alone for so long: milliseconds */

#define NGX_HTTP_REGISTRY_COPY_FULL      5000
#define NGX_HTTP_REGISTRY_COPY_LOG       60000


typedef struct {
    ngx_queue_t                 queue;
    ngx_str_t                   name;
} ngx_http_registry_copy_link_t;


#define ngx_http_registry_copy_ended(copy)                                    \
    ((copy)->flight.state > NGX_HTTP_REGISTRY_FLIGHT_DONE)


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
static void ngx_http_registry_copy_release(ngx_http_registry_copy_t *copy);
static void ngx_http_registry_copy_destroy(ngx_http_registry_copy_t *copy);
static void ngx_http_registry_copy_close(ngx_http_registry_copy_t *copy);

static void ngx_http_registry_copy_changed(void *data);
static void ngx_http_registry_copy_refresh(ngx_http_registry_copy_t *copy);
static void ngx_http_registry_copy_notify(ngx_http_registry_copy_t *copy);
static void ngx_http_registry_copy_orphaned(ngx_http_registry_copy_t *copy);
static void ngx_http_registry_copy_link(ngx_http_registry_copy_t *copy,
    ngx_str_t *name);
static void ngx_http_registry_copy_link_all(ngx_http_registry_copy_t *copy);
static void ngx_http_registry_copy_link_done(void *data);

static ngx_http_registry_op_t *ngx_http_registry_copy_op(
    ngx_http_registry_copy_t *copy, ngx_http_registry_op_e kind);
static void ngx_http_registry_copy_run(ngx_http_registry_copy_t *copy,
    ngx_http_registry_op_t *op, void (*handler)(void *data));
static void ngx_http_registry_copy_end_op(ngx_http_registry_copy_t *copy);
static void ngx_http_registry_copy_follow(ngx_http_registry_copy_t *copy);
static void ngx_http_registry_copy_followed(void *data);

static void ngx_http_registry_copy_lead(ngx_http_registry_copy_t *copy);
static void ngx_http_registry_copy_looked(void *data);
static void ngx_http_registry_copy_take_up(ngx_http_registry_copy_t *copy);
static void ngx_http_registry_copy_taken(void *data);
static ngx_int_t ngx_http_registry_copy_retake(
    ngx_http_registry_copy_t *copy, ngx_http_registry_op_t *op);
static void ngx_http_registry_copy_relink(ngx_http_registry_copy_t *copy);
static void ngx_http_registry_copy_ask(ngx_http_registry_copy_t *copy);
static ngx_int_t ngx_http_registry_copy_on_header(
    ngx_http_registry_ask_t *ask);
static void ngx_http_registry_copy_header(ngx_http_registry_copy_t *copy,
    registry_http_response_t *response);
static void ngx_http_registry_copy_created(void *data);
static ngx_int_t ngx_http_registry_copy_on_body(ngx_http_registry_ask_t *ask,
    u_char *data, size_t len);
static void ngx_http_registry_copy_body(ngx_http_registry_copy_t *copy,
    u_char *data, size_t len);
static void ngx_http_registry_copy_write(ngx_http_registry_copy_t *copy,
    u_char *data, size_t len);
static void ngx_http_registry_copy_written(void *data);
static void ngx_http_registry_copy_progress(ngx_http_registry_copy_t *copy);
static void ngx_http_registry_copy_resume(ngx_http_registry_copy_t *copy);
static void ngx_http_registry_copy_on_done(ngx_http_registry_ask_t *ask);
static void ngx_http_registry_copy_complete(ngx_http_registry_copy_t *copy,
    ngx_str_t *peer);
static void ngx_http_registry_copy_publish(ngx_http_registry_copy_t *copy);
static void ngx_http_registry_copy_published(void *data);

static void ngx_http_registry_copy_broken(ngx_http_registry_copy_t *copy,
    ngx_http_registry_failure_t *failure, const char *reason);
static void ngx_http_registry_copy_again(ngx_event_t *ev);
static void ngx_http_registry_copy_abandon(ngx_http_registry_copy_t *copy);
static void ngx_http_registry_copy_fail(ngx_http_registry_copy_t *copy,
    ngx_http_registry_failure_t *failure);
static void ngx_http_registry_copy_degrade(ngx_http_registry_copy_t *copy,
    ngx_err_t err, const char *call);
static void ngx_http_registry_copy_late(ngx_http_registry_copy_t *copy);
static void ngx_http_registry_copy_end(ngx_http_registry_copy_t *copy,
    ngx_http_registry_flight_state_e state);
static void ngx_http_registry_copy_stop(ngx_http_registry_copy_t *copy);
static void ngx_http_registry_copy_discard(ngx_http_registry_copy_t *copy);


static ngx_queue_t  ngx_http_registry_copies = {
    &ngx_http_registry_copies, &ngx_http_registry_copies
};


ngx_int_t
ngx_http_registry_copy_join(ngx_http_registry_blob_t *blob, ngx_uint_t join,
    ngx_http_registry_copy_t **out)
{
    ngx_int_t                  rc;
    ngx_http_registry_copy_t  *copy;

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

    copy->pause.handler = ngx_http_registry_copy_again;
    copy->pause.data = copy;
    copy->pause.log = ngx_cycle->log;

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


static void
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


static void
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
        ngx_http_registry_copy_link(copy, &blob->name);
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
ngx_http_registry_copy_link(ngx_http_registry_copy_t *copy, ngx_str_t *name)
{
    ngx_queue_t                    *q;
    ngx_http_registry_copy_link_t  *link;

    for (q = ngx_queue_head(&copy->links);
         q != ngx_queue_sentinel(&copy->links);
         q = ngx_queue_next(q))
    {
        link = ngx_queue_data(q, ngx_http_registry_copy_link_t, queue);

        if (link->name.len == name->len
            && ngx_memcmp(link->name.data, name->data, name->len) == 0)
        {
            return;
        }
    }

    /* without memory it is linked the next time that it is asked for */

    link = ngx_palloc(copy->pool, sizeof(ngx_http_registry_copy_link_t));
    if (link == NULL) {
        return;
    }

    link->name.len = name->len;
    link->name.data = ngx_pstrdup(copy->pool, name);

    if (link->name.data) {
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

        op = ngx_http_registry_op_create(copy->blob.remote->store,
                                         NGX_HTTP_REGISTRY_OP_BLOB_MOUNT,
                                         &link->name, ngx_cycle->log);
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


/* NULL if memory is short */

static ngx_http_registry_op_t *
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

static void
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


static void
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


/*
 * Here begins what only the one does that leads the flight.  An earlier one
 * may have ended after the store was asked, hence once more.
 */

static void
ngx_http_registry_copy_lead(ngx_http_registry_copy_t *copy)
{
    ngx_http_registry_op_t       *op;
    ngx_http_registry_failure_t   failure;

    op = ngx_http_registry_copy_op(copy, NGX_HTTP_REGISTRY_OP_BLOB_OPEN);

    if (op == NULL) {
        ngx_memzero(&failure, sizeof(ngx_http_registry_failure_t));
        failure.error = NGX_HTTP_REGISTRY_CALL_LOCAL;
        ngx_http_registry_copy_fail(copy, &failure);
        return;
    }

    op->any = 1;

    ngx_http_registry_copy_run(copy, op, ngx_http_registry_copy_looked);
}


static void
ngx_http_registry_copy_looked(void *data)
{
    ngx_http_registry_copy_t *copy = data;

    ngx_err_t    err;
    ngx_int_t    rc;
    const char  *call;

    copy->busy++;

    rc = copy->op->status;
    err = copy->op->err;
    call = copy->op->call;
    copy->linked = copy->op->linked;

    ngx_http_registry_copy_end_op(copy);

    if (rc == NGX_OK) {
        copy->found = 1;
        ngx_http_registry_copy_end(copy, NGX_HTTP_REGISTRY_FLIGHT_STORED);

    } else if (rc == NGX_DECLINED) {
        registry_hash_init(&copy->hash, copy->blob.digest.algorithm);
        ngx_http_registry_copy_ask(copy);

    } else {
        ngx_http_registry_copy_degrade(copy, err, call);
    }

    ngx_http_registry_copy_release(copy);
}


/* what another process has left: its bytes count as far as it has said so */

static void
ngx_http_registry_copy_take_up(ngx_http_registry_copy_t *copy)
{
    ngx_http_registry_op_t  *op;

    ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                  "registry: going on with %s of \"%V\" from byte %O",
                  copy->blob.digest.text, &copy->blob.name,
                  copy->flight.written);

    if (copy->flight.state == NGX_HTTP_REGISTRY_FLIGHT_STARTING) {
        registry_hash_init(&copy->hash, copy->blob.digest.algorithm);
        ngx_http_registry_copy_ask(copy);
        return;
    }

    ngx_http_registry_flight_hash(&copy->flight, &copy->hash);

    if (copy->hash.length == 0) {
        registry_hash_init(&copy->hash, copy->blob.digest.algorithm);
    }

    op = ngx_http_registry_copy_op(copy, NGX_HTTP_REGISTRY_OP_TEMP_FOLLOW);
    if (op == NULL) {
        ngx_http_registry_copy_degrade(copy, NGX_ENOMEM, "a task for");
        return;
    }

    op->exclusive = 1;
    ngx_memcpy(op->temp, copy->flight.file, sizeof(op->temp));

    ngx_http_registry_copy_run(copy, op, ngx_http_registry_copy_taken);
}


static void
ngx_http_registry_copy_taken(void *data)
{
    ngx_http_registry_copy_t *copy = data;

    ngx_err_t  err;
    ngx_int_t  rc;

    copy->busy++;

    rc = copy->op->status;
    err = copy->op->err;

    if (rc == NGX_OK) {
        rc = ngx_http_registry_copy_retake(copy, copy->op);
        err = ngx_errno;
    }

    ngx_http_registry_copy_end_op(copy);

    if (rc == NGX_DECLINED
        && copy->flight.state == NGX_HTTP_REGISTRY_FLIGHT_DONE)
    {
        ngx_http_registry_copy_relink(copy);

    } else if (rc != NGX_OK) {
        ngx_http_registry_copy_degrade(copy, (rc == NGX_ERROR) ? err : 0,
                                       "taking up");

    } else if (copy->flight.size == (off_t) copy->hash.length) {
        ngx_http_registry_copy_complete(copy, NULL);

    } else {
        copy->answered = 1;
        copy->size = copy->flight.size;
        copy->synced = copy->hash.length;
        copy->tried = copy->hash.length;
        ngx_http_registry_copy_ask(copy);
    }

    ngx_http_registry_copy_release(copy);
}


/* what follows the bytes that count may be anything */

static ngx_int_t
ngx_http_registry_copy_retake(ngx_http_registry_copy_t *copy,
    ngx_http_registry_op_t *op)
{
    ngx_file_info_t  fi;

    if (ngx_fd_info(op->fd, &fi) == NGX_FILE_ERROR) {
        return NGX_ERROR;
    }

    if (ngx_file_size(&fi) < (off_t) copy->hash.length) {
        return NGX_BUSY;
    }

    if (ftruncate(op->fd, copy->hash.length) == -1) {
        return NGX_ERROR;
    }

    if (copy->fd == NGX_INVALID_FILE) {
        copy->fd = op->fd;
        op->fd = NGX_INVALID_FILE;
        return NGX_OK;
    }

    /* the number stays: there are those who read from it */

    if (dup3(op->fd, copy->fd, O_CLOEXEC) == -1) {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* it was a blob already, but perhaps without a link */

static void
ngx_http_registry_copy_relink(ngx_http_registry_copy_t *copy)
{
    ngx_http_registry_op_t  *op;

    op = ngx_http_registry_copy_op(copy, NGX_HTTP_REGISTRY_OP_BLOB_MOUNT);
    if (op == NULL) {
        ngx_http_registry_copy_degrade(copy, NGX_ENOMEM, "a task for");
        return;
    }

    ngx_http_registry_copy_run(copy, op, ngx_http_registry_copy_published);
}


static void
ngx_http_registry_copy_ask(ngx_http_registry_copy_t *copy)
{
    ngx_http_registry_ask_t      *ask;
    ngx_http_registry_failure_t   failure;

    copy->skip = 0;

    ask = ngx_http_registry_blob_ask(&copy->blob, "GET", copy->hash.length,
                                     -1);
    if (ask) {
        ask->on_header = ngx_http_registry_copy_on_header;
        ask->on_body = ngx_http_registry_copy_on_body;
        ask->on_done = ngx_http_registry_copy_on_done;
        ask->data = copy;

        copy->ask = ask;

        if (ngx_http_registry_ask_start(ask) == NGX_AGAIN) {
            return;
        }
    }

    ngx_memzero(&failure, sizeof(ngx_http_registry_failure_t));
    failure.error = NGX_HTTP_REGISTRY_CALL_LOCAL;

    ngx_http_registry_copy_broken(copy, &failure, "it could not be asked for");
}


static ngx_int_t
ngx_http_registry_copy_on_header(ngx_http_registry_ask_t *ask)
{
    ngx_http_registry_copy_t *copy = ask->data;

    ngx_int_t  rc;

    copy->busy++;

    ngx_http_registry_copy_header(copy, ask->response);
    rc = (copy->ask == ask) ? NGX_OK : NGX_ERROR;

    ngx_http_registry_copy_release(copy);

    return rc;
}


static void
ngx_http_registry_copy_header(ngx_http_registry_copy_t *copy,
    registry_http_response_t *response)
{
    off_t                         size;
    ngx_http_registry_op_t       *op;
    ngx_http_registry_failure_t   failure;

    size = copy->answered ? copy->size : -1;

    if (ngx_http_registry_blob_answer(response, copy->hash.length, -1, &size,
                                      &copy->skip, &failure)
        != NGX_OK)
    {
        ngx_http_registry_copy_broken(copy, &failure, "it was refused");
        return;
    }

    if (copy->answered) {
        return;
    }

    copy->answered = 1;
    copy->size = size;

    op = ngx_http_registry_copy_op(copy, NGX_HTTP_REGISTRY_OP_TEMP_CREATE);
    if (op == NULL) {
        ngx_http_registry_copy_degrade(copy, NGX_ENOMEM, "a task for");
        return;
    }

    ngx_http_registry_copy_run(copy, op, ngx_http_registry_copy_created);
}


static void
ngx_http_registry_copy_created(void *data)
{
    ngx_http_registry_copy_t *copy = data;

    size_t                   len;
    u_char                  *kept;
    ngx_int_t                rc;
    ngx_http_registry_op_t  *op;

    op = copy->op;
    rc = op->status;

    copy->busy++;

    if (rc != NGX_OK) {
        ngx_http_registry_copy_degrade(copy, op->err, op->call);
        ngx_http_registry_copy_release(copy);
        return;
    }

    copy->fd = op->fd;
    op->fd = NGX_INVALID_FILE;

    rc = ngx_http_registry_flight_run(&copy->flight, op->temp, copy->size);

    ngx_http_registry_copy_end_op(copy);
    ngx_http_registry_copy_refresh(copy);

    if (rc != NGX_OK) {
        ngx_http_registry_copy_late(copy);

    } else if (copy->finished) {
        ngx_http_registry_copy_complete(copy, NULL);

    } else if (copy->kept) {
        kept = copy->kept;
        len = copy->kept_len;
        copy->kept = NULL;

        ngx_http_registry_copy_write(copy, kept, len);
        ngx_free(kept);

        if (copy->file == NULL) {
            ngx_http_registry_copy_resume(copy);
        }
    }

    ngx_http_registry_copy_release(copy);
}


static ngx_int_t
ngx_http_registry_copy_on_body(ngx_http_registry_ask_t *ask, u_char *data,
    size_t len)
{
    ngx_http_registry_copy_t *copy = ask->data;

    ngx_int_t  rc;

    copy->busy++;

    ngx_http_registry_copy_body(copy, data, len);

    if (copy->ask != ask) {
        rc = NGX_ERROR;

    } else if (copy->file || copy->kept) {
        copy->paused = 1;
        rc = NGX_AGAIN;

    } else {
        rc = NGX_OK;
    }

    ngx_http_registry_copy_release(copy);

    return rc;
}


static void
ngx_http_registry_copy_body(ngx_http_registry_copy_t *copy, u_char *data,
    size_t len)
{
    size_t                       n;
    ngx_http_registry_failure_t  failure;

    if (copy->skip) {
        n = (copy->skip > (off_t) len) ? len : (size_t) copy->skip;

        copy->skip -= n;
        data += n;
        len -= n;
    }

    if (len == 0) {
        return;
    }

    if (copy->size != -1
        && (off_t) len > copy->size - (off_t) copy->hash.length)
    {
        ngx_memzero(&failure, sizeof(ngx_http_registry_failure_t));
        failure.error = NGX_HTTP_REGISTRY_CALL_PROTOCOL;

        ngx_http_registry_copy_broken(copy, &failure, "more came than that");
        return;
    }

    if (copy->fd != NGX_INVALID_FILE) {
        ngx_http_registry_copy_write(copy, data, len);
        return;
    }

    /* a thread is still making the file */

    copy->kept = ngx_alloc(len, ngx_cycle->log);
    if (copy->kept == NULL) {
        ngx_http_registry_copy_degrade(copy, NGX_ENOMEM, "memory for");
        return;
    }

    ngx_memcpy(copy->kept, data, len);
    copy->kept_len = len;
}


static void
ngx_http_registry_copy_write(ngx_http_registry_copy_t *copy, u_char *data,
    size_t len)
{
    off_t                       offset;
    ngx_http_registry_store_t  *store;

    store = copy->blob.remote->store;
    offset = copy->hash.length;

    registry_hash_update(&copy->hash, data, len);

    if (store->network) {
        copy->file = ngx_http_registry_disk_create(copy->fd, data, len,
                                                   offset, ngx_cycle->log);
    }

    if (copy->file) {
        copy->file->task.handler = ngx_http_registry_copy_written;
        copy->file->task.data = copy;

        if (ngx_http_registry_task_run(&copy->file->task, store->tp)
            == NGX_AGAIN)
        {
            return;
        }

        ngx_http_registry_task_free(&copy->file->task);
        copy->file = NULL;
    }

    if (ngx_http_registry_disk_write(copy->fd, data, len, offset) != NGX_OK) {
        ngx_http_registry_copy_degrade(copy, ngx_errno, "pwrite()");
        return;
    }

    ngx_http_registry_copy_progress(copy);
}


static void
ngx_http_registry_copy_written(void *data)
{
    ngx_http_registry_copy_t *copy = data;

    ngx_err_t  err;

    copy->busy++;

    err = copy->file->err;

    ngx_http_registry_task_free(&copy->file->task);
    copy->file = NULL;

    if (err) {
        ngx_http_registry_copy_degrade(copy, err, "pwrite()");

    } else {
        ngx_http_registry_copy_progress(copy);
        ngx_http_registry_copy_resume(copy);
    }

    ngx_http_registry_copy_release(copy);
}


static void
ngx_http_registry_copy_progress(ngx_http_registry_copy_t *copy)
{
    if (ngx_http_registry_flight_publish(&copy->flight, &copy->hash)
        != NGX_OK)
    {
        ngx_http_registry_copy_late(copy);
        return;
    }

    ngx_http_registry_disk_writeback(copy->fd, &copy->synced,
                                     copy->hash.length,
                                     copy->blob.remote->store->tp,
                                     ngx_cycle->log);
}


static void
ngx_http_registry_copy_resume(ngx_http_registry_copy_t *copy)
{
    if (copy->ask && copy->paused) {
        copy->paused = 0;
        ngx_http_registry_ask_resume(copy->ask);
    }
}


static void
ngx_http_registry_copy_on_done(ngx_http_registry_ask_t *ask)
{
    ngx_http_registry_copy_t *copy = ask->data;

    const char                   *reason;
    ngx_http_registry_failure_t   failure;

    copy->busy++;

    ngx_memzero(&failure, sizeof(ngx_http_registry_failure_t));
    failure.error = ask->error;
    reason = ask->reason;

    if (failure.error == NGX_HTTP_REGISTRY_CALL_OK
        && copy->size != -1 && copy->size != (off_t) copy->hash.length)
    {
        failure.error = NGX_HTTP_REGISTRY_CALL_TRUNCATED;
        reason = "it ended before its time";
    }

    if (failure.error == NGX_HTTP_REGISTRY_CALL_OK && copy->op) {

        /* nothing to write, to a file that is still being made */

        copy->finished = 1;
        copy->ask = NULL;
        ngx_http_registry_ask_free(ask);

    } else if (failure.error == NGX_HTTP_REGISTRY_CALL_OK) {
        ngx_http_registry_copy_complete(copy, &ask->peer);

    } else {
        ngx_http_registry_copy_broken(copy, &failure, reason);
    }

    ngx_http_registry_copy_release(copy);
}


/* all of it is there */

static void
ngx_http_registry_copy_complete(ngx_http_registry_copy_t *copy,
    ngx_str_t *peer)
{
    registry_hash_t              hash;
    registry_digest_t            digest;
    ngx_http_registry_failure_t  failure;

    hash = copy->hash;
    registry_hash_final(&hash, &digest);

    if (!registry_digest_equal(&digest, &copy->blob.digest)) {

        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "registry_remote \"%V\" sent something else than blob "
                      "%s of repository \"%V\": %O bytes from %V are %s, "
                      "and not kept", &copy->blob.remote->name,
                      copy->blob.digest.text, &copy->blob.name,
                      (off_t) copy->hash.length, peer ? peer
                                          : &copy->blob.remote->name,
                      digest.text);

        ngx_memzero(&failure, sizeof(ngx_http_registry_failure_t));
        failure.error = NGX_HTTP_REGISTRY_CALL_PROTOCOL;

        ngx_http_registry_copy_fail(copy, &failure);
        return;
    }

    ngx_http_registry_copy_stop(copy);

    /* an empty one was never written to */

    if (copy->hash.length == 0) {
        (void) ngx_http_registry_flight_publish(&copy->flight, &copy->hash);
    }

    if (copy->flight.state != NGX_HTTP_REGISTRY_FLIGHT_DONE
        && ngx_http_registry_flight_done(&copy->flight) != NGX_OK)
    {
        ngx_http_registry_copy_late(copy);
        return;
    }

    ngx_http_registry_copy_refresh(copy);
    ngx_http_registry_copy_publish(copy);
}


/* those who follow have it all by now, and wait for no fsync */

static void
ngx_http_registry_copy_publish(ngx_http_registry_copy_t *copy)
{
    ngx_http_registry_op_t  *op;

    op = ngx_http_registry_copy_op(copy, NGX_HTTP_REGISTRY_OP_TEMP_PUBLISH);
    if (op == NULL) {
        ngx_http_registry_copy_degrade(copy, NGX_ENOMEM, "a task for");
        return;
    }

    ngx_memcpy(op->temp, copy->flight.file, sizeof(op->temp));

    op->fd = fcntl(copy->fd, F_DUPFD_CLOEXEC, 0);

    if (op->fd == NGX_INVALID_FILE) {
        ngx_http_registry_copy_degrade(copy, ngx_errno,
                                       "fcntl(F_DUPFD_CLOEXEC)");
        ngx_http_registry_op_free(op);
        return;
    }

    ngx_http_registry_copy_run(copy, op, ngx_http_registry_copy_published);
}


static void
ngx_http_registry_copy_published(void *data)
{
    ngx_http_registry_copy_t *copy = data;

    copy->busy++;

    if (copy->op->status == NGX_OK) {
        ngx_http_registry_evict_added(copy->op->store, &copy->op->digest,
                                      copy->flight.written);

        ngx_http_registry_copy_end_op(copy);
        ngx_http_registry_copy_end(copy, NGX_HTTP_REGISTRY_FLIGHT_STORED);

    } else {
        ngx_http_registry_copy_degrade(copy, copy->op->err, copy->op->call);
    }

    ngx_http_registry_copy_release(copy);
}


/* the answer broke off, or there was none that is of use */

static void
ngx_http_registry_copy_broken(ngx_http_registry_copy_t *copy,
    ngx_http_registry_failure_t *failure, const char *reason)
{
    off_t  at;

    static const ngx_msec_t  pauses[NGX_HTTP_REGISTRY_COPY_TRIES] = {
        10, 100, 500, 1000, 2000
    };

    if (copy->ask) {
        ngx_http_registry_ask_free(copy->ask);
        copy->ask = NULL;
    }

    if (copy->kept) {
        ngx_free(copy->kept);
        copy->kept = NULL;
    }

    copy->paused = 0;
    at = copy->hash.length;

    /* a refusal is final, unless a part of it was sent already */

    if (!copy->answered) {
        ngx_http_registry_copy_fail(copy, failure);
        return;
    }

    if (at - copy->tried >= NGX_HTTP_REGISTRY_COPY_PROGRESS) {
        copy->tried = at;
        copy->tries = 0;
    }

    ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                  "registry_remote \"%V\": blob %s of repository \"%V\" "
                  "broke off at byte %O: %s (%ui)", &copy->blob.remote->name,
                  copy->blob.digest.text, &copy->blob.name, at, reason,
                  failure->status);

    if (ngx_exiting && copy->file == NULL && copy->op == NULL) {
        ngx_http_registry_copy_abandon(copy);
        return;
    }

    if (copy->tries == NGX_HTTP_REGISTRY_COPY_TRIES) {
        ngx_http_registry_copy_fail(copy, failure);
        return;
    }

    ngx_add_timer(&copy->pause, pauses[copy->tries]);
    copy->tries++;
}


static void
ngx_http_registry_copy_again(ngx_event_t *ev)
{
    ngx_http_registry_copy_t  *copy;

    copy = ev->data;

    /* the bytes before are still on their way to the disk */

    if (copy->file || copy->op) {
        ngx_add_timer(ev, 10);
        return;
    }

    copy->busy++;

    ngx_http_registry_copy_ask(copy);

    ngx_http_registry_copy_release(copy);
}


/* the lock on the file goes to who takes it up */

static void
ngx_http_registry_copy_abandon(ngx_http_registry_copy_t *copy)
{
    if (copy->fd != NGX_INVALID_FILE) {
        (void) flock(copy->fd, LOCK_UN);
    }

    copy->patient = 0;

    ngx_http_registry_flight_abandon(&copy->flight);
    ngx_http_registry_copy_refresh(copy);
}


static void
ngx_http_registry_copy_fail(ngx_http_registry_copy_t *copy,
    ngx_http_registry_failure_t *failure)
{
    copy->flight.failure = *failure;

    ngx_http_registry_copy_discard(copy);
    ngx_http_registry_copy_end(copy, NGX_HTTP_REGISTRY_FLIGHT_FAILED);
}


/* the store takes no more of it: those who follow go on without us */

static void
ngx_http_registry_copy_degrade(ngx_http_registry_copy_t *copy, ngx_err_t err,
    const char *call)
{
    ngx_http_registry_store_t  *store;

    store = copy->blob.remote->store;

    if (store->logged == 0
        || ngx_current_msec - store->logged > NGX_HTTP_REGISTRY_COPY_LOG)
    {
        store->logged = ngx_current_msec;

        ngx_log_error(NGX_LOG_CRIT, ngx_cycle->log, err,
                      "%s a copy in registry_cache \"%V\" failed: blobs of "
                      "\"%V\" are passed on without one", call, &store->name,
                      &copy->blob.remote->name);
    }

    if (err == NGX_ENOSPC || err == EDQUOT) {
        store->full = ngx_current_msec;

        ngx_http_registry_wake_signal(copy->blob.remote->zone,
                                      NGX_HTTP_REGISTRY_WAKE_MANAGER);
    }

    ngx_http_registry_copy_discard(copy);
    ngx_http_registry_copy_end(copy, NGX_HTTP_REGISTRY_FLIGHT_DEGRADED);
}


/* others found us silent for too long, and have said so */

static void
ngx_http_registry_copy_late(ngx_http_registry_copy_t *copy)
{
    ngx_http_registry_copy_discard(copy);
    ngx_http_registry_copy_end(copy, NGX_HTTP_REGISTRY_FLIGHT_DEGRADED);
}


static void
ngx_http_registry_copy_end(ngx_http_registry_copy_t *copy,
    ngx_http_registry_flight_state_e state)
{
    ngx_http_registry_copy_stop(copy);

    ngx_http_registry_flight_end(&copy->flight, state);

    ngx_http_registry_copy_refresh(copy);
}


/* nothing goes on but what those do who follow */

static void
ngx_http_registry_copy_stop(ngx_http_registry_copy_t *copy)
{
    if (copy->ask) {
        ngx_http_registry_ask_free(copy->ask);
        copy->ask = NULL;
    }

    if (copy->op) {
        ngx_http_registry_copy_end_op(copy);
    }

    if (copy->file) {
        ngx_http_registry_task_free(&copy->file->task);
        copy->file = NULL;
    }

    if (copy->kept) {
        ngx_free(copy->kept);
        copy->kept = NULL;
    }

    if (copy->pause.timer_set) {
        ngx_del_timer(&copy->pause);
    }
}


static void
ngx_http_registry_copy_discard(ngx_http_registry_copy_t *copy)
{
    ngx_http_registry_op_t  *op;

    if (copy->flight.file[0] == '\0') {
        return;
    }

    op = ngx_http_registry_copy_op(copy, NGX_HTTP_REGISTRY_OP_TEMP_DISCARD);

    /* what is not removed now will be, with all that is abandoned */

    if (op) {
        ngx_memcpy(op->temp, copy->flight.file, sizeof(op->temp));

        (void) ngx_http_registry_op_start(op);
        ngx_http_registry_op_free(op);
    }
}


ngx_http_registry_ask_t *
ngx_http_registry_blob_ask(ngx_http_registry_blob_t *blob, const char *method,
    off_t first, off_t last)
{
    u_char                   *p;
    ngx_str_t                 value;
    ngx_http_registry_ask_t  *ask;

    ask = ngx_http_registry_ask_create(blob->remote);
    if (ask == NULL) {
        return NULL;
    }

    ask->method.data = (u_char *) method;
    ask->method.len = ngx_strlen(method);

    ask->name.len = blob->remote_name.len;
    ask->name.data = ngx_pstrdup(ask->pool, &blob->remote_name);
    ask->authorization.len = blob->authorization.len;
    ask->authorization.data = ngx_pstrdup(ask->pool, &blob->authorization);
    ask->via.len = blob->via.len;
    ask->via.data = ngx_pstrdup(ask->pool, &blob->via);
    ask->path.data = ngx_pnalloc(ask->pool, sizeof("/v2//blobs/")
                                            + blob->remote_name.len
                                            + blob->digest.len);

    if (ask->name.data == NULL || ask->authorization.data == NULL
        || ask->via.data == NULL || ask->path.data == NULL)
    {
        goto failed;
    }

    ask->path.len = ngx_sprintf(ask->path.data, "/v2/%V/blobs/%s",
                                &blob->remote_name, blob->digest.text)
                    - ask->path.data;

    if (first == 0 && last == -1) {
        return ask;
    }

    p = ngx_pnalloc(ask->pool, sizeof("bytes=-") + 2 * NGX_OFF_T_LEN);
    if (p == NULL) {
        goto failed;
    }

    value.data = p;
    p = ngx_sprintf(p, "bytes=%O-", first);

    if (last != -1) {
        p = ngx_sprintf(p, "%O", last);
    }

    value.len = p - value.data;

    if (ngx_http_registry_ask_header(ask, "Range", &value) == NGX_OK) {
        return ask;
    }

failed:

    ngx_http_registry_ask_free(ask);

    return NULL;
}


ngx_int_t
ngx_http_registry_blob_answer(registry_http_response_t *response, off_t first,
    off_t last, off_t *size, off_t *skip,
    ngx_http_registry_failure_t *failure)
{
    int64_t                from, to, all;
    const registry_str_t  *field;

    ngx_memzero(failure, sizeof(ngx_http_registry_failure_t));

    *skip = 0;
    all = response->content_length;

    switch (response->status) {

    case NGX_HTTP_OK:
        *skip = first;
        break;

    case NGX_HTTP_PARTIAL_CONTENT:
        field = registry_http_field(response, "content-range");

        if (field == NULL
            || registry_content_range_answer_parse(*field, &from, &to, &all)
               != REGISTRY_OK
            || from != first
            || (last != -1 ? to != last : (all != -1 && to != all - 1)))
        {
            failure->error = NGX_HTTP_REGISTRY_CALL_PROTOCOL;
            return NGX_DECLINED;
        }

        break;

    default:
        ngx_http_registry_blob_refused(response, failure);
        return NGX_DECLINED;
    }

    if (*size != -1 && all != -1 && all != *size) {
        failure->error = NGX_HTTP_REGISTRY_CALL_PROTOCOL;
        return NGX_DECLINED;
    }

    if (*size == -1) {
        *size = all;
    }

    return NGX_OK;
}


void
ngx_http_registry_blob_refused(registry_http_response_t *response,
    ngx_http_registry_failure_t *failure)
{
    int64_t                seconds;
    const registry_str_t  *field;

    ngx_memzero(failure, sizeof(ngx_http_registry_failure_t));

    failure->status = response->status;

    field = registry_http_field(response, "retry-after");

    if (field && registry_retry_after(*field, ngx_time(), &seconds)
                 == REGISTRY_OK)
    {
        failure->retry_after = (time_t) seconds;
    }
}
