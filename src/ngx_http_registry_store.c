
/*
 * The life of a store operation, the same for every driver.
 */


#include "ngx_http_registry_store.h"


static void ngx_http_registry_op_release(ngx_http_registry_task_t *task);


ngx_http_registry_op_t *
ngx_http_registry_op_create(ngx_http_registry_store_t *store,
    ngx_http_registry_op_e kind, ngx_str_t *name, ngx_log_t *log)
{
    ngx_http_registry_op_t  *op;

    op = ngx_http_registry_task_create(sizeof(ngx_http_registry_op_t), log);
    if (op == NULL) {
        return NULL;
    }

    op->task.release = ngx_http_registry_op_release;
    op->store = store;
    op->kind = kind;
    op->fd = NGX_INVALID_FILE;

    op->name = ngx_http_registry_op_copy(op, name);
    if (op->name == NULL) {
        ngx_http_registry_op_free(op);
        return NULL;
    }

    return op;
}


char *
ngx_http_registry_op_copy(ngx_http_registry_op_t *op, ngx_str_t *s)
{
    char  *p;

    p = ngx_pnalloc(op->task.pool, s->len + 1);
    if (p == NULL) {
        return NULL;
    }

    ngx_memcpy(p, s->data, s->len);
    p[s->len] = '\0';

    return p;
}


ngx_int_t
ngx_http_registry_op_start(ngx_http_registry_op_t *op)
{
    return op->store->driver->start(op);
}


void
ngx_http_registry_op_free(ngx_http_registry_op_t *op)
{
    ngx_http_registry_task_free(&op->task);
}


static void
ngx_http_registry_op_release(ngx_http_registry_task_t *task)
{
    ngx_http_registry_op_t  *op = (ngx_http_registry_op_t *) task;

    if (op->fd != NGX_INVALID_FILE && ngx_close_file(op->fd) == NGX_FILE_ERROR)
    {
        ngx_log_error(NGX_LOG_ALERT, ngx_cycle->log, ngx_errno,
                      ngx_close_file_n " of a registry operation failed");
    }

    if (op->kind == NGX_HTTP_REGISTRY_OP_MANIFEST_READ) {
        free(op->data);
    }

    free(op->list.start);
}
