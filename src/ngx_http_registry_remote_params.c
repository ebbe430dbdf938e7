
/*
 * registry_remote {}: reading it.
 */


#include "ngx_http_registry.h"

#include "ngx_http_registry_block.h"


static char *ngx_http_registry_remote_alias(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_registry_remote_valid(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_registry_remote_use_stale(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_registry_remote_file(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_registry_remote_proxy(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_registry_remote_no_proxy(ngx_conf_t *cf,
    ngx_http_registry_remote_t *remote, ngx_str_t *list);
static char *ngx_http_registry_remote_prefetch(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_http_registry_remote_threads(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static ngx_int_t ngx_http_registry_remote_name(ngx_conf_t *cf,
    ngx_http_registry_remote_t *remote);
static ngx_uint_t ngx_http_registry_remote_host(ngx_str_t *name);


static ngx_conf_enum_t  ngx_http_registry_remote_auth[] = {
    { ngx_string("edge"), NGX_HTTP_REGISTRY_AUTH_EDGE },
    { ngx_string("client"), NGX_HTTP_REGISTRY_AUTH_CLIENT },
    { ngx_null_string, 0 }
};


static ngx_conf_bitmask_t  ngx_http_registry_remote_conditions[] = {
    { ngx_string("off"), NGX_HTTP_REGISTRY_STALE_OFF },
    { ngx_string("error"), NGX_HTTP_REGISTRY_STALE_ERROR },
    { ngx_string("timeout"), NGX_HTTP_REGISTRY_STALE_TIMEOUT },
    { ngx_string("http_429"), NGX_HTTP_REGISTRY_STALE_429 },
    { ngx_string("http_5xx"), NGX_HTTP_REGISTRY_STALE_5XX },
    { ngx_string("updating"), NGX_HTTP_REGISTRY_STALE_UPDATING },
    { ngx_null_string, 0 }
};


#define ngx_http_registry_remote_param(name, set, field)                      \
    { ngx_string(name), NGX_CONF_TAKE1, set, 0,                               \
      offsetof(ngx_http_registry_remote_t, field), NULL }


static ngx_command_t  ngx_http_registry_remote_params[] = {

    ngx_http_registry_remote_param("url", ngx_conf_set_str_slot, url),
    ngx_http_registry_remote_param("push_url", ngx_conf_set_str_slot,
                                   push_url),
    ngx_http_registry_remote_param("cache", ngx_conf_set_str_slot, cache),
    ngx_http_registry_remote_param("credentials",
                                   ngx_http_registry_remote_file,
                                   credentials),
    ngx_http_registry_remote_param("library", ngx_conf_set_flag_slot,
                                   library),
    ngx_http_registry_remote_param("allow_private", ngx_conf_set_flag_slot,
                                   client.allow_private),

    { ngx_string("alias"), NGX_CONF_1MORE, ngx_http_registry_remote_alias,
      0, 0, NULL },

    { ngx_string("valid"), NGX_CONF_TAKE12, ngx_http_registry_remote_valid,
      0, 0, NULL },

    { ngx_string("use_stale"), NGX_CONF_1MORE,
      ngx_http_registry_remote_use_stale, 0, 0, NULL },

    { ngx_string("auth"), NGX_CONF_TAKE1, ngx_conf_set_enum_slot, 0,
      offsetof(ngx_http_registry_remote_t, auth),
      ngx_http_registry_remote_auth },

    { ngx_string("http_proxy"), NGX_CONF_1MORE,
      ngx_http_registry_remote_proxy, 0, 0, NULL },

    { ngx_string("health_check"),
      NGX_CONF_NOARGS|NGX_CONF_TAKE1|NGX_CONF_TAKE2|NGX_CONF_TAKE3
      |NGX_CONF_TAKE4|NGX_CONF_TAKE5,
      ngx_http_registry_health_slot,
      0, offsetof(ngx_http_registry_remote_t, health), NULL },

    { ngx_string("prefetch"), NGX_CONF_1MORE,
      ngx_http_registry_remote_prefetch, 0, 0, NULL },

    { ngx_string("threads"), NGX_CONF_TAKE1,
      ngx_http_registry_remote_threads, 0, 0, NULL },

    ngx_http_registry_remote_param("connect_timeout", ngx_conf_set_msec_slot,
                                   client.connect_timeout),
    ngx_http_registry_remote_param("send_timeout", ngx_conf_set_msec_slot,
                                   client.send_timeout),
    ngx_http_registry_remote_param("response_timeout",
                                   ngx_conf_set_msec_slot,
                                   client.first_timeout),
    ngx_http_registry_remote_param("read_timeout", ngx_conf_set_msec_slot,
                                   client.read_timeout),
    ngx_http_registry_remote_param("keepalive", ngx_conf_set_num_slot,
                                   client.keepalive),
    ngx_http_registry_remote_param("keepalive_timeout",
                                   ngx_conf_set_msec_slot,
                                   client.keepalive_timeout),

    ngx_http_registry_remote_param("ssl_name", ngx_conf_set_str_slot,
                                   ssl_name),
    ngx_http_registry_remote_param("ssl_verify", ngx_conf_set_flag_slot,
                                   client.ssl_verify),
    ngx_http_registry_remote_param("ssl_verify_depth", ngx_conf_set_num_slot,
                                   client.ssl_verify_depth),
    ngx_http_registry_remote_param("ssl_trusted_certificate",
                                   ngx_http_registry_remote_file,
                                   client.ssl_trusted_certificate),
    ngx_http_registry_remote_param("ssl_certificate",
                                   ngx_http_registry_remote_file,
                                   client.ssl_certificate),
    ngx_http_registry_remote_param("ssl_certificate_key",
                                   ngx_http_registry_remote_file,
                                   client.ssl_certificate_key),

      ngx_null_command
};


char *
ngx_http_registry_remote(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_registry_main_conf_t *mcf = conf;

    char                         *rv;
    ngx_str_t                    *value;
    ngx_http_registry_remote_t   *remote, **remotes;

    value = cf->args->elts;

    remote = ngx_pcalloc(cf->pool, sizeof(ngx_http_registry_remote_t));
    if (remote == NULL) {
        return NGX_CONF_ERROR;
    }

    remote->name = value[1];
    remote->file = cf->conf_file->file.name.data;
    remote->line = cf->conf_file->line;

    if (ngx_array_init(&remote->aliases, cf->pool, 2, sizeof(ngx_str_t))
        != NGX_OK
        || ngx_array_init(&remote->client.targets, cf->pool, 2,
                          sizeof(ngx_http_registry_target_t))
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    ngx_http_registry_remote_unset(remote);

    if (ngx_strcmp(value[1].data, "default") == 0) {

        if (mcf->remote_default) {
            return "is duplicate";
        }

        mcf->remote_default = remote;

    } else {
        if (ngx_http_registry_remote_name(cf, remote) != NGX_OK) {
            return NGX_CONF_ERROR;
        }

        remotes = ngx_array_push(&mcf->remotes);
        if (remotes == NULL) {
            return NGX_CONF_ERROR;
        }

        *remotes = remote;
    }

    rv = ngx_http_registry_block(cf, ngx_http_registry_remote_params,
                                 "registry_remote", remote);

    if (rv == NGX_CONF_OK && remote == mcf->remote_default
        && (remote->url.data || remote->push_url.data
            || remote->aliases.nelts))
    {
        return "default cannot have \"url\", \"push_url\" or \"alias\"";
    }

    return rv;
}


/* a namespace is a host, perhaps with a port, as image references have it */

static ngx_int_t
ngx_http_registry_remote_name(ngx_conf_t *cf,
    ngx_http_registry_remote_t *remote)
{
    u_char      *p, *last;
    ngx_str_t   *name;

    name = &remote->name;

    ngx_strlow(name->data, name->data, name->len);

    if (!ngx_http_registry_remote_host(name)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid name of a registry_remote \"%V\": it is "
                           "a host, as in \"docker.io\" or \"host:5000\"",
                           name);
        return NGX_ERROR;
    }

    remote->dir.len = name->len;
    remote->dir.data = ngx_pstrdup(cf->pool, name);
    if (remote->dir.data == NULL) {
        return NGX_ERROR;
    }

    last = remote->dir.data + remote->dir.len;

    p = ngx_strlchr(remote->dir.data, last, ':');
    if (p) {
        *p = '_';
    }

    remote->id = ngx_murmur_hash2(name->data, name->len);

    return NGX_OK;
}


/*
 * With "_" for ":" it is a component of a repository's name, and no host has
 * a "_": so it cannot be taken for another one.  "all" and "off" are what
 * "registry_proxy" takes for others.
 */

static ngx_uint_t
ngx_http_registry_remote_host(ngx_str_t *name)
{
    u_char          *p;
    ngx_int_t        port;
    ngx_str_t        host;
    registry_str_t   text;

    host = *name;

    p = ngx_strlchr(host.data, host.data + host.len, ':');

    if (p) {
        host.len = p - host.data;
        port = ngx_atoi(p + 1, name->len - host.len - 1);

        if (port < 1 || port > 65535) {
            return 0;
        }
    }

    text.data = (char *) host.data;
    text.len = host.len;

    return registry_name_valid(text) && name->len < REGISTRY_HOST_MAX
           && ngx_strcmp(name->data, "all") != 0
           && ngx_strcmp(name->data, "off") != 0
           && ngx_strlchr(host.data, host.data + host.len, '_') == NULL
           && ngx_strlchr(host.data, host.data + host.len, '/') == NULL;
}


static char *
ngx_http_registry_remote_alias(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_registry_remote_t *remote = conf;

    ngx_str_t   *value, *alias;
    ngx_uint_t   i;

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        ngx_strlow(value[i].data, value[i].data, value[i].len);

        if (!ngx_http_registry_remote_host(&value[i])) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid alias \"%V\"",
                               &value[i]);
            return NGX_CONF_ERROR;
        }

        alias = ngx_array_push(&remote->aliases);
        if (alias == NULL) {
            return NGX_CONF_ERROR;
        }

        *alias = value[i];
    }

    return NGX_CONF_OK;
}


/* "valid 60s", "valid 404 5s" */

static char *
ngx_http_registry_remote_valid(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_registry_remote_t *remote = conf;

    ngx_int_t    ms;
    ngx_str_t   *value;
    ngx_msec_t  *valid;

    value = cf->args->elts;
    valid = &remote->valid;

    if (cf->args->nelts == 3) {
        if (ngx_strcmp(value[1].data, "404") != 0) {
            return "knows no other status than 404";
        }

        valid = &remote->negative;
    }

    if (*valid != NGX_CONF_UNSET_MSEC) {
        return "is duplicate";
    }

    ms = ngx_parse_time(&value[cf->args->nelts - 1], 0);
    if (ms == NGX_ERROR) {
        return "has an invalid time";
    }

    *valid = ms;

    return NGX_CONF_OK;
}


static char *
ngx_http_registry_remote_use_stale(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_registry_remote_t *remote = conf;

    ngx_str_t           *value, text;
    ngx_uint_t           i;
    ngx_conf_bitmask_t  *mask;

    if (remote->use_stale) {
        return "is duplicate";
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "for=", 4) == 0) {
            text.data = value[i].data + 4;
            text.len = value[i].len - 4;

            remote->stale_for = ngx_parse_time(&text, 1);

            if (remote->stale_for == (time_t) NGX_ERROR) {
                return "has an invalid time";
            }

            continue;
        }

        for (mask = ngx_http_registry_remote_conditions; mask->name.len; mask++) {
            if (mask->name.len == value[i].len
                && ngx_strcmp(mask->name.data, value[i].data) == 0)
            {
                remote->use_stale |= mask->mask;
                break;
            }
        }

        if (mask->name.len == 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid value \"%V\" in \"use_stale\"",
                               &value[i]);
            return NGX_CONF_ERROR;
        }
    }

    if ((remote->use_stale & NGX_HTTP_REGISTRY_STALE_OFF)
        && cf->args->nelts > 2)
    {
        return "\"off\" stands alone";
    }

    return remote->use_stale ? NGX_CONF_OK : "names no condition";
}


static char *
ngx_http_registry_remote_file(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char       *rv;
    ngx_str_t  *path;

    rv = ngx_conf_set_str_slot(cf, cmd, conf);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    path = (ngx_str_t *) ((char *) conf + cmd->offset);

    return ngx_conf_full_name(cf->cycle, path, 1) == NGX_OK ? NGX_CONF_OK
                                                            : NGX_CONF_ERROR;
}


/* "http://host:port [credentials=file] [no_proxy=a,b]", or "off" */

static char *
ngx_http_registry_remote_proxy(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_registry_remote_t *remote = conf;

    char                        *rv;
    ngx_str_t                   *value, text;
    ngx_uint_t                   i;
    registry_str_t               url;
    ngx_http_registry_client_t  *client;

    if (remote->proxied != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    value = cf->args->elts;
    client = &remote->client;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        remote->proxied = 0;
        return (cf->args->nelts == 2) ? NGX_CONF_OK : "\"off\" stands alone";
    }

    remote->proxied = 1;

    url.data = (char *) value[1].data;
    url.len = value[1].len;

    if (registry_url_parse(url, &client->proxy) != REGISTRY_OK
        || client->proxy.https || client->proxy.path.len != 1)
    {
        return "wants an URL \"http://host:port\"";
    }

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "credentials=", 12) == 0) {
            text.data = value[i].data + 12;
            text.len = value[i].len - 12;

            if (ngx_conf_full_name(cf->cycle, &text, 1) != NGX_OK) {
                return NGX_CONF_ERROR;
            }

            client->proxy_credentials = text;
            continue;
        }

        if (ngx_strncmp(value[i].data, "no_proxy=", 9) == 0) {
            text.data = value[i].data + 9;
            text.len = value[i].len - 9;

            rv = ngx_http_registry_remote_no_proxy(cf, remote, &text);
            if (rv != NGX_CONF_OK) {
                return rv;
            }

            continue;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in \"http_proxy\"",
                           &value[i]);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_registry_remote_no_proxy(ngx_conf_t *cf,
    ngx_http_registry_remote_t *remote, ngx_str_t *list)
{
    u_char      *p, *last, *end;
    ngx_str_t   *host;

    remote->client.no_proxy = ngx_array_create(cf->pool, 4,
                                               sizeof(ngx_str_t));
    if (remote->client.no_proxy == NULL) {
        return NGX_CONF_ERROR;
    }

    last = list->data + list->len;

    for (p = list->data; p < last; p = end + 1) {
        end = ngx_strlchr(p, last, ',');
        if (end == NULL) {
            end = last;
        }

        if (end == p) {
            continue;
        }

        host = ngx_array_push(remote->client.no_proxy);
        if (host == NULL) {
            return NGX_CONF_ERROR;
        }

        host->data = p;
        host->len = end - p;
    }

    return NGX_CONF_OK;
}


/* "linux/amd64 linux/arm64/v8", or "all", or "off" */

static char *
ngx_http_registry_remote_prefetch(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_registry_remote_t *remote = conf;

    ngx_str_t            *value;
    ngx_uint_t            i, all;
    registry_str_t        text;
    registry_platform_t  *platform;

    if (remote->prefetched != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    value = cf->args->elts;

    all = (ngx_strcmp(value[1].data, "all") == 0);

    if (all || ngx_strcmp(value[1].data, "off") == 0) {
        remote->prefetched = all;
        return (cf->args->nelts == 2) ? NGX_CONF_OK
                                      : "\"all\" and \"off\" stand alone";
    }

    remote->prefetched = 1;
    remote->platforms = ngx_array_create(cf->pool, cf->args->nelts - 1,
                                         sizeof(registry_platform_t));
    if (remote->platforms == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 1; i < cf->args->nelts; i++) {
        text.data = (char *) value[i].data;
        text.len = value[i].len;

        platform = ngx_array_push(remote->platforms);

        if (registry_platform_parse(text, platform) != REGISTRY_OK) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid platform \"%V\" in \"prefetch\", it "
                               "is as \"linux/amd64\" or \"linux/arm64/v8\"",
                               &value[i]);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_registry_remote_threads(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_registry_remote_t *remote = conf;

    ngx_str_t  *value;

    if (remote->client.tp) {
        return "is duplicate";
    }

    value = cf->args->elts;

    remote->client.tp = ngx_thread_pool_add(cf, &value[1]);

    return remote->client.tp ? NGX_CONF_OK : NGX_CONF_ERROR;
}
