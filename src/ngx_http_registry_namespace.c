
/*
 * Which registry a request means: its "ns" parameter (OCI Distribution 1.1,
 * "Registry Proxying") or the server's registry_namespace.  A namespace is
 * looked up among the names that are served here and is never a host to
 * connect to.  Hosted repositories have none: what asks for another
 * registry's content is not answered with ours.
 */


#include "ngx_http_registry.h"


#define NGX_HTTP_REGISTRY_NS_MAX  255


static ngx_int_t ngx_http_registry_namespace_own(ngx_http_request_t *r,
    ngx_str_t *ns);
static ngx_uint_t ngx_http_registry_namespace_is(ngx_http_server_name_t *sn,
    ngx_str_t *host);


ngx_int_t
ngx_http_registry_namespace(ngx_http_request_t *r)
{
    u_char                         buf[NGX_HTTP_REGISTRY_NS_MAX];
    size_t                         len;
    ngx_str_t                      ns;
    registry_str_t                 query;
    registry_status_e              status;
    ngx_http_registry_srv_conf_t  *sscf;

    query.data = (const char *) r->args.data;
    query.len = r->args.len;

    status = registry_query_find(query, "ns", (char *) buf, sizeof(buf),
                                 &len);

    if (status == REGISTRY_OK) {
        ns.data = buf;
        ns.len = len;

        return ngx_http_registry_namespace_own(r, &ns);
    }

    if (status != REGISTRY_DECLINED) {
        return NGX_DECLINED;
    }

    sscf = ngx_http_get_module_srv_conf(r, ngx_http_registry_module);

    if (sscf->ns == NULL) {
        return NGX_OK;
    }

    if (ngx_http_complex_value(r, sscf->ns, &ns) != NGX_OK) {
        return NGX_ERROR;
    }

    return ns.len ? ngx_http_registry_namespace_own(r, &ns) : NGX_OK;
}


/* one of the server's names, with a port or without */

static ngx_int_t
ngx_http_registry_namespace_own(ngx_http_request_t *r, ngx_str_t *ns)
{
    u_char                        *p;
    ngx_str_t                      host;
    ngx_uint_t                     i;
    ngx_http_server_name_t        *sn;
    ngx_http_registry_srv_conf_t  *sscf;

    sscf = ngx_http_get_module_srv_conf(r, ngx_http_registry_module);

    host = *ns;

    p = ngx_strlchr(ns->data, ns->data + ns->len, ':');

    if (p) {
        host.len = p - ns->data;
    }

    sn = sscf->names.elts;

    for (i = 0; i < sscf->names.nelts; i++) {
        if (ngx_http_registry_namespace_is(&sn[i], &host)) {
            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}


/* "a.b", "*.b", ".b", or a regular expression */

static ngx_uint_t
ngx_http_registry_namespace_is(ngx_http_server_name_t *sn, ngx_str_t *host)
{
    ngx_str_t  name;

#if (NGX_PCRE)
    if (sn->regex) {
        return ngx_regex_exec(sn->regex->regex, host, NULL, 0) >= 0;
    }
#endif

    name = sn->name;

    if (name.data[0] == '*') {
        name.data++;
        name.len--;

    } else if (name.data[0] != '.' || host->len < name.len) {

        /* ".b" is "b" too */

        if (name.data[0] == '.') {
            name.data++;
            name.len--;
        }

        return host->len == name.len
               && ngx_strncasecmp(host->data, name.data, name.len) == 0;
    }

    return host->len > name.len
           && ngx_strncasecmp(host->data + host->len - name.len, name.data,
                              name.len)
              == 0;
}
