
/*
 * Remotes when all is read: what they inherit from "default", and what has to
 * be right before nginx starts.
 */


#include "ngx_http_registry.h"


#define NGX_HTTP_REGISTRY_HTTPS  "https://"


static void ngx_http_registry_remote_merge(ngx_http_registry_remote_t *remote,
    ngx_http_registry_remote_t *prev);
static ngx_int_t ngx_http_registry_remote_complete(ngx_conf_t *cf,
    ngx_http_registry_main_conf_t *mcf, ngx_http_registry_remote_t *remote);
static ngx_int_t ngx_http_registry_remote_targets(ngx_conf_t *cf,
    ngx_http_registry_remote_t *remote);
static ngx_int_t ngx_http_registry_remote_target(ngx_conf_t *cf,
    ngx_http_registry_remote_t *remote, const char *what, ngx_str_t *url);
static ngx_int_t ngx_http_registry_remote_cache(ngx_conf_t *cf,
    ngx_http_registry_main_conf_t *mcf, ngx_http_registry_remote_t *remote);
static ngx_int_t ngx_http_registry_remote_unique(ngx_conf_t *cf,
    ngx_http_registry_main_conf_t *mcf, ngx_http_registry_remote_t *remote);
static ngx_int_t ngx_http_registry_remote_login(ngx_conf_t *cf,
    ngx_http_registry_remote_t *remote);
static void ngx_http_registry_remote_forget(void *data);
static ngx_uint_t ngx_http_registry_remote_is(ngx_str_t *one, ngx_str_t *name);
static ngx_int_t ngx_http_registry_remote_reachable(ngx_conf_t *cf,
    ngx_http_registry_remote_t *remote);


void
ngx_http_registry_remote_unset(ngx_http_registry_remote_t *remote)
{
    ngx_http_registry_client_t  *client;

    client = &remote->client;

    remote->valid = NGX_CONF_UNSET_MSEC;
    remote->negative = NGX_CONF_UNSET_MSEC;
    remote->stale_for = NGX_CONF_UNSET;
    remote->auth = NGX_CONF_UNSET_UINT;
    remote->library = NGX_CONF_UNSET;
    remote->proxied = NGX_CONF_UNSET;
    remote->health.enabled = NGX_CONF_UNSET;
    remote->prefetched = NGX_CONF_UNSET;

    client->allow_private = NGX_CONF_UNSET;
    client->connect_timeout = NGX_CONF_UNSET_MSEC;
    client->send_timeout = NGX_CONF_UNSET_MSEC;
    client->first_timeout = NGX_CONF_UNSET_MSEC;
    client->read_timeout = NGX_CONF_UNSET_MSEC;
    client->keepalive = NGX_CONF_UNSET_UINT;
    client->keepalive_timeout = NGX_CONF_UNSET_MSEC;
    client->ssl_verify = NGX_CONF_UNSET;
    client->ssl_verify_depth = NGX_CONF_UNSET_UINT;
}


ngx_int_t
ngx_http_registry_remotes_init(ngx_conf_t *cf,
    ngx_http_registry_main_conf_t *mcf)
{
    ngx_uint_t                    i;
    ngx_http_registry_remote_t   *none, **remote;

    if (mcf->remotes.nelts == 0) {
        return NGX_OK;
    }

    if (ngx_http_registry_via_init(cf->log) != NGX_OK
        || ngx_http_registry_push_init(cf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    none = mcf->remote_default;

    if (none == NULL) {
        none = ngx_pcalloc(cf->pool, sizeof(ngx_http_registry_remote_t));
        if (none == NULL) {
            return NGX_ERROR;
        }

        ngx_http_registry_remote_unset(none);
    }

    remote = mcf->remotes.elts;

    for (i = 0; i < mcf->remotes.nelts; i++) {
        ngx_http_registry_remote_merge(remote[i], none);

        if (ngx_http_registry_remote_complete(cf, mcf, remote[i]) != NGX_OK
            || ngx_http_registry_remote_unique(cf, mcf, remote[i]) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static void
ngx_http_registry_remote_merge(ngx_http_registry_remote_t *remote,
    ngx_http_registry_remote_t *prev)
{
    ngx_http_registry_client_t  *client, *p;

    client = &remote->client;
    p = &prev->client;

    ngx_conf_merge_str_value(remote->cache, prev->cache, "");
    ngx_conf_merge_str_value(remote->ssl_name, prev->ssl_name, "");
    ngx_conf_merge_msec_value(remote->valid, prev->valid, 60000);
    ngx_conf_merge_msec_value(remote->negative, prev->negative, 5000);
    ngx_conf_merge_sec_value(remote->stale_for, prev->stale_for,
                             7 * 24 * 60 * 60);
    ngx_conf_merge_uint_value(remote->auth, prev->auth,
                              NGX_HTTP_REGISTRY_AUTH_EDGE);
    ngx_conf_merge_str_value(remote->credentials, prev->credentials, "");
    ngx_conf_merge_value(remote->library, prev->library,
                         ngx_strcmp(remote->name.data, "docker.io") == 0);

    if (remote->use_stale == 0) {
        remote->use_stale = prev->use_stale ? prev->use_stale
                                            : NGX_HTTP_REGISTRY_STALE_ERROR
                                              |NGX_HTTP_REGISTRY_STALE_TIMEOUT
                                              |NGX_HTTP_REGISTRY_STALE_429
                                              |NGX_HTTP_REGISTRY_STALE_5XX;
    }

    ngx_conf_merge_value(client->allow_private, p->allow_private, 0);
    ngx_conf_merge_msec_value(client->connect_timeout, p->connect_timeout,
                              10000);
    ngx_conf_merge_msec_value(client->send_timeout, p->send_timeout, 30000);
    ngx_conf_merge_msec_value(client->first_timeout, p->first_timeout, 30000);
    ngx_conf_merge_msec_value(client->read_timeout, p->read_timeout, 30000);
    ngx_conf_merge_uint_value(client->keepalive, p->keepalive, 16);
    ngx_conf_merge_msec_value(client->keepalive_timeout, p->keepalive_timeout,
                              60000);

    ngx_conf_merge_value(client->ssl_verify, p->ssl_verify, 1);
    ngx_conf_merge_uint_value(client->ssl_verify_depth, p->ssl_verify_depth,
                              5);
    ngx_conf_merge_str_value(client->ssl_trusted_certificate,
                             p->ssl_trusted_certificate, "");
    ngx_conf_merge_str_value(client->ssl_certificate, p->ssl_certificate, "");
    ngx_conf_merge_str_value(client->ssl_certificate_key,
                             p->ssl_certificate_key, "");

    if (remote->proxied == NGX_CONF_UNSET) {
        remote->proxied = (prev->proxied == 1);
        client->proxy = p->proxy;
        client->proxy_credentials = p->proxy_credentials;
        client->no_proxy = p->no_proxy;
    }

    if (client->tp == NULL) {
        client->tp = p->tp;
    }

    if (remote->health.enabled == NGX_CONF_UNSET) {
        remote->health = prev->health;
        remote->health.inherited = 1;
    }

    /* nobody's credentials are used for what he did not ask for himself */

    if (remote->prefetched == NGX_CONF_UNSET) {
        remote->prefetched = (prev->prefetched == 1
                              && remote->auth == NGX_HTTP_REGISTRY_AUTH_EDGE);
        remote->platforms = prev->platforms;
    }
}


static ngx_int_t
ngx_http_registry_remote_complete(ngx_conf_t *cf,
    ngx_http_registry_main_conf_t *mcf, ngx_http_registry_remote_t *remote)
{
    ngx_http_registry_client_t  *client;

    client = &remote->client;

    client->name = remote->name;
    client->file = remote->file;
    client->line = remote->line;

    remote->zone = &mcf->zone;
    remote->memcached = mcf->memcached;

    if (client->tp == NULL) {
        client->tp = ngx_thread_pool_add(cf, NULL);
        if (client->tp == NULL) {
            return NGX_ERROR;
        }
    }

    if (ngx_http_registry_count_add(&mcf->zone, cf->pool, &remote->name,
                                    NGX_HTTP_REGISTRY_COUNT_MAX,
                                    &remote->counters)
        != NGX_OK
        || ngx_http_registry_remote_targets(cf, remote) != NGX_OK
        || ngx_http_registry_remote_cache(cf, mcf, remote) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if ((client->ssl_certificate.len == 0)
        != (client->ssl_certificate_key.len == 0))
    {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"ssl_certificate\" and \"ssl_certificate_key\" go "
                      "together in registry_remote \"%V\" in %s:%ui",
                      &remote->name, remote->file, remote->line);
        return NGX_ERROR;
    }

    if (remote->prefetched) {

        if (remote->auth == NGX_HTTP_REGISTRY_AUTH_CLIENT) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "\"prefetch\" cannot go with \"auth client\", "
                          "since it has no credentials of its own, in "
                          "registry_remote \"%V\" in %s:%ui",
                          &remote->name, remote->file, remote->line);
            return NGX_ERROR;
        }

        remote->prefetch = ngx_http_registry_prefetch_create(cf->pool);
        if (remote->prefetch == NULL) {
            return NGX_ERROR;
        }
    }

    return ngx_http_registry_remote_login(cf, remote);
}


/* the first one is "url", or else made of the name; then "push_url" */

static ngx_int_t
ngx_http_registry_remote_targets(ngx_conf_t *cf,
    ngx_http_registry_remote_t *remote)
{
    u_char  *p;

    if (remote->url.len == 0) {
        remote->url.len = sizeof(NGX_HTTP_REGISTRY_HTTPS) - 1
                          + remote->name.len;
        remote->url.data = ngx_pnalloc(cf->pool, remote->url.len);
        if (remote->url.data == NULL) {
            return NGX_ERROR;
        }

        p = ngx_cpymem(remote->url.data, NGX_HTTP_REGISTRY_HTTPS,
                       sizeof(NGX_HTTP_REGISTRY_HTTPS) - 1);
        ngx_memcpy(p, remote->name.data, remote->name.len);
    }

    if (ngx_http_registry_remote_target(cf, remote, "url", &remote->url)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return remote->push_url.len
           ? ngx_http_registry_remote_target(cf, remote, "push_url",
                                             &remote->push_url)
           : NGX_OK;
}


static ngx_int_t
ngx_http_registry_remote_target(ngx_conf_t *cf,
    ngx_http_registry_remote_t *remote, const char *what, ngx_str_t *url)
{
    registry_str_t               text, shown;
    ngx_http_registry_target_t  *target;

    target = ngx_array_push(&remote->client.targets);
    if (target == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(target, sizeof(ngx_http_registry_target_t));

    text.data = (char *) url->data;
    text.len = url->len;

    if (registry_url_parse(text, &target->url) != REGISTRY_OK
        || memchr(target->url.path.data, '?', target->url.path.len))
    {
        shown = registry_url_shown(text);

        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"%s\" of registry_remote \"%V\" is no URL of http or "
                      "https without user and query: \"%*s\" in %s:%ui",
                      what, &remote->name, shown.len, shown.data,
                      remote->file, remote->line);
        return NGX_ERROR;
    }

    target->ssl_name = remote->ssl_name;

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_remote_cache(ngx_conf_t *cf,
    ngx_http_registry_main_conf_t *mcf, ngx_http_registry_remote_t *remote)
{
    if (remote->cache.len == 0) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "registry_remote \"%V\" has no \"cache\" in %s:%ui",
                      &remote->name, remote->file, remote->line);
        return NGX_ERROR;
    }

    remote->store = ngx_http_registry_find_store(mcf, &remote->cache);

    if (remote->store == NULL || remote->store->evict == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"%V\" is no registry_cache, in registry_remote "
                      "\"%V\" in %s:%ui", &remote->cache, &remote->name,
                      remote->file, remote->line);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_remote_unique(ngx_conf_t *cf,
    ngx_http_registry_main_conf_t *mcf, ngx_http_registry_remote_t *remote)
{
    ngx_str_t                   *alias;
    ngx_uint_t                   i;
    ngx_http_registry_remote_t  *other;

    other = ngx_http_registry_find_remote(mcf, &remote->name);
    alias = remote->aliases.elts;

    for (i = 0; other == remote && i < remote->aliases.nelts; i++) {
        other = ngx_http_registry_find_remote(mcf, &alias[i]);
    }

    if (other == remote) {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                  "registry_remote \"%V\" in %s:%ui has a namespace of "
                  "registry_remote \"%V\" in %s:%ui", &remote->name,
                  remote->file, remote->line, &other->name, other->file,
                  other->line);

    return NGX_ERROR;
}


/* keys of a config.json: the namespace, its aliases, the host of the URL */

static ngx_int_t
ngx_http_registry_remote_login(ngx_conf_t *cf,
    ngx_http_registry_remote_t *remote)
{
    ngx_str_t                   *alias;
    ngx_uint_t                   i;
    const char                  *reason;
    registry_str_t              *host;
    ngx_pool_cleanup_t          *cln;
    ngx_http_registry_login_t   *login;
    ngx_http_registry_target_t  *target;

    if (remote->credentials.len == 0) {
        return NGX_OK;
    }

    login = &remote->login;

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    host = ngx_palloc(cf->pool, (remote->aliases.nelts + 2)
                                * sizeof(registry_str_t));
    if (cln == NULL || host == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_http_registry_remote_forget;
    cln->data = login;

    login->path = remote->credentials;
    login->hosts = host;
    login->nhosts = remote->aliases.nelts + 2;

    host->data = (char *) remote->name.data;
    host++->len = remote->name.len;

    alias = remote->aliases.elts;

    for (i = 0; i < remote->aliases.nelts; i++) {
        host->data = (char *) alias[i].data;
        host++->len = alias[i].len;
    }

    target = remote->client.targets.elts;
    *host = target->url.authority;

    if (ngx_http_registry_login_read(login, cf->log, &reason) != NGX_OK) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "credentials \"%V\" of registry_remote \"%V\" in "
                      "%s:%ui: the file %s", &login->path, &remote->name,
                      remote->file, remote->line, reason);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_http_registry_remote_forget(void *data)
{
    ngx_http_registry_login_forget(data);
}


ngx_http_registry_remote_t *
ngx_http_registry_find_remote(ngx_http_registry_main_conf_t *mcf,
    ngx_str_t *name)
{
    ngx_str_t                    *alias;
    ngx_uint_t                    i, n;
    ngx_http_registry_remote_t  **remote;

    remote = mcf->remotes.elts;

    for (i = 0; i < mcf->remotes.nelts; i++) {

        if (ngx_http_registry_remote_is(&remote[i]->name, name)) {
            return remote[i];
        }

        alias = remote[i]->aliases.elts;

        for (n = 0; n < remote[i]->aliases.nelts; n++) {
            if (ngx_http_registry_remote_is(&alias[n], name)) {
                return remote[i];
            }
        }
    }

    return NULL;
}


/* as it is written, most of the time */

static ngx_uint_t
ngx_http_registry_remote_is(ngx_str_t *one, ngx_str_t *name)
{
    return one->len == name->len
           && (ngx_memcmp(one->data, name->data, name->len) == 0
               || ngx_strncasecmp(one->data, name->data, name->len) == 0);
}


ngx_int_t
ngx_http_registry_remotes_start(ngx_conf_t *cf,
    ngx_http_registry_main_conf_t *mcf)
{
    ngx_uint_t                    i;
    ngx_http_core_loc_conf_t     *clcf;
    ngx_http_registry_client_t   *client;
    ngx_http_registry_remote_t  **remote;

    remote = mcf->remotes.elts;

    for (i = 0; i < mcf->remotes.nelts; i++) {
        client = &remote[i]->client;

        /* no location answers for it */

        if (client->loc_conf == NULL) {
            continue;
        }

        clcf = client->loc_conf[ngx_http_core_module.ctx_index];

        /* without "resolver" the core makes one without servers */

        if (clcf->resolver && clcf->resolver->connections.nelts) {
            client->resolver = clcf->resolver;
        }

        client->resolver_timeout = clcf->resolver_timeout;

        if (ngx_http_registry_client_init(cf, client) != NGX_CONF_OK) {
            return NGX_ERROR;
        }

        /* of what is never asked a copy that goes does not come back */

        if (!remote[i]->online) {
            remote[i]->store->offline = 1;
            continue;
        }

        if (ngx_http_registry_remote_reachable(cf, remote[i]) != NGX_OK
            || ngx_http_registry_health_add(cf, &mcf->health, client,
                                            &remote[i]->health)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    /* and where others put something in, limits hold */

    for (i = 0; i < mcf->remotes.nelts; i++) {
        if (remote[i]->online) {
            remote[i]->store->offline = 0;
        }
    }

    return NGX_OK;
}


/* a name has to mean something: to a resolver, an upstream or a proxy */

static ngx_int_t
ngx_http_registry_remote_reachable(ngx_conf_t *cf,
    ngx_http_registry_remote_t *remote)
{
    ngx_str_t                    host;
    ngx_uint_t                   i;
    ngx_http_registry_target_t  *target;

    if (remote->client.resolver || remote->proxied) {
        return NGX_OK;
    }

    target = remote->client.targets.elts;

    for (i = 0; i < remote->client.targets.nelts; i++) {
        host.data = (u_char *) target[i].url.host.data;
        host.len = target[i].url.host.len;

        if (target[i].upstream || target[i].url.ipv6
            || ngx_inet_addr(host.data, host.len) != INADDR_NONE)
        {
            continue;
        }

        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "host \"%V\" of registry_remote \"%V\" in %s:%ui is "
                      "neither an address nor an upstream, and there is no "
                      "\"resolver\" or \"http_proxy\"", &host,
                      &remote->name, remote->file, remote->line);
        return NGX_ERROR;
    }

    return NGX_OK;
}
