
/*
 * Operations on memcached servers.  The event loop chooses the server, waits
 * no longer than the limit, and keeps account of which servers answer; a
 * thread calls libmemcached, whose own time-outs are for each wait, not for
 * the whole, and which never leaves out a server that hangs.
 */


#include "ngx_http_registry_memcached.h"

#include <libmemcached/memcached.h>

#include "registry_envelope.h"


#define NGX_HTTP_REGISTRY_MEMCACHED_MEMORY   (2 * 1024 * 1024)
#define NGX_HTTP_REGISTRY_MEMCACHED_TTL      (30 * 24 * 60 * 60)
#define NGX_HTTP_REGISTRY_MEMCACHED_TRIES    32
#define NGX_HTTP_REGISTRY_MEMCACHED_LOG      60     /* seconds */


static ngx_int_t ngx_http_registry_memcached_prepare(
    ngx_http_registry_memcached_op_t *op);
static ngx_http_registry_memcached_server_t *
    ngx_http_registry_memcached_choose(ngx_http_registry_memcached_op_t *op);
static void ngx_http_registry_memcached_probe(
    ngx_http_registry_memcached_t *mc,
    ngx_http_registry_memcached_server_t *server);
static ngx_int_t ngx_http_registry_memcached_run(
    ngx_http_registry_memcached_op_t *op);
static void ngx_http_registry_memcached_limit(ngx_event_t *ev);
static void ngx_http_registry_memcached_done(void *data);
static void ngx_http_registry_memcached_release(
    ngx_http_registry_task_t *task);
static void ngx_http_registry_memcached_ended(
    ngx_http_registry_memcached_op_t *op);
static void ngx_http_registry_memcached_count(
    ngx_http_registry_memcached_op_t *op);
static void ngx_http_registry_memcached_down(
    ngx_http_registry_memcached_op_t *op);
static void ngx_http_registry_memcached_up(
    ngx_http_registry_memcached_server_t *server);

static void ngx_http_registry_memcached_work(ngx_http_registry_task_t *task);
static ngx_int_t ngx_http_registry_memcached_seal(
    ngx_http_registry_memcached_op_t *op);
static memcached_return_t ngx_http_registry_memcached_call(
    ngx_http_registry_memcached_op_t *op, memcached_st *memc);
static ngx_int_t ngx_http_registry_memcached_result(
    ngx_http_registry_memcached_op_t *op);
static registry_status_e ngx_http_registry_memcached_unseal(
    ngx_http_registry_memcached_op_t *op);
static memcached_st *ngx_http_registry_memcached_take(
    ngx_http_registry_memcached_op_t *op, ngx_uint_t *kept);
static void ngx_http_registry_memcached_put(
    ngx_http_registry_memcached_op_t *op, memcached_st *memc);
static void ngx_http_registry_memcached_close(
    ngx_http_registry_memcached_server_t *server);
static memcached_st *ngx_http_registry_memcached_create(
    ngx_http_registry_memcached_server_t *server);
static memcached_return_t ngx_http_registry_memcached_add(memcached_st *memc,
    ngx_http_registry_memcached_server_t *server);
static void *ngx_http_registry_memcached_realloc(const memcached_st *memc,
    void *p, const size_t size, void *context);
static ngx_msec_t ngx_http_registry_memcached_now(void);


ngx_int_t
ngx_http_registry_memcached_init(ngx_http_registry_memcached_t *mc,
    ngx_log_t *log)
{
    ngx_uint_t                             i;
    memcached_st                          *ring;
    ngx_http_registry_memcached_server_t  *server;

    ring = memcached_create(NULL);
    if (ring == NULL) {
        goto failed;
    }

    if (memcached_behavior_set(ring, MEMCACHED_BEHAVIOR_KETAMA_WEIGHTED, 1)
        != MEMCACHED_SUCCESS)
    {
        goto failed;
    }

    server = mc->servers.elts;

    for (i = 0; i < mc->servers.nelts; i++) {
        if (ngx_http_registry_memcached_add(ring, &server[i])
            != MEMCACHED_SUCCESS)
        {
            goto failed;
        }
    }

    if (ngx_thread_mutex_create(&mc->mutex, log) != NGX_OK) {
        memcached_free(ring);
        return NGX_ERROR;
    }

    mc->ring = ring;

    return NGX_OK;

failed:

    ngx_log_error(NGX_LOG_EMERG, log, 0,
                  "registry: no memory for memcached servers");

    memcached_free(ring);

    return NGX_ERROR;
}


void
ngx_http_registry_memcached_cleanup(void *data)
{
    ngx_http_registry_memcached_t  *mc = data;

    ngx_uint_t                             i;
    ngx_http_registry_memcached_server_t  *server;

    if (mc->ring == NULL) {
        return;
    }

    server = mc->servers.elts;

    for (i = 0; i < mc->servers.nelts; i++) {
        ngx_http_registry_memcached_close(&server[i]);
    }

    memcached_free(mc->ring);

    (void) ngx_thread_mutex_destroy(&mc->mutex, ngx_cycle->log);
}


ngx_http_registry_memcached_op_t *
ngx_http_registry_memcached_op(ngx_http_registry_memcached_t *mc,
    ngx_http_registry_memcached_op_e kind, ngx_str_t *key, ngx_log_t *log)
{
    u_char                            *p;
    registry_digest_t                  digest;
    ngx_http_registry_memcached_op_t  *op;

    op = ngx_http_registry_task_create(sizeof(*op), log);
    if (op == NULL) {
        return NULL;
    }

    op->task.work = ngx_http_registry_memcached_work;
    op->task.release = ngx_http_registry_memcached_release;
    op->task.handler = ngx_http_registry_memcached_done;
    op->task.data = op;

    op->memcached = mc;
    op->kind = kind;
    op->status = NGX_DECLINED;
    op->result = NGX_DECLINED;

    registry_hash_bytes(REGISTRY_SHA256, key->data, key->len, &digest);

    p = ngx_cpymem(op->key, mc->prefix.data, mc->prefix.len);
    p = ngx_cpymem(p, registry_digest_hex(&digest),
                   NGX_HTTP_REGISTRY_MEMCACHED_HASH);
    op->key_len = p - op->key;

    return op;
}


ngx_int_t
ngx_http_registry_memcached_start(ngx_http_registry_memcached_op_t *op)
{
    if (ngx_http_registry_memcached_prepare(op) != NGX_OK) {
        return NGX_OK;
    }

    op->server = ngx_http_registry_memcached_choose(op);

    if (op->server == NULL) {
        return NGX_OK;
    }

    return ngx_http_registry_memcached_run(op);
}


void
ngx_http_registry_memcached_free(ngx_http_registry_memcached_op_t *op)
{
    op->handler = NULL;

    ngx_http_registry_task_free(&op->task);
}


/* takes what is the owner's; NGX_DECLINED if this is not to be done at all */

static ngx_int_t
ngx_http_registry_memcached_prepare(ngx_http_registry_memcached_op_t *op)
{
    switch (op->kind) {

    case NGX_HTTP_REGISTRY_MEMCACHED_SET_MANIFEST:

        op->size = REGISTRY_ENVELOPE_MANIFEST_LEN + op->bytes.len;

        if (op->size > NGX_HTTP_REGISTRY_MEMCACHED_VALUE) {
            return NGX_DECLINED;
        }

        op->value = malloc(op->size);
        if (op->value == NULL) {
            return NGX_DECLINED;
        }

        ngx_memcpy(op->value + REGISTRY_ENVELOPE_MANIFEST_LEN, op->bytes.data,
                   op->bytes.len);
        return NGX_OK;

    case NGX_HTTP_REGISTRY_MEMCACHED_SET_TAG:
    case NGX_HTTP_REGISTRY_MEMCACHED_GET_TAG:
        return op->memcached->secret.len ? NGX_OK : NGX_DECLINED;

    default:
        return NGX_OK;
    }
}


/*
 * The server that the key belongs to.  While it is left out, the key without
 * its first byte chooses another, then that without two, and so on: its keys
 * spread over all the others, on each node in the same way.
 */

static ngx_http_registry_memcached_server_t *
ngx_http_registry_memcached_choose(ngx_http_registry_memcached_op_t *op)
{
    uint32_t                               n;
    ngx_uint_t                             i;
    ngx_http_registry_memcached_t         *mc;
    ngx_http_registry_memcached_server_t  *server;

    mc = op->memcached;

    for (i = 0; i < NGX_HTTP_REGISTRY_MEMCACHED_TRIES; i++) {

        n = memcached_generate_hash(mc->ring, (char *) op->key + i,
                                    op->key_len - i);

        server = (ngx_http_registry_memcached_server_t *) mc->servers.elts + n;

        /* it has one operation too long: it gets no more */

        if (server->late) {
            continue;
        }

        if (!server->down) {
            return server;
        }

        if ((ngx_msec_int_t) (ngx_current_msec - server->probe) >= 0) {
            ngx_http_registry_memcached_probe(mc, server);
        }
    }

    return NULL;
}


/* asks for nothing in particular; nobody waits for it */

static void
ngx_http_registry_memcached_probe(ngx_http_registry_memcached_t *mc,
    ngx_http_registry_memcached_server_t *server)
{
    ngx_str_t                          key;
    ngx_http_registry_memcached_op_t  *op;

    server->probe = ngx_current_msec + mc->fail_timeout;

    ngx_str_null(&key);

    op = ngx_http_registry_memcached_op(mc, NGX_HTTP_REGISTRY_MEMCACHED_PROBE,
                                        &key, ngx_cycle->log);
    if (op == NULL) {
        return;
    }

    op->server = server;

    (void) ngx_http_registry_memcached_run(op);

    ngx_http_registry_memcached_free(op);
}


static ngx_int_t
ngx_http_registry_memcached_run(ngx_http_registry_memcached_op_t *op)
{
    ngx_msec_t  timeout;

    timeout = op->memcached->timeout;
    op->deadline = ngx_http_registry_memcached_now() + timeout;

    if (ngx_http_registry_task_run(&op->task, op->memcached->tp) != NGX_AGAIN)
    {
        return NGX_OK;
    }

    op->running = 1;

    op->limit.data = op;
    op->limit.handler = ngx_http_registry_memcached_limit;
    op->limit.log = ngx_cycle->log;

    ngx_add_timer(&op->limit, timeout);

    return NGX_AGAIN;
}


/* the owner does not wait any longer; the thread may */

static void
ngx_http_registry_memcached_limit(ngx_event_t *ev)
{
    ngx_http_registry_memcached_op_t  *op = ev->data;

    op->late = 1;
    op->server->late++;

    if (op->handler) {
        op->handler(op->data);
    }
}


static void
ngx_http_registry_memcached_done(void *data)
{
    ngx_http_registry_memcached_op_t  *op = data;

    ngx_http_registry_memcached_ended(op);

    if (op->late) {
        return;
    }

    op->status = op->result;
    op->handler(op->data);
}


static void
ngx_http_registry_memcached_release(ngx_http_registry_task_t *task)
{
    ngx_http_registry_memcached_op_t *op =
                                     (ngx_http_registry_memcached_op_t *) task;

    /* it was freed while it ran */

    if (op->running) {
        ngx_http_registry_memcached_ended(op);
    }

    free(op->value);
}


/* the thread has returned */

static void
ngx_http_registry_memcached_ended(ngx_http_registry_memcached_op_t *op)
{
    ngx_str_t                              key;
    ngx_uint_t                             probe;
    ngx_http_registry_memcached_server_t  *server;

    server = op->server;
    probe = op->kind == NGX_HTTP_REGISTRY_MEMCACHED_PROBE;

    op->running = 0;

    if (op->limit.timer_set) {
        ngx_del_timer(&op->limit);
    }

    if (op->late) {
        server->late--;
    }

    ngx_http_registry_memcached_count(op);

    if (memcached_fatal(op->rc)) {

        if (probe || !server->down) {
            ngx_http_registry_memcached_down(op);
        }

    } else if (probe && op->result == NGX_OK) {
        ngx_http_registry_memcached_up(server);
    }

    if (op->garbage) {
        key.data = op->key;
        key.len = op->key_len;

        ngx_log_error(NGX_LOG_INFO, ngx_cycle->log, 0,
                      "registry: memcached \"%V\" has something wrong under "
                      "\"%V\"", &server->name, &key);
    }
}


static void
ngx_http_registry_memcached_count(ngx_http_registry_memcached_op_t *op)
{
    ngx_http_registry_counters_t  *counters;

    counters = op->server->counters;

    if (op->late || memcached_fatal(op->rc)) {
        ngx_http_registry_count(counters,
                                NGX_HTTP_REGISTRY_MEMCACHED_FAILURES);
    }

    if (memcached_fatal(op->rc)) {
        counters->count[NGX_HTTP_REGISTRY_MEMCACHED_DOWN] = 1;
        return;
    }

    /* it answers, whatever another process has found before */

    if (counters->count[NGX_HTTP_REGISTRY_MEMCACHED_DOWN]) {
        counters->count[NGX_HTTP_REGISTRY_MEMCACHED_DOWN] = 0;
    }

    if (!op->late && (op->kind == NGX_HTTP_REGISTRY_MEMCACHED_GET_MANIFEST
                      || op->kind == NGX_HTTP_REGISTRY_MEMCACHED_GET_TAG))
    {
        ngx_http_registry_count(counters, (op->result == NGX_OK)
                                      ? NGX_HTTP_REGISTRY_MEMCACHED_HITS
                                      : NGX_HTTP_REGISTRY_MEMCACHED_MISSES);
    }
}


static void
ngx_http_registry_memcached_down(ngx_http_registry_memcached_op_t *op)
{
    ngx_http_registry_memcached_server_t  *server;

    server = op->server;

    server->down = 1;
    server->probe = ngx_current_msec + op->memcached->fail_timeout;

    if (ngx_time() - server->logged < NGX_HTTP_REGISTRY_MEMCACHED_LOG) {
        return;
    }

    server->logged = ngx_time();
    server->told = 1;

    ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, op->err,
                  "registry: memcached \"%V\" is left out: %s",
                  &server->name, memcached_strerror(NULL, op->rc));
}


static void
ngx_http_registry_memcached_up(ngx_http_registry_memcached_server_t *server)
{
    server->down = 0;

    if (!server->told) {
        return;
    }

    server->told = 0;

    ngx_log_error(NGX_LOG_NOTICE, ngx_cycle->log, 0,
                  "registry: memcached \"%V\" is back", &server->name);
}


/*
 * In a thread, like most that follows.
 */

static void
ngx_http_registry_memcached_work(ngx_http_registry_task_t *task)
{
    ngx_http_registry_memcached_op_t *op =
                                     (ngx_http_registry_memcached_op_t *) task;

    ngx_uint_t           kept;
    memcached_st        *memc;
    ngx_msec_int_t       left;
    memcached_return_t   rc;

    left = op->deadline - ngx_http_registry_memcached_now();

    if (left < (ngx_msec_int_t) op->memcached->timeout / 2) {

        /* threads were scarce: the server would be blamed for it */

        if (op->kind != NGX_HTTP_REGISTRY_MEMCACHED_DELETE) {
            return;
        }

        /* what is to go has to, and nobody waits for it */

        left = op->memcached->timeout;
    }

    if (ngx_http_registry_memcached_seal(op) != NGX_OK) {
        return;
    }

    memc = ngx_http_registry_memcached_take(op, &kept);
    if (memc == NULL) {
        return;
    }

    (void) memcached_behavior_set(memc, MEMCACHED_BEHAVIOR_CONNECT_TIMEOUT,
                                  left);
    (void) memcached_behavior_set(memc, MEMCACHED_BEHAVIOR_POLL_TIMEOUT, left);

    rc = ngx_http_registry_memcached_call(op, memc);

    if (kept && memcached_fatal(rc) && rc != MEMCACHED_TIMEOUT) {

        /* the server had closed it, as when it restarts; it connects anew */

        rc = ngx_http_registry_memcached_call(op, memc);
    }

    op->rc = rc;
    op->err = memcached_last_error_errno(memc);

    ngx_http_registry_memcached_put(op, memc);

    op->result = ngx_http_registry_memcached_result(op);
}


static ngx_int_t
ngx_http_registry_memcached_seal(ngx_http_registry_memcached_op_t *op)
{
    registry_str_t     bytes, type, key, secret;
    registry_status_e  status;

    switch (op->kind) {

    case NGX_HTTP_REGISTRY_MEMCACHED_SET_MANIFEST:

        bytes.data = op->value + REGISTRY_ENVELOPE_MANIFEST_LEN;
        bytes.len = op->size - REGISTRY_ENVELOPE_MANIFEST_LEN;
        type.data = op->media_type;
        type.len = ngx_strlen(op->media_type);

        status = registry_envelope_manifest_encode(bytes, type, op->value);
        break;

    case NGX_HTTP_REGISTRY_MEMCACHED_SET_TAG:

        op->value = malloc(REGISTRY_ENVELOPE_TAG_MAX);
        if (op->value == NULL) {
            return NGX_DECLINED;
        }

        key.data = (char *) op->key;
        key.len = op->key_len;
        secret.data = (char *) op->memcached->secret.data;
        secret.len = op->memcached->secret.len;

        status = registry_envelope_tag_encode(&op->digest, op->time, key,
                                              secret, op->value, &op->size);
        break;

    default:
        return NGX_OK;
    }

    return status == REGISTRY_OK ? NGX_OK : NGX_DECLINED;
}


static memcached_return_t
ngx_http_registry_memcached_call(ngx_http_registry_memcached_op_t *op,
    memcached_st *memc)
{
    char                *key;
    time_t               ttl;
    uint32_t             flags;
    memcached_return_t   rc;

    key = (char *) op->key;

    switch (op->kind) {

    case NGX_HTTP_REGISTRY_MEMCACHED_SET_MANIFEST:
    case NGX_HTTP_REGISTRY_MEMCACHED_SET_TAG:

        /* more is a date there */

        ttl = ngx_min(op->ttl, NGX_HTTP_REGISTRY_MEMCACHED_TTL);

        return memcached_set(memc, key, op->key_len, op->value, op->size, ttl,
                             0);

    case NGX_HTTP_REGISTRY_MEMCACHED_DELETE:
        return memcached_delete(memc, key, op->key_len, 0);

    default:
        op->value = memcached_get(memc, key, op->key_len, &op->size, &flags,
                                  &rc);
        return rc;
    }
}


static ngx_int_t
ngx_http_registry_memcached_result(ngx_http_registry_memcached_op_t *op)
{
    switch (op->kind) {

    case NGX_HTTP_REGISTRY_MEMCACHED_GET_MANIFEST:
    case NGX_HTTP_REGISTRY_MEMCACHED_GET_TAG:

        if (op->rc != MEMCACHED_SUCCESS) {
            return NGX_DECLINED;
        }

        switch (ngx_http_registry_memcached_unseal(op)) {

        case REGISTRY_OK:
            return NGX_OK;

        case REGISTRY_NOMEM:
            return NGX_DECLINED;

        default:
            op->garbage = 1;
            return NGX_DECLINED;
        }

    case NGX_HTTP_REGISTRY_MEMCACHED_DELETE:
    case NGX_HTTP_REGISTRY_MEMCACHED_PROBE:

        if (op->rc == MEMCACHED_NOTFOUND) {
            return NGX_OK;
        }

        /* fall through */

    default:
        return op->rc == MEMCACHED_SUCCESS ? NGX_OK : NGX_DECLINED;
    }
}


static registry_status_e
ngx_http_registry_memcached_unseal(ngx_http_registry_memcached_op_t *op)
{
    uint64_t           checked;
    registry_str_t     in, bytes, key, secret;
    registry_status_e  status;

    /* libmemcached takes the size for granted that a server claims */

    if (op->value == NULL || op->size > NGX_HTTP_REGISTRY_MEMCACHED_VALUE) {
        return REGISTRY_INVALID;
    }

    in.data = op->value;
    in.len = op->size;

    if (op->kind == NGX_HTTP_REGISTRY_MEMCACHED_GET_MANIFEST) {

        status = registry_envelope_manifest_decode(in, &op->digest, &bytes,
                                                   op->media_type);
        if (status == REGISTRY_OK) {
            op->bytes.data = (u_char *) bytes.data;
            op->bytes.len = bytes.len;
        }

        return status;
    }

    key.data = (char *) op->key;
    key.len = op->key_len;
    secret.data = (char *) op->memcached->secret.data;
    secret.len = op->memcached->secret.len;

    status = registry_envelope_tag_decode(in, key, secret, time(NULL),
                                          &op->digest, &checked);
    if (status == REGISTRY_OK) {
        op->time = checked;
    }

    return status;
}


/* a handle is not for two threads: one that is kept, else a new one */

static memcached_st *
ngx_http_registry_memcached_take(ngx_http_registry_memcached_op_t *op,
    ngx_uint_t *kept)
{
    memcached_st                          *memc;
    ngx_http_registry_memcached_t         *mc;
    ngx_http_registry_memcached_server_t  *server;

    mc = op->memcached;
    server = op->server;
    memc = NULL;

    if (ngx_thread_mutex_lock(&mc->mutex, ngx_cycle->log) != NGX_OK) {
        return NULL;
    }

    if (server->nkept) {
        memc = server->kept[--server->nkept];
    }

    (void) ngx_thread_mutex_unlock(&mc->mutex, ngx_cycle->log);

    *kept = memc != NULL;

    return memc ? memc : ngx_http_registry_memcached_create(server);
}


/* after a failure the other connections are no better than this one */

static void
ngx_http_registry_memcached_put(ngx_http_registry_memcached_op_t *op,
    memcached_st *memc)
{
    ngx_http_registry_memcached_t         *mc;
    ngx_http_registry_memcached_server_t  *server;

    mc = op->memcached;
    server = op->server;

    if (ngx_thread_mutex_lock(&mc->mutex, ngx_cycle->log) == NGX_OK) {

        if (memcached_fatal(op->rc)) {
            ngx_http_registry_memcached_close(server);

        } else if (server->nkept < NGX_HTTP_REGISTRY_MEMCACHED_KEPT) {
            server->kept[server->nkept++] = memc;
            memc = NULL;
        }

        (void) ngx_thread_mutex_unlock(&mc->mutex, ngx_cycle->log);
    }

    memcached_free(memc);
}


static void
ngx_http_registry_memcached_close(
    ngx_http_registry_memcached_server_t *server)
{
    while (server->nkept) {
        memcached_free(server->kept[--server->nkept]);
    }
}


static memcached_st *
ngx_http_registry_memcached_create(
    ngx_http_registry_memcached_server_t *server)
{
    memcached_st          *memc;
    memcached_free_fn      free_fn;
    memcached_malloc_fn    malloc_fn;
    memcached_calloc_fn    calloc_fn;
    memcached_realloc_fn   realloc_fn;

    memc = memcached_create(NULL);
    if (memc == NULL) {
        return NULL;
    }

    memcached_get_memory_allocators(memc, &malloc_fn, &free_fn, &realloc_fn,
                                    &calloc_fn);

    if (memcached_set_memory_allocators(memc, malloc_fn, free_fn,
                                        ngx_http_registry_memcached_realloc,
                                        calloc_fn, NULL)
        != MEMCACHED_SUCCESS
        || memcached_behavior_set(memc, MEMCACHED_BEHAVIOR_TCP_NODELAY, 1)
           != MEMCACHED_SUCCESS
        || ngx_http_registry_memcached_add(memc, server) != MEMCACHED_SUCCESS)
    {
        memcached_free(memc);
        return NULL;
    }

    return memc;
}


static memcached_return_t
ngx_http_registry_memcached_add(memcached_st *memc,
    ngx_http_registry_memcached_server_t *server)
{
    if (server->port == 0) {
        return memcached_server_add_unix_socket(memc, server->host);
    }

    return memcached_server_add(memc, server->host, server->port);
}


/* a value grows here, to what the server says is its size */

static void *
ngx_http_registry_memcached_realloc(const memcached_st *memc, void *p,
    const size_t size, void *context)
{
    if (size > NGX_HTTP_REGISTRY_MEMCACHED_MEMORY) {
        return NULL;
    }

    return realloc(p, size);
}


/* of a clock that the threads can read as well */

static ngx_msec_t
ngx_http_registry_memcached_now(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    return (ngx_msec_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}
