
/*
 * Sending an answer in pieces, as they come: what ngx_http_writer() does,
 * with a step to go on with when the client has taken them.
 */


#include "ngx_http_registry.h"


static ngx_int_t ngx_http_registry_send_later(ngx_http_request_t *r);


ngx_int_t
ngx_http_registry_send(ngx_http_registry_ctx_t *ctx, ngx_chain_t *out)
{
    ngx_connection_t    *c;
    ngx_http_request_t  *r;

    r = ctx->request;
    c = r->connection;

    if ((out || r->buffered || c->buffered)
        && ngx_http_output_filter(r, out) == NGX_ERROR)
    {
        return NGX_ERROR;
    }

    if (r->buffered || c->buffered) {
        return ngx_http_registry_send_later(r);
    }

    /* the time until there is more is not the client's */

    if (c->write->timer_set && !c->write->delayed) {
        ngx_del_timer(c->write);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_send_later(ngx_http_request_t *r)
{
    ngx_event_t               *wev;
    ngx_http_core_loc_conf_t  *clcf;

    wev = r->connection->write;
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (!wev->delayed) {
        ngx_add_timer(wev, clcf->send_timeout);
    }

    if (ngx_handle_write_event(wev, clcf->send_lowat) != NGX_OK) {
        return NGX_ERROR;
    }

    return NGX_AGAIN;
}


void
ngx_http_registry_writer(ngx_http_request_t *r)
{
    ngx_event_t              *wev;
    ngx_http_registry_ctx_t  *ctx;

    wev = r->connection->write;
    ctx = ngx_http_get_module_ctx(r, ngx_http_registry_module);

    if (wev->timedout) {
        ngx_log_error(NGX_LOG_INFO, r->connection->log, NGX_ETIMEDOUT,
                      "client timed out");
        r->connection->timedout = 1;

        ngx_http_registry_end(ctx, NGX_HTTP_REQUEST_TIME_OUT);
        return;
    }

    if (wev->delayed || r->aio) {
        if (ngx_http_registry_send_later(r) == NGX_ERROR) {
            ngx_http_registry_end(ctx, NGX_ERROR);
        }

        return;
    }

    ngx_http_registry_resume(ctx);
}
