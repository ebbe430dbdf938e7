
/*
 * Small files that are read again when they have changed.  Who keeps what was
 * in them decides when to look.
 */


#include "ngx_http_registry_file.h"


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
    size_t           size;
    ssize_t          n;
    ngx_fd_t         fd;
    ngx_int_t        rc;
    ngx_file_info_t  fi;

    rc = NGX_ERROR;

    fd = ngx_open_file(file->name.data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        ngx_log_error(NGX_LOG_ERR, log, ngx_errno,
                      ngx_open_file_n " \"%V\" failed", &file->name);
        return NGX_ERROR;
    }

    if (ngx_fd_info(fd, &fi) == NGX_FILE_ERROR) {
        ngx_log_error(NGX_LOG_ERR, log, ngx_errno,
                      ngx_fd_info_n " \"%V\" failed", &file->name);
        goto done;
    }

    if (ngx_file_size(&fi) > (off_t) max) {
        ngx_log_error(NGX_LOG_ERR, log, 0, "\"%V\" is larger than %uz bytes",
                      &file->name, max);
        goto done;
    }

    size = (size_t) ngx_file_size(&fi);

    text->data = ngx_pnalloc(pool, ngx_max(size, 1));
    if (text->data == NULL) {
        goto done;
    }

    for (text->len = 0; text->len < size; text->len += n) {

        n = ngx_read_fd(fd, text->data + text->len, size - text->len);

        if (n == -1) {
            ngx_log_error(NGX_LOG_ERR, log, ngx_errno,
                          ngx_read_fd_n " \"%V\" failed", &file->name);
            goto done;
        }

        if (n == 0) {
            break;
        }
    }

    rc = NGX_OK;

done:

    if (ngx_close_file(fd) == NGX_FILE_ERROR) {
        ngx_log_error(NGX_LOG_ALERT, log, ngx_errno,
                      ngx_close_file_n " \"%V\" failed", &file->name);
    }

    return rc;
}
