
/*
 * A run gets one manifest for all who want it in this worker, from the
 * nearest that has it: the cache, memcached, the remote, which one worker
 * alone asks.  Those who wait are told, and then it is kept.
 */


#include "ngx_http_registry_fill_run.h"
#include "ngx_http_registry_evict.h"


static ngx_http_registry_run_t *ngx_http_registry_run_find(
    ngx_http_registry_fill_t *fill);
static ngx_http_registry_run_t *ngx_http_registry_run_create(
    ngx_http_registry_fill_t *fill, ngx_http_registry_remote_t *remote);
static ngx_int_t ngx_http_registry_run_copy(ngx_http_registry_run_t *run,
    ngx_http_registry_fill_t *fill);
static ngx_uint_t ngx_http_registry_run_stale(ngx_http_registry_run_t *run,
    ngx_uint_t status, ngx_http_registry_call_error_e error);
static void ngx_http_registry_run_delete(ngx_http_registry_run_t *run,
    ngx_http_registry_op_e kind);
static ngx_uint_t ngx_http_registry_run_pulled(ngx_http_registry_run_t *run);
static void ngx_http_registry_run_give(ngx_http_registry_run_t *run,
    ngx_int_t rc, ngx_http_registry_fill_e found, ngx_uint_t status,
    ngx_http_registry_call_error_e error);
static ngx_int_t ngx_http_registry_run_result(ngx_http_registry_run_t *run,
    ngx_http_registry_fill_t *fill);
static void ngx_http_registry_run_keep(ngx_http_registry_run_t *run,
    ngx_http_registry_op_e kind);
static ngx_int_t ngx_http_registry_run_write(ngx_http_registry_run_t *run,
    ngx_http_registry_op_t *op);
static void ngx_http_registry_run_kept(void *data);
static void ngx_http_registry_run_undo(ngx_http_registry_run_t *run,
    ngx_http_registry_op_e kind);
static void ngx_http_registry_run_free(ngx_http_registry_run_t *run);


static ngx_queue_t  ngx_http_registry_runs = {
    &ngx_http_registry_runs, &ngx_http_registry_runs
};


ngx_int_t
ngx_http_registry_fill_start(ngx_http_registry_fill_t *fill,
    ngx_http_registry_remote_t *remote)
{
    ngx_uint_t                running;
    ngx_http_registry_run_t  *run;

    run = ngx_http_registry_run_find(fill);
    running = (run != NULL);

    if (!running) {
        run = ngx_http_registry_run_create(fill, remote);
        if (run == NULL) {
            return NGX_ERROR;
        }
    }

    if (fill->handler) {
        fill->waiting = 1;
        fill->joined = running;
        ngx_queue_insert_tail(&run->waiters, &fill->queue);
    }

    if (running) {
        return NGX_AGAIN;
    }

    fill->starting = 1;

    if (run->manifest.tag.len) {
        ngx_http_registry_run_tag(run);

    } else {
        ngx_http_registry_run_read(run, &run->digest);
    }

    /* the run may be gone by now */

    fill->starting = 0;

    return (fill->handler && !fill->waiting) ? NGX_OK : NGX_AGAIN;
}


void
ngx_http_registry_fill_cancel(ngx_http_registry_fill_t *fill)
{
    if (fill->waiting) {
        fill->waiting = 0;
        ngx_queue_remove(&fill->queue);
    }
}


static ngx_http_registry_run_t *
ngx_http_registry_run_find(ngx_http_registry_fill_t *fill)
{
    ngx_queue_t                   *q;
    ngx_http_registry_run_t       *run;
    ngx_http_registry_manifest_t  *one, *two;

    one = &fill->manifest;

    for (q = ngx_queue_head(&ngx_http_registry_runs);
         q != ngx_queue_sentinel(&ngx_http_registry_runs);
         q = ngx_queue_next(q))
    {
        run = ngx_queue_data(q, ngx_http_registry_run_t, queue);
        two = &run->manifest;

        /* who comes after a purge gets nothing that was asked before it */

        if (one->generation == two->generation
            && one->store->id[0] == two->store->id[0]
            && one->store->id[1] == two->store->id[1]
            && one->name.len == two->name.len
            && one->tag.len == two->tag.len
            && ngx_strncmp(one->name.data, two->name.data, one->name.len) == 0
            && (one->tag.len
                ? ngx_strncmp(one->tag.data, two->tag.data, one->tag.len) == 0
                : registry_digest_equal(&one->digest, &two->digest)))
        {
            return run;
        }
    }

    return NULL;
}


static ngx_http_registry_run_t *
ngx_http_registry_run_create(ngx_http_registry_fill_t *fill,
    ngx_http_registry_remote_t *remote)
{
    ngx_pool_t               *pool;
    ngx_http_registry_run_t  *run;

    pool = ngx_create_pool(1024, ngx_cycle->log);
    if (pool == NULL) {
        return NULL;
    }

    run = ngx_pcalloc(pool, sizeof(ngx_http_registry_run_t));

    if (run == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    run->pool = pool;
    run->remote = remote;
    run->manifest = fill->manifest;
    ngx_queue_init(&run->waiters);

    if (ngx_http_registry_run_copy(run, fill) != NGX_OK) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    ngx_queue_insert_tail(&ngx_http_registry_runs, &run->queue);

    return run;
}


/* all that the run has is its own: who wanted it may go away */

static ngx_int_t
ngx_http_registry_run_copy(ngx_http_registry_run_t *run,
    ngx_http_registry_fill_t *fill)
{
    ngx_http_registry_manifest_t  *m;

    m = &run->manifest;

    if (ngx_http_registry_run_str(run->pool, &m->name, &fill->manifest.name)
        != NGX_OK
        || ngx_http_registry_run_str(run->pool, &m->tag, &fill->manifest.tag)
           != NGX_OK
        || ngx_http_registry_run_str(run->pool, &run->name, &fill->name)
           != NGX_OK
        || ngx_http_registry_run_str(run->pool, &run->via, &fill->via)
           != NGX_OK
        || ngx_http_registry_run_str(run->pool, &run->authorization,
                                     &fill->authorization)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_str_null(&m->media_type);
    ngx_str_null(&m->body);
    m->age = 0;
    m->fresh = 0;

    run->copy = *m;

    if (m->tag.len == 0) {
        run->digest = m->digest;
    }

    if (!fill->known) {
        return NGX_OK;
    }

    run->since = ngx_time() - fill->manifest.age / 1000;

    if (ngx_http_registry_run_str(run->pool, &run->copy.media_type,
                                  &fill->manifest.media_type)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_registry_run_str(run->pool, &run->copy.body,
                                     &fill->manifest.body);
}


ngx_int_t
ngx_http_registry_run_str(ngx_pool_t *pool, ngx_str_t *to, ngx_str_t *from)
{
    ngx_str_t  s;

    if (from->len == 0) {
        ngx_str_set(to, "");
        return NGX_OK;
    }

    s = *from;

    to->len = s.len;
    to->data = ngx_pnalloc(pool, s.len);

    if (to->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(to->data, s.data, s.len);

    return NGX_OK;
}


/* a tag that is gone there is gone here, whatever happens to the remote */

void
ngx_http_registry_run_absent(ngx_http_registry_run_t *run)
{
    if (!ngx_http_registry_cache_current(&run->manifest)) {
        return;
    }

    ngx_http_registry_cache_drop(&run->manifest);
    ngx_http_registry_cache_absent(&run->manifest);

    if (run->manifest.tag.len && run->copy.body.data) {
        ngx_http_registry_run_delete(run, NGX_HTTP_REGISTRY_OP_TAG_DELETE);
    }
}


/* from the cache; nobody waits for it */

static void
ngx_http_registry_run_delete(ngx_http_registry_run_t *run,
    ngx_http_registry_op_e kind)
{
    ngx_http_registry_op_t  *op;

    op = ngx_http_registry_op_create(run->remote->store, kind,
                                     &run->manifest.name, ngx_cycle->log);
    if (op == NULL) {
        return;
    }

    op->digest = run->copy.digest;
    op->tag = ngx_http_registry_op_copy(op, &run->manifest.tag);

    if (op->tag) {
        (void) ngx_http_registry_op_start(op);
    }

    ngx_http_registry_op_free(op);
}


void
ngx_http_registry_run_failed(ngx_http_registry_run_t *run, ngx_uint_t status,
    ngx_http_registry_call_error_e error, const char *reason)
{
    if (reason) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "%s, registry_remote \"%V\", repository \"%V\", "
                      "tag \"%V\", digest \"%s\"", reason,
                      &run->remote->name, &run->name, &run->manifest.tag,
                      run->digest.text);
    }

    ngx_http_registry_run_land(run, status, error);

    if (ngx_http_registry_run_stale(run, status, error)) {
        ngx_http_registry_run_found(run, NGX_HTTP_REGISTRY_FILL_STALE);
        return;
    }

    ngx_http_registry_run_give(run, NGX_ERROR, NGX_HTTP_REGISTRY_FILL_MISS,
                               status, error);
    ngx_http_registry_run_free(run);
}


static ngx_uint_t
ngx_http_registry_run_stale(ngx_http_registry_run_t *run, ngx_uint_t status,
    ngx_http_registry_call_error_e error)
{
    if (run->manifest.tag.len == 0 || run->copy.body.data == NULL) {
        return 0;
    }

    return ngx_http_registry_remote_stale(run->remote, run->since, status,
                                          error);
}


void
ngx_http_registry_run_found(ngx_http_registry_run_t *run,
    ngx_http_registry_fill_e found)
{
    run->copy.generation = run->manifest.generation;

    if (found == NGX_HTTP_REGISTRY_FILL_MISS || run->shared || run->copy.fresh)
    {
        run->copy.fresh = !ngx_http_registry_run_pulled(run);
    }

    if (found != NGX_HTTP_REGISTRY_FILL_STALE) {
        ngx_http_registry_cache_fill(&run->copy);
        ngx_http_registry_run_land(run, NGX_HTTP_OK,
                                   NGX_HTTP_REGISTRY_CALL_OK);
    }

    ngx_http_registry_run_give(run, NGX_OK, found, NGX_HTTP_OK,
                               NGX_HTTP_REGISTRY_CALL_OK);

    /* who began before a purge has it now, and nobody else is to have it */

    if (!ngx_http_registry_cache_current(&run->manifest)) {
        ngx_http_registry_run_free(run);
        return;
    }

    if (found == NGX_HTTP_REGISTRY_FILL_MISS
        || found == NGX_HTTP_REGISTRY_FILL_REVALIDATED)
    {
        ngx_http_registry_run_share(run);
    }

    if (found == NGX_HTTP_REGISTRY_FILL_MISS || run->shared) {
        ngx_http_registry_run_keep(run, NGX_HTTP_REGISTRY_OP_MANIFEST_WRITE);

    } else if (found == NGX_HTTP_REGISTRY_FILL_REVALIDATED
               || (run->told && found != NGX_HTTP_REGISTRY_FILL_STALE))
    {
        ngx_http_registry_run_keep(run, NGX_HTTP_REGISTRY_OP_TAG_WRITE);

    } else {
        ngx_http_registry_run_free(run);
    }
}


/* 1 if there is somebody who pulls it; the first of them learns that he is */

static ngx_uint_t
ngx_http_registry_run_pulled(ngx_http_registry_run_t *run)
{
    ngx_queue_t               *q;
    ngx_http_registry_fill_t  *fill;

    for (q = ngx_queue_head(&run->waiters);
         q != ngx_queue_sentinel(&run->waiters);
         q = ngx_queue_next(q))
    {
        fill = ngx_queue_data(q, ngx_http_registry_fill_t, queue);

        if (fill->manifest.pulled) {
            fill->manifest.fresh = 1;
            return 1;
        }
    }

    return 0;
}


/* tells those who wait: nobody can begin to any more */

static void
ngx_http_registry_run_give(ngx_http_registry_run_t *run, ngx_int_t rc,
    ngx_http_registry_fill_e found, ngx_uint_t status,
    ngx_http_registry_call_error_e error)
{
    ngx_queue_t               *q;
    ngx_http_registry_fill_t  *fill;

    ngx_queue_remove(&run->queue);

    while (!ngx_queue_empty(&run->waiters)) {
        q = ngx_queue_head(&run->waiters);

        /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
        ngx_queue_remove(q);

        fill = ngx_queue_data(q, ngx_http_registry_fill_t, queue);

        fill->waiting = 0;
        fill->found = (fill->joined && found == NGX_HTTP_REGISTRY_FILL_MISS)
                          ? NGX_HTTP_REGISTRY_FILL_JOIN : found;
        fill->status = status;
        fill->error = error;
        fill->rc = (rc == NGX_OK)
                       ? ngx_http_registry_run_result(run, fill)
                       : ngx_http_registry_run_str(fill->pool,
                                                   &fill->retry_after,
                                                   &run->retry_after);

        if (rc != NGX_OK) {
            fill->rc = rc;
        }

        if (!fill->starting) {
            fill->handler(fill->data);
        }
    }
}


static ngx_int_t
ngx_http_registry_run_result(ngx_http_registry_run_t *run,
    ngx_http_registry_fill_t *fill)
{
    fill->manifest.digest = run->copy.digest;

    if (ngx_http_registry_run_str(fill->pool, &fill->manifest.media_type,
                                  &run->copy.media_type)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_registry_run_str(fill->pool, &fill->manifest.body,
                                     &run->copy.body);
}


/* into the cache, while those who waited are answered already */

static void
ngx_http_registry_run_keep(ngx_http_registry_run_t *run,
    ngx_http_registry_op_e kind)
{
    ngx_http_registry_op_t  *op;

    op = ngx_http_registry_op_create(run->remote->store, kind,
                                     &run->manifest.name, ngx_cycle->log);
    if (op == NULL) {
        ngx_http_registry_run_free(run);
        return;
    }

    run->op = op;

    op->task.handler = ngx_http_registry_run_kept;
    op->task.data = run;

    if (ngx_http_registry_run_write(run, op) != NGX_OK
        || ngx_http_registry_op_start(op) == NGX_ERROR)
    {
        ngx_http_registry_op_free(op);
        ngx_http_registry_run_free(run);
    }
}


static ngx_int_t
ngx_http_registry_run_write(ngx_http_registry_run_t *run,
    ngx_http_registry_op_t *op)
{
    op->digest = run->copy.digest;
    op->data = run->copy.body.data;
    op->size = run->copy.body.len;

    if (run->typed) {
        (void) ngx_cpystrn((u_char *) op->media_type,
                           run->copy.media_type.data,
                           run->copy.media_type.len + 1);
    }

    if (run->manifest.tag.len == 0) {
        return NGX_OK;
    }

    op->tags = ngx_palloc(op->task.pool, sizeof(char *));
    if (op->tags == NULL) {
        return NGX_ERROR;
    }

    op->ntags = 1;
    op->tags[0] = ngx_http_registry_op_copy(op, &run->manifest.tag);

    return op->tags[0] ? NGX_OK : NGX_ERROR;
}


static void
ngx_http_registry_run_kept(void *data)
{
    ngx_http_registry_run_t *run = data;

    ngx_http_registry_op_t  *op;

    op = run->op;

    if (op->status == NGX_OK
        && op->kind == NGX_HTTP_REGISTRY_OP_MANIFEST_WRITE)
    {
        ngx_http_registry_evict_added(op->store, &op->digest, op->size,
                                      ngx_time());
    }

    /* a purge may have come while it was written: it is undone */

    if (!ngx_http_registry_cache_unpurged(&run->manifest)) {
        ngx_http_registry_run_undo(run,
                               (op->kind == NGX_HTTP_REGISTRY_OP_TAG_WRITE)
                                   ? NGX_HTTP_REGISTRY_OP_TAG_DELETE
                                   : NGX_HTTP_REGISTRY_OP_MANIFEST_DELETE);

    } else if (op->status == NGX_ERROR) {

        /* a full disk is no reason not to serve */

        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, op->err,
                      "%s \"%s\" failed, registry_cache \"%V\", "
                      "repository \"%V\"", op->call, op->path,
                      &run->remote->store->name, &run->manifest.name);
    }

    ngx_http_registry_op_free(op);
    ngx_http_registry_run_free(run);
}


/* the purge did not find it on the disk, hence not in memcached either */

static void
ngx_http_registry_run_undo(ngx_http_registry_run_t *run,
    ngx_http_registry_op_e kind)
{
    ngx_http_registry_run_delete(run, kind);

    ngx_http_registry_fill_unshare(run->remote, &run->manifest);

    run->copy.tag.len = 0;
    ngx_http_registry_fill_unshare(run->remote, &run->copy);
}


static void
ngx_http_registry_run_free(ngx_http_registry_run_t *run)
{
    ngx_destroy_pool(run->pool);
}
