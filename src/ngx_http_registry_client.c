
/*
 * The life of a call: it is started, its steps are run as events come, it
 * fails and is tried elsewhere, it ends or is freed.  What the steps do is in
 * the other files of the client.
 */


#include "ngx_http_registry_client_exchange.h"


#define NGX_HTTP_REGISTRY_LOG_AGAIN   60        /* seconds */
#define NGX_HTTP_REGISTRY_ALIVE       60000     /* milliseconds */
#define NGX_HTTP_REGISTRY_CALL_POOL   4096      /* bytes, to begin with */


typedef struct {
    size_t                           offset;    /* in the client; 0: none */
    ngx_http_registry_call_error_e   error;
    const char                      *reason;
} ngx_http_registry_timeout_t;


static ngx_int_t ngx_http_registry_client_files(ngx_conf_t *cf,
    ngx_http_registry_client_t *client);
static char *ngx_http_registry_client_upstream(ngx_conf_t *cf,
    ngx_http_registry_client_t *client, ngx_http_registry_target_t *target);
static void ngx_http_registry_client_cleanup(void *data);
static void ngx_http_registry_exchange_handler(ngx_event_t *ev);
static void ngx_http_registry_exchange_timeout(ngx_event_t *ev);
static ngx_int_t ngx_http_registry_exchange_timed_out(
    ngx_http_registry_exchange_t *x);
static ngx_uint_t ngx_http_registry_exchange_again(
    ngx_http_registry_exchange_t *x);
static ngx_int_t ngx_http_registry_exchange_done(
    ngx_http_registry_exchange_t *x);
static void ngx_http_registry_exchange_destroy(
    ngx_http_registry_exchange_t *x);
static void ngx_http_registry_exchange_log_error(
    ngx_http_registry_exchange_t *x);
static u_char *ngx_http_registry_exchange_log(ngx_log_t *log, u_char *buf,
    size_t len);


static const char  *ngx_http_registry_call_errors[] = {
    "no error",
    "the name could not be resolved",
    "the address is private",
    "the connection failed",
    "no live server",
    "the proxy refused",
    "TLS failed",
    "timed out",
    "the answer is not valid",
    "the answer ended too early",
    "not enough resources"
};


static const ngx_http_registry_timeout_t  ngx_http_registry_timeouts[] = {

    { 0, NGX_HTTP_REGISTRY_CALL_OK, NULL },

    { offsetof(ngx_http_registry_client_t, resolver_timeout),
      NGX_HTTP_REGISTRY_CALL_RESOLVE, "timed out" },

    { offsetof(ngx_http_registry_client_t, connect_timeout),
      NGX_HTTP_REGISTRY_CALL_TIMEOUT, "while connecting" },

    { offsetof(ngx_http_registry_client_t, send_timeout),
      NGX_HTTP_REGISTRY_CALL_TIMEOUT, "while sending the request" },

    { offsetof(ngx_http_registry_client_t, first_timeout),
      NGX_HTTP_REGISTRY_CALL_TIMEOUT, "while waiting for the answer" },

    { offsetof(ngx_http_registry_client_t, read_timeout),
      NGX_HTTP_REGISTRY_CALL_TIMEOUT, "while reading the answer" }
};


char *
ngx_http_registry_client_init(ngx_conf_t *cf,
    ngx_http_registry_client_t *client)
{
    char                              *rv;
    ngx_uint_t                         i;
    ngx_pool_cleanup_t                *cln;
    ngx_http_registry_target_t        *target;
    ngx_http_registry_client_state_t  *state;

    if (ngx_http_registry_client_files(cf, client) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    state = ngx_pcalloc(cf->pool, sizeof(ngx_http_registry_client_state_t));
    if (state == NULL) {
        return NGX_CONF_ERROR;
    }

    state->client = client;
    state->authenticated = (client->ssl_certificate.len != 0);

    ngx_queue_init(&state->kept);
    ngx_queue_init(&state->lookups);

    client->state = state;

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        return NGX_CONF_ERROR;
    }

    cln->handler = ngx_http_registry_client_cleanup;
    cln->data = state;

    target = client->targets.elts;

    for (i = 0; i < client->targets.nelts; i++) {
        rv = ngx_http_registry_client_upstream(cf, client, &target[i]);
        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    if (ngx_http_registry_tls_init(cf, state) != NGX_OK
        || ngx_http_registry_proxy_init(cf, state) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (client->resolver == NULL && client->tp == NULL) {

        client->tp = ngx_thread_pool_add(cf, NULL);
        if (client->tp == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


/* relative names are the configuration's */

static ngx_int_t
ngx_http_registry_client_files(ngx_conf_t *cf,
    ngx_http_registry_client_t *client)
{
    ngx_uint_t   i;
    ngx_str_t   *files[] = {
        &client->ssl_trusted_certificate,
        &client->ssl_certificate,
        &client->ssl_certificate_key,
        &client->proxy_credentials
    };

    for (i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        if (files[i]->len
            && ngx_conf_full_name(cf->cycle, files[i], 1) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static char *
ngx_http_registry_client_upstream(ngx_conf_t *cf,
    ngx_http_registry_client_t *client, ngx_http_registry_target_t *target)
{
    ngx_uint_t                       i;
    ngx_http_upstream_srv_conf_t   **uscfp;
    ngx_http_upstream_main_conf_t   *umcf;

    /* ngx_http_upstream_add() would resolve a name that is no upstream */

    umcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_upstream_module);

    uscfp = umcf->upstreams.elts;

    for (i = 0; i < umcf->upstreams.nelts; i++) {

        if (uscfp[i]->srv_conf == NULL
            || uscfp[i]->host.len != target->url.host.len
            || ngx_strncasecmp(uscfp[i]->host.data,
                               (u_char *) target->url.host.data,
                               target->url.host.len)
               != 0)
        {
            continue;
        }

        if (!target->url.default_port) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "upstream \"%V\" may not have port %ui in %s:%ui",
                          &uscfp[i]->host, (ngx_uint_t) target->url.port,
                          client->file, client->line);
            return NGX_CONF_ERROR;
        }

        target->upstream = uscfp[i];
        break;
    }

    return NGX_CONF_OK;
}


static void
ngx_http_registry_client_cleanup(void *data)
{
    ngx_http_registry_client_state_t  *state = data;

    ngx_http_registry_resolve_cleanup(state);
    ngx_http_registry_tls_cleanup(state);
    ngx_http_registry_proxy_cleanup(state);
}


ngx_http_registry_call_t *
ngx_http_registry_call_create(ngx_http_registry_client_t *client)
{
    ngx_log_t                     *log;
    ngx_pool_t                    *pool;
    ngx_http_registry_exchange_t  *x;

    log = ngx_cycle->log;

    pool = ngx_create_pool(NGX_HTTP_REGISTRY_CALL_POOL, log);
    if (pool == NULL) {
        return NULL;
    }

    x = ngx_pcalloc(pool, sizeof(ngx_http_registry_exchange_t));
    if (x == NULL) {
        goto failed;
    }

    if (ngx_array_init(&x->call.headers, pool, 8, sizeof(ngx_keyval_t))
        != NGX_OK)
    {
        goto failed;
    }

    x->call.pool = pool;
    x->call.client = client;
    x->call.exchange = x;
    x->state = client->state;

    x->log = *log;
    x->log.handler = ngx_http_registry_exchange_log;
    x->log.data = &x->log_ctx;
    x->log.action = NULL;
    pool->log = &x->log;

    x->event.data = x;
    x->event.handler = ngx_http_registry_exchange_handler;
    x->event.log = &x->log;

    x->timer.data = x;
    x->timer.handler = ngx_http_registry_exchange_timeout;
    x->timer.log = &x->log;

    x->direct.log = &x->log;
    x->direct.log_error = NGX_ERROR_INFO;
    x->direct.get = ngx_event_get_peer;
    x->peer = &x->direct;

    return &x->call;

failed:

    ngx_destroy_pool(pool);

    return NULL;
}


ngx_int_t
ngx_http_registry_call_header(ngx_http_registry_call_t *call,
    const char *name, ngx_str_t *value)
{
    ngx_keyval_t  *h;

    h = ngx_array_push(&call->headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    h->key.data = (u_char *) name;
    h->key.len = ngx_strlen(name);
    h->value = *value;

    return NGX_OK;
}


ngx_int_t
ngx_http_registry_call_start(ngx_http_registry_call_t *call)
{
    ngx_http_registry_exchange_t  *x = call->exchange;

    if (ngx_http_registry_route(x) != NGX_OK
        || ngx_http_registry_request(x) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_http_registry_exchange_wait(x, NGX_HTTP_REGISTRY_WAIT_OWNER);
    ngx_http_registry_exchange_post(x);

    return NGX_AGAIN;
}


void
ngx_http_registry_call_resume(ngx_http_registry_call_t *call)
{
    ngx_http_registry_exchange_t  *x = call->exchange;

    x->paused = 0;
    x->moved = 1;

    ngx_http_registry_exchange_post(x);
}


void
ngx_http_registry_call_free(ngx_http_registry_call_t *call)
{
    ngx_http_registry_exchange_t  *x = call->exchange;

    x->freed = 1;

    ngx_http_registry_disconnect(x, 0, ngx_http_registry_spare(x));
    ngx_http_registry_resolve_cancel(x);

    if (x->timer.timer_set) {
        ngx_del_timer(&x->timer);
    }

    if (x->event.posted) {
        ngx_delete_posted_event(&x->event);
    }

    if (!x->running) {
        ngx_http_registry_exchange_destroy(x);
    }
}


const char *
ngx_http_registry_call_error(ngx_http_registry_call_error_e error)
{
    return ngx_http_registry_call_errors[error];
}


void
ngx_http_registry_exchange_post(ngx_http_registry_exchange_t *x)
{
    if (!x->ended) {
        ngx_post_event(&x->event, &ngx_posted_events);
    }
}


static void
ngx_http_registry_exchange_handler(ngx_event_t *ev)
{
    ngx_http_registry_exchange_run(ev->data);
}


void
ngx_http_registry_exchange_run(ngx_http_registry_exchange_t *x)
{
    ngx_int_t  rc;

    x->running = 1;

    do {
        rc = x->step(x);
    } while (rc == NGX_OK);

    x->running = 0;

    if (x->freed) {
        ngx_http_registry_exchange_destroy(x);
    }
}


ngx_log_t *
ngx_http_registry_exchange_mute(ngx_http_registry_exchange_t *x,
    ngx_uint_t level)
{
    x->muted = x->log;

    if (x->log.log_level <= NGX_LOG_DEBUG) {
        x->muted.log_level = ngx_min(x->log.log_level, level - 1);
    }

    return &x->muted;
}


ngx_int_t
ngx_http_registry_exchange_idle(ngx_http_registry_exchange_t *x)
{
    return NGX_AGAIN;
}


void
ngx_http_registry_exchange_wait(ngx_http_registry_exchange_t *x,
    ngx_http_registry_wait_e wait)
{
    size_t      offset;
    ngx_msec_t  timer;

    offset = ngx_http_registry_timeouts[wait].offset;

    timer = offset ? *(ngx_msec_t *) ((u_char *) x->call.client + offset)
                   : NGX_HTTP_REGISTRY_ALIVE;

    x->wait = wait;

    ngx_add_timer(&x->timer, timer);
}


static void
ngx_http_registry_exchange_timeout(ngx_event_t *ev)
{
    ngx_http_registry_exchange_t  *x;

    x = ev->data;

    if (x->wait == NGX_HTTP_REGISTRY_WAIT_OWNER) {
        ngx_http_registry_exchange_wait(x, x->wait);
        return;
    }

    x->step = ngx_http_registry_exchange_timed_out;

    ngx_http_registry_exchange_run(x);
}


static ngx_int_t
ngx_http_registry_exchange_timed_out(ngx_http_registry_exchange_t *x)
{
    const ngx_http_registry_timeout_t  *timeout;

    timeout = &ngx_http_registry_timeouts[x->wait];

    return ngx_http_registry_exchange_fail(x, timeout->error, timeout->reason,
                                           0);
}


ngx_int_t
ngx_http_registry_exchange_fail(ngx_http_registry_exchange_t *x,
    ngx_http_registry_call_error_e error, const char *reason, ngx_err_t err)
{
    ngx_uint_t  state;

    x->call.error = error;
    x->call.reason = reason;
    x->call.err = err;

    if (x->cached && !x->received && error == NGX_HTTP_REGISTRY_CALL_CONNECT) {

        /* the server has closed it meanwhile, which is nobody's fault */

        return ngx_http_registry_reconnect(x);
    }

    ngx_http_registry_exchange_log_error(x);

    state = (error == NGX_HTTP_REGISTRY_CALL_LOCAL) ? 0 : NGX_PEER_FAILED;

    ngx_http_registry_disconnect(x, state, 0);

    if (ngx_http_registry_exchange_again(x)) {
        x->step = ngx_http_registry_connect;
        return NGX_OK;
    }

    return ngx_http_registry_exchange_done(x);
}


static ngx_uint_t
ngx_http_registry_exchange_again(ngx_http_registry_exchange_t *x)
{
    if (x->answered
        || x->call.error == NGX_HTTP_REGISTRY_CALL_PROXY
        || x->call.error == NGX_HTTP_REGISTRY_CALL_LOCAL)
    {
        return 0;
    }

    return ngx_http_registry_connect_more(x) && ngx_http_registry_rewind(x);
}


ngx_int_t
ngx_http_registry_exchange_finish(ngx_http_registry_exchange_t *x,
    ngx_uint_t keep)
{
    ngx_uint_t  state;

    x->call.error = NGX_HTTP_REGISTRY_CALL_OK;
    x->call.reason = NULL;
    x->call.err = 0;

    state = ngx_http_registry_unfit(x) ? NGX_PEER_FAILED : 0;

    ngx_http_registry_disconnect(x, state, keep);

    return ngx_http_registry_exchange_done(x);
}


static ngx_int_t
ngx_http_registry_exchange_done(ngx_http_registry_exchange_t *x)
{
    x->ended = 1;

    ngx_http_registry_resolve_cancel(x);

    if (x->timer.timer_set) {
        ngx_del_timer(&x->timer);
    }

    if (x->event.posted) {
        ngx_delete_posted_event(&x->event);
    }

    x->call.on_done(&x->call);

    return NGX_DONE;
}


static void
ngx_http_registry_exchange_destroy(ngx_http_registry_exchange_t *x)
{
    ngx_pool_t  *pool;

    pool = x->call.pool;

    ngx_http_registry_upstream_cleanup(x);

    /* the log is in the pool */

    pool->log = ngx_cycle->log;

    ngx_destroy_pool(pool);
}


/*
 * An error once a minute for each kind, since a dead server makes every call
 * fail; the others are for who looks closer.
 */

static void
ngx_http_registry_exchange_log_error(ngx_http_registry_exchange_t *x)
{
    time_t      now, *logged;
    ngx_uint_t  level;

    now = ngx_time();
    level = NGX_LOG_INFO;
    logged = &x->state->logged[x->call.error];

    if (!x->call.client->quiet
        && (*logged == 0 || now - *logged >= NGX_HTTP_REGISTRY_LOG_AGAIN))
    {
        *logged = now;
        level = NGX_LOG_ERR;
    }

    ngx_log_error(level, &x->log, x->call.err, "registry: %s%s%s",
                  ngx_http_registry_call_errors[x->call.error],
                  x->call.reason ? ", " : "",
                  x->call.reason ? x->call.reason : "");
}


static u_char *
ngx_http_registry_exchange_log(ngx_log_t *log, u_char *buf, size_t len)
{
    u_char                        *p;
    registry_str_t                 path;
    registry_url_t                *url;
    ngx_http_registry_exchange_t  *x;

    x = (ngx_http_registry_exchange_t *)
            ((u_char *) log->data
             - offsetof(ngx_http_registry_exchange_t, log_ctx));

    url = &x->call.url;

    if (log->action) {
        p = ngx_snprintf(buf, len, " while %s", log->action);
        len -= p - buf;
        buf = p;
    }

    path = registry_url_shown(url->path);

    p = ngx_snprintf(buf, len, ", remote: \"%V\", request: \"%V %s://%*s%*s\"",
                     &x->call.client->name, &x->call.method,
                     url->https ? "https" : "http",
                     url->authority.len, url->authority.data,
                     path.len, path.data);
    len -= p - buf;
    buf = p;

    if (x->call.peer.len) {
        p = ngx_snprintf(buf, len, ", server: \"%V\"", &x->call.peer);
    }

    return p;
}
