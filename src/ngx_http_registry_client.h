
/*
 * Outbound HTTP/1.1: a request to another server and its answer, both as
 * streams.  Names, addresses, balancing, proxies, TLS and kept connections
 * are dealt with here; redirects, credentials and what an answer means are
 * the owner's.
 */


#ifndef NGX_HTTP_REGISTRY_CLIENT_H
#define NGX_HTTP_REGISTRY_CLIENT_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_event_connect.h>
#include <ngx_http.h>

#include "registry_http.h"
#include "registry_url.h"


typedef struct ngx_http_registry_client_s  ngx_http_registry_client_t;
typedef struct ngx_http_registry_call_s    ngx_http_registry_call_t;


/*
 * A place that the configuration names: a host to resolve, or an upstream {}
 * whose own balancing, failure accounting and keepalive then hold.  Its
 * servers are reached without a proxy.
 */

typedef struct {
    registry_url_t                   url;       /* its bytes are the pool's */
    ngx_str_t                        ssl_name;  /* SNI, verified, and Host;
                                                   empty: of the URL */
    ngx_http_upstream_srv_conf_t    *upstream;  /* set by _client_init(); NULL:
                                                   there is none of that name */
} ngx_http_registry_target_t;


/*
 * How one remote is talked to.  Filled in while the configuration is read;
 * the owner sets what stands first, ngx_http_registry_client_init() makes the
 * rest of it.
 */

struct ngx_http_registry_client_s {
    ngx_str_t                        name;      /* for the log */

    ngx_array_t                      targets;   /* of _target_t: calls to
                                                   these are the remote's own */

    ngx_msec_t                       connect_timeout;  /* also TLS, CONNECT */
    ngx_msec_t                       send_timeout;
    ngx_msec_t                       first_timeout;    /* of the first byte */
    ngx_msec_t                       read_timeout;     /* between two reads */

    ngx_uint_t                       keepalive; /* idle connections a worker */
    ngx_msec_t                       keepalive_timeout;

    ngx_flag_t                       ssl_verify;
    ngx_uint_t                       ssl_verify_depth;
    ngx_str_t                        ssl_trusted_certificate; /* empty: the
                                                                 system's */
    ngx_str_t                        ssl_certificate;  /* only to targets */
    ngx_str_t                        ssl_certificate_key;

    /* http_proxy; host of length 0: none */
    registry_url_t                   proxy;
    ngx_str_t                        proxy_credentials; /* a file, or empty */
    ngx_array_t                     *no_proxy;  /* of ngx_str_t: "host",
                                                   ".suffix", address, CIDR */

    ngx_flag_t                       quiet;     /* failures are no errors of
                                                   the log: the owner's are */

    ngx_flag_t                       allow_private;
                                     /* redirects and token realms may lead to
                                        private addresses */

    ngx_resolver_t                  *resolver;  /* NULL: getaddrinfo() in a
                                                   task */
    ngx_msec_t                       resolver_timeout;
    ngx_thread_pool_t               *tp;        /* NULL: "default" */

    /* a merged configuration: of a location that uses the remote */
    void                           **main_conf;
    void                           **srv_conf;
    void                           **loc_conf;

    u_char                          *file;      /* of the directive */
    ngx_uint_t                       line;

    void                            *state;     /* the client's own */
};


/* why a call failed; the order is that of the names in client.c */

typedef enum {
    NGX_HTTP_REGISTRY_CALL_OK = 0,
    NGX_HTTP_REGISTRY_CALL_RESOLVE,     /* the name has no address */
    NGX_HTTP_REGISTRY_CALL_FORBIDDEN,   /* a private address: see above */
    NGX_HTTP_REGISTRY_CALL_CONNECT,     /* refused, unreachable, reset before
                                           a byte of the answer */
    NGX_HTTP_REGISTRY_CALL_BUSY,        /* the upstream {} has no live peer */
    NGX_HTTP_REGISTRY_CALL_PROXY,       /* the http_proxy refused: 407, 502 */
    NGX_HTTP_REGISTRY_CALL_TLS,         /* handshake, or verification */
    NGX_HTTP_REGISTRY_CALL_TIMEOUT,
    NGX_HTTP_REGISTRY_CALL_PROTOCOL,    /* the answer is not HTTP, or beyond
                                           a limit */
    NGX_HTTP_REGISTRY_CALL_TRUNCATED,   /* ended before its body did */
    NGX_HTTP_REGISTRY_CALL_LOCAL        /* memory, descriptors, threads; the
                                           worker is shutting down */
} ngx_http_registry_call_error_e;


/*
 * One request and its answer.  What fails before the head of an answer has
 * arrived is tried at the next address, or with the next server of an
 * upstream {}: always if nothing was sent yet, or else if it is a GET, HEAD,
 * DELETE or PUT without a body.  The same holds for an answer of 500, 502,
 * 503 or 504 from one of several servers of an upstream {}.
 */

struct ngx_http_registry_call_s {
    ngx_pool_t                      *pool;      /* the call's own; what is set
                                                   below may live in it */
    ngx_http_registry_client_t      *client;

    /* set by the owner, before _start() */

    ngx_str_t                        method;    /* "GET" */
    registry_url_t                   url;
    ngx_array_t                      headers;   /* of ngx_keyval_t; Host,
                                                   Connection, Content-Length
                                                   and Transfer-Encoding are
                                                   made by the client */
    off_t                            content_length;  /* of the request's
                                                   body; 0: none; -1: sent
                                                   chunked */
    ngx_str_t                        pin;       /* go on with the peer of this
                                                   name, of an earlier call's
                                                   "peer", and with no other;
                                                   empty: any.  It has to be
                                                   one of the URL's still */
    unsigned                         primary:1; /* none of the backup servers
                                                   of an upstream {} will do,
                                                   nor is one gone on with */

    /*
     * Called on the event loop.  Each may free the call.
     *
     * on_header: the final answer's head is in "response".  NGX_OK: go on;
     * NGX_ERROR: the owner has freed the call.
     *
     * on_body: bytes of the body, decoded; only valid until it returns.
     * NGX_OK: more, please.  NGX_AGAIN: taken, but nothing more until
     * ngx_http_registry_call_resume(), and not the end either.  NGX_ERROR: the
     * owner has freed the call.
     *
     * on_send: after ngx_http_registry_call_send() returned NGX_AGAIN: there
     * is room for more.  An answer may arrive before all is sent.
     *
     * on_done: once, the last: the whole answer was delivered ("error" is
     * NGX_HTTP_REGISTRY_CALL_OK), or what went wrong.  Not called for a call
     * that was freed.
     */

    ngx_int_t                      (*on_header)(ngx_http_registry_call_t *);
    ngx_int_t                      (*on_body)(ngx_http_registry_call_t *,
                                              u_char *data, size_t len);
    void                           (*on_send)(ngx_http_registry_call_t *);
    void                           (*on_done)(ngx_http_registry_call_t *);
    void                            *data;      /* the owner's */

    /* for the owner to read */

    registry_http_response_t         response;  /* until the call is freed */
    off_t                            received;  /* bytes of the body so far */
    ngx_str_t                        peer;      /* "10.0.0.1:443" */
    ngx_http_registry_call_error_e   error;
    const char                      *reason;    /* more on "error", a static
                                                   text, or NULL */
    ngx_err_t                        err;       /* errno, or 0 */

    void                            *exchange;  /* the client's own */
};


/*
 * At the end of the configuration (init_main_conf, or later): finds upstreams,
 * makes TLS contexts, reads files.  Errors are logged with the client's file
 * and line.  Dead names are no error.
 */
char *ngx_http_registry_client_init(ngx_conf_t *cf,
    ngx_http_registry_client_t *client);

/* NULL if memory is short */
ngx_http_registry_call_t *ngx_http_registry_call_create(
    ngx_http_registry_client_t *client);

/* adds a header; the value is not copied; NGX_ERROR if memory is short */
ngx_int_t ngx_http_registry_call_header(ngx_http_registry_call_t *call,
    const char *name, ngx_str_t *value);

/*
 * NGX_AGAIN: handlers will be called, never from within this function.
 * NGX_ERROR: nothing was started and on_done will not be called.
 */
ngx_int_t ngx_http_registry_call_start(ngx_http_registry_call_t *call);

/*
 * More of the request's body, copied before it returns; "last" with the end
 * of it.  NGX_OK: taken; NGX_AGAIN: taken, wait for on_send() before the next;
 * NGX_ERROR: memory is short, or more than content_length.
 */
ngx_int_t ngx_http_registry_call_send(ngx_http_registry_call_t *call,
    u_char *data, size_t len, ngx_uint_t last);

/* after NGX_AGAIN of on_body; on_body is not called from within */
void ngx_http_registry_call_resume(ngx_http_registry_call_t *call);

/*
 * At any time, once, by whoever created it, also from its handlers.  Before
 * its end no handler is called any more, and the connection is closed, unless
 * all of the answer has come, as in on_header of one without a body.
 */
void ngx_http_registry_call_free(ngx_http_registry_call_t *call);

/* "the certificate is not valid", for logs: static, by call->error */
const char *ngx_http_registry_call_error(
    ngx_http_registry_call_error_e error);


#endif /* NGX_HTTP_REGISTRY_CLIENT_H */
