
/*
 * Waking other processes of this nginx, in microseconds: an eventfd for each
 * slot, made by the master and so known to all workers, of every generation.
 */


#ifndef NGX_HTTP_REGISTRY_WAKE_H
#define NGX_HTTP_REGISTRY_WAKE_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>

#include "ngx_http_registry_zone.h"


/*
 * Slots as bits.  A process has one, which it may share with others if there
 * are many: who is woken looks whether it has anything to do.
 */

typedef ngx_atomic_uint_t  ngx_http_registry_slots_t;

#define NGX_HTTP_REGISTRY_WAKE_SLOTS                                          \
    (8 * sizeof(ngx_http_registry_slots_t))

#define NGX_HTTP_REGISTRY_WAKE_MANAGER  ((ngx_http_registry_slots_t) 1)
                                        /* the cache manager process */


typedef struct {
    ngx_queue_t    queue;
    void         (*handler)(void *data);    /* on the event loop */
    void          *data;
} ngx_http_registry_waker_t;


/*
 * In each process, before the others of this header: workers, and the cache
 * manager.  Logs what fails.
 */
ngx_int_t ngx_http_registry_wake_init_process(ngx_http_registry_zone_t *zone,
    ngx_cycle_t *cycle);

/* the handler is called whenever this process is woken */
void ngx_http_registry_wake_add(ngx_http_registry_waker_t *waker);

/* this process's own slot */
ngx_http_registry_slots_t ngx_http_registry_wake_slot(void);

/*
 * Wakes all that have these slots, perhaps this process too; no handler is
 * called from within.
 */
void ngx_http_registry_wake_signal(ngx_http_registry_zone_t *zone,
    ngx_http_registry_slots_t slots);


extern const ngx_http_registry_zone_part_t  ngx_http_registry_wake_part;


#endif /* NGX_HTTP_REGISTRY_WAKE_H */
