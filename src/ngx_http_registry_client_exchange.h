
/*
 * What the files of the client share: the exchange behind a call, a sequence
 * of steps from a name to the end of an answer, and what a worker keeps for a
 * client between calls.
 */


#ifndef NGX_HTTP_REGISTRY_CLIENT_EXCHANGE_H
#define NGX_HTTP_REGISTRY_CLIENT_EXCHANGE_H


#include "ngx_http_registry_client.h"


#define NGX_HTTP_REGISTRY_HEAD_MAX     32768    /* bytes, 1xx ones included */
#define NGX_HTTP_REGISTRY_BUFFER_SIZE  65536    /* what one read may bring */
#define NGX_HTTP_REGISTRY_ADDRS_MAX    16       /* tried, of one name */


typedef struct ngx_http_registry_exchange_s  ngx_http_registry_exchange_t;
typedef struct ngx_http_registry_lookup_s    ngx_http_registry_lookup_t;

/*
 * NGX_OK: go on with x->step; NGX_AGAIN: something was started, run the step
 * when it has ended; NGX_DONE: the exchange has ended, or was freed.
 */

typedef ngx_int_t (*ngx_http_registry_exchange_pt)(
    ngx_http_registry_exchange_t *x);


#define ngx_http_registry_str(dst, src)                                       \
    (dst)->data = (u_char *) (src)->data;                                     \
    (dst)->len = (src)->len


/* what the timer stands for; the order is that of the table in client.c */

typedef enum {
    NGX_HTTP_REGISTRY_WAIT_OWNER = 0,   /* for the owner: keeps a worker that
                                           shuts down alive, no more */
    NGX_HTTP_REGISTRY_WAIT_NAME,
    NGX_HTTP_REGISTRY_WAIT_CONNECT,     /* and TLS, and the proxy's answer */
    NGX_HTTP_REGISTRY_WAIT_SEND,
    NGX_HTTP_REGISTRY_WAIT_FIRST,
    NGX_HTTP_REGISTRY_WAIT_READ
} ngx_http_registry_wait_e;


/* client->state: the same in all workers at first, then each one's own */

typedef struct {
    ngx_http_registry_client_t      *client;

    /* marks this remote's connections in the pool of an upstream {} */
    ngx_http_upstream_conf_t         conf;

    ngx_queue_t                      kept;      /* idle connections */
    ngx_uint_t                       nkept;

    ngx_queue_t                      lookups;   /* what getaddrinfo() found */
    ngx_uint_t                       nlookups;

    /* when each kind of failure was last logged as an error */
    time_t                           logged[NGX_HTTP_REGISTRY_CALL_LOCAL + 1];
} ngx_http_registry_client_state_t;


struct ngx_http_registry_exchange_s {
    ngx_http_registry_call_t         call;      /* first: it is its owner's */

    ngx_http_registry_client_state_t  *state;
    ngx_http_registry_exchange_pt    step;
    ngx_event_t                      event;     /* posted: run the steps */
    ngx_event_t                      timer;
    ngx_http_registry_wait_e         wait;

    ngx_http_log_ctx_t               log_ctx;   /* first in log.data: nginx
                                                   casts it to this */
    ngx_log_t                        log;

    /* where to: route.c */

    ngx_http_registry_target_t      *target;    /* NULL: not the remote's own */
    ngx_str_t                        host;      /* to resolve */
    in_port_t                        port;
    ngx_str_t                        name;      /* of the server: SNI */
    ngx_str_t                        authority; /* Host */
    ngx_str_t                        uri;       /* as it is asked for */

    /* its addresses: resolve.c */

    ngx_addr_t                      *addrs;
    ngx_uint_t                       naddrs;
    ngx_uint_t                       next;      /* the one to be tried */
    ngx_resolver_ctx_t              *resolver;
    ngx_http_registry_lookup_t      *lookup;
    ngx_queue_t                      waiting;   /* for the lookup */

    /* the connection: connect.c, upstream.c */

    ngx_peer_connection_t           *peer;      /* "direct", or the shim's */
    ngx_peer_connection_t            direct;
    ngx_http_request_t              *shim;      /* of an upstream {} */

    /* the messages: http.c */

    ngx_buf_t                        out;       /* what is not sent yet */
    ngx_buf_t                        in;        /* what is not taken yet */
    size_t                           scanned;   /* of a head */
    size_t                           heads;     /* bytes of heads so far */
    off_t                            pending;   /* of the request's body; -1 if
                                                   its length is not known */
    off_t                            left;      /* of the answer's body; -1 if
                                                   its length is not known */
    registry_chunked_t               chunked;

    unsigned                         running:1; /* in a step */
    unsigned                         freed:1;   /* by the owner, in a step */
    unsigned                         ended:1;   /* on_done was called */

    unsigned                         forbidden:1; /* an address was */
    unsigned                         proxied:1; /* through the http_proxy */
    unsigned                         cached:1;  /* a kept connection */
    unsigned                         fresh:1;   /* no kept one any more */
    unsigned                         head:1;    /* the method is HEAD */
    unsigned                         safe:1;    /* and one with no body */
    unsigned                         idempotent:1;

    unsigned                         complete:1;  /* the request's body is */
    unsigned                         asked:1;   /* on_send is waited for */
    unsigned                         sent:1;    /* some of the request was */
    unsigned                         broken:1;  /* sending failed */
    unsigned                         received:1;  /* some of the answer was */
    unsigned                         answered:1;  /* on_header was called */
    unsigned                         body:1;    /* follows the head */
    unsigned                         paused:1;  /* until _call_resume() */
    unsigned                         moved:1;   /* bytes, since the timer was
                                                   set */
};


/* client.c: the life of a call */

void ngx_http_registry_exchange_run(ngx_http_registry_exchange_t *x);

/* runs the steps soon, from the event loop */

void ngx_http_registry_exchange_post(ngx_http_registry_exchange_t *x);

void ngx_http_registry_exchange_wait(ngx_http_registry_exchange_t *x,
    ngx_http_registry_wait_e wait);

/*
 * The answer is complete; or what was tried failed, and is tried elsewhere if
 * that can help.  They return what a step returns.
 */

ngx_int_t ngx_http_registry_exchange_finish(ngx_http_registry_exchange_t *x,
    ngx_uint_t keep);
ngx_int_t ngx_http_registry_exchange_fail(ngx_http_registry_exchange_t *x,
    ngx_http_registry_call_error_e error, const char *reason, ngx_err_t err);


/*
 * route.c: where a call goes.  Finds the target and the host to resolve;
 * NGX_ERROR if memory is short.
 */

ngx_int_t ngx_http_registry_route(ngx_http_registry_exchange_t *x);


/* resolve.c: x->host to x->addrs; then the step is ngx_http_registry_connect */

ngx_int_t ngx_http_registry_resolve(ngx_http_registry_exchange_t *x);
void ngx_http_registry_resolve_cancel(ngx_http_registry_exchange_t *x);
void ngx_http_registry_resolve_cleanup(
    ngx_http_registry_client_state_t *state);


/* connect.c: connections, and those kept for the next call */

ngx_int_t ngx_http_registry_connect(ngx_http_registry_exchange_t *x);

/* whether there is another address, or server of the upstream {}, to try */

ngx_uint_t ngx_http_registry_connect_more(ngx_http_registry_exchange_t *x);

/* a new connection to where the kept one led */

void ngx_http_registry_reconnect(ngx_http_registry_exchange_t *x);

/*
 * Gives the connection back, or closes it.  The state is what an upstream {}
 * is told of its server: 0 or NGX_PEER_FAILED.
 */

void ngx_http_registry_disconnect(ngx_http_registry_exchange_t *x,
    ngx_uint_t state, ngx_uint_t keep);


/*
 * http.c: the request is written when the call is started; NGX_ERROR if
 * memory is short or something in it is not fit to be sent.
 */

ngx_int_t ngx_http_registry_request(ngx_http_registry_exchange_t *x);

/* the step with a connection: sends, and reads the answer */

ngx_int_t ngx_http_registry_talk(ngx_http_registry_exchange_t *x);

/* whether the request can be sent once more, from its first byte */

ngx_uint_t ngx_http_registry_rewind(ngx_http_registry_exchange_t *x);

/* whether the answer says that the server is not fit to serve */

ngx_uint_t ngx_http_registry_unfit(ngx_http_registry_exchange_t *x);


#endif /* NGX_HTTP_REGISTRY_CLIENT_EXCHANGE_H */
