
/*
 * Purging what is kept of remotes: the directive, what a request names, and
 * the answer.  What is to go are events, those of a document (purge_events.c)
 * or one made of what a DELETE names; purge_run.c carries them out.
 */


#include "ngx_http_registry_purge.h"

#include "registry_name.h"


static ngx_int_t ngx_http_registry_purge_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_registry_purge_begin(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_purge_refuse(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_purge_said(ngx_http_registry_ctx_t *ctx,
    ngx_str_t *rest);
static ngx_int_t ngx_http_registry_purge_rest(ngx_http_registry_ctx_t *ctx,
    ngx_str_t *rest);
static ngx_int_t ngx_http_registry_purge_ns(ngx_http_registry_ctx_t *ctx,
    ngx_http_registry_remote_t **remote);
static ngx_int_t ngx_http_registry_purge_name(ngx_http_registry_ctx_t *ctx,
    ngx_str_t *rest);
static void ngx_http_registry_purge_split(ngx_http_registry_ctx_t *ctx,
    ngx_str_t *rest);


static const ngx_http_registry_method_t  ngx_http_registry_purge_method = {
    .operation = ngx_string("purge")
};


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


ngx_int_t
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


ngx_int_t
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
