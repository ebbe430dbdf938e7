
/*
 * Asking the remote: whether a tag has moved, which costs it little, or for
 * the manifest itself.  What comes is hashed before it is believed.
 */


#include "ngx_http_registry_fill_run.h"


/* what the bytes say they are, found out in a thread if they are many */

typedef struct {
    ngx_http_registry_task_t        task;
    registry_str_t                  in;
    char                            type[REGISTRY_MEDIA_TYPE_MAX + 1];
    int                             own;
    registry_status_e               status;
} ngx_http_registry_type_t;


static void ngx_http_registry_run_send_head(ngx_http_registry_run_t *run);
static void ngx_http_registry_run_send_get(ngx_http_registry_run_t *run);
static ngx_int_t ngx_http_registry_run_ask(ngx_http_registry_run_t *run,
    const char *method, registry_digest_t *digest);
static ngx_int_t ngx_http_registry_run_header(ngx_http_registry_ask_t *ask);
static ngx_int_t ngx_http_registry_run_checked(ngx_http_registry_run_t *run);
static ngx_int_t ngx_http_registry_run_got(ngx_http_registry_run_t *run);
static ngx_int_t ngx_http_registry_run_said(ngx_http_registry_run_t *run,
    registry_digest_t *digest);
static ngx_int_t ngx_http_registry_run_field(ngx_http_registry_run_t *run,
    const char *name, ngx_str_t *to);
static ngx_int_t ngx_http_registry_run_body(ngx_http_registry_ask_t *ask,
    u_char *data, size_t len);
static void ngx_http_registry_run_done(ngx_http_registry_ask_t *ask);
static void ngx_http_registry_run_verify(ngx_http_registry_run_t *run);
static void ngx_http_registry_run_type_work(ngx_http_registry_task_t *task);
static void ngx_http_registry_run_typed(void *data);
static ngx_int_t ngx_http_registry_run_type(ngx_http_registry_run_t *run,
    ngx_http_registry_type_t *type);
static void ngx_http_registry_run_answered(ngx_http_registry_run_t *run,
    ngx_uint_t status);


/* has the tag moved? */

void
ngx_http_registry_run_check(ngx_http_registry_run_t *run)
{
    ngx_http_registry_run_board(run, ngx_http_registry_run_send_head);
}


void
ngx_http_registry_run_get(ngx_http_registry_run_t *run)
{
    ngx_http_registry_run_board(run, ngx_http_registry_run_send_get);
}


static void
ngx_http_registry_run_send_head(ngx_http_registry_run_t *run)
{
    if (ngx_http_registry_run_ask(run, "HEAD", NULL) != NGX_OK) {
        ngx_http_registry_run_failed(run, 0, NGX_HTTP_REGISTRY_CALL_LOCAL,
                                     NULL);
    }
}


static void
ngx_http_registry_run_send_get(ngx_http_registry_run_t *run)
{
    if (ngx_http_registry_run_ask(run, "GET",
                                  run->digest.len ? &run->digest : NULL)
        != NGX_OK)
    {
        ngx_http_registry_run_failed(run, 0, NGX_HTTP_REGISTRY_CALL_LOCAL,
                                     NULL);
    }
}


static ngx_int_t
ngx_http_registry_run_ask(ngx_http_registry_run_t *run, const char *method,
    registry_digest_t *digest)
{
    u_char                   *p;
    ngx_str_t                 value;
    ngx_http_registry_ask_t  *ask;

    static ngx_str_t  accept = ngx_string(NGX_HTTP_REGISTRY_ACCEPT);

    ask = ngx_http_registry_ask_create(run->remote);
    if (ask == NULL) {
        return NGX_ERROR;
    }

    ask->method.data = (u_char *) method;
    ask->method.len = ngx_strlen(method);
    ask->name = run->name;
    ask->via = run->via;
    ask->authorization = run->authorization;

    ask->on_header = ngx_http_registry_run_header;
    ask->on_body = ngx_http_registry_run_body;
    ask->on_done = ngx_http_registry_run_done;
    ask->data = run;

    p = ngx_pnalloc(ask->pool, sizeof("/v2//manifests/") + run->name.len
                               + REGISTRY_DIGEST_MAX);
    if (p == NULL
        || ngx_http_registry_ask_header(ask, "Accept", &accept) != NGX_OK)
    {
        goto failed;
    }

    ask->path.data = p;

    if (digest) {
        p = ngx_sprintf(p, "/v2/%V/manifests/%s", &run->name, digest->text);

    } else {
        p = ngx_sprintf(p, "/v2/%V/manifests/%V", &run->name,
                        &run->manifest.tag);
    }

    ask->path.len = p - ask->path.data;

    if (ask->method.len == sizeof("HEAD") - 1) {

        value.data = ngx_pnalloc(ask->pool, run->copy.digest.len + 2);
        if (value.data == NULL) {
            goto failed;
        }

        value.len = ngx_sprintf(value.data, "\"%s\"", run->copy.digest.text)
                    - value.data;

        if (ngx_http_registry_ask_header(ask, "If-None-Match", &value)
            != NGX_OK)
        {
            goto failed;
        }
    }

    if (ngx_http_registry_ask_start(ask) == NGX_ERROR) {
        goto failed;
    }

    run->ask = ask;

    return NGX_OK;

failed:

    ngx_http_registry_ask_free(ask);

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_registry_run_header(ngx_http_registry_ask_t *ask)
{
    ngx_http_registry_run_t *run = ask->data;

    ngx_int_t  rc;

    rc = (ask->method.len == sizeof("HEAD") - 1)
             ? ngx_http_registry_run_checked(run)
             : ngx_http_registry_run_got(run);

    if (rc == NGX_OK) {
        return NGX_OK;
    }

    /* the run goes on without this answer's body, or has ended */

    ngx_http_registry_ask_free(ask);

    return NGX_ERROR;
}


/* the answer to HEAD */

static ngx_int_t
ngx_http_registry_run_checked(ngx_http_registry_run_t *run)
{
    ngx_uint_t         status;
    registry_digest_t  digest;

    status = run->ask->response->status;

    if (status == NGX_HTTP_NOT_MODIFIED) {
        ngx_http_registry_run_found(run, NGX_HTTP_REGISTRY_FILL_REVALIDATED);
        return NGX_DONE;
    }

    if (status == NGX_HTTP_OK
        && ngx_http_registry_run_said(run, &digest) == NGX_OK)
    {
        if (registry_digest_equal(&digest, &run->copy.digest)) {
            ngx_http_registry_run_found(run,
                                        NGX_HTTP_REGISTRY_FILL_REVALIDATED);
            return NGX_DONE;
        }

        run->digest = digest;
        run->moved = 1;
        ngx_http_registry_run_read(run, &run->digest);
        return NGX_DONE;
    }

    /* a registry that knows no HEAD, or does not say the digest */

    if (status == NGX_HTTP_OK || status == NGX_HTTP_BAD_REQUEST
        || status == NGX_HTTP_NOT_ALLOWED
        || status == NGX_HTTP_NOT_IMPLEMENTED)
    {
        ngx_http_registry_run_get(run);
        return NGX_DONE;
    }

    ngx_http_registry_run_answered(run, status);

    return NGX_DONE;
}


static ngx_int_t
ngx_http_registry_run_got(ngx_http_registry_run_t *run)
{
    int64_t            length;
    registry_digest_t  digest;

    if (run->ask->response->status != NGX_HTTP_OK) {
        ngx_http_registry_run_answered(run, run->ask->response->status);
        return NGX_DONE;
    }

    /* by tag: what the remote says it is, if it says so */

    if (run->digest.len == 0
        && ngx_http_registry_run_said(run, &digest) == NGX_OK)
    {
        run->digest = digest;
    }

    if (ngx_http_registry_run_field(run, "content-type", &run->content_type)
        != NGX_OK)
    {
        ngx_http_registry_run_failed(run, 0, NGX_HTTP_REGISTRY_CALL_LOCAL,
                                     NULL);
        return NGX_DONE;
    }

    registry_hash_init(&run->hash, run->digest.len ? run->digest.algorithm
                                                   : REGISTRY_SHA256);

    length = run->ask->response->content_length;

    if (length > REGISTRY_MANIFEST_MAX) {
        ngx_http_registry_run_failed(run, 0, NGX_HTTP_REGISTRY_CALL_PROTOCOL,
                                     "the manifest is too large");
        return NGX_DONE;
    }

    run->size = (length > 0) ? length : NGX_HTTP_REGISTRY_FILL_HERE;
    run->body.len = 0;
    run->body.data = ngx_pnalloc(run->pool, run->size);

    if (run->body.data == NULL) {
        ngx_http_registry_run_failed(run, 0, NGX_HTTP_REGISTRY_CALL_LOCAL,
                                     NULL);
        return NGX_DONE;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_run_said(ngx_http_registry_run_t *run,
    registry_digest_t *digest)
{
    const registry_str_t  *value;

    value = registry_http_field(run->ask->response, "docker-content-digest");

    return (value && registry_digest_parse(*value, digest) == REGISTRY_OK)
           ? NGX_OK : NGX_DECLINED;
}


/* the field's value up to its parameters; empty if there is none */

static ngx_int_t
ngx_http_registry_run_field(ngx_http_registry_run_t *run, const char *name,
    ngx_str_t *to)
{
    u_char                *p;
    ngx_str_t              text;
    const registry_str_t  *value;

    value = registry_http_field(run->ask->response, name);

    if (value == NULL) {
        return NGX_OK;
    }

    text.data = (u_char *) value->data;
    text.len = value->len;

    p = ngx_strlchr(text.data, text.data + text.len, ';');
    if (p) {
        text.len = p - text.data;
    }

    return ngx_http_registry_run_str(run->pool, to, &text);
}


static ngx_int_t
ngx_http_registry_run_body(ngx_http_registry_ask_t *ask, u_char *data,
    size_t len)
{
    ngx_http_registry_run_t *run = ask->data;

    u_char  *p;
    size_t   size;

    if (run->body.len + len > run->size) {
        size = ngx_max(run->size * 2, run->body.len + len);

        p = (run->body.len + len > REGISTRY_MANIFEST_MAX)
                ? NULL : ngx_palloc(run->pool, size);

        if (p == NULL) {
            ngx_http_registry_run_failed(run, 0,
                                         NGX_HTTP_REGISTRY_CALL_PROTOCOL,
                                         "the manifest is too large");
            ngx_http_registry_ask_free(ask);
            return NGX_ERROR;
        }

        ngx_memcpy(p, run->body.data, run->body.len);
        (void) ngx_pfree(run->pool, run->body.data);

        run->body.data = p;
        run->size = size;
    }

    ngx_memcpy(run->body.data + run->body.len, data, len);
    run->body.len += len;

    registry_hash_update(&run->hash, data, len);

    return NGX_OK;
}


static void
ngx_http_registry_run_done(ngx_http_registry_ask_t *ask)
{
    ngx_http_registry_run_t *run = ask->data;

    if (ask->error != NGX_HTTP_REGISTRY_CALL_OK
        && ask->response && !run->again)
    {
        /* it broke off; the next server may have all of it */

        run->again = 1;
        ngx_http_registry_run_get(run);

    } else if (ask->error != NGX_HTTP_REGISTRY_CALL_OK) {
        ngx_http_registry_run_failed(run, 0, ask->error, NULL);

    } else {
        ngx_http_registry_run_verify(run);
    }

    ngx_http_registry_ask_free(ask);
}


/* what cannot be verified is not served */

static void
ngx_http_registry_run_verify(ngx_http_registry_run_t *run)
{
    ngx_int_t                  rc;
    registry_digest_t          digest;
    ngx_http_registry_type_t  *type;

    registry_hash_final(&run->hash, &digest);

    if (run->digest.len && !registry_digest_equal(&digest, &run->digest)) {
        ngx_http_registry_run_failed(run, 0, NGX_HTTP_REGISTRY_CALL_PROTOCOL,
                               "the manifest is not what its digest says");
        return;
    }

    run->digest = digest;

    type = ngx_http_registry_task_create(sizeof(ngx_http_registry_type_t),
                                         ngx_cycle->log);
    if (type == NULL) {
        ngx_http_registry_run_failed(run, 0, NGX_HTTP_REGISTRY_CALL_LOCAL,
                                     NULL);
        return;
    }

    run->task = &type->task;

    type->in.data = (char *) run->body.data;
    type->in.len = run->body.len;
    type->task.work = ngx_http_registry_run_type_work;
    type->task.handler = ngx_http_registry_run_typed;
    type->task.data = run;

    rc = ngx_http_registry_task_run(&type->task,
                           run->body.len > NGX_HTTP_REGISTRY_FILL_HERE
                               ? run->remote->store->tp : NULL);

    if (rc == NGX_OK) {
        ngx_http_registry_run_typed(run);

    } else if (rc == NGX_ERROR) {
        ngx_http_registry_task_free(run->task);
        ngx_http_registry_run_failed(run, 0, NGX_HTTP_REGISTRY_CALL_LOCAL,
                                     NULL);
    }
}


static void
ngx_http_registry_run_type_work(ngx_http_registry_task_t *task)
{
    ngx_http_registry_type_t *type = (ngx_http_registry_type_t *) task;

    type->status = registry_media_type(type->in, type->type, &type->own);
}


static void
ngx_http_registry_run_typed(void *data)
{
    ngx_http_registry_run_t *run = data;

    ngx_int_t                  rc;
    ngx_http_registry_type_t  *type;

    type = (ngx_http_registry_type_t *) run->task;

    rc = ngx_http_registry_run_type(run, type);

    ngx_http_registry_task_free(run->task);
    run->task = NULL;

    if (rc == NGX_DECLINED) {
        ngx_http_registry_run_failed(run, 0, NGX_HTTP_REGISTRY_CALL_PROTOCOL,
                                     "the answer is no manifest");

    } else if (rc == NGX_ERROR) {
        ngx_http_registry_run_failed(run, 0, NGX_HTTP_REGISTRY_CALL_LOCAL,
                                     NULL);

    } else {
        ngx_http_registry_run_found(run, NGX_HTTP_REGISTRY_FILL_MISS);
    }
}


/* "mediaType", or else what it came with, or else what it looks like */

static ngx_int_t
ngx_http_registry_run_type(ngx_http_registry_run_t *run,
    ngx_http_registry_type_t *type)
{
    ngx_str_t  text;

    if (type->status != REGISTRY_OK) {
        return NGX_DECLINED;
    }

    text.data = (u_char *) type->type;
    text.len = ngx_strlen(type->type);

    if (!type->own && run->content_type.len
        && run->content_type.len <= REGISTRY_MEDIA_TYPE_MAX)
    {
        text = run->content_type;
        run->typed = 1;
    }

    run->copy.digest = run->digest;
    run->copy.body = run->body;

    return ngx_http_registry_run_str(run->pool, &run->copy.media_type, &text);
}


/* the remote's answer is not the manifest */

static void
ngx_http_registry_run_answered(ngx_http_registry_run_t *run,
    ngx_uint_t status)
{
    (void) ngx_http_registry_run_field(run, "retry-after",
                                       &run->retry_after);

    if (status == NGX_HTTP_NOT_FOUND) {
        ngx_http_registry_run_absent(run);
    }

    ngx_http_registry_run_failed(run, status, NGX_HTTP_REGISTRY_CALL_OK,
                                 NULL);
}
