
/*
 * A run gets one manifest for all who want it in this worker: from memcached,
 * or from the cache if it is asked for by digest and there; else the remote
 * is asked whether the tag has moved, which costs it little, or for the
 * manifest itself.  What comes is hashed before it is believed.
 */


#include "ngx_http_registry_fill.h"
#include "ngx_http_registry_evict.h"


#define NGX_HTTP_REGISTRY_FILL_HERE  (32 * 1024)    /* more: in a thread */

/* of what has a digest, in memcached: seconds */
#define NGX_HTTP_REGISTRY_FILL_TTL   (7 * 24 * 60 * 60)

#define NGX_HTTP_REGISTRY_FILL_ACCEPT                                         \
    REGISTRY_TYPE_OCI_INDEX ", " REGISTRY_TYPE_OCI_MANIFEST ", "              \
    REGISTRY_TYPE_DOCKER_LIST ", " REGISTRY_TYPE_DOCKER_MANIFEST              \
    ", application/vnd.oci.artifact.manifest.v1+json, */*;q=0.1"


typedef struct {
    ngx_queue_t                     queue;      /* of all that run */
    ngx_queue_t                     waiters;    /* of fill_t */
    ngx_pool_t                     *pool;

    ngx_http_registry_remote_t     *remote;
    ngx_http_registry_manifest_t    manifest;   /* what is wanted */
    ngx_http_registry_manifest_t    copy;       /* body NULL: there is none */
    ngx_str_t                       name;
    ngx_str_t                       via;
    ngx_str_t                       authorization;

    ngx_http_registry_ask_t        *ask;
    ngx_http_registry_op_t         *op;
    ngx_http_registry_task_t       *task;
    ngx_http_registry_memcached_op_t  *mop;

    registry_digest_t               digest;     /* of what is got; len 0: not
                                                   known */
    registry_hash_t                 hash;
    ngx_str_t                       body;       /* of the answer so far */
    size_t                          size;       /* allocated for it */
    ngx_str_t                       content_type;
    ngx_str_t                       retry_after;

    time_t                          since;      /* when the copy was known to
                                                   be true, seconds */
    unsigned                        typed:1;    /* the type is not in it */
    unsigned                        shared:1;   /* memcached had it */
    unsigned                        moved:1;    /* the tag, to run->digest */
} ngx_http_registry_run_t;


/* what the bytes say they are, found out in a thread if they are many */

typedef struct {
    ngx_http_registry_task_t        task;
    registry_str_t                  in;
    char                            type[REGISTRY_MEDIA_TYPE_MAX + 1];
    int                             own;
    registry_status_e               status;
} ngx_http_registry_type_t;


static ngx_http_registry_run_t *ngx_http_registry_run_find(
    ngx_http_registry_fill_t *fill);
static ngx_http_registry_run_t *ngx_http_registry_run_create(
    ngx_http_registry_fill_t *fill, ngx_http_registry_remote_t *remote);
static ngx_int_t ngx_http_registry_run_copy(ngx_http_registry_run_t *run,
    ngx_http_registry_fill_t *fill);
static ngx_int_t ngx_http_registry_run_str(ngx_pool_t *pool, ngx_str_t *to,
    ngx_str_t *from);

static void ngx_http_registry_run_manifest(ngx_http_registry_run_t *run);
static void ngx_http_registry_run_manifest_done(void *data);
static void ngx_http_registry_run_tag(ngx_http_registry_run_t *run);
static void ngx_http_registry_run_tag_done(void *data);
static void ngx_http_registry_run_look(ngx_http_registry_run_t *run);
static ngx_http_registry_memcached_op_t *ngx_http_registry_memcached_for(
    ngx_http_registry_remote_t *remote, ngx_http_registry_manifest_t *m,
    ngx_http_registry_memcached_op_e kind, registry_digest_t *digest);
static void ngx_http_registry_run_share(ngx_http_registry_run_t *run);

static void ngx_http_registry_run_read(ngx_http_registry_run_t *run,
    registry_digest_t *digest);
static void ngx_http_registry_run_read_done(void *data);
static ngx_int_t ngx_http_registry_run_take(ngx_http_registry_run_t *run,
    ngx_http_registry_op_t *op);

static void ngx_http_registry_run_check(ngx_http_registry_run_t *run);
static void ngx_http_registry_run_get(ngx_http_registry_run_t *run);
static ngx_int_t ngx_http_registry_run_ask(ngx_http_registry_run_t *run,
    const char *method, registry_digest_t *digest);
static ngx_int_t ngx_http_registry_run_header(ngx_http_registry_ask_t *ask);
static ngx_int_t ngx_http_registry_run_checked(ngx_http_registry_run_t *run);
static ngx_int_t ngx_http_registry_run_got(ngx_http_registry_run_t *run);
static ngx_int_t ngx_http_registry_run_said(ngx_http_registry_run_t *run,
    registry_digest_t *digest);
static ngx_int_t ngx_http_registry_run_field(ngx_http_registry_run_t *run,
    const char *name, ngx_str_t *to);
static ngx_int_t ngx_http_registry_run_body(ngx_http_registry_ask_t *ask,
    u_char *data, size_t len);
static void ngx_http_registry_run_done(ngx_http_registry_ask_t *ask);
static void ngx_http_registry_run_verify(ngx_http_registry_run_t *run);
static void ngx_http_registry_run_type_work(ngx_http_registry_task_t *task);
static void ngx_http_registry_run_typed(void *data);
static ngx_int_t ngx_http_registry_run_type(ngx_http_registry_run_t *run,
    ngx_http_registry_type_t *type);

static void ngx_http_registry_run_answered(ngx_http_registry_run_t *run,
    ngx_uint_t status);
static void ngx_http_registry_run_failed(ngx_http_registry_run_t *run,
    ngx_uint_t status, ngx_http_registry_call_error_e error,
    const char *reason);
static ngx_uint_t ngx_http_registry_run_stale(ngx_http_registry_run_t *run,
    ngx_uint_t status, ngx_http_registry_call_error_e error);
static void ngx_http_registry_run_absent(ngx_http_registry_run_t *run);
static void ngx_http_registry_run_delete(ngx_http_registry_run_t *run,
    ngx_http_registry_op_e kind);
static void ngx_http_registry_run_found(ngx_http_registry_run_t *run,
    ngx_http_registry_fill_e found);
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
        ngx_queue_insert_tail(&run->waiters, &fill->queue);
    }

    if (running) {
        return NGX_AGAIN;
    }

    fill->starting = 1;

    if (run->manifest.tag.len) {
        ngx_http_registry_run_tag(run);

    } else {
        ngx_http_registry_run_manifest(run);
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


static ngx_int_t
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


/* what memcached has of run->digest */

static void
ngx_http_registry_run_manifest(ngx_http_registry_run_t *run)
{
    ngx_http_registry_memcached_op_t  *op;

    op = ngx_http_registry_memcached_for(run->remote, &run->manifest,
                                  NGX_HTTP_REGISTRY_MEMCACHED_GET_MANIFEST,
                                  &run->digest);
    if (op == NULL) {
        ngx_http_registry_run_read(run, &run->digest);
        return;
    }

    run->mop = op;

    op->digest = run->digest;
    op->handler = ngx_http_registry_run_manifest_done;
    op->data = run;

    if (ngx_http_registry_memcached_start(op) == NGX_OK) {
        ngx_http_registry_run_manifest_done(run);
    }
}


static void
ngx_http_registry_run_manifest_done(void *data)
{
    ngx_http_registry_run_t *run = data;

    ngx_int_t                          rc;
    ngx_str_t                          type;
    ngx_http_registry_memcached_op_t  *op;

    op = run->mop;
    run->mop = NULL;

    rc = op->status;

    if (rc == NGX_OK) {
        type.data = (u_char *) op->media_type;
        type.len = ngx_strlen(op->media_type);

        run->shared = 1;
        run->copy.digest = run->digest;

        if (ngx_http_registry_run_str(run->pool, &run->copy.body, &op->bytes)
            != NGX_OK
            || ngx_http_registry_run_str(run->pool, &run->copy.media_type,
                                         &type)
               != NGX_OK)
        {
            rc = NGX_ERROR;
        }
    }

    ngx_http_registry_memcached_free(op);

    if (rc == NGX_OK) {
        ngx_http_registry_run_found(run, NGX_HTTP_REGISTRY_FILL_HIT);

    } else {
        ngx_http_registry_run_read(run, &run->digest);
    }
}


/* where the tag points as another node has found out, not too long ago */

static void
ngx_http_registry_run_tag(ngx_http_registry_run_t *run)
{
    ngx_http_registry_memcached_op_t  *op;

    op = ngx_http_registry_memcached_for(run->remote, &run->manifest,
                                         NGX_HTTP_REGISTRY_MEMCACHED_GET_TAG,
                                         NULL);
    if (op == NULL) {
        ngx_http_registry_run_look(run);
        return;
    }

    run->mop = op;

    op->handler = ngx_http_registry_run_tag_done;
    op->data = run;

    if (ngx_http_registry_memcached_start(op) == NGX_OK) {
        ngx_http_registry_run_tag_done(run);
    }
}


static void
ngx_http_registry_run_tag_done(void *data)
{
    ngx_http_registry_run_t *run = data;

    time_t                             age;
    ngx_int_t                          rc;
    ngx_http_registry_memcached_op_t  *op;

    op = run->mop;
    run->mop = NULL;

    rc = op->status;

    if (rc == NGX_OK) {
        age = ngx_max(ngx_time() - op->time, 0);

        if ((ngx_msec_t) age * 1000 < run->remote->valid
            && op->time > ngx_http_registry_cache_changed(&run->manifest))
        {
            run->digest = op->digest;
            run->copy.age = age * 1000;

        } else {
            rc = NGX_DECLINED;
        }
    }

    ngx_http_registry_memcached_free(op);

    if (rc == NGX_OK) {
        ngx_http_registry_run_manifest(run);

    } else {
        ngx_http_registry_run_look(run);
    }
}


/* a tag that has to be asked for: with the copy that there is, if any */

static void
ngx_http_registry_run_look(ngx_http_registry_run_t *run)
{
    if (run->copy.body.data) {
        ngx_http_registry_run_check(run);

    } else {
        ngx_http_registry_run_read(run, NULL);
    }
}


/* keys are the same on all nodes; NULL: no memcached, or no memory */

static ngx_http_registry_memcached_op_t *
ngx_http_registry_memcached_for(ngx_http_registry_remote_t *remote,
    ngx_http_registry_manifest_t *m, ngx_http_registry_memcached_op_e kind,
    registry_digest_t *digest)
{
    u_char     buf[REGISTRY_NAME_MAX + 1 + REGISTRY_DIGEST_MAX], *p;
    ngx_str_t  key;

    if (remote->memcached == NULL) {
        return NULL;
    }

    p = ngx_cpymem(buf, m->name.data, m->name.len);
    *p++ = '\0';
    p = digest ? ngx_cpymem(p, digest->text, digest->len)
               : ngx_cpymem(p, m->tag.data, m->tag.len);

    key.data = buf;
    key.len = p - buf;

    return ngx_http_registry_memcached_op(remote->memcached, kind, &key,
                                          ngx_cycle->log);
}


/* for the other nodes; nobody waits for it */

static void
ngx_http_registry_run_share(ngx_http_registry_run_t *run)
{
    ngx_http_registry_memcached_op_t  *op;

    op = ngx_http_registry_memcached_for(run->remote, &run->manifest,
                                  NGX_HTTP_REGISTRY_MEMCACHED_SET_MANIFEST,
                                  &run->copy.digest);
    if (op == NULL) {
        return;
    }

    op->bytes = run->copy.body;
    op->ttl = NGX_HTTP_REGISTRY_FILL_TTL;
    (void) ngx_cpystrn((u_char *) op->media_type, run->copy.media_type.data,
                       run->copy.media_type.len + 1);

    (void) ngx_http_registry_memcached_start(op);
    ngx_http_registry_memcached_free(op);

    if (run->manifest.tag.len == 0) {
        return;
    }

    op = ngx_http_registry_memcached_for(run->remote, &run->manifest,
                                         NGX_HTTP_REGISTRY_MEMCACHED_SET_TAG,
                                         NULL);
    if (op == NULL) {
        return;
    }

    op->digest = run->copy.digest;
    op->time = ngx_time() - run->copy.age / 1000;
    op->ttl = run->remote->valid / 1000 + 1;

    (void) ngx_http_registry_memcached_start(op);
    ngx_http_registry_memcached_free(op);
}


void
ngx_http_registry_fill_forget(ngx_http_registry_remote_t *remote,
    ngx_http_registry_manifest_t *manifest)
{
    ngx_http_registry_cache_forget(manifest);
    ngx_http_registry_fill_unshare(remote, manifest);
}


void
ngx_http_registry_fill_unshare(ngx_http_registry_remote_t *remote,
    ngx_http_registry_manifest_t *manifest)
{
    ngx_http_registry_memcached_op_t  *op;

    op = ngx_http_registry_memcached_for(remote, manifest,
                                         NGX_HTTP_REGISTRY_MEMCACHED_DELETE,
                                         manifest->tag.len ? NULL
                                                      : &manifest->digest);
    if (op) {
        (void) ngx_http_registry_memcached_start(op);
        ngx_http_registry_memcached_free(op);
    }
}


/* from the cache: what has this digest, or else what the tag points at */

static void
ngx_http_registry_run_read(ngx_http_registry_run_t *run,
    registry_digest_t *digest)
{
    ngx_int_t                rc;
    ngx_http_registry_op_t  *op;

    op = ngx_http_registry_op_create(run->remote->store,
                                     NGX_HTTP_REGISTRY_OP_MANIFEST_READ,
                                     &run->manifest.name, ngx_cycle->log);
    if (op == NULL) {
        ngx_http_registry_run_get(run);
        return;
    }

    run->op = op;

    op->task.handler = ngx_http_registry_run_read_done;
    op->task.data = run;

    if (digest) {
        op->digest = *digest;

    } else {
        op->tag = ngx_http_registry_op_copy(op, &run->manifest.tag);
    }

    rc = (digest || op->tag) ? ngx_http_registry_op_start(op) : NGX_ERROR;

    if (rc == NGX_ERROR) {
        ngx_http_registry_op_free(op);
        run->op = NULL;
        ngx_http_registry_run_get(run);
        return;
    }

    if (rc == NGX_OK) {
        ngx_http_registry_run_read_done(run);
    }
}


static void
ngx_http_registry_run_read_done(void *data)
{
    ngx_http_registry_run_t *run = data;

    ngx_int_t                rc;
    ngx_http_registry_op_t  *op;

    op = run->op;
    run->op = NULL;

    rc = op->status;

    if (rc == NGX_OK) {
        rc = ngx_http_registry_run_take(run, op);

    } else if (rc == NGX_ERROR) {

        /* the remote has it all the same */

        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, op->err,
                      "%s \"%s\" failed, registry_cache \"%V\", "
                      "repository \"%V\"", op->call, op->path,
                      &run->remote->store->name, &run->manifest.name);
    }

    ngx_http_registry_op_free(op);

    if (rc != NGX_OK) {
        ngx_http_registry_run_get(run);

    } else if (run->digest.len == 0) {
        ngx_http_registry_run_check(run);

    } else {

        /* by digest, or the tag has moved to one that was here already */

        ngx_http_registry_run_found(run, run->moved
                                         ? NGX_HTTP_REGISTRY_FILL_REVALIDATED
                                         : NGX_HTTP_REGISTRY_FILL_HIT);
    }
}


static ngx_int_t
ngx_http_registry_run_take(ngx_http_registry_run_t *run,
    ngx_http_registry_op_t *op)
{
    ngx_str_t            type;
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pool_cleanup_add(run->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = free;
    cln->data = op->data;

    run->since = op->of.mtime;

    run->copy.digest = op->digest;
    run->copy.body.data = op->data;
    run->copy.body.len = op->size;
    op->data = NULL;

    type.data = (u_char *) op->media_type;
    type.len = ngx_strlen(op->media_type);

    return ngx_http_registry_run_str(run->pool, &run->copy.media_type, &type);
}


/* has the tag moved? */

static void
ngx_http_registry_run_check(ngx_http_registry_run_t *run)
{
    if (ngx_http_registry_run_ask(run, "HEAD", NULL) != NGX_OK) {
        ngx_http_registry_run_failed(run, 0, NGX_HTTP_REGISTRY_CALL_LOCAL,
                                     NULL);
    }
}


static void
ngx_http_registry_run_get(ngx_http_registry_run_t *run)
{
    if (ngx_http_registry_run_ask(run, "GET",
                                  run->digest.len ? &run->digest : NULL)
        != NGX_OK)
    {
        ngx_http_registry_run_failed(run, 0, NGX_HTTP_REGISTRY_CALL_LOCAL,
                                     NULL);
    }
}


static ngx_int_t
ngx_http_registry_run_ask(ngx_http_registry_run_t *run, const char *method,
    registry_digest_t *digest)
{
    u_char                   *p;
    ngx_str_t                 value;
    ngx_http_registry_ask_t  *ask;

    static ngx_str_t  accept = ngx_string(NGX_HTTP_REGISTRY_FILL_ACCEPT);

    ask = ngx_http_registry_ask_create(run->remote);
    if (ask == NULL) {
        return NGX_ERROR;
    }

    ask->method.data = (u_char *) method;
    ask->method.len = ngx_strlen(method);
    ask->name = run->name;
    ask->via = run->via;
    ask->authorization = run->authorization;

    ask->on_header = ngx_http_registry_run_header;
    ask->on_body = ngx_http_registry_run_body;
    ask->on_done = ngx_http_registry_run_done;
    ask->data = run;

    p = ngx_pnalloc(ask->pool, sizeof("/v2//manifests/") + run->name.len
                               + REGISTRY_DIGEST_MAX);
    if (p == NULL
        || ngx_http_registry_ask_header(ask, "Accept", &accept) != NGX_OK)
    {
        goto failed;
    }

    ask->path.data = p;

    if (digest) {
        p = ngx_sprintf(p, "/v2/%V/manifests/%s", &run->name, digest->text);

    } else {
        p = ngx_sprintf(p, "/v2/%V/manifests/%V", &run->name,
                        &run->manifest.tag);
    }

    ask->path.len = p - ask->path.data;

    if (ask->method.len == sizeof("HEAD") - 1) {

        value.data = ngx_pnalloc(ask->pool, run->copy.digest.len + 2);
        if (value.data == NULL) {
            goto failed;
        }

        value.len = ngx_sprintf(value.data, "\"%s\"", run->copy.digest.text)
                    - value.data;

        if (ngx_http_registry_ask_header(ask, "If-None-Match", &value)
            != NGX_OK)
        {
            goto failed;
        }
    }

    if (ngx_http_registry_ask_start(ask) == NGX_ERROR) {
        goto failed;
    }

    run->ask = ask;

    return NGX_OK;

failed:

    ngx_http_registry_ask_free(ask);

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_registry_run_header(ngx_http_registry_ask_t *ask)
{
    ngx_http_registry_run_t *run = ask->data;

    ngx_int_t  rc;

    rc = (ask->method.len == sizeof("HEAD") - 1)
             ? ngx_http_registry_run_checked(run)
             : ngx_http_registry_run_got(run);

    if (rc == NGX_OK) {
        return NGX_OK;
    }

    /* the run goes on without this answer's body, or has ended */

    ngx_http_registry_ask_free(ask);

    return NGX_ERROR;
}


/* the answer to HEAD */

static ngx_int_t
ngx_http_registry_run_checked(ngx_http_registry_run_t *run)
{
    ngx_uint_t         status;
    registry_digest_t  digest;

    status = run->ask->response->status;

    if (status == NGX_HTTP_NOT_MODIFIED) {
        ngx_http_registry_run_found(run, NGX_HTTP_REGISTRY_FILL_REVALIDATED);
        return NGX_DONE;
    }

    if (status == NGX_HTTP_OK
        && ngx_http_registry_run_said(run, &digest) == NGX_OK)
    {
        if (registry_digest_equal(&digest, &run->copy.digest)) {
            ngx_http_registry_run_found(run,
                                        NGX_HTTP_REGISTRY_FILL_REVALIDATED);
            return NGX_DONE;
        }

        run->digest = digest;
        run->moved = 1;
        ngx_http_registry_run_read(run, &run->digest);
        return NGX_DONE;
    }

    /* a registry that knows no HEAD, or does not say the digest */

    if (status == NGX_HTTP_OK || status == NGX_HTTP_BAD_REQUEST
        || status == NGX_HTTP_NOT_ALLOWED
        || status == NGX_HTTP_NOT_IMPLEMENTED)
    {
        ngx_http_registry_run_get(run);
        return NGX_DONE;
    }

    ngx_http_registry_run_answered(run, status);

    return NGX_DONE;
}


static ngx_int_t
ngx_http_registry_run_got(ngx_http_registry_run_t *run)
{
    int64_t            length;
    registry_digest_t  digest;

    if (run->ask->response->status != NGX_HTTP_OK) {
        ngx_http_registry_run_answered(run, run->ask->response->status);
        return NGX_DONE;
    }

    /* by tag: what the remote says it is, if it says so */

    if (run->digest.len == 0
        && ngx_http_registry_run_said(run, &digest) == NGX_OK)
    {
        run->digest = digest;
    }

    if (ngx_http_registry_run_field(run, "content-type", &run->content_type)
        != NGX_OK)
    {
        ngx_http_registry_run_failed(run, 0, NGX_HTTP_REGISTRY_CALL_LOCAL,
                                     NULL);
        return NGX_DONE;
    }

    registry_hash_init(&run->hash, run->digest.len ? run->digest.algorithm
                                                   : REGISTRY_SHA256);

    length = run->ask->response->content_length;

    if (length > REGISTRY_MANIFEST_MAX) {
        ngx_http_registry_run_failed(run, 0, NGX_HTTP_REGISTRY_CALL_PROTOCOL,
                                     "the manifest is too large");
        return NGX_DONE;
    }

    run->size = (length > 0) ? length : NGX_HTTP_REGISTRY_FILL_HERE;
    run->body.len = 0;
    run->body.data = ngx_pnalloc(run->pool, run->size);

    if (run->body.data == NULL) {
        ngx_http_registry_run_failed(run, 0, NGX_HTTP_REGISTRY_CALL_LOCAL,
                                     NULL);
        return NGX_DONE;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_run_said(ngx_http_registry_run_t *run,
    registry_digest_t *digest)
{
    const registry_str_t  *value;

    value = registry_http_field(run->ask->response, "docker-content-digest");

    return (value && registry_digest_parse(*value, digest) == REGISTRY_OK)
           ? NGX_OK : NGX_DECLINED;
}


/* the field's value up to its parameters; empty if there is none */

static ngx_int_t
ngx_http_registry_run_field(ngx_http_registry_run_t *run, const char *name,
    ngx_str_t *to)
{
    u_char                *p;
    ngx_str_t              text;
    const registry_str_t  *value;

    value = registry_http_field(run->ask->response, name);

    if (value == NULL) {
        return NGX_OK;
    }

    text.data = (u_char *) value->data;
    text.len = value->len;

    p = ngx_strlchr(text.data, text.data + text.len, ';');
    if (p) {
        text.len = p - text.data;
    }

    return ngx_http_registry_run_str(run->pool, to, &text);
}


static ngx_int_t
ngx_http_registry_run_body(ngx_http_registry_ask_t *ask, u_char *data,
    size_t len)
{
    ngx_http_registry_run_t *run = ask->data;

    u_char  *p;
    size_t   size;

    if (run->body.len + len > run->size) {
        size = ngx_max(run->size * 2, run->body.len + len);

        p = (run->body.len + len > REGISTRY_MANIFEST_MAX)
                ? NULL : ngx_palloc(run->pool, size);

        if (p == NULL) {
            ngx_http_registry_run_failed(run, 0,
                                         NGX_HTTP_REGISTRY_CALL_PROTOCOL,
                                         "the manifest is too large");
            ngx_http_registry_ask_free(ask);
            return NGX_ERROR;
        }

        ngx_memcpy(p, run->body.data, run->body.len);
        (void) ngx_pfree(run->pool, run->body.data);

        run->body.data = p;
        run->size = size;
    }

    ngx_memcpy(run->body.data + run->body.len, data, len);
    run->body.len += len;

    registry_hash_update(&run->hash, data, len);

    return NGX_OK;
}


static void
ngx_http_registry_run_done(ngx_http_registry_ask_t *ask)
{
    ngx_http_registry_run_t *run = ask->data;

    if (ask->error != NGX_HTTP_REGISTRY_CALL_OK) {
        ngx_http_registry_run_failed(run, 0, ask->error, NULL);

    } else {
        ngx_http_registry_run_verify(run);
    }

    ngx_http_registry_ask_free(ask);
}


/* what cannot be verified is not served */

static void
ngx_http_registry_run_verify(ngx_http_registry_run_t *run)
{
    ngx_int_t                  rc;
    registry_digest_t          digest;
    ngx_http_registry_type_t  *type;

    registry_hash_final(&run->hash, &digest);

    if (run->digest.len && !registry_digest_equal(&digest, &run->digest)) {
        ngx_http_registry_run_failed(run, 0, NGX_HTTP_REGISTRY_CALL_PROTOCOL,
                               "the manifest is not what its digest says");
        return;
    }

    run->digest = digest;

    type = ngx_http_registry_task_create(sizeof(ngx_http_registry_type_t),
                                         ngx_cycle->log);
    if (type == NULL) {
        ngx_http_registry_run_failed(run, 0, NGX_HTTP_REGISTRY_CALL_LOCAL,
                                     NULL);
        return;
    }

    run->task = &type->task;

    type->in.data = (char *) run->body.data;
    type->in.len = run->body.len;
    type->task.work = ngx_http_registry_run_type_work;
    type->task.handler = ngx_http_registry_run_typed;
    type->task.data = run;

    rc = ngx_http_registry_task_run(&type->task,
                           run->body.len > NGX_HTTP_REGISTRY_FILL_HERE
                               ? run->remote->store->tp : NULL);

    if (rc == NGX_OK) {
        ngx_http_registry_run_typed(run);

    } else if (rc == NGX_ERROR) {
        ngx_http_registry_task_free(run->task);
        ngx_http_registry_run_failed(run, 0, NGX_HTTP_REGISTRY_CALL_LOCAL,
                                     NULL);
    }
}


static void
ngx_http_registry_run_type_work(ngx_http_registry_task_t *task)
{
    ngx_http_registry_type_t *type = (ngx_http_registry_type_t *) task;

    type->status = registry_media_type(type->in, type->type, &type->own);
}


static void
ngx_http_registry_run_typed(void *data)
{
    ngx_http_registry_run_t *run = data;

    ngx_int_t                  rc;
    ngx_http_registry_type_t  *type;

    type = (ngx_http_registry_type_t *) run->task;

    rc = ngx_http_registry_run_type(run, type);

    ngx_http_registry_task_free(run->task);
    run->task = NULL;

    if (rc == NGX_DECLINED) {
        ngx_http_registry_run_failed(run, 0, NGX_HTTP_REGISTRY_CALL_PROTOCOL,
                                     "the answer is no manifest");

    } else if (rc == NGX_ERROR) {
        ngx_http_registry_run_failed(run, 0, NGX_HTTP_REGISTRY_CALL_LOCAL,
                                     NULL);

    } else {
        ngx_http_registry_run_found(run, NGX_HTTP_REGISTRY_FILL_MISS);
    }
}


/* "mediaType", or else what it came with, or else what it looks like */

static ngx_int_t
ngx_http_registry_run_type(ngx_http_registry_run_t *run,
    ngx_http_registry_type_t *type)
{
    ngx_str_t  text;

    if (type->status != REGISTRY_OK) {
        return NGX_DECLINED;
    }

    text.data = (u_char *) type->type;
    text.len = ngx_strlen(type->type);

    if (!type->own && run->content_type.len
        && run->content_type.len <= REGISTRY_MEDIA_TYPE_MAX)
    {
        text = run->content_type;
        run->typed = 1;
    }

    run->copy.digest = run->digest;
    run->copy.body = run->body;

    return ngx_http_registry_run_str(run->pool, &run->copy.media_type, &text);
}


/* the remote's answer is not the manifest */

static void
ngx_http_registry_run_answered(ngx_http_registry_run_t *run,
    ngx_uint_t status)
{
    (void) ngx_http_registry_run_field(run, "retry-after",
                                       &run->retry_after);

    if (status == NGX_HTTP_NOT_FOUND) {
        ngx_http_registry_run_absent(run);
    }

    ngx_http_registry_run_failed(run, status, NGX_HTTP_REGISTRY_CALL_OK,
                                 NULL);
}


/* a tag that is gone there is gone here, whatever happens to the remote */

static void
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


static void
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


static void
ngx_http_registry_run_found(ngx_http_registry_run_t *run,
    ngx_http_registry_fill_e found)
{
    run->copy.generation = run->manifest.generation;

    if (found != NGX_HTTP_REGISTRY_FILL_STALE) {
        ngx_http_registry_cache_fill(&run->copy);
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

    } else if (found == NGX_HTTP_REGISTRY_FILL_REVALIDATED) {
        ngx_http_registry_run_keep(run, NGX_HTTP_REGISTRY_OP_TAG_WRITE);

    } else {
        ngx_http_registry_run_free(run);
    }
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
        ngx_queue_remove(q);

        fill = ngx_queue_data(q, ngx_http_registry_fill_t, queue);

        fill->waiting = 0;
        fill->found = found;
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
        ngx_http_registry_evict_added(op->store, &op->digest, op->size);
    }

    /* a full disk is no reason not to serve */

    if (op->status == NGX_ERROR) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, op->err,
                      "%s \"%s\" failed, registry_cache \"%V\", "
                      "repository \"%V\"", op->call, op->path,
                      &run->remote->store->name, &run->manifest.name);

    } else if (!ngx_http_registry_cache_unpurged(&run->manifest)) {

        /* a purge may have come while it was written: it is undone */

        ngx_http_registry_run_delete(run,
                               (op->kind == NGX_HTTP_REGISTRY_OP_TAG_WRITE)
                                   ? NGX_HTTP_REGISTRY_OP_TAG_DELETE
                                   : NGX_HTTP_REGISTRY_OP_MANIFEST_DELETE);
    }

    ngx_http_registry_op_free(op);
    ngx_http_registry_run_free(run);
}


static void
ngx_http_registry_run_free(ngx_http_registry_run_t *run)
{
    ngx_destroy_pool(run->pool);
}
