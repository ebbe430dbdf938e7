
/*
 * Flights, by who leads or follows them.  Who leads one, and which key it
 * has, changes under the zone's mutex; how far it is, does not need it.  No
 * process counts on another one to clean up: a leader that died is found by
 * those who wait, and by the worker that is started in its place.
 */


#include "ngx_http_registry_flight_table.h"


/* those who wait are woken at the first byte, then so often */
#define NGX_HTTP_REGISTRY_FLIGHT_BYTES    (128 * 1024)
#define NGX_HTTP_REGISTRY_FLIGHT_DELAY    25            /* milliseconds */

#define NGX_HTTP_REGISTRY_FLIGHT_BEAT     1000          /* of who leads */
#define NGX_HTTP_REGISTRY_FLIGHT_CHECK    300           /* of who waits */
#define NGX_HTTP_REGISTRY_FLIGHT_SILENT   20            /* checks */


static void ngx_http_registry_flight_enter(
    ngx_http_registry_flight_t *flight);
static void ngx_http_registry_flight_lead(ngx_http_registry_flight_t *flight,
    ngx_str_t *label);
static void ngx_http_registry_flight_forget(
    ngx_http_registry_flight_t *flight, ngx_uint_t ended);
static off_t ngx_http_registry_flight_written(
    ngx_http_registry_flight_entry_t *e, ngx_uint_t *record);
static ngx_uint_t ngx_http_registry_flight_changed(
    ngx_http_registry_flight_t *flight);
static void ngx_http_registry_flight_sign(
    ngx_http_registry_flight_entry_t *e);
static void ngx_http_registry_flight_signal(
    ngx_http_registry_flight_t *flight);
static void ngx_http_registry_flight_call(ngx_http_registry_flight_t *flight);
static void ngx_http_registry_flight_calm(ngx_http_registry_flight_t *flight);
static void ngx_http_registry_flight_woken(void *data);
static void ngx_http_registry_flight_change(ngx_event_t *ev);
static void ngx_http_registry_flight_flush(ngx_event_t *ev);
static void ngx_http_registry_flight_beat(ngx_event_t *ev);
static void ngx_http_registry_flight_check(ngx_event_t *ev);
static void ngx_http_registry_flight_bury(ngx_http_registry_flight_t *flight);
static void ngx_http_registry_flight_expire(
    ngx_http_registry_flight_t *flight);


static ngx_queue_t                ngx_http_registry_flights;
static ngx_http_registry_waker_t  ngx_http_registry_flight_waker;


#define ngx_http_registry_flight_unfinished(state)                            \
    ((state) <= NGX_HTTP_REGISTRY_FLIGHT_DONE)


void
ngx_http_registry_flight_init_process(ngx_http_registry_zone_t *zone)
{
    ngx_uint_t                         i;
    ngx_http_registry_slots_t          slots;
    ngx_http_registry_flights_t       *sh;
    ngx_http_registry_flight_entry_t  *e;

    ngx_queue_init(&ngx_http_registry_flights);

    ngx_http_registry_flight_waker.handler = ngx_http_registry_flight_woken;
    ngx_http_registry_wake_add(&ngx_http_registry_flight_waker);

    sh = ngx_http_registry_flights(zone);
    slots = 0;

    ngx_http_registry_zone_lock(zone);

    for (i = 0; i < sh->n; i++) {
        e = &sh->entries[i];

        if (sh->index[i].ended || e->owner == 0
            || !ngx_http_registry_flight_left(e))
        {
            continue;
        }

        ngx_http_registry_flight_orphan(sh, e);
        slots |= e->waiters;
    }

    ngx_http_registry_zone_unlock(zone);

    ngx_http_registry_wake_signal(zone, slots);
}


ngx_int_t
ngx_http_registry_flight_take(ngx_http_registry_flight_t *flight,
    ngx_http_registry_zone_t *zone, ngx_str_t *key, ngx_str_t *label,
    ngx_uint_t join)
{
    uint32_t                           hash;
    ngx_int_t                          rc;
    ngx_http_registry_flights_t       *sh;
    ngx_http_registry_flight_entry_t  *e;

    if (key->len > NGX_HTTP_REGISTRY_FLIGHT_KEY
        || label->len > REGISTRY_NAME_MAX)
    {
        return NGX_DECLINED;
    }

    sh = ngx_http_registry_flights(zone);
    hash = ngx_murmur_hash2(key->data, key->len);

    ngx_http_registry_zone_lock(zone);

    rc = NGX_BUSY;
    e = ngx_http_registry_flight_find(sh, key, hash);

    if (e && e->owner && ngx_http_registry_flight_left(e)) {
        ngx_http_registry_flight_orphan(sh, e);
        e = ngx_http_registry_flight_find(sh, key, hash);
    }

    if (e == NULL && !join) {
        e = ngx_http_registry_flight_create(sh, key, hash);
        rc = NGX_OK;
    }

    if (e) {
        flight->zone = zone;
        flight->entry = e;
        flight->generation = e->generation;

        if (rc == NGX_OK) {
            ngx_http_registry_flight_lead(flight, label);
        }
    }

    ngx_http_registry_zone_unlock(zone);

    if (e == NULL) {
        return NGX_DECLINED;
    }

    ngx_http_registry_flight_enter(flight);

    if (rc == NGX_OK) {
        ngx_http_registry_flight_beat(&flight->timer);
    }

    ngx_http_registry_flight_look(flight);

    return rc;
}


static void
ngx_http_registry_flight_enter(ngx_http_registry_flight_t *flight)
{
    flight->timer.data = flight;
    flight->timer.log = ngx_cycle->log;

    flight->flush.data = flight;
    flight->flush.log = ngx_cycle->log;
    flight->flush.handler = ngx_http_registry_flight_flush;

    flight->change.data = flight;
    flight->change.log = ngx_cycle->log;
    flight->change.handler = ngx_http_registry_flight_change;

    ngx_queue_insert_tail(&ngx_http_registry_flights, &flight->queue);
}


static void
ngx_http_registry_flight_lead(ngx_http_registry_flight_t *flight,
    ngx_str_t *label)
{
    ngx_http_registry_flight_entry_t  *e;

    e = flight->entry;

    /* whole or none, also if we are killed here */

    e->label_len = 0;
    ngx_memory_barrier();

    ngx_memcpy(e->label, label->data, label->len);
    ngx_memory_barrier();

    e->label_len = (u_short) label->len;
    e->owner = ngx_pid;

    flight->leads = 1;
}


ngx_int_t
ngx_http_registry_flight_adopt(ngx_http_registry_flight_t *flight,
    ngx_str_t *label)
{
    ngx_int_t                          rc;
    ngx_http_registry_flight_entry_t  *e;

    rc = NGX_BUSY;
    e = flight->entry;

    ngx_http_registry_zone_lock(flight->zone);

    if (e->generation == flight->generation
        && ngx_http_registry_flight_unfinished(e->state)
        && ngx_http_registry_flight_left(e))
    {
        ngx_http_registry_flight_lead(flight, label);
        rc = NGX_OK;
    }

    ngx_http_registry_zone_unlock(flight->zone);

    if (rc == NGX_OK) {
        ngx_http_registry_flight_beat(&flight->timer);
    }

    ngx_http_registry_flight_look(flight);

    return rc;
}


ngx_uint_t
ngx_http_registry_flight_label(ngx_http_registry_flight_t *flight,
    ngx_str_t *label)
{
    ngx_uint_t                         same;
    ngx_http_registry_flight_entry_t  *e;

    e = flight->entry;

    ngx_http_registry_zone_lock(flight->zone);

    same = (e->generation == flight->generation
            && e->label_len == label->len
            && ngx_memcmp(e->label, label->data, label->len) == 0);

    ngx_http_registry_zone_unlock(flight->zone);

    return same;
}


void
ngx_http_registry_flight_look(ngx_http_registry_flight_t *flight)
{
    ngx_http_registry_flight_entry_t  *e;

    e = flight->entry;

    if (flight->waiting && ngx_http_registry_flight_changed(flight)) {
        ngx_post_event(&flight->change, &ngx_posted_events);
    }

    /* what goes with a state was written before it */

    flight->state = e->state;
    flight->orphan = (e->owner == 0
                      && ngx_http_registry_flight_unfinished(flight->state));
    ngx_memory_barrier();

    flight->written = ngx_http_registry_flight_written(e, &flight->record);
    flight->size = e->size;
    flight->failure = e->failure;
    ngx_memcpy(flight->file, e->file, NGX_HTTP_REGISTRY_FLIGHT_FILE);

    if (flight->state == NGX_HTTP_REGISTRY_FLIGHT_DONE
        || flight->state == NGX_HTTP_REGISTRY_FLIGHT_STORED)
    {
        flight->size = flight->written;
    }

    ngx_memory_barrier();

    if (e->generation != flight->generation) {
        flight->state = NGX_HTTP_REGISTRY_FLIGHT_DEGRADED;
        flight->written = 0;
        flight->orphan = 0;
        flight->lost = 1;
    }
}


/* what is read counts only if it was the whole one all the time */

static off_t
ngx_http_registry_flight_written(ngx_http_registry_flight_entry_t *e,
    ngx_uint_t *record)
{
    off_t       written;
    ngx_uint_t  n;

    do {
        n = e->record;
        ngx_memory_barrier();

        written = e->hash[n & 1].length;
        ngx_memory_barrier();

    } while (n != e->record);

    *record = n;

    return written;
}


void
ngx_http_registry_flight_hash(ngx_http_registry_flight_t *flight,
    registry_hash_t *hash)
{
    ngx_uint_t                         n;
    ngx_http_registry_flight_entry_t  *e;

    e = flight->entry;

    do {
        n = e->record;
        ngx_memory_barrier();

        *hash = e->hash[n & 1];
        ngx_memory_barrier();

    } while (n != e->record);
}


void
ngx_http_registry_flight_wait(ngx_http_registry_flight_t *flight)
{
    flight->waiting = 1;

    /* who leads has a timer already, and does not look for who leads */

    if (!flight->leads && !flight->timer.timer_set) {
        flight->timer.handler = ngx_http_registry_flight_check;
        ngx_add_timer(&flight->timer, NGX_HTTP_REGISTRY_FLIGHT_CHECK);
    }

    ngx_http_registry_flight_sign(flight->entry);

    /* others have a turn first, however fast it goes */

    if (ngx_http_registry_flight_changed(flight)) {
        ngx_post_event(&flight->change, &ngx_posted_next_events);
    }
}


static ngx_uint_t
ngx_http_registry_flight_changed(ngx_http_registry_flight_t *flight)
{
    ngx_http_registry_flight_entry_t  *e;

    e = flight->entry;

    return e->record != flight->record
           || e->state != flight->state
           || e->generation != flight->generation
           || (e->owner == 0 && !flight->orphan
               && ngx_http_registry_flight_unfinished(flight->state));
}


/*
 * First the name, then the look: who publishes does it the other way round,
 * so that one of the two sees the other.
 */

static void
ngx_http_registry_flight_sign(ngx_http_registry_flight_entry_t *e)
{
    ngx_atomic_uint_t          old;
    ngx_http_registry_slots_t  slot;

    slot = ngx_http_registry_wake_slot();

    do {
        old = e->waiters;
    } while (!ngx_atomic_cmp_set(&e->waiters, old, old | slot));

    ngx_memory_barrier();
}


static void
ngx_http_registry_flight_signal(ngx_http_registry_flight_t *flight)
{
    ngx_atomic_uint_t                  slots;
    ngx_http_registry_flight_entry_t  *e;

    e = flight->entry;

    ngx_memory_barrier();

    do {
        slots = e->waiters;
    } while (slots && !ngx_atomic_cmp_set(&e->waiters, slots, 0));

    ngx_http_registry_wake_signal(flight->zone, slots);
}


static void
ngx_http_registry_flight_woken(void *data)
{
    ngx_queue_t                 *q;
    ngx_http_registry_flight_t  *flight;

    for (q = ngx_queue_head(&ngx_http_registry_flights);
         q != ngx_queue_sentinel(&ngx_http_registry_flights);
         q = ngx_queue_next(q))
    {
        flight = ngx_queue_data(q, ngx_http_registry_flight_t, queue);

        if (!flight->waiting) {
            continue;
        }

        /* woken for something else, or seen already: our name may be gone */

        ngx_http_registry_flight_sign(flight->entry);

        /* not from here: a handler may end any of them */

        if (ngx_http_registry_flight_changed(flight)) {
            ngx_post_event(&flight->change, &ngx_posted_events);
        }
    }
}


static void
ngx_http_registry_flight_change(ngx_event_t *ev)
{
    ngx_http_registry_flight_call(ev->data);
}


static void
ngx_http_registry_flight_call(ngx_http_registry_flight_t *flight)
{
    ngx_http_registry_flight_calm(flight);

    flight->handler(flight->data);
}


/* nothing is waited for */

static void
ngx_http_registry_flight_calm(ngx_http_registry_flight_t *flight)
{
    flight->waiting = 0;

    if (!flight->leads && flight->timer.timer_set) {
        ngx_del_timer(&flight->timer);
    }

    if (flight->change.posted) {
        ngx_delete_posted_event(&flight->change);
    }
}


static void
ngx_http_registry_flight_check(ngx_event_t *ev)
{
    ngx_http_registry_flight_t        *flight;
    ngx_http_registry_flight_entry_t  *e;

    flight = ev->data;
    e = flight->entry;

    if (e->beat != flight->beat) {
        flight->beat = e->beat;
        flight->silent = 0;

    } else if (++flight->silent >= NGX_HTTP_REGISTRY_FLIGHT_SILENT) {
        ngx_http_registry_flight_expire(flight);
    }

    if (e->owner && ngx_http_registry_flight_left(e)) {
        ngx_http_registry_flight_bury(flight);
    }

    /* of an orphan until somebody takes it up */

    if (flight->orphan || ngx_http_registry_flight_changed(flight)) {
        ngx_http_registry_flight_call(flight);
        return;
    }

    ngx_add_timer(ev, NGX_HTTP_REGISTRY_FLIGHT_CHECK);
}


/* perhaps no worker is started in the place of who led it and has died */

static void
ngx_http_registry_flight_bury(ngx_http_registry_flight_t *flight)
{
    ngx_http_registry_flight_entry_t  *e;

    e = flight->entry;

    ngx_http_registry_zone_lock(flight->zone);

    if (e->generation == flight->generation
        && e->owner && ngx_http_registry_flight_left(e))
    {
        ngx_http_registry_flight_orphan(
                              ngx_http_registry_flights(flight->zone), e);
    }

    ngx_http_registry_zone_unlock(flight->zone);
}


/*
 * Who leads lives and does nothing, not even beat: it is stopped, or hangs in
 * a system call.  It may go on writing at any time, so nobody can take its
 * place; the flight ends here, for all but the one who leads.
 */

static void
ngx_http_registry_flight_expire(ngx_http_registry_flight_t *flight)
{
    ngx_http_registry_flights_t       *sh;
    ngx_http_registry_flight_entry_t  *e;

    sh = ngx_http_registry_flights(flight->zone);
    e = flight->entry;

    ngx_http_registry_zone_lock(flight->zone);

    if (e->generation == flight->generation
        && e->state <= NGX_HTTP_REGISTRY_FLIGHT_RUNNING)
    {
        ngx_log_error(NGX_LOG_CRIT, ngx_cycle->log, 0,
                      "registry: process %P does not answer, a fetch that it "
                      "leads is given up", (ngx_pid_t) e->owner);

        e->state = NGX_HTTP_REGISTRY_FLIGHT_DEGRADED;
        sh->index[e - sh->entries].listed = 0;
    }

    ngx_http_registry_zone_unlock(flight->zone);

    ngx_http_registry_flight_signal(flight);
}


ngx_int_t
ngx_http_registry_flight_run(ngx_http_registry_flight_t *flight,
    const char *file, off_t size)
{
    ngx_http_registry_flight_entry_t  *e;

    e = flight->entry;

    (void) ngx_cpystrn((u_char *) e->file, (u_char *) file,
                       NGX_HTTP_REGISTRY_FLIGHT_FILE);
    e->size = size;

    ngx_memory_barrier();

    if (!ngx_atomic_cmp_set(&e->state, NGX_HTTP_REGISTRY_FLIGHT_STARTING,
                            NGX_HTTP_REGISTRY_FLIGHT_RUNNING))
    {
        return NGX_DECLINED;
    }

    ngx_http_registry_flight_signal(flight);

    return NGX_OK;
}


ngx_int_t
ngx_http_registry_flight_publish(ngx_http_registry_flight_t *flight,
    registry_hash_t *hash)
{
    off_t                              length;
    ngx_uint_t                         n;
    ngx_http_registry_flight_entry_t  *e;

    e = flight->entry;

    if (e->state != NGX_HTTP_REGISTRY_FLIGHT_RUNNING) {
        return NGX_DECLINED;
    }

    n = e->record + 1;
    e->hash[n & 1] = *hash;

    ngx_memory_barrier();

    e->record = n;

    length = hash->length;

    if (flight->woken == 0
        || length - flight->woken >= NGX_HTTP_REGISTRY_FLIGHT_BYTES)
    {
        flight->woken = length;

        if (flight->flush.timer_set) {
            ngx_del_timer(&flight->flush);
        }

        ngx_http_registry_flight_signal(flight);

    } else if (!flight->flush.timer_set) {
        ngx_add_timer(&flight->flush, NGX_HTTP_REGISTRY_FLIGHT_DELAY);
    }

    return NGX_OK;
}


static void
ngx_http_registry_flight_flush(ngx_event_t *ev)
{
    ngx_http_registry_flight_t  *flight;

    flight = ev->data;

    flight->woken = flight->entry->hash[flight->entry->record & 1].length;

    ngx_http_registry_flight_signal(flight);
}


static void
ngx_http_registry_flight_beat(ngx_event_t *ev)
{
    ngx_http_registry_flight_t  *flight;

    flight = ev->data;

    flight->entry->beat++;

    ev->handler = ngx_http_registry_flight_beat;
    ngx_add_timer(ev, NGX_HTTP_REGISTRY_FLIGHT_BEAT);
}


ngx_int_t
ngx_http_registry_flight_done(ngx_http_registry_flight_t *flight)
{
    if (!ngx_atomic_cmp_set(&flight->entry->state,
                            NGX_HTTP_REGISTRY_FLIGHT_RUNNING,
                            NGX_HTTP_REGISTRY_FLIGHT_DONE))
    {
        return NGX_DECLINED;
    }

    ngx_http_registry_flight_signal(flight);

    return NGX_OK;
}


void
ngx_http_registry_flight_end(ngx_http_registry_flight_t *flight,
    ngx_http_registry_flight_state_e state)
{
    ngx_http_registry_flight_entry_t  *e;

    e = flight->entry;

    ngx_http_registry_zone_lock(flight->zone);

    /* what others have been told already stays */

    if (e->state != NGX_HTTP_REGISTRY_FLIGHT_DEGRADED) {
        e->failure = flight->failure;
        ngx_memory_barrier();
        e->state = state;
    }

    ngx_http_registry_flight_forget(flight, 1);

    ngx_http_registry_zone_unlock(flight->zone);

    ngx_http_registry_flight_signal(flight);
}


void
ngx_http_registry_flight_abandon(ngx_http_registry_flight_t *flight)
{
    ngx_http_registry_zone_lock(flight->zone);

    ngx_http_registry_flight_forget(flight, 0);

    ngx_http_registry_zone_unlock(flight->zone);

    ngx_http_registry_flight_signal(flight);
}


static void
ngx_http_registry_flight_forget(ngx_http_registry_flight_t *flight,
    ngx_uint_t ended)
{
    ngx_http_registry_flights_t       *sh;
    ngx_http_registry_flight_entry_t  *e;
    ngx_http_registry_flight_index_t  *index;

    e = flight->entry;
    sh = ngx_http_registry_flights(flight->zone);
    index = &sh->index[e - sh->entries];

    ngx_http_registry_flight_orphan(sh, e);

    /* nobody will look how it ended, as may be with what has no file */

    if (ended && e->file[0] == '\0' && e->waiters == 0) {
        index->since -= NGX_HTTP_REGISTRY_FLIGHT_LINGER;
    }

    flight->leads = 0;

    if (flight->timer.timer_set) {
        ngx_del_timer(&flight->timer);
    }

    if (flight->flush.timer_set) {
        ngx_del_timer(&flight->flush);
    }

    if (flight->waiting) {
        flight->timer.handler = ngx_http_registry_flight_check;
        ngx_add_timer(&flight->timer, NGX_HTTP_REGISTRY_FLIGHT_CHECK);
    }
}


void
ngx_http_registry_flight_leave(ngx_http_registry_flight_t *flight)
{
    ngx_queue_remove(&flight->queue);

    ngx_http_registry_flight_calm(flight);
}
