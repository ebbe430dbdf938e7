
/*
 * Copies of blobs in the making, by the process that leads the flight: it
 * asks the remote, writes what comes to a temporary file, and hashes it; if
 * the answer breaks off it asks for the rest.  How they end is in copy_end.c.
 */


#include "ngx_http_registry_copy_lead.h"


static void ngx_http_registry_copy_looked(void *data);
static void ngx_http_registry_copy_taken(void *data);
static ngx_int_t ngx_http_registry_copy_retake(
    ngx_http_registry_copy_t *copy, ngx_http_registry_op_t *op);
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
static void ngx_http_registry_copy_broken(ngx_http_registry_copy_t *copy,
    ngx_http_registry_failure_t *failure, const char *reason);
static void ngx_http_registry_copy_again(ngx_event_t *ev);


/* an earlier copy may have ended after the store was asked: once more */

void
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

void
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
        copy->retry.from = copy->hash.length;
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
    registry_digest_t             digest;
    ngx_http_registry_failure_t   failure;

    copy->busy++;

    ngx_memzero(&failure, sizeof(ngx_http_registry_failure_t));
    failure.error = ask->error;
    reason = ask->reason;

    /* where a size that is not told ends, the digest knows as well */

    if (copy->answered && copy->size == -1
        && registry_hash_is(&copy->hash, &copy->blob.digest, &digest))
    {
        failure.error = NGX_HTTP_REGISTRY_CALL_OK;
    }

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


/* the answer broke off, or there was none that is of use */

static void
ngx_http_registry_copy_broken(ngx_http_registry_copy_t *copy,
    ngx_http_registry_failure_t *failure, const char *reason)
{
    off_t      at;
    ngx_int_t  pause;

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

    /* it was this worker, which is to exit, that closed the connection */

    if (ngx_exiting && failure->error == NGX_HTTP_REGISTRY_CALL_LOCAL
        && copy->file == NULL && copy->op == NULL)
    {
        ngx_http_registry_copy_abandon(copy);
        return;
    }

    /* a refusal is final, unless a part of it was sent already */

    if (!copy->answered) {
        ngx_http_registry_copy_fail(copy, failure);
        return;
    }

    ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                  "registry_remote \"%V\": blob %s of repository \"%V\" "
                  "broke off at byte %O: %s (%ui)", &copy->blob.remote->name,
                  copy->blob.digest.text, &copy->blob.name, at, reason,
                  failure->status);

    pause = ngx_http_registry_blob_pause(&copy->retry, at, failure);

    if (pause == NGX_ERROR) {
        ngx_http_registry_copy_fail(copy, failure);
        return;
    }

    copy->pause.handler = ngx_http_registry_copy_again;
    copy->pause.data = copy;
    copy->pause.log = ngx_cycle->log;

    ngx_add_timer(&copy->pause, (ngx_msec_t) pause);
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
