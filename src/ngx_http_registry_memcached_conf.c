
/*
 * The "registry_memcached" directive.  Servers are not looked up here: a dead
 * name server keeps nobody from starting.
 */


#include "ngx_http_registry_memcached.h"

#include "registry_envelope.h"


#define NGX_HTTP_REGISTRY_MEMCACHED_PORT     11211
#define NGX_HTTP_REGISTRY_MEMCACHED_SERVERS  64     /* libmemcached: 100 */
#define NGX_HTTP_REGISTRY_MEMCACHED_SECRET   4096   /* bytes at most */
#define NGX_HTTP_REGISTRY_MEMCACHED_HOST     255
#define NGX_HTTP_REGISTRY_MEMCACHED_TIME     (60 * 60 * 1000)


typedef struct {
    ngx_str_t    name;
    char      *(*set)(ngx_conf_t *cf, ngx_http_registry_memcached_t *mc,
                      ngx_str_t *value);
} ngx_http_registry_memcached_param_t;


static ngx_int_t ngx_http_registry_memcached_param(ngx_conf_t *cf,
    ngx_http_registry_memcached_t *mc, ngx_str_t *value);
static char *ngx_http_registry_memcached_server(ngx_conf_t *cf,
    ngx_http_registry_memcached_t *mc, ngx_str_t *value);
static char *ngx_http_registry_memcached_key(ngx_conf_t *cf,
    ngx_http_registry_memcached_t *mc, ngx_str_t *value);
static char *ngx_http_registry_memcached_timeout(ngx_conf_t *cf,
    ngx_http_registry_memcached_t *mc, ngx_str_t *value);
static char *ngx_http_registry_memcached_fail_timeout(ngx_conf_t *cf,
    ngx_http_registry_memcached_t *mc, ngx_str_t *value);
static char *ngx_http_registry_memcached_time(ngx_str_t *value,
    ngx_msec_t *msec);
static char *ngx_http_registry_memcached_prefix(ngx_conf_t *cf,
    ngx_http_registry_memcached_t *mc, ngx_str_t *value);
static char *ngx_http_registry_memcached_threads(ngx_conf_t *cf,
    ngx_http_registry_memcached_t *mc, ngx_str_t *value);


static ngx_http_registry_memcached_param_t
    ngx_http_registry_memcached_params[] =
{
    { ngx_string("key="), ngx_http_registry_memcached_key },
    { ngx_string("timeout="), ngx_http_registry_memcached_timeout },
    { ngx_string("fail_timeout="), ngx_http_registry_memcached_fail_timeout },
    { ngx_string("prefix="), ngx_http_registry_memcached_prefix },
    { ngx_string("threads="), ngx_http_registry_memcached_threads },
    { ngx_string(""), ngx_http_registry_memcached_server }
};


char *
ngx_http_registry_memcached_slot(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    char  *p = conf;

    ngx_str_t                       *value;
    ngx_uint_t                       i;
    ngx_pool_cleanup_t              *cln;
    ngx_http_registry_memcached_t   *mc, **slot;

    slot = (ngx_http_registry_memcached_t **) (p + cmd->offset);

    if (*slot) {
        return "is duplicate";
    }

    cln = ngx_pool_cleanup_add(cf->pool, sizeof(*mc));
    if (cln == NULL) {
        return NGX_CONF_ERROR;
    }

    mc = cln->data;

    ngx_memzero(mc, sizeof(*mc));

    cln->handler = ngx_http_registry_memcached_cleanup;

    mc->timeout = 50;
    mc->fail_timeout = 10000;
    ngx_str_set(&mc->prefix, "registry:");

    if (ngx_array_init(&mc->servers, cf->pool, 4,
                       sizeof(ngx_http_registry_memcached_server_t))
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        if (ngx_http_registry_memcached_param(cf, mc, &value[i]) != NGX_OK) {
            return NGX_CONF_ERROR;
        }
    }

    if (mc->servers.nelts == 0) {
        return "has no servers";
    }

    if (mc->tp == NULL) {
        mc->tp = ngx_thread_pool_add(cf, NULL);

        if (mc->tp == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    *slot = mc;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_registry_memcached_param(ngx_conf_t *cf,
    ngx_http_registry_memcached_t *mc, ngx_str_t *value)
{
    char                                 *rv;
    ngx_str_t                             arg;
    ngx_http_registry_memcached_param_t  *param;

    /* the last one, a server, is any */

    for (param = ngx_http_registry_memcached_params; param->name.len; param++)
    {
        if (ngx_strncmp(value->data, param->name.data, param->name.len) == 0) {
            break;
        }
    }

    arg.data = value->data + param->name.len;
    arg.len = value->len - param->name.len;

    rv = param->set(cf, mc, &arg);

    if (rv == NGX_CONF_OK) {
        return NGX_OK;
    }

    if (rv != NGX_CONF_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "%s \"%V\"", rv, value);
    }

    return NGX_ERROR;
}


static char *
ngx_http_registry_memcached_server(ngx_conf_t *cf,
    ngx_http_registry_memcached_t *mc, ngx_str_t *value)
{
    ngx_url_t                              u;
    ngx_uint_t                             i;
    ngx_http_registry_memcached_server_t  *server, *other;

    if (ngx_strncmp(value->data, "unix:", 5) != 0
        && ngx_strchr(value->data, '='))
    {
        return "invalid parameter";
    }

    ngx_memzero(&u, sizeof(ngx_url_t));

    u.url = *value;
    u.default_port = NGX_HTTP_REGISTRY_MEMCACHED_PORT;
    u.no_resolve = 1;

    if (ngx_parse_url(cf->pool, &u) != NGX_OK) {

        if (u.err) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "%s in memcached server \"%V\"", u.err, value);
        }

        return NGX_CONF_ERROR;
    }

    if (u.host.len > NGX_HTTP_REGISTRY_MEMCACHED_HOST) {
        return "too long a name of a memcached server";
    }

    other = mc->servers.elts;

    for (i = 0; i < mc->servers.nelts; i++) {
        if (other[i].port == u.port
            && ngx_strlen(other[i].host) == u.host.len
            && ngx_strncasecmp((u_char *) other[i].host, u.host.data,
                               u.host.len)
               == 0)
        {
            return "duplicate memcached server";
        }
    }

    if (mc->servers.nelts == NGX_HTTP_REGISTRY_MEMCACHED_SERVERS) {
        return "too many memcached servers, from";
    }

    server = ngx_array_push(&mc->servers);
    if (server == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(server, sizeof(ngx_http_registry_memcached_server_t));

    server->name = *value;
    server->port = u.port;

    server->host = ngx_pnalloc(cf->pool, u.host.len + 1);
    if (server->host == NULL) {
        return NGX_CONF_ERROR;
    }

    (void) ngx_cpystrn((u_char *) server->host, u.host.data, u.host.len + 1);

    return NGX_CONF_OK;
}


/* the bytes of a file, without the end of its last line */

static char *
ngx_http_registry_memcached_key(ngx_conf_t *cf,
    ngx_http_registry_memcached_t *mc, ngx_str_t *value)
{
    u_char     *p;
    ssize_t     n;
    ngx_fd_t    fd;
    ngx_str_t   name;

    name = *value;

    if (ngx_conf_full_name(cf->cycle, &name, 1) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    p = ngx_pnalloc(cf->pool, NGX_HTTP_REGISTRY_MEMCACHED_SECRET + 1);
    if (p == NULL) {
        return NGX_CONF_ERROR;
    }

    fd = ngx_open_file(name.data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);
    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_open_file_n " \"%V\" failed", &name);
        return NGX_CONF_ERROR;
    }

    n = ngx_read_fd(fd, p, NGX_HTTP_REGISTRY_MEMCACHED_SECRET + 1);

    if (n == -1) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_read_fd_n " \"%V\" failed", &name);
    }

    if (ngx_close_file(fd) == NGX_FILE_ERROR) {
        ngx_conf_log_error(NGX_LOG_ALERT, cf, ngx_errno,
                           ngx_close_file_n " \"%V\" failed", &name);
    }

    if (n == -1) {
        return NGX_CONF_ERROR;
    }

    if (n > NGX_HTTP_REGISTRY_MEMCACHED_SECRET) {
        return "a key of more than 4096 bytes in";
    }

    if (n && p[n - 1] == LF) {
        n--;
    }

    if (n && p[n - 1] == CR) {
        n--;
    }

    if (n < REGISTRY_ENVELOPE_SECRET_MIN) {
        return "a key of less than 16 bytes in";
    }

    mc->secret.data = p;
    mc->secret.len = n;

    return NGX_CONF_OK;
}


static char *
ngx_http_registry_memcached_timeout(ngx_conf_t *cf,
    ngx_http_registry_memcached_t *mc, ngx_str_t *value)
{
    return ngx_http_registry_memcached_time(value, &mc->timeout);
}


static char *
ngx_http_registry_memcached_fail_timeout(ngx_conf_t *cf,
    ngx_http_registry_memcached_t *mc, ngx_str_t *value)
{
    return ngx_http_registry_memcached_time(value, &mc->fail_timeout);
}


static char *
ngx_http_registry_memcached_time(ngx_str_t *value, ngx_msec_t *msec)
{
    ngx_int_t  n;

    n = ngx_parse_time(value, 0);

    if (n == NGX_ERROR || n == 0 || n > NGX_HTTP_REGISTRY_MEMCACHED_TIME) {
        return "invalid time in";
    }

    *msec = n;

    return NGX_CONF_OK;
}


static char *
ngx_http_registry_memcached_prefix(ngx_conf_t *cf,
    ngx_http_registry_memcached_t *mc, ngx_str_t *value)
{
    size_t  i;

    if (value->len + NGX_HTTP_REGISTRY_MEMCACHED_HASH
        > NGX_HTTP_REGISTRY_MEMCACHED_KEY)
    {
        return "too long a prefix in";
    }

    for (i = 0; i < value->len; i++) {
        if (value->data[i] <= ' ' || value->data[i] >= 0x7f) {
            return "invalid character in";
        }
    }

    mc->prefix = *value;

    return NGX_CONF_OK;
}


/* a pool that is not declared is reported with this line */

static char *
ngx_http_registry_memcached_threads(ngx_conf_t *cf,
    ngx_http_registry_memcached_t *mc, ngx_str_t *value)
{
    if (value->len == 0) {
        return "no thread pool in";
    }

    mc->tp = ngx_thread_pool_add(cf, value);

    return mc->tp ? NGX_CONF_OK : NGX_CONF_ERROR;
}


ngx_int_t
ngx_http_registry_memcached_counters(ngx_http_registry_memcached_t *mc,
    ngx_http_registry_zone_t *zone, ngx_pool_t *pool)
{
    ngx_str_t                              name;
    ngx_uint_t                             i;
    ngx_http_registry_memcached_server_t  *server;

    server = mc->servers.elts;

    for (i = 0; i < mc->servers.nelts; i++) {

        /* no namespace has a space */

        name.len = sizeof("memcached ") - 1 + server[i].name.len;
        name.data = ngx_pnalloc(pool, name.len);
        if (name.data == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(ngx_cpymem(name.data, "memcached ",
                              sizeof("memcached ") - 1),
                   server[i].name.data, server[i].name.len);

        if (ngx_http_registry_count_add(zone, pool, &name,
                                        NGX_HTTP_REGISTRY_MEMCACHED_COUNTERS,
                                        &server[i].counters)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}
