
/*
 * Tokens.  In the zone: a token for each remote, credentials and scope, with
 * the time when it ends, and the challenge that a remote made last.
 */


#include "ngx_http_registry_token.h"

#include "registry_query.h"
#include "registry_token.h"


#define NGX_HTTP_REGISTRY_TOKEN_KEY        'k'
#define NGX_HTTP_REGISTRY_TOKEN_CHALLENGE  'c'

/* two names, actions, and what stands around them */
#define NGX_HTTP_REGISTRY_TOKEN_SCOPE      576

/* a token is not used in its last seconds, and renewed in its last quarter */
#define NGX_HTTP_REGISTRY_TOKEN_MARGIN     5000     /* milliseconds */


typedef struct {
    ngx_str_t                      text;
    uint32_t                       hash;
    u_char                         data[1 + 2 * sizeof(uint32_t)
                                        + NGX_HTTP_REGISTRY_TOKEN_SCOPE];
} ngx_http_registry_token_key_t;


/* when it ends and how long it lives, in milliseconds */

typedef struct {
    ngx_msec_t                     end;
    ngx_msec_t                     life;
} ngx_http_registry_token_time_t;


/* a request to a token service, and those in this worker who wait for it */

typedef struct {
    ngx_queue_t                    queue;       /* of all that run */
    ngx_queue_t                    waiters;     /* of token_t */
    ngx_http_registry_call_t      *call;
    ngx_http_registry_zone_t      *zone;
    ngx_http_registry_counters_t  *counters;
    ngx_http_registry_token_key_t  key;
    ngx_str_t                      realm;       /* for the log */
    ngx_str_t                      form;        /* of a POST */
    u_char                        *body;        /* of the answer so far */
    size_t                         len;
} ngx_http_registry_token_fetch_t;


static void ngx_http_registry_challenge_key(
    ngx_http_registry_token_key_t *key, ngx_http_registry_grant_t *grant);
static ngx_int_t ngx_http_registry_token_key(
    ngx_http_registry_token_key_t *key, u_char kind,
    ngx_http_registry_grant_t *grant);
static ngx_http_registry_token_fetch_t *ngx_http_registry_token_running(
    ngx_http_registry_token_key_t *key);
static ngx_http_registry_token_fetch_t *ngx_http_registry_token_fetch(
    ngx_http_registry_client_t *client, ngx_http_registry_grant_t *grant,
    const registry_challenge_t *challenge,
    ngx_http_registry_token_key_t *key);
static ngx_int_t ngx_http_registry_token_request(
    ngx_http_registry_token_fetch_t *fetch, ngx_http_registry_grant_t *grant,
    const registry_challenge_t *challenge);
static ngx_int_t ngx_http_registry_token_form(
    ngx_http_registry_token_fetch_t *fetch, ngx_http_registry_grant_t *grant,
    const registry_challenge_t *challenge, registry_str_t scope);
static size_t ngx_http_registry_token_param(u_char *p, const char *name,
    const char *value, size_t len);
static ngx_int_t ngx_http_registry_token_header(
    ngx_http_registry_call_t *call);
static ngx_int_t ngx_http_registry_token_body(ngx_http_registry_call_t *call,
    u_char *data, size_t len);
static void ngx_http_registry_token_done(ngx_http_registry_call_t *call);
static ngx_int_t ngx_http_registry_token_keep(
    ngx_http_registry_token_fetch_t *fetch, registry_token_t *token);
static void ngx_http_registry_token_end(
    ngx_http_registry_token_fetch_t *fetch, ngx_int_t rc,
    registry_token_t *token, const char *reason);


static ngx_queue_t  ngx_http_registry_token_fetches = {
    &ngx_http_registry_token_fetches, &ngx_http_registry_token_fetches
};


ngx_int_t
ngx_http_registry_token_find(ngx_http_registry_grant_t *grant,
    ngx_pool_t *pool, ngx_str_t *value)
{
    ngx_int_t                        rc;
    ngx_msec_int_t                   left;
    ngx_http_registry_entry_t       *entry;
    ngx_http_registry_token_key_t    key;
    ngx_http_registry_token_time_t   time;

    if (ngx_http_registry_token_key(&key, NGX_HTTP_REGISTRY_TOKEN_KEY, grant)
        != NGX_OK)
    {
        return NGX_DECLINED;
    }

    rc = NGX_DECLINED;

    ngx_http_registry_zone_lock(grant->zone);

    entry = ngx_http_registry_zone_find(grant->zone, &key.text, key.hash);

    if (entry) {
        ngx_memcpy(&time, entry->data + entry->key_len, sizeof(time));
        left = (ngx_msec_int_t) (time.end - ngx_current_msec);

        if (left <= 0) {
            ngx_http_registry_zone_delete(grant->zone, entry);

        } else {
            ngx_http_registry_zone_touch(grant->zone, entry);

            rc = (left < (ngx_msec_int_t) (time.life / 4)) ? NGX_AGAIN
                                                           : NGX_OK;

            value->len = entry->size;
            value->data = ngx_pnalloc(pool, entry->size);

            if (value->data) {
                ngx_http_registry_zone_copy(entry, value->data);

            } else {
                rc = NGX_ERROR;
            }
        }
    }

    ngx_http_registry_zone_unlock(grant->zone);

    return rc;
}


void
ngx_http_registry_token_drop(ngx_http_registry_grant_t *grant)
{
    ngx_http_registry_entry_t      *entry;
    ngx_http_registry_token_key_t   key;

    if (ngx_http_registry_token_key(&key, NGX_HTTP_REGISTRY_TOKEN_KEY, grant)
        != NGX_OK)
    {
        return;
    }

    ngx_http_registry_zone_lock(grant->zone);

    entry = ngx_http_registry_zone_find(grant->zone, &key.text, key.hash);

    if (entry) {
        ngx_http_registry_zone_delete(grant->zone, entry);
    }

    ngx_http_registry_zone_unlock(grant->zone);
}


ngx_int_t
ngx_http_registry_challenge_find(ngx_http_registry_grant_t *grant,
    registry_challenge_t *challenge)
{
    ngx_int_t                       rc;
    ngx_http_registry_entry_t      *entry;
    ngx_http_registry_token_key_t   key;

    ngx_http_registry_challenge_key(&key, grant);

    rc = NGX_DECLINED;

    ngx_http_registry_zone_lock(grant->zone);

    entry = ngx_http_registry_zone_find(grant->zone, &key.text, key.hash);

    if (entry && entry->size == sizeof(registry_challenge_t)) {
        ngx_http_registry_zone_touch(grant->zone, entry);
        ngx_http_registry_zone_copy(entry, (u_char *) challenge);
        rc = NGX_OK;
    }

    ngx_http_registry_zone_unlock(grant->zone);

    return rc;
}


void
ngx_http_registry_challenge_keep(ngx_http_registry_grant_t *grant,
    const registry_challenge_t *challenge)
{
    ngx_str_t                       none, body;
    ngx_http_registry_token_key_t   key;

    ngx_str_set(&none, "");

    ngx_http_registry_challenge_key(&key, grant);

    body.data = (u_char *) challenge;
    body.len = sizeof(registry_challenge_t);

    ngx_http_registry_zone_lock(grant->zone);

    (void) ngx_http_registry_zone_put(grant->zone, &key.text, key.hash,
                                      &none, &body);

    ngx_http_registry_zone_unlock(grant->zone);
}


/* a challenge is the same for every scope */

static void
ngx_http_registry_challenge_key(ngx_http_registry_token_key_t *key,
    ngx_http_registry_grant_t *grant)
{
    ngx_http_registry_grant_t  any;

    any = *grant;

    if (grant->pushed) {
        ngx_str_set(&any.scope, "push");

    } else {
        ngx_str_set(&any.scope, "");
    }

    (void) ngx_http_registry_token_key(key, NGX_HTTP_REGISTRY_TOKEN_CHALLENGE,
                                       &any);
}


static ngx_int_t
ngx_http_registry_token_key(ngx_http_registry_token_key_t *key, u_char kind,
    ngx_http_registry_grant_t *grant)
{
    u_char  *p;

    if (grant->scope.len > NGX_HTTP_REGISTRY_TOKEN_SCOPE) {
        return NGX_ERROR;
    }

    p = key->data;
    *p++ = kind;
    p = ngx_cpymem(p, &grant->remote, sizeof(uint32_t));
    p = ngx_cpymem(p, &grant->login->hash, sizeof(uint32_t));
    p = ngx_cpymem(p, grant->scope.data, grant->scope.len);

    key->text.data = key->data;
    key->text.len = p - key->data;
    key->hash = ngx_murmur_hash2(key->text.data, key->text.len);

    return NGX_OK;
}


ngx_http_registry_token_t *
ngx_http_registry_token_create(void)
{
    ngx_pool_t                 *pool;
    ngx_http_registry_token_t  *token;

    pool = ngx_create_pool(NGX_MIN_POOL_SIZE, ngx_cycle->log);
    if (pool == NULL) {
        return NULL;
    }

    token = ngx_pcalloc(pool, sizeof(ngx_http_registry_token_t));
    if (token == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    token->pool = pool;

    return token;
}


ngx_int_t
ngx_http_registry_token_start(ngx_http_registry_token_t *token,
    ngx_http_registry_client_t *client, ngx_http_registry_grant_t *grant,
    const registry_challenge_t *challenge)
{
    ngx_http_registry_token_key_t     key;
    ngx_http_registry_token_fetch_t  *fetch;

    if (ngx_http_registry_token_key(&key, NGX_HTTP_REGISTRY_TOKEN_KEY, grant)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    fetch = ngx_http_registry_token_running(&key);

    if (fetch == NULL) {
        fetch = ngx_http_registry_token_fetch(client, grant, challenge, &key);
    }

    if (fetch == NULL) {
        return NGX_ERROR;
    }

    token->waiting = 1;
    ngx_queue_insert_tail(&fetch->waiters, &token->queue);

    return NGX_AGAIN;
}


void
ngx_http_registry_token_renew(ngx_http_registry_client_t *client,
    ngx_http_registry_grant_t *grant)
{
    registry_challenge_t           challenge;
    ngx_http_registry_token_key_t  key;

    if (ngx_http_registry_token_key(&key, NGX_HTTP_REGISTRY_TOKEN_KEY, grant)
        == NGX_OK
        && ngx_http_registry_token_running(&key) == NULL
        && ngx_http_registry_challenge_find(grant, &challenge) == NGX_OK
        && challenge.scheme == REGISTRY_CHALLENGE_BEARER)
    {
        (void) ngx_http_registry_token_fetch(client, grant, &challenge, &key);
    }
}


void
ngx_http_registry_token_free(ngx_http_registry_token_t *token)
{
    if (token->waiting) {
        ngx_queue_remove(&token->queue);
    }

    if (token->value.data) {
        ngx_explicit_memzero(token->value.data, token->value.len);
    }

    ngx_destroy_pool(token->pool);
}


static ngx_http_registry_token_fetch_t *
ngx_http_registry_token_running(ngx_http_registry_token_key_t *key)
{
    ngx_queue_t                      *q;
    ngx_http_registry_token_fetch_t  *fetch;

    for (q = ngx_queue_head(&ngx_http_registry_token_fetches);
         q != ngx_queue_sentinel(&ngx_http_registry_token_fetches);
         q = ngx_queue_next(q))
    {
        fetch = ngx_queue_data(q, ngx_http_registry_token_fetch_t, queue);

        if (fetch->key.hash == key->hash
            && fetch->key.text.len == key->text.len
            && ngx_memcmp(fetch->key.data, key->data, key->text.len) == 0)
        {
            return fetch;
        }
    }

    return NULL;
}


static ngx_http_registry_token_fetch_t *
ngx_http_registry_token_fetch(ngx_http_registry_client_t *client,
    ngx_http_registry_grant_t *grant, const registry_challenge_t *challenge,
    ngx_http_registry_token_key_t *key)
{
    ngx_http_registry_call_t         *call;
    ngx_http_registry_token_fetch_t  *fetch;

    call = ngx_http_registry_call_create(client);
    if (call == NULL) {
        return NULL;
    }

    fetch = ngx_pcalloc(call->pool, sizeof(ngx_http_registry_token_fetch_t));
    if (fetch == NULL) {
        goto failed;
    }

    fetch->call = call;
    fetch->zone = grant->zone;
    fetch->counters = grant->counters;
    fetch->key = *key;
    fetch->key.text.data = fetch->key.data;
    ngx_queue_init(&fetch->waiters);

    call->data = fetch;
    call->on_header = ngx_http_registry_token_header;
    call->on_body = ngx_http_registry_token_body;
    call->on_done = ngx_http_registry_token_done;

    if (ngx_http_registry_token_request(fetch, grant, challenge) != NGX_OK
        || ngx_http_registry_call_start(call) == NGX_ERROR)
    {
        goto failed;
    }

    if (fetch->form.len
        && ngx_http_registry_call_send(call, fetch->form.data,
                                       fetch->form.len, 1)
           == NGX_ERROR)
    {
        goto failed;
    }

    ngx_queue_insert_tail(&ngx_http_registry_token_fetches, &fetch->queue);

    return fetch;

failed:

    ngx_http_registry_call_free(call);

    return NULL;
}


/* a GET with the name and password, or a POST with a refresh token */

static ngx_int_t
ngx_http_registry_token_request(ngx_http_registry_token_fetch_t *fetch,
    ngx_http_registry_grant_t *grant, const registry_challenge_t *challenge)
{
    char                      *buf;
    size_t                     len;
    ngx_str_t                  basic, *realm;
    registry_str_t             url, shown, service, scope;
    registry_status_e          status;
    ngx_http_registry_call_t  *call;

    call = fetch->call;
    realm = &fetch->realm;

    url.data = challenge->realm;
    url.len = ngx_strlen(challenge->realm);
    shown = registry_url_shown(url);

    realm->len = shown.len;
    realm->data = ngx_pnalloc(call->pool, shown.len);
    buf = ngx_pnalloc(call->pool, REGISTRY_URL_MAX);

    if (realm->data == NULL || buf == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(realm->data, shown.data, shown.len);

    service.data = challenge->service;
    service.len = ngx_strlen(challenge->service);
    scope.data = (char *) grant->scope.data;
    scope.len = grant->scope.len;

    if (grant->login->found.identity) {
        status = registry_url_resolve(NULL, url, buf, REGISTRY_URL_MAX,
                                      &call->url);

        return (status == REGISTRY_OK)
               ? ngx_http_registry_token_form(fetch, grant, challenge, scope)
               : NGX_ERROR;
    }

    status = registry_token_url(url, service, &scope, scope.len ? 1 : 0, buf,
                                REGISTRY_URL_MAX, &len);

    url.data = buf;
    url.len = len;

    if (status != REGISTRY_OK
        || registry_url_parse(url, &call->url) != REGISTRY_OK)
    {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "registry_remote \"%V\": malformed realm \"%V\"",
                      &call->client->name, realm);
        return NGX_ERROR;
    }

    ngx_str_set(&call->method, "GET");

    if (grant->login->basic.len == 0) {
        return NGX_OK;
    }

    basic.len = grant->login->basic.len;
    basic.data = ngx_pstrdup(call->pool, &grant->login->basic);

    if (basic.data == NULL) {
        return NGX_ERROR;
    }

    return ngx_http_registry_call_header(call, "Authorization", &basic);
}


/* Docker's use of RFC 6749 section 6, for an "identitytoken" */

static ngx_int_t
ngx_http_registry_token_form(ngx_http_registry_token_fetch_t *fetch,
    ngx_http_registry_grant_t *grant, const registry_challenge_t *challenge,
    registry_str_t scope)
{
    u_char                    *p;
    size_t                     size;
    const char                *refresh;
    ngx_http_registry_call_t  *call;

    static ngx_str_t  type = ngx_string("application/x-www-form-urlencoded");

    call = fetch->call;
    refresh = grant->login->found.password;

    size = sizeof("grant_type=refresh_token&client_id=nginx") - 1
           + sizeof("&service=&scope=&refresh_token=") - 1
           + 3 * (ngx_strlen(challenge->service) + scope.len
                  + ngx_strlen(refresh));

    p = ngx_pnalloc(call->pool, size);
    if (p == NULL) {
        return NGX_ERROR;
    }

    fetch->form.data = p;

    p = ngx_sprintf(p, "grant_type=refresh_token&client_id=nginx");
    p += ngx_http_registry_token_param(p, "service", challenge->service,
                                       ngx_strlen(challenge->service));
    p += ngx_http_registry_token_param(p, "scope", scope.data, scope.len);
    p += ngx_http_registry_token_param(p, "refresh_token", refresh,
                                       ngx_strlen(refresh));

    fetch->form.len = p - fetch->form.data;

    ngx_str_set(&call->method, "POST");
    call->content_length = fetch->form.len;

    return ngx_http_registry_call_header(call, "Content-Type", &type);
}


static size_t
ngx_http_registry_token_param(u_char *p, const char *name, const char *value,
    size_t len)
{
    u_char          *start;
    registry_str_t   text;

    if (len == 0) {
        return 0;
    }

    text.data = value;
    text.len = len;

    start = p;
    p = ngx_sprintf(p, "&%s=", name);
    p += registry_query_encode(text, (char *) p);

    return p - start;
}


static ngx_int_t
ngx_http_registry_token_header(ngx_http_registry_call_t *call)
{
    ngx_http_registry_token_fetch_t *fetch = call->data;

    if (call->response.status != 200) {
        ngx_log_error(NGX_LOG_WARN, ngx_cycle->log, 0,
                      "registry_remote \"%V\": the token service \"%V\" "
                      "answered %ui", &call->client->name, &fetch->realm,
                      (ngx_uint_t) call->response.status);

        ngx_http_registry_token_end(fetch, NGX_DECLINED, NULL,
                                    "the token service refused");
        return NGX_ERROR;
    }

    fetch->body = ngx_pnalloc(call->pool, REGISTRY_TOKEN_DOCUMENT_MAX);

    if (fetch->body == NULL) {
        ngx_http_registry_token_end(fetch, NGX_ERROR, NULL, "no memory");
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_token_body(ngx_http_registry_call_t *call, u_char *data,
    size_t len)
{
    ngx_http_registry_token_fetch_t *fetch = call->data;

    if (len > REGISTRY_TOKEN_DOCUMENT_MAX - fetch->len) {
        ngx_http_registry_token_end(fetch, NGX_ERROR, NULL,
                                    "the token's document is too large");
        return NGX_ERROR;
    }

    ngx_memcpy(fetch->body + fetch->len, data, len);
    fetch->len += len;

    return NGX_OK;
}


static void
ngx_http_registry_token_done(ngx_http_registry_call_t *call)
{
    ngx_http_registry_token_fetch_t *fetch = call->data;

    registry_str_t     json;
    registry_token_t   token;

    if (call->error != NGX_HTTP_REGISTRY_CALL_OK) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, call->err,
                      "registry_remote \"%V\": no token from \"%V\": %s",
                      &call->client->name, &fetch->realm,
                      call->reason ? call->reason
                          : ngx_http_registry_call_error(call->error));

        ngx_http_registry_token_end(fetch, NGX_ERROR, NULL, call->reason);
        return;
    }

    json.data = (char *) fetch->body;
    json.len = fetch->len;

    if (registry_token_parse(json, &token) != REGISTRY_OK) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "registry_remote \"%V\": there is no token in the "
                      "answer of \"%V\"", &call->client->name, &fetch->realm);

        ngx_http_registry_token_end(fetch, NGX_ERROR, NULL,
                                    "the token service gave no token");
        return;
    }

    ngx_http_registry_token_end(fetch,
                                ngx_http_registry_token_keep(fetch, &token),
                                &token, "no memory");
    registry_token_free(&token);
}


/* a zone that is too full for it is no error: those who wait have it */

static ngx_int_t
ngx_http_registry_token_keep(ngx_http_registry_token_fetch_t *fetch,
    registry_token_t *token)
{
    ngx_str_t                       value, body;
    ngx_msec_t                      margin;
    ngx_http_registry_token_time_t  time;

    body.len = sizeof("Bearer ") - 1 + token->len;
    body.data = ngx_pnalloc(fetch->call->pool, body.len);

    if (body.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(ngx_cpymem(body.data, "Bearer ", sizeof("Bearer ") - 1),
               token->text, token->len);

    time.life = (ngx_msec_t) token->expires_in * 1000;
    margin = ngx_min(time.life / 4, NGX_HTTP_REGISTRY_TOKEN_MARGIN);
    time.end = ngx_current_msec + time.life - margin;

    value.data = (u_char *) &time;
    value.len = sizeof(time);

    ngx_http_registry_zone_lock(fetch->zone);

    (void) ngx_http_registry_zone_put(fetch->zone, &fetch->key.text,
                                      fetch->key.hash, &value, &body);

    ngx_http_registry_zone_unlock(fetch->zone);

    ngx_explicit_memzero(body.data, body.len);

    return NGX_OK;
}


/* the one exit: tells those who wait, who may free what they have */

static void
ngx_http_registry_token_end(ngx_http_registry_token_fetch_t *fetch,
    ngx_int_t rc, registry_token_t *token, const char *reason)
{
    ngx_queue_t                *q;
    ngx_http_registry_token_t  *t;

    ngx_queue_remove(&fetch->queue);

    ngx_http_registry_count(fetch->counters,
                            (rc == NGX_OK) ? NGX_HTTP_REGISTRY_COUNT_TOKENS
                                       : NGX_HTTP_REGISTRY_COUNT_NO_TOKENS);

    while (!ngx_queue_empty(&fetch->waiters)) {
        q = ngx_queue_head(&fetch->waiters);

        /* NOLINTNEXTLINE(clang-analyzer-core.NullDereference) */
        ngx_queue_remove(q);

        t = ngx_queue_data(q, ngx_http_registry_token_t, queue);

        t->waiting = 0;
        t->rc = rc;
        t->status = fetch->call->response.status;
        t->error = fetch->call->error;
        t->reason = reason;

        if (rc == NGX_OK) {
            t->value.len = sizeof("Bearer ") - 1 + token->len;
            t->value.data = ngx_pnalloc(t->pool, t->value.len);

            if (t->value.data) {
                ngx_memcpy(ngx_cpymem(t->value.data, "Bearer ",
                                      sizeof("Bearer ") - 1),
                           token->text, token->len);
            } else {
                t->rc = NGX_ERROR;
            }
        }

        t->handler(t->data);
    }

    if (fetch->body) {
        ngx_explicit_memzero(fetch->body, fetch->len);
    }

    ngx_http_registry_call_free(fetch->call);
}
