
/*
 * TLS: contexts with the certificates of a client, which are loaded again
 * when the files change, and handshakes that fail unless the server is the
 * one that was meant.  What sessions there are to resume is session.c's.
 */


#include "ngx_http_registry_client_exchange.h"


#if (NGX_SSL)


#define NGX_HTTP_REGISTRY_TLS_CERTIFICATE_REQUIRED  116  /* RFC 8446, 6.2 */


static ngx_int_t ngx_http_registry_tls_system_init(ngx_conf_t *cf);
static void ngx_http_registry_tls_system_cleanup(void *data);
static ngx_int_t ngx_http_registry_tls_load(
    ngx_http_registry_client_state_t *state, ngx_ssl_t *ssl, ngx_uint_t own,
    ngx_log_t *log);
static ngx_int_t ngx_http_registry_tls_trust(
    ngx_http_registry_client_state_t *state, ngx_ssl_t *ssl);
static ngx_int_t ngx_http_registry_tls_identify(
    ngx_http_registry_client_t *client, ngx_ssl_t *ssl);
static int ngx_http_registry_tls_password(char *buf, int size, int rwflag,
    void *data);
static ngx_ssl_t *ngx_http_registry_tls_context(
    ngx_http_registry_exchange_t *x);
static ngx_int_t ngx_http_registry_tls_reload(
    ngx_http_registry_client_state_t *state, ngx_log_t *log);
static ngx_int_t ngx_http_registry_tls_server(ngx_http_registry_exchange_t *x,
    ngx_ssl_conn_t *ssl_conn);
static void ngx_http_registry_tls_handler(ngx_connection_t *c);
static ngx_int_t ngx_http_registry_tls_done(ngx_http_registry_exchange_t *x);
static ngx_uint_t ngx_http_registry_tls_address(ngx_str_t *name);
static char *ngx_http_registry_tls_name(ngx_http_registry_exchange_t *x);
static void ngx_http_registry_tls_info(const ngx_ssl_conn_t *ssl_conn,
    int where, int ret);


/*
 * What the system trusts, as it is when a configuration is read: a megabyte,
 * which all clients of the configuration share.
 */

static X509_STORE  *ngx_http_registry_tls_system;


/* the last one that was seen: an alert, or what we could not go on with */

static struct {
    const ngx_ssl_conn_t  *connection;
    const char            *text;                /* static */
} ngx_http_registry_tls_failure;


ngx_int_t
ngx_http_registry_tls_init(ngx_conf_t *cf,
    ngx_http_registry_client_state_t *state)
{
    ngx_uint_t                   i;
    ngx_http_registry_tls_t     *tls;
    ngx_http_registry_client_t  *client;

    tls = &state->tls;
    client = state->client;

    tls->files[0].name = client->ssl_trusted_certificate;
    tls->files[1].name = client->ssl_certificate;
    tls->files[2].name = client->ssl_certificate_key;

    if ((client->ssl_certificate.len == 0)
        != (client->ssl_certificate_key.len == 0))
    {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"ssl_certificate\" and \"ssl_certificate_key\" of "
                      "\"%V\" need each other in %s:%ui",
                      &client->name, client->file, client->line);
        return NGX_ERROR;
    }

    if (client->ssl_verify && client->ssl_trusted_certificate.len == 0) {

        if (ngx_http_registry_tls_system_init(cf) != NGX_OK) {
            return NGX_ERROR;
        }

        tls->system = ngx_http_registry_tls_system;
    }

    for (i = 0; i < NGX_HTTP_REGISTRY_TLS_FILES; i++) {
        if (tls->files[i].name.len) {
            (void) ngx_http_registry_file_changed(&tls->files[i]);
        }
    }

    tls->checked = ngx_time();

    if (ngx_http_registry_tls_reload(state, cf->log) != NGX_OK) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "no TLS for \"%V\" in %s:%ui",
                      &client->name, client->file, client->line);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_tls_system_init(ngx_conf_t *cf)
{
    X509_STORE          *store;
    ngx_pool_cleanup_t  *cln;

    static ngx_cycle_t  *cycle;

    if (ngx_http_registry_tls_system && cycle == cf->cycle) {
        return NGX_OK;
    }

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    store = X509_STORE_new();

    if (store == NULL || X509_STORE_set_default_paths(store) == 0) {
        ngx_ssl_error(NGX_LOG_EMERG, cf->log, 0,
                      "X509_STORE_set_default_paths() failed");
        X509_STORE_free(store);
        return NGX_ERROR;
    }

    /* it may leave errors in the queue although it succeeds */

    ERR_clear_error();

    cln->handler = ngx_http_registry_tls_system_cleanup;
    cln->data = store;

    ngx_http_registry_tls_system = store;
    cycle = cf->cycle;

    return NGX_OK;
}


static void
ngx_http_registry_tls_system_cleanup(void *data)
{
    X509_STORE  *store = data;

    if (ngx_http_registry_tls_system == store) {
        ngx_http_registry_tls_system = NULL;
    }

    X509_STORE_free(store);
}


void
ngx_http_registry_tls_cleanup(ngx_http_registry_client_state_t *state)
{
    ngx_uint_t  i;

    ngx_http_registry_session_forget(state);

    for (i = 0; i < 2; i++) {
        if (state->tls.ssl[i].ctx) {
            SSL_CTX_free(state->tls.ssl[i].ctx);
            state->tls.ssl[i].ctx = NULL;
        }
    }
}


/* both contexts, or none of them */

static ngx_int_t
ngx_http_registry_tls_reload(ngx_http_registry_client_state_t *state,
    ngx_log_t *log)
{
    ngx_uint_t                i;
    ngx_http_registry_tls_t  *tls;
    SSL_CTX                  *old[2];

    tls = &state->tls;

    for (i = 0; i < 2; i++) {
        old[i] = tls->ssl[i].ctx;
        tls->ssl[i].ctx = NULL;
    }

    if (ngx_http_registry_tls_load(state, &tls->ssl[0], 1, log) != NGX_OK) {
        goto failed;
    }

    if (state->authenticated
        && ngx_http_registry_tls_load(state, &tls->ssl[1], 0, log) != NGX_OK)
    {
        goto failed;
    }

    for (i = 0; i < 2; i++) {
        if (old[i]) {
            SSL_CTX_free(old[i]);
        }
    }

    ngx_http_registry_session_forget(state);

    return NGX_OK;

failed:

    for (i = 0; i < 2; i++) {
        if (tls->ssl[i].ctx) {
            SSL_CTX_free(tls->ssl[i].ctx);
        }

        tls->ssl[i].ctx = old[i];
    }

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_registry_tls_load(ngx_http_registry_client_state_t *state,
    ngx_ssl_t *ssl, ngx_uint_t own, ngx_log_t *log)
{
    ngx_http_registry_client_t  *client;

    client = state->client;

    ssl->log = log;

    if (ngx_ssl_create(ssl, NGX_SSL_TLSv1_2|NGX_SSL_TLSv1_3, state)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* what was not written is written again from where it has moved to */

    SSL_CTX_set_mode(ssl->ctx, SSL_MODE_ENABLE_PARTIAL_WRITE
                               |SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);

    SSL_CTX_set_info_callback(ssl->ctx, ngx_http_registry_tls_info);

    SSL_CTX_set_session_cache_mode(ssl->ctx, SSL_SESS_CACHE_CLIENT
                                             |SSL_SESS_CACHE_NO_INTERNAL);

    SSL_CTX_sess_set_new_cb(ssl->ctx, ngx_http_registry_session_new);

    if (client->ssl_verify
        && ngx_http_registry_tls_trust(state, ssl) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (own && state->authenticated) {
        return ngx_http_registry_tls_identify(client, ssl);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_tls_trust(ngx_http_registry_client_state_t *state,
    ngx_ssl_t *ssl)
{
    ngx_str_t  *file;

    file = &state->client->ssl_trusted_certificate;

    SSL_CTX_set_verify(ssl->ctx, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_verify_depth(ssl->ctx, (int) state->client->ssl_verify_depth);

    if (file->len == 0) {

        /* the context takes the reference */

        X509_STORE_up_ref(state->tls.system);
        SSL_CTX_set_cert_store(ssl->ctx, state->tls.system);

        return NGX_OK;
    }

    if (SSL_CTX_load_verify_locations(ssl->ctx, (char *) file->data, NULL)
        == 0)
    {
        ngx_ssl_error(NGX_LOG_ERR, ssl->log, 0,
                      "SSL_CTX_load_verify_locations(\"%V\") failed", file);
        return NGX_ERROR;
    }

    /* it may leave errors in the queue although it succeeds */

    ERR_clear_error();

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_tls_identify(ngx_http_registry_client_t *client,
    ngx_ssl_t *ssl)
{
    char  *cert, *key;

    cert = (char *) client->ssl_certificate.data;
    key = (char *) client->ssl_certificate_key.data;

    /* nobody is there to be asked for a password */

    SSL_CTX_set_default_passwd_cb(ssl->ctx, ngx_http_registry_tls_password);

    if (SSL_CTX_use_certificate_chain_file(ssl->ctx, cert) == 0) {
        ngx_ssl_error(NGX_LOG_ERR, ssl->log, 0,
                      "SSL_CTX_use_certificate_chain_file(\"%s\") failed",
                      cert);
        return NGX_ERROR;
    }

    if (SSL_CTX_use_PrivateKey_file(ssl->ctx, key, SSL_FILETYPE_PEM) == 0) {
        ngx_ssl_error(NGX_LOG_ERR, ssl->log, 0,
                      "SSL_CTX_use_PrivateKey_file(\"%s\") failed", key);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static int
ngx_http_registry_tls_password(char *buf, int size, int rwflag, void *data)
{
    return 0;
}


/* of the files as they are now: they are looked at once a second */

static ngx_ssl_t *
ngx_http_registry_tls_context(ngx_http_registry_exchange_t *x)
{
    ngx_uint_t                         i, changed;
    ngx_http_registry_tls_t           *tls;
    ngx_http_registry_client_state_t  *state;

    state = x->state;
    tls = &state->tls;

    if (tls->checked != ngx_time()) {

        tls->checked = ngx_time();
        changed = 0;

        for (i = 0; i < NGX_HTTP_REGISTRY_TLS_FILES; i++) {
            if (tls->files[i].name.len) {
                changed |= ngx_http_registry_file_changed(&tls->files[i]);
            }
        }

        if (changed
            && ngx_http_registry_tls_reload(state, ngx_cycle->log) != NGX_OK)
        {
            ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                          "registry: the certificates of \"%V\" have changed, "
                          "but the old ones stay in use",
                          &state->client->name);
        }
    }

    return &tls->ssl[x->target || !state->authenticated ? 0 : 1];
}


/* the step that starts a handshake */

ngx_int_t
ngx_http_registry_tls(ngx_http_registry_exchange_t *x)
{
    ngx_int_t                     rc;
    ngx_ssl_t                    *ssl;
    ngx_connection_t             *c;
    ngx_http_registry_session_t  *session;

    x->log.action = "TLS handshaking";

    c = x->peer->connection;
    ssl = ngx_http_registry_tls_context(x);

    if (ngx_ssl_create_connection(ssl, c, NGX_SSL_CLIENT) != NGX_OK
        || ngx_http_registry_tls_server(x, c->ssl->connection) != NGX_OK)
    {
        return ngx_http_registry_exchange_fail(x, NGX_HTTP_REGISTRY_CALL_LOCAL,
                                               NULL, 0);
    }

    session = ngx_http_registry_session(x->state, ssl->ctx, x->name.data,
                                        x->name.len);

    if (session->session
        && ngx_ssl_set_session(c, session->session) != NGX_OK)
    {
        return ngx_http_registry_exchange_fail(x, NGX_HTTP_REGISTRY_CALL_LOCAL,
                                               NULL, 0);
    }

    ngx_http_registry_tls_failure.connection = NULL;

    c->log = ngx_http_registry_exchange_mute(x, NGX_LOG_CRIT);

    rc = ngx_ssl_handshake(c);

    if (rc == NGX_AGAIN) {
        c->ssl->handler = ngx_http_registry_tls_handler;
        x->step = ngx_http_registry_exchange_idle;

        return NGX_AGAIN;
    }

    x->step = ngx_http_registry_tls_done;

    return NGX_OK;
}


static void
ngx_http_registry_tls_handler(ngx_connection_t *c)
{
    ngx_http_registry_exchange_t  *x;

    x = c->data;

    x->step = ngx_http_registry_tls_done;

    ngx_http_registry_exchange_run(x);
}


static ngx_int_t
ngx_http_registry_tls_done(ngx_http_registry_exchange_t *x)
{
    long               result;
    const char        *reason;
    ngx_connection_t  *c;

    c = x->peer->connection;
    c->log = &x->log;

    if (c->ssl->handshaked) {

        c->read->handler = ngx_http_registry_connection_handler;
        c->write->handler = ngx_http_registry_connection_handler;

        x->step = ngx_http_registry_talk;

        return NGX_OK;
    }

    result = SSL_get_verify_result(c->ssl->connection);

    if (x->call.client->ssl_verify && result != X509_V_OK) {
        reason = X509_verify_cert_error_string(result);

    } else {
        reason = ngx_http_registry_tls_reason(c);
    }

    if (reason == NULL) {
        reason = "the handshake was broken off";
    }

    return ngx_http_registry_exchange_fail(x, NGX_HTTP_REGISTRY_CALL_TLS,
                                           reason, 0);
}


/* who the server must be */

static ngx_int_t
ngx_http_registry_tls_server(ngx_http_registry_exchange_t *x,
    ngx_ssl_conn_t *ssl_conn)
{
    int                 rc;
    char               *name;
    X509_VERIFY_PARAM  *param;

    name = ngx_http_registry_tls_name(x);
    if (name == NULL) {
        return NGX_ERROR;
    }

    param = SSL_get0_param(ssl_conn);

    if (ngx_http_registry_tls_address(&x->name)) {

        /* RFC 6066: literal addresses are not sent */

        rc = X509_VERIFY_PARAM_set1_ip_asc(param, name);

    } else {
        X509_VERIFY_PARAM_set_hostflags(param,
                                        X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);

        rc = X509_VERIFY_PARAM_set1_host(param, name, 0)
             && SSL_set_tlsext_host_name(ssl_conn, name);
    }

    if (rc == 0) {
        ngx_ssl_error(NGX_LOG_ERR, &x->log, 0,
                      "could not set the server's name \"%s\"", name);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* whether a kept connection was made with the same settings, to that server */

ngx_uint_t
ngx_http_registry_tls_fits(ngx_http_registry_exchange_t *x,
    ngx_connection_t *c)
{
    char        *address;
    X509        *cert;
    ngx_uint_t   rc;
    ngx_ssl_t   *ssl;
    const char  *name;

    ssl = ngx_http_registry_tls_context(x);

    if (c->ssl == NULL
        || SSL_get_SSL_CTX(c->ssl->connection) != ssl->ctx)
    {
        return 0;
    }

    name = SSL_get_servername(c->ssl->connection, TLSEXT_NAMETYPE_host_name);

    if (!ngx_http_registry_tls_address(&x->name)) {

        return name
               && ngx_strlen(name) == x->name.len
               && ngx_strncasecmp((u_char *) name, x->name.data, x->name.len)
                  == 0;
    }

    cert = SSL_get_peer_certificate(c->ssl->connection);
    address = ngx_http_registry_tls_name(x);

    rc = name == NULL
         && address
         && (!x->call.client->ssl_verify
             || (cert && X509_check_ip_asc(cert, address, 0) == 1));

    if (cert) {
        X509_free(cert);
    }

    return rc;
}


static ngx_uint_t
ngx_http_registry_tls_address(ngx_str_t *name)
{
#if (NGX_HAVE_INET6)
    u_char  addr[16];
#endif

    if (ngx_inet_addr(name->data, name->len) != INADDR_NONE) {
        return 1;
    }

#if (NGX_HAVE_INET6)
    return ngx_inet6_addr(name->data, name->len, addr) == NGX_OK;
#else
    return 0;
#endif
}


static char *
ngx_http_registry_tls_name(ngx_http_registry_exchange_t *x)
{
    u_char  *p;

    p = ngx_pnalloc(x->call.pool, x->name.len + 1);
    if (p == NULL) {
        return NULL;
    }

    ngx_cpystrn(p, x->name.data, x->name.len + 1);

    return (char *) p;
}


ngx_uint_t
ngx_http_registry_tls_pending(ngx_connection_t *c)
{
    return c->ssl && SSL_pending(c->ssl->connection) > 0;
}


const char *
ngx_http_registry_tls_reason(ngx_connection_t *c)
{
    if (c->ssl == NULL
        || ngx_http_registry_tls_failure.connection != c->ssl->connection)
    {
        return NULL;
    }

    return ngx_http_registry_tls_failure.text;
}


static void
ngx_http_registry_tls_info(const ngx_ssl_conn_t *ssl_conn, int where, int ret)
{
    const char  *text;

    if ((where & SSL_CB_READ_ALERT) == SSL_CB_READ_ALERT
        && (ret & 0xff) != SSL3_AD_CLOSE_NOTIFY)
    {
        /* OpenSSL 3.0 has no text for this one */

        text = (ret & 0xff) == NGX_HTTP_REGISTRY_TLS_CERTIFICATE_REQUIRED
               ? "certificate required" : SSL_alert_desc_string_long(ret);

    } else if (where == SSL_CB_CONNECT_EXIT && ret <= 0
               && ngx_http_registry_tls_failure.connection != ssl_conn)
    {
        text = ERR_reason_error_string(ERR_peek_last_error());

    } else {
        return;
    }

    if (text) {
        ngx_http_registry_tls_failure.connection = ssl_conn;
        ngx_http_registry_tls_failure.text = text;
    }
}


#else /* !NGX_SSL */


ngx_int_t
ngx_http_registry_tls_init(ngx_conf_t *cf,
    ngx_http_registry_client_state_t *state)
{
    ngx_uint_t                   i;
    ngx_http_registry_client_t  *client;
    ngx_http_registry_target_t  *target;

    client = state->client;
    target = client->targets.elts;

    for (i = 0; i < client->targets.nelts; i++) {

        if (target[i].url.https) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "https needs nginx with SSL in %s:%ui",
                          client->file, client->line);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


void
ngx_http_registry_tls_cleanup(ngx_http_registry_client_state_t *state)
{
}


ngx_int_t
ngx_http_registry_tls(ngx_http_registry_exchange_t *x)
{
    return ngx_http_registry_exchange_fail(x, NGX_HTTP_REGISTRY_CALL_TLS,
                                           "nginx was built without SSL", 0);
}


ngx_uint_t
ngx_http_registry_tls_fits(ngx_http_registry_exchange_t *x,
    ngx_connection_t *c)
{
    return 0;
}


ngx_uint_t
ngx_http_registry_tls_pending(ngx_connection_t *c)
{
    return 0;
}


const char *
ngx_http_registry_tls_reason(ngx_connection_t *c)
{
    return NULL;
}


#endif
