
/*
 * What a status page shows: tables of all that is counted and known, each
 * thing a row, whose values are in the order of the table's metrics.
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
} ngx_http_registry_status_t;


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
} ngx_http_registry_status_list[NGX_HTTP_REGISTRY_STATUS_TABLES] = {

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


ngx_array_t *
ngx_http_registry_status_tables(ngx_http_request_t *r)
{
    ngx_uint_t                   i;
    ngx_array_t                 *tables;
    registry_metrics_t          *table;
    ngx_http_registry_status_t   status;

    ngx_memzero(&status, sizeof(ngx_http_registry_status_t));

    status.pool = r->pool;
    status.mcf = ngx_http_get_module_main_conf(r, ngx_http_registry_module);

    tables = ngx_array_create(r->pool, NGX_HTTP_REGISTRY_STATUS_TABLES,
                              sizeof(registry_metrics_t));
    if (tables == NULL) {
        return NULL;
    }

    for (i = 0; i < NGX_HTTP_REGISTRY_STATUS_TABLES; i++) {

        if (ngx_array_init(&status.rows[i], r->pool, 4,
                           sizeof(registry_metrics_row_t))
            != NGX_OK
            || ngx_http_registry_status_list[i].collect(&status) != NGX_OK)
        {
            return NULL;
        }

        table = ngx_array_push(tables);
        if (table == NULL) {
            return NULL;
        }

        table->key = ngx_http_registry_status_list[i].key;
        table->labels = ngx_http_registry_status_list[i].labels;
        table->metrics = ngx_http_registry_status_list[i].metrics;
        table->rows = status.rows[i].elts;
        table->nrows = status.rows[i].nelts;
    }

    return tables;
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

    n = registry_metrics_width(ngx_http_registry_status_list[table].metrics);

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
