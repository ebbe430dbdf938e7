
/*
 * Which registry a request means: its "ns" parameter (OCI Distribution 1.1,
 * "Registry Proxying") or the server's registry_namespace.  A namespace is
 * looked up among the names that are served here and is never a host to
 * connect to.  Hosted repositories have none: what asks for another
 * registry's content is not answered with ours.
 */


#include "ngx_http_registry.h"


#define NGX_HTTP_REGISTRY_NS_MAX  255


static ngx_int_t ngx_http_registry_namespace_mark(ngx_http_request_t *r);
static ngx_uint_t ngx_http_registry_namespace_own(ngx_http_request_t *r,
    ngx_str_t *ns);
static void ngx_http_registry_namespace_cleanup(void *data);


ngx_int_t
ngx_http_registry_namespace_handler(ngx_http_request_t *r)
{
    u_char                         buf[NGX_HTTP_REGISTRY_NS_MAX];
    size_t                         len;
    ngx_str_t                      ns;
    registry_str_t                 query;
    registry_status_e              status;
    ngx_http_registry_srv_conf_t  *sscf;

    sscf = ngx_http_get_module_srv_conf(r, ngx_http_registry_module);

    if (!sscf->enabled || r->uri.len < 4
        || ngx_strncmp(r->uri.data, "/v2/", 4) != 0)
    {
        return NGX_DECLINED;
    }

    if (r->args.len) {
        query.data = (const char *) r->args.data;
        query.len = r->args.len;

        status = registry_query_find(query, "ns", (char *) buf, sizeof(buf),
                                     &len);

        if (status != REGISTRY_DECLINED) {
            ns.data = buf;
            ns.len = len;

            if (status == REGISTRY_OK
                && ngx_http_registry_namespace_own(r, &ns))
            {
                return NGX_DECLINED;
            }

            return ngx_http_registry_namespace_mark(r);
        }
    }

    if (sscf->ns) {
        if (ngx_http_complex_value(r, sscf->ns, &ns) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        if (ns.len && !ngx_http_registry_namespace_own(r, &ns)) {
            return ngx_http_registry_namespace_mark(r);
        }
    }

    return NGX_DECLINED;
}


/* a clean-up outlives an internal redirect, and the context does not */

static ngx_int_t
ngx_http_registry_namespace_mark(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pool_cleanup_add(r->pool, 0);
    if (cln == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln->handler = ngx_http_registry_namespace_cleanup;

    return NGX_DECLINED;
}


ngx_uint_t
ngx_http_registry_namespace_unknown(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t  *cln;

    for (cln = r->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_http_registry_namespace_cleanup) {
            return 1;
        }
    }

    return 0;
}


/* one of the server's names, with a port or without */

static ngx_uint_t
ngx_http_registry_namespace_own(ngx_http_request_t *r, ngx_str_t *ns)
{
    ngx_str_t                     *name;
    ngx_uint_t                     i;
    ngx_http_registry_srv_conf_t  *sscf;

    sscf = ngx_http_get_module_srv_conf(r, ngx_http_registry_module);

    name = sscf->names.elts;

    for (i = 0; i < sscf->names.nelts; i++) {

        if (ns->len >= name[i].len
            && (ns->len == name[i].len || ns->data[name[i].len] == ':')
            && ngx_strncasecmp(ns->data, name[i].data, name[i].len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


static void
ngx_http_registry_namespace_cleanup(void *data)
{
}
