
/*
 * Writing to a file: in place, or as a task that has all it needs, so that
 * who wants it may go away meanwhile.
 */


#include "ngx_http_registry_disk.h"


/* how much is written before the kernel is told to begin writing back */

#define NGX_HTTP_REGISTRY_WRITEBACK  (8 * 1024 * 1024)


static void ngx_http_registry_disk_write_work(ngx_http_registry_task_t *task);
static void ngx_http_registry_disk_sync_work(ngx_http_registry_task_t *task);
static void ngx_http_registry_disk_release(ngx_http_registry_task_t *task);


ngx_int_t
ngx_http_registry_disk_write(ngx_fd_t fd, const u_char *data, size_t len,
    off_t offset)
{
    ssize_t  n;

    while (len) {
        n = pwrite(fd, data, len, offset);

        if (n == -1 && ngx_errno == NGX_EINTR) {
            continue;
        }

        if (n == -1) {
            return NGX_ERROR;
        }

        data += n;
        len -= n;
        offset += n;
    }

    return NGX_OK;
}


ngx_http_registry_disk_t *
ngx_http_registry_disk_create(ngx_fd_t fd, const u_char *data, size_t len,
    off_t offset, ngx_log_t *log)
{
    ngx_http_registry_disk_t  *file;

    file = ngx_http_registry_task_create(sizeof(ngx_http_registry_disk_t),
                                         log);
    if (file == NULL) {
        return NULL;
    }

    /* the owner's may be closed first */

    file->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    file->offset = offset;
    file->size = len;
    file->task.work = ngx_http_registry_disk_write_work;
    file->task.release = ngx_http_registry_disk_release;

    if (file->fd == -1) {
        ngx_log_error(NGX_LOG_CRIT, log, ngx_errno,
                      "fcntl(F_DUPFD_CLOEXEC) failed");
        goto failed;
    }

    if (data) {
        file->data = ngx_palloc(file->task.pool, len);
        if (file->data == NULL) {
            goto failed;
        }

        ngx_memcpy(file->data, data, len);
    }

    return file;

failed:

    ngx_http_registry_task_free(&file->task);

    return NULL;
}


static void
ngx_http_registry_disk_write_work(ngx_http_registry_task_t *task)
{
    ngx_http_registry_disk_t *file = (ngx_http_registry_disk_t *) task;

    if (ngx_http_registry_disk_write(file->fd, file->data, file->size,
                                     file->offset)
        != NGX_OK)
    {
        file->err = ngx_errno;
    }
}


void
ngx_http_registry_disk_writeback(ngx_fd_t fd, off_t *synced, off_t end,
    ngx_thread_pool_t *tp, ngx_log_t *log)
{
    ngx_http_registry_disk_t  *file;

    if (end - *synced < NGX_HTTP_REGISTRY_WRITEBACK) {
        return;
    }

    file = ngx_http_registry_disk_create(fd, NULL, end - *synced, *synced,
                                         log);
    if (file == NULL) {
        return;
    }

    *synced = end;

    file->task.work = ngx_http_registry_disk_sync_work;

    (void) ngx_http_registry_task_run(&file->task, tp);
    ngx_http_registry_task_free(&file->task);
}


static void
ngx_http_registry_disk_sync_work(ngx_http_registry_task_t *task)
{
    ngx_http_registry_disk_t *file = (ngx_http_registry_disk_t *) task;

    /* if it fails, so will the fsync that counts */

    (void) sync_file_range(file->fd, file->offset, file->size,
                           SYNC_FILE_RANGE_WRITE);
}


static void
ngx_http_registry_disk_release(ngx_http_registry_task_t *task)
{
    ngx_http_registry_disk_t *file = (ngx_http_registry_disk_t *) task;

    if (file->fd != -1) {
        (void) close(file->fd);
    }
}
