
/*
 * Where a call goes: to the remote itself, or to another server that it was
 * sent to.
 */


#include "ngx_http_registry_client_exchange.h"


static ngx_int_t ngx_http_registry_route_proxy(
    ngx_http_registry_exchange_t *x);
static ngx_int_t ngx_http_registry_route_check(
    ngx_http_registry_exchange_t *x);
static ngx_int_t ngx_http_registry_route_origin(
    ngx_http_registry_exchange_t *x, ngx_uint_t ipv6);
static void ngx_http_registry_route_method(ngx_http_registry_exchange_t *x);
static ngx_http_registry_target_t *ngx_http_registry_route_target(
    ngx_http_registry_client_t *client, registry_url_t *url);
static ngx_uint_t ngx_http_registry_route_match(
    ngx_http_registry_target_t *target, registry_url_t *url);


ngx_int_t
ngx_http_registry_route(ngx_http_registry_exchange_t *x)
{
    registry_url_t              *url, *to;
    ngx_http_registry_target_t  *target;

    url = &x->call.url;

    ngx_http_registry_route_method(x);

    target = ngx_http_registry_route_target(x->call.client, url);
    to = target ? &target->url : url;

    x->target = target;

    ngx_http_registry_str(&x->host, &to->host);
    x->port = to->port;

    ngx_http_registry_str(&x->name, &url->host);
    ngx_http_registry_str(&x->authority, &url->authority);
    ngx_http_registry_str(&x->uri, &url->path);

    if (target && target->ssl_name.len) {
        x->name = target->ssl_name;
        x->authority = target->ssl_name;
    }

    if (ngx_http_registry_route_origin(x, to->ipv6) != NGX_OK) {
        return NGX_ERROR;
    }

    x->step = ngx_http_registry_resolve;

    if (target && target->upstream) {

        /* its servers are addresses: no proxy is asked for them */

        x->upstream = target->upstream;
        x->step = x->call.pin.len ? ngx_http_registry_upstream_pinned
                                  : ngx_http_registry_connect;

    } else if (ngx_http_registry_proxy_applies(x)) {
        return ngx_http_registry_route_proxy(x);
    }

    return NGX_OK;
}


/* the names are resolved by the proxy */

static ngx_int_t
ngx_http_registry_route_proxy(ngx_http_registry_exchange_t *x)
{
    u_char  *p;

    x->proxied = 1;
    x->step = ngx_http_registry_route_check;

    if (!x->call.url.https) {

        p = ngx_pnalloc(x->call.pool, sizeof("http://") - 1
                                      + x->authority.len + x->uri.len);
        if (p == NULL) {
            return NGX_ERROR;
        }

        x->uri.len = ngx_sprintf(p, "http://%V%V", &x->authority, &x->uri) - p;
        x->uri.data = p;

        /* whatever server it leads to, the connection is the proxy's */

        x->origin.len = 0;
    }

    return NGX_OK;
}


/* the step before a call to the proxy */

static ngx_int_t
ngx_http_registry_route_check(ngx_http_registry_exchange_t *x)
{
    ngx_addr_t       addr;
    registry_url_t  *proxy;

    if (x->target == NULL
        && !x->call.client->allow_private
        && ngx_parse_addr(x->call.pool, &addr, x->host.data, x->host.len)
           == NGX_OK
        && ngx_http_registry_resolve_private(addr.sockaddr))
    {
        return ngx_http_registry_exchange_fail(x,
                                   NGX_HTTP_REGISTRY_CALL_FORBIDDEN, NULL, 0);
    }

    proxy = &x->call.client->proxy;

    ngx_http_registry_str(&x->host, &proxy->host);
    x->port = proxy->port;

    x->step = ngx_http_registry_resolve;

    return NGX_OK;
}


/* "host:port", in lower case */

static ngx_int_t
ngx_http_registry_route_origin(ngx_http_registry_exchange_t *x,
    ngx_uint_t ipv6)
{
    u_char  *p;

    p = ngx_pnalloc(x->call.pool, x->host.len + sizeof("[]:65535") - 1);
    if (p == NULL) {
        return NGX_ERROR;
    }

    x->origin.data = p;

    if (ipv6) {
        *p++ = '[';
    }

    ngx_strlow(p, x->host.data, x->host.len);
    p += x->host.len;

    if (ipv6) {
        *p++ = ']';
    }

    p = ngx_sprintf(p, ":%ui", (ngx_uint_t) x->port);

    x->origin.len = p - x->origin.data;

    return NGX_OK;
}


static void
ngx_http_registry_route_method(ngx_http_registry_exchange_t *x)
{
    ngx_str_t  *method;

    method = &x->call.method;

#define ngx_http_registry_method_is(m)                                        \
    (method->len == sizeof(m) - 1                                             \
     && ngx_strncmp(method->data, m, sizeof(m) - 1) == 0)

    x->head = ngx_http_registry_method_is("HEAD");

    x->bodyless = x->head
                  || ngx_http_registry_method_is("GET")
                  || ngx_http_registry_method_is("DELETE");

    x->reuse = x->call.content_length == 0
               && (x->bodyless || ngx_http_registry_method_is("PUT"));
}


static ngx_http_registry_target_t *
ngx_http_registry_route_target(ngx_http_registry_client_t *client,
    registry_url_t *url)
{
    ngx_uint_t                   i;
    ngx_http_registry_target_t  *target;

    target = client->targets.elts;

    for (i = 0; i < client->targets.nelts; i++) {
        if (ngx_http_registry_route_match(&target[i], url)) {
            return &target[i];
        }
    }

    return NULL;
}


/*
 * A realm or a redirect of the remote may also have the name that is on its
 * certificate, with the port of the outside world.
 */

static ngx_uint_t
ngx_http_registry_route_match(ngx_http_registry_target_t *target,
    registry_url_t *url)
{
    if (registry_url_same_origin(&target->url, url)) {
        return 1;
    }

    return target->ssl_name.len
           && target->ssl_name.len == url->host.len
           && ngx_strncasecmp(target->ssl_name.data,
                              (u_char *) url->host.data, url->host.len)
              == 0
           && target->url.https == url->https
           && (url->port == target->url.port
               || url->port == (url->https ? 443 : 80));
}
