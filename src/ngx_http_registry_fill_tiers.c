
/*
 * What is nearer than the remote: the cache on the disk, and memcached.  What
 * has a digest is the same in both, and the disk is nearer; where a tag points
 * memcached knows better, if another node has asked the remote since.
 */


#include "ngx_http_registry_fill_run.h"


/* of what has a digest, in memcached: seconds */
#define NGX_HTTP_REGISTRY_FILL_TTL   (7 * 24 * 60 * 60)


static void ngx_http_registry_run_tag_done(void *data);
static void ngx_http_registry_run_look(ngx_http_registry_run_t *run);
static void ngx_http_registry_run_read_done(void *data);
static ngx_int_t ngx_http_registry_run_take(ngx_http_registry_run_t *run,
    ngx_http_registry_op_t *op);
static void ngx_http_registry_run_here(ngx_http_registry_run_t *run);
static void ngx_http_registry_run_next(ngx_http_registry_run_t *run);
static void ngx_http_registry_run_manifest_done(void *data);
static ngx_int_t ngx_http_registry_run_take_shared(
    ngx_http_registry_run_t *run, ngx_http_registry_memcached_op_t *op);
static void ngx_http_registry_run_memcached(ngx_http_registry_run_t *run,
    ngx_http_registry_memcached_op_e kind, registry_digest_t *digest,
    void (*handler)(void *data));
static ngx_http_registry_memcached_op_t *ngx_http_registry_memcached_for(
    ngx_http_registry_remote_t *remote, ngx_http_registry_manifest_t *m,
    ngx_http_registry_memcached_op_e kind, registry_digest_t *digest);


/* where the tag points as another node has found out, not too long ago */

void
ngx_http_registry_run_tag(ngx_http_registry_run_t *run)
{
    ngx_http_registry_run_memcached(run, NGX_HTTP_REGISTRY_MEMCACHED_GET_TAG,
                                    NULL, ngx_http_registry_run_tag_done);
}


static void
ngx_http_registry_run_tag_done(void *data)
{
    ngx_http_registry_run_t *run = data;

    time_t                             age;
    ngx_http_registry_memcached_op_t  *op;

    op = run->mop;
    run->mop = NULL;

    if (op && op->status == NGX_OK) {
        age = ngx_max(ngx_time() - op->time, 0);

        if ((ngx_msec_t) age * 1000 < run->remote->valid
            && op->time > ngx_http_registry_cache_changed(&run->manifest))
        {
            run->digest = op->digest;
            run->copy.age = age * 1000;
            run->told = 1;
        }
    }

    if (op) {
        ngx_http_registry_memcached_free(op);
    }

    if (run->told) {
        ngx_http_registry_run_read(run, &run->digest);

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


/* from the cache: what has this digest, or else what the tag points at */

void
ngx_http_registry_run_read(ngx_http_registry_run_t *run,
    registry_digest_t *digest)
{
    ngx_int_t                rc;
    ngx_http_registry_op_t  *op;

    op = ngx_http_registry_op_create(run->remote->store,
                                     NGX_HTTP_REGISTRY_OP_MANIFEST_READ,
                                     &run->manifest.name, ngx_cycle->log);
    if (op == NULL) {
        ngx_http_registry_run_next(run);
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
        ngx_http_registry_run_next(run);
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

        /* others have it all the same */

        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, op->err,
                      "%s \"%s\" failed, registry_cache \"%V\", "
                      "repository \"%V\"", op->call, op->path,
                      &run->remote->store->name, &run->manifest.name);
    }

    ngx_http_registry_op_free(op);

    if (rc != NGX_OK) {
        ngx_http_registry_run_next(run);

    } else if (run->digest.len == 0) {
        ngx_http_registry_run_check(run);

    } else {
        ngx_http_registry_run_here(run);
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


/* by digest, or the tag has moved to one that was here already */

static void
ngx_http_registry_run_here(ngx_http_registry_run_t *run)
{
    ngx_http_registry_run_found(run, run->moved
                                         ? NGX_HTTP_REGISTRY_FILL_REVALIDATED
                                         : NGX_HTTP_REGISTRY_FILL_HIT);
}


/* the disk does not have it */

static void
ngx_http_registry_run_next(ngx_http_registry_run_t *run)
{
    if (run->digest.len == 0) {
        ngx_http_registry_run_get(run);
        return;
    }

    ngx_http_registry_run_memcached(run,
                                   NGX_HTTP_REGISTRY_MEMCACHED_GET_MANIFEST,
                                   &run->digest,
                                   ngx_http_registry_run_manifest_done);
}


static void
ngx_http_registry_run_manifest_done(void *data)
{
    ngx_http_registry_run_t *run = data;

    ngx_int_t                          rc;
    ngx_http_registry_memcached_op_t  *op;

    op = run->mop;
    run->mop = NULL;

    if (op == NULL) {
        ngx_http_registry_run_get(run);
        return;
    }

    rc = op->status;

    if (rc == NGX_OK) {
        rc = ngx_http_registry_run_take_shared(run, op);
    }

    ngx_http_registry_memcached_free(op);

    if (rc == NGX_OK) {
        ngx_http_registry_run_here(run);

    } else {
        ngx_http_registry_run_get(run);
    }
}


static ngx_int_t
ngx_http_registry_run_take_shared(ngx_http_registry_run_t *run,
    ngx_http_registry_memcached_op_t *op)
{
    ngx_str_t  body, type;

    type.data = (u_char *) op->media_type;
    type.len = ngx_strlen(op->media_type);

    if (ngx_http_registry_run_str(run->pool, &body, &op->bytes) != NGX_OK
        || ngx_http_registry_run_str(run->pool, &type, &type) != NGX_OK)
    {
        return NGX_ERROR;
    }

    run->shared = 1;
    run->copy.digest = run->digest;
    run->copy.body = body;
    run->copy.media_type = type;

    return NGX_OK;
}


/*
 * Starts what is run->mop then.  The handler is called in any case, perhaps
 * from within; without memcached, or memory, there is no run->mop.
 */

static void
ngx_http_registry_run_memcached(ngx_http_registry_run_t *run,
    ngx_http_registry_memcached_op_e kind, registry_digest_t *digest,
    void (*handler)(void *data))
{
    run->mop = ngx_http_registry_memcached_for(run->remote, &run->manifest,
                                               kind, digest);
    if (run->mop) {
        run->mop->handler = handler;
        run->mop->data = run;

        if (ngx_http_registry_memcached_start(run->mop) == NGX_AGAIN) {
            return;
        }
    }

    handler(run);
}


/* keys are the same on all nodes; NULL: no memcached, or no memory */

static ngx_http_registry_memcached_op_t *
ngx_http_registry_memcached_for(ngx_http_registry_remote_t *remote,
    ngx_http_registry_manifest_t *m, ngx_http_registry_memcached_op_e kind,
    registry_digest_t *digest)
{
    u_char                            *p;
    u_char                             buf[REGISTRY_NAME_MAX + 1
                                           + REGISTRY_DIGEST_MAX];
    ngx_str_t                          key;
    ngx_http_registry_memcached_op_t  *op;

    if (remote->memcached == NULL) {
        return NULL;
    }

    p = ngx_cpymem(buf, m->name.data, m->name.len);
    *p++ = '\0';
    p = digest ? ngx_cpymem(p, digest->text, digest->len)
               : ngx_cpymem(p, m->tag.data, m->tag.len);

    key.data = buf;
    key.len = p - buf;

    op = ngx_http_registry_memcached_op(remote->memcached, kind, &key,
                                        ngx_cycle->log);
    if (op && digest) {
        op->digest = *digest;
    }

    return op;
}


/* for the other nodes; nobody waits for it */

void
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
