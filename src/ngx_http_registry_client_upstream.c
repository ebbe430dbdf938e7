
/*
 * The servers of an upstream {}, as its own peer functions choose them.  They
 * want a request: they get one that is not served by nginx, and has no more
 * than they and the variables of a "hash" look at.
 */


#include "ngx_http_registry_client_exchange.h"


typedef struct {
    ngx_http_request_t           request;
    ngx_http_upstream_t          upstream;
    ngx_http_upstream_state_t    state;

    ngx_connection_t             connection;
    ngx_event_t                  read;
    ngx_event_t                  write;
    struct sockaddr_in           sin;
} ngx_http_registry_shim_t;


static ngx_uint_t ngx_http_registry_upstream_backup(
    ngx_http_registry_exchange_t *x);
static ngx_uint_t ngx_http_registry_upstream_listed(
    ngx_http_upstream_rr_peers_t *peers, ngx_peer_connection_t *pc);
static ngx_int_t ngx_http_registry_upstream_find(
    ngx_http_registry_exchange_t *x, ngx_http_upstream_rr_peers_t *peers);
static ngx_int_t ngx_http_registry_upstream_init(
    ngx_http_registry_exchange_t *x);
static ngx_http_registry_shim_t *ngx_http_registry_shim_create(
    ngx_http_registry_exchange_t *x);
static void ngx_http_registry_shim_connection(ngx_http_registry_exchange_t *x,
    ngx_http_registry_shim_t *shim);
static ngx_int_t ngx_http_registry_shim_request(
    ngx_http_registry_exchange_t *x, ngx_http_registry_shim_t *shim);
static ngx_int_t ngx_http_registry_shim_headers(ngx_http_request_t *r);
static void ngx_http_registry_shim_upstream(ngx_http_registry_exchange_t *x,
    ngx_http_registry_shim_t *shim);


/*
 * NGX_OK: x->peer has an address; NGX_DONE: and a connection, which somebody
 * has kept; NGX_BUSY: there is no live server; NGX_ERROR: memory is short.
 */

ngx_int_t
ngx_http_registry_upstream_get(ngx_http_registry_exchange_t *x)
{
    ngx_int_t               rc;
    ngx_uint_t              first;
    ngx_peer_connection_t  *pc;

    first = (x->shim == NULL);

    if (first && ngx_http_registry_upstream_init(x) != NGX_OK) {
        return NGX_ERROR;
    }

    pc = x->peer;

    rc = x->get(pc, pc->data);

    if (rc == NGX_BUSY && first) {

        /* the list of servers may have changed since: nginx 1.27.3 */

        if (ngx_http_registry_upstream_init(x) != NGX_OK) {
            return NGX_ERROR;
        }

        rc = x->get(pc, pc->data);
    }

    if (rc == NGX_BUSY) {
        pc->sockaddr = NULL;
        pc->tries = 0;
        return NGX_BUSY;
    }

    if (rc != NGX_OK && rc != NGX_DONE) {
        pc->sockaddr = NULL;
        return NGX_ERROR;
    }

    x->shim->upstream->start_time = ngx_current_msec;
    x->shim->upstream->state->header_time = (ngx_msec_t) -1;
    x->shim->upstream->state->response_time = (ngx_msec_t) -1;

    if (x->call.primary && ngx_http_registry_upstream_backup(x)) {

        /* it is given back, with a connection that was kept: none is live */

        ngx_http_registry_disconnect(x, 0, 0);
        pc->tries = 0;

        if (x->call.error == NGX_HTTP_REGISTRY_CALL_OK) {
            x->call.reason = "backup servers are not for this";
        }

        return NGX_BUSY;
    }

    /* it is in memory that the servers share, and may change */

    x->call.peer.len = pc->name->len;
    x->call.peer.data = ngx_pstrdup(x->call.pool, pc->name);
    if (x->call.peer.data == NULL) {
        x->call.peer.len = 0;
        return NGX_ERROR;
    }

    pc->name = &x->call.peer;

    return rc;
}


/*
 * 1 if the server that was chosen is a backup one, else 0.  That is all that
 * can be told of a choice: no method can be told to choose among the others
 * alone.
 */

static ngx_uint_t
ngx_http_registry_upstream_backup(ngx_http_registry_exchange_t *x)
{
    ngx_http_upstream_rr_peers_t  *peers;

    peers = x->upstream->peer.data;

    return peers->next
           && !ngx_http_registry_upstream_listed(peers, x->peer)
           && ngx_http_registry_upstream_listed(peers->next, x->peer);
}


static ngx_uint_t
ngx_http_registry_upstream_listed(ngx_http_upstream_rr_peers_t *peers,
    ngx_peer_connection_t *pc)
{
    ngx_http_upstream_rr_peer_t  *peer;

    ngx_http_upstream_rr_peers_rlock(peers);

    for (peer = peers->peer; peer; peer = peer->next) {
        if (ngx_cmp_sockaddr(peer->sockaddr, peer->socklen, pc->sockaddr,
                             pc->socklen, 1)
            == NGX_OK)
        {
            break;
        }
    }

    ngx_http_upstream_rr_peers_unlock(peers);

    return peer != NULL;
}


/* the head of an answer is there */

void
ngx_http_registry_upstream_answered(ngx_http_registry_exchange_t *x)
{
    ngx_http_upstream_t  *u;

    u = x->shim->upstream;

    u->state->status = x->call.response.status;
    u->state->header_time = ngx_current_msec - u->start_time;

#ifdef NGX_HTTP_UPSTREAM_NOTIFY_HEADER
    if (u->peer.notify) {
        u->peer.notify(&u->peer, u->peer.data, NGX_HTTP_UPSTREAM_NOTIFY_HEADER);
    }
#endif
}


/*
 * Exactly once for each server that was got.  Afterwards x->peer has no
 * connection if that is kept.
 */

void
ngx_http_registry_upstream_free(ngx_http_registry_exchange_t *x,
    ngx_uint_t state, ngx_uint_t keep)
{
    ngx_http_upstream_t    *u;
    ngx_peer_connection_t  *pc;

    pc = x->peer;

    if (pc->sockaddr == NULL) {
        return;
    }

    u = x->shim->upstream;

    u->state->response_time = ngx_current_msec - u->start_time;
    u->state->response_length = x->call.received;

    u->keepalive = keep;
    u->request_body_sent = keep;

    pc->free(pc, pc->data, state);
    pc->sockaddr = NULL;
}


void
ngx_http_registry_upstream_cleanup(ngx_http_registry_exchange_t *x)
{
    ngx_http_cleanup_t  *cln;

    if (x->shim == NULL) {
        return;
    }

    /* of variables that were asked for */

    for (cln = x->shim->cleanup; cln; cln = cln->next) {
        if (cln->handler) {
            cln->handler(cln->data);
        }
    }
}


/*
 * The step of a call that goes on with the server of an earlier one.  What it
 * did before says nothing about this server, hence nothing is told to the
 * upstream {}.
 */

ngx_int_t
ngx_http_registry_upstream_pinned(ngx_http_registry_exchange_t *x)
{
    ngx_int_t                      rc;
    ngx_http_upstream_rr_peers_t  *peers;

    rc = NGX_DECLINED;

    for (peers = x->upstream->peer.data;
         peers && rc == NGX_DECLINED;
         peers = x->call.primary ? NULL : peers->next)
    {
        ngx_http_upstream_rr_peers_rlock(peers);

        rc = ngx_http_registry_upstream_find(x, peers);

        ngx_http_upstream_rr_peers_unlock(peers);
    }

    x->upstream = NULL;

    if (rc == NGX_ERROR) {
        return ngx_http_registry_exchange_fail(x, NGX_HTTP_REGISTRY_CALL_LOCAL,
                                               NULL, 0);
    }

    if (rc == NGX_DECLINED) {
        return ngx_http_registry_exchange_fail(x, NGX_HTTP_REGISTRY_CALL_BUSY,
                                       "the pinned one is not there any more",
                                       0);
    }

    x->step = ngx_http_registry_connect;

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_upstream_find(ngx_http_registry_exchange_t *x,
    ngx_http_upstream_rr_peers_t *peers)
{
    ngx_addr_t                   *addr;
    ngx_http_upstream_rr_peer_t  *peer;

    for (peer = peers->peer; peer; peer = peer->next) {

        if (peer->name.len != x->call.pin.len
            || ngx_memcmp(peer->name.data, x->call.pin.data, peer->name.len)
               != 0)
        {
            continue;
        }

        addr = ngx_palloc(x->call.pool, sizeof(ngx_addr_t) + peer->socklen);
        if (addr == NULL) {
            return NGX_ERROR;
        }

        addr->name = x->call.pin;
        addr->sockaddr = (struct sockaddr *) &addr[1];
        addr->socklen = peer->socklen;
        ngx_memcpy(addr->sockaddr, peer->sockaddr, peer->socklen);

        x->addrs = addr;
        x->naddrs = 1;

        return NGX_OK;
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_registry_upstream_init(ngx_http_registry_exchange_t *x)
{
    ngx_http_upstream_t           *u;
    ngx_http_registry_shim_t      *shim;
    ngx_http_upstream_srv_conf_t  *uscf;

    if (x->shim == NULL) {

        shim = ngx_http_registry_shim_create(x);
        if (shim == NULL) {
            return NGX_ERROR;
        }

        x->shim = &shim->request;
    }

    uscf = x->upstream;
    u = x->shim->upstream;

    u->peer.data = NULL;

    if (uscf->peer.init(x->shim, uscf) != NGX_OK) {
        return NGX_ERROR;
    }

    /* whom to connect to is asked before, what it is then connected to not */

    x->peer = &u->peer;
    x->get = u->peer.get;
    u->peer.get = ngx_event_get_peer;

    return NGX_OK;
}


static ngx_http_registry_shim_t *
ngx_http_registry_shim_create(ngx_http_registry_exchange_t *x)
{
    ngx_http_registry_shim_t  *shim;

    shim = ngx_pcalloc(x->call.pool, sizeof(ngx_http_registry_shim_t));
    if (shim == NULL) {
        return NULL;
    }

    ngx_http_registry_shim_connection(x, shim);

    if (ngx_http_registry_shim_request(x, shim) != NGX_OK) {
        return NULL;
    }

    ngx_http_registry_shim_upstream(x, shim);

    return shim;
}


/* of a client on this host: it is the node that asks */

static void
ngx_http_registry_shim_connection(ngx_http_registry_exchange_t *x,
    ngx_http_registry_shim_t *shim)
{
    ngx_connection_t  *c;

    shim->sin.sin_family = AF_INET;
    shim->sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    shim->read.data = &shim->connection;
    shim->read.log = &x->log;
    shim->write.data = &shim->connection;
    shim->write.write = 1;
    shim->write.log = &x->log;

    c = &shim->connection;

    c->fd = (ngx_socket_t) -1;
    c->type = SOCK_STREAM;
    c->data = &shim->request;
    c->read = &shim->read;
    c->write = &shim->write;
    c->log = &x->log;
    c->pool = x->call.pool;

    c->sockaddr = (struct sockaddr *) &shim->sin;
    c->socklen = sizeof(struct sockaddr_in);
    c->local_sockaddr = c->sockaddr;
    c->local_socklen = c->socklen;

    ngx_str_set(&c->addr_text, "127.0.0.1");
}


static ngx_int_t
ngx_http_registry_shim_request(ngx_http_registry_exchange_t *x,
    ngx_http_registry_shim_t *shim)
{
    u_char                      *p;
    ngx_time_t                  *tp;
    ngx_http_request_t          *r;
    ngx_http_core_main_conf_t   *cmcf;
    ngx_http_registry_client_t  *client;

    r = &shim->request;
    client = x->call.client;

    r->signature = NGX_HTTP_MODULE;
    r->connection = &shim->connection;
    r->main = r;
    r->count = 1;
    r->pool = x->call.pool;
    r->upstream = &shim->upstream;

    r->main_conf = client->main_conf;
    r->srv_conf = client->srv_conf;
    r->loc_conf = client->loc_conf;

    tp = ngx_timeofday();

    r->start_sec = tp->sec;
    r->start_msec = tp->msec;
    r->http_version = NGX_HTTP_VERSION_11;

    r->method_name = x->call.method;
    r->method = x->head ? NGX_HTTP_HEAD : NGX_HTTP_GET;

    ngx_http_registry_str(&r->unparsed_uri, &x->call.url.path);

    r->uri = r->unparsed_uri;

    p = ngx_strlchr(r->uri.data, r->uri.data + r->uri.len, '?');

    if (p) {
        r->args.data = p + 1;
        r->args.len = r->uri.data + r->uri.len - r->args.data;
        r->uri.len = p - r->uri.data;
    }

    r->headers_in.server = x->name;

    r->ctx = ngx_pcalloc(r->pool, sizeof(void *) * ngx_http_max_module);
    if (r->ctx == NULL) {
        return NGX_ERROR;
    }

    cmcf = ngx_http_get_module_main_conf(r, ngx_http_core_module);

    r->variables = ngx_pcalloc(r->pool, cmcf->variables.nelts
                                        * sizeof(ngx_http_variable_value_t));
    if (r->variables == NULL) {
        return NGX_ERROR;
    }

    return ngx_http_registry_shim_headers(r);
}


/* none, but lists of them */

static ngx_int_t
ngx_http_registry_shim_headers(ngx_http_request_t *r)
{
    r->headers_in.content_length_n = -1;
    r->headers_out.content_length_n = -1;

    if (ngx_list_init(&r->headers_in.headers, r->pool, 1,
                      sizeof(ngx_table_elt_t))
        != NGX_OK
        || ngx_list_init(&r->headers_out.headers, r->pool, 1,
                         sizeof(ngx_table_elt_t))
           != NGX_OK
        || ngx_list_init(&r->headers_out.trailers, r->pool, 1,
                         sizeof(ngx_table_elt_t))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

#if (nginx_version < 1023000)
    if (ngx_array_init(&r->headers_in.cookies, r->pool, 1,
                       sizeof(ngx_table_elt_t *))
        != NGX_OK)
    {
        return NGX_ERROR;
    }
#endif

    return NGX_OK;
}


static void
ngx_http_registry_shim_upstream(ngx_http_registry_exchange_t *x,
    ngx_http_registry_shim_t *shim)
{
    ngx_http_upstream_t  *u;

    u = &shim->upstream;

    u->conf = &x->state->conf;
    u->upstream = x->upstream;
    u->state = &shim->state;
    u->headers_in.content_length_n = -1;

    u->peer.log = &x->log;
    u->peer.log_error = NGX_ERROR_INFO;
    u->peer.start_time = ngx_current_msec;
}
