
/*
 * Purging what is kept of remotes: what a DELETE names, or what the events of
 * another registry are about.  One thing is done after the other, each as an
 * operation of the cache; memory forgets before it, so that nobody fills in
 * meanwhile what was, and after it.
 */


#include "ngx_http_registry.h"

#include "registry_event.h"
#include "registry_name.h"


#define NGX_HTTP_REGISTRY_PURGE_FILES  512          /* in one task */
#define NGX_HTTP_REGISTRY_PURGE_HERE   (32 * 1024)  /* more: in a thread */


struct ngx_http_registry_purge_s {
    ngx_http_registry_remote_t  *remote;    /* NULL: the events' hosts say */

    registry_events_t            events;
    registry_event_t             event;     /* of a DELETE */
    size_t                       next;
    ngx_uint_t                   stage;     /* of an event */

    ngx_http_registry_purged_t   purged;
    size_t                       skipped;

    char                         temp[REGISTRY_UPLOAD_ID_LEN + 2];
    u_char                       name[REGISTRY_NAME_MAX];

    unsigned                     posted:1;  /* events of another registry */
    unsigned                     below:1;   /* all below the name, too */
};


typedef struct {
    ngx_http_registry_task_t     task;
    registry_str_t               in;
    registry_events_t            events;
    registry_status_e            status;
} ngx_http_registry_events_t;


/* what goes for one tag and digest */

typedef struct {
    ngx_http_registry_op_e       kind;
    size_t                       count;
} ngx_http_registry_purge_stage_t;


static ngx_int_t ngx_http_registry_purge_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_registry_purge_begin(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_purge_refuse(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_purge_said(ngx_http_registry_ctx_t *ctx,
    ngx_str_t *rest);
static ngx_int_t ngx_http_registry_purge_rest(ngx_http_registry_ctx_t *ctx,
    ngx_str_t *rest);
static ngx_int_t ngx_http_registry_purge_ns(ngx_http_registry_ctx_t *ctx,
    ngx_http_registry_remote_t **remote);
static ngx_int_t ngx_http_registry_purge_unknown(ngx_http_registry_ctx_t *ctx,
    const void *name, size_t len);
static ngx_int_t ngx_http_registry_purge_name(ngx_http_registry_ctx_t *ctx,
    ngx_str_t *rest);
static void ngx_http_registry_purge_split(ngx_http_registry_ctx_t *ctx,
    ngx_str_t *rest);

static ngx_int_t ngx_http_registry_purge_parse(ngx_http_registry_ctx_t *ctx);
static void ngx_http_registry_purge_parse_work(
    ngx_http_registry_task_t *task);
static void ngx_http_registry_purge_parse_release(
    ngx_http_registry_task_t *task);
static ngx_int_t ngx_http_registry_purge_parsed(ngx_http_registry_ctx_t *ctx);
static void ngx_http_registry_purge_cleanup(void *data);
static ngx_http_registry_remote_t *ngx_http_registry_purge_remote(
    ngx_http_registry_ctx_t *ctx, registry_event_t *event);

static ngx_int_t ngx_http_registry_purge_next(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_purge_set(ngx_http_registry_ctx_t *ctx,
    registry_event_t *event);
static ngx_int_t ngx_http_registry_purge_delete(ngx_http_registry_ctx_t *ctx);
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
static ngx_int_t ngx_http_registry_purge_answer(ngx_http_registry_ctx_t *ctx);


static const ngx_http_registry_method_t  ngx_http_registry_purge_method = {
    .operation = ngx_string("purge")
};


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


static ngx_int_t
ngx_http_registry_purge_handler(ngx_http_request_t *r)
{
    return ngx_http_registry_begin(r, ngx_http_registry_purge_begin);
}


ngx_uint_t
ngx_http_registry_purges(ngx_http_request_t *r)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    return clcf->handler == ngx_http_registry_purge_handler;
}


static ngx_int_t
ngx_http_registry_purge_begin(ngx_http_registry_ctx_t *ctx)
{
    ngx_int_t                   rc;
    ngx_str_t                   rest;
    ngx_http_request_t         *r;
    ngx_http_registry_purge_t  *p;

    r = ctx->request;

    ctx->method = &ngx_http_registry_purge_method;

    if (r != r->main || !(r->method & (NGX_HTTP_POST|NGX_HTTP_DELETE))) {
        return ngx_http_registry_purge_refuse(ctx);
    }

    p = ngx_pcalloc(r->pool, sizeof(ngx_http_registry_purge_t));
    if (p == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->purge = p;
    p->posted = (r->method == NGX_HTTP_POST);

    rc = ngx_http_registry_purge_said(ctx, &rest);
    if (rc != NGX_OK) {
        return rc;
    }

    if (!p->posted) {
        return ngx_http_registry_purge_name(ctx, &rest);
    }

    if (rest.len) {
        return ngx_http_registry_purge_unknown(ctx, rest.data, rest.len);
    }

    return ngx_http_registry_keep_body(ctx, REGISTRY_EVENTS_DOCUMENT_MAX,
                                       ngx_http_registry_purge_parse);
}


/* RFC 9110, section 15.5.6: 405 comes with Allow */

static ngx_int_t
ngx_http_registry_purge_refuse(ngx_http_registry_ctx_t *ctx)
{
    static ngx_str_t  allow = ngx_string("POST, DELETE");

    if (ngx_http_registry_add_header(ctx->request, "Allow", &allow)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_registry_fail(ctx, REGISTRY_UNSUPPORTED_OPERATION, NULL);
}


/*
 * Which remote is said: by the directive, "ns", or the first component after
 * the location's prefix, which must not contradict each other.  The rest is
 * what comes after that.
 */

static ngx_int_t
ngx_http_registry_purge_said(ngx_http_registry_ctx_t *ctx, ngx_str_t *rest)
{
    u_char                         *p, *last;
    ngx_int_t                       rc;
    ngx_str_t                       first;
    ngx_http_registry_remote_t     *remote, *ns, *own;
    ngx_http_registry_main_conf_t  *mcf;

    rc = ngx_http_registry_purge_rest(ctx, rest);
    if (rc != NGX_OK) {
        return rc;
    }

    last = rest->data + rest->len;
    p = ngx_strlchr(rest->data, last, '/');

    first.data = rest->data;
    first.len = p ? (size_t) (p - first.data) : rest->len;

    mcf = ngx_http_get_module_main_conf(ctx->request,
                                        ngx_http_registry_module);

    own = ctx->conf->purge->remote;
    remote = ngx_http_registry_find_remote(mcf, &first);

    rc = ngx_http_registry_purge_ns(ctx, &ns);
    if (rc != NGX_OK) {
        return rc;
    }

    if ((own && ns && ns != own) || (own && remote && remote != own)
        || (ns && remote && remote != ns))
    {
        return ngx_http_registry_purge_unknown(ctx, first.data, first.len);
    }

    ctx->purge->remote = own ? own : ns ? ns : remote;

    if (remote) {
        rest->data = p ? p + 1 : last;
        rest->len = last - rest->data;
    }

    return NGX_OK;
}


/* what comes after the prefix: "/purge" is none of "/purged" */

static ngx_int_t
ngx_http_registry_purge_rest(ngx_http_registry_ctx_t *ctx, ngx_str_t *rest)
{
    ngx_str_t  *prefix;

    *rest = ctx->request->uri;
    prefix = &ctx->conf->purge->prefix;

    if (rest->len < prefix->len
        || ngx_strncmp(rest->data, prefix->data, prefix->len) != 0
        || (rest->len > prefix->len && prefix->data[prefix->len - 1] != '/'
            && rest->data[prefix->len] != '/'))
    {
        return ngx_http_registry_purge_unknown(ctx, rest->data, rest->len);
    }

    rest->data += prefix->len;
    rest->len -= prefix->len;

    if (rest->len && rest->data[0] == '/') {
        rest->data++;
        rest->len--;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_purge_ns(ngx_http_registry_ctx_t *ctx,
    ngx_http_registry_remote_t **remote)
{
    char                            buf[REGISTRY_NAME_MAX];
    size_t                          len;
    ngx_str_t                       ns;
    registry_str_t                  query;
    registry_status_e               status;
    ngx_http_registry_main_conf_t  *mcf;

    *remote = NULL;

    query.data = (const char *) ctx->request->args.data;
    query.len = ctx->request->args.len;

    status = registry_query_find(query, "ns", buf, sizeof(buf), &len);

    if (status == REGISTRY_DECLINED) {
        return NGX_OK;
    }

    if (status == REGISTRY_OK) {
        ns.data = (u_char *) buf;
        ns.len = len;

        mcf = ngx_http_get_module_main_conf(ctx->request,
                                            ngx_http_registry_module);

        *remote = ngx_http_registry_find_remote(mcf, &ns);

        if (*remote) {
            return NGX_OK;
        }
    }

    return ngx_http_registry_purge_unknown(ctx, query.data, query.len);
}


static ngx_int_t
ngx_http_registry_purge_unknown(ngx_http_registry_ctx_t *ctx,
    const void *name, size_t len)
{
    ngx_http_registry_detail(ctx, name, len);

    return ngx_http_registry_fail(ctx, REGISTRY_NAME_UNKNOWN,
                                  "nothing is kept here under this name");
}


/* what a DELETE names, as an event */

static ngx_int_t
ngx_http_registry_purge_name(ngx_http_registry_ctx_t *ctx, ngx_str_t *rest)
{
    ngx_int_t                   rc;
    registry_digest_t           digest;
    registry_event_t           *event;
    ngx_http_registry_purge_t  *p;

    p = ctx->purge;
    event = &p->event;

    if (p->remote == NULL) {
        return ngx_http_registry_purge_unknown(ctx, rest->data, rest->len);
    }

    rc = ngx_http_discard_request_body(ctx->request);
    if (rc != NGX_OK) {
        return rc;
    }

    ngx_http_registry_purge_split(ctx, rest);

    ngx_http_registry_detail(ctx, rest->data, rest->len);

    if (rest->len && !registry_name_valid(event->repository)) {
        return ngx_http_registry_fail(ctx, REGISTRY_NAME_INVALID, NULL);
    }

    if (event->tag.data && !registry_tag_valid(event->tag)) {
        return ngx_http_registry_fail(ctx, REGISTRY_MANIFEST_INVALID,
                                      "the tag is not valid");
    }

    if (event->digest.data
        && registry_digest_parse(event->digest, &digest) != REGISTRY_OK)
    {
        return ngx_http_registry_fail(ctx, REGISTRY_DIGEST_INVALID, NULL);
    }

    ctx->ndetails = 0;

    p->events.events = event;
    p->events.n = 1;

    ctx->step = ngx_http_registry_purge_next;

    return NGX_OK;
}


/* "", "REPOSITORY/", "REPOSITORY", "REPOSITORY:TAG", "REPOSITORY@DIGEST" */

static void
ngx_http_registry_purge_split(ngx_http_registry_ctx_t *ctx, ngx_str_t *rest)
{
    u_char            *p, *last;
    registry_event_t  *event;

    event = &ctx->purge->event;
    event->action = REGISTRY_EVENT_DELETE;

    p = rest->data;
    last = rest->data + rest->len;

    if (p == last || last[-1] == '/') {
        ctx->purge->below = 1;
        last -= (p != last);

    } else {
        p = ngx_strlchr(p, last, '@');

        if (p) {
            event->digest.data = (char *) p + 1;
            event->digest.len = last - (p + 1);
            last = p;
        }

        p = ngx_strlchr(rest->data, last, ':');

        if (p) {
            event->tag.data = (char *) p + 1;
            event->tag.len = last - (p + 1);
            last = p;
        }
    }

    event->repository.data = (char *) rest->data;
    event->repository.len = (char *) last - event->repository.data;
}


static ngx_int_t
ngx_http_registry_purge_parse(ngx_http_registry_ctx_t *ctx)
{
    ngx_http_registry_remote_t     **remote;
    ngx_http_registry_events_t      *parse;
    ngx_http_registry_main_conf_t   *mcf;

    mcf = ngx_http_get_module_main_conf(ctx->request,
                                        ngx_http_registry_module);

    if (mcf->remotes.nelts == 0) {
        return ngx_http_registry_purge_unknown(ctx, "", 0);
    }

    parse = ngx_http_registry_task_create(sizeof(ngx_http_registry_events_t),
                                          ctx->request->connection->log);
    if (parse == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->task = &parse->task;

    /* a copy, since the task may outlive the request */

    parse->in.len = ctx->pushed.len;
    parse->in.data = ngx_pnalloc(parse->task.pool, parse->in.len + 1);
    if (parse->in.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_memcpy((char *) parse->in.data, ctx->pushed.data, parse->in.len);

    parse->task.work = ngx_http_registry_purge_parse_work;
    parse->task.release = ngx_http_registry_purge_parse_release;

    /* anybody's threads will do */

    remote = mcf->remotes.elts;
    ctx->store = remote[0]->store;

    return ngx_http_registry_run_task(ctx, parse->in.len
                                           > NGX_HTTP_REGISTRY_PURGE_HERE,
                                      ngx_http_registry_purge_parsed);
}


static void
ngx_http_registry_purge_parse_work(ngx_http_registry_task_t *task)
{
    ngx_http_registry_events_t *parse = (ngx_http_registry_events_t *) task;

    parse->status = registry_events_parse(parse->in, &parse->events);
}


static void
ngx_http_registry_purge_parse_release(ngx_http_registry_task_t *task)
{
    ngx_http_registry_events_t *parse = (ngx_http_registry_events_t *) task;

    registry_events_free(&parse->events);
}


/* all or nothing: no event is carried out if one is of an unknown registry */

static ngx_int_t
ngx_http_registry_purge_parsed(ngx_http_registry_ctx_t *ctx)
{
    size_t                       i;
    registry_event_t            *event;
    registry_status_e            status;
    ngx_pool_cleanup_t          *cln;
    ngx_http_registry_purge_t   *p;
    ngx_http_registry_events_t  *parse;

    p = ctx->purge;

    cln = ngx_pool_cleanup_add(ctx->request->pool, 0);
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln->handler = ngx_http_registry_purge_cleanup;
    cln->data = p;

    parse = (ngx_http_registry_events_t *) ctx->task;

    status = parse->status;
    p->events = parse->events;
    ngx_memzero(&parse->events, sizeof(registry_events_t));

    ngx_http_registry_task_free(ctx->task);
    ctx->task = NULL;

    if (status == REGISTRY_NOMEM) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (status != REGISTRY_OK) {
        return ngx_http_registry_fail_status(ctx,
                                    REGISTRY_UNSUPPORTED_OPERATION,
                                    "these are no events of a registry",
                                    NGX_HTTP_BAD_REQUEST);
    }

    for (i = 0; i < p->events.n; i++) {
        event = &p->events.events[i];

        if (ngx_http_registry_purge_remote(ctx, event) == NULL) {
            return ngx_http_registry_purge_unknown(ctx, event->host.data,
                                                   event->host.len);
        }
    }

    p->skipped = p->events.skipped;

    ctx->step = ngx_http_registry_purge_next;

    return NGX_OK;
}


static void
ngx_http_registry_purge_cleanup(void *data)
{
    ngx_http_registry_purge_t *p = data;

    registry_events_free(&p->events);
}


static ngx_http_registry_remote_t *
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


static ngx_int_t
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

    op = ngx_http_registry_op(ctx, kind);
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

    op = ngx_http_registry_op(ctx, NGX_HTTP_REGISTRY_OP_PURGE);
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


static ngx_int_t
ngx_http_registry_purge_answer(ngx_http_registry_ctx_t *ctx)
{
    u_char                     *last;
    ngx_str_t                   body;
    ngx_http_registry_purge_t  *p;

    static ngx_str_t  type = ngx_string("application/json");

    p = ctx->purge;

    body.data = ngx_pnalloc(ctx->request->pool,
                            sizeof("{\"purged\":{\"tags\":,\"manifests\":,"
                                   "\"blobs\":},\"skipped\":}")
                            + 4 * NGX_INT_T_LEN);
    if (body.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    last = ngx_sprintf(body.data, "{\"purged\":{\"tags\":%ui,"
                       "\"manifests\":%ui,\"blobs\":%ui}", p->purged.tags,
                       p->purged.manifests, p->purged.blobs);

    if (p->posted) {
        last = ngx_sprintf(last, ",\"skipped\":%uz", p->skipped);
    }

    *last++ = '}';
    body.len = last - body.data;

    return ngx_http_registry_send_bytes(ctx, &type, &body);
}


char *
ngx_http_registry_purge(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_registry_loc_conf_t  *rlcf = conf;

    ngx_str_t                       *value;
    ngx_http_core_loc_conf_t        *clcf;
    ngx_http_registry_purge_conf_t  *purge;

    if (rlcf->purge != NGX_CONF_UNSET_PTR) {
        return "is duplicate";
    }

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

#if (NGX_PCRE)
    if (clcf->regex) {
        return "needs a location by prefix";
    }
#endif

    if (clcf->named) {
        return "needs a location by prefix";
    }

    purge = ngx_pcalloc(cf->pool, sizeof(ngx_http_registry_purge_conf_t));
    if (purge == NULL) {
        return NGX_CONF_ERROR;
    }

    purge->prefix = clcf->name;
    purge->file = cf->conf_file->file.name.data;
    purge->line = cf->conf_file->line;

    if (cf->args->nelts == 2) {
        value = cf->args->elts;
        purge->remote_name = value[1];
    }

    rlcf->purge = purge;

    return ngx_http_registry_serve(cf, ngx_http_registry_purge_handler);
}


/* a location is for purges or a registry, whichever was said last */

char *
ngx_http_registry_merge_purge(ngx_conf_t *cf,
    ngx_http_registry_loc_conf_t *prev, ngx_http_registry_loc_conf_t *conf)
{
    ngx_http_core_loc_conf_t        *clcf;
    ngx_http_registry_main_conf_t   *mcf;
    ngx_http_registry_purge_conf_t  *purge;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (conf->purge == NGX_CONF_UNSET_PTR) {

        if (conf->store_name.len || conf->proxy == 1) {
            conf->purge = NULL;
        }

        ngx_conf_merge_ptr_value(conf->purge, prev->purge, NULL);

        if (conf->purge && clcf->handler == NULL) {
            clcf->handler = ngx_http_registry_purge_handler;
        }

        return NGX_CONF_OK;
    }

    purge = conf->purge;
    conf->store = NULL;
    conf->proxy = 0;

    if (clcf->handler != ngx_http_registry_purge_handler) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"registry_purge\" conflicts with another handler of "
                      "this location in %s:%ui", purge->file, purge->line);
        return NGX_CONF_ERROR;
    }

    if (purge->remote_name.len == 0) {
        return NGX_CONF_OK;
    }

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_registry_module);

    purge->remote = ngx_http_registry_find_remote(mcf, &purge->remote_name);

    if (purge->remote == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "unknown registry_remote \"%V\" in %s:%ui",
                      &purge->remote_name, purge->file, purge->line);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}
