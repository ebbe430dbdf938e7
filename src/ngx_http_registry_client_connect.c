
/*
 * Connections: to the first address that answers, and those that are kept
 * for the next call.
 */


#include "ngx_http_registry_client_exchange.h"


static ngx_int_t ngx_http_registry_connect_addr(
    ngx_http_registry_exchange_t *x);
static ngx_int_t ngx_http_registry_connected(ngx_http_registry_exchange_t *x);
static void ngx_http_registry_connection_handler(ngx_event_t *ev);
static ngx_int_t ngx_http_registry_connection_closed(
    ngx_http_registry_exchange_t *x);
static void ngx_http_registry_connection_close(ngx_connection_t *c);


ngx_int_t
ngx_http_registry_connect(ngx_http_registry_exchange_t *x)
{
    ngx_int_t          rc;
    ngx_err_t          err;
    ngx_connection_t  *c;

    x->log.action = "connecting";

    ngx_http_registry_exchange_wait(x, NGX_HTTP_REGISTRY_WAIT_CONNECT);

    rc = ngx_http_registry_connect_addr(x);
    err = ngx_socket_errno;

    if (rc == NGX_ERROR) {
        return ngx_http_registry_exchange_fail(x, NGX_HTTP_REGISTRY_CALL_LOCAL,
                                               NULL, err);
    }

    if (rc == NGX_DECLINED) {
        return ngx_http_registry_exchange_fail(x,
                                   NGX_HTTP_REGISTRY_CALL_CONNECT, NULL, err);
    }

    /* NGX_OK or NGX_AGAIN */

    c = x->peer->connection;

    if (c->pool == NULL) {

        c->pool = ngx_create_pool(256, &x->log);
        if (c->pool == NULL) {
            return ngx_http_registry_exchange_fail(x,
                                   NGX_HTTP_REGISTRY_CALL_LOCAL, NULL, 0);
        }
    }

    c->requests++;

    c->data = x;
    c->read->handler = ngx_http_registry_connection_handler;
    c->write->handler = ngx_http_registry_connection_handler;

    x->step = ngx_http_registry_connected;

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_connect_addr(ngx_http_registry_exchange_t *x)
{
    ngx_addr_t             *addr;
    ngx_peer_connection_t  *pc;

    addr = &x->addrs[x->next++];
    pc = x->peer;

    pc->sockaddr = addr->sockaddr;
    pc->socklen = addr->socklen;
    pc->name = &addr->name;

    x->call.peer = addr->name;

    return ngx_event_connect_peer(pc);
}


ngx_uint_t
ngx_http_registry_connect_more(ngx_http_registry_exchange_t *x)
{
    return x->next < x->naddrs;
}


void
ngx_http_registry_reconnect(ngx_http_registry_exchange_t *x)
{
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

    if (ngx_tcp_nodelay(c) != NGX_OK) {
        return ngx_http_registry_exchange_fail(x, NGX_HTTP_REGISTRY_CALL_LOCAL,
                                               NULL, 0);
    }

    x->step = ngx_http_registry_talk;

    return NGX_OK;
}


static void
ngx_http_registry_connection_handler(ngx_event_t *ev)
{
    ngx_connection_t              *c;
    ngx_http_registry_exchange_t  *x;

    c = ev->data;
    x = c->data;

    if (c->close) {

        /* worker_shutdown_timeout */

        x->step = ngx_http_registry_connection_closed;
    }

    ngx_http_registry_exchange_run(x);
}


static ngx_int_t
ngx_http_registry_connection_closed(ngx_http_registry_exchange_t *x)
{
    return ngx_http_registry_exchange_fail(x, NGX_HTTP_REGISTRY_CALL_LOCAL,
                                           "the worker is shutting down", 0);
}


void
ngx_http_registry_disconnect(ngx_http_registry_exchange_t *x, ngx_uint_t state,
    ngx_uint_t keep)
{
    ngx_connection_t  *c;

    c = x->peer->connection;

    if (c == NULL) {
        return;
    }

    x->peer->connection = NULL;

    ngx_http_registry_connection_close(c);
}


static void
ngx_http_registry_connection_close(ngx_connection_t *c)
{
    if (c->pool) {
        ngx_destroy_pool(c->pool);
    }

    ngx_close_connection(c);
}
