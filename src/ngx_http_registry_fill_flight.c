
/*
 * One worker asks the remote for a manifest, and the others wait for what
 * comes of it: a flight without a file.  The manifest itself they find in
 * shared memory, where it is put before the flight ends.
 */


#include "ngx_http_registry_fill_run.h"


static ngx_int_t ngx_http_registry_run_take_off(ngx_http_registry_run_t *run);
static void ngx_http_registry_run_flown(void *data);
static void ngx_http_registry_run_joined(ngx_http_registry_run_t *run);
static void ngx_http_registry_run_crashed(ngx_http_registry_run_t *run,
    ngx_http_registry_failure_t *failure);


void
ngx_http_registry_run_board(ngx_http_registry_run_t *run,
    void (*ask)(ngx_http_registry_run_t *run))
{
    /* it asks itself, or has waited for another one in vain */

    if (run->boarded) {
        ask(run);
        return;
    }

    run->boarded = 1;
    run->next = ask;
    run->flight.handler = ngx_http_registry_run_flown;
    run->flight.data = run;

    if (ngx_http_registry_run_take_off(run) == NGX_BUSY) {
        ngx_http_registry_flight_wait(&run->flight);

    } else {
        ask(run);
    }
}


/* NGX_DECLINED: no room for a flight, and nobody to wait for */

static ngx_int_t
ngx_http_registry_run_take_off(ngx_http_registry_run_t *run)
{
    u_char                         buf[REGISTRY_NAME_MAX + 1
                                       + REGISTRY_DIGEST_MAX
                                       + sizeof(ngx_uint_t)], *p;
    ngx_str_t                      key;
    registry_digest_t              digest;
    ngx_http_registry_manifest_t  *m;
    u_char                         text[sizeof(m->store->id)
                                        + REGISTRY_DIGEST_MAX];

    m = &run->manifest;

    /* who comes after a purge does not wait for what was asked before it */

    p = ngx_cpymem(buf, &m->generation, sizeof(ngx_uint_t));
    p = ngx_cpymem(p, m->name.data, m->name.len);
    *p++ = '\0';
    p = m->tag.len ? ngx_cpymem(p, m->tag.data, m->tag.len)
                   : ngx_cpymem(p, m->digest.text, m->digest.len);

    registry_hash_bytes(REGISTRY_SHA256, buf, p - buf, &digest);

    p = ngx_cpymem(text, m->store->id, sizeof(m->store->id));
    p = ngx_cpymem(p, digest.text, digest.len);

    key.data = text;
    key.len = p - text;

    return ngx_http_registry_flight_take(&run->flight, m->zone, &key,
                                         &m->name, 0);
}


static void
ngx_http_registry_run_flown(void *data)
{
    ngx_http_registry_run_t *run = data;

    ngx_http_registry_failure_t        failure;
    ngx_http_registry_flight_t        *flight;
    ngx_http_registry_flight_state_e   state;

    flight = &run->flight;

    ngx_http_registry_flight_look(flight);

    if (flight->orphan
        && ngx_http_registry_flight_adopt(flight, &run->manifest.name)
           == NGX_OK)
    {
        run->next(run);
        return;
    }

    state = flight->state;

    if (state <= NGX_HTTP_REGISTRY_FLIGHT_DONE) {
        ngx_http_registry_flight_wait(flight);
        return;
    }

    failure = flight->failure;

    ngx_http_registry_flight_leave(flight);

    if (state == NGX_HTTP_REGISTRY_FLIGHT_STORED) {
        ngx_http_registry_run_joined(run);

    } else if (state == NGX_HTTP_REGISTRY_FLIGHT_FAILED) {
        ngx_http_registry_run_crashed(run, &failure);

    } else {
        run->next(run);
    }
}


static void
ngx_http_registry_run_joined(ngx_http_registry_run_t *run)
{
    ngx_http_registry_manifest_t  m;

    m = run->manifest;

    /* whether it is fresh is for those who wait here */

    m.pulled = 1;

    /* too large for the memory, or forgotten again */

    if (ngx_http_registry_cache_get(&m, run->pool) != NGX_OK) {
        run->next(run);
        return;
    }

    run->digest = m.digest;
    run->copy = m;

    ngx_http_registry_run_found(run, NGX_HTTP_REGISTRY_FILL_JOIN);
}


static void
ngx_http_registry_run_crashed(ngx_http_registry_run_t *run,
    ngx_http_registry_failure_t *failure)
{
    if (failure->retry_after) {
        run->retry_after.data = ngx_pnalloc(run->pool, NGX_TIME_T_LEN);

        if (run->retry_after.data) {
            run->retry_after.len = ngx_sprintf(run->retry_after.data, "%T",
                                               failure->retry_after)
                                   - run->retry_after.data;
        }
    }

    ngx_http_registry_run_failed(run, failure->status, failure->error, NULL);
}


void
ngx_http_registry_run_land(ngx_http_registry_run_t *run, ngx_uint_t status,
    ngx_http_registry_call_error_e error)
{
    int64_t                      seconds;
    registry_str_t               text;
    ngx_http_registry_flight_t  *flight;

    flight = &run->flight;

    if (!flight->leads) {
        return;
    }

    /* this worker has to exit, say: others may do better */

    if (error == NGX_HTTP_REGISTRY_CALL_LOCAL) {
        ngx_http_registry_flight_abandon(flight);
        ngx_http_registry_flight_leave(flight);
        return;
    }

    flight->failure.status = status;
    flight->failure.error = error;
    flight->failure.retry_after = 0;

    text.data = (char *) run->retry_after.data;
    text.len = run->retry_after.len;

    if (text.len
        && registry_retry_after(text, ngx_time(), &seconds) == REGISTRY_OK)
    {
        flight->failure.retry_after = (time_t) seconds;
    }

    ngx_http_registry_flight_end(flight, status == NGX_HTTP_OK
                                         ? NGX_HTTP_REGISTRY_FLIGHT_STORED
                                         : NGX_HTTP_REGISTRY_FLIGHT_FAILED);
    ngx_http_registry_flight_leave(flight);
}
