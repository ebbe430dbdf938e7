
/*
 * Which registry a request means.  It is said by the "ns" parameter (OCI
 * Distribution 1.1, "Registry Proxying"), the first component of the name, or
 * registry_namespace; before locations are searched all of them become the
 * first component, so that whichever way a client asks, the same rules hold.
 * A namespace is looked up among the names that are served here and is never
 * a host to connect to.  Hosted repositories have none: what asks for another
 * registry's content is not answered with ours.
 */


#include "ngx_http_registry.h"


#define NGX_HTTP_REGISTRY_NS_MAX  255


static ngx_int_t ngx_http_registry_namespace_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_registry_namespace_said(ngx_http_request_t *r,
    u_char *buf, ngx_str_t *ns);
static ngx_int_t ngx_http_registry_namespace_uri(ngx_http_request_t *r,
    ngx_str_t *in, ngx_http_registry_remote_t *remote, u_char *rest,
    ngx_str_t *uri);
static void ngx_http_registry_namespace_first(ngx_str_t *uri,
    ngx_str_t *first);
static ngx_uint_t ngx_http_registry_namespace_own(ngx_http_request_t *r,
    ngx_str_t *ns);
static ngx_uint_t ngx_http_registry_namespace_named(
    ngx_http_registry_srv_conf_t *sscf, ngx_str_t *ns);
static ngx_uint_t ngx_http_registry_namespace_is(ngx_http_server_name_t *sn,
    ngx_str_t *host);


/* the last handler of its phase: rewrites of the server come before */

ngx_int_t
ngx_http_registry_namespace_init(ngx_conf_t *cf)
{
    ngx_array_t                *handlers;
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    handlers = &cmcf->phases[NGX_HTTP_SERVER_REWRITE_PHASE].handlers;

    if (ngx_array_push(handlers) == NULL) {
        return NGX_ERROR;
    }

    /* nginx runs them from the end */

    h = handlers->elts;
    ngx_memmove(h + 1, h, (handlers->nelts - 1) * sizeof(*h));
    *h = ngx_http_registry_namespace_handler;

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_namespace_handler(ngx_http_request_t *r)
{
    ngx_int_t                      rc;
    ngx_str_t                      uri;
    ngx_http_registry_srv_conf_t  *sscf;

    sscf = ngx_http_get_module_srv_conf(r, ngx_http_registry_module);

    if (!sscf->enabled) {
        return NGX_DECLINED;
    }

    rc = ngx_http_registry_canonical(r, &r->uri, &uri);

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /*
     * An unknown one is answered where the location's rules hold.  The last
     * component stays as it is, and so does r->exten.
     */

    if (rc == NGX_OK && uri.data != r->uri.data) {
        r->uri = uri;
        r->valid_unparsed_uri = 0;
    }

    return NGX_DECLINED;
}


ngx_int_t
ngx_http_registry_canonical(ngx_http_request_t *r, ngx_str_t *in,
    ngx_str_t *uri)
{
    u_char                          buf[NGX_HTTP_REGISTRY_NS_MAX];
    ngx_int_t                       rc;
    ngx_str_t                       ns, first;
    ngx_http_registry_remote_t     *remote, *said;
    ngx_http_registry_main_conf_t  *mcf;

    *uri = *in;

    if (in->len < 4 || ngx_strncmp(in->data, "/v2/", 4) != 0) {
        return NGX_OK;
    }

    rc = ngx_http_registry_namespace_said(r, buf, &ns);
    if (rc != NGX_OK) {
        return rc;
    }

    mcf = ngx_http_get_module_main_conf(r, ngx_http_registry_module);

    ngx_http_registry_namespace_first(in, &first);
    remote = ngx_http_registry_find_remote(mcf, &first);

    if (ns.len == 0) {
        said = remote;

    } else {
        said = ngx_http_registry_find_remote(mcf, &ns);

        if (said == NULL) {
            if (!ngx_http_registry_namespace_own(r, &ns)) {
                return NGX_DECLINED;
            }

            said = remote;
        }
    }

    if (said == NULL) {
        return NGX_OK;
    }

    return ngx_http_registry_namespace_uri(r, in, said,
                                           (said == remote)
                                               ? first.data + first.len
                                               : first.data - 1,
                                           uri);
}


/* NGX_DECLINED for what is no name at all */

static ngx_int_t
ngx_http_registry_namespace_said(ngx_http_request_t *r, u_char *buf,
    ngx_str_t *ns)
{
    size_t                         len;
    registry_str_t                 query;
    registry_status_e              status;
    ngx_http_registry_srv_conf_t  *sscf;

    query.data = (const char *) r->args.data;
    query.len = r->args.len;

    status = registry_query_find(query, "ns", (char *) buf,
                                 NGX_HTTP_REGISTRY_NS_MAX, &len);

    if (status == REGISTRY_OK) {
        ns->data = buf;
        ns->len = len;

        return len ? NGX_OK : NGX_DECLINED;
    }

    if (status != REGISTRY_DECLINED) {
        return NGX_DECLINED;
    }

    sscf = ngx_http_get_module_srv_conf(r, ngx_http_registry_module);

    if (sscf->ns == NULL) {
        ngx_str_null(ns);
        return NGX_OK;
    }

    return ngx_http_complex_value(r, sscf->ns, ns) == NGX_OK ? NGX_OK
                                                             : NGX_ERROR;
}


/*
 * "/v2/NAMESPACE" and the rest, which begins with a slash or is empty; at
 * Docker Hub a name of one component lives in "library".  What is canonical
 * is left alone.
 */

static ngx_int_t
ngx_http_registry_namespace_uri(ngx_http_request_t *r, ngx_str_t *in,
    ngx_http_registry_remote_t *remote, u_char *rest, ngx_str_t *uri)
{
    u_char          *p, *first;
    size_t           len;
    ngx_str_t        library;
    registry_str_t   path;

    first = in->data + 4;
    len = in->data + in->len - rest;

    ngx_str_set(&library, "");

    if (remote->library && len) {
        path.data = (const char *) rest + 1;
        path.len = len - 1;

        if (registry_route_single(path)) {
            ngx_str_set(&library, "/library");
        }
    }

    if (library.len == 0
        && rest == first + remote->name.len
        && ngx_strncmp(first, remote->name.data, remote->name.len) == 0)
    {
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, sizeof("/v2/library") + remote->name.len + len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    uri->data = p;
    p = ngx_cpymem(p, "/v2/", 4);
    p = ngx_cpymem(p, remote->name.data, remote->name.len);
    p = ngx_cpymem(p, library.data, library.len);
    p = ngx_cpymem(p, rest, len);
    uri->len = p - uri->data;

    return NGX_OK;
}


ngx_int_t
ngx_http_registry_namespace(ngx_http_request_t *r, ngx_str_t *uri,
    ngx_http_registry_remote_t **remote, ngx_str_t *path)
{
    u_char                         *p;
    ngx_str_t                       first;
    ngx_http_registry_main_conf_t  *mcf;

    *remote = NULL;
    *path = *uri;

    mcf = ngx_http_get_module_main_conf(r, ngx_http_registry_module);

    if (mcf->remotes.nelts == 0 || uri->len < 4
        || ngx_strncmp(uri->data, "/v2/", 4) != 0)
    {
        return NGX_OK;
    }

    ngx_http_registry_namespace_first(uri, &first);

    *remote = ngx_http_registry_find_remote(mcf, &first);

    if (*remote == NULL) {
        return NGX_OK;
    }

    p = ngx_pnalloc(r->pool, uri->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    path->data = p;
    p = ngx_cpymem(p, "/v2", 3);
    p = ngx_cpymem(p, first.data + first.len,
                   uri->data + uri->len - (first.data + first.len));
    path->len = p - path->data;

    return NGX_OK;
}


/* of "/v2/a/b" it is "a" */

static void
ngx_http_registry_namespace_first(ngx_str_t *uri, ngx_str_t *first)
{
    u_char  *p, *last;

    last = uri->data + uri->len;
    first->data = uri->data + 4;

    p = ngx_strlchr(first->data, last, '/');

    first->len = (p ? p : last) - first->data;
}


static ngx_uint_t
ngx_http_registry_namespace_own(ngx_http_request_t *r, ngx_str_t *ns)
{
    ngx_http_registry_srv_conf_t  *sscf;

    sscf = ngx_http_get_module_srv_conf(r, ngx_http_registry_module);

    return ngx_http_registry_namespace_named(sscf, ns);
}


/* one of the server's names, with a port or without */

static ngx_uint_t
ngx_http_registry_namespace_named(ngx_http_registry_srv_conf_t *sscf,
    ngx_str_t *ns)
{
    u_char                  *p;
    ngx_str_t                host;
    ngx_uint_t               i;
    ngx_http_server_name_t  *sn;

    host = *ns;

    p = ngx_strlchr(ns->data, ns->data + ns->len, ':');

    if (p) {
        host.len = p - ns->data;
    }

    sn = sscf->names.elts;

    for (i = 0; i < sscf->names.nelts; i++) {
        if (ngx_http_registry_namespace_is(&sn[i], &host)) {
            return 1;
        }
    }

    return 0;
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


char *
ngx_http_registry_set_namespace(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_registry_srv_conf_t  *sscf = conf;

    sscf->ns_file = cf->conf_file->file.name.data;
    sscf->ns_line = cf->conf_file->line;

    return ngx_http_set_complex_value_slot(cf, cmd, conf);
}


/* one that is nobody's would have everything answered 404 */

char *
ngx_http_registry_check_namespace(ngx_conf_t *cf,
    ngx_http_registry_srv_conf_t *sscf)
{
    ngx_str_t                      *ns;
    ngx_http_registry_main_conf_t  *mcf;

    if (!sscf->enabled || sscf->ns == NULL || sscf->ns->lengths) {
        return NGX_CONF_OK;
    }

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_registry_module);
    ns = &sscf->ns->value;

    if (ns->len == 0 || ngx_http_registry_find_remote(mcf, ns)
        || ngx_http_registry_namespace_named(sscf, ns))
    {
        return NGX_CONF_OK;
    }

    ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                  "registry_namespace \"%V\" is neither that of a "
                  "registry_remote nor a name of the server in %s:%ui",
                  ns, sscf->ns_file, sscf->ns_line);

    return NGX_CONF_ERROR;
}
