
/*
 * Pushing to a remote through this edge: requests go on to it as they come.
 * Where its Location leads next stands, signed, in the one that the client
 * gets, with the peer that has the session.
 */


#include "ngx_http_registry.h"

#include "registry_relay.h"

#include <openssl/rand.h>


#define NGX_HTTP_REGISTRY_SESSION  "_session"


static ngx_int_t ngx_http_registry_push_tagged(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_push_mount(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_push_probe(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_push_probed(ngx_http_registry_ask_t *ask);
static void ngx_http_registry_push_not_probed(ngx_http_registry_ask_t *ask);
static ngx_int_t ngx_http_registry_push_send(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_push_path(ngx_http_registry_ctx_t *ctx,
    ngx_str_t *path, ngx_str_t *pin);
static ngx_int_t ngx_http_registry_push_session(ngx_http_registry_ctx_t *ctx,
    ngx_str_t *path, ngx_str_t *pin);
static ngx_int_t ngx_http_registry_push_args(ngx_http_registry_ctx_t *ctx,
    ngx_str_t *path);
static ngx_int_t ngx_http_registry_push_sink(ngx_http_registry_ctx_t *ctx,
    u_char *data, size_t len);
static ngx_int_t ngx_http_registry_push_sent(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_push_wait(ngx_http_registry_ctx_t *ctx);
static void ngx_http_registry_push_room(ngx_http_registry_ask_t *ask);
static ngx_int_t ngx_http_registry_push_answer(ngx_http_registry_ctx_t *ctx);
static ngx_uint_t ngx_http_registry_push_unmounted(
    ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_push_refused(ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_push_location(
    ngx_http_registry_ctx_t *ctx);
static ngx_int_t ngx_http_registry_push_created(ngx_http_registry_ctx_t *ctx);
static ngx_uint_t ngx_http_registry_push_own(ngx_http_registry_ctx_t *ctx,
    registry_url_t *url);
static ngx_int_t ngx_http_registry_push_upload(ngx_http_registry_ctx_t *ctx,
    registry_url_t *url);
static void ngx_http_registry_push_forget(void *data);


/* made in the master: the same in all workers, also after a reload */

static u_char      ngx_http_registry_push_key[REGISTRY_RELAY_KEY];
static ngx_uint_t  ngx_http_registry_push_keyed;


ngx_int_t
ngx_http_registry_push_init(ngx_conf_t *cf)
{
    if (ngx_http_registry_push_keyed) {
        return NGX_OK;
    }

    if (RAND_bytes(ngx_http_registry_push_key, REGISTRY_RELAY_KEY) != 1) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0, "RAND_bytes() failed");
        return NGX_ERROR;
    }

    ngx_http_registry_push_keyed = 1;

    return NGX_OK;
}


/*
 * A body can be sent once only: what the remote asks for has to be known
 * before, not by a 401 in its middle.  With "auth client" it is the client's
 * to know, and nobody is asked whether it may push: the push itself is.
 */

ngx_int_t
ngx_http_registry_proxy_push(ngx_http_registry_ctx_t *ctx)
{
    ngx_int_t  rc;

    if (!ngx_http_registry_passable(ctx->request)) {
        return NGX_HTTP_BAD_REQUEST;
    }

    switch (ctx->route.endpoint) {

    case REGISTRY_ENDPOINT_UPLOADS:
        rc = ngx_http_registry_push_mount(ctx);
        break;

    case REGISTRY_ENDPOINT_MANIFEST:
        rc = ngx_http_registry_push_tagged(ctx);
        break;

    default:
        rc = NGX_OK;
    }

    if (rc != NGX_OK) {
        return rc;
    }

    ctx->step = ngx_http_registry_push_send;

    if (ctx->remote->auth == NGX_HTTP_REGISTRY_AUTH_CLIENT
        || ngx_http_registry_remote_known(ctx->remote))
    {
        return NGX_OK;
    }

    return ngx_http_registry_push_probe(ctx);
}


/* what is here is not true any more, unless the remote says that it is */

static ngx_int_t
ngx_http_registry_push_tagged(ngx_http_registry_ctx_t *ctx)
{
    ngx_int_t            rc;
    ngx_http_cleanup_t  *cln;

    rc = ngx_http_registry_push_tags(ctx);
    if (rc != NGX_OK) {
        return rc;
    }

    cln = ngx_http_cleanup_add(ctx->request, 0);
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln->handler = ngx_http_registry_push_forget;
    cln->data = ctx;

    return NGX_OK;
}


/*
 * Not with bytes at hand: if the mount is refused they are gone, and an upload
 * is what every client makes of a mount that is not granted.
 */

static ngx_int_t
ngx_http_registry_push_mount(ngx_http_registry_ctx_t *ctx)
{
    ngx_int_t            rc;
    ngx_str_t            from, value;
    ngx_http_request_t  *r;

    r = ctx->request;

    rc = ngx_http_registry_mount_remote(ctx, &from);

    if (rc == NGX_OK && !r->headers_in.chunked
        && r->headers_in.content_length_n <= 0
        && ngx_http_arg(r, (u_char *) "digest", 6, &value) != NGX_OK)
    {
        ctx->mount = from;
    }

    return (rc == NGX_DECLINED) ? NGX_OK : rc;
}


static ngx_int_t
ngx_http_registry_push_probe(ngx_http_registry_ctx_t *ctx)
{
    ngx_http_registry_ask_t  *ask;

    static ngx_str_t  get = ngx_string("GET");

    ask = ngx_http_registry_ask_for(ctx, &get);
    if (ask == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ask->push = 1;
    ngx_str_null(&ask->name);
    ngx_str_set(&ask->path, "/v2/");

    ask->on_header = ngx_http_registry_push_probed;
    ask->on_done = ngx_http_registry_push_not_probed;

    return (ngx_http_registry_ask_start(ask) == NGX_ERROR)
           ? NGX_HTTP_INTERNAL_SERVER_ERROR : NGX_AGAIN;
}


static ngx_int_t
ngx_http_registry_push_probed(ngx_http_registry_ask_t *ask)
{
    ngx_http_registry_push_not_probed(ask);

    return NGX_ERROR;
}


/* if it does not answer, the request itself will find out */

static void
ngx_http_registry_push_not_probed(ngx_http_registry_ask_t *ask)
{
    ngx_http_registry_ctx_t *ctx = ask->data;

    ctx->ask = NULL;
    ngx_http_registry_ask_free(ask);

    ngx_http_registry_resume(ctx);
}


static ngx_int_t
ngx_http_registry_push_send(ngx_http_registry_ctx_t *ctx)
{
    ngx_int_t                 rc;
    ngx_str_t                 path, pin;
    ngx_http_request_t       *r;
    ngx_http_registry_ask_t  *ask;

    r = ctx->request;

    rc = ngx_http_registry_push_path(ctx, &path, &pin);
    if (rc != NGX_OK) {
        return rc;
    }

    ask = ngx_http_registry_pass_ask(ctx, &path,
                                     ngx_http_registry_push_answer);
    if (ask == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ask->push = 1;
    ask->from = ctx->mount;
    ask->pin = pin;
    ask->on_send = ngx_http_registry_push_room;
    ask->content_length = r->headers_in.chunked
                              ? -1 : ngx_max(r->headers_in.content_length_n,
                                             0);

    if (ask->content_length) {
        rc = ngx_http_registry_read_body(ctx, ngx_http_registry_push_sink,
                    (ctx->route.endpoint == REGISTRY_ENDPOINT_MANIFEST)
                        ? REGISTRY_MANIFEST_MAX
                        : ctx->conf->max_blob_size ? ctx->conf->max_blob_size
                                                   : NGX_MAX_OFF_T_VALUE,
                    ngx_http_registry_push_sent);

    } else {
        rc = ngx_http_discard_request_body(r);
        ctx->step = ngx_http_registry_push_wait;
    }

    if (rc != NGX_OK) {
        return rc;
    }

    ctx->outdated = (ctx->route.endpoint == REGISTRY_ENDPOINT_MANIFEST);

    return (ngx_http_registry_ask_start(ask) == NGX_ERROR)
           ? NGX_HTTP_INTERNAL_SERVER_ERROR : NGX_OK;
}


static ngx_int_t
ngx_http_registry_push_path(ngx_http_registry_ctx_t *ctx, ngx_str_t *path,
    ngx_str_t *pin)
{
    ngx_int_t  rc;

    ngx_str_null(pin);
    ngx_str_set(path, "");

    if (ctx->route.endpoint == REGISTRY_ENDPOINT_UPLOAD) {
        rc = ngx_http_registry_push_session(ctx, path, pin);
        if (rc != NGX_OK) {
            return rc;
        }

    } else if (ngx_http_registry_remote_path(ctx, path) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_registry_push_args(ctx, path);
}


static ngx_int_t
ngx_http_registry_push_session(ngx_http_registry_ctx_t *ctx, ngx_str_t *path,
    ngx_str_t *pin)
{
    char            *buf;
    ngx_str_t        value;
    registry_str_t   name, text, peer, uri;

    buf = ngx_pnalloc(ctx->request->pool, REGISTRY_RELAY_MAX);
    if (buf == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_str_null(&value);
    (void) ngx_http_arg(ctx->request, (u_char *) NGX_HTTP_REGISTRY_SESSION,
                        sizeof(NGX_HTTP_REGISTRY_SESSION) - 1, &value);

    name.data = (char *) ctx->name.data;
    name.len = ctx->name.len;
    text.data = (char *) value.data;
    text.len = value.len;

    if (registry_relay_read(ngx_http_registry_push_key, name, text, buf,
                            &peer, &uri)
        != REGISTRY_OK)
    {
        ngx_http_registry_detail(ctx, ctx->reference.data,
                                 ctx->reference.len);
        return ngx_http_registry_fail(ctx, REGISTRY_BLOB_UPLOAD_UNKNOWN,
                                      NULL);
    }

    pin->data = (u_char *) peer.data;
    pin->len = peer.len;
    path->data = (u_char *) uri.data;
    path->len = uri.len;

    return NGX_OK;
}


/* what the client adds, and a mount, if it may be */

static ngx_int_t
ngx_http_registry_push_args(ngx_http_registry_ctx_t *ctx, ngx_str_t *path)
{
    u_char              *p;
    ngx_str_t            text;
    registry_str_t       query, name, value;
    ngx_http_request_t  *r;

    r = ctx->request;

    text.data = ngx_pnalloc(r->pool, path->len + r->args.len
                                     + sizeof("??mount=&from=")
                                     + ctx->digest.len + ctx->mount.len);
    if (text.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    p = ngx_cpymem(text.data, path->data, path->len);

    query.data = (char *) r->args.data;
    query.len = r->args.len;

    while (registry_query_next(&query, &name, &value)) {

        if (!(name.len == 6 && ngx_strncmp(name.data, "digest", 6) == 0)
            && !(name.len == 3 && ngx_strncmp(name.data, "tag", 3) == 0)
            && !(name.len == 16
                 && ngx_strncmp(name.data, "digest-algorithm", 16) == 0))
        {
            continue;
        }

        /* as it stands there, with "=" or without */

        *p = ngx_strlchr(text.data, p, '?') ? '&' : '?';
        p++;
        p = ngx_cpymem(p, name.data, value.data + value.len - name.data);
    }

    if (ctx->mount.len) {
        p = ngx_sprintf(p, "%cmount=%s&from=%V",
                        ngx_strlchr(text.data, p, '?') ? '&' : '?',
                        ctx->digest.text, &ctx->mount);
    }

    text.len = p - text.data;
    *path = text;

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_push_sink(ngx_http_registry_ctx_t *ctx, u_char *data,
    size_t len)
{
    ngx_int_t  rc;

    rc = ngx_http_registry_ask_send(ctx->ask, data, len, 0);

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (rc == NGX_AGAIN) {
        ctx->step = ngx_http_registry_body_continue;
    }

    return rc;
}


static ngx_int_t
ngx_http_registry_push_sent(ngx_http_registry_ctx_t *ctx)
{
    ctx->step = ngx_http_registry_push_wait;

    if (ctx->ask->content_length < 0
        && ngx_http_registry_ask_send(ctx->ask, (u_char *) "", 0, 1)
           == NGX_ERROR)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return NGX_AGAIN;
}


/* for the answer */

static ngx_int_t
ngx_http_registry_push_wait(ngx_http_registry_ctx_t *ctx)
{
    return NGX_AGAIN;
}


static void
ngx_http_registry_push_room(ngx_http_registry_ask_t *ask)
{
    ngx_http_registry_resume(ask->data);
}


static ngx_int_t
ngx_http_registry_push_answer(ngx_http_registry_ctx_t *ctx)
{
    ngx_uint_t             status;
    registry_digest_t      digest;
    const registry_str_t  *field;

    status = ctx->ask->response->status;

    if (ctx->mount.len && ngx_http_registry_push_unmounted(ctx)) {
        ngx_str_null(&ctx->mount);
        ctx->step = ngx_http_registry_push_send;

        return NGX_DECLINED;
    }

    if (status / 100 == 4) {
        ctx->outdated = 0;
    }

    /* it may come before the end of the body: no more of that is read */

    ctx->request->read_event_handler = ngx_http_block_reading;
    ctx->step = ngx_http_registry_push_wait;

    if (ctx->request->reading_body) {
        ctx->request->keepalive = 0;
    }

    /* a redirect, too: it leads past us, and is not followed for a push */

    if (status >= NGX_HTTP_INTERNAL_SERVER_ERROR
        || status == NGX_HTTP_TOO_MANY_REQUESTS
        || status / 100 == 3
        || status == NGX_HTTP_UNAUTHORIZED
        || (status == NGX_HTTP_FORBIDDEN
            && ctx->remote->auth == NGX_HTTP_REGISTRY_AUTH_EDGE))
    {
        return ngx_http_registry_remote_refused(ctx, REGISTRY_NAME_UNKNOWN);
    }

    if (status >= NGX_HTTP_BAD_REQUEST) {
        return ngx_http_registry_push_refused(ctx);
    }

    field = registry_http_field(ctx->ask->response, "docker-content-digest");

    if (ctx->outdated && field
        && registry_digest_parse(*field, &digest) == REGISTRY_OK)
    {
        ctx->digest = digest;
    }

    ngx_http_registry_push_forget(ctx);

    return ngx_http_registry_push_location(ctx);
}


/*
 * Refused, but an upload may not be.  401 is the client's business if the
 * credentials are: perhaps it can show others.
 */

static ngx_uint_t
ngx_http_registry_push_unmounted(ngx_http_registry_ctx_t *ctx)
{
    ngx_uint_t  status;

    status = ctx->ask->response->status;

    return status / 100 == 4
           && status != NGX_HTTP_TOO_MANY_REQUESTS
           && !(status == NGX_HTTP_UNAUTHORIZED
                && ctx->remote->auth == NGX_HTTP_REGISTRY_AUTH_CLIENT);
}


/* in the remote's own words, if they are a document of the specification */

static ngx_int_t
ngx_http_registry_push_refused(ngx_http_registry_ctx_t *ctx)
{
    const registry_str_t  *type;

    static const registry_str_t  json = registry_str("application/json");

    type = registry_http_field(ctx->ask->response, "content-type");

    if (type == NULL || type->len < json.len
        || ngx_strncasecmp((u_char *) type->data, (u_char *) json.data,
                           json.len)
           != 0)
    {
        return ngx_http_registry_remote_refused(ctx, REGISTRY_NAME_UNKNOWN);
    }

    ctx->passed = 1;

    return NGX_OK;
}


/* ours leads back here, whatever the remote thinks it is called */

static ngx_int_t
ngx_http_registry_push_location(ngx_http_registry_ctx_t *ctx)
{
    char                  *buf;
    registry_str_t         shown;
    registry_url_t         url;
    const registry_str_t  *field;

    if (ctx->ask->response->status == NGX_HTTP_CREATED) {
        return ngx_http_registry_push_created(ctx);
    }

    field = registry_http_field(ctx->ask->response, "location");

    if (field == NULL) {
        return NGX_OK;
    }

    buf = ngx_pnalloc(ctx->request->pool, REGISTRY_URL_MAX);
    if (buf == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (registry_url_resolve(&ctx->ask->url, *field, buf, REGISTRY_URL_MAX,
                             &url)
        == REGISTRY_OK
        && ngx_http_registry_push_own(ctx, &url))
    {
        return ngx_http_registry_push_upload(ctx, &url);
    }

    /* a session elsewhere would need credentials that are for nobody there */

    shown = registry_url_shown(*field);

    ngx_log_error(NGX_LOG_ERR, ctx->request->connection->log, 0,
                  "registry_remote \"%V\": the upload's Location \"%*s\" is "
                  "not at the remote", &ctx->remote->name,
                  shown.len, shown.data);

    return ngx_http_registry_fail_status(ctx, REGISTRY_UNAVAILABLE,
                                         "the remote registry has failed",
                                         NGX_HTTP_BAD_GATEWAY);
}


static ngx_int_t
ngx_http_registry_push_created(ngx_http_registry_ctx_t *ctx)
{
    char            buf[REGISTRY_DIGEST_MAX];
    size_t          len;
    ngx_int_t       rc;
    ngx_str_t       digest;
    registry_str_t  query;

    if (ctx->route.endpoint == REGISTRY_ENDPOINT_MANIFEST) {
        rc = ngx_http_registry_add_location(ctx, "/manifests/%V",
                                            &ctx->reference);
        return (rc == NGX_OK) ? NGX_OK : NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    query.data = (char *) ctx->request->args.data;
    query.len = ctx->request->args.len;

    if (ctx->mount.len) {
        ngx_http_registry_count(ngx_http_registry_counters(ctx),
                                NGX_HTTP_REGISTRY_COUNT_MOUNTED);

        digest.data = (u_char *) ctx->digest.text;
        digest.len = ctx->digest.len;

    } else if (registry_query_find(query, "digest", buf, sizeof(buf), &len)
               == REGISTRY_OK)
    {
        ngx_http_registry_count(ngx_http_registry_counters(ctx),
                                NGX_HTTP_REGISTRY_COUNT_UPLOADED);

        digest.data = (u_char *) buf;
        digest.len = len;

    } else {
        return NGX_OK;
    }

    rc = ngx_http_registry_add_location(ctx, "/blobs/%V", &digest);

    return (rc == NGX_OK) ? NGX_OK : NGX_HTTP_INTERNAL_SERVER_ERROR;
}


/*
 * By its host alone: registries behind a proxy mistake their scheme and port.
 * Nothing but the path is used.
 */

static ngx_uint_t
ngx_http_registry_push_own(ngx_http_registry_ctx_t *ctx, registry_url_t *url)
{
    ngx_str_t       *name;
    registry_str_t  *host;

    name = &ctx->remote->ssl_name;
    host = &ctx->ask->url.host;

    return (url->host.len == host->len
            && ngx_strncasecmp((u_char *) url->host.data,
                               (u_char *) host->data, host->len) == 0)
           || (url->host.len == name->len
               && ngx_strncasecmp((u_char *) url->host.data, name->data,
                                  name->len) == 0);
}


static ngx_int_t
ngx_http_registry_push_upload(ngx_http_registry_ctx_t *ctx,
    registry_url_t *url)
{
    char            *buf, id[REGISTRY_UPLOAD_ID_LEN];
    u_char          *p, random[REGISTRY_UPLOAD_RANDOM_LEN];
    size_t           len;
    ngx_int_t        rc;
    ngx_str_t        session;
    registry_url_t  *base;
    registry_str_t   name, peer, path;

    base = &ctx->ask->url;

    len = sizeof("https://") - 1 + base->authority.len + url->path.len;

    p = ngx_pnalloc(ctx->request->pool, len);
    buf = ngx_pnalloc(ctx->request->pool, REGISTRY_RELAY_MAX);

    if (p == NULL || buf == NULL || RAND_bytes(random, sizeof(random)) != 1) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    path.data = (char *) p;
    p = ngx_sprintf(p, "%s%*s%*s", base->https ? "https://" : "http://",
                    base->authority.len, base->authority.data,
                    url->path.len, url->path.data);
    path.len = p - (u_char *) path.data;

    name.data = (char *) ctx->name.data;
    name.len = ctx->name.len;
    peer.data = (char *) ctx->ask->peer.data;
    peer.len = ctx->ask->peer.len;

    if (registry_relay_write(ngx_http_registry_push_key, name, peer, path,
                             buf, &len)
        != REGISTRY_OK)
    {
        ngx_log_error(NGX_LOG_ERR, ctx->request->connection->log, 0,
                      "registry_remote \"%V\": an upload's Location is too "
                      "long", &ctx->remote->name);

        return ngx_http_registry_fail_status(ctx, REGISTRY_UNAVAILABLE,
                                          "the remote registry has failed",
                                          NGX_HTTP_BAD_GATEWAY);
    }

    registry_upload_id(random, id);

    session.data = (u_char *) buf;
    session.len = len;

    rc = ngx_http_registry_add_location(ctx, "/blobs/uploads/%*s?"
                                        NGX_HTTP_REGISTRY_SESSION "=%V",
                                        sizeof(id), id, &session);

    return (rc == NGX_OK) ? NGX_OK : NGX_HTTP_INTERNAL_SERVER_ERROR;
}


/* what was pushed is asked for again when it is next pulled */

static void
ngx_http_registry_push_forget(void *data)
{
    ngx_http_registry_ctx_t *ctx = data;

    ngx_str_t   *tag;
    ngx_uint_t   i;

    if (!ctx->outdated) {
        return;
    }

    ctx->outdated = 0;

    tag = ctx->tags.elts;

    for (i = 0; i < ctx->tags.nelts; i++) {
        ngx_http_registry_manifest_key(ctx, &tag[i]);
        ngx_http_registry_fill_forget(ctx->remote, &ctx->manifest);
    }

    if (ctx->digest.len) {
        ngx_http_registry_manifest_key(ctx, NULL);
        ngx_http_registry_fill_forget(ctx->remote, &ctx->manifest);
    }
}
