
/*
 * The module: its directives, how they inherit, and what has to be checked
 * before nginx starts.
 */


#include "ngx_http_registry.h"

#include <jansson.h>


#define NGX_HTTP_REGISTRY_ZONE_SIZE  (32 * 1024 * 1024)


static ngx_int_t ngx_http_registry_postconfiguration(ngx_conf_t *cf);
static void *ngx_http_registry_create_main_conf(ngx_conf_t *cf);
static char *ngx_http_registry_init_main_conf(ngx_conf_t *cf, void *conf);
static void *ngx_http_registry_create_srv_conf(ngx_conf_t *cf);
static char *ngx_http_registry_merge_srv_conf(ngx_conf_t *cf, void *parent,
    void *child);
static void *ngx_http_registry_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_registry_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static ngx_int_t ngx_http_registry_init_module(ngx_cycle_t *cycle);
static ngx_int_t ngx_http_registry_init_process(ngx_cycle_t *cycle);
static char *ngx_http_registry_location(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_registry_proxy(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_registry_enable(ngx_conf_t *cf);
static char *ngx_http_registry_merge_handler(ngx_conf_t *cf,
    ngx_http_registry_loc_conf_t *conf);
static char *ngx_http_registry_merge_proxy(ngx_conf_t *cf,
    ngx_http_registry_loc_conf_t *prev, ngx_http_registry_loc_conf_t *conf);
static void ngx_http_registry_use_remotes(ngx_conf_t *cf,
    ngx_http_registry_loc_conf_t *conf);
static char *ngx_http_registry_zone_size(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


static ngx_conf_enum_t  ngx_http_registry_references[] = {
    { ngx_string("off"), NGX_HTTP_REGISTRY_REFERENCES_OFF },
    { ngx_string("sparse"), NGX_HTTP_REGISTRY_REFERENCES_SPARSE },
    { ngx_string("on"), NGX_HTTP_REGISTRY_REFERENCES_ON },
    { ngx_null_string, 0 }
};


static ngx_conf_enum_t  ngx_http_registry_push[] = {
    { ngx_string("off"), NGX_HTTP_REGISTRY_PUSH_OFF },
    { ngx_string("on"), NGX_HTTP_REGISTRY_PUSH_ON },
    { ngx_string("proxy"), NGX_HTTP_REGISTRY_PUSH_PROXY },
    { ngx_null_string, 0 }
};


static ngx_command_t  ngx_http_registry_commands[] = {

    { ngx_string("registry_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_http_registry_zone_size,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("registry_store"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_BLOCK|NGX_CONF_TAKE1,
      ngx_http_registry_store,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("registry_cache"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_BLOCK|NGX_CONF_TAKE1,
      ngx_http_registry_store,
      NGX_HTTP_MAIN_CONF_OFFSET,
      1,
      NULL },

    { ngx_string("registry_remote"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_BLOCK|NGX_CONF_TAKE1,
      ngx_http_registry_remote,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("registry_memcached"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_http_registry_memcached_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_http_registry_main_conf_t, memcached),
      NULL },

    { ngx_string("registry_proxy"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_registry_proxy,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("registry_local_only"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_registry_local_only,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("registry_offline"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_registry_set_offline,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_registry_loc_conf_t, offline),
      NULL },

    { ngx_string("registry_purge"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE1,
      ngx_http_registry_purge,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("registry"),
      NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_registry_location,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("registry_status"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS|NGX_CONF_TAKE1,
      ngx_http_registry_status,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("registry_push"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_registry_loc_conf_t, push),
      ngx_http_registry_push },

    { ngx_string("registry_mount"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_registry_loc_conf_t, mount),
      NULL },

    { ngx_string("registry_delete"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_registry_loc_conf_t, delete),
      NULL },

    { ngx_string("registry_catalog"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_registry_loc_conf_t, catalog),
      NULL },

    { ngx_string("registry_references"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_registry_loc_conf_t, references),
      ngx_http_registry_references },

    { ngx_string("registry_max_blob_size"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_off_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_registry_loc_conf_t, max_blob_size),
      NULL },

    { ngx_string("registry_namespace"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_CONF_TAKE1,
      ngx_http_registry_set_namespace,
      NGX_HTTP_SRV_CONF_OFFSET,
      offsetof(ngx_http_registry_srv_conf_t, ns),
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_registry_module_ctx = {
    ngx_http_registry_add_variables,       /* preconfiguration */
    ngx_http_registry_postconfiguration,   /* postconfiguration */

    ngx_http_registry_create_main_conf,    /* create main configuration */
    ngx_http_registry_init_main_conf,      /* init main configuration */

    ngx_http_registry_create_srv_conf,     /* create server configuration */
    ngx_http_registry_merge_srv_conf,      /* merge server configuration */

    ngx_http_registry_create_loc_conf,     /* create location configuration */
    ngx_http_registry_merge_loc_conf       /* merge location configuration */
};


ngx_module_t  ngx_http_registry_module = {
    NGX_MODULE_V1,
    &ngx_http_registry_module_ctx,         /* module context */
    ngx_http_registry_commands,            /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ngx_http_registry_init_module,         /* init module */
    ngx_http_registry_init_process,        /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_http_registry_postconfiguration(ngx_conf_t *cf)
{
    ngx_http_registry_main_conf_t  *mcf;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_registry_module);

    if (mcf->locations.nelts == 0 && mcf->caches == 0) {
        return NGX_OK;
    }

    if (ngx_http_registry_manager_init(cf, mcf) != NGX_OK
        || ngx_http_registry_remotes_start(cf, mcf) != NGX_OK
        || ngx_http_registry_namespace_init(cf) != NGX_OK
        || ngx_http_registry_status_init(cf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_registry_filter_init(cf);
}


static void *
ngx_http_registry_create_main_conf(ngx_conf_t *cf)
{
    ngx_http_registry_main_conf_t  *mcf;

    mcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_registry_main_conf_t));
    if (mcf == NULL) {
        return NULL;
    }

    mcf->zone_size = NGX_CONF_UNSET_SIZE;

    if (ngx_array_init(&mcf->stores, cf->pool, 2,
                       sizeof(ngx_http_registry_store_t *))
        != NGX_OK
        || ngx_array_init(&mcf->remotes, cf->pool, 2,
                          sizeof(ngx_http_registry_remote_t *))
           != NGX_OK
        || ngx_array_init(&mcf->locations, cf->pool, 2,
                          sizeof(ngx_http_core_loc_conf_t *))
           != NGX_OK
        || ngx_http_registry_health_create(cf, &mcf->health, &mcf->zone)
           != NGX_OK)
    {
        return NULL;
    }

    return mcf;
}


static char *
ngx_http_registry_init_main_conf(ngx_conf_t *cf, void *conf)
{
    ngx_http_registry_main_conf_t  *mcf = conf;

    ngx_str_t                    name, hosted;
    ngx_uint_t                   i;
    ngx_http_registry_store_t  **store;

    store = mcf->stores.elts;

    for (i = 0; i < mcf->stores.nelts; i++) {

        if (store[i]->tp == NULL) {
            store[i]->tp = ngx_thread_pool_add(cf, NULL);
        }

        if (store[i]->tp == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    if (ngx_http_registry_remotes_init(cf, mcf) != NGX_OK
        || ngx_http_registry_adopts_init(cf, mcf) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (mcf->locations.nelts == 0 && mcf->caches == 0 && !mcf->status) {
        return NGX_CONF_OK;
    }

    ngx_str_set(&hosted, "");

    if (ngx_http_registry_count_add(&mcf->zone, cf->pool, &hosted,
                                    NGX_HTTP_REGISTRY_COUNT_HOSTED,
                                    &mcf->counters)
        != NGX_OK
        || (mcf->memcached
            && ngx_http_registry_memcached_counters(mcf->memcached,
                                                    &mcf->zone, cf->pool)
               != NGX_OK))
    {
        return NGX_CONF_ERROR;
    }

    ngx_conf_init_size_value(mcf->zone_size, NGX_HTTP_REGISTRY_ZONE_SIZE);

    ngx_str_set(&name, "ngx_http_registry");

    mcf->shm_zone = ngx_shared_memory_add(cf, &name, mcf->zone_size,
                                          &ngx_http_registry_module);
    if (mcf->shm_zone == NULL) {
        return NGX_CONF_ERROR;
    }

    mcf->shm_zone->init = ngx_http_registry_zone_init;
    mcf->shm_zone->data = &mcf->zone;
    mcf->zone.pool = cf->pool;

    return NGX_CONF_OK;
}


static void *
ngx_http_registry_create_srv_conf(ngx_conf_t *cf)
{
    ngx_http_registry_srv_conf_t  *sscf;

    sscf = ngx_pcalloc(cf->pool, sizeof(ngx_http_registry_srv_conf_t));
    if (sscf == NULL) {
        return NULL;
    }

    sscf->ns = NGX_CONF_UNSET_PTR;

    if (ngx_array_init(&sscf->names, cf->pool, 1,
                       sizeof(ngx_http_server_name_t))
        != NGX_OK)
    {
        return NULL;
    }

    return sscf;
}


static char *
ngx_http_registry_merge_srv_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_registry_srv_conf_t  *prev = parent;
    ngx_http_registry_srv_conf_t  *conf = child;

    ngx_uint_t                  i;
    ngx_http_server_name_t     *sn, *name;
    ngx_http_core_srv_conf_t   *cscf;

    if (conf->ns == NGX_CONF_UNSET_PTR) {
        conf->ns_file = prev->ns_file;
        conf->ns_line = prev->ns_line;
    }

    ngx_conf_merge_ptr_value(conf->ns, prev->ns, NULL);

    /* the core's own list lives in temporary memory */

    cscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_core_module);

    sn = cscf->server_names.elts;

    for (i = 0; i < cscf->server_names.nelts; i++) {

        if (sn[i].name.len == 0) {
            continue;
        }

        name = ngx_array_push(&conf->names);
        if (name == NULL) {
            return NGX_CONF_ERROR;
        }

        *name = sn[i];
    }

    return ngx_http_registry_check_namespace(cf, conf);
}


static void *
ngx_http_registry_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_registry_loc_conf_t  *rlcf;

    rlcf = ngx_pcalloc(cf->pool, sizeof(ngx_http_registry_loc_conf_t));
    if (rlcf == NULL) {
        return NULL;
    }

    rlcf->store = NGX_CONF_UNSET_PTR;
    rlcf->proxy = NGX_CONF_UNSET;
    rlcf->purge = NGX_CONF_UNSET_PTR;
    rlcf->offline = NGX_CONF_UNSET_PTR;
    rlcf->local_only = NGX_CONF_UNSET_PTR;
    rlcf->push = NGX_CONF_UNSET_UINT;
    rlcf->mount = NGX_CONF_UNSET;
    rlcf->delete = NGX_CONF_UNSET;
    rlcf->catalog = NGX_CONF_UNSET;
    rlcf->references = NGX_CONF_UNSET_UINT;
    rlcf->max_blob_size = NGX_CONF_UNSET;
    rlcf->status_format = NGX_CONF_UNSET_UINT;

    return rlcf;
}


static char *
ngx_http_registry_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_registry_loc_conf_t  *prev = parent;
    ngx_http_registry_loc_conf_t  *conf = child;

    char                           *rv;
    ngx_http_registry_main_conf_t  *mcf;

    rv = ngx_http_registry_merge_purge(cf, prev, conf);
    if (rv != NGX_CONF_OK) {
        return rv;
    }

    rv = ngx_http_registry_merge_local_only(cf, prev, conf);
    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (conf->store_name.len) {
        mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_registry_module);

        conf->store = ngx_http_registry_find_store(mcf, &conf->store_name);

        if (conf->store == NULL) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "unknown registry_store \"%V\" in %s:%ui",
                          &conf->store_name, conf->file, conf->line);
            return NGX_CONF_ERROR;
        }

        if (conf->store->evict) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "\"%V\" is a registry_cache, not a registry_store, "
                          "in %s:%ui", &conf->store_name, conf->file,
                          conf->line);
            return NGX_CONF_ERROR;
        }
    }

    ngx_conf_merge_ptr_value(conf->store, prev->store, NULL);
    ngx_conf_merge_ptr_value(conf->offline, prev->offline, NULL);

    rv = ngx_http_registry_merge_proxy(cf, prev, conf);
    if (rv != NGX_CONF_OK) {
        return rv;
    }

    ngx_conf_merge_uint_value(conf->push, prev->push,
                              NGX_HTTP_REGISTRY_PUSH_OFF);
    ngx_conf_merge_value(conf->mount, prev->mount, 1);
    ngx_conf_merge_value(conf->delete, prev->delete, 0);
    ngx_conf_merge_value(conf->catalog, prev->catalog, 0);
    ngx_conf_merge_uint_value(conf->references, prev->references,
                              NGX_HTTP_REGISTRY_REFERENCES_ON);
    ngx_conf_merge_off_value(conf->max_blob_size, prev->max_blob_size, 0);
    ngx_conf_merge_uint_value(conf->status_format, prev->status_format,
                              NGX_HTTP_REGISTRY_STATUS_JSON);

    return (conf->store || conf->proxy)
           ? ngx_http_registry_merge_handler(cf, conf) : NGX_CONF_OK;
}


/*
 * Nested locations, limit_except and "if" are registries too, unless something
 * else answers there.
 */

static char *
ngx_http_registry_merge_handler(ngx_conf_t *cf,
    ngx_http_registry_loc_conf_t *conf)
{
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler == NULL) {
        clcf->handler = ngx_http_registry_handler;
    }

    if (clcf->handler == ngx_http_registry_handler
        || (conf->file == NULL && conf->proxy_file == NULL))
    {
        return NGX_CONF_OK;
    }

    ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                  "\"%s\" conflicts with another handler of this location in "
                  "%s:%ui",
                  conf->file ? "registry" : "registry_proxy",
                  conf->file ? conf->file : conf->proxy_file,
                  conf->file ? conf->line : conf->proxy_line);

    return NGX_CONF_ERROR;
}


static char *
ngx_http_registry_merge_proxy(ngx_conf_t *cf,
    ngx_http_registry_loc_conf_t *prev, ngx_http_registry_loc_conf_t *conf)
{
    ngx_http_registry_main_conf_t  *mcf;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_registry_module);

    if (conf->proxy == NGX_CONF_UNSET) {
        ngx_conf_merge_value(conf->proxy, prev->proxy, 0);
        conf->remote = prev->remote;

    } else if (conf->remote_name.len) {
        conf->remote = ngx_http_registry_find_remote(mcf, &conf->remote_name);

        if (conf->remote == NULL) {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "unknown registry_remote \"%V\" in %s:%ui",
                          &conf->remote_name, conf->proxy_file,
                          conf->proxy_line);
            return NGX_CONF_ERROR;
        }
    }

    if (!conf->proxy) {
        return NGX_CONF_OK;
    }

    /* what is inherited may be meant for others */

    if (conf->push == NGX_HTTP_REGISTRY_PUSH_ON && conf->proxy_file
        && conf->store == NULL)
    {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"registry_push on\" is about what is hosted, and here "
                      "it is nothing: pushes to a remote are permitted by "
                      "\"registry_push proxy\" in %s:%ui",
                      conf->proxy_file, conf->proxy_line);
        return NGX_CONF_ERROR;
    }

    ngx_http_registry_use_remotes(cf, conf);

    return NGX_CONF_OK;
}


/* upstreams and resolvers are used as the first such location has them */

static void
ngx_http_registry_use_remotes(ngx_conf_t *cf,
    ngx_http_registry_loc_conf_t *conf)
{
    ngx_uint_t                       i;
    ngx_http_conf_ctx_t             *ctx;
    ngx_http_registry_remote_t     **remote;
    ngx_http_registry_main_conf_t   *mcf;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_registry_module);

    ctx = cf->ctx;
    remote = mcf->remotes.elts;

    for (i = 0; i < mcf->remotes.nelts; i++) {

        if (conf->remote && conf->remote != remote[i]) {
            continue;
        }

        if (!ngx_http_registry_is_offline(conf->offline)) {
            remote[i]->online = 1;
        }

        if (remote[i]->client.loc_conf == NULL) {
            remote[i]->client.main_conf = ctx->main_conf;
            remote[i]->client.srv_conf = ctx->srv_conf;
            remote[i]->client.loc_conf = ctx->loc_conf;
        }
    }
}


static char *
ngx_http_registry_zone_size(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_registry_main_conf_t  *mcf = conf;

    ssize_t     size;
    ngx_str_t  *value;

    if (mcf->zone_size != NGX_CONF_UNSET_SIZE) {
        return "is duplicate";
    }

    value = cf->args->elts;

    size = ngx_parse_size(&value[1]);

    if (size == NGX_ERROR) {
        return "has an invalid size";
    }

    if (size < (ssize_t) NGX_HTTP_REGISTRY_ZONE_MIN) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "registry_zone \"%V\" is too small, at least %uzk "
                           "is needed", &value[1],
                           (size_t) NGX_HTTP_REGISTRY_ZONE_MIN / 1024);
        return NGX_CONF_ERROR;
    }

    mcf->zone_size = size;

    return NGX_CONF_OK;
}


static char *
ngx_http_registry_location(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_registry_loc_conf_t  *rlcf = conf;

    ngx_str_t  *value;

    if (rlcf->store != NGX_CONF_UNSET_PTR || rlcf->store_name.len) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        rlcf->store = NULL;
        return NGX_CONF_OK;
    }

    /* the store may come later: it is looked up when all is read */

    rlcf->store_name = value[1];
    rlcf->file = cf->conf_file->file.name.data;
    rlcf->line = cf->conf_file->line;

    return ngx_http_registry_enable(cf);
}


static char *
ngx_http_registry_proxy(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_registry_loc_conf_t  *rlcf = conf;

    ngx_str_t  *value;

    if (rlcf->proxy != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "off") == 0) {
        rlcf->proxy = 0;
        return NGX_CONF_OK;
    }

    rlcf->proxy = 1;
    rlcf->proxy_file = cf->conf_file->file.name.data;
    rlcf->proxy_line = cf->conf_file->line;

    if (ngx_strcmp(value[1].data, "all") != 0) {
        rlcf->remote_name = value[1];
    }

    return ngx_http_registry_enable(cf);
}


/* this location is a registry, for "registry" or "registry_proxy" or both */

static char *
ngx_http_registry_enable(ngx_conf_t *cf)
{
    ngx_http_registry_srv_conf_t  *sscf;

    sscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_registry_module);
    sscf->enabled = 1;

    return ngx_http_registry_serve(cf, ngx_http_registry_handler);
}


char *
ngx_http_registry_serve(ngx_conf_t *cf, ngx_http_handler_pt handler)
{
    ngx_http_core_loc_conf_t        *clcf, **location;
    ngx_http_registry_main_conf_t   *mcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler == handler) {
        return NGX_CONF_OK;
    }

    if (clcf->handler) {
        return "conflicts with another handler of this location";
    }

    clcf->handler = handler;

    mcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_registry_module);

    location = ngx_array_push(&mcf->locations);
    if (location == NULL) {
        return NGX_CONF_ERROR;
    }

    *location = clcf;

    return NGX_CONF_OK;
}


/* a store's directory is made, if need be, for the workers to write to */

static ngx_int_t
ngx_http_registry_init_module(ngx_cycle_t *cycle)
{
    ngx_uint_t                      i;
    ngx_core_conf_t                *ccf;
    ngx_http_registry_store_t     **store;
    ngx_http_registry_main_conf_t  *mcf;

    if (ngx_test_config
        || ngx_get_conf(cycle->conf_ctx, ngx_http_module) == NULL)
    {
        return NGX_OK;
    }

    mcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_registry_module);
    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);

    ngx_http_registry_health_init_module(&mcf->health);

    store = mcf->stores.elts;

    for (i = 0; i < mcf->stores.nelts; i++) {

        ngx_http_registry_adopt_init_module(store[i], cycle->log);

        if (ngx_create_dir(store[i]->path.data, 0755) == NGX_FILE_ERROR) {

            if (ngx_errno == NGX_EEXIST) {
                continue;
            }

            ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno,
                          ngx_create_dir_n " \"%V\" of %s \"%V\" in %s:%ui "
                          "failed", &store[i]->path,
                          ngx_http_registry_store_kind(store[i]),
                          &store[i]->name, store[i]->file, store[i]->line);
            goto failed;
        }

        if (geteuid() == 0
            && chown((char *) store[i]->path.data, ccf->user, ccf->group) == -1)
        {
            ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno,
                          "chown() \"%V\" failed", &store[i]->path);
            goto failed;
        }

        continue;

    failed:

        /* nginx would exit: right at its start, not at a reload */

        if (ngx_is_init_cycle(cycle->old_cycle)) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_registry_init_process(ngx_cycle_t *cycle)
{
    ngx_uint_t                      i;
    ngx_http_registry_store_t     **store;
    ngx_http_registry_main_conf_t  *mcf;

    if (ngx_get_conf(cycle->conf_ctx, ngx_http_module) == NULL) {
        return NGX_OK;
    }

    /* or else the first JSON object would read /dev/urandom */

    json_object_seed(0);

    mcf = ngx_http_cycle_get_module_main_conf(cycle, ngx_http_registry_module);

    if (mcf->memcached
        && ngx_http_registry_memcached_init(mcf->memcached, cycle->log)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (mcf->shm_zone) {

        if (ngx_http_registry_wake_init_process(&mcf->zone, cycle) != NGX_OK) {
            return NGX_ERROR;
        }

        ngx_http_registry_flight_init_process(&mcf->zone);
        ngx_http_registry_count_init_process(&mcf->zone);
    }

    store = mcf->stores.elts;

    for (i = 0; i < mcf->stores.nelts; i++) {
        if (store[i]->driver->init) {
            store[i]->driver->init(store[i], cycle->log);
        }
    }

    ngx_http_registry_health_init_process(cycle);

    ngx_http_registry_manager_init_process(cycle);

    return NGX_OK;
}
