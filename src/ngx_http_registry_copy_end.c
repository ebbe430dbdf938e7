
/*
 * How copies end that are made here.  Once the digest is right the others
 * have it all, and the file becomes a blob of the store in a thread; or it is
 * given up, or left for another process.
 */


#include "ngx_http_registry_cache.h"
#include "ngx_http_registry_copy_lead.h"
#include "ngx_http_registry_evict.h"

#include <sys/file.h>


#define NGX_HTTP_REGISTRY_COPY_LOG       60000      /* milliseconds */


static void ngx_http_registry_copy_publish(ngx_http_registry_copy_t *copy);
static void ngx_http_registry_copy_unreserve(ngx_http_registry_copy_t *copy);
static void ngx_http_registry_copy_crowded(ngx_http_registry_copy_t *copy);
static ngx_uint_t ngx_http_registry_copy_logs(
    ngx_http_registry_store_t *store);
static void ngx_http_registry_copy_published(void *data);
static void ngx_http_registry_copy_stored(ngx_http_registry_copy_t *copy);
static void ngx_http_registry_copy_unlink(ngx_http_registry_copy_t *copy);
static void ngx_http_registry_copy_discard(ngx_http_registry_copy_t *copy);


/* all of it is there */

void
ngx_http_registry_copy_complete(ngx_http_registry_copy_t *copy,
    ngx_str_t *peer)
{
    registry_digest_t            digest;
    ngx_http_registry_failure_t  failure;

    if (!registry_hash_is(&copy->hash, &copy->blob.digest, &digest)) {

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

    if (ngx_http_registry_evict_reserve(copy->blob.remote->store,
                                        copy->hash.length, &copy->walks)
        != NGX_OK)
    {
        ngx_http_registry_copy_crowded(copy);
        return;
    }

    copy->reserved = 1;

    op = ngx_http_registry_copy_op(copy, NGX_HTTP_REGISTRY_OP_TEMP_PUBLISH);
    if (op == NULL) {
        ngx_http_registry_copy_degrade(copy, NGX_ENOMEM, "a task for");
        return;
    }

    ngx_memcpy(op->temp, copy->flight.file, sizeof(op->temp));
    op->any = ngx_http_registry_blob_purged(&copy->blob);

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
ngx_http_registry_copy_unreserve(ngx_http_registry_copy_t *copy)
{
    if (copy->reserved) {
        copy->reserved = 0;
        ngx_http_registry_evict_unreserve(copy->blob.remote->store,
                                          copy->hash.length, copy->walks);
    }
}


/*
 * More is fetched than can be removed at the same time: so that the limit
 * holds, this blob is not kept.  Those who follow have all of it.
 */

static void
ngx_http_registry_copy_crowded(ngx_http_registry_copy_t *copy)
{
    ngx_http_registry_store_t  *store;

    store = copy->blob.remote->store;

    if (ngx_http_registry_copy_logs(store)) {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "registry_cache \"%V\" grows faster than it is evicted "
                      "from: blobs of \"%V\" are not kept", &store->name,
                      &copy->blob.remote->name);
    }

    ngx_http_registry_copy_discard(copy);
    ngx_http_registry_copy_end(copy, NGX_HTTP_REGISTRY_FLIGHT_DEGRADED);
}


/* once in a while */

static ngx_uint_t
ngx_http_registry_copy_logs(ngx_http_registry_store_t *store)
{
    if (store->logged
        && ngx_current_msec - store->logged <= NGX_HTTP_REGISTRY_COPY_LOG)
    {
        return 0;
    }

    store->logged = ngx_current_msec;

    return 1;
}


/* it was a blob already, but perhaps without a link */

void
ngx_http_registry_copy_relink(ngx_http_registry_copy_t *copy)
{
    ngx_http_registry_op_t  *op;

    if (ngx_http_registry_blob_purged(&copy->blob)) {
        ngx_http_registry_copy_stored(copy);
        return;
    }

    op = ngx_http_registry_copy_op(copy, NGX_HTTP_REGISTRY_OP_BLOB_MOUNT);
    if (op == NULL) {
        ngx_http_registry_copy_degrade(copy, NGX_ENOMEM, "a task for");
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

        /* fsync may take long, and a purge may have come meanwhile */

        if (!copy->op->any && ngx_http_registry_blob_purged(&copy->blob)) {
            ngx_http_registry_copy_unlink(copy);
        }

        ngx_http_registry_copy_stored(copy);

    } else if (copy->op->status == NGX_ERROR) {
        ngx_http_registry_copy_degrade(copy, copy->op->err, copy->op->call);

    } else {

        /* somebody has removed the file */

        ngx_http_registry_copy_degrade(copy, NGX_ENOENT, "keeping");
    }

    ngx_http_registry_copy_release(copy);
}


static void
ngx_http_registry_copy_stored(ngx_http_registry_copy_t *copy)
{
    ngx_http_registry_copy_unreserve(copy);

    ngx_http_registry_evict_added(copy->blob.remote->store,
                                  &copy->blob.digest, copy->flight.written,
                                  ngx_time());

    ngx_http_registry_copy_end(copy, NGX_HTTP_REGISTRY_FLIGHT_STORED);
}


/* nobody waits for it */

static void
ngx_http_registry_copy_unlink(ngx_http_registry_copy_t *copy)
{
    ngx_http_registry_op_t  *op;

    op = ngx_http_registry_copy_op(copy, NGX_HTTP_REGISTRY_OP_BLOB_DELETE);

    if (op) {
        (void) ngx_http_registry_op_start(op);
        ngx_http_registry_op_free(op);
    }

    ngx_http_registry_cache_unlink(copy->blob.remote->zone,
                                   copy->blob.remote->store,
                                   &copy->blob.name, &copy->blob.digest);
}


/* the lock on the file goes to who takes it up */

void
ngx_http_registry_copy_abandon(ngx_http_registry_copy_t *copy)
{
    if (copy->fd != NGX_INVALID_FILE) {
        (void) flock(copy->fd, LOCK_UN);
    }

    copy->patient = 0;

    ngx_http_registry_flight_abandon(&copy->flight);
    ngx_http_registry_copy_refresh(copy);
}


void
ngx_http_registry_copy_fail(ngx_http_registry_copy_t *copy,
    ngx_http_registry_failure_t *failure)
{
    copy->flight.failure = *failure;

    ngx_http_registry_copy_discard(copy);
    ngx_http_registry_copy_end(copy, NGX_HTTP_REGISTRY_FLIGHT_FAILED);
}


/* the store takes no more of it: those who follow go on without us */

void
ngx_http_registry_copy_degrade(ngx_http_registry_copy_t *copy, ngx_err_t err,
    const char *call)
{
    ngx_http_registry_store_t  *store;

    store = copy->blob.remote->store;

    if (ngx_http_registry_copy_logs(store)) {
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

void
ngx_http_registry_copy_late(ngx_http_registry_copy_t *copy)
{
    ngx_http_registry_copy_discard(copy);
    ngx_http_registry_copy_end(copy, NGX_HTTP_REGISTRY_FLIGHT_DEGRADED);
}


void
ngx_http_registry_copy_end(ngx_http_registry_copy_t *copy,
    ngx_http_registry_flight_state_e state)
{
    ngx_http_registry_copy_stop(copy);

    ngx_http_registry_flight_end(&copy->flight, state);

    ngx_http_registry_copy_refresh(copy);
}


/* nothing goes on but what those do who follow */

void
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

    ngx_http_registry_copy_unreserve(copy);

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
