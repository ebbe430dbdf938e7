
/*
 * Waking other processes.  The eventfds are added edge-triggered and never
 * read: a write is an event for each process that has the slot, whatever the
 * others have seen of it.  So slots need no owners, no locks, and no cleaning
 * up after a process that was killed.
 */


#include "ngx_http_registry_wake.h"

#include <sys/eventfd.h>


/* inherited from cycle to cycle; in the master's memory, not shared */

struct ngx_http_registry_wake_s {
    ngx_uint_t      cycles;     /* that have it */
    ngx_uint_t      n;          /* made */
    int             fd[NGX_HTTP_REGISTRY_WAKE_SLOTS];
};


typedef struct {
    ngx_atomic_t    next;       /* slot, counting on and on */
} ngx_http_registry_wake_shared_t;


static size_t ngx_http_registry_wake_size(size_t zone);
static ngx_int_t ngx_http_registry_wake_init(ngx_http_registry_zone_t *zone,
    ngx_http_registry_zone_t *old, ngx_log_t *log);
static ngx_http_registry_wake_t *ngx_http_registry_wake_create(
    ngx_log_t *log);
static void ngx_http_registry_wake_cleanup(void *data);
static void ngx_http_registry_wake_event(ngx_event_t *ev);


const ngx_http_registry_zone_part_t  ngx_http_registry_wake_part = {
    ngx_http_registry_wake_size,
    ngx_http_registry_wake_init
};


static ngx_queue_t                ngx_http_registry_wakers;
static ngx_http_registry_slots_t  ngx_http_registry_slot;


static size_t
ngx_http_registry_wake_size(size_t zone)
{
    return sizeof(ngx_http_registry_wake_shared_t);
}


/*
 * Not a new set of descriptors for every cycle: workers of an older one go
 * on, and would not have them.
 */

static ngx_int_t
ngx_http_registry_wake_init(ngx_http_registry_zone_t *zone,
    ngx_http_registry_zone_t *old, ngx_log_t *log)
{
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pool_cleanup_add(zone->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    zone->wake = old ? old->wake : ngx_http_registry_wake_create(log);

    if (zone->wake == NULL) {
        return NGX_ERROR;
    }

    zone->wake->cycles++;

    cln->handler = ngx_http_registry_wake_cleanup;
    cln->data = zone->wake;

    return NGX_OK;
}


static ngx_http_registry_wake_t *
ngx_http_registry_wake_create(ngx_log_t *log)
{
    int                        fd;
    ngx_http_registry_wake_t  *wake;

    wake = ngx_calloc(sizeof(ngx_http_registry_wake_t), log);
    if (wake == NULL) {
        return NULL;
    }

    for ( /* void */ ; wake->n < NGX_HTTP_REGISTRY_WAKE_SLOTS; wake->n++) {

        fd = eventfd(0, EFD_NONBLOCK|EFD_CLOEXEC);

        if (fd == -1) {
            ngx_log_error(NGX_LOG_EMERG, log, ngx_errno, "eventfd() failed");
            wake->cycles = 1;
            ngx_http_registry_wake_cleanup(wake);
            return NULL;
        }

        wake->fd[wake->n] = fd;
    }

    return wake;
}


static void
ngx_http_registry_wake_cleanup(void *data)
{
    ngx_http_registry_wake_t  *wake = data;

    if (--wake->cycles) {
        return;
    }

    while (wake->n) {
        if (close(wake->fd[--wake->n]) == -1) {
            ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, ngx_errno,
                          "close() of an eventfd failed");
        }
    }

    ngx_free(wake);
}


ngx_int_t
ngx_http_registry_wake_init_process(ngx_http_registry_zone_t *zone,
    ngx_cycle_t *cycle)
{
    ngx_uint_t                        n;
    ngx_event_t                      *rev;
    ngx_connection_t                 *c;
    ngx_http_registry_wake_shared_t  *sh;

    ngx_queue_init(&ngx_http_registry_wakers);

    sh = zone->sh->part[NGX_HTTP_REGISTRY_ZONE_WAKE];
    n = 0;

    if (ngx_process != NGX_PROCESS_HELPER) {
        n = 1 + ngx_atomic_fetch_add(&sh->next, 1)
                % (NGX_HTTP_REGISTRY_WAKE_SLOTS - 1);
    }

    c = ngx_get_connection(zone->wake->fd[n], cycle->log);
    if (c == NULL) {
        return NGX_ERROR;
    }

    c->pool = cycle->pool;

    rev = c->read;

    rev->log = cycle->log;
    rev->handler = ngx_http_registry_wake_event;

    /* neither is a connection that ought to be closed at exit */

    rev->channel = 1;
    c->write->channel = 1;

    if (ngx_add_event(rev, NGX_READ_EVENT, NGX_CLEAR_EVENT) == NGX_ERROR) {
        ngx_free_connection(c);
        return NGX_ERROR;
    }

    ngx_http_registry_slot = (ngx_http_registry_slots_t) 1 << n;

    return NGX_OK;
}


void
ngx_http_registry_wake_add(ngx_http_registry_waker_t *waker)
{
    ngx_queue_insert_tail(&ngx_http_registry_wakers, &waker->queue);
}


ngx_http_registry_slots_t
ngx_http_registry_wake_slot(void)
{
    return ngx_http_registry_slot;
}


static void
ngx_http_registry_wake_event(ngx_event_t *ev)
{
    uint64_t                    n;
    ngx_queue_t                *q;
    ngx_connection_t           *c;
    ngx_http_registry_waker_t  *waker;

    c = ev->data;

    /* select() and poll() know no edges */

    if (!(ngx_event_flags & NGX_USE_CLEAR_EVENT)
        && read(c->fd, &n, sizeof(uint64_t)) == -1
        && ngx_errno != NGX_EAGAIN)
    {
        ngx_log_error(NGX_LOG_ALERT, ev->log, ngx_errno,
                      "read() from an eventfd failed");
    }

    for (q = ngx_queue_head(&ngx_http_registry_wakers);
         q != ngx_queue_sentinel(&ngx_http_registry_wakers);
         q = ngx_queue_next(q))
    {
        waker = ngx_queue_data(q, ngx_http_registry_waker_t, queue);
        waker->handler(waker->data);
    }
}


void
ngx_http_registry_wake_signal(ngx_http_registry_zone_t *zone,
    ngx_http_registry_slots_t slots)
{
    uint64_t    one;
    ngx_uint_t  i;

    one = 1;

    for (i = 0; slots; i++, slots >>= 1) {

        if ((slots & 1)
            && write(zone->wake->fd[i], &one, sizeof(uint64_t)) == -1)
        {
            ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, ngx_errno,
                          "write() to an eventfd failed");
        }
    }
}
