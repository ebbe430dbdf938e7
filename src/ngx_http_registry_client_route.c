
/*
 * Where a call goes: to the remote itself, or to another server that it was
 * sent to.
 */


#include "ngx_http_registry_client_exchange.h"


static void ngx_http_registry_route_method(ngx_http_registry_exchange_t *x);
static ngx_http_registry_target_t *ngx_http_registry_route_target(
    ngx_http_registry_client_t *client, registry_url_t *url);
static ngx_uint_t ngx_http_registry_route_match(
    ngx_http_registry_target_t *target, registry_url_t *url);


ngx_int_t
ngx_http_registry_route(ngx_http_registry_exchange_t *x)
{
    registry_url_t              *url;
    ngx_http_registry_target_t  *target;

    url = &x->call.url;

    ngx_http_registry_route_method(x);

    target = ngx_http_registry_route_target(x->call.client, url);

    x->target = target;

    ngx_http_registry_str(&x->host, &url->host);
    x->port = url->port;

    x->name = x->host;
    ngx_http_registry_str(&x->authority, &url->authority);
    ngx_http_registry_str(&x->uri, &url->path);

    if (target && target->ssl_name.len) {
        x->name = target->ssl_name;
        x->authority = target->ssl_name;
    }

    x->step = ngx_http_registry_resolve;

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

    x->safe = x->head
              || ngx_http_registry_method_is("GET")
              || ngx_http_registry_method_is("DELETE");

    x->idempotent = x->safe || ngx_http_registry_method_is("PUT");
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
