
/*
 * From a name to addresses: by nginx's resolver, which keeps what it found as
 * long as the TTL says, or by getaddrinfo() in a thread.
 */


#include "ngx_http_registry_client_exchange.h"
#include "ngx_http_registry_task.h"

#include <netdb.h>


#define NGX_HTTP_REGISTRY_LOOKUPS         32    /* names that are kept */
#define NGX_HTTP_REGISTRY_LOOKUP_VALID    30    /* seconds; getaddrinfo() does
                                                   not tell the TTL */
#define NGX_HTTP_REGISTRY_LOOKUP_FAILED   3


/* a name that was looked up by getaddrinfo(), or is being looked up */

struct ngx_http_registry_lookup_s {
    ngx_queue_t                queue;
    ngx_queue_t                waiting;     /* of exchanges */
    ngx_http_registry_task_t  *task;        /* NULL: it has ended */
    struct addrinfo           *result;
    int                        error;       /* EAI_... */
    time_t                     expires;
    ngx_str_t                  name;
};


typedef struct {
    ngx_http_registry_task_t   task;
    char                      *name;
    struct addrinfo           *result;
    int                        error;
} ngx_http_registry_lookup_task_t;


static ngx_int_t ngx_http_registry_resolved(ngx_http_registry_exchange_t *x);
static void ngx_http_registry_resolve_handler(ngx_resolver_ctx_t *ctx);
static ngx_int_t ngx_http_registry_resolve_add(
    ngx_http_registry_exchange_t *x, struct sockaddr *sockaddr,
    socklen_t socklen);
static ngx_int_t ngx_http_registry_lookup(ngx_http_registry_exchange_t *x);
static ngx_http_registry_lookup_t *ngx_http_registry_lookup_find(
    ngx_http_registry_client_state_t *state, ngx_str_t *name);
static ngx_int_t ngx_http_registry_lookup_start(
    ngx_http_registry_client_state_t *state,
    ngx_http_registry_lookup_t *lookup);
static void ngx_http_registry_lookup_work(ngx_http_registry_task_t *task);
static void ngx_http_registry_lookup_release(ngx_http_registry_task_t *task);
static void ngx_http_registry_lookup_handler(void *data);
static ngx_int_t ngx_http_registry_lookup_take(
    ngx_http_registry_exchange_t *x, ngx_http_registry_lookup_t *lookup);
static void ngx_http_registry_lookup_trim(
    ngx_http_registry_client_state_t *state);
static void ngx_http_registry_lookup_free(ngx_http_registry_lookup_t *lookup);


ngx_int_t
ngx_http_registry_resolve(ngx_http_registry_exchange_t *x)
{
    ngx_addr_t           addr;
    ngx_resolver_t      *resolver;
    ngx_resolver_ctx_t  *ctx;

    x->log.action = "resolving";

    x->addrs = ngx_pcalloc(x->call.pool, NGX_HTTP_REGISTRY_ADDRS_MAX
                                         * sizeof(ngx_addr_t));
    if (x->addrs == NULL) {
        goto failed;
    }

    switch (ngx_parse_addr(x->call.pool, &addr, x->host.data, x->host.len)) {

    case NGX_OK:
        x->step = ngx_http_registry_resolved;
        return ngx_http_registry_resolve_add(x, addr.sockaddr, addr.socklen);

    case NGX_ERROR:
        goto failed;
    }

    ngx_http_registry_exchange_wait(x, NGX_HTTP_REGISTRY_WAIT_NAME);

    x->step = ngx_http_registry_exchange_idle;

    resolver = x->call.client->resolver;

    if (resolver == NULL) {
        return ngx_http_registry_lookup(x);
    }

    ctx = ngx_resolve_start(resolver, NULL);

    if (ctx == NULL || ctx == NGX_NO_RESOLVER) {
        goto failed;
    }

    ctx->name = x->host;
    ctx->handler = ngx_http_registry_resolve_handler;
    ctx->data = x;

    x->resolver = ctx;

    /* the handler may be called from within */

    if (ngx_resolve_name(ctx) != NGX_OK) {
        x->resolver = NULL;
        goto failed;
    }

    return NGX_OK;

failed:

    return ngx_http_registry_exchange_fail(x, NGX_HTTP_REGISTRY_CALL_LOCAL,
                                           NULL, 0);
}


static void
ngx_http_registry_resolve_handler(ngx_resolver_ctx_t *ctx)
{
    ngx_uint_t                     i;
    ngx_http_registry_exchange_t  *x;

    x = ctx->data;

    if (ctx->state) {
        x->call.reason = ngx_resolver_strerror(ctx->state);
    }

    for (i = 0; ctx->state == 0 && i < ctx->naddrs; i++) {
        if (ngx_http_registry_resolve_add(x, ctx->addrs[i].sockaddr,
                                          ctx->addrs[i].socklen)
            != NGX_OK)
        {
            break;
        }
    }

    ngx_resolve_name_done(ctx);
    x->resolver = NULL;

    x->step = ngx_http_registry_resolved;

    /* nginx is in its list of those who wait, of whom none may go now */

    ngx_http_registry_exchange_post(x);
}


/* the step with all addresses that may be connected to */

static ngx_int_t
ngx_http_registry_resolved(ngx_http_registry_exchange_t *x)
{
    if (x->naddrs == 0) {

        if (x->forbidden) {
            return ngx_http_registry_exchange_fail(x,
                                   NGX_HTTP_REGISTRY_CALL_FORBIDDEN, NULL, 0);
        }

        return ngx_http_registry_exchange_fail(x,
                                   NGX_HTTP_REGISTRY_CALL_RESOLVE,
                                   x->call.reason ? x->call.reason
                                                  : "no address", 0);
    }

    x->step = ngx_http_registry_connect;

    return NGX_OK;
}


void
ngx_http_registry_resolve_cancel(ngx_http_registry_exchange_t *x)
{
    if (x->resolver) {
        ngx_resolve_name_done(x->resolver);
        x->resolver = NULL;
    }

    if (x->lookup) {
        ngx_queue_remove(&x->waiting);
        x->lookup = NULL;
    }
}


static ngx_int_t
ngx_http_registry_resolve_add(ngx_http_registry_exchange_t *x,
    struct sockaddr *sockaddr, socklen_t socklen)
{
    u_char      *p;
    ngx_addr_t  *addr;

    if (x->naddrs == NGX_HTTP_REGISTRY_ADDRS_MAX) {
        return NGX_OK;
    }

    if (x->target == NULL && !x->proxied && !x->call.client->allow_private
        && ngx_http_registry_resolve_private(sockaddr))
    {
        x->forbidden = 1;
        return NGX_OK;
    }

    addr = &x->addrs[x->naddrs];

    p = ngx_pnalloc(x->call.pool, socklen + NGX_SOCKADDR_STRLEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    addr->sockaddr = (struct sockaddr *) p;
    addr->socklen = socklen;
    ngx_memcpy(p, sockaddr, socklen);
    ngx_inet_set_port(addr->sockaddr, x->port);

    addr->name.data = p + socklen;
    addr->name.len = ngx_sock_ntop(addr->sockaddr, socklen, addr->name.data,
                                   NGX_SOCKADDR_STRLEN, 1);

    if (x->call.pin.len
        && (x->call.pin.len != addr->name.len
            || ngx_memcmp(x->call.pin.data, addr->name.data, addr->name.len)
               != 0))
    {
        return NGX_OK;
    }

    x->naddrs++;

    return NGX_OK;
}


ngx_uint_t
ngx_http_registry_resolve_private(struct sockaddr *sockaddr)
{
    struct sockaddr_in   *sin;
#if (NGX_HAVE_INET6)
    struct sockaddr_in6  *sin6;
#endif

    switch (sockaddr->sa_family) {

#if (NGX_HAVE_INET6)
    case AF_INET6:
        sin6 = (struct sockaddr_in6 *) sockaddr;
        return registry_address_private(sin6->sin6_addr.s6_addr, 16);
#endif

    case AF_INET:
        sin = (struct sockaddr_in *) sockaddr;
        return registry_address_private((u_char *) &sin->sin_addr, 4);

    default:
        return 1;
    }
}


/* without a resolver */

static ngx_int_t
ngx_http_registry_lookup(ngx_http_registry_exchange_t *x)
{
    ngx_http_registry_lookup_t        *lookup;
    ngx_http_registry_client_state_t  *state;

    state = x->state;

    lookup = ngx_http_registry_lookup_find(state, &x->host);

    if (lookup == NULL
        || (lookup->task == NULL
            && lookup->expires <= ngx_time()
            && ngx_http_registry_lookup_start(state, lookup) != NGX_OK))
    {
        return ngx_http_registry_exchange_fail(x, NGX_HTTP_REGISTRY_CALL_LOCAL,
                                               NULL, 0);
    }

    if (lookup->task == NULL) {
        return ngx_http_registry_lookup_take(x, lookup);
    }

    ngx_queue_insert_tail(&lookup->waiting, &x->waiting);
    x->lookup = lookup;

    return NGX_OK;
}


/* what is known of a name, which may be nothing yet; the last one goes first */

static ngx_http_registry_lookup_t *
ngx_http_registry_lookup_find(ngx_http_registry_client_state_t *state,
    ngx_str_t *name)
{
    ngx_queue_t                 *q;
    ngx_http_registry_lookup_t  *lookup;

    for (q = ngx_queue_head(&state->lookups);
         q != ngx_queue_sentinel(&state->lookups);
         q = ngx_queue_next(q))
    {
        lookup = ngx_queue_data(q, ngx_http_registry_lookup_t, queue);

        if (lookup->name.len == name->len
            && ngx_strncasecmp(lookup->name.data, name->data, name->len) == 0)
        {
            ngx_queue_remove(q);
            ngx_queue_insert_head(&state->lookups, q);

            return lookup;
        }
    }

    lookup = ngx_calloc(sizeof(ngx_http_registry_lookup_t) + name->len,
                        ngx_cycle->log);
    if (lookup == NULL) {
        return NULL;
    }

    lookup->name.len = name->len;
    lookup->name.data = (u_char *) &lookup[1];
    ngx_memcpy(lookup->name.data, name->data, name->len);

    ngx_queue_init(&lookup->waiting);
    ngx_queue_insert_head(&state->lookups, &lookup->queue);
    state->nlookups++;

    ngx_http_registry_lookup_trim(state);

    return lookup;
}


static ngx_int_t
ngx_http_registry_lookup_start(ngx_http_registry_client_state_t *state,
    ngx_http_registry_lookup_t *lookup)
{
    ngx_http_registry_lookup_task_t  *task;

    task = ngx_http_registry_task_create(
                                     sizeof(ngx_http_registry_lookup_task_t),
                                     ngx_cycle->log);
    if (task == NULL) {
        return NGX_ERROR;
    }

    task->name = ngx_pnalloc(task->task.pool, lookup->name.len + 1);
    if (task->name == NULL) {
        goto failed;
    }

    ngx_cpystrn((u_char *) task->name, lookup->name.data,
                lookup->name.len + 1);

    task->task.work = ngx_http_registry_lookup_work;
    task->task.release = ngx_http_registry_lookup_release;
    task->task.handler = ngx_http_registry_lookup_handler;
    task->task.data = lookup;

    if (ngx_http_registry_task_run(&task->task, state->client->tp)
        != NGX_AGAIN)
    {
        goto failed;
    }

    lookup->task = &task->task;

    return NGX_OK;

failed:

    ngx_http_registry_task_free(&task->task);

    return NGX_ERROR;
}


/* in a thread */

static void
ngx_http_registry_lookup_work(ngx_http_registry_task_t *task)
{
    struct addrinfo                   hints;
    ngx_http_registry_lookup_task_t  *t;

    t = (ngx_http_registry_lookup_task_t *) task;

    ngx_memzero(&hints, sizeof(struct addrinfo));

    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_ADDRCONFIG;

    t->error = getaddrinfo(t->name, NULL, &hints, &t->result);

    if (t->error != 0) {
        t->result = NULL;
    }
}


static void
ngx_http_registry_lookup_release(ngx_http_registry_task_t *task)
{
    ngx_http_registry_lookup_task_t  *t;

    t = (ngx_http_registry_lookup_task_t *) task;

    if (t->result) {
        freeaddrinfo(t->result);
    }
}


static void
ngx_http_registry_lookup_handler(void *data)
{
    ngx_queue_t                      *q;
    ngx_http_registry_lookup_t       *lookup = data;
    ngx_http_registry_exchange_t     *x;
    ngx_http_registry_lookup_task_t  *task;

    task = (ngx_http_registry_lookup_task_t *) lookup->task;

    if (lookup->result) {
        freeaddrinfo(lookup->result);
    }

    lookup->task = NULL;
    lookup->error = task->error;
    lookup->result = task->result;
    lookup->expires = ngx_time() + (task->error
                                    ? NGX_HTTP_REGISTRY_LOOKUP_FAILED
                                    : NGX_HTTP_REGISTRY_LOOKUP_VALID);

    task->result = NULL;
    ngx_http_registry_task_free(&task->task);

    while (!ngx_queue_empty(&lookup->waiting)) {

        q = ngx_queue_head(&lookup->waiting);
        ngx_queue_remove(q);

        x = ngx_queue_data(q, ngx_http_registry_exchange_t, waiting);
        x->lookup = NULL;

        (void) ngx_http_registry_lookup_take(x, lookup);

        ngx_http_registry_exchange_post(x);
    }
}


static ngx_int_t
ngx_http_registry_lookup_take(ngx_http_registry_exchange_t *x,
    ngx_http_registry_lookup_t *lookup)
{
    struct addrinfo  *ai;

    if (lookup->error) {
        x->call.reason = gai_strerror(lookup->error);
    }

    for (ai = lookup->result; ai; ai = ai->ai_next) {
        if (ngx_http_registry_resolve_add(x, ai->ai_addr, ai->ai_addrlen)
            != NGX_OK)
        {
            break;
        }
    }

    x->step = ngx_http_registry_resolved;

    return NGX_OK;
}


/* the last one that nobody waits for */

static void
ngx_http_registry_lookup_trim(ngx_http_registry_client_state_t *state)
{
    ngx_queue_t                 *q;
    ngx_http_registry_lookup_t  *lookup;

    if (state->nlookups <= NGX_HTTP_REGISTRY_LOOKUPS) {
        return;
    }

    for (q = ngx_queue_last(&state->lookups);
         q != ngx_queue_head(&state->lookups);
         q = ngx_queue_prev(q))
    {
        lookup = ngx_queue_data(q, ngx_http_registry_lookup_t, queue);

        if (lookup->task == NULL) {
            ngx_queue_remove(q);
            state->nlookups--;

            ngx_http_registry_lookup_free(lookup);
            return;
        }
    }
}


static void
ngx_http_registry_lookup_free(ngx_http_registry_lookup_t *lookup)
{
    if (lookup->task) {
        ngx_http_registry_task_free(lookup->task);
    }

    if (lookup->result) {
        freeaddrinfo(lookup->result);
    }

    ngx_free(lookup);
}


void
ngx_http_registry_resolve_cleanup(ngx_http_registry_client_state_t *state)
{
    ngx_queue_t  *q, *next;

    for (q = ngx_queue_head(&state->lookups);
         q != ngx_queue_sentinel(&state->lookups);
         q = next)
    {
        next = ngx_queue_next(q);

        ngx_http_registry_lookup_free(ngx_queue_data(q,
                                        ngx_http_registry_lookup_t, queue));
    }

    ngx_queue_init(&state->lookups);
    state->nlookups = 0;
}
