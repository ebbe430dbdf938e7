
/*
 * Flights: something that one worker fetches and many want, in whichever
 * worker they are.  A flight is a place in shared memory, found by its key,
 * where the one that leads it says how far it is, and the others wait.  What
 * is fetched, from where, and to where, is the owners' business.
 */


#ifndef NGX_HTTP_REGISTRY_FLIGHT_H
#define NGX_HTTP_REGISTRY_FLIGHT_H


#include "ngx_http_registry_wake.h"

#include "registry_digest.h"
#include "registry_name.h"


#define NGX_HTTP_REGISTRY_FLIGHT_KEY    160     /* bytes */
#define NGX_HTTP_REGISTRY_FLIGHT_FILE   48      /* and the zero at its end */


typedef enum {
    NGX_HTTP_REGISTRY_FLIGHT_STARTING = 0,
    NGX_HTTP_REGISTRY_FLIGHT_RUNNING,   /* there is a file, it grows */
    NGX_HTTP_REGISTRY_FLIGHT_DONE,      /* it is whole and right */
    NGX_HTTP_REGISTRY_FLIGHT_STORED,    /* the same, and found in the store */
    NGX_HTTP_REGISTRY_FLIGHT_FAILED,
    NGX_HTTP_REGISTRY_FLIGHT_DEGRADED   /* it grows no more, and what is there
                                           is right so far as one can see */
} ngx_http_registry_flight_state_e;


/* why a flight failed, in the words of who led it */

typedef struct {
    ngx_uint_t                   status;        /* of HTTP, 0: no answer */
    ngx_uint_t                   error;
    time_t                       retry_after;   /* seconds, 0: not said */
} ngx_http_registry_failure_t;


typedef struct ngx_http_registry_flight_entry_s
    ngx_http_registry_flight_entry_t;


/*
 * A flight as one process sees it; zeroed by its owner.  There is one in a
 * process for each flight that it leads or follows.
 */

typedef struct {
    /* set by the owner: it is not as it was at the last _look() */
    void                              (*handler)(void *data);
    void                               *data;

    /* as of the last _look() */
    ngx_http_registry_flight_state_e    state;
    off_t                               written;    /* bytes that are there */
    off_t                               size;       /* -1: not known */
    char                                file[NGX_HTTP_REGISTRY_FLIGHT_FILE];
    ngx_http_registry_failure_t         failure;

    unsigned                            leads:1;
    unsigned                            orphan:1;   /* nobody leads it */
    unsigned                            lost:1;     /* it ended long ago */

    /* flight.c's own */
    unsigned                            waiting:1;
    ngx_uint_t                          generation;
    ngx_uint_t                          record;
    ngx_uint_t                          beat;
    ngx_uint_t                          silent;
    off_t                               woken;
    ngx_queue_t                         queue;
    ngx_event_t                         timer;
    ngx_event_t                         flush;
    ngx_event_t                         change;
    ngx_http_registry_zone_t           *zone;
    ngx_http_registry_flight_entry_t   *entry;
} ngx_http_registry_flight_t;


/*
 * In each worker, after ngx_http_registry_wake_init_process(): wakes those
 * who follow flights that a worker which died has led.
 */
void ngx_http_registry_flight_init_process(ngx_http_registry_zone_t *zone);

/*
 * How many are led, and can be, and for how many there is room now: one that
 * has just ended, or that nobody leads any more, keeps its place.
 */
void ngx_http_registry_flight_status(ngx_http_registry_zone_t *zone,
    ngx_uint_t *running, ngx_uint_t *room, ngx_uint_t *limit);

/*
 * The flight of this key: NGX_OK, a new one, which is led from here;
 * NGX_BUSY, there is one, led by somebody else, or an orphan.  NGX_DECLINED,
 * there is none and, unless "join", no room for one.  The label of a new one
 * says whose it is.
 */
ngx_int_t ngx_http_registry_flight_take(ngx_http_registry_flight_t *flight,
    ngx_http_registry_zone_t *zone, ngx_str_t *key, ngx_str_t *label,
    ngx_uint_t join);

/* to lead an orphan, with this label: NGX_BUSY, somebody else does already */
ngx_int_t ngx_http_registry_flight_adopt(ngx_http_registry_flight_t *flight,
    ngx_str_t *label);

/* 1 if this is the flight's label, else 0 */
ngx_uint_t ngx_http_registry_flight_label(ngx_http_registry_flight_t *flight,
    ngx_str_t *label);

/*
 * How it is now; a handler that is to be called still is.  A flight that has
 * ended is remembered for a second at least; who comes later finds it
 * degraded, and lost.
 */
void ngx_http_registry_flight_look(ngx_http_registry_flight_t *flight);

/*
 * The handler will be called, once and never from within, when it has changed
 * or is an orphan, which may be so already.  The process does not exit until
 * then.
 */
void ngx_http_registry_flight_wait(ngx_http_registry_flight_t *flight);

/* the hash of the bytes that are there, whoever wrote them */
void ngx_http_registry_flight_hash(ngx_http_registry_flight_t *flight,
    registry_hash_t *hash);


/*
 * By who leads it.  Those that return something return NGX_DECLINED if the
 * flight is not ours any more, because others found us silent for too long:
 * it was degraded and can only be ended.
 */

/* STARTING is over: the file's name, and the size, or -1 */
ngx_int_t ngx_http_registry_flight_run(ngx_http_registry_flight_t *flight,
    const char *file, off_t size);

/* hash->length bytes are there; those who wait are woken now and then */
ngx_int_t ngx_http_registry_flight_publish(ngx_http_registry_flight_t *flight,
    registry_hash_t *hash);

/* what was published is all, and right */
ngx_int_t ngx_http_registry_flight_done(ngx_http_registry_flight_t *flight);

/*
 * The last: STORED, FAILED with flight->failure, or DEGRADED.  The key is
 * free, and the flight led no more.
 */
void ngx_http_registry_flight_end(ngx_http_registry_flight_t *flight,
    ngx_http_registry_flight_state_e state);

/* leaves it for others to lead */
void ngx_http_registry_flight_abandon(ngx_http_registry_flight_t *flight);


/* by who does not lead it, or no more; the handler is not called after it */
void ngx_http_registry_flight_leave(ngx_http_registry_flight_t *flight);


extern const ngx_http_registry_zone_part_t  ngx_http_registry_flight_part;


#endif /* NGX_HTTP_REGISTRY_FLIGHT_H */
