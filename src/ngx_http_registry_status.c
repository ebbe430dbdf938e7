
/*
 * What the module did and how its parts are, for operators: counted as
 * requests end, and shown by a page in JSON or for Prometheus.
 */


#include "ngx_http_registry.h"

#include "registry_metrics.h"


#define NGX_HTTP_REGISTRY_STATUS_LABELS  2      /* of a table, at most */


typedef enum {
    NGX_HTTP_REGISTRY_STATUS_NAMESPACES = 0,
    NGX_HTTP_REGISTRY_STATUS_CACHES,
    NGX_HTTP_REGISTRY_STATUS_UPSTREAMS,
    NGX_HTTP_REGISTRY_STATUS_MEMCACHED,
    NGX_HTTP_REGISTRY_STATUS_ACTIVE,
    NGX_HTTP_REGISTRY_STATUS_FLIGHTS,
    NGX_HTTP_REGISTRY_STATUS_ZONE,
    NGX_HTTP_REGISTRY_STATUS_TABLES
} ngx_http_registry_status_e;


typedef struct {
    ngx_pool_t                     *pool;
    ngx_http_registry_main_conf_t  *mcf;
    ngx_array_t                    *health;     /* of _health_peer_t */
    ngx_array_t                     rows[NGX_HTTP_REGISTRY_STATUS_TABLES];
    registry_metrics_t              tables[NGX_HTTP_REGISTRY_STATUS_TABLES];
} ngx_http_registry_status_t;


static ngx_int_t ngx_http_registry_status_log(ngx_http_request_t *r);

static ngx_int_t ngx_http_registry_status_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_registry_status_format(ngx_http_request_t *r,
    ngx_uint_t *format);
static ngx_int_t ngx_http_registry_status_text(ngx_http_request_t *r,
    ngx_uint_t format, ngx_buf_t **b);
static ngx_int_t ngx_http_registry_status_send(ngx_http_request_t *r,
    ngx_uint_t format, ngx_buf_t *b);

static ngx_int_t ngx_http_registry_status_namespaces(
    ngx_http_registry_status_t *status);
static ngx_int_t ngx_http_registry_status_namespace(
    ngx_http_registry_status_t *status, ngx_str_t *name,
    ngx_http_registry_counters_t *counters,
    ngx_http_registry_remote_t *remote);
static ngx_int_t ngx_http_registry_status_caches(
    ngx_http_registry_status_t *status);
static ngx_int_t ngx_http_registry_status_upstreams(
    ngx_http_registry_status_t *status);
static ngx_int_t ngx_http_registry_status_upstream(
    ngx_http_registry_status_t *status, ngx_http_upstream_srv_conf_t *uscf);
static ngx_int_t ngx_http_registry_status_peers(
    ngx_http_registry_status_t *status, ngx_str_t *upstream,
    ngx_http_upstream_rr_peers_t *peers, ngx_uint_t backup);
static ngx_http_registry_health_peer_t *ngx_http_registry_status_health(
    ngx_http_registry_status_t *status, ngx_str_t *upstream,
    ngx_str_t *peer);
static ngx_int_t ngx_http_registry_status_memcached(
    ngx_http_registry_status_t *status);
static ngx_int_t ngx_http_registry_status_active(
    ngx_http_registry_status_t *status);
static ngx_int_t ngx_http_registry_status_flights(
    ngx_http_registry_status_t *status);
static ngx_int_t ngx_http_registry_status_zone(
    ngx_http_registry_status_t *status);

static int64_t *ngx_http_registry_status_row(
    ngx_http_registry_status_t *status, ngx_uint_t table, ngx_str_t *label,
    ngx_str_t *second);
static ngx_uint_t ngx_http_registry_status_has(
    ngx_http_registry_status_t *status, ngx_uint_t table, ngx_str_t *label,
    ngx_str_t *second);
static ngx_uint_t ngx_http_registry_status_is(const registry_str_t *label,
    ngx_str_t *name);


#define ngx_http_registry_counter(key, name, help)                            \
    { key, "nginx_registry_" name, help, REGISTRY_METRIC_COUNTER, NULL, NULL }
#define ngx_http_registry_gauge(key, name, help)                              \
    { key, "nginx_registry_" name, help, REGISTRY_METRIC_GAUGE, NULL, NULL }
#define ngx_http_registry_flag(key, name, help)                               \
    { key, "nginx_registry_" name, help, REGISTRY_METRIC_FLAG, NULL, NULL }
#define ngx_http_registry_no_metric                                           \
    { NULL, NULL, NULL, REGISTRY_METRIC_GAUGE, NULL, NULL }


/* the values are in the order of ngx_http_registry_count_e, up to there */

static const char *const  ngx_http_registry_operations[] = {
    "check", "list_catalog", "list_tags", "list_referrers", "pull_manifest",
    "push_manifest", "delete_manifest", "pull_blob", "push_blob",
    "delete_blob", NULL
};

static const char *const  ngx_http_registry_classes[] = {
    "4xx", "5xx", "incomplete", NULL
};

static const char *const  ngx_http_registry_results[] = {
    "hit", "miss", "revalidated", "stale", "join", "bypass", NULL
};

static const char *const  ngx_http_registry_pushes[] = {
    "upload", "mount", NULL
};

static const char *const  ngx_http_registry_answers[] = {
    "answered", "limited", "failed", "broken", NULL
};

static const char *const  ngx_http_registry_gets[] = {
    "hit", "miss", NULL
};

static const char *const  ngx_http_registry_tokens[] = {
    "got", "failed", NULL
};


static const char *const  ngx_http_registry_prefetches[] = {
    "fetched", "failed", "dropped", NULL
};


static const registry_metric_t  ngx_http_registry_namespace_metrics[] = {

    { "requests", "nginx_registry_requests_total",
      "Requests by operation.", REGISTRY_METRIC_COUNTER,
      "operation", ngx_http_registry_operations },

    { "errors", "nginx_registry_errors_total",
      "Requests that were answered with an error, or not to the end.",
      REGISTRY_METRIC_COUNTER, "class", ngx_http_registry_classes },

    { "results", "nginx_registry_results_total",
      "Requests by how the content was found.", REGISTRY_METRIC_COUNTER,
      "result", ngx_http_registry_results },

    { "pushed_blobs", "nginx_registry_pushed_blobs_total",
      "Blobs that were uploaded or mounted.", REGISTRY_METRIC_COUNTER,
      "how", ngx_http_registry_pushes },

    ngx_http_registry_counter("sent_bytes", "sent_bytes_total",
                              "Bytes of bodies sent to clients."),
    ngx_http_registry_counter("received_bytes", "received_bytes_total",
                              "Bytes of bodies received from the remote."),

    { "answers", "nginx_registry_remote_answers_total",
      "Requests to the remote by how they ended.", REGISTRY_METRIC_COUNTER,
      "result", ngx_http_registry_answers },

    { "tokens", "nginx_registry_tokens_total",
      "Requests for tokens by how they ended.", REGISTRY_METRIC_COUNTER,
      "result", ngx_http_registry_tokens },

    ngx_http_registry_counter("flights", "flights_total",
                              "Blobs that were begun to be fetched."),

    { "prefetches", "nginx_registry_prefetches_total",
      "Blobs and manifests to be fetched ahead by how that ended.",
      REGISTRY_METRIC_COUNTER, "result", ngx_http_registry_prefetches },

    ngx_http_registry_gauge("rate_limit", "rate_limit_requests",
                            "Requests that the remote permits in a window."),
    ngx_http_registry_gauge("rate_remaining", "rate_limit_remaining_requests",
                            "Requests that are left of them."),
    ngx_http_registry_gauge("rate_window", "rate_limit_window_seconds",
                            "The length of a window."),
    ngx_http_registry_gauge("retry_at", "retry_timestamp_seconds",
                            "When the remote wants to be asked again."),

    ngx_http_registry_flag("up", "remote_up",
                           "Whether the remote answers, so far as is known."),
    ngx_http_registry_no_metric
};


static const registry_metric_t  ngx_http_registry_cache_metrics[] = {
    ngx_http_registry_gauge("size_bytes", "cache_size_bytes",
                            "Bytes that the cache takes on the disk."),
    ngx_http_registry_gauge("max_size_bytes", "cache_max_size_bytes",
                            "Its max_size."),
    ngx_http_registry_gauge("blobs", "cache_blobs",
                            "Blobs and manifests in it."),
    ngx_http_registry_counter("evictions", "cache_evictions_total",
                              "Blobs and manifests that were removed."),
    ngx_http_registry_counter("evicted_bytes", "cache_evicted_bytes_total",
                              "Bytes that they took."),
    ngx_http_registry_flag("indexed", "cache_indexed",
                           "Whether all that is in it is known by now."),
    ngx_http_registry_no_metric
};


static const registry_metric_t  ngx_http_registry_upstream_metrics[] = {
    ngx_http_registry_flag("up", "peer_up",
                           "Whether the server may get requests."),
    ngx_http_registry_flag("down", "peer_down",
                           "Whether it is marked as down."),
    ngx_http_registry_flag("failed", "peer_failed",
                           "Whether it is left out after max_fails."),
    ngx_http_registry_flag("backup", "peer_backup",
                           "Whether it is a backup server."),
    ngx_http_registry_gauge("connections", "peer_connections",
                            "Connections to it."),
    ngx_http_registry_flag("unhealthy", "peer_unhealthy",
                           "Whether it does not pass its health checks."),
    ngx_http_registry_counter("checks", "peer_checks_total",
                              "Health checks of it."),
    ngx_http_registry_counter("failed_checks", "peer_failed_checks_total",
                              "Health checks that it did not pass."),
    ngx_http_registry_no_metric
};


static const registry_metric_t  ngx_http_registry_memcached_metrics[] = {

    { "gets", "nginx_registry_memcached_gets_total",
      "Manifests and tags that it was asked for.", REGISTRY_METRIC_COUNTER,
      "result", ngx_http_registry_gets },

    ngx_http_registry_counter("failures", "memcached_failures_total",
                              "Operations that failed or took too long."),
    ngx_http_registry_flag("up", "memcached_up",
                           "Whether it answered the last one."),
    ngx_http_registry_no_metric
};


static const registry_metric_t  ngx_http_registry_active_metrics[] = {
    { "requests", "nginx_registry_active_requests",
      "Requests in progress by operation.", REGISTRY_METRIC_GAUGE,
      "operation", ngx_http_registry_operations },
    ngx_http_registry_no_metric
};


static const registry_metric_t  ngx_http_registry_flight_metrics[] = {
    ngx_http_registry_gauge("running", "flights",
                            "Blobs that are being fetched."),
    ngx_http_registry_gauge("limit", "flights_limit",
                            "Blobs that can be fetched at the same time."),
    ngx_http_registry_no_metric
};


static const registry_metric_t  ngx_http_registry_zone_metrics[] = {
    ngx_http_registry_gauge("size_bytes", "zone_size_bytes",
                            "Size of registry_zone."),
    ngx_http_registry_gauge("free_bytes", "zone_free_bytes",
                            "Bytes of whole pages of it that are free."),
    ngx_http_registry_gauge("entries", "zone_entries",
                            "Manifests, tags, tokens and the like in it."),
    ngx_http_registry_counter("evictions", "zone_evictions_total",
                              "Entries that had to make room for others."),
    ngx_http_registry_no_metric
};


static const char *const  ngx_http_registry_namespace_labels[] = {
    "namespace", NULL
};

static const char *const  ngx_http_registry_cache_labels[] = {
    "cache", NULL
};

static const char *const  ngx_http_registry_upstream_labels[] = {
    "upstream", "peer", NULL
};

static const char *const  ngx_http_registry_memcached_labels[] = {
    "server", NULL
};

static const char *const  ngx_http_registry_no_labels[] = {
    NULL
};


/* in the order of ngx_http_registry_status_e */

static const struct {
    const char                *key;
    const char *const         *labels;
    const registry_metric_t   *metrics;
    ngx_int_t                (*collect)(ngx_http_registry_status_t *status);
} ngx_http_registry_status_tables[NGX_HTTP_REGISTRY_STATUS_TABLES] = {

    { "namespaces", ngx_http_registry_namespace_labels,
      ngx_http_registry_namespace_metrics,
      ngx_http_registry_status_namespaces },

    { "caches", ngx_http_registry_cache_labels,
      ngx_http_registry_cache_metrics,
      ngx_http_registry_status_caches },

    { "upstreams", ngx_http_registry_upstream_labels,
      ngx_http_registry_upstream_metrics,
      ngx_http_registry_status_upstreams },

    { "memcached", ngx_http_registry_memcached_labels,
      ngx_http_registry_memcached_metrics,
      ngx_http_registry_status_memcached },

    { "active", ngx_http_registry_no_labels,
      ngx_http_registry_active_metrics,
      ngx_http_registry_status_active },

    { "flights", ngx_http_registry_no_labels,
      ngx_http_registry_flight_metrics,
      ngx_http_registry_status_flights },

    { "zone", ngx_http_registry_no_labels,
      ngx_http_registry_zone_metrics,
      ngx_http_registry_status_zone }
};


static ngx_str_t  ngx_http_registry_status_formats[] = {
    ngx_string("json"),
    ngx_string("prometheus"),
    ngx_null_string
};


char *
ngx_http_registry_status(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_registry_loc_conf_t  *rlcf = conf;

    ngx_str_t                      *value;
    ngx_uint_t                      i;
    ngx_http_core_loc_conf_t       *clcf;
    ngx_http_registry_main_conf_t  *mcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler == ngx_http_registry_status_handler) {
        return "is duplicate";
    }

    if (clcf->handler) {
        return "conflicts with another handler of this location";
    }

    clcf->handler = ngx_http_registry_status_handler;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_registry_module);
    mcf->status = 1;

    if (cf->args->nelts == 1) {
        return NGX_CONF_OK;
    }

    value = cf->args->elts;

    for (i = 0; ngx_http_registry_status_formats[i].len; i++) {
        if (ngx_strcmp(value[1].data, ngx_http_registry_status_formats[i].data)
            == 0)
        {
            rlcf->status_format = i;
            return NGX_CONF_OK;
        }
    }

    return "wants \"json\" or \"prometheus\"";
}


ngx_int_t
ngx_http_registry_status_init(ngx_conf_t *cf)
{
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_LOG_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_registry_status_log;

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_status_log(ngx_http_request_t *r)
{
    off_t                          sent;
    ngx_uint_t                     status;
    ngx_http_registry_ctx_t       *ctx;
    ngx_http_registry_counters_t  *counters;

    if (r != r->main || !ngx_http_registry_ours(r)) {
        return NGX_OK;
    }

    ctx = ngx_http_registry_ctx(r);
    if (ctx == NULL) {
        return NGX_OK;
    }

    counters = ngx_http_registry_counters(ctx);

    if (ctx->found) {
        ngx_http_registry_count(counters, ctx->found);
    }

    /* as $body_bytes_sent */

    sent = r->connection->sent - r->header_size;

    if (sent > 0) {
        ngx_http_registry_count_n(counters, NGX_HTTP_REGISTRY_COUNT_SENT,
                                  sent);
    }

    status = r->err_status ? r->err_status : r->headers_out.status;

    if (status >= NGX_HTTP_INTERNAL_SERVER_ERROR) {
        ngx_http_registry_count(counters, NGX_HTTP_REGISTRY_COUNT_5XX);

    } else if (status >= NGX_HTTP_BAD_REQUEST) {
        ngx_http_registry_count(counters, NGX_HTTP_REGISTRY_COUNT_4XX);

    } else if (!r->request_complete) {
        ngx_http_registry_count(counters, NGX_HTTP_REGISTRY_COUNT_INCOMPLETE);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_status_handler(ngx_http_request_t *r)
{
    ngx_int_t    rc;
    ngx_buf_t   *b;
    ngx_uint_t   format;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_http_discard_request_body(r);
    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_http_registry_status_format(r, &format) != NGX_OK) {
        return NGX_HTTP_BAD_REQUEST;
    }

    if (ngx_http_registry_status_text(r, format, &b) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_registry_status_send(r, format, b);
}


/* the location's own, or that of the argument */

static ngx_int_t
ngx_http_registry_status_format(ngx_http_request_t *r, ngx_uint_t *format)
{
    ngx_str_t                      value, *name;
    ngx_uint_t                     i;
    ngx_http_registry_loc_conf_t  *rlcf;

    if (ngx_http_arg(r, (u_char *) "format", sizeof("format") - 1, &value)
        != NGX_OK)
    {
        rlcf = ngx_http_get_module_loc_conf(r, ngx_http_registry_module);
        *format = rlcf->status_format;
        return NGX_OK;
    }

    name = ngx_http_registry_status_formats;

    for (i = 0; name[i].len; i++) {
        if (name[i].len == value.len
            && ngx_strncmp(name[i].data, value.data, value.len) == 0)
        {
            *format = i;
            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_http_registry_status_text(ngx_http_request_t *r, ngx_uint_t format,
    ngx_buf_t **b)
{
    size_t                        len;
    ngx_uint_t                    i;
    registry_metrics_t           *table;
    ngx_http_registry_status_t   *status;
    size_t                      (*text)(const registry_metrics_t *tables,
                                        size_t n, char *buf, size_t size);

    status = ngx_pcalloc(r->pool, sizeof(ngx_http_registry_status_t));
    if (status == NULL) {
        return NGX_ERROR;
    }

    status->pool = r->pool;
    status->mcf = ngx_http_get_module_main_conf(r, ngx_http_registry_module);

    for (i = 0; i < NGX_HTTP_REGISTRY_STATUS_TABLES; i++) {

        if (ngx_array_init(&status->rows[i], r->pool, 4,
                           sizeof(registry_metrics_row_t))
            != NGX_OK
            || ngx_http_registry_status_tables[i].collect(status) != NGX_OK)
        {
            return NGX_ERROR;
        }

        table = &status->tables[i];

        table->key = ngx_http_registry_status_tables[i].key;
        table->labels = ngx_http_registry_status_tables[i].labels;
        table->metrics = ngx_http_registry_status_tables[i].metrics;
        table->rows = status->rows[i].elts;
        table->nrows = status->rows[i].nelts;
    }

    text = (format == NGX_HTTP_REGISTRY_STATUS_PROMETHEUS)
           ? registry_metrics_prometheus : registry_metrics_json;

    len = text(status->tables, NGX_HTTP_REGISTRY_STATUS_TABLES, NULL, 0);

    *b = ngx_create_temp_buf(r->pool, len);
    if (*b == NULL) {
        return NGX_ERROR;
    }

    (*b)->last += text(status->tables, NGX_HTTP_REGISTRY_STATUS_TABLES,
                       (char *) (*b)->pos, len);

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_status_send(ngx_http_request_t *r, ngx_uint_t format,
    ngx_buf_t *b)
{
    ngx_int_t    rc;
    ngx_chain_t  out;

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = b->last - b->pos;

    if (format == NGX_HTTP_REGISTRY_STATUS_PROMETHEUS) {
        ngx_str_set(&r->headers_out.content_type,
                    "text/plain; version=0.0.4; charset=utf-8");
        r->headers_out.content_type_len = sizeof("text/plain") - 1;

    } else {
        ngx_str_set(&r->headers_out.content_type, "application/json");
        r->headers_out.content_type_len = sizeof("application/json") - 1;
    }

    r->headers_out.content_type_lowcase = NULL;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    b->last_buf = (r == r->main);
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


static ngx_int_t
ngx_http_registry_status_namespaces(ngx_http_registry_status_t *status)
{
    ngx_str_t                      hosted;
    ngx_uint_t                     i;
    ngx_http_registry_remote_t   **remote;

    ngx_str_set(&hosted, "");

    if (ngx_http_registry_status_namespace(status, &hosted,
                                           status->mcf->counters, NULL)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    remote = status->mcf->remotes.elts;

    for (i = 0; i < status->mcf->remotes.nelts; i++) {
        if (ngx_http_registry_status_namespace(status, &remote[i]->name,
                                               remote[i]->counters, remote[i])
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_status_namespace(ngx_http_registry_status_t *status,
    ngx_str_t *name, ngx_http_registry_counters_t *counters,
    ngx_http_registry_remote_t *remote)
{
    int64_t     *value;
    ngx_uint_t   i;

    value = ngx_http_registry_status_row(status,
                                         NGX_HTTP_REGISTRY_STATUS_NAMESPACES,
                                         name, NULL);
    if (value == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < counters->n; i++) {
        value[i] = counters->count[i];
    }

    if (remote == NULL) {
        return NGX_OK;
    }

    if (value[NGX_HTTP_REGISTRY_COUNT_RATE_LIMIT] == 0) {
        value[NGX_HTTP_REGISTRY_COUNT_RATE_LIMIT] = REGISTRY_METRIC_NONE;
        value[NGX_HTTP_REGISTRY_COUNT_RATE_REMAINING] = REGISTRY_METRIC_NONE;
    }

    if (value[NGX_HTTP_REGISTRY_COUNT_RATE_WINDOW] == 0) {
        value[NGX_HTTP_REGISTRY_COUNT_RATE_WINDOW] = REGISTRY_METRIC_NONE;
    }

    if (value[NGX_HTTP_REGISTRY_COUNT_RETRY_AT] <= ngx_time()) {
        value[NGX_HTTP_REGISTRY_COUNT_RETRY_AT] = REGISTRY_METRIC_NONE;
    }

    value[NGX_HTTP_REGISTRY_COUNT_MAX] =
                                    ngx_http_registry_remote_answers(remote);

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_status_caches(ngx_http_registry_status_t *status)
{
    int64_t                           *value;
    ngx_uint_t                         i;
    ngx_http_registry_store_t        **store;
    ngx_http_registry_evict_status_t   cache;

    store = status->mcf->stores.elts;

    for (i = 0; i < status->mcf->stores.nelts; i++) {

        if (store[i]->evict == NULL) {
            continue;
        }

        value = ngx_http_registry_status_row(status,
                                             NGX_HTTP_REGISTRY_STATUS_CACHES,
                                             &store[i]->name, NULL);
        if (value == NULL) {
            return NGX_ERROR;
        }

        ngx_http_registry_evict_status(store[i], &cache);

        *value++ = cache.size;
        *value++ = store[i]->evict->max_size ? store[i]->evict->max_size
                                             : REGISTRY_METRIC_NONE;
        *value++ = cache.blobs;
        *value++ = cache.evictions;
        *value++ = cache.evicted;
        *value++ = cache.indexed;
    }

    return NGX_OK;
}


/* those that remotes lead to */

static ngx_int_t
ngx_http_registry_status_upstreams(ngx_http_registry_status_t *status)
{
    ngx_uint_t                     i, k;
    ngx_http_registry_remote_t   **remote;
    ngx_http_registry_target_t    *target;

    status->health = ngx_http_registry_health_peers(&status->mcf->zone,
                                                    status->pool);
    if (status->health == NULL) {
        return NGX_ERROR;
    }

    remote = status->mcf->remotes.elts;

    for (i = 0; i < status->mcf->remotes.nelts; i++) {
        target = remote[i]->client.targets.elts;

        for (k = 0; k < remote[i]->client.targets.nelts; k++) {
            if (target[k].upstream
                && ngx_http_registry_status_upstream(status,
                                                     target[k].upstream)
                   != NGX_OK)
            {
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_status_upstream(ngx_http_registry_status_t *status,
    ngx_http_upstream_srv_conf_t *uscf)
{
    ngx_int_t                      rc;
    ngx_uint_t                     backup;
    ngx_http_upstream_rr_peers_t  *peers;

    /* several remotes may lead to it */

    if (ngx_http_registry_status_has(status,
                                     NGX_HTTP_REGISTRY_STATUS_UPSTREAMS,
                                     &uscf->host, NULL))
    {
        return NGX_OK;
    }

    rc = NGX_OK;
    backup = 0;

    for (peers = uscf->peer.data; peers && rc == NGX_OK; peers = peers->next) {
        ngx_http_upstream_rr_peers_rlock(peers);

        rc = ngx_http_registry_status_peers(status, &uscf->host, peers,
                                            backup);

        ngx_http_upstream_rr_peers_unlock(peers);

        backup = 1;
    }

    return rc;
}


static ngx_int_t
ngx_http_registry_status_peers(ngx_http_registry_status_t *status,
    ngx_str_t *upstream, ngx_http_upstream_rr_peers_t *peers,
    ngx_uint_t backup)
{
    int64_t                          *value;
    ngx_uint_t                        failed;
    ngx_http_upstream_rr_peer_t      *peer;
    ngx_http_registry_health_peer_t  *health;

    for (peer = peers->peer; peer; peer = peer->next) {

        /* one address of several servers has one name */

        if (ngx_http_registry_status_has(status,
                                         NGX_HTTP_REGISTRY_STATUS_UPSTREAMS,
                                         upstream, &peer->name))
        {
            continue;
        }

        value = ngx_http_registry_status_row(status,
                                         NGX_HTTP_REGISTRY_STATUS_UPSTREAMS,
                                         upstream, &peer->name);
        if (value == NULL) {
            return NGX_ERROR;
        }

        /* as the peer functions of nginx see it */

        failed = (peer->max_fails && peer->fails >= peer->max_fails
                  && ngx_time() - peer->checked <= peer->fail_timeout);

        *value++ = !peer->down && !failed;
        *value++ = (peer->down != 0);
        *value++ = failed;
        *value++ = backup;
        *value++ = peer->conns;

        health = ngx_http_registry_status_health(status, upstream,
                                                 &peer->name);

        if (health) {
            *value++ = health->down;
            *value++ = health->checks;
            *value++ = health->failures;
        }
    }

    return NGX_OK;
}


/* NULL: it is not checked */

static ngx_http_registry_health_peer_t *
ngx_http_registry_status_health(ngx_http_registry_status_t *status,
    ngx_str_t *upstream, ngx_str_t *peer)
{
    ngx_uint_t                        i;
    ngx_http_registry_health_peer_t  *health;

    health = status->health->elts;

    for (i = 0; i < status->health->nelts; i++) {
        if (health[i].upstream.len == upstream->len
            && health[i].name.len == peer->len
            && ngx_strncmp(health[i].upstream.data, upstream->data,
                           upstream->len)
               == 0
            && ngx_strncmp(health[i].name.data, peer->data, peer->len) == 0)
        {
            return &health[i];
        }
    }

    return NULL;
}


static ngx_int_t
ngx_http_registry_status_memcached(ngx_http_registry_status_t *status)
{
    int64_t                               *value;
    ngx_uint_t                             i, k;
    ngx_http_registry_memcached_t         *mc;
    ngx_http_registry_memcached_server_t  *server;

    mc = status->mcf->memcached;

    if (mc == NULL) {
        return NGX_OK;
    }

    server = mc->servers.elts;

    for (i = 0; i < mc->servers.nelts; i++) {

        value = ngx_http_registry_status_row(status,
                                         NGX_HTTP_REGISTRY_STATUS_MEMCACHED,
                                         &server[i].name, NULL);
        if (value == NULL) {
            return NGX_ERROR;
        }

        for (k = 0; k < NGX_HTTP_REGISTRY_MEMCACHED_DOWN; k++) {
            value[k] = server[i].counters->count[k];
        }

        value[k] = !server[i].counters->count[k];
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_status_active(ngx_http_registry_status_t *status)
{
    int64_t     *value;
    ngx_int_t    active[NGX_HTTP_REGISTRY_COUNT_OPERATIONS];
    ngx_uint_t   i;

    value = ngx_http_registry_status_row(status,
                                         NGX_HTTP_REGISTRY_STATUS_ACTIVE,
                                         NULL, NULL);
    if (value == NULL) {
        return NGX_ERROR;
    }

    ngx_http_registry_count_all_active(&status->mcf->zone, active);

    for (i = 0; i < NGX_HTTP_REGISTRY_COUNT_OPERATIONS; i++) {
        value[i] = active[i];
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_status_flights(ngx_http_registry_status_t *status)
{
    int64_t     *value;
    ngx_uint_t   running, room, limit;

    value = ngx_http_registry_status_row(status,
                                         NGX_HTTP_REGISTRY_STATUS_FLIGHTS,
                                         NULL, NULL);
    if (value == NULL) {
        return NGX_ERROR;
    }

    ngx_http_registry_flight_status(&status->mcf->zone, &running, &room,
                                    &limit);

    *value++ = running;
    *value++ = limit;

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_status_zone(ngx_http_registry_status_t *status)
{
    int64_t                   *value;
    ngx_http_registry_zone_t  *zone;

    value = ngx_http_registry_status_row(status,
                                         NGX_HTTP_REGISTRY_STATUS_ZONE,
                                         NULL, NULL);
    if (value == NULL) {
        return NGX_ERROR;
    }

    zone = &status->mcf->zone;

    *value++ = status->mcf->shm_zone->shm.size;
    *value++ = zone->shpool->pfree * ngx_pagesize;
    *value++ = zone->sh->entries;
    *value++ = zone->sh->evicted;

    return NGX_OK;
}


/*
 * A new row, of which nothing is known yet: its values, or NULL if memory is
 * short.  Labels are copied: they may be in memory that is shared.
 */

static int64_t *
ngx_http_registry_status_row(ngx_http_registry_status_t *status,
    ngx_uint_t table, ngx_str_t *label, ngx_str_t *second)
{
    size_t                    i, n;
    int64_t                  *value;
    ngx_str_t                *name[NGX_HTTP_REGISTRY_STATUS_LABELS];
    registry_str_t           *labels;
    registry_metrics_row_t   *row;

    n = registry_metrics_width(ngx_http_registry_status_tables[table].metrics);

    row = ngx_array_push(&status->rows[table]);
    value = ngx_palloc(status->pool, n * sizeof(int64_t));
    labels = ngx_pcalloc(status->pool, NGX_HTTP_REGISTRY_STATUS_LABELS
                                       * sizeof(registry_str_t));

    if (row == NULL || value == NULL || labels == NULL) {
        return NULL;
    }

    for (i = 0; i < n; i++) {
        value[i] = REGISTRY_METRIC_NONE;
    }

    name[0] = label;
    name[1] = second;

    for (i = 0; i < NGX_HTTP_REGISTRY_STATUS_LABELS && name[i]; i++) {

        labels[i].len = name[i]->len;
        labels[i].data = (char *) ngx_pstrdup(status->pool, name[i]);

        if (labels[i].data == NULL) {
            return NULL;
        }
    }

    row->labels = labels;
    row->values = value;

    return value;
}


/* 1 if there is a row with this label, and the second one unless NULL */

static ngx_uint_t
ngx_http_registry_status_has(ngx_http_registry_status_t *status,
    ngx_uint_t table, ngx_str_t *label, ngx_str_t *second)
{
    ngx_uint_t               i;
    registry_metrics_row_t  *row;

    row = status->rows[table].elts;

    for (i = 0; i < status->rows[table].nelts; i++) {
        if (ngx_http_registry_status_is(&row[i].labels[0], label)
            && (second == NULL
                || ngx_http_registry_status_is(&row[i].labels[1], second)))
        {
            return 1;
        }
    }

    return 0;
}


static ngx_uint_t
ngx_http_registry_status_is(const registry_str_t *label, ngx_str_t *name)
{
    return label->len == name->len
           && ngx_memcmp(label->data, name->data, name->len) == 0;
}
