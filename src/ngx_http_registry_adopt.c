
/*
 * Adoption in the cache manager process, in rounds of some milliseconds: it
 * waits until all blobs of the cache are known, so that what is added to them
 * is measured by the limits, and then tells the eviction of each blob.
 */


#include "ngx_http_registry_adopt.h"
#include "ngx_http_registry_evict_shared.h"
#include "ngx_http_registry_fs.h"


/* milliseconds; it has the disk for as long as it leaves it to others */
#define NGX_HTTP_REGISTRY_ADOPT_ROUND  20
#define NGX_HTTP_REGISTRY_ADOPT_WAIT   100
#define NGX_HTTP_REGISTRY_ADOPT_RETRY  (60 * 1000)

#define NGX_HTTP_REGISTRY_ADOPT_FILES  512      /* removed in a round */


struct ngx_http_registry_adopt_manager_s {
    ngx_http_registry_store_t      *store;
    ngx_http_registry_op_t         *op;
    ngx_event_t                     timer;
    ngx_msec_t                      began;      /* 0: it has not */
    ngx_uint_t                      failed;
    ngx_http_registry_fs_adopt_t    fs;
};


static ngx_http_registry_adopt_manager_t *ngx_http_registry_adopt_start(
    ngx_http_registry_store_t *store);
static void ngx_http_registry_adopt_cleanup(void *data);
static void ngx_http_registry_adopt_wait(ngx_event_t *ev);
static void ngx_http_registry_adopt_round(ngx_event_t *ev);
static void ngx_http_registry_adopt_done(ngx_http_registry_adopt_manager_t *m);
static void ngx_http_registry_adopt_rest(ngx_event_t *ev);


void
ngx_http_registry_adopt_init_module(ngx_http_registry_store_t *store,
    ngx_log_t *log)
{
    if (store->evict && store->evict->adopt) {
        ngx_http_registry_fs_adopt_aside(store, log);
    }
}


void
ngx_http_registry_adopt_manager(ngx_http_registry_store_t *store)
{
    ngx_http_registry_adopt_t  *adopt;

    if (store->evict == NULL || store->evict->adopt == NULL) {
        return;
    }

    adopt = store->evict->adopt;

    if (adopt->manager == NULL) {
        adopt->manager = ngx_http_registry_adopt_start(store);
    }
}


static ngx_http_registry_adopt_manager_t *
ngx_http_registry_adopt_start(ngx_http_registry_store_t *store)
{
    ngx_pool_cleanup_t                 *cln;
    ngx_http_registry_adopt_manager_t  *m;

    static ngx_str_t                    none = ngx_string("");

    cln = ngx_pool_cleanup_add(ngx_cycle->pool,
                               sizeof(ngx_http_registry_adopt_manager_t));
    if (cln == NULL) {
        return NULL;
    }

    m = cln->data;
    ngx_memzero(m, sizeof(ngx_http_registry_adopt_manager_t));

    m->store = store;
    m->fs.dir = &store->evict->adopt->dir;
    m->fs.dirs = &store->evict->adopt->dirs;

    m->op = ngx_http_registry_op_create(store,
                                        NGX_HTTP_REGISTRY_OP_PURGE_REMOVE,
                                        &none, ngx_cycle->log);
    if (m->op == NULL) {
        return NULL;
    }

    cln->handler = ngx_http_registry_adopt_cleanup;

    m->timer.handler = ngx_http_registry_adopt_wait;
    m->timer.data = m;
    m->timer.log = ngx_cycle->log;
    m->timer.cancelable = 1;

    ngx_add_timer(&m->timer, 1);

    return m;
}


/* with "master_process off", for the configuration before a reload */

static void
ngx_http_registry_adopt_cleanup(void *data)
{
    ngx_http_registry_adopt_manager_t  *m = data;

    if (m->timer.timer_set) {
        ngx_del_timer(&m->timer);
    }

    ngx_http_registry_fs_adopt_close(m->op, &m->fs);
    ngx_http_registry_op_free(m->op);
}


/* of a cache that is offline nothing is evicted, and nothing counted */

static void
ngx_http_registry_adopt_wait(ngx_event_t *ev)
{
    ngx_http_registry_evict_status_t    status;
    ngx_http_registry_adopt_manager_t  *m;

    m = ev->data;

    ngx_http_registry_evict_status(m->store, &status);

    if (!status.indexed && !m->store->offline) {
        ngx_add_timer(ev, NGX_HTTP_REGISTRY_ADOPT_WAIT);
        return;
    }

    switch (ngx_http_registry_fs_adopt_begin(m->op, &m->fs)) {

    case NGX_OK:
        break;

    case NGX_DECLINED:
        return;

    default:
        ngx_http_registry_evict_failed(m->op);
        ngx_add_timer(ev, NGX_HTTP_REGISTRY_ADOPT_RETRY);
        return;
    }

    if (m->began == 0) {
        m->began = ngx_current_msec;

        ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                      "registry_cache \"%V\" adopts what docker-registry has "
                      "of \"%V\"", &m->store->name,
                      &m->store->evict->adopt->ns);
    }

    m->failed = 0;
    ev->handler = ngx_http_registry_adopt_round;

    ngx_add_timer(ev, 1);
}


static void
ngx_http_registry_adopt_round(ngx_event_t *ev)
{
    ngx_int_t                           rc;
    ngx_msec_t                          start;
    ngx_http_registry_fs_blob_t         blob;
    ngx_http_registry_adopt_manager_t  *m;

    m = ev->data;

    ngx_time_update();
    start = ngx_current_msec;

    do {
        rc = ngx_http_registry_fs_adopt_step(m->op, &m->fs, &blob);

        if (rc == NGX_DONE) {
            ngx_http_registry_adopt_done(m);
            return;
        }

        if (rc == NGX_OK) {
            ngx_http_registry_evict_added(m->store, &blob.digest, blob.size,
                                          blob.used);
        }

        if (rc == NGX_ERROR) {
            ngx_http_registry_evict_failed(m->op);
            m->failed++;
        }

        ngx_time_update();

    } while (ngx_current_msec - start < NGX_HTTP_REGISTRY_ADOPT_ROUND
             && !ngx_quit && !ngx_terminate);

    ngx_add_timer(ev, ngx_current_msec - start);
}


/* what failed, such as for want of permission, is tried again */

static void
ngx_http_registry_adopt_done(ngx_http_registry_adopt_manager_t *m)
{
    ngx_int_t  rc;

    rc = NGX_ERROR;

    if (m->failed == 0) {
        rc = ngx_http_registry_fs_adopt_end(m->op);

        if (rc == NGX_ERROR) {
            ngx_http_registry_evict_failed(m->op);
        }
    }

    if (rc == NGX_ERROR) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "registry_cache \"%V\" could not adopt all: it will "
                      "try again in %d seconds", &m->store->name,
                      NGX_HTTP_REGISTRY_ADOPT_RETRY / 1000);

        m->timer.handler = ngx_http_registry_adopt_wait;
        ngx_add_timer(&m->timer, NGX_HTTP_REGISTRY_ADOPT_RETRY);
        return;
    }

    ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                  "registry_cache \"%V\" has adopted %ui blobs in %O bytes "
                  "with %ui links in %M ms, damaged: %ui",
                  &m->store->name, m->fs.blobs, m->fs.bytes, m->fs.links,
                  ngx_current_msec - m->began, m->fs.wrong);

    if (rc == NGX_OK) {
        m->timer.handler = ngx_http_registry_adopt_rest;
        ngx_add_timer(&m->timer, 1);
    }
}


/* blobs without a link, uploads that were broken off */

static void
ngx_http_registry_adopt_rest(ngx_event_t *ev)
{
    ngx_int_t                           rc;
    ngx_http_registry_adopt_manager_t  *m;

    m = ev->data;

    m->op->limit = NGX_HTTP_REGISTRY_ADOPT_FILES;
    rc = ngx_http_registry_fs_purge_remove(m->op);

    free(m->op->list.start);
    ngx_memzero(&m->op->list, sizeof(ngx_http_registry_list_t));

    if (rc == NGX_OK) {
        ngx_add_timer(ev, NGX_HTTP_REGISTRY_ADOPT_ROUND);

    } else if (rc == NGX_ERROR) {

        /* whatever is left goes with all other leftovers */

        ngx_http_registry_evict_failed(m->op);
    }
}
