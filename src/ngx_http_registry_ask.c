
/*
 * Requests to a remote: where they go, what they show, and the answers that
 * are not the last word, 401 and redirects.  What an answer means is the
 * owner's.
 */


#include "ngx_http_registry_remote.h"


#define NGX_HTTP_REGISTRY_REDIRECTS  5

/* twice "repository:", ":pull,push" and a name */
#define NGX_HTTP_REGISTRY_SCOPE      (2 * (REGISTRY_NAME_MAX + 32))


static ngx_int_t ngx_http_registry_ask_url(ngx_http_registry_ask_t *ask);
static ngx_http_registry_target_t *ngx_http_registry_ask_target(
    ngx_http_registry_ask_t *ask);
static ngx_int_t ngx_http_registry_ask_authorize(
    ngx_http_registry_ask_t *ask);
static ngx_int_t ngx_http_registry_ask_token(ngx_http_registry_ask_t *ask,
    ngx_http_registry_grant_t *grant, registry_challenge_t *challenge);
static void ngx_http_registry_ask_token_done(void *data);
static ngx_int_t ngx_http_registry_ask_kept(ngx_http_registry_ask_t *ask);
static void ngx_http_registry_ask_grant(ngx_http_registry_ask_t *ask,
    ngx_http_registry_grant_t *grant, u_char *buf);
static ngx_int_t ngx_http_registry_ask_call(ngx_http_registry_ask_t *ask,
    ngx_str_t *authorization);
static ngx_int_t ngx_http_registry_ask_headers(ngx_http_registry_ask_t *ask,
    ngx_http_registry_call_t *call, ngx_str_t *authorization);
static ngx_int_t ngx_http_registry_ask_on_header(
    ngx_http_registry_call_t *call);
static ngx_int_t ngx_http_registry_ask_challenged(
    ngx_http_registry_ask_t *ask);
static ngx_int_t ngx_http_registry_ask_challenge(
    ngx_http_registry_ask_t *ask, registry_challenge_t *challenge);
static void ngx_http_registry_ask_answered(ngx_http_registry_ask_t *ask);
static void ngx_http_registry_ask_unauthorized(ngx_http_registry_ask_t *ask);
static ngx_int_t ngx_http_registry_ask_redirected(
    ngx_http_registry_ask_t *ask);
static ngx_int_t ngx_http_registry_ask_on_body(
    ngx_http_registry_call_t *call, u_char *data, size_t len);
static void ngx_http_registry_ask_on_send(ngx_http_registry_call_t *call);
static void ngx_http_registry_ask_on_done(ngx_http_registry_call_t *call);
static void ngx_http_registry_ask_failed(ngx_http_registry_ask_t *ask,
    ngx_http_registry_call_error_e error, const char *reason);


ngx_http_registry_ask_t *
ngx_http_registry_ask_create(ngx_http_registry_remote_t *remote)
{
    ngx_pool_t               *pool;
    ngx_http_registry_ask_t  *ask;

    pool = ngx_create_pool(1024, ngx_cycle->log);
    if (pool == NULL) {
        return NULL;
    }

    ask = ngx_pcalloc(pool, sizeof(ngx_http_registry_ask_t));

    if (ask == NULL
        || ngx_array_init(&ask->headers, pool, 4, sizeof(ngx_keyval_t))
           != NGX_OK)
    {
        ngx_destroy_pool(pool);
        return NULL;
    }

    ask->pool = pool;
    ask->remote = remote;

    return ask;
}


ngx_int_t
ngx_http_registry_ask_header(ngx_http_registry_ask_t *ask, const char *name,
    ngx_str_t *value)
{
    ngx_keyval_t  *kv;

    kv = ngx_array_push(&ask->headers);
    if (kv == NULL) {
        return NGX_ERROR;
    }

    kv->key.data = (u_char *) name;
    kv->key.len = ngx_strlen(name);
    kv->value = *value;

    return NGX_OK;
}


ngx_int_t
ngx_http_registry_ask_start(ngx_http_registry_ask_t *ask)
{
    ngx_http_registry_login_refresh(&ask->remote->login, ngx_cycle->log);

    if (ngx_http_registry_ask_url(ask) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_registry_ask_authorize(ask);
}


ngx_int_t
ngx_http_registry_ask_send(ngx_http_registry_ask_t *ask, u_char *data,
    size_t len, ngx_uint_t last)
{
    if (ask->call) {
        return ngx_http_registry_call_send(ask->call, data, len, last);
    }

    /* a token comes first: one piece is kept until it is there */

    ask->last = last;

    if (len == 0) {
        return NGX_AGAIN;
    }

    ask->kept = ngx_palloc(ask->pool, len);
    if (ask->kept == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(ask->kept, data, len);
    ask->nkept = len;

    return NGX_AGAIN;
}


void
ngx_http_registry_ask_resume(ngx_http_registry_ask_t *ask)
{
    if (ask->call) {
        ngx_http_registry_call_resume(ask->call);
    }
}


/* a blob may be a page as well: then the registry says its digest */

ngx_uint_t
ngx_http_registry_ask_html(ngx_http_registry_ask_t *ask)
{
    const registry_str_t  *type;

    static const registry_str_t  html = registry_str("text/html");

    type = registry_http_field(ask->response, "content-type");

    if (type == NULL || type->len < html.len
        || ngx_strncasecmp((u_char *) type->data, (u_char *) html.data,
                           html.len)
           != 0
        || registry_http_field(ask->response, "docker-content-digest"))
    {
        return 0;
    }

    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                  "registry_remote \"%V\" answers with HTML",
                  &ask->remote->name);
    return 1;
}


void
ngx_http_registry_ask_free(ngx_http_registry_ask_t *ask)
{
    if (ask->token) {
        ngx_http_registry_token_free(ask->token);
    }

    if (ask->call) {
        ngx_http_registry_call_free(ask->call);
    }

    ngx_destroy_pool(ask->pool);
}


static ngx_int_t
ngx_http_registry_ask_url(ngx_http_registry_ask_t *ask)
{
    u_char                      *p;
    size_t                       base;
    registry_str_t               text;
    ngx_http_registry_target_t  *target;

    if (ask->path.len && ask->path.data[0] != '/') {
        text.data = (char *) ask->path.data;
        text.len = ask->path.len;

        if (registry_url_parse(text, &ask->url) != REGISTRY_OK) {
            return NGX_ERROR;
        }

        target = ngx_http_registry_ask_target(ask);
        ask->foreign = !registry_url_same_origin(&ask->url, &target->url);

        return NGX_OK;
    }

    /* a registry may live below a path: "https://host/registry" */

    target = ngx_http_registry_ask_target(ask);
    base = target->url.path.len;

    while (base && target->url.path.data[base - 1] == '/') {
        base--;
    }

    p = ngx_pnalloc(ask->pool, base + ask->path.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(ngx_cpymem(p, target->url.path.data, base), ask->path.data,
               ask->path.len);

    ask->url = target->url;
    ask->url.path.data = (char *) p;
    ask->url.path.len = base + ask->path.len;

    return NGX_OK;
}


/* the first is "url", the second, if there are two, "push_url" */

static ngx_http_registry_target_t *
ngx_http_registry_ask_target(ngx_http_registry_ask_t *ask)
{
    ngx_array_t  *targets;

    targets = &ask->remote->client.targets;

    return (ngx_http_registry_target_t *) targets->elts
           + (ask->push ? targets->nelts - 1 : 0);
}


/* sends the request with what there is to show, or gets that first */

static ngx_int_t
ngx_http_registry_ask_authorize(ngx_http_registry_ask_t *ask)
{
    u_char                     buf[NGX_HTTP_REGISTRY_SCOPE];
    ngx_int_t                  rc;
    ngx_str_t                  value;
    registry_challenge_t       challenge;
    ngx_http_registry_grant_t  grant;

    ngx_str_null(&value);

    if (ask->foreign) {
        return ngx_http_registry_ask_call(ask, &value);
    }

    if (ask->remote->auth == NGX_HTTP_REGISTRY_AUTH_CLIENT) {
        return ngx_http_registry_ask_call(ask, &ask->authorization);
    }

    ngx_http_registry_ask_grant(ask, &grant, buf);

    rc = ngx_http_registry_token_find(&grant, ask->pool, &value);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_AGAIN) {
        ngx_http_registry_token_renew(&ask->remote->client, &grant);
    }

    if (rc != NGX_DECLINED
        || ngx_http_registry_challenge_find(&grant, &challenge) != NGX_OK)
    {
        return ngx_http_registry_ask_call(ask, &value);
    }

    if (challenge.scheme == REGISTRY_CHALLENGE_BEARER) {
        return ngx_http_registry_ask_token(ask, &grant, &challenge);
    }

    if (challenge.scheme == REGISTRY_CHALLENGE_BASIC) {
        value = ask->remote->login.basic;
    }

    return ngx_http_registry_ask_call(ask, &value);
}


static ngx_int_t
ngx_http_registry_ask_token(ngx_http_registry_ask_t *ask,
    ngx_http_registry_grant_t *grant, registry_challenge_t *challenge)
{
    ngx_http_registry_token_t  *token;

    token = ngx_http_registry_token_create();
    if (token == NULL) {
        return NGX_ERROR;
    }

    token->handler = ngx_http_registry_ask_token_done;
    token->data = ask;

    if (ngx_http_registry_token_start(token, &ask->remote->client, grant,
                                      challenge)
        == NGX_ERROR)
    {
        ngx_http_registry_token_free(token);
        return NGX_ERROR;
    }

    ask->token = token;

    return NGX_AGAIN;
}


static void
ngx_http_registry_ask_token_done(void *data)
{
    ngx_http_registry_ask_t *ask = data;

    ngx_int_t                        rc;
    const char                      *reason;
    ngx_http_registry_token_t       *token;
    ngx_http_registry_call_error_e   error;

    token = ask->token;
    ask->token = NULL;

    error = token->error;
    reason = token->reason;
    rc = token->rc;

    /*
     * Without a token the request goes out all the same: the remote's own
     * refusal is the better answer, and perhaps it needs none any more.
     */

    if (rc != NGX_ERROR) {
        ask->challenged |= (rc == NGX_DECLINED);
        rc = ngx_http_registry_ask_call(ask, &token->value);
    }

    ngx_http_registry_token_free(token);

    if (rc == NGX_AGAIN && (ask->nkept || ask->last)) {
        rc = ngx_http_registry_ask_kept(ask);
    }

    if (rc == NGX_ERROR) {
        if (error == NGX_HTTP_REGISTRY_CALL_OK) {
            error = NGX_HTTP_REGISTRY_CALL_LOCAL;
        }

        ngx_http_registry_ask_failed(ask, error, reason);
    }
}


static ngx_int_t
ngx_http_registry_ask_kept(ngx_http_registry_ask_t *ask)
{
    ngx_int_t  rc;

    rc = ngx_http_registry_call_send(ask->call, ask->kept, ask->nkept,
                                     ask->last);
    ask->nkept = 0;

    if (rc == NGX_OK && !ask->last) {
        ask->on_send(ask);
    }

    return (rc == NGX_ERROR) ? NGX_ERROR : NGX_AGAIN;
}


static void
ngx_http_registry_ask_grant(ngx_http_registry_ask_t *ask,
    ngx_http_registry_grant_t *grant, u_char *buf)
{
    u_char  *p;

    grant->zone = ask->remote->zone;
    grant->login = &ask->remote->login;
    grant->remote = ask->remote->id;
    grant->counters = ask->remote->counters;
    grant->pushed = ngx_http_registry_remote_apart(ask->remote, ask->push);

    ask->shown = grant->login->hash;

    if (ask->name.len) {
        p = ngx_snprintf(buf, NGX_HTTP_REGISTRY_SCOPE, "repository:%V:%s",
                         &ask->name, ask->push ? "pull,push" : "pull");

        if (ask->from.len) {
            p = ngx_slprintf(p, buf + NGX_HTTP_REGISTRY_SCOPE,
                             " repository:%V:pull", &ask->from);
        }

    } else if (ask->path.len > 4) {
        p = ngx_snprintf(buf, NGX_HTTP_REGISTRY_SCOPE, "registry:catalog:*");

    } else {
        p = buf;
    }

    grant->scope.data = buf;
    grant->scope.len = p - buf;
}


static ngx_int_t
ngx_http_registry_ask_call(ngx_http_registry_ask_t *ask,
    ngx_str_t *authorization)
{
    ngx_http_registry_call_t  *call;

    call = ngx_http_registry_call_create(&ask->remote->client);
    if (call == NULL) {
        return NGX_ERROR;
    }

    call->method = ask->method;
    call->url = ask->url;
    call->content_length = ask->content_length;
    call->pin = ask->pin;
    call->primary = ask->push;

    call->data = ask;
    call->on_header = ngx_http_registry_ask_on_header;
    call->on_body = ngx_http_registry_ask_on_body;
    call->on_send = ngx_http_registry_ask_on_send;
    call->on_done = ngx_http_registry_ask_on_done;

    if (ngx_http_registry_ask_headers(ask, call, authorization) != NGX_OK
        || ngx_http_registry_call_start(call) == NGX_ERROR)
    {
        ngx_http_registry_call_free(call);
        return NGX_ERROR;
    }

    ask->call = call;

    return NGX_AGAIN;
}


static ngx_int_t
ngx_http_registry_ask_headers(ngx_http_registry_ask_t *ask,
    ngx_http_registry_call_t *call, ngx_str_t *authorization)
{
    u_char        *p;
    ngx_str_t      value;
    ngx_uint_t     i;
    ngx_keyval_t  *kv;

    kv = ask->headers.elts;

    for (i = 0; i < ask->headers.nelts; i++) {
        if (ngx_http_registry_call_header(call, (char *) kv[i].key.data,
                                          &kv[i].value)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    p = ngx_pnalloc(call->pool, ask->via.len + sizeof(", 1.1 ")
                                + ngx_http_registry_via.len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    value.data = p;
    p = ngx_sprintf(p, "%V%s1.1 %V", &ask->via, ask->via.len ? ", " : "",
                    &ngx_http_registry_via);
    value.len = p - value.data;

    if (ngx_http_registry_call_header(call, "Via", &value) != NGX_OK) {
        return NGX_ERROR;
    }

    if (authorization->len == 0) {
        return NGX_OK;
    }

    value.len = authorization->len;
    value.data = ngx_pstrdup(call->pool, authorization);

    if (value.data == NULL) {
        return NGX_ERROR;
    }

    return ngx_http_registry_call_header(call, "Authorization", &value);
}


static ngx_int_t
ngx_http_registry_ask_on_header(ngx_http_registry_call_t *call)
{
    ngx_http_registry_ask_t *ask = call->data;

    ngx_int_t  rc;

    switch (call->response.status) {

    case NGX_HTTP_UNAUTHORIZED:
        rc = ngx_http_registry_ask_challenged(ask);
        break;

    case NGX_HTTP_MOVED_PERMANENTLY:
    case NGX_HTTP_MOVED_TEMPORARILY:
    case NGX_HTTP_SEE_OTHER:
    case NGX_HTTP_TEMPORARY_REDIRECT:
    case NGX_HTTP_PERMANENT_REDIRECT:
        rc = ngx_http_registry_ask_redirected(ask);
        break;

    default:
        rc = NGX_DECLINED;
    }

    /* another request is on its way, or it failed */

    if (rc != NGX_DECLINED) {
        ngx_http_registry_call_free(call);

        if (rc == NGX_ERROR) {
            ask->call = NULL;
            ngx_http_registry_ask_failed(ask, NGX_HTTP_REGISTRY_CALL_LOCAL,
                                         NULL);
        }

        return NGX_ERROR;
    }

    ask->response = &call->response;
    ask->peer = call->peer;

    ngx_http_registry_ask_answered(ask);

    return ask->on_header(ask);
}


/* what the last word says of the remote */

static void
ngx_http_registry_ask_answered(ngx_http_registry_ask_t *ask)
{
    ngx_uint_t  status;

    status = ask->response->status;

    ngx_http_registry_remote_count(ask);

    /* a mount that is refused is no reason to look at the credentials */

    if (status == NGX_HTTP_UNAUTHORIZED
        && ask->remote->auth == NGX_HTTP_REGISTRY_AUTH_EDGE && !ask->foreign
        && ask->from.len == 0)
    {
        ngx_http_registry_ask_unauthorized(ask);
    }

    if (status >= NGX_HTTP_INTERNAL_SERVER_ERROR
        || status == NGX_HTTP_TOO_MANY_REQUESTS)
    {
        ngx_http_registry_remote_failed(ask, status);
        return;
    }

    ngx_http_registry_remote_answered(ask);

    if (status == NGX_HTTP_OK && ask->name.len == 0 && !ask->challenged) {
        ngx_http_registry_remote_open(ask);
    }
}


/* once a minute: clients are told nothing of our credentials */

static void
ngx_http_registry_ask_unauthorized(ngx_http_registry_ask_t *ask)
{
    registry_str_t               path;
    ngx_http_registry_remote_t  *remote;

    remote = ask->remote;

    if (remote->unauthorized
        && ngx_current_msec - remote->unauthorized
           < NGX_HTTP_REGISTRY_REMOTE_LOG)
    {
        return;
    }

    remote->unauthorized = ngx_current_msec;
    path = registry_url_shown(ask->url.path);

    ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                  "registry_remote \"%V\" answers 401, credentials \"%V\", "
                  "\"%V %*s\"", &remote->name, &remote->credentials,
                  &ask->method, path.len, path.data);
}


/* NGX_DECLINED: this 401 is the answer */

static ngx_int_t
ngx_http_registry_ask_challenged(ngx_http_registry_ask_t *ask)
{
    u_char                     buf[NGX_HTTP_REGISTRY_SCOPE];
    registry_challenge_t       challenge;
    ngx_http_registry_grant_t  grant;

    if (ask->foreign || ask->remote->auth == NGX_HTTP_REGISTRY_AUTH_CLIENT) {
        return NGX_DECLINED;
    }

    /* what was shown may be old: the file, or the token */

    ask->remote->login.looked = 0;
    ngx_http_registry_login_refresh(&ask->remote->login, ngx_cycle->log);

    if (ask->challenged && ask->shown == ask->remote->login.hash) {
        return NGX_DECLINED;
    }

    ask->challenged = 1;

    ngx_http_registry_ask_grant(ask, &grant, buf);
    ngx_http_registry_token_drop(&grant);

    if (ngx_http_registry_ask_challenge(ask, &challenge) != NGX_OK) {
        return NGX_DECLINED;
    }

    ngx_http_registry_challenge_keep(&grant, &challenge);

    /* a body is gone by now: it is the next request that has something else */

    if (ask->content_length) {
        return NGX_DECLINED;
    }

    if (challenge.scheme == REGISTRY_CHALLENGE_BEARER) {
        ask->call = NULL;
        return ngx_http_registry_ask_token(ask, &grant, &challenge);
    }

    if (ask->remote->login.basic.len == 0) {
        return NGX_DECLINED;
    }

    return ngx_http_registry_ask_call(ask, &ask->remote->login.basic);
}


/* the best challenge that the answer has: Bearer before Basic */

static ngx_int_t
ngx_http_registry_ask_challenge(ngx_http_registry_ask_t *ask,
    registry_challenge_t *challenge)
{
    size_t                 i;
    ngx_int_t              rc;
    registry_str_t         rest;
    const registry_str_t  *value;
    registry_challenge_t   c;

    i = 0;
    rc = NGX_DECLINED;

    for ( ;; ) {
        value = registry_http_field_next(&ask->call->response,
                                         "www-authenticate", &i);
        if (value == NULL) {
            return rc;
        }

        rest = *value;

        while (registry_challenge_next(&rest, &c) == REGISTRY_OK) {

            if (c.scheme == REGISTRY_CHALLENGE_BEARER) {
                *challenge = c;
                return NGX_OK;
            }

            if (c.scheme == REGISTRY_CHALLENGE_BASIC) {
                *challenge = c;
                rc = NGX_OK;
            }
        }
    }
}


/* only what can be asked again anywhere, and never from https to http */

static ngx_int_t
ngx_http_registry_ask_redirected(ngx_http_registry_ask_t *ask)
{
    char                  *buf;
    ngx_str_t              none;
    registry_str_t         shown;
    registry_url_t         url;
    const registry_str_t  *location;

    location = registry_http_field(&ask->call->response, "location");

    if (location == NULL) {
        return NGX_DECLINED;
    }

    buf = ngx_pnalloc(ask->pool, REGISTRY_URL_MAX);
    if (buf == NULL) {
        return NGX_ERROR;
    }

    if (ask->content_length
        || (ngx_strncmp(ask->method.data, "GET", 3) != 0
            && ngx_strncmp(ask->method.data, "HEAD", 4) != 0)
        || ask->redirects++ == NGX_HTTP_REGISTRY_REDIRECTS
        || registry_url_resolve(&ask->url, *location, buf, REGISTRY_URL_MAX,
                                &url)
           != REGISTRY_OK
        || (ask->url.https && !url.https))
    {
        shown = registry_url_shown(*location);

        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "registry_remote \"%V\": the redirect from \"%*s\" to "
                      "\"%*s\" is not followed", &ask->remote->name,
                      ask->url.authority.len, ask->url.authority.data,
                      shown.len, shown.data);
        return NGX_DECLINED;
    }

    if (ask->blob) {
        ngx_http_registry_remote_answered(ask);
    }

    ask->url = url;
    ask->foreign = !registry_url_same_origin(&url,
                                     &ngx_http_registry_ask_target(ask)->url);

    if (!ask->foreign) {
        ask->call = NULL;
        return ngx_http_registry_ask_authorize(ask);
    }

    ngx_str_set(&none, "");

    return ngx_http_registry_ask_call(ask, &none);
}


static ngx_int_t
ngx_http_registry_ask_on_body(ngx_http_registry_call_t *call, u_char *data,
    size_t len)
{
    ngx_http_registry_ask_t *ask = call->data;

    ask->received = call->received;

    ngx_http_registry_count_n(ask->remote->counters,
                              NGX_HTTP_REGISTRY_COUNT_RECEIVED, len);

    return ask->on_body(ask, data, len);
}


static void
ngx_http_registry_ask_on_send(ngx_http_registry_call_t *call)
{
    ngx_http_registry_ask_t *ask = call->data;

    ask->on_send(ask);
}


static void
ngx_http_registry_ask_on_done(ngx_http_registry_call_t *call)
{
    ngx_http_registry_ask_t *ask = call->data;

    ask->peer = call->peer;
    ask->received = call->received;

    if (call->error != NGX_HTTP_REGISTRY_CALL_OK) {
        ngx_http_registry_ask_failed(ask, call->error, call->reason);
        return;
    }

    ask->on_done(ask);
}


static void
ngx_http_registry_ask_failed(ngx_http_registry_ask_t *ask,
    ngx_http_registry_call_error_e error, const char *reason)
{
    ask->error = error;
    ask->reason = reason ? reason : ngx_http_registry_call_error(error);

    ngx_http_registry_count(ask->remote->counters,
                            NGX_HTTP_REGISTRY_COUNT_BROKEN);

    ngx_http_registry_remote_failed(ask, 0);

    ask->on_done(ask);
}
