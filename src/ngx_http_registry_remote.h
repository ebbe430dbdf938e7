
/*
 * Other registries: what the configuration says of each, and requests to
 * them with all that it takes to get an answer, credentials, tokens and
 * redirects.
 */


#ifndef NGX_HTTP_REGISTRY_REMOTE_H
#define NGX_HTTP_REGISTRY_REMOTE_H


#include "ngx_http_registry_client.h"
#include "ngx_http_registry_store.h"
#include "ngx_http_registry_zone.h"


/* "use_stale": what is answered with a copy whose time is over */

#define NGX_HTTP_REGISTRY_STALE_ERROR     0x01
#define NGX_HTTP_REGISTRY_STALE_TIMEOUT   0x02
#define NGX_HTTP_REGISTRY_STALE_429       0x04
#define NGX_HTTP_REGISTRY_STALE_5XX       0x08
#define NGX_HTTP_REGISTRY_STALE_UPDATING  0x10


typedef struct ngx_http_registry_ask_s  ngx_http_registry_ask_t;


typedef struct {
    ngx_str_t                    name;          /* its namespace */
    ngx_array_t                  aliases;       /* of ngx_str_t */

    ngx_http_registry_client_t   client;        /* targets: url, push_url */
    ngx_http_registry_zone_t    *zone;

    ngx_http_registry_store_t   *store;         /* where copies are kept */
    ngx_msec_t                   valid;         /* a tag is believed so long */
    ngx_msec_t                   negative;      /* and 404 */
    ngx_uint_t                   use_stale;
    time_t                       stale_for;     /* seconds */

    ngx_str_t                    credentials;   /* a file, or empty */
    ngx_uint_t                   auth_client;   /* the client's own token */
    ngx_uint_t                   library;       /* "x" is "library/x" there */

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
                                                   calls it */
    ngx_str_t                    path;          /* "/v2/...", with a query; or
                                                   a whole URL */
    ngx_array_t                  headers;       /* of ngx_keyval_t */
    off_t                        content_length;    /* as of a call */
    ngx_str_t                    pin;               /* likewise */
    ngx_str_t                    authorization; /* "auth client": what the
                                                   client sent; used as it is,
                                                   challenges are not met */
    ngx_str_t                    via;           /* of the request that this is
                                                   for, or empty */
    unsigned                     push:1;        /* the scope is pull,push, the
                                                   target push_url */

    ngx_int_t                  (*on_header)(ngx_http_registry_ask_t *);
    ngx_int_t                  (*on_body)(ngx_http_registry_ask_t *,
                                          u_char *data, size_t len);
    void                       (*on_send)(ngx_http_registry_ask_t *);
    void                       (*on_done)(ngx_http_registry_ask_t *);
    void                        *data;

    /* for the owner to read, from on_header on */

    registry_http_response_t    *response;      /* NULL: none came */
    off_t                        received;
    ngx_str_t                    peer;
    ngx_http_registry_call_error_e  error;
    const char                  *reason;        /* static */

    void                        *state;         /* remote.c's own */
};


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
void ngx_http_registry_ask_free(ngx_http_registry_ask_t *ask);


#endif /* NGX_HTTP_REGISTRY_REMOTE_H */
