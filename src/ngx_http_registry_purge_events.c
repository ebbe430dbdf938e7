
/*
 * Events of another registry, posted to a purge: a document of Distribution
 * or Harbor is parsed, in a thread if it is large, and is all carried out or
 * nothing of it.
 */


#include "ngx_http_registry_purge.h"


#define NGX_HTTP_REGISTRY_PURGE_HERE  (32 * 1024)  /* more: in a thread */


typedef struct {
    ngx_http_registry_task_t     task;
    registry_str_t               in;
    registry_events_t            events;
    registry_status_e            status;
} ngx_http_registry_events_t;


static void ngx_http_registry_purge_parse_work(
    ngx_http_registry_task_t *task);
static void ngx_http_registry_purge_parse_release(
    ngx_http_registry_task_t *task);
static ngx_int_t ngx_http_registry_purge_parsed(ngx_http_registry_ctx_t *ctx);
static void ngx_http_registry_purge_cleanup(void *data);


ngx_int_t
ngx_http_registry_purge_parse(ngx_http_registry_ctx_t *ctx)
{
    ngx_http_registry_remote_t     **remote;
    ngx_http_registry_events_t      *parse;
    ngx_http_registry_main_conf_t   *mcf;

    mcf = ngx_http_get_module_main_conf(ctx->request,
                                        ngx_http_registry_module);

    if (mcf->remotes.nelts == 0) {
        return ngx_http_registry_purge_unknown(ctx, "", 0);
    }

    parse = ngx_http_registry_task_create(sizeof(ngx_http_registry_events_t),
                                          ctx->request->connection->log);
    if (parse == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->task = &parse->task;

    /* a copy, since the task may outlive the request */

    parse->in.len = ctx->pushed.len;
    parse->in.data = ngx_pnalloc(parse->task.pool, parse->in.len + 1);
    if (parse->in.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_memcpy((char *) parse->in.data, ctx->pushed.data, parse->in.len);

    parse->task.work = ngx_http_registry_purge_parse_work;
    parse->task.release = ngx_http_registry_purge_parse_release;

    /* anybody's threads will do */

    remote = mcf->remotes.elts;
    ctx->store = remote[0]->store;

    return ngx_http_registry_run_task(ctx, parse->in.len
                                           > NGX_HTTP_REGISTRY_PURGE_HERE,
                                      ngx_http_registry_purge_parsed);
}


static void
ngx_http_registry_purge_parse_work(ngx_http_registry_task_t *task)
{
    ngx_http_registry_events_t *parse = (ngx_http_registry_events_t *) task;

    parse->status = registry_events_parse(parse->in, &parse->events);
}


static void
ngx_http_registry_purge_parse_release(ngx_http_registry_task_t *task)
{
    ngx_http_registry_events_t *parse = (ngx_http_registry_events_t *) task;

    registry_events_free(&parse->events);
}


/* all or nothing: no event is carried out if one is of an unknown registry */

static ngx_int_t
ngx_http_registry_purge_parsed(ngx_http_registry_ctx_t *ctx)
{
    size_t                       i;
    registry_event_t            *event;
    registry_status_e            status;
    ngx_pool_cleanup_t          *cln;
    ngx_http_registry_purge_t   *p;
    ngx_http_registry_events_t  *parse;

    p = ctx->purge;

    cln = ngx_pool_cleanup_add(ctx->request->pool, 0);
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln->handler = ngx_http_registry_purge_cleanup;
    cln->data = p;

    parse = (ngx_http_registry_events_t *) ctx->task;

    status = parse->status;
    p->events = parse->events;
    ngx_memzero(&parse->events, sizeof(registry_events_t));

    ngx_http_registry_task_free(ctx->task);
    ctx->task = NULL;

    if (status == REGISTRY_NOMEM) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (status != REGISTRY_OK) {
        return ngx_http_registry_fail_status(ctx,
                                    REGISTRY_UNSUPPORTED_OPERATION,
                                    "these are no events of a registry",
                                    NGX_HTTP_BAD_REQUEST);
    }

    for (i = 0; i < p->events.n; i++) {
        event = &p->events.events[i];

        if (ngx_http_registry_purge_remote(ctx, event) == NULL) {
            return ngx_http_registry_purge_unknown(ctx, event->host.data,
                                                   event->host.len);
        }
    }

    p->skipped = p->events.skipped;

    ctx->step = ngx_http_registry_purge_next;

    return NGX_OK;
}


static void
ngx_http_registry_purge_cleanup(void *data)
{
    ngx_http_registry_purge_t *p = data;

    registry_events_free(&p->events);
}
