
/*
 * Small files that are read again when they have changed: certificates,
 * credentials.
 */


#ifndef NGX_HTTP_REGISTRY_FILE_H
#define NGX_HTTP_REGISTRY_FILE_H


#include <ngx_config.h>
#include <ngx_core.h>


typedef struct {
    ngx_str_t        name;          /* terminated by a zero */
    ngx_file_uniq_t  uniq;          /* what it was like the last time */
    off_t            size;          /* -1: it could not be looked at */
    time_t           mtime;
} ngx_http_registry_file_t;


/*
 * Looks at the file, and says whether it has changed since the last time: 1,
 * which is also the answer to the first call, or 0.  A file that goes away
 * has changed, once.
 */

ngx_uint_t ngx_http_registry_file_changed(ngx_http_registry_file_t *file);

/*
 * Reads all of it into memory of the pool.  NGX_ERROR: it is longer than max
 * bytes, or memory is short, or what the log says.
 */

ngx_int_t ngx_http_registry_file_read(ngx_http_registry_file_t *file,
    size_t max, ngx_pool_t *pool, ngx_str_t *text, ngx_log_t *log);


#endif /* NGX_HTTP_REGISTRY_FILE_H */
