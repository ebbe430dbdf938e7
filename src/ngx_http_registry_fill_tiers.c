
/*
 * What is nearer than the remote: memcached, and the cache on the disk.
 */


#include "ngx_http_registry_fill_run.h"


/* of what has a digest, in memcached: seconds */
#define NGX_HTTP_REGISTRY_FILL_TTL   (7 * 24 * 60 * 60)


static void ngx_http_registry_run_manifest_done(void *data);
static void ngx_http_registry_run_tag_done(void *data);
static void ngx_http_registry_run_look(ngx_http_registry_run_t *run);
static ngx_http_registry_memcached_op_t *ngx_http_registry_memcached_for(
    ngx_http_registry_remote_t *remote, ngx_http_registry_manifest_t *m,
    ngx_http_registry_memcached_op_e kind, registry_digest_t *digest);
static void ngx_http_registry_run_read_done(void *data);
static ngx_int_t ngx_http_registry_run_take(ngx_http_registry_run_t *run,
    ngx_http_registry_op_t *op);


/* what memcached has of run->digest */

void
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

void
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
