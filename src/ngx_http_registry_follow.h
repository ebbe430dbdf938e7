
/*
 * The two halves of sending a blob that is not in the cache yet: from the
 * file that grows, and the rest from the remote if it does not any more.
 */


#ifndef NGX_HTTP_REGISTRY_FOLLOW_H
#define NGX_HTTP_REGISTRY_FOLLOW_H


#include "ngx_http_registry.h"

#include "registry_range.h"


struct ngx_http_registry_follow_s {
    ngx_http_registry_fetch_t    fetch;
    ngx_http_registry_step_pt    found;     /* asks the store again */
    ngx_http_registry_step_pt    pass;      /* does without us */
    ngx_uint_t                   rounds;

    registry_byte_range_t        range;
    unsigned                     ranged:1;  /* there is one */
    unsigned                     last:1;    /* the last byte was handed out */
    off_t                        pos;       /* all before it was handed out */
    off_t                        end;       /* after the last one to be sent;
                                               -1: the end, not known yet */
    ngx_buf_t                    buf;       /* of the file */
    ngx_file_t                   file;

    /* the rest */

    unsigned                     paused:1;  /* the ask is to be resumed */
    off_t                        from;      /* it begins there */
    off_t                        seen;      /* and has come up to there */
    off_t                        skip;
    ngx_http_registry_retry_t    retry;
    registry_hash_t              hash;
    ngx_http_registry_ask_t     *ask;
    ngx_event_t                  pause;
    ngx_buf_t                    mem;
    u_char                      *tail;      /* come, and held back */
    size_t                       tail_len;
};


/* NGX_OK: a body is to follow; else how the request has ended: see _step_pt */

ngx_int_t ngx_http_registry_follow_header(ngx_http_registry_ctx_t *ctx);

/*
 * The file's bytes up to there, to be sent; NULL if there are none.
 */

ngx_buf_t *ngx_http_registry_follow_file(ngx_http_registry_ctx_t *ctx,
    off_t limit);

/*
 * NGX_AGAIN: the client has got what it was sent, to the last byte, and is
 * watched until there is more.
 */

ngx_int_t ngx_http_registry_follow_wait(ngx_http_registry_ctx_t *ctx);

/* the answer to what the remote has answered, or that it has not */

ngx_int_t ngx_http_registry_follow_failed(ngx_http_registry_ctx_t *ctx,
    ngx_http_registry_failure_t *failure);


/* a step: when the copy is made no further, and its bytes were handed out */

ngx_int_t ngx_http_registry_follow_rest(ngx_http_registry_ctx_t *ctx);

void ngx_http_registry_follow_rest_stop(ngx_http_registry_follow_t *f);


#endif /* NGX_HTTP_REGISTRY_FOLLOW_H */
