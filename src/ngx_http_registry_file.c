
/*
 * Small files that are read again when they have changed.  Who keeps what was
 * in them decides when to look.
 */


#include "ngx_http_registry_file.h"


static ngx_int_t ngx_http_registry_file_text(ngx_fd_t fd, size_t size,
    ngx_pool_t *pool, ngx_str_t *text);


ngx_uint_t
ngx_http_registry_file_changed(ngx_http_registry_file_t *file)
{
    off_t            size;
    time_t           mtime;
    ngx_uint_t       changed;
    ngx_file_info_t  fi;
    ngx_file_uniq_t  uniq;

    if (ngx_file_info(file->name.data, &fi) == NGX_FILE_ERROR) {
        uniq = 0;
        size = -1;
        mtime = 0;

    } else {
        uniq = ngx_file_uniq(&fi);
        size = ngx_file_size(&fi);
        mtime = ngx_file_mtime(&fi);
    }

    changed = (uniq != file->uniq || size != file->size
               || mtime != file->mtime);

    file->uniq = uniq;
    file->size = size;
    file->mtime = mtime;

    return changed;
}


ngx_int_t
ngx_http_registry_file_read(ngx_http_registry_file_t *file, size_t max,
    ngx_pool_t *pool, ngx_str_t *text, ngx_log_t *log)
{
    ngx_fd_t         fd;
    ngx_int_t        rc;
    ngx_file_info_t  fi;

    fd = ngx_open_file(file->name.data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        ngx_log_error(NGX_LOG_ERR, log, ngx_errno,
                      ngx_open_file_n " \"%V\" failed", &file->name);
        return NGX_ERROR;
    }

    rc = NGX_ERROR;

    if (ngx_fd_info(fd, &fi) == NGX_FILE_ERROR) {
        ngx_log_error(NGX_LOG_ERR, log, ngx_errno,
                      ngx_fd_info_n " \"%V\" failed", &file->name);

    } else if (ngx_file_size(&fi) > (off_t) max) {
        ngx_log_error(NGX_LOG_ERR, log, 0, "\"%V\" is larger than %uz bytes",
                      &file->name, max);

    } else {
        rc = ngx_http_registry_file_text(fd, (size_t) ngx_file_size(&fi), pool,
                                         text);
        if (rc != NGX_OK) {
            ngx_log_error(NGX_LOG_ERR, log, ngx_errno,
                          ngx_read_fd_n " \"%V\" failed", &file->name);
        }
    }

    if (ngx_close_file(fd) == NGX_FILE_ERROR) {
        ngx_log_error(NGX_LOG_ALERT, log, ngx_errno,
                      ngx_close_file_n " \"%V\" failed", &file->name);
    }

    return rc;
}


static ngx_int_t
ngx_http_registry_file_text(ngx_fd_t fd, size_t size, ngx_pool_t *pool,
    ngx_str_t *text)
{
    ssize_t  n;

    text->data = ngx_pnalloc(pool, ngx_max(size, 1));
    if (text->data == NULL) {
        return NGX_ERROR;
    }

    for (text->len = 0; text->len < size; text->len += n) {

        n = ngx_read_fd(fd, text->data + text->len, size - text->len);

        if (n == -1) {
            return NGX_ERROR;
        }

        if (n == 0) {
            break;
        }
    }

    return NGX_OK;
}
