
/*
 * Health checks as they go: one worker asks, in rounds, the others stand by to
 * take its place.  What the answers change is in health_peers.c.
 */


#include "ngx_http_registry_health_check.h"


#define NGX_HTTP_REGISTRY_HEALTH_RENEW  1000    /* milliseconds */


/* a request to a peer, in its call's pool */

typedef struct {
    ngx_queue_t                       queue;
    ngx_http_registry_call_t         *call;
    ngx_http_registry_health_check_t *check;
} ngx_http_registry_health_probe_t;


static void ngx_http_registry_health_lease(ngx_event_t *ev);
static void ngx_http_registry_health_start(ngx_http_registry_health_t *health);
static void ngx_http_registry_health_round(ngx_event_t *ev);
static void ngx_http_registry_health_ask(
    ngx_http_registry_health_check_t *check);
static void ngx_http_registry_health_deadline(ngx_event_t *ev);

static ngx_int_t ngx_http_registry_health_probe(
    ngx_http_registry_health_check_t *check, ngx_str_t *name);
static ngx_int_t ngx_http_registry_health_on_header(
    ngx_http_registry_call_t *call);
static ngx_int_t ngx_http_registry_health_on_body(
    ngx_http_registry_call_t *call, u_char *data, size_t len);
static void ngx_http_registry_health_on_done(ngx_http_registry_call_t *call);
static void ngx_http_registry_health_result(
    ngx_http_registry_health_probe_t *probe,
    ngx_http_registry_call_error_e error);
static void ngx_http_registry_health_free(
    ngx_http_registry_health_probe_t *probe);


/* of the configuration that is in force */

static ngx_http_registry_health_t  *ngx_http_registry_health;

static ngx_event_t  ngx_http_registry_health_timer;


void
ngx_http_registry_health_init_module(ngx_http_registry_health_t *health)
{
    ngx_http_registry_health = health;

    /* without a location that is a registry there is no zone */

    if (health->zone->sh) {
        ngx_http_registry_health_join(health);
    }
}


void
ngx_http_registry_health_init_process(ngx_cycle_t *cycle)
{
    ngx_event_t  *ev;

    static ngx_connection_t  dumb;

    if ((ngx_process != NGX_PROCESS_WORKER
         && ngx_process != NGX_PROCESS_SINGLE)
        || ngx_http_registry_health->checks.nelts == 0)
    {
        return;
    }

    ev = &ngx_http_registry_health_timer;

    ev->handler = ngx_http_registry_health_lease;
    ev->data = &dumb;
    ev->log = cycle->log;
    ev->cancelable = 1;

    /* this worker may be in the place of one that held the lease and died */

    ngx_http_registry_health_lease(ev);
}


static void
ngx_http_registry_health_lease(ngx_event_t *ev)
{
    ngx_http_registry_health_t  *health;

    health = ngx_http_registry_health;

    if (health && health->checks.nelts) {

        if (ngx_exiting || !ngx_http_registry_health_take(health)) {
            ngx_http_registry_health_stop(health);

        } else if (!health->leads) {
            ngx_http_registry_health_start(health);
        }
    }

    if (!ngx_exiting) {
        ngx_add_timer(ev, NGX_HTTP_REGISTRY_HEALTH_RENEW);
    }
}


/* edges that are started together do not ask together */

static void
ngx_http_registry_health_start(ngx_http_registry_health_t *health)
{
    ngx_uint_t                          i;
    ngx_http_registry_health_check_t  **check;

    health->leads = 1;

    check = health->checks.elts;

    for (i = 0; i < health->checks.nelts; i++) {
        check[i]->timer.handler = ngx_http_registry_health_round;
        check[i]->timer.log = ngx_cycle->log;

        ngx_add_timer(&check[i]->timer,
                      (ngx_msec_t) ngx_random() % check[i]->conf.interval);
    }
}


void
ngx_http_registry_health_stop(ngx_http_registry_health_t *health)
{
    ngx_uint_t                          i;
    ngx_queue_t                        *q, *next;
    ngx_http_registry_health_check_t  **check;

    health->leads = 0;

    check = health->checks.elts;

    for (i = 0; i < health->checks.nelts; i++) {

        if (check[i]->timer.timer_set) {
            ngx_del_timer(&check[i]->timer);
        }

        for (q = ngx_queue_head(&check[i]->probes);
             q != ngx_queue_sentinel(&check[i]->probes);
             q = next)
        {
            next = ngx_queue_next(q);

            ngx_http_registry_health_free(ngx_queue_data(q,
                                    ngx_http_registry_health_probe_t, queue));
        }
    }
}


/* of a configuration; the process may go on with another one */

void
ngx_http_registry_health_cleanup(void *data)
{
    ngx_http_registry_health_t  *health = data;

    ngx_http_registry_health_stop(health);

    if (ngx_http_registry_health == health) {
        ngx_http_registry_health = NULL;
    }
}


static void
ngx_http_registry_health_round(ngx_event_t *ev)
{
    ngx_http_registry_health_check_t  *check;

    check = ev->data;

    /* a process that was stopped, or hung, may have lost it */

    if (!ngx_http_registry_health_take(check->health)) {
        ngx_http_registry_health_stop(check->health);
        return;
    }

    ngx_http_registry_health_ask(check);

    ev->handler = ngx_http_registry_health_deadline;
    ngx_add_timer(ev, check->conf.timeout);
}


/* the peers as they are now: names of servers may be resolved again */

static void
ngx_http_registry_health_ask(ngx_http_registry_health_check_t *check)
{
    ngx_uint_t                         i;
    ngx_pool_t                        *pool;
    ngx_array_t                       *peers;
    ngx_http_registry_health_found_t  *found;

    pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, ngx_cycle->log);
    if (pool == NULL) {
        return;
    }

    peers = ngx_http_registry_health_walk(check, pool);

    for (i = 0; peers && i < peers->nelts; i++) {
        found = peers->elts;
        found += i;

        if (ngx_http_registry_health_seen(check, found) != NGX_OK
            || ngx_http_registry_health_probe(check, &found->name) != NGX_OK)
        {
            ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                          "peer %V of upstream \"%V\" is not checked: not "
                          "enough memory", &found->name,
                          &check->upstream->host);
        }
    }

    if (peers) {
        ngx_http_registry_health_sweep(check);
    }

    ngx_destroy_pool(pool);
}


/* who has not answered by now has failed */

static void
ngx_http_registry_health_deadline(ngx_event_t *ev)
{
    ngx_queue_t                       *q, *next;
    ngx_http_registry_health_check_t  *check;
    ngx_http_registry_health_probe_t  *probe;

    check = ev->data;

    for (q = ngx_queue_head(&check->probes);
         q != ngx_queue_sentinel(&check->probes);
         q = next)
    {
        next = ngx_queue_next(q);
        probe = ngx_queue_data(q, ngx_http_registry_health_probe_t, queue);

        ngx_http_registry_health_result(probe, NGX_HTTP_REGISTRY_CALL_TIMEOUT);
        ngx_http_registry_health_free(probe);
    }

    ev->handler = ngx_http_registry_health_round;
    ngx_add_timer(ev, check->conf.interval - check->conf.timeout);
}


static ngx_int_t
ngx_http_registry_health_probe(ngx_http_registry_health_check_t *check,
    ngx_str_t *name)
{
    ngx_http_registry_call_t          *call;
    ngx_http_registry_health_probe_t  *probe;

    call = ngx_http_registry_call_create(&check->client);
    if (call == NULL) {
        return NGX_ERROR;
    }

    probe = ngx_palloc(call->pool, sizeof(ngx_http_registry_health_probe_t));
    if (probe == NULL) {
        goto failed;
    }

    probe->call = call;
    probe->check = check;

    ngx_str_set(&call->method, "GET");
    call->url = check->url;
    call->on_header = ngx_http_registry_health_on_header;
    call->on_body = ngx_http_registry_health_on_body;
    call->on_done = ngx_http_registry_health_on_done;
    call->data = probe;

    call->pin.len = name->len;
    call->pin.data = ngx_pstrdup(call->pool, name);
    if (call->pin.data == NULL) {
        goto failed;
    }

    if (ngx_http_registry_call_start(call) != NGX_AGAIN) {
        goto failed;
    }

    ngx_queue_insert_tail(&check->probes, &probe->queue);

    return NGX_OK;

failed:

    ngx_http_registry_call_free(call);

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_registry_health_on_header(ngx_http_registry_call_t *call)
{
    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_health_on_body(ngx_http_registry_call_t *call, u_char *data,
    size_t len)
{
    return NGX_OK;
}


/* nothing is known about a peer that left, nor by what is wrong with us */

static void
ngx_http_registry_health_on_done(ngx_http_registry_call_t *call)
{
    ngx_http_registry_health_probe_t  *probe;

    probe = call->data;

    if (call->error != NGX_HTTP_REGISTRY_CALL_BUSY
        && call->error != NGX_HTTP_REGISTRY_CALL_LOCAL)
    {
        ngx_http_registry_health_result(probe, call->error);
    }

    ngx_http_registry_health_free(probe);
}


static void
ngx_http_registry_health_result(ngx_http_registry_health_probe_t *probe,
    ngx_http_registry_call_error_e error)
{
    ngx_str_t                 *upstream;
    ngx_int_t                  rc;
    ngx_uint_t                 status;
    ngx_http_registry_call_t  *call;

    call = probe->call;
    upstream = &probe->check->upstream->host;
    status = error ? 0 : call->response.status;

    rc = ngx_http_registry_health_count(probe->check, &call->pin, status,
                                        error);
    if (rc == NGX_DONE) {
        return;
    }

    if (rc == NGX_OK) {
        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "peer %V of upstream \"%V\" is up again", &call->pin,
                      upstream);

    } else if (status) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "peer %V of upstream \"%V\" is down: %ui", &call->pin,
                      upstream, status);

    } else {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, call->err,
                      "peer %V of upstream \"%V\" is down: %s%s%s",
                      &call->pin, upstream,
                      ngx_http_registry_call_error(error),
                      call->reason ? ", " : "",
                      call->reason ? call->reason : "");
    }
}


static void
ngx_http_registry_health_free(ngx_http_registry_health_probe_t *probe)
{
    ngx_queue_remove(&probe->queue);
    ngx_http_registry_call_free(probe->call);
}
