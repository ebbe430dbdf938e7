
/*
 * Tasks over nginx's thread pools.  What is added to ngx_thread_task_t: a
 * pool that outlives the request, abandonment instead of waiting, and a
 * timer that keeps a draining worker alive until the task has ended (nginx
 * before 1.25.4 does not count tasks).
 */


#include "ngx_http_registry_task.h"


#define NGX_HTTP_REGISTRY_TASK_ALIVE  60000


static void ngx_http_registry_task_thread(void *data, ngx_log_t *log);
static void ngx_http_registry_task_done(ngx_event_t *ev);
static void ngx_http_registry_task_alive(ngx_event_t *ev);
static void ngx_http_registry_task_destroy(ngx_http_registry_task_t *task);


void *
ngx_http_registry_task_create(size_t size, ngx_log_t *log)
{
    ngx_pool_t                *pool;
    ngx_http_registry_task_t  *task;

    pool = ngx_create_pool(ngx_max(size + 256, NGX_MIN_POOL_SIZE), log);
    if (pool == NULL) {
        return NULL;
    }

    /* the log of a request may be gone when an abandoned task ends */

    pool->log = ngx_cycle->log;

    task = ngx_pcalloc(pool, size);
    if (task == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    task->pool = pool;

    return task;
}


ngx_int_t
ngx_http_registry_task_run(ngx_http_registry_task_t *task,
    ngx_thread_pool_t *tp)
{
    ngx_thread_task_t  *thread;

    if (tp == NULL) {
        task->work(task);
        return NGX_OK;
    }

    thread = &task->thread;

    thread->ctx = task;
    thread->handler = ngx_http_registry_task_thread;
    thread->event.data = task;
    thread->event.handler = ngx_http_registry_task_done;
    thread->event.log = ngx_cycle->log;

    task->alive.data = task;
    task->alive.handler = ngx_http_registry_task_alive;
    task->alive.log = ngx_cycle->log;

    if (ngx_thread_task_post(tp, thread) != NGX_OK) {
        return NGX_ERROR;
    }

    task->posted = 1;
    ngx_add_timer(&task->alive, NGX_HTTP_REGISTRY_TASK_ALIVE);

    return NGX_AGAIN;
}


void
ngx_http_registry_task_free(ngx_http_registry_task_t *task)
{
    if (task->posted) {
        task->abandoned = 1;
        return;
    }

    ngx_http_registry_task_destroy(task);
}


static void
ngx_http_registry_task_thread(void *data, ngx_log_t *log)
{
    ngx_http_registry_task_t  *task = data;

    task->work(task);
}


static void
ngx_http_registry_task_done(ngx_event_t *ev)
{
    ngx_http_registry_task_t  *task = ev->data;

    task->posted = 0;
    ngx_del_timer(&task->alive);

    if (task->abandoned) {
        ngx_http_registry_task_destroy(task);
        return;
    }

    task->handler(task->data);
}


static void
ngx_http_registry_task_alive(ngx_event_t *ev)
{
    ngx_log_error(NGX_LOG_WARN, ev->log, 0,
                  "registry: a task has been in its thread for %d seconds",
                  NGX_HTTP_REGISTRY_TASK_ALIVE / 1000);

    ngx_add_timer(ev, NGX_HTTP_REGISTRY_TASK_ALIVE);
}


static void
ngx_http_registry_task_destroy(ngx_http_registry_task_t *task)
{
    if (task->release) {
        task->release(task);
    }

    ngx_destroy_pool(task->pool);
}
