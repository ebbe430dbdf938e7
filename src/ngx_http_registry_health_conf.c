
/*
 * "health_check": reading it, and what has to be right before nginx starts.
 */


#include "ngx_http_registry_health_check.h"


typedef struct {
    ngx_str_t   name;
    size_t      offset;
    ngx_uint_t  time;
} ngx_http_registry_health_param_t;


static ngx_int_t ngx_http_registry_health_param(
    ngx_http_registry_health_conf_t *conf, ngx_str_t *value);
static ngx_uint_t ngx_http_registry_health_uri(ngx_str_t *uri);
static ngx_int_t ngx_http_registry_health_target(ngx_conf_t *cf,
    ngx_http_registry_health_t *health, ngx_http_registry_client_t *client,
    ngx_http_registry_health_conf_t *conf, ngx_http_registry_target_t *target);
static ngx_uint_t ngx_http_registry_health_zoned(
    ngx_http_upstream_srv_conf_t *uscf);
static ngx_uint_t ngx_http_registry_health_same(
    ngx_http_registry_health_conf_t *one,
    ngx_http_registry_health_conf_t *two);
static ngx_int_t ngx_http_registry_health_check(ngx_conf_t *cf,
    ngx_http_registry_health_t *health, ngx_http_registry_client_t *client,
    ngx_http_registry_health_conf_t *conf, ngx_http_registry_target_t *target);
static ngx_int_t ngx_http_registry_health_client(ngx_conf_t *cf,
    ngx_http_registry_health_check_t *check,
    ngx_http_registry_client_t *client, ngx_http_registry_target_t *target);


/* ngx_msec_t is an ngx_uint_t */

static const ngx_http_registry_health_param_t
    ngx_http_registry_health_params[] =
{
    { ngx_string("interval="),
      offsetof(ngx_http_registry_health_conf_t, interval), 1 },
    { ngx_string("timeout="),
      offsetof(ngx_http_registry_health_conf_t, timeout), 1 },
    { ngx_string("fails="),
      offsetof(ngx_http_registry_health_conf_t, fails), 0 },
    { ngx_string("passes="),
      offsetof(ngx_http_registry_health_conf_t, passes), 0 },
    { ngx_null_string, 0, 0 }
};


char *
ngx_http_registry_health_slot(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t                        *value;
    ngx_uint_t                        i;
    ngx_http_registry_health_conf_t  *hcf;

    hcf = (ngx_http_registry_health_conf_t *) ((u_char *) conf + cmd->offset);

    if (hcf->enabled != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        hcf->enabled = 0;
        return NGX_CONF_OK;
    }

    hcf->enabled = 1;
    ngx_str_set(&hcf->uri, "/v2/");
    hcf->interval = 5000;
    hcf->timeout = 0;
    hcf->fails = 3;
    hcf->passes = 2;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_http_registry_health_param(hcf, &value[i]) != NGX_OK) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid value \"%V\" in \"health_check\"",
                               &value[i]);
            return NGX_CONF_ERROR;
        }
    }

    if (hcf->timeout == 0) {
        hcf->timeout = hcf->interval;
    }

    if (hcf->timeout > hcf->interval) {
        return "has a \"timeout\" longer than its \"interval\"";
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_registry_health_param(ngx_http_registry_health_conf_t *conf,
    ngx_str_t *value)
{
    ngx_int_t                                n;
    ngx_str_t                                text;
    const ngx_http_registry_health_param_t  *param;

    if (ngx_strncmp(value->data, "uri=", 4) == 0) {
        conf->uri.data = value->data + 4;
        conf->uri.len = value->len - 4;

        return ngx_http_registry_health_uri(&conf->uri) ? NGX_OK : NGX_ERROR;
    }

    for (param = ngx_http_registry_health_params; param->name.len; param++) {

        if (ngx_strncmp(value->data, param->name.data, param->name.len) != 0) {
            continue;
        }

        text.data = value->data + param->name.len;
        text.len = value->len - param->name.len;

        n = param->time ? ngx_parse_time(&text, 0)
                        : ngx_atoi(text.data, text.len);
        if (n < 1) {
            return NGX_ERROR;
        }

        *(ngx_uint_t *) ((u_char *) conf + param->offset) = n;

        return NGX_OK;
    }

    return NGX_ERROR;
}


static ngx_uint_t
ngx_http_registry_health_uri(ngx_str_t *uri)
{
    size_t  i;

    for (i = 0; i < uri->len; i++) {
        if (uri->data[i] <= ' ' || uri->data[i] >= 0x7f
            || uri->data[i] == '#')
        {
            return 0;
        }
    }

    return uri->len && uri->data[0] == '/';
}


ngx_int_t
ngx_http_registry_health_create(ngx_conf_t *cf,
    ngx_http_registry_health_t *health, ngx_http_registry_zone_t *zone)
{
    ngx_pool_cleanup_t  *cln;

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_http_registry_health_cleanup;
    cln->data = health;

    health->zone = zone;

    return ngx_array_init(&health->checks, cf->pool, 2,
                          sizeof(ngx_http_registry_health_check_t *));
}


ngx_int_t
ngx_http_registry_health_add(ngx_conf_t *cf,
    ngx_http_registry_health_t *health, ngx_http_registry_client_t *client,
    ngx_http_registry_health_conf_t *conf)
{
    ngx_uint_t                   i, n;
    ngx_http_registry_target_t  *target;

    if (conf->enabled != 1) {
        return NGX_OK;
    }

    n = 0;
    target = client->targets.elts;

    for (i = 0; i < client->targets.nelts; i++) {

        if (target[i].upstream == NULL) {
            continue;
        }

        if (ngx_http_registry_health_target(cf, health, client, conf,
                                            &target[i])
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        n++;
    }

    if (n || conf->inherited) {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                  "\"health_check\" of registry_remote \"%V\" in %s:%ui "
                  "checks servers of an upstream, which none of its URLs "
                  "names", &client->name, client->file, client->line);

    return NGX_ERROR;
}


static ngx_int_t
ngx_http_registry_health_target(ngx_conf_t *cf,
    ngx_http_registry_health_t *health, ngx_http_registry_client_t *client,
    ngx_http_registry_health_conf_t *conf, ngx_http_registry_target_t *target)
{
    ngx_http_upstream_srv_conf_t      *uscf;
    ngx_http_registry_health_check_t  *check;

    uscf = target->upstream;

    if (!ngx_http_registry_health_zoned(uscf)) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "upstream \"%V\" in %s:%ui has no \"zone\", which "
                      "\"health_check\" of registry_remote \"%V\" in %s:%ui "
                      "needs", &uscf->host, uscf->file_name, uscf->line,
                      &client->name, client->file, client->line);
        return NGX_ERROR;
    }

    check = ngx_http_registry_health_find(health, &uscf->host);

    if (check == NULL) {
        return ngx_http_registry_health_check(cf, health, client, conf,
                                              target);
    }

    if (!ngx_http_registry_health_same(&check->conf, conf)) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"health_check\" of registry_remote \"%V\" in %s:%ui "
                      "differs from that of registry_remote \"%V\" in %s:%ui, "
                      "which names the same upstream \"%V\"", &client->name,
                      client->file, client->line, &check->client.name,
                      check->client.file, check->client.line, &uscf->host);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/*
 * Without a zone each worker has peers of its own; with one they are those of
 * the round robin module, whatever the balancing method is.
 */

static ngx_uint_t
ngx_http_registry_health_zoned(ngx_http_upstream_srv_conf_t *uscf)
{
#if (NGX_HTTP_UPSTREAM_ZONE)
    return uscf->shm_zone != NULL;
#else
    return 0;
#endif
}


ngx_http_registry_health_check_t *
ngx_http_registry_health_find(ngx_http_registry_health_t *health,
    ngx_str_t *upstream)
{
    ngx_uint_t                          i;
    ngx_http_registry_health_check_t  **check;

    check = health->checks.elts;

    for (i = 0; i < health->checks.nelts; i++) {
        if (ngx_http_registry_health_equal(&check[i]->upstream->host,
                                           upstream))
        {
            return check[i];
        }
    }

    return NULL;
}


static ngx_uint_t
ngx_http_registry_health_same(ngx_http_registry_health_conf_t *one,
    ngx_http_registry_health_conf_t *two)
{
    return ngx_http_registry_health_equal(&one->uri, &two->uri)
           && one->interval == two->interval
           && one->timeout == two->timeout
           && one->fails == two->fails
           && one->passes == two->passes;
}


static ngx_int_t
ngx_http_registry_health_check(ngx_conf_t *cf,
    ngx_http_registry_health_t *health, ngx_http_registry_client_t *client,
    ngx_http_registry_health_conf_t *conf, ngx_http_registry_target_t *target)
{
    ngx_http_registry_health_check_t  *check, **checks;

    check = ngx_pcalloc(cf->pool, sizeof(ngx_http_registry_health_check_t));
    if (check == NULL) {
        return NGX_ERROR;
    }

    check->health = health;
    check->upstream = target->upstream;
    check->conf = *conf;

    check->url = target->url;
    check->url.path.data = (char *) conf->uri.data;
    check->url.path.len = conf->uri.len;

    check->timer.data = check;
    check->timer.cancelable = 1;

    ngx_queue_init(&check->probes);

    if (ngx_http_registry_health_client(cf, check, client, target) != NGX_OK) {
        return NGX_ERROR;
    }

    checks = ngx_array_push(&health->checks);
    if (checks == NULL) {
        return NGX_ERROR;
    }

    *checks = check;

    return NGX_OK;
}


/*
 * The remote's, but for one answer in time, over a new connection as a client
 * of the remote may need one.
 */

static ngx_int_t
ngx_http_registry_health_client(ngx_conf_t *cf,
    ngx_http_registry_health_check_t *check,
    ngx_http_registry_client_t *client, ngx_http_registry_target_t *target)
{
    ngx_http_registry_client_t  *own;
    ngx_http_registry_target_t  *only;

    own = &check->client;

    *own = *client;

    own->connect_timeout = check->conf.timeout;
    own->send_timeout = check->conf.timeout;
    own->first_timeout = check->conf.timeout;
    own->read_timeout = check->conf.timeout;

    own->keepalive = 0;
    own->quiet = 1;

    /* no proxy is asked for the servers of an upstream {} */

    ngx_memzero(&own->proxy, sizeof(registry_url_t));
    ngx_str_null(&own->proxy_credentials);
    own->no_proxy = NULL;

    if (ngx_array_init(&own->targets, cf->pool, 1,
                       sizeof(ngx_http_registry_target_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    only = ngx_array_push(&own->targets);
    if (only == NULL) {
        return NGX_ERROR;
    }

    *only = *target;

    return ngx_http_registry_client_init(cf, own) == NGX_CONF_OK ? NGX_OK
                                                                 : NGX_ERROR;
}
