
/*
 * What a remote is shown for a request: the name and password of a file, or a
 * token that a token service gives for them (Distribution's "Token
 * Authentication Specification").  Tokens, and what a remote asks for, are
 * kept in the zone, for all workers.
 */


#ifndef NGX_HTTP_REGISTRY_TOKEN_H
#define NGX_HTTP_REGISTRY_TOKEN_H


#include "ngx_http_registry_client.h"
#include "ngx_http_registry_count.h"
#include "ngx_http_registry_zone.h"

#include "registry_challenge.h"
#include "registry_credentials.h"


typedef struct ngx_http_registry_token_s  ngx_http_registry_token_t;


/*
 * A credentials file.  The master reads it with the configuration; a worker
 * reads it again when it has changed, if it may, and else keeps what it has.
 */

typedef struct {
    ngx_str_t                     path;         /* empty: there is none */
    registry_str_t               *hosts;        /* keys of a config.json */
    ngx_uint_t                    nhosts;

    registry_credentials_t        found;        /* malloc()ed */
    ngx_str_t                     basic;        /* "Basic ...", likewise */
    uint32_t                      hash;         /* of both; 0: nobody */

    ngx_file_uniq_t               uniq;         /* of what was read */
    time_t                        mtime;
    off_t                         size;
    time_t                        looked;       /* seconds; at most once each */
    unsigned                      failed:1;     /* and was logged */
} ngx_http_registry_login_t;


/* NGX_ERROR: the file is not there or not right; logged with *reason */

ngx_int_t ngx_http_registry_login_read(ngx_http_registry_login_t *login,
    ngx_log_t *log, const char **reason);

/* at the end of a configuration: wipes what was read */

void ngx_http_registry_login_forget(ngx_http_registry_login_t *login);

/* has it changed? */

void ngx_http_registry_login_refresh(ngx_http_registry_login_t *login,
    ngx_log_t *log);


/* who asks for what; remote is the id of its keys in the zone */

typedef struct {
    ngx_http_registry_zone_t     *zone;
    ngx_http_registry_login_t    *login;
    uint32_t                      remote;
    ngx_str_t                     scope;        /* "repository:a/b:pull", or
                                                   several, with spaces */
    ngx_http_registry_counters_t *counters;     /* only to get a token */
    unsigned                      pushed:1;     /* where the remote takes
                                                   pushes, if that is another
                                                   place */
} ngx_http_registry_grant_t;


/*
 * The "Bearer ..." to send, in the pool.  NGX_OK; NGX_AGAIN: likewise, but
 * another one should be got by now; NGX_DECLINED: there is none; NGX_ERROR:
 * no memory.
 */

ngx_int_t ngx_http_registry_token_find(ngx_http_registry_grant_t *grant,
    ngx_pool_t *pool, ngx_str_t *value);

/* the remote did not take it */

void ngx_http_registry_token_drop(ngx_http_registry_grant_t *grant);

/*
 * What a remote asked for last, so that it need not be asked first.
 * NGX_DECLINED: nothing is known.
 */

ngx_int_t ngx_http_registry_challenge_find(ngx_http_registry_grant_t *grant,
    registry_challenge_t *challenge);
void ngx_http_registry_challenge_keep(ngx_http_registry_grant_t *grant,
    const registry_challenge_t *challenge);


/*
 * Getting a token, an operation: created, started and freed by its owner; the
 * handler is called once, never from within _start(), unless it was freed
 * before.  In one worker those who want the same token wait for one request.
 */

struct ngx_http_registry_token_s {
    ngx_queue_t                   queue;        /* of those who wait */
    ngx_pool_t                   *pool;

    void                        (*handler)(void *data);
    void                         *data;

    /*
     * NGX_OK, it is in the zone and "value" until this is freed;
     * NGX_DECLINED, the service refused, with this status; NGX_ERROR, there
     * was no answer, or not a right one.
     */
    ngx_int_t                     rc;
    ngx_uint_t                    status;
    ngx_str_t                     value;        /* "Bearer ..." */
    ngx_http_registry_call_error_e  error;
    const char                   *reason;

    unsigned                      waiting:1;
};


/* NULL if memory is short */

ngx_http_registry_token_t *ngx_http_registry_token_create(void);

/* NGX_AGAIN, or NGX_ERROR: nothing was started */

ngx_int_t ngx_http_registry_token_start(ngx_http_registry_token_t *token,
    ngx_http_registry_client_t *client, ngx_http_registry_grant_t *grant,
    const registry_challenge_t *challenge);

/* gets another token before the time of this one is over; nobody waits */

void ngx_http_registry_token_renew(ngx_http_registry_client_t *client,
    ngx_http_registry_grant_t *grant);

void ngx_http_registry_token_free(ngx_http_registry_token_t *token);


#endif /* NGX_HTTP_REGISTRY_TOKEN_H */
