
/*
 * Carrying out a purge: one event after the other, each thing that is to go
 * as an operation of the cache.  Memory forgets before it, so that nobody
 * fills in meanwhile what was, and after it.
 */


#include "ngx_http_registry_purge.h"


#define NGX_HTTP_REGISTRY_PURGE_FILES  512          /* in one task */


/* what goes for one tag and digest */

typedef struct {
    ngx_http_registry_op_e       kind;
    size_t                       count;
} ngx_http_registry_purge_stage_t;


static ngx_int_t ngx_http_registry_purge_set(ngx_http_registry_ctx_t *ctx,
    registry_event_t *event);
static ngx_int_t ngx_http_registry_purge_delete(ngx_http_registry_ctx_t *ctx);
static ngx_http_registry_op_t *ngx_http_registry_purge_op(
    ngx_http_registry_ctx_t *ctx, ngx_http_registry_op_e kind);
static ngx_int_t ngx_http_registry_purge_deleted(
    ngx_http_registry_ctx_t *ctx);
static void ngx_http_registry_purge_forget(ngx_http_registry_ctx_t *ctx,
    ngx_str_t *tag);
static ngx_int_t ngx_http_registry_purge_all(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_purge_hidden(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_purge_remove(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_purge_removed(
    ngx_http_registry_ctx_t *ctx);
static void ngx_http_registry_purge_unshare(ngx_http_registry_ctx_t *ctx);


static const ngx_http_registry_purge_stage_t  ngx_http_registry_stages[] = {

    { NGX_HTTP_REGISTRY_OP_TAG_DELETE,
      offsetof(ngx_http_registry_purged_t, tags) },

    { NGX_HTTP_REGISTRY_OP_MANIFEST_DELETE,
      offsetof(ngx_http_registry_purged_t, manifests) },

    { NGX_HTTP_REGISTRY_OP_BLOB_DELETE,
      offsetof(ngx_http_registry_purged_t, blobs) }
};

#define NGX_HTTP_REGISTRY_STAGES                                              \
    (sizeof(ngx_http_registry_stages) / sizeof(ngx_http_registry_stages[0]))


ngx_http_registry_remote_t *
ngx_http_registry_purge_remote(ngx_http_registry_ctx_t *ctx,
    registry_event_t *event)
{
    ngx_str_t                       host;
    ngx_http_registry_main_conf_t  *mcf;

    if (ctx->purge->remote) {
        return ctx->purge->remote;
    }

    mcf = ngx_http_get_module_main_conf(ctx->request,
                                        ngx_http_registry_module);

    host.data = (u_char *) event->host.data;
    host.len = event->host.len;

    return ngx_http_registry_find_remote(mcf, &host);
}


ngx_int_t
ngx_http_registry_purge_next(ngx_http_registry_ctx_t *ctx)
{
    registry_event_t           *event;
    ngx_http_registry_purge_t  *p;

    p = ctx->purge;

    if (p->next == p->events.n) {
        return ngx_http_registry_purge_answer(ctx);
    }

    event = &p->events.events[p->next++];

    if (ngx_http_registry_purge_set(ctx, event) != NGX_OK) {
        p->skipped++;
        return NGX_OK;
    }

    if (ctx->reference.len == 0 && ctx->digest.len == 0) {
        return ngx_http_registry_purge_all(ctx);
    }

    if (event->action == REGISTRY_EVENT_DELETE) {
        p->stage = 0;
        ctx->step = ngx_http_registry_purge_delete;
        return NGX_OK;
    }

    /*
     * The copy stays, for the case that the remote does not answer: it is
     * asked first.
     */

    if (ctx->reference.len) {
        ngx_http_registry_manifest_key(ctx, &ctx->reference);
        ngx_http_registry_fill_forget(ctx->remote, &ctx->manifest);
        p->purged.tags++;
    }

    if (ctx->digest.len) {
        ngx_http_registry_manifest_key(ctx, NULL);
        ngx_http_registry_fill_forget(ctx->remote, &ctx->manifest);
    }

    return NGX_OK;
}


/* NGX_DECLINED if the name is too long, and so nothing of it is kept */

static ngx_int_t
ngx_http_registry_purge_set(ngx_http_registry_ctx_t *ctx,
    registry_event_t *event)
{
    u_char                      *last;
    ngx_str_t                    name, library;
    ngx_http_registry_purge_t   *p;
    ngx_http_registry_remote_t  *remote;

    p = ctx->purge;
    remote = ngx_http_registry_purge_remote(ctx, event);

    name.data = (u_char *) event->repository.data;
    name.len = event->repository.len;

    ngx_str_null(&library);

    if (remote->library && name.len && !p->below
        && ngx_strlchr(name.data, name.data + name.len, '/') == NULL)
    {
        ngx_str_set(&library, "library/");
    }

    if (remote->dir.len + 1 + library.len + name.len > REGISTRY_NAME_MAX) {
        return NGX_DECLINED;
    }

    last = ngx_sprintf(p->name, "%V%s%V%V", &remote->dir, name.len ? "/" : "",
                       &library, &name);

    ctx->remote = remote;
    ctx->store = remote->store;
    ctx->name.data = p->name;
    ctx->name.len = last - p->name;
    ctx->reference.data = (u_char *) event->tag.data;
    ctx->reference.len = event->tag.len;

    if (registry_digest_parse(event->digest, &ctx->digest) != REGISTRY_OK) {
        ctx->digest.len = 0;
    }

    return NGX_OK;
}


/* the next stage: the tag, what has the digest as a manifest, as a blob */

static ngx_int_t
ngx_http_registry_purge_delete(ngx_http_registry_ctx_t *ctx)
{
    ngx_http_registry_op_t     *op;
    ngx_http_registry_purge_t  *p;
    ngx_http_registry_op_e      kind;

    p = ctx->purge;

    if (p->stage == 0 && ctx->reference.len == 0) {
        p->stage++;
    }

    if (p->stage == NGX_HTTP_REGISTRY_STAGES
        || (p->stage && ctx->digest.len == 0))
    {
        ctx->step = ngx_http_registry_purge_next;
        return NGX_OK;
    }

    kind = ngx_http_registry_stages[p->stage].kind;

    op = ngx_http_registry_purge_op(ctx, kind);
    if (op == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (p->stage == 0) {
        op->tag = ngx_http_registry_op_copy(op, &ctx->reference);
        if (op->tag == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    /* who names a blob's digest may want to be rid of its very bytes */

    op->all = !p->posted;

    ngx_http_registry_purge_forget(ctx, p->stage ? NULL : &ctx->reference);

    return ngx_http_registry_run_op(ctx, ngx_http_registry_purge_deleted);
}


/* also on what waits to be adopted, in one namespace without its name */

static ngx_http_registry_op_t *
ngx_http_registry_purge_op(ngx_http_registry_ctx_t *ctx,
    ngx_http_registry_op_e kind)
{
    size_t                      len;
    ngx_str_t                   name, *dir;
    ngx_http_registry_op_t     *op;
    ngx_http_registry_adopt_t  *adopt;

    op = ngx_http_registry_op(ctx, kind);
    adopt = ctx->store->evict->adopt;

    if (op == NULL || adopt == NULL) {
        return op;
    }

    name = ctx->name;
    dir = &ctx->remote->dir;

    if (adopt->dir.len == dir->len
        && ngx_memcmp(adopt->dir.data, dir->data, dir->len) == 0)
    {
        len = ngx_min(dir->len + 1, name.len);
        name.data += len;
        name.len -= len;
    }

    op->waiting = ngx_http_registry_op_copy(op, &name);

    return op->waiting ? op : NULL;
}


static ngx_int_t
ngx_http_registry_purge_deleted(ngx_http_registry_ctx_t *ctx)
{
    char                       *text;
    ngx_str_t                   tag;
    ngx_uint_t                  i, *n;
    ngx_http_registry_op_t     *op;
    ngx_http_registry_purge_t  *p;

    p = ctx->purge;
    op = ctx->op;

    ngx_http_registry_purge_forget(ctx, p->stage ? NULL : &ctx->reference);

    /* the tags that went with a manifest */

    text = op->list.start;

    for (i = 0; i < op->list.n; i++) {
        tag.data = (u_char *) text;
        tag.len = ngx_strlen(text);
        text += tag.len + 1;

        ngx_http_registry_purge_forget(ctx, &tag);
        p->purged.tags++;
    }

    if (op->status == NGX_ERROR) {
        return ngx_http_registry_op_result(ctx, REGISTRY_NAME_UNKNOWN);
    }

    if (op->kind == NGX_HTTP_REGISTRY_OP_BLOB_DELETE && op->all) {
        ngx_http_registry_evict_removed(ctx->store, &ctx->digest);
    }

    if (op->status == NGX_OK) {
        n = (ngx_uint_t *) ((u_char *) &p->purged
                            + ngx_http_registry_stages[p->stage].count);
        (*n)++;
    }

    ngx_http_registry_end_op(ctx);

    p->stage++;
    ctx->step = ngx_http_registry_purge_delete;

    return NGX_OK;
}


/* the tag, or if NULL what has the digest: memory, of other nodes too */

static void
ngx_http_registry_purge_forget(ngx_http_registry_ctx_t *ctx, ngx_str_t *tag)
{
    ngx_http_registry_manifest_key(ctx, tag);
    ngx_http_registry_cache_purge(&ctx->manifest);
    ngx_http_registry_fill_unshare(ctx->remote, &ctx->manifest);

    if (tag == NULL) {
        ngx_http_registry_cache_unlink(ngx_http_registry_zone(ctx->request),
                                       ctx->store, &ctx->name, &ctx->digest);
    }
}


/* a repository, or all below a name */

static ngx_int_t
ngx_http_registry_purge_all(ngx_http_registry_ctx_t *ctx)
{
    ngx_http_registry_op_t     *op;
    ngx_http_registry_purge_t  *p;

    p = ctx->purge;

    op = ngx_http_registry_purge_op(ctx, NGX_HTTP_REGISTRY_OP_PURGE);
    if (op == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    op->all = p->below;

    ngx_http_registry_cache_purge_all(ngx_http_registry_zone(ctx->request),
                                      &ctx->name, p->below);

    return ngx_http_registry_run_op(ctx, ngx_http_registry_purge_hidden);
}


static ngx_int_t
ngx_http_registry_purge_hidden(ngx_http_registry_ctx_t *ctx)
{
    ngx_http_registry_purge_t  *p;

    p = ctx->purge;

    ngx_http_registry_cache_purge_all(ngx_http_registry_zone(ctx->request),
                                      &ctx->name, p->below);

    switch (ctx->op->status) {

    case NGX_OK:
        ngx_memcpy(p->temp, ctx->op->temp, sizeof(p->temp));
        ctx->step = ngx_http_registry_purge_remove;
        break;

    case NGX_DECLINED:
        ctx->step = ngx_http_registry_purge_next;
        break;

    default:
        return ngx_http_registry_op_result(ctx, REGISTRY_NAME_UNKNOWN);
    }

    ngx_http_registry_end_op(ctx);

    return NGX_OK;
}


/* it is gone already: this gives its space back, and counts */

static ngx_int_t
ngx_http_registry_purge_remove(ngx_http_registry_ctx_t *ctx)
{
    ngx_http_registry_op_t  *op;

    op = ngx_http_registry_op(ctx, NGX_HTTP_REGISTRY_OP_PURGE_REMOVE);
    if (op == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_memcpy(op->temp, ctx->purge->temp, sizeof(op->temp));
    op->limit = NGX_HTTP_REGISTRY_PURGE_FILES;

    return ngx_http_registry_run_op(ctx, ngx_http_registry_purge_removed);
}


static ngx_int_t
ngx_http_registry_purge_removed(ngx_http_registry_ctx_t *ctx)
{
    ngx_http_registry_op_t     *op;
    ngx_http_registry_purge_t  *p;

    p = ctx->purge;
    op = ctx->op;

    if (op->status == NGX_ERROR) {
        return ngx_http_registry_op_result(ctx, REGISTRY_NAME_UNKNOWN);
    }

    p->purged.tags += op->purged.tags;
    p->purged.manifests += op->purged.manifests;
    p->purged.blobs += op->purged.blobs;

    ngx_http_registry_purge_unshare(ctx);

    ctx->step = (op->status == NGX_OK) ? ngx_http_registry_purge_remove
                                       : ngx_http_registry_purge_next;

    ngx_http_registry_end_op(ctx);

    return NGX_OK;
}


/*
 * In memcached a manifest has no time by which it could be told from one of
 * after the purge.
 */

static void
ngx_http_registry_purge_unshare(ngx_http_registry_ctx_t *ctx)
{
    char                          *text;
    u_char                        *p;
    ngx_uint_t                     i;
    registry_str_t                 digest;
    ngx_http_registry_manifest_t  *m;

    if (ctx->remote->memcached == NULL) {
        return;
    }

    m = &ctx->manifest;
    ngx_http_registry_manifest_key(ctx, NULL);

    text = ctx->op->list.start;

    for (i = 0; i < ctx->op->list.n; i++) {

        /* "NAME@DIGEST" */

        m->name.data = (u_char *) text;
        text += ngx_strlen(text) + 1;

        p = (u_char *) ngx_strchr(m->name.data, '@');
        if (p == NULL) {
            continue;
        }

        m->name.len = p - m->name.data;

        digest.data = (char *) p + 1;
        digest.len = text - 1 - digest.data;

        if (registry_digest_parse(digest, &m->digest) == REGISTRY_OK) {
            ngx_http_registry_fill_unshare(ctx->remote, m);
        }
    }
}
