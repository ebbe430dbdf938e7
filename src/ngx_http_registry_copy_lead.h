
/*
 * What the parts of a copy know of each other: what all do who have to do
 * with it, and what the one does that leads.
 */


#ifndef NGX_HTTP_REGISTRY_COPY_LEAD_H
#define NGX_HTTP_REGISTRY_COPY_LEAD_H


#include "ngx_http_registry_copy.h"


#define ngx_http_registry_copy_ended(copy)                                    \
    ((copy)->flight.state > NGX_HTTP_REGISTRY_FLIGHT_DONE)


/* copy.c */

/*
 * While copy->busy is not 0 the copy does not go; _release() makes it less by
 * one, and then it may be gone.
 */

void ngx_http_registry_copy_release(ngx_http_registry_copy_t *copy);

/* sees how the flight is */

void ngx_http_registry_copy_refresh(ngx_http_registry_copy_t *copy);

/* an operation on the blob in its store; NULL if memory is short */

ngx_http_registry_op_t *ngx_http_registry_copy_op(
    ngx_http_registry_copy_t *copy, ngx_http_registry_op_e kind);

/*
 * Runs it as copy->op.  The handler is called in any case, perhaps from
 * within, looks at the status, and frees it by _end_op().
 */

void ngx_http_registry_copy_run(ngx_http_registry_copy_t *copy,
    ngx_http_registry_op_t *op, void (*handler)(void *data));

void ngx_http_registry_copy_end_op(ngx_http_registry_copy_t *copy);


/* copy_lead.c; copy->busy is not 0 */

/* makes the copy, of a flight that is new */

void ngx_http_registry_copy_lead(ngx_http_registry_copy_t *copy);

/* goes on with what another process has left */

void ngx_http_registry_copy_take_up(ngx_http_registry_copy_t *copy);


/* copy_end.c: all of it is there, from this peer, if one is known */

void ngx_http_registry_copy_complete(ngx_http_registry_copy_t *copy,
    ngx_str_t *peer);

/* it was a blob already, but perhaps without a link */

void ngx_http_registry_copy_relink(ngx_http_registry_copy_t *copy);

/* for another process to take up */

void ngx_http_registry_copy_abandon(ngx_http_registry_copy_t *copy);

/* there is no copy, and nobody can get the blob */

void ngx_http_registry_copy_fail(ngx_http_registry_copy_t *copy,
    ngx_http_registry_failure_t *failure);

/* the store takes no more of it: those who follow go on without us */

void ngx_http_registry_copy_degrade(ngx_http_registry_copy_t *copy,
    ngx_err_t err, const char *call);

/* others found us silent for too long, and have said so */

void ngx_http_registry_copy_late(ngx_http_registry_copy_t *copy);

void ngx_http_registry_copy_end(ngx_http_registry_copy_t *copy,
    ngx_http_registry_flight_state_e state);

/* ends what is under way in this process, whoever leads */

void ngx_http_registry_copy_stop(ngx_http_registry_copy_t *copy);


#endif /* NGX_HTTP_REGISTRY_COPY_LEAD_H */
