
/*
 * Connections: made to the first address that answers, and kept for the next
 * call.  Those to the servers of an upstream {} are kept by it, if it says
 * "keepalive", together with those of proxy_pass.
 */


#include "ngx_http_registry_client_exchange.h"


/* in the connection's pool, made once */

struct ngx_http_registry_kept_s {
    ngx_queue_t                        queue;
    ngx_connection_t                  *connection;
    ngx_http_registry_client_state_t  *state;
    ngx_sockaddr_t                     sockaddr;
    socklen_t                          socklen;
    ngx_str_t                          origin;
};


static ngx_int_t ngx_http_registry_connect_get(
    ngx_http_registry_exchange_t *x);
static ngx_int_t ngx_http_registry_connect_addr(
    ngx_http_registry_exchange_t *x);
static ngx_int_t ngx_http_registry_connect_new(
    ngx_http_registry_exchange_t *x);
static ngx_int_t ngx_http_registry_connect_opened(
    ngx_http_registry_exchange_t *x, ngx_int_t rc);
static ngx_int_t ngx_http_registry_connected(ngx_http_registry_exchange_t *x);
static ngx_int_t ngx_http_registry_connection_cancel(
    ngx_http_registry_exchange_t *x);
static void ngx_http_registry_connection_close(ngx_connection_t *c);
static ngx_uint_t ngx_http_registry_connection_fits(
    ngx_http_registry_exchange_t *x, ngx_connection_t *c);

static ngx_int_t ngx_http_registry_keep(ngx_http_registry_exchange_t *x,
    ngx_connection_t *c);
static ngx_http_registry_kept_t *ngx_http_registry_kept_create(
    ngx_http_registry_exchange_t *x, ngx_connection_t *c);
static ngx_connection_t *ngx_http_registry_kept_get(
    ngx_http_registry_exchange_t *x, ngx_addr_t *addr);
static void ngx_http_registry_kept_handler(ngx_event_t *ev);
static void ngx_http_registry_kept_dummy(ngx_event_t *ev);
static void ngx_http_registry_kept_close(ngx_http_registry_kept_t *kept);


ngx_int_t
ngx_http_registry_connect(ngx_http_registry_exchange_t *x)
{
    ngx_int_t  rc;

    x->log.action = "connecting";

    rc = ngx_http_registry_connect_get(x);

    if (rc == NGX_OK) {
        return ngx_http_registry_connect_new(x);
    }

    return ngx_http_registry_connect_opened(x, rc);
}


/*
 * NGX_OK: x->peer has the next address; NGX_DONE: and a connection that was
 * kept.
 */

static ngx_int_t
ngx_http_registry_connect_get(ngx_http_registry_exchange_t *x)
{
    ngx_int_t               rc;
    ngx_addr_t              addr;
    ngx_peer_connection_t  *pc;

    if (x->upstream == NULL) {
        return ngx_http_registry_connect_addr(x);
    }

    rc = ngx_http_registry_upstream_get(x);

    pc = x->peer;

    if (rc == NGX_DONE) {

        if (x->reuse && ngx_http_registry_connection_fits(x, pc->connection)) {
            return NGX_DONE;
        }

        /* somebody else's, made with other settings */

        ngx_http_registry_connection_close(pc->connection);
        pc->connection = NULL;
        pc->cached = 0;

        rc = NGX_OK;
    }

    if (rc == NGX_OK && x->reuse) {

        addr.sockaddr = pc->sockaddr;
        addr.socklen = pc->socklen;

        pc->connection = ngx_http_registry_kept_get(x, &addr);

        if (pc->connection) {
            return NGX_DONE;
        }
    }

    return rc;
}


/* one that is connected to already goes first */

static ngx_int_t
ngx_http_registry_connect_addr(ngx_http_registry_exchange_t *x)
{
    ngx_uint_t              i;
    ngx_addr_t             *addr, temp;
    ngx_connection_t       *c;
    ngx_peer_connection_t  *pc;

    c = NULL;
    addr = x->addrs;

    for (i = x->next; x->reuse && i < x->naddrs; i++) {

        c = ngx_http_registry_kept_get(x, &addr[i]);

        if (c) {
            temp = addr[i];
            addr[i] = addr[x->next];
            addr[x->next] = temp;
            break;
        }
    }

    addr = &x->addrs[x->next++];
    pc = x->peer;

    pc->sockaddr = addr->sockaddr;
    pc->socklen = addr->socklen;
    pc->name = &addr->name;
    pc->connection = c;

    x->call.peer = addr->name;

    return c ? NGX_DONE : NGX_OK;
}


/* the step that connects to the address in x->peer */

static ngx_int_t
ngx_http_registry_connect_new(ngx_http_registry_exchange_t *x)
{
    ngx_int_t  rc;

    ngx_http_registry_exchange_wait(x, NGX_HTTP_REGISTRY_WAIT_CONNECT);

    x->peer->log = ngx_http_registry_exchange_mute(x, NGX_LOG_ERR);

    rc = ngx_event_connect_peer(x->peer);

    x->peer->log = &x->log;

    return ngx_http_registry_connect_opened(x, rc);
}


static ngx_int_t
ngx_http_registry_connect_opened(ngx_http_registry_exchange_t *x, ngx_int_t rc)
{
    ngx_err_t                        err;
    ngx_connection_t                *c;
    ngx_http_registry_call_error_e   error;

    err = ngx_socket_errno;

    switch (rc) {

    case NGX_BUSY:
        /* if some were tried, that is why */
        error = x->call.error ? x->call.error : NGX_HTTP_REGISTRY_CALL_BUSY;
        return ngx_http_registry_exchange_fail(x, error, x->call.reason,
                                               x->call.err);

    case NGX_DECLINED:
        return ngx_http_registry_exchange_fail(x,
                                   NGX_HTTP_REGISTRY_CALL_CONNECT, NULL, err);

    case NGX_ERROR:
        return ngx_http_registry_exchange_fail(x, NGX_HTTP_REGISTRY_CALL_LOCAL,
                                               NULL, 0);
    }

    /* NGX_OK, NGX_AGAIN or NGX_DONE */

    c = x->peer->connection;

    c->data = x;
    c->read->handler = ngx_http_registry_connection_handler;
    c->write->handler = ngx_http_registry_connection_handler;

    c->log = &x->log;
    c->read->log = c->log;
    c->write->log = c->log;

    if (c->pool == NULL) {

        /* it may outlive the call */

        c->pool = ngx_create_pool(256, c->log);
        if (c->pool == NULL) {
            return ngx_http_registry_exchange_fail(x,
                                   NGX_HTTP_REGISTRY_CALL_LOCAL, NULL, 0);
        }
    }

    c->pool->log = c->log;
    c->requests++;

    x->cached = (rc == NGX_DONE);
    x->step = x->cached ? ngx_http_registry_talk : ngx_http_registry_connected;

    return NGX_OK;
}


ngx_uint_t
ngx_http_registry_connect_more(ngx_http_registry_exchange_t *x)
{
    return x->upstream ? x->peer->tries > 0 : x->next < x->naddrs;
}


ngx_int_t
ngx_http_registry_reconnect(ngx_http_registry_exchange_t *x)
{
    ngx_http_registry_connection_close(x->peer->connection);
    x->peer->connection = NULL;

    (void) ngx_http_registry_rewind(x);

    x->peer->cached = 0;
    x->kept = NULL;
    x->cached = 0;
    x->step = ngx_http_registry_connect_new;

    return NGX_OK;
}


/* the step once connect() has ended */

static ngx_int_t
ngx_http_registry_connected(ngx_http_registry_exchange_t *x)
{
    int                err;
    socklen_t          len;
    ngx_connection_t  *c;

    c = x->peer->connection;

    if (!c->write->ready && !c->read->ready) {
        return NGX_AGAIN;
    }

    err = 0;
    len = sizeof(int);

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, (void *) &err, &len) == -1) {
        err = ngx_socket_errno;
    }

    if (err) {
        return ngx_http_registry_exchange_fail(x,
                                   NGX_HTTP_REGISTRY_CALL_CONNECT, NULL, err);
    }

    if (c->tcp_nodelay != NGX_TCP_NODELAY_DISABLED
        && ngx_tcp_nodelay(c) != NGX_OK)
    {
        return ngx_http_registry_exchange_fail(x, NGX_HTTP_REGISTRY_CALL_LOCAL,
                                               NULL, 0);
    }

    if (!x->call.url.https) {
        x->step = ngx_http_registry_talk;

    } else {
        x->step = x->proxied ? ngx_http_registry_tunnel : ngx_http_registry_tls;
    }

    return NGX_OK;
}


void
ngx_http_registry_connection_handler(ngx_event_t *ev)
{
    ngx_connection_t              *c;
    ngx_http_registry_exchange_t  *x;

    c = ev->data;
    x = c->data;

    if (c->close) {

        /* worker_shutdown_timeout */

        x->step = ngx_http_registry_connection_cancel;
    }

    ngx_http_registry_exchange_run(x);
}


static ngx_int_t
ngx_http_registry_connection_cancel(ngx_http_registry_exchange_t *x)
{
    return ngx_http_registry_exchange_fail(x, NGX_HTTP_REGISTRY_CALL_LOCAL,
                                           "the worker is shutting down", 0);
}


void
ngx_http_registry_disconnect(ngx_http_registry_exchange_t *x, ngx_uint_t state,
    ngx_uint_t keep)
{
    ngx_peer_connection_t  *pc;

    pc = x->peer;

    /* one with a certificate of ours is not for proxy_pass */

    if (keep
        && pc->connection
        && (x->upstream == NULL || x->state->authenticated)
        && ngx_http_registry_keep(x, pc->connection) == NGX_OK)
    {
        pc->connection = NULL;
    }

    if (x->upstream) {
        ngx_http_registry_upstream_free(x, state,
                                        keep && !x->state->authenticated);
    }

    if (pc->connection) {
        ngx_http_registry_connection_close(pc->connection);
        pc->connection = NULL;
    }

    x->kept = NULL;
}


static void
ngx_http_registry_connection_close(ngx_connection_t *c)
{
    c->log = ngx_cycle->log;

#if (NGX_SSL)

    if (c->ssl) {

        /* nothing is sent, so this does not wait */

        c->ssl->no_wait_shutdown = 1;
        c->ssl->no_send_shutdown = 1;

        (void) ngx_ssl_shutdown(c);
    }

#endif

    if (c->pool) {
        ngx_destroy_pool(c->pool);
    }

    ngx_close_connection(c);
}


/* whether it was made as this call would make it */

static ngx_uint_t
ngx_http_registry_connection_fits(ngx_http_registry_exchange_t *x,
    ngx_connection_t *c)
{
#if (NGX_SSL)
    return x->call.url.https ? ngx_http_registry_tls_fits(x, c)
                             : c->ssl == NULL;
#else
    return 1;
#endif
}


/* NGX_DECLINED: it can not be used any more, or nothing is to be kept */

static ngx_int_t
ngx_http_registry_keep(ngx_http_registry_exchange_t *x, ngx_connection_t *c)
{
    ngx_http_registry_kept_t          *kept, *last;
    ngx_http_registry_client_t        *client;
    ngx_http_registry_client_state_t  *state;

    state = x->state;
    client = x->call.client;

    if (client->keepalive == 0
        || ngx_exiting
        || ngx_terminate
        || c->read->eof
        || c->read->error
        || c->write->error
        || ngx_handle_read_event(c->read, 0) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    kept = x->kept ? x->kept : ngx_http_registry_kept_create(x, c);
    if (kept == NULL) {
        return NGX_DECLINED;
    }

    if (state->nkept >= client->keepalive) {
        last = ngx_queue_data(ngx_queue_last(&state->kept),
                              ngx_http_registry_kept_t, queue);
        ngx_http_registry_kept_close(last);
    }

    ngx_queue_insert_head(&state->kept, &kept->queue);
    state->nkept++;

    c->data = kept;
    c->idle = 1;
    c->log = ngx_cycle->log;
    c->read->log = c->log;
    c->write->log = c->log;
    c->pool->log = c->log;

    c->read->handler = ngx_http_registry_kept_handler;
    c->write->handler = ngx_http_registry_kept_dummy;

    ngx_add_timer(c->read, client->keepalive_timeout);

    if (c->read->ready) {
        ngx_post_event(c->read, &ngx_posted_events);
    }

    return NGX_OK;
}


static ngx_http_registry_kept_t *
ngx_http_registry_kept_create(ngx_http_registry_exchange_t *x,
    ngx_connection_t *c)
{
    ngx_http_registry_kept_t  *kept;

    kept = ngx_palloc(c->pool,
                      sizeof(ngx_http_registry_kept_t) + x->origin.len);
    if (kept == NULL) {
        return NULL;
    }

    kept->connection = c;
    kept->state = x->state;

    kept->socklen = x->peer->socklen;
    ngx_memcpy(&kept->sockaddr, x->peer->sockaddr, kept->socklen);

    kept->origin.len = x->origin.len;
    kept->origin.data = (u_char *) &kept[1];
    ngx_memcpy(kept->origin.data, x->origin.data, x->origin.len);

    return kept;
}


static ngx_connection_t *
ngx_http_registry_kept_get(ngx_http_registry_exchange_t *x, ngx_addr_t *addr)
{
    ngx_queue_t                       *q;
    ngx_connection_t                  *c;
    ngx_http_registry_kept_t          *kept;
    ngx_http_registry_client_state_t  *state;

    state = x->state;

    for (q = ngx_queue_head(&state->kept);
         q != ngx_queue_sentinel(&state->kept);
         q = ngx_queue_next(q))
    {
        kept = ngx_queue_data(q, ngx_http_registry_kept_t, queue);
        c = kept->connection;

        if (ngx_memn2cmp((u_char *) &kept->sockaddr, (u_char *) addr->sockaddr,
                         kept->socklen, addr->socklen)
            != 0
            || kept->origin.len != x->origin.len
            || ngx_memcmp(kept->origin.data, x->origin.data, x->origin.len)
               != 0
            || !ngx_http_registry_connection_fits(x, c))
        {
            continue;
        }

        ngx_queue_remove(&kept->queue);
        state->nkept--;

        x->kept = kept;

        c->idle = 0;
        c->sent = 0;

        if (c->read->timer_set) {
            ngx_del_timer(c->read);
        }

        if (c->read->posted) {
            ngx_delete_posted_event(c->read);
        }

        return c;
    }

    return NULL;
}


static void
ngx_http_registry_kept_handler(ngx_event_t *ev)
{
    int                n;
    char               buf[1];
    ngx_connection_t  *c;

    c = ev->data;

    if (!c->close && !ev->timedout) {

        n = recv(c->fd, buf, 1, MSG_PEEK);

        if (n == -1 && ngx_socket_errno == NGX_EAGAIN) {
            ev->ready = 0;

            if (ngx_handle_read_event(ev, 0) == NGX_OK) {
                return;
            }
        }
    }

    ngx_http_registry_kept_close(c->data);
}


static void
ngx_http_registry_kept_dummy(ngx_event_t *ev)
{
    ngx_log_debug0(NGX_LOG_DEBUG_HTTP, ev->log, 0,
                   "registry: kept connection");
}


static void
ngx_http_registry_kept_close(ngx_http_registry_kept_t *kept)
{
    ngx_queue_remove(&kept->queue);
    kept->state->nkept--;

    ngx_http_registry_connection_close(kept->connection);
}
