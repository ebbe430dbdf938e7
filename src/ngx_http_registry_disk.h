
/*
 * Writing to a file while the event loop goes on: in place, where that is
 * nginx's norm, or in a thread.
 */


#ifndef NGX_HTTP_REGISTRY_DISK_H
#define NGX_HTTP_REGISTRY_DISK_H


#include "ngx_http_registry_task.h"


/* in place: NGX_OK, or NGX_ERROR with ngx_errno */

ngx_int_t ngx_http_registry_disk_write(ngx_fd_t fd, const u_char *data,
    size_t len, off_t offset);


/*
 * The same in a thread: a task with a descriptor and a copy of the bytes of
 * its own, to be run by its owner.  NULL if there is no memory or descriptor
 * for it.
 */

typedef struct {
    ngx_http_registry_task_t  task;
    ngx_fd_t                  fd;
    off_t                     offset;
    u_char                   *data;
    size_t                    size;
    ngx_err_t                 err;      /* 0: it is written */
} ngx_http_registry_disk_t;


ngx_http_registry_disk_t *ngx_http_registry_disk_create(ngx_fd_t fd,
    const u_char *data, size_t len, off_t offset, ngx_log_t *log);


/*
 * Has the kernel begin to write what lies between *synced and "end", if that
 * is much, so that the fsync at the end finds little left to do, and dirty
 * pages do not pile up until a write has to wait.  Nobody waits for it.
 */

void ngx_http_registry_disk_writeback(ngx_fd_t fd, off_t *synced, off_t end,
    ngx_thread_pool_t *tp, ngx_log_t *log);


#endif /* NGX_HTTP_REGISTRY_DISK_H */
