
/*
 * Other registries: what the configuration says of each, and requests to
 * them with all that it takes to get an answer, credentials, tokens and
 * redirects.
 */


#ifndef NGX_HTTP_REGISTRY_REMOTE_H
#define NGX_HTTP_REGISTRY_REMOTE_H


#include "ngx_http_registry_client.h"
#include "ngx_http_registry_count.h"
#include "ngx_http_registry_memcached.h"
#include "ngx_http_registry_health.h"
#include "ngx_http_registry_store.h"
#include "ngx_http_registry_token.h"
#include "ngx_http_registry_zone.h"


/* "use_stale": what is answered with a copy whose time is over */

#define NGX_HTTP_REGISTRY_STALE_OFF       0x01
#define NGX_HTTP_REGISTRY_STALE_ERROR     0x02
#define NGX_HTTP_REGISTRY_STALE_TIMEOUT   0x04
#define NGX_HTTP_REGISTRY_STALE_429       0x08
#define NGX_HTTP_REGISTRY_STALE_5XX       0x10
#define NGX_HTTP_REGISTRY_STALE_UPDATING  0x20

#define NGX_HTTP_REGISTRY_AUTH_EDGE       0     /* our credentials */
#define NGX_HTTP_REGISTRY_AUTH_CLIENT     1     /* the client's */


/* what happens to every request is logged once in so many milliseconds */

#define NGX_HTTP_REGISTRY_REMOTE_LOG      60000


/* of a request for a manifest: Distribution 2 has no OCI one for others */

#define NGX_HTTP_REGISTRY_ACCEPT                                              \
    REGISTRY_TYPE_OCI_INDEX ", " REGISTRY_TYPE_OCI_MANIFEST ", "              \
    REGISTRY_TYPE_DOCKER_LIST ", " REGISTRY_TYPE_DOCKER_MANIFEST              \
    ", application/vnd.oci.artifact.manifest.v1+json, */*;q=0.1"


typedef struct ngx_http_registry_ask_s       ngx_http_registry_ask_t;
typedef struct ngx_http_registry_prefetch_s  ngx_http_registry_prefetch_t;


typedef struct {
    ngx_str_t                    name;          /* its namespace */
    ngx_str_t                    dir;           /* the same on the disk: the
                                                   port after "_", not ":" */
    ngx_array_t                  aliases;       /* of ngx_str_t */

    ngx_str_t                    url;           /* as they are configured */
    ngx_str_t                    push_url;
    ngx_http_registry_client_t   client;        /* targets: url, push_url */
    ngx_str_t                    ssl_name;

    ngx_str_t                    cache;         /* the name of the store */
    ngx_http_registry_store_t   *store;         /* where copies are kept */
    ngx_msec_t                   valid;         /* a tag is believed so long */
    ngx_msec_t                   negative;      /* and 404 */
    ngx_uint_t                   use_stale;
    time_t                       stale_for;     /* seconds */

    ngx_str_t                    credentials;   /* a file, or empty */
    ngx_http_registry_login_t    login;         /* what is in it */
    ngx_uint_t                   auth;
    ngx_msec_t                   unauthorized;  /* when this worker logged that
                                                   they do not suffice; or 0 */
    ngx_msec_t                   storage;       /* likewise, that its storage
                                                   fails */
    ngx_flag_t                   library;       /* "x" is "library/x" there */

    ngx_flag_t                   proxied;       /* "http_proxy", also "off" */
    ngx_uint_t                   online;        /* 0: it is never asked */
    ngx_http_registry_health_conf_t  health;    /* "health_check" */

    ngx_flag_t                   prefetched;    /* "prefetch", also "off" */
    ngx_array_t                 *platforms;     /* of registry_platform_t;
                                                   NULL: all */
    ngx_http_registry_prefetch_t  *prefetch;    /* NULL: there is none */

    ngx_http_registry_zone_t    *zone;
    ngx_http_registry_counters_t  *counters;
    ngx_http_registry_memcached_t  *memcached;  /* NULL: there is none */
    uint32_t                     id;            /* of its keys in the zone */

    u_char                      *file;          /* of the directive */
    ngx_uint_t                   line;
} ngx_http_registry_remote_t;


/*
 * A request to a remote.  The contract is that of a call (client.h): handlers
 * are called on the event loop, never from within _start() or _resume(), each
 * may free the ask, on_done is the last.  What the handlers see is the final
 * answer: challenges have been met and redirects followed.
 */

struct ngx_http_registry_ask_s {
    ngx_pool_t                  *pool;          /* the ask's own */
    ngx_http_registry_remote_t  *remote;

    /* set by the owner, before _start(); bytes that live as long as the ask */

    ngx_str_t                    method;
    ngx_str_t                    name;          /* repository, as the remote
                                                   calls it; empty: none */
    ngx_str_t                    from;          /* another one, to be pulled
                                                   from as well; or empty */
    ngx_str_t                    path;          /* "/v2/...", with a query; or
                                                   a whole URL */
    ngx_array_t                  headers;       /* of ngx_keyval_t */
    off_t                        content_length;    /* as of a call */
    ngx_str_t                    pin;               /* likewise */
    ngx_str_t                    authorization; /* "auth client": what the
                                                   client sent, or empty;
                                                   challenges are not met */
    ngx_str_t                    via;           /* of the request that this is
                                                   for, or empty */
    unsigned                     blob:1;        /* a redirect leads to storage,
                                                   which is not the remote */
    unsigned                     push:1;        /* the scope is pull,push, the
                                                   target push_url, and that
                                                   without backup servers */

    ngx_int_t                  (*on_header)(ngx_http_registry_ask_t *ask);
    ngx_int_t                  (*on_body)(ngx_http_registry_ask_t *ask,
                                          u_char *data, size_t len);
    void                       (*on_send)(ngx_http_registry_ask_t *ask);
    void                       (*on_done)(ngx_http_registry_ask_t *ask);
    void                        *data;

    /* for the owner to read, from on_header on */

    registry_http_response_t    *response;      /* NULL: none came */
    off_t                        received;
    ngx_str_t                    peer;
    ngx_http_registry_call_error_e  error;
    const char                  *reason;        /* static */
    registry_url_t               url;           /* that was asked last */

    /* ask.c's own */

    ngx_http_registry_call_t    *call;
    ngx_http_registry_token_t   *token;         /* being got */
    u_char                      *kept;          /* of the body, until there is
                                                   a call */
    size_t                       nkept;
    unsigned                     last:1;        /* and that is all of it */
    ngx_uint_t                   redirects;
    uint32_t                     shown;         /* the login's hash, of what
                                                   was shown last */
    unsigned                     challenged:1;  /* one 401 was met already */
    unsigned                     foreign:1;     /* another host's: no secrets */
};


/*
 * The name of this edge in Via (RFC 9110, section 7.6.3), by which a request
 * that comes back is known; made once in the master.
 */

extern ngx_str_t  ngx_http_registry_via;

ngx_int_t ngx_http_registry_via_init(ngx_log_t *log);


/*
 * How a remote fares, in the zone: kept by the asks, whose last answers say
 * it.  NGX_OK: it answers, so far as is known.  NGX_AGAIN: it did not, and is
 * to be asked again by who gets this, in the background.  NGX_DECLINED: it
 * did not, and somebody is asking it again.
 */

ngx_int_t ngx_http_registry_remote_up(ngx_http_registry_remote_t *remote);

/* 1 if it answers, so far as is known, else 0; nobody is to ask it */

ngx_uint_t ngx_http_registry_remote_answers(
    ngx_http_registry_remote_t *remote);

/*
 * 1 if it is known what the remote asks for where pushes go, or it has been
 * asked and does not
 */

ngx_uint_t ngx_http_registry_remote_known(ngx_http_registry_remote_t *remote);

/*
 * Whether a copy that was known to be true at that time may be used now that
 * the remote answers so: with a status, or else not at all.
 */

ngx_uint_t ngx_http_registry_remote_stale(ngx_http_registry_remote_t *remote,
    time_t since, ngx_uint_t status, ngx_http_registry_call_error_e error);


/* NULL if memory is short */

ngx_http_registry_ask_t *ngx_http_registry_ask_create(
    ngx_http_registry_remote_t *remote);

/* as of a call */

ngx_int_t ngx_http_registry_ask_header(ngx_http_registry_ask_t *ask,
    const char *name, ngx_str_t *value);
ngx_int_t ngx_http_registry_ask_start(ngx_http_registry_ask_t *ask);
ngx_int_t ngx_http_registry_ask_send(ngx_http_registry_ask_t *ask,
    u_char *data, size_t len, ngx_uint_t last);
void ngx_http_registry_ask_resume(ngx_http_registry_ask_t *ask);

/*
 * 1 if the answer is a page, of somebody who wants a login, say, and whose
 * status means nothing; else 0
 */

ngx_uint_t ngx_http_registry_ask_html(ngx_http_registry_ask_t *ask);

void ngx_http_registry_ask_free(ngx_http_registry_ask_t *ask);


/* 1 if pushes go somewhere else, and this is one, else 0 */

#define ngx_http_registry_remote_apart(remote, push)                          \
    ((push) && (remote)->client.targets.nelts > 1)


/* what ask.c tells remote.c: how an ask has ended */

void ngx_http_registry_remote_failed(ngx_http_registry_ask_t *ask,
    ngx_uint_t status);
void ngx_http_registry_remote_answered(ngx_http_registry_ask_t *ask);
void ngx_http_registry_remote_count(ngx_http_registry_ask_t *ask);
void ngx_http_registry_remote_open(ngx_http_registry_ask_t *ask);


#endif /* NGX_HTTP_REGISTRY_REMOTE_H */
