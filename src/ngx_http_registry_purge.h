
/*
 * A purge, and what the files of purge.c have of each other: the events to be
 * carried out, whether a DELETE or a document said so, and how far it is.
 */


#ifndef NGX_HTTP_REGISTRY_PURGE_H
#define NGX_HTTP_REGISTRY_PURGE_H


#include "ngx_http_registry.h"

#include "registry_event.h"


struct ngx_http_registry_purge_s {
    ngx_http_registry_remote_t  *remote;    /* NULL: the events' hosts say */

    registry_events_t            events;
    registry_event_t             event;     /* of a DELETE */
    size_t                       next;
    ngx_uint_t                   stage;     /* of an event */

    ngx_http_registry_purged_t   purged;
    size_t                       skipped;

    char                         temp[REGISTRY_UPLOAD_ID_LEN + 2];
    u_char                       name[REGISTRY_NAME_MAX];

    unsigned                     posted:1;  /* events of another registry */
    unsigned                     below:1;   /* all below the name, too */
};


/* purge.c: the answer that nothing is kept under this name */

ngx_int_t ngx_http_registry_purge_unknown(ngx_http_registry_ctx_t *ctx,
    const void *name, size_t len);

/* the step after the last event */

ngx_int_t ngx_http_registry_purge_answer(ngx_http_registry_ctx_t *ctx);


/* purge_events.c: the step that makes events of ctx->pushed */

ngx_int_t ngx_http_registry_purge_parse(ngx_http_registry_ctx_t *ctx);


/* purge_run.c: the remote that an event is about; NULL if there is none */

ngx_http_registry_remote_t *ngx_http_registry_purge_remote(
    ngx_http_registry_ctx_t *ctx, registry_event_t *event);

/* the step that carries out the next event */

ngx_int_t ngx_http_registry_purge_next(ngx_http_registry_ctx_t *ctx);


#endif /* NGX_HTTP_REGISTRY_PURGE_H */
