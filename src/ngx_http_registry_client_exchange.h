
/*
 * What the files of the client share: the exchange behind a call, a sequence
 * of steps from a name to the end of an answer, and what a worker keeps for a
 * client between calls.
 */


#ifndef NGX_HTTP_REGISTRY_CLIENT_EXCHANGE_H
#define NGX_HTTP_REGISTRY_CLIENT_EXCHANGE_H


#include "ngx_http_registry_client.h"
#include "ngx_http_registry_file.h"


#define NGX_HTTP_REGISTRY_HEAD_MAX     32768    /* bytes, 1xx ones included */
#define NGX_HTTP_REGISTRY_BUFFER_SIZE  65536    /* what one read may bring */
#define NGX_HTTP_REGISTRY_ROUNDS       16       /* before others have a turn */
#define NGX_HTTP_REGISTRY_ADDRS_MAX    16       /* tried, of one name */

#define NGX_HTTP_REGISTRY_TLS_FILES     3
#define NGX_HTTP_REGISTRY_SESSIONS      16
#define NGX_HTTP_REGISTRY_SESSION_NAME  255     /* bytes: a DNS name's */

#define NGX_HTTP_REGISTRY_USER_AGENT   NGINX_VER " ngx_http_registry"


typedef struct ngx_http_registry_exchange_s  ngx_http_registry_exchange_t;
typedef struct ngx_http_registry_lookup_s    ngx_http_registry_lookup_t;
typedef struct ngx_http_registry_kept_s      ngx_http_registry_kept_t;

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


#if (NGX_SSL)

/* of the server of that name, in lower case, to be resumed */

typedef struct {
    SSL_CTX                         *ctx;       /* that it was made with */
    ngx_ssl_session_t               *session;
    size_t                           len;
    u_char                           name[NGX_HTTP_REGISTRY_SESSION_NAME];
} ngx_http_registry_session_t;


typedef struct {
    ngx_ssl_t                        ssl[2];    /* to the remote itself; to
                                                   others, if the first has a
                                                   certificate of ours */
    X509_STORE                      *system;    /* trusted, if no file is */
    ngx_http_registry_file_t         files[NGX_HTTP_REGISTRY_TLS_FILES];
    time_t                           checked;
    ngx_http_registry_session_t      sessions[NGX_HTTP_REGISTRY_SESSIONS];
} ngx_http_registry_tls_t;

#endif


/* client->state: the same in all workers at first, then each one's own */

typedef struct {
    ngx_http_registry_client_t      *client;

    /* marks this remote's connections in the pool of an upstream {} */
    ngx_http_upstream_conf_t         conf;

#if (NGX_SSL)
    ngx_http_registry_tls_t          tls;
#endif
    ngx_uint_t                       authenticated;  /* by a certificate */

    /* of the http_proxy */
    ngx_http_registry_file_t         credentials;
    time_t                           checked;
    ngx_str_t                        authorization;  /* malloc()ed */
    ngx_uint_t                       version;   /* of it */
    ngx_array_t                      bypass_names;   /* of ngx_str_t */
    ngx_array_t                      bypass_cidrs;   /* of ngx_cidr_t */

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
    ngx_log_t                        muted;     /* for what nginx would say each
                                                   time, and we once a minute */

    /* where to: route.c */

    ngx_http_registry_target_t      *target;    /* NULL: not the remote's own */
    ngx_str_t                        host;      /* to resolve */
    in_port_t                        port;
    ngx_str_t                        name;      /* of the server: SNI */
    ngx_str_t                        authority; /* Host */
    ngx_str_t                        uri;       /* as it is asked for */
    ngx_str_t                        origin;    /* "host:port", which a kept
                                                   connection leads to */

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
    ngx_http_registry_kept_t        *kept;      /* where it was kept */

    ngx_http_upstream_srv_conf_t    *upstream;  /* NULL: addresses */
    ngx_http_request_t              *shim;      /* what it takes for one */
    ngx_event_get_peer_pt            get;

    ngx_buf_t                        tunnel;    /* a CONNECT */
    ngx_uint_t                       shown;     /* the version that it has */

    /* the messages: request.c, talk.c */

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
    unsigned                         reuse:1;   /* it can be sent again, if a
                                                   kept connection is closed */
    unsigned                         cached:1;  /* this is one */
    unsigned                         head:1;    /* the method is HEAD */
    unsigned                         bodyless:1;  /* a body is not expected */

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
 * The log for what is about to fail, perhaps: with what is worse than that
 * level, unless it is for debugging.
 */

ngx_log_t *ngx_http_registry_exchange_mute(ngx_http_registry_exchange_t *x,
    ngx_uint_t level);

/* the step of who waits for a handler that sets the next one */

ngx_int_t ngx_http_registry_exchange_idle(ngx_http_registry_exchange_t *x);

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
ngx_uint_t ngx_http_registry_resolve_private(struct sockaddr *sockaddr);
void ngx_http_registry_resolve_cancel(ngx_http_registry_exchange_t *x);
void ngx_http_registry_resolve_cleanup(
    ngx_http_registry_client_state_t *state);


/* connect.c: connections, and those kept for the next call */

ngx_int_t ngx_http_registry_connect(ngx_http_registry_exchange_t *x);

/* whether there is another address, or server of the upstream {}, to try */

ngx_uint_t ngx_http_registry_connect_more(ngx_http_registry_exchange_t *x);

/* another connection to where this one leads */

ngx_int_t ngx_http_registry_reconnect(ngx_http_registry_exchange_t *x);

void ngx_http_registry_connection_handler(ngx_event_t *ev);

/*
 * Gives the connection back, or closes it.  The state is what an upstream {}
 * is told of its server: 0 or NGX_PEER_FAILED.
 */

void ngx_http_registry_disconnect(ngx_http_registry_exchange_t *x,
    ngx_uint_t state, ngx_uint_t keep);


/* upstream.c: the servers of an upstream {} */

ngx_int_t ngx_http_registry_upstream_get(ngx_http_registry_exchange_t *x);
ngx_int_t ngx_http_registry_upstream_pinned(ngx_http_registry_exchange_t *x);
void ngx_http_registry_upstream_answered(ngx_http_registry_exchange_t *x);
void ngx_http_registry_upstream_free(ngx_http_registry_exchange_t *x,
    ngx_uint_t state, ngx_uint_t keep);
void ngx_http_registry_upstream_cleanup(ngx_http_registry_exchange_t *x);


/* tls.c, session.c; they compile to next to nothing in an nginx without SSL */

ngx_int_t ngx_http_registry_tls_init(ngx_conf_t *cf,
    ngx_http_registry_client_state_t *state);
void ngx_http_registry_tls_cleanup(ngx_http_registry_client_state_t *state);

/* the step from a connection to TLS; the next one is _talk */

ngx_int_t ngx_http_registry_tls(ngx_http_registry_exchange_t *x);

/* whether a kept connection was made as this call would make it */

ngx_uint_t ngx_http_registry_tls_fits(ngx_http_registry_exchange_t *x,
    ngx_connection_t *c);

/* whether there are bytes that were received, but not read */

ngx_uint_t ngx_http_registry_tls_pending(ngx_connection_t *c);

/* why TLS does not go on: an alert, or what is wrong here; or NULL */

const char *ngx_http_registry_tls_reason(ngx_connection_t *c);


#if (NGX_SSL)

/* the slot of a server, and what is put into it by the TLS library */

ngx_http_registry_session_t *ngx_http_registry_session(
    ngx_http_registry_client_state_t *state, SSL_CTX *ctx, u_char *name,
    size_t len);
int ngx_http_registry_session_new(ngx_ssl_conn_t *ssl_conn,
    ngx_ssl_session_t *session);
void ngx_http_registry_session_forget(
    ngx_http_registry_client_state_t *state);

#endif


/* proxy.c */

ngx_int_t ngx_http_registry_proxy_init(ngx_conf_t *cf,
    ngx_http_registry_client_state_t *state);
void ngx_http_registry_proxy_cleanup(ngx_http_registry_client_state_t *state);

/* whether the call goes through the proxy */

ngx_uint_t ngx_http_registry_proxy_applies(ngx_http_registry_exchange_t *x);
ngx_str_t *ngx_http_registry_proxy_authorization(
    ngx_http_registry_client_state_t *state);

/* after a 407: 1 if there are other credentials now than the call has shown */

ngx_uint_t ngx_http_registry_proxy_refused(ngx_http_registry_exchange_t *x);
const char *ngx_http_registry_proxy_reason(ngx_uint_t status);

/* the step from a connection to a tunnel; the next one is _tls */

ngx_int_t ngx_http_registry_tunnel(ngx_http_registry_exchange_t *x);


/*
 * request.c: the request is written when the call is started; NGX_ERROR if
 * memory is short or something in it is not fit to be sent.
 */

ngx_int_t ngx_http_registry_request(ngx_http_registry_exchange_t *x);

/* sends what can be sent; NGX_AGAIN unless the owner has freed the call */

ngx_int_t ngx_http_registry_request_send(ngx_http_registry_exchange_t *x);

/* makes the request ready to be sent from its first byte, if it may be: 1 */

ngx_uint_t ngx_http_registry_rewind(ngx_http_registry_exchange_t *x);


/* talk.c: the step with a connection, to the end of the answer */

ngx_int_t ngx_http_registry_talk(ngx_http_registry_exchange_t *x);

/* the buffer for what is read */

ngx_int_t ngx_http_registry_buffer(ngx_http_registry_exchange_t *x);

/*
 * 1 if the connection is good for another call: what is left of the answer, if
 * anything, has been received.
 */

ngx_uint_t ngx_http_registry_spare(ngx_http_registry_exchange_t *x);

/* what an answer says that a server gives which is not fit to serve; or NULL */

const char *ngx_http_registry_unfit(ngx_http_registry_exchange_t *x);


#endif /* NGX_HTTP_REGISTRY_CLIENT_EXCHANGE_H */
