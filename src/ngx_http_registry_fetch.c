
/*
 * One client's view of a copy.  Whoever joins a copy that is made for another
 * repository, or finds the blob in the store without a link, may have it only
 * if the remote says so for this one: it is asked by HEAD, and no byte is
 * fetched twice.
 */


#include "ngx_http_registry_fetch.h"


static void ngx_http_registry_fetch_deaf(ngx_http_registry_fetch_t *fetch);
static void ngx_http_registry_fetch_leave(ngx_http_registry_fetch_t *fetch);
static ngx_uint_t ngx_http_registry_fetch_update(
    ngx_http_registry_fetch_t *fetch);
static void ngx_http_registry_fetch_running(ngx_http_registry_fetch_t *fetch);
static void ngx_http_registry_fetch_whole(ngx_http_registry_fetch_t *fetch);
static void ngx_http_registry_fetch_failed(ngx_http_registry_fetch_t *fetch);
static void ngx_http_registry_fetch_degraded(
    ngx_http_registry_fetch_t *fetch);
static void ngx_http_registry_fetch_again(ngx_http_registry_fetch_t *fetch);

static void ngx_http_registry_fetch_check(ngx_http_registry_fetch_t *fetch);
static ngx_int_t ngx_http_registry_fetch_on_header(
    ngx_http_registry_ask_t *ask);
static ngx_int_t ngx_http_registry_fetch_on_body(
    ngx_http_registry_ask_t *ask, u_char *data, size_t len);
static void ngx_http_registry_fetch_on_done(ngx_http_registry_ask_t *ask);
static void ngx_http_registry_fetch_link(ngx_http_registry_fetch_t *fetch);
static void ngx_http_registry_fetch_linked(void *data);
static void ngx_http_registry_fetch_error(ngx_http_registry_fetch_t *fetch,
    ngx_uint_t error);
static void ngx_http_registry_fetch_tell(ngx_http_registry_fetch_t *fetch);


ngx_int_t
ngx_http_registry_fetch_start(ngx_http_registry_fetch_t *fetch)
{
    ngx_int_t                  rc;
    ngx_http_registry_copy_t  *copy;

    fetch->state = NGX_HTTP_REGISTRY_FETCH_RUNNING;
    fetch->fd = NGX_INVALID_FILE;
    fetch->size = -1;
    fetch->written = 0;
    fetch->ready = 0;
    fetch->known = 0;

    fetch->wait.version = 0;
    fetch->wait.handler = fetch->handler;
    fetch->wait.data = fetch->data;

    rc = ngx_http_registry_copy_join(&fetch->blob, fetch->join, &copy);

    if (rc == NGX_DECLINED && !fetch->join) {
        fetch->state = NGX_HTTP_REGISTRY_FETCH_DEGRADED;
        return NGX_OK;
    }

    if (rc != NGX_OK) {
        return rc;
    }

    fetch->copy = copy;
    fetch->joined = (copy->users > 1 || !copy->flight.leads
                     || copy->answered);

    if (fetch->checked
        || ngx_http_registry_copy_is_for(copy, &fetch->blob.name))
    {
        ngx_http_registry_copy_vouch(copy, &fetch->blob);

    } else {
        ngx_http_registry_fetch_check(fetch);
    }

    (void) ngx_http_registry_fetch_update(fetch);

    return NGX_OK;
}


ngx_int_t
ngx_http_registry_fetch_wait(ngx_http_registry_fetch_t *fetch)
{
    for ( ;; ) {

        if (ngx_http_registry_fetch_update(fetch)
            || fetch->state != NGX_HTTP_REGISTRY_FETCH_RUNNING)
        {
            return NGX_OK;
        }

        if (ngx_http_registry_copy_wait(fetch->copy, &fetch->wait)
            == NGX_AGAIN)
        {
            return NGX_AGAIN;
        }
    }
}


void
ngx_http_registry_fetch_cancel(ngx_http_registry_fetch_t *fetch)
{
    ngx_http_registry_fetch_stop(fetch);
    ngx_http_registry_fetch_leave(fetch);
}


void
ngx_http_registry_fetch_stop(ngx_http_registry_fetch_t *fetch)
{
    if (fetch->ask) {
        ngx_http_registry_ask_free(fetch->ask);
        fetch->ask = NULL;
    }

    if (fetch->op) {
        ngx_http_registry_op_free(fetch->op);
        fetch->op = NULL;
    }

    ngx_http_registry_fetch_deaf(fetch);
}


static void
ngx_http_registry_fetch_deaf(ngx_http_registry_fetch_t *fetch)
{
    if (fetch->wait.waiting) {
        ngx_queue_remove(&fetch->wait.queue);
        fetch->wait.waiting = 0;
    }
}


static void
ngx_http_registry_fetch_leave(ngx_http_registry_fetch_t *fetch)
{
    ngx_http_registry_copy_t  *copy;

    copy = fetch->copy;

    ngx_http_registry_fetch_deaf(fetch);

    if (copy) {
        fetch->copy = NULL;
        ngx_http_registry_copy_leave(copy);
    }
}


/* 1 if anything has changed for this client */

static ngx_uint_t
ngx_http_registry_fetch_update(ngx_http_registry_fetch_t *fetch)
{
    off_t                             ready;
    ngx_uint_t                        known;
    ngx_http_registry_fetch_state_e   state;

    state = fetch->state;
    ready = fetch->ready;
    known = fetch->known;

    /* what the remote was asked comes first */

    if (state != NGX_HTTP_REGISTRY_FETCH_RUNNING || fetch->ask || fetch->op) {
        return 0;
    }

    switch (fetch->copy->flight.state) {

    case NGX_HTTP_REGISTRY_FLIGHT_STARTING:
        break;

    case NGX_HTTP_REGISTRY_FLIGHT_RUNNING:
        ngx_http_registry_fetch_running(fetch);
        break;

    case NGX_HTTP_REGISTRY_FLIGHT_DONE:
    case NGX_HTTP_REGISTRY_FLIGHT_STORED:
        ngx_http_registry_fetch_whole(fetch);
        break;

    case NGX_HTTP_REGISTRY_FLIGHT_FAILED:
        ngx_http_registry_fetch_failed(fetch);
        break;

    case NGX_HTTP_REGISTRY_FLIGHT_DEGRADED:
        ngx_http_registry_fetch_degraded(fetch);
        break;
    }

    return fetch->state != state || fetch->ready != ready
           || fetch->known != known;
}


static void
ngx_http_registry_fetch_running(ngx_http_registry_fetch_t *fetch)
{
    off_t                        ready;
    ngx_http_registry_copy_t    *copy;
    ngx_http_registry_flight_t  *flight;

    copy = fetch->copy;
    flight = &copy->flight;

    if (copy->gone) {
        fetch->state = NGX_HTTP_REGISTRY_FETCH_DEGRADED;
        return;
    }

    if (copy->fd == NGX_INVALID_FILE) {
        return;
    }

    fetch->known = 1;
    fetch->fd = copy->fd;
    fetch->size = flight->size;
    fetch->written = flight->written;

    ready = (flight->size == -1) ? flight->written : flight->size;
    ready -= ngx_http_registry_hold(flight->size);
    ready = ngx_min(ready, flight->written);

    if (ready > fetch->ready) {
        fetch->ready = ready;
    }
}


static void
ngx_http_registry_fetch_whole(ngx_http_registry_fetch_t *fetch)
{
    ngx_http_registry_copy_t  *copy;

    copy = fetch->copy;

    if (copy->found) {

        if (copy->linked && ngx_http_registry_copy_is_for(copy,
                                                          &fetch->blob.name))
        {
            fetch->state = NGX_HTTP_REGISTRY_FETCH_FOUND;

        } else if (fetch->checked) {
            ngx_http_registry_fetch_link(fetch);

        } else {
            ngx_http_registry_fetch_check(fetch);
        }

        return;
    }

    if (copy->gone) {
        fetch->state = NGX_HTTP_REGISTRY_FETCH_FOUND;
        return;
    }

    if (copy->fd == NGX_INVALID_FILE) {
        return;
    }

    fetch->state = NGX_HTTP_REGISTRY_FETCH_DONE;
    fetch->known = 1;
    fetch->fd = copy->fd;
    fetch->size = copy->flight.size;
    fetch->ready = copy->flight.size;
}


/*
 * Somebody else's repository, or credentials, may be what was refused: then
 * it is tried with our own.
 */

static void
ngx_http_registry_fetch_failed(ngx_http_registry_fetch_t *fetch)
{
    ngx_uint_t                 status;
    ngx_http_registry_copy_t  *copy;

    copy = fetch->copy;
    status = copy->flight.failure.status;

    if (fetch->joined && !fetch->again && !fetch->known
        && (status == NGX_HTTP_UNAUTHORIZED || status == NGX_HTTP_FORBIDDEN
            || status == NGX_HTTP_NOT_FOUND))
    {
        fetch->again = 1;
        ngx_http_registry_fetch_again(fetch);
        return;
    }

    fetch->state = NGX_HTTP_REGISTRY_FETCH_FAILED;
    fetch->failure = copy->flight.failure;
}


static void
ngx_http_registry_fetch_degraded(ngx_http_registry_fetch_t *fetch)
{
    ngx_http_registry_copy_t  *copy;

    copy = fetch->copy;

    /* it ended well or not, too long ago for anybody to remember */

    if (copy->flight.lost) {
        fetch->state = NGX_HTTP_REGISTRY_FETCH_FOUND;
        return;
    }

    if (copy->fd == NGX_INVALID_FILE && copy->op) {
        return;
    }

    fetch->state = NGX_HTTP_REGISTRY_FETCH_DEGRADED;

    if (copy->fd != NGX_INVALID_FILE) {
        fetch->known = 1;
        fetch->fd = copy->fd;
        fetch->size = copy->flight.size;
        fetch->ready = copy->hash.length;
    }
}


static void
ngx_http_registry_fetch_again(ngx_http_registry_fetch_t *fetch)
{
    ngx_http_registry_fetch_leave(fetch);

    switch (ngx_http_registry_fetch_start(fetch)) {

    case NGX_OK:
        break;

    case NGX_DECLINED:
        fetch->state = NGX_HTTP_REGISTRY_FETCH_DEGRADED;
        break;

    default:
        ngx_http_registry_fetch_error(fetch,
                                      NGX_HTTP_REGISTRY_CALL_LOCAL);
    }
}


void
ngx_http_registry_fetch_hash(ngx_http_registry_fetch_t *fetch,
    registry_hash_t *hash)
{
    if (fetch->ready && fetch->copy) {
        *hash = fetch->copy->hash;
        return;
    }

    registry_hash_init(hash, fetch->blob.digest.algorithm);
}


/*
 * Not every registry knows HEAD for blobs: one that does not seem to is asked
 * for the first byte.
 */

static void
ngx_http_registry_fetch_check(ngx_http_registry_fetch_t *fetch)
{
    ngx_http_registry_ask_t  *ask;

    ask = fetch->ranged
          ? ngx_http_registry_blob_ask(&fetch->blob, "GET", 0, 0)
          : ngx_http_registry_blob_ask(&fetch->blob, "HEAD", 0, -1);

    fetch->ask = ask;

    if (ask) {
        ask->on_header = ngx_http_registry_fetch_on_header;
        ask->on_body = ngx_http_registry_fetch_on_body;
        ask->on_done = ngx_http_registry_fetch_on_done;
        ask->data = fetch;

        if (ngx_http_registry_ask_start(ask) == NGX_AGAIN) {
            return;
        }

        ngx_http_registry_ask_free(ask);
        fetch->ask = NULL;
    }

    ngx_http_registry_fetch_error(fetch, NGX_HTTP_REGISTRY_CALL_LOCAL);
}


static ngx_int_t
ngx_http_registry_fetch_on_header(ngx_http_registry_ask_t *ask)
{
    ngx_http_registry_fetch_t *fetch = ask->data;

    ngx_uint_t                   status;
    ngx_http_registry_failure_t  failure;

    status = ask->response->status;
    ngx_http_registry_blob_refused(ask->response, &failure);

    if (status == NGX_HTTP_OK && ngx_http_registry_ask_html(ask)) {
        status = 0;
        ngx_memzero(&failure, sizeof(ngx_http_registry_failure_t));
        failure.error = NGX_HTTP_REGISTRY_CALL_PROTOCOL;
    }

    ngx_http_registry_ask_free(ask);
    fetch->ask = NULL;

    /* an empty one has no first byte */

    if (status == NGX_HTTP_OK || status == NGX_HTTP_PARTIAL_CONTENT
        || status == NGX_HTTP_RANGE_NOT_SATISFIABLE)
    {
        fetch->checked = 1;
        ngx_http_registry_copy_vouch(fetch->copy, &fetch->blob);

    } else if (!fetch->ranged
               && (status == NGX_HTTP_NOT_FOUND
                   || status == NGX_HTTP_NOT_ALLOWED
                   || status == NGX_HTTP_NOT_IMPLEMENTED))
    {
        fetch->ranged = 1;
        ngx_http_registry_fetch_check(fetch);

    } else {
        fetch->state = NGX_HTTP_REGISTRY_FETCH_FAILED;
        fetch->failure = failure;
    }

    ngx_http_registry_fetch_tell(fetch);

    return NGX_ERROR;
}


/* the ask was freed before any of it could come */

static ngx_int_t
ngx_http_registry_fetch_on_body(ngx_http_registry_ask_t *ask, u_char *data,
    size_t len)
{
    return NGX_OK;
}


static void
ngx_http_registry_fetch_on_done(ngx_http_registry_ask_t *ask)
{
    ngx_http_registry_fetch_t *fetch = ask->data;

    ngx_uint_t  error;

    error = ask->error;

    ngx_http_registry_ask_free(ask);
    fetch->ask = NULL;

    ngx_http_registry_fetch_error(fetch, error);
    ngx_http_registry_fetch_tell(fetch);
}


/* the store has it, and this repository may: now it has it too */

static void
ngx_http_registry_fetch_link(ngx_http_registry_fetch_t *fetch)
{
    ngx_http_registry_op_t  *op;

    if (ngx_http_registry_blob_purged(&fetch->blob)) {
        fetch->state = NGX_HTTP_REGISTRY_FETCH_DEGRADED;
        return;
    }

    op = ngx_http_registry_op_create(fetch->blob.remote->store,
                                     NGX_HTTP_REGISTRY_OP_BLOB_MOUNT,
                                     &fetch->blob.name, ngx_cycle->log);
    if (op == NULL) {
        ngx_http_registry_fetch_error(fetch,
                                      NGX_HTTP_REGISTRY_CALL_LOCAL);
        return;
    }

    op->digest = fetch->blob.digest;
    op->task.handler = ngx_http_registry_fetch_linked;
    op->task.data = fetch;

    fetch->op = op;

    switch (ngx_http_registry_op_start(op)) {

    case NGX_AGAIN:
        return;

    case NGX_ERROR:
        ngx_http_registry_op_free(op);
        fetch->op = NULL;
        fetch->state = NGX_HTTP_REGISTRY_FETCH_DEGRADED;
        return;

    default:
        ngx_http_registry_fetch_linked(fetch);
    }
}


static void
ngx_http_registry_fetch_linked(void *data)
{
    ngx_http_registry_fetch_t *fetch = data;

    ngx_int_t                rc;
    ngx_uint_t               waiting;
    ngx_http_registry_op_t  *op;

    op = fetch->op;
    rc = op->status;

    /* not any more where it is left for another copy */

    waiting = fetch->wait.waiting;
    ngx_http_registry_fetch_deaf(fetch);

    if (rc == NGX_ERROR) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, op->err,
                      "%s \"%s\" failed, registry_store \"%V\", "
                      "repository \"%V\"", op->call, op->path,
                      &op->store->name, &fetch->blob.name);
    }

    ngx_http_registry_op_free(op);
    fetch->op = NULL;

    if (rc == NGX_OK) {
        fetch->state = NGX_HTTP_REGISTRY_FETCH_FOUND;

    } else if (rc == NGX_DECLINED && !fetch->again) {

        /* it was taken out of the store meanwhile */

        fetch->again = 1;
        ngx_http_registry_fetch_again(fetch);

    } else {
        fetch->state = NGX_HTTP_REGISTRY_FETCH_DEGRADED;
    }

    if (waiting) {
        fetch->handler(fetch->data);
    }
}


static void
ngx_http_registry_fetch_error(ngx_http_registry_fetch_t *fetch,
    ngx_uint_t error)
{
    fetch->state = NGX_HTTP_REGISTRY_FETCH_FAILED;

    ngx_memzero(&fetch->failure, sizeof(ngx_http_registry_failure_t));
    fetch->failure.error = error;
}


/* nobody but this client waits for it */

static void
ngx_http_registry_fetch_tell(ngx_http_registry_fetch_t *fetch)
{
    if (fetch->wait.waiting) {
        ngx_http_registry_fetch_deaf(fetch);
        fetch->handler(fetch->data);
    }
}
