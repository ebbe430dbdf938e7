
/*
 * A corporate proxy: which hosts go through it, its CONNECT for https, its
 * credentials.  Requests of http go to it in absolute form, since many proxies
 * refuse to CONNECT to anything but port 443.
 */


#include "ngx_http_registry_client_exchange.h"
#include "registry_credentials.h"


static ngx_int_t ngx_http_registry_proxy_bypass(ngx_conf_t *cf,
    ngx_http_registry_client_state_t *state, ngx_str_t *name);
static ngx_int_t ngx_http_registry_proxy_load(
    ngx_http_registry_client_state_t *state, ngx_log_t *log);
static ngx_int_t ngx_http_registry_proxy_set(
    ngx_http_registry_client_state_t *state,
    registry_credentials_t *credentials);
static ngx_int_t ngx_http_registry_tunnel_wait(
    ngx_http_registry_exchange_t *x);
static ngx_int_t ngx_http_registry_tunnel_send(
    ngx_http_registry_exchange_t *x);
static ngx_int_t ngx_http_registry_tunnel_read(
    ngx_http_registry_exchange_t *x);
static ngx_int_t ngx_http_registry_tunnel_answer(
    ngx_http_registry_exchange_t *x, size_t len);


ngx_int_t
ngx_http_registry_proxy_init(ngx_conf_t *cf,
    ngx_http_registry_client_state_t *state)
{
    ngx_str_t                   *name;
    ngx_uint_t                   i;
    ngx_http_registry_client_t  *client;

    client = state->client;

    if (client->proxy.host.len == 0) {
        return NGX_OK;
    }

    if (client->proxy.https) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "TLS to the \"http_proxy\" of \"%V\" is not supported "
                      "in %s:%ui", &client->name, client->file, client->line);
        return NGX_ERROR;
    }

    state->credentials.name = client->proxy_credentials;

    if (client->proxy_credentials.len) {

        (void) ngx_http_registry_file_changed(&state->credentials);
        state->checked = ngx_time();

        if (ngx_http_registry_proxy_load(state, cf->log) != NGX_OK) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "no credentials for the \"http_proxy\" of \"%V\" "
                          "in %s:%ui",
                          &client->name, client->file, client->line);
            return NGX_ERROR;
        }
    }

    if (ngx_array_init(&state->bypass_names, cf->pool, 4, sizeof(ngx_str_t))
        != NGX_OK
        || ngx_array_init(&state->bypass_cidrs, cf->pool, 4,
                          sizeof(ngx_cidr_t))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (client->no_proxy == NULL) {
        return NGX_OK;
    }

    name = client->no_proxy->elts;

    for (i = 0; i < client->no_proxy->nelts; i++) {
        if (ngx_http_registry_proxy_bypass(cf, state, &name[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_proxy_bypass(ngx_conf_t *cf,
    ngx_http_registry_client_state_t *state, ngx_str_t *name)
{
    ngx_int_t    rc;
    ngx_str_t   *slot;
    ngx_cidr_t   cidr, *p;

    ngx_memzero(&cidr, sizeof(ngx_cidr_t));

    rc = ngx_ptocidr(name, &cidr);

    if (rc != NGX_ERROR) {

        if (rc == NGX_DONE) {
            ngx_log_error(NGX_LOG_WARN, cf->log, 0,
                          "low address bits of %V are meaningless in %s:%ui",
                          name, state->client->file, state->client->line);
        }

        p = ngx_array_push(&state->bypass_cidrs);
        if (p == NULL) {
            return NGX_ERROR;
        }

        *p = cidr;

        return NGX_OK;
    }

    if (name->len == 0 || ngx_strlchr(name->data, name->data + name->len, '/'))
    {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "invalid \"no_proxy\" \"%V\" in %s:%ui",
                      name, state->client->file, state->client->line);
        return NGX_ERROR;
    }

    slot = ngx_array_push(&state->bypass_names);
    if (slot == NULL) {
        return NGX_ERROR;
    }

    *slot = *name;

    return NGX_OK;
}


void
ngx_http_registry_proxy_cleanup(ngx_http_registry_client_state_t *state)
{
    if (state->authorization.data) {
        ngx_explicit_memzero(state->authorization.data,
                             state->authorization.len);
        ngx_free(state->authorization.data);
        ngx_str_null(&state->authorization);
    }
}


/* the host is not resolved for this: only a URL with an address matches one */

ngx_uint_t
ngx_http_registry_proxy_applies(ngx_http_registry_exchange_t *x)
{
    ngx_str_t   *name;
    ngx_uint_t   i;
    ngx_addr_t   addr;

    if (x->call.client->proxy.host.len == 0) {
        return 0;
    }

    if (ngx_parse_addr(x->call.pool, &addr, x->host.data, x->host.len)
        == NGX_OK
        && ngx_cidr_match(addr.sockaddr, &x->state->bypass_cidrs) == NGX_OK)
    {
        return 0;
    }

    name = x->state->bypass_names.elts;

    for (i = 0; i < x->state->bypass_names.nelts; i++) {

        if (name[i].len == 1 && name[i].data[0] == '*') {
            return 0;
        }

        if (name[i].data[0] == '.' ? x->host.len <= name[i].len
                                   : x->host.len != name[i].len)
        {
            continue;
        }

        if (ngx_strncasecmp(x->host.data + x->host.len - name[i].len,
                            name[i].data, name[i].len)
            == 0)
        {
            return 0;
        }
    }

    return 1;
}


/* the value of Proxy-Authorization, which is empty if there is none */

ngx_str_t *
ngx_http_registry_proxy_authorization(ngx_http_registry_client_state_t *state)
{
    if (state->credentials.name.len && state->checked != ngx_time()) {

        state->checked = ngx_time();

        if (ngx_http_registry_file_changed(&state->credentials)) {
            (void) ngx_http_registry_proxy_load(state, ngx_cycle->log);
        }
    }

    return &state->authorization;
}


/* NGX_ERROR: the file is of no use, what was known before stays */

static ngx_int_t
ngx_http_registry_proxy_load(ngx_http_registry_client_state_t *state,
    ngx_log_t *log)
{
    ngx_int_t                rc;
    ngx_str_t                text;
    const char              *reason;
    ngx_pool_t              *pool;
    registry_str_t           in;
    registry_status_e        status;
    registry_credentials_t   credentials;

    rc = NGX_ERROR;
    ngx_str_null(&text);

    pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    if (ngx_http_registry_file_read(&state->credentials,
                                    REGISTRY_CREDENTIALS_FILE_MAX, pool, &text,
                                    log)
        != NGX_OK)
    {
        goto done;
    }

    in.data = (char *) text.data;
    in.len = text.len;
    reason = "memory is short";

    status = registry_credentials_find(in, &state->client->proxy.authority, 1,
                                       &credentials, &reason);

    if (status != REGISTRY_OK) {
        ngx_log_error(NGX_LOG_ERR, log, 0, "\"%V\": %s",
                      &state->credentials.name, reason);
        goto done;
    }

    rc = ngx_http_registry_proxy_set(state, &credentials);

    registry_credentials_free(&credentials);

done:

    ngx_explicit_memzero(text.data, text.len);
    ngx_destroy_pool(pool);

    return rc;
}


static ngx_int_t
ngx_http_registry_proxy_set(ngx_http_registry_client_state_t *state,
    registry_credentials_t *credentials)
{
    size_t          size;
    ngx_str_t       value;
    registry_str_t  user, password;

    user.data = credentials->user;
    user.len = ngx_strlen(credentials->user);

    password.data = credentials->password;
    password.len = ngx_strlen(credentials->password);

    size = registry_basic_size(user.len, password.len);

    value.data = ngx_alloc(size, ngx_cycle->log);
    if (value.data == NULL) {
        return NGX_ERROR;
    }

    if (registry_basic_value(user, password, (char *) value.data, size,
                             &value.len)
        != REGISTRY_OK)
    {
        ngx_free(value.data);
        return NGX_ERROR;
    }

    if (value.len == state->authorization.len
        && ngx_memcmp(value.data, state->authorization.data, value.len) == 0)
    {
        ngx_explicit_memzero(value.data, value.len);
        ngx_free(value.data);
        return NGX_OK;
    }

    ngx_http_registry_proxy_cleanup(state);

    state->authorization = value;
    state->version++;

    return NGX_OK;
}


/* the step that asks the proxy for a way through it */

ngx_int_t
ngx_http_registry_tunnel(ngx_http_registry_exchange_t *x)
{
    u_char     *p;
    size_t      size;
    ngx_buf_t  *b;
    ngx_str_t  *authorization;

    x->log.action = "asking the proxy";

    authorization = ngx_http_registry_proxy_authorization(x->state);
    x->shown = x->state->version;

    size = sizeof("CONNECT  HTTP/1.1" CRLF "Host: " CRLF
                  "User-Agent: " NGX_HTTP_REGISTRY_USER_AGENT CRLF
                  "Proxy-Authorization: " CRLF CRLF) - 1
           + 2 * x->origin.len + authorization->len;

    b = &x->tunnel;

    b->start = ngx_pnalloc(x->call.pool, size);
    if (b->start == NULL || ngx_http_registry_buffer(x) != NGX_OK) {
        return ngx_http_registry_exchange_fail(x, NGX_HTTP_REGISTRY_CALL_LOCAL,
                                               NULL, 0);
    }

    p = ngx_sprintf(b->start, "CONNECT %V HTTP/1.1" CRLF "Host: %V" CRLF
                    "User-Agent: " NGX_HTTP_REGISTRY_USER_AGENT CRLF,
                    &x->origin, &x->origin);

    if (authorization->len) {
        p = ngx_sprintf(p, "Proxy-Authorization: %V" CRLF, authorization);
    }

    *p++ = CR; *p++ = LF;

    b->pos = b->start;
    b->last = p;

    x->step = ngx_http_registry_tunnel_wait;

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_tunnel_wait(ngx_http_registry_exchange_t *x)
{
    ngx_int_t  rc;

    rc = ngx_http_registry_tunnel_send(x);

    return (rc == NGX_OK) ? ngx_http_registry_tunnel_read(x) : rc;
}


static ngx_int_t
ngx_http_registry_tunnel_send(ngx_http_registry_exchange_t *x)
{
    ssize_t            n;
    ngx_buf_t         *b;
    ngx_connection_t  *c;

    b = &x->tunnel;
    c = x->peer->connection;

    while (b->pos < b->last) {

        n = c->send(c, b->pos, b->last - b->pos);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n < 0) {
            return ngx_http_registry_exchange_fail(x,
                                   NGX_HTTP_REGISTRY_CALL_CONNECT,
                                   "closed by the proxy", ngx_socket_errno);
        }

        b->pos += n;
    }

    if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
        return ngx_http_registry_exchange_fail(x, NGX_HTTP_REGISTRY_CALL_LOCAL,
                                               NULL, 0);
    }

    return (b->pos == b->last) ? NGX_OK : NGX_AGAIN;
}


static ngx_int_t
ngx_http_registry_tunnel_read(ngx_http_registry_exchange_t *x)
{
    size_t             len;
    ssize_t            n;
    ngx_buf_t         *b;
    registry_str_t     head;
    ngx_connection_t  *c;

    b = &x->in;
    c = x->peer->connection;

    for ( ;; ) {

        head.data = (char *) b->pos;
        head.len = b->last - b->pos;

        len = registry_http_head_end(head, &x->scanned);

        if (len) {
            return ngx_http_registry_tunnel_answer(x, len);
        }

        if (head.len >= NGX_HTTP_REGISTRY_HEAD_MAX) {
            return ngx_http_registry_exchange_fail(x,
                                   NGX_HTTP_REGISTRY_CALL_PROXY,
                                   "its answer is too large", 0);
        }

        n = c->recv(c, b->last, b->end - b->last);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n <= 0) {
            return ngx_http_registry_exchange_fail(x,
                                   NGX_HTTP_REGISTRY_CALL_CONNECT,
                                   "closed by the proxy",
                                   n < 0 ? ngx_socket_errno : 0);
        }

        b->last += n;
    }

    if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        return ngx_http_registry_exchange_fail(x, NGX_HTTP_REGISTRY_CALL_LOCAL,
                                               NULL, 0);
    }

    return NGX_AGAIN;
}


static ngx_int_t
ngx_http_registry_tunnel_answer(ngx_http_registry_exchange_t *x, size_t len)
{
    registry_str_t            head;
    registry_http_response_t  response;

    head.data = (char *) x->in.pos;
    head.len = len;

    if (registry_http_head_parse(head, &response) != REGISTRY_OK) {
        return ngx_http_registry_exchange_fail(x, NGX_HTTP_REGISTRY_CALL_PROXY,
                                               "its answer is not HTTP", 0);
    }

    if (response.status / 100 == 1) {
        x->in.pos += len;
        x->scanned = 0;
        return NGX_OK;
    }

    if (response.status / 100 != 2) {

        if ((response.status == 407
             || response.status == NGX_HTTP_UNAUTHORIZED)
            && ngx_http_registry_proxy_refused(x))
        {
            return ngx_http_registry_reconnect(x);
        }

        return ngx_http_registry_exchange_fail(x, NGX_HTTP_REGISTRY_CALL_PROXY,
                             ngx_http_registry_proxy_reason(response.status),
                             0);
    }

    /* the server waits for us to begin */

    if (x->in.last - x->in.pos != (ssize_t) len) {
        return ngx_http_registry_exchange_fail(x, NGX_HTTP_REGISTRY_CALL_PROXY,
                                               "it says more than it may", 0);
    }

    x->in.pos = x->in.start;
    x->in.last = x->in.start;
    x->scanned = 0;

    x->step = ngx_http_registry_tls;

    return NGX_OK;
}


ngx_uint_t
ngx_http_registry_proxy_refused(ngx_http_registry_exchange_t *x)
{
    if (x->state->credentials.name.len) {
        (void) ngx_http_registry_proxy_load(x->state, ngx_cycle->log);
    }

    /* another call may have found them */

    return x->shown != x->state->version;
}


const char *
ngx_http_registry_proxy_reason(ngx_uint_t status)
{
    switch (status) {

    case 407:
        return "407: it wants other credentials";

    case NGX_HTTP_UNAUTHORIZED:

        /* tinyproxy, of wrong ones */

        return "401: it wants other credentials";

    case NGX_HTTP_FORBIDDEN:
        return "403: it does not let this host through";

    case NGX_HTTP_BAD_GATEWAY:
        return "502: it could not reach the server";

    case NGX_HTTP_SERVICE_UNAVAILABLE:
        return "503: it could not reach the server";

    case NGX_HTTP_GATEWAY_TIME_OUT:
        return "504: the server did not answer it";

    default:
        return "it answered CONNECT with an error";
    }
}
