
/*
 * Asking a remote for a blob, or for a part of it; whether that is what it has
 * answered, and when it is asked again for what is missing.
 */


#include "ngx_http_registry_copy.h"

#include "registry_range.h"


/* with so much progress it is as if nothing had been */

#define NGX_HTTP_REGISTRY_BLOB_PROGRESS  (1024 * 1024)


ngx_http_registry_ask_t *
ngx_http_registry_blob_ask(ngx_http_registry_blob_t *blob, const char *method,
    off_t first, off_t last)
{
    u_char                   *p;
    ngx_str_t                 value;
    ngx_http_registry_ask_t  *ask;

    ask = ngx_http_registry_ask_create(blob->remote);
    if (ask == NULL) {
        return NULL;
    }

    ask->blob = 1;
    ask->method.data = (u_char *) method;
    ask->method.len = ngx_strlen(method);

    ask->name.len = blob->remote_name.len;
    ask->name.data = ngx_pstrdup(ask->pool, &blob->remote_name);
    ask->authorization.len = blob->authorization.len;
    ask->authorization.data = ngx_pstrdup(ask->pool, &blob->authorization);
    ask->via.len = blob->via.len;
    ask->via.data = ngx_pstrdup(ask->pool, &blob->via);
    ask->path.data = ngx_pnalloc(ask->pool, sizeof("/v2//blobs/")
                                            + blob->remote_name.len
                                            + blob->digest.len);

    if (ask->name.data == NULL || ask->authorization.data == NULL
        || ask->via.data == NULL || ask->path.data == NULL)
    {
        goto failed;
    }

    ask->path.len = ngx_sprintf(ask->path.data, "/v2/%V/blobs/%s",
                                &blob->remote_name, blob->digest.text)
                    - ask->path.data;

    if (first == 0 && last == -1) {
        return ask;
    }

    p = ngx_pnalloc(ask->pool, sizeof("bytes=-") + 2 * NGX_OFF_T_LEN);
    if (p == NULL) {
        goto failed;
    }

    value.data = p;
    p = ngx_sprintf(p, "bytes=%O-", first);

    if (last != -1) {
        p = ngx_sprintf(p, "%O", last);
    }

    value.len = p - value.data;

    if (ngx_http_registry_ask_header(ask, "Range", &value) == NGX_OK) {
        return ask;
    }

failed:

    ngx_http_registry_ask_free(ask);

    return NULL;
}


ngx_int_t
ngx_http_registry_blob_answer(registry_http_response_t *response, off_t first,
    off_t last, off_t *size, off_t *skip,
    ngx_http_registry_failure_t *failure)
{
    int64_t                from, to, all;
    const registry_str_t  *field;

    ngx_memzero(failure, sizeof(ngx_http_registry_failure_t));

    *skip = 0;
    all = response->content_length;

    switch (response->status) {

    case NGX_HTTP_OK:
        *skip = first;
        break;

    case NGX_HTTP_PARTIAL_CONTENT:
        field = registry_http_field(response, "content-range");

        if (field == NULL
            || registry_content_range_answer_parse(*field, &from, &to, &all)
               != REGISTRY_OK
            || from != first
            || (last != -1 ? to != last : (all != -1 && to != all - 1)))
        {
            failure->error = NGX_HTTP_REGISTRY_CALL_PROTOCOL;
            return NGX_DECLINED;
        }

        break;

    case NGX_HTTP_RANGE_NOT_SATISFIABLE:

        /* it is not the client who has asked for more than there is */

        failure->error = NGX_HTTP_REGISTRY_CALL_PROTOCOL;
        return NGX_DECLINED;

    default:
        ngx_http_registry_blob_refused(response, failure);
        return NGX_DECLINED;
    }

    if (*size != -1 && all != -1 && all != *size) {
        failure->error = NGX_HTTP_REGISTRY_CALL_PROTOCOL;
        return NGX_DECLINED;
    }

    if (*size == -1) {
        *size = all;
    }

    return NGX_OK;
}


void
ngx_http_registry_blob_refused(registry_http_response_t *response,
    ngx_http_registry_failure_t *failure)
{
    int64_t                seconds;
    const registry_str_t  *field;

    ngx_memzero(failure, sizeof(ngx_http_registry_failure_t));

    failure->status = response->status;

    field = registry_http_field(response, "retry-after");

    if (field && registry_retry_after(*field, ngx_time(), &seconds)
                 == REGISTRY_OK)
    {
        failure->retry_after = (time_t) seconds;
    }
}


/*
 * What refuses connections, or answers in the place of a server, may be on
 * its way back: for a quarter of a minute nobody loses a blob over a proxy
 * that is started again.  Who waited for a time-out has waited already.
 */

ngx_int_t
ngx_http_registry_blob_pause(ngx_http_registry_retry_t *retry, off_t at,
    ngx_http_registry_failure_t *failure)
{
    ngx_uint_t  n;

    static const ngx_msec_t  pauses[] = {
        10, 100, 500, 1000, 2000, 4000, 8000
    };

    if (at - retry->from >= NGX_HTTP_REGISTRY_BLOB_PROGRESS) {
        retry->from = at;
        retry->tries = 0;
    }

    n = sizeof(pauses) / sizeof(pauses[0]);

    switch (failure->error) {

    case NGX_HTTP_REGISTRY_CALL_CONNECT:
    case NGX_HTTP_REGISTRY_CALL_BUSY:
    case NGX_HTTP_REGISTRY_CALL_PROXY:
    case NGX_HTTP_REGISTRY_CALL_TRUNCATED:
        break;

    default:
        if (failure->status < NGX_HTTP_INTERNAL_SERVER_ERROR) {
            n -= 2;
        }
    }

    if (retry->tries >= n) {
        return NGX_ERROR;
    }

    return pauses[retry->tries++];
}
