
/*
 * Work that may block: run in place where that is nginx's norm, or in a
 * thread pool.  A task owns its memory; whoever started it may go away.
 */


#ifndef NGX_HTTP_REGISTRY_TASK_H
#define NGX_HTTP_REGISTRY_TASK_H


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_thread_pool.h>


typedef struct ngx_http_registry_task_s  ngx_http_registry_task_t;

typedef void (*ngx_http_registry_task_pt)(ngx_http_registry_task_t *task);


struct ngx_http_registry_task_s {
    ngx_pool_t                 *pool;

    /*
     * In a thread: system calls and thread-safe libraries only, and nothing
     * outside of the task's own memory.
     */
    ngx_http_registry_task_pt   work;

    /* gives back what the pool does not: descriptors, malloc()ed memory */
    ngx_http_registry_task_pt   release;

    /* called once when work() in a thread has ended, unless freed before */
    void                      (*handler)(void *data);
    void                       *data;

    ngx_thread_task_t           thread;
    ngx_event_t                 alive;

    unsigned                    posted:1;
    unsigned                    abandoned:1;
};


/*
 * Allocates size zeroed bytes, which begin with a ngx_http_registry_task_t,
 * from a pool of their own.
 */
void *ngx_http_registry_task_create(size_t size, ngx_log_t *log);

/*
 * NGX_OK: work() has run, the handler is not called.  NGX_AGAIN: the handler
 * will be called.  NGX_ERROR: the pool's queue is full, nothing was run.
 * With tp NULL work() runs in place.
 */
ngx_int_t ngx_http_registry_task_run(ngx_http_registry_task_t *task,
    ngx_thread_pool_t *tp);

/*
 * At any time, once, by whoever created the task.  If work() is still in a
 * thread it goes on unseen, and the memory is freed when it ends.
 */
void ngx_http_registry_task_free(ngx_http_registry_task_t *task);


#endif /* NGX_HTTP_REGISTRY_TASK_H */
