
/*
 * Which location a URI is found in.  What crosses repositories, a mount or a
 * catalogue, is granted only where the same location, hence the same rules,
 * holds for both.  nginx's own look-up changes the request it is made for.
 */


#include "ngx_http_registry.h"


static ngx_uint_t ngx_http_registry_find_location(
    ngx_http_core_loc_conf_t *pclcf, ngx_str_t *uri,
    ngx_http_core_loc_conf_t **found);
static ngx_http_core_loc_conf_t *ngx_http_registry_find_static(
    ngx_http_location_tree_node_t *node, ngx_str_t *uri, ngx_uint_t *exact);


ngx_uint_t
ngx_http_registry_same_location(ngx_http_request_t *r, ngx_str_t *one,
    ngx_str_t *two)
{
    ngx_http_core_loc_conf_t  *clcf, *first, *second;
    ngx_http_core_srv_conf_t  *cscf;

    cscf = ngx_http_get_module_srv_conf(r, ngx_http_core_module);
    clcf = cscf->ctx->loc_conf[ngx_http_core_module.ctx_index];

    first = clcf;
    second = clcf;

    (void) ngx_http_registry_find_location(clcf, one, &first);
    (void) ngx_http_registry_find_location(clcf, two, &second);

    return first == second;
}


ngx_uint_t
ngx_http_registry_same_rules(ngx_http_request_t *r, ngx_str_t *uri)
{
    ngx_http_core_loc_conf_t  *clcf, *here, *there;
    ngx_http_core_srv_conf_t  *cscf;

    cscf = ngx_http_get_module_srv_conf(r, ngx_http_core_module);
    clcf = cscf->ctx->loc_conf[ngx_http_core_module.ctx_index];

    here = clcf;
    there = clcf;

    (void) ngx_http_registry_find_location(clcf, &r->uri, &here);
    (void) ngx_http_registry_find_location(clcf, uri, &there);

    if (here == there || there == clcf) {
        return 1;
    }

#if (NGX_PCRE)
    if (there->regex) {
        return 0;
    }
#endif

    /* a site's "/" is about no repository, unless it is a registry */

    return there->name.len < sizeof("/v2/") - 1
           && there->handler != ngx_http_registry_handler;
}


/* as ngx_http_core_find_location(): 1 if no regular expression may follow */

static ngx_uint_t
ngx_http_registry_find_location(ngx_http_core_loc_conf_t *pclcf,
    ngx_str_t *uri, ngx_http_core_loc_conf_t **found)
{
    ngx_uint_t                  exact, noregex;
    ngx_http_core_loc_conf_t   *clcf;

#if (NGX_PCRE)
    ngx_http_core_loc_conf_t  **regex;
#endif

    noregex = 0;

    clcf = ngx_http_registry_find_static(pclcf->static_locations, uri,
                                         &exact);
    if (clcf) {
        *found = clcf;

        if (exact || ngx_http_registry_find_location(clcf, uri, found)) {
            return 1;
        }

#if (NGX_PCRE)
        noregex = clcf->noregex;
#endif
    }

#if (NGX_PCRE)

    if (noregex || pclcf->regex_locations == NULL) {
        return 0;
    }

    for (regex = pclcf->regex_locations; *regex; regex++) {

        if (ngx_regex_exec((*regex)->regex->regex, uri, NULL, 0) < 0) {
            continue;
        }

        *found = *regex;
        (void) ngx_http_registry_find_location(*regex, uri, found);

        return 1;
    }

#endif

    return 0;
}


/* as the tree of ngx_http_core_find_static_location() is laid out */

static ngx_http_core_loc_conf_t *
ngx_http_registry_find_static(ngx_http_location_tree_node_t *node,
    ngx_str_t *uri, ngx_uint_t *exact)
{
    u_char                    *p;
    size_t                     len, n;
    ngx_int_t                  rc;
    ngx_http_core_loc_conf_t  *found;

    p = uri->data;
    len = uri->len;
    found = NULL;
    *exact = 0;

    while (node) {

        n = ngx_min(len, (size_t) node->len);

        rc = ngx_filename_cmp(p, node->name, n);

        if (rc != 0) {
            node = (rc < 0) ? node->left : node->right;
            continue;
        }

        if (len < (size_t) node->len) {
            node = node->left;
            continue;
        }

        if (len == (size_t) node->len && node->exact) {
            *exact = 1;
            return node->exact;
        }

        if (len == (size_t) node->len) {
            return node->inclusive ? node->inclusive : found;
        }

        if (node->inclusive) {
            found = node->inclusive;
            p += n;
            len -= n;
            node = node->tree;
            continue;
        }

        node = node->right;
    }

    return found;
}
